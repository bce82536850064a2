"""The arithmetic of expansions: which elements an output's index reads, the terms they make, and what these come to.

The one evaluator: pictures of channels and neurons, and tests, ask here. A page has its own in `places.js`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.analysis.expansion import Affine, Expansion, Function, Read, Reduction
from tinygraph.core.types import Array

if TYPE_CHECKING:
    from tinygraph.core.numeric import Axis

FUNCTIONS: dict[Function, Callable[[Any], Any]] = {
    "identity": lambda x: x, "exp": np.exp, "log": np.log, "square": np.square,
}  # fmt: skip
REDUCTIONS: dict[Reduction, Callable[..., Any]] = {
    "none": np.sum, "sum": np.sum, "mean": np.mean, "product": np.prod, "max": np.max, "min": np.min,
}  # fmt: skip
# What a term that does not count is taken as, where others do.
NEUTRAL: dict[Reduction, float] = {
    "none": 0.0, "sum": 0.0, "mean": 0.0, "product": 1.0, "max": -np.inf, "min": np.inf,
}  # fmt: skip


def widened(array: object) -> Array:
    """An array in double precision, complex numbers as such."""
    found = np.asarray(array)
    return found.astype(np.complex128 if found.dtype.kind == "c" else np.float64)


def place(affine: Affine | int, at: Sequence[Any]) -> Any:
    """The value of an affine place where the index is `at`, of ints or of a grid; its missing end counts as 0."""
    if isinstance(affine, int):
        return affine
    *row, constant = affine.coefficients
    return sum((a * i for a, i in zip(row, at, strict=False) if a), start=constant)


def positions_at(read: Read, at: Sequence[Any]) -> Array:
    """The flat position in the operand that is read where the index is `at`, of ints or of a grid; -1 is outside.

    >>> from tinygraph.analysis.expansion import indices
    >>> (i,), (k,) = indices(1, 1)
    >>> positions_at(Read(0, (3,), (i + k - 1,)), (2, np.array([0, 1, 2]))).tolist()
    [1, 2, -1]
    """
    flat: Any = 0
    inside: Any = True
    for affine, size in zip(read.places, read.shape, strict=True):
        i = place(affine, at)
        inside = inside & (i >= 0) & (i < size)
        flat = flat * size + i
    return np.where(inside, flat, -1)


def positions(expansion: Expansion, read: Read) -> Array:
    """The flat position in the operand for every (o, r), of shape (*shape, *over); -1 is outside.

    >>> from tinygraph.analysis.expansion import indices
    >>> (i,), (k,) = indices(1, 1)
    >>> window = Read(0, (3,), (i + k - 1,))
    >>> positions(Expansion((3,), (window,), over=(2,), reduce="sum"), window)
    array([[-1,  0],
           [ 0,  1],
           [ 1,  2]])
    """
    sizes = (*expansion.shape, *expansion.over)
    return np.array(np.broadcast_to(positions_at(read, np.indices(sizes, sparse=True)), sizes))


def gather(read: Read, operand: object, at: Sequence[Any], padding: float | None) -> tuple[Array, Array]:
    """(values, flat positions) that a read takes at an index, or a grid of them; outside is -1, and the padding."""
    found = positions_at(read, at)
    values = np.asarray(operand).reshape(-1)[np.where(found < 0, 0, found)]
    return np.where(found < 0, 0.0 if padding is None else padding, values), found


def narrowed(expansion: Expansion, at: Sequence[int]) -> Expansion:
    """For one element of the output: where only one of the reads is inside, the expansion with that one alone."""
    if expansion.join != "only":
        return expansion
    inside = (read for read in expansion.reads if positions_at(read, at) >= 0)
    return replace(expansion, reads=tuple(inside), join="product")


def applied(function: Function, values: object) -> Any:
    """What a function of an expansion makes of terms, whatever they are."""
    with np.errstate(all="ignore"):
        return FUNCTIONS[function](values)


def term(expansion: Expansion, factors: Sequence[Any]) -> Array:
    """The terms that factors make: their product, and `each` of it."""
    product: object = 1.0
    for one in factors:
        product = product * widened(one)
    return np.asarray(applied(expansion.each, product))


def reduced(expansion: Expansion, terms: Array, axis: Axis = None, counted: Array | None = None) -> Any:
    """Terms taken together as the op does.

    Args:
        counted: which of them count, of the same shape; all of them otherwise.
    """
    reduce = expansion.reduce
    if counted is None:
        return REDUCTIONS[reduce](terms, axis=axis)
    filled = np.where(counted, terms, NEUTRAL[reduce])
    if reduce == "mean":
        return filled.sum(axis=axis) / counted.sum(axis=axis)
    return REDUCTIONS[reduce](filled, axis=axis)


def elements(expansion: Expansion, operands: Sequence[Any], op: Callable[..., Any]) -> Array:
    """The whole output, made element by element of what the expansion says; of the shape it says.

    Args:
        op: the op itself, for expansions that join their reads by it.
    """
    sizes = (*expansion.shape, *expansion.over)
    grid = np.indices(sizes, sparse=True)
    found = [gather(read, operands[read.operand], grid, expansion.padding) for read in expansion.reads]
    counted = None
    if expansion.join == "op":
        own = (np.asarray(operands[read.operand]).dtype for read in expansion.reads)
        return np.asarray(op(*(x.astype(dtype) for (x, _), dtype in zip(found, own, strict=True))))
    if expansion.join == "only":
        terms = term(expansion, [sum(np.where(flat >= 0, x, 0) for x, flat in found)])
    else:
        terms = term(expansion, [x for x, _ in found])
        if expansion.padding is None:  # a product without one of its factors is none
            counted = np.broadcast_to(
                np.all(np.broadcast_arrays(*(flat >= 0 for _, flat in found)), axis=0), sizes
            )
    terms = np.broadcast_to(terms, sizes)
    axes = tuple(range(len(expansion.shape), terms.ndim))
    first = [*np.indices(expansion.shape, sparse=True), *(0 for _ in expansion.over)]
    out = reduced(expansion, terms, axes, counted)
    if expansion.bias is not None:
        out = out + gather(expansion.bias, operands[expansion.bias.operand], first, None)[0]
    if expansion.share is not None:
        read = expansion.share
        own_term = term(expansion, [gather(read, operands[read.operand], first, None)[0]])
        with np.errstate(all="ignore"):
            if expansion.spread is None:
                out = own_term / out
            else:
                out = (own_term - out) / np.sqrt(terms.var(axis=axes) + expansion.spread)
    return np.asarray(applied(expansion.after, out))
