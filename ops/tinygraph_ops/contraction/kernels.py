"""The kernel of matrix products of two matrices: one call of BLAS into the result. Stacked ones are np.matmul's."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from tinygraph.plugin import Lowering, Types
from tinygraph_ops.contraction.ops import matmul
from tinygraph_ops.numpy_kernels import Array, Run, numpy_lowering, same_float


def make_dot(inputs: Sequence[Any], outputs: Sequence[Array]) -> Run | None:
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
def matmul_kernel(types: Types, layouts: Any, cpu: Any) -> Lowering | None:
    x, y = types.inputs
    if not same_float(types) or y.ndim > 2 or not (x.size and y.size):
        return None
    return numpy_lowering(make_dot, "np.dot")
