"""`History`: what happened in a training, epoch by epoch, and why it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Epoch:
    """One epoch's results. Validation results are None without validation data, accuracies None without classes.

    Attributes:
        number: from 1.
        loss, accuracy: means over the training batches, each seen before its update.
        validation_loss, validation_accuracy: of the validation data, afterwards.
        rate: the learning rate of the first group.
        seconds: how long it took, validation included.
        metrics: further ones of the validation data, by name.
    """

    number: int
    loss: float
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    rate: float
    seconds: float
    metrics: dict[str, float] = field(default_factory=dict)


@dataclass
class History:
    """The epochs that were completed.

    Attributes:
        epochs: their results.
        interrupted: whether Ctrl-C ended the training.
        message: why it ended, where it ended early.

    >>> history = History([Epoch(1, 0.5, 0.9, None, None, 0.1, 2.0)])
    >>> history.losses, history.accuracies
    ([0.5], [0.9])
    """

    epochs: list[Epoch] = field(default_factory=list)
    interrupted: bool = False
    message: str | None = None

    @property
    def losses(self) -> list[float]:
        """The training loss of each epoch."""
        return [epoch.loss for epoch in self.epochs]

    @property
    def accuracies(self) -> list[float | None]:
        """The training accuracy of each epoch."""
        return [epoch.accuracy for epoch in self.epochs]

    @property
    def validation_losses(self) -> list[float | None]:
        """The validation loss of each epoch."""
        return [epoch.validation_loss for epoch in self.epochs]

    @property
    def validation_accuracies(self) -> list[float | None]:
        """The validation accuracy of each epoch."""
        return [epoch.validation_accuracy for epoch in self.epochs]

    def plot(self) -> Figure:
        """The curves of loss and accuracy over the epochs, by matplotlib (the extra `plot`)."""
        from tinygraph.training.curves import curves

        return curves(self)

    def _repr_html_(self) -> str:
        """What a notebook shows: the table of epochs, with the curves above it where matplotlib is there."""
        from tinygraph.training.curves import shown

        return shown(self)
