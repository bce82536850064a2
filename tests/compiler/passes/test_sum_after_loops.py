"""Sums of products leave loops: one product of what the steps stacked, with the loop's own numbers."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.compiler.passes import run_passes
from tinygraph.core.node import Leaf
from tinygraph.core.registry import ops


def loss(w: Any, b: Any, xs: Any, reverse: bool = False) -> Any:
    """A linear recurrence h' = h w + x + b, so that its gradients can be written down."""

    def step(h: Any, x: Any) -> Any:
        h = h @ w + x + b
        return h, h

    return np.sum(tg.scan(step, np.zeros(xs.shape[1:], xs.dtype), xs, reverse=reverse)[1])


def gradients(w: Any, b: Any, xs: Any, reverse: bool) -> tuple[Any, Any]:
    """Step by step: c' = c wᵀ + 1 from the last step on; dw = Σ hᵀ c, db = Σ c."""
    order = range(len(xs))[:: -1 if reverse else 1]
    h, before = np.zeros(xs.shape[1:]), []
    for t in order:
        before.append(h)
        h = h @ w + xs[t] + b
    c, dw, db = np.zeros(xs.shape[1:]), np.zeros(w.shape), np.zeros(b.shape)
    for old in before[::-1]:
        c = c + 1.0
        dw += old.T @ c
        db += c.sum(0)
        c = c @ w.T
    return dw, db


def loops(graph: Any) -> list[Any]:
    return [node for node in graph.nodes if not isinstance(node, Leaf) and node.op is ops.scan]


def test_a_literal_case() -> None:
    """Scalars in disguise, w = 2, b = 1, xs = 1, 2, 3: h = 2, 7, 18 and c = 7, 3, 1; dw = 0*7 + 2*3 + 7*1, db = 11."""
    w, b, xs = np.array([[2.0]]), np.array([1.0]), np.array([1.0, 2.0, 3.0]).reshape(3, 1, 1)
    dw, db = tg.compile(tg.grad(loss, (0, 1)))(w, b, xs)
    assert np.asarray(dw).tolist() == [[13.0]]
    assert np.asarray(db).tolist() == [11.0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("steps", [0, 1, 2, 9])
def test_gradients_are_those_of_the_steps(steps: int, reverse: bool, dtype: Any) -> None:
    rng = np.random.default_rng(steps)
    w, b, xs = (0.4 * rng.normal(size=shape) for shape in ((3, 3), (3,), (steps, 2, 3)))
    expected = gradients(w, b, xs, reverse)
    compiled = tg.compile(tg.grad(lambda w, b, xs: loss(w, b, xs, reverse), (0, 1)))
    given = [one.astype(dtype) for one in (w, b, xs)]
    for _ in range(2):
        for mine, right in zip(compiled(*given), expected, strict=True):
            assert mine.dtype == dtype
            np.testing.assert_allclose(np.asarray(mine), right, rtol=1e-5 if dtype == np.float32 else 1e-12)


def test_the_backward_loop_adds_up_nothing_any_more() -> None:
    w, b, xs = np.eye(3), np.zeros(3), np.ones((9, 2, 3))
    graph = run_passes(tg.capture(tg.grad(loss, (0, 1)), w, b, xs))[-1].graph
    back = loops(graph)[-1]
    assert back.all_settings["carries"] == 1  # the cotangent of h
    assert [node.op.name for node in graph.nodes if not isinstance(node, Leaf)].count("einsum") == 1


def test_what_is_read_besides_stays() -> None:
    """A sum that steps look at, and one whose product is returned, are the loop's own."""

    def seen(w: Any, xs: Any) -> Any:
        return tg.scan(lambda total, x: (total + x @ w, np.sum(total)), np.zeros((2, 2)), xs)

    def returned(w: Any, xs: Any) -> Any:
        def step(total: Any, x: Any) -> Any:
            product = x @ w
            return total + product, product

        return tg.scan(step, np.zeros((2, 2)), xs)

    w, xs = np.array([[1.0, 2.0], [0.5, -1.0]]), np.arange(12.0).reshape(3, 2, 2)
    for f in (seen, returned):
        (loop,) = loops(run_passes(tg.capture(f, w, xs))[-1].graph)
        assert loop.all_settings["carries"] == 1
        for mine, right in zip(tg.compile(f)(w, xs), f(w, xs), strict=True):
            np.testing.assert_allclose(mine, right, rtol=1e-12)


def test_a_sum_that_starts_somewhere_goes_on_from_there() -> None:
    def f(start: Any, xs: Any) -> Any:
        return tg.scan(lambda total, x: (total + x.T @ x, None), start, xs)[0]

    start, xs = np.array([[10.0, 0.0], [0.0, 20.0]]), np.array([[[1.0, 2.0]], [[3.0, 4.0]]])
    compiled = tg.compile(f)
    assert np.asarray(compiled(start, xs)).tolist() == [[20.0, 14.0], [14.0, 40.0]]
    assert not loops(compiled.plan.graph)


def test_what_would_take_too_much_memory_is_added_up_in_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["tinygraph.compiler.passes.sum_after_loops"], "MOST_BYTES", 100)

    def f(xs: Any) -> Any:
        return tg.scan(lambda total, x: (total + np.sin(x) @ np.cos(x), None), np.zeros((4, 4)), xs)[0]

    xs = np.random.default_rng(0).normal(size=(5, 4, 4))
    compiled = tg.compile(f)
    np.testing.assert_allclose(compiled(xs), np.einsum("tij,tjk->ik", np.sin(xs), np.cos(xs)), rtol=1e-12)
    assert loops(compiled.plan.graph)[0].all_settings["carries"] == 1
