"""A model's graph on its way to being a `Graph`: nodes in their order, each by the form of its operator.

Values stand under their names: arrays that are known, tensors that are not, lists (sequences), None (no value).
What no table has is looked for among the plugins' ops, then expanded by the function that ONNX's schema gives, then
kept as a stand-in.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.core.modes import CompositeName, Place, Scope, mode
from tinygraph.core.node import Node, edge_node
from tinygraph.core.op import Composite, Op
from tinygraph.core.registry import ops, registry
from tinygraph.core.source import SourceLine
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType
from tinygraph.errors import FileFormatError
from tinygraph.interop.graphs.missing_ops import missing_op
from tinygraph.interop.onnx.attributes import attributes_of
from tinygraph.interop.onnx.element_types import NARROW, OF_DTYPE, dtype_of, is_narrow_float
from tinygraph.interop.onnx.operators.operator_table import (
    MOST_BYTES,
    TABLE,
    Call,
    NeedsValueError,
    Operand,
    Operator,
    Quantized,
    code,
)
from tinygraph.interop.onnx.package import Proto, onnx_package
from tinygraph.interop.onnx.tensors import array_of
from tinygraph.interop.reading import MOST_RATIO, MOST_UNPACKED
from tinygraph.tracing.open_capture import OpenCapture

DEFAULT_DOMAINS = ("", "ai.onnx")
SizeOf = Callable[[str, int, Proto], int | None]  # of a value by name the size along an axis
PACKAGES = {"com.microsoft": "tinygraph-onnxruntime"}  # which package has ops for a domain: examples/plugins
FACT = "onnx"  # an op's fact: the operator that it stands for, "domain::Name"
OLDEST = 7  # version of the default domain in which operators mean what they do now
MOST_NESTED = 30  # functions and bodies, one inside another
SCOPES = "pkg.torch.onnx.name_scopes"  # where PyTorch's exporter says which module a node belongs to


class _Making(OpenCapture):
    """A capture that remembers which nodes are made, so that they can be told whose they are."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes: list[Node] = []

    def apply(self, op: Op, operands: tuple[Any, ...], entries: list[Any], settings: dict[str, Any]) -> Any:
        result = super().apply(op, operands, entries, settings)
        first = result[0] if isinstance(result, tuple) else result
        if first._edge is not None:
            self.nodes.append(edge_node(first._edge))
        return result


class Importing:
    """A model that is being read.

    Attributes:
        folder: where its external data may lie.
        functions: its own functions, by domain and name.
        opsets: the versions of the domains that it uses.
        missing: for each stand-in that was made, the operator and the node's name.
    """

    def __init__(self, model: Proto, folder: Path | None, file: str) -> None:
        self.onnx = onnx_package()
        self.folder, self.file = folder, file
        self.functions = {(one.domain, one.name): one for one in model.functions}
        self.opsets = {one.domain: one.version for one in model.opset_import}
        self.missing: list[tuple[str, str]] = []
        self.element_types: dict[int, int] = {}  # by id of a value, where NumPy does not have the type
        self._typed: list[Any] = []  # those values, so that no other gets their ids
        self._known: dict[str, ArrayType] = {}
        self._places: dict[Scope, Place] = {}
        self._left = 20_000 + 50 * len(model.graph.node)
        self._bytes = max(MOST_UNPACKED, MOST_RATIO * model.ByteSize())
        self._guessed: set[int] = set()
        self._declared: dict[str, Op | Composite | None] = {}  # which op stands for an operator
        self._depth = 0
        self._scope: Scope = ()

    # -- nodes -----------------------------------------------------------------------------------------------------

    def run(
        self, nodes: Sequence[Any], values: dict[str, Any], opsets: Mapping[str, int] | None = None
    ) -> None:
        """Run nodes in their order; their results join `values`.

        Raises:
            FileFormatError: naming the node that cannot be.
        """
        opsets = self.opsets if opsets is None else opsets
        for number, node in enumerate(nodes):
            self._left -= 1
            if self._left < 0:
                raise FileFormatError("its functions and bodies come to more nodes than files may make")
            with self._at(node, number):
                self._node(node, number, values, opsets)

    @contextmanager
    def _at(self, node: Proto, number: int) -> Iterator[None]:
        """Name the node in what is refused in this block."""
        try:
            yield
        except NeedsValueError as error:
            raise NeedsValueError(f"{_title(node, number)}: {error}", error.inputs) from None
        except FileFormatError as error:
            raise FileFormatError(f"{_title(node, number)}: {error}") from error.__cause__
        except ImportError:
            raise
        except RecursionError:
            raise FileFormatError(f"{_title(node, number)}: it is nested too deeply") from None
        except Exception as error:
            said = str(error).strip() or type(error).__name__
            raise FileFormatError(f"{_title(node, number)}: {said}") from error

    def _node(self, node: Proto, number: int, values: dict[str, Any], opsets: Mapping[str, int]) -> None:
        domain = "" if node.domain in DEFAULT_DOMAINS else node.domain
        version = opsets.get(domain, opsets.get("ai.onnx", 0) if domain == "" else 0)
        if domain == "" and version == 0:
            raise FileFormatError("the model does not say which version of the default domain it uses")
        if domain == "" and version < OLDEST:
            self._check_old(node, version)
        operands = [self._operand(name, values) for name in node.input]
        call = Call(
            node.op_type,
            domain,
            version,
            attributes_of(node, self.folder),
            node.input,
            node.output,
            self,
            node.name,
        )
        call.values = values
        call.protos = {one.name: one for one in node.attribute}
        call.element_types = tuple(self.element_type(one) for one in operands)
        making = _Making()
        scope = (*self._scope, *scope_of(node))
        place = self._place(scope)
        grouped = place.enter(CompositeName(node.op_type))
        with (
            mode(recording=True, tangents=False, capture=making, place=grouped),
            np.errstate(all="ignore"),
        ):
            results = self._results(call, node, operands)
        self._keep(call, node, number, results, values)
        self._settle(making.nodes, place, grouped, node, number)

    def _check_old(self, node: Proto, version: int) -> None:
        """Refuse an operator that meant something else in a version from before operands were broadcast."""
        try:
            since = self.onnx.defs.get_schema(node.op_type, OLDEST, "").since_version
        except Exception:  # noqa: BLE001 - the package's own class of errors
            since = OLDEST
        if since > version:
            raise FileFormatError(
                f"version {version} of this operator is not read, only what it means since version {since}: convert "
                f"the model with onnx.version_converter"
            )

    def _operand(self, name: str, values: dict[str, Any]) -> Any:
        if not name:
            return None
        if name not in values:
            raise FileFormatError(
                f"it reads {name!r:.60}, which nothing before it makes: nodes must stand in their order, without cycles"
            )
        return values[name]

    def _results(self, call: Call, node: Proto, operands: list[Any]) -> tuple[Any, ...]:
        function = self.functions.get((node.domain, node.op_type))
        if function is not None:
            return self.function(function, call, operands)
        row = TABLE.get((call.domain, call.op_type)) or self._of_plugin(call)
        if row is None:
            return self._without_form(call, node, operands)
        quantized = operands[0].code if operands and isinstance(operands[0], Quantized) else None
        if row.carries and quantized is not None:
            operands = [one.value if isinstance(one, Quantized) else one for one in operands]
        elif row.name not in AWARE:
            operands = [integers(one) for one in operands]
        try:
            found = row.form(call, *operands)
        except FileFormatError:
            if self._reads_guess(operands):
                return self._stand_in(call, node, operands)
            raise
        except Exception:
            if self._reads_guess(operands):
                return self._stand_in(call, node, operands)
            raise
        results = found if isinstance(found, tuple) else (found,)
        if row.carries and quantized is not None:
            return tuple(Quantized(one, quantized) if isinstance(one, Tensor) else one for one in results)
        return results

    def _keep(
        self, call: Call, node: Proto, number: int, results: tuple[Any, ...], values: dict[str, Any]
    ) -> None:
        """Put the results under their names, sizes checked, with the element types that NumPy does not have."""
        row = TABLE.get((call.domain, call.op_type))
        carries = row is not None and row.carries
        narrow = next((one for one in call.element_types if one in NARROW), None)
        for i, (name, value) in enumerate(zip(node.output, results, strict=False)):
            if isinstance(value, np.ndarray | np.generic):
                self._bytes -= value.nbytes
                if value.nbytes > MOST_BYTES or self._bytes < 0:
                    raise FileFormatError(
                        "its constants take more memory than a file of this size may ask for"
                    )
            if not name:
                continue
            if dict.__contains__(values, name):
                raise FileFormatError(f"it makes {name!r:.60}, which is there already")
            values[name] = value
            made = call.made_types.get(i)
            if made is None and narrow is not None and not isinstance(value, Quantized | list | None):
                made = narrow if np.dtype(NARROW[narrow].held) == getattr(value, "dtype", None) else None
            if made is not None and made in NARROW:
                if call.made_types.get(i) is None and not carries and is_narrow_float(made):
                    value = values[name] = self._rounded(value, made)
                self.mark(value, made)
        if len([name for name in node.output if name]) and len(results) < len(node.output):
            raise FileFormatError(f"it has {len(node.output)} outputs, and the operator makes {len(results)}")

    def _rounded(self, value: Operand, made: int) -> Any:
        """A result of a narrow float type, as each operator of such a type gives it."""
        with mode(recording=True, tangents=False, capture=OpenCapture(), place=self._place(self._scope)):
            return ops.round_to_format(value, format=NARROW[made].format)

    def _settle(self, made: list[Node], place: Place, grouped: Place, node: Proto, number: int) -> None:
        """Tell the nodes that a form made where they stand in the model; a single one needs no group of its own."""
        source = SourceLine(self.file, number + 1, node.op_type, text_of(node))
        alone = len(made) == 1 and made[0].place is grouped
        for one in made:
            if alone:
                one.place = place
            if one.code is None or not isinstance(one.code, SourceLine):
                one.code, one.offset = source, 0
        if alone and made[0].name is None and node.name:
            made[0].name = node.name

    def _place(self, scope: Scope) -> Place:
        if scope not in self._places:
            self._places[scope] = Place(scope)
        return self._places[scope]

    # -- element types ---------------------------------------------------------------------------------------------

    def mark(self, value: object, made: int) -> None:
        """Remember that a value is of a type which NumPy does not have."""
        self.element_types[id(value)] = made
        self._typed.append(value)

    def element_type(self, value: object) -> int:
        """ONNX's number for the elements of a value; 0 for what has none."""
        if isinstance(value, Quantized):
            return value.code
        if value is None or isinstance(value, list):
            return 0
        return self.element_types.get(id(value)) or code(value)

    # -- what no row serves ----------------------------------------------------------------------------------------

    def function(self, function: Proto, call: Call, operands: list[Any]) -> tuple[Any, ...]:
        """The results of a function of the model, or of the one by which the standard explains an operator."""
        if self._depth >= MOST_NESTED:
            raise FileFormatError(f"functions are nested more than {MOST_NESTED} deep")
        given = list(operands) + [None] * (len(function.input) - len(operands))
        inner = dict(zip(function.input, given, strict=False))
        inner[""] = None
        opsets = self.opsets | {one.domain: one.version for one in function.opset_import}
        before = self._scope
        self._depth, self._scope = (
            self._depth + 1,
            (*before, (CompositeName(call.op_type), len(self._places))),
        )
        try:
            nodes = with_attributes(self.onnx, function, call, self.folder)
            self.run(nodes, inner, opsets)
        finally:
            self._depth, self._scope = self._depth - 1, before
        return tuple(
            self._operand(name, inner) if call.wants(i) else None for i, name in enumerate(function.output)
        )

    def _of_plugin(self, call: Call) -> Operator | None:
        """The row of an op that says which operator it stands for."""
        wanted = f"{call.domain}::{call.op_type}" if call.domain else call.op_type
        if wanted not in self._declared:
            self._declared[wanted] = declared_operator(wanted)
        found = self._declared[wanted]
        if found is None:
            return None

        settings = settings_of(found)

        def form(call: Call, *operands: Operand) -> Any:
            known = {key: call.attributes[key] for key in settings if key in call.attributes}
            return found(*operands, **known)

        return Operator(call.domain, call.op_type, form, False)

    def _without_form(self, call: Call, node: Proto, operands: list[Any]) -> tuple[Any, ...]:
        function = schema_function(self.onnx, call, node, operands, self)
        if function is not None:
            return self.function(function, call, [integers(one) for one in operands])
        return self._stand_in(call, node, operands)

    def _reads_guess(self, operands: Sequence[Any]) -> bool:
        return any(
            id(edge_node(one._edge)) in self._guessed
            for one in operands
            if isinstance(one, Tensor) and one._edge
        )

    def _stand_in(self, call: Call, node: Proto, operands: list[Any]) -> tuple[Any, ...]:
        """A node that stands for an operator which nobody has, so that the graph opens, draws, and says so."""
        given = [integers(one) for one in operands]
        tensors = [one for one in given if isinstance(one, Tensor)]
        if not tensors or any(isinstance(one, list) for one in given):
            raise FileFormatError(
                f"the operator {call.op_type} is not known here, and nothing it reads is a tensor"
            )
        types, guessed = [], False
        for name in node.output:
            known = self._known.get(name)
            guessed = guessed or known is None
            types.append(known or ArrayType(*tensors[0].type))
        settings = {key: value for key, value in call.attributes.items() if _is_plain(value)}
        wanted = f"{call.domain}::{call.op_type}" if call.domain else call.op_type
        package = PACKAGES.get(call.domain)
        advice = f"install the package {package}, or " if package else ""
        op = missing_op(
            call.op_type,
            "other",
            call.domain or "ai.onnx",
            f"the ONNX domain {call.domain or 'ai.onnx'}",
            "",
            tuple(f"x{i}" for i in range(len(node.input))),
            tuple(settings),
            tuple(types),
            advice=advice + f"declare an op that stands for it: @op(facts={{'onnx': {wanted!r}}})",
        )
        self.missing.append((wanted, call.name))
        made = op(*given, **settings)
        results = made if isinstance(made, tuple) else (made,)
        if guessed:
            self._guessed.add(id(edge_node(results[0]._edge)))
        return results

    def know(self, infos: Sequence[Proto], sizes: SizeOf) -> None:
        """Keep the types that the file states of values inside, for operators that nobody has."""
        for info in infos:
            tensor = info.type.tensor_type
            if info.type.WhichOneof("value") != "tensor_type" or not tensor.HasField("shape"):
                continue
            found = [sizes(info.name, i, dim) for i, dim in enumerate(tensor.shape.dim)]
            dims = [one for one in found if one is not None]
            if len(dims) == len(found) and (
                tensor.elem_type in OF_DTYPE.values() or tensor.elem_type in NARROW
            ):
                self._known[info.name] = ArrayType(tuple(dims), dtype_of(tensor.elem_type))

    # -- bodies ----------------------------------------------------------------------------------------------------

    def body(self, graph: Proto, arguments: Sequence[Any], outer: Mapping[str, Any]) -> list[Any]:
        """The results of a body - a branch, a step of a loop - that reads what stands around it by name."""
        if self._depth >= MOST_NESTED:
            raise FileFormatError(f"bodies are nested more than {MOST_NESTED} deep")
        inner = Shadowed(outer)
        for tensor in graph.initializer:
            inner.own[tensor.name] = array_of(tensor, self.folder)
        for info, value in zip(graph.input, arguments, strict=False):
            inner.own[info.name] = value
        self._depth += 1
        try:
            self.run(graph.node, inner)
        finally:
            self._depth -= 1
        return [self._operand(info.name, inner) for info in graph.output]


class Shadowed(dict[str, Any]):
    """Values of a body, which hide those of the same name around it."""

    def __init__(self, outer: Mapping[str, Any]) -> None:
        super().__init__()
        self.outer = outer

    @property
    def own(self) -> Shadowed:
        return self

    def __missing__(self, name: str) -> Any:
        return self.outer[name]

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or name in self.outer


AWARE = frozenset(
    {"DequantizeLinear", "QuantizeLinear", "QLinearMatMul", "QLinearConv", "MatMulInteger", "ConvInteger"}
)


def integers(x: Operand) -> Any:
    """Quantised values as the integers that they are; others as they are."""
    return ops.cast(x.value, dtype=dtype_of(x.code).name) if isinstance(x, Quantized) else x


def declared_operator(wanted: str) -> Op | Composite | None:
    """The registered op or composite that says that it stands for an operator, "domain::Name"."""

    def stands(one: Op | Composite) -> bool:
        said = one.facts.get(FACT)
        return wanted in said if isinstance(said, tuple) else wanted == said

    return next(filter(stands, registry.all_ops()), None)


def settings_of(op: Op | Composite) -> frozenset[str]:
    """The names of an op's settings."""
    if isinstance(op, Op):
        return frozenset(op.signature.settings)
    parameters = inspect.signature(op.function).parameters.values()
    return frozenset(one.name for one in parameters if one.kind is one.KEYWORD_ONLY)


def schema_function(onnx: Proto, call: Call, node: Proto, operands: list[Any], importing: Importing) -> Any:
    """The function by which ONNX's own schema explains an operator, for these operands; None if there is none."""
    try:
        schema = onnx.defs.get_schema(call.op_type, call.opset, call.domain)
    except Exception:  # noqa: BLE001 - the package's own class of errors: there is no such operator
        return None
    if schema.has_function:
        return schema.function_body
    if not schema.has_context_dependent_function:
        return None
    types = [_type_proto(onnx, one, importing) for one in operands]
    serialized = schema.get_context_dependent_function(
        node.SerializeToString(), [one.SerializeToString() for one in types]
    )
    return onnx.FunctionProto.FromString(serialized)


def _type_proto(onnx: Proto, value: Operand, importing: Importing) -> Any:
    found = importing.element_type(value)
    if not found:
        return onnx.TypeProto()
    inside = value.value if isinstance(value, Quantized) else value
    return onnx.helper.make_tensor_type_proto(
        found, np.shape(inside) if not hasattr(inside, "shape") else inside.shape
    )


def with_attributes(onnx: Proto, function: Proto, call: Call, folder: Path | None) -> list[Any]:
    """The nodes of a function, with the attributes of the call where they refer to them."""
    defaults = {one.name: one for one in function.attribute_proto}
    made = []
    for node in function.node:
        if any(one.ref_attr_name for one in node.attribute) or any(
            one.HasField("g") for one in node.attribute
        ):
            node = _filled(onnx, node, call, defaults)
        made.append(node)
    return made


def _filled(onnx: Proto, node: Proto, call: Call, defaults: Mapping[str, Any]) -> Any:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    del copy.attribute[:]
    for one in node.attribute:
        given = one
        if one.ref_attr_name:
            known = call.protos.get(one.ref_attr_name, defaults.get(one.ref_attr_name))
            if known is None:
                continue
            given = onnx.AttributeProto()
            given.CopyFrom(known)
            given.name = one.name
        elif one.HasField("g"):
            given = onnx.AttributeProto()
            given.CopyFrom(one)
            inner = [_filled(onnx, inside, call, defaults) for inside in given.g.node]
            del given.g.node[:]
            given.g.node.extend(inner)
        copy.attribute.append(given)
    return copy


def scope_of(node: Proto) -> Scope:
    """The modules that a node belongs to, as its exporter says: in its metadata, or in its name."""
    for entry in node.metadata_props:
        if entry.key == SCOPES and len(entry.value) < 10_000:
            try:
                paths = [str(one) for one in ast.literal_eval(entry.value)][:-1]
            except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
                return ()
            return tuple(
                (_last(path, before), 0) for before, path in zip(["", *paths], paths, strict=False) if path
            )
    parts = [part for part in node.name.split("/") if part] if "/" in node.name else []
    return tuple((_last(part, before), 0) for before, part in zip(["", *parts], parts[:-1], strict=False))[
        :50
    ]


def _last(path: str, before: str) -> str:
    """A module's path without that of the module around it."""
    return path.removeprefix(f"{before}.") if before else path


def text_of(node: Proto) -> str:
    """A node as a line: what it makes of what."""
    return f"{', '.join(node.output)} = {node.op_type}({', '.join(node.input)})"[:500]


def _title(node: Proto, number: int) -> str:
    domain = f"{node.domain}::" if node.domain not in DEFAULT_DOMAINS else ""
    return f"node {number} ({domain}{node.op_type}{f' {node.name!r:.80}' if node.name else ''})"


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)
