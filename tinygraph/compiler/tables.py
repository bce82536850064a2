"""Plans and their profiles as tables: text as wide as the terminal, or HTML for notebooks."""

from __future__ import annotations

import html
import io
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph.analysis.arena import ALIGNMENT
from tinygraph.analysis.kept import Kept
from tinygraph.analysis.units import BYTES, OPERATIONS, SECONDS
from tinygraph.compiler.profile import Profile, bytes_moved, operations_in
from tinygraph.core.node import Node, edge_index, edge_node, edge_type, is_recorded
from tinygraph.errors import printable

if TYPE_CHECKING:
    from tinygraph.compiler.plan import Iteration, Plan, Step

USUAL_WIDTH, LEAST_WIDTH = 140, 80
MOST_ROWS = 500  # longer tables show their beginning and end
# Steps that compute this many operations for each byte are bound by arithmetic: their rate is in FLOP/s.
INTENSE = 4


class Column(NamedTuple):
    """A column of a table: its title, its cells by the number of the step, and whether it may be cut off."""

    title: str
    cell: Callable[[int], str]
    number: bool = False
    total: str = ""


def text_table(
    plan: Plan, profile: Profile | None = None, *, slowest: int | None = None, width: int | None = None
) -> str:
    """A plan's schedule as text, one line a step; see `Plan.table` and `Profile.table`."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    columns, order = _columns(plan, profile), _order(plan, profile, slowest)
    table = Table(box=None, header_style="bold", show_footer=True, padding=(0, 1, 0, 0), pad_edge=False)
    for column in columns:
        table.add_column(
            column.title,
            Text(column.total),
            justify="right" if column.number else "left",
            no_wrap=column.number,
        )
    for cells in _rows(columns, order):
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells))
    if width is None:
        width = max(LEAST_WIDTH, shutil.get_terminal_size((USUAL_WIDTH, 24)).columns)
    buffer = io.StringIO()
    Console(file=buffer, width=width, highlight=False, color_system=None, legacy_windows=False).print(table)
    lines = [
        _title(plan, profile),
        *(line.rstrip() for line in buffer.getvalue().splitlines()),
        *_notes(plan, profile),
    ]
    return printable("\n".join(lines))


def html_table(plan: Plan, profile: Profile | None = None) -> str:
    """The same for notebooks."""
    columns, order = _columns(plan, profile), _order(plan, profile, None)

    def row(tag: str, cells: Sequence[str]) -> str:
        styled = (
            f'<{tag} style="text-align: {"right" if column.number else "left"}">{html.escape(cell)}</{tag}>'
            for column, cell in zip(columns, cells, strict=True)
        )
        return f"<tr>{''.join(styled)}</tr>"

    body = "".join(row("td", cells) for cells in _rows(columns, order))
    return (
        f"<table><caption>{html.escape(_title(plan, profile))}</caption>"
        f"<thead>{row('th', [column.title for column in columns])}</thead><tbody>{body}</tbody>"
        f"<tfoot>{row('th', [column.total for column in columns])}</tfoot></table>"
        + "".join(f"<p>{html.escape(note)}</p>" for note in _notes(plan, profile))
    )


def _notes(plan: Plan, profile: Profile | None) -> list[str]:
    """What kernels say of themselves, each once: how they won, how much they round; and what iterations are made of."""
    steps: dict[str, list[int]] = {}
    for i, step in enumerate(plan.steps):
        for note in step.kernel.notes:
            steps.setdefault(f"{step.kernel.name}: {note}", []).append(i)
    notes = [f"{note} (step{'s' * (len(of) > 1)} {', '.join(map(str, of))})" for note, of in steps.items()]
    inside = {} if profile is None else profile.inside
    return notes + [f"{plan.steps[i].kernel.name}: {_iteration(one)} (step {i})" for i, one in inside.items()]


def _iteration(one: Iteration) -> str:
    """One iteration in words, equal kernels together, the slowest first."""
    times: dict[str, list[float]] = {}
    for name, seconds in one.kernels:
        times.setdefault(name, []).append(seconds)
    words = []
    for name in sorted(times, key=lambda name: -sum(times[name])):
        several = f" ({len(times[name])})" if len(times[name]) > 1 else ""
        words.append(f"{name}{several} {SECONDS.text(sum(times[name]))}")
    return f"{one.steps:,} iterations of {', '.join(words) or 'nothing'}"


def _rows(columns: Sequence[Column], order: Sequence[int]) -> Iterator[list[str]]:
    """The cells of each step, with one row for the middle of a long table."""
    hidden = len(order) - MOST_ROWS
    shown = order if hidden <= 0 else order[: MOST_ROWS // 2]
    yield from ([column.cell(i) for column in columns] for i in shown)
    if hidden > 0:
        yield ["...", f"{hidden:,} more", *[""] * (len(columns) - 2)]
        yield from ([column.cell(i) for column in columns] for i in order[-(MOST_ROWS // 2) :])


def _title(plan: Plan, profile: Profile | None) -> str:
    arena = f"{len(plan.steps):,} steps, arena of {BYTES.text(plan.arena_bytes)}"
    if any(node.phase == "backward" for node in plan.graph.nodes):
        arena += f", {BYTES.text(Kept(plan.graph).nbytes)} kept for backward"
    if profile is None:
        return f"Plan: {arena}; a buffer +offset is a place in it"
    runs = f"median of {profile.repeats} runs" if profile.repeats > 1 else "one run"
    name = f" of {profile.name}" if profile.name else ""
    return f"Profile{name}: {SECONDS.text(profile.seconds)} ({runs}), {arena}"


def _order(plan: Plan, profile: Profile | None, slowest: int | None) -> Sequence[int]:
    order = range(len(plan.steps))
    if profile is None or slowest is None:
        return order
    return sorted(order, key=lambda i: -profile.steps[i].seconds)[:slowest]


def _columns(plan: Plan, profile: Profile | None) -> list[Column]:
    """What the table says of each step."""
    from tinygraph.drawing.model.labels import usual_dtype

    steps = plan.steps
    usual = usual_dtype(plan.graph.nodes)
    moved = [bytes_moved(step) for step in steps]
    counts = [operations_in(step) for step in steps]
    columns = [
        Column("step", str, True, "all"),
        Column("op", lambda i: _op(steps[i])),
        Column("phase", lambda i: steps[i].node.phase),
        Column("kernel", lambda i: _kernel(steps[i])),
        Column("shapes", lambda i: _shapes(steps[i], usual)),
        Column("bytes", lambda i: BYTES.text(moved[i]) if moved[i] else "", True, BYTES.text(sum(moved))),
        Column("flops", lambda i: _flops(counts[i]), True, _flops(sum(count or 0 for count in counts))),
    ]
    if profile is None:
        buffers = _Buffers(plan)
        return [*columns, Column("buffer", lambda i: buffers.of(steps[i]))]
    found, total = profile.steps, profile.seconds or 1.0
    return [
        *columns,
        Column("time", lambda i: SECONDS.text(found[i].seconds), True, SECONDS.text(profile.seconds)),
        Column("share", lambda i: f"{found[i].seconds / total:.0%}", True),
        Column("rate", lambda i: _rate(moved[i], counts[i], found[i].seconds), True),
    ]


def _op(step: Step) -> str:
    if len(step.nodes) < 2:
        return step.node.op.name
    return f"{len(step.nodes)} ops on numbers" if not step.node.shape else f"{step.node.op.name} and alike"


def _kernel(step: Step) -> str:
    """The kernel's name, without the op's again."""
    name, own = step.kernel.name, f"{step.node.op.name} "
    return f"its {name.removeprefix(own)}" if name.startswith(own) else name


def _shapes(step: Step, usual: np.dtype[Any] | None) -> str:
    """The results of a step, and the operands they are made of: what is cut off first comes last."""
    from tinygraph.drawing.model.labels import type_text

    def written(types: Any) -> str:
        return type_text(types, usual, ("shapes", "dtypes"))

    results = ", ".join(map(written, step.node.output_types))
    operands = [written(edge_type(entry)) for entry in step.node.inputs if is_recorded(entry)]
    return f"{results} ← {', '.join(operands)}" if operands and len(step.nodes) == 1 else results


def _flops(count: int | None) -> str:
    return OPERATIONS.text(count).strip() if count else "" if count == 0 else "?"


def _rate(nbytes: int, flops: int | None, seconds: float) -> str:
    """Operations or bytes a second, whichever is the bound that is nearer."""
    if not seconds or not nbytes:
        return ""
    if flops is not None and flops >= INTENSE * nbytes:
        return f"{OPERATIONS.text(flops / seconds)}FLOP/s"
    return f"{BYTES.text(nbytes / seconds)}/s"


class _Buffers:
    """Where the results of a plan's steps are."""

    def __init__(self, plan: Plan) -> None:
        begin = _address(plan.arena)
        self._start = begin + -begin % ALIGNMENT
        self._end = begin + plan.arena.nbytes
        self._states = {
            _address(leaf.value): leaf.name or f"a {leaf.kind}"
            for leaf in plan.graph.leaves
            if isinstance(leaf.value, np.ndarray)
        }
        self._parameters = {leaf.name for leaf in plan.graph.leaves if leaf.kind == "parameter"}
        self._gradients = {
            (id(edge_node(value)), edge_index(value)): f"{leaf.name or 'a tensor'}.grad"
            for leaf, value in plan.graph.gradients
            if value is not None and is_recorded(value)
        }

    def of(self, step: Step) -> str:
        """The places of a step's results; of a joint update of many states, parameters come first."""
        rest, found = list(step.outputs), list[str]()
        for node in step.nodes if len(step.nodes) > 1 and rest else (step.node,):
            count = len(node.output_types) if len(step.nodes) > 1 else len(rest)
            found += self._places(node, rest[:count])
            rest = rest[count:]
        return ", ".join(sorted(dict.fromkeys(found), key=lambda place: place not in self._parameters))

    def _places(self, node: Node, outputs: Sequence[np.ndarray[Any, Any]]) -> Iterator[str]:
        for i, array in enumerate(outputs):
            address = _address(array)
            if self._start <= address < self._end:
                yield f"+{address - self._start:,}"
            else:
                yield self._states.get(address) or self._gradients.get((id(node), i), "its own")


def _address(array: np.ndarray[Any, Any]) -> int:
    return int(array.__array_interface__["data"][0])
