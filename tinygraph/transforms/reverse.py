"""Reverse mode: vjp, and grad, value_and_grad and elementwise_grad on top of it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.engine import complex_loss, fitting, ones_like, owned, propagate
from tinygraph.core.modes import mode
from tinygraph.core.node import edge_node
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten, flatten_like, paths
from tinygraph.core.types import ArrayType, type_of
from tinygraph.errors import DTypeError, RecordingError, ShapeError, TinygraphWarning
from tinygraph.transforms.primals import Argnums, Chosen, Primals, leaf_names, renamed

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class Linearized:
    """A function that has been run on tracked primals: its outputs, ready to be pulled back.

    Args:
        arguments: the primals, arrays and containers of them.
        names: what messages call them; "argument 0" and so on by default.
        has_aux: whether the function returns (result, auxiliary data), of which the latter is not differentiated.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        arguments: Sequence[Any],
        transform: str,
        *,
        names: Sequence[str] | None = None,
        kept: bool = False,
        has_aux: bool = False,
    ) -> None:
        leaves, self.tree = flatten(tuple(arguments))
        self.names = leaf_names(self.tree, names or [f"argument {i}" for i in range(len(arguments))])
        self.aux: Any = None
        with mode(recording=True):
            self.primals = Primals(leaves, transform, self.names, kept)
            with self.primals.differentiated():
                result = function(*self.tree.unflatten(self.primals.tensors))
        if has_aux:
            result, self.aux = _with_aux(result, transform)
        self.outputs, self.result = flatten(result)
        self.nodes = self.primals.reached(self.outputs)
        self.live = self.primals.live_outside(self.nodes, self.primals.from_before(self.outputs))
        if has_aux:
            self.aux = self._released_aux()
        if not any(isinstance(out, Tensor) for out in self.outputs):
            warnings.warn(
                f"{transform}: the function returned no tensor, so its result does not depend on its arguments "
                f"through recorded ops and the derivative is zero. .item(), .numpy() and .detach() end the recording",
                TinygraphWarning,
                stacklevel=4,
            )

    def _released_aux(self) -> Any:
        """The auxiliary data without the tape of this transform."""
        parts, shape = flatten(self.aux)
        live = self.primals.live_outside(self.primals.reached(parts), self.primals.from_before(parts))
        kinds = (Tensor, np.ndarray, np.generic)
        return shape.unflatten(
            [self.primals.released(one, live) if isinstance(one, kinds) else one for one in parts]
        )

    def value(self) -> Any:
        return self.result.unflatten([self.primals.released(out, self.live) for out in self.outputs])

    def pull(self, cotangents: Sequence[Any]) -> list[Any]:
        """One gradient per primal leaf, for one cotangent per output; None stands for zeros."""
        seeds = []
        for i, (out, cotangent) in enumerate(zip(self.outputs, cotangents, strict=True)):
            if cotangent is None:
                continue
            if isinstance(out, Tensor) and out._edge is not None and out.type.differentiable:
                where = paths(self.result)[0][i] if len(self.outputs) > 1 else ""
                seeds.append((out._edge, _fitted(cotangent, out.type, f" {where}" * bool(where))))
        live = self.primals.live_outside(self.nodes, extra=[seed for _, seed in seeds])
        wanted = set(map(edge_node, self.primals.edges))
        found = propagate(self.nodes, seeds, wanted=wanted, record=bool(live))
        gradients = [
            found[edge_node(edge)] if edge_node(edge) in found else tensor.type.zeros()
            for edge, tensor in zip(self.primals.edges, self.primals.tensors, strict=True)
        ]
        handed_on = [*(seed for _, seed in seeds), *self.primals.tensors, *self.outputs]
        return [self.primals.released(one, live) for one in owned(gradients, self.nodes, handed_on)]


def _fitted(cotangent: Numeric, types: ArrayType, where: str) -> Any:
    cotangent = fitting(cotangent, types, f"the cotangent{where}")
    if cotangent.shape != types.shape:
        raise ShapeError(
            f"the cotangent{where} has shape {cotangent.shape}, but the output it belongs to is {types}"
        )
    return cotangent


def _with_aux(result: object, transform: str) -> tuple[Any, Any]:
    if not isinstance(result, tuple) or len(result) != 2:
        raise RecordingError(
            f"{transform} with has_aux=True needs a function that returns (result, auxiliary data); this one returned "
            f"{flatten(result)[1]}"
        )
    return result


def vjp(function: Callable[..., Any], *primals: object, has_aux: bool = False) -> Any:
    """Evaluate a function and get its vector-Jacobian product.

    Args:
        function: takes the primals; returns an array or a container of arrays.
        primals: real or complex arrays, tensors, or containers of them.
        has_aux: whether the function returns (result, auxiliary data), of which the latter is handed on.

    Returns:
        (out, pull): `pull(cotangent)`, given what has the structure of `out`, returns one gradient per primal. It may
        be called again. With `has_aux` (out, pull, aux).

    Raises:
        DTypeError: a primal is integer or boolean.

    >>> import numpy as np
    >>> out, pull = vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> pull(np.array([1.0, 10.0]))
    (array([ 2., 40.]),)
    """
    linear = Linearized(function, primals, "vjp", kept=True, has_aux=has_aux)

    def pull(cotangent: Numeric) -> tuple[Any, ...]:
        cotangents = flatten_like(cotangent, linear.result)
        if len(cotangents) != linear.result.count:
            raise ShapeError(
                f"the function returned {linear.result}, so pull() needs a cotangent of that structure, not "
                f"{flatten(cotangent)[1]}"
            )
        gradients: tuple[Any, ...] = linear.tree.unflatten(linear.pull(cotangents))
        return gradients

    return (linear.value(), pull, linear.aux) if has_aux else (linear.value(), pull)


def value_and_grad(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
    argnum: Argnums | None = None,
) -> Callable[..., tuple[Any, Any]]:
    """A function that returns both the value of a scalar function and its gradient; see `grad`.

    With `has_aux` the value is (value, auxiliary data).
    """
    argnums = renamed(argnums, argnum)

    @functools.wraps(function)
    def with_gradient(*args: object, **kwargs: object) -> tuple[Any, Any]:
        linear, gradient = _gradient(function, argnums, has_aux, holomorphic, args, kwargs)
        return ((linear.value(), linear.aux) if has_aux else linear.value()), gradient

    return with_gradient


def _gradient(
    function: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    holomorphic: bool,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> tuple[Linearized, Any]:
    chosen = Chosen(function, argnums, args, kwargs, "grad")
    linear = Linearized(chosen.rest, chosen.values, "grad", names=chosen.names, has_aux=has_aux)
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
    for x, name in zip(linear.primals.tensors, linear.names, strict=True):
        if types.dtype.kind == "c" and x.dtype.kind not in "cO":
            raise complex_loss("grad", types, f"{name} ({x.type})")
    if holomorphic and types.dtype.kind not in "cO":
        raise DTypeError(
            f"grad with holomorphic=True needs a complex result, and this one is {types}: leave it out"
        )
    if types.dtype.kind == "c" and not holomorphic:
        raise DTypeError(
            f"grad of a complex result ({types}): pass holomorphic=True for the complex derivative of a holomorphic "
            f"function, or return a real number (np.real, np.abs ...), which has a direction of descent"
        )
    seed = ones_like(out._value if isinstance(out, Tensor) else out, types)
    gradients = linear.tree.unflatten(linear.pull([seed]))
    return linear, gradients[0] if chosen.one else gradients


def grad(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    holomorphic: bool = False,
    argnum: Argnums | None = None,
) -> Callable[..., Any]:
    """The gradient of a scalar function, as a function of the same arguments.

    Args:
        function: returns a scalar.
        argnums: which argument to differentiate with respect to, or which several: positions, or names. Each may be a
            container of arrays; the gradient has the same structure.
        has_aux: whether the function returns (scalar, auxiliary data), of which the latter is handed on.
        holomorphic: whether the complex derivative of a holomorphic function is meant.
        argnum: autograd's name for `argnums`.

    Returns:
        A function that returns the gradient (a tuple of them if `argnums` is a sequence): arrays for arrays, tensors
        for tensors. With `has_aux` it returns (gradient, aux).

    Raises:
        RecordingError: the function does not return a scalar.
        DTypeError: an integer argument, or a complex result without holomorphic=True, or of a real argument.
        SettingError: `argnums` names no argument of the call, or one twice.

    >>> import numpy as np
    >>> grad(lambda x: np.sum(np.sin(x) ** 2))(np.array([0.0, np.pi / 4]))
    array([0., 1.])
    >>> float(grad(grad(lambda x: x**3))(2.0))
    12.0
    >>> float(grad(lambda x, w: x * w**2, "w")(2.0, w=3.0))
    12.0
    """
    argnums = renamed(argnums, argnum)

    @functools.wraps(function)
    def gradient(*args: object, **kwargs: object) -> Any:
        linear, found = _gradient(function, argnums, has_aux, holomorphic, args, kwargs)
        return (found, linear.aux) if has_aux else found

    return gradient


def elementwise_grad(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    argnum: Argnums | None = None,
) -> Callable[..., Any]:
    """The derivative of each element of an elementwise function, as a function of the same arguments.

    It is the gradient of the sum of the elements, and so the derivative of each only where no element of the result
    depends on another element of the argument. Arguments and result may be containers; see `grad`.

    >>> import numpy as np
    >>> elementwise_grad(np.sin)(np.array([0.0, np.pi]))
    array([ 1., -1.])
    """
    argnums = renamed(argnums, argnum)

    @functools.wraps(function)
    def slopes(*args: object, **kwargs: object) -> Any:
        chosen = Chosen(function, argnums, args, kwargs, "elementwise_grad")
        linear = Linearized(
            chosen.rest, chosen.values, "elementwise_grad", names=chosen.names, has_aux=has_aux
        )
        seeds = []
        for out in linear.outputs:
            types = out.type if isinstance(out, Tensor) else type_of(out)
            seeds.append(ones_like(out._value if isinstance(out, Tensor) else out, types))
        gradients = linear.tree.unflatten(linear.pull(seeds))
        found = gradients[0] if chosen.one else gradients
        return (found, linear.aux) if has_aux else found

    return slopes
