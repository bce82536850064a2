"""Loops and choices: every op against its unrolled loop, eagerly, captured, compiled, saved and loaded."""

import _thread
import itertools
import threading
import time
from collections import namedtuple

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import CaptureError, DTypeError, RuleError, SettingError, ShapeError

rng = np.random.default_rng(5)
W, U = rng.normal(size=(3, 3)) * 0.5, rng.normal(size=3)
State = namedtuple("State", "h total")


def recurrent(w, x, xs):  # a carry that is read, a result, a closure
    def body(h, x):
        h = np.tanh(h @ w + x)
        return h, h * np.sin(x)

    h, ys = tg.scan(body, x, xs)
    return np.sum(h * h) + np.sum(ys)


def recurrent_unrolled(w, x, xs):
    h, total = x, 0.0
    for i in range(xs.shape[0]):
        h = np.tanh(h @ w + xs[i])
        total = total + np.sum(h * np.sin(xs[i]))
    return np.sum(h * h) + total


def backwards(w, x, xs):  # from the last slice, a container as carry, a number in it, two xs
    def body(state, x):
        h = state.h * np.cos(x["a"]) + x["b"] @ w
        return State(h, state.total + np.sum(h)), {"h": h, "twice": (h + h, 1.0)}

    state, ys = tg.scan(body, State(x, 0.0), {"a": xs, "b": xs * 2.0}, reverse=True)
    return state.total + np.sum(ys["h"] * xs) + np.sum(ys["twice"][0]) + np.sum(state.h)


def backwards_unrolled(w, x, xs):
    h, total, rest = x, 0.0, 0.0
    for i in reversed(range(xs.shape[0])):
        h = h * np.cos(xs[i]) + (xs[i] * 2.0) @ w
        total = total + np.sum(h)
        rest = rest + np.sum(h * xs[i]) + np.sum(h + h)
    return total + rest + np.sum(h)


def counted(w, x, xs):  # an integer carry beside, an index that is known when it runs
    def body(i, value):
        return np.sin(value @ w) + xs[i] if xs.shape[0] else value

    return np.sum(tg.fori_loop(0, xs.shape[0], body, x) ** 2)


def counted_unrolled(w, x, xs):
    for i in range(xs.shape[0]):
        x = np.sin(x @ w) + xs[i]
    return np.sum(x**2)


def mapped(w, x, xs):
    return np.sum(tg.map(lambda one: np.exp(one @ w) * x, xs))


def mapped_unrolled(w, x, xs):
    total = np.sum(x) * 0.0
    for i in range(xs.shape[0]):
        total = total + np.sum(np.exp(xs[i] @ w) * x)
    return total


def swapping(w, x, xs):  # carries that change places, one that stays, and one that starts as a number
    def body(carry, one):
        a, b, fixed, n = carry
        return (b * fixed, a + one, fixed, n + 1), None

    (a, b, fixed, n), nothing = tg.scan(body, (x, x * 2.0, w[0], 0), xs)
    assert nothing is None
    return np.sum(a * b) + np.sum(fixed) + n


def swapping_unrolled(w, x, xs):
    a, b = x, x * 2.0
    for i in range(xs.shape[0]):
        a, b = b * w[0], a + xs[i]
    return np.sum(a * b) + np.sum(w[0]) + xs.shape[0]


def nested(w, x, xs):
    def outer(h, one):
        def inner(k, v):
            return tg.cond(np.sum(v) > 0, lambda v: np.sin(v) * one, lambda v: v @ w + one, v)

        h = tg.fori_loop(0, 2, inner, h)
        return h, tg.switch(np.argmax(h), [np.sum, np.prod, lambda v: v[0]], h)

    h, ys = tg.scan(outer, x, xs)
    return np.sum(h) + np.sum(ys)


def nested_unrolled(w, x, xs):
    total = 0.0
    for i in range(xs.shape[0]):
        for _ in range(2):
            x = np.sin(x) * xs[i] if float(np.sum(plain(x))) > 0 else x @ w + xs[i]
        total = total + [np.sum, np.prod, lambda v: v[0]][int(np.argmax(plain(x)))](x)
    return np.sum(x) + total


def bounded(w, x, xs):  # ends before the bound
    def holds(state):
        return (state[0] < xs.shape[0]) & (np.sum(np.abs(state[1])) < 1e6)

    def body(state):
        i, h = state
        return i + 1, np.sin(h @ w) + x

    return np.sum(tg.while_loop(holds, body, (0, x), max_steps=9)[1] ** 2) + np.sum(xs)


def bounded_unrolled(w, x, xs):
    h = x
    for _ in range(xs.shape[0]):
        h = np.sin(h @ w) + x
    return np.sum(h**2) + np.sum(xs)


def plain(x):
    while isinstance(x, tg.Tensor) and x._value is None:
        raise AssertionError("asked in a capture")
    return x.detach().numpy() if isinstance(x, tg.Tensor) else x


BRANCHES = [lambda x: x * 0.0, lambda x: x - 1.0, lambda x: x * x]
PAIRS = [
    (recurrent, recurrent_unrolled),
    (backwards, backwards_unrolled),
    (counted, counted_unrolled),
    (mapped, mapped_unrolled),
    (swapping, swapping_unrolled),
    (nested, nested_unrolled),
    (bounded, bounded_unrolled),
]


@pytest.mark.parametrize(("loop", "unrolled"), PAIRS, ids=lambda one: one.__name__)
def test_a_loop_is_its_unrolled_one(loop, unrolled, tmp_path) -> None:
    for steps, dtype in itertools.product((0, 1, 5), (np.float64, np.float32)):
        if steps == 5 or dtype == np.float64:
            _compare(loop, unrolled, steps, dtype, tmp_path)


def _compare(loop, unrolled, steps, dtype, folder) -> None:
    xs = rng.normal(size=(steps, 3)).astype(dtype)
    args = W.astype(dtype), U.astype(dtype), xs
    close = {"rtol": 2e-3, "atol": 2e-4} if dtype == np.float32 else {"rtol": 1e-9, "atol": 1e-11}
    where = f"{steps} steps of {np.dtype(dtype).name}"

    def same(found, wanted, what) -> None:
        for one, other in zip(np.atleast_1d(plain(found)), np.atleast_1d(plain(wanted)), strict=True):
            np.testing.assert_allclose(one, other, err_msg=f"{what}, {where}", **close)

    def all_gradients(f):
        return lambda *args: tg.grad(f, (0, 1, 2))(*args)

    def second(f):
        return lambda *args: tg.grad(
            lambda *a: sum(np.sum(np.sin(g)) for g in tg.grad(f, (0, 1))(*a)), (0, 1, 2)
        )(*args)

    value, gradients, seconds = unrolled(*args), all_gradients(unrolled)(*args), second(unrolled)(*args)
    along = tuple(np.cos(one) for one in args)
    tangent = tg.jvp(unrolled, args, along)[1]
    same(loop(*args), value, "eager value")
    same(tg.compile(loop)(*args), value, "compiled value")
    for run, title in ((lambda f: f, "eager"), (tg.compile, "compiled")):
        for one, other in zip(run(all_gradients(loop))(*args), gradients, strict=True):
            same(one, other, f"{title} gradient")
        if title == "eager" and dtype == np.float32:
            continue
        for one, other in zip(run(second(loop))(*args), seconds, strict=True):
            same(one, other, f"{title} second order")
    same(tg.jvp(loop, args, along)[1], tangent, "eager forward mode")
    same(tg.compile(lambda a, b: tg.jvp(loop, a, b))(args, along)[1], tangent, "compiled forward mode")
    graph = tg.capture(loop, *args)
    assert len(graph.nodes) < 60
    same(graph(*args), value, "captured value")
    whole = tg.capture(lambda *args: [loop(*args), *all_gradients(loop)(*args)], *args)
    for suffix in (".json", ".safetensors") if steps else (".json",):
        whole.save(folder / f"graph{suffix}")
        loaded = tg.load(folder / f"graph{suffix}")
        for one, other in zip(loaded(*args), (value, *gradients), strict=True):
            same(one, other, f"loaded from {suffix}")
    # a saved graph is differentiated like any
    graph.save(folder / "graph.json")
    differentiated = tg.load(folder / "graph.json").gradient(["w", "x"])
    for one, other in zip(differentiated(*args)[1:], gradients[:2], strict=True):
        same(one, other, "gradient of a loaded graph")


def test_results_are_literally_right() -> None:
    """Literal numbers, since an unrolled loop could be wrong alike."""
    xs = np.array([1.0, 2.0, 3.0])
    for run in (lambda f: f, tg.compile):
        carry, ys = run(lambda xs: tg.scan(lambda c, x: (c * x, c + x), 1.0, xs))(xs)
        assert (carry, ys.tolist()) == (6.0, [2.0, 3.0, 5.0])
        carry, ys = run(lambda xs: tg.scan(lambda c, x: (c * x, c + x), 1.0, xs, reverse=True))(xs)
        assert (carry, ys.tolist()) == (6.0, [7.0, 5.0, 4.0])
        assert run(lambda x: tg.fori_loop(2, 5, lambda k, v: v + k, x))(np.int64(1)) == 10
        assert run(lambda x: tg.while_loop(lambda v: v < 50.0, lambda v: 3.0 * v, x))(np.float64(1.0)) == 81.0
        halves = run(lambda x: tg.while_loop(lambda v: v > 0.1, lambda v: v / 2, x, max_steps=2))(
            np.float64(1.0)
        )
        assert halves == 0.25
        assert run(lambda p, x: tg.cond(p, np.sin, np.cos, x))(np.bool_(False), np.float64(0.0)) == 1.0
        for i, wanted in ((-1, 0.0), (0, 0.0), (1, 1.0), (7, 4.0)):
            assert run(lambda i, x: tg.switch(i, BRANCHES, x))(np.int64(i), np.float64(2.0)) == wanted
        slope = run(tg.grad(lambda x: tg.scan(lambda c, _: (c * x, None), 1.0, None, length=5)[0]))(2.0)
        assert slope == 80.0
        slope = run(tg.grad(lambda x: tg.while_loop(lambda v: v < 50.0, lambda v: v * v, x, max_steps=10)))(
            3.0
        )
        assert slope == 4 * 3.0**3
        powers = run(lambda n, x: tg.fori_loop(0, n, lambda _, v: v * n, x))  # a Python number, closed over
        assert powers(2, np.float32(2.0)) == 8.0
        assert powers(3, np.ones(2, np.float32)).tolist() == [27.0, 27.0]
        assert powers(3, np.ones(2, np.float32)).dtype == np.float32
        assert run(lambda n: tg.fori_loop(0, n, lambda k, v: v + k, 0))(np.int64(5)) == 10


def test_parameters_that_a_body_closes_over_get_gradients() -> None:
    w = tg.tensor(W, requires_grad=True, name="w")
    for run in (lambda f: f, tg.compile, tg.checkpoint, lambda f: tg.compile(tg.checkpoint(f))):
        w.grad = None
        total = run(lambda x, xs: recurrent(w, x, xs))(U, np.ones((4, 3)))
        total.backward()
        np.testing.assert_allclose(w.grad.numpy(), tg.grad(recurrent_unrolled)(W, U, np.ones((4, 3))))
    w.grad = None

    def step(x, xs):
        loss = recurrent(w, x, xs)
        loss.backward()
        return loss

    tg.compile(step)(U, np.ones((4, 3)))
    np.testing.assert_allclose(w.grad.numpy(), tg.grad(recurrent_unrolled)(W, U, np.ones((4, 3))))


def test_jacobian_and_hessian_of_a_loop() -> None:
    def f(x):
        return tg.scan(lambda c, x: (c * np.sin(x) + x, c), 1.0, x)[1]

    def unrolled(x):
        c, found = 1.0, []
        for i in range(4):
            found.append(c + 0.0 * x[i])
            c = c * np.sin(x[i]) + x[i]
        return np.stack(found)

    x = rng.normal(size=4)
    for run in (lambda g: g, tg.compile):
        np.testing.assert_allclose(run(tg.jacobian(f))(x), tg.jacobian(unrolled)(x), atol=1e-12)
        wanted = tg.hessian(lambda x: np.sum(unrolled(x) ** 2))(x)
        np.testing.assert_allclose(run(tg.hessian(lambda x: np.sum(f(x) ** 2)))(x), wanted, atol=1e-10)


def test_a_long_loop_is_checkpointed(monkeypatch) -> None:
    """The same gradients where carries are kept every sqrt(length) steps, and less memory; in both directions."""
    from tinygraph_ops.control_flow import ops as rules

    for steps, reverse in ((37, False), (37, True), (36, False)):
        xs = rng.normal(size=(steps, 3))

        def f(w, x, xs, reverse=reverse):
            h, ys = tg.scan(lambda h, x: (np.tanh(h @ w + x), h * x), x, xs, reverse=reverse)
            return np.sum(h * h) + np.sum(ys)

        wanted = tg.grad(f, (0, 1, 2))(W, U, xs)
        for most in (2**28, 0):
            monkeypatch.setattr(rules, "MOST_KEPT", most)
            found = tg.compile(tg.grad(f, (0, 1, 2)))
            for one, other in zip(found(W, U, xs), wanted, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-12)
            kept = [node.types for node in found.plan.graph.nodes if node.op and node.op.name == "scan"]
            longest = max(types.shape[0] for several in kept for types in several if len(types.shape) == 2)
            assert (longest == steps) or most == 0


def test_a_loop_of_many_steps_is_planned_once() -> None:
    def f(x):
        return tg.fori_loop(0, 100_000, lambda i, v: v + np.sin(v) * 1e-6, x)

    begin = time.process_time()
    found = tg.compile(f)(np.ones(2))
    assert len(tg.capture(f, np.ones(2)).nodes) < 5
    value = np.ones(2)
    for _ in range(100_000):
        value = value + np.sin(value) * 1e-6
    np.testing.assert_allclose(found, value, rtol=1e-9)
    assert time.process_time() - begin < 20


def shorter(c, x):
    return c[:2], None


def test_what_a_body_may_not_do_is_refused_with_both_types() -> None:
    x, xs = np.ones(3), np.ones((4, 3))
    state = tg.tensor(np.zeros(3))
    for run in (lambda f: f, tg.compile):
        with pytest.raises(ShapeError, match=r"into 'shorter' as float64\[3\] and comes out as float64\[2\]"):
            run(lambda x, xs: tg.scan(shorter, x, xs))(x, xs)
        with pytest.raises(
            DTypeError, match=r"carry h goes into .* float64\[3\] .* float32\[3\] \(test_control_flow.py:"
        ):
            run(lambda x, xs: tg.scan(lambda c, x: ({"h": c["h"].astype("float32")}, None), {"h": x}, xs))(
                x, xs
            )
        with pytest.raises(ShapeError, match="must keep its structure"):
            run(lambda x, xs: tg.scan(lambda c, x: ((c, c), None), x, xs))(x, xs)
        with pytest.raises(ShapeError, match="must return a pair"):
            run(lambda x, xs: tg.scan(lambda c, x: c, x, xs))(x, xs)
        with pytest.raises(ShapeError, match=r"sizes \[4, 5\]"):
            run(lambda x, xs: tg.scan(lambda c, x: (c, None), x, (xs, np.ones(5))))(x, xs)
        with pytest.raises(SettingError, match="length"):
            run(lambda x: tg.scan(lambda c, x: (c, None), x, None))(x)
        with pytest.raises(DTypeError, match="must return one boolean, not float64"):
            run(lambda x: tg.while_loop(lambda v: np.sum(v), lambda v: v, x))(x)
        with pytest.raises(DTypeError, match=r"must return one boolean, not bool\[3\]"):
            run(lambda x: tg.while_loop(lambda v: v > 0, lambda v: v, x))(x)
        with pytest.raises(ShapeError, match="must be one value"):
            run(lambda x: tg.cond(x > 0, np.sin, np.cos, x))(x)
        with pytest.raises(DTypeError, match="must be one integer"):
            run(lambda x: tg.switch(x[0], [np.sin], x))(x)
        with pytest.raises(SettingError, match="at least one branch"):
            run(lambda x: tg.switch(0, [], x))(x)
    with pytest.raises(
        ShapeError, match=r"'<lambda>' returns \* of \(float64\[3\]\), '<lambda>' returns .*\[2\]"
    ):
        tg.compile(lambda p, x: tg.cond(p, lambda x: x[:2], lambda x: x, x))(np.bool_(True), x)
    with pytest.raises(CaptureError, match="draws random numbers"):
        tg.compile(lambda x, xs: tg.scan(lambda c, x: (tg.ops.dropout(c, p=0.5), None), x, xs))(x, xs)

    def writes(c, x):
        state[...] = c
        return c, None

    with pytest.raises(CaptureError, match="writes"):
        tg.compile(lambda x, xs: tg.scan(writes, x, xs))(x, xs)
    leaked = []

    def leaks(x, xs):
        tg.scan(lambda c, x: (leaked.append(c * 2) or c, None), x, xs)
        return tg.cond(np.sum(x) > 0, lambda: leaked[0], lambda: x)

    with pytest.raises(CaptureError):
        tg.compile(leaks)(x, xs)
    with pytest.raises(RuleError, match="max_steps"):
        tg.compile(tg.grad(lambda x: tg.while_loop(lambda v: v < 5.0, lambda v: v * x, x)))(2.0)


@pytest.mark.parametrize("compiled", [False, True])
def test_an_endless_loop_is_interrupted(compiled) -> None:
    def f(x):
        return tg.while_loop(lambda v: v >= 0.0, lambda v: v + 1.0, x)

    run = tg.compile(f) if compiled else f
    short = tg.compile(lambda x: tg.while_loop(lambda v: v < 3.0, lambda v: v + 1.0, x))
    short(np.float64(0.0))
    timer = threading.Timer(1.5, _thread.interrupt_main)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        run(np.float64(0.0))
    timer.join()
    assert short(np.float64(0.0)) == 3.0


@pytest.mark.filterwarnings("error::tinygraph.errors.VmapLoopWarning")
def test_many_examples_at_once_are_each_alone() -> None:
    xs, starts = rng.normal(size=(4, 5, 3)), rng.normal(size=(4, 3))

    def turns(x):
        return tg.while_loop(lambda v: np.sum(np.abs(v)) < 20.0, lambda v: v * 1.5, x, max_steps=30)

    def chosen(x):
        return tg.switch(np.argmax(x), [np.sin, lambda v: v * v, lambda v: v[::-1]], x)

    for f, args, axes in (
        (recurrent, (W, starts, xs), (None, 0, 0)),
        (backwards, (W, U, xs), (None, None, 0)),
        (nested, (W, starts, xs), (None, 0, 0)),
        (turns, (starts,), 0),
        (chosen, (starts,), 0),
    ):
        each = [
            [one[i] if axes == 0 or axes[k] == 0 else one for k, one in enumerate(args)] for i in range(4)
        ]
        for g in (f, tg.grad(lambda *a, f=f: np.sum(f(*a) ** 2), len(args) - 1)):
            wanted = np.stack([g(*one) for one in each])
            for run in (tg.vmap(g, axes), tg.compile(tg.vmap(g, axes))):
                np.testing.assert_allclose(
                    plain(run(*args)), wanted, rtol=1e-9, atol=1e-12, err_msg=f.__name__
                )


def test_python_that_depends_on_values_names_the_ops_that_say_it() -> None:
    with pytest.raises(CaptureError, match=r"tg.cond for an if, tg.while_loop for a while"):
        tg.compile(lambda x: x if np.sum(x) > 0 else -x)(np.ones(3))


def test_what_is_kept_of_all_steps_is_counted_with_the_results_that_are_read(monkeypatch):
    """tanh keeps its operand and its result: 64 bytes a step, of 100 steps more than 4,000, which run in parts."""
    from tinygraph_ops.control_flow import ops as rules

    monkeypatch.setattr(rules, "MOST_KEPT", 4_000)

    def f(w):
        return np.sum(tg.scan(lambda c, _: (np.tanh(c * w + 0.1), None), np.zeros(4), None, length=100)[0])

    w = np.array([0.5, -0.5, 1.0, 2.0])
    graph = tg.capture(tg.grad(f), w)
    lengths = [
        node.settings["length"] for node in graph.nodes if node.op is not None and node.op.name == "scan"
    ]
    assert max(lengths[1:]) <= 10
    np.testing.assert_allclose(tg.compile(tg.grad(f))(w), tg.grad(f)(w), rtol=1e-10)
