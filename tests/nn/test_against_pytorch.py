"""Modules against PyTorch's stored values: state layout, initial values, outputs, gradients, buffers and traces."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.reference.loading import (
    Reference,
    assert_all_match,
    assert_initialised,
    assert_matches,
    initial_state,
    load,
    model_definitions,
    module_states,
)
from tests.reference.training_cases import STEPS
from tests.rows import each
from tinygraph import nn, optim

MODULES = load("module")


@each("reference", MODULES, ids=str)
def test_state_dict_has_the_names_order_shapes_and_dtypes_of_pytorch(reference: Reference) -> None:
    module = reference.case.build(nn)
    entries = module_states()[reference.case.name]
    found = [(name, list(value.shape), str(value.dtype)) for name, value in module.state_dict().items()]
    assert found == [(entry["name"], entry["shape"], entry["dtype"]) for entry in entries]
    assert [name for name, _ in module.named_parameters()] == [e["name"] for e in entries if e["parameter"]]


@each("reference", MODULES, ids=str)
def test_initial_values_are_drawn_as_in_pytorch(reference: Reference) -> None:
    tg.manual_seed(0)
    entries = module_states()[reference.case.name]
    # some thousand numbers of each that is drawn; of what is constant any would do
    drawn = [entry for entry in entries if entry["initialiser"]["distribution"] != "constant"]
    size = min((int(np.prod(entry["shape"])) for entry in drawn), default=2000)
    draws = [reference.case.build(nn).state_dict() for _ in range(max(20, 2000 // max(1, size)))]
    for entry in entries:
        values = np.stack([draw[entry["name"]] for draw in draws]).astype(float)
        if "padded" in reference.case.name:
            values = values[values != 0.0]
        assert_initialised(values, entry["initialiser"])


@each("reference", [r for r in MODULES if r.case.input is not None], ids=str)
def test_outputs_gradients_and_buffers_equal_pytorch(reference: Reference) -> None:
    case = reference.case
    module = case.build(nn).double()
    module.load_state_dict(case.state({name: value.shape for name, value in module.state_dict().items()}))
    wanted = case.input.dtype.kind == "f"
    x = tg.tensor(case.input, requires_grad=wanted)
    output = case.call(module, x, *case.others)
    found: dict[str, Any] = {"output": output.detach()}
    if output.requires_grad:
        output.backward(case.cotangent(output.shape))
    found |= {f"grad_{name}": parameter.grad for name, parameter in module.named_parameters()}
    found |= {f"after_{name}": buffer for name, buffer in module.named_buffers()}
    found |= {"grad_input": x.grad} if wanted else {}
    found["evaluated"] = case.call(module.eval(), x, *case.others).detach()
    assert_all_match(found, reference.expected, tol=1e-9)


@pytest.mark.parametrize("reference", load("training"), ids=str)
def test_training_follows_pytorch(reference: Reference) -> None:
    case = reference.case
    model = model_definitions("from tinygraph import nn")[case.model]().double()
    model.load_state_dict(initial_state(case.model))
    optimizer = getattr(optim, case.optimizer)(model.parameters(), **case.settings)
    losses = []

    def loss_of(step: int) -> tg.Tensor:
        x, labels = case.batch(step)
        scores = model(x)
        loss: tg.Tensor = nn.CrossEntropyLoss()(scores.reshape(-1, scores.shape[-1]), labels)
        return loss

    found: dict[str, Any] = {}
    for step in range(STEPS):
        loss = loss_of(step)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            found |= {f"gradient/{name}": p.grad for name, p in model.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
    found |= {"losses": np.array(losses), **{f"final/{k}": v for k, v in model.state_dict().items()}}
    model.eval()
    found["evaluated"] = np.array(loss_of(0).item())
    assert_matches(losses, reference.expected["losses"], tol=1e-9)
    assert_all_match(found, reference.expected, tol=1e-7)
