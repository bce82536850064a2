"""Graphs inside pictures: what a saved SVG, page or DOT file carries besides the picture, and how it is read back.

    SVG    <metadata id="tinygraph-graph">      HTML   <script type="application/json" id="tinygraph-graph">
    DOT    comment lines that begin with //~

Each holds the JSON text of the graph's description, in ASCII and with `<`, `>` and `&` escaped as JSON escapes them, so
that nothing in it can end the element around it. Where pictures come from is unknown here.
"""

from __future__ import annotations

import html
import json
import re
from typing import TYPE_CHECKING, Any

from tinygraph.core.graph import Graph
from tinygraph.errors import FileFormatError

if TYPE_CHECKING:
    from tinygraph.interop.graphs.description import Description

MOST_VALUES = 2**20  # bytes of values that a picture carries unless told otherwise
MOST_NODES = 200_000  # of a graph that a picture carries
_LINE = 110
_ESCAPES = {ord("<"): "\\u003c", ord(">"): "\\u003e", ord("&"): "\\u0026"}
# Patterns run on files of strangers: each step of these takes a character that no other step could.
_ELEMENT = r"<{0}\b([^<>]*)>"
_ID = re.compile(r'(?<!\w)id="tinygraph-graph"')
_TAGS = {".svg": "metadata", ".html": "script"}
_DOT_LINES = re.compile(r"^//~(.*)$", re.MULTILINE)


def embedded(picture: str, suffix: str, graph: Graph | None, most_values: int = MOST_VALUES) -> str:
    """The text of a picture with a graph in it.

    Args:
        picture: the text of an SVG, HTML or DOT file.
        suffix: which of them: one of `PICTURES`.
        graph: None for a picture that shows none.
        most_values: bytes of values up to which they are all carried. If there are more, parameters, buffers and data
            are left out, and the file says so.
    """
    text = graph_text(graph, most_values)
    if suffix in (".dot", ".gv"):
        lines = [f"//~{text[start : start + _LINE]}" for start in range(0, len(text), _LINE)]
        return "\n".join([picture.rstrip("\n"), "// The graph, for tinygraph.load:", *lines, ""])
    kind = ' type="application/json"' if suffix == ".html" else ""
    tag, end = _TAGS[suffix], "</svg>" if suffix == ".svg" else "</body>"
    before, found, after = picture.rpartition(end)
    assert found, f"a picture without {end}"
    return f'{before}<{tag}{kind} id="tinygraph-graph">{text}</{tag}>\n{end}{after}'


def graph_text(graph: Graph | None, most_values: int = MOST_VALUES) -> str:
    """The JSON text that pictures carry, safe inside any of them; of a graph that cannot be carried, the reason why."""
    import msgspec

    try:
        content = msgspec.to_builtins(_described(graph, most_values))
    except FileFormatError as reason:
        content = {"absent": str(reason)}
    return json.dumps(content, separators=(",", ":")).translate(_ESCAPES)


def _described(graph: Graph | None, most_values: int) -> Description:
    from tinygraph.interop.graphs.describing import describe
    from tinygraph.interop.graphs.values import to_text

    if graph is None:
        raise FileFormatError("the picture shows modules and no graph: draw the model with inputs=")
    if len(graph.nodes) > MOST_NODES:
        raise FileFormatError(
            f"its {len(graph.nodes):,} nodes are more than a picture carries: use graph.save"
        )
    description, values = describe(graph)
    arrays = description.arrays
    sizes = {name: values[name].nbytes if name in values else _objects_size(arrays[name]) for name in arrays}
    owned = {node.value for node in description.nodes if node.value is not None}
    kept = set(arrays)
    if sum(sizes.values()) > most_values:
        kept -= owned
    if sum(sizes[name] for name in kept) > most_values:
        kept.clear()
    description.left_out = sum(sizes[name] for name in arrays if name not in kept)
    for name, record in arrays.items():
        if name not in kept:
            record.objects = None
        elif name in values:
            record.data = to_text(values[name])
    return description


def _objects_size(record: Any) -> int:
    """About how many bytes a list of Python numbers takes in a file."""
    return sum(len(str(one)) for one in record.objects or ())


def extract(picture: str, suffix: str) -> bytes:
    """The JSON text of the graph in a picture.

    Raises:
        FileFormatError: there is none, it is cut off, or the picture says why it carries none.
    """
    text = _dot_text(picture) if suffix in (".dot", ".gv") else _element_text(picture, _TAGS[suffix])
    content = text.encode()
    reason = _absent(content)
    if reason is not None:
        raise FileFormatError(f"the picture carries no graph: {reason:.300}")
    return content


def _absent(content: bytes) -> str | None:
    """The reason why a picture carries no graph, if it says one."""
    import msgspec

    class Absent(msgspec.Struct):
        absent: str | None = None

    try:
        return msgspec.json.decode(content, type=Absent).absent
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFormatError(f"the graph in the picture is truncated or malformed: {error}") from None


def _dot_text(picture: str) -> str:
    lines = _DOT_LINES.findall(picture)
    if not lines:
        raise FileFormatError(_NOTHING)
    return "".join(line.rstrip("\r") for line in lines)


def _element_text(picture: str, tag: str) -> str:
    start = None
    for found in re.finditer(_ELEMENT.format(tag), picture):
        if _ID.search(found[1]):
            start = found.end()
    if start is None:
        raise FileFormatError(_NOTHING)
    content, end, _ = picture[start:].partition(f"</{tag}>")
    if not end:
        raise FileFormatError("the graph in the picture is truncated: its element has no end")
    return html.unescape(content).strip()  # editors may have written quotes as entities


_NOTHING = (
    "the picture carries no graph: it was made by another program, stripped of it, or saved with embed=None"
)
