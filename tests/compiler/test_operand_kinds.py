"""Every op on operands of every kind, compiled as eager: bools, small integers, half precision, numbers, nothing.

The operands of each op's samples are cast to each dtype, made empty, or taken apart into single numbers; elementwise
ops stand in a chain that the compiler joins into one loop, and get hard points besides. Signs of zeros and nan count;
an op that refuses its operands does so compiled as well. Kinds that rarely differ from another one's are slow tests.
"""

import functools

import numpy as np
import pytest

import tinygraph as tg
from tests.compiler.batches import Call, assert_compiled_as_eager
from tinygraph.core.op import Op
from tinygraph.core.registry import registry
from tinygraph.errors import ShapeError

ops = tg.ops
DTYPES = ("bool", "int8", "uint8", "int16", "int64", "float16", "float32", "float64")
OPS = [
    one
    for one in registry.all_ops()
    if isinstance(one, Op) and one.package == "tinygraph_ops" and one.samples
]
POINTWISE = [one for one in OPS if one.kind in ("elementwise", "comparison")]
BESIDE = ("bool", "uint8", "float32")
HARD = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, np.inf, -np.inf, np.nan)
# sums in another order, functions of the C library and of the kernel language: so many units in the last place
UNITS = 64


def assert_alike(eager, compiled, units=UNITS):
    assert len(eager) == len(compiled)
    for one, other in zip(eager, compiled, strict=True):
        assert (one.shape, one.dtype) == (other.shape, other.dtype)
        if one.dtype.kind not in "fc":
            np.testing.assert_array_equal(one, other)
            continue
        np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
        if one.dtype.kind == "f":
            zero = one == 0
            np.testing.assert_array_equal(np.signbit(one)[zero], np.signbit(other)[zero])
        finite = one[np.isfinite(one)]
        scale = np.abs(finite).max(initial=0)
        rtol = units * np.finfo(one.dtype).eps
        np.testing.assert_allclose(other, one, rtol=rtol, atol=rtol * float(scale) / 16, equal_nan=True)


def values(dtype, count=10):
    """Hard points of a dtype."""
    if dtype == "bool":
        return np.array([False, True])
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return np.array(sorted({limits.min, limits.max, 0, 1, 2, 3, 7, max(limits.min, -3)}), dtype)[:count]
    return np.array(HARD, dtype)[:count]


def chained(op, settings, count):
    """The op with an op before each operand and one behind its result, of which the compiler makes one loop."""

    def call(*xs):
        out = op(*(ops.maximum(x, x) for x in xs), **settings)
        return ops.minimum(out, out)

    return call


def shapes_of(op):
    """The samples of an op that show how many operands it takes, without absent ones."""
    return next(one for one in op.samples if all(x is not None for x in one.operands))


def in_turn(some, kinds):
    """Each op with two of the kinds, in turn, so that each kind meets many ops; with all others in slow tests."""
    table = []
    for i, one in enumerate(some):
        chosen = {i % len(kinds), (i + 3) % len(kinds)}
        usual = [kinds[k] for k in chosen]
        rest = [kind for k, kind in enumerate(kinds) if k not in chosen]  # 0 equals -0.0
        table.append(pytest.param(one, usual, id=f"{one.name}-usual"))
        table.append(pytest.param(one, rest, id=f"{one.name}-rest", marks=pytest.mark.slow))
    return table


@pytest.mark.parametrize(
    ("op", "dtypes"),
    in_turn(POINTWISE, ("bool", "float32", "int8", "float16", "float64", "uint8", "int16", "int64")),
)
def test_hard_points_in_one_loop(op, dtypes):
    """All operands of one dtype, and each other dtype beside it, at hard points, each beside each."""
    sample = shapes_of(op)
    count = len(sample.operands)
    call = chained(op, sample.settings, count)
    for dtype in dtypes:
        calls = []
        for other in {dtype, *BESIDE} if count > 1 else {dtype}:
            kinds = [other, *[dtype] * (count - 1)]
            points = [values(kind, 10 if count < 3 else 6) for kind in kinds]
            arrays = [one.ravel() for one in np.meshgrid(*points, indexing="ij")]
            label = " and ".join(dict.fromkeys(kinds))
            calls.append(Call(label, call, arrays))
            if other == dtype:
                calls.append(Call(f"no {label}", call, [x[:0] for x in arrays]))
            for i in range(0, len(arrays[0]), max(1, len(arrays[0]) // 5)):
                single = [np.asarray(x[i]) for x in arrays]
                calls.append(Call(f"{label} {single}", call, single))
        assert_compiled_as_eager(calls, assert_alike)


@pytest.mark.parametrize(
    ("op", "numbers"),
    in_turn(
        [one for one in POINTWISE if len(one.signature.operands) == 2], (0, -1, 2, 0.5, True, -0.0, np.inf)
    ),
)
def test_python_numbers_in_one_loop(op, numbers):
    """A Python number on either side of an array: known when the function is captured, or an argument."""
    settings = op.samples[0].settings

    def before(x, n):
        return op(ops.maximum(x, x), n, **settings)

    def behind(x, n):
        return op(n, ops.maximum(x, x), **settings)

    arrays = [values(dtype) for dtype in ("bool", "int8", "float16", "float32", "float64")]
    for number in numbers:
        calls = []
        for x in (*arrays, np.asarray(arrays[-1][-1])):
            for call in (before, behind):
                label = f"{call.__name__} {number!r}, {x.dtype}[{x.ndim}]"
                calls.append(Call(f"{label}, known", functools.partial(known, call, number), [x]))
                calls.append(Call(f"{label}, an argument", call, [x, number]))
        assert_compiled_as_eager(calls, assert_alike, may_refuse=is_of_another_class)


def known(call, number, x):
    return call(x, number)


def is_of_another_class(call, error):
    """Bools to the power 2 are int8, to other powers int64: refused where the number is an argument."""
    return len(call.arguments) == 2 and "as captured" in str(error)


def cast(x, dtype):
    """An operand of a sample in another dtype: what is a float becomes it, so do bools and whole numbers of data."""
    return (
        x
        if x is None or x.dtype.kind != "f"
        else np.nan_to_num(np.clip(x, 0 if dtype[0] in "ub" else -100, 100)).astype(dtype)
    )


def empty(x):
    return x[:0] if x is not None and x.ndim else x


def single(x):
    """The first element, as an array without axes."""
    return np.asarray(x.ravel()[0]) if x is not None and x.size else x


def without_dimensions(call, error):
    """NumPy lets axis 0 of single numbers stand; a capture refuses it."""
    return isinstance(error, ShapeError) and "of 0 dimensions" in str(error)


# as float64 and float32 they are compared in test_every_op.py, more closely
@pytest.mark.parametrize(
    ("op", "kinds"),
    in_turn(
        [one for one in OPS if one.kind != "random"],
        ("bool", "empty", "float16", "int8", "0-d", "float32", "uint8", "int16", "float64", "int64"),
    ),
)
def test_samples_of_every_kind(op, kinds):
    """The samples of every op, whatever it is, with operands of each kind."""
    for kind in kinds:
        change = {"empty": empty, "0-d": single}.get(kind, functools.partial(cast, dtype=kind))
        calls = []
        for sample in op.samples[:3]:
            operands = [change(x) for x in sample.operands]
            moving = [
                i for i, x in enumerate(operands) if x is not None and sample.operands[i].dtype.kind == "f"
            ]

            def call(*arrays, operands=operands, moving=moving, sample=sample):
                full = list(operands)
                for i, array in zip(moving, arrays, strict=True):
                    full[i] = array
                return op(*full, **sample.settings)

            if moving:
                calls.append(Call(f"{kind}, {sample}", call, [operands[i] for i in moving]))
        assert_compiled_as_eager(calls, functools.partial(assert_alike, units=4096), without_dimensions)
