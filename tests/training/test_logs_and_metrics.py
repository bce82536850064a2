"""Metrics against scikit-learn, logs that other programs read, curves; clipping, accumulation and compiled steps."""

from __future__ import annotations

import csv
import json
import math

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import data, nn, optim, training
from tinygraph.errors import SettingError, ShapeError
from tinygraph.training import metrics

X = np.random.default_rng(0).normal(size=(64, 4))
Y = (X[:, 0] > 0).astype(int)


def fit(**options):
    tg.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    settings = {"epochs": 2, "progress": False, "seed": 1, **options}
    given = settings.pop("given", (X, Y))
    history = training.fit(net, given, optimizer=optimizer, **settings)
    return history, [p.detach().numpy().copy() for p in net.parameters()]


def test_metrics_are_scikit_learns():
    sk = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    scores, targets = rng.normal(size=(200, 5)), rng.integers(0, 5, 200)
    guessed = scores.argmax(axis=1)
    assert metrics.accuracy(scores, targets) == pytest.approx(sk.accuracy_score(targets, guessed))
    assert metrics.f1(scores, targets) == pytest.approx(sk.f1_score(targets, guessed, average="macro"))
    assert metrics.top_k(3)(scores, targets) == pytest.approx(sk.top_k_accuracy_score(targets, scores, k=3))
    assert (metrics.confusion(scores, targets) == sk.confusion_matrix(targets, guessed)).all()
    a, b = rng.normal(size=50), rng.normal(size=50)
    assert metrics.r2(a, b) == pytest.approx(sk.r2_score(b, a))
    assert metrics.mean_absolute_error(a, b) == pytest.approx(sk.mean_absolute_error(b, a))
    assert metrics.root_mean_squared_error(a, b) == pytest.approx(sk.root_mean_squared_error(b, a))
    # literal: ties go to the first class; shapes that do not fit are refused
    assert metrics.top_k(1)(np.ones((2, 2)), np.array([0, 1])) == 0.5
    with pytest.raises(ShapeError, match=r"\(3, 2\)"):
        metrics.accuracy(np.ones((3, 2)), np.ones(3))
    with pytest.raises(ShapeError, match="one shape"):
        metrics.r2(np.ones((3, 1)), np.ones(3))


def test_logs_are_read_by_other_programs(tmp_path):
    logs = [training.CSVLog(tmp_path / "log.csv"), training.JSONLog(tmp_path / "log.jsonl")]
    history, _ = fit(callbacks=logs, validation=(X, Y), metrics={"top 2": metrics.top_k(2), "f1": metrics.f1})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    with (tmp_path / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    for epoch, line, row in zip(history.epochs, lines, rows, strict=True):
        assert line["validation_loss"] == float(row["validation_loss"]) == epoch.validation_loss
        assert line["top 2"] == float(row["top 2"]) == epoch.metrics["top 2"]
    assert set(history.epochs[0].metrics) == {"top 2", "f1"}
    with pytest.raises(SettingError, match="validation"):
        fit(metrics={"f1": metrics.f1})


def test_event_files_are_read_by_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history, _ = fit(callbacks=[training.TensorBoardLog(tmp_path)])
    read = EventAccumulator(str(tmp_path)).Reload()
    tags = read.Tags()
    assert "loss" in tags["scalars"] + tags["tensors"]
    events = read.Scalars("loss") if "loss" in tags["scalars"] else read.Tensors("loss")
    assert [event.step for event in events] == [1, 2]
    values = [e.value if hasattr(e, "value") else e.tensor_proto.float_val[0] for e in events]
    np.testing.assert_allclose(values, history.losses, rtol=1e-6)


def test_a_history_shows_itself():
    pytest.importorskip("matplotlib")
    history, _ = fit(validation=(X, Y))
    shown = history._repr_html_()
    assert shown.startswith("<svg")
    assert "<th>validation accuracy</th>" in shown
    assert shown.count("<tr>") == 3
    assert len(history.plot().axes) == 2
    assert "<table>" in training.History()._repr_html_()


def test_clipping_and_accumulation():
    bound, moved = 0.01, []

    class Norms(training.Callback):
        def on_batch_end(self, run):
            grads = [p.grad.numpy() for p in run.model.parameters()]
            moved.append(math.sqrt(sum((g**2).sum() for g in grads)))

    fit(callbacks=[Norms()], clip_grad_norm=bound)
    assert max(moved) <= bound * (1 + 1e-9)
    moved.clear()
    fit(callbacks=[Norms()])
    assert max(moved) > 0.1
    # two halves of a batch accumulated are the batch, where the loss is a mean
    halves = data.DataLoader(data.TensorDataset(X, Y), 8)
    whole = data.DataLoader(data.TensorDataset(X, Y), 16)
    _, once = fit(given=whole)
    _, twice = fit(given=halves, accumulate=2)
    for a, b in zip(once, twice, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    # a rest that no update would see is updated with at the end of the epoch
    _, rest = fit(given=halves, accumulate=3)
    assert not np.allclose(rest[0], once[0])
    for name, value in {"accumulate": 0, "clip_grad_norm": 0.0, "clip_grad_value": -1.0}.items():
        with pytest.raises(SettingError, match=f"{name}="):
            fit(**{name: value})


def test_compiled_steps_train_as_eager_ones(capsys):
    options = {"given": data.DataLoader(data.TensorDataset(X, Y), 10, shuffle=True, seed=2), "epochs": 3}
    eager, values = fit(**options, compile=False)
    options["given"] = data.DataLoader(data.TensorDataset(X, Y), 10, shuffle=True, seed=2)
    compiled, found = fit(**options, compile=True, progress=True)
    assert "steps are compiled" in capsys.readouterr().out
    np.testing.assert_allclose(compiled.losses, eager.losses, rtol=1e-12)
    for a, b in zip(values, found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_model_that_cannot_be_compiled_is_trained_all_the_same(capsys):
    class Odd(nn.Module):
        def __init__(self):
            self.layer = nn.Linear(4, 2)

        def forward(self, x):
            out = self.layer(x)
            return out * 2 if float(out.detach().sum()) > 0 else out

    tg.manual_seed(0)
    net = Odd().double()
    history = training.fit(
        net, (X, Y), optimizer=optim.SGD(net.parameters(), lr=0.1), epochs=1, compile=True, seed=0
    )
    assert len(history.epochs) == 1
    assert "cannot be compiled and run op by op" in capsys.readouterr().out
