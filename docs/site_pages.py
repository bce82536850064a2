"""The networks of the site's pages that zoom; each is drawn when the site is built."""

from __future__ import annotations

import numpy as np

import tinygraph as tg
from tinygraph import nn


def expression() -> tg.Drawing:
    """An expression: a few scalars, and the gradient of each."""
    x = tg.tensor(2.0, requires_grad=True, name="x")
    y = tg.tensor(-3.0, requires_grad=True, name="y")
    z = x * y + np.sin(x) ** 2
    z.name = "z"
    return tg.draw(z, backward=True, show=("names", "values", "gradients"))


def lenet() -> tg.Drawing:
    """LeNet: layers, channel planes, kernels, and each couple of numbers that is multiplied."""
    tg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10),
    )  # fmt: skip
    rows, columns = np.mgrid[-1:1:28j, -1:1:28j]
    image = np.exp(-((np.hypot(rows, columns) - 0.6) ** 2) / 0.02).astype(np.float32)[None, None]
    loss = tg.ops.cross_entropy(model(tg.tensor(image, name="image")), [0])
    loss.name = "loss"
    return tg.draw(loss, backward=True, show=("names", "shapes", "values"))


def transformer() -> tg.Drawing:
    """A transformer layer: attention, two linear layers, what is added and normalised between them."""
    tg.manual_seed(0)
    model = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, dropout=0.0)
    words = np.random.default_rng(0).normal(size=(1, 6, 16)).astype(np.float32)
    return tg.draw(model, inputs=words, show=("names", "shapes", "values"))


PAGES = {"expression": expression, "lenet": lenet, "transformer": transformer}
