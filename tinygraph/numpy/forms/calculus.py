"""Forms of numerical calculus: differences, integrals, interpolation, convolutions, grids of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.registry import ops
from tinygraph.errors import NumpyFunctionError
from tinygraph.numpy.form import along, axis_of, detached, floating, form, known, operand, refuse, value
from tinygraph.numpy.memory_order import laid_out_like

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


@form(np.gradient)
def gradient(f: Any, *varargs: Any, axis: object = None, edge_order: int = 1) -> Any:
    f = floating(f)
    axes = range(f.ndim) if axis is None else axis if isinstance(axis, tuple | list) else (axis,)
    axes = [axis_of(one, f.ndim) for one in axes]
    if len(varargs) not in (0, 1, len(axes)):
        raise TypeError("invalid number of arguments")
    spacings = (
        varargs * len(axes)
        if len(varargs) == 1 and np.ndim(varargs[0]) == 0
        else varargs or (1.0,) * len(axes)
    )
    if len(spacings) != len(axes):
        raise TypeError("invalid number of arguments")
    found = tuple(_slope(f, spacing, at, edge_order) for spacing, at in zip(spacings, axes, strict=True))
    return found[0] if len(found) == 1 else found


def _slope(f: Any, spacing: object, axis: int, edge_order: int) -> Any:
    """Second-order differences inside, one-sided ones of the first or second order at the ends."""
    size = f.shape[axis]
    if size < edge_order + 1:
        raise ValueError("Shape of array too small to calculate a numerical gradient")

    def at(*index: Any) -> Any:
        return f[along(axis, *index)]

    steps = operand(spacing) if not isinstance(spacing, float) else np.asarray(spacing)
    if steps.ndim:
        if steps.shape != (size,):
            raise ValueError("when 1d, distances must match the length of the corresponding dimension")
        steps = steps[1:] - steps[:-1]
    else:
        steps = steps * np.ones(size - 1)
    wide = steps.reshape([-1 if i == axis else 1 for i in range(f.ndim)])

    def step(*index: object) -> Any:
        return wide[along(axis, *index)]

    before, after = step(slice(None, -1)), step(slice(1, None))
    inside = (
        at(slice(None, -2)) * (-after / (before * (before + after)))
        + at(slice(1, -1)) * ((after - before) / (before * after))
        + at(slice(2, None)) * (before / (after * (before + after)))
    )
    first, second = slice(0, 1), slice(1, 2)
    last, previous = slice(-1, None), slice(-2, -1)
    if edge_order == 1:
        left = (at(second) - at(first)) / step(first)
        right = (at(last) - at(previous)) / step(last)
    else:
        a, b = step(first), step(second)
        left = at(first) * (-(2 * a + b) / (a * (a + b))) + at(second) * ((a + b) / (a * b))
        left = left - at(slice(2, 3)) * (a / (b * (a + b)))
        a, b = step(previous), step(last)
        right = at(last) * ((2 * b + a) / (b * (a + b))) - at(previous) * ((a + b) / (a * b))
        right = right + at(slice(-3, -2)) * (b / (a * (a + b)))
    return laid_out_like(f, np.concatenate([left, inside, right], axis=axis).astype(f.dtype))


@form(np.trapezoid)
def trapezoid(y: Numeric, x: Numeric | None = None, dx: object = 1.0, axis: int = -1) -> Any:
    y = operand(y)
    at = axis_of(axis, y.ndim)
    if x is not None:
        x = operand(x)
        dx = np.diff(x, axis=at if x.ndim > 1 else -1)
        dx = dx.reshape([-1 if i == at else 1 for i in range(y.ndim)]) if x.ndim == 1 else dx
    pairs = y[along(at, slice(1, None))] + y[along(at, slice(None, -1))]
    return np.sum(dx * pairs / 2.0, axis=at)


@form(np.interp)
def interp(x: Numeric, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Any:
    """Lines between the points; at a point the line behind it has the say, beyond the ends nothing moves with x."""
    x, xp, fp = (one.astype(np.result_type(one.dtype, np.float64)) for one in map(operand, (x, xp, fp)))
    if period is not None:
        period = np.abs(period)
        x, xp = np.remainder(x, period), np.remainder(xp, period)
        order = np.argsort(xp, kind="stable")
        xp, fp = xp[order], fp[order]
        xp = np.concatenate([xp[-1:] - period, xp, xp[:1] + period])
        fp = np.concatenate([fp[-1:], fp, fp[:1]])
        left = right = None
    if x.size == xp.size == fp.size == 0:
        return np.copy(x)  # since NumPy 2.5; before, it was an error
    if xp.ndim != 1 or xp.shape != fp.shape or xp.size == 0:
        raise ValueError("xp and fp must be one-dimensional, of one length, and not empty")
    below, above = np.less(x, xp[0]), np.greater(x, xp[-1])
    first = fp[0] if left is None else left
    last = fp[-1] if right is None else right
    if xp.size == 1:
        return np.where(below, first, np.where(above, last, fp[0] + np.zeros(x.shape)))
    places = np.clip(np.searchsorted(xp, x, side="right") - 1, 0, xp.size - 2)
    start, below_it = ops.take(xp, places), ops.take(fp, places)  # arrays take no places that are captured
    width = ops.take(xp, places + 1) - start
    line = below_it + (ops.take(fp, places + 1) - below_it) * (
        (x - start) / np.where(np.equal(width, 0), 1.0, width)
    )
    line = np.where(np.equal(x, xp[-1]), fp[-1] + (line - detached(line)), line)
    return np.where(below, first, np.where(above, last, line))


@form(np.convolve)
def convolve(a: Numeric, v: Numeric, mode: str = "full") -> Any:
    a, v = np.atleast_1d(operand(a)), np.atleast_1d(operand(v))
    if a.ndim > 1 or v.ndim > 1 or not a.size or not v.size:
        raise ValueError("np.convolve takes two vectors that are not empty")
    long, short = (v, a) if v.size > a.size else (a, v)
    count = short.size
    edge = {"full": (count - 1, count - 1), "same": (count // 2, (count - 1) // 2), "valid": (0, 0)}
    edge["same"] = (count - 1 - (count - 1) // 2, (count - 1) // 2)
    if mode not in edge:
        raise ValueError(f"mode is 'full', 'same' or 'valid', not {mode!r}")
    padded = np.pad(long, edge[mode])
    windows = np.arange(padded.size - count + 1)[:, None] + np.arange(count)
    return np.matmul(padded[windows], short[::-1])


@form(np.correlate)
def correlate(a: Numeric, v: Numeric, mode: str = "valid") -> Any:
    a, v = np.atleast_1d(operand(a)), np.atleast_1d(operand(v))
    if v.size > a.size:  # NumPy turns the result around then
        return np.conj(correlate(v, a, mode)[::-1]) if mode != "same" else _same(a, v)
    return convolve(a, np.conj(v[::-1]), mode)


def _same(a: Numeric, v: Numeric) -> Any:
    """The middle of a correlation with a longer vector, as NumPy cuts it."""
    return np.conj(correlate(v, a, "same")[::-1])


@form(np.unwrap)
def unwrap(p: object, discont: Any = None, axis: int = -1, *, period: float = 2 * np.pi) -> Any:
    """The jumps taken out are multiples of the period: constants."""
    x = floating(p)
    plain = detached(x)
    if known(plain):
        plain = value(plain)
        return x + (np.unwrap(plain, discont, axis, period=period) - plain)
    steps = np.diff(plain, axis=axis)
    low = -period / 2
    turned = np.remainder(steps - low, period) + low
    turned = np.where(np.logical_and(turned == low, steps > 0), period / 2, turned)
    least = max(period / 2, discont or 0)
    jumps = np.cumsum(np.where(np.abs(steps) < least, 0, turned - steps), axis=axis)
    first = np.zeros_like(jumps[along(axis_of(axis, x.ndim), slice(0, 1))])
    return x + np.concatenate([first, jumps], axis=axis)


@form(np.linspace)
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: DTypeLike | None = None,
    axis: int = 0,
    *,
    device: object = None,
) -> Any:
    start, stop = floating(start), floating(stop)
    parts = num - 1 if endpoint else num
    shape = (num,) + (1,) * max(start.ndim, stop.ndim)
    kind = np.result_type(start.dtype, stop.dtype)
    share = (np.arange(num) / max(parts, 1)).reshape(shape).astype(np.empty(0, kind).real.dtype)
    found = start + (stop - start) * share
    if endpoint and num > 1:
        found = np.where(share == 1, stop + 0 * found, found)  # the end is exactly the end
    found = np.moveaxis(found, 0, axis)
    if dtype is not None:
        found = (np.floor(found) if np.dtype(dtype).kind in "iu" else found).astype(dtype)
    return (found, (stop - start) / parts) if retstep else found


@form(np.logspace)
def logspace(
    start: object,
    stop: object,
    num: int = 50,
    endpoint: bool = True,
    base: Any = 10.0,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> Any:
    exponents = linspace(start, stop, num, endpoint, axis=axis)
    found = np.power(base if np.ndim(base) == 0 else np.expand_dims(operand(base), axis), exponents)
    return found if dtype is None else found.astype(dtype)


@form(np.geomspace)
def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: DTypeLike | None = None,
    axis: int = 0,
) -> Any:
    kind = np.result_type(operand(start).dtype, operand(stop).dtype, np.float64)  # at least, as NumPy's
    start, stop = operand(start).astype(kind), operand(stop).astype(kind)
    if known(start, stop) and np.any(value(np.sign(start)) != value(np.sign(stop))):
        raise NumpyFunctionError(
            "np.geomspace on tensors takes ends of one sign, so that what is between them is real"
        )
    sign = np.sign(start)
    exponents = linspace(np.log(start * sign), np.log(stop * sign), num, endpoint, axis=axis)
    found = np.exp(exponents) * np.expand_dims(sign, axis) if sign.ndim else np.exp(exponents) * sign
    return found if dtype is None else found.astype(dtype)


def _cumulative(function: object, plain: Any, first: float) -> None:
    @form(function)
    def accumulated(
        x: Any,
        /,
        *,
        axis: int | None = None,
        dtype: Any = None,
        out: object = None,
        include_initial: bool = False,
    ) -> Any:
        refuse(function, "use the result", out=out)
        x = np.atleast_1d(x)
        if axis is None:
            if x.ndim != 1:
                raise ValueError(
                    "For arrays which have more than one dimension ``axis`` argument is required."
                )
            axis = 0
        found = plain(x if dtype is None else x.astype(dtype), axis=axis)
        if not include_initial:
            return found
        at = axis_of(axis, x.ndim)
        shape = tuple(1 if i == at else n for i, n in enumerate(x.shape))
        return np.concatenate([np.full(shape, first, found.dtype), found], axis=at)


_cumulative(np.cumulative_sum, np.cumsum, 0)
_cumulative(np.cumulative_prod, np.cumprod, 1)


@form(np.i0)
def i0(x: Numeric) -> Any:
    try:
        from scipy import special
    except ImportError:
        raise NumpyFunctionError(
            "np.i0 on tensors needs SciPy, for its derivative: pip install 'tinygraph-autodiff[scipy]'"
        ) from None
    return special.i0(floating(x))
