"""NumPy's and SciPy's functions in captured programs, under vmap,
and in single precision: the numbers of eager code."""

import numpy as np
import pytest

import tinygraph as tg
from tests.front.calls import SYMMETRIC, TALL, UP, A, B, V, W, given
from tests.front.checking import leaves
from tinygraph.errors import CaptureError, ShapeError

GAPS = np.array([[0.62, np.nan, 0.47], [0.85, 0.29, np.nan], [1.46, 0.98, 0.33]])
PLACES = np.array([2, 0, 1])

# Functions that look at values: places, counts, orders of elements and rows.
CALLS = {
    "interp": (np.interp, (V, UP, W[[0, 1, 2, 3, 0]])),
    "interp with a period": (lambda x, p, f: np.interp(x, p, f, period=3.0), (V, UP, UP)),
    "unwrap": (np.unwrap, (4 * V,)), "nanmedian": (np.nanmedian, (GAPS,)),
    "nanquantile": (lambda x: np.nanquantile(x, 0.3, 1), (GAPS,)),
    "partition": (lambda x: np.partition(x, 2), (V,)), "argpartition": (lambda x: np.argpartition(x, 2), (V,)),
    "searchsorted": (np.searchsorted, (UP, V)), "digitize": (np.digitize, (V, UP)), "isin": (np.isin, (V, W)),
    "isclose": (np.isclose, (A, B)), "copysign": (np.copysign, (A, B - 1)), "fmod": (np.fmod, (A, B)),
    "modf": (np.modf, (A - 1,)),
    "frexp": (np.frexp, (A,)), "nextafter": (np.nextafter, (A, B)), "signbit": (np.signbit, (V,)),
    "spacing": (np.spacing, (A,)),
    "lexsort": (lambda x, y: np.lexsort((x, y)), (V, V[::-1].copy())), "matrix_rank": (np.linalg.matrix_rank, (A,)),
    "lstsq": (lambda a, b: np.linalg.lstsq(a, b, None), (TALL, V[:3])),
    "polyfit": (lambda x, y: np.polyfit(x, y, 1), (UP, UP**2)),
    "histogram": (lambda x, w: np.histogram(x, 3, weights=w), (V, V**2)),
    "average": (lambda x, w: np.average(x, 0, w), (A, B)),
    "lu": (tg.scipy.linalg.lu, (A,)), "lu_factor": (tg.scipy.linalg.lu_factor, (A,)), "rq": (tg.scipy.linalg.rq, (A,)),
    "complex eig": (lambda x: np.linalg.eig(x.astype(complex))[0], (A,)),
    "geomspace": (lambda a, b: np.geomspace(a, b, 4), (A, B)),
}  # fmt: skip


def values(out):
    found = [one.detach().numpy() if isinstance(one, tg.Tensor) else np.asarray(one) for one in leaves(out)]
    return [one for one in found if one.dtype.kind in "biufc"]


def weighted(function):
    """The function's results as one number."""

    def loss(*xs):
        total = 0.0
        for out in leaves(function(*xs)):
            if getattr(out, "dtype", np.dtype(bool)).kind in "fc":
                count = int(np.prod(np.shape(out)))
                total = total + np.sum(np.real(out) * np.cos(np.arange(count)).reshape(np.shape(out)))
        return total

    return loss


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_captured_and_mapped_as_eagerly(name):
    if name in ("lu", "lu_factor", "rq"):
        pytest.importorskip("scipy")
    function, args = CALLS[name]
    expected = values(function(*map(tg.tensor, args)))
    for one, other in zip(values(tg.compile(function)(*args)), expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
    every = tuple(range(len(args)))
    gradient = tg.grad(weighted(function), argnums=every)
    for one, other in zip(tg.compile(gradient)(*args), gradient(*args), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-10)
    many = [np.stack([x, 1.03 * x, 0.97 * x]) for x in args]
    loop = [values(function(*(tg.tensor(x[i]) for x in many))) for i in range(3)]
    for k, one in enumerate(values(tg.vmap(function)(*many))):
        np.testing.assert_allclose(one, np.stack([row[k] for row in loop]), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("function", [np.unique, np.nonzero, np.roots, np.trim_zeros, np.linalg.eig])
def test_what_has_a_shape_or_class_by_its_values_is_refused_in_programs(function):
    x = np.array([[1.0, 2.0], [3.0, 4.0]]) if function is np.linalg.eig else V
    if function is np.linalg.eig and function(x)[0].dtype.kind == "c":
        pytest.skip("since NumPy 2.5 its results are complex, whatever the values")
    with pytest.raises(CaptureError):
        tg.compile(function)(x)


def test_residuals_of_a_captured_least_squares_are_nan_where_the_rank_is_less():
    found = tg.compile(lambda a, b: np.linalg.lstsq(a, b, None))(np.ones((3, 2)), V[:3])
    assert int(found[2]) == 1
    assert np.isnan(found[1]).all()


@pytest.mark.parametrize("scalar", ["float32", "float64"])
def test_dtypes_are_numpys(scalar):
    x, up = V.astype(scalar), np.sort(V).astype(scalar)
    for function in (
        lambda x: np.interp(x, up, x), np.cov, np.modf, lambda x: np.linspace(x, 2 * x, 3),
        lambda x: np.logspace(x, x + 1, 3),
        lambda x: np.quantile(x, 0.3), lambda x: np.percentile(x, [30, 60]), lambda x: np.nanquantile(x, [0.3]),
        lambda x: np.histogram_bin_edges(x, 4), lambda x: np.copysign(2.0, x),
        lambda x: np.bincount([0, 1, 1, 0, 2, 0], weights=x),
    ):  # fmt: skip
        for one, other in zip(values(function(tg.tensor(x))), values(function(x)), strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_no_operand_is_spared():
    """Empty operands and those without axes, in functions that compute places."""
    empty = np.zeros(0)
    assert np.searchsorted(UP, tg.tensor(empty)).shape == (0,)
    assert np.interp(tg.tensor(empty), UP, UP).shape == (0,)
    assert tg.compile(lambda x: np.interp(x, UP, UP**2))(0.7) == pytest.approx(np.interp(0.7, UP, UP**2))
    assert np.pad(tg.tensor(np.ones((0, 2))), 1, mode="constant").shape == (2, 4)
    assert tg.vmap(lambda x: np.searchsorted(UP, x))(np.zeros((0, 2))).shape == (0, 2)
    assert np.cov(tg.tensor(SYMMETRIC)).shape == (3, 3)
    assert given() == ((), {})


@pytest.mark.filterwarnings("ignore")
def test_an_op_remembers_types_by_shape_and_dtype():
    """Types of earlier calls are met again only where shapes, dtypes and single numbers are the same."""
    half, single, double = (np.ones((2, 3), name) for name in ("float16", "float32", "float64"))

    def type_of(*xs):
        return tg.vmap(lambda *each: np.add(*each))(*xs).dtype

    for _ in range(2):
        assert [type_of(half, half), type_of(half, single), type_of(single, double)] == [
            np.float16, np.float32, np.float64,
        ]  # fmt: skip
        add = tg.vmap(lambda x, y: np.add(x, y), in_axes=(0, None))
        assert add(single, np.float64(1)).dtype == np.float64
        assert add(single, 1.0).dtype == np.float32
        assert add(half, np.ones((4, 1))).shape == (2, 4, 3)
        with pytest.raises(ShapeError, match="do not broadcast"):
            add(half, np.ones(2))
        assert add(np.ones((2, 3), ">f4"), np.float32(1)).dtype == np.float32
