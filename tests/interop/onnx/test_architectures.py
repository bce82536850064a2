"""The architectures of the field as ONNX: exported by both of PyTorch's exporters and read here, and written from here.

Thirty exported models and fifteen written ones: onnxruntime, ONNX's reference evaluator, PyTorch and we agree, at
several sizes. Parameters that an exporter joins, turns or folds have other names in the file, and are compared no
further.
"""

import contextlib
import io
import logging
import warnings

import numpy as np
import pytest

pytest.importorskip("onnx", reason="the package onnx is not installed")
torch = pytest.importorskip("torch", reason="PyTorch is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
pytest.importorskip("onnxscript", reason="onnxscript, which PyTorch exports with, is not installed")

from onnx.reference import ReferenceEvaluator  # noqa: E402 - after the packages were found

import tinygraph as tg  # noqa: E402
from tests.pytorch.architectures import CASES  # noqa: E402

runtime.set_default_logger_severity(4)
pytestmark = pytest.mark.filterwarnings("ignore")

# Written with the means of an adaptive pool computed from the size, which reading follows for one size at a time.
READ_AT = {"VGG-16": {"H": 24}}
QUICK = ("GPT", "GAN")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]


def built(name):
    """A module in evaluation mode whose parameters and statistics all differ: exporters join what is equal."""
    torch.manual_seed(1)
    model = CASES[name].build()
    with torch.no_grad():
        for one in model.parameters():
            one.add_(torch.randn_like(one) * 0.05)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 1.5)
    return model.eval()


def export(model, inputs, path, dynamo):
    """A model as PyTorch writes it, with a free batch."""
    names = [f"in{i}" for i in range(len(inputs))]
    batch = torch.export.Dim("N", min=1)
    how = (
        {"dynamic_shapes": tuple({0: batch} for _ in inputs)}
        if dynamo
        else {"dynamic_axes": {name: {0: "N"} for name in names}}
    )
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # the exporter's
        logging.disable(logging.CRITICAL)
        try:
            torch.onnx.export(model, inputs, path, dynamo=dynamo, input_names=names, **how)
        finally:
            logging.disable(logging.NOTSET)


def relative(found, wanted):
    return np.abs(np.asarray(found) - wanted).max() / max(np.abs(wanted).max(), 1e-6)


def assert_all_agree(path, graph, model, several):
    """Two evaluators, our graph and PyTorch at several inputs."""
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    evaluator = ReferenceEvaluator(str(path))
    names = [one.name for one in session.get_inputs()]
    for inputs in several:
        with torch.no_grad():
            wanted = model(*inputs).numpy()
        arrays = [one.numpy() for one in inputs]
        feeds = dict(zip(names, arrays, strict=True))
        for found in (session.run(None, feeds)[0], evaluator.run(None, feeds)[0], graph(*arrays).numpy()):
            assert found.shape == wanted.shape
            assert relative(found, wanted) < 1e-5


@pytest.mark.reference
@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [True, False], ids=["dynamo", "torchscript"])
@pytest.mark.parametrize("name", CASES)
def test_exported(name, dynamo, tmp_path):
    model, path = built(name), tmp_path / "model.onnx"
    inputs = CASES[name].inputs(2)
    export(model, inputs, path, dynamo)
    graph = tg.load(path)
    assert graph.sizes == {"N": 2}
    assert_all_agree(path, graph, model, [CASES[name].inputs(batch) for batch in (2, 3)])
    wanted = model(*inputs)
    weights = torch.randn_like(wanted)
    torch.sum(wanted * weights).backward()
    np.sum(graph(*(one.numpy() for one in inputs)) * weights.numpy()).backward()
    own = {one.name: one for one in graph.parameters}
    everywhere = [id(one) for _, one in model.named_parameters(remove_duplicate=False)]
    compared = 0
    for key, parameter in model.named_parameters():
        here, value = own.get(key), parameter.detach().numpy()
        if here is None or here.grad is None or not np.array_equal(here.numpy(), value):
            continue  # turned, or folded together with a normalisation
        if everywhere.count(id(parameter)) > 1:
            continue  # tied; a copy of it, turned, may stand in the file besides
        least = 1e-7 * float(torch.abs(weights).sum())  # of gradients that cancel but for rounding
        error = np.abs(here.grad.numpy() - parameter.grad.numpy()).max()
        assert error < max(1e-4 * parameter.grad.abs().max().item(), least), key
        compared += 1
    assert compared >= 1
    assert "svg" in graph.draw(zoom="module").svg()


@pytest.mark.parametrize("name", NAMES)
def test_written_for_every_size(name, tmp_path):
    case, model, path = CASES[name], built(name), tmp_path / "model.onnx"
    tg.from_torch(model, *case.inputs(2), dynamic_axes=case.axes).save(path)
    seconds = [(size,) for size in case.second if name not in READ_AT] or [()]
    several = [case.inputs(batch, *second) for batch in (1, 3) for second in seconds]
    fixed = READ_AT.get(name, {})
    back = tg.load(path, sizes=fixed)
    assert set(back.sizes) == {size for axes in case.axes.values() for size in axes.values()} - set(fixed)
    assert_all_agree(path, back, model, several)
