"""Activations of com.microsoft, and the ones that its fused operators end with, by their names there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.plugin import Numeric, Sample, SettingError, composite, ops


@composite(
    facts={"onnx": ("com.microsoft::Gelu", "com.microsoft::BiasGelu")},
    samples=[Sample([0.0, 1.0, -2.0]), Sample([[0.5, -1.0]], [1.0, 2.0]), Sample([0.0], expected=[0.0])],
)
def bias_gelu(x: Numeric, bias: Numeric | None = None) -> Any:
    """gelu(x + bias), by the error function."""
    return ops.gelu(x if bias is None else x + bias)


@composite(
    facts={"onnx": "com.microsoft::FastGelu"},
    samples=[Sample([0.0, 1.0, -2.0]), Sample([[0.5, -1.0]], [1.0, 2.0]), Sample([0.0], expected=[0.0])],
)
def fast_gelu(x: Numeric, bias: Numeric | None = None) -> Any:
    """gelu(x + bias), by a hyperbolic tangent."""
    return ops.gelu(x if bias is None else x + bias, approximate="tanh")


@composite(
    facts={"onnx": "com.microsoft::QuickGelu"},
    samples=[Sample([0.0, 2.0], alpha=0.0, expected=[0.0, 1.0]), Sample([[0.5, -1.0]])],
)
def quick_gelu(x: Numeric, *, alpha: float = 1.702) -> Any:
    """x sigmoid(alpha x)."""
    return x * ops.sigmoid(x * alpha)


def _clip(x: Numeric, low: float = -np.inf, high: float = np.inf) -> Any:
    return np.clip(x, low, high)


ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "Relu": ops.relu,
    "Tanh": np.tanh,
    "Sigmoid": ops.sigmoid,
    "LeakyRelu": lambda x, slope=0.01: ops.leaky_relu(x, negative_slope=slope),
    "HardSigmoid": lambda x, alpha=0.2, beta=0.5: np.clip(alpha * x + beta, 0, 1),
    "Clip": _clip,
    "": lambda x: x,
}


def activated(x: Numeric, name: str, numbers: Sequence[float]) -> Any:
    """What a fused operator ends with."""
    if name not in ACTIVATIONS:
        known = ", ".join(one for one in ACTIVATIONS if one)
        raise SettingError(f"the activation {name!r:.60} is not known; there are: {known}")
    return ACTIVATIONS[name](x, *numbers)
