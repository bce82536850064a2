"""The documentation as a site: the reference names everything public, pages become notebooks, dead links are found."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import tinygraph as tg
from tinygraph.core.registry import BUILTIN_PACKAGE, registry

DOCS = Path(__file__).parents[1] / "docs"


@pytest.fixture(scope="module")
def site():
    sys.path.insert(0, str(DOCS))
    try:
        yield importlib.import_module("make_site")
    finally:
        sys.path.remove(str(DOCS))


def test_the_reference_has_every_op_layer_optimizer_and_function(site):
    names = site.make_reference.names()
    ops = {f"tg.ops.{op.name}" for op in registry.all_ops() if op.package == BUILTIN_PACKAGE}
    assert len(ops) > 180
    assert ops <= names.keys()
    functions = {
        name for name in dir(tg) if inspect.isfunction(getattr(tg, name)) and not name.startswith("_")
    }
    assert {f"tg.{name}" for name in functions} <= names.keys()
    assert {
        "tg.Tensor.backward",
        "tg.nn.Conv2d",
        "tg.optim.lr_scheduler.StepLR",
        "tg.no_grad",
    } <= names.keys()
    assert len(set(names.values())) == len(names)  # a place of its own for each


def test_a_docstring_becomes_markdown(site):
    def scaled(x, by=2):
        """x * by, for a[i] < 1.

        Args:
            x: (rows, *rest), of
                any dtype.
            by: see `np.dot(a*b)`.

        Raises:
            ShapeError, DTypeError: never.

        Later:

            y = x_1 * by

        >>> 1 + 1
        2
        """

    parts = (
        r"x \* by, for a\[i\] \< 1.",
        "**Arguments**",
        "- `x`: (rows, \\*rest), of any dtype.\n- `by`: see `np.dot(a*b)`.",
        "**Raises**",
        "- `ShapeError, DTypeError`: never.",
        "Later:",
        "```text\ny = x_1 * by\n```",
        "```pycon\n>>> 1 + 1\n2\n```",
    )
    assert site.make_reference.docstring(scaled).split("\n\n") == [*parts]
    entry = site.make_reference.Entry("tg.scaled", scaled)
    assert site.make_reference.section(entry, 2).startswith(
        "(ref-scaled)=\n\n## scaled\n\n```python\ntg.scaled(x, by=2)\n```\n\n"
    )


def test_blocks_run_where_a_page_is_a_notebook_and_names_lead_to_the_reference(site):
    page = "Say `tg.draw` and `tg.draw`.\n\n```python\nx = 1\n```\n![a](a.svg)\n\n```toml model.toml\na = 1\n```\n"
    made = site.notebook(page)
    assert made.startswith("---\nfile_format: mystnb\n")
    assert "```{code-cell} python\n:tags: [remove-output]\n\nx = 1\n```\n![a](a.svg)" in made
    assert "Path('model.toml').write_text('a = 1\\n')" in made
    assert site.notebook("```sh\nls\n```\n") == "```sh\nls\n```\n"
    names = {"tg.draw": "ref-draw"}
    assert site.linked(page, names).startswith("Say [`tg.draw`](#ref-draw) and `tg.draw`.")
    assert site.linked("# `tg.draw`\n\n```python\n`tg.draw`\n```\n", names).count("ref-draw") == 0


def test_dead_links_and_what_is_loaded_from_elsewhere_are_found(site, tmp_path):
    (tmp_path / "a.html").write_text(
        '<a href="b.html#there">b</a><a href="https://example.org">out</a><img src="c.svg">'
    )
    (tmp_path / "b.html").write_text(
        '<p id="here"></p><a href="gone.html">x</a><script src="https://cdn.example/x.js"></script>'
    )
    assert site.problems(tmp_path) == [
        "a.html: b.html has no anchor #there",
        "a.html: nothing is at c.svg",
        "b.html loads https://cdn.example/x.js",
        "b.html: nothing is at gone.html",
    ]


def test_every_page_of_the_docs_is_in_the_contents(site):
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")} - {"index"}
    listed = [page for _, below in site.CONTENTS.values() for page in below]
    assert pages <= set(listed)
    assert len(set(listed)) == len(listed)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning():
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_nb")
    pytest.importorskip("pydata_sphinx_theme")
    run = subprocess.run(
        [sys.executable, str(DOCS / "make_site.py")], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
