"""Compiled functions: the same results and effects as eager ones, step by step from equal state."""

import threading

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.compile.memory import Lifetime, place
from tinygraph.errors import CaptureError, OpError, RecordingError

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
        model = build()
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


def test_an_argument_that_requires_a_gradient_is_refused():
    with pytest.raises(RecordingError, match="inside the function"):
        tg.compile(lambda x: x * 2)(tg.tensor(1.0, requires_grad=True))


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
    assert "%" in function.profile(x)
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
