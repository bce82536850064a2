"""The process of one candidate: it makes its step, says what came of the first call, and runs when it is told to.

It is talked to by lines of JSON: what to be, then how often to run. What libraries print goes to the standard error.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time


def main() -> None:
    """Serve the process that started this one, until it closes the line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**found: object) -> None:
        answers.write(json.dumps(found) + "\n")

    wish = json.loads(sys.stdin.readline())
    from tinygraph.cli.bench.candidates import on_threads
    from tinygraph.cli.bench.command import numpy_kernels
    from tinygraph.cli.bench.opponents import OPPONENTS
    from tinygraph.cli.bench.workloads import WORKLOADS, in_batches

    clock = time.process_time if wish["processor_time"] else time.perf_counter
    with on_threads(wish["threads"]), numpy_kernels() if wish["numpy"] else contextlib.nullcontext():
        try:
            workload = in_batches(WORKLOADS[wish["workload"]], wish["batch"])
            step = OPPONENTS[wish["name"]].make(workload, wish["trains"])
            begin = time.perf_counter()
            result = step()
            first = time.perf_counter() - begin
            step()
        except Exception as error:  # noqa: BLE001 - whatever a framework cannot do is said in the table
            answer(error=f"{type(error).__name__}: {error}")
            return
        answer(result=result, first=first)
        for line in sys.stdin:
            times = json.loads(line)["times"]
            step()  # what slept wakes up
            begin = clock()
            for _ in range(times):
                step()
            answer(seconds=(clock() - begin) / times, peak=_peak())


def _peak() -> int:
    """The most memory that this process had, in bytes; 0 where the platform does not say."""
    try:
        import resource
    except ImportError:
        return 0
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else 1024 * most


if __name__ == "__main__":
    main()
