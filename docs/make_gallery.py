"""Draw the pictures of the gallery and the tutorials: `python docs/make_gallery.py`.

Run twice, it writes the same bytes. A block of these pages that ends in a drawing makes the picture whose link follows
it. Look at what changed before you commit it: the pictures are what the test compares with.
"""

import ast
import contextlib
import io
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGES = (DOCS / "gallery.md", *sorted((DOCS / "tutorials").glob("*.md")), DOCS / "tape_graph_plan.md")
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n!\[[^\]]*\]\((?P<picture>\S+)\))?", re.MULTILINE | re.DOTALL
)
CARD = re.compile(
    r"&#10;card of [^\"]*"
)  # in tooltips: what the last check of an op found is no part of a picture
PYGRAPHVIZ = "2.0.4"  # another version may lay out differently
VARYING = ("gallery/overlay-time.svg",)  # seconds, which no two runs have in common


def pictures(page: Path) -> Iterator[tuple[str, str]]:
    """The path of each picture of a page, from the folder of the docs, and its SVG."""
    names: dict[str, object] = {"__name__": page.stem}
    text = page.read_text(encoding="utf-8")
    for block in BLOCK.finditer(text):
        line = text.count("\n", 0, block.start("code"))
        tree = ast.parse("\n" * line + block["code"])  # lines count as on the page
        last = tree.body.pop() if block["picture"] else None
        exec(compile(tree, page.name, "exec"), names)  # noqa: S102 - our own page
        if isinstance(last, ast.Expr):
            drawing = eval(compile(ast.Expression(last.value), page.name, "eval"), names)  # noqa: S307 - and again
            path = (page.parent / block["picture"]).resolve().relative_to(DOCS)
            yield path.as_posix(), CARD.sub("", drawing.svg())


def main(folder: Path) -> None:
    for page in PAGES:
        with (
            tempfile.TemporaryDirectory() as scratch,
            contextlib.chdir(scratch),
            contextlib.redirect_stdout(io.StringIO()),
        ):
            drawn = dict(pictures(page))
        for name, svg in drawn.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS)
