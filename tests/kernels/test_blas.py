"""NumPy's BLAS while a plan runs: on one thread, and on as many as before afterwards, whatever happens."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace

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


def test_another_blas_is_found_by_threadpoolctl(pool):
    pytest.importorskip("threadpoolctl")
    pytest.importorskip("scipy.linalg")  # its wheel brings a BLAS of its own, which is to be left alone
    other = blas._other_pool()
    assert other is not None
    assert other.get() == pool.get() == 2
    other.set(1)
    assert pool.get() == 1
    pool.set(2)


def test_numpys_blas_is_told_from_those_of_other_packages(monkeypatch):
    """threadpoolctl lists libraries by their addresses: any order may come."""
    controllers = pytest.importorskip("threadpoolctl")
    packages = Path(np.__file__).parent.parent
    chosen = []

    def listed(*files):
        found = [
            SimpleNamespace(
                filepath=str(file),
                get_num_threads=lambda: 1,
                set_num_threads=lambda n, f=file: chosen.append(f),
            )
            for file in files
        ]
        listing = SimpleNamespace(select=lambda user_api: SimpleNamespace(lib_controllers=found))
        monkeypatch.setattr(controllers, "ThreadpoolController", lambda: listing)
        return blas._other_pool()

    foreign = packages / "scipy.libs" / "libscipy_openblas.so", packages / "torch" / "lib" / "libmkl.so"
    for own in (packages / "numpy.libs" / "libscipy_openblas64_.so", Path("/usr/lib/libblis.so.4")):
        for files in ((*foreign, own), (own, *foreign)):
            listed(*files).set(1)
            assert chosen.pop() == own
    assert listed(*foreign) is None
