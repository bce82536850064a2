"""scipy.integrate on tensors: integrals of samples, and initial value problems by the adjoint equation."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.numpy.form import grouped, operand
from tinygraph.scipy.passing import double, passed_on

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def __getattr__(name: str) -> Any:
    return passed_on("integrate", name)


def trapezoid(y: Numeric, x: Numeric | None = None, dx: float = 1.0, axis: int = -1) -> Any:
    """The integral of samples by trapezia."""
    return np.trapezoid(y, x, dx, axis)


def cumulative_trapezoid(
    y: Numeric, x: Numeric | None = None, dx: float = 1.0, axis: int = -1, initial: object = None
) -> Any:
    """The running integral of samples by trapezia."""
    y = operand(y)
    at = axis % y.ndim
    before = (slice(None),) * at
    steps: Any = dx
    if x is not None:
        x = operand(x)
        steps = np.diff(x, axis=at if x.ndim > 1 else -1)
        steps = steps.reshape([-1 if i == at else 1 for i in range(y.ndim)]) if x.ndim == 1 else steps
    found = np.cumsum(steps * (y[(*before, slice(1, None))] + y[(*before, slice(None, -1))]) / 2.0, axis=at)
    if initial is None:
        return found
    shape = tuple(1 if i == at else n for i, n in enumerate(found.shape))
    return np.concatenate([np.full(shape, initial, found.dtype), found], axis=at)


def _simpson(y: Numeric, x: Any = None, *, dx: float = 1.0, axis: int = -1) -> Any:
    """The integral of samples by parabolas; of an even number of samples the last step by Cartwright's formula."""
    y = np.moveaxis(double(y), axis, -1)
    count = y.shape[-1]
    if x is None:
        steps: Any = np.full(count - 1, dx)
    else:
        x = operand(x)
        steps = np.diff(x if x.ndim == 1 else np.moveaxis(x, axis, -1), axis=-1)
    if count == 2:
        return np.sum(steps * (y[..., :-1] + y[..., 1:]) / 2, axis=-1)
    pairs = (count - 1) // 2 * 2
    a, b = steps[..., 0:pairs:2], steps[..., 1:pairs:2]
    parts = (
        y[..., 0:pairs:2] * (2 - b / a)
        + y[..., 1 : pairs + 1 : 2] * ((a + b) ** 2 / (a * b))
        + y[..., 2 : pairs + 1 : 2] * (2 - a / b)
    )
    total = np.sum((a + b) / 6 * parts, axis=-1)
    if count % 2 == 0:
        a, b = steps[..., -2], steps[..., -1]
        total = total + y[..., -1] * (2 * b**2 + 3 * a * b) / (6 * (b + a))
        total = total + y[..., -2] * (b**2 + 3 * a * b) / (6 * a)
        total = total - y[..., -3] * b**3 / (6 * a * (a + b))
    return total


simpson = grouped("simpson", _simpson)


def odeint(
    func: Callable[..., Any],
    y0: object,
    t: Numeric,
    args: tuple[Any, ...] = (),
    *,
    rtol: float = 1.5e-8,
    atol: float = 1.5e-8,
) -> Any:
    """The solution of dy/dt = func(y, t, *args) at the times t, from y0 at the first of them.

    The gradients by y0, t and args come from the adjoint equation (Chen et al., 2018), solved backwards with the same
    tolerances, so nothing of the solver's steps is kept.

    Args:
        func: the slope, written in NumPy; what it should have gradients by is passed in args.
        y0: the state at t[0], of any shape.
        t: times, in order.
        args: further arguments of func, numbers, arrays or tensors.

    Returns:
        The states, with a first axis for the times.

    >>> import numpy as np
    >>> from tinygraph.scipy import integrate
    >>> np.round(integrate.odeint(lambda y, t, k: -k * y, np.ones(1), np.array([0.0, 1.0]), (2.0,))[:, 0], 6)
    array([1.      , 0.135335])
    """
    from tinygraph.scipy.adjoint import solved

    return solved(func, y0, t, args, rtol, atol)
