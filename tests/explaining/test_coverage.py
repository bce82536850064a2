"""Derivative coverage: what it says is missing is what fails when it is run, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import SettingError, TinygraphError
from tinygraph.plugin import op, ops

X = np.array([0.3, -0.8, 1.2])


def undeclared(function=None, **options):
    return op(declare=False, **options)(function) if function else lambda f: op(declare=False, **options)(f)


@undeclared
def one_sided(x, y):
    """x * y, with a rule for x alone."""
    return x * y


@one_sided.vjp("x")
def one_sided_wrt_x(g, y):
    return g * y


@undeclared
def borrows(x):
    """x², whose rule uses an op that lacks a rule."""
    return x * x


@borrows.vjp("x")
def borrows_wrt_x(g, x):
    return 2 * one_sided(g, x)


@undeclared(kind="elementwise")
def not_closed(x):
    """sin(x), whose rule leaves the graph."""
    return np.sin(x)


@not_closed.vjp("x")
def not_closed_wrt_x(g, x):
    return g * np.cos(np.asarray(x))


def entry(coverage, name, operand="x"):
    return next(one for one in coverage.entries if (one.op, one.operand) == (name, operand))


def test_a_model_is_covered_to_third_order():
    model = tg.nn.Sequential(
        tg.nn.Conv2d(1, 2, 3, padding=1), tg.nn.ReLU(), tg.nn.Flatten(), tg.nn.Linear(32, 3)
    )
    loss = tg.nn.functional.cross_entropy
    graph = tg.capture(lambda x: loss(model(x), np.array([0, 2])), np.zeros((2, 1, 4, 4), np.float32))
    found = graph.coverage(order=3)
    assert found.ok
    assert found.missing == ()
    assert entry(found, "convolution", "kernel").orders == ("present",) * 3
    assert entry(found, "convolution", "kernel").forward == "present"
    assert entry(found, "matmul").forward == "present"
    assert entry(found, "relu").forward == "derived"
    assert graph.gradient().coverage().ok
    assert sum(found.entries.values()) == sum(
        sum(hasattr(one, "types") for one in node.inputs) for node in graph.nodes if node.op
    )


def test_a_rule_that_is_not_there():
    found = tg.capture(lambda x: one_sided(x, x).sum(), X).coverage()
    assert entry(found, "one_sided", "x").orders == ("present", "present")
    lacking = entry(found, "one_sided", "y")
    assert lacking.orders == ("missing", "missing")
    assert lacking.forward == "missing"
    assert "no rule for 'y'" in lacking.reason
    assert found.missing == (lacking,)


def test_a_rule_that_uses_an_op_without_one_lacks_the_second_order_alone():
    found = tg.capture(lambda x: borrows(x).sum(), X).coverage(forward=False)
    assert entry(found, "borrows").orders == ("present", "missing")
    assert "'one_sided' has no rule for 'y'" in entry(found, "borrows").reason
    assert tg.capture(lambda x: borrows(x).sum(), X).coverage(order=1, forward=False).ok
    np.testing.assert_allclose(tg.grad(lambda x: borrows(x).sum())(X), 2 * X)
    with pytest.raises(TinygraphError):
        tg.hessian(lambda x: borrows(x).sum())(X)


def test_a_rule_that_is_not_closed():
    found = tg.capture(lambda x: not_closed(x).sum(), X).coverage()
    assert entry(found, "not_closed").orders == ("present", "missing")
    assert "cannot be differentiated" in entry(found, "not_closed").reason
    assert entry(found, "not_closed").forward == "derived"


def test_what_has_no_gradient_by_nature():
    def choose(x):
        return ops.where(x > 0, x, np.sign(x)).sum()

    found = tg.capture(choose, X).coverage()
    assert found.ok
    assert entry(found, "where", "condition").status == "by nature"
    assert entry(found, "sign").status == "by nature"
    assert entry(found, "greater").status == "by nature"


def test_recorded_graphs_and_several_outputs():
    x = tg.tensor(X, requires_grad=True, name="x")
    assert tg.graph_of(np.sum(np.sin(x) ** 2)).coverage().ok

    @undeclared
    def parts(x):
        """sin(x), cos(x)."""
        return np.sin(x), np.cos(x)

    @parts.vjp("x")
    def parts_wrt_x(g, x):
        return g[0] * ops.cos(x) - g[1] * ops.sin(x)

    found = tg.capture(lambda x: (lambda a, b: (a * b).sum())(*parts(x)), X).coverage()
    assert entry(found, "parts").orders == ("present", "present")
    assert entry(found, "parts").forward == "derived"


def test_it_prints_what_is_missing_first():
    coverage = tg.capture(lambda x: (one_sided(x, x) + np.sin(x)).sum(), X).coverage()
    lines = str(coverage).splitlines()
    assert lines[0] == "1 derivative missing to order 2 and forward mode"
    assert lines[1].split() == ["op", "operand", "nodes", "order", "1", "order", "2", "forward"]
    assert lines[2].split()[:2] == ["one_sided", "y"]
    assert coverage.__rich__().row_count == len(coverage.entries)
    nodes = [node for node in coverage.graph.nodes if node.op]
    assert [coverage.of(node) for node in nodes if node.op is one_sided] == ["missing"]
    assert all(coverage.of(leaf) is None for leaf in coverage.graph.leaves)


def test_a_drawing_is_coloured_by_what_is_missing():
    graph = tg.capture(lambda x: (one_sided(x, x) + np.sin(x)).sum(), X)
    source = graph.draw(show=("coverage",)).source
    assert source.count("1 missing") == 1
    assert source != graph.draw(show=()).source
    assert "missing" not in tg.capture(lambda x: np.sin(x).sum(), X).draw(show=("coverage",)).source


def test_order_must_be_positive():
    with pytest.raises(SettingError, match="at least 1"):
        tg.capture(np.sum, X).coverage(order=0)
