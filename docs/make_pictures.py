"""Draw the pictures of the README and the docs: `python docs/make_pictures.py`. Run twice, it writes the same bytes."""

from pathlib import Path

import numpy as np

import tinygraph as tg
from tinygraph import nn

IMAGES = Path(__file__).with_name("images")


class Digits(nn.Module):
    """The network of the README's picture: one convolution, small enough to be seen whole."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 3, padding=1)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.flatten = nn.Flatten()
        self.linear = nn.Linear(128, 10)

    def forward(self, x: tg.Tensor) -> tg.Tensor:
        return self.linear(self.flatten(self.pool(self.relu(self.conv(x)))))


def zoom() -> None:
    """One convolution from the layer to a neuron and back, as `drawing.md` shows it: a house in three channels."""
    rows = ["...#...", "..###..", ".#####.", "#######", ".#ooo#.", ".#o.o#.", ".#o.o#."]
    house = np.array([[{".": 0, "o": 0.5, "#": 1}[cell] for cell in row] for row in rows])
    channels = tg.tensor(np.stack([house, 0.2 + house / 2, 1 - house])[None], requires_grad=True, name="ch")
    kernels = np.random.default_rng(0).normal(size=(2, 3, 3, 3)).round(2)
    kernel = tg.tensor(kernels, requires_grad=True, name="ker")
    bias = tg.tensor([0.1, -0.2], requires_grad=True, name="b")
    out = tg.ops.convolution(channels, kernel, bias, padding=1)
    out.name = "out"
    loss = (tg.ops.relu(out) ** 2).mean()
    loss.name = "loss"
    drawings = {
        "zoom-1-layers": tg.draw(loss),
        "zoom-2-channels": tg.draw(loss, zoom="channel"),
        "zoom-3-pair": tg.draw(out, zoom="channel", element=(1, 0)),
        "zoom-4-neuron": tg.draw(out, zoom="neuron", element=(0, 1, 3, 3)),
        "zoom-5-kernel-element": tg.draw(loss, zoom="neuron", element=(kernel, (1, 0, 0, 0))),
        "zoom-6-input-element": tg.draw(loss, zoom="neuron", element=(channels, (0, 0, 3, 3))),
    }
    for name, drawing in drawings.items():
        (IMAGES / f"{name}.svg").write_text(drawing.svg(), encoding="utf-8")


def main() -> None:
    tg.manual_seed(0)
    model = Digits()
    images, labels = np.zeros((1, 1, 8, 8), np.float32), np.zeros(1, int)

    def step(image: tg.Tensor) -> tg.Tensor:
        loss = tg.ops.cross_entropy(model(image), labels)
        loss.name = "loss"
        return loss

    IMAGES.mkdir(exist_ok=True)
    drawing = tg.draw(tg.capture(step, images), zoom="module", backward=True)
    (IMAGES / "model.svg").write_text(drawing.svg(), encoding="utf-8")
    zoom()


if __name__ == "__main__":
    main()
