"""Random bodies in every loop and choice, against the same written out: values, gradients to second order, both modes,
compiled, saved and loaded, vmapped, for 0, 1 and many steps, in both precisions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygraph as tg

Function = Callable[..., Any]
SIZE = 3
UNARY: tuple[Function, ...] = (
    np.sin,
    np.tanh,
    lambda x: 0.3 * x,
    lambda x: x * x * 0.2,
    lambda x: np.flip(x),
)
BINARY: tuple[Function, ...] = (
    np.add, np.multiply, np.subtract, lambda x, y: np.maximum(x, y) * 0.5, lambda x, y: x * np.sum(y) * 0.1,
    lambda x, y: np.where(x > y, x, 0.3 * y),
)  # fmt: skip

bodies = st.lists(
    st.tuples(st.integers(0, 10), st.integers(0, 10), st.integers(0, 10)), min_size=1, max_size=5
)
lengths = st.sampled_from([0, 1, 2, 5])
dtypes = st.sampled_from([np.float64, np.float32])


def made(program: Sequence[tuple[int, int, int]], values: Sequence[Any]) -> list[Any]:
    """All that a random program makes of some values, the last ones at the end."""
    found = list(values)
    for which, i, j in program:
        x, y = found[-1 - i % len(found)], found[-1 - j % len(found)]
        ops = (*UNARY, *BINARY)
        op = ops[which % len(ops)]
        found.append(op(x) if which % len(ops) < len(UNARY) else op(x, y))
    return found


def scanned(program: Any, length: int, reverse: bool) -> tuple[Function, Function]:
    def body(w: Any) -> Function:
        def step(carry: Any, x: Any) -> Any:
            found = made(program, [w, carry, x])
            return found[-1], found[-2]

        return step

    def loop(w: Any, first: Any, xs: Any) -> Any:
        last, ys = tg.scan(body(w), first, xs, reverse=reverse)
        return np.sum(last * last) + np.sum(ys * np.cos(ys))

    def written(w: Any, first: Any, xs: Any) -> Any:
        carry, total = first, 0.0
        for t in reversed(range(length)) if reverse else range(length):
            carry, y = body(w)(carry, xs[t])
            total = total + np.sum(y * np.cos(y))
        return np.sum(carry * carry) + total

    return loop, written


def counted(program: Any, length: int, bound: bool) -> tuple[Function, Function]:
    def body(w: Any, xs: Any) -> Function:
        def step(i: Any, carry: Any) -> Any:
            moved = carry + np.multiply(0.1, i).astype(carry.dtype)  # a carry keeps its dtype
            return made(program, [xs[0] if length else w, w, moved])[-1]

        return step

    def loop(w: Any, first: Any, xs: Any) -> Any:
        if not bound:
            return np.sum(tg.fori_loop(0, length, body(w, xs), first) ** 2)
        step = body(w, xs)
        _, last = tg.while_loop(
            lambda state: state[0] < length,
            lambda state: (state[0] + 1, step(state[0], state[1])),
            (0, first),
            max_steps=length + 2,
        )
        return np.sum(last**2)

    def written(w: Any, first: Any, xs: Any) -> Any:
        for i in range(length):
            first = body(w, xs)(i, first)
        return np.sum(first**2)

    return loop, written


def mapped(program: Any, length: int, reverse: bool) -> tuple[Function, Function]:
    def loop(w: Any, first: Any, xs: Any) -> Any:
        return np.sum(tg.map(lambda x: made(program, [first, w, x])[-1], xs) ** 2)

    def written(w: Any, first: Any, xs: Any) -> Any:
        total: Any = np.sum(w * 0)
        for t in range(length):
            total = total + np.sum(made(program, [first, w, xs[t]])[-1] ** 2)
        return total

    return loop, written


def chosen(program: Any, length: int, reverse: bool) -> tuple[Function, Function]:
    branches: list[Function] = [
        lambda w, x: made(program, [w, x])[-1],
        lambda w, x: made(program[::-1], [x, w])[-1],
        lambda w, x: w * 2.0,
    ]

    def loop(w: Any, first: Any, xs: Any) -> Any:
        one = tg.cond(np.sum(first) > 0, branches[0], branches[1], w, first)
        other = tg.switch(np.argmax(first), branches, w, first)
        return np.sum(one * other)

    def written(w: Any, first: Any, xs: Any) -> Any:
        values = np.asarray(first.numpy() if isinstance(first, tg.Tensor) else first)
        one = branches[0 if values.sum() > 0 else 1](w, first)
        return np.sum(one * branches[int(np.argmax(values))](w, first))

    return loop, written


KINDS = {"scan": scanned, "counted": counted, "map": mapped, "choice": chosen}


@pytest.mark.filterwarnings("ignore:.*does not depend:tinygraph.errors.TinygraphWarning")
@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    kind=st.sampled_from(sorted(KINDS)), program=bodies, length=lengths, flag=st.booleans(), dtype=dtypes,
    seed=st.integers(0, 99),
)  # fmt: skip
def test_a_loop_is_what_it_is_written_out(
    kind: str, program: Any, length: int, flag: bool, dtype: type, seed: int, tmp_path_factory: Any
) -> None:
    rng = np.random.default_rng(seed)
    w, first = (rng.uniform(-1, 1, SIZE).astype(dtype) for _ in range(2))
    xs = rng.uniform(-1, 1, (length, SIZE)).astype(dtype)
    loop, written = KINDS[kind](program, length, flag)
    close = {"rtol": 1e-9, "atol": 1e-9} if dtype is np.float64 else {"rtol": 2e-3, "atol": 2e-4}

    def agree(one: Any, other: Any, what: str) -> None:
        if isinstance(one, tg.Tensor):
            one = one.detach()
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), **close, err_msg=what)

    value = written(w, first, xs)
    agree(loop(w, first, xs), value, "eager")
    compiled = tg.compile(loop)
    agree(compiled(w, first, xs), value, "compiled")
    gradients = tg.grad(written, (0, 1, 2))(w, first, xs)
    for which, f in (("eager", loop), ("compiled", compiled)):
        for one, other in zip(tg.grad(f, (0, 1, 2))(w, first, xs), gradients, strict=True):
            agree(one, other, f"gradient, {which}")
    for one, other in zip(tg.compile(tg.grad(loop, (0, 1, 2)))(w, first, xs), gradients, strict=True):
        agree(one, other, "gradient, compiled itself")
    t = [rng.uniform(-1, 1, one.shape).astype(dtype) for one in (w, first, xs)]
    along = sum(float(np.sum(one * g)) for one, g in zip(t, gradients, strict=True))
    for which, f in (("eager", loop), ("compiled", compiled)):
        agree(tg.jvp(f, (w, first, xs), tuple(t))[1], along, f"forward mode, {which}")

    def slope(f: Function) -> Function:
        return lambda w: np.sum(tg.grad(f, 1)(w, first, xs) * t[1]) + np.sum(tg.grad(f)(w, first, xs) * t[0])

    second = tg.grad(slope(written))(w)
    agree(tg.grad(slope(loop))(w), second, "second order")
    agree(tg.compile(tg.grad(slope(loop)))(w), second, "second order, compiled")
    graph = tg.capture(loop, w, first, xs)
    path = tmp_path_factory.mktemp("loops") / "loop.graph.json"
    graph.save(path)
    loaded = tg.load(path)
    agree(loaded(w, first, xs), value, "loaded")
    ws = np.stack([w, first, w * 0.5])
    several = [written(one, first, xs) for one in ws]
    agree(tg.vmap(loop, in_axes=(0, None, None))(ws, first, xs), several, "vmapped")
    if kind != "choice":
        agree(tg.compile(tg.vmap(loop, in_axes=(None, 0, None)))(w, ws, xs),
              [written(w, one, xs) for one in ws], "vmapped, compiled")  # fmt: skip
