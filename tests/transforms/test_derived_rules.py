"""Rules derived by looking through the forward of a plugin's op that has none; what cannot be looked through."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.registry import registry
from tinygraph.errors import MissingRuleError
from tinygraph.plugin import Sample, op
from tinygraph.testing import check_op
from tinygraph.testing.card_making import make_card

X = np.array([[0.3, -1.2, 0.8], [1.5, 0.4, -0.6]])
close = np.testing.assert_allclose


@pytest.fixture
def ruleless():
    assert tg.ops.sum  # built-in ops are there before the snapshot
    before = registry._snapshot()

    @op(samples=[Sample(X, X[0]), Sample(X, X[1], power=3)])
    def weighted_energy(x, w, *, power=2):
        """Σ w x^power over the last axis, and the largest of it."""
        energy = np.sum(w * x**power, axis=-1)
        return energy, np.max(energy)

    @op(samples=[Sample(X)])
    def spread_out(x):
        """x over its range, which is taken out of the array."""
        return x / float(np.max(x) - np.min(x))

    yield weighted_energy, spread_out
    registry._restore(before)


def test_a_forward_made_of_ops_gives_every_derivative(ruleless):
    energy, _ = ruleless
    direct = lambda x, w: np.sum(np.sin(np.sum(w * x**3, axis=-1))) + np.max(np.sum(w * x**3, axis=-1))  # noqa: E731

    def through(x, w):
        each, largest = energy(x, w, power=3)
        return np.sum(np.sin(each)) + largest

    for i in range(2):
        close(tg.grad(through, i)(X, X[0]), tg.grad(direct, i)(X, X[0]))
        close(tg.hessian(through, i)(X, X[0]), tg.hessian(direct, i)(X, X[0]))
    close(tg.jvp(through, (X, X[0]), (X, X[1]))[1], tg.jvp(direct, (X, X[0]), (X, X[1]))[1])
    close(np.asarray(tg.compile(tg.grad(through))(X, X[0])), tg.grad(direct)(X, X[0]))
    assert tg.capture(through, X, X[0]).coverage().ok
    assert check_op(energy).ok
    assert make_card(energy).operands[0].first_order == "by looking through its forward"


def test_a_forward_that_asks_for_values_is_refused_with_the_reason(ruleless):
    _, spread_out = ruleless
    with pytest.raises(MissingRuleError, match=r"no VJP rule for its operand 'x'.*none follows .*float\(\)"):
        tg.grad(lambda x: np.sum(spread_out(x)))(X)
    coverage = tg.capture(lambda x: np.sum(spread_out(x)), X).coverage()
    assert "none follows" in coverage.missing[0].reason or "float()" in coverage.missing[0].reason
    assert make_card(spread_out, scored=False).operands[0].first_order == "no rule"
