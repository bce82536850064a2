"""What `analysis/memory.py` says of a graph's memory is what plans take, byte for byte, with kernels and without."""

import dataclasses
import itertools

import numpy as np
import pytest

import tinygraph as tg
from tests.compiler.plan_memory import assert_byte_for_byte
from tests.compiler.test_models import MODELS, Training, example
from tinygraph import kernels
from tinygraph.analysis.memory import Memory
from tinygraph.cli.bench.candidates import data, our_model, training_step
from tinygraph.cli.bench.workloads import WORKLOADS
from tinygraph.compiler.building import build_plan
from tinygraph.compiler.passes.recompute import recompute
from tinygraph.compiler.passes.schedule import schedule
from tinygraph.core.graph import Graph
from tinygraph.core.op import op
from tinygraph.core.state import write

ops = tg.ops


@pytest.mark.parametrize(
    "build",
    [pytest.param(one, marks=[pytest.mark.slow] if i % 2 else []) for i, one in enumerate(MODELS)],
    ids=lambda build: build.__name__,
)
def test_the_estimate_is_what_a_training_step_takes_without_kernels(build, monkeypatch):
    """With kernels, `test_models.py` asks at the end of each training."""
    monkeypatch.setattr(kernels, "available", lambda: False)
    compiled = tg.compile(Training(build, "adamw", "float32").step)
    compiled(np.ones((4, 1, 8, 8), np.float32), np.array([0, 1, 2, 0]))
    assert max(compiled.plan.memory.held()) > 500
    assert_byte_for_byte(compiled.plan)


def test_the_estimate_is_what_the_examples_take():
    module = example("08_character_transformer", "tg.manual_seed")
    model = module.Transformer()

    def loss_and_gradient(windows, targets):
        tg.ops.cross_entropy(
            model(windows).reshape(-1, len(module.characters)), targets.reshape(-1)
        ).backward()

    windows = np.zeros((2, module.CONTEXT), np.int64)
    compiled = tg.compile(loss_and_gradient)
    compiled(windows, windows)
    assert_byte_for_byte(compiled.plan)
    scalars = tg.compile(tg.value_and_grad(lambda x, y: x * y + x**2, (0, 1)))
    scalars(2.0, -3.0)
    assert_byte_for_byte(scalars.plan)


@pytest.mark.slow
@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one.name)
def test_the_estimate_is_what_the_benchmarks_take(workload):
    workload = workload._replace(shape=(2, *workload.shape[1:]))
    compiled = tg.compile(training_step(tg.nn, tg.optim, our_model(workload), workload))
    compiled(*data(workload))
    assert_byte_for_byte(compiled.plan)


X = np.linspace(0.1, 1.0, 1000)
KB = X.nbytes
PROGRAMS = {
    # name -> (function, bytes held at most)
    "a chain lies in one place": (lambda x: np.exp(np.sin(np.tanh(x))), KB),
    "one place more for what is read again": (lambda x: np.exp(y := np.sin(x)) * y, 2 * KB),
    "no operand that a view is read of": (lambda x: (y := np.sin(x)) + y[::-1], 2 * KB),
    "no place of another dtype": (lambda x: np.sin(x) > 0.5, KB + X.size),
    "sums do not lie where their terms do": (lambda x: np.cumsum(np.sin(x)), 2 * KB),
    "an output stays": (lambda x: (y := np.sin(x), np.exp(y)), 2 * KB),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_results_lie_where_an_operand_lay_that_nothing_reads_again(name):
    function, most = PROGRAMS[name]
    compiled = tg.compile(function, passes=())
    for found, expected in zip(np.atleast_2d(compiled(X)), np.atleast_2d(function(X)), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-14)
    assert max(compiled.plan.memory.held()) == most
    assert_byte_for_byte(compiled.plan)


def test_an_update_is_written_where_its_state_lives_unless_the_old_value_is_read_later_or_leaves():
    kept, moved, given, number = (
        tg.tensor(value, requires_grad=True) for value in (X.copy(), X.copy(), X.copy(), 1.0)
    )

    def step(x):
        with tg.no_grad():
            old = given * 2
            write(kept, kept + x)
            write(moved, given)
            write(given, x * 3)
            write(number, number + 1)
            return (old * x).sum(), moved * 1

    compiled = tg.compile(step, passes=())
    compiled(X)
    memory = compiled.plan.memory
    assert [leaf is kept._leaf for leaf in memory.states.values()] == [True]
    assert_byte_for_byte(compiled.plan)
    np.testing.assert_array_equal(kept.detach().numpy(), 2 * X)
    np.testing.assert_array_equal(moved.detach().numpy(), X)
    np.testing.assert_array_equal(given.detach().numpy(), 3 * X)
    assert number.item() == 2


UPDATES = {
    # name -> (new values of two states p and q from x and p, how many of them are written where the states live)
    "a view is written into its state": (lambda x, p, q: ((np.sin(x) * p)[::-1], q), 0),
    "one value for two states": (lambda x, p, q: ((y := np.sin(x) * p * q), y), 1),
    "a sum that reads its own state": (lambda x, p, q: (np.sum(np.exp(ops.stack(x, x)) * p, axis=0), q), 0),
    "a value for each": (lambda x, p, q: (np.sin(x) * p, np.cos(x) * q), 2),
}


@pytest.mark.parametrize("name", UPDATES)
def test_which_updates_are_written_where_their_states_live(name):
    function, in_place = UPDATES[name]
    eager, twins = ([tg.tensor(X + i, requires_grad=True) for i in range(2)] for _ in range(2))

    def step(states, x):
        with tg.no_grad():
            for state, new in zip(states, function(x, *states), strict=True):
                if new is not state:
                    write(state, new)

    compiled = tg.compile(lambda x: step(twins, x))
    for call in range(2):
        step(eager, X * (call + 1))
        compiled(X * (call + 1))
        for one, other in zip(twins, eager, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), rtol=1e-13)
    plan, writes = compiled.plan, 1 if function(X, *eager)[1] is eager[1] else 2
    assert len(plan.memory.states) == len(plan.written) == in_place
    assert len(plan.updates) == writes - in_place
    for number, leaf in plan.written:
        assert any(np.shares_memory(out, leaf.value) for out in plan.steps[number].outputs)
    assert_byte_for_byte(compiled.plan)


GRADIENTS = {
    # name -> (a loss of two parameters, how many of their gradients are made in the arrays that `.grad` holds)
    "a gradient for each": (lambda x, p, q: (np.sin(x) * p * q).sum(), 2),
    "one gradient for two": (lambda x, p, q: (np.sin(x) * (p + q)).sum(), 1),
    "gradients that are parts of one array": (
        lambda x, p, q: (np.sin(np.sin(ops.concatenate(x, x, axis=0)) * ops.concatenate(p, q, axis=0))).sum(),
        0,
    ),
    "one of two becomes a state as well": (lambda x, p, q: (np.sin(x) * p * q).sum(), 1),
}


@pytest.mark.parametrize("name", GRADIENTS)
def test_which_gradients_are_made_where_they_are_kept(name):
    loss, lent = GRADIENTS[name]
    moves = "state" in name
    eager, twins = ([tg.tensor(X + i, requires_grad=True) for i in range(2)] for _ in range(2))

    def step(states, x):
        for one in states:
            one.grad = None
        loss(x, *states).backward()
        if moves:
            with tg.no_grad():
                write(states[1], states[0].grad)

    compiled = tg.compile(lambda x: step(twins, x))
    for call in range(2):
        step(eager, X * (call + 1))
        compiled(X * (call + 1))
        held = [one.grad.numpy() for one in twins if one.grad is not None] + [one.numpy() for one in twins]
        right = [one.grad.numpy() for one in eager if one.grad is not None] + [one.numpy() for one in eager]
        for one, other in zip(held, right, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-12)
        assert not any(np.shares_memory(a, b) for a, b in itertools.combinations(held, 2))
    assert len(compiled.plan.memory.lent) == lent
    made = [gradient for _, gradient in compiled.plan.gradients if gradient is not None]
    assert sum(gradient.source is None for gradient in made) == lent  # the others are copied
    assert_byte_for_byte(compiled.plan)


def test_an_update_of_another_type_is_made_beside_its_state():
    """Programs write none; a graph that is put together by hand may."""
    state = tg.tensor(X, requires_grad=True)
    for change, in_place in ((lambda y: y.astype("float32"), False), (lambda y: y * 2, True)):
        read = tg.capture(lambda x, change=change: (np.sum(state * x), change(np.sin(x))), X)
        graph = Graph(read.inputs, read.outputs[:1], updates=[(state._leaf, read.outputs[1])])
        assert bool(Memory(graph).states) is in_place


def test_each_of_two_results_of_a_loop_takes_another_operands_place():
    def function(x):
        one, other = np.cumsum(x), np.cumprod(x)
        return (total := one + other), total * one

    compiled = tg.compile(function)
    for found, expected in zip(compiled(X), function(X), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-13)
    assert max(compiled.plan.memory.held()) == 2 * KB
    assert_byte_for_byte(compiled.plan)


def test_a_sum_does_not_lie_where_what_its_loop_reads_again_lies():
    def function(x):
        factors = np.cumsum(x)
        return np.sum(np.exp(ops.stack(x, -x)) * factors, axis=0)

    compiled = tg.compile(function)
    np.testing.assert_allclose(compiled(X), function(X), rtol=1e-13)
    assert compiled.plan.memory.held()[-1] == 4 * KB  # the pair, the factors and the sum
    assert_byte_for_byte(compiled.plan)


def test_a_budget_that_is_met_is_what_the_plan_takes_or_less():
    def loss(x):
        for _ in range(30):
            x = np.tanh(x)
        return x.sum()

    compiled = tg.compile(tg.value_and_grad(loss), passes=(schedule, recompute(20 * KB)))
    compiled(X)
    assert max(compiled.plan.memory.held()) <= 20 * KB
    assert_byte_for_byte(compiled.plan)


# -- views -------------------------------------------------------------------------------------------------------------


def test_ops_that_make_views_never_see_memory_that_nothing_was_written_to(monkeypatch):
    """Fresh memory is NaN here; what shape ops read while plans are made is zeros, or the program's own values."""
    fresh = np.empty

    def poisoned(*args, **kwargs):
        array = fresh(*args, **kwargs)
        if array.dtype.kind == "f":
            array.fill(np.nan)
        elif array.dtype == np.uint8:  # of an arena: NaN as float64
            array.fill(255)
        return array

    seen = []

    @op(kind="shape", declare=False)
    def every_other(x):
        seen.append(np.array(x))
        return x[::2]

    @every_other.view
    def every_other_put(value, x):
        return ops.index_set(x, value, pattern=(("slice", None, None, 2),))

    state = tg.tensor(X, requires_grad=True)
    monkeypatch.setattr(np, "empty", poisoned)
    graph = tg.capture(lambda x: every_other(np.sin(x)) + every_other(state) + every_other(x), X)
    (found,) = build_plan(graph)([X])
    np.testing.assert_allclose(found, (np.sin(X) + 2 * X)[::2])
    assert len(seen) >= 6
    assert all(np.isfinite(one).all() for one in seen)


def test_an_op_that_declares_no_view_is_not_tried():
    calls = []

    @op(kind="shape", declare=False)
    def doubled(x):
        calls.append(None)
        return np.concatenate([x, x])

    graph = tg.capture(lambda x: doubled(np.sin(x)), X)
    before = len(calls)
    assert max(Memory(graph).alive()) == 3 * KB
    assert len(calls) == before


# -- plans -------------------------------------------------------------------------------------------------------------


def test_a_plan_does_not_change():
    compiled = tg.compile(np.sin)
    compiled(X)
    with pytest.raises(dataclasses.FrozenInstanceError):
        compiled.plan.steps = ()
    assert isinstance(compiled.plan.steps, tuple)


QUESTIONS = {
    # name -> (function, inputs, op, how often each of its nodes is asked)
    "once where values lie in rows": (lambda x: ops.softmax(x, axis=-1), ((2, 3, 4),), "softmax", 1),
    "once without images": (lambda x: ops.softmax(x, axis=-1), ((3, 4),), "softmax", 1),
    "once for a layout, once to bind": (
        lambda x, k: ops.convolution(x, k, padding=1), ((2, 16, 8, 8), (16, 16, 3, 3)), "convolution", 2,
    ),
    "in a row of two": (
        lambda x, k: ops.convolution(np.sin(ops.convolution(x, k, padding=1)), k),
        ((2, 16, 8, 8), (16, 16, 3, 3)), "convolution", 2,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", QUESTIONS)
def test_how_often_a_lower_rule_is_asked(name, monkeypatch):
    if not kernels.available():
        pytest.skip("layouts are asked for by generated kernels")
    function, shapes, op_name, times = QUESTIONS[name]
    asked = []
    rule = getattr(ops, op_name).lowering

    def lowering(types, layouts, cpu, **settings):
        asked.append(types)
        return rule(types, layouts, cpu, **settings)

    monkeypatch.setattr(getattr(ops, op_name), "lowering", lowering)
    compiled = tg.compile(function)
    compiled(*(np.ones(shape, np.float32) for shape in shapes))
    captured = compiled.stages[0].graph  # in plans a node may be one with the loop behind it
    nodes = [node for node in captured.nodes if node.op is not None and node.op.name == op_name]
    assert len(nodes) >= 1
    assert len(asked) == times * len(nodes)


def test_large_inputs_are_read_and_results_written_where_they_are():
    """Nothing is copied, the plan's own arrays come back, and what cannot be so is copied as before."""
    pytest.importorskip("llvmlite")
    rng = np.random.default_rng(0)
    x, y = (rng.standard_normal(20_000) for _ in range(2))
    compiled = tg.compile(lambda a, b: (np.exp(-a * a) * b, b + 1))

    def right(a, b):
        for found, wanted in zip(compiled(a, b), (np.exp(-a * a) * b, b + 1), strict=True):
            np.testing.assert_allclose(found, wanted, rtol=1e-12)
        return compiled(a, b)

    first, second = right(x, y), right(y, y)
    plan = compiled.plan
    assert set(plan.inputs_elsewhere) == {0, 1}
    assert set(plan.outputs_elsewhere) == {0, 1}
    assert not any(np.shares_memory(a, b) for a in first for b in (*second, x, y))
    assert not any(np.shares_memory(plan.arena, a) for a in first)
    for pointers in (*plan.inputs_elsewhere.values(), *plan.outputs_elsewhere.values()):
        assert all(block[place] == own for block, place, own, _ in pointers)
    wide = rng.standard_normal(40_000)
    right(wide[::2], wide[1::2])  # not contiguous
    right(x[::-1], np.frombuffer(b"\0" + y.tobytes(), np.uint8)[1:].view(np.float64))  # not aligned
    x.flags.writeable = False
    right(x, y)
    compiled.profile(x, y, repeats=1)
    right(x, y)


def test_a_result_in_the_memory_of_an_input_is_a_copy():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((100, 100))
    compiled = tg.compile(lambda a: (a, a.T, a + 1, a[3:]))
    out = compiled(x)
    assert not any(np.shares_memory(x, one) for one in out)
    out[2][...] = 0
    np.testing.assert_array_equal(compiled(x)[1], x.T)
    weight = tg.tensor(x, requires_grad=True)

    @tg.compile
    def step(given):
        with tg.no_grad():
            weight[...] = weight * 2
        return given + 1

    np.testing.assert_array_equal(
        np.asarray(step(weight.detach()).numpy()), x + 1
    )  # lies in what the step writes


def test_a_state_in_a_read_only_array_is_replaced_and_never_written():
    data = np.arange(6.0).reshape(2, 3)
    data.flags.writeable = False
    state = tg.Tensor(data)
    step = tg.compile(lambda x: state.__iadd__(x))
    for count in (1, 2, 3):
        step(np.ones((2, 3)))
        np.testing.assert_array_equal(state.numpy(), np.arange(6.0).reshape(2, 3) + count)
    np.testing.assert_array_equal(data, np.arange(6.0).reshape(2, 3))
