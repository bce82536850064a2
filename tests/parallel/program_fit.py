"""A training that keeps checkpoints and goes on from them; told to, one process is killed at some batch."""

from __future__ import annotations

import os
import signal
import sys

import numpy as np

import tinygraph as tg
from tinygraph import data, nn, optim, parallel, training

folder, victim, moment = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
tg.set_threads(1)
X = np.random.default_rng(0).normal(size=(64, 4))
Y = (X[:, 0] > 0).astype(int)
tg.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 2)).double()
parallel.SyncBatchNorm.convert_sync_batchnorm(net)
optimizer = parallel.data_parallel(optim.Adam(net.parameters(), lr=0.05))


class Killed(training.Callback):
    """The victim dies in the first start, after so many batches."""

    batches = 0

    def on_batch_end(self, run):
        self.batches += 1
        if self.batches == moment and parallel.rank() == victim and os.environ["TINYGRAPH_RESTART"] == "0":
            os.kill(os.getpid(), signal.SIGKILL)


keeping = training.Checkpoint(f"{folder}/run.npz", every_batches=2, resume=True)
callbacks = [Killed(), training.EarlyStopping(10), keeping]
history = training.fit(
    net,
    data.DataLoader(data.TensorDataset(X, Y), 10, shuffle=True, seed=3),
    optimizer=optimizer,
    epochs=4,
    validation=(X[:20], Y[:20]),
    scheduler=optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
    callbacks=callbacks,
    progress=True,
    seed=5,
)
if parallel.rank() == 0:
    values = [value.detach().numpy() for value in [*net.parameters(), *net.buffers()]]
    numbers = [
        (e.number, e.loss, e.accuracy, e.validation_loss, e.validation_accuracy, e.rate)
        for e in history.epochs
    ]
    np.savez(f"{folder}/end.npz", *values, history=np.array(numbers))
