"""Run in any number of processes: short trainings on shared-out data; rank 0 saves losses and parameters."""

from __future__ import annotations

import sys

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim, parallel
from tinygraph.data import DataLoader, TensorDataset

STEPS = 50
rng = np.random.default_rng(0)
X = rng.normal(size=(46, 6))  # batches of 16, 16 and 14: uneven for two and four
Y = rng.integers(0, 3, 46)


def model(normed: bool):
    tg.manual_seed(parallel.rank())  # made differently: rank 0's parameters count
    made = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8) if normed else nn.ReLU(), nn.Tanh(), nn.Linear(8, 3)
    )
    made = parallel.SyncBatchNorm.convert_sync_batchnorm(made.double())
    return parallel.broadcast(made)


def train(make, *, normed=False, compiled=False, accumulate=1, **options):
    net = model(normed)
    optimizer = parallel.data_parallel(make(net.parameters()), bucket_bytes=200, **options)
    loader = parallel.shard(DataLoader(TensorDataset(X, Y), 16, shuffle=True, seed=1))

    def backward(x, y):
        loss = parallel.mean(nn.functional.cross_entropy(net(x), y), len(x))
        (loss / accumulate).backward()
        return loss

    def step(x, y):
        optimizer.zero_grad()
        loss = backward(x, y)
        optimizer.step()
        return loss

    step = tg.compile(step) if compiled else step
    losses, done = [], 0
    while done < STEPS:
        for x, y in loader:
            if accumulate == 1:
                losses.append(step(x, y).item())
            else:
                losses.append(backward(x, y).item())
                if (done + 1) % accumulate == 0:
                    optimizer.step()
                    optimizer.zero_grad()
            done += 1
    state = optimizer.state_dict()["state"]
    slots = [value for _, one in sorted(state.items()) for _, value in sorted(one.items())]
    return losses, [p.detach().numpy().copy() for p in [*net.parameters(), *net.buffers()]] + slots


RUNS = {
    "SGD": lambda: train(lambda p: optim.SGD(p, lr=0.1, momentum=0.9)),
    "Adam": lambda: train(lambda p: optim.Adam(p, lr=0.01)),
    "compiled": lambda: train(lambda p: optim.Adam(p, lr=0.01), compiled=True),
    "batch norm": lambda: train(lambda p: optim.SGD(p, lr=0.1), normed=True),
    "compiled batch norm": lambda: train(lambda p: optim.SGD(p, lr=0.1), normed=True, compiled=True),
    "accumulated": lambda: train(lambda p: optim.SGD(p, lr=0.1), accumulate=2),
    "shared-out state": lambda: train(lambda p: optim.Adam(p, lr=0.01), shard_state=True),
}

found = {}
for name, run in RUNS.items():
    losses, values = run()
    found[f"{name}/losses"] = np.array(losses)
    found |= {f"{name}/{i}": value for i, value in enumerate(values)}
if parallel.rank() == 0:
    np.savez(sys.argv[1], **found)
