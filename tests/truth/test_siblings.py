"""Siblings of the inputs in `test_cases.py`: for each test there, three programs or more of the same kind.

`@siblings("name of the test there", ...)` gives a test its programs, each with its literal right value; the last test
of this file holds that every line has three.
"""

from __future__ import annotations

import collections
import functools
import json
import operator
import os
import random
import statistics
import threading
import time
import types
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.truth import test_cases
from tests.truth.test_cases import T, ones
from tests.truth.test_cases import close as close_to
from tinygraph import nn, optim
from tinygraph.errors import (
    CaptureError,
    FileFormatError,
    RecordingError,
    SettingError,
    StaleValueError,
    TinygraphError,
    TinygraphWarning,
)
from tinygraph.nn import functional as F
from tinygraph.optim import lr_scheduler as schedules


def close(found: Any, expected: Any, bound: float = 1e-12) -> None:
    close_to(found.detach() if isinstance(found, tg.Tensor) else found, expected, bound)


COUNTS: collections.Counter[str] = collections.Counter()


def siblings(case: str, *programs: Any) -> Any:
    """A test of one program after the other."""
    COUNTS[case] += len(programs)
    return pytest.mark.parametrize("program", programs, ids=lambda one: getattr(one, "__name__", None))


def sibling(case: str) -> Callable[[Any], Any]:
    """One program, which is a test of its own."""
    COUNTS[case] += 1
    return lambda test: test


# -- compiled programs -------------------------------------------------------------------------------------------------


def by_a_lambda(inner: Any) -> Any:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner
            self.call = tg.compile(lambda x: self.inner(x))

        def forward(self, x: Any) -> Any:
            return self.call(x)

    return Block()


def by_a_method(inner: Any) -> Any:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = inner

        @tg.compile
        def run(self, x: Any) -> Any:
            return self.inner(x)

        def forward(self, x: Any) -> Any:
            return self.run(x)

    return Block()


def by_a_closure(inner: Any) -> Any:
    def run(x: Any) -> Any:
        return inner(x)

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.call = inner, tg.compile(run)

        def forward(self, x: Any) -> Any:
            return self.call(x)

    return Block()


def two_deep(inner: Any) -> Any:
    return nn.Sequential(by_a_lambda(nn.Sequential(inner)))


@siblings(
    "test_a_compiled_block_inside_a_module_follows_eval", by_a_lambda, by_a_method, by_a_closure, two_deep
)
def test_eval_reaches_compiled_blocks(program: Any) -> None:
    x = np.ones((100, 2), "float32")
    m = program(nn.Dropout(0.5))
    assert (np.asarray(m(x)) == 0).any()
    m.eval()
    close(m(x), x)
    m.train()
    assert (np.asarray(m(x)) == 0).any()
    m = program(nn.BatchNorm1d(2))
    close(m(x), 0 * x)  # of equal rows nothing is left
    m.eval()
    close(m(x), np.full((100, 2), 0.9 / np.sqrt(0.9 + 1e-5)), 1e-6)  # running mean 0.1, variance 0.9


def of_a_class(set_to: Any) -> Any:
    class Config:
        s = 1.0

    return lambda t: t * Config.s, lambda value: setattr(Config, "s", value)


def in_a_dict(set_to: Any) -> Any:
    settings = {"s": 1.0}
    return lambda t: t * settings["s"], lambda value: settings.update(s=value)


def in_a_list_of_a_list(set_to: Any) -> Any:
    settings = [[1.0]]
    return lambda t: t * settings[0][0], lambda value: settings[0].__setitem__(0, value)


def of_an_object_of_an_object(set_to: Any) -> Any:
    config = SimpleNamespace(inner=SimpleNamespace(s=1.0))
    return lambda t: t * config.inner.s, lambda value: setattr(config.inner, "s", value)


def through_a_helper(set_to: Any) -> Any:
    config = SimpleNamespace(s=1.0)

    def helper() -> Any:
        return config.s

    return lambda t: t * helper(), lambda value: setattr(config, "s", value)


def of_a_property(set_to: Any) -> Any:
    class Config:
        def __init__(self) -> None:
            self.half = 0.5

        @property
        def s(self) -> float:
            return 2 * self.half

    config = Config()
    return lambda t: t * config.s, lambda value: setattr(config, "half", value / 2)


def in_slots(set_to: Any) -> Any:
    class Config:
        __slots__ = ("s",)

    config = Config()
    config.s = 1.0
    return lambda t: t * config.s, lambda value: setattr(config, "s", value)


def by_name(set_to: Any) -> Any:
    config = SimpleNamespace(s=1.0)
    return lambda t: t * getattr(config, "s"), lambda value: setattr(config, "s", value)  # noqa: B009


def in_a_global(set_to: Any) -> Any:
    def assign(value: float) -> None:
        globals()["SCALE"] = value

    assign(1.0)
    return lambda t: t * SCALE, assign  # type: ignore[name-defined] # noqa: F821


def in_a_default(set_to: Any) -> Any:
    def function(t: Any, s: float = 1.0) -> Any:
        return t * s

    return function, lambda value: setattr(function, "__defaults__", (value,))


def of_an_environment(set_to: Any) -> Any:
    os.environ["TINYGRAPH_TEST_SCALE"] = "1.0"
    return (
        lambda t: t * float(os.environ["TINYGRAPH_TEST_SCALE"]),
        lambda value: os.environ.update(TINYGRAPH_TEST_SCALE=str(value)),
    )


def remembered(set_to: Any) -> Any:
    config = SimpleNamespace(s=1.0)

    @functools.lru_cache
    def scale() -> Any:
        return config.s

    def assign(value: float) -> None:
        config.s = value
        scale.cache_clear()

    return lambda t: t * scale(), assign


def remembered_by_a_method(set_to: Any) -> Any:
    class Config:
        s = 1.0

        @functools.cache  # noqa: B019 # its class lives as long as its test
        def scaled(self, n: int) -> Any:
            return self.s * n

    config = Config()
    config.scaled(1)

    def assign(value: float) -> None:
        Config.s = value
        Config.scaled.cache_clear()

    return lambda t: t * config.scaled(1), assign


class Single:
    s = 1.0


class Triple:
    s = 3.0


def by_the_class(set_to: Any) -> Any:
    config = Single()
    return lambda t: t * config.s, lambda value: setattr(
        config, "__class__", Single if value == 1 else Triple
    )


def by_the_bases(set_to: Any) -> Any:
    class Config(Single):
        pass

    config = Config()
    return lambda t: t * config.s, lambda value: setattr(
        Config, "__bases__", (Single if value == 1 else Triple,)
    )


def in_the_variables_of_a_module(set_to: Any) -> Any:
    module = types.ModuleType("settings_of_a_test")
    module.s = 1.0  # type: ignore[attr-defined]
    return lambda t: t * module.s, lambda value: vars(module).__setitem__("s", value)


def in_the_dict_of_a_module(set_to: Any) -> Any:
    module = types.ModuleType("settings_of_a_test")
    module.s = 1.0  # type: ignore[attr-defined]
    return lambda t: t * module.s, lambda value: module.__dict__.update(s=value)


def by_an_attrgetter(set_to: Any) -> Any:
    config, read = SimpleNamespace(inner=SimpleNamespace(s=1.0)), operator.attrgetter("inner.s")
    return lambda t: t * read(config), lambda value: setattr(config.inner, "s", value)


def by_a_dispatch(set_to: Any) -> Any:
    @functools.singledispatch
    def scale(of: object) -> float:
        return 1.0

    config = Single()
    return lambda t: t * scale(config), lambda value: scale.register(Single, lambda of: value)


def in_code(set_to: Any) -> Any:
    def scale() -> float:
        return 1.0

    def other() -> float:
        return 3.0

    one, three = scale.__code__, other.__code__
    return lambda t: t * scale(), lambda value: setattr(scale, "__code__", one if value == 1 else three)


@siblings(
    "test_an_attribute_of_an_object_is_followed",
    remembered, remembered_by_a_method, by_the_class, by_the_bases, by_an_attrgetter,
    in_the_variables_of_a_module, in_the_dict_of_a_module, by_a_dispatch, in_code,
    of_a_class, in_a_dict, in_a_list_of_a_list, of_an_object_of_an_object, through_a_helper, of_a_property, in_slots,
    by_name, in_a_global, in_a_default, of_an_environment,
)  # fmt: skip
def test_what_python_reads_is_followed(program: Any) -> None:
    function, assign = program(None)
    c = tg.compile(function)
    close(c(ones), [1, 1, 1])
    assign(3.0)
    close(c(ones), [3, 3, 3])
    assign(1.0)
    close(c(ones), [1, 1, 1])


def test_what_a_program_forgets_or_becomes_is_seen() -> None:
    config, settings = Single(), SimpleNamespace(s=1.0)

    @functools.cache
    def scale() -> Any:
        return settings.s

    def forgets(t: Any) -> Any:
        scale.cache_clear()
        return t * scale()

    def becomes(t: Any) -> Any:
        config.__class__ = Triple
        return t * config.s

    scale()
    settings.s = 2.0
    with pytest.raises(CaptureError, match="cache of scale"):
        tg.compile(forgets)(ones)
    c = tg.compile(becomes)
    close(c(ones), [3, 3, 3])
    config.__class__ = Single
    with pytest.warns(
        TinygraphWarning, match=r"'config.__class__' has another value at test_siblings.py:\d+"
    ):
        close(c(ones), [3, 3, 3])
    assert type(config) is Triple


def test_layers_written_past_their_setattr_are_followed() -> None:
    """`vars(layer)[...] =`, `layer.__dict__.update`, `object.__setattr__` and another class."""

    class Steep(nn.LeakyReLU):
        def forward(self, x: Any) -> Any:
            return 10 * super().forward(x)

    layer = nn.LeakyReLU(0.5)
    for c in (tg.compile(layer), tg.compile(nn.Sequential(nn.Identity(), layer))):
        layer.negative_slope = 0.5
        close(c(-ones), [-0.5] * 3)
        vars(layer)["negative_slope"] = 0.25
        close(c(-ones), [-0.25] * 3)
        layer.__dict__.update(negative_slope=0.125)
        close(c(-ones), [-0.125] * 3)
        object.__setattr__(layer, "negative_slope", 2.0)
        close(c(-ones), [-2] * 3)
        layer.__class__ = Steep
        close(c(-ones), [-20] * 3)
        layer.__class__ = nn.LeakyReLU
        close(c(-ones), [-2] * 3)


rng, legacy, own = np.random.default_rng(0), np.random.RandomState(0), random.Random(0)


@siblings(
    "test_random_numbers_of_the_host_are_refused",
    lambda t: t + random.random(),
    lambda t: t + own.gauss(0, 1),
    lambda t: t + np.random.rand(),
    lambda t: t + legacy.normal(),
    lambda t: t * rng.permutation(3),
    lambda t: t + random.choice([1, 2]),
    lambda t: t + time.time(),
    lambda t: t + time.perf_counter(),
    lambda t: t + os.urandom(1)[0],
    lambda t: t + next(iter(random.sample(range(9), 1))),
)
def test_draws_and_clocks_are_refused(program: Any) -> None:
    before = random.getstate()
    with pytest.raises(CaptureError, match=r"draw|clock|operating system"):
        tg.compile(program)(ones)
    assert random.getstate() == before


def summed(a: Any, t: Any) -> Any:
    return t * a + a.sum()


def largest_first(a: Any, t: Any) -> Any:
    return t * a / a.max() + np.flip(a)


def by_rows(a: Any, t: Any) -> Any:
    return t * np.outer(a, a)[0] + float(a[0])


def masked(a: Any, t: Any) -> Any:
    return np.where(a > 2.5, t, 0 * t) + int(a[1])


@siblings(
    "test_a_closed_over_array_that_changes_is_followed_whole",
    (summed, [7, 8], [30, 30]),
    (largest_first, [2 / 3 + 3, 1 + 2], [11, 11]),
    (by_rows, [6, 8], [110, 110]),
    (masked, [3, 4], [11, 11]),
)
def test_arrays_that_functions_close_over_are_read_as_they_are(program: Any) -> None:
    function, first, second = program
    a = np.array([2.0, 3.0])
    held = {"array": a}
    for c in (tg.compile(lambda t: function(a, t)), tg.compile(lambda t: function(held["array"], t))):
        a[:] = 2, 3
        close(c(np.ones(2)), first)
        a[:] = 10
        close(c(np.ones(2)), second)


def an_argument() -> Any:
    x = T([1.0, 2.0])
    tg.compile(lambda v: v * v * v)(x).sum().backward()
    return x.grad, [3, 12]


def a_closure_under_grad() -> Any:
    c = tg.compile(lambda v: v * v * v)
    return tg.grad(lambda v: c(v).sum() + c(v * 2).sum())(np.array([1.0, 2.0])), [27, 108]


def a_closure_over_a_computed_tensor() -> Any:
    def f(w: Any) -> Any:
        h = w * w
        return tg.compile(lambda v: (v * h).sum())(np.array([1.0, 10.0]))

    return tg.grad(f)(np.array([1.0, 2.0])), [2, 40]


def a_second_derivative_of_a_closure() -> Any:
    def f(w: Any) -> Any:
        h = w * w
        return tg.compile(lambda: (h * h).sum())()

    return tg.hessian(f)(np.array([1.0, 2.0])), [[12, 0], [0, 48]]


def a_second_derivative() -> Any:
    c = tg.compile(lambda v: (v**3).sum())
    return tg.hessian(c)(np.array([1.0, 2.0])), [[6, 0], [0, 12]]


def a_compiled_part_of_a_compiled_function() -> Any:
    w = T([1.0, 2.0])
    inner = tg.compile(lambda v: v * w)
    tg.compile(lambda v: inner(inner(v)))(np.array([3.0, 5.0])).sum().backward()
    return w.grad, [6, 20]


def eager_around_compiled() -> Any:
    w = T([1.0, 2.0])
    c = tg.compile(lambda v: v * v * w)
    (w * c(w)).sum().backward()
    return w.grad, [4, 32]


def forward_mode() -> Any:
    c = tg.compile(lambda v: np.sin(v) * 2)
    return tg.jvp(c, (np.zeros(2),), (np.array([1.0, 3.0]),))[1], [2, 6]


def one_of_two_results() -> Any:
    w = T([1.0, 2.0])
    product, _ = tg.compile(lambda v: (v * w, v + w))(np.array([3.0, 5.0]))
    product.sum().backward()
    return w.grad, [3, 5]


def a_method() -> Any:
    class Model:
        def __init__(self) -> None:
            self.w = T([2.0])

        @tg.compile
        def run(self, v: Any) -> Any:
            return (v * self.w) ** 2

    model = Model()
    model.run(np.array([3.0])).sum().backward()
    return model.w.grad, [36]


@siblings(
    "test_gradients_flow_through_a_compiled_layer",
    an_argument, a_closure_under_grad, a_closure_over_a_computed_tensor, a_second_derivative_of_a_closure,
    a_second_derivative, a_compiled_part_of_a_compiled_function,
    eager_around_compiled, forward_mode, one_of_two_results, a_method,
)  # fmt: skip
def test_a_compiled_function_is_part_of_the_program(program: Any) -> None:
    found, expected = program()
    close(found, expected)


Pair = collections.namedtuple("Pair", "z a")


@siblings(
    "test_dicts_keep_their_order",
    (lambda d: list(d), lambda d: dict(d), {2: 1.0, 1: 5.0}, 7, {2: 2, 1: 1}),
    (lambda d: list(d), lambda d: d, collections.OrderedDict(b=1.0, a=5.0), 7, {"b": 2, "a": 1}),
    (lambda d: list(d), lambda d: d, {"b": 1.0, "c": 0.0, "a": 5.0}, 9, {"b": 4, "c": 2, "a": 1}),
    (lambda d: ["y", "x"], lambda d: d, {"x": 1.0, "y": 5.0}, 11, {"x": 1, "y": 2}),
)
def test_keys_are_met_in_their_order(program: Any) -> None:
    order, made, given, value, gradients = program

    def f(d: Any) -> Any:
        x = 0.0
        for key in order(d):
            x = 2 * x + d[key]
        return x

    assert list(made(given)) == list(given)
    close(tg.compile(f)(given), value)
    found = tg.grad(f)(given)
    assert list(found) == list(given)
    assert type(found) is type(given)
    close([found[key] for key in given], [gradients[key] for key in given])


@sibling("test_dicts_keep_their_order")
def test_results_keep_order_and_class() -> None:
    found = tg.compile(lambda x: {"b": x, "a": (Pair(x * 2, x * 3), [x])})(ones)
    assert list(found) == ["b", "a"]
    assert type(found["a"][0]) is Pair
    close(found["a"][0].a, [3, 3, 3])


@siblings(
    "test_integers_beyond_int64",
    (lambda t, n: t * (n * n * n), 2**40, 2.0**120),
    (lambda t, n: t * (n + n), 2**62, 2.0**63),
    (lambda t, n: t * (n - 1), -(2**63), -(2.0**63)),
    (lambda t, n: t * (n**3), 10**10, 1e30),
    (lambda t, n: t * (n // 7), 7 * 2**70, 2.0**70),
    (lambda t, n: t * (n % 1000), 10**30 + 7, 7.0),
    (lambda t, n: t * abs(n), -(2**63), 2.0**63),
    (lambda t, n: t * (n > 2**63), 2**64, 1.0),
)
def test_python_integers_have_any_size(program: Any) -> None:
    function, n, value = program
    close(function(ones, n), np.full(3, value))
    close(tg.compile(function)(ones, n), np.full(3, value))


class Hashed:
    """A mutable object that is hashable by what it holds."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hashed) and self.n == other.n

    def __hash__(self) -> int:
        return 1


One = collections.namedtuple("One", "a")
Other = collections.namedtuple("One", "a")  # type: ignore[name-match]


@siblings(
    "test_true_is_not_a_fraction",
    (lambda x, n: x * (2 if n is True else 3), True, Decimal(1), 2, 3),
    (lambda x, n: x * (2 if isinstance(n, bool) else 3), True, 1, 2, 3),
    (lambda x, n: x * (2 if isinstance(n, One) else 3), One("a"), Other("a"), 2, 3),
    (lambda x, n: x * len(n), frozenset({1, 2}), (1, 2, 3), 2, 3),
    (lambda x, n: x * (2 if str(n) == "0.0" else 3), "0.0", "-0.0", 2, 3),
    (lambda x, n: x * (2 if type(n[1]) is bool else 3), ("a", True), ("a", "b"), 2, 3),
    (lambda x, n: x * n.numerator, Fraction(2, 5), Fraction(3, 5), 2, 3),
)
def test_keys_tell_apart_what_eager_code_does(program: Any) -> None:
    function, first, second, one, other = program
    c = tg.compile(function)
    close(c(ones, first), [one] * 3)
    close(c(ones, second), [other] * 3)
    close(c(ones, first), [one] * 3)


@sibling("test_true_is_not_a_fraction")
def test_a_mutable_hashable_is_watched() -> None:
    c = tg.compile(lambda x, held: x * held.n)
    held = Hashed(2)
    close(c(ones, held), [2, 2, 2])
    held.n = 3
    close(c(ones, held), [3, 3, 3])
    close(c(ones, Hashed(2)), [2, 2, 2])


@siblings(
    "test_a_bool_is_compared_with_floats",
    (lambda z, y: (z > 0) + y, [2, 2, 0.5], 0),
    (lambda z, y: (z > 0) * y, [1, 1, 0], 0),
    (lambda z, y: np.maximum(z > 0, y), [1, 1, 0.5], 0),
    (lambda z, y: ((z > 0) != y) * 1.0, [0, 0, 1], 0),
    (lambda z, y: (z > 0) < y, [0, 0, 1], 0),
    (lambda z, y: np.where(z > 0, y, True), [1, 1, 1], 0),
    (lambda z, y: (z > 0) / y, [1, 1, 0], 0),
    (lambda z, y: np.exp((z > 0) - y), [1, 1, np.exp(-0.5)], 0),
    (lambda z, y: (z > 0) ** y, [1, 1, 0], 0),
    (lambda z, y: tg.ops.relu((z > 0) - 2 * y), [0, 0, 0], 0),
)
def test_bools_take_part_in_arithmetic(program: Any) -> None:
    function, expected, _ = program
    z, y = np.array([1.0, 2.0, -1.0]), np.array([1.0, 1.0, 0.5])
    close(np.asarray(function(z, y), float), expected)
    close(np.asarray(tg.compile(function)(z, y), float), expected)


def twice_a_scale(s: Any) -> Any:
    return lambda x: (x * s).sum() * (x * s).sum(), [18 * 2, 36 * 2]  # 2 * 9 s at s = 2


def with_a_shift(s: Any) -> Any:
    return lambda x: (x + s).sum(), [3, 6]


def with_a_power(s: Any) -> Any:
    return lambda x: (s**x).sum(), [3, 6]


def with_a_reshape(s: Any) -> Any:
    return lambda x: (s.reshape(1) * x).sum(), [3, 6]


@siblings(
    "test_a_parameter_without_axes_gathers_gradients_in_a_compiled_step",
    twice_a_scale, with_a_shift, with_a_power, with_a_reshape,
)  # fmt: skip
def test_parameters_without_axes_gather_gradients(program: Any) -> None:
    s = tg.tensor(2.0, requires_grad=True)
    function, expected = program(s)

    @tg.compile
    def step(x: Any) -> Any:
        function(x).backward()
        return s.grad * 1

    for value in expected:
        close(step(ones), value)
        close(s.grad, value)


def adam(w: Any) -> Any:
    return optim.Adam([w], lr=0.5), -0.5  # the first step of Adam is lr in the direction of the gradient


def nesterov(w: Any) -> Any:
    return optim.SGD([w], lr=0.5, momentum=0.5, nesterov=True), -0.75  # 0.5 * (1 + 0.5)


def rmsprop(w: Any) -> Any:
    return optim.RMSprop([w], lr=0.5, alpha=0.75), -1.0  # 0.5 / sqrt(0.25)


@siblings("test_cleared_momentum_is_no_momentum", adam, nesterov, rmsprop)
def test_a_cleared_optimizer_begins_anew(program: Any) -> None:
    w = T([0.0])
    optimizer, first = program(w)

    @tg.compile
    def step(g: Any) -> Any:
        optimizer.zero_grad()
        loss = (w * g).sum()
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(3):
        step(np.array([1.0]))
    before = float(w.numpy()[0])
    optimizer.state.clear()
    step(np.array([1.0]))
    close(w.numpy()[0] - before, first, 1e-6)


def a_rate_set_by_hand() -> Any:
    w = T([0.0])
    optimizer = optim.SGD([w], lr=0.5)
    return w, optimizer, lambda: optimizer.param_groups[0].update(lr=0.25), -0.25


@sibling("test_cleared_momentum_is_no_momentum")
def test_a_rate_that_is_set_by_hand_is_followed() -> None:
    w, optimizer, change, moved = a_rate_set_by_hand()

    @tg.compile
    def step(g: Any) -> Any:
        optimizer.zero_grad()
        loss = (w * g).sum()
        loss.backward()
        optimizer.step()
        return loss

    step(np.array([1.0]))
    change()
    before = float(w.numpy()[0])
    step(np.array([1.0]))
    close(w.numpy()[0] - before, moved)


def written_by_a_slice(p: Any, q: Any) -> Any:
    q[0] = q[0] * 3
    q[1:] = q[1:] + 1
    return (q * p).sum()


def written_from_the_parameter(p: Any, q: Any) -> Any:
    q[...] = p * 2
    q[...] = q * p
    return (q * p).sum()


def written_after_it_was_read(p: Any, q: Any) -> Any:
    kept = q * p
    q[...] = q * 10
    return (kept + q * p).sum()


def written_three_times(p: Any, q: Any) -> Any:
    for i in range(3):
        q[...] = q * 2 + i
    return (q * p).sum()


@siblings(
    "test_a_state_that_is_written_twice_and_then_differentiated",
    (written_by_a_slice, [3, 3], [3, 3]),
    (written_from_the_parameter, [6, 24], [2, 8]),  # the loss is 2 p^3
    (written_after_it_was_read, [11, 22], [10, 20]),
    (written_three_times, [12, 20], [12, 20]),  # 1: 2, 5, 12; 2: 4, 9, 20
)
def test_states_that_are_written_in_a_step(program: Any) -> None:
    function, gradient, state = program
    for compiled in (False, True):
        p, q = T([1.0, -2.0]), tg.tensor(np.array([1.0, 2.0]))

        def step(p: Any = p, q: Any = q) -> Any:
            loss = function(p, q)
            loss.backward()
            return loss

        try:
            (tg.compile(step) if compiled else step)()
        except TinygraphError:
            continue
        close(p.grad, gradient)
        close(q, state)


# -- memory shared with NumPy ------------------------------------------------------------------------------------------


def rows_of_a_loop(y: Any) -> Any:
    for i, row in enumerate(y):
        row *= i + 1
    return [[1, 2, 3], [8, 10, 12]], [[1, 1, 1], [2, 2, 2]]


def a_transpose(y: Any) -> Any:
    t = y.T
    t[0] += 10
    return [[11, 2, 3], [14, 5, 6]], [[1, 1, 1], [1, 1, 1]]


def a_flat_one(y: Any) -> Any:
    flat = y.reshape(-1)
    flat[1:3] = 0
    return [[1, 0, 0], [4, 5, 6]], [[1, 0, 0], [1, 1, 1]]


def a_chain_of_indices(y: Any) -> Any:
    part = y[1][1:]
    part *= 3
    return [[1, 2, 3], [4, 15, 18]], [[1, 1, 1], [1, 3, 3]]


def the_original_afterwards(y: Any) -> Any:
    z = y[:, 0]
    y[:, 0] = z * z
    z += 1  # a view of what was written
    return [[2, 2, 3], [17, 5, 6]], [[2, 1, 1], [8, 1, 1]]


def a_swapped_part(y: Any) -> Any:
    y.swapaxes(0, 1)[2] -= 3
    return [[1, 2, 0], [4, 5, 3]], [[1, 1, 1], [1, 1, 1]]


@siblings(
    "test_a_write_through_a_view",
    rows_of_a_loop, a_transpose, a_flat_one, a_chain_of_indices, the_original_afterwards, a_swapped_part,
)  # fmt: skip
def test_writes_through_views_are_numpys(program: Any) -> None:
    start = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    plain = start * 1
    expected, gradient = program(plain)
    close(plain, expected)  # as NumPy does

    def function(v: Any) -> Any:
        y = v * 1
        program(y)
        return y

    v = T(start)
    y = function(v)
    close(y.detach(), expected)
    y.sum().backward()
    close(v.grad, gradient)
    close(tg.compile(function)(start), expected)
    close(tg.grad(lambda v: tg.compile(function)(v).sum())(start), gradient)


@sibling("test_a_write_through_a_view")
def test_a_view_of_a_parameter_is_written_without_recording() -> None:
    w = T([1.0, 2.0, 3.0])
    with tg.no_grad():
        w[1:] *= 10
    close(w.detach(), [1, 20, 30])
    (w * w).sum().backward()
    close(w.grad, [2, 40, 60])


def labels() -> Any:
    logits, y = T([[1.0, 2.0], [3.0, 4.0]]), np.array([0, 1])
    return F.cross_entropy(logits, y), y, "cross_entropy"


def a_mask() -> Any:
    v, mask = T([1.0, 2.0]), np.array([True, False])
    return np.where(mask, v * 2, v).sum(), mask, "where"


def an_index() -> Any:
    v, index = T([1.0, 2.0]), np.array([0, 0])
    return v[index].sum(), index, "index"


def a_large_batch() -> Any:
    w, x = T(np.ones((40, 2))), np.ones((300, 40))
    return (x @ w).sum(), x, "matmul"


def a_factor() -> Any:
    v, a = T([1.0, 2.0]), np.array([3.0, 4.0])
    return (v * a).sum(), a, "multiply"


def a_view_of_the_array() -> Any:
    v, a = T([1.0, 2.0]), np.ones((2, 2))
    return (v * a[0]).sum(), a, "multiply"


@siblings(
    "test_an_array_that_changes_before_the_backward_pass",
    labels, a_mask, an_index, a_large_batch, a_factor, a_view_of_the_array,
)  # fmt: skip
def test_plain_arrays_that_nodes_keep_are_noticed_when_they_change(program: Any) -> None:
    loss, array, op = program()
    array[...] = ~array if array.dtype == bool else 1 - array + (array.dtype.kind == "f") * 4
    with pytest.raises(StaleValueError, match=op):
        loss.backward()
    program()[0].backward()


@siblings(
    "test_saved_values_cannot_be_written_through_numpy",
    lambda p: np.asarray(p.detach()).__setitem__(0, 9),
    lambda p: p.numpy().__setitem__(0, 9),
    lambda p: np.asarray((p * 2).detach()).__setitem__(0, 9),
    lambda p: np.asarray(p.detach()).reshape(1, 1).fill(9),
    lambda p: np.add(1, 1, out=p.numpy()),
    lambda p: np.asarray(p.detach()).sort(),
)
def test_memory_of_tensors_is_read_only_to_numpy(program: Any) -> None:
    p = T([1.0])
    with pytest.raises(ValueError, match="read-only"):
        program(p)
    close(p.detach(), [1])


@sibling("test_saved_values_cannot_be_written_through_numpy")
def test_gradients_are_the_callers_own() -> None:
    x = np.array([1.0, 2.0])
    found = tg.grad(lambda v: (v * v).sum())(x)
    found[:] = 7
    close(x, [1, 2])
    value, pull = tg.vjp(lambda v: v * 1, x)
    (first,) = pull(np.ones(2))
    first[:] = 7
    close(pull(np.ones(2))[0], [1, 1])
    close(value, [1, 2])


# -- gradients dropped -------------------------------------------------------------------------------------------------


def filled(x: Any) -> Any:
    out = np.zeros(1)
    out.fill(x[0])
    return out[0] * x[0]


def from_an_iterator(x: Any) -> Any:
    return np.fromiter((v * v for v in x), float).sum() * x[0]


@siblings(
    "test_elements_of_a_plain_array_drop_no_gradients",
    lambda x: float(x[0]) * x[0],
    lambda x: int(x[0]) * x[0],
    lambda x: complex(x[0]) * x[0],
    lambda x: __import__("math").sin(x[0]) * x[0],
    lambda x: np.float64(x[0]) * x[0],
    lambda x: round(x[0]) * x[0],
    lambda x: statistics.fmean([x[0], x[1]]) * x[0],
    filled,
    from_an_iterator,
)
def test_values_that_leave_the_graph_are_refused(program: Any) -> None:
    with pytest.raises((RecordingError, ValueError, TypeError)):
        tg.grad(program)(np.array([1.0, 2.0]))
    x = T([1.0, 2.0])
    with pytest.warns(TinygraphWarning, match="item"):
        float(x[0])


@siblings(
    "test_argnums_that_repeat",
    (tg.grad, (0, 0)),
    (tg.grad, (0, -2)),
    (tg.value_and_grad, (1, 1)),
    (tg.jacobian, (1, -1)),
    (tg.hessian, (0, 1, 0)),
)
def test_repeated_argnums_are_refused(program: Any) -> None:
    transform, argnums = program
    with pytest.raises(SettingError, match="twice"):
        transform(lambda a, b: a * b, argnums=argnums)(2.0, 3.0)
    close(tg.grad(lambda a, b: a * b, argnums=(0, 1))(2.0, 3.0), [3, 2])


# -- threads, checkpoint, state ----------------------------------------------------------------------------------------


def in_threads(work: Callable[[int], None], count: int = 4) -> None:
    threads = [threading.Thread(target=work, args=(k,)) for k in range(count)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()


def arrays_of_gradients() -> Any:
    p = T(np.zeros(5))
    in_threads(lambda k: [(p * float(i)).sum().backward() for i in range(k, 200, 4)])  # type: ignore[func-returns-value]
    return p.grad, [19_900] * 5


def compiled_calls() -> Any:
    p = T(1.0)
    c = tg.compile(lambda i: p * i)
    in_threads(lambda k: [c(float(i)).backward() for i in range(k, 200, 4)])  # type: ignore[func-returns-value]
    return p.grad, 19_900


def compiled_steps() -> Any:
    p = T(1.0)
    c = tg.compile(lambda i: (p * i).backward())
    in_threads(lambda k: [c(float(i)) for i in range(k, 200, 4)])  # type: ignore[func-returns-value]
    return p.grad, 19_900


def two_parameters() -> Any:
    p, q = T(1.0), T(1.0)
    in_threads(lambda k: [(p * float(i) + q * p).backward() for i in range(k, 100, 4)])  # type: ignore[func-returns-value]
    return [p.grad.item(), q.grad.item()], [4950 + 100, 100]


@siblings(
    "test_gradients_from_four_threads", arrays_of_gradients, compiled_calls, compiled_steps, two_parameters
)
def test_gradients_of_threads_add_up(program: Any) -> None:
    found, expected = program()
    close(found, expected)


class Counter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", np.array(0.0))

    def forward(self, x: Any) -> Any:
        self.count += 1
        return x * x * self.count


def nested_checkpoints(x: Any) -> Any:
    counter = Counter()
    inner = tg.checkpoint(counter)
    tg.checkpoint(lambda v: inner(v) * 1)(x).sum().backward()
    return counter.count, 1


def two_in_a_row(x: Any) -> Any:
    counter = Counter()
    call = tg.checkpoint(counter)
    (call(x) + call(x)).sum().backward()  # x * x * (1 + 2)
    close(x.grad, [6, 18])
    return counter.count, 2


def a_compiled_one(x: Any) -> Any:
    counter = Counter()
    tg.compile(lambda v: tg.checkpoint(counter)(v))(x).sum().backward()
    return counter.count, 1


def running_statistics(x: Any) -> Any:
    norm = nn.BatchNorm1d(1, dtype="float64")
    tg.checkpoint(norm)(x.reshape(2, 1)).sum().backward()
    return norm.running_mean, [0.2]  # 0.1 of the mean of 1 and 3


def draws(x: Any) -> Any:
    tg.manual_seed(0)
    layer = nn.Dropout(0.5)
    kept = tg.checkpoint(layer)(T(np.ones(64)))
    after = layer(np.ones(4)).numpy()
    kept.sum().backward()
    tg.manual_seed(0)
    layer(np.ones(64))
    return after, layer(np.ones(4)).numpy()


@siblings(
    "test_a_checkpoint_counts_a_batch_once",
    nested_checkpoints, two_in_a_row, a_compiled_one, running_statistics, draws,
)  # fmt: skip
def test_checkpoints_write_their_state_once(program: Any) -> None:
    found, expected = program(T([1.0, 3.0]))
    close(np.asarray(found.detach() if isinstance(found, tg.Tensor) else found), expected)


@siblings(
    "test_schedules_chain",
    (
        [(schedules.ExponentialLR, {"gamma": 0.9}), (schedules.StepLR, {"step_size": 2, "gamma": 0.1})],
        2,
        0.0081,
    ),
    (
        [(schedules.ExponentialLR, {"gamma": 0.5}), (schedules.ExponentialLR, {"gamma": 0.5})],
        3,
        0.1 / 64,
    ),
    ([(schedules.MultiStepLR, {"milestones": [1, 3], "gamma": 0.1})], 3, 0.001),
    (
        [
            (schedules.StepLR, {"step_size": 1, "gamma": 0.5}),
            (schedules.MultiStepLR, {"milestones": [2]}),
        ],
        2,
        0.0025,
    ),
)
def test_several_schedules_act_on_one_rate(program: Any) -> None:
    made, steps, rate = program
    optimizer = optim.SGD([T([1.0])], lr=0.1)
    several = [kind(optimizer, **settings) for kind, settings in made]
    for _ in range(steps):
        optimizer.step()
        for one in several:
            one.step()
    close(optimizer.param_groups[0]["lr"], rate)


@sibling("test_schedules_chain")
def test_a_rate_set_by_hand_is_where_a_schedule_goes_on_from() -> None:
    optimizer = optim.SGD([T([1.0])], lr=0.1)
    schedule = schedules.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    schedule.step()
    optimizer.param_groups[0]["lr"] = 1.0
    optimizer.step()
    schedule.step()
    close(optimizer.param_groups[0]["lr"], 0.5)


# -- numbers -----------------------------------------------------------------------------------------------------------


half = np.array([[300, -300, 100, 5]], "float16")


@siblings(
    "test_half_precision_normalises_in_float32",
    (lambda x: F.group_norm(x, 1), [[1.265, -1.508, 0.341, -0.098]]),
    (lambda x: F.rms_norm(x, (4,)), [[1.3764, -1.3764, 0.4588, 0.0229]]),
    (lambda x: np.var(x), 46767.2),
    (lambda x: np.std(x), 216.26),
    (lambda x: np.mean(x * 0 + 300), 300),
    (lambda x: F.layer_norm(x.reshape(4), (4,)), [1.265, -1.508, 0.341, -0.098]),
)  # fmt: skip
def test_half_precision_is_summed_in_single(program: Any) -> None:
    function, expected = program
    for run in (function, tg.compile(function)):
        found = run(tg.tensor(half))
        assert found.dtype == np.float16
        np.testing.assert_allclose(np.asarray(found, float), np.array(expected, "float16"), rtol=3e-3)


def is_right_or_nan(found: Any, right: Any) -> bool:
    found, right = np.asarray(found), np.broadcast_to(right, np.shape(found))
    return bool(np.all(np.isnan(found) | np.isclose(found, right)))


@siblings(
    "test_second_derivatives_are_right_or_nan",
    (lambda x: np.linalg.norm(x) ** 2, np.zeros(3), 2 * np.eye(3)),
    (lambda x: np.hypot(x[0], x[1]) ** 2, np.zeros(2), 2 * np.eye(2)),
    (lambda x: np.sqrt((x * x).sum()) ** 2, np.zeros(2), 2 * np.eye(2)),
    (lambda x: np.sqrt(x[0]) ** 4, np.zeros(1), [[2]]),
    (lambda x: np.power(x[0] ** 2, 0.5) ** 2, np.zeros(1), [[2]]),
    (lambda x: np.linalg.norm(x - 1) ** 2, np.ones(2), 2 * np.eye(2)),
    (lambda x: (abs(x) ** 2).sum(), np.array([0.0, 1.0]), 2 * np.eye(2)),
    (lambda x: (abs(x) * abs(x)).sum(), np.zeros(2), 2 * np.eye(2)),
    (lambda x: np.linalg.norm(x, 1) ** 2, np.array([0.0]), [[2]]),
    (lambda x: np.abs(x[0] + 1j * x[1]) ** 2, np.zeros(2), 2 * np.eye(2)),
    (lambda x: np.max(x) ** 2 + np.min(x) ** 2, np.ones(2), 2 * np.eye(2)),
    (lambda x: np.maximum(x[0], x[1]) ** 2 + np.minimum(x[0], x[1]) ** 2, np.ones(2), 2 * np.eye(2)),
    (lambda x: (np.maximum(x, 0) ** 2 + np.minimum(x, 0) ** 2).sum(), np.zeros(2), 2 * np.eye(2)),
    (lambda x: (np.sort(x) ** 2).sum(), np.ones(2), 2 * np.eye(2)),
    (lambda x: (np.sort(x)[::-1] ** 3).sum(), np.ones(3), 6 * np.eye(3)),
)  # fmt: skip
def test_nothing_is_invented_where_a_derivative_is_a_convention(program: Any) -> None:
    function, point, right = program
    with np.errstate(all="ignore"):
        assert is_right_or_nan(tg.hessian(function)(point), right)
        assert is_right_or_nan(tg.jacrev(tg.grad(function))(point), right)
        assert is_right_or_nan(tg.compile(tg.hessian(function))(point), right)


def test_kinks_that_nothing_crosses_spoil_no_second_derivative() -> None:
    """A kink at which nothing moves says nothing; nor does one whose piece the first derivative is of."""
    hidden = tg.ops.relu
    w = np.array([[1.0, -1.0], [2.0, 0.5]])

    def network(x: Any) -> Any:
        once = hidden(w @ hidden(x))
        return (hidden(once) ** 2).sum() + (np.maximum(once, 0) ** 2).sum() + (abs(once) ** 2).sum()

    # x[1] < 0 stays in its piece: once = (x0, 2 x0), and the sum is 3 (x0² + 4 x0²)
    assert np.asarray(tg.hessian(network)(np.array([3.0, -1.0]))).tolist() == [[30, 0], [0, 0]]
    # all pieces are at 0 here, and nothing moves behind the first relu
    assert np.asarray(tg.hessian(network)(np.array([-3.0, -1.0]))).tolist() == [[0, 0], [0, 0]]
    # windows of zeros, as ReLU leaves them, and masks over padding
    pooled = lambda x: (tg.ops.max_pool(hidden(x).reshape(1, 1, 4), size=2) ** 2).sum()  # noqa: E731
    assert np.diag(np.asarray(tg.hessian(pooled)(np.array([-1.0, -2, 3, 1])))).tolist() == [0, 0, 2, 0]
    # what is used once: Huber's loss at 0, absolute values, a maximum
    huber = lambda x: np.where(abs(x) < 0.5, x * x, abs(x) - 0.25).sum()  # noqa: E731
    assert np.diag(np.asarray(tg.hessian(huber)(np.array([0.0, 2.0])))).tolist() == [2, 0]
    mask = np.array([0.0, 1.0])
    once = lambda x, mask: (abs(x) * mask).sum() + np.max(x) + (x * x).sum()  # noqa: E731
    for run in (tg.hessian(once), tg.compile(tg.hessian(once))):
        assert np.asarray(run(np.zeros(2), mask)).tolist() == [[2, 0], [0, 2]]
    assert tg.grad(lambda x: abs(x).sum() + np.max(x))(np.zeros(2)).tolist() == [0.5, 0.5]


@siblings(
    "test_einsum_labels_of_size_one",
    ("ij,ij->ij", [[2], [3]], np.ones((2, 3)), [[3], [3]], [[2, 2, 2], [3, 3, 3]]),
    ("ij,jk->ik", [[2], [3]], np.ones((3, 2)), [[6], [6]], [[5, 5], [5, 5], [5, 5]]),
    ("i,i->", [2], np.ones(4), [4], [2, 2, 2, 2]),
    ("ij,ij->j", [[2, 3]], np.ones((3, 2)), [[3, 3]], [[2, 3], [2, 3], [2, 3]]),
    ("bij,bij->b", [[[2], [3]]], np.ones((2, 2, 3)), [[[6], [6]]], [[[2, 2, 2], [3, 3, 3]]] * 2),
)
def test_einsum_broadcasts_labels_of_size_one(program: Any) -> None:
    labels, first, second, wrt_first, wrt_second = program
    for run in (np.einsum, tg.compile(lambda s, a, b: np.einsum(s, a, b))):
        x, y = T(first), T(second)
        run(labels, x, y).sum().backward()
        close(x.grad, wrt_first)
        close(y.grad, wrt_second)


@siblings(
    "test_a_list_given_as_one_operand",
    lambda: tg.ops.stack([np.ones(3), np.ones(3)], axis=0),
    lambda: tg.ops.concatenate((np.ones(3), np.ones(3)), axis=0),
    lambda: tg.ops.concatenate([T(np.ones(3)), T(np.ones(3))], axis=0),
    lambda: tg.ops.stack([T(np.ones(3))], axis=0),
)
def test_operands_in_a_list_are_refused(program: Any) -> None:
    with pytest.raises(TinygraphError, match=r"star|\*"):
        program()
    close(tg.ops.concatenate(np.ones(3), np.ones(3), axis=0), np.ones(6))


# -- files, explanations, pictures -------------------------------------------------------------------------------------


@siblings(
    "test_a_graph_with_a_constant_output_is_read_back",
    (
        lambda x: {"loss": x * 2, "text": "a", "parts": (x, None)},
        {"loss": [2, 2], "text": "a", "parts": ([1, 1], None)},
    ),
    (lambda x: [x * 2, True, 2.5, 1j, np.zeros(2)], [[2, 2], True, 2.5, 1j, [0, 0]]),
    (lambda x: {(1, "a"): x + 1, 2: 3}, {(1, "a"): [2, 2], 2: 3}),
    (lambda x: (x, x, -0.0, float("inf"), 2**80), ([1, 1], [1, 1], -0.0, float("inf"), 2**80)),
)
def test_whatever_a_function_returns_is_read_back(program: Any, tmp_path: Path) -> None:
    function, expected = program
    for name in ("g.json", "g.safetensors"):
        tg.capture(function, np.ones(2)).save(str(tmp_path / name))
        found = tg.load(str(tmp_path / name))(np.ones(2))
        assert repr(plain(found)) == repr(plain(expected))


def plain(value: Any) -> Any:
    """Containers with arrays as lists of numbers."""
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list) and not all(isinstance(one, int | float) for one in value):
        return type(value)(plain(one) for one in value)
    return np.asarray(value, float).tolist() if isinstance(value, np.ndarray | list) else value


@siblings(
    "test_a_huge_fraction_in_a_file",
    "1e-40000000",
    "1/1e9999999",
    "9" * 100_000,
    "1e5000000/3",
    "1e400000000",
)
def test_absurd_numbers_in_a_file_are_refused_fast(program: Any, tmp_path: Path) -> None:
    path = tmp_path / "g.json"
    constant = np.array(Fraction(1, 3))
    tg.capture(lambda x: x * constant, np.ones(2)).save(str(path))
    text = path.read_text()
    path.write_text(text.replace('"1/3"', json.dumps(program)))
    start = time.process_time()
    with pytest.raises(FileFormatError):
        tg.load(str(path))
    assert time.process_time() - start < 1


@siblings(
    "test_explain_shows_nan_where_the_gradient_is",
    (lambda w: np.sqrt((w**2).sum()), [0, 0, 0]),
    (lambda w: (w * np.sqrt(w)).sum() * np.inf * 0, [0, 0, 0]),
    (lambda w: (np.log(w) * 0).sum(), [0, 0, 0]),
    (lambda w: (w / w).sum(), [0, 1, 2]),
)
def test_explanations_are_nan_where_gradients_are(program: Any) -> None:
    function, point = program
    with np.errstate(all="ignore"):
        w = T(point)
        loss = function(w)
        loss.backward()
        assert np.isnan(w.grad.numpy()[0])
        assert np.isnan(tg.explain(loss, wrt=w, element=(0,)).total)


def a_transpose_of_a_weight() -> Any:
    w = T([[1, 2], [3, 4]])
    return (np.array([[1.0, 5.0]]) @ w.T).sum(), w, (0, 1), 5, 5


def a_reshaped_weight() -> Any:
    w = T([1, 2, 3, 4])
    return (np.array([[1.0, 5.0]]) @ w.reshape(2, 2)).sum(), w, (2,), 5, 5


def a_broadcast_bias() -> Any:
    b = T([1, 2])
    return (np.array([[1.0], [7.0]]) * b).sum(), b, (0,), 8, None


def a_row_of_a_table() -> Any:
    w = T([[1, 2], [3, 4]])
    return (w[1] * np.array([5.0, 6.0])).sum(), w, (1, 0), 5, 5


@siblings(
    "test_explain_sees_through_the_transpose_of_a_weight",
    a_transpose_of_a_weight, a_reshaped_weight, a_broadcast_bias, a_row_of_a_table,
)  # fmt: skip
def test_explanations_follow_elements_through_moves(program: Any) -> None:
    loss, w, element, total, local = program()
    found = tg.explain(loss, wrt=w, element=element)
    close(found.total, total)
    if local is not None:
        close(found[0].local, local)


def a_convolution() -> Any:
    layer = nn.Conv2d(8, 16, 3)
    return (layer(np.ones((2, 8, 6, 6), "float32")) ** 2).mean(), ("4608", "4,608", "4.6 kB", "4.5 kB")


def an_embedding() -> Any:
    layer = nn.Embedding(300, 40)
    return (layer(np.array([1, 2])) ** 2).mean(), ("48000", "48,000", "48 kB", "47 kB", "46.9 kB")


def two_layers() -> Any:
    layer = nn.Sequential(nn.Linear(500, 100), nn.ReLU(), nn.Linear(100, 3))
    return (layer(np.ones((4, 500), "float32")) ** 2).mean(), ("200", "1,200", "1.2 kB")


@siblings("test_the_weight_is_not_kept_for_the_backward_pass", a_convolution, an_embedding, two_layers)
def test_weights_are_not_counted_as_kept(program: Any) -> None:
    loss, weights = program()
    source = tg.draw(loss, show=("saved",)).source
    assert not any(f"{one} " in source or f"{one}<" in source for one in weights if "kB" in one), source


# -- the audit ---------------------------------------------------------------------------------------------------------


def test_every_line_has_three_siblings() -> None:
    lines = [name for name in vars(test_cases) if name.startswith("test_")]
    assert len(lines) == 29
    assert {name: COUNTS[name] for name in lines if COUNTS[name] < 3} == {}
    assert set(COUNTS) <= set(lines)
