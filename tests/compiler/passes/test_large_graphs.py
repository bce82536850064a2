"""Passes and memory on large graphs: time in proportion to the graph, and right results."""

import time

import numpy as np

import tinygraph as tg
from tinygraph.analysis import arena
from tinygraph.analysis.arena import Lifetime
from tinygraph.compiler.building import build_plan
from tinygraph.compiler.compiled import COMPILE_PASSES
from tinygraph.compiler.passes import run_passes
from tinygraph.compiler.passes.acyclic_groups import AcyclicGroups
from tinygraph.compiler.passes.roll import roll


def test_groups_join_exactly_where_no_cycle_comes_of_it() -> None:
    """On random graphs, against a search through all of the graph of groups."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        count = int(rng.integers(2, 25))
        above = [
            sorted(set(rng.integers(0, i, int(rng.integers(0, 3))).tolist())) if i else []
            for i in range(count)
        ]
        groups = AcyclicGroups(above)
        of = list(range(count))  # by hand: the name of each node's group
        for _ in range(count):
            i = int(rng.integers(1, count))
            if not above[i]:
                continue
            first, second = of[int(rng.choice(above[i]))], of[i]
            if first == second:
                continue
            one, other = (groups.of[of.index(name)] for name in (first, second))
            joined = groups.join(one, other)
            assert (joined is None) == _indirect(above, of, first, second)
            if joined is not None:
                of = [first if name == second else name for name in of]
                assert sorted(joined.members) == [k for k in range(count) if of[k] == first]
        order = [id(group) for group in groups.in_order(range(count))]
        assert len(set(order)) == len(order) == len(set(of))
        for i, several in enumerate(above):
            for j in several:
                assert order.index(id(groups.of[j])) <= order.index(id(groups.of[i]))


def _indirect(above, of, first, second) -> bool:
    """Whether the second group reaches the first through a third one."""
    reached = {of[j] for i in range(len(of)) if of[i] == second for j in above[i]} - {first, second}
    while True:
        more = reached | {of[j] for i in range(len(of)) if of[i] in reached for j in above[i]}
        if first in more - {second}:
            return True
        if more == reached:
            return False
        reached = more - {second}


def test_values_placed_in_order_of_time_never_overlap(monkeypatch) -> None:
    rng = np.random.default_rng(1)
    for _ in range(30):
        starts = np.sort(rng.integers(0, 50, 60))
        lifetimes = [
            Lifetime(int(rng.integers(65, 900)), int(a), int(a + rng.integers(0, 20))) for a in starts
        ]
        lowest = arena.place(lifetimes)[1]
        monkeypatch.setattr(arena, "MOST_BY_SIZE", 0)
        offsets, total = arena.place(lifetimes)
        monkeypatch.undo()
        for i, one in enumerate(lifetimes):
            assert offsets[i] % 64 == 0
            assert offsets[i] + one.nbytes <= total
            for k in range(i):
                other = lifetimes[k]
                if other.start <= one.end and one.start <= other.end:
                    assert offsets[i] + one.nbytes <= offsets[k] or offsets[k] + other.nbytes <= offsets[i]
        assert total <= 2 * lowest


def test_time_grows_with_the_graph_and_no_faster() -> None:
    """An unrolled loop and a wide sum, differentiated: eight times the nodes take no more than twenty times as long."""
    w = np.eye(4) * 0.5

    def unrolled(x, n):
        h = x
        for _ in range(n):
            h = np.tanh(h @ w + x)
        return np.sum(h)

    def wide(x, n):
        total = x
        for i in range(n):
            total = total + np.exp(x * float(i + 1))
        return np.sum(total)

    for f in (unrolled, wide):
        seconds = []
        for n in (60, 60, 480):
            begin = time.process_time()
            graph = tg.capture(lambda x: tg.grad(f)(x, n), np.ones(4))  # noqa: B023
            build_plan(run_passes(graph, COMPILE_PASSES)[-1].graph)
            seconds.append(time.process_time() - begin)
        assert seconds[2] < 20 * seconds[1], f.__name__


def test_groups_that_differ_in_numbers_share_a_kernel() -> None:
    def wide(x):
        total = x
        for i in range(1000):
            total = total + np.exp(x * float(i + 1)) * 0.5
        return total

    x = np.linspace(-1.0, 0.0, 5)
    compiled = tg.compile(wide, passes=tuple(one for one in COMPILE_PASSES if one is not roll))
    np.testing.assert_allclose(compiled(x), wide(x), rtol=1e-12)
    made = {id(node.op) for node in compiled.plan.graph.nodes if node.op is not None}
    assert len(compiled.plan.steps) > 40
    assert len(made) <= 4
