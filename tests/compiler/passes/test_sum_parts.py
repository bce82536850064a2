"""Gradients of slices and elements are added up in one array, eagerly and in plans."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.registry import ops
from tinygraph.errors import RuleError
from tinygraph.plugin import op

X = np.arange(24.0).reshape(6, 4) / 10 - 1


def overlapping(x: Any) -> Any:
    total = (x * x).sum()
    for i in range(5):
        total = total + (x[i] * x[i + 1]).sum() + (x[i : i + 2, ::2] ** 3).sum() + x[i, 1] * 2.0
    return total


def overlapping_gradient(x: Any) -> Any:
    g = 2 * x
    for i in range(5):
        g[i] += x[i + 1]
        g[i + 1] += x[i]
        g[i : i + 2, ::2] += 3 * x[i : i + 2, ::2] ** 2
        g[i, 1] += 2.0
    return g


def by_arrays(x: Any) -> Any:
    rows = np.array([0, 3, 3])
    return (x[rows] ** 2).sum() + (x[x > 0] * 3.0).sum() + (x[:, rows] * x[:, rows]).sum()


def by_arrays_gradient(x: Any) -> Any:
    g = 3.0 * (x > 0)
    np.add.at(g, [0, 3, 3], 2 * x[[0, 3, 3]])
    np.add.at(g, (slice(None), [0, 3, 3]), 2 * x[:, [0, 3, 3]])
    return g


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("f", "expected"), [(overlapping, overlapping_gradient), (by_arrays, by_arrays_gradient)]
)
def test_gradients_of_parts(f: Callable[..., Any], expected: Callable[..., Any], dtype: type) -> None:
    x = X.astype(dtype)
    right, close = (
        expected(x.copy()),
        {"rtol": 1e-12, "atol": 1e-14} if dtype is np.float64 else {"rtol": 1e-5, "atol": 1e-6},
    )
    t = tg.tensor(x, requires_grad=True)
    f(t).backward()
    assert t.grad is not None
    np.testing.assert_allclose(t.grad.numpy(), right, **close)
    np.testing.assert_allclose(tg.grad(f)(x), right, **close)
    if f is overlapping:  # a mask has no size before it is there
        gradient = tg.compile(tg.grad(f))
        np.testing.assert_allclose(gradient(x), right, **close)
        made = [node.op.name for node in gradient.stages[-1].graph.nodes if node.op is not None]
        assert made.count("scatter_all") == 1
        assert "scatter" not in made
        second = tg.compile(tg.grad(lambda x: (tg.grad(f)(x) * np.cos(x)).sum()))
        eager = tg.grad(lambda x: (tg.grad(f)(x) * np.cos(x)).sum())
        np.testing.assert_allclose(second(x), eager(x), **close)


def test_what_arrives_from_elsewhere_is_not_written_into() -> None:
    x = tg.tensor(np.ones(4), requires_grad=True)
    y = tg.tensor(np.ones(4), requires_grad=True)
    seed = np.array([1.0, 2.0, 3.0, 4.0])
    total = x + y  # both get the same array
    (x[1] * 10.0).backward()
    (total + 0 * x[0]).backward(seed)
    np.testing.assert_array_equal(y.grad.numpy(), [1, 2, 3, 4])  # type: ignore[union-attr]
    np.testing.assert_array_equal(x.grad.numpy(), [1, 12, 3, 4])  # type: ignore[union-attr]
    np.testing.assert_array_equal(seed, [1, 2, 3, 4])


def test_a_sum_of_some_parts_that_another_reads_too() -> None:
    def f(x: Any, w: Any) -> Any:
        g = tg.grad(lambda x: (x[0] * x[1]).sum() + (x[2:] ** 2).sum())(x)
        return g * w, g[0] + g[2]

    eager, compiled = f(X, X + 2), tg.compile(f)(X, X + 2)
    for one, other in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=1e-12)


def test_memory_of_many_elements_is_one_array() -> None:
    n = 30_000
    t = tg.tensor(np.ones(n), requires_grad=True)
    total = t[0] * 1.0
    for i in range(1, 300):
        total = total + t[i]
    tracemalloc.start()
    total.backward()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * n * 8
    np.testing.assert_array_equal(t.grad.numpy()[:300], 1.0)  # type: ignore[union-attr]


def test_adding_asks_for_what_the_rule_does() -> None:
    @op(kind="shape", declare=False)
    def twice(x):  # type: ignore[no-untyped-def]
        return 2 * x

    with pytest.raises(RuleError, match="has no rule for operand 'x' alone"):
        twice.adds("x")(lambda total, g: None)

    @twice.vjp("x")
    def twice_wrt_x(g: Any) -> Any:
        return 2 * g

    with pytest.raises(RuleError, match=r"must take \(total, g"):
        twice.adds("x")(lambda total, g, x: None)
    assert ops.index.rules["x"].adds is not None
