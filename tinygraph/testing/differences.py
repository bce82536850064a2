"""Central differences: what a derivative is compared with. Float64 and complex128; no derivative rule is used here.

The stencil has four points and an error of fourth order, good for nine digits at the usual step. One step cannot suit
every scale, so a disagreement is looked at again with other steps before it counts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.types import Array

Function = Callable[..., Sequence[Any]]

# Relative to max(1, |x|). The first serves nearly always; the others are for steep functions and large values.
STEPS = (1e-3, 1e-2, 1e-4, 1e-5, 5e-2)
# The stencil: f'(x) = sum of weight * f(x + multiple * step) / step, with an error of -f⁽⁵⁾(x) step⁴ / 30.
STENCIL = ((1, 2 / 3), (-1, -2 / 3), (2, -1 / 12), (-2, 1 / 12))


class Disagreement(NamedTuple):
    """Where a derivative and the differences disagree: two arrays of the operand's shape."""

    found: Array
    expected: Array


def pulled_back(
    function: Function,
    values: Sequence[Array],
    position: int,
    weights: Sequence[Array],
    step: float = STEPS[0],
) -> Array:
    """What a reverse pass should return: the cotangents `weights` of the outputs pulled back to one argument.

    For a complex argument z = x + iy it is Re<w, df/dx> - i Re<w, df/dy>, which for a holomorphic function is
    <w, f'(z)> (the convention of autograd and JAX).
    """
    x = values[position]
    flat = np.zeros(x.size, x.dtype)
    for i in range(x.size):
        flat[i] = _paired(weights, _slope(function, values, position, i, step)).real
        if x.dtype.kind == "c":
            flat[i] -= 1j * _paired(weights, _slope(function, values, position, i, step, 1j)).real
    return flat.reshape(x.shape)


def pushed_forward(
    function: Function, values: Sequence[Array], tangents: Sequence[Array], step: float = STEPS[0]
) -> list[Array]:
    """What a forward pass should return: the change of each output along `tangents`."""
    scale = step * max([1.0, *(float(np.max(np.abs(x))) for x in values if x.size)])
    scale /= max([1.0, *(float(np.max(np.abs(t))) for t in tangents if t.size)])
    total: list[Array] | None = None
    for multiple, weight in STENCIL:
        moved = function(*(x + multiple * scale * t for x, t in zip(values, tangents, strict=True)))
        parts = [weight / scale * np.asarray(out) for out in moved]
        total = parts if total is None else [a + b for a, b in zip(total, parts, strict=True)]
    assert total is not None
    return total


def disagreement(
    found: object, estimate: Callable[[float], Array], tolerance: float, noise: float
) -> Disagreement | None:
    """Compare a derivative with its estimate by differences; None if they agree at some step.

    Args:
        found: the derivative.
        estimate: gives the differences for a step.
        tolerance: relative to the largest element.
        noise: the size of the values that were subtracted from one another, which limits what differences can tell.
    """
    found = np.asarray(found)
    estimates: list[Array] = []
    for step in STEPS:
        with np.errstate(all="ignore"):
            expected = estimate(step)
        if expected.shape != found.shape:
            return Disagreement(found, expected)
        known = np.abs(expected[np.isfinite(expected)])
        if _distance(found, expected) <= tolerance * (max(known, default=0.0) + 1e-4 * max(noise, 1e-3)):
            return None
        estimates.append(expected)
    # the steps that suit the function agree with one another
    closest = [min(_distance(a, b) for b in estimates if b is not a) for a in estimates]
    return Disagreement(found, estimates[int(np.argmin(closest))])


def _distance(found: Array, expected: Array) -> float:
    """The largest difference, over the elements where the function has differences at all."""
    known = np.isfinite(expected)
    if not known.any():
        return 0.0
    return float(np.max(np.nan_to_num(np.abs(found[known] - expected[known]), nan=np.inf)))


def _slope(
    function: Function, values: Sequence[Array], position: int, i: int, step: float, unit: complex = 1
) -> list[Array]:
    """The change of every output per unit of one element of one argument."""
    x = values[position]
    size = step * max(1.0, abs(complex(x.flat[i])))
    total: list[Array] | None = None
    for multiple, weight in STENCIL:
        moved = x.copy()
        moved.reshape(-1)[i] += multiple * size * unit
        parts = [
            weight / size * np.asarray(out)
            for out in function(*values[:position], moved, *values[position + 1 :])
        ]
        total = parts if total is None else [a + b for a, b in zip(total, parts, strict=True)]
    assert total is not None
    return total


def _paired(weights: Sequence[Array], outputs: Sequence[Array]) -> complex:
    return complex(sum(np.sum(w * out) for w, out in zip(weights, outputs, strict=True)))
