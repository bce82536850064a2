"""A compiled call is part of the program around it: its gradients of every order are eager's, by every route."""

import threading
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.core.bodies import opened
from tinygraph.errors import CaptureError, RecordingError, StaleValueError
from tinygraph.plugin import op

POINT = np.array([1.0, 2.0, 3.0])


def T(value):
    return tg.tensor(np.asarray(value, float), requires_grad=True)


def linear():
    layer = nn.Linear(2, 2)
    layer.load_state_dict(
        {"weight": np.array([[1.0, 2], [3, 4]], np.float32), "bias": np.ones(2, np.float32)}
    )
    return layer


X = np.array([[1.0, 2.0], [0.0, 1.0]], np.float32)


# -- gradients of parameters, closures and arguments ---------------------------------------------------------------


def test_parameters_of_a_compiled_layer_get_their_gradients():
    layer = linear()
    (tg.compile(layer)(X) ** 2).sum().backward()
    # y = [[6, 12], [3, 5]]; d/dW = 2 yᵀ x
    np.testing.assert_array_equal(layer.weight.grad.numpy(), [[12.0, 30.0], [24.0, 58.0]])
    np.testing.assert_array_equal(layer.bias.grad.numpy(), [18.0, 34.0])


def test_gradients_accumulate():
    w = T([1.0, 2.0])
    compiled = tg.compile(lambda x: (x * w).sum())
    for _ in range(3):
        compiled(np.array([1.0, 10.0])).backward()
    np.testing.assert_array_equal(w.grad.numpy(), [3.0, 30.0])


def test_a_sum_of_a_compiled_and_an_eager_term_has_both_gradients():
    layer, w = linear(), T([1.0, 2.0])
    (tg.compile(layer)(X).mean() + 0.1 * (w**2).sum()).backward()
    np.testing.assert_allclose(w.grad.numpy(), [0.2, 0.4])
    np.testing.assert_array_equal(layer.weight.grad.numpy(), [[0.25, 0.75], [0.25, 0.75]])


def test_one_tensor_read_inside_and_outside():
    w = T(3.0)
    (tg.compile(lambda x: x * w)(np.float64(2.0)) * w).backward()
    assert w.grad.item() == 12.0  # d(2 w²)


def test_arguments_get_their_gradients_through_containers_and_keywords():
    a, b = T([1.0, 2.0]), T([3.0, 4.0])
    compiled = tg.compile(lambda pair, *, scale: {"out": pair[0] * pair[1]["b"] * scale})
    compiled((a, {"b": b}), scale=10.0)["out"].sum().backward()
    np.testing.assert_array_equal(a.grad.numpy(), [30.0, 40.0])
    np.testing.assert_array_equal(b.grad.numpy(), [10.0, 20.0])


def test_an_argument_given_twice_gets_both_parts():
    x = T(3.0)
    tg.compile(lambda a, b: a * a * b)(x, x).backward()
    assert x.grad.item() == 27.0


def test_numbers_of_no_dimension():
    s = T(2.0)
    compiled = tg.compile(lambda n: s**n)
    for expected in (12.0, 24.0):  # 3 · 2²
        compiled(3).backward()
        assert s.grad.item() == expected


def test_a_gradient_of_no_dimension_is_added_to_in_a_compiled_step():
    s = T(2.0)

    @tg.compile
    def step(x):
        (x * s).sum().backward()
        (x * s).sum().backward()

        return x * 1.0

    for expected in (6.0, 12.0, 18.0):
        step(np.ones(3))
        assert s.grad.item() == expected


# -- what carries no gradient --------------------------------------------------------------------------------------


def test_results_carry_a_gradient_where_eager_ones_do():
    def function(t):
        with tg.no_grad():
            constant = t * t
        return t * 2.0, t.detach() * 3.0, t > 1.0, np.argmax(t), constant, constant * t

    x = T(POINT)
    compiled = tg.compile(function)
    expected = [True, False, False, False, False, True]
    assert [out.requires_grad for out in function(x)] == expected
    assert [out.requires_grad for out in compiled(x)] == expected
    compiled(x)[5].sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), POINT**2)


def test_nothing_is_recorded_where_nothing_is_wanted():
    w = T(POINT)
    compiled = tg.compile(lambda x: x * w)
    with tg.no_grad():
        assert not compiled(POINT).requires_grad
    assert not tg.compile(lambda x: x * 2.0)(tg.tensor(POINT)).requires_grad
    assert isinstance(tg.compile(lambda x: x * 2.0)(POINT), np.ndarray)
    assert compiled(POINT).requires_grad


def test_a_parameter_that_is_frozen_between_calls_gets_no_gradient_any_more():
    w = T(POINT)
    compiled = tg.compile(lambda x: x * w)
    assert compiled(POINT).requires_grad
    w.requires_grad = False
    assert not compiled(POINT).requires_grad


def test_a_parameter_that_is_returned_is_the_parameter():
    w = T([1.0, 2.0])
    _, same = tg.compile(lambda x: (x * w, w))(np.ones(2))
    (same * same).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [2.0, 4.0])


def test_a_function_may_ask_whether_its_argument_requires_a_gradient():
    function = tg.compile(lambda x: x * 2.0 if x.requires_grad else x * 3.0)
    assert function(T(1.0)).item() == 2.0
    assert function(T(1.0)).requires_grad
    assert float(tg.grad(function)(1.0)) == 2.0
    assert function.explain_recapture().count("requiring a gradient") == 1


def test_a_replaced_parameter_and_a_term_outside():
    w = T([1.0, 2.0, 3.0])

    def function(x):
        with tg.no_grad():
            w[...] = w * 0.5 + 1.0
        return w * 2.0

    (tg.compile(function)(np.ones(3)).sum() + 0.1 * (w**2).sum()).backward()
    np.testing.assert_allclose(w.grad.numpy(), [2.3, 2.4, 2.5])


# -- transforms ----------------------------------------------------------------------------------------------------


def cube_sum(x):
    return (x**3).sum()


def test_compiled_inside_transforms():
    f = tg.compile(cube_sum)
    np.testing.assert_allclose(tg.grad(f)(POINT), [3.0, 12.0, 27.0])
    np.testing.assert_allclose(tg.hessian(f)(POINT), np.diag([6.0, 12.0, 18.0]))
    out, tangent = tg.jvp(f, (POINT,), (np.array([1.0, 0.0, 2.0]),))
    assert (float(out), float(tangent)) == (36.0, 57.0)
    out, pull = tg.vjp(tg.compile(lambda x: x * x), POINT)
    np.testing.assert_allclose(pull(np.array([1.0, 10.0, 100.0]))[0], [2.0, 40.0, 600.0])
    np.testing.assert_allclose(tg.jacobian(tg.compile(lambda x: x * x))(POINT), np.diag([2.0, 4.0, 6.0]))
    third = tg.grad(lambda x: tg.grad(lambda y: tg.grad(f)(y).sum())(x).sum())
    np.testing.assert_allclose(third(POINT), [6.0, 6.0, 6.0])


def test_a_closure_over_the_primal_of_a_transform():
    def outer(a):
        return tg.compile(lambda b: (a * a * b).sum())(np.ones(3))

    assert float(tg.grad(outer)(2.0)) == 12.0
    assert float(tg.hessian(outer)(2.0)) == 6.0  # the primal of a primal is computed


def test_second_order_agrees_with_differences():
    rng = np.random.default_rng(0)
    matrix, x = rng.normal(size=(3, 3)), rng.normal(size=3)
    f = tg.compile(lambda x: np.sum(np.tanh(matrix @ x) * np.exp(x)) / np.sqrt(1.0 + np.sum(x * x)))
    found, step = tg.hessian(f)(x), 1e-5
    for i, e in enumerate(np.eye(3) * step):
        np.testing.assert_allclose(
            found[i], (tg.grad(f)(x + e) - tg.grad(f)(x - e)) / (2 * step), rtol=1e-6, atol=1e-8
        )


def test_what_a_gradient_keeps_is_differentiated_through_operands_that_stop_gradients():
    # the derivative of the loss reads a target that depends on x, through which the loss itself passes nothing on
    def function(x):
        target = (x * x).detach()
        return ((x - target) ** 2).sum()

    for f in (function, tg.compile(function)):
        np.testing.assert_allclose(tg.grad(f)(POINT), [0.0, -4.0, -12.0])
        np.testing.assert_allclose(tg.hessian(f)(POINT), 2.0 * np.eye(3))


def test_create_graph():
    x, f = T(POINT), tg.compile(cube_sum)
    f(x).backward(create_graph=True)
    first, x.grad = x.grad, None
    (first * first).sum().backward()  # d (3x²)² = 36 x³
    np.testing.assert_allclose(x.grad.numpy(), 36.0 * POINT**3)


def test_checkpoint_around_a_compiled_function():
    x, w = T([1.0, 2.0]), T([3.0, 5.0])
    compiled = tg.compile(lambda t: (t * t * w).sum())
    tg.checkpoint(compiled)(x).backward()
    np.testing.assert_array_equal(x.grad.numpy(), [6.0, 20.0])
    np.testing.assert_array_equal(w.grad.numpy(), [1.0, 4.0])


# -- modules, methods, threads -------------------------------------------------------------------------------------


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(2, 3), nn.Linear(3, 1)
        self.inner = tg.compile(self.first)

    @tg.compile
    def activation(self, x):
        return np.tanh(x) + self.last.bias

    def forward(self, x):
        return self.last(self.activation(self.inner(x)))


def plain(model, x):
    return model.last(np.tanh(model.first(x)) + model.last.bias)


def test_compiled_blocks_and_methods_inside_an_eager_module():
    model = Mixed()
    model(X).sum().backward()
    found = [parameter.grad.numpy().copy() for parameter in model.parameters()]
    model.zero_grad()
    plain(model, X).sum().backward()
    for parameter, gradient in zip(model.parameters(), found, strict=True):
        np.testing.assert_allclose(gradient, parameter.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_compiled_inside_compiled_is_part_of_it():
    w = T(POINT)
    inner = tg.compile(lambda x: x * w)
    outer = tg.compile(lambda x: (inner(x) * w).sum())
    outer(np.ones(3)).backward()
    np.testing.assert_array_equal(w.grad.numpy(), 2 * POINT)


def test_training_with_a_compiled_model_and_an_eager_optimizer_is_eager_training():
    losses = []
    for wrap in (tg.compile, lambda model: model):
        tg.manual_seed(0)
        # no bias before the normalisation: its gradient would be rounding noise, which Adam amplifies
        model = nn.Sequential(
            nn.Linear(2, 8, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1)
        )
        call, optimizer = wrap(model), optim.Adam(model.parameters(), lr=0.05)
        data = np.random.default_rng(1).normal(size=(16, 2)).astype(np.float32)
        found = []
        for _ in range(10):
            optimizer.zero_grad()
            loss = ((call(data) - data[:, :1]) ** 2).mean()
            loss.backward()
            optimizer.step()
            found.append(loss.item())
        losses.append((found, {name: value.copy() for name, value in model.state_dict().items()}))
    np.testing.assert_allclose(losses[0][0], losses[1][0], rtol=1e-4)
    assert losses[0][1]["1.num_batches_tracked"] == 10
    for name, value in losses[1][1].items():
        np.testing.assert_allclose(losses[0][1][name], value, rtol=1e-3, atol=1e-5)


def test_threads_share_one_compiled_function():
    w = T(POINT)
    compiled = tg.compile(lambda x: (x * x * w).sum())
    wrong = []

    def work(number):
        for k in range(40):
            x = T([number, k, 1.0])
            compiled(x).backward()
            if x.grad.numpy().tolist() != [2.0 * number, 4.0 * k, 6.0]:
                wrong.append((number, k))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert not any(thread.is_alive() for thread in threads)


# -- states --------------------------------------------------------------------------------------------------------


def test_a_parameter_changed_before_the_backward_pass_is_noticed_where_eager_notices():
    for wrap in (tg.compile, lambda function: function):
        w, x = T([1.0, 2.0]), T([3.0, 4.0])
        product, total = wrap(lambda t, w=w: (t * w).sum()), wrap(lambda t, w=w: (t + w).sum())
        first, second = product(x), total(x)
        with tg.no_grad():
            w *= 2.0
        with pytest.raises(StaleValueError, match="changed afterwards"):
            first.backward()
        second.backward()  # reads no value of w
        np.testing.assert_array_equal(w.grad.numpy(), [1.0, 1.0])


def test_a_state_that_is_read_and_replaced():
    for wrap in (tg.compile, lambda function: function):
        counter, x = tg.core.state.buffer(2.0), T([1.0, 2.0])

        def function(t, counter=counter):
            out = t * counter
            counter += 1.0
            return out.sum()

        compiled = wrap(function)
        total = compiled(x) + compiled(x)
        assert counter.item() == 4.0
        if wrap is tg.compile:
            with pytest.raises(StaleValueError):
                total.backward()


def test_a_parameter_replaced_inside_gets_the_gradient_of_its_later_uses():
    for wrap in (tg.compile, lambda function: function):
        w = T([1.0, 2.0])

        def function(t, w=w):
            with tg.no_grad():
                w *= 3.0
            return (t * w * w).sum()

        wrap(function)(np.ones(2)).backward()
        np.testing.assert_array_equal(w.grad.numpy(), [6.0, 12.0])
        np.testing.assert_array_equal(w.numpy(), [3.0, 6.0])


def test_random_numbers_of_the_forward_pass_are_those_of_the_backward_pass():
    x = T(np.ones(1000))
    dropped = tg.compile(lambda t: nn.functional.dropout(t, 0.5))
    tg.manual_seed(0)
    out = dropped(x)
    out.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), out.detach().numpy())
    tg.manual_seed(0)
    np.testing.assert_array_equal(nn.functional.dropout(x, 0.5).detach().numpy(), out.detach().numpy())


def test_random_numbers_are_drawn_once_for_derivatives_of_every_order():
    tg.manual_seed(3)
    cubed = tg.compile(lambda t: nn.functional.dropout(t, 0.5) ** 3)
    x = tg.tensor(np.arange(1.0, 65.0), requires_grad=True)
    kept = cubed(x).detach().numpy() != 0  # elements that are kept are doubled
    tg.manual_seed(3)
    slope = tg.grad(lambda t: cubed(t).sum())
    np.testing.assert_array_equal(slope(x).numpy(), np.where(kept, 24 * np.arange(1.0, 65.0) ** 2, 0))
    after = nn.functional.dropout(tg.tensor(np.ones(64)), 0.5).numpy()
    tg.manual_seed(3)
    bend = tg.grad(lambda t: slope(t).sum())
    np.testing.assert_array_equal(bend(x).numpy(), np.where(kept, 48 * np.arange(1.0, 65.0), 0))
    # and the generator has moved on as far as by one call
    np.testing.assert_array_equal(nn.functional.dropout(tg.tensor(np.ones(64)), 0.5).numpy(), after)


def test_the_graph_of_a_call_that_drew_computes_what_was_computed():
    tg.manual_seed(3)
    x = tg.tensor(np.arange(1.0, 65.0), requires_grad=True)
    out = tg.compile(lambda t: nn.functional.dropout(t, 0.5) ** 3)(x)
    assert set(out.detach().numpy() / np.arange(1.0, 65.0) ** 3) == {0.0, 8.0}
    graph = tg.graph_of(out)
    for _ in range(2):
        np.testing.assert_array_equal(graph().detach().numpy(), out.detach().numpy())


def test_random_numbers_that_nothing_reads_are_refused_since_they_move_the_generator_on():
    def function(x):
        nn.functional.dropout(x, 0.5)
        return nn.functional.dropout(x, 0.5)

    with pytest.raises(CaptureError, match="nothing reads the random numbers"):
        tg.compile(function)(np.ones(8))


# -- steps that differentiate themselves ---------------------------------------------------------------------------


def training_step():
    w = T([1.0, 2.0])
    optimizer = optim.SGD([w], lr=0.5)

    @tg.compile
    def step(x):
        optimizer.zero_grad()
        loss = ((x * w) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    return step, w


def test_the_loss_of_a_step_that_ran_backward_refuses_to_be_differentiated_again():
    step, w = training_step()
    loss = step(np.ones(2))
    np.testing.assert_array_equal(w.numpy(), [0.0, 0.0])
    assert (loss.item(), loss.requires_grad) == (5.0, True)
    with pytest.raises(RecordingError, match="'step': the function ran a backward pass of its own"):
        (loss + (w**2).sum()).backward()


def test_a_step_that_runs_backward_refuses_arguments_that_require_a_gradient():
    step, _ = training_step()
    with pytest.raises(RecordingError, match="argument 0 of the compiled function 'step'"):
        step(T([1.0, 1.0]))
    step(T([1.0, 1.0]).detach())

    @tg.compile
    def only_the_argument(x):
        (x * 2.0).sum().backward()
        return np.float64(1.0)

    with pytest.raises(RecordingError, match="leave the backward pass to the caller"):
        only_the_argument(T(1.0))


def test_a_functional_step_refuses_where_it_replaced_what_the_gradient_needs():
    w = T([1.0, 2.0])

    @tg.compile
    def step(x):
        loss = (x * w * w).sum()
        gradient = tg.grad(lambda v: (x * v * v).sum())(w)
        with tg.no_grad():
            w.__isub__(0.25 * gradient)
        return loss

    loss = step(np.ones(2))
    np.testing.assert_array_equal(w.numpy(), [0.5, 1.0])
    with pytest.raises(RecordingError, match=r"the function replaced .*whose old value the gradient needs"):
        loss.backward()


# -- graphs, drawings, files ---------------------------------------------------------------------------------------


def test_a_recorded_call_is_one_node_that_opens(tmp_path):
    layer, w = linear(), T([1.0, 2.0])
    loss = tg.compile(layer)(X).mean() + 0.1 * (w**2).sum()
    graph = tg.graph_of(loss)
    assert [node.op.name for node in graph.nodes if node.op].count("Linear") == 1
    assert "matmul" in [node.op.name for node in opened(graph).nodes if node.op]
    source = tg.draw(loss).source
    assert "matmul" in source
    assert "Linear" in source
    boxes = [len(tg.draw(loss, zoom=zoom).source.split("[label=<")) for zoom in ("op", "module")]
    assert boxes[1] < boxes[0]
    loss.backward()
    expected = [layer.weight.grad.numpy(), layer.bias.grad.numpy(), w.grad.numpy()]
    graph.save(tmp_path / "graph.json")
    for again in (
        tg.load(tmp_path / "graph.json"),
        graph,
        tg.core.graph.Graph.from_networkx(graph.to_networkx()),
    ):
        value, *gradients = again.gradient()()
        np.testing.assert_allclose(value.item(), loss.item(), rtol=1e-6)
        for found, gradient in zip(gradients, expected, strict=True):
            found = found.detach().numpy() if isinstance(found, tg.core.tensor.Tensor) else found
            np.testing.assert_allclose(found, gradient, rtol=1e-6)


def test_a_drawing_finds_what_is_pointed_at_around_an_opened_body():
    h = tg.compile(linear())(X)
    out = np.tanh(h).sum() + np.sin(T([1.0, 2.0])).sum()
    assert tg.draw(out, focus=h).source != tg.draw(out).source
    assert tg.draw(out, backward=True, show=("values", "gradients"))


def test_a_replay_writes_no_state():
    counter, x = tg.core.state.buffer(0.0), T([1.0, 2.0])

    def function(t):
        counter.__iadd__(1.0)
        return (t * t).sum()

    out = tg.compile(function)(x)
    assert tg.graph_of(out)().item() == 5.0
    tg.draw(out, show=("values",))
    assert counter.item() == 1.0


def test_a_graph_with_a_body_runs_on_other_values():
    x = tg.tensor(2.0, name="x")
    w = T(3.0)
    graph = tg.graph_of(tg.compile(lambda t: t * w)(x) * 10.0)
    assert graph(5.0).item() == 150.0


# -- two functions that call each other through ops --------------------------------------------------------------------


def test_threads_whose_compiled_functions_call_each_other_do_not_wait_for_ever():
    meeting = threading.Barrier(2)  # integers, as ops of floats are looked through where they can be
    calls = {}

    def calling(name):
        @op(name=f"calling {name}", declare=False)
        def call(x):
            if not getattr(inside, "deep", False):
                inside.deep = True
                meeting.wait(timeout=30)  # each thread has its own function's plan now, and wants the other's
                return np.asarray(calls[name](x)) + 1
            return x + 1

        call.types(lambda x: x)
        return call

    inside = threading.local()
    into_second, into_first = calling("second"), calling("first")
    first = tg.compile(lambda x: into_second(x) * 2)
    second = tg.compile(lambda x: into_first(x) * 3)
    inside.deep = True
    first(np.ones(2, int))
    second(np.ones(2, int))  # captured
    calls.update(first=first, second=second)
    found = {}

    def run(name):
        inside.deep = False
        found[name] = calls[name](np.ones(2, int))

    threads = [threading.Thread(target=run, args=(name,), daemon=True) for name in calls]
    for one in threads:
        one.start()
    for one in threads:
        one.join(timeout=60)
    assert not any(one.is_alive() for one in threads)
    np.testing.assert_array_equal(found["first"], [14, 14])  # ((1 + 1) * 3 + 1) * 2
    np.testing.assert_array_equal(found["second"], [15, 15])  # ((1 + 1) * 2 + 1) * 3
    np.testing.assert_array_equal(first(np.ones(2, int) * 0), [2, 2])


# -- states that carry gradients from call to call ---------------------------------------------------------------------


def test_plain_data_that_is_read_and_then_written_is_a_state():
    p, q = T([2.0, 3.0]), tg.tensor(np.array([5.0, 7.0]))

    def step():
        loss = (q * p).sum()
        q[...] = q * 10
        loss.backward()
        return loss

    compiled = tg.compile(step)
    compiled()
    np.testing.assert_array_equal(p.grad.numpy(), [5, 7])
    compiled()
    np.testing.assert_array_equal(p.grad.numpy(), [55, 77])
    recorded = tg.compile(lambda: ((q * p).sum(), q.__setitem__(..., q * 10))[0])
    with pytest.raises(RecordingError, match="whose old value the gradient needs"):
        recorded().backward()


def test_states_that_carry_gradients_into_the_next_call_are_refused_there():
    def updated(x):
        q[...] = q + p * x
        return (q * p).sum()

    p, q = T([2.0, 3.0]), tg.tensor(np.array([5.0, 7.0]))
    compiled = tg.compile(updated)
    compiled(np.ones(2)).backward()
    np.testing.assert_array_equal(p.grad.numpy(), [9, 13])  # q + 2 p
    assert q.requires_grad  # as eagerly
    with pytest.raises(RecordingError, match=r"calls before.*detach"):
        compiled(np.ones(2)).backward()
    assert compiled(np.ones(2)).item() == 11 * 2 + 16 * 3  # the value is right
    with pytest.raises(RecordingError, match="a state that the compiled function 'updated' replaced"):
        (q * p).sum().backward()
    with pytest.raises(RecordingError, match="calls before"):  # another function reads it
        tg.compile(lambda: (q * p).sum())().backward()
    with tg.no_grad():
        q[...] = np.array([5.0, 7.0])
    p.grad = None
    compiled(np.ones(2)).backward()
    np.testing.assert_array_equal(p.grad.numpy(), [9, 13])


def test_a_step_that_differentiates_through_the_calls_before_is_refused():
    def step(x):
        q[...] = q * p + x
        loss = (q * p).sum()
        loss.backward()
        return loss

    p, q = T([2.0, 3.0]), tg.tensor(np.array([5.0, 7.0]))
    compiled = tg.compile(step)
    compiled(np.ones(2))
    np.testing.assert_array_equal(p.grad.numpy(), [21, 43])
    with pytest.raises(RecordingError, match=r"calls before.*detach"):
        compiled(np.ones(2))


def test_a_sum_of_losses_that_nobody_differentiates_goes_on():
    p, total = T([2.0, 3.0]), tg.tensor(np.array(0.0))

    @tg.compile
    def step(x):
        nonlocal total
        p.grad = None
        loss = (p * x).sum()
        loss.backward()
        total += loss
        return loss

    for x in (np.ones(2), np.ones(2), np.full((3, 2), 1.0), np.ones(2)):
        step(x)
        np.testing.assert_array_equal(p.grad.numpy(), [len(x) if x.ndim > 1 else 1] * 2)
    assert total.item() == 5 + 5 + 15 + 5


def test_a_state_that_eager_code_replaces_is_noticed():
    p, q = T([2.0, 3.0]), tg.tensor(np.array([5.0, 7.0]))

    def step():
        q[...] = (q * 2).detach()
        return (q * p).sum()

    compiled = tg.compile(step)
    assert compiled().item() == 20 + 42
    q += p  # a computed tensor now
    with pytest.raises(CaptureError, match="before this capture"):
        compiled()
    with tg.no_grad():
        q[...] = np.array([1.0, 1.0])
    assert compiled().item() == 4 + 6


def test_gradients_of_a_step_are_no_results_that_carry_gradients():
    p = T([2.0, 3.0])

    @tg.compile
    def step():
        p.grad = None
        (p * p).sum().backward()
        return p.grad * 2

    found = step()
    assert not found.requires_grad
    np.testing.assert_array_equal(found.numpy(), [8, 12])


def test_an_integer_beside_a_differentiable_result_carries_no_gradient():
    @op(declare=False, kind="elementwise")
    def doubled_and_sign(x):
        """(2 x, 1 where x > 0)."""
        return 2 * x, (x > 0).astype(np.int64)

    @doubled_and_sign.vjp("x")
    def doubled_and_sign_wrt_x(g):
        return g[0] * 2

    value, sign = tg.compile(lambda t: doubled_and_sign(t))(T(np.array([1.0, -1.0])))
    assert value.requires_grad
    assert not getattr(sign, "requires_grad", False)
    np.testing.assert_array_equal(np.asarray(sign), [1, 0])


def test_a_gradient_within_a_gradient_gives_arrays_where_eager_does() -> None:
    """What a transform inside differentiates by is no state of the program, and the call records nothing."""
    x, w = np.array([0.3, -0.1, 0.2]), np.array([1.0, 2.0, 3.0])

    def f(w: Any, x: Any) -> Any:
        return np.sum(np.sin(x) * w)

    def loop(w: Any, x: Any) -> Any:
        return np.sum(tg.scan(lambda c, _: (c * x * w, None), np.ones(3), None, length=2)[0])

    for g, right in ((f, np.cos(x) * x), (loop, 4 * x * w * x)):
        second = tg.grad(lambda w, g=g: np.sum(tg.grad(g, 1)(w, x) * x))
        found = tg.compile(second)(w)
        assert type(found) is type(second(w)) is np.ndarray
        np.testing.assert_allclose(found, right, rtol=1e-12)
    found = tg.compile(lambda w: tg.grad(lambda x: loop(w, x))(x))(w)
    assert type(found) is np.ndarray
    np.testing.assert_allclose(found, 2 * x * w**2, rtol=1e-12)
