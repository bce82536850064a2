"""Batching: what an op does to many examples at once, as ordinary ops on arrays with one axis more.

A rule gets its operands with the batch axis in front, where they have one, and answers with results that have it in
front. Families of rules stand here; ops attach them (or rules of their own) with `@op.batch`. Which values are batched
is followed node by node in `run_batched`; `tinygraph.transforms.vmapping` finds the nodes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph.core.engine import ancestors
from tinygraph.core.modes import Mode, Place, modes
from tinygraph.core.node import Leaf, Node, Port, edge_index, edge_node, is_recorded, next_order
from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor, tensor_of
from tinygraph.core.types import ArrayType, reduced_axes, type_of
from tinygraph.errors import OpError, VmapLoopWarning

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.op import Op

# From an op, which of its operands are batched, the operands, and all settings, to the results.
BatchRule = Callable[["Op", Sequence[bool], Sequence[Any], dict[str, Any]], Any]


class Batched(NamedTuple):
    """A value (a tuple for an op with several outputs), and whether it has a batch axis in front."""

    value: Any
    batched: bool


# -- families of rules -------------------------------------------------------------------------------------------------


class Family:
    """A batching rule that many ops share, told from a rule of one op's own."""

    def __init__(self, rule: BatchRule) -> None:
        self.rule = rule


def rank(x: Numeric, batched: bool) -> int:
    """The number of dimensions of one example."""
    return np.ndim(x) - batched


def spread(x: Any, size: int) -> Any:
    """An operand that all examples share, as a batch of it."""
    return ops.broadcast_to(x, shape=(size, *np.shape(x)))


def batch_size(batched: Sequence[bool], operands: Sequence[Any]) -> int:
    """How many examples there are."""
    return int(np.shape(operands[list(batched).index(True)])[0])


def aligned(batched: Sequence[bool], operands: Sequence[Any]) -> list[Any]:
    """Operands that broadcast against each other as those of each example do, the batch axis in front of all."""
    ranks = [rank(x, one) for x, one in zip(operands, batched, strict=True) if x is not None]
    most = max(ranks, default=0)
    return [
        ops.reshape(x, shape=(np.shape(x)[0], *(1,) * (most - rank(x, True)), *np.shape(x)[1:]))
        if one and rank(x, True) < most
        else x
        for x, one in zip(operands, batched, strict=True)
    ]


def _elementwise(op: Op, batched: Sequence[bool], operands: Sequence[Any], settings: dict[str, Any]) -> Any:
    return op(*aligned(batched, operands), **settings)


def _leading(op: Op, batched: Sequence[bool], operands: Sequence[Any], settings: dict[str, Any]) -> Any:
    return op(*operands, **settings)


def _reduction(op: Op, batched: Sequence[bool], operands: Sequence[Any], settings: dict[str, Any]) -> Any:
    if "axis" not in settings:
        return looped(op, batched, operands, settings)
    size = batch_size(batched, operands)
    given = aligned(batched, operands)
    most = max(rank(x, one) for x, one in zip(given, batched, strict=True) if x is not None)
    axis = settings["axis"]
    if most == 0:  # NumPy takes the axes 0 and -1 of a scalar, and all of them, for none
        reduced_axes(axis, 0)
        given = [ops.reshape(x, shape=(size, 1)) if one else x for x, one in zip(given, batched, strict=True)]
        return op(
            *given, **{**settings, "axis": 1, **({"keepdims": False} if "keepdims" in settings else {})}
        )
    return op(*given, **{**settings, "axis": tuple(i + 1 for i in reduced_axes(axis, most))})


def along(*names: str, unset: str = "flat") -> Family:
    """The family of ops on one operand whose settings `names` hold axes of it, which are counted from one more.

    Args:
        unset: what the op does where the first of them is None: "flat", it is of the flattened operand; "every axis",
            of all its axes.
    """

    def rule(op: Op, batched: Sequence[bool], operands: Sequence[Any], settings: dict[str, Any]) -> Any:
        x, *others = operands
        ndim = rank(x, True)
        if any(batched[1:]) or (not ndim and settings[names[0]] is not None):
            return looped(op, batched, operands, settings)
        if settings[names[0]] is not None:
            moved = {name: shifted(settings[name], ndim) for name in names}
            return op(x, *others, **{**settings, **moved})
        if unset == "every axis":
            return op(x, *others, **{**settings, names[0]: tuple(range(1, ndim + 1))})
        shape = np.shape(x)
        found = op(ops.reshape(x, shape=(shape[0], prod(shape[1:]))), *others, **{**settings, names[0]: 1})
        return ops.reshape(found, shape=(shape[0], *(1,) * ndim)) if settings.get("keepdims") else found

    return Family(rule)


def shifted(axis: Any, ndim: int) -> Any:
    """An axis of an example of `ndim` dimensions, or several, as axes of the batch."""
    if isinstance(axis, tuple | list):
        return tuple(shifted(one, ndim) for one in axis)
    return axis % ndim + 1 if -ndim <= axis < ndim else axis + (axis >= 0)  # out of range: the op says so


def _joined(op: Op, batched: Sequence[bool], operands: Sequence[Any], settings: dict[str, Any]) -> Any:
    size = batch_size(batched, operands)
    given = [x if one else spread(x, size) for x, one in zip(operands, batched, strict=True)]
    flat = [ops.reshape(x, shape=(size * np.shape(x)[1], *np.shape(x)[2:])) for x in given]
    return parted(op(*flat, **settings), size)


def parted(result: Any, size: int) -> Any:
    """A result whose first axis holds the batch axis and the examples' first axis, with these apart."""
    if isinstance(result, tuple):
        return tuple(parted(one, size) for one in result)
    shape = np.shape(result)
    return ops.reshape(result, shape=(size, shape[0] // size if size else 0, *shape[1:]))


def _stacked(op: Op, batched: Sequence[bool], operands: Sequence[Any], settings: dict[str, Any]) -> Any:
    if min(rank(x, one) for x, one in zip(operands, batched, strict=True) if x is not None) < 2:
        return looped(op, batched, operands, settings)
    return op(*aligned(batched, operands), **settings)


elementwise = Family(_elementwise)  # operands broadcast
leading = Family(_leading)  # the one operand's leading axes are as many as there are, and settings name none
reduction = Family(_reduction)  # what the operands broadcast to loses the axes `axis`
joined = Family(_joined)  # the first axis of every operand and of the results counts examples already
stacked = Family(_stacked)  # stacks of matrices

_BY_KIND = {"elementwise": elementwise, "comparison": elementwise, "reduction": reduction}


def looped(op: Op, batched: Sequence[bool], operands: Sequence[Any], settings: dict[str, Any]) -> Any:
    """One example after another: right for every op, and slow."""
    size = batch_size(batched, operands)
    if not size:
        examples = [
            ArrayType(np.shape(x)[1:], x.dtype)
            if one
            else type_of(x)
            if isinstance(x, np.ndarray | np.generic)
            else x.type
            if isinstance(x, Tensor)
            else x
            for x, one in zip(operands, batched, strict=True)
        ]
        types = op.type_rule(*examples, **settings)
        several = not isinstance(types, ArrayType)
        empty = tuple(np.zeros((0, *one.shape), one.dtype) for one in (types if several else (types,)))
        return empty if several else empty[0]
    results = [
        op(
            *(ops.index(x, pattern=(i,)) if one else x for x, one in zip(operands, batched, strict=True)),
            **settings,
        )
        for i in range(size)
    ]
    if isinstance(results[0], tuple):
        return tuple(ops.stack(*several, axis=0) for several in zip(*results, strict=True))
    return ops.stack(*results, axis=0)


one_by_one = Family(looped)  # for an op that knows of no way but a loop, which needs no warning

# -- applying them -----------------------------------------------------------------------------------------------------


def rule_of(op: Op) -> BatchRule | None:
    """An op's batching rule: its own, or one that a fact proves; None where only a loop is right."""
    if op.batching is not None:
        return op.batching
    if op.facts.get("body") is not None:
        return _inside
    family = _BY_KIND.get(op.kind)
    return family.rule if family is not None else None


def apply_batched(
    op: Op, batched: Sequence[bool], operands: Sequence[Any], settings: dict[str, Any], told: set[Op]
) -> Any:
    """What an op makes of many examples: results with the batch axis in front.

    Args:
        told: the ops of which it was said already that they go through the examples one by one; extended.
    """
    rule = rule_of(op)
    full = {**op.signature.settings, **settings}
    absent = len(op.signature.operands) - len(operands) if not op.signature.operands[-1].variadic else 0
    operands, batched = (*operands, *(None,) * absent), (*batched, *(False,) * absent)
    if rule is None:
        rule = looped
        if op not in told:
            told.add(op)
            warnings.warn(
                f"vmap: op {op.name!r} of {op.package} has no batching rule, and is applied to one example after "
                f"another, which is slow: attach one with @{op.name}.batch",
                VmapLoopWarning,
                stacklevel=2,
            )
    found = rule(op, batched, operands, full)
    size = batch_size(batched, operands)
    for one in found if isinstance(found, tuple) else (found,):
        if np.ndim(one) < 1 or np.shape(one)[0] != size:
            raise OpError(
                f"the batching rule of op {op.name!r} returned shape {np.shape(one)}; the batch axis, of size {size}, "
                f"must come first"
            )
    return found


def _inside(op: Op, batched: Sequence[bool], operands: Sequence[Any], settings: dict[str, Any]) -> Any:
    """The rule of an op whose body is a graph: each node of it is batched."""
    inside = op.facts["body"]
    size = batch_size(batched, operands)
    found = {
        id(leaf): Batched(x, one) for leaf, x, one in zip(inside.operands, operands, batched, strict=True)
    }
    nodes = ancestors(edge_node(end) for end in inside.ends if is_recorded(end))
    run_batched(nodes, found)
    results = []
    for end in inside.ends:
        value, one = value_of(end, found)
        results.append(value if one else spread(value, size))
    return tuple(results) if len(results) != 1 else results[0]


def value_of(entry: object, found: Mapping[int, Batched]) -> Batched:
    """What an entry of a node's inputs, or a tensor, stands for in a batched run."""
    edge = entry._edge if isinstance(entry, Tensor) else entry
    if is_recorded(edge):
        known = found.get(id(edge_node(edge)))
        if known is not None:
            return Batched(known.value[edge_index(edge)], known.batched) if isinstance(edge, Port) else known
        if isinstance(edge, Leaf) and not isinstance(entry, Tensor):
            return Batched(tensor_of(edge) if edge.requires_grad else edge.value, False)
    return Batched(entry, False)


def run_batched(
    nodes: Iterable[Node], found: dict[int, Batched], operands: Mapping[int, Sequence[Any]] | None = None
) -> dict[int, Batched]:
    """Run nodes on values of which some are batched.

    Args:
        nodes: inputs before consumers.
        found: id of a leaf (or node) -> its value; extended in place and returned.
        operands: id of a node -> what it was applied to, where its inputs do not tell.
    """
    before = modes.current
    places: dict[int, Place] = {}
    told: set[Op] = set()
    try:
        for node in nodes:
            if isinstance(node, Leaf) or id(node) in found:
                continue
            given = operands[id(node)] if operands is not None else node.inputs
            values = [value_of(entry, found) for entry in given]
            flags = [one.batched for one in values]
            recording = before.recording and node.live_rules.mask != 0
            place = _place(node, found, places)
            modes.current = Mode(recording, before.tangents, before.capture, place, before.primals)
            floor = next_order()
            plain = [one.value for one in values]
            if any(flags):
                result = apply_batched(node.op, flags, plain, node.settings, told)
            else:
                result = node.op(*plain, **node.settings)
            _locate(result, node, floor)
            found[id(node)] = Batched(result, any(flags))
    finally:
        modes.current = before
    return found


def _place(node: Node, found: Mapping[int, Batched], places: dict[int, Place]) -> Place:
    """Where the nodes made for a node belong; those of a backward pass serve what was made for its forward node."""
    known = places.get(id(node.place))
    if known is not None:
        return known
    origin = None
    served = node.place.origin
    if served is not None and id(served) in found:
        value = found[id(served)].value
        first = value[0] if isinstance(value, tuple) else value
        if isinstance(first, Tensor) and first._edge is not None:
            origin = edge_node(first._edge)
    place = places[id(node.place)] = Place(node.scope, node.place.phase, origin)
    return place


def _locate(result: object, node: Node, floor: int) -> None:
    """Say of the nodes made for a node that the same line of the user's made them."""
    recorded = [
        edge_node(one._edge)
        for one in (result if isinstance(result, tuple) else (result,))
        if isinstance(one, Tensor) and one._edge is not None
    ]
    for one in ancestors(recorded, floor):
        if not isinstance(one, Leaf):
            one.code, one.offset = node.code, node.offset
    if node.name is not None and len(recorded) == 1 and recorded[0].order >= floor:
        recorded[0].name = node.name
