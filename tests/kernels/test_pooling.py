"""Window maxima, their positions and the scatter back, against loops over windows."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from tests.rows import each
from tinygraph.errors import ShapeError
from tinygraph.kernels.images import pooling

# shape, size, stride, dilation
CASES = [
    ((2, 3, 8, 8), (2, 2), (2, 2), (1, 1)),
    ((1, 2, 33, 71), (2, 2), (2, 2), (1, 1)),
    ((1, 2, 9, 10), (3, 3), (2, 2), (1, 1)),
    ((1, 1, 7, 40), (3, 2), (1, 1), (1, 1)),
    ((2, 1, 12, 13), (2, 3), (3, 4), (2, 2)),
    ((3, 2, 37), (3,), (2,), (1,)),
    ((1, 1, 4, 4), (4, 4), (4, 4), (1, 1)),
]


def expected(x: Any, size: Any, stride: Any, dilation: Any) -> tuple[Any, Any]:
    """Maxima and flat positions, window by window."""
    spatial = x.shape[2:]
    outputs = [
        (n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(spatial, size, stride, dilation, strict=True)
    ]
    best, index = np.empty((*x.shape[:2], *outputs), x.dtype), np.empty((*x.shape[:2], *outputs), np.int64)
    for place in product(*map(range, best.shape)):
        window = tuple(
            slice(i * s, i * s + d * (k - 1) + 1, d)
            for i, k, s, d in zip(place[2:], size, stride, dilation, strict=True)
        )
        values = x[place[:2]][window]
        at = np.unravel_index(np.argmax(values), values.shape)
        where = [w.start + i * w.step for w, i in zip(window, at, strict=True)]
        best[place], index[place] = values[at], np.ravel_multi_index(where, spatial)
    return best, index


def lying(array: Any, last: bool, guard: Any) -> Any:
    """A copy of an array, its channels last in memory if asked."""
    return np.moveaxis(guard.like(np.moveaxis(array, 1, -1)), -1, 1) if last else guard.like(array)


@each("last", [False, True])
@each("dtype", ["float32", "float64"])
@each(("shape", "size", "stride", "dilation"), CASES)
def test_maxima_and_back(
    shape: Any, size: Any, stride: Any, dilation: Any, dtype: str, last: bool, guard: Any
) -> None:
    rng = np.random.default_rng(0)
    x = np.empty(shape, dtype)
    x[...] = rng.integers(-3, 4, shape)  # with ties
    x.reshape(-1)[rng.integers(0, x.size, 3)] = np.nan
    x.reshape(-1)[rng.integers(0, x.size, 3)] = -np.inf
    maxima, index = expected(x, size, stride, dilation)
    x = lying(x, last, guard)
    out, where = lying(np.zeros_like(maxima), last, guard), lying(np.zeros_like(index), last, guard)
    made = pooling.windows(shape, out.shape, dtype, size=size, stride=stride, dilation=dilation)
    assert made is not None
    pools = pooling.max_pool(made, x, out), pooling.max_pool_index(made, x, where)
    assert pools[0] is not None
    assert pools[1] is not None
    pools[0]()
    pools[1]()
    np.testing.assert_array_equal(out, maxima)
    np.testing.assert_array_equal(where, index)
    values = guard.like(rng.standard_normal(out.shape).astype(dtype))
    back = lying(np.full(shape, np.nan, dtype), last, guard)
    pooling.scatter_windows(values, where, back)()
    exact = np.zeros((shape[0] * shape[1], int(np.prod(shape[2:]))))
    np.add.at(
        exact, (np.arange(len(exact))[:, None], index.reshape(len(exact), -1)), values.reshape(len(exact), -1)
    )
    np.testing.assert_allclose(np.ascontiguousarray(back).reshape(exact.shape), exact, rtol=1e-6, atol=1e-6)


def test_positions_out_of_range_raise_and_write_nothing_outside(guard: Any) -> None:
    values, back = np.ones((1, 2, 3)), guard((1, 2, 4), np.float64)
    run = pooling.scatter_windows(values, np.array([[[0, 4, -1], [2, 10**12, 2]]]), back)
    with pytest.raises(ShapeError, match="3 positions of the index are not from 0 to 3"):
        run()
    np.testing.assert_array_equal(back, [[[1, 0, 0, 0], [0, 0, 2, 0]]])


def test_what_is_not_supported_is_none() -> None:
    one = {"size": (2, 2), "stride": (2, 2), "dilation": (1, 1)}
    assert pooling.windows((1, 1, 5, 5), (1, 1, 3, 3), "float32", **one) is None  # sticks out
    assert pooling.windows((1, 1, 5, 5), (1, 1, 2, 2), "int64", **one) is None
    assert pooling.windows((0, 1, 5, 5), (0, 1, 2, 2), "float32", **one) is None
    made = pooling.windows((1, 2, 4, 4), (1, 2, 2, 2), "float32", **one)
    assert made is not None
    spread = np.empty((1, 2, 2, 4), np.float32)[..., ::2]  # no axis that vectors could run along
    assert pooling.max_pool(made, np.empty((1, 2, 4, 4), np.float32), spread) is None
