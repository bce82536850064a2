"""`fit` and what surrounds it: results, repeatability, callbacks, interruption, bad data, memory."""

from __future__ import annotations

import gc
import io
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import tinygraph as tg
from tinygraph import data, nn, optim, training
from tinygraph.errors import DataError, FileFormatError, SettingError, ShapeError, StateDictError

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(96, 4)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int64)


def make(seed: int = 0) -> tuple[nn.Module, optim.Optimizer]:
    tg.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
    return model, optim.Adam(model.parameters(), lr=0.02)


def fit(
    model: nn.Module, optimizer: optim.Optimizer, given: Any = (X, Y), **options: Any
) -> training.History:
    settings = {"epochs": 2, "progress": False, "seed": 0, **options}
    return training.fit(model, given, optimizer=optimizer, **settings)


def test_fit_learns_and_reports() -> None:
    model, optimizer = make()
    history = fit(model, optimizer, epochs=20, validation=(X, Y))
    assert [epoch.number for epoch in history.epochs] == list(range(1, 21))
    assert history.losses[-1] < 0.2 < history.losses[0]
    assert history.validation_accuracies[-1] > 0.95
    assert history.epochs[-1].rate == 0.02
    assert (history.interrupted, history.message) == (False, None)
    found = training.evaluate(model, (X, Y), batch_size=7)
    assert found.loss == pytest.approx(history.validation_losses[-1], rel=1e-5)
    matrix = training.confusion_matrix(model, (X, Y))
    assert matrix.sum() == 96
    assert matrix.trace() / 96 == found.accuracy
    np.testing.assert_array_equal(matrix.sum(axis=1), np.bincount(Y))


def test_a_seed_repeats_a_training_bit_by_bit() -> None:
    states = []
    for _ in range(2):
        model, optimizer = make()
        fit(model, optimizer, seed=3)
        states.append(model.state_dict())
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])
    model, optimizer = make()
    fit(model, optimizer, seed=4)
    assert not np.array_equal(states[0]["0.weight"], model.state_dict()["0.weight"])


@pytest.mark.parametrize(
    "given",
    [
        data.TensorDataset(X, Y),
        data.DataLoader(data.TensorDataset(X, Y), 16, True),
        [(X[:50], Y[:50]), (tg.tensor(X[50:]), tg.tensor(Y[50:]))],
        data.Subset(data.TensorDataset(X, Y), range(20)),
    ],
    ids=["dataset", "loader", "list of batches", "subset"],
)
def test_kinds_of_data(given: Any) -> None:
    model, optimizer = make()
    assert len(fit(model, optimizer, given).epochs) == 2


def test_modes_are_given_back_and_evaluation_records_nothing() -> None:
    model, optimizer = make()
    model[2].eval()
    fit(model, optimizer, validation=(X, Y))
    assert model.training
    assert not model[2].training
    training.evaluate(model, (X, Y))
    assert model.training


def test_regression_has_no_accuracy() -> None:
    model = nn.Linear(4, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    history = fit(model, optimizer, (X, X[:, :1]), loss=nn.MSELoss(), epochs=10)
    assert history.accuracies == [None] * 10
    assert history.losses[-1] < 0.1


def test_schedulers_step_by_epoch_or_batch() -> None:
    model, optimizer = make()
    history = fit(model, optimizer, epochs=3, scheduler=optim.lr_scheduler.StepLR(optimizer, 1, 0.5))
    assert [epoch.rate for epoch in history.epochs] == [0.02, 0.01, 0.005]
    model, optimizer = make()
    fit(
        model,
        optimizer,
        epochs=1,
        scheduler=optim.lr_scheduler.StepLR(optimizer, 1, 0.5),
        scheduler_per="batch",
    )
    assert optimizer.param_groups[0]["lr"] == 0.02 * 0.5**3
    plateau = optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=1e9, threshold_mode="abs")
    fit(model, optimizer, epochs=2, scheduler=plateau)
    assert optimizer.param_groups[0]["lr"] < 0.02 * 0.5**3


class Recorder(training.Callback):
    """Notes every moment."""

    def __init__(self) -> None:
        self.moments: list[str] = []

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("on_"):
            return lambda run: self.moments.append(f"{name} {run.epoch}.{run.batch}")
        return object.__getattribute__(self, name)


def test_callbacks_are_called_in_order() -> None:
    model, optimizer = make()
    recorder = Recorder()
    fit(model, optimizer, epochs=1, batch_size=48, callbacks=[recorder])
    assert recorder.moments == [
        "on_train_begin 0.0", "on_epoch_begin 1.0", "on_batch_end 1.1", "on_batch_end 1.2", "on_epoch_end 1.2",
        "on_train_end 1.2",
    ]  # fmt: skip


def test_early_stopping_and_the_best_model(tmp_path: Path) -> None:
    model, optimizer = make()
    optimizer.param_groups[0]["lr"] = 0.0
    stopping = training.EarlyStopping(patience=3)
    history = fit(model, optimizer, epochs=50, validation=(X, Y), callbacks=[stopping])
    assert len(history.epochs) == 4
    assert "no improvement for 3 epochs" in str(history.message)

    model, optimizer = make()
    best = training.BestModel("validation_accuracy", tmp_path / "best.npz")
    history = fit(model, optimizer, epochs=5, validation=(X, Y), callbacks=[best])
    highest = max(found for found in history.validation_accuracies if found is not None)
    assert training.evaluate(model, (X, Y)).accuracy == highest
    other, _ = make(1)
    other.load_state_dict(tg.interop.load_state(tmp_path / "best.npz"))
    assert training.evaluate(other, (X, Y)).accuracy == highest
    with pytest.raises(SettingError, match="validation_loss"):
        fit(model, optimizer, callbacks=[training.EarlyStopping(monitor="validation_loss")])
    with pytest.raises(SettingError, match="accuracy"):
        training.BestModel("precision")


def test_a_checkpoint_goes_on_where_it_stopped(tmp_path: Path) -> None:
    path = tmp_path / "last.npz"
    loader = data.DataLoader(data.TensorDataset(X, Y), 32)
    straight, optimizer = make()
    fit(straight, optimizer, loader, epochs=2, callbacks=[training.Checkpoint(path, every=2)])
    fit(straight, optimizer, loader, epochs=1)
    resumed, again = make(9)
    assert training.load_checkpoint(path, resumed, again) == 2
    fit(resumed, again, loader, epochs=1)
    np.testing.assert_array_equal(straight.state_dict()["0.weight"], resumed.state_dict()["0.weight"])
    assert os.listdir(tmp_path) == ["last.npz"]
    with pytest.raises(StateDictError):
        training.load_checkpoint(path, nn.Linear(4, 2))
    np.savez(path, a=np.ones(1))
    with pytest.raises(FileFormatError, match="no checkpoint"):
        training.load_checkpoint(path, resumed)
    with pytest.raises(OSError, match="nowhere"):
        training.save_checkpoint(tmp_path / "nowhere" / "a.npz", resumed)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_stop_training_with_the_batch_and_the_array(value: float) -> None:
    spoiled = X.copy()
    spoiled[70, 2] = value
    model, optimizer = make()
    loader = data.DataLoader(data.TensorDataset(spoiled, Y), 32)
    with pytest.raises(DataError, match=r"batch 3 of epoch 1: array 'inputs'.*\[6, 2\]"):
        fit(model, optimizer, loader)
    assert all(np.isfinite(entry).all() for entry in model.state_dict().values())
    with pytest.raises(DataError, match="batch 3 of the evaluation"):
        training.evaluate(model, loader)
    other = nn.Linear(4, 4)
    with pytest.raises(DataError, match="'targets'"):
        fit(other, optim.SGD(other.parameters(), lr=0.1), (X, spoiled), loss=nn.MSELoss())


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_divergence_stops_training_before_it_spoils_the_model() -> None:
    model = nn.Linear(4, 1)
    optimizer = optim.SGD(model.parameters(), lr=1e15)
    kept = training.BestModel("loss")
    with pytest.raises(DataError, match=r"of epoch \d+ is (inf|nan).*smaller learning rate"):
        fit(model, optimizer, (X, X[:, :1]), loss=nn.MSELoss(), epochs=50, callbacks=[kept])
    assert all(np.isfinite(entry).all() for entry in model.state_dict().values())


class PressCtrlC(training.Callback):
    """Sends this process what Ctrl-C sends."""

    def __init__(self, times: int = 1) -> None:
        self.times = times

    def on_batch_end(self, run: training.Run) -> None:
        if (run.epoch, run.batch) == (2, 2):
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_leaves_a_usable_model_and_says_so(times: int) -> None:
    model, optimizer = make()
    output = io.StringIO()
    history = fit(model, optimizer, epochs=9, callbacks=[PressCtrlC(times)], progress=Console(file=output))
    assert history.interrupted
    assert len(history.epochs) == 1
    assert "interrupted in epoch 2 after batch 2" in output.getvalue()
    assert training.evaluate(model, (X, Y)).loss < 1.0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    history = fit(model, optimizer, epochs=1)
    assert len(history.epochs) == 1


def test_ctrl_c_while_data_are_read() -> None:
    class Slow:
        def __iter__(self) -> Any:
            yield X, Y
            raise KeyboardInterrupt

    model, optimizer = make()
    history = fit(model, optimizer, Slow())
    assert history.interrupted
    assert model.training


def test_what_is_refused() -> None:
    model, optimizer = make()
    for given, words in (
        (iter([(X, Y)]), "generator"),
        (3, "DataLoader"),
        ([(X, Y, Y)], "3 parts"),
        ([X], "ndarray"),
        ([], "no samples"),
    ):
        with pytest.raises(DataError, match=words):
            fit(model, optimizer, given)
    with pytest.raises(SettingError, match="epochs"):
        fit(model, optimizer, epochs=-1)
    with pytest.raises(SettingError, match="scheduler_per"):
        fit(model, optimizer, scheduler_per="week")
    with pytest.raises(ShapeError, match="mean"):
        fit(model, optimizer, loss=nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(ShapeError, match="labels") as found:
        fit(model, optimizer, (X, Y + 1))
    assert "in batch 1 of epoch 1" in found.value.__notes__
    with pytest.raises(DataError, match="labels"):
        training.confusion_matrix(model, (X, Y - 1))


def test_progress_on_a_terminal_and_elsewhere() -> None:
    for terminal in (False, True):
        model, optimizer = make()
        output = io.StringIO()
        console = Console(file=output, force_terminal=terminal, width=120)
        fit(model, optimizer, progress=console, validation=(X, Y))
        text = output.getvalue()
        assert "epoch 2/2" in text
        assert "validation loss" in text
        assert ("samples/s" in text) is terminal


def test_memory_stays_flat() -> None:
    class Measure(training.Callback):
        sizes: list[int] = []  # noqa: RUF012 - one instance

        def on_epoch_end(self, run: training.Run) -> None:
            if run.epoch in (5, 34):
                gc.collect()
                self.sizes.append(tracemalloc.get_traced_memory()[0])

    model, optimizer = make()
    tracemalloc.start()
    try:
        fit(model, optimizer, epochs=34, callbacks=[Measure()])  # 102 steps
    finally:
        tracemalloc.stop()
    early, late = Measure.sizes
    assert late - early < 30_000


def test_importing_costs_numpy_only() -> None:
    code = (
        "import sys, tinygraph, tinygraph.nn, tinygraph.optim, tinygraph.data, tinygraph.training\n"
        "heavy = {'rich', 'sklearn', 'scipy', 'safetensors', 'networkx', 'graphviz', 'msgspec'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
