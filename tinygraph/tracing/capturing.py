"""`capture`: the graph of a function or module, for the sizes of its example arguments or for every size.

How a function is run on types is in `trace.py`; how graphs of a few sizes become one in `free_sizes.py`.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten
from tinygraph.core.types import ArrayType, WeakType
from tinygraph.errors import SettingError, ShapeError
from tinygraph.tracing.collector import collection_paused
from tinygraph.tracing.free_sizes import free_graph
from tinygraph.tracing.trace import capture_with, input_type, names_of, title_of

# Number or name of an argument -> axis -> name of its size.
DynamicAxes = Mapping[int | str, Mapping[int, Any]]


def capture(
    function: Callable[..., Any], *example_args: object, dynamic_axes: DynamicAxes | None = None
) -> Graph:
    """The graph of a function or module, found by running it on the types of its arguments.

    Args:
        function: takes the arguments; returns tensors, or a container of them.
        example_args: arrays, tensors and numbers, of which only types count; containers of them; anything else
            (bools, strings, modules) is passed on as it is.
        dynamic_axes: the sizes that are free: number or name of an argument -> axis -> name of the size, as in
            `{0: {0: "N"}}`. The graph then runs for every value of them, and shows them by name; axes of one name have
            one size. The function runs at a few other sizes, too, on types alone.

    Returns:
        A `Graph` whose inputs are the arrays among the arguments, in order, and which holds live references to the
        parameters that the function read.

    Raises:
        CaptureError: the function asks for a value, or returns no tensors or arrays; or something in it does not
            follow from the free sizes, naming the line.
        SettingError, ShapeError: `dynamic_axes` names no array or axis, or gives one name to axes of two sizes.

    >>> import numpy as np
    >>> graph = capture(lambda x: np.sin(x) * 2, np.zeros(3))
    >>> graph(np.array([0.0, np.pi / 2, 0.0]))
    array([0., 2., 0.])
    >>> free = capture(lambda x: x.reshape(x.shape[0], -1).sum(1), np.zeros((4, 3, 2)), dynamic_axes={0: {0: "N"}})
    >>> free.output_types[0].shape, free(np.ones((2, 3, 2)))
    ((N,), array([6., 6.]))
    """
    if not dynamic_axes:
        return capture_with(function, example_args)[0]
    return _free(function, example_args, dynamic_axes)


@collection_paused()
def _free(function: Callable[..., Any], args: tuple[Any, ...], dynamic_axes: DynamicAxes) -> Graph:
    leaves, tree = flatten((args, {}))
    axes = _named_axes(function, args, leaves, dynamic_axes)
    example: dict[str, int] = {}
    for number, named in axes.items():
        types = input_type(leaves[number])
        assert types is not None
        for axis, name in named.items():
            size = types.shape[axis]
            if example.setdefault(name, size) != size:
                raise ShapeError(
                    f"dynamic_axes: {name} is {example[name]} and {size} in the example arguments"
                )

    def make(sizes: dict[str, int]) -> Graph:
        filled = list(leaves)
        for number, named in axes.items():
            filled[number] = _resized(leaves[number], named, sizes)
        given, _ = tree.unflatten(filled)
        return capture_with(function, given)[0]

    return free_graph(make, example, title_of(function))


def _resized(value: object, axes: Mapping[int, str], sizes: Mapping[str, int]) -> Any:
    """A stand-in for an argument with other sizes; it takes the memory of one element."""
    types = input_type(value)
    assert types is not None
    shape = tuple(sizes[axes[i]] if i in axes else size for i, size in enumerate(types.shape))
    array = ArrayType(shape, types.dtype).stand_in()
    return Tensor._of_leaf(Leaf(array, name=value.name)) if isinstance(value, Tensor) else array


def _named_axes(
    function: Callable[..., Any], args: tuple[Any, ...], leaves: list[Any], dynamic_axes: DynamicAxes
) -> dict[int, dict[int, str]]:
    """For each array among the flat arguments its free axes, which count from the front."""
    names = names_of(function, args, {})
    first = [0]
    for arg in args:
        first.append(first[-1] + flatten(arg)[1].count)
    found: dict[int, dict[int, str]] = {}
    for key, axes in dynamic_axes.items():
        if isinstance(key, str):
            numbers = [number for number, name in names.items() if name == key]
        else:
            number = operator.index(key)
            numbers = list(range(first[number], first[number + 1])) if 0 <= number < len(args) else []
        if len(numbers) != 1:
            known = (
                ", ".join(f"{number} ({name})" for number, name in names.items()) or f"0 to {len(args) - 1}"
            )
            problem = "is a container; name one of its arrays" if len(numbers) > 1 else "is no argument"
            raise SettingError(f"dynamic_axes: {key!r} {problem}; there are: {known}")
        types = input_type(leaves[numbers[0]])
        if types is None or isinstance(types, WeakType):
            raise SettingError(f"dynamic_axes: argument {key!r} is no array, and has no axes")
        if not isinstance(axes, Mapping):
            raise SettingError(
                f"dynamic_axes: {key!r} needs a mapping from axes to names, such as {{0: 'N'}}"
            )
        for axis, name in axes.items():
            if not isinstance(name, str) or not name.isidentifier():
                raise SettingError(f"dynamic_axes: the name of a size is a word, not {name!r}")
            if not -types.ndim <= axis < types.ndim:
                raise ShapeError(f"dynamic_axes: argument {key!r} is {types}, and has no axis {axis}")
            found.setdefault(numbers[0], {})[axis % types.ndim] = name
    return found
