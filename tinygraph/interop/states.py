"""Named arrays in files: a model's or optimizer's `state_dict`, as safetensors, NumPy's .npz or PyTorch's weight file.

Nothing in a file is run: PyTorch's, which are pickles, are read by a machine of our own.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.core.tensor import Tensor
from tinygraph.errors import DTypeError
from tinygraph.interop import pickled_weights
from tinygraph.interop.atomic_files import replace_file
from tinygraph.interop.graphs.values import encode_text, plain_array
from tinygraph.interop.reading import check_regular, in_file, read_archive
from tinygraph.interop.safetensors_files import holds, opened_tensors, write_tensors
from tinygraph.interop.suffixes import check_loaded, check_saved

WEIGHTS = (".pt", ".pth")
SUFFIXES = (".safetensors", ".npz", *WEIGHTS)
LONGEST_KEY = 60_000  # bytes: what a member of a zip archive can be called

State = dict[str, np.ndarray[Any, Any]]


def save_state(state: Mapping[str, Any], path: str | Path) -> None:
    """Write named arrays or tensors: with the suffix .npz NumPy's format, with .safetensors or none safetensors, with
    .pt or .pth what `torch.load` reads.

    Raises:
        DTypeError: a key is no string, or a value no array of numbers that the format can hold; all are checked first.
        FileFormatError: another suffix, which promises another format.
        OSError: the folder is missing or cannot be written.

    >>> import tempfile, numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_state({"weight": np.ones(2)}, f"{folder}/state.npz")
    ...     load_state(f"{folder}/state.npz")
    {'weight': array([1., 1.])}
    """
    path = Path(path)
    suffix = check_state_path(path)
    arrays = {_key(key): _array(key, value) for key, value in state.items()}
    if suffix == ".npz":
        replace_file(path, lambda part: _write_npz(part, arrays))
        return
    if suffix in WEIGHTS:
        for key, array in arrays.items():
            if not pickled_weights.holds(array.dtype):
                raise DTypeError(f"{path.name}: PyTorch's files cannot hold {key!r} of dtype {array.dtype}")
        replace_file(path, lambda part: pickled_weights.write_weights(part, arrays))
        return
    for key, array in arrays.items():
        if key == "__metadata__" or not holds(path, array.dtype):
            raise DTypeError(
                f"{path.name}: safetensors cannot hold {key!r} of dtype {array.dtype}; save as .npz"
            )
    write_tensors(path, arrays)


def check_state_path(path: str | Path) -> str:
    """The suffix of a file that a state will be saved to, so that a wrong one is refused before hours of training.

    Raises:
        FileFormatError: its name promises another format.
    """
    return check_saved(Path(path), "a state", SUFFIXES)


def load_state(path: str | Path) -> State:
    """Read the named arrays of a .npz or safetensors file, or of PyTorch's weights (.pt, .pth), without running code.

    Of PyTorch's files names in nested containers are joined with dots; bfloat16 becomes float32.

    Raises:
        FileFormatError: the file is truncated, malformed, unpacks to far more than its size lets expect, or holds a
            dtype that NumPy does not have (bfloat16); or another program's files are called so.
        OSError: it cannot be opened.
    """
    path = Path(path)
    with in_file(path):
        if path.suffix.lower() in WEIGHTS:
            return pickled_weights.read_weights(path)
        if check_loaded(path, "a state") == ".npz":
            check_regular(path)
            with path.open("rb") as file:
                return read_archive(file)
        with opened_tensors(path) as file:
            return {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - no mapping


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise DTypeError(f"a state's keys are strings, but {key!r} is one of them")
    if len(encode_text(key).encode()) > LONGEST_KEY or "\0" in key:
        raise DTypeError(f"the key {key!r:.60} is longer than {LONGEST_KEY} bytes, or holds a null character")
    return key


def _array(key: str, value: object) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ma.MaskedArray):
        raise DTypeError(
            f"{key!r} is a masked array, whose mask would be lost; save its data, filled, and its mask"
        )
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
