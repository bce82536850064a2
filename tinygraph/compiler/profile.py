"""`Profile`: where the time of a plan goes, step by step - as a table, a trace for Perfetto, or a tint of the drawing.

The measuring is the plan's (`plan.py`), the text of tables is `tables.py`'s.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tinygraph.analysis.operation_counts import operations_of
from tinygraph.analysis.units import SECONDS
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.types import type_of

if TYPE_CHECKING:
    from tinygraph.compiler.plan import Iteration, Plan, Step
    from tinygraph.core.node import Edge
    from tinygraph.drawing.drawing import Drawing


Event = dict[str, Any]
TRACK = {"pid": 1, "tid": 1}
Slice = tuple[tuple[str, ...], float, float]  # a path of groups, when it begins, and its length: microseconds


class StepProfile(NamedTuple):
    """A step of a plan and what it costs.

    Attributes:
        step: the step: its node, kernel and arrays.
        seconds: the median of the runs.
        nbytes: of what it reads and writes, each value counted once.
        flops: floating-point operations, None where an op does not say how many.
    """

    step: Step
    seconds: float
    nbytes: int
    flops: int | None


class Profile:
    """Where the time of a plan goes; what `compiled.profile(...)` returns. Printed, it is a table.

    Attributes:
        plan: what was measured.
        steps: its steps with their costs, in order.
        seconds: of all steps together.
        repeats: how often each was run.
        name: of the compiled function.
        inside: one iteration of each loop, kernel by kernel, by the number of the loop's step.
    """

    def __init__(
        self,
        plan: Plan,
        seconds: Sequence[float],
        repeats: int,
        name: str = "",
        inside: Mapping[int, Iteration] | None = None,
    ) -> None:
        self.plan = plan
        self.steps = tuple(
            StepProfile(step, time, bytes_moved(step), operations_in(step))
            for step, time in zip(plan.steps, seconds, strict=True)
        )
        self.seconds = float(sum(seconds))
        self.repeats = repeats
        self.name = name
        self.inside = dict(inside or {})

    @property
    def times(self) -> dict[Node, float]:
        """Seconds of each node of the plan's graph; a step that computes several divides its time equally.

        Views cost nothing and are not in it. A conversion or clearing of memory counts for the node it is made for.
        """
        found: dict[Node, float] = {}
        for step, seconds, *_ in self.steps:
            nodes = step.nodes or (step.node,)
            for node in nodes:
                found[node] = found.get(node, 0.0) + seconds / len(nodes)
        return found

    def table(self, *, slowest: int | None = None, width: int | None = None) -> str:
        """The steps as text: what each computes, how much it moves and computes, and how long that took.

        Args:
            slowest: only so many steps, the slowest first.
            width: in characters; by default the terminal's.
        """
        from tinygraph.compiler.tables import text_table

        return text_table(self.plan, self, slowest=slowest, width=width)

    def trace(self, path: str | Path) -> None:
        """Write a trace for https://ui.perfetto.dev or chrome://tracing: the steps, inside the modules they belong to.

        A step's category is its phase; its arguments are shapes, bytes, operations and the user's line. It lasts as
        long as its median, and the next one follows at once.
        """
        from tinygraph.interop.atomic_files import replace_file

        text = json.dumps({"traceEvents": self.events(), "displayTimeUnit": "ns"}, indent=1)
        replace_file(path, lambda part: part.write_text(text, encoding="utf-8"))

    def events(self) -> list[Event]:
        """The trace as data: events of the Trace Event Format (Google, "Trace Event Format", 2016)."""
        begins = [0.0, *itertools.accumulate(one.seconds * 1e6 for one in self.steps)][:-1]
        steps = [
            _event(one.step.node.op.name, one.step.node.phase, begin, one.seconds * 1e6, args=_arguments(one))
            for one, begin in zip(self.steps, begins, strict=True)
        ]
        placed = [
            (_path(one.step.node), begin, one.seconds * 1e6)
            for one, begin in zip(self.steps, begins, strict=True)
        ]
        # Perfetto takes the earlier of two events that begin together for the outer one
        groups = [_event(path[-1], path[0], begin, length) for path, begin, length in _slices(placed)]
        process, thread = self.name or "compiled function", repr(self.plan)[1:-1]
        return [_name("process", process), _name("thread", thread), *groups, *steps]

    def draw(self, path: str | Path | None = None, **wishes: Any) -> Drawing:
        """The plan's graph, tinted by the time its nodes took; `wishes` are `tg.draw`'s.

        Fused nodes are drawn as what they are in the plan: one node.
        """
        from tinygraph.drawing import draw

        wishes.setdefault("show", ("names", "settings", "shapes", "dtypes", "time"))
        return draw(self.plan.graph, path, times=self.times, **wishes)

    def __repr__(self) -> str:
        return f"<Profile of {self.name or 'a plan'}: {len(self.steps)} steps, {SECONDS.text(self.seconds)}>"

    def __str__(self) -> str:
        return self.table()

    def _repr_html_(self) -> str:
        from tinygraph.compiler.tables import html_table

        return html_table(self.plan, self)


def bytes_moved(step: Step) -> int:
    """Bytes of the values that a step reads and writes, each counted once."""
    if not step.nodes:
        return sum(array.nbytes for array in step.outputs)
    inside = set(map(id, step.nodes))
    read = {
        (id(edge_node(entry)), edge_index(entry)): edge_type(entry).nbytes
        for node in step.nodes
        for entry in node.inputs
        if is_recorded(entry) and id(edge_node(entry)) not in inside and not _is_generator(entry)
    }
    arrays = {
        id(entry): type_of(entry).nbytes
        for node in step.nodes
        for entry in node.inputs
        if not is_recorded(entry) and hasattr(entry, "nbytes")
    }
    written = sum(types.nbytes for node in step.nodes for types in node.output_types)
    return sum(read.values()) + sum(arrays.values()) + written


def operations_in(step: Step) -> int | None:
    """Floating-point operations of a step, None where an op of it does not say how many."""
    counts = [operations_of(node) for node in step.nodes]
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _is_generator(entry: Edge) -> bool:
    node = edge_node(entry)
    return isinstance(node, Leaf) and node.kind == "generator"


def _path(node: Node) -> tuple[str, ...]:
    """The groups that a node belongs to, from the outermost: its phase, then modules and composites."""
    names = (name if not call else f"{name} ({call + 1})" for name, call in node.scope)
    return (node.phase, *names)


def _slices(steps: Sequence[Slice], depth: int = 0) -> Iterator[Slice]:
    """The groups around consecutive steps, each as one slice."""
    for begun, members in itertools.groupby(steps, lambda one: one[0][: depth + 1]):
        inside = list(members)
        if len(begun) <= depth:
            continue
        begin, (_, last, length) = inside[0][1], inside[-1]
        yield begun, begin, last + length - begin
        yield from _slices(inside, depth + 1)


def _name(what: str, name: str) -> Event:
    return {"name": f"{what}_name", "ph": "M", **TRACK, "args": {"name": name}}


def _event(name: str, category: str, begin: float, length: float, **more: object) -> Event:
    """A complete event, in microseconds; digits below a nanosecond say nothing."""
    times = {"ts": round(begin, 3), "dur": round(length, 3)}
    return {"name": name, "cat": category, "ph": "X", **times, **TRACK, **more}


def _arguments(one: StepProfile) -> Event:
    node = one.step.node
    operands = [
        str(edge_type(entry)) for entry in node.inputs if is_recorded(entry) and not _is_generator(entry)
    ]
    found: Event = {
        "kernel": one.step.kernel.name,
        "operands": ", ".join(operands),
        "result": ", ".join(map(str, node.output_types)),
        "bytes": one.nbytes,
    }
    if one.flops is not None:
        found["flops"] = one.flops
    if len(one.step.nodes) > 1:
        found["nodes"] = len(one.step.nodes)
    if node.source is not None:
        found["source"] = str(node.source)
        found["line"] = node.source.text
    return found
