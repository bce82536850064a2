"""Expansions: which elements of its operands make an element of an op's output, as data that any drawing can read.

Places are affine in the output's index and the index that is reduced over. No values, no pictures and no ops here:
an op's rule (`@convolution.expand`) returns an `Expansion`, and `expansion_of` asks it for a node's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tinygraph.core.node import Leaf, Node
from tinygraph.core.types import ArrayType, Shape, broadcast_shapes, reduced_axes

if TYPE_CHECKING:
    from tinygraph.core.numeric import Axis

Join = Literal["product", "only", "op"]
Reduction = Literal["none", "sum", "mean", "product", "max", "min"]
Function = Literal["identity", "exp", "log", "square"]


@dataclass(frozen=True, slots=True)
class Affine:
    """An integer that is affine in an index: one coefficient per entry of the index, and a constant at the end.

    >>> (i, j), (k,) = indices(2, 1)
    >>> (2 * i + k - 1).coefficients
    (2, 0, 1, -1)
    """

    coefficients: tuple[int, ...]

    def __add__(self, other: Affine | int) -> Affine:
        theirs = (
            other.coefficients if isinstance(other, Affine) else (*(0,) * (len(self.coefficients) - 1), other)
        )
        return Affine(tuple(a + b for a, b in zip(self.coefficients, theirs, strict=True)))

    def __sub__(self, other: Affine | int) -> Affine:
        return self + other * -1

    def __mul__(self, factor: int) -> Affine:
        return Affine(tuple(int(factor) * a for a in self.coefficients))

    __rmul__ = __mul__


def indices(rank: int, reduced: int = 0) -> tuple[tuple[Affine, ...], tuple[Affine, ...]]:
    """The entries of an output's index of that rank, and those of the index that is reduced over."""
    count = rank + reduced
    units = tuple(Affine(tuple(int(i == j) for j in range(count + 1))) for i in range(count))
    return units[:rank], units[rank:]


@dataclass(frozen=True, slots=True)
class Read:
    """An element of an operand, by affine places.

    Attributes:
        operand: the operand's position.
        shape: its shape, or another shape of the same elements in the same order.
        places: one for each axis of `shape`; an int stands for a constant.
    """

    operand: int
    shape: Shape
    places: tuple[Affine | int, ...]


@dataclass(frozen=True, slots=True)
class Expansion:
    """How one element of an op's output comes about.

        out[o] = after(reduce over r of each(reads[0] * reads[1] * ...) + bias)

    Attributes:
        shape: what o runs over: the output's shape, or another of the same elements in the same order.
        reads: the elements that are read, at places affine in (o, r).
        over: what r runs over.
        join: how the reads make one term: their "product", the "only" one of them that is inside its operand, or the
            "op" itself applied to them.
        reduce: how the terms are taken together; "none" if there is one term.
        each, after: functions of each term, and of the whole.
        bias: what is added to the terms.
        share: the read whose term is divided by all terms, as in softmax.
        spread: where it is given, the mean of all terms is taken from the term of `share` instead, and the rest divided
            by the root of their variance plus this number, as normalisations do.
        padding: what places outside an operand count as; None if they do not count.
        partial: how many leading axes of r are summed last; the grids before that sum are called tmp.
        planes: how many trailing axes of o make the picture of one channel.
    """

    shape: Shape
    reads: tuple[Read, ...]
    over: Shape = ()
    join: Join = "product"
    reduce: Reduction = "none"
    each: Function = "identity"
    after: Function = "identity"
    bias: Read | None = None
    share: Read | None = None
    spread: float | None = None
    padding: float | None = None
    partial: int = 0
    planes: int = 0


def expansion_of(node: Node) -> Expansion | None:
    """The expansion of a node's first output: its op's, or for elementwise ops that of the same element; or None."""
    if isinstance(node, Leaf):
        return None
    op = node.op
    types = node.input_types
    if op.expansion is not None:
        found: Expansion | None = op.expansion(*types, **node.all_settings)
        return found
    if op.kind in ("elementwise", "comparison") and len(node.output_types) == 1:
        return same_element(*types)
    return None


def same_element(*operands: ArrayType | None, **settings: object) -> Expansion:
    """Elementwise: the op applied to one element of each operand, broadcast."""
    shape = broadcast_shapes(*(x.shape for x in operands if x is not None))
    at, _ = indices(len(shape))
    reads = tuple(
        Read(i, x.shape, broadcast_places(at, x.shape)) for i, x in enumerate(operands) if x is not None
    )
    return Expansion(shape, reads, join="op")


def moved(x: ArrayType, shape: Shape, places: Sequence[Affine | int]) -> Expansion:
    """Each element is one of x: transposes, flips and the like."""
    return Expansion(shape, (Read(0, x.shape, tuple(places)),))


def same_order(x: ArrayType, *others: object, **settings: object) -> Expansion:
    """The elements of x in the same order, in whatever shape: reshapes."""
    (i,), _ = indices(1)
    return Expansion((x.size,), (Read(0, (x.size,), (i,)),))


def reduction(x: ArrayType, axis: Axis, keepdims: bool, reduce: Reduction) -> Expansion:
    """A reduction of x over `axis`."""
    axes = reduced_axes(axis, x.ndim)
    kept = [i for i in range(x.ndim) if i not in axes]
    shape = tuple(1 if i in axes else x.shape[i] for i in range(x.ndim) if keepdims or i not in axes)
    at, over = indices(len(shape), len(axes))
    free = [at[i] for i in kept] if keepdims else list(at)
    places = tuple(over[axes.index(i)] if i in axes else free[kept.index(i)] for i in range(x.ndim))
    return Expansion(shape, (Read(0, x.shape, places),), over=tuple(x.shape[i] for i in axes), reduce=reduce)


def distribution(x: ArrayType, axis: Axis, after: Function = "identity") -> Expansion:
    """exp(x) as a share of its sum over axes (softmax), or the logarithm of that."""
    terms = replace(reduction(x, axis, True, "sum"), shape=x.shape, each="exp", after=after)
    at, _ = indices(x.ndim, len(terms.over))
    return replace(terms, share=Read(0, x.shape, at))


def broadcast_places(at: Sequence[Affine], shape: Shape) -> tuple[Affine | int, ...]:
    """Where an operand of `shape` is read when it broadcasts against the output index `at`."""
    last = at[len(at) - len(shape) :]
    return tuple(0 if size == 1 else place for size, place in zip(shape, last, strict=True))
