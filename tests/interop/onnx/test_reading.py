"""ONNX models read as graphs: parameters, scopes, sizes, constants, functions, quantised values, stand-ins."""

import re
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the package was found

import tinygraph as tg  # noqa: E402
from tinygraph.errors import FileFormatError, PluginError  # noqa: E402
from tinygraph.interop.onnx.model_reading import graph_of_model  # noqa: E402
from tinygraph.interop.onnx.model_writing import FORMS  # noqa: E402
from tinygraph.interop.onnx.operators.operator_table import TABLE  # noqa: E402
from tinygraph.plugin import composite, op  # noqa: E402

F, INTEGER = TensorProto.FLOAT, TensorProto.INT64


def model(nodes, inputs, outputs, stored=(), opset=21, functions=(), domains=()):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        [numpy_helper.from_array(value, name) for name, value in dict(stored).items()],
    )
    versions = [helper.make_opsetid("", opset), *(helper.make_opsetid(one, 1) for one in domains)]
    return helper.make_model(graph, opset_imports=versions, functions=functions, ir_version=10)


def load(made, tmp_path, **options):
    path = tmp_path / "m.onnx"
    path.write_bytes(made.SerializeToString())
    return tg.load(path, **options)


def test_parameters_scopes_names_and_lines(tmp_path):
    node = helper.make_node
    made = model(
        [
            node("Gemm", ["x", "fc.weight", "fc.bias"], ["h"], name="/body/fc/Gemm", transB=1),
            node("HardSwish", ["h"], ["y"], name="/body/act/HardSwish"),
        ],
        [("x", F, ["N", 2])],
        [("y", F, None)],
        {
            "fc.weight": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32),
            "fc.bias": np.array([0.5, -9.0], np.float32),
        },
    )
    graph = load(made, tmp_path, sizes={"N": 3})
    assert [one.name for one in graph.parameters] == ["fc.weight", "fc.bias"]
    assert graph.inputs[0].types.shape == (3, 2)
    first = next(one for one in graph.nodes if one.op is not None)
    assert [name for name, _ in first.scope][:2] == ["body", "fc"]
    assert "m.onnx" in str(first.source)
    x = np.array([[1.0, 1.0], [0.0, 1.0], [-1.0, 0.0]], np.float32)
    h = x @ np.array([[1.0, 3.0], [2.0, 4.0]]) + [0.5, -9.0]
    out = graph(x)
    assert np.allclose(out.numpy(), h * np.clip(h / 6 + 0.5, 0, 1), atol=1e-6)
    np.sum(out).backward()
    assert {one.name: one.grad is not None for one in graph.parameters} == {
        "fc.weight": True,
        "fc.bias": True,
    }


def test_shape_arithmetic_is_folded(tmp_path):
    node = helper.make_node
    made = model(
        [
            node("Shape", ["x"], ["s"]),
            node("Gather", ["s", "zero"], ["n"]),
            node("Unsqueeze", ["n", "axes"], ["n1"]),
            node("Concat", ["n1", "rest"], ["target"], axis=0),
            node("Reshape", ["x", "target"], ["y"]),
        ],
        [("x", F, ["N", 2, 3])],
        [("y", F, None)],
        {"zero": np.array(0), "axes": np.array([0]), "rest": np.array([-1])},
    )
    graph = load(made, tmp_path, sizes={"N": 4})
    assert [one.op.name for one in graph.nodes if one.op is not None] == ["reshape"]
    assert graph.output_types[0].shape == (4, 6)


def test_open_dimensions_are_free(tmp_path):
    node = helper.make_node
    made = model(
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1]),
            node("AveragePool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Shape", ["p"], ["s"], end=1),
            node("Concat", ["s", "rest"], ["target"], axis=0),
            node("Reshape", ["p", "target"], ["y"]),
        ],
        [("x", F, ["batch", 1, "height", 4])],
        [("y", F, None)],
        {"w": np.ones((2, 1, 3, 3), np.float32), "rest": np.array([-1])},
    )
    graph = load(made, tmp_path)
    assert set(graph.sizes) == {"batch", "height"}
    for n, height in ((1, 2), (3, 8), (5, 12)):
        x = np.random.default_rng(0).normal(size=(n, 1, height, 4)).astype(np.float32)
        fixed = load(made, tmp_path, sizes={"batch": n, "height": height})
        assert graph(x).shape == (n, height // 2 * 4)
        assert np.array_equal(graph(x).numpy(), fixed(x).numpy())
    assert load(made, tmp_path, sizes={"height": 4}).sizes.keys() == {"batch"}


def test_inputs_that_decide_shapes_are_asked_for(tmp_path):
    made = model(
        [helper.make_node("Reshape", ["x", "target"], ["y"], name="r")],
        [("x", F, [6]), ("target", INTEGER, [2])],
        [("y", F, None)],
    )
    with pytest.raises(
        FileFormatError, match=r"m\.onnx: node 0 \(Reshape 'r'\): .*depends on the values of target"
    ):
        load(made, tmp_path)
    graph = load(made, tmp_path, constants={"target": np.array([2, 3])})
    assert graph(np.arange(6, dtype=np.float32)).shape == (2, 3)
    with pytest.raises(FileFormatError, match="no inputs nothing; its inputs are: x, target"):
        load(made, tmp_path, constants={"nothing": 1})
    with pytest.raises(FileFormatError, match="no open sizes M; its open sizes are: none"):
        load(made, tmp_path, sizes={"M": 1})


def test_functions_of_the_model_are_opened(tmp_path):
    node = helper.make_node
    body = [node("Mul", ["a", "a"], ["b"]), node("Elu", ["b"], ["c"])]
    body[1].attribute.append(
        onnx.AttributeProto(name="alpha", ref_attr_name="alpha", type=onnx.AttributeProto.FLOAT)
    )
    squared = helper.make_function(
        "mine", "SquaredElu", ["a"], ["c"], body, [helper.make_opsetid("", 21)], ["alpha"]
    )
    made = model(
        [node("SquaredElu", ["x"], ["y"], domain="mine", alpha=2.0)],
        [("x", F, [2])],
        [("y", F, None)],
        functions=[squared],
        domains=["mine"],
    )
    graph = load(made, tmp_path)
    assert graph.nodes[-1].scope[0][0] == "SquaredElu"
    assert np.allclose(graph(np.array([3.0, 0.0], np.float32)), [9.0, 0.0])


def test_gradients_pass_straight_through_quantised_values(tmp_path):
    node = helper.make_node
    made = model(
        [node("QuantizeLinear", ["x", "s", "z"], ["q"]), node("DequantizeLinear", ["q", "s", "z"], ["y"])],
        [("x", F, [4])],
        [("y", F, None)],
        {"s": np.array(0.5, np.float32), "z": np.array(3, np.int8)},
    )
    graph = load(made, tmp_path)
    x = tg.tensor(np.array([0.6, -1.3, 500.0, 0.0], np.float32), requires_grad=True)
    out = graph(x)
    assert np.array_equal(out.numpy(), np.array([0.5, -1.5, 62.0, 0.0], np.float32))
    np.sum(out).backward()
    assert np.array_equal(
        x.grad.numpy(), np.array([1.0, 1.0, 0.0, 1.0], np.float32)
    )  # nothing from beyond the bounds
    assert any("straight_through" in one.op.name for one in graph.nodes if one.op is not None)
    quantised = model(
        [node("QuantizeLinear", ["x", "s", "z"], ["q"])],
        [("x", F, [2])],
        [("q", TensorProto.INT8, [2])],
        {"s": np.array(0.5, np.float32), "z": np.array(3, np.int8)},
    )
    whole = load(quantised, tmp_path)
    found = whole(np.array([0.6, -1.3], np.float32))
    assert found.dtype == np.int8
    assert found.tolist() == [4, 0]


def test_loops_and_choices_are_ops(tmp_path):
    node, info = helper.make_node, helper.make_tensor_value_info
    B = TensorProto.BOOL
    body = helper.make_graph(
        [node("Mul", ["a", "w"], ["b"]), node("Identity", ["go"], ["still"])],
        "body",
        [info("i", INTEGER, []), info("go", B, []), info("a", F, [2])],
        [info("still", B, []), info("b", F, [2])],
    )
    made = model(
        [node("Loop", ["count", "yes", "x"], ["y"], body=body)],
        [("x", F, [2])],
        [("y", F, None)],
        {"count": np.array(3), "yes": np.array(True), "w": np.array([2.0, 3.0], np.float32)},
    )
    graph = load(made, tmp_path)
    assert [one.op.name for one in graph.nodes if one.op is not None] == ["scan"]
    out = graph(np.array([1.0, 1.0], np.float32))
    assert np.allclose(out.numpy(), [8.0, 27.0])
    np.sum(out).backward()
    assert np.allclose(graph.parameters[0].grad.numpy(), [12.0, 27.0])
    branches = [
        helper.make_graph([node(kind, ["x"], [f"{kind}_y"])], kind, [], [info(f"{kind}_y", F, [2])])
        for kind in ("Exp", "Neg")
    ]
    made = model(
        [node("If", ["c"], ["y"], then_branch=branches[0], else_branch=branches[1])],
        [("x", F, [2]), ("c", B, [])],
        [("y", F, None)],
    )
    graph = load(made, tmp_path)
    x = np.array([1.0, 2.0], np.float32)
    assert np.allclose(graph(x, np.array(True)), np.exp(x))
    assert np.allclose(graph(x, np.array(False)), -x)


def test_an_operator_that_nobody_has_is_a_stand_in(tmp_path):
    node = helper.make_node
    made = model(
        [
            node("Strange", ["x"], ["h"], domain="org.example", name="s", strength=2),
            node("Relu", ["h"], ["y"]),
        ],
        [("x", F, [2])],
        [("y", F, [2])],
        domains=["org.example"],
    )
    graph = load(made, tmp_path)
    assert "Strange" in graph.summary()
    assert "Strange" in graph.draw().source
    with pytest.raises(
        PluginError,
        match=r"'Strange'.*the ONNX domain org\.example.*facts=\{'onnx': 'org\.example::Strange'\}",
    ):
        graph(np.ones(2, np.float32))


def test_an_op_says_which_operator_it_stands_for(tmp_path):
    from tinygraph.core.registry import registry

    before = registry._snapshot()

    @op(kind="elementwise", facts={"onnx": "org.example::Scaled"})
    def scaled_for_test(x, *, strength=1):
        return x * strength

    @scaled_for_test.vjp("x")
    def scaled_wrt_x(g, strength):
        return g * strength

    try:
        made = model(
            [helper.make_node("Scaled", ["x"], ["y"], domain="org.example", strength=3)],
            [("x", F, [2])],
            [("y", F, [2])],
            domains=["org.example"],
        )
        graph = load(made, tmp_path)
        assert graph(np.array([1.0, -2.0], np.float32)).tolist() == [3.0, -6.0]
        graph.save(tmp_path / "again.onnx")
        again = onnx.load(tmp_path / "again.onnx").graph.node[0]
        assert (again.domain, again.op_type, again.attribute[0].i) == ("org.example", "Scaled", 3)
    finally:
        registry._restore(before)


def test_random_operators_draw_anew_from_the_library_s_generator(tmp_path):
    node = helper.make_node
    made = model(
        [node("Dropout", ["x", "ratio", "training"], ["y", "mask"]), node("Bernoulli", ["p"], ["b"])],
        [("x", F, [10_000]), ("p", F, [10_000])],
        [("y", F, None), ("mask", TensorProto.BOOL, None), ("b", F, None)],
        {"ratio": np.array(0.25, np.float32), "training": np.array(True)},
    )
    graph = load(made, tmp_path)
    ones = np.ones(10_000, np.float32)
    tg.manual_seed(0)
    y, mask, b = graph(ones, ones * np.float32(0.3))
    assert np.array_equal(y, np.where(mask, np.float32(1 / 0.75), np.float32(0)))
    assert abs(mask.mean() - 0.75) < 0.02
    assert abs(b.mean() - 0.3) < 0.02
    assert set(np.unique(b)) == {0.0, 1.0}
    assert not np.array_equal(graph(ones, ones)[1], mask)
    tg.manual_seed(0)
    assert np.array_equal(graph(ones, ones)[1], mask)


def test_operators_of_a_package_that_is_not_there_say_which_it_is(tmp_path):
    node = helper.make_node("QuickGelu", ["x"], ["y"], domain="com.microsoft")
    made = model([node], [("x", F, [3])], [("y", F, [3])], domains=["com.microsoft"])
    graph = load(made, tmp_path)
    assert "QuickGelu" in graph.draw().svg()
    with pytest.raises(PluginError, match="install the package tinygraph-onnxruntime"):
        graph(np.ones(3, np.float32))


def test_a_composite_stands_for_several_operators(tmp_path):
    from tinygraph.core.registry import registry

    before = registry._snapshot()

    @composite(facts={"onnx": ("org.example::Twice", "org.example::Times")})
    def times_for_a_test(x, *, by=2.0):
        return x * by

    nodes = [
        helper.make_node("Twice", ["x"], ["a"], domain="org.example"),
        helper.make_node("Times", ["a"], ["y"], domain="org.example", by=5.0),
    ]
    made = model(nodes, [("x", F, [2])], [("y", F, [2])], domains=["org.example"])
    try:
        assert np.asarray(load(made, tmp_path)(np.array([1.0, -3.0], np.float32))).tolist() == [10.0, -30.0]
    finally:
        registry._restore(before)
    with pytest.raises(PluginError, match="'speed'"):
        composite(facts={"speed": 1})(lambda x: x)


def test_the_page_lists_what_is_read_and_written():
    page = Path(__file__).parents[3] / "docs" / "onnx.md"
    names = {name for domain, name in TABLE if not domain} | {f"`{name}`" for name in FORMS}
    graph_of_model(model([helper.make_node("Relu", ["x"], ["y"])], [("x", F, [1])], [("y", F, None)]))
    text = re.sub(
        r"\s+", " ", page.read_text(encoding="utf-8").partition("<!-- operators -->")[2].partition("<!--")[0]
    )
    listed = {
        name.strip(" .") for part in text.split("**")[2::2] for name in part.partition(":")[2].split(",")
    }
    assert names - listed - {"SimplifiedLayerNormalization", "Scatter", "Upsample"} == set(), (
        "run `python docs/renew.py onnx`"
    )


def test_without_the_package_the_error_says_what_to_install(tmp_path, monkeypatch):
    import sys

    (tmp_path / "m.onnx").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r"tinygraph-autodiff\[onnx\]"):
        tg.load(tmp_path / "m.onnx")
    with pytest.raises(ImportError, match=r"tinygraph-autodiff\[onnx\]"):
        tg.capture(lambda x: x * 2, 1.0).save(tmp_path / "n.onnx")
