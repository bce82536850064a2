"""Convolutional layers: Conv1d/2d/3d and ConvTranspose1d/2d/3d."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import DTypeLike

from tinygraph.errors import SettingError, ShapeError
from tinygraph.nn import functional
from tinygraph.nn.linear import draw_fan_in
from tinygraph.nn.module import Module
from tinygraph.nn.parameter import zeros_parameter

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

if TYPE_CHECKING:
    from tinygraph.core.types import Padding, Sizes


class _Convolution(Module):
    """What convolutions and transposed convolutions share; subclasses say how many spatial dimensions."""

    dimensions: ClassVar[int]
    transposed: ClassVar[bool] = False

    def _set_up(
        self,
        channels: tuple[int, int],
        kernel_size: Sizes,
        stride: Sizes,
        padding: Padding,
        dilation: Sizes,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: object,
        dtype: DTypeLike,
    ) -> None:
        self.in_channels, self.out_channels = channels
        if groups < 1 or any(one % groups for one in channels):
            raise ShapeError(
                f"{type(self).__name__}: groups={groups} must divide in_channels={channels[0]} and "
                f"out_channels={channels[1]}"
            )
        self.kernel_size = self._each("kernel_size", kernel_size)
        self.stride = self._each("stride", stride)
        self.padding = padding if isinstance(padding, str) else self._each("padding", padding)
        self.dilation = self._each("dilation", dilation)
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = channels if self.transposed else channels[::-1]
        self.weight = zeros_parameter((first, second // groups, *self.kernel_size), dtype, device)
        self.bias = zeros_parameter(self.out_channels, dtype, device) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        draw_fan_in(self.weight, self.bias)

    def _each(self, name: str, value: Any) -> tuple[int, ...]:
        """A setting for each spatial dimension."""
        values = tuple(value) if isinstance(value, tuple | list) else (value,) * self.dimensions
        if len(values) != self.dimensions:
            raise ShapeError(
                f"{type(self).__name__}: {name}={value} needs {self.dimensions} entries, or one int"
            )
        return values

    def extra_repr(self) -> str:
        defaults = {"padding": (0, "0"), "dilation": (1,), "output_padding": (0,)}
        shown = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        ]
        for name, default in defaults.items():
            value = getattr(self, name, None)
            if value is not None and value != default[:1] * self.dimensions:
                shown.append(f"{name}={value}")
        shown += [f"groups={self.groups}"] * (self.groups != 1) + ["bias=False"] * (self.bias is None)
        return ", ".join(shown + [f"padding_mode={self.padding_mode}"] * (self.padding_mode != "zeros"))


class _Direct(_Convolution):
    """Cross-correlation of the input with the weight.

    Shapes: input (batch, in_channels, *spatial) or (in_channels, *spatial), weight (out_channels, in_channels /
    groups, *kernel_size), bias (out_channels,).
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Make a layer with new weights.

        Args:
            in_channels, out_channels: how many planes go in and come out.
            kernel_size, stride, dilation: an int, or one for each spatial dimension.
            padding: likewise, or "same" or "valid".
            groups: how many blocks of channels are convolved apart.
            bias: whether a bias is added.
            padding_mode: "zeros", "reflect", "replicate" or "circular": what lies outside.
            device: the CPU.
            dtype: of the parameters, float32 by default.

        Raises:
            ShapeError: groups that do not divide the channels.
            SettingError: an unknown padding mode, or another device.
        """
        if padding_mode != "zeros" and padding_mode not in functional.PADDING_MODES:
            known = ", ".join(["zeros", *functional.PADDING_MODES])
            raise SettingError(f"padding_mode is {padding_mode!r}; it can be {known}")
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise SettingError(f'padding is {padding!r}; it can be "same", "valid", an int or a tuple')
        channels = (in_channels, out_channels)
        self._set_up(
            channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )

    def forward(self, input: Numeric) -> Any:
        padding: Padding = self.padding
        if self.padding_mode != "zeros":
            input, padding = functional.pad(input, self._widths(), self.padding_mode), 0
        return functional.convolution(
            self.dimensions, input, self.weight, self.bias, self.stride, padding, self.dilation, self.groups
        )

    def _widths(self) -> list[int]:
        """Padding as `functional.pad` takes it: pairs, the last dimension first."""
        if self.padding == "valid":
            return [0] * 2 * self.dimensions
        widths: list[int] = []
        for i in reversed(range(self.dimensions)):
            if self.padding == "same":
                total = self.dilation[i] * (self.kernel_size[i] - 1)
                widths += [total // 2, total - total // 2]
            else:
                widths += [self.padding[i], self.padding[i]]  # type: ignore[list-item]  # ints: no string is left
        return widths


class Conv1d(_Direct):
    """Convolution of signals (batch, in_channels, length)."""

    dimensions = 1


class Conv2d(_Direct):
    """Convolution of images (batch, in_channels, rows, columns)."""

    dimensions = 2


class Conv3d(_Direct):
    """Convolution of volumes (batch, in_channels, depth, rows, columns)."""

    dimensions = 3


class _Transposed(_Convolution):
    """The adjoint of a convolution, which enlarges its input.

    Shapes: input (batch, in_channels, *spatial), weight (in_channels, out_channels / groups, *kernel_size).
    Each spatial size becomes (size - 1) * stride - 2 * padding + dilation * (kernel_size - 1) + output_padding + 1.
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        """Make a layer with new weights.

        Args:
            in_channels, out_channels: how many planes go in and come out.
            kernel_size, stride, padding, output_padding, dilation: an int, or one for each spatial dimension.
            groups: how many blocks of channels are convolved apart.
            bias: whether a bias is added.
            padding_mode: "zeros".
            device: the CPU.
            dtype: of the parameters, float32 by default.

        Raises:
            ShapeError: groups that do not divide the channels.
            SettingError: a padding mode other than "zeros", or another device.
        """
        functional.refuse(type(self).__name__, padding_mode=(padding_mode, "zeros"))
        self.output_padding = self._each("output_padding", output_padding)
        channels = (in_channels, out_channels)
        self._set_up(
            channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode, device, dtype
        )

    def forward(self, input: Numeric, output_size: Any = None) -> Any:
        """Apply to `input`; `output_size` (the spatial sizes) chooses the output padding instead."""
        output_padding = self.output_padding
        if output_size is not None:
            output_padding = self._padding_for(input.shape, tuple(output_size)[-self.dimensions :])
        return functional.convolution_transpose(
            self.dimensions, input, self.weight, self.bias, self.stride, self.padding, output_padding, self.groups,
            self.dilation,
        )  # fmt: skip

    def _padding_for(self, shape: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
        paddings: Any = self.padding
        smallest = [
            (size - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1
            for size, stride, padding, dilation, kernel in zip(
                shape[-self.dimensions :], self.stride, paddings, self.dilation, self.kernel_size, strict=True
            )
        ]
        extra = tuple(want - least for want, least in zip(wanted, smallest, strict=True))
        if any(not 0 <= one < stride for one, stride in zip(extra, self.stride, strict=True)):
            largest = [least + stride - 1 for least, stride in zip(smallest, self.stride, strict=True)]
            raise ShapeError(
                f"{type(self).__name__}: output_size={wanted} cannot be reached from an input of shape {shape}; "
                f"possible are {smallest} to {largest}"
            )
        return extra


class ConvTranspose1d(_Transposed):
    """Transposed convolution of signals (batch, in_channels, length)."""

    dimensions = 1


class ConvTranspose2d(_Transposed):
    """Transposed convolution of images (batch, in_channels, rows, columns)."""

    dimensions = 2


class ConvTranspose3d(_Transposed):
    """Transposed convolution of volumes (batch, in_channels, depth, rows, columns)."""

    dimensions = 3
