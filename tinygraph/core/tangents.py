"""Forward mode: tangents travel from leaves to outputs, node by node, in order of creation.

A node's map from tangent to tangent is its op's own forward-mode rule where there is one. Otherwise it is derived
from the VJP: an elementwise rule is diagonal, so it maps tangents as it maps cotangents; any other is linear in `g`,
and its transpose with respect to `g` is the forward map ("linearise, then transpose", as in JAX's `linear_transpose`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.engine import (
    WRITE_ERRORS,
    NotDerived,
    ancestors,
    conform,
    fetch,
    for_reading,
    missing_rule,
    part_of,
    propagate,
    raise_named,
    rewrapped,
)
from tinygraph.core.modes import mode
from tinygraph.core.node import Edge, Leaf, Node, Port, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.op import LiveRule
from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def push(nodes: Sequence[Node], tangents: dict[int, Any], *, record: bool) -> dict[int, Any]:
    """Send tangents forward through `nodes`.

    Args:
        nodes: inputs before consumers.
        tangents: id of a node -> its tangent (a tuple for several outputs); extended in place and returned.
        record: whether rules get tensors, so that the pass becomes graph.
    """
    with mode(recording=record):
        for node in nodes:
            if isinstance(node, Leaf) or id(node) in tangents:
                continue
            moving = {
                i: tangent
                for i, entry in enumerate(node.inputs)
                if is_recorded(entry) and (tangent := tangent_of(tangents, entry)) is not None
            }
            if moving:
                node.check_versions()
                result = _node_tangent(node, moving, record)
                if result is not None:
                    tangents[id(node)] = result
    return tangents


def tangent_of(tangents: dict[int, Any], edge: Edge) -> Any:
    """The tangent of an edge, or None if nothing reached it."""
    found = tangents.get(id(edge_node(edge)))
    return found[edge_index(edge)] if found is not None and isinstance(edge, Port) else found


def _node_tangent(node: Node, moving: dict[int, Any], record: bool) -> Any:
    """The tangent of a node's output: the sum over the operands that move."""
    saved = rewrapped(node) if record or node.saved is None else node.saved
    own = {
        position: rule
        for rule in node.live_rules.forward
        for position, _ in rule.serves
        if rule.function is not None
    }
    total: object = None
    remaining = dict(moving)
    ruled: set[int] = set()
    for position, tangent in moving.items():
        rule = own.get(position)
        if rule is None:
            continue
        del remaining[position]
        if id(rule) in ruled:  # of a variadic operand, all of whose tangents it got at once
            continue
        ruled.add(id(rule))
        given = tangent if rule.serves[0][1] is None else _all_tangents(node, position, moving)
        total = _plus(total, _ruled(node, rule, given, saved, "t"))
    for rule in node.live_rules.backward:
        served = tuple((position, place) for position, place in rule.serves if position in remaining)
        if not served or not any(edge_type(node.inputs[position]).differentiable for position, _ in served):
            continue
        if rule.function is None:
            raise missing_rule(node, served[0][0])
        if node.op.kind == "elementwise" and rule.serves == served and served[0][1] is None:
            tangent = _ruled(node, rule, remaining[served[0][0]], saved, "g")
        else:
            tangent = _transposed(node, rule, served, remaining, saved, record)
        total = _plus(total, tangent)
    return _shaped(total, node)


def _all_tangents(node: Node, position: int, moving: dict[int, Any]) -> tuple[Any, ...]:
    """The tangents of all that a variadic operand got, zeros for what does not move; None for ops with subgraphs, of
    whose inside then nothing moves that need not.
    """
    positions = node.op.signature.positions(node.op.operand_at(position).name, len(node.inputs))
    if "subgraphs" in node.op.facts:
        return tuple(moving.get(i) for i in positions)
    types = node.input_types
    return tuple(moving[i] if i in moving else types[i].zeros() for i in positions)  # type: ignore[union-attr]


def _ruled(node: Node, rule: LiveRule, tangent: object, saved: object, name: str) -> Any:
    """What a rule makes of a tangent, which it must not write into."""
    try:
        return rule.function(for_reading(tangent), *fetch(node, rule, saved))  # type: ignore[misc]
    except NotDerived as error:
        raise missing_rule(node, rule.serves[0][0], str(error)) from error
    except WRITE_ERRORS as error:
        raise_named(error, node, rule, name)


def _plus(old: Any, new: Any) -> Any:
    if old is None or new is None:
        return new if old is None else old
    if isinstance(old, tuple):
        return tuple(_plus(a, b) for a, b in zip(old, new, strict=True))
    return ops.add(old, new)


def _shaped(tangent: Any, node: Node) -> Any:
    """A tangent with exactly the output's shape and dtype."""
    if tangent is None:
        return None
    if isinstance(node.types, ArrayType):
        return _fitted(tangent, node.types)
    return tuple(
        _fitted(one, types)
        if one is not None
        else (np.zeros(types.shape, types.dtype) if types.differentiable else None)
        for one, types in zip(tangent, node.types, strict=True)
    )


def _fitted(tangent: Numeric, types: ArrayType) -> Any:
    if not types.differentiable:
        return None
    if np.shape(tangent) != types.shape:
        tangent = ops.broadcast_to(tangent, shape=types.shape)
    dtype = getattr(tangent, "dtype", None)
    if dtype != types.dtype and types.dtype.kind != "O":
        if dtype is not None and dtype.kind == "c" and types.dtype.kind != "c":
            tangent = ops.real(tangent)
        tangent = ops.cast(tangent, dtype=types.dtype)
    return tangent


def _transposed(
    node: Node,
    rule: LiveRule,
    served: tuple[tuple[int, int | None], ...],
    moving: dict[int, Any],
    saved: object,
    record: bool,
) -> Any:
    """The forward map of a rule: its transpose with respect to the cotangent.

    The rule is run on a stand-in cotangent u and recorded; what a tangent t of the operand makes of the output is
    then the gradient of <rule(u), t> with respect to u. The value of u does not matter, since the rule is linear.
    """
    stand_ins = [_stand_in(types, node.saved is None) for types in node.output_types]
    cotangent = stand_ins[0] if isinstance(node.types, ArrayType) else tuple(stand_ins)
    with mode(recording=True):
        result = _ruled(node, rule, cotangent, saved, "g")
        seeds: list[tuple[Edge, Any]] = []
        for position, place in served:
            part = result if place is None else part_of(node, result, place, rule)
            types = edge_type(node.inputs[position])
            if part is None or not types.differentiable:
                continue
            part = conform(part, types, node, position)
            if isinstance(part, Tensor) and part._edge is not None:
                seeds.append((part._edge, moving[position]))
    leaves = [one._leaf for one in stand_ins if one is not None]
    reached = ancestors([edge_node(edge) for edge, _ in seeds], floor=min(leaf.order for leaf in leaves))
    captured = any(one.saved is None for one in reached)  # whose rules find no values
    found = propagate(reached, seeds, wanted=set(leaves), record=record or captured)
    tangents = tuple(found.get(one._leaf) if one is not None else None for one in stand_ins)
    return tangents[0] if isinstance(node.types, ArrayType) else tangents


def _stand_in(types: ArrayType, captured: bool) -> Any:
    if not types.differentiable:
        return None
    value = None if captured else np.zeros(types.shape, types.dtype)
    leaf = Leaf(value, requires_grad=True, types=types)
    return Tensor(value, leaf, leaf)
