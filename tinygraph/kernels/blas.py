"""NumPy's BLAS on one thread while a plan runs: two pools of threads that wait by spinning slow each other down.

The library is asked by its own functions where it is the OpenBLAS of NumPy's wheels, by threadpoolctl where it is
another one and that is installed, and left alone otherwise.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.locks import Lock

_PACKAGE = Path(np.__file__).resolve().parent
_OWN_FOLDERS = (_PACKAGE.parent / "numpy.libs", _PACKAGE / ".dylibs", _PACKAGE / ".libs")  # of NumPy's wheels
_PREFIXES, _SUFFIXES = ("scipy_openblas", "openblas"), ("64_", "")
_lock = Lock()
_running = 0
_before = 0


class Pool(NamedTuple):
    """How many threads a BLAS uses: read and written."""

    get: Callable[[], int]
    set: Callable[[int], Any]


@functools.cache
def numpy_pool() -> Pool | None:
    """The pool of NumPy's BLAS, or None where nothing is known of it."""
    for file in (file for folder in _OWN_FOLDERS for file in folder.glob("*openblas*")):
        try:
            library = ctypes.CDLL(str(file))
        except OSError:
            continue
        for name in (f"{prefix}_{{}}_num_threads{suffix}" for prefix in _PREFIXES for suffix in _SUFFIXES):
            if hasattr(library, name.format("set")):
                return Pool(getattr(library, name.format("get")), getattr(library, name.format("set")))
    return _other_pool()


def _other_pool() -> Pool | None:
    """The first BLAS that threadpoolctl finds and that no other package brought for itself, as SciPy's wheel does."""
    if importlib.util.find_spec("threadpoolctl") is None:
        return None
    from threadpoolctl import ThreadpoolController

    for found in ThreadpoolController().select(user_api="blas").lib_controllers:
        folder = Path(found.filepath).resolve().parent
        if folder in _OWN_FOLDERS or _PACKAGE.parent not in folder.parents:
            return Pool(found.get_num_threads, found.set_num_threads)
    return None


@contextmanager
def blas_on_one_thread() -> Iterator[None]:
    """Within it NumPy's products run on one thread, in the whole process; as before once the last has left."""
    global _running, _before
    pool = numpy_pool()
    if pool is None:
        yield
        return
    with _lock.held:
        if not _running:
            _before = pool.get()
            if _before != 1:
                pool.set(1)
        _running += 1
    try:
        yield
    finally:
        with _lock.held:
            _running -= 1
            if not _running and _before != 1:
                pool.set(_before)
