"""Draw the pictures of `gallery.md`: `python docs/make_gallery.py`. Run twice, it writes the same bytes.

A block of the page that ends in a drawing makes the picture whose link follows it. Look at what changed before you
commit it: the pictures are what the test compares with.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

PAGE = Path(__file__).with_name("gallery.md")
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n!\[[^\]]*\]\((?P<picture>\S+)\))?", re.MULTILINE | re.DOTALL
)
CARD = re.compile(
    r"&#10;card of [^\"]*"
)  # in tooltips: what the last check of an op found is no part of a picture
PYGRAPHVIZ = "2.0.4"  # another version may lay out differently
VARYING = ("gallery/overlay-time.svg",)  # seconds, which no two runs have in common


def pictures() -> Iterator[tuple[str, str]]:
    """The path of each picture, from the folder of the page, and its SVG."""
    names: dict[str, object] = {"__name__": "gallery"}
    page = PAGE.read_text(encoding="utf-8")
    for block in BLOCK.finditer(page):
        line = page.count("\n", 0, block.start("code"))
        tree = ast.parse("\n" * line + block["code"])  # lines count as on the page
        last = tree.body.pop() if block["picture"] else None
        exec(compile(tree, PAGE.name, "exec"), names)  # noqa: S102 - our own page
        if isinstance(last, ast.Expr):
            drawing = eval(compile(ast.Expression(last.value), PAGE.name, "eval"), names)  # noqa: S307 - and again
            yield block["picture"], CARD.sub("", drawing.svg())


def main(folder: Path) -> None:
    for name, svg in pictures():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE.parent)
