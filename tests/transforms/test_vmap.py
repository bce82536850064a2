"""`tg.vmap`: against loops, derivatives by hand and JAX; under and over every other transform; what it refuses."""

import functools
import random
import warnings

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import CaptureError, SettingError, ShapeError, VmapLoopWarning
from tinygraph.plugin import op, ops

rng = np.random.default_rng(0)
W, B = rng.normal(size=(4, 3)), rng.normal(size=3)
X, Y = rng.normal(size=(5, 4)), rng.normal(size=(5, 3))
close = np.testing.assert_allclose


def loss(parameters, x, y):
    hidden = np.tanh(x @ parameters["W"] + parameters["b"])
    return np.sum((hidden - y) ** 2)


def test_no_built_in_op_needs_the_loop():
    from tinygraph.core.batching import rule_of
    from tinygraph.core.op import Op
    from tinygraph.core.registry import registry

    built_in = [one for one in registry.all_ops() if isinstance(one, Op) and one.package == "tinygraph_ops"]
    assert [one.name for one in built_in if rule_of(one) is None and one.kind != "random"] == []


def test_axes_of_arguments_and_results():
    both = tg.vmap(lambda x, k: {"a": (x, 1.0), "k": k}, in_axes=(1, 0), out_axes={"a": (1, 0), "k": 0})
    found = both(X, np.arange(4))
    close(found["a"][0], X)
    close(found["a"][1], np.ones(4))
    close(found["k"], np.arange(4))
    close(tg.vmap(lambda d: d["p"] @ d["q"], in_axes=({"p": 0, "q": None},))({"p": X, "q": W}), X @ W)
    close(tg.vmap(lambda x, *, y: x + y)(X, y=X), 2 * X)
    close(tg.vmap(lambda x: (x, 7), out_axes=(-1, None))(X)[0], X.T)
    assert tg.vmap(lambda x: (x, 7), out_axes=(0, None))(X)[1] == 7
    close(tg.vmap(lambda x, y: x * y, in_axes=(None, 0))(2.0, Y), 2 * Y)
    assert tg.vmap(np.sin)(np.zeros((0, 3))).shape == (0, 3)


def test_gradients_of_each_example():
    parameters = {"W": W, "b": B}
    each = tg.vmap(tg.grad(loss), in_axes=(None, 0, 0))(parameters, X, Y)
    for i in range(5):
        one = tg.grad(loss)(parameters, X[i], Y[i])
        close(each["W"][i], one["W"])
        close(each["b"][i], one["b"])


@pytest.mark.slow
def test_per_example_gradients_against_jax():
    jax = pytest.importorskip("jax", reason="compared with JAX where it is installed")
    jnp = jax.numpy
    kernel = rng.normal(size=(2, 1, 3, 3)).astype("f")
    images = rng.normal(size=(3, 1, 1, 6, 6)).astype("f")

    def ours(kernel, x):
        return np.sum(tg.ops.max_pool(np.tanh(tg.ops.convolution(x, kernel, padding=1)), size=2) ** 2)

    def theirs(kernel, x):
        y = jnp.tanh(jax.lax.conv(x, kernel, (1, 1), "SAME"))
        return jnp.sum(
            jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID") ** 2
        )

    found = tg.vmap(tg.grad(ours, argnums=(0, 1)), in_axes=(None, 0))(kernel, images)
    wanted = jax.vmap(jax.grad(theirs, argnums=(0, 1)), in_axes=(None, 0))(kernel, images)
    for one, other in zip(found, wanted, strict=True):
        close(one, np.asarray(other), rtol=2e-4, atol=2e-4)
    own = tg.vmap(tg.grad(ours))(np.stack([kernel, 2 * kernel, -kernel]), images)
    close(own[1], tg.grad(ours)(2 * kernel, images[1]), rtol=1e-4, atol=1e-5)


def test_derivatives_of_it():
    f = lambda w: np.sum(tg.vmap(lambda x: np.sum(np.sin(x * w)))(X))  # noqa: E731
    close(tg.grad(f)(2.0), np.sum(np.cos(X * 2) * X))
    close(tg.grad(tg.grad(f))(2.0), np.sum(-np.sin(X * 2) * X * X))
    close(tg.jvp(f, (2.0,), (1.0,))[1], np.sum(np.cos(X * 2) * X))
    found = tg.jacobian(lambda x: tg.vmap(lambda r: r * r[0])(x))(X[:2])
    for i in range(2):
        for k in range(4):
            wanted = np.zeros((2, 4))
            wanted[i, k] = X[i, 0]
            wanted[i] += X[i] * (k == 0)
            close(found[..., i, k], wanted)


def test_derivatives_inside():
    w = np.array([1.0, 2.0, 3.0, 4.0])
    close(tg.vmap(lambda x: tg.grad(lambda w: np.sum(np.sin(w) * x))(w))(X), np.cos(w) * X)
    along = tg.vmap(lambda x: tg.jvp(lambda w: np.sum(np.sin(w) * x), (w,), (w,))[1])
    close(along(X), np.sum(np.cos(w) * X * w, axis=1))

    def f(x):
        return np.sum(np.sin(x) * x[0])

    close(tg.vmap(tg.hessian(f))(X), np.stack([tg.hessian(f)(x) for x in X]))
    close(tg.vmap(lambda x, v: tg.vjp(np.exp, x)[1](v)[0])(X, X), np.exp(X) * X)


def test_rules_inside_find_what_lies_outside():
    w = tg.tensor(X[0], requires_grad=True)
    scaled = w * 2
    found = tg.vmap(lambda x: tg.grad(lambda x: np.sum(np.sin(scaled * x) * w))(x))(X)
    close(found.detach().numpy(), np.cos(2 * X[0] * X) * 2 * X[0] ** 2)
    found.sum().backward()
    angle = 2 * X[0] * X
    close(w.grad.numpy(), np.sum(-np.sin(angle) * 2 * X * 2 * X[0] ** 2 + np.cos(angle) * 4 * X[0], axis=0))


def test_inside_each_other():
    products = tg.vmap(tg.vmap(lambda x, y: x * y, (None, 0)), (0, None))
    close(products(np.arange(3.0), np.arange(4.0)), np.outer(np.arange(3.0), np.arange(4.0)))
    second = tg.vmap(tg.grad(lambda x: tg.vmap(tg.grad(lambda y: y**3))(x)[0]))
    close(second(X)[:, 0], 6 * X[:, 0])


def test_in_graphs_plans_and_checkpoints():
    compiled = tg.compile(lambda x: tg.vmap(tg.grad(lambda x: np.sum(x**3)))(x))
    for x in (X, X + 1):
        close(np.asarray(compiled(x)), 3 * x**2)
    inside = tg.vmap(tg.compile(lambda x: np.sum(x**3)))
    close(inside(X), np.sum(X**3, axis=1))
    close(tg.grad(lambda x: np.sum(inside(x)))(X), 3 * X**2)
    graph = tg.capture(lambda x: tg.vmap(lambda row: np.sum(row) * x[0, 0])(x), X)
    assert [node.op.name for node in graph.nodes if node.op is not None] == ["index", "sum", "multiply"]
    assert "test_vmap.py" in str(graph.nodes[-1].source)
    close(graph(X), X.sum(axis=1) * X[0, 0])
    for f in (
        tg.checkpoint(tg.vmap(lambda r: np.sum(np.sin(r)))),
        tg.vmap(tg.checkpoint(lambda r: np.sum(np.sin(r)))),
    ):
        close(tg.grad(lambda x, f=f: np.sum(f(x)))(X), np.cos(X))


def test_parameters_that_it_reads_get_gradients():
    model = tg.nn.Sequential(tg.nn.Linear(4, 8), tg.nn.ReLU(), tg.nn.Linear(8, 2)).double()
    out = tg.vmap(model)(X)
    out.sum().backward()
    found = [p.grad.numpy().copy() for p in model.parameters()]
    model.zero_grad()
    model(X).sum().backward()
    close(out.detach().numpy(), model(X).detach().numpy())
    for one, p in zip(found, model.parameters(), strict=True):
        close(one, p.grad.numpy(), rtol=1e-5)


def test_writes_to_what_the_function_made():
    def f(x):
        y = tg.tensor(np.zeros(3))
        y[1] = x[0]
        y[0] += x[1]
        z = x.copy()
        z[0] = z[1] * 2
        return y * z[:3]

    close(tg.vmap(f)(X), np.stack([[2 * x[1] ** 2, x[0] * x[1], 0.0] for x in X]))


def test_arguments_that_are_not_batched_keep_their_values():
    def f(x, steps):
        for _ in range(int(steps)):
            x = x * 2
        return x

    close(tg.vmap(f, in_axes=(0, None))(X, tg.tensor(3)), 8 * X)


def test_an_op_without_a_rule_goes_through_the_examples_and_says_so_once():
    @op(declare=False)
    def tripled(x):
        """3 x, of vectors only."""
        assert x.ndim == 1
        return x * 3

    tripled.vjp("x")(lambda g: tripled(g))
    with pytest.warns(VmapLoopWarning, match="'tripled' .* no batching rule") as found:
        close(tg.vmap(tg.grad(lambda x: np.sum(tripled(tripled(x)) ** 2)))(X), 162 * X)
    assert len(found) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert tg.vmap(tripled)(np.zeros((0, 3))).shape == (0, 3)


def test_an_index_of_any_kind():
    cube = rng.normal(size=(3, 2, 4, 3, 5))
    rows, places = rng.integers(0, 3, size=(3, 2)), rng.integers(0, 2, size=(3, 1))
    picks = [
        lambda x, r, p: x[:, r, 0],
        lambda x, r, p: x[:, r, :, p],
        lambda x, r, p: x[..., None, r],
        lambda x, r, p: x[0, :, r],
        lambda x, r, p: x[p, 1:, r, ::2],
        lambda x, r, p: x[:, np.array([1, 0]), r],
        lambda x, r, p: ops.set_at(x, (slice(None), r, slice(None), p), 7.0 * x[0, 0, 0, 0]),
        lambda x, r, p: ops.add_at(x, (p, r), x[0, :2]),
        lambda x, r, p: ops.add_at(x, (slice(None), slice(None), r), x[:, :, :2]),
    ]
    for number, pick in enumerate(picks):
        for axes in ((0, None, None), (None, 0, 0), (0, 0, 0), (0, 0, None), (None, None, 0)):
            given = [x if axis == 0 else x[1] for x, axis in zip((cube, rows, places), axes, strict=True)]
            one = [[x[i] if axis == 0 else x for x, axis in zip(given, axes, strict=True)] for i in range(3)]
            found = tg.vmap(pick, in_axes=axes)(*map(tg.tensor, given))
            wanted = np.stack([np.asarray(pick(tg.tensor(x), r, p)) for x, r, p in one])
            close(np.asarray(found), wanted, err_msg=f"pick {number}, axes {axes}")


@pytest.mark.parametrize(
    ("error", "words", "function", "args", "options"),
    [
        (SettingError, "has 2 entries, and the call 1", lambda x: x, (X,), {"in_axes": (0, 0)}),
        (ShapeError, "argument 0 is a single number", lambda x: x, (1.0,), {}),
        (ShapeError, "5 in argument 0 and 3 in argument 1", lambda x, y: x, (X, np.ones(3)), {}),
        (
            ShapeError,
            r"argument 0.a has shape \(5, 4\) and has no axis 2",
            lambda d: d,
            ({"a": X},),
            {"in_axes": 2},
        ),
        (SettingError, "axis_size=", lambda x: x, (X,), {"in_axes": None}),
        (SettingError, "out_axes is None", lambda x: x, (X,), {"out_axes": None}),
        (SettingError, "out_axes=3", lambda x: x, (X,), {"out_axes": 3}),
        (SettingError, "returned a str", lambda x: "a", (X,), {}),
        (SettingError, "keys", lambda d: d, ({"a": X, "b": X},), {"in_axes": ({"a": 0, "c": 0},)}),
        (CaptureError, "values of one: bool", lambda x: x if x[0] > 0 else -x, (X,), {}),
        (CaptureError, "random number was drawn", lambda x: np.random.rand() * x, (X,), {}),
        (
            CaptureError,
            'randomness="different" .* or randomness="same"',
            lambda x: ops.dropout(x, p=0.5),
            (X,),
            {},
        ),
        (ShapeError, "boolean mask", lambda x: x[x > 0], (X,), {}),
        (CaptureError, "writes buffer", tg.nn.BatchNorm1d(4, dtype=float), (rng.normal(size=(2, 3, 4)),), {}),
    ],
)
def test_what_it_refuses(error, words, function, args, options):
    with pytest.raises(error, match=words):
        tg.vmap(function, **options)(*args)


def test_a_backward_pass_inside_is_refused():
    w = tg.tensor(2.0, requires_grad=True)

    def f(x):
        y = w * x[0]
        y.backward()
        return y

    with pytest.raises(CaptureError, match=r"use tg\.grad inside"):
        tg.vmap(f)(X)
    assert w.grad is None


# Draws of `np.random.default_rng(0).normal(size=(3, 2))`, as NumPy's stream is fixed for a seed.
DRAWN = np.array([[0.12573022, -0.13210486], [0.64042265, 0.10490012], [-0.53566937, 0.36159505]])
POINTS = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def _weighed(generator):
    return lambda x: np.sum(x**2 * generator.normal((2,)))


@pytest.mark.parametrize(
    ("randomness", "draws"), [("different", DRAWN), ("same", np.broadcast_to(DRAWN[0], (3, 2)))]
)
@pytest.mark.parametrize("outside", [lambda f: f, tg.compile], ids=["eager", "compiled"])
def test_random_draws(randomness, draws, outside):
    generator = tg.Generator(0)
    f = _weighed(generator)
    mapped = {"randomness": randomness}
    slopes = 2 * POINTS * draws

    def of(function):
        generator.seed(0)
        return np.asarray(outside(function)(POINTS))

    close(of(lambda x: tg.vmap(f, **mapped)(x)), np.sum(POINTS**2 * draws, axis=1), rtol=1e-6)
    close(of(lambda x: tg.vmap(tg.grad(f), **mapped)(x)), slopes, rtol=1e-6)
    close(of(lambda x: tg.vmap(tg.grad(tg.checkpoint(f)), **mapped)(x)), slopes, rtol=1e-6)
    close(of(tg.grad(lambda x: np.sum(tg.vmap(f, **mapped)(x)))), slopes, rtol=1e-6)
    jacobian = of(tg.jacobian(lambda x: tg.vmap(f, **mapped)(x)))
    close(jacobian, np.einsum("ij,ik->ijk", np.eye(3), slopes), rtol=1e-6)
    curvature = of(lambda x: tg.vmap(tg.hessian(f), **mapped)(x))
    close(curvature, np.einsum("ij,jk->ijk", 2 * draws, np.eye(2)), rtol=1e-6)


def test_random_draws_follow_one_another_and_nest():
    generator = tg.Generator(0)
    other = np.random.default_rng(0)
    twice = tg.vmap(lambda x: (x + generator.normal(()), generator.uniform((2,))), randomness="different")
    one, two = twice(np.zeros(4))
    close(one, other.normal(size=4))  # all examples' first draws, then all their second ones
    close(two, other.uniform(size=(4, 2)))
    assert np.unique(two).size == 8

    def nested(inner, outer):
        generator.seed(0)
        drawn = tg.vmap(lambda x: 0 * x + generator.normal(()), randomness=inner)
        return tg.vmap(drawn, randomness=outer)(POINTS)

    close(nested("different", "different"), DRAWN, rtol=1e-6)
    close(nested("different", "same"), np.broadcast_to(DRAWN[0], (3, 2)), rtol=1e-6)
    close(nested("same", "different"), np.repeat(DRAWN.ravel()[:3, None], 2, axis=1), rtol=1e-6)
    close(nested("same", "same"), np.full((3, 2), DRAWN[0, 0]), rtol=1e-6)
    with pytest.raises(CaptureError, match='randomness="different"'):
        nested("same", "error")
    assert tg.vmap(lambda x: x + generator.normal((2,)), randomness="different")(np.ones((0, 2))).shape == (
        0,
        2,
    )


def test_a_compiled_map_draws_anew_in_each_call():
    generator = tg.Generator(0)
    noisy = tg.compile(tg.vmap(lambda x: x + generator.normal((2,)), randomness="different"))
    other = np.random.default_rng(0)
    for _ in range(2):
        close(noisy(np.zeros((3, 2))), other.normal(size=(3, 2)))


def test_dropout_under_vmap():
    tg.manual_seed(0)
    x = np.ones((4, 64))
    kept = tg.vmap(lambda row: ops.dropout(row, p=0.5), randomness="different")(x)
    assert set(np.unique(kept)) == {0.0, 2.0}
    assert len({row.tobytes() for row in np.asarray(kept)}) == 4
    shared = np.asarray(tg.vmap(lambda row: ops.dropout(row, p=0.5), randomness="same")(x))
    assert len({row.tobytes() for row in shared}) == 1
    with pytest.raises(SettingError, match='"error", "different" or "same"'):
        tg.vmap(np.sin, randomness="some")


class Noisy(tg.nn.Module):
    def __init__(self, generator):
        super().__init__()
        self.generator = generator

    def forward(self, x):
        return x * self._factor()

    def _factor(self):
        return self.generator.normal()


GLOBAL = np.random.default_rng(3)


def noise():
    return GLOBAL.normal()


def test_generators_of_numpy_and_python_are_noticed_however_they_are_reached():
    own = np.random.default_rng(3)
    draw, module, table = own.normal, Noisy(own), {"generators": [own]}

    def through_another(x):
        def inner():
            return own.normal()

        return x * inner()

    reach = [
        lambda x: x * own.normal(),
        lambda x: x * noise(),
        lambda x: x * draw(),
        lambda x: x * module(x),
        lambda x: x * table["generators"][0].normal(),
        lambda x, generator=own: x * generator.normal(),
        through_another,
        module,
        module.forward,
        functools.partial(lambda generator, x: x * generator.normal(), own),
        tg.grad(lambda x: x**2 * own.normal()),
        tg.vmap(lambda x: x * own.normal(), axis_size=1, in_axes=None),
        lambda x: x * random.random(),
        lambda x: x * np.random.rand(),
    ]
    first = np.random.default_rng(3).normal()
    for function in reach:
        with pytest.raises(
            CaptureError, match=r"^vmap: a random number was drawn from .* randomness=\"same\""
        ):
            tg.vmap(function)(np.ones(3))
        assert own.bit_generator.state == GLOBAL.bit_generator.state  # put back
    with pytest.raises(CaptureError, match="drawn from an argument"):
        tg.vmap(lambda x, generator: x * generator.normal(), in_axes=(0, None))(np.ones(3), own)
    shared = tg.vmap(lambda x: x * own.normal(), randomness="same")
    close(shared(np.ones(3)), [first] * 3)
    seeded = tg.vmap(
        lambda x: x * np.random.default_rng(3).normal()
    )  # the same in each example of a loop, too
    close(seeded(np.ones(3)), [first] * 3)
