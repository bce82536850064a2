"""Weights stay packed between calls of compiled functions as long as nobody writes them, in whatever way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import kernels, nn, optim

pytestmark = pytest.mark.skipif(not kernels.available(), reason="weights are packed for generated kernels")

LAYERS = {
    "Winograd": lambda: nn.Conv2d(16, 32, 3, padding=1, bias=False),
    "direct": lambda: nn.Conv2d(3, 8, 5, stride=2, bias=False),
    "depthwise": lambda: nn.Conv2d(16, 16, 3, stride=2, groups=16, bias=False),
    "two groups": lambda: nn.Conv2d(32, 48, 3, groups=2, bias=False),
    "transposed": lambda: nn.ConvTranspose2d(16, 8, 3, stride=2, bias=False),
    "one dimension": lambda: nn.Conv1d(16, 8, 3, bias=False),
}


def compiled(layer: Any, *after: Any) -> tuple[Any, Any, Any]:
    """A layer, its compiled inference, and a batch of four images for it."""
    tg.manual_seed(0)
    layer = LAYERS[layer]() if isinstance(layer, str) else layer
    model = nn.Sequential(layer, *after).eval()

    @tg.compile
    def infer(x: Any) -> Any:
        with tg.no_grad():
            return model(x)

    shape = (4, layer.weight.shape[0 if isinstance(layer, nn.ConvTranspose2d) else 1] * layer.groups, 12, 12)
    x = np.random.default_rng(0).normal(size=shape[: layer.weight.ndim]).astype(np.float32)
    return layer, infer, x


def names(infer: Any) -> list[str]:
    """The kernels of the latest plan."""
    return [kernel.name for _, call in infer.plan.calls for kernel in call.kernels]


@each("layer", list(LAYERS))
def test_every_write_is_noticed(layer: str) -> None:
    layer, infer, x = compiled(layer)
    first = np.array(infer(x))
    assert "prepared weights" in names(infer)
    assert not {"pack weights", "Winograd weights"} & set(names(infer))
    np.testing.assert_array_equal(infer(x), first)
    weight = layer.weight
    with tg.no_grad():
        weight *= 2  # sums of doubled products are doubled, exactly
    np.testing.assert_array_equal(infer(x), 2 * first)
    weight._value[...] *= 0.5  # past all counters of writes
    np.testing.assert_array_equal(infer(x), first)
    layer.load_state_dict({"weight": 4 * weight.detach().numpy()})
    np.testing.assert_array_equal(infer(x), 4 * first)
    last = tuple(size - 1 for size in weight.shape)
    before = np.array(infer(x))
    with tg.no_grad():
        weight[last] = 100.0  # the last element alone
    assert not np.array_equal(infer(x), before)
    optimizer = optim.SGD([weight], lr=1.0)
    weight.grad = tg.tensor(weight.detach().numpy().copy())
    optimizer.step()  # to zero
    assert not np.asarray(infer(x)).any()


def test_sizes_share_the_memory_and_not_the_weights() -> None:
    layer, infer, x = compiled("Winograd", nn.ReLU())
    shapes = [slice(None), slice(1), slice(3)]
    first = [np.array(infer(x[one])) for one in shapes]
    for one, right in zip(shapes, first, strict=True):
        np.testing.assert_array_equal(infer(x[one]), right)
    with tg.no_grad():
        layer.weight *= 2
    for one, right in zip(shapes, first, strict=True):
        np.testing.assert_array_equal(infer(x[one]), 2 * right)


def test_weights_that_a_step_changes_are_packed_in_each() -> None:
    layer, _, x = compiled("direct")
    optimizer = optim.SGD(layer.parameters(), lr=0.0)

    @tg.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = layer(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    step(x)
    assert "prepared weights" not in names(step)
    assert "pack weights" in names(step)


def test_two_ops_that_pack_one_weight_otherwise() -> None:
    """Both results are as large, and neither is made again."""
    layer, _, x = compiled(nn.Conv2d(16, 16, 3, padding=1, bias=False))
    weight = layer.weight
    original = weight.detach().numpy().copy()

    @tg.compile
    def infer(x: Any) -> Any:
        with tg.no_grad():
            y = nn.functional.conv2d(x, weight, padding=1)
            return y, nn.functional.conv_transpose2d(y, weight, padding=1)

    y = nn.functional.conv2d(x, original, padding=1)
    right = nn.functional.conv_transpose2d(y, original, padding=1)
    for factor in (1, 1, 2, 2):  # packed, kept, changed, kept
        with tg.no_grad():
            weight[...] = factor * original
        forth, back = infer(x)
        np.testing.assert_allclose(forth, factor * y, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(back, factor**2 * right, rtol=1e-4, atol=1e-3)
