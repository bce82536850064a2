"""NumPy kernels of ops that choose among values: where, relu, clips, numbers for what is none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygraph.plugin import Array, Numeric
from tinygraph_ops.activations.ops import hardtanh, relu
from tinygraph_ops.choosing.ops import clip, nan_to_num, where
from tinygraph_ops.numpy_kernels import Run, in_order, lower_by

_BITS = {"float32": np.int32, "float64": np.int64}


def make_where(inputs: Sequence[Any], outputs: Sequence[Array]) -> Run | None:
    """Floats are chosen by arithmetic on their bits, exact for all of them.

    Where conditions come and go, branches as in np.where cost many times as much.
    """
    condition, *choices = map(np.asarray, inputs)
    (out,) = outputs
    if condition.dtype != np.bool_:
        return None
    bits = _BITS.get(out.dtype.name)
    if bits is None or not all(
        _settles(one, given, out) for one, given in zip(choices, inputs[1:], strict=True)
    ):
        x, y = choices
        return in_order(partial(np.copyto, out, y), partial(np.copyto, out, x, where=condition))
    x, y = (one.astype(out.dtype, copy=False) for one in choices)
    if not isinstance(inputs[2], np.ndarray) and not y.view(bits):
        return partial(np.multiply, x.view(bits), condition, out.view(bits))
    return choose(condition, x, y, out)


def choose(condition: Array, x: Array, y: Array, out: Array) -> Run:
    """x where the condition holds and y elsewhere, floats of one dtype: y with the bits in which x differs, or not."""
    x, y, out = (one.view(_BITS[out.dtype.name]) for one in (x, y, out))
    return in_order(
        partial(np.bitwise_xor, x, y, out),
        partial(np.multiply, out, condition, out),
        partial(np.bitwise_xor, out, y, out),
    )


def _settles(array: Array, given: Numeric, out: Array) -> bool:
    """Whether an operand has the result's dtype, or is a constant that can be given it now."""
    return array.dtype == out.dtype or not isinstance(given, np.ndarray)


def make_relu(inputs: Sequence[Any], outputs: Sequence[Array]) -> Run:
    """`np.maximum` with zero, into the output."""
    return partial(np.maximum, inputs[0], np.zeros((), outputs[0].dtype), out=outputs[0])


def make_clip(inputs: Sequence[Any], outputs: Sequence[Array]) -> Run:
    """NumPy's own, whatever it costs: of zeros that differ in sign it keeps x beside one bound for all elements."""
    x, low, high = (*inputs, None, None)[:3]
    return partial(np.clip, x, low, high, out=outputs[0])


def make_hardtanh(inputs: Sequence[Any], outputs: Sequence[Array], *, min: float, max: float) -> Run:
    """The calls of `clip` with the two settings as bounds."""
    return make_clip((*inputs, min, max), outputs)


def make_nan_to_num(inputs: Sequence[Any], outputs: Sequence[Array], **numbers: object) -> Run:
    """Replaced in place, where the result lies."""
    (out,) = outputs
    return in_order(partial(np.copyto, out, inputs[0]), partial(np.nan_to_num, out, copy=False, **numbers))


where.lower(lower_by(make_where))
relu.lower(lower_by(make_relu))
clip.lower(lower_by(make_clip))
hardtanh.lower(lower_by(make_hardtanh))
nan_to_num.lower(lower_by(make_nan_to_num))
