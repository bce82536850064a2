"""Matrices of derivatives and what chooses arguments: all directions at once, against differences and by hand."""

from collections import OrderedDict
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import DTypeError, SettingError, ShapeError
from tinygraph.plugin import op
from tinygraph.transforms import jacobians

rng = np.random.default_rng(1)
X = rng.normal(size=(3, 2))
close = np.testing.assert_allclose


def differences(f, x, h=1e-6):
    columns = [
        (f(x + h * e.reshape(x.shape)) - f(x - h * e.reshape(x.shape))) / (2 * h) for e in np.eye(x.size)
    ]
    return np.moveaxis(np.stack(columns), 0, -1).reshape(*np.shape(f(x)), *x.shape)


FUNCTIONS = [
    lambda x: np.sin(x) * x[0, 1],
    lambda x: x @ x.T,
    lambda x: np.sum(np.exp(x), axis=0),
    lambda x: np.concatenate([x[1:], x[:1]]) / (1 + x**2),
    lambda x: np.linalg.norm(x),
    lambda x: np.einsum("ij,kj,k->i", x, x, x[:, 0]),
    lambda x: tg.ops.softmax(x, axis=0)[:, ::-1],
    lambda x: tg.ops.convolution(x.reshape(1, 1, 6), x[:1].reshape(1, 1, 2), padding=1),
    lambda x: np.cumsum(np.sort(x, axis=0)),
    lambda x: tg.ops.max_pool(x.reshape(1, 1, 6), size=2)[0, 0],
    lambda x: np.stack([np.prod(x), np.max(x), np.mean(x)]),
]


@pytest.mark.parametrize("number", range(len(FUNCTIONS)))
def test_both_ways_against_differences(number, monkeypatch):
    f = FUNCTIONS[number]
    plain = lambda x: np.asarray(f(tg.tensor(x)))  # noqa: E731
    wanted = differences(plain, X)
    for jacobian in (tg.jacobian, tg.jacfwd, tg.jacrev):
        close(jacobian(f)(X), wanted, atol=1e-8)
    monkeypatch.setattr(jacobians, "MOST_AT_ONCE", 20)  # a few directions at a time
    close(tg.jacfwd(f)(X), wanted, atol=1e-8)
    close(tg.jacrev(f)(X), wanted, atol=1e-8)
    compiled = tg.compile(tg.jacfwd(f))
    close(np.asarray(compiled(X)), wanted, atol=1e-8)


def test_rules_run_once_for_all_directions():
    calls = []

    @op(kind="elementwise", declare=False)
    def counted(x):
        """x squared."""
        return x * x

    @counted.vjp("x")
    def counted_wrt_x(g, x):
        calls.append(1)
        return 2 * g * x

    many = np.arange(12.0)  # of few small rows each has a pass of its own
    close(tg.jacobian(counted)(many), np.diag(2 * many))
    assert len(calls) == 1
    close(tg.hessian(lambda x: np.sum(counted(x) * x))(many), np.diag(6 * many))
    assert len(calls) < 8
    calls.clear()
    close(tg.hessian(lambda x: np.sum(counted(x) * x))(many[:5]), np.diag(6 * many[:5]))
    assert len(calls) == 6  # backwards once, and once for each row
    calls.clear()
    wide = lambda x: np.stack([np.sum(counted(x) * k) for k in range(5)])  # noqa: E731
    close(tg.jacobian(wide)(np.ones(3000)), np.outer(np.arange(5), np.full(3000, 2.0)))
    assert len(calls) == 5  # one for each of the op's five calls, not five for each


def test_every_order_and_both_kinds_of_nesting():
    f = lambda x: np.sum(np.sin(x) ** 3)  # noqa: E731
    x = np.array([0.3, -0.7])
    third = np.zeros((2, 2, 2))
    for i, one in enumerate(x):
        third[i, i, i] = 6 * np.cos(one) ** 3 - 21 * np.sin(one) ** 2 * np.cos(one)
    for chain in (
        (tg.jacfwd, tg.jacrev, tg.jacfwd),
        (tg.jacrev, tg.jacrev, tg.jacrev),
        (tg.jacfwd, tg.hessian),
    ):
        g = f
        for transform in reversed(chain):
            g = transform(g)
        close(g(x), third, atol=1e-12)
    total = tg.grad(lambda x: np.sum(tg.hessian(f)(x)))
    close(total(x), np.einsum("iii->i", third))
    close(tg.jvp(tg.hessian(f), (x,), (x,))[1], third @ x)


def test_complex_results_and_objects():
    z = np.array([1.0 + 2.0j, 0.5j])
    close(tg.jacobian(lambda z: z * z[0])(z), np.diag([z[0], z[0]]) + np.outer(z, [1, 0]))
    with pytest.raises(DTypeError, match="use jacfwd"):
        tg.jacrev(lambda x: x * (1 + 2j))(np.array([1.0]))
    with pytest.raises(DTypeError, match="use jacrev"):
        tg.jacfwd(lambda z: np.abs(z))(z)
    exact = np.array([Fraction(1, 3), Fraction(2)])
    assert tg.jacobian(lambda x: x * x[0])(exact).tolist() == [[Fraction(2, 3), 0], [2, Fraction(1, 3)]]


def test_a_known_sparsity_needs_a_pass_for_each_colour(monkeypatch):
    n = 40
    band = np.abs(np.subtract.outer(np.arange(n), np.arange(n))) <= 1
    x = rng.normal(size=n)

    def f(x):
        y = np.concatenate([np.zeros(1), x, np.zeros(1)])
        return np.sin(x) * y[:-2] + y[2:] ** 2

    counts = []
    original = jacobians._passed
    monkeypatch.setattr(
        jacobians, "_passed", lambda a, d, run, **way: counts.append(d.count) or original(a, d, run, **way)
    )
    dense = tg.jacobian(f)(x)
    close(tg.jacobian(f, sparsity=band)(x), dense)
    close(tg.jacobian(lambda x: f(x)[:2], sparsity=band[:2])(x), dense[:2])
    sparse = pytest.importorskip("scipy.sparse", reason="sparse matrices are SciPy's")
    found = tg.jacobian(f, sparsity=sparse.csr_array(band))(x)
    assert found.nnz == band.sum()
    close(found.toarray(), dense)
    assert counts == [40, 3, 2, 3]
    loss = lambda x: np.sum(f(x) ** 2)  # noqa: E731
    close(tg.hessian(loss, sparsity=np.ones((n, n)))(x), tg.hessian(loss)(x))
    gradient = tg.grad(lambda x: np.sum(tg.jacobian(f, sparsity=band)(x) ** 2))
    close(gradient(x), tg.grad(lambda x: np.sum(tg.jacobian(f)(x) ** 2))(x))
    for pattern, words in ((np.ones(3), "must be a matrix"), (np.ones((3, 3)), r"must be \(40, 40\)")):
        with pytest.raises(SettingError, match=words):
            tg.jacobian(f, sparsity=pattern)(x)


def test_products_with_a_hessian():
    f = lambda x, s: np.sum(np.sin(x) * x[0]) * s  # noqa: E731
    x, v = rng.normal(size=4), rng.normal(size=4)
    wanted = tg.hessian(f)(x, 2.0) @ v
    close(tg.hvp(f)(x, 2.0, v), wanted)
    close(tg.hvp(lambda x: f(x, 2.0), (x,), (v,))[0], wanted)
    both = tg.hvp(f, argnums=(0, 1))(x, 2.0, (v, 0.0))
    close(both[0], wanted)
    close(tg.vmap(lambda v: tg.hvp(f)(x, 2.0, v))(np.eye(4)), tg.hessian(f)(x, 2.0))
    assert tg.elementwise_grad(lambda x, k: x**k)(np.array([1.0, 2.0]), 3).tolist() == [3.0, 12.0]


# -- which arguments, and containers of them ---------------------------------------------------------------------------


@dataclass
class Point:
    x: float
    y: float


class Pair:
    def __init__(self, first, second):
        self.first, self.second = first, second


tg.tree.register(Pair, lambda pair: ((pair.first, pair.second), None), lambda data, parts: Pair(*parts))


def test_arguments_are_chosen_by_position_name_and_autograds_name():
    f = lambda a, b, *, c: a * b**2 * c**3  # noqa: E731
    assert tg.grad(f, "b")(2.0, 3.0, c=1.0) == 12.0
    assert tg.grad(f, "b")(2.0, b=3.0, c=1.0) == 12.0
    assert tg.grad(f, ("c", 0))(2.0, 3.0, c=1.0) == (54.0, 9.0)
    assert tg.grad(f, argnum=1)(2.0, 3.0, c=1.0) == 12.0
    assert tg.jacobian(f, argnums="c")(2.0, 3.0, c=1.0) == 54.0
    assert tg.value_and_grad(f, argnum="a")(2.0, 3.0, c=1.0) == (18.0, 9.0)
    assert tg.hessian(f, ("a", "b"))(2.0, 3.0, c=1.0) == ((0.0, 6.0), (6.0, 4.0))
    wrong = (
        ("d", "takes a, b"),
        (3, "has 2 positional"),
        ((0, "a"), "twice"),
        (0.5, "position of an argument"),
    )
    for argnums, words in wrong:
        with pytest.raises(SettingError, match=words):
            tg.grad(f, argnums)(2.0, 3.0, c=1.0)
    with pytest.raises(SettingError, match="another name"):
        tg.grad(f, 1, argnum=1)


def test_containers_of_every_kind_come_back_as_what_they_were():
    def f(tree):
        return sum(np.sum(leaf**2) for leaf in tg.tree.leaves(tree))

    for tree in (
        {"b": X, "a": [1.0, (2.0,)]},
        OrderedDict(z=1.0, a=2.0),
        Point(1.0, X),
        Pair(Point(1.0, 2.0), {"w": X}),
        [Pair(X, None)],
    ):
        found = tg.grad(f)(tree)
        assert tg.tree.structure(found) == tg.tree.structure(tree)
        for one, leaf in zip(tg.tree.leaves(found), tg.tree.leaves(tree), strict=True):
            close(one, 2 * np.asarray(leaf))
        doubled = tg.vmap(lambda t: tg.tree.map(lambda x: x * 2, t), axis_size=2, in_axes=None)(tree)
        assert tg.tree.structure(doubled) == tg.tree.structure(tree)
    pair = tg.jacobian(lambda p: Pair(p.first * 2, p.second))(Pair(1.0, 2.0))
    assert (pair.first.first, pair.first.second, pair.second.second) == (2.0, 0.0, 1.0)
    compiled = tg.compile(lambda p: p.first * p.second)
    assert compiled(Pair(2.0, 3.0)) == 6.0


def test_a_tree_as_one_vector():
    tree = {"w": X, "n": np.arange(2), "s": 1.5}
    vector, unravel = tg.tree.ravel(tree)
    assert vector.shape == (9,)
    again = unravel(vector)
    assert tg.tree.structure(again) == tg.tree.structure(tree)
    assert again["n"].dtype == np.arange(2).dtype
    close(again["w"], X)
    gradient = tg.grad(lambda v: np.sum(unravel(v)["w"] ** 2))(vector)
    close(unravel(gradient)["w"], 2 * X)
    with pytest.raises(ShapeError, match="9 elements"):
        unravel(vector[:3])
    with pytest.raises(ShapeError, match="3 leaves"):
        tg.tree.unflatten(tg.tree.structure(tree), [1])
    with pytest.raises(ShapeError, match="container 1"):
        tg.tree.map(lambda x, y: x, tree, {"w": 1})
    with pytest.raises(SettingError, match="already"):
        tg.tree.register(Pair, None, None)


def test_auxiliary_data_is_handed_on():
    f = lambda x: (np.sum(x**2), {"y": x * 2, "label": "a"})  # noqa: E731
    x = np.array([1.0, 2.0])
    for gradient, aux in (tg.grad(f, has_aux=True)(x), tg.elementwise_grad(f, has_aux=True)(x)):
        close(gradient, 2 * x)
        assert isinstance(aux["y"], np.ndarray)
        assert aux["label"] == "a"
    (value, aux), gradient = tg.value_and_grad(f, has_aux=True)(x)
    assert (value, aux["y"].tolist(), gradient.tolist()) == (5.0, [2.0, 4.0], [2.0, 4.0])
    close(tg.jacobian(f, has_aux=True)(x)[0], 2 * x)
    close(tg.hessian(f, has_aux=True)(x)[1]["y"], 2 * x)
    assert tg.vjp(f, x, has_aux=True)[2]["label"] == "a"
    assert tg.jvp(f, (x,), (x,), has_aux=True)[1] == 10.0
    outer = tg.grad(lambda w: tg.grad(lambda x: (x * w, w * x), has_aux=True)(2.0)[1])
    assert outer(3.0) == 2.0
    with pytest.raises(tg.errors.RecordingError, match="has_aux=True needs"):
        tg.grad(lambda x: x, has_aux=True)(1.0)


def test_messages_name_the_leaf():
    f = lambda a, p: p["w"][1] * a  # noqa: E731
    with pytest.raises(DTypeError, match=r"argument 1\.w\[1\], which is int64"):
        tg.grad(f, 1)(1.0, {"w": (1.0, 2)})
    with pytest.raises(DTypeError, match=r"argument 'p'\.w\[0\], which is no number"):
        tg.grad(f, "p")(1.0, p={"w": ("x", 2.0)})
    with pytest.raises(ShapeError, match=r"tangent 0\.w has shape"):
        tg.jvp(lambda p: p["w"], ({"w": X},), ({"w": X[0]},))
    with pytest.raises(ShapeError, match=r"cotangent a\[1\] has shape"):
        tg.vjp(lambda x: {"a": (x, x)}, X)[1]({"a": (X, X[0])})
