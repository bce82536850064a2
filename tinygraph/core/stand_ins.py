"""Stand-ins: arrays in the layout of values that are not there yet, on which ops show which results are views.

Whether a result lies in its operand's memory depends on strides, which the op itself knows best. It runs on zeros,
never on what memory happened to hold; zeros that nobody touches cost no memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tinygraph.core.types import ArrayType

if TYPE_CHECKING:
    from tinygraph.core.op import Op


def makes_views(op: Op) -> bool:
    """Whether an op says that its result may lie in its first operand's memory."""
    facts = op.facts
    return op.put is not None or "read_only" in facts or "identity_on_same_type" in facts


def zeros_like(types: ArrayType, order: Literal["C", "F"] = "C") -> np.ndarray[Any, Any]:
    """An array of zeros of a type, in rows or in columns."""
    return np.zeros(types.shape, types.dtype, order)


def run_on(op: Op, operand: object, others: tuple[Any, ...], settings: dict[str, Any]) -> tuple[Any, ...]:
    """The results of an op on an operand, one for each output."""
    with np.errstate(all="ignore"):  # what is no view computes with zeros
        results = op.forward(operand, *others, **settings)
    return results if isinstance(results, tuple) else (results,)


def lies_in(result: object, operand: object) -> bool:
    """Whether a result, or one of several, lies in an operand's memory."""
    if result.__class__ is not np.ndarray or operand.__class__ is not np.ndarray:
        return result.__class__ is tuple and any(lies_in(one, operand) for one in result)
    if result is operand:
        return True
    base = result.base
    return base is not None and (base is operand or base is operand.base)
