"""Making nodes again from what a file or a networkx graph says of them.

Every node goes through the choke point, under capture: the op's own type rule types it and its own checks refuse what
does not fit. Nothing here knows of files, JSON or networkx.
"""

from __future__ import annotations

from collections.abc import Sequence
from inspect import Parameter
from typing import Any

from tinygraph.core.modes import Place, mode
from tinygraph.core.node import Edge, Leaf, Node, edge_node, is_recorded
from tinygraph.core.op import Op
from tinygraph.core.open_capture import OpenCapture
from tinygraph.core.registry import BUILTIN_PACKAGE, registry
from tinygraph.core.source import SourceLine
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import Tree, flatten
from tinygraph.core.types import ArrayType
from tinygraph.errors import FileFormatError, PluginError, TinygraphError, UnknownOpError

# Names typed in by hand belong to whatever program runs.
_PROGRAMS = ("__main__", "builtins")


def find_op(name: str, package: str | None) -> Op | None:
    """The registered op of that name and package, or None if there is none.

    A program's own ops (package `__main__`) are looked up by name alone, since programs have no lasting name.
    """
    if package in _PROGRAMS:
        package = None
    elif package is None and ":" in name:
        package, _, name = name.rpartition(":")
    try:
        found = registry.find(f"{package}:{name}" if package else name)
    except (UnknownOpError, PluginError):
        return None
    return found if isinstance(found, Op) else None


def rebuild_node(
    op: Op,
    entries: Sequence[Any],
    settings: dict[str, Any],
    *,
    place: Place,
    types: tuple[ArrayType, ...] | None = None,
    name: str | None = None,
    source: SourceLine | None = None,
) -> Node:
    """Apply an op to edges and constants, as a captured node.

    Args:
        entries: what `Node.inputs` holds: edges, constants, None for absent operands.
        types: the output types that the op must confirm, if they are known.

    Raises:
        FileFormatError: the operands, settings or types do not fit the op.
    """
    _check_operands(op, entries)
    _check_settings(op, settings)
    operands = [_tensor(entry) if is_recorded(entry) else entry for entry in entries]
    try:
        with mode(recording=True, tangents=False, capture=OpenCapture(), place=place):
            result = op(*operands, **settings)
    except TinygraphError as error:
        raise FileFormatError(str(error)) from error
    except (MemoryError, RecursionError, OverflowError) as error:
        raise FileFormatError(
            f"op {op.name!r} could not type its operands: {type(error).__name__}"
        ) from error
    first = result[0] if isinstance(result, tuple) else result
    node = edge_node(first._edge)
    if types is not None and node.output_types != types:
        raise FileFormatError(
            f"op {op.name!r} gives {', '.join(map(str, node.output_types))}, not the {', '.join(map(str, types))} "
            f"stated"
        )
    node.name, node.code, node.offset = name, source, 0
    return node


def _tensor(edge: Edge) -> Tensor:
    return Tensor(None, edge, edge if isinstance(edge, Leaf) else None)


def _check_operands(op: Op, entries: Sequence[Any]) -> None:
    operands = op.signature.operands
    most = None if operands and operands[-1].variadic else len(operands)
    names = ", ".join(operand.name for operand in operands)
    required = sum(not operand.optional and not operand.variadic for operand in operands)
    if len(entries) < required or (most is not None and len(entries) > most):
        raise FileFormatError(f"op {op.name!r} takes the operands ({names}), but {len(entries)} are given")
    if not any(map(is_recorded, entries)):
        raise FileFormatError(f"op {op.name!r} reads no node: a graph holds only what depends on its leaves")
    for i, entry in enumerate(entries):
        if entry is None and not op.operand_at(i).optional:
            raise FileFormatError(
                f"op {op.name!r} needs its operand {op.operand_at(i).name!r}, which is absent"
            )


def _check_settings(op: Op, settings: dict[str, Any]) -> None:
    known = op.signature.settings
    for name in settings:
        if name not in known:
            listed = ", ".join(known) or "none"
            raise FileFormatError(f"op {op.name!r} has no setting {name!r}; its settings are: {listed}")
    for name, default in known.items():
        if default is Parameter.empty and name not in settings:
            raise FileFormatError(f"op {op.name!r} needs its setting {name!r}")


def version_of(op: Op) -> str:
    """The version of the distribution that an op comes from; empty if it is no installed distribution."""
    from importlib import metadata

    known = getattr(op, "version", None)
    if known is not None:
        return str(known)
    try:
        return metadata.version("tinygraph-autodiff" if op.package == BUILTIN_PACKAGE else op.distribution)
    except metadata.PackageNotFoundError:
        return ""


def result_skeleton(result: Tree | None) -> Any:
    """The container of a graph's results with the number of an output in each place, as JSON can hold it."""
    return None if result is None else _skeleton(result.unflatten(range(result.count)))


def _skeleton(part: Any) -> Any:
    if part is None or isinstance(part, int):
        return part
    if isinstance(part, dict):
        return {"dict": [[key, _skeleton(value)] for key, value in part.items()]}
    if isinstance(part, list):
        return {"list": [_skeleton(one) for one in part]}
    # named tuples and dataclasses come back as plain tuples: a file names no classes
    parts = part if isinstance(part, tuple) else [getattr(part, name) for name in part.__dataclass_fields__]
    return {"tuple": [_skeleton(one) for one in parts]}


def result_tree(skeleton: Any, count: int) -> Tree:
    """The container that `result_skeleton` described.

    Raises:
        FileFormatError: it is no such description, or does not number the outputs 0, 1, ...
    """
    numbers, tree = flatten(_container(skeleton, 0))
    if numbers != list(range(count)):
        raise FileFormatError(
            f"`result` must number the {count} outputs in order, but numbers {numbers[:20]}"
        )
    return tree


def _container(skeleton: Any, depth: int) -> Any:
    if depth > 100:
        raise FileFormatError("`result` is nested more than 100 deep")
    if skeleton is None or (isinstance(skeleton, int) and not isinstance(skeleton, bool)):
        return skeleton
    if isinstance(skeleton, dict) and len(skeleton) == 1:
        ((kind, parts),) = skeleton.items()
        if kind in ("list", "tuple") and isinstance(parts, list | tuple):
            filled = [_container(part, depth + 1) for part in parts]
            return filled if kind == "list" else tuple(filled)
        if kind == "dict" and isinstance(parts, list | tuple) and all(map(_is_item, parts)):
            return {key: _container(part, depth + 1) for key, part in parts}
    raise FileFormatError(
        f"`result` holds {skeleton!r:.60}, which is neither an output's number nor a container"
    )


def _is_item(part: Any) -> bool:
    return isinstance(part, list | tuple) and len(part) == 2 and isinstance(part[0], str | int | float | bool)
