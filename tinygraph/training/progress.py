"""Showing a training as it runs: a bar on a terminal, a line an epoch elsewhere. rich is imported on first use."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

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


def make_display(progress: object, epochs: int) -> Silent:
    """What `fit(progress=...)` asks for: True, False, or a rich Console to write to."""
    if progress is False or progress is None:
        return Silent()
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
