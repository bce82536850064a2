"""GradBench's evals, ours beside PyTorch's and JAX's.

python -m benchmarks.gradbench [evals] [--rounds 5] [--seconds 0.2] [--cpu] [--eager] [--details] [--peers jax]

Each candidate has a process of its own on the same processor, and they are woken in turn. Results are compared first.
A time is the least of all rounds; a ratio is ours to the better one of PyTorch (eager) and JAX (compiled), and that of
an eval is the geometric mean over its functions and sizes. With --eager, "best" is the better one of our two modes.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.gradbench.cases import CASES

PEERS = ("pytorch", "jax")
TOLERANCE = 1e-4  # GradBench's own
LIMIT = 20  # seconds for the first call of a case
SLOW = 1.0  # seconds: what takes longer is measured once


class Row(NamedTuple):
    """What was measured of one case: seconds of a call and of the first one, by candidate, and what went wrong."""

    eval: str
    asked: str
    size: int
    seconds: dict[str, float]
    first: dict[str, float]
    wrong: dict[str, str]

    def ratio(self, candidate: str) -> float:
        """A candidate's time to the better one of the peers; NaN where there is none."""
        names = ("ours", "eager") if candidate == "best" else (candidate,)
        peers, mine = ([self.seconds[one] for one in few if one in self.seconds] for few in (PEERS, names))
        return min(mine) / min(peers) if peers and mine else math.nan


class Worker:
    """A candidate's process."""

    def __init__(self, name: str, flags: Sequence[str]) -> None:
        command = [sys.executable, "-m", "benchmarks.gradbench.worker", name, *flags]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, preexec_fn=_on_one_processor
        )

    def ask(self, **request: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "its process ended"}
        return answer

    def end(self) -> None:
        self._process.kill()
        self._process.wait()


def _on_one_processor() -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def rows(names: Sequence[str], candidates: Sequence[str], wishes: argparse.Namespace) -> Iterator[Row]:
    """Measure case after case."""
    flags = ["--cpu"] if wishes.cpu else []
    workers = {name: Worker(name, flags) for name in candidates}
    try:
        for name in names:
            for asked in CASES[name].asked:
                for size in CASES[name].sizes:
                    yield _row(workers, name, asked, size, wishes)
    finally:
        for one in workers.values():
            one.end()


def _row(workers: dict[str, Worker], name: str, asked: str, size: int, wishes: argparse.Namespace) -> Row:
    answers = {
        candidate: one.ask(eval=name, asked=asked, size=size, limit=LIMIT)
        for candidate, one in workers.items()
    }
    wrong = {candidate: str(one["error"]) for candidate, one in answers.items() if "error" in one}
    right = next(
        (answers[one]["result"] for one in (*PEERS, "ours") if "result" in answers.get(one, {})), None
    )
    for candidate, one in answers.items():
        if "result" in one and not _agree(one["result"], right):
            wrong[candidate] = "another result"
    seconds: dict[str, float] = {}
    for _ in range(wishes.rounds):
        for candidate, worker in workers.items():
            if candidate not in wrong and seconds.get(candidate, 0.0) < SLOW:
                found = worker.ask(seconds=wishes.seconds)["seconds"]
                seconds[candidate] = min(found, seconds.get(candidate, math.inf))
    first = {candidate: one["first"] for candidate, one in answers.items() if "first" in one}
    return Row(name, asked, size, seconds, first, wrong)


def _agree(one: Any, other: Any) -> bool:
    if other is None or [len(part) for part in one] != [len(part) for part in other]:
        return False
    pairs = zip(one, other, strict=True)
    return all(
        np.allclose(mine, right, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True) for mine, right in pairs
    )


def mean(values: Sequence[float]) -> float:
    """The geometric mean of what is known."""
    known = [math.log(one) for one in values if not math.isnan(one)]
    return math.exp(sum(known) / len(known)) if known else math.nan


def report(found: Sequence[Row], candidates: Sequence[str], details: bool) -> str:
    """The table."""
    ours = [one for one in candidates if one not in PEERS]
    ours += ["best"] if len(ours) > 1 else []
    head = f"{'':18}" + "".join(f"{one:>12}" for one in (*candidates, *(f"{one}/best" for one in ours)))
    lines = [head]
    for name in dict.fromkeys(row.eval for row in found):
        mine = [row for row in found if row.eval == name]
        if details:
            lines += [_line(f"  {row.asked} {row.size}", row, candidates, ours) for row in mine]
        times = [mean([row.seconds.get(one, math.nan) for row in mine]) for one in candidates]
        ratios = [mean([row.ratio(one) for row in mine]) for one in ours]
        wrong = sorted({f"{one}: {why}" for row in mine for one, why in row.wrong.items()})
        lines.append(_cells(name, times, ratios) + ("  " + "; ".join(wrong) if wrong else ""))
    total = [mean([row.ratio(one) for row in found]) for one in ours]
    lines.append(f"{'all':18}" + " " * 12 * len(candidates) + "".join(f"{one:12.2f}" for one in total))
    return "\n".join(lines)


def _line(title: str, row: Row, candidates: Sequence[str], ours: Sequence[str]) -> str:
    times = [row.seconds.get(one, math.nan) for one in candidates]
    return _cells(title, times, [row.ratio(one) for one in ours])


def _cells(title: str, times: Sequence[float], ratios: Sequence[float]) -> str:
    return (
        f"{title:18}"
        + "".join(f"{one * 1e6:10.1f}us" for one in times)
        + "".join(f"{one:12.2f}" for one in ratios)
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gradbench", description=__doc__)
    parser.add_argument("evals", nargs="*", help="names; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="that a candidate measures in a round")
    parser.add_argument(
        "--cpu", action="store_true", help="count processor time, on a machine that is shared"
    )
    parser.add_argument("--eager", action="store_true", help="measure ours without tg.compile as well")
    parser.add_argument("--details", action="store_true", help="a line for each function and size")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=PEERS, help="both by default")
    parser.add_argument("--json", type=Path, help="write what was measured")
    wishes = parser.parse_args()
    candidates = ["ours", *(["eager"] if wishes.eager else []), *wishes.peers]
    found = []
    for row in rows(wishes.evals or list(CASES), candidates, wishes):
        found.append(row)
        print(f"{row.eval} {row.asked} {row.size}", file=sys.stderr)
    print(report(found, candidates, wishes.details))
    if wishes.json:
        wishes.json.write_text(json.dumps([row._asdict() for row in found], indent=1))


if __name__ == "__main__":
    main()
