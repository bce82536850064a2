"""Semantic differences: equal graphs are equal, each kind of change is found where it is, and nothing else is."""

import os
import subprocess
import sys
import warnings
from fractions import Fraction
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.comparing.gaps import gap
from tinygraph.core.op import op
from tinygraph.core.registry import registry
from tinygraph.errors import GraphError

IMAGE = np.random.default_rng(0).normal(size=(2, 1, 6, 6)).astype(np.float32)


def net(*, padding=1, activation=nn.ReLU, extra=(), features=36):
    tg.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=padding),
        *(make() for make in extra),
        activation(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(features, 3),
    )


def ops(nodes):
    return sorted(node.op.name for node in nodes if node.op is not None)


def only_change(difference):
    assert not difference.added
    assert not difference.removed
    (change,) = difference.changed
    return change


@pytest.mark.parametrize("suffix", [".json", ".tinygraph", ".svg", ".html", ".dot"])
def test_a_loaded_graph_is_the_same(suffix, tmp_path):
    graph = tg.capture(net(), IMAGE)
    path = tmp_path / f"g{suffix}"
    graph.save(path) if suffix in (".json", ".tinygraph") else tg.draw(graph, path)
    found = tg.diff(graph, tg.load(path), inputs=IMAGE)
    assert found.same
    assert not found
    assert str(found).splitlines()[0] == "the graphs are the same"
    assert found.compared == (12, 5)
    assert tg.diff(graph, graph).same


def test_names_scopes_and_lines_make_no_difference():
    def one(x):
        hidden = tg.ops.tanh(x)
        hidden.name = "hidden"
        return hidden * hidden

    class Other(nn.Module):
        def forward(self, x):
            hidden = tg.ops.tanh(x)
            return hidden * hidden

    assert tg.diff(tg.capture(one, np.ones(3)), tg.capture(Other(), np.ones(3)), inputs=np.ones(3)).same


def test_order_of_independent_ops_makes_no_difference():
    def one(x):
        a, b = tg.ops.exp(x), tg.ops.sin(x)
        return a - b

    def other(x):
        b, a = tg.ops.sin(x), tg.ops.exp(x)
        return a - b

    assert tg.diff(tg.capture(one, np.ones(3)), tg.capture(other, np.ones(3))).same
    found = tg.diff(
        tg.capture(one, np.ones(3)), tg.capture(lambda x: tg.ops.sin(x) - tg.ops.exp(x), np.ones(3))
    )
    assert only_change(found).after.op.name == "subtract"


def test_a_setting():
    found = tg.diff(net(), net(padding=0, features=4 * 2 * 2), inputs=IMAGE)
    (convolution,) = (one for one in found.changed if one.after.op is not None)
    assert convolution.details[0] == "padding (1, 1) → (0, 0)"
    assert {change.after.op.name for change in found.following} >= {"relu", "max_pool", "flatten"}
    assert "more whose types follow" in str(found)


def test_settings_given_and_by_default_are_the_same():
    one = tg.capture(lambda x: tg.ops.sum(x), np.ones((2, 2)))
    other = tg.capture(lambda x: tg.ops.sum(x, axis=None, keepdims=False), np.ones((2, 2)))
    assert tg.diff(one, other).same


def test_an_op():
    found = tg.diff(net(), net(activation=nn.Tanh), inputs=IMAGE)
    assert only_change(found).details == ("was relu",)
    assert found.values[0][1].op.name == "tanh"
    assert {name for name, _ in found.gradients} >= {"parameter '0.weight'"}
    assert "~ 1/tanh: was relu" in str(found)


def test_a_layer_between():
    found = tg.diff(tg.capture(net(), IMAGE), tg.capture(net(extra=[nn.Sigmoid, nn.Tanh]), IMAGE))
    assert ops(found.added) == ["sigmoid", "tanh"]
    assert not found.removed
    (relu,) = (change for change in found.changed if change.after.op is not None)
    assert relu.details == ("x: 0/convolution → 2/tanh",)
    assert {change.details for change in found.changed if change.after.op is None} == {
        ("was called '4.weight'",),
        ("was called '4.bias'",),
    }
    back = tg.diff(found.b, found.a)
    assert ops(back.removed) == ["sigmoid", "tanh"]
    assert not back.added


def test_a_value():
    changed = net()
    with tg.no_grad():
        changed[4].bias += np.float32([0, 0, 0.5])
    found = tg.diff(tg.capture(net(), IMAGE), tg.capture(changed, IMAGE))
    assert found.compared == (0, 0)
    assert only_change(found).after.name == "4.bias"
    assert only_change(found).details[0].startswith("values: max abs 0.5")
    with_numbers = tg.diff(net(), changed, inputs=IMAGE)
    assert [after.name or after.op.name for _, after, _ in with_numbers.values] == ["4.bias", "add"]
    assert with_numbers.values[1][2].absolute == pytest.approx(0.5, abs=1e-6)
    assert not with_numbers.gradients


def test_a_constant():
    table = np.arange(3.0)
    one = tg.capture(lambda x: x * table + 1, np.ones(3))
    assert tg.diff(one, tg.capture(lambda x: x * np.arange(3.0) + 1, np.ones(3))).same
    found = tg.diff(one, tg.capture(lambda x: x * (table + 1) + 1, np.ones(3)))
    assert only_change(found).after.op.name == "multiply"
    assert only_change(tg.diff(one, tg.capture(lambda x: x * table + 2, np.ones(3)))).details == ("y: 1 → 2",)
    assert only_change(tg.diff(one, tg.capture(lambda x: x * table + 1.0, np.ones(3)))).details == (
        "y: 1 → 1.0",
    )


def test_a_rule_only():
    """Two ops of one name that compute the same and differ in their derivative: the gradients tell."""

    def declared(factor):
        before = registry._snapshot()

        @op(kind="elementwise")
        def twice_here(x):
            return 2 * x

        @twice_here.vjp("x")
        def twice_here_wrt_x(g):
            return factor * g

        made = tg.capture(lambda x: twice_here(x).sum(), np.ones(3))
        registry._restore(before)
        return made

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        one, other = declared(2.0), declared(3.0)
    assert tg.diff(one, other).same
    found = tg.diff(one, other, inputs=np.ones(3))
    assert not found.values
    ((name, apart),) = found.gradients
    assert (name, apart.absolute) == ("input 'x'", 1.0)


def test_outputs_and_inputs():
    one = tg.capture(lambda x, y: (x + y, x * y), 1.0, 2.0)
    found = tg.diff(one, tg.capture(lambda x, y: (x * y, x + y), 1.0, 2.0))
    assert found.interface == ("output 0: add → multiply", "output 1: multiply → add")
    assert tg.diff(one, tg.capture(lambda x, y: x + y, 1.0, 2.0)).interface[0] == "2 output(s) → 1"
    found = tg.diff(one, tg.capture(lambda y, x: (x + y, x * y), 1.0, 2.0))
    assert found.interface == ("the inputs come in another order",)
    wider = tg.diff(tg.capture(np.sin, np.ones(3)), tg.capture(np.sin, np.ones(4)))
    assert [change.details for change in wider.changed] == [("float64[3] → float64[4]",)]
    assert len(wider.following) == 1


def test_updates_of_states():
    model, x = nn.Linear(2, 1), np.ones((3, 2), np.float32)

    def step(rate):
        optimizer = optim.SGD(model.parameters(), lr=rate)

        def run(x):
            optimizer.zero_grad()
            loss = (model(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        return tg.capture(run, x)

    one = step(0.1)
    assert tg.diff(one, one).same
    assert len(one.updates) == 2
    plain = tg.capture(lambda x: (model(x) ** 2).mean(), x)
    assert len([text for text in tg.diff(one, plain).interface if "update" in text]) == 2
    assert not tg.diff(one, step(0.2)).same


def test_stages_of_a_compiled_function():
    compiled = tg.compile(lambda x: ((x * 1.0 - 0.0) * 2.0 + 3.0).sum())
    compiled(np.ones(5))
    found = tg.diff(compiled.stages[0], compiled.stages[-1], inputs=np.ones(5))
    assert found
    assert not found.values
    assert found.compared[0] > 0
    simplified = next(stage for stage in compiled.stages if stage.name == "simplify_algebra")
    found = tg.diff(compiled.stages[0], simplified, inputs=np.ones(5))
    assert ops(found.removed) == ["multiply", "subtract"]
    assert not found.added
    assert not found.values
    assert not found.gradients


def test_random_graphs_match_themselves_after_a_file_and_a_shuffle(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(20):
        choices = rng.integers(0, 1000, size=(25, 3))

        def program(x, choices=choices):
            values = [x]
            for which, i, j in choices:
                made = (tg.ops.add, tg.ops.multiply, tg.ops.subtract)[which % 3]
                values.append(made(values[i % len(values)], values[j % len(values)]))
            return values[-1], values[-2]

        graph = tg.capture(program, np.ones(2))
        view = graph.to_networkx()
        shuffled = type(view)(**view.graph)
        keys = list(view.nodes)
        rng.shuffle(keys)
        shuffled.add_nodes_from((key, {**view.nodes[key], "reference": None}) for key in keys)
        shuffled.add_edges_from(view.edges(data=True))
        again = tg.Graph.from_networkx(shuffled)
        assert tg.diff(graph, again, inputs=rng.normal(size=2)).same


@pytest.mark.parametrize("seed", range(5))
def test_one_changed_op_in_a_large_graph_is_the_only_difference(seed):
    rng = np.random.default_rng(seed)
    place = int(rng.integers(0, 300))

    def program(changed):
        def run(x):
            for i in range(300):
                y = tg.ops.tanh(x) if i % 3 else tg.ops.sin(x)
                x = x + (tg.ops.exp(x) if changed and i == place else y)
            return x

        return tg.capture(run, np.ones(2))

    found = tg.diff(program(False), program(True))
    assert only_change(found).after.op.name == "exp"
    assert only_change(found).details[0] in ("was tanh", "was sin")


def test_very_long_chains_take_no_recursion():
    def chain(last):
        def run(x):
            for _ in range(5000):
                x = x * 1.5
            return last(x)

        return tg.capture(run, 1.0)

    assert tg.diff(chain(tg.ops.sin), chain(tg.ops.sin)).same
    assert only_change(tg.diff(chain(tg.ops.sin), chain(tg.ops.cos))).details == ("was sin",)


def test_duplicates_are_merged_and_made():
    merged = tg.capture(lambda x: (lambda y: y * y + y)(tg.ops.sin(x)), 1.0)
    doubled = tg.capture(lambda x: tg.ops.sin(x) * tg.ops.sin(x) + tg.ops.sin(x), 1.0)
    found = tg.diff(doubled, merged, inputs=1.0)
    assert ops(found.removed) == ["sin", "sin"]
    assert not found.added
    assert not found.changed
    found = tg.diff(merged, doubled)
    assert ops(found.added) == ["sin", "sin"]
    assert not found.removed
    assert not found.changed


def test_random_numbers_are_drawn_alike():
    tg.manual_seed(3)
    model = nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5))
    graph = tg.capture(model, np.ones((2, 6), np.float32))
    before = tg.core.state.default_generator.state
    found = tg.diff(graph, tg.capture(model, np.ones((2, 6), np.float32)), inputs=np.ones((2, 6), np.float32))
    assert found.same
    assert tg.core.state.default_generator.state == before


def test_nothing_of_the_graphs_is_changed():
    model = net()
    graph = tg.capture(lambda x: (model(x) ** 2).mean(), IMAGE)
    tg.diff(graph, tg.capture(lambda x: (model(x) ** 2).mean(), IMAGE), inputs=IMAGE)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_recorded_tensors_and_fractions():
    def made(last):
        x = tg.tensor([Fraction(1, 3), Fraction(1, 2)], requires_grad=True, name="x")
        return (x * x).sum() * last

    assert tg.diff(made(2), made(2), inputs=()).same
    found = tg.diff(made(2), made(3), inputs=())
    assert only_change(found).details == ("y: 2 → 3",)
    assert len(found.values) == 1


def test_graphs_without_values_are_compared_by_structure(tmp_path):
    weight = tg.tensor(np.ones((400, 400)), requires_grad=True, name="w")
    graph = tg.capture(lambda x: (x @ weight).sum(), np.ones((1, 400)))
    tg.draw(graph, tmp_path / "g.svg")
    found = tg.diff(graph, tg.load(tmp_path / "g.svg"), inputs=np.ones((1, 400)))
    assert found.same
    assert "values were not compared: tensor 'w' has no value" in str(found)


def test_what_is_no_graph_is_refused():
    with pytest.raises(GraphError, match="give `inputs=`"):
        tg.diff(net(), net())
    with pytest.raises(GraphError, match=r"not function; of a function, take tg\.capture"):
        tg.diff(net, net)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (1.0, 1.0, (0, 0)),
        ([1.0, np.nan], [1.0, np.nan], (0, 0)),
        ([1.0, np.nan], [1.0, 2.0], (np.inf, np.inf)),
        ([np.inf], [np.inf], (0, 0)),
        ([np.inf], [-np.inf], (np.inf, np.inf)),
        ([], [], (0, 0)),
        ([0.0], [0.5], (0.5, 1.0)),
        ([0.0], [0.0], (0, 0)),
        ([4.0, 1.0], [4.0, 2.0], (1.0, 0.25)),
        ([1 + 1j], [1.0], (1.0, 2**-0.5)),
        ([1, 2], [1, 3], (1, 1 / 3)),
        ([True], [False], (1, 1)),
        (np.array([Fraction(1, 2)]), np.array([Fraction(1, 4)]), (0.25, 0.5)),
        (np.float32([1e38]), np.float32([-1e38]), (2e38, 2.0)),
        ([1.0], [[1.0]], (np.inf, np.inf)),
    ],
)
def test_gaps(one, other, expected):
    assert gap(np.asarray(one), np.asarray(other)) == pytest.approx(expected)


# -- picture and command ---------------------------------------------------------------------------------------------


def test_the_picture(tmp_path):
    found = tg.diff(net(), net(activation=nn.Tanh, extra=[nn.Sigmoid]), inputs=IMAGE)
    drawing = found.draw(tmp_path / "d.svg")
    kinds = {box.title: box.kind for box in drawing.picture.boxes}
    assert kinds["+ sigmoid"] == "added"
    assert kinds["~ tanh"] == "changed"
    assert kinds["convolution"] == "same"
    ET.parse(tmp_path / "d.svg")
    assert tg.diff(found.b, tg.load(tmp_path / "d.svg")).same
    back = tg.diff(found.b, found.a).draw()
    assert {box.title: box.kind for box in back.picture.boxes}["− sigmoid"] == "removed"
    assert tg.diff(found.b, found.a).draw().source == back.source


def test_a_large_picture_shows_what_is_near_a_difference():
    def chain(op):
        def run(x):
            for i in range(500):
                x = op(x) if i == 250 else x * 1.5
            return x

        return tg.capture(run, 1.0)

    picture = tg.diff(chain(tg.ops.sin), chain(tg.ops.cos)).draw().picture
    assert len(picture.boxes) == 7
    assert sum(box.kind == "fold" for box in picture.boxes) == 2
    same = tg.diff(chain(tg.ops.sin), chain(tg.ops.sin)).draw().picture
    assert len(same.boxes) == 1
    assert same.notes == ("The graphs are the same.",)


@pytest.mark.parametrize("name", ["</script>", ']]>"', "a\nb", "<b>", "\u202ex", "x" * 10_000])
def test_hostile_names_in_pictures(name, tmp_path):
    def made(factor):
        x = tg.tensor(2.0, requires_grad=True, name=name)
        y = x * factor
        y.name = name
        return y

    found = tg.diff(made(2.0), made(3.0))
    found.draw(tmp_path / "d.svg")
    ET.parse(tmp_path / "d.svg")
    assert "2.0 → 3.0" in str(found)


def run(*arguments):
    program = "import sys; from tinygraph.cli import main; main(sys.argv[1:])"
    done = subprocess.run(
        [sys.executable, "-c", program, "diff", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def test_the_command_and_its_exit_status(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(os.path.abspath, sys.path)))
    graph = tg.capture(net(), IMAGE)
    graph.save(tmp_path / "a.json")
    tg.draw(graph, tmp_path / "a.dot")
    tg.capture(net(activation=nn.Tanh), IMAGE).save(tmp_path / "b.json")
    status, out, _ = run(tmp_path / "a.json", tmp_path / "a.dot", "--run")
    assert (status, out.splitlines()[0]) == (0, "the graphs are the same")
    status, out, _ = run(tmp_path / "a.json", tmp_path / "b.json", "--draw", tmp_path / "d.svg")
    assert status == 1
    assert "was relu" in out
    ET.parse(tmp_path / "d.svg")
    status, _, err = run(tmp_path / "a.json", tmp_path / "none.json")
    assert status == 2
    assert "none.json" in err
