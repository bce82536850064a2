"""What `analysis/memory.py` says of a graph's memory is what plans take, byte for byte, with kernels and without."""

import dataclasses
import itertools

import numpy as np
import pytest

import tinygraph as tg
from tests.compiler.test_models import MODELS, Training, example
from tinygraph import kernels
from tinygraph.analysis.arena import ALIGNMENT, SMALL
from tinygraph.analysis.memory import Memory
from tinygraph.cli.bench.candidates import data, our_model, training_step
from tinygraph.cli.bench.workloads import WORKLOADS
from tinygraph.compiler.building import build_plan
from tinygraph.compiler.passes.recompute import recompute
from tinygraph.compiler.passes.schedule import schedule
from tinygraph.core.node import is_recorded, key_of
from tinygraph.core.op import op
from tinygraph.core.state import write

ops = tg.ops


def blocks_of(plan):
    """Where each value begins in the arena and how many bytes it takes there, halos included, from its array."""
    begin = plan.arena.__array_interface__["data"][0]
    found = {}
    for key, array in plan.arrays.items():
        layout = plan.layouts.get(key)
        if layout is not None and array.base is not None and array.size:
            array = layout.around(array)
        low, high = np.lib.array_utils.byte_bounds(array) if array.size else (0, 0)
        if begin <= low < begin + plan.arena.nbytes:
            found[key] = low, high
    return found


def held_in(plan):
    """Bytes of the arena that hold what is still read, while each node runs, from addresses, steps and edges alone."""
    nodes = [node for node in plan.graph.nodes if node.op is not None]
    computed = {id(node) for step in plan.steps for node in step.nodes}
    owner, made, last = {}, {}, {}
    for i, node in enumerate(nodes):
        read = [owner.get(key_of(entry), key_of(entry)) for entry in node.inputs if is_recorded(entry)]
        last |= dict.fromkeys(read, i)
        for key in [(id(node), k) for k in range(len(node.output_types))]:
            owner[key] = key if id(node) in computed else read[0]
            if owner[key] == key:
                made[key] = last[key] = i
    last |= {owner.get(key_of(end), key_of(end)): len(nodes) for end in plan.graph.ends if is_recorded(end)}
    blocks = blocks_of(plan)
    held = []
    for i in range(len(nodes)):
        alive = [key for key in made if key in blocks and made[key] <= i <= last[key]]
        places = sorted({blocks[key] for key in alive})
        assert all(one[1] <= two[0] for one, two in itertools.pairwise(places))
        # two values lie in one place only while the one is made of the other, which nothing else reads
        still_read = [blocks[key] for key in alive if last[key] > i]
        assert len(still_read) == len(set(still_read))
        held.append(sum(stop - start for start, stop in places))
    return held


def aligned(number, to=ALIGNMENT):
    return -(-number // to) * to


def assert_byte_for_byte(plan):
    memory = plan.memory
    assert memory.held() == held_in(plan)
    assert all(held <= alive for held, alive in zip(memory.held(), memory.alive(), strict=True))
    assert len(plan.elsewhere) == len(memory.states) + len(memory.lent)
    assert {id(leaf.value) for leaf in memory.states.values()} <= set(map(id, plan.elsewhere))
    # what is allocated is what the analysis says: halos, scratch of kernels, rounding and gaps
    arena = memory.arena(plan.scratch)
    assert (
        plan.arena.nbytes - 2 * ALIGNMENT == plan.arena_bytes == arena.nbytes >= max(memory.held(), default=0)
    )
    start = aligned(plan.arena.__array_interface__["data"][0])
    ends = [(stop - start, stop - first) for first, stop in blocks_of(plan).values()]
    scratch = zip(plan.scratch, arena.offsets[len(memory.lifetimes) :], strict=True)
    ends += [(offset + one.nbytes, one.nbytes) for one, offset in scratch]
    tops = [aligned(end, ALIGNMENT if nbytes > SMALL else 16) for end, nbytes in ends]
    assert max(tops, default=0) == arena.nbytes
    if not kernels.available():  # no layouts: what passes see of a graph is what its plan takes
        assert Memory(plan.graph).held() == memory.held()


@pytest.mark.parametrize("generated", [True, False], ids=["kernels", "NumPy only"])
@pytest.mark.parametrize("build", MODELS, ids=lambda build: build.__name__)
def test_the_estimate_is_what_a_training_step_takes(build, generated, monkeypatch):
    if not generated:
        monkeypatch.setattr(kernels, "available", lambda: False)
    elif not kernels.available():
        pytest.skip("kernels cannot be generated here")
    training = Training(build, "adamw", "float32")
    compiled = tg.compile(training.step)
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

    def lowering(types, layouts, target, **settings):
        asked.append(types)
        return rule(types, layouts, target, **settings)

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
