"""`form`: how a NumPy function gets a body in NumPy or ops, and what bodies share: operands as they come, refusals."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any, TypeVar

import numpy as np

from tinygraph.core.modes import CompositeName, modes, scope
from tinygraph.core.registry import numpy_name
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import require_plain
from tinygraph.core.unwatched import unwatched
from tinygraph.errors import NumpyFunctionError

Body = TypeVar("Body", bound=Callable[..., Any])

FORMS: dict[Any, Callable[..., Any]] = {}
_LATE: dict[str, list[Callable[[], None]]] = {}


def form(*functions: Any, calls_back: bool = False) -> Callable[[Body], Body]:
    """Let a function answer NumPy's, with the same arguments; its nodes are a group of NumPy's name.

    Args:
        functions: those that it answers.
        calls_back: whether it runs functions of the user's, which a capture watches.
    """

    def declare(body: Body) -> Body:
        for function in functions:
            FORMS[function] = grouped(function.__name__, body, calls_back=calls_back)
        return body

    return declare


def when_imported(module: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Let a function enter forms of an optional library's functions, once that library has been imported."""

    def declare(enter: Callable[[], None]) -> Callable[[], None]:
        _LATE.setdefault(module, []).append(enter)
        return enter

    return declare


def form_of(function: object) -> Callable[..., Any] | None:
    """What answers a function that no op stands for, if anything does."""
    from tinygraph.numpy import forms  # noqa: F401 - which enters the functions written in NumPy

    for module in [name for name in _LATE if name in sys.modules]:
        for enter in _LATE.pop(module):
            enter()
    return FORMS.get(function)


def grouped(name: str, body: Callable[..., Any], *, calls_back: bool = False) -> Callable[..., Any]:
    """A function whose nodes are one group of that name, which drawings open."""

    @wraps(body)
    def answer(*args: object, **kwargs: object) -> Any:
        rests = modes.current.capture is not None and not calls_back
        with scope(CompositeName(name)), unwatched() if rests else nullcontext():
            return body(*args, **kwargs)

    return answer


def operand(x: object) -> Any:
    """A tensor as it is; anything else as an array; nested lists with tensors inside as a stack of them."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, list | tuple) and holds_tensor(x):
        return np.stack([operand(one) for one in x])
    require_plain(x)
    return np.asarray(x)


def floating(x: Any) -> Any:
    """An operand in floating point, as NumPy divides it."""
    x = operand(x)
    return x if x.dtype.kind in "fcO" else x.astype(float)


def holds_tensor(x: object) -> bool:
    if isinstance(x, list | tuple):
        return any(map(holds_tensor, x))
    return isinstance(x, Tensor)


def value(x: object) -> Any:
    """What a result without a gradient is found from: the arrays behind tensors, in lists and tuples too.

    Raises:
        CaptureError: a program is captured, in which values are not known.
    """
    if isinstance(x, Tensor):
        return x.numpy()
    if isinstance(x, list | tuple) and holds_tensor(x):
        return type(x)(map(value, x))
    return x


def detached(x: object) -> Any:
    """A tensor as a constant; an array as it is."""
    return x.detach() if isinstance(x, Tensor) else x


def known(*xs: object) -> bool:
    """Whether there are values to look at: no program is captured, or mapped over examples, that computes them."""
    return not any(
        (isinstance(x, Tensor) and x._value is None) or (isinstance(x, list | tuple) and not known(*x))
        for x in xs
    )


def refuse(function: object, reason: str, **options: object) -> None:
    """Raise NumpyFunctionError where an option is given that a form does not honour."""
    for name, given in options.items():
        if given is not None and given is not np._NoValue and given is not False:
            raise NumpyFunctionError(f"{numpy_name(function)} on tensors does not take {name}=; {reason}")


def axis_of(axis: int, ndim: int) -> int:
    """An axis, counted from the front.

    Raises:
        AxisError: there is no such axis.
    """
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return int(axis) % ndim


def along(axis: int, *index: object) -> tuple[Any, ...]:
    """An index that stands at one axis, all of those before it."""
    return (slice(None),) * axis + index
