"""How the amounts of overlays are found: from a graph alone, from its values and gradients, or by running it again.

`overlays.py` says which there are, and how they are added up and written.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygraph.analysis.kept import Kept, orders_of
from tinygraph.analysis.operation_counts import operations_of
from tinygraph.analysis.units import BYTES
from tinygraph.core.graph import Graph, evaluate
from tinygraph.core.modes import mode
from tinygraph.core.node import Leaf, Node, is_recorded
from tinygraph.core.state import Generator
from tinygraph.errors import TinygraphError
from tinygraph.explaining.cotangents import differentiable_positions, pulled, value_on

TELLING_DIGITS = 1.5  # decimal digits that one op must cost to be pointed at


@dataclass(frozen=True, slots=True)
class Mark:
    """Why a node stands out under an overlay.

    Attributes:
        words: what is said of it.
        note: a sentence for the whole picture, with {place} for where the node is.
        label: what the words stand under; without one they follow the amount.
    """

    words: str
    note: str
    label: str = ""


class Known:
    """A graph and what is known of it, from which overlays take their amounts; what is derived is found when asked for.

    Args:
        values, gradients: of the nodes, by id; empty where there are none.
        measured: what was found out elsewhere, by the id of a node: "times", seconds, and "changes", shares.
        timing: whether ops may be run again to see how long they take.
        repeats: how often nodes within loops run, by id.
    """

    def __init__(
        self,
        graph: Graph,
        values: Mapping[int, Any],
        gradients: Mapping[int, Any],
        measured: Mapping[str, Mapping[int, float]] | None = None,
        timing: bool = True,
        repeats: Mapping[int, int] | None = None,
    ) -> None:
        self.graph = graph
        self.values = values
        self.gradients = gradients
        self.measured = measured or {}
        self.timing = timing
        self.repeats = repeats or {}

    def has(self, need: str) -> bool:
        """Whether there are "values", "gradients", "times" or "changes"."""
        if need in self.measured or need == "changes":
            return need in self.measured
        if need == "times":
            return self.timing and bool(self.values)
        return bool(self.values if need == "values" else self.gradients)

    @cached_property
    def times(self) -> Mapping[int, float]:
        """Seconds that ops take."""
        if "times" in self.measured:
            return self.measured["times"]
        return timed(self.graph.nodes, self.values)

    @cached_property
    def digits(self) -> Mapping[int, float]:
        """Decimal digits that rounding has cost each op."""
        return _digits_lost(self.graph.nodes, self.values)

    @cached_property
    def kept(self) -> Kept:
        """What the graph keeps for its backward passes."""
        return Kept(self.graph)

    def in_all_steps(self, amounts: Mapping[int, int]) -> dict[int, int]:
        """Amounts of nodes, those within loops as often as they run."""
        return {key: amount * self.repeats.get(key, 1) for key, amount in amounts.items()}

    @cached_property
    def alive(self) -> Mapping[int, float]:
        """Bytes in memory while each op runs."""
        return alive_of(self.graph)


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


def operations(known: Known) -> dict[int, float | None]:
    """Operations of the ops that they can be counted of."""
    counts = {id(node): operations_of(node) for node in known.graph.nodes if not isinstance(node, Leaf)}
    return {**counts, **known.in_all_steps({key: one for key, one in counts.items() if one is not None})}


def kept_bytes(known: Known) -> dict[int, int]:
    """Bytes that ops keep for a backward pass."""
    return known.in_all_steps(known.kept.by_node)


def sizes(known: Known) -> dict[int, float]:
    """Bytes of what nodes make or hold."""
    return {id(node): float(sum(types.nbytes for types in node.output_types)) for node in known.graph.nodes}


def missing(known: Known) -> Mapping[int, float]:
    """How many operands of each op lack a derivative."""
    from tinygraph.analysis.coverage import missing_of  # not needed before somebody asks

    return missing_of(known.graph.nodes)


def norms(known: Known) -> dict[int, float]:
    """The norm of each gradient."""
    return {key: _norm(gradient) for key, gradient in known.gradients.items()}


def broken(known: Known) -> dict[int, float]:
    """How many numbers of values are not finite."""
    return {id(node): _broken(known.values.get(id(node))) for node in known.graph.nodes}


def broken_gradients(known: Known) -> dict[int, float]:
    """How many numbers of gradients are not finite."""
    return {key: _broken(gradient) for key, gradient in known.gradients.items()}


def zeros(known: Known) -> dict[int, float]:
    """Which share of the numbers that each op computes is zero: of a relu, how much of it is off."""
    found = {}
    for node in known.graph.nodes:
        parts = [] if isinstance(node, Leaf) else _parts(known.values.get(id(node)))
        if count := sum(one.size for one in parts):
            found[id(node)] = sum(one.size - int(np.count_nonzero(one)) for one in parts) / count
    return found


def digits_lost(known: Known) -> Mapping[int, float]:
    """How many decimal digits of each op's values are wrong, by the side of the same graph in double precision."""
    return known.digits


def _digits_lost(nodes: Sequence[Node], values: Mapping[int, Any]) -> dict[int, float]:
    """Digits that rounding has cost, of those that a dtype has; of what is in double precision nothing is said.

    Both runs have the same leaves and the same random numbers. An op that does not run in double precision goes on
    with the values that there are.
    """
    shadow: dict[int, Any] = {}
    found: dict[int, float] = {}
    with mode(recording=False), np.errstate(all="ignore"):
        for node in nodes:
            key = id(node)
            if key not in values:
                continue
            if not isinstance(node, Leaf) and node.kind != "random":
                try:
                    evaluate([node], shadow)
                except (TinygraphError, KeyError):
                    shadow.pop(key, None)
            shadow[key] = _wide(shadow.get(key, values[key]))
            lost = [
                _lost(one, exact)
                for one, exact in zip(_parts(values[key]), _parts(shadow[key]), strict=False)
                if one.dtype.itemsize < exact.dtype.itemsize and one.shape == exact.shape and one.size
            ]
            if lost and not isinstance(node, Leaf):
                found[key] = max(lost)
    return found


def _lost(value: Any, exact: Any) -> float:
    """Digits of the largest error, against the largest number: as many as the dtype has at most."""
    precision = float(np.finfo(value.dtype).eps) / 2
    largest, error = float(np.abs(exact).max()), float(np.abs(exact - value).max())
    if not np.isfinite(largest) or not np.isfinite(error) or error == 0:
        return 0.0 if np.isfinite(error) or not np.isfinite(largest) else -math.log10(precision)
    share = min(1.0, error / largest) if largest else 1.0
    return max(0.0, math.log10(share / precision))


def _wide(value: Any) -> Any:
    """The same numbers in double precision."""
    if isinstance(value, tuple | list):
        return tuple(_wide(one) for one in value)
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    wider = {"f": np.float64, "c": np.complex128}.get(kind)
    return value if wider is None or value.dtype.itemsize >= np.dtype(wider).itemsize else value.astype(wider)


def where_digits_go(known: Known) -> dict[int, Mark]:
    """The op that costs most digits more than its operands had lost already, if these are some."""
    lost, best, most = known.digits, None, TELLING_DIGITS
    for node in known.graph.nodes:
        if id(node) in lost:
            before = max((lost.get(id(parent), 0.0) for parent in node.parents()), default=0.0)
            if lost[id(node)] - before >= most:
                best, most = node, lost[id(node)] - before
    if best is None:
        return {}
    note = (
        f"digits: {most:.1f} decimal digits are lost at {{place}}, against the same run in double precision."
    )
    return {id(best): Mark("here", note)}


def alive_of(graph: Graph) -> dict[int, float]:
    """Bytes of intermediate values that must be in memory while each op runs, in the graph's order, by the node's id.

    A value is there from the op that makes it, whose result counts while it runs, to the last op that reads it; a view
    is its operand's memory, and the graph's outputs stay. Values that are kept for a backward pass stay until the op of
    that pass that reads them, or to the end where a gradient is wanted that the graph does not compute. Parameters,
    inputs, data and what is written into them (`.grad`, updates in place) have memory of their own, which is not
    counted.
    """
    kept = Kept(graph)
    waits = any(leaf.requires_grad for leaf in graph.leaves) and not any(
        node.phase == "backward" for node in graph.nodes
    )
    amounts = map(float, kept.memory.alive(kept=kept.buffers if waits else ()))
    return dict(zip(map(id, kept.memory.nodes), amounts, strict=True))


def peak(known: Known) -> dict[int, Mark]:
    """The op during which most bytes are in memory."""
    if not known.alive:
        return {}
    most = max(known.alive, key=lambda key: known.alive[key])
    note = (
        "alive: bytes of intermediate values in memory while an op runs. The peak is "
        f"{BYTES.text(known.alive[most])}, at {{place}}."
    )
    return {most: Mark("the peak", note)}


def first_broken(known: Known) -> dict[int, Mark]:
    """Which op of each pass was the first to make a number that is not finite, of operands that are.

    Ops that pass such numbers on are not meant. A leaf that was given some is the first itself.
    """
    nodes, values = known.graph.nodes, known.values
    found: dict[int, Mark] = {}
    passes: set[int] = set()
    orders = orders_of(nodes)
    for node in nodes:
        order = orders.get(id(node), 0)
        if order not in passes and id(node) in values and _broken(values[id(node)]):
            operands = (value_on(one, values) if is_recorded(one) else one for one in node.inputs)
            if not any(_broken(one) for one in operands if not isinstance(one, Generator)):
                passes.add(order)
                found[id(node)] = _first(node, _kinds(values[id(node)]))
    return found


def first_broken_gradient(known: Known) -> dict[int, Mark]:
    """The first op on the way back whose own cotangent is finite, but not what its rule makes of it.

    None where that op was the first to make such a number forwards: what follows from it is no news.
    """
    values, gradients = known.values, known.gradients
    if not any(map(_broken, gradients.values())):
        return {}
    for node in reversed(known.graph.nodes):
        if isinstance(node, Leaf) or id(node) not in gradients or _broken(gradients[id(node)]):
            continue
        wanted = differentiable_positions(node)
        with np.errstate(all="ignore"):
            parts = pulled(node, wanted, gradients[id(node)], values) if wanted else ()
        if _broken(parts):
            known_already = id(node) in first_broken(known)
            return {} if known_already else {id(node): _first(node, _kinds(parts), backward=True)}
    return {}


def _first(node: Node, kinds: str, backward: bool = False) -> Mark:
    way = "on the way back, " if backward else ""
    verb = "holds" if isinstance(node, Leaf) else "is the first to make"
    note = f"nan: {way}{{place}} {verb} numbers that are not finite ({kinds})."
    return Mark(kinds, note, "first, backward" if backward else "first")


def _kinds(value: object) -> str:
    """How many numbers are infinite and how many are no numbers."""
    parts = _parts(value)
    counts = {
        "inf": sum(int(np.isinf(one).sum()) for one in parts),
        "nan": sum(int(np.isnan(one).sum()) for one in parts),
    }
    return ", ".join(f"{count:,} {kind}" for kind, count in counts.items() if count)


def _parts(value: object) -> list[Any]:
    several = value if isinstance(value, tuple | list) else [value]
    return [np.asarray(one) for one in several if one is not None and np.asarray(one).dtype.kind in "fc"]


def _norm(value: object) -> float:
    with np.errstate(over="ignore"):
        return float(np.sqrt(sum(float((np.abs(one.astype(complex)) ** 2).sum()) for one in _parts(value))))


def _broken(value: object) -> float:
    return float(sum(one.size - int(np.isfinite(one).sum()) for one in _parts(value)))
