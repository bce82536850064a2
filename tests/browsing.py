"""One browser for all tests of a process, and the pages they open in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "/usr/lib/chromium/chromium")
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
WINDOW = {"width": 1280, "height": 800}
USUAL = dict.fromkeys(("media", "color_scheme", "reduced_motion", "forced_colors", "contrast"), "null")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (the extra `test`)")
    path = next((found for found in map(shutil.which, CHROMIUM) if found), None)
    if path is None:
        pytest.skip("needs a Chromium: Debian's package `chromium`, or Chrome")
    with playwright.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=path, args=list(FLAGS))
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def usual_page(browser: Any) -> Any:
    """A page of the usual window, for one test after another: to make a page takes longer than to show one."""
    return browser.new_context(viewport=WINDOW).new_page()


@pytest.fixture
def visit(browser: Any, usual_page: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page's text and returns it once it stands still; fails the test if its script did.

    The first visit with the usual options is to the usual page; every other one makes a page.
    """
    free, contexts, errors = [usual_page], [], []

    def failed(error: object) -> None:
        errors.append(str(error))

    def asked(request: Any) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            errors.append(f"the page asked for {request.url}")

    def open_page(text: str, address: str = "", **options: Any) -> Any:
        path = tmp_path / "page.html"
        path.write_text(text, "utf-8")
        if free and not options:
            page = free.pop()
        else:
            context = browser.new_context(**{"viewport": WINDOW, **options})
            contexts.append(context)
            page = context.new_page()
        page.on("pageerror", failed)
        page.on("request", asked)
        page.goto(f"{path.as_uri()}{address}")
        page.wait_for_timeout(500)
        return page

    yield open_page
    for context in contexts:
        context.close()
    if not free:
        _leave(usual_page)
        usual_page.remove_listener("pageerror", failed)
        usual_page.remove_listener("request", asked)
    assert errors == []


def _leave(page: Any) -> None:
    """The page as it was before anybody came."""
    for other in page.context.pages:
        if other is not page:
            other.close()
    page.evaluate("() => { localStorage.clear(); sessionStorage.clear(); }")
    page.mouse.move(-9, -9)
    page.set_viewport_size(WINDOW)
    page.emulate_media(**USUAL)
    page.goto("about:blank")
