"""Single numbers of every kind meeting in one program: Python's, NumPy's, and truths, as inputs and as constants."""

from itertools import product

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import kernels, nn, optim

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


LARGE = 2**62 + 1


def in_integers(x, y):
    """Ops that a kernel computes in int64, and some beside them that it does not."""
    less = ops.less(x, y)
    return (
        x + y, x - y, x * y, -x, ops.maximum(x, y), ops.minimum(x, y), ops.greater_equal(x, y), ops.equal(x, y),
        ops.where(less, x, y), ops.cast(x, dtype="float32"), ops.cast(x, dtype="bool"), x + 1, 3 - y, x + less,
        ops.less(x, 7), ops.less(x, 6.5), ops.where(x, 0.5, y * 1.5), x / y, ops.cast(x * 0.5, dtype="int64"), less * 3,
        ops.cast(less, dtype="int64") + LARGE, ops.cast(x, dtype="int32") + 1,
    )  # fmt: skip


@each(("x", "y"), [(3, 4), (-(2**63), -7), (2**63 - 1, 2**62 + 1), (2**53 + 1, 3), (0, 5)])
def test_integers_meet_as_in_numpy(x, y):
    x, y = np.int64(x), np.int64(y)
    with np.errstate(all="ignore"):
        expected = in_integers(x, y)
        found = tg.compile(in_integers)(x, y)
    for one, other in zip(found, expected, strict=True):
        assert np.asarray(one).dtype == np.asarray(other).dtype
        assert np.asarray(one) == np.asarray(other)


@pytest.mark.skipif(not kernels.available(), reason="needs llvmlite")
@each("kind", ["counters of batch norms", "step counts of Adam"])
def test_numbers_do_not_cut_a_step(kind):
    tg.manual_seed(0)
    layers = [nn.Linear(4, 4), nn.BatchNorm1d(4)] * 3 if kind.startswith("counters") else [nn.Linear(4, 4)]
    model = nn.Sequential(*layers)
    optimizer = (optim.SGD if kind.startswith("counters") else optim.Adam)(model.parameters(), lr=0.1)
    x = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)

    @tg.compile
    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    step(x)
    assert len(step.plan.calls) == 1
