"""Convolution, its transpose and its kernel gradient: three bilinear ops, each the derivative of the others.

Where windows lie is worked out in `window_geometry`; the array functions are in `windows`, pools elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np

from tinygraph.plugin import (
    Affine,
    Array,
    ArrayType,
    ErrorSample,
    Expansion,
    Numeric,
    Padding,
    Read,
    Sample,
    Shape,
    ShapeError,
    Sizes,
    batch_size,
    indices,
    op,
    ops,
    parted,
    spread,
)
from tinygraph_ops.windows.geometry import Geometry, convolution_geometry, convolution_transpose_geometry
from tinygraph_ops.windows.sliding import convolve, convolve_input_gradient, convolve_kernel_gradient


def _ramp(*shape: int) -> Any:
    """Sample values that differ from one another: 0, 0.1, ... with alternating sign."""
    flat = np.arange(np.prod(shape)) * 0.1
    flat[1::2] *= -1.0
    return flat.reshape(shape)


def _shape(x: object) -> Shape:
    return x.shape if hasattr(x, "shape") else ()


def _dtype(*operands: Any) -> np.dtype[Any]:
    return np.result_type(*(x.dtype for x in operands if x is not None))


def _check_bias(bias: object, channels: int) -> None:
    if bias is not None and _shape(bias) != (channels,):
        raise ShapeError(
            f"bias has shape {_shape(bias)}, but needs one entry for each of the {channels} output channels: "
            f"({channels},)"
        )


def _add_bias(out: Any, bias: Any) -> Numeric:
    if bias is None:
        return out
    spread = bias.reshape(-1, *[1] * (out.ndim - 2))
    return np.add(out, spread, out=out if np.result_type(out, bias) == out.dtype else None)


def _all_but_channels(ndim: int) -> Shape:
    return (0, *range(2, ndim))


# -- the cross-correlation -----------------------------------------------------------------------------------


@op(
    kind="convolution",
    linear=("x", "kernel", "bias"),
    samples=[
        # By hand: [1, 2, 3, 4] with [1, -1] gives 1 - 2, 2 - 3, 3 - 4.
        Sample([[[1.0, 2.0, 3.0, 4.0]]], [[[1.0, -1.0]]], [0.5], expected=[[[-0.5, -0.5, -0.5]]]),
        Sample(
            [[[[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [2.0, 0.0, 1.0]]]],
            [[[[1.0, 0.0], [0.0, 2.0]]]],
            padding=((1, 0), (0, 1)),
            expected=[[[[4.0, 0.0, 0.0], [3.0, 8.0, 0.0], [0.0, 3.0, 3.0]]]],
        ),
        Sample(_ramp(2, 2, 5), _ramp(3, 2, 3), _ramp(3), padding=1),
        Sample(_ramp(1, 2, 3, 3), _ramp(2, 2, 3, 3), padding="same"),
        Sample(_ramp(1, 1, 4, 5), _ramp(2, 1, 2, 3), padding="valid"),
        Sample(
            _ramp(1, 1, 4, 5), _ramp(1, 1, 2, 2), stride=(3, 2)
        ),  # does not tile: the last row is not read
        Sample(_ramp(1, 1, 7), _ramp(2, 1, 3), dilation=2, stride=2, padding=(2,)),
        Sample(_ramp(1, 4, 3), _ramp(2, 2, 2), groups=2),
        Sample(_ramp(1, 3, 2, 3), _ramp(6, 1, 2, 2), _ramp(6), groups=3),  # depthwise, two kernels a channel
        Sample(_ramp(1, 1, 2, 3, 2), _ramp(1, 1, 2, 2, 2), _ramp(1), padding=(0, 1, 0)),
        Sample(_ramp(1, 1, 0), _ramp(2, 1, 2), padding=1, expected=[[[0.0], [0.0]]]),  # padding alone
    ],
    error_samples=[
        ErrorSample(
            _ramp(3), _ramp(1, 1, 2), error=ShapeError, match="batch, channel and at least one spatial"
        ),
        ErrorSample(_ramp(1, 1, 4, 4), _ramp(1, 1, 2), error=ShapeError, match="kernel needs 4"),
        ErrorSample(_ramp(1, 3, 4), _ramp(2, 2, 2), error=ShapeError, match="x has 3 channels"),
        ErrorSample(
            _ramp(1, 3, 4), _ramp(2, 1, 2), groups=2, error=ShapeError, match="does not divide the 3 in"
        ),
        ErrorSample(
            _ramp(1, 2, 4), _ramp(3, 1, 2), groups=2, error=ShapeError, match="does not divide the 3 out"
        ),
        ErrorSample(_ramp(1, 1, 4), _ramp(1, 1, 2), groups=0, error=ShapeError, match="groups is 0"),
        ErrorSample(_ramp(1, 1, 4), _ramp(1, 1, 2), padding=-1, error=ShapeError, match="padding is -1"),
        ErrorSample(_ramp(1, 1, 4), _ramp(1, 1, 2), padding="full", error=ShapeError, match="same"),
        ErrorSample(
            _ramp(1, 1, 4), _ramp(1, 1, 2), padding="same", stride=2, error=ShapeError, match="stride 1"
        ),
        ErrorSample(_ramp(1, 1, 4), _ramp(1, 1, 2), stride=0, error=ShapeError, match="stride is 0"),
        ErrorSample(_ramp(1, 1, 4), _ramp(1, 1, 2), stride=(1, 1), error=ShapeError, match="2 entries"),
        ErrorSample(_ramp(1, 1, 4), _ramp(1, 1, 2), stride=1.5, error=ShapeError, match="must be an int"),
        ErrorSample(_ramp(1, 1, 4), _ramp(1, 1, 2), dilation=0, error=ShapeError, match="dilation is 0"),
        ErrorSample(_ramp(1, 1, 2, 4), _ramp(1, 1, 3, 3), error=ShapeError, match="spatial dimension 0"),
        ErrorSample(_ramp(1, 1, 4), _ramp(2, 1, 2), _ramp(3), error=ShapeError, match="bias has shape"),
    ],
)
def convolution(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Numeric:
    """out[n, o, i] = bias[o] + sum over c, p of x[n, c, i*stride + p*dilation - padding] * kernel[o, c, p].

    The N-D cross-correlation that deep learning calls convolution: the kernel is not flipped, and what lies
    outside x counts as 0. i and p run over as many spatial dimensions as x has.

    Args:
        x: (batch, in, *spatial).
        kernel: (out, in / groups, *size).
        bias: (out,), or None.
        stride, dilation: an int, or one for each spatial dimension.
        padding: one int, or an int or (before, after) pair for each dimension, "valid" (none), or "same"
            (the output is as large as the input; stride 1 only).
        groups: input and output channels are split into this many groups that do not mix; as many as x has
            channels make it depthwise.

    Returns:
        (batch, out, *output), of the operands' common dtype.

    Raises:
        ShapeError: ranks, channels, groups or sizes that do not fit, with the dimension.

    >>> import numpy as np
    >>> convolution(np.ones((1, 1, 3, 3)), np.ones((1, 1, 3, 3)), padding="same")[0, 0]
    array([[4., 6., 4.],
           [6., 9., 6.],
           [4., 6., 4.]])
    """
    geometry = convolution_geometry(_shape(x), _shape(kernel), stride, padding, dilation, groups)
    _check_bias(bias, geometry.output_shape[1])
    return _add_bias(convolve(x, kernel, geometry), bias)


@convolution.types
def convolution_types(
    x: ArrayType, kernel: ArrayType, bias: ArrayType | None = None, *, stride: Sizes = 1, padding: Padding = 0,
    dilation: Sizes = 1, groups: int = 1,
) -> ArrayType:  # fmt: skip
    """(batch, out, *positions) by the windows' geometry, in the operands' common dtype."""
    geometry = convolution_geometry(_shape(x), _shape(kernel), stride, padding, dilation, groups)
    _check_bias(bias, geometry.output_shape[1])
    return ArrayType(geometry.output_shape, _dtype(x, kernel, bias))


@convolution.batch
def convolution_batched(
    batched: Sequence[bool], x: Numeric, kernel: Numeric, bias: Numeric, *, groups: int, **settings: object
) -> Any:
    """Images of all examples are one batch; kernels of their own make groups, one an example."""
    return _batched(convolution, batched, x, kernel, bias, groups, settings, kernel_axis=0)


def _batched(
    of: Any,
    batched: Sequence[bool],
    x: Numeric,
    kernel: Any,
    bias: Any,
    groups: int,
    settings: Any,
    kernel_axis: int,
) -> Any:
    size = batch_size(batched, (x, kernel, bias))
    if batched[2] and not (batched[0] or batched[1]):
        out = of(x, kernel, None, groups=groups, **settings)
        return out + ops.reshape(bias, shape=(size, 1, -1, *(1,) * (out.ndim - 2)))
    if not batched[1]:
        shared = None if batched[2] else bias
        flat = ops.reshape(x, shape=(size * x.shape[1], *x.shape[2:]))
        out = parted(of(flat, kernel, shared, groups=groups, **settings), size)
        if batched[2]:
            out = out + ops.reshape(bias, shape=(size, 1, bias.shape[1], *(1,) * (out.ndim - 3)))
        return out
    kernels = ops.reshape(kernel, shape=(size * kernel.shape[1], *kernel.shape[2:]))
    if bias is not None:
        bias = ops.reshape(bias if batched[2] else spread(bias, size), shape=(-1,))
    if batched[0] or groups > 1 or kernel_axis:
        own = _among_channels(x if batched[0] else spread(x, size))
        out = of(own, kernels, bias, groups=groups * size, **settings)
    else:  # the same images for all kernels, which are one kernel with more channels
        out = of(x, kernels, bias, groups=1, **settings)
    out = ops.reshape(out, shape=(out.shape[0], size, out.shape[1] // size if size else 0, *out.shape[2:]))
    return ops.moveaxis(out, source=1, destination=0)


def _among_channels(x: Numeric) -> Any:
    """(examples, batch, channels, ...) as (batch, examples * channels, ...)."""
    moved = ops.moveaxis(x, source=0, destination=1)
    return ops.reshape(moved, shape=(x.shape[1], x.shape[0] * x.shape[2], *x.shape[3:]))


@convolution.expand
def convolution_expansion(
    x: ArrayType, kernel: ArrayType, bias: ArrayType | None = None, *, stride: Sizes, padding: Padding,
    dilation: Sizes, groups: int,
) -> Expansion:  # fmt: skip
    """Each kernel plane with its input plane makes a tmp plane; these are summed over the input channels."""
    geometry = convolution_geometry(_shape(x), _shape(kernel), stride, padding, dilation, groups)
    batch, channels, *positions = geometry.output_shape
    taps = (x.shape[1] // groups, *geometry.size)
    steps = list(zip(geometry.stride, geometry.dilation, geometry.padding, strict=True))
    leading: Shape
    of_x: tuple[Affine, ...]
    of_kernel: tuple[Affine, ...]
    if groups == 1:
        (n, o, *at), (c, *tap) = indices(len(x.shape), len(taps))
        leading, of_x, of_kernel = (batch, channels), (n, c), (o, c)
        x_shape, kernel_shape, of_bias = x.shape, kernel.shape, (o,)
    else:  # channels are counted within their group
        (n, group, o, *at), (c, *tap) = indices(len(x.shape) + 1, len(taps))
        leading, of_x, of_kernel = (batch, groups, channels // groups), (n, group, c), (group, o, c)
        x_shape = (batch, groups, taps[0], *x.shape[2:])
        kernel_shape = (groups, channels // groups, *kernel.shape[1:])
        of_bias = (group * (channels // groups) + o,)
    places = [i * s + p * d - before for i, p, (s, d, (before, _)) in zip(at, tap, steps, strict=True)]
    return Expansion(
        (*leading, *positions),
        (Read(0, x_shape, (*of_x, *places)), Read(1, kernel_shape, (*of_kernel, *tap))),
        over=taps,
        reduce="sum",
        bias=None if bias is None else Read(2, bias.shape, of_bias),
        padding=0.0,
        partial=1,
        planes=len(positions),
    )


@convolution.vjp("x")
def convolution_wrt_x(
    g: Numeric,
    kernel: Numeric,
    x_type: ArrayType,
    *,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Numeric:
    """The transposed convolution of g with the kernel."""
    geometry = convolution_geometry(x_type.shape, kernel.shape, stride, padding, dilation, groups)
    return _transposed(g, kernel, geometry)


@convolution.vjp("kernel")
def convolution_wrt_kernel(
    g: Numeric,
    x: Numeric,
    kernel_type: ArrayType,
    *,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Numeric:
    """`convolution_kernel_gradient` of x and g."""
    size = kernel_type.shape[2:]
    return convolution_kernel_gradient(
        x, g, size=size, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


@convolution.vjp("bias")
def convolution_wrt_bias(g: Numeric) -> Numeric:
    """g summed over all but the channels."""
    return ops.sum(g, axis=_all_but_channels(g.ndim))


@convolution.jvp("x")
def convolution_along_x(
    t: Numeric, kernel: Numeric, *, stride: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> Numeric:
    """The convolution of t with the kernel."""
    return convolution(t, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)


@convolution.jvp("kernel")
def convolution_along_kernel(
    t: Numeric, x: Numeric, *, stride: Sizes, padding: Padding, dilation: Sizes, groups: int
) -> Numeric:
    """The convolution of x with t."""
    return convolution(x, t, stride=stride, padding=padding, dilation=dilation, groups=groups)


# -- its adjoint in x ----------------------------------------------------------------------------------------


@op(
    kind="convolution",
    linear=("x", "kernel", "bias"),
    samples=[
        # By hand: each element of x spreads the kernel, two apart: 1 * [1, 2, 3] + 10 * [., ., 1, 2, 3].
        Sample(
            [[[1.0, 10.0]]], [[[1.0, 2.0, 3.0]]], [0.5], stride=2, expected=[[[1.5, 2.5, 13.5, 20.5, 30.5]]]
        ),
        Sample(_ramp(1, 2, 3), _ramp(2, 3, 3), _ramp(3), padding=1),
        Sample(_ramp(1, 1, 2, 3), _ramp(1, 2, 2, 3), stride=(2, 3), output_padding=(1, 2)),
        Sample(_ramp(1, 1, 2, 3), _ramp(1, 1, 2, 2), padding=((0, 1), (1, 0))),
        Sample(_ramp(1, 1, 4), _ramp(1, 1, 3), dilation=2, padding=2),
        # More output padding than the stride: the result's end is read by no window that x has.
        Sample(_ramp(1, 1, 3), _ramp(1, 1, 2), dilation=3, output_padding=2),
        Sample(_ramp(1, 4, 3), _ramp(4, 1, 2), _ramp(2), groups=2),
        Sample(_ramp(1, 3, 2, 2), _ramp(3, 1, 2, 2), groups=3, stride=2),
        Sample(_ramp(1, 1, 1, 2, 2), _ramp(1, 1, 2, 2, 2)),
    ],
    error_samples=[
        ErrorSample(_ramp(1, 3, 4), _ramp(2, 1, 2), error=ShapeError, match="x has 3 channels"),
        ErrorSample(_ramp(1, 1, 4, 4), _ramp(1, 1, 2), error=ShapeError, match="kernel needs 4"),
        ErrorSample(
            _ramp(1, 3, 4), _ramp(3, 1, 2), groups=2, error=ShapeError, match="does not divide the 3 in"
        ),
        ErrorSample(_ramp(1, 1, 4), _ramp(1, 1, 2), padding="same", error=ShapeError, match="lacks"),
        ErrorSample(_ramp(1, 1, 2), _ramp(1, 1, 2), padding=2, error=ShapeError, match="padding crops"),
        ErrorSample(
            _ramp(1, 1, 2), _ramp(1, 1, 2), stride=2, output_padding=2, error=ShapeError, match="less than"
        ),
        ErrorSample(_ramp(1, 1, 2), _ramp(1, 3, 2), _ramp(1), error=ShapeError, match="bias has shape"),
    ],
)
def convolution_transpose(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    *,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Numeric:
    """out[n, o, i * stride + p * dilation - padding] += x[n, c, i] * kernel[c, o, p], plus bias[o].

    The transpose of `convolution` with the same kernel and settings, also known as deconvolution; it is the
    gradient of convolution with respect to its input.

    Args:
        x: (batch, in, *spatial).
        kernel: (in, out / groups, *size).
        bias: (out,), or None.
        stride, padding, dilation, groups: as in the convolution that is transposed; padding crops the result.
        output_padding: an int, or one for each spatial dimension: how many positions more the result has at
            its end, since with a stride above 1 inputs of several sizes have outputs of one.

    Returns:
        (batch, out, *output) with output = (spatial - 1) * stride - 2 * padding + dilation * (size - 1) + 1 +
        output_padding.

    Raises:
        ShapeError: ranks, channels, groups or sizes that do not fit, with the dimension.

    >>> import numpy as np
    >>> convolution_transpose(np.array([[[1.0, 10.0]]]), np.array([[[1.0, 2.0]]]), stride=2)
    array([[[ 1.,  2., 10., 20.]]])
    """
    geometry = convolution_transpose_geometry(
        _shape(x), _shape(kernel), stride, padding, output_padding, dilation, groups
    )
    _check_bias(bias, geometry.x_shape[1])
    return _add_bias(convolve_input_gradient(x, kernel, geometry), bias)


@convolution_transpose.types
def convolution_transpose_types(
    x: ArrayType, kernel: ArrayType, bias: ArrayType | None = None, *, stride: Sizes = 1, padding: Padding = 0,
    output_padding: Sizes = 0, dilation: Sizes = 1, groups: int = 1,
) -> ArrayType:  # fmt: skip
    """The input's shape that the windows' geometry leads back to, in the operands' common dtype."""
    geometry = convolution_transpose_geometry(
        _shape(x), _shape(kernel), stride, padding, output_padding, dilation, groups
    )
    _check_bias(bias, geometry.x_shape[1])
    return ArrayType(geometry.x_shape, _dtype(x, kernel, bias))


@convolution_transpose.batch
def convolution_transpose_batched(
    batched: Sequence[bool], x: Numeric, kernel: Numeric, bias: Numeric, *, groups: int, **settings: object
) -> Any:
    """As that of `convolution`."""
    return _batched(convolution_transpose, batched, x, kernel, bias, groups, settings, kernel_axis=1)


@convolution_transpose.expand
def convolution_transpose_expansion(
    x: ArrayType, kernel: ArrayType, bias: ArrayType | None = None, *, stride: Sizes, padding: Padding,
    output_padding: Sizes, dilation: Sizes, groups: int,
) -> Expansion | None:  # fmt: skip
    """Each element of x that reaches an output element, times the kernel element that takes it there."""
    geometry = convolution_transpose_geometry(
        _shape(x), _shape(kernel), stride, padding, output_padding, dilation, groups
    )
    batch, channels, *positions = geometry.x_shape
    spatial = [
        _reached(count, size, *others)
        for count, size, *others in zip(
            positions,
            x.shape[2:],
            geometry.size,
            geometry.stride,
            geometry.dilation,
            (before for before, _ in geometry.padding),
            strict=True,
        )
    ]
    if any(one is None for one in spatial):
        return None
    axes = [one for one in spatial if one is not None]
    out_sizes = [one.shape for one in axes]
    taps = (x.shape[1] // groups, *(one.reaching for one in axes))
    o, r = indices(3 + sum(map(len, out_sizes)), len(taps))
    (n, group, channel, *rest), (c, *tap) = o, r
    of_x, of_kernel = [], []
    for one, by in zip(axes, tap, strict=True):
        at = [rest.pop(0) for _ in one.shape]
        of_x.append(one.in_x(at, by))
        of_kernel.append(one.in_kernel(at, by))
    each = channels // groups
    return Expansion(
        (batch, groups, each, *(size for sizes in out_sizes for size in sizes)),
        (
            Read(0, (batch, groups, taps[0], *x.shape[2:]), (n, group, c, *of_x)),
            Read(1, (groups, taps[0], each, *geometry.size), (group, c, channel, *of_kernel)),
        ),
        over=taps,
        reduce="sum",
        bias=None if bias is None else Read(2, bias.shape, (group * each + channel,)),
    )


class _Reached(NamedTuple):
    """One axis of a transposed convolution: how its outputs are counted, and how many elements may reach one."""

    shape: Shape
    reaching: int
    in_x: Callable[[Sequence[Affine], Affine], Affine]
    in_kernel: Callable[[Sequence[Affine], Affine], Affine]


def _reached(out: int, size: int, taps: int, stride: int, dilation: int, before: int) -> _Reached | None:
    """Output p takes element i through tap k where p + before = i * stride + k * dilation; None if that is not affine.

    With a stride, outputs are counted as (q, t), p = q * stride + t, so that i follows q and only taps that can fit are
    gone through; where the outputs do not divide like that, all of x is.
    """
    if stride == 1:
        return _Reached((out,), taps, lambda at, k: at[0] + before - k * dilation, lambda at, k: k)
    if dilation > 1:
        return None
    if out % stride:
        return _Reached((out,), size, lambda at, i: i, lambda at, i: at[0] + before - i * stride)
    ahead = (stride - 1 + before) // stride
    return _Reached(
        (out // stride, stride),
        (taps - 1 - before + stride * ahead) // stride + 1,
        lambda at, j: at[0] + ahead - j,
        lambda at, j: at[1] + j * stride + (before - stride * ahead),
    )


@convolution_transpose.cost
def convolution_transpose_cost(
    x: ArrayType, kernel: ArrayType, bias: ArrayType | None = None, **settings: object
) -> int:
    """2 × elements of x × out / groups × elements of the window, and 1 an output element for the bias"""
    taps = 2 * x.size * prod(kernel.shape[1:])
    return taps if bias is None else taps + convolution_transpose_types(x, kernel, bias, **settings).size


@convolution_transpose.vjp("x")
def convolution_transpose_wrt_x(
    g: Numeric,
    kernel: Numeric,
    x_type: ArrayType,
    *,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Numeric:
    """The convolution of g with the kernel, cropped to the positions of x."""
    out = convolution(g, kernel, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return _cropped(out, x_type.shape)


@convolution_transpose.vjp("kernel")
def convolution_transpose_wrt_kernel(
    g: Numeric,
    x: Numeric,
    kernel_type: ArrayType,
    *,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Numeric:
    """`convolution_kernel_gradient` with g as the image and x as the cotangent."""
    size = kernel_type.shape[2:]
    return convolution_kernel_gradient(
        g, x, size=size, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


@convolution_transpose.vjp("bias")
def convolution_transpose_wrt_bias(g: Numeric) -> Numeric:
    """g summed over all but the channels."""
    return ops.sum(g, axis=_all_but_channels(g.ndim))


@convolution_transpose.jvp("x")
def convolution_transpose_along_x(
    t: Numeric,
    kernel: Numeric,
    *,
    stride: Sizes,
    padding: Padding,
    output_padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> Numeric:
    """The transposed convolution of t with the kernel."""
    return convolution_transpose(
        t,
        kernel,
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
    )


@convolution_transpose.jvp("kernel")
def convolution_transpose_along_kernel(
    t: Numeric,
    x: Numeric,
    *,
    stride: Sizes,
    padding: Padding,
    output_padding: Sizes,
    dilation: Sizes,
    groups: int,
) -> Numeric:
    """The transposed convolution of x with t."""
    return convolution_transpose(
        x, t, stride=stride, padding=padding, output_padding=output_padding, dilation=dilation, groups=groups
    )


# -- its adjoint in the kernel -------------------------------------------------------------------------------


@op(
    kind="convolution",
    linear=("x", "cotangent"),
    samples=[
        # By hand: the first tap meets 1, 2, 3 and the second 2, 3, 4, weighted by 1, 0, 2.
        Sample([[[1.0, 2.0, 3.0, 4.0]]], [[[1.0, 0.0, 2.0]]], size=(2,), expected=[[[7.0, 10.0]]]),
        Sample(_ramp(2, 2, 4), _ramp(2, 3, 4), size=(3,), padding=1),
        Sample(_ramp(1, 1, 4, 5), _ramp(1, 2, 2, 2), size=(2, 2), stride=(2, 3)),
        Sample(_ramp(1, 4, 5), _ramp(1, 2, 3), size=(2,), groups=2, dilation=2),
        Sample(_ramp(1, 1, 8), _ramp(1, 1, 3), size=(2,), dilation=3),  # fewer windows than fit
        Sample(_ramp(1, 1, 0), _ramp(1, 2, 1), size=(2,), padding=1),  # padding alone
    ],
    error_samples=[
        ErrorSample(_ramp(1, 1, 4), _ramp(1, 1, 4), size=(2,), error=ShapeError, match="cotangent has shape"),
        ErrorSample(_ramp(1, 1, 4), _ramp(1, 1, 3), size=(2, 2), error=ShapeError, match="kernel"),
    ],
)
def convolution_kernel_gradient(
    x: Array,
    cotangent: Array,
    *,
    size: Sizes,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Numeric:
    """out[o, c, p] = sum over n, i of x[n, c, i * stride + p * dilation - padding] * cotangent[n, o, i].

    The gradient of `convolution(x, kernel)` with respect to the kernel, for the output's cotangent.

    Args:
        x: (batch, in, *spatial).
        cotangent: (batch, out, *output); it may have fewer positions than the convolution's output.
        size: the kernel's spatial shape.
        stride, padding, dilation, groups: as in `convolution`.

    Returns:
        (out, in / groups, *size).

    >>> import numpy as np
    >>> convolution_kernel_gradient(np.ones((1, 1, 4)), np.ones((1, 1, 4)), size=(3,), padding=1)
    array([[[3., 4., 3.]]])
    """
    geometry = _pair_geometry(_shape(x), _shape(cotangent), size, stride, padding, dilation, groups)
    return convolve_kernel_gradient(cotangent, x, geometry)


@convolution_kernel_gradient.types
def convolution_kernel_gradient_types(
    x: ArrayType, cotangent: ArrayType, *, size: Sizes, stride: Sizes = 1, padding: Padding = 0, dilation: Sizes = 1,
    groups: int = 1,
) -> ArrayType:  # fmt: skip
    """(out, in / groups, *size), in the operands' common dtype."""
    geometry = _pair_geometry(_shape(x), _shape(cotangent), size, stride, padding, dilation, groups)
    return ArrayType(geometry.kernel_shape, _dtype(x, cotangent))


@convolution_kernel_gradient.batch
def convolution_kernel_gradient_batched(
    batched: Sequence[bool], x: Numeric, cotangent: Numeric, *, groups: int, **settings: object
) -> Any:
    """Each example's channels are groups of their own."""
    size = batch_size(batched, (x, cotangent))
    many = cotangent if batched[1] else spread(cotangent, size)
    if batched[0] or groups > 1:
        x, groups = _among_channels(x if batched[0] else spread(x, size)), groups * size
    return parted(convolution_kernel_gradient(x, _among_channels(many), groups=groups, **settings), size)


@convolution_kernel_gradient.cost
def convolution_kernel_gradient_cost(
    x: ArrayType, cotangent: ArrayType, *, size: Sequence[int], groups: int = 1, **settings: object
) -> int:
    """2 × elements of the cotangent × in / groups × elements of the window"""
    channels = int(x.shape[1] // groups)
    return 2 * cotangent.size * channels * int(prod(size))


@convolution_kernel_gradient.vjp("x")
def convolution_kernel_gradient_wrt_x(
    g: Numeric,
    cotangent: Numeric,
    x_type: ArrayType,
    *,
    size: Sizes,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Numeric:
    """The transposed convolution of the cotangent with g as the kernel."""
    geometry = _pair_geometry(x_type.shape, cotangent.shape, size, stride, padding, dilation, groups)
    return _transposed(cotangent, g, geometry)


@convolution_kernel_gradient.vjp("cotangent")
def convolution_kernel_gradient_wrt_cotangent(
    g: Numeric,
    x: Numeric,
    cotangent_type: ArrayType,
    *,
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Numeric:
    """The convolution of x with g as the kernel, cropped to the cotangent's positions."""
    out = convolution(x, g, stride=stride, padding=padding, dilation=dilation, groups=groups)
    return _cropped(out, cotangent_type.shape)


@convolution_kernel_gradient.jvp("x")
def convolution_kernel_gradient_along_x(
    t: Numeric,
    cotangent: Numeric,
    *,
    size: Sequence[int],
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Numeric:
    """The same op of t and the cotangent: it is bilinear."""
    return convolution_kernel_gradient(
        t, cotangent, size=size, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


@convolution_kernel_gradient.jvp("cotangent")
def convolution_kernel_gradient_along_cotangent(
    t: Numeric,
    x: Numeric,
    *,
    size: Sequence[int],
    stride: Sizes,
    padding: Padding,
    dilation: Sizes,
    groups: int,
) -> Numeric:
    """The same op of x and t: it is bilinear."""
    return convolution_kernel_gradient(
        x, t, size=size, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


def _pair_geometry(
    x_shape: Shape,
    cotangent_shape: Shape,
    size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
) -> Geometry:
    """Geometry of the convolution of x whose output is like the cotangent."""
    channels = cotangent_shape[1] if len(cotangent_shape) > 1 else 1
    # Wrong group counts are reported by the geometry, so any quotient will do here.
    per_group = x_shape[1] // groups if len(x_shape) > 1 and groups else 1
    geometry = convolution_geometry(x_shape, (channels, per_group, *size), stride, padding, dilation, groups)
    wanted, found = geometry.output_shape, cotangent_shape
    if len(found) != len(wanted) or found[:1] != wanted[:1] or any(map(int.__gt__, found[2:], wanted[2:])):
        raise ShapeError(f"cotangent has shape {found}, but the convolution's output is {wanted}")
    return replace(geometry, output_shape=found)


def _transposed(y: Numeric, kernel: Numeric, geometry: Geometry) -> Numeric:
    """The transposed convolution back to the input that `geometry` has."""
    if 0 in geometry.x_shape[2:]:  # all padding: nothing to go back to
        return np.zeros(geometry.x_shape, y.dtype)
    reached = zip(geometry.reach, geometry.padding, geometry.x_shape[2:], strict=True)
    return convolution_transpose(
        y,
        kernel,
        stride=geometry.stride,
        padding=geometry.padding,
        output_padding=tuple(length - (reach - sum(pair)) for reach, pair, length in reached),
        dilation=geometry.dilation,
        groups=geometry.groups,
    )


def _cropped(out: Numeric, shape: Shape) -> Numeric:
    """The first positions of `out`: with much output padding more windows fit than the transposed op had."""
    if out.shape == shape:
        return out
    return out[tuple(slice(0, length) for length in shape)]
