"""This tree against an earlier one: the six workloads, scalar nodes, drawing and import, in turn, time and memory.

python -m benchmarks.paired COMMIT [--rounds 15] [--only part of a row's name] [--most 1.02]

Each tree has a process of its own, woken in turn; a ratio is the median over rounds, so that a machine whose speed
changes decides nothing. Memory is the most that a step allocates, counted by tracemalloc, arena and all. The exit
status says whether every ratio is within the bound. What is run uses names that both trees have.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TINYGRAPH_THREADS")

# Run in either tree: reads names of rows, answers each with seconds of a call, or with bytes.
WORKER = r"""
import gc, json, sys, time, tracemalloc
import numpy as np
import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.cli.bench.candidates import data, our_model, training_step
from tinygraph.cli.bench.workloads import WORKLOADS

def step_of(name, compiled):
    workload = next(one for one in WORKLOADS if one.name == name)
    x, y = data(workload)
    step = training_step(nn, optim, our_model(workload), workload)
    step = tg.compile(step) if compiled else step
    return lambda: step(x, y).item()

def chain():
    x = tg.tensor(0.5, requires_grad=True)
    y = x
    for _ in range(2000):
        y = y * 0.999 + x
    y.backward()

def drawn():
    x = tg.tensor(np.ones((2, 3, 6, 6)), requires_grad=True)
    kernel = tg.tensor(np.ones((4, 3, 3, 3)), requires_grad=True)
    loss = np.sum(tg.ops.convolution(x, kernel, padding=1) ** 2)
    return lambda: tg.draw(loss).source

def made(row):
    kind, _, name = row.partition(": ")
    if kind == "scalar nodes":
        return chain
    return drawn() if kind == "drawing" else step_of(name, kind == "compiled")

rows = {}
for line in sys.stdin:
    wish = json.loads(line)
    if wish["row"] not in rows:
        run = rows[wish["row"]] = made(wish["row"])
        run(), run()
        gc.collect()
        gc.freeze()  # collections walk what this row makes, not what the rows before it left alive
    run = rows[wish["row"]]
    if wish.get("memory"):
        rows.clear()
        gc.collect()  # Python's lists of freed objects, too: what comes out of them is not counted
        tracemalloc.start()
        fresh = made(wish["row"])
        fresh(), fresh()
        answer = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    else:
        begin, calls = time.perf_counter(), 0
        while not calls or time.perf_counter() - begin < 0.05:
            run()
            calls += 1
        answer = (time.perf_counter() - begin) / calls
    print(json.dumps(answer), flush=True)
"""


class Tree:
    """A process that runs rows on one tree."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.environment = {
            **os.environ,
            **dict.fromkeys(THREADS, "1"),
            "PYTHONPATH": os.pathsep.join(map(str, (folder, folder / "ops"))),
            "PYTHONPYCACHEPREFIX": str(scratch / "modules"),
            "TINYGRAPH_CACHE_DIR": str(scratch / "kernels"),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER], env=self.environment, cwd=scratch, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, row: str, memory: bool = False) -> float:
        if row == "import":
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", "import tinygraph"], env=self.environment, check=True)
            return time.perf_counter() - begin
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"row": row, "memory": memory}) + "\n")
        self.process.stdin.flush()
        return float(json.loads(self.process.stdout.readline()))


def rows() -> list[str]:
    from tinygraph.cli.bench.workloads import WORKLOADS

    steps = [f"{kind}: {one.name}" for one in WORKLOADS for kind in ("compiled", "eager")]
    return [*steps, "scalar nodes", "drawing", "import"]


def unpacked(commit: str, into: Path) -> Path:
    """The files of a commit."""
    packed = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(into, filter="data")
    return into


def compare(before: Tree, now: Tree, row: str, rounds: int) -> dict[str, Any]:
    """Medians of the present over the former, of time and of memory (0 where it is not counted)."""
    for one in (before, now):
        one.ask(row)
    pairs = [(before.ask(row), now.ask(row)) for _ in range(rounds)]
    counted = row.startswith(("compiled", "eager"))
    old, new = (one.ask(row, memory=True) for one in (before, now)) if counted else (0.0, 0.0)
    return {
        "seconds": statistics.median(pair[1] for pair in pairs),
        "time": statistics.median(b / a for a, b in pairs),
        "memory": new / old if old else 0.0,
    }


def main() -> int:
    """Print a row for each thing that is compared; 1 if a ratio is beyond the bound."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("commit")
    asked.add_argument("--rounds", type=int, default=15)
    asked.add_argument("--only", default="")
    asked.add_argument("--most", type=float, default=1.02)
    given = asked.parse_args()
    beyond = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as running:
        scratch = Path(folder)
        (scratch / "a").mkdir()
        (scratch / "b").mkdir()
        before = Tree(unpacked(given.commit, scratch / "before"), scratch / "a")
        now = Tree(ROOT, scratch / "b")
        for one in (before, now):
            running.callback(one.process.communicate)
            running.callback(one.process.kill)
        print(f"{'':34s} {'ms now':>10s} {'time':>7s} {'memory':>7s}   (ratios to {given.commit})")
        for row in rows():
            if given.only not in row:
                continue
            found = compare(before, now, row, given.rounds)
            memory = f"{found['memory']:7.3f}" if found["memory"] else "      -"
            print(f"{row:34s} {found['seconds'] * 1e3:10.3f} {found['time']:7.3f} {memory}", flush=True)
            beyond += max(found["time"], found["memory"]) > given.most
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
