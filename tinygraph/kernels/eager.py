"""Eager ops through generated kernels: on large arrays an op runs what its `lower` rule answers, as in a plan.

A rule binds kernels to arrays that stay where they are; eager operands are elsewhere in each call. So a kernel is bound
twice, to two sets of arrays, and what differs between the two tells which number among its arguments is which array's
address: a call writes these and runs one native function. Rules that do anything but generated code are left to NumPy.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph import kernels
from tinygraph.core.locks import Lock
from tinygraph.core.op import Op
from tinygraph.core.types import Array, ArrayType, type_of
from tinygraph.errors import SettingError
from tinygraph.kernels.lowering import Check, Layouts, Lowering, Types, calls_of, rows
from tinygraph.kernels.program import ProgramBuilder
from tinygraph.kernels.recent import Recent
from tinygraph.kernels.threads import get_threads

if TYPE_CHECKING:
    from tinygraph.kernels.machine_code import Bound

_SWITCH = "TINYGRAPH_EAGER_KERNELS"
_MOVES = "shape"  # the kind of ops that only move elements: NumPy's views cost nothing
# kinds whose results lie as their operands do; those of others lie in rows, whatever they are made of
_FOLLOWING = ("elementwise", "comparison", "reduction", "normalization", "loss", "stable")
# kinds whose results may lie otherwise though all operands are in rows
_AS_GIVEN = ("indexing", "contraction", "other")
_ALIGNMENT = 64
_KEPT_SCRATCH = 256 * 2**20
_RELOCATION_BYTES = 20_000  # of one, about
_lock = Lock()
_on = os.environ.get(_SWITCH, "1") != "0"


def get_eager_kernels() -> bool:
    """Whether eager ops on large arrays run generated kernels."""
    return _on


def set_eager_kernels(on: bool) -> None:
    """Whether eager ops on large arrays run generated kernels, where llvmlite is installed: by default they do.

    Convolutions, matrix products, pools, normalisations, reductions, losses and activations on arrays of at least 8192
    elements take a fraction of NumPy's time then. Their sums are added in another order (errors of 2e-6 of the largest
    result in float32, no Winograd); for one number of threads every run gives the same bits. The first call for new
    shapes compiles them. The environment variable `TINYGRAPH_EAGER_KERNELS=0` switches them off as well.

    Raises:
        SettingError: neither True nor False.

    >>> set_eager_kernels(False)
    >>> get_eager_kernels()
    False
    >>> set_eager_kernels(True)
    """
    global _on
    if not isinstance(on, bool):
        raise SettingError(f"eager kernels are on or off, True or False, not {on!r}")
    _on = on


class _Alone(threading.local):
    """Whether this thread computes on NumPy alone."""

    numpy = False


_alone = _Alone()


@contextmanager
def numpy_alone() -> Iterator[None]:
    """Within it this thread's eager ops run their forwards."""
    before, _alone.numpy = _alone.numpy, True
    try:
        yield
    finally:
        _alone.numpy = before


class _Left:
    """Says that NumPy serves an op on operands of some types."""

    nbytes = 200


_left = _Left()
_found = Recent(64 * 2**20)


def run_eagerly(op: Op, values: Sequence[Any], settings: dict[str, Any]) -> Any:
    """The result of an op on arrays, by generated kernels; None where its forward is to run.

    Raises:
        What the op's checks of its operands raise.
    """
    if not _on or op.kind == _MOVES or _alone.numpy:
        return None
    kinds: list[Any] = []
    for i, value in enumerate(values):
        if isinstance(value, np.generic):
            value = np.asarray(value)
            values = [*values[:i], value, *values[i + 1 :]]
        if value.__class__ is np.ndarray:
            kinds.append((value.shape, value.strides, value.dtype))
        elif value is None:
            kinds.append(None)
        elif op.emission is not None and value.__class__ in (int, float):
            kinds.append(repr(value))  # part of the code; 0.0 is not -0.0
        else:
            return None
    key = (op, tuple(kinds), tuple(settings.items()), get_threads())
    found = _found.get(key)
    if found is None:
        found = _left
        if kernels.available():
            with suppress(Exception):  # an operand that does not fit: the forward says so
                found = _relocatable(op, values, settings) or _left
        _found.put(key, found)
    return None if found is _left else found(values)


class _Relocatable:
    """An op's kernels, whose arguments are written anew for the arrays of each call.

    Args:
        table: the kernels.
        numbers: all their arguments, which the table reads.
        places: where among these addresses stand, of which array, and how far behind its first element.
        outputs: the types of the results; `several` of them are returned as a tuple.
        orders: of each result its axes from the slowest to the fastest in memory, or None of one in rows.
        direct: whether the kernels write results in these orders; else in rows, and they are copied.
        scratch: bytes that a run needs.
        fixed: operands that the kernels read at places of their own, by their positions.
    """

    nbytes = _RELOCATION_BYTES

    def __init__(
        self,
        table: Any,
        numbers: Array,
        places: tuple[Array, Array, Array],
        outputs: Sequence[ArrayType],
        several: bool,
        orders: Sequence[Sequence[int] | None],
        direct: bool,
        scratch: int,
        fixed: dict[int, Array],
    ) -> None:
        self._table, self._numbers = table, numbers
        self._places, self._which, self._behind = places
        self._outputs, self._several, self._scratch, self._fixed = outputs, several, scratch, fixed
        self._orders = orders if any(orders) else ()
        self._direct = direct

    def __call__(self, values: Sequence[Any]) -> Any:
        if self._direct and self._orders:
            results = list(map(_empty, self._outputs, self._orders))
        else:
            results = [np.empty(one.shape, one.dtype) for one in self._outputs]
        addresses = []
        for value in values:
            if value.__class__ is not np.ndarray:
                addresses.append(0)
                continue
            address = value.__array_interface__["data"][0]
            if address % value.itemsize:
                return None
            addresses.append(address)
        addresses += [result.__array_interface__["data"][0] for result in results]
        with _lock.held:
            addresses.append(_scratch(self._scratch))
            for i, place in self._fixed.items():
                np.copyto(place, values[i])
            self._numbers[self._places] = np.array(addresses, np.int64)[self._which] + self._behind
            self._table()
        if self._orders and not self._direct:
            results = [_laid_out(*one) for one in zip(results, self._outputs, self._orders, strict=True)]
        made = tuple(result if result.ndim else result[()] for result in results)
        return made if self._several else made[0]


def _empty(types: ArrayType, order: Sequence[int] | None) -> Array:
    """An array of a type whose axes lie in memory in an order."""
    if order is None:
        return np.empty(types.shape, types.dtype)
    return np.empty([types.shape[i] for i in order], types.dtype).transpose(np.argsort(order))


def _laid_out(result: Array, types: ArrayType, order: Sequence[int] | None) -> Array:
    if order is None:
        return result
    made = _empty(types, order)
    np.copyto(made, result)
    return made


def _orders(
    op: Op, values: Sequence[Any], settings: dict[str, Any], count: int
) -> list[list[int] | None] | None:
    """How the results of an op's forward lie, for each its axes from the slowest to the fastest, None for rows.

    What decides is found by running it once, where it may be another order: writes through a reshape of a result reach
    the result where it lies in rows, and so must not depend on how large it is. None where it answers views.
    """
    arrays = [value for value in values if isinstance(value, np.ndarray)]
    follows = op.kind in _FOLLOWING and not all(one.flags.c_contiguous for one in arrays)
    if not follows and op.kind not in _AS_GIVEN:
        return [None] * count
    with np.errstate(all="ignore"):
        made = op.forward(*values, **settings)
    orders: list[list[int] | None] = []
    for one in made if isinstance(made, tuple) else (made,):
        if any(np.may_share_memory(one, array) for array in arrays):
            return None
        rows = not isinstance(one, np.ndarray) or one.flags.c_contiguous
        strides = () if rows else one.strides
        orders.append(None if rows else sorted(range(one.ndim), key=lambda i: -abs(strides[i])))
    return orders


def _relocatable(op: Op, values: Sequence[Any], settings: dict[str, Any]) -> _Relocatable | None:
    """An op's kernels for operands of these shapes, strides and dtypes, or None where NumPy serves it."""
    arrays = {i: value for i, value in enumerate(values) if isinstance(value, np.ndarray)}
    types = tuple(type_of(value) if i in arrays else value for i, value in enumerate(values))
    made = op.type_rule(*types, **settings)
    several = not isinstance(made, ArrayType)
    outputs = tuple(made) if several else (made,)
    if not all(map(_serves, (*(types[i] for i in arrays), *outputs))):
        return None
    lowering = _lowered(op, values, Types(types, outputs), settings)
    if lowering is None:
        return None
    # labels and indices: small, and read by checks
    fixed = {i: np.zeros(x.shape, x.dtype) for i, x in arrays.items() if x.dtype.kind in "iu"}
    if any(values[i].strides != place.strides for i, place in fixed.items()):
        return None
    orders = _orders(op, values, settings, len(outputs))
    if orders is None:
        return None
    direct = op.emission is not None
    like = list(map(_empty, outputs, orders if direct else [None] * len(outputs)))
    first, second = (_Arrays(values, like, lowering.scratch, fixed, shift) for shift in (0, 8))
    apart = [b - a for a, b in zip(first.addresses, second.addresses, strict=True)]
    moving = [distance for distance in apart if distance]
    if len(set(moving)) < len(moving):
        return None
    runs = [lowering.bind(one.operands, one.outputs, one.scratch) for one in (first, second)]
    if None in runs:
        return None
    made_of = _relocated(runs, apart, first)
    return made_of and _Relocatable(*made_of, outputs, several, orders, direct, first.nbytes, fixed)


def _relocated(
    runs: Sequence[Any], apart: Sequence[int], first: _Arrays
) -> tuple[Any, Array, tuple[Array, Array, Array]] | None:
    """The table, its arguments and the places of addresses among them, which differ between two bindings."""
    from tinygraph.kernels.machine_code import Bound
    from tinygraph.kernels.teams import Table

    threads = get_threads()
    calls, others = (calls_of(run) for run in runs)
    numbers: list[Array] = []
    twins: list[Array] = []
    for call, other in zip(calls, others, strict=True):
        if isinstance(call, Check) and isinstance(other, Check):
            continue
        if not isinstance(call, Bound) or not isinstance(other, Bound) or call.address != other.address:
            return None
        numbers += [call.arguments(thread, threads) for thread in range(threads)]
        twins += [other.arguments(thread, threads) for thread in range(threads)]
    if any(a.shape != b.shape for a, b in zip(numbers, twins, strict=True)):
        return None
    block, twin = np.concatenate(numbers), np.concatenate(twins)
    array_of = {distance: i for i, distance in enumerate(apart) if distance}
    differences = (twin - block).tolist()
    # the rest are places of the binding's own, and numbers
    places = [i for i, distance in enumerate(differences) if distance in array_of]
    which = [array_of[differences[i]] for i in places]
    behind = block[places] - np.array(first.addresses, np.int64)[which]
    begin = 0
    for call in calls:
        if isinstance(call, Bound):
            for thread in range(threads):
                begin = call.place_arguments(thread, threads, block, begin)
    table = Table([call for call in calls if isinstance(call, Bound | Check)], threads)
    return table, block, (np.array(places), np.array(which), behind)


class _Arrays:
    """Arrays in the place of an op's operands, results and scratch, with the address of each; nothing is in them.

    Their addresses are multiples of 64 plus `shift`: of two sets, no two arrays are as far apart as two that a binding
    makes for itself.
    """

    def __init__(
        self,
        values: Sequence[Any],
        outputs: Sequence[Array],
        scratch: Sequence[int],
        fixed: dict[int, Array],
        shift: int,
    ) -> None:
        self._shift, self._count = shift, 0
        self.operands = [
            x
            if not isinstance(x, np.ndarray)
            else fixed[i]
            if i in fixed
            else self._like(x.shape, x.dtype, x.strides)
            for i, x in enumerate(values)
        ]
        self.outputs = [self._like(one.shape, one.dtype, one.strides) for one in outputs]
        starts = np.cumsum([0, *(-(-size // _ALIGNMENT) * _ALIGNMENT for size in scratch)]).tolist()
        self.nbytes = starts[-1]
        memory = self._like((self.nbytes,), np.dtype(np.uint8), None)
        self.scratch = [memory[start : start + size] for start, size in zip(starts, scratch, strict=False)]
        arrays = [*self.operands, *self.outputs, memory]
        self.addresses = [
            0
            if not isinstance(one, np.ndarray) or any(one is place for place in fixed.values())
            else int(one.ctypes.data)
            for one in arrays
        ]

    def _like(self, shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...] | None) -> Array:
        if strides is None:
            extent = dtype.itemsize * int(np.prod(shape))
        else:
            if min(strides, default=0) < 0:
                raise ValueError("an array that runs backwards")
            extent = dtype.itemsize + sum(step * (n - 1) for step, n in zip(strides, shape, strict=True))
        self._count += self._shift  # further and further, so that no two are equally far apart
        room = np.empty(extent + 2 * _ALIGNMENT + _ALIGNMENT * self._count, np.uint8)
        start = -room.ctypes.data % _ALIGNMENT + self._shift + _ALIGNMENT * self._count
        return np.ndarray(shape, dtype, room, start, strides)


def _serves(types: ArrayType) -> bool:
    return (
        types.dtype.kind in "fiub" and types.dtype.isnative and types.dtype != np.float16 and types.size > 0
    )


def _lowered(op: Op, values: Sequence[Any], types: Types, settings: dict[str, Any]) -> Lowering | None:
    """What an op's rule answers for operands in rows or of other strides; one that only emits becomes a loop."""
    from tinygraph.kernels.cpu import this_cpu

    everything = {**op.signature.settings, **settings}
    if op.emission is not None:
        return _loop(op, types, settings, everything)
    layouts = Layouts(
        tuple(
            rows(value.ndim) if value is not None and value.flags.c_contiguous else None for value in values
        ),
        tuple(rows(len(one.shape)) for one in types.outputs),
    )
    found: Lowering | None = op.lowering and op.lowering(
        types, layouts, this_cpu()._replace(exact=True), **everything
    )
    return found


def _loop(op: Op, types: Types, settings: dict[str, Any], everything: dict[str, Any]) -> Lowering | None:
    """One loop over memory for an op that emits, on arrays of one dtype, conditions and Python numbers."""
    from tinygraph.kernels import elementwise

    emission: Any = op.emission
    numbers = [one for i, one in enumerate(types.inputs) if i not in emission.conditions]
    dtypes = {one.dtype for one in (*numbers, *types.outputs) if isinstance(one, ArrayType)}
    conditions = (types.inputs[i] for i in emission.conditions)
    if len(dtypes) > 1 or dtypes.pop().kind != "f" or not all(_is_bool(one) for one in conditions):
        return None
    if emission.fits is not None and not emission.fits(*types.inputs, **everything):
        return None
    build = ProgramBuilder()
    arrays = [i for i, one in enumerate(types.inputs) if isinstance(one, ArrayType)]
    places = {i: build.input(types.inputs[i].dtype) for i in arrays}
    operands = [
        places[i] if i in places else build.constant(one, types.outputs[0].dtype)
        for i, one in enumerate(types.inputs)
    ]
    program = build.program(build.step(op, *operands, **settings))

    def bind(inputs: Sequence[Any], outputs: Sequence[Array], scratch: Sequence[Array]) -> Bound:
        return elementwise.bind(program, [inputs[i] for i in arrays], outputs)

    return Lowering(bind)


def _is_bool(one: Any) -> bool:
    return isinstance(one, ArrayType) and one.dtype == np.bool_


_memory = np.empty(0, np.uint8)


def _scratch(nbytes: int) -> int:
    """The address of scratch memory, which all share who hold the lock."""
    global _memory
    if _memory.size < nbytes + _ALIGNMENT or _memory.size > max(_KEPT_SCRATCH, nbytes + _ALIGNMENT):
        _memory = np.empty(nbytes + _ALIGNMENT, np.uint8)
    address: int = _memory.__array_interface__["data"][0]
    return address + -address % _ALIGNMENT
