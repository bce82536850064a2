"""Training a tiny network one image at a time, by plain gradient descent, and keeping what a story of one number needs.

The network is small enough that a page can compute it again: a convolution, ReLU, average pooling, a linear layer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph import nn
from tinygraph.cli.task import Labelled, Task
from tinygraph.core.state import read, write
from tinygraph.core.types import Array
from tinygraph.explaining import explain
from tinygraph.optim import SGD

CHANNELS = 4
LEARNING_RATE = 0.1
MOST_STEPS = 1500
MOST_KEPT = 60  # steps of which everything is kept; of the others the number and the loss
CORNER = (0, 0, 0)  # input channel, row, column: at one corner of its kernel it meets the padding, too


@dataclass(frozen=True)
class Followed:
    """What was seen of one number.

    Attributes:
        element: the number's index in the kernels: output channel, input channel, row, column.
        path: the number before each step, and after the last; (steps + 1,).
        losses: of the image of each step, before it.
        steps: the numbers of the steps that were kept whole, the first and the last among them.
        images: of those steps, (kept, rows, columns); `labels` what they show.
        parameters: name -> the values before each of those steps, and after the last; (kept + 1, ...).
        cotangents: what the loss of each of those steps made of the number's output channel, (kept, rows, columns).
        gradients, after: the number's gradient, and the loss of the same image after the step; (kept,).
        right: the share of the test images that the trained network answers rightly.
    """

    element: tuple[int, ...]
    classes: tuple[str, ...]
    path: Array
    losses: Array
    steps: Array
    images: Array
    labels: Array
    parameters: dict[str, Array]
    cotangents: Array
    gradients: Array
    after: Array
    right: float
    network: nn.Sequential

    @property
    def rate(self) -> float:
        return LEARNING_RATE


def follow(task: Task, seed: int) -> Followed:
    """Train, find the number that moved most, and look at its steps again."""
    count = min(MOST_STEPS, len(task.training))
    order = np.random.default_rng(seed).permutation(len(task.training))[:count]
    steps = np.unique(np.round(np.geomspace(1, count, MOST_KEPT)).astype(int)) - 1
    network = _network(task, seed)
    step = _step(network)
    kernels, losses = [], []
    kept: dict[str, list[Any]] = {name: [] for name in _values(network)}
    for number, _place in enumerate(order):
        kernels.append(_values(network)["weight"])
        if number in steps:
            for name, value in _values(network).items():
                kept[name].append(value)
        losses.append(float(step(*task.training.take(order[number : number + 1]))))
    for name, value in _values(network).items():
        kept[name].append(value)
    kernels.append(kept["weight"][-1])
    moved = np.abs(kernels[-1] - kernels[0])[(slice(None), *CORNER)]
    element = (int(np.argmax(moved)), *CORNER)
    chosen = task.training.take(order[steps])
    right = _right(network, task)
    seen = [
        _looked_at(network, {name: kept[name][i] for name in kept}, chosen.take(np.array([i])), element)
        for i in range(len(steps))
    ]
    return Followed(
        element, task.classes, np.array([kernel[element] for kernel in kernels]), np.array(losses), steps,
        chosen.images[:, 0], chosen.labels, {name: np.stack(kept[name]) for name in kept},
        np.stack([cotangents for cotangents, *_ in seen]), np.array([gradient for _, gradient, _ in seen]),
        np.array([after for *_, after in seen]), right, network,
    )  # fmt: skip


def _looked_at(
    network: nn.Sequential, values: dict[str, Array], example: Labelled, element: tuple[int, ...]
) -> tuple[Array, float, float]:
    """A step again: the cotangents of the number's output channel, its gradient, and the loss after the step.

    Leaves the network as it is after that step.
    """
    for name, parameter in _parameters(network).items():
        write(parameter, values[name])
    cotangents = np.zeros(example.images.shape[2:])
    convolution: Any = network[0]
    for impact in explain(_loss(network, *example), wrt=convolution.bias, element=(element[0],)):
        cotangents[impact.output_element[-2:]] = impact.cotangent
    _step(network)(*example)
    return cotangents, float(convolution.weight.grad.numpy()[element]), float(_loss(network, *example).item())


def _network(task: Task, seed: int) -> nn.Sequential:
    tg.manual_seed(seed)
    rows, columns = task.shape[1:]
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    layers["convolution"] = nn.Conv2d(1, CHANNELS, 3, padding=1)
    layers["relu"] = nn.ReLU()
    layers["pool"] = nn.AvgPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["linear"] = nn.Linear(CHANNELS * (rows // 2) * (columns // 2), len(task.classes))
    return nn.Sequential(layers)


def _parameters(network: nn.Sequential) -> dict[str, Any]:
    convolution: Any = network[0]
    linear: Any = network[4]
    return {
        "weight": convolution.weight,
        "bias": convolution.bias,
        "matrix": linear.weight,
        "shift": linear.bias,
    }


def _values(network: nn.Sequential) -> dict[str, Array]:
    """Copies of all parameters."""
    return {name: np.array(read(parameter)) for name, parameter in _parameters(network).items()}


def _loss(network: nn.Sequential, images: Array, labels: Array) -> tg.Tensor:
    loss: tg.Tensor = nn.functional.cross_entropy(network(tg.tensor(images, name="image")), labels)
    loss.name = "loss"
    return loss


def _step(network: nn.Sequential) -> Callable[[Array, Array], float]:
    """One step of plain gradient descent on an image and its label; it answers the loss before."""
    optimizer = SGD(network.parameters(), lr=LEARNING_RATE)

    def step(images: Array, labels: Array) -> float:
        optimizer.zero_grad()
        loss = _loss(network, images, labels)
        loss.backward()
        optimizer.step()
        return float(loss.item())

    return step


def met(image: Array, element: tuple[int, int]) -> Array:
    """What a kernel's element at that row and column is multiplied with, place by place of the output; 0 is padding."""
    rows, columns = image.shape
    padded = np.pad(image, 1)
    return padded[element[0] : element[0] + rows, element[1] : element[1] + columns]


def convolved(image: Array, kernel: Array, bias: float) -> Array:
    """One output channel, by the definition."""
    out: Array = bias + sum(kernel[p, q] * met(image, (p, q)) for p in range(3) for q in range(3))
    return out


def _right(network: nn.Sequential, task: Task) -> float:
    with tg.no_grad():
        answers = network(tg.tensor(task.test.images)).numpy().argmax(axis=1)
    return float((answers == task.test.labels).mean())


def zooming_page(followed: Followed) -> str:
    """The network on the last image, with its loss, as a page that zooms down to the multiplied couples."""
    image = tg.tensor(followed.images[-1][None, None], name="image")
    labels = followed.labels[-1:]
    loss = nn.functional.cross_entropy(followed.network(image), labels)
    loss.name = "loss"
    return tg.draw(loss, backward=True, title="One image, forward and backward")._page(None)
