"""`Run`: a training in progress, as callbacks see it and as checkpoints keep it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tinygraph.errors import StateDictError
from tinygraph.nn import Module
from tinygraph.optim import Optimizer
from tinygraph.training.checkpoints import load_checkpoint, read_notes
from tinygraph.training.history import Epoch, History
from tinygraph.training.measuring import Means

if TYPE_CHECKING:
    from tinygraph.training.callbacks import Callback


class Run:
    """A training in progress, as callbacks see it.

    Attributes:
        model, optimizer, data, history: of the training; the data in batches.
        callbacks: of the training.
        epoch, batch: numbers of the present ones, from 1.
        loss: of the last batch.
        means: of the present epoch so far; None between epochs.
        whole: whether no batch is half done.
    """

    def __init__(
        self, model: Module, optimizer: Optimizer, data: Iterable[Any], callbacks: Sequence[Callback] = ()
    ) -> None:
        self.model = model
        self.optimizer = optimizer
        self.data = data
        self.callbacks = callbacks
        self.history = History()
        self.epoch = self.batch = 0
        self.loss = math.nan
        self.means: Means | None = None
        self.stopped = False
        self.whole = True

    def notes(self) -> dict[str, Any]:
        """What a checkpoint keeps of a training besides model, optimizer and data: `go_on_from` reads it."""
        found: dict[str, Any] = {
            "history": [asdict(epoch) for epoch in self.history.epochs],
            "batch": 0 if self.means is None else self.batch,
            "means": None if self.means is None else self.means.of_each(),
            "callbacks": [type(one).__name__ for one in self.callbacks],
        }
        for i, callback in enumerate(self.callbacks):
            found |= {f"callback/{i}/{name}": value for name, value in callback.state_dict().items()}
        return found

    def go_on_from(self, path: str | Path, generators: Mapping[str, Any] | None = None) -> None:
        """Go on from a checkpoint as if nothing had happened in between.

        Raises:
            FileFormatError, StateDictError: see `load_checkpoint`; or it was written with other callbacks.
        """
        notes = read_notes(path)
        names = [type(one).__name__ for one in self.callbacks]
        if notes.get("callbacks", names) != names:
            raise StateDictError(
                f"{path} was written with the callbacks {', '.join(notes['callbacks'])}, and this training has "
                f"{', '.join(names)}: give the same in the same order"
            )
        self.epoch = load_checkpoint(path, self.model, self.optimizer, data=self.data, generators=generators)
        self.history.epochs = [Epoch(**epoch) for epoch in notes.get("history", [])]
        if notes.get("means") is not None:
            self.batch, self.means = notes["batch"], Means.own_of(notes["means"])
        for i, callback in enumerate(self.callbacks):
            own = {name: value for name, value in notes.items() if name.startswith(f"callback/{i}/")}
            callback.load_state_dict({name.split("/", 2)[2]: value for name, value in own.items()})

    def stop(self, reason: str) -> None:
        """End the training after the present batch or epoch."""
        self.stopped = True
        self.history.message = f"stopped after epoch {self.epoch}: {reason}"
