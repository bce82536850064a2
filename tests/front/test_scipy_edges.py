"""Every function of `tg.scipy` on empty, 0-d, broadcast, read-only and single precision operands, on operands that do
not lie in rows, and compiled: shapes, dtypes and numbers are SciPy's. And special functions at limits and extremes.
"""

import copy
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.front.checking import check_captured, leaves, tracked
from tests.front.scipy_calls import (
    DISCRETE,
    INTEGRATE,
    LINALG,
    SIGNAL,
    SPECIAL,
    STATS,
    UP_TO_SIGN,
    special_call,
)
from tests.front.test_edges import VARIANTS, changed, check
from tinygraph.errors import CaptureError, DTypeError, NumpyFunctionError, ShapeError

pytest.importorskip("scipy", reason="SciPy is not installed")
import scipy.integrate
import scipy.linalg
import scipy.signal
import scipy.special
import scipy.stats

from tinygraph_ops.special.ops import table, unknown

pytestmark = pytest.mark.filterwarnings("ignore")


def read_only(x: Any) -> Any:
    x = x.copy()
    x.setflags(write=False)
    return x


LAYOUTS = {
    **VARIANTS,
    "turned around": lambda x: x[::-1] if x.ndim else x,
    "in columns": lambda x: np.asfortranarray(x),
    "read-only": read_only,
}
# What differs from SciPy and why.
SQUARE = "singular vectors of matrices that are not square have no derivative: refused"
NO_MATRIX = "no matrices that fit: SciPy answers with nothing, and here they are refused"
BY_VALUE = (
    "the result of this real matrix is complex, which its values decide: refused, with the cast to write"
)
APART = {
    ("linalg.svd", "no rows"): SQUARE,
    ("linalg.svd", "no columns"): SQUARE,
    ("linalg.rq", "no rows"): SQUARE,
    ("linalg.rq", "no columns"): SQUARE,
    ("linalg.solve_sylvester", "no rows"): NO_MATRIX,
    ("linalg.solve_sylvester", "no columns"): NO_MATRIX,
    ("linalg.lu_solve", "no rows"): NO_MATRIX,
    ("linalg.cho_solve", "turned around"): "a factor with zeros on its diagonal is singular, where SciPy answers inf",
    ("linalg.logm", "turned around"): BY_VALUE,
    ("linalg.sqrtm", "turned around"): BY_VALUE,
    ("linalg.fractional_matrix_power", "turned around"): BY_VALUE,
    ("linalg.eig", "turned around"): "vectors are complex always, so that programs know their class",
    ("linalg.eig", "nothing along any axis"): "the same",
    ("linalg.sqrtm", "0-d"): "SciPy 1.17 answers exp(x)",
    ("linalg.lu", "no columns"): "SciPy's P has no rows, so that P L U does not fit",
    ("linalg.lu_factor", "0-d"): "a matrix, where SciPy 1.17 gives a number that lu_solve does not take",
    ("signal.convolve2d", "no rows"): "zeros of odd shapes, refused",
    ("signal.convolve2d", "nothing along any axis"): "the same",
    ("signal.convolve2d", "no columns"): "the same",
    **{("integrate.odeint", one): "no time to begin at" for one in ("no rows", "no columns", "nothing along any axis")},
}  # fmt: skip


def rows() -> dict[str, tuple[Any, Any, tuple[Any, ...], dict[str, Any]]]:
    """Our function, SciPy's, and the arguments of a call, by name."""
    found = {}
    for name in dict.fromkeys([*table(), *SPECIAL]):
        theirs = getattr(scipy.special, name, None)
        if theirs is not None:
            missing = unknown(name, theirs.nin) if name in table() and isinstance(theirs, np.ufunc) else ()
            args = special_call(name, theirs, missing)
            found[f"special.{name}"] = getattr(tg.scipy.special, name), theirs, args, {}
    for module, calls in (("linalg", LINALG), ("signal", SIGNAL), ("integrate", INTEGRATE)):
        ours, theirs = getattr(tg.scipy, module), getattr(scipy, module)
        for name, (args, options) in calls.items():
            found[f"{module}.{name}"] = getattr(ours, name), getattr(theirs, name), args, options
    for name, args in STATS.items():
        ours, theirs = getattr(tg.scipy.stats, name), getattr(scipy.stats, name)
        found[f"stats.{name}.logpdf"] = ours.logpdf, theirs.logpdf, tuple(map(np.asarray, args)), {}
        if ours._cdf is not None:
            numbers = (args[0], *(float(np.ravel(one)[0]) for one in args[1:]))
            found[f"stats.{name}.cdf"] = ours.cdf, theirs.cdf, numbers, {}
    for name, (k, *given, p) in DISCRETE.items():
        ours, theirs = getattr(tg.scipy.stats, name), getattr(scipy.stats, name)
        found[f"stats.{name}.logpmf"] = ours.logpmf, theirs.logpmf, (k, *given, np.asarray(p)), {}
    return found


ROWS = rows()


def numbers(out: Any) -> list[Any]:
    """Results without flags and counts, as arrays."""
    found = [one.detach().numpy() if isinstance(one, tg.Tensor) else one for one in leaves(out)]
    return [np.asarray(one) for one in found if getattr(one, "dtype", np.dtype(bool)).kind in "fc"]


@pytest.mark.parametrize("name", ROWS)
def test_edges(name: str) -> None:
    ours, theirs, args, options = ROWS[name]
    with np.errstate(all="ignore"):
        for variant, change in LAYOUTS.items():
            given = changed(list(args), change)
            settings = {key: changed(one, change) for key, one in options.items()}
            try:
                expected = theirs(*copy.deepcopy(given), **copy.deepcopy(settings))
            except (ValueError, TypeError, IndexError, ArithmeticError):  # SciPy takes no such operands
                continue
            if (name, variant) in APART:
                try:
                    found = numbers(ours(*(tracked(one, []) for one in given), **settings))
                except (NumpyFunctionError, ShapeError, DTypeError, ValueError):
                    continue
                assert [one.dtype for one in found] != [one.dtype for one in numbers(expected)] or any(
                    one.shape != other.shape or not np.allclose(one, other)
                    for one, other in zip(found, numbers(expected), strict=True)
                ), f"{name}, {variant}: as SciPy has it; take it off the list"
                continue
            if name not in ("linalg.cho_factor", "linalg.lstsq"):  # flags, and a rank that is no array there
                check(ours, given, settings, leaves(expected), f"{name}, {variant}")
            found = numbers(ours(*(tracked(one, []) for one in given), **settings))
            tolerance = 1e-4 if variant == "single precision" else 1e-9
            for one, other in zip(found, numbers(expected), strict=True):
                assert (one.shape, one.dtype) == (other.shape, other.dtype), f"{name}, {variant}"
                if name.rpartition(".")[2] not in UP_TO_SIGN:
                    np.testing.assert_allclose(
                        one, other, rtol=tolerance, atol=tolerance / 100, err_msg=variant
                    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_captured_as_eagerly(name: str) -> None:
    ours, _, args, options = ROWS[name]
    if name == "integrate.odeint":
        return  # its slope is the user's function: see test_scipy.py
    with np.errstate(all="ignore"):
        check_captured(ours, args, options)


def test_special_functions_of_operands_that_broadcast() -> None:
    for name, (ours, theirs, args, _) in ROWS.items():
        arrays = [i for i, one in enumerate(args) if isinstance(one, np.ndarray) and one.ndim == 1]
        if not isinstance(theirs, np.ufunc) or len(arrays) < 2:
            continue
        given = list(args)
        given[arrays[0]] = given[arrays[0]][:, None]
        operands: list[Any] = []
        found = leaves(ours(*(tracked(one, operands) for one in given)))
        for one, other in zip(found, leaves(theirs(*given)), strict=True):
            np.testing.assert_allclose(one.detach().numpy(), other, rtol=1e-12, err_msg=name)
        sum(np.sum(np.real(one)) for one in found).backward()
        for i, one in zip(arrays, operands, strict=True):
            alone = [
                np.broadcast_to(x, found[0].shape).copy() if isinstance(x, np.ndarray) else x for x in given
            ]
            whole: list[Any] = []
            sum(np.sum(np.real(y)) for y in leaves(ours(*(tracked(x, whole) for x in alone)))).backward()
            axis = 1 if i == arrays[0] else 0
            total = whole[arrays.index(i)].grad.numpy().sum(axis).reshape(one.shape)
            np.testing.assert_allclose(one.grad.numpy(), total, rtol=1e-9, atol=1e-12, err_msg=name)


TINY = 1e-300
# function, operands, the operand to differentiate by, the derivative there
LIMITS = [
    ("exprel", (0.0,), 0, 0.5), ("exprel", (TINY,), 0, 0.5), ("exprel", (1e-4,), 0, 0.5 + 1e-4 / 3 + 1e-8 / 8),
    ("boxcox", (2.0, 0.0), 1, np.log(2) ** 2 / 2), ("boxcox", (2.0, TINY), 1, np.log(2) ** 2 / 2),
    ("boxcox1p", (1.0, 0.0), 1, np.log(2) ** 2 / 2), ("inv_boxcox", (1.5, 0.0), 1, -1.125 * np.exp(1.5)),
    ("inv_boxcox", (1.5, TINY), 1, -1.125 * np.exp(1.5)), ("inv_boxcox1p", (1.5, 0.0), 1, -1.125 * np.exp(1.5)),
    ("rgamma", (0.0,), 0, 1.0), ("rgamma", (-1.0,), 0, -1.0), ("rgamma", (-2.0,), 0, 2.0),
    ("poch", (0.0, 1.5), 0, np.sqrt(np.pi) / 2), ("binom", (2.5, -1.0), 1, 1 / 3.5),
    ("spherical_jn", (1, 0.0), 1, 1 / 3), ("spherical_jn", (1, TINY), 1, 1 / 3), ("spherical_in", (1, 0.0), 1, 1 / 3),
    ("spherical_jn", (0, 0.0), 1, 0.0), ("berp", (0.0,), 0, 0.0), ("beip", (0.0,), 0, 0.5),
    ("ellipk", (0.0,), 0, np.pi / 8), ("ellipk", (TINY,), 0, np.pi / 8), ("ellipe", (TINY,), 0, -np.pi / 8),
    ("ellipkm1", (1.0,), 0, -np.pi / 8), ("ellipkinc", (0.7, 0.0), 1, (0.7 - np.sin(0.7) * np.cos(0.7)) / 4),
    ("ellipeinc", (0.7, TINY), 1, -(0.7 - np.sin(0.7) * np.cos(0.7)) / 4), ("it2struve0", (0.0,), 0, -2 / np.pi),
    ("kolmogorov", (0.0,), 0, 0.0), ("kolmogorov", (TINY,), 0, 0.0),
    ("zetac", (-2.0,), 0, -0.030448457058393270), ("i1e", (0.0,), 0, 0.5), ("i1e", (1e300,), 0, 0.0),
    ("k1e", (1e300,), 0, 0.0), ("agm", (1e300, 1e300), 0, 0.5), ("elliprg", (1e100, 1e100, 1e100), 0, 1e-50 / 6),
]  # fmt: skip


@pytest.mark.parametrize(("name", "operands", "by", "expected"), LIMITS)
def test_slopes_at_limits(name: str, operands: tuple[Any, ...], by: int, expected: float) -> None:
    function = getattr(tg.scipy.special, name)
    given = tuple(np.float64(one) if isinstance(one, float) else one for one in operands)
    np.testing.assert_allclose(tg.grad(function, argnums=by)(*given), expected, rtol=1e-12, atol=1e-15)
    direction = tuple(np.float64(i == by) for i in range(len(given)))
    if all(isinstance(one, float) for one in operands):
        np.testing.assert_allclose(tg.jvp(function, given, direction)[1], expected, rtol=1e-12, atol=1e-15)


def test_second_slopes_at_limits() -> None:
    special = tg.scipy.special
    for function, x, expected in (
        (special.exprel, 0.0, 1 / 3),
        (lambda p: special.boxcox(2.0, p), 0.0, np.log(2) ** 3 / 3),
        (special.ellipk, 0.0, 9 * np.pi / 64),
        (special.ellipe, 0.0, -3 * np.pi / 64),
        (special.rgamma, 0.0, 2 * np.euler_gamma),
        (lambda m: special.ellipkinc(np.pi / 2, m), 0.0, 9 * np.pi / 64),
    ):
        np.testing.assert_allclose(tg.grad(tg.grad(function))(np.float64(x)), expected, rtol=1e-9)


EXTREMES = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, TINY, -TINY, 1e300, -1e300, 40.0, -40.0, 1.0, -1.0])


# Of SciPy's ufuncs those that are met most: many others allocate by their operands, or crash at such orders.
COMMON = [
    "erf", "erfc", "gammaln", "gamma", "psi", "expit", "logit", "xlogy", "xlog1py",
    "gammainc", "gammaincc", "betainc", "ndtr", "log_ndtr", "ndtri", "j0", "j1", "i0e",
    "i1e", "k0e", "entr", "rel_entr", "kl_div", "boxcox", "exprel", "rgamma",
]  # fmt: skip


@pytest.mark.parametrize(
    "name", [f"special.{one}" for one in COMMON] + [one for one in ROWS if one.startswith("stats")]
)
def test_values_at_extremes_are_scipys(name: str) -> None:
    """And gradients are computed: nothing raises, and what is NaN stays so."""
    ours, theirs, args, options = ROWS[name]
    for i, one in enumerate(args):
        if not (isinstance(one, np.ndarray) and one.dtype.kind == "f"):
            continue
        given = [x if not isinstance(x, np.ndarray) else x.dtype.type(np.ravel(x)[1 % x.size]) for x in args]
        # SciPy takes the logarithm of some densities, where it is -inf at once
        points = np.clip(EXTREMES, -500, 500) if name.startswith("stats") else EXTREMES
        points = np.where(np.isinf(EXTREMES), EXTREMES, points)
        x = tg.tensor(points, requires_grad=True)
        with np.errstate(all="ignore"):
            expected = theirs(*given[:i], points, *given[i + 1 :], **options)
            found = leaves(ours(*given[:i], x, *given[i + 1 :], **options))
            for mine, other in zip(found, leaves(expected), strict=True):
                np.testing.assert_allclose(
                    mine.detach().numpy(), other, rtol=1e-9, atol=1e-12, err_msg=str(i)
                )
            sum(np.sum(np.real(mine)) for mine in found).backward()
        assert x.grad is not None
        assert x.grad.shape == x.shape


def test_a_matrix_without_a_factor_raises_numpys_error() -> None:
    """So that code which catches it, to add a jitter, say, works on tensors."""
    bad = np.array([[1.0, 2.0], [2.0, 1.0]])
    for function in (np.linalg.cholesky, tg.scipy.linalg.cholesky, lambda x: np.linalg.inv(x * 0)):
        with pytest.raises(np.linalg.LinAlgError):
            function(tg.tensor(bad, requires_grad=True))
        with pytest.raises(np.linalg.LinAlgError):
            tg.compile(function)(bad)
    with pytest.raises(CaptureError):
        tg.compile(lambda x: np.linalg.eig(x))(bad)
