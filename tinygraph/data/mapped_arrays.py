"""Arrays that stay in their file: only what is read of them is loaded, so that they may be larger than memory."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from tinygraph.core.types import Array
from tinygraph.errors import FileFormatError
from tinygraph.interop.reading import in_file

_LOCAL_HEADER = 30  # bytes of a zip member's own header before its name


def map_arrays(path: str | Path) -> dict[str, Array]:
    """The arrays of an NPZ archive that was saved without compression (`np.savez`), or of an NPY file, as "array".

    They are read-only and are read from the file when they are used: `TensorDataset(arrays["x"], arrays["y"])`.

    Raises:
        FileFormatError: no such archive, one that is compressed, or objects.
        OSError: it cannot be opened.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.savez(f"{folder}/data.npz", x=np.arange(3))
    ...     arrays = map_arrays(f"{folder}/data.npz")
    ...     arrays["x"].tolist(), type(arrays["x"]).__name__
    ([0, 1, 2], 'memmap')
    """
    path = Path(path)
    with path.open("rb") as file, in_file(path):
        if file.read(6) == np.lib.format.MAGIC_PREFIX:
            return {"array": _mapped(path, file, 0, path.stat().st_size)}
        found = {}
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if info.compress_type != zipfile.ZIP_STORED:
                    raise FileFormatError(
                        f"{info.filename} is compressed: save it with np.savez, not savez_compressed"
                    )
                file.seek(info.header_offset)
                header = file.read(_LOCAL_HEADER)
                name, extra = struct.unpack("<HH", header[26:30])
                start = info.header_offset + _LOCAL_HEADER + name + extra
                found[info.filename.removesuffix(".npy")] = _mapped(path, file, start, start + info.file_size)
        return found


def _mapped(path: Path, file: IO[bytes], start: int, end: int) -> Array:
    file.seek(start)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    if dtype.hasobject:
        raise FileFormatError("it holds Python objects, which are not read")
    size = int(np.prod(shape, dtype=object)) * dtype.itemsize
    if file.tell() + size > end:
        raise FileFormatError(f"it announces {size} bytes, and has {end - file.tell()}")
    if not size:  # nothing can be mapped
        return np.zeros(shape, dtype)
    return np.memmap(path, dtype, "r", file.tell(), shape, "F" if by_columns else "C")
