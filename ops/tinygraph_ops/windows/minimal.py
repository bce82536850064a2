"""Winograd's minimal filtering F(4x4, 3x3) on NumPy: 3x3 convolutions and their adjoints as few large matrix products.

A tile of 4x4 outputs is Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A, with d a 6x6 patch of the input and g the kernel: a quarter of the
multiplications (Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", 2016). The two-sided transforms of
all patches are one product with kron(B, B), and the sums over channels are 36. Rounding: in float32 below 3e-5 of the
largest result, as that of the generated kernels of the same name.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from math import ceil, prod
from typing import Any

import numpy as np

from tinygraph.plugin import Array
from tinygraph_ops.windows.geometry import Geometry
from tinygraph_ops.windows.sliding import Scratch, mirrored, mirrored_kernel

_B = np.array([
    [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
])  # fmt: skip
_G = np.array([
    [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
    [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
])  # fmt: skip
_A = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
# of patches, kernels and outputs, along both axes at once; transposed they are those of gradients
_PATCHES, _KERNELS, _OUTPUTS = (np.kron(one, one).astype(np.float32) for one in (_B, _G, _A))
_OUT, _PATCH = 4, 6
_FEWEST_CHANNELS = 32  # fewer, and the transforms cost more than they save
_LEAST_PIXELS = 12  # fewer outputs an image, and most of a tile is thrown away
_BLOCK_ELEMENTS = 1_000_000  # of the transforms that are held at a time


def serves(geometry: Geometry, dtype: np.dtype[Any]) -> bool:
    """Whether a convolution is of the kind that this is for, and large enough to gain by it."""
    plain = (geometry.size, geometry.stride, geometry.dilation, geometry.groups) == (
        (3, 3),
        (1, 1),
        (1, 1),
        1,
    )
    channels = min(geometry.x_shape[1], geometry.output_shape[1])
    if not plain or dtype != np.float32 or channels < _FEWEST_CHANNELS or not geometry.x_shape[0]:
        return False
    padded = [size + sum(pads) for size, pads in zip(geometry.x_shape[2:], geometry.padding, strict=True)]
    fitting = tuple(size - 2 for size in padded) == geometry.output_shape[2:]
    narrow = all(0 <= pad <= 2 for pads in geometry.padding for pad in pads)
    return fitting and narrow and min(padded) > 2 and prod(geometry.output_shape[2:]) >= _LEAST_PIXELS


def convolve(
    x: Array, kernel: Array, geometry: Geometry, out: Array | None = None, scratch: Scratch | None = None
) -> Array:
    """As `sliding.convolve`."""
    scratch = scratch or Scratch(np.dtype(np.float32))
    out = np.empty(geometry.output_shape, np.float32) if out is None else out
    weights = _transformed_kernel(kernel, scratch)
    for tiles in _blocks(geometry):
        seen = tiles.seen(x, scratch)
        products = scratch.array("products", (_PATCH**2, out.shape[1], tiles.count))
        np.matmul(weights, seen, out=products)
        made = scratch.array("made", (_OUT**2, products[0].size))
        tiles.write(np.matmul(_OUTPUTS, products.reshape(_PATCH**2, -1), out=made), out)
    return out


def convolve_input_gradient(
    g: Array, kernel: Array, geometry: Geometry, out: Array | None = None, scratch: Scratch | None = None
) -> Array:
    """As `sliding.convolve_input_gradient`: the convolution with the mirrored kernel."""
    return convolve(g, mirrored_kernel(kernel, geometry), mirrored(geometry), out, scratch)


def convolve_kernel_gradient(
    g: Array, x: Array, geometry: Geometry, out: Array | None = None, scratch: Scratch | None = None
) -> Array:
    """As `sliding.convolve_kernel_gradient`: 36 sums over all tiles, transformed back once."""
    scratch = scratch or Scratch(np.dtype(np.float32))
    out = np.empty(geometry.kernel_shape, np.float32) if out is None else out
    outputs, inputs = geometry.kernel_shape[:2]
    total = scratch.array("total", (_PATCH**2, outputs, inputs))
    total.fill(0)
    for tiles in _blocks(geometry):
        seen = tiles.seen(x, scratch)
        given = tiles.gathered(g, scratch)
        spread = scratch.array("spread", (_PATCH**2, given[0].size))
        np.matmul(_OUTPUTS.T, given.reshape(_OUT**2, -1), out=spread)
        part = scratch.array("part", total.shape)
        by_tiles = spread.reshape(_PATCH**2, outputs, tiles.count)
        total += np.matmul(by_tiles, seen.swapaxes(1, 2), out=part)
    taps = scratch.array("taps", (9, outputs * inputs))
    np.matmul(_KERNELS.T, total.reshape(_PATCH**2, -1), out=taps)
    np.copyto(out, np.moveaxis(taps.reshape(3, 3, outputs, inputs), (0, 1), (2, 3)))
    return out


@lru_cache(maxsize=256)
def scratch_sizes(function: Any, geometry: Geometry) -> dict[str, int]:
    """The elements of each scratch array, found by running the largest block on zeros."""
    if function is convolve_input_gradient:
        function, geometry = convolve, mirrored(geometry)
    block = next(_blocks(geometry)).alone()
    shapes = (
        (block.x_shape, block.kernel_shape) if function is convolve else (block.output_shape, block.x_shape)
    )
    scratch = Scratch(np.dtype(np.float32))
    function(*(np.broadcast_to(np.float32(0), shape) for shape in shapes), block, None, scratch)
    return {use: buffer.size for use, buffer in scratch.buffers.items()}


def _transformed_kernel(kernel: Array, scratch: Scratch) -> Array:
    """G g Gᵀ of every pair of channels: (36, outputs, inputs)."""
    outputs, inputs = kernel.shape[:2]
    taps = scratch.array("taps", (3, 3, outputs, inputs))
    np.copyto(taps, np.moveaxis(kernel, (2, 3), (0, 1)))
    made = scratch.array("weights", (_PATCH**2, outputs * inputs))
    return np.matmul(_KERNELS, taps.reshape(9, -1), out=made).reshape(-1, outputs, inputs)


class _TileRows:
    """Tiles that pass together: some rows of them, of some images."""

    def __init__(self, geometry: Geometry, images: slice, rows: slice) -> None:
        self.geometry, self.images, self.rows = geometry, images, rows
        self.columns = ceil(geometry.output_shape[3] / _OUT)
        self.shape = images.stop - images.start, rows.stop - rows.start, self.columns
        self.count = self.shape[0] * self.shape[1] * self.shape[2]

    def alone(self) -> Geometry:
        """A convolution of so many images and rows."""
        height = min(self.shape[1] * _OUT, self.geometry.output_shape[2])
        (_, inputs, _, width), (_, outputs, _, wide) = self.geometry.x_shape, self.geometry.output_shape
        pads = self.geometry.padding
        return Geometry(
            (self.shape[0], inputs, height + 2, width), (self.shape[0], outputs, height, wide), (3, 3), (1, 1),
            ((0, 0), pads[1]), (1, 1),
        )  # fmt: skip

    def seen(self, x: Array, scratch: Scratch) -> Array:
        """Bᵀ d B of all patches: (36, inputs, tiles)."""
        images, rows, columns = self.shape
        inputs, (above, left) = x.shape[1], (pads[0] for pads in self.geometry.padding)
        padded = scratch.array("padded", (images, inputs, rows * _OUT + 2, columns * _OUT + 2))
        padded.fill(0)
        first = self.rows.start * _OUT - above  # the row of x that the first of the patches' rows is
        start, stop = max(0, first), min(x.shape[2], first + padded.shape[2])
        width = min(x.shape[3], padded.shape[3] - left)
        inside = padded[:, :, start - first : stop - first, left : left + width]
        inside[...] = x[self.images, :, start:stop, :width]
        patches = scratch.array("patches", (_PATCH, _PATCH, inputs, *self.shape))
        for i in range(_PATCH):
            for j in range(_PATCH):
                window = padded[:, :, i : i + _OUT * rows : _OUT, j : j + _OUT * columns : _OUT]
                patches[i, j] = window.swapaxes(0, 1)
        made = scratch.array("seen", (_PATCH**2, inputs * self.count))
        np.matmul(_PATCHES, patches.reshape(_PATCH**2, -1), out=made)
        return made.reshape(_PATCH**2, inputs, self.count)

    def _places(self) -> Iterator[tuple[int, Any, Any]]:
        """For each position in a tile: its number, which outputs have it, and which tiles reach the output there."""
        height, width = self.geometry.output_shape[2:]
        for i in range(_OUT):
            for j in range(_OUT):
                rows = range(self.rows.start * _OUT + i, min(height, self.rows.stop * _OUT), _OUT)
                columns = range(j, width, _OUT)
                if rows and columns:
                    place = (
                        self.images,
                        slice(None),
                        slice(rows.start, rows.stop, _OUT),
                        slice(j, None, _OUT),
                    )
                    yield i * _OUT + j, place, (..., slice(len(rows)), slice(len(columns)))

    def write(self, made: Array, out: Array) -> None:
        """Outputs from all tiles: what is beyond them is left out."""
        tiles = made.reshape(_OUT**2, out.shape[1], *self.shape)
        for number, place, reached in self._places():
            out[place] = tiles[number].swapaxes(0, 1)[reached]

    def gathered(self, g: Array, scratch: Scratch) -> Array:
        """The transpose of `write`: zeros where there is no output."""
        given = scratch.array("given", (_OUT**2, g.shape[1], *self.shape))
        given.fill(0)
        for number, place, reached in self._places():
            given[number].swapaxes(0, 1)[reached] = g[place]
        return given


def _blocks(geometry: Geometry) -> Iterator[_TileRows]:
    """Blocks of images, or of rows of tiles of one; none is larger than the first."""
    images, outputs, height, width = geometry.output_shape
    rows, columns = ceil(height / _OUT), ceil(width / _OUT)
    affordable = max(1, _BLOCK_ELEMENTS // (_PATCH**2 * (outputs + geometry.x_shape[1]) * columns))
    together, band = max(1, affordable // rows), min(rows, affordable)
    for image in range(0, images, together):
        for row in range(0, rows, band):
            yield _TileRows(
                geometry, slice(image, min(image + together, images)), slice(row, min(row + band, rows))
            )
