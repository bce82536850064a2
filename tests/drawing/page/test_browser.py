"""The page in a real browser: zooming from the model to one neuron's terms and back, by wheel, touch and keys alone."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.drawing.model.numbers import with_backward
from tinygraph.drawing.page import page
from tinygraph.packages.card import card_of

Visit = Callable[..., Any]
LayOpen = Callable[[Any], None]
FLOAT = re.compile(r"[−-]?\d+\.?\d*(?:e[−-]?\d+)?")

# The innermost item that fills the view, and the interiors that are open.
PLACE = "document.querySelector('#trail [aria-current]').textContent"
OPEN = "document.querySelectorAll('svg.interior:not(.hidden)').length"
SELECTED = "document.querySelector('#tree [aria-selected=true] > .row > span').textContent"
DETAILS = "document.getElementById('about').innerText"


@pytest.fixture(scope="module")
def text(network: Any) -> str:
    model, picture = network
    graph = tg.capture(model, picture)
    return page(graph, inputs=(picture,), title="LeNet")


@pytest.fixture(scope="module")
def forward(network: Any) -> Any:
    """The result of the first convolution."""
    model, picture = network
    return model[0](picture).detach().numpy()


def numbers(line: str) -> list[float]:
    return [float(one.replace("−", "-")) for one in FLOAT.findall(line)]


def calm(opened: Any) -> None:
    """Wait until nothing flies any more: the page says so, interiors stand still, and the address does as well."""
    opened.wait_for_timeout(150)
    opened.wait_for_function("!('moving' in document.getElementById('stage').dataset)")
    opened.wait_for_function(
        """() => new Promise(done => {
            const view = () => location.hash + [...document.querySelectorAll('svg.interior')]
                .map(one => one.className.baseVal + one.getAttribute('style')).join();
            const now = view();
            setTimeout(() => done(view() === now), 450);
        })"""
    )


def key(opened: Any, *keys: str) -> None:
    for one in keys:
        opened.keyboard.press(one)
        calm(opened)


def test_the_whole_model_is_painted_without_scripts(visit: Visit, text: str) -> None:
    opened = visit(text, java_script_enabled=False)
    shown = opened.locator("#still text").all_text_contents()
    assert "0 · Conv2d" in shown
    assert "output" in shown


def test_from_the_model_to_one_neuron_and_back_by_keys_alone(visit: Visit, text: str, forward: Any) -> None:
    opened = visit(text)
    assert opened.evaluate(PLACE) == "LeNet"
    key(opened, "/")
    opened.keyboard.type("convolution")
    key(opened, "Enter")
    assert opened.evaluate(PLACE) == "convolution"
    assert "kernel[2,0]" in opened.locator("svg.interior:not(.hidden)").last.text_content()
    key(opened, "Enter")
    assert opened.evaluate(SELECTED) == "x[0,0]"
    opened.goto(opened.url.partition("#")[0] + "#on=1.2.4.27")  # an element of the first output channel
    calm(opened)
    assert opened.evaluate(SELECTED) == "out[0,0,3,3]"
    details = opened.evaluate(DETAILS)
    total = next(line for line in details.splitlines() if line.startswith("forward computed"))
    assert numbers(total)[0] == pytest.approx(float(forward[0, 0, 3, 3]), rel=2e-3)
    key(opened, "Enter")
    assert opened.evaluate(SELECTED) == "x[0,0,2,2] × kernel[0,0,0,0]"
    for expected in ("out[0,0,3,3]", "out[0,0]", "convolution", "0 · Conv2d", "LeNet"):
        key(opened, "Escape")
        assert opened.evaluate(SELECTED) == expected
    assert opened.evaluate(OPEN) <= 3


def test_the_terms_on_the_page_add_up_to_the_forward_pass(visit: Visit, text: str, network: Any) -> None:
    model, picture = network
    opened = visit(text, "#on=1.2.4.27")
    interior = opened.locator("svg.interior:has(.heading:text-is('out[0,0,3,3]'))")
    terms = interior.locator(".product").all_text_contents()
    bias = float(model[0].bias.detach().numpy()[0])
    expected = float(model[0](picture).detach().numpy()[0, 0, 3, 3])
    assert len(terms) == 9
    assert sum(numbers(one)[0] for one in terms) + bias == pytest.approx(expected, abs=5e-4)


def test_a_tmp_element_is_its_terms_alone(visit: Visit, text: str) -> None:
    opened = visit(text, "#on=1.2.2.27")
    assert opened.evaluate(SELECTED) == "tmp[0,0][3,3]"
    details = opened.evaluate(DETAILS)
    assert "sum of 9 terms" in details
    assert "bias" not in details


def test_the_arithmetic_of_the_page_is_the_forward_pass(visit: Visit, lay_open: LayOpen, text: str) -> None:
    """Every element of every op with an expansion, in doubles, against the embedded results."""
    opened = visit(text)
    lay_open(opened)
    worst = opened.evaluate("""() => {
      const ops = [], walk = box => { if (box.expansion !== undefined) ops.push(box); (box.kids ?? []).forEach(walk); };
      walk(DATA.root);
      return ops.map(record => {
        const work = new Work(record), e = work.expansion;
        if (e.join === "op") return [record.op, 0, 0];
        let most = 0;
        for (let i = 0; i < work.result.size; i++) {
          const o = unravel(i, e.shape);
          let v = work.reduce(o, e.over.map(() => 0), e.over) + (work.bias(o)?.value ?? 0);
          const own = e.share && work.operands[e.share.operand].get(placeOf(e.share, o, e.over.map(() => 0)));
          if (e.share) v = FUNCTIONS[e.each](own) / v;
          most = Math.max(most, Math.abs(FUNCTIONS[e.after](v) - work.result.get(i)));
        }
        return [record.op, work.result.size, most];
      });
    }""")
    assert {name for name, count, _ in worst if count} >= {
        "convolution",
        "max_pool",
        "matmul",
        "softmax",
        "flatten",
    }
    for name, _, most in worst:
        assert most < 1e-6, name


def test_zooming_with_the_wheel_reaches_numbers_and_stops_there(visit: Visit, text: str) -> None:
    opened = visit(text)
    rect = opened.locator("svg.interior .k-convolution > .box").first.bounding_box()
    opened.mouse.move(rect["x"] + rect["width"] / 2, rect["y"] + rect["height"] * 0.75)
    for _ in range(60):
        opened.mouse.wheel(0, -200)
        opened.wait_for_timeout(25)
    calm(opened)
    deep = opened.evaluate("location.hash")
    for _ in range(15):
        opened.mouse.wheel(0, -240)
        opened.wait_for_timeout(25)
    calm(opened)
    assert opened.evaluate(OPEN) >= 1
    assert len(deep) < 200
    for _ in range(110):
        opened.mouse.wheel(0, 240)
        opened.wait_for_timeout(15)
    calm(opened)
    assert opened.evaluate(PLACE) == "LeNet"


def test_dragging_moves_and_a_double_click_goes_in(visit: Visit, text: str) -> None:
    opened = visit(text)
    box = opened.locator("svg.interior .k-pooling > .box").first
    before = box.bounding_box()
    opened.mouse.move(640, 700)
    opened.mouse.down()
    opened.mouse.move(700, 720, steps=4)
    opened.mouse.up()
    opened.wait_for_timeout(100)
    after = box.bounding_box()
    assert after["x"] - before["x"] == pytest.approx(60, abs=1)
    assert after["y"] - before["y"] == pytest.approx(20, abs=1)
    opened.mouse.dblclick(after["x"] + 20, after["y"] + 12)
    calm(opened)
    assert opened.evaluate(PLACE) == "2 · max_pool"


def test_pinching_zooms_about_the_middle_of_two_fingers(visit: Visit, text: str) -> None:
    opened = visit(text, has_touch=True)
    box = opened.locator("svg.interior .k-pooling > .box").first
    before = box.bounding_box()
    x, y = before["x"] + before["width"] / 2, before["y"] + before["height"] / 2
    client = opened.context.new_cdp_session(opened)

    def touch(kind: str, apart: float) -> None:
        points = [{"x": x - apart, "y": y, "id": 1}, {"x": x + apart, "y": y, "id": 2}]
        client.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points if apart else []})

    touch("touchStart", 20)
    for apart in range(22, 42, 2):
        touch("touchMove", apart)
    touch("touchEnd", 0)
    opened.wait_for_timeout(200)
    after = box.bounding_box()
    assert after["width"] / before["width"] == pytest.approx(2.0, rel=0.15)
    assert after["x"] + after["width"] / 2 == pytest.approx(x, abs=8)
    assert opened.evaluate("visualViewport.scale") == 1


def test_search_finds_by_name_op_and_shape(visit: Visit, text: str) -> None:
    opened = visit(text)
    for words, first in (("softmax", "7 · softmax"), ("6.weight", "weight"), ("relu 1×6", "4 · relu")):
        opened.fill("#search", words)
        assert opened.locator("#hits b").first.text_content() == first
    opened.fill("#search", "no such thing")
    assert opened.locator("#hits li").first.text_content() == "nothing found"
    opened.fill("#search", "max_pool")
    opened.locator("#hits li").first.dispatch_event("pointerdown")
    calm(opened)
    assert opened.evaluate(PLACE) == "2 · max_pool"
    assert "size" in opened.evaluate(DETAILS)


def test_a_link_brings_back_what_was_seen(visit: Visit, text: str) -> None:
    opened = visit(text, "#on=1.2.4.27")
    calm(opened)
    address = opened.evaluate("location.hash")
    box = opened.locator("#selected").bounding_box()
    opened.goto(opened.url.partition("#")[0] + "?again" + address)
    opened.wait_for_timeout(500)
    again = opened.locator("#selected").bounding_box()
    assert opened.evaluate(SELECTED) == "out[0,0,3,3]"
    assert again["x"] == pytest.approx(box["x"], abs=1)
    assert again["width"] == pytest.approx(box["width"], abs=1)


@pytest.mark.parametrize(
    "address",
    ["#at=9.9.9&see=1,1,1", "#see=nan,0,0", "#at=&see=0,0,-4", "#on=1.2.99999", "#x&&=", "#%E0%A4%A"],
)
def test_a_broken_link_shows_the_model(visit: Visit, text: str, address: str) -> None:
    opened = visit(text, address)
    assert opened.evaluate(OPEN) >= 1


def test_themes_change_colours_and_follow_the_system(visit: Visit, text: str) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    opened = visit(text, color_scheme="dark")
    dark = opened.evaluate(background)
    opened.select_option("#theme", "light")
    light = opened.evaluate(background)
    assert light == "rgb(255, 255, 255)"
    assert sum(numbers(dark)[:3]) < 150
    fills = set()
    for theme in ("light", "dark", "okabe-ito"):
        opened.select_option("#theme", theme)
        opened.wait_for_timeout(300)
        fills.add(
            opened.evaluate("getComputedStyle(document.querySelector('svg .k-convolution > .box')).fill")
        )
    assert len(fills) == 3


def test_a_screen_reader_finds_a_tree_and_no_drawing(visit: Visit, text: str) -> None:
    opened = visit(text)
    tree = opened.get_by_role("tree")
    assert tree.get_by_role("treeitem").count() == 11
    assert opened.locator("svg.interior[aria-hidden=true]").count() == opened.locator("svg.interior").count()
    root = tree.get_by_role("treeitem").first
    root.focus()
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowRight")
    opened.keyboard.press("ArrowRight")
    assert opened.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "weight, parameter, 3×1×3×3"
    )
    opened.keyboard.press("Enter")
    calm(opened)
    assert opened.evaluate(PLACE) == "weight"
    assert "weight, parameter" in opened.locator("#live").text_content()


def test_the_view_is_saved_as_an_svg_that_stands_alone(visit: Visit, text: str, tmp_path: Path) -> None:
    opened = visit(text, "#on=1.2")
    with opened.expect_download() as waiting:
        opened.click("#export")
    saved = tmp_path / "view.svg"
    waiting.value.save_as(saved)
    content = saved.read_text("utf-8")
    assert content.startswith("<svg")
    assert "tmp[0,0]" in content
    assert "data:image/png" in content
    assert "http" not in content.replace("http://www.w3.org/", "")


def test_tiles_of_a_large_plane_show_its_picture(visit: Visit) -> None:
    x = tg.tensor(np.random.default_rng(0).normal(size=(60, 40)), requires_grad=True, name="x")
    opened = visit(page(tg.graph_of(np.sin(x))), "#on=1")
    key(opened, "Enter", "Enter")
    tiles = opened.locator("svg.interior:not(.hidden) > .tile > .box")
    assert tiles.count() == 12
    assert opened.evaluate("getComputedStyle(document.querySelector('svg .tile > .box')).fill") == "none"
    behind = opened.locator("svg.interior:has(> .tile) > image.heat")
    assert behind.first.get_attribute("href").startswith("data:image/png")


def test_a_phone_shows_the_model_and_its_details(visit: Visit, text: str) -> None:
    opened = visit(text, viewport={"width": 390, "height": 844}, has_touch=True)
    assert not opened.locator("#tree").is_visible() or opened.locator("#outline").bounding_box()["width"] <= 1
    box = opened.locator("svg.interior .k-pooling > .box").first.bounding_box()
    assert box["width"] > 30
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    opened.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "max_pool" in opened.evaluate(DETAILS)


@pytest.mark.slow
def test_a_large_model_opens_fast_and_zooms_smoothly(visit: Visit) -> None:
    rng = np.random.default_rng(0)
    y = tg.tensor(np.ones(2), requires_grad=True, name="x")
    for i in range(50):
        with tg.core.modes.scope(f"block{i}"):
            made = [y]
            for j in range(60):
                one = made[int(rng.integers(max(0, len(made) - 8), len(made)))]
                made.append(np.tanh(one) if j % 2 else one * 0.5 + made[-1] * 0.5)
            y = made[-1]
    opened = visit(page(tg.graph_of(y)))
    paint = opened.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    assert paint < 3000
    frames = opened.evaluate("""async () => {
      const stage = document.getElementById("stage"), box = stage.getBoundingClientRect(), taken = [];
      let last = performance.now();
      for (const way of [-1, 1]) for (let i = 0; i < 60; i++) {
        stage.dispatchEvent(new WheelEvent("wheel", {deltaY: way * 40, clientX: box.x + box.width / 2,
          clientY: box.y + 300, bubbles: true, cancelable: true}));
        await new Promise(done => requestAnimationFrame(done));
        taken.push(performance.now() - last);
        last = performance.now();
      }
      return taken.sort((a, b) => a - b);
    }""")
    assert frames[60] < 100  # the median; a busy machine draws slower than a person's own


def test_what_an_element_reaches_counts_as_in_the_article(visit: Visit, lay_open: LayOpen) -> None:
    """3 channels of 7x7 to 2 through 3x3: an input reaches 8, 12 or 18, a kernel element 36, 42 or 49, a bias 49."""
    rng = np.random.default_rng(0)
    kernel = tg.tensor(rng.normal(size=(2, 3, 3, 3)), requires_grad=True, name="kernel")
    bias = tg.tensor(rng.normal(size=2), requires_grad=True, name="bias")
    x = rng.normal(size=(1, 3, 7, 7))
    opened = visit(page(tg.graph_of(tg.ops.convolution(x, kernel, bias, padding=1))))
    lay_open(opened)
    reached = opened.evaluate("""() => {
      const ops = [], walk = box => { if (box.op) ops.push(box); (box.kids ?? []).forEach(walk); };
      walk(DATA.root);
      const work = new Work(ops[0]);
      return [0, 1, 2].map(operand => [...Array(work.operands[operand].size).keys()].map(flat => {
        const made = work.reach(operand, flat);
        return [...Array(made.size).keys()].map(i => made.get(i));
      }));
    }""")
    counts = [
        np.isfinite(np.array(one, float)).sum(axis=1) for one in reached
    ]  # JSON has no nan: it comes as None
    of_input = counts[0].reshape(3, 7, 7)
    assert (of_input[:, [0, 0, 6, 6], [0, 6, 0, 6]] == 8).all()
    assert (of_input[:, 0, 1:6] == 12).all()
    assert (of_input[:, 1:6, 1:6] == 18).all()
    assert (counts[1].reshape(6, 3, 3) == [[36, 42, 36], [42, 49, 42], [36, 42, 36]]).all()
    assert counts[2].tolist() == [49, 49]
    local = np.array(reached[1][4], float)  # the centre of kernel (0, 0) meets input channel 0 as it is
    np.testing.assert_allclose(local[:49].reshape(7, 7), x[0, 0], rtol=1e-6)


def test_what_an_element_changes_in_a_mean_is_its_share(visit: Visit, lay_open: LayOpen) -> None:
    x = tg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, name="x")
    opened = visit(page(tg.graph_of(np.mean(x, axis=1))))
    lay_open(opened)
    reached = opened.evaluate("""() => {
      const ops = [], walk = box => { if (box.op) ops.push(box); (box.kids ?? []).forEach(walk); };
      walk(DATA.root);
      const work = new Work(ops[0]);
      return [...Array(6).keys()].map(flat => [0, 1].map(i => work.reach(0, flat).get(i)));
    }""")
    np.testing.assert_allclose(reached, [[1 / 3, np.nan]] * 3 + [[np.nan, 1 / 3]] * 3, rtol=1e-6)


def test_stepping_shows_one_op_after_another_and_stops_where_asked(visit: Visit, text: str) -> None:
    opened = visit(text)
    words = opened.locator("#walk-words")
    opened.click("#step")
    opened.select_option("#walk-level", "ops")
    calm(opened)
    assert words.text_content().startswith("forward 1 of 10 · convolution · norm")
    assert opened.locator("svg.interior .later").count() > 0
    opened.click("#walk-on")
    calm(opened)
    assert words.text_content().startswith("forward 2 of 10 · 1 · relu")
    assert "relu" in opened.evaluate(DETAILS)
    opened.fill("#walk-until", "max_pool")
    opened.click("#walk-run")
    opened.wait_for_function("document.getElementById('walk-words').textContent.includes('max_pool')")
    opened.wait_for_timeout(1200)
    assert "max_pool" in words.text_content()
    opened.click("#step")
    assert opened.locator("svg.interior .later").count() == 0
    assert not opened.locator("#walk").is_visible()


def test_stepping_goes_backward_where_there_are_gradients(visit: Visit) -> None:
    x = tg.tensor([1.0, -2.0], requires_grad=True, name="x")
    opened = visit(page(tg.graph_of((np.tanh(x) * 1000.0).sum())))
    opened.click("#step")
    opened.fill("#walk-until", "norm > 500")
    opened.click("#walk-run")
    opened.wait_for_function("document.getElementById('walk-run').getAttribute('aria-pressed') === 'false'")
    assert "forward 2 of 3 · multiply" in opened.locator("#walk-words").text_content()
    for _ in range(3):
        opened.click("#walk-on")
    calm(opened)
    assert "backward 2 of 3 · multiply · norm 1.414" in opened.locator("#walk-words").text_content()
    assert "Gradient of the output" in opened.evaluate(DETAILS)


# -- overlays ----------------------------------------------------------------------------------------------------------

BOXES = """() => Object.fromEntries([...document.querySelectorAll('svg.interior:not(.hidden) .kid:not(.opened)')]
    .map(one => [one.querySelector('.title')?.textContent, one.querySelector('.note')?.textContent]))"""
TINTS = """() => Object.fromEntries([...document.querySelectorAll('svg.interior:not(.hidden) .kid')]
    .map(one => [one.querySelector('.title')?.textContent, getComputedStyle(one.querySelector('.box')).fill]))"""


@pytest.fixture(scope="module")
def costly(network: Any) -> str:
    model, picture = network
    graph = tg.capture(lambda x: (model(x) ** 2).sum(), picture)
    return page(graph, inputs=(picture,), title="loss", timing=True)


def test_an_overlay_tints_boxes_and_writes_amounts_that_groups_add_up(visit: Visit, costly: str) -> None:
    opened = visit(costly)
    assert opened.locator("#overlay option").all_text_contents() == [
        "No overlay", "Time", "Operations", "Bytes", "Kept for backward", "Gradient norm", "Not finite",
        "Gradient not finite", "Zeros", "Missing derivatives", "Bytes alive",
    ]  # fmt: skip
    assert not opened.locator("#legend").is_visible()
    opened.select_option("#overlay", "flops")
    calm(opened)
    lines = opened.evaluate(BOXES)
    # 64 places x 3 channels x 9 products and sums, and a bias each; 4 x 6 x 27; a matrix of 24 x 10
    assert lines["0 · Conv2d"] == "3.65 kflop"
    legend = opened.locator("#legend").inner_text()
    assert "Operations" in legend
    assert "the largest in loss" in legend
    tints = opened.evaluate(TINTS)
    assert tints["0 · Conv2d"] == "rgb(244, 121, 59)"  # the largest has the full tint
    assert tints["0 · Conv2d"] != tints["3 · Conv2d"] != tints["1 · relu"]
    opened.select_option("#theme", "dark")
    calm(opened)
    assert opened.evaluate(TINTS)["0 · Conv2d"] == "rgb(184, 80, 42)"


def test_a_groups_amount_is_that_of_its_ops_together(visit: Visit, lay_open: LayOpen, costly: str) -> None:
    opened = visit(costly)
    lay_open(opened)
    wrong = opened.evaluate("""() => {
      const wrong = [];
      const leaves = box => box.kids ? box.kids.flatMap(leaves) : box.node === undefined ? [] : [box.node];
      for (const overlay of DATA.overlays) {
        const amounts = leaves(DATA.root).map(node => overlay.amounts[node]).filter(a => a !== null);
        const all = overlay.amounts.filter(a => a !== null);
        if (amounts.length !== all.length) wrong.push(overlay.name);
      }
      return wrong;
    }""")
    assert wrong == []
    costs = dict(
        zip(
            opened.locator("#about dt").all_text_contents(),
            opened.locator("#about dd").all_text_contents(),
            strict=True,
        )
    )
    norms = numbers(costs["Gradient norm"])
    assert norms[0] > 0
    assert costs["Not finite"] == "all finite"
    assert costs["Missing derivatives"] == "none missing"


def test_an_overlay_is_chosen_by_key_and_part_of_the_link(visit: Visit, costly: str) -> None:
    opened = visit(costly)
    opened.locator("#stage").focus()
    key(opened, "o", "o")
    assert opened.locator("#overlay").input_value() == "flops"
    assert opened.evaluate("location.hash").endswith("show=flops")
    assert "Operations" in opened.locator("#live").text_content()
    opened.goto(opened.url.partition("#")[0] + "?again#on=1&show=bytes")
    calm(opened)
    assert opened.locator("#overlay").input_value() == "bytes"
    assert "show=bytes" in opened.evaluate("location.hash")
    opened.evaluate("location.hash = '#on=1&show=nonsense'")
    calm(opened)
    assert opened.locator("#overlay").input_value() == ""


def test_a_page_without_numbers_offers_what_needs_none(visit: Visit, network: Any) -> None:
    model, picture = network
    opened = visit(page(tg.capture(model, picture), most_elements=0, overlay="saved"))
    assert opened.locator("#overlay option").all_text_contents() == [
        "No overlay", "Operations", "Bytes", "Kept for backward", "Missing derivatives", "Bytes alive",
    ]  # fmt: skip
    assert opened.locator("#overlay").input_value() == "saved"


def test_the_view_is_saved_as_a_png_of_twice_the_size(visit: Visit, text: str, tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    opened = visit(text, "#on=1.2")
    with opened.expect_download() as waiting:
        opened.click("#export-png")
    saved = tmp_path / "view.png"
    waiting.value.save_as(saved)
    picture = image.open(saved)
    stage = opened.locator("#stage").bounding_box()
    assert picture.format == "PNG"
    assert picture.size == (2 * stage["width"], 2 * stage["height"])
    colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 24)}
    assert len(colours) > 50
    assert (255, 255, 255) in colours


def test_a_saved_view_says_what_its_tint_means(visit: Visit, costly: str) -> None:
    opened = visit(costly, "#show=bytes")
    with opened.expect_download() as waiting:
        opened.click("#export")
    last = ET.parse(waiting.value.path()).getroot()[-1].text
    assert re.fullmatch(r"Bytes: from 0 to [\d.]+ k?B, the largest in loss", last)


def test_an_op_shows_its_conformance_card(visit: Visit, text: str) -> None:
    opened = visit(text, "#on=1.2")
    details = opened.evaluate(DETAILS)
    card = card_of(tg.ops.convolution)
    assert "Conformance card" in details
    assert f"{card.laws} hold" in details
    assert card.mutation in details
    assert ", ".join(card.dtypes) in details


# -- forward and backward ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def both(network: Any) -> str:
    model, picture = network
    graph = tg.capture(lambda x: (model(x) ** 2).mean(), picture)
    return page(with_backward(graph).graph, inputs=(picture,), title="both")


def middles(opened: Any) -> dict[str, tuple[float, float]]:
    found = opened.evaluate("""() => [...document.querySelectorAll('svg:not(.hidden) > .kid > .box')].map(rect => {
      const box = rect.getBoundingClientRect(), one = rect.parentNode;
      return [one.querySelector('.title')?.textContent, box.x + box.width / 2, box.y + box.height / 2];
    })""")
    return {title: (x, y) for title, x, y in found}


def test_a_backward_op_is_seen_opposite_of_its_forward_op(visit: Visit, both: str) -> None:
    opened = visit(both)
    found = middles(opened)
    for name in ("mean", "power"):
        assert found[f"∂ {name}"][0] > found[name][0]
        assert found[f"∂ {name}"][1] == pytest.approx(found[name][1], abs=1)
    assert found["seed"][1] == pytest.approx(found["output"][1], abs=1)
    opened.fill("#search", "convolution")
    key(opened, "Enter", "Escape")
    found = middles(opened)
    for name in ("convolution", "weight", "bias"):
        assert found[f"∂ {name}"][1] == pytest.approx(found[name][1], abs=1)
    assert opened.locator("svg.interior:not(.hidden) .backward").count() >= 3
    opened.goto(opened.url.partition("#")[0] + "#on=2")
    calm(opened)
    assert opened.evaluate(SELECTED) == "1 · ReLU"
    kept = opened.locator("svg.interior:not(.hidden) .label").all_text_contents()
    assert "768 B" in kept  # what relu keeps of 3 x 8 x 8 float32; parameters and inputs stay anyway


def test_gradient_arrows_point_up_and_the_panel_says_what_arrows_mean(visit: Visit, both: str) -> None:
    opened = visit(both)
    turns = opened.evaluate("""() => Object.fromEntries([...document.querySelectorAll('svg.interior .head')]
      .map(one => [one.classList[1], one.style.getPropertyValue('--turn')]))""")
    assert turns["data"] == "0deg"
    assert turns["gradient"] == "180deg"
    assert turns["saved"] == "-90deg"
    details = opened.evaluate(DETAILS)
    assert "gradients, upward" in details
    assert "kept for the backward pass" in details


def test_stepping_through_both_passes_counts_each(visit: Visit, both: str) -> None:
    opened = visit(both)
    opened.click("#step")
    calm(opened)
    words = opened.locator("#walk-words")
    assert words.text_content().startswith("forward 1 of 10 · 0 · Conv2d")
    opened.select_option("#walk-level", "ops")
    assert words.text_content().startswith("forward 1 of 12 · convolution")
    opened.fill("#walk-until", "∂ mean")
    opened.evaluate("document.getElementById('walk-run').click()")
    opened.wait_for_function("document.getElementById('walk-run').getAttribute('aria-pressed') === 'false'")
    calm(opened)
    assert words.text_content().startswith("backward 1 of ")


def test_stepping_shows_nothing_before_it_exists(visit: Visit) -> None:
    w = tg.tensor([[3.0, 1.0], [2.0, 5.0]], requires_grad=True, name="w")
    h = np.exp(w)
    h.name = "h"
    graph = tg.graph_of((h * 7.0).sum())
    opened = visit(page(graph))
    opened.select_option("#overlay", "gradient_norm")

    def about(title: str) -> str:
        opened.locator("#tree .row > span", has_text=re.compile(f"^{title}$")).first.click()
        calm(opened)
        return str(opened.evaluate(DETAILS))

    def has_gradient(title: str) -> tuple[bool, bool]:
        found = about(title)
        return "Gradient of the output" in found, "Gradient norm" in found

    opened.click("#step")  # forward 1 of 3: exp
    calm(opened)
    assert "Not computed yet." in about("sum")
    assert "mean" in about("h")
    assert [has_gradient(one) for one in ("w", "h", "sum")] == [(False, False)] * 3
    assert "norm" not in " ".join(opened.locator("svg.interior:not(.hidden) .kid .note").all_text_contents())
    for _ in range(3):  # backward 1 of 3: sum
        opened.click("#walk-on")
    calm(opened)
    assert [has_gradient(one) for one in ("w", "h", "sum")] == [(False, False), (False, False), (True, True)]
    opened.click("#walk-on")
    opened.click("#walk-on")  # exp: what its result's gradient is made of is all there, and it passes it on
    calm(opened)
    assert [has_gradient(one) for one in ("w", "h", "sum")] == [(True, True)] * 3
    opened.click("#step")
    assert [has_gradient(one) for one in ("w", "h", "sum")] == [(True, True)] * 3


def test_stepping_through_both_passes_shows_gradients_of_leaves_last(visit: Visit) -> None:
    w = tg.tensor([[3.0, 1.0], [2.0, 5.0]], requires_grad=True, name="w")
    opened = visit(page(with_backward(tg.graph_of((np.exp(w) * 7.0).sum())).graph))
    opened.click("#step")
    calm(opened)

    def shown(title: str) -> bool:
        opened.locator("#tree .row > span", has_text=re.compile(f"^{title}$")).first.click()
        calm(opened)
        return "Not computed yet." not in opened.evaluate(DETAILS)

    assert [shown(one) for one in ("w", "∂ w", "seed")] == [True, False, False]
    opened.click("#walk-on")
    opened.click("#walk-on")
    assert not shown("∂ w")
    for _ in range(6):
        opened.click("#walk-on")
    assert [shown(one) for one in ("∂ w", "seed")] == [True, True]


def test_a_view_that_nobody_moved_stays_whole_when_the_window_changes(visit: Visit, text: str) -> None:
    opened = visit(text)
    opened.set_viewport_size({"width": 900, "height": 500})
    calm(opened)
    stage = opened.locator("#stage").bounding_box()
    for box in opened.locator("svg.interior .kid > .box").all():
        place = box.bounding_box()
        assert place["y"] >= stage["y"]
        assert place["y"] + place["height"] <= stage["y"] + stage["height"]


# -- legible -----------------------------------------------------------------------------------------------------------

# Texts that stick out of their boxes, and texts and pictures of one box that lie over each other.
CLUTTER = """() => {
  const found = [], seen = one => getComputedStyle(one).display !== 'none' && one.getBoundingClientRect().width;
  for (const kid of document.querySelectorAll('svg.interior:not(.hidden) > .kid:not(.opened)')) {
    const box = kid.querySelector(':scope > .box')?.getBoundingClientRect();
    const parts = [...kid.querySelectorAll('text:not(.tiny), image')].filter(seen);
    const places = parts.map(one => one.getBoundingClientRect());
    parts.forEach((one, i) => {
      const a = places[i];
      if (box && Math.max(box.left - a.left, a.right - box.right, box.top - a.top, a.bottom - box.bottom) > 1)
        found.push(`${one.textContent} leaves its box`);
      for (const b of places.slice(i + 1))
        if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
          && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 2.5) found.push(`overlap in ${kid.textContent}`);
    });
  }
  return found;
}"""


@pytest.fixture(scope="module")
def attentive() -> str:
    tg.manual_seed(0)
    model = tg.nn.TransformerEncoderLayer(8, 2, 16)
    words = np.random.default_rng(0).normal(size=(1, 3, 8)).astype(np.float32)
    graph = tg.capture(lambda x: (model(x) ** 2).mean(), words)
    return page(with_backward(graph).graph, inputs=(words,))


@pytest.mark.parametrize("width", [1280, 390], ids=["desktop", "phone"])
@pytest.mark.parametrize("net", ["text", "both", "attentive"])
def test_no_text_is_cut_or_covered(visit: Visit, request: Any, net: str, width: int) -> None:
    opened = visit(request.getfixturevalue(net), viewport={"width": width, "height": 844})
    for address in ("#on=1", "#on=2", "#on=2.0", "#on=2&show=flops", "#on=3&show=alive"):
        opened.evaluate(f"location.hash = '{address}'")
        calm(opened)
        assert opened.evaluate(CLUTTER) == []
