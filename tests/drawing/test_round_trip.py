"""Draw, load, run: pictures of every example and op compute what their models do, to the last bit.

What pictures carry, and what happens to files that are cut or edited, is tested in tests/interop/test_embedding.py.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import runpy
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, training
from tinygraph.core.op import Op, distribution_of
from tinygraph.core.registry import registry

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = [path.stem for path in sorted(EXAMPLES.glob("[0-9]*.py"))]
PLUGINS = sorted(path.parent for path in EXAMPLES.glob("plugins/*/pyproject.toml"))
OPS = [op for op in registry.all_ops() if isinstance(op, Op) and op.package == "tinygraph_ops" and op.samples]
cross_entropy = nn.functional.cross_entropy


def first_gradient(found):
    yield tg.graph_of(found["z"]), ()


def convolution(found):
    yield tg.graph_of(found["loss"]), ()


def patients(found):
    yield tg.graph_of(found["loss"]), ()  # of fractions


def own_op(found):
    x = np.array([0.0, 0.5])
    yield tg.capture(lambda x: found["gaussian_wave"](x).sum(), x), (x,)


def model_as_a_graph(found):
    yield found["graph"], (found["x"],)
    yield found["loss"], (found["x"],)
    yield found["backward"], (found["x"],)


def digits(found):
    model, given = found["model"], (found["images"], found["labels"])
    yield tg.capture(lambda images, labels: cross_entropy(model(images), labels), *given), given


def residual(found):
    model, given = found["model"], (found["images"], found["labels"])
    yield tg.capture(lambda images, labels: cross_entropy(model(images), labels), *given), given
    model.train()
    yield tg.capture(found["step"], *given), given  # new parameters and running statistics besides the loss


def transformer(found):
    model, words = found["model"], found["windows"]
    given = (words[:2, :-1], words[:2, 1:].reshape(-1))
    count = len(found["characters"])
    yield tg.capture(lambda x, y: cross_entropy(model(x).reshape(-1, count), y), *given), given


def model_file(found):
    yield from digits(found)


def randomly_wired(found):
    yield from digits(found)
    yield found["again"], (found["images"],)


def objective(name, *given):
    """An example in plain NumPy: the graph of the function that it differentiates, or integrates."""

    def graphs(found):
        arguments = [found[one] if isinstance(one, str) else np.asarray(one) for one in given]
        yield tg.capture(found[name], *arguments), arguments

    return graphs


def image_folder(found):
    model, given = found["model"], (found["images"][0][0][None],)
    yield tg.capture(model.eval(), *given), given


def texts(found):
    model, given = found["model"], (found["texts"][0][0][None],)
    yield tg.capture(model.eval(), *given), given


GRAPHS = dict(
    zip(
        NAMES,
        [first_gradient, convolution, patients, own_op, model_as_a_graph, digits, residual, transformer, model_file,
         randomly_wired, objective("negative_log_likelihood", "start"),
         objective("negative_elbo", "parameters", np.linspace(-1.0, 1.0, 10).reshape(5, 2)), objective("miss", 1.1),
         objective("slope", "start", 0.5, "TRUE"), objective("share_in_focus", "phase"), objective("loss", "w"),
         image_folder, texts],
        strict=True,
    )
)  # fmt: skip


@pytest.fixture(autouse=True)
def registered():
    """Ops that an example or package declares go with it."""
    registry._load_builtin()
    before, plugins = registry._snapshot(), registry._plugins
    yield
    registry._restore(before)
    registry._plugins = plugins
    distribution_of.cache_clear()  # packages are not installed here, elsewhere they may be


def arrays(result):
    several = result if isinstance(result, tuple | list) else (result,)
    return [np.asarray(one.detach() if isinstance(one, tg.Tensor) else one) for one in several]


def assert_identical(one, other):
    for a, b in zip(arrays(one), arrays(other), strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_array_equal(a, b)


def has_gradient(graph):
    out = graph.outputs[0]
    wanted = [leaf for leaf in graph.leaves if leaf.requires_grad]
    return (
        bool(wanted)
        and not isinstance(out, np.ndarray)
        and out.output_types[0].shape == ()
        and not graph.updates
    )


LONG = ("08", "09", "10", "13", "14")


def assert_same_program(graph, again, given):
    """Values, gradients and new states; the loaded graph runs first, since running may write to the states of both."""
    states = [[leaf.value.copy() for leaf, _ in one.updates] for one in (graph, again)]
    assert_identical(*states)
    found = again(*given)
    assert_identical(found, graph(*given))
    assert_identical(*([leaf.value for leaf, _ in one.updates] for one in (graph, again)))
    if has_gradient(graph):
        assert_identical(again.gradient()(*given), graph.gradient()(*given))


@pytest.mark.parametrize(
    "name",
    # those with the most ops of one kind or the most steps of training take seconds; `.ci/run` runs them
    [pytest.param(one, marks=[pytest.mark.slow] if one[:2] in LONG else []) for one in NAMES],
)
def test_examples(name, tmp_path, monkeypatch):
    monkeypatch.setenv("STEPS", "1")
    monkeypatch.setattr("sys.argv", [name])
    epoch = training.Epoch(1, 0.0, 0.0, 0.0, 0.0, 0.1, 1.0)
    monkeypatch.setattr(
        training, "fit", lambda *args, **options: training.History([epoch])
    )  # any parameters will do
    monkeypatch.setattr(training, "TensorBoardLog", lambda *args: None)  # of an extra
    monkeypatch.setattr(training, "evaluate", lambda *args, **options: (0.0, 0.0))
    monkeypatch.chdir(tmp_path)
    with contextlib.redirect_stdout(io.StringIO()):
        found = runpy.run_path(str(EXAMPLES / f"{name}.py"))
    for graph, given in GRAPHS[name](found):
        for suffix in ("svg", "html", "dot"):
            tg.draw(graph, f"picture.{suffix}", zoom="module")
            assert_same_program(graph, tg.load(f"picture.{suffix}"), given)


def sampled(op):
    """The graph of an op on its first sample; it begins with a number to differentiate where there can be one."""
    sample = op.samples[0]
    operands = [
        tg.tensor(x, requires_grad=True, name=f"x{i}") if x is not None and x.dtype.kind in "fc" else x
        for i, x in enumerate(sample.operands)
    ]
    results = op(*operands, **sample.settings)
    made = [
        one
        for one in (results if isinstance(results, tuple | list) else (results,))
        if isinstance(one, tg.Tensor)
    ]
    squares = [(one * one).sum() for one in made if one.dtype.kind == "f"]
    return tg.graph_of(*([sum(squares[1:], squares[0])] if squares else []), *made) if made else None


def test_every_op(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    compared = 0
    for op in OPS:
        graph = sampled(op)
        if graph is None:  # of whole numbers, which are not recorded
            continue
        tg.draw(graph, "picture.dot")
        with np.errstate(all="ignore"):
            assert_same_program(graph, tg.load("picture.dot"), ())
        compared += has_gradient(graph)
    assert compared > 100


@pytest.mark.parametrize("folder", PLUGINS, ids=lambda path: path.name)
def test_example_packages(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(folder)
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (package,) = project["entry-points"]["tinygraph.ops"].values()
    loaded = set(sys.modules)
    importlib.import_module(package)
    try:
        ops = [op for op in registry.all_ops() if op.package == package and op.samples]
        assert any(map(sampled, ops))
        for op in ops:
            graph = sampled(op)
            if graph is None:
                continue
            for suffix in ("svg", "html", "dot"):
                tg.draw(graph, f"picture.{suffix}")
                assert_same_program(graph, tg.load(f"picture.{suffix}"), ())
    finally:
        for name in set(sys.modules) - loaded:
            if name.startswith(package):
                del sys.modules[name]
