"""Systems of equations, inverses and determinants. Rules as in Giles, "An extended collection of matrix derivative
results" (2008); the determinant's hold for singular matrices, too.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import (
    ArrayType,
    ErrorSample,
    Numeric,
    Sample,
    ShapeError,
    broadcast_shapes,
    op,
    ops,
    stacked,
)
from tinygraph_ops.linear_algebra.matrices import (
    adjoint,
    conjugate,
    matrices,
    require_matrix,
    require_square,
    result_dtype,
    transposed,
    unit,
)

_A = [[2.0, 0.5], [-1.0, 1.5]]
_Z = [[2.0 + 1.0j, 0.5], [-1.0j, 1.5 - 0.5j]]
_OBLONG = ErrorSample([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], error=ShapeError, match="must be equal")


@op(
    kind="other",
    samples=[
        Sample([[2.0, 0.0], [1.0, 4.0]], expected=[[0.5, 0.0], [-0.125, 0.25]]),
        Sample([_A, _A]),
        Sample(_Z),
    ],
    error_samples=[_OBLONG],
)
def inv(x: Numeric) -> Numeric:
    """The inverse of square matrices, Y = X⁻¹;  the gradient is -Yᵀ G Yᵀ."""
    return np.linalg.inv(x)


@inv.vjp("x")
def inv_wrt_x(g: Numeric, out: object) -> Numeric:
    """-x⁻ᵀ g x⁻ᵀ, with the inverse taken from the output."""
    return -(transposed(out) @ g @ transposed(out))


@inv.types
def inv_types(x: ArrayType) -> ArrayType:
    """The shape of x, whose matrices must be square."""
    require_square(x)
    return ArrayType(x.shape, result_dtype(np.linalg.inv, x))


inv.batch(stacked)


@op(
    kind="other",
    linear=("b",),
    samples=[
        Sample([[2.0, 0.0], [1.0, 4.0]], [[2.0], [9.0]], expected=[[1.0], [2.0]]),
        Sample([_A, _A], [[1.0, 2.0, 0.5], [-1.0, 0.25, 3.0]]),
        Sample(_Z, [[1.0], [2.0j]]),
    ],
    error_samples=[
        ErrorSample(_A, [1.0, 2.0], error=ShapeError, match="two axes"),
        ErrorSample(
            [[1.0, 2.0, 0.5], [0.5, 1.0, 2.0]], [[1.0], [2.0]], error=ShapeError, match="must be equal"
        ),
    ],
)
def solve(a: Numeric, b: Numeric) -> Numeric:
    """X of A X = B for stacks of matrices that broadcast;  B's gradient is H = A⁻ᵀ G, and A's is -H Xᵀ."""
    if np.ndim(b) < 2:
        raise ShapeError(f"b must be matrices, of two axes or more, not of the shape {np.shape(b)}")
    return np.linalg.solve(a, b)


@solve.vjp("a", "b")
def solve_wrt_both(g: Numeric, a: Numeric, out: object) -> Any:
    back = ops.solve(transposed(a), g)
    return -(back @ transposed(out)), back


@solve.types
def solve_types(a: ArrayType, b: ArrayType) -> ArrayType:
    """The shape of b, its stack broadcast with that of a."""
    size = require_square(a)
    require_matrix(b)
    if b.shape[-2] != size:
        raise ShapeError(f"b has {b.shape[-2]} rows and a has {size}")
    stack = broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return ArrayType((*stack, *b.shape[-2:]), result_dtype(np.linalg.solve, a, b))


solve.batch(stacked)


# -- determinants ------------------------------------------------------------------------------------------------------


@op(
    kind="other",
    numpy=np.linalg.det,
    samples=[
        Sample([[1.0, 2.0], [3.0, 4.0]], expected=-2.0),
        Sample([_A, [[1.0, 2.0], [2.0, 4.0]]]),  # the second is singular
        Sample(_Z),
    ],
    error_samples=[_OBLONG],
)
def det(x: Numeric) -> Numeric:
    """The determinant of square matrices;  the gradient is g times the cofactors, of singular matrices, too."""
    found: Numeric = np.linalg.det(x)
    return found


@det.vjp("x")
def det_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    """g times the cofactors of x, which a singular matrix has too."""
    return matrices(g) * ops.cofactors(x)


@det.types
def det_types(x: ArrayType) -> ArrayType:
    """One number for each matrix."""
    require_square(x)
    return ArrayType(x.shape[:-2], result_dtype(np.linalg.det, x))


det.batch(stacked)


@op(
    kind="other",
    samples=[
        Sample([[1.0, 2.0], [3.0, 4.0]], expected=[[4.0, -3.0], [-2.0, 1.0]]),
        Sample([[1.0, 2.0, 0.5], [2.0, -1.0, 1.0], [0.25, -1.0, 3.0]]),
        Sample([[1, 2], [2, 4]], expected=[[4.0, -2.0], [-2.0, 1.0]]),  # singular
        Sample(_Z),
    ],
    error_samples=[_OBLONG],
)
def cofactors(x: Any) -> Numeric:
    """The cofactors of square matrices, det(X) X⁻ᵀ where there is an inverse: the derivatives of the determinant.

    From X = U S Vᴴ they are det(U) det(Vᴴ) conj(U) C conj(Vᴴ), with the products of all other singular values in C.
    """
    x = np.asarray(x)
    require_square(x)
    return _rotated(x, None)


@cofactors.vjp("x")
def cofactors_wrt_x(g: Numeric, x: Numeric) -> Numeric:
    return ops.cofactors_along(x, g)


@cofactors.types
def cofactors_types(x: ArrayType) -> ArrayType:
    require_square(x)
    return ArrayType(x.shape, result_dtype(np.linalg.inv, x))


cofactors.batch(stacked)


@op(
    kind="other",
    linear=("direction",),
    samples=[
        Sample([[1.0, 2.0], [3.0, 4.0]], [[1.0, 0.0], [0.5, 2.0]], expected=[[2.0, -0.5], [0.0, 1.0]]),
        Sample([[1.0, 2.0, 0.5], [2.0, 3.0, 1.0], [0.25, -1.0, 3.0]], [[0.0, 1.0, 2.0]] * 3),
        Sample(_Z, _Z),
    ],
)
def cofactors_along(x: Numeric, direction: object) -> Numeric:
    """How the cofactors of X change along T: the second derivatives of the determinant, symmetric in T and G.

    Along X the gradient holds where X has an inverse Z: with φ = det (tr ZT tr ZG - tr ZTZG) it is
    φ Zᵀ - det (tr ZG ZTZ + tr ZT ZGZ - ZTZGZ - ZGZTZ)ᵀ.
    """
    return _rotated(np.asarray(x), np.asarray(direction))


@cofactors_along.vjp("direction")
def cofactors_along_wrt_direction(g: Numeric, x: Numeric) -> Numeric:
    return ops.cofactors_along(x, g)


@cofactors_along.vjp("x")
def cofactors_along_wrt_x(g: Numeric, x: Numeric, direction: Numeric) -> Any:
    z, whole = ops.inv(x), matrices(ops.det(x))
    zt, zg = z @ direction, z @ g
    trace_t, trace_g = (matrices(ops.trace(one, axis1=-2, axis2=-1)) for one in (zt, zg))
    both = zt @ zg @ z + zg @ zt @ z
    value = trace_t * trace_g - matrices(ops.trace(zt @ zg, axis1=-2, axis2=-1))
    return whole * transposed(value * z - trace_g * (zt @ z) - trace_t * (zg @ z) + both)


@cofactors_along.types
def cofactors_along_types(x: ArrayType, direction: ArrayType) -> ArrayType:
    require_square(x)
    if x.shape != direction.shape:
        raise ShapeError(f"a direction of shape {direction.shape} is none of matrices of shape {x.shape}")
    return ArrayType(x.shape, np.result_type(result_dtype(np.linalg.inv, x), direction.dtype))


cofactors_along.batch(stacked)


def _rotated(x: Numeric, direction: object) -> Numeric:
    """The cofactors of X, or how they change along a direction, found where X is diagonal."""
    u, s, vh = np.linalg.svd(x)
    size = s.shape[-1]
    scale = (np.linalg.det(u) * np.linalg.det(vh))[..., None, None] if size else 1
    others = np.where(np.eye(size, dtype=bool), 1, s[..., None, :])  # row i: all but the i-th
    if direction is None:
        middle = np.prod(others, axis=-1)[..., None] * np.eye(size, dtype=s.dtype)
    else:
        pairs = others[..., :, None, :] * np.ones((size, 1), s.dtype)
        pairs = np.where(np.eye(size, dtype=bool), 1, pairs).prod(-1)  # [i, j]: all but the i-th and the j-th
        pairs = np.where(np.eye(size, dtype=bool), 0, pairs)
        inside = np.swapaxes(u.conj(), -1, -2) @ direction @ np.swapaxes(vh.conj(), -1, -2)
        change = (pairs * np.diagonal(inside, axis1=-2, axis2=-1)[..., None, :]).sum(-1)
        middle = change[..., None] * np.eye(size, dtype=s.dtype) - pairs * np.swapaxes(inside, -1, -2)
    return scale * (u.conj() @ middle @ vh.conj())


@op(
    kind="other",
    samples=[
        Sample([[2.0, 0.0], [0.0, -3.0]], expected=(-1.0, 1.791759469228055)),
        Sample([_A, _A]),
        Sample(_Z),
    ],
    error_samples=[_OBLONG],
)
def slogdet(x: Numeric) -> Any:
    """Sign and log |det X|, two outputs;  gradients are X⁻ᵀ times g of the logarithm, plus i Im(g sign)."""
    sign, logarithm = np.linalg.slogdet(x)
    return sign, logarithm


@slogdet.vjp("x")
def slogdet_wrt_x(g: Numeric, x: Numeric, out: Numeric) -> Any:
    """g₂ x⁻ᵀ, and for complex x the slope of the sign besides."""
    factor = matrices(g[1])
    if x.dtype.kind == "c":
        factor = factor + 1j * matrices(ops.imag(g[0] * out[0]))
    return factor * transposed(ops.inv(x))


@slogdet.types
def slogdet_types(x: ArrayType) -> tuple[ArrayType, ArrayType]:
    require_square(x)
    dtype = result_dtype(np.linalg.det, x)
    return ArrayType(x.shape[:-2], dtype), ArrayType(x.shape[:-2], np.empty(0, dtype).real.dtype)


slogdet.batch(stacked)


# -- pseudo-inverses ---------------------------------------------------------------------------------------------------


@op(
    kind="other",
    samples=[
        Sample([[2.0, 0.0], [0.0, 4.0], [0.0, 0.0]], expected=[[0.5, 0.0, 0.0], [0.0, 0.25, 0.0]]),
        Sample([[1.0, 2.0, 0.5], [-1.0, 0.25, 3.0]], rcond=1e-3),
        Sample([[1.0j, 2.0], [0.5, -1.0], [1.0, 1.0]]),
    ],
)
def pinv(x: Numeric, *, rcond: float | None = None) -> Numeric:
    """The Moore-Penrose inverse P, of which singular values up to rcond times the largest are left out.

    With the rank fixed (Golub and Pereyra, 1973) dP = -P dX P + (1 - P X) dXᴴ PᴴP + P Pᴴ dXᴴ (1 - X P).
    """
    return np.linalg.pinv(x) if rcond is None else np.linalg.pinv(x, rcond=rcond)


@pinv.vjp("x")
def pinv_wrt_x(g: Numeric, x: Numeric, out: Numeric) -> Any:
    back = adjoint(conjugate(g))
    rows, columns = x.shape[-2:]
    found = (
        adjoint(out) @ out @ back @ (unit(columns, x.dtype) - out @ x)
        + (unit(rows, x.dtype) - x @ out) @ back @ out @ adjoint(out)
        - adjoint(out) @ adjoint(back) @ adjoint(out)
    )
    return conjugate(found)


@pinv.types
def pinv_types(x: ArrayType, *, rcond: float | None = None) -> ArrayType:
    require_matrix(x)
    return ArrayType((*x.shape[:-2], x.shape[-1], x.shape[-2]), result_dtype(np.linalg.pinv, x))


pinv.batch(stacked)
