"""Reading files that may be damaged or hostile: libraries' errors become FileFormatError, unpacking has a bound.

What is in the files is known elsewhere.
"""

from __future__ import annotations

import errno
import gzip
import io
import math
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from tinygraph.core.types import Array
from tinygraph.errors import FileFormatError, StateDictError

MOST_BYTES = 2_000_000_000  # of a text
# A small file may unpack to this much, a large one to so many times its size: zeros shrink to a thousandth.
MOST_UNPACKED = 2**27
MOST_RATIO = 100


@contextmanager
def refusing(says: str) -> Iterator[None]:
    """Turn whatever a library raises about the content of a file into a FileFormatError that begins with `says`.

    Missing files, missing packages and Ctrl-C pass through.
    """
    try:
        yield
    except (FileFormatError, StateDictError, ImportError):
        raise
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # these are how decompressors and seeks put it
            raise
        raise FileFormatError(f"{says}: {error}") from error
    except MemoryError as error:
        raise FileFormatError(f"{says}: it takes more memory than there is") from error
    except RecursionError as error:
        raise FileFormatError(f"{says}: it is nested too deeply") from error
    except Exception as error:
        raise FileFormatError(f"{says}: {str(error) or type(error).__name__}") from error


@contextmanager
def in_file(path: Path) -> Iterator[None]:
    """Name the file in what is refused in this block."""
    try:
        with refusing("it cannot be read"):
            yield
    except FileFormatError as error:
        raise FileFormatError(f"{path.name}: {error}") from error.__cause__


def read_bytes(path: Path) -> bytes:
    """The content of a regular file.

    Raises:
        FileFormatError: it is a device or pipe, whose content may never end, or longer than `MOST_BYTES`.
        OSError: it cannot be opened.
    """
    check_regular(path)  # first: opening a pipe waits for whoever writes to it
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size > MOST_BYTES:
            raise FileFormatError(f"it is longer than {MOST_BYTES} bytes")
        return file.read()


def check_regular(path: Path) -> None:
    """Raise FileFormatError if what stands at a path is a device or pipe."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise FileFormatError("it is no regular file")


def read_text(path: Path) -> str:
    """The content of a regular file in UTF-8.

    Raises:
        FileFormatError: as `read_bytes`, or it is no text.
        OSError: it cannot be opened.
    """
    try:
        return read_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise FileFormatError(f"it is no text in UTF-8: {error}") from None


def unpacked(content: bytes) -> bytes:
    """What gzip packed.

    Raises:
        FileFormatError: that is far more than the content lets expect.
    """
    most = most_unpacked(len(content))
    found = bytearray()
    with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
        while part := file.read(2**20):
            found += part
            if len(found) > most:
                raise FileFormatError(
                    f"its {len(content)} bytes unpack to more than {most}: a file made to fill memory"
                )
    return bytes(found)


def read_archive(
    file: IO[bytes], choose: Callable[[Sequence[str]], Sequence[str]] = tuple
) -> dict[str, Array]:
    """The arrays of an NPZ archive by name.

    Args:
        choose: which of the names are read; all by default.

    Raises:
        FileFormatError: it is no such archive, holds objects, or unpacks to far more than its size lets expect.
    """
    if file.read(6) == np.lib.format.MAGIC_PREFIX:
        raise FileFormatError("it is one array (NPY), not an archive of named ones (NPZ)")
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        chosen = {name: members[name] for name in choose(tuple(members))}
        total = sum(info.file_size for info in chosen.values())
        if total > most_unpacked(size):
            raise FileFormatError(
                f"its {size} bytes unpack to {total}: a file made to fill memory, or one to be written anew by "
                f"np.savez, without compression"
            )
        return {name: _member(archive, name, info) for name, info in chosen.items()}


def names_in_archive(path: Path) -> tuple[str, ...]:
    """The names of the arrays of an NPZ archive; none of a file that is no archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(name.removesuffix(".npy") for name in archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return ()


def _member(archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo) -> Array:
    where = f"array {name!r:.60}"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileFormatError(f"{where} is compressed in a way that NumPy does not use")
    with refusing(where), archive.open(info) as stream:
        return read_array(stream, info.file_size)


def read_array(stream: IO[bytes], size: int) -> Array:
    """The array in a stream of `size` bytes in NumPy's NPY format, of numbers, texts or records.

    Raises:
        FileFormatError: the header announces another number of bytes than there are, or Python objects.
    """
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0)):
        raise FileFormatError(
            f"it is version {version[0]}.{version[1]} of the NPY format; 1.0 and 2.0 are read"
        )
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_columns, dtype = header(stream)
    if dtype.hasobject:
        raise FileFormatError("Object arrays are pickled Python objects, which are not read")
    announced, found = math.prod(shape) * dtype.itemsize, size - stream.tell()
    if announced != found or min(shape, default=0) < 0:
        raise FileFormatError(
            f"it has {found} bytes, but its header announces {dtype}{list(shape)}, {announced} bytes"
        )
    values = np.frombuffer(stream.read(announced), dtype)
    return values.reshape(shape, order="F" if in_columns else "C").copy(order="K")


def most_unpacked(size: int) -> int:
    return max(MOST_UNPACKED, MOST_RATIO * size)
