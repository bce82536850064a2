"""Ops in plain NumPy are looked through where that is exact, and stay one call where it is not."""

from __future__ import annotations

import decimal
import sys
import threading
import types
from contextvars import ContextVar
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import kernels
from tinygraph.compiler.compiled import COMPILE_PASSES
from tinygraph.compiler.passes.look_through import look_through
from tinygraph.plugin import op, ops

ROOT = Path(__file__).parents[3]
SCALE = 1.0
TABLE = {"scale": 2.0}
LOG = []
WORD = "ALE"
TANH_1 = 0.7615941559557649
BLIND = tuple(one for one in COMPILE_PASSES if one is not look_through)


@op(kind="elementwise", samples=[])
def clipped_softly(x, *, limit=1.0):
    """limit tanh(x / limit), and a little more."""
    return limit * np.tanh(x / limit) + np.where(x > 0, x, 0.1 * x)


@clipped_softly.vjp("x")
def clipped_softly_wrt_x(g, x, *, limit):
    return g * (1 - ops.tanh(x / limit) ** 2 + ops.where(x > 0, 1.0, 0.1))


@op(kind="elementwise", samples=[])
def scaled_by_a_variable(x):
    """SCALE sinh(x)"""
    return SCALE * np.sinh(x)


@op(kind="elementwise", samples=[])
def scaled_by_a_table(x):
    """TABLE["scale"] x"""
    return TABLE["scale"] * np.tanh(x)


@op(kind="elementwise", samples=[])
def decides(x):
    """x, or -x"""
    return np.tanh(x) if x.ravel()[0] > 0 else -np.tanh(x)


@op(kind="elementwise", samples=[])
def random(x):
    """Another number each time."""
    return np.tanh(x) + np.random.normal()


@op(kind="elementwise", samples=[])
def by_bits(x):
    """A forward that looks at arrays themselves: its floats' bits."""
    return np.tanh(x.view(np.int64) & -2).astype(float)


@op(kind="elementwise", samples=[])
def other_for_classes(x):
    """What it computes depends on what it is given."""
    return np.tanh(x) if type(x) is np.ndarray else np.sinh(x)


@op(kind="elementwise", samples=[])
def logged(x):
    """Counts its calls."""
    LOG.append(1)
    return np.tanh(x)


for _one in (random, logged):
    _one.types(lambda x: x)

X = np.linspace(-3.0, 3.0, 12).reshape(3, 4)


def _ops(compiled):
    return [step.node.op.name for step in compiled.plan.steps]


def test_it_fuses_with_what_is_around_it():
    def f(x):
        return (clipped_softly(x * 2.0, limit=0.5) + 1.0).sum()

    compiled, blind = tg.compile(f), tg.compile(f, passes=BLIND)
    for x in (X, X.astype(np.float32)):
        np.testing.assert_allclose(compiled(x), f(x), rtol=1e-6)
        np.testing.assert_allclose(blind(x), f(x), rtol=1e-6)
        assert "clipped_softly" in _ops(blind)
        assert "clipped_softly" not in _ops(compiled)
        assert len(compiled.plan.steps) == (1 if kernels.available() else len(compiled.plan.steps))
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e300])
    each = tg.compile(lambda x: clipped_softly(x))
    np.testing.assert_array_equal(each(special), clipped_softly.forward(special))
    np.testing.assert_array_equal(np.signbit(each(special)), np.signbit(clipped_softly.forward(special)))


def test_gradients_are_its_own_rules():
    x = tg.tensor(X, requires_grad=True)
    wanted = tg.grad(lambda x: clipped_softly(x, limit=2.0).sum())(X)
    found = tg.compile(tg.grad(lambda x: clipped_softly(x, limit=2.0).sum()))(X)
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    tg.compile(lambda x: clipped_softly(x, limit=2.0).sum())(x).backward()
    np.testing.assert_allclose(x.grad.numpy(), wanted, rtol=1e-12)


@pytest.mark.parametrize("stays", [decides, by_bits, other_for_classes], ids=lambda one: one.name)
def test_what_is_not_exact_stays_one_call(stays):
    compiled = tg.compile(lambda x: stays(x) * 1.5)
    np.testing.assert_allclose(compiled(X), stays.forward(X) * 1.5, rtol=1e-14)
    np.testing.assert_allclose(compiled(-X), stays.forward(-X) * 1.5, rtol=1e-14)
    assert stays.name in _ops(compiled)


def test_what_does_more_than_compute_stays_one_call():
    compiled = tg.compile(lambda x: random(x) * 1.5)
    assert not np.array_equal(compiled(X), compiled(X))
    assert "random" in _ops(compiled)
    compiled = tg.compile(lambda x: logged(x) * 1.5)
    compiled(X)
    before = len(LOG)
    compiled(X)
    assert len(LOG) == before + 1


def test_what_the_forward_reads_is_watched(monkeypatch):
    compiled, table = (
        tg.compile(lambda x: scaled_by_a_variable(x)),
        tg.compile(lambda x: scaled_by_a_table(x)),
    )
    for scale in (1.0, 3.0, -2.0):
        monkeypatch.setitem(globals(), "SCALE", scale)
        monkeypatch.setitem(TABLE, "scale", scale)
        for _ in range(2):
            np.testing.assert_array_equal(compiled(X), scale * np.sinh(X))
            np.testing.assert_allclose(table(X), scale * np.tanh(X), rtol=1e-14)
    assert "SCALE" in compiled.explain_recapture()


def test_ops_of_the_gallery(monkeypatch):
    for name in ("rotary", "ode"):
        monkeypatch.syspath_prepend(str(ROOT / "examples" / "plugins" / f"tinygraph-{name}"))
    from tinygraph_ode import quadratic_ode
    from tinygraph_rotary import rotary

    x = np.random.default_rng(0).normal(size=(2, 5, 8))
    for name, function in (
        ("rotary", lambda x: rotary(x) * 2.0),
        ("rotary", lambda x: rotary(x, interleaved=True, inverse=True) * 2.0),
        ("quadratic_ode", lambda x: quadratic_ode(x, -np.eye(8), step=0.1, steps=3) * 2.0),
        ("quadratic_ode", lambda x: quadratic_ode(x[0], x[0, :1] * np.eye(8), step=0.1, steps=3) * 2.0),
    ):
        compiled = tg.compile(function)
        np.testing.assert_allclose(compiled(x), function(x), rtol=1e-12, atol=1e-14)
        assert name not in _ops(compiled)


class Box(threading.local):
    """Another number in each thread; `scale` of its class is what it holds where it was not set."""

    scale = 2.0


def _readers():
    """Forwards that read a number from elsewhere, each with what sets that number."""
    local, box, plain, slots = threading.local(), Box(), types.SimpleNamespace(), [2.0]
    array, variable, module = np.array([2.0]), ContextVar("scale"), types.ModuleType("a_module_of_scales")
    sys.modules[module.__name__] = module
    closed = 2.0

    def close(value):
        nonlocal closed
        closed = value

    def by_default(x, *, scale=2.0):
        return scale * np.tanh(x)

    def imported(x):
        return __import__("a_module_of_scales").scale * np.tanh(x)

    def by_class(x):
        return type(box).scale * np.tanh(x)

    def printed(x):
        return np.get_printoptions()["precision"] * np.tanh(x)

    def in_context(x):
        return decimal.getcontext().prec * np.tanh(x)

    return {
        "an attribute of a threading.local": (lambda x: local.scale * np.tanh(x), partial(setattr, local, "scale")),
        "one of a class derived from it": (lambda x: box.scale * np.tanh(x), partial(setattr, box, "scale")),
        "an attribute": (lambda x: plain.scale * np.tanh(x), partial(setattr, plain, "scale")),
        "an attribute by name": (lambda x: getattr(plain, "sca" + "le") * np.tanh(x), partial(setattr, plain, "scale")),
        "a global": (lambda x: SCALE * np.tanh(x), partial(globals().__setitem__, "SCALE")),
        "a global by name": (lambda x: globals()["SC" + WORD] * np.tanh(x), partial(globals().__setitem__, "SCALE")),
        "a closure": (lambda x: closed * np.tanh(x), close),
        "a default": (by_default, partial(by_default.__kwdefaults__.__setitem__, "scale")),
        "an item": (lambda x: slots[0] * np.tanh(x), partial(slots.__setitem__, 0)),
        "an array": (lambda x: array[0] * np.tanh(x), array.fill),
        "a context variable": (lambda x: variable.get() * np.tanh(x), variable.set),
        "a module": (imported, partial(setattr, module, "scale")),
        "a class": (by_class, partial(setattr, Box, "scale")),
        "a setting of NumPy's": (printed, lambda value: np.set_printoptions(precision=int(value))),
        "a setting of a library's": (in_context, lambda value: setattr(decimal.getcontext(), "prec", int(value))),
    }  # fmt: skip


def _pulled_by(scaled):
    return lambda g: scaled(g)


def test_whatever_a_forward_reads_may_change(monkeypatch):
    """In the program itself, in the body of a loop and of a choice, in a recorded call and in its backward pass."""
    monkeypatch.setitem(globals(), "SCALE", 1.0)
    before = np.get_printoptions()["precision"]
    try:
        with decimal.localcontext():
            for words, (forward, put) in _readers().items():
                put(2.0)
                scaled = op(name="scaled", kind="elementwise", samples=[], declare=False)(forward)
                scaled.types(lambda x, **_: x)
                scaled.vjp("x")(_pulled_by(scaled))
                runs = {
                    "plain": tg.compile(lambda x, f=scaled: f(x) * 1.5),
                    "scan": tg.compile(
                        lambda x, f=scaled: tg.scan(lambda c, _: (f(c) * 1.5, None), x, None, length=1)[0]
                    ),
                    "cond": tg.compile(
                        lambda x, f=scaled: tg.cond(np.sum(x) > 0, lambda y: f(y) * 1.5, lambda y: y, x)
                    ),
                }
                recorded = tg.compile(lambda x, f=scaled: f(x * 1.5))
                for i, value in enumerate((2.0, 2.0, 7.0, 3.0)):
                    put(value)
                    for how, run in runs.items():
                        found = np.asarray(run(np.ones(2)))
                        message = f"{words}, {how}"
                        np.testing.assert_allclose(found, value * 1.5 * TANH_1, 1e-12, err_msg=message)
                    x = tg.tensor(np.ones(2), requires_grad=True)
                    out = recorded(x)
                    np.testing.assert_allclose(out.numpy(), value * np.tanh(1.5), 1e-12, err_msg=words)
                    put(later := value + 1.0 + i)  # what the backward rule reads is read when it runs
                    out.backward(np.ones(2))
                    np.testing.assert_allclose(
                        x.grad.numpy(), later * 1.5 * TANH_1, 1e-12, err_msg=f"{words}, backward"
                    )
    finally:
        np.set_printoptions(precision=before)
