"""NumPy as the front end: functions, ufuncs and their methods on tensors, ndarrays on the left, clear refusals."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import NumpyFunctionError, RecordingError

X = np.array([[0.5, 1.5, 2.5], [3.0, 0.25, 1.0]])


def gradient(f, *xs):
    leaves = [tg.tensor(x, requires_grad=True) for x in xs]
    out = f(*leaves)
    out.sum().backward()
    return out, [x.grad.numpy() for x in leaves]


@pytest.mark.parametrize(
    ("f", "derivative"),
    [
        (lambda x: np.sum(np.sin(x) ** 2), lambda x: np.sin(2 * x)),
        (lambda x: np.log(x).mean(axis=0), lambda x: 1 / x / 2),
        (lambda x: np.transpose(np.exp(x)), np.exp),
        (lambda x: np.multiply.reduce(x, axis=1), lambda x: np.prod(x, axis=1, keepdims=True) / x),
        (lambda x: np.add.reduce(x), np.ones_like),
        (lambda x: np.add.accumulate(x, axis=1), lambda x: np.broadcast_to([3.0, 2.0, 1.0], x.shape)),
        (lambda x: np.multiply.outer(x, np.array([1.0, 3.0])), lambda x: np.full(x.shape, 4.0)),
        (lambda x: np.concatenate([x, 2 * x], axis=1), lambda x: np.full(x.shape, 3.0)),
        (lambda x: np.where(x > 1, x, -x), lambda x: np.where(x > 1, 1.0, -1.0)),
        (lambda x: np.clip(x, 1.0, 2.0), lambda x: ((x >= 1) & (x <= 2)).astype(float)),
        (lambda x: np.reshape(x, (3, 2)) @ np.ones((2, 1)), np.ones_like),
    ],
)
def test_numpy_functions_are_differentiated(f, derivative):
    out, (found,) = gradient(f, X)
    np.testing.assert_allclose(out.numpy(), f(X))
    np.testing.assert_allclose(found, derivative(X), rtol=1e-12)


@pytest.mark.parametrize(
    "operate",
    [
        lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / b, lambda a, b: a**b,
        lambda a, b: a @ b, lambda a, b: a // b, lambda a, b: a % b, lambda a, b: a < b, lambda a, b: a >= b,
        lambda a, b: a == b, lambda a, b: a != b,
    ],
)  # fmt: skip
def test_an_array_on_the_left_makes_one_tensor_and_no_array_of_objects(operate):
    a, b = X[:, :2] + 1, X[:, 1:]
    out = operate(a, tg.tensor(b, requires_grad=True))
    assert isinstance(out, tg.Tensor)
    assert out.dtype != object
    np.testing.assert_allclose(out.numpy() if not out.requires_grad else out.detach().numpy(), operate(a, b))


def test_a_numpy_scalar_on_the_left_is_an_operand_too():
    out, (found,) = gradient(lambda x: np.float64(2.0) * x, X)
    assert isinstance(out, tg.Tensor)
    assert (found == 2.0).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: np.busday_offset(x, 1), "np.busday_offset has no differentiable op"),
        (lambda x: np.is_busday(x), "np.is_busday has no differentiable op"),
        (lambda x: np.add(x, 1, out=np.zeros((2, 3))), "out="),
        (lambda x: np.sum(x, out=np.zeros(())), "out"),
        (lambda x: np.add(x, 1, where=X > 1), "where="),
        (lambda x: np.sin(x, order="F"), "order="),
        (lambda x: np.add.at(np.zeros(3), 0, x[0, 0]), "np.add.at"),
    ],
)
def test_what_no_op_stands_for_is_refused_by_name(call, words):
    with pytest.raises(NumpyFunctionError, match=words):
        call(tg.tensor(X, requires_grad=True))


def test_writing_tensors_into_an_array_is_refused():
    array = np.zeros(3)
    x = tg.tensor(np.ones(3), requires_grad=True)
    for write in (lambda: array.__setitem__(slice(None), x), lambda: array.__iadd__(x)):
        with pytest.raises((RecordingError, NumpyFunctionError)):
            write()
    assert array.tolist() == [0.0, 0.0, 0.0]


def test_questions_of_type_need_no_op():
    x = tg.tensor(X, requires_grad=True)
    assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, 1)) == ((2, 3), 2, 6, 3)
    assert np.zeros_like(x).shape == (2, 3)
    assert np.result_type(x, np.float32) == np.float64
    assert np.allclose(x, X)
