"""Loops as epilogues of products and convolutions: the numbers of the plan without them, and where they stay apart."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import kernels, optim
from tinygraph.compiler.compiled import COMPILE_PASSES, Compiled
from tinygraph.compiler.passes.fuse_epilogues import fuse_epilogues
from tinygraph.core.registry import ops

if not kernels.available():
    pytest.skip("llvmlite is not installed", allow_module_level=True)

APART = tuple(one for one in COMPILE_PASSES if one is not fuse_epilogues)


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    before = tg.get_threads()
    yield
    tg.set_threads(before)


def joined(compiled: Compiled) -> list[str]:
    """The ops of the nodes whose kernels carried out an epilogue."""
    return [step.node.op.name for step in compiled.plan.steps if step.kernel.name.endswith("+ epilogue")]


def gradients(function: Callable[..., Any]) -> Callable[..., Any]:
    """The gradients of a sum by all arguments."""
    return lambda *xs: tg.grad(lambda *ys: np.sum(np.sin(function(*ys))), argnums=tuple(range(len(xs))))(*xs)


def conv(x: Any, kernel: Any, **settings: Any) -> Any:
    return ops.convolution(x, kernel, **settings)


def normalized(x: Any, kernel: Any, scale: Any, shift: Any, more: Any) -> Any:
    """What stands behind a convolution at the end of a residual block."""
    return ops.relu(conv(x, kernel, padding=1) - scale * shift + more)


def two_layers(x: Any, first: Any, second: Any) -> Any:
    return conv(ops.relu(conv(x, first, padding=1)), second, padding=1)


SMALL, LARGE = ((2, 16, 7, 9), (16, 16, 3, 3)), ((3, 8, 11, 6), (24, 8, 3, 3))
PROGRAMS: list[tuple[str, Callable[..., Any], tuple[tuple[int, ...], ...], int]] = [
    ("bias, activation", lambda x, w, b: ops.relu(x @ w + b), ((13, 7), (7, 21), (21,)), 1),
    ("residual", lambda x, w, b: x + (x @ w + b), ((5, 9, 16), (16, 16), (16,)), 1),
    ("deep", lambda x, w, b: np.tanh(x @ w + b), ((9, 900), (900, 35), (35,)), 1),
    ("number", lambda x, w, s: (x @ w) * s, ((2, 3, 8, 5), (2, 3, 5, 6), ()), 1),
    ("column", lambda x, w, s: x @ w - s, ((12, 5), (5, 20), (12, 1)), 1),
    ("transposed", lambda x, w, s: ops.relu(x.T @ w.T) + s, ((40, 33), (90, 40), (33, 90)), 1),
    ("two results", lambda x, w: (lambda z: (z, z * 0.5))(np.exp(x @ w)), ((8, 5), (5, 12)), 1),
    ("and a sum", lambda x, w: (lambda z: (z, z.sum(axis=0)))(ops.relu(x @ w)), ((8, 5), (5, 12)), 1),
    ("a sum of others", lambda x, w: (lambda z: (z * 2.0, (z * z).sum(axis=0)))(x @ w), ((8, 5), (5, 12)), 0),
    ("direct", lambda x, w: ops.relu(conv(x, w, stride=2)), ((2, 3, 9, 8), (8, 3, 3, 3)), 1),
    ("few channels", lambda x, w: ops.max_pool(ops.relu(conv(x, w)), size=2), ((3, 1, 12, 12), (6, 1, 5, 5)), 1),
    ("Winograd", lambda x, w: ops.max_pool(ops.relu(conv(x, w, padding=1)), size=2), SMALL, 1),
    ("read twice", lambda x, w: (lambda z: (ops.relu(z), np.flip(z, 0)))(x @ w), ((8, 5), (5, 12)), 0),
]  # fmt: skip
TRAINED: list[tuple[str, Callable[..., Any], tuple[tuple[int, ...], ...]]] = [
    ("layers", lambda x, v, b, w: ops.relu(ops.relu(x @ v + b) @ w), ((17, 24), (24, 40), (40,), (40, 8))),
    ("gelu", lambda x, v, w: ops.gelu(x @ v) @ w, ((6, 10, 16), (16, 32), (32, 16))),
    ("tanh", lambda x, v, w: np.tanh(x @ v) @ w, ((6, 10, 16), (16, 32), (32, 16))),
    ("masks", two_layers, (*SMALL, (16, 16, 3, 3))),
    ("masks, ragged", two_layers, (*LARGE, (8, 24, 3, 3))),
    ("normalized", normalized, (*SMALL, (16, 1, 1), (16, 1, 1), (2, 16, 7, 9))),
]  # fmt: skip


def arrays(shapes: tuple[tuple[int, ...], ...], dtype: str) -> list[Any]:
    rng = np.random.default_rng(3)
    return [np.asarray(rng.standard_normal(shape), dtype) for shape in shapes]


def flat(results: Any) -> list[Any]:
    return [np.asarray(one) for one in (results if isinstance(results, tuple) else (results,))]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_same_numbers(dtype: str) -> None:
    for name, function, shapes, count in PROGRAMS:
        xs = arrays(shapes, dtype)
        whole, apart = Compiled(function, COMPILE_PASSES), Compiled(function, APART)
        for found, wanted, exact in zip(flat(whole(*xs)), flat(apart(*xs)), flat(function(*xs)), strict=True):
            assert (found == wanted).all(), name
            np.testing.assert_allclose(found, exact, rtol=2e-4, atol=2e-4, err_msg=name)
        assert len(joined(whole)) == count, (name, joined(whole))
        assert not joined(apart), name


@pytest.mark.parametrize("threads", [1, 3])
def test_gradients(threads: int) -> None:
    tg.set_threads(threads)
    for name, function, shapes in TRAINED:
        xs = [x * np.float32(0.2) for x in arrays(shapes, "float32")]
        whole, apart = Compiled(gradients(function), COMPILE_PASSES), Compiled(gradients(function), APART)
        exact = gradients(function)(*[x.astype("float64") for x in xs])
        first = [one.copy() for one in flat(whole(*xs))]
        for found, again, wanted, right in zip(first, whole(*xs), apart(*xs), exact, strict=True):
            assert (found == again).all(), name
            scale = np.abs(right).max()
            np.testing.assert_allclose(found, right, rtol=0, atol=1e-4 * scale, err_msg=name)
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6 * scale, err_msg=name)
        # the derivative of gelu is longer than an epilogue may be
        assert bool(joined(whole)) is (name != "gelu"), name


def test_updates_stay_in_their_places() -> None:
    """What a loop writes where a state lives stays a loop; a gradient that `.grad` holds is read by more than it."""
    w = tg.tensor(np.ones((4, 3), np.float32), requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = ((x @ w) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    compiled = tg.compile(step)
    compiled(x)
    right = 1 - 0.1 * 2 * x.T @ (x @ np.ones((4, 3)))
    np.testing.assert_allclose(w.numpy(), right, rtol=1e-5)
    np.testing.assert_allclose(w.grad.numpy(), 2 * x.T @ (x @ np.ones((4, 3))), rtol=1e-5)
    assert len(compiled.plan.written) == 1
