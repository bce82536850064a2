"""The command `tinygraph bench`: whole training steps, or inference, against the frameworks that are installed.

Each candidate has a process of its own and runs in turn with the others; what they compute is compared first.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from tinygraph.cli.bench.opponents import OPPONENTS
from tinygraph.cli.bench.processes import Measured, measure_apart
from tinygraph.cli.bench.reporting import BEGIN, END, besides, chart, has_marks, markdown, tables, write_into
from tinygraph.cli.bench.workloads import WORKLOADS, Workload, in_batches
from tinygraph.cli.terminal import fail, say


def bench(
    *,
    only: Annotated[str, Parameter(name=("--only", "-o"))] = "",
    rounds: int = 15,
    numpy: Annotated[bool, Parameter(negative="")] = False,
    threads: int = 1,
    inference: Annotated[bool, Parameter(negative="")] = False,
    against: str = "",
    chart_file: Annotated[Path | None, Parameter(name="--chart")] = None,
    record: Path | None = None,
    as_markdown: Annotated[bool, Parameter(name="--markdown", negative="")] = False,
    wide: Annotated[bool, Parameter(negative="")] = False,
    into: Path | None = None,
    batch: int = 0,
    processor_time: Annotated[bool, Parameter(negative="")] = False,
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
        How many threads every candidate may use; 0: as many as there are processors.
    inference
        Measure forward passes instead, without gradients.
    against
        Measure only the candidates whose names contain one of these texts, separated by commas, and the compiled one.
    chart_file
        Draw the ratios into this file (.svg, .png or .pdf; needs the extra `plot`).
    record
        Write all that was measured to this file, as JSON.
    as_markdown
        Print the table of ratios as Markdown.
    wide
        Measure training and inference, each on one thread and on all: about a quarter of an hour.
    into
        Write tables as Markdown into this file, between its marks `<!-- tinygraph bench: begin -->` and `... end -->`.
    batch
        Examples at a time, for example 1; 0: as many as each workload says.
    processor_time
        Measure the time of processors, which other programs do not lengthen; of several threads it is the sum.
    """
    for name, value, least, also in (
        ("threads", threads, 0, ", or 0 for all processors"),
        ("batch", batch, 0, ", or 0 for each workload's own"),
        ("rounds", rounds, 1, ""),
    ):
        if value < least:
            return fail(f"--{name} is {value}; it must be at least 1{also}")
    chosen = [workload for workload in WORKLOADS if only.lower() in workload.name.lower()]
    if not chosen:
        return fail(f"no workload is called {only!r}; there are: {'; '.join(one.name for one in WORKLOADS)}")
    wanted = [part.strip().lower() for part in against.split(",")]
    names = [name for name in OPPONENTS if name == "compiled" or any(part in name for part in wanted)]
    if len(names) < 2:
        return fail(f"no candidate is called {against!r}; there are: {', '.join(OPPONENTS)}")
    if into is not None and not has_marks(into):
        return fail(f"{into} has no place for tables: write {BEGIN} and {END} on lines of their own")
    ways = [(not inference, threads or _processors())]
    if wide:
        ways = [(trains, count) for trains in (True, False) for count in sorted({1, _processors()})]
    say(_machine())
    runs: dict[str, dict[str, Mapping[str, Measured]]] = {}
    for trains, count in ways:
        title = _title(trains, count, numpy)
        measure = partial(
            measure_apart, names=names, trains=trains, threads=count, rounds=rounds, numpy=numpy,
            batch=batch, processor_time=processor_time,
        )  # fmt: skip
        found = runs[title] = _one_by_one(title, chosen, batch, measure)
        _show(title, found, names, as_markdown, chart_file, f" {len(runs)}" * wide)
    _write(record, into, runs, names, rounds)
    return 0


def _one_by_one(
    title: str, chosen: Sequence[Workload], batch: int, measure: Callable[[Workload], dict[str, Measured]]
) -> dict[str, Mapping[str, Measured]]:
    """What came of each workload; each takes a minute or more."""
    found: dict[str, Mapping[str, Measured]] = {}
    for i, workload in enumerate(chosen):
        label = in_batches(workload, batch).name
        say(f"{title}, {i + 1} of {len(chosen)}: {label}")
        found[label] = measure(workload)
    return found


def _show(
    title: str,
    found: Mapping[str, Mapping[str, Measured]],
    names: Sequence[str],
    marked: bool,
    drawing: Path | None,
    number: str,
) -> None:
    """Print what was measured, perhaps as Markdown, and draw it into a file if there is one."""
    if marked:
        print(markdown(found, names))
    else:
        tables(f"{title}: time of tinygraph's compiled step, below 1 it takes less", found, names)
    if drawing is not None:
        place = drawing.with_stem(drawing.stem + number)
        chart(f"{title}, time of tinygraph's compiled step / time of", _machine(), found, names, place)


def _page(runs: Mapping[str, Mapping[str, Mapping[str, Measured]]], names: Sequence[str], rounds: int) -> str:
    """All tables of ratios, then all of first calls and memory."""
    parts = [f"**{title}**, {rounds} rounds\n\n{markdown(found, names)}" for title, found in runs.items()]
    parts += [f"{title}:\n\n{besides(found, names)}" for title, found in runs.items()]
    return "\n\n".join([f"{_machine()}.", *parts])


def _write(
    record: Path | None,
    into: Path | None,
    runs: Mapping[str, Mapping[str, Mapping[str, Measured]]],
    names: Sequence[str],
    rounds: int,
) -> None:
    """Write what was measured into the files that were asked for."""
    if record is not None:
        _record(record, runs)
    if into is not None:
        write_into(into, _page(runs, names, rounds))


def _record(path: Path, runs: Mapping[str, Mapping[str, Mapping[str, Measured]]]) -> None:
    rows = {
        title: {label: {name: one._asdict() for name, one in row.items()} for label, row in found.items()}
        for title, found in runs.items()
    }
    path.write_text(json.dumps({"machine": _machine(), "runs": rows}, indent=1))


def _title(trains: bool, threads: int, numpy: bool) -> str:
    counted = "one thread" if threads == 1 else f"{threads} threads"
    return (
        f"{'Training steps' if trains else 'Inference'}, {counted}{', NumPy kernels alone' if numpy else ''}"
    )


def _machine() -> str:
    """Processor and versions, in one sentence."""
    import numpy as np

    versions = []
    for package in ("llvmlite", *dict.fromkeys(one.package for one in OPPONENTS.values())):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    return (
        f"Python {platform.python_version()}, NumPy {np.__version__}, {', '.join(versions)}; "
        f"{os.cpu_count()} processors, {_processor()}"
    )


def _processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


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
