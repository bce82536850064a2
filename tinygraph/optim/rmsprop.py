"""RMSprop (Tieleman and Hinton, 2012; centered: Graves, 2013)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.optim.optimizer import Optimizer, ParameterGroup, Slots, decayed, slot

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class RMSprop(Optimizer):
    """p <- p - lr * gradient / (sqrt(v) + eps), with v the running mean of the squared gradient.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr: the learning rate.
        alpha: how much of the running means is kept in a step.
        eps: added to the root.
        weight_decay: times the parameter is added to the gradient.
        momentum: how much of a running sum of the steps is kept.
        centered: divide by the standard deviation, the running mean of the gradient taken off.
        maximize: go uphill.

    Raises:
        SettingError: a negative setting.

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0], requires_grad=True)
    >>> optimizer = RMSprop([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.numpy().round(6))
    [2.]
    """

    scheduled = ("lr", "momentum")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay, "momentum": momentum,
            "centered": centered, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        value, alpha = read(parameter), group["alpha"]
        gradient = decayed(gradient, value, group)
        squares = slot(slots, "square_avg", parameter)
        spread = alpha * read(squares) + (1 - alpha) * (gradient * gradient)
        write(squares, spread)
        if group["centered"]:
            average = slot(slots, "grad_avg", parameter)
            mean = alpha * read(average) + (1 - alpha) * gradient
            write(average, mean)
            spread = spread - mean * mean
        change = gradient / (ops.sqrt(spread) + group["eps"])
        if group.uses("momentum"):
            velocity = slot(slots, "momentum_buffer", parameter)
            change = group.now("momentum").astype(parameter.dtype) * read(velocity) + change
            write(velocity, change)
        write(parameter, value - group.now("lr").astype(parameter.dtype) * change)
