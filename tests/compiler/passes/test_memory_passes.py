"""Memory: what counts as alive, and the passes that order and repeat nodes so that less is. Results never change."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.analysis.memory import Memory, alive_bytes, peak_bytes
from tinygraph.compiler.compiled import COMPILE_PASSES
from tinygraph.compiler.passes import run_passes, verify
from tinygraph.compiler.passes.merge_duplicates import merge_duplicates
from tinygraph.compiler.passes.recompute import LARGE, recompute, recompute_cheap
from tinygraph.compiler.passes.schedule import schedule
from tinygraph.core.node import Leaf
from tinygraph.core.state import write
from tinygraph.errors import SettingError, TinygraphWarning

ops = tg.ops
N = 1000
X = np.random.default_rng(0).normal(size=N)
ORTHOGONAL = np.linalg.qr(np.random.default_rng(0).normal(size=(30, 30)))[
    0
]  # its powers neither grow nor shrink
KB = 8 * N  # bytes of one value of X's size


@pytest.fixture
def one_thread():
    """Each thread has scratch memory of its own in the arena, which no budget counts."""
    before = tg.get_threads()
    tg.set_threads(1)
    yield
    tg.set_threads(before)


def ops_of(graph):
    return [node for node in graph.nodes if not isinstance(node, Leaf)]


def names_of(graph):
    return [node.op.name for node in ops_of(graph)]


def same_results(before, after, *inputs):
    """Both graphs are evaluated; every number must be the same, bit for bit."""
    verify(after)
    expected, found = before(*inputs), after(*inputs)
    several = isinstance(expected, tuple | list)
    for one, other in zip(expected if several else [expected], found if several else [found], strict=True):
        np.testing.assert_array_equal(other, one)
        assert np.asarray(other).dtype == np.asarray(one).dtype


def random_function(seed):
    """A random composition of ops, some of them views and reductions, on arrays of N numbers."""
    rng = np.random.default_rng(seed)
    unary = [
        np.sin,
        np.tanh,
        np.exp,
        lambda a: a[::-1],
        lambda a: a.reshape(2, -1).T.reshape(-1),
        lambda a: a - a.mean(),
    ]
    unary += [
        lambda a: ops.matmul(a.reshape(10, -1), a.reshape(-1, 10)).sum() * a,
        lambda a: a.reshape(2, -1)[0].sum() + a,
    ]
    binary = [np.add, np.multiply, np.maximum]
    plan = [(rng.random() < 0.6, rng.integers(8), rng.integers(3), rng.random(2)) for _ in range(14)]

    def function(x):
        values = [x, x * 0.5]
        for single, i, k, picks in plan:
            a, b = (values[int(pick * len(values))] for pick in picks)
            values.append(np.tanh(unary[i](a) if single else binary[k](a, b)))
        return values[-1].sum() + values[-3].sum()

    return function


def random_graph(seed):
    return run_passes(tg.capture(random_function(seed), X).gradient("x"))[-1].graph


def orphans(graph):
    """How many backward nodes serve a forward node that is not in the graph: passes may have removed it."""
    nodes = set(map(id, graph.nodes))
    return sum(node.phase == "backward" and id(node.forward_node) not in nodes for node in graph.nodes)


# -- what is alive -----------------------------------------------------------------------------------------------------


def test_a_value_lives_from_its_node_to_its_last_reader():
    graph = tg.capture(lambda x: np.exp(np.sin(x)) + np.cos(x), X)
    assert names_of(graph) == ["sin", "exp", "cos", "add"]
    assert list(alive_bytes(graph).values()) == [KB, 2 * KB, 2 * KB, 3 * KB]
    assert peak_bytes(graph) == 3 * KB


def test_views_and_leaves_take_no_memory_but_views_keep_their_operand():
    graph = tg.capture(lambda x: np.sin(x).reshape(2, -1).T * np.cos(x).sum() + x.reshape(-1, 2), X)
    found = dict(zip(names_of(graph), alive_bytes(graph).values(), strict=True))
    assert found["reshape"] == KB  # of the input: only the product is alive
    assert found["transpose"] == KB
    assert found["cos"] == 2 * KB  # sin is alive, through its view


def test_a_reshape_that_must_copy_takes_memory():
    graph = tg.capture(lambda x: x.reshape(2, -1).T.reshape(-1), X)
    assert list(alive_bytes(graph).values()) == [0, 0, KB]


@pytest.mark.parametrize("seed", range(10))
def test_alive_bytes_against_the_definition(seed):
    """A value is alive at a node if it is made there or before, and read there or later, or an output."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, 1000, size=(15, 2))

    def function(x):
        values = [np.sin(x)]
        for a, b in chosen:
            values.append(values[a % len(values)] * values[b % len(values)])
        return values[-1], values[3]

    graph = tg.capture(function, X)
    nodes = ops_of(graph)
    for i, node in enumerate(nodes):
        alive = [
            one
            for k, one in enumerate(nodes)
            if k <= i and (k == i or one in graph.outputs or any(one in later.inputs for later in nodes[i:]))
        ]
        assert alive_bytes(graph)[id(node)] == KB * len(alive)


# -- scheduling --------------------------------------------------------------------------------------------------------

# name -> (function, peak before and after in values of X's size)
SCHEDULES = {
    "sums run as soon as they can": (
        lambda x: sum(one.sum() for one in [np.exp(x * i) for i in range(2, 8)]),
        7,
        2,
    ),
    "values are made when they are needed": (
        lambda x: _chain_with_late_extras(x),
        5,
        3,
    ),
    "through views": (
        lambda x: sum(one.sum() for one in [np.exp(x * i).reshape(2, -1).T for i in range(2, 8)]),
        7,
        2,
    ),
}


def _chain_with_late_extras(x):
    extras = [np.sin(x), np.cos(x), np.tanh(x)]
    y = x
    for _ in range(5):
        y = np.exp(y * 0.1)
    for extra in extras:
        y = y * extra
    return y


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_lowers_the_peak(name):
    function, before, after = SCHEDULES[name]
    graph = tg.capture(function, X)
    found = schedule(graph)
    same_results(graph, found, X)
    assert [round(peak_bytes(one) / KB) for one in (graph, found)] == [before, after]
    assert sorted(names_of(found)) == sorted(names_of(graph))
    assert schedule(found) is found


def test_schedule_keeps_the_recorded_order_where_no_other_needs_less():
    graph = tg.capture(lambda x: np.exp(np.sin(x)) + np.cos(x), X)
    assert schedule(graph) is graph
    numbers = tg.capture(lambda x: sum([x * i for i in range(20)]), 1.0)
    assert schedule(numbers) is numbers


def test_schedule_moves_nothing_where_the_peak_stays():
    """Summed up one by one, the last two values would need less, but the peak is elsewhere."""

    def function(x):
        a, b, c, d = np.sin(x), np.cos(x), np.tanh(x), np.exp(x)
        y = a * b * c * d * a * b * c * d  # all four are there, with the product before and after
        first, second = np.exp(y), np.sin(y)
        return first.sum() + second.sum()

    graph = tg.capture(function, X)
    assert peak_bytes(graph) == 6 * KB
    found = schedule(graph)
    assert names_of(found)[-5:] == ["exp", "sin", "sum", "sum", "add"]
    assert found is graph


def test_a_backward_node_comes_after_its_forward_node():
    """Squares are not read by their gradient: made last of all, they would take least memory."""

    def function(x):
        y, z = np.square(x), x
        for _ in range(4):
            z = np.sin(z)
        return np.sum(y) + np.sum(z), y

    graph = tg.capture(lambda x: tg.grad(function, has_aux=True)(x), X)
    found = schedule(graph)
    same_results(graph, found, X)
    assert [peak_bytes(one) // KB for one in (graph, found)] == [5, 4]
    assert names_of(found)[-4:] == ["square", "multiply", "multiply", "add"]
    position = {id(node): i for i, node in enumerate(found.nodes)}
    serving = [node for node in found.nodes if id(node.forward_node) in position]
    assert (
        len(serving) == 9
    )  # three sines and the square; nothing reads the last sine itself, so it is not there
    assert all(position[id(node.forward_node)] < position[id(node)] for node in serving)


def test_random_draws_keep_their_order():
    generator = tg.Generator(0)

    def function(x):
        kept = generator.uniform((N,))  # not needed until the end: drawn late, it would take no memory
        extra = np.cos(x)
        y = generator.uniform((N,)) * x
        for _ in range(4):
            y = np.exp(y * 0.1)
        return (y * kept * extra).sum()

    graph = tg.capture(function, X)
    found = schedule(graph)
    assert peak_bytes(found) < peak_bytes(graph)
    state, results = generator.state, []
    for one in (graph, found):
        generator.state = state
        results.append(one(X))
    assert results[0] == results[1]


def test_an_update_waits_for_all_that_reads_the_old_value():
    state = tg.tensor(X, requires_grad=True)

    def step(x):
        kept = np.exp(x)  # waits for the update
        sums = [np.sin(state * i).sum() for i in range(2, 6)]
        write(state, state - kept)
        return sum(sums) + np.cos(np.sin(x)).sum()

    with tg.no_grad():
        compiled = tg.compile(step, passes=(schedule,))
        found = compiled(X)
        recorded, scheduled = (stage.graph for stage in compiled.stages)
        for graph in (recorded, scheduled):
            live = Memory(graph)
            ((written, home),) = live.in_place.items()
            assert max(live.readers[home]) <= live.maker[written]
        np.testing.assert_array_equal(state.numpy(), X - np.exp(X))
        state = tg.tensor(X, requires_grad=True)
        np.testing.assert_allclose(found, step(X), rtol=1e-12)


@pytest.mark.parametrize(
    ("step", "in_place"),
    [
        (lambda p: (p * 2.0, np.sum(np.sin(p))), False),  # the old value is read after that
        (lambda p: (lambda read: (p * 2.0, read))(np.sum(np.sin(p))), True),
        (lambda p: (np.cumsum(p), 0.0), False),  # its op reads the old value elsewhere
        (lambda p: (np.cumsum(p) * 2.0, 0.0), True),
        (lambda p: (lambda new: (new, np.cumsum(p * 3.0)))(p * 2.0), False),  # a node further on
    ],
)
def test_an_update_is_in_place_if_no_later_node_reads_the_old_value(step, in_place):
    state = tg.tensor(X.ravel(), requires_grad=True)

    def program():
        new, found = step(state)
        write(state, new)
        return found

    with tg.no_grad():
        live = Memory(tg.capture(program))
    assert bool(live.in_place) is in_place


def test_updates_come_after_all_that_reads_the_old_value():
    model = nn.Sequential(nn.Linear(50, 50), nn.Tanh(), nn.Linear(50, 50))
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    def step(x):
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    compiled = tg.compile(step, passes=(*COMPILE_PASSES, recompute(2_000)))
    with pytest.warns(TinygraphWarning):
        compiled(np.ones((30, 50), np.float32))
    for stage in compiled.stages[-2:]:
        live = Memory(stage.graph)
        assert len(live.in_place) >= 12  # four parameters, two moments each
        for written, home in live.in_place.items():
            assert max(live.readers[home], default=-1) <= live.maker[written]


@pytest.mark.parametrize("seed", range(15))
def test_schedule_on_random_graphs(seed):
    graph = random_graph(seed)
    shuffled = tg.compile(random_function(seed), passes=(schedule,))
    found = schedule(graph)
    same_results(graph, found, X)
    assert peak_bytes(found) <= peak_bytes(graph)
    assert schedule(found) is found
    np.testing.assert_allclose(shuffled(X), random_function(seed)(X), rtol=1e-12, atol=1e-10)
    assert orphans(found) == orphans(graph)


# -- computing again ---------------------------------------------------------------------------------------------------


def chain(length, function=np.tanh):
    def loss(x):
        for _ in range(length):
            x = function(x)
        return np.sum(x)

    return tg.capture(loss, X).gradient("x")


def squares(length):
    def loss(x):
        for _ in range(length):
            x = ops.matmul(x, x)
        return np.sum(x)

    return tg.capture(loss, ORTHOGONAL).gradient("x")


def test_elementwise_values_are_computed_again():
    graph = chain(30)
    found = recompute(20 * KB)(graph)
    same_results(graph, found, X)
    assert peak_bytes(graph) > 30 * KB
    assert peak_bytes(found) <= 20 * KB
    again = [
        node
        for node in found.nodes
        if node.phase == "backward" and node.kind != "parameter" and node.op.name == "tanh"
    ]
    assert 10 < len(again) < 20
    assert all(node.forward_node.op.name == "tanh" for node in again)


def test_a_chain_of_any_length_needs_about_its_square_root():
    for length in (100, 400):
        graph = chain(length)
        budget = int(3 * np.sqrt(length)) * KB
        found = recompute(budget)(graph)
        same_results(graph, found, X)
        assert peak_bytes(found) <= budget
        assert len(found.nodes) < len(graph.nodes) + 2 * length


def scaled_chain(x, length, function):
    """Sums of scaled values, each scale made of a value that its own derivative needs anyway."""
    for i in range(length):
        x = function(x) * (0.5 + i)
        x = ops.relu(x + 0.1) * x
    return np.sum(x)


def test_large_values_that_cost_next_to_nothing_are_computed_again_by_default():
    x = np.random.default_rng(0).normal(size=LARGE // 8)
    graph = tg.capture(lambda x: scaled_chain(x, 6, np.tanh), x).gradient("x")
    found = recompute_cheap(graph)
    same_results(graph, found, x)
    assert peak_bytes(found) < 0.8 * peak_bytes(graph)
    again = names_of(found)
    assert again.count("tanh") == names_of(graph).count("tanh")
    assert len(again) > len(names_of(graph))
    twice = recompute_cheap(found)
    same_results(found, twice, x)
    assert peak_bytes(twice) <= peak_bytes(found)


def test_small_values_and_dear_ones_are_kept():
    small = tg.capture(lambda x: scaled_chain(x, 6, np.tanh), X).gradient("x")
    assert recompute_cheap(small) is small
    dear = tg.capture(lambda x: np.sum(np.exp(np.exp(np.exp(x)))), np.ones(LARGE // 8)).gradient("x")
    assert recompute_cheap(dear) is dear


def test_a_normalized_net_takes_less_memory_and_the_same_steps():
    rng = np.random.default_rng(0)
    images, labels = rng.normal(size=(8, 3, 32, 32)).astype(np.float32), rng.integers(0, 3, size=8)
    arenas, losses = [], []
    for passes in (COMPILE_PASSES[:-1], COMPILE_PASSES):
        tg.manual_seed(0)
        layers = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
        for _ in range(4):
            layers += [nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU()]
        model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3))
        optimizer, loss_of = optim.SGD(model.parameters(), lr=0.01), nn.CrossEntropyLoss()

        def step(x, y, model=model, optimizer=optimizer, loss_of=loss_of):
            optimizer.zero_grad()
            loss = loss_of(model(x), y)
            loss.backward()
            optimizer.step()
            return loss

        compiled = tg.compile(step, passes=passes)
        losses.append([compiled(images, labels).item() for _ in range(3)])
        arenas.append(compiled.plan.arena_bytes)
    assert losses[0] == losses[1]
    assert arenas[1] < 0.8 * arenas[0]


def test_products_are_computed_again_only_where_cheap_ops_do_not_suffice():
    def loss(x):
        for i in range(6):
            x = np.sin(ops.matmul(x, np.full((50, 50), 0.01 * (i + 1))))
            for _ in range(3):
                x = np.tanh(x)
        return np.sum(x)

    x = np.ones((20, 50))
    graph = tg.capture(loss, x).gradient("x")
    before, peak = names_of(graph).count("matmul"), peak_bytes(graph)
    for percent, products in ((60, False), (35, True)):  # the first takes several rounds
        found = recompute(peak * percent // 100)(graph)
        same_results(graph, found, x)
        assert peak_bytes(found) <= peak * percent // 100
        assert (names_of(found).count("matmul") > before) is products


def test_products_are_computed_again_in_segments_where_nothing_else_suffices():
    graph = squares(36)
    found = recompute(peak_bytes(graph) // 3)(graph)
    same_results(graph, found, ORTHOGONAL)
    assert peak_bytes(found) <= peak_bytes(graph) // 3
    assert names_of(found).count("matmul") > names_of(graph).count("matmul")


def test_random_draws_are_kept():
    def loss(x):
        for _ in range(12):
            x = ops.dropout(np.tanh(x), p=0.5)
        return np.sum(x)

    graph = tg.capture(loss, X).gradient("x")
    with pytest.warns(TinygraphWarning, match="cannot be met"):
        found = recompute(KB)(graph)
    draws = [[node.op.kind for node in ops_of(one)].count("random") for one in (graph, found)]
    assert draws[0] == draws[1] > 0
    assert peak_bytes(found) < peak_bytes(graph)
    results = []
    for one in (graph, found):
        tg.manual_seed(5)
        results.append(one(X))
    for expected, value in zip(*results, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_a_budget_that_is_met_changes_nothing_and_nothing_more_is_done_twice():
    graph = chain(30)
    assert recompute(peak_bytes(graph))(graph) is graph
    found = recompute(20 * KB)(graph)
    assert recompute(20 * KB)(found) is found


def test_merging_duplicates_afterwards_undoes_it_so_it_runs_last():
    graph = chain(30)
    found = recompute(20 * KB)(graph)
    assert peak_bytes(merge_duplicates(found)) == peak_bytes(graph)
    compiled = tg.compile(tg.grad(random_function(0)), memory_budget=10 * KB)
    compiled(X)
    assert [stage.name for stage in compiled.stages][-1] == "recompute"


def test_a_budget_that_cannot_be_met_says_what_holds_the_memory():
    graph = chain(30)
    with pytest.warns(
        TinygraphWarning, match=r"8,000 bytes cannot be met: [\d,]+ bytes .* of tanh at test_memory"
    ) as caught:
        found = recompute(KB)(graph)
    assert f"{peak_bytes(found):,} bytes of intermediate values" in str(caught[0].message)
    same_results(graph, found, X)
    assert peak_bytes(found) < peak_bytes(graph) / 2


def test_what_leaves_the_graph_is_not_computed_again():
    """It is there in any case. Between the exponentials that leave, whole segments are computed again."""

    def function(x):
        left = []
        for i in range(16):
            x = ops.matmul(x, x)
            if i in (5, 6, 7):
                x = np.exp(x - 3.4)  # about 1 / 30: the products neither grow nor shrink
                left.append(x)
        return np.sum(x), tuple(left)

    graph = tg.capture(lambda x: tg.grad(function, has_aux=True)(x), ORTHOGONAL)
    found = recompute(8 * ORTHOGONAL.nbytes)(graph)
    same_results(graph, found, ORTHOGONAL)
    assert peak_bytes(found) == 8 * ORTHOGONAL.nbytes < peak_bytes(graph)
    assert names_of(graph).count("exp") == names_of(found).count("exp") == 3
    assert names_of(found).count("matmul") > names_of(graph).count("matmul")


def test_nothing_is_computed_again_where_the_peak_stays():
    """A negative is read late and could be made again for that, but most is alive before it."""
    x = np.ones(LARGE // 8)

    def function(x):
        a, b, c, d = np.sin(x), np.cos(x), np.tanh(x), np.exp(x)
        peak = np.sum(a * b * c * d * a * b * c * d)
        kept = np.negative(x)
        late = np.sin(kept)
        for _ in range(3):
            late = np.sin(late)
        return peak + np.sum(late * kept)

    graph = tg.capture(function, x)
    assert peak_bytes(graph) == 6 * LARGE
    found = recompute_cheap(graph)
    assert names_of(found).count("negative") == 1
    assert found is graph


@pytest.mark.parametrize("budget", [0, -1, 1.5, "64 MB", True])
def test_a_budget_is_a_positive_integer(budget):
    with pytest.raises(SettingError, match="positive number of bytes"):
        tg.compile(np.sin, memory_budget=budget)


@pytest.mark.filterwarnings("ignore::tinygraph.errors.TinygraphWarning")
@pytest.mark.parametrize(
    "seed", [*(pytest.param(i, marks=[pytest.mark.slow] if i % 3 else []) for i in range(15)), 135]
)
def test_recompute_on_random_graphs(seed):
    graph = random_graph(seed)
    for share in (0.8, 0.5, 0.1):
        found = recompute(int(peak_bytes(graph) * share))(graph)
        same_results(graph, found, X)
        assert peak_bytes(found) <= peak_bytes(graph)
        assert orphans(found) == orphans(graph)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::tinygraph.errors.TinygraphWarning")
@pytest.mark.parametrize("block", range(10))
def test_hundreds_of_random_graphs(block):
    for seed in range(100 + 30 * block, 130 + 30 * block):
        test_schedule_on_random_graphs(seed)
        test_recompute_on_random_graphs(seed)


# -- whole training steps ----------------------------------------------------------------------------------------------


def perceptron():
    layers = [layer for _ in range(20) for layer in (nn.Linear(64, 64), nn.GELU())]
    return nn.Sequential(*layers, nn.Linear(64, 10)), (256, 64)


def convolutional():
    layers = [
        layer
        for _ in range(8)
        for layer in (nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU())
    ]
    first, last = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(2048, 10)
    return nn.Sequential(first, *layers, nn.Flatten(), nn.Dropout(0.1), last), (4, 3, 16, 16)


def trained(build, budget):
    """A compiled step after three steps from the same start: losses, parameters, gradients, and the plan's arena."""
    tg.manual_seed(0)
    model, shape = build()
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    loss_of = nn.CrossEntropyLoss()

    def step(x, labels):
        optimizer.zero_grad()
        loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    compiled = tg.compile(step, memory_budget=budget, accuracy="exact")  # Winograd takes scratch memory
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=shape).astype(np.float32), rng.integers(0, 10, shape[0])
    losses = [compiled(x, labels).numpy() for _ in range(3)]
    for stage in compiled.stages[-2:]:
        verify(stage.graph)
    values = [one.numpy().copy() for p in model.parameters() for one in (p, p.grad)]
    values += [buffer.numpy().copy() for buffer in model.buffers()]
    return [*losses, *values], compiled.plan.arena_bytes, peak_bytes(compiled.stages[-1].graph)


@pytest.mark.parametrize(("build", "factor"), [(perceptron, 4), (convolutional, 2.5)])
def test_a_training_step_within_a_budget(build, factor, one_thread):
    expected, arena, peak = trained(build, None)
    budget = int(peak / factor)
    found, smaller_arena, smaller = trained(build, budget)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(other, one)
    assert smaller <= budget
    assert smaller_arena < arena / factor * 1.25


def test_a_large_constant_gradient_leaves_nothing_to_compute_again():
    """The graph of a linear loss' gradient is a number of the machine's own, and no node."""
    weight = np.arange(float(LARGE)).reshape(4, -1)
    found = tg.compile(tg.grad(lambda x: np.sum(x * weight)))(np.ones(weight.shape))
    np.testing.assert_array_equal(found, weight)
