"""Results lie in memory as NumPy's do, so that a write through `reshape` reaches what it reaches there."""

import numpy as np
import pytest

import tinygraph as tg

COLUMNS = np.array([[3.0, 1.0], [2.0, 6.0], [5.0, 4.0]]).T  # 2 x 3, its axes the other way round in memory
CUBE = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)


def _written(function, x):
    y = function(x)
    y.reshape(-1)[0] = 50.0
    return np.asarray(y.detach() if isinstance(y, tg.Tensor) else y).tolist()


@pytest.mark.parametrize(
    ("function", "right"),
    [
        (np.zeros_like, [[0, 0, 0], [0, 0, 0]]),
        (np.ones_like, [[1, 1, 1], [1, 1, 1]]),
        (lambda x: np.full_like(x, 2.0), [[2, 2, 2], [2, 2, 2]]),
        (lambda x: np.zeros_like(x, order="C"), [[50, 0, 0], [0, 0, 0]]),
        (np.sort, [[2, 3, 5], [1, 4, 6]]),
        (lambda x: np.sort(x, axis=0), [[1, 2, 4], [3, 6, 5]]),
        (lambda x: np.take(x, [0, 2], axis=1), [[50, 5], [1, 4]]),
        (lambda x: np.tensordot(x, np.eye(3), 1), [[50, 2, 5], [1, 6, 4]]),
    ],
)
@pytest.mark.parametrize("requires_grad", [False, True])
def test_a_write_through_reshape_reaches_what_it_reaches_in_numpy(function, right, requires_grad):
    assert _written(function, COLUMNS) == right
    assert _written(function, tg.tensor(COLUMNS, requires_grad=requires_grad)) == right


@pytest.mark.parametrize("function", [np.sort, np.zeros_like, lambda x: np.sort(x, axis=0)])
def test_three_axes_lie_as_numpys(function):
    assert function(CUBE).strides == function(tg.tensor(CUBE).detach()).__array__().strides == (8, 96, 32)


def test_gradients_pass_through_a_layout():
    x = tg.tensor(COLUMNS, requires_grad=True)
    (np.sort(x) * np.array([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [[2, 1, 3], [1, 3, 2]]
