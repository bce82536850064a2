"""Laws, exact solutions, the order of the method, and a fit."""

import numpy as np

import tinygraph as tg
from tinygraph.testing import check_grads, check_op

LOTKA_VOLTERRA = np.zeros((2, 2, 2))
LOTKA_VOLTERRA[0, 0, 1], LOTKA_VOLTERRA[1, 0, 1] = -0.5, 0.25


def test_every_law_holds():
    check_op("quadratic_ode")


def test_logistic_growth_and_the_order_of_the_method():
    def error(steps):
        found = tg.ops.quadratic_ode(
            np.array([0.1]), np.ones((1, 1)), -np.ones((1, 1, 1)), step=4 / steps, steps=steps
        )
        return abs(found[-1, 0] - 1 / (1 + 9 * np.exp(-4)))

    assert error(40) < 1e-6
    assert 14 < error(20) / error(40) < 18  # fourth order: half the step, a sixteenth of the error


def test_predators_and_prey_keep_their_invariant():
    path = tg.ops.quadratic_ode(
        np.array([3.0, 1.0]), np.diag([1.0, -0.75]), LOTKA_VOLTERRA, step=0.02, steps=500
    )
    prey, predators = path.T
    invariant = 0.25 * prey - 0.75 * np.log(prey) + 0.5 * predators - np.log(predators)
    np.testing.assert_allclose(invariant, invariant[0], atol=1e-6)


def test_gradients_through_many_steps_to_second_order():
    rng = np.random.default_rng(0)

    def energy(y, linear, quadratic, constant):
        path = tg.ops.quadratic_ode(y, linear, quadratic, constant, step=0.1, steps=4)
        return np.sum(np.sin(path))

    check_grads(
        energy,
        rng.normal(size=(2, 2)),
        rng.normal(size=(2, 2)),
        rng.normal(size=(2, 2, 2)),
        rng.normal(size=2),
    )


def test_a_rate_is_found_from_data():
    start, times = np.array([2.0]), 0.1 * np.arange(11)
    data = 2.0 * np.exp(-0.7 * times)[:, None]

    def loss(rate):
        path = tg.ops.quadratic_ode(start, np.reshape(-rate, (1, 1)), step=0.1, steps=10)
        return np.sum((path - data) ** 2)

    rate = np.array(0.2)
    for _ in range(8):  # Newton's method: the adjoint is itself differentiated
        rate = rate - tg.grad(loss)(rate) / tg.grad(tg.grad(loss))(rate)
    np.testing.assert_allclose(rate, 0.7, atol=1e-5)
