"""safetensors files: named arrays behind a header of JSON. The package is imported on use."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.errors import FileFormatError
from tinygraph.interop.atomic_files import replace_file
from tinygraph.interop.reading import check_regular

INSTALL = "pip install safetensors"


def holds(path: Path, dtype: np.dtype[Any]) -> bool:
    """Whether the format has a dtype.

    Raises:
        ImportError: safetensors is not installed.
    """
    return dtype in _library(path).numpy._TYPES.values()


def write_tensors(path: Path, arrays: Mapping[str, Any], metadata: dict[str, str] | None = None) -> None:
    """Write named arrays, each in C order and this machine's byte order, replacing the file as a whole.

    Raises:
        ImportError: safetensors is not installed.
        OSError: the folder is missing or cannot be written.
    """
    library = _library(path)

    def write(part: Path) -> None:
        try:
            library.numpy.save_file(dict(arrays), str(part), metadata)
        except library.SafetensorError as error:  # a disk that is full, in its words
            raise OSError(errno.EIO, str(error), str(part)) from error

    replace_file(path, write)


@contextmanager
def opened_tensors(path: Path) -> Iterator[Any]:
    """An open file, with `.metadata()`, `.keys()` and `.get_tensor(key)`.

    Raises:
        FileFormatError: it is no safetensors file, or a truncated one, or a tensor has a dtype that NumPy lacks.
        ImportError, OSError: safetensors is not installed; the file cannot be opened.
    """
    library = _library(path)
    check_regular(path)
    with path.open("rb"):  # the reasons why a file cannot be opened, in Python's words
        pass
    try:
        with library.safe_open(str(path), framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 - no mapping
                dtype = file.get_slice(key).get_dtype()
                if dtype not in library.numpy._TYPES:
                    raise FileFormatError(
                        f"{key!r:.60} is {dtype}, which NumPy does not have; convert it to float32 first"
                    )
            yield file
    except library.SafetensorError as error:
        raise FileFormatError(f"it is no safetensors file, or a truncated one: {error}") from None


def _library(path: Path) -> Any:
    try:
        import safetensors
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            f"{path.name}: files of this kind need safetensors: {INSTALL}, or save to a path that ends in "
            f"{'.npz' if path.suffix == '.npz' else '.json (graphs) or .npz (states)'}"
        ) from None
    return safetensors
