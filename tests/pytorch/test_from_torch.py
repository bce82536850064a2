"""PyTorch's modules as graphs: the architectures of the field give the same values and gradients, at every size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import CaptureError, UnknownOpError

torch = pytest.importorskip("torch", reason="needs PyTorch: pip install '.[reference]'")

from tests.pytorch.architectures import CASES, Case  # noqa: E402 - it is made of PyTorch's classes

pytestmark = pytest.mark.filterwarnings("ignore")


def relative(found: Any, wanted: Any) -> float:
    found, wanted = np.asarray(found), np.asarray(wanted)
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), 1e-3))


def arrays(tensors: Any) -> list[Any]:
    return [one.numpy() for one in tensors]


QUICK = ("GPT", "GAN")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_at_every_size(name: str) -> None:
    case: Case = CASES[name]
    torch.manual_seed(1)
    module = case.build().eval()
    graph = tg.from_torch(module, *case.inputs(2), dynamic_axes=case.axes)
    assert {one.name for one in graph.parameters} == {key for key, _ in module.named_parameters()}
    for batch in (1, 3, 8) if not case.second else (1, 3):
        for second in case.second or (None,):
            inputs = case.inputs(batch) if second is None else case.inputs(batch, second)
            with torch.no_grad():
                wanted = module(*inputs).numpy()
            assert relative(graph(*arrays(inputs)).numpy(), wanted) < 1e-5, (batch, second)


@pytest.mark.parametrize("name", NAMES)
def test_one_training_step(name: str) -> None:
    case: Case = CASES[name]
    torch.manual_seed(2)

    class Loss(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = case.build()

        def forward(self, *inputs: Any) -> Any:
            return self.model(*inputs).square().mean()

    module = Loss().double().train()
    inputs = tuple(one.double() if one.is_floating_point() else one for one in case.inputs(4))
    graph = tg.from_torch(module, *inputs).gradient()
    found = graph(*arrays(inputs))
    loss = module(*inputs)
    loss.backward()
    assert relative(found[0].numpy(), loss.item()) < 1e-5
    parameters = dict(module.named_parameters())
    largest = max(float(one.grad.abs().max()) for one in parameters.values())
    for parameter, gradient in zip(graph.parameters, found[1:], strict=True):
        wanted = parameters[parameter.name].grad.numpy()
        assert np.abs(gradient.numpy() - wanted).max() < 1e-4 * max(np.abs(wanted).max(), 0.01 * largest), (
            parameter
        )


def test_scopes_lines_and_files(tmp_path: Path) -> None:
    case = CASES["GPT"]
    graph = tg.from_torch(case.build().eval(), *case.inputs(2), dynamic_axes=case.axes)
    scopes = {".".join(name for name, _ in node.scope) for node in graph.nodes}
    assert {"words", "layers.1.mlp.1", "norm.layer_norm"} <= scopes
    lines = [str(node.source) for node in graph.nodes if node.source is not None]
    assert any(line.startswith("architectures.py:") for line in lines)
    assert len(graph.parameters) == 28  # the table of words is tied: 29 entries of the state_dict
    graph.save(tmp_path / "gpt.json")
    words = np.arange(10).reshape(2, 5)
    np.testing.assert_array_equal(tg.load(tmp_path / "gpt.json")(words).numpy(), graph(words).numpy())
    assert "N×T" in graph.draw().svg()


def test_compiled() -> None:
    case = CASES["GPT"]
    graph = tg.from_torch(case.build().eval(), *case.inputs(2), dynamic_axes=case.axes)
    run = tg.compile(graph)
    (words,) = arrays(case.inputs(3))
    assert relative(run(words).numpy(), graph(words).numpy()) < 1e-5


def test_training_layers_draw_and_keep_statistics() -> None:
    module = torch.nn.Sequential(torch.nn.BatchNorm1d(3), torch.nn.Dropout(0.5)).train()
    graph = tg.from_torch(module, torch.randn(8, 3))
    assert {leaf.name for leaf, _ in graph.updates} == {
        "0.running_mean",
        "0.running_var",
        "0.num_batches_tracked",
    }
    tg.manual_seed(0)
    out = graph(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32)).numpy()
    assert 0 < (out == 0).sum() < out.size
    assert np.all(module[0].running_mean.numpy() == 0)


def test_what_has_no_counterpart_is_named() -> None:
    class Odd(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return (
                torch.bucketize(x, torch.arange(3.0)) + torch.bincount(x.long().flatten(), minlength=4).sum()
            )

    with pytest.raises(UnknownOpError, match=r"aten\.bucketize.*test_from_torch\.py:\d+"):
        tg.from_torch(Odd(), torch.rand(4))

    class Chooses(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(CaptureError, match="cannot follow Chooses"):
        tg.from_torch(Chooses(), torch.rand(4))
