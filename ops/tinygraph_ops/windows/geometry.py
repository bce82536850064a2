"""Where the windows of N-D convolutions and pools lie: settings and shapes, checked and resolved.

Shapes and integers only: what is done with the windows' elements lives in `windows`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, wraps
from operator import index as as_index
from typing import Any, ParamSpec, TypeAlias

import numpy as np

from tinygraph.plugin import Padding, Shape, ShapeError, Sizes

Pairs: TypeAlias = tuple[tuple[int, int], ...]
P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Geometry:
    """Where the windows of a convolution or a pool lie: all settings resolved, one entry per dimension.

    Along each dimension, output position `o` reads input positions `o * stride - before + tap * dilation`,
    where `before` is its first padding and `tap` counts up to `size`; positions outside the input are
    padding. Windows need not tile the input. `x_shape` is (batch, in, *spatial) and `output_shape` (batch,
    out, *spatial).

    Worked out from these: `kernel_shape` (out, in / groups, *size); `span`, the extent of a window, the gaps of its
    dilation included; `reach`, from the first element of the first window to the last of the last one.
    """

    x_shape: Shape
    output_shape: Shape
    size: Shape
    stride: Shape
    padding: Pairs
    dilation: Shape
    groups: int = 1

    kernel_shape: Shape = field(init=False, repr=False, compare=False)
    span: Shape = field(init=False, repr=False, compare=False)
    reach: Shape = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        spans = tuple(map(_span, self.size, self.dilation))
        windows = zip(self.output_shape[2:], self.stride, spans, strict=True)
        reach = tuple((count - 1) * stride + span for count, stride, span in windows)
        for name, value in (
            ("kernel_shape", (self.output_shape[1], self.x_shape[1] // self.groups, *self.size)),
            ("span", spans),
            ("reach", reach),
        ):
            object.__setattr__(self, name, value)


_ALONE, _WITHIN = frozenset({int, str, bool, type(None), tuple}), frozenset({int, tuple})


def _resolved_once(resolve: Callable[P, Geometry]) -> Callable[P, Geometry]:
    """A geometry is worked out once for the same shapes and settings: an op, its rules and its kernels all ask for it.

    Remembered is what consists of plain integers and words alone: `(True, 2)` equals `(1, 2)`, and is an error.
    """
    remembered = lru_cache(maxsize=2048, typed=True)(resolve)

    @wraps(resolve)
    def geometry(*given: P.args, **named: P.kwargs) -> Geometry:
        alone = (*given, *named.values())
        within = [one for setting in alone if isinstance(setting, tuple) for one in setting]
        within += [one for pair in within if isinstance(pair, tuple) for one in pair]
        plain = _ALONE.issuperset(map(type, alone)) and _WITHIN.issuperset(map(type, within))
        if plain:
            return remembered(*given, **named)  # type: ignore[arg-type]  # all that is plain is hashable
        return resolve(*given, **named)

    return geometry


@_resolved_once
def convolution_geometry(
    x_shape: Shape,
    kernel_shape: Shape,
    stride: Sizes = 1,
    padding: Padding = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Geometry:
    """Geometry of the cross-correlation of x (batch, in, *spatial) with kernel (out, in / groups, *size).

    `padding` is an int, one int or one (before, after) pair per spatial dimension, "valid" (none) or "same"
    (the output is as large as the input, an odd element going after it; stride 1 only). Raises ShapeError for
    what does not fit.

    >>> convolution_geometry((8, 3, 32, 32), (16, 3, 5, 5), stride=2, padding=2).output_shape
    (8, 16, 16, 16)
    """
    groups = _group_count(groups)
    size = _kernel_size(x_shape, kernel_shape)
    _check_channels(x_shape, kernel_shape, groups)
    strides, dilations = _per_dimension("stride", stride, size), _per_dimension("dilation", dilation, size)
    pairs = _padding_pairs(padding, size, strides, dilations)
    output = [
        _window_count(axis, length, size[axis], strides[axis], pairs[axis], dilations[axis])
        for axis, length in enumerate(x_shape[2:])
    ]
    output_shape = (x_shape[0], kernel_shape[0], *output)
    return Geometry(tuple(x_shape), output_shape, size, strides, pairs, dilations, groups)


@_resolved_once
def convolution_transpose_geometry(
    x_shape: Shape,
    kernel_shape: Shape,
    stride: Sizes = 1,
    padding: Padding = 0,
    output_padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Geometry:
    """Geometry of the transposed convolution, for x (batch, in, *spatial), kernel (in, out/groups, *size).

    It is the geometry of the convolution that is transposed: the result has its `x_shape`, the argument its
    `output_shape`, and the forward map is `convolve_input_gradient(x, kernel, geometry)`. Raises ShapeError
    for what does not fit.

    >>> convolution_transpose_geometry((8, 16, 16, 16), (16, 3, 4, 4), stride=2, padding=1).x_shape
    (8, 3, 32, 32)
    """
    groups = _group_count(groups)
    size = _kernel_size(x_shape, kernel_shape, layout="(in, out/groups, {})")
    if x_shape[1] != kernel_shape[0]:
        raise ShapeError(
            f"x has {x_shape[1]} channels (axis 1 of {tuple(x_shape)}) but kernel takes {kernel_shape[0]} "
            f"(axis 0 of {tuple(kernel_shape)}); a transposed convolution's kernel is (in, out/groups, ...)"
        )
    _check_division("in", x_shape[1], groups)
    if padding == "same":
        raise ShapeError(
            'padding is "same", which a transposed convolution lacks: give ints or (before, after) pairs'
        )
    strides, dilations = _per_dimension("stride", stride, size), _per_dimension("dilation", dilation, size)
    pairs = _padding_pairs(padding, size, strides, dilations)
    extras = _per_dimension("output_padding", output_padding, size, least=0)
    for axis, extra in enumerate(extras):
        if extra >= max(strides[axis], dilations[axis]):
            raise ShapeError(
                f"output_padding{_at(axis, size)} is {extra}; it must be less than the stride "
                f"({strides[axis]}) or the dilation ({dilations[axis]}), whichever is larger"
            )
    result = []
    for axis, length in enumerate(x_shape[2:]):
        span = _span(size[axis], dilations[axis])
        result.append(_transposed_size(axis, length, span, strides[axis], pairs[axis], extras[axis]))
    result_shape = (x_shape[0], kernel_shape[1] * groups, *result)
    return Geometry(result_shape, tuple(x_shape), size, strides, pairs, dilations, groups)


@_resolved_once
def pool_geometry(
    x_shape: Shape,
    size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Geometry:
    """Geometry of a pool over windows of `size` of x (batch, channels, *spatial), by default side by side.

    With `ceil_mode` a last window may stick out of the padded input, provided that it starts in the input or
    in the padding before it. Raises ShapeError for what does not fit, padding of more than half a window
    included.

    >>> pool_geometry((8, 3, 32, 31), 2, ceil_mode=True).output_shape
    (8, 3, 16, 16)
    """
    spatial = _spatial("x", x_shape)
    sizes = _per_dimension("size", size, spatial)
    strides = sizes if stride is None else _per_dimension("stride", stride, spatial)
    pads = _per_dimension("padding", padding, spatial, least=0)
    dilations = _per_dimension("dilation", dilation, spatial)
    _check_pool_padding(x_shape, sizes, pads, dilations)
    pairs = tuple((pad, pad) for pad in pads)
    output = [
        _window_count(axis, length, sizes[axis], strides[axis], pairs[axis], dilations[axis], ceil_mode)
        for axis, length in enumerate(spatial)
    ]
    _check_no_empty_window(spatial, output, strides, pads, dilations)
    return Geometry(tuple(x_shape), (*x_shape[:2], *output), sizes, strides, pairs, dilations)


def adaptive_output_shape(x_shape: Shape, output_size: int | Sequence[int | None]) -> Shape:
    """Shape of an adaptive pool's output; None keeps the input's size in that dimension.

    >>> adaptive_output_shape((8, 3, 32, 31), (1, None))
    (8, 3, 1, 31)
    """
    spatial = _spatial("x", x_shape)
    if isinstance(output_size, Sequence) and len(output_size) == len(spatial):
        output_size = [
            kept if wanted is None else wanted for wanted, kept in zip(output_size, spatial, strict=True)
        ]
    if 0 in spatial:
        empty = _dimension(spatial.index(0))
        raise ShapeError(f"x of shape {tuple(x_shape)} is empty along {empty}: nothing to average")
    return (*x_shape[:2], *_per_dimension("output_size", output_size, spatial))


def _span(size: int, dilation: int) -> int:
    """Extent of a dilated window, its gaps included."""
    return dilation * (size - 1) + 1


def _dimension(axis: int) -> str:
    return f"spatial dimension {axis} (axis {axis + 2})"


def _at(axis: int, spatial: Sequence[int]) -> str:
    """Which entry of a setting a message is about."""
    return f"[{axis}]" if len(spatial) > 1 else ""


def _spatial(name: str, shape: Shape) -> Shape:
    if len(shape) < 3:
        raise ShapeError(
            f"{name} has shape {tuple(shape)}, but needs batch, channel and at least one spatial axis"
        )
    return tuple(shape[2:])


def _integer(name: str, value: object, least: int) -> int:
    """`value` as an int of at least `least`; a bool or a float is taken for a mistake."""
    try:
        number = as_index(value)  # type: ignore[arg-type]
    except TypeError:
        number = None
    if number is None or isinstance(value, bool | np.bool_):
        raise ShapeError(f"{name} is {value!r}, of type {type(value).__name__}; it must be an int")
    if number < least:
        kind = "positive" if least == 1 else "zero or more"
        raise ShapeError(f"{name} is {number}; it must be {kind}")
    return number


def _is_sequence(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str)


def _per_dimension(name: str, value: Any, spatial: Sequence[int], least: int = 1) -> Shape:
    """A setting given once, or once per spatial dimension, as a tuple of checked ints."""
    if not _is_sequence(value):
        return (_integer(name, value, least),) * len(spatial)
    if len(value) != len(spatial):
        raise ShapeError(
            f"{name} is {tuple(value)}, with {len(value)} entries, but there are {len(spatial)} spatial "
            f"dimensions; give one int, or one per spatial dimension"
        )
    return tuple(_integer(f"{name}[{axis}]", entry, least) for axis, entry in enumerate(value))


def _padding_pairs(padding: Any, size: Shape, stride: Shape, dilation: Shape) -> Pairs:
    """Any form of `padding` as one (before, after) pair per spatial dimension."""
    if padding == "same":
        return _same_padding(size, stride, dilation)
    if padding == "valid":
        return ((0, 0),) * len(size)
    if isinstance(padding, str):
        raise ShapeError(f'padding is {padding!r}; as a word it can be "same" or "valid"')
    if not (_is_sequence(padding) and any(_is_sequence(entry) for entry in padding)):
        return tuple((pad, pad) for pad in _per_dimension("padding", padding, size, least=0))
    if len(padding) != len(size) or not all(_is_sequence(entry) and len(entry) == 2 for entry in padding):
        raise ShapeError(
            f"padding is {padding!r}; as pairs it needs one (before, after) for each of the {len(size)} "
            f"spatial dimensions"
        )
    return tuple(
        (_integer(f"padding[{axis}][0]", before, 0), _integer(f"padding[{axis}][1]", after, 0))
        for axis, (before, after) in enumerate(padding)
    )


def _same_padding(size: Shape, stride: Shape, dilation: Shape) -> Pairs:
    if any(step != 1 for step in stride):
        raise ShapeError(
            f'padding is "same", which needs stride 1, but stride is {stride}, so the output cannot be as '
            f"large as the input; give the padding as ints or (before, after) pairs"
        )
    totals = [_span(count, gap) - 1 for count, gap in zip(size, dilation, strict=True)]
    return tuple((total // 2, total - total // 2) for total in totals)


def _group_count(groups: object) -> int:
    return _integer("groups", groups, 1)


def _kernel_size(x_shape: Shape, kernel_shape: Shape, layout: str = "(out, in/groups, {})") -> Shape:
    spatial = _spatial("x", x_shape)
    if len(kernel_shape) != len(x_shape):
        wanted = layout.format(", ".join(f"size{axis}" for axis in range(len(spatial))))
        raise ShapeError(
            f"kernel of shape {tuple(kernel_shape)} has {len(kernel_shape)} dimensions, but x of shape "
            f"{tuple(x_shape)} has {len(spatial)} spatial ones, so kernel needs {len(x_shape)}: {wanted}"
        )
    for axis, size in enumerate(kernel_shape[2:]):
        if size < 1:
            raise ShapeError(f"kernel of shape {tuple(kernel_shape)} is empty along {_dimension(axis)}")
    return tuple(kernel_shape[2:])


def _check_division(which: str, channels: int, groups: int) -> None:
    if channels % groups:
        raise ShapeError(f"groups is {groups}, which does not divide the {channels} {which} channels")


def _check_channels(x_shape: Shape, kernel_shape: Shape, groups: int) -> None:
    _check_division("in", x_shape[1], groups)
    _check_division("out", kernel_shape[0], groups)
    if kernel_shape[1] * groups != x_shape[1]:
        per_group = f", {x_shape[1] // groups} in each of {groups} groups," if groups > 1 else ""
        raise ShapeError(
            f"x has {x_shape[1]} channels{per_group} (axis 1 of {tuple(x_shape)}) but kernel takes "
            f"{kernel_shape[1]} (axis 1 of {tuple(kernel_shape)}); kernel must be (out, in/groups, ...)"
        )


def _window_count(
    axis: int,
    length: int,
    size: int,
    stride: int,
    pair: tuple[int, int],
    dilation: int,
    ceil_mode: bool = False,
) -> int:
    """How many windows fit along `axis`; at least one must."""
    span = _span(size, dilation)
    room = length + sum(pair) - span
    count = (-(-room // stride) if ceil_mode else room // stride) + 1
    if ceil_mode and (count - 1) * stride >= length + pair[0]:
        count -= 1
    if count < 1:
        raise ShapeError(
            f"the window spans {span} along {_dimension(axis)} (size {size}, dilation {dilation}), more than "
            f"the input's {length} with padding {pair}: no output is left; pad more or use a smaller window"
        )
    return count


def _transposed_size(
    axis: int, length: int, span: int, stride: int, pair: tuple[int, int], extra: int
) -> int:
    """Extent along `axis` of a transposed convolution's result; at least one element must be left."""
    if length < 1:
        raise ShapeError(
            f"x is empty along {_dimension(axis)}: a transposed convolution needs at least one position"
        )
    result = (length - 1) * stride + span + extra - sum(pair)
    if result < 1:
        raise ShapeError(
            f"padding {pair} leaves nothing of the result's {result + sum(pair)} positions along "
            f"{_dimension(axis)}: in a transposed convolution padding crops, so use less"
        )
    return result


def _check_pool_padding(x_shape: Shape, size: Shape, padding: Shape, dilation: Shape) -> None:
    for axis, length in enumerate(x_shape[2:]):
        if length == 0:
            raise ShapeError(
                f"x of shape {tuple(x_shape)} is empty along {_dimension(axis)}: there is nothing to pool"
            )
        if padding[axis] > size[axis] // 2:
            raise ShapeError(
                f"padding{_at(axis, size)} is {padding[axis]}, more than half of the window's size, "
                f"{size[axis]}: some windows would be mostly padding; pad by at most {size[axis] // 2}"
            )


def _check_no_empty_window(
    spatial: Shape, output: Sequence[int], stride: Shape, padding: Shape, dilation: Shape
) -> None:
    """With dilation, a window that starts in the padding can step over the whole of a small input."""
    for axis, length in enumerate(spatial):
        starts = range(-padding[axis], 0, stride[axis])[: output[axis]]
        if any(start % dilation[axis] >= length for start in starts):
            raise ShapeError(
                f"with dilation {dilation[axis]} and padding {padding[axis]} some windows read only padding "
                f"along {_dimension(axis)}, where the length of x is {length}; dilate or pad less"
            )
