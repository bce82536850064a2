"""Tensors of ONNX files as arrays: bytes checked against the shape, data beside the file only from its own folder."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.core.types import Array
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.element_types import NARROW, STRING, code_of, dtype_of, unpacked
from tinygraph.interop.onnx.package import Proto
from tinygraph.interop.reading import check_regular

MOST_AXES = 64
# The field that holds the values of a type, where they are not raw bytes.
_FIELDS = {
    1: "float_data", 11: "double_data", 14: "float_data", 15: "double_data", 7: "int64_data", 12: "uint64_data",
    13: "uint64_data",
}  # fmt: skip


def shape_of(dims: Sequence[int], what: str) -> tuple[int, ...]:
    """The sizes of a tensor.

    Raises:
        FileFormatError: negative or absurd ones.
    """
    shape = tuple(int(one) for one in dims)
    if len(shape) > MOST_AXES or min(shape, default=0) < 0 or math.prod(max(one, 1) for one in shape) > 2**48:
        raise FileFormatError(f"{what} has the shape {shape!s:.100}, which no array has")
    return shape


def array_of(tensor: Proto, folder: Path | None) -> Any:
    """The array of a TensorProto; of texts an array of objects.

    Args:
        folder: where data beside the file may lie; None if there is no file.

    Raises:
        FileFormatError: more or fewer bytes than the shape takes, an unknown type, data outside the folder.
    """
    what = f"tensor {tensor.name!r:.60}" if tensor.name else "a tensor"
    shape = shape_of(tensor.dims, what)
    count, code = math.prod(shape), tensor.data_type
    if code == STRING:
        return _texts(tensor, shape, count, what)
    try:
        held = dtype_of(code)
    except FileFormatError as error:
        raise FileFormatError(f"{what}: {error}") from None
    if tensor.data_location == 1:  # EXTERNAL
        values = _from_bytes(_external(tensor, folder, what), code, held, count, what)
    elif tensor.HasField("raw_data"):
        values = _from_bytes(tensor.raw_data, code, held, count, what)
    else:
        values = _from_field(tensor, code, held, count, what)
    return values.reshape(shape).copy()


def _texts(tensor: Proto, shape: tuple[int, ...], count: int, what: str) -> Array:
    if len(tensor.string_data) != count:
        raise FileFormatError(
            f"{what} has {len(tensor.string_data)} texts, but its shape {shape} takes {count}"
        )
    made = np.empty(count, object)
    made[:] = [one.decode(errors="replace") for one in tensor.string_data]
    return made.reshape(shape)


def _stored(code: int, held: np.dtype[Any]) -> tuple[np.dtype[Any], int]:
    """The dtype in which bytes are read, and how many bits an element takes in them."""
    if code not in NARROW:
        return held.newbyteorder("<"), held.itemsize * 8
    bits = NARROW[code].bits
    return np.dtype("<u2" if bits == 16 else "u1"), bits


def _from_bytes(raw: bytes, code: int, held: np.dtype[Any], count: int, what: str) -> Array:
    dtype, bits = _stored(code, held)
    if len(raw) != (count * bits + 7) // 8:
        raise FileFormatError(f"{what} has {len(raw)} bytes, but its shape takes {(count * bits + 7) // 8}")
    return _widened(np.frombuffer(raw, dtype), code, held, count)


def _from_field(tensor: Proto, code: int, held: np.dtype[Any], count: int, what: str) -> Array:
    found = np.asarray(getattr(tensor, _FIELDS.get(code, "int32_data")))
    if code in (14, 15):
        if len(found) != 2 * count:
            raise FileFormatError(f"{what} has {len(found)} numbers, but its shape takes {2 * count}")
        return (found[::2] + 1j * found[1::2]).astype(held)
    dtype, bits = _stored(code, held)
    words = count if bits >= 8 else (count * bits + 7) // 8
    if len(found) != words:
        raise FileFormatError(f"{what} has {len(found)} numbers, but its shape takes {words}")
    if code == 10:
        return found.astype(np.uint16).view(np.float16)
    if code in NARROW:
        return _widened(found.astype(dtype), code, held, count)
    return found.astype(held)


def _widened(read: Array, code: int, held: np.dtype[Any], count: int) -> Array:
    """Values in the dtype that holds them."""
    if code not in NARROW:
        return read.astype(held)
    if not NARROW[code].format:
        return unpacked(read, code, count)
    if NARROW[code].bits == 16:
        return (read.astype(np.uint32) << 16).view(np.float32)
    ml_dtypes = importlib.import_module("ml_dtypes")

    if NARROW[code].bits == 4:
        read = np.stack([read & 15, read >> 4], axis=1).reshape(-1)[:count].astype(np.uint8)
    narrow: Array = read.view(np.dtype(getattr(ml_dtypes, NARROW[code].format)))
    return narrow.astype(np.float32)


def _external(tensor: Proto, folder: Path | None, what: str) -> bytes:
    """The bytes of a tensor whose data lie in a file beside the model's."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    if folder is None or not location:
        raise FileFormatError(f"{what} lies in a file that is not named, or there is no folder to look in")
    inside = folder.resolve()
    path = (inside / location).resolve()
    if not path.is_relative_to(inside) or path == inside or "\0" in location:
        raise FileFormatError(
            f"{what} lies in {location!r:.100}, outside the model's folder, where nothing is read"
        )
    check_regular(path)
    if not path.is_file():
        raise FileFormatError(f"{what} lies in {location!r:.100}, and there is no such file beside the model")
    try:
        offset = int(entries.get("offset", "0"))
        length = int(entries.get("length", path.stat().st_size - offset))
    except ValueError:
        raise FileFormatError(
            f"{what}: where its data lie in {location!r:.100} is not said in numbers"
        ) from None
    if offset < 0 or length < 0 or offset + length > path.stat().st_size:
        raise FileFormatError(
            f"{what} takes {length} bytes at {offset} of {location!r:.100}, which has {path.stat().st_size}"
        )
    with path.open("rb") as file:
        file.seek(offset)
        found: bytes = file.read(length)
    return found


def tensor_proto(onnx: Proto, value: object, name: str) -> Any:
    """The TensorProto of an array, in raw bytes.

    Raises:
        FileFormatError: ONNX has no such elements.
    """
    array = np.asarray(value)
    code = code_of(array.dtype)
    little = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return onnx.TensorProto(dims=array.shape, data_type=code, raw_data=little.tobytes(), name=name)
