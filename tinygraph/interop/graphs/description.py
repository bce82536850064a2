"""A graph as data: the versioned description that files hold.

What repeats - ops, types, scopes, source lines - stands in tables and is referred to by number, so that a graph of a
million nodes stays a file. Nodes refer to earlier nodes only. `describing.py` makes it, `reopening.py` reads it,
`graph_files.py` knows the bytes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

FORMAT = "tinygraph-graph"
VERSION = 1
GRAPH = "graph"  # the only key of a setting that is the graph of a body; its value is a description
MOST_NESTED = 20  # bodies within bodies

Count = Annotated[int, Meta(ge=0)]
MOST_LETTERS = 100_000
Name = Annotated[str, Meta(max_length=MOST_LETTERS)]


class Constant(Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """An operand or output that no node computes: a stored array, or a Python number (weak in arithmetic).

    `rule`: how an array follows from free sizes; the stored one is that of the example.
    """

    array: Name | None = None
    number: Any = None
    rule: Any = None


Entry = int | tuple[int, int] | Constant | None
"""An operand: a node's only output, (node, output), a constant, or absent."""


class OpRecord(Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """An op and where to get it."""

    name: Name
    package: Name
    distribution: Name
    kind: Name
    operands: tuple[Name, ...]
    version: Name = ""


class TypeRecord(Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """A shape and dtype; `weak` if it is a Python number's, which takes the dtype of what it meets.

    `free`: for axes whose sizes are free (axis, the formula of the size); the shape is that of the example.
    """

    dtype: Name
    shape: Annotated[tuple[Count, ...], Meta(max_length=64)]
    weak: bool = False
    free: Annotated[tuple[tuple[Count, dict[str, Any]], ...], Meta(max_length=64)] = ()


class SourceRecord(Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """A line of the program that made a node; the file's name without its folder."""

    file: Name
    line: Count
    function: Name = ""
    text: Name = ""


class ArrayRecord(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A stored array: in the file's tensors under its name, or here as base64 or as a list of objects."""

    type: Count
    data: str | None = None
    objects: list[Any] | None = None


class NodeRecord(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A node (with `op`) or a leaf (with `leaf`)."""

    types: tuple[Count, ...]
    op: Count | None = None
    inputs: tuple[Entry, ...] = ()
    settings: dict[str, Any] = {}
    scope: Count = 0
    phase: Literal["forward", "backward", "update"] = "forward"
    forward: Count | None = None
    name: Name | None = None
    source: Count | None = None
    leaf: Literal["parameter", "input", "buffer", "tensor", "generator"] | None = None
    value: Name | None = None
    requires_grad: bool = False
    in_rows: bool = False
    generator: dict[str, Any] | None = None


class ModuleRecord(Struct, frozen=True, forbid_unknown_fields=True, array_like=True):
    """Which module a group was a call of: its class, the settings that its `repr` shows, whether it is one layer."""

    kind: Name
    settings: Name = ""
    whole: bool = False


class Description(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A whole graph.

    `composites`: for each scope the places of the names that composites gave, not modules; None in files that do
    not say. `modules`: by the names of a group and those around it, with slashes. `left_out`: bytes of values that
    the file does without; what lacks one has a type only.
    """

    format: str
    version: int
    name: Name | None
    inputs: tuple[Count, ...]
    outputs: tuple[Entry, ...]
    ops: tuple[OpRecord, ...]
    types: tuple[TypeRecord, ...]
    scopes: tuple[tuple[tuple[Name, Count], ...], ...]
    sources: tuple[SourceRecord, ...]
    arrays: dict[Name, ArrayRecord]
    nodes: tuple[NodeRecord, ...]
    updates: tuple[tuple[Count, Entry], ...] = ()
    gradients: tuple[tuple[Count, Entry], ...] = ()
    result: Any = None
    composites: tuple[tuple[Count, ...], ...] | None = None
    left_out: Count = 0
    modules: dict[Name, ModuleRecord] = {}
