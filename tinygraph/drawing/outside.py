"""Pictures for other programs: TikZ, made from the SVG so that both are laid out alike; boxes as JSON and GraphML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from tinygraph.drawing.dot.onto_sheet import Placed
from tinygraph.drawing.model.picture import Frame, Picture
from tinygraph.errors import DrawingError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

# Signs that pictures use and LaTeX's usual fonts lack.
_SIGNS = {
    "×": r"$\scriptstyle\times$", "→": r"$\rightarrow$", "∂": r"$\partial$", "·": r"$\cdot$", "…": r"\ldots{}",
    "−": "$-$",
    "²": "$^2$", "Σ": r"$\Sigma$", "∇": r"$\nabla$", "√": r"$\surd$", "≤": r"$\leq$", "≥": r"$\geq$", "≠": r"$\neq$",
    "α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "µ": r"$\mu$", "μ": r"$\mu$", "σ": r"$\sigma$",
    "\u00a0": "~", "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#",
    "^": r"\textasciicircum{}", "_": r"\_", "~": r"\textasciitilde{}", "%": r"\%", "<": "$<$", ">": "$>$", "|": "$|$",
}  # fmt: skip
_ANCHORS = {"start": "base west", "middle": "base", "end": "base east"}
SERIF_SHARE = 0.88  # of a size in Times: Computer Modern is as wide there
_SVG = "{http://www.w3.org/2000/svg}"


def tikz(svg: str) -> str:
    """An SVG of Graphviz's as a `tikzpicture`."""
    root = ET.fromstring(svg)
    drawn = root.find(f"{_SVG}g")
    if drawn is None or root.find(f".//{_SVG}image") is not None:
        raise DrawingError(
            "this picture holds images of planes, which TikZ has no words for: save it as .pdf and \\includegraphics it"
        )
    found = re.search(r"([\d.]+)", drawn.get("data-scale", "")) or re.search(
        r"scale\(([\d.]+)", drawn.get("transform", "")
    )
    scale = float(found[1]) if found else 1.0
    colours: dict[str, str] = {}
    lines = [line for element in drawn.iter() if (line := _tikz_of(element, scale, colours))]
    defined = [
        rf"\definecolor{{{name}}}{{HTML}}{{{colour.lstrip('#').upper()}}}" for colour, name in colours.items()
    ]
    unit = f"{scale:.4g}bp"
    return "\n".join(
        [
            r"% \usepackage{tikz}",
            rf"\begin{{tikzpicture}}[x={unit}, y=-{unit}, line join=round]",
            *defined,
            *lines,
            r"\end{tikzpicture}",
            "",
        ]
    )


def _tikz_of(element: Element, scale: float, colours: dict[str, str]) -> str:
    kind = element.tag.removeprefix(_SVG)
    if kind == "text":
        return _tikz_text(element, scale, colours)
    if kind == "path":
        outline = _curves(element.get("d", ""))
    elif kind in ("polygon", "polyline"):
        points = [f"({point})" for point in element.get("points", "").split()]
        outline = " -- ".join(points) + (" -- cycle" if kind == "polygon" else "")
    elif kind == "ellipse":
        x, y, wide, high = (element.get(name, "0") for name in ("cx", "cy", "rx", "ry"))
        outline = f"({x},{y}) ellipse [x radius={wide}, y radius={high}]"
    else:
        return ""
    options = [
        f"{name}={_colour(value, colours)}"
        for name, key in (("fill", "fill"), ("draw", "stroke"))
        if (value := element.get(key, "none")) not in ("none", "transparent")
    ]
    if not options:
        return ""
    options.append(f"line width={float(element.get('stroke-width', '1')) * scale:.3g}bp")
    dashes = element.get("stroke-dasharray")
    if dashes:
        options.append("dotted" if dashes.startswith("1") else "dashed")
    return rf"\path[{', '.join(options)}] {outline};"


def _tikz_text(element: Element, scale: float, colours: dict[str, str]) -> str:
    serif = "Times" in element.get("font-family", "")
    family = r"\rmfamily" if serif else r"\sffamily"
    # boxes were measured in Times, which is narrower than LaTeX's own serif; its sans is narrower than DejaVu
    size = float(element.get("font-size", "14")) * scale * (SERIF_SHARE if serif else 1.0)
    colour = _colour(element.get("fill", "#000000"), colours)
    anchor = _ANCHORS[element.get("text-anchor", "start")]
    font = rf"\fontsize{{{size:.4g}bp}}{{{size * 1.2:.4g}bp}}{family}\selectfont"
    words = "".join(_SIGNS.get(letter, letter) for letter in element.text or "")
    at = f"({element.get('x', '0')},{element.get('y', '0')})"
    return rf"\node[anchor={anchor}, inner sep=0, text={colour}, font={font}] at {at} {{{words}}};"


def _colour(text: str, colours: dict[str, str]) -> str:
    if not text.startswith("#"):
        return text
    return colours.setdefault(text, f"tinygraph{len(colours)}")


def _curves(path: str) -> str:
    """SVG path data of Graphviz's, M and C with absolute points, and Z."""
    numbers = re.findall(r"-?[\d.]+,-?[\d.]+", path)
    found = [f"({numbers[0]})"]
    for first, second, end in zip(numbers[1::3], numbers[2::3], numbers[3::3], strict=False):
        found.append(f".. controls ({first}) and ({second}) .. ({end})")
    return " ".join(found) + (" -- cycle" if path.rstrip().upper().endswith("Z") else "")


# -- boxes and arrows as data ------------------------------------------------------------------------------------------


def as_json(picture: Picture, placed: Placed) -> str:
    """Boxes, arrows and frames of a picture, with the places of boxes in points, y downwards."""
    boxes = [
        {
            "id": box.id, "kind": box.kind, "title": box.title, "lines": list(box.lines), "path": box.path,
            "backward": box.backward, **_place(placed, box.id),
        }
        for box in picture.boxes
    ]  # fmt: skip
    arrows = [
        {"tail": arrow.tail, "head": arrow.head, "label": arrow.label, "role": arrow.role}
        for arrow in picture.arrows
    ]
    frames = [
        {"id": frame.id, "title": frame.title, "within": within, "boxes": frame.boxes}
        for frame, within in _frames(picture.root, "")
    ]
    size = {"width": round(placed.width, 1), "height": round(placed.height, 1)}
    return json.dumps(
        {"name": picture.name, **size, "boxes": boxes, "arrows": arrows, "frames": frames}, indent=1
    )


def as_graphml(picture: Picture, placed: Placed) -> str:
    """The same boxes and arrows as GraphML."""
    of_boxes = {
        "title": "string",
        "kind": "string",
        "lines": "string",
        "group": "string",
        "x": "double",
        "y": "double",
    }
    of_arrows = {"label": "string", "role": "string"}
    groups = {box: frame.title for frame, _ in _frames(picture.root, "") for box in frame.boxes}
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<graphml xmlns="http://graphml.graphdrawing.org/xmlns">',
    ]
    for target, keys in (("node", of_boxes), ("edge", of_arrows)):
        lines += [
            f'<key id="{name}" for="{target}" attr.name="{name}" attr.type="{kind}"/>'
            for name, kind in keys.items()
        ]
    lines.append('<graph edgedefault="directed">')
    for box in picture.boxes:
        said = {
            "title": box.title,
            "kind": box.kind,
            "lines": "\n".join(box.lines),
            "group": groups.get(box.id, ""),
        }
        place = {name: value for name, value in _place(placed, box.id).items() if name in of_boxes}
        lines.append(f'<node id="{box.id}">{_data({**said, **place})}</node>')
    for arrow in picture.arrows:
        said = {"label": arrow.label, "role": arrow.role}
        lines.append(
            f'<edge id="{arrow.id}" source="{arrow.tail}" target="{arrow.head}">{_data(said)}</edge>'
        )
    return "\n".join([*lines, "</graph>", "</graphml>", ""])


def _data(values: Mapping[str, str | float]) -> str:
    texts = (
        (name, re.sub(r"[^\t\n\x20-\ud7ff\ue000-\U0010ffff]", "\ufffd", str(value)))
        for name, value in values.items()
    )
    return "".join(f'<data key="{name}">{escape(text)}</data>' for name, text in texts)


def _place(placed: Placed, box: str) -> dict[str, float]:
    place = placed.places[box]
    return {name: round(value, 1) for name, value in place._asdict().items()}


def _frames(frame: Frame, within: str) -> Iterator[tuple[Frame, str]]:
    for inner in frame.groups:
        yield inner, within
        yield from _frames(inner, inner.id)
