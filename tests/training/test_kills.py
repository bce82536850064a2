"""Trainings that are interrupted or killed at any moment leave a whole checkpoint, and no process behind."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tinygraph import training

WRITING = """
import numpy as np, sys, tinygraph as tg
from tinygraph import nn, training
net = nn.Linear(300, 200)
print("ready", flush=True)
for i in range(10**6):
    training.save_checkpoint(sys.argv[1], net, epoch=i)
"""
FITTING = """
import numpy as np, sys, tinygraph as tg
from tinygraph import data, nn, optim, training
x = np.random.default_rng(0).normal(size=(64, 4)).astype(np.float32)
net = nn.Linear(4, 2)
loader = data.DataLoader(data.TensorDataset(x, (x[:, 0] > 0).astype(int)), 4, shuffle=True, seed=0, num_workers=1)
print("ready", flush=True)
history = training.fit(net, loader, optimizer=optim.SGD(net.parameters(), lr=0.1), epochs=10**6, progress=False,
                       checkpoint=sys.argv[1])
print("interrupted", history.interrupted, flush=True)
"""


def started(script: str, path: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def processes_with(argument: str) -> list[str]:
    """The processes that were started with an argument, where the system tells."""
    commands = {}
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended meanwhile
            commands[one.parent.name] = one.read_bytes().decode(errors="replace").split("\0")
    return [pid for pid, command in commands.items() if argument in command]


def check_kills(folder: Path, times: int) -> None:
    path, moments = folder / "run.npz", random.Random(0)
    process = started(WRITING, path)
    while not path.exists():
        time.sleep(0.01)
    for _ in range(times):
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        process.communicate()
        assert isinstance(training.read_notes(path), dict)  # whole, and its hash fits
        process = started(WRITING, path)
    process.kill()
    process.communicate()


def check_interruptions(folder: Path, times: int) -> None:
    moments = random.Random(1)
    folder.mkdir()
    for number in range(times):
        path = folder / f"{number}.npz"
        process = started(FITTING, path)
        time.sleep(moments.uniform(0, 0.4))
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
        # before the training has begun, Python's own KeyboardInterrupt ends it
        assert "interrupted True" in said or "KeyboardInterrupt" in errors, (said, errors)
        if "interrupted True" in said:
            assert isinstance(training.read_notes(path), dict)
        assert not [one for one in folder.iterdir() if one.name.endswith(".part")]
        assert not processes_with(str(path)), "a process was left behind"


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_killed_and_interrupted_a_few_times(tmp_path: Path) -> None:
    check_kills(tmp_path, 2)
    check_interruptions(tmp_path / "interrupted", 2)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_killed_a_hundred_times_while_writing(tmp_path: Path) -> None:
    check_kills(tmp_path, 100)


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_interrupted_at_fifty_moments(tmp_path: Path) -> None:
    check_interruptions(tmp_path / "interrupted", 50)
