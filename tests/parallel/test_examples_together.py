"""The examples on images and on text, on two processes as alone: the same curves, but for the order of sums."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def curves(folder: Path, example: str, *command: str) -> list[dict[str, str]]:
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, *command, str(EXAMPLES / example)],
        cwd=folder,
        env=os.environ | {"EPOCHS": "2", "TINYGRAPH_THREADS": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("trained for 2 epochs") == 1, done.stdout
    with (folder / "run" / "curves.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("example", "names", "package"),
    [
        ("17_images_on_several_processes.py", ("loss", "validation_loss"), "PIL"),
        ("18_gpt_on_several_processes.py", ("loss", "accuracy"), "tensorboard"),
    ],
)
def test_two_processes_train_as_one(
    tmp_path: Path, example: str, names: tuple[str, ...], package: str
) -> None:
    pytest.importorskip("mpi4py", exc_type=ImportError)
    pytest.importorskip(package)
    alone = curves(tmp_path / "alone", example)
    together = curves(tmp_path / "together", example, "-m", "tinygraph", "launch", "-n", "2")
    for one, other in zip(alone, together, strict=True):
        for name in names:
            assert float(other[name]) == pytest.approx(float(one[name]), rel=2e-2), (name, alone, together)
    if package == "tensorboard":
        for folder in (tmp_path / "alone", tmp_path / "together"):
            assert len(list((folder / "run").glob("events.out.tfevents.*"))) == 1  # rank 0 writes
