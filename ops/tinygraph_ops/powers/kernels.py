"""The kernel of powers of single numbers: NumPy's scalars, which eager programs hold, differ from its 0-d arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.plugin import Lowering, Types
from tinygraph_ops.numpy_kernels import Array, Run, lower_by
from tinygraph_ops.powers.ops import power


def make_number_power(inputs: Sequence[Any], outputs: Sequence[Array]) -> Run:
    """Of arrays NumPy takes the square root where the exponent is a half, of scalars never: (-inf) ** 0.5 is inf."""
    x, y = map(np.asarray, inputs)
    return lambda: np.copyto(outputs[0], power.forward(x[()], y[()]), casting="same_kind")


_number_power = lower_by(make_number_power)


@power.lower
def power_lowered(types: Types, layouts: Any, target: Any) -> Lowering | None:
    return None if types.outputs[0].shape else _number_power(types, layouts, target)
