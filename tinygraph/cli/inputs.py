"""What saved graphs and models are run on: arrays from NumPy files, or random numbers of the types they take."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.core.types import ArrayType
from tinygraph.errors import DataError

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
        held = np.load(path, allow_pickle=False)
        return list(held.items()) if isinstance(held, np.lib.npyio.NpzFile) else [("", held)]
    except (ValueError, EOFError):
        raise DataError(
            f"{path.name} holds no plain arrays: inputs are .npy or .npz files, as numpy.save and numpy.savez write "
            f"them of numbers"
        ) from None
