"""What the page offers to hands: depth, map, arrows that answer, search of paths, notes, files, keys, paper, frames."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.drawing.page.test_browser import DETAILS, OPEN, PLACE, SELECTED, calm, key
from tinygraph import nn
from tinygraph.drawing.page.framing import Page

Visit = Callable[..., Any]


class Stage(nn.Module):
    """A layer in a block in a stage."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())

    def forward(self, x: Any) -> Any:
        return self.block(x)


@pytest.fixture(scope="module")
def drawing() -> Any:
    tg.manual_seed(0)
    model = nn.Sequential(Stage(), nn.Flatten(), nn.Linear(32, 3))
    picture = np.random.default_rng(0).normal(size=(1, 1, 4, 4)).astype(np.float32)
    return tg.draw(model, inputs=picture, zoom="module")


@pytest.fixture(scope="module")
def text(drawing: Any) -> str:
    return drawing.page().text


def middle_of(opened: Any, link: int) -> list[float]:
    """A point on a curve of the outermost interior, on screen."""
    return opened.evaluate(
        """n => {
            const heads = document.querySelectorAll('svg.interior:not(.hidden) path.edge');
            const parts = heads[0].getAttribute('d').split('M').filter(Boolean).map(one => 'M' + one);
            const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
            path.setAttribute('d', parts[n]);
            const at = path.getPointAtLength(path.getTotalLength() / 2);
            const t = new DOMMatrix(getComputedStyle(heads[0].ownerSVGElement).transform);
            const box = document.getElementById('stage').getBoundingClientRect();
            return [box.x + t.e + t.a * at.x, box.y + t.f + t.d * at.y];
        }""",
        link,
    )


def test_depth_opens_and_closes_whatever_the_zoom(visit: Visit, text: str) -> None:
    opened = visit(text)
    opened.focus("#stage")
    key(opened, "c")
    assert opened.evaluate(OPEN) == 1
    counts = []
    for _ in range(3):
        key(opened, "]")
        counts.append(opened.evaluate(OPEN))
    assert counts == sorted(counts)
    assert counts[-1] > counts[0] >= 2
    key(opened, "e")
    assert opened.evaluate(OPEN) >= counts[-1]
    assert opened.input_value("#depth") == "all"
    opened.select_option("#depth", "0")
    calm(opened)
    assert opened.evaluate(OPEN) == 1


def test_an_arrow_says_what_flows_and_leads_to_both_ends(visit: Visit, text: str) -> None:
    opened = visit(text)
    opened.select_option("#depth", "0")
    calm(opened)
    opened.mouse.click(*middle_of(opened, 1))
    calm(opened)
    details = opened.evaluate(DETAILS)
    heading = details.splitlines()[0]
    assert " → " in heading
    assert "float32[1," in details
    assert "range" in details
    assert opened.locator(".hot").count() == 1
    opened.locator("#about .buttons button").first.click()
    calm(opened)
    assert opened.evaluate(SELECTED) == heading.split(" → ")[0]
    details = opened.evaluate(DETAILS)
    assert "Goes to" in details


def test_a_map_shows_where_one_is_and_leads_elsewhere(visit: Visit, text: str) -> None:
    opened = visit(text)
    assert opened.locator("#minimap").is_hidden()
    opened.focus("#stage")
    key(opened, "Enter", "Enter")
    assert opened.locator("#minimap").is_visible()
    before = opened.evaluate("document.querySelector('#minimap .seen').getAttribute('y')")
    box = opened.locator("#minimap").bounding_box()
    opened.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] - 10)
    calm(opened)
    assert float(opened.evaluate("document.querySelector('#minimap .seen').getAttribute('y')")) > float(
        before
    )


def test_search_takes_whole_paths_counts_and_marks_all(visit: Visit, text: str) -> None:
    opened = visit(text)
    opened.focus("#stage")
    opened.keyboard.press("e")
    calm(opened)
    opened.fill("#search", "stage weight")
    rows = opened.locator("#hits li").all_text_contents()
    assert rows[-1] == "1 box"
    assert "parameter" in rows[0]
    assert "block" in rows[0].lower()
    assert opened.locator(".hit").count() == 1
    assert opened.locator(".holds").count() >= 1
    opened.fill("#search", "o")
    assert re.fullmatch(r"12 of \d+ boxes|\d+ boxes", opened.locator("#hits .count").text_content())


def test_notes_are_in_the_link(visit: Visit, text: str) -> None:
    opened = visit(text, "#on=1")
    opened.fill("#about textarea", "why & = #?\nbecause")
    opened.wait_for_timeout(400)
    address = "#" + opened.url.partition("#")[2]
    again = visit(text, address)
    assert again.input_value("#about textarea") == "why & = #?\nbecause"
    assert visit(text, "#notes=%5Bbroken").evaluate(PLACE) == "Sequential"


def test_boxes_are_renamed_and_the_link_keeps_it(visit: Visit, text: str) -> None:
    opened = visit(text, "#on=1")
    before = opened.evaluate(SELECTED)
    field = opened.get_by_label("Name", exact=True)
    assert field.input_value() == before
    field.fill("my <b>stage</b>")
    field.press("Enter")
    calm(opened)
    assert opened.locator("#about h2").text_content() == "my <b>stage</b>"
    assert f"{before} in the program" in opened.evaluate(DETAILS)
    assert "my <b>stage</b>" in opened.locator("#tree").inner_text()
    assert "my <b>stage</b>" in opened.locator("svg.interior").first.text_content()
    assert "names={" in opened.get_by_role("button", name="call").get_attribute("title")
    opened.fill("#search", "my stage")
    assert opened.locator("#hits li b").first.text_content() == "my <b>stage</b>"
    opened.wait_for_timeout(400)
    address = "#" + opened.url.partition("#")[2]
    again = visit(text, address)
    assert again.evaluate(SELECTED) == "my <b>stage</b>"
    field = again.get_by_label("Name", exact=True)
    field.fill("")
    field.press("Enter")
    calm(again)
    assert again.evaluate(SELECTED) == before
    again.wait_for_timeout(400)
    assert "names=" not in again.url
    for broken in ("#names=%5Bbroken", "#names=[[%22x%22,1]]", "#names=[[%229.9%22,%22y%22]]"):
        assert visit(text, broken).evaluate(PLACE) == "Sequential"


def test_stepping_stays_at_the_level_that_is_seen(visit: Visit, text: str) -> None:
    opened = visit(text)
    words = opened.locator("#walk-words")
    opened.click("#step")
    calm(opened)
    said = [words.text_content()]
    for _ in range(2):
        opened.click("#walk-on")
        calm(opened)
        said.append(words.text_content())
    # three layers, each a step, though the first is two ops and the last three
    assert [one.partition(" · norm")[0] for one in said] == [
        "forward 1 of 3 · 0 · Stage / block", "forward 2 of 3 · 1 · flatten", "forward 3 of 3 · 2 · Linear",
    ]  # fmt: skip
    assert opened.evaluate(PLACE) == "Sequential"
    opened.select_option("#walk-level", "ops")
    calm(opened)
    assert words.text_content().startswith("forward 6 of 6")
    opened.click("#step")
    # inside the first layer, its ops are the steps; after them comes what is beside it
    opened.locator("#tree .row > span", has_text="0 · Stage").click()
    calm(opened)
    opened.click("#step")
    opened.select_option("#walk-level", "level")
    calm(opened)
    first = words.text_content()
    assert "convolution" in first or "Conv2d" in first
    assert opened.locator("svg.interior:not(.hidden) .later").count() > 0


def test_a_run_of_steps_waits_for_the_flight(visit: Visit, text: str) -> None:
    opened = visit(text)
    opened.focus("#stage")
    key(opened, "Enter", "Enter", "Enter")
    opened.click("#step")
    opened.select_option("#walk-level", "ops")
    opened.click("#walk-run")
    opened.wait_for_function("document.getElementById('walk-run').getAttribute('aria-pressed') === 'false'")
    calm(opened)
    assert opened.locator("#walk-words").text_content().startswith("forward 6 of 6")
    box = opened.locator("#selected").bounding_box()  # where the last step is, which is on screen
    stage = opened.locator("#stage").bounding_box()
    assert box["x"] >= stage["x"] - 1
    assert box["x"] + box["width"] <= stage["x"] + stage["width"] + 1


def test_values_are_saved_as_numpy_reads_them(visit: Visit, text: str, tmp_path: Path) -> None:
    opened = visit(text)
    opened.fill("#search", "linear weight")
    opened.keyboard.press("Enter")
    calm(opened)
    found = {}
    for name in ("NPY", "CSV"):
        with opened.expect_download() as download:
            opened.get_by_role("button", name=name).click()
        download.value.save_as(tmp_path / name)
        found[name] = (tmp_path / name).read_bytes()
    array = np.load(io.BytesIO(found["NPY"]))
    assert array.shape == (3, 32)
    np.testing.assert_array_equal(
        np.loadtxt(io.BytesIO(found["CSV"]), delimiter=",", dtype=np.float32), array
    )


def test_keys_are_shown_and_the_saved_view_needs_no_style_sheet(
    visit: Visit, text: str, tmp_path: Path
) -> None:
    opened = visit(text)
    opened.focus("#stage")
    opened.keyboard.press("?")
    assert opened.locator("#keys").is_visible()
    opened.keyboard.press("Escape")
    assert opened.locator("#keys").is_hidden()
    with opened.expect_download() as download:
        opened.click("#export")
    download.value.save_as(tmp_path / "view.svg")
    saved = (tmp_path / "view.svg").read_text("utf-8")
    root = ET.fromstring(saved)
    assert "var(" not in saved
    assert "class=" not in saved
    assert "<style" not in saved
    # it is painted as the page is: compare both, without what lies above the drawing
    opened.add_style_tag(content="#chips, #selected, .hint, #minimap { display: none !important }")
    seen = opened.locator("#stage").screenshot()
    width, height = (int(float(root.get(side))) for side in ("width", "height"))
    other = opened.context.new_page()
    other.set_viewport_size({"width": width, "height": height})
    other.goto((tmp_path / "view.svg").as_uri())
    pixels = [_pixels(one) for one in (seen, other.screenshot())]
    assert pixels[0].shape == pixels[1].shape
    assert np.mean(np.abs(pixels[0] - pixels[1]).max(axis=2) > 60) < 0.01


def _pixels(png: bytes) -> Any:
    image = pytest.importorskip("PIL.Image", reason="Pillow reads the screenshots (the extra `movies`)")
    return np.asarray(image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_a_printed_page_is_one_sheet_with_what_is_seen(visit: Visit, text: str) -> None:
    opened = visit(text)
    opened.emulate_media(media="print")
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert opened.locator("#on-paper").is_visible()
    assert opened.locator("header").is_hidden()
    opened.emulate_media(media="screen")
    opened.evaluate("dispatchEvent(new Event('afterprint'))")
    assert opened.locator("#on-paper").count() == 0
    assert len(re.findall(rb"/Type\s*/Page\b", opened.pdf())) == 1


def test_two_pages_in_one_follow_each_other(browser: Any, drawing: Any, tmp_path: Path) -> None:
    page = drawing.page(beside=drawing, height=400)
    assert isinstance(page, Page)
    assert page._repr_html_().count("<iframe") == 1
    path = page.save(tmp_path / "two.html")
    context = browser.new_context(viewport={"width": 1400, "height": 700})
    opened = context.new_page()
    opened.add_init_script("told = []; addEventListener('message', event => told.push(event.data))")
    opened.goto(path.as_uri())
    frames = [frame for frame in opened.frames if frame.parent_frame is not None]
    assert len(frames) == 2
    for frame in frames:
        frame.wait_for_selector("svg.interior")
        frame.wait_for_function("!('moving' in document.querySelector('#stage').dataset)")
    assert (
        opened.evaluate("told") == []
    )  # a page that only opened leads nobody: it would undo what is done there
    frames[0].focus("#stage")
    frames[0].locator("#stage").press("Enter")
    for frame in frames:  # the one that was used, then the one that follows it
        frame.wait_for_function(f"{SELECTED} !== 'Sequential'")
    assert frames[0].evaluate(SELECTED) == frames[1].evaluate(SELECTED)
    context.close()
