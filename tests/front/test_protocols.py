"""NumPy's protocols and options on tensors: methods of ufuncs, out=, where=, dtype=, the array API, DLPack."""

import copy

import numpy as np
import pytest

import tinygraph as tg
from tests.front.checking import check_derivatives, leaves
from tinygraph.errors import InPlaceError, NumpyFunctionError, RecordingError

X = np.array([[1.0, -2.0, 3.5], [0.5, 4.0, -1.5], [2.0, 0.3, 1.0]])
MASK = X > 0

HONOURED = [
    lambda x: np.sum(x, dtype=np.float32),
    lambda x: np.sum(x, axis=0, where=MASK, initial=3.0),
    lambda x: np.max(x, axis=1, where=MASK, initial=-5.0),
    lambda x: np.min(x, axis=1, initial=0.4),
    lambda x: np.prod(x, where=MASK),
    lambda x: np.mean(x, axis=0, where=MASK),
    lambda x: np.mean(x, dtype=np.float32),
    lambda x: np.var(x, axis=0, where=MASK, correction=1),
    lambda x: np.std(x, mean=np.mean(x, keepdims=True)),
    lambda x: np.any(x, where=MASK, axis=0),
    lambda x: np.cumsum(x, 0, np.float32),
    lambda x: np.add.reduce(x, 0, np.float32),
    lambda x: np.add.reduce(x, axis=0, dtype=np.float32),
    lambda x: np.add.reduce(x, None, initial=5.0),
    lambda x: np.add.reduce(x, where=np.array([True, False, True])),
    lambda x: np.subtract.reduce(x),
    lambda x: np.logaddexp.reduce(x, axis=1, keepdims=True),
    lambda x: np.hypot.reduce(x, axis=(0, 1)),
    lambda x: np.multiply.accumulate(x, 0, np.float32),
    lambda x: np.maximum.accumulate(x, axis=1),
    lambda x: np.add.reduceat(x, [0, 2, 1], axis=0),
    lambda x: np.multiply.outer(x, X, dtype=np.float32),
    lambda x: np.exp(x, dtype=np.float32),
    lambda x: np.sin(x, dtype=np.float32),
    lambda x: np.einsum(x, [0, 1], X, [1, 2], [0, 2]),
    lambda x: np.einsum(x, [0, 1]),
    lambda x: np.einsum(x, [Ellipsis, 1], [Ellipsis]),
]


@pytest.mark.filterwarnings("ignore")
def test_options_and_methods_give_numpys_numbers_and_their_derivatives():
    for i, function in enumerate(HONOURED):
        found, expected = function(tg.tensor(X, requires_grad=True)), function(X)
        found = found.detach().numpy() if isinstance(found, tg.Tensor) else np.asarray(found)
        assert found.dtype == np.asarray(expected).dtype, i
        np.testing.assert_allclose(found, expected, rtol=1e-6, err_msg=str(i))
        if found.dtype == np.float64:
            check_derivatives(function, (X,), {})


def test_out_is_a_tensor_that_then_stands_for_the_result():
    x, out = tg.tensor(X, requires_grad=True), tg.tensor(np.zeros((3, 3)))
    assert np.log(x * 1, out=out, where=MASK) is out
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), np.where(MASK, 1 / np.where(MASK, X, 1), 0))
    total = tg.tensor(0.0)
    np.sum(x * 2, out=total)
    assert total.requires_grad
    assert total.item() == X.sum() * 2
    with pytest.raises(NumpyFunctionError, match="out="):
        np.add(x, 1, out=np.zeros((3, 3)))


def test_ufunc_at_counts_places_as_often_as_they_are_named():
    x, sums = tg.tensor(X, requires_grad=True), tg.tensor(np.zeros(3))
    np.add.at(sums, [0, 0, 2], x[0])
    (sums * tg.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert sums.detach().numpy().tolist() == [-1.0, 0.0, 3.5]
    assert x.grad.numpy()[0].tolist() == [1.0, 1.0, 3.0]
    scaled = x[0] * 1
    np.multiply.at(scaled, [1], 5.0)
    assert scaled.detach().numpy().tolist() == [1.0, -10.0, 3.5]
    with pytest.raises(NumpyFunctionError, match="each place once"):
        np.multiply.at(x[0] * 1, [1, 1], 5.0)
    with pytest.raises(InPlaceError):
        np.add.at(x, [0], 1.0)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x: np.array([x[0], x[1]]), r"np\.stack"),
        (lambda x: np.asarray(x), r"detach"),
        (lambda x: np.r_[x, x], r"np\.stack"),
        (lambda x: np.mean([x, x]), r"np\.stack"),
        (lambda x: x.__dlpack__(), "detach"),
        (lambda x: np.sin(x, where=MASK), r"np\.where"),
    ],
)
def test_what_would_lose_a_gradient_says_which_line_works(call, words):
    with pytest.raises((RecordingError, NumpyFunctionError), match=words):
        call(tg.tensor(X, requires_grad=True))


def test_methods_are_those_of_arrays():
    public = {name for name in dir(np.ndarray) if not name.startswith("_")}
    # what reads memory as something else, or writes files, has no meaning for a value in a graph
    memory = {
        "base", "byteswap", "ctypes", "data", "dump", "dumps", "flags", "getfield", "resize", "setfield", "setflags",
        "strides", "tofile", "view",
    }  # fmt: skip
    assert public - memory - set(dir(tg.Tensor)) == set()
    x = tg.tensor(X, requires_grad=True)
    for name, args in (
        ("argsort", ()), ("cumprod", (0,)), ("diagonal", ()), ("trace", ()), ("nonzero", ()), ("conjugate", ()),
        ("compress", ([True, False, True], 0)), ("tobytes", ()), ("searchsorted", (1.0,)), ("argpartition", (1,)),
    ):  # fmt: skip
        plain = np.sort(X[0]) if name == "searchsorted" else X
        given = tg.tensor(plain) if name == "searchsorted" else x
        for one, other in zip(
            leaves(getattr(given, name)(*args)), leaves(getattr(plain, name)(*args)), strict=True
        ):
            one = one.detach().numpy() if isinstance(one, tg.Tensor) else one
            assert np.array_equal(one, other), name
    ordered = x * 1
    ordered.sort()
    assert ordered.detach().numpy().tolist() == np.sort(X).tolist()
    (ordered * np.arange(3.0)).sum().backward()
    assert x.grad.numpy().tolist() == np.argsort(np.argsort(X)).astype(float).tolist()


def test_iteration_membership_formatting_and_copies():
    x = tg.tensor(X, requires_grad=True)
    assert [row.shape for row in x] == [(3,)] * 3
    assert len(x) == 3
    assert 4.0 in x
    assert 9.0 not in x
    assert f"{x.sum():.2f}" == f"{X.sum():.2f}"
    assert sum(float(one.item()) for one in x.flat) == pytest.approx(X.sum())
    assert copy.copy(x).requires_grad
    quotient, rest = divmod(7.0, tg.tensor(2.0))
    assert (quotient.item(), rest.item()) == (3.0, 1.0)


def test_the_array_api_computes_with_tensors():
    x = tg.tensor(X, requires_grad=True)
    xp = x.__array_namespace__()
    assert xp.__array_api_version__ == "2024.12"
    assert x.__array_namespace__(api_version="2023.12") is xp
    with pytest.raises(ValueError, match="1999"):
        x.__array_namespace__(api_version="1999.01")
    value = xp.sum(xp.exp(xp.linalg.matmul(x, xp.matrix_transpose(x)) / 10)) + xp.sum(xp.fft.fft(x).real)
    assert value.requires_grad
    assert isinstance(xp.zeros((2, 3)), tg.Tensor)
    assert isinstance(xp.asarray([1.0, 2.0]), tg.Tensor)
    assert xp.asarray([x[0], x[1]]).requires_grad
    assert xp.asarray(x) is x
    assert isinstance(xp.nonzero(x)[0], tg.Tensor)
    assert (x.device, x.to_device("cpu") is x, x.itemsize) == ("cpu", True, 8)


def test_dlpack_shares_the_value():
    x = tg.tensor(X)
    assert x.__dlpack_device__() == (1, 0)
    np.testing.assert_array_equal(np.from_dlpack(x), X)
