"""A training's history as curves and as a table: matplotlib (the extra `plot`) is imported when it is asked for."""

from __future__ import annotations

import html
import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tinygraph.errors import DrawingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tinygraph.training.history import Epoch, History

# Colours that stand for names of a page's style; `adapted` exchanges them.
INK, FAINT, FIRST, SECOND = "#1b1f24", "#adb5be", "#1971c3", "#d9480e"
NAMES = {INK: "var(--ink)", FAINT: "var(--line)", FIRST: "var(--minus)", SECOND: "var(--plus)"}
STYLE: dict[str, Any] = {
    "font.family": ["sans-serif"],
    "font.size": 11,
    "svg.fonttype": "none",  # letters stay letters: they can be read aloud, searched and take the page's font
    "svg.hashsalt": "tinygraph",  # the same file for the same numbers
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.titlesize": 12,
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "grid.alpha": 0.35,
    "text.color": INK,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 2,
    "legend.frameon": False,
}
INSTALL_HINT = "The training curves need matplotlib: pip install matplotlib (or the extra `plot`)"


class Panel(NamedTuple):
    """One diagram: a line for each set of samples, over the epochs.

    Attributes:
        series: name of a set (training, validation) -> its number after each epoch, None where there is none.
        scale: what numbers are multiplied by.
    """

    title: str
    unit: str
    series: Mapping[str, Sequence[float | None]]
    scale: float = 1
    logarithmic: bool = False


def drawn(panels: Sequence[Panel]) -> Figure:
    """Diagrams side by side.

    Raises:
        DrawingError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DrawingError(INSTALL_HINT) from error
    with mpl.rc_context(cast(Any, STYLE)):  # matplotlib lists every name as a type
        figure = Figure(figsize=(4.5 * len(panels), 3.4), layout="constrained")
        for axes, panel in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            _draw(axes, panel)
    return figure


def _draw(axes: Any, panel: Panel) -> None:
    for (name, values), color in zip(panel.series.items(), (FIRST, SECOND), strict=False):
        known = [(i + 1, panel.scale * value) for i, value in enumerate(values) if value is not None]
        if known:
            draw = axes.semilogy if panel.logarithmic else axes.plot
            draw(*zip(*known, strict=True), color=color, label=name, marker="o" if len(known) < 3 else None)
    axes.set(title=panel.title, xlabel="epoch", ylabel=panel.unit)
    axes.xaxis.get_major_locator().set_params(integer=True)
    if axes.get_lines():
        axes.legend()


def loss_and_accuracy(
    losses: Mapping[str, Sequence[float | None]],
    accuracies: Mapping[str, Sequence[float | None]],
    loss: str = "loss",
) -> list[Panel]:
    """The two diagrams of a classifier, or the first alone where no accuracy is known; `loss` is what was trained."""
    panels = [Panel("Loss", loss, losses, logarithmic=_all_positive(losses))]
    if any(value is not None for values in accuracies.values() for value in values):
        panels.append(Panel("Accuracy", "right answers in %", accuracies, scale=100))
    return panels


def _all_positive(series: Mapping[str, Sequence[float | None]]) -> bool:
    values = [value for values in series.values() for value in values if value is not None]
    return bool(values) and min(values) > 0


def curves(history: History) -> Figure:
    """Loss, and accuracy where there is one, over the epochs.

    Raises:
        DrawingError: matplotlib is not installed.
    """
    losses: dict[str, Sequence[float | None]] = {
        "training": history.losses,
        "validation": history.validation_losses,
    }
    return drawn(
        loss_and_accuracy(
            losses, {"training": history.accuracies, "validation": history.validation_accuracies}
        )
    )


def svg_of(figure: Figure, transparent: bool = False) -> str:
    """A figure as an SVG file's text, the same for the same numbers."""
    import matplotlib as mpl

    file = io.StringIO()
    with mpl.rc_context(cast(Any, STYLE)):
        figure.savefig(
            file, format="svg", transparent=transparent, metadata={"Date": None, "Creator": "tinygraph"}
        )
    return file.getvalue()


def adapted(svg_text: str) -> str:
    """The same diagrams for a page that has light and dark colours: an SVG element that uses their names."""
    for color, name in NAMES.items():
        svg_text = svg_text.replace(color, name)
    return svg_text[svg_text.index("<svg") :]


def shown(history: History) -> str:
    """The curves and the table as HTML."""
    try:
        text = svg_of(curves(history))
        picture = text[text.index("<svg") :]
    except DrawingError:
        picture = ""
    columns = _columns(history.epochs)
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{_written(values[i])}</td>" for values in columns.values()) + "</tr>"
        for i in range(len(history.epochs))
    )
    message = f"<p>{html.escape(history.message)}</p>" if history.message else ""
    return f"{picture}<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{message}"


def _columns(epochs: list[Epoch]) -> dict[str, list[float | None]]:
    """What the table shows: columns in which there is something."""
    names = ["loss", "accuracy", "validation_loss", "validation_accuracy", "rate", "seconds"]
    columns: dict[str, list[float | None]] = {"epoch": [epoch.number for epoch in epochs]}
    columns |= {name.replace("_", " "): [getattr(epoch, name) for epoch in epochs] for name in names}
    for name in epochs[-1].metrics if epochs else ():
        columns[name] = [epoch.metrics.get(name) for epoch in epochs]
    return {name: values for name, values in columns.items() if any(value is not None for value in values)}


def _written(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
