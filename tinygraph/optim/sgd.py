"""Stochastic gradient descent, with momentum (Polyak, 1964; Nesterov, 1983)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError
from tinygraph.optim.optimizer import Optimizer, ParameterGroup, Slots, decayed, next_step, number, slot

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class SGD(Optimizer):
    """p <- p - lr * v, with v the gradient, or its running sum v <- momentum * v + (1 - dampening) * gradient.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr: the learning rate.
        momentum: how much of the running sum is kept.
        dampening: how much of each gradient but the first is left out of it.
        weight_decay: times the parameter is added to the gradient.
        nesterov: step along gradient + momentum * v instead.
        maximize: go uphill.

    Raises:
        SettingError: a negative setting, or nesterov without momentum or with dampening.

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0], requires_grad=True)
    >>> optimizer = SGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([2.4], requires_grad=True)
    """

    scheduled = ("lr", "momentum")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay,
            "nesterov": nesterov, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        if settings["nesterov"] and (settings["momentum"] <= 0 or settings["dampening"] != 0):
            raise SettingError("SGD: nesterov=True needs momentum above 0 and dampening 0")

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        value = read(parameter)
        gradient = decayed(gradient, value, group)
        if group.uses("momentum"):
            momentum = group.now("momentum").astype(parameter.dtype)
            velocity = slot(slots, "momentum_buffer", parameter)
            new = momentum * read(velocity) + self._share(group, parameter, slots) * gradient
            write(velocity, new)
            gradient = gradient + momentum * new if group["nesterov"] else new
        write(parameter, value - group.now("lr").astype(parameter.dtype) * gradient)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`, PyTorch's included, which counts no steps: a running sum is not begun again."""
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            for parameter in group["params"] if group["dampening"] else ():
                slots = self.state.get(parameter, {})
                if "momentum_buffer" in slots:
                    number(slots, "step", parameter, 1.0)

    def _share(self, group: ParameterGroup, parameter: Tensor, slots: Slots) -> Any:
        """How much of the gradient enters the running sum: all of the first one, in spite of dampening."""
        if not group["dampening"]:
            return 1
        first = next_step(slots, parameter) == 1
        return ops.where(first, 1.0, 1.0 - group["dampening"]).astype(parameter.dtype)
