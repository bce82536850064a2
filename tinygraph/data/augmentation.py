"""Augmentation of images as arrays (channels, rows, columns): `transform(image, rng)`, for `Transformed` datasets.

Each draws from the generator that it is given alone, so that a seed repeats it in any order and any process.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.core.types import Array
from tinygraph.errors import SettingError, ShapeError

Transform = Callable[[Array, np.random.Generator], Array]


def on_images(*transforms: Transform) -> Callable[[Any, np.random.Generator], Any]:
    """Transforms, one after another, of the first part of each sample: (image, label) stays (image, label).

    >>> change = on_images(random_flip(), normalize([0.5], [0.5]))
    >>> change((np.ones((1, 2, 2)), 3), np.random.default_rng(0))[1]
    3
    """

    def transform(sample: Any, rng: np.random.Generator) -> Any:
        image, *rest = sample
        for one in transforms:
            image = one(image, rng)
        return (image, *rest)

    return transform


def random_crop(size: int | tuple[int, int], padding: int = 0) -> Transform:
    """A part of an image, after zeros have been put around it.

    Args:
        size: (rows, columns) of the part, or one number for both.
        padding: rows and columns of zeros on each side.

    Raises:
        ShapeError: an image smaller than the part.
    """
    rows, columns = (size, size) if isinstance(size, int) else size

    def transform(image: Array, rng: np.random.Generator) -> Array:
        padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
        spare = padded.shape[1] - rows, padded.shape[2] - columns
        if min(spare) < 0:
            raise ShapeError(
                f"random_crop: an image {image.shape} with {padding} around has no part {(rows, columns)}"
            )
        top, left = (int(rng.integers(one + 1)) for one in spare)
        return padded[:, top : top + rows, left : left + columns]

    return transform


def random_flip(p: float = 0.5) -> Transform:
    """An image, mirrored left to right with the probability `p`."""
    if not 0 <= p <= 1:
        raise SettingError(f"random_flip: p={p} must be a probability")

    def transform(image: Array, rng: np.random.Generator) -> Array:
        return np.ascontiguousarray(image[:, :, ::-1]) if rng.random() < p else image

    return transform


def normalize(mean: Sequence[float], std: Sequence[float]) -> Transform:
    """(image - mean) / std, a number for each channel.

    >>> normalize([0.5], [0.25])(np.ones((1, 1, 2)), np.random.default_rng(0))
    array([[[2., 2.]]])
    """

    def transform(image: Array, rng: np.random.Generator) -> Array:
        centre, scale = (np.reshape(one, (-1, 1, 1)).astype(image.dtype) for one in (mean, std))
        return np.asarray((image - centre) / scale)

    return transform
