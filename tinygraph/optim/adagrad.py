"""Adagrad (Duchi, Hazan and Singer, 2011) and Adadelta (Zeiler, 2012): steps scaled by the sizes of past gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError
from tinygraph.optim.optimizer import Optimizer, ParameterGroup, Slots, decayed, next_step, slot

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class Adagrad(Optimizer):
    """p <- p - lr / (1 + (t - 1) * lr_decay) * gradient / (sqrt(s) + eps), with s the sum of squared gradients.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr: the learning rate.
        lr_decay: how fast the rate falls with the number t of updates.
        weight_decay: times the parameter is added to the gradient.
        initial_accumulator_value: what s starts from.
        eps: added to the root.
        maximize: go uphill.

    Raises:
        SettingError: a negative setting.

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0], requires_grad=True)
    >>> optimizer = Adagrad([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.numpy().round(6))
    [2.5]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        value, step = read(parameter), next_step(slots, parameter)
        gradient = decayed(gradient, value, group)
        sums = slot(slots, "sum", parameter, group["initial_accumulator_value"])
        total = read(sums) + gradient * gradient
        write(sums, total)
        rate = group.now("lr") / (1.0 + (step - 1.0) * group["lr_decay"])
        write(parameter, value - rate.astype(parameter.dtype) * gradient / (ops.sqrt(total) + group["eps"]))


class Adadelta(Optimizer):
    """p <- p - lr * d, with d = sqrt(u + eps) / sqrt(v + eps) * gradient; u and v: running means of d² and gradient².

    Args:
        params: parameters or groups, see `Optimizer`.
        lr: what the steps are scaled by.
        rho: how much of the running means is kept in a step.
        eps: added under the roots.
        weight_decay: times the parameter is added to the gradient.
        maximize: go uphill.

    Raises:
        SettingError: a negative setting, or rho above 1.

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0], requires_grad=True)
    >>> optimizer = Adadelta([w])
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.numpy().round(6))
    [2.996838]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        if settings["rho"] > 1:
            raise SettingError(f"Adadelta: rho={settings['rho']!r} must be from 0 to 1")

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        value, rho, eps = read(parameter), group["rho"], group["eps"]
        next_step(slots, parameter)
        gradient = decayed(gradient, value, group)
        squares, changes = slot(slots, "square_avg", parameter), slot(slots, "acc_delta", parameter)
        spread = rho * read(squares) + (1 - rho) * (gradient * gradient)
        change = ops.sqrt(read(changes) + eps) / ops.sqrt(spread + eps) * gradient
        write(squares, spread)
        write(changes, rho * read(changes) + (1 - rho) * (change * change))
        write(parameter, value - group.now("lr").astype(parameter.dtype) * change)
