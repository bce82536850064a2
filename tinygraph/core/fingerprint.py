"""Plain arrays that nodes keep for the backward pass: whether somebody has written them since.

A leaf counts how often it is written; an array that the user holds does not. What is remembered of it is the array's
own bytes if they are few, else of each row of its words one sum with random weights: a sweep at the speed of memory.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

_EXACT = 8192  # bytes up to which the contents themselves are remembered
_ROW = 1022  # words in a row: no power of two, so that rows of the user's arrays meet other weights
# Drawn anew in each process. Words have half of the bits of weights and sums, so that each bit of a word reaches 32
# bits of the sum at least: whatever was changed, without knowing the weights, a row keeps its sum once in 2^32 times.
_WEIGHTS = np.frombuffer(os.urandom(8 * _ROW), np.uint64)


def fingerprint(array: np.ndarray[Any, Any]) -> Any:
    """What tells whether an array was changed: equal for equal contents, and for changed ones different.

    >>> a = np.arange(3000.0)
    >>> before = fingerprint(a)
    >>> a[5], a[2000] = a[2000], a[5]
    >>> fingerprint(a) == before
    False
    """
    if array.nbytes <= _EXACT and not array.dtype.hasobject:
        return array.tobytes()
    if array.dtype.kind == "O":
        return list(array.flat)
    if not array.flags.forc:
        array = np.ascontiguousarray(array)
    flat = array.reshape(-1, order="A").view(np.uint8)
    rows = flat.size // (4 * _ROW)
    end = rows * 4 * _ROW
    block = flat[:end].view(np.uint32).reshape(rows, _ROW)
    sums = np.einsum("ij,j->i", block, _WEIGHTS, dtype=np.uint64, casting="unsafe")
    return sums.tobytes(), flat[end:].tobytes()


def may_change(array: object) -> bool:
    """Whether anybody could write an array: not one that is read-only and nobody's view."""
    return isinstance(array, np.ndarray) and (array.base is not None or array.flags.writeable)
