"""Loops alone: which ops and reductions become one, and the numbers that the kernels make."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import kernels
from tinygraph.compiler.passes.fuse_elementwise import fuse_elementwise
from tinygraph.core.node import Leaf
from tinygraph.plugin import op

if not kernels.available():
    pytest.skip("llvmlite is not installed", allow_module_level=True)

X = np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]])


def names_of(function, *inputs):
    """The ops of a function's graph behind this pass alone."""
    graph = fuse_elementwise(tg.capture(function, *inputs))
    return [node.op.name for node in graph.nodes if not isinstance(node, Leaf)]


def test_reductions_over_the_same_axes_are_in_one_loop():
    def both(x):
        y = np.negative(x)
        return np.sum(y, axis=0), np.max(y, axis=0)

    assert names_of(both, X) == ["fused negative sum max"]
    sums, largest = tg.compile(both)(X)
    np.testing.assert_array_equal(sums, [-11.0, -22.0, -33.0])
    np.testing.assert_array_equal(largest, [-1.0, -2.0, -3.0])


def test_reductions_over_different_axes_are_in_two_loops():
    def both(x):
        y = np.negative(x)
        return np.sum(y, axis=0), np.sum(y, axis=1)

    assert names_of(both, X) == ["fused negative sum", "sum"]
    columns, rows = tg.compile(both)(X)
    np.testing.assert_array_equal(columns, [-11.0, -22.0, -33.0])
    np.testing.assert_array_equal(rows, [-6.0, -60.0])


def test_operands_are_cast_to_the_dtype_they_meet_in():
    narrow, wide = np.array([0.1], np.float32), np.array([0.1])

    def meet(x, y):
        return x * y, x > y, np.maximum(-x, y)

    assert names_of(meet, narrow, wide) == ["fused multiply", "fused greater", "fused negative maximum"]
    product, larger, largest = tg.compile(meet)(narrow, wide)
    # float32(0.1) is 0.100000001490116...
    np.testing.assert_array_equal(product, np.array([0.010000000149011612]), strict=True)
    np.testing.assert_array_equal(larger, np.array([True]), strict=True)
    np.testing.assert_array_equal(largest, np.array([0.1]), strict=True)


def test_reductions_of_nothing_are_in_no_loop():
    def both(x):
        return np.sum(np.negative(x), axis=0), np.prod(np.negative(x), axis=0)

    nothing = np.ones((0, 2))
    assert names_of(both, nothing) == ["fused negative", "sum", "fused negative", "prod"]
    sums, products = tg.compile(both)(nothing)
    np.testing.assert_array_equal(sums, [0.0, 0.0])
    np.testing.assert_array_equal(products, [1.0, 1.0])


def test_a_reduction_that_makes_another_dtype_is_in_no_loop():
    @op(kind="reduction", declare=False, facts={"reduction": "sum"})
    def wide_sum(x, *, axis=None, keepdims=False):
        return np.sum(x, axis=axis, keepdims=keepdims, dtype=np.float64)

    wide_sum.types(lambda x, axis=None, keepdims=False: x._replace(shape=(), dtype=np.dtype(float)))

    def function(x):
        return wide_sum(np.negative(x))

    x = np.array([16777216.0, 1.0], np.float32)  # whose sum is no float32
    assert names_of(function, x) == ["fused negative", "wide_sum"]
    found = tg.compile(function)(x)
    assert found.dtype == np.float64
    assert found == -16777217.0


def test_ops_of_bools_that_numpy_computes_otherwise_are_in_no_loop():
    @op(kind="elementwise", declare=False, facts={"cheap": True})
    def together(x, y):
        return x + y

    @together.emit
    def together_emitted(code, x, y):
        return code.add(x, y)

    p, q = np.array([True, True, False]), np.array([True, False, False])
    assert names_of(lambda p, q: together(p, q), p, q) == ["together"]
    found = tg.compile(lambda p, q: together(p, q) * 1.0)(p, q)  # of numbers, the first would be 2
    np.testing.assert_array_equal(found, np.array([1.0, 1.0, 0.0]), strict=True)
    numbers = tg.compile(lambda p, q: together(p, q) * 1.0)(p, np.array([1.0, 0.5, 0.0]))
    np.testing.assert_array_equal(numbers, [2.0, 1.5, 0.0])
