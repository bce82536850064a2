"""`Lock`: a re-entrant lock that belongs to an object or module: new in the child of a fork, and in every copy.

A thread that held a lock when the process forked does not exist in the child and would never give it back, so the
child starts with free ones. Whoever guards what can be seen half done waits for it before the fork (`registry`).
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Any


class Lock:
    """`with lock.held:` lets one thread in at a time; the same thread may enter again."""

    __slots__ = ("__weakref__", "held")

    def __init__(self) -> None:
        self.held = threading.RLock()
        _locks.add(self)

    @property
    def is_mine(self) -> bool:
        """Whether this thread holds it."""
        return bool(self.held._is_owned())  # type: ignore[attr-defined]

    def __reduce__(self) -> tuple[type[Lock], tuple[()]]:
        return Lock, ()


_locks: weakref.WeakSet[Lock] = weakref.WeakSet()


def _free_all() -> None:
    for lock in list(_locks):
        lock.held = threading.RLock()


def at_fork(**hooks: Any) -> None:
    """`os.register_at_fork`, on systems whose processes fork."""
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(**hooks)


at_fork(after_in_child=_free_all)

# One lock for the gradients and versions of all leaves: it is held for one addition, and no other is taken meanwhile.
leaf_lock = Lock()
