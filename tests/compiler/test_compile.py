"""Compiled functions: the same results and effects as eager ones, step by step from equal state."""

import threading

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.analysis.arena import Lifetime, place
from tinygraph.core.trees import flatten
from tinygraph.errors import CaptureError, DTypeError, InPlaceError, OpError, RecordingError

rng = np.random.default_rng(0)
X = rng.normal(size=(8, 1, 8, 8)).astype(np.float32)
LABELS = rng.integers(0, 3, size=8)


def perceptron():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 3))


def convolutional():
    return nn.Sequential(
        nn.Conv2d(
            1, 4, 3, padding=1, bias=False
        ),  # its gradient would be rounding noise, which Adam amplifies
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.25),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


def training_step(model, optimizer):
    loss_of = nn.CrossEntropyLoss()

    def step(x, labels):
        optimizer.zero_grad()
        loss = loss_of(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss

    return step


def twins(build, make_optimizer):
    pair = []
    for _ in range(2):
        tg.manual_seed(0)
        model = (
            build().double()
        )  # sums in another order are other numbers in single precision, which training amplifies
        pair.append((model, make_optimizer(model.parameters())))
    return pair


@pytest.mark.parametrize("build", [perceptron, convolutional])
@pytest.mark.parametrize(
    "make_optimizer",
    [
        lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=1e-3),
        lambda parameters: optim.Adam(parameters, lr=1e-2),
        lambda parameters: optim.AdamW(parameters, lr=1e-2),
        lambda parameters: optim.RMSprop(parameters, lr=1e-3),
    ],
    ids=["sgd", "adam", "adamw", "rmsprop"],
)
def test_twenty_compiled_steps_equal_eager_ones(build, make_optimizer):
    (eager_model, eager_optimizer), (model, optimizer) = twins(build, make_optimizer)
    eager, compiled = training_step(eager_model, eager_optimizer), tg.compile(training_step(model, optimizer))
    for step in range(20):
        tg.manual_seed(step)
        expected = eager(X, LABELS)
        tg.manual_seed(step)
        found = compiled(X, LABELS)
        np.testing.assert_allclose(found.item(), expected.item(), rtol=1e-5)
    for one, other in zip(eager_model.parameters(), model.parameters(), strict=True):
        np.testing.assert_allclose(other.numpy(), one.numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(other.grad.numpy(), one.grad.numpy(), rtol=1e-3, atol=1e-6)
    for name, value in eager_model.state_dict().items():
        np.testing.assert_allclose(model.state_dict()[name], value, rtol=1e-4, atol=1e-6)
    assert compiled.explain_recapture().count("\n") == 0, compiled.explain_recapture()


def test_a_pure_function_takes_and_returns_arrays():
    function = tg.compile(lambda x, y: {"sum": np.sum(x * y, axis=0), "both": (x, x.reshape(-1) + 1)})
    x, y = rng.normal(size=(2, 3, 4))
    found = function(x, y)
    np.testing.assert_allclose(found["sum"], (x * y).sum(0))
    np.testing.assert_allclose(found["both"][1], x.reshape(-1) + 1)
    assert isinstance(found["sum"], np.ndarray)


def test_results_stay_as_they_are_after_the_next_call():
    double = tg.compile(lambda x: x * 2)
    first = double(np.ones(3))
    double(np.zeros(3))
    np.testing.assert_array_equal(first, 2)


def test_python_numbers_are_inputs_not_constants():
    scaled = tg.compile(lambda x, a: x * a + a * 2)
    x = np.ones(3, np.float32)
    for a in (0.1, 0.2, 7):
        found = scaled(x, float(a))
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, x * np.float32(a) + np.float32(2 * a), rtol=1e-6)
    assert scaled.explain_recapture().count("capture") == 1


def test_new_types_capture_again_and_say_so():
    function = tg.compile(lambda x: x + 1)
    function(np.ones(3))
    function(np.ones(3, np.float32))
    assert "float32[3]" in function.explain_recapture().splitlines()[1]


def test_a_learning_rate_schedule_is_followed():
    (_, _), (model, optimizer) = twins(perceptron, lambda parameters: optim.SGD(parameters, lr=1.0))
    step = tg.compile(training_step(model, optimizer))
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.0)
    step(X, LABELS)
    before = model.state_dict()["1.weight"].copy()
    scheduler.step()  # the learning rate is now zero
    step(X, LABELS)
    np.testing.assert_array_equal(model.state_dict()["1.weight"], before)


def test_evaluation_mode_captures_again():
    model = convolutional()
    forward = tg.compile(lambda x: model(x))
    forward(X)
    model.eval()
    np.testing.assert_allclose(forward(X).numpy(), model(X).detach().numpy(), rtol=1e-4, atol=1e-5)


def test_python_control_flow_on_values_raises_at_the_users_line():
    def absolute(x):
        if x.sum() > 0:
            return x
        return -x

    with pytest.raises(CaptureError, match=r"test_compile\.py:\d+.*tg\.ops\.where"):
        tg.compile(absolute)(np.ones(3))


def test_an_argument_that_requires_a_gradient_gets_it():
    x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)
    (tg.compile(lambda x: x * x)(x) * np.array([1.0, 10.0, 100.0])).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2.0, 40.0, 600.0])


def test_a_step_that_fails_changes_no_state():
    weight = tg.tensor(np.ones((3, 2)), requires_grad=True, name="weight")
    optimizer = optim.SGD([weight], lr=0.1)

    def step(index):
        optimizer.zero_grad()
        loss = weight[index].sum()
        loss.backward()
        optimizer.step()
        return loss

    compiled = tg.compile(step)
    compiled(np.array([0, 1]))
    before = weight.numpy().copy()
    with pytest.raises(OpError, match=r"index at test_compile\.py:\d+.*No parameter or state was changed"):
        compiled(np.array([0, 7]))
    np.testing.assert_array_equal(weight.numpy(), before)


def test_a_step_that_fails_behind_an_update_names_what_was_updated():
    p = tg.tensor(np.ones(40), requires_grad=True, name="p")
    q = tg.tensor(np.ones(40), requires_grad=True, name="q")

    def step(index):
        with tg.no_grad():
            p.__imul__(2.0)
            q.__iadd__(p[index])

    compiled = tg.compile(step)
    compiled(np.zeros(40, int))
    version = p.node.version
    with pytest.raises(OpError, match="Already updated: tensor 'p'; no other parameter or state was changed"):
        compiled(np.full(40, 99))
    assert p.numpy()[0] == 4.0
    assert p.node.version == version + 1
    assert q.numpy()[0] == 3.0


def test_threads_take_turns():
    total = tg.compile(lambda x: (x * 2).sum())
    total(np.zeros(1000))
    found = []

    def work(value):
        found.extend((total(np.full(1000, value)), 2000 * value) for _ in range(50))

    threads = [threading.Thread(target=work, args=(float(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 200
    assert all(result == expected for result, expected in found)


def test_plan_and_profile_are_readable():
    function = tg.compile(lambda x: np.exp(x).sum())
    x = np.ones((4, 4))
    function(x)
    assert "exp" in str(function.plan)
    assert "%" in str(function.profile(x))
    assert function.stages[0].name == "captured"
    function.release()
    with pytest.raises(RecordingError, match="not been called"):
        _ = function.plan


def test_values_alive_at_the_same_time_share_no_memory():
    lifetimes = [
        Lifetime(int(size), int(start), int(start + length))
        for size, start, length in rng.integers(1, 500, size=(60, 3)) % [400, 20, 6]
    ]
    offsets, total = place(lifetimes)
    for i, one in enumerate(lifetimes):
        assert offsets[i] + one.nbytes <= total
        for k, other in enumerate(lifetimes[:i]):
            if one.start <= other.end and other.start <= one.end:
                apart = offsets[i] + one.nbytes <= offsets[k] or offsets[k] + other.nbytes <= offsets[i]
                assert apart or not one.nbytes or not other.nbytes


# -- what a step does beyond the usual: the same as eager, call by call ------------------------------------------------


def agree(make_step, calls=4, between=None):
    """Run a step eagerly and compiled, on models with equal weights, and compare everything after each call."""
    (eager_model, eager_step, eager_optimizer), (model, step, optimizer) = (
        make_step(model, optimizer)
        for model, optimizer in twins(perceptron, lambda parameters: optim.SGD(parameters, lr=0.1))
    )
    compiled = tg.compile(step)
    for call in range(calls):
        if between is not None:
            between(call, eager_model, eager_optimizer)
            between(call, model, optimizer)
        expected, found = eager_step(X, LABELS), compiled(X, LABELS)
        if expected is not None:
            np.testing.assert_allclose(found.item(), expected.item(), rtol=1e-5)
        for one, other in zip(eager_model.parameters(), model.parameters(), strict=True):
            np.testing.assert_allclose(other.numpy(), one.numpy(), rtol=1e-4, atol=1e-6)
            assert (one.grad is None) == (other.grad is None)
            if one.grad is not None:
                np.testing.assert_allclose(other.grad.numpy(), one.grad.numpy(), rtol=1e-4, atol=1e-6)
    return compiled


def loss_of(model, x, labels):
    return tg.ops.cross_entropy(model(x), labels)


def accumulating(model, optimizer):
    def step(x, labels):
        loss = loss_of(model, x, labels)
        loss.backward()
        return loss

    return model, step, optimizer


def test_gradients_accumulate_over_calls():
    compiled = agree(accumulating, calls=5)
    assert compiled.explain_recapture().count("\n") == 1  # without gradients to add to, then with them


def test_gradients_accumulate_between_eager_updates():
    def between(call, model, optimizer):
        if call % 2 == 0:
            optimizer.step()
            optimizer.zero_grad()

    compiled = agree(accumulating, calls=8, between=between)
    assert compiled.explain_recapture().count("\n") == 1, "captures for both cases are kept"


def test_gradients_that_an_eager_call_left_are_added_to():
    def between(call, model, optimizer):
        loss_of(model, X, LABELS).backward()

    agree(accumulating, between=between)


def test_what_is_written_to_a_gradient_between_calls_is_not_in_the_next_one():
    w = tg.tensor([1.0, 2.0, 3.0], requires_grad=True)

    @tg.compile
    def step(x):
        w.grad = None
        (w * w * x).sum().backward()

    for _ in range(3):  # from the second call on the tensor in .grad is the same
        step(np.array([1.0, 2.0, 3.0]))
        assert w.grad.tolist() == [2.0, 8.0, 18.0]
        w.grad *= 10.0
        w.grad[0] = 5.0
        assert w.grad.tolist() == [5.0, 80.0, 180.0]


def test_a_step_may_return_nothing():
    def make(model, optimizer):
        return model, lambda x, labels: loss_of(model, x, labels).backward(), optimizer

    agree(make)


def test_two_updates_in_one_call():
    def make(model, optimizer):
        def step(x, labels):
            for _ in range(2):
                optimizer.zero_grad()
                loss_of(model, x, labels).backward()
                optimizer.step()
            return loss_of(model, x, labels)  # after the update

        return model, step, optimizer

    agree(make)


def test_updates_written_by_hand():
    def make(model, optimizer):
        def step(x, labels):
            model.zero_grad()
            loss = loss_of(model, x, labels)
            loss.backward()
            norm = sum((p.grad**2).sum() for p in model.parameters()) ** 0.5
            with tg.no_grad():
                for p in model.parameters():
                    p -= optimizer.param_groups[0]["lr"] * p.grad / (1 + norm)
            return loss

        return model, step, optimizer

    agree(make, between=lambda call, model, optimizer: optimizer.param_groups[0].update(lr=0.1 * call))


def usual(model, optimizer):
    return model, training_step(model, optimizer), optimizer


def test_states_exchanged_in_one_call():
    p, q = tg.tensor([1.0, 2.0], requires_grad=True), tg.tensor([3.0, 4.0], requires_grad=True)

    @tg.compile
    def exchange():
        with tg.no_grad():
            before, after = p.detach() * 1.0, q.detach() * 1.0
            p[...] = after
            q[...] = before[::-1]

    for expected in (([3.0, 4.0], [2.0, 1.0]), ([2.0, 1.0], [4.0, 3.0]), ([4.0, 3.0], [1.0, 2.0])):
        exchange()
        assert (p.numpy().tolist(), q.numpy().tolist()) == expected


def test_a_state_among_the_results_is_as_the_program_leaves_it():
    p, total = tg.tensor([1.0, 2.0], requires_grad=True), tg.core.state.buffer([0.0, 0.0])

    @tg.compile
    def step(x):
        old = p.detach() * 1.0
        with tg.no_grad():
            p.__iadd__(x)
            total.__iadd__(p.detach())
        return p, total, old, p[::-1]

    for call in range(1, 4):
        found = [one.tolist() for one in step(np.ones(2))]
        assert found[0] == p.tolist() == [1.0 + call, 2.0 + call]
        assert found[1] == total.tolist()
        assert found[2:] == [[call, 1.0 + call], [2.0 + call, 1.0 + call]]
    assert total.tolist() == [9.0, 12.0]
    assert step.explain_recapture().count("\n") == 0, (
        "what the program itself writes is no reason to capture again"
    )


def reverse_onto_itself(p, x):
    p += p[::-1] * 2
    return p * 1.0


def update_after_an_update(p, x):
    old = p * 1.0
    p *= x
    p += old[::-1]
    return old


def keep_the_old_value(p, x):
    old = p * 1.0
    p += x
    return old, p - old


@pytest.mark.parametrize("program", [reverse_onto_itself, update_after_an_update, keep_the_old_value])
def test_updates_where_states_live_wait_for_who_reads_the_old_value(program):
    x, found = np.array([1.5, -2.0, 0.5] * 8), []
    for compiled in (False, True):
        p = tg.tensor(np.linspace(0.1, 0.9, 24), requires_grad=True)

        def step(x, p=p):
            with tg.no_grad():
                return program(p, x)

        run = tg.compile(step) if compiled else step
        results = [run(x) for _ in range(3)]
        found.append([np.asarray(one.numpy()) for one in flatten((results, p))[0]])
    for one, expected in zip(*found, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-12)


def test_freezing_parameters_is_noticed():
    agree(usual, 6, lambda call, model, optimizer: model[1].requires_grad_(call not in (2, 3)))


@pytest.mark.parametrize("name", ["weight_decay", "momentum", "nesterov", "lr"])
def test_changed_optimizer_settings_are_noticed(name):
    def make(model, optimizer):
        optimizer.param_groups[0].update(momentum=0.5)
        return usual(model, optimizer)

    changed = {"weight_decay": 0.3, "momentum": 0.0, "nesterov": True, "lr": 0.01}[name]
    compiled = agree(
        make,
        5,
        lambda call, model, optimizer: optimizer.param_groups[0].update({name: changed} if call > 1 else {}),
    )
    assert compiled.explain_recapture().count("\n") == (name != "lr")


def test_a_loaded_optimizer_state_is_noticed():
    states = {}

    def between(call, model, optimizer):
        if call == 1:
            states[id(optimizer)] = optimizer.state_dict()
        if call == 3:
            optimizer.load_state_dict(states[id(optimizer)])

    def make(model, optimizer):
        optimizer.param_groups[0].update(momentum=0.9)
        return usual(model, optimizer)

    agree(make, 6, between)


def test_a_schedule_inside_a_compiled_step_is_refused():
    model = perceptron()
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    scheduler = optim.lr_scheduler.StepLR(optimizer, 1)
    with pytest.raises(CaptureError, match="after the compiled function"):
        tg.compile(lambda x: (model(x), scheduler.step()))(X)


def test_variables_that_a_function_closes_over():
    factor, added = 2.0, tg.tensor([1.0])

    def function(x):
        return x * factor + added * 3

    compiled = tg.compile(function)
    assert compiled(np.ones(1)).tolist() == [5]
    factor = 3.0
    assert compiled(np.ones(1)).tolist() == [6]
    added[0] = 2.0
    assert compiled(np.ones(1)).tolist() == [9]
    added = tg.tensor([0.0])
    assert compiled(np.ones(1)).tolist() == [3]
    assert "'factor'" in compiled.explain_recapture()


@pytest.mark.parametrize("ask", [tg.Tensor.item, float, bool, tg.Tensor.numpy, tg.Tensor.tolist])
def test_python_code_that_asks_for_the_value_of_a_state_is_refused(ask):
    weight, scale = tg.tensor(2.0, requires_grad=True), tg.core.state.buffer(2.0)
    for state in (weight, scale):
        with pytest.raises(CaptureError, match=r"test_compile\.py:\d+: this tensor is state"):
            tg.compile(lambda x, state=state: x * ask(state))(np.ones(2))


def test_plain_data_in_the_memory_of_a_state_that_is_written_is_refused():
    p = tg.tensor([1.0, 2.0], requires_grad=True)
    shared, copied = p.detach(), p.detach().copy()

    def step(x, old):
        with tg.no_grad():
            p.__iadd__(x)
        return old * 2

    with pytest.raises(CaptureError, match=r"shares its memory with .* call \.detach\(\) inside"):
        tg.compile(lambda x: step(x, shared))(np.ones(2))
    compiled = tg.compile(lambda x: step(x, copied))
    assert [compiled(np.ones(2)).tolist() for _ in range(2)] == [[2, 4], [2, 4]]
    assert p.tolist() == [3, 4]


def test_python_numbers_made_of_a_tensor_are_watched():
    factor = tg.tensor(2.0)
    compiled = tg.compile(lambda x: x * float(factor))
    assert compiled(np.ones(1)).tolist() == [2]
    factor *= 2
    assert compiled(np.ones(1)).tolist() == [4]


def test_a_plain_tensor_that_a_program_writes_is_state():
    total = tg.tensor([0.0])

    def function(x):
        nonlocal total
        inside = tg.tensor([0.0])
        inside += x  # made here: starts anew in each call
        total += x
        return total + inside

    compiled = tg.compile(function)
    assert [compiled(np.ones(1)).tolist() for _ in range(3)] == [[2], [3], [4]]
    assert total.tolist() == [3]


def test_writing_an_argument_is_refused():
    def function(x):
        x += 1
        return x

    with pytest.raises(InPlaceError, match=r"y = x.copy\(\)"):
        tg.compile(function)(np.ones(2))


def test_a_tensor_computed_before_is_refused_in_a_graph():
    before = tg.tensor([1.0], requires_grad=True) * 2
    with pytest.raises(CaptureError, match="computed before this capture"):
        tg.capture(lambda x: x + before, np.ones(1))


def test_a_tensor_computed_before_carries_gradients():
    w = tg.tensor([1.0, 2.0], requires_grad=True)
    held = {"h": w * w}
    c = tg.compile(lambda x: (x * held["h"]).sum() + held["h"][0])
    loss = c(np.array([3.0, 5.0]))
    assert loss.item() == 24
    loss.backward()
    assert w.grad.tolist() == [8, 20]  # 4 w0 · 2, 5 · 2 w1
    with tg.no_grad():
        assert c(np.array([3.0, 5.0])).requires_grad is False
    held["h"] = w * 3  # another tensor
    loss = c(np.array([3.0, 5.0]))
    assert loss.item() == 3 * 3 + 30 + 3
    w.grad = None
    loss.backward()
    assert w.grad.tolist() == [12, 15]
    held["h"] += 1  # the same, written in place
    assert c(np.array([3.0, 5.0])).item() == 3 * 4 + 5 * 7 + 4
    assert c.profile(np.array([3.0, 5.0]), repeats=1)
    held["h"] = tg.tensor([1.0, 1.0])
    assert c(np.array([3.0, 5.0])).requires_grad is False


def test_a_tensor_computed_before_belongs_to_the_transform_around():
    def f(w):
        h, ones = np.exp(w), np.ones(2)
        inside = tg.compile(lambda x: (x * h**2).sum())
        itself = tg.compile(lambda x: (h, tg.map(lambda v: v * h.sum(), x)))
        return inside(ones) + itself(ones)[0].sum() + itself(ones)[1].sum()

    w = np.array([0.0, 1.0])
    right = 2 * np.exp(2 * w) + np.exp(w) + 2 * np.exp(w)
    np.testing.assert_allclose(tg.grad(f)(w), right, rtol=1e-14)
    np.testing.assert_allclose(tg.hessian(f)(w), np.diag(4 * np.exp(2 * w) + 3 * np.exp(w)), rtol=1e-14)
    np.testing.assert_allclose(tg.compile(tg.grad(f))(w), right, rtol=1e-14)


def test_a_backward_pass_inside_does_not_reach_what_was_computed_before():
    before = tg.tensor([1.0], requires_grad=True) * 2

    def step(x):
        (x * before).sum().backward()
        return x

    with pytest.raises(RecordingError, match="a computed tensor that is closed over by"):
        tg.compile(step)(np.ones(1))


def test_a_tensor_that_another_capture_left_behind_is_refused():
    kept = []
    tg.compile(lambda x: kept.append(x * 2) or x)(np.ones(1))
    with pytest.raises(CaptureError, match="left behind"):
        tg.compile(lambda x: x + kept[0])(np.ones(1))


def test_keyword_arguments_methods_and_results_that_are_no_arrays():
    class Scale:
        def __init__(self, factor):
            self.factor = tg.tensor(factor)

        @tg.compile
        def __call__(self, x, *, plus=0.0):
            return {"value": x * self.factor + plus, "name": "scaled", "size": 3, "nothing": None}

    one, other = Scale(2.0), Scale(5.0)
    assert one(np.ones(1))["value"].tolist() == [2]
    assert other(np.ones(1))["value"].tolist() == [5]
    found = one(np.ones(1), plus=1.0)
    assert found["value"].tolist() == [3]
    assert (found["name"], found["size"], found["nothing"]) == ("scaled", 3, None)


def test_a_module_without_parameters_returns_tensors():
    assert isinstance(tg.compile(nn.ReLU())(X), tg.Tensor)


def test_arguments_whose_contents_may_change_unnoticed_are_refused():
    with pytest.raises(DTypeError, match="frozenset"):
        tg.compile(lambda x, options: x * len(options))(np.ones(1), {"a"})
    assert tg.compile(lambda x, options: x * len(options))(np.ones(1), frozenset("ab")) == 2


def test_means_of_half_precision_are_summed_in_single():
    x = np.full((70_000, 2), 10, np.float16)  # whose sum is too large for half
    for settings in ({}, {"axis": 0}, {"axis": 0, "keepdims": True}):
        found = tg.compile(lambda x, settings=settings: np.mean(x, **settings))(x)
        assert found.dtype == np.float16
        np.testing.assert_array_equal(found, np.mean(x, **settings))


def test_arrays_of_foreign_byte_order():
    x = np.array([1.0, 2.0], np.dtype("f8").newbyteorder())
    assert tg.compile(lambda x: np.exp(x * 2) - x)(x).tolist() == (np.exp(x * 2) - x).tolist()
