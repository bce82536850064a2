"""A picture in DOT, built with the objects of the `graphviz` package and ready for `render.py`.

`graphviz` would take a backslash in a label as the start of an escape and `<...>` as markup. So every text goes
through `render.quote` or `render.escape_html` first, and is handed over as what they made of it: `graphviz.quote`
leaves text that is escaped already as it is, and `nohtml` keeps it from being taken as markup.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tinygraph.draw.picture import Arrow, Box, Group, Picture
from tinygraph.draw.render import escape_html, quote
from tinygraph.draw.styles import Look, Style

if TYPE_CHECKING:
    import graphviz

TITLE_SIZE, LINE_SIZE, LABEL_SIZE, LEGEND_SIZE = "11.5", "9", "8.5", "9"
LEGEND_COLUMNS = 4
# Outlines by the word that a style uses; "dashed" is a rounded box.
OUTLINES = {"rounded": "rounded,filled", "box": "filled", "pill": "rounded,filled", "dashed": "rounded,filled,dashed"}


def write_dot(picture: Picture, style: Style) -> graphviz.Digraph:
    """The picture as a `graphviz.Digraph`; its `source` is the same for the same picture and style."""
    import graphviz

    page = style.page
    graph = graphviz.Digraph(
        "tinygraph",
        graph_attr={
            "id": "picture",
            "bgcolor": page["background"],
            "rankdir": "TB" if picture.direction == "down" else "LR",
            "nodesep": "0.28",
            "ranksep": "0.38",
            "pad": "0.15",
            "newrank": "true",  # boxes in different frames may stand side by side
            "label": _caption(picture, style),
            "labelloc": "b",
            "fontcolor": page["muted"],
            "fontsize": LEGEND_SIZE,
        },
        node_attr={"shape": "box", "margin": "0.13,0.06", "height": "0.3", "width": "0.5", "fontsize": TITLE_SIZE},
        edge_attr={"fontsize": LABEL_SIZE, "fontcolor": page["muted"], "arrowsize": "0.6", "penwidth": "1"},
    )
    _write_group(graph, picture.root, {box.id: box for box in picture.boxes}, style, depth=0)
    for arrow in picture.arrows:
        _write_arrow(graph, arrow, style)
    for box in picture.boxes:
        if box.opposite is not None:
            with graph.subgraph() as row:
                row.attr(rank="same")
                row.node(box.opposite)
                row.node(box.id)
    return graph


def _text(text: str) -> str:
    """A plain label, reading literally what `text` says."""
    import graphviz

    return graphviz.nohtml(quote(text)[1:-1])


def _write_group(
    graph: graphviz.Digraph, group: Group, boxes: dict[str, Box], style: Style, depth: int
) -> None:
    for box in group.boxes:
        _write_box(graph, boxes[box], style)
    for inner in group.groups:
        with graph.subgraph(name=f"cluster_{inner.id}") as frame:
            fill = style.page["frame_fill" if depth % 2 == 0 else "background"]
            frame.attr(
                id=inner.id,
                label=_text(inner.title),
                tooltip=_text(inner.title),
                style="rounded,filled",
                color=style.page["frame"],
                fillcolor=fill,
                fontcolor=style.page["frame_text"],
                fontsize="10",
                labelloc="t",
                labeljust="l",
                margin="10",
            )
            _write_group(frame, inner, boxes, style, depth + 1)


def _write_box(graph: graphviz.Digraph, box: Box, style: Style) -> None:
    look = style.look(box.kind)
    outline = OUTLINES[look.shape]
    colour = look.border
    if box.backward and box.kind != "gradient":
        outline, colour = f"{outline},dashed", style.page["backward"]
    pill = {"margin": "0.2,0.06"} if look.shape == "pill" else {}
    graph.node(
        box.id,
        id=box.id,
        label=_box_label(box, look, style),
        tooltip=_text(box.tooltip or box.title),
        style=outline,
        fillcolor=look.fill,
        color=colour,
        fontcolor=look.text,
        **pill,
    )


def _box_label(box: Box, look: Look, style: Style) -> str:
    """An HTML-like label: the title large, the rest small below it."""
    title = escape_html(box.title) or " "
    if not box.lines and not box.numbers:
        return f"<{title}>"
    muted = style.page["muted"] if look.text == style.page["text"] else look.text
    rows = [title]
    rows += [_small(line, muted) for line in box.lines]
    rows += [f"{_small(label, muted)} {_small(number, look.text)}" for label, number in box.numbers]
    cells = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{cells}</TABLE>>'


def _small(text: str, colour: str) -> str:
    return f'<FONT POINT-SIZE="{LINE_SIZE}" COLOR="{colour}">{escape_html(text) or " "}</FONT>'


def _write_arrow(graph: graphviz.Digraph, arrow: Arrow, style: Style) -> None:
    options = {"id": arrow.id, "color": style.arrows[arrow.role]}
    if arrow.label:
        options["label"] = _text(f" {arrow.label} ")
    if arrow.role == "gradient":
        # The backward pass flows upwards beside the forward pass: ranked the other way round, and drawn backwards.
        graph.edge(arrow.head, arrow.tail, dir="back", style="dashed", **options)
    elif arrow.role == "saved":
        graph.edge(arrow.tail, arrow.head, constraint="false", style="dotted", arrowhead="open", **options)
    else:
        graph.edge(arrow.tail, arrow.head, **options)


def _caption(picture: Picture, style: Style) -> str:
    """What stands below the picture: the legend of the kinds that occur, and the notes."""
    present = {box.kind for box in picture.boxes}
    kinds = [kind for kind in style.kinds if kind in present]
    rows = ""
    for start in range(0, len(kinds), LEGEND_COLUMNS):
        cells = "".join(_legend_entry(kind, style) for kind in kinds[start : start + LEGEND_COLUMNS])
        rows += f"<TR>{cells}</TR>"
    span = 2 * min(len(kinds), LEGEND_COLUMNS)
    for note in picture.notes:
        rows += f'<TR><TD COLSPAN="{span}" ALIGN="LEFT">{escape_html(note)}</TD></TR>'
    if not rows:
        return ""
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="5" CELLPADDING="0">{rows}</TABLE>>'


def _legend_entry(kind: str, style: Style) -> str:
    look = style.look(kind)
    swatch = f'BGCOLOR="{look.fill}" BORDER="1" COLOR="{look.border}" WIDTH="14" HEIGHT="9" FIXEDSIZE="TRUE"'
    return f'<TD {swatch}></TD><TD ALIGN="LEFT">{escape_html(kind)}   </TD>'
