"""Plain arrays that nodes keep for the backward pass: whether somebody has written them since.

A leaf counts how often it is written; an array that the user holds does not. What is remembered of it is the array's
own bytes if they are few, else sums of its words, by rows and by columns of a block: two sweeps at memory speed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_EXACT = 8192  # bytes up to which the contents themselves are remembered
# Words in a row: odd, so that a row of flipped signs does not add up to nothing, and no power of two, so that rows of
# the user's arrays that change places meet other columns.
_ROW = 511


def fingerprint(array: np.ndarray[Any, Any]) -> Any:
    """What tells whether an array was changed: equal for equal contents, and for changed ones different.

    Two elements that change places are always noticed; of changes that are made up to be missed some are.

    >>> a = np.arange(3000.0)
    >>> before = fingerprint(a)
    >>> a[5], a[2000] = a[2000], a[5]
    >>> fingerprint(a) == before
    False
    """
    if array.dtype.kind == "O":
        return list(array.flat)
    if array.nbytes <= _EXACT:
        return array.tobytes()
    if not array.flags.forc:
        array = np.ascontiguousarray(array)
    flat = array.reshape(-1, order="A").view(np.uint8)
    count = flat.size // 8
    words = flat[: count * 8].view(np.uint64)
    rows = count // _ROW
    block = words[: rows * _ROW].reshape(rows, _ROW)
    return (
        np.add.reduce(block, axis=1).tobytes(),
        np.add.reduce(block, axis=0).tobytes(),
        words[rows * _ROW :].tobytes(),
        flat[count * 8 :].tobytes(),
    )


def may_change(array: object) -> bool:
    """Whether anybody could write an array: not one that is read-only and nobody's view."""
    return isinstance(array, np.ndarray) and (array.flags.writeable or array.base is not None)
