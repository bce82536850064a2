"""Generated kernels against PyTorch, one thread: convolutions and pools of a small VGG, chains of elementwise ops.

Each pair is checked equal first, then timed in alternation; the table gives medians and the median ratio of pairs
(below 1: ours is faster). Run with `OMP_NUM_THREADS=1 python benchmarks/kernels.py`; needs the extras `fast` and
`reference`.
"""

from __future__ import annotations

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from tinygraph.core.registry import ops
from tinygraph.kernels import elementwise
from tinygraph.kernels import lowering as door
from tinygraph.kernels.cpu import this_cpu
from tinygraph.kernels.images import direct as direct
from tinygraph.kernels.images import lowerings as images
from tinygraph.kernels.images import packing as layouts
from tinygraph.kernels.images import window_tables
from tinygraph.kernels.images.planes import ALIGNMENT
from tinygraph.kernels.images.window_tables import Along
from tinygraph.kernels.program import ProgramBuilder

BATCH = 32
# (input channels, output channels, height and width)
VGG_SMALL = [(3, 32, 32), (32, 32, 32), (32, 64, 16), (64, 64, 16), (64, 128, 8), (128, 128, 8)]
ROUNDS = 31


class Pair(NamedTuple):
    """Two ways to the same result: names, calls, results to compare, and how far they may differ."""

    name: str
    ours: Callable[[], Any]
    theirs: Callable[[], Any]
    results: Callable[[], tuple[Any, Any]]
    bound: float = 1e-5


def convolutions() -> Iterator[Pair]:
    """Forward (with bias and ReLU), input gradient and kernel gradient; in planes, and on NCHW arrays."""
    rng = np.random.default_rng(0)
    for inputs, outputs, size in VGG_SMALL:
        x = rng.standard_normal((BATCH, inputs, size, size)).astype(np.float32)
        w = (rng.standard_normal((outputs, inputs, 3, 3)) / np.sqrt(9 * inputs)).astype(np.float32)
        b = rng.standard_normal(outputs).astype(np.float32)
        g = rng.standard_normal((BATCH, outputs, size, size)).astype(np.float32)
        label = f"{inputs}->{outputs} {size}x{size}"
        yield from _on_arrays(label, x, w, b, g)
        yield from _in_planes(label, x, w, b, g)


def _on_arrays(label: str, x: Any, w: Any, b: Any, g: Any) -> Iterator[Pair]:
    y, dx, dw = np.empty_like(g), np.empty_like(x), np.empty_like(w)
    tx, tw, tb, tg = map(torch.from_numpy, (x, w, b, g))
    run = _lowered("forward", x, w, (x, w, b), y)
    forward = lambda: torch.nn.functional.conv2d(tx, tw, tb, padding=1)  # noqa: E731
    yield Pair(f"{label} forward, NCHW", run, forward, lambda: (y, forward()))
    yield from _gradients(f"{label} {{}}, NCHW", (tx, tw, tg), _lowered("input_gradient", x, w, (g, w), dx),
                          lambda: dx, _lowered("kernel_gradient", x, w, (x, g), dw), lambda: dw)  # fmt: skip


def _lowered(map_name: str, x: Any, w: Any, operands: tuple[Any, ...], out: Any) -> Any:
    """One of the three maps on arrays in rows, as a plan binds it."""
    made = images.convolution(x.shape, w.shape, x.dtype, padding=((1, 1), (1, 1)))
    in_rows = door.Layouts(tuple(door.rows(one.ndim) for one in operands), (door.rows(out.ndim),))
    lowering = getattr(images, map_name)(made, x.shape, in_rows, this_cpu())
    return lowering.bind(operands, [out], [empty_aligned((size,), np.uint8) for size in lowering.scratch])


def empty_aligned(shape: tuple[int, ...], dtype: Any) -> Any:
    """Like `np.empty`, starting at a cache line."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    block = np.empty(size + ALIGNMENT, np.uint8)
    start = -block.ctypes.data % ALIGNMENT
    return block[start : start + size].view(dtype).reshape(shape)


def _in_planes(label: str, x: Any, w: Any, b: Any, g: Any) -> Iterator[Pair]:
    made = images.convolution(x.shape, w.shape, x.dtype, padding=((1, 1), (1, 1)))
    assert made is not None
    taken = made.result._replace(halo=made.gradient_halo())
    build = ProgramBuilder()
    relu = direct.Epilogue(build.program(build.step(ops.relu, build.input("float32"))))
    weights, reverse = direct.forward_weights(made), direct.gradient_weights(made)
    source, result, gradient, back = (
        empty_aligned(p.shape(BATCH), x.dtype) for p in (made.source, made.result, taken, made.source)
    )
    packed, packed_back, packed_gradient = (
        empty_aligned(tuple(p), x.dtype) for p in (weights, reverse, weights)
    )
    layouts.to_planes(made.source).bind(x, source, span=BATCH)()
    layouts.to_planes(taken).bind(g, gradient, span=BATCH)()
    layouts.pack(weights, *w.shape[:2]).bind(w, packed)()
    layouts.pack_for_gradient(reverse, *w.shape[:2]).bind(w, packed_back)()
    y, dx, dw = np.empty_like(g), np.empty_like(x), np.empty_like(w)

    def unpacked() -> Any:
        layouts.unpack(weights, *w.shape[:2]).bind(packed_gradient, dw)()
        return dw

    def taken_from(planes: Any, array: Any, out: Any) -> Any:
        layouts.from_planes(planes).bind(array, out, span=BATCH)()
        return out

    tx, tw, tb, tg = map(torch.from_numpy, (x, w, b, g))
    forward = lambda: torch.relu_(torch.nn.functional.conv2d(tx, tw, tb, padding=1))  # noqa: E731
    run = direct.forward(made, epilogue=relu).bind(source, packed, b, result, span=BATCH).run
    yield Pair(
        f"{label} forward+ReLU, planes", run, forward, lambda: (taken_from(made.result, result, y), forward())
    )
    backward = direct.input_gradient(made, taken).bind(gradient, packed_back, back, span=BATCH).run
    products = direct.kernel_gradient(made, taken).bind(source, gradient, packed_gradient, span=BATCH).run
    yield from _gradients(f"{label} {{}}, planes", (tx, tw, tg), backward,
                          lambda: taken_from(made.source, back, dx), products, unpacked)  # fmt: skip


def _gradients(
    label: str, tensors: Any, backward: Any, input_result: Any, products: Any, kernel_result: Any
) -> Iterator[Pair]:
    tx, tw, tg = tensors

    def theirs(*mask: bool) -> Any:
        return torch.ops.aten.convolution_backward(
            tg, tx, tw, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, [*mask, False]
        )

    yield Pair(label.format("input gradient"), backward, lambda: theirs(True, False),
               lambda: (input_result(), theirs(True, False)[0]))  # fmt: skip
    yield Pair(label.format("kernel gradient"), products, lambda: theirs(False, True),
               lambda: (kernel_result(), theirs(False, True)[1]))  # fmt: skip


def pools() -> Iterator[Pair]:
    """Maxima of 2x2 windows."""
    for channels, size in ((32, 32), (64, 16), (128, 8)):
        x = np.random.default_rng(2).standard_normal((BATCH, channels, size, size)).astype(np.float32)
        yield _pool(f"max pool {channels} {size}x{size}, NCHW", x)


def _pool(name: str, x: Any) -> Pair:
    out = np.empty((*x.shape[:2], x.shape[2] // 2, x.shape[3] // 2), np.float32)
    tiles = [
        Along(tuple(range(0, size, 2)), (2,) * (size // 2), 1, (2,) * (size // 2)) for size in x.shape[2:]
    ]
    theirs = functools.partial(torch.nn.functional.max_pool2d, torch.from_numpy(x), 2)
    return Pair(name, window_tables.maxima(tiles, x, out), theirs, lambda: (out, theirs()))


def chains() -> Iterator[Pair]:
    """Elementwise programs over arrays that do and do not fit the cache."""
    for rows, columns in ((64, 256), (1024, 1024)):
        yield from _chains_of(rows, columns)


def _chains_of(rows: int, columns: int) -> Iterator[Pair]:
    rng = np.random.default_rng(1)
    x, y = (rng.standard_normal((rows, columns)).astype(np.float32) for _ in range(2))
    b = rng.standard_normal(columns).astype(np.float32)
    tx, ty, tb = map(torch.from_numpy, (x, y, b))

    def pair(name: str, make: Any, theirs: Any, axes: tuple[int, ...] = ()) -> Pair:
        build = ProgramBuilder()
        program = build.program(make(build.step, *(build.input("float32") for _ in range(3))))
        out = np.empty([n for i, n in enumerate(x.shape) if i not in axes], np.float32)
        kinds = ["sum" if axes else None]
        bound = elementwise.bind(program, [x, y, b], [out], reductions=kinds, axes=axes)
        return Pair(f"{name} {rows}x{columns}", bound.run, theirs, lambda: (out, theirs()), 2e-5)

    yield pair("relu(x)", lambda op, x, y, b: op("relu", x), lambda: torch.relu(tx))
    yield pair(
        "gelu(x + b)",
        lambda op, x, y, b: op("gelu", op("add", x, b)),
        lambda: torch.nn.functional.gelu(tx + tb),
    )
    yield pair(
        "tanh(x * y) + b",
        lambda op, x, y, b: op("add", op("tanh", op("multiply", x, y)), b),
        lambda: torch.tanh(tx * ty) + tb,
    )
    yield pair(
        "sigmoid(x) * y",
        lambda op, x, y, b: op("multiply", op("sigmoid", x), y),
        lambda: torch.sigmoid(tx) * ty,
    )
    yield pair(
        "log1p(exp(x))",
        lambda op, x, y, b: op("log1p", op("exp", x)),
        lambda: torch.log1p(torch.exp(tx)),
    )

    def squares(op: Any, x: Any, y: Any, b: Any) -> Any:
        return op("square", op("subtract", x, y))

    yield pair("sum((x - y)^2)", squares, lambda: ((tx - ty) ** 2).sum(), (0, 1))
    yield pair("sum((x - y)^2, axis=0)", squares, lambda: ((tx - ty) ** 2).sum(0), (0,))
    yield pair("sum((x - y)^2, axis=1)", squares, lambda: ((tx - ty) ** 2).sum(1), (1,))


def main() -> None:
    """Check, time and print every pair."""
    torch.set_num_threads(1)
    table = Table(
        "kernel", "ours ms", "PyTorch ms", "ratio", "difference", title="Generated kernels, one thread"
    )
    for pair in itertools.chain(convolutions(), pools(), chains()):
        pair.ours()
        ours, theirs = (np.asarray(result, np.float64) for result in pair.results())
        difference = float(np.linalg.norm(ours - theirs) / np.linalg.norm(theirs))
        if not difference <= pair.bound:
            raise SystemExit(f"{pair.name}: results differ by {difference:.1e}, more than {pair.bound:.0e}")
        times = [(_seconds(pair.ours), _seconds(pair.theirs)) for _ in range(ROUNDS)]
        ratio = statistics.median(a / b for a, b in times)
        mine, other = (f"{statistics.median(column) * 1e3:.4f}" for column in zip(*times, strict=True))
        table.add_row(pair.name, mine, other, f"{ratio:.2f}", f"{difference:.0e}")
    Console(width=110).print(table)


def _seconds(call: Callable[[], Any]) -> float:
    """The least of some calls, so that a disturbance of one does not count."""
    best = float("inf")
    for _ in range(3):
        begin = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - begin)
    return best


if __name__ == "__main__":
    with torch.no_grad():
        main()
