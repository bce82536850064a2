"""How much of a graph is visible: each level divides a graph's nodes into the parts that become one box each.

A level says which groups of ops become one box, and is listed in `LEVELS`.
Coarser divisions stand in when a picture would have too many boxes. Nothing here makes text or knows colours.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygraph.analysis.phases import Phases, is_join
from tinygraph.core.modes import CompositeName, ModuleName, Scope
from tinygraph.core.node import Leaf, Node
from tinygraph.errors import DrawingError

MOST_BOXES = 3000
FOLD_ENDS = 8  # boxes left visible on either side of a fold

# How many entries of a scope make the box that a node disappears into; None: the node is visible itself.
Cut = Callable[[Scope], int | None]
# From the scopes that occur in a graph to what they are cut to.
Level = Callable[[Collection[Scope]], Cut]


@dataclass(slots=True)
class Part:
    """Nodes that are drawn as one box.

    Attributes:
        nodes: in the graph's order; one for a node that is visible itself.
        scope: the groups around the box.
        name, call: what a collapsed group is called, and which call of it; None for a visible node or a fold.
        folded: whether the part stands for a stretch of boxes left out.
        serves: the visible forward node whose backward nodes these are, where they are drawn as one box.
        order: the pass: 0 forward, 1 backward, 2 the backward pass of that.
        descends: whether it differentiates a part of a backward pass; see `Phases.descends`.
    """

    nodes: list[Node]
    scope: Scope
    name: str | None = None
    call: int = 0
    folded: bool = False
    serves: Node | None = None
    order: int = 0
    descends: bool = False

    @property
    def single(self) -> bool:
        return self.name is None and not self.folded and self.serves is None


def is_composite(name: str) -> bool:
    """Whether a scope comes from a composite op rather than from a module or the user."""
    return isinstance(name, CompositeName)


def by_op(scopes: Collection[Scope]) -> Cut:
    """Every op is a box; modules and composites are frames around them."""
    return lambda scope: None


def by_composite(scopes: Collection[Scope]) -> Cut:
    """Composites are boxes, everything else as at op level."""
    return lambda scope: next((i + 1 for i, (name, _) in enumerate(scope) if is_composite(name)), None)


def by_module(scopes: Collection[Scope]) -> Cut:
    """Each call of an innermost module is a box; modules of modules are frames, their own ops stay visible."""
    modules = {scope: _layer(_without_composites(scope)) for scope in scopes}
    containers = {scope[:depth] for scope in modules.values() for depth in range(len(scope))}

    def cut(scope: Scope) -> int | None:
        module = modules[scope]
        if module and module not in containers:
            return len(module)
        return len(module) + 1 if len(module) < len(scope) else None

    return cut


def by_depth(depth: int) -> Level:
    """Groups at `depth` are boxes."""
    return lambda scopes: lambda scope: depth if len(scope) >= depth else None


LEVELS: dict[str, Level] = {
    "op": by_op,
    "composite": by_composite,
    "module": by_module,
}
INSIDE = ("channel", "neuron")  # levels within one op: drawn by `channels.py` and `neurons.py`


def find_level(zoom: str) -> Level:
    """The level called `zoom`; around what is inside an op, every op is visible.

    Raises:
        DrawingError: there is none.
    """
    level = LEVELS.get("op" if zoom in INSIDE else zoom)
    if level is None:
        names = ", ".join(map(repr, (*LEVELS, *INSIDE)))
        raise DrawingError(f"zoom={zoom!r} is no level: the levels are {names}")
    return level


def _layer(scope: Scope) -> Scope:
    """A scope up to the first module that is one box whatever it is made of."""
    for i, (name, _) in enumerate(scope):
        if isinstance(name, ModuleName) and name.whole:
            return scope[: i + 1]
    return scope


def _without_composites(scope: Scope) -> Scope:
    for i, (name, _) in enumerate(scope):
        if is_composite(name):
            return scope[:i]
    return scope


def collapse(
    nodes: Sequence[Node], cut: Cut, every_backward_node: bool = False, phases: Phases | None = None
) -> list[Part]:
    """Parts in the order of their first nodes, but after what they read; the nodes of a group make one for each pass.

    Unless `every_backward_node` is to be visible, those that serve one visible forward node make one part.
    """
    phases = phases or Phases()
    parts: list[Part] = []
    boxes: dict[Any, Part] = {}
    cuts: dict[Scope, int | None] = {}
    leaves: list[Part] = []
    for node in nodes:
        if isinstance(node, Leaf):
            leaves.append(Part([node], (), order=phases.order(node)))
            continue
        scope = phases.scope(node)
        if scope not in cuts:
            cuts[scope] = cut(scope)
        depth = cuts[scope]
        order, descends = phases.order(node), phases.descends(node)
        if depth is None and (every_backward_node or node.phase != "backward"):
            parts.append(Part([node], scope, order=order, descends=descends))
            continue
        origin = node.served
        key = (id(origin) if depth is None else scope[:depth], order, descends)
        box = boxes.get(key)
        if box is None:
            if depth is None:
                box = Part([], scope, serves=origin, order=order, descends=descends)
            else:
                name, call = scope[depth - 1]
                box = Part([], scope[: depth - 1], name, call, order=order, descends=descends)
            boxes[key] = box
            parts.append(box)
        box.nodes.append(node)
    ordered = _in_order(_with_joins(parts)) if phases.orders else None
    return _with_leaves(ordered or _in_order(parts) or parts, leaves)


def _with_joins(parts: list[Part]) -> list[Part]:
    """The same, where sums of gradients that come from different boxes of the backward pass have boxes of their own."""
    place = {id(node): i for i, part in enumerate(parts) for node in part.nodes}
    joins: dict[int, Part] = {}
    behind: dict[
        int, list[Part]
    ] = {}  # place of a part -> the joins that come after it, as the last one they read
    for part in parts:
        for node in part.nodes if part.order == 1 and not part.single else ():
            read = {place.get(id(parent), -1): joins.get(id(parent)) for parent in node.parents()}
            if is_join(node) and (len(read) > 1 or any(read.values())):
                joins[id(node)] = Part([node], part.scope, order=1)
                place[id(node)] = max(read)
                behind.setdefault(max(read), []).append(joins[id(node)])
    if not joins:
        return parts
    for part in parts:
        for node in part.nodes:
            for parent in node.parents() if id(node) not in joins else ():
                if id(parent) in joins:  # gradients meet outside of the frames that they come from
                    join = joins[id(parent)]
                    join.scope = common_scope([join.scope, part.scope])
    found = []
    for i, part in enumerate(parts):
        nodes = [node for node in part.nodes if id(node) not in joins]
        found += [replace(part, nodes=nodes)] if nodes else []
        found += behind.get(i, ())
    return found


def _in_order(parts: list[Part]) -> list[Part] | None:
    """The parts, those that another reads before it, as passes do not leave them; otherwise as they come.

    None if some read one another in a circle, which only odd scopes bring about.
    """
    place = {id(node): i for i, part in enumerate(parts) for node in part.nodes}
    waiting = [
        {place[id(parent)] for node in part.nodes for parent in node.parents() if id(parent) in place} - {i}
        for i, part in enumerate(parts)
    ]
    if all(max(read, default=-1) < i for i, read in enumerate(waiting)):
        return parts
    readers: list[list[int]] = [[] for _ in parts]
    for i, read in enumerate(waiting):
        for other in read:
            readers[other].append(i)
    ready = [i for i, read in enumerate(waiting) if not read]  # sorted, and so a heap
    order = []
    while ready:
        order.append(i := heapq.heappop(ready))
        for reader in readers[i]:
            waiting[reader].discard(i)
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    return [parts[i] for i in order] if len(order) == len(parts) else None


def _with_leaves(parts: list[Part], leaves: list[Part]) -> list[Part]:
    """Leaves before their first readers; what a module owns goes into the box or frame of its only reader.

    A tensor that wants a gradient goes into a frame as well, unless that is a composite's, but never into a box: it
    may be what the user looks for.
    """
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
        forward = [i for i in positions if parts[i].nodes[-1].phase == "forward"] or positions
        only = parts[forward[0]] if len(forward) == 1 else None
        if only is not None and not only.single and _is_state(leaf.nodes[0]):
            only.nodes.insert(0, leaf.nodes[0])
            continue
        if _is_owned(leaf.nodes[0]):
            scope = common_scope([parts[i].scope for i in forward])
            leaf.scope = scope if _is_state(leaf.nodes[0]) else _without_composites(scope)
        before.setdefault(forward[0] if forward else 0, []).insert(0, leaf)
    ordered: list[Part] = before.get(0, []) if not parts else []
    for position, part in enumerate(parts):
        ordered += before.get(position, [])
        ordered.append(part)
    return ordered


def _is_owned(leaf: Node) -> bool:
    """Whether a leaf belongs to what reads it, rather than to the data that flows through."""
    return _is_state(leaf) or (isinstance(leaf, Leaf) and leaf.requires_grad and leaf.kind == "tensor")


def _is_state(leaf: Node) -> bool:
    return leaf.kind in ("parameter", "buffer")


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


def visible(
    nodes: Sequence[Node],
    zoom: str,
    limit: int = MOST_BOXES,
    collapsed: Callable[[str], bool] | None = None,
    opened: Collection[Scope] = (),
    phases: Phases | None = None,
    mixed: Sequence[tuple[str, Collection[Scope]]] = (),
    depth: int | None = None,
) -> tuple[list[Part], str]:
    """The parts at a level, or at the finest coarser one with at most `limit` boxes, and a note that says so.

    Groups whose dotted name `collapsed` accepts are boxes at every level; groups around what is `opened` are none.
    Groups at `depth` are boxes. The ops of an update are one box but at the level of ops. `mixed` are levels of
    some scopes that differ; later ones count.
    """
    find_level(zoom)
    phases = phases or Phases()
    sizes = Counter(phases.scope(node) for node in nodes if not isinstance(node, Leaf))
    levels = _levels_from(zoom, sizes)
    too_many = ""
    for name, level in levels:
        cut = level(sizes) if level is by_op else _with_updates(level(sizes), phases)
        cut = _mixed(cut, {one: find_level(other)(sizes) for other, chosen in mixed for one in chosen})
        cut = cut if depth is None else _no_deeper(cut, depth)
        cut = cut if collapsed is None else _also(cut, collapsed)
        cut = _except(cut, opened) if opened else cut
        if too_many and _estimate(sizes, cut) > limit and level is not levels[-1][1]:
            continue
        parts = collapse(nodes, cut, level is by_op, phases)
        if len(parts) <= limit:
            return parts, f"{too_many}: collapsed to {name}." if too_many else ""
        too_many = too_many or f"{len(parts):,} boxes are too many for one picture"
    return fold(parts), f"{too_many}: the middle is folded."


def _mixed(cut: Cut, others: Mapping[Scope, Cut]) -> Cut:
    return lambda scope: others.get(scope, cut)(scope) if others else cut(scope)


def _with_updates(cut: Cut, phases: Phases) -> Cut:
    return lambda scope: 1 if phases.is_update(scope) else cut(scope)


def _also(cut: Cut, collapsed: Callable[[str], bool]) -> Cut:
    """A cut that makes boxes of chosen groups too."""

    def both(scope: Scope) -> int | None:
        path = ""
        for depth, (name, _) in enumerate(scope, 1):
            path = f"{path}.{name}" if path else name
            if collapsed(path):
                usual = cut(scope)
                return depth if usual is None else min(depth, usual)
        return cut(scope)

    return both


def _no_deeper(cut: Cut, depth: int) -> Cut:
    def at_most(scope: Scope) -> int | None:
        usual = cut(scope)
        return usual if len(scope) < depth else depth if usual is None else min(depth, usual)

    return at_most


def _except(cut: Cut, opened: Collection[Scope]) -> Cut:
    """A cut that leaves the groups around some scopes open."""
    around = {scope[:depth] for scope in opened for depth in range(len(scope) + 1)}

    def less(scope: Scope) -> int | None:
        depth = cut(scope)
        while depth is not None and scope[:depth] in around:
            depth = depth + 1 if depth < len(scope) else None
        return depth

    return less


def _levels_from(zoom: str, scopes: Collection[Scope]) -> list[tuple[str, Level]]:
    """The level called `zoom` and all coarser ones, as long as they could make a difference."""
    names = list(LEVELS)
    zoom = "module" if zoom in INSIDE else zoom
    levels = [(f"{name} level", LEVELS[name]) for name in names[names.index(zoom) :]]
    deepest = max(map(len, scopes), default=0)
    levels += [(f"groups at depth {depth}", by_depth(depth)) for depth in range(deepest - 1, 0, -1)]
    return levels if deepest else levels[:1]


def _estimate(sizes: Mapping[Scope, int], cut: Cut) -> int:
    """How many boxes a cut leaves, parameters and backward boxes not counted."""
    cuts = {scope: cut(scope) for scope in sizes}
    boxes = {scope[:depth] for scope, depth in cuts.items() if depth is not None}
    return len(boxes) + sum(size for scope, size in sizes.items() if cuts[scope] is None)


def fold(parts: list[Part], ends: int = FOLD_ENDS) -> list[Part]:
    """The first and last parts, and one in place of all between."""
    middle = parts[ends : len(parts) - ends]
    if len(middle) < 2:
        return parts
    nodes = [node for part in middle for node in part.nodes]
    scope = common_scope(list({part.scope for part in middle}))
    return [*parts[:ends], Part(nodes, scope, folded=True), *parts[len(parts) - ends :]]
