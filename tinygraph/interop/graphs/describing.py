"""From a `Graph` to its description: nodes numbered, what repeats put in tables, values set aside under names."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable
from typing import Any

import msgspec
import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.modes import CompositeName, ModuleName, Scope
from tinygraph.core.node import Leaf, Node, Port
from tinygraph.core.op import Op
from tinygraph.core.sizes import FreeArray, FreeInt
from tinygraph.core.source import SourceLine
from tinygraph.core.state import Generator, default_generator
from tinygraph.core.subgraphs import Subgraph
from tinygraph.core.types import ArrayType, WeakType, type_of
from tinygraph.errors import DTypeError, FileFormatError
from tinygraph.interop.graphs.description import (
    FORMAT,
    GRAPH,
    MOST_LETTERS,
    VERSION,
    ArrayRecord,
    Constant,
    Description,
    ModuleRecord,
    NodeRecord,
    OpRecord,
    SourceRecord,
    TypeRecord,
)
from tinygraph.interop.graphs.missing_ops import MissingOp
from tinygraph.interop.graphs.rebuilding import (
    find_op,
    opened_whole,
    output_path,
    result_skeleton,
    version_of,
)
from tinygraph.interop.graphs.values import (
    DTYPES,
    LARGEST,
    encode,
    encode_formula,
    encode_objects,
    encode_pattern,
    encode_text,
    to_text,
)
from tinygraph.tracing.collector import collection_paused


@collection_paused()
def describe(graph: Graph) -> tuple[Description, dict[str, Any]]:
    """The description of a graph, and the arrays it refers to by name.

    Raises:
        FileFormatError: it holds what a file cannot: an op that no name finds, a setting that is no plain value.
    """
    return _Describing(opened_whole(graph)).description()


class _Describing:
    """One graph on its way into a description."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        changed = [leaf for leaf, _ in (*graph.updates, *graph.gradients)]
        self.nodes = [*_extra(changed, graph.nodes), *graph.nodes]
        fits = graph.result is not None and graph.result.count == len(graph.outputs)
        self.result = graph.result if fits else None
        self.numbers = {id(node): i for i, node in enumerate(self.nodes)}
        self.ops: dict[OpRecord, int] = {}
        self.op_numbers: dict[int, int] = {}
        self.types: dict[tuple[bool, str, ArrayType], int] = {}
        self.scopes: dict[Scope, int] = {(): 0}
        self.composites: list[tuple[int, ...]] = [()]
        self.modules: dict[str, ModuleRecord] = {}
        self.calls: dict[tuple[Scope, str], dict[int, int]] = {}
        self.sources: dict[SourceLine, int] = {}
        self.source_numbers: dict[tuple[int, int], int | None] = {}
        self.values: dict[str, Any] = {}
        self.arrays: dict[str, ArrayRecord] = {}
        self.array_names: dict[
            int, tuple[str, Any]
        ] = {}  # by id, each with the array: no other may get its id

    def description(self) -> tuple[Description, dict[str, Any]]:
        graph = self.graph
        nodes = tuple(self.leaf(node) if isinstance(node, Leaf) else self.node(node) for node in self.nodes)
        described = Description(
            format=FORMAT,
            version=VERSION,
            name=_text(graph.name),
            inputs=tuple(self.numbers[id(leaf)] for leaf in graph.inputs),
            outputs=tuple(itertools.starmap(self.output, enumerate(graph.outputs))),
            updates=tuple((self.numbers[id(leaf)], self.entry(value)) for leaf, value in graph.updates),
            gradients=tuple((self.numbers[id(leaf)], self.entry(value)) for leaf, value in graph.gradients),
            result=result_skeleton(self.result),
            nodes=nodes,
            ops=tuple(self.ops),
            types=tuple(_type_record(weak, types) for weak, _, types in self.types),
            scopes=tuple(self.scopes),
            composites=tuple(self.composites) if any(self.composites) else (),
            modules=self.modules,
            sources=tuple(_source_record(source) for source in self.sources),
            arrays=self.arrays,
        )
        return described, self.values

    def node(self, node: Node) -> NodeRecord:
        source = self.source(node)
        origin = node.forward_node
        try:
            settings = {name: _setting(value) for name, value in node.settings.items()}
        except DTypeError as error:
            raise FileFormatError(f"{node.describe()}: a setting is no plain value: {error}") from None
        return NodeRecord(
            op=self.op(node.op, node),
            inputs=tuple(map(self.entry, node.inputs)),
            settings=settings,
            types=tuple(map(self.type, node.output_types)),
            scope=self.scope(node.scope),
            phase=node.phase,
            forward=self.numbers.get(id(origin)),
            name=_text(node.name),
            source=source,
        )

    def scope(self, scope: Scope) -> int:
        """The number of a scope, whose calls count within this graph: what ran before it is no part of it."""
        counted: Scope = ()
        for name, call in scope:
            calls = self.calls.setdefault((counted, name), {})
            counted = (*counted, (_text(str(name)), calls.setdefault(call, len(calls))))
            if isinstance(name, ModuleName):
                path = "/".join(one for one, _ in counted)
                if path not in self.modules and len(path) <= MOST_LETTERS:
                    settings = name.settings[:MOST_LETTERS].encode(errors="replace").decode()
                    self.modules[path] = ModuleRecord(_text(name.kind), settings, name.whole)
        number = _number(self.scopes, counted)
        if number == len(self.composites):
            made = (i for i, (name, _) in enumerate(scope) if isinstance(name, CompositeName))
            self.composites.append(tuple(made))
        return number

    def source(self, node: Node) -> int | None:
        """The number of the node's line; one instruction is looked up once, however many nodes it made."""
        key = (id(node.served.code), node.served.offset)
        if key not in self.source_numbers:
            line = node.source
            self.source_numbers[key] = None if line is None else _number(self.sources, line)
        return self.source_numbers[key]

    def leaf(self, leaf: Leaf) -> NodeRecord:
        drawn = isinstance(leaf.value, Generator)
        return NodeRecord(
            leaf=leaf.leaf_kind,  # type: ignore[arg-type]
            types=(self.type(leaf.output_types[0]),),
            name=_text(leaf.name),
            value=None if leaf.value is None or drawn else self.array(leaf.value, leaf.name or ""),
            requires_grad=leaf.requires_grad,
            in_rows=bool(leaf.settings),
            generator=_generator_state(leaf.value) if drawn else None,
        )

    def entry(self, entry: object) -> Any:
        if isinstance(entry, Port):
            return (self.numbers[id(entry.node)], entry.index)
        if isinstance(entry, Node):
            return self.numbers[id(entry)]
        if entry is None:
            return None
        if isinstance(entry, bool | int | float | complex) and not isinstance(entry, np.generic):
            return Constant(number=encode(entry))
        if isinstance(entry, FreeArray):
            name = self.array(np.asarray(entry), f"constant.{len(self.arrays)}")
            return Constant(array=name, rule=encode_pattern(entry.pattern))
        return Constant(array=self.array(entry, f"constant.{len(self.arrays)}"))

    def output(self, number: int, output: object) -> Any:
        try:
            return self.entry(output)
        except FileFormatError as error:
            raise FileFormatError(f"{output_path(self.result, number)}: {error}") from None

    def op(self, op: Op, node: Node) -> int:
        number = self.op_numbers.get(id(op))
        if number is None:
            if not isinstance(op, MissingOp) and find_op(op.name, op.package) is not op:
                raise FileFormatError(
                    f"{node.describe()}: op {op.name!r} is not registered, so no file can refer to it; capture the "
                    f"function with tg.capture, which records what a checkpoint runs op by op"
                )
            record = OpRecord(
                name=op.name,
                package=op.package,
                distribution=op.distribution,
                version=version_of(op),
                kind=op.kind,
                operands=tuple(operand.name for operand in op.signature.operands),
            )
            number = self.op_numbers[id(op)] = _number(self.ops, record)
        return number

    def type(self, types: ArrayType) -> int:
        weak = isinstance(types, WeakType)  # equal to an ArrayType, and not the same
        key = weak, str(types), types  # free sizes are equal to others, and are not the same
        if key in self.types:
            return self.types[key]
        if types.dtype.name not in DTYPES:
            raise FileFormatError(
                f"a file cannot hold the dtype {types.dtype.name}; convert with .astype first"
            )
        if math.prod(types.shape) > LARGEST or max(types.shape, default=0) > LARGEST:
            raise FileFormatError(
                f"an array of type {types} is larger than any memory, and no file describes it"
            )
        return _number(self.types, key)

    def array(self, value: object, wanted: str) -> str:
        """Set an array aside under a name of its own; one array used twice is kept once."""
        known = self.array_names.get(id(value))
        if known is not None:
            return known[0]
        if isinstance(value, np.ma.MaskedArray):
            raise FileFormatError("a file cannot hold a masked array: save its data, filled, and its mask")
        # names that begin with __ belong to the file format
        name = wanted if wanted and not wanted.startswith("__") else f"value.{len(self.arrays)}"
        while name in self.arrays:
            name += "'"
        types = ArrayType(*type_of(value))
        record = self.arrays[name] = ArrayRecord(type=self.type(types))
        if types.dtype.kind == "O":
            try:
                record.objects = encode_objects(value)
            except (DTypeError, ValueError) as error:
                raise FileFormatError(f"the value {name!r}: {error}") from None
        else:
            self.values[name] = value
        self.array_names[id(value)] = name, value
        return name


def _type_record(weak: bool, types: ArrayType) -> TypeRecord:
    free = tuple(
        (axis, {} if size.formula is None else encode_formula(size.formula))
        for axis, size in enumerate(types.shape)
        if isinstance(size, FreeInt)
    )
    return TypeRecord(types.dtype.name, tuple(map(int, types.shape)), weak, free)


def _setting(value: object) -> Any:
    """A setting as JSON holds it; a body of a loop or a branch is a description of its own, its arrays within."""
    if isinstance(value, Subgraph):
        described, values = describe(value.graph)
        for name, array in values.items():
            described.arrays[name].data = to_text(array)
        return {GRAPH: msgspec.to_builtins(described)}
    if isinstance(value, tuple) and any(isinstance(one, Subgraph) for one in value):
        return list(map(_setting, value))
    return encode(value)


def _extra(leaves: Iterable[Leaf], listed: Iterable[Node]) -> list[Leaf]:
    """The leaves that are not listed, each once: states that a program writes and never reads."""
    known = {id(node) for node in listed}
    return list({id(leaf): leaf for leaf in leaves if id(leaf) not in known}.values())


def _number(table: dict[Any, int], value: object) -> int:
    return table.setdefault(value, len(table))


def _text(name: str | None) -> Any:
    """A name as it is, if files can hold it."""
    if name is None:
        return None
    if len(name) > MOST_LETTERS:
        raise FileFormatError(
            f"the name {name!r:.60}... has {len(name)} letters; {MOST_LETTERS} are the most"
        )
    try:
        return encode_text(name)
    except DTypeError as error:
        raise FileFormatError(f"the name {error}") from None


def _source_record(source: SourceLine) -> SourceRecord:
    texts = os.path.basename(source.file), source.function, source.text
    # a line is there to be read: what no file holds of it is left out
    file, function, text = (one[:MOST_LETTERS].encode(errors="replace").decode() for one in texts)
    return SourceRecord(file, max(source.line, 0), function, text)


def _generator_state(generator: Generator) -> dict[str, Any]:
    """Where a generator stands. The library's own is named only: it goes on from where the reader's stands."""
    if generator is default_generator:
        return {"default": True}
    state = generator.state
    return {
        "state": str(state["state"]["state"]),
        "increment": str(state["state"]["inc"]),
        "half": [int(state["has_uint32"]), int(state["uinteger"])],
    }
