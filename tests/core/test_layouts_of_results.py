"""Results lie in memory as NumPy's do, so that a write through `reshape` reaches what it reaches there."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import CaptureError, InPlaceError

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


# -- against NumPy itself: 5 is added through a reshape, which reaches the result where it lies in rows ----------------

MAKERS = {
    "insert": lambda x: np.insert(x, 1, 0.0, axis=0),
    "insert several": lambda x: np.insert(x, [1, 2], 0.0, axis=1),
    "delete": lambda x: np.delete(x, 1, axis=0),
    "delete a slice": lambda x: np.delete(x, slice(0, 2), axis=0),
    "delete several": lambda x: np.delete(x, [0, 1], axis=1),
    "partition": lambda x: np.partition(x, 1, axis=0),
    "gradient": lambda x: np.gradient(x)[0],
    "select": lambda x: np.select([x > 0, x < -1], [x, x * 2], 0.0),
    "piecewise": lambda x: np.piecewise(x, [x > 0], [1.0, 0.0]),
    "meshgrid": lambda x: np.meshgrid(x[0].reshape(-1), x[0].reshape(-1))[0],
    "cross": lambda x: np.cross(x[..., :3], x[..., ::-1][..., :3]),
    "percentile": lambda x: np.percentile(x, 30, axis=0),
    "quantiles": lambda x: np.quantile(x, [0.1, 0.5], axis=0),
    "median": lambda x: np.median(x, axis=0),
    "einsum, rows": lambda x: np.einsum("...ij,...kj->...ik", x, x),
    "einsum, columns": lambda x: np.einsum("...ij,...kj->...ki", x, x),
    "einsum, elementwise": lambda x: np.einsum("...ij,...ij->...ji", x, x),
    "einsum, three": lambda x: np.einsum("...ij,...kj,...kl->...il", x, x, x),
    "einsum, optimized": lambda x: np.einsum("...ij,...kj->...ik", x, x, optimize=True),
    "einsum, order C": lambda x: np.einsum("...ij,...kj->...ki", x, x, order="C"),
    "einsum, order F": lambda x: np.einsum("...ij,...kj->...ki", x, x, order="F"),
    "copy": lambda x: x.copy(),
    "copy K": lambda x: x.copy(order="K"),
    "copy F": lambda x: x.copy("F"),
    "copy A": lambda x: x.copy(order="A"),
    "np.copy F": lambda x: np.copy(x, order="F"),
    "astype": lambda x: x.astype(np.float32),
    "astype C": lambda x: x.astype(np.float32, order="C"),
    "astype F": lambda x: x.astype(np.float32, order="F"),
    "columns by index": lambda x: x[:, [0, 2]],
    "rows by index": lambda x: x[[0, 2]],
    "columns": lambda x: x[:, 1:3],
    "every other row": lambda x: x[::2],
    "last by index": lambda x: x[..., [0, 2]],
    "new axis and index": lambda x: x[None, [0, 1]],
    "take": lambda x: np.take(x, [0, 1], axis=1),
    "flip": lambda x: np.flip(x, 1).copy(order="K"),
    "average": lambda x: np.average(x, axis=0),
    "concatenate": lambda x: np.concatenate([x, x], axis=0),
    "pad": lambda x: np.pad(x, 1),
    "where": lambda x: np.where(x > 0, x, 0.0),
    "cumsum": lambda x: np.cumsum(x, axis=0),
}
SHAPES = {"matrix": (3, 4), "cube": (3, 4, 5), "large": (130, 150)}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MAKERS)
def test_a_write_through_reshape_gives_numpys_sum_or_an_error(name, shape, turned):
    x = np.random.default_rng(0).normal(size=SHAPES[shape])

    def program(x):
        made = MAKERS[name]((x * 1.0).T if turned else x * 1.0)
        row = made.reshape(-1)
        row += 5
        return np.sum(made)

    right = program(x)
    np.testing.assert_allclose(np.asarray(program(tg.tensor(x))), right, rtol=1e-5)
    found = program(tg.tensor(x, requires_grad=True))
    np.testing.assert_allclose(np.asarray(getattr(found, "_value", found)), right, rtol=1e-5)
    try:
        found = tg.compile(program)(x)
    except (InPlaceError, CaptureError):
        return
    np.testing.assert_allclose(np.asarray(found), right, rtol=1e-5)


@pytest.mark.parametrize("axes", [(1, 0, 2, 3), (0, 2, 1, 3), (3, 2, 1, 0)])
def test_grids_of_products_lie_as_their_operands_do(axes):
    x = np.random.default_rng(0).normal(size=(3, 4, 5, 6))

    def program(x):
        turned = (x * 1.0).transpose(axes)
        made = turned @ turned.swapaxes(-1, -2)
        row = made.reshape(-1)
        row += 5
        return np.sum(made)

    np.testing.assert_allclose(np.asarray(program(tg.tensor(x))), program(x), rtol=1e-6)
    with pytest.raises(InPlaceError):
        tg.compile(program)(x)


@pytest.mark.parametrize("size", [6, 200])
@pytest.mark.parametrize(
    "part",
    [lambda x: x[::2], lambda x: x[:, 1:3], lambda x: x.T[0:1], lambda x: np.exp(x.T), lambda x: x.T * 2],
)
def test_how_large_an_array_is_does_not_decide_what_a_write_reaches(part, size):
    x = np.ones((size, size))

    def program(x):
        made = part(x * 1.0)
        row = made.reshape(-1)
        row += 5
        return np.sum(made)

    assert float(np.asarray(program(tg.tensor(x, requires_grad=True)).detach())) == pytest.approx(program(x))
