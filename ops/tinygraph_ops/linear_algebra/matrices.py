"""What rules about matrices share: transposes, triangles, and the types of square matrices.

Gradients follow the project's convention, without conjugates; the published rules do not, and `conjugate` at both ends
of a rule goes from one to the other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.plugin import ArrayType, DTypeError, ShapeError, ops


def transposed(x: Any) -> Any:
    """Matrices with their two axes exchanged."""
    return ops.swapaxes(x, axis1=-2, axis2=-1)


def conjugate(x: Any) -> Any:
    return ops.conj(x) if x.dtype.kind == "c" else x


def adjoint(x: Any) -> Any:
    """The conjugate transpose."""
    return transposed(conjugate(x))


def matrices(x: Any) -> Any:
    """Numbers as matrices of one element, which broadcast to all of them."""
    return ops.expand_dims(x, axis=(-2, -1))


def on_diagonal(x: Any) -> Any:
    """Vectors as diagonal matrices."""
    return ops.expand_dims(x, axis=-1) * unit(x.shape[-1], x.dtype)


def unit(size: int, dtype: Any) -> Any:
    return np.eye(size, dtype=dtype)


def half_lower(size: int, dtype: Any) -> Any:
    """Ones below the diagonal and halves on it: a Hermitian matrix is this part of it plus its adjoint."""
    return (np.tril(np.ones((size, size))) - 0.5 * np.eye(size)).astype(dtype)


def read_from_lower(x: Any) -> Any:
    """The gradient of the lower triangle, which alone is read, where x is that of the whole Hermitian matrix."""
    return (x + adjoint(x)) * half_lower(x.shape[-1], x.dtype)


def reciprocal_differences(x: Any, y: Any) -> Any:
    """1 / (x_j - y_i), and 0 where the two are equal: on the diagonal, and by convention where values repeat."""
    difference = ops.expand_dims(x, axis=-2) - ops.expand_dims(y, axis=-1)
    equal = ops.equal(difference, 0)
    return ops.where(equal, 0.0, 1 / ops.where(equal, 1.0, difference))


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
