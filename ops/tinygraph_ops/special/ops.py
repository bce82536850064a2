"""The op of special functions, and how SciPy's ufuncs reach it on tensors, once scipy.special has been imported."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from tinygraph.plugin import (
    ArrayType,
    ErrorSample,
    Numeric,
    NumpyFunctionError,
    Sample,
    SettingError,
    broadcast_shapes,
    detached,
    form,
    op,
    ops,
    value,
    when_imported,
)
from tinygraph_ops.special import slopes


_INT = np.dtype(int)


@cache
def table() -> Any:
    """The table of derivatives, which asks for ops by name and so is read once all of them are declared."""
    from tinygraph_ops.special import partials

    return partials.PARTIALS


@op(
    kind="elementwise",
    samples=[
        Sample([0.5, 1.0, 2.5], function="gammaln", expected=[0.5723649429247001, 0.0, 0.2846828704729192]),
        Sample([0.5, 2.0], [[1.0], [0.25]], function="xlogy"),
        Sample([0.3, -0.7], function="airy"),
        Sample([1, 2], [0.3, 0.7], function="jv"),
    ],
    error_samples=[ErrorSample([1.0], function="sine", error=SettingError, match="sine")],
)
def special_function(*xs: object, function: str) -> Any:
    """A function of scipy.special, by its name;  the derivatives are a table of such functions.

    Where no derivative by an operand is known the gradient is nan, never zero.
    """
    if function not in table():
        raise SettingError(f"{function!r} is no function of scipy.special with a known derivative")
    from scipy import special

    return getattr(special, function)(*xs)


@special_function.vjp("xs")
def special_function_wrt_xs(g: Numeric, xs: Any, out: Any, function: str) -> tuple[Any, ...]:
    partials = table()[function](out, *xs)
    rows = tuple(zip(g, partials, strict=True)) if isinstance(g, tuple) else ((g, partials),)
    found: list[Any] = []
    for i, x in enumerate(xs):
        if getattr(x, "dtype", _INT).kind not in "fc":
            found.append(None)
            continue
        terms = [
            part * _partial(row[i], xs, function, i, k if isinstance(g, tuple) else None)
            for k, (part, row) in enumerate(rows)
            if part is not None
        ]
        found.append(_sum(terms))
    return tuple(found)


def _partial(
    known: Numeric | None, xs: Sequence[Numeric], function: str, operand: int, output: int | None
) -> Any:
    """A partial derivative of the table, or what stands for it: nan where there is none by nature."""
    if known is not None:
        return known
    if operand in slopes.DOMAINS.get(function, {}):
        return ops.special_slope(*xs, function=function, operand=operand, order=1, output=output)
    return np.nan


def _sum(terms: list[Any]) -> Any:
    total = terms[0]
    for one in terms[1:]:
        total = total + one
    return total


@op(
    kind="elementwise",
    samples=[
        Sample([1.5, 2.0], [0.7, 1.9], function="gammainc", operand=0, order=1),
        Sample([0.5, 2.0], [1.2, 0.4], function="jv", operand=0, order=2),
        Sample([0.5, 2.0], [1.2, 0.4], [0.3, 0.6], function="betainc", operand=1, order=1),
        Sample([1.2, 0.4], [0.3, 0.6], function="ellipj", operand=1, order=1, output=2),
    ],
    error_samples=[ErrorSample([1.0], function="erf", operand=0, order=1, error=SettingError, match="erf")],
)
def special_slope(*xs: Numeric, function: str, operand: int, order: int, output: int | None = None) -> Any:
    """The derivative, of an order, of a function of scipy.special by an operand with no closed form; see `slopes.py`.

    Of a function with several results `output` says which. In double precision.
    """
    from scipy import special

    domain = _domain(function, operand)
    dtype = _inexact(xs)
    wide = [np.asarray(x, float if np.asarray(x).dtype.kind == "f" else None) for x in xs]
    points, counts = slopes.spread(wide[operand], domain, order)
    given = [points if i == operand else x[..., None] for i, x in enumerate(wide)]
    found = getattr(special, function)(*given)
    found = np.sum((found if output is None else found[output]) * counts, axis=-1)
    return found.astype(np.result_type(dtype, np.complex64) if found.dtype.kind == "c" else dtype)


@special_slope.types
def special_slope_types(
    *xs: ArrayType, function: str, operand: int, order: int, output: int | None = None
) -> ArrayType:
    """The broadcast shape; complex where the function is."""
    _domain(function, operand)
    dtype = _inexact(xs)
    if function.startswith("hankel"):
        dtype = np.result_type(dtype, np.complex64)
    return ArrayType(broadcast_shapes(*(x.shape for x in xs)), dtype)


def _inexact(xs: Sequence[Any]) -> np.dtype[Any]:
    return np.result_type(*(x.dtype for x in xs if getattr(x, "dtype", _INT).kind in "fc"))


def _domain(function: str, operand: int) -> Any:
    found = slopes.DOMAINS.get(function, {}).get(operand)
    if found is None:
        raise SettingError(
            f"no derivative of {function!r} by its operand number {operand + 1} is made of its values"
        )
    return found


@special_slope.vjp("xs")
def special_slope_wrt_xs(
    g: Numeric, xs: Sequence[Numeric], function: str, operand: int, order: int, output: int | None
) -> tuple[Any, ...]:
    """By the operand itself the next order; by another one the slope of that partial derivative."""
    found: list[Any] = []
    for i, x in enumerate(xs):
        if getattr(x, "dtype", _INT).kind not in "fc":
            found.append(None)
        elif i == operand:
            found.append(
                g * ops.special_slope(*xs, function=function, operand=i, order=order + 1, output=output)
            )
        else:
            found.append(g * _slope_of_partial(xs, function, operand, order, output, i))
    return tuple(found)


def _slope_of_partial(
    xs: Sequence[Numeric], function: str, operand: int, order: int, output: int | None, by: int
) -> Any:
    """The derivative by one operand of what the table has as the partial derivative by another one."""
    narrow = _inexact(xs)
    xs = [_wide(x) for x in xs]
    points, counts = weights_at(xs[operand], slopes.DOMAINS[function][operand], order)
    given = [
        points if i == operand else x if np.ndim(x) == 0 else ops.expand_dims(x, axis=-1)
        for i, x in enumerate(xs)
    ]
    out = ops.special_function(*given, function=function)
    row = table()[function](out, *given)
    partial = _partial((row if output is None else row[output])[by], given, function, by, output)
    found = ops.sum(partial * counts, axis=-1)
    return ops.cast(found, dtype=np.result_type(narrow, np.complex64) if found.dtype.kind == "c" else narrow)


def _wide(x: Numeric) -> Any:
    """An operand in double precision."""
    return ops.cast(x, dtype=np.result_type(x.dtype, float)) if getattr(x, "dtype", _INT).kind in "fc" else x


def weights_at(x: Numeric, domain: slopes.Domain, order: int) -> tuple[Any, Any]:
    """`slopes.spread` of a tensor: the points move with x, how far they reach is a constant."""
    points, counts = slopes.weights(order)
    radius = ops.expand_dims(domain.radius(detached(x)), axis=-1)
    return ops.expand_dims(x, axis=-1) + radius * points, counts / radius**order


@cache
def unknown(function: str, count: int) -> tuple[int, ...]:
    """The operands by which no derivative is known."""
    from scipy import special

    xs = [1 if i < _OF_INTEGERS.get(function, 0) else np.float64(1.0) for i in range(count)]
    with np.errstate(all="ignore"):
        out = getattr(special, function)(*xs)
        partials = table()[function](out, *xs)
    rows = partials if isinstance(out, tuple) else (partials,)
    sloped = slopes.DOMAINS.get(function, {})
    return tuple(i for i in range(count) if i not in sloped and all(row[i] is None for row in rows))


# How many operands of a function come first that must be integers.
_OF_INTEGERS = {
    "bdtr": 2, "bdtrc": 2, "nbdtr": 2, "nbdtrc": 2,
    "eval_hermite": 1, "eval_hermitenorm": 1, "expn": 1, "kn": 1, "polygamma": 1, "sph_harm_y": 2, "spherical_in": 1,
    "spherical_jn": 1, "spherical_kn": 1, "spherical_yn": 1, "yn": 1,
}  # fmt: skip


def _answer(function: str) -> Any:
    """A function that applies the op of a name, and refuses gradients by operands of which no derivative is known."""

    def applied(*xs: object) -> Any:
        if any(getattr(x, "requires_grad", False) for x in xs):
            for i in unknown(function, len(xs)):
                if getattr(xs[i], "requires_grad", False):
                    raise NumpyFunctionError(
                        f"scipy.special.{function} has no known derivative by its operand number {i + 1}: pass a plain "
                        f"number, or tensor.detach() if no gradient is wanted"
                    )
        return ops.special_function(*xs, function=function)

    return applied


@when_imported("scipy.special")
def enter() -> None:
    """Let the table answer SciPy's functions, ufuncs or not."""
    from scipy import special

    for name in table():
        found = getattr(special, name, None)  # in older versions of SciPy some are not there
        if found is not None:
            form(found)(_named(_answer(name), name))
    for name in ("round", "gammasgn"):  # without a slope
        form(getattr(special, name))(_named(_constant(getattr(special, name)), name))


def _constant(function: Any) -> Any:
    return lambda *xs: function(*map(value, xs))


def _named(function: Any, name: str) -> Any:
    function.__name__ = name
    return function
