"""Random numbers as ops: their operand is a generator, from which they draw each time they run.

Eagerly a draw is plain data (see `tinygraph.plugin.Generator`); in a captured graph it is one of these nodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import ArrayType, Generator, Numeric, op


@op(kind="random", nondifferentiable="generator")
def random_uniform(generator: Any, *, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> Numeric:
    """Numbers drawn uniformly from [low, high), float64 of the given shape."""
    drawn: Numeric = generator.numpy.uniform(low, high, shape)
    return drawn


@random_uniform.types
def random_uniform_types(
    generator: Generator, *, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0
) -> ArrayType:
    """float64 of the given shape."""
    return ArrayType(tuple(shape), np.dtype(float))


@op(kind="random", nondifferentiable="generator")
def random_normal(generator: Any, *, shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0) -> Numeric:
    """Numbers drawn from the normal distribution, float64 of the given shape."""
    drawn: Numeric = generator.numpy.normal(mean, std, shape)
    return drawn


@random_normal.types
def random_normal_types(
    generator: Generator, *, shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0
) -> ArrayType:
    """float64 of the given shape."""
    return ArrayType(tuple(shape), np.dtype(float))
