"""Indexing: reading, writing and adding at an index, taking along an axis, sorting, diagonals,
one-hot codes.

What stands in the brackets arrives as a `pattern` and index arrays (see `parse_index`). `index` and `scatter` are each
other's transposes, and every other gradient here is written with them.
"""

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.plugin import (
    Affine,
    Array,
    ArrayType,
    DTypeError,
    ErrorSample,
    Expansion,
    Numeric,
    NumpyFunctionError,
    Pattern,
    Sample,
    SettingError,
    Shape,
    ShapeError,
    along,
    batch_size,
    build_index,
    composite,
    in_rows,
    indices,
    laid_out_like,
    leading,
    moved,
    normalize_axes,
    op,
    operand,
    ops,
    parse_index,
    read_only,
    settled,
    spread,
)

_ARRAYS = (np.ndarray, np.generic)
MOST_TRIED = 2**20  # elements of a result whose shape NumPy may find by making it
_MATRIX = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
_CUBE = [[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [[-1.0, 7.0], [8.0, 0.5], [9.0, -2.0]]]
_ROWS = [[[1.0, 2.0, 0.5]], [[-1.0, 0.0, 2.0]]]
_ALL = ("slice", None, None, None)


@op(
    kind="indexing",
    linear=("x",),
    nondifferentiable="indices",
    samples=[
        Sample(_MATRIX, pattern=(0,), expected=[1.0, 2.0, 3.0]),
        Sample(_MATRIX, pattern=(_ALL, ("slice", None, None, -2)), expected=[[3.0, 1.0], [6.0, 4.0]]),
        Sample(_CUBE, pattern=("...", None, 1)),
        Sample([1.0, 2.0, 3.0], [2, 0, 2], pattern=("array",), expected=[3.0, 1.0, 3.0]),
        Sample(_CUBE, [0, -1], [[1], [0]], pattern=("array", _ALL, "array")),
        Sample(
            _MATRIX, [[True, False, True], [False, True, False]], pattern=("array",), expected=[1.0, 3.0, 5.0]
        ),
        Sample(3.0, pattern=(None,), expected=[3.0]),
    ],
    error_samples=[ErrorSample(_MATRIX, pattern=(0, 0, 0), error=ShapeError, match="too many indices")],
)
def index(x: Numeric, *indices: Array, pattern: Pattern) -> Numeric:
    """x[...];  the gradient is added up where the elements came from."""
    return _array(x)[build_index(pattern, indices)]


@index.vjp("x")
def index_wrt_x(g: Numeric, x_type: ArrayType, indices: tuple[Numeric, ...], pattern: Pattern) -> Numeric:
    """g scattered into zeros of the shape of x; a place named twice gets the sum."""
    return ops.scatter(g, *indices, pattern=pattern, shape=x_type.shape)


@index.adds("x")
def index_adds_to_x(
    total: Array, g: Array, x_type: ArrayType, indices: tuple[Array, ...], pattern: Pattern
) -> None:
    place = build_index(pattern, indices)
    if indices:
        _add_at(total, place, np.asarray(g))
        return
    part = total[place]  # no place repeats
    if part.__class__ is np.ndarray:
        part += g
    else:
        total[place] = part + g


index.pushes("x")


@index.view
def index_put(value: Numeric, x: Numeric, pattern: Pattern) -> Numeric:
    """x with `value` at the places that the pattern names."""
    return ops.index_set(x, value, pattern=pattern)


@index.expand
def index_expansion(x: ArrayType, *arrays: ArrayType, pattern: Pattern) -> Expansion | None:
    """Ints, slices and new axes; which element an index array picks is not known from types."""
    if arrays:
        return None
    shape = index_types(x, pattern=pattern).shape
    at, _ = indices(len(shape))
    places: list[Affine | int] = []
    used = sum(item is not None and item != "..." for item in pattern)
    free = iter(at)
    for item in (*pattern, *([] if "..." in pattern else ["..."])):
        if item is None:
            next(free)
        elif item == "...":
            places += [next(free) for _ in range(x.ndim - used)]
        elif isinstance(item, tuple):
            start, _, step = slice(*item[1:]).indices(x.shape[len(places)])
            places.append(next(free) * step + start)
        else:
            places.append(item % x.shape[len(places)])
    return moved(x, shape, places)


@index.types
def index_types(x: ArrayType, *indices: ArrayType, pattern: Pattern) -> ArrayType:
    """The shape that NumPy's indexing leaves, in the dtype of x."""
    return ArrayType(_selected(x.shape, pattern, indices), x.dtype)


class _Places:
    """An index of one example as an index of all of them, whose selection has its axes in another order.

    Index arrays of the examples' own count their axes after the batch axis. `pattern` and `arrays` select
    from an array with the batch axis in front, or, with `shared`, from one that the examples share.
    """

    def __init__(
        self,
        batched: Sequence[bool],
        arrays: Any,
        pattern: Any,
        shape: tuple[int, ...],
        size: int,
        shared: bool,
    ) -> None:
        arrays = [np.asarray(x) if not hasattr(x, "ndim") else x for x in arrays]
        if any(one and x.dtype.kind == "b" for x, one in zip(arrays, batched, strict=True)):
            raise ShapeError(
                "under vmap each example has a boolean mask of its own, which selects a count of its own: use "
                "tg.ops.where(mask, x, y), or integer indices"
            )
        if any(batched) and not all(batched):
            pattern, arrays, batched = _without_masks(pattern, arrays, batched)
        selected = _selected_rank(shape, pattern, arrays, batched)
        own = any(batched)
        block = max((_index_rank(x) - one for x, one in zip(arrays, batched, strict=True)), default=0)
        at = _block_place(shape, pattern)  # None: in front, since other items stand between
        if own:
            arrays = [
                ops.reshape(x, shape=(size, *(1,) * (block + 1 - x.ndim), *x.shape[1:])) if one else x
                for x, one in zip(arrays, batched, strict=True)
            ]
        if shared:
            self.pattern, self.arrays = pattern, arrays
            first = (at or 0) if own else None
        elif own:
            counts = np.arange(size).reshape(size, *(1,) * block)
            self.pattern, self.arrays = ("array", *pattern), [counts, *arrays]
            first = 0
        else:
            self.pattern, self.arrays = (_ALL, *pattern), arrays
            first = block if at is None and "array" in pattern else 0
        # the axes of the selection as it comes, in the order (batch, *example)
        order = list(range(selected + 1))
        if first is not None:
            order.remove(first)
            if own and not shared and at:  # the block came in front
                order = order[block : block + at] + order[:block] + order[block + at :]
            order.insert(0, first)
        self.order = tuple(order)

    def in_order(self, selection: object) -> Any:
        """What was selected, as (batch, *example)."""
        return (
            selection
            if self.order == tuple(range(len(self.order)))
            else ops.transpose(selection, axes=self.order)
        )

    def as_selected(self, value: Numeric, batched: bool) -> Any:
        """A value for each example, as the selection takes it."""
        if not hasattr(value, "ndim") or (not batched and not value.ndim):
            return value
        rank = len(self.order)
        own = value.shape[1:] if batched else value.shape
        own = own[max(0, len(own) - (rank - 1)) :]  # leading axes of size 1 that an assignment drops
        lead = value.shape[:1] if batched else (1,)
        value = ops.reshape(value, shape=(*lead, *(1,) * (rank - 1 - len(own)), *own))
        back = tuple(self.order.index(i) for i in range(rank))
        return value if back == tuple(range(rank)) else ops.transpose(value, axes=back)


def _index_rank(x: Numeric) -> int:
    """How many axes an index array adds to the block: a mask is as good as an array of places."""
    return 1 if x.dtype.kind == "b" else int(x.ndim)


def _without_masks(pattern: Any, arrays: Any, batched: Sequence[bool]) -> Any:
    """Masks that all examples share as the places that they select."""
    items: list[Any] = []
    given: list[Any] = []
    flags: list[bool] = []
    remaining = iter(zip(arrays, batched, strict=True))
    for item in pattern:
        if item != "array":
            items.append(item)
            continue
        x, one = next(remaining)
        places = np.nonzero(x) if isinstance(x, np.ndarray) and x.dtype.kind == "b" else (x,)
        items += ["array"] * len(places)
        given += places
        flags += [one] * len(places)
    return tuple(items), given, tuple(flags)


def _selected_rank(shape: tuple[int, ...], pattern: Any, arrays: Any, batched: Sequence[bool]) -> int:
    """The number of dimensions that one example's index selects."""
    used = 0
    remaining = iter(arrays)
    made = 0
    for item in pattern:
        if item == "array":
            x = next(remaining)
            used += x.ndim if x.dtype.kind == "b" else 1
        elif item is None:
            made += 1
        elif item != "...":
            used += 1
            made += isinstance(item, tuple)
    block = max((_index_rank(x) - one for x, one in zip(arrays, batched, strict=True)), default=0)
    return len(shape) - used + made + block


def _block_place(shape: tuple[int, ...], pattern: Any) -> int | None:
    """Before how many axes of a selection the block of the index arrays stands; None if in front by NumPy's rule."""
    advanced = [i for i, item in enumerate(pattern) if item == "array" or isinstance(item, int)]
    if "array" not in pattern or advanced[-1] - advanced[0] >= len(advanced):
        return None
    before = pattern[: advanced[0]]
    used = sum(item is not None and item != "..." for item in pattern)
    dots = len(shape) - used if "..." in before else 0
    return sum(item != "..." for item in before) + dots


@index.batch
def index_batched(batched: Sequence[bool], x: Numeric, *indices: object, pattern: object) -> Any:
    size = batch_size(batched, (x, *indices))
    places = _Places(batched[1:], indices, pattern, x.shape[batched[0] :], size, shared=not batched[0])
    return places.in_order(ops.index(x, *places.arrays, pattern=places.pattern))


@op(kind="indexing", declare=False)
def scatter_all(
    *operands: Array, patterns: tuple[Pattern, ...], counts: tuple[int, ...], shape: Shape, whole: bool
) -> Numeric:
    """The sum of scatters, and of an array as large as they are: what plans make of gradients of many indexings.

    Operands are that array if it is `whole`, then for each pattern the values and `counts` index arrays.
    """
    rest = iter(operands)
    first = next(rest) if whole else None
    parts = [(next(rest), tuple(next(rest) for _ in range(count))) for count in counts]
    out = np.zeros(shape, _array(parts[0][0]).dtype) if first is None else np.array(first)
    for pattern, (values, arrays) in zip(patterns, parts, strict=True):
        _add_at(out, build_index(pattern, arrays), _array(values))
    return out


@scatter_all.types
def scatter_all_types(
    *operands: ArrayType, patterns: object, counts: object, shape: Shape, whole: bool
) -> ArrayType:
    """The given shape, in the dtype of what is added."""
    return ArrayType(shape, operands[0].dtype)


def _summed(parts: Sequence[tuple[Any, int]], whole: bool) -> dict[str, Any]:
    """The settings of `scatter_all` for some scatters, by their settings and numbers of operands."""
    return {
        "patterns": tuple(settings["pattern"] for settings, _ in parts),
        "counts": tuple(count - 1 for _, count in parts),
        "shape": parts[0][0]["shape"],
        "whole": whole,
    }


@op(
    kind="indexing",
    facts={"summand": (scatter_all, _summed)},
    linear=("values",),
    nondifferentiable="indices",
    samples=[
        Sample([1.0, 2.0], pattern=(1,), shape=(3, 2), expected=[[0.0, 0.0], [1.0, 2.0], [0.0, 0.0]]),
        Sample([1.0, 2.0, 4.0], [2, 0, 2], pattern=("array",), shape=(3,), expected=[2.0, 0.0, 5.0]),
        Sample([[1.0], [2.0]], [[0, 1, 0], [1, 1, 0]], pattern=("array",), shape=(2,), expected=[4.0, 5.0]),
        Sample([1.0, 2.0], [True, False, True], pattern=("array",), shape=(3,), expected=[1.0, 0.0, 2.0]),
        Sample(_MATRIX, [0, 0], pattern=("array",), shape=(40, 3)),
    ],
    error_samples=[ErrorSample([1.0, 2.0], pattern=(0,), shape=(2, 3), error=ShapeError, match="broadcast")],
)
def scatter(values: Array, *indices: Array, pattern: Pattern, shape: Shape) -> Numeric:
    """Zeros of `shape` with the values added at an index, repeatedly where it repeats: the transpose of `index`."""
    values = _array(values)
    out = np.zeros(shape, values.dtype)
    _add_at(out, build_index(pattern, indices), values)
    return out


@scatter.vjp("values")
def scatter_wrt_values(g: Numeric, indices: tuple[Numeric, ...], pattern: Pattern) -> Numeric:
    """g at the places that values went to."""
    return ops.index(g, *indices, pattern=pattern)


scatter.pushes("values")


@scatter.types
def scatter_types(values: ArrayType, *indices: ArrayType, pattern: Pattern, shape: Shape) -> ArrayType:
    """The given shape, in the dtype of values, which must fit the places named."""
    if not _masked(indices):
        _fits(values, _selected(shape, pattern, indices))
    return ArrayType(shape, values.dtype)


@scatter.batch
def scatter_batched(batched: Any, values: Any, *indices: Any, pattern: Any, shape: Any) -> Any:
    size = batch_size(batched, (values, *indices))
    places = _Places(batched[1:], indices, pattern, shape, size, shared=False)
    return ops.scatter(
        places.as_selected(values, batched[0]), *places.arrays, pattern=places.pattern, shape=(size, *shape)
    )


@op(
    kind="indexing",
    linear=("x", "value"),
    nondifferentiable="indices",
    samples=[
        Sample([1.0, 2.0, 3.0], 9.0, pattern=(1,), expected=[1.0, 9.0, 3.0]),
        Sample(_MATRIX, [[7.0], [8.0]], pattern=(_ALL, ("slice", 1, None, None))),
        Sample(_MATRIX, [[[9.0, 8.0, 7.0]]], pattern=(0,)),
        Sample([1.0, 2.0, 3.0], [7.0, 8.0, 9.0], [0, 2, 0], pattern=("array",), expected=[9.0, 2.0, 8.0]),
        Sample([1.0, 2.0, 3.0], 7.0, [True, False, True], pattern=("array",), expected=[7.0, 2.0, 7.0]),
    ],
    error_samples=[
        ErrorSample([1.0, 2.0], [1.0, 2.0, 3.0], pattern=(_ALL,), error=ShapeError, match="broadcast"),
        ErrorSample([1, 2], 1.5, pattern=(0,), error=DTypeError, match="int64"),
    ],
)
def index_set(x: Array, value: Numeric, *indices: Numeric, pattern: Any) -> Numeric:
    """x with `value` at an index, where the last of several values for one place stays."""
    x = _array(x)
    _fits_dtype(x.dtype, value)
    out = np.array(x)
    # of a 0-d array the element: an array of objects would hold the array itself
    out[build_index(pattern, indices)] = (
        value[()] if isinstance(value, np.ndarray) and value.ndim == 0 else value
    )
    return out


@index_set.vjp("x")
def index_set_wrt_x(g: Numeric, indices: tuple[Numeric, ...], pattern: Pattern) -> Numeric:
    """g with 0 at the places that were overwritten."""
    return ops.index_set(g, 0, *indices, pattern=pattern)


@index_set.vjp("value")
def index_set_wrt_value(
    g: Numeric, value_type: ArrayType, indices: tuple[Numeric, ...], pattern: Pattern
) -> Numeric:
    """g at the places written, 0 for what a later value on the same place replaced."""
    selected = ops.index(g, *indices, pattern=pattern)
    if indices:
        selected = ops.where(ops.index_stays(*indices, pattern=pattern, shape=g.shape), selected, 0)
    return _with_leading_ones(selected, value_type)


@index_set.jvp("x")
def index_set_along_x(t: Numeric, indices: Any, pattern: Pattern) -> Numeric:
    """t, but 0 where the value is written."""
    return ops.index_set(t, 0, *indices, pattern=pattern)


@index_set.jvp("value")
def index_set_along_value(t: Numeric, x_type: ArrayType, indices: Any, pattern: Pattern) -> Numeric:
    """t where it is written, 0 elsewhere."""
    return ops.index_set(np.zeros(x_type.shape, x_type.dtype), t, *indices, pattern=pattern)


@index_set.types
def index_set_types(x: ArrayType, value: Numeric, *indices: ArrayType, pattern: Pattern) -> ArrayType:
    """The type of x, whose dtype must hold that of `value`."""
    _fits_dtype(x.dtype, value)
    if not _masked(indices):
        _fits(value, _selected(x.shape, pattern, indices))
    return x


@index_set.batch
def index_set_batched(
    batched: Sequence[bool], x: Numeric, value: object, *indices: object, pattern: object
) -> Any:
    return _written(ops.index_set, batched, x, value, indices, pattern)


def _written(of: Any, batched: Sequence[bool], x: Any, value: Any, indices: Any, pattern: Any) -> Any:
    size = batch_size(batched, (x, value, *indices))
    if pattern == ("array",) and batched[2] and indices[0].dtype.kind == "b" and np.ndim(value) == batched[1]:
        return _written_by_mask(of, batched, x, value, indices[0])
    own = x if batched[0] else spread(_array(x) if not hasattr(x, "shape") else x, size)
    places = _Places(batched[2:], indices, pattern, own.shape[1:], size, shared=False)
    return of(own, places.as_selected(value, batched[1]), *places.arrays, pattern=places.pattern)


def _written_by_mask(of: object, batched: Sequence[bool], x: Numeric, value: object, mask: Numeric) -> Any:
    """A number written where a mask of each example's own says so."""
    new = (1,) * (np.ndim(x) - batched[0])
    mask = ops.reshape(mask, shape=(*mask.shape, *new[mask.ndim - 1 :]))
    value = ops.reshape(value, shape=(-1, *new)) if batched[1] else value
    written = ops.where(mask, ops.add(x, value) if of is ops.index_add else value, x)
    return ops.cast(written, dtype=_array(x).dtype if not hasattr(x, "dtype") else x.dtype)


@op(
    kind="indexing",
    linear=("x", "value"),
    nondifferentiable="indices",
    samples=[
        Sample([1.0, 2.0, 3.0], 9.0, pattern=(1,), expected=[1.0, 11.0, 3.0]),
        Sample(_MATRIX, [[7.0], [8.0]], pattern=(_ALL, ("slice", 1, None, None))),
        Sample(_MATRIX, [[[9.0, 8.0, 7.0]]], pattern=(0,)),
        Sample([1.0, 2.0, 3.0], [7.0, 8.0, 9.0], [0, 2, 0], pattern=("array",), expected=[17.0, 2.0, 11.0]),
        Sample([1.0, 2.0, 3.0], [7.0, 8.0, 9.0], [0, 0, 2], pattern=("array",)),
    ],
    error_samples=[
        ErrorSample([1.0, 2.0], [1.0, 2.0, 3.0], pattern=(_ALL,), error=ShapeError, match="broadcast"),
        ErrorSample([1, 2], 1.5, pattern=(0,), error=DTypeError, match="int64"),
    ],
)
def index_add(x: Numeric, value: Numeric, *indices: Array, pattern: Pattern) -> Numeric:
    """x with `value` added at an index, repeatedly where it repeats."""
    x = _array(x)
    _fits_dtype(x.dtype, value)
    out = np.array(x)
    _add_at(out, build_index(pattern, indices), _array(value))
    return out


@index_add.vjp("x")
def index_add_wrt_x(g: Numeric) -> Numeric:
    """g."""
    return g


@index_add.vjp("value")
def index_add_wrt_value(
    g: Numeric, value_type: ArrayType, indices: tuple[Numeric, ...], pattern: Pattern
) -> Numeric:
    """g at the places that were added to."""
    return _with_leading_ones(ops.index(g, *indices, pattern=pattern), value_type)


@index_add.jvp("x")
def index_add_along_x(t: Numeric) -> Numeric:
    """t itself."""
    return t


@index_add.jvp("value")
def index_add_along_value(t: Numeric, x_type: ArrayType, indices: Any, pattern: Pattern) -> Numeric:
    """t added up where the value is, 0 elsewhere."""
    return ops.index_add(np.zeros(x_type.shape, x_type.dtype), t, *indices, pattern=pattern)


@index_add.types
def index_add_types(x: ArrayType, value: Numeric, *indices: ArrayType, pattern: Pattern) -> ArrayType:
    """The type of x, checked as for `index_set`."""
    return index_set_types(x, value, *indices, pattern=pattern)


@index_add.batch
def index_add_batched(
    batched: Sequence[bool], x: Numeric, value: object, *indices: object, pattern: object
) -> Any:
    return _written(ops.index_add, batched, x, value, indices, pattern)


@op(
    kind="indexing",
    nondifferentiable="indices",
    samples=[Sample([0, 2, 0], pattern=("array",), shape=(3,), expected=[False, True, True])],
)
def index_stays(*indices: Array, pattern: Pattern, shape: Shape) -> Numeric:
    """Which of the values written at an index stay: an index may name a place again, and the last value wins."""
    place = build_index(pattern, indices)
    owner = np.zeros(shape, np.intp)
    number = np.arange(owner[place].size).reshape(owner[place].shape)
    owner[place] = number
    return owner[place] == number


@index_stays.types
def index_stays_types(*indices: ArrayType, pattern: Pattern, shape: Shape) -> ArrayType:
    """Bools of the shape that the pattern selects."""
    return ArrayType(_selected(shape, pattern, indices), np.dtype(bool))


@index_stays.batch
def index_stays_batched(batched: Any, *indices: Any, pattern: Any, shape: Any) -> Any:
    size = batch_size(batched, indices)
    places = _Places(batched, indices, pattern, shape, size, shared=False)
    return places.in_order(ops.index_stays(*places.arrays, pattern=places.pattern, shape=(size, *shape)))


@composite(
    samples=[
        Sample([1.0, 2.0, 3.0], [2, 0], [7.0, 8.0], expected=[8.0, 2.0, 7.0]),
        Sample(_MATRIX, 1, 9.0),
    ],
    error_samples=[ErrorSample([1.0, 2.0], [0], [1.0, 2.0], error=ShapeError, match="broadcast")],
)
def set_at(x: Numeric, index: Numeric, value: Numeric) -> Numeric:
    """x with x[index] = value done: the functional form of an assignment, for every index that NumPy takes.

    The value broadcasts to what the index selects. Where the index names a place twice the last value stays, and only
    that one gets a gradient.

    Raises:
        ShapeError: the value does not broadcast to the selection.
        DTypeError: the value's dtype would lose something in x (a float in an integer array).

    >>> import tinygraph as tg
    >>> tg.ops.set_at([1.0, 2.0, 3.0], slice(1, None), 0.0)
    array([1., 0., 0.])
    """
    pattern, arrays = parse_index(index)
    return ops.index_set(x, value, *arrays, pattern=pattern)


@composite(
    samples=[
        Sample([1.0, 2.0, 3.0], [0, 0, 2], 10.0, expected=[21.0, 2.0, 13.0]),
        Sample(_MATRIX, 1, 9.0),
    ],
    error_samples=[ErrorSample([1.0, 2.0], [0], [1.0, 2.0], error=ShapeError, match="broadcast")],
)
def add_at(x: Numeric, index: Numeric, value: Numeric) -> Numeric:
    """x with `value` added at x[index], once for each time that the index names a place.

    Raises ShapeError and DTypeError as `set_at` does.

    >>> import tinygraph as tg
    >>> tg.ops.add_at([1.0, 2.0, 3.0], [0, 0, 2], 10.0)
    array([21.,  2., 13.])
    """
    pattern, arrays = parse_index(index)
    return ops.index_add(x, value, *arrays, pattern=pattern)


@composite(
    samples=[
        Sample([1.0, 2.0, 3.0], [2, 0], expected=[3.0, 1.0]),
        Sample(_MATRIX, [[0, 2], [-1, 1]], axis=1),
        Sample(_MATRIX, 4, expected=5.0),
    ],
    error_samples=[ErrorSample(_MATRIX, [0], axis=2, error=ShapeError, match="axis 2")],
)
def take(x: Numeric, indices: Numeric, *, axis: int | None = None) -> Numeric:
    """The elements of x at `indices` along `axis`, of x flattened by default."""
    indices = _integers("take", indices)
    if axis is None:
        return ops.index(ops.reshape(x, shape=(-1,)), indices, pattern=("array",))
    if np.ndim(x) == 0:  # which NumPy takes for a vector
        x = ops.reshape(x, shape=(1,))
    along = _axis("take", axis, np.ndim(x))
    return ops.index(x, indices, pattern=(*(_ALL,) * along, "array"))


@take.numpy(np.take)
def np_take(
    a: Numeric, indices: Numeric, axis: int | None = None, out: object = None, mode: str = "raise"
) -> Any:
    """`np.take`, whose result lies in rows; places outside are wrapped, or clipped, where the mode says so."""
    if mode not in ("raise", "wrap", "clip"):
        raise SettingError(f"np.take: mode {mode!r} is none of 'raise', 'wrap' and 'clip'")
    if mode != "raise":
        size = np.size(a) if axis is None else np.shape(a)[axis] if np.ndim(a) else 1
        if size == 0 and np.size(indices):
            raise IndexError("cannot take elements from an empty axis")
        places = operand(indices)
        indices = np.remainder(places, size) if mode == "wrap" else np.clip(places, 0, size - 1)
    return settled("np.take", in_rows(take(a, indices, axis=axis)), out=out)


@composite(
    samples=[
        Sample(_MATRIX, [[2], [0]], axis=1, expected=[[3.0], [4.0]]),
        Sample(_CUBE, [[[0, 1], [1, 1], [0, 0]]], axis=0),
    ],
)
def take_along_axis(x: Numeric, indices: Numeric, *, axis: int | None = -1) -> Numeric:
    """For every position of `indices`, the element of x there, but for its place along `axis`: what argsort gave."""
    indices = _integers("take_along_axis", indices)
    if axis is None:
        x, axis = ops.reshape(x, shape=(-1,)), 0
    if np.ndim(x) != np.ndim(indices):
        raise ShapeError(
            f"take_along_axis needs indices of as many dimensions as x: {np.shape(indices)} and {np.shape(x)}"
        )
    along = _axis("take_along_axis", axis, np.ndim(x))
    grids: list[Any] = list(np.ix_(*(np.arange(size) for size in np.shape(x))))
    grids[along] = indices
    return ops.index(x, *grids, pattern=("array",) * len(grids))


@take_along_axis.numpy(np.take_along_axis)
def np_take_along_axis(arr: Numeric, indices: Numeric, axis: int | None = -1) -> Any:
    """`np.take_along_axis`."""
    return take_along_axis(arr, indices, axis=axis)


@composite(
    samples=[
        Sample([[1.0, 2.0], [3.0, 4.0]], expected=[1.0, 4.0]),
        Sample(_MATRIX, offset=1),
        Sample(_MATRIX, offset=-1),
        Sample(_ROWS, axis1=0, axis2=2, expected=[[1.0, 0.0]]),
        Sample(_MATRIX, offset=5),
    ],
)
def diagonal(x: Numeric, *, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Numeric:
    """The elements with equal places on two axes (`offset` apart), along a new last axis."""
    if len(normalize_axes((axis1, axis2), np.ndim(x))) < 2:
        raise ShapeError("diagonal needs two axes")
    rows, columns = np.shape(x)[axis1], np.shape(x)[axis2]
    start = max(-offset, 0)
    count = max(min(rows - start, columns - max(offset, 0)), 0)
    places = start + np.arange(count)
    moved = ops.moveaxis(x, source=(axis1, axis2), destination=(-2, -1))
    chosen, settings = (places, places + offset), {"pattern": ("...", "array", "array")}
    found = ops.index(moved, *chosen, **settings)
    why = "a diagonal is read-only, as NumPy's is: call .copy() first"
    return read_only(found, why, moved, index, chosen, settings)


@diagonal.numpy(np.diagonal)
def np_diagonal(a: Numeric, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    """`np.diagonal`."""
    return diagonal(a, offset=offset, axis1=axis1, axis2=axis2)


@composite(
    samples=[
        Sample([1.0, 2.0], k=-1, expected=[[0, 0, 0], [1.0, 0, 0], [0, 2.0, 0]]),
        Sample(_MATRIX, k=1, expected=[2.0, 6.0]),
    ]
)
def diag(x: Numeric, *, k: int = 0) -> Any:
    """The k-th diagonal of a matrix, or the matrix with the vector x there and zeros elsewhere."""
    if np.ndim(x) == 2:
        return ops.diagonal(x, offset=k)
    if np.ndim(x) != 1:
        raise ShapeError(f"diag takes a vector or a matrix, not {np.ndim(x)} dimensions; see diagonal")
    size = np.shape(x)[0] + abs(k)
    places = max(-k, 0) + np.arange(np.shape(x)[0])
    return ops.scatter(x, places, places + k, pattern=("array", "array"), shape=(size, size))


@diag.numpy(np.diag)
def np_diag(v: Numeric, k: int = 0) -> Any:
    """`np.diag`."""
    return diag(v, k=k)


@op(
    kind="indexing",
    nondifferentiable="x",
    numpy=np.argsort,
    samples=[
        Sample([3.0, 1.0, 2.0], expected=[1, 2, 0]),
        Sample(_MATRIX, axis=0, expected=[[0, 0, 0], [1, 1, 1]]),
    ],
)
def argsort(x: Numeric, *, axis: int | None = -1) -> Numeric:
    """The places of the elements of x in ascending order along `axis`, equal ones in their order."""
    return np.argsort(x, axis=axis, kind="stable")


@argsort.types
def argsort_types(x: ArrayType, *, axis: int | None = -1) -> ArrayType:
    """Positions of the shape of x, or of x flattened where `axis` is None."""
    if axis is None:
        return ArrayType((x.size,), np.dtype(np.intp))
    shape = x.shape or (1,)  # NumPy takes an operand without axes for a vector
    normalize_axes(axis, len(shape))
    return ArrayType(shape, np.dtype(np.intp))


argsort.batch(along("axis"))


@composite(samples=[Sample([3.0, 1.0, 2.0], expected=[1.0, 2.0, 3.0]), Sample(_CUBE, axis=1)])
def sort(x: Numeric, *, axis: int | None = -1) -> Any:
    """The elements of x in ascending order along `axis`, of x flattened if None."""
    return ops.take_along_axis(x, ops.argsort(x, axis=axis), axis=axis)


@sort.numpy(np.sort)
def np_sort(
    a: Numeric, axis: int | None = -1, kind: object = None, order: object = None, *, stable: object = None
) -> Any:
    """`np.sort` of any kind, all of which give the same numbers; order= is refused."""
    if order is not None:
        raise NumpyFunctionError("np.sort on tensors does not take order=, which is for records")
    return laid_out_like(a, sort(a, axis=axis))


@composite(samples=[Sample([1.0, 4.0, 9.0], expected=[3.0, 5.0]), Sample(_CUBE, axis=1, n=2)])
def diff(x: Numeric, *, n: int = 1, axis: int = -1) -> Numeric:
    """x[i + 1] - x[i] along `axis`, n times over."""
    before = (_ALL,) * _axis("diff", axis, np.ndim(x))
    for _ in range(n):
        later = ops.index(x, pattern=(*before, ("slice", 1, None, None)))
        x = ops.subtract(later, ops.index(x, pattern=(*before, ("slice", None, -1, None))))
    return x


@diff.numpy(np.diff)
def np_diff(a: Numeric, n: int = 1, axis: int = -1, **options: object) -> Any:
    """`np.diff`, of what stands between `prepend` and `append`."""
    x = operand(a)
    parts = [x]
    for name, at in (("prepend", 0), ("append", 1)):
        if options.get(name, np._NoValue) is not np._NoValue:
            one = operand(options[name])
            if one.ndim == 0:
                one = np.broadcast_to(one, [1 if i == axis % x.ndim else n for i, n in enumerate(x.shape)])
            parts.insert(at * len(parts), one)
    return diff(x if len(parts) == 1 else np.concatenate(parts, axis=axis), n=n, axis=axis)


@op(
    kind="indexing",
    nondifferentiable="labels",
    samples=[
        Sample([2, 0], num_classes=3, expected=[[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]),
        Sample([[1], [0]], num_classes=2, dtype="float32"),
    ],
    error_samples=[
        ErrorSample([3], num_classes=3, error=SettingError, match="label 3"),
        ErrorSample([0.5], num_classes=3, error=DTypeError, match="integer"),
    ],
)
def one_hot(labels: Numeric, *, num_classes: int, dtype: DTypeLike = "float64") -> Numeric:
    """A new last axis of `num_classes` zeros, with a one at each label's place."""
    labels = _integers("one_hot", labels)
    if labels.size and (labels.min() < 0 or labels.max() >= num_classes):
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise SettingError(f"label {wrong} is not among the classes 0 to {num_classes - 1}")
    return (labels[..., None] == np.arange(num_classes)).astype(dtype)


@one_hot.types
def one_hot_types(labels: ArrayType, *, num_classes: int, dtype: DTypeLike = "float64") -> ArrayType:
    """(*labels, num_classes) of the dtype that is asked for."""
    return ArrayType((*labels.shape, num_classes), np.dtype(dtype))


one_hot.batch(leading)


def _array(x: Numeric) -> Any:
    return x if isinstance(x, _ARRAYS) else np.asarray(x)


def _axis(name: str, axis: int, ndim: int) -> int:
    if not -ndim <= axis < ndim:
        raise ShapeError(f"{name}: axis {axis} is out of range for an operand of {ndim} dimensions")
    return axis % ndim


def _integers(name: str, indices: Numeric) -> Any:
    found = (
        indices
        if hasattr(indices, "dtype")
        else np.asarray(indices, dtype=None if np.size(indices) else np.intp)
    )
    if found.dtype.kind not in "iu":
        raise DTypeError(f"{name} takes integer indices, not {found.dtype}")
    return found


def _add_at(out: Array, place: tuple[Any, ...], values: Array) -> None:
    """out[place] += values, counting repeated places."""
    if values.ndim > 1 and values.shape[0] == 1:
        # leading axes that NumPy drops in out[place] = values, but not here
        extra = values.ndim - out[place].ndim
        if extra > 0 and set(values.shape[:extra]) == {1}:
            values = values.reshape(values.shape[extra:])
    arrays = [one for one in place if isinstance(one, _ARRAYS)]
    if not arrays or (len(arrays) == 1 and arrays[0].dtype.kind == "b"):
        out[place] += values  # no place repeats
    elif values.ndim > 1 and out.size <= values.size and out.dtype.char in "fd":
        # faster than np.add.at where blocks of values meet in few places
        positions = np.arange(out.size).reshape(out.shape)[place]
        weights = np.broadcast_to(values, positions.shape)
        out += np.bincount(positions.ravel(), weights.ravel(), out.size).reshape(out.shape)
    else:
        np.add.at(out, place, values)


def _masked(indices: tuple[ArrayType, ...]) -> bool:
    """Whether how much an index selects depends on the values of a mask."""
    return any(one.dtype.kind == "b" for one in indices)


def _selected(shape: tuple[int, ...], pattern: Pattern, indices: tuple[ArrayType, ...]) -> tuple[int, ...]:
    """The shape that an index selects from an array of a shape."""
    if _masked(indices):
        raise ShapeError(
            "how many elements a boolean mask selects depends on its values, which are not known here: use "
            "tg.ops.where(mask, x, 0), or integer indices"
        )
    whole = np.broadcast_to(np.zeros((), bool), shape)
    try:
        broadcast = np.broadcast_shapes(*(one.shape for one in indices))
        if indices and prod(broadcast) * prod(shape) > MOST_TRIED:
            return _selected_by_rule(whole, pattern, broadcast)
        stand_ins = [np.broadcast_to(np.zeros((), np.intp), one.shape) for one in indices]
        found: tuple[int, ...] = whole[build_index(pattern, tuple(stand_ins))].shape
    except (IndexError, ValueError) as error:
        raise ShapeError(f"{error}; x has shape {shape}") from None
    return found


def _selected_by_rule(
    whole: np.ndarray[Any, Any], pattern: Pattern, broadcast: tuple[int, ...]
) -> tuple[int, ...]:
    """The shape that index arrays select, without making an array of it: NumPy's rule for advanced indexing.

    The axes of the arrays stand where the arrays and numbers do, if these stand side by side, else in front.
    """
    items = build_index(pattern, (0,) * sum(item == "array" for item in pattern))
    rest = whole[items].shape
    advanced = [i for i, item in enumerate(items) if isinstance(item, int)]
    first, last = advanced[0], advanced[-1]
    side_by_side = last - first < len(advanced)
    # each item but the dots makes one axis
    at = (len(rest) - len(items[last + 1 :]) if Ellipsis in items[:first] else first) if side_by_side else 0
    return (*rest[:at], *broadcast, *rest[at:])


def _fits(value: object, selected: tuple[int, ...]) -> None:
    shape = value.shape if isinstance(value, ArrayType) else ()
    bare = shape[max(0, len(shape) - len(selected)) :]
    extra = shape[: len(shape) - len(bare)]
    pairs = zip(reversed(bare), reversed(selected), strict=False)
    if any(size != 1 for size in extra) or not all(size in (1, target) for size, target in pairs):
        raise ShapeError(
            f"a value of shape {shape} does not broadcast to the shape {selected} that the index selects"
        )


def _fits_dtype(dtype: np.dtype[Any], value: Numeric) -> None:
    found = value.dtype if hasattr(value, "dtype") else np.asarray(value).dtype
    if isinstance(value, bool | int | float | complex):  # Python numbers are weak
        found = np.result_type(dtype, value)
    if dtype.kind != "O" and not np.can_cast(found, dtype, "same_kind"):
        raise DTypeError(
            f"a value of dtype {found} would lose something in an array of dtype {dtype}; cast either first"
        )


def _with_leading_ones(gradient: Numeric, value_type: ArrayType) -> Numeric:
    """A value may have leading axes of size 1 that what the index selects has not."""
    extra = value_type.ndim - gradient.ndim
    return ops.reshape(gradient, shape=(1,) * extra + gradient.shape) if extra > 0 else gradient
