"""Generators of random numbers within objects: what checkpoints restore, and what worker processes may not have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygraph.core.state import Generator
from tinygraph.core.tensor import Tensor

_DEPTH = 8  # how deep generators are looked for


def is_generator(value: object) -> bool:
    return isinstance(value, Generator | np.random.Generator | np.random.RandomState)


def held_generators(value: object) -> Iterator[tuple[str, Any]]:
    """The generators within an object's attributes and containers, by the path to each."""
    return _held(value, "", _DEPTH, set())


def _held(value: object, path: str, depth: int, seen: set[int]) -> Iterator[tuple[str, Any]]:
    if is_generator(value):
        yield path, value
        return
    if depth == 0 or id(value) in seen or isinstance(value, np.ndarray | Tensor | str | bytes | type):
        return
    seen.add(id(value))
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, Mapping):
        parts = value.items()
    elif isinstance(value, list | tuple):
        parts = enumerate(value) if len(value) < 1000 else ()  # longer ones are samples
    elif hasattr(value, "__dict__"):
        parts = vars(value).items()
    for name, one in parts:
        yield from _held(one, f"{path}.{name}" if path else str(name), depth - 1, seen)
