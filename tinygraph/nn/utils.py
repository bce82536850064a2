"""`nn.utils`, PyTorch's namespace: gradients clipped together, and parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError, ShapeError
from tinygraph.nn import parametrize as parametrize

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

parametrizations = parametrize  # PyTorch has the norms in a namespace of their own


def get_total_norm(
    tensors: Iterable[Tensor], norm_type: float = 2.0, error_if_nonfinite: bool = False
) -> Any:
    """The `norm_type`-norm of all elements of several tensors together; 0 of none.

    Raises:
        SettingError: it is not finite and `error_if_nonfinite` is set.
    """
    return _checked(_norm([read(tensor) for tensor in _several(tensors)], norm_type), error_if_nonfinite)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Any:
    """Scale the gradients of parameters, in place, so that their norm together is at most `max_norm`.

    Works inside a compiled training step too, between `backward()` and `optimizer.step()`.

    Args:
        parameters: those without a gradient are left out.
        max_norm: the largest norm allowed.
        norm_type: which norm; `float("inf")` for the largest element.
        error_if_nonfinite: whether a norm that is NaN or infinite raises; in a compiled step it cannot.

    Returns:
        the norm before.

    Raises:
        SettingError: a negative `max_norm`, or a norm that is not finite where that raises.

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0, 4.0], requires_grad=True)
    >>> (w * w / 2).sum().backward()
    >>> float(clip_grad_norm_([w], max_norm=1.0)), w.grad.numpy().round(5).tolist()
    (5.0, [0.6, 0.8])
    """
    if not max_norm >= 0:
        raise SettingError(f"clip_grad_norm_: max_norm={max_norm!r} must be at least 0")
    held = [(one, read(one.grad)) for one in _several(parameters) if one.grad is not None]
    total = _checked(_norm([gradient for _, gradient in held], norm_type), error_if_nonfinite)
    scale = ops.minimum(max_norm / (total + 1e-6), 1.0)
    for one, gradient in held:
        one.grad = _tensor(gradient * _cast(scale, gradient.dtype))
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Clip each element of the gradients, in place, to [-clip_value, clip_value]."""
    for one in _several(parameters):
        if one.grad is not None:
            one.grad = _tensor(ops.clip(read(one.grad), -clip_value, clip_value))


def parameters_to_vector(parameters: Iterable[Tensor]) -> Any:
    """All elements as one vector, which carries gradients back.

    >>> from tinygraph.nn import Linear
    >>> parameters_to_vector(Linear(3, 2).parameters()).shape
    (8,)
    """
    return ops.concatenate(*[ops.reshape(one, shape=(-1,)) for one in parameters], axis=0)


def vector_to_parameters(vec: Numeric, parameters: Iterable[Tensor]) -> None:
    """Write the elements of a vector into parameters, in order.

    Raises:
        ShapeError: the vector is longer or shorter than they are together; nothing is written.
    """
    held = list(parameters)
    total = sum(one.size for one in held)
    if vec.shape != (total,):
        raise ShapeError(f"vector_to_parameters: {total} elements need a vector ({total},), not {vec.shape}")
    values = vec.detach() if isinstance(vec, Tensor) else vec
    place = 0
    for one in held:
        write(one, ops.reshape(values[place : place + one.size], shape=one.shape))
        place += one.size


def _several(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameters] if isinstance(parameters, Tensor) else list(parameters)


def _norm(values: list[Any], norm_type: float) -> Any:
    """The norm of all elements: of the norms of the arrays."""
    if not values:
        return np.float64(0.0)
    each = [ops.norm(ops.reshape(value, shape=(-1,)), ord=norm_type) for value in values]
    return ops.norm(ops.stack(*each, axis=0), ord=norm_type)


def _checked(total: Any, must_be_finite: bool) -> Any:
    if must_be_finite and not bool(np.isfinite(total)):
        raise SettingError(
            f"the norm of all gradients is {total}: tg.why(parameter, loss) says where the first such value was made"
        )
    return total


def _cast(number: Any, dtype: np.dtype[Any]) -> Any:
    return number.astype(np.empty(0, dtype).real.dtype)


def _tensor(value: Any) -> Tensor:
    return value if isinstance(value, Tensor) else Tensor(value)
