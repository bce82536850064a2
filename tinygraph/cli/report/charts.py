"""The training curves, drawn by matplotlib (the extra `plot`) in one style that fits light and dark pages.

Pictures of arrays need no plotting library and are made in `pictures`.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, cast

from tinygraph.errors import DrawingError

# Colours that stand for names of the page's style; `adapt` exchanges them.
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


def curves_svg(losses: Mapping[str, Sequence[float]], accuracies: Mapping[str, Sequence[float]]) -> str:
    """Loss and accuracy against the epoch, side by side, as an SVG file's text.

    Args:
        losses: name of a set (training, validation) -> its loss after each epoch.
        accuracies: the same for the share of right answers, 0 to 1.

    Raises:
        DrawingError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise DrawingError(INSTALL_HINT) from error
    with mpl.rc_context(cast(Any, STYLE)):  # matplotlib lists every name as a type
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        left, right = figure.subplots(1, 2)
        _lines(left, losses, "Loss", "cross-entropy", scale=1)
        left.set_yscale("log")
        _lines(right, accuracies, "Accuracy", "right answers in %", scale=100)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": "tinygraph"})
    return file.getvalue()


def _lines(axes: Any, series: Mapping[str, Sequence[float]], title: str, unit: str, *, scale: float) -> None:
    for (name, values), color in zip(series.items(), (FIRST, SECOND), strict=False):
        epochs = range(1, len(values) + 1)
        marker = "o" if len(values) < 3 else None
        axes.plot(epochs, [scale * value for value in values], color=color, label=name, marker=marker)
    axes.set(title=title, xlabel="epoch", ylabel=unit)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()


def adapt(svg_text: str) -> str:
    """The same chart for a page that has light and dark colours: an SVG element that uses their names."""
    for color, name in NAMES.items():
        svg_text = svg_text.replace(color, name)
    return svg_text[svg_text.index("<svg") :]
