"""Callbacks: what runs between the batches and epochs of a training. Early stopping, the best model, checkpoints."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygraph.core.process_group import processes
from tinygraph.errors import SettingError
from tinygraph.interop import save_state
from tinygraph.interop.states import check_state_path
from tinygraph.training.checkpoints import save_checkpoint
from tinygraph.training.history import Epoch

if TYPE_CHECKING:
    from tinygraph.training.run import Run


class Callback:
    """Something to do at certain moments of a training; every method does nothing until overridden.

    `run` has `.model`, `.optimizer`, `.history`, `.epoch` and `.batch` (numbers from 1), `.loss` (of the last batch),
    and `.stop(reason)`.
    """

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: numbers, words and arrays by name."""
        return {}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave."""

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

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        self.best, self.best_epoch = float(state_dict["best"]), int(state_dict["best_epoch"])

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

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {f"model/{name}": value for name, value in self.state.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        super().load_state_dict(state_dict)
        values = {name: value for name, value in state_dict.items() if name.startswith("model/")}
        self.state = {name.removeprefix("model/"): value for name, value in values.items()}

    def on_epoch_end(self, run: Run) -> None:
        if self.improved(run.history.epochs[-1]):
            self.state = run.model.state_dict()
            if self.path is not None and processes().rank == 0:
                save_state(self.state, self.path)

    def on_train_end(self, run: Run) -> None:
        if self.state:
            run.model.load_state_dict(self.state)


class Checkpoint(Callback):
    """Writes all that a training goes on from to a file every few epochs or batches; see `save_checkpoint`.

    The file is replaced as a whole. `load_checkpoint` reads it; with `resume` the training itself goes on from it, as
    if it had never been interrupted: the same batches, draws, history and state of callbacks.

    Args:
        path: the file (.npz, or safetensors); "{epoch}" in its name stands for the number of the epoch.
        every: how many epochs lie between two writes.
        generators: those that `save_checkpoint` cannot find, by name.
        every_batches: write within epochs too, after so many batches.
        keep: how many of the files with "{epoch}" in their name are kept; all by default.
        best: a number of the epochs, such as "validation_loss": its best epoch is kept in a file of its own beside,
            whose name ends in "-best".
        resume: go on from the file, or the last of them, if it is there.

    Raises:
        SettingError: numbers below 1, or `keep` without "{epoch}" in the name.
    """

    def __init__(
        self,
        path: str | Path,
        every: int = 1,
        generators: Mapping[str, Any] | None = None,
        *,
        every_batches: int | None = None,
        keep: int | None = None,
        best: str | None = None,
        resume: bool = False,
    ) -> None:
        for name, value in (("every", every), ("every_batches", every_batches), ("keep", keep)):
            if value is not None and value < 1:
                raise SettingError(f"Checkpoint: {name}={value} must be 1 or more")
        if keep is not None and "{epoch}" not in str(path):
            raise SettingError(
                f'Checkpoint: keep={keep} needs "{{epoch}}" in the name of the file, not {path}'
            )
        check_state_path(path)
        self.path = path
        self.every = every
        self.generators = generators
        self.every_batches = every_batches
        self.keep = keep
        self.resume = resume
        self.watch = _Watch(best) if best is not None else None

    def state_dict(self) -> dict[str, Any]:
        return {} if self.watch is None else self.watch.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        if self.watch is not None and state_dict:
            self.watch.load_state_dict(state_dict)

    def on_train_begin(self, run: Run) -> None:
        folder = Path(self._named(0)).parent
        if not folder.is_dir():  # said now, and not when an epoch would be lost
            raise FileNotFoundError(errno.ENOENT, "the folder of the checkpoint is missing", str(folder))
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, "the folder of the checkpoint cannot be written", str(folder))
        last = self._last() if self.resume else None
        if last is not None:
            run.go_on_from(last, self.generators)

    def on_batch_end(self, run: Run) -> None:
        if self.every_batches is not None and run.batch % self.every_batches == 0:
            self._write(self._named(run.epoch), run)

    def on_epoch_end(self, run: Run) -> None:
        better = self.watch is not None and self.watch.improved(run.history.epochs[-1])
        if better:
            place = Path(str(self.path).replace("{epoch}", ""))
            self._write(place.with_stem(f"{place.stem.rstrip('-_')}-best"), run)
        if run.epoch % self.every == 0:
            self._write(self._named(run.epoch), run)
            if self.keep is not None and processes().rank == 0:
                for path in self._files()[: -self.keep]:
                    path.unlink()

    def on_train_end(self, run: Run) -> None:
        if run.history.interrupted and run.whole:
            self._write(self._named(run.epoch), run)

    def _write(self, path: Path, run: Run) -> None:
        save_checkpoint(
            path,
            run.model,
            run.optimizer,
            epoch=run.epoch - bool(run.batch and run.means is not None),
            data=run.data,
            generators=self.generators,
            notes=run.notes(),
        )

    def _named(self, epoch: int) -> Path:
        return Path(str(self.path).replace("{epoch}", str(epoch)))

    def _files(self) -> list[Path]:
        """The files with "{epoch}" in their name that are there, the first epoch's first."""
        path = Path(self.path)
        before, _, after = path.name.partition("{epoch}")
        found = {}
        for one in path.parent.glob("*"):
            number = one.name.removeprefix(before).removesuffix(after)
            if one.name == f"{before}{number}{after}" and number.isdecimal():
                found[int(number)] = one
        return [found[number] for number in sorted(found)]

    def _last(self) -> Path | None:
        if "{epoch}" in str(self.path):
            return next(reversed(self._files()), None)
        return Path(self.path) if Path(self.path).exists() else None
