"""The arena: one block of memory in which values that are not alive at the same time share places.

Greedy by size, as in "Efficient Memory Management for Deep Neural Net Inference" (Pisarchyk and Lee, 2020): the
largest values first, each at the lowest offset that no value alive at the same time covers. Its time is the square of
their number: very many values are placed in the order of time instead, each in the smallest gap.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import NamedTuple

# Values up to so many bytes get places of their own, side by side: sharing would save little, and finding places for
# the 10^5 numbers of a scalar program takes time in the square of their count. No node moves for them either.
SMALL = 64
ALIGNMENT = 64  # bytes: a cache line, and the widest vector
_SMALL_ALIGNMENT = 16
MOST_BY_SIZE = 2048


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
    large = [i for i, one in enumerate(lifetimes) if one.nbytes > SMALL]
    lay_out = _by_size if len(large) <= MOST_BY_SIZE else _by_time
    total = lay_out(lifetimes, large, offsets)
    for i, one in enumerate(lifetimes):
        if one.nbytes <= SMALL:
            offsets[i] = total
            total += -(-one.nbytes // _SMALL_ALIGNMENT) * _SMALL_ALIGNMENT
    return Arena(offsets, total)


def _size(one: Lifetime) -> int:
    return -(-one.nbytes // ALIGNMENT) * ALIGNMENT


def _by_size(lifetimes: Sequence[Lifetime], large: Sequence[int], offsets: list[int]) -> int:
    """Fill in the offsets of some values, the largest first; returns the bytes that they take."""
    placed: list[int] = []
    total = 0
    for i in sorted(large, key=lambda i: -lifetimes[i].nbytes):
        one = lifetimes[i]
        offset = 0
        for k in placed:  # in order of offset
            other = lifetimes[k]
            if other.start > one.end or other.end < one.start:
                continue
            if offset + _size(one) <= offsets[k]:
                break
            offset = max(offset, offsets[k] + _size(other))
        offsets[i] = offset
        total = max(total, offset + _size(one))
        insort(placed, i, key=offsets.__getitem__)
    return total


def _by_time(lifetimes: Sequence[Lifetime], large: Sequence[int], offsets: list[int]) -> int:
    """The same, value after value as a program makes them, each in the smallest gap that holds it."""
    starts: dict[int, int] = {}  # gaps: where they start and where they end, by either
    ends: dict[int, int] = {}
    by_size: list[tuple[int, int]] = []  # length and start, sorted
    total = 0

    def open_gap(start: int, end: int) -> None:
        if start in ends:
            start = close_gap(ends[start])
        if end in starts:
            after = starts[end]
            close_gap(end)
            end = after
        starts[start], ends[end] = end, start
        insort(by_size, (end - start, start))

    def close_gap(start: int) -> int:
        end = starts.pop(start)
        del ends[end]
        del by_size[bisect_left(by_size, (end - start, start))]
        return start

    alive: list[tuple[int, int]] = []  # a heap of when they end, and their numbers
    for i in sorted(large, key=lambda i: lifetimes[i].start):
        while alive and alive[0][0] < lifetimes[i].start:
            _, ended = heappop(alive)
            open_gap(offsets[ended], offsets[ended] + _size(lifetimes[ended]))
        size = _size(lifetimes[i])
        fitting = bisect_left(by_size, (size, 0))
        if fitting < len(by_size):
            start = by_size[fitting][1]
            end = starts[start]
            close_gap(start)
        else:
            start = close_gap(ends[total]) if total in ends else total
            end = total = start + size
        offsets[i] = start
        if start + size < end:
            open_gap(start + size, end)
        heappush(alive, (lifetimes[i].end, i))
    return total
