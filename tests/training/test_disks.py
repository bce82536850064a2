"""Checkpoints where the disk does not do as asked - full, not writable, littered: nothing that was there is lost."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim, training
from tinygraph.core.process_group import Alone, stand_in
from tinygraph.errors import TinygraphWarning
from tinygraph.interop import atomic_files

X = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


def train(path: Path, epochs: int, **options):
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 300), nn.ReLU(), nn.Linear(300, 2))
    history = training.fit(
        model, (X, Y), optimizer=optim.Adam(model.parameters(), lr=0.01), epochs=epochs, checkpoint=path,
        progress=False, seed=0, compile=False, **options,
    )  # fmt: skip
    return history, {name: np.array(value) for name, value in model.state_dict().items()}


def assert_goes_on(path: Path) -> None:
    """The checkpoint of two epochs goes on to the bits of four epochs that nothing disturbed."""
    history, values = train(path, 4)
    assert [one.number for one in history.epochs] == [1, 2, 3, 4]
    _, wanted = train(path.with_name("undisturbed.npz"), 4)
    for name, value in wanted.items():
        np.testing.assert_array_equal(values[name], value)


class Fails:
    """A disk on which the writing of a file ends with an error after so many bytes."""

    def __init__(self, monkeypatch, code: int) -> None:
        self.code, self.times = code, 0
        monkeypatch.setattr(atomic_files, "_sync", self.sync)

    def sync(self, path: Path) -> None:
        if path.suffix == ".part":
            self.times += 1
            os.truncate(path, path.stat().st_size // 2)
            raise OSError(self.code, os.strerror(self.code), str(path))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_a_disk_that_is_full_loses_nothing(tmp_path, monkeypatch, code):
    path = tmp_path / "run.npz"
    train(path, 2)
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        disk = Fails(patched, code)
        with pytest.raises(OSError, match=os.strerror(code)) as found:
            train(path, 4)
        assert disk.times == 1
    assert found.value.errno == code
    assert found.value.filename == str(path)  # the file that was meant, not the one beside it
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["run.npz"]
    assert_goes_on(path)


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="no limit of files' sizes here")
def test_a_real_limit_of_the_size_of_files(tmp_path):
    """The system itself stops the writing within a file, in a process of its own."""
    path = tmp_path / "run.npz"
    train(path, 2)
    before = path.read_bytes()
    script = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({len(before) // 2},) * 2)\n"
        "import numpy as np; from tinygraph import nn, training\n"
        "training.save_checkpoint(sys.argv[1], nn.Linear(4, 3000))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.returncode == 1
    assert "File too large" in done.stderr.splitlines()[-1], done.stderr
    assert "run.npz" in done.stderr.splitlines()[-1], done.stderr
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["run.npz"]


def test_a_folder_that_is_missing_or_cannot_be_written(tmp_path):
    """Said before the first batch, not after the first epoch."""
    steps: list[int] = []

    class Counting(training.Callback):
        def on_batch_end(self, run):
            steps.append(run.batch)

    with pytest.raises(FileNotFoundError, match="the folder of the checkpoint is missing") as found:
        train(tmp_path / "missing" / "run.npz", 1, callbacks=[Counting()])
    assert found.value.filename == str(tmp_path / "missing")
    place = tmp_path / "run.npz"
    place.mkdir()
    with pytest.raises(IsADirectoryError, match=r"run\.npz"):
        train(place, 1, callbacks=[Counting()])
    assert steps == []


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_permission(tmp_path):
    train(tmp_path / "run.npz", 2)
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(PermissionError, match=r"run\.npz"):
            train(tmp_path / "run.npz", 4)
    finally:
        tmp_path.chmod(0o700)
    assert_goes_on(tmp_path / "run.npz")


def test_what_a_killed_run_left_behind_is_in_nobodys_way(tmp_path):
    """There are no locks; a half-written file beside the checkpoint, of a run that was killed, changes nothing."""
    path = tmp_path / "run.npz"
    train(path, 2)
    left = tmp_path / ".run.npz.0123456789abcdef.part"
    left.write_bytes(path.read_bytes()[:1000])
    assert_goes_on(path)
    assert left.exists()


class Two(Alone):
    """One of two processes, of which the other one answers the same."""

    size = 2

    def gather_texts(self, text):
        return [text, text]


def test_another_number_of_processes_goes_on_and_says_what_differs(tmp_path):
    path = tmp_path / "run.npz"
    train(path, 2)
    model = nn.Sequential(nn.Linear(4, 300), nn.ReLU(), nn.Linear(300, 2))
    optimizer = optim.Adam(model.parameters(), lr=0.01)
    data = tg.data.DataLoader(tg.data.TensorDataset(X, Y), 32, shuffle=True)
    with (
        stand_in(Two()),
        pytest.warns(TinygraphWarning, match=r"was written by 1 processes, and 2 go on: the same batches"),
    ):
        assert training.load_checkpoint(path, model, optimizer, data=data) == 2
    _, wanted = train(tmp_path / "other.npz", 2)
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, wanted[name])
