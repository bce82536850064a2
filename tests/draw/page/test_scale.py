"""Large models: what their pages weigh, how soon they are painted, how smoothly they zoom, and that none hangs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.draw.page import page
from tinygraph.draw.page.writing import PACKED_ABOVE, packed

Visit = Callable[..., Any]
PLACE = "document.querySelector('#trail [aria-current]').textContent"


def blocks(ops: int, seed: int = 0) -> tg.Tensor:
    """Groups of 150 ops, each group wired differently."""
    rng = np.random.default_rng(seed)
    y = tg.tensor(np.ones(2), requires_grad=True, name="x")
    for i in range(-(-ops // 150)):
        with tg.core.modes.scope(f"block{i}"):
            made = [y]
            for j in range(75):
                one = made[int(rng.integers(max(0, len(made) - 8), len(made)))]
                made.append(np.tanh(one) if j % 2 else one * 0.5 + made[-1] * 0.5)
            y = made[-1]
    return y


@pytest.fixture(scope="module")
def large() -> str:
    """A page with numbers above the size at which data are packed."""
    x = tg.tensor(np.arange(30_000.0).reshape(100, 300), requires_grad=True, name="x")
    y = np.tanh(x).sum()
    for _ in range(400):
        y = y * 0.5
    return page(tg.graph_of(y), title="large")


# -- packed data -------------------------------------------------------------------------------------------------------


def test_little_is_written_as_it_is_and_much_is_packed() -> None:
    assert packed('{"a":1}') == ("application/json", '{"a":1}')
    assert packed(b"\x00\x01") == ("text/plain", "AAE=")
    kind, text = packed("a" * (PACKED_ABOVE + 1))
    assert kind == "application/gzip"
    assert len(text) < 1000
    assert packed("a" * (PACKED_ABOVE + 1)) == (kind, text)


def test_a_packed_page_shows_its_numbers(visit: Visit, lay_open: Callable[[Any], None], large: str) -> None:
    assert re.findall(r'<script type="([^"]+)" id', large) == ["application/gzip"] * 2
    opened = visit(large)
    assert opened.evaluate(PLACE) == "large"
    opened.fill("#search", "x 100×300")
    opened.keyboard.press("Enter")
    assert "0 … 29999" in opened.locator("#about").inner_text()
    lay_open(opened)
    record = next(i for i, one in enumerate(opened.evaluate("DATA.values")) if one["n"] == "x")
    assert opened.evaluate(f"[...TENSORS[{record}].shape, TENSORS[{record}].get(12345)]") == [
        100,
        300,
        12_345,
    ]


def test_a_browser_that_unpacks_nothing_says_so_beside_the_still_picture(visit: Visit, large: str) -> None:
    opened = visit(large.replace("<style", "<script>delete window.DecompressionStream</script><style", 1))
    assert opened.locator("#trouble").is_visible()
    assert "unpacks gzip" in opened.locator("#trouble").inner_text()
    assert opened.locator("#still").is_visible()


def test_a_packed_page_still_carries_its_graph(tmp_path: Path) -> None:
    x = tg.tensor(np.linspace(-1, 1, 20_000), requires_grad=True, name="x")
    path = tg.draw((np.tanh(x) * 2).sum()).html(tmp_path / "model.html")
    assert "application/gzip" in path.read_text("utf-8")
    again = tg.load(path)
    np.testing.assert_array_equal(again().detach().numpy(), (np.tanh(x.numpy()) * 2).sum())
