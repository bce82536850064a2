"""NumPy kernels of activations and erf: no branches, no memory of their own, on blocks of elements that stay in cache.

Each is the list of calls for one block: x, the result, and as many more arrays as it asks for, the last one of bools.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from inspect import signature
from math import pi, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.plugin import Array, ArrayType, Layouts, Lowering, Types
from tinygraph_ops.activations.ops import CUBIC, elu, gelu, leaky_relu, log_sigmoid, sigmoid, silu, softplus
from tinygraph_ops.choosing.kernels import choose
from tinygraph_ops.exponential import MIDDLE, NEAR, erf
from tinygraph_ops.numpy_kernels import Run, in_order, numpy_lowering, same_float

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu

BLOCK = 8192  # elements: all arrays of a block fit the second cache
_ONE = 6.0  # erf of more rounds to one


Calls = list[Run]


def _then(ufunc: np.ufunc, *operands: object, out: Array) -> Run:
    """A call into `out`; Python numbers get its dtype."""
    arrays = (x if isinstance(x, np.ndarray) else np.asarray(x, out.dtype) for x in operands)
    return partial(ufunc, *arrays, out=out)


def sigmoid_calls(x: Array, out: Array, small: Array, positive: Array) -> Calls:
    """1 or e^-|x|, by the sign of x, over 1 + e^-|x|."""
    return [
        *_exp_of_minus_size(x, small),
        _sign(x, positive),
        choose(positive, np.ones((), x.dtype), small, out),
        _then(np.add, small, 1, out=small),
        _then(np.divide, out, small, out=out),
    ]


def silu_calls(x: Array, out: Array, small: Array, positive: Array) -> Calls:
    """x times `sigmoid_calls`."""
    return [*sigmoid_calls(x, out, small, positive), _then(np.multiply, out, x, out=out)]


def log_sigmoid_calls(x: Array, out: Array, small: Array, unused: Array) -> Calls:
    """min(x, 0) - log(1 + e^-|x|), which overflows nowhere."""
    return [
        *_exp_of_minus_size(x, small),
        _then(np.log1p, small, out=small),
        _then(np.minimum, x, 0, out=out),
        _then(np.subtract, out, small, out=out),
    ]


def _exp_of_minus_size(x: Array, out: Array) -> Calls:
    return [
        _then(np.absolute, x, out=out),
        _then(np.negative, out, out=out),
        _then(np.exp, out, out=out),
    ]


def _sign(x: Array, positive: Array, border: float = 0.0) -> Run:
    return partial(np.greater, x, np.asarray(border, x.dtype), positive)


def leaky_relu_calls(x: Array, out: Array, scaled: Array, positive: Array, *, negative_slope: float) -> Calls:
    """x or negative_slope * x, by the sign of x."""
    return [
        _then(np.multiply, x, negative_slope, out=scaled),
        _sign(x, positive),
        choose(positive, x, scaled, out),
    ]


def elu_calls(x: Array, out: Array, curve: Array, positive: Array, *, alpha: float) -> Calls:
    """x or alpha * (e^x - 1), by the sign of x; the exponential never sees a positive x."""
    return [
        _then(np.minimum, x, 0, out=curve),
        _then(np.expm1, curve, out=curve),
        _then(np.multiply, curve, alpha, out=curve),
        _sign(x, positive),
        choose(positive, x, curve, out),
    ]


def softplus_calls(
    x: Array, out: Array, curve: Array, straight: Array, *, beta: float, threshold: float
) -> Calls:
    """log(1 + e^(beta x)) / beta, and x itself beyond threshold / beta."""
    return [
        _then(np.multiply, x, beta, out=curve),
        _then(np.logaddexp, curve, 0, out=curve),
        _then(np.divide, curve, beta, out=curve),
        _sign(x, straight, threshold / beta),
        choose(straight, x, curve, out),
    ]


def _polynomial(coefficients: Sequence[float], x: Array, out: Array) -> Calls:
    """Highest power first, by Horner's rule."""
    first, second, *others = coefficients
    calls = [_then(np.multiply, x, first, out=out), _then(np.add, out, second, out=out)]
    for one in others:
        calls += [_then(np.multiply, out, x, out=out), _then(np.add, out, one, out=out)]
    return calls


def erf_calls(x: Array, out: Array, first: Array, second: Array, third: Array, near: Array) -> Calls:
    """Of Cody's three ranges the middle one, 1 - exp(-x²) R(|x|), serves up to where erf is one.

    What it lacks of erfc's accuracy beyond 4 is lost in the difference.
    """
    return [
        _then(np.absolute, x, out=first),
        partial(np.less_equal, first, np.asarray(0.46875, x.dtype), near),
        _then(np.minimum, first, _ONE, out=first),
        *_polynomial(MIDDLE[0], first, second),
        *_polynomial(MIDDLE[1], first, third),
        _then(np.divide, second, third, out=second),
        _then(np.square, first, out=first),
        _then(np.negative, first, out=first),
        _then(np.exp, first, out=first),
        _then(np.multiply, first, second, out=second),
        _then(np.subtract, 1, second, out=second),
        _then(np.copysign, second, x, out=second),
        _then(np.absolute, x, out=first),
        _then(np.minimum, first, 1, out=first),  # of larger ones the square might overflow
        _then(np.square, first, out=first),
        *_polynomial(NEAR[0], first, third),
        *_polynomial(NEAR[1], first, out),
        _then(np.divide, third, out, out=third),
        _then(np.multiply, third, x, out=third),
        choose(near, third, second, out),
    ]


def gelu_calls(
    x: Array, out: Array, scaled: Array, first: Array, second: Array, third: Array, near: Array,
    *, approximate: str,
) -> Calls:  # fmt: skip
    """x (1 + erf(x / √2)) / 2, or with tanh(√(2 / π) (x + c x³)) for erf."""
    if approximate == "tanh":
        distribution = [
            _then(np.multiply, x, CUBIC, out=scaled),
            _then(np.multiply, scaled, x, out=scaled),
            _then(np.multiply, scaled, x, out=scaled),
            _then(np.add, scaled, x, out=scaled),
            _then(np.multiply, scaled, sqrt(2 / pi), out=scaled),
            _then(np.tanh, scaled, out=out),
        ]
    else:
        scale = _then(np.multiply, x, sqrt(0.5), out=scaled)
        distribution = [scale, *erf_calls(scaled, out, first, second, third, near)]
    return [
        *distribution,
        _then(np.multiply, out, 0.5, out=out),
        _then(np.add, out, 0.5, out=out),
        _then(np.multiply, out, x, out=out),
    ]


def _in_blocks(
    inputs: Sequence[Any],
    outputs: Sequence[Array],
    *block: Array,
    calls: Callable[..., Calls],
    **settings: object,
) -> Run | None:
    """The calls are made once, for one block: each block is copied there, and the result from there."""
    (x,), (out,) = inputs, outputs
    if not (x.flags.c_contiguous and out.flags.c_contiguous):
        return None
    x, out = x.reshape(-1), out.reshape(-1)
    given, made, *_ = block
    each = in_order(*calls(*block, **settings))
    parts = [slice(start, start + len(given)) for start in range(0, len(x), len(given))]

    def run() -> None:
        for part in parts:
            source, cpu = x[part], out[part]
            np.copyto(given[: len(source)], source)
            each()
            np.copyto(cpu, made[: len(source)])

    return run


def _rule(name: str, calls: Callable[..., Calls]) -> Callable[..., Lowering | None]:
    count = sum(one.kind is one.POSITIONAL_OR_KEYWORD for one in signature(calls).parameters.values())

    def lowered(types: Types, layouts: Layouts, cpu: Cpu, **settings: object) -> Lowering | None:
        x = types.inputs[0]
        if not same_float(types) or not x.size:
            return None
        shape = (min(x.size, BLOCK),)
        scratch = [ArrayType(shape, x.dtype)] * (count - 1) + [ArrayType(shape, np.dtype(bool))]
        return numpy_lowering(_in_blocks, f"NumPy {name}", *scratch, calls=calls, **settings)

    return lowered


for _op, _calls in (
    (sigmoid, sigmoid_calls), (silu, silu_calls), (log_sigmoid, log_sigmoid_calls), (leaky_relu, leaky_relu_calls),
    (elu, elu_calls), (softplus, softplus_calls), (gelu, gelu_calls), (erf, erf_calls),
):  # fmt: skip
    _op.lower(_rule(_op.name, _calls))
