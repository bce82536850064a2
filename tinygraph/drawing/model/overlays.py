"""Overlays: one number a node - time, operations, bytes, the size of its gradient - as a tint and a line in its box."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygraph.analysis.coverage import missing_of
from tinygraph.analysis.kept import Kept, orders_of
from tinygraph.analysis.operation_counts import operations_of
from tinygraph.core.graph import Graph, evaluate
from tinygraph.core.modes import mode
from tinygraph.core.node import Leaf, Node, is_recorded
from tinygraph.core.state import Generator
from tinygraph.drawing.model.labels import number_text
from tinygraph.drawing.model.levels import LARGEST
from tinygraph.explaining.cotangents import differentiable_positions, pulled, value_on

NEED_VALUES = ("time", "gradient_norm", "nan")


@dataclass(frozen=True, slots=True)
class Heat:
    """What the overlays say of one node, an amount each in the order asked for; None where they say nothing."""

    overlays: tuple[str, ...]
    amounts: tuple[float | None, ...]


def heats_of(
    nodes: Sequence[Node],
    wanted: Sequence[str],
    values: Mapping[int, Any],
    gradients: Mapping[int, Any],
    times: Mapping[int, float] | None = None,
    alive: Mapping[int, float] | None = None,
    saved: Mapping[int, float] | None = None,
) -> dict[int, Heat]:
    """The amounts of nodes, by id; unless times are given, there are some only of nodes whose values are.

    Args:
        wanted: overlays, in the order of their lines; the first one makes the tint.
        values, gradients: of the nodes, as far as the overlays need them.
        times: seconds of nodes, by id, where they were measured elsewhere.
        alive: bytes in memory while nodes run, by id; see `alive_of`.
        saved: bytes that nodes keep for a backward pass, by id: `Kept.by_node`.
    """
    if times is None:
        times = timed(nodes, values) if "time" in wanted else {}
    missing = missing_of(nodes) if "coverage" in wanted else {}

    def amount(overlay: str, node: Node) -> float | None:
        key = id(node)
        if overlay == "time":
            return times.get(key)
        if overlay == "coverage":
            return missing.get(key)
        if overlay == "alive":
            return (alive or {}).get(key)
        if overlay == "saved":
            return (saved or {}).get(key)
        if overlay == "gradient_norm":
            return _norm(gradients[key]) if key in gradients else None
        if overlay == "nan":
            return _broken(values.get(key)) + _broken(gradients.get(key))
        if overlay == "bytes":
            return float(sum(types.nbytes for types in node.output_types))
        if isinstance(node, Leaf):
            return None
        return operations_of(node)

    return {id(node): Heat(tuple(wanted), tuple(amount(one, node) for one in wanted)) for node in nodes}


def timed(nodes: Sequence[Node], values: Mapping[int, Any]) -> dict[int, float]:
    """Seconds that each op takes in a replay, after one to warm up."""
    known = dict(values)
    times: dict[int, float] = {}
    with mode(recording=False), np.errstate(all="ignore"):
        for node in nodes:
            if isinstance(node, Leaf) or id(node) not in known:
                continue
            for _ in range(2):
                del known[id(node)]
                start = time.perf_counter()
                evaluate([node], known)
                times[id(node)] = time.perf_counter() - start
    return times


def alive_of(graph: Graph) -> dict[int, float]:
    """Bytes of intermediate values that must be in memory while each op runs, in the graph's order, by the node's id.

    A value is there from the op that makes it, whose result counts while it runs, to the last op that reads it; a view
    is its operand's memory, and the graph's outputs stay. Values that are kept for a backward pass stay until the op of
    that pass that reads them, or to the end where a gradient is wanted that the graph does not compute. Parameters,
    inputs, data and what is written into them (`.grad`, updates in place) have memory of their own, which is not
    counted.
    """
    kept = Kept(graph)
    liveness = kept.liveness
    if any(leaf.requires_grad for leaf in graph.leaves):
        liveness.lasting.update(
            kept.buffers if not any(node.phase == "backward" for node in graph.nodes) else ()
        )
    amounts = map(float, liveness.alive())
    return dict(zip(map(id, liveness.nodes), amounts, strict=True))


def first_broken(
    nodes: Sequence[Node], values: Mapping[int, Any], gradients: Mapping[int, Any]
) -> dict[int, tuple[str, str]]:
    """Which op of each pass was the first to make a number that is not finite, of operands that are: id -> a line.

    Ops that pass such numbers on are not meant. A leaf that was given some is the first itself. On the way back it is
    the first op whose own cotangent is finite, but not what its rule makes of it.

    Args:
        values, gradients: of the nodes, by id.
    """
    found: dict[int, tuple[str, str]] = {}
    passes: set[int] = set()
    orders = orders_of(nodes)
    for node in nodes:
        order = orders.get(id(node), 0)
        if order not in passes and id(node) in values and _broken(values[id(node)]):
            operands = (value_on(one, values) if is_recorded(one) else one for one in node.inputs)
            if not any(_broken(one) for one in operands if not isinstance(one, Generator)):
                passes.add(order)
                found[id(node)] = ("first", _kinds(values[id(node)]))
    if any(map(_broken, gradients.values())):
        for node in reversed(nodes):
            if isinstance(node, Leaf) or id(node) not in gradients or _broken(gradients[id(node)]):
                continue
            wanted = differentiable_positions(node)
            with np.errstate(all="ignore"):
                parts = pulled(node, wanted, gradients[id(node)], values) if wanted else ()
            if _broken(parts):
                found.setdefault(id(node), ("first, backward", _kinds(parts)))
                break
    return found


def _kinds(value: Any) -> str:
    """How many numbers are infinite and how many are no numbers."""
    parts = _parts(value)
    counts = {
        "inf": sum(int(np.isinf(one).sum()) for one in parts),
        "nan": sum(int(np.isnan(one).sum()) for one in parts),
    }
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)


def _parts(value: Any) -> list[Any]:
    several = value if isinstance(value, tuple | list) else [value]
    return [np.asarray(one) for one in several if one is not None and np.asarray(one).dtype.kind in "fc"]


def _norm(value: Any) -> float:
    with np.errstate(over="ignore"):
        return float(np.sqrt(sum(float((np.abs(one.astype(complex)) ** 2).sum()) for one in _parts(value))))


def _broken(value: Any) -> float:
    return float(sum(one.size - int(np.isfinite(one).sum()) for one in _parts(value)))


def together(found: Sequence[Heat]) -> tuple[float | None, tuple[tuple[str, str], ...]]:
    """What the overlays say of several nodes in one box: the amount behind its tint, and a line for each overlay."""
    if not found:
        return None, ()
    overlays = found[0].overlays
    totals = [
        _total(overlay, [one.amounts[i] for one in found if one.amounts[i] is not None])
        for i, overlay in enumerate(overlays)
    ]
    lines = tuple(
        (overlay.replace("_", " "), text_of(overlay, total))
        for overlay, total in zip(overlays, totals, strict=True)
        if total is not None and not (overlay in ("nan", "saved", "coverage") and total == 0)
    )
    return totals[0], lines


def _total(overlay: str, amounts: Collection[Any]) -> float | None:
    if not amounts:
        return None
    if overlay in LARGEST:
        return float(max(amounts))
    if overlay == "gradient_norm":  # of everything in the box as one vector
        return float(np.sqrt(sum(one**2 for one in amounts)))
    return float(sum(amounts))


def text_of(overlay: str, amount: float) -> str:
    """An amount with its unit.

    >>> text_of("time", 0.00123), text_of("flops", 2e9), text_of("bytes", 3136), text_of("nan", 2)
    ('1.23 ms', '2 G', '3.14 kB', '2 not finite')
    """
    if overlay == "time":
        scale, unit = next((s, u) for s, u in ((1, "s"), (1e-3, "ms"), (0, "µs")) if amount >= s)
        return f"{amount / (scale or 1e-6):.3g} {unit}"
    if overlay in ("bytes", "saved", "alive"):
        return bytes_text(amount)
    if overlay == "flops":
        return _prefixed(amount)
    if overlay == "coverage":
        return f"{int(amount)} missing"
    return f"{int(amount):,} not finite" if overlay == "nan" else number_text(amount)


def bytes_text(amount: float) -> str:
    """Bytes in decimal units.

    >>> bytes_text(96), bytes_text(12_000_000)
    ('96 B', '12 MB')
    """
    return f"{_prefixed(amount)}B"


def _prefixed(amount: float) -> str:
    for scale, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if amount >= scale:
            return f"{amount / scale:.3g} {prefix}"
    return f"{amount:.3g} "
