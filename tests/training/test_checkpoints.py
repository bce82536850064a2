"""Checkpoints: two epochs and two more are four to the bit, and a file is loaded whole or not at all."""

import json

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, nn, optim, training
from tinygraph.core.state import Generator, default_generator
from tinygraph.errors import DTypeError, FileFormatError, SettingError, StateDictError

X = np.random.default_rng(0).normal(size=(48, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int)


class Noisy(data.Dataset):
    """Samples with noise from a generator of its own."""

    def __init__(self, seed):
        self.numbers = np.random.default_rng(seed)

    def __len__(self):
        return len(X)

    def __getitem__(self, index):
        return X[index] + self.numbers.normal(0, 0.1, 4).astype(np.float32), Y[index]


def start(seed, rule="sgd", loader="shared"):
    """A training with dropout, batch norm, momentum, shuffling, augmentation and two schedules."""
    tg.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
    if rule == "sgd":
        optimizer = optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    else:
        optimizer = optim.Adam(model.parameters(), lr=0.01, amsgrad=True)
    schedules = [
        optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=5),
        optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
    ]
    own = {} if loader == "shared" else {"seed": seed + 7}
    return model, optimizer, schedules, data.DataLoader(Noisy(seed), 10, shuffle=True, **own)


class Both(training.Callback):
    """Steps the second schedule."""

    def __init__(self, schedule):
        self.schedule = schedule

    def on_epoch_end(self, run):
        self.schedule.step()


def train(run, epochs, *callbacks):
    model, optimizer, (first, second), loader = run
    training.fit(
        model, loader, optimizer=optimizer, epochs=epochs, scheduler=first, progress=False,
        callbacks=[Both(second), *callbacks],
    )  # fmt: skip


def bits(run):
    model, optimizer, _, _ = run
    slots = optimizer.state_dict()
    parts = [
        *model.state_dict().values(),
        *(one[name] for one in slots["state"].values() for name in sorted(one)),
    ]
    return [part.tobytes() for part in parts] + [
        json.dumps(slots["param_groups"]),
        str(default_generator.state),
    ]


@pytest.mark.parametrize("rule", ["sgd", "adam"])
@pytest.mark.parametrize("loader", ["shared", "own"])
@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_two_epochs_and_two_more_are_four_to_the_bit(tmp_path, rule, loader, suffix):
    path = tmp_path / f"half.{suffix}"
    straight = start(0, rule, loader)
    train(straight, 4)
    wanted = bits(straight)

    half = start(0, rule, loader)
    train(half, 2, training.Checkpoint(path, every=2))
    resumed = start(99, rule, loader)
    assert training.load_checkpoint(path, resumed[0], resumed[1], data=resumed[3]) == 2
    train(resumed, 2)
    assert bits(resumed) == wanted


class SaveAfter(training.Callback):
    def __init__(self, path, batch):
        self.path, self.batch = path, batch

    def on_batch_end(self, run):
        if (run.epoch, run.batch) == (2, self.batch):
            training.save_checkpoint(self.path, run.model, run.optimizer, data=run.data)


@pytest.mark.parametrize("batch", [1, 3, 5])
@pytest.mark.parametrize("loader", ["shared", "own"])
def test_within_an_epoch_the_walk_goes_on_where_it_stood(tmp_path, loader, batch):
    path = tmp_path / "within.npz"
    straight = start(1, loader=loader)
    train(straight, 3, SaveAfter(path, batch))
    resumed = start(50, loader=loader)
    training.load_checkpoint(path, resumed[0], resumed[1], data=resumed[3])
    train(resumed, 2 if batch < 5 else 1)
    if batch < 5:
        assert bits(resumed) == bits(straight)
    with pytest.raises(StateDictError, match="data="):
        training.load_checkpoint(path, resumed[0], resumed[1])


def test_generators_of_modules_and_given_ones_are_restored(tmp_path):
    path, own, given, old = (
        tmp_path / "a.npz",
        Generator(1),
        np.random.default_rng(2),
        np.random.RandomState(3),
    )
    model = nn.Linear(2, 2)
    model.noise = own
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    everything = {"augment": given, "old": old}
    training.save_checkpoint(path, model, optimizer, generators=everything)
    wanted = own.uniform(()), given.random(), old.rand(), default_generator.uniform(())
    training.load_checkpoint(path, model, optimizer, generators=everything)
    assert (own.uniform(()), given.random(), old.rand(), default_generator.uniform(())) == wanted
    with pytest.raises(StateDictError, match="'given/augment'"):
        training.load_checkpoint(path, model, optimizer)
    with pytest.raises(SettingError, match="'x'"):
        training.save_checkpoint(path, model, generators={"x": 3})


def spoil(path, **changes):
    state = tg.interop.load_state(path)
    for name, change in changes.items():
        state[name] = change(state[name])
    tg.interop.save_state(state, path)


def json_with(edit):
    def change(array):
        value = json.loads(array.tobytes())
        edit(value)
        return np.frombuffer(json.dumps(value).encode(), np.uint8)

    return change


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"groups": lambda a: a[:-3]}, FileFormatError),
        ({"groups": json_with(lambda v: v[0].update(lr=float("nan")))}, StateDictError),
        ({"groups": json_with(lambda v: v[0].update(momentum=-1.0))}, StateDictError),
        ({"run": lambda a: a[:-3]}, FileFormatError),
        ({"run": json_with(lambda v: v.update(optimizer="Adam"))}, StateDictError),
        ({"run": json_with(lambda v: v["schedules"].pop())}, StateDictError),
        ({"run": json_with(lambda v: v["schedules"][1]["state"].pop("base_lrs"))}, StateDictError),
        ({"run": json_with(lambda v: v["data"].update(batch=77))}, StateDictError),
        ({"run": json_with(lambda v: v["generators"].update(nobody={}))}, StateDictError),
        (
            {"run": json_with(lambda v: v["generators"].update(default={"bit_generator": "X"}))},
            StateDictError,
        ),
        ({"optimizer/0/momentum_buffer": lambda a: a[:2]}, StateDictError),
        ({"model/0.weight": lambda a: a[:2]}, StateDictError),
    ],
)
def test_a_file_that_does_not_fit_changes_nothing(tmp_path, fault, error):
    path = tmp_path / "half.npz"
    half = start(0)
    train(half, 1, training.Checkpoint(path))
    spoil(path, **fault)
    other = start(5)
    train(other, 1)
    before, rates = bits(other), [one.state_dict() for one in other[2]]
    numbers = other[3].dataset.numbers.bit_generator.state
    with pytest.raises(error):
        training.load_checkpoint(path, other[0], other[1], data=other[3])
    assert bits(other) == before
    assert [one.state_dict() for one in other[2]] == rates
    assert other[3].dataset.numbers.bit_generator.state == numbers


def test_a_model_alone_reads_its_values_and_nothing_else(tmp_path):
    path = tmp_path / "half.npz"
    half = start(0)
    train(half, 1, training.Checkpoint(path))
    other = start(5)
    before = default_generator.state
    assert training.load_checkpoint(path, other[0]) == 1
    assert other[0].state_dict()["0.weight"].tobytes() == half[0].state_dict()["0.weight"].tobytes()
    assert default_generator.state == before


def test_fit_refuses_what_is_another_models():
    model, other = nn.Linear(4, 2), nn.Linear(4, 2)
    strange = optim.SGD(other.parameters(), lr=0.1)
    with pytest.raises(SettingError, match="none of the 2 parameters"):
        training.fit(model, (X, Y), optimizer=strange, epochs=1, progress=False)
    own = optim.SGD(model.parameters(), lr=0.1)
    schedule = optim.lr_scheduler.ExponentialLR(strange, 0.9)
    with pytest.raises(SettingError, match="another optimizer"):
        training.fit(model, (X, Y), optimizer=own, epochs=1, scheduler=schedule, progress=False)


def test_fit_refuses_masked_arrays():
    model = nn.Linear(4, 2)
    masked = np.ma.array(X, mask=X > 1)
    with pytest.raises(DTypeError, match="mask"):
        training.fit(
            model, (masked, Y), optimizer=optim.SGD(model.parameters(), lr=0.1), epochs=1, progress=False
        )
