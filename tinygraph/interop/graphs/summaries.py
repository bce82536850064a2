"""A graph as a table of text: one row a node, and totals."""

from __future__ import annotations

import io

import numpy as np

from tinygraph.analysis.kept import Kept
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, is_recorded
from tinygraph.core.types import type_of
from tinygraph.errors import printable

MAX_ROWS = 1000
MAX_OUTPUTS = 20


def summary(graph: Graph) -> str:
    """A table of the graph's leaves and nodes: number, name or scope, op, settings, output, parameters, source line.

    Graphs of more than a thousand nodes show their first and last rows; the totals count everything.

    >>> import tinygraph as tg
    >>> print(summary(tg.capture(lambda x: x * 2.0, 1.0)).splitlines()[-1])
    1 op, 1 leaf, 0 parameters (0 elements, 0 bytes)
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        title=graph.name and Text(printable(graph.name, keep="")),
        title_justify="left",
        pad_edge=False,
    )
    for column in ("#", "name", "op", "settings", "output", "parameters", "source"):
        table.add_column(column, justify="right" if column in ("#", "parameters") else "left", no_wrap=True)
    rows = list(enumerate(graph.nodes))
    hidden = len(rows) - MAX_ROWS
    for number, node in rows if hidden <= 0 else rows[: MAX_ROWS // 2]:
        table.add_row(*map(Text, (str(number), *map(_short, _row(node)))))
    if hidden > 0:
        table.add_row("", Text(f"... {hidden} more"))
        for number, node in rows[-MAX_ROWS // 2 :]:
            table.add_row(*map(Text, (str(number), *map(_short, _row(node)))))
    return "\n".join([as_text(table), *_outputs(graph), _totals(graph)])


def as_text(table: object) -> str:
    """A rich table as plain text, as wide as it needs to be."""
    from rich.console import Console

    console = Console(file=io.StringIO(), width=10_000, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines() if line.strip())


def _row(node: Node) -> tuple[str, ...]:
    output = ", ".join(map(str, node.output_types))
    if isinstance(node, Leaf):
        count = str(node.types.size) if node.requires_grad and node.kind != "input" else ""
        return node.name or "", node.kind, "", output, count, ""
    path = "/".join(name if not number else f"{name}.{number}" for name, number in node.scope)
    name = f"{path}/{node.name}" if path and node.name else node.name or path
    settings = ", ".join(f"{key}={value!r}" for key, value in node.settings.items())
    op = node.op.name if node.phase == "forward" else f"{node.op.name} ({node.phase})"
    return name, op, settings, output, "", str(node.source or "")


def _outputs(graph: Graph) -> list[str]:
    """What the outputs are, by the numbers of rows, where that is not simply the last row."""
    names, number = graph.output_names, {id(node): i for i, node in enumerate(graph.nodes)}
    plain = [(name, repr(value)) for name, value in graph.plain_results]
    if not plain and len(names) == 1 and not names[0]:
        (out,) = graph.outputs
        if is_recorded(out) and not isinstance(edge_node(out), Leaf):
            return []
    found = []
    for i in graph.result_order:
        if i < 0:
            found.append(_short("{} = {}".format(*plain[~i])))
            continue
        name, out = names[i], graph.outputs[i]
        if is_recorded(out):
            port = f".{edge_index(out)}" if len(edge_node(out).output_types) > 1 else ""
            what = f"#{number[id(edge_node(out))]}{port}"
        else:
            what = repr(out) if np.ndim(out) == 0 else str(type_of(out))
        found.append(_short(f"{name or i} = {what}"))
    hidden = len(found) - MAX_OUTPUTS
    return [f"outputs: {', '.join(found[:MAX_OUTPUTS])}{f', and {hidden:,} more' if hidden > 0 else ''}"]


def _short(cell: str) -> str:
    cell = printable(cell, keep="")
    return cell if len(cell) <= 60 else f"{cell[:57]}..."


def _totals(graph: Graph) -> str:
    leaves, parameters = len(graph.leaves), graph.parameters
    ops = len(graph.nodes) - leaves
    elements, size = sum(p.size for p in parameters), sum(p.nbytes for p in parameters)
    kept = Kept(graph).nbytes
    return (
        f"{_count(ops, 'op')}, {leaves} lea{'f' if leaves == 1 else 'ves'}, {_count(len(parameters), 'parameter')} "
        f"({elements:,} elements, {size:,} bytes){f', {kept:,} bytes kept for a backward pass' if kept else ''}"
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
