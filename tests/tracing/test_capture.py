"""Capture: programs as typed graphs, their gradients as graphs, and errors that name the user's line."""

import copy
import pickle

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core import state
from tinygraph.errors import CaptureError, RecordingError, ShapeError
from tinygraph.plugin import ops

X = np.array([[0.3, -1.2, 0.8], [1.5, 0.4, -0.6]])


def f(x, y):
    return {"a": np.sin(x) @ y, "b": (x * 2, x.sum(axis=0))}


def test_a_captured_graph_computes_what_the_function_does():
    graph = tg.capture(f, X, X.T)
    found, expected = graph(X + 1, X.T * 2), f(X + 1, X.T * 2)
    np.testing.assert_allclose(found["a"], expected["a"])
    np.testing.assert_allclose(found["b"][1], expected["b"][1])
    assert [leaf.name for leaf in graph.inputs] == ["x", "y"]
    assert [str(types) for types in graph.output_types] == ["float64[2,2]", "float64[2,3]", "float64[3]"]


def test_nothing_is_computed_while_capturing():
    calls = []
    with np.errstate(all="raise"):
        tg.capture(lambda x: calls.append(1) or np.log(x) / 0.0, np.zeros(3))
    assert calls == [1]


def test_a_graph_takes_tensors_and_is_differentiated_again():
    graph = tg.capture(lambda x: np.sum(np.sin(x)), X)
    np.testing.assert_allclose(tg.grad(graph)(X), np.cos(X))
    np.testing.assert_allclose(tg.grad(lambda x: np.sum(tg.grad(graph)(x)))(X), -np.sin(X))


def test_the_gradient_is_a_graph_that_knows_its_forward_nodes():
    graph = tg.capture(lambda x: np.sum(np.sin(x) ** 2), X)
    gradient = graph.gradient(graph.inputs)
    value, slope = gradient(X)
    assert value == pytest.approx(np.sum(np.sin(X) ** 2))
    np.testing.assert_allclose(slope, np.sin(2 * X))
    forward = set(map(id, graph.nodes))
    added = [node for node in gradient.nodes if id(node) not in forward]
    assert {node.phase for node in added} == {"backward"}
    assert all(id(node.forward_node) in forward for node in added)


def test_gradients_of_gradients_are_graphs_too():
    first = tg.capture(lambda x: np.sum(x**3), X).gradient("x")
    np.testing.assert_allclose(first(X)[1], 3 * X**2)
    inner = tg.capture(lambda x: np.sum(tg.grad(lambda y: np.sum(y**3))(x)), X)
    np.testing.assert_allclose(inner.gradient("x")(X)[1], 6 * X)


def test_parameters_are_read_by_reference():
    w = tg.tensor([1.0, 2.0, 3.0], requires_grad=True, name="w")
    graph = tg.capture(lambda x: (x * w).sum(), X)
    assert [parameter is w for parameter in graph.parameters] == [True]
    before = graph(X).item()
    with tg.no_grad():
        w *= 2.0
    assert graph(X).item() == pytest.approx(2 * before)
    np.testing.assert_allclose(graph.gradient()(X)[1], X.sum(axis=0))


def test_state_that_is_written_is_read_back_within_the_capture():
    counter = state.buffer(0.0, "counter")

    def count(x):
        state.write(counter, state.read(counter) + 1)
        return x * state.read(counter)

    graph = tg.capture(count, np.ones(2))
    assert counter.item() == 0.0
    assert graph.nodes


def test_constants_stay_constant():
    graph = tg.capture(lambda x: x + ops.exp(tg.tensor(1.0)), X)
    assert "exp" not in [node.op.name for node in graph.nodes if node.op is not None]
    np.testing.assert_allclose(graph(X), X + np.e)


def test_constants_that_cannot_be_computed_are_explained():
    with pytest.raises(ShapeError, match=r"(?s)op 'index': index 7.*indices: int64\[1\]"):
        tg.capture(lambda x: x + ops.index(tg.tensor([1.0, 2.0]), np.array([7]), pattern=("array",)), X)


def test_python_that_asks_for_a_value_is_named_with_its_line():
    def choose(x):
        if x.sum() > 0:  # the line
            return x
        return -x

    with pytest.raises(
        CaptureError, match=rf"test_capture.py:{choose.__code__.co_firstlineno + 1}.*tg.ops.where"
    ):
        tg.capture(choose, X)
    for ask in (float, int, bool, lambda x: x.numpy(), lambda x: x.item(), np.asarray):
        with pytest.raises((CaptureError, RecordingError)):
            tg.capture(lambda x, ask=ask: x * ask(x.sum()), X)


def test_tensors_that_leak_out_are_refused_later():
    kept = []
    tg.capture(lambda x: kept.append(x * 1) or x * 2, X)
    with pytest.raises(CaptureError, match="finished capture"):
        kept[0] + 1
    with pytest.raises(CaptureError, match="no value"):
        kept[0].numpy()
    assert "captured" in repr(kept[0])


def test_mistakes_are_explained_by_types():
    with pytest.raises(ShapeError, match=r"sizes 2 and 3"):
        tg.capture(lambda x: x + x.T, X)
    with pytest.raises(CaptureError, match="nothing that was captured"):
        tg.capture(lambda x: 1.0, X)
    graph = tg.capture(lambda x: x * 2, X)
    with pytest.raises(
        ShapeError, match=r"input 0 \(x\) of the graph is float64\[2,3\], but got float64\[3\]"
    ):
        graph(X[0])
    with pytest.raises(ShapeError, match="takes 1 input"):
        graph(X, X)
    with pytest.raises(RecordingError, match="scalar"):
        graph.gradient("x")


def test_a_capture_that_fails_leaves_nothing_behind():
    with pytest.raises(ZeroDivisionError):
        tg.capture(lambda x: x * (1 // 0), X)
    x = tg.tensor(2.0, requires_grad=True)
    assert (x * x).item() == 4.0


def test_a_graph_does_not_cast_its_inputs():
    graph = tg.capture(lambda x: np.sum(x), np.ones(2))
    assert graph([1, 2]) == 3
    for other in (np.ones(2, np.float32), np.ones(2) + 1j):
        with pytest.raises(ShapeError, match="capture the function again"):
            graph(other)


def test_graphs_are_saved_not_pickled():
    graph = tg.capture(lambda x: np.sum(x), np.ones(2))
    with pytest.raises(RecordingError, match=r"graph.save\(path\)"):
        pickle.dumps(graph)
    assert copy.copy(graph).nodes == graph.nodes


def test_python_numbers_are_as_weak_as_eager_ones():
    x = np.ones(2, np.float32)
    for function in (
        lambda s: s * x,
        lambda s: (s * 2 + 1) * x,
        lambda s: np.exp(s) * x,  # NumPy's functions make float64 of a Python number
        lambda s: ops.reshape(s, shape=(1,)) * x,
        lambda s: ops.identity(s) * x,
        lambda s: ops.cast(s, dtype="float32") * x,
        lambda s: ops.broadcast_to(s, shape=(2,)),
        lambda s: tg.grad(lambda t: t**3)(s) * x,
    ):
        found, expected = tg.compile(function)(0.5), function(0.5)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


def test_lists_are_arrays_as_they_are_eagerly():
    x = np.array([[1.0, 2.0, 3.0]])

    def f(x):
        scores = x @ [[1.0, 0.0], [0.0, 1.0], [2.0, 2.0]] + [0.5, -0.5]
        return tg.ops.cross_entropy(scores, [1]), tg.ops.where([True, False, True], x, 0.0)

    for captured, eager in zip(tg.capture(f, x)(x), f(tg.tensor(x)), strict=True):
        np.testing.assert_array_equal(np.asarray(captured), eager.numpy())
