"""Run in several processes: an eager and a compiled training step, traced; all say what they saw."""

from __future__ import annotations

import json
import sys

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim, parallel

model = parallel.broadcast(nn.Sequential(*(nn.Linear(32, 32) for _ in range(6)), nn.Linear(32, 3)))
optimizer = parallel.data_parallel(optim.SGD(model.parameters(), lr=0.1), bucket_bytes=4_000)
x = np.random.default_rng(parallel.rank()).normal(size=(8, 32)).astype(np.float32)
y = np.arange(8) % 3


def step():
    optimizer.zero_grad()
    loss = parallel.mean(nn.functional.cross_entropy(model(x), y), len(x))
    loss.backward()
    optimizer.step()
    return loss


for name, run in {"eager": step, "compiled": tg.compile(step)}.items():
    for _ in range(2):
        run()
    with parallel.trace(f"{sys.argv[1]}/{name}.json") as found:
        run()
    moved = [
        [one.kind, one.nbytes, one.order, one.begun <= one.sent <= one.asked <= one.done]
        for one in found.exchanges
    ]
    print("seen", json.dumps([name, parallel.rank(), moved]))
    if parallel.rank() == 0 and name == "eager":
        print(found.table())
