"""Callbacks: what runs between the batches and epochs of a training. Early stopping, the best model, checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygraph.errors import SettingError
from tinygraph.interop import save_state
from tinygraph.interop.states import check_state_path
from tinygraph.training.checkpoints import save_checkpoint
from tinygraph.training.history import Epoch

if TYPE_CHECKING:
    from tinygraph.training.fitting import Run


class Callback:
    """Something to do at certain moments of a training; every method does nothing until overridden.

    `run` has `.model`, `.optimizer`, `.history`, `.epoch` and `.batch` (numbers from 1), `.loss` (of the last batch),
    and `.stop(reason)`.
    """

    def on_train_begin(self, run: Run) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, run: Run) -> None:
        """Before the first batch of an epoch."""

    def on_batch_end(self, run: Run) -> None:
        """After each update."""

    def on_epoch_end(self, run: Run) -> None:
        """After each epoch; its results are `run.history.epochs[-1]`."""

    def on_train_end(self, run: Run) -> None:
        """At the end, also after Ctrl-C."""


class _Watch(Callback):
    """Follows one number of the epochs."""

    def __init__(self, monitor: str | None) -> None:
        if monitor is not None and monitor not in _MONITORS:
            raise SettingError(f"monitor is {monitor!r}; it can be {', '.join(_MONITORS)}")
        self.monitor = monitor
        self.best = float("inf")
        self.best_epoch = 0

    def improved(self, epoch: Epoch, by: float = 0.0) -> bool:
        """Whether this epoch is the best so far; takes note of it."""
        name = self.monitor or ("loss" if epoch.validation_loss is None else "validation_loss")
        found = getattr(epoch, name)
        if found is None:
            raise SettingError(f"{type(self).__name__} monitors {name}, which this training does not have")
        value = -found if name.endswith("accuracy") else found
        if not value < self.best - by:
            return False
        self.best, self.best_epoch = value, epoch.number
        return True


_MONITORS = ("loss", "accuracy", "validation_loss", "validation_accuracy")


class EarlyStopping(_Watch):
    """Stops when the monitored number has not improved for `patience` epochs.

    Args:
        patience: how many epochs without improvement are borne.
        monitor: "loss", "accuracy", "validation_loss" or "validation_accuracy"; by default the validation loss, or
            the training loss where there is none.
        min_delta: how much better counts as better.
    """

    def __init__(self, patience: int = 5, monitor: str | None = None, min_delta: float = 0.0) -> None:
        super().__init__(monitor)
        self.patience = patience
        self.min_delta = min_delta

    def on_epoch_end(self, run: Run) -> None:
        epoch = run.history.epochs[-1]
        if not self.improved(epoch, self.min_delta) and epoch.number - self.best_epoch >= self.patience:
            run.stop(f"no improvement for {self.patience} epochs, the best was epoch {self.best_epoch}")


class BestModel(_Watch):
    """Keeps the values of the best epoch and puts them back at the end.

    Args:
        monitor: as for `EarlyStopping`.
        path: a file that each new best is also written to (safetensors, or .npz).
    """

    def __init__(self, monitor: str | None = None, path: str | Path | None = None) -> None:
        super().__init__(monitor)
        if path is not None:
            check_state_path(path)
        self.path = path
        self.state: dict[str, Any] = {}

    def on_epoch_end(self, run: Run) -> None:
        if self.improved(run.history.epochs[-1]):
            self.state = run.model.state_dict()
            if self.path is not None:
                save_state(self.state, self.path)

    def on_train_end(self, run: Run) -> None:
        if self.state:
            run.model.load_state_dict(self.state)


class Checkpoint(Callback):
    """Writes all that a training goes on from to a file every few epochs; see `save_checkpoint`.

    The file is replaced as a whole. `load_checkpoint` reads it.

    Args:
        path: the file (.npz, or safetensors).
        every: how many epochs lie between two writes.
        generators: those that `save_checkpoint` cannot find, by name.
    """

    def __init__(self, path: str | Path, every: int = 1, generators: Mapping[str, Any] | None = None) -> None:
        if every < 1:
            raise SettingError(f"Checkpoint: every={every} must be 1 or more epochs")
        check_state_path(path)
        self.path = path
        self.every = every
        self.generators = generators

    def on_epoch_end(self, run: Run) -> None:
        if run.epoch % self.every == 0:
            save_checkpoint(
                self.path,
                run.model,
                run.optimizer,
                epoch=run.epoch,
                data=run.data,
                generators=self.generators,
            )
