"""Choosing among values: where, elementwise extremes, clip, absolute value, and rounding. Comparisons themselves are
in `comparison.py`, extremes over an axis in `reductions.py`."""

from typing import Any

import numpy as np

from tinygraph.plugin import DTypeError, ErrorSample, NumpyFunctionError, Sample, op, ops


@op(
    kind="elementwise",
    linear=("x", "y"),
    nondifferentiable=("condition",),
    samples=[
        Sample([True, False], [1.0, 2.0], [3.0, 4.0], expected=[1.0, 4.0]),
        Sample([[True], [False]], [1.0, 2.0, 3.0], 0.5),
    ],
)
def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, y elsewhere;  gradients flow to what was chosen, and exact zeros elsewhere."""
    return np.where(condition, x, y)


@where.vjp("x")
def where_wrt_x(g: Any, condition: Any) -> Any:
    return ops.where(condition, g, 0)


@where.vjp("y")
def where_wrt_y(g: Any, condition: Any) -> Any:
    return ops.where(condition, 0, g)


@where.numpy(np.where)
def _(condition: Any, *choices: Any) -> Any:
    if len(choices) != 2:
        raise NumpyFunctionError("np.where on tensors takes a condition and both choices; np.nonzero has no gradient")
    return where(condition, *choices)
