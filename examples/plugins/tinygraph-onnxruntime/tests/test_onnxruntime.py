"""Laws, and models with these operators in onnxruntime and here."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.registry import registry
from tinygraph.testing import check_op

NAMES = ["bias_gelu", "fast_gelu", "fused_convolution", "fused_gemm", "fused_matmul", "packed_attention"]
NAMES += ["quick_gelu", "skip_layer_norm", "skip_rms_norm"]
random = np.random.default_rng(0)


def test_every_law_holds():
    for name in NAMES:
        check_op(name)


def normal(*shape):
    return random.normal(size=shape).astype(np.float32)


# operator, operands (None where one is left out), attributes
CASES = [
    ("Gelu", [normal(2, 5)], {}),
    ("BiasGelu", [normal(2, 5), normal(5)], {}),
    ("FastGelu", [normal(2, 5), normal(5)], {}),
    ("QuickGelu", [normal(2, 5)], {"alpha": 1.2}),
    ("FusedMatMul", [normal(2, 4, 3), normal(2, 4, 5)], {"transA": 1, "alpha": 0.5}),
    ("FusedMatMul", [normal(3, 4), normal(5, 4)], {"transB": 1}),
    ("FusedGemm", [normal(3, 4), normal(4, 5), normal(5)], {"alpha": 0.5, "beta": 2.0, "activation": "Relu"}),
    ("FusedGemm", [normal(4, 3), normal(5, 4)], {"transA": 1, "transB": 1, "activation": "LeakyRelu",
                                                 "activation_alpha": 0.2}),
    ("FusedConv", [normal(1, 2, 6, 5), normal(4, 2, 3, 3), normal(4)], {"pads": [1, 0, 2, 1], "activation": "Relu"}),
    ("FusedConv", [normal(1, 2, 6, 5), normal(4, 1, 3, 2)], {"group": 2, "strides": [2, 1],
                                                           "auto_pad": "SAME_UPPER", "activation": "Tanh"}),
    ("FusedConv", [normal(1, 2, 6, 5), normal(4, 2, 3, 3), normal(4), normal(1, 4, 4, 3)], {"activation": "Relu"}),
    ("FusedConv", [normal(1, 2, 6, 5), normal(4, 2, 3, 3)], {"dilations": [2, 1], "activation": "Clip",
                                                           "activation_params": [-0.5, 1.5]}),
    ("Attention", [normal(2, 3, 4), normal(4, 12), normal(12)], {"num_heads": 2}),
    ("Attention", [normal(2, 3, 4), normal(4, 12), normal(12)], {"num_heads": 2, "unidirectional": 1}),
    ("Attention", [normal(2, 3, 4), normal(4, 12), normal(12), np.array([[1, 1, 0], [1, 1, 1]], np.int32)],
     {"num_heads": 1}),
    ("SkipLayerNormalization", [normal(2, 3, 4), normal(2, 3, 4), normal(4), normal(4), normal(4)],
     {"epsilon": 1e-5}),
    ("SkipLayerNormalization", [normal(2, 3, 4), normal(2, 3, 4), normal(4)], {}),
    ("SkipSimplifiedLayerNormalization", [normal(2, 3, 4), normal(2, 3, 4), normal(4)], {"epsilon": 1e-5}),
]  # fmt: skip


def model_of(name, operands, attributes):
    """A model of one operator, the first of its operands as input and the others stored."""
    from onnx import TensorProto, helper, numpy_helper

    names = [f"x{i}" if one is not None else "" for i, one in enumerate(operands)]
    node = helper.make_node(name, names, ["y"], domain="com.microsoft", **attributes)
    stored = [numpy_helper.from_array(one, key) for key, one in zip(names[1:], operands[1:], strict=True)]
    given = helper.make_tensor_value_info("x0", TensorProto.FLOAT, operands[0].shape)
    graph = helper.make_graph(
        [node], "g", [given], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], stored
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def test_models_are_read_and_agree_with_onnxruntime():
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    runtime.set_default_logger_severity(4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        for name, operands, attributes in CASES:
            path.write_bytes(model_of(name, operands, attributes).SerializeToString())
            session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
            wanted = session.run(None, {"x0": operands[0]})[0]
            graph = tg.load(path)
            found = tg.tensor(graph(operands[0])).detach()
            np.testing.assert_allclose(found, wanted, atol=2e-5, err_msg=f"{name} {attributes}")
            x = tg.tensor(operands[0], requires_grad=True)
            np.sum(graph(x) ** 2).backward()
            assert np.all(np.isfinite(x.grad.numpy())), name


def test_each_op_is_found_by_its_operator():
    said = {op.name: op.facts["onnx"] for op in registry.all_ops() if op.name in NAMES}
    assert said["packed_attention"] == "com.microsoft::Attention"
    assert said["bias_gelu"] == ("com.microsoft::Gelu", "com.microsoft::BiasGelu")
    assert len(said) == len(NAMES)


def test_what_onnxruntime_optimises_is_read():
    """A layer and its activation, joined by onnxruntime itself."""
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
    from tinygraph import nn

    tg.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, 4), nn.GELU())
    x = normal(1, 2, 4, 4)
    with tempfile.TemporaryDirectory() as folder:
        plain, optimised = Path(folder) / "plain.onnx", Path(folder) / "optimised.onnx"
        tg.capture(model, x).save(plain)
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(optimised)
        runtime.InferenceSession(str(plain), options, providers=["CPUExecutionProvider"])
        written = {one.op_type for one in onnx.load(optimised).graph.node if one.domain == "com.microsoft"}
        assert written, "onnxruntime joined nothing"
        np.testing.assert_allclose(tg.load(optimised)(x).numpy(), model(x).numpy(), atol=1e-5)
