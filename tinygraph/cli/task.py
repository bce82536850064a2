"""What is to be learnt: images with labels, checked, scaled and split into training, validation and test sets.

Reading files is `tinygraph.data`'s; training is `experiment`'s.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tinygraph.core.types import Array
from tinygraph.errors import DataError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

LEAST_OF_A_CLASS = 3  # one image for each set
MOST_CLASSES = 1000


class Labelled(NamedTuple):
    """Images (count, channels, rows, columns) in float32, and the number of each one's class."""

    images: Array
    labels: Array

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Array) -> Labelled:
        """Some of them."""
        return Labelled(self.images[places], self.labels[places])


@dataclass(frozen=True)
class Task:
    """Three sets of images of the same classes; `scaling` says in words what was done to the pixels."""

    subject: str
    classes: tuple[str, ...]
    scaling: str
    training: Labelled
    validation: Labelled
    test: Labelled

    @property
    def sets(self) -> dict[str, Labelled]:
        return {"training": self.training, "validation": self.validation, "test": self.test}

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: channels, rows, columns."""
        return tuple(self.training.images.shape[1:])


def make_task(
    subject: str,
    images: Numeric,
    labels: object,
    *,
    test_images: object = None,
    test_labels: object = None,
    test: float = 0.2,
    validation: float = 0.1,
    seed: int = 0,
) -> Task:
    """Check, scale and split; the splits keep the share of every class and depend on the seed alone.

    Args:
        images: (count, rows, columns) or (count, channels, rows, columns), integers or floats.
        labels: one per image, integers or words.
        test_images, test_labels: a test set of its own; otherwise the share `test` of the images is set aside.
        validation: the share of what is not for testing that is set aside to watch the training.

    Raises:
        DataError: shapes that do not fit, non-finite pixels, fewer than two classes, or too few images of one.
    """
    pixels, named = _checked_images(images, "images"), _checked_labels(labels, len(images), "labels")
    classes, numbers = np.unique(named, return_inverse=True)
    _check_classes(classes, numbers)
    generator = np.random.default_rng(seed)
    if test_images is None:
        rest, tested = _split(numbers, test, generator)
        test_pixels, test_numbers = pixels[tested], numbers[tested]
    else:
        rest = np.arange(len(numbers))
        test_pixels, test_numbers = _own_test_set(pixels, classes, test_images, test_labels)
    kept, watched = _split(numbers[rest], validation, generator)
    low, high = _pixel_range(pixels[rest])

    def scaled(some: Array, their_numbers: Array) -> Labelled:
        return Labelled((some.astype(np.float32) - low) / (high - low), their_numbers.astype(np.int64))

    return Task(
        subject,
        tuple(map(str, classes)),
        "Pixels run from 0 to 1" + (f", scaled from {low:g} to {high:g}" if (low, high) != (0, 1) else ""),
        scaled(pixels[rest[kept]], numbers[rest[kept]]),
        scaled(pixels[rest[watched]], numbers[rest[watched]]),
        scaled(test_pixels, test_numbers),
    )


def _checked_images(images: object, name: str) -> Array:
    pixels = np.asarray(images)
    if pixels.dtype.kind not in "biuf":
        raise DataError(f"{name} must hold numbers, but their dtype is {pixels.dtype}")
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim != 4:
        raise DataError(
            f"{name} must have the shape (count, rows, columns) or (count, channels, rows, columns), but got "
            f"{pixels.shape}; reshape them before saving"
        )
    if pixels.shape[1] > 4 and pixels.shape[3] in (1, 3, 4):
        raise DataError(
            f"{name} of shape {pixels.shape} look like channels last; channels come first here: "
            f"images.transpose(0, 3, 1, 2)"
        )
    if 0 in pixels.shape:
        raise DataError(f"{name} are empty: shape {pixels.shape}")
    finite = np.isfinite(pixels).all(axis=(1, 2, 3))
    if not finite.all():
        raise DataError(
            f"{name}[{int(np.argmin(finite))}] holds a value that is not finite (NaN or infinity)"
        )
    return pixels


def _checked_labels(labels: object, count: int, name: str) -> Array:
    named = np.asarray(labels)
    if named.ndim == 2 and named.shape[1] == 1:
        named = named[:, 0]
    if named.shape != (count,):
        raise DataError(f"{name} must be one per image, of shape ({count},), but got {named.shape}")
    if named.dtype.kind == "f" and (not np.isfinite(named).all() or (named % 1 != 0).any()):
        raise DataError(f"{name} must be classes, but hold fractions: {named[:5]} ...")
    return named.astype(np.int64) if named.dtype.kind in "bf" else named


def _check_classes(classes: Array, numbers: Array) -> None:
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise DataError(f"the labels hold {len(classes)} classes; there must be 2 to {MOST_CLASSES}")
    counts = np.bincount(numbers)
    if counts.min() < LEAST_OF_A_CLASS:
        rarest = int(np.argmin(counts))
        raise DataError(
            f"class {classes[rarest]} has {counts[rarest]} image(s); each needs at least {LEAST_OF_A_CLASS}, to be in "
            f"the training, validation and test sets"
        )


def _own_test_set(
    pixels: Array, classes: Array, test_images: object, test_labels: object
) -> tuple[Array, Array]:
    tested = _checked_images(test_images, "test images")
    if tested.shape[1:] != pixels.shape[1:]:
        raise DataError(f"test images have the shape {tested.shape[1:]}, training images {pixels.shape[1:]}")
    named = _checked_labels(test_labels, len(tested), "test labels")
    strange = np.setdiff1d(named, classes)
    if len(strange):
        raise DataError(
            f"test labels hold classes that no training image has: {', '.join(map(str, strange[:5]))}"
        )
    return tested, np.searchsorted(classes, named)


def _split(numbers: Array, share: float, generator: np.random.Generator) -> tuple[Array, Array]:
    """Places of those that stay and of those set aside: the same share of every class, at least one of each."""
    aside = []
    for number in np.unique(numbers):
        places = generator.permutation(np.flatnonzero(numbers == number))
        aside.append(places[: min(max(1, round(share * len(places))), len(places) - 1)])
    chosen = np.sort(np.concatenate(aside))
    return np.setdiff1d(np.arange(len(numbers)), chosen), chosen


def _pixel_range(pixels: Array) -> tuple[float, float]:
    """What is scaled to 0 and 1: all of uint8, otherwise the extremes found."""
    low, high = (0.0, 255.0) if pixels.dtype == np.uint8 else (float(pixels.min()), float(pixels.max()))
    if low == high:
        raise DataError(f"all pixels of the training images are {low:g}: there is nothing to learn from")
    return low, high
