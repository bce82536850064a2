"""Named arrays in files: a model's or optimizer's `state_dict`, as safetensors or NumPy's .npz. No pickle."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.core.tensor import Tensor
from tinygraph.errors import DTypeError, FileFormatError
from tinygraph.interop.atomic_files import replace_file
from tinygraph.interop.graphs.files import _in_file, _safetensors
from tinygraph.interop.graphs.values import plain_array

State = dict[str, np.ndarray[Any, Any]]


def save_state(state: Mapping[str, Any], path: str | Path) -> None:
    """Write named arrays or tensors: with the suffix .npz NumPy's format, with any other safetensors.

    Raises:
        DTypeError: a key is no string, or a value no array of numbers that the format can hold; all are checked first.
        OSError: the folder is missing or cannot be written.

    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_state({"weight": np.ones(2)}, f"{folder}/state.npz")
    ...     load_state(f"{folder}/state.npz")
    {'weight': array([1., 1.])}
    """
    path = Path(path)
    arrays = {_key(key): _array(key, value) for key, value in state.items()}
    if path.suffix == ".npz":
        replace_file(path, lambda part: _write_npz(part, arrays))
        return
    safetensors = _safetensors(path)
    for key, array in arrays.items():
        if key == "__metadata__" or array.dtype not in safetensors.numpy._TYPES.values():
            raise DTypeError(
                f"{path.name}: safetensors cannot hold {key!r} of dtype {array.dtype}; save as .npz"
            )
    replace_file(path, lambda part: safetensors.numpy.save_file(arrays, str(part)))


def load_state(path: str | Path) -> State:
    """Read the named arrays of a .npz or safetensors file.

    Raises:
        FileFormatError: the file is truncated, malformed, or holds a dtype that NumPy does not have (bfloat16).
        OSError: it cannot be opened.
    """
    path = Path(path)
    with _in_file(path), path.open("rb") as file:
        try:
            return _read_npz(file) if path.suffix == ".npz" else _read_safetensors(path)
        except (zipfile.BadZipFile, EOFError, ValueError, KeyError) as error:
            if isinstance(error, FileFormatError):
                raise
            raise FileFormatError(f"it cannot be read: {error}") from None


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise DTypeError(f"a state's keys are strings, but {key!r} is one of them")
    return key


def _array(key: str, value: Any) -> np.ndarray[Any, Any]:
    array = plain_array(value.detach().numpy() if isinstance(value, Tensor) else value)
    if array.dtype.kind not in "biufc":
        raise DTypeError(
            f"{key!r} is {type(value).__name__} of dtype {array.dtype}; a state holds arrays of numbers"
        )
    return array


def _write_npz(path: Path, arrays: State) -> None:
    # Not np.savez, whose own parameter names (file, arr_0) could not be keys.
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
        for key, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _read_npz(file: Any) -> State:
    found = np.load(file, allow_pickle=False)
    if not isinstance(found, np.lib.npyio.NpzFile):
        raise FileFormatError("it is one array, not an archive of named ones")
    with found:
        return {key: found[key] for key in found.files}


def _read_safetensors(path: Path) -> State:
    safetensors = _safetensors(path)
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 - no mapping
                dtype = file.get_slice(key).get_dtype()
                if dtype not in safetensors.numpy._TYPES:
                    raise FileFormatError(
                        f"{key!r} is {dtype}, which NumPy does not have; convert it to float32 first"
                    )
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping
    except safetensors.SafetensorError as error:
        raise FileFormatError(f"it is no safetensors file, or a truncated one: {error}") from None
