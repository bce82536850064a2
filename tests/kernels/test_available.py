"""Without llvmlite the package imports, says so, and compiled functions still run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tinygraph import kernels

STEP = """
import sys
sys.modules["llvmlite"] = None  # as if it were not installed
import numpy as np, tinygraph as tg
from tinygraph import kernels
assert not kernels.available()
kernel = tg.tensor(np.ones((2, 1, 3, 3)), requires_grad=True)
def f(x):
    return np.tanh(tg.ops.max_pool(tg.ops.convolution(x, kernel), size=2)).sum()
x = np.random.default_rng(0).standard_normal((1, 1, 6, 6))
assert abs(tg.compile(f)(x).item() - f(x).item()) < 1e-12
"""


def test_without_llvmlite() -> None:
    subprocess.run([sys.executable, "-c", STEP], check=True)


def test_llvmlite_is_here() -> None:
    if not kernels.available():
        pytest.skip(
            "llvmlite is not installed (extra `fast`): the kernel language's other tests are left out"
        )
