"""Random programs, compiled with all passes and with one left out: values and gradients equal to eager ones.

A program is plain data - types of inputs and a list of numbers for each line - so that hypothesis can shrink it. A line
finds its operands and settings from the numbers and from the shapes at hand, so that any list is a valid program.

Where a value decides (comparisons, extremes, kinks), the numbers compared are moved apart first: two orders of
summation may otherwise fall on different sides of a tie, and neither is wrong. What grows is squashed.
"""

import warnings
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tinygraph.compiler.compiled import COMPILE_PASSES
from tinygraph.compiler.passes import verify
from tinygraph.errors import TinygraphWarning

ops = tg.ops
DTYPES = ("float64", "float32", "float64", "int64", "bool")
SHAPES = ((2, 3), (3,), (), (3, 3), (1, 3), (2, 1, 3), (4, 4), (1, 2, 4, 4), (0,), (2, 0, 3), (6,), (1,))
LAYOUTS = ("contiguous", "transposed", "strided", "reversed", "read-only")


class Input(NamedTuple):
    """The type of an input, and how it lies in memory."""

    shape: tuple[int, ...]
    dtype: str
    layout: str


class Line(NamedTuple):
    """Which family of ops, and numbers from which it takes its operands and settings."""

    family: int
    first: int
    second: int
    choice: int


class Program(NamedTuple):
    inputs: tuple[Input, ...]
    lines: tuple[Line, ...]


NUMBER = st.integers(0, 11)
PROGRAMS = st.builds(
    Program,
    st.lists(
        st.builds(Input, st.sampled_from(SHAPES), st.sampled_from(DTYPES), st.sampled_from(LAYOUTS)),
        min_size=1,
        max_size=3,
    ).map(tuple),
    st.lists(st.builds(Line, st.integers(0, 11), NUMBER, NUMBER, NUMBER), min_size=1, max_size=14).map(tuple),
)


def arrays(program, seed):
    """Values for the inputs of a program."""
    rng = np.random.default_rng(seed)
    return [_laid_out(rng.normal(size=shape) * 2, layout, dtype) for shape, dtype, layout in program.inputs]


def _laid_out(values, layout, dtype):
    array = (values > 0.3) if dtype == "bool" else values.astype(dtype)
    if layout == "transposed":
        return array.T.copy().T
    if layout == "strided":
        wide = np.zeros((*array.shape, 2), array.dtype)
        wide[..., 1] = array
        return wide[..., 1]
    if layout == "reversed" and array.ndim:
        return array[::-1].copy()[::-1]
    if array.ndim:
        array.flags.writeable = layout != "read-only"
    return array


# -- lines ---------------------------------------------------------------------------------------------------------


def kind(x):
    return x.dtype.kind


def floating(x):
    return x if kind(x) == "f" else ops.cast(x, dtype="float64") * 0.5 + 0.1


def apart(x):
    """x with its elements moved apart, so that no two of them tie."""
    x = floating(x)
    ramp = np.arange(x.size).reshape(x.shape) * 0.377 + 0.013
    return x + ramp.astype(x.dtype)


def unary(a, _, choice):
    if kind(a) != "f":
        return (lambda: floating(a), lambda: ops.logical_not(a), lambda: abs_or_not(a))[choice % 3]()
    functions = (
        ops.tanh, np.sin, lambda x: -x, np.square, lambda x: ops.exp(ops.tanh(x)), lambda x: np.sqrt(x * x + 0.5),
        lambda x: np.log1p(x * x), ops.sigmoid, lambda x: ops.relu(x + 0.0123), lambda x: np.abs(x + 0.0123), ops.gelu,
        lambda x: ops.silu(x) * 2,
    )  # fmt: skip
    return functions[choice](a)


def abs_or_not(a):
    return np.abs(a) % 5 if kind(a) == "i" else ops.logical_not(a)


def neutral(a, _, choice):
    """What passes simplify, or must not."""
    a = a if kind(a) == "f" else floating(a)
    functions = (
        lambda x: x * 1.0, lambda x: x + 0.0, lambda x: x - 0.0, lambda x: -0.0 + x, lambda x: x / 1, lambda x: x**1,
        lambda x: np.negative(-x), lambda x: x * 0.0, lambda x: 0.0 - x, ops.identity, lambda x: x * np.float64(1),
        lambda x: x.astype("float64") if isinstance(x, np.ndarray) else ops.cast(x, dtype="float64"),
    )  # fmt: skip
    return functions[choice](a)


def binary(a, b, choice):
    a, b = broadcastable(a, b)
    if kind(a) == kind(b) == "b":
        return (np.logical_and, np.logical_or, np.logical_xor)[choice % 3](a, b)
    if kind(a) in "ib" and kind(b) in "ib":
        a, b = (ops.cast(x, dtype="int64") for x in (a, b))
        return (np.add, np.subtract, np.multiply, lambda x, y: x % 3 + y // 2)[choice % 4](a, b) % 7
    functions = (
        np.add, np.subtract, np.multiply, lambda x, y: x / (y * y + 1.5), np.maximum, np.minimum,
        lambda x, y: (x * x + 0.5) ** ops.tanh(y), np.hypot, np.logaddexp, np.add, np.multiply, np.arctan2,
    )  # fmt: skip
    if choice in (4, 5, 7, 11):
        a, b = apart(a), apart(b) + 0.0071
    return functions[choice](a, b)


def compare(a, b, choice):
    a, b = broadcastable(apart(a), apart(b) + 0.0071)
    return (np.greater, np.less, np.greater_equal, np.less_equal, np.not_equal, np.equal)[choice % 6](a, b)


def choose(a, b, choice):
    a, b = broadcastable(a, b)
    condition = compare(a, b, choice) if choice % 2 else np.arange(a.size).reshape(a.shape) % 2 == 0
    if choice % 3 == 0:
        return ops.where(condition, a, 0.5 if kind(a) == "f" else 1)
    return ops.where(condition, a, b)


def reduce(a, _, choice):
    axes = [None, *range(a.ndim), *range(-a.ndim, 0), tuple(range(a.ndim))]
    axis, keepdims = axes[choice % len(axes)], choice % 2 == 1
    if kind(a) == "b":
        return (np.any, np.all, np.sum)[choice % 3](a, axis=axis, keepdims=keepdims)
    if kind(a) == "i" or not a.size:
        return np.sum(a, axis=axis, keepdims=keepdims)
    functions = (
        np.sum, np.mean, lambda x, **k: np.max(apart(x), **k), lambda x, **k: np.min(apart(x), **k), np.var,
        lambda x, **k: np.prod(ops.tanh(x) + 1.1, **k), ops.logsumexp, np.sum, np.mean,
    )  # fmt: skip
    return functions[choice % len(functions)](a, axis=axis, keepdims=keepdims)


def along(a, _, choice):
    """What keeps the shape but looks along an axis."""
    if not a.ndim or not a.size:
        return unary(a, a, choice)
    a, axis = floating(a), choice % a.ndim
    functions = (
        lambda: ops.softmax(a, axis=axis), lambda: ops.log_softmax(a, axis=axis), lambda: np.cumsum(a, axis=axis),
        lambda: ops.standardize(a, axis=axis)[0], lambda: np.flip(a, axis), lambda: np.roll(a, 1, axis),
        lambda: np.sort(apart(a), axis=axis), lambda: a - np.mean(a, axis=axis, keepdims=True),
    )  # fmt: skip
    return functions[choice % len(functions)]()


def product(a, b, choice):
    a, b = floating(a), floating(b)
    if a.ndim < 2:
        a = a.reshape(-1, 1) if choice % 2 else a.reshape(1, -1)
    if b.ndim < 2 or b.shape[-2] != a.shape[-1] or b.ndim != a.ndim or b.shape[:-2] != a.shape[:-2]:
        b = np.swapaxes(a, -1, -2)
    if choice % 3 == 0:
        return ops.tanh(ops.einsum(a, b, subscripts="...ij,...jk->...ik"))
    return ops.tanh(a @ b)


def reshape(a, _, choice):
    shapes = [(-1,), (1, *a.shape), (*a.shape, 1), a.shape[::-1], (*a.shape[:1], -1) if a.size else a.shape]
    functions = (
        *(lambda x, shape=shape: x.reshape(shape) for shape in shapes),
        np.transpose, lambda x: np.expand_dims(x, 0), np.squeeze, lambda x: ops.flatten(x),
        lambda x: x.reshape(-1).reshape(x.shape), lambda x: np.transpose(x).reshape(-1),
        lambda x: np.swapaxes(x, 0, -1) if x.ndim else x,
    )  # fmt: skip
    return functions[choice](a)


def cut(a, _, choice):
    if not a.ndim:
        return a[None]
    functions = (
        lambda x: x[1:], lambda x: x[..., ::2], lambda x: x[..., ::-1], lambda x: x[-1] if len(x) else x,
        lambda x: x[None], lambda x: x[:0], lambda x: x[np.arange(len(x))[::-1]], lambda x: x[..., :1],
        lambda x: x[np.arange(len(x)) % 2 == 0], lambda x: np.pad(x, 1), lambda x: np.repeat(x, 2, axis=-1),
        lambda x: np.split(x, [1], axis=-1)[1],
    )  # fmt: skip
    return functions[choice](a)


def join(a, b, choice):
    a, b = broadcastable(a, b)
    if kind(a) != kind(b):
        a, b = floating(a), floating(b)
    shape = np.broadcast_shapes(a.shape, b.shape)
    a, b = np.broadcast_to(a, shape), np.broadcast_to(b, shape)
    if choice % 3 == 0 or not a.ndim:
        return np.stack([a, b], axis=choice % (a.ndim + 1))
    return np.concatenate([a, b, a][: 2 + choice % 2], axis=choice % a.ndim)


def image(a, b, choice):
    """Convolutions and pools of whatever is at hand, as one image of one channel."""
    a = floating(a)
    if a.size < 4:
        return binary(a, b, choice)
    side = int(a.size**0.5)
    x = a.reshape(-1)[: side * side].reshape(1, 1, side, side)
    size = min(2 + choice % 2, side)
    kernel = np.cos(np.arange(2 * size * size)).reshape(2, 1, size, size).astype(x.dtype)
    if kind(b) == "f" and b.dtype == x.dtype and b.size == 1:
        kernel = kernel * ops.tanh(b).reshape(1, 1, 1, 1)
    functions = (
        lambda: ops.convolution(x, kernel, padding=1), lambda: ops.convolution(x, kernel, stride=2, padding=size - 1),
        lambda: ops.max_pool(apart(x), size=2), lambda: ops.average_pool(x, size=2, stride=1),
        lambda: ops.relu(ops.convolution(x, kernel, padding=1) + 0.0123),
    )  # fmt: skip
    return ops.tanh(functions[choice % len(functions)]())


def broadcastable(a, b):
    """The operands, the second one replaced where they do not fit."""
    try:
        np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        return a, np.sum(b) if b.size != 1 else b.reshape(())
    return a, b


FAMILIES = (unary, neutral, binary, compare, choose, reduce, along, product, reshape, cut, join, image)


def run(program, *inputs):
    """The last values that a program computes."""
    values = list(inputs)
    for family, first, second, choice in program.lines:
        a, b = values[-1 - first % len(values)], values[-1 - second % len(values)]
        found = FAMILIES[family](a, b, choice)
        if found.size > 200:
            found = np.sum(found, axis=0)
        values.append(found if kind(found) != "f" or family not in (0, 2, 5) else ops.tanh(found))
    return tuple(values[-3:])


def loss(program, *inputs):
    """One number that depends on all floating-point results."""
    total = 0.0
    for out in run(program, *inputs):
        if kind(out) == "f":
            weights = np.cos(np.arange(out.size)).reshape(out.shape).astype(out.dtype)
            total = total + (out * weights).sum()
    return total


# -- tests ---------------------------------------------------------------------------------------------------------


def check(program, left_out, seed=0):
    """Compare a program, compiled without one of the passes (or with all), with itself."""
    inputs = arrays(program, seed)
    passes = [one for i, one in enumerate(COMPILE_PASSES) if i != left_out]
    moving = tuple(i for i, one in enumerate(program.inputs) if one.dtype.startswith("float"))

    def both(*inputs):
        values = run(program, *inputs)
        if not moving or not any(kind(out) == "f" for out in values):
            return values, ()
        return values, tg.grad(lambda *xs: loss(program, *xs), moving)(*inputs)

    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", TinygraphWarning)  # a loss may depend on no input
        expected = both(*inputs)
        compiled = tg.compile(both, passes=passes)
        for again in range(2):
            found = compiled(*inputs)
            for one, other in zip((*found[0], *found[1]), (*expected[0], *expected[1]), strict=True):
                assert_close(np.asarray(one), np.asarray(other), program, again)
    for before, stage in pairwise(compiled.stages):
        verify(stage.graph)
        # all of them together; one alone may meet what another would have taken away
        if left_out == len(COMPILE_PASSES) and stage.name not in ("transpose_products", "take_parts"):
            assert len(stage.graph.nodes) <= len(before.graph.nodes), (stage.name, program)


def assert_close(found, expected, *about):
    assert found.shape == expected.shape, about
    assert found.dtype == expected.dtype, about
    if expected.dtype.kind != "f":
        np.testing.assert_array_equal(found, expected, str(about))
        return
    single = expected.dtype == np.float32 or any(one.dtype == "float32" for one in about[0].inputs)
    bound = 1e-4 if single else 1e-11
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected), str(about))
    difference = np.linalg.norm(np.nan_to_num(found - expected).astype(float).ravel())
    norm = np.linalg.norm(np.nan_to_num(expected).astype(float).ravel())
    assert difference <= bound * (norm + np.sqrt(expected.size)), (difference, norm, *about)


LEFT_OUT = st.integers(0, len(COMPILE_PASSES))
CALM = {
    "deadline": None,
    "suppress_health_check": [HealthCheck.too_slow, HealthCheck.data_too_large],
    "database": None,
}


@settings(max_examples=100, derandomize=True, **CALM)
@given(PROGRAMS, LEFT_OUT)
def test_random_programs(program, left_out):
    check(program, left_out)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=3000, **CALM)
@given(PROGRAMS, LEFT_OUT, st.integers(0, 1000))
def test_thousands_of_random_programs(program, left_out, seed):
    check(program, left_out, seed)


def test_groups_that_would_wait_for_each_other_are_not_fused():
    weights = np.cos(np.arange(12.0)).reshape(3, 4)

    def function(x, y):
        first = np.sin(x)
        product = first @ weights  # ends before `second` begins, and reads a group that goes on after it
        second = np.tanh(y)
        return first + second @ weights.T, second + product

    x, y = np.ones((3, 3)), np.ones((3, 4))
    for found, expected in zip(tg.compile(function)(x, y), function(x, y), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-12)
