"""An exported program run op by op in ours: each of its nodes by what a table says of its ATen operator.

Modules become scopes and the lines of the model's code the nodes' lines. What the tables lack, PyTorch is asked to
decompose; what is still unknown is named, all at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from tinygraph.core.engine import ancestors
from tinygraph.core.modes import Place, Scope, mode, modes
from tinygraph.core.node import Leaf, edge_node, next_order
from tinygraph.core.registry import ops
from tinygraph.core.source import SourceLine
from tinygraph.core.state import read, write
from tinygraph.core.tensor import Tensor
from tinygraph.errors import CaptureError, TinygraphError, UnknownOpError
from tinygraph.pytorch.aten_arithmetic import ARITHMETIC
from tinygraph.pytorch.aten_layers import LAYERS
from tinygraph.pytorch.aten_shapes import PYTHON, SHAPES
from tinygraph.pytorch.dtypes import dtype_of

TABLE: dict[str, Callable[..., Any]] = {**SHAPES, **ARITHMETIC, **LAYERS}
NOTHING = {"_assert_scalar", "_assert_async", "sym_constrain_range", "sym_constrain_range_for_size"}  # checks
_IGNORED = ("device", "layout", "pin_memory", "memory_format", "non_blocking", "requires_grad", "generator")
_FRAME = re.compile(r'File "([^"]+)", line (\d+), in (\S+)(?:\n\s+(.*))?')


def operator_name(target: Any) -> str | None:
    """The name of an ATen operator, without its overload; None for a function of Python's."""
    schema = getattr(target, "_schema", None)
    return None if schema is None else str(schema.name).rpartition("::")[2]


def decomposed(exported: Any) -> Any:
    """The exported program without changes in place, made of operators that the tables have.

    Raises:
        UnknownOpError: naming those that they do not, and where they are used.
    """
    from torch.export import default_decompositions

    program = exported.run_decompositions({})
    known = default_decompositions()
    for _ in range(3):
        unknown = {node.target for node in program.graph.nodes if _unknown(node)}
        table = {target: known[target] for target in unknown if target in known}
        if not table:
            break
        program = exported.run_decompositions(table)
    missing = [node for node in program.graph.nodes if _unknown(node)]
    if missing:
        listed = ", ".join(dict.fromkeys(f"{node.target} ({_where(node)})" for node in missing[:20]))
        raise UnknownOpError(
            f"from_torch has no counterpart of: {listed}. Write that part of the module in other operators, or in "
            f"tinygraph"
        )
    return program


def _unknown(node: Any) -> bool:
    if node.op == "get_attr" or node.op in ("placeholder", "output"):
        return False
    name = operator_name(node.target)
    return node.target not in PYTHON if name is None else name not in TABLE and name not in NOTHING


def _where(node: Any) -> str:
    line, path = _line(node), ".".join(name for name, _ in _scope(node))
    return " in ".join(str(one) for one in (line, path) if one) or "in the module"


class TorchProgram:
    """An exported program with its states, ready to be run under a capture.

    Attributes:
        states: the parameters and buffers by their names in the module; tied ones are one tensor.
        title: the class of the module, or "program" where nothing says it.
    """

    def __init__(self, exported: Any, states: dict[str, Tensor], constants: dict[str, Any]) -> None:
        self.graph = exported.graph
        self.signature = exported.graph_signature
        self.states, self.constants = states, constants
        stacks = [
            node.meta["nn_module_stack"] for node in self.graph.nodes if node.meta.get("nn_module_stack")
        ]
        outermost = next(iter(stacks[0].values()))[1] if stacks else "program"
        self.title = getattr(outermost, "__name__", str(outermost)).rpartition(".")[2]
        self.lines = {node.name: _line(node) for node in self.graph.nodes}
        self.scopes = {node.name: _scope(node) for node in self.graph.nodes}

    def __call__(self, *inputs: Any) -> list[Any]:
        """The outputs; changed buffers are written."""
        values = self._given(inputs)
        outputs: Sequence[Any] = ()
        for node in self.graph.nodes:
            if node.op == "call_function":
                values[node.name] = self._applied(node, values)
            elif node.op == "output":
                outputs = _filled(node.args[0], values)
        found = []
        for spec, value in zip(self.signature.output_specs, outputs, strict=True):
            kind = spec.kind.name
            if kind == "BUFFER_MUTATION":
                write(self.states[spec.target], value)
            elif kind == "USER_OUTPUT":
                found.append(value)
            else:
                raise CaptureError(
                    f"from_torch: the module changes {spec.target}, which is {kind.lower()}, no buffer"
                )
        return found

    def _given(self, inputs: Sequence[Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        remaining = iter(inputs)
        for spec in self.signature.input_specs:
            kind, name = spec.kind.name, getattr(spec.arg, "name", "")
            if kind == "USER_INPUT":
                values[name] = next(remaining) if hasattr(spec.arg, "name") else None
            elif kind == "PARAMETER":
                values[name] = self.states[spec.target]
            elif kind == "BUFFER":
                values[name] = read(self.states[spec.target])
            else:
                values[name] = self.constants[spec.target]
        return values

    def _applied(self, node: Any, values: dict[str, Any]) -> Any:
        name = operator_name(node.target)
        if name in NOTHING:
            return None
        function = PYTHON[node.target] if name is None else TABLE[name]
        args = _filled(node.args, values)
        kwargs = {key: _filled(one, values) for key, one in node.kwargs.items() if key not in _IGNORED}
        floor = next_order()
        place = modes.current.place
        try:
            with mode(place=Place(self.scopes[node.name], place.phase, place.origin)):
                out = _typed(function(*args, **kwargs), node.meta.get("val"))
        except TinygraphError as error:
            raise type(error)(f"{node.target} ({_where(node)}): {error}") from error
        except TypeError as error:
            raise CaptureError(f"{node.target} ({_where(node)}): {error}") from error
        line = self.lines[node.name]
        if line is not None:
            for made in _made(out, floor):
                made.code, made.offset = line, 0
        return out


def _made(out: Any, floor: int) -> Iterator[Any]:
    """The nodes that an operator was made of."""
    parts = out if isinstance(out, tuple | list) else (out,)
    edges = [one._edge for one in parts if isinstance(one, Tensor) and one._edge is not None]
    for one in ancestors((edge_node(edge) for edge in edges), floor):
        if not isinstance(one, Leaf):
            yield one


def _typed(out: Any, wanted: Any) -> Any:
    """A result in the dtype that PyTorch gives it: 0-d arrays count for less there than with NumPy."""
    if isinstance(out, tuple | list):
        several = wanted if isinstance(wanted, tuple | list) else [None] * len(out)
        return [_typed(one, other) for one, other in zip(out, several, strict=False)]
    dtype = dtype_of(getattr(wanted, "dtype", None), None)
    if dtype is None or not hasattr(out, "dtype") or out.dtype == dtype:
        return out
    return ops.cast(out, dtype=dtype) if isinstance(out, Tensor) else np.asarray(out).astype(dtype)


def _filled(argument: Any, values: dict[str, Any]) -> Any:
    """An argument of a node, with values in the place of nodes."""
    if isinstance(argument, list | tuple):
        return [_filled(one, values) for one in argument]
    name = getattr(argument, "name", None)
    return values[name] if hasattr(argument, "op") and name in values else argument


def _scope(node: Any) -> Scope:
    """The module that a node belongs to, as a path of groups."""
    stack = node.meta.get("nn_module_stack") or {}
    if not stack:
        return ()
    key, (path, _) = list(stack.items())[-1]
    path = re.sub(r"@\d+$", "", str(path))
    call = re.search(r"@(\d+)$", str(key))
    names = [part for part in path.split(".") if part]
    return tuple((part, int(call[1]) if call and i == len(names) - 1 else 0) for i, part in enumerate(names))


def _line(node: Any) -> SourceLine | None:
    """The line of the model's own code that made a node; PyTorch's modules where there is no other."""
    frames = _FRAME.findall(node.meta.get("stack_trace") or "")
    own = [frame for frame in frames if "/torch/" not in frame[0].replace("\\", "/")]
    if not frames:
        return None
    file, line, function, text = (own or frames)[-1]
    return SourceLine(file, int(line), function, text.strip() if text else None)
