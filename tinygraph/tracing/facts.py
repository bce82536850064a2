"""Facts about Python's state that a captured graph relies on: what they were, and whether they still are so.

A fact is either a place - an entry of a dict, a variable of a closure, a slot of an object - and what it held, or the
contents of something that may change inside: a list, a set, a dict, an array. Equal is what no program can tell apart:
1 is neither True nor 1.0, and 0.0 is not -0.0.
"""

from __future__ import annotations

import gc
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache, partial
from operator import is_
from types import CodeType, MethodType
from typing import Any, NamedTuple, cast

import numpy as np

from tinygraph.core.tensor import Tensor

MISSING: Any = type("Missing", (), {"__repr__": lambda self: "nothing"})()
_CHUNK = 1 << 16
# Classes whose instances cannot change and are compared by value.
_PLAIN = frozenset({int, bool, str, bytes, range, slice, type(None)})
_PARTS = frozenset({tuple, frozenset})
# Others that cannot change.
_ATOMS = frozenset({float, complex, CodeType})


def same(now: Any, before: Any) -> bool:
    """Whether two values are one object, or immutable and equal in everything a program can see."""
    if now is before:
        return True
    kind: Any = type(now)
    if kind is not type(before):
        return False
    if kind in _PLAIN:
        return bool(now == before)
    if kind in (float, complex):
        return repr(now) == repr(before)
    if isinstance(now, np.generic):
        return bool(now.dtype == before.dtype and now.tobytes() == before.tobytes())
    if kind is tuple:
        return len(now) == len(before) and all(map(same, now, before))
    if kind is frozenset:
        return _kinds(now) == _kinds(before)
    if isinstance(now, MethodType):
        return now.__self__ is before.__self__ and now.__func__ is before.__func__
    return _by_value(cast(Any, kind)) and bool(now == before)


def is_atom(value: Any) -> bool:
    """Whether a value can never change, so that nothing inside of it needs watching."""
    kind: Any = type(value)
    if kind in _PARTS:
        return all(map(is_atom, value))
    return _is_atomic(kind)


@lru_cache(maxsize=1024)
def _is_atomic(kind: Any) -> bool:
    return (
        kind in _PLAIN or kind in _ATOMS or issubclass(kind, (Enum, np.generic, np.dtype)) or _by_value(kind)
    )


@lru_cache(maxsize=1024)
def _by_value(kind: Any) -> bool:
    """Whether instances of a class are values of the standard library: Fraction, Decimal, Path, date, or a dtype."""
    if issubclass(kind, np.dtype):
        return True
    package = str(kind.__module__).partition(".")[0]
    if package not in sys.stdlib_module_names or package == "builtins":
        return False
    compared = kind.__hash__ not in (None, object.__hash__) and kind.__eq__ is not object.__eq__
    return compared and not any("__call__" in one.__dict__ for one in kind.__mro__)


def _kinds(values: Any) -> set[Any]:
    return {(type(one), repr(one) if type(one) in (float, complex) else one) for one in values}


class Fixed:
    """An argument that is no input of a graph, as a part of the key under which the graph is found again.

    Values that cannot change are compared as `same` does, everything else by identity.
    """

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Fixed) and same(self.value, other.value)

    def __hash__(self) -> int:
        return hash((type(self.value), self.value if is_atom(self.value) else id(self.value)))

    def __str__(self) -> str:
        return repr(self.value)


class Holding(NamedTuple):
    """A place that holds a value, and what it held.

    Attributes:
        get, key: `get(key, MISSING)` is what it holds now.
        before: what it held when the program looked.
        words: what the place is called, such as "the attribute 'cfg.scale'".
        name: the last name in it, as code writes it.
        line: the user's line that reads it.
    """

    get: Callable[[Any, Any], Any]
    key: Any
    before: Any
    words: str
    name: str
    line: str

    def now(self) -> Any:
        return self.get(self.key, MISSING)

    def holds(self) -> bool:
        return same(self.now(), self.before)

    def change(self) -> str:
        """What changed, in words."""
        return replaced(self.words, self.now(), self.before)


def replaced(words: str, now: object, before: object) -> str:
    """That a place holds another value, in words."""
    if all(is_atom(one) or one is MISSING for one in (now, before)):
        return f"{words} has another value: {_short(now)}, not {_short(before)}"
    return f"{words} has another value"


class Contents:
    """The contents of something that may change inside.

    Attributes:
        value: the thing itself.
        words: what it is called.
        line: the user's line that reads it.
    """

    def __init__(self, value: Any, words: str, line: str) -> None:
        self.value = value
        self.words = words
        self.line = line
        self.before: Any = None

    def holds(self) -> bool:
        raise NotImplementedError

    def change(self) -> str:
        return f"the contents of {self.words} changed"

    def added(self) -> Sequence[Any]:
        """What is in it now and was not before."""
        return ()

    def grew(self) -> bool:
        """Whether it only got entries under new keys, as a memory of results does."""
        return False


class Items(Contents):
    """The items of a list, tuple or deque, in order."""

    def __init__(self, value: Any, words: str, line: str) -> None:
        super().__init__(value, words, line)
        self.before = list(value)

    def holds(self) -> bool:
        value, before = self.value, self.before
        if len(value) != len(before):
            return False
        return all(map(is_, value, before)) or all(map(same, value, before))

    def added(self) -> Sequence[Any]:
        known = set(map(id, self.before))
        return [one for one in self.value if id(one) not in known]


class Members(Items):
    """The members of a set."""

    def holds(self) -> bool:
        value, before = self.value, self.before
        if len(value) != len(before):
            return False
        return all(map(is_, value, before)) or _kinds(value) == _kinds(before)


class Entries(Contents):
    """The entries of a dict, in order."""

    def __init__(self, value: dict[Any, Any], words: str, line: str) -> None:
        super().__init__(value, words, line)
        kind: Any = OrderedDict if isinstance(value, OrderedDict) else dict
        self._in_order: Callable[[Any], Any] = kind.keys  # past what a subclass makes of it
        self._values: Callable[[Any], Any] = kind.values
        self.keys: list[Any] = list(self._in_order(value))
        self.before = [dict.__getitem__(value, key) for key in self.keys]

    def holds(self) -> bool:
        value = self.value
        if len(value) != len(self.keys):
            return False
        keys = self._in_order(value)
        if all(map(is_, keys, self.keys)):
            if all(map(is_, self._values(value), self.before)):
                return True
        elif not all(map(same, keys, self.keys)):
            return False
        values = map(partial(dict.__getitem__, value), self.keys)
        return all(map(same, values, self.before))

    def added(self) -> Sequence[Any]:
        known = set(map(id, self.before))
        return [one for one in dict.values(self.value) if id(one) not in known]

    def grew(self) -> bool:
        return all(
            same(dict.get(self.value, key, MISSING), held)
            for key, held in zip(self.keys, self.before, strict=True)
        )

    def change(self) -> str:
        for key, held in zip(self.keys, self.before, strict=True):
            now = dict.get(self.value, key, MISSING)
            if not same(now, held) and is_atom(now) and is_atom(held):
                return f"the contents of {self.words} changed: {_short(key)} is {_short(now)}, not {_short(held)}"
        return super().change()


class Elements(Contents):
    """The elements of an array, compared with a copy to the last bit, and what else code may ask of it."""

    def __init__(self, value: np.ndarray[Any, Any], words: str, line: str) -> None:
        super().__init__(value, words, line)
        self.type = _layout(value)
        self.before = value.ravel().tolist() if value.dtype.hasobject else _bytes(value).copy()

    def holds(self) -> bool:
        value = self.value
        if _layout(value) != self.type:
            return False
        if value.dtype.hasobject:
            return all(map(same, value.ravel().tolist(), self.before))
        now, before = _bytes(value), self.before
        if now.size <= _CHUNK:
            return bool(now.tobytes() == before.tobytes())
        return all(
            bool((now[start : start + _CHUNK] == before[start : start + _CHUNK]).all())
            for start in range(0, now.size, _CHUNK)
        )


class Progress(Contents):
    """How far an iterator has come; each item that a program takes is another one in the next call."""

    def __init__(self, value: object, words: str, line: str) -> None:
        super().__init__(value, words, line)
        self.before = _progress(value)

    def holds(self) -> bool:
        return bool(_progress(self.value) == self.before)

    def change(self) -> str:
        return f"an item was taken from the iterator {self.words}"


def _progress(value: object, depth: int = 4) -> Any:
    if not hasattr(value, "__next__") or not depth:
        return tuple(_progress(one, depth) for one in value) if type(value) is tuple else id(value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of copying iterators, from Python 3.12 on
        try:
            return (
                type(value),
                *(
                    part if type(part) is int else _progress(part, depth - 1)
                    for part in value.__reduce__()[1:]
                ),
            )
        except Exception:  # noqa: BLE001 - whatever it says of itself must do
            return repr(value)


class Remembered(Contents):
    """The results that `functools.lru_cache` remembers; when one is forgotten, its function runs again.

    A program adds some while it is captured, which belong to it: what counts is there at the first question, when it
    has run, and with it what had been there before.
    """

    def __init__(self, value: Any, words: str, line: str) -> None:
        super().__init__(value, words, line)
        own = getattr(value, "__dict__", None)
        # the only other dict that the wrapper refers to; a result, or the link that holds it, by arguments
        self._results = next(one for one in gc.get_referents(value) if type(one) is dict and one is not own)
        self.before = dict(self._results)
        self._settled = False

    def holds(self) -> bool:
        results = self._results
        kept = all(results.get(key, MISSING) is result for key, result in self.before.items())
        if not self._settled:
            self._settled = True
            self.before = dict(results)
        return kept

    def change(self) -> str:
        return f"what the cache of {self.words} remembered was forgotten"


class Text(Contents):
    """The bytes of a bytearray, a memoryview or an `array.array`."""

    def __init__(self, value: Any, words: str, line: str) -> None:
        super().__init__(value, words, line)
        self.before = bytes(value)

    def holds(self) -> bool:
        return bool(bytes(self.value) == self.before)


def _layout(array: np.ndarray[Any, Any]) -> tuple[Any, ...]:
    return array.shape, array.dtype, array.strides, array.flags.num


def _bytes(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """An array's elements as bytes in C order; a view where they lie so."""
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def left_behind_in(values: Sequence[Any], depth: int = 4) -> bool:
    """Whether there are captured tensors among values, which outlive their capture without a value."""
    for value in values:
        if isinstance(value, Tensor):
            if value._value is None:
                return True
        elif depth and isinstance(value, dict):
            if left_behind_in(list(value.values()), depth - 1):
                return True
        elif depth and isinstance(value, list | tuple | set) and left_behind_in(list(value), depth - 1):
            return True
    return False
