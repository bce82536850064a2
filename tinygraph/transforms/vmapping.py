"""`vmap`: a function of one example becomes a function of many, in one pass through its ops.

The function runs once, on one example without values (`tinygraph.tracing.examples`); its nodes are then applied to all
examples by their ops' batching rules (`tinygraph.core.batching`), as ordinary ops in whatever runs outside.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.batching import Batched, run_batched, spread, value_of
from tinygraph.core.engine import ancestors
from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten, parts_of, paths
from tinygraph.core.types import require_plain
from tinygraph.core.unwatched import unwatched
from tinygraph.errors import CaptureError, SettingError, ShapeError, SideEffectError
from tinygraph.tracing.examples import Example
from tinygraph.tracing.host import Host
from tinygraph.tracing.sources import sources_in

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

_ONCE = (
    'happens once for all examples: choose randomness="same" in tg.vmap if all are to get one number, or draw as many '
    "as there are examples outside and pass them as an argument"
)
_NUMERIC = (Tensor, np.ndarray, np.generic, int, float, complex)


def vmap(
    function: Callable[..., Any],
    in_axes: Any = 0,
    out_axes: object = 0,
    *,
    axis_size: int | None = None,
    randomness: str = "error",
) -> Callable[..., Any]:
    """A function of many examples at once, made of a function of one.

    Args:
        function: of one example; returns an array or a container of arrays. It runs once, on an example without values:
            Python code that asks for one is refused. What is not batched - arguments with the axis None, what it closes
            over - has its values.
        in_axes: the axis of each positional argument along which the examples lie: an int for all of them, or a tuple
            with an entry for each - an int, None (every example gets the whole argument), or a container of these like
            the argument, or its outer part. Keyword arguments have it in front.
        out_axes: where the results have it: an int, or a container of ints like the result, or its outer part; None for
            what is equal for all examples and is returned once.
        axis_size: the number of examples, where no argument tells.
        randomness: what a draw from a generator of tinygraph is inside: "error", refused; "different", each example has
            its own, all drawn at once with the batch axis in front (where the function draws once, what a loop would
            draw); "same", drawn once for all examples. Generators of Python and NumPy that the function reaches are
            refused unless it is "same".

    Returns:
        A function of the same arguments, which gives what a loop over the examples would, stacked. It may be
        differentiated, captured, compiled and mapped again, and the function may itself take derivatives.

    Raises:
        SettingError: axes that do not fit the arguments or the result, or an unknown `randomness`.
        ShapeError: an argument without the axis, or numbers of examples that differ.
        CaptureError: the function asks for the value of an example, writes state, or draws random numbers where
            `randomness` is "error".

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> tg.vmap(lambda x, y: np.dot(x, y), in_axes=(0, None))(np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([1.0, 10.0]))
    array([21., 43.])
    >>> gradients = tg.vmap(tg.grad(lambda w, x: np.sum((w * x) ** 2)), in_axes=(None, 0))
    >>> gradients(np.array([1.0, 2.0]), np.array([[1.0, 1.0], [2.0, 0.0]]))
    array([[2., 4.],
           [8., 0.]])
    """
    if randomness not in ("error", "different", "same"):
        raise SettingError(f'vmap: randomness={randomness!r}; give "error", "different" or "same"')
    if isinstance(in_axes, list):
        in_axes = tuple(in_axes)

    @functools.wraps(function)
    def batched(*args: Any, **kwargs: object) -> Any:
        axes = in_axes if isinstance(in_axes, tuple) else (in_axes,) * len(args)
        if len(axes) != len(args):
            raise SettingError(
                f"vmap: in_axes={in_axes!r} has {len(axes)} entries, and the call {len(args)} positional argument(s)"
            )
        leaves, tree = flatten((args, kwargs))
        names = _names(tree)
        placed = _prefixed((axes, dict.fromkeys(kwargs, 0)), (args, kwargs), "in_axes", names)
        given, size = _fronted(leaves, placed, names, axis_size)
        host = None
        if randomness != "same":
            host = Host("vmap", _ONCE)
            for source, words in sources_in((function, *leaves)):
                host.watch(source, words, "")
        return _run(function, given, tree, Example("vmap", randomness, size), host, size, out_axes, names)

    return batched


def _names(tree: Any) -> list[str]:
    """How each leaf of `(args, kwargs)` is called in messages."""
    found = []
    for path in paths(tree)[0]:
        where = path.removeprefix("[0]") if path.startswith("[0]") else path.removeprefix("[1].")
        found.append(
            f"argument {where[1:].replace(']', '', 1)}" if where.startswith("[") else f"argument {where}"
        )
    return found


def _prefixed(axes: Any, value: Any, what: str, names: Sequence[str]) -> list[int | None]:
    """One axis for each leaf of a container, from a container that is like it, or like its outer part."""
    if axes is None or (isinstance(axes, int | np.integer) and not isinstance(axes, bool)):
        count = flatten(value)[1].count
        return [axes if axes is None else int(axes)] * count
    own, tree = flatten(value)
    children = parts_of(value)
    inner = parts_of(axes)
    if children is None or inner is None or len(children) != len(inner):
        raise SettingError(
            f"vmap: {what} holds {axes!r} for {'a container like ' + repr(tree) if own else 'nothing'}: give an int, "
            f"None, or a container of them like the value"
        )
    found: list[int | None] = []
    if isinstance(value, dict):
        if not isinstance(axes, dict) or set(axes) != set(value):
            raise SettingError(f"vmap: {what} has the keys {list(axes)}, the value {list(value)}")
        inner = [axes[key] for key in value]
    for axis, child in zip(inner, children, strict=True):
        found += _prefixed(axis, child, what, names)
    return found


def _fronted(
    leaves: Sequence[Any], axes: Sequence[int | None], names: Sequence[str], axis_size: int | None
) -> tuple[list[Batched], int]:
    """The arguments with their batch axis in front, and how many examples there are."""
    given: list[Batched] = []
    sizes: dict[int, str] = {} if axis_size is None else {axis_size: "axis_size"}
    for leaf, axis, name in zip(leaves, axes, names, strict=True):
        if axis is None or not isinstance(leaf, _NUMERIC):
            given.append(Batched(leaf, False))
            continue
        if not isinstance(leaf, Tensor):
            require_plain(leaf)
        shape = np.shape(leaf)
        if not -len(shape) <= axis < len(shape):
            kind = f"has shape {shape}" if shape else f"is a single number ({leaf!r:.40})"
            raise ShapeError(
                f"vmap: {name} {kind} and has no axis {axis} along which examples could lie: give it the axis None in "
                f"in_axes, if every example is to get the whole of it"
            )
        sizes.setdefault(shape[axis], name)
        moved = leaf if axis % len(shape) == 0 else ops.moveaxis(leaf, source=axis, destination=0)
        given.append(Batched(moved, True))
    if len(sizes) > 1:
        listed = " and ".join(f"{size} in {name}" for size, name in sizes.items())
        raise ShapeError(f"vmap: the numbers of examples differ: {listed}")
    if not sizes:
        raise SettingError("vmap: no argument has a batch axis; give the number of examples as axis_size=")
    return given, next(iter(sizes))


def _run(
    function: Callable[..., Any],
    given: Sequence[Batched],
    tree: Any,
    example: Example,
    host: Host | None,
    size: int,
    out_axes: object,
    names: Sequence[str],
) -> Any:
    filled = []
    for (value, batched), name in zip(given, names, strict=True):
        if batched:
            label = value.name if isinstance(value, Tensor) and value.name else name.removeprefix("argument ")
            value = example.argument(value, label)
        filled.append(value)
    args, kwargs = tree.unflatten(filled)
    try:
        with host.checked() if host else nullcontext(), example.running():
            result = function(*args, **kwargs)
    except SideEffectError:
        raise
    except CaptureError as error:
        if str(error).startswith("vmap"):
            raise
        raise CaptureError(
            f"vmap runs the function once for all examples, so Python code cannot ask for the values of one: {error}"
        ) from error
    with unwatched():
        return results_of(result, example, size, out_axes)


def results_of(result: Any, example: Example, size: int, out_axes: Any) -> Any:
    """What a function returned for one example, for all of them."""
    outputs, shape = flatten(result)
    ends = [out._edge for out in outputs if example.depends(out)]
    nodes = [node for node in ancestors(ends) if id(node) in example.own]
    found = run_batched(nodes, dict(example.values), example.operands)
    axes = _prefixed(out_axes, result, "out_axes", ())
    stacked = []
    for i, (out, axis) in enumerate(zip(outputs, axes, strict=True)):
        if not isinstance(out, _NUMERIC):
            raise SettingError(
                f"vmap: the function returned a {type(out).__name__} at {paths(shape)[0][i] or 'its end'}; results "
                f"must be arrays, tensors or numbers, or containers of them"
            )
        value, batched = value_of(out, found) if example.depends(out) else Batched(out, False)
        stacked.append(_placed(value, batched, axis, size))
    return shape.unflatten(stacked)


def _placed(value: Numeric, batched: bool, axis: int | None, size: int) -> Any:
    """A result with its batch axis where it is wanted."""
    if axis is None:
        if batched:
            raise SettingError(
                "vmap: out_axes is None for a result that differs from example to example: give the axis along which "
                "the examples' results are to lie"
            )
        return value
    if not batched:
        value = spread(value if isinstance(value, Tensor) else np.asarray(value), size)
        value = ops.copy(value)
    ndim = np.ndim(value)
    if not -ndim <= axis < ndim:
        raise SettingError(f"vmap: out_axes={axis} is no axis of a result of {ndim} dimensions")
    return value if axis % ndim == 0 else ops.moveaxis(value, source=0, destination=axis)
