"""From what came of a training to its report: layers, drawings and mistakes are gathered, the model is saved.

Something that cannot be drawn or saved becomes a note in the report and on the terminal; the rest is still told.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import nn
from tinygraph.cli.experiment import Trained
from tinygraph.cli.network import kernels_of, small_cnn
from tinygraph.cli.report import folder
from tinygraph.cli.report.story import Layer, Mistake, Story
from tinygraph.cli.task import Task
from tinygraph.cli.terminal import say
from tinygraph.errors import TinygraphError
from tinygraph.packages.version import version
from tinygraph.training import curves

DRAWN_BATCH = 4
Series = dict[str, list[float]]


def tell(trained: Trained, out: Path, *, command: str, first: str | None = None) -> Path:
    """Save the model, write the report, and return the path of its page."""
    notes: list[str] = []
    losses, accuracies = _series(trained)
    drawings = _drawings(trained.task, notes)
    _attempt("curves.svg", lambda: _curves(losses, accuracies), drawings, notes)
    model_file = _saved_model(trained, out, notes)
    task, lesson = trained.task, trained.lesson
    story = Story(
        subject=task.subject,
        scaling=task.scaling,
        command=command,
        version=version(),
        classes=task.classes,
        counts={name: len(labelled) for name, labelled in task.sets.items()},
        samples=[
            task.training.images[np.argmax(task.training.labels == i)] for i in range(len(task.classes))
        ],
        layers=_layers(trained.network, task.shape),
        losses=losses,
        accuracies=accuracies,
        test_accuracy=trained.accuracy,
        seconds=trained.seconds,
        kernels_before=trained.kernels_before,
        kernels_after=kernels_of(trained.network),
        example=lesson.image,
        example_label=lesson.label,
        couples=lesson.couples,
        gradient=lesson.gradient,
        confusion=trained.confusion,
        mistakes=_mistakes(trained),
        drawings=drawings,
        model_file=model_file,
        notes=notes,
        first=first,
    )
    return folder.write(story, out)


def _saved_model(trained: Trained, out: Path, notes: list[str]) -> str | None:
    """The name of the file the network was saved to: JSON text where the extra `io` is not installed."""
    name = "model.safetensors" if find_spec("safetensors") else "model.json"
    try:
        save_model(trained.network, trained.task.shape, out / name)
    except TinygraphError as error:
        _note(f"The model was not saved: {error}", notes)
        return None
    return name


def save_model(network: nn.Sequential, shape: tuple[int, ...], path: Path) -> None:
    """Write the network in evaluation mode as a graph file that takes any number of images, named `image`."""
    network.eval()

    def scores(image: tg.Tensor) -> Any:
        return network(image)

    tg.capture(scores, np.zeros((2, *shape), np.float32), dynamic_axes={0: {0: "N"}}).save(path)


def _series(trained: Trained) -> tuple[Series, Series]:
    epochs = trained.history.epochs
    losses = {"training": [e.loss for e in epochs], "validation": [e.validation_loss or 0.0 for e in epochs]}
    accuracies = {
        "training": [e.accuracy or 0.0 for e in epochs],
        "validation": [e.validation_accuracy or 0.0 for e in epochs],
    }
    return losses, accuracies


def _curves(losses: Series, accuracies: Series) -> str:
    figure = curves.drawn(curves.loss_and_accuracy(losses, accuracies, "cross-entropy"))
    return curves.svg_of(figure, transparent=True)


def _drawings(task: Task, notes: list[str]) -> dict[str, str]:
    """File name -> SVG, of a fresh network: drawings carry structure, no numbers."""
    network = small_cnn(task.shape, len(task.classes))
    images, labels = task.training.take(np.arange(min(DRAWN_BATCH, len(task.training))))
    image = tg.tensor(images[:1], name="image")
    loss = nn.functional.cross_entropy(network(tg.tensor(images, name="images")), labels)
    loss.name = "loss"
    network.eval()
    drawn: dict[str, str] = {}
    wanted: dict[str, Callable[[], str]] = {
        "model.svg": lambda: tg.draw(network, inputs=image, zoom="module", direction="wrap").svg(),
        "model-ops.svg": lambda: tg.draw(network, inputs=image, zoom="op").svg(),
        "step.svg": lambda: tg.draw(loss, zoom="module", backward=True).svg(),
        "step-ops.svg": lambda: tg.draw(loss, zoom="op", backward=True).svg(),
    }
    for name, draw in wanted.items():
        _attempt(name, draw, drawn, notes)
    return drawn


def _attempt(name: str, draw: Callable[[], str], drawn: dict[str, str], notes: list[str]) -> None:
    try:
        drawn[name] = draw()
    except TinygraphError as error:
        _note(f"{name} could not be drawn: {error}", notes)


def _note(text: str, notes: list[str]) -> None:
    say(text)
    notes.append(text)


def _layers(network: nn.Sequential, shape: tuple[int, ...]) -> list[Layer]:
    layers = []
    network.eval()
    with tg.no_grad():
        value = tg.tensor(np.zeros((1, *shape), np.float32))
        for name, layer in network.named_children():
            value = layer(value)
            size = sum(parameter.size for parameter in layer.parameters())
            layers.append(Layer(name, repr(layer), value.shape[1:], size))
    return layers


def _mistakes(trained: Trained) -> list[Mistake]:
    """The wrong answers, the most confident first."""
    probabilities, test = trained.probabilities, trained.task.test
    answers, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != test.labels)
    wrong = wrong[np.argsort(-confidence[wrong], kind="stable")]
    return [
        Mistake(test.images[i], int(test.labels[i]), int(answers[i]), float(confidence[i])) for i in wrong
    ]
