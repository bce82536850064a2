"""PyTorch's operators of shapes, indices and plain data, by their names in ATen, with its arguments in its order."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.state import default_generator
from tinygraph.core.tensor import Tensor
from tinygraph.nn import functional as F
from tinygraph.pytorch.dtypes import dtype_of

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

END = 2**63 - 1  # PyTorch's way to say "to the end"


def _axis(x: Numeric, dim: int, more: int = 0) -> int:
    return dim % max(int(x.ndim) + more, 1)


def _slice(x: Numeric, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return x[_at(x, dim, start, end, step)]


def _at(x: Numeric, dim: int, start: int | None, end: int | None, step: int) -> tuple[Any, ...]:
    end = None if end is None or end >= END else end
    return (*(slice(None),) * _axis(x, dim), slice(start or None, end, None if step == 1 else step))


def _written(x: Numeric, index: Any, values: Numeric) -> Any:
    """A copy of an array in which a part is written."""
    copy = ops.copy(x)
    copy[index] = values
    return copy


def _index(x: Numeric, indices: Sequence[Any]) -> Any:
    return x[_pattern(indices)]


def _pattern(indices: Sequence[Any]) -> tuple[Any, ...]:
    """PyTorch's index lists, in which None is a whole axis."""
    return tuple(slice(None) if one is None else one for one in indices)


def _index_put(x: Numeric, indices: Sequence[Any], values: Numeric, accumulate: bool = False) -> Any:
    if accumulate:
        copy = ops.copy(x)
        np.add.at(copy, _pattern(indices), values)
        return copy
    return _written(x, _pattern(indices), values)


def _squeeze(x: Numeric, dims: int | Sequence[int] | None = None) -> Any:
    given = range(x.ndim) if dims is None else dims if isinstance(dims, list | tuple) else (dims,)
    axes = tuple(_axis(x, one) for one in given if x.ndim and x.shape[_axis(x, one)] == 1)
    return ops.squeeze(x, axis=axes) if axes else x


def _expand(x: Numeric, sizes: Sequence[int], implicit: bool = False) -> Any:
    new = len(sizes) - x.ndim
    shape = tuple(x.shape[i - new] if size == -1 else size for i, size in enumerate(sizes))
    return ops.broadcast_to(x, shape=shape)


def _repeat(x: Numeric, repeats: Sequence[int]) -> Any:
    return ops.tile(x, reps=tuple(repeats))


def _split(x: Numeric, size: int, dim: int = 0) -> Any:
    total = x.shape[dim]
    starts = range(0, max(total, 1), size)
    return [_slice(x, dim, start, min(start + size, total)) for start in starts]


def _chunk(x: Numeric, chunks: int, dim: int = 0) -> Any:
    return _split(x, -(-x.shape[dim] // chunks), dim)


def _split_with_sizes(x: Numeric, sizes: Sequence[int], dim: int = 0) -> Any:
    parts, start = [], 0
    for size in sizes:
        parts.append(_slice(x, dim, start, start + size))
        start += size
    return parts


def _select(x: Numeric, dim: int, index: int) -> Any:
    return x[(*(slice(None),) * _axis(x, dim), index)]


def _flatten(x: Numeric, start: int = 0, end: int = -1) -> Any:
    if x.ndim == 0:
        return ops.reshape(x, shape=(1,))
    first, last = _axis(x, start), _axis(x, end)
    return ops.reshape(
        x, shape=(*x.shape[:first], math.prod(x.shape[first : last + 1]), *x.shape[last + 1 :])
    )


def _unflatten(x: Numeric, dim: int, sizes: Sequence[int]) -> Any:
    axis = _axis(x, dim)
    return ops.reshape(x, shape=(*x.shape[:axis], *sizes, *x.shape[axis + 1 :]))


def _masked_fill(x: Numeric, mask: Numeric, value: Any) -> Any:
    return ops.where(mask, value, x)


def _gather(x: Numeric, dim: int, index: Numeric, sparse_grad: bool = False) -> Any:
    where = tuple(
        slice(0, index.shape[axis]) if axis != _axis(x, dim) else slice(None) for axis in range(x.ndim)
    )
    return ops.take_along_axis(x[where], index, axis=_axis(x, dim))


def _scatter(x: Numeric, dim: int, index: Numeric, source: Any) -> Any:
    return _written(x, _along(index, dim), source)


def _scatter_add(x: Numeric, dim: int, index: Numeric, source: Any) -> Any:
    copy = ops.copy(x)
    np.add.at(copy, _along(index, dim), source)
    return copy


def _along(index: Numeric, dim: int) -> tuple[Any, ...]:
    places: list[Any] = list(np.indices(index.shape, sparse=True))
    places[dim % index.ndim] = index
    return tuple(places)


def _sort(x: Numeric, dim: int = -1, descending: bool = False) -> Any:
    order = ops.argsort(-x if descending else x, axis=dim)
    return ops.take_along_axis(x, order, axis=dim), order


def _topk(x: Numeric, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Any:
    values, order = _sort(x, dim, largest)
    return _slice(values, dim, 0, k), _slice(order, dim, 0, k)


def _arange(*given: Any, dtype: Any = None, **ignored: object) -> Any:
    whole = all(isinstance(one, int) for one in given)
    return np.arange(
        *given, dtype=dtype_of(dtype) if dtype is not None else np.int64 if whole else np.float32
    )


def _full(size: Sequence[int], value: Any, dtype: Any = None, **ignored: object) -> Any:
    usual = np.bool_ if isinstance(value, bool) else np.int64 if isinstance(value, int) else np.float32
    return np.full(tuple(size), value, usual if dtype is None else dtype_of(dtype))


def _filled(value: float) -> Callable[..., Any]:
    return lambda size, dtype=None, **ignored: np.full(
        tuple(size), value, np.float32 if dtype is None else dtype_of(dtype)
    )


def _filled_like(value: float) -> Callable[..., Any]:
    return lambda x, dtype=None, **ignored: np.full(
        x.shape, value, x.dtype if dtype is None else dtype_of(dtype)
    )


def _new(value: float) -> Callable[..., Any]:
    return lambda x, size, dtype=None, **ignored: np.full(
        tuple(size), value, x.dtype if dtype is None else dtype_of(dtype)
    )


def _full_like(x: Numeric, value: Any, dtype: Any = None, **ignored: object) -> Any:
    return np.full(x.shape, value, x.dtype if dtype is None else dtype_of(dtype))


def _eye(n: int, m: int | None = None, dtype: Any = None, **ignored: object) -> Any:
    return np.eye(n, m, dtype=np.float32 if dtype is None else dtype_of(dtype))


def _scalar(value: Any, dtype: Any = None, **ignored: object) -> Any:
    return np.asarray(value, np.float32 if dtype is None else dtype_of(dtype))


def _drawn(kind: str, shape: Sequence[int], dtype: Any) -> Any:
    draw = default_generator.uniform if kind == "uniform" else default_generator.normal
    return ops.cast(draw(tuple(shape)), dtype=np.float32 if dtype is None else dtype)


def _random(kind: str) -> Callable[..., Any]:
    return lambda size, dtype=None, **ignored: _drawn(kind, size, None if dtype is None else dtype_of(dtype))


def _random_like(kind: str) -> Callable[..., Any]:
    return lambda x, **ignored: _drawn(kind, x.shape, x.dtype)


def _cast(x: Numeric, dtype: Any = None, *rest: object, **ignored: object) -> Any:
    for one in (dtype, *rest, *ignored.values()):
        found = dtype_of(one, None)
        if found is not None:
            return ops.cast(x, dtype=found)
    return x


def _pad(x: Numeric, pad: Sequence[int], value: float = 0.0) -> Any:
    return F.pad(x, pad, "constant", value or 0.0)


def _pad_mode(mode: str) -> Callable[..., Any]:
    return lambda x, pad: F.pad(x, pad, mode)


def _same(x: Numeric, *rest: object, **ignored: object) -> Any:
    return x


def _item(x: Numeric) -> Any:
    return x.item() if isinstance(x, Tensor) else np.asarray(x).item()


SHAPES: dict[str, Callable[..., Any]] = {
    "view": lambda x, size: ops.reshape(x, shape=tuple(size)),
    "flatten": _flatten,
    "unflatten": _unflatten,
    "transpose": lambda x, a, b: ops.swapaxes(x, axis1=a, axis2=b),
    "t": lambda x: ops.transpose(x),
    "permute": lambda x, dims: ops.transpose(x, axes=tuple(dims)),
    "movedim": lambda x, a, b: ops.moveaxis(x, source=a, destination=b),
    "unsqueeze": lambda x, dim: ops.expand_dims(x, axis=_axis(x, dim, 1)),
    "squeeze": _squeeze,
    "expand": _expand,
    "expand_as": lambda x, other: ops.broadcast_to(x, shape=other.shape),
    "repeat": _repeat,
    "repeat_interleave": lambda x, repeats, dim=None, **ignored: ops.repeat(x, repeats=repeats, axis=dim),
    "cat": lambda xs, dim=0: ops.concatenate(*xs, axis=dim),
    "stack": lambda xs, dim=0: ops.stack(*xs, axis=dim),
    "split": _split,
    "split_with_sizes": _split_with_sizes,
    "chunk": _chunk,
    "unbind": lambda x, dim=0: [_select(x, dim, i) for i in range(x.shape[dim])],
    "slice": _slice,
    "select": _select,
    "narrow": lambda x, dim, start, length: _slice(x, dim, start, start + length),
    "slice_scatter": lambda x, source, dim=0, start=None, end=None, step=1: _written(
        x, _at(x, dim, start, end, step), source
    ),
    "select_scatter": lambda x, source, dim, index: _written(
        x, (*(slice(None),) * _axis(x, dim), index), source
    ),
    "index": _index,
    "index_select": lambda x, dim, index: ops.take(x, index, axis=dim),
    "index_put": _index_put,
    "gather": _gather,
    "scatter": _scatter,
    "scatter_add": _scatter_add,
    "masked_fill": _masked_fill,
    "where": lambda condition, x, y: ops.where(condition, x, y),
    "flip": lambda x, dims: ops.flip(x, axis=tuple(dims)),
    "roll": lambda x, shifts, dims=(): ops.roll(x, shift=tuple(shifts), axis=tuple(dims) or None),
    "tril": lambda x, diagonal=0: ops.tril(x, k=diagonal),
    "triu": lambda x, diagonal=0: ops.triu(x, k=diagonal),
    "diagonal": lambda x, offset=0, a=0, b=1: np.diagonal(x, offset, a, b),
    "constant_pad_nd": _pad,
    "pad": lambda x, pad, mode="constant", value=None: F.pad(x, pad, mode, value),
    **{f"reflection_pad{n}d": _pad_mode("reflect") for n in (1, 2, 3)},
    **{f"replication_pad{n}d": _pad_mode("replicate") for n in (1, 2, 3)},
    "sort": _sort,
    "argsort": lambda x, dim=-1, descending=False: ops.argsort(-x if descending else x, axis=dim),
    "topk": _topk,
    "one_hot": lambda x, classes: F.one_hot(x, classes),
    "clone": _same,
    "copy": lambda x, source, non_blocking=False: ops.cast(
        ops.broadcast_to(source, shape=x.shape), dtype=x.dtype
    ),
    "detach": lambda x: ops.detach(x),
    "_to_copy": _cast,
    "type_as": lambda x, other: ops.cast(x, dtype=other.dtype),
    "item": _item,
    "_local_scalar_dense": _item,
    "arange": _arange,
    "full": _full,
    "zeros": _filled(0),
    "ones": _filled(1),
    "empty": _filled(0),
    "zeros_like": _filled_like(0),
    "ones_like": _filled_like(1),
    "empty_like": _filled_like(0),
    "full_like": _full_like,
    "new_zeros": _new(0),
    "new_ones": _new(1),
    "new_empty": _new(0),
    "new_full": lambda x, size, value, dtype=None, **ignored: _full_like(np.zeros(tuple(size), x.dtype), value, dtype),
    "eye": _eye,
    "scalar_tensor": _scalar,
    "linspace": lambda start, end, steps, **ignored: np.linspace(start, end, steps, dtype=np.float32),
    "rand": _random("uniform"),
    "randn": _random("normal"),
    "rand_like": _random_like("uniform"),
    "randn_like": _random_like("normal"),
    "sym_size": lambda x, dim: x.shape[dim],
    "sym_numel": lambda x: x.size,
}  # fmt: skip

SAME = {  # other names of what is in the table
    "reshape": "view", "_unsafe_view": "view", "view_copy": "view", "swapaxes": "transpose", "swapdims": "transpose",
    "concat": "cat", "concatenate": "cat", "contiguous": "clone", "alias": "clone", "lift_fresh_copy": "clone",
    "lift_fresh": "clone", "to": "_to_copy", "detach_": "detach", "unsafe_split": "split", "numel": "sym_numel",
    "unsafe_chunk": "chunk", "expand_copy": "expand", "_assert_tensor_metadata": "clone", "_reshape_alias": "view",
    "moveaxis": "movedim",
}  # fmt: skip
SHAPES |= {name: SHAPES[other] for name, other in SAME.items()}

# What Python's own operators do with sizes in an exported program.
PYTHON: dict[Any, Callable[..., Any]] = {
    one: one
    for one in (
        operator.getitem, operator.add, operator.sub, operator.mul, operator.floordiv, operator.mod, operator.neg,
        operator.truediv, operator.pow, operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge,
        math.ceil, math.floor, math.trunc, max, min,
    )
}  # fmt: skip
