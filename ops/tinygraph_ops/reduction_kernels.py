"""Generated kernels for reductions to sums, means and extremes of floating-point arrays, of any strides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tinygraph.plugin import kernel_language, normalize_axes
from tinygraph_ops.reductions import max, mean, min, prod, sum

Run = Callable[[], Any] | None


def _lowering(kind: str) -> Callable[..., Run]:
    def lowered(inputs: Sequence[Any], outputs: Sequence[Any], *, axis: Any, keepdims: bool) -> Run:
        (x, *others), out, language = inputs, outputs[0], kernel_language()
        if language is None or any(one is not None for one in others) or not x.size:
            return None
        if x.dtype.name not in ("float32", "float64") or out.dtype != x.dtype:
            return None
        program = language.program.Program((x.dtype.name,), (), (0,))
        axes = normalize_axes(axis, x.ndim)
        run: Run = language.elementwise.bind(program, [x], [out], reductions=[kind], axes=axes).run
        return run

    return lowered


for _op in (sum, mean, max, min, prod):
    _op.lower(_lowering(_op.name))
