"""The law about kinks: where a function has no derivative, a rule still returns one that makes sense."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.testing.law import DoesNotApply, Finding, LawBroken, on_samples
from tinygraph.testing.trial import Trial

STEP = 1e-6
TOLERANCE = 1e-3


@on_samples
def between_the_slopes(op: Any, sample: Any) -> None:
    """At a kink a gradient lies between the slopes on the two sides; where they are infinite, it is a number still."""
    if sample.smooth:
        raise DoesNotApply("the sample is away from kinks")
    trial = Trial.of(op, sample).differentiable()
    weights = trial.weights()
    with np.errstate(all="ignore"):
        gradients = trial.gradient(weights)
        for k, found in enumerate(map(np.asarray, gradients)):
            if found.dtype.kind == "c":
                continue
            below, above = _slopes(trial, weights, k, -STEP), _slopes(trial, weights, k, STEP)
            low, high = np.minimum(below, above), np.maximum(below, above)
            room = TOLERANCE * (1 + np.abs(low) + np.abs(high))
            known = np.isfinite(below) & np.isfinite(above)
            wrong = np.where(known, ~((low - room <= found) & (found <= high + room)), np.isnan(found))
            if wrong.any():
                name = trial.name(trial.moving[k])
                cause = "the rule divides 0 by 0, or gives an operand a gradient that no side of the kink has"
                between = f"from {low} to {high}"
                raise LawBroken(Finding("no derivative of either side, nor between them", name, between, found, cause))


def _slopes(trial: Trial, weights: list[Any], k: int, step: float) -> Any:
    """The slope of the weighted sum of the outputs to one side, for each element of one operand."""
    values = trial.values
    here = [np.asarray(out) for out in trial.outputs(*values)]
    slopes = np.zeros(values[k].size)
    for i in range(values[k].size):
        moved = values[k].copy()
        moved.reshape(-1)[i] += step
        there = trial.outputs(*values[:k], moved, *values[k + 1 :])
        # an output that does not move has no slope, even if it is infinite
        changes = [np.where(a == b, 0.0, b - a) for a, b in zip(here, there, strict=True)]
        slopes[i] = sum(np.sum(w * change).real for w, change in zip(weights, changes, strict=True)) / step
    return slopes.reshape(values[k].shape)
