"""Compiled functions given what they cannot take, tensors that escape a capture, and steps that fail midway."""

import threading
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.errors import (
    CaptureError,
    DTypeError,
    OpError,
    RecordingError,
    SettingError,
    ShapeError,
    StaleValueError,
)
from tinygraph.plugin import op

ops = tg.ops


# -- arguments -----------------------------------------------------------------------------------------------------


def test_other_shapes_and_dtypes_are_captured_anew_or_refused_in_words():
    weight = tg.tensor(np.ones((3, 2)), requires_grad=True, name="weight")
    product = tg.compile(lambda x: x @ weight)
    assert product(np.ones((4, 3))).shape == (4, 2)
    assert product(np.ones((5, 3), np.float32)).dtype == np.float64
    with pytest.raises(ShapeError, match=r"(?s)matmul.*x: float64\[4,2\].*y: float64\[3,2\].*'weight'"):
        product(np.ones((4, 2)))
    with pytest.raises(DTypeError, match="dtype <U1 cannot be computed with"):
        product(np.array(["a"]))
    with pytest.raises(TypeError, match="positional argument"):
        product()
    # what was refused left nothing behind
    np.testing.assert_array_equal(product(np.ones((4, 3))).numpy(), np.full((4, 2), 3.0))
    reasons = product.explain_recapture().splitlines()
    assert "float32[5,3]" in reasons[1]


def test_a_call_that_is_refused_changes_no_state():
    model = nn.Linear(3, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)

    @tg.compile
    def step(x):
        optimizer.zero_grad()
        loss = model(x).sum()
        loss.backward()
        optimizer.step()
        return loss

    step(np.ones((2, 3), np.float32))
    before = model.state_dict()
    with pytest.raises(ShapeError):
        step(np.ones((2, 4), np.float32))
    for name, value in before.items():
        np.testing.assert_array_equal(model.state_dict()[name], value)


# -- tensors that escape -------------------------------------------------------------------------------------------


class Keeper:
    """Something that a captured function writes to."""


LEFT = {}


def escaped():
    """Tensors that a compiled function left in a list, an attribute, a dict, a global, a closure and another's grad."""
    kept, keeper, closed = [], Keeper(), None

    def function(x):
        nonlocal closed
        kept.append(x * 2)
        keeper.last = np.sin(x)
        LEFT["global"] = x + 1
        closed = x - 1
        keeper.nested = {"deep": [(x / 2,)]}
        return x

    tg.compile(function)(np.ones(2))
    return {
        "multiply": kept[0],
        "sin": keeper.last,
        "add": LEFT["global"],
        "subtract": closed,
        "divide": keeper.nested["deep"][0][0],
    }


USES = {
    "an op": lambda x: x + 1,
    "a comparison": lambda x: x == 1,
    "a NumPy function": np.cos,
    "a NumPy array": lambda x: np.ones(2) * x,
    "an index": lambda x: x[0],
    "a loop": list,
    "numpy()": lambda x: x.numpy(),
    "item()": lambda x: x.item(),
    "np.asarray": np.asarray,
    "a branch": lambda x: 1 if x else 0,
    "detach": lambda x: x.detach(),
    "backward": lambda x: x.backward(),
    "another capture": lambda x: tg.capture(lambda y: y + x, np.ones(2)),
    "another compiled function": lambda x: tg.compile(lambda y: y + x)(np.ones(2)),
    "a state": lambda x: tg.core.state.write(tg.tensor([0.0, 0.0], requires_grad=True), x),
    "a gradient": lambda x: setattr(tg.tensor([0.0, 0.0], requires_grad=True), "grad", x),
    "a new tensor": tg.tensor,
}


@pytest.mark.parametrize("use", USES)
def test_what_a_capture_left_behind_is_named_wherever_it_is_used(use):
    for made, tensor in escaped().items():
        with pytest.raises(
            CaptureError, match=rf"left behind as the result of {made} at test_bad_input\.py:\d+"
        ):
            USES[use](tensor)
        assert "captured" in repr(tensor)


def test_a_module_that_keeps_its_last_result():
    class Remembering(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)
            self.last = None

        def forward(self, x):
            if self.last is not None:
                x = x + self.last
            self.last = self.linear(x)
            return self.last

    model = Remembering()
    compiled = tg.compile(model)
    compiled(np.ones((1, 2), np.float32))
    with pytest.raises(
        CaptureError, match=r"left behind as the result of add at .*linear\.py:\d+|result of \w+ at"
    ):
        model(np.ones((1, 2), np.float32))


# -- values that change between calls ------------------------------------------------------------------------------


def test_tensors_changed_between_calls_are_seen():
    plain, weight = tg.tensor([1.0, 2.0]), tg.tensor([3.0, 4.0], requires_grad=True)
    compiled = tg.compile(lambda x: x * plain + weight)
    x = np.ones(2)
    assert compiled(x).tolist() == [4, 6]
    with tg.no_grad():
        weight += 1.0  # a state: read anew in each call
    assert compiled(x).tolist() == [5, 7]
    assert compiled.explain_recapture().count("\n") == 0
    plain[0] = 10.0  # plain data: a constant of the graph, captured again
    assert compiled(x).tolist() == [14, 7]
    assert "written" in compiled.explain_recapture()


def test_a_compiled_update_makes_older_eager_graphs_stale():
    weight = tg.tensor([2.0], requires_grad=True, name="weight")
    optimizer = optim.SGD([weight], lr=0.1)
    eager = (weight * weight).sum()

    @tg.compile
    def step():
        optimizer.zero_grad()
        loss = (weight * weight).sum()
        loss.backward()
        optimizer.step()
        return loss

    step()
    with pytest.raises(StaleValueError, match=r"'weight'.*changed.*test_bad_input\.py"):
        eager.backward()


# -- steps that fail -----------------------------------------------------------------------------------------------


@pytest.fixture
def fuse():
    """An op that fails when told to, and the switch that tells it."""
    switch = {"blown": False}

    @op(kind="other", declare=False)
    def fuse(x):
        """x, unless the fuse is blown."""
        if switch["blown"]:
            raise OverflowError("blown")
        return np.array(x)

    fuse.types(lambda x: x)
    fuse.vjp("x")(lambda g: g)
    return fuse, switch


@pytest.mark.parametrize("where", ["forward", "between updates"])
def test_a_step_that_fails_midway_says_where_and_what_it_changed(fuse, where):
    failing, switch = fuse
    first = tg.tensor([1.0, 2.0], requires_grad=True, name="first")
    second = tg.tensor([3.0, 4.0], requires_grad=True, name="second")
    counter = tg.core.state.buffer(0.0, "counter")

    def step(x):
        first.grad = second.grad = None
        hidden = first * x
        if where == "forward":
            hidden = failing(hidden)
        (hidden * second).sum().backward()
        with tg.no_grad():
            first.__isub__(0.1 * first.grad)
            gradient = failing(second.grad) if where == "between updates" else second.grad
            second.__isub__(0.1 * gradient)
        tg.core.state.write(counter, tg.core.state.read(counter) + 1)

    compiled = tg.compile(step)
    compiled(np.ones(2))
    before = [one.numpy().copy() for one in (first, second, counter)]
    switch["blown"] = True
    with pytest.raises(OpError, match=r"fuse at test_bad_input\.py:\d+: OverflowError: blown") as caught:
        compiled(np.ones(2))
    named = {
        name for name in ("first", "second", "counter") if name in str(caught.value).partition("updated")[2]
    }
    for one, old in zip((first, second, counter), before, strict=True):
        assert (one.numpy() == old).all() == (one.name not in named), str(caught.value)
    # and it goes on from there
    switch["blown"] = False
    assert compiled(np.ones(2)) is None
    assert counter.item() == 2


def test_an_update_that_fails_itself_is_named_too():
    first, second = (
        tg.tensor(np.full(9, 1e300), requires_grad=True, name=name) for name in ("first", "second")
    )
    version = first._leaf.version

    def step(x):
        with tg.no_grad():
            first.__imul__(x)
            second.__imul__(x)

    compiled = tg.compile(step, passes=())  # NumPy's own kernels look at its error state
    with (
        np.errstate(over="raise"),
        pytest.raises(OpError, match=r"updated: .*'first' \(perhaps in part\); no"),
    ):
        compiled(np.full(9, 1e300))
    assert np.isinf(first.numpy()).all()
    assert first._leaf.version > version
    assert second.tolist() == [1e300] * 9


def test_a_function_that_fails_while_captured_leaves_nothing_behind():
    weight = tg.tensor([1.0], requires_grad=True, name="weight")

    def step(x):
        with tg.no_grad():
            weight.__isub__(x)
        raise RuntimeError("in the middle")

    compiled = tg.compile(step)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="in the middle"):
            compiled(np.ones(1))
    assert weight.tolist() == [1.0]
    assert (weight * 2).item() == 2.0  # nothing is being captured any more
    with pytest.raises(RecordingError, match="not been called"):
        _ = compiled.plan


# -- threads -------------------------------------------------------------------------------------------------------


def in_threads(count, work):
    """Run `work(0)`, `work(1)` ... at the same time; raise what they raise."""
    errors = []
    barrier = threading.Barrier(count)

    def run(i):
        barrier.wait()
        try:
            work(i)
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def test_threads_may_capture_and_run_one_function_with_different_types():
    compiled = tg.compile(lambda x: (np.sin(x) * 2 + x.shape[0]).sum())

    def work(i):
        for size in (1, 2, 3, 4 + i):
            x = np.arange(size, dtype=(np.float32, np.float64)[i])
            for _ in range(10):
                assert compiled(x) == pytest.approx((np.sin(x) * 2 + size).sum(), rel=1e-5)

    in_threads(2, work)


def test_two_threads_train_one_model_one_step_at_a_time():
    weight = tg.tensor(np.zeros(1000), requires_grad=True)

    @tg.compile
    def step(amount):
        with tg.no_grad():
            weight.__iadd__(amount)
        return weight.sum()

    seen = []
    step(0.0)
    in_threads(2, lambda i: seen.extend(step(1.0).item() for _ in range(50)))
    assert sorted(seen) == [1000.0 * (i + 1) for i in range(100)]


def test_eager_work_beside_a_capture_in_another_thread():
    entered, done = threading.Event(), threading.Event()

    def slow(x):
        entered.set()
        assert done.wait(20)
        return x * 2

    def capture():
        tg.compile(slow)(np.ones(2))

    thread = threading.Thread(target=capture)
    thread.start()
    assert entered.wait(20)
    x = tg.tensor([3.0], requires_grad=True)
    (x * x).sum().backward()  # not part of the other thread's program
    assert x.grad.tolist() == [6.0]
    done.set()
    thread.join()


# -- plans called by hand ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ((np.ones(3),), ShapeError, r"one list, plan\(\[x, y\]\)"),
        ((np.ones(3), np.ones(3)), ShapeError, r"one list, plan\(\[x, y\]\)"),
        ((None,), ShapeError, "one list"),
        (([np.ones(3)],), ShapeError, r"takes 2 input\(s\) \(x, y\) but got 1"),
        (([],), ShapeError, r"takes 2 input\(s\) \(x, y\) but got 0"),
        (([np.ones(3)] * 3,), ShapeError, r"takes 2 input\(s\) \(x, y\) but got 3"),
        (([np.ones(3), np.ones(1)],), ShapeError, r"input 1 \(y\) .*float64\[3\], but got float64\[1\]"),
        (([np.ones(3), 1.0],), ShapeError, r"input 1 \(y\) .*but got shape \(\)"),
        (([np.ones(3), np.ones(3, "float32")],), ShapeError, r"input 1 \(y\) .*but got float32\[3\]"),
        (([np.ones(3), "a"],), DTypeError, r"input 1 \(y\) .*but got 'a', a str"),
    ],
)
def test_plans_take_the_inputs_of_their_graph(
    given: tuple[Any, ...], error: type[Exception], words: str
) -> None:
    compiled = tg.compile(lambda x, y: x * y)
    compiled(np.ones(3), np.ones(3))
    with pytest.raises(error, match=words):
        compiled.plan(*given)
    if len(given) == 1:
        with pytest.raises(error, match=words):
            compiled.plan.profile(*given)
    np.testing.assert_array_equal(compiled.plan([np.full(3, 2.0), np.full(3, 3.0)])[0], [6.0, 6.0, 6.0])


@pytest.mark.parametrize("repeats", [0, -1, 1.5, "a", None])
def test_plans_are_profiled_some_times(repeats: Any) -> None:
    compiled = tg.compile(lambda x: x * 2)
    compiled(np.ones(3))
    with pytest.raises(SettingError, match="1 or more"):
        compiled.plan.profile([np.ones(3)], repeats)
