"""What is known of a value before it exists: its shape and dtype, and the type rules that families of ops share.

A type rule takes `ArrayType`s (or Python scalars, which are weak as in NumPy) in the places of an op's operands and
returns the type of each output. Dtypes are never tabulated here: they come from running the op's own forward on
stand-ins of one element, so that they cannot differ from what NumPy does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.errors import DTypeError, SettingError, ShapeError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Axis, Numeric

Array: TypeAlias = np.ndarray[Any, Any]
Shape: TypeAlias = tuple[int, ...]
# Settings of windows: one number for all spatial dimensions, or one for each; paddings may also be pairs or a word.
Sizes: TypeAlias = int | Sequence[int]
Padding: TypeAlias = str | int | Sequence[int] | Sequence[tuple[int, int]]


class ArrayType(NamedTuple):
    """Shape and dtype of an array.

    >>> print(ArrayType((2, 3), np.dtype("float32")))
    float32[2,3]
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def differentiable(self) -> bool:
        """Whether a gradient can flow: floats, complex numbers and Python objects such as Fraction."""
        return self.dtype.kind in "fcO"

    def stand_in(self, shape: tuple[int, ...] | None = None) -> np.ndarray[Any, Any]:
        """An array of ones of this type (or of another shape) that takes the memory of one element."""
        one = np.ones((), self.dtype)
        return np.broadcast_to(one, self.shape if shape is None else shape)

    def zeros(self) -> Any:
        """The zero of this type, as tensors hold it."""
        return as_value(np.zeros(self.shape, self.dtype))

    def __str__(self) -> str:
        return f"{self.dtype.name}[{','.join(map(str, self.shape))}]"


# `array_type((shape, dtype))` is `ArrayType(shape, dtype)` without a call of Python's, for what runs once a node
array_type: Callable[[tuple[Shape, np.dtype[Any]]], ArrayType] = partial(tuple.__new__, ArrayType)


class WeakType(ArrayType):
    """The type of a captured Python number: it takes the dtype of what it meets, as in NumPy 2."""

    __slots__ = ()

    @property
    def number(self) -> bool | int | float | complex:
        """A Python number of this kind, for type rules."""
        one: bool | int | float | complex = np.ones((), self.dtype).item()
        return one

    def __str__(self) -> str:
        return f"weak {self.dtype.name}"


def is_python_integer(types: ArrayType | None) -> bool:
    """Whether a type is that of a captured Python integer, which may be of any size."""
    return isinstance(types, WeakType) and types.dtype.kind == "i"


def lies_in_rows(value: object) -> bool:
    """Whether the elements of an array or tensor lie in memory row by row, which decides what is a view of it."""
    array = getattr(value, "_value", value)
    return not isinstance(array, np.ndarray) or array.flags.c_contiguous


# NumPy scalars are the values of 0-d results; one shared type each keeps `apply` from building it.
SCALAR_TYPES: dict[type, ArrayType] = {
    np.dtype(code).type: ArrayType((), np.dtype(code)) for code in "?bBhHiIlLqQefdgFDG"
}


def type_of(value: object) -> ArrayType:
    """The type of an array, NumPy scalar or Python scalar."""
    found = SCALAR_TYPES.get(value.__class__)
    if found is not None:
        return found
    if not isinstance(value, np.ndarray):
        value = np.asarray(value)
    return array_type((value.shape, value.dtype))


def as_value(value: object, dtype: DTypeLike | None = None) -> Any:
    """A value as tensors hold it: an array, or a NumPy scalar; a Python object (Fraction) is boxed in a 0-d array.

    >>> as_value([1, 2], float), as_value(3, "float32")
    (array([1., 2.]), np.float32(3.0))
    """
    if dtype is None and (value.__class__ in SCALAR_TYPES or value.__class__ is np.ndarray):
        return value
    require_plain(value)
    array = np.asarray(value, dtype)
    return array if array.ndim or array.dtype.kind == "O" else array[()]


def require_plain(value: object) -> None:
    """Refuse arrays of classes that compute otherwise than arrays do; as plain ones they would give other numbers.

    Raises:
        DTypeError: a masked array, whose mask would be dropped, or a matrix, whose `*` is a product of matrices.
    """
    if isinstance(value, np.ma.MaskedArray):
        raise DTypeError(
            "masked arrays are not taken: the mask would be dropped. Pass a.filled(number) for the values, and where "
            "they hold, ~np.ma.getmaskarray(a) on its own, for example to tg.ops.where"
        )
    if isinstance(value, np.matrix):
        raise DTypeError("np.matrix is not taken, whose * and ** mean other things: pass np.asarray(matrix)")
    if isinstance(value, list | tuple):
        for one in value:
            if not isinstance(one, int | float | complex):
                require_plain(one)


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """`np.broadcast_shapes` with an error that names the axis and the sizes.

    Raises:
        ShapeError: two sizes on one axis differ and neither is 1.
    """
    rank = max(map(len, shapes), default=0)
    result = []
    for axis in range(-rank, 0):
        sizes = {shape[axis] for shape in shapes if -axis <= len(shape)} - {1}
        if len(sizes) > 1:
            listed = " and ".join(str(list(shape)) for shape in shapes)
            raise ShapeError(
                f"shapes {listed} do not broadcast: axis {axis} has sizes "
                f"{' and '.join(map(str, sorted(sizes)))}; sizes must be equal or 1"
            )
        result.append(sizes.pop() if sizes else 1)
    return tuple(result)


def normalize_axes(axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """The axes that `axis` names, non-negative and sorted; None means all.

    Raises:
        ShapeError: an axis out of range, or named twice.
        SettingError: an axis that is no integer.
    """
    if axis is None:
        return tuple(range(ndim))
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    result = []
    for one in axes:
        if not isinstance(one, int | np.integer) or isinstance(one, bool):
            raise SettingError(f"axis must be an int, a tuple of ints or None, not {one!r}")
        if not -ndim <= one < ndim:
            raise ShapeError(
                f"axis {one} is out of range for an operand of {ndim} dimension{'s' * (ndim != 1)}"
            )
        result.append(int(one) % ndim)
    if len(set(result)) != len(result):
        raise ShapeError(f"axis {axis} names one axis twice")
    return tuple(sorted(result))


def reduced_axes(axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    """`normalize_axes` for reductions, which as in NumPy take the axis 0 or -1 of a scalar."""
    if ndim == 0 and isinstance(axis, int | np.integer) and axis in (0, -1):
        return ()
    return normalize_axes(axis, ndim)


def reduced_shape(
    shape: tuple[int, ...], axis: int | Sequence[int] | None, keepdims: bool
) -> tuple[int, ...]:
    """The shape that a reduction over `axis` leaves."""
    axes = reduced_axes(axis, len(shape))
    if keepdims:
        return tuple(1 if i in axes else size for i, size in enumerate(shape))
    return tuple(size for i, size in enumerate(shape) if i not in axes)


MOST_KNOWN = 1000  # types that an elementwise op remembers
Forward = Callable[..., Any]
TypeRule = Callable[..., Any]


def _operand(x: object, rank: int = 0) -> Any:
    """A one-element stand-in for a type; weak Python scalars and absent operands stand for themselves."""
    return x.stand_in((1,) * rank) if isinstance(x, ArrayType) else x


def _result_dtype(result: Numeric, operands: Sequence[Any]) -> np.dtype[Any]:
    """The dtype of a result; NumPy hands a single Python object out bare, as the number that it is."""
    objects = any(isinstance(x, ArrayType) and x.dtype.kind == "O" for x in operands)
    return np.dtype(object) if objects and not hasattr(result, "dtype") else type_of(result).dtype


def _of_shape(
    shape: tuple[int, ...], result: Numeric, operands: Sequence[Any]
) -> ArrayType | tuple[ArrayType, ...]:
    """The types of a forward's results, all of one shape."""
    if isinstance(result, tuple):
        return tuple(ArrayType(shape, _result_dtype(one, operands)) for one in result)
    return ArrayType(shape, _result_dtype(result, operands))


def elementwise_types(forward: Forward) -> TypeRule:
    """Operands broadcast; dtype and number of outputs are whatever the forward makes of theirs."""

    known: dict[Any, Any] = {}  # programs have 10^5 single numbers, and meet the same shapes again and again

    def types(*operands: object, **settings: object) -> ArrayType | tuple[ArrayType, ...]:
        key = None if settings else _deciding(operands)
        if key is not None and key in known:
            return known[key]  # type: ignore[no-any-return]
        shape = broadcast_shapes(*(x.shape for x in operands if isinstance(x, ArrayType)))
        with np.errstate(all="ignore"):
            result = forward(*map(_operand, operands), **settings)
        found = _of_shape(shape, result, operands)
        if key is not None and len(known) < MOST_KNOWN:
            known[key] = found
        return found

    return types


def _deciding(operands: Sequence[Any]) -> tuple[Any, ...] | None:
    """What decides the type that an op makes of real numbers and arrays of them; None where something else takes part.

    Of a Python float its class is enough; an integer's value may not fit the dtype that it meets.
    """
    kinds: list[Any] = []
    for x in operands:
        if x.__class__ is float:
            kinds.append("float")
        elif isinstance(x, ArrayType) and x[1].kind in "fb" and x[1].isnative:
            kinds.append((x[0], x[1].char) if x[0] else x[1].char)
        else:
            return None
    return tuple(kinds)


def reduction_types(forward: Forward) -> TypeRule:
    """What the operands broadcast to loses `axis` (kept as size 1 where `keepdims`)."""

    def types(
        *operands: object, axis: Axis = None, keepdims: bool = False, **settings: object
    ) -> ArrayType | tuple[ArrayType, ...]:
        broadcast = broadcast_shapes(*(x.shape for x in operands if isinstance(x, ArrayType)))
        shape = reduced_shape(broadcast, axis, keepdims)
        stand_ins = [_operand(x, len(broadcast)) for x in operands]
        with np.errstate(all="ignore"):
            result = forward(*stand_ins, axis=axis, keepdims=keepdims, **settings)
        return _of_shape(shape, result, operands)

    return types


def like_first_types(forward: Forward) -> TypeRule:
    """One output of the first operand's shape and dtype."""
    return lambda x, *others, **settings: x if isinstance(x, ArrayType) else type_of(x)


FAMILIES: dict[str, Callable[[Forward], TypeRule]] = {
    "elementwise": elementwise_types,
    "reduction": reduction_types,
    "like_first": like_first_types,
}


def forward_types(forward: Forward) -> TypeRule:
    """For ops without a type rule: run the forward on stand-ins of full shape and read the result's type."""

    def types(*operands: object, **settings: object) -> ArrayType | tuple[ArrayType, ...]:
        values = [x.stand_in() if isinstance(x, ArrayType) else x for x in operands]
        with np.errstate(all="ignore"):
            result = forward(*values, **settings)
        return tuple(map(type_of, result)) if isinstance(result, tuple) else type_of(result)

    return types
