"""Initial value problems with a quadratic right-hand side, by the classical Runge-Kutta method.

Quadratic systems cover predators and prey, epidemics, mass-action chemistry, rigid bodies and the Lorenz attractor;
their coefficients are operands, so they can be fitted to data. The rule is the discrete adjoint: the exact derivative
of the computed steps, not a discretisation of the continuous adjoint. Sources: Kutta, 1901; Hager, "Runge-Kutta methods
in optimal control and the transformed adjoint system", 2000.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import ArrayType, DTypeError, ErrorSample, Sample, SettingError, ShapeError, op, ops

# Stage s looks ahead by AHEAD[s] * step along the slope of the stage before it, and counts with WEIGHTS[s].
AHEAD = (0.0, 0.5, 0.5, 1.0)
WEIGHTS = (1 / 6, 1 / 3, 1 / 3, 1 / 6)

_TURN = [[0.0, 1.0], [-1.0, 0.0]]
_LINEAR = [[-0.5, 1.0], [0.25, -1.5]]
_QUADRATIC = [[[0.5, -1.0], [0.75, 0.25]], [[-0.25, 1.5], [0.0, -0.5]]]


@op(
    samples=[
        # dy/dt = y: each step multiplies by 1 + h + h²/2 + h³/6 + h⁴/24
        Sample([1.0], [[1.0]], step=1.0, steps=2, expected=[[1.0], [65 / 24], [(65 / 24) ** 2]]),
        # one step of a turn by 1: cos and sin up to fourth order
        Sample([1.0, 0.0], _TURN, step=1.0, steps=1, expected=[[1.0, 0.0], [13 / 24, -5 / 6]]),
        Sample([2.0], [[0.0]], None, [3.0], step=0.5, steps=2, expected=[[2.0], [3.5], [5.0]]),
        Sample(
            [[0.5, -1.0], [1.5, 0.25], [-0.75, 2.0]], _LINEAR, _QUADRATIC, [0.5, -0.25], step=0.2, steps=2
        ),
        Sample([0.5, -1.0], _LINEAR, _QUADRATIC, None, step=-0.3, steps=1),
        Sample([[[1.0, -0.5]], [[0.25, 2.0]]], _LINEAR, None, [1.0, -2.0], step=0.25, steps=2),
    ],
    error_samples=[
        ErrorSample(1.0, [[1.0]], step=0.1, steps=1, error=ShapeError, match="(..., n)"),
        ErrorSample([1.0, 2.0], [[1.0]], step=0.1, steps=1, error=ShapeError, match="(2, 2)"),
        ErrorSample([1.0], [[1.0]], [[1.0]], step=0.1, steps=1, error=ShapeError, match="(1, 1, 1)"),
        ErrorSample([1.0], [[1.0]], None, 1.0, step=0.1, steps=1, error=ShapeError, match="constant"),
        ErrorSample([1], [[1.0]], step=0.1, steps=1, error=DTypeError, match="int64"),
        ErrorSample([1.0], [[1.0]], step=0.1, steps=0, error=SettingError, match="steps is 0"),
    ],
)
def quadratic_ode(
    y: Any, linear: Any, quadratic: Any = None, constant: Any = None, *, step: float, steps: int
) -> Any:
    """The states of dy/dt = constant + linear y + quadratic[y, y] at times 0, step, 2 step ...;  d/d: the adjoint.

    With λ the gradient with respect to a state, each stage Y_s of a step gives l_s = step w_s λ + step a l'_(s+1) and
    l'_s = f'(Y_s)ᵀ l_s; the state before gets λ + Σ l'_s, the coefficients Σ l_s ⊗ Y_s ⊗ ....

    Args:
        y: (..., n), where to start.
        linear: (n, n).
        quadratic: (n, n, n): component i of the right-hand side has Σ_jk quadratic[i, j, k] y_j y_k.
        constant: (n,).
        step: of time; negative goes back.
        steps: how many.

    Returns:
        (steps + 1, ..., n), the first of them y.

    Raises:
        ShapeError: operands that do not fit.
        DTypeError: operands that are not real.
        SettingError: no step.

    >>> import numpy as np
    >>> quadratic_ode(np.ones(1), -np.ones((1, 1)), step=0.1, steps=10)[-1].round(5)
    array([0.36788])
    """
    stated = quadratic_ode_types(y, linear, quadratic, constant, step=step, steps=steps)
    states = [y.astype(stated.dtype)]
    for _ in range(steps):
        slope, total = 0.0, 0.0
        for ahead, weight in zip(AHEAD, WEIGHTS, strict=True):
            slope = _slope(states[-1] + step * ahead * slope, linear, quadratic, constant)
            total = total + weight * slope
        states.append(states[-1] + step * total)
    return np.stack(
        states
    )  # a new array, and no writes into one: so a compiled program can look through this op


def _slope(y: Any, linear: Any, quadratic: Any, constant: Any) -> Any:
    """The right-hand side at states (..., n)."""
    slope = ops.einsum(linear, y, subscripts="ij,...j->...i")
    if quadratic is not None:
        slope = slope + ops.einsum(quadratic, y, y, subscripts="ijk,...j,...k->...i")
    return slope if constant is None else slope + constant


def _pulled_back(g: Any, y: Any, linear: Any, quadratic: Any) -> Any:
    """The transposed derivative of the right-hand side with respect to the states, times g."""
    pulled = ops.einsum(linear, g, subscripts="ij,...i->...j")
    if quadratic is None:
        return pulled
    both = quadratic + ops.swapaxes(quadratic, axis1=1, axis2=2)
    return pulled + ops.einsum(both, g, y, subscripts="ijk,...i,...k->...j")


@quadratic_ode.types
def quadratic_ode_types(
    y: ArrayType, linear: ArrayType, quadratic: Any = None, constant: Any = None, *, step: float, steps: int
) -> ArrayType:
    shape = getattr(y, "shape", ())
    if not shape:
        raise ShapeError("y is a scalar; states are (..., n)")
    n = shape[-1]
    given = {"y": y, "linear": linear, "quadratic": quadratic, "constant": constant}
    given = {name: one for name, one in given.items() if one is not None}
    for name, expected in (("linear", (n, n)), ("quadratic", (n, n, n)), ("constant", (n,))):
        if name in given and getattr(given[name], "shape", ()) != expected:
            found = getattr(given[name], "shape", ())
            raise ShapeError(
                f"{name} has the shape {found}; for states of {n} components it must be {expected}"
            )
    for name, one in given.items():
        if one.dtype.kind != "f":
            raise DTypeError(f"{name} must be real, not {one.dtype}; use .astype(float)")
    if steps < 1:
        raise SettingError(f"steps is {steps}; it must be at least 1")
    return ArrayType((steps + 1, *shape), np.result_type(*(one.dtype for one in given.values())))


@quadratic_ode.vjp("y", "linear", "quadratic", "constant")
def quadratic_ode_adjoint(
    g: Any, out: Any, linear: Any, quadratic: Any, constant: Any, step: float, steps: int
) -> tuple[Any, ...]:
    n = out.shape[-1]
    adjoint = g[steps]
    weights, points = [], []
    for i in reversed(range(steps)):
        stages: list[Any] = [out[i]]
        for ahead in AHEAD[1:]:
            stages.append(out[i] + step * ahead * _slope(stages[-1], linear, quadratic, constant))
        onward: Any = 0.0
        arriving = g[i] + adjoint
        for s in reversed(range(len(stages))):
            weight = step * WEIGHTS[s] * adjoint + onward
            pulled = _pulled_back(weight, stages[s], linear, quadratic)
            onward = step * AHEAD[s] * pulled
            arriving = arriving + pulled
            weights.append(ops.reshape(weight, shape=(-1, n)))
            points.append(ops.reshape(stages[s], shape=(-1, n)))
        adjoint = arriving
    weight, point = ops.concatenate(*weights), ops.concatenate(*points)
    return (
        adjoint,
        ops.einsum(weight, point, subscripts="bi,bj->ij"),
        None if quadratic is None else ops.einsum(weight, point, point, subscripts="bi,bj,bk->ijk"),
        None if constant is None else weight,  # the engine sums what broadcasting spread
    )
