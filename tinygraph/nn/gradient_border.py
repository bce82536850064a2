"""The border of a module's call, where its backward hooks see the gradients that go in and out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.errors import SettingError

if TYPE_CHECKING:
    from tinygraph.nn.module import Module


class GradientBorder:
    """One call of a module with backward hooks: its inputs and outputs pass through nodes of their own."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._inner: list[Tensor | None] = []  # gradients of inputs, as far as they are there
        self._outer: list[Tensor | None] = []
        self._waiting: set[int] = set()  # inputs whose gradient is to come
        self._wanted: frozenset[int] = frozenset()
        self._outputs = 0

    def entering(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The inputs of the call, those that want gradients watched."""
        self._inner = [None] * len(args)
        self._wanted = frozenset(
            i for i, one in enumerate(args) if isinstance(one, Tensor) and one.requires_grad
        )
        self._waiting = set(self._wanted)
        return tuple(
            self._watched(one, self._came_in, i) if i in self._wanted else one for i, one in enumerate(args)
        )

    def leaving(self, out: Any) -> Any:
        """The result of the call, each tensor of it that has a gradient watched."""
        several = out if isinstance(out, tuple | list) else (out,)
        self._outer = [None] * len(several)
        watched = [i for i, one in enumerate(several) if isinstance(one, Tensor) and one.requires_grad]
        self._outputs = len(watched)
        made = [
            self._watched(one, self._went_out, i) if i in watched else one for i, one in enumerate(several)
        ]
        return type(out)(made) if isinstance(out, tuple | list) else made[0]

    def _watched(self, tensor: Tensor, hook: Callable[..., Tensor | None], i: int) -> Tensor:
        made: Tensor = ops.identity(tensor)
        made.register_hook(partial(hook, i))
        return made

    def _went_out(self, i: int, gradient: Tensor) -> Tensor | None:
        """The gradient of an output is there."""
        self._outer[i] = gradient
        if sum(one is not None for one in self._outer) < self._outputs:
            return None
        replaced = None
        for hook in self._module._before_backward.values():
            found = hook(self._module, tuple(self._outer))
            if found is not None:
                (replaced,) = self._outer = [self._only(found, self._outputs, "output")]
        if not self._wanted:
            self._finish()
        return replaced

    def _came_in(self, i: int, gradient: Tensor) -> Tensor | None:
        """The gradient of an input is there."""
        self._inner[i] = gradient
        self._waiting.discard(i)
        return None if self._waiting else self._finish()

    def _finish(self) -> Tensor | None:
        replaced = None
        for hook in self._module._behind_backward.values():
            found = hook(self._module, tuple(self._inner), tuple(self._outer))
            if found is not None:
                replaced = self._only(found, len(self._wanted), "input")
                self._inner[next(iter(self._wanted))] = replaced
        self._waiting = set(self._wanted)  # another backward pass may come
        self._inner, self._outer = [None] * len(self._inner), [None] * len(self._outer)
        return replaced

    def _only(self, found: Tensor | Sequence[Tensor | None], count: int, what: str) -> Tensor:
        """The gradient in what a hook returned.

        Raises:
            SettingError: there are several gradients, or none, to replace.
        """
        several = found if isinstance(found, tuple | list) else (found,)
        given = [one for one in several if one is not None]
        if count != 1 or len(given) != 1:
            raise SettingError(
                f"a backward hook of {type(self._module).__name__} replaces the gradient of one {what}; this call has "
                f"{count} with gradients. Put hooks on the tensors: tensor.register_hook(...)"
            )
        only: Tensor = given[0]
        return only
