"""The pass that joins elementwise ops of one shape, and the reductions at their end, into one loop over memory each.

A fused node's op is made here. Its fact "program" says to the kernel language what to compute and which outputs are
reduced; its forward runs the joined ops one after the other. Only values that something outside the group reads
leave it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinygraph.compile import language
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.op import Op, op
from tinygraph.core.operations import operations_of
from tinygraph.core.types import ArrayType, WeakType, normalize_axes, type_of
from tinygraph.passes.rewriting import Rewriting, edges, make_node

LARGEST_GROUP = 64  # ops; bounds a kernel's registers and the time to compile it
_DTYPES = ("float32", "float64", "bool")
_KEEPING_BOOLS = ("where", "logical_and", "logical_or", "logical_xor", "logical_not", "equal", "not_equal")


def fuse_elementwise(graph: Graph) -> Graph:
    """Fuse elementwise ops whose results have one shape, wherever that makes no cycle."""
    if not language.available():
        return graph
    groups = _Groups(graph)
    for node in graph.nodes:
        if _can_fuse(node) or _can_reduce(node):
            groups.add(node)
    rewriting = Rewriting(graph)
    for unit in groups.schedule():
        if not _can_fuse(unit[0]):
            rewriting.keep(unit[0])
        else:
            _put_fused(rewriting, unit, groups.read_outside(unit))
    return rewriting.graph()


def _can_fuse(node: Node) -> bool:
    from tinygraph.compile.language.emitters import has_emitter

    if isinstance(node, Leaf) or not has_emitter(node.op.name) or isinstance(node.types, WeakType):
        return False
    if not isinstance(node.types, ArrayType) or any(entry is None for entry in node.inputs):
        return False
    if not node.types.shape:  # single numbers: the plan joins them by the hundred thousand
        return False
    types = [node.types, *map(_type, (entry for entry in node.inputs if not _is_number(entry)))]
    return all(one.dtype.name in _DTYPES and one.dtype.isnative for one in types)


def _can_reduce(node: Node) -> bool:
    """Whether a node is a reduction of floating-point numbers that a fused loop may end with."""
    if isinstance(node, Leaf) or node.op.kind != "reduction" or isinstance(node.types, WeakType):
        return False
    operand, *others = node.inputs
    if any(one is not None for one in others) or not is_recorded(operand) or isinstance(node.types, tuple):
        return False
    from tinygraph.compile.language.elementwise import REDUCTIONS

    types = edge_type(operand)
    return bool(
        node.op.name in REDUCTIONS
        and types.size
        and types.dtype == node.types.dtype
        and types.dtype.name in ("float32", "float64")
    )


def _axes(node: Node) -> tuple[int, ...]:
    """The axes of a reduction."""
    return normalize_axes(node.op.setting(node.settings, "axis"), edge_type(node.inputs[0]).ndim)


def _is_number(entry: Any) -> bool:
    return isinstance(entry, bool | int | float)


def _type(entry: Any) -> ArrayType:
    return edge_type(entry) if is_recorded(entry) else type_of(entry)


class _Groups:
    """Which nodes are fused with which. A group grows by a node only if the whole stays free of cycles."""

    def __init__(self, graph: Graph) -> None:
        self._nodes = [node for node in graph.nodes if not isinstance(node, Leaf)]
        self._position = {id(node): i for i, node in enumerate(self._nodes)}
        self._group: dict[int, list[Node]] = {id(node): [node] for node in self._nodes}
        ends = (*graph.outputs, *(value for _, value in (*graph.updates, *graph.gradients)))
        self._ends = {id(edge_node(end)) for end in ends if is_recorded(end)}
        self._readers: dict[int, list[Node]] = {id(node): [] for node in self._nodes}
        for node in self._nodes:
            for parent in self._parents(node):
                self._readers[id(parent)].append(node)

    def _parents(self, node: Node) -> Iterable[Node]:
        return (parent for parent in node.parents() if not isinstance(parent, Leaf))

    def add(self, node: Node) -> None:
        """Join a node and the groups of its operands, as far as they may be one."""
        for parent in self._parents(node):
            group = self._group[id(node)]
            other = self._group[id(parent)]
            if other is not group and _can_fuse(parent) and self._may_join(other, group):
                joined = sorted((*other, *group), key=lambda member: self._position[id(member)])
                self._group |= {id(member): joined for member in joined}

    def _may_join(self, first: list[Node], second: list[Node]) -> bool:
        members = (*first, *second)
        elementwise = [member for member in members if _can_fuse(member)]
        reductions = [member for member in members if not _can_fuse(member)]
        shape, phase = elementwise[0].shape, elementwise[0].phase
        return (
            len(members) <= LARGEST_GROUP
            and all(member.shape == shape for member in elementwise)
            # what only the backward pass reads would have to be kept until then
            and all(member.phase == phase for member in members)
            and len({_axes(member) for member in reductions}) <= 1
            and all(edge_type(member.inputs[0]).shape == shape for member in reductions)
            and not self._reads(members, reductions)
            and not self._makes_cycle(members)
        )

    def _reads(self, members: Sequence[Node], reductions: Sequence[Node]) -> bool:
        """Whether a member reads the result of a reduction, which is known only after the loop."""
        ends = set(map(id, reductions))
        return bool(ends) and any(
            id(parent) in ends for member in members for parent in self._parents(member)
        )

    def _makes_cycle(self, members: Sequence[Node]) -> bool:
        """Whether something that members read, outside of them, depends on a member."""
        inside = set(map(id, members))
        first = min(self._position[id(member)] for member in members)
        stack = [parent for member in members for parent in self._parents(member) if id(parent) not in inside]
        seen: set[int] = set()
        while stack:
            node = stack.pop()
            if id(node) in inside:
                return True
            unit = self._group[id(node)]
            if id(unit) in seen or self._position[id(unit[-1])] < first:
                continue
            seen.add(id(unit))
            stack += [parent for member in unit for parent in self._parents(member)]
        return False

    def read_outside(self, unit: Sequence[Node]) -> list[Node]:
        """The members that something outside the group reads, or that leave the graph."""
        inside = set(map(id, unit))
        return [
            node
            for node in unit
            if id(node) in self._ends or any(id(reader) not in inside for reader in self._readers[id(node)])
        ]

    def schedule(self) -> list[list[Node]]:
        """Groups and single nodes, each after everything it reads, otherwise in the order of their last members."""
        done: set[int] = set()
        order: list[list[Node]] = []
        for node in self._nodes:
            stack = [self._group[id(node)]] if id(self._group[id(node)]) not in done else []
            while stack:
                unit = stack[-1]
                needed = [
                    self._group[id(parent)]
                    for member in unit
                    for parent in self._parents(member)
                    if id(self._group[id(parent)]) not in done and self._group[id(parent)] is not unit
                ]
                if id(unit) in done or not needed:
                    stack.pop()
                    if id(unit) not in done:
                        done.add(id(unit))
                        order.append(unit)
                else:
                    stack += needed
        return order


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


def _key(entry: Any) -> Any:
    return (id(edge_node(entry)), edge_index(entry)) if is_recorded(entry) else id(entry)


def _fused_op(
    unit: Sequence[Node], external: Sequence[Any], outputs: Sequence[Node], types: tuple[ArrayType, ...]
) -> Op:
    places = {_key(entry): i for i, entry in enumerate(external)}

    def fused(*xs: Any) -> Any:
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
    from tinygraph.compile.language.program import Loop

    made = op(
        kind="elementwise",
        name=f"fused {names}" if len(names) < 60 else f"fused {len(unit)} ops",
        facts={
            "program": Loop(
                _program(unit, external, places, outputs),
                tuple(None if _can_fuse(node) else node.op.name for node in outputs),
                _axes(reductions[0]) if reductions else (),
            )
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
    from tinygraph.compile.language.program import ProgramBuilder

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
        operands = []
        for position, entry in enumerate(node.inputs):
            if _is_number(entry):
                operands.append(build.constant(entry, meeting))
                continue
            value = places[_key(entry)] if _key(entry) in places else numbers[id(edge_node(entry))]
            keeps = dtypes[value] == meeting or node.op.name == "cast"
            if not keeps and not (dtypes[value] == np.bool_ and _keeps_bool(node, position)):
                value = build.step("cast", value, dtype=meeting.name)
                dtypes[value] = meeting
            operands.append(value)
        number = build.step(node.op.name, *operands, **node.settings)
        numbers[id(node)], dtypes[number] = number, node.output_types[0].dtype
    return build.program(*(numbers[id(node)] for node in outputs))


def _keeps_bool(node: Node, position: int) -> bool:
    return node.op.name in _KEEPING_BOOLS and (node.op.name != "where" or position == 0)


def _meeting_dtype(node: Node) -> np.dtype[Any]:
    """The dtype in which a node's operands meet."""
    entries = node.inputs[1:] if node.op.name == "where" else node.inputs
    strong = [_type(entry) for entry in entries if not _is_number(entry)]
    numbers = [entry for entry in entries if _is_number(entry)]
    numbers += [one.number for one in strong if isinstance(one, WeakType)]
    dtypes = [one.dtype for one in strong if not isinstance(one, WeakType)]
    found = np.result_type(*dtypes, *numbers) if dtypes else node.output_types[0].dtype
    return found if found.kind in "fb" else np.dtype("float64")
