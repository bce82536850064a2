"""Operators that normalise: batches, layers, groups, instances, neighbours."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.operators.operator_table import Call, Operand, axis_of, dtype, operator, shape


def _channels(x: Operand, like: Operand) -> Any:
    """One number for each channel, beside the axes of an image."""
    return np.reshape(x, (1, -1) + (1,) * (np.ndim(like) - 2))


@operator("BatchNormalization")
def _batch_normalization(
    call: Call, x: Operand, scale: Operand, bias: Operand, mean: Operand, variance: Operand
) -> Any:
    """With running statistics; in training mode with the batch's, and what the running ones become.

    ONNX's momentum is the share that stays, and its running variance is the biased one.
    """
    eps = float(np.float32(call.get("epsilon", 1e-5)))
    training = call.get("training_mode", 0) or (call.opset < 14 and call.wants(1))
    if not training:
        if np.ndim(x) < 2:
            raise FileFormatError(
                f"batch normalisation takes operands with channels, not {np.ndim(x)} dimensions"
            )
        return ops.batch_norm_inference(x, mean, variance, scale, bias, eps=eps)
    axes = tuple(one for one in range(np.ndim(x)) if one != 1)
    momentum = float(np.float32(call.get("momentum", 0.9)))
    now = np.mean(x, axis=axes)
    spread = np.mean(np.square(x - _channels(now, x)), axis=axes)
    made, *_ = ops.batch_norm(x, scale, bias, eps=eps)
    kept = tuple(old * momentum + new * (1 - momentum) for old, new in ((mean, now), (variance, spread)))
    return made, *kept, *((now, spread) if len(call.outputs) > 3 else ())


@operator("InstanceNormalization")
def _instance_normalization(call: Call, x: Operand, scale: Operand, bias: Operand) -> Any:
    return ops.group_norm(
        x, scale, bias, groups=shape(x)[1], eps=float(np.float32(call.get("epsilon", 1e-5)))
    )


@operator("LayerNormalization")
def _layer_normalization(call: Call, x: Operand, scale: Operand, bias: Operand = None) -> Any:
    axis = axis_of(call.get("axis", -1), np.ndim(x))
    sizes, eps = shape(x)[axis:], float(np.float32(call.get("epsilon", 1e-5)))
    if (
        not call.wants(1)
        and not call.wants(2)
        and shape(scale) == sizes
        and (bias is None or shape(bias) == sizes)
    ):
        return ops.layer_norm(x, scale, bias, normalized_shape=sizes, eps=eps)
    axes = tuple(range(axis, np.ndim(x)))
    mean = np.mean(x, axis=axes, keepdims=True)
    inverse = 1 / np.sqrt(np.mean(np.square(x - mean), axis=axes, keepdims=True) + dtype(x).type(eps))
    made = (x - mean) * inverse * scale
    return (made if bias is None else made + bias), mean, inverse


@operator("RMSNormalization", "SimplifiedLayerNormalization")
def _rms_normalization(call: Call, x: Operand, scale: Operand) -> Any:
    axis = axis_of(call.get("axis", -1), np.ndim(x))
    axes = tuple(range(axis, np.ndim(x)))
    eps = dtype(x).type(np.float32(call.get("epsilon", 1e-5)))
    return x / np.sqrt(np.mean(np.square(x), axis=axes, keepdims=True) + eps) * scale


@operator("GroupNormalization")
def _group_normalization(call: Call, x: Operand, scale: Operand, bias: Operand) -> Any:
    groups, eps = call.need("num_groups"), float(np.float32(call.get("epsilon", 1e-5)))
    channels = shape(x)[1]
    if shape(scale) != (channels,):  # before version 21 one number for each group
        scale, bias = (np.repeat(one, channels // groups) for one in (scale, bias))
    return ops.group_norm(x, scale, bias, groups=groups, eps=eps)


@operator("MeanVarianceNormalization")
def _mean_variance_normalization(call: Call, x: Operand) -> Any:
    axes = tuple(call.get("axes", (0, 2, 3)))
    centred = x - np.mean(x, axis=axes, keepdims=True)
    return centred / (np.sqrt(np.mean(np.square(centred), axis=axes, keepdims=True)) + dtype(x).type(1e-9))


@operator("LRN")
def _local_response_normalization(call: Call, x: Operand) -> Any:
    """Each element by the squares of its neighbours among the channels."""
    count = call.need("size")
    alpha, beta, bias = (
        float(np.float32(call.get(*one))) for one in (("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0))
    )
    before = (count - 1) // 2
    if count > 10_000:
        raise FileFormatError(f"size={count} is too large")
    squares = ops.pad(
        np.square(x), pad_width=[(0, 0), (before, count - 1 - before)] + [(0, 0)] * (np.ndim(x) - 2)
    )
    channels = shape(x)[1]
    total: Operand = 0
    for i in range(count):
        total = total + squares[:, i : i + channels]
    return x / np.power(total * (alpha / count) + bias, beta)


@operator("NegativeLogLikelihoodLoss")
def _negative_log_likelihood(call: Call, x: Operand, target: Operand, weight: Operand = None) -> Any:
    return _likelihood(call, x, target, weight)


@operator("SoftmaxCrossEntropyLoss")
def _softmax_cross_entropy(call: Call, scores: Operand, target: Operand, weight: Operand = None) -> Any:
    logs = ops.log_softmax(scores, axis=1)
    return _likelihood(call, logs, target, weight), logs


def _likelihood(call: Call, x: Operand, target: Operand, weight: Operand) -> Any:
    """-x at the target's class, weighed; classes stand along axis 1."""
    ignored = call.get("ignore_index")
    classes = shape(x)[1]
    valid = None if ignored is None else np.not_equal(target, ignored)
    safe = target if valid is None else np.where(valid, target, np.zeros((), dtype(target)))
    chosen = -np.squeeze(ops.take_along_axis(x, np.expand_dims(safe, 1), axis=1), 1)
    share: Operand = np.ones((), dtype(x)) if weight is None else weight[safe]
    if valid is not None:
        share = np.where(valid, share, np.zeros((), dtype(x)))
    losses = chosen * share
    how = call.get("reduction", "mean")
    if classes == 0 or how == "none":
        return losses
    if how == "sum":
        return np.sum(losses)
    if weight is None and valid is None:
        return np.sum(losses) / dtype(x).type(math.prod(shape(losses)))
    return np.sum(losses) / np.sum(np.broadcast_to(share, shape(losses)))
