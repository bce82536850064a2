"""Measuring a model: batches of any kind of data, loss and accuracy, and the confusion matrix."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph import parallel
from tinygraph.core.modes import no_grad
from tinygraph.core.process_group import processes
from tinygraph.core.tensor import Tensor
from tinygraph.data import DataLoader, Dataset, TensorDataset, check_finite
from tinygraph.errors import DataError, ShapeError
from tinygraph.nn import Module, functional
from tinygraph.training.metrics import Metric

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric
    from tinygraph.core.types import Array

Loss = Callable[[Any, Any], Any]


class Evaluation(NamedTuple):
    """Means over a data set; `accuracy` is None where the targets are no classes."""

    loss: float
    accuracy: float | None


def evaluate(model: Module, data: object, *, loss: Loss | None = None, batch_size: int = 256) -> Evaluation:
    """Loss and accuracy of a model in evaluation mode, without recording.

    Args:
        model: takes inputs, gives scores (batch, classes, ...).
        data: a DataLoader or another iterable of (inputs, targets), a Dataset, or a pair of arrays.
        loss: called with scores and targets; cross entropy by default.
        batch_size: of data that is not in batches.

    Raises:
        DataError: no data, or values that are not finite.
    """
    return measure(model, data, loss or functional.cross_entropy, batch_size, {})[0]


def measure(
    model: Module, data: object, loss: Loss, batch_size: int, metrics: Mapping[str, Metric]
) -> tuple[Evaluation, dict[str, float]]:
    """Loss, accuracy and further metrics of a model in evaluation mode; metrics are means over samples."""
    total, sums = Means(), np.zeros(len(metrics) + 1)
    with in_mode(model, training=False), no_grad():
        for number, batch in enumerate(shared_out(batches(data, batch_size)), start=1):
            where = f"batch {number} of the evaluation"
            inputs, targets = checked_pair(batch, where)
            with noting(f"in {where}"):
                scores = model(inputs)
                value = scalar_loss(loss, scores, targets)
                samples = samples_in(targets)
                plain = [
                    one.detach().numpy() if isinstance(one, Tensor) else one for one in (scores, targets)
                ]
                found = [float(metric(*map(np.asarray, plain))) for metric in metrics.values()]
            total.add(value.item(), hits(scores, targets), samples)
            sums += samples * np.array([*found, 1.0])
    if processes().size > 1:
        sums = processes().all_reduce(sums, "sum")
    means = (sums[:-1] / max(sums[-1], 1)).tolist()
    return total.of_all().evaluation(), dict(zip(metrics, means, strict=True))


def confusion_matrix(
    model: Module, data: object, *, classes: int | None = None, batch_size: int = 256
) -> np.ndarray[Any, Any]:
    """How often each class was taken for which: entry [true, predicted].

    Args:
        model: takes inputs, gives scores (batch, classes).
        data: as for `evaluate`.
        classes: how many; by default as many as the model has scores.
        batch_size: of data that is not in batches.

    Returns:
        (classes, classes) counts.

    Raises:
        DataError: a label that is no class.
    """
    counts: Any = None
    with in_mode(model, training=False), no_grad():
        for inputs, targets in batches(data, batch_size):
            scores = model(inputs)
            if counts is None:
                size = scores.shape[1] if classes is None else classes
                counts = np.zeros((size, size), np.int64)
            labels, predicted = np.asarray(targets), scores.numpy().argmax(axis=1)
            if labels.shape != predicted.shape or not ((labels >= 0) & (labels < len(counts))).all():
                raise DataError(
                    f"labels must be classes from 0 to {len(counts) - 1}, one for each {predicted.shape}"
                )
            np.add.at(counts, (labels.reshape(-1), predicted.reshape(-1)), 1)
    if counts is None:
        raise DataError("there are no batches to count")
    return counts  # type: ignore[no-any-return]


class Means:
    """Running means of loss and accuracy, weighted by samples."""

    def __init__(self) -> None:
        self.loss = 0.0
        self.hits: int | None = 0
        self.samples = self.predictions = 0

    def add(self, loss: float, found: tuple[int, int] | None, samples: int) -> None:
        self.loss += loss * samples
        self.samples += samples
        if found is None or self.hits is None:
            self.hits = None
        else:
            self.hits += found[0]
            self.predictions += found[1]

    def of_each(self) -> list[dict[str, Any]]:
        """The sums of each process, for a checkpoint."""
        return [json.loads(text) for text in processes().gather_texts(json.dumps(vars(self)))]

    @classmethod
    def own_of(cls, sums: list[dict[str, Any]]) -> Means:
        """Means that go on from this process's sums; where other processes go on, the first has all of them."""
        among = processes()
        if len(sums) == among.size:
            return cls.of(sums[among.rank])
        made = cls()
        for one in sums if among.rank == 0 else ():
            made.loss += one["loss"]
            made.samples += one["samples"]
            made.predictions += one["predictions"]
            made.hits = None if made.hits is None or one["hits"] is None else made.hits + one["hits"]
        return made

    @classmethod
    def of(cls, sums: dict[str, Any]) -> Means:
        """Means that go on from sums."""
        made = cls()
        vars(made).update({name: sums[name] for name in vars(made)})
        return made

    def of_all(self) -> Means:
        """The means over all processes."""
        among = processes()
        if among.size == 1:
            return self
        lacking = float(among.all_reduce(np.array(float(self.hits is None)), "max"))
        sums = [self.loss, self.hits or 0, self.samples, self.predictions]
        loss, hits, samples, predictions = among.all_reduce(np.array(sums, np.float64), "sum")
        return Means.of(
            {"loss": float(loss), "hits": None if lacking else int(hits), "samples": int(samples),
             "predictions": int(predictions)}
        )  # fmt: skip

    def evaluation(self) -> Evaluation:
        if not self.samples:
            raise DataError("there are no samples: the data gave no batches")
        accuracy = None if self.hits is None or not self.predictions else self.hits / self.predictions
        return Evaluation(self.loss / self.samples, accuracy)


def batches(data: object, batch_size: int, *, shuffle: bool = False) -> Iterable[tuple[Any, Any]]:
    """Data of any accepted kind as an iterable of (inputs, targets) that can be walked through again.

    Raises:
        DataError: a generator, which is used up after one epoch, or something else.
    """
    if isinstance(data, tuple | list) and len(data) == 2 and all(hasattr(part, "shape") for part in data):
        data = TensorDataset(*data)
    if isinstance(data, Dataset):
        data = DataLoader(data, batch_size, shuffle)
    if not isinstance(data, Iterable):
        raise DataError(
            f"data must be a DataLoader, a Dataset, a pair of arrays or an iterable of (inputs, targets), not a "
            f"{type(data).__name__}"
        )
    if isinstance(data, Iterator):
        raise DataError(
            "data is a generator, which is used up after one epoch: give a DataLoader, a list, or a class with "
            "__iter__"
        )
    return data


def shared_out(walk: Iterable[tuple[Any, Any]]) -> Iterable[tuple[Any, Any]]:
    """This process's part of the batches of a DataLoader; other iterables are each process's own."""
    if processes().size > 1 and isinstance(walk, DataLoader) and walk.part is None:
        return parallel.shard(walk)
    return walk


def checked_pair(batch: object, where: str) -> tuple[Any, Any]:
    """The (inputs, targets) of a batch, finite.

    Raises:
        DataError: another number of parts, or NaN or infinity, naming the batch and the array.
    """
    if not isinstance(batch, tuple | list) or len(batch) != 2:
        parts = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
        raise DataError(f"{where}: a batch must be a pair (inputs, targets), and this one is {parts}")
    for name, part in zip(("inputs", "targets"), batch, strict=True):
        if isinstance(part, np.ndarray):
            check_finite(part, f"{where}: array {name!r} of shape {part.shape}")
        elif isinstance(part, Tensor):
            check_finite(part.detach().numpy(), f"{where}: tensor {name!r} of shape {part.shape}")
    return batch[0], batch[1]


def scalar_loss(loss: Loss, scores: Numeric, targets: object) -> Tensor:
    """The loss of a batch.

    Raises:
        ShapeError: it is no scalar tensor.
    """
    value = loss(scores, targets)
    if not isinstance(value, Tensor) or value.size != 1:
        found = value.shape if isinstance(value, Tensor) else type(value).__name__
        raise ShapeError(f"a loss must be a tensor of one element, not {found}: take its mean")
    return value


def hits(scores: Numeric, targets: object) -> tuple[int, int] | None:
    """How many predictions are right, of how many; None where the targets are no classes of the scores."""
    labels = targets.detach().numpy() if isinstance(targets, Tensor) else np.asarray(targets)
    if not isinstance(scores, Tensor) or labels.dtype.kind not in "iu" or scores.ndim != labels.ndim + 1:
        return None
    predicted = scores.detach().numpy().argmax(axis=1)
    if predicted.shape != labels.shape:
        return None
    return int(np.count_nonzero(predicted == labels)), labels.size


def samples_in(targets: Array) -> int:
    return int(targets.shape[0]) if getattr(targets, "shape", ()) else 1


@contextmanager
def in_mode(model: Module, *, training: bool) -> Iterator[None]:
    """Run a block with a model in training or evaluation mode; each module gets its own mode back."""
    before = [(module, module.training) for module in model.modules()]
    model.train(training)
    try:
        yield
    finally:
        for module, mode in before:
            module.training = mode


@contextmanager
def noting(where: str) -> Iterator[None]:
    """Add to any error where it happened."""
    try:
        yield
    except Exception as error:
        error.add_note(where)
        raise
