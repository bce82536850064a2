"""Generated kernels for reductions to sums, means and extremes of floating-point arrays, of any strides."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygraph.plugin import Layouts, Lowering, Types, kernel_language, normalize_axes
from tinygraph_ops.reductions import max, mean, min, prod, sum


def _lowering(kind: str) -> Callable[..., Lowering | None]:
    def lowered(types: Types, layouts: Layouts, target: Any, *, axis: Any, keepdims: bool) -> Lowering | None:
        (x, *others), out, language = types.inputs, types.outputs[0], kernel_language()
        if language is None or x is None or any(one is not None for one in others) or not x.size:
            return None
        if x.dtype.name not in ("float32", "float64") or out.dtype != x.dtype:
            return None
        program = language.program.Program((x.dtype.name,), (), (0,))
        axes = normalize_axes(axis, len(x.shape))

        def bind(inputs: Any, outputs: Any, scratch: Any) -> Any:
            made = language.elementwise.bind(program, inputs[:1], outputs, reductions=[kind], axes=axes)
            return made.run

        return Lowering(bind, name=f"generated {kind}")

    return lowered


for _op in (sum, mean, max, min, prod):
    _op.lower(_lowering(_op.name))
