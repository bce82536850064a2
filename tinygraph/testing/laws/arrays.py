"""Laws about the arrays that an op must take: broadcast, single precision, empty, 0-d, strided and read-only ones.

The cases are derived from the op's samples, so an author writes none of them.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.op import Op
from tinygraph.core.types import broadcast_shapes, type_of
from tinygraph.testing.law import DoesNotApply, Finding, LawBroken, on_arrays, on_samples
from tinygraph.testing.laws.values import same, shape_depends_on_values, single
from tinygraph.testing.trial import Trial

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.op import Sample
    from tinygraph.core.types import Array


@on_arrays
@on_samples
def broadcasting(op: Op, sample: Sample) -> None:
    """An operand of size 1 along an axis gets the sum of the gradients that a full-size one gets there."""
    trial = Trial.smooth(op, sample)
    if op.kind != "elementwise" or len(trial.operands) < 2:
        raise DoesNotApply("only elementwise ops of several operands broadcast")
    full = broadcast_shapes(*(x.shape for x in trial.operands if x is not None))
    if not full:
        full = (2,)
    for position in trial.moving:
        for axis in range(-1, len(full)):
            shape = () if axis < 0 else tuple(1 if i == axis else size for i, size in enumerate(full))
            small = np.broadcast_to(trial.operands[position], full)[
                tuple(slice(size) for size in shape) or (0,) * len(full)
            ]
            _check_spread(trial, position, np.array(small), full)


def _check_spread(trial: Trial, position: int, small: Array, full: tuple[int, ...]) -> None:
    """Compare the gradient of a small operand with the summed gradient of its spread copy."""
    others = [None if x is None else np.array(np.broadcast_to(x, full)) for x in trial.operands]
    spread = list(others)
    spread[position] = np.array(np.broadcast_to(small, full))
    others[position] = small
    one, all_ = (Trial(trial.op, operands, trial.settings) for operands in (others, spread))
    weights = all_.weights()
    k = trial.moving.index(position)
    expected = all_.gradient(weights)[k]
    extra = len(full) - small.ndim
    axes = (*range(extra), *(i + extra for i, size in enumerate(small.shape) if size != full[i + extra]))
    expected = np.asarray(np.sum(expected, axis=axes, keepdims=True)).reshape(small.shape)
    found = one.gradient(weights)[k]
    if not same(found, expected, 1e-9, all_.scale(weights)):
        cause = "a rule must leave un-broadcasting to the engine: no sums, no reshapes to the operand's shape"
        what = f"operand of shape {small.shape} broadcast to {full}"
        raise LawBroken(Finding(what, trial.name(position), expected, np.asarray(found), cause))


@on_arrays
@on_samples
def single_precision(op: Op, sample: Sample) -> None:
    """float32 in, float32 out: values and what every rule returns. Both agree with float64."""
    double, trial = Trial.of(op, sample), Trial.of(op, sample).changed(single)
    if not any(x is not None and x.dtype.kind in "fc" for x in double.operands):
        raise DoesNotApply("no real operand")
    with np.errstate(all="ignore"):
        _check_single(trial.results(*trial.values), double.results(*double.values), trial, "output")
    if not sample.smooth or not trial.moving or not trial.outputs(*trial.values):
        return
    weights = trial.weights()
    if isinstance(op, Op):
        for i, found in trial.rule_results(weights).items():
            dtype = getattr(found, "dtype", np.dtype(np.float32))
            if _is_double(dtype) and not _is_double(trial.operands[i].dtype) and not _widens(trial):
                cause = "a float64 constant array or NumPy scalar: use Python numbers, which are weak"
                raise LawBroken(
                    Finding(
                        "the rule leaves single precision",
                        trial.name(i),
                        str(trial.operands[i].dtype),
                        str(dtype),
                        cause,
                    )
                )
    gradients = (
        trial.gradient(weights),
        double.gradient([w.astype(np.result_type(w, float)) for w in weights]),
    )
    for i, found, expected in zip(trial.moving, *gradients, strict=True):
        if found.dtype != trial.operands[i].dtype or not same(found, expected, 2e-3, trial.scale(weights)):
            raise LawBroken(
                Finding(
                    "the gradient in single precision is off",
                    trial.name(i),
                    np.asarray(expected),
                    np.asarray(found),
                )
            )


def _is_double(dtype: np.dtype[Any]) -> bool:
    return dtype in (np.float64, np.complex128)


def _widens(trial: Trial) -> bool:
    """Whether double precision is right: by a setting, or as what NumPy makes of mixed operands."""
    mixed = trial.op.kind in ("elementwise", "composite")
    dtypes = [x.dtype for x in trial.operands if x is not None and (mixed or x.dtype.kind in "fc")]
    return "dtype" in trial.settings or _is_double(np.result_type(*dtypes))


def _check_single(found: list[Any], expected: list[Any], trial: Trial, what: str) -> None:
    for n, (one, wanted) in enumerate(zip(found, expected, strict=True)):
        if _is_double(one.dtype) and not _widens(trial):
            cause = "a float64 constant array or an astype: use Python numbers, which are weak, and the operand's dtype"
            raise LawBroken(
                Finding(f"{what} {n} leaves single precision", "", "float32", str(one.dtype), cause)
            )
        if one.dtype.kind in "fc" and not same(one, wanted, rtol=1e-3):
            raise LawBroken(
                Finding(f"{what} {n} in single precision is off", "", np.asarray(wanted), np.asarray(one))
            )


@on_arrays
@on_samples
def zero_size(op: Op, sample: Sample) -> None:
    """Empty arrays give empty results of the right type and empty gradients, or a clear error."""
    trial = Trial.of(op, sample)
    if shape_depends_on_values(trial):
        raise DoesNotApply("the result's shape depends on values")
    if op.kind in ("elementwise", "comparison"):
        full = broadcast_shapes(*(x.shape for x in trial.operands if x is not None)) or (1,)
        operands = [None if x is None else np.array(np.broadcast_to(x, full)[:0]) for x in trial.operands]
    elif trial.operands and trial.operands[0] is not None and trial.operands[0].ndim:
        rows = len(trial.operands[0])
        operands = [
            x[:0].copy() if x is not None and x.ndim and len(x) == rows else x for x in trial.operands
        ]
    else:
        raise DoesNotApply("nothing to empty")
    empty = Trial(op, operands, sample.settings)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # NumPy's mean of an empty slice
        try:
            empty.run()
        except ValueError as error:
            if op.kind in ("elementwise", "comparison"):
                raise
            raise DoesNotApply("the op refuses operands with an empty first axis") from error
        _check_shapes(empty)


@on_arrays
@on_samples
def zero_dimensions(op: Op, sample: Sample) -> None:
    """Elementwise ops and full reductions take scalars."""
    trial = Trial.of(op, sample)
    whole = op.kind == "reduction" and sample.settings.get("axis") is None and len(trial.operands) == 1
    if op.kind not in ("elementwise", "comparison") and not whole:
        raise DoesNotApply("neither elementwise nor a reduction of everything")
    scalars = trial.changed(lambda x: np.array(x.reshape(-1)[0] if x.size else np.ones((), x.dtype)))
    with np.errstate(all="ignore"):
        _check_shapes(scalars)
    if op.kind == "elementwise" and len(trial.operands) == 1:
        for found, out in zip(scalars.results(*scalars.values), trial.results(*trial.values), strict=True):
            if out.size and not same(found, out.reshape(-1)[0], rtol=1e-12):
                raise LawBroken(Finding("a scalar gives another value", "", out.reshape(-1)[0], found))


def _check_shapes(trial: Trial) -> None:
    """The outputs are what the type rule says, and gradients have the operands' shapes."""
    out = trial.run()
    if isinstance(trial.op, Op):
        stated = trial.op.type_rule(
            *(None if x is None else type_of(x) for x in trial.operands), **trial.settings
        )
        actual = tuple(map(type_of, out)) if isinstance(out, tuple) else type_of(out)
        if actual != stated:
            shapes = ", ".join("None" if x is None else str(type_of(x)) for x in trial.operands)
            raise LawBroken(
                Finding(f"for operands {shapes} type rule and forward differ", "", str(actual), str(stated))
            )
    if not trial.moving or not trial.outputs(*trial.values):
        return
    for i, gradient, x in zip(trial.moving, trial.gradient(trial.weights()), trial.values, strict=True):
        if np.shape(gradient) != x.shape or gradient.dtype != x.dtype:
            raise LawBroken(
                Finding("the gradient does not fit", trial.name(i), str(type_of(x)), str(type_of(gradient)))
            )


@on_arrays
@on_samples
def memory_layout(op: Op, sample: Sample) -> None:
    """Strided, reversed, transposed and read-only arrays give what contiguous ones give, gradients too."""
    trial = Trial.of(op, sample)
    if not any(x is not None and x.ndim for x in trial.operands):
        raise DoesNotApply("no operand has an axis")
    for layout in (_strided, _reversed, _fortran):
        changed = trial.changed(layout)
        for found, expected in zip(
            changed.results(*changed.values), trial.results(*trial.values), strict=True
        ):
            if not same(found, expected, rtol=1e-12):
                raise LawBroken(Finding(f"{layout.__doc__} arrays give other values", "", expected, found))
        if not sample.smooth or not trial.moving or not trial.outputs(*trial.values):
            continue
        weights = trial.weights()
        # differences of the two gradients are rounding: sums are taken in another order
        pairs = zip(
            trial.moving, changed.gradient([layout(w) for w in weights]), trial.gradient(weights), strict=True
        )
        for i, found, expected in pairs:
            if not same(found, expected, 1e-9, trial.scale(weights)):
                raise LawBroken(
                    Finding(f"{layout.__doc__} arrays give another gradient", trial.name(i), expected, found)
                )


def _strided(x: Numeric) -> Any:
    """strided"""
    return np.repeat(x, 2, axis=-1)[..., ::2] if x.ndim else x


def _reversed(x: Numeric) -> Any:
    """reversed"""
    return x[::-1].copy()[::-1] if x.ndim else x


def _fortran(x: Array) -> Any:
    """read-only, column-major"""
    made = np.asarray(x.copy(order="F"))
    made.flags.writeable = False
    return made
