"""The law about kinks: where a function has no derivative, a rule still returns one that makes sense."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.testing.law import DoesNotApply, Finding, LawBroken, on_one_rule, on_samples
from tinygraph.testing.trial import Trial

if TYPE_CHECKING:
    from tinygraph.core.op import Op, Sample

STEP = 1e-6
TOLERANCE = 1e-3


@on_one_rule
@on_samples
def between_the_slopes(op: Op, sample: Sample) -> None:
    """At a kink, what a gradient says of a direction lies between the slopes on the two sides.

    The directions are the elements of each operand, one by one, and all of them together: so what several operands
    share is given out once. Where the slopes are infinite, the gradient is at least a number.
    """
    if sample.smooth:
        raise DoesNotApply("the sample is away from kinks")
    trial = Trial.of(op, sample).differentiable()
    values = trial.values
    if getattr(op, "facts", {}).get("straight_through"):  # a composition declares no facts
        _check_straight(trial)
        return
    if any(x.dtype.kind == "c" for x in values):
        raise DoesNotApply("slopes in the complex plane have more than two sides")
    with np.errstate(all="ignore"):
        for i, gradient in zip(trial.moving, trial.gradient(trial.weights()), strict=True):
            if np.isnan(gradient).any():
                raise LawBroken(
                    Finding("the gradient is not a number", trial.name(i), found=np.asarray(gradient))
                )
        for weights in _one_by_one(trial.outputs(*values)):
            _check(trial, weights)


def _check_straight(trial: Trial) -> None:
    """By convention what comes to the result goes on to the operand, as it is."""
    weights = trial.weights()
    (found,) = trial.gradient(weights)
    if not np.array_equal(found, weights[0]):
        raise LawBroken(
            Finding(
                "what goes straight through comes out as it is", trial.name(0), weights[0], np.asarray(found)
            )
        )


def _check(trial: Trial, weights: list[Any]) -> None:
    """The law for one output element."""
    gradients = [np.asarray(gradient) for gradient in trial.gradient(weights)]
    for k, direction in _directions(trial.values):
        said = float(sum(np.sum(g * d) for g, d in zip(gradients, direction, strict=True)))
        low, high = sorted(
            (_slope(trial, weights, direction, STEP), _slope(trial, weights, direction, -STEP))
        )
        room = TOLERANCE * (1 + abs(low) + abs(high))
        if np.isfinite([low, high, said]).all() and not low - room <= said <= high + room:
            where = "all elements together" if k is None else "one element"
            raise LawBroken(
                Finding(
                    f"along {where}, the gradient says what no side of the kink has, nor anything between",
                    ", ".join(trial.name(i) for i in trial.moving)
                    if k is None
                    else trial.name(trial.moving[k]),
                    f"from {low:.6g} to {high:.6g}",
                    f"{said:.6g}",
                    "if elements share a gradient, each is given a part, and the parts add up",
                )
            )


def _one_by_one(outputs: Any) -> Any:
    """Cotangents that pick one output element each."""
    for n, out in enumerate(outputs):
        for j in range(np.size(out)):
            weights = [np.zeros_like(np.asarray(one)) for one in outputs]
            weights[n].reshape(-1)[j] = 1
            yield [weight[()] for weight in weights]


def _directions(values: list[Any]) -> Any:
    """(operand, tangents) pairs: each element alone, then, with no operand named, all together."""
    for k, x in enumerate(values):
        for i in range(x.size):
            direction = [np.zeros_like(one) for one in values]
            direction[k].reshape(-1)[i] = 1
            yield k, direction
    yield None, [np.ones_like(one) for one in values]


def _slope(trial: Trial, weights: list[Any], direction: list[Any], step: float) -> float:
    """The slope of the chosen output element to one side."""
    values = trial.values
    here = trial.outputs(*values)
    there = trial.outputs(*(x + step * d for x, d in zip(values, direction, strict=True)))
    # an output that does not move has no slope, even if it is infinite; those that are not chosen do not count
    changes = (
        np.where((a == b) | (w == 0), 0.0, b - a) for w, a, b in zip(weights, here, there, strict=True)
    )
    return float(sum(np.sum(change) for change in changes)) / step
