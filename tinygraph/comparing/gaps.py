"""How far the numbers of two graphs are apart: stored values, and with inputs the values and gradients they compute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from tinygraph.comparing.matching import Matching
from tinygraph.core.engine import ancestors, propagate
from tinygraph.core.graph import Graph, replay
from tinygraph.core.node import Leaf, Node
from tinygraph.core.state import Generator, default_generator
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten
from tinygraph.core.types import WeakType, as_value

ROUNDING = 100  # times the dtype's epsilon, relative to the largest magnitude: what counts as equal


class Gap(NamedTuple):
    """How far two arrays are apart: the largest difference, and that relative to the largest magnitude."""

    absolute: float
    relative: float

    def __str__(self) -> str:
        return f"max abs {self.absolute:.3g}, relative {self.relative:.3g}"


def gap(before: object, after: object) -> Gap:
    """How far two values are apart; infinitely, if their shapes differ or one has NaN where the other has not."""
    one, other = np.asarray(before), np.asarray(after)
    if one.shape != other.shape:
        return Gap(np.inf, np.inf)
    if one.size == 0:
        return Gap(0.0, 0.0)
    if one.dtype.kind == "O" or other.dtype.kind == "O":
        one, other = one.astype(float), other.astype(float)
    wide = np.result_type(one, other, np.float64)
    one, other = one.astype(wide), other.astype(wide)
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.where(same, 0.0, np.abs(one - other))
        largest = max(
            np.abs(one[np.isfinite(one)]).max(initial=0.0), np.abs(other[np.isfinite(other)]).max(initial=0.0)
        )
    absolute = float(np.where(np.isnan(apart), np.inf, apart).max())
    return Gap(absolute, absolute / float(largest) if largest else float(absolute and np.inf))


def beyond_rounding(found: Gap, before: object, after: object) -> bool:
    """Whether a difference is more than another order of the same operations would make."""
    inexact = [np.asarray(value).dtype for value in (before, after) if np.asarray(value).dtype.kind in "fc"]
    allowed = ROUNDING * max((float(np.finfo(dtype).eps) for dtype in inexact), default=0.0)
    return found.relative > allowed


def values_apart(matching: Matching, inputs: Sequence[Any]) -> tuple[tuple[tuple[Node, Node, Gap], ...], int]:
    """The matched nodes of one type whose values differ beyond rounding, in order, and how many were compared."""
    with _same_draws(matching.a, matching.b) as rewind:
        first = replay(matching.a, inputs)
        rewind()
        second = replay(matching.b, inputs)
    found = []
    compared = 0
    for node in matching.nodes_b:
        partner = matching.backward.get(id(node))
        if partner is None or id(partner) not in first or id(node) not in second:
            continue
        one, other = first[id(partner)], second[id(node)]
        if isinstance(one, Generator) or isinstance(other, Generator):
            continue
        if node.output_types != partner.output_types:
            continue
        compared += 1
        parts = zip(*(value if isinstance(value, tuple) else (value,) for value in (one, other)), strict=True)
        gaps = [(gap(x, y), x, y) for x, y in parts]
        apart = [found for found, x, y in gaps if beyond_rounding(found, x, y)]
        if apart:
            found.append((partner, node, max(apart)))
    return tuple(found), compared


def gradients_apart(matching: Matching, inputs: Sequence[Any]) -> tuple[tuple[tuple[str, Gap], ...], int]:
    """The matched parameters and inputs whose gradients of the summed outputs differ, and how many were compared."""
    with _same_draws(matching.a, matching.b) as rewind:
        first = _gradients(matching.a, inputs)
        rewind()
        second = _gradients(matching.b, inputs)
    found = []
    compared = 0
    for node in matching.nodes_b:
        partner = matching.backward.get(id(node))
        if partner is None or (id(partner) not in first and id(node) not in second):
            continue
        if node.output_types != partner.output_types:
            continue
        compared += 1
        assert isinstance(node, Leaf)
        zeros = np.zeros(node.types.shape, node.types.dtype)
        one, other = first.get(id(partner), zeros), second.get(id(node), zeros)
        apart = gap(one, other)
        if beyond_rounding(apart, one, other):
            found.append((node.describe(), apart))
    return tuple(found), compared


def _gradients(graph: Graph, inputs: Sequence[Any]) -> dict[int, Any]:
    """Id of a parameter or input -> the gradient of the sum of all outputs. No `.grad` is touched."""
    given: list[Any] = []
    leaves: dict[Node, int] = {leaf: id(leaf) for leaf in graph.leaves if leaf.requires_grad}
    stated = inputs or [leaf.value for leaf in graph.inputs]
    for leaf, value in zip(graph.inputs, stated, strict=False):
        tensor: Any = value
        if leaf.types.differentiable and not isinstance(leaf.types, WeakType):
            array = value.numpy() if isinstance(value, Tensor) else as_value(value, leaf.types.dtype)
            tensor = Tensor._of_leaf(Leaf(array, requires_grad=True, name=leaf.name))
            leaves[tensor._leaf] = id(leaf)
        given.append(tensor)
    results, _ = flatten(graph(*given))
    seeds = [
        (one._edge, np.ones(one.shape, one.dtype)[()])
        for one in results
        if isinstance(one, Tensor) and one._edge is not None and one.type.differentiable
    ]
    nodes = ancestors(edge for edge, _ in seeds)
    found = propagate(nodes, seeds, wanted=set(leaves), record=False)
    return {leaves[one]: getattr(value, "_value", value) for one, value in found.items() if one in leaves}


@contextmanager
def _same_draws(a: Graph, b: Graph) -> Iterator[Any]:
    """Give both graphs the same random numbers: `rewind` takes every generator back to where it stood."""
    generators = [
        leaf.value for graph in (a, b) for leaf in graph.leaves if isinstance(leaf.value, Generator)
    ]
    states = [(one, one.state) for one in (*generators, default_generator)]

    def rewind() -> None:
        for one, state in states:
            one.state = state

    try:
        yield rewind
    finally:
        rewind()
