"""Which nodes a picture is about: the one called or given, its relatives, what lies between two, blocks that repeat.

Graphs only: what becomes a box is decided in `levels.py`, how it stands out in `dot.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from tinygraph.core.modes import Scope
from tinygraph.core.node import Edge, Leaf, Node, edge_index, edge_node, is_recorded
from tinygraph.core.tensor import Tensor
from tinygraph.errors import DrawingError

MOST_NAMES = 12  # in a message


def find_edge(nodes: Sequence[Node], what: object) -> Edge:
    """The edge that carries a tensor, given as itself, as its node or by its name.

    Raises:
        DrawingError: it is not in the graph, or several have that name.
    """
    if isinstance(what, Tensor):
        for edge in (what._edge, what._leaf):
            if edge is not None and any(edge_node(edge) is node for node in nodes):
                return edge
        raise DrawingError(f"the tensor {what.name or 'given'} ({what.type}) is not in this graph")
    if isinstance(what, Node):
        if any(node is what for node in nodes):
            return what
        raise DrawingError(f"{what!r} is not in this graph")
    if not isinstance(what, str):
        raise DrawingError(f"expected a tensor, a node or a name, not {type(what).__name__}")
    found = [node for node in nodes if node.name == what]
    found = found or [node for node in nodes if (node.name or "").rpartition(".")[2] == what]
    if len(found) != 1:
        names = sorted({node.name for node in nodes if node.name})
        listed = ", ".join(names[:MOST_NAMES]) + (" …" if len(names) > MOST_NAMES else "") or "none"
        count = f"{len(found)} tensors are" if found else "nothing is"
        raise DrawingError(f"{count} called {what!r} here; names: {listed}")
    return found[0]


def find_nodes(nodes: Sequence[Node], what: object) -> list[Node]:
    """The nodes meant: one, or those of the group (module or composite) with that dotted name, or whose name ends so.

    Raises:
        DrawingError: there are none.
    """
    if isinstance(what, str):
        for end in (False, True):
            group = [node for node in nodes if _is_in(node.scope, what, end)]
            if group:
                return group
    return [edge_node(find_edge(nodes, what))]


def _is_in(scope: Scope, name: str, end: bool) -> bool:
    """Whether a scope lies in a group of that dotted name, or with a name that ends so."""
    paths = [_dotted(scope[:depth]) for depth in range(1, len(scope) + 1)]
    return any(path == name or (end and path.endswith(f".{name}")) for path in paths)


def found_in(what: object, find: Callable[[Edge], Edge]) -> Any:
    """What a user points at, as it is called in a graph whose bodies were opened."""
    if isinstance(what, Tensor):
        edge = None if what._edge is None else find(what._edge)
        return what if edge is what._edge else Tensor(what._value, edge, what._leaf)
    if isinstance(what, Node):
        return find(what)
    if isinstance(what, Mapping):
        return {found_in(key, find): value for key, value in what.items()}
    return tuple(found_in(one, find) for one in what) if isinstance(what, tuple) else what


def relatives(nodes: Sequence[Node], chosen: Iterable[Node]) -> set[int]:
    """Ids of chosen nodes, all that they depend on and all that depends on them."""
    ids = {id(node) for node in chosen}
    return _reaching(nodes, ids) | _reached(nodes, ids)


def on_paths(nodes: Sequence[Node], starts: Iterable[Node], ends: Iterable[Node]) -> set[int]:
    """Ids of all nodes on a path from one of `starts` to one of `ends`.

    Raises:
        DrawingError: there is no path.
    """
    found = _reached(nodes, {id(node) for node in starts}) & _reaching(nodes, {id(node) for node in ends})
    if not found:
        raise DrawingError("between=(a, b): no path leads from the first to the second")
    return found


def _reached(nodes: Sequence[Node], found: set[int]) -> set[int]:
    found = set(found)
    for node in nodes:
        if id(node) not in found and any(id(parent) in found for parent in node.parents()):
            found.add(id(node))
    return found


def _reaching(nodes: Sequence[Node], found: set[int]) -> set[int]:
    found = set(found)
    for node in reversed(nodes):
        if id(node) in found:
            found.update(id(parent) for parent in node.parents())
    return found


@dataclass(slots=True)
class Repeats:
    """Groups that repeat one after another, of which only the first is drawn.

    Attributes:
        drawn: id of a node that is left out -> the node that stands for it.
        counts: scope of a group that is drawn -> how many there are, and the last one's name.
    """

    drawn: dict[int, Node] = field(default_factory=dict)
    counts: dict[Scope, tuple[int, str]] = field(default_factory=dict)

    def of(self, node: Node) -> Node:
        """The node that is drawn in place of a node."""
        while id(node) in self.drawn:
            node = self.drawn[id(node)]
        return node

    def title(self, scope: Scope, title: str) -> str:
        """A group's title, with the count if it repeats."""
        if scope not in self.counts:
            return title
        count, last = self.counts[scope]
        return f"{title} … {last}  × {count}" if last != scope[-1][0] else f"{title}  × {count}"


def repeats_of(nodes: Sequence[Node]) -> Repeats:
    """Neighbouring groups of one parent with the same ops, settings, types and inner edges; nested ones too."""
    found = Repeats()
    owners = _owners(nodes)
    scopes = {id(node): owners.get(id(node), node.scope) for node in nodes}
    _repeats_in((), nodes, scopes, found)
    return found


def _owners(nodes: Sequence[Node]) -> dict[int, Scope]:
    """The group of each parameter and buffer: the one scope that reads it."""
    readers: dict[int, set[Scope]] = {}
    for node in nodes:
        if node.phase == "forward":
            for parent in node.parents():
                if isinstance(parent, Leaf) and parent.kind in ("parameter", "buffer"):
                    readers.setdefault(id(parent), set()).add(node.scope)
    return {leaf: next(iter(scopes)) for leaf, scopes in readers.items() if len(scopes) == 1}


def _repeats_in(
    around: Scope,
    inside: Sequence[Node],
    scopes: Mapping[int, Scope],
    found: Repeats,
) -> None:
    """Find the repeats among the groups directly within `around`."""
    depth = len(around)
    groups: dict[Scope, list[Node]] = {}
    order: dict[Scope, None] = {}
    for node in inside:
        scope = scopes[id(node)]
        child = scope[: depth + 1] if len(scope) > depth else ()
        if child:
            groups.setdefault(child, []).append(node)
        if not isinstance(node, Leaf) and node.phase != "backward":
            order.setdefault(child or (("", len(order)),))  # an op between two groups: they are no neighbours
    shapes = {child: _shape(child, members, scopes) for child, members in groups.items()}
    for shape, run in groupby(order, key=lambda child: shapes.get(child)):
        copies = list(run)
        first = copies[0]
        if shape is None:
            continue
        if len(copies) > 1:
            found.counts[first] = (len(copies), copies[-1][-1][0])
            for copy in copies[1:]:
                pairs = zip(_ordered(groups[copy]), _ordered(groups[first]), strict=True)
                found.drawn.update((id(node), other) for node, other in pairs)
        _repeats_in(first, groups[first], scopes, found)


def _ordered(members: Sequence[Node]) -> list[Node]:
    """The nodes of a group in an order that equal groups share: as ops read them, leaves where they are first read."""
    inside = {id(node) for node in members}
    found: dict[int, Node] = {}
    for node in members:
        if isinstance(node, Leaf):
            continue
        for parent in node.parents():
            if isinstance(parent, Leaf) and id(parent) in inside:
                found.setdefault(id(parent), parent)
        found[id(node)] = node
    for node in members:
        found.setdefault(id(node), node)
    return list(found.values())


def _shape(scope: Scope, members: Sequence[Node], scopes: Mapping[int, Scope]) -> Any:
    """What groups have in common that are drawn as one."""
    ordered = _ordered(members)
    place = {id(node): i for i, node in enumerate(ordered)}
    depth = len(scope)
    signature = []
    for node in ordered:
        inputs = tuple(
            (place.get(id(edge_node(entry))), edge_index(entry)) if is_recorded(entry) else None
            for entry in node.inputs
        )
        made_by = node.kind if isinstance(node, Leaf) else node.op
        settings = (
            () if isinstance(node, Leaf) else tuple(sorted((k, repr(v)) for k, v in node.settings.items()))
        )
        types = tuple(map(str, node.output_types))
        signature.append((made_by, settings, types, scopes[id(node)][depth:], node.phase, inputs))
    return tuple(signature)


def chosen_groups(collapse: Any) -> Any:
    """A predicate of dotted group names from a predicate, a name or names; a name is a dotted path or its end."""
    if callable(collapse):
        return collapse
    names: Collection[str] = (collapse,) if isinstance(collapse, str) else tuple(collapse)
    return lambda path: path in names or path.rpartition(".")[2] in names


def _dotted(scope: Scope) -> str:
    return ".".join(name for name, _ in scope)
