"""Layouts as data: images with channels last and a halo, weights in blocks of one vector. No code is generated here.

`Planes` is how convolutions see images: pixel after pixel, all channels of a pixel together, around each image a halo
of zeros as wide as the padding of whoever reads it. No kernel then checks bounds, and a row of a kernel meets
kernel-width times channels consecutive numbers.
"""

from __future__ import annotations

from typing import NamedTuple

from tinygraph.core.types import Array
from tinygraph.errors import ShapeError

ALIGNMENT = 64  # bytes: a cache line and the widest vector


class Planes(NamedTuple):
    """Images of shape (images, top + height + bottom, left + width + right, padded), or volumes of such slices.

    Attributes:
        height, width, channels: what is meaningful.
        padded: channels in memory; those beyond `channels` hold zeros, or what was made from zeros.
        halo: rows above and below, columns left and right.
        depth: slices of a volume.
        ends: slices of zeros before and behind these.
        apart: elements from one pixel to the next, where more channels lie between than these; else 0.
    """

    height: int
    width: int
    channels: int
    padded: int
    halo: tuple[int, int, int, int] = (0, 0, 0, 0)
    depth: int = 1
    ends: tuple[int, int] = (0, 0)
    apart: int = 0

    @property
    def pixel(self) -> int:
        """Elements from one pixel to the next."""
        return self.apart or self.padded

    @property
    def channel(self) -> int:
        """Elements from one channel to the next."""
        return 1

    @property
    def row(self) -> int:
        """Elements from one row to the next."""
        return (self.halo[2] + self.width + self.halo[3]) * self.pixel

    @property
    def slice(self) -> int:
        """Elements from one slice of a volume to the next."""
        return (self.halo[0] + self.height + self.halo[1]) * self.row

    @property
    def image(self) -> int:
        """Elements from one image to the next."""
        return (self.ends[0] + self.depth + self.ends[1]) * self.slice

    @property
    def origin(self) -> int:
        """Elements before the first pixel inside the halo."""
        return self.ends[0] * self.slice + self.halo[0] * self.row + self.halo[2] * self.pixel

    def group(self, channels: int) -> Planes:
        """So many of the channels as planes of their own."""
        return self._replace(channels=channels, padded=channels, apart=self.pixel)

    def shape(self, images: int) -> tuple[int, int, int, int]:
        """The shape of the array that holds so many images."""
        top, bottom, left, right = self.halo
        return images, top + self.height + bottom, left + self.width + right, self.padded

    def check_halo(
        self, needed: tuple[int, int, int, int], role: str, ends: tuple[int, int] = (0, 0)
    ) -> None:
        """Whether a kernel finds the halo that it reads, in its slices and at the ends of a volume.

        Raises:
            ShapeError: it does not.
        """
        for have, need, sides in (
            (self.halo, needed, "(top, bottom, left, right)"),
            (self.ends, ends, "(before, behind)"),
        ):
            if any(one < other for one, other in zip(have, need, strict=True)):
                raise ShapeError(f"the {role}'s halo is {have} {sides}; the convolution reads {need}")

    def interior(self, array: Array) -> Array:
        """The meaningful part of an array, as a view of shape (images, height, width, channels)."""
        top, _, left, _ = self.halo
        return array[:, top : top + self.height, left : left + self.width, : self.channels]


class Spread(NamedTuple):
    """Where a kernel finds numbers for the pixels and channels of images, if these are no planes of their own.

    Attributes:
        channel: elements from one channel to the next: 1, or 0 where one number serves all.
        pixel, row, slice, image: likewise; 0 where they all read the same.
        origin: elements before the first.
    """

    channel: int
    pixel: int = 0
    row: int = 0
    slice: int = 0
    image: int = 0
    origin: int = 0


def lanes_for(channels: int, lanes: int) -> int:
    """Lanes of the vectors that run over so many channels: a whole vector, or a smaller one of at least 4."""
    return min(lanes, max(4, 1 << (channels - 1).bit_length()))


def lanes_of(planes: Planes, lanes: int) -> int:
    """Lanes of the vectors that write these planes: they divide the channels in memory, or all fit one vector.

    Beside the channels of a group there are others, so that its last vector is cut off in any case.
    """
    width = lanes_for(planes.channels, lanes)
    if planes.apart:
        return width
    while planes.padded % width and width > 1 and planes.padded > width:
        width //= 2
    return width


def rounded_up(number: int, multiple: int) -> int:
    """The smallest multiple that is not less."""
    return -(-number // multiple) * multiple


def planes(
    height: int, width: int, channels: int, lanes: int, halo: tuple[int, int, int, int] = (0, 0, 0, 0)
) -> Planes:
    """Planes whose channels are padded to whole vectors of a cpu with so many lanes."""
    return Planes(height, width, channels, rounded_up(channels, lanes_for(channels, lanes)), halo)
