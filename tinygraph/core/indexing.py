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


def parse_index(index: object) -> tuple[Pattern, tuple[Any, ...]]:
    """Split what stands in the brackets into a pattern and the arrays it refers to, in order.

    Raises:
        DTypeError: an item that is no int, slice, None, ..., or array of ints or bools.

    >>> parse_index((0, slice(1, None), [2, 3]))
    ((0, ('slice', 1, None, None), 'array'), (array([2, 3]),))
    """
    pattern: list[Any] = []
    arrays: list[Any] = []
    for item in index if isinstance(index, tuple) else (index,):
        if item is None:
            pattern.append(None)
        elif item is Ellipsis:
            pattern.append("...")
        elif isinstance(item, slice):
            pattern.append(("slice", *(_bound(bound) for bound in (item.start, item.stop, item.step))))
        elif isinstance(item, int | np.integer) and not isinstance(item, bool):
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
    return None if bound is None else operator.index(bound)


def build_index(pattern: Pattern, arrays: tuple[Any, ...]) -> tuple[Any, ...]:
    """What NumPy takes in the brackets for a pattern and its arrays."""
    remaining = iter(arrays)
    items: list[Any] = []
    for item in pattern:
        if item == "array":
            items.append(next(remaining))
        elif item == "...":
            items.append(Ellipsis)
        elif isinstance(item, tuple):
            items.append(slice(*item[1:]))
        else:
            items.append(item)
    return tuple(items)
