"""Kernels need llvmlite; without it everything here is skipped. Arrays between canaries, to catch stray writes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygraph import kernels

# they import llvmlite; `test_available.py` tells why they are missing
collect_ignore = (
    [] if kernels.available() else [path.name for path in Path(__file__).parent.glob("test_[!a]*.py")]
)
CANARY = 64  # elements on each side


class Guard:
    """Makes arrays that lie between canaries, and tells whether all canaries are alive."""

    def __init__(self) -> None:
        self._blocks: list[tuple[Any, int]] = []

    def __call__(self, shape: tuple[int, ...], dtype: Any, fill: Any = np.nan) -> Any:
        """An array of this shape, filled with nan unless told otherwise."""
        size = int(np.prod(shape))
        block = np.full(size + 2 * CANARY, 123, dtype)
        self._blocks.append((block, size))
        array = block[CANARY : CANARY + size].reshape(shape)
        array[...] = fill
        return array

    def like(self, values: Any) -> Any:
        """A copy of an array between canaries."""
        array = self(values.shape, values.dtype, 0)
        array[...] = values
        return array

    def intact(self) -> bool:
        """Whether nothing was written outside the arrays."""
        return all(
            (block[:CANARY] == np.array(123, block.dtype)).all()
            and (block[CANARY + size :] == np.array(123, block.dtype)).all()
            for block, size in self._blocks
        )


@pytest.fixture
def guard() -> Iterator[Guard]:
    made = Guard()
    yield made
    assert made.intact(), "a kernel wrote outside its arrays"
