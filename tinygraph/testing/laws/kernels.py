"""The laws about the kernels that an op lowers to, and about what it emits in generated loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph import kernels
from tinygraph.compiler.choosing import kernel_cpu
from tinygraph.compiler.compiled import Compiled
from tinygraph.compiler.passes.fuse_elementwise import fuse_elementwise
from tinygraph.core.op import Op
from tinygraph.core.types import Array, type_of
from tinygraph.errors import TinygraphError
from tinygraph.kernels.lowering import Layout, Layouts, Lowering, Types, channels_last, rows
from tinygraph.testing.law import DoesNotApply, Finding, LawBroken, apart, on_op, on_samples
from tinygraph.testing.laws.values import same
from tinygraph.testing.trial import Trial

if TYPE_CHECKING:
    from tinygraph.core.op import Sample
    from tinygraph.core.registry import AnyOp


@apart
@on_samples
def own_kernel(op: AnyOp, sample: Sample) -> None:
    """The kernel that an op lowers to writes what the forward gives, in each layout and over whatever was there.

    Arrays lie in rows, as the kernel wishes, with strides of their own, and with channels last; between runs operands
    change.
    """
    if not isinstance(op, Op) or op.lowering is None:
        raise DoesNotApply("the op has no kernel of its own")
    check_kernel(op, Trial.of(op, sample))


def check_kernel(op: Op, trial: Trial, by_norm: bool = False) -> None:
    """Compare the kernel that an op lowers to with its forward, in both precisions and all places.

    Args:
        by_norm: compare relative to the norm of a result, not of each element: for operands whose sums cancel.

    Raises:
        LawBroken: they differ.
    """
    for dtype, rtol in (("float64", 1e-12), ("float32", 1e-5)):
        cast = trial.changed(partial(_cast, dtype))
        expected = _results(op, cast.operands, cast.settings)
        types = Types(
            tuple(None if x is None else type_of(x) for x in cast.operands), tuple(map(type_of, expected))
        )
        in_rows = Layouts(
            tuple(None if one is None else rows(len(one.shape)) for one in types.inputs),
            tuple(rows(len(one.shape)) for one in types.outputs),
        )
        unknown = Layouts((None,) * len(types.inputs), (None,) * len(types.outputs))
        check = partial(_check, op, cast, types, rtol=rtol, by_norm=by_norm)
        check(in_rows)
        wished = _wished(op, cast, types, in_rows)
        if wished is not None:
            check(wished)
        for spread in (_strided, _channels_last):
            check(unknown, spread)


_HARD = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, np.inf, -np.inf, np.nan)
_NUMBERS = (0.0, -1.0, 0.5, 2.0)


@apart
@on_op
def own_emission(op: AnyOp, sample: Sample) -> None:
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

    def call(*given: object) -> Any:
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


def _cast(dtype: str, x: object) -> Any:
    return x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x


def _results(op: Op, operands: Sequence[Any], settings: dict[str, Any]) -> list[Array]:
    with np.errstate(all="ignore"):
        made = op.forward(*operands, **settings)
    return [np.asarray(one) for one in (made if isinstance(made, tuple) else (made,))]


def _lowered(op: Op, trial: Trial, types: Types, layouts: Layouts) -> Lowering | None:
    assert op.lowering is not None
    found: Lowering | None = op.lowering(
        types, layouts, kernel_cpu(), **{**op.signature.settings, **trial.settings}
    )
    return found


def _wished(op: Op, trial: Trial, types: Types, layouts: Layouts) -> Layouts | None:
    """The layouts that an op's kernel wishes for, if it wishes for any."""
    lowering = _lowered(op, trial, types, layouts)
    if lowering is None or lowering.layouts is None:
        return None
    return Layouts(
        _granted(layouts.inputs, lowering.layouts.inputs), _granted(layouts.outputs, lowering.layouts.outputs)
    )


def _check(
    op: Op,
    trial: Trial,
    types: Types,
    layouts: Layouts,
    spread: Callable[[Array], Array] | None = None,
    *,
    rtol: float,
    by_norm: bool,
) -> None:
    """Run the kernel on arrays in these layouts, or spread as nobody has said, and compare."""
    lowering = _lowered(op, trial, types, layouts)
    if lowering is None:
        return
    results = [np.zeros(one.shape, one.dtype) for one in types.outputs]
    if spread is None:
        inputs = [_laid(x, layout) for x, layout in zip(trial.operands, layouts.inputs, strict=True)]
        outputs = [_laid(x, layout) for x, layout in zip(results, layouts.outputs, strict=True)]
    else:
        inputs = [spread(x) if isinstance(x, np.ndarray) else x for x in trial.operands]
        outputs = [spread(x) for x in results]
    scratch = [np.full(size, 255, np.uint8) for size in lowering.scratch]
    run = lowering.bind(inputs, outputs, scratch)
    if run is None:
        return
    for out in outputs:
        out[...] = 1
    for change in (_as_given, _as_given, _other_numbers):  # the second run finds what the first left behind
        operands = [change(x) for x in trial.operands]
        for array, x in zip(inputs, operands, strict=True):
            if isinstance(array, np.ndarray):
                array[...] = x
        wanted = _results(op, operands, trial.settings)
        with np.errstate(all="ignore"):
            run()
        for n, (found, one) in enumerate(zip(outputs, wanted, strict=True)):
            roughly = (by_norm or change is _other_numbers) and _close(found, one, 2 * rtol)
            if not (roughly or same(found, one, rtol)):
                raise LawBroken(Finding(f"output {n} of the kernel differs", "", one, np.array(found)))


def _as_given(x: object) -> Any:
    return x


def _other_numbers(x: object) -> Any:
    """What a later run may find: other floats, the same integers and conditions."""
    return x[::-1] * x.dtype.type(0.75) if isinstance(x, np.ndarray) and x.ndim and x.dtype.kind == "f" else x


def _close(found: Array, wanted: Array, bound: float) -> bool:
    """Equal to so much of the norm: of numbers that no sample was chosen for, sums may cancel."""
    finite = np.isfinite(wanted)
    if not np.array_equal(found[~finite], wanted[~finite], equal_nan=True):
        return False
    error = np.linalg.norm((found[finite].astype(complex) - wanted[finite]).ravel())
    size = float(np.linalg.norm(wanted[finite].astype(complex).ravel()))
    return bool(error <= bound * max(size, 1e-3))


def _strided(x: Array) -> Array:
    """A copy of which every other element along each axis is x, the last axis backwards."""
    if not x.ndim:
        return x.copy()
    block = np.full([2 * size for size in x.shape], 77).astype(x.dtype)
    view: Array = block[tuple(slice(None, None, 2) for _ in x.shape)][..., ::-1]
    view[...] = x
    return view


def _channels_last(x: Array) -> Array:
    """A copy with channels last and zeros around each image; of what is no image with its axes in reverse."""
    if x.ndim < 3:
        return np.array(x, order="F")
    layout = channels_last(x.ndim, [(1, 2)] * (x.ndim - 2))
    made: Array = _laid(x, layout)
    return made


def _granted(given: Sequence[Layout | None], wanted: Sequence[Layout | None]) -> tuple[Layout | None, ...]:
    return tuple(wish or one for one, wish in zip(given, (*wanted, *given[len(wanted) :]), strict=True))


def _laid(x: object, layout: Layout | None) -> Any:
    """A copy of an array in a layout, zeros around it."""
    if x is None or layout is None:
        return x
    value = np.asarray(x)
    block: Array = np.zeros(layout.size(value.shape) + 64, value.dtype)  # kernels may read a vector too far
    result = layout.inside(block[: layout.size(value.shape)], value.shape)
    result[...] = value
    return result
