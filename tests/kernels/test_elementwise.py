"""Fused elementwise kernels: every op of the table, strides, broadcasting, reductions, sizes around the vectors'."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each, each_in_part
from tinygraph.core.op import Op, op
from tinygraph.core.registry import ops, registry
from tinygraph.errors import DTypeError, RuleError, ShapeError, UnknownOpError
from tinygraph.kernels import elementwise
from tinygraph.kernels.program import Program, ProgramBuilder

Make = Callable[..., Any]


def program(dtypes: list[str], *makes: Make) -> Program:
    build = ProgramBuilder()
    inputs = [build.input(dtype) for dtype in dtypes]
    return build.program(*(make(build, *inputs) for make in makes))


def product(build: ProgramBuilder, x: int, y: int) -> int:
    return build.step(ops.multiply, x, build.step(ops.exp, y))


@each("size", [0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 127, 130])
@each("dtype", ["float32", "float64"])
def test_sizes(size: int, dtype: str, guard: Any) -> None:
    x = guard.like(np.random.default_rng(size).standard_normal(size).astype(dtype))
    out, total = guard((size,), dtype), guard((), dtype)
    made = program([dtype], lambda b, x: b.step(ops.square, x), lambda b, x: x)
    elementwise.bind(made, [x], [out, total], reductions=[None, "sum"], axes=[0])()
    np.testing.assert_array_equal(out, x * x)
    np.testing.assert_allclose(total, x.sum(), rtol=1e-6 if dtype == "float32" else 1e-14, atol=1e-6)


VIEWS: dict[str, Callable[[Any], Any]] = {
    "contiguous": lambda x: x,
    "sliced": lambda x: x[::2, 1:, ::3],
    "transposed": lambda x: x.transpose(2, 0, 1),
    "reversed": lambda x: x[::-1, :, ::-1],
    "Fortran": np.asfortranarray,
    "broadcast": lambda x: np.broadcast_to(x[:, :1], (x.shape[0], 9, x.shape[2])),
    "one row": lambda x: x[:1, :1],
    "one column": lambda x: x[:, :, :1],
}


@each_in_part("axes, view", [(), (0,), (1,), (2,), (0, 1), (1, 2), (0, 2), (0, 1, 2)], list(VIEWS))
def test_strides_broadcasting_and_reductions(view: str, axes: tuple[int, ...], guard: Any) -> None:
    rng = np.random.default_rng(3)
    x = VIEWS[view](rng.standard_normal((5, 7, 19)).astype(np.float32))
    y = rng.standard_normal(x.shape[2]).astype(np.float32)
    made = program(["float32", "float32"], product)
    exact = x * np.exp(y.astype(float))
    for kind in ("sum", "mean", "max", "min", "prod") if axes else (None,):
        expected = getattr(np, kind)(exact, axis=axes) if kind else exact
        out = guard(expected.shape, np.float32)
        elementwise.bind(made, [x, y], [out], reductions=[kind], axes=axes)()
        with np.errstate(all="ignore"):
            expected = expected.astype(np.float32)
        # each factor of a product brings its own rounding
        np.testing.assert_allclose(out, expected, rtol=1e-4 if kind == "prod" else 4e-6, atol=2e-6)
        kept = guard(tuple(1 if i in axes else n for i, n in enumerate(exact.shape)), np.float32)
        elementwise.bind(made, [x, y], [kept], reductions=[kind], axes=axes)()
        np.testing.assert_array_equal(kept.reshape(out.shape), out)


def test_writes_into_strided_outputs_and_leaves_the_rest() -> None:
    x = np.arange(30, dtype=np.float64).reshape(5, 6)
    home = np.full((5, 20), -1.0)
    elementwise.bind(program(["float64"], lambda b, x: b.step(ops.negative, x)), [x], [home[:, 1:19:3]])()
    np.testing.assert_array_equal(home[:, 1:19:3], -x)
    home[:, 1:19:3] = -1
    assert (home == -1).all()


def test_in_place() -> None:
    x = np.random.default_rng(0).standard_normal((37, 3)).astype(np.float32)
    expected = np.maximum(x, 0)
    elementwise.bind(program(["float32"], lambda b, x: b.step(ops.relu, x)), [x], [x])()
    np.testing.assert_array_equal(x, expected)


def test_sums_of_many_float32_are_accurate() -> None:
    x = np.full(3_000_001, 0.1, np.float32)
    out = np.empty((), np.float32)
    elementwise.bind(program(["float32"], lambda b, x: x), [x], [out], reductions=["sum"], axes=[0])()
    assert out == np.float32(x.astype(float).sum())


UNARY: dict[str, Any] = {
    "negative": np.negative, "square": np.square, "sqrt": np.sqrt, "reciprocal": np.reciprocal, "abs": np.abs,
    "floor": np.floor, "ceil": np.ceil, "trunc": np.trunc, "sign": np.sign, "exp": np.exp, "log": np.log,
    "log1p": np.log1p, "expm1": np.expm1, "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "arcsin": np.arcsin, "arccos": np.arccos, "arctan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "arcsinh": np.arcsinh, "arctanh": np.arctanh, "arccosh": np.arccosh, "cbrt": np.cbrt, "isnan": np.isnan,
    "isinf": np.isinf, "isfinite": np.isfinite, "nan_to_num": np.nan_to_num, "logical_not": np.logical_not,
    "relu": lambda x: np.maximum(x, 0), "hardtanh": lambda x: np.clip(x, -1, 1),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "silu": lambda x: x / (1 + np.exp(-x)), "softplus": lambda x: np.logaddexp(0, x),
    "log_sigmoid": lambda x: -np.logaddexp(0, -x), "leaky_relu": lambda x: np.where(x < 0, 0.01 * x, x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
}  # fmt: skip
BINARY: dict[str, Any] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "power": np.power,
    "maximum": np.maximum, "minimum": np.minimum, "arctan2": np.arctan2, "hypot": np.hypot, "equal": np.equal,
    "not_equal": np.not_equal, "less": np.less, "less_equal": np.less_equal, "greater": np.greater,
    "greater_equal": np.greater_equal, "logical_and": np.logical_and, "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
}  # fmt: skip


@each("dtype", ["float32", "float64"])
@each("name", [*UNARY, *BINARY])
def test_every_op_is_what_numpy_computes(name: str, dtype: str, guard: Any) -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.standard_normal(37), [0.0, -0.0, 0.5, np.nan, np.inf, -np.inf, 1.0]])
    reference, count = (UNARY[name], 1) if name in UNARY else (BINARY[name], 2)
    operands = [guard.like(rng.permutation(values).astype(dtype)) for _ in range(count)]
    with np.errstate(all="ignore"):
        expected = reference(*operands)
    out = guard(expected.shape, expected.dtype, 0)
    elementwise.bind(program([dtype] * count, lambda b, *xs: b.step(ops[name], *xs)), operands, [out])()
    np.testing.assert_allclose(out, expected, rtol=2e-6 if dtype == "float32" else 2e-14)


def test_every_op_that_emits_is_tested() -> None:
    elsewhere = {"where", "cast", "clip", "erf", "gelu", "by_convention", *BITS}
    built_in = (one for one in registry.all_ops() if isinstance(one, Op) and one.package == "tinygraph_ops")
    assert {one.name for one in built_in if one.emission is not None} == {*UNARY, *BINARY, *elsewhere}


BITS = {"bitwise_and": [True, False, False, False], "bitwise_or": [True, True, True, False],
        "bitwise_xor": [False, True, True, False], "invert": [False, False, True, True]}  # fmt: skip


@pytest.mark.parametrize("name", BITS)
def test_bits_of_truths(name: str) -> None:
    """In a kernel, and compiled beside integers, whose bits NumPy takes."""
    x, y = np.array([True, True, False, False]), np.array([True, False, True, False])
    given = [x] if name == "invert" else [x, y]
    op, out = getattr(ops, name), np.empty(4, bool)
    made = program(["bool"] * len(given), lambda b, *values: b.step(op, *values))
    elementwise.bind(made, given, [out])()
    assert out.tolist() == BITS[name]
    numbers = [np.array([6, 5]), np.array([3, 8])][: len(given)]
    compiled = tg.compile(lambda *values: op(*values))
    assert compiled(*given).tolist() == BITS[name]
    assert compiled(*numbers).tolist() == getattr(np, name)(*numbers).tolist()


@pytest.mark.parametrize("exponent", [-3, -1, 0, 1, 2, 3, 7, 0.5, 1.7])
def test_powers(exponent: float) -> None:
    x = np.random.default_rng(0).uniform(0.1, 3, 19)
    out = np.empty_like(x)
    made = program(["float64"], lambda b, x: b.step(ops.power, x, b.constant(exponent, "float64")))
    elementwise.bind(made, [x], [out])()
    np.testing.assert_allclose(out, x**exponent, rtol=1e-15)


def test_booleans_select_casts_and_clip(guard: Any) -> None:
    rng = np.random.default_rng(2)
    mask, x = rng.random(41) < 0.5, rng.standard_normal(41).astype(np.float32)

    def choose(b: ProgramBuilder, mask: int, x: int) -> int:
        low, high = b.constant(-0.5, "float32"), b.constant(0.5, "float32")
        return b.step("cast", b.step(ops.where, mask, b.step(ops.clip, x, low, high), x), dtype="float64")

    made = program(
        ["bool", "float32"],
        choose,
        lambda b, m, x: b.step(ops.logical_and, m, b.step(ops.greater, x, b.constant(0, "float32"))),
    )
    out, both = guard((41,), np.float64), guard((41,), np.bool_, False)
    elementwise.bind(made, [mask, x], [out, both])()
    np.testing.assert_array_equal(out, np.where(mask, x.clip(-0.5, 0.5), x))
    np.testing.assert_array_equal(both, mask & (x > 0))


@pytest.mark.parametrize("name", ["add", "multiply", "maximum", "minimum", "equal", "divide"])
def test_arithmetic_of_booleans(name: str) -> None:
    x, y = np.array([True, True, False]), np.array([True, False, True])
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(x, y)
    out = np.empty_like(expected)
    elementwise.bind(program(["bool", "bool"], lambda b, x, y: b.step(ops[name], x, y)), [x, y], [out])()
    np.testing.assert_array_equal(out, expected)


def test_reductions_of_nothing() -> None:
    x, out = np.empty((0, 3)), np.full(3, np.nan)
    made = program(["float64"], lambda b, x: x)
    elementwise.bind(made, [x], [out], reductions=["sum"], axes=[0])()
    np.testing.assert_array_equal(out, 0)
    with pytest.raises(ShapeError, match="max of no elements"):
        elementwise.bind(made, [x], [out], reductions=["max"], axes=[0])
    elementwise.bind(made, [x], [np.empty(0)], reductions=["max"], axes=[1])()


def test_maximum_of_nan_is_nan() -> None:
    x = np.arange(40.0).reshape(2, 20)
    x[0, 17] = np.nan
    out = np.empty(2)
    elementwise.bind(program(["float64"], lambda b, x: x), [x], [out], reductions=["max"], axes=[1])()
    np.testing.assert_array_equal(out, [np.nan, 39])


def test_errors_teach() -> None:
    x = np.ones(3, np.float32)
    same = program(["float32"], lambda b, x: x)
    with pytest.raises(ShapeError, match=r"output 0 has shape \(4,\); the program makes \(3,\)"):
        elementwise.bind(same, [x], [np.ones(4, np.float32)], reductions=["sum"], axes=[])
    with pytest.raises(DTypeError, match="input 0 of the program is float32, the array is float64"):
        elementwise.bind(same, [np.ones(3)], [x])
    with pytest.raises(DTypeError, match="output 0 of the program is float32, the array is float64"):
        elementwise.bind(same, [x], [np.ones(3)])
    mixed = program(["float32", "float64"], lambda b, x, y: b.step(ops.add, x, y))
    with pytest.raises(DTypeError, match="put a cast before it"):
        elementwise.bind(mixed, [x, np.ones(3)], [np.ones(3)])
    integers = program(["int32"], lambda b, x: x)
    with pytest.raises(DTypeError, match="kernels take float32, float64, bool"):
        elementwise.bind(integers, [np.ones(3, np.int32)], [np.ones(3, np.int32)])
    with pytest.raises(UnknownOpError, match="'softmax' emits nothing"):
        elementwise.bind(program(["float32"], lambda b, x: b.step(ops.softmax, x)), [x], [x])


def test_what_somebody_elses_op_emits() -> None:
    @op(kind="elementwise", declare=False)
    def thrice(x: Any, *, plus: float = 0.0) -> Any:
        return 3 * x + plus

    @thrice.emit
    def thrice_emitted(code: Any, x: Any, *, plus: float) -> Any:
        return code.fma(x, code.constant(3, x), code.constant(plus, x))

    x, out = np.arange(5.0), np.empty(5)
    elementwise.bind(program(["float64"], lambda b, x: b.step(thrice, x, plus=1.0)), [x], [out])()
    np.testing.assert_array_equal(out, 3 * x + 1)
    elementwise.bind(program(["float64"], lambda b, x: b.step(thrice, x)), [x], [out])()
    np.testing.assert_array_equal(out, 3 * x)
    with pytest.raises(RuleError, match="already has a rule for what it emits"):
        thrice.emit(thrice_emitted)
    with pytest.raises(RuleError, match="conditions='y' is no operand; they are x"):
        op(kind="elementwise", declare=False, name="twice")(lambda x: 2 * x).emit(conditions="y")


def test_zeros_of_either_sign_are_two_constants() -> None:
    x, out = np.array([1.0, -1.0]), np.empty(2)
    for zero in (0.0, -0.0, 0.0):
        made = program(
            ["float64"], lambda b, x, zero=zero: b.step(ops.multiply, x, b.constant(zero, "float64"))
        )
        elementwise.bind(made, [x], [out])()
        np.testing.assert_array_equal(np.signbit(out), np.signbit(x * zero))


def test_many_axes_in_any_order(guard: Any) -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 5, 2, 3, 4)).transpose(5, 1, 3, 0, 4, 2)[::2]
    square = program(["float64"], lambda b, x: b.step(ops.square, x))
    for axes in ((0, 2, 5), (1,), (3, 4), (0, 1, 2, 3, 4, 5)):
        expected = (x * x).sum(axes)
        out = guard(expected.shape, np.float64)
        elementwise.bind(square, [x], [out], reductions=["sum"], axes=axes)()
        np.testing.assert_allclose(out, expected, rtol=1e-14)


def test_constants_and_scalars() -> None:
    out = np.empty((3, 4))
    made = program(["float64"], lambda b, x: b.step(ops.add, x, b.constant(2.5, "float64")))
    elementwise.bind(made, [np.array(1.0)], [out])()
    assert (out == 3.5).all()
    one = np.empty(())
    elementwise.bind(made, [np.array(1.0)], [one])()
    assert one == 3.5


def test_equal_programs_share_one_kernel_and_arrays_stay_alive() -> None:
    def bound() -> tuple[Any, Any]:
        out = np.zeros(100)
        return elementwise.bind(
            program(["float64"], lambda b, x: b.step(ops.add, x, x)), [np.ones(100)], [out]
        ), out

    (first, out), (second, _) = bound(), bound()
    assert first.address == second.address
    run = first.run
    del first
    run()  # the input has no other owner than what is bound
    np.testing.assert_array_equal(out, 2)


@each("dtype", ["float32", "float64", "bool"])
def test_lengths_share_a_kernel(dtype: str, guard: Any) -> None:
    """Maps, reductions over all, over rows and over columns; between canaries, and in parts as threads have them."""
    rng = np.random.default_rng(0)
    number = "float64" if dtype == "bool" else dtype
    one = [lambda b, x: b.step(ops.where, x, b.constant(2.0, number), b.constant(-1.0, number))]
    made = program([dtype], *(one if dtype == "bool" else [lambda b, x: b.step(ops.square, x)]))

    def right(x: Any) -> Any:
        return np.where(x, 2.0, -1.0) if dtype == "bool" else x * x

    def filled(*shape: int) -> Any:
        return guard.like(
            (rng.standard_normal(shape) > 0) if dtype == "bool" else rng.standard_normal(shape).astype(dtype)
        )

    found: dict[str, set[int]] = {}
    for n in (129, 130, 143, 144, 145, 200, 1000, 16384, 16391):
        x, out, total = filled(n), guard((n,), number), guard((), number)
        whole = elementwise.bind(made, [x], [out])
        mean = elementwise.bind(made, [x], [total], reductions=["mean"], axes=[0])
        y = filled(n, 5) if n < 1000 else filled(n // 4, 5)
        by_row, by_column = guard((len(y),), number), guard((5,), number)
        rows = elementwise.bind(made, [y], [by_row], reductions=["max"], axes=[1])
        columns = elementwise.bind(made, [y], [by_column], reductions=["sum"], axes=[0])
        spread = filled(n, 7)[:, ::2]
        apart = guard((n, 4), number)
        strided = elementwise.bind(made, [spread], [apart])
        for name, bound in (
            ("map", whole),
            ("mean", mean),
            ("max", rows),
            ("sum", columns),
            ("strided", strided),
        ):
            for thread in range(3):  # three parts, if it has parts, one after the other
                if bound.block(thread, 3):
                    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(bound.address)(bound.block(thread, 3))
            found.setdefault(name, set()).add(bound.address)
        eps = 20 * np.finfo(number).eps
        np.testing.assert_array_equal(out, right(x))
        np.testing.assert_array_equal(apart, right(spread))
        np.testing.assert_allclose(total, right(x).mean(), rtol=eps, atol=eps)
        np.testing.assert_array_equal(by_row, right(y).max(1))
        np.testing.assert_allclose(by_column, right(y).sum(0), rtol=eps, atol=eps * n)
    assert {name: len(several) for name, several in found.items()} == dict.fromkeys(found, 1)
