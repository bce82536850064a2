"""Memory of one training step, compiled, against PyTorch eager: what is alive at once beyond weights and the batch.

Ours is counted by tracemalloc, to which NumPy reports every array: what the compiled step keeps between calls (the
arena of its plan, gradients, copies of the inputs, scratch of generated kernels), and what a call allocates on top.
PyTorch's is the highest sum of its CPU allocator's events during a step that starts without gradients; what its
libraries take past that allocator is not seen.

python -m benchmarks.memory [--only part of a workload's name] [--numpy]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import tracemalloc
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.analysis.units import BYTES
from tinygraph.cli.bench.candidates import data, on_threads, our_model, torch_model, training_step
from tinygraph.cli.bench.command import numpy_kernels
from tinygraph.cli.bench.workloads import WORKLOADS, Workload

SMALLEST = 1024  # bytes: what a call allocates below this is Python's own objects


class Ours(NamedTuple):
    """Bytes of a compiled step."""

    arena: int
    kept: int  # between calls, the arena included
    called: int  # on top of that at the peak of a call, returned outputs left out
    kernels: Counter[str]  # the bytes that steps allocate, by kernel


def ours(workload: Workload) -> Ours:
    """Compile a step, run it, and count."""
    model = our_model(workload)
    x, y = data(workload)
    gc.collect()
    tracemalloc.start()
    try:
        step = tg.compile(training_step(nn, optim, model, workload))
        step(x, y)
        step(x, y)
        gc.collect()
        kept = arrays_traced()
        called = peak_of(lambda: step(x, y)) - step(x, y).nbytes
        kernels: Counter[str] = Counter()
        for one in step.plan.steps:
            if (allocated := peak_of(one.kernel.run)) >= SMALLEST:
                kernels[one.kernel.name] = max(kernels[one.kernel.name], allocated)
        return Ours(step.plan.arena_bytes, kept, called, kernels)
    finally:
        tracemalloc.stop()


def arrays_traced() -> int:
    """Bytes of the arrays that were made since tracing began and are alive."""
    from numpy.lib import tracemalloc_domain

    wanted = tracemalloc.DomainFilter(inclusive=True, domain=tracemalloc_domain)
    traces = tracemalloc.take_snapshot().filter_traces([wanted]).traces
    return sum(trace.size for trace in traces)


def peak_of(run: Callable[[], Any]) -> int:
    """The most bytes alive at once during a call that were not alive before it."""
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    run()
    return tracemalloc.get_traced_memory()[1] - before


def torchs(workload: Workload) -> int:
    """The highest sum of PyTorch's allocations during a step."""
    import torch

    model = torch_model(workload)
    x, y = map(torch.as_tensor, data(workload))
    step = training_step(torch.nn, torch.optim, model, workload)
    step(x, y)
    model.zero_grad()
    return torch_peak(lambda: step(x, y))


def torch_peak(run: Callable[[], Any]) -> int:
    """The highest sum of the CPU allocator's events during a call."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        kept = run()
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    alive = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        alive += event.nbytes()
        highest = max(highest, alive)
    del kept
    return highest


def main() -> None:
    """Print a table, and the kernels that allocate."""
    from rich.console import Console
    from rich.table import Table

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="measure the workloads whose name contains this text")
    parser.add_argument("--numpy", action="store_true", help="compile with NumPy's kernels alone")
    wanted = parser.parse_args()
    table = Table(title="Peak memory of a training step beyond weights and batch", title_justify="left")
    for column in ("", "arena", "kept", "in a call", "PyTorch", "arena / PyTorch", "all / PyTorch"):
        table.add_column(column, justify="right" if column else "left")
    allocating = {}
    with on_threads(1), numpy_kernels() if wanted.numpy else contextlib.nullcontext():
        for workload in (one for one in WORKLOADS if wanted.only.lower() in one.name.lower()):
            mine, theirs = ours(workload), torchs(workload)
            sizes = map(BYTES.text, (mine.arena, mine.kept, mine.called, theirs))
            ratios = (f"{mine.arena / theirs:.2f}", f"{(mine.kept + mine.called) / theirs:.2f}")
            table.add_row(workload.name, *sizes, *ratios)
            allocating[workload.name] = mine.kernels
    console = Console(width=110)
    console.print(table)
    for name, kernels in allocating.items():
        listed = ", ".join(f"{kernel} {BYTES.text(size)}" for kernel, size in kernels.most_common())
        console.print(f"{name}: kernels that allocate: {listed or 'none'}", highlight=False)


if __name__ == "__main__":
    main()
