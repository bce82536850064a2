"""What lowerings to NumPy share: kernels are NumPy calls with `out=`, one after another, on arrays and scratch memory.

They serve arrays of any strides, whether kernels can be generated or not. What each op does is in the modules of its
family, `*_kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.plugin import Array, ArrayType, Layouts, Lowering, Types
from tinygraph.plugin import in_order as in_order

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu

Run = Callable[[], Any]
Make = Callable[..., Run | None]


def numpy_lowering(make: Make, name: str, *scratch: ArrayType, **settings: object) -> Lowering:
    """A lowering whose kernel is `make(inputs, outputs, *scratch arrays, **settings)`, or None if that is.

    Args:
        scratch: the types of the scratch arrays.
    """

    def bind(inputs: Sequence[Any], outputs: Sequence[Array], memory: Sequence[Array]) -> Run | None:
        arrays = [
            chunk.view(one.dtype).reshape(one.shape) for chunk, one in zip(memory, scratch, strict=True)
        ]
        return make(inputs, outputs, *arrays, **settings)

    sizes = tuple(one.dtype.itemsize * prod(one.shape) for one in scratch)
    return Lowering(bind, scratch=sizes, name=name)


def lower_by(make: Make, name: str = "") -> Callable[..., Lowering]:
    """A lowering rule for an op whose NumPy kernel needs no scratch memory."""

    def lowered(types: Types, layouts: Layouts, cpu: Cpu, **settings: object) -> Lowering:
        return numpy_lowering(make, name or f"NumPy {make.__name__.removeprefix('make_')}", **settings)

    return lowered


def same_float(types: Types) -> bool:
    """Whether all operands and results are float32, or all float64."""
    present = [one.dtype for one in (*types.inputs, *types.outputs) if one is not None]
    return len(set(present)) == 1 and present[0] in (np.float32, np.float64)
