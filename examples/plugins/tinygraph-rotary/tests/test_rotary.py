"""Laws, and the same turns written as complex numbers."""

import numpy as np

import tinygraph as tg
from tinygraph.testing import check_grads, check_op


def test_every_law_holds():
    check_op("rotary")


def test_turns_are_products_with_complex_numbers():
    rng = np.random.default_rng(0)
    x, positions = rng.normal(size=(2, 3, 5, 8)), rng.uniform(-9, 9, size=(3, 5))
    turns = np.exp(1j * positions[..., None] * 500.0 ** (-np.arange(0, 8, 2) / 8))
    neighbours = tg.ops.rotary(x, positions, base=500.0, interleaved=True)
    np.testing.assert_allclose(
        neighbours[..., ::2] + 1j * neighbours[..., 1::2], (x[..., ::2] + 1j * x[..., 1::2]) * turns
    )
    halves = tg.ops.rotary(x, positions, base=500.0)
    np.testing.assert_allclose(halves[..., :4] + 1j * halves[..., 4:], (x[..., :4] + 1j * x[..., 4:]) * turns)


def test_scores_depend_on_distances_alone():
    rng = np.random.default_rng(1)
    query, key = rng.normal(size=(2, 1, 6))

    def score(i, j):
        return (tg.ops.rotary(query, np.array([i])) @ tg.ops.rotary(key, np.array([j])).T).item()

    np.testing.assert_allclose(score(3, 7), score(103, 107))


def test_gradients_of_attention_scores_to_third_order():
    rng = np.random.default_rng(2)
    positions = rng.normal(size=3)

    def energy(query, key, positions):
        scores = tg.ops.rotary(query, positions) @ np.swapaxes(tg.ops.rotary(key, positions), -1, -2)
        return np.sum(np.tanh(scores))

    check_grads(energy, rng.normal(size=(3, 4)), rng.normal(size=(3, 4)), positions, order=3)


def test_turning_there_and_back_changes_nothing():
    x = np.random.default_rng(3).normal(size=(4, 6)).astype(np.float32)
    there = tg.ops.rotary(x)
    assert there.dtype == np.float32
    np.testing.assert_allclose(tg.ops.rotary(there, inverse=True), x, rtol=1e-5)
