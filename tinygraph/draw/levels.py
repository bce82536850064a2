"""How much of a graph is visible: each level divides a graph's nodes into the parts that become one box each.

A level is a function from nodes to parts, listed in `LEVELS`; a finer one (channel, neuron) is one more function.
Coarser divisions stand in when a picture would have too many boxes. Nothing here makes text or knows colours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tinygraph.core.modes import Scope
from tinygraph.core.node import Leaf, Node
from tinygraph.core.op import Composite
from tinygraph.core.registry import registry
from tinygraph.errors import DrawingError

MOST_BOXES = 3000
FOLD_ENDS = 8  # boxes left visible on either side of a fold

# How many entries of a scope make the box that a node disappears into; None: the node is visible itself.
Cut = Callable[[Scope], int | None]


@dataclass(slots=True)
class Part:
    """Nodes that are drawn as one box.

    Attributes:
        nodes: in the graph's order; one for a node that is visible itself.
        scope: the groups around the box.
        name, call: what a collapsed group is called, and which call of it; None for a visible node or a fold.
        folded: whether the part stands for a stretch of boxes left out.
    """

    nodes: list[Node]
    scope: Scope
    name: str | None = None
    call: int = 0
    folded: bool = False

    @property
    def single(self) -> bool:
        return self.name is None and not self.folded


def is_composite(name: str) -> bool:
    """Whether a scope comes from a composite op rather than from a module or the user."""
    return isinstance(registry.declared(name), Composite)


def by_op(nodes: Sequence[Node]) -> list[Part]:
    """Every op is a box; modules and composites are frames around them."""
    return collapse(nodes, lambda scope: None)


def by_composite(nodes: Sequence[Node]) -> list[Part]:
    """Composites are boxes, everything else as at op level."""

    def cut(scope: Scope) -> int | None:
        return next((i + 1 for i, (name, _) in enumerate(scope) if is_composite(name)), None)

    return collapse(nodes, cut)


def by_module(nodes: Sequence[Node]) -> list[Part]:
    """Each call of an innermost module is a box; modules of modules are frames, their own ops stay visible."""
    modules = {scope: _without_composites(scope) for scope in {node.scope for node in nodes}}
    containers = {scope[:depth] for scope in modules.values() for depth in range(len(scope))}

    def cut(scope: Scope) -> int | None:
        module = modules[scope]
        if module and module not in containers:
            return len(module)
        return len(module) + 1 if len(module) < len(scope) else None

    return collapse(nodes, cut)


def by_depth(depth: int) -> Callable[[Sequence[Node]], list[Part]]:
    """Groups at `depth` are boxes."""
    return lambda nodes: collapse(nodes, lambda scope: depth if len(scope) >= depth else None)


LEVELS: dict[str, Callable[[Sequence[Node]], list[Part]]] = {
    "op": by_op,
    "composite": by_composite,
    "module": by_module,
}
PLANNED = ("channel", "neuron")


def find_level(zoom: str) -> Callable[[Sequence[Node]], list[Part]]:
    """The level called `zoom`.

    Raises:
        DrawingError: there is none, or not yet.
    """
    level = LEVELS.get(zoom)
    if level is None:
        what = "is not drawn yet" if zoom in PLANNED else "is no level"
        raise DrawingError(f"zoom={zoom!r} {what}: the levels are {', '.join(map(repr, LEVELS))}")
    return level


def _without_composites(scope: Scope) -> Scope:
    for i, (name, _) in enumerate(scope):
        if is_composite(name):
            return scope[:i]
    return scope


def collapse(nodes: Sequence[Node], cut: Cut) -> list[Part]:
    """Parts in the order of their first nodes; forward and backward nodes of one group make two parts."""
    parts: list[Part] = []
    boxes: dict[tuple[Scope, bool], Part] = {}
    cuts: dict[Scope, int | None] = {}
    leaves: list[Part] = []
    for node in nodes:
        if isinstance(node, Leaf):
            leaves.append(Part([node], ()))
            continue
        scope = node.scope
        if scope not in cuts:
            cuts[scope] = cut(scope)
        depth = cuts[scope]
        if depth is None:
            parts.append(Part([node], scope))
            continue
        key = (scope[:depth], node.phase == "backward")
        box = boxes.get(key)
        if box is None:
            box = boxes[key] = Part([], scope[: depth - 1], *scope[depth - 1])
            parts.append(box)
        box.nodes.append(node)
    return _with_leaves(parts, leaves)


def _with_leaves(parts: list[Part], leaves: list[Part]) -> list[Part]:
    """Leaves before their first readers; what a module owns goes into the box or frame of its only reader."""
    readers: dict[int, list[int]] = {id(leaf.nodes[0]): [] for leaf in leaves}
    for position, part in enumerate(parts):
        for node in part.nodes:
            for parent in node.parents():
                known = readers.get(id(parent))
                if known is not None and (not known or known[-1] != position):
                    known.append(position)
    before: dict[int, list[Part]] = {}
    for leaf in reversed(leaves):
        positions = readers[id(leaf.nodes[0])]
        forward = [i for i in positions if parts[i].nodes[0].phase != "backward"] or positions
        only = parts[forward[0]] if len(forward) == 1 else None
        if only is not None and not only.single and _is_inner(leaf.nodes[0]):
            only.nodes.insert(0, leaf.nodes[0])
            continue
        if _is_inner(leaf.nodes[0]):
            leaf.scope = common_scope([parts[i].scope for i in forward])
        before.setdefault(forward[0] if forward else 0, []).insert(0, leaf)
    ordered: list[Part] = before.get(0, []) if not parts else []
    for position, part in enumerate(parts):
        ordered += before.get(position, [])
        ordered.append(part)
    return ordered


def _is_inner(leaf: Node) -> bool:
    """Whether a leaf belongs to what a module owns, rather than to the data that flows through it."""
    return leaf.kind in ("parameter", "buffer") or (
        isinstance(leaf, Leaf) and leaf.requires_grad and leaf.kind != "seed"
    )


def common_scope(scopes: Sequence[Scope]) -> Scope:
    """The groups that all scopes share."""
    if not scopes:
        return ()
    shared = min(scopes, key=len)
    for scope in scopes:
        depth = 0
        while depth < len(shared) and shared[depth] == scope[depth]:
            depth += 1
        shared = shared[:depth]
    return shared


def visible(nodes: Sequence[Node], zoom: str, limit: int = MOST_BOXES) -> tuple[list[Part], str]:
    """The parts at a level, or at the finest coarser one with at most `limit` boxes, and a note that says so."""
    asked = find_level(zoom)
    parts = asked(nodes)
    if len(parts) <= limit:
        return parts, ""
    found = len(parts)
    for name, level in _coarser(nodes, zoom):
        coarse = level(nodes)
        if len(coarse) <= limit:
            return coarse, f"{found:,} boxes are too many for one picture: collapsed to {name}."
        parts = min(parts, coarse, key=len)
    return fold(parts), f"{found:,} boxes are too many for one picture: the middle is folded."


def _coarser(nodes: Sequence[Node], zoom: str) -> list[tuple[str, Callable[[Sequence[Node]], list[Part]]]]:
    names = list(LEVELS)
    levels = [(f"{name} level", LEVELS[name]) for name in names[names.index(zoom) + 1 :]]
    deepest = max((len(scope) for scope in {node.scope for node in nodes}), default=0)
    return levels + [(f"groups at depth {depth}", by_depth(depth)) for depth in range(deepest - 1, 0, -1)]


def fold(parts: list[Part], ends: int = FOLD_ENDS) -> list[Part]:
    """The first and last parts, and one in place of all between."""
    middle = parts[ends : len(parts) - ends]
    if len(middle) < 2:
        return parts
    nodes = [node for part in middle for node in part.nodes]
    scope = common_scope(list({part.scope for part in middle}))
    return [*parts[:ends], Part(nodes, scope, folded=True), *parts[len(parts) - ends :]]
