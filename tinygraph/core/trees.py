"""Nested containers - tuples, lists, dicts, named tuples, dataclasses - as flat lists of leaves and back: `tg.tree`.

Order and type are kept: a dict is not sorted, and a named tuple, an OrderedDict, a defaultdict or a subclass comes back
as what it was. Containers of the user's own are registered once, and are then taken wherever containers are.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

from tinygraph.errors import SettingError, ShapeError


class _Registered(NamedTuple):
    """How a class of the user's is taken apart and built again."""

    flatten: Callable[[Any], tuple[Any, Any]]
    unflatten: Callable[[Any, Any], Any]


_registered: dict[type, _Registered] = {}


def register(
    kind: type, flatten: Callable[[Any], tuple[Any, Any]], unflatten: Callable[[Any, Any], Any]
) -> type:
    """Make a class a container, wherever containers are taken: its parts may be arrays, tensors and containers.

    Args:
        kind: the class; subclasses are registered on their own.
        flatten: from an object to (parts, data): a sequence, and what is the same for all objects of one structure,
            which must be hashable.
        unflatten: from (data, parts) back to an object.

    Returns:
        The class.

    Raises:
        SettingError: a class that is registered already, or one of Python's own containers.

    >>> class Point:
    ...     def __init__(self, x, y):
    ...         self.x, self.y = x, y
    >>> kind = register(Point, lambda point: ((point.x, point.y), None), lambda data, parts: Point(*parts))
    >>> map(lambda x: 2 * x, Point(1.0, 2.0)).y
    4.0
    """
    if kind in _registered or kind in (tuple, list, dict, type(None)):
        raise SettingError(f"tg.tree.register: {kind.__name__} is a container already")
    _registered[kind] = _Registered(flatten, unflatten)
    return kind


class Tree:
    """The shape of a nested container: how to build it again from its leaves.

    Two trees are equal if their containers are of the same classes, with the same keys in the same order.
    """

    def __init__(
        self,
        count: int,
        build: Callable[[Sequence[Any]], Any],
        description: str,
        *,
        identity: object = None,
        keys: tuple[Any, ...] = (),
        children: Sequence[Tree] = (),
    ) -> None:
        self.count = count
        self.build = build
        self.description = description
        self.keys = keys
        self.children = tuple(children)
        self._identity = (identity or description, tuple([_exact(one) for one in keys]), self.children)

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        return self.build(leaves)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self._identity == other._identity

    def __hash__(self) -> int:
        return hash(self._identity)

    def __repr__(self) -> str:
        return self.description


def flatten(value: object) -> tuple[list[Any], Tree]:
    """The leaves of a nested container, in order, and its shape. Anything that is no container is a leaf.

    >>> leaves, tree = flatten({"b": 2, "a": (1, [3])})
    >>> leaves, tree.unflatten([10, 20, 30])
    ([2, 1, 3], {'b': 10, 'a': (20, [30])})
    """
    kind = type(value)
    parts = parts_of(value)
    if value is None:
        return [], Tree(0, lambda leaves: None, "None")
    if parts is None:
        return [value], Tree(1, itemgetter(0), "*")
    leaves, children = [], []
    for part in parts:
        found, tree = flatten(part)
        leaves += found
        children.append(tree)
    keys: tuple[Any, ...] = tuple(value) if isinstance(value, dict) else ()
    known = _registered.get(kind)
    if known is not None:
        keys = (known.flatten(value)[1],)
    shown = f"{kind.__name__}{list(keys)}" if keys and known is None else kind.__name__
    make = _maker(value)

    def build(leaves: Sequence[Any]) -> Any:
        filled, start = [], 0
        for tree in children:
            filled.append(tree.unflatten(leaves[start : start + tree.count]))
            start += tree.count
        return make(filled)

    description = f"{shown}({', '.join([repr(one) for one in children])})"
    count = sum(tree.count for tree in children)
    return leaves, Tree(count, build, description, identity=kind, keys=keys, children=children)


def flatten_like(value: object, tree: Tree) -> list[Any]:
    """The leaves of a container in the order of a tree, whose dicts may have had their keys in another order.

    >>> flatten_like({"a": 1, "b": 2}, flatten({"b": 0, "a": 0})[1])
    [2, 1]
    """
    parts = parts_of(value)
    if isinstance(value, dict) and value.keys() == set(tree.keys):
        parts = [value[key] for key in tree.keys]
    if parts is None or len(parts) != len(tree.children):
        return flatten(value)[0]
    return [
        leaf for part, child in zip(parts, tree.children, strict=True) for leaf in flatten_like(part, child)
    ]


def items(value: object) -> list[tuple[str, Any]] | None:
    """What a container holds, each with the step that leads there: a key, a field, a position. None if it is none."""
    known = _registered.get(type(value))
    if known is not None:
        return [(f"[{i}]", one) for i, one in enumerate(known.flatten(value)[0])]
    if isinstance(value, dict):
        return [(f".{key}", one) for key, one in value.items()]
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f".{name}", one) for name, one in zip(value._fields, value, strict=True)]
    if isinstance(value, tuple | list):
        return [(f"[{i}]", one) for i, one in enumerate(value)]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
    return None


def parts_of(value: object) -> list[Any] | None:
    """What a container holds; None if it is none."""
    found = items(value)
    return None if found is None else [one for _, one in found]


def _maker(value: Any) -> Callable[[list[Any]], Any]:
    """How to make a container like the given one of other parts, without holding on to the present ones."""
    kind = type(value)
    known = _registered.get(kind)
    if known is not None:
        data = known.flatten(value)[1]
        return lambda parts: known.unflatten(data, tuple(parts))
    if kind in (tuple, list):
        return kind
    if isinstance(value, dict):
        keys = list(value)
        if kind is dict:
            return lambda parts: dict(zip(keys, parts, strict=True))
        shell = copy.copy(value)
        for key in keys:
            dict.__setitem__(shell, key, None)

        def make_dict(parts: list[Any]) -> Any:
            new = copy.copy(shell)
            for key, part in zip(keys, parts, strict=True):
                dict.__setitem__(new, key, part)
            return new

        return make_dict
    if isinstance(value, tuple):
        return lambda parts: tuple.__new__(kind, parts)
    if isinstance(value, list):
        empty = copy.copy(value)
        list.clear(empty)

        def make_list(parts: list[Any]) -> Any:
            new = copy.copy(empty)
            list.extend(new, parts)
            return new

        return make_list
    fields = dataclasses.fields(value)

    def make_record(parts: list[Any]) -> Any:
        given = {field.name: part for field, part in zip(fields, parts, strict=True)}
        new = kind(**{field.name: given[field.name] for field in fields if field.init})
        for field in fields:
            if not field.init:
                object.__setattr__(new, field.name, given[field.name])
        return new

    return make_record


def _exact(key: object) -> Any:
    """A key of a dict with its type: 1 is not True."""
    return type(key), key


def paths(tree: Tree) -> tuple[list[str], list[tuple[str, Any]]]:
    """How each leaf is reached - by keys, names of fields, positions - and the plain values that the tree itself holds.

    A leaf that is alone has an empty path.

    >>> paths(flatten({"loss": 1, "parts": (2, {"a": 3})})[1])
    (['loss', 'parts[0]', 'parts[1].a'], [])
    """
    found = [""] * tree.count
    plain: list[tuple[str, Any]] = []
    for path, number, value in contents(tree):
        if number < 0:
            plain.append((path, value))
        else:
            found[number] = path
    return found, plain


def contents(tree: Tree) -> list[tuple[str, int, Any]]:
    """The leaves and plain values of a tree in their order: how each is reached, the leaf's number or -1, the value.

    >>> contents(flatten({"loss": 1, "parts": (2, None)})[1])
    [('loss', 0, None), ('parts[0]', 1, None)]
    """
    places = [_Leaf() for _ in range(tree.count)]
    found: list[tuple[str, int, Any]] = []
    try:
        waiting = [("", tree.unflatten(places))]
    except Exception:  # noqa: BLE001 - a container that takes no stand-ins: its leaves have no names
        return found
    numbers = {id(place): i for i, place in enumerate(places)}
    while waiting:
        path, value = waiting.pop()
        inside = items(value)
        if inside is not None and value is not None:
            waiting += [(path + step, one) for step, one in reversed(inside)]
        elif id(value) in numbers:
            found.append((path.removeprefix("."), numbers[id(value)], None))
        elif value is not None:
            found.append((path.removeprefix("."), -1, value))
    return found


class _Leaf:
    """Stands for a leaf while its way is looked for."""


# -- what `tg.tree` offers besides -------------------------------------------------------------------------------------


def structure(tree: object) -> Tree:
    """The shape of a nested container, without its leaves.

    >>> structure((1, {"a": 2}))
    tuple(*, dict['a'](*))
    """
    return flatten(tree)[1]


def leaves(tree: object) -> list[Any]:
    """The leaves of a nested container, in order.

    >>> leaves({"b": 2, "a": (1, None, 3)})
    [2, 1, 3]
    """
    return flatten(tree)[0]


def unflatten(structure: Tree, leaves: Sequence[Any]) -> Any:
    """A container of a structure, filled with leaves.

    Raises:
        ShapeError: their number is not that of the structure.

    >>> unflatten(structure((0, [0])), [1, 2])
    (1, [2])
    """
    leaves = list(leaves)
    if len(leaves) != structure.count:
        raise ShapeError(
            f"tg.tree.unflatten: {structure} has {structure.count} leaves, and {len(leaves)} are given"
        )
    return structure.unflatten(leaves)


def map(function: Callable[..., Any], tree: object, *others: object) -> Any:
    """A container like the first one, of what a function makes of its leaves and of those in the same places of others.

    Raises:
        ShapeError: a container of another structure.

    >>> map(lambda x, y: x + y, (1, {"a": 2}), (10, {"a": 20}))
    (11, {'a': 22})
    """
    first, shape = flatten(tree)
    columns = [first]
    for i, one in enumerate(others):
        found = flatten_like(one, shape)
        if len(found) != shape.count:
            raise ShapeError(f"tg.tree.map: container {i + 1} is {structure(one)}, the first {shape}")
        columns.append(found)
    return shape.unflatten([function(*several) for several in zip(*columns, strict=True)])


def ravel(tree: object) -> tuple[Any, Callable[[Any], Any]]:
    """All numbers of a container as one vector, and the function that takes such a vector apart again.

    Both ways are differentiable: tensors stay tensors.

    Returns:
        (vector, unravel): the elements of all leaves, in order and in their common dtype; `unravel(vector)` has the
        structure, shapes and dtypes of the container.

    Raises:
        ShapeError: unravel is given another number of elements.

    >>> vector, unravel = ravel({"w": np.ones((2, 2)), "b": 3.0})
    >>> vector
    array([1., 1., 1., 1., 3.])
    >>> unravel(2 * vector)["b"]
    np.float64(6.0)
    """
    from tinygraph.core.registry import ops

    found, shape = flatten(tree)
    arrays = [one if hasattr(one, "dtype") else np.asarray(one) for one in found]
    types = [(one.shape, one.dtype) for one in arrays]
    ends = np.cumsum([0, *(math.prod(size) for size, _ in types)], dtype=int).tolist()
    common = np.result_type(*(dtype for _, dtype in types)) if types else np.dtype(float)
    flat = [ops.cast(ops.reshape(one, shape=(-1,)), dtype=common.name) for one in arrays]
    vector = ops.concatenate(*flat) if flat else np.zeros(0)

    def unravel(vector: Any) -> Any:
        vector = vector if hasattr(vector, "dtype") else np.asarray(vector)
        if vector.shape != (ends[-1],):
            raise ShapeError(f"unravel takes a vector of {ends[-1]} elements, not shape {vector.shape}")
        parts = []
        for (size, dtype), (start, stop) in zip(types, pairwise(ends), strict=True):
            part = ops.reshape(ops.index(vector, pattern=(("slice", start, stop, None),)), shape=size)
            parts.append(part if dtype == common else ops.cast(part, dtype=dtype.name))
        return shape.unflatten(
            [one[()] if isinstance(one, np.ndarray) and not one.ndim else one for one in parts]
        )

    return vector, unravel
