"""How many threads compiled functions run on. The threads themselves are in `teams.py`, which needs llvmlite."""

from __future__ import annotations

import os

from tinygraph.errors import SettingError

_threads = 0  # 0: not decided yet
_POSIX = os.name == "posix"


def get_threads() -> int:
    """How many threads compiled functions run on.

    By default as many as there are processors for this process, or what the environment variable `TINYGRAPH_THREADS`
    says.
    """
    global _threads
    if not _threads:
        _threads = _default_threads()
    return _threads


def set_threads(threads: int) -> None:
    """Set how many threads compiled functions run on; 1 is the calling thread alone.

    Functions that were compiled for another number are planned anew by their next call. For one number of threads
    results are the same bits in every run; between two numbers sums may be rounded in another order.

    Raises:
        SettingError: no whole number of at least 1.

    >>> set_threads(1)
    >>> get_threads()
    1
    """
    global _threads
    given: object = threads
    if not isinstance(given, int) or isinstance(given, bool) or given < 1:
        raise SettingError(f"the number of threads is {threads!r}; it must be a whole number of at least 1")
    _threads = threads if _POSIX else 1


def _default_threads() -> int:
    given = os.environ.get("TINYGRAPH_THREADS", "")
    if given and not (given.isdecimal() and int(given)):
        raise SettingError(f"TINYGRAPH_THREADS is {given!r}; it must be a whole number of at least 1")
    if not _POSIX:
        return 1
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return int(given) if given else available
