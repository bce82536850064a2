"""Scaled dot-product attention."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.modes import modes
from tinygraph.core.registry import ops
from tinygraph.errors import SettingError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
from tinygraph.nn.functional.normalization import dropout


def scaled_dot_product_attention(
    query: Numeric,
    key: Numeric,
    value: Numeric,
    attn_mask: Numeric | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Any:
    """softmax(query @ key.mT * scale + mask) @ value  (Vaswani et al., 2017).

    Args:
        query: (..., length, width).
        key, value: (..., source, width) and (..., source, out).
        attn_mask: booleans (True: may attend) or numbers that are added; broadcasts to (..., length, source).
        dropout_p: the probability of dropping an attention weight.
        is_causal: whether a position attends to itself and earlier ones only.
        scale: 1 / sqrt(width) by default.
    """
    if is_causal:
        if attn_mask is not None:
            raise SettingError("scaled_dot_product_attention takes attn_mask or is_causal=True, not both")
        attn_mask = np.tri(query.shape[-2], key.shape[-2], dtype=bool)
    return dropout(attention_weights(query, key, attn_mask, scale), dropout_p) @ value


def attention_weights(
    query: Numeric, key: Numeric, mask: Numeric | None = None, scale: float | None = None
) -> Any:
    """softmax(query @ key.mT * scale + mask), (..., length, source); zeros for a query that may attend to no key."""
    factor = 1.0 / sqrt(query.shape[-1]) if scale is None else scale
    scores = ops.matmul(query * factor, ops.swapaxes(key, axis1=-2, axis2=-1))
    if mask is None:
        return ops.softmax(scores, axis=-1)
    scores = ops.where(mask, scores, -np.inf) if mask.dtype == bool else scores + mask
    hidden = _hidden(mask)
    if hidden is None:
        return ops.softmax(scores, axis=-1)
    return ops.where(hidden, 0, ops.softmax(ops.where(hidden, 0, scores), axis=-1))


def _hidden(mask: Numeric) -> Any:
    """The queries to which a mask leaves no key, (..., length, 1); None if it can be seen that there are none."""
    mask = ops.reshape(mask, shape=(1,)) if mask.ndim == 0 else mask
    seen = mask if mask.dtype == bool else ops.not_equal(mask, -np.inf)
    hidden = ops.logical_not(ops.any(seen, axis=-1, keepdims=True))
    return (
        None
        if isinstance(hidden, np.ndarray) and not hidden.any() and modes.current.capture is None
        else hidden
    )
