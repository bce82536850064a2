"""Embedding: rows of a table looked up by index, and the scatter that is its derivative."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.plugin import (
    Array,
    ArrayType,
    DTypeError,
    ErrorSample,
    Numeric,
    Sample,
    ShapeError,
    batch_size,
    op,
    ops,
    spread,
)

_TABLE = [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]


@op(
    kind="indexing",
    linear="weight",
    nondifferentiable="indices",
    samples=[
        Sample(_TABLE, [2, 0, 2], expected=[[5.0, 6.0], [1.0, 2.0], [5.0, 6.0]]),
        Sample(_TABLE, [[0, 1], [1, 1]]),
        Sample(_TABLE, 1, expected=[3.0, 4.0]),
        Sample(_TABLE, [[2, 1], [2, 2], [1, 2]], padding_idx=0),
        Sample([1.0, 2.0, 3.0], [2, 1], padding_idx=0, expected=[3.0, 2.0]),
    ],
    error_samples=[
        ErrorSample(_TABLE, [0, 3], error=ShapeError, match="indices[1] is 3"),
        ErrorSample(_TABLE, [-1], error=ShapeError, match="indices[0] is -1"),
        ErrorSample(_TABLE, [0.5], error=DTypeError, match="integers"),
        ErrorSample(1.0, [0], error=ShapeError, match="weight"),
        ErrorSample(_TABLE, [0], padding_idx=3, error=ShapeError, match="padding_idx"),
    ],
)
def embedding(weight: Numeric, indices: Array, *, padding_idx: int | None = None) -> Numeric:
    """out[..., :] = weight[indices[...], :];  the gradient adds up over equal indices.

    Args:
        weight: (rows, *features).
        indices: integers from 0 to rows - 1, of any shape.
        padding_idx: a row that gets no gradient.

    Returns:
        (*indices.shape, *features).

    Raises:
        ShapeError: an index out of range, with its position.
        DTypeError: indices that are no integers.

    >>> import numpy as np
    >>> embedding(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1, 1]))
    array([[3., 4.],
           [3., 4.]])
    """
    embedding_types(weight, np.asarray(indices), padding_idx=padding_idx)
    _check_range(indices, weight.shape[0])
    return weight[indices]


@embedding.types
def embedding_types(weight: ArrayType, indices: ArrayType, *, padding_idx: int | None = None) -> ArrayType:
    """(*indices, *features): one row of the table for each index."""
    if not getattr(weight, "shape", ()):
        raise ShapeError("weight is a scalar; it must be a table of rows: (rows, *features)")
    _check_integers(indices)
    if padding_idx is not None and not 0 <= padding_idx < weight.shape[0]:
        raise ShapeError(f"padding_idx is {padding_idx}, but weight has the rows 0 to {weight.shape[0] - 1}")
    return ArrayType((*indices.shape, *weight.shape[1:]), weight.dtype)


@embedding.batch
def embedding_batched(
    batched: Sequence[bool], weight: Numeric, indices: object, *, padding_idx: int | None
) -> Any:
    """One table under the other, and in each example the indices of its own."""
    if not batched[0]:
        return embedding(weight, indices, padding_idx=padding_idx)
    size, rows = weight.shape[:2]
    tables = ops.reshape(weight, shape=(size * rows, *weight.shape[2:]))
    own = _in_own_rows(indices if batched[1] else spread(indices, size), size, rows)
    found = embedding(tables, own)
    if padding_idx is not None:
        padding = ops.reshape(own % rows == padding_idx, shape=(*own.shape, *(1,) * (weight.ndim - 2)))
        found = ops.where(padding, ops.detach(found), found)
    return found


def _in_own_rows(indices: Any, size: int, rows: int) -> Any:
    """Indices of many tables, as those of one that has all their rows."""
    return indices + np.arange(0, size * rows, rows or 1)[:size].reshape(size, *(1,) * (indices.ndim - 1))


# No law sees what a padding row gets, for it is no derivative: it gets nothing, by convention.
@embedding.vjp("weight")  # equivalent (wrong setting): no law sees a padding row
def embedding_wrt_weight(
    g: Numeric, indices: Numeric, weight_type: ArrayType, *, padding_idx: int | None
) -> Numeric:
    """The rows of g added up where their indices point; those of `padding_idx` count for nothing."""
    if padding_idx is not None:  # equivalent (dropped step, wrong condition): no law sees a padding row
        kept = ops.reshape(indices != padding_idx, shape=(*indices.shape, *[1] * (weight_type.ndim - 1)))
        g = ops.where(kept, g, 0)  # equivalent (dropped step, wrong branch, off by one): the same
    return scatter_rows(g, indices, rows=weight_type.shape[0])


embedding.pushes("weight")


@op(
    kind="indexing",
    linear="values",
    nondifferentiable="indices",
    samples=[
        Sample([[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]], [2, 0, 2], rows=3,
               expected=[[10.0, 20.0], [0.0, 0.0], [101.0, 202.0]]),
        Sample([[[1.0], [2.0]], [[3.0], [4.0]]], [[0, 1], [1, 1]], rows=4),
        Sample([3.0, 4.0], 1, rows=2),
    ],
    error_samples=[
        ErrorSample([[1.0]], [3], rows=3, error=ShapeError, match="indices[0] is 3"),
        ErrorSample([[1.0]], [0, 1], rows=3, error=ShapeError, match="start with"),
    ],
)  # fmt: skip
def scatter_rows(values: Array, indices: Array, *, rows: int) -> Numeric:
    """out[indices[...], :] += values[..., :], from zeros;  the transpose of `embedding`.

    Args:
        values: (*indices.shape, *features).
        indices: integers from 0 to rows - 1.

    Returns:
        (rows, *features).

    >>> import numpy as np
    >>> scatter_rows(np.array([1.0, 2.0, 4.0]), np.array([2, 0, 2]), rows=3)
    array([2., 0., 5.])
    """
    indices = np.asarray(indices)
    out_type = scatter_rows_types(values, indices, rows=rows)
    _check_range(indices, rows)
    out = np.zeros(out_type.shape, out_type.dtype)
    if values.size:
        # Equal indices side by side are summed in one call, which is much faster than np.add.at on rows.
        order = np.argsort(indices, axis=None, kind="stable")
        sorted_indices = indices.reshape(-1)[order]
        starts = np.flatnonzero(np.diff(sorted_indices, prepend=-1))
        sorted_values = values.reshape(indices.size, *out.shape[1:])[order]
        out[sorted_indices[starts]] = np.add.reduceat(sorted_values, starts, axis=0)
    return out


@scatter_rows.types
def scatter_rows_types(values: ArrayType, indices: ArrayType, *, rows: int) -> ArrayType:
    """(rows, *features), after the leading axes that values share with the indices."""
    _check_integers(indices)
    ndim = len(indices.shape)
    if values.shape[:ndim] != indices.shape:
        raise ShapeError(
            f"values of shape {values.shape} must start with the shape of indices, {indices.shape}"
        )
    return ArrayType((rows, *values.shape[ndim:]), values.dtype)


@scatter_rows.batch
def scatter_rows_batched(batched: Any, values: Any, indices: Any, *, rows: int) -> Any:
    """One scatter into the rows of all examples, one after another."""
    size = batch_size(batched, (values, indices))
    values, indices = (
        x if one else spread(x, size) for x, one in zip((values, indices), batched, strict=True)
    )
    found = scatter_rows(values, _in_own_rows(indices, size, rows), rows=size * rows)
    return ops.reshape(found, shape=(size, rows, *found.shape[1:]))


@scatter_rows.vjp("values")
def scatter_rows_wrt_values(g: Numeric, indices: Numeric) -> Numeric:
    """The rows of g at the indices."""
    return embedding(g, indices)


scatter_rows.pushes("values")


def _check_integers(indices: object) -> None:
    dtype = getattr(indices, "dtype", np.dtype(np.intp))
    if dtype.kind not in "iu":
        raise DTypeError(f"indices must be integers, not {dtype}")


def _check_range(indices: Numeric, rows: int) -> None:
    indices = np.asarray(indices)
    if indices.size and not (indices.min() >= 0 and indices.max() < rows):
        position = tuple(map(int, np.argwhere((indices < 0) | (indices >= rows))[0]))
        raise ShapeError(
            f"indices{list(position)} is {indices[position]}, but weight has the rows 0 to {rows - 1}"
        )
