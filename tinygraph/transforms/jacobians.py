"""Matrices of derivatives: jacobian, jacfwd, jacrev, hessian, and products with a Hessian, hvp.

All directions are pushed, or all cotangents pulled, through a function's nodes at once, as `tg.vmap` does it: the rules
run once, on a direction without values, and what they made is applied to many.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import numpy as np

from tinygraph.core.engine import ones_like, propagate
from tinygraph.core.modes import modes
from tinygraph.core.node import edge_node
from tinygraph.core.registry import ops
from tinygraph.core.tangents import push
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType, as_value, type_of
from tinygraph.core.unwatched import unwatched
from tinygraph.errors import DTypeError, RecordingError, SettingError
from tinygraph.tracing.examples import Example
from tinygraph.transforms.forward import Pushed, jvp, output_tangent
from tinygraph.transforms.primals import Argnums, Chosen, renamed
from tinygraph.transforms.reverse import grad
from tinygraph.transforms.sparse_jacobians import Sparsity
from tinygraph.transforms.vmapping import results_of

Way = Literal["forward", "reverse"]

# Elements of the largest value between, times directions: what is passed through at once, so that it stays in memory.
MOST_AT_ONCE = 2**23
FEW = 3  # directions for which a pass each costs no more than finding out what a pass does
FEW_ROWS = (
    8  # the same of eager backward passes that nobody differentiates, through values of up to SMALL elements
)
SMALL = 1024


def jacobian(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    argnum: Argnums | None = None,
    sparsity: object = None,
) -> Callable[..., Any]:
    """The Jacobian of a function of arrays, as a function of the same arguments.

    All rows at once in reverse mode, or all columns at once in forward mode, whichever are fewer.

    Args:
        function: returns an array, or a container of arrays.
        argnums: which argument, or arguments: positions or names; each may be a container of arrays.
        has_aux: whether the function returns (result, auxiliary data), of which the latter is handed on.
        argnum: autograd's name for `argnums`.
        sparsity: where the Jacobian of one array by one array may differ from zero: a boolean matrix of shape (elements
            of the result, elements of the argument), as an array or a sparse matrix of SciPy's. Columns, or rows, that
            do not meet share a pass (coloured by networkx); a sparse matrix is answered by one, `csr_array`.

    Returns:
        A function that returns an array of shape `out.shape + argument.shape`. Several argnums give a tuple of them,
        a container as argument gives that container of them, and a container as result holds all that for each of its
        arrays. With `has_aux` it returns (jacobian, aux).

    Raises:
        RecordingError: the function returns nothing.
        DTypeError: an integer argument.
        SettingError: `argnums` names no argument of the call, or a sparsity that does not fit.

    >>> import numpy as np
    >>> jacobian(lambda x: x * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    >>> jacobian(lambda x: x * x, sparsity=np.eye(2))(np.array([1.0, 2.0]))
    array([[2., 0.],
           [0., 4.]])
    """
    return _jacobian(function, renamed(argnums, argnum), has_aux, None, sparsity, "jacobian")


def jacfwd(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    argnum: Argnums | None = None,
) -> Callable[..., Any]:
    """`jacobian` column by column, all at once, in forward mode.

    Raises:
        DTypeError: a real result of a complex argument, of which columns tell half.

    >>> import numpy as np
    >>> jacfwd(lambda x: x[:1] * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [2., 1.]])
    """
    return _jacobian(function, renamed(argnums, argnum), has_aux, "forward", None, "jacfwd")


def jacrev(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    argnum: Argnums | None = None,
) -> Callable[..., Any]:
    """`jacobian` row by row, all at once, in reverse mode.

    Raises:
        DTypeError: a complex result of a real argument, of which rows tell half.

    >>> import numpy as np
    >>> jacrev(lambda x: x[:1] * x)(np.array([1.0, 2.0]))
    array([[2., 0.],
           [2., 1.]])
    """
    return _jacobian(function, renamed(argnums, argnum), has_aux, "reverse", None, "jacrev")


def _jacobian(
    function: Callable[..., Any],
    argnums: Argnums,
    has_aux: bool,
    way: Way | None,
    sparsity: object,
    transform: str,
) -> Callable[..., Any]:
    pattern = None if sparsity is None else Sparsity(sparsity)

    @functools.wraps(function)
    def matrix(*args: object, **kwargs: object) -> Any:
        chosen = Chosen(function, argnums, args, kwargs, transform)
        linear = Pushed(chosen.rest, chosen.values, transform, names=chosen.names, has_aux=has_aux)
        if not linear.outputs:
            raise RecordingError(
                f"{transform} needs a function that returns arrays; this one returned nothing"
            )
        with unwatched():
            if pattern is not None:
                found = [[_compressed(linear, pattern)]]
            else:
                found = _blocks(linear, way, transform)
        blocks = [linear.tree.unflatten(one) for one in found]
        made = linear.result.unflatten([one[0] for one in blocks] if chosen.one else blocks)
        return (made, linear.aux) if has_aux else made

    return matrix


def _blocks(linear: Pushed, way: Way | None, transform: str) -> list[list[Any]]:
    """For each output the derivatives by each primal."""
    types = [out.type if isinstance(out, Tensor) else type_of(out) for out in linear.outputs]
    ways = [_way(linear, one, way, transform) for one in types]
    columns: list[list[Any]] = []
    if "forward" in ways:
        columns = [_columns(linear, position) for position in range(len(linear.primals.tensors))]
    return [
        [several[k] for several in columns] if one == "forward" else _rows(linear, k, types[k])
        for k, one in enumerate(ways)
    ]


def _way(linear: Pushed, out_type: ArrayType, asked: Way | None, transform: str) -> Way:
    """By rows or by columns, whichever is fewer; of a complex result of real arguments a row is half of the truth."""
    kinds = {tensor.dtype.kind for tensor in linear.primals.tensors}
    needed: Way | None = None
    if out_type.dtype.kind == "c" and kinds - {"c", "O"}:
        needed = "forward"
    elif out_type.dtype.kind != "c" and "c" in kinds:
        needed = "reverse"
    if asked is not None and needed not in (None, asked):
        raise DTypeError(
            f"{transform} of a result of type {out_type} by arguments, real and complex: in {asked} mode it "
            f"would tell half of the derivative; use {'jacfwd' if needed == 'forward' else 'jacrev'}"
        )
    inputs = sum(tensor.size for tensor in linear.primals.tensors)
    if (
        transform == "hessian" and inputs == out_type.size
    ):  # the gradient was taken backwards: now forwards is cheaper, but for few rows
        return asked or needed or ("reverse" if _few(linear, inputs, backwards=True) else "forward")
    return asked or needed or ("forward" if inputs < out_type.size else "reverse")


def _few(linear: Pushed, count: int, *, backwards: bool) -> bool:
    """Whether a pass for each direction costs less than one for all of them, which must be found first."""
    if not 0 < count <= FEW_ROWS:
        return False
    if count <= FEW:
        return True
    if not backwards or modes.current.capture is not None or linear.primals.live_outside(linear.nodes):
        return False
    return all(one.size <= SMALL for node in linear.nodes for one in node.output_types)


def _rows(linear: Pushed, k: int, out_type: ArrayType) -> list[Any]:
    """The derivatives of the k-th output by each primal, from a reverse pass for each of its elements."""
    rows = pulled(linear, k, out_type, _basis(linear.outputs[k], out_type))
    return [
        ops.reshape(several, shape=(*out_type.shape, *tensor.shape))
        for several, tensor in zip(rows, linear.primals.tensors, strict=True)
    ]


def _columns(linear: Pushed, position: int) -> list[Any]:
    """The derivatives of each output by a primal, from a forward pass for each of its elements."""
    tensor = linear.primals.tensors[position]
    found = pushed(linear, position, _basis(tensor, tensor.type))
    return [
        ops.reshape(ops.moveaxis(one, source=0, destination=-1), shape=(*np.shape(one)[1:], *tensor.shape))
        for one in found
    ]


class _Directions:
    """Directions in the space of a value: `count` of them, made a few at a time."""

    def __init__(self, count: int, make: Callable[[int, int], Any]) -> None:
        self.count = count
        self.make = make


def _basis(of: Any, types: ArrayType) -> _Directions:
    """For each element of a value a 1 there and 0 elsewhere, for objects of the kind of the value's own."""

    def make(start: int, stop: int) -> Any:
        if types.dtype.kind == "O":
            one = np.reshape(ones_like(of._value if isinstance(of, Tensor) else of, types), -1)
            made = np.stack([one * 0] * (stop - start)) if stop > start else np.zeros((0, types.size), object)
            made[range(stop - start), range(start, stop)] = one[start:stop]
        else:
            made = np.zeros((stop - start, types.size), types.dtype)
            made[np.arange(stop - start), np.arange(start, stop)] = 1
        return made.reshape(stop - start, *types.shape)

    return _Directions(types.size, make)


def pulled(linear: Pushed, k: int, out_type: ArrayType, cotangents: _Directions) -> list[Any]:
    """For each primal its gradients for many cotangents of the k-th output, along a first axis."""
    out = linear.outputs[k]
    edges = linear.primals.edges
    reached = isinstance(out, Tensor) and out._edge is not None and out_type.differentiable

    def run(cotangent: object, record: bool) -> list[Any]:
        wanted = set(map(edge_node, edges))
        seeds = [(out._edge, cotangent)] if reached else []
        found = propagate(linear.nodes, seeds, wanted=wanted, record=record)
        return [
            found.get(edge_node(edge), tensor.type.zeros())
            for edge, tensor in zip(edges, linear.primals.tensors, strict=True)
        ]

    return _passed(linear, cotangents, run, backwards=True)


def pushed(linear: Pushed, position: int, tangents: _Directions) -> list[Any]:
    """For each output its tangents for many of a primal's, along a first axis."""
    edge = linear.primals.edges[position]

    def run(tangent: object, record: bool) -> list[Any]:
        found = push(linear.nodes, {id(edge_node(edge)): tangent}, record=record)
        return [output_tangent(out, found) for out in linear.outputs]

    return _passed(linear, tangents, run, backwards=False)


def _passed(
    linear: Pushed, directions: _Directions, run: Callable[[Any, bool], list[Any]], *, backwards: bool
) -> list[Any]:
    """What a pass makes of many directions."""
    live = linear.primals.live_outside(linear.nodes)
    if _few(linear, directions.count, backwards=backwards):
        singly = [run(as_value(one), bool(live)) for one in directions.make(0, directions.count)]
        whole = [ops.stack(*parts, axis=0) for parts in zip(*singly, strict=True)]
        return [linear.primals.released(part, live) for part in whole]
    example = Example("jacobian")
    chunks = list(_chunks(linear, directions.count))
    first = directions.make(*chunks[0])
    argument = example.argument(first)
    with example.running():
        one = run(argument, bool(live))
    made = []
    for i, (start, stop) in enumerate(chunks):
        example.give(argument, first if i == 0 else directions.make(start, stop))
        made.append(results_of(one, example, stop - start, 0))
    whole = [
        parts[0] if len(parts) == 1 else ops.concatenate(*parts, axis=0) for parts in zip(*made, strict=True)
    ]
    return [linear.primals.released(part, live) for part in whole]


def _chunks(linear: Pushed, count: int) -> Iterator[tuple[int, int]]:
    widest = max((one.size for node in linear.nodes for one in node.output_types), default=1)
    step = max(1, MOST_AT_ONCE // max(1, widest))
    yield from ((start, min(start + step, count)) for start in range(0, max(count, 1), step))


def _compressed(linear: Pushed, pattern: Sparsity) -> Any:
    """The Jacobian of one array by another, from one pass for each colour of its columns or rows."""
    if len(linear.outputs) != 1 or len(linear.primals.tensors) != 1:
        raise SettingError("jacobian with sparsity= is of one array by one array; choose one of each")
    out, tensor = linear.outputs[0], linear.primals.tensors[0]
    out_type = out.type if isinstance(out, Tensor) else type_of(out)
    pattern.check(out_type.size, tensor.size)
    way = _way(linear, out_type, None, "jacobian")
    needed = way if out_type.dtype.kind != tensor.dtype.kind else None
    colours = pattern.colours(needed)
    types = tensor.type if colours.of == "columns" else out_type
    seeds = colours.seeds(types)
    directions = _Directions(len(seeds), lambda start, stop: seeds[start:stop])
    if colours.of == "columns":
        found = pushed(linear, 0, directions)[0]
    else:
        found = pulled(linear, 0, out_type, directions)[0]
    flat = ops.reshape(found, shape=(len(seeds), -1)) if np.size(found) else found
    return pattern.expanded(flat, colours, (*out_type.shape, *tensor.shape))


def hessian(
    function: Callable[..., Any],
    argnums: Argnums = 0,
    has_aux: bool = False,
    *,
    argnum: Argnums | None = None,
    sparsity: object = None,
) -> Callable[..., Any]:
    """The matrix of second derivatives of a scalar function, as a function of the same arguments.

    Args:
        function, argnums, has_aux, argnum: see `grad`.
        sparsity: where the matrix may differ from zero, see `jacobian`.

    Returns:
        A function that returns an array of shape `argument.shape + argument.shape`; for containers and several argnums
        see `jacobian`. With `has_aux` it returns (hessian, aux).

    Raises:
        RecordingError: the function does not return a scalar.
        DTypeError: an integer argument.

    >>> import numpy as np
    >>> hessian(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([[ 6.,  0.],
           [ 0., 12.]])
    """
    argnums = renamed(argnums, argnum)
    return _jacobian(grad(function, argnums, has_aux), argnums, has_aux, None, sparsity, "hessian")


def hvp(
    function: Callable[..., Any],
    primals: Sequence[Any] | None = None,
    tangents: Sequence[Any] | None = None,
    *,
    argnums: Argnums = 0,
    argnum: Argnums | None = None,
) -> Any:
    """The product of a scalar function's Hessian with a vector, without the Hessian: the gradient's change along it.

    Args:
        function: returns a scalar.
        primals, tangents: as in `jvp`, the arguments, all of them differentiated, and the vector; the product is
            returned. Left out, what is returned is a function of the arguments and, last, the vector.
        argnums, argnum: then the argument, or arguments, that the Hessian is about; the vector has their structure.

    Returns:
        The product, of the structure of the vector; or the function that gives it.

    Raises:
        RecordingError: the function does not return a scalar.
        ShapeError: the vector does not fit.

    >>> import numpy as np
    >>> f = lambda x: np.sum(x**3)
    >>> hvp(f)(np.array([1.0, 2.0]), np.array([1.0, 10.0]))
    array([  6., 120.])
    >>> hvp(f, (np.array([1.0, 2.0]),), (np.array([1.0, 10.0]),))
    (array([  6., 120.]),)
    """
    argnums = renamed(argnums, argnum)
    if (primals is None) != (tangents is None):
        raise SettingError("hvp takes the primals and the tangents, or neither: then it returns a function")
    if primals is not None and tangents is not None:
        every = tuple(range(len(primals)))
        return jvp(grad(function, every), primals, tangents)[1]

    @functools.wraps(function)
    def product(*args: Any, **kwargs: object) -> Any:
        if len(args) < 2:
            raise SettingError("hvp(f) gives a function of f's arguments and, last, the vector")
        *given, vector = args
        chosen = Chosen(function, argnums, given, kwargs, "hvp")
        several = (vector,) if chosen.one else tuple(vector)
        slopes = grad(chosen.rest, tuple(range(len(chosen.values))))
        found = jvp(slopes, chosen.values, several)[1]
        return found[0] if chosen.one else found

    return product


__all__ = ["hessian", "hvp", "jacfwd", "jacobian", "jacrev"]
