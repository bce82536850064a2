"""Products of a sparse matrix and a dense one. The sparse one is its values and where they stand (COO), or CSR.

Two ops are each other's derivatives: the sparse-dense product, and the dense-dense product sampled at given places
(SDDMM). Their names and roles in message passing: Wang et al., "Deep Graph Library", 2019 (arXiv:1909.01315),
section 3. Entries that name one place twice add up.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import (
    ArrayType,
    DTypeError,
    ErrorSample,
    Sample,
    SettingError,
    ShapeError,
    broadcast_shapes,
    composite,
    op,
)

# [[0, 2, 0, -1], [0, 0, 0, 0], [0.5, 0, 3, 0]] with its 3 in two parts
_VALUES = [2.0, -1.0, 0.5, 4.0, -1.0]
_ROWS, _COLUMNS = [0, 0, 2, 2, 2], [1, 3, 0, 2, 2]
_DENSE = [[1.0, -2.0], [0.5, 3.0], [-1.5, 0.25], [2.0, 1.0]]
_LEFT = [[1.0, -2.0], [0.5, 1.5], [3.0, -0.5]]


@op(
    kind="contraction",
    linear=("values", "dense"),
    nondifferentiable=("rows", "columns"),
    samples=[
        Sample(_VALUES, _ROWS, _COLUMNS, _DENSE, shape=(3, 4),
               expected=[[-1.0, 5.0], [0.0, 0.0], [-4.0, -0.25]]),
        Sample([3.0, -2.0], [1, 1], [2, 0], [[1.0], [5.0], [10.0]], shape=(2, 3), expected=[[0.0], [28.0]]),
        Sample(_VALUES, _ROWS, _COLUMNS, [_DENSE, [[2.0, 0.5], [-1.0, 4.0], [0.0, 1.0], [-3.0, 2.0]]], shape=(3, 4)),
        Sample([_VALUES, [1.0, -2.0, 3.0, 0.25, -0.5]], _ROWS, _COLUMNS, _DENSE, shape=(3, 4)),
        Sample(np.zeros(0), np.zeros(0, int), np.zeros(0, int), _DENSE, shape=(2, 4), expected=np.zeros((2, 2))),
    ],
    error_samples=[
        ErrorSample(_VALUES, _ROWS, _COLUMNS, _DENSE, shape=(3, 5), error=ShapeError, match="4 rows"),
        ErrorSample(_VALUES, _ROWS, _COLUMNS, _DENSE, shape=(2, 4), error=ShapeError, match="rows reach from 0 to 2"),
        ErrorSample(_VALUES, _ROWS, [-1] * 5, _DENSE, shape=(3, 4), error=ShapeError, match="columns reach from -1"),
        ErrorSample(_VALUES, [0, 1], _COLUMNS, _DENSE, shape=(3, 4), error=ShapeError, match="one row and one column"),
        ErrorSample(_VALUES, [0.0] * 5, _COLUMNS, _DENSE, shape=(3, 4), error=DTypeError, match="integers"),
        ErrorSample(_VALUES, _ROWS, _COLUMNS, [1.0, 2.0], shape=(3, 2), error=ShapeError, match="(..., 2, k)"),
        ErrorSample(_VALUES, _ROWS, _COLUMNS, _DENSE, shape=(3,), error=SettingError, match="two sizes"),
    ],
)  # fmt: skip
def sparse_matmul(values: Any, rows: Any, columns: Any, dense: Any, *, shape: Any) -> Any:
    """out[..., r, :] = sum over entries i in row r of values[..., i] * dense[..., columns[i], :].

    d/dvalues samples g denseᵀ at the entries; d/ddense is the product of the transposed matrix with g.

    Args:
        values: (..., entries), with leading axes that broadcast to those of `dense`.
        rows, columns: (entries,), integers: where each value stands.
        dense: (..., columns, k).
        shape: (rows, columns) of the sparse matrix.

    Returns:
        (..., rows, k).

    Raises:
        ShapeError: operands that do not fit, or an entry outside the matrix.
        DTypeError: rows or columns that are no integers.

    >>> import numpy as np
    >>> sparse_matmul(np.array([2.0, 3.0]), np.array([0, 1]), np.array([1, 0]), np.eye(2), shape=(2, 2))
    array([[0., 2.],
           [3., 0.]])
    """
    stated = sparse_matmul_types(values, np.asarray(rows), np.asarray(columns), dense, shape=shape)
    _check_places(rows, shape[0], "rows")
    _check_places(columns, shape[1], "columns")
    out = np.zeros(stated.shape, stated.dtype)
    # sorted by row, so that every row is one sum over neighbouring entries
    order = np.argsort(rows, kind="stable")
    filled, starts = np.unique(np.asarray(rows)[order], return_index=True)
    if len(filled):
        terms = values[..., order, None] * dense[..., np.asarray(columns)[order], :]
        out[..., filled, :] = np.add.reduceat(terms, starts, axis=-2)
    return out


@sparse_matmul.types
def sparse_matmul_types(
    values: ArrayType, rows: ArrayType, columns: ArrayType, dense: ArrayType, *, shape: Any
) -> ArrayType:
    if not isinstance(shape, tuple) or len(shape) != 2 or min(shape) < 0:
        raise SettingError(f"shape is {shape}; a matrix has two sizes, (rows, columns)")
    _check_entries(rows, columns)
    if values.shape[-1:] != rows.shape:
        raise ShapeError(
            f"every value has one row and one column: values has the shape {values.shape}, rows {rows.shape}"
        )
    if len(getattr(dense, "shape", ())) < 2:
        raise ShapeError(
            f"dense must be (..., {shape[1]}, k); it has the shape {getattr(dense, 'shape', ())}"
        )
    if dense.shape[-2] != shape[1]:
        raise ShapeError(f"dense has {dense.shape[-2]} rows, and the sparse matrix {shape[1]} columns")
    leading = broadcast_shapes(values.shape[:-1], dense.shape[:-2])
    return ArrayType((*leading, shape[0], dense.shape[-1]), np.result_type(values.dtype, dense.dtype))


@sparse_matmul.vjp("values")
def sparse_matmul_wrt_values(g: Any, rows: Any, columns: Any, dense: Any) -> Any:
    return sampled_matmul(g, dense, rows, columns)


@sparse_matmul.vjp("dense")
def sparse_matmul_wrt_dense(g: Any, values: Any, rows: Any, columns: Any, *, shape: Any) -> Any:
    return sparse_matmul(values, columns, rows, g, shape=(shape[1], shape[0]))


@op(
    kind="contraction",
    linear=("left", "right"),
    nondifferentiable=("rows", "columns"),
    samples=[
        Sample(_LEFT, _DENSE, _ROWS, _COLUMNS, expected=[-5.5, 0.0, 4.0, -4.625, -4.625]),
        Sample([_LEFT, [[0.5, 1.0], [-1.0, 2.0], [4.0, -3.0]]], _DENSE, _ROWS, _COLUMNS),
        Sample(_LEFT, [_DENSE, [[2.0, 0.5], [-1.0, 4.0], [0.0, 1.0], [-3.0, 2.0]]], _ROWS, _COLUMNS),
    ],
    error_samples=[
        ErrorSample(_LEFT, [[1.0]], _ROWS, _COLUMNS, error=ShapeError, match="2 and 1"),
        ErrorSample(_LEFT, _DENSE, [3], [0], error=ShapeError, match="rows reach from 3 to 3"),
        ErrorSample(_LEFT, _DENSE, [0], [4], error=ShapeError, match="columns reach from 4 to 4"),
        ErrorSample([1.0], _DENSE, [0], [0], error=ShapeError, match="at least 2 dimensions"),
        ErrorSample(_LEFT, _DENSE, [0], [0.5], error=DTypeError, match="integers"),
    ],
)
def sampled_matmul(left: Any, right: Any, rows: Any, columns: Any) -> Any:
    """out[..., i] = left[..., rows[i], :] · right[..., columns[i], :];  d/dleft = the sparse matrix of g times right.

    Entries of left rightᵀ, without the rest of it: scores along the edges of a graph.

    Args:
        left, right: (..., m, k) and (..., n, k), with leading axes that broadcast.
        rows, columns: (entries,), integers: which rows of `left` and `right`.

    Returns:
        (..., entries).

    >>> import numpy as np
    >>> sampled_matmul(np.eye(2), np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 1]), np.array([1, 1]))
    array([3., 4.])
    """
    sampled_matmul_types(left, right, np.asarray(rows), np.asarray(columns))
    _check_places(rows, left.shape[-2], "rows")
    _check_places(columns, right.shape[-2], "columns")
    return np.sum(left[..., rows, :] * right[..., columns, :], axis=-1)


@sampled_matmul.types
def sampled_matmul_types(left: ArrayType, right: ArrayType, rows: ArrayType, columns: ArrayType) -> ArrayType:
    for name, one in (("left", left), ("right", right)):
        if len(getattr(one, "shape", ())) < 2:
            raise ShapeError(
                f"{name} needs at least 2 dimensions; it has the shape {getattr(one, 'shape', ())}"
            )
    if left.shape[-1] != right.shape[-1]:
        raise ShapeError(
            f"the last axes of left and right must have one size; they have {left.shape[-1]} and {right.shape[-1]}"
        )
    _check_entries(rows, columns)
    leading = broadcast_shapes(left.shape[:-2], right.shape[:-2])
    return ArrayType((*leading, *rows.shape), np.result_type(left.dtype, right.dtype))


@sampled_matmul.vjp("left")
def sampled_matmul_wrt_left(g: Any, left_type: Any, right: Any, rows: Any, columns: Any) -> Any:
    return sparse_matmul(g, rows, columns, right, shape=(left_type.shape[-2], right.shape[-2]))


@sampled_matmul.vjp("right")
def sampled_matmul_wrt_right(g: Any, left: Any, right_type: Any, rows: Any, columns: Any) -> Any:
    return sparse_matmul(g, columns, rows, left, shape=(right_type.shape[-2], left.shape[-2]))


@op(
    kind="indexing",
    nondifferentiable=("offsets", "columns"),
    samples=[
        Sample([0, 2, 2, 5], _COLUMNS, expected=_ROWS),
        Sample([0], np.zeros(0, int), expected=np.zeros(0, int)),
    ],
    error_samples=[
        ErrorSample([0, 3, 2, 5], _COLUMNS, error=ShapeError, match="never fall"),
        ErrorSample([0, 2, 4], _COLUMNS, error=ShapeError, match="5 entries"),
        ErrorSample([0.0, 5.0], _COLUMNS, error=DTypeError, match="integers"),
    ],
)
def csr_rows(offsets: Any, columns: Any) -> Any:
    """out[i] = the row r with offsets[r] <= i < offsets[r + 1]: the rows of a CSR matrix's entries.

    Args:
        offsets: (rows + 1,), integers: where each row's entries start, and where the last one's end.
        columns: (entries,), integers.

    >>> import numpy as np
    >>> csr_rows(np.array([0, 2, 3]), np.array([1, 0, 1]))
    array([0, 0, 1])
    """
    csr_rows_types(offsets, columns)
    counts = np.diff(offsets)
    if (counts < 0).any():
        raise ShapeError("the offsets of CSR rows never fall")
    if offsets[0] != 0 or offsets[-1] != len(columns):
        raise ShapeError(
            f"offsets must go from 0 to the number of entries; they go from {offsets[0]} to {offsets[-1]}, and there "
            f"are {len(columns)} entries"
        )
    return np.repeat(np.arange(len(counts)), counts)


@csr_rows.types
def csr_rows_types(offsets: ArrayType, columns: ArrayType) -> ArrayType:
    _check_entries(columns, columns)
    if offsets.dtype.kind not in "iu":
        raise DTypeError(f"offsets must be integers, not {offsets.dtype}")
    if len(offsets.shape) != 1 or offsets.shape[0] < 1:
        raise ShapeError(f"offsets must be (rows + 1,); they have the shape {offsets.shape}")
    return ArrayType(columns.shape, np.dtype(np.intp))


@composite(
    samples=[
        Sample(_VALUES, [0, 2, 2, 5], _COLUMNS, _DENSE, expected=[[-1.0, 5.0], [0.0, 0.0], [-4.0, -0.25]]),
    ],
    error_samples=[ErrorSample(_VALUES, [0, 2], _COLUMNS, _DENSE, error=ShapeError, match="5 entries")],
)
def csr_matmul(values: Any, offsets: Any, columns: Any, dense: Any) -> Any:
    """The product of a CSR matrix (values, offsets, columns) and a dense one.

    Args:
        values, columns: (entries,), row by row.
        offsets: (rows + 1,): where each row's entries start.
        dense: (..., columns, k).

    >>> import numpy as np
    >>> csr_matmul(np.array([2.0, 3.0]), np.array([0, 1, 2]), np.array([1, 0]), np.eye(2))
    array([[0., 2.],
           [3., 0.]])
    """
    shape = (len(offsets) - 1, np.shape(dense)[-2])
    return sparse_matmul(values, csr_rows(offsets, columns), columns, dense, shape=shape)


def _check_entries(rows: Any, columns: Any) -> None:
    for name, one in (("rows", rows), ("columns", columns)):
        if one.dtype.kind not in "iu":
            raise DTypeError(f"{name} must be integers, not {one.dtype}")
    if len(rows.shape) != 1 or rows.shape != columns.shape:
        raise ShapeError(
            f"every value has one row and one column: rows has the shape {rows.shape}, columns {columns.shape}"
        )


def _check_places(places: Any, size: int, name: str) -> None:
    """A place outside the matrix would silently count from its end, or raise without saying which."""
    if len(places) and not (places.min() >= 0 and places.max() < size):
        raise ShapeError(f"{name} reach from {places.min()} to {places.max()}, and there are {size}")
