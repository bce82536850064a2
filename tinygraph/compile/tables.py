"""Plans as text tables."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tinygraph.compile.plan import Plan


def plan_table(plan: Plan, seconds: Sequence[float] | None = None) -> str:
    """A plan's schedule, one line a step."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=repr(plan)[1:-1], title_justify="left", box=None, header_style="bold")
    for column in ("step", "op", "phase", "kernel", "result", "bytes"):
        table.add_column(column, justify="right" if column in ("step", "bytes") else "left", no_wrap=True)
    if seconds is not None:
        table.add_column("time", justify="right")
        table.add_column("share", justify="right")
    total = sum(seconds or ()) or 1.0
    for i, step in enumerate(plan.steps):
        types = ", ".join(map(str, step.node.output_types))
        size = f"{sum(one.nbytes for one in step.node.output_types):,}"
        row = [str(i), step.node.op.name, step.node.phase, step.kernel.name, types, size]
        if seconds is not None:
            row += [f"{seconds[i] * 1e6:.1f} us", f"{seconds[i] / total:.0%}"]
        table.add_row(*row)
    buffer = io.StringIO()
    Console(file=buffer, width=140, highlight=False).print(table)
    return buffer.getvalue()
