"""`History`: what happened in a training, epoch by epoch, and why it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from tinygraph.training.curves import curves_html


@dataclass(frozen=True)
class Epoch:
    """One epoch's results. Validation results are None without validation data, accuracies None without classes.

    Attributes:
        number: from 1.
        loss, accuracy: means over the training batches, each seen before its update.
        validation_loss, validation_accuracy: of the validation data, afterwards.
        rate: the learning rate of the first group.
        seconds: how long it took, validation included.
    """

    number: int
    loss: float
    accuracy: float | None
    validation_loss: float | None
    validation_accuracy: float | None
    rate: float
    seconds: float


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

    def _repr_html_(self) -> str:
        """Its curves, where a notebook's cell ends with it."""
        if not self.epochs:
            return "<p>no epoch was completed</p>"
        end = ", interrupted" if self.interrupted else f": {self.message}" if self.message else ""
        seconds = sum(epoch.seconds for epoch in self.epochs)
        words = f"{len(self.epochs)} epochs in {seconds:.1f} s{end}"
        return curves_html(
            {
                "loss": {"training": self.losses, "validation": self.validation_losses},
                "accuracy": {"training": self.accuracies, "validation": self.validation_accuracies},
            },
            words,
        )
