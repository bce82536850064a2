"""Complex numbers: their parts, conjugate and angle. The absolute value is in `choosing.py`.

The gradient of a real loss by z = a + bi is ∂/∂a - i ∂/∂b, so that a holomorphic f has the rule g f'(z) without a
conjugate. The rules below are linear over the real numbers only, so each states its forward mode too.
"""

from typing import Any

import numpy as np

from tinygraph.plugin import Sample, op, ops

_Z = [1.0 + 2.0j, -0.5 - 1.5j]


@op(
    kind="elementwise",
    numpy=np.real,
    linear=("x",),
    samples=[Sample(_Z, expected=[1.0, -0.5]), Sample([[1.5], [2.0]], expected=[[1.5], [2.0]])],
)
def real(x: Any) -> Any:
    """The real part of x;  its gradient is g."""
    return np.real(x)


@real.vjp("x")
def real_wrt_x(g: Any) -> Any:
    return g


@real.jvp("x")
def real_tangent(t: Any) -> Any:
    return ops.real(t)
