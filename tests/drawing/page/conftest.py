"""The pages that the page's tests open, in the browser of the whole suite."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.drawing.page.joining import joined


def small_network() -> tuple[Any, Any]:
    """A convolutional network, and one 8x8 picture for it."""
    tg.manual_seed(0)
    nn = tg.nn
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(24, 10), nn.Softmax(1),
    )  # fmt: skip
    picture = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)
    return model, picture


@pytest.fixture(scope="session")
def network() -> tuple[Any, Any]:
    return small_network()


@pytest.fixture
def visit(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Opens a page's text and returns it once it stands still; fails the test if its script did."""
    contexts, errors = [], []

    def open_page(text: str, address: str = "", **options: Any) -> Any:
        path = tmp_path / "page.html"
        path.write_text(text, "utf-8")
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda request: _only_ours(request.url, errors))
        page.goto(f"{path.as_uri()}{address}")
        page.wait_for_timeout(500)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert errors == []


def _only_ours(url: str, errors: list[str]) -> None:
    if not url.startswith(("file:", "data:", "blob:")):
        errors.append(f"the page asked for {url}")


@pytest.fixture
def lay_open() -> Callable[[Any], None]:
    """Gives a test the page's data and the arithmetic on them, which its script keeps to itself."""

    def hand_out(opened: Any) -> None:
        names = ("payload", "tensors", "numbers", "places")
        opened.evaluate(f"async () => {{ {joined(names)} Object.assign(window, {', '.join(names)}); }}")

    return hand_out
