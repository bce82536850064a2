"""Padding layers: zeros, a constant, or the image itself around (batch, channels, *spatial)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from tinygraph.errors import SettingError
from tinygraph.nn import functional
from tinygraph.nn.module import Module

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class _Padding(Module):
    """Widen the spatial dimensions.

    Args:
        padding: an int for every side, or (before, after) of the last dimension, then of the one before it, and so on.
    """

    dimensions: ClassVar[int]
    mode: ClassVar[str]
    value: float | None = None

    def __init__(self, padding: Any) -> None:
        widths = tuple(padding) if isinstance(padding, tuple | list) else (padding,) * (2 * self.dimensions)
        if len(widths) != 2 * self.dimensions:
            raise SettingError(
                f"{type(self).__name__}: padding={padding!r} must be an int or {2 * self.dimensions} widths"
            )
        self.padding = widths

    def forward(self, input: Numeric) -> Any:
        return functional.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}"


class _ConstantPad(_Padding):
    """A constant around: an int for every side, or widths, and the value."""

    mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ZeroPad1d(_Padding):
    """Zeros around signals (batch, channels, length)."""

    dimensions = 1
    mode = "constant"


class ZeroPad2d(_Padding):
    """Zeros around images (batch, channels, rows, columns)."""

    dimensions = 2
    mode = "constant"


class ZeroPad3d(_Padding):
    """Zeros around volumes (batch, channels, depth, rows, columns)."""

    dimensions = 3
    mode = "constant"


class ReflectionPad1d(_Padding):
    """The reflected elements around signals (batch, channels, length)."""

    dimensions = 1
    mode = "reflect"


class ReflectionPad2d(_Padding):
    """The reflected elements around images (batch, channels, rows, columns)."""

    dimensions = 2
    mode = "reflect"


class ReflectionPad3d(_Padding):
    """The reflected elements around volumes (batch, channels, depth, rows, columns)."""

    dimensions = 3
    mode = "reflect"


class ReplicationPad1d(_Padding):
    """The outermost elements around signals (batch, channels, length)."""

    dimensions = 1
    mode = "replicate"


class ReplicationPad2d(_Padding):
    """The outermost elements around images (batch, channels, rows, columns)."""

    dimensions = 2
    mode = "replicate"


class ReplicationPad3d(_Padding):
    """The outermost elements around volumes (batch, channels, depth, rows, columns)."""

    dimensions = 3
    mode = "replicate"


class CircularPad1d(_Padding):
    """The elements of the other side around signals (batch, channels, length)."""

    dimensions = 1
    mode = "circular"


class CircularPad2d(_Padding):
    """The elements of the other side around images (batch, channels, rows, columns)."""

    dimensions = 2
    mode = "circular"


class CircularPad3d(_Padding):
    """The elements of the other side around volumes (batch, channels, depth, rows, columns)."""

    dimensions = 3
    mode = "circular"


class ConstantPad1d(_ConstantPad):
    """A constant around signals (batch, channels, length)."""

    dimensions = 1


class ConstantPad2d(_ConstantPad):
    """A constant around images (batch, channels, rows, columns)."""

    dimensions = 2


class ConstantPad3d(_ConstantPad):
    """A constant around volumes (batch, channels, depth, rows, columns)."""

    dimensions = 3
