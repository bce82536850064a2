"""Pixels at integer places, the transpose of that, and images between their pixels by bilinear interpolation.

Gathering and scattering are each other's derivatives; interpolation is composed of four gathers, so gradients flow to
the image and to the places where it is read. Source of the latter: Jaderberg, Simonyan, Zisserman, Kavukcuoglu,
"Spatial Transformer Networks", 2015 (arXiv:1506.02025), section 3.3.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import (
    ArrayType,
    DTypeError,
    ErrorSample,
    Sample,
    SettingError,
    ShapeError,
    composite,
    op,
    ops,
)

_IMAGE = [[[[1.0, -2.0, 3.0], [4.0, 5.0, -6.0]], [[0.5, 1.5, -2.5], [3.5, -4.5, 5.5]]]]
_BATCH = [*_IMAGE, [[[2.0, 0.25, -1.0], [-0.75, 1.25, 3.0]], [[-1.5, 2.5, 0.0], [4.0, -3.0, 1.0]]]]
_PLACE_ERRORS = [
    ErrorSample([1.0], [[0]], [[0]], error=ShapeError, match="(batch, channels, height, width)"),
    ErrorSample(_IMAGE, [[0]], [[0, 1]], error=ShapeError, match="one shape"),
    ErrorSample(_IMAGE, [[0], [1]], [[0], [1]], error=ShapeError, match="batch of 1"),
    ErrorSample(_IMAGE, [[0.0]], [[0]], error=DTypeError, match="integers"),
]


@op(
    kind="indexing",
    linear="image",
    nondifferentiable=("rows", "columns"),
    samples=[
        Sample(
            _IMAGE, [[0, 1, 1, -1]], [[2, 0, 3, 0]], expected=[[[3.0, 4.0, 0.0, 0.0], [-2.5, 3.5, 0.0, 0.0]]]
        ),
        Sample(_BATCH, [[[0, 1], [1, 2]], [[1, 1], [0, 0]]], [[[1, 1], [2, 0]], [[0, 0], [-1, 2]]]),
    ],
    error_samples=_PLACE_ERRORS,
)
def gather_pixels(image: Any, rows: Any, columns: Any) -> Any:
    """out[n, c, ...] = image[n, c, rows[n, ...], columns[n, ...]], 0 outside;  d/dimage scatters g back.

    Args:
        image: (batch, channels, height, width).
        rows, columns: (batch, *points), integers; outside the image there are zeros.

    Returns:
        (batch, channels, *points).

    Raises:
        ShapeError, DTypeError: places that do not fit the image, or that are no integers.

    >>> import numpy as np
    >>> gather_pixels(np.array([[[[1.0, 2.0]]]]), np.array([[0, 0]]), np.array([[1, 2]]))
    array([[[2., 0.]]])
    """
    stated = gather_pixels_types(image, rows, columns)
    batch, channels, height, width = image.shape
    inside, place = _places(rows, columns, height, width)
    if not height * width:
        return np.zeros(stated.shape, stated.dtype)
    pixels = image.reshape(batch, channels, height * width)
    found = np.take_along_axis(pixels, place.reshape(batch, 1, _count(rows)), axis=-1)
    return np.where(inside[:, None], found.reshape(stated.shape), 0).astype(stated.dtype, copy=False)


@gather_pixels.types
def gather_pixels_types(image: ArrayType, rows: ArrayType, columns: ArrayType) -> ArrayType:
    if len(getattr(image, "shape", ())) != 4:
        raise ShapeError(
            f"image must be (batch, channels, height, width); it has the shape {getattr(image, 'shape', ())}"
        )
    _check_places(rows, columns, image.shape[0])
    return ArrayType((*image.shape[:2], *rows.shape[1:]), image.dtype)


@gather_pixels.vjp("image")
def gather_pixels_wrt_image(g: Any, image_type: Any, rows: Any, columns: Any) -> Any:
    return scatter_pixels(g, rows, columns, size=image_type.shape[2:])


@gather_pixels.jvp("image")
def gather_pixels_along_image(t: Any, rows: Any, columns: Any) -> Any:
    return gather_pixels(t, rows, columns)


@op(
    kind="indexing",
    linear="values",
    nondifferentiable=("rows", "columns"),
    samples=[
        Sample([[[2.0, -1.0, 3.0, 5.0]]], [[1, 0, 1, 2]], [[1, 0, 1, 0]], size=(2, 2),
               expected=[[[[-1.0, 0.0], [0.0, 5.0]]]]),
        Sample([[[[1.0, -2.0], [0.5, 3.0]], [[4.0, 2.5], [-1.5, 0.75]]], [[[2.0, 1.0], [-3.0, 6.0]]] * 2],
               [[[0, 1], [1, 2]], [[1, 1], [0, 0]]], [[[1, 1], [2, 0]], [[0, 0], [-1, 2]]], size=(2, 3)),
    ],
    error_samples=[
        ErrorSample([1.0], [[0]], [[0]], size=(2, 2), error=ShapeError, match="(batch, channels, *points)"),
        ErrorSample([[[1.0, 2.0]]], [[0]], [[0]], size=(2, 2), error=ShapeError, match="(1,)"),
        ErrorSample([[[1.0]]], [[0]], [[0]], size=(2,), error=SettingError, match="two sizes"),
    ],
)  # fmt: skip
def scatter_pixels(values: Any, rows: Any, columns: Any, *, size: Any) -> Any:
    """out[n, c, rows[n, ...], columns[n, ...]] += values[n, c, ...], from zeros;  the transpose of `gather_pixels`.

    Args:
        values: (batch, channels, *points).
        rows, columns: (batch, *points), integers; what falls outside the image is lost.
        size: (height, width) of the result.

    Returns:
        (batch, channels, height, width).

    >>> import numpy as np
    >>> scatter_pixels(np.array([[[5.0, 7.0]]]), np.array([[0, 0]]), np.array([[1, 1]]), size=(1, 2))
    array([[[[ 0., 12.]]]])
    """
    stated = scatter_pixels_types(values, rows, columns, size=size)
    inside, place = _places(rows, columns, *size)
    out = np.zeros(stated.shape, stated.dtype)
    # one range of places for every channel of every image
    channel = np.arange(stated.shape[0] * stated.shape[1]).reshape(
        *stated.shape[:2], *[1] * (values.ndim - 2)
    )
    flat = np.broadcast_to(place[:, None] + size[0] * size[1] * channel, values.shape)
    inside = np.broadcast_to(inside[:, None], values.shape)
    np.add.at(out.reshape(-1), flat[inside], values[inside])
    return out


@scatter_pixels.types
def scatter_pixels_types(values: ArrayType, rows: ArrayType, columns: ArrayType, *, size: Any) -> ArrayType:
    if not isinstance(size, tuple) or len(size) != 2:
        raise SettingError(f"size is {size}; an image has two sizes, (height, width)")
    if len(getattr(values, "shape", ())) < 2:
        raise ShapeError(
            f"values must be (batch, channels, *points); it has the shape {getattr(values, 'shape', ())}"
        )
    _check_places(rows, columns, values.shape[0])
    if values.shape[2:] != rows.shape[1:]:
        raise ShapeError(
            f"values at points {values.shape[2:]} need places of that shape, not {rows.shape[1:]}"
        )
    return ArrayType((*values.shape[:2], *size), values.dtype)


@scatter_pixels.vjp("values")
def scatter_pixels_wrt_values(g: Any, rows: Any, columns: Any) -> Any:
    return gather_pixels(g, rows, columns)


@scatter_pixels.jvp("values")
def scatter_pixels_along_values(t: Any, rows: Any, columns: Any, size: Any) -> Any:
    return scatter_pixels(t, rows, columns, size=size)


@composite(
    samples=[
        Sample(_IMAGE, [[[0.5, 0.5], [1.0, 2.0], [-0.5, 0.0]]], expected=[[[2.0, -6.0, 0.5], [0.25, 5.5, 0.25]]],
               smooth=False),
        Sample(_BATCH, [[[0.25, 0.5], [0.75, 1.75]], [[0.4, -0.3], [1.2, 2.6]]]),
    ],
    error_samples=[
        ErrorSample(_IMAGE, [[[0.5]]], error=ShapeError, match="(batch, *points, 2)"),
        ErrorSample(_IMAGE, [[[1, 1]]], error=DTypeError, match="int64"),
    ],
)  # fmt: skip
def bilinear_sample(image: Any, points: Any) -> Any:
    """The image at points between its pixels: each the mean of the four around it, weighted by nearness.

    Args:
        image: (batch, channels, height, width); zero outside.
        points: (batch, *points, 2), real: row and column, in pixels.

    Returns:
        (batch, channels, *points).

    >>> import numpy as np
    >>> bilinear_sample(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]), np.array([[[0.5, 0.5]]]))
    array([[[3.]]])
    """
    if len(points.shape) < 2 or points.shape[-1] != 2:
        raise ShapeError(
            f"points must be (batch, *points, 2), row and column; they have the shape {points.shape}"
        )
    if points.dtype.kind != "f":
        raise DTypeError(f"points must be real, not {points.dtype}; for whole pixels there is gather_pixels")
    corner = ops.floor(points)
    part = points - corner
    whole = ops.cast(corner, dtype="int64")
    rows, columns = whole[..., 0], whole[..., 1]
    down, right = ops.expand_dims(part[..., 0], axis=1), ops.expand_dims(part[..., 1], axis=1)
    upper = (
        gather_pixels(image, rows, columns) * (1 - right) + gather_pixels(image, rows, columns + 1) * right
    )
    lower = (
        gather_pixels(image, rows + 1, columns) * (1 - right)
        + gather_pixels(image, rows + 1, columns + 1) * right
    )
    return upper * (1 - down) + lower * down


def _places(rows: Any, columns: Any, height: int, width: int) -> tuple[Any, Any]:
    """Which places are inside the image, and their flat positions (0 for the others)."""
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return inside, np.where(inside, rows * width + columns, 0)


def _count(rows: Any) -> int:
    """The number of points in each image."""
    return int(np.prod(rows.shape[1:]))


def _check_places(rows: Any, columns: Any, batch: int) -> None:
    for name, one in (("rows", rows), ("columns", columns)):
        if one.dtype.kind not in "iu":
            raise DTypeError(
                f"{name} must be integers, not {one.dtype}; bilinear_sample takes places between pixels"
            )
    if rows.shape != columns.shape:
        raise ShapeError(f"rows and columns must have one shape; they have {rows.shape} and {columns.shape}")
    if rows.shape[:1] != (batch,):
        raise ShapeError(
            f"for a batch of {batch} images, rows and columns must be ({batch}, *points), not {rows.shape}"
        )
