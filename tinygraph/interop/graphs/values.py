"""Values as files hold them: settings and Python numbers as JSON, arrays as contiguous native arrays or base64.

What JSON lacks is an object of one key: {"float": "nan"}, {"complex": [re, im]}, {"int": "..."}, {"fraction": "1/3"}.
Sequences are tuples: settings hold no lists.
"""

from __future__ import annotations

import base64
import binascii
import math
from fractions import Fraction
from typing import Any

import numpy as np

from tinygraph.core.types import ArrayType
from tinygraph.errors import DTypeError, FileFormatError

DTYPES = {
    name: np.dtype(name)
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64", "complex64", "complex128", "object",
    )
}  # fmt: skip
MAX_DEPTH = 50
_JSON_INT = 2**63


def encode(value: Any) -> Any:
    """A setting, number or object as JSON holds it.

    Raises:
        DTypeError: it is none of None, bool, int, float, complex, str, Fraction or a tuple of these.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        return value if -_JSON_INT <= value < _JSON_INT else {"int": str(value)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, complex):
        return {"complex": [encode(value.real), encode(value.imag)]}
    if isinstance(value, Fraction):
        return {"fraction": str(value)}
    if isinstance(value, tuple):
        return [encode(one) for one in value]
    raise DTypeError(f"a file cannot hold {value!r:.60} of type {type(value).__name__}")


def decode(value: Any, depth: int = 0) -> Any:
    """What `encode` made JSON of.

    Raises:
        FileFormatError: it is not such JSON.
    """
    if depth > MAX_DEPTH:
        raise FileFormatError(f"a value is nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return tuple(decode(one, depth + 1) for one in value)
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        try:
            if kind == "complex" and isinstance(content, list) and len(content) == 2:
                return complex(*(decode(one, depth + 1) for one in content))
            if kind in _READERS and isinstance(content, str) and len(content) < 20_000:
                return _READERS[kind](content)
        except (ValueError, TypeError, ZeroDivisionError):
            pass
    raise FileFormatError(f"{value!r:.60} is no value that a file can hold")


_READERS: dict[str, Any] = {"int": int, "float": float, "fraction": Fraction}


def plain_array(array: Any) -> np.ndarray[Any, Any]:
    """The array in C order and this machine's byte order: safetensors would write others' bytes as they lie.

    0-d arrays stay 0-d, which `np.ascontiguousarray` would make 1-d.
    """
    array = np.asarray(array)
    plain: np.ndarray[Any, Any] = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
    return plain


def storable(array: Any) -> np.ndarray[Any, Any]:
    """What a safetensors file holds for an array: complex numbers as pairs, which every reader can read."""
    array = plain_array(array)
    return np.stack([array.real, array.imag], axis=-1) if array.dtype.kind == "c" else array


def restored(stored: np.ndarray[Any, Any], types: ArrayType, where: str) -> Any:
    """The value of a stored array: an array of its own, or a NumPy scalar if 0-d.

    Raises:
        FileFormatError: the stored array is not of the stated type.
    """
    expected = types
    if types.dtype.kind == "c":
        expected = ArrayType((*types.shape, 2), np.zeros((), types.dtype).real.dtype)
    if (stored.shape, stored.dtype) != (expected.shape, expected.dtype):
        raise FileFormatError(
            f"{where} is {ArrayType(stored.shape, stored.dtype)}, not the {expected} stated"
        )
    if types.dtype.kind == "c":
        stored = np.ascontiguousarray(stored).view(types.dtype).reshape(types.shape)
    return stored if stored.ndim else stored[()]


def to_text(array: Any) -> str:
    """An array's little-endian bytes in C order, as base64."""
    array = np.asarray(array)
    return base64.b64encode(np.asarray(array, array.dtype.newbyteorder("<"), order="C").tobytes()).decode(
        "ascii"
    )


def from_text(text: str, types: ArrayType, where: str) -> Any:
    """The array whose bytes `to_text` wrote.

    Raises:
        FileFormatError: it is no base64, or of another length than the type needs.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileFormatError(f"{where} is no base64: {error}") from None
    if len(data) != types.nbytes:
        raise FileFormatError(f"{where} has {len(data)} bytes, but {types} takes {types.nbytes}")
    array = np.frombuffer(data, types.dtype.newbyteorder("<")).astype(types.dtype).reshape(types.shape)
    return array if array.ndim else array[()]


def encode_objects(array: Any) -> list[Any]:
    """The elements of an array of Python objects (Fractions, ints), in C order."""
    return [encode(one) for one in np.asarray(array, dtype=object).ravel()]


def decode_objects(elements: Any, types: ArrayType, where: str) -> np.ndarray[Any, Any]:
    """The array whose elements `encode_objects` listed.

    Raises:
        FileFormatError: their number does not fit the type.
    """
    if len(elements) != types.size:
        raise FileFormatError(f"{where} has {len(elements)} elements, but {types} takes {types.size}")
    array = np.empty(len(elements), dtype=object)
    array[:] = [decode(one) for one in elements]
    return array.reshape(types.shape)
