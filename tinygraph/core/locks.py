"""Locks that a forked child finds open: another thread of the parent may have held them, and it is not in the child."""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any

_locks: weakref.WeakSet[Any] = weakref.WeakSet()


def open_after_fork() -> Any:
    """A lock that its own thread may take again, and that is open in a child after `os.fork`."""
    lock = threading.RLock()
    _locks.add(lock)
    return lock


def _open_all() -> None:
    for lock in list(_locks):
        lock._at_fork_reinit()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_all)
