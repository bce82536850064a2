"""A picture in DOT, built with the objects of the `graphviz` package and ready for `render.py`.

`graphviz` would take a backslash in a label as the start of an escape and `<...>` as markup. So every text goes
through `render.quote` or `render.escape_html` first, and is handed over as what they made of it: `graphviz.quote`
leaves text that is escaped already as it is, and `nohtml` keeps it from being taken as markup.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tinygraph.drawing.dot.render import escape_html, quote
from tinygraph.drawing.model.picture import Arrow, Box, Frame, Picture
from tinygraph.drawing.model.planes import Plane, colours, image, is_dark
from tinygraph.drawing.sheet import Sheet
from tinygraph.drawing.styles import Look, Style

if TYPE_CHECKING:
    import graphviz

    from tinygraph.core.types import Array


POINTS_PER_INCH = 72
HEADING_SIZE = "15"
TITLE_SIZE, LINE_SIZE, LABEL_SIZE, LEGEND_SIZE = "11.5", "9", "8.5", "9"
CELL_SIZE = "7"
FRAME_MARGIN = "10"  # points within frames
# Where no words stand at arrows: inches between rows and in them, points within frames.
CLOSE_ROWS, CLOSE_BOXES, CLOSE_MARGIN = "0.24", "0.13", "6"
SERIF_ROOM = "0.19,0.06"  # measured in Times: where that is not installed, others are wider
PLAIN_SHEET = Sheet()
GAP = (
    "\u00a0" * 3
)  # between columns of an arithmetic: Graphviz takes signs such as × for narrower than they are
LEGEND_COLUMNS = 4
NUMBER_WIDTH, NUMBER_HEIGHT = 34, 16  # points of a cell with a number
PLANE_SIDE, SMALLEST_CELL = 84, 7  # points of the longer side of a plane, and of a cell without a number
THINNEST = 9  # points of the shorter side of an image
FADED, FADED_TEXT = 0.78, 0.6  # how much of the page's colour is in a box that stands back, and in its words
MARKED = "2.5"  # points of a marked box's outline
LEAVES = ("input", "parameter", "buffer", "tensor")
MOST_IN_TURN = 8  # inputs or outputs that are kept in their order
MOST_DIRECT = 40  # edges that keep some boxes below others; more go through a point between them
SUPPORTS = 3  # boxes that a frame is kept below
MOST_SUPPORTED = 600  # boxes up to which the time for a tidier layout is worth it
# Outlines by the word that a style uses; "dashed" is a rounded box.
OUTLINES = {
    "rounded": "rounded,filled",
    "box": "filled",
    "pill": "rounded,filled",
    "dashed": "rounded,filled,dashed",
}


def new_graph(style: Style, size: tuple[float, float] | None, direction: str) -> graphviz.Digraph:
    """An empty graph of that look, running "TB" or "LR", brought to a width and height in points."""
    import graphviz

    page = style.page
    font = {"fontname": style.font} if style.font else {}
    sized = {} if size is None else {"size": ",".join(f"{side / POINTS_PER_INCH:.4f}" for side in size) + "!"}
    return graphviz.Digraph(
        "tinygraph",
        graph_attr={
            "id": "picture",
            "bgcolor": page["background"],
            "rankdir": direction,
            "nodesep": "0.28",
            "ranksep": "0.38" if direction == "TB" else "0.8",
            "pad": "0.15",
            "newrank": "true",  # one ranking for all frames, so that rows and supports hold across their borders
            "fontcolor": page["muted"],
            "fontsize": LEGEND_SIZE,
            **sized,
            **font,
        },
        node_attr={
            "shape": "box",
            "margin": SERIF_ROOM if style.font else "0.13,0.06",
            "height": "0.3",
            "width": "0.5",
            "fontsize": TITLE_SIZE,
            **font,
        },
        edge_attr={
            "fontsize": LABEL_SIZE, "fontcolor": page["muted"], "arrowsize": "0.6", "penwidth": "1", **font,
        },
    )  # fmt: skip


def write_dot(
    picture: Picture, style: Style, sheet: Sheet = PLAIN_SHEET, size: tuple[float, float] | None = None
) -> graphviz.Digraph:
    """The picture as a `graphviz.Digraph`; its `source` is the same for the same picture, style and sheet.

    Args:
        size: width and height in points that it is brought to.
    """
    page = style.page
    graph = new_graph(style, size, "TB" if picture.direction == "down" else "LR")
    graph.attr(label=caption(picture, style, sheet.legend), labelloc="b")
    margin = CLOSE_MARGIN if sheet.flow == "wrap" else FRAME_MARGIN
    if sheet.flow == "wrap":
        graph.attr(ranksep=CLOSE_ROWS, nodesep=CLOSE_BOXES)
    if picture.rows or _has_passes_in_frames(picture):
        graph.attr(remincross="false")  # a second pass over crossings would forget their order
    rows = [*picture.rows, *_opposites(picture), *_after_gradients(picture), *_in_turn(picture)]
    boxes = {box.id: box for box in picture.boxes}
    if sheet.title:  # a frame around everything, whose title is the picture's
        with graph.subgraph(name="cluster_title") as titled:
            titled.attr(
                label=text(sheet.title), labelloc="t", labeljust="c", fontsize=HEADING_SIZE, margin="8",
                pencolor="transparent", fontcolor=page["text"],
            )  # fmt: skip
            waiting = _write_group(titled, picture.root, picture, boxes, style, rows, 0, margin)
    else:
        waiting = _write_group(graph, picture.root, picture, boxes, style, rows, 0, margin)
    for arrow in picture.arrows:
        _write_arrow(graph, arrow, style)
    for head in _ordered(picture):
        graph.node(head, ordering="in")
    supported = (
        len(picture.boxes) <= MOST_SUPPORTED and not picture.rows
    )  # around planes they would need much room
    for upper, lower in _supports(picture) if supported else []:
        graph.edge(upper, lower, style="invis", weight="0")
    for number, (above, below) in enumerate(picture.below):
        if len(above) * len(below) <= MOST_DIRECT:
            for upper, lower in itertools.product(above, below):
                graph.edge(upper, lower, style="invis")
            continue
        middle = f"between{number}"
        graph.node(middle, label="", shape="point", style="invis", width="0", height="0")
        for box in above:
            graph.edge(box, middle, style="invis", weight="0")
        for box in below:
            graph.edge(middle, box, style="invis", weight="0")
    for row in waiting:
        _write_row(graph, row)
    return graph


def _ordered(picture: Picture) -> list[str]:
    """The boxes that read several others of their own pass: these stand in the order of the operands.

    Graphviz keeps it for boxes outside of frames, and counts from below where a picture runs to the right.
    """
    if picture.direction != "down":
        return []
    tails: dict[str, set[str]] = {}
    for arrow in picture.arrows:
        if arrow.role in ("data", "gradient"):
            tails.setdefault(arrow.head, set()).add(arrow.tail)
    return [box.id for box in picture.boxes if len(tails.get(box.id, ())) > 1]


def _has_passes_in_frames(picture: Picture) -> bool:
    backward = {box.id for box in picture.boxes if box.backward}
    return any(not backward.isdisjoint(group.boxes) for group in _all_groups(picture.root.groups))


def _opposites(picture: Picture) -> list[list[str]]:
    """The boxes of different passes that stand side by side, from the forward pass on."""
    following = {}
    for box in picture.boxes:
        if box.opposite is not None:
            left, right = (box.opposite, box.id) if box.backward else (box.id, box.opposite)
            following[left] = right
    rows = []
    for box in picture.boxes:
        if box.id in following and box.id not in following.values():
            row = [box.id]
            while row[-1] in following:
                row.append(following[row[-1]])
            rows.append(row)
    return rows


def _in_turn(picture: Picture) -> list[list[str]]:
    """The outputs in the order in which the program gives them, or else the inputs that only first boxes read.

    Boxes with others beside them have a place already, and two orders at once might cross.
    """
    if picture.direction != "down" or picture.rows or any(box.backward for box in picture.boxes):
        return []
    leaves = {box.id for box in picture.boxes if box.kind in LEAVES}
    later = {arrow.head for arrow in picture.arrows if arrow.tail not in leaves}
    late = {arrow.tail for arrow in picture.arrows if arrow.head in later}
    outside = set(picture.root.boxes) - late
    rows = (
        [box.id for box in picture.boxes if box.kind == kind and box.id in outside]
        for kind in ("output", "input")
    )
    return [row for row in rows if 1 < len(row) <= MOST_IN_TURN][:1]


def _after_gradients(picture: Picture) -> list[list[str]]:
    """Rows that keep the ends of a backward pass to the right of where the pass goes on."""
    kinds = {box.id: box.kind for box in picture.boxes if box.backward}
    free = {box.id for box in picture.boxes if box.backward and box.opposite is None}
    frames = _frames_around(picture)
    upwards = [arrow for arrow in picture.arrows if arrow.rank < 0 and arrow.head in kinds]
    goes_on = {arrow.tail: arrow.head for arrow in upwards if kinds[arrow.head] != "gradient"}
    rows: dict[str, list[str]] = {}
    for arrow in upwards:
        beside = goes_on.get(arrow.tail)
        if beside is None or arrow.head not in free or kinds[arrow.head] != "gradient":
            continue
        if (
            frames[beside][-1:] == frames[arrow.head][-1:]
        ):  # frames that shared a row could not stand in a column
            rows.setdefault(arrow.tail, [beside]).append(arrow.head)
    return list(rows.values())


def images_of(picture: Picture, style: Style) -> dict[str, bytes]:
    """The image files that the picture's DOT text refers to, by name."""
    planes = [box.plane for box in picture.boxes if box.plane is not None]
    return dict(image(plane, style.values) for plane in planes if plane.is_image and plane.values.size)


def text(text: str) -> str:
    """A plain label, reading literally what `text` says."""
    import graphviz

    literal: str = graphviz.nohtml(quote(text)[1:-1])
    return literal


def _write_group(
    graph: graphviz.Digraph,
    group: Frame,
    picture: Picture,
    boxes: dict[str, Box],
    style: Style,
    rows: Sequence[Sequence[str]],
    depth: int,
    margin: str,
) -> list[Sequence[str]]:
    """Write boxes and frames, each row of boxes within the frame that they are in; the rows of several frames."""
    for box in group.boxes:
        write_box(graph, boxes[box], style)
    here = set(group.boxes)
    turned = depth and picture.direction == "right"  # within a frame Graphviz turns columns around
    waiting: list[Sequence[str]] = []
    for row in rows:
        if here.issuperset(row):
            _write_row(graph, row[::-1] if turned else row)
        else:
            waiting.append(row)
    for inner in group.groups:
        with graph.subgraph(name=f"cluster_{inner.id}") as frame:
            write_frame(frame, inner, style, depth, margin)
            waiting = _write_group(frame, inner, picture, boxes, style, waiting, depth + 1, margin)
    return waiting


def write_frame(
    frame: graphviz.Digraph, group: Frame, style: Style, depth: int, margin: str = FRAME_MARGIN
) -> None:
    """Give a cluster the title and look of a frame that lies so deep in others."""
    frame.attr(
        id=group.id,
        label=text(group.title),
        tooltip=text(group.title),
        style="rounded,filled",
        color=style.page["frame"],
        fillcolor=style.page["frame_fill" if depth % 2 == 0 else "background"],
        fontcolor=style.page["frame_text"],
        fontsize="10",
        labelloc="b" if group.title_below else "t",
        labeljust="r" if group.title_below else "l",
        margin=margin,
    )


def _write_row(graph: graphviz.Digraph, boxes: Sequence[str]) -> None:
    """Boxes side by side; the edges between them need a weight, or Graphviz does not keep their order."""
    with graph.subgraph() as row:
        row.attr(rank="same")
        for left, right in itertools.pairwise(boxes):
            row.edge(left, right, style="invis")


def write_box(graph: graphviz.Digraph, box: Box, style: Style, **more: str) -> None:
    look = _look_of(box, style)
    outline = OUTLINES[look.shape]
    colour = look.border
    if box.backward and box.kind != "gradient":
        outline, colour = f"{outline},dashed", style.page["backward"]
    more |= {"margin": "0.2,0.06"} if look.shape == "pill" else {}
    if box.marked:
        colour, more["penwidth"] = style.page["text"], MARKED
    graph.node(
        box.id,
        id=box.id,
        label=_box_label(box, look, style),
        tooltip=text(box.tooltip or box.title),
        style=outline,
        fillcolor=look.fill,
        color=colour,
        fontcolor=look.text,
        **more,
    )


def _look_of(box: Box, style: Style) -> Look:
    """The look of a box's kind, warmer with its heat, paler where it stands back."""
    look = style.look(box.kind)
    if box.heat is not None:
        page = style.page
        fill = _mixed(page["background"], style.values[box.tint], box.heat)
        look = look._replace(fill=fill, text=page["text"], shape="rounded")
    elif box.fill:
        rgb = np.array([int(box.fill[i : i + 2], 16) for i in (1, 3, 5)], np.uint8)
        text = "#ffffff" if is_dark(rgb) else "#1f2933"
        look = look._replace(fill=box.fill, border=_mixed(box.fill, "#000000", 0.35), text=text)
    if box.faded:
        behind = style.page["background"]
        fill, border = (_mixed(one, behind, FADED) for one in (look.fill, look.border))
        look = Look(fill, border, look.shape, _mixed(look.text, behind, FADED_TEXT))
    return look


def _mixed(one: str, other: str, share: float) -> str:
    pairs = [(int(one[i : i + 2], 16), int(other[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _box_label(box: Box, look: Look, style: Style) -> str:
    """An HTML-like label: the title large, the rest small below it."""
    title = escape_html(box.title) or " "
    muted = style.page["muted"] if look.text == style.page["text"] else look.text
    muted = _mixed(muted, look.text, box.heat or 0.0)  # what is warm is dark: grey on it could not be read
    caption = [_small(box.caption, muted)] if box.caption not in ("", box.title) else []
    if not caption and not box.lines and not box.numbers and box.plane is None and not box.table:
        return f"<{title}>"
    rows = [*caption, title] if box.plane is None else [*caption, f'<FONT POINT-SIZE="10">{title}</FONT>']
    rows += [_small(line, muted) for line in box.lines]
    if box.plane is not None:
        rows.append(_plane(box.plane, style))
    if box.table:
        rows.append(_table(box.table, look, muted))
    rows += [f"{_small(label, muted)} {_small(number, look.text)}" for label, number in box.numbers]
    cells = "".join(f"<TR><TD>{row}</TD></TR>" for row in rows)
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{cells}</TABLE>>'


def _plane(plane: Plane, style: Style) -> str:
    """A plane as a table of coloured cells, or as an image."""
    height, width = plane.values.shape
    if not plane.values.size:
        return _small("empty", style.page["muted"])
    if plane.is_image:
        name, _ = image(plane, style.values)
        longest = max(height, width)
        sides = [max(THINNEST, round(PLANE_SIDE * 1.2 * side / longest)) for side in (width, height)]
        inside = f'<TD FIXEDSIZE="TRUE" WIDTH="{sides[0]}" HEIGHT="{sides[1]}"><IMG SRC="{name}" SCALE="BOTH"/></TD>'
        return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{inside}</TR></TABLE>'
    side = max(SMALLEST_CELL, min(14, PLANE_SIDE // max(height, width)))
    wide, high = (NUMBER_WIDTH, NUMBER_HEIGHT) if plane.numbered else (side, side)
    fills = colours(plane, style.values)
    rows = ""
    for i in range(height):
        rows += "<TR>"
        for j in range(width):
            rows += _cell(plane, (i, j), fills[i, j], wide, high, style)
        rows += "</TR>"
    size = f'FIXEDSIZE="TRUE" WIDTH="{width * (wide + 1) + 1}" HEIGHT="{height * (high + 1) + 1}"'
    lines = f'BORDER="0" CELLBORDER="0" CELLSPACING="1" CELLPADDING="0" BGCOLOR="{style.page["frame"]}"'
    return f"<TABLE {lines} {size}>{rows}</TABLE>"


def _cell(plane: Plane, at: tuple[int, int], fill: Array, wide: int, high: int, style: Style) -> str:
    colour = "#" + bytes(fill.tolist()).hex()
    outline = f' BORDER="2" COLOR="{style.values["mark"]}"' if at in plane.marked else ""
    words = f"{plane.values[at] + 0.0:.3g}" if plane.numbered else ""
    if at in plane.crossed:
        colour, words, outline = style.page["background"], "×", f' BORDER="1" COLOR="{style.page["frame"]}"'
    text = "#ffffff" if is_dark(fill) else "#1f2933"
    text = style.page["muted"] if at in plane.crossed else text
    written = f'<FONT POINT-SIZE="{CELL_SIZE}" COLOR="{text}">{words}</FONT>' if words else ""
    return f'<TD FIXEDSIZE="TRUE" WIDTH="{wide}" HEIGHT="{high}" BGCOLOR="{colour}"{outline}>{written}</TD>'


def _table(table: tuple[tuple[str, ...], ...], look: Look, muted: str) -> str:
    """Rows of an arithmetic, with a line above the last."""
    columns = max(map(len, table))
    rows = ""
    for i, row in enumerate(table):
        last = i == len(table) - 1
        cells = "".join(
            f'<TD ALIGN="{"LEFT" if j == 0 else "RIGHT"}">{_small(text, look.text if j or last else muted)}</TD>'
            for j, text in enumerate([*(f"{text}{GAP}" for text in row[: columns - 1]), *row[columns - 1 :]])
        )
        rows += ("<HR/>" if last and i else "") + f"<TR>{cells}{'<TD></TD>' * (columns - len(row))}</TR>"
    return f'<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="2">{rows}</TABLE>'


def _small(text: str, colour: str) -> str:
    return f'<FONT POINT-SIZE="{LINE_SIZE}" COLOR="{colour}">{escape_html(text) or " "}</FONT>'


def arrow_options(arrow: Arrow, style: Style) -> dict[str, str]:
    """The look of an arrow, with its label."""
    colour = style.arrows["gradient" if arrow.role == "impact" else arrow.role]
    if arrow.faded:
        colour = _mixed(colour, style.page["background"], FADED)
    options = {"id": arrow.id, "color": colour}
    if arrow.width != 1.0:
        options["penwidth"] = f"{arrow.width:.3g}"
    if arrow.label:
        options["label"] = text(f"  {arrow.label} ")
    if arrow.role in ("gradient", "saved"):
        options |= (
            {"style": "dashed"} if arrow.role == "gradient" else {"style": "dotted", "arrowhead": "open"}
        )
    if arrow.role == "carry":
        options["penwidth"] = "1.6"
    return options


def _write_arrow(graph: graphviz.Digraph, arrow: Arrow, style: Style) -> None:
    options = arrow_options(arrow, style)
    if arrow.across:
        graph.edge(arrow.tail, arrow.head, constraint="false", tailport="e", headport="w", **options)
    elif arrow.rank == 0:
        graph.edge(arrow.tail, arrow.head, constraint="false", **options)
    elif arrow.rank < 0:
        # The backward pass flows upwards beside the forward pass: ranked the other way round, and drawn backwards.
        weight = "0" if arrow.role == "carry" else "1" if arrow.aside else "6"
        graph.edge(arrow.head, arrow.tail, dir="back", weight=weight, **options)
    elif arrow.role == "impact":
        graph.edge(arrow.tail, arrow.head, style="dashed", **options)
    elif arrow.role == "child":
        graph.edge(arrow.tail, arrow.head, tailport="e", headport="w", **options)
    else:
        graph.edge(arrow.tail, arrow.head, weight="1" if arrow.aside else "6", **options)


def _supports(picture: Picture) -> list[tuple[str, str]]:
    """Pairs (above, below) that keep frames, and what follows them, below each other.

    Without them Graphviz lets a frame's parameters, and what follows a frame, begin beside the frame before, and a
    chain of frames runs down the page like stairs. So whatever a frame's output enters goes below all ends of that
    frame, and a frame's parameters below what enters it. An arrow against the order of the boxes never arises.
    """
    data = [arrow for arrow in picture.arrows if arrow.role == "data"]
    place = {box.id: i for i, box in enumerate(picture.boxes)}
    for (
        arrow
    ) in data:  # boxes for what the graph gives come last of all, but stand below where they come from
        if picture.boxes[place[arrow.head]].kind in ("output", "update"):
            place[arrow.head] = place[arrow.tail]
    frames = _frames_around(picture)
    backward = {box.id for box in picture.boxes if box.backward}
    free = {box.id for box in picture.boxes if box.kind in ("gradient", "join") and box.opposite is None}
    fed = {arrow.head for arrow in data} | backward - free
    lasts: dict[str, list[str]] = {}
    found: dict[tuple[str, str], None] = {}
    for arrow in data:
        tail, head = frames[arrow.tail], frames[arrow.head]
        shared = sum(1 for one, other in zip(tail, head, strict=False) if one is other)
        above = [arrow.tail]
        if len(tail) > shared:
            frame = tail[shared]
            if frame.id not in lasts:
                lasts[frame.id] = sorted(_ends(frame, data) - backward, key=place.__getitem__)[-SUPPORTS:]
            above += lasts[frame.id]
        below = [arrow.head]
        for frame in head[shared:]:
            below += [box for box in frame.boxes if box not in fed]
        first = place[arrow.head]
        for upper in above:
            if place[upper] < first:
                found.update(dict.fromkeys((upper, lower) for lower in below if lower != upper))
    joins = {box.id for box in picture.boxes if box.kind == "join"}
    for arrow in picture.arrows:
        if arrow.head in joins and arrow.rank < 0:  # gradients meet above the frames that they leave
            left = [frame for frame in frames[arrow.tail] if frame not in frames[arrow.head]]
            inner = [box for frame in left for box in frame.boxes if box not in fed]
            found.update(dict.fromkeys((arrow.head, box) for box in inner))
    drawn = {(arrow.tail, arrow.head) for arrow in data}
    return [pair for pair in found if pair not in drawn]


def _ends(frame: Frame, data: list[Arrow]) -> set[str]:
    """The boxes of a frame that nothing else in it reads."""
    inside = {box for group in _all_groups([frame]) for box in group.boxes}
    return inside - {arrow.tail for arrow in data if arrow.tail in inside and arrow.head in inside}


def _frames_around(picture: Picture) -> dict[str, list[Frame]]:
    """The frames around each box, outermost first."""
    found: dict[str, list[Frame]] = {}
    waiting: list[tuple[Frame, list[Frame]]] = [(picture.root, [])]
    while waiting:
        group, around = waiting.pop()
        found.update(dict.fromkeys(group.boxes, around))
        waiting += [(inner, [*around, inner]) for inner in group.groups]
    return found


def _all_groups(groups: list[Frame]) -> list[Frame]:
    found = list(groups)
    for group in found:
        found += group.groups  # extends the list that is walked
    return found


def caption(picture: Picture, style: Style, legend_wanted: bool) -> str:
    """What stands below the picture: the legend of the kinds that occur, and the notes."""
    present = {box.kind for box in picture.boxes if not box.fill} if legend_wanted else set()
    kinds = [kind for kind in style.kinds if kind in present]
    if len({style.look(kind).fill for kind in kinds}) == 1 < len(kinds):
        kinds = []  # swatches that all look alike explain nothing
    rows = ""
    for start in range(0, len(kinds), LEGEND_COLUMNS):
        cells = "".join(_legend_entry(kind, style) for kind in kinds[start : start + LEGEND_COLUMNS])
        rows += f"<TR>{cells}</TR>"
    plain = '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="5" CELLPADDING="0">'
    legend = [f"{plain}{rows}</TABLE>"] if rows else []  # a table of its own: notes would stretch its columns
    below = [f"<TD>{one}</TD>" for one in legend]
    below += [f'<TD ALIGN="LEFT">{escape_html(note)}</TD>' for note in picture.notes]
    return f"<{plain}{''.join(f'<TR>{cell}</TR>' for cell in below)}</TABLE>>" if below else ""


def _legend_entry(kind: str, style: Style) -> str:
    look = style.look(kind)
    swatch = f'BGCOLOR="{look.fill}" BORDER="1" COLOR="{look.border}" WIDTH="14" HEIGHT="9" FIXEDSIZE="TRUE"'
    return f'<TD {swatch}></TD><TD ALIGN="LEFT">{escape_html(kind)}   </TD>'
