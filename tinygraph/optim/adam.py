"""Adam (Kingma and Ba, 2015; `amsgrad`: Reddi, Kale and Kumar, 2018) and AdamW (Loshchilov and Hutter, 2019)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError
from tinygraph.optim.optimizer import Optimizer, ParameterGroup, Slots, next_step, slot

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def check_betas(optimizer: str, betas: object) -> None:
    """Raise SettingError unless these are two numbers in [0, 1)."""
    pair = isinstance(betas, tuple | list | np.ndarray) and len(betas) == 2
    if not pair or not all(isinstance(beta, int | float) and 0 <= beta < 1 for beta in betas):  # type: ignore[attr-defined]
        raise SettingError(f"{optimizer}: betas={betas!r} must be two numbers in [0, 1)")


class Adam(Optimizer):
    """p <- p - lr * m' / (sqrt(v') + eps), with m and v running means of the gradient and of its square.

    m' = m / (1 - beta1**t) and v' = v / (1 - beta2**t) undo the start from zero.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr: the learning rate.
        betas: how much of the two running means is kept in a step.
        eps: added to the root.
        weight_decay: times the parameter is added to the gradient.
        amsgrad: divide by the largest v so far.
        maximize: go uphill.

    Raises:
        SettingError: a negative setting, or a beta outside [0, 1).

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0], requires_grad=True)
    >>> optimizer = Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.numpy().round(6))
    [2.5]
    """

    scheduled = ("lr", "betas")
    decoupled: ClassVar[bool] = False  # whether weight decay acts on the parameter instead of the gradient

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        check_betas(cls.__name__, settings["betas"])

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        value, dtype = read(parameter), parameter.dtype
        rate, betas, step = group.now("lr"), group.now("betas"), next_step(slots, parameter)
        if group["weight_decay"]:
            if self.decoupled:
                value = value * (1.0 - rate * group["weight_decay"]).astype(dtype)
            else:
                gradient = gradient + group["weight_decay"] * value
        first, second = slot(slots, "exp_avg", parameter), slot(slots, "exp_avg_sq", parameter)
        kept = [betas[i].astype(dtype) for i in range(2)]
        mean = kept[0] * read(first) + (1 - betas[0]).astype(dtype) * gradient
        square = kept[1] * read(second) + (1 - betas[1]).astype(dtype) * (gradient * gradient)
        write(first, mean)
        write(second, square)
        if group["amsgrad"]:
            largest = slot(slots, "max_exp_avg_sq", parameter)
            square = ops.maximum(read(largest), square)
            write(largest, square)
        size = (rate / (1.0 - betas[0] ** step)).astype(dtype)
        root = ops.sqrt(1.0 - betas[1] ** step).astype(dtype)
        write(parameter, value - size * mean / (ops.sqrt(square) / root + group["eps"]))


class AdamW(Adam):
    """Adam with weight decay that acts on the parameter: p <- p - lr * weight_decay * p, before Adam's step.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr, betas, eps, amsgrad, maximize: as in `Adam`.
        weight_decay: the share of the parameter, times lr, that each step removes.
    """

    decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
