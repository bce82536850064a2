"""scipy.stats on tensors: densities, distribution functions and their logarithms, by their formulas.

A distribution is a row: its standard log density, its support, and where there is one its distribution function;
location and scale are added here for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.errors import NumpyFunctionError
from tinygraph.numpy.form import floating, grouped
from tinygraph.scipy.passing import double, passed_on, scipy_module

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

_ROOT = float(np.log(2 * np.pi)) / 2


def __getattr__(name: str) -> Any:
    return passed_on("stats", name)


def _special() -> Any:
    return scipy_module("special")


class _Distribution:
    """Densities by a standard log density of z (and shape parameters), with location and scale.

    `support` says of z where the density is not zero; `standard` is a z inside, where formulas are evaluated instead of
    outside. `valid` says which shape parameters there are, positive ones if nothing else is said; of others everything
    is NaN, as of a scale that is not positive.
    """

    def __init__(
        self,
        name: str,
        density: Callable[..., Any],
        shapes: int = 0,
        support: Callable[..., Any] | None = None,
        standard: float = 0.5,
        cdf: Callable[..., Any] | None = None,
        logcdf: Callable[..., Any] | None = None,
        discrete: bool = False,
        valid: Callable[..., Any] | None = None,
    ) -> None:
        self.name, self.shapes, self.discrete = name, shapes, discrete
        self._density, self._support, self._standard = density, support, standard
        self._cdf, self._logcdf, self._valid = cdf, logcdf, valid

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(scipy_module("stats"), self.name), name)

    def _arguments(self, x: Numeric, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        known = getattr(scipy_module("stats"), self.name).shapes or ""
        names = [*known.split(", ")[: self.shapes], "loc", "scale"]
        values: dict[str, Any] = {"loc": 0.0, "scale": 1.0} | dict(zip(names, given, strict=False)) | named
        shapes = [floating(values[name]) for name in names[:-2]]
        loc, scale = values["loc"], values["scale"]
        given = (double(x) - loc) / (1.0 if self.discrete else scale)
        inside = None if self._support is None else self._support(given, *shapes)
        z = given if inside is None else np.where(inside, given, self._standard)
        return z, shapes, scale, inside, given

    def _defined(self, found: Any, given: Numeric, scale: Numeric, shapes: list[Any]) -> Any:
        """A result, and NaN where z is or parameters have no meaning."""
        wrong: Any = np.isnan(given)
        if not self.discrete:
            wrong = np.logical_or(wrong, np.logical_not(np.greater(scale, 0)))
        if self._valid is not None:
            wrong = np.logical_or(wrong, np.logical_not(self._valid(*shapes)))
        else:
            for shape in shapes:
                wrong = np.logical_or(wrong, np.logical_not(np.greater(shape, 0)))
        return np.where(wrong, np.nan, found)

    def _logarithm(self, x: Numeric, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        z, shapes, scale, inside, apart = self._arguments(x, given, named)
        found = self._density(z, *shapes)
        found = found if self.discrete else found - np.log(scale)
        found = found if inside is None else np.where(inside, found, -np.inf)
        return self._defined(found, apart, scale, shapes)

    def logpdf(self, x: Numeric, *args: object, **options: object) -> Any:
        """The logarithm of the density, -inf outside of the support."""
        return grouped(f"{self.name}.logpdf", self._logarithm)(x, args, options)

    def pdf(self, x: Numeric, *args: object, **options: object) -> Any:
        """The density."""
        return np.exp(self.logpdf(x, *args, **options))

    logpmf, pmf = logpdf, pdf

    def cdf(self, x: Numeric, *args: object, **options: object) -> Any:
        """The distribution function, where it is a formula."""
        if self._cdf is None:
            raise NumpyFunctionError(
                f"scipy.stats.{self.name}.cdf has no derivative here: pass tensor.detach() to SciPy's"
            )
        z, shapes, scale, inside, given = self._arguments(x, args, options)
        found = self._cdf(z, *shapes)
        if inside is not None:
            found = np.where(inside, found, np.where(given > self._standard, 1.0, 0.0))
        return self._defined(found, given, scale, shapes)

    def logcdf(self, x: Numeric, *args: object, **options: object) -> Any:
        """The logarithm of the distribution function."""
        if self._logcdf is None:
            return np.log(self.cdf(x, *args, **options))
        z, shapes, scale, _, given = self._arguments(x, args, options)
        return self._defined(self._logcdf(z, *shapes), given, scale, shapes)

    def sf(self, x: Numeric, *args: object, **options: object) -> Any:
        """The survival function, 1 - cdf."""
        return 1.0 - self.cdf(x, *args, **options)


def _positive(z: Numeric, *shapes: object) -> Any:
    return z > 0


def _from_zero(z: Numeric, *shapes: object) -> Any:
    return z >= 0


def _unit(z: Numeric, *shapes: object) -> Any:
    return (z > 0) & (z < 1)


def _count(z: Numeric, *shapes: object) -> Any:
    return (z >= 0) & (np.floor(z) == z)


def _xlogy(x: object, y: object) -> Any:
    return _special().xlogy(x, y)


def _lgamma(x: object) -> Any:
    return _special().gammaln(x)


def _choices(n: Any, k: Numeric) -> Any:
    return _lgamma(n + 1) - _lgamma(k + 1) - _lgamma(n - k + 1)


def _student(z: Numeric, v: Any) -> Any:
    normal = np.isinf(v)  # its limit
    v = np.where(normal, 1.0, v)
    found = np.log(_special().poch(v / 2, 0.5)) - np.log(v * np.pi) / 2 - (v + 1) / 2 * np.log1p(z * z / v)
    return np.where(normal, -0.5 * z * z - _ROOT, found)


def _share(p: Numeric) -> Any:
    return np.logical_and(np.greater_equal(p, 0), np.less_equal(p, 1))


def _positive_share(p: Numeric) -> Any:
    return np.logical_and(np.greater(p, 0), np.less_equal(p, 1))


norm = _Distribution(
    "norm",
    lambda z: -0.5 * z * z - _ROOT,
    cdf=lambda z: _special().ndtr(z),
    logcdf=lambda z: _special().log_ndtr(z),
)
uniform = _Distribution("uniform", lambda z: 0.0 * z, support=lambda z: (z >= 0) & (z <= 1), cdf=lambda z: z)
expon = _Distribution("expon", lambda z: -z, support=_from_zero, cdf=lambda z: -np.expm1(-z))
gamma = _Distribution(
    "gamma",
    lambda z, a: _xlogy(a - 1, z) - z - _lgamma(a),
    1,
    _positive,
    cdf=lambda z, a: _special().gammainc(a, z),
)
beta = _Distribution(
    "beta",
    lambda z, a, b: _xlogy(a - 1, z) + _special().xlog1py(b - 1, -z) - _special().betaln(a, b),
    2,
    _unit,
    cdf=lambda z, a, b: _special().betainc(a, b, z),
)
chi2 = _Distribution(
    "chi2",
    lambda z, k: _xlogy(k / 2 - 1, z) - z / 2 - _lgamma(k / 2) - k / 2 * np.log(2),
    1,
    _positive,
    cdf=lambda z, k: _special().chdtr(k, z),
)
t = _Distribution(
    "t",
    _student,
    1,
    cdf=lambda z, v: _special().stdtr(v, z),
)
f = _Distribution(
    "f",
    lambda z, m, n: (
        m / 2 * np.log(m) + n / 2 * np.log(n) + _xlogy(m / 2 - 1, z) - (m + n) / 2 * np.log(n + m * z)
        - _special().betaln(m / 2, n / 2)
    ),
    2,
    _positive,
    cdf=lambda z, m, n: _special().fdtr(m, n, z),
)  # fmt: skip
cauchy = _Distribution(
    "cauchy",
    lambda z: -np.log(np.pi) - 2 * np.log(np.hypot(1.0, z)),
    cdf=lambda z: 0.5 + np.arctan(z) / np.pi,
)
laplace = _Distribution(
    "laplace",
    lambda z: -np.absolute(z) - np.log(2),
    cdf=lambda z: 0.5 - 0.5 * np.sign(z) * np.expm1(-np.absolute(z)),
)
logistic = _Distribution(
    "logistic",
    lambda z: -np.logaddexp(0.0, z) - np.logaddexp(0.0, -z),
    cdf=lambda z: _special().expit(z),
    logcdf=lambda z: -np.logaddexp(0.0, -z),
)
lognorm = _Distribution(
    "lognorm",
    lambda z, s: -np.square(np.log(z) / s) / 2 - np.log(s * z) - _ROOT,
    1,
    _positive,
    cdf=lambda z, s: _special().ndtr(np.log(z) / s),
)
pareto = _Distribution(
    "pareto",
    lambda z, b: np.log(b) - (b + 1) * np.log(z),
    1,
    lambda z, b: z >= 1,
    1.5,
    cdf=lambda z, b: 1 - z**-b,
)
weibull_min = _Distribution(
    "weibull_min",
    lambda z, c: np.log(c) + _xlogy(c - 1, z) - z**c,
    1,
    _positive,
    cdf=lambda z, c: -np.expm1(-(z**c)),
)
gumbel_r = _Distribution("gumbel_r", lambda z: -z - np.exp(-z), cdf=lambda z: np.exp(-np.exp(-z)))
gumbel_l = _Distribution("gumbel_l", lambda z: z - np.exp(z), cdf=lambda z: -np.expm1(-np.exp(z)))
rayleigh = _Distribution(
    "rayleigh",
    lambda z: np.log(z) - z * z / 2,
    support=lambda z: (z > 0) & (z < np.inf),
    cdf=lambda z: -np.expm1(-z * z / 2),
)
halfnorm = _Distribution(
    "halfnorm",
    lambda z: np.log(2) - _ROOT - z * z / 2,
    support=_from_zero,
    cdf=lambda z: _special().erf(z / np.sqrt(2)),
)
invgamma = _Distribution(
    "invgamma",
    lambda z, a: -(a + 1) * np.log(z) - _lgamma(a) - 1 / z,
    1,
    _positive,
    cdf=lambda z, a: _special().gammaincc(a, 1 / z),
)
gennorm = _Distribution("gennorm", lambda z, b: np.log(b / 2) - _lgamma(1 / b) - np.absolute(z) ** b, 1)
vonmises = _Distribution(
    "vonmises",
    lambda z, k: k * np.cos(z) - np.log(2 * np.pi) - np.log(_special().i0e(k)) - k,
    1,
    valid=lambda k: np.greater_equal(k, 0),
)

poisson = _Distribution(
    "poisson",
    lambda k, mu: _xlogy(k, mu) - mu - _lgamma(k + 1),
    1,
    _count,
    1.0,
    discrete=True,
    valid=lambda mu: np.greater_equal(mu, 0),
)
bernoulli = _Distribution(
    "bernoulli",
    lambda k, p: _xlogy(k, p) + _special().xlog1py(1 - k, -p),
    1,
    lambda k, p: (k == 0) | (k == 1),
    1.0,
    discrete=True,
    valid=_share,
)
binom = _Distribution(
    "binom",
    lambda k, n, p: _choices(n, k) + _xlogy(k, p) + _special().xlog1py(n - k, -p),
    2,
    lambda k, n, p: _count(k) & (k <= n),
    0.0,
    discrete=True,
    valid=lambda n, p: np.logical_and(np.greater_equal(n, 0), _share(p)),
)
geom = _Distribution(
    "geom",
    lambda k, p: np.log(p) + _special().xlog1py(k - 1, -p),
    1,
    lambda k, p: _count(k) & (k >= 1),
    1.0,
    discrete=True,
    valid=_positive_share,
)
nbinom = _Distribution(
    "nbinom",
    lambda k, n, p: _lgamma(n + k) - _lgamma(k + 1) - _lgamma(n) + n * np.log(p) + _special().xlog1py(k, -p),
    2,
    _count,
    0.0,
    discrete=True,
    valid=lambda n, p: np.logical_and(np.greater(n, 0), _positive_share(p)),
)


class _MultivariateNormal:
    """The normal distribution of vectors."""

    def __getattr__(self, name: str) -> Any:
        return getattr(scipy_module("stats").multivariate_normal, name)

    def logpdf(self, x: Numeric, mean: object = None, cov: object = 1, allow_singular: bool = False) -> Any:
        """The logarithm of the density, by the Cholesky factor of the covariance."""
        if allow_singular:
            raise NumpyFunctionError("multivariate_normal.logpdf on tensors takes covariances of full rank")
        return grouped("multivariate_normal.logpdf", _normal_vectors)(x, mean, cov)

    def pdf(self, x: Numeric, mean: object = None, cov: object = 1, allow_singular: bool = False) -> Any:
        """The density."""
        return np.exp(self.logpdf(x, mean, cov, allow_singular))


def _normal_vectors(x: Numeric, mean: Any, cov: Any) -> Any:
    x, cov = floating(x), floating(cov)
    mean = np.zeros(()) if mean is None else floating(mean)
    size = max(mean.shape[-1] if mean.ndim else 1, cov.shape[-1] if cov.ndim else 1)
    if cov.ndim == 0:
        cov = cov * np.eye(size)
    elif cov.ndim == 1:
        cov = np.diag(cov)
    apart = x - mean
    if apart.ndim == 0:
        apart = apart.reshape(1)
    elif apart.ndim == 1 and size == 1:
        apart = apart[:, None]
    factor = np.linalg.cholesky(cov)
    flat = apart.reshape(-1, size)
    scaled = np.linalg.solve(factor, flat.T)
    squares = np.sum(scaled * scaled, axis=0).reshape(apart.shape[:-1])
    return -0.5 * squares - np.sum(np.log(np.diagonal(factor))) - size * _ROOT


class _Dirichlet:
    """The Dirichlet distribution."""

    def __getattr__(self, name: str) -> Any:
        return getattr(scipy_module("stats").dirichlet, name)

    def logpdf(self, x: Any, alpha: Any) -> Any:
        """The logarithm of the density, of points along the first axis, as SciPy has it."""
        x, alpha = floating(x), floating(alpha)
        if x.shape[0] == alpha.shape[-1] - 1:
            x = np.concatenate([x, 1 - np.sum(x, axis=0, keepdims=True)], axis=0)
        whole = np.sum(_lgamma(alpha)) - _lgamma(np.sum(alpha))
        return np.sum(_xlogy((alpha - 1), x.T).T, axis=0) - whole

    def pdf(self, x: Numeric, alpha: object) -> Any:
        """The density."""
        return np.exp(self.logpdf(x, alpha))


class _Multinomial:
    """The multinomial distribution."""

    def __getattr__(self, name: str) -> Any:
        return getattr(scipy_module("stats").multinomial, name)

    def logpmf(self, x: Any, n: Any, p: Any) -> Any:
        """The logarithm of the probability."""
        x, p = floating(x), floating(p)
        return _lgamma(n + 1.0) + np.sum(_xlogy(x, p) - _lgamma(x + 1), axis=-1)

    def pmf(self, x: Numeric, n: object, p: object) -> Any:
        """The probability."""
        return np.exp(self.logpmf(x, n, p))


multivariate_normal, dirichlet, multinomial = _MultivariateNormal(), _Dirichlet(), _Multinomial()
