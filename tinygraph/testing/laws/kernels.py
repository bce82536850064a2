"""The law about the kernels that an op lowers to."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from tinygraph.compiler.choosing import kernel_target
from tinygraph.core.op import Op
from tinygraph.core.types import type_of
from tinygraph.kernels.lowering import Array, Layout, Layouts, Lowering, Types, rows
from tinygraph.testing.law import DoesNotApply, Finding, LawBroken, apart, on_samples
from tinygraph.testing.laws.values import same
from tinygraph.testing.trial import Trial


@apart
@on_samples
def own_kernel(op: Any, sample: Any) -> None:
    """The kernel that an op lowers to writes what the forward gives, in each layout and over whatever was there."""
    if not isinstance(op, Op) or op.lowering is None:
        raise DoesNotApply("the op has no kernel of its own")
    trial = Trial.of(op, sample)
    for dtype in ("float64", "float32"):
        cast = trial.changed(partial(_cast, dtype))
        for wish in (False, True):
            _check(op, cast, wish, 1e-12 if dtype == "float64" else 1e-5)


def _cast(dtype: str, x: Array) -> Array:
    return x.astype(dtype) if x.dtype.kind == "f" else x


def _check(op: Op, trial: Trial, wish: bool, rtol: float) -> None:
    """Run the kernel, with every array in rows or as the kernel wishes, and compare."""
    assert op.lowering is not None
    settings = {**op.signature.settings, **trial.settings}
    with np.errstate(all="ignore"):
        made = op.forward(*trial.operands, **trial.settings)
    expected = [np.asarray(one) for one in (made if isinstance(made, tuple) else (made,))]
    types = Types(
        tuple(None if x is None else type_of(x) for x in trial.operands), tuple(map(type_of, expected))
    )
    layouts = Layouts(
        tuple(None if one is None else rows(len(one.shape)) for one in types.inputs),
        tuple(rows(len(one.shape)) for one in types.outputs),
    )
    lowering: Lowering | None = op.lowering(types, layouts, kernel_target(), **settings)
    if wish and lowering is not None and lowering.layouts is not None:
        layouts = Layouts(
            _granted(layouts.inputs, lowering.layouts.inputs),
            _granted(layouts.outputs, lowering.layouts.outputs),
        )
        lowering = op.lowering(types, layouts, kernel_target(), **settings)
    if lowering is None:
        return
    inputs = [_laid(x, layout) for x, layout in zip(trial.operands, layouts.inputs, strict=True)]
    outputs = [_laid(np.zeros_like(x), layout) for x, layout in zip(expected, layouts.outputs, strict=True)]
    scratch = [np.full(size, 255, np.uint8) for size in lowering.scratch]
    run = lowering.bind(inputs, outputs, scratch)
    if run is None:
        return
    for out in outputs:
        out[...] = 1
    for _ in range(2):  # the second finds what the first left behind
        with np.errstate(all="ignore"):
            run()
        for n, (found, wanted) in enumerate(zip(outputs, expected, strict=True)):
            if not same(found, wanted, rtol):
                raise LawBroken(Finding(f"output {n} of the kernel differs", "", wanted, np.array(found)))


def _granted(given: Sequence[Layout | None], wanted: Sequence[Layout | None]) -> tuple[Layout | None, ...]:
    return tuple(wish or one for one, wish in zip(given, (*wanted, *given[len(wanted) :]), strict=True))


def _laid(x: Any, layout: Layout | None) -> Any:
    """A copy of an array in a layout, zeros around it."""
    if x is None or layout is None:
        return x
    value = np.asarray(x)
    block: Array = np.zeros(layout.size(value.shape) + 64, value.dtype)  # kernels may read a vector too far
    result = layout.inside(block[: layout.size(value.shape)], value.shape)
    result[...] = value
    return result
