"""Python numbers in plans: what Python computes with them stays Python's - integers of any size, errors and all.

A captured Python integer lives in an array of one object, and ops that meet one run as they are written, on the number
itself: so its overflow into a small dtype raises as it does in eager programs. Floats are float64 in any case; only
what Python answers otherwise than NumPy, such as a division by zero, runs as it is written.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.core.node import Node
from tinygraph.core.op import Op
from tinygraph.core.types import Array, WeakType, is_python_integer
from tinygraph.errors import DTypeError

_PROBES = (0.0, -1.5, 0.5, 1e200)
_CLASSES: dict[str, type] = {"b": bool, "i": int, "f": float, "c": complex}


def runs_in_python(node: Node) -> bool:
    """Whether a node computes with Python numbers what NumPy would not."""
    if node.op.kind not in ("elementwise", "comparison"):
        return False
    if is_python_integer(node.output_types[0]) or any(map(is_python_integer, node.input_types)):
        return True
    return isinstance(node.types, WeakType) and not _is_numpys(node.op, len(node.inputs))


@functools.cache
def _is_numpys(op: Op, count: int) -> bool:
    """Whether an op makes floats of floats in Python, whatever these are, as it does in NumPy."""
    for numbers in itertools.product(_PROBES, repeat=count):
        try:
            with np.errstate(all="ignore"):
                found = op.forward(*numbers)
        except Exception:  # noqa: BLE001 - whatever it raises, NumPy would not
            return False
        if not isinstance(found, bool | float):
            return False
    return True


def python_call(node: Node, inputs: Sequence[Any], outputs: Sequence[Array]) -> Callable[[], None]:
    """A kernel that runs a node as it is written, on Python numbers and on arrays."""
    numbers = [isinstance(types, WeakType) for types in node.input_types]
    expected = _CLASSES[node.dtype.kind] if isinstance(node.types, WeakType) else None
    (out,) = outputs

    def operand(x: object, number: bool) -> Any:
        if not isinstance(x, np.ndarray):
            return x
        return x.item() if number else x[()]

    def run() -> None:
        operands = [operand(x, number) for x, number in zip(inputs, numbers, strict=True)]
        if expected is None:
            result = node.op.forward(*operands, **node.settings)
            found = np.asarray(result).dtype
            if found != out.dtype:
                raise DTypeError(
                    f"with these numbers the result is {found}, not {out.dtype} as captured: {operands}. The number's "
                    f"value decides the dtype: close over it, or pass an array of it, np.asarray(number)"
                )
            out[...] = result
            return
        result = node.op.of_numbers(*operands, **node.settings)
        if type(result) is not expected:
            raise DTypeError(
                f"Python makes {result!r}, of class {type(result).__name__}, of {operands}, where the captured program "
                f"has a number of class {expected.__name__}: pass an array instead of a number"
            )
        out[()] = result

    return run
