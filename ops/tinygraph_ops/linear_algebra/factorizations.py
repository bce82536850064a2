"""Factorizations: Cholesky, QR, eigenvalues and singular values, each op with its factors as outputs.

Where eigenvalues or singular values repeat, their vectors are not determined, and gradients that come through them are
nan; those of the values alone are right. Complex vectors are determined up to a phase; gradients are those of results
that do not depend on it.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from tinygraph.plugin import ArrayType, ErrorSample, Numeric, Sample, ShapeError, op, ops, stacked
from tinygraph_ops.linear_algebra.matrices import (
    adjoint,
    conjugate,
    half_lower,
    on_diagonal,
    over_differences,
    read_from_lower,
    require_matrix,
    require_square,
    result_dtype,
    transposed,
    unit,
)

_ROOT, _FIFTH = sqrt(1 / 2), sqrt(1 / 5)
_S = [[4.0, 1.0], [1.0, 3.0]]
_Z = [[4.0, 1.0 - 0.5j], [1.0 + 0.5j, 3.0]]
_TALL = [[1.0, 2.0], [0.5, -1.0], [3.0, 0.25]]
_OBLONG = ErrorSample(_TALL, error=ShapeError, match="must be equal")


@op(
    kind="other",
    samples=[
        # of integers: along one element alone the derivative is another
        Sample([[1, 9], [2, 3]], expected=[[1, 2], [2, 3]]),
        Sample([[1, 9], [2, 3]], lower=False, expected=[[1, 9], [9, 3]]),
    ],
    error_samples=[_OBLONG],
)
def hermitian(x: Any, *, lower: bool = True) -> Numeric:
    """The Hermitian matrix of which x holds the lower (or upper) triangle;  the gradient is g's Hermitian part.

    So the gradient of a symmetric matrix is symmetric, as elsewhere, though one triangle alone was read: it is the
    derivative along symmetric directions.
    """
    x = np.asarray(x)
    require_square(x)
    triangle = np.tril(x, -1) if lower else np.triu(x, 1)
    diagonal = np.einsum("...ii->...i", x).real[..., None] * np.eye(x.shape[-1], dtype=x.real.dtype)
    return triangle + np.swapaxes(triangle.conj(), -1, -2) + diagonal.astype(x.dtype)


@hermitian.vjp("x")
def hermitian_wrt_x(g: Numeric) -> Any:
    """(g + gᴴ) / 2."""
    return (g + adjoint(g)) * 0.5


@hermitian.types
def hermitian_types(x: ArrayType, *, lower: bool = True) -> ArrayType:
    """The type of x, whose matrices must be square."""
    require_square(x)
    return x


hermitian.batch(stacked)


@op(
    kind="other",
    samples=[
        Sample([[4.0, 2.0], [2.0, 5.0]], expected=[[2.0, 0.0], [1.0, 2.0]]),
        Sample([_S, [[2.0, 0.5], [0.5, 1.0]]]),
        Sample(_Z),
    ],
    error_samples=[_OBLONG],
)
def cholesky(x: Numeric) -> Numeric:
    """L with L Lᴴ = X, of which the lower triangle is read;  the gradient (Murray, 2016) is L⁻ᴴ Φ(Lᴴ G) L⁻¹."""
    return np.linalg.cholesky(x)


@cholesky.vjp("x")
def cholesky_wrt_x(g: Numeric, out: Numeric) -> Any:
    back = adjoint(out)
    inner = (back @ conjugate(g)) * half_lower(out.shape[-1], out.dtype)
    found = ops.solve(back, inner)  # L⁻ᴴ Φ, and from the right the same of the adjoint
    return conjugate(read_from_lower(adjoint(ops.solve(back, adjoint(found)))))


@cholesky.types
def cholesky_types(x: ArrayType) -> ArrayType:
    """The shape of x, whose matrices must be square."""
    require_square(x)
    return ArrayType(x.shape, result_dtype(np.linalg.cholesky, x))


cholesky.batch(stacked)


@op(
    kind="other",
    samples=[
        Sample([[2, 1], [1, 2]], expected=([1.0, 3.0], [[-_ROOT, _ROOT], [_ROOT, _ROOT]])),
        Sample([_S, [[2.0, 0.5], [0.5, 1.0]]]),
    ],
    error_samples=[_OBLONG],
)
def eigh(x: Numeric) -> Any:
    """Eigenvalues w, ascending, and eigenvectors V of Hermitian matrices, of which the lower triangle is read.

    The gradient (Giles, 2008) is V (diag G_w + F ∘ VᴴG_V) Vᴴ with F_ij = 1 / (w_j - w_i).
    """
    values, vectors = np.linalg.eigh(x)
    return values, vectors


@eigh.vjp("x")
def eigh_wrt_x(g: Any, out: Any) -> Any:
    values, vectors = out
    inner = on_diagonal(g[0]) + over_differences(adjoint(vectors) @ conjugate(g[1]), values)
    return conjugate(read_from_lower(vectors @ inner @ adjoint(vectors)))


@eigh.jvp("x")
def eigh_tangent(t: Numeric, out: Any) -> Any:
    """diag(VᴴTV) and V (F ∘ VᴴTV), of the Hermitian T whose lower triangle is t's."""
    values, vectors = out
    lower = t * half_lower(t.shape[-1], t.dtype)
    inner = adjoint(vectors) @ (lower + adjoint(lower)) @ vectors
    return ops.real(ops.diagonal(inner, axis1=-2, axis2=-1)), vectors @ over_differences(inner, values)


@eigh.types
def eigh_types(x: ArrayType) -> tuple[ArrayType, ArrayType]:
    """Real values, one for each row, and vectors in the shape of x."""
    require_square(x)
    dtype = result_dtype(np.linalg.cholesky, x)
    return ArrayType(x.shape[:-1], np.empty(0, dtype).real.dtype), ArrayType(x.shape, dtype)


eigh.batch(stacked)


@op(
    kind="other",
    samples=[
        Sample([[1, 1], [4, 1]], expected=([3.0, -1.0], [[_FIFTH, -_FIFTH], [2 * _FIFTH, 2 * _FIFTH]])),
        Sample([[1.0, -2.0], [0.5, 1.5]]),
        Sample([[1.0 + 1.0j, -2.0], [0.5, 1.5j]]),
    ],
    error_samples=[_OBLONG],
)
def eig(x: Numeric) -> Any:
    """Eigenvalues w and eigenvectors V of square matrices, complex always; each vector has length 1, its largest
    component real, as LAPACK has them.

    The gradient (Boeddeker et al., 2017) is V⁻ᴴ (diag G_w + conj(F) ∘ VᴴG_V) Vᴴ with F_ij = 1 / (w_j - w_i), after
    what changes length and phase was taken out of G_V.
    """
    x = np.asarray(x)
    values, vectors = np.linalg.eig(x)
    dtype = np.result_type(vectors.dtype, np.complex64)
    return values.astype(dtype, copy=False), vectors.astype(dtype, copy=False)


def _largest(vectors: Any) -> Any:
    """1 where each column has its largest component, 0 elsewhere."""
    sizes = ops.abs(vectors)
    if not np.shape(vectors)[-1]:
        return sizes
    return transposed(
        ops.one_hot(ops.argmax(sizes, axis=-2), num_classes=np.shape(vectors)[-1], dtype=sizes.dtype)
    )


@eig.vjp("x")
def eig_wrt_x(g: Any, out: Any) -> Any:
    values, vectors = out
    g_values, g_vectors = conjugate(g[0]), conjugate(g[1])
    largest = _largest(vectors)
    component = ops.sum(largest * vectors, axis=-2, keepdims=True)
    overlap = ops.sum(conjugate(g_vectors) * vectors, axis=-2, keepdims=True)
    turned = 1j * ops.imag(overlap) / conjugate(component)  # -i Re(i overlap) / conj
    g_vectors = g_vectors - vectors * ops.real(overlap) + largest * turned
    inner = on_diagonal(g_values) + over_differences(adjoint(vectors) @ g_vectors, conjugate(values))
    return conjugate(ops.solve(adjoint(vectors), inner @ adjoint(vectors)))


@eig.jvp("x")
def eig_tangent(t: Numeric, out: Any) -> Any:
    """diag(V⁻¹TV) and V (F ∘ V⁻¹TV), less what would change length and phase."""
    values, vectors = out
    inner = ops.solve(vectors, t @ vectors)
    moved = vectors @ over_differences(inner, values)
    largest = _largest(vectors)
    along = ops.real(ops.sum(conjugate(vectors) * moved, axis=-2, keepdims=True))
    turned = ops.sum(largest * moved, axis=-2, keepdims=True) / ops.sum(
        largest * vectors, axis=-2, keepdims=True
    )
    return ops.diagonal(inner, axis1=-2, axis2=-1), moved - vectors * (along + 1j * ops.imag(turned))


@eig.types
def eig_types(x: ArrayType) -> tuple[ArrayType, ArrayType]:
    """Complex values, one for each row, and vectors in the shape of x."""
    require_square(x)
    dtype = np.result_type(result_dtype(np.linalg.inv, x), np.complex64)
    return ArrayType(x.shape[:-1], dtype), ArrayType(x.shape, dtype)


eig.batch(stacked)


@op(
    kind="other",
    samples=[
        Sample(
            [[2.0, 1.0], [1.0, 2.0]],
            expected=([[-_ROOT, -_ROOT], [-_ROOT, _ROOT]], [3.0, 1.0], [[-_ROOT, -_ROOT], [-_ROOT, _ROOT]]),
        ),
        Sample([_TALL]),
        Sample([[1.0, 0.5, 3.0], [2.0, -1.0, 0.25]]),
    ],
)
def svd(x: Numeric) -> Any:
    """U, s and Vᴴ of X = U diag(s) Vᴴ, singular values descending, as many vectors as values.

    The gradient (Townsend, 2016; Wan and Zhang, 2019) is U (F ∘ [UᴴG_U] S + S (F ∘ [VᴴG_V]) + diag G_s) Vᴴ, where
    [M] = M - Mᴴ and F_ij = 1 / (s_j² - s_i²), and what G_U and G_V have beside U and V; of complex matrices also
    the imaginary diagonal of UᴴG_U over s.
    """
    u, s, vh = np.linalg.svd(x, full_matrices=False)
    return u, s, vh


@svd.vjp("x")
def svd_wrt_x(g: Any, out: Any) -> Any:
    u, s, vh = out
    g_u, g_s, g_v = conjugate(g[0]), g[1], transposed(g[2])  # of V, the adjoint of Vᴴ
    v = adjoint(vh)
    of_u, of_v = adjoint(u) @ g_u, vh @ g_v
    row, column = ops.expand_dims(s, axis=-2), ops.expand_dims(s, axis=-1)
    turned_u, turned_v = over_differences(of_u, s * s), over_differences(of_v, s * s)
    inner = (turned_u + adjoint(turned_u)) * row + column * (turned_v + adjoint(turned_v))
    inner = inner + on_diagonal(g_s)
    if u.dtype.kind == "c":
        phases = ops.imag(ops.diagonal(of_u, axis1=-2, axis2=-1)) / s
        inner = inner + 1j * on_diagonal(phases)
    found = u @ inner @ vh
    rows, columns = u.shape[-2], vh.shape[-1]
    if rows > columns:
        found = found + ((unit(rows, u.dtype) - u @ adjoint(u)) @ g_u / row) @ vh
    if columns > rows:
        found = found + (u / row) @ (adjoint(g_v) @ (unit(columns, u.dtype) - v @ vh))
    return conjugate(found)


@svd.jvp("x")
def svd_tangent(t: Numeric, out: Any) -> Any:
    """With P = UᴴTV: U (F ∘ [P S + S Pᴴ]), Re diag P and V (F ∘ [S P + Pᴴ S]), and what T has beside U and V."""
    u, s, vh = out
    v = adjoint(vh)
    row, column = ops.expand_dims(s, axis=-2), ops.expand_dims(s, axis=-1)
    inner = adjoint(u) @ t @ v
    moved_u = u @ over_differences(inner * row + column * adjoint(inner), s * s)
    moved_v = v @ over_differences(column * inner + adjoint(inner) * row, s * s)
    values = ops.diagonal(inner, axis1=-2, axis2=-1)
    if u.dtype.kind == "c":
        moved_u = moved_u + u * (1j * ops.expand_dims(ops.imag(values) / s, axis=-2))
    if u.shape[-2] > u.shape[-1]:
        moved_u = moved_u + (t @ v - u @ inner) / row
    if v.shape[-2] > v.shape[-1]:
        moved_v = moved_v + (adjoint(t) @ u - v @ adjoint(inner)) / row
    return moved_u, ops.real(values), adjoint(moved_v)


@svd.types
def svd_types(x: ArrayType) -> tuple[ArrayType, ArrayType, ArrayType]:
    """U, the real singular values and Vᴴ, as many columns, values and rows as the shorter side has."""
    require_matrix(x)
    (*stack, rows, columns), dtype = x.shape, result_dtype(np.linalg.pinv, x)
    count = min(rows, columns)
    return (
        ArrayType((*stack, rows, count), dtype),
        ArrayType((*stack, count), np.empty(0, dtype).real.dtype),
        ArrayType((*stack, count, columns), dtype),
    )


svd.batch(stacked)


@op(
    kind="other",
    samples=[
        Sample([[3.0, 1.0], [4.0, 2.0]], expected=([[-0.6, -0.8], [-0.8, 0.6]], [[-5.0, -2.2], [0.0, 0.4]])),
        Sample([_TALL]),
        Sample([[0.5 + 1.0j, 2.0], [0.5, -1.0], [3.0, 0.25j]]),
    ],
    error_samples=[ErrorSample([[1.0, 2.0, 3.0]], error=ShapeError, match="wide")],
)
def qr(x: Numeric) -> Any:
    """Q with orthonormal columns and the triangular R of X = Q R, for X at least as tall as wide.

    The gradient (Walter and Lehmann, 2018) is (G_Q + Q M) R⁻ᴴ with the Hermitian M whose upper triangle is that of
    G_R Rᴴ - QᴴG_Q.
    """
    x = np.asarray(x)
    qr_types(x)
    q, r = np.linalg.qr(x)
    return q, r


@qr.vjp("x")
def qr_wrt_x(g: Any, out: Any) -> Any:
    q, r = out
    g_q, g_r = conjugate(g[0]), conjugate(g[1])
    upper = (g_r @ adjoint(r) - adjoint(q) @ g_q) * half_lower(r.shape[-1], r.dtype).T
    found = g_q + q @ (upper + adjoint(upper))
    return conjugate(adjoint(ops.solve(r, adjoint(found))))


@qr.types
def qr_types(x: Any) -> tuple[ArrayType, ArrayType]:
    require_matrix(x)
    *stack, rows, columns = x.shape
    if rows < columns:
        raise ShapeError(f"x is wide, of shape {x.shape}: factorize its first {rows} columns")
    dtype = result_dtype(np.linalg.inv, ArrayType(x.shape, x.dtype))
    return ArrayType(x.shape, dtype), ArrayType((*stack, columns, columns), dtype)


qr.batch(stacked)
