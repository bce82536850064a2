"""Memory is given back: plans and machine code within a number of bytes, gradients without reference cycles."""

import gc
import os
import tracemalloc
import weakref

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import SettingError
from tinygraph.kernels.recent import Recent

MIB = 2**20


def T(value):
    return tg.tensor(np.asarray(value, float), requires_grad=True)


@pytest.fixture
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def tracing():
    tracemalloc.start()
    yield
    tracemalloc.stop()


# -- the container -------------------------------------------------------------------------------------------------


def test_the_least_recently_used_goes_first():
    recent = Recent(300)
    for key in "abc":
        recent.put(key, np.zeros(100, np.uint8))
    recent.get("a")
    assert [len(one) for one in recent.put("d", np.zeros(100, np.uint8))] == [100]
    assert list(recent) == ["c", "a", "d"]
    assert recent.nbytes == 300


def test_the_latest_is_kept_whatever_it_takes():
    recent = Recent(10)
    recent.put("a", np.zeros(100))
    recent.put("b", np.zeros(1000))
    assert list(recent) == ["b"]


def test_steady_values_stay_within_the_limit_and_are_seldom_added_up():
    asked = []

    class Value:
        @property
        def nbytes(self):
            asked.append(self)
            return 100

    few, many = Recent(1000, steady=True), Recent(10**6, steady=True)
    for key in range(30):
        few.put(key, Value())
        assert few.nbytes == 100 * min(key + 1, 10)
    assert list(few) == list(range(20, 30))
    few.limit = 300
    few.put(30, Value())
    assert list(few) == [28, 29, 30]
    asked.clear()
    for key in range(1000):
        many.put(key, Value())
    assert len(asked) < 3000


@pytest.mark.parametrize("limit", [-1, 1.5, True, "1 GiB"])
def test_a_limit_is_a_number_of_bytes(limit):
    with pytest.raises(SettingError, match="number of bytes"):
        tg.compile(np.sin, plan_bytes=limit)


# -- plans ---------------------------------------------------------------------------------------------------------


def test_a_loop_over_150_lengths_stays_within_its_bound(tracing):
    function = tg.compile(lambda x: np.cumsum(x * 2), plan_bytes=MIB)
    for n in range(1, 151):
        x = np.arange(10_000 + n)
        np.testing.assert_array_equal(function(x), np.cumsum(x * 2))
        assert function.nbytes <= MIB
        if n == 50:
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
    assert "plan(s)" in repr(function)
    assert 1 <= len(function._entries) <= 12
    gc.collect()
    assert tracemalloc.get_traced_memory()[0] < before + MIB // 2
    assert function.explain_recapture().count("capture") == 150


def test_the_bound_is_for_all_kinds_of_arguments_together_and_the_used_ones_stay():
    function = tg.compile(lambda x, how: x + len(how), plan_bytes=1 * MIB)
    usual = np.arange(1000)
    for k in range(30):
        function(usual, "usual")
        function(np.arange(2000 + k, dtype=(np.int64, np.int32)[k % 2]), "x" * k)
    assert function.explain_recapture().count("capture") == 31  # the usual one never again


def test_what_plans_take_is_counted_right(tracing):
    """Thirty layers alike share their machine code; a count of it per step would be six times too much."""
    layer = nn.Linear(8, 8)

    def forward(x):
        for _ in range(30):
            x = np.tanh(layer(x))
        return x

    function = tg.compile(forward)
    for n in range(1, 26):
        function(np.ones((n, 8), np.float32))
        if n == 5:
            gc.collect()
            before, counted = tracemalloc.get_traced_memory()[0], function.nbytes
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    assert grown / 2 < function.nbytes - counted < 2 * grown


def test_plans_of_gradients_count():
    x = T(np.ones(50_000))
    function = tg.compile(lambda x: (x * x * x).sum())
    out = function(x)
    before = function.nbytes
    out.backward()
    assert function.nbytes >= before + 50_000 * 8


def test_released_plans_of_recorded_calls_give_their_memory_back_without_the_collector(tracing, no_collector):
    w = T(np.ones(10**5))
    function = tg.compile(lambda x: (np.cumsum(x * w) * w).sum())
    x = np.ones(10**5)
    function(x).backward()
    w.grad = None
    held = tracemalloc.get_traced_memory()[0]
    function.release()
    assert tracemalloc.get_traced_memory()[0] < held - 3 * x.nbytes
    assert function.nbytes == 0


def test_a_result_that_was_recorded_before_a_release_still_has_its_gradient():
    x = T([1.0, 2.0])
    function = tg.compile(lambda x: (x * x).sum())
    out = function(x)
    function.release()
    out.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 4.0])


def test_machine_code_that_no_plan_uses_is_given_back():
    pytest.importorskip("llvmlite")
    from tinygraph.kernels.machine_code import kernels, release_unused

    gc.collect()  # what other tests left behind
    release_unused()
    kept = len(kernels)
    function = tg.compile(lambda x: np.exp(x) * 3.25 + 1.75)
    function(np.ones((7, 3)))
    assert len(kernels) == kept + 1
    code = weakref.ref(kernels.get(list(kernels)[-1]).code)
    function.release()
    assert len(kernels) == kept
    assert code() is None


def test_machine_code_stays_within_its_bound():
    pytest.importorskip("llvmlite")
    from tinygraph.kernels.machine_code import kernels

    limit = kernels.limit
    try:
        kernels.limit = 200_000
        for n in range(2, 8):
            np.testing.assert_allclose(tg.compile(lambda x: np.exp(x) + 2.0)(np.zeros((n, 5))), 3.0)
        assert kernels.nbytes <= 200_000
    finally:
        kernels.limit = limit


@pytest.mark.slow
def test_memory_of_the_process_over_150_lengths_of_a_training_step():
    pytest.importorskip("llvmlite")
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("the memory of a process is read from /proc")

    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * 4096

    model = nn.Sequential(nn.Linear(16, 16), nn.GELU(), nn.Linear(16, 1))
    optimizer = tg.optim.Adam(model.parameters())

    @tg.compile
    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    rng = np.random.default_rng(0)
    step(rng.normal(size=(1, 16)).astype(np.float32))
    before = resident()
    rounds = []
    for _ in range(2):
        for n in range(2, 152):
            step(rng.normal(size=(n, 16)).astype(np.float32))
        rounds.append(resident() - before)
        step.release()
        gc.collect()
    assert rounds[0] < 128 * MIB
    assert rounds[1] < rounds[0] + 16 * MIB  # what was released is used again
    assert step.nbytes == 0


# -- gradients that are recorded -----------------------------------------------------------------------------------


def test_create_graph_leaves_no_cycle(no_collector):
    x = T(np.ones(100))
    y = (x**3).sum()
    y.backward(create_graph=True)
    value, gradient = weakref.ref(x._leaf.value), weakref.ref(x.grad)
    (x.grad * x.grad).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 39.0)  # 3 + 36
    del x, y
    assert value() is None
    assert gradient() is None


@pytest.mark.parametrize("wrap", [tg.compile, lambda function: function], ids=["compiled", "eager"])
def test_create_graph_through_a_module_leaves_no_cycle(wrap, no_collector):
    layer = nn.Linear(3, 1)
    call = wrap(lambda x, layer=layer: (layer(x) ** 2).sum())
    call(np.ones((2, 3), np.float32)).backward(create_graph=True)
    gradient = weakref.ref(layer.weight.grad)
    layer.zero_grad()
    assert gradient() is None
    call(np.ones((2, 3), np.float32)).backward()
    assert layer.weight.grad.requires_grad is False


def test_a_recorded_gradient_lives_as_long_as_its_leaf():
    x = T([2.0])
    (x**2).sum().backward(create_graph=True)
    gc.collect()
    assert x.grad.requires_grad
    first = x.grad
    (x**2).sum().backward()
    np.testing.assert_array_equal(first.detach().numpy(), [4.0])
    np.testing.assert_array_equal(x.grad.detach().numpy(), [8.0])
    x.grad = None
    assert x.grad is None


def test_batches_of_images_share_the_memory_of_their_halo():
    """Inputs with a border of zeros lie one over the other for all batch sizes, and the border stays zero."""
    kernel = np.arange(9.0, dtype=np.float32).reshape(1, 1, 3, 3)
    function = tg.compile(lambda x: tg.ops.convolution(x, kernel, padding=1))
    inputs = {}
    for n in (3, 7, 2, 7, 3, 1, 40):
        x = np.full((n, 1, 5, 6), float(n), np.float32)
        found = function(x)
        inputs[n] = function.plan.inputs[0]
        # a corner sees four pixels: weights 4, 5, 7 and 8; an edge six more
        assert found[0, 0, 0, 0] == 24 * n
        assert found[n - 1, 0, 4, 5] == (0 + 1 + 3 + 4) * n
        assert (found[:, 0, 1:-1, 1:-1] == 36 * n).all()
    assert np.shares_memory(inputs[7], inputs[2])
    assert np.shares_memory(inputs[7], inputs[1])


def test_what_passes_made_on_the_way_is_kept_of_the_latest_version_and_made_again():
    function = tg.compile(lambda x: np.exp(x * 1.0) + np.exp(x * 1.0))
    function(np.zeros(3))
    first, version = function.stages, function._latest
    names = [stage.name for stage in first]
    counts = [len(stage.graph.nodes) for stage in first]
    function(np.zeros(4))
    assert len(version.stages) == 2
    function(np.zeros(3))
    assert [stage.name for stage in function.stages] == names
    assert [len(stage.graph.nodes) for stage in function.stages] == counts
    assert function.stages[-1].graph is function.plan.graph
