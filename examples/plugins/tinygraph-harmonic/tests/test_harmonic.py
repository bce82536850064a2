"""Laws, and the same transforms as matrix products."""

import numpy as np

import tinygraph as tg
from tinygraph.testing import check_grads, check_op


def cosine_matrix(length):
    k, n = np.ogrid[:length, :length]
    matrix = np.sqrt(2 / length) * np.cos(np.pi * k * (2 * n + 1) / (2 * length))
    matrix[0] /= np.sqrt(2)
    return matrix


def hartley_matrix(length):
    angle = 2 * np.pi * np.outer(np.arange(length), np.arange(length)) / length
    return (np.cos(angle) + np.sin(angle)) / np.sqrt(length)


def test_every_law_holds():
    check_op("dct")
    check_op("hartley")


def test_transforms_are_products_with_their_matrices():
    rng = np.random.default_rng(0)
    for length in (1, 2, 3, 4, 7, 12, 31):
        x = rng.normal(size=(3, length))
        cosine, hartley = cosine_matrix(length), hartley_matrix(length)
        np.testing.assert_allclose(tg.ops.dct(x), x @ cosine.T, atol=1e-12)
        np.testing.assert_allclose(tg.ops.dct(x, inverse=True), x @ cosine, atol=1e-12)
        np.testing.assert_allclose(tg.ops.dct(x.T, axis=0), cosine @ x.T, atol=1e-12)
        np.testing.assert_allclose(tg.ops.hartley(x), x @ hartley, atol=1e-12)


def test_there_and_back_in_single_precision():
    x = np.random.default_rng(1).normal(size=(2, 50)).astype(np.float32)
    again = tg.ops.dct(tg.ops.dct(x), inverse=True)
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, x, atol=1e-5)
    np.testing.assert_allclose(tg.ops.hartley(tg.ops.hartley(x)), x, atol=1e-5)


def test_gradients_of_a_smooth_threshold_to_third_order():
    rng = np.random.default_rng(2)

    def compressed(image):
        spectrum = tg.ops.dct(tg.ops.dct(image, axis=0), axis=1)
        return np.sum(spectrum * np.tanh(spectrum * spectrum) * tg.ops.hartley(image))

    check_grads(compressed, rng.normal(size=(3, 4)), order=3)
