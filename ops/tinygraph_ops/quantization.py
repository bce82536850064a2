"""Rounding that gradients pass straight through: to integers, and to floats of fewer bits. Formats that NumPy does not
have come from ml_dtypes, which is imported on use."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from tinygraph.plugin import Array, ArrayType, ErrorSample, Numeric, Sample, SettingError, op

FORMATS = {
    "bfloat16", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu",
    "float4_e2m1fn",
}  # fmt: skip
MODES = ("up", "down", "nearest")


@op(
    kind="elementwise",
    facts={"straight_through": True},
    samples=[
        Sample([0.4, 1.5, -2.5], expected=[0.0, 2.0, -2.0], smooth=False),
        Sample([[7.0, 0.3, 2.6], [-0.2, 1.2, 5.4]], smooth=False),
    ],
)
def round_straight_through(x: Numeric) -> Numeric:
    """x rounded to integers, halves to even;  by convention d/dx = 1, as if it did not round."""
    return np.rint(x)


@round_straight_through.vjp("x")
def round_straight_through_wrt_x(g: Numeric) -> Numeric:
    """g: straight through."""
    return g


@op(
    kind="elementwise",
    facts={"straight_through": True},
    samples=[
        Sample(np.array([1.0, 0.1, -3.3], np.float32), format="bfloat16", expected=[1.0, 0.10009765625, -3.296875],
               smooth=False),
        Sample(np.array([[0.3, 2.6], [900.0, -1.1], [5.0, 7.7]], np.float32), format="float8_e4m3fn", saturate=False,
               smooth=False),
        Sample(np.array([0.3, 2.6, 1.0], np.float32), format="float8_e8m0fnu", mode="down", expected=[0.25, 2.0, 1.0],
               smooth=False),
    ],
    error_samples=[ErrorSample([1.0], format="float7", error=SettingError, match="float7")],
)  # fmt: skip
def round_to_format(x: Array, *, format: str, saturate: bool = True, mode: str = "up") -> Numeric:
    """x rounded to what a format of fewer bits holds, in float32;  by convention d/dx = 1, as if it did not round.

    Args:
        format: a type of ml_dtypes, such as "bfloat16" or "float8_e4m3fn".
        saturate: whether what is too large for a float8 becomes its largest number, instead of infinity or NaN.
        mode: how "float8_e8m0fnu", which holds powers of two, rounds: "up", "down" or "nearest".

    Raises:
        SettingError: an unknown format or mode.
    """
    if format not in FORMATS or mode not in MODES:
        raise SettingError(f"format={format!r}, mode={mode!r}; formats are {', '.join(sorted(FORMATS))}")
    x = np.asarray(x, np.float32)
    if format == "bfloat16":
        return _bfloat16(x)
    try:
        ml_dtypes = importlib.import_module("ml_dtypes")
    except ImportError as error:
        raise SettingError(
            f"format={format!r} needs the package ml_dtypes: pip install 'tinygraph-autodiff[onnx]'"
        ) from error
    if format == "float8_e8m0fnu":
        return _power_of_two(x, mode, saturate, np.dtype(ml_dtypes.float8_e8m0fnu))
    dtype = np.dtype(getattr(ml_dtypes, format))
    if saturate:
        most = float(ml_dtypes.finfo(dtype).max)
        x = np.where(np.isnan(x), x, np.clip(x, -most, most))
    with np.errstate(all="ignore"):
        return np.asarray(x).astype(dtype).astype(np.float32)


def _bfloat16(x: Array) -> Numeric:
    """To the upper half of float32's bits, halves to even."""
    bits = x.view(np.uint32) if x.ndim else x.reshape(1).view(np.uint32)
    rounded = (bits + (((bits >> 16) & 1) + np.uint32(0x7FFF))) & np.uint32(0xFFFF0000)
    rounded = np.where(np.isnan(x).reshape(bits.shape), bits | np.uint32(0x400000), rounded).astype(np.uint32)
    return rounded.view(np.float32).reshape(x.shape)


def _power_of_two(x: Array, mode: str, saturate: bool, dtype: np.dtype[Any]) -> Numeric:
    with np.errstate(all="ignore"):
        mantissa, exponent = np.frexp(np.abs(x))  # mantissa in [0.5, 1)
        below = exponent - 1
        exact = mantissa == 0.5
        up = {"up": ~exact, "down": np.zeros_like(exact), "nearest": mantissa >= 0.75}[mode]
        power = below + up
        top = 127
        made = np.ldexp(np.float32(1), np.clip(power, -127, top)).astype(np.float32)
        beyond = power > top
        made = np.where(beyond & (not saturate), np.float32(np.nan), made)
        made = np.where(x == 0, np.ldexp(np.float32(1), -127), made)
        return np.where(~np.isfinite(x) & ~(np.isinf(x) & saturate), np.float32(np.nan), made).astype(
            np.float32
        )


@round_to_format.types
def round_to_format_types(x: ArrayType, *, format: str, saturate: bool = True, mode: str = "up") -> ArrayType:
    """float32, of the shape of x."""
    if format not in FORMATS or mode not in MODES:
        raise SettingError(f"format={format!r}, mode={mode!r}; formats are {', '.join(sorted(FORMATS))}")
    return ArrayType(x.shape, np.dtype(np.float32))


@round_to_format.vjp("x")
def round_to_format_wrt_x(g: Numeric) -> Numeric:
    """g: straight through."""
    return g
