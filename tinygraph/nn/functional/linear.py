"""Linear and bilinear maps, embeddings and convolutions."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import SettingError, ShapeError
from tinygraph.nn.functional.settings import batched

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.types import Padding, Sizes


def linear(input: Numeric, weight: Numeric, bias: Numeric | None = None) -> Any:
    """input @ weight.T + bias;  input (..., in), weight (out, in), bias (out,) -> (..., out)."""
    out = ops.matmul(input, ops.swapaxes(weight, axis1=-2, axis2=-1) if weight.ndim > 1 else weight)
    return out if bias is None else out + bias


def embedding(input: Numeric, weight: Numeric, padding_idx: int | None = None) -> Any:
    """Rows of `weight` at the indices `input`; the row `padding_idx` gets no gradient."""
    if padding_idx is not None and padding_idx < 0:
        padding_idx += weight.shape[0]
    return ops.embedding(weight, input, padding_idx=padding_idx)


def convolution(
    dimensions: int,
    input: Numeric,
    weight: Numeric,
    bias: Numeric | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Any:
    """Cross-correlation; input (batch, in, *spatial) or (in, *spatial), weight (out, in / groups, *kernel)."""
    settings: dict[str, Any] = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return batched(dimensions, input, lambda x: ops.convolution(x, weight, bias, **settings))


def convolution_transpose(
    dimensions: int,
    input: Numeric,
    weight: Numeric,
    bias: Numeric | None = None,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Any:
    """The adjoint of a convolution; input (batch, in, *spatial), weight (in, out / groups, *kernel)."""
    settings: dict[str, Any] = {
        "stride": stride, "padding": padding, "output_padding": output_padding, "groups": groups,
        "dilation": dilation,
    }  # fmt: skip
    return batched(dimensions, input, lambda x: ops.convolution_transpose(x, weight, bias, **settings))


conv1d, conv2d, conv3d = (partial(convolution, n) for n in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (partial(convolution_transpose, n) for n in (1, 2, 3))


def bilinear(input1: Numeric, input2: Numeric, weight: Numeric, bias: Numeric | None = None) -> Any:
    """out[..., k] = input1 . weight[k] . input2 + bias[k];  weight (out, in1, in2)."""
    out = ops.einsum(input1, weight, input2, subscripts="...i,kij,...j->...k")
    return out if bias is None else out + bias


def embedding_bag(
    input: Numeric,
    weight: Numeric,
    offsets: Numeric | None = None,
    mode: str = "mean",
    per_sample_weights: Numeric | None = None,
    padding_idx: int | None = None,
) -> Any:
    """Sums, means or maxima of rows of `weight`: of each row of indices, or of the bags that begin at `offsets`.

    Args:
        input: indices (bags, length), or (total,) with offsets.
        weight: (rows, width).
        offsets: (bags,) where each bag begins, rising from 0; known before anything runs.
        mode: "sum", "mean" or "max".
        per_sample_weights: factors of the rows, of the shape of input; for "sum" alone.
        padding_idx: an index that counts for nothing.
    """
    if mode not in ("sum", "mean", "max"):
        raise SettingError(f'embedding_bag: mode={mode!r} must be "sum", "mean" or "max"')
    if per_sample_weights is not None and mode != "sum":
        raise SettingError(f'embedding_bag: per_sample_weights go with mode="sum", not {mode!r}')
    if (input.ndim == 1) == (offsets is None):
        raise ShapeError(
            f"embedding_bag: indices of shape {input.shape} {'need' if offsets is None else 'take no'} offsets"
        )
    rows = embedding(input, weight, padding_idx)
    counted: Numeric
    if padding_idx is not None:
        counted = input != padding_idx % weight.shape[0]
    else:
        counted = np.ones(input.shape, bool)
    if offsets is not None:
        rows, counted, per_sample_weights = _bags(rows, counted, per_sample_weights, np.asarray(offsets))
    if per_sample_weights is not None:
        rows = rows * ops.expand_dims(per_sample_weights, axis=-1)
    counted = ops.expand_dims(counted, axis=-1)
    if mode == "max":
        highest = ops.max(ops.where(counted, rows, -np.inf), axis=-2)
        return ops.where(ops.any(counted, axis=-2), highest, 0)
    total = ops.sum(ops.where(counted, rows, 0), axis=-2)
    if mode == "sum":
        return total
    return total / ops.maximum(ops.sum(counted.astype(rows.dtype), axis=-2), 1)


def _bags(rows: Numeric, counted: Numeric, factors: object, offsets: Numeric) -> tuple[Any, Any, Any]:
    """Rows (total, width) as (bags, longest, width), and which of them are there."""
    ends = np.append(offsets[1:], rows.shape[0])
    sizes = ends - offsets
    inside = np.arange(max(int(sizes.max(initial=0)), 1)) < sizes[:, None]
    places = np.where(inside, offsets[:, None] + np.arange(inside.shape[1]), 0)
    given = None if factors is None else ops.take(factors, places, axis=0)
    return ops.take(rows, places, axis=0), ops.logical_and(ops.take(counted, places, axis=0), inside), given
