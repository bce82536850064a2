"""The stub of `tg.ops` says what the registry says, and a type checker reads it."""

from __future__ import annotations

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import tinygraph
from tinygraph.core.registry import BUILTIN_PACKAGE, registry
from tinygraph.scaffold.stubs import PATH, stub_source


def test_the_stub_is_up_to_date():
    assert PATH.read_text(encoding="utf-8") == stub_source(), "run `python -m tinygraph.scaffold.stubs`"


def test_every_built_in_op_is_a_method_with_its_operands_and_settings():
    (body,) = (
        one for one in ast.parse(PATH.read_text(encoding="utf-8")).body if isinstance(one, ast.ClassDef)
    )
    methods = {one.name: one for one in body.body if isinstance(one, ast.FunctionDef)}
    builtin = {op.name: op for op in registry.all_ops() if op.package == BUILTIN_PACKAGE}
    assert methods.keys() == builtin.keys()
    for name, op in builtin.items():
        if hasattr(op, "signature"):
            arguments = methods[name].args
            positional = [one.arg for one in arguments.posonlyargs] + (
                [arguments.vararg.arg] if arguments.vararg else []
            )
            assert positional[-len(op.signature.operands) :] == [one.name for one in op.signature.operands]
            assert [one.arg for one in arguments.kwonlyargs] == list(op.signature.settings)


def test_a_type_checker_finds_wrong_calls(tmp_path):
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed")
    (tmp_path / "use.py").write_text(
        "import tinygraph as tg\n"
        "tg.ops.sum(1.0, axis=0)\n"
        "tg.ops.convolution(1, 2, stride=2)\n"
        "tg.ops.an_op_of_a_plugin(1)\n"
        "tg.ops.sum(1.0, axes=0)\n"
        "tg.ops.sin()\n"
    )
    root = Path(tinygraph.__file__).parents[1]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "mypy",
            "--follow-imports=silent",
            "--cache-dir",
            tmp_path / "cache",
            "use.py",
        ],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(root)},
        capture_output=True,
        text=True,
    )
    lines = [
        line.split(":")[1]
        for line in done.stdout.splitlines()
        if line.startswith("use.py") and "error" in line
    ]
    assert lines == ["5", "6"], done.stdout + done.stderr
