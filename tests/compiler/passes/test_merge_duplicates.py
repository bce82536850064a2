"""Merging duplicates alone: what is the same, and what only looks so."""

import numpy as np

import tinygraph as tg
from tinygraph.compiler.passes.merge_duplicates import merge_duplicates
from tinygraph.core.node import Leaf
from tinygraph.plugin import op


def merged(function, *inputs):
    """The graph of a function behind this pass alone, and how many ops it has."""
    graph = merge_duplicates(tg.capture(function, *inputs))
    return graph, sum(not isinstance(node, Leaf) for node in graph.nodes)


def is_exactly(found, values, dtype):
    np.testing.assert_array_equal(found, np.array(values, dtype), strict=True)


def test_the_same_op_on_the_same_operands_runs_once():
    graph, count = merged(lambda x: np.negative(x) * np.negative(x), np.zeros(2))
    assert count == 2
    is_exactly(graph(np.array([2.0, -3.0])), [4.0, 9.0], float)


def test_equal_numbers_of_several_types_differ():
    x = np.array([3, 4])
    graph, count = merged(lambda x: (x * 1, x * 1.0, x * 1), x)
    assert count == 2
    whole, real, again = graph(x)
    is_exactly(whole, [3, 4], np.int64)
    is_exactly(real, [3.0, 4.0], np.float64)
    is_exactly(again, [3, 4], np.int64)
    graph, count = merged(lambda x: (x + True, x + 1), np.array([True]))
    assert count == 2
    truth, number = graph(np.array([True]))
    is_exactly(truth, [True], np.bool_)
    is_exactly(number, [2], np.int64)


def test_zeros_of_both_signs_differ():
    graph, count = merged(lambda x: (x * 0.0, x * -0.0), np.ones(1))
    assert count == 2
    assert [bool(np.signbit(one[0])) for one in graph(np.ones(1))] == [False, True]


def test_two_ops_of_one_name_differ():
    def turned(degrees):
        @op(kind="elementwise", name="turned", declare=False)
        def turn(x):
            return x + degrees

        return turn

    first, second = turned(90.0), turned(180.0)
    graph, count = merged(lambda x: (first(x), second(x)), np.zeros(1))
    assert count == 2
    assert [one[0] for one in graph(np.array([5.0]))] == [95.0, 185.0]


def test_constants_of_the_same_bytes_and_several_dtypes_differ():
    whole = np.array([1, 2])
    real = whole.view(np.float64)  # the same bytes: 5e-324 and 1e-323
    graph, count = merged(lambda x: (x * whole, x * real), np.ones(2))
    assert count == 2
    first, second = graph(np.ones(2))
    is_exactly(first, [1.0, 2.0], np.float64)
    is_exactly(second, [5e-324, 1e-323], np.float64)


def test_constants_of_the_same_bytes_and_several_shapes_differ():
    row = np.array([1.0, 2.0])
    graph, count = merged(lambda x: (x * row, x * row[:, None]), np.ones((2, 2)))
    assert count == 2
    first, second = graph(np.ones((2, 2)))
    is_exactly(first, [[1.0, 2.0], [1.0, 2.0]], np.float64)
    is_exactly(second, [[1.0, 1.0], [2.0, 2.0]], np.float64)
