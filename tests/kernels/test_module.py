"""Functions, binding, sequences and CPUs."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tinygraph.errors import SettingError
from tinygraph.kernels.cpu import this_cpu
from tinygraph.kernels.machine_code import compile_kernel
from tinygraph.kernels.teams import Table


def _doubling() -> Any:
    def write(code: Any) -> None:
        def body(i: Any, _: Any) -> None:
            x = code.load(code.pointers["x"], i, "float64")
            code.store(code.add(x, x), code.pointers["x"], i)

        code.loop(0, code.counts["n"], 1, body)

    return compile_kernel("double", ["x"], write, counts=["n"])


def test_counts_are_bound() -> None:
    x = np.ones(5)
    _doubling().bind(x, counts=[3])()
    np.testing.assert_array_equal(x, [2, 2, 2, 1, 1])


def test_a_table_is_one_call_and_keeps_everything_alive() -> None:
    x = np.ones(4)
    run = Table([_doubling().bind(x, counts=[4]), _doubling().bind(x, counts=[2])], 1)
    run()
    np.testing.assert_array_equal(x, [4, 4, 2, 2])
    Table([], 1)()


def test_the_wrong_number_of_arrays_is_refused() -> None:
    with pytest.raises(TypeError, match="kernel double takes 1 arrays, not 2"):
        _doubling().bind(np.ones(1), np.ones(1))


def test_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAPH_CPU", "generic")
    assert this_cpu().lanes(np.float32) == 4
    monkeypatch.setenv("TINYGRAPH_CPU", "abacus")
    with pytest.raises(SettingError, match=r"TINYGRAPH_CPU is 'abacus'; this machine can run: .*generic"):
        this_cpu()


def test_importing_the_package_does_not_import_llvmlite() -> None:
    code = "import sys; from tinygraph import kernels; kernels.available(); exit('llvmlite' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
