"""Candidates in processes of their own, woken in turn: no framework's threads or memory disturb another's.

A process whose turn it is not waits for a line and takes no time. Results are compared before anything is measured.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from functools import partial
from typing import Any, NamedTuple

from tinygraph.cli.bench.alternating import SHORTEST
from tinygraph.cli.bench.candidates import check_equal
from tinygraph.cli.bench.opponents import OPPONENTS
from tinygraph.cli.bench.workloads import WORKLOADS, Workload

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TINYGRAPH_THREADS")


class Measured(NamedTuple):
    """What came of one candidate of a workload.

    Attributes:
        seconds: of a step, one number a round.
        first: seconds that the first call took.
        peak: the most memory that its process had, in bytes; 0 where that is not known.
        missing: why there are no numbers, or "".
    """

    seconds: list[float] = []  # noqa: RUF012 - the default of a tuple's field is shared, and never written
    first: float = 0.0
    peak: int = 0
    missing: str = ""


class _Process:
    """One candidate's process."""

    def __init__(self, name: str, threads: int, **wish: object) -> None:
        environment = {**os.environ, **OPPONENTS[name].environment, **dict.fromkeys(_THREADS, str(threads))}
        if threads == 1 and sys.platform.startswith("linux"):
            environment["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tinygraph.cli.bench.worker"],
            env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        self.begun = self.ask(name=name, threads=threads, **wish)

    def ask(self, **wish: object) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(wish) + "\n")
            self._process.stdin.flush()
            found: dict[str, Any] = json.loads(
                self._process.stdout.readline() or '{"error": "its process ended"}'
            )
        except OSError as error:
            return {"error": str(error)}
        return found

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()


def measure_apart(
    workload: Workload,
    names: Iterable[str],
    *,
    trains: bool = True,
    threads: int = 1,
    rounds: int = 15,
    numpy: bool = False,
    batch: int = 0,
    processor_time: bool = False,
) -> dict[str, Measured]:
    """Each candidate in its own process, in turn, one round after the other.

    Args:
        workload: one of `WORKLOADS`.
        names: of candidates.
        trains: training steps, or else inference.
        threads: how many each may use.
        rounds: how often each runs.
        numpy: compile with NumPy's kernels alone.
        batch: examples at a time, if not the workload's own.
        processor_time: measure the time of processors, which other programs do not lengthen.

    Raises:
        AssertionError: the candidates do not compute the same.
    """
    found: dict[str, Measured] = {}
    running: dict[str, _Process] = {}
    try:
        for name in names:
            opponent = OPPONENTS[name]
            if importlib.util.find_spec(opponent.package) is None:
                found[name] = Measured(missing=f"{opponent.package} is not installed")
            elif trains and not opponent.trains:
                found[name] = Measured(missing="it does not train")
            else:
                process = _Process(
                    name, threads, workload=WORKLOADS.index(workload), trains=trains,
                    numpy=numpy, batch=batch, processor_time=processor_time,
                )  # fmt: skip
                if "error" in process.begun:
                    process.close()
                    found[name] = Measured(missing=str(process.begun["error"]).splitlines()[0])
                else:
                    running[name] = process
        check_equal(
            workload,
            {name: partial(process.begun.__getitem__, "result") for name, process in running.items()},
        )
        times = {name: _times(process) for name, process in running.items()}
        for name, process in running.items():
            found[name] = Measured([], process.begun["first"])
        for _ in range(rounds):
            for name, process in running.items():
                time.sleep(REST)
                answer = process.ask(times=times[name])
                one = found[name]
                found[name] = one._replace(seconds=[*one.seconds, answer["seconds"]], peak=answer["peak"])
    finally:
        for process in running.values():
            process.close()
    return found


# Seconds between two candidates: threads of OpenMP and BLAS turn on the spot for up to a fifth of a second after their
# work, and whoever is measured meanwhile lacks a processor.
REST = 0.3


def _times(process: _Process) -> int:
    """How many steps take about as long as a round shall take at least."""
    seconds = process.ask(times=1)["seconds"]
    return min(1000, max(1, int(SHORTEST / max(seconds, 1e-9))))
