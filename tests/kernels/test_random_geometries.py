"""Random convolutions and small networks, compiled, against float64: groups, depthwise, 1-D to 3-D, prime sizes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
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
    for seed in range(10):
        check(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(10, 324, 79))
def test_more_random_convolutions(first: int) -> None:
    for seed in range(first, min(first + 79, 324)):
        check(seed)


def network(seed: int) -> tuple[Any, Any]:
    """A small network of one to three dimensions, and images for it; smooth, so that rounding flips nothing."""
    rng = np.random.default_rng(seed)
    tg.manual_seed(seed)
    dimensions = int(rng.choice((1, 2, 2, 2, 3)))
    convolution, normalization, pool = (
        getattr(nn, f"{name}{dimensions}d") for name in ("Conv", "BatchNorm", "AvgPool")
    )
    channels, size = int(rng.choice((1, 3, 4, 16))), int(rng.choice((7, 11, 12, 16))) // (dimensions // 3 + 1)
    layers: list[Any] = []
    x = rng.standard_normal((int(rng.integers(2, 5)), channels, *[size] * dimensions))
    for _ in range(int(rng.integers(1, 4))):
        outputs = int(rng.choice((4, 5, 8, 16, 24)))
        groups = int(rng.choice([n for n in (1, 2, 4, channels) if channels % n == 0 and outputs % n == 0]))
        tap = int(rng.choice((1, 3, 3, 5)))
        stride = int(rng.choice((1, 1, 2)))
        layers.append(
            convolution(
                channels, outputs, tap, stride, padding=tap // 2, groups=groups, bias=bool(rng.integers(2))
            )
        )
        size, channels = (size - 1) // stride + 1, outputs
        if rng.random() < 0.5:
            layers.append(normalization(channels))
        layers.append(rng.choice((nn.Tanh, nn.GELU, nn.Softplus, nn.SiLU))())
        if size >= 4 and rng.random() < 0.5:
            layers.append(pool(2))
            size //= 2
    head = nn.Linear(channels * size**dimensions, 7)
    return nn.Sequential(*layers, nn.Flatten(), head), x


def check_network(seed: int) -> None:
    """Three steps of training: losses, and parameters after them, against the same in float64, eagerly."""
    labels = np.random.default_rng(seed).integers(0, 7, 4)
    found = []
    for dtype, compiled in (("float64", False), ("float32", True)):
        model, x = network(seed)
        model.to(dtype=dtype)
        optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

        def step(x: Any, labels: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(x), labels)
            loss.backward()
            optimizer.step()
            return loss

        run = tg.compile(step) if compiled else step
        losses = [run(x.astype(dtype), labels[: len(x)]).item() for _ in range(3)]
        found.append((losses, [one.numpy().astype(float) for one in model.parameters()]))
    (right, wanted), (losses, values) = found
    np.testing.assert_allclose(losses, right, rtol=1e-3, atol=1e-6, err_msg=f"seed {seed}")
    for value, exact in zip(values, wanted, strict=True):
        assert np.linalg.norm(value - exact) <= 2e-3 * max(np.linalg.norm(exact), 1.0), f"seed {seed}"


def test_random_networks() -> None:
    for seed in range(4):
        check_network(seed)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(4, 104, 25))
def test_more_random_networks(first: int) -> None:
    for seed in range(first, first + 25):
        check_network(seed)
