"""The main job: train the small network on a task, test it, print the results and have the report written.

What is learnt is `task`'s, the network is `network`'s, its report `training_report`'s.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

import tinygraph as tg
from tinygraph import nn
from tinygraph.cli.lesson import Lesson, make_lesson
from tinygraph.cli.network import kernels_of, small_cnn
from tinygraph.cli.options import Options
from tinygraph.cli.report.page import percent
from tinygraph.cli.task import Labelled, Task
from tinygraph.cli.terminal import console, say
from tinygraph.core.types import Array
from tinygraph.data import DataLoader, TensorDataset
from tinygraph.optim import Adam
from tinygraph.optim.lr_scheduler import CosineAnnealingLR
from tinygraph.training import History, fit

MOST_ROWS = 30
TEST_BATCH = 256


@dataclass(frozen=True)
class Trained:
    """What came of a training: the network, and what is known about it.

    Attributes:
        lesson, kernels_before: from before the first step.
        probabilities: of each test image, one per class.
        confusion: a row per true class, a column per answer.
    """

    task: Task
    network: nn.Sequential
    lesson: Lesson
    kernels_before: Array
    history: History
    seconds: float
    probabilities: Array
    confusion: Array

    @property
    def accuracy(self) -> float:
        """The share of test images answered rightly."""
        return float(np.trace(self.confusion) / self.confusion.sum())


class Shifted(TensorDataset):
    """Images and labels; half of the images, at random, are moved by up to some pixels each time they are taken."""

    def __init__(self, labelled: Labelled, most: int, seed: int) -> None:
        super().__init__(*labelled)
        self.most = most
        self.random = np.random.default_rng(seed)

    def take(self, indices: Sequence[int] | Array) -> Any:
        images, labels = super().take(indices)
        count, most = len(images), self.most
        moves = self.random.integers(0, 2 * most + 1, (2, count))
        moves[:, self.random.random(count) < 0.5] = most
        padded = np.pad(images, ((0, 0), (0, 0), (most, most), (most, most)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, images.shape[2:], axis=(2, 3))
        return windows[np.arange(count), :, moves[0], moves[1]], labels


def run(task: Task, options: Options, out: Path, *, command: str, first: str | None = None) -> Path:
    """Train, test, print the results, write the report, and return the path of its page.

    Args:
        first: the name of a page that is to be read before the report.
    """
    from tinygraph.cli.training_report import tell

    trained = learn(task, options)
    _print_results(trained)
    page = tell(trained, out, command=command, first=first)
    say(f"The report is in {page}")
    return page


def learn(task: Task, options: Options) -> Trained:
    """Train a network and test it.

    Raises:
        KeyboardInterrupt: before the first epoch was over; later than that, the epochs so far count.
    """
    tg.manual_seed(options.seed)
    network = small_cnn(task.shape, len(task.classes))
    lesson = make_lesson(network, task.training)
    kernels_before = kernels_of(network)
    size = sum(parameter.size for parameter in network.parameters())
    say(
        f"Training a network of {size:,} parameters on {len(task.training):,} images, {options.epochs} times through."
    )
    started = time.perf_counter()
    history = _train(network, task, options)
    seconds = time.perf_counter() - started
    if not history.epochs:
        raise KeyboardInterrupt
    say(f"Testing on {len(task.test):,} images that the network has never seen.")
    probabilities = _probabilities(network, task.test.images)
    confusion = np.zeros((len(task.classes),) * 2, np.int64)
    np.add.at(confusion, (task.test.labels, probabilities.argmax(axis=1)), 1)
    return Trained(task, network, lesson, kernels_before, history, seconds, probabilities, confusion)


def _train(network: nn.Sequential, task: Task, options: Options) -> History:
    images = Shifted(task.training, options.shift, options.seed)
    loader = DataLoader(images, options.batch_size, shuffle=True, seed=options.seed)
    optimizer = Adam(network.parameters(), lr=options.learning_rate)
    return fit(
        network,
        loader,
        optimizer=optimizer,
        epochs=options.epochs,
        validation=TensorDataset(*task.validation),
        scheduler=CosineAnnealingLR(optimizer, options.epochs * len(loader)),
        scheduler_per="batch",
        progress=console,
    )


def _probabilities(network: nn.Sequential, images: Array) -> Array:
    """What the network thinks each class is worth, in evaluation mode; the network stays in it."""
    network.eval()
    with tg.no_grad():
        starts = range(0, len(images), TEST_BATCH)
        found = [nn.functional.softmax(network(images[i : i + TEST_BATCH]), 1).numpy() for i in starts]
    return np.concatenate(found)


def _print_results(trained: Trained) -> None:
    """A row per class, and the line that says it all."""
    task, confusion = trained.task, trained.confusion
    table = Table("class", title="Test images", title_justify="left")
    for heading in ("images", "right", "in %"):
        table.add_column(heading, justify="right")
    table.add_column("wrongly taken for")
    for i, name in enumerate(task.classes[:MOST_ROWS]):
        count, right = int(confusion[i].sum()), int(confusion[i, i])
        table.add_row(
            name, str(count), str(right), f"{100 * right / max(count, 1):.1f}", _taken_for(trained, i)
        )
    if len(task.classes) > MOST_ROWS:
        table.add_row(f"... {len(task.classes) - MOST_ROWS} more")
    table.add_section()
    total, right = int(confusion.sum()), int(np.trace(confusion))
    table.add_row("all", str(total), str(right), f"{100 * trained.accuracy:.1f}")
    console.print(table)
    say(f"test accuracy {percent(trained.accuracy)}")


def _taken_for(trained: Trained, i: int) -> str:
    """The wrong answers to a class, the most frequent first."""
    row = trained.confusion[i]
    wrong = [j for j in np.argsort(-row, kind="stable") if j != i and row[j]]
    return ", ".join(
        f"{trained.task.classes[j]} ({row[j]})" if row[j] > 1 else trained.task.classes[j] for j in wrong[:3]
    )
