"""The pass that joins elementwise ops of one shape, and the reductions at their end, into one loop over memory each.

A fused node's op is made here. Its fact "program" says to the kernel language what to compute and which outputs are
reduced; its forward runs the joined ops one after the other. Only values that something outside the group reads
leave it.
"""

from __future__ import annotations

import functools
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph import kernels
from tinygraph.analysis.operation_counts import operations_of
from tinygraph.compiler.passes.acyclic_groups import AcyclicGroups
from tinygraph.compiler.passes.rewriting import Rewriting, edges, make_node
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Phase
from tinygraph.core.node import (
    Leaf,
    Node,
    SettingsKey,
    edge_node,
    edge_type,
    entry_key,
    entry_type,
    is_recorded,
    settings_key,
)
from tinygraph.core.op import Op, op
from tinygraph.core.types import ArrayType, WeakType, normalize_axes
from tinygraph.kernels.program import emits

LARGEST_GROUP = 64  # ops; bounds a kernel's registers and the time to compile it
_DTYPES = frozenset(map(np.dtype, ("float32", "float64", "bool")))  # of this machine's byte order
_NUMBERS = (int, float)  # bool is an int
# So many groups that differ in numbers alone share one kernel, which gets the numbers as operands.
MANY = 4


def fuse_elementwise(graph: Graph) -> Graph:
    """Fuse elementwise ops whose results have one shape, wherever that makes no cycle."""
    if not kernels.available():
        return graph
    meetings = {id(node): _meeting_dtype(node) for node in graph.nodes if _can_fuse(node)}
    if not meetings:
        return graph
    groups = _Groups(graph, meetings)
    groups.join()
    rewriting = Rewriting(graph)
    loops = [
        _Formed(members, outputs, meetings) if id(members[0]) in meetings else members[0]
        for members, outputs in groups.schedule()
    ]
    alike = _numbers_of_alike(loop for loop in loops if isinstance(loop, _Formed))
    made: dict[Any, Op] = {}  # equal groups share an op, and with it a kernel
    for loop in loops:
        if isinstance(loop, _Formed):
            _put_fused(rewriting, loop, alike, made)
        else:
            rewriting.keep(loop)
    return rewriting.graph()


def _can_fuse(node: Node) -> bool:
    if isinstance(node, Leaf) or not isinstance(node.types, ArrayType):
        return False
    if not node.types.shape:  # single numbers: the plan joins them by the hundred thousand
        return False
    if node.op.emission is None or isinstance(node.types, WeakType):
        return False
    if any(entry is None for entry in node.inputs):
        return False
    types = [
        node.types,
        *map(entry_type, (entry for entry in node.inputs if not isinstance(entry, _NUMBERS))),
    ]
    return all(one.dtype in _DTYPES for one in types) and emits(node)


def _can_reduce(node: Node) -> bool:
    """Whether a node is a reduction of floating-point numbers that a fused loop may end with."""
    if isinstance(node, Leaf) or node.op.kind != "reduction" or not isinstance(node.types, ArrayType):
        return False
    operand, *others = node.inputs
    if any(one is not None for one in others) or not is_recorded(operand) or isinstance(node.types, WeakType):
        return False
    from tinygraph.kernels.elementwise import REDUCTIONS

    types = edge_type(operand)
    return bool(
        node.op.facts.get("reduction") in REDUCTIONS
        and types.size
        and types.dtype == node.types.dtype
        and types.dtype.name in ("float32", "float64")
    )


def _axes(node: Node) -> tuple[int, ...]:
    """The axes of a reduction."""
    return normalize_axes(node.op.setting(node.settings, "axis"), edge_type(node.inputs[0]).ndim)


Meetings = Mapping[
    int, np.dtype[Any]
]  # of each node that may be in a loop, by its id: in which dtype its operands meet


class _Unit(NamedTuple):
    """Nodes that become one loop, by number.

    Attributes:
        members: in the order of the graph.
        shape: that the loop runs over; None for a node that is in no loop.
        phase: of all of them.
        axes: over which reductions at its end run, if there are any.
        ends: these reductions.
    """

    members: list[int]
    shape: tuple[int, ...] | None
    phase: Phase
    axes: tuple[int, ...] | None = None
    ends: frozenset[int] = frozenset()


class _Groups:
    """Which nodes are fused with which. Groups join only if what comes of it stays free of cycles."""

    def __init__(self, graph: Graph, loopable: Container[int]) -> None:
        self._nodes = [node for node in graph.nodes if not isinstance(node, Leaf)]
        position = {id(node): i for i, node in enumerate(self._nodes)}
        self._above = [
            [position[id(parent)] for parent in node.parents() if not isinstance(parent, Leaf)]
            for node in self._nodes
        ]
        self._groups = AcyclicGroups(self._above)
        self._units = {
            id(self._groups.of[i]): _alone(i, node, loopable) for i, node in enumerate(self._nodes)
        }
        self._ends = {position[id(end)] for end in _made(graph.ends) if id(end) in position}
        self._readers: list[list[int]] = [[] for _ in self._nodes]
        for i, several in enumerate(self._above):
            for parent in several:
                self._readers[parent].append(i)

    def join(self) -> None:
        """Join the group of each node with those of its operands, as far as they may be one."""
        for i, above in enumerate(self._above):
            for parent in above:
                one, other = self._groups.of[parent], self._groups.of[i]
                first, second = self._units[id(one)], self._units[id(other)]
                if one is other or parent in first.ends or not self._may_join(first, second):
                    continue
                joined = self._groups.join(one, other)
                if joined is not None:
                    axes = second.axes if first.axes is None else first.axes
                    members = sorted(first.members + second.members)
                    self._units[id(joined)] = _Unit(
                        members, first.shape, first.phase, axes, first.ends | second.ends
                    )

    def _may_join(self, first: _Unit, second: _Unit) -> bool:
        return (
            first.shape is not None
            and first.shape == second.shape
            # what only the backward pass reads would have to be kept until then
            and first.phase == second.phase
            and len(first.members) + len(second.members) <= LARGEST_GROUP
            and (first.axes is None or second.axes is None or first.axes == second.axes)
            and not self._reads_an_end(first, second)
        )

    def _reads_an_end(self, first: _Unit, second: _Unit) -> bool:
        """Whether a member reads the result of a reduction, which is known only after the loop."""
        ends = first.ends | second.ends
        members = (*first.members, *second.members) if ends else ()
        return any(parent in ends for member in members for parent in self._above[member])

    def schedule(self) -> Iterator[tuple[list[Node], list[Node]]]:
        """The nodes of each group, and those that something outside of it reads or that leave the graph.

        Groups come each after everything it reads, otherwise in the order of their last members.
        """
        for group in self._groups.in_order(range(len(self._nodes))):
            members = self._units[id(group)].members
            inside = set(members)
            outside = [
                i
                for i in members
                if i in self._ends or any(reader not in inside for reader in self._readers[i])
            ]
            yield [self._nodes[i] for i in members], [self._nodes[i] for i in outside]


def _made(ends: Iterable[Any]) -> Iterator[Node]:
    return (edge_node(end) for end in ends if is_recorded(end))


def _alone(i: int, node: Node, loopable: Container[int]) -> _Unit:
    if id(node) in loopable:
        return _Unit([i], node.shape, node.phase)
    if _can_reduce(node):
        shape = edge_type(node.inputs[0]).shape
        return _Unit([i], shape, node.phase, _axes(node), frozenset([i]))
    return _Unit([i], None, node.phase)


class _Operand(NamedTuple):
    """What a member of a group reads: an operand of the group, another member's result, a number, or nothing.

    Attributes:
        words: the number as text, in which 0.0 is not -0.0, nor 1 True.
    """

    external: int | None = None
    member: int | None = None
    number: Any = None
    words: str = ""


@functools.lru_cache(LARGEST_GROUP)
def _of_operand(place: int) -> _Operand:
    return _Operand(external=place)


@functools.lru_cache(LARGEST_GROUP)
def _of_member(number: int) -> _Operand:
    return _Operand(member=number)


class _LoopForm(NamedTuple):
    """A group without what is particular to its nodes: what its op consists of.

    Attributes:
        members: of each node the op, its settings, what it reads, the dtype in which that meets, and its own; the dtype
            of the meeting is None for a reduction.
        externals: the types of the group's operands.
        outputs: the members that leave the group.
        types: their types.
    """

    members: tuple[tuple[Op, SettingsKey, tuple[_Operand, ...], Any, Any], ...]
    externals: tuple[ArrayType, ...]
    outputs: tuple[int, ...]
    types: tuple[ArrayType, ...]

    @property
    def without_numbers(self) -> Any:
        """The form as it would be with every number as an operand, for comparing."""
        members = tuple((*one[:2], _places(one[2]), *one[3:]) for one in self.members)
        return members, *self[1:]

    @property
    def numbers(self) -> tuple[str, ...]:
        return tuple(operand.words for one in self.members for operand in one[2] if operand.words)


def _places(operands: Sequence[_Operand]) -> tuple[Any, ...]:
    return tuple((operand.external, operand.member, bool(operand.words)) for operand in operands)


def _numbers_of_alike(loops: Iterable[_Formed]) -> dict[Any, set[Any]]:
    """For each form that groups have, numbers left out, the numbers that they have there."""
    found: dict[Any, set[Any]] = {}
    for loop in loops:
        numbers = loop.form.numbers
        if numbers:
            found.setdefault(loop.form.without_numbers, set()).add(numbers)
    return found


def _put_fused(rewriting: Rewriting, loop: _Formed, alike: dict[Any, set[Any]], made: dict[Any, Op]) -> None:
    unit, outputs, form, external = loop.unit, loop.outputs, loop.form, loop.external
    if len(alike.get(form.without_numbers, ())) >= MANY:
        form, external = _formed(unit, outputs, loop.meetings, lifted=True)
    fused_op = made.get(form)
    if fused_op is None:
        fused_op = made[form] = _fused_op(form, sum(operations_of(node) or 0 for node in unit))
    inputs = tuple(map(rewriting.now, external))
    types = form.types if len(form.types) > 1 else form.types[0]
    fused = make_node(fused_op, inputs, {}, types, like=unit[-1])
    standing = dict(zip(map(id, outputs), edges(fused), strict=True))
    for node in unit:
        rewriting.put(node, (standing.get(id(node), fused),))


class _Formed:
    """A group with its form and its operands."""

    def __init__(self, unit: Sequence[Node], outputs: Sequence[Node], meetings: Meetings) -> None:
        self.unit, self.outputs, self.meetings = unit, outputs, meetings
        self.form, self.external = _formed(unit, outputs, meetings)


def _formed(
    unit: Sequence[Node], outputs: Sequence[Node], meetings: Meetings, lifted: bool = False
) -> tuple[_LoopForm, list[Any]]:
    """The form of a group, and its operands; with `lifted`, numbers are operands as well."""
    number = {id(node): i for i, node in enumerate(unit)}
    external: dict[Any, Any] = {}
    places: dict[Any, int] = {}

    def operand(node: Node, entry: Any, dtype: Any) -> _Operand:
        if entry is None:
            return _Operand()
        key: Any
        if isinstance(entry, _NUMBERS):
            fixed = not lifted or dtype is None or (node.op.emission is not None and node.op.emission.fits)
            if fixed:
                return _Operand(number=entry, words=repr(entry))
            key, entry = (dtype, repr(entry)), np.asarray(entry, dtype)
        else:
            key = entry_key(entry) or id(entry)
            if isinstance(key, tuple) and key[0] in number:
                return _of_member(number[key[0]])
        external.setdefault(key, entry)
        return _of_operand(places.setdefault(key, len(places)))

    members = []
    for node in unit:
        meeting = meetings.get(id(node))
        conditions = node.op.emission.conditions if node.op.emission is not None else ()
        read = tuple(
            operand(node, entry, np.dtype(bool) if i in conditions else meeting)
            for i, entry in enumerate(node.inputs)
        )
        settings = settings_key(node.settings)
        members.append((node.op, settings, read, meeting, node.output_types[0]))
    form = _LoopForm(
        tuple(members),
        tuple(map(entry_type, external.values())),
        tuple(number[id(node)] for node in outputs),
        tuple(node.output_types[0] for node in outputs),
    )
    return form, list(external.values())


def _fused_op(form: _LoopForm, operations: int) -> Op:
    def fused(*xs: object) -> Any:
        values: list[Any] = []
        for one, settings, read, _, _ in form.members:
            operands = [
                xs[operand.external]
                if operand.external is not None
                else values[operand.member]
                if operand.member is not None
                else operand.number
                for operand in read
            ]
            values.append(one.forward(*operands, **dict(settings.pairs)))
        found = tuple(values[i] for i in form.outputs)
        return found if len(found) > 1 else found[0]

    members = [member[0] for member in form.members]
    names = " ".join(dict.fromkeys(one.name for one in members))
    fused.__doc__ = f"{len(members)} ops in one loop: {names}"
    types = form.types if len(form.types) > 1 else form.types[0]
    made = op(
        kind="elementwise",
        name=f"fused {names}" if len(names) < 60 else f"fused {len(members)} ops",
        facts={
            "cheap": all(one.kind == "comparison" or one.facts.get("cheap") for one in members),
            "program": _loop(form),
        },
        declare=False,
    )(fused)
    made.types(lambda *xs: types)
    made.cost(lambda *xs: operations)
    return made


def _loop(form: _LoopForm) -> Any:
    """The group in the kernel language; operands are cast to the dtype they meet in, as NumPy does."""
    from tinygraph.kernels.program import Loop, ProgramBuilder

    build = ProgramBuilder()
    dtypes: dict[int, np.dtype[Any]] = {}
    for types in form.externals:
        dtypes[build.input(types.dtype)] = types.dtype
    numbers: list[int] = []
    reductions: list[str | None] = []
    axes: tuple[int, ...] = ()
    for one, settings, read, meeting, types in form.members:
        if meeting is None:  # reduced behind the program
            (source,) = (operand.member for operand in read if operand.member is not None)
            numbers.append(numbers[source])
            reductions.append(one.facts["reduction"])
            axes = normalize_axes(one.setting(dict(settings.pairs), "axis"), form.members[source][4].ndim)
            continue
        conditions = one.emission.conditions if one.emission is not None else ()
        operands = []
        for position, operand in enumerate(read):
            wanted = np.dtype(bool) if position in conditions else meeting
            if operand.words:
                operands.append(build.constant(operand.number, wanted))
                continue
            value = operand.external if operand.member is None else numbers[operand.member]
            assert value is not None
            if dtypes[value] != np.bool_ and wanted != np.bool_ and dtypes[value] != wanted:
                value = build.cast(value, wanted)
                dtypes[value] = wanted
            operands.append(value)
        numbers.append(build.step(one, *operands, **dict(settings.pairs)))
        reductions.append(None)
        dtypes[numbers[-1]] = types.dtype
    program = build.program(*(numbers[i] for i in form.outputs))
    return Loop(program, tuple(reductions[i] for i in form.outputs), axes)


def _meeting_dtype(node: Node) -> np.dtype[Any]:
    """The dtype in which a node's operands meet, conditions aside."""
    conditions = node.op.emission.conditions if node.op.emission is not None else ()
    entries = [entry for i, entry in enumerate(node.inputs) if i not in conditions]
    numbers: list[Any] = []
    strong: list[ArrayType] = []
    for entry in entries:
        if isinstance(entry, _NUMBERS):
            numbers.append(entry)
        else:
            strong.append(entry_type(entry))
    numbers += [one.number for one in strong if isinstance(one, WeakType)]
    dtypes = [one.dtype for one in strong if not isinstance(one, WeakType)]
    found = np.result_type(*dtypes, *numbers) if dtypes else node.output_types[0].dtype
    return found if found.kind in "fb" else np.dtype("float64")
