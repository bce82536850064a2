"""Whoever lets go of what tinygraph made gives its memory back at once: nothing in it leads back to itself.

Arrays in a cycle stay until Python's collector comes by, which counts objects and knows nothing of their bytes.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.errors import ShapeError

x = np.arange(6.0).reshape(2, 3)
weight = tg.tensor(np.ones((3, 2)), requires_grad=True)


def eager_backward() -> None:
    np.sum(np.tanh(tg.tensor(x) @ weight)).backward()


def twice() -> None:
    y = np.sum(np.tanh(tg.tensor(x) @ weight))
    y.backward(create_graph=True)
    assert weight.grad is not None
    np.sum(weight.grad * weight.grad).backward()


def recorded_compiled_call() -> None:
    tg.compile(lambda t: np.sum(np.tanh(t @ weight)))(tg.tensor(x)).backward()


def compiled_recurrence() -> None:
    def steps(rows: Any) -> Any:
        return tg.scan(lambda carry, row: (carry + row, carry * row), np.zeros(3), rows)

    tg.compile(steps)(x)
    tg.grad(lambda rows: np.sum(steps(rows)[1]))(x)


def trained_eagerly() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    for kind in (optim.SGD, optim.Adam, optim.Adafactor, optim.Rprop):
        optimizer = kind(model.parameters(), lr=0.1)
        np.mean(model(tg.tensor(x.astype(np.float32))) ** 2).backward()
        optimizer.step()


def trained_compiled() -> None:
    model = nn.Linear(3, 2)
    optimizer = optim.Adam(model.parameters(), lr=0.1)

    @tg.compile
    def step(t: Any) -> Any:
        optimizer.zero_grad()
        loss = np.mean(model(t) ** 2)
        loss.backward()
        optimizer.step()
        return loss

    for _ in range(2):
        step(tg.tensor(x.astype(np.float32)))


def checkpointed() -> None:
    np.sum(tg.checkpoint(lambda t: np.tanh(t @ weight))(tg.tensor(x))).backward()


def refused() -> None:
    for program in (
        lambda t: tg.tensor(t) @ t,
        tg.compile(lambda t: t @ t),
        tg.grad(lambda t: np.sum(t @ t)),
    ):
        with suppress(ShapeError):  # `pytest.raises` would keep the error, and with it the frames
            program(x)
            pytest.fail("a product of 2 x 3 with 2 x 3")


@pytest.mark.parametrize(
    "work",
    [
        eager_backward,
        twice,
        recorded_compiled_call,
        compiled_recurrence,
        trained_eagerly,
        trained_compiled,
        checkpointed,
        refused,
        lambda: tg.grad(lambda w: np.sum(x @ w), argnums=0)(np.ones((3, 2))),
        lambda: tg.hessian(lambda w: np.sum(w**3))(np.ones(3)),
        lambda: tg.jvp(np.sin, (x,), (x,)),
        lambda: tg.vmap(np.sum)(x),
        lambda: tg.compile(tg.vmap(tg.grad(lambda w: np.sum(w**3))))(x),
    ],
)
def test_nothing_leads_back_to_itself(work: Callable[[], object]) -> None:
    work()  # what is made once, and kept
    weight.grad = None
    gc.collect()
    gc.disable()
    try:
        work()
        weight.grad = None
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = [type(one).__name__ for one in gc.garbage if type(one).__module__.split(".")[0] == "tinygraph"]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []
