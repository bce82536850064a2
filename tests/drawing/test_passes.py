"""Several passes in one picture: gradients of gradients beside gradients, and training steps with their updates."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.analysis.phases import orders_of
from tinygraph.core.graph import replay
from tinygraph.core.node import edge_node
from tinygraph.drawing import Drawing
from tinygraph.drawing.dot.graphviz_worker import labels_in_boxes
from tinygraph.drawing.dot.render import render
from tinygraph.drawing.model.numbers import with_backward
from tinygraph.errors import DrawingError


def cubic(at=2.0):
    x = tg.tensor(at, requires_grad=True, name="x")
    y = tg.ops.sin(x) * x**3
    y.name = "y"
    return y


def mlp():
    tg.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    loss = (net(tg.tensor(np.ones((2, 3), np.float32), name="x")) ** 2).mean()
    loss.name = "loss"
    return loss


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(3, 4)
        self.relu = nn.ReLU()
        self.last = nn.Linear(4, 2)

    def forward(self, x):
        return self.last(self.relu(self.hidden(x)))


def training_step(make, clear_first=True):
    tg.manual_seed(0)
    net = Net()
    optimizer = make(net.parameters())

    def step(x, labels):
        if clear_first:
            optimizer.zero_grad()
        loss = tg.ops.cross_entropy(net(x), labels)
        loss.name = "loss"
        loss.backward()
        optimizer.step()
        if not clear_first:
            optimizer.zero_grad()
        return loss

    return tg.capture(step, np.zeros((5, 3), np.float32), np.zeros(5, int))


OPTIMIZERS = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.1),
    "momentum": lambda parameters: optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.01),
    "Adam": lambda parameters: optim.Adam(parameters, lr=1e-3),
}
PARAMETERS = ["hidden.weight", "hidden.bias", "last.weight", "last.bias"]


def box(drawing: Drawing, title: str):
    found = [one for one in drawing.picture.boxes if one.title == title]
    assert len(found) == 1, (title, [one.title for one in drawing.picture.boxes])
    return found[0]


def places(drawing: Drawing) -> dict[str, tuple[float, float]]:
    """Where Graphviz puts each box: (x, y), y growing upwards."""
    lines = render(drawing.source, "plain").decode().splitlines()
    words = [line.split() for line in lines if line.startswith("node ")]
    return {word[1].strip('"'): (float(word[2]), float(word[3])) for word in words}


class TestSecondOrder:
    def test_its_numbers_are_second_derivatives(self):
        at = 1.3
        found = with_backward(tg.graph_of(cubic(at)), passes=2)
        values = replay(found.graph)
        first, second = (
            values[id(edge_node(found.graph.outputs[i]))]
            for i, (of, order) in sorted(found.gradients.items(), key=lambda item: item[1][1])
        )
        sin, cos = np.sin(at), np.cos(at)
        assert first == pytest.approx(cos * at**3 + 3 * sin * at**2)
        assert second == pytest.approx(-sin * at**3 + 6 * cos * at**2 + 6 * sin * at)

    def test_of_several_parameters_it_is_the_gradient_of_their_sum(self):
        def total(w, b):
            y = (tg.ops.tanh(w * 2.0) * b).sum()
            return y

        w = tg.tensor([0.3, -0.5], requires_grad=True, name="w")
        b = tg.tensor([1.5, 0.7], requires_grad=True, name="b")
        drawing = tg.draw(total(w, b), backward=2)
        assert "sum of all gradients" in drawing.picture.notes[0]
        found = with_backward(tg.graph_of(total(w, b)), passes=2)
        values = replay(found.graph)
        made = {
            of: values[id(edge_node(found.graph.outputs[i]))]
            for i, (of, order) in found.gradients.items()
            if order == 2
        }
        hessian = tg.hessian(lambda v: total(v[:2], v[2:]))(np.array([0.3, -0.5, 1.5, 0.7]))
        np.testing.assert_allclose(np.concatenate([made["w"], made["b"]]), hessian.sum(0))

    def test_every_op_belongs_to_one_pass(self):
        graph = with_backward(tg.graph_of(mlp()), passes=2).graph
        first = with_backward(tg.graph_of(mlp())).graph
        orders = orders_of(graph.nodes)
        forward = sum(node.op is not None and node.phase == "forward" for node in first.nodes)
        ones = sum(order == 1 for order in orders.values())
        assert ones == sum(node.phase == "backward" or node.kind == "seed" for node in first.nodes)
        assert {node.phase for node in graph.nodes if orders.get(id(node)) == 2} == {"backward", "forward"}
        assert forward + len(orders) + 5 == len(graph.nodes)  # four parameters and x

    @pytest.mark.parametrize("zoom", ["op", "module"])
    def test_each_box_stands_opposite_what_it_differentiates(self, zoom):
        drawing = tg.draw(mlp(), backward=2, zoom=zoom)
        boxes = {one.id: one for one in drawing.picture.boxes}
        where = places(drawing)
        opposed = [one for one in boxes.values() if one.backward and one.opposite]
        assert {one.backward for one in opposed} == {1, 2}
        for one in opposed:
            assert boxes[one.opposite].backward <= one.backward
            assert where[one.id][1] == pytest.approx(where[one.opposite][1], abs=0.01)
            assert where[one.id][0] > where[one.opposite][0]
        taken = [one.opposite for one in opposed]
        assert len(set(taken)) == len(taken)

    def test_the_columns_at_module_level(self):
        drawing = tg.draw(mlp(), backward=2, zoom="module")
        row = ["1 Tanh", "∂ 1 tanh", "∂(∂ 1 tanh)", "∂² 1 tanh"]
        boxes = [box(drawing, title) for title in row]
        assert [one.backward for one in boxes] == [0, 1, 2, 2]
        assert [one.opposite for one in boxes[1:]] == [one.id for one in boxes[:-1]]

    def test_values_that_are_kept_are_bridges_with_their_bytes(self):
        drawing = tg.draw(mlp(), backward=2, zoom="module")
        order = {one.id: one.backward for one in drawing.picture.boxes}
        bridges = [arrow for arrow in drawing.picture.arrows if arrow.role == "saved"]
        assert {(order[arrow.tail], order[arrow.head]) for arrow in bridges} == {(0, 1), (0, 2), (1, 2)}
        tanh = box(drawing, "1 Tanh").id
        assert {arrow.label for arrow in bridges if arrow.tail == tanh} == {"32 B"}  # 2x4 float32

    def test_no_label_of_a_bridge_lies_in_a_box(self):
        drawing = tg.draw(mlp(), backward=2, zoom="module")
        arrows = {(arrow.tail, arrow.head) for arrow in drawing.picture.arrows if arrow.label}
        plain = render(drawing.source, "plain").decode()
        assert labels_in_boxes(plain, arrows) == []
        kept = sum(arrow.label == "32 B" for arrow in drawing.picture.arrows)
        assert drawing.svg().replace("\xa0", " ").count("32 B") == kept  # and none is lost

    def test_views_of_parameters_are_bridges_without_bytes(self):
        x = tg.tensor(np.ones((2, 3)), requires_grad=True, name="x")
        w = tg.tensor(np.ones((4, 3)), requires_grad=True, name="w")
        h = x @ w.T
        loss = (h * h).sum()
        drawing = tg.draw(loss, backward=True)
        names = {one.id: one.title for one in drawing.picture.boxes}
        labels = {names[one.tail]: one.label for one in drawing.picture.arrows if one.role == "saved"}
        assert labels["transpose"] == ""
        assert labels["matmul"] == "64 B"

    def test_the_joins_of_both_passes_are_boxes(self):
        joins = [one for one in tg.draw(cubic(), backward=2).picture.boxes if one.kind == "join"]
        assert sorted(one.backward for one in joins) == [1, 2, 2, 2]

    def test_constant_gradients_have_no_second_order(self):
        x = tg.tensor(2.0, requires_grad=True, name="x")
        drawing = tg.draw(x * 3.0, backward=2)
        assert not any(one.backward == 2 and one.kind != "gradient" for one in drawing.picture.boxes)
        assert "no second order" in drawing.picture.notes[0]

    @pytest.mark.parametrize("backward", [3, -1, "yes"])
    def test_other_orders(self, backward):
        with pytest.raises(DrawingError, match="backward="):
            tg.draw(cubic(), backward=backward)


class Block(nn.Module):
    """A residual block that shrinks what passes it, with a layer on both ways, as in ResNet."""

    def __init__(self, channels, stride):
        super().__init__()
        wide = channels * stride
        self.conv1 = nn.Conv2d(channels, wide, 3, stride=stride, padding=1)
        self.bn1 = nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(wide)
        self.relu = nn.ReLU()
        self.down = nn.Sequential(nn.Conv2d(channels, wide, 1, stride=stride)) if stride > 1 else None

    def forward(self, x):
        inside = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(inside + (x if self.down is None else self.down(x)))


class TestFrames:
    def test_blocks_stay_below_each_other_with_both_passes_inside(self):
        tg.manual_seed(0)
        net = nn.Sequential(
            Block(4, 1), Block(4, 2), Block(8, 1), Block(8, 2), nn.Flatten(), nn.Linear(64, 3)
        )
        loss = tg.ops.cross_entropy(net(np.ones((2, 4, 8, 8), np.float32)), np.array([0, 1]))
        drawing = tg.draw(loss, backward=True, zoom="module")
        picture, where = drawing.picture, places(drawing)
        blocks = [_inside(group) for group in picture.root.groups]
        assert len(blocks) == 4
        for upper, lower in itertools.pairwise(blocks):
            assert min(where[one][1] for one in upper) > max(where[one][1] for one in lower)
        across = [where[one][0] for one in where if one in {box.id for box in picture.boxes}]
        down = [where[one][1] for one in where]
        assert max(across) - min(across) < 0.6 * (max(down) - min(down))
        beside = [one for one in picture.boxes if one.backward and one.opposite]
        assert all(where[one.id][0] > where[one.opposite][0] for one in beside)


def _inside(group) -> list[str]:
    return [*group.boxes, *(one for inner in group.groups for one in _inside(inner))]


class TestTrainingSteps:
    @pytest.mark.parametrize("name", OPTIMIZERS)
    @pytest.mark.parametrize("clear_first", [True, False])
    def test_each_parameter_has_one_update_after_its_gradient(self, name, clear_first):
        drawing = tg.draw(training_step(OPTIMIZERS[name], clear_first), zoom="module")
        boxes = {one.id: one for one in drawing.picture.boxes}
        assert sum(one.kind == "update" for one in boxes.values()) == len(PARAMETERS)
        where = places(drawing)
        for parameter in PARAMETERS:
            update = box(drawing, f"new {parameter}")
            (arrow,) = [arrow for arrow in drawing.picture.arrows if arrow.head == update.id]
            gradient = boxes[arrow.tail]
            assert gradient.kind == "gradient"
            assert parameter in gradient.title
            assert where[update.id][1] > where[gradient.id][1]
            beside = "∂ relu" if parameter.startswith("last") else "hidden"  # to the right of the passes
            assert where[update.id][0] > where[box(drawing, beside).id][0]

    def test_an_update_names_the_states_it_reads(self):
        drawing = tg.draw(training_step(OPTIMIZERS["Adam"]), zoom="module")
        words = " ".join(box(drawing, "new hidden.weight").lines)
        assert words.startswith("4×3")
        for state in ("step", "exp_avg", "exp_avg_sq", "lr", "betas"):
            assert state in words
        assert not [one for one in drawing.picture.boxes if one.kind == "buffer"]

    def test_op_by_op_an_update_is_a_frame_at_the_end_with_its_parameter(self):
        drawing = tg.draw(training_step(OPTIMIZERS["momentum"]))
        picture, where = drawing.picture, places(drawing)
        boxes = {one.id: one for one in picture.boxes}
        frames = [group for group in picture.root.groups if group.title.startswith("update ")]
        assert sorted(group.title for group in frames) == sorted(f"update {name}" for name in PARAMETERS)
        inside = {one for group in frames for one in group.boxes}
        lowest = min(where[one][1] for one in boxes if one not in inside)
        for group in frames:
            name = group.title.removeprefix("update ")
            assert max(where[one][1] for one in group.boxes) < lowest
            titles = {boxes[one].title for one in group.boxes}
            expected = {name, f"{name}.grad", f"{name}.momentum_buffer", "subtract", f"new {name}"}
            assert titles >= expected
        crossing = [one for one in picture.arrows if (one.tail in inside) != (one.head in inside)]
        assert not crossing

    def test_shared_states_are_words(self):
        drawing = tg.draw(training_step(OPTIMIZERS["momentum"]))
        assert not [one for one in drawing.picture.boxes if one.title in ("lr", "momentum")]
        lines = [line for one in drawing.picture.boxes for line in one.lines]
        assert sum("= lr" in line for line in lines) == len(PARAMETERS)

    def test_blocks_that_repeat_leave_out_their_updates(self):
        net = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.ReLU()) for _ in range(4)))
        optimizer = optim.SGD(net.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = (net(x) ** 2).mean()
            loss.backward()
            optimizer.step()
            return loss

        graph = tg.capture(step, np.zeros((2, 3), np.float32))
        drawing = tg.draw(graph, fold=True, zoom="module")
        updates = sum(one.kind == "update" for one in drawing.picture.boxes)
        assert (
            updates == 4
        )  # of the first block, which passes no gradient on, and of one that stands for three
        assert drawing.svg().startswith("<svg")
