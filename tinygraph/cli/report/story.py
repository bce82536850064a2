"""What a report tells, as plain data: arrays, numbers, words, and drawings that are already SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tinygraph.core.types import Array
from tinygraph.explaining import Impact


class Layer(NamedTuple):
    """A row of the table of layers."""

    name: str
    description: str
    output: tuple[int, ...]
    parameters: int


class Mistake(NamedTuple):
    """A test image that was answered wrongly; `confidence` is the probability the network gave its answer."""

    image: Array
    label: int
    answer: int
    confidence: float


class Couples(NamedTuple):
    """How one output element of a convolution is made: patch times kernel, summed; the layer has no bias."""

    output_element: tuple[int, ...]
    patch: Array
    kernel: Array

    @property
    def products(self) -> Array:
        return self.patch * self.kernel

    @property
    def total(self) -> float:
        return float(self.products.sum())


class ElementGradient(NamedTuple):
    """How the gradient of one kernel element is made: one impact per output pixel that uses it.

    `label` is the element with its tensor's name; the three grids hold the impacts' numbers where they belong in the
    output channel; `text` is all of it as a table and a formula.
    """

    label: str
    element: tuple[int, ...]
    impacts: Sequence[Impact]
    local: Array
    cotangent: Array
    contribution: Array
    total: float
    text: str


@dataclass(frozen=True)
class Story:
    """A training run as the report shows it.

    Attributes:
        subject: what the images are, as a noun phrase: "handwritten digits".
        scaling: what was done to the pixels, a sentence without its full stop.
        command: what was typed.
        counts: name of a set -> number of images in it.
        samples: one image per class, in the order of `classes`; channels first.
        losses, accuracies: name of a set -> its value after each epoch; accuracies from 0 to 1.
        kernels_before, kernels_after: of the first convolution, (output, input, rows, columns).
        confusion: a row per true class, a column per answer.
        drawings: file name -> SVG text.
        model_file: name of the saved network's file, if it could be saved.
        notes: what could not be shown, and what to do about it.
        first: the name of a page that is to be read before.
    """

    subject: str
    scaling: str
    command: str
    version: str
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    samples: Sequence[Array]
    layers: Sequence[Layer]
    losses: Mapping[str, Sequence[float]]
    accuracies: Mapping[str, Sequence[float]]
    test_accuracy: float
    seconds: float
    kernels_before: Array
    kernels_after: Array
    example: Array
    example_label: int
    couples: Couples
    gradient: ElementGradient
    confusion: Array
    mistakes: Sequence[Mistake]
    drawings: Mapping[str, str]
    model_file: str | None
    notes: Sequence[str] = field(default=())
    first: str | None = None

    @property
    def epochs(self) -> int:
        return max(map(len, self.losses.values()), default=0)

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)
