"""scipy.linalg on tensors: NumPy's functions under SciPy's arguments; functions, solvers and patterns of matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import NumpyFunctionError
from tinygraph.numpy.constants import in_program
from tinygraph.numpy.form import detached, floating, grouped, operand
from tinygraph.scipy.passing import double, passed_on

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def __getattr__(name: str) -> Any:
    return passed_on("linalg", name)


def _grouped(body: Any) -> Any:
    return grouped(body.__name__, body)


def _adjoint(x: Numeric) -> Any:
    return np.conj(np.swapaxes(x, -1, -2)) if x.dtype.kind == "c" else np.swapaxes(x, -1, -2)


# -- systems -----------------------------------------------------------------------------------------------------------


def inv(a: Numeric, overwrite_a: bool = False, check_finite: bool = True, **hints: object) -> Any:
    """The inverse of square matrices."""
    return np.linalg.inv(a)


def det(a: Numeric, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The determinant of square matrices."""
    return np.linalg.det(double(a))


def pinv(
    a: Numeric,
    *,
    atol: object = None,
    rtol: Any = None,
    return_rank: bool = False,
    check_finite: bool = True,
) -> Any:
    """The Moore-Penrose inverse."""
    if atol is not None:
        raise NumpyFunctionError("scipy.linalg.pinv on tensors takes rtol=, and no atol=")
    a = operand(a)
    bound = max(a.shape[-2:]) * np.finfo(a.dtype).eps if rtol is None else rtol
    found = np.linalg.pinv(a, rcond=bound)
    return (found, np.linalg.matrix_rank(a, rtol=bound)) if return_rank else found


def pinvh(a: Numeric, *, atol: Any = None, rtol: Any = None, lower: bool = True, **options: Any) -> Any:
    """The Moore-Penrose inverse of Hermitian matrices."""
    return pinv(ops.hermitian(operand(a), lower=lower), atol=atol, rtol=rtol, **options)


@_grouped
def solve(
    a: Numeric,
    b: Numeric,
    lower: bool = False,
    overwrite_a: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
    assume_a: object = None,
    transposed: bool = False,
) -> Any:
    """X of A X = B, or of Aᵀ X = B."""
    a = np.atleast_2d(operand(a))
    b = np.atleast_1d(operand(b))
    if assume_a in ("sym", "her", "pos", "symmetric", "hermitian", "positive definite"):
        a = ops.hermitian(a, lower=lower)
    return np.linalg.solve(np.swapaxes(a, -1, -2) if transposed else a, b)


@_grouped
def solve_triangular(
    a: Numeric,
    b: Numeric,
    trans: object = 0,
    lower: bool = False,
    unit_diagonal: bool = False,
    overwrite_b: bool = False,
    check_finite: bool = True,
) -> Any:
    """X of A X = B, where of A one triangle is read."""
    a = operand(a)
    triangle = np.tril(a) if lower else np.triu(a)
    if unit_diagonal:
        triangle = np.where(np.eye(a.shape[-1], dtype=bool), 1.0, triangle)
    if trans in (1, "T"):
        triangle = np.swapaxes(triangle, -1, -2)
    elif trans in (2, "C"):
        triangle = _adjoint(triangle)
    return np.linalg.solve(triangle, b)


@_grouped
def cho_factor(a: Numeric, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The Cholesky factor and whether it is the lower one, for `cho_solve`; the other triangle is zero."""
    return cholesky(a, lower), lower


@_grouped
def cho_solve(c_and_lower: Any, b: Any, overwrite_b: bool = False, check_finite: bool = True) -> Any:
    """X of A X = B, given the Cholesky factor of A."""
    factor, lower = c_and_lower
    first = solve_triangular(factor, b, lower=lower, trans=0 if lower else "C")
    return solve_triangular(factor, first, lower=lower, trans="C" if lower else 0)


@_grouped
def lstsq(a: Numeric, b: Numeric, cond: Any = None, **hints: object) -> Any:
    """Least squares: the solution, residuals, rank and singular values."""
    solution, residuals, rank, values = np.linalg.lstsq(a, b, rcond=cond)
    if not np.shape(a)[-1]:  # without unknowns all of b is left
        residuals = np.sum(np.square(np.absolute(b)), axis=0)
    elif operand(b).ndim == 1 and residuals.size:
        residuals = residuals[0]
    return solution, residuals, rank, values


def _band_to_dense(bands: Numeric, lower: int, upper: int, size: int) -> Any:
    """The matrix of which `bands` has a diagonal in each row, from the highest to the lowest."""
    rows = [upper - k for k in range(upper + lower + 1)]
    parts = []
    for k, offset in enumerate(rows):
        line = bands[k, max(offset, 0) : size + min(offset, 0)]
        parts.append(np.diag(line, offset))
    found = parts[0]
    for part in parts[1:]:
        found = found + part
    return found


def _of_half(half: Numeric) -> Any:
    """The Hermitian matrix of which one triangle alone is given."""
    return half + _adjoint(half) - np.diag(np.real(np.diagonal(half)))


@_grouped
def solve_banded(l_and_u: Any, ab: Any, b: Numeric, **hints: object) -> Any:
    """X of A X = B, for a band matrix given by its diagonals; it is made whole here."""
    lower, upper = l_and_u
    ab = operand(ab)
    return np.linalg.solve(_band_to_dense(ab, lower, upper, ab.shape[1]), b)


@_grouped
def solveh_banded(ab: Any, b: Numeric, lower: bool = False, **hints: object) -> Any:
    """X of A X = B, for a Hermitian band matrix given by one half of its diagonals."""
    ab = operand(ab)
    if not ab.size:
        return np.zeros(np.shape(b), np.result_type(ab.dtype, operand(b).dtype))
    count = ab.shape[0] - 1
    half = _band_to_dense(ab, count, 0, ab.shape[1]) if lower else _band_to_dense(ab, 0, count, ab.shape[1])
    return np.linalg.solve(_of_half(half), b)


@_grouped
def solve_toeplitz(c_or_cr: object, b: Numeric, check_finite: bool = True) -> Any:
    """X of T X = B, for the Toeplitz matrix with a given first column, and row."""
    return np.linalg.solve(double(_toeplitz_of(c_or_cr)), b)


@_grouped
def matmul_toeplitz(c_or_cr: object, x: Numeric, check_finite: bool = False, workers: object = None) -> Any:
    """T x, for the Toeplitz matrix with a given first column, and row."""
    return np.matmul(double(_toeplitz_of(c_or_cr)), x)


def _toeplitz_of(c_or_cr: object) -> Any:
    return toeplitz(*c_or_cr) if isinstance(c_or_cr, tuple) else toeplitz(c_or_cr)


@_grouped
def solve_circulant(c: object, b: Numeric, **options: object) -> Any:
    """X of C X = B, for the circulant matrix with a given first column."""
    return np.linalg.solve(circulant(c), np.atleast_1d(operand(b)))


@_grouped
def solve_sylvester(a: Numeric, b: Numeric, q: object) -> Any:
    """X of A X + X B = Q."""
    return ops.solve_sylvester(operand(a), operand(b), operand(q))


@_grouped
def solve_continuous_lyapunov(a: Numeric, q: object) -> Any:
    """X of A X + X Aᴴ = Q."""
    a = np.atleast_2d(operand(a))
    return ops.solve_sylvester(a, _adjoint(a), np.atleast_2d(operand(q)))


solve_lyapunov = solve_continuous_lyapunov


@_grouped
def solve_discrete_lyapunov(a: Numeric, q: Numeric, method: object = None) -> Any:
    """X of A X Aᴴ - X + Q = 0."""
    a, q = operand(a), operand(q)
    size = a.shape[0]
    system = np.eye(size * size) - np.kron(a, np.conj(a))
    return np.linalg.solve(system, q.reshape(-1)).reshape(size, size)


# -- factorizations ----------------------------------------------------------------------------------------------------


@_grouped
def cholesky(a: Numeric, lower: bool = False, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """The Cholesky factor; of `a` the triangle of that name is read."""
    return np.linalg.cholesky(np.atleast_2d(operand(a)), upper=not lower)


@_grouped
def eigh(
    a: Numeric,
    b: Numeric | None = None,
    *,
    lower: bool = True,
    eigvals_only: bool = False,
    subset_by_index: Any = None,
    **hints: Any,
) -> Any:
    """Eigenvalues and eigenvectors of A v = w v, or of A v = w B v with a positive definite B."""
    x = ops.hermitian(operand(a), lower=lower)
    if b is None:
        values, vectors = ops.eigh(x)
    else:
        factor = ops.cholesky(ops.hermitian(operand(b), lower=lower))
        inner = np.linalg.solve(factor, _adjoint(np.linalg.solve(factor, x)))
        values, inside = ops.eigh(ops.hermitian(_adjoint(inner)))
        vectors = np.linalg.solve(_adjoint(factor), inside)
    if subset_by_index is not None:
        first, last = subset_by_index
        values, vectors = values[..., first : last + 1], vectors[..., first : last + 1]
    return values if eigvals_only else (values, vectors)


def eigvalsh(a: Numeric, b: Numeric | None = None, *, lower: bool = True, **options: object) -> Any:
    """The eigenvalues of `eigh`."""
    return eigh(a, b, lower=lower, eigvals_only=True, **options)


@_grouped
def eigh_tridiagonal(d: Numeric, e: Numeric, eigvals_only: bool = False, **options: Any) -> Any:
    """Eigenvalues and eigenvectors of the symmetric matrix with diagonal d and e beside it."""
    e = operand(e)
    return eigh(np.diag(d) + np.diag(e, -1) + np.diag(e, 1), eigvals_only=eigvals_only, **options)


def eigvalsh_tridiagonal(d: object, e: object, **options: object) -> Any:
    """The eigenvalues of `eigh_tridiagonal`."""
    return eigh_tridiagonal(d, e, eigvals_only=True, **options)


@_grouped
def eig_banded(a_band: object, lower: bool = False, eigvals_only: bool = False, **hints: object) -> Any:
    """Eigenvalues and eigenvectors of a Hermitian band matrix."""
    bands = operand(a_band)
    if not bands.size:
        return eigh(np.zeros((0, 0), bands.dtype), eigvals_only=eigvals_only)
    count = bands.shape[0] - 1
    half = _band_to_dense(bands, count if lower else 0, 0 if lower else count, bands.shape[1])
    return eigh(_of_half(half), eigvals_only=eigvals_only)


def eigvals_banded(a_band: object, lower: bool = False, **hints: object) -> Any:
    """The eigenvalues of `eig_banded`."""
    return eig_banded(a_band, lower, eigvals_only=True)


@_grouped
def eig(a: Numeric, b: Numeric | None = None, left: bool = False, right: bool = True, **hints: object) -> Any:
    """Complex eigenvalues and right eigenvectors of A v = w v, or of A v = w B v."""
    if left:
        raise NumpyFunctionError(
            "scipy.linalg.eig on tensors has right eigenvectors; left ones are those of a.conj().T"
        )
    a = operand(a)
    values, vectors = ops.eig(a if b is None else np.linalg.solve(b, a))
    return (values, vectors) if right else values


def eigvals(a: Numeric, b: Numeric | None = None, **hints: object) -> Any:
    """The complex eigenvalues of `eig`."""
    return eig(a, b, right=False)


@_grouped
def svd(a: object, full_matrices: bool = True, compute_uv: bool = True, **hints: object) -> Any:
    """U, s and Vᴴ."""
    plain: Any = np.linalg.svd
    found = plain(a, full_matrices=full_matrices, compute_uv=compute_uv)
    return tuple(found) if compute_uv else found


def svdvals(a: Numeric, **hints: object) -> Any:
    """The singular values."""
    return np.linalg.svd(a, compute_uv=False)


@_grouped
def qr(
    a: Numeric,
    overwrite_a: bool = False,
    lwork: object = None,
    mode: str = "full",
    pivoting: bool = False,
    **hints: object,
) -> Any:
    """Q and R; of a matrix that is taller than wide with mode="economic"."""
    a = operand(a)
    if pivoting or (mode == "full" and a.shape[-2] > a.shape[-1]) or mode == "raw":
        raise NumpyFunctionError(
            "scipy.linalg.qr on tensors takes mode='economic' (or 'r'): other columns of Q have no derivative"
        )
    found = np.linalg.qr(a, mode="r" if mode == "r" else "reduced")
    return (found,) if mode == "r" else tuple(found)


@_grouped
def rq(
    a: Numeric, overwrite_a: bool = False, lwork: object = None, mode: str = "full", check_finite: bool = True
) -> Any:
    """R and Q with A = R Q, for A at least as wide as tall with mode="economic": QR of A turned around."""
    a = operand(a)
    if a.shape[-2] > a.shape[-1] or (mode == "full" and a.shape[-2] != a.shape[-1]):
        raise NumpyFunctionError(
            "scipy.linalg.rq on tensors takes square matrices, or wide ones with mode='economic'"
        )
    q, r = np.linalg.qr(_adjoint(np.flip(a, axis=-2)))
    r, q = np.flip(_adjoint(r), axis=(-2, -1)), np.flip(_adjoint(q), axis=-2)
    same = np.equal(np.sign(np.diagonal(detached(r))), in_program("rq_signs", detached(a)))
    signs = np.where(same, 1.0, -1.0).astype(np.empty(0, r.dtype).real.dtype)
    return r * signs, q * signs[:, None]


@_grouped
def polar(a: Numeric, side: str = "right") -> Any:
    """U and a positive semi-definite P with A = U P, or P U."""
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    factor = (
        np.matmul(_adjoint(vh) * s[..., None, :], vh)
        if side == "right"
        else np.matmul(u * s[..., None, :], _adjoint(u))
    )
    return np.matmul(u, vh), factor


@_grouped
def lu(
    a: Any,
    permute_l: bool = False,
    overwrite_a: bool = False,
    check_finite: bool = True,
    p_indices: bool = False,
) -> Any:
    """P, L and U with A = P L U; the rows' order is a constant."""
    a = floating(a)
    if not min(a.shape[-2:]):
        return _nothing_factored(a, permute_l, p_indices)
    order = in_program("row_order", detached(a))
    rows = np.take_along_axis(a, order[..., None] * np.ones(a.shape[-1], int), -2)
    lower, upper = _eliminated(rows)
    places = np.argsort(order, axis=-1)
    if p_indices:
        return places, lower, upper
    permutation = np.equal(places[..., None], np.arange(a.shape[-2])).astype(np.empty(0, a.dtype).real.dtype)
    return (np.matmul(permutation, lower), upper) if permute_l else (permutation, lower, upper)


def _nothing_factored(a: Any, permute_l: bool, p_indices: bool) -> Any:
    """What `lu` gives of matrices without rows or without columns."""
    stack, (rows, columns) = a.shape[:-2], a.shape[-2:]
    lower = np.zeros((*stack, rows, 0), a.dtype)
    upper = np.zeros((*stack, 0, columns), a.dtype)
    if permute_l:
        return lower, upper
    places = np.broadcast_to(np.arange(rows), (*stack, rows))
    kind = np.empty(0, a.dtype).real.dtype
    return (
        places if p_indices else np.broadcast_to(np.eye(rows, dtype=kind), (*stack, rows, rows)),
        lower,
        upper,
    )


def _eliminated(a: Numeric) -> tuple[Any, Any]:
    """L and U of a matrix whose rows stand in the right order, by elimination of column after column."""
    rows, columns = a.shape[-2:]
    left, right = [], []
    rest = a
    for k in range(min(rows, columns)):
        column = rest[..., :, :1] / rest[..., :1, :1]
        left.append(np.pad(column, [(0, 0)] * (a.ndim - 2) + [(k, 0), (0, 0)]))
        right.append(np.pad(rest[..., :1, :], [(0, 0)] * (a.ndim - 2) + [(0, 0), (k, 0)]))
        rest = (rest - column * rest[..., :1, :])[..., 1:, 1:]
    return np.concatenate(left, axis=-1), np.concatenate(right, axis=-2)


@_grouped
def lu_factor(a: Numeric, overwrite_a: bool = False, check_finite: bool = True) -> Any:
    """L below the diagonal and U on and above it, in one matrix, and the exchanges of rows, for `lu_solve`."""
    a = np.atleast_2d(floating(a))
    if not a.size:
        return a, np.arange(min(a.shape), dtype=np.int32)
    pivots, order = (in_program(name, detached(a)) for name in ("pivots", "row_order"))
    lower, upper = _eliminated(a[order])
    return np.tril(lower, -1) + upper, pivots


@_grouped
def lu_solve(
    lu_and_piv: Any, b: Any, trans: int = 0, overwrite_b: bool = False, check_finite: bool = True
) -> Any:
    """X of A X = B, given what `lu_factor` made of A."""
    both, pivots = lu_and_piv
    b = operand(b)
    order = np.arange(both.shape[0])
    for k, one in enumerate(pivots):
        order[[k, one]] = order[[one, k]]
    if trans == 0:
        first = solve_triangular(both, b[order], lower=True, unit_diagonal=True)
        return solve_triangular(both, first)
    mode = "T" if trans == 1 else "C"
    first = solve_triangular(both, b, trans=mode)
    return solve_triangular(both, first, lower=True, unit_diagonal=True, trans=mode)[np.argsort(order)]


# -- functions of matrices ---------------------------------------------------------------------------------------------


def _matrix_function(name: str) -> Any:
    def function(A: object, **options: object) -> Any:
        x = double(A) if name == "logm" else operand(A)
        return ops.matrix_function(np.atleast_2d(x) if name in ("expm", "sqrtm") else x, function=name)

    function.__name__, function.__doc__ = name, f"scipy.linalg.{name} of square matrices."
    return _grouped(function)


expm, logm, sqrtm, signm = (_matrix_function(name) for name in ("expm", "logm", "sqrtm", "signm"))
cosm, sinm, tanm = (_matrix_function(name) for name in ("cosm", "sinm", "tanm"))
coshm, sinhm, tanhm = (_matrix_function(name) for name in ("coshm", "sinhm", "tanhm"))


@_grouped
def expm_frechet(A: Numeric, E: Numeric, compute_expm: bool = True, **hints: object) -> Any:
    """expm(A), and its derivative along E: the corner of the exponential of [[A, E], [0, A]]."""
    A, E = double(A), double(E)
    size = A.shape[-1]
    both = expm(np.block([[A, E], [np.zeros(A.shape, A.dtype), A]]))
    along = both[..., :size, size:]
    return (both[..., :size, :size], along) if compute_expm else along


@_grouped
def fractional_matrix_power(A: Numeric, t: Numeric) -> Any:
    """A to the power t: exp(t log A)."""
    if isinstance(t, int):
        return np.linalg.matrix_power(A, t)
    return expm(t * logm(A))


@_grouped
def norm(a: Any, ord: Any = None, axis: Any = None, keepdims: bool = False, check_finite: bool = True) -> Any:
    """The norm of vectors or matrices."""
    return np.linalg.norm(a, ord, axis, keepdims)


# -- patterns ----------------------------------------------------------------------------------------------------------


@_grouped
def block_diag(*arrs: object) -> Any:
    """Matrices along the diagonal, zeros elsewhere."""
    blocks = [np.atleast_2d(operand(one)) for one in arrs]
    dtype = np.result_type(*(one.dtype for one in blocks))
    return np.block(
        [
            [
                one if i == k else np.zeros((one.shape[0], other.shape[1]), dtype)
                for k, other in enumerate(blocks)
            ]
            for i, one in enumerate(blocks)
        ]
    )


@_grouped
def toeplitz(c: Numeric, r: Numeric | None = None) -> Any:
    """The matrix with constant diagonals, of first column c and first row r (the conjugate of c by default)."""
    c = operand(c).reshape(-1)
    r = np.conj(c) if r is None else operand(r).reshape(-1)
    values = np.concatenate([np.flip(c), r[1:]])
    return values[np.arange(c.size)[::-1][:, None] + np.arange(r.size)]


@_grouped
def hankel(c: Numeric, r: Numeric | None = None) -> Any:
    """The matrix with constant anti-diagonals, of first column c and last row r."""
    c = operand(c).reshape(-1)
    r = np.zeros(c.shape, c.dtype) if r is None else operand(r).reshape(-1)
    values = np.concatenate([c, r[1:]])
    return values[np.arange(c.size)[:, None] + np.arange(r.size)]


@_grouped
def circulant(c: Numeric) -> Any:
    """The matrix whose columns are c, each one step further around."""
    c = np.atleast_1d(operand(c))
    size = c.shape[-1]
    return c[..., (np.arange(size)[:, None] - np.arange(size)) % size]


@_grouped
def companion(a: Numeric) -> Any:
    """The matrix whose eigenvalues are a polynomial's roots."""
    a = operand(a)
    size = a.shape[-1]
    row = -a[1:] / a[0]
    return np.concatenate([row[None], np.eye(size - 1, dtype=row.dtype)[:-1]], axis=0)


@_grouped
def convolution_matrix(a: Any, n: int, mode: Any = "full") -> Any:
    """The matrix of which the product with a vector of n elements is its convolution with a."""
    a = operand(a)
    columns = [np.convolve(a, one, mode) for one in np.eye(n, dtype=a.dtype)]
    return np.stack(columns, axis=1)


@_grouped
def fiedler(a: Numeric) -> Any:
    """|a_i - a_j|."""
    a = np.atleast_1d(operand(a))
    return np.absolute(a[:, None] - a[None, :]) if a.size else a


@_grouped
def khatri_rao(a: Numeric, b: Numeric) -> Any:
    """Kronecker products column by column."""
    a, b = operand(a), operand(b)
    return (a[:, None, :] * b[None, :, :]).reshape(a.shape[0] * b.shape[0], b.shape[1])


@_grouped
def leslie(f: Any, s: Any) -> Any:
    """The matrix of an age-structured population: fecundities in the first row, survivals below the diagonal."""
    f = operand(f)
    return np.concatenate([f[None], np.diag(s, -1)[1:]], axis=0)


@_grouped
def orthogonal_procrustes(A: object, B: object, check_finite: bool = True) -> Any:
    """The orthogonal R for which A R is nearest to B, and the sum of the singular values."""
    u, s, vh = np.linalg.svd(np.conj(np.matmul(np.conj(operand(B)).T, operand(A))).T, full_matrices=False)
    return np.matmul(u, vh), np.sum(s)


@_grouped
def subspace_angles(A: Numeric, B: Numeric) -> Any:
    """The angles between the column spaces of two matrices, the largest first."""
    q, p = np.linalg.qr(A)[0], np.linalg.qr(B)[0]
    inner = np.matmul(_adjoint(q), p)
    cosines = np.linalg.svd(inner, compute_uv=False)
    rest = p - np.matmul(q, inner) if q.shape[1] >= p.shape[1] else q - np.matmul(p, _adjoint(inner))
    sines = np.linalg.svd(rest, compute_uv=False)
    large = np.greater_equal(detached(cosines) ** 2, 0.5)
    return np.flip(
        np.where(large, np.arcsin(np.where(large, np.flip(sines), 0)), np.arccos(np.where(large, 0, cosines)))
    )


@_grouped
def qr_multiply(a: Numeric, c: Numeric, mode: str = "right", **hints: object) -> Any:
    """c Q, or Q c with mode="left", and R of A = Q R."""
    q, r = np.linalg.qr(np.atleast_2d(operand(a)))
    c = np.atleast_1d(operand(c))
    if mode == "left":
        if operand(a).shape[-2] != operand(a).shape[-1]:
            raise NumpyFunctionError(
                "scipy.linalg.qr_multiply on tensors takes square matrices with mode='left'"
            )
        return np.matmul(q, c), r
    return np.matmul(c, q), r


@_grouped
def diagsvd(s: Numeric, M: int, N: int) -> Any:
    """The M x N matrix with singular values on its diagonal."""
    square = np.diag(operand(s))
    return np.pad(square, [(0, M - square.shape[0]), (0, N - square.shape[1])])


@_grouped
def fiedler_companion(a: Numeric) -> Any:
    """The companion matrix of a polynomial with its coefficients beside the diagonal (Fiedler, 2003)."""
    a = floating(a)
    if a.size <= 2:
        return np.zeros(0, a.dtype) if a.size < 2 else (-a[1:] / a[:1]).reshape(1, 1)
    coefficients = -(a / a[0])[1:]
    count = coefficients.size
    ones = np.zeros((count, count), a.dtype)
    ones[range(3, count, 2), range(1, count - 2, 2)] = ones[range(0, count - 2, 2), range(2, count, 2)] = 1
    ones[1, 0] = 1
    rows = np.array([0, *range(2, count, 2), *range(0, count - 1, 2)])
    columns = np.array([0, *range(1, count - 1, 2), *range(1, count, 2)])
    places = np.array([0, *range(2, count, 2), *range(1, count, 2)])
    return ops.add_at(ones, (rows, columns), coefficients[places])
