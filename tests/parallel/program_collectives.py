"""Run in several processes: the collectives' values and derivatives; each rank raises if something is wrong."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import parallel

rank, size = parallel.rank(), parallel.size()
assert size == int(sys.argv[1])
tg.set_threads(1)


def total(loss: float) -> float:
    """The sum of all processes' losses, of which gradients are."""
    return float(parallel.all_reduce(np.array(loss)))


def slopes(f, x):
    """The gradient by x of this process, by differences of the sum of all losses: one process moves at a time."""
    found = np.zeros_like(x)
    for mover in range(size):
        for i in range(x.size):
            ends = []
            for step in (1e-6, -1e-6):
                moved = x.copy()
                moved.flat[i] += step * (mover == rank)
                ends.append(total(float(f(moved))))
            if mover == rank:
                found.flat[i] = (ends[0] - ends[1]) / 2e-6
    return found


weights = np.random.default_rng(rank).normal(size=(2 * size, 3))
CASES = {
    "sum": lambda x: np.sum(weights[:2] * parallel.all_reduce(x) ** 2),
    "mean": lambda x: np.sum(weights[:2] * np.sin(parallel.all_reduce(x, "mean"))),
    "gather": lambda x: np.sum(weights * parallel.all_gather(x) ** 2),
    "gather columns": lambda x: np.sum(parallel.all_gather(x, axis=1) ** 3),
    "broadcast": lambda x: np.sum(weights[:2] * parallel.broadcast(x * x, size - 1)),
    "weighted mean": lambda x: parallel.mean(np.sum(x**3), weight=rank + 1),
}
x = np.random.default_rng(10 + rank).normal(size=(2, 3))
for name, f in CASES.items():
    expected = slopes(f, x)
    for kind, g in {"eager": tg.grad(f), "compiled": tg.compile(tg.grad(f))}.items():
        np.testing.assert_allclose(np.asarray(g(x)), expected, rtol=1e-5, atol=1e-7, err_msg=f"{name} {kind}")
    t = np.ones_like(x)
    out, tangent = tg.jvp(f, (x,), (t,))
    moved = [float(f(x + h * t)) for h in (1e-6, -1e-6)]
    np.testing.assert_allclose(
        tangent, (moved[0] - moved[1]) / 2e-6, rtol=1e-5, atol=1e-7, err_msg=f"{name} forward"
    )
    second = tg.grad(lambda x, f=f: np.sum(tg.grad(f)(x) ** 2))
    np.testing.assert_allclose(
        second(x), slopes(lambda x, f=f: np.sum(np.asarray(tg.grad(f)(x)) ** 2), x), rtol=1e-4, atol=1e-5,
        err_msg=f"{name} second",
    )  # fmt: skip

y = np.random.default_rng(20 + rank).normal(size=(2 * size, 3))
scattered = lambda y: np.sum(parallel.reduce_scatter(y) ** 2) * (rank + 1)  # noqa: E731
np.testing.assert_allclose(tg.grad(scattered)(y), slopes(scattered, y), rtol=1e-5, atol=1e-7)

# literal values: rank r holds r + 1
own = np.array([rank + 1.0])
everybody = np.arange(1.0, size + 1)
assert parallel.all_reduce(own).tolist() == [everybody.sum()]
assert parallel.all_reduce(own, "max").tolist() == [size]
assert parallel.all_reduce(own, "min").tolist() == [1]
assert parallel.all_reduce(own, "mean").tolist() == [everybody.mean()]
assert parallel.all_gather(own).tolist() == everybody.tolist()
assert parallel.broadcast(own, size - 1).tolist() == [size]
assert parallel.reduce_scatter(np.repeat(own, size)).tolist() == [everybody.sum()]
assert parallel.all_reduce(np.array([rank], np.int8)).dtype == np.int8
assert parallel.all_reduce(np.ones(3, np.float16) * (rank + 1)).tolist() == [everybody.sum()] * 3
assert parallel.all_gather(np.ones((0, 2))).shape == (0, 2)
assert parallel.all_reduce(np.ones((4, 6))[::2, ::3] * (1 + 1j)).tolist() == [[size * (1 + 1j)] * 2] * 2

# what does not fit raises everywhere, and the next exchange works
with pytest.raises(tg.errors.TinygraphError, match=r"rank 1: all_reduce of float64\[3\], sum"):
    parallel.all_reduce(np.ones(2 + rank % 2))
assert parallel.all_reduce(own).tolist() == [everybody.sum()]
with pytest.raises(tg.errors.MissingRuleError, match='reduction="max"'):
    tg.grad(lambda x: np.sum(parallel.all_reduce(x, "max")))(x)
leaf = tg.tensor(x, requires_grad=True)
with pytest.raises(tg.errors.ParallelError, match="processes"):
    tg.explain(parallel.all_reduce(leaf).sum(), wrt=leaf, element=(0, 0))

# an array that a captured program exchanges is exchanged in each call, not once
f = tg.compile(lambda x: x + parallel.all_reduce(own))
for _ in range(2):
    assert f(np.zeros(1)).tolist() == [everybody.sum()]
assert "all_reduce" in [
    node.op.name for node in tg.capture(lambda x: x + parallel.all_reduce(own), own).nodes if node.op
]
with pytest.raises(tg.errors.TinygraphError, match="once"):
    tg.compile(lambda x: x + tg.ops.all_reduce(own))(np.zeros(1))
optimizer = parallel.data_parallel(tg.optim.SGD([leaf], lr=0.1))
with pytest.raises(tg.errors.SettingError, match="already"):
    parallel.data_parallel(optimizer)

# a second derivative through averaged gradients
w = tg.tensor(np.array([2.0, rank + 1.0]), requires_grad=True)
parallel.data_parallel(tg.optim.SGD([w], lr=0.1))
assert w.tolist() == [2, 1]  # rank 0's
((rank + 1) * (w**3).sum()).backward(create_graph=True)
assert w.grad.tolist() == [12 * everybody.mean(), 3 * everybody.mean()]
if rank == 0:
    print("all is well")
