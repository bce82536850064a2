"""Pages within pages: one as the output of a notebook's cell, two side by side that follow each other."""

from __future__ import annotations

import html
from pathlib import Path

from tinygraph.errors import DrawingError
from tinygraph.interop.atomic_files import replace_file

ALLOWED = "allow-scripts allow-downloads allow-modals"
FRAME = f'<iframe title="{{title}}" srcdoc="{{page}}" sandbox="{ALLOWED}" style="{{style}}"></iframe>'
# What one shows, the other shows too: each tells the page around, which passes it on.
LINKED = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
body {{ margin: 0; display: grid; grid: 100vh / 1fr 1fr; }} iframe {{ border: 0; width: 100%; height: 100%; }}
iframe + iframe {{ border-left: 1px solid #8886; }}
@media (max-width: 760px) {{ body {{ grid: 50vh 50vh / 1fr; }} }}
</style></head><body>{frames}<script>
const [one, other] = document.querySelectorAll("iframe");
addEventListener("message", event => {{
  const target = event.source === one.contentWindow ? other : event.source === other.contentWindow ? one : null;
  if (target && typeof event.data?.tinygraph === "string") target.contentWindow.postMessage(event.data, "*");
}});
</script></body></html>
"""


class Page:
    """A page that zooms, in a notebook: what a cell ends with is shown below it, and works there.

    Attributes:
        text: the page as HTML, one file that needs nothing from elsewhere.
        height: pixels in a notebook.
    """

    def __init__(self, text: str, title: str, height: int = 560) -> None:
        self.text = text
        self.title = title
        self.height = height

    def _repr_html_(self) -> str:
        return _frame(
            self.text,
            self.title,
            f"width:100%;height:{self.height}px;border:1px solid #8886;border-radius:8px",
        )

    def save(self, path: str | Path) -> Path:
        """Write it to a file; returns where it is.

        Raises:
            DrawingError: it cannot be written there.
        """
        try:
            replace_file(Path(path), lambda part: part.write_text(self.text, encoding="utf-8"))
        except OSError as reason:
            raise DrawingError(f"the page cannot be written to {str(path)!r}: {reason.strerror}") from reason
        return Path(path)

    def __repr__(self) -> str:
        return f"<Page of {self.title}: {len(self.text):,} letters of HTML>"


def side_by_side(one: Page, other: Page) -> Page:
    """Two pages in one; where somebody looks in the one, the other looks too, as far as it has the same boxes."""
    frames = "".join(_frame(page.text, page.title, "") for page in (one, other))
    title = f"{one.title} and {other.title}"
    return Page(LINKED.format(title=html.escape(title), frames=frames), title, max(one.height, other.height))


def _frame(text: str, title: str, style: str) -> str:
    return FRAME.format(title=html.escape(title), page=html.escape(text), style=style)
