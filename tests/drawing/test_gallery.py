"""Pictures of the gallery and the tutorials: byte for byte what is drawn now; every level, overlay and style."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

from tinygraph.drawing.front import SHOWABLE, USUALLY
from tinygraph.drawing.model.levels import INSIDE, LEVELS
from tinygraph.drawing.styles import DEFAULT, style_names

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "gallery.md").read_text(encoding="utf-8")
LINK = re.compile(r"!\[[^\]]+\]\((\S+)\)")
CODE = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
ADVICE = (
    "If that is meant, run `python docs/make_gallery.py`, then LOOK at each of these pictures before you commit "
    "it: they are the only test of what a reader sees."
)


def script():
    spec = importlib.util.spec_from_file_location("make_gallery", DOCS / "make_gallery.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SCRIPT = script()
LINKS = [
    (page.parent / link).relative_to(DOCS).as_posix()
    for page in SCRIPT.PAGES
    for link in LINK.findall(page.read_text(encoding="utf-8"))
]


@pytest.fixture(scope="module", params=["1", pytest.param("2", marks=pytest.mark.slow)])
def drawn(request, tmp_path_factory):
    """The pictures as they are drawn now, by a process of its own; another order of hashes must not show."""
    try:
        installed = version("pygraphviz")
    except PackageNotFoundError:
        installed = "missing"
    if installed != SCRIPT.PYGRAPHVIZ:
        pytest.skip(f"the gallery was laid out by pygraphviz {SCRIPT.PYGRAPHVIZ}; here it is {installed}")
    folder = tmp_path_factory.mktemp("gallery")
    paths = os.pathsep.join([str(DOCS.parent), str(DOCS.parent / "ops"), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "PYTHONHASHSEED": request.param}
    command = [sys.executable, "-W", "error", str(DOCS / "make_gallery.py"), str(folder)]
    run = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return folder


def test_the_pictures_are_what_is_drawn_now(drawn):
    made = sorted(path.relative_to(drawn).as_posix() for path in drawn.rglob("*.svg"))
    assert made == sorted(LINKS)
    changed = [
        name
        for name in made
        if name not in SCRIPT.VARYING
        and (not (DOCS / name).exists() or (drawn / name).read_bytes() != (DOCS / name).read_bytes())
    ]
    assert not changed, f"drawn differently now: {', '.join(changed)}. {ADVICE}"


def test_what_varies_differs_in_numbers_alone(drawn):
    for name in SCRIPT.VARYING:
        now, then = (shape((folder / name).read_text(encoding="utf-8")) for folder in (drawn, DOCS))
        assert now == then, f"{name} is drawn differently now. {ADVICE}"


def shape(svg):
    """The boxes and words of a picture, without its numbers and colours."""
    return re.findall(
        r'id="([ne]\w+)"|>([^<>]*[a-z]{2,})[^<>]*</text>', re.sub(r"[\d.]+ (?:[mµ]s|s)\b", "", svg)
    )


def test_every_link_leads_to_a_picture_and_every_picture_is_linked():
    folders = ("gallery", "tutorials/images")
    files = [path.relative_to(DOCS).as_posix() for folder in folders for path in (DOCS / folder).iterdir()]
    assert sorted(files) == sorted(link for link in LINKS if link.startswith(folders))
    assert sum((DOCS / name).stat().st_size for name in files) < 4_000_000


def test_every_level_overlay_and_style_is_shown():
    levels = {*LEVELS, *INSIDE} - {"op"}
    assert {level for level in levels if f'zoom="{level}"' in CODE} == levels
    shown = set(re.findall(r'"(\w+)"', " ".join(re.findall(r"show=\(([^)]*)\)", CODE))))
    assert shown >= {*SHOWABLE} - {*USUALLY}
    assert set(re.findall(r'style="([\w-]+)"', CODE)) == {*style_names(), "volumes"} - {DEFAULT}
    for wish in ("element", "backward", "focus", "between", "fold", "collapse"):
        assert f"{wish}=" in CODE


def test_no_picture_names_a_folder_or_runs_anything():
    for name in LINKS:
        svg = (DOCS / name).read_text(encoding="utf-8")
        assert "<script" not in svg
        assert "/home/" not in svg
        assert re.findall(r"[\w./]*\.py:\d+", svg) == []
