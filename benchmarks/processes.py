"""A workload on several processes: samples a second, and where a step's time goes.

tinygraph launch -n 2 benchmarks/processes.py ["part of a workload's name"] [steps]

With APART=1 in the environment the processes run the same steps beside each other and exchange nothing, which is what
their computing costs on one machine.

The batch of all processes together stays the workload's, so the loss printed at the end is the same for any number of
them. Started alone it is what the others are compared with.
"""

from __future__ import annotations

import os
import sys
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TINYGRAPH_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np

import tinygraph as tg
from tinygraph import nn, optim, parallel
from tinygraph.cli.bench.candidates import data, our_model
from tinygraph.cli.bench.workloads import WORKLOADS

wanted, steps = (sys.argv[1:] + ["VGG", "40"][len(sys.argv) - 1 :])[:2]
workload = next(one for one in WORKLOADS if wanted in one.name)
tg.set_threads(1)
model = our_model(workload)
optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
apart = os.environ.get("APART") == "1"
optimizer = optimizer if apart else parallel.data_parallel(optimizer)
x, y = (np.array_split(part, parallel.size())[parallel.rank()] for part in data(workload))


@tg.compile
def step(x, y):
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(x), y)
    loss = loss if apart else parallel.mean(loss, len(x))
    loss.backward()
    optimizer.step()
    return loss


for _ in range(3):
    step(x, y)
times, busy = [], []
for _ in range(int(steps)):
    parallel.barrier()
    start, worked = time.perf_counter(), time.process_time()
    loss = step(x, y).item()
    times.append(time.perf_counter() - start)
    busy.append(time.process_time() - worked)
if parallel.rank() == 0:
    median, worked = float(np.median(times)), float(np.median(busy))
    size = sum(p.size for p in model.parameters()) * 4
    print(
        f"{workload.name}: {parallel.size()} processes, {median * 1e3:.2f} ms a step, loss {loss:.6f}, "
        f"{size / 1e6:.2f} MB of gradients, {worked * 1e3:.2f} ms of CPU time a step"
    )
