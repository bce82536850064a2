"""Transforms within transforms: no confusion of levels, closures, containers, modes. Against derivatives by hand."""

from typing import NamedTuple

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import DTypeError, RecordingError, SettingError, ShapeError, TinygraphWarning
from tinygraph.plugin import ops
from tinygraph.testing import check_grads

X = np.array([0.3, -1.2, 0.8])


def cube(x):
    return x * x * x


# -- arrays in, arrays out -------------------------------------------------------------------------------------------


def test_arrays_give_arrays_and_tensors_tensors():
    assert isinstance(tg.grad(cube)(2.0), np.floating)
    assert isinstance(tg.grad(cube)(tg.tensor(2.0)), tg.Tensor)
    value, gradient = tg.value_and_grad(cube)(2.0)
    assert (value, gradient) == (8.0, 12.0)
    assert not isinstance(value, tg.Tensor)


def test_a_tensor_from_outside_keeps_the_result_recorded():
    w = tg.tensor(3.0, requires_grad=True)
    slope = tg.grad(lambda x: w * x * x)(2.0)
    assert slope.item() == 12.0
    slope.backward()
    assert w.grad.item() == 4.0
    assert isinstance(tg.vjp(lambda x: w, 2.0)[0], tg.Tensor)


def test_an_inner_transform_does_not_make_the_outer_result_a_tensor():
    outer = tg.grad(lambda w: tg.grad(lambda x: x * x * w)(3.0))
    assert outer(2.0) == 6.0
    assert isinstance(outer(2.0), np.floating)


def test_transforms_leave_grad_alone():
    w = tg.tensor(3.0, requires_grad=True)
    tg.grad(cube)(w)
    assert w.grad is None


def test_no_grad_outside_is_ignored_and_inside_obeyed():
    with tg.no_grad():
        assert tg.grad(cube)(2.0) == 12.0
        assert tg.jvp(cube, (2.0,), (1.0,))[1] == 12.0

    def half_detached(x):
        with tg.no_grad():
            square = x * x
        return square * x

    assert tg.grad(half_detached)(2.0) == 4.0


# -- levels ----------------------------------------------------------------------------------------------------------


def test_perturbations_of_two_levels_are_not_confused():
    # d/dx (x · d/dy (x + y)) = 1: a confused engine says 2 (Siskind and Pearlmutter 2005)
    assert tg.grad(lambda x: x * tg.grad(lambda y: x + y)(1.0))(1.0) == 1.0
    inner = lambda x: x * tg.jvp(lambda y: x + y, (1.0,), (1.0,))[1]  # noqa: E731
    assert tg.jvp(inner, (1.0,), (1.0,))[1] == 1.0
    assert tg.grad(inner)(1.0) == 1.0


def test_one_value_at_two_levels():
    # f(x) = d/dy (x y²) at y = x is 2 x², so f' = 4 x
    assert tg.grad(lambda x: tg.grad(lambda y: x * y * y)(x))(3.0) == 12.0


@pytest.mark.parametrize("order", range(1, 6))
def test_gradients_of_any_order(order):
    f = lambda x: ops.exp(2 * x)  # noqa: E731
    for _ in range(order):
        f = tg.grad(f)
    assert f(0.3) == pytest.approx(2.0**order * np.exp(0.6), rel=1e-13)


@pytest.mark.parametrize(
    "second",
    [
        lambda f: lambda x: tg.grad(tg.grad(f))(x),
        lambda f: lambda x: tg.jvp(tg.grad(f), (x,), (1.0,))[1],
        lambda f: lambda x: tg.grad(lambda y: tg.jvp(f, (y,), (1.0,))[1])(x),
        lambda f: lambda x: tg.jvp(lambda y: tg.jvp(f, (y,), (1.0,))[1], (x,), (1.0,))[1],
        lambda f: lambda x: tg.hessian(f)(x),
        lambda f: lambda x: tg.jacobian(tg.jacobian(f))(x),
        lambda f: lambda x: tg.vjp(lambda y: tg.vjp(f, y)[1](1.0)[0], x)[1](1.0)[0],
    ],
    ids=["rr", "fr", "rf", "ff", "hessian", "jacobians", "vjps"],
)
def test_both_modes_over_both_modes(second):
    def f(x):
        return np.sin(x) * x**3

    x = 0.7
    expected = -np.sin(x) * x**3 + 6 * x**2 * np.cos(x) + 6 * x * np.sin(x)
    assert second(f)(x) == pytest.approx(expected, rel=1e-13)
    assert isinstance(second(f)(x), np.floating | np.ndarray)


def test_hessian_against_differences():
    def f(x):
        return np.sum(np.exp(x[:-1] * x[1:])) + np.prod(x)

    hessian = tg.hessian(f)(X)
    gradient = tg.grad(f)
    h = 1e-5
    columns = [(gradient(X + h * e) - gradient(X - h * e)) / (2 * h) for e in np.eye(3)]
    np.testing.assert_allclose(hessian, np.stack(columns, axis=1), atol=1e-9)
    np.testing.assert_allclose(hessian, hessian.T)


def test_hessian_blocks_of_several_arguments():
    (xx, xy), (yx, yy) = tg.hessian(lambda x, y: np.sum(x * x * y), argnums=(0, 1))(X, X + 1)
    np.testing.assert_allclose(xx, np.diag(2 * (X + 1)))
    np.testing.assert_allclose(xy, np.diag(2 * X))
    np.testing.assert_allclose(yx, xy.T)
    np.testing.assert_allclose(yy, 0)


def test_the_gradient_of_a_training_step():
    # a learning rate, differentiated through three steps of descent on (x - 1)²
    def after(rate):
        x = 3.0
        for _ in range(3):
            x = x - rate * tg.grad(lambda x: (x - 1) ** 2)(x)
        return x

    check_grads(after, 0.1)
    assert tg.grad(after)(0.1) == pytest.approx(-12 * (1 - 0.2) ** 2)


# -- jacobians -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_jacobian_row_by_row_and_column_by_column(rows):
    matrix = np.arange(rows * 3.0).reshape(rows, 3)
    np.testing.assert_allclose(tg.jacobian(lambda x: matrix @ x)(X), matrix)


@pytest.mark.parametrize("shape", [(0,), (2, 0)])
def test_jacobian_of_nothing(shape):
    assert tg.jacobian(lambda x: x * 2)(np.zeros(shape)).shape == shape + shape


def test_pull_may_be_called_again_and_takes_the_results_structure():
    out, pull = tg.vjp(lambda x, y: (x * y, {"sum": x + y}), 2.0, 3.0)
    assert out == (6.0, {"sum": 5.0})
    assert pull((1.0, {"sum": 0.0})) == (3.0, 2.0)
    assert pull((0.0, {"sum": 1.0})) == (1.0, 1.0)
    with pytest.raises(ShapeError, match="structure"):
        pull(1.0)


class Point(NamedTuple):
    """A container of arguments."""

    x: object
    y: object


def test_arguments_may_be_containers():
    gradient = tg.grad(lambda p, q: p.x * p.y + q["a"][0])(Point(2.0, 3.0), {"a": [1.0]})
    assert gradient == Point(3.0, 2.0)
    assert tg.grad(lambda p, q: p.x * q["a"][0], argnums=1)(Point(2.0, 3.0), {"a": [1.0]}) == {"a": [2.0]}


def test_unused_arguments_get_zeros():
    assert tg.grad(lambda x, y: x * x, argnums=(0, 1))(2.0, 3.0) == (4.0, 0.0)
    assert tg.jvp(lambda x, y: x * x, (2.0, 3.0), (0.0, 1.0))[1] == 0.0


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: tg.grad(cube)(2), DTypeError, "integers and booleans have no derivatives"),
        (lambda: tg.jvp(cube, (np.array([1, 2]),), (1,)), DTypeError, "argument 0"),
        (lambda: tg.grad(lambda x: x * 2)(X), RecordingError, "returns a scalar"),
        (lambda: tg.grad(lambda x: (x, x))(1.0), RecordingError, "one scalar"),
        (lambda: tg.grad(cube, argnums=2)(1.0), SettingError, "1 positional argument"),
        (lambda: tg.jvp(np.sin, (X,), (X[:2],)), ShapeError, "tangent 0 has shape"),
        (lambda: tg.vjp(np.sin, X)[1](X[:2]), ShapeError, "cotangent has shape"),
    ],
)
def test_what_has_no_derivative_says_why(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_a_function_that_leaves_the_graph_warns():
    with pytest.warns(TinygraphWarning, match="returned no tensor"):
        assert tg.grad(lambda x: x.item() ** 2)(3.0) == 0.0


def test_jacobian_and_hessian_of_containers():
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    found = tg.jacobian(lambda x, y: {"s": x * y[0], "t": (x.sum(),)}, argnums=(0, 1))(x, y)
    np.testing.assert_array_equal(found["s"][0], np.diag([3.0, 3.0]))
    np.testing.assert_array_equal(found["s"][1], [[1, 0], [2, 0]])
    np.testing.assert_array_equal(found["t"][0][1], [0, 0])
    second = tg.hessian(lambda p: np.sum(p["a"] ** 2 * p["b"]))({"a": x, "b": np.array(3.0)})
    np.testing.assert_array_equal(second["a"]["a"], np.diag([6.0, 6.0]))
    np.testing.assert_array_equal(second["b"]["a"], [2, 4])
    assert second["b"]["b"] == 0
    with pytest.warns(TinygraphWarning), pytest.raises(RecordingError, match="returned nothing"):
        tg.jacobian(lambda x: None)(x)
