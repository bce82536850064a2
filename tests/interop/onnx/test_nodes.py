"""Every test of an operator that ONNX's package has: forward here, gradients against differences.

What does not pass stands in `LEFT`, each with its reason.
"""

import re

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")

import tinygraph as tg  # noqa: E402 - after the package was found
from tests.interop.onnx import backend  # noqa: E402

# Names of ONNX's tests, as a pattern, and why they are not passed.
LEFT = {
    r"adagrad|adam|momentum": "the domain ai.onnx.preview.training: steps of optimizers, which are tg.optim's",
    r"ai_onnx_ml": "the domain ai.onnx.ml: trees and encoders of texts",
    r"image_decoder": "bytes of JPEG and PNG files, which no graph reads",
    r"regex|string|strnormalizer": "texts",
    r"tfidfvectorizer": "counts n-grams, mostly of texts",
    r"bernoulli|training_dropout": "draws of another generator; what can be said of them is tested in test_reading.py",
}
# Modules of ONNX's tests that are quick to make, of most families.
FEW = [
    "add",
    "argmax",
    "averagepool",
    "batch_normalization",
    "cast",
    "clip",
    "concat",
    "conv",
    "convtranspose",
    "div",
    "elu",
    "expand",
    "flatten",
    "gather",
    "gathernd",
    "gelu",
    "gemm",
    "globalaveragepool",
    "groupnormalization",
    "hardsigmoid",
    "if_",
    "instance_normalization",
    "layernormalization",
    "leakyrelu",
    "logsoftmax",
    "loop",
    "lstm",
    "matmul",
    "maxpool",
    "pad",
    "pow",
    "prelu",
    "quantizelinear",
    "dequantizelinear",
    "reducemean",
    "reducel2",
    "relu",
    "reshape",
    "scan",
    "scatternd",
    "sequenceinsert",
    "slice",
    "softmax",
    "split",
    "transpose",
    "trilu",
    "unsqueeze",
    "where",
]


def left(name):
    return next((why for pattern, why in LEFT.items() if re.search(pattern, name)), None)


def test_a_part_of_onnx_s_tests_of_operators():
    cases = [one for one in backend.cases(FEW) if left(one.name) is None]
    problems = {one.name: problem for one in cases if (problem := backend.wrong(one))}
    assert len(cases) > 300
    assert problems == {}


@pytest.mark.slow
def test_onnx_s_tests_of_operators():
    cases = backend.cases()
    problems = {one.name: problem for one in cases if (problem := backend.wrong(one))}
    assert {name: why for name, why in problems.items() if left(name) is None} == {}
    unneeded = [pattern for pattern in LEFT if not any(re.search(pattern, name) for name in problems)]
    assert unneeded == []
    # of tests of float operators of the default domain
    numeric = [
        one
        for one in cases
        if not re.search(r"ai_onnx_ml|adagrad|adam|momentum|string|strnorm|regex", one.name)
    ]
    assert sum(one.name in problems for one in numeric) <= 0.03 * len(numeric)


# Where a difference says nothing of the derivative, and why.
ROUGH = {
    r"bf16|bfloat16": "results are rounded to 8 bits, which differences see",
    r"fullymasked|boolmask|causal_padded_kv|local_window|nonpad_negative": "rows of which nothing is attended: the "
    "operator's function makes NaN and replaces them, and their gradient is NaN",
    r"deform_conv": "offsets of whole places, where interpolation has a kink",
    r"elu_example|leakyrelu_example": "a kink at an operand",
    r"acosh_example|test_pow$": "at the end of the function's domain",
    r"l2normalization_axis_0": "a column of zeros, which has no direction",
    r"large_number": "operands of 10,000, of which float32 keeps three digits behind the point",
}


@pytest.mark.slow
def test_gradients_of_operators_against_differences():
    """At the operands of ONNX's tests, in float32 with its noise: the slope along a random direction."""
    seen, wrong = set(), {}
    for case in backend.cases():
        ops = {node.op_type for node in case.model.graph.node}
        if len(ops) != 1 or left(case.name) or not any(kink in ops for kink in SMOOTH):
            continue
        with np.errstate(all="ignore"):  # at the ends of a function's domain
            slopes = slopes_of(case)
        if slopes is None:
            continue
        seen |= ops
        if not np.isclose(*slopes, rtol=3e-2, atol=3e-3):
            wrong[case.name] = slopes
    assert {
        name: slopes for name, slopes in wrong.items() if not any(re.search(one, name) for one in ROUGH)
    } == {}
    assert [one for one in ROUGH if not any(re.search(one, name) for name in wrong)] == []
    assert len(seen) >= 60


# Operators whose results move smoothly at the operands of their tests.
SMOOTH = [
    "Acos",
    "Acosh",
    "Add",
    "AffineGrid",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "Attention",
    "AveragePool",
    "BatchNormalization",
    "Celu",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "DeformConv",
    "DepthToSpace",
    "Det",
    "Div",
    "Einsum",
    "Elu",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "GRU",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GroupNormalization",
    "InstanceNormalization",
    "LRN",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "LpPool",
    "MatMul",
    "Mean",
    "MeanVarianceNormalization",
    "Mish",
    "Mul",
    "Neg",
    "NegativeLogLikelihoodLoss",
    "PRelu",
    "Pad",
    "Pow",
    "RMSNormalization",
    "RNN",
    "Reciprocal",
    "ReduceL2",
    "ReduceLogSumExp",
    "ReduceMean",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "RotaryEmbedding",
    "Scan",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Sigmoid",
    "Sin",
    "Sinh",
    "Slice",
    "Softmax",
    "SoftmaxCrossEntropyLoss",
    "Softplus",
    "SpaceToDepth",
    "Split",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "Tile",
    "Transpose",
    "Unsqueeze",
    "Where",
]


def slopes_of(case):
    """Along a random direction of the float operands: by the gradient, and by a difference. None if there is none."""
    inputs, _ = case.data_sets[0]
    graph, rest = backend.graph_of(case.model, inputs)
    floats = [i for i, x in enumerate(rest) if x.dtype in (np.float32, np.float64) and x.size]
    random = np.random.default_rng(0)
    if not floats or not np.isfinite(np.concatenate([rest[i].ravel() for i in floats])).all():
        return None
    weights = {}

    def total(values):
        found = graph(*values)
        found = found if isinstance(found, tuple) else (found,)
        result = 0.0
        for i, one in enumerate(found):
            if one.dtype.kind == "f" and one.size:
                weights.setdefault(i, random.normal(size=one.shape))
                result = result + np.sum(one * weights[i])
        return result

    moves = {i: random.normal(size=rest[i].shape) for i in floats}
    tensors = [tg.tensor(x, requires_grad=True) if i in floats else x for i, x in enumerate(rest)]
    result = total(tensors)
    if not isinstance(result, tg.Tensor) or not np.isfinite(result.item()):
        return None
    result.backward()
    slope = sum(np.sum(tensors[i].grad.numpy() * moves[i]) for i in floats if tensors[i].grad is not None)
    step = 1e-2

    def at(by):
        return total([(x + by * moves[i]).astype(x.dtype) if i in moves else x for i, x in enumerate(rest)])

    return float(slope), float((8 * (at(step / 2) - at(-step / 2)) - (at(step) - at(-step))) / (6 * step))
