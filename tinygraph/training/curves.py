"""A training's history as curves and as a table: matplotlib (the extra `plot`) is imported when it is asked for."""

from __future__ import annotations

import html
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tinygraph.errors import DrawingError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tinygraph.training.history import Epoch, History


def curves(history: History) -> Figure:
    """Loss, and accuracy where there is one, over the epochs.

    Raises:
        DrawingError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DrawingError('curves need matplotlib: pip install "tinygraph-autodiff[plot]"') from error
    numbers = [epoch.number for epoch in history.epochs]
    panels: list[tuple[str, Sequence[float | None], Sequence[float | None]]] = [
        ("loss", history.losses, history.validation_losses)
    ]
    if any(value is not None for value in [*history.accuracies, *history.validation_accuracies]):
        panels.append(("accuracy", history.accuracies, history.validation_accuracies))
    figure = Figure(figsize=(4.2 * len(panels), 2.8), layout="constrained")
    for axes, (name, training, validation) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        for values, label, colour in (
            (training, "training", "#0072b2"),
            (validation, "validation", "#d55e00"),
        ):
            if any(value is not None for value in values):
                axes.plot(
                    numbers, values, label=label, color=colour, marker="o" if len(numbers) < 20 else None
                )
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
        if numbers:
            axes.legend()
    return figure


def shown(history: History) -> str:
    """The curves and the table as HTML."""
    try:
        text = io.StringIO()
        curves(history).savefig(text, format="svg")
        picture = text.getvalue().partition("<svg")[2]
        picture = f"<svg{picture}" if picture else ""
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
