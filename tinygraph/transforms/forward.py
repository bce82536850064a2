"""Forward mode and matrices of derivatives: jvp, jacobian, hessian."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.core.engine import ones_like, owned
from tinygraph.core.modes import mode
from tinygraph.core.node import edge_node
from tinygraph.core.registry import ops
from tinygraph.core.tangents import push, tangent_of
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten, flatten_like
from tinygraph.core.types import ArrayType, as_value, type_of
from tinygraph.errors import RecordingError, ShapeError
from tinygraph.transforms.primals import Outside, positions
from tinygraph.transforms.reverse import Linearized, closed_over, grad


class Pushed(Linearized):
    """A function that has been run on tracked primals, ready for tangents to be pushed through."""

    def __init__(self, function: Callable[..., Any], arguments: Sequence[Any], transform: str) -> None:
        with mode(tangents=True):
            super().__init__(function, arguments, transform)

    def push(self, tangents: Sequence[Any]) -> tuple[list[Any], Outside]:
        """One tangent per output, for one per primal leaf; and what influences them."""
        live = self.primals.live_outside(self.nodes, extra=tangents)
        seeds = {
            id(edge_node(edge)): t
            for edge, t in zip(self.primals.edges, tangents, strict=True)
            if t is not None
        }
        found = push(self.nodes, seeds, record=bool(live))
        return [_output_tangent(out, found) for out in self.outputs], live


def _output_tangent(out: Any, found: dict[int, Any]) -> Any:
    types = out.type if isinstance(out, Tensor) else type_of(out)
    tangent = tangent_of(found, out._edge) if isinstance(out, Tensor) and out._edge is not None else None
    if tangent is None:
        dtype = types.dtype if types.differentiable else np.dtype(float)
        return as_value(np.zeros(types.shape, dtype))
    return tangent


def jvp(function: Callable[..., Any], primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
    """Evaluate a function and the derivative of its result along a direction.

    Args:
        function: takes the primals; returns an array or a container of arrays.
        primals: real or complex arrays, tensors, or containers of them.
        tangents: the direction, with the structure and shapes of `primals`.

    Returns:
        (out, tangent), of the same structure.

    Raises:
        DTypeError: a primal is integer or boolean.
        ShapeError: the tangents do not fit the primals.

    >>> import numpy as np
    >>> jvp(np.sin, (0.0,), (2.0,))
    (np.float64(0.0), np.float64(2.0))
    """
    linear = Pushed(function, tuple(primals), "jvp")
    flat = flatten_like(tuple(tangents), linear.tree)
    if len(flat) != linear.tree.count:
        raise ShapeError(
            f"jvp: the tangents have the structure {flatten(tuple(tangents))[1]}, the primals {linear.tree}"
        )
    fitted = []
    for i, (primal, tangent) in enumerate(zip(linear.primals.tensors, flat, strict=True)):
        if not isinstance(tangent, Tensor):
            tangent = as_value(tangent, primal.dtype)
        if tangent.shape != primal.shape:
            raise ShapeError(f"jvp: tangent {i} has shape {tangent.shape}, its primal {primal.shape}")
        fitted.append(tangent)
    moved, live = linear.push(fitted)
    moved = owned(moved, linear.nodes, [*fitted, *linear.outputs])
    return linear.value(), linear.result.unflatten([linear.primals.released(one, live) for one in moved])


def jacobian(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The Jacobian of a function of arrays, as a function of the same arguments.

    Row by row in reverse mode, or column by column in forward mode, whichever needs fewer passes.

    Args:
        function: returns an array, or a container of arrays.
        argnums: which positional argument, or arguments; each may be a container of arrays.

    Returns:
        A function that returns an array of shape `out.shape + argument.shape`. Several argnums give a tuple of them,
        a container as argument gives that container of them, and a container as result holds all that for each of its
        arrays.

    Raises:
        RecordingError: the function returns nothing.
        DTypeError: an integer argument.

    >>> import numpy as np
    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """

    @functools.wraps(function)
    def matrix(*args: Any, **kwargs: Any) -> Any:
        chosen, one = positions(argnums, len(args), "jacobian")
        linear = Pushed(closed_over(function, args, kwargs, chosen), [args[i] for i in chosen], "jacobian")
        if not linear.outputs:
            raise RecordingError("jacobian needs a function that returns arrays; this one returned nothing")
        inputs = sum(tensor.size for tensor in linear.primals.tensors)
        found = []
        for k, out in enumerate(linear.outputs):
            out_type = out.type if isinstance(out, Tensor) else type_of(out)
            blocks = linear.tree.unflatten(_mode(linear, out_type, inputs)(linear, k, out_type))
            found.append(blocks[0] if one else blocks)
        return linear.result.unflatten(found)

    return matrix


def _mode(linear: Pushed, out_type: ArrayType, inputs: int) -> Callable[..., list[Any]]:
    """By rows or by columns, whichever is fewer; of a complex result of real arguments a row is half of the truth."""
    real = any(tensor.dtype.kind not in "cO" for tensor in linear.primals.tensors)
    if out_type.dtype.kind == "c" and real:
        return _columns
    if out_type.dtype.kind != "c" and any(tensor.dtype.kind == "c" for tensor in linear.primals.tensors):
        return _rows
    return _columns if inputs < out_type.size else _rows


def _rows(linear: Pushed, k: int, out_type: ArrayType) -> list[Any]:
    """A reverse pass for each element of the k-th output."""
    rows = []
    cotangents: list[Any] = [None] * len(linear.outputs)
    for i in range(out_type.size):
        cotangents[k] = _direction(linear.outputs[k], out_type, i)
        rows.append(linear.pull(cotangents))
    shapes = [tensor.shape for tensor in linear.primals.tensors]
    if not rows:
        return [np.zeros((*out_type.shape, *shape)) for shape in shapes]
    return [
        ops.reshape(ops.stack(*column, axis=0), shape=(*out_type.shape, *shape))
        for column, shape in zip(zip(*rows, strict=True), shapes, strict=True)
    ]


def _columns(linear: Pushed, k: int, out_type: ArrayType) -> list[Any]:
    """A forward pass for each input element; what it makes of the k-th output."""
    blocks = []
    for position, tensor in enumerate(linear.primals.tensors):
        columns = []
        for i in range(tensor.size):
            tangents: list[Any] = [None] * len(linear.primals.tensors)
            tangents[position] = _direction(tensor, tensor.type, i)
            moved, live = linear.push(tangents)
            columns.append(linear.primals.released(moved[k], live))
        if columns:
            block = ops.reshape(ops.stack(*columns, axis=-1), shape=(*out_type.shape, *tensor.shape))
        else:
            block = np.zeros((*out_type.shape, *tensor.shape), tensor.dtype)
        blocks.append(block)
    return blocks


def _direction(of: Any, types: ArrayType, i: int) -> Any:
    """1 at the i-th element and 0 elsewhere, objects of the kind of the value's own."""
    one = ones_like(of._value if isinstance(of, Tensor) else of, types)
    direction = np.reshape(one, -1) * 0
    direction[i] = np.reshape(one, -1)[i]
    return as_value(direction.reshape(types.shape))


def hessian(function: Callable[..., Any], argnums: int | Sequence[int] = 0) -> Callable[..., Any]:
    """The matrix of second derivatives of a scalar function, as a function of the same arguments.

    Returns:
        A function that returns an array of shape `argument.shape + argument.shape`; for containers and several argnums
        see `jacobian`.

    Raises:
        RecordingError: the function does not return a scalar.
        DTypeError: an integer argument.

    >>> import numpy as np
    >>> hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """

    @functools.wraps(function)
    def blocks(*args: Any, **kwargs: Any) -> Any:
        chosen, one = positions(argnums, len(args), "hessian")
        if one:
            return jacobian(grad(function, chosen[0]), chosen[0])(*args, **kwargs)
        return tuple(jacobian(grad(function, i), chosen)(*args, **kwargs) for i in chosen)

    return blocks
