"""The report's worked example: how one output pixel and one gradient of the first convolution come about.

Computed from the network before its first training step, in evaluation mode, for one image.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

import tinygraph as tg
from tinygraph import nn
from tinygraph.cli.network import first_convolution
from tinygraph.cli.report.story import Couples, ElementGradient
from tinygraph.cli.task import Labelled
from tinygraph.core.state import read
from tinygraph.core.types import Array
from tinygraph.explaining import explain


class Lesson(NamedTuple):
    """One image and its label, one output pixel, one gradient."""

    image: Array
    label: int
    couples: Couples
    gradient: ElementGradient


def make_lesson(network: nn.Sequential, examples: Labelled) -> Lesson:
    """Explain what happens to the image of the strongest contrast.

    Leaves the network in training mode, without gradients.
    """
    place = int(np.argmax(examples.images.std(axis=(1, 2, 3))))
    chosen = examples.take(np.array([place]))
    network.eval()
    loss = nn.functional.cross_entropy(network(tg.tensor(chosen.images, name="image")), chosen.labels)
    loss.name = "loss"
    loss.backward()
    convolution: Any = first_convolution(network)
    channel = int(np.argmax(np.abs(convolution.weight.grad.numpy()[:, 0, 0, 0])))
    gradient = _gradient(loss, convolution.weight, (channel, 0, 0, 0), chosen.images.shape[2:])
    couples = _couples(chosen.images[0], convolution, channel)
    network.zero_grad()
    network.train()
    return Lesson(chosen.images[0], int(chosen.labels[0]), couples, gradient)


def _couples(image: Array, convolution: Any, channel: int) -> Couples:
    """The output pixel whose patch of the first input channel varies most."""
    kernel = read(convolution.weight)[channel]
    rows, columns = kernel.shape[1:]
    padded = np.pad(image, ((0, 0), (rows // 2, rows // 2), (columns // 2, columns // 2)))
    patches = np.lib.stride_tricks.sliding_window_view(padded, (rows, columns), axis=(1, 2))
    spread = patches[0].std(axis=(2, 3))
    if min(spread.shape) > 2:  # away from the border, where padding would be half of the picture
        spread[[0, -1]] = spread[:, [0, -1]] = -1
    i, j = (int(k) for k in np.unravel_index(np.argmax(spread), spread.shape))
    return Couples((0, channel, i, j), patches[:, i, j], kernel)


def _gradient(
    loss: tg.Tensor, weight: Any, element: tuple[int, ...], grid: tuple[int, ...]
) -> ElementGradient:
    impacts = explain(loss, wrt=weight, element=element)
    local, cotangent, contribution = np.zeros((3, *grid))
    for impact in impacts:
        place = impact.output_element[-2:]
        local[place], cotangent[place], contribution[place] = (
            impact.local,
            impact.cotangent,
            impact.contribution,
        )
    text = f"{impacts}\n\n{impacts.formula(limit=len(impacts))}"
    return ElementGradient(
        impacts.label, element, impacts, local, cotangent, contribution, impacts.total, text
    )
