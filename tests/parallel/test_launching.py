"""`tinygraph launch`: restarts after a kill end with the bits of an undisturbed run; errors end all processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent


def launch(*arguments, timeout=120, **environment):
    pytest.importorskip("mpi4py", exc_type=ImportError)
    done = subprocess.run(
        [sys.executable, "-m", "tinygraph", "launch", *map(str, arguments)],
        env=os.environ | {"TINYGRAPH_THREADS": "1", "OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=timeout,
    )
    return done.returncode, done.stdout + done.stderr


def result(folder, victim=-1, moment=0):
    folder.mkdir()
    status, said = launch("-n", 2, "--restarts", 1, FOLDER / "program_fit.py", folder, victim, moment)
    assert status == 0, said
    with np.load(folder / "end.npz") as held:
        return dict(held), said


def check_killed_runs(tmp_path, moments):
    expected, said = result(tmp_path / "undisturbed")
    assert said.count("epoch 4/4") == 1, said  # one process shows the training
    assert expected["history"][-1, 2] > 0.8
    for number, moment in enumerate(moments):
        found, said = result(tmp_path / str(number), number % 2, moment)
        assert "a process was killed (SIGKILL); all start again (1 of 1)" in said
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name].tobytes() == value.tobytes(), (moment, name)


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path):
    check_killed_runs(tmp_path, [9, 14])


@pytest.mark.slow
def test_runs_killed_at_twenty_moments(tmp_path):
    check_killed_runs(tmp_path, range(1, 21))


def test_an_error_is_shown_and_ends_all():
    status, said = launch("-n", 2, "--restarts", 3, FOLDER / "program_error.py")
    assert status == 1
    assert "ValueError: this rank is ill" in said
    assert "start again" not in said


def test_what_cannot_be_launched(tmp_path):
    status, said = launch(tmp_path / "none.py")
    assert status == 1
    assert "there is no script" in said
    assert "Traceback" not in said
