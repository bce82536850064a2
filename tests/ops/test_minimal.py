"""Winograd's convolution on NumPy, for machines without llvmlite: against float64, and left out where digits count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import kernels
from tinygraph.core.registry import ops
from tinygraph_ops.windows import minimal, sliding
from tinygraph_ops.windows.geometry import Geometry, convolution_geometry

BOUND = 3e-5  # of the largest result
CASES = [
    ((2, 32, 8, 8), 32, ((1, 1), (1, 1))),
    ((1, 33, 7, 13), 35, ((1, 1), (1, 1))),
    ((3, 36, 5, 6), 32, ((0, 2), (2, 1))),
    ((2, 32, 14, 9), 49, ((0, 0), (0, 0))),
    ((1, 48, 6, 31), 32, ((2, 2), (2, 2))),
]


def _random(shape: tuple[int, ...], seed: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("elements", [minimal._BLOCK_ELEMENTS, 1, 60_000])
def test_the_three_maps(elements: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one block, in one row of tiles at a time, and in between; memory that was used before holds nan."""
    monkeypatch.setattr(minimal, "_BLOCK_ELEMENTS", elements)
    minimal.scratch_sizes.cache_clear()
    for x_shape, outputs, padding in CASES:
        geometry = convolution_geometry(x_shape, (outputs, x_shape[1], 3, 3), padding=padding)
        assert minimal.serves(geometry, np.dtype(np.float32))
        x, kernel, g = (
            _random(shape, i)
            for i, shape in enumerate((x_shape, geometry.kernel_shape, geometry.output_shape))
        )
        for name, operands in (
            ("convolve", (x, kernel)),
            ("convolve_input_gradient", (g, kernel)),
            ("convolve_kernel_gradient", (g, x)),
        ):
            if name == "convolve_input_gradient" and not minimal.serves(
                sliding.mirrored(geometry), np.dtype(np.float32)
            ):
                continue
            right = getattr(sliding, name)(*(one.astype(float) for one in operands), geometry)
            function = getattr(minimal, name)
            buffers = {
                use: np.full(size, np.nan, np.float32)
                for use, size in minimal.scratch_sizes(function, geometry).items()
            }
            scratch = sliding.Scratch(np.dtype(np.float32), dict(buffers))
            for _ in range(2):
                found = function(*operands, geometry, None, scratch)
                assert np.abs(found - right).max() <= BOUND * np.abs(right).max(), (name, x_shape)
            assert all(scratch.buffers[use] is buffers[use] for use in buffers), "scratch was too small"
            assert set(scratch.buffers) == set(buffers)


@each(
    "change",
    [
        {"stride": (2, 1)}, {"dilation": (1, 2)}, {"groups": 2}, {"size": (3, 1)}, {"padding": ((3, 1), (1, 1))},
        {"output_shape": (2, 32, 7, 8)}, {"x_shape": (2, 8, 8, 8)}, {"x_shape": (0, 32, 8, 8)},
    ],
)  # fmt: skip
def test_what_it_is_not_for(change: dict[str, Any]) -> None:
    geometry: Geometry = convolution_geometry((2, 32, 8, 8), (32, 32, 3, 3), padding=1)
    assert minimal.serves(geometry, np.dtype(np.float32))
    assert not minimal.serves(geometry, np.dtype(np.float64))
    assert not minimal.serves(replace(geometry, **change), np.dtype(np.float32))


def test_plans_without_llvmlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "available", lambda: False)
    x, kernel = _random((2, 32, 9, 10), 0), _random((40, 32, 3, 3), 1)

    def step(x: Any, kernel: Any) -> Any:
        def loss(x: Any, kernel: Any) -> Any:
            return np.sum(ops.convolution(x, kernel, padding=1) ** 2)

        return tg.grad(loss, argnums=(0, 1))(x, kernel)

    right = step(x.astype(float), kernel.astype(float))
    for accuracy, expected in (("fast", 3), ("exact", 0)):
        compiled = tg.compile(step, accuracy=accuracy)
        for found, wanted in zip(compiled(x, kernel), right, strict=True):
            assert np.abs(found - wanted).max() <= BOUND * np.abs(wanted).max()
        names = [one.kernel.name for one in compiled.plan.steps]
        assert sum(name.startswith("NumPy Winograd") for name in names) == expected, names
