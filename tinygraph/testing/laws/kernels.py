"""The laws about the kernels that an op lowers to, and about what it emits in generated loops."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Any

import numpy as np

from tinygraph import kernels
from tinygraph.compiler.choosing import kernel_cpu
from tinygraph.compiler.compiled import Compiled
from tinygraph.compiler.passes.fuse_elementwise import fuse_elementwise
from tinygraph.core.op import Op
from tinygraph.core.types import type_of
from tinygraph.errors import TinygraphError
from tinygraph.kernels.lowering import Array, Layout, Layouts, Lowering, Types, rows
from tinygraph.testing.law import DoesNotApply, Finding, LawBroken, apart, on_op, on_samples
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


_HARD = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, np.inf, -np.inf, np.nan)
_NUMBERS = (0.0, -1.0, 0.5, 2.0)


@apart
@on_op
def own_emission(op: Any, sample: Any) -> None:
    """What an op emits computes what the forward does: on samples, at hard points, of bools, beside Python numbers.

    Signs of zeros count.
    """
    if not isinstance(op, Op) or op.emission is None or not kernels.available():
        raise DoesNotApply("the op emits nothing, or nothing can be generated")
    trials = [Trial.of(op, one) for one in op.samples]
    for dtype, rtol in (("float64", 1e-12), ("float32", 1e-5)):
        for trial in trials:
            _check_emission(op, trial.changed(partial(_cast, dtype)).operands, trial.settings, rtol)
        count, settings = len(trials[0].operands), trials[0].settings
        for operands in _hard(count, op.emission.conditions, dtype):
            _check_emission(op, operands, settings, rtol)


def _hard(count: int, conditions: tuple[int, ...], dtype: str) -> Iterator[tuple[Any, ...]]:
    """Operands at hard points, each beside each; bools among them; and the last as a Python number."""
    truths, numbers = np.array([False, True]), np.array(_HARD, dtype)
    kinds = [(truths,) if i in conditions else (numbers, truths) for i in range(count)]
    for chosen in product(*kinds):
        yield tuple(one.ravel() for one in np.meshgrid(*chosen, indexing="ij"))
    if count > 1:
        *places, _ = (one.ravel() for one in np.meshgrid(*(one[0] for one in kinds), indexing="ij"))
        yield from ((*places, number) for number in _NUMBERS)


def _check_emission(op: Op, operands: Sequence[Any], settings: dict[str, Any], rtol: float) -> None:
    """Run the op compiled, with nothing done but fusing, and compare; where it emits nothing, NumPy runs."""
    arrays = [i for i, x in enumerate(operands) if isinstance(x, np.ndarray)]

    def call(*given: Any) -> Any:
        full = list(operands)
        for i, one in zip(arrays, given, strict=True):
            full[i] = one
        return op(*full, **settings)

    given = [operands[i] for i in arrays]
    with np.errstate(all="ignore"):
        try:
            wanted = np.asarray(call(*given))
        except Exception as error:  # noqa: BLE001 - bools, of which NumPy takes no difference
            raised = type(error)
        else:
            found = np.asarray(Compiled(call, [fuse_elementwise])(*given))
            if found.dtype == wanted.dtype and same(found, wanted, rtol) and _same_zeros(found, wanted):
                return
            shown = ", ".join(repr(x) for x in operands)
            raise LawBroken(
                Finding(f"what the op emits differs from its forward on {shown}", "", wanted, found)
            )
    with suppress(TinygraphError):
        Compiled(call, [fuse_elementwise])(*given)
        raise LawBroken(Finding(f"the op raised {raised.__name__}, its compiled form did not"))


def _same_zeros(found: Array, wanted: Array) -> bool:
    """Whether zeros have the same signs."""
    if wanted.dtype.kind != "f":
        return True
    return np.array_equal(np.signbit(found[wanted == 0]), np.signbit(wanted[wanted == 0]))


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
    lowering: Lowering | None = op.lowering(types, layouts, kernel_cpu(), **settings)
    if wish and lowering is not None and lowering.layouts is not None:
        layouts = Layouts(
            _granted(layouts.inputs, lowering.layouts.inputs),
            _granted(layouts.outputs, lowering.layouts.outputs),
        )
        lowering = op.lowering(types, layouts, kernel_cpu(), **settings)
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
