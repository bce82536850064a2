"""Nested containers - tuples, lists, dicts, named tuples, dataclasses - as flat lists of leaves and back.

Order and type are kept: a dict is not sorted, and a named tuple, an OrderedDict, a defaultdict or a subclass comes back
as what it was.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


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
        self._build = build
        self.description = description
        self.keys = keys
        self.children = tuple(children)
        self._identity = (identity or description, tuple(map(_exact, keys)), self.children)

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        return self._build(leaves)

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
    parts = _parts(value)
    if value is None:
        return [], Tree(0, lambda leaves: None, "None")
    if parts is None:
        return [value], Tree(1, lambda leaves: leaves[0], "*")
    leaves, children = [], []
    for part in parts:
        found, tree = flatten(part)
        leaves += found
        children.append(tree)
    keys = tuple(value) if isinstance(value, dict) else ()
    shown = f"{kind.__name__}{list(keys)}" if keys else kind.__name__
    make = _maker(value)

    def build(leaves: Sequence[Any]) -> Any:
        filled, start = [], 0
        for tree in children:
            filled.append(tree.unflatten(leaves[start : start + tree.count]))
            start += tree.count
        return make(filled)

    description = f"{shown}({', '.join(map(repr, children))})"
    count = sum(tree.count for tree in children)
    return leaves, Tree(count, build, description, identity=kind, keys=keys, children=children)


def flatten_like(value: object, tree: Tree) -> list[Any]:
    """The leaves of a container in the order of a tree, whose dicts may have had their keys in another order.

    >>> flatten_like({"a": 1, "b": 2}, flatten({"b": 0, "a": 0})[1])
    [2, 1]
    """
    parts = _parts(value)
    if isinstance(value, dict) and value.keys() == set(tree.keys):
        parts = [value[key] for key in tree.keys]
    if parts is None or len(parts) != len(tree.children):
        return flatten(value)[0]
    return [
        leaf for part, child in zip(parts, tree.children, strict=True) for leaf in flatten_like(part, child)
    ]


def _parts(value: object) -> list[Any] | None:
    """What a container holds; None if it is none."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, tuple | list):
        return list(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [getattr(value, field.name) for field in dataclasses.fields(value)]
    return None


def _maker(value: Any) -> Callable[[list[Any]], Any]:
    """How to make a container like the given one of other parts, without holding on to the present ones."""
    kind = type(value)
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
    places = [_Leaf() for _ in found]
    plain: list[tuple[str, Any]] = []
    try:
        waiting = [("", tree.unflatten(places))]
    except Exception:  # noqa: BLE001 - a container that takes no stand-ins: its leaves have no names
        return found, plain
    numbers = {id(place): i for i, place in enumerate(places)}
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, dict):
            items = [(f".{key}", one) for key, one in value.items()]
        elif isinstance(value, tuple) and hasattr(value, "_fields"):
            items = [(f".{name}", one) for name, one in zip(value._fields, value, strict=True)]
        elif isinstance(value, tuple | list):
            items = [(f"[{i}]", one) for i, one in enumerate(value)]
        elif dataclasses.is_dataclass(value) and not isinstance(value, type):
            items = [(f".{field.name}", getattr(value, field.name)) for field in dataclasses.fields(value)]
        else:
            if id(value) in numbers:
                found[numbers[id(value)]] = path.removeprefix(".")
            elif value is not None:
                plain.append((path.removeprefix("."), value))
            continue
        waiting += [(path + step, one) for step, one in reversed(items)]
    return found, plain


class _Leaf:
    """Stands for a leaf while its way is looked for."""
