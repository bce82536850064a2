"""Updates of all parameters in one loop: found by what they do, whatever order they come in, and the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import kernels, nn, optim
from tinygraph.core.registry import ops
from tinygraph.kernels.program import Program, ProgramBuilder, canonical

needs_kernels = pytest.mark.skipif(not kernels.available(), reason="kernels need llvmlite")
SHAPES = ((3,), (4097,), (5, 7), (2, 3, 4), (16,), (9000,), (1, 33))


def optimizers(parameters: list[Any]) -> dict[str, Any]:
    return {
        "SGD": lambda: optim.SGD(parameters, lr=0.1),
        "momentum": lambda: optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.1),
        "Adam": lambda: optim.Adam(parameters, lr=0.1),
        "AdamW": lambda: optim.AdamW(parameters, lr=0.1),
        "RMSprop": lambda: optim.RMSprop(parameters, lr=0.01),
    }


def trained(name: str, compiled: bool) -> tuple[list[Any], Any]:
    rng = np.random.default_rng(0)
    parameters = [nn.Parameter(rng.standard_normal(shape).astype(np.float32)) for shape in SHAPES]
    optimizer = optimizers(parameters)[name]()

    def step(scale: Any) -> Any:
        optimizer.zero_grad()
        loss = sum(np.sum(ops.tanh(one) ** 2) for one in parameters) * scale
        loss.backward()
        optimizer.step()
        return loss

    run = tg.compile(step) if compiled else step
    for i in range(4):
        run(np.float32(1 + i))
    return [one.numpy().copy() for one in parameters], run


@needs_kernels
@each("name", ["SGD", "momentum", "Adam", "AdamW", "RMSprop"])
def test_all_parameters_in_one_loop(name: str) -> None:
    eager, _ = trained(name, compiled=False)
    before = tg.get_threads()
    try:
        for threads in (1, 3):
            tg.set_threads(threads)
            found, step = trained(name, compiled=True)
            for mine, right in zip(found, eager, strict=True):
                np.testing.assert_allclose(mine, right, rtol=2e-5, atol=2e-6)
            updates = [
                one
                for one in step.plan.steps
                if any(node.shape and node.place.phase == "update" for node in one.nodes)
            ]
            assert [len(one.nodes) for one in updates] == [len(SHAPES)], step.plan
    finally:
        tg.set_threads(before)


@needs_kernels
def test_a_loop_that_reads_what_another_wrote_is_not_beside_it() -> None:
    def chain(x: Any, y: Any) -> Any:
        first = x * 3.0
        return first, np.sum(first) + y, y * 3.0, (y * 3.0)[:5] * 3.0

    x, y = np.arange(7.0), np.arange(11.0)
    step = tg.compile(chain)
    for found, right in zip(step(x, y), chain(x, y), strict=True):
        np.testing.assert_array_equal(found, right)


@needs_kernels
def test_large_inputs_of_joined_loops_are_read_anew_in_each_call() -> None:
    """Addresses in the table of a joined loop are no pointers that a plan could set to the caller's memory."""
    step = tg.compile(lambda x, y: (x * 3.0, y * 3.0))
    rng = np.random.default_rng(0)
    for _ in range(3):
        x, y = rng.standard_normal(20_000), rng.standard_normal(30_000)
        for found, right in zip(step(x, y), (x * 3.0, y * 3.0), strict=True):
            np.testing.assert_array_equal(found, right)
    assert [len(one.nodes) for one in step.plan.steps] == [2]


@needs_kernels
def test_segments(guard_of_sizes: Any) -> None:
    from tinygraph.kernels import segments

    build = ProgramBuilder()
    rate, x, y = (build.input("float32") for _ in range(3))
    program = build.program(build.step(ops.add, build.step(ops.multiply, rate, x), y))
    number, made = np.full((), 2.5, np.float32), []
    for size in (1, 15, 16, 17, 4095, 4096, 4097, 9001):
        arrays, blocks = guard_of_sizes(size)
        made.append(((number, *arrays), blocks))
    segments.bind(program, [arrays for arrays, _ in made])()
    for (_, x1, y1, out), blocks in made:
        np.testing.assert_allclose(out, 2.5 * x1 + y1, rtol=1e-6)
        assert all((block[:64] == 7).all() and (block[-64:] == 7).all() for block in blocks)


@pytest.fixture
def guard_of_sizes() -> Any:
    rng = np.random.default_rng(0)

    def made(size: int) -> Any:
        blocks = [np.full(size + 128, 7, np.float32) for _ in range(3)]
        arrays = [block[64 : 64 + size] for block in blocks]
        for one in arrays:
            one[...] = rng.standard_normal(size)
        return arrays, blocks

    return made


def test_canonical_forms() -> None:
    """Inputs, steps and outputs in any order: one form; what differs stays different."""

    def build(
        order: tuple[int, ...], outputs: tuple[int, ...], op: Any = ops.add
    ) -> tuple[Program, list[bool]]:
        made, places = ProgramBuilder(), {}
        for i in order:
            places[i] = made.input("float32")
        if outputs == (0, 1):
            total, product = (
                made.step(op, places[0], places[1]),
                made.step(ops.multiply, places[0], places[2]),
            )
        else:
            product, total = (
                made.step(ops.multiply, places[0], places[2]),
                made.step(op, places[0], places[1]),
            )
        values = (total, product)
        return made.program(*(values[i] for i in outputs)), [i == 2 for i in order]

    forms = [
        canonical(*build(order, outputs)) for order in ((0, 1, 2), (2, 0, 1)) for outputs in ((0, 1), (1, 0))
    ]
    assert len({form[0] for form in forms}) == 1
    assert forms[0][1] != forms[2][1]
    assert canonical(*build((0, 1, 2), (0, 1), ops.subtract))[0] != forms[0][0]
