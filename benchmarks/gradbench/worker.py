"""One candidate in a process of its own: prepares evals, answers with some of their results, and measures when asked.

python -m benchmarks.gradbench.worker ours | eager | pytorch | jax [--cpu]

Reads a line of JSON for each request and writes one in answer.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TINYGRAPH_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np

from benchmarks.gradbench.cases import CASES

SAMPLED = 200  # elements of each result that are compared
BATCH = 0.005  # seconds that a measured batch of calls takes at least

Call = Callable[[], Any]


def in_tinygraph(name: str, asked: str, size: int, compiled: bool) -> Call:
    import tinygraph as tg
    from benchmarks.gradbench.evals import EVALS

    tg.set_threads(1)
    arrays, rest = parted(name, size)
    f = EVALS[name][asked]

    def function(*given: Any) -> Any:
        return f(*given, *rest)

    called = tg.compile(function) if compiled else function
    return lambda: called(*arrays)


def in_jax(name: str, asked: str, size: int) -> Call:
    from benchmarks.gradbench.in_jax import EVALS, jax

    arrays, rest = parted(name, size)
    f = EVALS[name][asked]
    function = jax.jit(lambda *given: f(*given, *rest))
    there = [jax.numpy.asarray(one) for one in arrays]
    return lambda: jax.block_until_ready(function(*there))


def in_pytorch(name: str, asked: str, size: int) -> Call:
    from benchmarks.gradbench.in_pytorch import EVALS, torch

    arrays, rest = parted(name, size)
    there = [torch.as_tensor(one) for one in arrays]
    rest = [
        type(one)(*(torch.as_tensor(x) if isinstance(x, np.ndarray) else x for x in one))
        if isinstance(one, tuple)
        else one
        for one in rest
    ]
    return lambda: EVALS[name][asked](*there, *rest)


def parted(name: str, size: int) -> tuple[list[Any], list[Any]]:
    """An eval's arrays, and its settings behind them."""
    inputs = CASES[name].inputs(size)
    count = sum(isinstance(one, np.ndarray | np.generic) for one in inputs)
    return list(inputs[:count]), list(inputs[count:])


CANDIDATES: dict[str, Callable[[str, str, int], Call]] = {
    "ours": lambda *case: in_tinygraph(*case, compiled=True),
    "eager": lambda *case: in_tinygraph(*case, compiled=False),
    "pytorch": in_pytorch,
    "jax": in_jax,
}


def some_of(result: Any) -> list[list[float]]:
    """Elements spread over each result."""
    found = []
    for one in result if isinstance(result, tuple | list) else (result,):
        array = np.asarray(one.detach() if hasattr(one, "detach") else one, float).reshape(-1)
        found.append(array[np.linspace(0, len(array) - 1, min(SAMPLED, len(array))).astype(int)].tolist())
    return found


def measured(call: Call, seconds: float, clock: Callable[[], float]) -> float:
    """Seconds of a call: the least mean of some batches."""
    count, best, end = 1, float("inf"), time.perf_counter() + seconds
    while True:
        start = clock()
        for _ in range(count):
            call()
        took = clock() - start
        best = min(best, took / count)
        if time.perf_counter() > end:
            return best
        if took < BATCH:
            count = int(count * min(10.0, 1.5 * BATCH / max(took, 1e-7))) + 1


def main(candidate: str, *flags: str) -> None:
    clock = time.process_time if "--cpu" in flags else time.perf_counter
    call: Call | None = None
    for line in sys.stdin:
        request = json.loads(line)
        answer: dict[str, Any] = {}
        signal.alarm(int(request.get("limit", 0)))
        try:
            if "eval" in request:
                start = clock()
                call = CANDIDATES[candidate](request["eval"], request["asked"], request["size"])
                answer["result"] = some_of(call())
                answer["first"] = clock() - start
            else:
                assert call is not None
                answer["seconds"] = measured(call, request["seconds"], clock)
        except Exception as error:  # noqa: BLE001 - whatever a candidate raises is its answer
            answer["error"] = f"{type(error).__name__}: {error}"[:300]
        finally:
            signal.alarm(0)
        print(json.dumps(answer), flush=True)


def _too_long(*_: object) -> None:
    raise TimeoutError("it took too long")


if __name__ == "__main__":
    signal.signal(signal.SIGALRM, _too_long)
    main(*sys.argv[1:])
