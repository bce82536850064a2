"""Rolling: blocks of nodes that follow one another and do the same - a loop of Python, unrolled - become one loop.

A block is what a step did; it repeats where the ops, settings and types of the nodes repeat at one distance. What a
block reads of the one before it becomes a carry; what is another value for each block, slices; what is the same, read
by all steps. The loop is planned once, however many blocks there were. Backward passes repeat as their forward passes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.compiler.passes.merge_duplicates import identity
from tinygraph.compiler.passes.rewriting import Rewriting, as_op, edges, make_node, rewrite, with_inputs
from tinygraph.core.graph import Graph
from tinygraph.core.node import (
    Edge,
    Leaf,
    Node,
    edge_index,
    edge_node,
    edge_type,
    entry_type,
    is_recorded,
    settings_key,
)
from tinygraph.core.registry import ops
from tinygraph.core.subgraphs import Subgraph
from tinygraph.core.types import ArrayType, WeakType

# Of a graph: below, a plan of all blocks takes little, and runs faster, as nothing is copied from block to block.
FEWEST_NODES = 4_000
FEWEST_BLOCKS = 32
MOST_BYTES = 2**28  # of what a loop stacks
MOST_LOOPS = 8  # found in one graph
_KINDS_APART = ("random", "collective")  # what these do depends on what was done before

Place = tuple[int, int]  # which node of a block, and which of its outputs
Kinds = list[tuple[str, Place]]  # of each operand of a node


class _Blocks(NamedTuple):
    """Nodes that repeat.

    Attributes:
        nodes: of each block, in order.
        carries: what a block reads of the one before it -> what stands for it in the first.
        slices: what differs, by (node of the block, operand): the entries of all blocks.
        alike: what all blocks read, by identity.
        where: of each operand that a block reads of itself or of the one before, by (node of the block, operand):
            which one of these, and the place there.
    """

    nodes: list[list[Node]]
    carries: dict[Place, Any]
    slices: dict[tuple[int, int], list[Any]]
    alike: dict[Any, Any]
    where: dict[tuple[int, int], tuple[str, Place]]


def roll(graph: Graph) -> Graph:
    """Put loops in the place of blocks that repeat."""
    if len(graph.nodes) < FEWEST_NODES:
        return graph
    before = graph
    for _ in range(MOST_LOOPS):
        blocks = _repeating(graph)
        rolled = None if blocks is None else _rolled(graph, blocks)
        if rolled is None:
            break
        graph = rolled
    return graph if graph is before else rewrite(graph, _as_one)


# -- what repeats --------------------------------------------------------------------------------------------------


def _repeating(graph: Graph) -> _Blocks | None:
    nodes = _in_order(graph)
    found = _stretch(_signatures(nodes))
    if found is None:
        return None
    start, period, count = found
    return _alike(nodes, start, period, count)


def _in_order(graph: Graph) -> list[Node]:
    """The nodes that compute, each just before the first that reads it.

    Views of what is given come before all, slices of what is computed right behind it: blocks read them as they are.
    """
    parts: dict[int, list[Node]] = {}
    early, known = [], set[int]()
    for node in graph.nodes:
        if isinstance(node, Leaf) or node.op.put is None:
            continue
        if all(
            not is_recorded(one) or isinstance(edge_node(one), Leaf) or id(edge_node(one)) in known
            for one in node.inputs
        ):
            known.add(id(node))
            early.append(node)
        elif _is_slice(node):
            parts.setdefault(id(edge_node(node.inputs[0])), []).append(node)
    rest: list[Node] = []
    for end in graph.ends:
        stack = [(edge_node(end), False)] if is_recorded(end) else []
        while stack:
            node, ready = stack.pop()
            if ready:
                made = [node]
                for one in made:
                    made += (part for part in parts.get(id(one), ()) if id(part) not in known)
                known.update(map(id, made))
                rest += made
            elif id(node) not in known and not isinstance(node, Leaf):
                known.add(id(node))
                stack.append((node, True))
                stack += [(edge_node(one), False) for one in reversed(node.inputs) if is_recorded(one)]
    return early + rest


def _is_slice(node: Node) -> bool:
    """Whether a node is x[i] or x[i, ...] for a number i."""
    pattern: tuple[Any, ...] = (
        node.settings["pattern"] if node.op is ops.index and len(node.inputs) == 1 else ()
    )
    return bool(pattern) and type(pattern[0]) is int


def _signatures(nodes: Sequence[Node]) -> np.ndarray[Any, Any]:
    """A number for each node: the same for those that do the same."""
    numbers: dict[Any, int] = {}
    found = []
    for node in nodes:
        weak = tuple(isinstance(one, WeakType) for one in node.output_types)
        own = id(node) if node.kind in _KINDS_APART else 0  # such a node repeats nothing
        key = id(node.op), settings_key(node.settings), node.types, weak, node.phase, len(node.inputs), own
        found.append(numbers.setdefault(key, len(numbers)))
    return np.array(found)


def _stretch(signatures: np.ndarray[Any, Any]) -> tuple[int, int, int] | None:
    """Where the longest part that repeats begins, the length of a block, and how many there are."""
    distances = Counter[int]()
    latest: dict[int, list[int]] = {}
    for i, one in enumerate(signatures.tolist()):
        before = latest.setdefault(one, [])
        distances.update(i - j for j in before)
        before.append(i)
        del before[:-3]
    best: tuple[int, int, int] | None = None
    for period in sorted(one for one, _ in distances.most_common(16)):
        same = np.concatenate([[False], signatures[period:] == signatures[:-period], [False]])
        edges_at = np.flatnonzero(same[1:] != same[:-1]).reshape(-1, 2)
        if not len(edges_at):
            continue
        start, end = max(edges_at.tolist(), key=lambda pair: pair[1] - pair[0])
        count = (end - start + period) // period
        if count >= FEWEST_BLOCKS and (best is None or count * period > 1.1 * best[1] * best[2]):
            best = start, period, count
    return best


def _alike(nodes: Sequence[Node], start: int, period: int, count: int) -> _Blocks | None:
    """Those of the blocks whose operands are alike, too."""
    places = {id(nodes[start + i]): i for i in range(period * count)}

    def where(entry: Edge, block: int) -> tuple[str, Place]:
        if not is_recorded(entry):
            return "given", (0, 0)
        place = places.get(id(edge_node(entry)))
        if place is not None and place // period >= block - 1:
            return "own" if place // period == block else "before", (place % period, edge_index(entry))
        return "given", (0, 0)

    kinds: list[Any] = []
    for block in range(count):
        own = nodes[start + block * period : start + (block + 1) * period]
        kinds.append([[where(one, block) for one in node.inputs] for node in own])
    first, length = _longest([0, *(int(kinds[i] == kinds[i - 1]) for i in range(1, count))])
    if length < FEWEST_BLOCKS:
        return None
    usual = kinds[first]
    if first and _begins(
        nodes[start + (first - 1) * period : start + first * period], kinds[first - 1], usual
    ):
        first, length = first - 1, length + 1
    chosen = [
        list(nodes[start + block * period : start + (block + 1) * period])
        for block in range(first, first + length)
    ]
    carries: dict[Place, Any] = {}
    slices: dict[tuple[int, int], list[Any]] = {}
    alike: dict[Any, Any] = {}
    for i, row in enumerate(usual):
        for k, (how, place) in enumerate(row):
            entries = [block[i].inputs[k] for block in chosen]
            if how == "before":
                carries[place] = entries[0]
            elif how == "given":
                if any(_is_within(one, places, first, period) for one in entries):
                    return None  # of a block further back
                same = {identity(one) for one in entries}
                if len(same) > 1:
                    slices[i, k] = entries
                elif is_recorded(entries[0]):
                    alike[same.pop()] = entries[0]
    pairs = {(i, k): one for i, row in enumerate(usual) for k, one in enumerate(row) if one[0] != "given"}
    return _Blocks(chosen, carries, slices, alike, pairs)


def _begins(block: Sequence[Node], kinds: Sequence[Kinds], usual: Sequence[Kinds]) -> bool:
    """Whether a block is the first: where the others read the one before them, it reads one thing that is given."""
    starts: dict[Place, Any] = {}
    for node, mine, theirs in zip(block, kinds, usual, strict=True):
        for entry, (how, place), (how_later, place_later) in zip(node.inputs, mine, theirs, strict=True):
            if how_later != "before" or how == "before":
                if (how, place) != (how_later, place_later):
                    return False
                continue
            begins = how == "given" and _may_start(entry, block[place_later[0]].output_types[place_later[1]])
            if not begins or starts.setdefault(place_later, identity(entry)) != identity(entry):
                return False
    return True


def _may_start(entry: object, types: ArrayType) -> bool:
    if entry is None or isinstance(entry, bool | int | float | complex):
        return False
    found = entry_type(entry)
    return found == types and isinstance(found, WeakType) == isinstance(types, WeakType)


def _is_within(entry: object, places: dict[int, int], first: int, period: int) -> bool:
    place = places.get(id(edge_node(entry))) if is_recorded(entry) else None
    return place is not None and place // period >= first


def _longest(same: Sequence[int]) -> tuple[int, int]:
    """Where the longest run of blocks begins of which each is as the one before it, and its length."""
    best, start = (0, 1), 0
    for i, one in enumerate(same):
        if not one:
            start = i
        if i - start + 1 > best[1]:
            best = start, i - start + 1
    return best


# -- the loop ------------------------------------------------------------------------------------------------------


def _rolled(graph: Graph, blocks: _Blocks) -> Graph | None:
    """The graph with a loop for the blocks; None where it would keep too much."""
    length = len(blocks.nodes)
    given = [edge_node(one) for one in (*blocks.carries.values(), *blocks.alike.values()) if is_recorded(one)]
    if any(isinstance(one, Leaf) and one.kind == "generator" for one in given):
        return None
    wanted = _read_outside(graph, blocks)
    stacked = [
        place for place, steps in wanted.items() if place not in blocks.carries or steps != {length - 1}
    ]
    body, xs = _body(blocks, stacked)
    if (
        xs is None
        or sum(one.nbytes for one in body.output_types[len(blocks.carries) :]) * length > MOST_BYTES
    ):
        return None
    inside = {id(node) for block in blocks.nodes for node in block}
    rewriting = Rewriting(graph)
    made: Node | None = None
    for node in graph.nodes:
        if isinstance(node, Leaf):
            continue
        if id(node) not in inside:
            rewriting.keep(node)
        elif made is None:
            made = _loop(rewriting, blocks, body, xs)
            _put_results(rewriting, blocks, made, wanted, stacked)
    return rewriting.graph()


def _read_outside(graph: Graph, blocks: _Blocks) -> dict[Place, set[int]]:
    """Which values something outside the blocks reads, and of which blocks."""
    where = {id(node): (i, t) for t, block in enumerate(blocks.nodes) for i, node in enumerate(block)}
    found: dict[Place, set[int]] = {}
    outside = (node for node in graph.nodes if not isinstance(node, Leaf) and id(node) not in where)
    for entry in (*(one for node in outside for one in node.inputs), *graph.ends):
        if is_recorded(entry) and id(edge_node(entry)) in where:
            i, t = where[id(edge_node(entry))]
            found.setdefault((i, edge_index(entry)), set()).add(t)
    return found


def _body(blocks: _Blocks, stacked: Sequence[Place]) -> tuple[Subgraph, list[Any] | None]:
    """A step, and what each of its slices is taken from."""
    first = blocks.nodes[0]
    carries = {
        place: _leaf(entry_type(one), f"c{k}") for k, (place, one) in enumerate(blocks.carries.items())
    }
    alike = {key: _leaf(edge_type(one), f"w{k}") for k, (key, one) in enumerate(blocks.alike.items())}
    slices: dict[tuple[int, int], Leaf] = {}
    shared: dict[Any, Leaf] = {}
    xs: list[Any] = []
    for (i, k), entries in blocks.slices.items():
        key = tuple(map(identity, entries))
        if key not in shared:
            found = _stack_of(entries, first[i])
            if found is None:
                return Subgraph(Graph([], [], name="block"), "block"), None
            types, made = found
            shared[key] = _leaf(types, f"x{len(xs)}")
            xs.append(made)
        slices[i, k] = shared[key]
    copies: list[Node] = []
    for i, node in enumerate(first):
        inputs = []
        for k, entry in enumerate(node.inputs):
            how = blocks.where.get((i, k))
            if how is not None:
                inputs.append(carries[how[1]] if how[0] == "before" else edges(copies[how[1][0]])[how[1][1]])
            elif (i, k) in slices:
                inputs.append(slices[i, k])
            else:
                inputs.append(alike[identity(entry)] if is_recorded(entry) else entry)
        copies.append(with_inputs(node, tuple(inputs), None))
    ends = [edges(copies[i])[k] for i, k in (*blocks.carries, *stacked)]
    leaves = [*carries.values(), *shared.values(), *alike.values()]
    return Subgraph(Graph(leaves, ends, name="block"), "block"), xs


def _leaf(types: ArrayType, name: str) -> Leaf:
    return Leaf(None, kind="input", types=types, name=name)


def _stack_of(entries: Sequence[Any], node: Node) -> tuple[ArrayType, Any] | None:
    """The type of one entry, and all of them along a new first axis: a constant, or the op, operands and settings."""
    numbers = [one for one in entries if isinstance(one, bool | int | float)]
    if numbers:
        fits = node.kind == "elementwise" and node.dtype.kind == "f" and len(numbers) == len(entries)
        if not fits or any(isinstance(one, bool) for one in numbers):
            return None
        array = np.array(numbers, node.dtype)
        return ArrayType((), array.dtype), array
    if any(one is None for one in entries):
        return None
    types = [entry_type(one) for one in entries]
    if any(one != types[0] or isinstance(one, WeakType) for one in types):
        return None
    from_one = _slices_of_one(entries)
    if from_one is not None:
        return types[0], from_one
    if types[0].nbytes * len(entries) > MOST_BYTES:
        return None
    if not any(map(is_recorded, entries)):
        return types[0], np.stack(entries)
    return types[0], (
        ops.stack,
        tuple(entries),
        {"axis": 0},
        ArrayType((len(entries), *types[0].shape), types[0].dtype),
    )


def _slices_of_one(entries: Sequence[Any]) -> Any:
    """The operand whose slices in order entries are, or the op that takes these; None if they are not."""
    nodes = [one for one in entries if isinstance(one, Node) and not isinstance(one, Leaf) and _is_slice(one)]
    if len(nodes) < len(entries) or len({identity(one.inputs[0]) for one in nodes}) > 1:
        return None
    patterns = [one.settings["pattern"] for one in nodes]
    if any(one[1:] != patterns[0][1:] for one in patterns):
        return None
    whole = nodes[0].inputs[0]
    size = entry_type(whole).shape[0]
    at = [one[0] % size for one in patterns]
    step = at[1] - at[0]
    if not step or any(b - a != step for a, b in itertools.pairwise(at)):
        return None
    if step == 1 and len(at) == size and len(patterns[0]) == 1:
        return whole
    stop = at[-1] + (1 if step > 0 else -1)
    pattern = (("slice", at[0], stop if stop >= 0 else None, step), *patterns[0][1:])
    types = ArrayType((len(at), *nodes[0].shape), nodes[0].dtype)
    return ops.index, (whole,), {"pattern": pattern}, types


def _as_one(node: Node, inputs: tuple[Any, ...]) -> tuple[Any] | None:
    """What all blocks made is one array now: that stands for its slices stacked, or added up at one place each."""
    if len(inputs) < FEWEST_BLOCKS:
        return None
    settings = node.all_settings
    if node.op is ops.stack and settings["axis"] == 0:
        return _made(_slices_of_one(inputs), node)
    if node.op is not as_op(ops.scatter).facts["summand"][0] or settings["whole"] or any(settings["counts"]):
        return None
    at = [one[0] if len(one) == 1 and type(one[0]) is int else None for one in settings["patterns"]]
    values = None if None in at else _made(_slices_of_one(inputs), node)
    if values is None:
        return None
    places = np.array(at) % node.shape[0]
    if np.array_equal(places, np.arange(node.shape[0])):
        return values
    settings = {"pattern": ("array",), "shape": node.shape}
    return (make_node(as_op(ops.scatter), (*values, places), settings, node.types, like=node),)


def _made(found: object, node: Node) -> tuple[Any] | None:
    if not isinstance(found, tuple):
        return None if found is None else (found,)
    op, inputs, settings, types = found
    return (make_node(op, inputs, settings, types, like=node),)


def _loop(rewriting: Rewriting, blocks: _Blocks, body: Subgraph, xs: Sequence[Any]) -> Node:
    like, length = blocks.nodes[0][-1], len(blocks.nodes)
    slices = []
    for one in xs:
        if isinstance(one, tuple):
            op, inputs, settings, types = one
            slices.append(make_node(op, rewriting.entries(inputs), settings, types, like=like))
        else:
            slices.append(rewriting.now(one) if is_recorded(one) else one)
    carries = len(blocks.carries)
    settings = {"body": body, "carries": carries, "slices": len(slices), "length": length, "reverse": False}
    inputs = (
        *rewriting.entries(tuple(blocks.carries.values())),
        *slices,
        *rewriting.entries(tuple(blocks.alike.values())),
    )
    made = body.output_types
    types = (*made[:carries], *(ArrayType((length, *one.shape), one.dtype) for one in made[carries:]))
    return make_node(as_op(ops.scan), inputs, settings, types, like=like)


def _put_results(
    rewriting: Rewriting, blocks: _Blocks, loop: Node, wanted: dict[Place, set[int]], stacked: Sequence[Place]
) -> None:
    results = edges(loop)
    last = dict(zip(blocks.carries, results, strict=False))
    stacks = dict(zip(stacked, results[len(blocks.carries) :], strict=True))
    for t, block in enumerate(blocks.nodes):
        for i, node in enumerate(block):
            found: list[Any] = [results[0]] * len(node.output_types)
            for k, types in enumerate(node.output_types):
                place = i, k
                if t not in wanted.get(place, ()):
                    continue
                if place not in stacks:
                    found[k] = last[place]
                else:
                    settings = {"pattern": (t,)}
                    found[k] = make_node(as_op(ops.index), (stacks[place],), settings, types, like=node)
            rewriting.put(node, found)
