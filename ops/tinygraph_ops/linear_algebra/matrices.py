"""What rules about matrices share: transposes, triangles, and the types of square matrices.

Gradients follow the project's convention, without conjugates; the published rules do not, and `conjugate` at both ends
of a rule goes from one to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.plugin import ArrayType, DTypeError, Numeric, ShapeError, ops


def transposed(x: object) -> Numeric | Any:
    """Matrices with their two axes exchanged."""
    return ops.swapaxes(x, axis1=-2, axis2=-1)


def conjugate(x: Numeric) -> Any:
    return ops.conj(x) if x.dtype.kind == "c" else x


def adjoint(x: Numeric) -> Any:
    """The conjugate transpose."""
    return transposed(conjugate(x))


def matrices(x: Numeric) -> Numeric | Any:
    """Numbers as matrices of one element, which broadcast to all of them."""
    return ops.expand_dims(ops.expand_dims(x, axis=-1), axis=-1)


def on_diagonal(x: Numeric) -> Any:
    """Vectors as diagonal matrices."""
    return ops.expand_dims(x, axis=-1) * unit(x.shape[-1], x.dtype)


def unit(size: int, dtype: DTypeLike) -> Any:
    return np.eye(size, dtype=dtype)


def half_lower(size: int, dtype: DTypeLike) -> Any:
    """Ones below the diagonal and halves on it: a Hermitian matrix is this part of it plus its adjoint."""
    return (np.tril(np.ones((size, size))) - 0.5 * np.eye(size)).astype(dtype)


def read_from_lower(x: Numeric) -> Any:
    """The gradient of the lower triangle, which alone is read, where x is that of the whole Hermitian matrix."""
    return (x + adjoint(x)) * half_lower(x.shape[-1], x.dtype)


def over_differences(x: Numeric, values: Numeric) -> Any:
    """x_ij / (v_j - v_i), 0 on the diagonal.

    Where values repeat, vectors are not determined and have no derivative: the quotient is nan there, but for a zero,
    which says that nothing depends on the vectors.
    """
    difference = ops.expand_dims(values, axis=-2) - ops.expand_dims(values, axis=-1)
    diagonal = np.eye(values.shape[-1], dtype=bool)
    equal = ops.equal(difference, 0) | diagonal
    none, zero = (np.asarray(one, np.empty(0, x.dtype).real.dtype) for one in (np.nan, 0))
    unknown = ops.where(ops.not_equal(x, 0) & ~diagonal, none, zero)
    return ops.where(equal, unknown, x / ops.where(equal, 1.0, difference))


def require_square(x: ArrayType) -> int:
    """The size of square matrices.

    Raises:
        ShapeError: x is no stack of square matrices.
    """
    require_matrix(x)
    if x.shape[-1] != x.shape[-2]:
        raise ShapeError(
            f"the last two axes must be equal, and have the sizes {x.shape[-2]} and {x.shape[-1]}"
        )
    return x.shape[-1]


def require_matrix(x: ArrayType) -> None:
    if x.ndim < 2:
        raise ShapeError(f"a matrix has two axes or more; this has the shape {x.shape}")


def result_dtype(function: Callable[..., Any], *operands: ArrayType) -> Any:
    """The dtype that a function makes of matrices: that of what it makes of matrices of one element.

    Raises:
        DTypeError: it takes no such matrices, as NumPy's linear algebra does not take half precision.
    """
    try:
        return function(*(np.ones((1, 1), one.dtype) for one in operands)).dtype
    except TypeError as error:
        raise DTypeError(str(error)) from None
