"""Arrays of the caller in the place of a plan's own: large inputs read where they are, results written where they stay.

Kernels find arrays by pointers in their blocks of arguments. Where all that touches an input or a result of a plan is
generated kernels, a run writes the caller's addresses there, and puts the plan's own back when it ends. Only plans that
change no state do so: an input may lie in the memory of a parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.array_utils import byte_bounds

from tinygraph.core.types import Array
from tinygraph.kernels.array_facts import address_of

FEWEST_BYTES = 2**16  # less is copied faster
_MOST_ORDERS = 16  # of the axes of inputs in memory, remembered


class Pointer(NamedTuple):
    """A pointer among a kernel's arguments.

    Attributes:
        block: the arguments.
        place: of the pointer in it.
        own: what it is.
        offset: from the beginning of the array that may be elsewhere.
    """

    block: Array
    place: int
    own: int
    offset: int


def movable(
    calls: Sequence[tuple[Sequence[int], Callable[[], Any]]],
    arrays: Sequence[Array],
    kept: Sequence[Array],
) -> dict[int, list[Pointer]]:
    """The pointers into each of some arrays, by its number, where it may be elsewhere in each run.

    Args:
        calls: what a plan calls.
        arrays: its inputs, or its results.
        kept: arrays that are read or written besides by what is no kernel.
    """
    kernels = getattr(calls[0][1], "kernels", None) if len(calls) == 1 else None
    if kernels is None or not all(hasattr(one, "pointers_into") for one in kernels):
        return {}
    found: dict[int, list[Pointer]] = {}
    for i, array in enumerate(arrays):
        others = [*kept, *(one for k, one in enumerate(arrays) if k != i)]
        if array.nbytes < FEWEST_BYTES or not array.flags.c_contiguous or array.dtype.hasobject:
            continue
        if any(np.may_share_memory(array, one) for one in others):
            continue
        low, high = byte_bounds(array)
        pointers = [one.pointers_into(low, high) for one in kernels]
        if all(one is not None for one in pointers) and any(pointers):
            found[i] = [
                Pointer(block, place, own, own - low) for some in pointers for block, place, own in some or ()
            ]
    return found


def point_at(pointers: Sequence[Pointer], array: Array) -> None:
    """Have kernels use an array."""
    address = address_of(array)
    for block, place, _, offset in pointers:
        block[place] = address + offset


def point_back(pointers: Sequence[Pointer]) -> None:
    """Have kernels use the plan's own array again."""
    for block, place, own, _ in pointers:
        block[place] = own


class CopiesIn:
    """Kernels that copy inputs to their places in a plan from arrays whose axes lie in another order.

    An order is met twice before a kernel is generated for it; where `generates` says so, others are there already.
    """

    def __init__(self, generates: bool) -> None:
        self._most = _MOST_ORDERS if generates else 0
        self._kernels: dict[tuple[int, tuple[int, ...]], Any] = {}

    def __call__(self, i: int, to: Array, source: Array) -> bool:
        """Whether input i was copied so."""
        if source.nbytes < FEWEST_BYTES or source.dtype != to.dtype:
            return False
        key = i, source.strides
        kernel = self._kernels.get(key, self)
        if kernel is self:
            if len(self._kernels) < self._most:
                self._kernels[key] = None
            return False
        if kernel is None:
            from tinygraph.kernels.copies import copying

            # bound to memory of the plan, so that the caller's is not kept
            like = np.lib.stride_tricks.as_strided(to, source.shape, source.strides)
            kernel = self._kernels[key] = copying(to, like) or False
        if not kernel or address_of(source) % source.itemsize:
            return False
        kernel.cells(1)[1] = address_of(source)
        kernel.run()
        return True
