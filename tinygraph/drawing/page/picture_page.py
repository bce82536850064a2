"""One offline page around an SVG: it shows the picture without scripts, and moves and zooms it with a few lines."""

from __future__ import annotations

import html

from tinygraph.drawing.styles import Style

# The picture is scaled by its own box, so text stays sharp; the wheel keeps the point under the pointer in place.
SCRIPT = """
"use strict";
const stage = document.querySelector("main"), svg = stage.querySelector("svg");
const size = svg.viewBox.baseVal, start = Math.min(1.3333, stage.clientWidth / size.width);
let k = start, x = Math.max(0, (stage.clientWidth - size.width * k) / 2), y = 0;
const pointers = new Map();
function show() {
  svg.style.width = size.width * k + "px";
  svg.style.height = size.height * k + "px";
  svg.style.transform = `translate(${x}px, ${y}px)`;
}
function zoom(factor, cx, cy) {
  const next = Math.min(20, Math.max(0.02, k * factor));
  x = cx - (cx - x) * next / k; y = cy - (cy - y) * next / k; k = next;
  show();
}
function fit() {
  k = Math.min(stage.clientWidth / size.width, stage.clientHeight / size.height);
  x = (stage.clientWidth - size.width * k) / 2; y = (stage.clientHeight - size.height * k) / 2;
  show();
}
stage.addEventListener("wheel", e => {
  e.preventDefault();
  zoom(Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0015)), e.clientX, e.clientY);
}, {passive: false});
stage.addEventListener("pointerdown", e => {
  pointers.set(e.pointerId, e);
  stage.setPointerCapture(e.pointerId);
});
stage.addEventListener("pointermove", e => {
  const old = pointers.get(e.pointerId);
  if (!old) return;
  const other = [...pointers.values()].find(p => p.pointerId !== e.pointerId);
  if (other) {
    const far = p => Math.hypot(p.clientX - other.clientX, p.clientY - other.clientY);
    zoom(far(e) / Math.max(1, far(old)), (e.clientX + other.clientX) / 2, (e.clientY + other.clientY) / 2);
  } else {
    x += e.clientX - old.clientX; y += e.clientY - old.clientY; show();
  }
  pointers.set(e.pointerId, e);
});
for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, e => pointers.delete(e.pointerId));
addEventListener("keydown", e => {
  const cx = stage.clientWidth / 2, cy = stage.clientHeight / 2, step = 60;
  const keys = {"+": () => zoom(1.25, cx, cy), "-": () => zoom(0.8, cx, cy), "0": fit,
    ArrowLeft: () => { x += step; }, ArrowRight: () => { x -= step; },
    ArrowUp: () => { y += step; }, ArrowDown: () => { y -= step; }};
  if (!keys[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
  e.preventDefault(); keys[e.key](); show();
});
document.body.className = "live";
show();
"""

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
html, body {{ margin: 0; height: 100%; background: {background}; color: {muted}; font: 13px system-ui, sans-serif; }}
main {{ padding: 16px; }}
main svg {{ max-width: 100%; height: auto; }}
.live main {{ position: fixed; inset: 0; padding: 0; overflow: hidden; cursor: grab; touch-action: none; }}
.live main:active {{ cursor: grabbing; }}
.live main svg {{ max-width: none; transform-origin: 0 0; display: block; }}
footer {{ display: none; position: fixed; right: 12px; bottom: 8px; opacity: .75; pointer-events: none; }}
.live footer {{ display: block; }}
</style>
</head>
<body>
<main aria-label="{title}">
{svg}
</main>
<footer>drag to move, wheel or + − to zoom, 0 to fit</footer>
<script>{script}</script>
</body>
</html>
"""


def write_page(svg: str, title: str, style: Style) -> str:
    """The text of the page."""
    page = style.page
    return PAGE.format(
        title=html.escape(title), svg=svg, script=SCRIPT, background=page["background"], muted=page["muted"]
    )
