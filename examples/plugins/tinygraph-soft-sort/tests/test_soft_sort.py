"""Laws, the definition of the projections, and a ranking that is learned."""

from itertools import permutations

import numpy as np

import tinygraph as tg
from tinygraph.testing import check_grads, check_op


def test_every_law_holds():
    check_op("isotonic")
    check_op("isotonic_blocks")
    check_op("block_mean")
    check_op("soft_sort")
    check_op("soft_rank")


def test_isotonic_regression_by_its_formula():
    # v_i = max over a <= i of min over b >= i of the mean of x_a ... x_b
    for row in np.random.default_rng(0).normal(size=(20, 7)):
        expected = [
            max(min(row[a : b + 1].mean() for b in range(i, 7)) for a in range(i + 1)) for i in range(7)
        ]
        np.testing.assert_allclose(tg.ops.isotonic(row), expected, atol=1e-12)


def nearest_by_vertices(point, vertices):
    """Frank-Wolfe over the permutations of `vertices`: independent of isotonic regression."""
    corners = np.array(list(permutations(vertices)))
    found = corners.mean(axis=0)
    for _ in range(4000):
        corner = corners[np.argmin(corners @ (found - point))]
        move = corner - found
        length = move @ move
        if length < 1e-18:
            break
        found = found + np.clip((point - found) @ move / length, 0, 1) * move
    return found


def test_both_are_projections_onto_the_permutahedron():
    for x in np.random.default_rng(1).normal(size=(3, 4)):
        ranks = tg.ops.soft_rank(x, strength=0.5)
        np.testing.assert_allclose(ranks, nearest_by_vertices(x / 0.5, [1, 2, 3, 4]), atol=5e-3)
        values = tg.ops.soft_sort(x, strength=0.5)
        np.testing.assert_allclose(values, nearest_by_vertices(np.arange(1, 5) / 0.5, x), atol=5e-3)


def test_weak_regularization_gives_hard_ranks():
    x = np.random.default_rng(2).normal(size=(5, 9))
    np.testing.assert_allclose(tg.ops.soft_sort(x, strength=1e-4), np.sort(x))
    np.testing.assert_allclose(tg.ops.soft_rank(x, strength=1e-4), np.argsort(np.argsort(x)) + 1.0)


def test_gradients_of_a_rank_correlation():
    rng = np.random.default_rng(3)
    target = rng.permutation(6) + 1.0
    check_grads(lambda x: np.sum((tg.ops.soft_rank(x, strength=2.0) - target) ** 2), rng.normal(size=6))
    check_grads(lambda x: np.sum(np.sin(tg.ops.soft_sort(x, strength=0.3))), rng.normal(size=(2, 5)))


def test_gradient_descent_finds_an_order():
    x, target = np.array([0.1, 0.0, -0.1]), np.array([1.0, 2.0, 3.0])
    step = tg.grad(lambda x: np.sum((tg.ops.soft_rank(x) - target) ** 2))
    for _ in range(100):
        x = x - 0.1 * step(x)
    np.testing.assert_array_equal(np.argsort(x), [0, 1, 2])
