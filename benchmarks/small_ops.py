"""Small recorded ops, of ten elements and with their backward pass, against autograd and PyTorch where installed.

python -m benchmarks.small_ops [--rounds 15] [--only part of a row's name]

Each candidate has a process of its own, woken in turn, and answers with its processor time: a program of a hundred ops
is run forwards and backwards. A ratio is the median over rounds. The gradients are compared first.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
from typing import Any

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TINYGRAPH_THREADS")
COUNT = 100  # ops of a program
CANDIDATES = {"tinygraph": "tinygraph", "autograd": "autograd", "PyTorch": "torch"}
ROWS = ("sin", "add", "multiply", "matmul", "index", "indices")

# Run by each candidate: reads names of rows, answers each with the gradient or with seconds for one op.
WORKER = r"""
import json, sys, time
import numpy

name, count = sys.argv[1], int(sys.argv[2])
start = numpy.linspace(0.1, 0.9, 10)
matrix = numpy.linspace(-0.3, 0.3, 100).reshape(10, 10)
places = numpy.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 8])

if name == "tinygraph":
    import tinygraph as tg
    np = numpy
    constant = lambda array: array
    def gradient(program):
        x = tg.tensor(start, requires_grad=True)
        program(x).sum().backward()
        return x.grad.numpy()
elif name == "autograd":
    import autograd
    import autograd.numpy as np
    constant = lambda array: array
    def gradient(program):
        return autograd.grad(lambda x: np.sum(program(x)))(start)
else:
    import torch
    torch.set_num_threads(1)
    np = torch
    constant = torch.as_tensor
    def gradient(program):
        x = torch.tensor(start, requires_grad=True)
        program(x).sum().backward()
        return x.grad.numpy()

M, I, C = constant(matrix), constant(places), constant(start)

def repeated(step):
    def program(x):
        y = x
        for _ in range(count):
            y = step(y, x)
        return y
    return lambda: gradient(program)

rows = {
    "sin": repeated(lambda y, x: np.sin(y)),
    "add": repeated(lambda y, x: y + x),
    "multiply": repeated(lambda y, x: y * C),
    "matmul": repeated(lambda y, x: M @ y),
    "index": repeated(lambda y, x: y[:]),
    "indices": repeated(lambda y, x: y[I]),
}
for line in sys.stdin:
    wish = json.loads(line)
    run = rows[wish["row"]]
    if wish.get("check"):
        run()
        answer = numpy.asarray(run()).tolist()
    else:
        begin, calls = time.process_time(), 0
        while not calls or time.process_time() - begin < 0.03:
            run()
            calls += 1
        answer = (time.process_time() - begin) / calls / count
    print(json.dumps(answer), flush=True)
"""


class Candidate:
    """A process that runs rows with one library."""

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, name, str(COUNT)],
            env={**os.environ, **dict.fromkeys(THREADS, "1")},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, row: str, check: bool = False) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"row": row, "check": check}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def main() -> None:
    """Print a row for each kind of op."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rounds", type=int, default=15)
    asked.add_argument("--only", default="")
    given = asked.parse_args()
    names = [name for name, module in CANDIDATES.items() if importlib.util.find_spec(module) is not None]
    running = {name: Candidate(name) for name in names}
    others = names[1:]
    print(
        f"{'us for an op':14s}" + "".join(f"{name:>12s}" for name in names + [f"/ {one}" for one in others])
    )
    for row in ROWS:
        if given.only not in row:
            continue
        gradients = [running[name].ask(row, check=True) for name in names]
        for one in gradients[1:]:
            assert all(abs(a - b) <= 1e-9 * max(1, abs(b)) for a, b in zip(gradients[0], one, strict=True)), (
                row
            )
        rounds = [{name: running[name].ask(row) for name in names} for _ in range(given.rounds)]
        middle = [statistics.median(one[name] for one in rounds) * 1e6 for name in names]
        ratios = [statistics.median(one[names[0]] / one[name] for one in rounds) for name in others]
        print(f"{row:14s}" + "".join(f"{number:12.2f}" for number in middle + ratios), flush=True)
    for candidate in running.values():
        candidate.process.kill()


if __name__ == "__main__":
    main()
