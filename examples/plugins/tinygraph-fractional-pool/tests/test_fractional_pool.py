"""Laws, and the same windows found one by one."""

from math import floor

import numpy as np

import tinygraph as tg
from tinygraph.testing import check_grads, check_op


def test_every_law_holds():
    check_op("fractional_max_pool")
    check_op("fractional_max_pool_index")


def test_windows_found_one_by_one():
    rng = np.random.default_rng(0)
    x, samples = rng.normal(size=(2, 3, 11, 8)), rng.uniform(size=(2, 3, 2))
    sizes, counts = (3, 2), (6, 5)
    expected = np.empty((2, 3, *counts))
    for place in np.ndindex(expected.shape):
        corner = []
        for length, size, count, i, u in zip(
            (11, 8), sizes, counts, place[2:], samples[place[:2]], strict=True
        ):
            alpha = (length - size) / (count - 1)
            corner.append(length - size if i == count - 1 else floor(alpha * (i + u)) - floor(alpha * u))
        (top, left), channel = corner, x[place[:2]]
        expected[place] = channel[top : top + sizes[0], left : left + sizes[1]].max()
    np.testing.assert_array_equal(
        tg.ops.fractional_max_pool(x, samples, size=sizes, output_size=counts), expected
    )


def test_whole_windows_are_ordinary_pooling():
    x = np.random.default_rng(1).normal(size=(2, 1, 8, 6))
    found = tg.ops.fractional_max_pool(x, np.zeros((2, 1, 2)), size=2, output_size=(4, 3))
    np.testing.assert_array_equal(found, tg.ops.max_pool(x, size=2))


def test_gradients_of_a_loss():
    rng = np.random.default_rng(2)
    samples = rng.uniform(size=(2, 2, 1))
    check_grads(
        lambda x: np.sum(np.sin(tg.ops.fractional_max_pool(x, samples, size=3, output_size=4))),
        rng.normal(size=(2, 2, 9)),
    )


def test_not_a_number_wins_its_window_and_an_empty_batch_is_empty():
    found = tg.ops.fractional_max_pool(
        np.array([[[1.0, np.nan, 2.0, 3.0]]]), np.zeros((1, 1, 1)), size=2, output_size=2
    )
    np.testing.assert_array_equal(found, [[[np.nan, 3.0]]])
    empty = tg.ops.fractional_max_pool(np.zeros((0, 2, 5)), np.zeros((0, 2, 1)), size=2, output_size=3)
    assert empty.shape == (0, 2, 3)
