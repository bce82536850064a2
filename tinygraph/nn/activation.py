"""Activations as modules, and the two layers that only reshape: Flatten and Unflatten."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.registry import ops
from tinygraph.errors import ShapeError
from tinygraph.nn import functional
from tinygraph.nn.module import Module
from tinygraph.nn.parameter import Parameter, parameter_dtype

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class _Activation(Module):
    """A function of one input and of the attributes that `settings` names, which it shows. `inplace` is ignored."""

    function: ClassVar[Callable[..., Any]]
    settings: ClassVar[tuple[str, ...]] = ()

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def forward(self, input: Numeric) -> Any:
        return type(self).function(input, **{name: getattr(self, name) for name in self.settings})

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={getattr(self, name)!r}" for name in self.settings)


class _Plain(_Activation):
    """An activation without settings, and without `inplace`."""

    def __init__(self) -> None:
        self.inplace = False


class ReLU(_Activation):
    """max(input, 0); the derivative at 0 is 0. `inplace` changes nothing."""

    function = staticmethod(functional.relu)


class ReLU6(_Activation):
    """min(max(input, 0), 6)."""

    function = staticmethod(functional.relu6)


class SiLU(_Activation):
    """input * sigmoid(input)."""

    function = staticmethod(functional.silu)


class Mish(_Activation):
    """input * tanh(softplus(input))  (Misra, 2019)."""

    function = staticmethod(functional.mish)


class SELU(_Activation):
    """1.0507 * elu(input, 1.6733), which keeps mean 0 and variance 1 (Klambauer et al., 2017)."""

    function = staticmethod(functional.selu)


class Hardswish(_Activation):
    """input * relu6(input + 3) / 6  (Howard et al., 2019)."""

    function = staticmethod(functional.hardswish)


class Hardsigmoid(_Activation):
    """relu6(input + 3) / 6."""

    function = staticmethod(functional.hardsigmoid)


class Sigmoid(_Plain):
    """1 / (1 + exp(-input))."""

    function = staticmethod(functional.sigmoid)


class Tanh(_Plain):
    """The hyperbolic tangent."""

    function = staticmethod(functional.tanh)


class LogSigmoid(_Plain):
    """log(sigmoid(input))."""

    function = staticmethod(functional.logsigmoid)


class Softsign(_Plain):
    """input / (1 + |input|)."""

    function = staticmethod(functional.softsign)


class Tanhshrink(_Plain):
    """input - tanh(input)."""

    function = staticmethod(functional.tanhshrink)


class LeakyReLU(_Activation):
    """input where positive, else negative_slope * input."""

    function = staticmethod(functional.leaky_relu)
    settings = ("negative_slope",)

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        self.inplace = inplace
        self.negative_slope = negative_slope


class ELU(_Activation):
    """input where positive, else alpha * (exp(input) - 1)."""

    function = staticmethod(functional.elu)
    settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.inplace = inplace
        self.alpha = alpha


class CELU(_Activation):
    """input where positive, else alpha * (exp(input / alpha) - 1)  (Barron, 2017)."""

    function = staticmethod(functional.celu)
    settings = ("alpha",)

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        self.inplace = inplace
        self.alpha = alpha


class GELU(_Activation):
    """input * Phi(input), exactly or with approximate="tanh"."""

    function = staticmethod(functional.gelu)
    settings = ("approximate",)

    def __init__(self, approximate: str = "none") -> None:
        self.inplace = False
        self.approximate = approximate


class Softplus(_Activation):
    """log(1 + exp(beta * input)) / beta, linear where beta * input exceeds the threshold."""

    function = staticmethod(functional.softplus)
    settings = ("beta", "threshold")

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        self.inplace = False
        self.beta = beta
        self.threshold = threshold


class Hardtanh(_Activation):
    """input kept between `min_val` and `max_val`."""

    function = staticmethod(functional.hardtanh)
    settings = ("min_val", "max_val")

    def __init__(
        self,
        min_val: float = -1.0,
        max_val: float = 1.0,
        inplace: bool = False,
        min_value: float | None = None,
        max_value: float | None = None,
    ) -> None:
        self.inplace = inplace
        self.min_val = min_val if min_value is None else min_value  # the older names of both, in PyTorch
        self.max_val = max_val if max_value is None else max_value


class Hardshrink(_Activation):
    """input where it is larger than `lambd` in size, else 0."""

    function = staticmethod(functional.hardshrink)
    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        self.inplace = False
        self.lambd = lambd


class Softshrink(_Activation):
    """input moved by `lambd` towards 0, and 0 where it would pass it."""

    function = staticmethod(functional.softshrink)
    settings = ("lambd",)

    def __init__(self, lambd: float = 0.5) -> None:
        self.inplace = False
        self.lambd = lambd


class Threshold(_Activation):
    """input where it is above `threshold`, else `value`."""

    function = staticmethod(functional.threshold)
    settings = ("threshold", "value")

    def __init__(self, threshold: float, value: float, inplace: bool = False) -> None:
        self.inplace = inplace
        self.threshold = threshold
        self.value = value


class GLU(_Activation):
    """a * sigmoid(b), where a and b are the halves of input along `dim`  (Dauphin et al., 2017)."""

    function = staticmethod(functional.glu)
    settings = ("dim",)

    def __init__(self, dim: int = -1) -> None:
        self.inplace = False
        self.dim = dim


class Softmax(_Activation):
    """exp(input) / sum(exp(input)) along `dim`.

    >>> import numpy as np
    >>> Softmax(dim=-1)(np.array([0.0, 0.0]))
    tensor([0.5, 0.5])
    """

    function = staticmethod(functional.softmax)
    settings = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        self.inplace = False
        self.dim = dim


class LogSoftmax(_Activation):
    """log(softmax(input)) along `dim`."""

    function = staticmethod(functional.log_softmax)
    settings = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        self.inplace = False
        self.dim = dim


class Softmin(_Activation):
    """softmax(-input) along `dim`."""

    function = staticmethod(functional.softmin)
    settings = ("dim",)

    def __init__(self, dim: int | None = None) -> None:
        self.inplace = False
        self.dim = dim


class Softmax2d(_Plain):
    """softmax over the channels of (batch, channels, height, width) or (channels, height, width)."""

    def forward(self, input: Numeric) -> Any:
        if input.ndim not in (3, 4):
            raise ShapeError(
                f"Softmax2d: input has shape {input.shape}; it needs (batch, channels, height, width)"
            )
        return functional.softmax(input, -3)


class PReLU(Module):
    """input where positive, else weight * input, with one weight for all or one a channel (He et al., 2015).

    Args:
        num_parameters: 1, or the number of channels.
        init: the weight at first.
        device: the CPU.
        dtype: of the weight, float32 by default.
    """

    def __init__(
        self,
        num_parameters: int = 1,
        init: float = 0.25,
        device: object = None,
        dtype: DTypeLike | None = None,
    ) -> None:
        self.num_parameters = num_parameters
        self.init = init
        self.weight = Parameter(np.full(num_parameters, init, parameter_dtype(dtype, device)))

    def reset_parameters(self) -> None:
        """Set the weight to its first value."""
        self.weight[...] = self.init

    def forward(self, input: Numeric) -> Any:
        return functional.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


class RReLU(Module):
    """input where positive, else times a slope: drawn between the bounds in training, their mean otherwise."""

    def __init__(self, lower: float = 1 / 8, upper: float = 1 / 3, inplace: bool = False) -> None:
        self.lower, self.upper = lower, upper
        self.inplace = inplace

    def forward(self, input: Numeric) -> Any:
        return functional.rrelu(input, self.lower, self.upper, self.training)

    def extra_repr(self) -> str:
        return f"lower={self.lower}, upper={self.upper}"


class Flatten(Module):
    """Join the axes from `start_dim` to `end_dim` into one; by default all but the batch.

    >>> import numpy as np
    >>> Flatten()(np.zeros((2, 3, 4))).shape
    (2, 12)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = start_dim
        self.end_dim = end_dim

    def forward(self, input: Numeric) -> Any:
        return ops.flatten(input, start_axis=self.start_dim, end_axis=self.end_dim)

    def extra_repr(self) -> str:
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Unflatten(Module):
    """Split axis `dim` into axes of the given sizes.

    >>> import numpy as np
    >>> Unflatten(1, (3, 4))(np.zeros((2, 12))).shape
    (2, 3, 4)
    """

    def __init__(self, dim: int, unflattened_size: tuple[int, ...]) -> None:
        self.dim = dim
        self.unflattened_size = tuple(unflattened_size)

    def forward(self, input: Numeric) -> Any:
        axis = self.dim % input.ndim
        return ops.reshape(
            input, shape=(*input.shape[:axis], *self.unflattened_size, *input.shape[axis + 1 :])
        )

    def extra_repr(self) -> str:
        return f"dim={self.dim}, unflattened_size={self.unflattened_size}"
