"""Numbers that depend on a text key alone, the same on every machine and with every NumPy version.

What they are used for is in `cases` and `training_cases`.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Choice = TypeVar("Choice")


class Stream:
    """A source of numbers for one key.

    Only the raw 64-bit output of PCG64 is used: NumPy promises that it never changes, and does not
    promise so for the methods of `Generator`.
    """

    def __init__(self, key: str) -> None:
        self._bits = np.random.PCG64(int.from_bytes(hashlib.sha256(key.encode()).digest(), "big"))

    def uniform(self, shape: Sequence[int] = (), low: float = -1.0, high: float = 1.0) -> Array:
        raw = self._bits.random_raw(int(np.prod(shape, dtype=np.int64)))
        unit = (np.asarray(raw, np.uint64) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return frozen((low + (high - low) * unit).reshape(tuple(shape)))

    def integers(self, low: int, high: int, shape: Sequence[int] = ()) -> Array:
        """Integers from low to high, both included."""
        return frozen(np.floor(self.uniform(shape, low, high + 1)).astype(np.int64))

    def integer(self, low: int, high: int) -> int:
        return int(self.integers(low, high))

    def choice(self, options: Sequence[Choice]) -> Choice:
        return options[self.integer(0, len(options) - 1)]


def frozen(values: Any) -> Array:
    """An array nobody can write to: cases are shared between tests."""
    array = np.array(values)
    array.flags.writeable = False
    return array


def digest(*parts: Any) -> str:
    """A short text that changes when the parts do, so that stored values of other inputs are noticed."""
    hashed = hashlib.sha256()
    for part in parts:
        array = isinstance(part, np.ndarray)
        hashed.update((repr((part.shape, part.dtype.str)) if array else repr(part)).encode())
        hashed.update(part.tobytes() if array else b"")
    return hashed.hexdigest()[:12]


def projection_weights(size: int) -> Array:
    """Four rows of random signs times magnitudes in [0.5, 1.5].

    The lower bound makes a single wrong element show in every projection, whatever its place.
    """
    stream = Stream(f"projection/{size}")
    signs = 2.0 * stream.integers(0, 1, (4, size)) - 1.0
    return signs * stream.uniform((4, size), 0.5, 1.5)
