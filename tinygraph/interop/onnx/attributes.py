"""Attributes of nodes as Python's values: numbers, texts, arrays; graphs stay as they stand in the file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.package import Proto
from tinygraph.interop.onnx.tensors import array_of

_FLOAT, _INT, _STRING, _TENSOR, _GRAPH, _FLOATS, _INTS, _STRINGS, _TENSORS, _GRAPHS = range(1, 11)
_TYPE, _TYPES = 13, 14


def attributes_of(node: Proto, folder: Path | None) -> dict[str, Any]:
    """The attributes of a node by name.

    Raises:
        FileFormatError: one of a kind that no graph can hold, or twice.
    """
    found: dict[str, Any] = {}
    for one in node.attribute:
        if one.name in found:
            raise FileFormatError(f"the attribute {one.name!r:.60} stands there twice")
        found[one.name] = _value(one, folder)
    return found


def _value(one: Proto, folder: Path | None) -> Any:
    kind = one.type
    if kind == _FLOAT:
        return one.f
    if kind == _INT:
        return one.i
    if kind == _STRING:
        return one.s.decode(errors="replace")
    if kind == _TENSOR:
        return array_of(one.t, folder)
    if kind == _GRAPH:
        return one.g
    if kind == _FLOATS:
        return tuple(one.floats)
    if kind == _INTS:
        return tuple(one.ints)
    if kind == _STRINGS:
        return tuple(text.decode(errors="replace") for text in one.strings)
    if kind == _TENSORS:
        return [array_of(tensor, folder) for tensor in one.tensors]
    if kind == _TYPE:
        return one.tp
    raise FileFormatError(f"the attribute {one.name!r:.60} is of kind {kind}, of which no graph is made")
