"""Resampling in graphs for every size: PyTorch's values and gradients at sizes that were not captured, and in files."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import CaptureError

AXES = {0: {0: "N", 2: "H", 3: "W"}}
MODES = [
    ("nearest", {}),
    ("nearest-exact", {}),
    ("bilinear", {}),
    ("bilinear", {"align_corners": True}),
    ("bicubic", {}),
]
HOWS = [{"scale_factor": 2}, {"scale_factor": 1.5}, {"scale_factor": 0.7}, {"size": (7, 9)}]
SHAPES = [(2, 3, 6, 8), (1, 3, 8, 10), (3, 3, 11, 9)]


def graph_of(mode, options, how):
    def resampled(x):
        return nn.functional.interpolate(x, mode=mode, **how, **options)

    return tg.capture(resampled, np.ones((2, 3, 6, 8), np.float32), dynamic_axes=AXES)


def test_a_row_is_spread_for_every_length():
    graph = tg.capture(
        lambda x: nn.functional.interpolate(x, scale_factor=2, mode="linear"),
        np.zeros((1, 1, 4)),
        dynamic_axes={0: {2: "L"}},
    )
    assert np.asarray(graph(np.array([[[0.0, 4.0]]]))).tolist() == [[[0.0, 1.0, 3.0, 4.0]]]
    assert np.asarray(graph(np.array([[[8.0]]]))).tolist() == [[[8.0, 8.0]]]


def test_seven_tenths_of_every_length_are_rounded_down():
    graph = tg.capture(
        lambda x: nn.functional.interpolate(x, scale_factor=0.7),
        np.zeros((1, 1, 4)),
        dynamic_axes={0: {2: "L"}},
    )
    found = [graph(np.zeros((1, 1, n))).shape[2] for n in (2, 5, 7, 9, 10, 20, 100)]
    assert found == [1, 3, 4, 6, 7, 14, 70]


def test_areas_of_a_size_that_no_formula_holds_are_refused():
    with pytest.raises(CaptureError, match="no formula holds"):
        graph_of("area", {}, {"scale_factor": 0.7})


@pytest.mark.reference
@pytest.mark.parametrize("how", HOWS, ids=str)
@pytest.mark.parametrize(("mode", "options"), MODES, ids=str)
def test_values_and_gradients_are_pytorchs_at_every_size(mode, options, how):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    graph = graph_of(mode, options, how)
    random = np.random.default_rng(0)
    for shape in SHAPES:
        x = random.normal(size=shape).astype(np.float32)
        theirs = torch.tensor(x, requires_grad=True)
        wanted = torch.nn.functional.interpolate(theirs, mode=mode, **how, **options)
        weights = random.normal(size=tuple(wanted.shape)).astype(np.float32)
        (wanted * torch.tensor(weights)).sum().backward()
        np.testing.assert_allclose(graph(x), wanted.detach().numpy(), atol=1e-5)
        own = tg.grad(lambda x, w=weights: np.sum(graph(x) * w))(x)
        np.testing.assert_allclose(own, theirs.grad.numpy(), atol=1e-5)


@pytest.mark.parametrize("how", HOWS[:3], ids=str)
@pytest.mark.parametrize(("mode", "options"), [one for one in MODES if not one[1]], ids=str)
def test_files_of_every_size_are_read_back_and_run_elsewhere(mode, options, how, tmp_path):
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    graph, path = graph_of(mode, options, how), tmp_path / "model.onnx"
    graph.save(path)
    back = tg.load(path)
    assert set(back.sizes) == {"N", "H", "W"}
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for shape in SHAPES:
        x = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        for found in (session.run(None, {session.get_inputs()[0].name: x})[0], back(x)):
            np.testing.assert_allclose(found, graph(x), atol=1e-5)
