"""Random convolutions and pools, compiled, against float64: groups, depthwise, one to three dimensions, prime sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.registry import ops

BOUND = 3e-5  # of the largest result; Winograd's is below that, of sums 2e-6
SIZES = (1, 2, 3, 4, 5, 7, 8, 11, 13, 16, 17)


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    before = tg.get_threads()
    yield
    tg.set_threads(before)


def geometry(seed: int) -> tuple[Any, Any, dict[str, Any]]:
    """Operands and settings of a convolution of at least one output."""
    rng = np.random.default_rng(seed)
    while True:
        dimensions = int(rng.choice((1, 2, 2, 2, 3)))
        groups = int(rng.choice((1, 1, 1, 2, 3)))
        inputs, outputs = (groups * int(rng.choice((1, 2, 3, 5, 8, 16))) for _ in range(2))
        if rng.random() < 0.15:  # depthwise
            groups, outputs = inputs, inputs * int(rng.integers(1, 3))
        sizes, taps, stride, dilation = (
            tuple(int(rng.choice(choice)) for _ in range(dimensions))
            for choice in (SIZES, (1, 2, 3, 3, 5), (1, 1, 2, 3), (1, 1, 1, 2))
        )
        padding = tuple((int(rng.integers(0, 3)), int(rng.integers(0, 3))) for _ in range(dimensions))
        reach = [(tap - 1) * gap + 1 for tap, gap in zip(taps, dilation, strict=True)]
        if all(size + sum(pad) >= far for size, pad, far in zip(sizes, padding, reach, strict=True)):
            break
    x = rng.standard_normal((int(rng.integers(1, 4)), inputs, *sizes)).astype(np.float32)
    kernel = rng.standard_normal((outputs, inputs // groups, *taps)).astype(np.float32)
    return x, kernel, {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}


def check(seed: int) -> None:
    x, kernel, settings = geometry(seed)

    def step(x: Any, kernel: Any) -> Any:
        def loss(x: Any, kernel: Any) -> Any:
            out = ops.relu(ops.convolution(x, kernel, **settings))
            return np.sum(out * out) / out.size

        return ops.convolution(x, kernel, **settings), *tg.grad(loss, argnums=(0, 1))(x, kernel)

    exact = step(x.astype(np.float64), kernel.astype(np.float64))
    for threads in (1, 2):
        tg.set_threads(threads)
        compiled = tg.compile(step)
        first = [np.array(one) for one in compiled(x, kernel)]
        for found, again, right in zip(first, compiled(x, kernel), exact, strict=True):
            words = f"seed {seed}: {x.shape} * {kernel.shape} {settings}, {threads} threads"
            assert (found == again).all(), words
            assert np.abs(found - right).max() <= BOUND * max(np.abs(right).max(), 1e-30), words


def test_random_convolutions() -> None:
    for seed in range(24):
        check(seed)


@pytest.mark.slow
def test_more_random_convolutions() -> None:
    for seed in range(24, 324):
        check(seed)
