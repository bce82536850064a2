"""Passes: before and after compute the same, what should go is gone, and a second run changes nothing."""

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph.compiler.compiled import COMPILE_PASSES
from tinygraph.compiler.passes import PASSES, run_passes, verify
from tinygraph.compiler.passes.simplify_algebra import simplify_algebra
from tinygraph.core.node import Leaf
from tinygraph.errors import GraphError
from tinygraph.plugin import op

X = np.linspace(-1.0, 2.0, 6).reshape(2, 3)
ops = tg.ops

# name -> (function of X, how many ops are left after all passes)
CASES = {
    "constants": (lambda x: x * (np.exp(np.ones(3)) + 1), 1),
    "duplicates": (lambda x: np.sin(x) + np.sin(x), 2),
    "different settings stay": (lambda x: x.sum(axis=0).sum() + x.sum(axis=1).sum(), 5),
    "times one": (lambda x: x * 1.0, 0),
    "plus negative zero": (lambda x: -0.0 + x, 0),
    "minus zero": (lambda x: x - 0.0, 0),
    "plus zero stays": (lambda x: 0.0 + x, 1),
    "minus negative zero stays": (lambda x: x - np.array([-0.0, 0.0, 0.0]), 1),
    "divided by one": (lambda x: x / 1, 0),
    "to the first power": (lambda x: x**1.0, 0),
    "times zero stays": (lambda x: x * 0.0, 1),
    "zero minus it stays": (lambda x: 0.0 - x, 1),
    "integers plus zero": (lambda x: (x > 0).astype(int) + 0, 2),
    "complex times one stays": (lambda x: (x * 1j) * 1.0, 2),
    "one of another dtype stays": (lambda x: x.astype(np.float32) * np.float64(1.0), 2),
    "one of another shape stays": (lambda x: x * np.ones((2, 2, 3)), 1),
    "double negation": (lambda x: np.exp(np.negative(np.negative(x))), 1),
    "transposes": (lambda x: np.exp(x.T.T), 1),
    "transposed product": (lambda x: (x.T @ x[:, :2]).T, 3),
    "transposed product read twice": (lambda x: (lambda y: y.T @ y)(x.T @ x[:, :2]), 5),
    "transposed stacks of products": (lambda x: np.swapaxes(x[:, None] @ x[:, :, None], 1, 2), 5),
    "three transposes": (lambda x: x.T.T.T, 1),
    "reshapes": (lambda x: x.reshape(3, 2).reshape(6).reshape(2, 3) * 2, 1),
    "swapped axes": (lambda x: np.moveaxis(np.swapaxes(x, 0, 1), 0, 1) * 2, 1),
    "axes added and removed": (lambda x: np.squeeze(np.expand_dims(np.expand_dims(x, 1), 0)) * 2, 1),
    "wider and back": (lambda x: x.astype(np.float32).astype(float).astype(np.float32) * 2, 2),
    "narrower and back stays": (lambda x: x.astype(np.float32).astype(float) * 2, 3),
    "integers through floats": (lambda x: x.astype(np.int32).astype(float).astype(np.int32), 1),
    "long integers through floats stay": (lambda x: x.astype(int).astype(float).astype(int), 3),
    "transposes around a chain": (lambda x: np.transpose(np.exp(-x.T) * 2.0), 3),
    "a transpose of two transposes": (lambda x: (x.T * np.exp(x).T).T, 2),
    "a transpose that is read twice": (lambda x: (lambda y: (y + 1.0).T.sum(1) + y.sum(0))(x.T), 5),
    "a transpose changes places": (lambda x: (x.T * np.exp(x).reshape(3, 2)).T, 4),
    "a transpose that meets none stays": (lambda x: np.exp(x).reshape(3, 2).T, 3),
    "a constant on the way": (lambda x: (x.T + np.arange(6.0).reshape(3, 2)).T, 1),
    "a vector on the way stays": (lambda x: (x.T + np.arange(2.0)).T, 3),
    "reshapes around a chain": (lambda x: np.tanh(x.reshape(6) + np.sum(x)).reshape(2, 3), 3),
    "casts around a transpose": (lambda x: x.astype(np.float32).astype(float).T.astype(np.float32), 2),
    "a transpose around a cast": (lambda x: (x.T > 0).astype(float).T, 2),
    "what computes in another precision stays": (lambda x: np.exp(x.astype(np.float32)).astype(float), 3),
    "a row spread through a chain": (lambda x: np.exp(-np.broadcast_to(x, (4, 2, 3))) * 2.0, 4),
    "two rows spread alike": (lambda x: np.broadcast_to(x[0], (2, 3)) * np.broadcast_to(x[1], (2, 3)), 4),
    "a row spread beside a matrix stays": (lambda x: np.broadcast_to(x[0], (2, 3)) * x, 3),
    "a row and a column stay": (lambda x: np.broadcast_to(x[0], (2, 3)) * x[:, :1], 4),
    "cast to itself": (lambda x: x.astype(float) * 2, 1),
    "float zero on integers stays": (lambda x: (x > 0).astype(int) + 0.0, 3),
    "unused": (lambda x: (np.exp(x), np.sin(x))[1], 1),
}


@each("name", CASES)
def test_before_and_after_compute_the_same(name):
    function, count = CASES[name]
    stages = run_passes(tg.capture(function, X), check=True)
    expected = function(X)
    for stage in stages:
        found = stage.graph(X)
        np.testing.assert_allclose(found, expected, rtol=1e-12)
        assert found.dtype == expected.dtype
    left = [node for node in stages[-1].graph.nodes if not isinstance(node, Leaf)]
    assert len(left) == count, left


# what ordinary numbers do not tell apart: signs of zeros, what is no number, and the ends of the range
SPECIAL = np.array([[0.0, -0.0, np.inf], [-np.inf, np.nan, 5e-324]])


@each("name", CASES)
def test_special_values_survive_every_pass(name):
    function, _ = CASES[name]
    with np.errstate(all="ignore"):
        expected = function(SPECIAL)
        found = run_passes(tg.capture(function, X))[-1].graph(SPECIAL)
    np.testing.assert_array_equal(found, expected)
    for part in (np.real, np.imag):
        zeros = part(expected) == 0
        np.testing.assert_array_equal(np.signbit(part(found))[zeros], np.signbit(part(expected))[zeros])


@pytest.mark.parametrize("one", PASSES, ids=lambda one: one.__name__)
def test_a_second_run_changes_nothing(one):
    for function, _ in CASES.values():
        once = one(tg.capture(function, X))
        assert len(one(once).nodes) == len(once.nodes)


def sizes(function):
    nodes = run_passes(tg.capture(function, X), check=True)[-1].graph.nodes
    return [(node.op.name, node.shape) for node in nodes if not isinstance(node, Leaf)]


def test_what_is_repeated_is_computed_once():
    assert sizes(lambda x: np.exp(-np.broadcast_to(x, (4, 2, 3)))) == [
        ("negative", (2, 3)),
        ("exp", (2, 3)),
        ("broadcast_to", (4, 2, 3)),
    ]
    assert sizes(lambda x: np.where(np.broadcast_to(x[0] > 0, (2, 3)), 1.0, np.ones(3)))[-2:] == [
        ("where", (3,)),
        ("broadcast_to", (2, 3)),
    ]
    assert sizes(lambda x: np.broadcast_to(x, (4, 2, 3)) + np.ones((4, 1, 1)))[-1] == ("add", (4, 2, 3))


def test_a_python_number_that_is_spread_keeps_the_arrays_dtype():
    # exp of float64 ones, not of the number beside float32
    graph = tg.capture(
        lambda x: np.broadcast_to(x.sum() * 2, (2, 3)).astype(np.float32) * np.ones((), np.float32), X
    )
    found = run_passes(graph, check=True)[-1].graph(X)
    np.testing.assert_array_equal(found, np.full((2, 3), 6.0, np.float32))
    assert found.dtype == np.float32


def test_random_draws_are_never_merged():
    tg.manual_seed(0)
    graph = tg.capture(lambda x: ops.dropout(x, p=0.5) - ops.dropout(x, p=0.5), np.ones(100))
    assert np.any(run_passes(graph)[-1].graph(np.ones(100)) != 0)


def test_backward_nodes_keep_their_forward_nodes():
    def loss(x):
        return (np.tanh(x) * 1.0).sum()

    graph = run_passes(tg.capture(loss, X).gradient("x"), check=True)[-1].graph
    nodes = set(map(id, graph.nodes))
    backward = [node for node in graph.nodes if node.phase == "backward"]
    assert backward
    assert all(id(node.forward_node) in nodes for node in backward)


def test_forward_and_backward_nodes_are_not_fused():
    """What only the backward pass reads would have to be kept until then."""
    graph = tg.capture(lambda x: np.sum(np.exp(np.sin(x)) * x), X).gradient("x")
    fused = run_passes(graph, COMPILE_PASSES)[-1].graph
    loops = [node for node in fused.nodes if not isinstance(node, Leaf) and "program" in node.op.facts]
    assert {node.phase for node in loops} == {"forward", "backward"}
    # the forward loop computes sin, exp and the product; cos x is of the backward one
    assert ["cos" in node.op.name for node in loops] == [node.phase == "backward" for node in loops]


def test_an_involution_of_other_settings_is_none():
    @op(declare=False, facts={"involution": True})
    def turned(x, *, axis=0):
        """Elements in reverse along an axis."""
        return np.flip(x, axis)

    turned.types(lambda x, axis=0: x)
    for axis, left in ((0, 0), (1, 2)):
        graph = tg.capture(lambda x, axis=axis: turned(turned(x, axis=0), axis=axis), X)
        found = run_passes(graph, (simplify_algebra,))[-1].graph
        assert sum(not isinstance(node, Leaf) for node in found.nodes) == left
        np.testing.assert_array_equal(found(X), np.flip(np.flip(X, 0), axis))


def test_verify_names_the_node_that_is_wrong():
    graph = tg.capture(lambda x: np.exp(x), X)
    graph.nodes[-1].types = graph.nodes[-1].types._replace(shape=(9,))
    with pytest.raises(GraphError, match=r"exp at test_passes\.py:\d+ claims float64\[9\]"):
        verify(graph)


def random_function(seed):
    """A random composition of ops on (3, 4) arrays."""
    rng = np.random.default_rng(seed)
    unary = [np.sin, np.tanh, lambda a: -a, lambda a: a * 1.0, lambda a: a.T.T, lambda a: a + 0.0, np.square]
    unary += [
        lambda a: a.reshape(2, 6).reshape(3, 4),
        lambda a: a - a.mean(axis=0),
        lambda a: a.sum(axis=1)[:, None] * a,
    ]
    binary = [np.add, np.multiply, np.subtract, np.maximum]
    plan = [(rng.random() < 0.5, rng.integers(10), rng.integers(4), rng.random(2)) for _ in range(12)]

    def function(x):
        values = [x, x * 0.5]
        for single, i, k, picks in plan:
            a, b = (values[int(pick * len(values))] for pick in picks)
            values.append(unary[i](a) if single else binary[k](a, b))
            values[-1] = np.tanh(values[-1])
        return values[-1]

    return function


@pytest.mark.parametrize("seed", range(20))
def test_random_graphs_and_their_gradients(seed):
    function = random_function(seed)
    x = np.random.default_rng(seed).normal(size=(3, 4))
    compiled = tg.compile(lambda x: (function(x), tg.grad(lambda y: function(y).sum())(x)))
    value, gradient = compiled(x)
    np.testing.assert_allclose(value, function(x), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(gradient, tg.grad(lambda y: function(y).sum())(x), rtol=1e-10, atol=1e-12)
    for stage in compiled.stages:
        verify(stage.graph)


@pytest.mark.slow
@pytest.mark.parametrize("block", range(20))
def test_a_thousand_random_graphs(block):
    for seed in range(100 + 50 * block, 150 + 50 * block):
        test_random_graphs_and_their_gradients(seed)


def test_a_python_number_does_not_stand_for_an_array():
    graph = tg.capture(lambda s, x: (s * np.float64(1.0)) * x, 0.1, np.ones(2, np.float32))
    found = run_passes(graph, check=True)[-1].graph(0.1, np.ones(2, np.float32))
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, 0.1)
