"""NumPy kernels of erf and gelu: without branches or memory of their own, on blocks of elements that stay in cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import sqrt
from typing import Any

import numpy as np

from tinygraph.plugin import ArrayType, Lowering, Types
from tinygraph_ops.activations import gelu
from tinygraph_ops.choosing_kernels import choose
from tinygraph_ops.exponential import MIDDLE, NEAR, erf
from tinygraph_ops.numpy_kernels import Array, Run, in_order, numpy_lowering, same_float

BLOCK = 8192  # elements: all arrays of a block fit the second cache
_ONE = 6.0  # erf of more rounds to one


def _polynomial(coefficients: Sequence[float], x: Array, out: Array) -> list[Run]:
    """Highest power first, by Horner's rule."""
    first, second, *others = (np.asarray(one, x.dtype) for one in coefficients)
    calls: list[Run] = [partial(np.multiply, x, first, out), partial(np.add, out, second, out)]
    for one in others:
        calls += [partial(np.multiply, out, x, out), partial(np.add, out, one, out)]
    return calls


def erf_calls(x: Array, out: Array, first: Array, second: Array, third: Array, near: Array) -> list[Run]:
    """Of Cody's three ranges the middle one, 1 - exp(-x²) R(|x|), serves up to where erf is one: what it lacks of

    erfc's accuracy beyond 4 is lost in the difference.
    """
    one, limit, border = (np.asarray(number, x.dtype) for number in (1.0, _ONE, 0.46875))
    return [
        partial(np.absolute, x, first),
        partial(np.less_equal, first, border, near),
        partial(np.minimum, first, limit, out=first),
        *_polynomial(MIDDLE[0], first, second),
        *_polynomial(MIDDLE[1], first, third),
        partial(np.divide, second, third, second),
        partial(np.square, first, first),
        partial(np.negative, first, first),
        partial(np.exp, first, first),
        partial(np.multiply, first, second, second),
        partial(np.subtract, one, second, second),
        partial(np.copysign, second, x, second),
        partial(np.absolute, x, first),
        partial(np.minimum, first, one, out=first),  # of larger ones the square might overflow
        partial(np.square, first, first),
        *_polynomial(NEAR[0], first, third),
        *_polynomial(NEAR[1], first, out),
        partial(np.divide, third, out, third),
        partial(np.multiply, third, x, third),
        choose(near, third, second, out),
    ]


def gelu_calls(x: Array, out: Array, scaled: Array, first: Array, *others: Array) -> list[Run]:
    """x (1 + erf(x / √2)) / 2."""
    half, root = np.asarray(0.5, x.dtype), np.asarray(sqrt(0.5), x.dtype)
    return [
        partial(np.multiply, x, root, scaled),
        *erf_calls(scaled, out, first, *others),
        partial(np.multiply, out, half, out),
        partial(np.add, out, half, out),
        partial(np.multiply, out, x, out),
    ]


def _in_blocks(
    inputs: Sequence[Any], outputs: Sequence[Array], *block: Array, calls: Callable[..., list[Run]]
) -> Run | None:
    """The calls are made once, for one block: each block is copied there, and the result from there."""
    (x,), (out,) = inputs, outputs
    if not (x.flags.c_contiguous and out.flags.c_contiguous):
        return None
    x, out = x.reshape(-1), out.reshape(-1)
    given, made, *_ = block
    each = in_order(*calls(*block))
    parts = [slice(start, start + len(given)) for start in range(0, len(x), len(given))]

    def run() -> None:
        for part in parts:
            source, target = x[part], out[part]
            np.copyto(given[: len(source)], source)
            each()
            np.copyto(target, made[: len(source)])

    return run


def _lowering(types: Types, name: str, calls: Callable[..., list[Run]], count: int) -> Lowering | None:
    x = types.inputs[0]
    if not same_float(types) or not x.size:
        return None
    shape = (min(x.size, BLOCK),)
    scratch = [ArrayType(shape, x.dtype)] * count + [ArrayType(shape, np.dtype(bool))]
    return numpy_lowering(_in_blocks, name, *scratch, calls=calls)


@erf.lower
def erf_kernel(types: Types, layouts: Any, target: Any) -> Lowering | None:
    return _lowering(types, "NumPy erf", erf_calls, 5)


@gelu.lower
def gelu_kernel(types: Types, layouts: Any, target: Any, *, approximate: str) -> Lowering | None:
    return _lowering(types, "NumPy gelu", gelu_calls, 6) if approximate == "none" else None
