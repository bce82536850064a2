"""Means and variances in one pass: as exact as in two, also far from zero, of constants, and over any axes."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.core.registry import ops

CASES = (
    ((4, 16, 8, 8), (0, 2, 3)),
    ((4, 5, 7, 6), (0, 2, 3)),
    ((3, 10, 128), (-1,)),
    ((2, 3), (1,)),
    ((7,), (0,)),
)
SPREADS = ((0.0, 1.0), (1e4, 0.1), (1e6, 0.0), (-3.0, 1e-6), (0.0, 1e15))


def test_statistics_of_float32() -> None:
    rng = np.random.default_rng(0)
    for shape, axis in CASES:
        for centre, spread in SPREADS:
            x = (centre + spread * rng.standard_normal(shape)).astype(np.float32)
            exact = x.astype(np.longdouble)
            mean = exact.mean(axis, keepdims=True)
            variance = ((exact - mean) ** 2).mean(axis, keepdims=True)
            compiled = tg.compile(lambda x, axis=axis: ops.standardize(x, axis=axis, eps=1e-5))
            found: Any = [np.asarray(one) for one in compiled(x)]
            words = f"{shape} over {axis}, {centre} +- {spread}"
            np.testing.assert_allclose(found[1], mean, rtol=2e-7, atol=1e-6 * spread, err_msg=words)
            np.testing.assert_allclose(found[2], variance, rtol=2e-7, err_msg=words)
            # the mean itself is rounded to float32
            close = 2e-6 + np.abs(mean) * 1e-7 / np.sqrt(variance + 1e-5)
            assert (np.abs(found[0] - (exact - mean) / np.sqrt(variance + 1e-5)) <= close).all(), words


def test_nan_and_infinity_stay() -> None:
    compiled = tg.compile(lambda x: ops.standardize(x, axis=(1,), eps=1e-5))
    for bad in (np.nan, np.inf):
        x = np.ones((2, 5), np.float32)
        x[0, 3] = bad
        out, mean, variance = (np.asarray(one) for one in compiled(x))
        assert np.isnan([*out[0], *variance[0]]).all()
        assert not np.isfinite(mean[0]).any()
        assert [*out[1], *mean[1], *variance[1]] == [0] * 5 + [1, 0]
