"""The law about many examples at once: `tg.vmap` of an op gives what a loop over the examples gives."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.trees import flatten
from tinygraph.errors import CaptureError, TinygraphError, VmapLoopWarning
from tinygraph.testing.law import DoesNotApply, Finding, LawBroken, on_samples
from tinygraph.testing.laws.values import same, shape_depends_on_values
from tinygraph.testing.trial import Trial, array_of
from tinygraph.transforms import vmap

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

EXAMPLES = 2


@on_samples
def vmap_equals_the_loop(op: Any, sample: Any) -> None:
    """Applied to many examples at once, in any of its operands or in all, the op gives what a loop over them gives."""
    trial = Trial.of(op, sample)
    given = [i for i, x in enumerate(trial.operands) if x is not None]
    if not given or shape_depends_on_values(trial):
        raise DoesNotApply("no operand is an array, or the result's shape depends on values")
    for chosen in dict.fromkeys([*((i,) for i in given), tuple(given)]):
        operands = [_rolled(x) if i in chosen else x for i, x in enumerate(trial.operands)]
        axes = tuple(0 if i in chosen else None for i in range(len(operands)))
        _compare(trial, operands, axes)


def _rolled(x: Numeric) -> Any:
    """Examples with the same elements in other places, so that all are in the op's domain."""
    return np.stack([np.roll(x.reshape(-1), i).reshape(x.shape) for i in range(EXAMPLES)])


def _compare(trial: Trial, operands: list[Any], axes: tuple[int | None, ...]) -> None:
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", VmapLoopWarning)
        try:
            expected = [
                flatten(
                    trial.run(*(x if axis is None else x[k] for x, axis in zip(operands, axes, strict=True)))
                )[0]
                for k in range(EXAMPLES)
            ]
        except TinygraphError:
            return  # other places of the elements are no operands of this op
        try:
            found = flatten(vmap(trial.run, in_axes=axes)(*operands))[0]
        except CaptureError as error:
            if "random" in str(error):
                raise DoesNotApply("it draws random numbers, which vmap refuses") from None
            raise
    batched = " and ".join(trial.name(i) for i, axis in enumerate(axes) if axis == 0)
    for n, one in enumerate(map(array_of, found)):
        for k in range(EXAMPLES):
            wanted = array_of(expected[k][n])
            if one.dtype != wanted.dtype or not same(one[k], wanted, rtol=1e-10):
                raise LawBroken(
                    Finding(f"output {n} of example {k} differs from the loop's", batched, wanted, one[k])
                )
