"""Which layout each value of a plan gets: what the kernels that read and write it would rather have.

Convolutions ask for images with channels last and a halo of zeros; pools and elementwise ops follow their operands, so
images keep their layout from op to op and change it only where somebody else reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tinygraph.analysis.memory import may_be_view
from tinygraph.compiler.choosing import lower
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.types import ArrayType
from tinygraph.kernels.lowering import Layout, Layouts, rows

Key = tuple[int, int]  # a value: its node and the number of the output
_ROUNDS = 2  # the second tells kernels what the first one gave them
_FEWEST_AXES = 3  # batch, channels and a spatial axis: what has fewer lies in rows


def key_of(entry: Any) -> Key:
    """The key of an edge's value."""
    return id(edge_node(entry)), edge_index(entry)


def choose_layouts(nodes: Sequence[Node], inputs: Sequence[Leaf], target: Any) -> dict[Key, Layout]:
    """The layouts of values that do not lie in rows.

    Args:
        nodes: in the order in which they run.
        inputs: leaves whose memory belongs to the plan.
        target: the CPU that kernels are generated for, or None.
    """
    ours = {id(node) for node in nodes if not may_be_view(node)} | {id(leaf) for leaf in inputs}
    concerned = list(filter(_has_axes, nodes))
    chosen: dict[Key, Layout] = {}
    for _ in range(_ROUNDS):
        seen, proposed, demands = dict(chosen), dict[Key, Layout](), dict[Key, Layout]()
        for node in concerned:
            wanted = _wanted(node, seen, target)
            for i, layout in enumerate(wanted.outputs):
                if layout is not None:
                    proposed[id(node), i] = layout
                    seen[id(node), i] = _joined(layout, chosen.get((id(node), i)))
            for entry, layout in zip(node.inputs, wanted.inputs, strict=False):
                if layout is not None and is_recorded(entry) and id(edge_node(entry)) in ours:
                    demands[key_of(entry)] = _joined(demands.get(key_of(entry), layout), layout)
        chosen = demands | {key: _joined(layout, demands.get(key)) for key, layout in proposed.items()}
        chosen = {key: layout for key, layout in chosen.items() if layout != rows(len(layout.order))}
    return chosen


def _joined(first: Layout, second: Layout | None) -> Layout:
    """A layout that serves both, or the first where they disagree."""
    return first.wider(second) if second is not None and second.order == first.order else first


def _has_axes(node: Node) -> bool:
    return any(len(types.shape) >= _FEWEST_AXES for types in node.output_types) or any(
        is_recorded(entry) and len(edge_type(entry).shape) >= _FEWEST_AXES for entry in node.inputs
    )


def _wanted(node: Node, chosen: Mapping[Key, Layout], target: Any) -> Layouts:
    """What a node's kernel asks for; without a say of its own, results follow an operand of their shape."""
    if node.op.lowering is not None:
        inputs = tuple(_layout(entry, chosen) for entry in node.inputs)
        outputs = tuple(
            chosen.get((id(node), i), rows(len(types.shape))) for i, types in enumerate(node.output_types)
        )
        lowering = lower(node, inputs, outputs, target)
        if lowering is not None and lowering.layouts is not None:
            return lowering.layouts
    return Layouts((), tuple(_followed(node, types, chosen) for types in node.output_types))


def _followed(node: Node, types: ArrayType, chosen: Mapping[Key, Layout]) -> Layout | None:
    """The layout of the first operand of a result's shape that does not lie in rows."""
    for entry in node.inputs:
        if is_recorded(entry) and edge_type(entry).shape == types.shape and key_of(entry) in chosen:
            return chosen[key_of(entry)].without_halo()
    return None


def _layout(entry: Any, chosen: Mapping[Key, Layout]) -> Layout | None:
    if not is_recorded(entry):
        return None
    return chosen.get(key_of(entry), rows(len(edge_type(entry).shape)))
