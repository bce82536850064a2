"""Teams of threads: the same numbers on any number of them, private memory, two programs at once, forks."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import SettingError
from tinygraph.kernels import elementwise
from tinygraph.kernels.lowering import Check
from tinygraph.kernels.machine_code import Private, compile_kernel
from tinygraph.kernels.program import Program
from tinygraph.kernels.teams import Table, unless_same
from tinygraph.kernels.threads import get_threads


@pytest.fixture(autouse=True)
def _threads_as_before() -> Any:
    before = get_threads()
    yield
    tg.set_threads(before)


def _adding(units: int = 1) -> Any:
    """x[i] += 1 for each unit i."""

    def write(code: Any) -> None:
        def one(i: Any) -> None:
            x = code.load(code.pointers["x"], i, "float64")
            code.store(code.add(x, code.constant(1.0, x)), code.pointers["x"], i)

        code.units(one)

    return compile_kernel("add one", ["x"], write, splits=units)


def _counting() -> Any:
    """x[0] += 1 for each unit, in memory of the thread's own."""

    def write(code: Any) -> None:
        def one(i: Any) -> None:
            x = code.load(code.pointers["x"], 0, "float64")
            code.store(code.add(x, code.constant(1.0, x)), code.pointers["x"], 0)

        code.units(one)

    return compile_kernel("count", ["x"], write, splits=1)


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_each_unit_is_done_once(threads: int) -> None:
    x = np.zeros(14)
    run = Table([_adding(2).bind(x, span=7)] * 5, threads)
    for _ in range(20):
        run()
    np.testing.assert_array_equal(x, np.full(14, 100.0))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_fewer_units_than_threads(threads: int) -> None:
    x = np.zeros(1)
    Table([_adding().bind(x, span=1)], threads)()
    assert x[0] == 1


def test_private_memory_is_one_array_a_thread() -> None:
    parts = [np.zeros(1) for _ in range(3)]
    bound = _counting().bind(Private(parts), span=10)
    Table([bound], 3)()
    assert [part[0] for part in parts] == [3, 3, 4]
    bound()  # on one thread all parts are done all the same
    assert [part[0] for part in parts] == [6, 6, 8]


def test_kernels_wait_for_what_those_before_them_wrote() -> None:
    """Each kernel reads what the other thread's part of the one before wrote."""

    def write(code: Any) -> None:
        def one(i: Any) -> None:
            other = code.ir.sub(code.ir.sub(code.counts["span"], i), i.type(1))
            value = code.load(code.pointers["x"], other, "float64")
            code.store(code.add(value, code.constant(1.0, value)), code.pointers["y"], i)

        code.units(one)

    kernel = compile_kernel("mirror", ["x", "y"], write, splits=1)
    x, y = np.arange(1000.0), np.zeros(1000)
    Table([kernel.bind(x, y, span=1000), kernel.bind(y, x, span=1000)] * 50, 2)()
    np.testing.assert_array_equal(x, np.arange(1000.0) + 100)


def test_two_programs_at_once_have_the_right_numbers() -> None:
    arrays = [np.zeros(64) for _ in range(4)]

    def work(x: Any) -> None:
        run = Table([_adding().bind(x, span=64)] * 10, 2)
        for _ in range(50):
            run()

    workers = [threading.Thread(target=work, args=(x,)) for x in arrays]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for x in arrays:
        np.testing.assert_array_equal(x, np.full(64, 500.0))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_child_has_a_team_of_its_own() -> None:
    x = np.zeros(8)
    run = Table([_adding().bind(x, span=8)], 2)
    run()
    child = os.fork()
    if not child:
        run()
        os._exit(0 if x.tolist() == [2.0] * 8 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    run()
    assert x.tolist() == [2.0] * 8


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_training_step_on_several_threads(threads: int) -> None:
    """Loss and gradients of a small net with convolutions, pools and a loss, against the eager ones."""
    tg.set_threads(threads)
    tg.manual_seed(0)
    model = tg.nn.Sequential(
        tg.nn.Conv2d(3, 16, 3, padding=1), tg.nn.ReLU(), tg.nn.MaxPool2d(2),
        tg.nn.Conv2d(16, 16, 3, padding=1), tg.nn.ReLU(), tg.nn.Flatten(), tg.nn.Linear(16 * 36, 5),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(7, 3, 12, 12)).astype(np.float32), rng.integers(0, 5, size=7)

    def step(x: Any, labels: Any) -> Any:
        model.zero_grad()
        loss = tg.ops.cross_entropy(model(x), labels)
        loss.backward()
        return loss

    expected = step(x, labels).item(), [p.grad.numpy().copy() for p in model.parameters()]
    compiled = tg.compile(step)
    runs = []
    for _ in range(3):
        loss = compiled(x, labels).item()
        runs.append((loss, [p.grad.numpy().copy() for p in model.parameters()]))
    assert abs(runs[0][0] - expected[0]) < 1e-5
    for found, exact in zip(runs[0][1], expected[1], strict=True):
        assert np.abs(found - exact).max() <= 1e-4 * np.abs(exact).max()
    for loss, gradients in runs[1:]:  # bit for bit, run after run
        assert loss == runs[0][0]
        for one, first in zip(gradients, runs[0][1], strict=True):
            np.testing.assert_array_equal(one, first)


def test_another_number_of_threads_plans_anew() -> None:
    double = tg.compile(lambda x: x * 2)
    tg.set_threads(1)
    double(np.ones(3))
    first = double.plan
    tg.set_threads(2)
    np.testing.assert_array_equal(double(np.ones(3)), [2, 2, 2])
    assert double.plan is not first


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "2", None])
def test_the_number_of_threads_is_a_whole_number(wrong: Any) -> None:
    with pytest.raises(SettingError, match="the number of threads is"):
        tg.set_threads(wrong)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("size", [7, 40_000])  # alone and together
def test_a_check_ends_a_table(threads: int, size: int) -> None:
    x, flag, said = np.zeros(size), np.zeros(1, np.int64), []
    adding = _adding().bind(x, span=size)

    def complain() -> None:
        said.append(x[0])
        raise ValueError("wrong")

    table = Table(
        [adding, Check(np.zeros(1, np.int64), complain), adding, Check(flag, complain), adding], threads
    )
    table()
    np.testing.assert_array_equal(x, np.full(size, 3.0))
    flag[0] = 5
    with pytest.raises(ValueError, match="wrong"):
        table()
    np.testing.assert_array_equal(x, np.full(size, 5.0))  # the last did not run
    assert (table.stopped, said, flag[0]) == (3, [5.0], 0)
    table()
    np.testing.assert_array_equal(x, np.full(size, 8.0))
    assert table.stopped is None
    quiet = Table([adding, Check(flag, lambda: None), adding], threads)
    flag[0] = 1
    quiet()  # nothing was wrong after all
    np.testing.assert_array_equal(x, np.full(size, 10.0))


def test_what_reads_the_same_does_not_run_again() -> None:
    """Two kernels in one memory: each runs if the source has changed, or if the other one ran."""
    source, copy, maker, out = np.arange(5.0), np.zeros(40, np.uint8), np.zeros(1, np.int64), np.zeros(5)
    forth, back = (
        unless_same(source, copy, maker, [elementwise_bound(source[::step], out)]) for step in (1, -1)
    )
    forth()
    np.testing.assert_array_equal(out, [0, 1, 2, 3, 4])
    out[:] = 7
    forth()
    np.testing.assert_array_equal(out, [7] * 5)
    source[4] = 9
    forth()
    np.testing.assert_array_equal(out, [0, 1, 2, 3, 9])
    back()
    np.testing.assert_array_equal(out, [9, 3, 2, 1, 0])
    forth()
    np.testing.assert_array_equal(out, [0, 1, 2, 3, 9])
    source[0] = -0.0  # another number than 0.0, for who divides by it
    forth()
    assert np.signbit(out[0])


def elementwise_bound(x: Any, out: Any) -> Any:
    """out = x"""
    return elementwise.bind(Program((x.dtype.name,), (), (0,)), [x], [out])
