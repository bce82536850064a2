"""`tinygraph bench`: it runs, compares losses first, and prints a table."""

import pytest

from tinygraph.cli.bench import workloads
from tinygraph.cli.bench.alternating import measure, ratio
from tinygraph.cli.bench.command import _check_equal, bench


def test_a_workload_is_measured(capsys):
    assert bench("tiny", rounds=1) == 0
    printed = capsys.readouterr().out
    assert "tiny MLP" in printed
    assert "ratio to eager" in printed


def test_an_unknown_workload_is_named(capsys):
    assert bench("nothing") == 1
    assert "ResNet-20" in capsys.readouterr().err


def test_candidates_that_differ_are_not_compared():
    with pytest.raises(AssertionError, match="do not compute the same loss"):
        _check_equal(workloads.WORKLOADS[0], {"eager": lambda: 1.0, "compiled": lambda: 1.1})


def test_candidates_run_in_turn():
    order = []
    times = measure({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert order == ["a", "b"] * 4
    assert len(times["a"]) == 3
    assert ratio({"a": [2.0, 9.0, 4.0], "b": [1.0, 3.0, 4.0]}, "a", "b") == 2.0
