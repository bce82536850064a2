"""What saved graphs and models are run on: arrays from NumPy files, or random numbers of the types they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.core.types import ArrayType
from tinygraph.errors import DataError, FileFormatError
from tinygraph.interop.reading import in_file, read_archive, read_array

SEED = 0


def random_inputs(types: Sequence[ArrayType]) -> tuple[Any, ...]:
    """Normal numbers, the same each time; of whole numbers 0 and 1, which are labels and indices of anything."""
    rng = np.random.default_rng(SEED)
    return tuple(
        rng.integers(0, 2, one.shape).astype(one.dtype)
        if one.dtype.kind in "biu"
        else rng.normal(size=one.shape).astype(one.dtype)
        for one in types
    )


def read_inputs(paths: Sequence[Path], names: Sequence[str | None]) -> tuple[Any, ...]:
    """The arrays of .npy files, and of .npz archives: by the names of the inputs if they have those, else in order.

    Raises:
        DataError: a file holds no plain arrays.
    """
    found = [item for path in paths for item in _arrays(path)]
    named = dict(found)
    if names and set(names) <= named.keys():
        return tuple(named[str(name)] for name in names)
    return tuple(array for _, array in found)


def _arrays(path: Path) -> list[tuple[str, Any]]:
    try:
        with in_file(path), path.open("rb") as file:
            packed = file.read(2) == b"PK"
            file.seek(0)
            return (
                list(read_archive(file).items()) if packed else [("", read_array(file, path.stat().st_size))]
            )
    except FileFormatError as error:
        raise DataError(
            f"{path.name} holds no plain arrays: inputs are .npy or .npz files, as numpy.save and numpy.savez write "
            f"them of numbers ({error})"
        ) from None
