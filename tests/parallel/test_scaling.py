"""The cost model against its formulas by hand, and its limits."""

from __future__ import annotations

import pytest

from tinygraph.errors import SettingError
from tinygraph.parallel.scaling import Network, predict


def test_a_ring_by_hand():
    # 4 processes, one bucket of 8 MB at 1 GB/s and 10 us: 2 * 3 messages, 2 * 3/4 of the bytes; nothing hides it
    step = predict(4, Network(1e-5, 1e9), compute=0.1, gradient_bytes=8_000_000, bucket_bytes=8_000_000)
    assert step.exchange == pytest.approx(6e-5 + 1.5 * 8e-3)
    assert step.waiting == pytest.approx(6e-5 + 1.5 * 8e-3)  # the last bucket is always waited for
    assert step.seconds == pytest.approx(0.1 + 0.01206)
    assert step.efficiency == pytest.approx(0.1 / 0.11206)
    assert step.limit == "compute"
    # in eight buckets seven of them are hidden
    eight = predict(4, Network(1e-5, 1e9), compute=0.1, gradient_bytes=8_000_000, bucket_bytes=1_000_000)
    assert eight.waiting == pytest.approx(6e-5 + 1.5e-3)


def test_a_tree_where_messages_are_slow():
    # 1,024 processes, 8 bytes at 1 ms: 2 * 10 messages deep, not 2,046 around the ring
    step = predict(1024, Network(1e-3, 1e9), compute=0.001, gradient_bytes=8)
    assert step.exchange == pytest.approx(20e-3, rel=1e-4)
    assert step.limit == "latency"


def test_packing_and_small_exchanges_by_hand():
    # 2 processes of one machine: 4 MB packed at 2 GB/s, 2 * 1/2 of them sent at 1 GB/s, two exchanges of 2 messages
    step = predict(
        2,
        Network(1e-4, 1e9),
        compute=0.1,
        gradient_bytes=4_000_000,
        bucket_bytes=4_000_000,
        backward=0.0,
        small_exchanges=2,
        packing_rate=2e9,
    )
    assert step.compute == pytest.approx(0.1 + 2e-3)
    assert step.waiting == pytest.approx(2e-4 + 4e-3 + 2 * 2e-4)
    assert step.seconds == pytest.approx(0.1 + 2e-3 + 4.6e-3)
    alone = predict(
        1, Network(1e-4, 1e9), compute=0.1, gradient_bytes=4_000_000, small_exchanges=2, packing_rate=2e9
    )
    assert alone.seconds == pytest.approx(0.1)
    with pytest.raises(SettingError, match="above zero"):
        predict(2, Network(1, 1), compute=1, gradient_bytes=1, packing_rate=0)


def test_other_limits():
    alone = predict(1, Network(1e-5, 1e9), compute=0.1, gradient_bytes=8_000_000)
    assert (alone.seconds, alone.efficiency, alone.waiting) == (0.1, 1.0, 0.0)
    crowded = predict(4, Network(1e-6, 1e10), compute=0.1, gradient_bytes=0, cores=2)
    assert crowded.compute == pytest.approx(0.2)
    reading = predict(10, Network(1e-6, 1e10), compute=0.1, gradient_bytes=0, input_bytes=1e8, input_rate=1e9)
    assert (reading.limit, reading.seconds) == ("input", pytest.approx(1.0))
    with pytest.raises(SettingError, match="processes=0"):
        predict(0, Network(1, 1), compute=1, gradient_bytes=1)
