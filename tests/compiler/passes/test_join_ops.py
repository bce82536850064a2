"""Two ops as one: the gradient of maxima without their positions, to the bit, and where the two stay apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import kernels
from tinygraph.core.registry import ops

if not kernels.available():
    pytest.skip("llvmlite is not installed", allow_module_level=True)


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    before = tg.get_threads()
    yield
    tg.set_threads(before)


# shape, settings, whether the two become one: not for windows with gaps
POOLS: list[tuple[tuple[int, ...], dict[str, Any], bool]] = [
    ((2, 3, 8, 8), {"size": 2}, True),
    ((2, 8, 9, 7), {"size": 2}, True),  # a row and a column that no window reaches
    ((3, 17, 9, 10), {"size": (3, 2)}, True),
    ((2, 4, 11), {"size": 3}, True),
    ((1, 2, 5, 5), {"size": 5}, True),
    ((2, 3, 8, 8), {"size": 3, "stride": 2}, True),
    ((2, 3, 8, 8), {"size": 2, "stride": 3}, True),
    ((2, 3, 8, 8), {"size": 2, "padding": 1}, True),
    ((2, 3, 7, 7), {"size": 2, "ceil_mode": True}, True),
    ((1, 2, 4, 4, 4), {"size": 2}, True),
    ((2, 3, 8, 8), {"size": 2, "dilation": 2}, False),
]


def with_ties(shape: tuple[int, ...]) -> Any:
    values = np.random.default_rng(1).integers(-2, 3, shape).astype(np.float32)
    values.reshape(-1)[3] = np.nan
    return values


def by_input(x: Any, **settings: Any) -> Any:
    def loss(x: Any) -> Any:
        out = ops.max_pool(x, **settings)
        return np.sum(out * np.arange(1, out.size + 1, dtype=np.float32).reshape(out.shape))

    return tg.grad(loss)(x)


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_of_maxima(threads: int) -> None:
    tg.set_threads(threads)
    for shape, settings, joined in POOLS:
        x = with_ties(shape)
        compiled = tg.compile(lambda x, settings=settings: by_input(x, **settings))
        found = np.asarray(compiled(x))
        np.testing.assert_array_equal(found, by_input(x, **settings), err_msg=f"{shape} {settings}")
        names = [step.kernel.name for step in compiled.plan.steps]
        assert any("scatter to maxima" in name for name in names) == joined, (shape, settings, names)


def test_in_any_layout_and_behind_an_activation() -> None:
    """Channels last from a convolution, few and many, with the mask of the activation as its epilogue."""
    rng = np.random.default_rng(2)
    for channels in (3, 6, 8, 19):
        x = rng.standard_normal((2, 2, 11, 10)).astype(np.float32)
        kernel = rng.standard_normal((channels, 2, 3, 3)).astype(np.float32)

        def loss(x: Any, kernel: Any) -> Any:
            seen = ops.relu(ops.convolution(x, kernel))
            return np.sum(np.sin(ops.max_pool(seen, size=2)))

        gradients = tg.grad(loss, argnums=(0, 1))
        compiled = tg.compile(gradients)
        exact = gradients(x.astype(float), kernel.astype(float))
        for found, right in zip(compiled(x, kernel), exact, strict=True):
            np.testing.assert_allclose(found, right, atol=2e-5 * np.abs(right).max(), err_msg=str(channels))
        assert "scatter to maxima + epilogue" in [step.kernel.name for step in compiled.plan.steps]


def test_positions_that_somebody_else_reads_are_made() -> None:
    def both(x: Any) -> Any:
        index = ops.max_pool_index(x, size=2)
        return ops.scatter_windows(x[:, :, ::2, ::2], index, spatial_shape=x.shape[2:]), index

    x = np.random.default_rng(3).standard_normal((2, 3, 6, 6)).astype(np.float32)
    compiled = tg.compile(both)
    for found, right in zip(compiled(x), both(x), strict=True):
        np.testing.assert_array_equal(found, right)
    assert "scatter windows" in [step.kernel.name for step in compiled.plan.steps]
