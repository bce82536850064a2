"""What was measured as tables in the terminal, as Markdown, and as a chart."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinygraph.cli.bench.alternating import ratio
from tinygraph.cli.bench.processes import Measured

Rows = Mapping[str, Mapping[str, Measured]]
OURS, TORCH = "compiled", "torch"
BEGIN, END = "<!-- tinygraph bench: begin -->", "<!-- tinygraph bench: end -->"
_WIDTH = 124  # of the tables, at least: what their longest words take


def ratio_to(row: Mapping[str, Measured], name: str) -> float | None:
    """The time of the compiled step over that of a candidate, or None where there is none."""
    if not row[OURS].seconds or not row[name].seconds:
        return None
    return ratio({one: row[one].seconds for one in (OURS, name)}, OURS, name)


def tables(title: str, rows: Rows, names: Sequence[str]) -> None:
    """Print the ratios; below them first calls, memory, and why something is missing."""
    from rich.console import Console
    from rich.table import Table

    names = _present(rows, names)
    others = [name for name in names if name != OURS]
    times = Table(title=f"{title}; ratios to", title_justify="left")
    besides = Table(
        title="First call in seconds / the most memory of its process in MB", title_justify="left"
    )
    times.add_column("", no_wrap=True)
    times.add_column(f"{OURS}, ms", justify="right")
    besides.add_column("", no_wrap=True)
    for name in others:
        times.add_column(name, justify="right")
    for name in names:
        besides.add_column(name, justify="right")
    for label, row in rows.items():
        times.add_row(label, _milliseconds(row), *(_shown(ratio_to(row, name)) for name in others))
        besides.add_row(label, *(_besides(row[name]) for name in names))
    console = Console()
    console = Console(width=max(console.width, _WIDTH))
    console.print(times)
    console.print(besides)
    reasons: dict[str, list[str]] = {}
    for label, row in rows.items():
        for name, one in row.items():
            if one.missing:
                reasons.setdefault(f"no {name}: {one.missing}", []).append(label.partition(",")[0])
    for reason, labels in reasons.items():
        where = "" if len(labels) == len(rows) else f" ({'; '.join(labels)})"
        console.print(reason + where, markup=False, highlight=False)


def _present(rows: Rows, names: Sequence[str]) -> list[str]:
    """The candidates of which there are numbers."""
    return [name for name in names if name == OURS or any(row[name].seconds for row in rows.values())]


def markdown(rows: Rows, names: Sequence[str]) -> str:
    """The ratios as a table of Markdown, PyTorch's also at its best."""
    others = [name for name in _present(rows, names) if name != OURS]
    best = sum(name.startswith(TORCH) for name in others) > 1
    heads = [f"to {name}" for name in others] + ["to PyTorch at its best"] * best
    lines = [
        f"| | {OURS}, ms | " + " | ".join(heads) + " |",
        "|---" * (len(heads) + 2) + "|",
    ]
    for label, row in rows.items():
        ratios = {name: ratio_to(row, name) for name in others}
        cells = [_milliseconds(row), *map(_shown, ratios.values())]
        if best:
            found = [ratio for name, ratio in ratios.items() if name.startswith(TORCH) and ratio is not None]
            cells.append(f"**{max(found):.2f}**" if found else "-")
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def besides(rows: Rows, names: Sequence[str]) -> str:
    """First calls and memory as a table of Markdown."""
    names = _present(rows, names)
    lines = ["| first call, s / memory, MB | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for label, row in rows.items():
        lines.append(f"| {label} | " + " | ".join(_besides(row[name]) for name in names) + " |")
    return "\n".join(lines)


def has_marks(path: Path) -> bool:
    """Whether a file has the two marks, in their order."""
    return path.is_file() and END in path.read_text(encoding="utf-8").partition(BEGIN)[2]


def write_into(path: Path, text: str) -> None:
    """Put a text between the two marks of a file."""
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    path.write_text(f"{before}{BEGIN}\n{text.strip()}\n{END}{after}", encoding="utf-8")


def chart(title: str, machine: str, rows: Rows, names: Sequence[str], path: Path) -> None:
    """Draw the ratios as bars from 1, to the left where ours is faster; half and twice are equally far from it."""
    import textwrap

    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter

    others = [name for name in _present(rows, names) if name != OURS]
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


def _milliseconds(row: Mapping[str, Measured]) -> str:
    """The median of ours."""
    ours = row[OURS].seconds
    return f"{statistics.median(ours) * 1e3:.3g}" if ours else "-"


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _besides(one: Measured) -> str:
    return f"{one.first:.2f} / {one.peak / 1e6:.0f}" if one.seconds else "-"
