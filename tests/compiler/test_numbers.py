"""Single numbers of every kind meeting in one program: Python's, NumPy's, and truths, as inputs and as constants."""

from itertools import product

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each

ops = tg.ops
NUMBERS = (np.float64(0.7), np.float32(-1.25), np.bool_(True), np.bool_(False), 0.5, 2)
BINARY = (
    ops.add, ops.multiply, ops.minimum, ops.greater, ops.equal, ops.logical_and, ops.hypot,
    lambda x, y: ops.where(x, y, x), lambda x, y: ops.where(ops.less(x, y), x, 0.5),
)  # fmt: skip


def moved(x):
    """A number that the program computes itself, of the same kind."""
    return ops.logical_not(ops.logical_not(x)) if isinstance(x, np.bool_) or x.dtype == bool else x * 1.5


def results(x, y):
    return [function(x, y) for function in BINARY]


def assert_same(found, expected):
    for one, other in zip(found, expected, strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype
        np.testing.assert_allclose(one, other, rtol=1e-6)


@each(("x", "y"), list(product(NUMBERS, NUMBERS)), ids=repr)
def test_two_numbers_meet(x, y):
    factors = [1.5 if type(number) in (int, float) else None for number in (x, y)]

    def function(*numbers):  # Python numbers that the program computes with before they meet arrays
        return results(*(n if f is None else n * f for n, f in zip(numbers, factors, strict=True)))

    assert_same(tg.compile(function)(x, y), function(x, y))
    if isinstance(x, np.generic):  # the other one a constant
        assert_same(tg.compile(lambda x: results(moved(x), y))(x), results(moved(x), y))


def test_a_python_number_that_is_computed_first():
    x = np.float32(3.0)
    scale = tg.compile(lambda a, x: ops.hypot(a * 1.5 + 1, x * 2))
    for a in (0.5, -2.0):
        found = scale(a, x)
        assert found.dtype == np.float32
        assert found == pytest.approx(np.hypot(a * 1.5 + 1, 6.0), rel=1e-6)
