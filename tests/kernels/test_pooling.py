"""Windows of images, their maxima, positions and means, and the ways back, against loops over windows."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.rows import each
from tinygraph.errors import ShapeError
from tinygraph.kernels.images import pooling, window_tables
from tinygraph.kernels.images.window_tables import Along

# shape, size, stride, dilation, padding
CASES = [
    ((2, 3, 8, 8), (2, 2), (2, 2), (1, 1), (0, 0)),
    ((1, 2, 33, 71), (2, 2), (2, 2), (1, 1), (0, 0)),
    ((1, 2, 9, 10), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((2, 17, 9, 23), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((1, 1, 7, 40), (3, 2), (1, 1), (1, 1), (1, 0)),
    ((2, 1, 12, 13), (2, 3), (3, 4), (2, 2), (0, 1)),
    ((3, 2, 37), (3,), (2,), (1,), (0,)),
    ((2, 19, 37), (9,), (1,), (1,), (4,)),
    ((1, 1, 4, 4), (4, 4), (4, 4), (1, 1), (0, 0)),
    ((1, 3, 5, 6, 7), (2, 3, 2), (2, 1, 3), (1, 1, 1), (1, 1, 0)),
]
# lengths of the image and of the result, along each axis
ADAPTIVE = [((7,), (3,)), ((5, 40), (5, 19)), ((6, 4), (1, 1)), ((3, 7, 5), (2, 9, 5))]


def along(shape: Any, size: Any, stride: Any, dilation: Any, padding: Any) -> list[Along]:
    """What windows read, position by position."""
    found = []
    for n, k, s, d, p in zip(shape[2:], size, stride, dilation, padding, strict=True):
        count = (n + 2 * p - d * (k - 1) - 1) // s + 1
        reads = [[i for i in range(o * s - p, o * s - p + d * k, d) if 0 <= i < n] for o in range(count)]
        found.append(Along(tuple(r[0] for r in reads), tuple(map(len, reads)), d, (k,) * count))
    return found


def windows_of(found: list[Along]) -> Any:
    """For each place of the result, the places that it reads and the share of each."""
    for place in product(*(range(len(one.first)) for one in found)):
        axes = [
            range(one.first[i], one.first[i] + one.counts[i] * one.step, one.step)
            for one, i in zip(found, place, strict=True)
        ]
        yield (
            place,
            list(product(*axes)),
            np.prod([one.shares[i] for one, i in zip(found, place, strict=True)]),
        )


def lying(array: Any, last: bool, guard: Any) -> Any:
    """A copy of an array, its channels last in memory if asked."""
    return np.moveaxis(guard.like(np.moveaxis(array, 1, -1)), -1, 1) if last else guard.like(array)


def out_shape(x: Any, found: list[Along]) -> tuple[int, ...]:
    return (*x.shape[:2], *(len(one.first) for one in found))


@each("last", [False, True])
@each("dtype", ["float32", "float64"])
@each(("shape", "size", "stride", "dilation", "padding"), CASES)
def test_maxima_and_back(
    shape: Any, size: Any, stride: Any, dilation: Any, padding: Any, dtype: str, last: bool, guard: Any
) -> None:
    rng = np.random.default_rng(0)
    x = np.empty(shape, dtype)
    x[...] = rng.integers(-3, 4, shape)  # with ties
    x.reshape(-1)[rng.integers(0, x.size, 3)] = np.nan
    x.reshape(-1)[rng.integers(0, x.size, 3)] = -np.inf
    found = along(shape, size, stride, dilation, padding)
    maxima, index = np.empty(out_shape(x, found), dtype), np.empty(out_shape(x, found), np.int64)
    values = rng.standard_normal(maxima.shape).astype(dtype)
    gradient = np.zeros(shape)
    for place, reads, _ in windows_of(found):
        seen = np.stack([x[(..., *at)] for at in reads])
        first = np.argmax(seen, axis=0)  # the first nan wins
        maxima[(..., *place)] = np.take_along_axis(seen, first[None], 0)[0]
        flat = np.array([np.ravel_multi_index(at, shape[2:]) for at in reads])[first]
        index[(..., *place)] = flat
        flat_gradient = gradient.reshape(*shape[:2], -1)
        np.add.at(flat_gradient, (*np.indices(shape[:2]), flat), values[(..., *place)])
    x = lying(x, last, guard)
    out, where = lying(np.full_like(maxima, 7), last, guard), lying(np.full_like(index, 7), last, guard)
    window_tables.maxima(found, x, out)()
    window_tables.positions(found, x, where)()
    np.testing.assert_array_equal(out, maxima)
    np.testing.assert_array_equal(where, index)
    values = lying(values, last, guard)
    back = lying(np.full(shape, np.nan, dtype), last, guard)
    pooling.scatter_windows(values, where, back)()
    np.testing.assert_allclose(back, gradient, rtol=1e-6, atol=1e-6)
    if set(dilation) == {1}:
        back[...] = np.nan
        window_tables.maxima_back(found, shape[2:], values, where, back)()
        np.testing.assert_allclose(back, gradient, rtol=1e-6, atol=1e-6)
        number = lying(np.full_like(maxima, np.nan), last, guard)  # positions in the images' own dtype
        window_tables.positions(found, x, number)()
        np.testing.assert_array_equal(number, index)
        back[...] = np.nan
        window_tables.maxima_back(found, shape[2:], values, number, back)()
        np.testing.assert_allclose(back, gradient, rtol=1e-6, atol=1e-6)


def check_means(found: list[Along], shape: Any, dtype: str, last: bool, guard: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape).astype(dtype)
    mean, gradient = np.empty(out_shape(x, found)), np.zeros(shape)
    g = rng.standard_normal(mean.shape).astype(dtype)
    for place, reads, share in windows_of(found):
        mean[(..., *place)] = sum(x[(..., *at)].astype(float) for at in reads) / share
        for at in reads:
            gradient[(..., *at)] += g[(..., *place)].astype(float) / share
    out = lying(np.full(mean.shape, np.nan, dtype), last, guard)
    back = lying(np.full(shape, np.nan, dtype), last, guard)
    window_tables.means(found, lying(x, last, guard), out)()
    window_tables.means_back(found, shape[2:], lying(g, last, guard), back)()
    tolerance = 1e-6 if dtype == "float32" else 1e-14
    np.testing.assert_allclose(out, mean, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(back, gradient, rtol=tolerance, atol=tolerance)


@each("last", [False, True])
@each("dtype", ["float32", "float64"])
@each(("shape", "size", "stride", "dilation", "padding"), [row for row in CASES if set(row[3]) == {1}])
def test_means_and_back(
    shape: Any, size: Any, stride: Any, dilation: Any, padding: Any, dtype: str, last: bool, guard: Any
) -> None:
    found = along(shape, size, stride, dilation, padding)
    check_means(found, shape, dtype, last, guard)
    # shares that differ from window to window
    check_means([one._replace(shares=one.counts) for one in found], shape, dtype, last, guard)


@each("last", [False, True])
@each(("lengths", "counts"), ADAPTIVE)
def test_adaptive_means_and_back(lengths: Any, counts: Any, last: bool, guard: Any) -> None:
    found = []
    for n, m in zip(lengths, counts, strict=True):
        first = tuple(i * n // m for i in range(m))
        sizes = tuple(-(-(i + 1) * n // m) - first[i] for i in range(m))
        found.append(Along(first, sizes, 1, sizes))
    check_means(found, (2, 18, *lengths), "float32", last, guard)


def test_positions_out_of_range_raise_and_write_nothing_outside(guard: Any) -> None:
    values, back = np.ones((1, 2, 3)), guard((1, 2, 4), np.float64)
    run = pooling.scatter_windows(values, np.array([[[0, 4, -1], [2, 10**12, 2]]]), back)
    with pytest.raises(ShapeError, match="3 positions of the index are not from 0 to 3"):
        run()
    np.testing.assert_array_equal(back, [[[1, 0, 0, 0], [0, 0, 2, 0]]])
