"""Nodes made again: the same or another op in the place of a node, with its source line and name, and without values.

What passes and the bodies of ops rewrite graphs with. Nodes that a program makes come from `apply`.
"""

from __future__ import annotations

from typing import Any

from tinygraph.core.modes import Place
from tinygraph.core.node import Node, Port, new_node
from tinygraph.core.op import LiveRules, Op
from tinygraph.core.types import ArrayType


def as_op(op: object) -> Op:
    """An op taken from `tg.ops`, where each has the signature of its function."""
    assert isinstance(op, Op)
    return op


def edges(node: Node) -> tuple[Any, ...]:
    """The edges of all outputs of a node."""
    if isinstance(node.types, ArrayType):
        return (node,)
    return tuple(Port(node, i) for i in range(len(node.types)))


def with_inputs(node: Node, inputs: tuple[Any, ...], origin: Node | None) -> Node:
    """The same application of the same op to other inputs."""
    place = node.place if origin is node.place.origin else Place(node.place.scope, node.place.phase, origin)
    return make_node(node.op, inputs, node.settings, node.types, like=node, place=place)


def make_node(
    op: Op,
    inputs: tuple[Any, ...],
    settings: dict[str, Any],
    types: ArrayType | tuple[ArrayType, ...],
    *,
    like: Node,
    place: Place | None = None,
) -> Node:
    """A value-less node that stands where `like` stood: same place, source line, name, and hooks of as many outputs."""
    made = new_node(
        op,
        inputs,
        settings,
        types,
        _live_rules(op, inputs, like),
        like.place if place is None else place,
        (like.code, like.offset),
        like.name,
    )
    if hasattr(like, "hooks") and len(made.output_types) == len(like.output_types):
        made.hooks = like.hooks
    return made


def _live_rules(op: Op, inputs: tuple[Any, ...], like: Node) -> LiveRules:
    """The live rules: those of the operands that still are recorded, and wanted gradients where the op is the same."""
    same = op is like.op and len(inputs) == len(like.inputs)
    if same and all(
        now is before or isinstance(now, (Node, Port))
        for now, before in zip(inputs, like.inputs, strict=True)
    ):
        return like.live_rules
    mask = 0
    for i, entry in enumerate(inputs):
        mask |= isinstance(entry, (Node, Port)) << i  # as `is_recorded`, without a call
    if same:
        mask &= like.live_rules.mask
        if mask == like.live_rules.mask:
            return like.live_rules
    return op.live_rules(mask if like.live_rules.mask else 0, len(inputs), False)
