"""Kernels of reductions: generated ones for floating-point arrays of any strides, or NumPy's into the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph import kernels
from tinygraph.plugin import Array, Axis, Layouts, Lowering, Types, reduced_axes
from tinygraph_ops.numpy_kernels import Run, in_order, numpy_lowering
from tinygraph_ops.reductions.ops import cumprod, cumsum, max, mean, min, prod, sum

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu

_UFUNCS = {"sum": np.add, "mean": np.add, "max": np.maximum, "min": np.minimum, "prod": np.multiply}


def make_reduction(
    inputs: Sequence[Any], outputs: Sequence[Array], *, ufunc: Any, count: int, axis: Axis, keepdims: bool
) -> Run:
    """As NumPy's own functions, which spend most of the time of a small reduction on their arguments."""
    (x, *_), (out,) = inputs, outputs
    reduced = partial(ufunc.reduce, x, axis, None, out, keepdims)
    return in_order(reduced, partial(np.divide, out, count, out)) if count > 1 else reduced


def make_half_mean(inputs: Sequence[Any], outputs: Sequence[Array], *, axis: Axis, keepdims: bool) -> Run:
    """NumPy sums in single precision, unless it is given the place of the result."""
    (x, *_), (out,) = inputs, outputs
    return lambda: np.copyto(out, np.mean(x, axis=axis, keepdims=keepdims))


def _lowering(kind: str) -> Callable[..., Lowering | None]:
    def lowered(types: Types, layouts: Layouts, cpu: Cpu, *, axis: Axis, keepdims: bool) -> Lowering | None:
        (x, *others), out = types.inputs, types.outputs[0]
        if any(one is not None for one in others) or not x.size:
            return None
        if x.dtype == np.float16:
            half = numpy_lowering(make_half_mean, "NumPy mean", axis=axis, keepdims=keepdims)
            return half if kind == "mean" else None
        if not kernels.available() or x.dtype.name not in ("float32", "float64") or out.dtype != x.dtype:
            count = x.size // out.size if kind == "mean" else 1
            return numpy_lowering(
                make_reduction,
                f"NumPy {kind}",
                ufunc=_UFUNCS[kind],
                count=count,
                axis=axis,
                keepdims=keepdims,
            )
        from tinygraph.kernels import elementwise
        from tinygraph.kernels.program import Program

        program = Program((x.dtype.name,), (), (0,))
        axes = reduced_axes(axis, len(x.shape))

        def bind(inputs: Any, outputs: Any, scratch: object) -> Any:
            made = elementwise.bind(program, inputs[:1], outputs, reductions=[kind], axes=axes)
            return made

        return Lowering(bind, name=f"generated {kind}")

    return lowered


def _cumulative(multiplies: bool) -> Callable[..., Lowering | None]:
    def lowered(types: Types, layouts: Layouts, cpu: Cpu, *, axis: int | None) -> Lowering | None:
        """The elements in their order, along one axis of a contiguous array; NumPy's own loop otherwise."""
        x, out = types.inputs[0], types.outputs[0]
        if not kernels.available() or x.dtype.name not in ("float32", "float64") or out.dtype != x.dtype:
            return None
        if not x.size:
            return None

        def make(inputs: Sequence[Any], outputs: Sequence[Array]) -> Run | None:
            from tinygraph.kernels import cumulative

            (given,), (result,) = inputs, outputs
            if not (given.flags.c_contiguous and result.flags.c_contiguous):
                return None
            shape = (given.size,) if axis is None or not given.ndim else given.shape
            at = 0 if axis is None else axis % len(shape)
            sizes = (math.prod(shape[:at]), shape[at], math.prod(shape[at + 1 :]))
            lines = cumulative.Cumulation(multiplies, *sizes, given.dtype.name)
            return cumulative.cumulate(lines).bind(given, result, span=1)

        return numpy_lowering(make, f"generated cumulative {'products' if multiplies else 'sums'}")

    return lowered


for _op in (sum, mean, max, min, prod):
    _op.lower(_lowering(_op.facts["reduction"]))
cumsum.lower(_cumulative(multiplies=False))
cumprod.lower(_cumulative(multiplies=True))
