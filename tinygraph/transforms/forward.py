"""Forward mode: jvp, and the functions run for it that other transforms push tangents through."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.engine import owned
from tinygraph.core.modes import mode
from tinygraph.core.node import edge_node
from tinygraph.core.tangents import push, tangent_of
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten, flatten_like
from tinygraph.core.types import as_value, type_of
from tinygraph.errors import ShapeError
from tinygraph.transforms.primals import Outside
from tinygraph.transforms.reverse import Linearized

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class Pushed(Linearized):
    """A function that has been run on tracked primals, ready for tangents to be pushed through."""

    def __init__(
        self, function: Callable[..., Any], arguments: Sequence[Any], transform: str, **options: Any
    ) -> None:
        with mode(tangents=True):
            super().__init__(function, arguments, transform, **options)

    def push(self, tangents: Sequence[Any]) -> tuple[list[Any], Outside]:
        """One tangent per output, for one per primal leaf; and what influences them."""
        live = self.primals.live_outside(self.nodes, extra=tangents)
        seeds = {
            id(edge_node(edge)): t
            for edge, t in zip(self.primals.edges, tangents, strict=True)
            if t is not None
        }
        found = push(self.nodes, seeds, record=bool(live))
        return [output_tangent(out, found) for out in self.outputs], live


def output_tangent(out: Numeric, found: dict[int, Any]) -> Any:
    """The tangent of an output after a pass, zeros where nothing reached it."""
    types = out.type if isinstance(out, Tensor) else type_of(out)
    tangent = tangent_of(found, out._edge) if isinstance(out, Tensor) and out._edge is not None else None
    if tangent is None:
        dtype = types.dtype if types.differentiable else np.dtype(float)
        return as_value(np.zeros(types.shape, dtype))
    return tangent


def jvp(
    function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any], *, has_aux: bool = False
) -> Any:
    """Evaluate a function and the derivative of its result along a direction.

    Args:
        function: takes the primals; returns an array or a container of arrays.
        primals: real or complex arrays, tensors, or containers of them.
        tangents: the direction, with the structure and shapes of `primals`.
        has_aux: whether the function returns (result, auxiliary data), of which the latter is handed on.

    Returns:
        (out, tangent), of the same structure. With `has_aux` (out, tangent, aux).

    Raises:
        DTypeError: a primal is integer or boolean.
        ShapeError: the tangents do not fit the primals.

    >>> import numpy as np
    >>> jvp(np.sin, (0.0,), (2.0,))
    (np.float64(0.0), np.float64(2.0))
    """
    linear = Pushed(function, tuple(primals), "jvp", has_aux=has_aux)
    tangent = _along(linear, tangents, "jvp")
    return (linear.value(), tangent, linear.aux) if has_aux else (linear.value(), tangent)


def _along(linear: Pushed, tangents: Sequence[Any], transform: str) -> Any:
    """The result's derivative along a direction, in the result's structure."""
    flat = flatten_like(tuple(tangents), linear.tree)
    if len(flat) != linear.tree.count:
        raise ShapeError(
            f"{transform}: the tangents have the structure {flatten(tuple(tangents))[1]}, the primals {linear.tree}"
        )
    fitted = []
    for i, (primal, tangent) in enumerate(zip(linear.primals.tensors, flat, strict=True)):
        if not isinstance(tangent, Tensor):
            tangent = as_value(tangent, primal.dtype)
        if tangent.shape != primal.shape:
            where = linear.names[i].removeprefix("argument ")
            raise ShapeError(
                f"{transform}: tangent {where} has shape {tangent.shape}, its primal {primal.shape}"
            )
        fitted.append(tangent)
    moved, live = linear.push(fitted)
    moved = owned(moved, linear.nodes, [*fitted, *linear.outputs])
    return linear.result.unflatten([linear.primals.released(one, live) for one in moved])


def linearize(function: Callable[..., Any], *primals: object) -> tuple[Any, Callable[..., Any]]:
    """Evaluate a function once, for its derivative along any number of directions.

    Args:
        function, primals: as in `jvp`.

    Returns:
        (out, push): `push(*tangents)` is the derivative of `out` along them, without running the function again.

    Raises:
        DTypeError, ShapeError: as in `jvp`.

    >>> import numpy as np
    >>> out, push = linearize(lambda x: x**2, 3.0)
    >>> out, push(1.0), push(0.5)
    (np.float64(9.0), np.float64(6.0), np.float64(3.0))
    """
    linear = Pushed(function, tuple(primals), "linearize")
    return linear.value(), lambda *tangents: _along(linear, tangents, "linearize")


def stop_gradient(x: object) -> Any:
    """An array, or a container of arrays, as a constant: no gradient flows back through it.

    >>> import numpy as np
    >>> from tinygraph import grad
    >>> grad(lambda x: x * stop_gradient(x))(3.0)
    np.float64(3.0)
    """
    leaves, tree = flatten(x)
    return tree.unflatten([one.detach() if isinstance(one, Tensor) else one for one in leaves])
