"""Simplifying alone: an operand that changes a single number is not neutral."""

import numpy as np

import tinygraph as tg
from tests.rows import each
from tinygraph.compiler.passes.simplify_algebra import simplify_algebra
from tinygraph.core.node import Leaf

X = np.array([2.0, 3.0, 5.0])
# name -> (function of X, how many ops are left, its value)
CASES = {
    "times ones": (lambda x: x * np.ones(3), 0, [2.0, 3.0, 5.0]),
    "times a one among others": (lambda x: x * np.array([1.0, 2.0, 1.0]), 1, [2.0, 6.0, 5.0]),
    "minus a zero among others": (lambda x: x - np.array([0.0, 0.0, 4.0]), 1, [2.0, 3.0, 1.0]),
    "divided by a one among others": (lambda x: x / np.array([1.0, 1.0, 2.0]), 1, [2.0, 3.0, 2.5]),
    "to powers of which one is the first": (lambda x: x ** np.array([1.0, 2.0, 1.0]), 1, [2.0, 9.0, 5.0]),
}


@each("name", CASES)
def test_neutral_everywhere_or_not_at_all(name):
    function, count, value = CASES[name]
    graph = simplify_algebra(tg.capture(function, X))
    assert sum(not isinstance(node, Leaf) for node in graph.nodes) == count
    np.testing.assert_array_equal(graph(X), value)
