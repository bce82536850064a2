"""Lazy layers: they read the size of their input off the first one they meet, and become the layer they stand for."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar

import numpy as np

from tinygraph.errors import SettingError
from tinygraph.nn.convolution import (
    Conv1d,
    Conv2d,
    Conv3d,
    ConvTranspose1d,
    ConvTranspose2d,
    ConvTranspose3d,
)
from tinygraph.nn.linear import Linear
from tinygraph.nn.module import Module
from tinygraph.nn.normalization import (
    BatchNorm1d,
    BatchNorm2d,
    BatchNorm3d,
    InstanceNorm1d,
    InstanceNorm2d,
    InstanceNorm3d,
)


class _Lazy(Module):
    """A layer whose first argument is found when it is called first; it has no parameters before.

    Attributes:
        made: the class that it becomes.
        axis: the axis of the input whose size that argument is, counted from the end.
    """

    made: ClassVar[type[Module]]
    axis: ClassVar[int]

    def __init__(self, *args: object, **kwargs: object) -> None:
        self._arguments = (args, kwargs)

    def __init_subclass__(cls) -> None:
        """Let it take what the class that it becomes takes, without the first argument."""

        def init(self: _Lazy, *args: object, **kwargs: object) -> None:
            _Lazy.__init__(self, *args, **kwargs)

        of_self, _, *others = inspect.signature(cls.made.__init__).parameters.values()
        init.__signature__ = inspect.Signature([of_self, *others])  # type: ignore[attr-defined]
        cls.__init__ = init  # type: ignore[method-assign]

    def __call__(self, input: Any, *args: Any, **kwargs: Any) -> Any:
        given, named = self._arguments
        size = int(np.shape(input)[self.axis])
        training, scope = self.training, self._scope
        self.__dict__.clear()
        object.__setattr__(self, "__class__", type(self).made)
        Module.train(self, training)
        self.__init__(size, *given, **named)  # type: ignore[misc]  # it is the other class by now
        if scope:
            self._place(scope)
        return self(input, *args, **kwargs)

    def _make_later(self, dtype: np.dtype[Any]) -> None:
        args, kwargs = self._arguments
        self._arguments = args, {**kwargs, "dtype": dtype}

    def _require_parameters(self) -> None:
        raise SettingError(
            f"{type(self).__name__} has no parameters before its first call: call the model once, on a batch, before "
            f"its parameters are given to an optimizer"
        )

    def extra_repr(self) -> str:
        given, named = self._arguments
        return ", ".join([*map(repr, given), *(f"{name}={value!r}" for name, value in named.items())])


class LazyLinear(_Lazy):
    """`Linear` whose number of input features is read off its first input."""

    made = Linear
    axis = -1


class LazyConv1d(_Lazy):
    """`Conv1d` whose number of input channels is read off its first input."""

    made = Conv1d
    axis = -2


class LazyConv2d(_Lazy):
    """`Conv2d` whose number of input channels is read off its first input."""

    made = Conv2d
    axis = -3


class LazyConv3d(_Lazy):
    """`Conv3d` whose number of input channels is read off its first input."""

    made = Conv3d
    axis = -4


class LazyConvTranspose1d(_Lazy):
    """`ConvTranspose1d` whose number of input channels is read off its first input."""

    made = ConvTranspose1d
    axis = -2


class LazyConvTranspose2d(_Lazy):
    """`ConvTranspose2d` whose number of input channels is read off its first input."""

    made = ConvTranspose2d
    axis = -3


class LazyConvTranspose3d(_Lazy):
    """`ConvTranspose3d` whose number of input channels is read off its first input."""

    made = ConvTranspose3d
    axis = -4


class LazyBatchNorm1d(_Lazy):
    """`BatchNorm1d` whose number of input features is read off its first input."""

    made = BatchNorm1d
    axis = -2


class LazyBatchNorm2d(_Lazy):
    """`BatchNorm2d` whose number of input features is read off its first input."""

    made = BatchNorm2d
    axis = -3


class LazyBatchNorm3d(_Lazy):
    """`BatchNorm3d` whose number of input features is read off its first input."""

    made = BatchNorm3d
    axis = -4


class LazyInstanceNorm1d(_Lazy):
    """`InstanceNorm1d` whose number of input features is read off its first input."""

    made = InstanceNorm1d
    axis = -2


class LazyInstanceNorm2d(_Lazy):
    """`InstanceNorm2d` whose number of input features is read off its first input."""

    made = InstanceNorm2d
    axis = -3


class LazyInstanceNorm3d(_Lazy):
    """`InstanceNorm3d` whose number of input features is read off its first input."""

    made = InstanceNorm3d
    axis = -4
