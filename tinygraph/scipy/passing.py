"""What a module of `tg.scipy` does with names that are not its own: SciPy's function, on tensors where anything answers
it there, else on plain values alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.tensor import Tensor
from tinygraph.errors import NumpyFunctionError
from tinygraph.numpy.form import form_of, holds_tensor, operand, value

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def scipy_module(name: str) -> Any:
    """A module of SciPy.

    Raises:
        ImportError: SciPy is not installed.
    """
    try:
        return importlib.import_module(f"scipy.{name}")
    except ImportError as error:
        raise ImportError(f"scipy.{name} needs SciPy: pip install 'tinygraph-autodiff[scipy]'") from error


def double(x: object) -> Any:
    """An operand in double precision at least, in which SciPy computes what it does not compute in single."""
    given = operand(x)
    return given.astype(np.result_type(given.dtype, np.float64))


def passed_on(module: str, name: str) -> Any:
    """SciPy's attribute of a name, as something to call with tensors.

    Raises:
        AttributeError: SciPy has no such attribute.
    """
    if name.startswith("_"):
        raise AttributeError(name)
    found = getattr(scipy_module(module), name)
    if isinstance(found, np.ufunc) or not callable(found):
        return found
    answer = form_of(found)
    return _on_values(found, f"scipy.{module}.{name}") if answer is None else answer


def _on_values(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    @wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if any(map(_wants_gradient, (*args, *kwargs.values()))):
            raise NumpyFunctionError(
                f"{name} has no derivative here, and tinygraph never drops a gradient silently: write it with NumPy, "
                f"write an op for it (@tinygraph.plugin.op), or, if no gradient is wanted, pass tensor.detach()"
            )
        return function(*map(value, args), **{key: value(one) for key, one in kwargs.items()})

    return called


def _wants_gradient(x: Numeric) -> bool:
    if isinstance(x, list | tuple):
        return holds_tensor(x) and any(map(_wants_gradient, x))
    return isinstance(x, Tensor) and x.requires_grad
