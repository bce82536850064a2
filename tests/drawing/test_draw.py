"""Drawings of graphs and modules: what is in them, at each level, with which words, and that nothing leaks or breaks.

What DOT text looks like once laid out is tested in test_render.py.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.core.modes import scope
from tinygraph.core.op import KINDS
from tinygraph.drawing import Drawing
from tinygraph.drawing.dot.onto_sheet import placed
from tinygraph.drawing.drawing import with_prefix
from tinygraph.drawing.model.levels import FOLD_ENDS, visible
from tinygraph.drawing.styles import load_style, style_names
from tinygraph.errors import DrawingError, RecordingError, TinygraphWarning

SVG = "{http://www.w3.org/2000/svg}"


def parabola():
    x = tg.tensor(3.0, requires_grad=True, name="x")
    y = x * x + 2 * x
    y.name = "y"
    return y


def small_net():
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(2 * 4 * 4, 3))


IMAGE = np.zeros((2, 1, 6, 6), np.float32)


def titles(drawing: Drawing) -> list[str]:
    return [box.title for box in drawing.picture.boxes]


def box(drawing: Drawing, title: str):
    return next(box for box in drawing.picture.boxes if box.title == title)


def texts(svg: str) -> str:
    return "\n".join("".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{SVG}text"))


class TestContent:
    def test_an_expression_shows_each_op_and_operand(self):
        drawing = tg.draw(parabola())
        assert titles(drawing) == ["x", "multiply", "multiply", "y = add", "y"]
        assert box(drawing, "x").kind == "parameter"
        assert len(drawing.picture.arrows) == 6  # x enters x * x twice

    def test_shapes_stand_on_arrows_and_dtypes_only_where_they_are_unusual(self):
        def f(x, index):
            return x[index].sum()

        graph = tg.capture(f, np.zeros((3, 4), np.float32), np.array([0, 1]))
        labels = {arrow.label for arrow in tg.draw(graph).picture.arrows}
        assert "2×4" in labels
        assert box(tg.draw(graph), "index").lines == ("(2,) int64",)
        assert tg.draw(graph, show=()).picture.arrows[0].label == ""

    def test_settings_that_equal_the_default_are_not_shown(self):
        net = nn.Conv2d(1, 2, 3, stride=(1, 1), padding=1)
        lines = box(tg.draw(net, inputs=IMAGE), "convolution").lines
        assert lines == ("padding (1, 1)",)

    def test_values_and_gradients_are_shown_before_backward_and_leave_grad_alone(self):
        y = parabola()
        drawing = tg.draw(y, show=("names", "values", "gradients"))
        assert box(drawing, "x").numbers == (("value", "3"), ("grad", "8"))
        assert box(drawing, "y = add").numbers == (("value", "15"), ("grad", "1"))
        assert tg.graph_of(y).leaves[0].grad is None
        assert "computed for this picture" in drawing.picture.notes[0]

    def test_gradients_of_every_node_equal_those_of_backward(self):
        rng = np.random.default_rng(0)
        w = tg.tensor(rng.normal(size=(2, 3)), requires_grad=True, name="w")
        b = tg.tensor(rng.normal(size=3), requires_grad=True, name="b")
        hidden = tg.tensor(rng.normal(size=(4, 2))) @ w + b
        loss = (tg.ops.split(hidden, sections=3, axis=1)[1] ** 2).sum()
        drawing = tg.draw(loss, show=("names", "gradients"))
        loss.backward()
        expected = f"[{', '.join(f'{g:.4g}' for g in b.grad.numpy())}]"
        assert box(drawing, "b").numbers == (("grad", expected),)

    def test_gradients_of_a_vector_need_backward_first(self):
        x = tg.tensor([1.0, 2.0], requires_grad=True, name="x")
        y = x * x
        with pytest.raises(DrawingError, match="backward"):
            tg.draw(y, show=("gradients",))
        y.backward(np.array([1.0, 1.0]))
        assert box(tg.draw(y, show=("names", "gradients")), "x").numbers == (("grad", "[2, 4]"),)

    def test_values_of_a_captured_graph_need_inputs(self):
        graph = tg.capture(lambda x: (x * 2).sum(), np.zeros(3))
        with pytest.raises(DrawingError, match=r"inputs="):
            tg.draw(graph, show=("values",))
        drawing = tg.draw(graph, inputs=np.array([1.0, 2.0, 3.0]), show=("values", "gradients"))
        assert box(drawing, "multiply").numbers == (("value", "[2, 4, 6]"), ("grad", "[1, 1, 1]"))

    def test_large_arrays_are_summarised(self):
        x = tg.tensor(np.arange(100.0), requires_grad=True, name="x")
        row = box(tg.draw(x * 1.0, show=("names", "values")), "x").numbers[0]
        assert row == ("value", "0 … 99, mean 49.5")

    def test_state_updates_are_outputs(self):
        drawing = tg.draw(nn.Sequential(nn.BatchNorm2d(1)), inputs=IMAGE)
        assert "new running_mean" in titles(drawing)
        assert box(drawing, "new running_mean").kind == "update"

    def test_source_lines_have_no_folder(self):
        lines = [line for one in tg.draw(parabola(), show=("source",)).picture.boxes for line in one.lines]
        assert any(re.fullmatch(r"test_draw\.py:\d+", line) for line in lines)

    def test_an_unused_input_is_shown(self):
        assert "unused" in titles(tg.draw(tg.capture(lambda x, unused: x * 2, np.zeros(2), np.zeros(3))))


class TestLevels:
    def test_module_level_is_the_layer_chain(self):
        drawing = tg.draw(small_net(), inputs=IMAGE, zoom="module")
        assert titles(drawing) == ["input", "0 Conv2d", "1 ReLU", "2 Flatten", "3 Linear", "output"]
        assert box(drawing, "0 Conv2d").lines == ("3×3, 1 → 2", "weight 2×1×3×3", "bias (2,)")
        assert [arrow.label for arrow in drawing.picture.arrows] == ["", "2×2×4×4", "2×2×4×4", "2×32", "2×3"]

    def test_frames_surround_ops_and_lone_ops_need_none(self):
        picture = tg.draw(small_net(), inputs=IMAGE).picture
        assert [group.title for group in picture.root.groups] == ["0  Conv2d", "3  Linear"]
        assert box(tg.draw(small_net(), inputs=IMAGE), "relu").caption == "1"

    def test_repeated_calls_are_numbered_from_one_whatever_ran_before(self):
        def run():
            x = tg.tensor(2.0, requires_grad=True, name="x")
            for _ in range(2):
                with scope("twice"):
                    x = x * x + 1
            return tg.draw(x)

        first, second = run(), run()
        assert [group.title for group in first.picture.root.groups] == ["twice · call 1", "twice · call 2"]
        assert first.source == second.source

    def test_composites_are_boxes_at_composite_level(self):
        x = tg.tensor(np.zeros((2, 3)), requires_grad=True, name="x")
        y = np.var(x)
        assert len(tg.draw(y).picture.boxes) > 4
        assert titles(tg.draw(y, zoom="composite")) == ["x", "var", "output"]

    @pytest.mark.parametrize("zoom", ["atom", "Op"])
    def test_other_levels_say_what_exists(self, zoom):
        with pytest.raises(DrawingError, match="'op', 'composite', 'module'"):
            tg.draw(parabola(), zoom=zoom)

    def test_a_module_without_inputs_is_a_tree(self):
        drawing = tg.draw(small_net())
        assert titles(drawing) == ["Sequential", "0 Conv2d", "1 ReLU", "2 Flatten", "3 Linear"]
        assert [arrow.role for arrow in drawing.picture.arrows] == ["child"] * 4


class TestBackward:
    def test_each_backward_box_stands_opposite_its_forward_box(self):
        drawing = tg.draw(parabola(), backward=True)
        gradient = box(drawing, "∂y/∂x")
        assert gradient.opposite == box(drawing, "x").id
        assert box(drawing, "y").opposite == box(drawing, "∂y/∂y = 1").id
        forward = {one.id for one in drawing.picture.boxes if not one.backward}
        opposites = [one.opposite for one in drawing.picture.boxes if one.backward and one.opposite]
        assert len(set(opposites)) == len(opposites)
        assert forward.issuperset(opposites)

    def test_arrows_tell_data_gradients_and_saved_values_apart(self):
        arrows = tg.draw(parabola(), backward=True).picture.arrows
        assert {arrow.role for arrow in arrows} == {"data", "gradient", "saved"}

    def test_at_module_level_each_module_has_one_backward_box(self):
        net, loss = small_net(), nn.CrossEntropyLoss()
        graph = tg.capture(lambda x, labels: loss(net(x), labels), IMAGE, np.array([0, 1]))
        drawing = tg.draw(graph, backward=True, zoom="module")
        found = titles(drawing)
        assert [title for title in found if title.startswith("∂ ")] == [
            "∂ cross_entropy", "∂ 3 matmul", "∂ 2 flatten", "∂ 1 relu", "∂ 0 convolution",
        ]  # fmt: skip
        assert "∂output/∂0.weight" in found

    def test_a_graph_without_anything_to_differentiate_says_so(self):
        graph = tg.capture(lambda x: x + 1, np.array([1, 2]))
        with pytest.raises(DrawingError, match="requires_grad"):
            tg.draw(graph, backward=True)


class TestRequests:
    def test_an_unrecorded_tensor_is_refused(self):
        with pytest.raises(RecordingError, match="not recorded"):
            tg.draw(tg.tensor(1.0) * 2)

    @pytest.mark.parametrize("target", [3, "graph", np.zeros(3), lambda x: x])
    def test_other_things_are_refused(self, target):
        with pytest.raises(DrawingError, match="cannot draw"):
            tg.draw(target)

    def test_unknown_words_are_refused_with_the_known_ones(self):
        with pytest.raises(DrawingError, match="'values'"):
            tg.draw(parabola(), show=("colours",))
        with pytest.raises(DrawingError, match=r"\('values',\)"):
            tg.draw(parabola(), show="values")
        with pytest.raises(DrawingError, match="'okabe-ito'"):
            tg.draw(parabola(), style="neon")
        with pytest.raises(DrawingError, match="below ops"):
            tg.draw(parabola(), element=(0,))


class TestFiles:
    @pytest.mark.parametrize(
        ("suffix", "start"),
        [("svg", b"<svg"), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("dot", b"digraph"), ("gv", b"digraph"),
         ("html", b"<!DOCTYPE html>")],
    )  # fmt: skip
    def test_the_suffix_chooses_the_format(self, tmp_path, suffix, start):
        path = tmp_path / f"picture.{suffix}"
        tg.draw(parabola(), path)
        assert path.read_bytes().startswith(start)
        assert [one.name for one in tmp_path.iterdir()] == [path.name]

    def test_another_suffix_is_refused(self, tmp_path):
        with pytest.raises(DrawingError, match=r"\.svg, \.png"):
            tg.draw(parabola(), tmp_path / "picture.docx")

    def test_a_place_that_cannot_be_written_is_named(self, tmp_path):
        with pytest.raises(DrawingError, match="No such file"):
            tg.draw(parabola(), tmp_path / "missing" / "picture.svg")
        (tmp_path / "taken.svg").mkdir()
        with pytest.raises(DrawingError, match=r"taken\.svg"):
            tg.draw(parabola(), tmp_path / "taken.svg")
        assert [one.name for one in tmp_path.iterdir()] == ["taken.svg"]

    def test_a_notebook_shows_an_svg_with_ids_of_its_own(self):
        drawing = tg.draw(parabola())
        first = drawing._repr_mimebundle_()["image/svg+xml"]
        second = drawing._repr_mimebundle_()["image/svg+xml"]
        ids = [set(re.findall(r' id="([^"]*)"', one)) for one in (first, second)]
        assert ids[0]
        assert not ids[0] & ids[1]

    def test_prefixes_touch_ids_and_no_words(self):
        svg = '<g id="n1" class="node"><a xlink:title="an id=&quot;x&quot;"><text>say id="x"</text></a></g>'
        assert with_prefix(svg, "p-") == svg.replace('<g id="n1"', '<g id="p-n1"')

    def test_the_page_needs_nothing_from_elsewhere(self, tmp_path):
        page = tg.draw(parabola()).html(tmp_path / "page.html").read_text("utf-8")
        assert "<svg" in page
        links = re.findall(r"https?://[^\"'\s>]+", page)
        assert set(links) <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


class TestPrivacy:
    def test_source_and_svg_carry_no_values_and_no_folders(self):
        secret = 0.123456789
        w = tg.tensor([secret, secret], requires_grad=True, name="w")
        drawing = tg.draw((w * w).sum())
        for text in (drawing.source, drawing.svg()):
            assert "0.1234" not in text
            assert "/" not in "".join(re.findall(r"\S*test_draw\.py\S*", text))


class TestIdentifiers:
    def test_ids_do_not_depend_on_the_numbers_shown(self):
        plain, full = (
            tg.draw(parabola()),
            tg.draw(parabola(), show=("names", "settings", "values", "gradients")),
        )
        assert [one.id for one in plain.picture.boxes] == [one.id for one in full.picture.boxes]

    def test_ids_are_unique(self):
        picture = tg.draw(small_net(), inputs=IMAGE, backward=True).picture
        ids = [one.id for one in (*picture.boxes, *picture.arrows)]
        assert len(set(ids)) == len(ids)


class TestSize:
    def test_a_long_chain_is_folded_and_says_so(self):
        x = tg.tensor(1.0, requires_grad=True, name="x")
        for _ in range(5000):
            x = x * 1.001
        with pytest.warns(TinygraphWarning, match="folded"):
            drawing = tg.draw(x)
        assert len(drawing.picture.boxes) == 2 * FOLD_ENDS + 2
        assert "… 4,985 nodes folded …" in titles(drawing)
        assert drawing.svg().startswith("<svg")

    @pytest.mark.slow
    def test_a_million_nodes_are_drawn(self):
        x = tg.tensor(1.0, requires_grad=True, name="x")
        for _ in range(10**6):
            x = x * 1.0000001
        with pytest.warns(TinygraphWarning, match="1,000,001 boxes"):
            drawing = tg.draw(x)
        assert drawing.svg().startswith("<svg")

    def test_a_big_model_is_collapsed_by_module(self):
        x = tg.tensor(1.0, requires_grad=True, name="x")
        for i in range(20):
            with scope(f"block{i}"):
                for _ in range(10):
                    with scope("layer"):
                        x = x * 2 + 1
        graph = tg.graph_of(x)
        parts, note = visible(graph.nodes, "op", limit=300)
        assert len(parts) == 201
        assert "module level" in note
        parts, note = visible(graph.nodes, "op", limit=100)
        assert len(parts) == 21
        assert "depth 1" in note

    def test_a_layout_that_takes_too_long_gives_a_coarser_picture(self):
        pick = np.random.default_rng(0).integers
        pool = [tg.tensor(1.0, requires_grad=True, name="x")]
        for _ in range(1500):
            pool.append(pool[pick(len(pool))] * pool[pick(len(pool))])
        drawing = tg.draw(tg.ops.stack(*pool).sum(), time_limit=0.7)
        before = len(drawing.picture.boxes)
        with pytest.warns(TinygraphWarning, match="took longer"):
            svg = drawing.svg()
        assert len(drawing.picture.boxes) < before
        assert svg.startswith("<svg")


class TestStyles:
    @pytest.mark.parametrize("name", style_names())
    def test_each_style_looks_at_every_kind(self, name):
        style = load_style(name)
        leaves = {"input", "tensor", "buffer", "parameter", "output", "gradient", "update", "module", "fold"}
        inside = {"tmp", "element", "join"}
        compared = {"added", "removed", "changed", "same"}
        assert set(style.kinds) == leaves | inside | compared | set(KINDS)
        assert len({look[:2] for look in style.kinds.values()}) >= len(style.kinds) - 1
        assert tg.draw(parabola(), style=name).svg().startswith("<svg")

    def test_a_file_of_ones_own_changes_what_it_names(self, tmp_path):
        path = tmp_path / "mine.toml"
        path.write_text('[kinds]\nelementwise = ["#123456", "#654321", "box"]\n')
        assert "#123456" in tg.draw(parabola(), style=path).source

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[colours]\n", "unknown table"),
            ('[page]\nbackgrund = "#ffffff"\n', "backgrund"),
            ('[page]\nbackground = "white"\n', "#rrggbb"),
            ('[kinds]\nloss = ["#ffffff", "#000000", "star"]\n', "shape one of"),
            ("[page\n", "no TOML"),
        ],
    )
    def test_a_faulty_file_is_explained(self, tmp_path, text, message):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        with pytest.raises(DrawingError, match=message):
            tg.draw(parabola(), style=path)

    def test_the_legend_has_only_kinds_that_occur(self):
        svg = tg.draw(parabola()).svg()
        assert "elementwise" in texts(svg)
        assert "convolution" not in texts(svg)


def test_operands_stand_in_their_order():
    """Where nothing else stands against it: Graphviz gives up what would make circles."""
    a, b, c = (tg.tensor(1.0, requires_grad=True, name=name) for name in "abc")
    expected = {
        (np.sin(b) - a) / np.exp(c - np.sin(a)): {"divide": ["subtract", "exp"], "subtract": ["c", "sin"]},
        np.stack([c, b, a]).sum(): {"stack": ["c", "b", "a"]},
        tg.ops.where(b > a, c, a): {"where": ["greater", "c", "a"]},
    }
    for result, orders in expected.items():
        drawing = tg.draw(result)
        titles = {box.id: box.title for box in drawing.picture.boxes}
        spots = placed(drawing._layout(drawing.source)).places
        for head, tails in orders.items():
            box = [key for key, title in titles.items() if title == head][-1]
            read = {arrow.tail for arrow in drawing.picture.arrows if arrow.head == box}
            assert [titles[one] for one in sorted(read, key=lambda one: spots[one].x)] == tails
