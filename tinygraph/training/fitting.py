"""`fit`: the training loop. What happens around it - showing, saving, stopping early - is in callbacks and progress."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph import parallel
from tinygraph.compiler import compile as tg_compile
from tinygraph.core.process_group import processes
from tinygraph.core.state import manual_seed
from tinygraph.core.tensor import Tensor
from tinygraph.debugging import why
from tinygraph.errors import CaptureError, DataError, OpError, SettingError, TinygraphError
from tinygraph.nn import Module, functional, utils
from tinygraph.optim import Optimizer
from tinygraph.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from tinygraph.training.callbacks import Callback, Checkpoint
from tinygraph.training.history import Epoch, History
from tinygraph.training.measuring import (
    Loss,
    Means,
    batches,
    checked_pair,
    hits,
    in_mode,
    measure,
    noting,
    samples_in,
    scalar_loss,
    shared_out,
)
from tinygraph.training.metrics import Metric
from tinygraph.training.progress import Silent, make_display
from tinygraph.training.run import Run

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.types import Array

Schedule = LRScheduler | ReduceLROnPlateau


def fit(
    model: Module,
    data: object,
    *,
    optimizer: Optimizer,
    epochs: int,
    loss: Loss | None = None,
    validation: object = None,
    scheduler: Schedule | None = None,
    scheduler_per: str = "epoch",
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    clip_grad_norm: float | None = None,
    clip_grad_value: float | None = None,
    accumulate: int = 1,
    metrics: Mapping[str, Metric] | None = None,
    compile: bool = True,
    progress: object = True,
    seed: int | None = None,
    batch_size: int = 32,
) -> History:
    """Train a model.

    Ctrl-C ends the training after the present batch (a second one at once): the model keeps the values of its last
    update, and `History.interrupted` tells. Afterwards each module is in the mode it was in before.

    Args:
        model: takes inputs, gives scores.
        data: a DataLoader or another iterable of (inputs, targets), a Dataset, or a pair of arrays; the last two are
            shuffled and divided into batches of `batch_size`.
        optimizer: of the model's parameters.
        epochs: how many times to walk through the data.
        loss: called with scores and targets; cross entropy by default.
        validation: data of any of these kinds to evaluate the model on after each epoch.
        scheduler: stepped after each epoch, or after each batch with `scheduler_per="batch"`.
        callbacks: see `Callback`.
        checkpoint: a file (.npz, .safetensors) that is written after each epoch, and after Ctrl-C, and that the
            training goes on from if it is there; see `Checkpoint` for more.
        clip_grad_norm, clip_grad_value: bounds of gradients, see `nn.utils`; none by default.
        accumulate: how many batches an update takes the mean gradient of.
        metrics: `metric(scores, targets)` -> number, by name, such as those of `tg.training.metrics`: their values on
            the validation data are in `Epoch.metrics`.
        compile: whether the steps are compiled, which is said once; what cannot be compiled runs op by op, and the
            reason is said. False for trainings of a few batches, which end before it has paid.
        progress: True for a bar (on a terminal) or a line an epoch (elsewhere), False for nothing, or a rich Console.
        seed: makes the training repeatable: shuffling and dropout draw from it.
        batch_size: of data that is not in batches.

    Raises:
        DataError: no data, a NaN or infinity in it or in a loss: the message names the batch and the array.
        SettingError: settings out of range, an optimizer of another model, a schedule of another optimizer.

    >>> import numpy as np, tinygraph as tg
    >>> from tinygraph import nn, optim
    >>> tg.manual_seed(0)
    >>> x = np.random.default_rng(0).normal(size=(64, 2))
    >>> model = nn.Linear(2, 2).double()
    >>> history = fit(model, (x, (x[:, 0] > 0).astype(int)), optimizer=optim.SGD(model.parameters(), lr=0.5),
    ...               epochs=5, progress=False, seed=0)
    >>> len(history.epochs), history.losses[-1] < history.losses[0]
    (5, True)
    """
    settings = _Settings(
        epochs, loss or functional.cross_entropy, validation, scheduler, scheduler_per, clip_grad_norm, clip_grad_value,
        accumulate, dict(metrics or {}), compile, batch_size,
    )  # fmt: skip
    _check_belongs(model, optimizer, scheduler)
    if seed is not None:
        manual_seed(seed + processes().rank)  # the order of the data is rank 0's; dropout differs
    if checkpoint is not None:
        callbacks = (*callbacks, Checkpoint(checkpoint, resume=True))
    walk = shared_out(batches(data, batch_size, shuffle=True))
    return _Trainer(Run(model, optimizer, walk, callbacks), settings).train(progress)


@dataclass(frozen=True)
class _Settings:
    """What `fit` was asked for, by the names of its arguments.

    Raises:
        SettingError: one of them is out of range.
    """

    epochs: int
    loss: Loss
    validation: object
    scheduler: Schedule | None
    scheduler_per: str
    clip_grad_norm: float | None
    clip_grad_value: float | None
    accumulate: int
    metrics: dict[str, Metric]
    compile: bool
    batch_size: int

    def __post_init__(self) -> None:
        if self.epochs < 0 or self.epochs != int(self.epochs):
            raise SettingError(f"fit: epochs={self.epochs!r} must be a whole number from zero up")
        if self.accumulate < 1 or self.accumulate != int(self.accumulate):
            raise SettingError(
                f"fit: accumulate={self.accumulate!r} must be a whole number of batches from 1 up"
            )
        for name in ("clip_grad_norm", "clip_grad_value"):
            bound = getattr(self, name)
            if bound is not None and not bound > 0:
                raise SettingError(f"fit: {name}={bound!r} must be a number above zero")
        if self.metrics and self.validation is None:
            raise SettingError(
                "fit: metrics are of the validation data, and none are given: validation=(inputs, targets)"
            )
        if self.scheduler_per not in ("epoch", "batch"):
            raise SettingError(f'fit: scheduler_per={self.scheduler_per!r}; it can be "epoch" or "batch"')


def _check_belongs(model: Module, optimizer: Optimizer, scheduler: Schedule | None) -> None:
    """Raise if a training would step what is none of the model's."""
    own = {id(parameter) for parameter in model.parameters()}
    given = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if own and not any(id(parameter) in own for parameter in given):
        raise SettingError(
            f"fit: none of the {len(given)} parameters of the optimizer belongs to the {type(model).__name__}, so "
            f"nothing would be learnt: it was made for another model, or for this one before a copy. Make it with "
            f"optim.{type(optimizer).__name__}(model.parameters(), ...)"
        )
    lonely = processes().size > 1 and any(one._own_leaf().exchange is None for one in given if id(one) in own)
    if lonely:
        raise SettingError(
            f"fit: {processes().size} processes run this training, and each would train a model of its own: give "
            f"optimizer=tg.parallel.data_parallel(optim.{type(optimizer).__name__}(...))"
        )
    if scheduler is not None and scheduler.optimizer is not optimizer:
        raise SettingError(
            f"fit: the {type(scheduler).__name__} writes the rates of another optimizer than the one given; make it "
            f"with {type(scheduler).__name__}(optimizer, ...)"
        )


class _Trainer:
    """The loop over epochs and batches."""

    def __init__(self, run: Run, settings: _Settings) -> None:
        self.run = run
        self.settings = settings
        self.data = run.data
        self.total = len(self.data) if isinstance(self.data, Sized) else None
        self.per_epoch: Schedule | None = settings.scheduler if settings.scheduler_per == "epoch" else None
        self.per_batch: Schedule | None = settings.scheduler if settings.scheduler_per == "batch" else None
        self.compiled = settings.compile
        self.gradients = self._gradients
        self.update: Callable[[], Any] = run.optimizer.step
        self.display = Silent()

    def train(self, progress: object) -> History:
        """The whole training."""
        run, epochs = self.run, self.settings.epochs
        with (
            make_display(progress if processes().rank == 0 else False, epochs) as self.display,
            in_mode(run.model, training=True),
            _interruptible(run),
        ):
            try:
                self.prepare()
                self.tell("on_train_begin")
                while run.epoch < epochs and not run.stopped:
                    self.epoch()
            except KeyboardInterrupt:
                run.history.interrupted = True
            finally:
                self.tell("on_train_end")
            if run.history.interrupted:
                place = f"epoch {run.epoch} after batch {run.batch}"
                run.history.message = f"interrupted in {place}: the model keeps what it has learnt so far"
            if run.history.message:
                self.display.say(run.history.message)
        return run.history

    def prepare(self) -> None:
        """Let the steps be compiled, where they are to be, and say so."""
        if self.compiled:
            self.gradients, self.update = tg_compile(self._gradients), tg_compile(self.run.optimizer.step)
            self.display.say("steps are compiled (compile=False runs them op by op)")

    def _gradients(self, inputs: Numeric, targets: Array, clear: bool) -> tuple[Any, Tensor]:
        """Scores and loss of a batch; gradients are left at the parameters."""
        if clear:
            self.run.optimizer.zero_grad()
        scores = self.run.model(inputs)
        loss = parallel.mean(scalar_loss(self.settings.loss, scores, targets), samples_in(targets))
        (loss if self.settings.accumulate == 1 else loss / self.settings.accumulate).backward()
        return scores, loss

    def tell(self, moment: str) -> None:
        for callback in self.run.callbacks:
            getattr(callback, moment)(self.run)

    def epoch(self) -> None:
        """One walk through the data, noted in the history unless it is cut short."""
        run, started = self.run, time.perf_counter()
        run.epoch += 1
        if run.means is None:  # else the training goes on within this epoch
            run.batch, run.means = 0, Means()
            self.tell("on_epoch_begin")
        rate, mean = run.optimizer.param_groups[0]["lr"], run.means
        for batch in self.data:
            self._batch(batch, mean)
            now = mean.evaluation()
            speed = mean.samples / max(time.perf_counter() - started, 1e-9)
            self.display.batch(run.epoch, run.batch, self.total, *now, speed)
            self.tell("on_batch_end")
            if self._all_stop():
                return
        found = mean.of_all().evaluation()
        held: tuple[float | None, float | None] = (None, None)
        measured: dict[str, float] = {}
        asked = self.settings
        if asked.validation is not None:
            size = max(asked.batch_size, 256)
            held, measured = measure(run.model, asked.validation, asked.loss, size, asked.metrics)
        seconds = time.perf_counter() - started
        result = Epoch(run.epoch, *found, *held, rate, seconds=seconds, metrics=measured)
        run.history.epochs.append(result)
        run.means = None
        self.display.epoch(result)
        if (
            self.per_epoch is not None
        ):  # before the callbacks, so that a checkpoint has the rate of the next epoch
            _step(self.per_epoch, result)
        self.tell("on_epoch_end")

    def _all_stop(self) -> bool:
        """Whether any process is to stop: all stop after the same batch."""
        among = processes()
        if among.size > 1:
            self.run.stopped = bool(among.all_reduce(np.array(int(self.run.stopped)), "max"))
        return self.run.stopped

    def _batch(self, batch: object, mean: Means) -> None:
        run = self.run
        where = f"batch {run.batch + 1} of epoch {run.epoch}"
        inputs, targets = checked_pair(batch, where)
        with noting(f"in {where}"):
            run.whole = False
            scores, loss = self._run_gradients(inputs, targets, run.batch % self.settings.accumulate == 0)
            value = loss.item()
            if not math.isfinite(value):
                run.optimizer.zero_grad()
                raise DataError(self._diverged(where, value, inputs, targets))
            if (run.batch + 1) % self.settings.accumulate == 0 or run.batch + 1 == self.total:
                self._update()
        run.batch, run.loss, run.whole = run.batch + 1, value, True
        mean.add(value, hits(scores, targets), samples_in(targets))
        if self.per_batch is not None:
            _step(self.per_batch, None if isinstance(self.per_batch, LRScheduler) else value)

    def _run_gradients(self, inputs: Numeric, targets: Array, clear: bool) -> tuple[Any, Tensor]:
        try:
            return self.gradients(inputs, targets, clear)
        except OpError as error:  # a step of a plan; the error of its op is what runs op by op raise
            if isinstance(error.__cause__, TinygraphError):
                raise error.__cause__ from error
            raise
        except CaptureError as error:
            if not self.compiled or self.run.history.epochs or self.run.batch:
                raise
            reason = str(error).partition("\n")[0]
            self.display.say(f"the steps of this model cannot be compiled and run op by op: {reason}")
            self.compiled, self.gradients, self.update = False, self._gradients, self.run.optimizer.step
            return self.gradients(inputs, targets, clear)

    def _update(self) -> None:
        norm, value = self.settings.clip_grad_norm, self.settings.clip_grad_value
        if norm is not None or value is not None:
            parameters = [one for group in self.run.optimizer.param_groups for one in group["params"]]
            if norm is not None:
                utils.clip_grad_norm_(parameters, norm)
            if value is not None:
                utils.clip_grad_value_(parameters, value)
        self.update()

    def _diverged(self, where: str, value: float, inputs: Numeric, targets: Array) -> str:
        """What to say of a loss that is not finite: the op that made it so, where a graph of the batch tells."""
        rate = self.run.optimizer.param_groups[0]["lr"]
        try:
            again = scalar_loss(self.settings.loss, self.run.model(inputs), targets)
        except TinygraphError:
            again = None
        return _diverged(where, value, again, rate)


def _diverged(where: str, value: float, loss: Any, rate: float) -> str:
    """What to say of a loss that is not finite: the op that made it so, where its graph still tells."""
    try:
        found = f" What went wrong: {why(loss).text}."
    except TinygraphError:  # nothing was recorded, or the graph cannot be run again
        found = ""
    return (
        f"the loss of {where} is {value}, though its data are finite: training has diverged.{found} Nothing was "
        f"updated with it; if numbers grew from step to step, try a smaller learning rate than {rate:g}"
    )


def _step(scheduler: Schedule, result: Epoch | float | None) -> None:
    if isinstance(scheduler, LRScheduler):
        scheduler.step()
    elif isinstance(result, Epoch):
        scheduler.step(result.loss if result.validation_loss is None else result.validation_loss)
    elif result is not None:
        scheduler.step(result)


@contextmanager
def _interruptible(run: Run) -> Iterator[None]:
    """Let the first Ctrl-C wait for the end of a batch, so that no update is left half done."""
    usual = signal.default_int_handler
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not usual
    ):
        yield
        return

    def finish_batch(number: int, frame: object) -> None:
        if run.stopped:
            raise KeyboardInterrupt
        run.history.interrupted = run.stopped = True

    signal.signal(signal.SIGINT, finish_batch)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)
