"""No kernel of a plan reads or writes outside its arrays: each ends, or begins, at a page that kills the process."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="protects pages with Linux's constants")


def run(*words: object) -> tuple[int, str]:
    command = [sys.executable, "-m", "tests.kernels.guarded_plans", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1800, check=False)
    return done.returncode, (done.stdout + done.stderr)[-500:]


@pytest.mark.parametrize("side", ["front", "back"])
def test_random_plans(side: str) -> None:
    code, said = run(0, 2, side)
    assert code == 0, said
    assert said.endswith("no stray access\n")


@pytest.mark.slow
@pytest.mark.parametrize("side", ["front", "back"])
def test_more_random_plans(side: str) -> None:
    code, said = run(2, 40, side)
    assert code == 0, said


@pytest.mark.parametrize("side", ["front", "back"])
def test_the_guards_bite(side: str) -> None:
    code, said = run(0, 0, side, "stray")
    assert code == -signal.SIGSEGV, said
