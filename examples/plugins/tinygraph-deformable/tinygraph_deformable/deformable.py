"""Deformable convolution and RoI align: compositions of bilinear sampling and a contraction.

Sources: Dai, Qi, Xiong, Li, Zhang, Hu, Wei, "Deformable Convolutional Networks", 2017 (arXiv:1703.06211), equation 2;
He, Gkioxari, Dollár, Girshick, "Mask R-CNN", 2017 (arXiv:1703.06870), section 3. Both read an image between its pixels,
and gradients flow to the image, the kernel, the offsets and the boxes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.plugin import ErrorSample, Sample, SettingError, ShapeError, composite, ops
from tinygraph_deformable.sampling import bilinear_sample

_IMAGE = [[[[1.0, -2.0, 3.0], [4.0, 5.0, -6.0], [0.5, 1.5, -2.5]]]]
_KERNEL = [[[[1.0, -0.5], [2.0, 0.25]]], [[[0.5, 1.5], [-1.0, 3.0]]]]
_OFFSETS = (np.arange(32.0).reshape(1, 8, 2, 2) * 7 % 11 - 4.8) / 8
_BOXES = [[0.25, 0.1, 2.3, 1.9], [0.6, -0.4, 1.7, 2.2]]


@composite(
    samples=[
        Sample(_IMAGE, np.zeros((1, 2, 3, 3)), [[[[2.0]]]], [0.5], smooth=False,
               expected=[[[[2.5, -3.5, 6.5], [8.5, 10.5, -11.5], [1.5, 3.5, -4.5]]]]),
        Sample(_IMAGE, _OFFSETS, _KERNEL, [0.5, -0.25]),
        Sample(_IMAGE, _OFFSETS, _KERNEL, stride=2, padding=1, dilation=2),
    ],
    error_samples=[
        ErrorSample(_IMAGE, _OFFSETS[:, :6], _KERNEL, error=ShapeError, match="(1, 8, 2, 2)"),
        ErrorSample(_IMAGE, _OFFSETS, [[_KERNEL[0][0]] * 2], error=ShapeError, match="channels"),
        ErrorSample(_IMAGE, _OFFSETS, _KERNEL, stride=0, error=SettingError, match="stride"),
        ErrorSample([1.0], _OFFSETS, _KERNEL, error=ShapeError, match="(batch, channels, height, width)"),
    ],
)  # fmt: skip
def deformable_convolution(
    image: Any,
    offsets: Any,
    kernel: Any,
    bias: Any = None,
    *,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Any:
    """out[n, o, i] = Σ_cp kernel[o, c, p] image[n, c, i * stride - padding + p * dilation + offset[n, p, i]] + bias[o].

    Args:
        image: (batch, channels, height, width), zero outside, read by bilinear interpolation.
        offsets: (batch, 2 * taps, *output): for each tap of the kernel, in row-major order, how far down and how far
            right of its regular place it reads.
        kernel: (out, channels, kernel height, kernel width).
        bias: (out,).
        stride, padding, dilation: as of a convolution, the same in both dimensions.

    Returns:
        (batch, out, *output). With offsets of zero it is a convolution.

    Raises:
        ShapeError, SettingError: operands or settings that do not fit.

    >>> import numpy as np
    >>> right = np.array([0.0, 1.0]).reshape(1, 2, 1, 1) * np.ones((1, 2, 1, 3))
    >>> deformable_convolution(np.array([[[[1.0, 2.0, 3.0]]]]), right, np.ones((1, 1, 1, 1)))
    array([[[[2., 3., 0.]]]])
    """
    if stride < 1 or dilation < 1 or padding < 0:
        raise SettingError(
            f"stride {stride} and dilation {dilation} must be above 0, padding {padding} not below"
        )
    for name, one in (("image", image), ("kernel", kernel)):
        if len(one.shape) != 4:
            wanted = (
                "(batch, channels, height, width)" if name == "image" else "(out, channels, height, width)"
            )
            raise ShapeError(f"{name} must be {wanted}; it has the shape {one.shape}")
    batch, channels = image.shape[:2]
    taps = kernel.shape[2] * kernel.shape[3]
    if kernel.shape[1] != channels:
        raise ShapeError(f"the image has {channels} channels, the kernel is for {kernel.shape[1]}")
    output = tuple(
        max((length + 2 * padding - dilation * (size - 1) - 1) // stride + 1, 0)
        for length, size in zip(image.shape[2:], kernel.shape[2:], strict=True)
    )
    if offsets.shape != (batch, 2 * taps, *output):
        raise ShapeError(
            f"offsets have the shape {offsets.shape}; two for each of {taps} taps and each output make "
            f"{(batch, 2 * taps, *output)}"
        )
    regular = _regular_places(kernel.shape[2:], output, stride, padding, dilation).astype(offsets.dtype)
    moved = ops.moveaxis(ops.reshape(offsets, shape=(batch, taps, 2, *output)), source=2, destination=-1)
    columns = bilinear_sample(image, moved + regular)
    weights = ops.reshape(kernel, shape=(kernel.shape[0], channels, taps))
    out = ops.einsum(weights, columns, subscripts="oct,nctij->noij")
    return out if bias is None else out + ops.reshape(bias, shape=(-1, 1, 1))


def _regular_places(
    size: tuple[int, ...], output: tuple[int, ...], stride: int, padding: int, dilation: int
) -> Any:
    """Where the taps of a convolution read: (taps, *output, 2)."""
    rows, columns = (
        np.arange(count) * stride - padding + (np.arange(taps) * dilation)[:, None]
        for taps, count in zip(size, output, strict=True)
    )
    shape = (*size, *output)
    grid = np.stack(
        [np.broadcast_to(rows[:, None, :, None], shape), np.broadcast_to(columns[None, :, None, :], shape)],
        axis=-1,
    )
    return grid.reshape(size[0] * size[1], *output, 2)


@composite(
    samples=[
        Sample(_IMAGE, [[0.0, 0.0, 2.0, 2.0]], [0], size=1, density=1, smooth=False, expected=[[[[5.0]]]]),
        Sample(_IMAGE, _BOXES, [0, 0], size=(2, 1)),
        Sample(
            [_IMAGE[0], [[[2.0, 0.5, -1.0], [1.5, -3.0, 4.0], [0.25, 2.5, 1.0]]]],
            _BOXES,
            [1, 0],
            size=2,
            density=1,
        ),
    ],
    error_samples=[
        ErrorSample(_IMAGE, [[0.0, 1.0]], [0], size=1, error=ShapeError, match="(boxes, 4)"),
        ErrorSample(_IMAGE, _BOXES, [0], size=1, error=ShapeError, match="2 boxes"),
        ErrorSample(_IMAGE, _BOXES, [0, 0], size=0, error=SettingError, match="size"),
    ],
)
def roi_align(image: Any, boxes: Any, owners: Any, *, size: Any, density: int = 2) -> Any:
    """out[b, c, i, j] = the mean of image[owners[b], c] over density² points in cell (i, j) of box b.

    Args:
        image: (batch, channels, height, width).
        boxes: (boxes, 4), real: top, left, bottom, right, in pixels.
        owners: (boxes,), integers: which image each box is in.
        size: cells along the height and the width of every box: an int or two.
        density: points in a cell, along each side.

    Returns:
        (boxes, channels, *size).

    >>> import numpy as np
    >>> image = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> roi_align(image, np.array([[0.0, 0.0, 2.0, 2.0]]), np.array([0]), size=2, density=1)
    array([[[[2., 3.],
             [5., 6.]]]])
    """
    size = (size, size) if isinstance(size, int) else tuple(size)
    if len(size) != 2 or min(size) < 1 or density < 1:
        raise SettingError(f"size {size} and density {density} must be above 0, the size one or two ints")
    if boxes.shape[1:] != (4,):
        raise ShapeError(
            f"boxes must be (boxes, 4): top, left, bottom, right; they have the shape {boxes.shape}"
        )
    if owners.shape != boxes.shape[:1]:
        raise ShapeError(f"{boxes.shape[0]} boxes need as many owners; there are {owners.shape}")
    count, (height, width) = boxes.shape[0], size
    rows, columns = (_across(boxes, side, cells * density) for side, cells in enumerate(size))
    shape = (count, height * density, width * density)
    points = ops.stack(
        ops.broadcast_to(ops.expand_dims(rows, axis=2), shape=shape),
        ops.broadcast_to(ops.expand_dims(columns, axis=1), shape=shape),
        axis=-1,
    )
    found = bilinear_sample(ops.take(image, owners, axis=0), points)
    cells = ops.reshape(found, shape=(count, image.shape[1], height, density, width, density))
    return ops.mean(cells, axis=(3, 5))


def _across(boxes: Any, side: int, count: int) -> Any:
    """`count` points in the middle of equal parts of each box: (boxes, count)."""
    near, far = boxes[:, side : side + 1], boxes[:, side + 2 : side + 3]
    parts = ((np.arange(count) + 0.5) / count).astype(boxes.dtype)
    return near + (far - near) * parts
