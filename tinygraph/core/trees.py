"""Nested containers - tuples, lists, dicts, named tuples, dataclasses - as flat lists of leaves and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any


class Tree:
    """The shape of a nested container: how to build it again from its leaves."""

    def __init__(self, count: int, build: Callable[[Sequence[Any]], Any], description: str) -> None:
        self.count = count
        self._build = build
        self.description = description

    def unflatten(self, leaves: Sequence[Any]) -> Any:
        return self._build(leaves)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tree) and self.description == other.description

    def __hash__(self) -> int:
        return hash(self.description)

    def __repr__(self) -> str:
        return self.description


def flatten(value: Any) -> tuple[list[Any], Tree]:
    """The leaves of a nested container, in order, and its shape. Anything that is no container is a leaf.

    >>> leaves, tree = flatten({"b": 2, "a": (1, [3])})
    >>> leaves, tree.unflatten([10, 20, 30])
    ([1, 3, 2], {'a': (10, [20]), 'b': 30})
    """
    if isinstance(value, dict):
        keys = sorted(value, key=lambda key: (str(type(key)), key))
        leaves, trees = _flatten_all([value[key] for key in keys])
        return leaves, _joined(trees, lambda parts: dict(zip(keys, parts, strict=True)), f"dict{keys}")
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        kind = type(value)
        leaves, trees = _flatten_all(value)
        return leaves, _joined(trees, lambda parts: kind(*parts), kind.__name__)
    if isinstance(value, tuple | list):
        leaves, trees = _flatten_all(value)
        make: Any = tuple if isinstance(value, tuple) else list
        return leaves, _joined(trees, make, make.__name__)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        record = type(value)
        names = [field.name for field in dataclasses.fields(value)]
        leaves, trees = _flatten_all([getattr(value, name) for name in names])
        return leaves, _joined(
            trees, lambda parts: record(**dict(zip(names, parts, strict=True))), record.__name__
        )
    if value is None:
        return [], Tree(0, lambda leaves: None, "None")
    return [value], Tree(1, lambda leaves: leaves[0], "*")


def _flatten_all(values: Any) -> tuple[list[Any], list[Tree]]:
    leaves, trees = [], []
    for value in values:
        found, tree = flatten(value)
        leaves += found
        trees.append(tree)
    return leaves, trees


def _joined(trees: list[Tree], make: Callable[[list[Any]], Any], name: str) -> Tree:
    def build(leaves: Sequence[Any]) -> Any:
        parts, start = [], 0
        for tree in trees:
            parts.append(tree.unflatten(leaves[start : start + tree.count]))
            start += tree.count
        return make(parts)

    return Tree(sum(tree.count for tree in trees), build, f"{name}({', '.join(map(repr, trees))})")


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
