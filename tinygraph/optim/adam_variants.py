"""Relatives of Adam: Adamax (Kingma and Ba, 2015), NAdam (Dozat, 2016) and RAdam (Liu and others, 2020)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from numpy.typing import DTypeLike

from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.optim.adam import check_betas
from tinygraph.optim.optimizer import (
    Optimizer,
    ParameterGroup,
    Slots,
    decayed,
    mixed,
    next_step,
    number,
    slot,
)

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class _WithMoments(Optimizer):
    """What the relatives share: betas that schedules may write, and weight decay in either of its two places."""

    scheduled = ("lr", "betas")

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        check_betas(cls.__name__, settings["betas"])

    def _decayed(
        self, value: Numeric, gradient: Numeric, group: ParameterGroup, dtype: DTypeLike
    ) -> tuple[Any, Any]:
        """Value and gradient after weight decay: on the value where it is decoupled, else in the gradient."""
        if group["weight_decay"] and group["decoupled_weight_decay"]:
            return value * (1.0 - group.now("lr") * group["weight_decay"]).astype(dtype), gradient
        return value, decayed(gradient, value, group)

    def _moments(
        self, parameter: Tensor, gradient: Numeric, betas: Any, slots: Slots
    ) -> tuple[Any, Any]:  # the running means of the gradient and of its square, after this gradient
        first, second = slot(slots, "exp_avg", parameter), slot(slots, "exp_avg_sq", parameter)
        dtype = parameter.dtype
        mean = mixed(read(first), gradient, (1.0 - betas[0]).astype(dtype))
        square = betas[1].astype(dtype) * read(second) + (1.0 - betas[1]).astype(dtype) * (
            gradient * gradient
        )
        write(first, mean)
        write(second, square)
        return mean, square


class Adamax(_WithMoments):
    """p <- p - lr / (1 - beta1**t) * m / u: Adam with u = max(beta2 * u, |gradient| + eps) for the root.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr: the learning rate.
        betas: how much of m and u is kept in a step.
        eps: added to the gradient's size.
        weight_decay: times the parameter is added to the gradient.
        maximize: go uphill.

    Raises:
        SettingError: a negative setting, or a beta outside [0, 1).

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0], requires_grad=True)
    >>> optimizer = Adamax([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.numpy().round(6))
    [2.5]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        value, dtype = read(parameter), parameter.dtype
        betas, step = group.now("betas"), next_step(slots, parameter)
        gradient = decayed(gradient, value, group)
        first, largest = slot(slots, "exp_avg", parameter), slot(slots, "exp_inf", parameter)
        mean = mixed(read(first), gradient, (1.0 - betas[0]).astype(dtype))
        size = ops.maximum(betas[1].astype(dtype) * read(largest), ops.abs(gradient) + group["eps"])
        write(first, mean)
        write(largest, size)
        rate = (group.now("lr") / (1.0 - betas[0] ** step)).astype(dtype)
        write(parameter, value - rate * mean / size)


class NAdam(_WithMoments):
    """Adam with Nesterov's momentum: the step goes along the mean as it will be after the next gradient.

    mu_t = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay)) takes beta1's place, and its product over the steps undoes
    the start from zero.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr, betas, eps, maximize: as in `Adam`.
        weight_decay: times the parameter is added to the gradient.
        momentum_decay: how fast mu_t comes near beta1.
        decoupled_weight_decay: weight decay acts on the parameter, as in `AdamW`.

    Raises:
        SettingError: a negative setting, or a beta outside [0, 1).

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0], requires_grad=True)
    >>> optimizer = NAdam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.numpy().round(6))
    [2.471774]
    """

    numbers = ("step", "mu_product")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        dtype, rate = parameter.dtype, group.now("lr")
        betas, step, decay = group.now("betas"), next_step(slots, parameter), group["momentum_decay"]
        value, gradient = self._decayed(read(parameter), gradient, group, dtype)
        now = betas[0] * (1.0 - 0.5 * 0.96 ** (step * decay))
        after = betas[0] * (1.0 - 0.5 * 0.96 ** ((step + 1.0) * decay))
        so_far = number(slots, "mu_product", parameter, 1.0)
        product = read(so_far) * now
        write(so_far, product)
        mean, square = self._moments(parameter, gradient, betas, slots)
        root = ops.sqrt(square / (1.0 - betas[1] ** step).astype(dtype)) + group["eps"]
        present = (rate * (1.0 - now) / (1.0 - product)).astype(dtype)
        coming = (rate * after / (1.0 - product * after)).astype(dtype)
        write(parameter, value - present * (gradient / root) - coming * (mean / root))


class RAdam(_WithMoments):
    """Adam whose steps are scaled by how far the running mean of squares can be trusted, and plain momentum until then.

    With r = 2 / (1 - beta2) - 1 and r_t = r - 2 t beta2**t / (1 - beta2**t), steps of Adam times
    sqrt((r_t - 4)(r_t - 2) r / ((r - 4)(r - 2) r_t)) where r_t > 5, else lr times the mean of the gradients.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr, betas, eps, maximize: as in `Adam`.
        weight_decay: times the parameter is added to the gradient.
        decoupled_weight_decay: weight decay acts on the parameter, as in `AdamW`.

    Raises:
        SettingError: a negative setting, or a beta outside [0, 1).

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0], requires_grad=True)
    >>> optimizer = RAdam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.numpy().round(6))
    [2.4]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        dtype, betas, step = parameter.dtype, group.now("betas"), next_step(slots, parameter)
        value, gradient = self._decayed(read(parameter), gradient, group, dtype)
        mean, square = self._moments(parameter, gradient, betas, slots)
        power = betas[1] ** step
        full = 2.0 / (1.0 - betas[1]) - 1.0
        trusted = full - 2.0 * step * power / (1.0 - power)
        # where the formula is not used, it is given numbers that keep its root real
        safe, most = ops.maximum(trusted, 5.0), ops.maximum(full, 5.0)
        share = ops.sqrt((safe - 4.0) * (safe - 2.0) * most / ((most - 4.0) * (most - 2.0) * safe))
        scaled = (share * ops.sqrt(1.0 - power)).astype(dtype) / (ops.sqrt(square) + group["eps"])
        rate = (group.now("lr") / (1.0 - betas[0] ** step)).astype(dtype)
        write(parameter, value - rate * mean * ops.where(trusted > 5.0, scaled, 1.0).astype(dtype))
