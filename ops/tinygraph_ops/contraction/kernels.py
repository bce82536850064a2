"""Kernels of contractions of two arrays: generated matrix products, or one call of BLAS where that is faster."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import prod
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any

from tinygraph import kernels
from tinygraph.plugin import Array, Layouts, Lowering, Types
from tinygraph_ops.contraction.ops import einsum, formula, matmul
from tinygraph_ops.numpy_kernels import Run, numpy_lowering, same_float

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu


def make_dot(inputs: Sequence[Any], outputs: Sequence[Array]) -> Run | None:
    """BLAS through `x.dot(y, out)`; None where an operand would be copied first."""
    (x, y), (out,) = inputs, outputs
    if not out.flags.c_contiguous:
        return None
    if x.ndim > 2 and x.flags.c_contiguous:  # rows of all stacked matrices, for they meet one matrix
        x = x.reshape(-1, x.shape[-1])
        out = out.reshape(len(x), *y.shape[1:])
    if x.ndim > 2 or not all(map(_is_plain, (x, y))):
        return None
    return partial(x.dot, y, out)


def _is_plain(x: Array) -> bool:
    """Whether BLAS reads a matrix or a vector where it lies."""
    if x.ndim < 2:
        return x.flags.c_contiguous
    steps = sorted(zip(x.strides, x.shape, strict=True))
    (inner, length), (outer, _) = steps
    return inner == x.itemsize and outer % x.itemsize == 0 and outer >= length * inner


@matmul.lower
def matmul_kernel(types: Types, layouts: Layouts, cpu: Cpu) -> Lowering | None:
    """A generated product, or NumPy's with BLAS behind it where there is none or the matrices are large."""
    x, y = types.inputs
    if not same_float(types) or not (x.size and y.size):
        return None
    generated = _generated(_matmul_terms(len(x.shape), len(y.shape)), types, cpu)
    if generated is None or (cpu.foreign and _is_large(x.shape, y.shape)):
        return numpy_lowering(make_dot, "np.dot") if y.ndim <= 2 else generated
    return generated


def _matmul_terms(left: int, right: int) -> tuple[str, str, str]:
    """matmul in einsum's notation."""
    stack = ascii_lowercase[: max(left, right, 2) - 2]
    row, column = ("M" if left > 1 else ""), ("N" if right > 1 else "")
    mine, theirs = (stack[len(stack) - max(ndim - 2, 0) :] for ndim in (left, right))
    return f"{mine}{row}K", f"{theirs}K{column}", f"{stack}{row}{column}"


def _is_large(x: tuple[int, ...], y: tuple[int, ...]) -> bool:
    """Whether BLAS, which packs both operands, is better on one thread."""
    if kernels.available():
        from tinygraph.kernels.threads import get_threads

        if get_threads() > 1:
            return False
    rows, depth, columns = prod(x[:-1]), x[-1], y[-1] if len(y) == 2 else 1
    return len(y) <= 2 and min(rows, depth, columns) >= 512


@einsum.lower
def einsum_kernel(types: Types, layouts: Layouts, cpu: Cpu, *, subscripts: str) -> Lowering | None:
    """A generated loop nest for two operands of one floating-point dtype; None for anything else."""
    given = [one for one in types.inputs if one is not None]
    if len(given) != 2 or not same_float(types) or not all(one.size for one in given):
        return None
    terms, output = formula(subscripts, [len(one.shape) for one in given])
    return _generated((*terms, output), types._replace(inputs=tuple(given)), cpu)


def _generated(terms: Sequence[str], types: Types, cpu: Any) -> Lowering | None:
    if cpu is None or not kernels.available():
        return None
    from tinygraph.kernels import contractions

    shapes = [one.shape for one in (*types.inputs, *types.outputs)]
    return contractions.lowering(terms, shapes, types.outputs[0].dtype.name, cpu)
