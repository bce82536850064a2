"""Showing a training as it runs: a bar on a terminal or in a notebook, a line an epoch elsewhere.

rich and IPython are imported on first use.
"""

from __future__ import annotations

import html
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from tinygraph.training.history import Epoch

if TYPE_CHECKING:
    from rich.console import Console


class Silent:
    """Shows nothing; also what the others are made like."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def batch(
        self, epoch: int, done: int, total: int | None, loss: float, accuracy: float | None, speed: float
    ) -> None:
        """After a batch."""

    def epoch(self, result: Epoch) -> None:
        """After an epoch."""

    def say(self, text: str) -> None:
        """Anything else."""


class Lines(Silent):
    """A line for each epoch."""

    def __init__(self, console: Console, epochs: int) -> None:
        self.console = console
        self.epochs = epochs

    def epoch(self, result: Epoch) -> None:
        self.say(_line(result, self.epochs))

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class Bar(Lines):
    """A bar over all batches, with loss, accuracy, samples a second and the time left; a line for each epoch."""

    def __enter__(self) -> Bar:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.progress = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[numbers]}"), TimeRemainingColumn(),
            console=self.console, transient=True, refresh_per_second=8,
        )  # fmt: skip
        self.task = self.progress.add_task(f"epoch 1/{self.epochs}", total=None, numbers="")
        self.progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.progress.stop()

    def batch(
        self, epoch: int, done: int, total: int | None, loss: float, accuracy: float | None, speed: float
    ) -> None:
        shown = f"loss {loss:.4f}{_percent(accuracy)}  {speed:,.0f} samples/s"
        everything = None if total is None else total * self.epochs
        completed = done + (epoch - 1) * (total or 0)
        self.progress.update(
            self.task,
            description=f"epoch {epoch}/{self.epochs}",
            total=everything,
            completed=completed,
            numbers=shown,
        )


class NotebookBar(Silent):
    """In a notebook: one output, replaced as the training goes on - a bar, numbers, the time left, a line an epoch."""

    SECONDS = 0.125  # between two changes of the page

    def __init__(self, epochs: int) -> None:
        self.epochs, self.lines = epochs, list[str]()
        self._shown = 0.0

    def __enter__(self) -> NotebookBar:
        from IPython import display

        self._made: Any = display
        self._started = time.monotonic()
        self._output = self._made.display(self._made.HTML(""), display_id=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._show("")

    def batch(
        self, epoch: int, done: int, total: int | None, loss: float, accuracy: float | None, speed: float
    ) -> None:
        now = time.monotonic()
        if now - self._shown < self.SECONDS:
            return
        text = f"epoch {epoch}/{self.epochs}  loss {loss:.4f}{_percent(accuracy)}  {speed:,.0f} samples/s"
        bar = "<progress></progress>"
        if total:
            share = (done + (epoch - 1) * total) / (total * self.epochs)
            left = (now - self._started) * (1 - share) / share
            text += f"  {int(left // 60)}:{int(left % 60):02} left"
            bar = f'<progress value="{share:.4f}" max="1" style="width:16em"></progress>'
        self._shown = now
        self._show(f"<div>{bar} <code>{html.escape(text)}</code></div>")

    def epoch(self, result: Epoch) -> None:
        self.say(_line(result, self.epochs))

    def say(self, text: str) -> None:
        self.lines.append(text)
        self._show("")

    def _show(self, bar: str) -> None:
        said = html.escape("\n".join(self.lines))
        self._output.update(self._made.HTML(f'<pre style="margin:0">{said}</pre>{bar}'))


def _in_notebook() -> bool:
    """Whether a notebook's kernel runs this program."""
    module: Any = sys.modules.get("IPython")
    shell = None if module is None else module.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def make_display(progress: object, epochs: int) -> Silent:
    """What `fit(progress=...)` asks for: True, False, or a rich Console to write to."""
    if progress is False or progress is None:
        return Silent()
    if progress is True and _in_notebook():
        return NotebookBar(epochs)
    from rich.console import Console

    console = progress if isinstance(progress, Console) else Console()
    return (Bar if console.is_terminal else Lines)(console, epochs)


def _line(result: Epoch, epochs: int) -> str:
    text = f"epoch {result.number:>{len(str(epochs))}}/{epochs}  loss {result.loss:.4f}{_percent(result.accuracy)}"
    if result.validation_loss is not None:
        text += f"  validation loss {result.validation_loss:.4f}{_percent(result.validation_accuracy)}"
    return f"{text}  rate {result.rate:.3g}  {result.seconds:.1f} s"


def _percent(accuracy: float | None) -> str:
    return "" if accuracy is None else f"  accuracy {100 * accuracy:.1f} %"
