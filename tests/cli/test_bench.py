"""`tinygraph bench`: it runs, compares losses first, and prints a table; and how benchmarks count memory."""

import importlib.util
import itertools
import json
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
from tinygraph.cli.bench.opponents import OPPONENTS
from tinygraph.cli.bench.processes import Measured, measure_apart
from tinygraph.cli.bench.reporting import BEGIN, END, markdown


def test_a_workload_is_measured(capsys, tmp_path):
    record, drawn = tmp_path / "found.json", tmp_path / "found.svg"
    pytest.importorskip("matplotlib")
    assert bench(only="tiny", rounds=1, against="eager", record=record, chart_file=drawn) == 0
    printed = capsys.readouterr().out
    assert "tiny MLP" in printed
    assert "ratios to" in printed
    assert "First call" in printed
    (rows,) = json.loads(record.read_text())["runs"].values()
    (row,) = rows.values()
    for name in ("compiled", "eager"):
        assert len(row[name]["seconds"]) == 1
        assert row[name]["first"] > 0
        assert row[name]["peak"] > 10**7
    assert "<svg" in drawn.read_text()


def test_a_workload_is_measured_with_numpy_kernels(capsys):
    assert bench(only="tiny", rounds=1, numpy=True, against="nothing else, eager", inference=True) == 0
    printed = capsys.readouterr().out
    assert "NumPy kernels alone" in printed
    assert "Inference" in printed


def test_numpy_kernels_hide_llvmlite_and_give_it_back():
    before = kernels.available(), sys.modules.get("llvmlite")
    with numpy_kernels():
        assert not kernels.available()
        function = tg.compile(lambda x: np.exp(x) * 2 + 1)
        function(np.ones(3))
        assert [step.kernel.name for step in function.plan.steps] == ["np.exp", "np.multiply", "np.add"]
    assert (kernels.available(), sys.modules.get("llvmlite")) == before


def test_an_unknown_workload_is_named(capsys):
    assert bench(only="nothing") == 1
    assert "ResNet-20" in capsys.readouterr().err
    assert bench(only="tiny", against="nobody") == 1
    assert "onnxruntime" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("trains", [True, False])
def test_every_framework_that_is_there_computes_the_same(trains):
    for workload in workloads.WORKLOADS:
        found = measure_apart(workload, OPPONENTS, trains=trains, rounds=1)
        for name, one in found.items():
            assert one.seconds or one.missing, f"{workload.name}: {name}"


def test_ratios_as_markdown():
    rows = {
        "net": {
            "compiled": Measured([2e-3, 4e-3]),
            "eager": Measured([4e-3, 8e-3]),
            "other": Measured(missing="no"),
        }
    }
    assert markdown(rows, ["compiled", "eager", "other"]).splitlines() == [
        "| | compiled, ms | to eager |", "|---|---|---|", "| net | 3 | 0.50 |",
    ]  # fmt: skip


def test_tables_are_written_between_the_marks_of_a_file(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("tinygraph.cli.bench.command._processors", lambda: 2)
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert bench(only="tiny", rounds=1, against="nobody, eager", wide=True, into=page) == 0
    written = page.read_text()
    assert written.startswith(f"before\n{BEGIN}\nPython 3")
    assert written.endswith(f"\n{END}\nafter\n")
    for title in ("Training steps, one thread", "Training steps, 2 threads", "Inference, one thread"):
        assert f"**{title}**, 1 rounds\n\n| | compiled, ms | to eager" in written
    assert "old" not in written
    page.write_text("no marks")
    assert bench(only="tiny", rounds=1, against="eager", into=page) == 1
    assert END in capsys.readouterr().err


def test_pytorch_at_its_best_is_its_fastest_mode():
    rows = {
        "net": {
            "compiled": Measured([2.0, 2.0]),
            "torch eager": Measured([4.0, 4.0]),
            "torch compile": Measured([2.5, 2.5]),
        }
    }
    assert markdown(rows, list(rows["net"])).splitlines() == [
        "| | compiled, ms | to torch eager | to torch compile | to PyTorch at its best |", "|---|---|---|---|---|",
        "| net | 2e+03 | 0.50 | 0.80 | **0.80** |",
    ]  # fmt: skip


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
