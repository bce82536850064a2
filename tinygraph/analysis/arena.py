"""The arena: one block of memory in which values that are not alive at the same time share places.

Greedy by size, as in "Efficient Memory Management for Deep Neural Net Inference" (Pisarchyk and Lee, 2020): the
largest values first, each at the lowest offset that no value alive at the same time covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# Values up to so many bytes get places of their own, side by side: sharing would save little, and finding places for
# the 10^5 numbers of a scalar program takes time in the square of their count. No node moves for them either.
SMALL = 64
ALIGNMENT = 64  # bytes: a cache line, and the widest vector
_SMALL_ALIGNMENT = 16


class Lifetime(NamedTuple):
    """A place in memory and the nodes between which it must stay: written at `start`, last read at `end`.

    Attributes:
        buffers: what lies there, one after the other: the results of elementwise ops take over their operand's place.
    """

    nbytes: int
    start: int
    end: int
    buffers: tuple[int, ...] = ()


class Arena(NamedTuple):
    """Where each lifetime lies, and how many bytes that takes, rounding and gaps included."""

    offsets: list[int]
    nbytes: int


def place(lifetimes: Sequence[Lifetime]) -> Arena:
    """An offset for each value, and the size of the arena.

    >>> place([Lifetime(100, 0, 1), Lifetime(100, 1, 2), Lifetime(100, 2, 3), Lifetime(8, 0, 3)])
    Arena(offsets=[0, 128, 0, 256], nbytes=272)
    """
    offsets = [0] * len(lifetimes)
    placed: list[int] = []
    total = 0
    large = [i for i, one in enumerate(lifetimes) if one.nbytes > SMALL]
    for i in sorted(large, key=lambda i: -lifetimes[i].nbytes):
        one = lifetimes[i]
        size = -(-one.nbytes // ALIGNMENT) * ALIGNMENT
        offset = 0
        for k in placed:  # in order of offset
            other = lifetimes[k]
            if other.start > one.end or other.end < one.start:
                continue
            if offset + size <= offsets[k]:
                break
            offset = max(offset, offsets[k] + -(-other.nbytes // ALIGNMENT) * ALIGNMENT)
        offsets[i] = offset
        total = max(total, offset + size)
        placed.append(i)
        placed.sort(key=offsets.__getitem__)
    for i, one in enumerate(lifetimes):
        if one.nbytes <= SMALL:
            offsets[i] = total
            total += -(-one.nbytes // _SMALL_ALIGNMENT) * _SMALL_ALIGNMENT
    return Arena(offsets, total)
