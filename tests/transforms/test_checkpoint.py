"""`tg.checkpoint`: the same results and gradients, less kept."""

import tracemalloc

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.plugin import ops
from tinygraph.testing import check_grads

X = np.array([0.3, -1.2, 0.8])


def f(x, y):
    return np.sin(x) * y, np.exp(x * y)


def test_results_and_gradients_are_the_same():
    plain = tg.vjp(f, X, X + 1)
    checked = tg.vjp(tg.checkpoint(f), X, X + 1)
    np.testing.assert_array_equal(plain[0], checked[0])
    np.testing.assert_allclose(plain[1]((X, X)), checked[1]((X, X)), rtol=1e-14)


def test_both_modes_to_second_order():
    check_grads(tg.checkpoint(f), X, X + 1)


def test_parameters_of_a_closure_get_their_gradients():
    w = tg.tensor(2.0, requires_grad=True)
    tg.checkpoint(lambda x: np.sin(w * x))(tg.tensor(0.5)).backward()
    assert w.grad.item() == pytest.approx(0.5 * np.cos(1.0))


def test_random_numbers_are_drawn_again_alike():
    tg.manual_seed(0)
    x = tg.tensor(np.ones(1000), requires_grad=True)
    y = tg.checkpoint(lambda x: ops.dropout(x * x, p=0.5))(x)
    after = ops.dropout(np.ones(5), p=0.5)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * y.detach().numpy())
    tg.manual_seed(0)
    ops.dropout(np.ones(1000), p=0.5)
    np.testing.assert_array_equal(ops.dropout(np.ones(5), p=0.5), after)


def test_less_is_kept():
    def deep(x):
        for _ in range(20):
            x = np.sin(x)
        return x

    def kept(function):
        x = tg.tensor(np.ones(10_000), requires_grad=True)
        function(x)
        tracemalloc.start()
        y = function(x)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        y.sum().backward()
        return size

    assert kept(tg.checkpoint(deep)) < kept(deep) / 5
