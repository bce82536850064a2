"""Forms of NumPy's functions of polynomials, highest power first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.numpy.form import floating, form, operand, value

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


@form(np.polyval)
def polyval(p: Numeric, x: Numeric) -> Any:
    p, x = operand(p), operand(x)
    found: Any = np.zeros(x.shape, np.result_type(p.dtype, x.dtype))
    for k in range(p.shape[0]):
        found = found * x + p[k]
    return found


def _aligned(first: object, second: object) -> tuple[Any, Any]:
    first, second = np.atleast_1d(operand(first)), np.atleast_1d(operand(second))
    size = max(first.size, second.size)
    return np.pad(first, (size - first.size, 0)), np.pad(second, (size - second.size, 0))


@form(np.polyadd)
def polyadd(a1: object, a2: object) -> Any:
    first, second = _aligned(a1, a2)
    return first + second


@form(np.polysub)
def polysub(a1: object, a2: object) -> Any:
    first, second = _aligned(a1, a2)
    return first - second


@form(np.polymul)
def polymul(a1: Any, a2: Any) -> Any:
    return np.convolve(_never_empty(a1), _never_empty(a2))


def _never_empty(p: object) -> Any:
    """Coefficients of which there are none as those of the polynomial 0."""
    p = np.atleast_1d(operand(p))
    return p if p.size else np.zeros(1, p.dtype)


@form(np.polydiv)
def polydiv(u: object, v: Numeric) -> Any:
    u, v = np.atleast_1d(floating(u)), np.atleast_1d(floating(v))
    steps = u.size - v.size + 1
    if steps < 1:
        return np.zeros(1, u.dtype), u
    quotient, rest = [], u
    for _ in range(steps):
        part = rest[0] / v[0]
        quotient.append(part)
        head = rest[1 : v.size] - part * v[1:]
        rest = np.concatenate([head, rest[v.size :]])
    while rest.size > 1 and np.allclose(value(rest[0]), 0, rtol=1e-14):
        rest = rest[1:]
    return np.stack(quotient), rest if rest.size else np.zeros(1, u.dtype)


@form(np.polyder)
def polyder(p: Numeric, m: int = 1) -> Any:
    p = operand(p)
    for _ in range(m):
        p = p[:-1] * np.arange(p.size - 1, 0, -1) if p.size > 1 else p[:0]
    return p


@form(np.polyint)
def polyint(p: Numeric, m: int = 1, k: object = None) -> Any:
    p = operand(p)
    constants = np.zeros(m) if k is None else np.atleast_1d(operand(k)) * np.ones(m)
    for i in range(m):
        p = np.concatenate([p / np.arange(p.size, 0, -1), constants[i : i + 1]])
    return p


@form(np.polyfit)
def polyfit(
    x: Numeric,
    y: Numeric,
    deg: int,
    rcond: float | None = None,
    full: bool = False,
    w: Numeric | None = None,
    cov: object = False,
) -> Any:
    """Least squares with columns scaled to length 1, as NumPy solves them."""
    x, y = floating(x), floating(y)
    columns = np.vander(x, deg + 1)
    if w is not None:
        w = floating(w)
        columns, y = columns * w[:, None], y * (w[:, None] if y.ndim == 2 else w)
    scale = np.sqrt(np.sum(columns * columns, axis=0))
    bound = x.size * np.finfo(x.dtype).eps if rcond is None else rcond
    found, squares, rank, values = np.linalg.lstsq(columns / scale, y, bound)
    found = (found.T / scale).T
    if full:
        return found, squares, rank, values, bound
    if not cov:
        return found
    base = np.linalg.inv(np.matmul(columns.T, columns))
    if cov == "unscaled":
        return found, base if y.ndim == 1 else base[:, :, None]
    if x.shape[0] <= deg + 1:
        raise ValueError("the number of data points must exceed order to scale the covariance matrix")
    factor = squares / (x.shape[0] - deg - 1)
    return found, base * factor if y.ndim == 1 else base[:, :, None] * factor


@form(np.poly)
def poly(seq_of_zeros: object) -> Any:
    zeros = floating(seq_of_zeros)
    if zeros.ndim == 2:
        zeros = np.linalg.eigvals(zeros)
    found: Any = np.ones(1, zeros.dtype)
    for k in range(zeros.shape[0]):
        found = np.convolve(found, np.stack([np.ones((), zeros.dtype), -zeros[k]]))
    return found


@form(np.roots)
def roots(p: Numeric) -> Any:
    """The eigenvalues of the companion matrix; leading and trailing zeros are constants."""
    p = floating(p)
    places = np.flatnonzero(value(p))
    if places.size == 0:
        return np.zeros(0)
    trailing = p.size - int(places[-1]) - 1
    p = p[int(places[0]) : int(places[-1]) + 1]
    if p.size == 1:
        return np.zeros(trailing)
    below = np.eye(p.size - 1, dtype=p.dtype)[:-1]
    found = np.linalg.eigvals(np.concatenate([(-p[1:] / p[0])[None], below], axis=0))
    return np.concatenate([found, np.zeros(trailing, found.dtype)]) if trailing else found
