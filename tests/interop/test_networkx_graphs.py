"""Graphs as networkx graphs and back: what is carried, what may be left out, and what is refused by its node."""

import networkx as nx
import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.node import Leaf
from tinygraph.errors import FileFormatError


@pytest.fixture
def graph():
    w = tg.tensor(np.arange(6.0).reshape(3, 2) / 7, requires_grad=True, name="w")

    def loss(x):
        halves = np.split(x @ w, 2, axis=1)
        return (np.tanh(halves[0]) * halves[1] * 2.0 + np.ones((4, 1))).sum()

    return tg.capture(loss, np.zeros((4, 3)))


def test_attributes_say_what_nodes_and_edges_are(graph):
    view = graph.to_networkx()
    assert isinstance(view, nx.MultiDiGraph)
    assert list(view.nodes) == list(range(len(graph.nodes)))
    names = {data["name"]: key for key, data in view.nodes(data=True) if data["name"]}
    ops = {data["op"]: key for key, data in view.nodes(data=True) if "op" in data}
    assert view.nodes[names["w"]]["leaf"] == "tensor"
    assert view.nodes[names["w"]]["requires_grad"]
    assert view.nodes[names["x"]]["types"] == ("float64[4,3]",)
    assert view.graph["inputs"] == [names["x"]]
    matmul = view.nodes[ops["matmul"]]
    assert (matmul["kind"], matmul["phase"], matmul["types"]) == ("contraction", "forward", ("float64[4,2]",))
    assert matmul["source"].text == "halves = np.split(x @ w, 2, axis=1)"
    edge = view.edges[names["w"], ops["matmul"], 0]
    assert edge == {"operand": "y", "position": 1, "output": 0, "shape": (3, 2), "dtype": "float64"}
    assert {edge["output"] for _, _, edge in view.out_edges(ops["split"], data=True)} == {0, 1}


@pytest.mark.parametrize("differentiate", [False, True])
def test_the_round_trip_shares_parameters_and_keeps_everything(graph, differentiate):
    graph = graph.gradient() if differentiate else graph
    again = tg.Graph.from_networkx(graph.to_networkx())
    x = np.arange(12.0).reshape(4, 3)
    one, two = graph(x), again(x)
    for a, b in zip(one, two, strict=True) if differentiate else [(one, two)]:
        np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert again.parameters[0] is graph.parameters[0]
    assert len(again.nodes) == len(graph.nodes)
    for old, new in zip(graph.nodes, again.nodes, strict=True):
        assert (old.kind, old.name, old.scope, old.phase, str(old.source)) == (
            new.kind, new.name, new.scope, new.phase, str(new.source),
        )  # fmt: skip
        assert old.settings == new.settings
        assert (old.forward_node is None) == (new.forward_node is None)


def test_an_edited_graph_is_another_model(graph):
    view = graph.to_networkx()
    (tanh,) = [key for key, data in view.nodes(data=True) if data.get("op") == "tanh"]
    view.nodes[tanh]["op"] = "sigmoid"
    again = tg.Graph.from_networkx(view)
    assert any(not isinstance(node, Leaf) and node.op.name == "sigmoid" for node in again.nodes)


def test_a_randomly_wired_network_trains():
    wiring = nx.erdos_renyi_graph(12, 0.3, seed=1)
    model = nx.DiGraph()
    rng = np.random.default_rng(0)
    model.add_node("x", leaf="input", type="float64[5,4]")
    for i in wiring:
        before = [j for j in wiring[i] if j < i]
        model.add_node(f"w{i}", leaf="parameter", value=rng.normal(size=(4, 4)) / 2)
        model.add_node(f"sum{i}", op="add" if len(before) > 1 else "identity")
        model.add_node(f"h{i}", op="matmul")
        model.add_node(i, op="tanh")
        for j in before[:2] or ["x"]:
            model.add_edge(j, f"sum{i}")
        model.add_edge(f"sum{i}", f"h{i}", position=0)
        model.add_edge(f"w{i}", f"h{i}", position=1)
        model.add_edge(f"h{i}", i)
    model.add_node("loss", op="mean")
    model.add_edge(11, "loss")
    model.graph["outputs"] = ["loss"]
    graph = tg.Graph.from_networkx(model)
    x = rng.normal(size=(5, 4))
    first = graph(x)
    first.backward()
    for parameter in graph.parameters:
        if parameter.grad is not None:
            with tg.no_grad():
                parameter -= 0.5 * parameter.grad.numpy()
    assert graph(x).item() < first.item()


def hand_made():
    made = nx.MultiDiGraph()
    made.add_node("x", leaf="input", type="float64[3]")
    made.add_node("w", leaf="parameter", value=[1.0, 2.0, 3.0])
    made.add_node("product", op="multiply")
    made.add_node("y", op="sum", settings={"axis": 0})
    made.add_edges_from([("x", "product"), ("w", "product"), ("product", "y")])
    return made


def test_the_least_that_must_be_said():
    graph = tg.Graph.from_networkx(hand_made())
    assert graph([1.0, 1.0, 2.0]).item() == 9.0
    assert [leaf.name for leaf in graph.inputs] == ["x"]
    assert [parameter.name for parameter in graph.parameters] == ["w"]


def test_one_tensor_may_be_read_twice_and_constants_fill_the_rest():
    made = nx.MultiDiGraph()
    made.add_node("x", leaf="input", type="float64[2]")
    made.add_node("square", op="multiply")
    made.add_node("y", op="subtract", constants={0: 10.0})
    made.add_edges_from([("x", "square"), ("x", "square"), ("square", "y")])
    np.testing.assert_array_equal(tg.Graph.from_networkx(made)([2.0, 3.0]), [6.0, 1.0])


FAULTS = {
    "an unknown op": (lambda g: g.nodes["y"].update(op="summ"), "node 'y'.*no op 'summ'"),
    "no op and no value": (lambda g: g.add_node("z"), "node 'z'.*`value`"),
    "edges into a leaf": (lambda g: g.add_edge("x", "w"), "node 'w'.*incoming edges"),
    "a cycle": (lambda g: g.add_edge("y", "product"), "cycle through the nodes.*'y'"),
    "too many operands": (lambda g: g.add_edge("w", "product"), "node 'product'.*3 are given"),
    "a missing operand": (lambda g: g.remove_edge("x", "product"), "node 'product'.*but 1 are given"),
    "one position twice": (
        lambda g: g.add_edges_from([("w", "y", {"position": 0}), ("x", "y", {"position": 0})]),
        "node 'y'.*given twice",
    ),
    "a position beyond": (lambda g: g.edges["product", "y", 0].update(position=-1), "node 'y'.*positions"),
    "an output beyond": (lambda g: g.edges["product", "y", 0].update(output=3), "node 'y'.*output 3"),
    "shapes that do not fit": (lambda g: g.nodes["w"].update(value=np.ones(4)), "node 'product'.*broadcast"),
    "a setting unknown": (lambda g: g.nodes["y"].update(settings={"axes": 0}), "node 'y'.*no setting 'axes'"),
    "a kind unknown": (lambda g: g.nodes["w"].update(leaf="weight"), "node 'w'.*'weight'"),
    "a type that is none": (lambda g: g.nodes["x"].update(type="float64[a]"), r"node 'x'.*float64\[a\]"),
    "an output that is none": (lambda g: g.graph.update(outputs=["q"]), "'q' is no node"),
    "an input that is none": (lambda g: g.graph.update(inputs=["y"]), "'y' is listed.*but is none"),
    "an integer parameter": (lambda g: g.nodes["w"].update(value=[1, 2, 3]), "node 'w'.*cannot require"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_wrong_graph_is_refused_by_its_node(fault):
    made = hand_made()
    change, message = FAULTS[fault]
    change(made)
    with pytest.raises(FileFormatError, match=f"(?s:{message})"):
        tg.Graph.from_networkx(made)


def test_only_directed_graphs_are_graphs():
    with pytest.raises(FileFormatError, match="directed"):
        tg.Graph.from_networkx(nx.path_graph(3))
    with pytest.raises(FileFormatError, match="no outputs"):
        tg.Graph.from_networkx(nx.DiGraph())
