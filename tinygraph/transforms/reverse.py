"""Reverse mode: vjp, and grad and value_and_grad on top of it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import Any

from tinygraph.core.engine import complex_loss, fitting, ones_like, owned, propagate
from tinygraph.core.modes import mode
from tinygraph.core.node import edge_node
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten, flatten_like
from tinygraph.core.types import ArrayType, type_of
from tinygraph.errors import RecordingError, ShapeError, TinygraphWarning
from tinygraph.transforms.primals import Primals, positions


class Linearized:
    """A function that has been run on tracked primals: its outputs, ready to be pulled back."""

    def __init__(
        self, function: Callable[..., Any], arguments: Sequence[Any], transform: str, kept: bool = False
    ) -> None:
        leaves, self.tree = flatten(tuple(arguments))
        with mode(recording=True):
            self.primals = Primals(leaves, transform, kept)
            with self.primals.differentiated():
                result = function(*self.tree.unflatten(self.primals.tensors))
        self.outputs, self.result = flatten(result)
        self.nodes = self.primals.reached(self.outputs)
        self.live = self.primals.live_outside(self.nodes, self.primals.from_before(self.outputs))
        if not any(isinstance(out, Tensor) for out in self.outputs):
            warnings.warn(
                f"{transform}: the function returned no tensor, so its result does not depend on its arguments "
                f"through recorded ops and the derivative is zero. .item(), .numpy() and .detach() end the recording",
                TinygraphWarning,
                stacklevel=4,
            )

    def value(self) -> Any:
        return self.result.unflatten([self.primals.released(out, self.live) for out in self.outputs])

    def pull(self, cotangents: Sequence[Any]) -> list[Any]:
        """One gradient per primal leaf, for one cotangent per output; None stands for zeros."""
        seeds = []
        for out, cotangent in zip(self.outputs, cotangents, strict=True):
            if cotangent is None:
                continue
            if isinstance(out, Tensor) and out._edge is not None and out.type.differentiable:
                seeds.append((out._edge, _fitted(cotangent, out.type)))
        live = self.primals.live_outside(self.nodes, extra=[seed for _, seed in seeds])
        wanted = {id(edge_node(edge)) for edge in self.primals.edges}
        found = propagate(self.nodes, seeds, wanted=wanted, record=bool(live))
        gradients = [
            found[id(edge_node(edge))] if id(edge_node(edge)) in found else tensor.type.zeros()
            for edge, tensor in zip(self.primals.edges, self.primals.tensors, strict=True)
        ]
        handed_on = [*(seed for _, seed in seeds), *self.primals.tensors, *self.outputs]
        return [self.primals.released(one, live) for one in owned(gradients, self.nodes, handed_on)]


def _fitted(cotangent: Any, types: ArrayType) -> Any:
    cotangent = fitting(cotangent, types, "the cotangent")
    if cotangent.shape != types.shape:
        raise ShapeError(
            f"the cotangent has shape {cotangent.shape}, but the output it belongs to is {types}"
        )
    return cotangent


def vjp(function: Callable[..., Any], *primals: Any) -> tuple[Any, Callable[[Any], tuple[Any, ...]]]:
    """Evaluate a function and get its vector-Jacobian product.

    Args:
        function: takes the primals; returns an array or a container of arrays.
        primals: real or complex arrays, tensors, or containers of them.

    Returns:
        (out, pull): `pull(cotangent)`, given what has the structure of `out`, returns one gradient per primal. It may
        be called again.

    Raises:
        DTypeError: a primal is integer or boolean.

    >>> import numpy as np
    >>> out, pull = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pull(np.array([1.0, 10.0]))
    (array([ 2., 40.]),)
    """
    linear = Linearized(function, primals, "vjp", kept=True)

    def pull(cotangent: Any) -> tuple[Any, ...]:
        cotangents = flatten_like(cotangent, linear.result)
        if len(cotangents) != linear.result.count:
            raise ShapeError(
                f"the function returned {linear.result}, so pull() needs a cotangent of that structure, not "
                f"{flatten(cotangent)[1]}"
            )
        gradients: tuple[Any, ...] = linear.tree.unflatten(linear.pull(cotangents))
        return gradients

    return linear.value(), pull


def value_and_grad(
    function: Callable[..., Any], argnums: int | Sequence[int] = 0
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns both the value of a scalar function and its gradient; see `grad`."""

    @functools.wraps(function)
    def with_gradient(*args: Any, **kwargs: Any) -> tuple[Any, Any]:
        chosen, one = positions(argnums, len(args), "grad")
        linear = Linearized(closed_over(function, args, kwargs, chosen), [args[i] for i in chosen], "grad")
        if len(linear.outputs) != 1:
            raise RecordingError(
                f"grad needs a function that returns one scalar; this one returned {linear.result}"
            )
        out = linear.outputs[0]
        types = out.type if isinstance(out, Tensor) else type_of(out)
        if types.size != 1:
            raise RecordingError(
                f"grad needs a function that returns a scalar; this one returned {types}. Reduce it (np.sum, "
                f".mean()), or use tg.jacobian or tg.vjp"
            )
        real = next((x for x in linear.primals.tensors if x.dtype.kind not in "cO"), None)
        if types.dtype.kind == "c" and real is not None:
            raise complex_loss("grad", types, f"an argument ({real.type})")
        seed = ones_like(out._value if isinstance(out, Tensor) else out, types)
        gradients = linear.tree.unflatten(linear.pull([seed]))
        return linear.value(), gradients[0] if one else gradients

    return with_gradient


def grad(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The gradient of a scalar function, as a function of the same arguments.

    Args:
        function: returns a scalar.
        argnums: which positional argument, or arguments, to differentiate with respect to. Each may be a container of
            arrays; the gradient has the same structure.

    Returns:
        A function that returns the gradient (a tuple of them if `argnums` is a sequence): arrays for arrays, tensors
        for tensors.

    Raises:
        RecordingError: the function does not return a scalar.
        DTypeError: an integer argument, or a complex result of a real one.
        SettingError: `argnums` names no argument of the call, or one twice.

    >>> import numpy as np
    >>> grad(lambda x: np.sum(np.sin(x) ** 2))(np.array([0.0, np.pi / 4]))
    array([0., 1.])
    >>> float(grad(grad(lambda x: x**3))(2.0))
    12.0
    """
    both = value_and_grad(function, argnums)

    @functools.wraps(function)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        return both(*args, **kwargs)[1]

    return gradient


def closed_over(
    function: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any], chosen: Sequence[int]
) -> Callable[..., Any]:
    """The function of the chosen arguments alone, the others fixed."""

    def partial(*values: Any) -> Any:
        full = list(args)
        for i, value in zip(chosen, values, strict=True):
            full[i] = value
        return function(*full, **kwargs)

    return partial
