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


if __name__ == "__main__":
    main()
