"""Parts of transformers of com.microsoft: attention with its projections in one matrix, and normalised sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import ErrorSample, Numeric, Sample, ShapeError, composite, ops

_TOKENS = [[[1.0, -2.0], [0.5, 3.0], [-1.0, 0.25]]]
_WEIGHT = [[0.5, -1.0, 2.0, 1.5, 0.0, 1.0], [1.0, 0.25, -0.5, 1.0, 2.0, -1.5]]
_SHIFT = [0.1, -0.2, 0.3, 0.0, 0.5, 1.0]


@composite(
    facts={"onnx": "com.microsoft::Attention"},
    samples=[
        # a scale of almost nothing looks at all tokens alike: the means of the values
        Sample([[[1.0], [3.0]]], [[1.0, 1.0, 2.0]], num_heads=1, scale=1e-15, expected=[[[4.0], [4.0]]]),
        # the mask leaves the first token alone
        Sample([[[1.0], [3.0]]], [[1.0, 1.0, 2.0]], None, [[1, 0]], num_heads=1, expected=[[[2.0], [2.0]]]),
        Sample(_TOKENS, _WEIGHT, _SHIFT, num_heads=2),
        Sample(_TOKENS, _WEIGHT, _SHIFT, num_heads=1, unidirectional=1, mask_filter_value=-100.0),
    ],
    error_samples=[
        ErrorSample(
            _TOKENS, _WEIGHT, None, [[[1, 1, 1]]], num_heads=1, error=ShapeError, match="3 dimensions"
        ),
        ErrorSample(_TOKENS, _WEIGHT, num_heads=3, error=ShapeError, match="3 heads"),
    ],
)
def packed_attention(
    x: Numeric,
    weight: Numeric,
    bias: Numeric | None = None,
    mask: Numeric | None = None,
    *,
    num_heads: int,
    unidirectional: int = 0,
    mask_filter_value: float = -10000.0,
    scale: float = 0.0,
) -> Any:
    """softmax(scale Q K' + mask) V of every head, with (Q, K, V) = x weight + bias.

    Args:
        x: (batch, length, features).
        weight, bias: (features, 3 width) and (3 width): of queries, keys and values one behind the other.
        mask: (batch, length), 0 where nobody looks.
        num_heads: which share the width.
        unidirectional: whether a token sees none behind it.
        mask_filter_value: the score of what is not seen.
        scale: of scores; 0 for 1 / sqrt(width / num_heads).
    """
    both = np.matmul(x, weight)
    both = both if bias is None else both + bias
    n, length, wide = both.shape
    width = wide // 3
    if width % num_heads:
        raise ShapeError(f"a width of {width} is not divisible among {num_heads} heads")
    if mask is not None and np.ndim(mask) != 2:
        raise ShapeError(f"a mask of {np.ndim(mask)} dimensions is not read here, only (batch, length)")

    def split(i: int) -> Any:
        part = both[..., i * width : (i + 1) * width]
        return np.transpose(np.reshape(part, (n, length, num_heads, width // num_heads)), (0, 2, 1, 3))

    query, key, value = split(0), split(1), split(2)
    scores = np.matmul(query, np.swapaxes(key, -1, -2)) * (scale or (width // num_heads) ** -0.5)
    if unidirectional:
        scores = np.where(np.tri(length, dtype=bool), scores, mask_filter_value)
    if mask is not None:
        seen = np.reshape(np.not_equal(mask, 0), (n, 1, 1, length))
        scores = np.where(seen, scores, mask_filter_value)
    made = np.matmul(ops.softmax(scores, axis=-1), value)
    return np.reshape(np.transpose(made, (0, 2, 1, 3)), (n, length, width))


@composite(
    facts={"onnx": "com.microsoft::SkipLayerNormalization"},
    samples=[
        Sample(_TOKENS, _TOKENS, [1.0, 2.0]),
        Sample(_TOKENS, _TOKENS, [1.0, 2.0], [0.5, 0.0], [1.0, -2.0]),
    ],
)
def skip_layer_norm(
    x: Numeric,
    skip: Numeric,
    scale: Numeric,
    shift: Numeric | None = None,
    bias: Numeric | None = None,
    *,
    epsilon: float = 1e-12,
) -> Any:
    """layer_norm(x + skip + bias) by the last axis, and the sum itself."""
    total = x + skip if bias is None else x + skip + bias
    made = ops.layer_norm(total, scale, shift, normalized_shape=total.shape[-1:], eps=epsilon)
    return made, None, None, total


@composite(
    facts={"onnx": "com.microsoft::SkipSimplifiedLayerNormalization"},
    samples=[Sample(_TOKENS, _TOKENS, [1.0, 2.0]), Sample(_TOKENS, _TOKENS, [1.0, 2.0], [1.0, -2.0])],
)
def skip_rms_norm(
    x: Numeric, skip: Numeric, scale: Numeric, bias: Numeric | None = None, *, epsilon: float = 1e-12
) -> Any:
    """y / sqrt(mean(y^2) + epsilon) scale by the last axis, of y = x + skip + bias, and y itself."""
    total = x + skip if bias is None else x + skip + bias
    mean = np.mean(total * total, axis=-1, keepdims=True)
    return total / np.sqrt(mean + epsilon) * scale, None, None, total
