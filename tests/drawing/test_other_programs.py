"""What is saved, in other programs: SVG in Chromium, librsvg and CairoSVG, TikZ in LaTeX, PDF in Poppler, on paper."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.drawing.page.test_browser import calm, key
from tinygraph import nn
from tinygraph.errors import DrawingError

NEAR, ALIKE = 2, 48  # pixels that a line may be elsewhere, grey levels that it may be lighter or darker
MOST_APART = (
    0.01  # of the pixels: at 5 points hinting alone moves letters, and there are other fonts without Times
)


@pytest.fixture(scope="module")
def model() -> tuple[Any, Any]:
    tg.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    )
    return layers, np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)


PICTURES: dict[str, dict[str, Any]] = {
    "layers": {"zoom": "module"},
    "ops with both passes": {"backward": True},
    "columns of 8 cm for print": {"zoom": "module", "direction": "wrap", "width": "8cm", "style": "print"},
    "dark, to the right": {"direction": "right", "style": "dark", "title": "A & <b>"},
    "values": {"zoom": "op", "show": ("names", "shapes", "values")},
    "channels": {"zoom": "channel"},
    "volumes": {"style": "volumes"},
}


def grey(png: bytes) -> Any:
    image = pytest.importorskip("PIL.Image", reason="Pillow reads what was painted (the extra `movies`)")
    return np.asarray(image.open(io.BytesIO(png)).convert("L")).astype(np.int16)


def apart(one: Any, other: Any) -> float:
    """The share of pixels that have no like nearby in the other picture."""
    assert one.shape == other.shape

    def missing(here: Any, there: Any) -> Any:
        shifts = range(-NEAR, NEAR + 1)
        around = np.stack([np.roll(there, (dy, dx), (0, 1)) for dy in shifts for dx in shifts])
        return (here < around.min(0) - ALIKE) | (here > around.max(0) + ALIKE)

    return float((missing(one, other) | missing(other, one)).mean())


def by_rsvg(path: Path, width: int, height: int) -> Any:
    if shutil.which("rsvg-convert") is None:
        pytest.skip("needs rsvg-convert: Debian's package `librsvg2-bin`")
    size = ["-w", str(width), "-h", str(height)]
    return grey(subprocess.run(["rsvg-convert", *size, str(path)], capture_output=True, check=True).stdout)


def by_cairosvg(path: Path, width: int, height: int) -> Any:
    cairosvg = pytest.importorskip("cairosvg", reason="needs CairoSVG (the extra `test`)")
    return grey(cairosvg.svg2png(url=str(path), output_width=width, output_height=height))


def by_chromium(browser: Any, path: Path) -> Any:
    svg = path.read_text("utf-8")
    sides = re.search(r'<svg[^>]* width="([\d.]+)(pt)?"[^>]* height="([\d.]+)', svg)
    assert sides is not None
    width, height = (round(float(side) * (96 / 72 if sides[2] else 1)) for side in (sides[1], sides[3]))
    page = browser.new_page(viewport={"width": width, "height": height})
    page.goto(path.as_uri())
    seen = grey(page.screenshot())
    page.close()
    return seen


@pytest.mark.parametrize("program", [by_rsvg, by_cairosvg])
@pytest.mark.parametrize("name", PICTURES)
def test_an_svg_is_the_same_in_other_programs(
    name: str, program: Callable[..., Any], browser: Any, model: tuple[Any, Any], tmp_path: Path
) -> None:
    layers, x = model
    path = tg.draw(layers, inputs=x, **PICTURES[name]).save(tmp_path / "a.svg", embed=None)
    seen = by_chromium(browser, path)
    assert apart(seen, program(path, seen.shape[1], seen.shape[0])) < MOST_APART


@pytest.mark.parametrize("program", [by_rsvg, by_cairosvg])
def test_a_view_saved_from_the_page_is_the_same_in_other_programs(
    program: Callable[..., Any],
    browser: Any,
    visit: Callable[..., Any],
    model: tuple[Any, Any],
    tmp_path: Path,
) -> None:
    layers, x = model
    opened = visit(tg.draw(layers, inputs=x).page().text)
    opened.focus("#stage")
    for keys in ((), ("e",), ("Enter", "Enter", "Enter")):  # the whole, all open, within a layer
        key(opened, *keys)
        calm(opened)
        with opened.expect_download() as download:
            opened.click("#export")
        download.value.save_as(tmp_path / "view.svg")
        seen = by_chromium(browser, tmp_path / "view.svg")
        assert apart(seen, program(tmp_path / "view.svg", seen.shape[1], seen.shape[0])) < MOST_APART
        opened.focus("#stage")


@pytest.mark.parametrize("style", ["light", "print", "slides"])
def test_words_are_within_their_boxes(
    style: str, browser: Any, model: tuple[Any, Any], tmp_path: Path
) -> None:
    layers, x = model
    options = {"zoom": "module", "direction": "wrap", "style": style}
    path = tg.draw(layers, inputs=x, **options).save(tmp_path / "a.svg", embed=None)
    page = browser.new_page()
    page.goto(path.as_uri())
    outside = page.evaluate("""() => [...document.querySelectorAll('g.node')].flatMap(node => {
      const box = node.querySelector('path, polygon').getBBox();
      return [...node.querySelectorAll('text')].filter(one => {
        const a = one.getBBox();
        return a.x < box.x + 1 || a.x + a.width > box.x + box.width - 1;
      }).map(one => one.textContent);
    })""")
    page.close()
    assert outside == []
    fonts = set(re.findall('font-family="([^"]*)"', path.read_text("utf-8")))
    assert all("serif" in one for one in fonts)  # the browser's own, where none of the others is there


def test_pictures_that_differ_are_seen_to(browser: Any, model: tuple[Any, Any], tmp_path: Path) -> None:
    layers, x = model
    one, other = (tg.draw(layers, inputs=x, zoom=level).save(tmp_path / "a.svg", embed=None) and
                  by_chromium(browser, tmp_path / "a.svg") for level in ("module", "op"))  # fmt: skip
    height, width = (min(one.shape[i], other.shape[i]) for i in (0, 1))
    assert apart(one[:height, :width], other[:height, :width]) > 3 * MOST_APART


# -- LaTeX, PDF, paper -------------------------------------------------------------------------------------------------

LATEX = (
    r"\documentclass{article}\usepackage[papersize={60in,150in},margin=1in]{geometry}\usepackage{tikz}"
    r"\pagestyle{empty}\begin{document}\noindent\input{a.tex}\end{document}"
)


@pytest.mark.parametrize("name", [name for name in PICTURES if name not in ("values", "channels")])
def test_tikz_compiles_and_says_the_same_words(name: str, model: tuple[Any, Any], tmp_path: Path) -> None:
    if shutil.which("pdflatex") is None:
        pytest.skip("needs LaTeX with TikZ: Debian's packages `texlive-latex-base` and `texlive-pictures`")
    layers, x = model
    asked = {"names": {"0": "50 % & _{\\x}"}} if "zoom" in PICTURES[name] else {}
    drawing = tg.draw(layers, inputs=x, **PICTURES[name], **asked)
    drawing.save(tmp_path / "a.tex")
    (tmp_path / "b.tex").write_text(LATEX, "utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "b.tex"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert run.returncode == 0, run.stdout[-2000:]
    assert not re.findall(r"Missing character.*|Overfull.*|LaTeX Warning: (?!No file).*", run.stdout)
    if shutil.which("pdftotext"):
        words = subprocess.run(
            ["pdftotext", "b.pdf", "-"], cwd=tmp_path, capture_output=True, text=True, check=True
        )
        said = re.sub(r"\s", "", words.stdout)
        assert "{\\x}" in said if asked else "5Linear" in said or "matmul" in said  # "_" is a rule there


def test_the_words_of_a_pdf_can_be_selected(model: tuple[Any, Any], tmp_path: Path) -> None:
    if shutil.which("pdftotext") is None:
        pytest.skip("needs pdftotext: Debian's package `poppler-utils`")
    layers, x = model
    tg.draw(layers, inputs=x, zoom="module", show=("names", "settings")).save(tmp_path / "a.pdf")
    found = subprocess.run(
        ["pdftotext", str(tmp_path / "a.pdf"), "-"], capture_output=True, text=True, check=True
    )
    assert "0 Conv2d" in found.stdout
    assert "5 Linear" in found.stdout


def test_a_large_picture_is_cut_into_sheets_that_show_all_of_it(
    model: tuple[Any, Any], tmp_path: Path
) -> None:
    layers, x = model
    drawing = tg.draw(layers, inputs=x, backward=True)
    whole = drawing.pdf()
    assert drawing.pdf(pages="A4").startswith(whole)  # what was painted stays as it is
    path = drawing.save(tmp_path / "a.pdf", pages="A4")
    boxes = re.findall(
        rb"/MediaBox \[ ([-\d.]+) ([-\d.]+) ([-\d.]+) ([-\d.]+) \]", path.read_bytes()[len(whole) :]
    )
    sides = {tuple(sorted((round(float(c) - float(a)), round(float(d) - float(b))))) for a, b, c, d in boxes}
    assert sides == {(595, 842)}
    assert len(boxes) > 2
    if shutil.which("pdftotext"):
        words = [
            subprocess.run(
                ["pdftotext", str(one), "-"], capture_output=True, text=True, check=True
            ).stdout.split()
            for one in (path, (tmp_path / "b.pdf"))
            if one is path or one.write_bytes(whole)
        ]
        assert set(words[0]) >= set(words[1])
        info = subprocess.run(["pdfinfo", str(path)], capture_output=True, text=True, check=True)
        assert int(re.findall(r"Pages: +(\d+)", info.stdout)[0]) == len(boxes)
        assert "error" not in info.stderr.lower()
    small = tg.draw(layers, inputs=x, zoom="module", font_size=3)
    assert small.pdf(pages="A3") == small.pdf()
    with pytest.raises(DrawingError, match="'a4', 'a3', 'letter'"):
        drawing.pdf(pages="A9")
    with pytest.raises(DrawingError, match=r"is for \.pdf"):
        drawing.save(tmp_path / "a.svg", pages="A4")
