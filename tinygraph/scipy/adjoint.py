"""Initial value problems as ops: SciPy's solver forwards, and backwards the adjoint equation, such a problem again.

So gradients have gradients: the rule is written with the solver itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.op import Op, op
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType
from tinygraph.errors import NumpyFunctionError, ShapeError
from tinygraph.numpy.form import operand
from tinygraph.scipy.passing import double, scipy_module
from tinygraph.transforms import vjp

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

Slope = Callable[..., Any]


def solved(func: Slope, y0: Any, t: Numeric, args: tuple[Any, ...], rtol: float, atol: float) -> Any:
    """The solution at the times t; see `integrate.odeint`."""
    y0, t = double(y0), operand(t)
    if t.ndim != 1 or t.shape[0] < 1:
        raise ShapeError(f"odeint takes times in one axis, not of the shape {t.shape}")
    return _solver(func, rtol, atol)(y0, t, *map(operand, args))


def _solver(func: Slope, rtol: float, atol: float) -> Op:
    """The op that solves for one slope."""

    @op(kind="other", name="odeint", declare=False)
    def odeint(*xs: object) -> Any:
        """The solution of dy/dt = f(y, t, ...);  gradients by the adjoint equation da/dt = -a ∂f/∂y."""
        return _forwards(func, xs, rtol, atol)

    @odeint.types
    def odeint_types(*xs: ArrayType) -> ArrayType:
        return ArrayType((xs[1].shape[0], *xs[0].shape), xs[0].dtype)

    @odeint.vjp("xs")
    def odeint_wrt_xs(g: Numeric, xs: object, out: object) -> tuple[Any, ...]:
        return _backwards(func, g, xs, out, rtol, atol)

    return odeint


def _forwards(func: Slope, xs: tuple[Any, ...], rtol: float, atol: float) -> Any:
    y0, t, *args = xs
    shape = y0.shape

    def slope(y: Numeric, time: float) -> Any:
        found = func(y.reshape(shape), time, *args)
        if isinstance(found, Tensor):
            raise NumpyFunctionError(
                "odeint: the slope has a tensor in it that is not among args=, and loses its gradient: pass it so"
            )
        return np.broadcast_to(found, shape).reshape(-1)

    if t.shape[0] == 1 or y0.size == 0:
        return np.broadcast_to(y0, (t.shape[0], *shape)).copy()
    states = scipy_module("integrate").odeint(slope, y0.reshape(-1), t, rtol=rtol, atol=atol)
    return states.reshape((t.shape[0], *shape)).astype(y0.dtype, copy=False)


def _backwards(func: Slope, g: Any, xs: Any, out: Any, rtol: float, atol: float) -> tuple[Any, ...]:
    """From the last time to the first: the state, its adjoint, and what args gather, in one vector."""
    y0, t, *args = xs
    moving = [i for i, one in enumerate(args) if one.dtype.kind in "fc"]
    shapes = [y0.shape, y0.shape, *(args[i].shape for i in moving)]

    def adjoint(state: object, back: Any, *rest: object) -> Any:
        y, a, *_ = _parts(state, shapes)

        def along(y: Any, *some: Any) -> Any:
            given = list(rest)
            for i, one in zip(moving, some, strict=True):
                given[i] = one
            return func(y, -back, *given) + np.zeros(y0.shape)

        slope, pull = vjp(along, y, *(rest[i] for i in moving))
        return _joined([-slope, *pull(a)])

    a, gathered = g[-1], [np.zeros(args[i].shape) for i in moving]
    of_times = []
    for k in range(t.shape[0] - 1, 0, -1):
        of_times.append(np.sum(g[k] * func(out[k], t[k], *args)))
        span = np.stack([-t[k], -t[k - 1]])
        state = solved(adjoint, _joined([out[k], a, *gathered]), span, tuple(args), rtol, atol)[-1]
        _, a, *gathered = _parts(state, shapes)
        if k == 1:
            of_times.append(-np.sum(a * func(out[0], t[0], *args)))
        a = a + g[k - 1]
    of_t = np.stack(of_times[::-1]) if of_times else np.zeros(1)
    found: list[Any] = [None] * len(args)
    for i, one in zip(moving, gathered, strict=True):
        found[i] = one
    return a, of_t if t.dtype.kind == "f" else None, *found


def _joined(parts: list[Any]) -> Any:
    return np.concatenate([one.reshape(-1) for one in parts])


def _parts(state: Any, shapes: list[Any]) -> list[Any]:
    found, start = [], 0
    for shape in shapes:
        size = int(np.prod(shape))
        found.append(state[start : start + size].reshape(shape))
        start += size
    return found
