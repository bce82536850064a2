"""The kernel of powers that NumPy's ufunc takes otherwise than its operator, with which eager programs compute.

Of single numbers these are NumPy's scalars, and not 0-d arrays: (-inf) ** 0.5 is inf. In half precision the operator
takes square roots where the exponent is a half, as the ufunc does in the other precisions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.plugin import Array, Layouts, Lowering, Numeric, Types, WeakType
from tinygraph_ops.numpy_kernels import Run, numpy_lowering
from tinygraph_ops.powers.ops import power

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu


def make_power(inputs: Sequence[Any], outputs: Sequence[Array], *, numbers: tuple[bool, ...]) -> Run:
    """The forward itself, on Python numbers, scalars and arrays as an eager program has them."""

    def operand(x: Numeric, number: bool) -> Any:
        return x if not isinstance(x, np.ndarray) else x.item() if number else x[()]

    def run() -> None:
        x, y = map(operand, inputs, numbers)
        np.copyto(outputs[0], power.forward(x, y), casting="same_kind")

    return run


@power.lower
def power_lowered(types: Types, layouts: Layouts, cpu: Cpu) -> Lowering | None:
    """NumPy's power for single numbers and half precision, which generated loops leave out."""
    if types.outputs[0].shape and types.outputs[0].dtype != np.float16:
        return None
    numbers = tuple(isinstance(one, WeakType) for one in types.inputs)
    return numpy_lowering(make_power, "NumPy power", numbers=numbers)
