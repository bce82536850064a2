"""scipy.special on tensors: its ufuncs as they are, and what SciPy writes in Python, written in NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.tensor import Tensor
from tinygraph.numpy.form import floating, grouped, operand
from tinygraph.scipy.passing import double, passed_on, scipy_module

if TYPE_CHECKING:
    from tinygraph.core.numeric import Axis, Numeric


def __getattr__(name: str) -> Any:
    return passed_on("special", name)


def _grouped(body: Any) -> Any:
    return grouped(body.__name__, body)


@_grouped
def logsumexp(
    a: Numeric, axis: Axis = None, b: Numeric | None = None, keepdims: bool = False, return_sign: bool = False
) -> Any:
    """log Σ b exp(a) without overflow; -inf of nothing but -inf, with a gradient that is not NaN."""
    a = floating(a)
    if b is not None:
        b = operand(b)
        a = np.where(np.equal(b, 0), -np.inf, a + np.zeros(np.broadcast_shapes(a.shape, b.shape)))
    top: Any = np.max(a, axis=axis, keepdims=True)
    finite: Any = np.where(np.isfinite(top), top, 0.0)
    # what is added and taken away has no slope
    largest = finite.detach() if isinstance(finite, Tensor) else finite
    terms = np.exp(a - largest)
    total = np.sum(terms if b is None else b * terms, axis=axis, keepdims=keepdims)
    sign = np.sign(total)
    size = np.absolute(total) if return_sign else total
    nothing = np.equal(size, 0)
    found = np.where(nothing, -np.inf, np.log(np.where(nothing, 1.0, size)))
    found = found + (largest if keepdims else largest.reshape(found.shape))
    return (found, sign) if return_sign else found


@_grouped
def log_softmax(x: Numeric, axis: Axis = None) -> Any:
    """x - logsumexp(x)."""
    return x - logsumexp(x, axis=axis, keepdims=True)


@_grouped
def softmax(x: Numeric, axis: Axis = None) -> Any:
    """exp(x) over its sum, without overflow."""
    return np.exp(log_softmax(floating(x), axis))


@_grouped
def multigammaln(a: Numeric, d: int) -> Any:
    """The logarithm of the multivariate gamma function of dimension d."""
    gammaln = scipy_module("special").gammaln
    found = d * (d - 1) * 0.25 * np.log(np.pi)
    for j in range(1, d + 1):
        found = found + gammaln(a + (1 - j) / 2)
    return found


@_grouped
def comb(N: Any, k: Numeric, *, exact: bool = False, repetition: bool = False) -> Any:
    """N over k, as a function of real numbers."""
    if exact:
        return passed_on("special", "comb")(N, k, exact=True, repetition=repetition)
    N, k = floating(N), floating(k)
    if repetition:
        N = N + k - 1
    found = scipy_module("special").binom(N, k)
    return np.where((k <= N) & (N >= 0) & (k >= 0), found, 0.0)


@_grouped
def perm(N: Any, k: Numeric, exact: bool = False) -> Any:
    """N! / (N - k)!, as a function of real numbers."""
    if exact:
        return passed_on("special", "perm")(N, k, exact=True)
    N, k = floating(N), floating(k)
    return np.where((k <= N) & (N >= 0) & (k >= 0), scipy_module("special").poch(N - k + 1, k), 0.0)


@_grouped
def factorial(n: Any, exact: bool = False) -> Any:
    """n! = Γ(n + 1), 0 for negative n."""
    if exact:
        return passed_on("special", "factorial")(n, exact=True)
    n = double(n)
    negative = np.less(n, 0)
    return np.where(negative, 0.0, scipy_module("special").gamma(np.where(negative, 0.0, n) + 1))


@_grouped
def diric(x: Numeric, n: int) -> Any:
    """sin(n x / 2) / (n sin(x / 2)), the Dirichlet function."""
    x = double(x)
    half = np.sin(x / 2)
    at_period = np.absolute(half) < 1e-7
    turns = np.round(x / (2 * np.pi))
    limit = np.power(-1.0, turns * (n - 1))
    return np.where(at_period, limit, np.sin(n * x / 2) / (n * np.where(at_period, 1.0, half)))


def sinc(x: Numeric) -> Any:
    """sin(πx) / (πx)."""
    return np.sinc(x)


def _derivative(function: str, lower: float, upper: float) -> Any:
    """The n-th derivative of a Bessel function by its argument, from those of neighbouring orders."""

    def derivative(v: Any, z: Numeric, n: int = 1) -> Any:
        z = double(z)
        if n == 0:
            return getattr(scipy_module("special"), function)(v, z)
        return lower * derivative(v - 1, z, n - 1) + upper * derivative(v + 1, z, n - 1)

    return derivative


jvp, yvp = _derivative("jv", 0.5, -0.5), _derivative("yv", 0.5, -0.5)
ivp, kvp = _derivative("iv", 0.5, 0.5), _derivative("kv", -0.5, -0.5)
h1vp, h2vp = _derivative("hankel1", 0.5, -0.5), _derivative("hankel2", 0.5, -0.5)


def _spherical(name: str, upper: float) -> Any:
    def function(n: Any, z: Any, derivative: bool = False) -> Any:
        bare = passed_on("special", name)
        if not derivative:
            return bare(n, z)
        return n / z * bare(n, z) + upper * bare(n + 1, z)

    return function


spherical_jn, spherical_yn = _spherical("spherical_jn", -1.0), _spherical("spherical_yn", -1.0)
spherical_in, spherical_kn = _spherical("spherical_in", 1.0), _spherical("spherical_kn", -1.0)


def lambertw(z: Numeric, k: int = 0, tol: float = 1e-8) -> Any:
    """The k-th branch of w with w exp(w) = z, complex."""
    return passed_on("special", "lambertw")(z, k)
