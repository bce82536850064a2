"""Every function of `tg.scipy`, and every ufunc of scipy.special that has a rule, against SciPy and differences."""

import numpy as np
import pytest

import tinygraph as tg
from tests.front.checking import call_on_tensors, check_derivatives, check_values
from tests.front.scipy_calls import (
    DISCRETE,
    INTEGRATE,
    LINALG,
    OF_SYMMETRIC,
    SIGNAL,
    SPECIAL,
    STATS,
    SYMMETRIC,
    UP_TO_SIGN,
    A,
    Q,
    V,
    special_call,
)
from tinygraph.errors import NumpyFunctionError, RecordingError

scipy = pytest.importorskip("scipy", reason="SciPy is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")


def problem(key, ours, theirs, args, options=None, values=True, orders=2):
    """What is wrong with a function, in words, or None."""
    options = options or {}
    try:
        finding, found = call_on_tensors(ours, args, options)
        assert finding.kind == "differentiable", finding
        check_values(theirs, args, options, found, values)
        check_derivatives(ours, args, options, orders)
    except Exception as error:  # noqa: BLE001 - each is a row of the table
        return f"{key}: {type(error).__name__}: {error}"
    return None


def none_is_wrong(problems):
    found = [one for one in problems if one]
    assert not found, "\n".join(found)


def test_the_table_of_special_functions():
    from scipy import special

    from tinygraph_ops.special.ops import table, unknown

    rows = []
    for name in table():
        theirs = getattr(special, name, None)
        if theirs is None:
            continue
        missing = unknown(name, theirs.nin) if isinstance(theirs, np.ufunc) else ()
        args = special_call(name, theirs, missing)
        rows.append(problem(name, getattr(tg.scipy.special, name), theirs, args))
    none_is_wrong(rows)


def test_special_functions_that_scipy_writes_in_python():
    from scipy import special

    own = [
        name
        for name in SPECIAL
        if getattr(getattr(tg.scipy.special, name), "__module__", "") == "tinygraph.scipy.special"
    ]
    assert len(own) > 15
    none_is_wrong(
        problem(name, getattr(tg.scipy.special, name), getattr(special, name), SPECIAL[name]) for name in own
    )


@pytest.mark.parametrize(
    ("module", "table"), [("linalg", LINALG), ("signal", SIGNAL), ("integrate", INTEGRATE)]
)
def test_modules_of_functions(module, table):
    theirs = __import__(f"scipy.{module}", fromlist=[module])
    rows = []
    for name, (args, options) in table.items():
        function = getattr(getattr(tg.scipy, module), name)
        if module == "linalg" and name in OF_SYMMETRIC:
            function = lambda x, f=function: f((x + x.T) / 2)  # noqa: E731
        same = name not in UP_TO_SIGN
        rows.append(problem(name, function, getattr(theirs, name), args, options, same))
    none_is_wrong(rows)


def test_densities_and_distribution_functions():
    from scipy import stats

    rows = []
    for name, args in STATS.items():
        ours, theirs = getattr(tg.scipy.stats, name), getattr(stats, name)
        rows.append(problem(f"{name}.logpdf", ours.logpdf, theirs.logpdf, tuple(map(np.asarray, args))))
        if ours._cdf is not None:
            numbers = (args[0], *(float(np.ravel(one)[0]) for one in args[1:]))
            rows.append(problem(f"{name}.cdf", ours.cdf, theirs.cdf, numbers))
    for name, (k, *given, p) in DISCRETE.items():
        ours, theirs = getattr(tg.scipy.stats, name), getattr(stats, name)
        rows.append(problem(f"{name}.logpmf", ours.logpmf, theirs.logpmf, (k, *given, np.asarray(p))))
    normal = tg.scipy.stats.multivariate_normal
    rows.append(
        problem(
            "multivariate_normal",
            lambda x, m, c: normal.logpdf(x, m, (c + c.T) / 2),
            stats.multivariate_normal.logpdf,
            (A, V[:3], SYMMETRIC),
        )
    )
    shares = np.array([0.2, 0.3, 0.5])
    dirichlet = tg.scipy.stats.dirichlet
    rows.append(
        problem(
            "dirichlet",
            lambda x, a: dirichlet.logpdf(x / x.sum(), a),
            lambda x, a: stats.dirichlet.logpdf(x, a),
            (shares, Q),
        )
    )
    none_is_wrong(rows)


def test_outside_of_the_support_nothing_moves():
    for name, x in (("gamma", -1.0), ("beta", 2.0), ("uniform", -0.5), ("expon", -1.0)):
        args = (1.5,) * {"gamma": 1, "beta": 2}.get(name, 0)
        logpdf = getattr(tg.scipy.stats, name).logpdf
        assert logpdf(x, *args) == -np.inf
        assert tg.grad(lambda x, f=logpdf, a=args: np.where(x > 5, f(x, *a), 0.0))(np.float64(x)) == 0.0
        cdf = getattr(tg.scipy.stats, name).cdf(np.array([x]), *args)
        np.testing.assert_array_equal(
            cdf, getattr(scipy.stats, name).cdf([x], *args) if hasattr(scipy, "stats") else cdf
        )


def test_what_is_refused_names_scipys_function_and_the_way_out():
    import scipy.special
    import scipy.stats

    x = tg.tensor([[1.0, 0.2], [0.2, 3.0]], requires_grad=True)
    for call, words in (
        (lambda: scipy.special.smirnov(2, x), r"scipy\.special\.smirnov"),
        (lambda: scipy.special.pbwa(x, 1.0), r"scipy\.special\.pbwa .*operand number 1"),
        (lambda: scipy.special.logsumexp(x), r"tg\.scipy\.special\.logsumexp"),
        (lambda: scipy.stats.norm.logpdf(x), r"tg\.scipy\.stats\.norm\.logpdf"),
        (lambda: tg.scipy.linalg.schur(x), r"scipy\.linalg\.schur"),
    ):
        with pytest.raises((NumpyFunctionError, RecordingError), match=words):
            call()
