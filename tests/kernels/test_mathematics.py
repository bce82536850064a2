"""Elementary functions of the kernel language against higher precision, in units in the last place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tinygraph.core.registry import ops
from tinygraph.errors import SettingError
from tinygraph.kernels import elementwise
from tinygraph.kernels.cpu import this_cpu
from tinygraph.kernels.program import ProgramBuilder


def run(name: str, *operands: Any, **settings: Any) -> Any:
    build = ProgramBuilder()
    inputs = [build.input(x.dtype) for x in operands]
    program = build.program(build.step(ops[name], *inputs, **settings))
    out = np.empty_like(operands[0])
    elementwise.bind(program, list(operands), [out])()
    return out


def erf(x: Any) -> Any:
    return np.array([math.erf(v) for v in x.astype(float)]).astype(x.dtype)


# name: reference in extended precision, domain, bound in units in the last place
FUNCTIONS: dict[str, tuple[Any, tuple[float, float], float]] = {
    "exp": (np.exp, (-110, 92), 1.5),
    "expm1": (np.expm1, (-20, 92), 2.5),
    "log": (np.log, (1e-40, 1e3), 1.5),
    "log1p": (np.log1p, (-0.99, 1e3), 2.5),
    "tanh": (np.tanh, (-12, 12), 3),
    "sigmoid": (lambda x: 1 / (1 + np.exp(-x)), (-80, 80), 4),
    "sqrt": (np.sqrt, (0, 1e3), 0.51),
    "erf": (erf, (-7, 7), 4),
    "sin": (np.sin, (-1e6, 1e6), 2),
    "cos": (np.cos, (-1e6, 1e6), 2),
    "tan": (np.tan, (-1e6, 1e6), 4),
    "arcsin": (np.arcsin, (-1, 1), 3),
    "arccos": (np.arccos, (-1, 1), 3),
    "arctan": (np.arctan, (-50, 50), 3),
    "sinh": (np.sinh, (-90, 90), 3),
    "cosh": (np.cosh, (-90, 90), 3),
    "arcsinh": (np.arcsinh, (-1e6, 1e6), 4),
    "arccosh": (np.arccosh, (1, 1e6), 4),
    "arctanh": (np.arctanh, (-1, 1), 4),
    "cbrt": (np.cbrt, (-1e9, 1e9), 1.5),
}
PAIRS: dict[str, tuple[Any, tuple[float, float], tuple[float, float], float]] = {
    "power": (np.power, (0, 40), (-60, 60), 2),
    "hypot": (np.hypot, (-1e3, 1e3), (-1e3, 1e3), 2),
    "arctan2": (np.arctan2, (-10, 10), (-10, 10), 3),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PAIRS)
def test_accuracy_of_two_operands(name: str, dtype: str) -> None:
    reference, first, second, bound = PAIRS[name]
    rng = np.random.default_rng(0)
    x, y = (rng.uniform(*domain, 10007).astype(dtype) for domain in (first, second))
    with np.errstate(all="ignore"):
        exact = reference(x.astype(np.longdouble), y.astype(np.longdouble))
        spacing = np.spacing(np.abs(exact).astype(dtype)).astype(np.longdouble)
        error = np.abs(run(name, x, y).astype(np.longdouble) - exact) / spacing
        finite = np.isfinite(exact.astype(dtype))
    assert error[finite].max() < bound


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", PAIRS)
def test_special_pairs(name: str, dtype: str) -> None:
    tiny, huge = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    numbers = [0.0, np.inf, tiny, 1, 2, 3, 0.5, 2.5, 1e10, huge]
    x, y = (
        one.ravel().copy()
        for one in np.meshgrid(*2 * [np.array([*numbers, *np.negative(numbers), np.nan], dtype)])
    )
    with np.errstate(all="ignore"):
        expected = PAIRS[name][0](x, y)
    got = run(name, x, y)
    wrong = ~np.isclose(got, expected, rtol=1e-6, atol=4 * tiny, equal_nan=True)
    wrong |= ~np.isnan(expected) & (np.signbit(got) != np.signbit(expected))
    assert not wrong.any(), list(zip(x[wrong], y[wrong], got[wrong], expected[wrong], strict=True))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_large_angles(name: str, dtype: str) -> None:
    """Among few large ones and among many: pi/2 must be known to hundreds of bits there."""
    x = np.geomspace(1, np.finfo(dtype).max / 4, 1001).astype(dtype)
    x[::7] = np.linspace(-3, 3, len(x[::7]))
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x.astype(np.float64))
    np.testing.assert_allclose(run(name, x), expected, rtol=3e-7 if dtype == "float32" else 1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_angles_beside_multiples_of_half_pi(dtype: str) -> None:
    x = (np.arange(1, 400_000, 37) * (np.pi / 2)).astype(dtype)
    exact = np.sin(x.astype(np.longdouble)), np.cos(x.astype(np.longdouble))
    for name, expected in zip(("sin", "cos"), exact, strict=True):
        wide = 3e-7 if dtype == "float32" else 4e-16
        np.testing.assert_allclose(run(name, x), expected.astype(np.float64), rtol=wide)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_accuracy(name: str, dtype: str) -> None:
    reference, (low, high), bound = FUNCTIONS[name]
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.uniform(low, high, 5003), rng.uniform(max(low, -1), 1, 5003)]).astype(dtype)
    with np.errstate(all="ignore"):
        exact = reference(x.astype(np.longdouble))
        spacing = np.spacing(np.abs(exact).astype(dtype)).astype(np.longdouble)
        error = np.abs(run(name, x).astype(np.longdouble) - exact) / spacing
        error = error[np.isfinite(exact.astype(dtype))]
    # beyond 64-bit reference formats (where long double is double) the reference itself errs
    assert error.max() < bound + (0 if np.finfo(np.longdouble).nmant > 52 or dtype == "float32" else 4)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_special_values(name: str, dtype: str) -> None:
    tiny = np.finfo(dtype).smallest_subnormal
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, tiny, -tiny, 1, -1, 1e30, -1e30], dtype)
    with np.errstate(all="ignore"):
        expected = FUNCTIONS[name][0](x)
    got = run(name, x)
    np.testing.assert_allclose(got, expected, rtol=1e-6)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(np.signbit(got[numbers]), np.signbit(expected[numbers]))


def test_subnormal_results_of_exp() -> None:
    x = np.linspace(-103.9, -87.4, 1001).astype(np.float32)
    np.testing.assert_allclose(run("exp", x), np.exp(x.astype(float)), atol=2e-45, rtol=2e-7)
    y = np.linspace(-745, -708.5, 1001)
    np.testing.assert_allclose(run("exp", y), np.exp(y), atol=1e-323, rtol=4e-16)


@pytest.mark.parametrize(("dtype", "bound"), [("float32", 2e-7), ("float64", 1e-15)])
def test_gelu_and_softplus(dtype: str, bound: float) -> None:
    x = np.concatenate([np.linspace(-8, 8, 2001), [-1e4, 1e4, 0]]).astype(dtype)
    wide = x.astype(np.float64)
    distribution = np.array([0.5 * math.erfc(-v * math.sqrt(0.5)) for v in wide])
    np.testing.assert_allclose(run("gelu", x), wide * distribution, rtol=50 * bound, atol=4 * bound)
    tanh = np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3))
    np.testing.assert_allclose(run("gelu", x, approximate="tanh"), wide * (0.5 + 0.5 * tanh), atol=8 * bound)
    np.testing.assert_allclose(run("softplus", x, threshold=1e9), np.logaddexp(0, wide), rtol=4 * bound)
    np.testing.assert_allclose(
        run("silu", x), wide / (1 + np.exp(-wide.clip(-700))), rtol=4 * bound, atol=bound
    )


@pytest.mark.parametrize("cpu", ["avx2", "generic"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_narrower_cpus(name: str, cpu: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAPH_CPU", cpu)
    try:
        this_cpu()
    except SettingError:
        pytest.skip(f"this machine cannot run {cpu}")
    test_accuracy(name, "float32")
    test_special_values(name, "float64")
