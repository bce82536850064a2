"""The trace of a training step: exchanges of gradients are begun long before the program asks for them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tinygraph import parallel
from tinygraph.core.process_group import processes


def test_alone_everything_is_noted_and_the_program_is_as_before(tmp_path):
    before = processes()
    with parallel.trace(tmp_path / "trace.json") as found:
        assert parallel.all_reduce(np.ones(3)).tolist() == [1.0, 1.0, 1.0]
        parallel.barrier()
        pending = processes().start_all_reduce(np.ones(4, np.float32), "mean")
        assert pending.wait().tolist() == [1.0] * 4
    assert processes() is before
    assert [(one.kind, one.nbytes) for one in found.exchanges] == [
        ("all_reduce", 24),
        ("barrier", 0),
        ("all_reduce", 16),
    ]
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    slices = [one for one in events if one["ph"] == "X"]
    assert sum(one["dur"] for one in slices) == pytest.approx(1e6 * found.seconds)  # no time is counted twice
    assert {"computing"} <= {one["name"] for one in slices}
    assert "rank 0" in found.table()


def test_exchanges_run_beside_the_backward_pass(ranks, tmp_path):
    said = ranks("program_trace.py", 2, tmp_path)
    seen = [json.loads(line.removeprefix("seen ")) for line in said.splitlines() if line.startswith("seen ")]
    assert sorted((name, rank) for name, rank, _ in seen) == [
        (n, r) for n in ("compiled", "eager") for r in (0, 1)
    ]
    for name, rank, moved in seen:
        buckets = [order for kind, nbytes, order, _ in moved if kind == "all_reduce" and nbytes > 100]
        assert len(buckets) == 6, (
            name,
            moved,
        )  # of 4,224 bytes, a layer each, and the last layer's with one before
        assert all(right for *_, right in moved)
        # asked for only when all six have been begun, behind the whole backward pass
        assert min(buckets) >= 6, (name, rank, moved)
    for name in ("eager", "compiled"):
        events = json.loads((tmp_path / f"{name}.json").read_text())["traceEvents"]
        for rank in (0, 1):
            own = [one for one in events if one["pid"] == rank]
            begun = {one["id"]: one["ts"] for one in own if one["ph"] == "b" and one["args"]["bytes"] > 100}
            over = {one["id"]: one["ts"] for one in own if one["ph"] == "e"}
            computing = [one for one in own if one["name"] == "computing"]
            beside = [
                one
                for one in computing
                if any(begun[key] <= one["ts"] and one["ts"] + one["dur"] <= over[key] for key in begun)
            ]
            assert len(beside) >= 5, (name, rank)  # the arithmetic between one bucket and the next
