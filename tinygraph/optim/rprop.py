"""Resilient backpropagation (Riedmiller and Braun, 1993): each element has its own step size, from signs alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tinygraph.core.registry import ops
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError
from tinygraph.optim.optimizer import Optimizer, ParameterGroup, Slots, next_step, slot

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class Rprop(Optimizer):
    """p <- p - sign(gradient) * size; the size grows while the gradient keeps its sign and shrinks when it turns.

    Where it turned, the element rests for one step. Made for gradients of the whole data, not of batches.

    Args:
        params: parameters or groups, see `Optimizer`.
        lr: the first step size of every element.
        etas: what a size is multiplied by when the sign turned, and when it stayed.
        step_sizes: the smallest and the largest size.
        maximize: go uphill.

    Raises:
        SettingError: etas that are not (below 1, above 1), or a negative rate.

    >>> import tinygraph as tg
    >>> w = tg.tensor([3.0], requires_grad=True)
    >>> optimizer = Rprop([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> print(w.numpy().round(6))
    [2.9]
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "etas": etas, "step_sizes": step_sizes, "maximize": maximize})

    @classmethod
    def _check(cls, settings: Mapping[str, Any]) -> None:
        super()._check(settings)
        shrink, grow = settings["etas"]
        if not 0 < shrink < 1 < grow:
            raise SettingError(
                f"Rprop: etas={settings['etas']!r} must be a factor below 1 and one above 1, both positive"
            )

    def _update(self, parameter: Tensor, gradient: Numeric, group: ParameterGroup, slots: Slots) -> None:
        next_step(slots, parameter)
        before = slot(slots, "prev", parameter)
        sizes = slot(slots, "step_size", parameter, group["lr"])
        (shrink, grow), (least, most) = group["etas"], group["step_sizes"]
        agreement = gradient * read(before)
        factor = ops.where(agreement > 0, grow, ops.where(agreement < 0, shrink, 1.0)).astype(parameter.dtype)
        size = ops.clip(read(sizes) * factor, least, most)
        gradient = ops.where(agreement < 0, 0.0, gradient).astype(parameter.dtype)
        write(parameter, read(parameter) - ops.sign(gradient) * size)
        write(before, gradient)
        write(sizes, size)
