"""Muon (Jordan and others, 2024): momentum whose singular values are made nearly one before each step of a matrix."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import sqrt
from typing import TYPE_CHECKING, Any

from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError
from tinygraph.optim.optimizer import Optimizer, ParameterGroup, Slots, mixed, slot

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

_RATES: dict[str | None, Callable[[int, int], float]] = {
    None: lambda rows, columns: sqrt(max(1.0, rows / columns)),
    "original": lambda rows, columns: sqrt(max(1.0, rows / columns)),
    "match_rms_adamw": lambda rows, columns: 0.2 * sqrt(max(rows, columns)),
}


class Muon(Optimizer):
    """P <- (1 - lr * weight_decay) P - lr * s * orth(momentum), for matrices; other parameters need another optimizer.

    orth(M) is near U Vᵀ of the singular value decomposition M = U S Vᵀ, by `ns_steps` of Newton and Schulz's iteration
    X <- a X + (b A + c A²) X with A = X Xᵀ (Bernstein and Newhouse, 2024). s corrects for the matrix' shape. Computed
    in the parameter's dtype, where PyTorch rounds to bfloat16 (three digits).

    Args:
        params: matrices or groups of them, see `Optimizer`.
        lr: the learning rate.
        weight_decay: the share of the parameter, times lr, that each step removes.
        momentum: how much of the running mean of gradients is kept.
        nesterov: mix the gradient with the new mean once more.
        ns_coefficients: a, b and c.
        eps: the smallest norm that a momentum is divided by.
        ns_steps: how many iterations.
        adjust_lr_fn: "original" (s = sqrt(max(1, rows / columns))) or "match_rms_adamw" (0.2 sqrt(max(rows, columns))).

    Raises:
        SettingError: a parameter that is no matrix, or a setting out of range.

    >>> import numpy as np, tinygraph as tg
    >>> w = tg.tensor(np.eye(2) * 3, requires_grad=True)
    >>> optimizer = Muon([w], lr=0.1, weight_decay=0)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.numpy().round(1))
    [[2.9 0. ]
     [0.  2.9]]
    """

    scheduled = ("lr", "momentum")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        nesterov: bool = True,
        ns_coefficients: tuple[float, float, float] = (3.4445, -4.775, 2.0315),
        eps: float = 1e-7,
        ns_steps: int = 5,
        adjust_lr_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr, "weight_decay": weight_decay, "momentum": momentum, "nesterov": nesterov,
            "ns_coefficients": ns_coefficients, "eps": eps, "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
            "maximize": False,
        }  # fmt: skip
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Mapping[str, Any]) -> None:
        super().add_param_group(param_group)
        for parameter in self.param_groups[-1]["params"]:
            if parameter.ndim != 2:
                del self.param_groups[-1]
                raise SettingError(
                    f"Muon updates matrices, and parameter {parameter.name or ''!r} has shape {parameter.shape}: give "
                    f"biases, norms, embeddings and convolutions to another optimizer, such as AdamW"
                )

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        if settings["adjust_lr_fn"] not in _RATES:
            raise SettingError(
                f'Muon: adjust_lr_fn={settings["adjust_lr_fn"]!r} must be "original", "match_rms_adamw" or None'
            )
        if len(settings["ns_coefficients"]) != 3 or not 0 < settings["ns_steps"] < 100:
            raise SettingError("Muon: ns_coefficients are three numbers, and ns_steps is from 1 to 99")

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        dtype, rate = parameter.dtype, group.now("lr")
        momentum = group.now("momentum").astype(dtype)
        kept = slot(slots, "momentum_buffer", parameter)
        mean = mixed(gradient, read(kept), momentum)
        write(kept, mean)
        direction = mixed(gradient, mean, momentum) if group["nesterov"] else mean
        step = _orthogonal(direction, group["ns_coefficients"], group["ns_steps"], group["eps"])
        scale = _RATES[group["adjust_lr_fn"]](*parameter.shape)
        value = read(parameter) * (1.0 - rate * group["weight_decay"]).astype(dtype)
        write(parameter, value - (rate * scale).astype(dtype) * step)


def _orthogonal(matrix: Any, coefficients: tuple[float, float, float], steps: int, eps: float) -> Any:
    """A matrix with the singular vectors of this one and singular values near one."""
    a, b, c = coefficients
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / ops.maximum(ops.sqrt(ops.sum(x * x)), eps)
    for _ in range(steps):
        gram = ops.matmul(x, x.T)
        x = a * x + ops.matmul(b * gram + c * ops.matmul(gram, gram), x)
    return x.T if tall else x
