"""What a picture is about: focus, paths, collapsed and repeated groups, overlays, joins, and gradients by branch."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.analysis.units import BYTES
from tinygraph.drawing import Drawing
from tinygraph.drawing.model.amounts import Known, alive_of
from tinygraph.drawing.model.numbers import values_of, with_backward
from tinygraph.drawing.model.selection import repeats_of
from tinygraph.drawing.page.costs import overlay_records
from tinygraph.errors import DrawingError
from tinygraph.explaining.cotangents import gradients_of

IMAGE = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x):
        return x + tg.ops.relu(self.conv(x))


def tower(count, *more):
    return nn.Sequential(*(Block() for _ in range(count)), *more)


def loss_of(net):
    image = tg.tensor(
        IMAGE, requires_grad=True, name="image"
    )  # so that the first block passes a gradient on too
    loss = (net(image) ** 2).mean()
    loss.name = "loss"
    return loss


def box(drawing: Drawing, title: str):
    return next(one for one in drawing.picture.boxes if one.title == title)


def _alive(graph):
    found = alive_of(graph)
    return [(node, found[id(node)]) for node in graph.nodes if node.op is not None]


def faded(drawing: Drawing) -> set[str]:
    return {one.title for one in drawing.picture.boxes if one.faded}


class TestFocus:
    def test_what_is_not_related_stands_back(self):
        x, y = (tg.tensor(1.0, name=name, requires_grad=True) for name in "xy")
        a = tg.ops.sin(x)
        out = a * tg.ops.cos(y)
        assert faded(tg.draw(out, focus=a)) == {"y", "cos"}
        assert faded(tg.draw(out, focus="y")) == {"x", "sin"}
        assert not faded(tg.draw(out))

    def test_a_group_is_in_focus_by_its_name(self):
        net = tower(2)
        drawing = tg.draw(net, inputs=IMAGE, focus="1.conv", zoom="module")
        assert faded(drawing) == set()
        with pytest.raises(DrawingError, match="conv3"):
            tg.draw(net, inputs=IMAGE, focus="conv3")

    def test_a_path_between_two_nodes(self):
        x, y = (tg.tensor(1.0, name=name, requires_grad=True) for name in "xy")
        out = tg.ops.sin(x) * tg.ops.cos(y)
        out.name = "out"
        drawing = tg.draw(out + 1, between=("x", "out"))
        assert faded(drawing) == {"y", "cos", "add", "output"}
        assert sum(arrow.faded for arrow in drawing.picture.arrows) == 4
        with pytest.raises(DrawingError, match="no path"):
            tg.draw(out, between=("out", "x"))

    def test_collapsing_by_name_and_by_predicate(self):
        net = tower(2)
        for chosen in ("conv", ("0.conv", "1.conv"), lambda path: path.endswith("conv")):
            drawing = tg.draw(net, inputs=IMAGE, collapse=chosen)
            assert [one.title for one in drawing.picture.boxes].count("conv") == 2
        assert not any(one.title == "conv" for one in tg.draw(net, inputs=IMAGE).picture.boxes)


class TestRepeats:
    def test_equal_neighbours_are_drawn_once(self):
        drawing = tg.draw(tower(6), inputs=IMAGE, fold=True)
        assert "0 … 5  × 6" in drawing.source
        assert [one.kind for one in drawing.picture.boxes].count("convolution") == 1
        assert len(drawing.picture.boxes) == 7  # input, two parameters, three ops, output
        assert drawing.svg().startswith("<svg")

    def test_different_neighbours_are_not(self):
        net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 3), nn.Conv2d(3, 5, 3))
        assert not repeats_of(tg.capture(net, IMAGE).nodes).counts

    def test_repeats_nest(self):
        drawing = tg.draw(nn.Sequential(*(tower(3) for _ in range(4))), inputs=IMAGE, fold=True)
        assert "× 4" in drawing.source
        assert "× 3" in drawing.source
        assert [one.kind for one in drawing.picture.boxes].count("convolution") == 1

    def test_both_passes_fold(self):
        drawing = tg.draw(loss_of(tower(5)), fold=True, backward=True, zoom="module")
        titles = [one.title for one in drawing.picture.boxes]
        assert titles.count("∂ conv") == titles.count("conv") == 1
        heads = {arrow.head for arrow in drawing.picture.arrows}
        assert box(drawing, "∂ relu").id in heads  # the gradient from behind the blocks arrives

    def test_what_follows_the_last_block_hangs_on_the_one_drawn(self):
        drawing = tg.draw(tower(3, nn.Flatten()), inputs=IMAGE, fold=True)
        add = box(drawing, "add")
        heads = {arrow.head for arrow in drawing.picture.arrows if arrow.tail == add.id}
        assert heads & {one.id for one in drawing.picture.boxes if "lat" in one.title or one.kind == "shape"}


class TestOverlays:
    def test_flops_bytes_and_time(self):
        net = nn.Conv2d(3, 4, 3)
        drawing = tg.draw(net, inputs=IMAGE, show=("names", "flops", "bytes", "time"))
        numbers = dict(box(drawing, "convolution").numbers)
        assert numbers["flops"] == f"{2 * 4 * 36 * (27 * 2 + 1) / 1e3:.3g} k"
        assert numbers["bytes"] == f"{2 * 4 * 36 * 4 / 1e3:.3g} kB"
        assert numbers["time"].endswith("s")
        assert box(drawing, "convolution").heat == 1.0

    def test_gradient_norms(self):
        x = tg.tensor([3.0, 4.0], requires_grad=True, name="x")
        drawing = tg.draw((x * x).sum() * 0.5, show=("names", "gradient_norm"))
        assert ("gradient norm", "5") in box(drawing, "x").numbers

    def test_numbers_that_are_not_finite(self):
        x = tg.tensor([1.0, 0.0, -1.0], requires_grad=True, name="x")
        with np.errstate(all="ignore"):
            out = tg.ops.log(x)
        drawing = tg.draw(out, show=("names", "nan"))
        assert ("nan", "2 not finite") in box(drawing, "log").numbers
        assert box(drawing, "x").numbers == ()

    @pytest.mark.parametrize(
        ("program", "values", "marked"),
        [
            (lambda x: np.log(x) * 2.0 + 1.0, [1.0, 0.0, -1.0], {"log": ("first", "1 inf, 1 nan")}),
            (lambda x: np.exp(x * 1e3) * 0.0, [1.0, 0.0, 2.0], {"exp": ("first", "2 inf")}),
            (lambda x: x - 1.0, [1.0, np.nan, -np.inf], {"x": ("first", "1 inf, 1 nan")}),
            (lambda x: np.sqrt(x * 0.0 + 0.0), [1.0, 2.0, 3.0], {"sqrt": ("first, backward", "3 inf")}),
            (
                lambda x: np.exp(x * 1e3) + np.log(x - 1.0),
                [2.0, 3.0, 4.0],
                {"exp": ("first", "3 inf")},
            ),
            (lambda x: x * 2.0, [1.0, 2.0, 3.0], {}),
        ],
    )
    def test_the_first_op_that_makes_them_is_marked(self, program, values, marked):
        x = tg.tensor(np.array(values), requires_grad=True, name="x")
        with np.errstate(all="ignore"):
            loss = program(x).sum()
        drawing = tg.draw(loss, show=("names", "nan"))
        found = {one.title: one.numbers[-1] for one in drawing.picture.boxes if one.marked}
        assert found == marked
        assert len(drawing.picture.notes) == len(marked)
        for title, (what, kinds) in marked.items():
            (note,) = drawing.picture.notes
            assert ("on the way back" in note) == ("backward" in what)
            assert title in note
            assert f"({kinds})" in note

    def test_values_and_gradients_are_counted_apart(self):
        x = tg.tensor([0.0, 0.0, 4.0], requires_grad=True, name="x")
        with np.errstate(all="ignore"):
            loss = (np.sqrt(x) + np.log(x) * 0.0).sum()
        drawing = tg.draw(loss, show=("names", "nan"))
        lines = {one.title: dict(one.numbers) for one in drawing.picture.boxes}
        assert lines["log"]["nan"] == "2 not finite"  # log(0) = -inf
        assert "gradient nan" not in lines["log"]
        assert "nan" not in lines["x"]  # its values are finite; 1/0 and 0/0 come back
        assert lines["x"]["gradient nan"] == "2 not finite"
        graph = tg.graph_of(loss)
        numbers = values_of(graph, ())
        known = Known(graph, numbers, gradients_of(graph, numbers), timing=False)
        records = {one.name: one for one in overlay_records(known)}
        assert records["nan"].needs == ["values"]
        assert records["gradient_nan"].needs == [
            "values",
            "gradients",
        ]  # not before a backward pass has come there
        names = [node.op.name if node.op else "x" for node in graph.nodes]
        assert dict(zip(names, records["nan"].amounts, strict=True))["x"] == 0
        assert dict(zip(names, records["gradient_nan"].amounts, strict=True))["x"] == 2

    def test_the_page_says_so_too(self):
        x = tg.tensor([1.0, 0.0, -1.0], requires_grad=True, name="x")
        with np.errstate(all="ignore"):
            graph = tg.graph_of((np.log(x) * 2.0).sum())
        numbers = values_of(graph, ())
        records = overlay_records(Known(graph, numbers, {}, timing=False))
        (nan,) = (one for one in records if one.name == "nan")
        assert [node.op and node.op.name for node in graph.nodes] == [None, "log", "multiply", "sum"]
        assert (nan.amounts, nan.marks) == ([0, 2, 2, 1], {"1": "first: 1 inf, 1 nan"})

    def test_zeros(self):
        x = tg.tensor([[-1.0, 2.0, -3.0, 4.0], [-1.0, -2.0, -3.0, 4.0]], requires_grad=True, name="x")
        with tg.core.modes.scope("layer"):
            y = tg.ops.relu(x)
        z = (y[0] + 1.0).sum()
        whole = tg.draw(z, show=("names", "zeros")).picture.boxes
        assert {one.title: dict(one.numbers).get("zeros") for one in whole} == {
            "x": None, "relu": "62.5 %", "index": "50 %", "add": None, "sum": None, "output": None,
        }  # fmt: skip
        assert {one.title: one.heat for one in whole if one.heat} == {"relu": 1.0, "index": 0.8}
        records = overlay_records(Known(tg.graph_of(z), values_of(tg.graph_of(z), ()), {}, timing=False))
        (zeros,) = (one for one in records if one.name == "zeros")
        assert (zeros.amounts, zeros.total, zeros.unit) == ([None, 0.625, 0.5, 0, 0], "largest", "share")
        assert "zeros" not in [one.name for one in overlay_records(Known(tg.graph_of(z), {}, {}))]

    def test_saved_bytes(self):
        x = tg.tensor(np.ones((4, 4)), requires_grad=True, name="x")
        drawing = tg.draw(tg.ops.sin(tg.ops.exp(x)), show=("names", "saved"))
        assert ("saved", "128 B") in box(drawing, "sin").numbers

    def test_bytes_alive_are_those_counted_by_hand(self):
        x = tg.tensor(np.ones(100), requires_grad=True, name="x")
        a = tg.ops.sin(x)
        b = tg.ops.exp(a)
        c = tg.ops.square(b)
        loss = (c * 2.0).sum()
        loss.name = "loss"
        found = alive_of(with_backward(tg.graph_of(loss)).graph)
        nodes = [node for node in with_backward(tg.graph_of(loss)).graph.nodes if node.op is not None]
        steps = [
            ("sin", 800),  # a; x is a leaf
            ("exp", 800 + 800),  # a, b; the rule of exp keeps b, so a is not needed any more
            ("square", 800 + 800),  # b, c; b is kept
            ("multiply", 800 + 800 + 800),  # b, c, 2c
            ("sum", 800 + 800 + 8),  # b, 2c, loss
        ]
        assert [node.op.name for node in nodes[: len(steps)]] == [name for name, _ in steps]
        assert list(found.values())[: len(steps)] == [float(size) for _, size in steps]
        backward = [(node.op.name, amount) for node, amount in zip(nodes, found.values(), strict=True)][5:]
        # b and the loss, and the seed spread out, which is a view of it; at the most b, the gradient that came to
        # square, 2 b, and their product
        assert backward[0] == ("broadcast_to", 808.0)
        assert max(found.values()) == max(amount for _, amount in backward) == 800 * 4 + 8

    def test_without_a_backward_pass_what_it_needs_stays(self):
        x = tg.tensor(np.ones(100), requires_grad=True, name="x")
        kept = alive_of(tg.graph_of(tg.ops.exp(tg.ops.square(tg.ops.sin(x)))))
        assert list(kept.values()) == [800.0, 1600.0, 2400.0]  # sin for square, the result for exp
        free = alive_of(tg.capture(lambda x: tg.ops.exp(tg.ops.square(tg.ops.sin(x))), np.ones(100)))
        assert list(free.values()) == [800.0, 1600.0, 1600.0]

    def test_the_peak_is_marked_and_named(self):
        loss = loss_of(tower(2))
        drawing = tg.draw(loss, backward=True, zoom="module", show=("names", "alive"))
        (peak,) = [one for one in drawing.picture.boxes if one.marked]
        assert peak.backward
        assert peak.heat == 1.0
        ((name, text),) = peak.numbers
        amounts = alive_of(with_backward(tg.graph_of(loss)).graph)
        assert (name, text) == ("alive", f"{BYTES.text(max(amounts.values()))}, the peak")
        (note,) = drawing.picture.notes
        assert f"The peak is {BYTES.text(max(amounts.values()))}, at " in note
        assert 'penwidth="2.5"' in drawing.source or "penwidth=2.5" in drawing.source

    def test_a_group_has_the_most_that_is_alive_inside_it(self):
        loss = loss_of(tower(2))
        graph = tg.graph_of(loss)
        inside = [amount for node, amount in _alive(graph) if node.scope[:2] and node.scope[0][0] == "1"]
        drawing = tg.draw(graph, collapse="1", show=("names", "alive"))
        title = next(one for one in drawing.picture.boxes if one.title.startswith("1"))
        assert dict(title.numbers)["alive"].startswith(BYTES.text(max(inside)))

    def test_a_collapsed_group_has_the_sum(self):
        drawing = tg.draw(tower(2), inputs=IMAGE, show=("names", "flops"), zoom="module")
        flops = dict(box(drawing, "conv").numbers)["flops"]
        assert flops == f"{2 * 3 * 64 * (27 * 2 + 1) / 1e3:.3g} k"

    def test_an_unknown_overlay(self):
        with pytest.raises(DrawingError, match="flops"):
            tg.draw(tower(1), inputs=IMAGE, show=("heat",))


class TestBackward:
    def test_bridges_have_their_bytes_and_gradients_join(self):
        x = tg.tensor(np.ones((8, 8), np.float32), requires_grad=True, name="x")
        h = tg.ops.exp(x)
        drawing = tg.draw((h * tg.ops.sin(h)).sum(), backward=True)
        assert {arrow.label for arrow in drawing.picture.arrows if arrow.role == "saved"} == {"256 B"}
        assert [one.kind for one in drawing.picture.boxes].count("join") == 1

    def test_gradients_of_several_boxes_join_in_one_outside_of_their_frame(self):
        drawing = tg.draw(loss_of(tower(2, nn.Flatten())), backward=True, zoom="module")
        joins = [one for one in drawing.picture.boxes if one.kind == "join"]
        assert len(joins) == 2  # where each block begins
        names = {one.id: one.title for one in drawing.picture.boxes}
        around = {one: group.title for group in drawing.picture.root.groups for one in group.boxes}
        for join in joins:
            tails = [names[arrow.tail] for arrow in drawing.picture.arrows if arrow.head == join.id]
            assert len(set(tails)) == 2
            assert "∂ conv" in tails
            assert any(arrow.tail == join.id for arrow in drawing.picture.arrows)
        between = joins[0]  # what the second block read is what the first one gave
        heads = {names[arrow.head] for arrow in drawing.picture.arrows if arrow.tail == between.id}
        assert heads == {"∂ relu", "+"}
        assert between.id not in around

    def test_a_sum_within_a_rule_is_no_join(self):
        x = tg.tensor(np.ones(3), requires_grad=True, name="x")
        drawing = tg.draw(tg.ops.tanh(x).sum(), backward=True)
        assert not any(one.kind == "join" for one in drawing.picture.boxes)


class TestContributions:
    def test_the_parts_of_a_square_and_a_line(self):
        x = tg.tensor(3.0, requires_grad=True, name="x")
        found = tg.contributions(x * x + x * 2, x)
        assert [float(one.value) for one in found] == [3.0, 3.0, 2.0]
        assert found.total == found.gradient == 8.0
        assert "multiply#2 → add" in repr(found)

    @pytest.mark.parametrize("limit", [1, 2, 5, 16, 100])
    def test_they_add_up_however_far_they_are_split(self, limit):
        net = tower(3).double()
        image = tg.tensor(IMAGE.astype(np.float64), requires_grad=True, name="image")
        loss = (net(image) ** 2).mean()
        found = tg.contributions(loss, image, limit=limit)
        loss.backward()
        np.testing.assert_allclose(found.total, image.grad.numpy(), rtol=1e-5, atol=1e-9)
        assert found.error < 1e-5
        assert sum(one.share for one in found) == pytest.approx(1, abs=1e-5)
        assert len(found) <= max(limit, 2)
        assert len(found) == 8 or limit < 8  # each of three blocks goes around or through

    def test_of_what_has_several_outputs(self):
        x = tg.tensor(np.arange(6.0), requires_grad=True, name="x")
        one, two = tg.ops.split(tg.ops.sin(x), sections=2)
        loss = (one * two).sum() + one.sum()
        found = tg.contributions(loss, "x")
        loss.backward()
        np.testing.assert_allclose(found.total, x.grad.numpy(), rtol=1e-12)
        assert len(found) == 3

    def test_the_drawing_has_widths(self):
        x = tg.tensor(3.0, requires_grad=True, name="x")
        drawing = tg.draw(tg.contributions(x * x + x * 2, x))
        assert "penwidth" in drawing.source
        assert {"  38%", "  25%", "  75%"} <= {arrow.label for arrow in drawing.picture.arrows}

    def test_what_cannot_be_split(self):
        x = tg.tensor(3.0, requires_grad=True, name="x")
        y = tg.tensor(3.0, requires_grad=True, name="y")
        with pytest.raises(tg.errors.RecordingError, match="not in the graph"):
            tg.contributions(x * x, y)
        with pytest.raises(tg.errors.SettingError, match="limit"):
            tg.contributions(x * x, x, limit=0)
        with pytest.raises(tg.errors.RecordingError, match="depend"):
            tg.contributions(tg.ops.sign(x) * y, x)


class TestDigits:
    def test_cancellation_costs_the_digits_and_is_pointed_at(self):
        near = tg.tensor(np.float32([10000.0, 10001.0, 10003.0]), requires_grad=True, name="near")
        spread = (near * near).mean() - near.mean() ** 2
        exact = float(np.var([10000.0, 10001.0, 10003.0]))
        wrong = np.log10(abs(float(spread.item()) - exact) / exact / (np.finfo(np.float32).eps / 2))
        graph = tg.graph_of(spread)
        known = Known(graph, values_of(graph, ()), {})
        lost = {node.op.name: known.digits[id(node)] for node in graph.nodes if id(node) in known.digits}
        assert lost["subtract"] == pytest.approx(wrong, abs=1e-3)
        assert lost["subtract"] > 5 > 1 > lost["multiply"]
        drawing = tg.draw(spread, show=("names", "digits"))
        (marked,) = (one for one in drawing.picture.boxes if one.marked)
        assert marked.title == "subtract"
        assert any("double precision" in note and "subtract" in note for note in drawing.picture.notes)

    def test_double_precision_and_random_numbers_lose_none(self):
        tg.manual_seed(0)
        x = tg.tensor(np.arange(3.0), requires_grad=True)
        graph = tg.graph_of((x * x).sum())
        assert Known(graph, values_of(graph, ()), {}).digits == {}
        kept = tg.nn.functional.dropout(tg.tensor(np.ones(50, np.float32), requires_grad=True), 0.5)
        graph = tg.graph_of(kept.sum())
        assert max(Known(graph, values_of(graph, ()), {}).digits.values()) == 0
        assert "digits" not in [one.name for one in overlay_records(Known(graph, values_of(graph, ()), {}))]
        asked = overlay_records(Known(graph, values_of(graph, ()), {}), "digits")
        assert "digits" in [one.name for one in asked]
