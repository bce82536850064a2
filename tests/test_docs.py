"""The Python blocks of docs/*.md run, top to bottom, in one namespace per file.

What a page says about a result stands in its blocks as `print(...)  # what is printed`. A block opened with a file's
name, such as ```toml model.toml, is that file.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from tinygraph.core.registry import registry
from tinygraph.testing import LAWS

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(?P<language>\w+)[ ]*(?P<file>\S*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
PROMISE = re.compile(r"^print\(.*\)  # (.+)$", re.MULTILINE)


def blocks_of(path):
    return list(BLOCK.finditer(path.read_text(encoding="utf-8")))


FILES = [
    path for path in sorted(DOCS.rglob("*.md")) if any(b["language"] == "python" for b in blocks_of(path))
]


NEEDS = {"onnx.md": "onnx"}  # packages that pages are about


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    """Files land in an empty folder; ops that a page declares go with it."""
    monkeypatch.chdir(tmp_path)
    registry._load_builtin()
    before, plugins = registry._snapshot(), registry._plugins
    yield
    registry._restore(before)
    registry._plugins = plugins


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_blocks_run_and_print_what_they_say(path, capsys):
    if path.name in NEEDS:
        pytest.importorskip(NEEDS[path.name], reason=f"{path.name} is about a package that is not installed")
    namespace = {"__name__": "__main__"}
    np.random.seed(0)
    for block in blocks_of(path):
        if block["file"]:
            Path(block["file"]).write_text(block["body"], encoding="utf-8")
        elif block["language"] == "python":
            line = block.string.count("\n", 0, block.start("body")) + 1
            # line numbers in a traceback are those of the page
            code = compile("\n" * (line - 1) + block["body"], str(path), "exec")
            exec(code, namespace)  # noqa: S102 - our own documentation
            printed = capsys.readouterr().out
            for promise in PROMISE.findall(block["body"]):
                assert promise in printed, f"{path.name}:{line}: {promise!r} is not printed, but {printed!r}"


def test_the_guide_for_op_authors_names_every_law():
    guide = (DOCS / "write_an_op.md").read_text(encoding="utf-8")
    assert [law.name for law in LAWS if law.name not in guide] == []
