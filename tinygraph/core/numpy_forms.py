"""NumPy as the front end: how a NumPy function called on tensors reaches the op that stands for it.

NumPy's own argument forms are translated here, once; what an op cannot honour (`out=`, `where=`, `dtype=` ...) is
refused by name. Ops whose form differs more attach an adapter of their own with `@op.numpy(np.function)`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import numpy_name, registry
from tinygraph.errors import NumpyFunctionError

if TYPE_CHECKING:
    from tinygraph.core.op import Op

_DETACH = "call it on tensor.detach().numpy() if no gradient is wanted"

# What a ufunc's methods are called elsewhere: np.add.reduce is np.sum.
_REDUCTIONS = {np.add: np.sum, np.multiply: np.prod, np.maximum: np.max, np.minimum: np.min}
_ACCUMULATIONS = {np.add: np.cumsum, np.multiply: np.cumprod}


def default_adapter(op: Op, function: Any) -> Callable[..., Any]:
    """An adapter for a NumPy function whose first parameters are the op's operands and whose others bear the names
    of its settings."""
    if isinstance(function, np.ufunc):
        return op
    signature = inspect.signature(function)
    count = len(op.signature.operands)

    def adapter(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs).arguments
        operands, settings = [], {}
        for position, (name, parameter) in enumerate(signature.parameters.items()):
            if name not in bound:
                continue
            value = bound[name]
            if position < count:
                operands.append(value)
            elif name in op.signature.settings:
                if value is not np._NoValue:
                    settings[name] = value
            elif value is not parameter.default and value is not np._NoValue:
                raise NumpyFunctionError(
                    f"{numpy_name(function)} on tensors does not take {name}=; op {op.name!r} has the settings "
                    f"{', '.join(op.signature.settings) or 'none'}"
                )
        return op(*operands, **settings)

    return adapter


def call_ufunc(ufunc: np.ufunc, method: str, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer `Tensor.__array_ufunc__`."""
    name = f"np.{ufunc.__name__}"
    if kwargs.get("out") is not None:
        raise NumpyFunctionError(
            f"{name}(..., out=...) would write into an array that the graph has read; use the returned tensor instead"
        )
    if method == "__call__":
        answer = registry.numpy_call(ufunc)
        for option in kwargs.keys() - _settings(answer) if kwargs else ():
            raise NumpyFunctionError(
                f"{name} on tensors does not take {option}=; use tg.ops.where for masks and .astype for dtypes, or "
                f"{_DETACH}"
            )
        return answer(*inputs, **kwargs)
    if method == "reduce" and ufunc in _REDUCTIONS:
        kwargs.setdefault("axis", inputs[1] if len(inputs) > 1 else 0)
        return registry.numpy_call(_REDUCTIONS[ufunc])(inputs[0], **kwargs)
    if method == "accumulate" and ufunc in _ACCUMULATIONS:
        kwargs.setdefault("axis", inputs[1] if len(inputs) > 1 else 0)
        return registry.numpy_call(_ACCUMULATIONS[ufunc])(inputs[0], **kwargs)
    if method == "outer" and len(inputs) == 2 and not kwargs:
        left, right = inputs
        return registry.numpy_call(ufunc)(left[(..., *(None,) * np.ndim(right))], right)
    raise NumpyFunctionError(
        f"{name}.{method} has no differentiable op; write it with reductions and indexing, or {_DETACH}"
    )


def _settings(answer: Any) -> frozenset[str]:
    """The options of a ufunc that what answers it has as settings, such as the axis of np.vecdot."""
    parameters = inspect.signature(getattr(answer, "forward", answer)).parameters.values()
    return frozenset(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)


def call_function(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer `Tensor.__array_function__`."""
    answer = _WITHOUT_VALUE.get(function) or registry.numpy_call(function)
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


# Questions about a tensor that its type answers, or whose answer carries no gradient.
_WITHOUT_VALUE: dict[Any, Callable[..., Any]] = {
    np.shape: lambda x: x.shape,
    np.ndim: lambda x: x.ndim,
    np.size: lambda x, axis=None: x.size if axis is None else x.shape[axis],
    np.result_type: lambda *xs: np.result_type(*(x.dtype if hasattr(x, "requires_grad") else x for x in xs)),
    np.iscomplexobj: lambda x: x.dtype.kind == "c",
    np.isrealobj: lambda x: x.dtype.kind != "c",
    np.zeros_like: lambda x, dtype=None, shape=None: np.zeros(
        x.shape if shape is None else shape, dtype or x.dtype
    ),
    np.ones_like: lambda x, dtype=None, shape=None: np.ones(
        x.shape if shape is None else shape, dtype or x.dtype
    ),
    np.full_like: lambda x, fill_value, dtype=None, shape=None: np.full(
        x.shape if shape is None else shape, fill_value, dtype or x.dtype
    ),
    np.empty_like: lambda x, dtype=None, shape=None: np.empty(
        x.shape if shape is None else shape, dtype or x.dtype
    ),
    np.array_repr: lambda x, *args, **kwargs: repr(x),
    np.array_str: lambda x, *args, **kwargs: str(x),
    np.allclose: lambda a, b, *args, **kwargs: np.allclose(_value(a), _value(b), *args, **kwargs),
    np.array_equal: lambda a, b, *args, **kwargs: np.array_equal(_value(a), _value(b), *args, **kwargs),
    np.isclose: lambda a, b, *args, **kwargs: np.isclose(_value(a), _value(b), *args, **kwargs),
    np.shares_memory: lambda a, b, *args: np.shares_memory(_value(a), _value(b), *args),
    np.may_share_memory: lambda a, b, *args: np.may_share_memory(_value(a), _value(b), *args),
}


def _value(x: Any) -> Any:
    return x.numpy() if hasattr(x, "requires_grad") else x
