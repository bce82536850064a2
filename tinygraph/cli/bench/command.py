"""The command `tinygraph bench`: whole training steps, eager and compiled, against PyTorch where it is installed.

One process, one thread unless told otherwise, candidates in turn; losses are compared before anything is measured.
"""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Iterator
from typing import Annotated

from cyclopts import Parameter

from tinygraph.cli.bench.alternating import measure, report
from tinygraph.cli.bench.candidates import candidates, check_equal, on_threads
from tinygraph.cli.bench.workloads import WORKLOADS
from tinygraph.cli.terminal import fail, say


def bench(
    only: Annotated[str, Parameter(name=("--only", "-o"))] = "",
    rounds: int = 15,
    numpy: Annotated[bool, Parameter(negative="")] = False,
    threads: int = 1,
) -> int:
    """Measure training steps (forward, loss, backward, SGD) on this machine.

    Parameters
    ----------
    only
        Measure the workloads whose name contains this text.
    rounds
        How often every candidate runs; medians of the ratios are shown.
    numpy
        Compile with NumPy's kernels alone, as where llvmlite is not installed.
    threads
        How many threads every candidate may use.
    """
    if threads < 1:
        return fail(f"--threads is {threads}; it must be at least 1")
    import numpy as np

    chosen = [workload for workload in WORKLOADS if only.lower() in workload.name.lower()]
    if not chosen:
        return fail(f"no workload is called {only!r}; there are: {'; '.join(one.name for one in WORKLOADS)}")
    counted = "one thread" if threads == 1 else f"{threads} threads"
    say(f"Python {platform.python_version()}, NumPy {np.__version__}, {counted}, {platform.machine()}")
    with on_threads(threads), numpy_kernels() if numpy else contextlib.nullcontext():
        rows = {}
        for workload in chosen:
            steps = candidates(workload)
            check_equal(workload, steps)
            rows[workload.name] = measure(steps, rounds)
    kernels = ", NumPy kernels alone" if numpy else ""
    report(
        f"Training steps{kernels}; a ratio below 1 means that the compiled step is faster", rows, "compiled"
    )
    return 0


@contextlib.contextmanager
def numpy_kernels() -> Iterator[None]:
    """Within it llvmlite cannot be found, so that plans are made of NumPy kernels."""
    absent = object()
    before = sys.modules.get("llvmlite", absent)
    sys.modules["llvmlite"] = None  # type: ignore[assignment]  # how Python marks a module that cannot be imported
    try:
        yield
    finally:
        del sys.modules["llvmlite"]
        if before is not absent:
            sys.modules["llvmlite"] = before  # type: ignore[assignment]
