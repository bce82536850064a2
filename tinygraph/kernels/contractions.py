"""Contractions of two arrays as matrix products: einsum's labels become rows, columns, depth and a stack, by strides.

Nothing is copied: axes that lie in one another, in all arrays that have them, are one axis; what does not fit a matrix
is an axis of the stack.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.types import Array
from tinygraph.kernels.cpu import Cpu
from tinygraph.kernels.gemm import Matrix, Product, ProductEpilogue, most_scratch, shared_kernel
from tinygraph.kernels.images.planes import ALIGNMENT, rounded_up
from tinygraph.kernels.lowering import Epilogue, Lowering, Run
from tinygraph.kernels.machine_code import Private
from tinygraph.kernels.program import Program
from tinygraph.kernels.threads import get_threads


class _Axis(NamedTuple):
    """Its size, and the steps along it, in elements: in left, right and result, and in arrays of an epilogue."""

    size: int
    left: int
    right: int
    result: int
    others: tuple[int, ...] = ()


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

    def bind(
        inputs: Sequence[Any],
        outputs: Sequence[Array],
        scratch: Sequence[Array],
        program: Program | None = None,
    ) -> Run | None:
        arrays = [np.asarray(inputs[0]), np.asarray(inputs[1]), outputs[0]]
        extras = [*map(np.asarray, inputs[2:]), *outputs[1:]]
        found = product_of(terms, arrays, extras)
        if found is None:
            return None
        product, span, matrices = found
        epilogue = None
        if program is not None:
            count = len(program.inputs) - 1
            epilogue = ProductEpilogue(program, matrices[:count], matrices[count:])
        parts = [part.view(dtype) for part in scratch[0].reshape(get_threads(), -1)]
        kernel, counts = shared_kernel(product, epilogue, cpu=cpu)
        return kernel.bind(*arrays, Private(parts), *extras, counts=counts, span=span)

    def with_epilogue(epilogue: Epilogue) -> Lowering:
        return made._replace(bind=functools.partial(bind, program=epilogue.program), with_epilogue=None)

    made = Lowering(bind, scratch=(get_threads() * each,), name="matrix product", with_epilogue=with_epilogue)
    return made


def product_of(
    terms: Sequence[str], arrays: Sequence[Array], extras: Sequence[Array] = ()
) -> tuple[Product, int, tuple[Matrix, ...]] | None:
    """A contraction of arrays as a product with its span, or None where their strides are not for it.

    Args:
        terms: as `lowering` has them.
        arrays: left, right and result.
        extras: arrays that an epilogue reads or writes; they broadcast to the result, and the last of what is
            returned says where they lie.
    """
    itemsize = arrays[0].itemsize
    if any(one.dtype != arrays[0].dtype or not one.flags.aligned for one in arrays):
        return None
    if any(step % one.itemsize for one in (*arrays, *extras) for step in one.strides):
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
    beside = [_steps_of(one, arrays[2].shape) for one in extras]
    others = {label: tuple(one[i] for one in beside) for i, label in enumerate(terms[2])}
    none = (0,) * len(extras)
    left, right, result = steps
    axes = {
        label: _Axis(
            size, left.get(label, 0), right.get(label, 0), result.get(label, 0), others.get(label, none)
        )
        for label, size in sizes.items()
    }
    groups = [_merged(axes[label] for label in group) for group in _groups(left, right, result)]
    rows, columns, depth, stack = groups
    if len(depth) > 1:
        return None
    absent = _Axis(1, 1, 1, 1, (1,) * len(extras))
    row, *other_rows = sorted(rows, key=lambda axis: (axis.result != 1, -axis.size)) or [absent]
    column, *other_columns = sorted(columns, key=lambda axis: (axis.result != 1, -axis.size)) or [absent]
    (along,) = depth or [absent]
    stack = [*stack, *other_rows, *other_columns] or [absent]
    places = (
        Matrix(row.left, along.left, tuple(axis.left for axis in stack)),
        Matrix(along.right, column.right, tuple(axis.right for axis in stack)),
        Matrix(row.result, column.result, tuple(axis.result for axis in stack)),
    )
    inner = tuple(axis.size for axis in stack[1:])
    made = Product(row.size, column.size, along.size, *places, inner, arrays[0].dtype.name)
    matrices = tuple(
        Matrix(row.others[i], column.others[i], tuple(axis.others[i] for axis in stack))
        for i in range(len(extras))
    )
    return made, stack[0].size, matrices


def _steps_of(array: Array, shape: Sequence[int]) -> list[int]:
    """Elements from one to the next along each axis of a shape that the array broadcasts to."""
    return [step // array.itemsize for step in np.broadcast_to(array, shape).strides]


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
            outer == inner * axis.size for outer, inner in zip(_steps(made[-1]), _steps(axis), strict=True)
        ):
            made[-1] = axis._replace(size=made[-1].size * axis.size)
        else:
            made.append(axis)
    return made


def _steps(axis: _Axis) -> tuple[int, ...]:
    return axis.left, axis.right, axis.result, *axis.others
