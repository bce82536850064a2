"""Several levels in one picture: layers from inside, at channels or neurons, among others that stay whole."""

from __future__ import annotations

import re

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.drawing import Drawing
from tinygraph.drawing.dot.render import render
from tinygraph.errors import DrawingError

IMAGE = np.random.default_rng(0).normal(size=(1, 1, 12, 12)).astype(np.float32)


class LeNet(nn.Module):
    """LeNet with fewer channels."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 2, 3)
        self.conv2 = nn.Conv2d(2, 3, 3)
        self.pool = nn.MaxPool2d(2)
        self.relu = nn.ReLU()
        self.fc1 = nn.Linear(3, 4)
        self.fc2 = nn.Linear(4, 2)

    def forward(self, x):
        x = self.pool(self.relu(self.conv1(x)))
        x = self.pool(self.relu(self.conv2(x)))
        return self.fc2(self.relu(self.fc1(x.reshape(1, -1))))


def lenet():
    tg.manual_seed(0)
    return LeNet()


def draw(**options) -> Drawing:
    return tg.draw(lenet(), inputs=IMAGE, **options)


def titles(drawing: Drawing) -> list[str]:
    return [one.title for one in drawing.picture.boxes]


def frames(drawing: Drawing) -> dict[str, list[str]]:
    """Title of each frame -> the titles of all boxes in it."""
    names = {one.id: one.title for one in drawing.picture.boxes}
    found: dict[str, list[str]] = {}

    def visit(group) -> list[str]:
        inside = [names[one] for one in group.boxes]
        for inner in group.groups:
            inside += visit(inner)
        found[group.title] = inside
        return inside

    visit(drawing.picture.root)
    return found


class TestMixedLevels:
    def test_layers_at_three_levels_and_the_rest_whole(self):
        drawing = draw(
            zoom={"conv1": "channel", "fc2": "neuron", "fc1": "op"}, element={"fc2": (0, 1), "conv1": (1, 0)}
        )
        found = titles(drawing)
        assert [one for one in found if one.startswith("tmp")] == ["tmp[1,0]"]
        assert {"conv2", "pool · call 1", "pool · call 2"} <= set(found)
        inside = frames(drawing)
        assert {"matmul", "add", "weight", "bias", "swapaxes"} <= set(inside["fc1  Linear"])
        (neuron,) = [one for one in drawing.picture.boxes if one.table]
        assert neuron.title == "matmul"
        assert [row[0] for row in neuron.table][:4] == [f"relu[0,{i}] × swapaxes[{i},1]" for i in range(4)]
        assert neuron.title in inside["matmul  matmul[0,1]"]

    def test_the_couples_are_those_of_the_network(self):
        net = lenet()
        drawing = tg.draw(net, inputs=IMAGE, zoom={"conv1": "neuron"}, element={"conv1": (0, 1, 4, 5)})
        kernel = net.conv1.weight.numpy()[1, 0]
        expected = (IMAGE[0, 0, 4:7, 5:8] * kernel).sum() + net.conv1.bias.numpy()[1]
        (out,) = [one for one in titles(drawing) if one.startswith("convolution[0,1,4,5] = ")]
        assert float(out.partition(" = ")[2]) == pytest.approx(expected, rel=1e-3)

    def test_arrows_enter_and_leave_what_is_open(self):
        drawing = draw(zoom={"conv2": "neuron"})
        names = {one.id: one.title for one in drawing.picture.boxes}
        arrows = {(names[one.tail], names[one.head]) for one in drawing.picture.arrows}
        assert {("pool · call 1", "max_pool[0,0]"), ("pool · call 1", "max_pool[0,1]")} <= arrows
        (out,) = [one for one in names.values() if one.startswith("convolution[")]
        assert (out, "relu · call 2") in arrows
        assert drawing.svg().startswith("<svg")

    def test_the_level_of_the_rest(self):
        op = titles(draw(zoom={None: "op", "conv1": "channel"}))
        module = titles(draw(zoom={"conv1": "channel"}))
        assert "matmul" in op
        assert "matmul" not in module

    def test_smaller_groups_count_more_than_those_around_them(self):
        net = nn.Sequential(nn.Sequential(nn.Linear(2, 3), nn.ReLU()), nn.Linear(3, 1))
        options = {"inputs": np.ones((1, 2), np.float32)}
        for zoom in ({"0": "op", "0.0": "module"}, {"0.0": "module", "0": "op"}):
            found = titles(tg.draw(net, zoom=zoom, **options))
            assert "relu" in found
            assert "matmul" not in found

    def test_tensors_and_nodes_choose_too(self):
        x = tg.tensor(np.ones((1, 1, 6, 6)), requires_grad=True, name="x")
        first = tg.ops.convolution(x, tg.tensor(np.ones((1, 1, 3, 3)), requires_grad=True))
        second = tg.ops.convolution(first, tg.tensor(np.ones((1, 1, 3, 3)), requires_grad=True))
        drawing = tg.draw(second, zoom={first: "channel", second.node: "neuron"}, element={first: (0, 0)})
        found = titles(drawing)
        assert sum(one.startswith("tmp[0,0]") for one in found) == 1
        assert sum(one.startswith("tmp[0,0,1,1]") for one in found) == 1 or any("Σ" in one for one in found)

    def test_both_passes_with_something_open(self):
        net = lenet()
        loss = (net(tg.tensor(IMAGE, name="image")) ** 2).mean()
        drawing = tg.draw(loss, zoom={"conv1": "channel", "conv2": "neuron"}, backward=True)
        assert "∂ fc1" in titles(drawing)
        assert "∂output/∂conv1.weight" in titles(drawing)
        assert "weight" not in titles(drawing)  # its planes stand for it
        assert drawing.svg().startswith("<svg")

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"zoom": {"conv9": "channel"}}, "conv9"),
            ({"zoom": {"conv1": "atom"}}, "'op', 'composite', 'module'"),
            ({"zoom": {None: "channel"}}, "name what to open"),
            ({"zoom": {"conv1": "channel"}, "element": (0, 0)}, "mapping"),
            ({"zoom": {"conv1": "channel"}, "element": {"conv2": (0, 0)}}, "conv2"),
            ({"zoom": {"conv1": "module"}, "element": {"conv1": (0, 0)}}, "nothing"),
            ({"zoom": {"conv1": "neuron"}, "element": {"conv1": (0, 9, 0, 0)}}, "does not exist"),
        ],
    )
    def test_what_cannot_be_opened(self, options, words):
        with pytest.raises(DrawingError, match=words):
            draw(**options)

    def test_a_module_needs_inputs(self):
        with pytest.raises(DrawingError, match="inputs="):
            tg.draw(lenet(), zoom={"conv1": "channel"})


class TestShape:
    """How wide pictures come out, as SVG says it in points."""

    @staticmethod
    def size(drawing: Drawing) -> tuple[float, float]:
        found = re.search(r'viewBox="[\d.]+ [\d.]+ ([\d.]+) ([\d.]+)"', drawing.svg())
        assert found
        return float(found[1]), float(found[2])

    def test_a_network_at_channel_level_runs_down_the_page(self):
        drawing = draw(zoom="channel")
        width, height = self.size(drawing)
        assert drawing.picture.direction == "down"
        assert width < height
        assert width < 1200

    def test_planes_of_a_row_are_in_order(self):
        drawing = draw(zoom="channel")
        lines = (line.split() for line in render(drawing.source, "plain").decode().splitlines())
        places = {words[1].strip('"'): float(words[2]) for words in lines if words[0] == "node"}
        assert len(drawing.picture.rows) > 5
        for row in drawing.picture.rows:
            across = [places[one] for one in row]
            assert across == sorted(across)

    def test_one_op_alone_runs_to_the_right(self):
        x = tg.tensor(np.ones((1, 2, 5, 5)), requires_grad=True, name="x")
        out = tg.ops.convolution(x, tg.tensor(np.ones((2, 2, 3, 3)), requires_grad=True, name="k"))
        assert tg.draw(tg.ops.relu(out), zoom="channel").picture.direction == "right"

    def test_many_channels_do_not_make_it_wider_than_a_few(self):
        images = np.zeros((1, 64, 8, 8), np.float32)
        net = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1) for _ in range(8)))
        drawing = tg.draw(net, inputs=images, zoom="channel")
        assert self.size(drawing)[0] < 2000
        assert sum(one.title.startswith("tmp[") for one in drawing.picture.boxes) == 27
        assert "3 of 8 convolutions are open" in " ".join(drawing.picture.notes)
