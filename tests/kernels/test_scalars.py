"""Scalar programs: long chains, constants, dtypes, errors."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from tinygraph.core.registry import ops
from tinygraph.errors import DTypeError, ShapeError
from tinygraph.kernels.scalars import ScalarStep, bind

BINARY = {"add": np.add, "subtract": np.subtract, "multiply": np.multiply, "maximum": np.maximum}
UNARY = {"tanh": np.tanh, "sigmoid": lambda x: 1 / (1 + np.exp(-x)), "relu": lambda x: np.maximum(x, 0)}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_programs(dtype: str) -> None:
    choose, leaves, count = random.Random(0), 20, 3000
    values = [np.array(choose.gauss(0, 1), dtype) for _ in range(leaves)]
    steps: list[ScalarStep] = []
    expected: list[Any] = [value.astype(float) for value in values]
    for _ in range(count):
        name = choose.choice([*BINARY, *UNARY])
        many = 2 if name in BINARY else 1
        places = [choose.randrange(max(0, len(values) - 40), len(values)) for _ in range(many)]
        exact = [expected[i] for i in places]
        operands: list[Any] = [values[i] for i in places]
        if many == 2 and choose.random() < 0.3:
            operands[1] = exact[1] = choose.uniform(-0.5, 0.5)  # more constants than are embedded
        values.append(np.array(np.nan, dtype))
        steps.append(ScalarStep(ops[name], tuple(operands), values[-1]))
        # from what the program had, so that chaos does not grow
        result = {**BINARY, **UNARY}[name](*exact)
        expected.append(np.clip(result, -2, 2))
        values.append(np.array(np.nan, dtype))
        steps.append(ScalarStep(ops.minimum, (values[-2], 2.0), values[-1]))
        steps.append(ScalarStep(ops.maximum, (values[-1], -2.0), values[-1]))
        values.pop(-2)
    run = bind(steps)
    for _ in range(2):
        run()
        np.testing.assert_allclose(values, expected, atol=1e-3 if dtype == "float32" else 1e-10)


def test_powers_comparisons_and_settings() -> None:
    x, y, positive, out = np.array(1.5), np.array(-2.0), np.array(False), np.array(0.0)
    run = bind(
        [
            ScalarStep(ops.power, (x, 3.0), out),
            ScalarStep(ops.greater, (out, y), positive),
            ScalarStep(ops.where, (positive, out, y), out),
            ScalarStep(ops.leaky_relu, (y,), y, (("negative_slope", 0.25),)),
            ScalarStep(ops.power, (x, y), x),
        ]
    )
    run()
    assert out == 1.5**3
    assert y == -0.5
    assert x == 1.5**-0.5


def test_integers_are_exact_and_wrap_around() -> None:
    x, most, more, out = np.array(2**53), np.array(2**63 - 1), np.array(False), np.array(0)
    run = bind(
        [
            ScalarStep(ops.add, (x, 1), x),  # as a float64 it would stay
            ScalarStep(ops.add, (most, 1), out),
            ScalarStep(ops.less, (out, x), more),
            ScalarStep(ops.where, (more, x, -5), most),
        ]
    )
    run()
    assert (x, out, more, most) == (2**53 + 1, -(2**63), True, 2**53 + 1)


def test_an_empty_program_does_nothing() -> None:
    bind([])()


def test_errors_teach() -> None:
    one = np.array(1.0)
    with pytest.raises(ShapeError, match=r"array of shape \(2,\); each value is one number"):
        bind([ScalarStep(ops.negative, (np.ones(2),), one)])
    with pytest.raises(DTypeError, match="it takes float32, float64, int64 and bool"):
        bind([ScalarStep(ops.negative, (np.array(1, np.int32),), one)])
    with pytest.raises(DTypeError, match="makes int64; the array for its result is float64"):
        bind([ScalarStep(ops.negative, (np.array(1),), one)])
    with pytest.raises(
        DTypeError, match=r"op 'tanh' emits nothing for int64: say @tanh.emit\(integers=True\), or cast"
    ):
        bind([ScalarStep(ops.tanh, (np.array(1),), one)])
    with pytest.raises(DTypeError, match="makes float64; the array for its result is float32"):
        bind([ScalarStep(ops.negative, (one,), np.array(1, np.float32))])
    with pytest.raises(DTypeError, match="put a cast before it"):
        bind([ScalarStep(ops.add, (one, np.array(1, np.float32)), one)])
