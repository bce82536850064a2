"""Kernels of softmax and standardization: generated passes over memory, or NumPy's into the results and scratch memory.

Either reads x where it lies, reduces over its axes into narrow arrays, and writes the result once more or less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph import kernels
from tinygraph.plugin import Array, ArrayType, Axis, Layouts, Lowering, Types, normalize_axes, reduced_shape
from tinygraph_ops.activations.ops import log_softmax, softmax
from tinygraph_ops.arithmetic import add, divide, multiply, reciprocal, subtract
from tinygraph_ops.choosing.ops import maximum
from tinygraph_ops.exponential import exp, log
from tinygraph_ops.normalization.ops import standardize
from tinygraph_ops.numpy_kernels import Run, in_order, numpy_lowering, same_float
from tinygraph_ops.powers.ops import sqrt, square

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu

Axes = tuple[int, ...]


# -- softmax: `top` and `total` are as narrow as a statistic -------------------------------------------------------


def make_softmax(
    inputs: Sequence[Any], outputs: Sequence[Array], top: Array, total: Array, *, axes: Axes
) -> Run:
    """Maximum, difference, exponential, sum and quotient, each into memory of the plan."""
    (x,), (out,) = inputs, outputs
    return in_order(
        partial(np.maximum.reduce, x, axes, None, top, True, -np.inf),
        partial(np.subtract, x, top, out),
        partial(np.exp, out, out),
        partial(np.add.reduce, out, axes, None, total, True),
        partial(np.divide, out, total, out),
    )


def generate_softmax(
    inputs: Sequence[Any], outputs: Sequence[Array], top: Array, total: Array, *, axes: Axes
) -> Run:
    """Three generated passes: the maximum, exponentials with their sum, quotients."""
    (x,), (out,) = inputs, outputs
    generated = _generator(x.dtype, axes)
    return in_order(
        generated(lambda step, x: x, [x], top, reduced="max"),
        generated(_exponential, [x, top], total, reduced="sum", besides=out),
        generated(lambda step, x, total: step(divide, x, total), [out, total], out),
    )


def _exponential(step: Callable[..., int], x: int, top: int) -> Any:
    return step(exp, step(subtract, x, top))


def make_log_softmax(
    inputs: Sequence[Any], outputs: Sequence[Array], top: Array, total: Array, wide: Array, *, axes: Axes
) -> Run:
    """As `make_softmax`, with the logarithm of the sum taken off the differences."""
    (x,), (out,) = inputs, outputs
    return in_order(
        partial(np.maximum.reduce, x, axes, None, top, True, -np.inf),
        partial(np.subtract, x, top, out),
        partial(np.exp, out, wide),
        partial(np.add.reduce, wide, axes, None, total, True),
        partial(np.log, total, total),
        partial(np.subtract, out, total, out),
    )


def generate_log_softmax(
    inputs: Sequence[Any], outputs: Sequence[Array], top: Array, total: Array, *, axes: Axes
) -> Run:
    """Two generated passes to the maximum and the sum of exponentials, a third for x - max - log(sum)."""
    (x,), (out,) = inputs, outputs
    generated = _generator(x.dtype, axes)

    def less(step: Callable[..., int], x: int, top: int, lower: int) -> Any:
        return step(subtract, step(subtract, x, top), lower)

    return in_order(
        generated(lambda step, x: x, [x], top, reduced="max"),
        generated(_exponential, [x, top], total, reduced="sum"),
        generated(lambda step, total: step(log, total), [total], total),
        generated(less, [x, top, total], out),
    )


@softmax.lower
def softmax_kernel(types: Types, layouts: Layouts, cpu: Cpu, *, axis: Axis) -> Lowering | None:
    """Generated passes, or NumPy's calls where there is no generator."""
    return _lowering(types, axis, "softmax", (make_softmax, 2, 0), (generate_softmax, 2, 0))


@log_softmax.lower
def log_softmax_kernel(types: Types, layouts: Layouts, cpu: Cpu, *, axis: Axis) -> Lowering | None:
    """Generated passes, or NumPy's calls where there is no generator."""
    return _lowering(types, axis, "log softmax", (make_log_softmax, 2, 1), (generate_log_softmax, 2, 0))


# -- standardization -----------------------------------------------------------------------------------------------


def make_standardize(
    inputs: Sequence[Any],
    outputs: Sequence[Array],
    scale: Array,
    total: Array,
    wide: Array,
    *,
    axes: Axes,
    eps: float,
) -> Run:
    """Mean, differences, their mean square and the scaling, each into memory of the plan.

    The mean is summed in float64, which tells by how much the one that is subtracted was rounded.
    """
    (x,), (out, mean, variance) = inputs, outputs
    share = np.asarray(1.0 / prod(x.shape[axis] for axis in axes), x.dtype)
    return in_order(
        partial(np.add.reduce, x, axes, total.dtype, total, True),
        partial(np.multiply, total, 1.0 / prod(x.shape[axis] for axis in axes), total),
        partial(np.copyto, mean, total, "same_kind"),
        partial(np.subtract, x, mean, out),
        partial(np.square, out, wide),
        partial(np.add.reduce, wide, axes, None, variance, True),
        partial(np.multiply, variance, share, variance),
        partial(np.subtract, total, mean, total),
        partial(np.square, total, total),
        partial(np.subtract, variance, total, variance),
        partial(np.maximum, variance, np.zeros((), x.dtype), out=variance),
        _inverse_deviation(variance, eps, scale),
        partial(np.multiply, out, scale, out),
    )


def generate_standardize(
    inputs: Sequence[Any], outputs: Sequence[Array], scale: Array, *, axes: Axes, eps: float
) -> Run:
    """Three generated passes: the mean, the mean square of differences, the scaled differences."""
    (x,), (out, mean, variance) = inputs, outputs
    generated = _generator(x.dtype, axes)

    def squared(step: Callable[..., int], x: int, mean: int) -> Any:
        return step(square, step(subtract, x, mean))

    def inverse_deviation(step: Callable[..., int], variance: int) -> Any:
        one, more = (step("constant", dtype=x.dtype.name, value=number) for number in (1.0, eps))
        return step(divide, one, step(sqrt, step(add, variance, more)))

    def scaled(step: Callable[..., int], x: int, mean: int, scale: int) -> Any:
        return step(multiply, step(subtract, x, mean), scale)

    return in_order(
        generated(lambda step, x: x, [x], mean, reduced="mean"),
        generated(squared, [x, mean], variance, reduced="mean"),
        generated(inverse_deviation, [variance], scale),
        generated(scaled, [x, mean, scale], out),
    )


def generate_standardize_once(
    inputs: Sequence[Any],
    outputs: Sequence[Array],
    total: Array,
    squares: Array,
    scale: Array,
    *,
    axes: Axes,
    eps: float,
) -> Run:
    """Both statistics of float32 in one pass, then the scaled differences.

    The sums are of differences from one of the numbers, in float64: as exact as if the mean were known before.
    """
    from tinygraph.kernels import elementwise
    from tinygraph.kernels.program import ProgramBuilder

    (x,), (out, mean, variance) = inputs, outputs
    shift = x[tuple(slice(0, 1) if axis in axes else slice(None) for axis in range(x.ndim))]
    build = ProgramBuilder()
    number, first = (build.cast(one, "float64") for one in (build.input("float32"), build.input("float32")))
    difference = build.step(subtract, number, first)
    both = build.program(difference, build.step(square, difference))
    sums = elementwise.bind(both, [x, shift], [total, squares], reductions=["sum", "sum"], axes=axes)

    build = ProgramBuilder()
    given = [build.input(dtype) for dtype in ("float64", "float64", "float32")]
    share = build.constant(1 / prod(x.shape[axis] for axis in axes), "float64")
    moved, square_mean = (build.step(multiply, one, share) for one in given[:2])
    spread = build.step(subtract, square_mean, build.step(square, moved))
    variance_now = build.cast(build.step(maximum, spread, build.constant(0, "float64")), "float32")
    mean_now = build.cast(build.step(add, moved, build.cast(given[2], "float64")), "float32")
    deviation = build.step(sqrt, build.step(add, variance_now, build.constant(eps, "float32")))
    rest = build.program(mean_now, variance_now, build.step(reciprocal, deviation))
    statistics = elementwise.bind(rest, [total, squares, shift], [mean, variance, scale])

    def scaled(step: Callable[..., int], x: int, mean: int, scale: int) -> Any:
        return step(multiply, step(subtract, x, mean), scale)

    return in_order(sums, statistics, _generator(x.dtype, axes)(scaled, [x, mean, scale], out))


def _inverse_deviation(variance: Array, eps: float, scale: Array) -> Run:
    one, more = np.ones((), scale.dtype), np.asarray(eps, scale.dtype)
    return in_order(
        partial(np.add, variance, more, scale),
        partial(np.sqrt, scale, scale),
        partial(np.divide, one, scale, scale),
    )


@standardize.lower
def standardize_kernel(
    types: Types, layouts: Layouts, cpu: Cpu, *, axis: Axis, eps: float
) -> Lowering | None:
    """Generated passes, or NumPy's calls where there is no generator."""
    x = types.inputs[0]
    if not same_float(types) or not x.size:
        return None
    statistic = ArrayType(reduced_shape(x.shape, axis, True), x.dtype)
    total = ArrayType(statistic.shape, np.dtype(np.float64))
    given: dict[str, Any] = {"axes": normalize_axes(axis, len(x.shape)), "eps": eps}
    if not kernels.available():
        return numpy_lowering(make_standardize, "NumPy standardize", statistic, total, x, **given)
    if x.dtype == np.float32:
        return numpy_lowering(
            generate_standardize_once, "generated standardize", total, total, statistic, **given
        )
    return numpy_lowering(generate_standardize, "generated standardize", statistic, **given)


# -- both ----------------------------------------------------------------------------------------------------------


def _lowering(
    types: Types, axis: Axis, name: str, on_numpy: Any, generated: Any, **settings: object
) -> Lowering | None:
    """One of two kernels, each with the number of narrow scratch arrays that it takes, and of wide ones."""
    x = types.inputs[0]
    if not same_float(types) or not x.size:
        return None
    make, narrow, wide = generated if kernels.available() else on_numpy
    statistic = ArrayType(reduced_shape(x.shape, axis, True), x.dtype)
    scratch = [statistic] * narrow + [x] * wide
    prefix = "generated" if kernels.available() else "NumPy"
    axes = normalize_axes(axis, len(x.shape))
    return numpy_lowering(make, f"{prefix} {name}", *scratch, axes=axes, **settings)


def _generator(dtype: np.dtype[Any], axes: Axes) -> Callable[..., Run]:
    """How to bind generated loops over arrays of a dtype, with reductions over these axes."""
    from tinygraph.kernels import elementwise
    from tinygraph.kernels.program import ProgramBuilder

    def generated(
        compute: Callable[..., Any],
        inputs: Sequence[Array],
        out: Array,
        reduced: str | None = None,
        besides: Array | None = None,
    ) -> Run:
        """A loop that writes what `compute` makes of its inputs, reduced or not, and `besides` what is not reduced."""
        build = ProgramBuilder()
        value = compute(build.step, *(build.input(dtype) for _ in inputs))
        program, outputs, reductions = build.program(value), [out], [reduced]
        if besides is not None:
            program, outputs, reductions = build.program(value, value), [besides, out], [None, reduced]
        run: Run = elementwise.bind(program, inputs, outputs, reductions=reductions, axes=axes)
        return run

    return generated
