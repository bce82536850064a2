"""Derivatives where formulas break: zeros, ties, infinities, nan, repeated indices; exact fractions; refused forms.

Every expected value is worked out by hand. What holds for any op is in `test_laws.py`.
"""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import ops

INF = np.inf


def gradients(function: Callable[..., Any], *values: Any) -> list[Any]:
    leaves = [tg.tensor(value, requires_grad=True) for value in values]
    ops.sum(function(*leaves)).backward()
    return [leaf.grad.tolist() for leaf in leaves if leaf.grad is not None]


@each(
    ("function", "values", "expected"),
    [
        (lambda x: x**0, [[0.0, 2.0]], [[0.0, 0.0]]),
        (lambda x: x**1, [[0.0]], [[1.0]]),
        (lambda x: x**2, [[0.0, -3.0]], [[0.0, -6.0]]),
        (lambda x, y: x**y, [[0.0, 0.0, 0.0], [0.0, 1.0, 2.0]], [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]),
        (lambda y: 0.0**y, [[2.0, 0.0]], [[0.0, 0.0]]),
        (np.prod, [[3.0, 0.0, 2.0]], [[0.0, 6.0, 0.0]]),
        (np.prod, [[3.0, 0.0, 0.0]], [[0.0, 0.0, 0.0]]),
        (np.cumprod, [[3.0, 0.0, 2.0]], [[1.0, 9.0, 0.0]]),
        (np.max, [[2.0, 1.0, 2.0]], [[0.5, 0.0, 0.5]]),
        (np.min, [[2.0, math.nan, 1.0]], [[0.0, 1.0, 0.0]]),
        (np.maximum, [[1.0, 2.0], [1.0, 3.0]], [[0.5, 0.0], [0.5, 1.0]]),
        (np.abs, [[0.0, -2.0]], [[0.0, -1.0]]),
        (np.hypot, [[0.0], [0.0]], [[0.0], [0.0]]),
        (np.hypot, [[3e200], [4e200]], [[0.6], [0.8]]),
        (np.arcsinh, [[1e200]], [[1e-200]]),
        (np.std, [[2.0, 2.0]], [[0.0, 0.0]]),
        (np.linalg.norm, [[0.0, 0.0]], [[0.0, 0.0]]),
        (lambda x: ops.logsumexp(x, axis=1), [[[-INF, -INF], [1.0, -INF]]], [[[0.0, 0.0], [1.0, 0.0]]]),
        (np.logaddexp, [[-INF, 1000.0], [-INF, -1000.0]], [[0.0, 1.0], [0.0, 0.0]]),
        (lambda x: np.where(x > 0, np.log(x), x), [[-1.0, 0.5]], [[1.0, 2.0]]),
        (np.sinc, [[0.0]], [[0.0]]),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in log")
def test_first_derivative(function: Callable[..., Any], values: Any, expected: Any) -> None:
    np.testing.assert_allclose(gradients(function, *values), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("function", "at", "expected"),
    [
        (lambda x: x**2, 0.0, 2.0),
        (lambda x: x**3, 0.0, 0.0),
        (np.sinc, 0.0, -(math.pi**2) / 3),
        (lambda x: np.prod(ops.stack(x, x, x * 0 + 5)), 0.0, 10.0),
        (lambda x: ops.sum(np.cumprod(ops.stack(x, x, x * 0 + 5))), 0.0, 12.0),
        (np.abs, 0.0, 0.0),
    ],
)
def test_second_derivative(function: Callable[..., Any], at: float, expected: float) -> None:
    assert float(tg.grad(tg.grad(function))(at)) == pytest.approx(expected, rel=1e-14)


def test_an_exponent_of_zero_has_the_right_mixed_derivative() -> None:
    """d²/dx dy x^y is 1 / x where y is 0."""
    found = tg.grad(lambda y: tg.grad(lambda x: x**y)(4.0))(0.0)
    assert float(found) == pytest.approx(0.25)


def test_of_values_written_to_one_place_the_last_gets_the_gradient() -> None:
    found = gradients(
        lambda x, v: ops.set_at(x, [0, 2, 0], v) * np.array([1.0, 10.0, 100.0]),
        [1.0, 2.0, 3.0],
        [7.0, 8.0, 9.0],
    )
    assert found == [[0.0, 10.0, 0.0], [0.0, 100.0, 1.0]]


def test_assignment_records_and_keeps_earlier_uses() -> None:
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    y = x * 2
    before = y[0] * 1
    y[np.array([True, False, True])] = 0.0
    y[1:] += x[1:]
    (ops.sum(y) + before).backward()
    assert x.grad is not None
    assert x.grad.tolist() == [2.0, 3.0, 1.0]


def test_fractions_stay_exact() -> None:
    x, y = (tg.tensor(Fraction(*pair), requires_grad=True) for pair in ((1, 3), (2, 5)))
    z = x * y + x / y - y**3 + x**2 + abs(y - x) + ops.maximum(x, y) + ops.minimum(x, 1)
    z.backward()
    assert z.item() == Fraction(1, 3) * Fraction(2, 5) + Fraction(5, 6) - Fraction(8, 125) + Fraction(
        1, 9
    ) + (Fraction(1, 15) + Fraction(2, 5) + Fraction(1, 3))
    assert x.grad is not None
    assert x.grad.numpy() == Fraction(2, 5) + Fraction(5, 2) + Fraction(2, 3) - 1 + 1
    vector = np.array([Fraction(1, 2), Fraction(3, 4)], object)
    assert gradients(lambda v: v @ v, vector) == [[Fraction(1), Fraction(3, 2)]]


def test_erf_is_accurate_everywhere() -> None:
    x = np.concatenate([np.linspace(-7, 7, 2001), [1e-300, 0.46875, 4.0, 1e200, INF, -INF]])
    np.testing.assert_allclose(ops.erf(x), [math.erf(one) for one in x], rtol=1e-15)
    assert np.isnan(ops.erf(math.nan))


@pytest.mark.parametrize(
    ("call", "value", "slope"),
    [
        (lambda x: np.take(x, [5, 0], mode="clip"), [2.0, 1.0], [1.0, 1.0]),
        (lambda x: np.reshape(x, (2, 1), order="F"), [[1.0], [2.0]], [1.0, 1.0]),
        (lambda x: np.pad(x, 1, "linear_ramp", end_values=3), [3.0, 1.0, 2.0, 3.0], [1.0, 1.0]),
        (lambda x: np.pad(x, 2, "reflect", reflect_type="odd"), [-1.0, 0.0, 1.0, 2.0, 3.0, 4.0], [3.0, 3.0]),
    ],
)
def test_numpy_options_are_honoured(call: Callable[[Any], Any], value: object, slope: object) -> None:
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    found = call(x)
    np.testing.assert_array_equal(found.numpy(), value)
    found.sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.numpy(), slope)
