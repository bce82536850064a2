"""Plans: values that share memory do so only while nothing else reads them, and one run at a time uses it."""

import dataclasses
import functools
import threading
import time

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import kernels
from tinygraph.compiler.building import build_plan
from tinygraph.compiler.compiled import COMPILE_PASSES
from tinygraph.core.state import write
from tinygraph.errors import StaleValueError
from tinygraph.plugin import op

X = np.linspace(-1.0, 2.0, 400).reshape(20, 20)

# programs whose values would be wrong if one gave up its memory a node too early; cumsum is in no fused loop


def read_again_right_after(x):
    y = np.cumsum(x)
    return np.cumsum(np.exp(y) * y)


def read_again_later(x):
    y = np.cumsum(x).reshape(20, 20)
    return np.cumsum(np.exp(y)) + np.cumsum(np.cos(x) * y)


def in_the_place_of_its_operand(x):
    z = np.exp(np.cumsum(x, 0))
    return np.cos(np.cumsum(np.cos(x), 1)) + np.cumsum(z, 0)


def in_the_place_of_its_operand_for_long(x):
    z, w = np.exp(np.cumsum(x, 0)), np.cumsum(np.cos(x), 0)
    return np.cumsum(np.sin(w), 0) + np.tanh(np.cumsum(w, 1)) * z


def two_results_of_one_loop(x):
    y = np.cumsum(x, 0)
    return np.cumsum(np.exp(y), 0) - np.cumsum(np.cos(y), 0)


def read_through_a_view_besides(x):
    y = np.cumsum(x, 0)
    return np.cumsum(y + y.T, 0)


def read_backwards_besides(x):
    y = np.cumsum(x, 0)
    return np.cumsum(y * y[::-1], 0)


def a_result_that_the_last_node_reads(x):
    y = np.cumsum(x, 0)
    return y, np.exp(y)


def a_view_that_the_last_node_reads(x):
    y = np.cumsum(x, 0)
    return y.T, np.exp(y)


def reduced_and_read(x):
    y = np.cumsum(x, 0)
    return np.cumsum((y * np.exp(y)).sum(1)) + y.sum(0)


def small_values_beside_each_other(x):
    y = np.cumsum(x)
    return np.cumsum(y[:2]) + np.cumsum(y[2:4]) * np.cumsum(y[4:6])


PROGRAMS = [
    read_again_right_after, read_again_later, in_the_place_of_its_operand, in_the_place_of_its_operand_for_long,
    two_results_of_one_loop, read_through_a_view_besides, read_backwards_besides,
    a_result_that_the_last_node_reads, a_view_that_the_last_node_reads, reduced_and_read,
    small_values_beside_each_other,
]  # fmt: skip


def flat(found):
    return [np.asarray(one) for one in (found if isinstance(found, tuple) else (found,))]


@each("passes", [(), COMPILE_PASSES], ids=["as recorded", "after all passes"])
@each("program", PROGRAMS)
def test_no_value_gives_up_its_memory_too_early(program, passes):
    compiled = tg.compile(program, passes=passes)
    for x in (X, X[::-1] * 0.5):
        for found, expected in zip(flat(compiled(x)), flat(program(x)), strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


# state -> (what is returned, its new value)
STEPS = {
    "read after the new one is there": lambda p: (lambda new: (np.cumsum(np.sin(p)), new))(p * 2),
    "read two nodes later": lambda p: (lambda new, y: (y * np.sin(p), new))(p * 2, np.cumsum(p, 0)),
    "read elsewhere by the op of the new value": lambda p: (p.sum(), np.cumsum(p, 0)),
    "in a product": lambda p: (p.sum(), p @ p),
    "beside its transpose": lambda p: (p.sum(), p + p.T),
    "beside itself backwards": lambda p: (p.sum(), p - 0.5 * p[::-1]),
    "reduced": lambda p: (np.sin(p).sum(), p * p.sum(0)),
    "a result": lambda p: (p * 1.0, p * 3),
}


@pytest.mark.parametrize("passes", [(), COMPILE_PASSES], ids=["as recorded", "after all passes"])
@pytest.mark.parametrize("name", STEPS)
def test_a_state_is_written_after_its_last_reader(name, passes):
    state = tg.tensor(X, requires_grad=True)

    def step():
        found, new = STEPS[name](state)
        write(state, new)
        return found

    compiled = tg.compile(step, passes=passes)
    old = X
    for _ in range(2):
        expected, new = STEPS[name](old)
        with tg.no_grad():
            np.testing.assert_allclose(compiled(), expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_allclose(state.numpy(), new, rtol=1e-12, atol=1e-12)
        old = new


def test_two_states_change_places():
    a, b = tg.tensor(X, requires_grad=True), tg.tensor(X + 1, requires_grad=True)

    @tg.compile
    def swap():
        old = a * 1.0
        write(a, b)
        write(b, old)

    with tg.no_grad():
        swap()
    np.testing.assert_array_equal(a.numpy(), X + 1)
    np.testing.assert_array_equal(b.numpy(), X)


def test_results_stay_when_the_plan_runs_again():
    compiled = tg.compile(lambda x: np.cumsum(x, 0))
    first = compiled(X)
    compiled(X * 0)
    np.testing.assert_array_equal(first, np.cumsum(X, 0))


def test_threads_run_a_plan_one_after_the_other():
    running, most = [], []

    @op(declare=False)
    def slow_double(x):
        """2 x, in its time."""
        running.append(x)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()
        return 2 * x

    slow_double.types(lambda x: x)
    plan = build_plan(tg.capture(lambda x: slow_double(x) + 1.0, np.zeros(3)))
    most.clear()
    found = {}

    def run(number):
        found[number] = plan([np.full(3, float(number))])[0].tolist()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == {number: [2.0 * number + 1] * 3 for number in range(4)}
    assert max(most) == 1


def test_a_wrong_label_stops_a_step_before_it_updates_anything():
    """The whole step is one native call; a check in the middle of it ends it, and the error names the loss."""
    from tinygraph import nn, optim

    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @tg.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    x = np.ones((5, 3), np.float32)
    step(x, np.array([0, 1, 0, 1, 0]))
    before = [p.numpy().copy() for p in model.parameters()]
    versions = [p.node.version for p in model.parameters()]
    with pytest.raises(tg.errors.OpError, match=r"cross_entropy.*label.*No parameter or state was changed"):
        step(x, np.array([0, 1, 0, 2, 0]))
    for parameter, old, version in zip(model.parameters(), before, versions, strict=True):
        np.testing.assert_array_equal(parameter.numpy(), old)
        assert parameter.node.version == version
    first = step(x, np.array([0, 1, 0, 1, 0])).item()
    assert np.isfinite(first)
    if kernels.available():
        assert len(step.plan.calls) == 1


def test_a_state_that_the_interrupted_kernel_wrote_counts_as_written():
    state = tg.core.state.buffer(np.zeros(3))
    factor = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)

    def step(x):
        state.__iadd__(x)
        return x * 2.0

    plan = build_plan(tg.capture(step, np.ones(3)))
    [(writing, leaf)] = plan.written
    assert leaf is state._own_leaf()

    def interrupted(run):
        run()
        raise KeyboardInterrupt

    calls = tuple(
        (numbers, functools.partial(interrupted, run) if writing in numbers else run)
        for numbers, run in plan.calls
    )
    used = (factor * state).sum()
    with pytest.raises(KeyboardInterrupt):
        dataclasses.replace(plan, calls=calls)([np.ones(3)])
    assert state.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(StaleValueError, match="changed afterwards"):
        used.backward()


def test_a_parameter_without_axes_that_takes_another_dtype_gives_the_results_that_dtype():
    class Scaled(tg.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = tg.nn.Parameter(np.float64(2.0))

        def forward(self, x):
            return x * self.factor

    module, x = Scaled(), np.ones(3, np.float32)
    compiled = tg.compile(module)
    assert compiled(x).dtype == np.float64
    assert compiled(x).tolist() == [2, 2, 2]
    module.float()
    assert compiled(x).dtype == np.float32
    module.double()
    assert compiled(x).dtype == np.float64
