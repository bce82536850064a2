"""Hooks: functions of the user's that see, and may replace, what travels through a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count
from typing import TYPE_CHECKING, Any

from tinygraph.core.node import Leaf, Node
from tinygraph.errors import DTypeError, ShapeError

if TYPE_CHECKING:
    from tinygraph.core.tensor import Tensor

Hook = Callable[..., Any]
numbers = count()  # of hooks


class RemovableHandle:
    """A hook that was registered: `.remove()` takes it off again, once or more often."""

    def __init__(self, holder: Any, place: str, hook: Hook) -> None:
        self._holder, self._place = holder, place
        self._number = next(numbers)
        # a new dict each time: programs that were captured with the old hooks notice
        setattr(holder, place, {**getattr(holder, place), self._number: hook})

    def remove(self) -> None:
        """Take the hook off."""
        hooks = getattr(self._holder, self._place)
        if self._number in hooks:
            kept = {number: hook for number, hook in hooks.items() if number != self._number}
            setattr(self._holder, self._place, kept)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class GradientHooks:
    """The hooks on the gradient of one output of a node, as `RemovableHandle` holds them.

    Attributes:
        used: whether there ever was one in this process; a backward pass looks no further where there was none.
        changes: how often the hooks of leaves have changed, which captured programs rely on.
    """

    used = False
    changes = 0

    def __init__(self, node: Node, output: int) -> None:
        self._node, self._output = node, output
        GradientHooks.used = True

    @property
    def hooks(self) -> Mapping[int, Hook]:
        """By number, in the order in which they were registered."""
        return of_node(self._node).get(self._output, {})

    @hooks.setter
    def hooks(self, hooks: Mapping[int, Hook]) -> None:
        self._node.hooks = {**of_node(self._node), self._output: hooks}
        if isinstance(self._node, Leaf):
            GradientHooks.changes += 1


def of_node(node: Node) -> Mapping[int, Mapping[int, Hook]]:
    """The hooks of a node: number of an output -> hooks by number."""
    return getattr(node, "hooks", {})


def changes_of_leaves() -> int:
    """See `GradientHooks.changes`."""
    return GradientHooks.changes


def run_hooks(
    node: Node, gradient: Any, wrap: Callable[[Any], Tensor], unwrap: Callable[[Tensor], Any]
) -> Any:
    """The gradient of a node's outputs after its hooks: each gets it as a tensor, and may return another.

    Raises:
        ShapeError: a hook returned another shape.
        DTypeError: or a dtype of another kind.
    """
    for output, hooks in of_node(node).items():
        several = gradient.__class__ is list
        for hook in hooks.values():
            present = gradient[output] if several else gradient
            if present is None:
                break
            given = wrap(present)
            found = hook(given)
            if found is None:
                continue
            what = f"a hook on the gradient of {node.describe()} returned"
            if tuple(found.shape) != given.shape:
                raise ShapeError(f"{what} shape {tuple(found.shape)} for a gradient of shape {given.shape}")
            if found.dtype != given.dtype:
                raise DTypeError(
                    f"{what} {found.dtype} for a gradient of {given.dtype}; use .astype(gradient.dtype)"
                )
            if several:
                gradient = [*gradient[:output], unwrap(found), *gradient[output + 1 :]]
            else:
                gradient = unwrap(found)
    return gradient
