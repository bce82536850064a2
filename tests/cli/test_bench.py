"""`tinygraph bench`: it runs, compares losses first, and prints a table; and how benchmarks count memory."""

import importlib.util
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import kernels
from tinygraph.cli.bench import workloads
from tinygraph.cli.bench.alternating import measure, ratio
from tinygraph.cli.bench.candidates import check_equal
from tinygraph.cli.bench.command import bench, numpy_kernels


def test_a_workload_is_measured(capsys):
    assert bench("tiny", rounds=1) == 0
    printed = capsys.readouterr().out
    assert "tiny MLP" in printed
    assert "ratio to eager" in printed


def test_a_workload_is_measured_with_numpy_kernels(capsys):
    assert bench("tiny", rounds=1, numpy=True) == 0
    assert "NumPy kernels alone" in capsys.readouterr().out


def test_numpy_kernels_hide_llvmlite_and_give_it_back():
    before = kernels.available(), sys.modules.get("llvmlite")
    with numpy_kernels():
        assert not kernels.available()
        function = tg.compile(lambda x: np.exp(x) * 2 + 1)
        function(np.ones(3))
        assert [step.kernel.name for step in function.plan.steps] == ["np.exp", "np.multiply", "np.add"]
    assert (kernels.available(), sys.modules.get("llvmlite")) == before


def test_an_unknown_workload_is_named(capsys):
    assert bench("nothing") == 1
    assert "ResNet-20" in capsys.readouterr().err


def test_candidates_that_differ_are_not_compared():
    with pytest.raises(AssertionError, match="do not compute the same loss"):
        check_equal(workloads.WORKLOADS[0], {"eager": lambda: 1.0, "compiled": lambda: 1.1})


def test_candidates_run_in_turn():
    order = []
    times = measure({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, rounds=3)
    assert [name for name, _ in itertools.groupby(order)] == ["a", "b"] * 4
    assert len(times["a"]) == len(times["b"]) == 3
    assert ratio({"a": [2.0, 9.0, 4.0], "b": [1.0, 3.0, 4.0]}, "a", "b") == 2.0


@pytest.fixture(scope="module")
def memory():
    """`benchmarks/memory.py`, which is no part of a package that is installed."""
    path = Path(__file__).parents[2] / "benchmarks" / "memory.py"
    spec = importlib.util.spec_from_file_location("memory_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_peaks_are_of_what_is_alive_at_once(memory):
    def run(allocate):
        first = allocate(1_000_000)
        second = allocate(2_000_000)
        del first
        allocate(500_000)
        return second

    memory.tracemalloc.start()
    assert memory.peak_of(lambda: run(bytearray)) == pytest.approx(3_000_000, rel=1e-3)
    kept = np.empty(10**6, np.uint8)
    assert memory.arrays_traced() == pytest.approx(kept.nbytes, rel=1e-3)
    memory.tracemalloc.stop()
    torch = pytest.importorskip("torch")
    assert memory.torch_peak(lambda: run(lambda n: torch.empty(n, dtype=torch.uint8))) == 3_000_000


def test_memory_of_a_compiled_step(memory):
    found = memory.ours(workloads.WORKLOADS[0])
    assert 32 * 16 * 4 * 2 < found.arena <= found.kept < 100_000
    assert found.called < 100_000
