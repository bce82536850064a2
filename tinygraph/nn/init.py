"""Initialisers that fill a parameter in place, with PyTorch's names and bounds, drawn from tinygraph's generator.

Glorot and Bengio (2010) for `xavier_*`, He et al. (2015) for `kaiming_*`.
"""

from __future__ import annotations

from math import prod, sqrt

import numpy as np

from tinygraph.core.state import Generator, default_generator, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError, ShapeError

_GAINS = {
    "linear": 1.0, "conv1d": 1.0, "conv2d": 1.0, "conv3d": 1.0, "conv_transpose1d": 1.0, "conv_transpose2d": 1.0,
    "conv_transpose3d": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": sqrt(2.0), "selu": 0.75,
}  # fmt: skip


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps a layer's variance through a nonlinearity.

    >>> round(calculate_gain("leaky_relu", 1.0), 12)
    1.0
    """
    if nonlinearity == "leaky_relu":
        return sqrt(2.0 / (1.0 + (0.01 if param is None else param) ** 2))
    if nonlinearity not in _GAINS:
        known = ", ".join([*_GAINS, "leaky_relu"])
        raise SettingError(f"no gain is known for nonlinearity {nonlinearity!r}; known: {known}")
    return _GAINS[nonlinearity]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """How many inputs an output of a weight (out, in, *kernel) sums, and how many outputs an input reaches.

    Raises:
        ShapeError: fewer than two axes.

    >>> fans((8, 4, 3, 3))
    (36, 72)
    """
    if len(shape) < 2:
        raise ShapeError(f"a weight of shape {shape} has no fan-in and fan-out: that takes (out, in, ...)")
    receptive = prod(shape[2:])
    return shape[1] * receptive, shape[0] * receptive


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with draws from [a, b)."""
    return _fill(tensor, (generator or default_generator).uniform(tensor.shape, a, b))


def normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: Generator | None = None
) -> Tensor:
    """Fill with normal draws."""
    if not std >= 0:
        raise SettingError(f"std is {std}; a standard deviation is not negative")
    return _fill(tensor, (generator or default_generator).normal(tensor.shape, mean, std))


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal draws, those outside [a, b] drawn again."""
    if not a < b or mean - 4 * std > b or mean + 4 * std < a:
        raise SettingError(
            f"[{a}, {b}] holds next to nothing of a normal distribution around {mean} with std {std}"
        )
    source = generator or default_generator
    values = np.asarray(source.normal(tensor.shape, mean, std))
    while (outside := (values < a) | (values > b)).any():
        values[outside] = source.normal((int(outside.sum()),), mean, std)
    return _fill(tensor, values)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    return _fill(tensor, np.full(tensor.shape, val, tensor.dtype))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0."""
    return constant_(tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1."""
    return constant_(tensor, 1.0)


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with the identity."""
    if tensor.ndim != 2:
        raise ShapeError(f"eye_() fills matrices, not a tensor of shape {tensor.shape}")
    return _fill(tensor, np.eye(*tensor.shape, dtype=tensor.dtype))


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with draws from [-b, b), b = gain * sqrt(6 / (fan_in + fan_out))."""
    bound = gain * sqrt(6.0 / sum(fans(tensor.shape)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: Generator | None = None) -> Tensor:
    """Fill with normal draws of standard deviation gain * sqrt(2 / (fan_in + fan_out))."""
    return normal_(tensor, 0.0, gain * sqrt(2.0 / sum(fans(tensor.shape))), generator)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with draws from [-b, b), b = gain * sqrt(3 / fan)."""
    bound = sqrt(3.0) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: Generator | None = None,
) -> Tensor:
    """Fill with normal draws of standard deviation gain / sqrt(fan)."""
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: Generator | None = None) -> Tensor:
    """Fill with gain times a random matrix (out, the rest) of orthonormal rows or columns (Saxe et al., 2014)."""
    fans(tensor.shape)
    rows, columns = tensor.shape[0], prod(tensor.shape[1:])
    draws = np.asarray((generator or default_generator).normal((max(rows, columns), min(rows, columns))))
    basis, triangle = np.linalg.qr(draws)
    basis = basis * np.sign(np.diagonal(triangle))
    return _fill(tensor, gain * (basis.T if rows < columns else basis).reshape(tensor.shape))


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    if mode not in ("fan_in", "fan_out"):
        raise SettingError(f'mode is {mode!r}; it can be "fan_in" or "fan_out"')
    fan = fans(tensor.shape)[mode == "fan_out"]
    return calculate_gain(nonlinearity, a) / sqrt(fan) if fan else 0.0


def _fill(tensor: Tensor, values: object) -> Tensor:
    write(tensor, values)
    return tensor
