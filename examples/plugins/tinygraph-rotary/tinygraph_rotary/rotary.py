"""Rotary position embedding: pairs of features turned by an angle that grows with the position.

Source: Su, Lu, Pan, Murtadha, Wen, Liu, "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021
(arXiv:2104.09864), equation 15. A turn is orthogonal, so its derivative is the turn back.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import ArrayType, DTypeError, ErrorSample, Sample, SettingError, ShapeError, op, ops

_X = [[1.0, -2.0, 0.5, 3.0], [-1.5, 0.25, 2.0, -0.75], [0.5, 1.25, -3.0, 2.5]]
_BATCH = [_X, [[2.0, 1.0, -1.0, 0.5], [0.75, -0.5, 1.5, -2.5], [-1.0, 3.0, 0.25, 1.75]]]
_QUARTER = np.pi / 2


@op(
    linear="x",
    samples=[
        # one pair, turned by 0, 90 and 180 degrees
        Sample([[1.0, 2.0]] * 3, [0.0, _QUARTER, np.pi], expected=[[1.0, 2.0], [-2.0, 1.0], [-1.0, -2.0]]),
        Sample([[1.0, 2.0]], [_QUARTER], inverse=True, expected=[[2.0, -1.0]]),
        # base 4: the second of two pairs turns half as fast
        Sample(
            [[1.0, 0.0, 0.0, 1.0]], [np.pi], base=4.0, interleaved=True, expected=[[-1.0, 0.0, -1.0, 0.0]]
        ),
        Sample([[1.0, 0.0, 0.0, 1.0]], [np.pi], base=4.0, expected=[[-1.0, -1.0, 0.0, 0.0]]),
        Sample(_X, None, base=100.0),
        Sample(_X, [4, 0, 7]),
        Sample(_BATCH, [0.5, -1.25, 3.0], base=10.0, interleaved=True),
        Sample(_BATCH, [[0.5, -1.25, 3.0], [2.0, 0.0, -0.75]], base=10.0, inverse=True),
    ],
    error_samples=[
        ErrorSample([1.0, 2.0], error=ShapeError, match="(..., length, features)"),
        ErrorSample([[1.0, 2.0, 3.0]], error=ShapeError, match="3 features"),
        ErrorSample(_X, [0.0, 1.0], error=ShapeError, match="positions"),
        ErrorSample([[1, 2]], error=DTypeError, match="int64"),
        ErrorSample(_X, base=0.0, error=SettingError, match="base is 0.0"),
    ],
)
def rotary(
    x: Any,
    positions: Any = None,
    *,
    base: float = 10000.0,
    interleaved: bool = False,
    inverse: bool = False,
) -> Any:
    """out_k = R(position * base^(-k / pairs)) x_k for each pair k of features;  d/dx turns g back.

    Queries and keys turned so have inner products that depend on the difference of their positions alone.

    Args:
        x: (..., length, features), an even number of features; real.
        positions: numbers that broadcast to (..., length); 0, 1, 2 ... by default. Gradients flow through them
            where they are real.
        base: how much slower the last pair turns than the first.
        interleaved: pairs are neighbours (0, 1), (2, 3) ...; by default they are (0, pairs), (1, pairs + 1) ...
        inverse: turn the other way.

    Returns:
        (..., length, features), of the dtype of x.

    Raises:
        ShapeError: an odd number of features, or positions that do not fit.
        DTypeError: x is not real.
        SettingError: base is not positive.

    >>> import numpy as np
    >>> rotary(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0.0, np.pi])).round(6)
    array([[ 1.,  0.],
           [-1.,  0.]])
    """
    rotary_types(x, positions, base=base)
    if positions is None:
        positions = np.arange(x.shape[-2])
    angles = positions[..., None] * _frequencies(x.shape[-1], base)
    cosine, sine = np.cos(angles).astype(x.dtype), np.sin(angles).astype(x.dtype)
    if inverse:
        sine = -sine
    a, b = _pairs(x, interleaved)
    turned = [a * cosine - b * sine, a * sine + b * cosine]
    # functions that make new arrays, and no writes into one: so a compiled program can look through this op
    return np.stack(turned, axis=-1).reshape(x.shape) if interleaved else np.concatenate(turned, axis=-1)


def _frequencies(features: int, base: float) -> Any:
    """How fast each pair turns."""
    pairs = features // 2
    return float(base) ** (-np.arange(pairs) / pairs)


def _pairs(x: Any, interleaved: bool) -> tuple[Any, Any]:
    """The first and the second elements of all pairs, of an array or a tensor."""
    if interleaved:
        return x[..., 0::2], x[..., 1::2]
    pairs = x.shape[-1] // 2
    return x[..., :pairs], x[..., pairs:]


@rotary.types
def rotary_types(
    x: ArrayType,
    positions: Any = None,
    *,
    base: float = 10000.0,
    interleaved: bool = False,
    inverse: bool = False,
) -> ArrayType:
    shape: tuple[int, ...] = getattr(x, "shape", ())
    if len(shape) < 2:
        raise ShapeError(f"x must be (..., length, features); it has the shape {shape}")
    if shape[-1] % 2:
        raise ShapeError(
            f"x has {shape[-1]} features, which make no pairs; the last axis must have an even size"
        )
    if x.dtype.kind != "f":
        raise DTypeError(f"x must be real, not {x.dtype}; use x.astype(float)")
    given: tuple[int, ...] = getattr(positions, "shape", ())
    if len(given) > len(shape) - 1 or any(
        a not in (1, b) for a, b in zip(given[::-1], shape[-2::-1], strict=False)
    ):
        raise ShapeError(f"positions of shape {given} do not broadcast to (..., length) = {shape[:-1]}")
    if not base > 0:
        raise SettingError(f"base is {base}; it must be positive")
    return ArrayType(shape, x.dtype)


@rotary.vjp("x")
def rotary_wrt_x(g: Any, positions: Any, base: float, interleaved: bool, inverse: bool) -> Any:
    return rotary(g, positions, base=base, interleaved=interleaved, inverse=not inverse)


@rotary.vjp("positions")
def rotary_wrt_positions(g: Any, out: Any, base: float, interleaved: bool, inverse: bool) -> Any:
    # a turn changes by a quarter turn of its own result
    (a, b), (g_a, g_b) = _pairs(out, interleaved), _pairs(g, interleaved)
    frequencies = _frequencies(out.shape[-1], base).astype(out.dtype)
    turning = ops.sum((g_b * a - g_a * b) * frequencies, axis=-1)
    return -turning if inverse else turning
