"""`x[index]` as an immutable pattern that JSON can hold, and the arrays in it, which are operands.

Each item of a pattern is an int, `None` (a new axis), `"..."`, `("slice", start, stop, step)`, or `"array"`: the next
array operand. Ops on indices turn a pattern and its arrays back into what NumPy takes.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from tinygraph.errors import DTypeError

Pattern = tuple[Any, ...]
_INTEGERS = (int, np.integer)
_ALL: Pattern = (("slice", None, None, None),)


def parse_index(index: Any) -> tuple[Pattern, tuple[Any, ...]]:
    """Split what stands in the brackets into a pattern and the arrays it refers to, in order.

    Raises:
        DTypeError: an item that is no int, slice, None, ..., or array of ints or bools.

    >>> parse_index((0, slice(1, None), [2, 3]))
    ((0, ('slice', 1, None, None), 'array'), (array([2, 3]),))
    """
    kind = index.__class__
    if kind is slice:  # the three forms that are met most, each at once
        start, stop, step = index.start, index.stop, index.step
        if start is None and stop is None and step is None:
            return _ALL, ()
        return (("slice", _bound(start), _bound(stop), _bound(step)),), ()
    if kind is int:
        return (index,), ()
    if kind is np.ndarray and index.dtype.kind in "iub":
        return ("array",), (index,)
    pattern: list[Any] = []
    arrays: list[Any] = []
    for item in index if isinstance(index, tuple) else (index,):
        if item is None:
            pattern.append(None)
        elif item is Ellipsis:
            pattern.append("...")
        elif isinstance(item, slice):
            pattern.append(("slice", _bound(item.start), _bound(item.stop), _bound(item.step)))
        elif isinstance(item, _INTEGERS) and not isinstance(item, bool):
            pattern.append(int(item))
        else:
            array = (
                item if hasattr(item, "dtype") else np.asarray(item, dtype=None if np.size(item) else np.intp)
            )
            if array.dtype.kind not in "iub":
                raise DTypeError(
                    f"an index must be ints, slices, None, ... or arrays of ints or bools, not {array.dtype} ({item!r})"
                )
            pattern.append("array")
            arrays.append(array)
    return tuple(pattern), tuple(arrays)


def _bound(bound: Any) -> int | None:
    return bound if bound is None or bound.__class__ is int else operator.index(bound)


def index_text(pattern: Pattern) -> str:
    """A pattern as it was written between brackets, arrays as the word.

    >>> index_text((("slice", None, None, None), -1, ("slice", 1, 9, 2), None, "...", "array"))
    '[:, -1, 1:9:2, None, ..., array]'
    """

    def text(item: object) -> str:
        if not isinstance(item, tuple):
            return str(item)
        start, stop, step = ("" if bound is None else str(bound) for bound in item[1:])
        return f"{start}:{stop}" + (f":{step}" if step else "")

    return f"[{', '.join(map(text, pattern))}]"


def build_index(pattern: Pattern, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """What NumPy takes in the brackets for a pattern and its arrays."""
    if len(arrays) == len(pattern):  # as one array alone
        return tuple(arrays)
    if len(pattern) == 1:
        item = pattern[0]
        if item.__class__ is tuple:
            return (slice(item[1], item[2], item[3]),)
        return (Ellipsis,) if item == "..." else pattern
    remaining = iter(arrays)
    items: list[Any] = []
    for item in pattern:
        if isinstance(item, str):
            items.append(next(remaining) if item == "array" else Ellipsis)
        elif isinstance(item, tuple):
            items.append(slice(item[1], item[2], item[3]))
        else:
            items.append(item)
    return tuple(items)
