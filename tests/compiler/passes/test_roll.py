"""Blocks that repeat become one loop: the same numbers, and a plan as short as one of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.compiler.compiled import COMPILE_PASSES
from tinygraph.compiler.passes import roll as rolling
from tinygraph.compiler.passes import run_passes

STEPS = 200
SEQUENCE = np.random.default_rng(0).standard_normal((STEPS, 4, 8))
WEIGHT = np.random.default_rng(1).standard_normal((8, 8)) / 8


def recurrent(xs: Any, w: Any) -> Any:
    """A carry, slices in order, numbers that differ, and a sum of what all steps made."""
    h, total = np.zeros((4, 8)), 0.0
    for t in range(STEPS):
        h = np.tanh(h @ w + xs[t])
        total = total + np.sum(h * h) * (0.1 * t)
    return total


def backwards(xs: Any, w: Any) -> Any:
    """Slices from the last on, and every value leaves."""
    h, found = xs[0], []
    for t in reversed(range(STEPS)):
        h = 0.9 * h + 0.1 * np.sin(xs[t]) @ w
        found.append(h)
    return np.stack(found)


def around(xs: Any, w: Any) -> Any:
    """Slices that are none of one array in order; two carries."""
    h, before = xs[0], xs[1]
    for t in range(STEPS):
        h, before = np.tanh(h @ w + xs[t % 3] - before), 0.5 * h
    return h + before


def apart(xs: Any, w: Any) -> Any:
    """Blocks without a carry."""
    return np.sum(np.stack([np.sin(xs[t] @ w) * np.cos(xs[t]) for t in range(STEPS)]) ** 2)


PROGRAMS: list[Callable[..., Any]] = [recurrent, backwards, around, apart]


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "FEWEST_NODES", 100)


def loops_in(compiled: Any) -> int:
    return sum(step.node.op is tg.ops.scan for step in compiled.plan.steps)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("f", PROGRAMS)
def test_values_are_those_of_the_blocks(f: Callable[..., Any], dtype: Any) -> None:
    xs, w = SEQUENCE.astype(dtype), WEIGHT.astype(dtype)
    compiled = tg.compile(f)
    for given in (xs, -xs, xs):
        found = compiled(given, w)
        right = f(given, w)
        assert np.asarray(found).dtype == np.asarray(right).dtype
        np.testing.assert_allclose(
            found, right, rtol=1e-11 if dtype == np.float64 else 2e-3, atol=2e-4 * (dtype == np.float32)
        )
    assert loops_in(compiled) >= 1
    assert len(compiled.plan.steps) < STEPS


@pytest.mark.parametrize("f", PROGRAMS)
def test_gradients_are_those_of_the_blocks(f: Callable[..., Any]) -> None:
    gradient = tg.grad(lambda xs, w: np.sum(f(xs, w) ** 2), (0, 1))
    compiled = tg.compile(gradient)
    for mine, right in zip(compiled(SEQUENCE, WEIGHT), gradient(SEQUENCE, WEIGHT), strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-9, atol=1e-9)
    assert loops_in(compiled) >= 2


def test_the_numbers_of_a_known_series() -> None:
    """x becomes x / 2 + t: x / 2^n + Σ t / 2^(n - 1 - t), which for n steps is 2 (n - 2) + (x + 4) / 2^n."""

    def series(x: Any) -> Any:
        for t in range(60):
            x = x / 2.0 + float(t)
        return x

    x = np.array([1.0, -3.0, 1e6])
    compiled = tg.compile(series)
    np.testing.assert_allclose(compiled(x), 2.0 * 58 + (x + 4.0) / 2.0**60, rtol=1e-15)
    assert loops_in(compiled) == 1


def test_the_graph_is_as_long_as_a_step() -> None:
    def of(steps: int) -> int:
        def f(x: Any) -> Any:
            for _ in range(steps):
                x = np.sin(x) * 0.5 + x[::-1]
            return x

        return len(run_passes(tg.capture(f, np.ones(8)), COMPILE_PASSES)[-1].graph.nodes)

    assert of(2_000) == of(500) < 20


def test_draws_are_not_rolled() -> None:
    """Each has a place of its own in the generator's sequence."""

    def f(x: Any) -> Any:
        for _ in range(64):
            x = 0.5 * x + tg.nn.functional.dropout(x, 0.5)
        return x

    compiled, x = tg.compile(f), np.ones(3)
    tg.manual_seed(3)
    found = np.asarray(compiled(x))
    tg.manual_seed(3)
    np.testing.assert_allclose(found, f(tg.tensor(x)).numpy(), rtol=1e-12)


def test_short_programs_stay_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rolling, "FEWEST_NODES", 4_000)
    graph = tg.capture(recurrent, SEQUENCE, WEIGHT)
    assert rolling.roll(graph) is graph


def test_blocks_that_differ_once_stay_apart() -> None:
    """An op that is another one in the middle parts the loop in two."""

    def f(x: Any) -> Any:
        for t in range(100):
            x = (np.cos(x) if t == 50 else np.sin(x)) * 0.7 + 0.1
        return x

    compiled, x = tg.compile(f), np.array([0.3, -1.0])
    np.testing.assert_allclose(compiled(x), f(x), rtol=1e-12)
    assert loops_in(compiled) == 2
