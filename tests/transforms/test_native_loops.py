"""Loops and choices inside of loops are native calls as a whole, with the numbers of the same loops in Python."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import kernels

XS = np.linspace(-1.0, 1.0, 12).reshape(4, 3)


def scan_in_scan(x: Any) -> Any:
    def outer(total: Any, row: Any) -> Any:
        def inner(held: Any, one: Any) -> Any:
            held = np.tanh(held + one)
            return held, held * one

        held, made = tg.scan(inner, np.sum(total), row, reverse=True)
        return total + made * held, made

    return tg.scan(outer, np.zeros(3), x)


def while_in_scan(x: Any) -> Any:
    """Each row is halved until its sum of squares is small; how often differs."""

    def outer(total: Any, row: Any) -> Any:
        small = tg.while_loop(lambda v: np.sum(v * v) > 0.1, lambda v: v * 0.5, row, max_steps=20)
        return total + small, small

    return tg.scan(outer, np.zeros(3), x)


def choice_in_scan(x: Any) -> Any:
    def outer(total: Any, row: Any) -> Any:
        total = tg.cond(row[0] > 0.1, lambda t, r: t * r, lambda t, r: t - np.exp(r), total, row)
        return total, tg.cond(np.sum(row) > 0.0, lambda t: t[1], lambda t: t[2] * 2.0, total)

    return tg.scan(outer, np.ones(3), x)


def numbered(x: Any) -> Any:
    """Indices of 64 and 32 bits, too small and too large ones among them."""
    branches = [lambda v: v + 1.0, lambda v: v * 2.0, lambda v: -v]

    def outer(total: Any, pair: Any) -> Any:
        row, i, j = pair
        total = tg.switch(i, branches, total + row)
        return total, tg.switch(j, branches, row)

    return tg.scan(outer, np.ones(3), (x, np.array([-3, 0, 1, 7]), np.array([2, -1, 5, 1], np.int32)))


def loop_in_branch(x: Any) -> Any:
    def outer(total: Any, row: Any) -> Any:
        many = lambda t: tg.fori_loop(0, 5, lambda _, v: np.sin(v) + row, t)  # noqa: E731
        return tg.cond(row[0] > 0.0, many, lambda t: t + row, total), None

    return tg.scan(outer, np.ones(3), x)[0]


def while_in_while(x: Any) -> Any:
    def outer(state: Any) -> Any:
        v, n = state
        v = tg.while_loop(lambda u: np.max(u) < n, lambda u: u + 0.3, v, max_steps=50)
        return v, n + 1.0

    return tg.while_loop(lambda s: s[1] < 5.0, outer, (x, np.float64(0.5)), max_steps=9)


PROGRAMS: list[Callable[..., Any]] = [
    scan_in_scan, while_in_scan, choice_in_scan, numbered, loop_in_branch, while_in_while,
]  # fmt: skip


@pytest.fixture(params=["one kernel", "kernels"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Loops of small bodies as one kernel, and as loops over kernels, as larger ones are."""
    if kernels.available() and request.param == "kernels":
        from tinygraph.kernels import small_loops

        monkeypatch.setattr(small_loops, "bind", lambda *_: None)
    return str(request.param)


def flat(found: Any) -> list[Any]:
    return [np.asarray(one) for one in tg.tree.flatten(found)[0]]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("f", PROGRAMS)
def test_values_are_those_of_loops_in_python(f: Callable[..., Any], dtype: Any, way: str) -> None:
    """Twice, since pointers move on in a loop and must be back where they were for the next one."""
    x = XS.astype(dtype)
    compiled = tg.compile(f)
    for given in (x, -x, x):
        for mine, right in zip(flat(compiled(given)), flat(f(given)), strict=True):
            np.testing.assert_allclose(mine, right, rtol=1e-12 if dtype == np.float64 else 2e-5, atol=1e-6)


@pytest.mark.parametrize("f", PROGRAMS)
def test_gradients_are_those_of_loops_in_python(f: Callable[..., Any], way: str) -> None:
    def loss(x: Any) -> Any:
        total: Any = 0.0
        for one in tg.tree.flatten(f(x))[0]:
            total = total + np.sum(one * one)
        return total

    eager, compiled = tg.grad(loss), tg.compile(tg.grad(loss))
    for x in (XS, -XS):
        np.testing.assert_allclose(compiled(x), eager(x), rtol=1e-9, atol=1e-12)


@pytest.mark.skipif(not kernels.available(), reason="llvmlite is not there")
@pytest.mark.parametrize("f", PROGRAMS)
def test_they_are_one_native_call(f: Callable[..., Any], way: str) -> None:
    from tinygraph_ops.control_flow import kernels as loops

    compiled = tg.compile(f)
    compiled(XS)
    if way == "one kernel":
        loops_made = [step for step in compiled.plan.steps if step.node.kind == "control"]
        kind = "_CountedLoop" if f is numbered else "Bound"  # numbers of 32 bits are for kernels of their own
        assert [type(one.kernel.run).__name__ for one in loops_made] == [kind]
        return
    found = [
        call
        for _, call in compiled.plan.calls
        if isinstance(call, loops._CountedLoop | loops._ConditionalLoop)
    ]
    assert len(found) == 1
    assert found[0]._loop is not None


def test_a_loop_without_a_bound_inside_of_one_can_be_interrupted() -> None:
    """It stays a loop of Python around native ones: nobody knows how long a step takes."""
    from tinygraph_ops.control_flow import kernels as loops

    def f(x: Any) -> Any:
        return tg.scan(
            lambda t, r: (t + tg.while_loop(lambda v: np.sum(v) > 0.1, lambda v: v * 0.5, r), None),
            np.zeros(3),
            x,
        )[0]

    compiled = tg.compile(f)
    np.testing.assert_allclose(compiled(XS), f(XS), rtol=1e-12)
    (loop,) = (call for _, call in compiled.plan.calls if isinstance(call, loops._CountedLoop))
    assert loop._loop is None


# -- small loops are one kernel ------------------------------------------------------------------------------------


def counted(n: Any, x: Any) -> Any:
    """A counter, compared and added to, beside numbers: 1,000 steps from 1 are 100 - 99 * 0.999 ** 1000."""
    return tg.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * 0.999 + 0.1), (0, x))


@pytest.mark.skipif(not kernels.available(), reason="llvmlite is not there")
@pytest.mark.parametrize("steps", [0, 1, 1_000, 2_500_000])
def test_a_loop_without_a_bound_runs_in_pieces(steps: int) -> None:
    compiled = tg.compile(lambda x: counted(steps, x))
    count, found = compiled(np.ones(3))
    (loop,) = [step.kernel.run for step in compiled.plan.steps if step.node.kind == "control"]
    assert type(loop).__name__ == "_InPieces"
    assert int(count) == steps
    np.testing.assert_allclose(found, np.full(3, 100.0 - 99.0 * 0.999**steps), rtol=1e-9)


def integers(x: Any) -> Any:
    """2, 3, 5, 9, 17, 33, 65, 129: until the counter is above 100."""

    def step(s: Any) -> Any:
        n, v, w = s
        return n * 2 - 1, v * n + (2 - n), np.where(n > 3, v, -v) + w[::-1]

    return tg.while_loop(lambda s: (s[0] != 7) & (s[0] < 100), step, (2, x, x * 0.0))


@pytest.mark.parametrize("f", [integers, lambda x: tg.grad(lambda v: np.sum(bounded(v)))(x)])
def test_small_loops_are_right(f: Callable[..., Any], way: str) -> None:
    x = np.array([1.0, -2.0, 0.5])
    for mine, right in zip(flat(tg.compile(f)(x)), flat(f(x)), strict=True):
        np.testing.assert_allclose(mine, right, rtol=1e-12)


def bounded(x: Any) -> Any:
    """Everything that a small body may do: folds, moves, products, a choice, a loop inside."""

    def step(s: Any) -> Any:
        v, n = s
        m = np.stack([v, v[::-1]])
        v = np.concatenate([v[1:], np.reshape(np.mean(m) + np.max(v), (1,))]) + m.T @ np.array([0.1, 0.2])
        v = tg.cond(v[0] > 0.0, lambda u: u * 0.5, lambda u: np.sin(u) + n, v)
        return tg.fori_loop(0, 3, lambda i, u: u + 0.01 * i * u * np.prod(u), v), n + 1.0

    return tg.while_loop(lambda s: s[1] < 5.0, step, (x, np.float64(0.0)), max_steps=9)[0]


def test_what_is_only_compared_has_no_backward_loop() -> None:
    """x decides when steps are taken, and moves none of them: the gradient by x is the direct one, 2 x."""

    def f(x: Any) -> Any:
        start = (np.ones(2), np.sum(x * x))
        y, _ = tg.while_loop(
            lambda s: s[1] > 0.5, lambda s: (s[0] * 0.5, s[1] - np.sum(x * x) / 8.0), start, max_steps=20
        )
        return np.sum(y) + np.sum(x * x)

    x = np.array([1.0, 2.0])
    graph = tg.capture(tg.grad(f), x)
    assert [node.phase for node in graph.nodes if getattr(node, "kind", "") == "control"] == []
    np.testing.assert_array_equal(tg.compile(tg.grad(f))(x), [2.0, 4.0])
    np.testing.assert_array_equal(tg.grad(f)(x), [2.0, 4.0])


_ENDLESS = """
import os, signal, threading
import numpy as np
import tinygraph as tg
from tinygraph.kernels import small_loops

pieces = []
run = small_loops._InPieces.__call__
small_loops._InPieces.__call__ = lambda self: (pieces.append(1), run(self))[1]

@tg.compile
def loop(n, x):
    return tg.while_loop(lambda c: c[0] < n, lambda c: (c[0] + 1, c[1] * 0.5 + 1.0), (0, x))

print(*loop(np.int64(3), np.float64(0.0)))
for _ in range(2):
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        loop(np.int64(2**62), np.float64(0.0))
    except KeyboardInterrupt:
        print("stopped")
    print(*loop(np.int64(3), np.float64(0.0)))
print(*loop(np.int64(2**21 + 5), np.float64(0.0)), len(pieces) > 0)
"""


def test_a_loop_of_the_machine_without_end_is_interrupted() -> None:
    """And the function works again afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", _ENDLESS], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stdout.split("\n") == [
        "3 1.75", "stopped", "3 1.75", "stopped", "3 1.75", "2097157 2.0 True", "",
    ], done.stderr  # fmt: skip
