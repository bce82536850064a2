"""Look through ops that are written in plain NumPy: their forward becomes nodes of its own, which fuse.

Of an op from another package that neither emits nor lowers to anything, the forward runs once on captured tensors. It
is looked through where that makes one graph of ops that do have kernels, without states, random numbers or values that
decide - and where the graph, run on numbers of the same types, makes the forward's own result to the last bit. What the
forward read of Python's variables is watched as if the program had read it itself; where it may have read what cannot
be watched, it stays one call.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.compiler.passes.rewriting import edges, make_node, rewrite
from tinygraph.core.graph import Graph
from tinygraph.core.node import (
    Leaf,
    Node,
    SettingsKey,
    edge_type,
    entry_type,
    is_recorded,
    key_of,
    settings_key,
)
from tinygraph.core.op import Op
from tinygraph.core.registry import BUILTIN_PACKAGE
from tinygraph.core.types import ArrayType, WeakType, type_of
from tinygraph.kernels.eager import numpy_alone
from tinygraph.tracing.trace import Trace, capture_with

_MOST_NODES = 1000  # of one op: what is longer takes long to plan


class Seen(NamedTuple):
    """What is inside an op's forward on operands of some types.

    Attributes:
        graph: its inputs are the operands that are arrays.
        trace: what the forward read of Python's variables.
    """

    graph: Graph
    trace: Trace

    @property
    def names(self) -> str:
        """The ops inside, each once, in order."""
        return ", ".join(
            dict.fromkeys(node.op.name for node in self.graph.nodes if not isinstance(node, Leaf))
        )


def look_through(graph: Graph) -> Graph:
    """Let the nodes of an op's forward stand for its node, wherever that is exact."""
    if not _opaque(graph):
        return graph

    def visit(node: Node, inputs: tuple[Any, ...]) -> list[Any] | None:
        seen = seen_in(node)
        if seen is None:
            return None
        given = [entry for entry in inputs if is_recorded(entry) or isinstance(entry, np.ndarray)]
        stands: dict[int, Sequence[Any]] = {
            id(leaf): [entry] for leaf, entry in zip(seen.graph.inputs, given, strict=True)
        }
        for one in seen.graph.nodes:
            if not isinstance(one, Leaf):
                operands = tuple(_now(entry, stands) for entry in one.inputs)
                made = make_node(one.op, operands, one.settings, one.types, like=node)
                stands[id(one)] = list(edges(made))
        return [_now(end, stands) for end in seen.graph.outputs]

    return rewrite(graph, visit)


def facts_inside(graph: Graph) -> list[Trace]:
    """What the forwards of a graph's nodes that are looked through read of Python's variables."""
    return [seen.trace for seen in map(seen_in, _opaque(graph)) if seen is not None]


def seen_on(op: Op, operands: Sequence[Any], settings: dict[str, Any]) -> Seen | None:
    """What is inside an op's forward on these arrays and Nones, as a compiled program would see it."""
    if not _is_opaque(op):
        return None
    kinds = tuple((type(None), "None") if one is None else type_of(np.asarray(one)) for one in operands)
    return inside(op, kinds, settings_key(settings))


def _opaque(graph: Graph) -> list[Node]:
    """The nodes of other packages' ops that only their forwards explain."""
    return [
        node
        for node in graph.nodes
        if not isinstance(node, Leaf) and node.op.package != BUILTIN_PACKAGE and _is_opaque(node.op)
    ]


def _is_opaque(op: Op) -> bool:
    """Whether only its forward says what an op of another package does."""
    own = op.emission is not None or op.lowering is not None or op.facts.get("body")
    return op.package != BUILTIN_PACKAGE and not own


def seen_in(node: Node) -> Seen | None:
    """What is inside a node's op, or None where it stays one call."""
    op = node.op
    if not _is_opaque(op):
        return None
    operands: list[Any] = []
    for entry in node.inputs:
        if is_recorded(entry) or isinstance(entry, np.ndarray):
            types = entry_type(entry)
            if isinstance(types, WeakType):
                return None
            operands.append(types)
        elif entry is None or entry.__class__ in (int, float):
            operands.append((type(entry), repr(entry)))  # 0.0 is not -0.0
        else:
            return None
    key = op, tuple(operands), settings_key(node.settings)
    made = inside(*key)
    if made is not None and made.trace.broken() is not None:  # what the forward read is another thing now
        inside.cache_clear()
        made = inside(*key)
    if made is None or tuple(map(edge_type, made.graph.outputs)) != node.output_types:
        return None
    return made


@functools.lru_cache(1024)
def inside(op: Op, operands: tuple[Any, ...], settings: SettingsKey) -> Seen | None:
    """What is inside an op's forward, for operands that are types of arrays, or (class, text) of Python numbers."""
    if any(isinstance(one, ArrayType) and one.dtype.kind not in "fb" for one in operands):
        return None
    rng = np.random.default_rng(0)
    values = [_numbers(rng, one) if isinstance(one, ArrayType) else _number(*one) for one in operands]
    arrays = [i for i, one in enumerate(operands) if isinstance(one, ArrayType)]

    def forward(*given: object) -> Any:
        filled = list(values)
        for i, one in zip(arrays, given, strict=True):
            filled[i] = one
        return op.forward(*filled, **dict(settings.pairs))

    try:
        with np.errstate(all="ignore"):
            copies = (np.copy(one) if isinstance(one, np.ndarray) else one for one in values)
            with numpy_alone():  # as below: what it calls of ours rounds alike then, on large arrays too
                wanted = op.forward(*copies, **dict(settings.pairs))
            graph, trace = capture_with(forward, tuple(values[i] for i in arrays))
            if not _is_plain(graph, trace, op):
                return None
            with numpy_alone():
                found = graph(*(values[i] for i in arrays))
    except Exception:  # noqa: BLE001 - whatever it does that tensors do not: it stays one call
        return None
    return Seen(graph, trace) if _same(found, wanted) else None


def _is_plain(graph: Graph, trace: Trace, op: Op) -> bool:
    """Whether a forward made nodes that have kernels, and nothing else happened."""
    nodes = [node for node in graph.nodes if not isinstance(node, Leaf)]
    if trace.writes or trace.gradients or trace.reads or trace.effects or trace.constants or trace.draws:
        return False
    if not trace.sees_all:
        return False
    if not 0 < len(nodes) <= _MOST_NODES or len(graph.leaves) != len(graph.inputs):
        return False
    if not all(is_recorded(end) for end in graph.outputs):
        return False
    return all(
        node.op is not op and node.op.package == BUILTIN_PACKAGE and (node.op.emission or node.op.lowering)
        for node in nodes
    )


def _numbers(rng: np.random.Generator, types: ArrayType) -> Any:
    """An array with numbers of all sizes, zeros of both signs, infinities and a nan."""
    if types.dtype.kind == "b":
        return rng.random(types.shape) < 0.5
    values = rng.normal(size=types.shape) * rng.choice([1e-3, 1.0, 30.0], types.shape)
    flat = np.asarray(values).reshape(-1)
    special = (0.0, -0.0, np.inf, -np.inf, np.nan)
    flat[: max(0, flat.size - 8)][: len(special)] = special[: max(0, flat.size - 8)]
    return flat.reshape(types.shape).astype(types.dtype)


def _number(kind: type, text: str) -> Any:
    return None if kind is type(None) else kind(text)


def _same(found: Any, wanted: Any) -> bool:
    """Whether two results are the same bits, but for which nan it is."""
    one, other = (list(x) if isinstance(x, tuple | list) else [x] for x in (found, wanted))
    if len(one) != len(other):
        return False
    return all(
        np.shape(a) == np.shape(b)
        and np.asarray(a).dtype == np.asarray(b).dtype
        and np.array_equal(a, b, equal_nan=True)
        and np.array_equal(np.signbit(a) & ~np.isnan(a), np.signbit(b) & ~np.isnan(b))
        if np.asarray(a).dtype.kind == "f"
        else np.array_equal(a, b)
        for a, b in zip((getattr(x, "_value", x) for x in one), other, strict=True)
    )


def _now(entry: object, stands: dict[int, Sequence[Any]]) -> Any:
    if not is_recorded(entry):
        return entry
    node, port = key_of(entry)
    return stands[node][port]
