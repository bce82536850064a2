"""How fast the processes of this machine exchange: latency and bandwidth of an all-reduce, for the cost model.

tinygraph launch -n 2 benchmarks/exchanges.py
"""

from __future__ import annotations

import os
import time

os.environ["TINYGRAPH_CHECK_COLLECTIVES"] = "0"  # the comparison before each exchange is a message of its own

import numpy as np

from tinygraph import parallel

SMALL, LARGE = 1, 1 << 20  # numbers of 8 bytes


def seconds(count: int, times: int) -> float:
    """The median of so many all-reduces."""
    x, found = np.ones(count), []
    for _ in range(times + 3):
        parallel.barrier()
        start = time.perf_counter()
        parallel.all_reduce(x)
        found.append(time.perf_counter() - start)
    return float(np.median(found[3:]))


n = parallel.size()
messages, share = 2 * (n - 1), 2 * (n - 1) / n  # of a ring
small, large = seconds(SMALL, 200), seconds(LARGE, 20)
if parallel.rank() == 0:
    latency = small / messages
    bandwidth = share * 8 * (LARGE - SMALL) / max(large - small, 1e-9)
    print(f"{n} processes: latency {latency:.3e} s, bandwidth {bandwidth:.3e} bytes/s")
