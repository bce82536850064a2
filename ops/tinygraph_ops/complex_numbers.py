"""Complex numbers: their parts, conjugate and angle. The absolute value is in `choosing.py`.

The gradient of a real loss by z = a + bi is ∂/∂a - i ∂/∂b, so that a holomorphic f has the rule g f'(z) without a
conjugate. The rules below are linear over the real numbers only, so each states its forward mode too.
"""

from math import pi
from typing import Any

import numpy as np

from tinygraph.plugin import Array, DTypeError, ErrorSample, Numeric, Sample, op, ops

_Z = [1.0 + 2.0j, -0.5 - 1.5j]


@op(
    kind="elementwise",
    numpy=np.real,
    linear=("x",),
    samples=[Sample(_Z, expected=[1.0, -0.5]), Sample([[1.5], [2.0]], expected=[[1.5], [2.0]])],
)
def real(x: Numeric) -> Numeric:
    """The real part of x;  its gradient is g."""
    return np.real(x)


@real.vjp("x")
def real_wrt_x(g: Numeric) -> Numeric:
    """g: the real part's cotangent is real."""
    return g


@real.jvp("x")
def real_tangent(t: Numeric) -> Numeric:
    """The real part of t."""
    return ops.real(t)


@real.view
def real_put(value: Numeric, x: Numeric) -> Numeric:
    """x with another real part; a real x becomes `value`."""
    return ops.make_complex(value, ops.imag(x)) if np.iscomplexobj(x) else value


@op(
    kind="elementwise",
    numpy=np.imag,
    linear=("x",),
    samples=[Sample(_Z, expected=[2.0, -1.5]), Sample([[1.5j], [2.0 - 1.0j]])],
)
def imag(x: Numeric) -> Numeric:
    """The imaginary part of x;  its gradient is -i g."""
    return np.imag(x)


@imag.vjp("x")
def imag_wrt_x(g: Numeric) -> Numeric:
    """-i g: gradients by z = x + iy are dL/dx - i dL/dy."""
    return g * -1j


@imag.jvp("x")
def imag_tangent(t: Numeric) -> Numeric:
    """The imaginary part of t."""
    return ops.imag(t)


@imag.view
def imag_put(value: Numeric, x: Numeric) -> Numeric:
    """x with another imaginary part."""
    return ops.make_complex(ops.real(x), value)


@op(
    kind="elementwise",
    facts={"involution": True},
    numpy=np.conj,
    linear=("x",),
    samples=[Sample(_Z, expected=[1.0 - 2.0j, -0.5 + 1.5j]), Sample([[1.5], [2.0]], expected=[[1.5], [2.0]])],
)
def conj(x: Numeric) -> Numeric:
    """The complex conjugate of x;  its gradient is conj(g)."""
    return np.conj(x)


@conj.vjp("x")
def conj_wrt_x(g: Numeric) -> Numeric:
    """conj(g)."""
    return ops.conj(g)


@conj.jvp("x")
def conj_tangent(t: Numeric) -> Numeric:
    """conj(t)."""
    return ops.conj(t)


@op(
    kind="elementwise",
    numpy=np.angle,
    samples=[Sample([1.0 + 1.0j, -2.0j], expected=[pi / 4, -pi / 2]), Sample([[1.5 - 0.5j], [-2.0 + 1.0j]])],
)
def angle(x: Numeric) -> Numeric:
    """The angle of x in the complex plane;  its gradient is -i g / x. That of a real x is 0 or π, without a slope."""
    return np.angle(x)


@angle.vjp("x")
def angle_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """-i g / x."""
    return g * (-1j / x)


@angle.jvp("x")
def angle_tangent(t: Numeric, x: Numeric) -> Numeric:
    """Im(t / x)."""
    return ops.imag(t / x)


@angle.numpy(np.angle)
def np_angle(z: Numeric, deg: bool = False) -> Any:
    """`np.angle`, in degrees if asked."""
    return angle(z) * (180 / pi) if deg else angle(z)


@op(
    kind="elementwise",
    linear=("real", "imag"),
    samples=[
        Sample([1.0, 2.0], [0.5, -1.0], expected=[1.0 + 0.5j, 2.0 - 1.0j]),
        Sample([1.0, 2.0], [[3.0], [4.0]]),
        Sample([[1.0, 2.0, 3.0], [0.5, -1.0, 2.0]], 0.5),
    ],
    error_samples=[ErrorSample([1j], [1.0], error=DTypeError, match="real")],
)
def make_complex(real: Numeric, imag: Array) -> Numeric:
    """real + i imag, from two real arrays;  the gradients are g and i g, of which the real parts count."""
    if np.iscomplexobj(real) or np.iscomplexobj(imag):
        raise DTypeError("make_complex takes two real arrays; complex ones are added with x + 1j * y")
    return real + np.multiply(imag, 1j)


@make_complex.vjp("real")
def make_complex_wrt_real(g: Numeric) -> Numeric:
    """Re(g)."""
    return ops.real(g)


@make_complex.vjp("imag")
def make_complex_wrt_imag(g: Numeric) -> Numeric:
    """-Im(g)."""
    return -ops.imag(g)


@make_complex.jvp("real")
def make_complex_tangent_of_real(t: Numeric) -> Numeric:
    """t."""
    return t


@make_complex.jvp("imag")
def make_complex_tangent_of_imag(t: Numeric) -> Numeric:
    """i t."""
    return t * 1j
