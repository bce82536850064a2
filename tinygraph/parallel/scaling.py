"""How long a training step takes on many processes, and what limits it: a cost model, see `docs/parallel.md`.

The all-reduce is a ring's (Patarasuk and Yuan, 2009, "Bandwidth optimal all-reduce algorithms for clusters of
workstations") or a tree's, whichever is faster; buckets go off while the backward pass still runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, log2

from tinygraph.errors import SettingError


@dataclass(frozen=True)
class Network:
    """How processes reach each other.

    Attributes:
        latency: seconds until a message begins to arrive.
        bandwidth: bytes a second between two of them.
    """

    latency: float
    bandwidth: float


ETHERNET_10G = Network(30e-6, 1.1e9)
ETHERNET_100G = Network(10e-6, 11e9)
INFINIBAND_HDR = Network(1.5e-6, 23e9)


@dataclass(frozen=True)
class Prediction:
    """A predicted step.

    Attributes:
        seconds: how long it takes.
        compute, exchange, waiting, reading: seconds of arithmetic and packing; of all-reduces of gradients; of these,
            what the backward pass does not hide, and of small exchanges; and what the data take to arrive.
        efficiency: the share of the ideal, in which n processes are n times as fast.
        limit: what takes longest: "compute", "bandwidth", "latency" or "input".
    """

    seconds: float
    compute: float
    exchange: float
    waiting: float
    reading: float
    efficiency: float
    limit: str


def predict(
    processes: int,
    network: Network,
    *,
    compute: float,
    gradient_bytes: int,
    bucket_bytes: int = 1 << 20,
    backward: float = 2 / 3,
    small_exchanges: int = 0,
    packing_rate: float = float("inf"),
    input_bytes: float = 0.0,
    input_rate: float = float("inf"),
    cores: int | None = None,
) -> Prediction:
    """Predict a step in which every process has as many samples as the one that `compute` was measured with.

    Args:
        processes: how many.
        network: how they reach each other.
        compute: seconds of a step of one process alone.
        gradient_bytes: of all gradients together.
        bucket_bytes: gradients are exchanged in pieces of that size.
        backward: the share of the compute during which exchanges are under way; 0 where processes of one machine need
            its cores for both.
        small_exchanges: how many exchanges of a few bytes a step waits for: the mean of the loss and its gradient
            are two, each synchronised batch normalisation four.
        packing_rate: bytes a second at which gradients are put into buckets and taken out; at once by default.
        input_bytes: what a step of one process reads.
        input_rate: bytes a second that storage gives all processes together.
        cores: how many processes run at once where all share one machine; any number by default.

    Raises:
        SettingError: numbers that are not above zero.

    >>> step = predict(8, ETHERNET_10G, compute=0.1, gradient_bytes=100_000_000)
    >>> step.limit, round(step.efficiency, 2)
    ('bandwidth', 0.43)
    """
    if (
        processes < 1
        or not compute > 0
        or gradient_bytes < 0
        or bucket_bytes < 1
        or not 0 <= backward <= 1
        or small_exchanges < 0
        or not packing_rate > 0
    ):
        raise SettingError(
            f"predict: processes={processes}, compute={compute}, gradient_bytes={gradient_bytes}, "
            f"bucket_bytes={bucket_bytes}, backward={backward} must be above zero, the last a share"
        )
    crowded = 1.0 if cores is None else max(processes / cores, 1.0)
    busy = compute * crowded
    buckets = max(ceil(gradient_bytes / bucket_bytes), 1)
    each = gradient_bytes / buckets
    latency, moving = _all_reduce(processes, network, each)
    exchange = buckets * (latency + moving)
    # all but the last bucket can go while the backward pass still runs
    waiting = max(exchange - backward * busy, latency + moving) if processes > 1 else 0.0
    if processes > 1:
        waiting += small_exchanges * _all_reduce(processes, network, 0.0)[0]
        busy += crowded * gradient_bytes / packing_rate
    reading = processes * input_bytes / input_rate
    seconds = max(busy + waiting, reading)
    limits = {"compute": busy, "bandwidth": buckets * moving, "latency": buckets * latency, "input": reading}
    limit = max(limits, key=lambda name: limits[name])
    return Prediction(seconds, busy, exchange, waiting, reading, compute / seconds, limit)


def _all_reduce(processes: int, network: Network, size: float) -> tuple[float, float]:
    """Seconds of latency and of moving bytes in the faster of a ring and a tree."""
    if processes == 1:
        return 0.0, 0.0
    n = processes
    ring = 2 * (n - 1) * network.latency, 2 * (n - 1) / n * size / network.bandwidth
    depth = ceil(log2(n))
    tree = 2 * depth * network.latency, 2 * depth * size / network.bandwidth
    return min(ring, tree, key=sum)
