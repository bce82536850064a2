"""Normalising layers: by batch, instance, layer, group, root mean square, and local response."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import ShapeError
from tinygraph.nn import functional, init
from tinygraph.nn.module import Module
from tinygraph.nn.parameter import Parameter, parameter_dtype, reserve

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.types import Sizes


class _BatchNorm(Module):
    """(input - mean) / sqrt(variance + eps) * weight + bias for each channel (Ioffe and Szegedy, 2015).

    In training, mean and (biased) variance are the batch's, and running averages of the mean and of the unbiased
    variance are kept; in evaluation those are used.
    """

    ranks: ClassVar[tuple[int, ...]]
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: object = None,
        dtype: DTypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        """Make a layer.

        Args:
            num_features: channels.
            eps: added to the variance.
            momentum: the share of a new batch in the running averages; None: the plain average over all batches.
            affine: whether there are a weight and a bias.
            track_running_stats: whether running averages are kept; without them the batch's own are always used.
            device: the CPU.
            dtype: of parameters and averages, float32 by default.
            bias: whether there is a bias.
        """
        found = parameter_dtype(dtype, device)
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        reserve(num_features)
        self.weight = Parameter(np.ones(num_features, found)) if affine else None
        self.bias = Parameter(np.zeros(num_features, found)) if affine and bias else None
        tracked = track_running_stats
        self.register_buffer("running_mean", np.zeros(num_features, found) if tracked else None)
        self.register_buffer("running_var", np.ones(num_features, found) if tracked else None)
        self.register_buffer("num_batches_tracked", np.array(0) if tracked else None)

    def reset_running_stats(self) -> None:
        """Start the running averages again."""
        for state, value in (
            (self.running_mean, 0.0),
            (self.running_var, 1.0),
            (self.num_batches_tracked, 0),
        ):
            if state is not None:
                write(state, np.full(state.shape, value, state.dtype))

    def reset_parameters(self) -> None:
        """Set weight, bias and running averages to their initial values."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input(self, input: Numeric) -> None:
        if input.ndim not in self.ranks or input.shape[1] != self.num_features:
            expected = " or ".join(f"{rank}-D" for rank in self.ranks)
            raise ShapeError(
                f"{type(self).__name__}({self.num_features}) takes {expected} input (batch, {self.num_features}, "
                f"...), not {input.shape}"
            )

    def forward(self, input: Numeric) -> Any:
        self._check_input(input)
        momentum: object = self.momentum
        if self.training and self.num_batches_tracked is not None:
            count = read(self.num_batches_tracked) + 1
            write(self.num_batches_tracked, count)
            if momentum is None:
                momentum = 1.0 / count
        by_batch = self.training or self.running_mean is None
        return functional.batch_norm(
            input, self.running_mean, self.running_var, self.weight, self.bias, by_batch, momentum, self.eps
        )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalisation of (batch, num_features) or (batch, num_features, length)."""

    ranks = (2, 3)


class BatchNorm2d(_BatchNorm):
    """Batch normalisation of images (batch, num_features, rows, columns)."""

    ranks = (4,)


class BatchNorm3d(_BatchNorm):
    """Batch normalisation of volumes (batch, num_features, depth, rows, columns)."""

    ranks = (5,)


class _InstanceNorm(_BatchNorm):
    """Each channel of each sample by its own mean and variance (Ulyanov, Vedaldi and Lempitsky, 2016).

    Takes a single sample (channels, *spatial) as well. With `track_running_stats`, running averages are kept in
    training and used in evaluation.
    """

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: object = None,
        dtype: DTypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias)

    def forward(self, input: Numeric) -> Any:
        single = input.ndim == self.ranks[0] - 1
        if not single and input.ndim != self.ranks[0]:
            raise ShapeError(
                f"{type(self).__name__} takes (batch, channels, *spatial) of {self.ranks[0]} axes, not {input.shape}"
            )
        x = input[None] if single else input
        if (self.affine or self.track_running_stats) and x.shape[1] != self.num_features:
            raise ShapeError(
                f"{type(self).__name__}({self.num_features}) got {x.shape[1]} channels: {input.shape}"
            )
        by_input = self.training or not self.track_running_stats
        out = functional.instance_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            by_input,
            self.momentum or 0.0,
            self.eps,
        )
        return out[0] if single else out


class InstanceNorm1d(_InstanceNorm):
    """Instance normalisation of signals (batch, num_features, length)."""

    ranks = (3,)


class InstanceNorm2d(_InstanceNorm):
    """Instance normalisation of images (batch, num_features, rows, columns)."""

    ranks = (4,)


class InstanceNorm3d(_InstanceNorm):
    """Instance normalisation of volumes (batch, num_features, depth, rows, columns)."""

    ranks = (5,)


class LocalResponseNorm(Module):
    """input / (k + alpha * mean of squares over `size` channels around) ** beta  (Krizhevsky et al., 2012)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> None:
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, input: Numeric) -> Any:
        return functional.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class LayerNorm(Module):
    """(input - mean) / sqrt(variance + eps) * weight + bias over the last axes (Ba, Kiros and Hinton, 2016).

    Args:
        normalized_shape: the sizes of those axes, or an int for one.
        eps: added to the variance.
        elementwise_affine: whether there are a weight and a bias.
        bias: whether there is a bias.
        dtype: of the parameters, float32 by default.
    """

    def __init__(
        self,
        normalized_shape: Sizes,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        found = parameter_dtype(dtype, device)
        reserve(self.normalized_shape)
        self.weight = Parameter(np.ones(self.normalized_shape, found)) if elementwise_affine else None
        self.bias = Parameter(np.zeros(self.normalized_shape, found)) if elementwise_affine and bias else None

    def reset_parameters(self) -> None:
        """Set weight and bias to their initial values."""
        _reset(self)

    def forward(self, input: Numeric) -> Any:
        return functional.layer_norm(input, self.normalized_shape, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class RMSNorm(Module):
    """input / sqrt(mean of input ** 2 + eps) * weight over the last axes (Zhang and Sennrich, 2019).

    Args:
        normalized_shape: the sizes of those axes, or an int for one.
        eps: the smallest step above 1 of the input's dtype by default.
        elementwise_affine: whether there is a weight.
        dtype: of the weight, float32 by default.
    """

    def __init__(
        self,
        normalized_shape: Sizes,
        eps: float | None = None,
        elementwise_affine: bool = True,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.normalized_shape = _shape(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine
        found = parameter_dtype(dtype, device)
        reserve(self.normalized_shape)
        self.weight = Parameter(np.ones(self.normalized_shape, found)) if elementwise_affine else None

    def reset_parameters(self) -> None:
        """Set the weight to its initial value."""
        _reset(self)

    def forward(self, input: Numeric) -> Any:
        return functional.rms_norm(input, self.normalized_shape, self.weight, self.eps)

    def extra_repr(self) -> str:
        return f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"


class GroupNorm(Module):
    """(input - mean) / sqrt(variance + eps) * weight + bias over groups of channels (Wu and He, 2018).

    Args:
        num_groups: how many groups; they must divide `num_channels`.
        num_channels: channels of the input (batch, num_channels, *spatial).
        eps: added to the variance.
        affine: whether there are a weight and a bias.
        bias: whether there is a bias.
        dtype: of the parameters, float32 by default.
    """

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        device: object = None,
        dtype: DTypeLike | None = None,
        *,
        bias: bool = True,
    ) -> None:
        if num_groups < 1 or num_channels % num_groups:
            raise ShapeError(f"GroupNorm: num_groups={num_groups} must divide num_channels={num_channels}")
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        found = parameter_dtype(dtype, device)
        reserve(num_channels)
        self.weight = Parameter(np.ones(num_channels, found)) if affine else None
        self.bias = Parameter(np.zeros(num_channels, found)) if affine and bias else None

    def reset_parameters(self) -> None:
        """Set weight and bias to their initial values."""
        _reset(self)

    def forward(self, input: Numeric) -> Any:
        return functional.group_norm(input, self.num_groups, self.weight, self.bias, self.eps)

    def extra_repr(self) -> str:
        return f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}"


def _shape(given: Any) -> tuple[int, ...]:
    return (int(given),) if isinstance(given, int | np.integer) else tuple(given)


def _reset(module: Module) -> None:
    for name, parameter in module.named_parameters(recurse=False):
        (init.ones_ if name == "weight" else init.zeros_)(parameter)
