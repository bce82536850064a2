"""Weights that stay packed from run to run, as long as nobody writes them.

A plan that does not change a parameter itself keeps what its kernels make of it. Each run compares the parameter with
a copy, byte by byte, which takes a fraction of packing it: a write is noticed whoever made it, and by what way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

from tinygraph.analysis.arena import ALIGNMENT
from tinygraph.core.types import Array
from tinygraph.kernels.lowering import Run, calls_of, in_order


class Room(NamedTuple):
    """Memory for what is made of a parameter.

    Attributes:
        source: the parameter.
        maker: an int64, of who wrote the rest last.
        copy: bytes of the parameter as it was then.
        scratch: of the kernel's scratch arrays, those that are kept, by number.
    """

    source: Array
    maker: Array
    copy: Array
    scratch: dict[int, Array]


def room_bytes(source: Array, sizes: Sequence[int]) -> int:
    """How much memory a room takes, for scratch arrays of these sizes."""
    return ALIGNMENT * 2 + sum(map(_aligned, (source.nbytes, *sizes)))


def room(source: Array, sizes: dict[int, int], memory: Array) -> Room:
    """A room in memory that is zero at first; others for the same parameter may lie there as well."""
    begin = -memory.ctypes.data % ALIGNMENT
    maker = memory[begin : begin + 8].view(np.int64)
    begin += ALIGNMENT
    copy = memory[begin : begin + source.nbytes]
    begin += _aligned(source.nbytes)
    scratch = {}
    for number, size in sizes.items():
        scratch[number] = memory[begin : begin + size]
        begin += _aligned(size)
    return Room(source, maker, copy, scratch)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def keeping(run: Run, room: Room) -> Run:
    """The same call; what reaches nothing but the parameter and its room runs only where the parameter changed."""
    from tinygraph.kernels.machine_code import Bound
    from tinygraph.kernels.teams import unless_same

    ours = [byte_bounds(one) for one in (room.source, *room.scratch.values()) if one.size]

    def inside(array: Array) -> bool:
        begin, end = byte_bounds(array)
        return any(low <= begin and end <= high for low, high in ours)

    calls = calls_of(run)
    first = [call for call in calls if isinstance(call, Bound) and all(map(inside, call.arrays))]
    if not first:
        return run
    made = unless_same(room.source, room.copy, room.maker, first)
    return in_order(made, *(call for call in calls if not any(call is one for one in first)))
