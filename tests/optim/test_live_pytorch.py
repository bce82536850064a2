"""Every optimizer against PyTorch itself, step by step, eagerly and compiled, and its state read by the other."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import optim
from tinygraph.errors import CaptureError, SettingError, StateDictError

torch = pytest.importorskip("torch")

EVERY: list[tuple[str, dict[str, Any]]] = [
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.3, "lr_decay": 0.1, "weight_decay": 0.2, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    ("Adadelta", {}),
    ("Adadelta", {"lr": 0.5, "rho": 0.7, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    ("Adamax", {"lr": 0.1}),
    ("Adamax", {"betas": (0.5, 0.9), "weight_decay": 0.1, "eps": 1e-2}),
    ("NAdam", {"lr": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.2, "momentum_decay": 0.1}),
    ("NAdam", {"lr": 0.1, "weight_decay": 0.2, "decoupled_weight_decay": True}),
    ("RAdam", {"lr": 0.1}),
    ("RAdam", {"lr": 0.1, "betas": (0.8, 0.9), "weight_decay": 0.1, "eps": 1e-3}),
    ("RAdam", {"lr": 0.1, "betas": (0.8, 0.5), "weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Rprop", {}),
    ("Rprop", {"lr": 0.3, "etas": (0.3, 1.5), "step_sizes": (0.01, 0.5), "maximize": True}),
    ("ASGD", {"lr": 0.1}),
    ("ASGD", {"lr": 0.1, "lambd": 0.1, "alpha": 0.5, "t0": 3, "weight_decay": 0.1}),
    ("Adafactor", {"lr": 0.3}),
    ("Adafactor", {"lr": 0.3, "beta2_decay": -0.5, "eps": (1e-3, 0.1), "d": 1.5, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1}),
    ("Adam", {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {"lr": 0.1}),
    ("RMSprop", {"lr": 0.1, "momentum": 0.5, "centered": True}),
]  # fmt: skip
IDS = [f"{name}-{i}" for i, (name, _) in enumerate(EVERY)]
SHAPES = {"matrix": (4, 3), "vector": (5,), "stack": (2, 3, 2)}
STEPS = 8
SINGLE = {"NAdam", "ASGD"}  # PyTorch holds their numbers of a parameter in float32, whatever its dtype


def starts() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {name: rng.normal(size=shape) for name, shape in SHAPES.items()}


def tinygraph_loss(parameters: dict[str, Any]) -> Any:
    """A loss whose gradients change their signs on the way."""
    return sum(((np.sin(2 * p) + 0.3 * p * p) * (1 + i)).sum() for i, p in enumerate(parameters.values()))


def torch_loss(parameters: dict[str, Any]) -> Any:
    return sum(((torch.sin(2 * p) + 0.3 * p * p) * (1 + i)).sum() for i, p in enumerate(parameters.values()))


def follow_torch(name: str, settings: dict[str, Any]) -> tuple[dict[str, np.ndarray], Any]:
    parameters = {key: torch.tensor(value, requires_grad=True) for key, value in starts().items()}
    optimizer = getattr(torch.optim, name)(parameters.values(), **settings)
    for _ in range(STEPS):
        optimizer.zero_grad()
        torch_loss(parameters).backward()
        optimizer.step()
    return {key: value.detach().numpy() for key, value in parameters.items()}, optimizer


def assert_equal(ours: dict[str, Any], theirs: dict[str, np.ndarray], name: str) -> None:
    tol = 1e-7 if name in SINGLE else 1e-10
    for key, value in theirs.items():
        np.testing.assert_allclose(ours[key].detach().numpy(), value, rtol=tol, atol=1e-12, err_msg=key)


@pytest.mark.parametrize(("name", "settings"), EVERY, ids=IDS)
def test_steps_eager_compiled_and_resumed(name: str, settings: dict[str, Any]) -> None:
    expected, theirs = follow_torch(name, settings)

    def run(compiled: bool) -> tuple[dict[str, Any], Any]:
        parameters = {key: tg.tensor(value, requires_grad=True) for key, value in starts().items()}
        optimizer = getattr(optim, name)(parameters.values(), **settings)

        def step() -> None:
            optimizer.zero_grad()
            tinygraph_loss(parameters).backward()
            optimizer.step()

        call = tg.compile(step) if compiled else step
        for _ in range(STEPS):
            call()
        return parameters, optimizer

    assert_equal(run(False)[0], expected, name)
    parameters, ours = run(True)
    assert_equal(parameters, expected, name)

    # PyTorch's state taken over: one more step of both agrees
    ours.load_state_dict(theirs.state_dict())
    again = getattr(torch.optim, name)(
        [torch.tensor(value.copy(), requires_grad=True) for value in expected.values()], **settings
    )
    state = ours.state_dict()
    again.load_state_dict(
        {
            "state": {
                number: {slot: torch.tensor(value) for slot, value in slots.items()}
                for number, slots in state["state"].items()
            },
            "param_groups": [{**theirs.state_dict()["param_groups"][0]}],
        }
    )
    held = dict(zip(SHAPES, again.param_groups[0]["params"], strict=True))
    again.zero_grad()
    torch_loss(held).backward()
    again.step()
    ours.zero_grad()
    tinygraph_loss(parameters).backward()
    ours.step()
    assert_equal(parameters, {key: value.detach().numpy() for key, value in held.items()}, name)


@pytest.mark.parametrize("adjust", [None, "original", "match_rms_adamw"])
def test_muon_follows_pytorch_up_to_its_rounding_to_bfloat16(adjust: str | None) -> None:
    for shape in [(6, 4), (3, 5)]:
        start = np.random.default_rng(1).normal(size=shape)
        theirs, ours = torch.tensor(start, requires_grad=True), tg.tensor(start, requires_grad=True)
        settings = {"lr": 0.05, "adjust_lr_fn": adjust}
        pairs = [(torch.optim.Muon([theirs], **settings), theirs), (optim.Muon([ours], **settings), ours)]
        for _ in range(3):
            for optimizer, parameter in pairs:
                optimizer.zero_grad()
                (parameter * parameter * parameter).sum().backward()
                optimizer.step()
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), atol=5e-3)
        assert np.abs(ours.detach().numpy() - start).max() > 0.03


def test_muon_refuses_what_is_no_matrix() -> None:
    with pytest.raises(SettingError, match="Muon updates matrices"):
        optim.Muon([tg.tensor([1.0], requires_grad=True)])


@pytest.mark.parametrize("search", [None, "strong_wolfe"])
def test_lbfgs_follows_pytorch(search: str | None) -> None:
    start = np.array([-1.2, 1.0, 0.5, -0.3])
    settings = {
        "lr": 0.01 if search is None else 1.0,
        "max_iter": 7,
        "history_size": 3,
        "line_search_fn": search,
    }
    theirs, ours = torch.tensor(start, requires_grad=True), tg.tensor(start, requires_grad=True)
    lbfgs, own = torch.optim.LBFGS([theirs], **settings), optim.LBFGS([ours], **settings)

    def rosenbrock(x: Any) -> Any:
        return (100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()

    def closure(optimizer: Any, x: Any) -> Any:
        optimizer.zero_grad()
        loss = rosenbrock(x)
        loss.backward()
        return loss

    for i in range(6):
        expected = lbfgs.step(lambda: closure(lbfgs, theirs))
        loss = own.step(partial(closure, own, ours))
        np.testing.assert_allclose(loss.item(), expected.item(), rtol=1e-7)
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-6)
        if i == 2:  # through a state_dict and back
            saved, own = own.state_dict(), optim.LBFGS([ours], **settings)
            own.load_state_dict(saved)


def test_lbfgs_says_what_it_needs() -> None:
    w = tg.tensor([1.0], requires_grad=True)
    optimizer = optim.LBFGS([w])
    with pytest.raises(SettingError, match=r"optimizer\.step\(closure\)"):
        optimizer.step()
    with pytest.raises(SettingError, match="one list, without groups"):
        optim.LBFGS([{"params": [w]}, {"params": [tg.tensor([2.0], requires_grad=True)]}])
    with pytest.raises(StateDictError, match="'n_iter'"):
        optimizer.load_state_dict(
            {"state": {0: {"d": [1.0]}}, "param_groups": optimizer.state_dict()["param_groups"]}
        )
    with pytest.raises(CaptureError, match="LBFGS"):
        tg.compile(lambda: optimizer.step(lambda: (w * w).sum()))()


def test_a_closure_is_called_once_before_the_update() -> None:
    w = tg.tensor([3.0], requires_grad=True)
    optimizer = optim.SGD([w], lr=0.1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (w * w).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).item() == 9.0
    np.testing.assert_allclose(w.detach().numpy(), [2.4])
