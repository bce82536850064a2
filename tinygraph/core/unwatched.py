"""Parts of the library that run no code of the user's: a hook that watches for such code rests in them.

A profile hook is called for every call and return, at several times their own cost; recording one op makes dozens.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FunctionType
from typing import Any

# What stands for a hook that rests. From Python 3.12 on, going from a hook to none instruments all code anew, so there
# it is something cheap that takes any arguments.
RESTING: Any = None if sys.version_info < (3, 12) else "".format


class _Resting(threading.local):
    hook: Any = None


_resting = _Resting()


def hook_that_may_rest() -> Any:
    """This thread's profile hook if it may rest, else None; whoever sets RESTING in its place sets it again."""
    hook: Any = sys.getprofile()
    return hook if hook.__class__ is FunctionType and "may_rest" in hook.__dict__ else None


@contextmanager
def unwatched() -> Iterator[None]:
    """Context manager, and decorator: nothing inside is the user's code, but for what is `watched()`."""
    hook = hook_that_may_rest()
    if hook is None:
        yield
        return
    _resting.hook = hook
    sys.setprofile(RESTING)
    try:
        yield
    finally:
        sys.setprofile(hook)
        _resting.hook = None


@contextmanager
def watched() -> Iterator[None]:
    """Context manager: within `unwatched()`, code that may be the user's."""
    hook = _resting.hook
    if hook is None:
        yield
        return
    _resting.hook = None
    sys.setprofile(hook)
    try:
        yield
    finally:
        sys.setprofile(RESTING)
        _resting.hook = hook
