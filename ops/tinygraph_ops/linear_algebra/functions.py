"""Functions of matrices - exponential, logarithm, square root and their kin - from SciPy, which is imported on use."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import (
    Array,
    ArrayType,
    DTypeError,
    ErrorSample,
    Numeric,
    Sample,
    SettingError,
    ShapeError,
    broadcast_shapes,
    one_by_one,
    op,
    ops,
    stacked,
)
from tinygraph_ops.linear_algebra.matrices import require_square, result_dtype, transposed

FUNCTIONS = ("expm", "logm", "sqrtm", "signm", "cosm", "sinm", "tanm", "coshm", "sinhm", "tanhm")
_A = [[1.0, 0.5], [0.25, 2.0]]


@op(
    kind="other",
    samples=[
        Sample([[1.0, 0.0], [0.0, 4.0]], function="sqrtm", expected=[[1.0, 0.0], [0.0, 2.0]]),
        Sample([_A, _A], function="expm"),
        Sample([[1.0, 0.5j], [0.25, 2.0]], function="logm"),
    ],
    error_samples=[
        ErrorSample(_A, function="log", error=SettingError, match="logm"),
        ErrorSample([[-1.0, 0.0], [0.0, 1.0]], function="sqrtm", error=DTypeError, match="complex"),
    ],
)
def matrix_function(x: Numeric, *, function: str) -> Numeric:
    """f(X) for an analytic f by its name in scipy.linalg.

    For each of them f([[A, T], [0, A]]) = [[f(A), Df(A)T], [0, f(A)]] (Mathias, 1996), and Df(A) transposed is Df(Aᵀ):
    so the gradient is the upper right corner of f([[Xᵀ, G], [0, Xᵀ]]).
    """
    x = np.asarray(x)
    matrix_function_types(x, function=function)
    import scipy.linalg

    evaluated = getattr(scipy.linalg, function)
    dtype = result_dtype(np.linalg.inv, ArrayType(x.shape, x.dtype))
    x = x.astype(np.result_type(dtype, float), copy=False)  # SciPy warns of what it finds in single precision
    if x.ndim == 2:
        out = np.asarray(evaluated(x)) if x.size else np.zeros_like(x)
    else:
        out = np.reshape([evaluated(one) for one in x.reshape(-1, *x.shape[-2:])], x.shape)
    if out.dtype.kind == "c" and x.dtype.kind != "c":
        if np.any(np.imag(out)):
            raise DTypeError(f"{function} of this real matrix is complex: pass x.astype(complex)")
        out = out.real
    return out.astype(dtype, copy=False)


@matrix_function.vjp("x")
def matrix_function_wrt_x(g: Numeric, x: Numeric, function: str) -> Numeric:
    size = x.shape[-1]
    back = transposed(x)
    top = ops.concatenate(back, ops.broadcast_to(g, shape=back.shape), axis=-1)
    low = ops.concatenate(np.zeros(x.shape, x.dtype), back, axis=-1)
    both = ops.matrix_function(ops.concatenate(top, low, axis=-2), function=function)
    return both[..., :size, size:]


@matrix_function.types
def matrix_function_types(x: Any, *, function: str) -> ArrayType:
    if function not in FUNCTIONS:
        raise SettingError(f"function is one of {', '.join(FUNCTIONS)}, not {function!r}")
    require_square(x)
    return ArrayType(x.shape, result_dtype(np.linalg.inv, ArrayType(x.shape, x.dtype)))


matrix_function.batch(stacked)


@op(
    kind="other",
    linear=("q",),
    samples=[
        Sample([[1.0]], [[3.0]], [[8.0]], expected=[[2.0]]),
        Sample(
            [[1.0, 0.5], [0.25, 2.0]],
            [[3.0, 0.5, 0.0], [1.0, 2.0, 0.25], [0.0, 0.5, 1.0]],
            [[1.0, 2.0, 0.5]] * 2,
        ),
    ],
    error_samples=[ErrorSample([[1.0]], [[1.0]], [[1.0, 2.0]], error=ShapeError, match="shape")],
)
def solve_sylvester(a: Array, b: Array, q: Array) -> Numeric:
    """X of A X + X B = Q;  Q's gradient H solves Aᵀ H + H Bᵀ = G, A's is -H Xᵀ and B's -Xᵀ H."""
    dtype = solve_sylvester_types(*(np.asarray(one) for one in (a, b, q))).dtype
    import scipy.linalg

    if a.ndim == b.ndim == q.ndim == 2:
        return np.asarray(scipy.linalg.solve_sylvester(a, b, q)).astype(dtype, copy=False)
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2], q.shape[:-2])
    a, b, q = (np.broadcast_to(one, (*stack, *one.shape[-2:])) for one in (a, b, q))
    found = np.empty(q.shape, dtype)
    for i in np.ndindex(*stack):
        found[i] = scipy.linalg.solve_sylvester(a[i], b[i], q[i])
    return found


@solve_sylvester.vjp("a", "b", "q")
def solve_sylvester_wrt_all(g: Numeric, a: Numeric, b: Numeric, out: object) -> Any:
    back = ops.solve_sylvester(transposed(a), transposed(b), g)
    return -(back @ transposed(out)), -(transposed(out) @ back), back


@solve_sylvester.types
def solve_sylvester_types(a: ArrayType, b: ArrayType, q: ArrayType) -> ArrayType:
    sizes = tuple(require_square(ArrayType(one.shape, one.dtype)) for one in (a, b))
    if q.shape[-2:] != sizes:
        raise ShapeError(
            f"a, b and q have the shapes {a.shape}, {b.shape} and {q.shape}; they must be matrices that fit"
        )
    stack = broadcast_shapes(a.shape[:-2], b.shape[:-2], q.shape[:-2])
    found = np.result_type(a.dtype, b.dtype, q.dtype)
    whole = found.kind in "biu"  # as NumPy's linear algebra takes them
    return ArrayType((*stack, *sizes), np.dtype(np.float64) if whole else np.result_type(found, np.float32))


solve_sylvester.batch(one_by_one)
