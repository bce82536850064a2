"""`tg.checkpoint`: the same results and gradients, less kept."""

import threading
import tracemalloc

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.core.state import Generator, buffer, read, write
from tinygraph.errors import StaleValueError
from tinygraph.plugin import ops
from tinygraph.testing import check_grads

X = np.array([0.3, -1.2, 0.8])


def f(x, y):
    return np.sin(x) * y, np.exp(x * y)


def test_results_and_gradients_are_the_same():
    plain = tg.vjp(f, X, X + 1)
    checked = tg.vjp(tg.checkpoint(f), X, X + 1)
    np.testing.assert_array_equal(plain[0], checked[0])
    np.testing.assert_allclose(plain[1]((X, X)), checked[1]((X, X)), rtol=1e-14)


def test_both_modes_to_second_order():
    check_grads(tg.checkpoint(f), X, X + 1)


def test_parameters_of_a_closure_get_their_gradients():
    w = tg.tensor(2.0, requires_grad=True)
    tg.checkpoint(lambda x: np.sin(w * x))(tg.tensor(0.5)).backward()
    assert w.grad.item() == pytest.approx(0.5 * np.cos(1.0))


def test_random_numbers_are_drawn_again_alike():
    tg.manual_seed(0)
    x = tg.tensor(np.ones(1000), requires_grad=True)
    y = tg.checkpoint(lambda x: ops.dropout(x * x, p=0.5))(x)
    after = ops.dropout(np.ones(5), p=0.5)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * y.detach().numpy())
    tg.manual_seed(0)
    ops.dropout(np.ones(1000), p=0.5)
    np.testing.assert_array_equal(ops.dropout(np.ones(5), p=0.5), after)


def test_less_is_kept():
    def deep(x):
        for _ in range(20):
            x = np.sin(x)
        return x

    def kept(function):
        x = tg.tensor(np.ones(10_000), requires_grad=True)
        function(x)
        tracemalloc.start()
        y = function(x)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        y.sum().backward()
        return size

    assert kept(tg.checkpoint(deep)) < kept(deep) / 5


# -- state: written once, read as it was -------------------------------------------------------------------------------


def test_batch_norm_counts_once():
    layer = nn.BatchNorm1d(2).double()
    x = tg.tensor([[1.0, 2.0], [3.0, 6.0]], requires_grad=True)
    tg.checkpoint(layer)(x).sum().backward()
    assert layer.num_batches_tracked.item() == 1
    np.testing.assert_allclose(layer.running_mean.numpy(), [0.2, 0.4])
    np.testing.assert_allclose(layer.running_var.numpy(), [1.1, 1.7])


def test_a_running_average_that_the_region_writes_and_reads():
    average = buffer(np.array([1.0, 1.0]))

    def centred(x):
        write(average, 0.5 * read(average) + 0.5 * x.detach().numpy())
        return x * x * average

    x = tg.tensor([3.0, 5.0], requires_grad=True)
    first = tg.checkpoint(centred)(x)
    second = tg.checkpoint(centred)(x)
    assert average.tolist() == [2.5, 4.0]
    first.sum().backward()  # average was 2 and 3 then
    assert x.grad.tolist() == [12.0, 30.0]
    second.sum().backward()
    assert x.grad.tolist() == [12.0 + 15.0, 30.0 + 40.0]
    assert average.tolist() == [2.5, 4.0]


def test_scalar_states_and_sums_in_place_count_once():
    calls, total = buffer(0), tg.tensor(0.0)

    def counted(x):
        nonlocal total
        write(calls, read(calls) + 1)
        total += x.detach()
        return x * x * float(read(calls))

    x = tg.tensor(3.0, requires_grad=True)
    y = tg.checkpoint(counted)(x)
    y.backward()
    y.backward()
    assert (calls.item(), total.item(), x.grad.item()) == (1, 3.0, 12.0)


def test_what_backward_passes_write_meanwhile_stays():
    layer = nn.BatchNorm1d(1).double()
    x = tg.tensor([[1.0], [3.0]], requires_grad=True)
    y = tg.checkpoint(layer)(x)
    write(layer.running_mean, np.array([7.0]))
    (y * y).sum().backward()
    assert layer.running_mean.item() == 7.0


def test_any_generator_draws_again_alike():
    own = Generator(3)
    x = tg.tensor(np.ones(100), requires_grad=True)
    y = tg.checkpoint(lambda x: ops.dropout(x * x, p=0.5, generator=own))(x)
    after = own.uniform((3,))
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * y.detach().numpy())
    fresh = Generator(3)
    fresh.uniform((100,))
    np.testing.assert_array_equal(fresh.uniform((3,)), after)
    np.testing.assert_array_equal(fresh.uniform((3,)), own.uniform((3,)))


def test_another_thread_draws_on_meanwhile():
    own, drawn, go, done = Generator(0), [], threading.Event(), threading.Event()

    def region(x):
        y = ops.dropout(x, p=0.5, generator=own)
        if go.is_set():
            thread = threading.Thread(target=lambda: drawn.append(own.uniform((2,))))
            thread.start()
            thread.join(20)
            done.set()
        return y

    x = tg.tensor(np.ones(8), requires_grad=True)
    y = tg.checkpoint(region)(x)
    go.set()
    y.sum().backward()
    assert done.is_set()
    fresh = Generator(0)
    fresh.uniform((8,))
    np.testing.assert_array_equal(drawn[0], fresh.uniform((2,)))


def test_regions_within_regions():
    layer, own = nn.BatchNorm1d(2).double(), Generator(5)

    def inner(x):
        return ops.dropout(layer(x), p=0.5, generator=own)

    def outer(x):
        return tg.checkpoint(inner)(x) * ops.dropout(x, p=0.5, generator=own)

    x0 = np.random.default_rng(0).normal(size=(6, 2))
    results = []
    for f in (outer, lambda x: inner(x) * ops.dropout(x, p=0.5, generator=own), tg.checkpoint(outer)):
        layer.reset_running_stats()
        own.seed(5)
        x = tg.tensor(x0, requires_grad=True)
        y = f(x)
        (y * y).sum().backward()
        results.append((y.numpy(), x.grad.numpy(), layer.running_mean.numpy().copy(), own.uniform((2,))))
        assert layer.num_batches_tracked.item() == 1
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_parameters_written_in_between_are_noticed():
    w = tg.tensor(2.0, requires_grad=True, name="w")
    y = tg.checkpoint(lambda x: np.sin(w * x))(tg.tensor(0.5, requires_grad=True))
    with tg.no_grad():
        w += 1.0
    with pytest.raises(StaleValueError, match="'w' that checkpoint"):
        y.backward()


def test_buffers_written_in_between_are_noticed():
    b = buffer(np.array([2.0]), "scale")
    x = tg.tensor([3.0], requires_grad=True)
    through_the_door = tg.checkpoint(lambda x: x * read(b))(x)
    as_operand = tg.checkpoint(lambda x: x * b)(x)
    write(b, np.array([5.0]))
    for y in (through_the_door, as_operand):
        with pytest.raises(StaleValueError, match="'scale'"):
            y.backward()


@pytest.mark.parametrize("what", ["array", "attribute", "mode"])
def test_python_state_changed_in_between_is_noticed(what):
    a, settings, drop = np.array([2.0, 3.0]), {"s": 2.0}, nn.Dropout(0.5)
    drop.train()
    f = {"array": lambda x: x * a, "attribute": lambda x: x * settings["s"], "mode": lambda x: drop(x + 1)}[
        what
    ]
    tg.manual_seed(1)
    x = tg.tensor(np.ones(2), requires_grad=True)
    y = tg.checkpoint(f)(x)
    a[:] = 9.0
    settings["s"] = 3.0
    drop.eval()
    with pytest.raises(StaleValueError, match="other values"):
        y.sum().backward()


def test_what_a_compiled_function_writes_is_written_once():
    calls, scale = buffer(np.zeros(1)), buffer(np.float64(1.0))

    @tg.compile
    def counted(t):
        write(calls, read(calls) + 1.0)
        write(scale, read(scale) * 2.0)
        return t * read(calls) * read(scale)

    x = tg.tensor([3.0], requires_grad=True)
    tg.checkpoint(lambda x: x * x * counted(np.ones(1)))(x).sum().backward()
    assert (calls.item(), scale.item(), x.grad.item()) == (1.0, 2.0, 12.0)


def test_an_error_in_the_second_run_leaves_states_as_they_are():
    b, broken = buffer(np.array([1.0])), []

    def f(x):
        write(b, read(b) + 1.0)
        if broken:
            raise ZeroDivisionError
        return x * x

    x = tg.tensor([3.0], requires_grad=True)
    y = tg.checkpoint(f)(x)
    broken.append(True)
    with pytest.raises(ZeroDivisionError):
        y.sum().backward()
    assert b.item() == 2.0
