"""Schedules alone, together and beside rates set by hand: the values of PyTorch's chainable forms."""

import pytest

import tinygraph as tg
from tinygraph import optim
from tinygraph.errors import SettingError, StateDictError
from tinygraph.optim import lr_scheduler

EVERY = {
    "StepLR": {"step_size": 3, "gamma": 0.5},
    "MultiStepLR": {"milestones": [5, 12], "gamma": 0.1},
    "ExponentialLR": {"gamma": 0.9},
    "ConstantLR": {"factor": 0.25, "total_iters": 4},
    "LinearLR": {"start_factor": 0.2, "end_factor": 0.9, "total_iters": 6},
    "PolynomialLR": {"total_iters": 9, "power": 2.0},
    "CosineAnnealingLR": {"T_max": 4, "eta_min": 0.01},
    "CosineAnnealingWarmRestarts": {"T_0": 3, "T_mult": 2, "eta_min": 0.001},
    "LambdaLR": {"lr_lambda": lambda step: 0.95**step},
    "OneCycleLR": {"max_lr": 0.5, "total_steps": 40},
    "MultiplicativeLR": {"lr_lambda": lambda step: 0.9 + 0.01 * step},
    "CyclicLR": {
        "base_lr": 0.01,
        "max_lr": 0.3,
        "step_size_up": 3,
        "step_size_down": 4,
        "mode": "triangular2",
    },
}
CHAINABLE = [
    name
    for name in EVERY
    if name not in ("CosineAnnealingWarmRestarts", "LambdaLR", "OneCycleLR", "CyclicLR")
]


def sgd(lr=0.1, momentum=0.9):
    return optim.SGD([tg.tensor([1.0], requires_grad=True)], lr=lr, momentum=momentum)


def test_exponential_and_milestones_together():
    optimizer = sgd()
    schedules = [lr_scheduler.ExponentialLR(optimizer, 0.9), lr_scheduler.MultiStepLR(optimizer, [5, 12])]
    for schedule in schedules:
        schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.09)
    for _ in range(11):
        for schedule in schedules:
            schedule.step()
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * 0.9**12 * 0.01)


def test_warm_up_and_decay_together():
    optimizer = sgd()
    warm = lr_scheduler.LinearLR(optimizer, start_factor=0.5, total_iters=2)
    decay = lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.1)
    rates = []
    for _ in range(4):
        rates.append(optimizer.param_groups[0]["lr"])
        warm.step()
        decay.step()
    assert rates == pytest.approx([0.05, 0.075, 0.01, 0.01])


def test_a_constant_share_together_with_another():
    optimizer = sgd()
    constant = lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=2)
    halving = lr_scheduler.ExponentialLR(optimizer, 0.5)
    rates = []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"])
        constant.step()
        halving.step()
    assert rates == pytest.approx([0.05, 0.025, 0.025])


def test_a_rate_set_by_hand_is_where_a_schedule_goes_on_from():
    for name, wanted in {
        "ExponentialLR": 0.45,
        "StepLR": 0.5,
        "MultiStepLR": 0.5,
        "PolynomialLR": 0.5 * (7 / 8) ** 2,
    }.items():
        optimizer = sgd()
        schedule = getattr(lr_scheduler, name)(optimizer, **EVERY[name])
        schedule.step()
        optimizer.param_groups[0]["lr"] = 0.5
        schedule.step()
        assert schedule.get_last_lr() == pytest.approx([wanted]), name


def test_a_later_schedule_starts_from_the_first_rate():
    optimizer = sgd()
    lr_scheduler.LinearLR(optimizer, start_factor=0.5)
    assert lr_scheduler.LambdaLR(optimizer, lambda step: 1.0).base_lrs == [0.1]
    assert optimizer.param_groups[0]["initial_lr"] == 0.1


@pytest.mark.parametrize("name", EVERY)
def test_resuming_is_going_on(name):
    optimizer, other = sgd(), sgd()
    schedule = getattr(lr_scheduler, name)(optimizer, **EVERY[name])
    resumed = getattr(lr_scheduler, name)(other, **EVERY[name])
    for _ in range(5):
        schedule.step()
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(schedule.state_dict())
    for _ in range(9):
        assert other.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]
        assert other.param_groups[0]["momentum"] == optimizer.param_groups[0]["momentum"]
        schedule.step()
        resumed.step()


def test_a_plateau_resumes():
    optimizer, other = sgd(), sgd()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    resumed = lr_scheduler.ReduceLROnPlateau(other, patience=1)
    schedule.step(1.0)
    schedule.step(1.0)
    resumed.load_state_dict(schedule.state_dict())
    resumed.step(1.0)
    assert other.param_groups[0]["lr"] == pytest.approx(0.01)


def test_a_strange_state_changes_nothing():
    schedule = lr_scheduler.StepLR(sgd(), step_size=3)
    schedule.step()
    for wrong in ({}, {"last_epoch": 7, "base_lrs": [1.0, 2.0], "last_lrs": [1.0, 2.0]}, {"last_epoch": "7"}):
        with pytest.raises(StateDictError, match="1 parameter groups"):
            schedule.load_state_dict(wrong)
    assert schedule.state_dict() == {"last_epoch": 1, "base_lrs": [0.1], "last_lrs": [0.1]}
    with pytest.raises(SettingError, match="end_factor"):
        lr_scheduler.LinearLR(sgd(), end_factor=-1.0)


# -- against PyTorch ---------------------------------------------------------------------------------------------------


def test_a_rate_that_ends_at_zero_does_not_fall_below_it():
    for start in (0.3, 0.7, 1.0, 0.1):
        for steps in range(1, 12):
            optimizer = sgd()
            schedule = lr_scheduler.LinearLR(optimizer, start_factor=start, end_factor=0.0, total_iters=steps)
            for _ in range(steps + 1):
                schedule.step()
            assert optimizer.param_groups[0]["lr"] == pytest.approx(0.0, abs=1e-15)
            assert optimizer.param_groups[0]["lr"] >= 0


def rates_of(framework, optimizer, names, by_hand):
    schedules = [getattr(framework, name)(optimizer, **EVERY[name]) for name in names]
    rates = []
    for step in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        if by_hand and step == 7:
            optimizer.param_groups[0]["lr"] = 0.3
        try:
            for schedule in schedules:
                schedule.step()
        except SettingError:  # rates below zero, which PyTorch takes
            break
    return rates


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize("first", EVERY)
def test_every_schedule_alone_and_with_every_other_is_pytorchs(first, by_hand):
    torch = pytest.importorskip("torch")
    theirs = torch.optim.lr_scheduler
    for second in [None, *CHAINABLE]:
        names = [first] if second is None else [second, first]
        reference = torch.optim.SGD([torch.ones(1, requires_grad=True)], lr=0.1, momentum=0.9)
        found, wanted = (
            rates_of(lr_scheduler, sgd(), names, by_hand),
            rates_of(theirs, reference, names, by_hand),
        )
        assert found == pytest.approx(wanted[: len(found)], rel=1e-9, abs=1e-12), names
        assert len(found) == 20 or wanted[len(found)] < 0, names


def sequences(framework, optimizer):
    make = framework
    return {
        "warm up, then a cosine, then steps": lambda: make.SequentialLR(
            optimizer,
            [
                make.LinearLR(optimizer, 0.1, total_iters=4),
                make.CosineAnnealingLR(optimizer, 6, eta_min=0.01),
                make.StepLR(optimizer, 2, 0.5),
            ],
            milestones=[4, 11],
        ),
        "lambdas and cycles": lambda: make.SequentialLR(
            optimizer,
            [
                make.LambdaLR(optimizer, lambda step: 1 / (1 + step)),
                make.PolynomialLR(optimizer, 5, 2.0),
                make.ConstantLR(optimizer, 0.5, 3),
            ],
            milestones=[3, 9],
        ),
        "chained": lambda: make.ChainedScheduler(
            [
                make.ConstantLR(optimizer, 0.1, total_iters=4),
                make.ExponentialLR(optimizer, 0.9),
                make.MultiplicativeLR(optimizer, lambda step: 0.99),
            ]
        ),
        **{
            f"cyclic {mode}": lambda mode=mode: make.CyclicLR(
                optimizer, 0.01, 0.2, step_size_up=3, step_size_down=5, mode=mode, gamma=0.97
            )
            for mode in ("triangular", "triangular2", "exp_range")
        },
        "cyclic of one's own": lambda: make.CyclicLR(
            optimizer, 0.01, 0.2, 4, scale_fn=lambda x: 1 / x, scale_mode="cycle", base_momentum=0.5
        ),
    }


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_schedules_made_of_others_and_cycles_are_pytorchs():
    torch = pytest.importorskip("torch")
    for name in sequences(None, None):
        reference, optimizer = torch.optim.SGD([torch.ones(1, requires_grad=True)], 0.1, 0.9), sgd()
        theirs = sequences(torch.optim.lr_scheduler, reference)[name]()
        ours = sequences(lr_scheduler, optimizer)[name]()
        for step in range(24):
            for setting in ("lr", "momentum"):
                found, wanted = (one.param_groups[0][setting] for one in (optimizer, reference))
                assert found == pytest.approx(wanted, rel=1e-9, abs=1e-12), (name, step, setting)
            if step == 10:  # saved, and read by schedules made anew
                saved, rates = ours.state_dict(), optimizer.state_dict()
                optimizer = sgd()
                ours = sequences(lr_scheduler, optimizer)[name]()
                optimizer.load_state_dict(rates)
                ours.load_state_dict(saved)
            ours.step()
            theirs.step()


def test_schedules_made_of_others_say_what_does_not_fit():
    optimizer = sgd()
    one, two = lr_scheduler.ExponentialLR(optimizer, 0.9), lr_scheduler.StepLR(optimizer, 3)
    for make, words in (
        (lambda: lr_scheduler.ChainedScheduler([]), "no schedules"),
        (lambda: lr_scheduler.SequentialLR(sgd(), [one, two], [3]), "another optimizer"),
        (lambda: lr_scheduler.SequentialLR(optimizer, [one, two], []), "1 milestones"),
        (lambda: lr_scheduler.SequentialLR(optimizer, [one, two, one], [5, 5]), "must rise"),
        (
            lambda: lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(optimizer)]),
            "without an argument",
        ),
        (lambda: lr_scheduler.CyclicLR(optimizer, 0.1, 1.0, mode="round"), "triangular2"),
        (
            lambda: lr_scheduler.CyclicLR(optim.Adagrad([tg.tensor(1.0, requires_grad=True)]), 0.1, 1.0),
            "cycle_momentum=False",
        ),
    ):
        with pytest.raises(SettingError, match=words):
            make()
