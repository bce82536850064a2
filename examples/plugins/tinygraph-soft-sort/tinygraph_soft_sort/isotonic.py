"""Isotonic regression: the nearest rising sequence. It averages blocks, so its derivative averages the same blocks.

Sources: Best and Chakravarti, "Active set algorithms for isotonic regression", 1990 (pool adjacent violators); the
derivative in Djolonga and Krause, "Differentiable learning of submodular models", 2017.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import ArrayType, DTypeError, ErrorSample, Sample, ShapeError, op

_ROWS = [[3.0, 1.0, 2.5, 0.25, 6.0, 5.5], [-1.0, 2.0, 0.5, 0.0, -3.0, 1.5]]
_ERRORS = [
    ErrorSample(1.0, error=ShapeError, match="(..., n)"),
    ErrorSample([1 + 2j], error=DTypeError, match="complex128"),
    ErrorSample([1, 2], error=DTypeError, match="int64"),
]


@op(
    samples=[
        Sample([3.0, 1.0, 2.5, 6.0], expected=[2.0, 2.0, 2.5, 6.0]),
        Sample([4.0, 3.0, 1.0, 0.0], expected=[2.0, 2.0, 2.0, 2.0]),
        Sample([1.0, 6.0, 8.0, 2.0], expected=[1.0, 16 / 3, 16 / 3, 16 / 3]),
        Sample(_ROWS),
        Sample([_ROWS, [[0.5, -2.0, 4.0, 3.0, 1.0, -1.0], [1.0, 2.0, 3.5, 3.0, 7.0, 6.0]]]),
        Sample([1.0, 1.0], expected=[1.0, 1.0], smooth=False),
    ],
    error_samples=_ERRORS,
)
def isotonic(x: Any) -> Any:
    """out = the nearest v_1 <= v_2 <= ... <= v_n to each row of x, by Σ (v_i - x_i)²;  d/dx averages g over its blocks.

    Args:
        x: (..., n), real; each row by itself.

    Returns:
        (..., n): rising rows, constant over blocks.

    >>> import numpy as np
    >>> isotonic(np.array([3.0, 1.0, 4.0]))
    array([2., 2., 4.])
    """
    return _averaged(x, isotonic_blocks(x))


@isotonic.types
def isotonic_types(x: ArrayType) -> ArrayType:
    if not getattr(x, "shape", ()):
        raise ShapeError("x is a scalar; it must be rows, (..., n)")
    if x.dtype.kind != "f":
        raise DTypeError(f"x must be real, not {x.dtype}; use x.astype(float)")
    return ArrayType(x.shape, x.dtype)


@isotonic.vjp("x")
def isotonic_wrt_x(g: Any, x: Any) -> Any:
    return block_mean(g, isotonic_blocks(x))


@op(
    nondifferentiable="x",
    samples=[
        Sample([3.0, 1.0, 2.5, 6.0], expected=[0, 0, 2, 3]),
        Sample([1.0, 6.0, 8.0, 2.0], expected=[0, 1, 1, 1]),
        Sample(_ROWS),
    ],
    error_samples=_ERRORS,
)
def isotonic_blocks(x: Any) -> Any:
    """out[..., i] = where the block of element i begins, in the isotonic regression of its row.

    >>> import numpy as np
    >>> isotonic_blocks(np.array([3.0, 1.0, 4.0]))
    array([0, 0, 2])
    """
    isotonic_types(x)
    out = np.empty(x.shape, np.intp)
    for row in np.ndindex(x.shape[:-1]):
        out[row] = _pooled(x[row].tolist())
    return out


def _pooled(row: list[float]) -> list[int]:
    """Pool adjacent violators: a block that is not above the one before it joins it."""
    totals: list[float] = []
    starts: list[int] = []
    for i, value in enumerate(row):
        total, start = value, i
        while starts and totals[-1] * (i + 1 - start) >= total * (start - starts[-1]):
            total += totals.pop()
            start = starts.pop()
        totals.append(total)
        starts.append(start)
    ends = [*starts[1:], len(row)]
    return [start for start, end in zip(starts, ends, strict=True) for _ in range(end - start)]


@isotonic_blocks.types
def isotonic_blocks_types(x: ArrayType) -> ArrayType:
    return ArrayType(isotonic_types(x).shape, np.dtype(np.intp))


@op(
    linear="x",
    nondifferentiable="blocks",
    samples=[
        Sample([3.0, 1.0, 2.5, 6.0], [0, 0, 2, 2], expected=[2.0, 2.0, 4.25, 4.25]),
        Sample(_ROWS, [[0, 0, 0, 3, 3, 5], [0, 1, 1, 1, 4, 4]]),
        Sample([1.0, 2.0, 6.0], [2, 0, 2], expected=[3.5, 2.0, 3.5]),
    ],
    error_samples=[
        *(ErrorSample(*one.operands, [0], error=one.error, match=one.match) for one in _ERRORS),
        ErrorSample([1.0, 2.0], [0], error=ShapeError, match="one block for each element"),
        ErrorSample([1.0, 2.0], [0.0, 1.0], error=DTypeError, match="integers"),
        ErrorSample([1.0, 2.0], [0, 2], error=ShapeError, match="0 to 1"),
    ],
)
def block_mean(x: Any, blocks: Any) -> Any:
    """out[..., i] = the mean of x over the elements of its row with the same blocks[..., i];  d/dx = the same of g.

    Args:
        x: (..., n), real.
        blocks: of the same shape, integers from 0 to n - 1.

    >>> import numpy as np
    >>> block_mean(np.array([3.0, 1.0, 4.0]), np.array([0, 0, 2]))
    array([2., 2., 4.])
    """
    block_mean_types(x, blocks)
    if blocks.size and not (blocks.min() >= 0 and blocks.max() < x.shape[-1]):
        last = x.shape[-1] - 1
        raise ShapeError(
            f"blocks reach from {blocks.min()} to {blocks.max()}; for rows of {last + 1}, 0 to {last}"
        )
    return _averaged(x, blocks)


def _averaged(x: Any, blocks: Any) -> Any:
    n = x.shape[-1]
    # numbered through all rows
    blocks = blocks + n * np.arange(x.size // n if n else 0).reshape(*x.shape[:-1], 1)
    counts = np.bincount(blocks.reshape(-1), minlength=x.size)
    totals = np.bincount(blocks.reshape(-1), x.reshape(-1), minlength=x.size)
    return (totals[blocks] / counts[blocks]).astype(x.dtype)


@block_mean.types
def block_mean_types(x: ArrayType, blocks: ArrayType) -> ArrayType:
    stated: ArrayType = isotonic_types(x)
    if getattr(blocks, "shape", ()) != x.shape:
        raise ShapeError(
            f"one block for each element: x has the shape {x.shape}, blocks {getattr(blocks, 'shape', ())}"
        )
    if blocks.dtype.kind not in "iu":
        raise DTypeError(f"blocks must be integers, not {blocks.dtype}")
    return stated


@block_mean.vjp("x")
def block_mean_wrt_x(g: Any, blocks: Any) -> Any:
    return block_mean(g, blocks)
