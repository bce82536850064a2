"""What was used last is kept, within a number of bytes: plans of a compiled function, and machine code."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Protocol

from tinygraph.core.locks import Lock
from tinygraph.errors import SettingError


class Sized(Protocol):
    """Something that knows what memory it takes."""

    @property
    def nbytes(self) -> int: ...


class Recent:
    """Values by key, of which the least recently used are dropped once all take more than `limit` bytes together.

    The latest is kept, whatever it takes. `beside` says how many bytes they take together besides their own. What a
    value takes may grow after it was put in; that is looked at when the next one is. Where values are `steady`, they
    are added up again only after as much came as fills half of the room there was.

    >>> import numpy as np
    >>> recent = Recent(200)
    >>> for key in "abc":
    ...     dropped = recent.put(key, np.zeros(10))
    >>> recent.get("a"), list(recent)
    (None, ['b', 'c'])
    """

    def __init__(self, limit: int, beside: Callable[[], int] = lambda: 0, *, steady: bool = False) -> None:
        self.limit = limit
        self._steady = steady
        self._beside = beside
        self._lock = Lock()
        self._values: OrderedDict[Any, Any] = OrderedDict()
        self._lately = 0  # bytes of values put in since all were added up last

    @property
    def limit(self) -> int:
        """How many bytes the values may take. May be set; what is too much is dropped with the next value."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        if type(limit) is not int or limit < 0:
            raise SettingError(f"a limit of memory is a number of bytes such as 64 * 2**20, not {limit!r}")
        self._limit, self._room = limit, 0

    @property
    def nbytes(self) -> int:
        """What the values take together."""
        with self._lock.held:
            held: int = sum(value.nbytes for value in self._values.values())
            return self._beside() + held

    def get(self, key: Hashable) -> Any:
        """The value of a key, which is the latest now; None if there is none."""
        with self._lock.held:
            value = self._values.get(key)
            if value is not None:
                self._values.move_to_end(key)
            return value

    def put(self, key: Hashable, value: Sized) -> list[Any]:
        """Keep a value; returns those that were dropped for it."""
        dropped: list[Any] = []
        with self._lock.held:
            self._values.pop(key, None)
            self._values[key] = value
            self._lately += value.nbytes
            if self._steady and self._lately < self._room / 2:
                return dropped
            self._lately = 0
            excess = self._beside() + sum(one.nbytes for one in self._values.values()) - self._limit
            while excess > 0 and len(self._values) > 1:
                _, oldest = self._values.popitem(last=False)
                excess -= oldest.nbytes
                dropped.append(oldest)
            self._room = -excess
        return dropped

    def drop(self, unwanted: Callable[[Any], bool]) -> None:
        """Drop the values for which `unwanted` holds."""
        with self._lock.held:
            for key in [key for key, value in self._values.items() if unwanted(value)]:
                del self._values[key]

    def clear(self) -> list[Any]:
        """Drop all values, and return them."""
        with self._lock.held:
            dropped = list(self._values.values())
            self._values.clear()
        return dropped

    @property
    def count(self) -> int:
        """How many things the values hold, where they are collections."""
        with self._lock.held:
            return sum(map(len, self._values.values()))

    def __iter__(self) -> Iterator[Any]:
        return iter(list(self._values))

    def __len__(self) -> int:
        return len(self._values)
