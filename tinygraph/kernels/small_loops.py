"""Whole loops of small bodies as one kernel: carries are in registers, and a step is straight code without calls.

What a loop over ten numbers does is a few nanoseconds of arithmetic a step; kernels called one by one, each for a few
numbers, take twenty times as long. Every element is a value of LLVM's here. Elementwise ops emit what they emit in
fused loops; ops that only move or add up elements run their own forward, on arrays whose elements are these values;
loops and choices within become loops and choices of the machine. Whatever is larger, or does something else, is for
kernels of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.node import Leaf, Node, edge_index, edge_node, entry_type, is_recorded
from tinygraph.core.subgraphs import Subgraph, Unfolding, unfolding_of
from tinygraph.core.types import Array, ArrayType, WeakType
from tinygraph.kernels.builder import Offset, Value, dtype_of, splat, tree
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.elementwise import REDUCTIONS
from tinygraph.kernels.emission import Code, emit
from tinygraph.kernels.machine_code import Kernel, compile_kernel, kept
from tinygraph.kernels.program import emits

MOST_INSTRUCTIONS = 6_000  # LLVM takes some 50 microseconds for each
MOST_ELEMENTS = 32  # of one value in registers: of more, vectors are faster
MOST_BYTES = 2**17  # that stacks of inner loops take on the machine's stack
# Steps of all loops together, after which it is time to look at whether the user wants to interrupt.
MOST_STEPS = 2**20
_DTYPES = ("float32", "float64", "bool", "int64")
_POINTWISE = ("elementwise", "comparison")
_MOVING = (
    "shape",
    "indexing",
    "contraction",
)  # kinds of ops whose forwards only move, multiply and add elements
Element = Any  # a `Number`, or a number that is known
Held = Any  # a value: an array of elements, or one in memory


class Unfit(Exception):
    """A loop that is not for one kernel."""


class Repeated(NamedTuple):
    """A loop, as its kernel sees it.

    Attributes:
        how: its body, its condition, and what is carried.
        types, strides: of the memory of all operands and results, strides in elements.
        in_pieces: whether the number of steps is read when it runs.
    """

    how: Unfolding
    types: tuple[ArrayType, ...]
    strides: tuple[tuple[int, ...], ...]
    in_pieces: bool


def bind(how: Unfolding, operands: Sequence[Any], results: Sequence[Array]) -> Callable[[], Any] | None:
    """A kernel that runs a whole loop in the memory of its operands and results, or None if it is not for this.

    Args:
        how: the loop; without a bound for its steps it stops from time to time, for Python to look at signals.
        operands, results: those of its op.
    """
    arrays = [one if isinstance(one, np.ndarray) else np.asarray(one) for one in (*operands, *results)]
    one_step = steps_of(dataclasses.replace(how, most=1))
    in_pieces = how.condition is not None and (how.most is None or how.most * one_step > MOST_STEPS)
    if how.choice or one_step > MOST_STEPS or not (in_pieces or steps_of(how) <= MOST_STEPS):
        return None
    strides = []
    for one in arrays:
        if one.dtype.name not in _DTYPES or not one.dtype.isnative:
            return None
        if any(stride % one.itemsize for stride in one.strides):
            return None
        strides.append(tuple(stride // one.itemsize for stride in one.strides))
    types = tuple(ArrayType(one.shape, one.dtype) for one in arrays)
    repeated = Repeated(how, types, tuple(strides), in_pieces)
    key = repeated
    if key in _unfit:
        return None
    try:
        kernel = _kernel(repeated, this_cpu())
    except Unfit:
        if len(_unfit) > 1_000:
            _unfit.clear()
        _unfit.add(key)
        return None
    if not in_pieces:
        return kernel.bind(*arrays)
    return _InPieces(kernel, arrays[: len(operands)], arrays[len(operands) :], how, MOST_STEPS // one_step)


_unfit: set[Repeated] = set()


class _InPieces:
    """A loop that may take long: so many steps at a time."""

    def __init__(
        self,
        kernel: Kernel,
        operands: Sequence[Array],
        results: Sequence[Array],
        how: Unfolding,
        at_once: int,
    ) -> None:
        self._control = np.zeros(1, np.int64)
        self._first = kernel.bind(*operands, *results, self._control)
        self._next = kernel.bind(*results[: how.carries], *operands[how.carries :], *results, self._control)
        self._steps, self._most, self._at_once = results[how.carries], how.most, at_once

    def __call__(self) -> None:
        done, run = 0, self._first
        while True:
            wanted = self._at_once if self._most is None else min(self._at_once, self._most - done)
            self._control[0] = wanted
            run()
            made = int(self._steps)
            done, run = done + made, self._next
            if made < wanted or done == self._most:
                break
        self._steps[...] = done


def steps_of(how: Unfolding) -> int:
    """The steps of a loop at most, those of loops within it included."""
    inside = 0
    for part in (*how.parts, *([how.condition] if how.condition is not None else ())):
        for node in part.graph.nodes:
            inner = unfolding_of(node)
            if inner is not None:
                inside += steps_of(inner)
    if how.choice:
        return inside
    return MOST_STEPS + 1 if how.most is None else how.most * max(1, inside)


@kept
def _kernel(repeated: Repeated, cpu: Cpu) -> Kernel:
    names = [f"p{i}" for i in range(len(repeated.types))]
    more = ["control"] if repeated.in_pieces else []

    def write(code: Code) -> None:
        stored = [
            _InMemory(code.pointers[name], 0, types.dtype.name, types.shape, strides)
            for name, types, strides in zip(names, repeated.types, repeated.strides, strict=True)
        ]
        count = len(repeated.how.parts[0].input_types)
        writer = _LoopWriter(code)
        most = code.lookup(code.pointers["control"], 0) if repeated.in_pieces else repeated.how.most
        found = writer.loop(repeated.how, stored[:count], most, stored[count:])
        for value, place in zip(found, stored[count:], strict=True):
            if value is not place:
                writer.store(value, place)

    return compile_kernel("small loop", [*names, *more], write, cpu=cpu)


class _InMemory(NamedTuple):
    """A value in memory; the offset and the strides are in elements."""

    pointer: Value
    offset: Offset
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def elements(self) -> list[Offset]:
        """Where the elements are, in order, behind the offset."""
        return [
            sum(i * stride for i, stride in zip(at, self.strides, strict=True))
            for at in np.ndindex(*self.shape)
        ]


class Number:
    """An element that only the running kernel knows, in arithmetic of arrays of objects."""

    __slots__ = ("code", "value")
    __hash__ = None  # type: ignore[assignment] # as it cannot be compared

    def __init__(self, code: Code, value: Value) -> None:
        self.code, self.value = code, value

    def _pair(self, other: object) -> tuple[Value, Value]:
        dtype = dtype_of(self.value)
        if dtype == "bool" or not isinstance(other, Number | int | float | np.generic):
            raise Unfit
        if dtype == "int64" and isinstance(other, float | np.floating):
            raise Unfit
        its = value_of(other, dtype)
        if dtype_of(its) != dtype:
            raise Unfit
        return self.value, its

    def _made(
        self, real: Callable[..., Value], whole: Callable[..., Value], one: Value, two: Value
    ) -> Number:
        return Number(self.code, (whole if dtype_of(one) == "int64" else real)(one, two))

    def __add__(self, other: object) -> Number:
        return self._made(self.code.ir.fadd, self.code.ir.add, *self._pair(other))

    def __radd__(self, other: object) -> Number:
        return self._made(self.code.ir.fadd, self.code.ir.add, *self._pair(other)[::-1])

    def __sub__(self, other: object) -> Number:
        return self._made(self.code.ir.fsub, self.code.ir.sub, *self._pair(other))

    def __rsub__(self, other: object) -> Number:
        return self._made(self.code.ir.fsub, self.code.ir.sub, *self._pair(other)[::-1])

    def __mul__(self, other: object) -> Number:
        return self._made(self.code.ir.fmul, self.code.ir.mul, *self._pair(other))

    def __rmul__(self, other: object) -> Number:
        return self._made(self.code.ir.fmul, self.code.ir.mul, *self._pair(other)[::-1])

    def _compared(self, relation: str, other: object) -> Number:
        real = functools.partial(self.code.compare, relation)
        whole = functools.partial(self.code.ir.icmp_signed, relation)
        return self._made(real, whole, *self._pair(other))

    def __lt__(self, other: object) -> Number:
        return self._compared("<", other)

    def __le__(self, other: object) -> Number:
        return self._compared("<=", other)

    def __gt__(self, other: object) -> Number:
        return self._compared(">", other)

    def __ge__(self, other: object) -> Number:
        return self._compared(">=", other)

    def __eq__(self, other: object) -> Number:  # type: ignore[override] # as NumPy's is
        return self._compared("==", other)

    def __ne__(self, other: object) -> Number:  # type: ignore[override]
        return self._compared("!=", other)

    def __bool__(self) -> bool:
        raise Unfit


def value_of(element: Element, dtype: str) -> Value:
    """An element as a value of LLVM's; a number that is known, in a dtype."""
    if isinstance(element, Number):
        return element.value
    return splat(element, dtype, 1) if isinstance(element, bool | int | float) else _known(element, dtype)


def _known(element: Element, dtype: str) -> Value:
    """A value of LLVM's as it is, an element of NumPy's as a constant."""
    return splat(element.item(), dtype, 1) if isinstance(element, np.generic) else element


class _LoopWriter:
    """Writes loops, choices and what is in them.

    Values are arrays of objects, with an element each, or in memory.
    """

    def __init__(self, code: Code) -> None:
        self.code = code
        self._bytes = 0

    # -- memory ------------------------------------------------------------------------------------------------------

    def load(self, value: Held) -> Array:
        """A value in registers."""
        if not isinstance(value, _InMemory):
            return np.asarray(value)
        offsets = value.elements if np.prod(value.shape) <= MOST_ELEMENTS else _refuse()
        code = self.code
        found = [code.load(value.pointer, code.offset(value.offset, one), value.dtype) for one in offsets]
        return _objects([Number(code, one) for one in found], value.shape)

    def store(self, value: Held, place: _InMemory) -> None:
        """Write a value."""
        code = self.code
        for one, offset in zip(self.load(value).reshape(-1), place.elements, strict=True):
            code.store(
                _cast(code, value_of(one, place.dtype), place.dtype),
                place.pointer,
                code.offset(place.offset, offset),
            )

    def _room(self, types: ArrayType) -> _InMemory:
        """Memory on the machine's stack."""
        size = int(np.prod(types.shape))
        self._bytes += size * types.dtype.itemsize
        if self._bytes > MOST_BYTES:
            raise Unfit
        place = self.code.room(size, types.dtype.name)
        strides = tuple(one // types.dtype.itemsize for one in np.empty(types.shape, types.dtype).strides)
        return _InMemory(place, 0, types.dtype.name, types.shape, strides)

    def in_memory(self, value: Held, types: ArrayType) -> _InMemory:
        """A value in memory, of which a loop takes a slice for each step."""
        if isinstance(value, _InMemory):
            return value
        place = self._room(types)
        self.store(value, place)
        return place

    # -- bodies ------------------------------------------------------------------------------------------------------

    def body(self, part: Subgraph, operands: Sequence[Any], known: dict[int, Any] | None = None) -> list[Any]:
        """The results of a subgraph."""
        graph = part.optimized.graph
        found = dict(known or {})
        found |= {id(leaf): (one,) for leaf, one in zip(graph.inputs, operands, strict=True)}
        for node in graph.nodes:
            if id(node) not in found:
                found[id(node)] = self._results(node, found)
        return [_of(end, found) for end in graph.outputs]

    def alike(self, part: Subgraph, first: int, operands: Sequence[Any]) -> dict[int, Any]:
        """The values of nodes that read no operand before the first: what is the same in all steps, made once."""
        graph = part.optimized.graph
        found: dict[int, Any] = {
            id(leaf): (one,) for leaf, one in zip(graph.inputs[first:], operands, strict=True)
        }
        for leaf, one in zip(graph.inputs[first:], operands, strict=True):
            if (
                isinstance(one, _InMemory)
                and np.prod(one.shape) <= MOST_ELEMENTS
                and not _sliced(graph.nodes, leaf)
            ):
                found[id(leaf)] = (self.load(one),)
        later = {id(leaf) for leaf in graph.inputs[:first]}
        for node in graph.nodes:
            if id(node) in found or id(node) in later:
                continue
            if any(is_recorded(one) and id(edge_node(one)) in later for one in node.inputs):
                later.add(id(node))
            else:
                found[id(node)] = self._results(node, found)
        return found

    def _results(self, node: Node | Leaf, found: dict[int, Any]) -> tuple[Any, ...]:
        if isinstance(node, Leaf):
            raise Unfit
        if any(one.dtype.name not in _DTYPES for one in node.output_types):
            raise Unfit
        operands = [_of(one, found) for one in node.inputs]
        how = unfolding_of(node)
        if how is not None:
            results = self.choice(how, node, operands) if how.choice else self.loop(how, operands, how.most)
        elif node.kind in _POINTWISE and emits(node):
            results = [self.elementwise(node, operands)]
        elif node.op.facts.get("reduction") in REDUCTIONS:
            results = [self.fold(node, operands)]
        elif node.op.facts.get("converts"):
            results = [self.converted(node, operands)]
        elif node.kind in _MOVING and len(node.output_types) == 1:
            results = [self.moved(node, operands)]
        else:
            raise Unfit
        if self.code.size() > MOST_INSTRUCTIONS:
            raise Unfit
        return tuple(results)

    def elementwise(self, node: Node, operands: Sequence[Any]) -> Array:
        """One op on each element."""
        types = node.output_types[0]
        kinds = [None if isinstance(one, bool | int | float) else entry_type(one) for one in node.inputs]
        meeting = _meeting(node.inputs, kinds)
        if meeting.kind == "i":
            return self._of_integers(node, operands)
        if meeting.name not in ("float32", "float64", "bool"):
            raise Unfit
        dtype = "float64" if meeting.kind == "b" else meeting.name  # of Python numbers among booleans
        arrays = []
        for one, kind in zip(operands, kinds, strict=True):
            x = self.load(one)
            own = dtype if kind is None else kind.dtype.name
            values = [_cast(self.code, value_of(element, own), own) for element in x.reshape(-1)]
            if own != "bool":
                values = [_cast(self.code, value, dtype) for value in values]
            arrays.append(np.broadcast_to(_objects(values, x.shape), types.shape))
        self.code.single_numbers = not types.shape
        made = []
        for places in zip(*(one.reshape(-1) for one in arrays), strict=True):
            value = emit(self.code, node.op, places, dict(node.settings))
            if dtype_of(value) != types.dtype.name:
                raise Unfit
            made.append(Number(self.code, value))
        return _objects(made, types.shape)

    def _of_integers(self, node: Node, operands: Sequence[Any]) -> Array:
        """NumPy's own function on arrays of objects: counters are added to, and compared."""
        types, ufunc = node.output_types[0], node.op.numpy_twin
        if not isinstance(ufunc, np.ufunc) or types.dtype.name not in ("int64", "bool"):
            raise Unfit
        try:
            made = np.asarray(ufunc(*map(self.load, operands), dtype=object), object)
        except TypeError as error:
            raise Unfit from error
        return np.broadcast_to(made, types.shape)

    def fold(self, node: Node, operands: Sequence[Any]) -> Array:
        """A reduction."""
        types, settings = node.output_types[0], node.all_settings
        if any(one is not None for one in operands[1:]) or types.dtype.kind != "f":
            raise Unfit
        x = self.load(operands[0])
        axis = settings["axis"]
        axes = (
            range(x.ndim)
            if axis is None
            else [one % x.ndim for one in (axis if isinstance(axis, tuple) else (axis,))]
        )
        if not x.size:
            raise Unfit
        kept_axes = [i for i in range(x.ndim) if i not in set(axes)]
        rows = x.transpose(*kept_axes, *axes).reshape(int(np.prod(types.shape)), -1)
        how = REDUCTIONS[node.op.facts["reduction"]]
        made = []
        for row in rows:
            values = [value_of(one, types.dtype.name) for one in row]
            total = tree(functools.partial(how.combine, self.code), values)
            if how.mean:
                total = self.code.divide(total, splat(len(values), types.dtype.name, 1))
            made.append(Number(self.code, total))
        return _objects(made, types.shape)

    def converted(self, node: Node, operands: Sequence[Any]) -> Array:
        """Each element in another dtype."""
        types = node.output_types[0]
        x = self.load(operands[0])
        own = entry_type(node.inputs[0]).dtype.name
        if own not in _DTYPES:
            raise Unfit
        values = [_cast(self.code, value_of(one, own), types.dtype.name) for one in x.reshape(-1)]
        return _objects([Number(self.code, one) for one in values], types.shape)

    def moved(self, node: Node, operands: Sequence[Any]) -> Array:
        """An op that moves, multiplies and adds elements: its forward, on arrays of them."""
        types = node.output_types[0]
        given = [
            self.load(one) if is_recorded(entry) else one
            for one, entry in zip(operands, node.inputs, strict=True)
        ]
        try:
            made = np.asarray(node.op.forward(*given, **node.all_settings), object)
        except (TypeError, ValueError, IndexError, AttributeError) as error:
            raise Unfit from error
        if made.shape != types.shape or made.size > MOST_ELEMENTS:
            raise Unfit
        return made

    # -- loops and choices -------------------------------------------------------------------------------------------

    def loop(
        self,
        how: Unfolding,
        operands: Sequence[Any],
        most: Offset | None,
        places: Sequence[_InMemory] | None = None,
    ) -> list[Any]:
        """The results of a loop of so many steps at most; what steps make goes to the places, if they are given."""
        (part,) = how.parts
        if most is None:
            raise Unfit
        code, types, made = self.code, part.input_types, part.output_types
        carries, first = how.carries, how.carries + how.slices
        start = [self.load(one) for one in operands[:carries]]
        xs = [
            self.in_memory(one, ArrayType((most, *kind.shape), kind.dtype))
            for one, kind in zip(operands[carries:first], types[carries:first], strict=True)
        ]
        behind = [] if how.condition is not None else made[carries:]
        stacks = (
            list(places[carries : carries + len(behind)])
            if places is not None
            else [self._room(ArrayType((most, *kind.shape), kind.dtype)) for kind in behind]
        )
        rest = operands[first:]
        known = self.alike(part, first, rest)
        asked = {} if how.condition is None else self.alike(how.condition, carries, rest)

        def unpacked(values: Sequence[Value]) -> list[Array]:
            flat = iter(values)
            return [
                _objects([Number(code, next(flat)) for _ in range(int(np.prod(kind.shape)))], kind.shape)
                for kind in made[:carries]
            ]

        def packed(carry: Sequence[Any]) -> list[Value]:
            return [
                _cast(code, value_of(one, kind.dtype.name), kind.dtype.name)
                for value, kind in zip(carry, made, strict=False)
                for one in self.load(value).reshape(-1)
            ]

        def holds(values: Sequence[Value]) -> Value:
            assert how.condition is not None
            (answer,) = self.body(
                how.condition, [*unpacked(values[1:]), *_given(how.condition, carries, asked)], asked
            )
            return value_of(self.load(answer).reshape(-1)[0], "bool")

        def step(i: Offset, values: Sequence[Value]) -> list[Value]:
            t = code.offset(most - 1, (i, -1)) if how.reverse else i
            slices = [
                one._replace(
                    offset=code.offset(one.offset, (t, one.strides[0])),
                    shape=one.shape[1:],
                    strides=one.strides[1:],
                )
                for one in xs
            ]
            found = self.body(part, [*unpacked(values[1:]), *slices, *_given(part, first, known)], known)
            for value, stack in zip(found[carries:], stacks, strict=True):
                self.store(
                    value,
                    stack._replace(
                        offset=code.offset(stack.offset, (t, stack.strides[0])),
                        shape=stack.shape[1:],
                        strides=stack.strides[1:],
                    ),
                )
            return [code.ir.add(values[0], splat(1, "int64", 1)), *packed(found[:carries])]

        carried = code.loop(
            0, most, 1, step, [splat(0, "int64", 1), *packed(start)],
            condition=None if how.condition is None else holds,
        )  # fmt: skip
        results: list[Any] = [*unpacked(carried[1:]), *stacks]
        return results if how.condition is None else [*results, _objects([Number(code, carried[0])], ())]

    def choice(self, how: Unfolding, node: Node, operands: Sequence[Any]) -> list[Any]:
        """The results of one of several branches."""
        code, types = self.code, node.output_types
        kind = entry_type(node.inputs[0]).dtype
        which = value_of(self.load(operands[0]).reshape(-1)[0], "bool" if kind.kind == "b" else "int64")
        if dtype_of(which) == "bool":
            which = code.ir.zext(which, splat(0, "int64", 1).type)

        def branch(part: Subgraph) -> list[Value]:
            return [
                _cast(code, value_of(one, kind.dtype.name), kind.dtype.name)
                for value, kind in zip(self.body(part, operands[1:]), types, strict=True)
                for one in self.load(value).reshape(-1)
            ]

        flat = iter(code.one_of(which, [functools.partial(branch, part) for part in how.parts]))
        return [
            _objects(
                list(itertools.islice((Number(code, one) for one in flat), int(np.prod(kind.shape)))),
                kind.shape,
            )
            for kind in types
        ]


def _given(part: Subgraph, first: int, known: dict[int, Any]) -> list[Any]:
    """The operands from one on, as they were loaded before the loop."""
    return [known[id(leaf)][0] for leaf in part.optimized.graph.inputs[first:]]


def _sliced(nodes: Sequence[Node | Leaf], leaf: Leaf) -> bool:
    """Whether a value is the xs of an inner loop: it stays in memory."""
    for node in nodes:
        how = unfolding_of(node)
        if (
            how is not None
            and not how.choice
            and any(one is leaf for one in node.inputs[how.carries : how.carries + how.slices])
        ):
            return True
    return False


def _of(entry: object, found: dict[int, Any]) -> Any:
    return found[id(edge_node(entry))][edge_index(entry)] if is_recorded(entry) else entry


def _meeting(entries: Sequence[Any], kinds: Sequence[ArrayType | None]) -> np.dtype[Any]:
    """The dtype in which operands meet, as NumPy has it: Python numbers take that of arrays."""
    numbers = [
        one if kind is None else kind.dtype.type(0).item()
        for one, kind in zip(entries, kinds, strict=True)
        if kind is None or isinstance(kind, WeakType)
    ]
    arrays = [kind.dtype for kind in kinds if kind is not None and not isinstance(kind, WeakType)]
    return np.result_type(*arrays, *numbers)


def _cast(code: Code, value: Value, dtype: str) -> Value:
    own = dtype_of(value)
    if own == dtype:
        return value
    if own == "int64" and dtype in ("float32", "float64"):
        return code.as_float(value, dtype)
    if "int64" in (own, dtype):
        raise Unfit
    return code.cast(value, dtype)


def _objects(elements: Sequence[Any], shape: Sequence[int]) -> Array:
    found = np.empty(len(elements), object)
    found[:] = elements
    return found.reshape(shape)


def _refuse() -> Any:
    raise Unfit
