"""Soft sorting and ranking: projections onto the permutahedron, composed of sorting and isotonic regression.

Source: Blondel, Teboul, Berthet, Djolonga, "Fast Differentiable Sorting and Ranking", 2020 (arXiv:2002.08871), with
quadratic regularization. Small strengths give the hard answer, large ones pull everything to the mean.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import ErrorSample, Sample, SettingError, ShapeError, composite, ops
from tinygraph_soft_sort.isotonic import isotonic

_ROWS = [[3.0, 1.0, 2.25, -0.5], [0.5, 0.75, -4.0, 0.0]]
_ERRORS = [
    ErrorSample(1.0, error=ShapeError, match="(..., n)"),
    ErrorSample([1.0, 2.0], strength=0.0, error=SettingError, match="strength is 0.0"),
]


@composite(
    samples=[
        Sample([3.0, 1.0, 2.0], strength=0.01, expected=[1.0, 2.0, 3.0]),
        Sample([3.0, 1.0, 2.0], strength=1e6, expected=[2 - 1e-6, 2.0, 2 + 1e-6]),
        Sample(_ROWS, strength=2.5),
        Sample(_ROWS),
    ],
    error_samples=_ERRORS,
)
def soft_sort(x: Any, *, strength: float = 1.0) -> Any:
    """The projection of (1 ... n) / strength onto the permutahedron of x: x sorted, its neighbours drawn together.

    Args:
        x: (..., n), real; each row by itself.
        strength: of the regularization, above 0.

    Returns:
        (..., n), rising.

    >>> import numpy as np
    >>> soft_sort(np.array([3.0, 1.0, 2.0]), strength=0.1)
    array([1., 2., 3.])
    """
    places = _places(x, strength)
    goal = places * (1 / strength)
    return goal - isotonic(goal - ops.sort(x, axis=-1))


@composite(
    samples=[
        Sample([3.0, 1.0, 2.0], strength=0.01, expected=[3.0, 1.0, 2.0]),
        Sample([0.0, 10.0, 0.5], expected=[1.25, 3.0, 1.75]),
        Sample(_ROWS, strength=2.5),
        Sample(_ROWS),
    ],
    error_samples=_ERRORS,
)
def soft_rank(x: Any, *, strength: float = 1.0) -> Any:
    """The projection of x / strength onto the permutahedron of (1 ... n): ranks that close neighbours share.

    Args:
        x: (..., n), real; each row by itself.
        strength: of the regularization, above 0.

    Returns:
        (..., n): 1 for the smallest, n for the largest.

    >>> import numpy as np
    >>> soft_rank(np.array([0.0, 10.0, 0.5]))
    array([1.25, 3.  , 1.75])
    """
    places = _places(x, strength)
    order = ops.argsort(x, axis=-1)
    goal = ops.take_along_axis(x, order, axis=-1) * (1 / strength)
    ranks = goal - isotonic(goal - places)
    return ops.take_along_axis(ranks, ops.argsort(order, axis=-1), axis=-1)


def _places(x: Any, strength: float) -> Any:
    """1 ... n, of the dtype of x."""
    if not np.ndim(x):
        raise ShapeError("x is a scalar; it must be rows, (..., n)")
    if not strength > 0:
        raise SettingError(f"strength is {strength}; it must be positive")
    return np.arange(1, x.shape[-1] + 1).astype(x.dtype)
