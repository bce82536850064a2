"""Making nodes again from what a file or a networkx graph says of them.

Every node goes through the choke point, under capture: the op's own type rule types it and its own checks refuse what
does not fit. Nothing here knows of files, JSON or networkx.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from inspect import Parameter
from typing import Any, cast

from tinygraph.core.bodies import opened, ruled_in
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place, mode
from tinygraph.core.node import Edge, Leaf, Node, edge_node, is_recorded
from tinygraph.core.op import Op
from tinygraph.core.registry import BUILTIN_PACKAGE, registry
from tinygraph.core.source import SourceLine
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import Tree, flatten
from tinygraph.core.types import ArrayType
from tinygraph.errors import DTypeError, FileFormatError, PluginError, TinygraphError, UnknownOpError
from tinygraph.interop.graphs.values import decode, encode
from tinygraph.tracing.open_capture import OpenCapture

MOST_CONTAINERS = 100  # one inside another, in what a graph returns
# Names typed in by hand belong to whatever program runs.
_PROGRAMS = ("__main__", "builtins")


def opened_whole(graph: Graph) -> Graph:
    """A graph without bodies, as files and other libraries hold it.

    Raises:
        FileFormatError: a function in it has a derivative rule that is Python's, which would be lost without a word.
    """
    node = ruled_in(graph)
    if node is not None:
        raise FileFormatError(
            f"{node.describe()}: {node.op.name!r} has a derivative rule of its own (tg.custom_vjp or tg.custom_jvp), a "
            f"function of Python's that no file holds; read again, its derivative would be another. Save a graph of "
            f"{node.op.name}.function, which has no such rule, or declare an op with the rule, which files name"
        )
    return opened(graph)


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


def find_ops(wanted: Sequence[tuple[str, str | None]]) -> list[Op | None]:
    """`find_op` for many, of which a file may list thousands that nobody has."""
    found: list[Op | None] = []
    known: set[str] | None = None  # all names there are, once one was looked for in vain
    for name, package in wanted:
        if known is None or name.rpartition(":")[2] in known:
            found.append(find_op(name, package))
            if found[-1] is None and known is None:
                known = set(registry.names())
        else:
            found.append(None)
    return found


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
    first = result[0] if isinstance(result, tuple) else cast(Any, result)
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


class _Slot:
    """The place of an output in a container of results."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def result_skeleton(result: Tree | None, plain: Callable[[Any], Any] = encode) -> Any:
    """The container of a graph's results with the number of an output in each place, as JSON can hold it.

    Args:
        plain: what stands for the keys of dictionaries and for what is no array: {"value": plain(value)}.

    Raises:
        FileFormatError: naming the place: a dataclass, or a key or value that `plain` refuses.
    """
    return None if result is None else _skeleton(_with_slots(result), "result", plain, 0)


def output_path(result: Tree | None, number: int) -> str:
    """Where in a graph's results an output stands, such as "result['loss'][0]"."""
    found = dict(_paths(_with_slots(result), "result")) if result is not None else {}
    return found.get(number, f"outputs[{number}]")


def _with_slots(result: Tree) -> Any:
    return result.unflatten([_Slot(i) for i in range(result.count)])


def _skeleton(part: object, where: str, plain: Callable[[Any], Any], depth: int) -> Any:
    if depth > MOST_CONTAINERS:
        raise FileFormatError(f"{where:.60}: containers are nested more than {MOST_CONTAINERS} deep")
    if part is None:
        return None
    if isinstance(part, _Slot):
        return part.number
    if dataclasses.is_dataclass(part):
        raise FileFormatError(
            f"{where:.200} is a {type(part).__name__}: a file names no classes of programs; return a dict or a tuple"
        )
    inner = [(key, _skeleton(one, path, plain, depth + 1)) for key, one, path in _parts(part, where)]
    try:
        if isinstance(part, dict):
            return {"dict": [[plain(key), one] for key, one in inner]}
        if isinstance(part, list | tuple):  # of a named tuple the tuple, which is equal to it
            return {"list" if isinstance(part, list) else "tuple": [one for _, one in inner]}
        return {"value": plain(part)}
    except DTypeError as error:
        raise FileFormatError(
            f"{where:.200}: {error}; return numbers, arrays, texts and containers"
        ) from None


def _parts(part: object, where: str) -> Iterator[tuple[Any, Any, str]]:
    """What is in a container: its key or position, itself, and where that is."""
    if isinstance(part, dict | list | tuple):
        for key, one in part.items() if isinstance(part, dict) else enumerate(part):
            yield key, one, f"{where}[{key!r:.60}]"


def _paths(part: object, where: str) -> Iterator[tuple[int, str]]:
    if isinstance(part, _Slot):
        yield part.number, where
    for _, one, path in _parts(part, where):
        yield from _paths(one, path)


def result_tree(skeleton: object, count: int, read: Callable[[Any], Any] = decode) -> Tree:
    """The container that `result_skeleton` described.

    Args:
        read: what `plain` was there, backwards.

    Raises:
        FileFormatError: it is no such description, or does not number each output once.
    """
    leaves, tree = flatten(_container(skeleton, read, 0))
    places = {leaf.number: place for place, leaf in enumerate(leaves) if isinstance(leaf, _Slot)}
    numbers = [leaf.number for leaf in leaves if isinstance(leaf, _Slot)]
    if sorted(numbers) != list(range(count)):
        raise FileFormatError(
            f"`result` must number the {count} outputs, each once, but numbers {numbers[:20]}"
        )

    def build(outputs: Sequence[Any]) -> Any:
        filled = list(leaves)
        for number, output in enumerate(outputs):
            filled[places[number]] = output
        return tree.unflatten(filled)

    return tree if numbers == list(range(len(leaves))) else Tree(count, build, repr(tree))


def _container(skeleton: object, read: Callable[[Any], Any], depth: int) -> Any:
    if depth > MOST_CONTAINERS:
        raise FileFormatError(f"`result` is nested more than {MOST_CONTAINERS} deep")
    if skeleton is None:
        return None
    if isinstance(skeleton, int) and not isinstance(skeleton, bool):
        return _Slot(skeleton)
    if isinstance(skeleton, dict) and len(skeleton) == 1:
        ((kind, parts),) = skeleton.items()
        if kind == "value":
            return read(parts)
        if kind in ("list", "tuple") and isinstance(parts, list | tuple):
            filled = [_container(part, read, depth + 1) for part in parts]
            return filled if kind == "list" else tuple(filled)
        if kind == "dict" and isinstance(parts, list | tuple) and all(map(_is_item, parts)):
            entries = {read(key): _container(part, read, depth + 1) for key, part in parts}
            if len(entries) == len(parts):
                return entries
            raise FileFormatError("`result` holds a dictionary with one key twice")
    raise FileFormatError(
        f"`result` holds {skeleton!r:.60}, which is neither an output's number nor a container"
    )


def _is_item(part: object) -> bool:
    return isinstance(part, list | tuple) and len(part) == 2
