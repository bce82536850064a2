"""Writing ONNX models: `save_onnx`. Each node becomes what the form of its op makes; ops without one, that are made of
others, become functions of the model; what is left is refused by name.

Parameters are initialisers by their names, scopes stand in node names, and the written model is checked in full.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.bodies import opened, ruled_in
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, edge_type, entry_type, is_recorded
from tinygraph.core.op import Op
from tinygraph.core.registry import BUILTIN_PACKAGE
from tinygraph.core.state import Generator
from tinygraph.core.types import ArrayType, WeakType, type_of
from tinygraph.errors import FileFormatError
from tinygraph.interop.atomic_files import replace_file
from tinygraph.interop.onnx.element_types import code_of
from tinygraph.interop.onnx.free_writing import RecordingForms, ReplayingForms, computed, fitted, shape_info
from tinygraph.interop.onnx.importing import FACT
from tinygraph.interop.onnx.package import Proto, onnx_package
from tinygraph.interop.onnx.tensors import tensor_proto
from tinygraph.interop.reading import refusing
from tinygraph.tracing.free_sizes import at_sizes, examples, more_examples
from tinygraph.tracing.looking_through import looked_through

OPSET = 21  # which every runtime of today reads
OLDEST, IR = 18, 10
DOMAIN = "tinygraph"  # of functions that ops become
PRODUCER = "tinygraph"
MOST_BYTES = 2_000_000_000  # of a message of protobuf's
FAMILIES = ("elementwise", "control", "indexing", "movements", "products", "reductions")
Form = Callable[..., Any]
Entry: TypeAlias = Any  # an edge, a constant, or None
FORMS: dict[str, Form] = {}  # of built-in ops, by name


def form(function: Form) -> Form:
    """Enter how the op of a function's name is written: `form(writing, node, *operands)` -> names of its outputs."""
    FORMS[function.__name__.strip("_")] = function
    return function


def save_onnx(graph: Graph, path: str | Path, opset: int | None = None) -> None:
    """Write a graph as an ONNX model.

    Args:
        opset: the version of ONNX's operators; 21 by default.

    Raises:
        FileFormatError: an op has no form in ONNX; the node is named. Or the model is too large for one file.
        ImportError: the package onnx is not installed.
        OSError: the folder is missing or cannot be written.
    """
    path = Path(path)
    content = model_of(graph, opset).SerializeToString()
    replace_file(path, lambda part: part.write_bytes(content))


def model_of(graph: Graph, opset: int | None = None) -> Any:
    """The checked ModelProto of a graph; see `save_onnx`."""
    onnx = onnx_package()
    for family in FAMILIES:
        importlib.import_module(f"tinygraph.interop.onnx.writers.{family}_writers")
    version = OPSET if opset is None else opset
    if not OLDEST <= version <= onnx.defs.onnx_opset_version():
        raise FileFormatError(
            f"opset={version}: models are written for versions {OLDEST} to {onnx.defs.onnx_opset_version()}"
        )
    node = ruled_in(graph)
    if node is not None:
        raise FileFormatError(
            f"{node.describe()}: {node.op.name!r} has a derivative rule of its own, which no ONNX model holds; save a "
            f"graph of {node.op.name}.function"
        )
    graph = opened(graph)
    if (
        sum(leaf.types.nbytes for leaf in graph.leaves if leaf.value is not None and leaf.kind != "generator")
        > MOST_BYTES
    ):
        raise FileFormatError(
            "its parameters take more than 2 GB, which one ONNX file does not hold; save .safetensors"
        )
    writing = Writing(onnx, version)
    if graph.sizes:
        graph, writing.sized = _over_sizes(graph, onnx, version)
    made = writing.graph(graph, graph.name or "graph")
    functions = list(writing.functions.values())
    model = onnx.helper.make_model(
        made,
        functions=functions,
        producer_name=PRODUCER,
        ir_version=IR,
        opset_imports=[
            onnx.helper.make_opsetid(domain, number) for domain, number in sorted(writing.domains.items())
        ],
    )
    with refusing("ONNX's checker refuses what was made of it"):
        onnx.checker.check_model(model, full_check=True)
    return model


def _over_sizes(graph: Graph, onnx: Proto, version: int) -> tuple[Graph, ReplayingForms]:
    """A graph with free sizes at those of its example, and what its forms give there, as it follows the sizes."""
    what = graph.name or "the graph"
    known = [sizes for sizes, _ in examples(lambda sizes: at_sizes(graph, sizes), graph.sizes, what)]
    several = more_examples(graph, known)
    passes = []
    for _, one in several:
        writing = Writing(onnx, version)
        writing.sized = recording = RecordingForms()
        writing.graph(one, what)
        passes.append(recording.seen)
    return several[0][1], ReplayingForms(list(fitted([sizes for sizes, _ in several], passes)))


class Writing:
    """A graph on its way into a model: names of edges, nodes and constants so far.

    Attributes:
        opset: the version of the default domain.
        domains: the versions of all that are used.
        functions, bodies: those that ops have become, and of what, by name.
        current: the node that is being written.
        sized: of a graph with free sizes, what is done with all that forms give.
    """

    def __init__(self, onnx: Proto, opset: int, outer: Writing | None = None) -> None:
        self.onnx, self.opset, self.outer = onnx, opset, outer
        self.domains: dict[str, int] = {"": opset} if outer is None else outer.domains
        self.functions: dict[str, Any] = {} if outer is None else outer.functions
        self.bodies: dict[str, Graph] = {} if outer is None else outer.bodies
        self.nodes: list[Any] = []
        self.initializers: list[Any] = []
        self.names: dict[tuple[int, int], str] = {}
        self.used: set[str] = set() if outer is None else outer.used
        self.constants: dict[Any, str] = {}
        self.where = ""
        self.in_function = False
        self.current: Node | None = None
        self.sized: RecordingForms | ReplayingForms | None = None if outer is None else outer.sized

    # -- what forms call -------------------------------------------------------------------------------------------

    def add(
        self, op_type: str, *inputs: str | None, outputs: int = 1, domain: str = "", **attributes: object
    ) -> Any:
        """A node of an operator; the name of its output, or names of several."""
        names = [self.unique(f"{self.where}/{op_type}_output") for _ in range(outputs)]
        given = [one or "" for one in inputs]
        while given and not given[-1]:
            given.pop()
        attributes = {key: value for key, value in attributes.items() if value is not None}
        if self.sized is not None:
            told = {
                key: value for key, value in attributes.items() if not isinstance(value, self.onnx.GraphProto)
            }
            self.sized.take(self, "operator", (op_type, told))
        made = self.onnx.helper.make_node(
            op_type, given, names, name=self.unique(f"{self.where}/{op_type}"), domain=domain, **attributes
        )
        self.nodes.append(made)
        return names[0] if outputs == 1 else names

    def constant(self, value: Entry, name: str = "constant") -> str:
        """A stored array, once for each value."""
        array = np.asarray(value)
        if self.sized is not None:
            found = self.sized.take(self, "constant", array)
            if isinstance(self.sized, RecordingForms):
                return name
            name_of_computed = computed(self, found)
            if name_of_computed is not None:
                return name_of_computed
            array = np.asarray(found)
        key = (array.dtype.str, array.shape, array.tobytes()) if array.size <= 1000 else id(value)
        if key not in self.constants:
            stored = self.unique(name)
            tensor = tensor_proto(self.onnx, array, stored)
            if self.in_function:
                self.nodes.append(self.onnx.helper.make_node("Constant", [], [stored], value=tensor))
            else:
                self.initializers.append(tensor)
            self.constants[key] = stored
        return self.constants[key]

    def ints(self, values: Sequence[int]) -> str:
        """A stored vector of integers: a shape, axes."""
        return self.constant(np.array(values, np.int64), "shape")

    def scalar(self, value: complex, dtype: DTypeLike) -> str:
        """One stored number of a dtype."""
        return self.constant(np.array(value, dtype), "number")

    def cast(self, name: str, of: DTypeLike, to: DTypeLike) -> str:
        """A value in another dtype, if it is not in it already."""
        if np.dtype(of) == np.dtype(to):
            return name
        made: str = self.add("Cast", name, to=code_of(np.dtype(to)))
        return made

    def reshape(self, name: str, shape: Sequence[int]) -> str:
        """A value in another shape."""
        zeros = 0 in shape or (self.sized is not None and -1 not in shape)  # free sizes may be 0
        made: str = self.add("Reshape", name, self.ints(shape), allowzero=1 if zeros else None)
        return made

    # -- names -----------------------------------------------------------------------------------------------------

    def unique(self, wanted: str) -> str:
        """A name that nothing else has."""
        name, count = wanted, 0
        while name in self.used:
            count += 1
            name = f"{wanted}_{count}"
        self.used.add(name)
        return name

    def read(self, entry: Entry, dtype: DTypeLike | None = None) -> str:
        """The name of an operand: an edge's, or a constant's, numbers in the given dtype."""
        if not is_recorded(entry):
            known = type_of(entry)
            weak = isinstance(entry, bool | int | float | complex) and not isinstance(entry, np.generic)
            return self.constant(
                np.array(entry, dtype) if weak and dtype is not None else np.asarray(entry, known.dtype)
            )
        key, node = (id(edge_node(entry)), edge_index(entry)), edge_node(entry)
        if key not in self.names and isinstance(node, Leaf):
            self.leaf(node)
        return self.names[key]

    def name_of(self, entry: Entry) -> str:
        """The name that an edge has here by now; empty if it has none."""
        return self.names.get((id(edge_node(entry)), edge_index(entry)), "")

    def leaf(self, leaf: Leaf) -> None:
        """Store the value of a parameter, buffer or constant tensor."""
        if leaf.value is None:
            raise FileFormatError(f"{leaf.describe()} has no value, and is no input")
        if isinstance(leaf.value, Generator):
            self.names[id(leaf), 0] = ""  # ONNX's operators draw by themselves
            return
        name = self.unique(leaf.name or "constant")
        if not isinstance(self.sized, RecordingForms):
            self.initializers.append(tensor_proto(self.onnx, leaf.value, name))
        self.names[id(leaf), 0] = name

    # -- graphs ----------------------------------------------------------------------------------------------------

    def graph(self, graph: Graph, name: str) -> Any:
        """The GraphProto of a graph."""
        helper = self.onnx.helper
        inputs = []
        for i, leaf in enumerate(graph.inputs):
            taken = self.unique(leaf.name or f"input{i}")
            self.names[id(leaf), 0] = taken
            inputs.append(self.info(taken, leaf.types))
        if isinstance(self.sized, ReplayingForms):
            self.sized.know(inputs)
        self.run(graph)
        self.current = None
        outputs = []
        for i, (end, types) in enumerate(zip(graph.outputs, graph.output_types, strict=True)):
            wanted = graph.output_names[i] or (
                edge_node(end).name if is_recorded(end) and not isinstance(edge_node(end), Leaf) else ""
            )
            taken = self.unique(wanted or (f"output{i}" if len(graph.outputs) > 1 else "output"))
            self.nodes.append(
                helper.make_node("Identity", [self.read(end)], [taken], name=self.unique("/Identity"))
            )
            outputs.append(self.info(taken, types))
        return helper.make_graph(self.nodes, name, inputs, outputs, self.initializers)

    def info(self, name: str, types: ArrayType) -> Any:
        """What a model says of an input or output."""
        shape = types.shape if self.sized is None else self.sized.take(self, "shape", types.shape)
        return shape_info(self.onnx, name, types.dtype, shape)

    def run(self, graph: Graph, within: str = "") -> None:
        """Write the nodes of a graph, in their order, in a scope."""
        for node in graph.nodes:
            if isinstance(node, Leaf):
                continue
            self.where = within + "".join(f"/{part}" for part, _ in node.scope)
            self.current = node
            try:
                made = self.node(node)
            except FileFormatError as error:
                raise FileFormatError(f"{node.describe()}: {error}") from None
            names = made if isinstance(made, tuple | list) else (made,)
            self.names |= {(id(node), i): one for i, one in enumerate(names) if one is not None}

    def node(self, node: Node) -> Any:
        """The names of a node's outputs, written by the form of its op, or as a call of a function."""
        if any(
            types.dtype.kind not in "biuf"
            for types in (*node.output_types, *(t for t in _types(node) if isinstance(t, ArrayType)))
        ):
            raise FileFormatError("ONNX's operators compute with no complex numbers and objects")
        wanted = FORMS.get(node.op.name) if node.op.package == BUILTIN_PACKAGE else None
        if wanted is not None:
            return wanted(self, node, *node.inputs)
        if FACT in node.op.facts:
            return self._declared(node, str(node.op.facts[FACT]))
        return self._function(node)

    def _declared(self, node: Node, operator: str) -> Any:
        """A node of the operator that a plugin's op stands for; its settings are the attributes."""
        domain, _, name = operator.rpartition("::")
        if domain:
            self.domains.setdefault(domain, 1)
        given = [None if one is None else self.read(one) for one in node.inputs]
        made = self.add(name, *given, outputs=len(node.output_types), domain=domain, **node.settings)
        return made

    def _function(self, node: Node) -> Any:
        """A call of a function that is made of the op's forward."""
        types = tuple(
            (one.number if isinstance(one, WeakType) else one) if one is not None else None
            for one in _types(node)
        )
        found = looked_through(node.op, types, node.settings)
        if isinstance(found, str) or any(one.op is node.op for one in found.nodes):
            raise FileFormatError(
                f"op {node.op.name!r} has no form in ONNX, and its forward is not made of ops that have one. An op of "
                f"yours can name the operator that it is, facts={{'onnx': 'domain::Operator'}}; .safetensors files "
                f"hold every op"
            )
        if self.sized is not None:
            return self._inlined(node, found)
        self.domains.setdefault(DOMAIN, 1)
        name = self._function_name(node.op, found)
        inputs = [
            self.read(one)
            for one, known in zip(node.inputs, types, strict=True)
            if isinstance(known, ArrayType)
        ]
        return self.add(name, *inputs, outputs=len(node.output_types), domain=DOMAIN)

    def _inlined(self, node: Node, body: Graph) -> list[str]:
        """The nodes of an op's forward in its place: a function would not know the free sizes."""
        read = [
            self.read(one)
            for one, known in zip(node.inputs, _types(node), strict=True)
            if isinstance(known, ArrayType)
        ]
        self.names |= {(id(leaf), 0): name for leaf, name in zip(body.inputs, read, strict=True)}
        where = self.where
        self.run(body, f"{where}/{node.op.name}")
        self.where, self.current = where, node
        return [self.read(end) for end in body.outputs]

    def _function_name(self, op: Op, body: Graph) -> str:
        for name, known in self.bodies.items():
            if known is body:
                return name
        inner = Writing(self.onnx, self.opset)
        inner.domains, inner.functions, inner.bodies, inner.in_function = (
            self.domains,
            self.functions,
            self.bodies,
            True,
        )
        inputs = [inner.unique(f"x{i}") for i in range(len(body.inputs))]
        inner.names |= {(id(leaf), 0): name for leaf, name in zip(body.inputs, inputs, strict=True)}
        inner.run(body)
        outputs = []
        for i, end in enumerate(body.outputs):
            outputs.append(inner.unique(f"y{i}"))
            inner.nodes.append(self.onnx.helper.make_node("Identity", [inner.read(end)], [outputs[-1]]))
        name = op.name if op.name not in self.functions else f"{op.name}_{len(self.functions)}"
        versions = [
            self.onnx.helper.make_opsetid(domain, number) for domain, number in sorted(self.domains.items())
        ]
        self.functions[name] = self.onnx.helper.make_function(
            DOMAIN, name, inputs, outputs, inner.nodes, versions
        )
        self.bodies[name] = body
        return name


def _types(node: Node) -> list[Any]:
    """The types of a node's operands; Python numbers as they are."""
    found: list[Any] = []
    for entry in node.inputs:
        if entry is None or (
            not is_recorded(entry)
            and isinstance(entry, bool | int | float | complex)
            and not isinstance(entry, np.generic)
        ):
            found.append(entry)
        else:
            found.append(entry_type(entry))
    return found


def settings_of(node: Node) -> dict[str, Any]:
    """The settings of a node, defaults included."""
    return node.op.signature.settings | node.settings


def dtype_at(node: Node, i: int) -> np.dtype[Any]:
    """The dtype of an operand."""
    entry = node.inputs[i]
    return edge_type(entry).dtype if is_recorded(entry) else type_of(entry).dtype


def shape_at(node: Node, i: int) -> tuple[int, ...]:
    """The shape of an operand."""
    entry = node.inputs[i]
    return edge_type(entry).shape if is_recorded(entry) else type_of(entry).shape


def types_of(node: Node) -> ArrayType:
    """The type of a node's only output."""
    return node.output_types[0]


def common_dtype(node: Node) -> Any:
    """The dtype in which NumPy joins the operands, numbers weakly."""
    found = [one for one in _types(node) if one is not None]
    return np.result_type(*(one.dtype if isinstance(one, ArrayType) else one for one in found))
