"""NumPy functions called on tensors: what `Tensor.__array_ufunc__` and `.__array_function__` lead to.

What an op cannot honour (`out=`, `where=`, `dtype=` ...) is refused by name.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.core.registry import numpy_name
from tinygraph.errors import NumpyFunctionError
from tinygraph.numpy.adapters import adapter_of
from tinygraph.numpy.questions import WITHOUT_VALUE

_DETACH = "call it on tensor.detach().numpy() if no gradient is wanted"

# What a ufunc's methods are called elsewhere: np.add.reduce is np.sum.
_REDUCTIONS = {np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min}
_ACCUMULATIONS = {np.add: np.cumsum, np.multiply: np.cumprod}


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer `Tensor.__array_ufunc__`."""
    name = numpy_name(ufunc)
    if kwargs.get("out") is not None:
        raise NumpyFunctionError(
            f"{name}(..., out=...) would write into an array that the graph has read; use the returned tensor instead"
        )
    if method == "__call__":
        answer = adapter_of(ufunc)
        for option in kwargs.keys() - _settings(answer) if kwargs else ():
            raise NumpyFunctionError(
                f"{name} on tensors does not take {option}=; use tg.ops.where for masks and .astype for dtypes, or "
                f"{_DETACH}"
            )
        return answer(*inputs, **kwargs)
    if method == "reduce" and ufunc in _REDUCTIONS:
        kwargs.setdefault("axis", inputs[1] if len(inputs) > 1 else 0)
        return adapter_of(_REDUCTIONS[ufunc])(inputs[0], **kwargs)
    if method == "accumulate" and ufunc in _ACCUMULATIONS:
        kwargs.setdefault("axis", inputs[1] if len(inputs) > 1 else 0)
        return adapter_of(_ACCUMULATIONS[ufunc])(inputs[0], **kwargs)
    if method == "outer" and len(inputs) == 2 and not kwargs:
        left, right = inputs
        return adapter_of(ufunc)(left[(..., *(None,) * np.ndim(right))], right)
    raise NumpyFunctionError(
        f"{name}.{method} has no differentiable op; write it with reductions and indexing, or {_DETACH}"
    )


def _settings(answer: Callable[..., Any]) -> frozenset[str]:
    """The options of a ufunc that what answers it has as settings, such as the axis of np.vecdot."""
    parameters = inspect.signature(getattr(answer, "forward", answer)).parameters.values()
    return frozenset(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)


def call_function(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer `Tensor.__array_function__`."""
    answer = WITHOUT_VALUE.get(function) or adapter_of(function)
    try:
        return answer(*args, **kwargs)
    except TypeError as error:
        refused = _not_taken(answer, args, kwargs)
        if refused is None:
            raise
        raise NumpyFunctionError(f"{numpy_name(function)} on tensors: {refused}; or {_DETACH}") from error


def _not_taken(answer: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str | None:
    """What is wrong if a form does not have the arguments of a call."""
    signature = inspect.signature(answer)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        return f"{error}, the op behind it takes {signature}"
    return None
