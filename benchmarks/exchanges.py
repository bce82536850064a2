"""How fast the processes of this machine exchange: latency, bandwidth and packing, for the cost model.

As programs exchange: with the comparison before each exchange that names a process which does something else.

tinygraph launch -n 2 benchmarks/exchanges.py
"""

from __future__ import annotations

import os
import time

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "TINYGRAPH_THREADS"):
    os.environ.setdefault(name, "1")

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


def packing() -> float:
    """The bytes a second at which gradients are put into a bucket and taken out again."""
    parts, found = [np.ones(LARGE // 16, np.float32) for _ in range(16)], []
    for _ in range(20):
        start = time.perf_counter()
        joined = np.concatenate(parts)
        ends = np.cumsum([one.size for one in parts])[:-1]
        for one, part in zip(np.split(joined, ends), parts, strict=True):
            np.copyto(part, one)
        found.append(time.perf_counter() - start)
    return 4 * LARGE / float(np.median(found))


n = parallel.size()
messages, share = 2 * (n - 1), 2 * (n - 1) / n  # of a ring
small, large = seconds(SMALL, 200), seconds(LARGE, 20)
if parallel.rank() == 0:
    latency = small / messages
    bandwidth = share * 8 * (LARGE - SMALL) / max(large - small, 1e-9)
    print(
        f"{n} processes: latency {latency:.3e} s, bandwidth {bandwidth:.3e} bytes/s, packing {packing():.3e} bytes/s"
    )
