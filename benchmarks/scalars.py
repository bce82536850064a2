"""A chain of scalar nodes: time per node to build, differentiate and free it, against micrograd where installed.

python -m benchmarks.scalars
"""

from __future__ import annotations

import importlib.util
import statistics
import sys
import threading
import time

import tinygraph as tg
from tinygraph.cli.bench.alternating import measure, ratio


def ours(count: int) -> float:
    """Build, differentiate and free a chain; returns the gradient."""
    x = tg.tensor(0.5, requires_grad=True)
    y = x
    for _ in range(count // 2):
        y = y * 0.999 + x
    y.backward()
    assert x.grad is not None
    gradient: float = x.grad.item()
    return gradient


def micrograd(count: int) -> float:
    from micrograd.engine import Value

    x = Value(0.5)
    y = x
    for _ in range(count // 2):
        y = y * 0.999 + x
    y.backward()
    gradient: float = x.grad
    return gradient


def main() -> None:
    per_node = {}
    for count in (10**4, 10**5, 10**6):
        times = []
        for _ in range(3):
            begin = time.perf_counter()
            ours(count)
            times.append((time.perf_counter() - begin) / count)
        per_node[count] = statistics.median(times)
        print(f"tinygraph, {count:>9,} nodes: {per_node[count] * 1e6:.2f} us a node")
    print(f"10^6 against 10^4 nodes, per node: {per_node[10**6] / per_node[10**4]:.2f}")
    if importlib.util.find_spec("micrograd") is None:
        print("micrograd is not installed")
        return
    for count in (500, 10**4):
        assert abs(ours(count) - micrograd(count)) < 1e-9 * abs(ours(count))
        repeat = 10**4 // count
        times = measure(
            {
                "tinygraph": lambda: [ours(count) for _ in range(repeat)],  # noqa: B023 - used at once
                "micrograd": lambda: [micrograd(count) for _ in range(repeat)],  # noqa: B023
            }
        )
        print(f"{count:,} nodes, time over micrograd's: {ratio(times, 'tinygraph', 'micrograd'):.2f}")


if __name__ == "__main__":
    # micrograd recurses once a node, so both run in a thread with room for it.
    sys.setrecursionlimit(10**6)
    threading.stack_size(512 * 1024 * 1024)
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
