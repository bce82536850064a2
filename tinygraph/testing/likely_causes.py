"""The likely cause of a wrong derivative, in words: what the found and the expected array have to do with each other.

Nothing here decides whether a law is broken; it only helps whoever reads that it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.types import Array

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def likely_cause(found: object, expected: object, others: Mapping[str, Array] | None = None) -> str:
    """What mistake makes `found` out of `expected`; empty if none is recognised.

    Args:
        others: what is expected for the op's other operands, by name, to recognise rules that are swapped.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    if found.shape != expected.shape:
        return _shape_cause(found, expected)
    if not np.isfinite(found).all():
        return "not finite where the derivative is: the rule divides by zero or overflows; compute it in another form"
    if not found.any():
        return "zero everywhere: a term or the whole rule is missing, or a constant stands where a variable should"
    if not expected.any():
        return "the true derivative is zero: the operand is a constant here, or the rule has a term too many"
    if np.allclose(found, expected, rtol=1e-9, atol=0):
        return "right to nine digits: the expected value has too few digits, or digits cancel in the formula"
    if _near(found, -expected):
        return "wrong sign"
    for name, other in (others or {}).items():
        if other.shape == found.shape and _near(found, other):
            return f"this is the gradient of operand {name!r}: the operands' rules are swapped"
    ratio = _constant(found / np.where(expected == 0, np.nan, expected))
    if ratio is not None and _near(found, ratio * expected):
        return f"a factor: found = {ratio:.6g} × expected"
    if found.ndim >= 2 and found.shape[-1] == found.shape[-2] and _near(found, np.swapaxes(expected, -1, -2)):
        return "transposed: the last two axes are exchanged"
    if found.dtype.kind == "c" and _near(found, np.conj(expected)):
        return "the complex conjugate; the convention is that a holomorphic f pulls g back to g · f'(z), unconjugated"
    if found.size > 1 and _near(np.sort(found, axis=None), np.sort(expected, axis=None)):
        return "the right numbers in the wrong places: an axis, an order or an index is wrong"
    shift = _constant(found - expected)
    if shift is not None:
        return f"a constant term: found = expected {shift:+.6g}"
    wrong = ~np.isclose(found, expected, rtol=1e-6)
    if wrong.mean() <= 0.5:
        return f"{int(wrong.sum())} of {wrong.size} elements are wrong: a border, a branch or a group is not covered"
    return "a term is missing or wrong"


def _shape_cause(found: Array, expected: Array) -> str:
    if found.shape == expected.shape[::-1]:
        return "transposed: the shape is reversed"
    if found.ndim > expected.ndim:
        return "axes too many: the rule did not sum over an axis, or kept one that the operand does not have"
    if found.size == expected.size:
        return "the elements are there, but not in the operand's shape"
    return "not the operand's shape"


def _near(a: Numeric, b: Numeric) -> bool:
    return bool(np.allclose(a, b, rtol=1e-5, atol=1e-8 * float(np.max(np.abs(b), initial=0.0))))


def _constant(values: Numeric) -> Any:
    """The one number that all finite elements equal, or None."""
    known = np.asarray(values[np.isfinite(values)])
    if known.size < 2 or not _near(known, known.flat[0]):
        return None
    first = known.flat[0]
    return first.real if abs(complex(first).imag) < 1e-9 * abs(first) else None
