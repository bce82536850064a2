"""Collectives between processes: values, derivatives to second order in both modes, compiled; and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import parallel
from tinygraph.errors import MissingRuleError, ParallelError, SettingError


@pytest.mark.parametrize("count", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_values_and_derivatives_between_processes(ranks, count):
    assert "all is well" in ranks("program_collectives.py", count, count)


def test_alone_they_copy():
    x = np.arange(4.0)
    for one in (
        parallel.all_reduce(x),
        parallel.all_gather(x),
        parallel.reduce_scatter(x),
        parallel.broadcast(x),
    ):
        assert one is not x
        assert one.tolist() == x.tolist()
    assert parallel.all_reduce(x, "mean").tolist() == x.tolist()
    assert tg.grad(lambda x: np.sum(parallel.all_reduce(x) ** 2))(x).tolist() == [0, 2, 4, 6]
    assert (parallel.rank(), parallel.size()) == (0, 1)
    with pytest.raises(MissingRuleError, match="max"):
        tg.grad(lambda x: np.sum(parallel.all_reduce(x, "max")))(x)


def test_the_graph_shows_exchanges():
    graph = tg.capture(lambda x: parallel.all_reduce(x * 2.0).sum(), np.ones(3))
    assert [node.op.name for node in graph.nodes if node.op] == ["multiply", "all_reduce", "sum"]
    drawn = str(tg.draw(graph).source)
    assert "all_reduce" in drawn


def test_equal_exchanges_are_made_as_often_as_they_are_written():
    """Every process makes the same exchanges in the same order: none is merged, folded or moved past another."""
    f = tg.compile(lambda x: parallel.all_reduce(x) * 2.0 + parallel.all_reduce(x))
    assert f(np.ones(2)).tolist() == [3, 3]
    assert [node.op.name for node in f.plan.graph.nodes if node.op].count("all_reduce") == 2


def test_what_a_launcher_says_without_mpi(monkeypatch):
    from tinygraph import mpi
    from tinygraph.core import process_group

    monkeypatch.setenv("PMI_SIZE", "4")
    assert process_group.launched_with() == 4
    monkeypatch.setitem(__import__("sys").modules, "mpi4py", None)
    with pytest.raises(ParallelError, match=r"one of 4 .*\[dist\]"):
        mpi.connect()


def test_buckets_and_optimizers_that_do_not_fit():
    w = tg.tensor([1.0], requires_grad=True)
    optimizer = tg.optim.SGD([w], lr=0.1)
    with pytest.raises(SettingError, match="bucket_bytes=0"):
        parallel.data_parallel(optimizer, bucket_bytes=0)
    assert parallel.data_parallel(optimizer) is optimizer
