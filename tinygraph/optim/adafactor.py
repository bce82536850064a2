"""Adafactor (Shazeer and Stern, 2018): Adam's scaling from the means of rows and columns alone, and no momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError
from tinygraph.optim.optimizer import (
    Optimizer,
    ParameterGroup,
    Slots,
    mixed,
    next_step,
    require_at_least_zero,
    slot,
)

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class Adafactor(Optimizer):
    """p <- p - a u / max(1, rms(u) / d), with u = gradient / sqrt(v), a = max(eps2, rms(p)) min(lr, 1 / sqrt(t)).

    v is the running mean of the squared gradient, of which a matrix keeps only the means of its rows and columns (of
    the last two axes): memory for n + m numbers instead of n m. Its newest share at update t is t ** beta2_decay.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr: the largest relative rate.
        beta2_decay: exponent of the share of the newest gradient.
        eps: (smallest v's root, or None for the dtype's precision; smallest size of a parameter).
        d: updates with a larger root mean square are scaled down to it.
        weight_decay: the share of the parameter, times lr, that each step removes.
        maximize: go uphill.

    Raises:
        SettingError: a setting out of range.

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0, 4.0], requires_grad=True)
    >>> optimizer = Adafactor([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.numpy().round(6))
    [2.646447 3.646447]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        beta2_decay: float = -0.8,
        eps: tuple[float | None, float] = (None, 1e-3),
        d: float = 1.0,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d, "weight_decay": weight_decay,
            "maximize": maximize,
        }  # fmt: skip
        super().__init__(params, defaults)

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        if settings["beta2_decay"] > 0:
            raise SettingError(f"Adafactor: beta2_decay={settings['beta2_decay']!r} must be at most 0")
        if settings["d"] < 1:
            raise SettingError(f"Adafactor: d={settings['d']!r} must be at least 1")
        for name, value in zip(("eps[0]", "eps[1]"), settings["eps"], strict=True):
            if value is not None:
                require_at_least_zero("Adafactor", name, value)

    def _slot_shape(self, name: str, parameter: Tensor) -> tuple[int, ...]:
        if name == "row_var":
            return (*parameter.shape[:-1], 1)
        if name == "col_var":
            return (*parameter.shape[:-2], 1, parameter.shape[-1])
        return parameter.shape

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        value, dtype, step = read(parameter), parameter.dtype, next_step(slots, parameter)
        least, smallest = group["eps"]
        least = float(np.finfo(dtype).eps) if least is None else least
        rate = group.now("lr")
        relative = ops.minimum(rate, 1.0 / ops.sqrt(step)).astype(dtype)
        size = ops.maximum(_root_mean_square(value), smallest) * relative
        if group["weight_decay"]:
            value = value * (1.0 - rate * group["weight_decay"]).astype(dtype)
        squares = self._squares(parameter, gradient * gradient, step ** group["beta2_decay"], least, slots)
        update = gradient / ops.sqrt(ops.maximum(squares, least * least))
        write(parameter, value - size / ops.maximum(_root_mean_square(update) / group["d"], 1.0) * update)

    def _squares(self, parameter: Tensor, squared: object, share: Any, least: float, slots: Slots) -> Any:
        """The running mean of the squared gradient: of a matrix, from the means of its rows and columns."""
        share = share.astype(parameter.dtype)
        if parameter.ndim < 2:
            kept = slot(slots, "variance", parameter)
            new = mixed(read(kept), squared, share)
            write(kept, new)
            return new
        means = []
        for name, axis in (("row_var", -1), ("col_var", -2)):
            kept = slot(slots, name, parameter, shape=self._slot_shape(name, parameter))
            new = mixed(read(kept), ops.mean(squared, axis=axis, keepdims=True), share)
            write(kept, new)
            means.append(new)
        rows, columns = means
        return rows * columns / ops.maximum(ops.mean(rows, axis=-2, keepdims=True), least)


def _root_mean_square(x: Numeric) -> Any:
    return ops.sqrt(ops.mean(x * x))
