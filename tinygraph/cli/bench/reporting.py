"""What was measured as tables in the terminal, as Markdown, and as a chart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinygraph.cli.bench.alternating import ratio
from tinygraph.cli.bench.processes import Measured

Rows = Mapping[str, Mapping[str, Measured]]
OURS = "compiled"


def ratio_to(row: Mapping[str, Measured], name: str) -> float | None:
    """The time of the compiled step over that of a candidate, or None where there is none."""
    if not row[OURS].seconds or not row[name].seconds:
        return None
    return ratio({one: row[one].seconds for one in (OURS, name)}, OURS, name)


def tables(title: str, rows: Rows, names: Sequence[str]) -> None:
    """Print the ratios; below them first calls, memory, and why something is missing."""
    from rich.console import Console
    from rich.table import Table

    others = [name for name in names if name != OURS]
    times = Table(title=title, title_justify="left")
    besides = Table(
        title="First call in seconds, and the most memory of its process in MB", title_justify="left"
    )
    times.add_column("")
    times.add_column(f"{OURS}, ms", justify="right")
    besides.add_column("")
    for name in others:
        times.add_column(f"ratio to {name}", justify="right")
    for name in names:
        besides.add_column(name, justify="right")
    for label, row in rows.items():
        ours = row[OURS].seconds
        middle = f"{statistics.median(ours) * 1e3:.3g}" if ours else "-"
        times.add_row(label, middle, *(_shown(ratio_to(row, name)) for name in others))
        besides.add_row(label, *(_besides(row[name]) for name in names))
    console = Console()
    console.print(times)
    console.print(besides)
    for label, row in rows.items():
        for name, one in row.items():
            if one.missing:
                console.print(f"{label}: no {name}: {one.missing}", markup=False, highlight=False)


def markdown(rows: Rows, names: Sequence[str]) -> str:
    """The ratios as a table of Markdown."""
    others = [name for name in names if name != OURS]
    lines = [
        f"| | {OURS}, ms | " + " | ".join(f"to {name}" for name in others) + " |",
        "|---" * (len(others) + 2) + "|",
    ]
    for label, row in rows.items():
        ours = row[OURS].seconds
        cells = [f"{statistics.median(ours) * 1e3:.3g}" if ours else "-"]
        cells += [_shown(ratio_to(row, name)) for name in others]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def chart(title: str, machine: str, rows: Rows, names: Sequence[str], path: Path) -> None:
    """Draw the ratios as bars from 1, to the left where ours is faster; half and twice are equally far from it."""
    import textwrap

    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    others = [name for name in names if name != OURS]
    figure = Figure(figsize=(9, 1.2 + 0.9 * len(rows)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / max(1, len(others))
    for i, name in enumerate(others):
        found = [(k, ratio_to(row, name)) for k, row in enumerate(rows.values())]
        places = [(k, value) for k, value in found if value is not None]
        heights = [k + i * height for k, _ in places]
        bars = axes.barh(heights, [value - 1 for _, value in places], height, left=1.0, label=name)
        axes.bar_label(bars, [f" {value:.2f} " for _, value in places], fontsize=7)
    axes.set_yticks([k + 0.4 - height / 2 for k in range(len(rows))], list(rows))
    axes.invert_yaxis()
    axes.set_xscale("log", base=2)
    axes.axvline(1.0, color="0.3", linewidth=1)
    axes.set_title(title, loc="left")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.margins(x=0.15)  # room for the numbers
    axes.set_xlabel("\n".join(textwrap.wrap(machine, 120)), fontsize=7)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _besides(one: Measured) -> str:
    return f"{one.first:.2f} / {one.peak / 1e6:.0f}" if one.seconds else "-"
