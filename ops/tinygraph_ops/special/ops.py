"""The op of special functions, and how SciPy's ufuncs reach it on tensors, once scipy.special has been imported."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from tinygraph.plugin import (
    ErrorSample,
    Numeric,
    NumpyFunctionError,
    Sample,
    SettingError,
    form,
    op,
    ops,
    value,
    when_imported,
)


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
        if getattr(x, "dtype", np.dtype(int)).kind not in "fc":
            found.append(None)
            continue
        terms = [part * (np.nan if row[i] is None else row[i]) for part, row in rows if part is not None]
        found.append(_sum(terms))
    return tuple(found)


def _sum(terms: list[Any]) -> Any:
    total = terms[0]
    for one in terms[1:]:
        total = total + one
    return total


@cache
def unknown(function: str, count: int) -> tuple[int, ...]:
    """The operands by which no derivative is known."""
    from scipy import special

    xs = [1 if i < _OF_INTEGERS.get(function, 0) else np.float64(1.0) for i in range(count)]
    with np.errstate(all="ignore"):
        out = getattr(special, function)(*xs)
        partials = table()[function](out, *xs)
    rows = partials if isinstance(out, tuple) else (partials,)
    return tuple(i for i in range(count) if all(row[i] is None for row in rows))


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
