"""NumPy kernels of ops that only move values: views copied into place, casts, joins, paddings and look-ups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any

import numpy as np

from tinygraph import kernels
from tinygraph.kernels.lowering import Check
from tinygraph.kernels.program import ProgramBuilder
from tinygraph.plugin import Array, Numeric, Pattern, build_index
from tinygraph_ops.arithmetic import add
from tinygraph_ops.embedding import embedding, scatter_rows
from tinygraph_ops.indexing import index, scatter, scatter_all
from tinygraph_ops.numpy_kernels import Run, in_order, lower_by
from tinygraph_ops.shape import ops as shape


def make_copy(inputs: Sequence[Any], outputs: Sequence[Array], **settings: object) -> Run | None:
    """The elements of the operand in order, for all ops that change the shape or the dtype at most."""
    x, (out,) = np.asarray(inputs[0]), outputs
    if out.flags.c_contiguous:
        out = out.reshape(x.shape)
    elif x.flags.c_contiguous:
        x = x.reshape(out.shape)
    if x.shape != out.shape:
        return None
    if x.dtype == out.dtype:
        return _copy(out, x)
    floats = {x.dtype.char, out.dtype.char} <= set("fd")
    if (
        floats
        and kernels.available()
        and not any(step % one.itemsize for one in (x, out) for step in one.strides)
    ):
        return _generated_cast(x, out)
    return partial(np.copyto, out, x, casting="unsafe")


def _generated_cast(x: Array, out: Array) -> Run:
    """A cast by one generated kernel, which joins those before and behind it to one call."""
    from tinygraph.kernels import elementwise

    build = ProgramBuilder()
    value = build.input(x.dtype)
    program = build.program(build.cast(value, out.dtype))
    return elementwise.bind(program, [x], [out])


def _copied_views(op: Any) -> Callable[..., Run | None]:
    """The forward makes views: they are made once, and copied in each run."""

    def make_views(inputs: Sequence[Any], outputs: Sequence[Array], **settings: object) -> Run | None:
        found = op.forward(*inputs, **settings)
        views = found if isinstance(found, tuple) else (found,)
        if not all(isinstance(view, np.ndarray) and np.may_share_memory(view, inputs[0]) for view in views):
            return None  # a selection by an index array is none, nor is a single element
        return in_order(*map(_copy, outputs, views))

    return make_views


def _copy(out: Array, value: Numeric) -> Run:
    """A copy: by a generated kernel, which joins those before and behind it to one call, where there is one."""
    if kernels.available() and isinstance(value, np.ndarray):
        from tinygraph.kernels import copies, teams

        made = teams.copying(out, value) or copies.copying(out, value)
        if made is not None:
            return made
    return partial(np.copyto, out, value)


def make_concatenate(inputs: Sequence[Any], outputs: Sequence[Array], *, axis: int) -> Run:
    """The operands copied into their places of the output."""
    ends = np.cumsum([np.shape(x)[axis] for x in inputs])[:-1]
    parts = [_copy(out, x) for out, x in zip(np.split(outputs[0], ends, axis), inputs, strict=True)]
    if any(isinstance(part, partial) for part in parts):
        return partial(np.concatenate, tuple(inputs), axis, outputs[0])
    return in_order(*parts)


def make_stack(inputs: Sequence[Any], outputs: Sequence[Array], *, axis: int) -> Run:
    """One copy for each operand, into its place of the output."""
    places = np.moveaxis(outputs[0], axis, 0)
    return in_order(*(_copy(places[i, ...], x) for i, x in enumerate(inputs)))  # dots: never a bare number


def make_pad(
    inputs: Sequence[Any],
    outputs: Sequence[Array],
    *,
    pad_width: Numeric,
    mode: str,
    constant_values: Numeric,
) -> Run | None:
    """The border on every axis is filled; what earlier axes have filled already is left out."""
    (x, *_), (out,) = inputs, outputs
    if mode != "constant" or np.ndim(constant_values):
        return None
    border = np.asarray(constant_values).astype(out.dtype)
    calls: list[Run] = []
    inside: list[slice] = []
    for (before, _), size in zip(np.broadcast_to(pad_width, (x.ndim, 2)).tolist(), x.shape, strict=True):
        edges = (slice(before), slice(before + size, None))
        calls += [_copy(out[(*inside, edge)], border) for edge in edges]
        inside.append(slice(before, before + size))
    middle: Any = (*inside, ...)  # dots: never a bare number
    return in_order(*calls, _copy(out[middle], x))


def make_take(
    inputs: Sequence[Any],
    outputs: Sequence[Array],
    *,
    pattern: Any,
    least: int | None = None,
    op: Any = index,
) -> Run | None:
    """Elements along one axis; the forward raises where one is out of range."""
    (x, indices), (out,) = inputs, outputs
    axis = len(pattern) - 1
    if least is None:
        least = -x.shape[axis]
    if not (x.flags.c_contiguous and out.flags.c_contiguous and indices.size):
        return None

    def take() -> None:
        if indices.min() < least or indices.max() >= x.shape[axis]:
            op.forward(x, indices, **({"pattern": pattern} if op is index else {}))
        x.take(indices, axis, out, "wrap")  # with "raise" NumPy would copy the result

    return take


def _picking(
    shape: Sequence[int], indices: Sequence[Array], pattern: Pattern, dtype: str, wraps: bool
) -> Any:
    """How index arrays on neighbouring axes, and whole slices around them, pick from an array; None if otherwise."""
    from tinygraph.kernels.gather import Picking

    whole = ("slice", None, None, None)
    missing = [whole] * (len(shape) - sum(item != "..." for item in pattern))
    place = pattern.index("...") if "..." in pattern else len(pattern)
    items = [*pattern[:place], *missing, *pattern[place + 1 :]]
    first, arrays = items.index("array"), items.count("array")
    if items != [whole] * first + ["array"] * arrays + [whole] * (len(items) - first - arrays):
        return None
    selected = np.broadcast_shapes(*(one.shape for one in indices))
    if any(one.dtype.kind not in "iu" or not one.dtype.isnative for one in indices) or 0 in (
        *shape,
        *selected,
    ):
        return None
    if any(step % one.itemsize for one in indices for step in one.strides) or dtype not in (
        "float32",
        "float64",
    ):
        return None
    spread = [np.broadcast_to(one, selected or (1,)) for one in indices]
    return Picking(
        before=prod(shape[:first]),
        sizes=tuple(shape[first : first + arrays]),
        selected=selected or (1,),
        block=prod(shape[first + arrays :]),
        strides=tuple(tuple(step // one.itemsize for step in one.strides) for one in spread),
        index_dtypes=tuple(one.dtype.name for one in indices),
        dtype=dtype,
        wraps=wraps,
    )


def _generated_picking(
    op: Any,
    inputs: Sequence[Any],
    out: Array,
    settings: dict[str, Any],
    *,
    pattern: Pattern,
    adds: bool = False,
) -> Run | None:
    """A generated kernel that picks from its first operand, or adds that up where the others point; or None."""
    values, indices = inputs[0], [np.asarray(one) for one in inputs[1:]]
    contiguous = all(isinstance(one, np.ndarray) and one.flags.c_contiguous for one in (values, out))
    if not kernels.available() or not contiguous:
        return None
    from tinygraph.kernels import gather

    whole, some = (out, values) if adds else (values, out)
    wraps = op in (index, scatter)
    picking = _picking(whole.shape, indices, pattern, values.dtype.name, wraps)
    if picking is None or some.size != picking.before * prod(picking.selected) * picking.block:
        return None
    flag = np.zeros(1, np.int64)
    kernel = gather.scatter_add(picking) if adds else gather.gather(picking)
    span = picking.sizes[0] if adds else picking.selected[0]
    bound = kernel.bind(values, out, flag, *indices, span=span)
    # the forward says what is wrong
    return in_order(bound, Check(flag, lambda: op.forward(*inputs, **settings)))


def _zeros(out: Array) -> Run:
    """A call that fills an array with zeros."""
    if not kernels.available() or out.dtype.name not in ("float32", "float64") or not out.size:
        return partial(out.fill, 0)
    from tinygraph.kernels import elementwise

    build = ProgramBuilder()
    return elementwise.bind(build.program(build.constant(0.0, out.dtype)), [], [out])


def make_scatter_rows(inputs: Sequence[Any], outputs: Sequence[Array], *, rows: int) -> Run | None:
    """Rows added up where their indices point."""
    return _generated_picking(scatter_rows, inputs, outputs[0], {"rows": rows}, pattern=("array",), adds=True)


def make_embedding(inputs: Sequence[Any], outputs: Sequence[Array], *, padding_idx: Numeric) -> Run | None:
    """Rows, by a generated kernel or `np.take`; negative indices are out of range."""
    settings = {"padding_idx": padding_idx}
    made = _generated_picking(embedding, inputs, outputs[0], settings, pattern=("array",))
    return made or make_take(inputs, outputs, pattern=("array",), least=0, op=embedding)


def make_index(inputs: Sequence[Any], outputs: Sequence[Array], *, pattern: Pattern) -> Run | None:
    """A generated kernel for index arrays on neighbouring axes, or `np.take`; a copy of the view for slices."""
    if "array" in pattern:
        made = _generated_picking(index, inputs, outputs[0], {"pattern": pattern}, pattern=pattern)
        if made is not None:
            return made
    if pattern[-1:] == ("array",) and all(item == ("slice", None, None, None) for item in pattern[:-1]):
        return make_take(inputs, outputs, pattern=pattern) if inputs[1].dtype.kind in "iu" else None
    if "array" in pattern:
        return None
    if not isinstance(inputs[0], np.ndarray):
        return None
    return _copy(outputs[0], inputs[0][_as_view(pattern)])


def _as_view(pattern: Pattern) -> Any:
    """An index without arrays that gives a view in any case, where a bare number would be a copy."""
    return (*build_index(pattern, ()), *(() if "..." in pattern else (...,)))


def make_scatter_all(
    inputs: Sequence[Any],
    outputs: Sequence[Array],
    *,
    patterns: Sequence[Pattern],
    counts: Sequence[int],
    shape: Sequence[int],
    whole: bool,
) -> Run | None:
    """Zeros or a copy, and each part added where it belongs; None where an array of indices says where."""
    (out,), rest = outputs, iter(inputs)
    if any(counts):
        return None
    calls = [_copy(out, next(rest)) if whole else _zeros(out)]
    for pattern, values in zip(patterns, rest, strict=True):
        place = out[_as_view(pattern)]
        calls.append(_added(place, values))
    return in_order(*calls)


def _added(place: Array, values: Numeric) -> Run:
    """`place += values`, by a generated kernel where there is one."""
    if (
        isinstance(values, np.ndarray)
        and values.dtype == place.dtype
        and values.shape == place.shape
        and place.dtype.char in "fd"
        and place.size
        and kernels.available()
    ):
        from tinygraph.kernels import elementwise

        build = ProgramBuilder()
        left, right = build.input(place.dtype), build.input(place.dtype)
        return elementwise.bind(build.program(build.step(add, left, right)), [place, values], [place])
    return partial(np.add, place, values, out=place, casting="same_kind")


def make_scatter(
    inputs: Sequence[Any], outputs: Sequence[Array], *, pattern: Pattern, shape: Sequence[int]
) -> Run | None:
    """Zeros, to which the values are added: by a generated kernel where index arrays point."""
    if "array" in pattern:
        settings = {"pattern": pattern, "shape": tuple(shape)}
        return _generated_picking(scatter, inputs, outputs[0], settings, pattern=pattern, adds=True)
    count = len(inputs) - 1
    return make_scatter_all(inputs, outputs, patterns=(pattern,), counts=(count,), shape=shape, whole=False)


for _op in (
    shape.reshape, shape.flatten, shape.expand_dims, shape.squeeze,
    shape.identity, shape.detach, shape.copy, shape.cast,
):  # fmt: skip
    _op.lower(lower_by(make_copy, "copy"))
for _op in (
    shape.transpose, shape.swapaxes, shape.moveaxis, shape.broadcast_to, shape.flip, shape.split,
):  # fmt: skip
    _op.lower(lower_by(_copied_views(_op), "NumPy copy"))
shape.concatenate.lower(lower_by(make_concatenate))
shape.stack.lower(lower_by(make_stack))
shape.pad.lower(lower_by(make_pad))
index.lower(lower_by(make_index, "index"))
scatter.lower(lower_by(make_scatter, "scatter"))
scatter_all.lower(lower_by(make_scatter_all))
embedding.lower(lower_by(make_embedding, "embedding"))
scatter_rows.lower(lower_by(make_scatter_rows, "scatter rows"))
