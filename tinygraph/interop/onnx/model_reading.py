"""Reading ONNX models: `load_onnx`. The file is parsed, its sizes are settled, and its nodes become a `Graph`.

Inputs become inputs, float initialisers parameters by their names, running statistics buffers; what depends on
constants alone is worked out now. Nothing in a file is executed, and nothing outside its folder is read.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place, mode
from tinygraph.core.node import Leaf, edge_node, is_recorded
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten
from tinygraph.core.types import ArrayType, as_value
from tinygraph.errors import CaptureError, FileFormatError
from tinygraph.interop.onnx.element_types import NARROW, dtype_of
from tinygraph.interop.onnx.importing import Importing, SizeOf, integers
from tinygraph.interop.onnx.operators.operator_table import NeedsValueError, Operand, room
from tinygraph.interop.onnx.package import Proto, onnx_package
from tinygraph.interop.onnx.tensors import array_of
from tinygraph.interop.reading import in_file, read_bytes, refusing
from tinygraph.tracing.collector import collection_paused
from tinygraph.tracing.free_sizes import free_graph
from tinygraph.tracing.open_capture import OpenCapture

FAMILIES = (
    "control", "conversion", "elementwise", "indexing", "normalization", "products", "random_numbers",
    "recurrent", "reductions", "resampling", "shapes", "signals", "windows",
)  # fmt: skip
# Operands of operators that training writes and no gradient does: running means and variances.
_STATISTICS = {"BatchNormalization": (3, 4)}
Sizes = Mapping[str, int]
TRIED_SIZES = (2, 8, 32, 64, 224)  # of open dimensions, the least at which a model runs


def load_onnx(
    path: str | Path, sizes: Sizes | None = None, constants: Mapping[str, Any] | None = None
) -> Graph:
    """The graph of an ONNX model.

    Args:
        sizes: of dimensions that the model leaves open, by name ("input_axis" where they have none); what is not
            given is free, and the graph runs for every value of it.
        constants: values of inputs, by name, on which shapes depend; they are inputs no longer.

    Raises:
        FileFormatError: the file is no ONNX model, is damaged, or has what no graph can hold; the node is named.
        ImportError: the package onnx is not installed.
        OSError: it cannot be opened.
    """
    path = Path(path)
    with in_file(path):
        return graph_of_model(parse(read_bytes(path)), path.parent, path.name, sizes, constants)


def parse(content: bytes) -> Any:
    """The ModelProto that bytes hold.

    Raises:
        FileFormatError: they hold none.
    """
    onnx = onnx_package()
    model = onnx.ModelProto()
    with refusing("it is no ONNX model"):
        model.ParseFromString(content)
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise FileFormatError("it is no ONNX model: it holds no graph")
    return model


@collection_paused()
def graph_of_model(
    model: Proto,
    folder: Path | None = None,
    file: str = "model.onnx",
    sizes: Sizes | None = None,
    constants: Mapping[str, Any] | None = None,
) -> Graph:
    """The graph of a ModelProto; see `load_onnx`."""
    for family in FAMILIES:
        importlib.import_module(f"tinygraph.interop.onnx.operators.{family}_operators")
    _check_versions(model)
    made = _Model(model, folder, file, dict(constants or {}))
    given = dict(sizes or {})
    unknown = set(given) - set(made.open_sizes)
    if unknown:
        listed = ", ".join(sorted(made.open_sizes)) or "none"
        raise FileFormatError(
            f"it has no open sizes {', '.join(sorted(unknown))}; its open sizes are: {listed}"
        )
    free = [name for name in made.open_sizes if name not in given]
    if not free:
        return made.at(given)
    example = made.example(free, given)
    try:
        return free_graph(lambda sizes: made.at(given | sizes), example, made.title)
    except CaptureError as error:
        raise FileFormatError(f"{error}. Or read it for one size: tg.load(path, sizes={example})") from None


class _Model:
    """A parsed model, its stored arrays read once, of which graphs are made for sizes.

    Attributes:
        open_sizes: names of dimensions that it leaves open, in order.
    """

    def __init__(self, model: Proto, folder: Path | None, file: str, constants: dict[str, Any]) -> None:
        self.model, self.folder, self.file, self.constants = model, folder, file, constants
        self.marks: list[tuple[Any, int]] = []
        self.stored = _initializers(model.graph, folder, self.marks)
        self.inputs = [info for info in model.graph.input if info.name not in self.stored]
        missing = set(constants) - {info.name for info in self.inputs}
        if missing:
            known = ", ".join(info.name for info in self.inputs) or "none"
            raise FileFormatError(f"it has no inputs {', '.join(sorted(missing))}; its inputs are: {known}")
        self.open_sizes: dict[str, None] = {}
        for info in self.inputs:
            if info.name not in constants and info.type.HasField("tensor_type"):
                for axis, dim in enumerate(info.type.tensor_type.shape.dim):
                    if not dim.HasField("dim_value"):
                        self.open_sizes[size_name(info.name, axis, dim)] = None

    @property
    def title(self) -> str:
        return self.model.graph.name or Path(self.file).stem

    def example(self, free: Sequence[str], given: Sizes) -> dict[str, int]:
        """Sizes at which the model runs: two of what stands in front, as few of the others as it takes.

        Raises:
            FileFormatError: it runs at none of those that are tried.
        """
        firsts = {
            size_name(info.name, 0, info.type.tensor_type.shape.dim[0])
            for info in self.inputs
            if info.type.HasField("tensor_type") and info.type.tensor_type.shape.dim
        }
        failed: FileFormatError | None = None
        for size in TRIED_SIZES:
            sizes = {name: 2 if name in firsts else size for name in free}
            try:
                self.at({**given, **sizes})
            except NeedsValueError:
                raise
            except FileFormatError as error:
                failed = failed or error
            else:
                return sizes
        raise FileFormatError(f"{failed}; at which sizes it runs can be said: tg.load(path, sizes={sizes})")

    def at(self, sizes: Sizes) -> Graph:
        """The graph for all of its open sizes; each graph has the same parameters."""
        graph = self.model.graph
        importing = Importing(self.model, self.folder, self.file)
        for value, code in self.marks:
            importing.mark(value, code)

        def size_of(name: str, axis: int, dim: Proto) -> int | None:
            if dim.HasField("dim_value"):
                return int(dim.dim_value)
            return sizes.get(size_name(name, axis, dim))

        values = dict(self.stored)
        inputs = [_input(importing, info, size_of, self.constants, values) for info in self.inputs]
        importing.know((*graph.value_info, *graph.output), size_of)
        importing.run(graph.node, values)
        found = [_wanted(info.name, values) for info in graph.output]
        leaves, tree = flatten(found[0] if len(found) == 1 else tuple(found))
        plain = not any(one is None or isinstance(one, list) for one in found)
        names = [info.name for info in graph.output] if plain else [""] * len(leaves)
        return Graph(
            [one for one in inputs if one is not None],
            [_output(name, one) for name, one in zip(names, leaves, strict=True)],
            result=None if plain else tree,
            name=self.title,
        )


def size_name(name: str, axis: int, dim: Proto) -> str:
    """The name of an open size, as a word: the model's, or that of the input and the axis."""
    return re.sub(r"\W+", "_", dim.dim_param or f"{name}_{axis}")


def _check_versions(model: Proto) -> None:
    onnx = onnx_package()
    newest = onnx.defs.onnx_opset_version()
    found = next((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), None)
    if found is None and any(node.domain in ("", "ai.onnx") for node in model.graph.node):
        raise FileFormatError("it does not say which version of ONNX's operators it uses")
    if found is not None and not 1 <= found <= newest:
        raise FileFormatError(
            f"it uses version {found} of ONNX's operators; versions up to {newest} are read with "
            f"onnx {onnx.__version__}"
        )


def _initializers(graph: Proto, folder: Path | None, marks: list[tuple[Any, int]]) -> dict[str, Any]:
    """What the model stores, by name: parameters, buffers, constants; `marks` gets types that NumPy has not."""
    statistics = {
        node.input[i]
        for node in graph.node
        for i in _STATISTICS.get(node.op_type, ())
        if i < len(node.input) and not node.domain
    }
    stored: dict[str, Any] = {}
    for tensor in graph.initializer:
        if tensor.name in stored:
            raise FileFormatError(f"it stores {tensor.name!r:.60} twice")
        array = array_of(tensor, folder)
        stored[tensor.name] = array
        if tensor.data_type in NARROW:
            marks.append((array, tensor.data_type))
        elif array.dtype.kind == "f" and (array.ndim or "." in tensor.name):
            kind = "buffer" if tensor.name in statistics else "parameter"
            leaf = Leaf(as_value(array), requires_grad=kind == "parameter", name=tensor.name, kind=kind)
            stored[tensor.name] = Tensor(None, leaf, leaf)
    for sparse in graph.sparse_initializer:
        stored[sparse.values.name] = _dense(sparse, folder)
    return stored


def _dense(sparse: Proto, folder: Path | None) -> Any:
    found, places = array_of(sparse.values, folder), array_of(sparse.indices, folder)
    sizes = room([int(one) for one in sparse.dims], found.dtype)
    made = np.zeros(sizes, found.dtype)
    index = np.unravel_index(places, sizes) if places.ndim == 1 else tuple(places.T)
    made[index] = found
    return made


def _input(
    importing: Importing, info: Proto, size_of: SizeOf, constants: Mapping[str, Any], values: dict[str, Any]
) -> Leaf | None:
    """Enter an input: a leaf, or the constant that is given for it."""
    kind = info.type.WhichOneof("value")
    if info.name in constants:
        given_value = constants[info.name]
        values[info.name] = (
            given_value if isinstance(given_value, list) or given_value is None else np.asarray(given_value)
        )
        if kind == "tensor_type" and info.type.tensor_type.elem_type in NARROW:
            importing.mark(values[info.name], info.type.tensor_type.elem_type)
        return None
    if kind != "tensor_type":
        raise FileFormatError(
            f"its input {info.name!r:.60} is a {str(kind or 'value').removesuffix('_type')}, of any length; "
            f"give it: tg.load(path, constants={{{info.name!r:.60}: [arrays]}})"
        )
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        raise FileFormatError(
            f"the shape of its input {info.name!r:.60} is not said; give it a shape in the model"
        )
    shape = []
    for axis, dim in enumerate(tensor.shape.dim):
        size = size_of(info.name, axis, dim)
        if not isinstance(size, int) or not 0 <= size < 2**31:
            raise FileFormatError(f"its input {info.name!r:.60} has the size {size!r} along axis {axis}")
        shape.append(size)
    with refusing(f"its input {info.name!r:.60}"):
        types = ArrayType(tuple(shape), dtype_of(tensor.elem_type))
    if types.size > 2**40:
        raise FileFormatError(f"its input {info.name!r:.60} is {types}, larger than any memory")
    leaf = Leaf(None, kind="input", types=types, name=info.name)
    values[info.name] = made = Tensor(None, leaf, leaf)
    if tensor.elem_type in NARROW:
        importing.mark(made, tensor.elem_type)
    return leaf


def _wanted(name: str, values: Mapping[str, Any]) -> Any:
    """An output: a value, or a sequence of them."""
    if name not in values:
        raise FileFormatError(f"no node makes its output {name!r:.60}")
    value = values[name]
    return [_at_the_end(one) for one in value] if isinstance(value, list) else _at_the_end(value)


def _output(name: str, value: Operand) -> Any:
    """The edge of an output, or the constant that it is."""
    if not isinstance(value, Tensor):
        return as_value(value)
    edge = value._edge
    if is_recorded(edge) and not isinstance(edge, Leaf) and edge_node(edge).name is None and name:
        edge_node(edge).name = name
    return edge


def _at_the_end(value: Operand) -> Any:
    with mode(recording=True, tangents=False, capture=OpenCapture(), place=Place()):
        return integers(value)
