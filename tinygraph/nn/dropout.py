"""Dropout: of elements, of whole channels, and for selu."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from tinygraph.errors import SettingError
from tinygraph.nn import functional
from tinygraph.nn.module import Module

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class Dropout(Module):
    """In training, zero each element with probability p and scale the others by 1 / (1 - p); else nothing.

    Draws come from the library's generator (`tg.manual_seed`).

    Raises:
        SettingError: p outside [0, 1].
    """

    function: ClassVar[Callable[..., Any]] = staticmethod(functional.dropout)

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        if not 0 <= p <= 1:
            raise SettingError(f"{type(self).__name__}: p is {p}; a probability is from 0 to 1")
        self.p = p
        self.inplace = inplace

    def forward(self, input: Numeric) -> Any:
        return type(self).function(input, self.p, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout1d(Dropout):
    """`Dropout` of whole channels of (batch, channels, length)."""

    function = staticmethod(functional.dropout1d)


class Dropout2d(Dropout):
    """`Dropout` of whole channels of (batch, channels, height, width)."""

    function = staticmethod(functional.dropout2d)


class Dropout3d(Dropout):
    """`Dropout` of whole channels of (batch, channels, depth, height, width)."""

    function = staticmethod(functional.dropout3d)


class AlphaDropout(Dropout):
    """Set elements to what selu ends at with probability p, keeping mean 0 and variance 1 (Klambauer et al., 2017)."""

    function = staticmethod(functional.alpha_dropout)


class FeatureAlphaDropout(Dropout):
    """`AlphaDropout` of whole channels (batch, channels, ...)."""

    function = staticmethod(functional.feature_alpha_dropout)
