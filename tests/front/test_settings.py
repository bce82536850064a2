"""Settings that NumPy's functions and methods take: values, shapes and dtypes as NumPy's,
derivatives by differences."""

import numpy as np
import pytest

import tinygraph as tg
from tests.front.checking import check_derivatives, leaves
from tinygraph.errors import NumpyFunctionError

A = np.array([[0.62, 1.31, 0.47, 0.21], [0.85, 0.29, 1.73, 1.12], [1.46, 0.98, 0.33, 0.77]])
X = np.array([0.5, -1.2, 2.0])
M = np.array([[1.0, 2.0], [3.0, 5.0]])
MASK = A > 0.5

SETTINGS = {
    "methods": [
        lambda a: a.sum(0, where=MASK), lambda a: a.sum(1, np.float32, None, True),
        lambda a: a.mean(axis=0, where=A > 0.3),
        lambda a: a.max(axis=0, initial=1.0), lambda a: a.min(0, where=MASK, initial=5.0),
        lambda a: a.std(0, ddof=1, keepdims=True),
        lambda a: a.var(0, None, None, 1), lambda a: a.prod(where=MASK), lambda a: a.cumsum(0, np.float32),
        lambda a: (a > 0.5).all(axis=0, where=MASK), lambda a: a.clip(min=0.4), lambda a: a.trace(1, dtype=np.float32),
        lambda a: a.astype(np.float32, copy=False), lambda a: a.take([5, -7, 2], axis=1, mode="clip"),
    ],
    "orders": [
        lambda a: np.reshape(a, (4, 3), order="F"), lambda a: a.reshape(2, -1, order="F"),
        lambda a: np.ravel(a, order="F"),
        lambda a: a.flatten("F"), lambda a: np.ravel(a.T, order="K"), lambda a: np.ravel(a.T, order="A"),
        lambda a: np.copy(a, order="F"),
    ],
    "modes": [
        lambda a: np.take(a, [5, -1, 2], axis=0, mode="wrap"),
        lambda a: np.choose([[0, 3, 1, -5]] * 3, [a, -a], mode="wrap"),
        *(lambda a, mode=mode: np.pad(a, ((1, 2), (0, 3)), mode=mode)
          for mode in ("mean", "median", "maximum", "minimum", "linear_ramp", "symmetric")),
        lambda a: np.pad(a, 2, mode="mean", stat_length=2),
        lambda a: np.pad(a, 1, mode="linear_ramp", end_values=(3.0, -1.0)),
        lambda a: np.pad(a, 2, mode="reflect", reflect_type="odd"),
        lambda a: np.pad(a, 5, mode="symmetric", reflect_type="odd"),
    ],
    "dtypes": [
        lambda a: np.einsum("ij->j", a, dtype=np.complex128),
        lambda a: np.stack([a, a], -1, dtype=np.float32, casting="same_kind"),
        lambda a: np.concatenate([a, a], None), lambda a: np.trace(a, dtype=np.complex128),
        lambda a: np.sum(a > 0.5, dtype=np.uint8),
        lambda a: np.quantile(a, [0.2, 0.7], 0), lambda a: np.linspace(a[0], a[1], 4, dtype=int),
        lambda a: np.cov(a), lambda a: np.modf(a),
    ],
    "the rest": [
        lambda a: np.diff(a, 2, 0, prepend=0.0, append=a[:1]),
        lambda a: np.quantile(a, 0.4, weights=A, method="inverted_cdf"),
        lambda a: np.nanmean(a, 0, where=MASK), lambda a: np.nanvar(a, 0, where=A > 0.3, mean=np.ones((1, 4))),
        lambda a: np.angle(a * 1j, deg=True),
        lambda a: np.average(a, 0, [1, 2, 3], returned=True), lambda a: np.matmul(a, a, axes=[(0, 1), (1, 0), (0, 1)]),
        lambda a: np.polyfit(np.arange(4.0), a[0] ** 2, 1, cov=True),
        lambda a: np.polyfit(np.arange(4.0), a[0], 2, full=True)[0],
        lambda a: np.where(a > 0.5), lambda a: np.zeros_like(a, order="F", subok=False),
        lambda a: np.full_like(a, a[0] * 2), lambda a: np.broadcast_to(a, (2, 3, 4), subok=True),
        lambda a: np.sign(a * (1 + 1j)), lambda a: np.argsort(-a, kind="stable"),
        lambda a: np.bincount([0, 3, 3], weights=a[:, 0]),
        lambda a: np.histogramdd(a, 3, weights=a[:, 0]), lambda a: np.histogram(a, 3, weights=a * 2)[1],
    ],
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", SETTINGS)
def test_settings_give_numpys_numbers_and_their_derivatives(group):
    for i, function in enumerate(SETTINGS[group]):
        found, expected = leaves(function(tg.tensor(A, requires_grad=True))), leaves(function(A))
        smooth = False
        for one, other in zip(found, expected, strict=True):
            smooth = smooth or (isinstance(one, tg.Tensor) and one.requires_grad)
            one = one.detach().numpy() if isinstance(one, tg.Tensor) else np.asarray(one)
            assert (one.dtype, one.shape) == (other.dtype, other.shape), (group, i)
            np.testing.assert_allclose(one, other, rtol=1e-6, err_msg=f"{group} {i}")
        if smooth and all(one.dtype in (np.float64, np.complex128) for one in expected):
            check_derivatives(function, (A,), {}, orders=1)


def test_what_cannot_be_honoured_is_refused_with_the_way_out():
    x = tg.tensor(A, requires_grad=True)
    for call, words in (
        (lambda: np.pad(x, 1, mode=lambda *given: None), r"np\.concatenate"),
        (lambda: np.reshape(x.T[::2], (2, -1), order="K"), "order"),
        (lambda: x.flatten("Q"), "order"),
        (lambda: np.add(x, 1.0, out=np.zeros((3, 4))), "out="),
    ):
        with pytest.raises((NumpyFunctionError, ValueError), match=words):
            call()


def test_arrays_made_of_tensors_name_numpys_function_and_the_line_that_works():
    x = tg.tensor(X, requires_grad=True)
    for call, name, line in (
        (lambda: np.sum([x[0], x[1]]), r"np\.sum ", r"np\.stack"),
        (lambda: np.full(3, x[0]), r"np\.full ", r"np\.broadcast_to"),
        (lambda: np.diag([x[0], x[1]]), r"np\.diag ", r"np\.stack"),
        (lambda: np.r_[x, x], r"np\.r_ ", r"np\.concatenate"),
        (lambda: np.c_[x, x], r"np\.c_ ", r"np\.column_stack"),
        (lambda: np.vectorize(np.sin)(x), r"np\.vectorize ", r"tg\.vmap"),
        (lambda: np.kaiser(5, x[0]), r"np\.kaiser ", r"np\.stack"),
        (lambda: np.array([[x[0], 0.0], [0.0, x[1]]]), r"np\.array", r"np\.block"),
    ):
        with pytest.raises(tg.errors.RecordingError, match=f"{name}.*{line}"):
            call()
    joined = np.block([[x[0], np.zeros(())], [np.zeros(()), x[1]]])
    assert joined.requires_grad
    assert joined.detach().numpy().tolist() == [[0.5, 0.0], [0.0, -1.2]]
