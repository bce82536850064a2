"""Results lie in memory as NumPy's do, so that a write through `reshape` reaches what it reaches there."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import InPlaceError

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


def raised_through_a_reshape(make):
    """The sum of what `make(x)` gives after 5 was added to its reshape, which is a view where it lies in rows."""

    def program(x):
        made = make(x)
        row = made.reshape(-1)
        row += 5
        return np.sum(made) + 0 * np.sum(x)

    return program


@pytest.mark.parametrize(
    ("make", "start"),
    [(np.zeros_like, 0.0), (np.ones_like, 6.0), (lambda x: np.full_like(x, 2.0), 12.0)],
)
def test_likes_of_arguments_in_rows_are_written_through_compiled_as_eagerly(make, start):
    program = raised_through_a_reshape(make)
    assert tg.compile(program)(np.ones((2, 3))) == start + 30.0
    assert (
        tg.compile(lambda x: np.sum(np.zeros_like(x.T, order="C").reshape(-1)) + np.sum(x))(np.ones((2, 3)))
        == 6.0
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda x: np.zeros_like(x.T),
        lambda x: np.ones_like(x.T),
        lambda x: np.full_like(x.T, 2.0),
        lambda x: np.empty_like(np.exp(x.T)),
    ],
)
def test_likes_of_transposed_values_are_not_written_through_in_captures(make):
    program = raised_through_a_reshape(make)
    with pytest.raises(InPlaceError, match="reshape"):
        tg.compile(program)(np.ones((2, 3)))


def test_likes_of_transposed_values_hold_what_numpy_s_do():
    found = tg.compile(lambda x: np.zeros_like(x.T, dtype=np.float32) + np.ones_like(x.T) * x.T)(
        np.ones((2, 3))
    )
    np.testing.assert_array_equal(found, np.ones((3, 2)))
    with pytest.raises(InPlaceError, match="reshape"):  # an argument in columns
        tg.compile(raised_through_a_reshape(np.zeros_like))(np.asfortranarray(np.ones((2, 3))))
