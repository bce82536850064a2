"""How long each eval takes, eagerly and compiled: the least of some runs, after the first call."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import tinygraph as tg
from benchmarks.gradbench.evals import EVALS

RUNS, SECONDS = 20, 2.0


def least(f: Callable[..., Any], arguments: tuple[Any, ...]) -> float:
    """Seconds of the quickest of some runs."""
    found, end = [], time.perf_counter() + SECONDS
    while len(found) < RUNS and (not found or time.perf_counter() < end):
        start = time.perf_counter()
        f(*arguments)
        found.append(time.perf_counter() - start)
    return min(found)


def main(names: list[str]) -> None:
    for name in names or list(EVALS):
        one = EVALS[name]
        for size in one.sizes:
            arguments = one.inputs(size)
            for asked, f in one.functions.items():
                compiled = tg.compile(f)
                start = time.perf_counter()
                compiled(*arguments)
                first = time.perf_counter() - start
                times = least(f, arguments) if name != "saddle" else float("nan"), least(compiled, arguments)
                print(
                    f"{name:8} {asked:10} {size:6}  eager {times[0] * 1e3:10.3f} ms  compiled {times[1] * 1e3:10.3f} ms"
                    f"  first call {first:6.2f} s"
                )


if __name__ == "__main__":
    main(sys.argv[1:])
