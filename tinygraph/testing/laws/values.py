"""Laws about what an op computes: values, types, errors, and that it changes nothing it was given."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.engine import fetch
from tinygraph.core.op import Op
from tinygraph.core.registry import numpy_name, registry
from tinygraph.core.trees import flatten
from tinygraph.core.types import ArrayType, type_of
from tinygraph.errors import NumpyFunctionError, TinygraphError, UnknownOpError
from tinygraph.testing.law import (
    DoesNotApply,
    Finding,
    LawBroken,
    apart,
    on_error_samples,
    on_one_rule,
    on_samples,
    raised_at,
)
from tinygraph.testing.likely_causes import likely_cause
from tinygraph.testing.trial import Trial, array_of, leaf_tensor
from tinygraph.transforms import jvp, vjp

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.op import Sample
    from tinygraph.core.registry import AnyOp
    from tinygraph.core.types import Array


@on_samples
def literal_values(op: Op, sample: Any) -> None:
    """The op gives the results that its author wrote into the sample."""
    if sample.expected is None:
        raise DoesNotApply("the sample has no expected values")
    found = Trial.of(op, sample).results(*Trial.of(op, sample).values)
    expected = list(sample.expected) if len(found) > 1 else [sample.expected]
    if len(found) != len(expected):
        cause = "a forward returns one array, or a tuple with one for each output; so does expected="
        what = f"the op has {len(found)} outputs, the sample expects {len(expected)} in a tuple, or one"
        raise LawBroken(Finding(what, expected=sample.expected, found=tuple(found), cause=cause))
    for i, (one, wanted) in enumerate(zip(found, expected, strict=True)):
        wanted = np.asarray(wanted)
        if wanted.shape != one.shape:
            raise LawBroken(Finding(f"output {i} has another shape", expected=wanted, found=one))
        if not same(one, wanted, rtol=1e-12):
            raise LawBroken(
                Finding(
                    f"output {i} has other values",
                    expected=wanted,
                    found=one,
                    cause=_value_cause(one, wanted),
                )
            )


@on_one_rule
@on_samples
def inputs_unchanged(op: Op, sample: Sample) -> None:
    """Neither the op nor its rules write into operands, cotangents or tangents: read-only arrays are enough."""
    trial = Trial.of(op, sample).changed(_read_only)
    trial.run()
    trial = Trial.of(op, sample)
    before = [None if x is None else x.copy() for x in trial.operands]
    given = [None if x is None else x.copy() for x in trial.operands]
    trial.run(*given)
    for i, (x, y) in enumerate(zip(before, given, strict=True)):
        if x is not None and not same(x, y, rtol=0):
            raise LawBroken(
                Finding("the op wrote into its operand", operand=trial.name(i), expected=x, found=y)
            )
    if not trial.moving or not trial.outputs(*trial.values):
        return
    trial = trial.changed(_read_only)
    with np.errstate(all="ignore"):
        weights = [_read_only(w) for w in trial.weights()]
        if isinstance(op, Op):
            _check_rules_only_read(trial, weights)
        _, pull = vjp(trial.outputs, *trial.values)
        first = pull(tuple(weights))
        again = pull(tuple(weights))
        jvp(trial.outputs, trial.values, tuple(map(_read_only, trial.directions())))
    for i, a, b in zip(trial.moving, first, again, strict=True):
        if not same(a, b, rtol=0):
            cause = "the rule changes what the node saved, or keeps something between calls"
            raise LawBroken(
                Finding(
                    "pulling back twice gives two results", trial.name(i), expected=a, found=b, cause=cause
                )
            )


def _check_rules_only_read(trial: Trial, weights: list[Any]) -> None:
    """Run each rule on read-only arrays, so that every one that writes is named, not only the first."""
    node, cotangent = trial.node(), trial.cotangent(weights)
    findings = []
    for rule in node.live_rules.backward:
        if rule.function is None:
            continue
        try:
            rule.function(cotangent, *fetch(node, rule, node.saved))
        except ValueError as error:
            if "read-only" not in str(error):
                raise
            operands = ", ".join(trial.name(position) for position, _ in rule.serves)
            place, _ = raised_at(error)
            what = (
                f"the rule {getattr(rule.function, '__name__', rule.function)!r} writes into g or another array "
                f"that it was given ({place}): {error}"
            )
            cause = "*=, +=, out= or an assignment; other rules read the same array, so compute a new one"
            findings.append(Finding(what, operands, cause=cause, place=place))
    if findings:
        raise LawBroken(*findings)


@on_samples
def repeatable(op: Op, sample: Sample) -> None:
    """The same operands give the same result, bit for bit (a random op from the same generator state)."""
    trial = Trial.of(op, sample)
    for a, b in zip(flatten(trial.run())[0], flatten(trial.run())[0], strict=True):
        if not same(a, b, rtol=0):
            cause = "randomness that is not the library's generator, or a value kept from an earlier call"
            raise LawBroken(Finding("two calls give two results", expected=a, found=b, cause=cause))


@on_samples
def type_rule(op: Op, sample: Sample) -> None:
    """The type rule says what the forward does: number, shape and dtype of the outputs, in both float precisions."""
    if not isinstance(op, Op):
        raise DoesNotApply("a composite has no type rule of its own")
    for trial in (Trial.of(op, sample), Trial.of(op, sample).changed(single)):
        out = trial.run()
        actual = tuple(map(type_of, out)) if isinstance(out, tuple) else type_of(out)
        try:
            stated = op.type_rule(
                *(None if x is None else type_of(x) for x in trial.operands), **trial.settings
            )
        except TinygraphError:
            if shape_depends_on_values(trial):
                raise DoesNotApply("the result's shape depends on values") from None
            raise
        if actual != stated:
            raise LawBroken(
                Finding(
                    f"for operands {', '.join('None' if x is None else str(type_of(x)) for x in trial.operands)} the "
                    f"type rule and the forward differ",
                    expected=_types_in_words(actual),
                    found=_types_in_words(stated),
                )
            )


@apart
@on_samples
def settings_as_data(op: Op, sample: Sample) -> None:
    """Settings survive JSON: they are numbers, text, and lists of them."""
    if not isinstance(op, Op):
        raise DoesNotApply("files hold the ops that a composite is made of, not its settings")
    restored = json.loads(json.dumps(sample.settings))
    changed = Trial(op, sample.operands, restored)
    for a, b in zip(flatten(Trial.of(op, sample).run())[0], flatten(changed.run())[0], strict=True):
        if not same(a, b, rtol=0):
            raise LawBroken(
                Finding(f"settings {restored} read back from JSON give another result", expected=a, found=b)
            )


@apart
@on_error_samples
def error_samples(op: AnyOp, sample: Any) -> None:
    """Bad input is refused with the right class and words, for arrays and for tensors alike."""
    arrays = [None if x is None else x.copy() for x in sample.operands]
    tensors = [leaf_tensor(x) if x is not None and x.dtype.kind in "fc" else x for x in arrays]
    for kind, operands in (("arrays", arrays), ("tensors", tensors)):
        wanted = f"{sample.error.__name__} with {sample.match!r}"
        try:
            with np.errstate(all="ignore"):
                op(*operands, **sample.settings)
        except sample.error as error:
            if sample.match not in str(error):
                raise LawBroken(
                    Finding(f"on {kind} the message lacks words", expected=wanted, found=error)
                ) from None
            if isinstance(op, Op) and op.name not in str(error):
                raise LawBroken(
                    Finding(f"on {kind} the message does not name the op", expected=op.name, found=error)
                ) from None
        except Exception as error:  # noqa: BLE001 - any other class is the finding
            found = f"{type(error).__name__}: {error}"
            raise LawBroken(Finding(f"on {kind} another error", expected=wanted, found=found)) from None
        else:
            raise LawBroken(Finding(f"on {kind} nothing was raised", expected=wanted, found="a result"))


@on_samples
def numpy_twin(op: Op, sample: Sample) -> None:
    """A NumPy function that the op stands for gives the same on arrays (NumPy's own result) and on tensors."""
    try:
        entered = registry.find(op.name) is op
    except UnknownOpError:
        entered = False
    if not op.numpy_functions or not entered:
        raise DoesNotApply("the op stands for no NumPy function")
    if all(_twin_holds(function, op, sample) is None for function in op.numpy_functions):
        raise DoesNotApply("no NumPy function takes this sample's operands and settings in this form")


def _twin_holds(function: Callable[..., Any], op: AnyOp, sample: Sample) -> bool | None:
    """Whether the law holds for one function; None if NumPy cannot be asked with this sample."""
    trial = Trial.of(op, sample)
    operands = [x for x in trial.operands if x is not None]
    listed = isinstance(op, Op) and op.signature.operands[0].variadic
    try:
        answer = function(operands, **trial.settings) if listed else function(*operands, **trial.settings)
    except (TypeError, ValueError):
        return None
    tensors = [leaf_tensor(x) if x.dtype.kind in "fc" else x for x in operands]
    if not any(x.dtype.kind in "fc" for x in operands):
        return None
    try:
        found = function(tensors, **trial.settings) if listed else function(*tensors, **trial.settings)
    except NumpyFunctionError:  # a form that the op refuses by name
        return None
    for one, wanted in zip(flatten(found)[0], flatten(_plain(answer))[0], strict=True):
        wanted = np.asarray(wanted)
        if array_of(one).dtype != wanted.dtype or not same(array_of(one), wanted, rtol=1e-12):
            what = f"{numpy_name(function)} on tensors differs from NumPy's own result"
            raise LawBroken(Finding(what, expected=wanted, found=array_of(one)))
    return True


def _plain(answer: object) -> Any:
    """NumPy's named results as plain tuples."""
    return tuple(answer) if isinstance(answer, tuple) else answer


def shape_depends_on_values(trial: Trial) -> bool:
    """Whether other values of masks and indices give an output of another shape (or none), as a boolean index does."""
    others = trial.changed(lambda x: x if x.dtype.kind in "fc" else np.zeros_like(x))
    try:
        shapes = [out.shape for out in flatten(others.run())[0]]
    except TinygraphError:
        return True
    return shapes != [out.shape for out in flatten(trial.run())[0]]


def same(found: object, expected: object, rtol: float, scale: float = 0.0) -> bool:
    """Equal shapes, and values equal to `rtol`, or to far below the largest one or `scale`.

    NaN and infinities must be in the same places.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return False
    if rtol == 0 or found.dtype.kind not in "fc":
        numbers = found.dtype.kind in "fc" and expected.dtype.kind in "fc"
        return bool(np.array_equal(found, expected, equal_nan=numbers))
    largest = float(np.max(np.abs(expected[np.isfinite(expected)]), initial=scale))
    return bool(np.allclose(found, expected, rtol=rtol, atol=rtol * 1e-3 * largest, equal_nan=True))


def single(x: Numeric) -> Any:
    """An operand in single precision."""
    return x.astype({"f": np.float32, "c": np.complex64}.get(x.dtype.kind, x.dtype))


def _read_only(x: Array) -> Any:
    made = x.copy()
    made.flags.writeable = False
    return made


def _types_in_words(types: Any) -> str:
    return str(types) if isinstance(types, ArrayType) else ", ".join(map(str, types))


def _value_cause(found: Numeric, expected: Numeric) -> str:
    return likely_cause(found, expected) if found.dtype.kind in "fc" else ""
