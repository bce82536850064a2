"""A time limit around code under test: an op that hangs becomes a finding like any other, and the check goes on.

It rests on POSIX timer signals, so it works on the main thread alone; elsewhere the code just runs. A single call
into compiled code is interrupted only when it returns.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic


class TimeLimit(BaseException):
    """The code under a time limit did not end; no Exception, so that no op catches it by accident."""


@contextmanager
def limited_to(seconds: float | None) -> Iterator[None]:
    """Raise TimeLimit in the enclosed code after so many seconds; None or 0 for no limit.

    A timer that runs already, such as that of a test runner, goes on afterwards with what is left of its time; if it
    ends before this limit would, it is the limit.

    >>> with limited_to(60):
    ...     pass
    """
    here = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not seconds or not here or 0 < signal.getitimer(signal.ITIMER_REAL)[0] <= seconds:
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise TimeLimit(f"no end after {seconds:g} s")

    started = monotonic()
    handler = signal.signal(signal.SIGALRM, stop)
    # again and again, in case the code under test swallows the first
    left, interval = signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            signal.setitimer(signal.ITIMER_REAL, max(left - (monotonic() - started), 0.01), interval)
