"""A program for a process that may die: plans whose arrays each end, or begin, at a page that may not be touched."""

from __future__ import annotations

import ctypes
import mmap
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np

import tinygraph as tg
from tests.kernels.test_random_geometries import geometry, network
from tinygraph import nn, optim
from tinygraph.analysis.memory import Memory
from tinygraph.compiler.places import Places
from tinygraph.core.registry import ops

PAGE = mmap.PAGESIZE
front = "front" in sys.argv  # arrays begin at a page's beginning; else they end at its end
_library = ctypes.CDLL(None, use_errno=True)
_guards: list[int] = []


def pages(nbytes: int, guards: Iterable[int]) -> Any:
    """Zeros, with pages at some offsets that may neither be read nor written."""
    memory = mmap.mmap(-1, nbytes)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for offset in guards:
        assert _library.mprotect(ctypes.c_void_p(start + offset), ctypes.c_size_t(PAGE), 0) == 0
    return np.frombuffer(memory, np.uint8)


def at_edge(nbytes: int, begin: int) -> tuple[int, int]:
    """Where so many bytes lie behind a guard page at `begin`, and where the next guard page is."""
    end = begin + PAGE + -(-nbytes // PAGE) * PAGE
    return (begin + PAGE if front else end - nbytes), end


def arena(self: Memory, scratch: Iterable[Any] = ()) -> tuple[list[int], int]:
    offsets, begin = [], 0
    _guards[:] = [0]
    for lifetime in (*self.lifetimes, *scratch):
        offset, begin = at_edge(lifetime.nbytes, begin)
        offsets.append(offset)
        _guards.append(begin)
    return offsets, begin + PAGE


def zeros(self: Places, size: int, types: Any, name: Any) -> Any:
    nbytes = size * types.dtype.itemsize
    if name == "arena":
        return pages(-(-nbytes // PAGE) * PAGE, _guards)
    return guarded(np.zeros(size, types.dtype))


def guarded(values: Any) -> Any:
    """A copy of an array at the edge."""
    offset, end = at_edge(values.nbytes, 0)
    made = pages(end + PAGE, (0, end))[offset : offset + values.nbytes].view(values.dtype)
    made = made.reshape(values.shape)
    made[...] = values
    return made


def convolutions(seed: int) -> None:
    x, kernel, settings = geometry(seed)

    def step(x: Any, kernel: Any) -> Any:
        def loss(x: Any, kernel: Any) -> Any:
            return np.sum(ops.relu(ops.convolution(x, kernel, **settings)) ** 2)

        return tg.grad(loss, argnums=(0, 1))(x, kernel)

    tg.compile(step)(guarded(x), guarded(kernel))


def networks(seed: int) -> None:
    model, x = network(seed)
    model.to(dtype="float32")
    for one in model.parameters():
        one._value = one._edge.value = guarded(one._value)
    optimizer = optim.AdamW(model.parameters(), lr=1e-3)

    def step(x: Any, labels: Any) -> Any:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    run = tg.compile(step)
    for _ in range(2):
        run(guarded(x.astype("float32")), guarded(np.arange(len(x)) % 7))


def the_rest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, c, h, w = (int(rng.choice((1, 2, 3, 5, 8, 13, 16, 17, 31))) for _ in range(4))
    dtype = str(rng.choice(["float32", "float64"]))
    x = rng.standard_normal((n, c, h, w)).astype(dtype)
    a = rng.standard_normal((h, w)).astype(dtype)

    def program(x: Any, a: Any) -> Any:
        def loss(x: Any, a: Any) -> Any:
            y = np.tanh(x) * a + np.sin(x) * np.abs(a) ** 1.5
            y = y + nn.functional.softmax(x @ a.T @ a, dim=-1)
            z = nn.functional.layer_norm(np.swapaxes(y, 0, 2), (w,))
            if min(h, w) > 1:
                y = ops.max_pool(y, size=2)
            return np.sum(y * y) + np.sum(np.cumsum(z, -1) ** 2) + np.sum(x[:, np.arange(c) % 2] ** 2)

        return tg.value_and_grad(loss, argnums=(0, 1))(x, a), np.max(x, (0, 2)), np.swapaxes(x, 1, 3) + 0

    tg.compile(program)(guarded(x), guarded(a))


if __name__ == "__main__":
    Memory.arena = arena  # type: ignore[assignment]
    Places._zeros = zeros  # type: ignore[method-assign]
    first, last = int(sys.argv[1]), int(sys.argv[2])
    for threads in (1, 2):
        tg.set_threads(threads)
        for number in range(first, last):
            for made in (convolutions, networks, the_rest):
                print(made.__name__, number, threads, flush=True)
                made(number)
    if "stray" in sys.argv:  # that the guards bite
        ctypes.string_at(guarded(np.zeros(7)).ctypes.data - (1 if front else -56), 1)
    print("no stray access")
