"""The layers of the benchmark's models in a NumPy-like package that has no layers: JAX, autograd.

As much of PyTorch's `nn` as `workloads.py` uses. A model is called like any other; its parameters are found by name.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class HeldArray(NamedTuple):
    """Where a model keeps an array."""

    owner: Any
    name: str


class ArrayModule:
    """Something with parts and a `forward`."""

    training = True

    def __call__(self, x: object) -> Any:
        return self.forward(x)

    def forward(self, x: object) -> Any:
        raise NotImplementedError


class ArraySequence(ArrayModule):
    """Parts one after the other."""

    def __init__(self, *parts: ArrayModule) -> None:
        for i, part in enumerate(parts):
            setattr(self, str(i), part)
        self._parts = parts

    def forward(self, x: object) -> Any:
        for part in self._parts:
            x = part(x)
        return x


def places(module: ArrayModule, prefix: str = "") -> Iterator[tuple[str, HeldArray]]:
    """The arrays of a model by the names that PyTorch gives them; those of buffers as well."""
    for name, value in vars(module).items():
        if isinstance(value, ArrayModule):
            yield from places(value, f"{prefix}{name}.")
        elif isinstance(value, np.ndarray):
            yield prefix + name, HeldArray(module, name)


def layers(
    xp: Any, convolve: Callable[..., Any] | None = None, pool: Callable[..., Any] | None = None
) -> Any:
    """A namespace with PyTorch's `nn` names over a NumPy-like package.

    Args:
        xp: the package.
        convolve: images, kernel, stride, padding -> images; None where the package has none.
        pool: images, size -> images of maxima.
    """

    class ArrayLinear(ArrayModule):
        def __init__(self, inputs: int, outputs: int) -> None:
            self.weight, self.bias = np.zeros((outputs, inputs)), np.zeros(outputs)

        def forward(self, x: Any) -> Any:
            return x @ self.weight.T + self.bias

    class ArrayConvolution(ArrayModule):
        def __init__(
            self,
            inputs: int,
            outputs: int,
            size: int,
            *,
            stride: int = 1,
            padding: int = 0,
            bias: bool = True,
        ) -> None:
            if convolve is None:
                raise NotImplementedError("it has no convolution of two dimensions")
            self.weight = np.zeros((outputs, inputs, size, size))
            if bias:
                self.bias = np.zeros(outputs)
            self._settings = stride, padding

        def forward(self, x: object) -> Any:
            assert convolve is not None
            out = convolve(x, self.weight, *self._settings)
            return out + self.bias.reshape(-1, 1, 1) if hasattr(self, "bias") else out

    class ArrayBatchNorm(ArrayModule):
        def __init__(self, channels: int) -> None:
            self.weight, self.bias = np.ones(channels), np.zeros(channels)
            self.running_mean, self.running_var = np.zeros(channels), np.ones(channels)

        def forward(self, x: Any) -> Any:
            if ArrayModule.training:
                mean = x.mean(axis=(0, 2, 3), keepdims=True)
                variance = ((x - mean) ** 2).mean(axis=(0, 2, 3), keepdims=True)
            else:
                mean, variance = self.running_mean.reshape(-1, 1, 1), self.running_var.reshape(-1, 1, 1)
            scaled = (x - mean) / xp.sqrt(variance + 1e-5)
            return scaled * self.weight.reshape(-1, 1, 1) + self.bias.reshape(-1, 1, 1)

    class ArrayLayerNorm(ArrayModule):
        def __init__(self, width: int) -> None:
            self.weight, self.bias = np.ones(width), np.zeros(width)

        def forward(self, x: Any) -> Any:
            centered = x - xp.mean(x, axis=-1, keepdims=True)
            variance = xp.mean(centered**2, axis=-1, keepdims=True)
            return centered / xp.sqrt(variance + 1e-5) * self.weight + self.bias

    class ArrayMaxPool(ArrayModule):
        def __init__(self, size: int) -> None:
            self._size = size

        def forward(self, x: object) -> Any:
            if pool is None:
                raise NotImplementedError("it has no pools")
            return pool(x, self._size)

    names = SimpleNamespace()
    names.Module, names.Sequential = ArrayModule, ArraySequence
    names.Linear, names.Conv2d, names.BatchNorm2d = ArrayLinear, ArrayConvolution, ArrayBatchNorm
    names.LayerNorm, names.MaxPool2d = ArrayLayerNorm, ArrayMaxPool
    vars(names).update(_functions(xp))
    return names


def _of(function: Callable[[Any], Any]) -> type[ArrayModule]:
    """A layer without parameters."""

    class FunctionLayer(ArrayModule):
        def __init__(self, *sizes: int, dim: int = -1) -> None:
            self._sizes = sizes

        def forward(self, x: object) -> Any:
            return function(x)

    return FunctionLayer


def _functions(xp: Any) -> dict[str, type[ArrayModule]]:
    """The layers that are functions of their input alone."""

    def softmax(x: Numeric) -> Any:
        shares = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        return shares / xp.sum(shares, axis=-1, keepdims=True)

    return {
        "ReLU": _of(lambda x: xp.maximum(x, 0)),
        "Identity": _of(lambda x: x),
        "Flatten": _of(lambda x: x.reshape(len(x), -1)),
        "AdaptiveAvgPool2d": _of(lambda x: x.mean(axis=(2, 3), keepdims=True)),
        "Softmax": _of(softmax),
        "GELU": _of(lambda x: 0.5 * x * (1 + _erf(xp)(x / math.sqrt(2)))),
    }


def _erf(xp: Any) -> Callable[[Any], Any]:
    package = "jax" if xp.__name__.startswith("jax") else "autograd"
    found: Callable[[Any], Any] = importlib.import_module(f"{package}.scipy.special").erf
    return found


def loss_of(xp: Any, classes: int) -> Callable[[Any, Any], Any]:
    """Cross entropy with class indices, or the squared error."""

    def cross_entropy(logits: Numeric, labels: Numeric) -> Any:
        shifted = logits - xp.max(logits, axis=1, keepdims=True)
        chosen = shifted[np.arange(len(labels)), labels]
        return xp.mean(xp.log(xp.sum(xp.exp(shifted), axis=1)) - chosen)

    return cross_entropy if classes else lambda out, y: xp.mean((out - y) ** 2)
