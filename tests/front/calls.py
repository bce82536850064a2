"""A call of every public function of NumPy: what is in floating point there is differentiated, all else is given.

A function that is not named is called on one matrix, a ufunc on as many as it takes. `REFUSED` says of which functions,
and in which words, a call is refused; `CONSTANT` that no derivative is meant, of functions that take no array at all.
"""

from typing import Any

import numpy as np

A = np.array([[0.62, 1.31, 0.47], [0.85, 0.29, 1.73], [1.46, 0.98, 0.33]])
B = np.array([[0.71, 0.24, 1.18], [1.52, 0.93, 0.36], [0.45, 1.27, 0.81]])
SYMMETRIC = np.array([[2.1, 0.4, -0.3], [0.4, 1.7, 0.2], [-0.3, 0.2, 2.6]])
COMPLEX = np.array([[0.6 + 0.3j, 1.3 - 0.4j], [0.8 + 1.1j, -0.2 + 0.7j]])
TALL = np.array([[0.62, 1.31], [0.85, 0.29], [1.46, -0.98]])
V = np.array([0.62, 1.31, -0.47, 0.85, 0.29, 1.73])
W = np.array([0.71, -0.24, 1.18, 1.52])
UP = np.array([0.1, 0.5, 0.9, 1.6, 2.2])
GAPS = np.array([[0.62, np.nan, 0.47], [0.85, 0.29, np.nan], [1.46, 0.98, 0.33]])
SMALL = A / 2
INTEGERS = np.array([3, 1, 4, 1, 5])
MASK = A > 0.8
PLACES = np.array([[2, 0, 1], [1, 1, 0], [0, 2, 2]])

Call = tuple[Any, ...]


def given(*args: Any, **options: Any) -> tuple[Call, dict[str, Any]]:
    return args, options


CALLS: dict[str, Any] = {
    # elementwise, away from kinks and in their domains
    "arccos": given(SMALL), "arcsin": given(SMALL), "arctanh": given(SMALL), "arccosh": given(A + 1),
    "acos": given(SMALL), "asin": given(SMALL), "atanh": given(SMALL), "acosh": given(A + 1),
    "clip": given(A, 0.4, 1.4), "where": given(MASK, A, B), "ldexp": given(A, PLACES), "heaviside": given(A, B),
    "nan_to_num": given(GAPS), "power": given(A, B), "pow": given(A, B), "float_power": given(A, B),
    "bitwise_and": given(PLACES, PLACES), "bitwise_or": given(PLACES, PLACES), "bitwise_xor": given(PLACES, PLACES),
    "bitwise_not": given(PLACES), "bitwise_invert": given(PLACES), "invert": given(PLACES), "gcd": given(PLACES, PLACES),
    "lcm": given(PLACES, PLACES), "left_shift": given(PLACES, 1), "right_shift": given(PLACES, 1),
    "bitwise_left_shift": given(PLACES, 1), "bitwise_right_shift": given(PLACES, 1), "bitwise_count": given(PLACES),
    "isnat": given(np.array(["2020-01-01"], "datetime64[D]")), "i0": given(A), "angle": given(COMPLEX),
    "conj": given(COMPLEX), "conjugate": given(COMPLEX), "real": given(COMPLEX), "imag": given(COMPLEX),
    "vecdot": given(COMPLEX, COMPLEX), "vecmat": given(COMPLEX[0], COMPLEX), "matvec": given(COMPLEX, COMPLEX[1]),
    # shapes
    "reshape": given(A, (9,)), "swapaxes": given(A, 0, 1), "moveaxis": given(A, 0, 1), "rollaxis": given(A, 1),
    "transpose": given(TALL), "permute_dims": given(TALL, (1, 0)), "expand_dims": given(A, 0), "roll": given(A, 1),
    "broadcast_to": given(A, (2, 3, 3)), "tile": given(A, 2), "repeat": given(A, 2), "squeeze": given(A[None]),
    "resize": given(A, (4, 3)), "astype": given(A, complex), "broadcast_arrays": given(A, V[:3]), "pad": given(A, 1),
    "meshgrid": given(V[:3], W), "diagflat": given(V), "diag": given(V), "fliplr": given(A), "vander": given(W, 3),
    "trim_zeros": given(np.array([0.0, 0.4, 0.0, 1.1, 0.0])), "real_if_close": given(A),
    # splitting and joining
    "split": given(A, 3), "array_split": given(A, 2), "hsplit": given(A, 3), "vsplit": given(A, 3),
    "dsplit": given(A[None], 3), "concatenate": given([A, B]), "concat": given([A, B]), "stack": given([A, B]),
    "hstack": given([A, B]), "vstack": given([A, B]), "row_stack": given([A, B]), "dstack": given([A, B]),
    "column_stack": given([V, V]), "block": given([[A, B], [B, A]]), "append": given(A, B), "insert": given(A, 1, V[:3], 0),
    "delete": given(A, 1, 0), "ediff1d": given(V, W, W), "kron": given(TALL, B), "compress": given([True, False, True], A, 0),
    "extract": given(MASK, A), "take": given(A, [0, 2]), "take_along_axis": given(A, PLACES, 1),
    # writing
    "copyto": given(A, B), "fill_diagonal": given(A, B[0]), "put": given(A, [0, 4], W), "place": given(A, MASK, W),
    "putmask": given(A, MASK, B), "put_along_axis": given(A, PLACES[:, :1], B[:, :1], 1),
    # choosing
    "choose": given(PLACES, [A, B, A + B]), "select": given([MASK, ~MASK], [A, B]),
    "piecewise": given(A, [MASK, ~MASK], [np.sin, np.cos]), "partition": given(V, 2), "argpartition": given(V, 2),
    "searchsorted": given(UP, A), "digitize": given(A, UP), "isin": given(A, B), "array_equal": given(A, B),
    "array_equiv": given(A, B), "allclose": given(A, B), "isclose": given(A, B), "bincount": given(INTEGERS),
    "lexsort": given((V,)), "ix_": given(INTEGERS, INTEGERS), "unravel_index": given(INTEGERS, (9, 2)),
    "ravel_multi_index": given([INTEGERS, INTEGERS], (9, 9)), "packbits": given(PLACES > 0),
    "unpackbits": given(PLACES.astype("uint8")), "union1d": given(V, W), "setdiff1d": given(V, W),
    "setxor1d": given(V, W), "intersect1d": given(V, V[:3]), "apply_along_axis": given(np.cumsum, 0, A),
    "apply_over_axes": given(np.sum, A, [0]), "may_share_memory": given(A, B), "shares_memory": given(A, B),
    "can_cast": given(A.dtype, "complex128"), "min_scalar_type": given(np.float64(0.5)), "full_like": given(A, 2.0),
    "tril_indices_from": given(A), "unstack": given(A),
    # statistics
    "average": given(A, 0, B), "quantile": given(A, [0.3, 0.65], 0), "percentile": given(A, 35), "cov": given(A, B),
    "nanquantile": given(GAPS, 0.3, 1), "nanpercentile": given(GAPS, 35), "corrcoef": given(TALL),
    "histogram": given(V, 3, (-1.0, 2.0), weights=V**2), "histogram2d": given(V, V**2, 3), "histogramdd": given(TALL, 4),
    "histogram_bin_edges": given(V),
    **{name: given(GAPS) for name in ("nansum", "nanprod", "nanmean", "nanmax", "nanmin", "nancumsum", "nancumprod",
                                     "nanargmax", "nanargmin", "nanmedian")},
    "nanvar": given(GAPS, 0), "nanstd": given(GAPS, 0),
    # calculus
    "gradient": given(A, UP[:3], 0.7), "trapezoid": given(A, UP[:3]), "interp": given(V, UP, W[[0, 1, 2, 3, 0]]),
    "convolve": given(V, W), "correlate": given(V, W, "full"), "common_type": given(A), "result_type": given(A, 1.0), "linspace": given(A[0], B[0], 4), "unwrap": given(4 * V),
    "geomspace": given(np.array(0.7), np.array(2.1), 4), "logspace": given(A[0], B[0], 4), "diff": given(A),
    "cumulative_sum": given(V), "cumulative_prod": given(V),
    # polynomials
    "polyval": given(W, A), "polyadd": given(V, W), "polysub": given(V, W), "polymul": given(V, W),
    "polydiv": given(V, W), "polyder": given(W), "polyint": given(W, 2), "polyfit": given(UP, W[[0, 1, 2, 3, 0]], 2),
    "poly": given(W), "roots": given(V),
    # products and linear algebra
    **{name: given(A, B) for name in ("dot", "matmul", "inner", "kron", "cross")},
    "outer": given(V, W), "vdot": given(COMPLEX, COMPLEX), "tensordot": given(A, B), "einsum": given("ij,kj->ik", A, B),
    "einsum_path": given("ij,kj->ik", A, B),
    "linalg.outer": given(V, W), "linalg.matmul": given(A, B), "linalg.tensordot": given(A, B), "linalg.vecdot": given(A, B),
    "linalg.cross": given(A, B), "linalg.solve": given(A, B), "linalg.lstsq": given(TALL, V[:3], None),
    "linalg.matrix_power": given(A, 3), "linalg.multi_dot": given([A, B, TALL]), "linalg.pinv": given(TALL),
    "linalg.cholesky": given(SYMMETRIC), "linalg.eigh": given(SYMMETRIC), "linalg.eigvalsh": given(SYMMETRIC),
    "linalg.qr": given(TALL), "linalg.svd": given(A), "linalg.tensorinv": given((np.cos(np.arange(16.0)) + 2 * np.eye(4).ravel()).reshape(2, 2, 4), 2),
    "linalg.tensorsolve": given((np.cos(np.arange(36.0)) + 2 * np.eye(6).ravel()).reshape(2, 3, 6), A[:2]),
    "linalg.norm": given(A, 2), "linalg.det": given(A), "linalg.matrix_norm": given(A),
    # Fourier transforms
    "fft.fftfreq": given(6), "fft.rfftfreq": given(6), "fft.irfft2": given(COMPLEX), "fft.irfftn": given(COMPLEX),
}  # fmt: skip

# What makes arrays from numbers, or asks about Python: no array goes in that a derivative could be taken by.
WITHOUT_ARRAYS = {
    "arange", "bartlett", "base_repr", "binary_repr", "blackman", "bmat", "broadcast_shapes", "busday_count",
    "busday_offset", "datetime_as_string", "datetime_data", "diag_indices", "empty", "eye", "format_float_positional",
    "format_float_scientific", "from_dlpack", "frombuffer", "fromfile", "fromfunction", "fromiter", "frompyfunc",
    "fromregex", "fromstring", "full", "genfromtxt", "get_include", "get_printoptions", "getbufsize", "geterr",
    "geterrcall", "hamming", "hanning", "identity", "indices", "info", "is_busday", "isdtype", "isfortran", "isscalar",
    "issubdtype", "iterable", "kaiser", "load", "loadtxt", "mask_indices", "mintypecode", "nested_iters", "ones",
    "printoptions", "promote_types", "set_printoptions", "setbufsize", "seterr", "seterrcall", "show_config",
    "show_runtime", "test", "tri", "tril_indices", "triu_indices", "typename", "zeros", "save", "savetxt", "savez",
    "savez_compressed", "fftfreq", "rfftfreq",
}  # fmt: skip
# What makes an ndarray by its name, which holds no gradient.
ARRAYS_BY_NAME = {
    "array", "asanyarray", "asarray", "asarray_chkfinite", "ascontiguousarray", "asfortranarray", "asmatrix", "require",
}  # fmt: skip
# What writes into its first argument: of a tensor that was computed, a new value that it stands for.
WRITING = {"copyto", "fill_diagonal", "place", "put", "put_along_axis", "putmask"}
# Differentiated along symmetric directions, as in other frameworks.
OF_SYMMETRIC = {"linalg.cholesky", "linalg.eigh", "linalg.eigvalsh"}
# Which elements are chosen changes with every small change of them: the gradient is theirs.
CHOSEN_BY_VALUE = {"intersect1d", "trim_zeros"}


def call_of(key: str, function: Any) -> tuple[Any, Call, dict[str, Any]]:
    """A function to call, with operands and options."""
    name = key.rpartition(".")[2]
    if key in CALLS or name in CALLS:
        args, options = CALLS[key] if key in CALLS else CALLS[name]
    else:
        args, options = (A, B, A)[: function.nin] if isinstance(function, np.ufunc) else (A,), {}
    if name in WRITING:

        def written(x: Any, *rest: Any) -> Any:
            x = x + 0
            function(x, *rest)
            return x

        return written, args, options
    if key in OF_SYMMETRIC:
        return lambda x: function((x + x.T) / 2), args, options
    return function, args, options
