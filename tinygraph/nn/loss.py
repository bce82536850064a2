"""Losses as modules: CrossEntropyLoss, NLLLoss, MSELoss, L1Loss and BCEWithLogitsLoss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tinygraph.core.tensor import Tensor
from tinygraph.nn import functional
from tinygraph.nn.module import Module

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class _Loss(Module):
    """A loss; `size_average` and `reduce`, long deprecated, are refused."""

    def _set_up(self, size_average: Any, reduce: object, reduction: str, **buffers: object) -> None:
        functional.refuse(type(self).__name__, size_average=(size_average, None), reduce=(reduce, None))
        self.reduction = reduction
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class _WeightedLoss(_Loss):
    """A loss with factors, which are buffers."""

    weight: Tensor | None
    pos_weight: Tensor | None


class CrossEntropyLoss(_WeightedLoss):
    """The negative log-likelihood of labels under softmax(logits).

    Shapes: logits (batch, classes, ...); labels (batch, ...) of class indices, or probabilities like the logits.

    Args:
        weight: (classes,) factors of the classes.
        ignore_index: a label that does not count.
        reduction: "mean", "sum" or "none".
        label_smoothing: the share of the uniform distribution in the target.

    >>> import numpy as np
    >>> round(CrossEntropyLoss()(np.zeros((2, 4)), np.array([1, 3])).item(), 4)
    1.3863
    """

    def __init__(
        self,
        weight: Numeric | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: object = None,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        self._set_up(size_average, reduce, reduction, weight=weight)
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Numeric, target: Numeric) -> Any:
        return functional.cross_entropy(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip


class NLLLoss(_WeightedLoss):
    """The negative of log-probabilities (batch, classes, ...) at the labels (batch, ...)."""

    def __init__(
        self,
        weight: Numeric | None = None,
        size_average: bool | None = None,
        ignore_index: int = -100,
        reduce: object = None,
        reduction: str = "mean",
    ) -> None:
        self._set_up(size_average, reduce, reduction, weight=weight)
        self.ignore_index = ignore_index

    def forward(self, input: Numeric, target: Numeric) -> Any:
        return functional.nll_loss(
            input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction
        )


class MSELoss(_Loss):
    """The mean of (input - target) ** 2.

    >>> import numpy as np
    >>> MSELoss()(np.array([1.0, 2.0]), np.array([3.0, 2.0])).item()
    2.0
    """

    def __init__(self, size_average: Any = None, reduce: object = None, reduction: str = "mean") -> None:
        self._set_up(size_average, reduce, reduction)

    def forward(self, input: Numeric, target: Numeric) -> Any:
        return functional.mse_loss(input, target, reduction=self.reduction)


class L1Loss(_Loss):
    """The mean of |input - target|."""

    def __init__(self, size_average: Any = None, reduce: object = None, reduction: str = "mean") -> None:
        self._set_up(size_average, reduce, reduction)

    def forward(self, input: Numeric, target: Numeric) -> Any:
        return functional.l1_loss(input, target, reduction=self.reduction)


class BCEWithLogitsLoss(_WeightedLoss):
    """Binary cross entropy of sigmoid(input) and target, in a form that never overflows.

    Args:
        weight: factors of the losses, broadcast.
        reduction: "mean", "sum" or "none".
        pos_weight: factors of the positive terms, broadcast.
    """

    def __init__(
        self,
        weight: Numeric | None = None,
        size_average: bool | None = None,
        reduce: object = None,
        reduction: str = "mean",
        pos_weight: Numeric | None = None,
    ) -> None:
        self._set_up(size_average, reduce, reduction, weight=weight, pos_weight=pos_weight)

    def forward(self, input: Numeric, target: Numeric) -> Any:
        return functional.binary_cross_entropy_with_logits(
            input, target, self.weight, reduction=self.reduction, pos_weight=self.pos_weight
        )
