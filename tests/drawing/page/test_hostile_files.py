"""Pictures and pages full of hostile names, used in a real browser: no dialog, nothing run or fetched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinygraph as tg

# What a name's script would do; each is looked for after everything has been touched.
TRAPS = "['alert', 'open', 'confirm', 'prompt', 'print'].forEach(one => { window[one] = () => (window.pwned = one) })"


@pytest.fixture
def opened(browser: Any) -> Any:
    """Opens a file with traps set, and holds it to having done nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    context.add_init_script(TRAPS)
    seen: list[str] = []

    def open_file(path: Path) -> Any:
        page = context.new_page()
        page.on("dialog", lambda dialog: (seen.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
        page.on("pageerror", lambda error: seen.append(f"an error: {error}"))
        page.on("popup", lambda other: seen.append(f"a window: {other.url}"))
        page.on("request", lambda request: _only_files(request.url, path, seen))
        page.goto(path.as_uri())
        page.wait_for_timeout(300)
        return page

    yield open_file
    pages = [page for page in context.pages if page.evaluate("window.pwned !== undefined")]
    context.close()
    assert not seen
    assert not pages


def _only_files(url: str, path: Path, seen: list[str]) -> None:
    if url.partition("#")[0] != path.as_uri() and not url.startswith(("data:", "blob:")):
        seen.append(f"a request: {url}")


@pytest.mark.parametrize("zoom", ["module", "op"])
def test_an_svg_opened_by_itself(
    zoom: str, opened: Callable[[Path], Any], hostile_graph: Any, tmp_path: Path
) -> None:
    drawing = tg.draw(hostile_graph, zoom=zoom, backward=True)
    page = opened(drawing.save(tmp_path / "picture.svg"))
    words = page.evaluate("document.documentElement.textContent")
    assert "</script><script>alert(1)</script>" in words
    for box in drawing.picture.boxes[:40]:
        page.evaluate(
            """id => {
                const box = document.getElementById(id);
                for (const kind of ['mouseover', 'click', 'focus', 'error', 'load'])
                    box.querySelectorAll('*').forEach(one => one.dispatchEvent(new MouseEvent(kind, {bubbles: true})));
            }""",
            box.id,
        )
    assert (
        page.evaluate(
            "document.querySelectorAll('script, foreignObject, iframe, img, [onload], [onerror]').length"
        )
        == 0
    )
    assert page.url == (tmp_path / "picture.svg").as_uri()


def test_an_svg_inside_a_page(opened: Callable[[Path], Any], hostile_graph: Any, tmp_path: Path) -> None:
    """As a notebook shows it: parsed as HTML, which forgives what XML does not."""
    svg = tg.draw(hostile_graph)._repr_mimebundle_()["image/svg+xml"]
    path = tmp_path / "notebook.html"
    path.write_text(f"<!DOCTYPE html><meta charset=utf-8><body>{svg}<p id=after>after</p>", "utf-8")
    page = opened(path)
    assert page.evaluate("document.querySelectorAll('script, img, iframe, b').length") == 0
    assert page.evaluate("document.getElementById('after').parentNode === document.body")
    assert page.evaluate("document.querySelectorAll('svg').length") == 1


def test_the_page_that_zooms(
    opened: Callable[[Path], Any], hostile_graph: Any, hostile_names: tuple[str, ...], tmp_path: Path
) -> None:
    page = opened(tg.draw(hostile_graph).html(tmp_path / "page.html"))
    scripts = page.evaluate("document.scripts.length")
    for name in hostile_names:
        page.fill("#search", name[:60])
        page.keyboard.press("Enter")
        page.wait_for_timeout(60)
        page.keyboard.press("Escape")
    for key in ("0", "Enter", "Enter", "ArrowRight", "ArrowDown", "Enter", "Escape", "?", "Escape", "0"):
        page.keyboard.press(key)
        page.wait_for_timeout(60)
    assert page.evaluate("document.scripts.length") == scripts
    assert page.locator("main img, aside img, header img, iframe, object, embed").count() == 0
    assert page.evaluate(
        "[...document.querySelectorAll('*')].every(one => !one.getAttributeNames().some(key => key.startsWith('on')))"
    )
    assert page.evaluate(
        "[...document.querySelectorAll('[href]')].every(one => !/^javascript/i.test(one.getAttribute('href')))"
    )


def test_the_tree_of_modules(opened: Callable[[Path], Any], hostile_model: Any, tmp_path: Path) -> None:
    """A page around a still picture."""
    page = opened(tg.draw(hostile_model).html(tmp_path / "tree.html"))
    assert page.locator("svg").count() >= 1
    page.mouse.move(300, 300)
    page.mouse.wheel(0, -300)
    page.wait_for_timeout(100)
    assert page.locator("img, iframe, object, embed").count() == 0
