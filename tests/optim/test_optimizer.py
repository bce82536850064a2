"""What optimizers refuse, keep and save; and that a whole training step can be captured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import nn, optim
from tinygraph.errors import DTypeError, RecordingError, SettingError, StateDictError
from tinygraph.optim import lr_scheduler

OPTIMIZERS = [
    (optim.SGD, {"lr": 0.1}),
    (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.1}),
    (optim.Adam, {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}),
    (optim.AdamW, {"lr": 0.1}),
    (optim.RMSprop, {"lr": 0.1, "momentum": 0.5, "centered": True}),
]


def train(model: nn.Module, optimizer: optim.Optimizer, steps: int) -> None:
    x = np.linspace(-1, 1, 8).reshape(4, 2).astype(model.weight.dtype)
    for _ in range(steps):
        optimizer.zero_grad()
        (model(x) ** 2).mean().backward()
        optimizer.step()


@pytest.mark.parametrize(("optimizer", "settings"), OPTIMIZERS)
def test_float32_stays_float32_and_identity_is_kept(optimizer, settings) -> None:
    model = nn.Linear(2, 3)
    array = model.weight.detach().numpy()
    chosen = optimizer(model.parameters(), **settings)
    train(model, chosen, 3)
    assert model.weight.dtype == np.float32
    assert np.shares_memory(array, model.weight.detach().numpy())
    for slots in chosen.state.values():
        assert all(slot.dtype == np.float32 for name, slot in slots.items() if name != "step")


@pytest.mark.parametrize(("optimizer", "settings"), OPTIMIZERS)
def test_training_goes_on_from_a_saved_state(optimizer, settings) -> None:
    tg.manual_seed(0)
    first = nn.Linear(2, 3).double()
    one = optimizer(first.parameters(), **settings)
    train(first, one, 5)
    second = nn.Linear(2, 3).double()
    second.load_state_dict(first.state_dict())
    two = optimizer(second.parameters(), lr=77.0)
    two.load_state_dict(one.state_dict())
    train(first, one, 5)
    train(second, two, 5)
    np.testing.assert_array_equal(first.state_dict()["weight"], second.state_dict()["weight"])
    assert two.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize(("optimizer", "settings"), OPTIMIZERS)
def test_a_whole_training_step_is_captured_as_a_graph(optimizer, settings, before: int) -> None:
    """The captured updates, evaluated, are what the eager step writes, at the first step and later."""
    tg.manual_seed(0)
    model = nn.Linear(2, 3).double()
    chosen = optimizer(model.parameters(), **settings)
    train(model, chosen, before)
    x = np.linspace(-1, 1, 8).reshape(4, 2)

    def step(x):
        chosen.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        chosen.step()
        return loss

    graph = tg.capture(step, x)
    written = [leaf for leaf, _ in graph.updates]
    assert model.weight._leaf in written
    rates = [leaf for leaf in graph.leaves if leaf.name == "lr"]
    assert len(rates) == 1
    edges = [edge for _, edge in graph.updates]
    found = tg.Graph(graph.inputs, edges)(x)
    train(model, chosen, 1)
    for leaf, value in zip(written, found, strict=True):
        value = value.detach().numpy() if isinstance(value, tg.Tensor) else value
        np.testing.assert_allclose(value, leaf.value, rtol=1e-12, atol=1e-14)


def test_updates_stand_in_the_update_phase() -> None:
    model = nn.Linear(2, 3).double()
    chosen = optim.SGD(model.parameters(), lr=0.1)

    def step(x):
        chosen.zero_grad()
        model(x).sum().backward()
        chosen.step()

    graph = tg.capture(step, np.ones((4, 2)))
    phases = {node.phase for _, node in graph.updates}
    assert phases == {"update"}


def test_groups_and_names() -> None:
    model = nn.Linear(2, 3)
    chosen = optim.SGD([{"params": model.weight, "lr": 0.5}, {"params": [model.bias]}], lr=0.1)
    assert [group["lr"] for group in chosen.param_groups] == [0.5, 0.1]
    chosen.param_groups[0]["lr"] = 0.25
    assert chosen.param_groups[0]["lr"] == 0.25
    assert "lr': 0.25" in repr(chosen)
    assert len(optim.SGD(model.named_parameters(), lr=0.1).param_groups[0]["params"]) == 2


def test_parameters_without_gradient_are_left_alone() -> None:
    used, unused = (tg.tensor([1.0], requires_grad=True) for _ in range(2))
    chosen = optim.Adam([used, unused], lr=0.1, weight_decay=1.0)
    (used * 2.0).sum().backward()
    chosen.step()
    assert unused.item() == 1.0
    assert used.item() != 1.0
    chosen.zero_grad(set_to_none=False)
    assert used.grad.item() == 0.0
    assert unused.grad is None


def test_scalar_parameters() -> None:
    for value in (nn.Parameter(np.float32(2.0)), tg.tensor(2.0, requires_grad=True)):
        chosen = optim.AdamW([value], lr=0.1)
        (value * value).backward()
        chosen.step()
        assert value.shape == ()
        assert value.item() < 2.0


def test_errors_say_what_is_wrong() -> None:
    model = nn.Linear(2, 3)
    used_up = model.parameters()
    list(used_up)
    with pytest.raises(SettingError, match="used up"):
        optim.SGD(used_up, lr=0.1)
    with pytest.raises(SettingError, match="no parameters"):
        optim.SGD([], lr=0.1)
    for settings in ({"lr": -1.0}, {"lr": float("nan")}, {"momentum": -0.1}, {"weight_decay": -1}):
        with pytest.raises(SettingError, match=next(iter(settings))):
            optim.SGD(model.parameters(), **settings)
    with pytest.raises(SettingError, match="betas"):
        optim.Adam(model.parameters(), betas=(1.0, 0.9))
    with pytest.raises(SettingError, match="nesterov"):
        optim.SGD(model.parameters(), nesterov=True)
    with pytest.raises(SettingError, match="twice"):
        optim.SGD([model.weight, model.weight], lr=0.1)
    with pytest.raises(SettingError, match="momentun"):
        optim.SGD([{"params": [model.weight], "momentun": 0.9}], lr=0.1)
    with pytest.raises(RecordingError, match="computed"):
        optim.SGD([model.weight * 2.0], lr=0.1)
    with pytest.raises(DTypeError, match="ndarray"):
        optim.SGD([np.ones(2)], lr=0.1)
    with pytest.raises(DTypeError, match="list"):
        optim.SGD(model.weight, lr=0.1)
    with pytest.raises(DTypeError, match="int64"):
        optim.SGD([tg.tensor([1, 2])], lr=0.1)
    with pytest.raises(StateDictError, match="parameters"):
        optim.SGD([model.weight], lr=0.1).load_state_dict(optim.SGD(model.parameters()).state_dict())
    wrong = {"state": {0: {"momentum_buffer": np.ones(5)}}, "param_groups": [{"params": [0]}]}
    with pytest.raises(StateDictError, match="momentum_buffer"):
        optim.SGD([model.weight], lr=0.1).load_state_dict(wrong)


def test_schedules_resume_and_refuse() -> None:
    chosen = optim.SGD([tg.tensor([1.0], requires_grad=True)], lr=0.1)
    schedule = lr_scheduler.StepLR(chosen, step_size=2)
    for _ in range(3):
        schedule.step()
    other = optim.SGD([tg.tensor([1.0], requires_grad=True)], lr=0.1)
    resumed = lr_scheduler.StepLR(other, step_size=2)
    resumed.load_state_dict(schedule.state_dict())
    assert resumed.get_last_lr() == schedule.get_last_lr() == [pytest.approx(0.01)]
    with pytest.raises(SettingError, match="step_size"):
        lr_scheduler.StepLR(chosen, step_size=0)
    with pytest.raises(SettingError, match="total_steps"):
        lr_scheduler.OneCycleLR(chosen, 0.1)
    with pytest.raises(SettingError, match="optimizer"):
        lr_scheduler.StepLR(0.1, 3)
    short = lr_scheduler.OneCycleLR(chosen, 0.1, total_steps=2, cycle_momentum=False)
    short.step()
    with pytest.raises(SettingError, match="beyond"):
        short.step()


def test_a_compiled_training_step_follows_the_eager_one_under_a_schedule() -> None:
    """Running averages, slots, step counts and the rate that a schedule changes are state to a compiled step too."""
    losses: list[list[float]] = []
    for translate in (lambda step: step, tg.compile):
        tg.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).double()
        chosen = optim.AdamW(model.parameters(), lr=0.05)
        schedule = lr_scheduler.ExponentialLR(chosen, 0.5)

        def step(x, labels, model=model, chosen=chosen):
            chosen.zero_grad()
            loss = nn.functional.cross_entropy(model(x), labels)
            loss.backward()
            chosen.step()
            return loss

        run, random = translate(step), np.random.default_rng(0)
        losses.append([])
        for _ in range(5):
            losses[-1].append(run(random.normal(size=(6, 3)), random.integers(0, 2, 6)).item())
            schedule.step()
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-12)


NAN, INF = float("nan"), float("inf")


@each(
    ("rule", "settings"),
    [
        *(
            (rule, {"lr": lr})
            for rule in ("SGD", "Adam", "AdamW", "RMSprop")
            for lr in (NAN, INF, -1.0, "0.1", True)
        ),
        *((rule, {"weight_decay": w}) for rule in ("SGD", "Adam", "AdamW", "RMSprop") for w in (-1.0, NAN)),
        *((rule, {"eps": e}) for rule in ("Adam", "AdamW", "RMSprop") for e in (-1.0, NAN)),
        *(("Adam", {"betas": b}) for b in ((1.0, 0.9), (-0.1, 0.9), (NAN, 0.9), 0.9, (0.9,), ("a", "b"))),
        ("SGD", {"momentum": -0.1}),
        ("SGD", {"momentum": NAN}),
        ("SGD", {"dampening": NAN}),
        ("RMSprop", {"momentum": -0.1}),
        ("RMSprop", {"alpha": -0.1}),
    ],
)
def test_settings_out_of_range_are_refused_whenever_they_come(rule: str, settings: dict[str, Any]) -> None:
    (name,) = settings
    with pytest.raises(SettingError, match=name):
        getattr(optim, rule)([tg.tensor([1.0], requires_grad=True)], **settings)
    chosen = getattr(optim, rule)([tg.tensor([1.0], requires_grad=True)])
    before = dict(chosen.param_groups[0])
    with pytest.raises(SettingError, match=name):
        chosen.param_groups[0][name] = settings[name]
    saved = chosen.state_dict()
    saved["param_groups"][0].update(settings)
    with pytest.raises(StateDictError, match=name):
        chosen.load_state_dict(saved)
    assert dict(chosen.param_groups[0]) == before


def test_a_schedule_that_makes_no_number_is_refused() -> None:
    with pytest.raises(SettingError, match="lr=nan"):
        lr_scheduler.LambdaLR(optim.SGD([tg.tensor([1.0], requires_grad=True)], lr=0.1), lambda step: NAN)


def test_slots_of_parameters_that_are_not_there_are_refused() -> None:
    chosen = optim.SGD([tg.tensor([1.0], requires_grad=True)], lr=0.1, momentum=0.5)
    saved = chosen.state_dict()
    saved["state"] = {3: {"momentum_buffer": np.ones(1)}}
    with pytest.raises(StateDictError, match="number 3"):
        chosen.load_state_dict(saved)
