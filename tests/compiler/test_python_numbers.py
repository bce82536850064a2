"""Python numbers as arguments of compiled functions: they stay Python's, or the function raises."""

from itertools import product
from math import inf

import numpy as np
import pytest

import tinygraph as tg
from tests.compiler.batches import Call, assert_compiled_as_eager

ONES = np.ones(3)


def assert_same(eager, compiled):
    for one, other in zip(eager, compiled, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(np.signbit(one), np.signbit(other))


@pytest.mark.parametrize(
    ("f", "number", "expected"),
    [
        (lambda t, n: t * (n * n), 2**40, 2.0**80),
        (lambda t, n: t * (n * n * n), 3 * 10**15, 27e45),
        (lambda t, n: t + (n * 2 - n * 2), 2**70, 1.0),
        (lambda t, n: t * n, 2**70, 2.0**70),
        (lambda t, n: t * (n - 2**63), 2**63 + 1, 1.0),
        (lambda t, n: t * (n**3), 2**30, 2.0**90),
        (lambda t, n: t * abs(n), -(2**66), 2.0**66),
        (lambda t, n: t * -n, 2**63, -(2.0**63)),
        (lambda t, n: t * (n // 3), 2**65, float(2**65 // 3)),
        (lambda t, n: t * (n % 1000), 2**65, 232.0),
        (lambda t, n: t * (n / 2**60), 2**65, 32.0),
        (lambda t, n: t * divmod(n, 7)[1], 10**30, 1.0),
    ],
)
def test_integers_have_any_size(f, number, expected):
    np.testing.assert_array_equal(f(ONES, number), expected)
    np.testing.assert_array_equal(tg.compile(f)(ONES, number), expected)


@pytest.mark.parametrize(
    "dtype", ["int8", "uint8", "int16", "uint16", "int32", "int64", "uint64", "float16", "bool"]
)
def test_an_integer_fits_a_dtype_or_raises(dtype):
    x = np.array([0, 1, 1], dtype)
    for number in (0, 1, -1, 2, 127, 128, 255, 256, 300, -200, 2**40, 2**63, 2**70):
        calls = [
            Call(f"{number}, function {i}", f, [x, number])
            for i, f in enumerate([
                lambda x, n: x + n,
                lambda x, n: x * n,
                lambda x, n: n - x,
                lambda x, n: x < n,
                lambda x, n: x == n,
                lambda x, n: np.maximum(x, n),
                lambda x, n: tg.ops.where(x == 1, x, n),
                lambda x, n: x * abs(n),
                lambda x, n: x // n,
                lambda x, n: np.clip(x, 0, n),
            ])
        ]  # fmt: skip
        assert_compiled_as_eager(calls, assert_same)


@pytest.mark.parametrize(
    "f",
    [
        lambda a, b: ONES * (a / b),
        lambda a, b: ONES * (a // b),
        lambda a, b: ONES * (a % b),
        lambda a, b: ONES * (a**b),
        lambda a, b: ONES * divmod(a, b)[0],
        lambda a, b: ONES * abs(a) + b,
        lambda a, b: ONES * (a * b),
        lambda a, b: ONES / a - b,
        lambda a, b: np.abs(a) * ONES,
        lambda a, b: np.int8(3) * np.ones(2, np.int8) * abs(b),
        lambda a, b: (a < b) * ONES,
        lambda a, b: tg.ops.maximum(a, b) * ONES,
    ],
)
def test_python_arithmetic(f):
    pairs = product([0, 3, -2, 0.0, -0.0, 2.5, -1.5, inf, 1e200], [0, 2, -1, 0.0, 0.5, -2.0, 3.0])
    calls = [Call(f"{a!r} and {b!r}", f, [a, b]) for a, b in pairs]
    assert_compiled_as_eager(calls, assert_same, may_refuse=is_of_another_class)


def is_of_another_class(call, error):
    """A negative base to a broken power is complex, an integer to a negative one a float: refused."""
    a, b = call.arguments
    return (
        isinstance(error, tg.errors.OpError)
        and "of class" in str(error)
        and isinstance(a**b, complex | float)
    )


def test_a_division_by_zero_raises_as_it_does_in_python():
    compiled = tg.compile(lambda t, a, b: t * (a / b))
    np.testing.assert_array_equal(compiled(ONES, 3.0, 2.0), 1.5)
    with pytest.raises(tg.errors.OpError, match="ZeroDivisionError"):
        compiled(ONES, 3.0, 0.0)
    np.testing.assert_array_equal(compiled(ONES, 6.0, 2.0), 3.0)


def test_round_of_a_number_is_refused():
    with pytest.raises(tg.errors.CaptureError, match="round\\(\\) of a Python number"):
        tg.compile(lambda t, n: t * round(n))(ONES, 2.5)
    np.testing.assert_array_equal(tg.compile(lambda t, n: t * np.round(n))(ONES, 2.5), 2.0)


def test_numbers_as_indices_results_and_updates():
    x = np.arange(6.0)
    np.testing.assert_array_equal(tg.compile(lambda x, n: x[n])(x, 4), 4.0)
    np.testing.assert_array_equal(tg.compile(lambda x, n: x[n + 1])(x, 4), 5.0)
    found, _ = tg.compile(lambda x, n: (n * n, x))(x, 5)
    assert found == 25
    state = tg.tensor([1, 2, 3])
    state_step = tg.compile(lambda n: state.__iadd__(n * 2))
    state_step(3)
    np.testing.assert_array_equal(state.numpy(), [7, 8, 9])
    with pytest.raises(Exception, match="int"):
        tg.compile(lambda x, n: x[n * n])(x, 2**40)


def test_a_captured_graph_computes_with_numbers_as_python_does():
    graph = tg.capture(lambda t, n: t * (n * n), ONES, 3)
    np.testing.assert_array_equal(graph(ONES, 2**40), 2.0**80)
    graph = tg.capture(lambda t, n: t * abs(n), np.ones(3, np.int8), 3)
    assert graph(np.ones(3, np.int8), -5).dtype == np.int8


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_number_that_was_computed_takes_the_dtype_of_the_array_it_meets(dtype):
    # logaddexp is no part of a loop: the sum of products, which lies in a run of numbers, must be there before it,
    # and be rounded to the dtype of the array
    x = np.linspace(-3, 3, 101).astype(dtype)
    compiled = tg.compile(lambda x, n: np.logaddexp(np.sort(x), n * 2.5 + 1.0))
    given = tg.compile(lambda x, n: np.logaddexp(np.sort(x), n))
    for number in (0.71, 0.13):
        met = np.asarray(number * 2.5 + 1.0, dtype)
        np.testing.assert_array_equal(compiled(x, number), np.logaddexp(x, met), strict=True)
        np.testing.assert_array_equal(
            given(x, number), np.logaddexp(x, np.asarray(number, dtype)), strict=True
        )
    assert (np.logaddexp(x, met) != np.logaddexp(x.astype(float), number * 2.5 + 1.0).astype(dtype)).any()
