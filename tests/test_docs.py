"""The Python blocks of docs/*.md run, top to bottom, in one namespace per file.

What the text says about their results stands in them as `assert` or as `print(...)  # expected output`.
"""

import re
from pathlib import Path

import numpy as np
import pytest

from tinygraph.core.registry import registry
from tinygraph.testing import LAWS

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PROMISE = re.compile(r"^print\(.*\)  # (.+)$", re.MULTILINE)


def blocks_of(path):
    """Each block with the number of its first line."""
    text = path.read_text(encoding="utf-8")
    return [(text.count("\n", 0, found.start(1)) + 1, found[1]) for found in BLOCK.finditer(text)]


FILES = [path for path in sorted(DOCS.rglob("*.md")) if blocks_of(path)]


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
    namespace = {"__name__": "__main__"}
    np.random.seed(0)
    for line, block in blocks_of(path):
        # line numbers in a traceback are those of the page
        code = compile("\n" * (line - 1) + block, str(path), "exec")
        exec(code, namespace)  # noqa: S102 - our own documentation
        printed = capsys.readouterr().out
        for promise in PROMISE.findall(block):
            assert promise in printed, f"{path.name}:{line}: {promise!r} is not printed, but {printed!r}"


def test_the_guide_for_op_authors_names_every_law():
    guide = (DOCS / "write_an_op.md").read_text(encoding="utf-8")
    assert [law.name for law in LAWS if law.name not in guide] == []
