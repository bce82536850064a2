"""How soon the zooming page of 5,800 ops is painted, and how long each frame takes while somebody zooms in and out.

python -m benchmarks.frames [--ops 5800] [--rounds 3]

It needs a Chromium and Playwright (the extra `test`), and a machine that does nothing else: what others compute is late
frames here. Chromium paints without a GPU, so a person's own frames are no slower.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.drawing.page import page

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "/usr/lib/chromium/chromium")
WINDOW = {"width": 1280, "height": 800}
PATHS = ([20, 70, 1, 0], [5, 30, 0, 0])  # the boxes that are zoomed to

FRAMES = """async path => { // in along a path to a box, out again the same way: how long each frame takes
  const {rectangle, itemOf, viewport} = inside, item = itemOf(path), frames = [], places = [];
  const stage = document.getElementById("stage"), box = stage.getBoundingClientRect();
  const tick = () => new Promise(done => requestAnimationFrame(done));
  let last = await tick();
  const step = async (way, [x, y]) => {
    stage.dispatchEvent(new WheelEvent("wheel", {deltaY: way * 40, clientX: box.x + x, clientY: box.y + y,
      bubbles: true, cancelable: true}));
    const now = await tick();
    frames.push(now - last);
    last = now;
  };
  for (let i = 0; i < 300; i++) {
    const at = rectangle(item), {w, h} = viewport();
    if (at.w > 0.6 * w || at.h > 0.6 * h) break;
    places.push([Math.max(0, Math.min(w, at.x + at.w / 2)), Math.max(0, Math.min(h, at.y + at.h / 2))]);
    await step(-1, places.at(-1));
  }
  const width = rectangle(item).w;
  for (const place of places.reverse()) await step(1, place);
  return {frames, width};
}"""


def blocks(ops: int, seed: int = 0) -> tg.Tensor:
    """About so many ops in groups, each wired differently."""
    rng = np.random.default_rng(seed)
    y = tg.tensor(np.ones(2), requires_grad=True, name="x")
    for i in range(-(-ops // 83)):  # of 75 values, some of which nothing reads
        with tg.core.modes.scope(f"block{i}"):
            made = [y]
            for j in range(75):
                one = made[int(rng.integers(max(0, len(made) - 8), len(made)))]
                made.append(np.tanh(one) if j % 2 else one * 0.5 + made[-1] * 0.5)
            y = made[-1]
    return y


def laid_open(text: str) -> str:
    """A page whose camera can be asked from outside."""
    before, begun, after = text.rpartition("\nbegin();\n}\n")
    assert begun
    return f"{before}{begun}window.inside = {{...camera, ...finding}};{after}"


def paths_walked(opened: Any) -> tuple[float, list[float], float]:
    """In an open page: milliseconds to its first paint and of each frame, and pixels of the largest box at the end."""
    opened.wait_for_function("document.body.classList.contains('live')")
    paint = opened.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    frames, reached = [], 0.0
    for path in PATHS:
        found = opened.evaluate(FRAMES, path)
        frames += found["frames"]
        reached = max(reached, found["width"])
    return paint, frames, reached


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--ops", type=int, default=5800, help="about how many ops the graph has")
    parser.add_argument("--rounds", type=int, default=3, help="how often the page is opened")
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    start = time.perf_counter()
    graph = tg.graph_of(blocks(given.ops))
    text = laid_open(page(graph))
    print(
        f"{len(graph.nodes):,} nodes, {len(text) / 1e6:.2f} MB, written in {time.perf_counter() - start:.1f} s"
    )
    path = next((found for found in map(shutil.which, CHROMIUM) if found), None)
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        file = Path(folder) / "page.html"
        file.write_text(text, "utf-8")
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        print("round  first paint  frames  median  95 %  longest  over 100 ms")
        for number in range(1, given.rounds + 1):
            opened = browser.new_context(viewport=WINDOW).new_page()
            opened.goto(file.as_uri())
            paint, frames, _ = paths_walked(opened)
            late = sum(frame > 100 for frame in frames)
            print(
                f"{number:5}  {paint:8.0f} ms  {len(frames):6}  {statistics.median(frames):3.0f} ms "
                f"{np.percentile(frames, 95):5.0f}  {max(frames):7.0f}  {late:11}"
            )
            opened.context.close()
        browser.close()


if __name__ == "__main__":
    main()
