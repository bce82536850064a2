"""Readers for users' own data: NPZ archives, IDX files (MNIST's format) and CIFAR's binary batches.

Each checks what it reads and says what is wrong with a file; none runs code found in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path

import numpy as np

from tinygraph.core.types import Array
from tinygraph.data.dataset import TensorDataset
from tinygraph.errors import DataError, FileFormatError
from tinygraph.interop.reading import read_archive, read_bytes, refusing, unpacked

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_CIFAR_PIXELS = 3 * 32 * 32


def read_npz(path: str | Path, *, x: str = "x", y: str = "y") -> TensorDataset:
    """Inputs and labels from an NPZ archive, as `np.savez(path, x=..., y=...)` writes it.

    Args:
        path: the file.
        x, y: the names of the inputs and of the labels in it; labels may be words.

    Raises:
        FileFormatError: no such file, no readable archive, a name that is not there, or pickled objects.
        DataError: inputs and labels of different lengths, or inputs that are not finite numbers.
    """
    path = _existing(path)
    with _refused(f"{path} is no readable NPZ archive"), path.open("rb") as file:
        archive = read_archive(file, lambda held: _chosen((x, y), held))
    inputs, labels = archive[x], archive[y]
    for name, array in ((x, inputs), (y, labels)):
        if array.dtype.kind not in ("biuf" if name == x else "biufU"):
            raise DataError(f"array {name!r} of {path} has dtype {array.dtype}; real numbers are needed")
        check_finite(array, f"array {name!r} of {path}")
    return TensorDataset(inputs, labels)


def _chosen(wanted: Sequence[str], held: Sequence[str]) -> Sequence[str]:
    for name in wanted:
        if name not in held:
            raise FileFormatError(f"it has no array {name!r}; it holds {', '.join(held) or 'nothing'}")
    return wanted


def read_idx(path: str | Path) -> Array:
    """The array of an IDX file, the format of MNIST; also compressed with gzip.

    Raises:
        FileFormatError: no such file, another format, or more or fewer bytes than the header announces.
    """
    path = _existing(path)
    content = _bytes(path)
    if len(content) < 4 or content[0] or content[1] or content[2] not in _IDX_DTYPES:
        raise FileFormatError(
            f"{path} is no IDX file: it starts with {content[:4].hex(' ') or 'nothing'}, where two zero bytes, a type "
            f"code and a rank are expected"
        )
    dtype, rank = np.dtype(_IDX_DTYPES[content[2]]), content[3]
    start = 4 + 4 * rank
    if len(content) < start:
        raise FileFormatError(f"{path} ends within its header: {start} bytes expected, {len(content)} found")
    shape = tuple(int.from_bytes(content[4 + 4 * i : 8 + 4 * i], "big") for i in range(rank))
    expected, found = prod(shape) * dtype.itemsize, len(content) - start
    if found != expected:
        fault = "truncated" if found < expected else "too long"
        raise FileFormatError(
            f"{path} is {fault}: its header announces {dtype.name}{list(shape)}, {expected} bytes of data; it "
            f"has {found}"
        )
    with _refused(f"{path} announces {rank} axes"):  # more than NumPy has, or sizes beyond any memory
        array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


def read_idx_folder(folder: str | Path) -> tuple[TensorDataset, TensorDataset]:
    """Training and test data from a folder with MNIST's four file names, compressed or not.

    Returns:
        training and test data: images (n, 1, height, width) float32 in [0, 1], labels (n,) int64.

    Raises:
        FileFormatError: a file that is missing or unreadable.
        DataError: images and labels of different lengths.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileFormatError(f"{folder} is no folder")
    train = _idx_pair(folder, "train")
    test = _idx_pair(folder, "t10k")
    return train, test


def _idx_pair(folder: Path, part: str) -> TensorDataset:
    images = read_idx(_find(folder, f"{part}-images", 3))
    labels = read_idx(_find(folder, f"{part}-labels", 1))
    if images.ndim != 3 or images.dtype != np.uint8 or labels.ndim != 1:
        raise FileFormatError(
            f"the {part} files of {folder} hold {images.dtype}{list(images.shape)} and {labels.dtype}"
            f"{list(labels.shape)}; images must be bytes (n, height, width), labels (n,)"
        )
    return TensorDataset((images[:, None] / np.float32(255)).astype(np.float32), labels.astype(np.int64))


def _find(folder: Path, stem: str, rank: int) -> Path:
    names = [f"{stem}-idx{rank}-ubyte", f"{stem}.idx{rank}-ubyte"]
    for name in [*names, *(f"{name}.gz" for name in names)]:
        if (folder / name).is_file():
            return folder / name
    raise FileFormatError(f"{folder} has no file {names[0]} or {names[0]}.gz")


def read_cifar(paths: str | Path | Sequence[str | Path], *, classes: int = 10) -> TensorDataset:
    """Images and labels from CIFAR's binary batches.

    Args:
        paths: a file such as data_batch_1.bin, or several.
        classes: 10, or 100, whose records have a coarse label before the fine one that is read.

    Returns:
        images (n, 3, 32, 32) float32 in [0, 1], labels (n,) int64.

    Raises:
        FileFormatError: no such file, one that is not a whole number of records, or a label out of range.
    """
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    header = 2 if classes == 100 else 1
    record = header + _CIFAR_PIXELS
    rows = []
    for path in map(_existing, files):
        content = _bytes(path)
        if not content or len(content) % record:
            raise FileFormatError(
                f"{path} has {len(content)} bytes; CIFAR-{classes} batches are a whole number of records of {record}"
            )
        rows.append(np.frombuffer(content, np.uint8).reshape(-1, record))
        largest = int(rows[-1][:, header - 1].max())
        if largest >= classes:
            raise FileFormatError(
                f"{path} has the label {largest}, but CIFAR-{classes} has 0 to {classes - 1}"
            )
    if not rows:
        raise DataError("read_cifar got no files")
    table = np.concatenate(rows)
    images = (table[:, header:].reshape(-1, 3, 32, 32) / np.float32(255)).astype(np.float32)
    return TensorDataset(images, table[:, header - 1].astype(np.int64))


def check_finite(array: Array, what: str) -> None:
    """Raise DataError if an array holds NaN or infinity, saying where first."""
    if array.dtype.kind not in "fc":
        return
    bad = ~np.isfinite(array)
    if bad.any():
        first = tuple(map(int, np.argwhere(bad)[0]))
        raise DataError(
            f"{what} holds {int(bad.sum())} value(s) that are not finite, the first, {array[first]}, at {list(first)}"
        )


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.is_file():
        raise FileFormatError(f"there is no file {path}" if not path.exists() else f"{path} is no file")
    return path


def _bytes(path: Path) -> bytes:
    with _refused(f"{path} cannot be read"):
        content = read_bytes(path)
        return unpacked(content) if content[:2] == b"\x1f\x8b" else content


@contextmanager
def _refused(says: str) -> Iterator[None]:
    """What is wrong with a file, and whatever is raised while it is read, as one FileFormatError."""
    try:
        with refusing(says):
            yield
    except OSError as error:
        raise FileFormatError(f"{says}: {error}") from error
    except FileFormatError as error:
        message = str(error)
        raise FileFormatError(
            message if message.startswith(says) else f"{says}: {message}"
        ) from error.__cause__
