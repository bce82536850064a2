"""GradBench's evals, eagerly and compiled, against closed forms, loops written out and differences."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from benchmarks.gradbench.evals import EVALS

TOLERANCE = {"rtol": 1e-6, "atol": 1e-8}  # the validators' is 1e-4


def differences(f: Callable[..., Any], arguments: tuple[Any, ...], wanted: int) -> Any:
    """The gradients by the first arguments, by central differences."""
    found = []
    for i in range(wanted):
        x = np.asarray(arguments[i], float)
        gradient = np.zeros((*np.shape(f(*arguments)), *x.shape))
        for at in np.ndindex(x.shape):
            step = np.zeros(x.shape)
            step[at] = 1e-5
            there, back = ((*arguments[:i], x + s * step, *arguments[i + 1 :]) for s in (1, -1))
            gradient[(..., *at)] = (np.asarray(f(*there)) - np.asarray(f(*back))) / 2e-5
        found.append(gradient)
    return tuple(found)


def lstm(main: Any, extra: Any, state: Any, sequence: Any) -> float:
    state, total, width = state.copy(), 0.0, sequence.shape[1]

    def sigmoid(x: float) -> float:
        return 1 / (1 + np.exp(-x))

    for now, after in itertools.pairwise(sequence):
        x = [now[j] * extra[0, j] for j in range(width)]
        for layer in range(len(state) // 2):
            w, b = main[2 * layer].reshape(4, -1), main[2 * layer + 1].reshape(4, -1)
            for j in range(width):
                hidden, cell = state[2 * layer, j], state[2 * layer + 1, j]
                forget, admit = sigmoid(x[j] * w[0, j] + b[0, j]), sigmoid(hidden * w[1, j] + b[1, j])
                out, change = sigmoid(x[j] * w[2, j] + b[2, j]), np.tanh(hidden * w[3, j] + b[3, j])
                cell = cell * forget + admit * change
                x[j] = out * np.tanh(cell)
                state[2 * layer, j], state[2 * layer + 1, j] = x[j], cell
        guess = np.array(x) * extra[1] + extra[2]
        total += float(after @ (guess - np.log(np.exp(guess).sum() + 2)))
    return -total / (width * (len(sequence) - 1))


def gmm(alphas: Any, means: Any, icf: Any, points: Any, gamma: float, m: int) -> float:
    """By the density of each component, its precision Q Q^T written out."""
    d, total = points.shape[1], 0.0
    for x in points:
        likely = 0.0
        for a, mean, row in zip(alphas, means, icf, strict=True):
            q = np.diag(np.exp(row[:d]))
            rest = iter(row[d:])
            for column in range(d):
                for i in range(column + 1, d):
                    q[i, column] = next(rest)
            likely += np.exp(a) * np.linalg.det(q) * np.exp(-0.5 * np.sum((q @ (x - mean)) ** 2))
        total += np.log(likely)
    prior = 0.5 * gamma**2 * (np.sum(np.exp(icf[:, :d]) ** 2) + np.sum(icf[:, d:] ** 2)) - m * np.sum(
        icf[:, :d]
    )
    return float(total - len(points) * np.log(np.sum(np.exp(alphas))) - prior)


def kmeans_step(points: Any, centroids: Any) -> Any:
    nearest = np.argmin(((points[:, None] - centroids) ** 2).sum(2), 1)
    return np.stack([c - points[nearest == i].mean(0) for i, c in enumerate(centroids)])


def truth(name: str, asked: str, given: tuple[Any, ...]) -> Any:
    x = given[0]
    match name, asked:
        case "hello", _:
            return {"square": 1.0, "double": 2.0}[asked]
        case "lse", _:
            return np.log(np.exp(x).sum()) if asked == "primal" else np.exp(x) / np.exp(x).sum()
        case "llsq", _:
            powers = given[1][:, None] ** np.arange(8)
            rest = np.sign(given[1]) - powers @ x
            return 0.5 * rest @ rest if asked == "primal" else -powers.T @ rest
        case "kmeans", _:
            distances = ((x[:, None] - given[1]) ** 2).sum(2)
            return distances.min(1).sum() if asked == "cost" else kmeans_step(*given)
        case "det", _:
            found = np.linalg.det(x)
            return found if asked == "primal" else found * np.linalg.inv(x).T
        case "lstm", _:
            return lstm(*given) if asked == "objective" else differences(lstm, given, 2)
        case "gmm", _:
            return gmm(*given) if asked == "objective" else differences(gmm, given, 3)
        case "saddle", _:
            return np.zeros(4)
    raise AssertionError(name)


@pytest.mark.parametrize("name", ["hello", "lse", "llsq", "kmeans", "det", "lstm", "gmm"])
def test_an_eval_is_right(name: str) -> None:
    one = EVALS[name]
    given = one.inputs(one.sizes[0])
    for asked, f in one.functions.items():
        expected = truth(name, asked, given)
        for g in (f, tg.compile(f)):
            found = g(*given)
            pairs = zip(found, expected, strict=True) if isinstance(found, tuple) else [(found, expected)]
            for mine, right in pairs:
                np.testing.assert_allclose(np.asarray(mine), right, **TOLERANCE, err_msg=asked)  # type: ignore[arg-type]


def test_the_differential_equation() -> None:
    """Runge and Kutta's method is exact up to the fourth degree: y_i(t) = x_0 ... x_i t^(i+1) / (i+1)!"""
    x = np.array([1.5, -0.5, 2.0, 0.75])
    primal, gradient = EVALS["ode"].functions.values()
    exact = np.cumprod(x) * np.array([2.0, 4 / 2, 8 / 6, 16 / 24])
    for f, right in ((primal, exact), (gradient, exact[-1] / x)):
        np.testing.assert_allclose(f(x), right, rtol=1e-12)
        np.testing.assert_allclose(tg.compile(f)(x), right, rtol=1e-12)


def test_bundle_adjustment() -> None:
    one = EVALS["ba"]
    given = one.inputs(2)
    objective, blocks = one.functions.values()
    single = tg.compile(objective)
    for k in range(2):
        at = tuple(x[k : k + 1] for x in given)
        expected = differences(lambda *x: np.asarray(single(*x))[0], at, 3)
        for found in (blocks(*given), tg.compile(blocks)(*given)):
            for mine, right in zip(found, expected, strict=True):
                np.testing.assert_allclose(np.asarray(mine)[k], right[:, 0], rtol=1e-5, atol=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("modes", ["ff", "fr", "rf", "rr"])
def test_the_saddle_point(modes: str) -> None:
    found = tg.compile(EVALS["saddle"].functions[modes])(np.array([1.0, 1.0]))
    np.testing.assert_allclose(found, np.zeros(4), atol=1e-4)
