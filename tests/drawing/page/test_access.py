"""No fault of access that axe-core finds: on the page that zooms and on the story. Skipped without axe-core.

`npm install axe-core` in any folder, and TINYGRAPH_AXE=<folder>/node_modules/axe-core/axe.min.js says where it is.
"""

import os
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn

AXE = os.environ.get("TINYGRAPH_AXE", "")
# A row of the outline says its kind in words, where its text has it as a sign, and its text includes the rows below it.
LEFT_OUT = {"label-content-name-mismatch"}

pytestmark = pytest.mark.skipif(not AXE, reason="TINYGRAPH_AXE does not say where axe-core is")


def faults(page, address):
    page.goto(address)
    page.wait_for_timeout(300)
    page.evaluate(Path(AXE).read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        (one["id"], one["nodes"][0]["html"][:200], one["nodes"][0]["failureSummary"])
        for one in found["violations"]
        if one["id"] not in LEFT_OUT
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 900), (390, 844)], ids=["desktop", "phone"])
def test_the_page_that_zooms(browser, tmp_path, scheme, size):
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3))
    tg.draw(model, tmp_path / "page.html", inputs=np.ones((1, 1, 8, 8), np.float32), show=("names", "values"))
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    assert faults(page, (tmp_path / "page.html").as_uri()) == []
    page.keyboard.press("?")
    assert page.locator("dialog[open]").count() == 1
    page.close()
