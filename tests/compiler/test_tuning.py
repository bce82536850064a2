"""Kernels chosen by measuring: results stay, choices are remembered, what disagrees is left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.compiler import tuning
from tinygraph.errors import SettingError, TinygraphWarning
from tinygraph.kernels.disk_cache import DiskCache
from tinygraph.plugin import Lowering, op

pytest.importorskip("llvmlite", reason="there is nothing to choose without generated kernels")


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> list[list[str]]:
    """The names of the candidates each time some were measured; nothing remembered before, a single thread."""
    asked: list[list[str]] = []
    before, cache, threads = tuning._measured, DiskCache(tmp_path / "kernels", 2**24), tg.get_threads()

    def counting(node: Any, candidates: Any, bind: Any) -> tuning.Choice:
        asked.append([one.name for one in candidates])
        return before(node, candidates, bind)

    monkeypatch.setattr(tuning, "_measured", counting)
    monkeypatch.setattr(tuning, "_chosen", {})
    monkeypatch.setattr(tuning, "_cache", lambda: cache)
    monkeypatch.setattr(tuning, "_SECONDS", 1e-3)
    tg.set_threads(1)
    yield asked
    tg.set_threads(threads)


def model() -> Any:
    tg.manual_seed(0)
    return nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 8))


X = np.random.default_rng(0).standard_normal((4, 16, 8, 8)).astype(np.float32)


def test_results_stay_and_choices_are_remembered(measured: Any) -> None:
    net = model()
    with tg.no_grad():
        expected = net(X).numpy()
        tuned = tg.compile(lambda x: net(x), tune=True)
        np.testing.assert_allclose(tuned(X).numpy(), expected, rtol=2e-4, atol=2e-5)
        first = [sorted(names) for names in measured]
        candidates = {"NumPy convolve", "Winograd convolution", "direct convolution"}
        assert any(candidates <= set(names) for names in first)
        assert ["matrix product", "np.dot"] in first
        assert tuned.plan.table(width=200).count("measured: ") == 2
        tuning._chosen.clear()  # as in another process
        again = tg.compile(lambda x: net(x), tune=True)
        np.testing.assert_array_equal(again(X).numpy(), tuned(X).numpy())
        assert [sorted(names) for names in measured] == first
        assert again.plan.table(width=200).splitlines()[-2:] == tuned.plan.table(width=200).splitlines()[-2:]
    for entry in list(tuning._cache().folder.iterdir()):  # type: ignore[union-attr]
        entry.write_bytes(entry.read_bytes()[:-3])
    tuning._chosen.clear()
    with tg.no_grad():
        tg.compile(lambda x: net(x), tune=True)(X)
    assert len(measured) == 2 * len(first)


def test_exact_leaves_out_what_rounds_more(measured: Any) -> None:
    net = model()
    with tg.no_grad():
        tuned = tg.compile(lambda x: net(x), tune=True, accuracy="exact")
        tuned(X)
        assert not any("Winograd" in name for names in measured for name in names)
        assert "Winograd" not in tuned.plan.table(width=200)
        fast = tg.compile(lambda x: net(x))
        fast(X)
        assert "rounding errors below 3e-05 of the largest result" in fast.plan.table(width=200)


def test_a_kernel_that_disagrees_is_left_out(measured: Any) -> None:
    @op(kind="other", declare=False)
    def thrice(x: Any) -> Any:
        return 3 * x

    @thrice.types
    def thrice_types(x: Any) -> Any:
        return x

    @thrice.lower
    def thrice_kernel(types: Any, layouts: Any, cpu: Any) -> Lowering:
        wrong = cpu is not None and cpu.exact

        def bind(inputs: Any, outputs: Any, scratch: Any) -> Any:
            return lambda: np.multiply(inputs[0], 2 if wrong else 3, out=outputs[0])

        return Lowering(bind, name="quick" if wrong else "right")

    tuned = tg.compile(lambda x: thrice(x), tune=True)
    with pytest.warns(TinygraphWarning, match="quick of .* differs from right and is left out"):
        assert tuned(np.ones(5000)).tolist() == [3.0] * 5000


def test_measured_times_and_determinism_exclude_each_other() -> None:
    with pytest.raises(SettingError, match="leave one of them out"):
        tg.compile(np.sin, tune=True, deterministic=True)
    assert tg.compile(np.sin, deterministic=True)(np.zeros(2)).tolist() == [0, 0]
