"""Which node of one graph is which of the other: matched where that is certain, then outwards from what is matched.

Leaves are matched by identity, name and type; then every node whose op, settings, constants and operands are those of
a node of the other graph. What is left is matched next to matched nodes - as operands or readers in the same place -
by ever weaker likeness, down to the mere type and place. Each graph is walked a fixed number of times.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from itertools import islice
from typing import Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, is_recorded

MOST_ALIGNED = 2000  # nodes left over that are aligned as sequences, which takes quadratic time
MOST_COMPARED = 8  # duplicates among which a namesake is looked for

Likeness = Callable[[Node], Hashable]


class Matching:
    """Pairs of nodes, one of each graph; no node is in two pairs.

    Attributes:
        forward: id of a node of `a` -> its partner in `b`.
        backward: id of a node of `b` -> its partner in `a`. A node that is in both graphs is its own partner.
    """

    def __init__(self, a: Graph, b: Graph) -> None:
        self.a, self.b = a, b
        self.nodes_a, self.nodes_b = all_nodes(a), all_nodes(b)
        self.forward: dict[int, Node] = {}  # id in a -> node of b
        self.backward: dict[int, Node] = {}  # id in b -> node of a
        self._ends = list(zip(_ends(a), _ends(b), strict=False))
        self._readers_a, self._readers_b = _readers(self.nodes_a), _readers(self.nodes_b)
        self._class_a: dict[int, int] = {}
        self._class_b: dict[int, int | None] = {}
        self._known: dict[Hashable, int] = {}  # what computes a value -> the class of nodes that do
        self._members: dict[int, deque[Node]] = defaultdict(deque)
        self._classify()
        self._match_leaves()
        self._match_exactly()
        for likeness in LIKENESSES:
            if self._spread(likeness):
                self._match_exactly()
        matched = len(self.backward)
        self._align()
        for likeness in (*LIKENESSES, _same_type, _same_place):
            self._spread(likeness)
        if len(self.backward) > matched:
            self._match_exactly()

    def same(self, a: Node, b: Node) -> bool:
        """Whether a node of `a` and one of `b` compute the same: they are matched, or duplicates of such."""
        return self._class_b[id(b)] == self._class_a[id(a)]

    def pair(self, a: Node, b: Node) -> bool:
        """Match two nodes, unless one of them is matched already."""
        if id(a) in self.forward or id(b) in self.backward:
            return False
        self.forward[id(a)], self.backward[id(b)] = b, a
        return True

    def _match_leaves(self) -> None:
        in_a = set(map(id, self.nodes_a))
        for node in self.nodes_b:
            if id(node) in in_a:
                self.pair(node, node)
        leaves_a = [node for node in self.nodes_a if isinstance(node, Leaf)]
        leaves_b = [node for node in self.nodes_b if isinstance(node, Leaf)]
        self._match_by(lambda leaf: (leaf.kind, leaf.name) if leaf.name else None, leaves_a, leaves_b)
        for one, other in zip(self.a.inputs, self.b.inputs, strict=False):
            if _alike(one, other):
                self.pair(one, other)
        self._match_by(lambda leaf: leaf.name, leaves_a, leaves_b)
        self._match_by(lambda leaf: None if leaf.name else (leaf.kind, leaf.types), leaves_a, leaves_b)

    def _match_by(self, key: Likeness, some: Iterable[Node], others: Iterable[Node]) -> None:
        """Match what has the same key, in order; None matches nothing."""
        waiting: dict[Hashable, deque[Node]] = defaultdict(deque)
        for node in some:
            if id(node) not in self.forward and key(node) is not None:
                waiting[key(node)].append(node)
        for node in others:
            found = waiting.get(key(node))
            if id(node) not in self.backward and found:
                self.pair(found.popleft(), node)

    def _classify(self) -> None:
        """Number what the nodes of `a` compute; duplicates have one number."""
        draws: Counter[Hashable] = Counter()
        for node in self.nodes_a:
            key = id(node) if isinstance(node, Leaf) else _computed(node, self._class_a, draws)
            number = self._class_a[id(node)] = self._known.setdefault(key, len(self._known))
            self._members[number].append(node)

    def _match_exactly(self) -> None:
        """Match each node of `b` that applies the same op with the same settings to the same operands as one of `a`."""
        draws: Counter[Hashable] = Counter()
        for node in self.nodes_b:
            key = None if isinstance(node, Leaf) else _computed(node, self._class_b, draws)
            partner = self.backward.get(id(node))
            if partner is None and key in self._known:
                partner = self._first_free(self._known[key], node)
            number = self._known.get(key) if partner is None else self._class_a[id(partner)]
            self._class_b[id(node)] = number

    def _first_free(self, number: int, node: Node) -> Node | None:
        """Match a node with one of a class of duplicates, if one is left; rather one of its name and scope."""
        members = self._members[number]
        while members and id(members[0]) in self.forward:
            members.popleft()
        free = [one for one in islice(members, MOST_COMPARED) if id(one) not in self.forward]
        if not free:
            return None
        chosen = max(free, key=lambda one: (one.name == node.name) + (one.scope == node.scope))
        self.pair(chosen, node)
        return chosen

    def _spread(self, likeness: Likeness) -> bool:
        """Match operands and readers of matched nodes that are alike and stand in the same place; whether any were."""
        matched = len(self.backward)
        if matched == len(self.nodes_b) or len(self.forward) == len(self.nodes_a):
            return False
        for one, other in self._ends:
            self._pair_like(one, other, likeness)
        pending = deque((self.backward[id(node)], node) for node in self._frontier())
        if likeness is _same_type:  # one op in the place of several computes what the last of them did
            pending.reverse()
        while pending:
            one, other = pending.popleft()
            operands = zip(_operands(one), _operands(other), strict=False)
            pairs = [(x, y) for (_, x), (_, y) in operands if x is not None and y is not None]
            pairs += self._like_readers(one, other, likeness)
            pending += [(x, y) for x, y in pairs if self._pair_like(x, y, likeness)]
        return len(self.backward) > matched

    def _frontier(self) -> list[Node]:
        """The matched nodes of `b` beside unmatched ones, in order."""
        left = [node for node in self.nodes_b if id(node) not in self.backward]
        beside = {id(one) for node in left for one in node.parents()}
        beside |= {id(one) for node in left for _, one in self._readers_b.get(id(node), ())}
        return [node for node in self.nodes_b if id(node) in beside and id(node) in self.backward]

    def _pair_like(self, one: Node | None, other: Node | None, likeness: Likeness) -> bool:
        if one is None or other is None or not _alike(one, other) or likeness(one) != likeness(other):
            return False
        return self.pair(one, other)

    def _like_readers(self, one: Node, other: Node, likeness: Likeness) -> list[tuple[Node, Node]]:
        waiting: dict[Hashable, deque[Node]] = defaultdict(deque)
        for place, reader in self._readers_a[id(one)]:
            if id(reader) not in self.forward:
                waiting[place, likeness(reader)].append(reader)
        found = []
        for place, reader in self._readers_b[id(other)]:
            key = (place, likeness(reader))
            if id(reader) not in self.backward and waiting.get(key):
                found.append((waiting[key].popleft(), reader))
        return found

    def _align(self) -> None:
        """Match what is left and has no matched neighbour, as two sequences of named things."""
        left_a = [node for node in self.nodes_a if id(node) not in self.forward]
        left_b = [node for node in self.nodes_b if id(node) not in self.backward]
        if not 0 < max(len(left_a), len(left_b)) <= MOST_ALIGNED:
            return
        keys_a, keys_b = ([(_kind(node), node.scope) for node in left] for left in (left_a, left_b))
        for block in SequenceMatcher(None, keys_a, keys_b, autojunk=False).get_matching_blocks():
            for i in range(block.size):
                self.pair(left_a[block.a + i], left_b[block.b + i])


def all_nodes(graph: Graph) -> list[Node]:
    """The nodes of a graph, and the states that it writes without reading them."""
    changed: list[Node] = [leaf for leaf, _ in (*graph.updates, *graph.gradients)]
    return list({id(node): node for node in (*graph.nodes, *changed)}.values())


def settings_with_defaults(node: Node) -> dict[str, Any]:
    return {**node.op.signature.settings, **node.settings}


def constant_key(value: object) -> Hashable:
    """What two constants have in common if and only if they are the same."""
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        if array.dtype.kind == "O":
            return (array.shape, tuple(map(repr, array.ravel())))
        data = np.ascontiguousarray(array).tobytes()
        return (array.dtype.str, array.shape, data if len(data) <= 64 else hashlib.sha256(data).digest())
    return (type(value), repr(value))


def _computed(node: Node, classes: Mapping[int, int | None], draws: Counter[Hashable]) -> Hashable:
    """What a node computes, by the classes of what it reads; None if one of these is unknown."""
    entries: list[Hashable] = []
    for entry in node.inputs:
        if not is_recorded(entry):
            entries.append(constant_key(entry))
            continue
        number = classes[id(edge_node(entry))]
        if number is None:
            return None
        entries.append((number, edge_index(entry)))
    key = (_like_op(node), tuple(entries))
    if node.kind != "random":
        return key
    draws[key] += 1  # each draw is another value
    return (key, draws[key])


def _kind(node: Node) -> Hashable:
    """What must be equal for two nodes to be alike at all, beyond their types."""
    return (node.kind, node.types) if isinstance(node, Leaf) else (node.phase, node.op.identity)


def _like_op(node: Node) -> Hashable:
    if isinstance(node, Leaf):
        return _kind(node)
    return (_kind(node), repr(sorted(settings_with_defaults(node).items())))


def _like_constants(node: Node) -> Hashable:
    """The op with its settings and constants."""
    return (_like_op(node), *(constant_key(entry) for entry in node.inputs if not is_recorded(entry)))


def _same_type(node: Node) -> Hashable:
    return (node.phase, node.output_types)


def _same_place(node: Node) -> Hashable:
    return (node.phase, node.scope or id(node))


LIKENESSES: tuple[Likeness, ...] = (
    lambda node: (_like_constants(node), node.scope, node.name),
    lambda node: (_like_constants(node), node.scope),
    lambda node: (_like_op(node), node.scope),
    lambda node: (_kind(node), node.scope),
    _like_op,
    _kind,
)


def _alike(one: Node, other: Node) -> bool:
    """Whether both are leaves of a kind, or neither is."""
    if isinstance(one, Leaf) and isinstance(other, Leaf):
        return one.kind == other.kind
    return not isinstance(one, Leaf) and not isinstance(other, Leaf)


def _operands(node: Node) -> list[tuple[int, Node | None]]:
    return [(i, edge_node(entry) if is_recorded(entry) else None) for i, entry in enumerate(node.inputs)]


def _readers(nodes: Sequence[Node]) -> dict[int, list[tuple[int, Node]]]:
    """Id of a node -> who reads it, at which operand."""
    found: dict[int, list[tuple[int, Node]]] = defaultdict(list)
    for node in nodes:
        for place, operand in _operands(node):
            if operand is not None:
                found[id(operand)].append((place, node))
    return found


def _ends(graph: Graph) -> list[Node | None]:
    return [edge_node(end) if is_recorded(end) else None for end in graph.ends]
