"""Which layout each value of a plan gets: what the kernels that read and write it would rather have.

Convolutions ask for images with channels last and a halo of zeros; pools and elementwise ops follow their operands, so
images keep their layout from op to op and change it only where somebody else reads them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from tinygraph.analysis.views import may_be_view
from tinygraph.compiler.choosing import lower
from tinygraph.core.node import Key, Leaf, Node, edge_node, edge_type, is_recorded, key_of
from tinygraph.core.types import ArrayType
from tinygraph.kernels.lowering import Layout, Layouts, Lowering, rows

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu

_ROUNDS = 2  # in the second, results follow what the first one gave their operands
_FEWEST_AXES = 3  # batch, channels and a spatial axis: what has fewer lies in rows


class Question(NamedTuple):
    """What an op's `lower` rule was asked, and what it answered."""

    layouts: Layouts
    answer: Lowering | None


def choose_layouts(
    nodes: Sequence[Node], inputs: Sequence[Leaf], cpu: Cpu
) -> tuple[dict[Key, Layout], dict[int, Question]]:
    """The layouts of values that do not lie in rows.

    A rule is asked once, with the layouts that its operands were offered by then; what it answers holds, whatever its
    operands get in the end.

    Args:
        nodes: in the order in which they run.
        inputs: leaves whose memory belongs to the plan.
        cpu: the CPU that kernels are generated for, or NumPy alone.

    Returns:
        The layouts, and for the nodes whose rules were asked, by id, the question and the answer.
    """
    ours = {id(node) for node in nodes if not may_be_view(node)} | {id(leaf) for leaf in inputs}
    concerned = list(filter(_has_axes, nodes))
    asked: dict[int, Question] = {}
    chosen: dict[Key, Layout] = {}
    for _ in range(_ROUNDS):
        seen, proposed, demands = dict(chosen), dict[Key, Layout](), dict[Key, Layout]()
        for node in concerned:
            if node.op.lowering is not None and id(node) not in asked:
                asked[id(node)] = _ask(node, seen, cpu)
            wanted = _wanted(node, seen, asked.get(id(node)))
            for i, layout in enumerate(wanted.outputs):
                if layout is not None:
                    proposed[id(node), i] = layout
                    seen[id(node), i] = _joined(layout, chosen.get((id(node), i)))
            for entry, layout in zip(node.inputs, wanted.inputs, strict=False):
                if layout is not None and is_recorded(entry) and id(edge_node(entry)) in ours:
                    demands[key_of(entry)] = _joined(demands.get(key_of(entry), layout), layout)
        chosen = demands | {key: _joined(layout, demands.get(key)) for key, layout in proposed.items()}
        chosen = {key: layout for key, layout in chosen.items() if layout != rows(len(layout.order))}
    return chosen, asked


def _ask(node: Node, offered: Mapping[Key, Layout], cpu: Cpu) -> Question:
    """Ask a node's rule what it makes of operands in the layouts offered, and of results in rows."""
    layouts = Layouts(
        tuple(_layout(entry, offered) for entry in node.inputs),
        tuple(rows(len(types.shape)) for types in node.output_types),
    )
    return Question(layouts, lower(node, *layouts, cpu))


def _joined(first: Layout, second: Layout | None) -> Layout:
    """A layout that serves both, or the first where they disagree."""
    return first.wider(second) if second is not None and second.order == first.order else first


def _has_axes(node: Node) -> bool:
    return any(len(types.shape) >= _FEWEST_AXES for types in node.output_types) or any(
        is_recorded(entry) and len(edge_type(entry).shape) >= _FEWEST_AXES for entry in node.inputs
    )


def _wanted(node: Node, chosen: Mapping[Key, Layout], asked: Question | None) -> Layouts:
    """What a node's kernel asks for; without a say of its own, results follow an operand of their shape."""
    if asked is not None and asked.answer is not None and asked.answer.layouts is not None:
        return asked.answer.layouts
    return Layouts((), tuple(_followed(node, types, chosen) for types in node.output_types))


def _followed(node: Node, types: ArrayType, chosen: Mapping[Key, Layout]) -> Layout | None:
    """The layout of the first operand of a result's shape that does not lie in rows."""
    for entry in node.inputs:
        if is_recorded(entry) and edge_type(entry).shape == types.shape and key_of(entry) in chosen:
            return chosen[key_of(entry)].without_halo()
    return None


def _layout(entry: object, chosen: Mapping[Key, Layout]) -> Layout | None:
    if not is_recorded(entry):
        return None
    return chosen.get(key_of(entry), rows(len(edge_type(entry).shape)))
