"""Optimizers and schedules against PyTorch's stored values."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tests.reference.loading import Reference, assert_all_match, load
from tests.reference.training_cases import OPTIMIZER_STEPS, SCHEDULE_STEPS
from tests.rows import each
from tinygraph import optim


@each("reference", load("optimizer"), ids=str)
def test_optimizers_follow_pytorch(reference: Reference) -> None:
    case = reference.case
    parameters = {name: tg.tensor(value, requires_grad=True) for name, value in case.start().items()}
    groups = [{"params": [parameters["a"]]}, {"params": [parameters["b"]], **case.group}]
    optimizer = getattr(optim, case.optimizer)(groups, **case.settings)
    values: dict[str, list[np.ndarray]] = {"a": [], "b": []}
    for step in range(OPTIMIZER_STEPS):
        now = {name: parameter.detach().numpy().copy() for name, parameter in parameters.items()}
        for name, gradient in case.gradients(step, now).items():
            parameters[name].grad = None if gradient is None else tg.tensor(gradient)
        optimizer.step()
        for name, parameter in parameters.items():
            values[name].append(parameter.detach().numpy().copy())
    assert_all_match({name: np.stack(rows) for name, rows in values.items()}, reference.expected, tol=1e-10)


@pytest.mark.parametrize("reference", load("schedule"), ids=str)
def test_schedules_follow_pytorch(reference: Reference) -> None:
    case = reference.case
    optimizer = optim.SGD([tg.tensor(1.0, requires_grad=True)], lr=0.1, momentum=0.9)
    schedule = getattr(optim.lr_scheduler, case.schedule)(optimizer, **case.settings)
    rates, momenta = [], []
    for step in range(SCHEDULE_STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        if step < SCHEDULE_STEPS - 1:
            schedule.step()
    assert_all_match({"lr": np.array(rates), "momentum": np.array(momenta)}, reference.expected, tol=1e-12)
