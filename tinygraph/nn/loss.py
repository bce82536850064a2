"""Losses as modules: of labels, probabilities, differences, margins, distances and sequences."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import DTypeLike

from tinygraph.core.tensor import Tensor
from tinygraph.nn import functional
from tinygraph.nn.linear import Linear
from tinygraph.nn.module import Module

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class _Loss(Module):
    """A loss; `size_average` and `reduce`, long deprecated, are refused."""

    def _set_up(self, size_average: object, reduce: object, reduction: str, **buffers: object) -> None:
        functional.refuse(type(self).__name__, size_average=(size_average, None), reduce=(reduce, None))
        self.reduction = reduction
        for name, value in buffers.items():
            self.register_buffer(name, value)

    def extra_repr(self) -> str:
        return f"reduction={self.reduction!r}"


class _Function(_Loss):
    """A function of input and target; the attributes named in `settings` are its keywords besides `reduction`."""

    function: ClassVar[Callable[..., Any]]
    settings: ClassVar[tuple[str, ...]] = ()

    def __init__(
        self, size_average: bool | None = None, reduce: object = None, reduction: str = "mean"
    ) -> None:
        self._set_up(size_average, reduce, reduction)

    def forward(self, input: Numeric, target: Numeric) -> Any:
        return type(self).function(input, target, **self._keywords())

    def _keywords(self) -> dict[str, Any]:
        return {"reduction": self.reduction, **{name: getattr(self, name) for name in self.settings}}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._keywords().items())


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


class MSELoss(_Function):
    """The mean of (input - target) ** 2.

    >>> import numpy as np
    >>> MSELoss()(np.array([1.0, 2.0]), np.array([3.0, 2.0])).item()
    2.0
    """

    function = staticmethod(functional.mse_loss)


class L1Loss(_Function):
    """The mean of |input - target|."""

    function = staticmethod(functional.l1_loss)


class SmoothL1Loss(_Function):
    """d ** 2 / (2 beta) where d = |input - target| is below beta, else d - beta / 2."""

    function = staticmethod(functional.smooth_l1_loss)
    settings = ("beta",)

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: object = None,
        reduction: str = "mean",
        beta: float = 1.0,
    ) -> None:
        self._set_up(size_average, reduce, reduction)
        self.beta = beta


class HuberLoss(_Function):
    """d ** 2 / 2 where d = |input - target| is at most delta, else delta * (d - delta / 2)  (Huber, 1964)."""

    function = staticmethod(functional.huber_loss)
    settings = ("delta",)

    def __init__(self, reduction: str = "mean", delta: float = 1.0) -> None:
        self._set_up(None, None, reduction)
        self.delta = delta


class KLDivLoss(_Function):
    """target * (log(target) - input) for log-probabilities `input`; reduction="batchmean" is the divergence."""

    function = staticmethod(functional.kl_div)
    settings = ("log_target",)

    def __init__(
        self,
        size_average: bool | None = None,
        reduce: object = None,
        reduction: str = "mean",
        log_target: bool = False,
    ) -> None:
        self._set_up(size_average, reduce, reduction)
        self.log_target = log_target


class PoissonNLLLoss(_Function):
    """exp(input) - target * input, or input - target * log(input + eps) without `log_input`."""

    function = staticmethod(functional.poisson_nll_loss)
    settings = ("log_input", "full", "eps")

    def __init__(
        self,
        log_input: bool = True,
        full: bool = False,
        size_average: bool | None = None,
        eps: float = 1e-8,
        reduce: object = None,
        reduction: str = "mean",
    ) -> None:
        self._set_up(size_average, reduce, reduction)
        self.log_input = log_input
        self.full = full
        self.eps = eps


class SoftMarginLoss(_Function):
    """log(1 + exp(-target * input)), for targets 1 and -1."""

    function = staticmethod(functional.soft_margin_loss)


class HingeEmbeddingLoss(_Function):
    """input where target is 1, max(0, margin - input) where it is -1."""

    function = staticmethod(functional.hinge_embedding_loss)
    settings = ("margin",)

    def __init__(
        self,
        margin: float = 1.0,
        size_average: bool | None = None,
        reduce: object = None,
        reduction: str = "mean",
    ) -> None:
        self._set_up(size_average, reduce, reduction)
        self.margin = margin


class MultiLabelMarginLoss(_Function):
    """Hinges between each label of a sample and each other class; target: the labels first, then -1."""

    function = staticmethod(functional.multilabel_margin_loss)


class GaussianNLLLoss(_Loss):
    """(log(var) + (input - target) ** 2 / var) / 2, with variances of at least `eps`; `full` adds log(2 pi) / 2."""

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean") -> None:
        self._set_up(None, None, reduction)
        self.full, self.eps = full, eps

    def forward(self, input: Numeric, target: Numeric, var: Numeric) -> Any:
        return functional.gaussian_nll_loss(input, target, var, self.full, self.eps, self.reduction)


class _MarginOfPairs(_Loss):
    """A loss of two inputs and a target 1 or -1, with a margin."""

    function: ClassVar[Callable[..., Any]]

    def __init__(
        self,
        margin: float = 0.0,
        size_average: bool | None = None,
        reduce: object = None,
        reduction: str = "mean",
    ) -> None:
        self._set_up(size_average, reduce, reduction)
        self.margin = margin

    def forward(self, input1: Numeric, input2: Numeric, target: Numeric) -> Any:
        return type(self).function(input1, input2, target, margin=self.margin, reduction=self.reduction)

    def extra_repr(self) -> str:
        return f"margin={self.margin}, reduction={self.reduction!r}"


class MarginRankingLoss(_MarginOfPairs):
    """max(0, -target * (input1 - input2) + margin), for targets 1 (the first is to rank higher) and -1."""

    function = staticmethod(functional.margin_ranking_loss)


class CosineEmbeddingLoss(_MarginOfPairs):
    """1 - cos where target is 1, max(0, cos - margin) where it is -1."""

    function = staticmethod(functional.cosine_embedding_loss)


class TripletMarginLoss(_Loss):
    """max(0, d(anchor, positive) - d(anchor, negative) + margin), with d the p-norm of the difference."""

    def __init__(
        self,
        margin: float = 1.0,
        p: float = 2.0,
        eps: float = 1e-6,
        swap: bool = False,
        size_average: bool | None = None,
        reduce: object = None,
        reduction: str = "mean",
    ) -> None:
        self._set_up(size_average, reduce, reduction)
        self.margin, self.p, self.eps, self.swap = margin, p, eps, swap

    def forward(self, anchor: Numeric, positive: Numeric, negative: Numeric) -> Any:
        return functional.triplet_margin_loss(
            anchor, positive, negative, self.margin, self.p, self.eps, self.swap, reduction=self.reduction
        )


class TripletMarginWithDistanceLoss(_Loss):
    """`TripletMarginLoss` with a distance of the user's own."""

    def __init__(
        self,
        *,
        distance_function: Callable[[Any, Any], Any] | None = None,
        margin: float = 1.0,
        swap: bool = False,
        reduction: str = "mean",
    ) -> None:
        self._set_up(None, None, reduction)
        self.distance_function, self.margin, self.swap = distance_function, margin, swap

    def forward(self, anchor: Numeric, positive: Numeric, negative: Numeric) -> Any:
        return functional.triplet_margin_with_distance_loss(
            anchor, positive, negative, distance_function=self.distance_function, margin=self.margin,
            swap=self.swap, reduction=self.reduction,
        )  # fmt: skip


class MultiMarginLoss(_WeightedLoss):
    """sum over other classes of weight[y] * max(0, margin - input[y] + input[i]) ** p, over the number of classes."""

    def __init__(
        self,
        p: int = 1,
        margin: float = 1.0,
        weight: Numeric | None = None,
        size_average: bool | None = None,
        reduce: object = None,
        reduction: str = "mean",
    ) -> None:
        self._set_up(size_average, reduce, reduction, weight=weight)
        self.p, self.margin = p, margin

    def forward(self, input: Numeric, target: Numeric) -> Any:
        return functional.multi_margin_loss(
            input, target, self.p, self.margin, self.weight, reduction=self.reduction
        )


class BCELoss(_WeightedLoss):
    """Binary cross entropy of probabilities `input` and target; logarithms end at -100."""

    def __init__(
        self,
        weight: Numeric | None = None,
        size_average: bool | None = None,
        reduce: object = None,
        reduction: str = "mean",
    ) -> None:
        self._set_up(size_average, reduce, reduction, weight=weight)

    def forward(self, input: Numeric, target: Numeric) -> Any:
        return functional.binary_cross_entropy(input, target, self.weight, reduction=self.reduction)


class MultiLabelSoftMarginLoss(_WeightedLoss):
    """The mean over classes of the binary cross entropies of sigmoid(input) and target."""

    def __init__(
        self,
        weight: Numeric | None = None,
        size_average: bool | None = None,
        reduce: object = None,
        reduction: str = "mean",
    ) -> None:
        self._set_up(size_average, reduce, reduction, weight=weight)

    def forward(self, input: Numeric, target: Numeric) -> Any:
        return functional.multilabel_soft_margin_loss(input, target, self.weight, reduction=self.reduction)


class CTCLoss(_Loss):
    """The negative log-probability of label sequences over all alignments (Graves et al., 2006).

    Args:
        blank: the class of no label.
        reduction: "mean" divides each loss by its target's length first.
        zero_infinity: losses of targets that do not fit into their input are 0 instead of infinite.
    """

    def __init__(self, blank: int = 0, reduction: str = "mean", zero_infinity: bool = False) -> None:
        self._set_up(None, None, reduction)
        self.blank, self.zero_infinity = blank, zero_infinity

    def forward(self, log_probs: Numeric, targets: Any, input_lengths: Any, target_lengths: Any) -> Any:
        return functional.ctc_loss(
            log_probs, targets, input_lengths, target_lengths, self.blank, self.reduction, self.zero_infinity
        )


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


class LinearCrossEntropyLoss(_WeightedLoss):
    """Cross entropy of a linear map of the input: its parameters are `linear.weight` and `linear.bias`.

    Shapes: input (batch, in_features) or (in_features,); labels (batch, *out_features) of class indices, or
    probabilities (batch, num_classes, *out_features).

    Args:
        out_features: the sizes of a loss of several dimensions.
        ignore_index: the label that counts for nothing, -100 by default.
        options: how PyTorch would divide the work, which has no meaning here.
    """

    def __init__(
        self,
        in_features: int,
        num_classes: int,
        *,
        out_features: tuple[int, ...] = (),
        bias: bool = False,
        device: object = None,
        dtype: DTypeLike | None = None,
        reduction: str = "mean",
        weight: Numeric | None = None,
        ignore_index: int | None = None,
        label_smoothing: float = 0.0,
        options: object = None,
    ) -> None:
        self._set_up(None, None, reduction, weight=weight)
        self.num_classes, self.out_features = num_classes, tuple(out_features)
        self.ignore_index, self.label_smoothing = ignore_index, label_smoothing
        count = prod(self.out_features, start=num_classes)
        self.linear = Linear(in_features, count, bias=bias, device=device, dtype=dtype)

    def forward(self, input: Numeric, target: Numeric) -> Any:
        scores = self.linear(input)
        scores = scores.reshape(*scores.shape[:-1], self.num_classes, *self.out_features)
        ignored = -100 if self.ignore_index is None else self.ignore_index
        return functional.cross_entropy(
            scores, target, self.weight, ignore_index=ignored, reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )  # fmt: skip
