"""Mistakes in what a rule is given or gives back, whatever its code: they can be planted in rules without source too.

The rule is wrapped in a function of the same signature. All changes are made with ops, so that a wrong rule is wrong
in captured and recorded passes as well. Changes of a rule's code are in `source_edits.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.testing.mutants.mutant import Mutant, Planting, Witness, bare_copy, planted

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

# A change returns its argument itself where it does not apply.
Change = Callable[[Any], Any]


# -- the result ------------------------------------------------------------------------------------------------------


def result_mutants(planting: Planting) -> Iterator[Mutant]:
    """A rule that computes the right thing and then spoils it."""
    for part in _parts(planting):
        for kind, words, change in _RESULTS:
            if change is _first_channel and planting.op.kind == "elementwise":
                continue  # all elements are alike, and slices along axis 0 stand for any
            witness = Witness()
            wrong = _with_result(planting.function, change, part, witness)
            which = "" if part is None else f" for {planting.rule.serves[part]}"
            yield planted(planting, kind, wrong, f"the result{which}", words, witness)


def _parts(planting: Planting) -> list[int | None]:
    """Which results of a rule to spoil: each of a joint rule, all at once of a variadic operand's."""
    count = len(planting.rule.serves)
    return list(range(count)) if count > 1 else [None]


def _with_result(function: Callable[..., Any], change: Change, part: int | None, witness: Witness) -> Any:
    @functools.wraps(function)
    def wrong(*args: object, **settings: object) -> Any:
        result = function(*args, **settings)
        if part is None:
            return tuple(map(noted, result)) if isinstance(result, tuple | list) else noted(result)
        return tuple(noted(one) if i == part else one for i, one in enumerate(result))

    def noted(value: object) -> Any:
        return _noted(change, value, witness) if _is_number(value) else value

    return wrong


def _noted(change: Change, value: object, witness: Witness) -> Any:
    """Make a change, and note if it is one."""
    if not _is_array(value):
        return value
    changed = change(value)
    if changed is not value:
        witness()
    return changed


def _is_number(value: object) -> bool:
    return getattr(value, "dtype", np.dtype(object)).kind in "fc"


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray | np.generic | Tensor)


def _negated(result: Numeric) -> Any:
    return -result


def _doubled(result: Numeric) -> Any:
    return result * 2


def _nothing(result: Numeric) -> Any:
    return result * 0


def _first_only(result: Numeric, axis: int) -> Any:
    """Zeros everywhere but in the first slice along an axis."""
    if len(result.shape) <= axis or result.shape[axis] < 2:
        return result
    mask = np.zeros(result.shape[axis], result.dtype)
    mask[0] = 1
    return result * mask.reshape(-1, *[1] * (len(result.shape) - axis - 1))


def _first_row(result: Numeric) -> Any:
    return _first_only(result, 0)


def _first_channel(result: Numeric) -> Any:
    return _first_only(result, 1)


def _shifted(result: Numeric) -> Any:
    if not result.shape or result.shape[-1] < 2:
        return result
    return ops.roll(result, shift=1, axis=-1)


def _transposed(result: Numeric) -> Any:
    if len(result.shape) < 2 or max(result.shape[-2:]) < 2:
        return result
    return ops.swapaxes(result, axis1=-1, axis2=-2)


def _summed(result: Numeric) -> Any:
    if not result.shape or result.shape[0] < 2:
        return result
    return ops.broadcast_to(ops.sum(result, axis=0, keepdims=True), shape=result.shape)


_RESULTS: tuple[tuple[str, str, Change], ...] = (
    ("wrong sign", "negated", _negated),
    ("wrong factor", "doubled", _doubled),
    ("dropped rule", "zeros", _nothing),
    ("first group only", "zeros but for the first slice along axis 0", _first_row),
    ("first group only", "zeros but for the first slice along axis 1", _first_channel),
    ("off by one", "shifted by one along the last axis", _shifted),
    ("transposed operand", "its last two axes exchanged", _transposed),
    ("rule that sums already", "summed along axis 0, and spread again", _summed),
)


# -- the arguments ---------------------------------------------------------------------------------------------------


def argument_mutants(planting: Planting) -> Iterator[Mutant]:
    """A rule that is given something else than what it asked for."""
    settings = planting.op.signature.settings
    changes: Iterable[tuple[str, str, Change]]
    for name in planting.rule.asks:
        if name in settings:
            changes = _setting_changes(planting, name, settings[name])
        elif name.endswith("_type"):
            continue
        elif name in planting.op.nondifferentiable:
            changes = _CHOICES
        else:
            changes = _VALUES
        for kind, words, change in changes:
            witness = Witness()
            wrong = _with_argument(planting.function, name, change, witness)
            setting = name if name in settings else ""
            yield planted(planting, kind, wrong, name, words, witness, setting=setting)
    first = "g" if planting.mode == "vjp" else "t"
    witness = Witness()
    wrong = _with_argument(planting.function, first, ops.detach, witness)
    yield planted(planting, "constant instead of variable", wrong, first, "detached", witness)


def _with_argument(function: Callable[..., Any], name: str, change: Change, witness: Witness) -> Any:
    signature = inspect.signature(function)

    @functools.wraps(function)
    def wrong(*args: object, **settings: object) -> Any:
        given = signature.bind(*args, **settings)
        value = given.arguments[name]
        if isinstance(value, tuple) and any(map(_is_array, value)):  # a variadic operand, several outputs
            given.arguments[name] = tuple(_noted(change, one, witness) for one in value)
        elif _is_array(value):
            given.arguments[name] = _noted(change, value, witness)
        elif name not in ("g", "t", "out"):
            given.arguments[name] = changed = change(value)
            if changed != value:
                witness()
        return function(*given.args, **given.kwargs)

    return wrong


def _stale(value: Numeric) -> Any:
    """The value as it was before an update."""
    return 0.5 - value if _is_number(value) else value


def _ones(value: Numeric) -> Any:
    return np.ones(value.shape, value.dtype) if _is_number(value) else value


def _detached(value: object) -> Any:
    return ops.detach(value) if _is_number(value) else value


def _other_choice(value: Numeric) -> Any:
    """Indices in another order, conditions turned round."""
    if not _is_array(value) or not value.shape:
        return value
    return ops.logical_not(value) if value.dtype.kind == "b" else ops.flip(value, axis=-1)


_CHOICES: tuple[tuple[str, str, Change], ...] = (("stale saved value", "as before an update", _other_choice),)
_VALUES: tuple[tuple[str, str, Change], ...] = (
    ("stale saved value", "as before an update", _stale),
    ("constant instead of variable", "ones", _ones),
    ("constant instead of variable", "detached", _detached),
)


def _setting_changes(planting: Planting, name: str, default: object) -> Iterator[tuple[str, str, Change]]:
    if default is not inspect.Parameter.empty:
        yield "wrong setting", f"its default {default!r}", lambda value: default
    known = [sample.settings[name] for sample in planting.op.samples if name in sample.settings]
    words = list(dict.fromkeys(setting for setting in (*known, default) if isinstance(setting, str)))

    def other(setting: object) -> Any:
        if isinstance(setting, str):
            return next((word for word in words if word != setting), setting)
        return nudged(setting)

    if "axis" in name or "axes" in name:
        yield "wrong axis", "the next one", other
    elif "padding" in name:
        yield "off-by-one padding", "one more", other
    elif not words or len(words) > 1:
        yield "wrong setting", "another value", other


def nudged(setting: object) -> Any:
    """A setting that is off by a little."""
    if isinstance(setting, bool):
        return not setting
    if isinstance(setting, int):
        return setting + 1
    if isinstance(setting, float):
        return setting * 1.5 + 0.25
    if isinstance(setting, tuple) and setting:
        return (nudged(setting[0]), *setting[1:])
    return 0 if setting is None else setting


# -- the rules of two operands ---------------------------------------------------------------------------------------


def exchange_mutants(planting: Planting) -> Iterator[Mutant]:
    """The rule of one operand attached to the next, and the other way round."""
    op, rule = planting.op, planting.rule
    rules = op.rules if planting.mode == "vjp" else op.tangent_rules
    names = [operand.name for operand in op.signature.operands if operand.name in rules]
    if len(rule.serves) != 1 or rule.serves[0] == names[-1]:
        return
    mine = rule.serves[0]
    other = names[names.index(mine) + 1]
    theirs = rules[other]
    if len(theirs.serves) != 1:
        return
    exchanged = {mine: theirs._replace(serves=(mine,)), other: rule._replace(serves=(other,))}
    changed = {"rules" if planting.mode == "vjp" else "tangent_rules": {**rules, **exchanged}}
    witness = Witness()
    witness()
    yield Mutant(
        kind="swapped operand",
        op=bare_copy(op, **changed),
        operands=(mine, other),
        rule=planting.function.__name__,
        mode=planting.mode,
        file=planting.file,
        line=planting.line,
        before=f"the rules of {mine} and {other}",
        after="exchanged",
        witness=witness,
    )
