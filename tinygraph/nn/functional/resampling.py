"""Images at other sizes and places: interpolation, grids of positions, and pixels that become channels and back."""

from __future__ import annotations

from collections.abc import Sequence
from math import floor
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.numeric import Numeric
from tinygraph.core.registry import ops
from tinygraph.core.types import Array, Sizes
from tinygraph.errors import SettingError, ShapeError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

MODES = {"linear": 1, "bilinear": 2, "bicubic": 2, "trilinear": 3}  # how many spatial dimensions each is for
KERNELS = {"bilinear": "linear", "trilinear": "linear", "bicubic": "cubic"}  # what each is along one of them


def interpolate(
    input: Numeric,
    size: int | Sequence[int] | None = None,
    scale_factor: float | Sequence[float] | None = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Any:
    """Resample the spatial dimensions of (batch, channels, *spatial).

    Args:
        size, scale_factor: one of them, for all spatial dimensions or one each.
        mode: "nearest", "nearest-exact", "linear", "bilinear", "trilinear", "bicubic" or "area".
        align_corners: whether the centres of corner elements stay where they are, instead of their outer edges.
        recompute_scale_factor: take the scale from the rounded sizes instead of the one given.
        antialias: not supported.

    Raises:
        SettingError: an unknown mode, or neither or both of size and scale.
    """
    spatial = input.shape[2:]
    if antialias:
        raise SettingError("interpolate: antialias=True is not supported; leave it at False")
    if (size is None) == (scale_factor is None):
        raise SettingError("interpolate takes either size or scale_factor")
    if mode in MODES and MODES[mode] != len(spatial):
        raise SettingError(
            f"interpolate: mode={mode!r} is for {MODES[mode]} spatial dimension(s), input has {len(spatial)}"
        )
    if mode not in ("nearest", "nearest-exact", "area", *MODES):
        known = ", ".join(map(repr, ("nearest", "nearest-exact", "area", *MODES)))
        raise SettingError(f"interpolate: mode={mode!r} must be one of {known}")
    if align_corners is not None and mode not in MODES:
        raise SettingError(f"interpolate: align_corners goes with {', '.join(MODES)}, not {mode!r}")
    size_of = _each(size, len(spatial))
    factors = _each(scale_factor, len(spatial))
    if recompute_scale_factor or (mode == "area" and size is None):
        size_of = [floor(n * factor) for n, factor in zip(spatial, factors, strict=True)]
        factors = [None] * len(spatial)
    if mode == "area":
        return ops.adaptive_average_pool(input, size=tuple(size_of))
    kernel, corners = KERNELS.get(mode, mode), bool(align_corners)
    for axis, (new, factor) in enumerate(zip(size_of, factors, strict=True), start=2):
        input = ops.resample(input, size=new, axis=axis, factor=factor, mode=kernel, align_corners=corners)
    return input


def _each(given: object, count: int) -> list[Any]:
    """A setting for each spatial dimension."""
    return list(given) if isinstance(given, tuple | list) else [given] * count


def _cubic(t: Numeric, a: float = -0.75) -> dict[int, Any]:
    """The factors of the four neighbours at -1, 0, 1 and 2, for a place t after neighbour 0  (Keys, 1981)."""

    def near(x: Numeric) -> Any:
        return ((a + 2) * x - (a + 3)) * x * x + 1

    def far(x: Numeric) -> Any:
        return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a

    return {-1: far(t + 1), 0: near(t), 1: near(1 - t), 2: far(2 - t)}


def affine_grid(theta: Numeric, size: Sequence[int], align_corners: bool = False) -> Any:
    """The positions (batch, *spatial, n) that affine maps `theta` (batch, n, n + 1) take those of an image to.

    Positions are from -1 to 1, x before y, as `grid_sample` reads them.
    """
    axes = []
    for n in size[2:]:
        ends = 1.0 if align_corners else 1.0 - 1.0 / n
        axes.append(np.linspace(-ends, ends, n) if n > 1 else np.zeros(1))
    mesh = np.meshgrid(*axes, indexing="ij")
    base = np.stack([*mesh[::-1], np.ones_like(mesh[0])], axis=-1).astype(theta.dtype)
    flat = ops.matmul(base.reshape(1, -1, base.shape[-1]), ops.swapaxes(theta, axis1=1, axis2=2))
    return ops.reshape(flat, shape=(theta.shape[0], *size[2:], len(size) - 2))


def grid_sample(
    input: Numeric,
    grid: Numeric,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Any:
    """Values of images at given positions (Jaderberg et al., 2015), differentiable by both.

    Args:
        input: (batch, channels, *spatial), with two or three spatial dimensions.
        grid: (batch, *outputs, n) positions from -1 to 1, the last spatial dimension first.
        mode: "bilinear" (of any number of dimensions), "nearest" or "bicubic" (two dimensions).
        padding_mode: what lies outside: "zeros", "border" or "reflection".
        align_corners: whether -1 and 1 are the centres of corner elements, instead of their outer edges.
    """
    spatial = input.shape[2:]
    if grid.shape[-1] != len(spatial) or grid.shape[0] != input.shape[0] or len(spatial) not in (2, 3):
        raise ShapeError(
            f"grid_sample: a grid of shape {grid.shape} does not fit an input of shape {input.shape}"
        )
    if mode not in ("bilinear", "nearest", "bicubic") or padding_mode not in (
        "zeros",
        "border",
        "reflection",
    ):
        raise SettingError(
            f'grid_sample: mode={mode!r} can be "bilinear", "nearest" or "bicubic", padding_mode={padding_mode!r} '
            f'"zeros", "border" or "reflection"'
        )
    if mode == "bicubic" and len(spatial) != 2:
        raise SettingError('grid_sample: mode="bicubic" is for two spatial dimensions')
    corners = bool(align_corners)
    places = []
    for axis, size in enumerate(spatial):
        x = grid[..., len(spatial) - 1 - axis]
        place = (x + 1) * ((size - 1) / 2) if corners else ((x + 1) * size - 1) / 2
        places.append(place if mode == "bicubic" else _kept_inside(place, size, padding_mode, corners))
    neighbours = [_neighbours(place, mode) for place in places]
    total = None
    for combination in _products(neighbours):
        index: Numeric | Any = 0
        inside: Numeric | Any = True
        factor = 1.0
        for (where, weight), size in zip(combination, spatial, strict=True):
            if mode == "bicubic":
                where = _kept_inside(where, size, padding_mode, corners)
            inside = ops.logical_and(inside, ops.logical_and(where >= 0, where <= size - 1))
            index = index * size + ops.clip(where, 0, size - 1).astype(np.intp)
            factor = factor * weight
        part = _gathered(input, index) * ops.expand_dims(ops.where(inside, factor, 0), axis=1)
        total = part if total is None else total + part
    return total


def _neighbours(place: Numeric, mode: str) -> list[tuple[Any, Any]]:
    """The neighbours of positions along one axis, whole numbers, each with its factor."""
    if mode == "nearest":
        return [(ops.detach(ops.round(place)), place * 0 + 1)]
    before = ops.detach(ops.floor(place))
    share = place - before
    if mode == "bilinear":
        return [(before, 1 - share), (before + 1, share)]
    return [(before + offset, factor) for offset, factor in _cubic(share).items()]


def _products(neighbours: list[list[tuple[Any, Any]]]) -> list[list[tuple[Any, Any]]]:
    found: list[list[tuple[Any, Any]]] = [[]]
    for along in neighbours:
        found = [[*before, one] for before in found for one in along]
    return found


def _kept_inside(place: Numeric, size: int, padding_mode: str, corners: bool) -> Any:
    """Positions outside of the image moved in: to the border, or reflected there."""
    if padding_mode == "zeros":
        return place
    if padding_mode == "reflection":
        low, span = (0.0, float(size - 1)) if corners else (-0.5, float(size))
        if span == 0:
            return place * 0
        distance = ops.abs(place - low)
        turns = ops.detach(ops.floor(distance / span))
        rest = distance - turns * span
        place = ops.where(turns % 2 == 0, rest + low, span - rest + low)
    return ops.clip(place, 0, size - 1)


def _gathered(input: Numeric, index: Any) -> Any:
    """input (batch, channels, *spatial) at flat positions (batch, *outputs), of every channel."""
    flat = ops.expand_dims(index, axis=1)
    return ops.gather_windows(input, ops.broadcast_to(flat, shape=(*input.shape[:2], *index.shape[1:])))


# -- pixels and channels -----------------------------------------------------------------------------------------------


def pixel_shuffle(input: Numeric, upscale_factor: int) -> Any:
    """(..., channels * r ** 2, height, width) as (..., channels, height * r, width * r)  (Shi et al., 2016)."""
    r, (*before, channels, height, width) = upscale_factor, input.shape
    if channels % (r * r):
        raise ShapeError(
            f"pixel_shuffle: {channels} channels are not divisible by upscale_factor ** 2 = {r * r}"
        )
    x = ops.reshape(input, shape=(*before, channels // (r * r), r, r, height, width))
    x = _permuted(x, (0, 3, 1, 4, 2))
    return ops.reshape(x, shape=(*before, channels // (r * r), height * r, width * r))


def pixel_unshuffle(input: Numeric, downscale_factor: int) -> Any:
    """The inverse of `pixel_shuffle`."""
    r, (*before, channels, height, width) = downscale_factor, input.shape
    if height % r or width % r:
        raise ShapeError(f"pixel_unshuffle: {height}×{width} is not divisible by downscale_factor={r}")
    x = ops.reshape(input, shape=(*before, channels, height // r, r, width // r, r))
    x = _permuted(x, (0, 2, 4, 1, 3))
    return ops.reshape(x, shape=(*before, channels * r * r, height // r, width // r))


def channel_shuffle(input: Numeric, groups: int) -> Any:
    """Channels (batch, channels, ...) of groups taken in turn  (Zhang et al., 2018)."""
    batch, channels, *spatial = input.shape
    if channels % groups:
        raise ShapeError(f"channel_shuffle: {channels} channels are not divisible by groups={groups}")
    x = ops.reshape(input, shape=(batch, groups, channels // groups, *spatial))
    return ops.reshape(ops.swapaxes(x, axis1=1, axis2=2), shape=tuple(input.shape))


def _permuted(x: Numeric, last: tuple[int, ...]) -> Any:
    """The last axes in another order."""
    first = x.ndim - len(last)
    return ops.transpose(x, axes=(*range(first), *(first + i for i in last)))


# -- windows as columns ------------------------------------------------------------------------------------------------


def unfold(
    input: Numeric, kernel_size: Sizes, dilation: Sizes = 1, padding: Sizes = 0, stride: Sizes = 1
) -> Any:
    """The windows of (batch, channels, height, width) as columns (batch, channels * elements, windows)."""
    if input.ndim == 3:
        return unfold(input[None], kernel_size, dilation, padding, stride)[0]
    pads = _pair(padding)
    x = ops.pad(input, pad_width=((0, 0), (0, 0), *((p, p) for p in pads)), constant_values=0)
    index = _windows(x.shape[2:], _pair(kernel_size), _pair(dilation), _pair(stride))
    spread = np.broadcast_to(index, (*x.shape[:2], *index.shape))
    found = ops.gather_windows(x, spread)
    return ops.reshape(found, shape=(x.shape[0], x.shape[1] * index.shape[0], index.shape[1]))


def fold(
    input: Numeric,
    output_size: Sizes,
    kernel_size: Sizes,
    dilation: Sizes = 1,
    padding: Sizes = 0,
    stride: Sizes = 1,
) -> Any:
    """Columns (batch, channels * elements, windows) added up into images: the transpose of `unfold`."""
    if input.ndim == 2:
        return fold(input[None], output_size, kernel_size, dilation, padding, stride)[0]
    pads, sizes = _pair(padding), _pair(output_size)
    whole = tuple(size + 2 * p for size, p in zip(sizes, pads, strict=True))
    index = _windows(whole, _pair(kernel_size), _pair(dilation), _pair(stride))
    if input.shape[1] % index.shape[0] or input.shape[2] != index.shape[1]:
        raise ShapeError(
            f"fold: output_size={sizes} has {index.shape[1]} windows of {index.shape[0]} elements; input has shape "
            f"{input.shape}"
        )
    values = ops.reshape(input, shape=(input.shape[0], -1, *index.shape))
    spread = np.broadcast_to(index, values.shape)
    image = ops.scatter_windows(values, spread, spatial_shape=whole)
    return image[:, :, pads[0] : pads[0] + sizes[0], pads[1] : pads[1] + sizes[1]]


def _pair(value: Sizes) -> tuple[int, int]:
    return (value[0], value[1]) if isinstance(value, Sequence) else (value, value)


def _windows(
    spatial: Sequence[int], kernel: tuple[int, int], dilation: tuple[int, int], stride: tuple[int, int]
) -> Array:
    """Flat positions (elements, windows) of each window's elements."""
    flat = np.zeros((1, 1, 1, 1), np.intp)
    for axis in range(2):
        count = (spatial[axis] - dilation[axis] * (kernel[axis] - 1) - 1) // stride[axis] + 1
        if count < 1:
            raise ShapeError(f"windows of {kernel} do not fit into {tuple(spatial)}")
        places = np.arange(kernel[axis])[:, None] * dilation[axis] + np.arange(count) * stride[axis]
        shape = [1] * 4
        shape[axis], shape[axis + 2] = places.shape
        flat = flat * spatial[axis] + places.reshape(shape)
    return flat.reshape(kernel[0] * kernel[1], -1)
