"""From a description back to a `Graph`: every reference, type and operand checked, and ops type the nodes.

Nodes go through the choke point, which asks their op; one that is like an earlier one takes its types from that.

Errors name the place: `nodes[12] (op 'matmul')`. What a description says is never executed; it can only name ops
that are installed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.modes import CompositeName, ModuleName, Place, Scope
from tinygraph.core.node import IN_ROWS, Leaf, Node, Port
from tinygraph.core.op import Composite, Op
from tinygraph.core.registry import registry
from tinygraph.core.sizes import FreeArray, FreeInt, Sizes, free_names, is_free, plain, said, valued
from tinygraph.core.source import SourceLine
from tinygraph.core.state import Generator, default_generator
from tinygraph.core.subgraphs import Subgraph
from tinygraph.core.types import ArrayType, WeakType
from tinygraph.errors import FileFormatError, ShapeError
from tinygraph.interop.graphs.description import (
    FORMAT,
    GRAPH,
    MOST_NESTED,
    VERSION,
    Constant,
    Description,
    NodeRecord,
    TypeRecord,
)
from tinygraph.interop.graphs.missing_ops import missing_op
from tinygraph.interop.graphs.rebuilding import find_ops, rebuild_node, result_tree
from tinygraph.interop.graphs.values import DTYPES, LARGEST, decode, decode_objects, decode_pattern, from_text
from tinygraph.tracing.collector import collection_paused
from tinygraph.tracing.free_sizes import types_around

MOST_TWINS = 10_000  # nodes that others are made like

ReadArray = Callable[[str, ArrayType], Any]  # a leaf without a value, if the file has left it out


@collection_paused()
def reopen(description: Description, read_array: ReadArray) -> Graph:
    """The graph that a description describes.

    Args:
        read_array: gives the stored array of a name, of the given type.

    Raises:
        FileFormatError: naming the place that is wrong.
    """
    return _Reopening(description, read_array).graph()


def _body(described: object, depth: int, sizes: Sizes) -> Subgraph:
    """The body of a loop or a branch, which reads its inputs alone."""
    if depth > MOST_NESTED:
        raise FileFormatError(f"bodies are nested more than {MOST_NESTED} deep")
    try:
        description = msgspec.convert(described, Description)
    except (msgspec.ValidationError, RecursionError) as error:
        raise FileFormatError(f"a body is no graph: {error}") from None
    if description.format != FORMAT or description.version != VERSION:
        raise FileFormatError("a body is of another format or version")

    def read_array(name: str, types: ArrayType) -> Any:
        record = description.arrays[name]
        where = f"arrays[{name!r:.60}] of a body"
        if types.dtype.kind == "O":
            return decode_objects(record.objects or [], types, where)
        return from_text(record.data or "", types, where)

    with _at("in a body"):
        graph = _Reopening(description, read_array, depth, sizes).graph()
        inputs = set(map(id, graph.inputs))
        if graph.updates or graph.gradients or any(id(leaf) not in inputs for leaf in graph.leaves):
            raise FileFormatError("it reads or writes more than its inputs and results")
    return Subgraph(graph, graph.name or "body")


class _Reopening:
    """One description on its way to being a graph."""

    def __init__(
        self, description: Description, read_array: ReadArray, depth: int = 0, sizes: Sizes | None = None
    ) -> None:
        self.description = description
        self.depth = depth  # of bodies around it
        self.read_array = read_array
        self.types = [_array_type(record, f"types[{i}]") for i, record in enumerate(description.types)]
        self.sources = [
            SourceLine(line.file, line.line, line.function, line.text) for line in description.sources
        ]
        self.ops = find_ops([(record.name, record.package) for record in description.ops])
        self.stand_ins: dict[Any, Op] = {}
        self.places: dict[Any, Place] = {}
        self.arrays: dict[str, Any] = {}
        named = {i: _get(description.nodes, i, "nodes") for i in description.inputs}
        inputs = [
            self.types[one.types[0]] for one in named.values() if one.types and one.types[0] < len(self.types)
        ]
        self.sizes = {**(sizes or {}), **free_names(inputs)}  # the free ones, as they are in the example
        self.nodes: list[Node] = []
        self.twins: dict[Any, Node] = {}

    def graph(self) -> Graph:
        description = self.description
        try:
            for record in description.nodes:
                self.nodes.append(self.leaf(record) if record.op is None else self.node(record))
        except FileFormatError as error:
            number = len(self.nodes)
            title = self.title(description.nodes[number])
            raise FileFormatError(f"nodes[{number}]{title}: {error}") from error.__cause__
        with _at("outputs"):
            outputs = [self.entry(entry) for entry in description.outputs]
            if any(output is None for output in outputs):
                raise FileFormatError("an output is absent")
        with _at("result"):
            result = None if description.result is None else result_tree(description.result, len(outputs))
        with _at("inputs"):
            inputs = [self.leaf_at(number) for number in description.inputs]
            if len(set(description.inputs)) != len(inputs):
                raise FileFormatError("one leaf is listed twice")
        with _at("updates"):
            updates = [(self.leaf_at(number), self.entry(entry)) for number, entry in description.updates]
        with _at("gradients"):
            gradients = [(self.leaf_at(number), self.entry(entry)) for number, entry in description.gradients]
        return Graph(
            inputs, outputs, result=result, updates=updates, gradients=gradients, name=description.name
        )

    def title(self, record: NodeRecord) -> str:
        if record.op is None or record.op >= len(self.description.ops):
            return f" ({record.leaf or 'no op'}{f' {record.name!r:.60}' if record.name else ''})"
        return f" (op {self.description.ops[record.op].name!r:.60})"

    def leaf(self, record: NodeRecord) -> Leaf:
        if record.leaf is None:
            raise FileFormatError("a node needs either `op` or `leaf`")
        if record.inputs or record.settings or len(record.types) != 1:
            raise FileFormatError("a leaf has one type and neither inputs nor settings")
        types = _get(self.types, record.types[0], "types")
        value = self.array(record.value) if record.value is not None else None
        if isinstance(value, Leaf):  # what the file has left out
            value = None
        if record.leaf == "generator":
            value = _generator(record.generator)
            if value is default_generator:
                return default_generator.leaf
        elif value is not None and ArrayType(np.shape(value), value.dtype) != types:
            raise FileFormatError(f"its value {record.value!r:.60} is not the {types} stated")
        if record.requires_grad and not types.differentiable:
            raise FileFormatError(f"a {types} cannot require a gradient")
        for size in types.shape:
            if isinstance(size, FreeInt) and size.formula is not None:
                self.check(size)
        leaf = Leaf(
            value, requires_grad=record.requires_grad, name=record.name, kind=record.leaf, types=types
        )
        if record.in_rows:
            leaf.settings[IN_ROWS] = True
        return leaf

    def node(self, record: NodeRecord) -> Node:
        if record.leaf is not None or record.value is not None or record.requires_grad or not record.types:
            raise FileFormatError("a node with an op has types, and no `leaf`, `value` or `requires_grad`")
        place = self.place(record)
        source = None if record.source is None else _get(self.sources, record.source, "sources")
        key = self.key(record)
        if key is not None:
            twin = self.twins.get(key)
            if twin is not None:
                return twin.again(self.entries_like(twin, record), place, record.name, source)
        types = tuple(_get(self.types, number, "types") for number in record.types)
        settings = {name: self.setting(value) for name, value in record.settings.items()}
        entries = [self.entry(entry) for entry in record.inputs]
        made = rebuild_node(
            self.op(record, types, settings),
            [plain(entry) for entry in entries] if self.sizes else entries,
            {name: plain(one) for name, one in settings.items()} if self.sizes else settings,
            place=place,
            types=types,
            name=record.name,
            source=source,
        )
        if self.sizes:
            self.free(made, entries, settings, types)
        if key is not None:
            self.twins[key] = made
        return made

    def free(
        self, made: Node, entries: list[Any], settings: dict[str, Any], types: tuple[ArrayType, ...]
    ) -> None:
        """Keep what follows from free sizes as such, which the op has taken for the numbers of the example."""
        if not any(map(is_free, (*entries, *settings.values(), *(one.shape for one in types)))):
            return
        known = types_around(made.input_types, made.place.origin)
        for one in (*entries, *settings.values()):
            self.check(one, known)
        made.inputs, made.types = tuple(entries), types if len(types) > 1 else types[0]
        made.settings = {name: settings.get(name, value) for name, value in made.settings.items()}

    def check(self, value: Any, operands: Sequence[ArrayType | None] = ()) -> None:
        """Refuse what does not follow from the sizes of the example by its formula."""
        if not is_free(value):
            return
        try:
            found = valued(value, self.sizes, operands)
        except ShapeError as error:
            raise FileFormatError(str(error)) from None
        same = np.array_equal(found, value) if isinstance(value, FreeArray) else found == value
        if not same:
            raise FileFormatError(f"{value} is not what its formula gives at {said(self.sizes)}")

    def setting(self, value: object) -> Any:
        if isinstance(value, dict) and value.keys() == {GRAPH}:
            return _body(value[GRAPH], self.depth + 1, self.sizes)
        if isinstance(value, list) and any(isinstance(one, dict) and GRAPH in one for one in value):
            return tuple(map(self.setting, value))
        return decode(value)

    def key(self, record: NodeRecord) -> Any:
        """All that decides whether an op takes its operands, and what it makes of them; None if values may decide.

        Nodes of one key are typed and checked once: a graph of 10^6 nodes has few of them.
        """
        if len(self.twins) >= MOST_TWINS:
            return None
        parts: list[Any] = [record.op, record.types, repr(record.settings) if record.settings else ""]
        records, count = self.description.nodes, len(self.nodes)
        for entry in record.inputs:
            if isinstance(entry, int | tuple):
                number, output = (entry, None) if isinstance(entry, int) else entry
                if not 0 <= number < count:
                    return None  # and `entry` says what is wrong
                read = records[number]
                parts += (read.types, read.leaf, read.requires_grad, output)
            elif entry is None:
                parts.append(None)
            elif entry.array is not None:
                return None
            else:
                parts.append(repr(entry.number))
        return tuple(parts)

    def op(self, record: NodeRecord, types: tuple[ArrayType, ...], settings: dict[str, Any]) -> Op:
        assert record.op is not None
        stated = _get(self.description.ops, record.op, "ops")
        found = self.ops[record.op]
        if found is None:
            key = (record.op, types, tuple(settings))
            found = self.stand_ins.get(key) or missing_op(
                stated.name,
                stated.kind,
                stated.package,
                stated.distribution,
                stated.version,
                stated.operands,
                tuple(settings),
                types,
            )
            self.stand_ins[key] = found
        return found

    def scope(self, number: int) -> Scope:
        """A scope, with the names that composites gave marked as such; where the file does not say, by their names."""
        names = _get(self.description.scopes, number, "scopes")
        composites = self.description.composites
        if composites is None:
            marked = {
                i for i, (name, _) in enumerate(names) if isinstance(registry.declared(name), Composite)
            }
        else:
            marked = set(_get(composites, number, "composites") if composites else ())
        found, path = [], ""
        for i, (name, call) in enumerate(names):
            path = f"{path}/{name}" if path else name
            module = self.description.modules.get(path)
            said = CompositeName(name) if i in marked else name
            if module is not None and i not in marked:
                said = ModuleName(name, module.kind, module.whole, module.settings)
            found.append((said, call))
        return tuple(found)

    def place(self, record: NodeRecord) -> Place:
        key = (record.scope, record.phase, record.forward)
        if key not in self.places:
            scope = self.scope(record.scope)
            origin = None if record.forward is None else self.earlier(record.forward)
            self.places[key] = Place(scope, record.phase, origin)
        return self.places[key]

    def entries_like(self, twin: Node, record: NodeRecord) -> list[Any]:
        """The operands of a node with the key of another: edges of the same types, and the same numbers."""
        nodes = self.nodes
        return [
            nodes[entry]
            if entry.__class__ is int
            else Port(nodes[entry[0]], entry[1])
            if entry.__class__ is tuple
            else same
            for entry, same in zip(record.inputs, twin.inputs, strict=True)
        ]

    def entry(self, entry: Any) -> Any:
        if entry is None:
            return None
        if isinstance(entry, Constant):
            if entry.array is not None:
                return self.array(entry.array) if entry.rule is None else self.ruled(entry)
            number = decode(entry.number)
            if not isinstance(number, bool | int | float | complex):
                raise FileFormatError(f"a constant must be a number or an array, not {number!r:.60}")
            return number
        if isinstance(entry, tuple):
            node = self.earlier(entry[0])
            if isinstance(node.types, ArrayType):
                raise FileFormatError(
                    f"it reads output {entry[1]} of nodes[{entry[0]}], which has only one output"
                )
            _get(node.types, entry[1], f"outputs of nodes[{entry[0]}]")
            return Port(node, entry[1])
        node = self.earlier(entry)
        if not isinstance(node.types, ArrayType):
            raise FileFormatError(
                f"it reads nodes[{entry}], which has {len(node.types)} outputs, without saying which"
            )
        return node

    def ruled(self, entry: Constant) -> Any:
        """A constant array that follows from free sizes: no larger than the one that the file holds for the example."""
        assert entry.array is not None
        array = np.asarray(self.array(entry.array))
        pattern = decode_pattern(entry.rule, array.dtype)
        if pattern.shape != array.shape:
            raise FileFormatError(f"the rule of {entry.array!r:.60} is one of another shape")
        return FreeArray.of(array, pattern)

    def earlier(self, number: int) -> Node:
        if not 0 <= number < len(self.description.nodes):
            raise FileFormatError(
                f"it refers to nodes[{number}], but there are {len(self.description.nodes)} nodes"
            )
        if number >= len(self.nodes):
            raise FileFormatError(
                f"it refers to nodes[{number}], which is not before it: a cycle, or out of order"
            )
        return self.nodes[number]

    def leaf_at(self, number: int) -> Leaf:
        node = self.earlier(number)
        if not isinstance(node, Leaf):
            raise FileFormatError(f"nodes[{number}] is no leaf")
        return node

    def array(self, name: str) -> Any:
        if name not in self.arrays:
            record = self.description.arrays.get(name)
            if record is None:
                raise FileFormatError(f"it refers to the array {name!r:.60}, which is not listed")
            self.arrays[name] = self.read_array(name, _get(self.types, record.type, "types"))
        return self.arrays[name]


@contextmanager
def _at(place: str) -> Iterator[None]:
    """Say where an error in this block was found."""
    try:
        yield
    except FileFormatError as error:
        raise FileFormatError(f"{place}: {error}") from error.__cause__


def _get(table: Any, number: int, name: str) -> Any:
    if not 0 <= number < len(table):
        raise FileFormatError(f"{name}[{number}] does not exist: there are {len(table)}")
    return table[number]


def _array_type(record: TypeRecord, where: str) -> ArrayType:
    dtype = DTYPES.get(record.dtype)
    if dtype is None:
        raise FileFormatError(f"{where}: {record.dtype!r:.60} is no dtype that a file can hold")
    if record.weak and record.shape:
        raise FileFormatError(f"{where}: a Python number has no shape {record.shape}")
    if math.prod(record.shape) > LARGEST or max(record.shape, default=0) > LARGEST:
        raise FileFormatError(f"{where}: an array of shape {record.shape} is larger than any memory")
    if record.weak:
        return WeakType((), dtype)
    shape: list[int] = list(record.shape)
    for axis, formula in record.free:
        if axis >= len(shape):
            raise FileFormatError(f"{where}: axis {axis} is free, which is not there")
        shape[axis] = decode({"free": {**formula, "at": shape[axis]}})
        if not isinstance(shape[axis], FreeInt):
            raise FileFormatError(f"{where}: a size is an integer")
    return ArrayType(tuple(shape), dtype)


def _generator(state: dict[str, Any] | None) -> Generator:
    if state == {"default": True}:
        return default_generator
    made = Generator(0)
    try:
        assert state is not None
        half, number = state["half"]
        made.state = {
            "bit_generator": "PCG64",
            "state": {"state": int(state["state"]), "inc": int(state["increment"])},
            "has_uint32": int(half),
            "uinteger": int(number),
        }
    except (AssertionError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise FileFormatError(f"no state of a generator: {type(error).__name__}: {error}") from None
    return made
