"""Pooling layers: maximum, mean or norm of windows, the same over an even division, and the way back from maxima."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from tinygraph.errors import SettingError
from tinygraph.nn import functional
from tinygraph.nn.module import Module

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.tensor import Tensor
    from tinygraph.core.types import Padding, Sizes


class _MaxPool(Module):
    """The maximum of each window; padding never wins. Shapes: (batch, channels, *spatial) or (channels, *spatial)."""

    dimensions: ClassVar[int]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        """Make a layer.

        Args:
            kernel_size, padding, dilation: an int, or one for each spatial dimension.
            stride: `kernel_size` by default.
            return_indices: return a pair, of the maxima and their flat positions, which `MaxUnpool` takes.
            ceil_mode: whether a last window that sticks out counts.
        """
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def forward(self, input: Numeric) -> Any:
        return functional.max_pool(
            self.dimensions, input, self.kernel_size, self.stride, self.padding, self.dilation, self.ceil_mode,
            self.return_indices,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPool):
    """The maximum of each window of signals (batch, channels, length)."""

    dimensions = 1


class MaxPool2d(_MaxPool):
    """The maximum of each window of images (batch, channels, rows, columns)."""

    dimensions = 2


class MaxPool3d(_MaxPool):
    """The maximum of each window of volumes (batch, channels, depth, rows, columns)."""

    dimensions = 3


class _AvgPool(Module):
    """The mean of each window. Shapes: (batch, channels, *spatial) or (channels, *spatial)."""

    dimensions: ClassVar[int]

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Padding = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        """Make a layer.

        Args:
            kernel_size, padding: an int, or one for each spatial dimension.
            stride: `kernel_size` by default.
            ceil_mode: whether a last window that sticks out counts.
            count_include_pad: whether padding counts as zeros.
            divisor_override: what sums are divided by instead of a window's size.
        """
        self.divisor_override = divisor_override
        self.kernel_size = kernel_size
        self.stride = kernel_size if stride is None else stride
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input: Numeric) -> Any:
        return functional.avg_pool(
            self.dimensions,
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPool):
    """The mean of each window of signals (batch, channels, length)."""

    dimensions = 1


class AvgPool2d(_AvgPool):
    """The mean of each window of images (batch, channels, rows, columns)."""

    dimensions = 2


class AvgPool3d(_AvgPool):
    """The mean of each window of volumes (batch, channels, depth, rows, columns)."""

    dimensions = 3


class _AdaptiveAvgPool(Module):
    """Means of windows that divide each spatial dimension into `output_size` parts; None keeps a dimension."""

    dimensions: ClassVar[int]

    def __init__(self, output_size: Sizes) -> None:
        self.output_size = output_size

    def forward(self, input: Numeric) -> Any:
        return functional.adaptive_avg_pool(self.dimensions, input, self.output_size)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPool):
    """Means over an even division of signals (batch, channels, length)."""

    dimensions = 1


class AdaptiveAvgPool2d(_AdaptiveAvgPool):
    """Means over an even division of images (batch, channels, rows, columns)."""

    dimensions = 2


class AdaptiveAvgPool3d(_AdaptiveAvgPool):
    """Means over an even division of volumes (batch, channels, depth, rows, columns)."""

    dimensions = 3


class _AdaptiveMaxPool(Module):
    """Maxima of windows that divide each spatial dimension into `output_size` parts; None keeps a dimension."""

    dimensions: ClassVar[int]

    def __init__(self, output_size: Sizes, return_indices: bool = False) -> None:
        self.output_size = output_size
        self.return_indices = return_indices

    def forward(self, input: Numeric) -> Any:
        return functional.adaptive_max_pool(self.dimensions, input, self.output_size, self.return_indices)

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class _LPPool(Module):
    """The `norm_type`-norm of each window."""

    dimensions: ClassVar[int]

    def __init__(
        self, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None, ceil_mode: bool = False
    ) -> None:
        self.norm_type, self.kernel_size, self.ceil_mode = norm_type, kernel_size, ceil_mode
        self.stride = kernel_size if stride is None else stride

    def forward(self, input: Numeric) -> Any:
        return functional.lp_pool(
            self.dimensions, input, self.norm_type, self.kernel_size, self.stride, self.ceil_mode
        )

    def extra_repr(self) -> str:
        return f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}"


class _MaxUnpool(Module):
    """Maxima put back at the positions that a max pool with `return_indices=True` gave, zeros elsewhere."""

    dimensions: ClassVar[int]

    def __init__(self, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0) -> None:
        self.kernel_size, self.padding = kernel_size, padding
        self.stride = kernel_size if stride is None else stride

    def forward(self, input: Numeric, indices: Numeric, output_size: Any = None) -> Any:
        return functional.max_unpool(
            self.dimensions, input, indices, self.kernel_size, self.stride, self.padding, output_size
        )

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveMaxPool1d(_AdaptiveMaxPool):
    """Maxima over an even division of signals (batch, channels, length)."""

    dimensions = 1


class AdaptiveMaxPool2d(_AdaptiveMaxPool):
    """Maxima over an even division of images (batch, channels, rows, columns)."""

    dimensions = 2


class AdaptiveMaxPool3d(_AdaptiveMaxPool):
    """Maxima over an even division of volumes (batch, channels, depth, rows, columns)."""

    dimensions = 3


class LPPool1d(_LPPool):
    """Norms of windows of signals (batch, channels, length)."""

    dimensions = 1


class LPPool2d(_LPPool):
    """Norms of windows of images (batch, channels, rows, columns)."""

    dimensions = 2


class LPPool3d(_LPPool):
    """Norms of windows of volumes (batch, channels, depth, rows, columns)."""

    dimensions = 3


class MaxUnpool1d(_MaxUnpool):
    """Maxima put back into signals (batch, channels, length)."""

    dimensions = 1


class MaxUnpool2d(_MaxUnpool):
    """Maxima put back into images (batch, channels, rows, columns)."""

    dimensions = 2


class MaxUnpool3d(_MaxUnpool):
    """Maxima put back into volumes (batch, channels, depth, rows, columns)."""

    dimensions = 3


class _FractionalMaxPool(Module):
    """Maxima of windows spread over each axis by random numbers (Graham, 2014), drawn in evaluation as well."""

    dimensions: ClassVar[int]
    _random_samples: Tensor | None

    def __init__(
        self,
        kernel_size: Sizes,
        output_size: Sizes | None = None,
        output_ratio: float | Sequence[float] | None = None,
        return_indices: bool = False,
        _random_samples: object = None,
    ) -> None:
        if (output_size is None) == (output_ratio is None):
            raise SettingError(f"{type(self).__name__} takes either output_size or output_ratio")
        self.kernel_size, self.output_size, self.output_ratio = kernel_size, output_size, output_ratio
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)

    def forward(self, input: Numeric) -> Any:
        return functional.fractional_max_pool(
            self.dimensions, input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            self._random_samples,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPool):
    """Fractional max pooling of images (batch, channels, height, width)."""

    dimensions = 2


class FractionalMaxPool3d(_FractionalMaxPool):
    """Fractional max pooling of volumes (batch, channels, depth, height, width)."""

    dimensions = 3
