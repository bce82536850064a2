"""Half precision: what sums, squares or exponentiates float16 does so in float32, and rounds its result once.

float16 ends at 65,504, so that the square of 300 is infinite, and sums of it lose the small terms. Values and rules of
ops that this concerns are written with these two functions; other dtypes pass through them unchanged.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.plugin import Numeric, ops


def wide(x: Numeric) -> Any:
    """x, as float32 where it is float16."""
    return ops.cast(x, dtype="float32") if getattr(x, "dtype", None) == np.float16 else x


def narrow(out: Numeric, dtype: DTypeLike | None) -> Numeric | Any:
    """A result of what `wide` made of operands of some dtype: rounded back to float16."""
    return ops.cast(out, dtype="float16") if dtype == np.float16 and out.dtype == np.float32 else out


def wide_dtype(dtype: DTypeLike) -> Any:
    """The dtype of `wide(x)`."""
    return np.dtype(np.float32) if dtype == np.float16 else dtype
