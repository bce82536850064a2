"""Ops, composites and states are told apart as objects, never by their names or by ids that may be used again."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.comparing.front import diff
from tinygraph.core.modes import CompositeName
from tinygraph.core.op import op
from tinygraph.drawing.page.payload import Payload
from tinygraph.errors import FileFormatError
from tinygraph.tracing import trace

VECTOR = np.array([1.0, 2.0])


def another(name, factor, kind="elementwise"):
    """An op that is not registered, and called like another one."""

    @op(name=name, kind=kind, declare=False)
    def made(x):
        return np.asarray(x) * factor

    made.vjp("x")(lambda g: g * factor)
    return made


@pytest.mark.parametrize("name", ["exp", "relu", "negative", "abs", "logical_not", "cast"])
def test_an_op_called_like_a_built_in_one_computes_what_it_does(name):
    ours = another(name, 3.0)
    np.testing.assert_array_equal(tg.compile(lambda x: ours(x) + 1)(VECTOR), [4, 7])
    np.testing.assert_array_equal(tg.compile(lambda x: ours(x) + 1)(np.float64(2)), 7)


def test_a_reduction_called_like_a_built_in_one_is_no_sum():
    @op(name="sum", kind="reduction", declare=False)
    def ours(x, *, axis=None, keepdims=False):
        return 10 * np.sum(x, axis=axis, keepdims=keepdims)

    np.testing.assert_array_equal(tg.compile(lambda x: ours(np.exp(x) * 0 + x))(VECTOR), 30)


@pytest.mark.parametrize("first", ["exp", "ours"])
def test_two_ops_of_one_name_are_not_computed_once(first):
    one, other = another(first, 2.0), another(first, 5.0)
    found = tg.compile(lambda x: (one(x), other(x), one(x)))(VECTOR)
    np.testing.assert_array_equal(found[0], [2, 4])
    np.testing.assert_array_equal(found[1], [5, 10])
    np.testing.assert_array_equal(found[2], [2, 4])


@pytest.mark.parametrize("order", [(0.0, -0.0), (-0.0, 0.0)])
@pytest.mark.parametrize("nested", [False, True])
def test_forwards_are_looked_through_for_settings_that_are_equal_and_not_the_same(order, nested):
    @op(kind="elementwise", declare=False)
    def sided(x, *, by=0.0):
        return np.copysign(x, by[0] if isinstance(by, tuple) else by)

    first, second = [(one,) if nested else one for one in order]
    one, other = tg.compile(lambda x: (sided(x, by=first), sided(x, by=second)))(VECTOR)
    np.testing.assert_array_equal(one, np.copysign([1.0, 2.0], order[0]))
    np.testing.assert_array_equal(other, np.copysign([1.0, 2.0], order[1]))


@pytest.mark.parametrize("order", [(1, True), (True, 1), (1, 1.0), (1.0, 1)])
def test_settings_of_other_classes_are_other_settings(order):
    @op(kind="elementwise", declare=False)
    def counted(x, *, by=1):
        return x + {int: 10.0, bool: 20.0, float: 30.0}[type(by)]

    expected = {int: [11.0, 12.0], bool: [21.0, 22.0], float: [31.0, 32.0]}
    found = tg.compile(lambda x: tuple(counted(x, by=by) for by in order))(VECTOR)
    for by, one in zip(order, found, strict=True):
        np.testing.assert_array_equal(one, expected[type(by)])


def test_emitted_settings_that_are_equal_and_not_the_same_are_two_kernels():
    @op(kind="elementwise", declare=False)
    def signed(x, *, by=0.0):
        return -x if np.signbit(by) else x

    @signed.emit
    def signed_emit(code, x, *, by):
        return code.negative(x) if np.signbit(by) else x

    found = tg.compile(lambda x: (np.exp(signed(x, by=0.0)) * 0 + 1, np.exp(signed(x, by=-0.0)) * 0 - 1))(
        VECTOR
    )
    np.testing.assert_array_equal(found[0], [1, 1])
    np.testing.assert_array_equal(found[1], [-1, -1])
    one, other = tg.compile(lambda x, y: (signed(x, by=0.0) + 1, signed(y, by=-0.0) + 1))(VECTOR, VECTOR * 1)
    np.testing.assert_array_equal(one, [2, 3])
    np.testing.assert_array_equal(other, [0, -1])


def test_settings_that_are_equal_and_not_the_same_are_two_computations():
    @op(kind="elementwise", declare=False)
    def signed(x, *, by=0.0):
        return np.copysign(x, by)

    found = tg.compile(lambda x: (signed(x, by=0.0), signed(x, by=-0.0)))(VECTOR)
    np.testing.assert_array_equal(found[0], VECTOR)
    np.testing.assert_array_equal(found[1], -VECTOR)


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_kernels_of_zeros_of_either_sign_are_two(shape, zero):
    x = np.full(shape, 2.0)
    for number in (zero, -zero):
        found = tg.compile(lambda x, number=number: np.exp(x * number) * 0 + x * number)(x)
        np.testing.assert_array_equal(np.signbit(found), np.signbit(np.exp(x * number) * 0 + x * number))
        twice = tg.compile(lambda x: (x * 0.0, x * -0.0, (x * 0.0) * 2.0))(x)
        assert [bool(np.signbit(one).any()) for one in twice] == [False, True, False]


def test_a_module_called_norm_is_no_composite():
    class Model(tg.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = tg.nn.Linear(2, 2, dtype=float)

        def forward(self, x):
            return np.linalg.norm(self.norm(x))

    graph = tg.capture(Model(), VECTOR)
    named = {name for node in graph.nodes for name, _ in node.scope if name == "norm"}
    assert named == {"norm"}
    kinds = [
        [isinstance(name, CompositeName) for name, _ in node.scope] for node in graph.nodes if node.scope
    ]
    assert [False] in kinds
    assert [True] in kinds
    assert "norm" in graph.draw(zoom="composite").source


def test_files_keep_what_is_a_composite(tmp_path):
    class Model(tg.nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = tg.nn.Linear(2, 2, dtype=float)

        def forward(self, x):
            return np.linalg.norm(self.norm(x))

    graph = tg.capture(Model(), VECTOR)
    graph.save(tmp_path / "g.json")
    loaded = tg.load(tmp_path / "g.json")

    def kinds(graph):
        return [[(str(name), type(name)) for name, _ in node.scope] for node in graph.nodes]

    assert kinds(loaded) == kinds(graph)


def test_the_page_tells_two_ops_of_one_name_apart():
    one, other = another("exp", 2.0), another("exp", 5.0)
    graph = tg.capture(lambda x: np.exp(one(other(x))), VECTOR)
    payload = Payload({}, {}, None, {id(node): i for i, node in enumerate(graph.nodes)}, {})
    titles = [payload._title(node.op) for node in graph.nodes if node.op is not None]
    assert len(set(titles)) == 3
    assert all(title.startswith("exp") for title in titles)
    assert set(payload.ops) == set(titles)


def test_diff_tells_two_ops_of_one_name_apart():
    one, other = another("exp", 2.0), another("exp", 5.0)
    found = diff(tg.capture(lambda x: one(x), VECTOR), tg.capture(lambda x: other(x), VECTOR))
    (change,) = found.changed
    assert change.details[0].startswith("was exp, another op, of ")
    assert not diff(tg.capture(lambda x: one(x), VECTOR), tg.capture(lambda x: one(x), VECTOR)).changed


def test_a_file_refers_to_no_other_op_of_the_name(tmp_path):
    impostor = another("exp", 2.0)
    impostor.package = "tinygraph_ops"
    graph = tg.capture(lambda x: impostor(x), VECTOR)
    with pytest.raises(FileFormatError, match="'exp' is not registered"):
        graph.save(tmp_path / "g.json")


def rewritten(p, q, x, times):
    """A step that replaces a state several times, so that versions of it are dropped while it is captured."""
    with tg.no_grad():
        q *= x
        for _ in range(times):
            q -= np.tanh(p)
        q[...] = x * 0.5
    z = q * x
    y = x
    for _ in range(3 * times + 6):  # nodes that may get the ids of those that were dropped
        y = np.sin(y * p)
    loss = (y * z + p * q).sum()
    loss.backward()
    return loss


@pytest.mark.parametrize("times", range(1, 8))
def test_gradients_of_a_state_that_a_step_writes_often(times):
    def states():
        return [tg.tensor(v, requires_grad=True) for v in ([0.3, -0.2], [1.0, 2.0])]

    x = tg.tensor([2.0, 3.0])
    eager, compiled = states(), states()
    rewritten(*eager, x, times)
    tg.compile(lambda x: rewritten(*compiled, x, times))(x)
    for one, other in zip(eager, compiled, strict=True):
        np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-12)


def test_what_stands_for_a_replaced_parameter_lives_as_long_as_the_capture(monkeypatch):
    traces = []

    class Kept(trace.Trace):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            traces.append(self)

    monkeypatch.setattr(trace, "Trace", Kept)
    p, q = (tg.tensor([value], requires_grad=True) for value in (0.3, 1.0))
    tg.capture(lambda x: rewritten(p, q, x, 3), np.ones(1))
    (kept,) = traces
    assert len(kept.versions) >= 4  # the captured program drops three of them
    assert {node.op for node in kept.versions} == {tg.ops.identity}
    assert set(kept.versions.values()) == {q._leaf}
