"""Order nodes so that fewer bytes are alive at once.

List scheduling, forward and backward in turn: forward, a node runs as soon as it can if that frees more than it
takes; backward, it runs as late as it can if what it makes is larger than what it would keep alive. No single move
makes the peak larger, and unless the peak falls the recorded order stays.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from tinygraph.analysis.arena import SMALL
from tinygraph.analysis.memory import Memory
from tinygraph.compiler.passes.rewriting import Rewriting, edges, with_inputs
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place
from tinygraph.core.node import Node


def schedule(graph: Graph) -> Graph:
    """Reorder nodes where that lowers the peak of the bytes alive (`analysis/memory.py`).

    Random ops keep their order among themselves, an update comes after all that reads the old value, and a backward
    node after its forward node.
    """
    if not any(types.nbytes > SMALL for node in graph.nodes for types in node.output_types):
        return graph
    live = Memory(graph)
    if not any(_sizes(live)):
        return graph
    before, after = _dependencies(live)
    order: Sequence[int] = range(len(live.nodes))
    peak, before_that = max(live.alive()), -1
    while peak != before_that:
        before_that = peak
        early = _as_early_as_useful(live, after, order, peak)
        for found in (early, _as_late_as_useful(live, before, early, peak)):
            lowered = max(live.alive(found))
            if lowered < peak:
                order, peak = found, lowered
    return _in_order(graph, live.nodes, order)


def _dependencies(live: Memory) -> tuple[list[list[int]], list[list[int]]]:
    """For each node the nodes that must run before it, and those that must run after it."""
    position = {id(node): i for i, node in enumerate(live.nodes)}
    needed: list[set[int]] = []
    last_once = -1
    for i, node in enumerate(live.nodes):
        wanted = {position[id(parent)] for parent in node.parents() if id(parent) in position}
        origin = position.get(id(node.forward_node), i)
        if origin < i:
            wanted.add(origin)
        if not node.op.repeatable:  # draws, and exchanges that every process must make in the same order
            wanted |= {last_once} if last_once >= 0 else set()
            last_once = i
        needed.append(wanted)
    for written, home in live.in_place.items():
        i = live.maker[written]
        needed[i].update(reader for reader in live.readers[home] if reader != i)
    after: list[list[int]] = [[] for _ in needed]
    for i, several in enumerate(needed):
        for j in several:
            after[j].append(i)
    return [list(one) for one in needed], after


def _as_early_as_useful(
    live: Memory, after: Sequence[Sequence[int]], order: Sequence[int], limit: int
) -> list[int]:
    """The order in which nodes that free more than they make run as soon as they can."""
    sizes, makes, reads = _sizes(live), live.makes, live.reads
    rank = _ranks(order)
    waits = _counts(after)
    left = [len(readers) + (buffer in live.lasting) for buffer, readers in enumerate(live.readers)]
    # the one reader left of a buffer is the sum of its readers less those that ran
    sums = [sum(readers) for readers in live.readers]
    change = [
        sum(sizes[b] for b in makes[i] if left[b]) - sum(sizes[b] for b in reads[i] if left[b] == 1)
        for i in range(len(order))
    ]
    freeing = [(change[i], rank[i], i) for i in order if not waits[i] and _pays(change[i], makes[i])]
    heapq.heapify(freeing)
    done = [False] * len(order)
    found: list[int] = []
    now = 0

    def run(i: int) -> None:
        nonlocal now
        done[i] = True
        found.append(i)
        now += change[i]
        for b in reads[i]:
            left[b] -= 1
            sums[b] -= i
            if left[b] == 1 and b not in live.lasting and sizes[b]:
                reader = sums[b]
                change[reader] -= sizes[b]
                if not waits[reader] and change[reader] < 0:
                    heapq.heappush(freeing, (change[reader], rank[reader], reader))
        for j in after[i]:
            waits[j] -= 1
            if not waits[j] and _pays(change[j], makes[j]):
                heapq.heappush(freeing, (change[j], rank[j], j))

    for i in order:
        while freeing:
            _, _, early = heapq.heappop(freeing)
            if not done[early] and now + sum(sizes[b] for b in makes[early]) <= limit:
                run(early)
        if not done[i]:
            run(i)
    return found


def _as_late_as_useful(
    live: Memory, before: Sequence[Sequence[int]], order: Sequence[int], limit: int
) -> list[int]:
    """The order in which nodes that make more than they keep alive run as late as they can: built from its end."""
    sizes, makes, reads = _sizes(live), live.makes, live.reads
    rank = _ranks(order)
    waits = _counts(before)
    alive = [buffer in live.lasting for buffer in range(len(sizes))]
    # bytes alive before a node less those after it, from what is known when all that comes after it is placed
    change = [
        sum(sizes[b] for b in reads[i] if not alive[b])
        - sum(sizes[b] for b in makes[i] if live.readers[b] or alive[b])
        for i in range(len(order))
    ]
    freeing = [(change[i], -rank[i], i) for i in order if not waits[i] and _pays(change[i], makes[i])]
    heapq.heapify(freeing)
    done = [False] * len(order)
    found: list[int] = []
    now = sum(sizes[b] for b in live.lasting)

    def run(i: int) -> None:
        nonlocal now
        done[i] = True
        found.append(i)
        now += change[i]
        for b in reads[i]:
            if alive[b]:
                continue
            alive[b] = True
            for reader in live.readers[b] if sizes[b] else ():
                change[reader] -= sizes[b]
                if not waits[reader] and not done[reader] and change[reader] < 0:
                    heapq.heappush(freeing, (change[reader], -rank[reader], reader))
        for j in before[i]:
            waits[j] -= 1
            if not waits[j] and _pays(change[j], makes[j]):
                heapq.heappush(freeing, (change[j], -rank[j], j))

    for i in reversed(order):
        while freeing:
            _, _, late = heapq.heappop(freeing)
            if not done[late] and now + sum(sizes[b] for b in reads[late] if not alive[b]) <= limit:
                run(late)
        if not done[i]:
            run(i)
    return found[::-1]


def _pays(change: int, makes: Sequence[int]) -> bool:
    """Whether to move a node that changes the bytes alive so: views cost nothing, and others wait for them."""
    return change < 0 or (change == 0 and not makes)


def _sizes(live: Memory) -> list[int]:
    return [size if size > SMALL else 0 for size in live.sizes]


def _counts(lists: Sequence[Sequence[int]]) -> list[int]:
    """For each node how many of the lists, one a node, it is in."""
    counts = [0] * len(lists)
    for several in lists:
        for i in several:
            counts[i] += 1
    return counts


def _ranks(order: Sequence[int]) -> list[int]:
    ranks = [0] * len(order)
    for rank, i in enumerate(order):
        ranks[i] = rank
    return ranks


def _in_order(graph: Graph, nodes: Sequence[Node], order: Sequence[int]) -> Graph:
    """The graph with its nodes in another order: from the first that moves on, they are made again one by one.

    So is what stands before it and serves a forward node that is made again, which `recompute` may have moved so far.
    """
    start = next((i for i, j in enumerate(order) if i != j), len(order))
    place = {id(nodes[j]): i for i, j in enumerate(order)}
    serves = [place.get(id(nodes[j].forward_node), -1) for j in order[:start]]
    while (first := next((i for i in range(start) if serves[i] >= start), start)) < start:
        start = first
    rewriting = Rewriting(graph)
    made: list[Node] = []
    for i in order[start:]:
        made.append(with_inputs(nodes[i], rewriting.entries(nodes[i].inputs), rewriting.origin(nodes[i])))
        rewriting.put(nodes[i], edges(made[-1]))
    serve_what_was_made_later(made, rewriting)
    return rewriting.graph()


def serve_what_was_made_later(nodes: Iterable[Node], rewriting: Rewriting) -> None:
    """Point backward nodes made before the new forward node that they serve to it: `recompute` moves forward nodes."""
    for node in nodes:
        origin = rewriting.origin(node)
        if origin is not node.forward_node:
            node.place = Place(node.place.scope, node.phase, origin)
