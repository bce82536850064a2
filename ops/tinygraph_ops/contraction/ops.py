"""Products that sum over shared axes: matmul, einsum, and what is composed of them. Elementwise products are in
`arithmetic.py`, convolution in `convolution.py`."""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from string import ascii_letters
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.plugin import (
    Array,
    ArrayType,
    ErrorSample,
    Expansion,
    Numeric,
    NumpyFunctionError,
    Read,
    Sample,
    SettingError,
    ShapeError,
    aligned,
    broadcast_places,
    broadcast_shapes,
    composite,
    in_rows,
    indices,
    laid_out,
    normalize_axes,
    op,
    operand,
    ops,
    settled,
)

_A = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]
_B = [[1.0, -1.0], [0.5, 2.0], [3.0, 0.0]]
_BATCH = [[[1.0, 2.0, 0.5]], [[-1.0, 0.0, 2.0]]]
_V = [1.0, -2.0, 0.5]


@op(
    kind="contraction",
    facts={"transposed_product": True},
    numpy=np.matmul,
    linear=("x", "y"),
    samples=[
        Sample(_A, _B, expected=[[11.0, 3.0], [24.5, 6.0]]),
        Sample(_V, _V, expected=5.25),
        Sample(_A, _V),
        Sample(_V, _B),
        Sample(_BATCH, _B),
        Sample(_A, [_B, _B]),
        Sample(_BATCH, [[_B], [_B]]),
        Sample(_BATCH, _V),
        Sample(_V, [_B, _B]),
        Sample([2.0], [[3.0, 4.0]], expected=[6.0, 8.0]),
    ],
    error_samples=[
        ErrorSample(_A, _A, error=ShapeError, match="3 and 2"),
        ErrorSample(_A, 2.0, error=ShapeError, match="at least 1 dimension"),
        ErrorSample([_A, _A], [_B, _B, _B], error=ShapeError, match="broadcast"),
    ],
)
def matmul(x: Numeric, y: Numeric) -> Numeric:
    """x @ y;  d/dx = g @ yᵀ,  d/dy = xᵀ @ g. Axes before the last two broadcast; a vector is a row on the left, a
    column on the right."""
    if (
        getattr(x, "ndim", 0) > 2 and np.ndim(y) == 2
    ):  # one product of large matrices is faster than many of small ones
        shape = np.shape(x)
        return (np.reshape(x, (prod(shape[:-1]), shape[-1])) @ y).reshape(*shape[:-1], np.shape(y)[1])
    found: Numeric = np.matmul(x, y)
    return found


@matmul.vjp("x")
def matmul_wrt_x(g: Numeric, y: Numeric, x_type: ArrayType) -> Numeric:
    """g yᵀ, with axes added and taken away for operands that are vectors."""
    if y.ndim == 1:
        return (g if x_type.ndim == 1 else ops.expand_dims(g, axis=-1)) * y
    if x_type.ndim == 1:
        return ops.squeeze(ops.matmul(y, ops.expand_dims(g, axis=-1)), axis=-1)
    return ops.matmul(g, ops.swapaxes(y, axis1=-1, axis2=-2))


@matmul.vjp("y")
def matmul_wrt_y(g: Numeric, x: Numeric, y_type: ArrayType) -> Numeric:
    """xᵀ g, summed over the batch where y is one matrix for all of it."""
    if x.ndim == 2:
        return ops.matmul(x.T, g)
    if x.ndim == 1:
        return g * x if y_type.ndim == 1 else ops.expand_dims(g, axis=-2) * ops.expand_dims(x, axis=-1)
    if y_type.ndim > 2:
        return ops.matmul(ops.swapaxes(x, axis1=-1, axis2=-2), g)
    # y is shared by the whole batch: one product sums over it
    rows = ops.reshape(x, shape=(prod(x.shape[:-1]), x.shape[-1]))
    ends = ops.reshape(g, shape=(prod(x.shape[:-1]), *y_type.shape[1:]))
    return ops.matmul(ops.transpose(rows), ends)


matmul.pushes("x", "y")


@matmul.types
def matmul_types(x: ArrayType, y: ArrayType) -> ArrayType:
    """The broadcast batch, then the rows of x and the columns of y."""
    for name, one in (("x", x), ("y", y)):
        if not getattr(one, "shape", ()):
            raise ShapeError(
                f"matmul needs at least 1 dimension, and {name} is a scalar; multiply scalars with *"
            )
    left, right = x.shape[-1], y.shape[-2:][0]
    if left != right:
        raise ShapeError(
            f"the last axis of x and the {'first' if y.ndim == 1 else 'second to last'} of y must have one size; they "
            f"have {left} and {right} in {x.shape} @ {y.shape}"
        )
    shape = (*broadcast_shapes(x.shape[:-2], y.shape[:-2]), *x.shape[-2:-1], *y.shape[-1:][: y.ndim - 1])
    return ArrayType(shape, np.matmul(x.stand_in((1, 1)), y.stand_in((1, 1))).dtype)


@matmul.batch
def matmul_batched(batched: Sequence[bool], x: Numeric, y: Numeric) -> Any:
    """Of vectors a row and a column; then stacks of matrices, and one large product where y is shared."""
    left, right = x.ndim - batched[0], y.ndim - batched[1]
    if not batched[1] and right <= 2:
        return ops.matmul(x, y)
    if not batched[0] and left == 2 and right == 1:
        return ops.matmul(y, ops.swapaxes(x, axis1=0, axis2=1))
    if left == 1:
        x = ops.expand_dims(x, axis=-2)
    if right == 1:
        y = ops.expand_dims(y, axis=-1)
    found = ops.matmul(*aligned(batched, (x, y)))
    gone = ((-2,) if left == 1 else ()) + ((-1,) if right == 1 else ())
    return ops.squeeze(found, axis=gone) if gone else found


@matmul.expand
def matmul_expansion(x: ArrayType, y: ArrayType) -> Expansion:
    """A row of x with a column of y: the couples are multiplied and summed."""
    shape = matmul_types(x, y).shape
    at, (k,) = indices(len(shape), 1)
    batch = at[: len(shape) - (x.ndim > 1) - (y.ndim > 1)]
    row = () if x.ndim == 1 else (at[len(batch)],)
    column = () if y.ndim == 1 else (at[-1],)
    left = Read(0, x.shape, (*broadcast_places(batch, x.shape[:-2]), *row, k))
    right = Read(1, y.shape, (*broadcast_places(batch, y.shape[:-2]), k, *column))
    return Expansion(shape, (left, right), over=(x.shape[-1],), reduce="sum")


@op(
    kind="contraction",
    facts={"read_only": True},
    linear=("x", "y", "others"),
    samples=[
        Sample(_A, _B, subscripts="ij,jk->ik", expected=[[11.0, 3.0], [24.5, 6.0]]),
        Sample(_A, subscripts="ij->j", expected=[5.0, 7.0, 9.0]),
        Sample(_A, _V, subscripts="ij,j"),
        Sample(_B, None, subscripts="ji", expected=[[1.0, 0.5, 3.0], [-1.0, 2.0, 0.0]]),
        Sample([[1.0, 2.0], [3.0, 4.0]], None, subscripts="ii", expected=5.0),
        Sample([[1.0, 2.0], [3.0, 4.0]], [0.5, 2.0], subscripts="ii,j->ij"),
        Sample(_BATCH, _V, subscripts="...i,i->..."),
        Sample(_BATCH, _B, subscripts="...ij,jk"),
        Sample(_BATCH, _V, subscripts="...i,...i->..."),
        Sample(_BATCH, _A, subscripts="b...j,kj->...bk"),
        Sample(_A, _V, _B, subscripts="ij,j,jk->ki"),
        Sample(_A, _V, _B, _V, subscripts="ij,j,jk,j->ki"),
        Sample(_V, _V, subscripts="i,j->ij"),
        Sample(_A, _BATCH, subscripts="...,...->..."),
        Sample([[2.0], [3.0]], _A, subscripts="ij,ij->i", expected=[12.0, 45.0]),
    ],
    error_samples=[
        ErrorSample(_A, _A, subscripts="ij,jk->ik", error=ShapeError, match="label 'j'"),
        ErrorSample(_A, None, subscripts="ij,jk->ik", error=SettingError, match="2 operands"),
        ErrorSample(_A, None, subscripts="ijk->i", error=ShapeError, match="2 dimensions"),
        ErrorSample(_A, None, subscripts="ij->k", error=SettingError, match="'k'"),
        ErrorSample(_A, None, subscripts="i1->i", error=SettingError, match="letters"),
    ],
)
def einsum(x: Array, y: Array | None = None, *others: Array, subscripts: str) -> Numeric:
    """Σ of products of elements with the labels of `subscripts`, such as "ij,jk->ik"; NumPy's notation, with ....

    The gradient of an operand is the product of the others with g, labelled as that operand.
    """
    operands = _given(x, y, others)
    terms, output = formula(subscripts, [np.ndim(one) for one in operands])
    wanted = f"{','.join(terms)}->{output}"
    found: Array = np.einsum(wanted, *operands, optimize=len(operands) > 1)
    if len(operands) == 1 or len(output) < 2:
        return found
    axes = _numpys_axes(wanted, tuple(_lies(np.asarray(one)) for one in operands))
    if found.transpose(axes).flags.c_contiguous:
        return found
    back = [axes.index(i) for i in range(len(axes))]
    lying: Array = np.ascontiguousarray(found.transpose(axes))
    return lying.transpose(back)


def _lies(x: Array) -> tuple[tuple[int, int], ...]:
    """What decides how NumPy lays out a result: of each axis its size, as 0, 1 or more, and its place in memory."""
    strides = [abs(one) for one in x.strides]
    order = sorted(set(strides), reverse=True)
    return tuple((min(size, 2), order.index(one)) for size, one in zip(x.shape, strides, strict=True))


@lru_cache(maxsize=4096)
def _numpys_axes(
    wanted: str, lies: tuple[tuple[tuple[int, int], ...], ...], path: tuple[Any, ...] = ()
) -> tuple[int, ...]:
    """The axes of a result of `np.einsum` from the slowest to the fastest, found on small arrays that lie alike.

    Args:
        path: of an optimized product, whose steps NumPy lays out each.
    """
    alike = []
    for axes in lies:
        shape = [size for size, _ in axes]
        order = sorted(range(len(axes)), key=lambda i: axes[i][1])
        made = np.zeros([shape[i] for i in order])
        alike.append(made.transpose([order.index(i) for i in range(len(order))]))
    strides = np.einsum(wanted, *alike, optimize=list(path) or False).strides
    return tuple(sorted(range(len(strides)), key=lambda i: -strides[i]))


@einsum.vjp("x")
def einsum_wrt_x(g: Numeric, x_type: ArrayType, y: Numeric, others: Numeric, subscripts: str) -> Numeric:
    """The einsum of g with the other operands that has the labels of x as its output."""
    return _einsum_wrt(0, x_type, g, [None, *_given(y, None, others)], subscripts)


@einsum.vjp("y")
def einsum_wrt_y(
    g: Numeric, x: Numeric, y_type: ArrayType, others: tuple[Numeric, ...], subscripts: str
) -> Any:
    """The einsum of g with the other operands that has the labels of y as its output."""
    return _einsum_wrt(1, y_type, g, [x, None, *others], subscripts)


einsum.pushes("x", "y")


@einsum.vjp("others")
def einsum_wrt_others(
    g: Numeric, x: Numeric, y: Numeric, others: tuple[Numeric, ...], others_type: Any, subscripts: str
) -> Any:
    """For each further operand the einsum of g with all others that has its labels as the output."""
    operands = [x, y, *others]
    return tuple(
        _einsum_wrt(
            i, one, g, [None if k == i else operand for k, operand in enumerate(operands)], subscripts
        )
        if one.differentiable
        else None
        for i, one in enumerate(others_type, start=2)
    )


@einsum.types
def einsum_types(x: ArrayType, y: ArrayType | None = None, *others: ArrayType, subscripts: str) -> ArrayType:
    """One axis for each label of the output; a label has one size, or 1, wherever it stands."""
    operands = _given(x, y, others)
    terms, output = formula(subscripts, [one.ndim for one in operands])
    sizes: dict[str, int] = {}
    for term, one in zip(terms, operands, strict=True):
        for label, size in zip(term, one.shape, strict=True):
            if size != sizes.setdefault(label, size) and 1 not in (size, sizes[label]):
                raise ShapeError(f"label {label!r} of {subscripts!r} has the sizes {sizes[label]} and {size}")
            sizes[label] = size if sizes[label] == 1 else sizes[label]
    labelled = (one.stand_in((1,) * one.ndim) for one in operands)
    dtype = np.einsum(f"{','.join(terms)}->{output}", *labelled).dtype
    return ArrayType(tuple(sizes[label] for label in output), dtype)


@einsum.batch
def einsum_batched(batched: Any, *operands: Any, subscripts: str) -> Any:
    """The batch axis is one more label."""
    given = [(x, one) for x, one in zip(operands, batched, strict=True) if x is not None]
    terms, output = formula(subscripts, [x.ndim - one for x, one in given])
    label = next(letter for letter in ascii_letters if letter not in "".join(terms))
    marked = [label + term if one else term for term, (_, one) in zip(terms, given, strict=True)]
    return ops.einsum(*(x for x, _ in given), subscripts=f"{','.join(marked)}->{label}{output}")


@einsum.expand
def einsum_expansion(
    x: ArrayType, y: ArrayType | None = None, *others: ArrayType, subscripts: str
) -> Expansion:
    """The product of the elements at the labels' places, summed over labels that the output lacks."""
    given = [(i, one) for i, one in enumerate((x, y, *others)) if one is not None]
    terms, output = formula(subscripts, [one.ndim for _, one in given])
    sizes: dict[str, int] = {}
    for term, (_, one) in zip(terms, given, strict=True):
        sizes |= {
            label: size for label, size in zip(term, one.shape, strict=True) if sizes.get(label, 1) == 1
        }
    summed = [label for label in sizes if label not in output]
    at, over = indices(len(output), len(summed))
    place = dict(zip((*output, *summed), (*at, *over), strict=True))
    return Expansion(
        tuple(sizes[label] for label in output),
        tuple(
            Read(i, one.shape, broadcast_places([place[label] for label in term], one.shape))
            for term, (i, one) in zip(terms, given, strict=True)
        ),
        over=tuple(sizes[label] for label in summed),
        reduce="sum" if summed else "none",
    )


@einsum.numpy(np.einsum)
def np_einsum(subscripts: Any, *operands: object, optimize: object = None, **options: Any) -> Any:
    """`np.einsum` with its subscripts as a string, or with lists of labels."""
    if not isinstance(subscripts, str):  # operand, its labels, operand, its labels, ..., the result's labels
        given = [subscripts, *operands]
        result = [given.pop()] if len(given) % 2 else []
        terms = [_letters(labels) for labels in given[1::2]]
        subscripts = ",".join(terms) + ("->" + _letters(result[0]) if result else "")
        operands = tuple(given[0::2])
    dtype, casting = options.pop("dtype", None), options.pop("casting", "safe")
    out, order = options.pop("out", None), options.pop("order", "K")
    if options:
        raise NumpyFunctionError(f"np.einsum on tensors does not take {', '.join(options)}")
    if dtype is not None:
        operands = tuple(settled("np.einsum", operand(x), dtype=dtype, casting=casting) for x in operands)
    found = einsum(*operands, subscripts=subscripts)
    if optimize is not None and optimize is not False and order == "K":
        found = _along_a_path(found, subscripts, operands, optimize)
    if order != "K":
        found = ops.copy(found, order=order)
    return settled("np.einsum", found, out=out)


def _along_a_path(found: Any, subscripts: str, operands: Any, optimize: Any) -> Any:
    """A result as NumPy lays it out where it may choose the order of products."""
    given = [getattr(operand(x), "_value", x) for x in operands]
    if found.ndim < 2 or not all(isinstance(one, np.ndarray) for one in given):
        return found
    terms, output = formula(subscripts, [one.ndim for one in given])
    wanted = f"{','.join(terms)}->{output}"
    path = tuple(np.einsum_path(wanted, *given, optimize=optimize)[0])
    axes = _numpys_axes(wanted, tuple(map(_lies, given)), path)
    return laid_out(found, [-axes.index(i) for i in range(len(axes))])


def _letters(labels: Any) -> str:
    """Labels that are numbers, or the dots, as a string's: below 26 capital letters, as NumPy orders them."""
    return "".join("..." if one is Ellipsis else ascii_letters[(one + 26) % 52] for one in labels)


def _given(x: Any, y: Any, others: Any) -> list[Any]:
    return [one for one in (x, y, *others) if one is not None]


def formula(subscripts: str, ranks: list[int]) -> tuple[list[str], str]:
    """The labels of each operand and of the output, with letters in the place of the dots."""
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ranks):
        raise SettingError(
            f"subscripts {subscripts!r} are for {len(terms)} operands, and {len(ranks)} are given"
        )
    named = [term.replace("...", "", 1) for term in terms]
    used = "".join(named) + output.replace("...", "", 1)
    if not all(label in ascii_letters for label in used):
        raise SettingError(f"subscripts {subscripts!r} may hold letters, one '...' each, ',' and '->' only")
    dotted = [rank - len(name) for rank, name, term in zip(ranks, named, terms, strict=True) if "..." in term]
    letters = "".join(label for label in ascii_letters if label not in used)[: max([0, *dotted])]
    for i, (term, rank) in enumerate(zip(terms, ranks, strict=True)):
        extra = rank - len(named[i])
        if extra < 0 or (extra and "..." not in term):
            raise ShapeError(
                f"operand {i} has {rank} dimensions, but its subscripts {term!r} name {len(named[i])}"
            )
        terms[i] = term.replace("...", letters[len(letters) - extra :])
    if not arrow:
        labels = "".join(named)
        output = "..." + "".join(sorted(label for label in set(labels) if labels.count(label) == 1))
    elif letters and "..." not in output:
        raise SettingError(f"the output of {subscripts!r} must hold the '...' of its operands")
    output = output.replace("...", letters)
    for label in output:
        if output.count(label) > 1 or not any(label in term for term in terms):
            raise SettingError(
                f"output label {label!r} of {subscripts!r} must stand once in the output and in an operand"
            )
    return terms, output


def _einsum_wrt(place: int, types: ArrayType, g: Numeric, operands: list[Any], subscripts: str) -> Numeric:
    """The gradient of the operand at `place`; `operands` has None there."""
    ranks = [types.ndim if k == place else one.ndim for k, one in enumerate(operands)]
    terms, output = formula(subscripts, ranks)
    factors, labels = [g], [output]
    for k, one in enumerate(operands):
        if k != place:
            factors.append(one)
            labels.append(terms[k])
    free = iter(label for label in ascii_letters if label not in "".join(terms))
    target = ""
    for label, size in zip(terms[place], types.shape, strict=True):
        if label in target:  # a diagonal: only places with equal indices count
            fresh = next(free)
            factors.append(np.eye(size, dtype=types.dtype))
            labels.append(label + fresh)
            target += fresh
            continue
        target += label
        if not any(label in one for one in labels):  # summed over on its own
            factors.append(np.ones(size, types.dtype))
            labels.append(label)
    found = ops.einsum(*factors, subscripts=f"{','.join(labels)}->{target}")
    # where the others have size 1 and were broadcast, every element of this operand met the same one
    shape = tuple(own if size == 1 else size for size, own in zip(found.shape, types.shape, strict=True))
    return ops.broadcast_to(found, shape=shape) if shape != found.shape else found


# -- compositions ------------------------------------------------------------------------------------------------------


@composite(
    samples=[
        Sample(_A, _B, axes=1, expected=[[11.0, 3.0], [24.5, 6.0]]),
        Sample(_A, _A, axes=2, expected=91.0),
        Sample(_A, _B, axes=((0,), (-1,))),
        Sample(_V, _A, axes=0),
    ],
    error_samples=[ErrorSample(_A, _A, axes=1, error=ShapeError, match="3 and 2")],
)
def tensordot(x: Numeric, y: Numeric, *, axes: Any = 2) -> Numeric:
    """Σ over the last `axes` axes of x and the first of y, or over a pair of lists of axes."""
    rank, other = np.ndim(x), np.ndim(y)
    if isinstance(axes, int):
        mine, theirs = tuple(range(rank - axes, rank)), tuple(range(axes))
    else:
        mine, theirs = ((one,) if isinstance(one, int) else tuple(one) for one in axes)
    mine = tuple(normalize_axes(axis, rank)[0] for axis in mine)
    theirs = tuple(normalize_axes(axis, other)[0] for axis in theirs)
    if len(mine) != len(theirs):
        raise SettingError(
            f"tensordot: axes {axes} name {len(mine)} axes of x and {len(theirs)} of y; they are summed in pairs"
        )
    for i, k in zip(mine, theirs, strict=True):
        if np.shape(x)[i] != np.shape(y)[k]:
            raise ShapeError(
                f"tensordot: axis {i} of x and axis {k} of y have the sizes {np.shape(x)[i]} and {np.shape(y)[k]}"
            )
    left = list(ascii_letters[:rank])
    right = list(ascii_letters[rank : rank + other])
    for i, k in zip(mine, theirs, strict=True):
        right[k] = left[i]
    output = [label for label in left + right if not (label in left and label in right)]
    return ops.einsum(x, y, subscripts=f"{''.join(left)},{''.join(right)}->{''.join(output)}")


@tensordot.numpy(np.tensordot)
def np_tensordot(a: Numeric, b: Numeric, axes: object = 2) -> Any:
    """`np.tensordot`, whose result lies in rows."""
    return in_rows(tensordot(a, b, axes=axes))


@composite(
    numpy=np.dot,
    samples=[
        Sample(_A, _B, expected=[[11.0, 3.0], [24.5, 6.0]]),
        Sample(2.0, _V),
        Sample(_BATCH, [_B, _B]),
        Sample(_A, _V),
    ],
)
def dot(x: Numeric, y: Numeric) -> Numeric:
    """np.dot: Σ over the last axis of x and the second to last of y (the last of a vector); * for scalars."""
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        return ops.multiply(x, y)
    if np.ndim(y) <= 2:
        return ops.matmul(x, y)
    return ops.tensordot(x, y, axes=(-1, -2))


@composite(numpy=np.inner, samples=[Sample(_V, _V, expected=5.25), Sample(_A, _BATCH), Sample(2.0, _V)])
def inner(x: Numeric, y: Numeric) -> Numeric:
    """Σ over the last axis of both; * for scalars."""
    if np.ndim(x) == 0 or np.ndim(y) == 0:
        return ops.multiply(x, y)
    return ops.tensordot(x, y, axes=(-1, -1))


@composite(
    numpy=np.outer,
    samples=[Sample([1.0, 2.0], [3.0, 4.0], expected=[[3.0, 4.0], [6.0, 8.0]]), Sample(_A, _V)],
)
def outer(x: Numeric, y: Numeric) -> Numeric:
    """Every product of an element of x with one of y, both flattened."""
    return ops.reshape(x, shape=(-1, 1)) * ops.reshape(y, shape=(1, -1))


@composite(
    numpy=np.vdot, samples=[Sample(_A, _A, expected=91.0), Sample([1.0j, 2.0], [1.0, 1.0j], expected=1.0j)]
)
def vdot(x: Numeric, y: Numeric) -> Numeric:
    """Σ conj(x) y over all elements."""
    return ops.matmul(_conjugate(ops.reshape(x, shape=(-1,))), ops.reshape(y, shape=(-1,)))


def _conjugate(x: Numeric) -> Any:
    """The conjugate of complex numbers; of bools NumPy's conj would make integers."""
    return ops.conj(x) if x.dtype.kind in "cO" else x


@composite(
    numpy=(np.vecdot, np.linalg.vecdot),
    samples=[
        Sample(_A, _V, expected=[-1.5, -3.0]),
        Sample([1.0j, 2.0], [1.0, 1.0j], expected=1.0j),
        Sample(_A, _A, axis=0, expected=[17.0, 29.0, 45.0]),
    ],
    error_samples=[
        ErrorSample(_A, [1.0], error=ShapeError, match="3 in x and 1 in y"),
        ErrorSample(_A, 1.0, error=ShapeError, match="0 dimensions"),
    ],
)
def vecdot(x: Numeric, y: Numeric, *, axis: int = -1) -> Numeric:
    """Σ conj(x) y over `axis` of both, the last by default, the other axes broadcasting."""
    (mine,), (theirs,) = normalize_axes(axis, np.ndim(x)), normalize_axes(axis, np.ndim(y))
    if np.shape(x)[mine] != np.shape(y)[theirs]:
        raise ShapeError(
            f"vecdot: axis {axis} has the sizes {np.shape(x)[mine]} in x and {np.shape(y)[theirs]} in y, of shapes "
            f"{np.shape(x)} and {np.shape(y)}; only other axes broadcast"
        )
    left, right = ops.moveaxis(x, source=mine, destination=-1), ops.moveaxis(y, source=theirs, destination=-1)
    products = ops.multiply(_conjugate(left), right)
    # in the products' dtype, as a contraction has it; a sum would have a larger one
    return ops.cast(ops.sum(products, axis=-1), dtype=products.dtype)


@composite(
    samples=[Sample([[1.0, 2.0], [3.0, 4.0]], expected=5.0), Sample(_BATCH, offset=1, axis1=1, axis2=2)]
)
def trace(x: Numeric, *, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Numeric:
    """Σ over the diagonal of two axes."""
    return ops.sum(ops.diagonal(x, offset=offset, axis1=axis1, axis2=axis2), axis=-1)


@trace.numpy(np.trace)
def np_trace(
    a: Numeric,
    offset: int = 0,
    axis1: int = 0,
    axis2: int = 1,
    dtype: DTypeLike | None = None,
    out: object = None,
) -> Any:
    """`np.trace`; the sum is computed in `dtype`."""
    found = trace(a if dtype is None else operand(a).astype(dtype), offset=offset, axis1=axis1, axis2=axis2)
    return settled("np.trace", found, out=out)
