"""The page in Firefox: it opens without an error, is painted, zooms, and answers hands as in Chromium."""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.firefox import Firefox, running

OPEN = "document.querySelectorAll('svg.interior:not(.hidden)').length"
TITLE = "document.querySelector('#about h2').textContent"
CALM = "!('moving' in document.getElementById('stage').dataset)"
WATCH = """<script>window.failed = [];
addEventListener("error", event => failed.push(event.message));
addEventListener("unhandledrejection", event => failed.push(String(event.reason)));</script>"""


@pytest.fixture(scope="module")
def firefox(tmp_path_factory: Any) -> Iterator[Firefox]:
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(running(tmp_path_factory.mktemp("firefox")))
        except FileNotFoundError as reason:
            pytest.skip(str(reason))
        found.resize(1280, 900)
        yield found


@pytest.fixture
def opened(firefox: Firefox, network: Any, tmp_path: Path) -> Firefox:
    model, picture = network
    text = tg.draw(model, inputs=picture).page().text
    path = tmp_path / "page.html"
    path.write_text(text.replace("<head>", f"<head>{WATCH}", 1), "utf-8")
    firefox.go(path.as_uri())
    firefox.wait(f"{OPEN} > 0 && {CALM}")
    return firefox


def press(opened: Firefox, *keys: str) -> None:
    opened.run("document.getElementById('stage').focus()")
    for key in keys:
        opened.type(key)
        opened.wait(CALM)


def test_it_is_painted_and_asks_for_nothing(opened: Firefox) -> None:
    assert opened.run("return failed") == []
    assert opened.run("return performance.getEntriesByType('resource').map(one => one.name)") == []
    image = pytest.importorskip("PIL.Image", reason="Pillow reads the screenshots (the extra `movies`)")
    seen = np.asarray(image.open(io.BytesIO(opened.screenshot())).convert("RGB")).reshape(-1, 3)
    assert len(np.unique(seen, axis=0)) > 200  # boxes of several kinds, heat maps, words


def test_every_name_is_within_its_box(opened: Firefox) -> None:
    outside = opened.run("""
      return [...document.querySelectorAll('svg.interior:not(.hidden) > .kid:not(.opened)')].flatMap(kid => {
        const box = kid.querySelector(':scope > .box').getBoundingClientRect();
        return [...kid.querySelectorAll('text:not(.tiny)')].filter(one => getComputedStyle(one).display !== 'none')
          .map(one => [one.textContent, one.getBoundingClientRect()])
          .filter(([, a]) => a.left < box.left - 1 || a.right > box.right + 1
            || a.top < box.top - 1 || a.bottom > box.bottom + 1)
          .map(([words]) => words);
      });""")
    assert outside == []


def test_wheel_keys_and_search_move_as_in_chromium(opened: Firefox) -> None:
    whole = opened.run(f"return {OPEN}")
    x, y = opened.run("const a = document.querySelector('svg.interior .kid .box').getBoundingClientRect();"
                      "return [a.x + a.width / 2, a.y + a.height / 2]")  # fmt: skip
    for _ in range(12):
        opened.wheel(round(x), round(y), -240)
    opened.wait(CALM)
    assert opened.run(f"return {OPEN}") > whole or opened.run("return location.hash.includes('at=0')")
    press(opened, "0")
    opened.run("const search = document.getElementById('search'); search.focus(); search.value = 'max_pool';"
               "search.dispatchEvent(new Event('input'))")  # fmt: skip
    opened.type("Enter")
    opened.wait(CALM)
    assert "max_pool" in opened.run("return document.getElementById('about').textContent")
    press(opened, "Enter", "Enter", "Enter")
    assert opened.run("return document.getElementById('trail').children.length") >= 2
    press(opened, "Escape", "Escape", "Escape", "Escape", "Escape")
    assert opened.run(f"return {TITLE}") == "Sequential"
    assert opened.run("return failed") == []


def test_stepping_names_notes_and_saving_work(opened: Firefox) -> None:
    opened.run("document.getElementById('step').click()")
    opened.wait(CALM)
    assert opened.run("return document.getElementById('walk-words').textContent").startswith("forward 1 of 8")
    opened.run("document.getElementById('walk-on').click()")
    opened.wait(CALM)
    assert opened.run("return document.querySelectorAll('svg.interior .later').length") > 0
    opened.run("const name = document.querySelector('#about input'); name.value = 'mine';"
               "name.dispatchEvent(new Event('change'))")  # fmt: skip
    opened.wait(f"{CALM} && location.hash.includes('names=')")
    assert opened.run(f"return {TITLE}") == "mine"
    saved = opened.run("""
      let found = null;
      const make = URL.createObjectURL, click = HTMLAnchorElement.prototype.click;
      URL.createObjectURL = blob => { found = blob; return make.call(URL, blob); };
      HTMLAnchorElement.prototype.click = () => {};
      document.getElementById('export').click();
      URL.createObjectURL = make;
      HTMLAnchorElement.prototype.click = click;
      return found.text();""")
    assert saved.startswith("<svg")
    assert not re.search(r"var\(|class=|<style", saved)
    assert "mine" in saved
    assert opened.run("return failed") == []


def test_a_link_leads_to_the_same_place(opened: Firefox) -> None:
    press(opened, "Enter", "Enter")
    opened.wait("location.hash.includes('on=')")
    address, title = opened.run(f"return [location.href, {TITLE}]")
    opened.go("about:blank")
    opened.go(address)
    opened.wait(f"{OPEN} > 0 && {CALM}")
    assert opened.run(f"return {TITLE}") == title
