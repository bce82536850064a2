"""Padding, labels as rows, and other changes of shape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def pad(input: Numeric, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    """Widen the last axes: `pad` is (before, after) of the last axis, then of the one before it, and so on.

    Raises:
        SettingError: an odd number of widths, or an unknown mode.
    """
    if len(pad) % 2 or len(pad) > 2 * input.ndim:
        raise SettingError(f"pad has {len(pad)} widths; it takes two an axis for at most {input.ndim} axes")
    pairs = [(0, 0)] * (input.ndim - len(pad) // 2) + [(pad[i], pad[i + 1]) for i in range(0, len(pad), 2)][
        ::-1
    ]
    if mode == "constant" and min(pad, default=0) < 0:  # which cuts
        cut = tuple(
            slice(max(0, -before), input.shape[i] - max(0, -after)) for i, (before, after) in enumerate(pairs)
        )
        input, pairs = input[cut], [(max(0, before), max(0, after)) for before, after in pairs]
    if mode == "constant":
        return ops.pad(input, pad_width=tuple(pairs), constant_values=0 if value is None else value)
    if mode not in PADDING_MODES:
        raise SettingError(f"mode is {mode!r}; it can be constant, {', '.join(PADDING_MODES)}")
    for axis, (before, after) in enumerate(pairs):
        if before or after:
            where = np.pad(np.arange(input.shape[axis]), (before, after), mode=PADDING_MODES[mode])
            input = ops.take(input, where, axis=axis)
    return input


# PyTorch's names of what lies outside, and NumPy's
PADDING_MODES: dict[str, Any] = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def one_hot(tensor: object, num_classes: int) -> np.ndarray[Any, Any]:
    """Integers (...) as rows (..., num_classes) of zeros with a one.

    Raises:
        ShapeError: a class out of range.
    """
    labels = tensor.numpy() if isinstance(tensor, Tensor) else np.asarray(tensor)
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        raise ShapeError(
            f"classes from {labels.min()} to {labels.max()} do not fit num_classes={num_classes}"
        )
    rows: np.ndarray[Any, Any] = np.eye(num_classes, dtype=np.int64)[labels]
    return rows
