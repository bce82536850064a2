"""`Drawing`: a picture that can be looked at - as DOT, SVG, PNG, PDF or a page, in a file or in a notebook.

What is in the picture was decided before; here it is only laid out, and laid out more coarsely when that takes too
long. Rendering is left to `render.py`, the page to `page/`.
"""

from __future__ import annotations

import functools
import itertools
import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygraph.drawing.dot.onto_sheet import engine_of, fit, placed, written
from tinygraph.drawing.dot.render import PIXELS_PER_INCH, Engine, Format, LayoutTimeout, render
from tinygraph.drawing.dot.writing import PLAIN_SHEET, images_of
from tinygraph.drawing.model.columns import Spot
from tinygraph.drawing.model.picture import Picture
from tinygraph.drawing.outside import as_graphml, as_json, tikz
from tinygraph.drawing.page import write_page
from tinygraph.drawing.page.framing import Page, side_by_side
from tinygraph.drawing.paper import on_sheets
from tinygraph.drawing.sheet import Sheet
from tinygraph.drawing.styles import Style
from tinygraph.drawing.volumes import draw_volumes
from tinygraph.errors import DrawingError, TinygraphWarning
from tinygraph.interop.atomic_files import replace_file
from tinygraph.interop.graphs.in_pictures import MOST_VALUES, embedded

if TYPE_CHECKING:
    import graphviz

    from tinygraph.core.graph import Graph

TIME_LIMIT = 20.0
MOVING_SCALE = 1.5  # of the pictures of a film
_shown = itertools.count(1)


class Drawing:
    """A picture. It shows itself in a notebook, without writing a file.

    Attributes:
        picture: what is drawn, independent of any format.
        source: the picture as DOT text.
        graphviz: the same as a `graphviz.Digraph`.
    """

    def __init__(
        self,
        picture: Picture,
        style: Style,
        *,
        coarser: Callable[[], Picture | None] = lambda: None,
        time_limit: float = TIME_LIMIT,
        graph: Graph | None = None,
        page: Callable[[bool], str] | None = None,
        sheet: Sheet = PLAIN_SHEET,
        volumes: bool = False,
    ) -> None:
        self._interactive = (
            page  # the page that zooms, with or without numbers; None where there is no graph to zoom
        )
        self._graph = graph  # what `tg.load` finds in the files that are written
        self.picture = picture
        self._style = style
        self._sheet = sheet
        self._volumes = volumes
        self._coarser = coarser
        self._time_limit = time_limit
        self._rendered: dict[tuple[str, float], bytes] = {}

    @functools.cached_property
    def graphviz(self) -> graphviz.Digraph:
        picture, size = self._fitted
        return written(picture, self._style, self._sheet, self._layout, size)

    def _layout(self, source: str, painted: bool = False) -> bytes:
        engine: Engine = "nop2" if " pos=" in source else "dot"
        images = images_of(self.picture, self._style)
        return render(
            source, "plain", engine=engine, time_limit=self._time_limit, images=images, painted=painted
        )

    @functools.cached_property
    def _fitted(self) -> tuple[Picture, tuple[float, float] | None]:
        """The picture as it goes onto its sheet, and the size that it is brought to."""
        return fit(self.picture, self._style, self._sheet, self._layout)

    @property
    def source(self) -> str:
        return str(self.graphviz.source)

    def svg(self) -> str:
        """The picture as an SVG element."""
        if self._volumes:
            return draw_volumes(self.picture, self._style, self._sheet)
        return centred(self._render("svg").decode())

    def png(self, scale: float = 2.0, *, dpi: float | None = None) -> bytes:
        """The picture as a PNG; a scale of 1 is 96 pixels an inch, unless `dpi` says how many there are."""
        scale = scale if dpi is None else dpi / PIXELS_PER_INCH
        return self._render("png", scale)

    def tikz(self) -> str:
        r"""The picture as TikZ, laid out like the SVG: `\input` it where `\usepackage{tikz}` was said.

        Raises:
            DrawingError: it holds images of planes, which TikZ has no words for.
        """
        return tikz(self.svg())

    def _as_data(self, format: str) -> bytes:
        found = placed(self._layout(self.source))
        write = as_graphml if format == "graphml" else as_json
        return write(self._fitted[0], found).encode()

    def _moving(self, format: str) -> bytes:
        from tinygraph.drawing.films import film

        picture = self.png(MOVING_SCALE)
        found = placed(self._layout(self.source, painted=True))
        return film(picture, self._fitted[0], found, self._style, format)

    def pdf(self, *, pages: str | None = None) -> bytes:
        """The picture as a PDF of one page as large as it is, or of as many sheets of paper as it takes.

        Args:
            pages: "A4", "A3" or "letter": a picture that is larger is cut into such pages, with every box whole
                on one of them.

        >>> import tinygraph as tg
        >>> chain = tg.capture(lambda x: x + 1, 0.0)
        >>> tg.draw(chain, font_size=60).pdf(pages="A4").count(b"/Type /Page ") > 2
        True
        """
        painted = self._render("pdf")
        if pages is None:
            return painted
        found = placed(self._layout(self.source))
        shares = [
            Spot(*(part / (found.height if i % 2 else found.width) for i, part in enumerate(one)))
            for one in found.places.values()
        ]
        return on_sheets(painted, pages, shares)

    def html(self, path: str | Path, *, embed: int | None = MOST_VALUES) -> Path:
        """Write one page that works offline and zooms, from the whole model down to one multiplication.

        Args:
            embed: as in `save`; None is a page without numbers.

        Returns:
            Where it is.
        """
        return _write(Path(path), self._page(embed).encode())

    def page(
        self, *, beside: Drawing | None = None, height: int = 560, embed: int | None = MOST_VALUES
    ) -> Page:
        """The page that zooms, as a notebook shows it below a cell.

        Args:
            beside: another drawing; both are shown side by side, and follow each other.
            height: pixels that it takes there.
            embed: as in `save`; None is a page without numbers.
        """
        own = Page(self._page(embed), self._sheet.title or self.picture.name, height)
        return own if beside is None else side_by_side(own, beside.page(height=height, embed=embed))

    def save(self, path: str | Path, *, embed: int | None = MOST_VALUES, pages: str | None = None) -> Path:
        """Write a file whose suffix says what; returns where it is.

        .svg, .png and .pdf are the picture, .html is the page that zooms, .dot and .gv are its text for Graphviz, .tex
        is TikZ for a paper, .json and .graphml are boxes and arrows with their places, .gif and .mp4 show one box after
        another computing, forward and then backward.

        An SVG, page or DOT file carries the graph too, and `tg.load` runs it.

        Args:
            embed: bytes of values up to which the file carries them all; if there are more, it carries the graph
                without the values of parameters, buffers and data. None for a picture alone.
            pages: as in `pdf`, for .pdf alone.

        Raises:
            DrawingError: another suffix, or a place that cannot be written.
        """
        path = Path(path)
        suffix = path.suffix.lower()
        writers: dict[str, Callable[[], bytes]] = {
            ".svg": lambda: self._embedded(self.svg(), suffix, embed).encode(),
            ".png": self.png,
            ".pdf": lambda: self.pdf(pages=pages),
            ".dot": lambda: self._embedded(self.source, suffix, embed).encode(),
            ".gv": lambda: self._embedded(self.source, suffix, embed).encode(),
            ".html": lambda: self._page(embed).encode(),
            ".tex": lambda: self.tikz().encode(),
            ".json": lambda: self._as_data("json"),
            ".graphml": lambda: self._as_data("graphml"),
            ".gif": lambda: self._moving("gif"),
            ".mp4": lambda: self._moving("mp4"),
        }
        writer = writers.get(suffix)
        if writer is None:
            raise DrawingError(
                f"cannot draw to {path.name!r}: its suffix must be one of {', '.join(writers)}"
            )
        if pages is not None and suffix != ".pdf":
            raise DrawingError(f"pages={pages!r} is for .pdf: {path.name!r} is one picture")
        return _write(path, writer())

    def _page(self, embed: int | None) -> str:
        if self._interactive is not None:
            return self._embedded(self._interactive(embed is not None), ".html", embed)
        return self._embedded(write_page(self.svg(), self.picture.name, self._style), ".html", embed)

    def _embedded(self, picture: str, suffix: str, embed: int | None) -> str:
        return picture if embed is None else embedded(picture, suffix, self._graph, embed)

    def _render(self, format: Format, scale: float = 2.0) -> bytes:
        if self._volumes:
            raise DrawingError(f"volumes are no {format}: save them as .svg, or as .tex for a paper")
        key = (format, scale)
        while key not in self._rendered:
            try:
                images = images_of(self.picture, self._style)
                self._rendered[key] = render(
                    self.source,
                    format,
                    engine=engine_of(self._fitted[0]),
                    time_limit=self._time_limit,
                    scale=scale,
                    images=images,
                )
            except LayoutTimeout:
                if not self._coarsen():
                    raise
        return self._rendered[key]

    def _coarsen(self) -> bool:
        """Put a picture with fewer boxes in place of one that took too long; False if there is none."""
        coarser = self._coarser()
        if coarser is None:
            return False
        before, after = len(self.picture.boxes), len(coarser.boxes)
        warnings.warn(
            f"laying out {before:,} boxes took longer than {self._time_limit:g} s; drawing {after:,} instead: "
            f"{coarser.notes[-1]}",
            TinygraphWarning,
            stacklevel=4,
        )
        self.picture = coarser
        self._rendered.clear()
        for laid_out in ("graphviz", "_fitted"):
            vars(self).pop(laid_out, None)
        return True

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"image/svg+xml": with_prefix(self.svg(), f"d{next(_shown)}-"), "text/plain": repr(self)}

    def __repr__(self) -> str:
        return f"<Drawing of {self.picture.name}: {len(self.picture.boxes)} boxes, {len(self.picture.arrows)} arrows>"


_NODE = re.compile(r'<g id="[^"]*" class="node">.*?</a>\n</g>\n</g>', re.DOTALL)
_FRAME = re.compile(r'<g id="[^"]*" class="cluster">.*?</a>\n</g>\n</g>', re.DOTALL)
_MIDDLE = re.compile(r'text-anchor="middle" x="[^"]*"')
FRAME_MARGIN = 10.0  # points between a frame and its title
_START = re.compile(r'text-anchor="start" x="[^"]*" y="([^"]*)"')


def centred(svg: str) -> str:
    """An SVG whose box labels are anchored at the middle of their boxes, line by line, and frames' titles at the left.

    Graphviz gives the left end of each line, so a line would stand off the middle wherever it comes out wider or
    narrower than Graphviz thought: in another font, and at signs such as × that it cannot measure.
    """
    return _NODE.sub(_centred_node, _FRAME.sub(_titled_frame, svg))


def _titled_frame(found: re.Match[str]) -> str:
    outline = re.search(r' (?:d|points)="([^"]*)"', found[0])
    if outline is None:
        return found[0]
    left = min(float(x) for x in re.findall(r"(-?[\d.]+),", outline[1])) + FRAME_MARGIN
    return _MIDDLE.sub(f'text-anchor="start" x="{left:.2f}"', found[0])


def _centred_node(found: re.Match[str]) -> str:
    node = found[0]
    outline = re.search(r' (?:d|points)="([^"]*)"', node)
    lines = Counter(_START.findall(node))
    if outline is None:
        return node
    across = [float(x) for x in re.findall(r"(-?[\d.]+),", outline[1])]
    middle = f"{(min(across) + max(across)) / 2:.2f}"

    def anchor(text: re.Match[str]) -> str:
        alone = lines[text[1]] == 1
        return f'text-anchor="middle" x="{middle}" y="{text[1]}"' if alone else text[0]

    return _START.sub(anchor, node)


def with_prefix(svg: str, prefix: str) -> str:
    """An SVG whose ids all begin with `prefix`, so that several fit on one page."""
    return re.sub(r'(<[a-zA-Z]+(?: [\w:]+="[^"<]*")*? id=")', lambda found: found[1] + prefix, svg)


def _write(path: Path, content: bytes) -> Path:
    """Write a file whole or not at all."""
    try:
        replace_file(path, lambda part: part.write_bytes(content))
    except OSError as reason:
        raise DrawingError(f"the drawing cannot be written to {str(path)!r}: {reason.strerror}") from reason
    return path
