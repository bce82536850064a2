"""The pass that joins elementwise ops of one shape, and the reductions at their end, into one loop over memory each.

A fused node's op is made here. Its fact "program" says to the kernel language what to compute and which outputs are
reduced; its forward runs the joined ops one after the other. Only values that something outside the group reads
leave it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph import kernels
from tinygraph.analysis.operation_counts import operations_of
from tinygraph.compiler.passes.rewriting import Rewriting, edges, make_node
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.op import Op, op
from tinygraph.core.types import ArrayType, WeakType, normalize_axes, type_of

LARGEST_GROUP = 64  # ops; bounds a kernel's registers and the time to compile it
_DTYPES = ("float32", "float64", "bool")


def fuse_elementwise(graph: Graph) -> Graph:
    """Fuse elementwise ops whose results have one shape, wherever that makes no cycle."""
    if not kernels.available() or not any(map(_can_fuse, graph.nodes)):
        return graph
    groups = _Groups(graph)
    groups.join()
    rewriting = Rewriting(graph)
    for unit in groups.schedule():
        if unit.shape is None or not _can_fuse(unit.members[0]):
            rewriting.keep(unit.members[0])
        else:
            _put_fused(rewriting, unit.members, groups.read_outside(unit))
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
    types = [node.types, *map(_type, (entry for entry in node.inputs if not _is_number(entry)))]
    return all(one.dtype.name in _DTYPES and one.dtype.isnative for one in types) and emits(node)


def emits(node: Node) -> bool:
    """Whether what a node's op emits holds for its operands."""
    emission = node.op.emission
    if emission is None:
        return False
    numbers = [entry for i, entry in enumerate(node.inputs) if i not in emission.conditions]
    only_bools = bool(numbers) and all(_type(entry).dtype == np.bool_ for entry in numbers)
    # these become float64, of which NumPy makes something else, unless it is that or a truth
    if only_bools and not emission.bools and node.dtype != np.float64 and node.kind != "comparison":
        return False
    if emission.fits is None:
        return True
    types = (entry if _is_number(entry) else _type(entry) for entry in node.inputs)
    return emission.fits(*types, **node.all_settings)


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


def _is_number(entry: object) -> bool:
    return isinstance(entry, bool | int | float)


def _type(entry: object) -> ArrayType:
    return edge_type(entry) if is_recorded(entry) else type_of(entry)


class _Group(NamedTuple):
    """Nodes that become one loop.

    Attributes:
        members: in the order of the graph.
        shape: that the loop runs over; None for a node that is in no loop.
        axes: over which reductions at its end run, if there are any.
        ends: the ids of these reductions.
    """

    members: list[Node]
    shape: tuple[int, ...] | None = None
    axes: tuple[int, ...] | None = None
    ends: frozenset[int] = frozenset()


class _Groups:
    """Which nodes are fused with which. Groups join only if what comes of it stays free of cycles."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = [node for node in graph.nodes if not isinstance(node, Leaf)]
        self._position = {id(node): i for i, node in enumerate(self._nodes)}
        self._above = {
            id(node): [parent for parent in node.parents() if not isinstance(parent, Leaf)]
            for node in self._nodes
        }
        self._group = {id(node): _alone(node) for node in self._nodes}
        # at each position how many groups have members before it as well as from there on
        self._crossing = [0] * (len(self._nodes) + 1)
        self._ends = {id(edge_node(end)) for end in graph.ends if is_recorded(end)}
        self._readers: dict[int, list[Node]] = {id(node): [] for node in self._nodes}
        for node in self._nodes:
            for parent in self._above[id(node)]:
                self._readers[id(parent)].append(node)

    def join(self) -> None:
        """Join the group of each node with those of its operands, as far as they may be one."""
        for node in self._nodes:
            for parent in self._above[id(node)]:
                first, second = self._group[id(parent)], self._group[id(node)]
                if first is not second and id(parent) not in first.ends and self._may_join(first, second):
                    joined = self._joined(first, second)
                    self._count_crossing((first, -1), (second, -1), (joined, 1))
                    self._group.update((id(member), joined) for member in joined.members)

    def _count_crossing(self, *changes: tuple[_Group, int]) -> None:
        for group, change in changes:
            start, end = (self._position[id(group.members[i])] for i in (0, -1))
            for position in range(start + 1, end + 1):
                self._crossing[position] += change

    def _joined(self, first: _Group, second: _Group) -> _Group:
        members = sorted(first.members + second.members, key=lambda member: self._position[id(member)])
        axes = second.axes if first.axes is None else first.axes
        return _Group(members, first.shape, axes, first.ends | second.ends)

    def _may_join(self, first: _Group, second: _Group) -> bool:
        return (
            first.shape is not None
            and first.shape == second.shape
            # what only the backward pass reads would have to be kept until then
            and first.members[0].phase == second.members[0].phase
            and len(first.members) + len(second.members) <= LARGEST_GROUP
            and (first.axes is None or second.axes is None or first.axes == second.axes)
            and not self._reads_an_end(first, second)
            and not self._makes_cycle(first, second)
        )

    def _reads_an_end(self, first: _Group, second: _Group) -> bool:
        """Whether a member reads the result of a reduction, which is known only after the loop."""
        ends = first.ends | second.ends
        members = (*first.members, *second.members) if ends else ()
        return any(id(parent) in ends for member in members for parent in self._above[id(member)])

    def _makes_cycle(self, first: _Group, second: _Group) -> bool:
        """Whether something outside that members read depends on a member."""
        ours = (first, second)
        start = min(self._position[id(group.members[0])] for group in ours)
        while self._crossing[
            start
        ]:  # what ends before may read a group that does not, and that may read ours
            start -= 1
        stack = self._read_by(first) + self._read_by(second)
        stack = [group for group in stack if group is not first and group is not second]
        seen: set[int] = set()
        while stack:
            group = stack.pop()
            if group is first or group is second:
                return True
            if id(group) not in seen and self._position[id(group.members[-1])] >= start:
                seen.add(id(group))
                stack += self._read_by(group)
        return False

    def _read_by(self, group: _Group) -> list[_Group]:
        """The other groups whose results a group reads."""
        found = (self._group[id(parent)] for member in group.members for parent in self._above[id(member)])
        return [one for one in found if one is not group]

    def read_outside(self, group: _Group) -> list[Node]:
        """The members that something outside the group reads, or that leave the graph."""
        inside = set(map(id, group.members))
        return [
            node
            for node in group.members
            if id(node) in self._ends or any(id(reader) not in inside for reader in self._readers[id(node)])
        ]

    def schedule(self) -> list[_Group]:
        """Groups, each after everything it reads, otherwise in the order of their last members."""
        done: set[int] = set()
        order: list[_Group] = []
        for node in self._nodes:
            stack = [self._group[id(node)]]
            while stack:
                group = stack[-1]
                needed = [one for one in self._read_by(group) if id(one) not in done]
                if id(group) in done or not needed:
                    stack.pop()
                    if id(group) not in done:
                        done.add(id(group))
                        order.append(group)
                else:
                    stack += needed
        return order


def _alone(node: Node) -> _Group:
    if _can_fuse(node):
        return _Group([node], node.shape)
    if _can_reduce(node):
        return _Group([node], edge_type(node.inputs[0]).shape, _axes(node), frozenset([id(node)]))
    return _Group([node])


def _put_fused(rewriting: Rewriting, unit: Sequence[Node], outputs: Sequence[Node]) -> None:
    members = set(map(id, unit))
    external: dict[Any, Any] = {}
    for node in unit:
        for entry in node.inputs:
            if (
                entry is not None
                and not _is_number(entry)
                and not (is_recorded(entry) and id(edge_node(entry)) in members)
            ):
                external.setdefault(_key(entry), entry)
    types = tuple(node.output_types[0] for node in outputs)
    made = _fused_op(unit, list(external.values()), outputs, types)
    inputs = tuple(map(rewriting.now, external.values()))
    fused = make_node(made, inputs, {}, types if len(types) > 1 else types[0], like=unit[-1])
    standing = dict(zip(map(id, outputs), edges(fused), strict=True))
    for node in unit:
        rewriting.put(node, (standing.get(id(node), fused),))


def _key(entry: object) -> Any:
    return (id(edge_node(entry)), edge_index(entry)) if is_recorded(entry) else id(entry)


def _fused_op(
    unit: Sequence[Node], external: Sequence[Any], outputs: Sequence[Node], types: tuple[ArrayType, ...]
) -> Op:
    places = {_key(entry): i for i, entry in enumerate(external)}

    def fused(*xs: object) -> Any:
        values: dict[int, Any] = {}
        for node in unit:
            operands = [
                entry
                if entry is None or _is_number(entry)
                else xs[places[_key(entry)]]
                if _key(entry) in places
                else values[id(edge_node(entry))]
                for entry in node.inputs
            ]
            values[id(node)] = node.op.forward(*operands, **node.settings)
        found = tuple(values[id(node)] for node in outputs)
        return found if len(found) > 1 else found[0]

    names = " ".join(dict.fromkeys(node.op.name for node in unit))
    fused.__doc__ = f"{len(unit)} ops in one loop: {names}"
    reductions = [node for node in unit if not _can_fuse(node)]
    from tinygraph.kernels.program import Loop

    made = op(
        kind="elementwise",
        name=f"fused {names}" if len(names) < 60 else f"fused {len(unit)} ops",
        facts={
            "cheap": all(node.op.kind == "comparison" or node.op.facts.get("cheap") for node in unit),
            "program": Loop(
                _program(unit, external, places, outputs),
                tuple(None if _can_fuse(node) else node.op.facts["reduction"] for node in outputs),
                _axes(reductions[0]) if reductions else (),
            ),
        },
        declare=False,
    )(fused)
    made.types(lambda *xs: types if len(types) > 1 else types[0])
    made.cost(lambda *xs: sum(operations_of(node) or 0 for node in unit))
    return made


def _program(
    unit: Sequence[Node], external: Sequence[Any], places: dict[Any, int], outputs: Sequence[Node]
) -> Any:
    """The group as a program of the kernel language; operands are cast to the dtype they meet in, as NumPy does."""
    from tinygraph.kernels.program import ProgramBuilder

    build = ProgramBuilder()
    dtypes: dict[int, np.dtype[Any]] = {}
    for entry in external:
        dtypes[build.input(_type(entry).dtype)] = _type(entry).dtype
    numbers: dict[int, int] = {}
    for node in unit:
        if not _can_fuse(node):  # reduced behind the program
            (operand,) = (entry for entry in node.inputs if entry is not None)
            numbers[id(node)] = numbers[id(edge_node(operand))]
            continue
        meeting = _meeting_dtype(node)
        conditions = node.op.emission.conditions if node.op.emission is not None else ()
        operands = []
        for position, entry in enumerate(node.inputs):
            wanted = np.dtype(bool) if position in conditions else meeting
            if _is_number(entry):
                operands.append(build.constant(entry, wanted))
                continue
            value = places[_key(entry)] if _key(entry) in places else numbers[id(edge_node(entry))]
            if dtypes[value] != np.bool_ and wanted != np.bool_ and dtypes[value] != wanted:
                value = build.cast(value, wanted)
                dtypes[value] = wanted
            operands.append(value)
        number = build.step(node.op, *operands, **node.settings)
        numbers[id(node)], dtypes[number] = number, node.output_types[0].dtype
    return build.program(*(numbers[id(node)] for node in outputs))


def _meeting_dtype(node: Node) -> np.dtype[Any]:
    """The dtype in which a node's operands meet, conditions aside."""
    conditions = node.op.emission.conditions if node.op.emission is not None else ()
    entries = [entry for i, entry in enumerate(node.inputs) if i not in conditions]
    strong = [_type(entry) for entry in entries if not _is_number(entry)]
    numbers = [entry for entry in entries if _is_number(entry)]
    numbers += [one.number for one in strong if isinstance(one, WeakType)]
    dtypes = [one.dtype for one in strong if not isinstance(one, WeakType)]
    found = np.result_type(*dtypes, *numbers) if dtypes else node.output_types[0].dtype
    return found if found.kind in "fb" else np.dtype("float64")
