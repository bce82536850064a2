"""Averaged stochastic gradient descent (Polyak and Juditsky, 1992)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.optim.optimizer import Optimizer, ParameterGroup, Slots, decayed, next_step, number, slot

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class ASGD(Optimizer):
    """p <- (1 - lambd * eta) p - eta * gradient, with a rate eta that falls, and the mean of p in the slot "ax".

    eta = lr / (1 + lambd * lr * t) ** alpha after t updates; the mean begins after `t0` of them.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr: the first rate.
        lambd: decay, of the parameter and of the rate.
        alpha: how fast the rate falls.
        t0: the update from which parameters are averaged.
        weight_decay: times the parameter is added to the gradient.
        maximize: go uphill.

    Raises:
        SettingError: a negative setting.

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0], requires_grad=True)
    >>> optimizer = ASGD([w], lr=0.1, lambd=0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.numpy().round(6))
    [2.4]
    """

    numbers = ("step", "eta", "mu")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        value, dtype, lambd = read(parameter), parameter.dtype, group["lambd"]
        rates = number(slots, "eta", parameter, group["lr"])
        shares = number(slots, "mu", parameter, 1.0)
        mean, step, rate = slot(slots, "ax", parameter), next_step(slots, parameter), read(rates)
        gradient = decayed(gradient, value, group)
        value = value * (1.0 - lambd * rate).astype(dtype) - rate.astype(dtype) * gradient
        write(parameter, value)
        share = read(shares)
        write(mean, read(mean) + (value - read(mean)) * share.astype(dtype))
        base = group.now("lr")
        write(rates, base / (1.0 + lambd * base * step) ** group["alpha"])
        write(shares, 1.0 / ops.maximum(1.0, step - group["t0"]))
