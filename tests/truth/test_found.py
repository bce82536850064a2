"""What random programs found, as the smallest program of each and its siblings, with literal values.

Numbers of Python's in captures, numbers given to graphs, objects in plans, names of 0-d tensors, integers in norms and
products.
"""

from __future__ import annotations

import gc
import numbers
import operator
import os
import subprocess
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.truth.test_cases import T, close
from tinygraph.errors import CaptureError, DTypeError, InPlaceError, OpError, RecordingError, ShapeError

ones = np.ones(3)


# -- what Python asks of a captured number ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "number", "expected"),
    [
        (lambda x, n: x * (2 if isinstance(n, int) else 3), 5, 2),
        (lambda x, n: x * (2 if isinstance(n, int) else 3), 5.0, 3),
        (lambda x, n: x * (2 if isinstance(n, bool) else 3), 5, 3),
        (lambda x, n: x * (2 if isinstance(n * n, int) else 3), 5, 2),
        (lambda x, n: x * (2 if isinstance(n / 2, float) else 3), 5, 2),
        (lambda x, n: x * (2 if isinstance(abs(n), int) else 3), -5, 2),
        (lambda x, n: x * (2 if isinstance(n, numbers.Integral) else 3), 5, 2),
        (lambda x, n: x * (2 if isinstance(n, numbers.Integral) else 3), 5.0, 3),
        (lambda x, n: x * (2 if isinstance(n, int | float) else 3), 5.0, 2),
        (lambda x, n: x * (2 if n.__class__ is float else 3), -0.0, 2),
        (lambda x, n: x * (2 if isinstance(n, np.ndarray) else 3), 5, 3),
    ],
)
def test_isinstance_of_a_python_number_is_answered(function: Any, number: Any, expected: float) -> None:
    np.testing.assert_array_equal(tg.compile(function)(ones, number), ones * expected)
    np.testing.assert_array_equal(tg.capture(function, ones, number)(ones, number), ones * expected)


@pytest.mark.parametrize(
    "function",
    [
        lambda x, n: x + (type(n) is float),
        lambda x, n: x * (2 if type(n) in (int, float) else 3),
        lambda x, n: (lambda: x + (type(n) is float))(),
        lambda x, n: next(x + (type(m) is float) for m in (n,)),
    ],
)
def test_type_of_a_python_number_is_refused(function: Callable[..., Any]) -> None:
    with pytest.raises(CaptureError, match="isinstance"):
        tg.compile(function)(ones, -0.0)


def test_type_of_something_else_is_no_matter() -> None:
    def named(x: Any, n: Any, what: Any) -> Any:
        return x * n if type(what) is str else x

    np.testing.assert_array_equal(tg.compile(named)(ones, 2.0, "a"), ones * 2)


# -- numbers given to a graph -----------------------------------------------------------------------------------------


def test_a_graph_takes_integers_of_any_size() -> None:
    graph = tg.capture(lambda x, n: x * n, ones, 2)
    np.testing.assert_array_equal(graph(ones, 2**70), ones * 2.0**70)
    np.testing.assert_array_equal(graph(ones, True), ones)
    np.testing.assert_array_equal(tg.capture(lambda x, n: x * n, ones, 2.0)(ones, 3), ones * 3)


@pytest.mark.parametrize(
    ("captured", "given", "error"),
    [
        (2.0, {"a": 1}, DTypeError),
        (2.0, "a", DTypeError),
        (2.0, 1j, DTypeError),
        (2.0, None, DTypeError),
        (2, 2.5, DTypeError),
        (2, None, DTypeError),
        (2, [1, 2], ShapeError),
        (np.array([1, 2, 3]), [1.5, 2.5, 3.5], DTypeError),
        (np.array([1, 2, 3], "int8"), [1, 2, 300], DTypeError),
    ],
)
def test_a_graph_refuses_what_its_input_cannot_hold(
    captured: Any, given: Any, error: type[Exception]
) -> None:
    graph = tg.capture(lambda x, n: x * n, ones, captured)
    with pytest.raises(error, match=r"input 1 \(n\)"):
        graph(ones, given)


# -- objects in plans --------------------------------------------------------------------------------------------------


def test_fractions_take_part_in_compiled_functions() -> None:
    half = Fraction(1, 2)
    assert tg.compile(np.maximum)(np.array([1, 0, 2]), half).tolist() == [1, half, 2]
    found = tg.compile(lambda y, n: np.clip(y, n, n + 1))(np.array([1.0, 0.5]), Fraction(1))
    assert found.tolist() == [1.0, Fraction(1)]
    assert tg.compile(lambda y, n: (y * n + n).sum())(np.array([1, 3]), half) == 3
    assert tg.compile(lambda y, n: y / n)(np.array([1, 3]), half).tolist() == [2, 6]


# -- `+=` of what is a scalar to NumPy ---------------------------------------------------------------------------------


def aliased(y: Any) -> Any:
    t = y * 2.0
    alias = t
    alias += 1.0
    return t


def of_a_sum(y: Any) -> Any:
    kept = [np.sum(y)]
    total = kept[0]
    total *= 3.0
    return kept[0]


def in_a_call(y: Any) -> Any:
    def doubled(t: Any) -> Any:
        t += t
        return t

    t = y - 1.0
    return doubled(t) + t


@pytest.mark.parametrize("function", [aliased, of_a_sum, in_a_call])
def test_a_captured_number_with_two_names_is_not_written(function: Callable[..., Any]) -> None:
    with pytest.raises(InPlaceError, match="another name"):
        tg.compile(function)(np.array(0.75))


def test_a_captured_number_with_one_name_is_updated() -> None:
    def gathered(x: Any) -> Any:
        total = np.sum(x)
        held = [np.max(x)]
        for i in range(3):
            total += i * np.sum(x)
            held[0] -= 1.0
        total /= 2.0
        return total * held[0]

    assert tg.compile(gathered)(np.array([1.0, 5.0])) == 24.0


# -- integers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [lambda f, x: tg.compile(f)(x), lambda f, x: f(tg.tensor(x))])
def test_norms_and_products_of_integers(run: Any) -> None:
    large, small, bools = np.array([2**62, 1, -1]), np.array([100, -100], "int8"), np.array([True, True])
    assert float(run(np.linalg.norm, large)) == 2.0**62
    np.testing.assert_allclose(np.asarray(run(np.linalg.norm, small)), 141.4213562373095)
    of_order_one = np.asarray(run(lambda x: np.linalg.norm(x, 1), np.array([2**62, 2**62])))
    assert (of_order_one, of_order_one.dtype) == (2.0**63, np.float64)
    assert np.asarray(run(lambda x: np.linalg.norm(x, np.inf), bools)).dtype == np.float64
    product = np.asarray(run(lambda x: np.vecdot(x, x), small))
    assert (product, product.dtype) == (32, np.int8)  # 20,000 - 78 * 256
    for dot in (np.vdot, np.vecdot):
        assert np.asarray(run(lambda x, dot=dot: dot(x, x), bools)).dtype == bool


# -- what a checkpointed function returns besides tensors --------------------------------------------------------------


def test_a_checkpoint_returns_plain_values_as_they_are() -> None:
    w = tg.tensor(ones, requires_grad=True)
    product, third, number, array = tg.checkpoint(lambda n: (w * 2, n**2, 3, ones + 1))(Fraction(1, 3))
    assert third == Fraction(1, 9)
    assert type(third) is Fraction
    assert type(number) is int
    assert type(array) is np.ndarray
    product.sum().backward()
    np.testing.assert_array_equal(np.asarray(w.grad), ones * 2)


# -- what Python asks of a captured array -----------------------------------------------------------------------------

tensors, arrays, scalar, axisless = tg.tensor(ones), ones, np.float64(2.0), np.array(2.0)


@pytest.mark.parametrize(
    ("asked", "given", "answer"),
    [
        (lambda x: isinstance(x, tg.Tensor), arrays, False),
        (lambda x: isinstance(x, tg.Tensor), tensors, True),
        (lambda x: isinstance(x, tg.Tensor), 2.0, False),
        (lambda x: isinstance(x, tg.Tensor), 2, False),
        (lambda x: isinstance(x, tg.Tensor), scalar, False),
        (lambda x: isinstance(x, tg.Tensor | int), 2, True),
        (lambda x: isinstance(x, np.ndarray), arrays, True),
        (lambda x: isinstance(x, np.ndarray), tensors, False),
        (lambda x: isinstance(x, np.ndarray), axisless, True),
        (lambda x: isinstance(x, np.ndarray), scalar, False),
        (lambda x: isinstance(x, np.generic), scalar, True),
        (lambda x: isinstance(x, float), scalar, True),
        (lambda x: isinstance(x, float), axisless, False),
        (lambda x: x.__class__ is np.ndarray, arrays, True),
        (lambda x: hasattr(x, "shape"), 2.0, False),
        (lambda x: hasattr(x, "shape"), arrays, True),
        (lambda x: hasattr(x, "sum"), 2, False),
        (lambda x: hasattr(x, "real"), 2, True),
        (lambda x: hasattr(x, "numpy"), arrays, False),
        (lambda x: hasattr(x, "numpy"), tensors, True),
        (lambda x: hasattr(x, "requires_grad"), arrays, False),
        (lambda x: getattr(x, "ndim", 7) == 7, 2.0, True),
        (lambda x: getattr(x, "no_such_name", 7) == 7, arrays, True),
        # what is computed of them
        (lambda x: isinstance(x * 2, tg.Tensor), arrays, False),
        (lambda x: isinstance(x * 2, tg.Tensor), 2.0, False),
        (lambda x: isinstance(x * tensors, tg.Tensor), arrays, True),
        (lambda x: isinstance(np.sin(x), np.ndarray), arrays, True),
        (lambda x: isinstance(x.sum(), float), arrays, True),
        (lambda x: isinstance(x.sum(), np.ndarray), arrays, False),
        (lambda x: isinstance(x[0], float), arrays, True),
        (lambda x: isinstance(x[..., 0], np.ndarray), arrays, True),
        (lambda x: isinstance(x[:2], np.ndarray), arrays, True),
        (lambda x: isinstance(x[()], np.ndarray), axisless, False),
        (lambda x: isinstance(x[()], tuple), axisless, False),
        (lambda x: isinstance(x[...], np.ndarray), axisless, True),
        (lambda x: isinstance(np.squeeze(x), np.ndarray), axisless, True),
        (lambda x: isinstance(np.squeeze(x), np.generic), scalar, True),
        (lambda x: isinstance(np.squeeze(x.reshape(1)), np.ndarray), axisless, True),
        (lambda x: isinstance(np.where(x > 0, x, 0.0), np.ndarray), scalar, True),
        (lambda x: np.where(ones > 1, np.squeeze(x), 0.0).shape == (3,), axisless, True),
        (lambda x: isinstance(np.maximum(x, 0.0), float), axisless, True),
        (lambda x: isinstance(tg.grad(np.sum)(x), np.ndarray), arrays, True),
        (lambda x: isinstance(tg.grad(lambda v: (v * tensors).sum())(x), tg.Tensor), arrays, False),
        (lambda x: isinstance(tg.grad(np.sum)(x), tg.Tensor), tensors, True),
        (lambda x: isinstance(tg.hessian(lambda v: (v * v).sum())(x), np.ndarray), arrays, True),
        (lambda x: isinstance(tg.nn.ReLU()(x), tg.Tensor), arrays, True),
        (lambda x: tg.grad(lambda v: v * isinstance(v, tg.Tensor))(x) == 1, 3.0, True),
    ],
)
def test_classes_and_attributes_are_what_eager_code_sees(asked: Any, given: Any, answer: bool) -> None:
    def function(x: Any) -> Any:
        return np.sin(x) * 0 + (2 if asked(x) else 3)

    assert bool(asked(given)) is answer
    found = np.asarray(tg.compile(function)(given))
    np.testing.assert_array_equal(found, np.full(found.shape, 2.0 if answer else 3.0))


@pytest.mark.parametrize(
    ("asked", "given", "words"),
    [
        (lambda x: x.tobytes(), ones, "tobytes"),
        (lambda x: hasattr(x, "ctypes"), ones, "ctypes"),
        (lambda x: x.is_integer(), 2.0, "is_integer"),
        (lambda x: x.bit_length(), 2, "bit_length"),
        (lambda x: type(x) is np.ndarray, ones, "isinstance"),
        (lambda x: (lambda y: type(y) is np.ndarray)(x * 2), ones, "isinstance"),
        (lambda x: isinstance(x[0], np.ndarray), np.array([Fraction(1, 2)], object), "np.shape"),
    ],
)
def test_what_a_capture_cannot_answer_of_an_array_is_refused(asked: Any, given: Any, words: str) -> None:
    with pytest.raises(CaptureError, match=rf"(?s){words}.*"):
        tg.compile(lambda x: x * asked(x))(given)


def test_numbers_are_not_written() -> None:
    def function(x: Any, n: Any) -> Any:
        before, held = n, [n]
        n += 1
        held[0] *= 5
        return x * before * 100 + x * n * 10 + held[0]

    assert function(1.0, 2) == 240.0
    np.testing.assert_array_equal(tg.compile(function)(ones, 2), ones * 240)


def test_a_gradient_is_taken_of_captured_arrays_that_a_function_closes_over_and_without_recording() -> None:
    def of_a_constant(x: Any) -> Any:
        return tg.grad(lambda v: (v * x * x).sum())(ones)

    def unrecorded(x: Any) -> Any:
        with tg.no_grad():
            return tg.grad(lambda v: (v * v).sum())(x)

    three = 3 * ones
    np.testing.assert_array_equal(tg.compile(of_a_constant)(three), [9, 9, 9])
    np.testing.assert_array_equal(tg.compile(unrecorded)(three), [6, 6, 6])


@pytest.mark.parametrize(
    ("function", "given", "right"),
    [
        (lambda x: np.take(x, 0, axis=0), axisless, 2.0),
        (lambda x: np.take(x, [0, 0], axis=-1), axisless, [2.0, 2.0]),
        (lambda x: np.argsort(x, axis=0), axisless, [0]),
        (lambda x: np.argsort(x), axisless, [0]),
        (lambda x: np.power(x, 2), np.array([True, False]), [1, 0]),
        (lambda x: np.power(x, 3), np.array([True, False]), [1, 0]),
        (lambda x: x**2, np.array([True, False]), [1, 0]),
    ],
)
def test_zero_axes_and_bools_to_a_power_are_as_in_numpy(function: Any, given: Any, right: Any) -> None:
    eager = function(given)
    assert eager.tolist() == right
    for found in (
        tg.compile(function)(given),
        function(tg.tensor(given)),
        tg.compile(function)(tg.tensor(given)),
    ):
        found = np.asarray(found)
        assert (found.dtype, found.tolist()) == (eager.dtype, right)


@pytest.mark.parametrize("returned", ["product", "argument"])
def test_a_state_that_is_given_an_argument_with_a_gradient(returned: str) -> None:
    """Seeds 1499, 1528, 1834 and 2159: only arguments carried gradients, and there was no parameter to refuse by."""
    s = tg.tensor(2.0)

    def body(x: Any) -> Any:
        s[...] = np.sum(x)
        return x * s if returned == "product" else x

    gradient = tg.grad(lambda x: tg.compile(body)(x).sum())(np.array([1.0, 2.0]))
    np.testing.assert_array_equal(gradient, [6.0, 6.0] if returned == "product" else [1.0, 1.0])
    assert s.item() == 3
    with pytest.raises(RecordingError, match="carries a gradient"):
        (s * 2).backward()


def test_a_state_that_is_given_an_argument_with_a_gradient_twice() -> None:
    """Seed 1528: in the second call the result carried an edge that led to no argument, and the gradient was 0."""
    s = tg.tensor([2.0, 3.0])

    @tg.compile
    def body(x: Any) -> Any:
        s[...] = np.sum(x)
        return x * s

    def gradient() -> Any:
        return tg.grad(lambda x: body(x).sum())(np.array([1.0, 2.0]))

    np.testing.assert_array_equal(gradient(), [6.0, 6.0])
    with pytest.raises(RecordingError, match=r"to its arguments.*state\[...\] = value.detach\(\)"):
        gradient()
    with tg.no_grad():
        assert body(np.array([1.0, 4.0])).tolist() == [5, 20]


def test_a_compiled_call_has_the_second_derivatives_of_its_function_at_kinks() -> None:
    """A slope used once has the second derivative 0 at its kink; what squares it has none there. As eagerly."""
    x = np.array([-1.0, 0.0, 2.0])

    def curved(inner: Any) -> Any:
        return tg.grad(lambda u: np.sum(tg.grad(lambda t: np.sum(inner(t)) + np.sum(t * t))(u) * 1.5))(x)

    for inner, right in (
        (lambda t: np.minimum(t, 0.0), [3.0, 3.0, 3.0]),
        (np.abs, [3.0, 3.0, 3.0]),
        (lambda t: np.abs(t) ** 2, [6.0, np.nan, 6.0]),
    ):
        np.testing.assert_array_equal(curved(inner), right)
        np.testing.assert_array_equal(curved(tg.compile(inner)), right)


# -- values that decide: numbers a dtype, and layouts of arguments what is a view --------------------------------------


def test_the_number_that_decides_a_dtype_is_asked_for() -> None:
    def power(x: Any, n: int) -> Any:
        return x**n

    compiled = tg.compile(power)
    bools = np.array([True, False])
    for n, dtype in ((3, "int64"), (2, "int8"), (2, "int8"), (0, "int64"), (1, "int64")):
        found = compiled(bools, n)
        assert (found.dtype, found.tolist()) == (np.dtype(dtype), [1, int(n == 0)])
    assert compiled.explain_recapture().count("capture") == 2
    assert "decides a dtype" in compiled.explain_recapture()
    integers = tg.compile(power)  # of which no power has a dtype of its own
    assert [integers(np.array([3]), n).tolist() for n in (1, 2, 3)] == [[3], [9], [27]]
    assert integers.explain_recapture().count("capture") == 1


def sine_written(x: Any) -> Any:
    y = np.sin(x)
    flat = y.reshape(-1)
    flat[0] = 7.0
    return y * 1


def sum_written_through_a_ravel(x: Any) -> Any:
    y = x + x
    flat = y.ravel()
    flat[0] = 7.0
    return y * 1


def scaled_and_written_in_new_rows(x: Any) -> Any:
    y = x * 0.5
    rows = y.reshape(3, 2)
    rows[0] = 7.0
    return y * 1


@pytest.mark.parametrize(
    "function", [sine_written, sum_written_through_a_ravel, scaled_and_written_in_new_rows]
)
def test_whether_a_reshape_is_a_view_depends_on_how_arguments_lie(function: Any, tmp_path: Path) -> None:
    """NumPy copies what lies in columns, and writes to the copy do not reach it."""
    rows = np.arange(6.0).reshape(2, 3)
    compiled = tg.compile(function)
    assert 7.0 in compiled(rows)
    columns = np.asfortranarray(rows)
    assert 7.0 not in function(columns)
    for given in (columns, tg.tensor(columns), np.broadcast_to(np.arange(3.0), (2, 3))):
        with pytest.raises(InPlaceError, match="lies in memory"):
            compiled(given)
    np.testing.assert_array_equal(compiled(rows), function(rows))
    with pytest.raises(InPlaceError, match="lies in memory"):
        tg.capture(function, columns)
    graph = tg.capture(function, rows)
    graph.save(str(tmp_path / "graph.json"))
    for one in (graph, tg.load(str(tmp_path / "graph.json")), tg.Graph.from_networkx(graph.to_networkx())):
        np.testing.assert_array_equal(one(rows), function(rows))
        with pytest.raises(ShapeError, match="row by row"):
            one(columns)


@pytest.mark.parametrize("run", [lambda f, x: f(tg.tensor(x)), lambda f, x: tg.compile(f)(tg.tensor(x))])
def test_a_copy_lies_in_rows_as_in_numpy(run: Any) -> None:
    """So that a reshape of it is a view; `np.copy` keeps the layout, and `+x` does."""

    def written(x: Any) -> Any:
        y = x.T.copy()
        flat = y.reshape(-1)
        flat += 1.0
        return y * 1

    given = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(np.asarray(run(written, given)), [[1, 4], [2, 5], [3, 6]])
    assert np.asarray(tg.tensor(given).T.copy()).flags.c_contiguous
    assert np.asarray(np.copy(tg.tensor(given).T)).flags.f_contiguous
    assert np.asarray(+tg.tensor(given).T).flags.f_contiguous


# -- numbers below the smallest normal one -----------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(), (3,), (1000,)])
@pytest.mark.parametrize(
    ("function", "right"),
    [
        (lambda a, b: a * b, 1e-42),
        (lambda a, b: a / (1 / b), 1e-42),
        (lambda a, b: np.exp(np.log(a) + np.log(b)), 1e-42),
        (lambda a, b: (a * b) * 0.5 + (a * b) * 0.5, 1e-42),
        (lambda a, b: np.maximum(a * b, 0), 1e-42),
        (lambda a, b: tg.ops.relu(a * b), 1e-42),
        (lambda a, b: np.sqrt(a * b), 1e-21),
        (lambda a, b: np.mean(a * b), 1e-42),
        (lambda a, b: a * b * 1e30, 1e-12),
        (lambda a, b: np.tanh(a * b), 1e-42),
    ],
)
def test_small_numbers_are_not_flushed_to_zero(function: Any, right: float, shape: tuple[int, ...]) -> None:
    a, b = np.full(shape, 1e-30, np.float32), np.full(shape, 1e-12, np.float32)
    for found in (function(a, b), function(tg.tensor(a), tg.tensor(b)), tg.compile(function)(a, b)):
        np.testing.assert_allclose(np.asarray(found), np.float32(right), rtol=1e-3, atol=1.5e-45)


# -- what Python reads in out-of-the-way places ------------------------------------------------------------------------


class Meta(type):
    scale = 2.0


class WithMeta(metaclass=Meta):
    pass


settings = SimpleNamespace(scale=2.0)
owner: Any = None
reference: Any = None


def shut_out() -> None:
    global owner
    owner = None


@pytest.mark.parametrize(
    ("reads", "change", "before", "after"),
    [
        (lambda t: t * WithMeta.scale, lambda: setattr(Meta, "scale", 5.0), 2.0, 5.0),
        (lambda t: t * float(f"{settings.scale}"), lambda: setattr(settings, "scale", 3.0), 2.0, 3.0),
        (lambda t: t * float(f"{settings.scale}"), lambda: setattr(settings, "scale", 4.0), 2.0, 4.0),
        (lambda t: t * (3.0 if reference() is None else 2.0), shut_out, 2.0, 3.0),
        (lambda t: t * np.get_printoptions()["precision"], lambda: np.set_printoptions(precision=3), 8.0, 3.0),
        (lambda t: t * (np.geterr()["over"] == "raise"), lambda: np.seterr(over="raise"), 0.0, 1.0),
        (lambda t: t * sys.getrecursionlimit(), lambda: sys.setrecursionlimit(4321), 3210.0, 4321.0),
    ],
)  # fmt: skip
def test_odd_places_are_followed(
    reads: Any, change: Any, before: float, after: float, restored: None
) -> None:
    compiled = tg.compile(reads)
    np.testing.assert_array_equal(compiled(ones), before * ones)
    change()
    np.testing.assert_array_equal(compiled(ones), after * ones)


def test_a_capture_lets_go_of_what_it_met_at_once(restored: None) -> None:
    """Not when the garbage collector comes by: what only a weak reference names is gone when its owner lets go."""
    compiled = tg.compile(lambda t: t * (3.0 if reference() is None else 2.0))
    gc.collect()
    gc.disable()
    try:
        np.testing.assert_array_equal(compiled(ones), 2.0 * ones)
        shut_out()
        assert reference() is None
        np.testing.assert_array_equal(compiled(ones), 3.0 * ones)
    finally:
        gc.enable()


@pytest.fixture
def restored() -> Iterator[None]:
    """The state of Python that the programs above change."""
    global owner, reference
    limit = sys.getrecursionlimit()
    owner = WithMeta()
    reference = weakref.ref(owner)
    sys.setrecursionlimit(3210)
    settings.scale = Meta.scale = 2.0
    with np.errstate(over="warn"), np.printoptions(precision=8):
        yield
    sys.setrecursionlimit(limit)


@pytest.mark.parametrize(
    "asks",
    [
        lambda t, path: t * np.load(path),
        lambda t, path: t * np.loadtxt(path),
        lambda t, path: t * np.fromfile(path),
        lambda t, path: t * len(Path(path).read_bytes()),
        lambda t, path: t * os.path.exists(path),
        lambda t, path: t * os.stat(path).st_mtime,
        lambda t, path: t * len(os.listdir(os.path.dirname(path))),
        lambda t, path: t * len(os.getcwd()),
        lambda t, path: t * len(subprocess.check_output(["echo", path])),
        lambda t, path: (np.save(path, ones), t * 2.0)[1],
        lambda t, path: t * (threading.get_ident() % 7),
    ],
)
def test_files_and_processes_are_refused(asks: Any, tmp_path: Path) -> None:
    path = str(tmp_path / "numbers.npy")
    np.save(path, ones)
    with pytest.raises(CaptureError, match=r"at test_found\.py:\d+ .*once and then repeat"):
        tg.compile(lambda t: asks(t, path))(ones)


def test_a_module_that_is_imported_in_a_capture_and_a_warning_that_is_shown_open_files_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "of_their_own.py").write_text("SCALE = 3.0\n")
    monkeypatch.syspath_prepend(str(tmp_path))

    def program(t: Any) -> Any:
        import of_their_own  # type: ignore[import-not-found]

        warnings.warn("look", stacklevel=1)
        return t * of_their_own.SCALE

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = lambda *args: warnings.formatwarning(*args[:4])
        np.testing.assert_array_equal(tg.compile(program)(ones), 3 * ones)


@pytest.mark.parametrize(
    ("given", "right"), [(tg.tensor(2.0, requires_grad=True), 6.0), (tg.tensor(2.0), 10.0)]
)
def test_a_graph_is_captured_with_the_answers_of_its_examples(given: Any, right: float) -> None:
    def asks(x: Any) -> Any:
        y = x + 0.0
        return y * 3.0 if y.requires_grad else x * 5.0

    assert asks(given).item() == right
    assert tg.capture(asks, given)(given).item() == right
    assert tg.compile(asks)(given).item() == right


# -- ufuncs on small integers and bools --------------------------------------------------------------------------------

bools, bytes_, small = (
    np.array([True, False, True]),
    np.array([200, 3, 0], "uint8"),
    np.array([-128, 3, 0], "int8"),
)


@pytest.mark.parametrize(
    ("ufunc", "given", "dtype", "right"),
    [
        (np.copysign, (small, -1), "float16", [-128, -3, -0.0]),  # abs(int8(-128)) is -128
        (np.copysign, (bools, bools), "float16", [1, 0, 1]),
        (np.fabs, (small,), "float16", [128, 3, 0]),
        (np.fabs, (bools,), "float16", [1, 0, 1]),
        (np.rint, (bytes_,), "float16", [200, 3, 0]),
        (np.rint, (np.array([-300], "int16"),), "float32", [-300]),
        (np.fmod, (bools, small), "int8", [1, 0, 0]),  # the remainder of the sizes was -127
        (np.fmod, (small, 3), "int8", [-2, 0, 0]),
        (np.fmod, (np.array([-7, 7]), np.array([3, -3])), "int64", [-1, 1]),
        (np.heaviside, (bools, 0.5), "float64", [1, 0.5, 1]),
        (np.ldexp, (bools, 2), "float16", [4, 0, 4]),
        (np.ldexp, (small, 300), "float16", [-np.inf, np.inf, 0]),
        (np.logaddexp2, (bools, bools), "float16", [2, 1, 2]),
        (np.fmin, (small, 2), "int8", [-128, 2, 0]),
        (np.left_shift, (small, 2), "int8", [0, 12, 0]),
        (np.right_shift, (small, 2), "int8", [-32, 0, 0]),
        (np.gcd, (small, 12), "int8", [4, 3, 12]),
        (np.nextafter, (np.array([0.0, 0.0]), -0.0), "float64", [-0.0, -0.0]),
        (np.float_power, (np.array([-np.inf, -0.0, 4.0]), 0.5), "float64", [np.inf, 0, 2]),
    ],
)
def test_ufuncs_compute_in_numpys_dtypes(
    ufunc: Any, given: tuple[Any, ...], dtype: str, right: list[float]
) -> None:
    tensors = tuple(tg.tensor(one) if isinstance(one, np.ndarray) else one for one in given)
    rest = given[1:]
    compiled = tg.compile(lambda x, *others: ufunc(x, *(others or rest)))
    with np.errstate(all="ignore"):
        for found in (ufunc(*given), ufunc(*tensors)):
            found = np.asarray(found)
            assert (found.dtype, repr(found.tolist())) == (
                np.dtype(dtype),
                repr(np.array(right, dtype).tolist()),
            )
        try:  # or a refusal, where an answer without a gradient is asked for in a capture
            found = np.asarray(compiled(given[0]))
        except CaptureError:
            return
    assert (found.dtype, found.tolist()) == (np.dtype(dtype), right)


def test_the_parts_of_small_integers_are_small_floats() -> None:
    rest, whole = np.modf(tg.tensor(small))
    assert (rest.dtype, whole.dtype, whole.numpy().tolist()) == (np.float16, np.float16, [-128, 3, 0])
    assert np.signbit(rest.numpy()).tolist() == [
        True,
        False,
        False,
    ]  # of a whole negative number -0.0 is left
    size, exponent = np.frexp(tg.tensor(bytes_))
    assert (size.dtype, np.asarray(exponent).tolist()) == (np.float16, [8, 2, 0])
    np.testing.assert_array_equal(
        tg.grad(lambda x: np.modf(x)[0].sum())(np.array([-2.0, -2.5, 2.0])), [1, 1, 1]
    )


@pytest.mark.parametrize("ufunc", [np.fmax, np.fmin, np.fmod])
@pytest.mark.parametrize(("given", "number"), [(small, 300), (bytes_, -1), (small, -129)])
def test_integers_that_no_small_dtype_holds_are_refused(ufunc: Any, given: Any, number: int) -> None:
    for operands in ((tg.tensor(given), number), (number, tg.tensor(given))):
        with pytest.raises(OverflowError, match="out of bounds"):
            ufunc(*operands)


@pytest.mark.parametrize("plus", [np.positive, operator.pos, lambda x: tg.compile(lambda t: +t)(x)])
def test_bools_have_no_plus(plus: Any) -> None:
    with pytest.raises(DTypeError, match="no \\+ of bools"):
        plus(tg.tensor(bools))


# -- what writes, and what is written with it --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("write", "right"),
    [  # of y = [1, 2, 3] and its view z = y[0:2]: what y is afterwards, summed
        (operator.ipow, 1 + 4 + 3),
        (operator.ifloordiv, 0 + 1 + 3),
        (operator.imod, 1 + 0 + 3),
        (operator.iadd, 3 + 4 + 3),
    ],
)
def test_every_operator_that_writes_in_numpy_writes_through_views(write: Any, right: float) -> None:
    def program(x: Any) -> Any:
        y = x * 1.0
        z = y[0:2]
        assert write(z, 2) is z
        return np.sum(y)

    assert program(np.array([1.0, 2.0, 3.0])) == right
    assert program(T([1, 2, 3])).item() == right
    assert tg.compile(program)(np.array([1.0, 2.0, 3.0])) == right


@pytest.mark.parametrize(
    ("write", "right"),
    [
        (operator.iand, [4, 2, 7]),
        (operator.ior, [7, 6, 7]),
        (operator.ixor, [3, 4, 7]),
        (operator.ilshift, [320, 128, 7]),
        (operator.irshift, [0, 0, 7]),
    ],
)
def test_operators_of_integers_write_too(write: Any, right: list[int]) -> None:
    y = tg.tensor(np.array([5, 2, 7]))
    z = y[0:2]
    write(z, 6)
    assert y.tolist() == right


def test_a_gradient_passes_through_powers_and_products_in_place() -> None:
    def program(x: Any) -> Any:
        y = x * 1.0
        row = y[0]
        row **= 3
        return np.sum(y)

    close(tg.grad(program)(np.array([[2.0, 3.0], [4.0, 5.0]])), [[12, 27], [1, 1]])
    m = T([[1, 2], [3, 4]]) * 1.0
    m @= np.array([[0.0, 1.0], [1.0, 0.0]])
    assert m.tolist() == [[2, 1], [4, 3]]
    number = tg.compile(lambda t, n: t * _three_operators(n))
    close(number(ones, 7), ones)  # 49 // 3 % 5


def _three_operators(n: Any) -> Any:
    n **= 2
    n //= 3
    n %= 5
    return n


@pytest.mark.parametrize(
    "diagonal", [np.diagonal, lambda y: y.diagonal(), np.linalg.diagonal, lambda y: np.diagonal(y)[0:2]]
)
def test_a_diagonal_follows_what_is_written_to_its_matrix(diagonal: Any) -> None:
    def program(x: Any) -> Any:
        y = x * 1.0
        part = diagonal(y)
        y[...] = y * 3 + 1
        return np.sum(part)

    x = np.arange(4.0).reshape(2, 2)
    assert program(x) == 1 + 10
    assert program(T(x)).item() == 11
    close(tg.grad(program)(x), [[3, 0], [0, 3]])
    assert tg.compile(program)(x) == 11
    with pytest.raises(InPlaceError, match="read-only"):
        diagonal(T(x) * 1.0)[0] = 1.0


def test_what_numpy_copies_and_does_not() -> None:
    for function, right in (
        (lambda y: np.astype(y, float, copy=False), 4.0),
        (lambda y: np.astype(y, float), 1.0),
        (np.block, 1.0),
        (lambda y: np.block([y]), 1.0),
    ):

        def program(x: Any, function: Any = function) -> Any:
            y = x * 1.0
            other = function(y)
            y[...] = 4.0
            return np.sum(other[0])

        assert program(np.ones(1)) == program(T(np.ones(1))).item() == right


@pytest.mark.parametrize(
    "text", [str, lambda n: f"{n}", "{}".format, lambda n: {"a2": "xx"}.get(f"a{n}", "x")]
)
def test_a_captured_number_has_no_digits(text: Any) -> None:
    with pytest.raises(CaptureError, match="which digits it has is not known"):
        tg.compile(lambda t, n: t * len(text(n)))(ones, 2)


def test_full_like_and_triangles_of_small_types() -> None:
    filled = tg.compile(lambda t, n: np.full_like(t, n))
    small = np.array([1, 2], np.int8)
    assert filled(small, 100).tolist() == [100, 100]
    with pytest.raises(OverflowError):
        np.full_like(small, 200)
    with pytest.raises(OpError, match="out of bounds for int8"):
        filled(small, 200)
    with pytest.raises(CaptureError, match="Pass an integer"):
        filled(small, 2.5)
    upper = np.triu(tg.tensor(np.array([[True, False], [True, True]])))
    assert upper.dtype == np.bool_
    assert upper.tolist() == [[True, False], [False, True]]
