"""Long trainings: memory and work of the ten-thousandth step are those of the thousandth."""

from __future__ import annotations

import gc
import resource
import sys
import tracemalloc

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim, training

STEPS = 10_000
X = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32)
Y = np.arange(8) % 2


def calls_of(function) -> int:
    """How many Python functions one call of a function calls."""
    count = 0

    def note(frame, event, argument):
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.slow
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
def test_ten_thousand_steps_are_flat(compiled):
    tg.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 2))
    optimizer = optim.Adam(model.parameters(), lr=1e-3)
    schedule = optim.lr_scheduler.StepLR(optimizer, step_size=100, gamma=0.99)

    def step():
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(X), Y)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss

    run = tg.compile(step) if compiled else step
    objects, memory, calls, resident = [], [], [], []
    tracemalloc.start()
    try:
        for number in range(1, STEPS + 1):
            run()
            schedule.step()
            if number in (1000, STEPS // 2, STEPS):
                gc.collect()
                objects.append(len(gc.get_objects()))
                memory.append(tracemalloc.get_traced_memory()[0])
                calls.append(calls_of(run))
                resident.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    finally:
        tracemalloc.stop()
    assert calls[0] == calls[1] == calls[2] > 0
    assert max(objects) - objects[0] <= 20, objects
    assert max(memory) - memory[0] < 20_000, memory  # of bytes: less than three a step
    assert resident[-1] - resident[0] < 5_000, resident  # of kilobytes, the most so far


@pytest.mark.slow
def test_fit_keeps_a_row_of_history_an_epoch_and_nothing_else():
    """10,000 batches in 100 epochs, compiled as `fit` does by default."""
    tg.manual_seed(0)
    x, y = np.tile(X, (100, 1)), np.tile(Y, 100)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    memory = []

    class Noting(training.Callback):
        def on_epoch_end(self, run):
            if run.epoch in (10, 100):
                gc.collect()
                memory.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    try:
        training.fit(
            model, (x, y), optimizer=optim.SGD(model.parameters(), lr=0.01), epochs=100, batch_size=8,
            progress=False, callbacks=[Noting()], seed=0,
        )  # fmt: skip
    finally:
        tracemalloc.stop()
    assert memory[1] - memory[0] < 90 * 1_000 + 20_000, memory  # a kilobyte an epoch
