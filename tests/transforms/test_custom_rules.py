"""`custom_vjp` and `custom_jvp`: recorded, captured, compiled, mapped, opened, differentiated again, refused."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import CaptureError, FileFormatError, RuleError, SettingError

X = np.array([0.3, -1.2, 2.0])
close = np.testing.assert_allclose


def doubled_slope():
    """sin, whose rule says twice its slope, to tell the rule from the function."""

    @tg.custom_vjp
    def f(x):
        return np.sin(x)

    f.defvjp(lambda x: (np.sin(x), np.cos(x)), lambda cos, g: (2 * cos * g,))
    return f


def pushed_slope():
    @tg.custom_jvp
    def f(x):
        return np.sin(x)

    @f.defjvp
    def along(primals, tangents):
        return f(*primals), 2 * np.cos(primals[0]) * tangents[0]

    return f


@pytest.mark.parametrize("make", [doubled_slope, pushed_slope])
def test_the_rule_is_kept_everywhere(make):
    f = make()
    loss = lambda x: np.sum(f(x) * x)  # noqa: E731
    slope = 2 * np.cos(X) * X + np.sin(X)
    assert isinstance(f(X), np.ndarray)
    close(f(X), np.sin(X))
    close(tg.grad(loss)(X), slope)
    close(tg.jvp(loss, (X,), (X,))[1], slope @ X)
    close(tg.jacobian(f)(X), np.diag(2 * np.cos(X)))
    close(tg.vmap(tg.grad(loss))(np.stack([X, 2 * X]))[0], slope)
    close(tg.grad(lambda x: np.sum(tg.vmap(f)(x)))(np.stack([X, X])), 2 * np.cos(np.stack([X, X])))
    close(tg.grad(lambda x: np.sum(tg.vmap(tg.vmap(f))(x)))(np.stack([X, X])), 2 * np.cos(np.stack([X, X])))
    compiled = tg.compile(lambda x: tg.grad(loss)(x))
    for x in (X, X + 1):
        close(np.asarray(compiled(x)), 2 * np.cos(x) * x + np.sin(x))
    through = tg.compile(loss)
    x = tg.tensor(X, requires_grad=True)
    through(x).backward()
    close(x.grad.numpy(), slope)
    close(tg.grad(tg.checkpoint(loss))(X), slope)
    # the rule is itself differentiated, and what it keeps through the function's own ops
    close(tg.grad(lambda x: np.sum(tg.grad(loss)(x)))(X), -2 * np.sin(X) * X + 2 * np.cos(X) + 2 * np.cos(X))
    close(np.diag(tg.hessian(lambda x: np.sum(f(x)))(X)), -2 * np.sin(X))
    graph = tg.capture(loss, X)
    close(graph(X), np.sum(np.sin(X) * X))
    close(graph.gradient("x")(X)[1], slope)


def test_it_is_one_box_that_opens(tmp_path):
    f = doubled_slope()
    x = tg.tensor(X, requires_grad=True, name="x")
    out = f(x) * 2
    graph = tg.graph_of(out)
    assert [node.op.name for node in graph.nodes if node.op is not None] == ["f", "multiply"]
    source = tg.draw(out).source
    assert "sin" in source
    body = tg.capture(f.function, X)
    body.save(tmp_path / "graph.json")
    close(tg.load(tmp_path / "graph.json")(X), np.sin(X))


@pytest.mark.parametrize("make", [doubled_slope, pushed_slope])
def test_no_file_loses_the_rule_without_a_word(make, tmp_path):
    f = make()
    through = tg.compile(lambda x: np.sum(f(x)))
    out = through(tg.tensor(X, requires_grad=True))
    graphs = {
        "recorded": tg.graph_of(f(tg.tensor(X, requires_grad=True)) * 2),
        "captured": tg.capture(lambda x: f(x) * 2, X),
        "mapped": tg.capture(lambda x: tg.vmap(f)(x) * 2, X),
        "in a compiled call": tg.graph_of(out),
        "in a loop": tg.capture(lambda x: tg.scan(lambda c, _: (f(c), None), x, None, length=2)[0], X),
    }
    for words, graph in graphs.items():
        for path in ("graph.json", "graph.safetensors"):
            with pytest.raises(FileFormatError, match=r"'f' has a derivative rule of its own.*f\.function"):
                graph.save(tmp_path / path)
            assert not (tmp_path / path).exists(), words
    with pytest.raises(FileFormatError, match="derivative rule of its own"):
        tg.interop.to_networkx(graphs["recorded"])
    tg.draw(graphs["recorded"]).save(tmp_path / "picture.svg")
    with pytest.raises(FileFormatError, match=r"carries no graph.*derivative rule of its own"):
        tg.load(tmp_path / "picture.svg")


def test_what_is_read_from_outside_eagerly_needs_no_gradient():
    w = tg.tensor(2.0, requires_grad=True)
    x = tg.tensor(X, requires_grad=True)
    product, sliding = tg.custom_vjp(lambda x: x * w), tg.custom_jvp(lambda x: x * (w + 1.0))
    product.defvjp(lambda x: (x * w, None), lambda k, g: (g,))
    sliding.defjvp(lambda p, t: (p[0] * (w + 1.0), t[0]))
    keeping = tg.custom_vjp(lambda x: x * 2.0)
    keeping.defvjp(lambda x: (x * 2.0, w), lambda w, g: (g * w,))
    for f in (product, sliding, keeping):
        for run in (f, tg.vmap(f), tg.checkpoint(f)):
            with pytest.raises(CaptureError, match=r"from outside, whose gradient.*pass it as an argument"):
                run(x)
    cut = tg.custom_vjp(lambda x: x * w.detach())
    cut.defvjp(lambda x: (x * w.detach(), w.detach()), lambda w, g: (3 * g * w,))
    cut(x).backward(np.ones(3))
    close(x.grad.numpy(), [6.0, 6.0, 6.0])


def test_arguments_of_every_kind():
    @tg.custom_vjp
    def f(power, tree, flag, scale=2.0):
        return {"y": scale * tree["a"] ** power + tree["b"][0], "n": tree["b"][0] * 0 + len(flag)}

    f = tg.custom_vjp(f.function, nondiff_argnums=(0, 2))

    def fwd(power, tree, flag, scale):
        return f.function(power, tree, flag, scale), (tree["a"], scale, "kept")

    def bwd(power, flag, residuals, g):
        a, scale, word = residuals
        assert (word, flag) == ("kept", "yes")
        return {"a": power * scale * a ** (power - 1) * g["y"], "b": (None,)}, None

    f.defvjp(fwd, bwd)
    found = tg.grad(lambda t: np.sum(f(3, t, flag="yes")["y"]))({"a": X, "b": (X,)})
    close(found["a"], 6 * X**2)
    close(found["b"][0], 0 * X)
    with pytest.raises(SettingError, match="nondiff_argnums"):
        tg.grad(lambda p: np.sum(f(p, {"a": X, "b": (X,)}, "yes")["y"]))(3.0)


def test_a_rule_for_each_argument():
    @tg.custom_jvp
    def product(x, y):
        return x * y

    product.defjvps(lambda t, out, x, y: t * y, lambda t, out, x, y: 3 * t * x)
    assert tg.grad(product, (0, 1))(2.0, 5.0) == (5.0, 6.0)
    assert tg.jvp(product, (2.0, 5.0), (1.0, 1.0))[1] == 11.0
    assert tg.grad(tg.grad(product), 1)(2.0, 5.0) == 1.0


def test_values_may_be_asked_for_where_they_are():
    @tg.custom_vjp
    def f(x):
        return x * 2 if x > 0 else x

    f.defvjp(
        lambda x: (f.function(x), float(x.numpy()) if isinstance(x, tg.Tensor) else x), lambda k, g: (g * k,)
    )
    assert tg.grad(f)(3.0) == 3.0


def test_what_they_refuse():
    w = tg.tensor(2.0, requires_grad=True)
    f = tg.custom_vjp(lambda x: x * w)
    x = tg.tensor(X, requires_grad=True)
    with pytest.raises(RuleError, match="without a rule"):
        f(x)
    f.defvjp(lambda x: (x * w, None), lambda k, g: (g,))
    with pytest.raises(CaptureError, match="from outside, whose gradient"):
        tg.capture(lambda x: f(x), X)
    for bwd, words in (
        (lambda k, g: g, "a tuple with a gradient for each of the 1"),
        (lambda k, g: (g, g), "it returned 2 values"),
        (lambda k, g: (g[:2],), r"shape \(2,\) as the gradient of argument 0"),
        (lambda k, g: ((g, g),), "structure"),
    ):
        one = tg.custom_vjp(lambda x: x * 2)
        one.defvjp(lambda x: (x * 2, None), bwd)
        with pytest.raises(RuleError, match=words):
            tg.grad(lambda x, one=one: np.sum(one(x)))(X)
    one.defvjp(lambda x: x * 2, lambda k, g: (g,))
    with pytest.raises(RuleError, match="must return"):
        tg.grad(lambda x: np.sum(one(x)))(X)
    along = tg.custom_jvp(lambda x: x * 2)
    along.defjvp(lambda p, t: (p[0], t[0][:2]))
    with pytest.raises(RuleError, match="tangent of shape"):
        tg.jvp(along, (X,), (X,))


def test_a_fwd_may_call_the_function_itself():
    """As in the first example of JAX's documentation; derivatives of every order follow the rule."""

    @tg.custom_vjp
    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def forwards(x):
        y = sigmoid(x)
        return y, y

    sigmoid.defvjp(forwards, lambda y, g: (2 * g * y * (1 - y),))  # twice the slope, to be told apart
    y = 1 / (1 + np.exp(-0.3))
    assert sigmoid(0.3) == y
    np.testing.assert_allclose(tg.grad(sigmoid)(0.3), 2 * y * (1 - y), rtol=1e-14)
    second, third = tg.grad(tg.grad(sigmoid)), tg.grad(tg.grad(tg.grad(sigmoid)))
    np.testing.assert_allclose(second(0.3), -0.14558473582230508, rtol=1e-12)  # JAX's
    np.testing.assert_allclose(third(0.3), -0.9128070818991462, rtol=1e-12)
    np.testing.assert_allclose(tg.compile(second)(np.float64(0.3)), -0.14558473582230508, rtol=1e-12)
    np.testing.assert_allclose(tg.vmap(tg.grad(sigmoid))(np.full(3, 0.3)), 2 * y * (1 - y), rtol=1e-14)


def test_after_a_fwd_that_failed_the_rule_holds_as_before():
    failing = [True]

    @tg.custom_vjp
    def double(x):
        return 2 * x

    def forwards(x):
        y = double(x)
        if failing:
            failing.pop()
            raise ValueError("inside")
        return y, None

    double.defvjp(forwards, lambda kept, g: (5 * g,))
    with pytest.raises(Exception, match="inside"):
        tg.grad(double)(1.0)
    assert tg.grad(double)(1.0) == 5.0
