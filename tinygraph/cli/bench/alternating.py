"""How every benchmark here measures: candidates in turn, one round after the other, and the median of their ratios.

A ratio within one round survives a machine whose speed changes; absolute times are printed for orientation only.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Candidate = Callable[[], object]
SHORTEST = 5e-3  # seconds that a round of one candidate takes at least, so that a hiccup does not decide it


def measure(candidates: Mapping[str, Candidate], rounds: int = 15) -> dict[str, list[float]]:
    """Seconds of each candidate in each round, after unmeasured calls; short ones are called more often in a round."""
    calls = {name: _calls(run) for name, run in candidates.items()}
    times: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            begin = time.perf_counter()
            for _ in range(calls[name]):
                run()
            times[name].append((time.perf_counter() - begin) / calls[name])
    return times


def _calls(run: Candidate) -> int:
    """How many calls take about `SHORTEST` seconds."""
    run()
    begin = time.perf_counter()
    run()
    return min(1000, max(1, int(SHORTEST / max(time.perf_counter() - begin, 1e-9))))


def ratio(times: Mapping[str, list[float]], one: str, other: str) -> float:
    """The median over rounds of the time of `one` over that of `other`."""
    return statistics.median(a / b for a, b in zip(times[one], times[other], strict=True))


def report(title: str, rows: Mapping[str, Mapping[str, list[float]]], ours: str) -> None:
    """Print a table: for each row our median time and our ratio to every other candidate (below 1: we are faster)."""
    from rich.console import Console
    from rich.table import Table

    others = sorted({name for times in rows.values() for name in times if name != ours})
    table = Table(title=title, title_justify="left")
    for column in ("", f"{ours}, ms", *(f"ratio to {name}" for name in others)):
        table.add_column(column, justify="right" if column else "left")
    for label, times in rows.items():
        ratios = [f"{ratio(times, ours, name):.2f}" if name in times else "-" for name in others]
        table.add_row(label, f"{statistics.median(times[ours]) * 1e3:.2f}", *ratios)
    Console().print(table)
