"""One offline page around an SVG: it shows the picture without scripts, and moves and zooms it with a few lines."""

from __future__ import annotations

import html

from tinygraph.drawing.page.joining import ALONE, joined
from tinygraph.drawing.styles import Style

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
    page, script = style.page, '"use strict";\n' + joined([ALONE])
    return PAGE.format(
        title=html.escape(title),
        svg=svg,
        script=script,
        background=page["background"],
        muted=page["muted"],
    )
