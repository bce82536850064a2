"""np.linalg: NumPy's arguments and results, made of the factorizations that are ops."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.plugin import (
    CaptureError,
    Numeric,
    NumpyFunctionError,
    detached,
    floating,
    form,
    in_rows,
    known,
    operand,
    ops,
    refuse,
    value,
)

_linalg = np.linalg
_ONE = np.eye(1)
_Eig, _Eigh = type(_linalg.eig(_ONE)), type(_linalg.eigh(_ONE))
_ALWAYS_COMPLEX = _linalg.eigvals(_ONE).dtype.kind == "c"  # since NumPy 2.5, also where all values are real
_Svd, _Qr, _Slogdet = type(_linalg.svd(_ONE)), type(_linalg.qr(_ONE)), type(_linalg.slogdet(_ONE))

# The array API's names for NumPy's functions.
form(_linalg.matmul)(np.matmul)
form(_linalg.tensordot)(np.tensordot)


@form(_linalg.outer)
def outer(x1: Numeric, x2: Numeric, /) -> Any:
    """`np.linalg.outer` of two vectors."""
    x1, x2 = operand(x1), operand(x2)
    if x1.ndim != 1 or x2.ndim != 1:
        raise ValueError("Input arrays must be one-dimensional")
    return np.outer(x1, x2)


@form(_linalg.diagonal)
def diagonal(x: Numeric, /, *, offset: int = 0) -> Any:
    return np.diagonal(x, offset, -2, -1)


@form(_linalg.trace)
def trace(x: Numeric, /, *, offset: int = 0, dtype: DTypeLike | None = None) -> Any:
    """`np.linalg.trace`, over the last two axes."""
    return np.trace(x if dtype is None else x.astype(dtype), offset, -2, -1)


@form(np.cross)
def cross(a: Numeric, b: Numeric, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: Any = None) -> Any:
    axisa, axisb, axisc = (axisa, axisb, axisc) if axis is None else (axis,) * 3
    a, b = np.moveaxis(operand(a), axisa, -1), np.moveaxis(operand(b), axisb, -1)
    if a.shape[-1] not in (2, 3) or b.shape[-1] not in (2, 3):
        raise ValueError("vectors have 2 or 3 components for a cross product")
    flat = a.shape[-1] == b.shape[-1] == 2
    (a1, a2, a3), (b1, b2, b3) = (
        (x[..., 0], x[..., 1], x[..., 2] if x.shape[-1] == 3 else np.zeros(x.shape[:-1], x.dtype))
        for x in (a, b)
    )
    third = a1 * b2 - a2 * b1
    if flat:
        return third
    return np.moveaxis(in_rows(np.stack([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, third], axis=-1)), -1, axisc)


@form(_linalg.cross)
def cross_of_three(x1: Numeric, x2: Numeric, /, *, axis: int = -1) -> Any:
    x1, x2 = operand(x1), operand(x2)
    if x1.shape[axis] != 3 or x2.shape[axis] != 3:
        raise ValueError("Both input arrays must be (arrays of) 3-dimensional vectors")
    return cross(x1, x2, axis=axis)


# -- systems -----------------------------------------------------------------------------------------------------------


@form(_linalg.inv)
def inv(a: Numeric) -> Any:
    """`np.linalg.inv`."""
    return ops.inv(operand(a))


@form(_linalg.solve)
def solve(a: Numeric, b: Numeric) -> Any:
    """`np.linalg.solve`: a vector b is one column."""
    a, b = operand(a), operand(b)
    return ops.solve(a, b[:, None])[..., 0] if b.ndim == 1 else ops.solve(a, b)


@form(_linalg.slogdet)
def slogdet(a: Numeric) -> Any:
    return _Slogdet(*ops.slogdet(operand(a)))


@form(_linalg.pinv)
def pinv(a: Numeric, rcond: Any = None, hermitian: bool = False, *, rtol: Any = np._NoValue) -> Any:
    bound = rcond if rtol is np._NoValue else rtol
    x = ops.hermitian(operand(a)) if hermitian else operand(a)
    if bound is None and rtol is not np._NoValue:
        bound = max(x.shape[-2:]) * np.finfo(x.dtype).eps
    if np.ndim(bound):  # each matrix has its own
        bounds = np.broadcast_to(np.asarray(value(bound)), x.shape[:-2]).reshape(-1)
        rows = x.reshape((-1, *x.shape[-2:]))
        parts = [ops.pinv(rows[i], rcond=float(one)) for i, one in enumerate(bounds)]
        shape = (*x.shape[:-2], x.shape[-1], x.shape[-2])
        return np.stack(parts).reshape(shape) if parts else np.zeros(shape, x.dtype)
    return ops.pinv(x, rcond=None if bound is None else float(bound))


@form(_linalg.lstsq)
def lstsq(a: Numeric, b: Numeric, rcond: Any = None) -> Any:
    a, b = floating(a), floating(b)
    rows, columns = a.shape
    if rcond is None:
        rcond = np.finfo(a.dtype).eps * max(rows, columns)
    elif rcond == -1:
        rcond = np.finfo(a.dtype).eps
    right = b[:, None] if b.ndim == 1 else b
    solution = np.matmul(ops.pinv(a, rcond=float(rcond)), right)
    values = _linalg.svd(a, compute_uv=False)
    sizes = detached(values)
    apart = right - np.matmul(a, solution)
    squares = np.sum(np.real(apart * np.conj(apart)), axis=0)
    if known(sizes):
        sizes = value(sizes)
        rank = np.int32(np.sum(sizes > rcond * sizes[0])) if sizes.size else np.int32(0)
        residuals: Any = squares if rank == columns and rows > columns else np.zeros(0, sizes.dtype)
    else:  # a captured program has residuals or has none: of a matrix of less rank they are NaN
        rank = np.sum(np.greater(sizes, rcond * sizes[0])).astype(np.int32)
        full = np.where(np.equal(rank, columns), squares, np.asarray(np.nan, squares.dtype))
        residuals = full if rows > columns else np.zeros(0, sizes.dtype)
    return solution[:, 0] if b.ndim == 1 else solution, residuals, rank, values


@form(_linalg.tensorinv)
def tensorinv(a: Numeric, ind: int = 2) -> Any:
    a = operand(a)
    if ind <= 0:
        raise ValueError("Invalid ind argument.")
    rest, first = a.shape[ind:], a.shape[:ind]
    return ops.inv(a.reshape(int(np.prod(rest)), -1)).reshape((*rest, *first))


@form(_linalg.tensorsolve)
def tensorsolve(a: Any, b: Numeric, axes: Any = None) -> Any:
    a, b = operand(a), operand(b)
    if axes is not None:
        kept = [k for k in range(a.ndim) if k not in axes]
        a = np.transpose(a, (*kept, *axes))
    shape = a.shape[-(a.ndim - b.ndim) :]
    return solve(a.reshape(b.size, int(np.prod(shape))), b.reshape(-1)).reshape(shape)


@form(_linalg.matrix_power)
def matrix_power(a: Numeric, n: int) -> Any:
    x = operand(a)
    if n < 0:
        x, n = ops.inv(x), -n
    if n == 0:
        return np.broadcast_to(np.eye(x.shape[-1], dtype=x.dtype), x.shape) + np.zeros_like(x)
    found: Any = None
    while n:
        if n % 2:
            found = x if found is None else np.matmul(found, x)
        n //= 2
        x = np.matmul(x, x) if n else x
    return found


@form(_linalg.multi_dot)
def multi_dot(arrays: Any, *, out: object = None) -> Any:
    """The products in the order that takes the fewest multiplications."""
    refuse(_linalg.multi_dot, "use the result", out=out)
    x = [operand(one) for one in arrays]
    if len(x) < 2:
        raise ValueError("Expecting at least two arrays.")
    row, column = x[0].ndim == 1, x[-1].ndim == 1
    x[0] = x[0][None, :] if row else x[0]
    x[-1] = x[-1][:, None] if column else x[-1]
    while len(x) > 2:
        costs = [x[i].shape[0] * x[i].shape[1] * x[i + 1].shape[1] for i in range(len(x) - 1)]
        sizes = [x[i].shape[1] for i in range(len(x) - 1)]
        at = max(range(len(costs)), key=lambda i: (sizes[i], -costs[i]))  # the largest axis goes first
        x[at : at + 2] = [np.matmul(x[at], x[at + 1])]
    found = np.matmul(x[0], x[1])
    found = found[0] if row else found
    return found[..., 0] if column else found


# -- factorizations ----------------------------------------------------------------------------------------------------


@form(_linalg.cholesky)
def cholesky(a: Numeric, /, *, upper: bool = False) -> Any:
    """`np.linalg.cholesky`, which reads one triangle."""
    found = ops.cholesky(ops.hermitian(operand(a), lower=not upper))
    return np.conj(np.swapaxes(found, -1, -2)) if upper else found


@form(_linalg.eigh)
def eigh(a: Numeric, UPLO: str = "L") -> Any:
    """`np.linalg.eigh`, which reads the triangle that UPLO names."""
    return _Eigh(*ops.eigh(ops.hermitian(operand(a), lower=UPLO.upper() == "L")))


@form(_linalg.eigvalsh)
def eigvalsh(a: Numeric, UPLO: str = "L") -> Any:
    return eigh(a, UPLO)[0]


@form(_linalg.eig)
def eig(a: Numeric) -> Any:
    x = operand(a)
    values, vectors = ops.eig(x)
    if x.dtype.kind == "c" or _ALWAYS_COMPLEX:
        return _Eig(values, vectors)
    if not known(values):
        raise CaptureError(
            "np.linalg.eig of a real matrix has real or complex results, as its values are, which a captured program "
            "and tg.vmap cannot know: pass matrix.astype(complex), or use np.linalg.eigh for symmetric matrices"
        )
    if not np.any(np.imag(value(values))):
        values, vectors = np.real(values), np.real(vectors)
    return _Eig(values, vectors)


@form(_linalg.eigvals)
def eigvals(a: Numeric) -> Any:
    return eig(a)[0]


@form(_linalg.svd)
def svd(a: Numeric, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    x = operand(a)
    x = ops.hermitian(x) if hermitian else x
    if compute_uv and full_matrices and x.shape[-1] != x.shape[-2]:
        raise NumpyFunctionError(
            "np.linalg.svd of a matrix that is not square has singular vectors without a derivative: pass "
            "full_matrices=False, which leaves them out"
        )
    u, s, vh = ops.svd(x)
    return _Svd(u, s, vh) if compute_uv else s


@form(_linalg.svdvals)
def svdvals(x: Numeric, /) -> Any:
    return ops.svd(operand(x))[1]


@form(_linalg.qr)
def qr(a: Numeric, mode: str = "reduced") -> Any:
    x = operand(a)
    rows, columns = x.shape[-2:]
    if mode not in ("reduced", "r") and not (mode == "complete" and rows <= columns):
        raise NumpyFunctionError(
            f"np.qr of mode {mode!r} has columns without a derivative: pass mode='reduced', which leaves them out"
        )
    if rows >= columns:
        q, r = ops.qr(x)
    else:  # the first columns make Q, which makes the rest of R
        q, left = ops.qr(x[..., :rows])
        r = np.concatenate([left, np.matmul(np.conj(np.swapaxes(q, -1, -2)), x[..., rows:])], axis=-1)
    return r if mode == "r" else _Qr(q, r)


# -- sizes -------------------------------------------------------------------------------------------------------------


@form(_linalg.cond)
def cond(x: Any, p: Any = None) -> Any:
    x = operand(x)
    if p is None or p in (2, -2):
        values = svdvals(x)
        largest, smallest = values[..., 0], values[..., -1]
        return smallest / largest if p == -2 else largest / smallest
    return _linalg.norm(x, p, axis=(-2, -1)) * _linalg.norm(ops.inv(x), p, axis=(-2, -1))


@form(_linalg.matrix_norm)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    return _linalg.norm(operand(x), ord, axis=(-2, -1), keepdims=keepdims)


@form(_linalg.vector_norm)
def vector_norm(x: Any, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Any:
    x = operand(x)
    if axis is None or isinstance(axis, tuple):
        axes = tuple(range(x.ndim)) if axis is None else tuple(one % x.ndim for one in axis)
        rest = [i for i in range(x.ndim) if i not in axes]
        flat = np.transpose(x, (*axes, *rest)).reshape([-1, *(x.shape[i] for i in rest)])
        found = _linalg.norm(flat, ord, axis=0)
        return found.reshape([1 if i in axes else n for i, n in enumerate(x.shape)]) if keepdims else found
    return _linalg.norm(x, ord, axis=axis, keepdims=keepdims)
