"""Laws, and the same pictures computed point by point."""

from math import floor

import numpy as np

import tinygraph as tg
from tinygraph.testing import check_grads, check_op


def between(channel, row, column):
    """One channel at one point."""
    total = 0.0
    for i in (floor(row), floor(row) + 1):
        for j in (floor(column), floor(column) + 1):
            if 0 <= i < channel.shape[0] and 0 <= j < channel.shape[1]:
                total += channel[i, j] * (1 - abs(row - i)) * (1 - abs(column - j))
    return total


def test_every_law_holds():
    check_op("gather_pixels")
    check_op("scatter_pixels")
    check_op("bilinear_sample")
    check_op("deformable_convolution")
    check_op("roi_align")


def test_offsets_of_zero_are_an_ordinary_convolution():
    rng = np.random.default_rng(0)
    image, kernel, bias = rng.normal(size=(2, 3, 7, 6)), rng.normal(size=(4, 3, 3, 2)), rng.normal(size=4)
    expected = tg.ops.convolution(image, kernel, bias, stride=2, padding=1, dilation=2)
    found = tg.ops.deformable_convolution(
        image, np.zeros((2, 12, *expected.shape[2:])), kernel, bias, stride=2, padding=1, dilation=2
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_moved_taps_one_by_one():
    rng = np.random.default_rng(1)
    image, kernel = rng.normal(size=(1, 2, 5, 4)), rng.normal(size=(3, 2, 2, 3))
    offsets = rng.uniform(-2, 2, size=(1, 12, 4, 2))
    expected = np.zeros((1, 3, 4, 2))
    for o, c, p, q, i, j in np.ndindex(3, 2, 2, 3, 4, 2):
        down, right = offsets[0, 2 * (3 * p + q) : 2 * (3 * p + q) + 2, i, j]
        expected[0, o, i, j] += kernel[o, c, p, q] * between(image[0, c], i + p + down, j + q + right)
    np.testing.assert_allclose(tg.ops.deformable_convolution(image, offsets, kernel), expected, atol=1e-12)


def test_cells_of_boxes_point_by_point():
    rng = np.random.default_rng(2)
    images, boxes = rng.normal(size=(2, 1, 6, 6)), np.array([[0.3, 1.2, 4.1, 4.9], [-1.0, 2.2, 3.0, 5.7]])
    found = tg.ops.roi_align(images, boxes, np.array([1, 0]), size=(2, 3), density=2)
    for b, i, j in np.ndindex(2, 2, 3):
        top, left, bottom, right = boxes[b]
        points = [
            (top + (bottom - top) * (2 * i + k + 0.5) / 4, left + (right - left) * (2 * j + m + 0.5) / 6)
            for k in range(2)
            for m in range(2)
        ]
        np.testing.assert_allclose(
            found[b, 0, i, j], np.mean([between(images[1 - b, 0], *p) for p in points])
        )


def test_gradients_reach_image_offsets_and_kernel():
    rng = np.random.default_rng(3)
    offsets = 0.25 + 0.5 * rng.uniform(0.1, 0.9, size=(1, 8, 2, 2))
    check_grads(
        lambda image, offsets, kernel: np.sum(np.tanh(tg.ops.deformable_convolution(image, offsets, kernel))),
        rng.normal(size=(1, 1, 3, 3)),
        offsets,
        rng.normal(size=(2, 1, 2, 2)),
    )


def test_gradients_reach_the_boxes():
    rng = np.random.default_rng(4)
    image, owners = rng.normal(size=(1, 2, 5, 5)), np.array([0, 0])
    boxes = np.array([[0.31, 0.22, 3.17, 3.43], [1.13, 0.57, 2.71, 4.06]])
    check_grads(lambda boxes: np.sum(np.sin(tg.ops.roi_align(image, boxes, owners, size=2))), boxes)
