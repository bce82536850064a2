"""Networks as people draw them: they can be read on a page, boxes and frames lie apart, results are named right."""

from __future__ import annotations

import itertools
import re
import warnings
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.drawing.dot.onto_sheet import placed
from tinygraph.errors import TinygraphWarning


class Block(nn.Module):
    """A residual block, as in ResNet-18."""

    def __init__(self, ins: int, outs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(ins, outs, 3, stride=stride, padding=1, bias=False)
        self.conv2 = nn.Conv2d(outs, outs, 3, padding=1, bias=False)
        self.bn1, self.bn2, self.relu = nn.BatchNorm2d(outs), nn.BatchNorm2d(outs), nn.ReLU()
        short = (nn.Conv2d(ins, outs, 1, stride=stride, bias=False), nn.BatchNorm2d(outs))
        self.down = nn.Sequential(*short) if stride > 1 else None

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.down is None else self.down(x)))


def resnet18(width: int = 4) -> tuple[Any, tuple[Any, ...]]:
    """All its layers, with few channels."""
    sizes = [width, width, 2 * width, 4 * width, 8 * width]
    stages = {
        f"layer{i}": nn.Sequential(Block(sizes[i - 1], sizes[i], 1 + (i > 1)), Block(sizes[i], sizes[i], 1))
        for i in range(1, 5)
    }

    class ResNet18(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
            self.bn1, self.relu, self.maxpool = nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(3, 2, 1)
            for name, stage in stages.items():
                setattr(self, name, stage)
            self.avgpool, self.flatten = nn.AdaptiveAvgPool2d(1), nn.Flatten()
            self.fc = nn.Linear(sizes[4], 1000)

        def forward(self, x: Any) -> Any:
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            for name in stages:
                x = getattr(self, name)(x)
            return self.fc(self.flatten(self.avgpool(x)))

    return ResNet18(), (np.ones((1, 3, 64, 64), np.float32),)


def twice(ins: int, outs: int) -> Any:
    return nn.Sequential(
        nn.Conv2d(ins, outs, 3, padding=1), nn.ReLU(), nn.Conv2d(outs, outs, 3, padding=1), nn.ReLU()
    )


class UNet(nn.Module):
    """Four levels, as in the article."""

    def __init__(self, widths: tuple[int, ...] = (2, 4, 8, 16)) -> None:
        super().__init__()
        up = widths[-2::-1]
        self.downs = nn.ModuleList([twice(a, b) for a, b in itertools.pairwise((1, *widths))])
        self.ups = nn.ModuleList([nn.ConvTranspose2d(2 * a, a, 2, stride=2) for a in up])
        self.joins = nn.ModuleList([twice(2 * a, a) for a in up])
        self.pool, self.head = nn.MaxPool2d(2), nn.Conv2d(widths[0], 2, 1)

    def forward(self, x: Any) -> Any:
        skips = []
        for down in list(self.downs)[:-1]:
            skips.append(down(x))
            x = self.pool(skips[-1])
        x = self.downs[-1](x)
        for up, join, skip in zip(self.ups, self.joins, reversed(skips), strict=True):
            x = join(np.concatenate([up(x), skip], axis=1))
        return self.head(x)


class Siamese(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.tower = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))

    def forward(self, a: Any, b: Any) -> Any:
        return np.sum((self.tower(a) - self.tower(b)) ** 2)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.0, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(16, 20)

    def forward(self, x: Any) -> Any:
        return self.head(self.encoder(x))


NETWORKS = {
    "ResNet-18": resnet18,
    "U-Net": lambda: (UNet(), (np.ones((1, 1, 16, 16), np.float32),)),
    "siamese": lambda: (Siamese(), (np.ones((2, 6), np.float32),) * 2),
    "transformer": lambda: (Encoder(), (np.ones((2, 5, 16), np.float32),)),
}


@pytest.mark.parametrize("room", ["A4", "slide"])
@pytest.mark.parametrize("name", NETWORKS)
def test_layers_can_be_read_on_one_page_and_one_slide(name: str, room: str) -> None:
    model, inputs = NETWORKS[name]()
    with warnings.catch_warnings():
        warnings.simplefilter("error", TinygraphWarning)  # words below 5 points
        drawing = tg.draw(model, inputs=inputs, zoom="module", direction="wrap", width=room)
        svg = drawing.svg()
    width, height = (float(one) / 72 * 2.54 for one in re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2])
    most = {"A4": (17.0, 24.5), "slide": (30.0, 14.5)}[room]
    assert width <= most[0] + 0.1
    assert height <= most[1] + 0.1


@pytest.mark.parametrize("name", NETWORKS)
def test_in_columns_nothing_lies_over_anything_else(name: str) -> None:
    model, inputs = NETWORKS[name]()
    drawing = tg.draw(model, inputs=inputs, zoom="module", direction="wrap", width="A4")
    places = placed(drawing._layout(drawing.source)).places
    boxes = {box.id: places[box.id] for box in drawing._fitted[0].boxes}
    for a, b in itertools.combinations(boxes.values(), 2):
        assert abs(a.x - b.x) >= (a.width + b.width) / 2 or abs(a.y - b.y) >= (a.height + b.height) / 2
    # frames lie apart or one within the other
    frames = [tuple(map(float, one.split(","))) for one in re.findall(r'bb="([^"]+)"', drawing.source)]
    assert len(frames) >= (0 if name == "siamese" else 2)
    for (left, low, right, high), (left2, low2, right2, high2) in itertools.combinations(frames, 2):
        apart = left >= right2 or left2 >= right or low >= high2 or low2 >= high
        inside = (left >= left2 and right <= right2 and low >= low2 and high <= high2) or (
            left2 >= left and right2 <= right and low2 >= low and high2 <= high
        )
        assert apart or inside


def test_a_layer_says_the_shape_of_what_it_gives_not_of_what_it_keeps() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    x = np.ones((2, 1, 8, 8), np.float32)
    (norm,) = [box for box in tg.draw(model, inputs=x, zoom="module", direction="wrap").picture.boxes
               if "BatchNorm2d" in box.title]  # fmt: skip
    assert norm.lines == ("→ 2×4×6×6",)  # its running mean and variance have 4 elements
    assert norm.shape == (2, 4, 6, 6)
    assert norm.kind == "normalization"
    model.eval()  # it is elementwise then
    (norm,) = [
        box for box in tg.draw(model, inputs=x, zoom="module").picture.boxes if "BatchNorm2d" in box.title
    ]
    assert norm.kind == "normalization"
    assert norm.lines == ("weight (4,)", "bias (4,)")


def test_inputs_and_outputs_stand_in_the_order_of_the_program() -> None:
    model, inputs = NETWORKS["siamese"]()
    drawing = tg.draw(model, inputs=inputs, zoom="module")
    places = placed(drawing._layout(drawing.source)).places
    x = {box.title: places[box.id].x for box in drawing.picture.boxes}
    assert x["a"] < x["b"]
    both = tg.draw(tg.capture(lambda a, b: (np.exp(b), np.tanh(a)), 1.0, 2.0))
    places = placed(both._layout(both.source)).places
    x = {box.title: places[box.id].x for box in both.picture.boxes}
    assert x["output 0"] < x["output 1"]
    assert x["exp"] < x["tanh"]


def test_words_are_those_of_the_program_and_of_papers() -> None:
    graph = tg.capture(lambda x: x[:, -1, None, 1:7:2], np.ones((2, 3, 8)))
    (box,) = [box for box in tg.draw(graph).picture.boxes if box.title == "index"]
    assert box.lines == ("pattern [:, -1, None, 1:7:2]",)
    tree = tg.draw(nn.Sequential(nn.Linear(8, 32), nn.MaxPool2d(2), nn.Conv2d(1, 4, 3, stride=2)))
    assert [box.lines for box in tree.picture.boxes][1:] == [
        ("8 → 32", "weight 32×8", "bias (32,)"), ("2×2",), ("3×3, stride 2, 1 → 4", "weight 4×1×3×3", "bias (4,)"),
    ]  # fmt: skip
