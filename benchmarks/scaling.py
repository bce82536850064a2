"""Measured against predicted: steps of 1, 2 and 4 processes on this machine, and what the cost model makes of them.

python -m benchmarks.scaling ["part of a workload's name"] [steps]

Measured first are the model's numbers: computing, by as many processes beside each other that exchange nothing;
latency, bandwidth and packing of all-reduces between two and four. Then the steps
themselves; then predictions for networks.
The batch of all processes together is the workload's. Give it a machine that does nothing else.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tinygraph.parallel.scaling import ETHERNET_10G, ETHERNET_100G, INFINIBAND_HDR, Network, predict

FOLDER = Path(__file__).parent
NUMBER = r"([0-9.e+-]+)"


def said(count: int, program: str, *arguments: str, **environment: str) -> str:
    """What a program of this folder prints in so many processes."""
    done = subprocess.run(
        [sys.executable, "-m", "tinygraph", "launch", "-n", str(count), str(FOLDER / program), *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def numbers(text: str, pattern: str) -> list[float]:
    found = re.search(pattern.replace("#", NUMBER), text)
    if found is None:
        raise SystemExit(f"not understood: {text}")
    return [float(one) for one in found.groups()]


def main(workload: str = "VGG", steps: str = "40") -> None:
    """Measure and print."""
    pattern = r"latency # s, bandwidth # bytes/s, packing # bytes/s"
    found_here = {count: numbers(said(count, "exchanges.py"), pattern) for count in (2, 4)}
    for count, (latency, bandwidth, packing) in found_here.items():
        print(
            f"exchanges of {count} here: latency {latency * 1e6:.1f} us, bandwidth {bandwidth / 1e9:.2f} GB/s, "
            f"packing {packing / 1e9:.2f} GB/s; {os.cpu_count()} cores"
        )
    print(
        f"{'processes':>9}{'computing':>12}{'predicted':>12}{'measured':>12}{'ratio':>8}{'speed-up':>10}   limit   (ms)"
    )
    alone = 0.0
    for count in (1, 2, 4):
        (computing,) = numbers(
            said(count, "processes.py", workload, steps, APART="1"), r"processes, # ms a step"
        )
        measured, megabytes = numbers(
            said(count, "processes.py", workload, steps), r"processes, # ms a step, .*, # MB of gradients"
        )
        alone = alone or measured
        latency, bandwidth, packing = found_here.get(count, found_here[2])
        found = predict(
            count,
            Network(latency, bandwidth),
            compute=computing / 1e3,  # of so many processes beside each other: how crowded they are is in it
            gradient_bytes=int(megabytes * 1e6),
            backward=0.0,  # cores that compute do not exchange
            small_exchanges=2,  # the mean of the loss, forward and backward
            packing_rate=packing,
        )
        predicted = 1e3 * found.seconds
        print(
            f"{count:>9}{computing:>12.2f}{predicted:>12.2f}{measured:>12.2f}{measured / predicted:>8.2f}"
            f"{alone / measured:>10.2f}   {found.limit}"
        )
    print("\na batch for each process, predicted share of the ideal and what limits:")
    for name, network in (("10G", ETHERNET_10G), ("100G", ETHERNET_100G), ("HDR", INFINIBAND_HDR)):
        several = [
            predict(
                count,
                network,
                compute=alone / 1e3,
                gradient_bytes=int(megabytes * 1e6),
                small_exchanges=2,
                packing_rate=found_here[2][2],
            )
            for count in (8, 32, 128, 1024)
        ]
        print(f"{name:>5}: " + "  ".join(f"{one.efficiency:.0%} {one.limit}" for one in several))


if __name__ == "__main__":
    main(*sys.argv[1:])
