"""Contractions of two arrays as matrix products: einsum's labels become rows, columns, depth and a stack, by strides.

Nothing is copied: axes that lie in one another, in all arrays that have them, are one axis; what does not fit a matrix
is an axis of the stack.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.types import Array
from tinygraph.kernels.cpu import Cpu
from tinygraph.kernels.gemm import Matrix, Product, most_scratch, product_kernel
from tinygraph.kernels.images.planes import ALIGNMENT, rounded_up
from tinygraph.kernels.lowering import Lowering, Run
from tinygraph.kernels.machine_code import Private
from tinygraph.kernels.threads import get_threads


class _Axis(NamedTuple):
    """Its size, and the steps along it, in elements, in left, right and result."""

    size: int
    left: int
    right: int
    result: int


def lowering(terms: Sequence[str], shapes: Sequence[Sequence[int]], dtype: str, cpu: Cpu) -> Lowering | None:
    """The kernel of a contraction, or None where it is no matrix product.

    Args:
        terms: the labels of left, right and result, such as ("ij", "jk", "ik"); sizes of 1 broadcast.
        shapes: of left, right and result; no size is 0.
        dtype: "float32" or "float64", of all three.
    """
    if any(len(set(term)) < len(term) for term in terms):
        return None
    present = [
        {label for label, size in zip(term, shape, strict=True) if size > 1}
        for term, shape in zip(terms, shapes, strict=True)
    ]
    if _alone(*present):
        return None
    sizes = dict(zip("".join(terms), [size for shape in shapes for size in shape], strict=True))
    for term, shape in zip(terms, shapes, strict=True):
        sizes |= {label: size for label, size in zip(term, shape, strict=True) if size > 1}
    rows, columns, depth, _ = (math.prod(sizes[label] for label in group) for group in _groups(*present))
    elements = most_scratch(rows, columns, depth, dtype, cpu)
    each = rounded_up(max(elements, 1) * np.dtype(dtype).itemsize, ALIGNMENT)

    def bind(inputs: Sequence[Any], outputs: Sequence[Array], scratch: Sequence[Array]) -> Run | None:
        arrays = [np.asarray(inputs[0]), np.asarray(inputs[1]), outputs[0]]
        made = product_of(terms, arrays)
        if made is None:
            return None
        product, span = made
        parts = [part.view(dtype) for part in scratch[0].reshape(get_threads(), -1)]
        return product_kernel(product, cpu=cpu).bind(*arrays, Private(parts), span=span)

    return Lowering(bind, scratch=(get_threads() * each,), name="matrix product")


def product_of(terms: Sequence[str], arrays: Sequence[Array]) -> tuple[Product, int] | None:
    """A contraction of arrays as a product with its span, or None where their strides are not for it."""
    itemsize = arrays[0].itemsize
    if any(one.dtype != arrays[0].dtype or not one.flags.aligned for one in arrays):
        return None
    if any(step % itemsize for one in arrays for step in one.strides):
        return None
    steps: list[dict[str, int]] = []
    sizes: dict[str, int] = {}
    for term, one in zip(terms, arrays, strict=True):
        far = [
            (label, size, step // itemsize)
            for label, size, step in zip(term, one.shape, one.strides, strict=True)
            if size > 1
        ]
        sizes |= {label: size for label, size, _ in far}
        steps.append({label: step for label, _, step in far})
    if _alone(*steps):
        return None
    groups = [
        _merged(_Axis(sizes[label], *(one.get(label, 0) for one in steps)) for label in group)
        for group in _groups(*steps)
    ]
    rows, columns, depth, stack = groups
    if len(depth) > 1:
        return None
    row, *other_rows = sorted(rows, key=lambda axis: (axis.result != 1, -axis.size)) or [_NO_AXIS]
    column, *other_columns = sorted(columns, key=lambda axis: (axis.result != 1, -axis.size)) or [_NO_AXIS]
    (along,) = depth or [_NO_AXIS]
    stack = [*stack, *other_rows, *other_columns] or [_NO_AXIS]
    left = Matrix(row.left, along.left, tuple(axis.left for axis in stack))
    right = Matrix(along.right, column.right, tuple(axis.right for axis in stack))
    result = Matrix(row.result, column.result, tuple(axis.result for axis in stack))
    inner = tuple(axis.size for axis in stack[1:])
    made = Product(row.size, column.size, along.size, left, right, result, inner, arrays[0].dtype.name)
    return made, stack[0].size


_NO_AXIS = _Axis(1, 1, 1, 1)


def _alone(left: Iterable[str], right: Iterable[str], result: Iterable[str]) -> set[str]:
    """Labels of one operand that are summed without the other."""
    return (set(left) ^ set(right)) - set(result)


def _groups(
    left: Iterable[str] | Mapping[str, int], right: Iterable[str], result: Iterable[str]
) -> tuple[list[str], list[str], list[str], list[str]]:
    """The labels of rows, columns, depth and stack, each in the order of its first array."""
    left, right, result = list(left), list(right), list(result)
    rows = [label for label in result if label not in right]
    columns = [label for label in result if label not in left]
    depth = [label for label in left if label not in result]
    return rows, columns, depth, [label for label in result if label in left and label in right]


def _merged(axes: Iterable[_Axis]) -> list[_Axis]:
    """Axes from the outermost on, with those that lie in one another made one."""
    made: list[_Axis] = []
    for axis in sorted(axes, key=lambda one: (-abs(one.result), -abs(one.left))):
        if made and all(
            outer == inner * axis.size for outer, inner in zip(made[-1][1:], axis[1:], strict=True)
        ):
            made[-1] = axis._replace(size=made[-1].size * axis.size)
        else:
            made.append(axis)
    return made
