"""Folding constants alone: what becomes a value, and what stays to be computed."""

import numpy as np

import tinygraph as tg
from tinygraph.compiler.passes.fold_constants import LARGEST_FOLD, fold_constants
from tinygraph.compiler.passes.rewriting import Rewriting
from tinygraph.core.node import Leaf
from tinygraph.plugin import op

ops = tg.ops


def with_first_fixed(graph, value):
    """The graph with a constant in place of its first input: recording computes with constants at once."""
    rewriting = Rewriting(graph)
    rewriting.put(graph.inputs[0], [value])
    for node in graph.nodes:
        if not isinstance(node, Leaf):
            rewriting.keep(node)
    return rewriting.graph()


def names_of(graph):
    return [node.op.name for node in graph.nodes if not isinstance(node, Leaf)]


def test_what_depends_on_constants_alone_is_a_value():
    graph = with_first_fixed(
        tg.capture(lambda a, x: np.square(a) * x, np.ones(2), np.ones(2)), np.array([3.0, 4.0])
    )
    assert names_of(graph) == ["square", "multiply"]
    folded = fold_constants(graph)
    assert names_of(folded) == ["multiply"]
    np.testing.assert_array_equal(folded(np.ones(2), np.array([1.0, 2.0])), [9.0, 32.0])


def test_a_value_that_would_fill_the_plan_is_computed():
    for size, left in (
        (LARGEST_FOLD // 8, ["multiply"]),
        (LARGEST_FOLD // 8 + 1, ["broadcast_to", "multiply"]),
    ):

        def spread(a, x, size=size):
            return np.broadcast_to(a, (size,)) * x

        folded = fold_constants(
            with_first_fixed(tg.capture(spread, np.ones(1), np.ones(())), np.array([3.0]))
        )
        assert names_of(folded) == left
        np.testing.assert_array_equal(folded(np.ones(1), np.array(2.0)), np.full(size, 6.0))


def test_a_draw_that_reads_constants_alone_is_made_in_each_call():
    drawn = iter(range(1, 100))

    @op(kind="random", declare=False)
    def draw(x):
        return x + next(drawn)

    draw.types(lambda x: x)
    graph = with_first_fixed(tg.capture(lambda a, x: draw(a) * x, np.zeros(1), np.ones(1)), np.zeros(1))
    first = next(drawn)
    folded = fold_constants(graph)
    assert names_of(folded) == ["draw", "multiply"]
    assert [folded(np.zeros(1), np.ones(1))[0] for _ in range(2)] == [first + 1, first + 2]
