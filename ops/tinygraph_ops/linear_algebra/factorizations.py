"""Factorizations: Cholesky, QR, eigenvalues and singular values, each op with its factors as outputs.

Where eigenvalues or singular values repeat, their vectors are not determined: quotients by their differences count as
zero there, which is right for results that do not depend on the choice. Complex vectors are determined up to a phase;
gradients are those of results that do not depend on it.
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
    read_from_lower,
    reciprocal_differences,
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
def hermitian(x: Any, *, lower: bool = True) -> Any:
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
def hermitian_wrt_x(g: Any) -> Any:
    return (g + adjoint(g)) * 0.5


@hermitian.types
def hermitian_types(x: ArrayType, *, lower: bool = True) -> ArrayType:
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
def cholesky_wrt_x(g: Numeric, out: Any) -> Any:
    back = adjoint(out)
    inner = (back @ conjugate(g)) * half_lower(out.shape[-1], out.dtype)
    found = ops.solve(back, inner)  # L⁻ᴴ Φ, and from the right the same of the adjoint
    return conjugate(read_from_lower(adjoint(ops.solve(back, adjoint(found)))))


@cholesky.types
def cholesky_types(x: ArrayType) -> ArrayType:
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
def eigh(x: Any) -> Any:
    """Eigenvalues w, ascending, and eigenvectors V of Hermitian matrices, of which the lower triangle is read.

    The gradient (Giles, 2008) is V (diag G_w + F ∘ VᴴG_V) Vᴴ with F_ij = 1 / (w_j - w_i).
    """
    values, vectors = np.linalg.eigh(x)
    return values, vectors


@eigh.vjp("x")
def eigh_wrt_x(g: Any, out: Any) -> Any:
    values, vectors = out
    inner = on_diagonal(g[0]) + reciprocal_differences(values, values) * (adjoint(vectors) @ conjugate(g[1]))
    return conjugate(read_from_lower(vectors @ inner @ adjoint(vectors)))


@eigh.types
def eigh_types(x: ArrayType) -> tuple[ArrayType, ArrayType]:
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
def eig(x: Any) -> Any:
    """Eigenvalues w and eigenvectors V of square matrices, complex always; each vector has length 1, its largest
    component real, as LAPACK has them.

    The gradient (Boeddeker et al., 2017) is V⁻ᴴ (diag G_w + conj(F) ∘ VᴴG_V) Vᴴ with F_ij = 1 / (w_j - w_i), after
    what changes length and phase was taken out of G_V.
    """
    x = np.asarray(x)
    values, vectors = np.linalg.eig(x)
    dtype = np.result_type(vectors.dtype, np.complex64)
    return values.astype(dtype, copy=False), vectors.astype(dtype, copy=False)


@eig.vjp("x")
def eig_wrt_x(g: Any, out: Any) -> Any:
    values, vectors = out
    g_values, g_vectors = conjugate(g[0]), conjugate(g[1])
    largest = ops.argmax(ops.abs(vectors), axis=-2)
    largest = transposed(ops.one_hot(largest, num_classes=vectors.shape[-1], dtype=ops.real(vectors).dtype))
    component = ops.sum(largest * vectors, axis=-2, keepdims=True)
    overlap = ops.sum(conjugate(g_vectors) * vectors, axis=-2, keepdims=True)
    turned = 1j * ops.imag(overlap) / conjugate(component)  # -i Re(i overlap) / conj
    g_vectors = g_vectors - vectors * ops.real(overlap) + largest * turned
    quotients = conjugate(reciprocal_differences(values, values))
    inner = on_diagonal(g_values) + quotients * (adjoint(vectors) @ g_vectors)
    return conjugate(ops.solve(adjoint(vectors), inner @ adjoint(vectors)))


@eig.types
def eig_types(x: ArrayType) -> tuple[ArrayType, ArrayType]:
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
def svd(x: Any) -> Any:
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
    quotients = reciprocal_differences(s * s, s * s)
    row, column = ops.expand_dims(s, axis=-2), ops.expand_dims(s, axis=-1)
    inner = (quotients * (of_u - adjoint(of_u))) * row + column * (quotients * (of_v - adjoint(of_v)))
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


@svd.types
def svd_types(x: ArrayType) -> tuple[ArrayType, ArrayType, ArrayType]:
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
def qr(x: Any) -> Any:
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
