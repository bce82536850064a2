"""NumPy's BLAS while a plan runs: on one thread, and on as many as before afterwards, whatever happens."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.kernels import blas
from tinygraph.plugin import op


@pytest.fixture
def pool():
    found = blas.numpy_pool()
    if found is None:
        pytest.skip("nothing is known of this NumPy's BLAS")
    before = found.get()
    found.set(2)
    yield found
    found.set(before)


def test_a_plan_has_blas_on_one_thread(pool):
    seen = []

    @op(kind="other", samples=[])
    def looked(x):
        """x; and how many threads BLAS has then."""
        seen.append(blas.numpy_pool().get())
        if x[0] > 1:
            raise ValueError("too large")
        return x

    @looked.types
    def looked_types(x):
        return x

    f = tg.compile(lambda x: looked(x) * 2.0)
    assert f(np.ones(3)).tolist() == [2, 2, 2]
    assert (seen.pop(), pool.get()) == (1, 2)
    with pytest.raises(tg.errors.OpError):
        f(np.full(3, 5.0))
    assert (seen.pop(), pool.get()) == (1, 2)


def test_the_last_to_leave_restores(pool):
    inside, leave = threading.Event(), threading.Event()

    def hold():
        with blas.blas_on_one_thread():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(10)
    with blas.blas_on_one_thread():
        assert pool.get() == 1
    assert pool.get() == 1
    leave.set()
    thread.join()
    assert pool.get() == 2


def test_numpys_blas_is_told_from_scipys(pool):
    """SciPy's wheel brings a BLAS of its own, which is to be left alone, here loaded before NumPy's."""
    pytest.importorskip("threadpoolctl")
    brought = sorted(Path(np.__file__).parent.parent.glob("scipy.libs/*openblas*"))
    if not brought:
        pytest.skip("no SciPy with a BLAS of its own")
    script = f"""
import ctypes
ctypes.CDLL({str(brought[0])!r})
from tinygraph.kernels import blas
pool, other = blas.numpy_pool(), blas._other_pool()
pool.set(2)
assert other.get() == 2
other.set(1)
assert pool.get() == 1
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
