"""Element types of ONNX: which NumPy array holds each, and rounding to those that NumPy does not have.

bfloat16, the floats of 8 and 4 bits, and integers of 4 and 2 bits have no dtype in NumPy. Their values are held in
float32, int8 or uint8, each exactly, and a cast to one of them rounds as it does. Computations on bfloat16 are
float32's: not rounded after each operator.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.types import Array
from tinygraph.errors import FileFormatError

STRING, BFLOAT16 = 8, 16
PLAIN = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128",
}  # fmt: skip
OF_DTYPE = {np.dtype(name): code for code, name in PLAIN.items()}


class Narrow(NamedTuple):
    """A type that NumPy does not have.

    Attributes:
        held: the dtype that holds its values.
        format: its name, as `ml_dtypes` and the op that rounds to it call it; empty for integers.
        bits: how many one takes in a file.
    """

    held: str
    format: str
    bits: int


NARROW = {
    16: Narrow("float32", "bfloat16", 16),
    17: Narrow("float32", "float8_e4m3fn", 8),
    18: Narrow("float32", "float8_e4m3fnuz", 8),
    19: Narrow("float32", "float8_e5m2", 8),
    20: Narrow("float32", "float8_e5m2fnuz", 8),
    21: Narrow("uint8", "", 4),
    22: Narrow("int8", "", 4),
    23: Narrow("float32", "float4_e2m1fn", 4),
    24: Narrow("float32", "float8_e8m0fnu", 8),
    25: Narrow("uint8", "", 2),
    26: Narrow("int8", "", 2),
}


def dtype_of(code: int) -> np.dtype[Any]:
    """The dtype that holds values of an element type.

    Raises:
        FileFormatError: texts, and types that came after this was written.
    """
    if code in PLAIN:
        return np.dtype(PLAIN[code])
    if code in NARROW:
        return np.dtype(NARROW[code].held)
    said = "texts, of which no graph is made" if code == STRING else "unknown here"
    raise FileFormatError(f"its elements are of ONNX's type {code}, {said}")


def code_of(dtype: np.dtype[Any]) -> int:
    """ONNX's number for a dtype.

    Raises:
        FileFormatError: it has none.
    """
    if dtype not in OF_DTYPE:
        raise FileFormatError(f"ONNX has no element type for {dtype}")
    return OF_DTYPE[dtype]


def limits(code: int) -> tuple[int, int]:
    """The smallest and largest integer of an integer type."""
    if code in NARROW:
        narrow = NARROW[code]
        if narrow.held == "uint8":
            return 0, 2**narrow.bits - 1
        return -(2 ** (narrow.bits - 1)), 2 ** (narrow.bits - 1) - 1
    info = np.iinfo(PLAIN[code])
    return int(info.min), int(info.max)


def is_float(code: int) -> bool:
    """Whether an element type is one of real floating-point numbers."""
    return dtype_of(code).kind == "f"


def is_narrow_float(code: int) -> bool:
    """Whether it is one of those that float32 holds."""
    return code in NARROW and NARROW[code].format != ""


def unpacked(raw: Array, code: int, count: int) -> Array:
    """Integers of 4 or 2 bits out of bytes, the lowest bits first, in the dtype that holds them."""
    bits = NARROW[code].bits
    per_byte = 8 // bits
    shifts = np.arange(per_byte, dtype=np.uint8) * bits
    found: Array = ((raw[:, None] >> shifts) & (2**bits - 1)).reshape(-1)[:count]
    if NARROW[code].held == "int8":
        found = found.astype(np.int8)
        found = np.where(found >= 2 ** (bits - 1), found - 2**bits, found).astype(np.int8)
    return found
