"""Channel and neuron levels: what an op consists of, with numbers checked against other ways to compute them."""

from __future__ import annotations

import re
import struct
import zlib

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.analysis.expansion import expansion_of
from tinygraph.analysis.terms import positions
from tinygraph.drawing import Drawing
from tinygraph.drawing.model.planes import NUMBERED, as_plane, colours, image, limit_of
from tinygraph.drawing.png import png
from tinygraph.drawing.styles import load_style, style_names
from tinygraph.errors import DrawingError

RNG = np.random.default_rng(0)


def house(dtype=np.float64):
    """The article's convolution: 3 channels of 7x7 to 2, padded so that the size stays."""
    ch = tg.tensor(RNG.normal(size=(1, 3, 7, 7)).astype(dtype), name="ch", requires_grad=True)
    ker = tg.tensor(RNG.normal(size=(2, 3, 3, 3)).astype(dtype), name="ker", requires_grad=True)
    bias = tg.tensor(RNG.normal(size=2).astype(dtype), name="b", requires_grad=True)
    out = tg.ops.convolution(ch, ker, bias, padding=1)
    out.name = "out"
    return ch, ker, bias, out


def box(drawing: Drawing, title: str):
    return next(one for one in drawing.picture.boxes if one.title == title)


def boxes(drawing: Drawing, start: str):
    return [one for one in drawing.picture.boxes if one.title.startswith(start)]


def correlate(plane, kernel):
    """One input plane with one kernel plane, as the article says it: couple by couple, neighbours outside are 0."""
    padded = np.pad(plane, 1)
    return np.array([[(padded[i : i + 3, j : j + 3] * kernel).sum() for j in range(7)] for i in range(7)])


class TestChannels:
    def test_a_convolution_opens_into_a_plane_for_each_pair(self):
        ch, ker, bias, out = house()
        drawing = tg.draw(out, zoom="channel")
        assert len(boxes(drawing, "ch[")) == 3
        assert len(boxes(drawing, "ker[")) == len(boxes(drawing, "tmp[")) == 6
        for o in range(2):
            planes = []
            for c in range(3):
                tmp = box(drawing, f"tmp[{o},{c}]").plane.values
                np.testing.assert_allclose(tmp, correlate(ch.numpy()[0, c], ker.numpy()[o, c]), atol=1e-12)
                np.testing.assert_array_equal(box(drawing, f"ker[{o},{c}]").plane.values, ker.numpy()[o, c])
                planes.append(tmp)
            result = box(drawing, f"out[0,{o}]").plane.values
            np.testing.assert_allclose(sum(planes) + bias.numpy()[o], result, atol=1e-12)

    def test_one_pair_shows_its_numbers_and_counts_the_rest(self):
        *_, out = house()
        drawing = tg.draw(out, zoom="channel", element=(1, 0))
        assert [one.title for one in drawing.picture.boxes if one.plane] == [
            "ch[0,0]", "ker[1,0]", "tmp[1,0]", "out[0,1]",
        ]  # fmt: skip
        assert box(drawing, "tmp[1,0]").plane.numbered
        assert box(drawing, "… 2 more")

    def test_many_channels_are_counted(self):
        net = nn.Conv2d(64, 64, 3)
        drawing = tg.draw(net, inputs=np.zeros((2, 64, 5, 5), np.float32), zoom="channel")
        assert len(boxes(drawing, "input[")) == 3
        assert sorted(one.title for one in boxes(drawing, "…")) == ["… 61 more"] * 5
        assert "2 samples" in " ".join(drawing.picture.notes)

    @pytest.mark.parametrize(
        "settings", [{"groups": 2}, {"stride": 2}, {"dilation": 2}, {"padding": 1, "groups": 4}]
    )
    def test_the_planes_of_every_kind_of_convolution_add_up(self, settings):
        x = tg.tensor(RNG.normal(size=(1, 4, 7, 7)), requires_grad=True, name="x")
        kernel = tg.tensor(RNG.normal(size=(4, 4 // settings.get("groups", 1), 3, 3)), requires_grad=True)
        out = tg.ops.convolution(x, kernel, **settings)
        drawing = tg.draw(out, zoom="channel")
        for o in range(4):
            tmps = [one.plane.values for one in boxes(drawing, f"tmp[{o},")]
            np.testing.assert_allclose(sum(tmps), out.numpy()[0, o], atol=1e-12)

    def test_other_ops_stand_between_their_planes(self):
        x = tg.tensor(RNG.normal(size=(1, 2, 4, 4)), requires_grad=True, name="x")
        drawing = tg.draw(tg.ops.max_pool(x, size=2), zoom="channel")
        assert [one.title for one in drawing.picture.boxes if one.plane] == [
            "x[0,0]", "x[0,1]", "max_pool[0,0]", "max_pool[0,1]",
        ]  # fmt: skip

    def test_focus_chooses_the_op_and_modules_around_stay_boxes(self):
        net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Conv2d(2, 2, 3), nn.Flatten(), nn.Linear(8, 3))
        drawing = tg.draw(net, inputs=np.zeros((1, 1, 6, 6), np.float32), zoom="channel", focus="2")
        assert len(boxes(drawing, "tmp[")) == 4
        assert boxes(drawing, "4 ")  # the Linear is one box

    @pytest.mark.parametrize("element", [(5, 0), (0, 9), (0, 0, 0, 0)])
    def test_pairs_that_do_not_exist(self, element):
        *_, out = house()
        with pytest.raises(DrawingError, match="2 output channels"):
            tg.draw(out, zoom="channel", element=element)

    def test_a_module_needs_inputs(self):
        with pytest.raises(DrawingError, match="inputs="):
            tg.draw(nn.Conv2d(1, 1, 3), zoom="channel")


class TestNeurons:
    def test_an_output_element_is_the_sum_of_its_couples(self):
        ch, ker, bias, out = house()
        drawing = tg.draw(out, zoom="neuron", element=(0, 1, 3, 3))
        total = bias.numpy()[1]
        for c in range(3):
            table = box(drawing, f"tmp[1,{c},3,3]").table
            assert len(table) == 10
            assert table[4][0] == f"ch[0,{c},3,3] × ker[1,{c},1,1]"
            total += (ch.numpy()[0, c, 2:5, 2:5] * ker.numpy()[1, c]).sum()
        assert box(drawing, f"out[0,1,3,3] = {total:.4g}")
        marked = box(drawing, "ch[0,0]").plane.marked
        assert marked == {(i, j) for i in (2, 3, 4) for j in (2, 3, 4)}

    def test_couples_with_the_padding_say_so(self):
        *_, out = house()
        table = box(tg.draw(out, zoom="neuron", element=(0, 0, 0, 0)), "tmp[0,0,0,0]").table
        assert [row[0].startswith("padding") for row in table[:-1]] == [True] * 4 + [
            False,
            False,
            True,
            False,
            False,
        ]

    def test_a_kernel_element_reaches_all_but_what_meets_the_padding(self):
        _, ker, _, out = house()
        loss = (out * out).sum()
        loss.name = "loss"
        for p in range(3):
            for q in range(3):
                drawing = tg.draw(loss, zoom="neuron", element=(ker, (1, 0, p, q)))
                reached = [[36, 42, 36], [42, 49, 42], [36, 42, 36]][p][q]
                made = box(drawing, "out[0,1]").plane
                assert (len(made.marked) or 49, len(made.crossed)) == (reached, 49 - reached)
                assert boxes(drawing, f"{reached} impacts")
        loss.backward()
        assert boxes(drawing, f"∂loss/∂ker[1,0,2,2] = {ker.grad.numpy()[1, 0, 2, 2]:.4g}")

    @pytest.mark.parametrize(("at", "reached"), [((0, 0), 8), ((0, 3), 12), ((3, 3), 18)])
    def test_an_input_element_reaches_its_neighbours_in_every_channel(self, at, reached):
        ch, _, _, out = house()
        loss = (out * out).sum()
        drawing = tg.draw(loss, zoom="neuron", element={"ch": (0, 0, *at)})
        assert boxes(drawing, f"{reached} impacts")
        loss.backward()
        assert boxes(drawing, f"∂output/∂ch[0,0,{at[0]},{at[1]}] = {ch.grad.numpy()[0, 0, at[0], at[1]]:.4g}")

    def test_a_bias_reaches_49(self):
        _, _, bias, out = house()
        drawing = tg.draw(out, zoom="neuron", element=(bias, 0), backward=True)
        assert boxes(drawing, "49 impacts")
        assert boxes(drawing, "∂out/∂b[0] = 49")
        assert "ones" in drawing.picture.notes[0]

    def test_ops_without_an_expansion_show_local_derivatives(self):
        v = tg.tensor(np.arange(6.0), requires_grad=True, name="v")
        out = tg.ops.cumsum(v, axis=0)
        assert expansion_of(out.node) is None
        table = box(tg.draw(out, zoom="neuron", element=3), "∂cumsum[3]/∂v").table
        assert [row[0] for row in table] == ["element", "v[0]", "v[1]", "v[2]", "v[3]", "cumsum[3]"]

    def test_softmax_is_a_share(self):
        x = tg.tensor([1.0, 2.0, 3.0], requires_grad=True, name="x")
        drawing = tg.draw(tg.ops.softmax(x), zoom="neuron", element=1)
        assert box(drawing, "exp x[1] / Σ").numbers == (("7.389 /", "30.19"),)
        assert boxes(drawing, "softmax[1] = 0.2447")

    def test_several_outputs_of_one_op(self):
        x = tg.tensor(np.arange(4.0), requires_grad=True, name="x")
        one, two = tg.ops.split(x, sections=2)
        drawing = tg.draw((one * 3 + two * 5).sum(), zoom="neuron", element=("x", 3))
        assert boxes(drawing, "∂output/∂x[3] = 5")

    def test_the_middle_is_shown_where_none_is_chosen(self):
        *_, out = house()
        drawing = tg.draw(out, zoom="neuron")
        assert "(0, 1, 3, 3)" in drawing.picture.notes[0]

    @pytest.mark.parametrize(
        ("element", "words"),
        [
            ((0, 0), "shape"),
            ((0, 1, 7, 0), "does not exist"),
            ("here", "no index"),
            (("nobody", (0,)), "nobody"),
        ],
    )
    def test_elements_that_do_not_exist(self, element, words):
        *_, out = house()
        with pytest.raises(DrawingError, match=words):
            tg.draw(out, zoom="neuron", element=element)


class TestPlanes:
    def test_a_png_says_what_it_was_given(self):
        pixels = RNG.integers(0, 256, (5, 3, 3), np.uint8)
        content = png(pixels)
        assert content[:8] == b"\x89PNG\r\n\x1a\n"
        assert struct.unpack(">II", content[16:24]) == (3, 5)
        start = content.index(b"IDAT")
        (length,) = struct.unpack(">I", content[start - 4 : start])
        rows = np.frombuffer(zlib.decompress(content[start + 4 : start + 4 + length]), np.uint8).reshape(
            5, 10
        )
        np.testing.assert_array_equal(rows[:, 1:].reshape(5, 3, 3), pixels)

    @pytest.mark.parametrize("style", style_names())
    def test_ends_and_middle_of_the_scale(self, style):
        scale = load_style(style).values
        found = colours(as_plane([[-2.0, 0.0], [2.0, np.nan]]), scale)
        expected = [scale[name] for name in ("negative", "zero", "positive", "broken")]
        assert ["#" + bytes(one.tolist()).hex() for one in found.reshape(4, 3)] == expected

    def test_scales_of_odd_arrays(self):
        assert limit_of(np.array([np.inf, np.nan])) == 1.0
        assert limit_of(np.zeros((0, 3))) == 1.0
        assert as_plane(np.float32(3.0)).values.shape == (1, 1)
        assert colours(as_plane([[np.inf, -np.inf]]), load_style("light").values).shape == (1, 2, 3)

    def test_large_planes_are_images_in_every_format(self):
        x = tg.tensor(RNG.normal(size=(1, 1, 40, 30)), requires_grad=True, name="x")
        drawing = tg.draw(tg.ops.relu(x), zoom="channel")
        plane = box(drawing, "x[0,0]").plane
        name, _ = image(plane, load_style("light").values)
        assert name in drawing.source
        svg = drawing.svg()
        assert name not in svg
        assert svg.count("data:image/png;base64,") == 2
        assert drawing.png()[:4] == b"\x89PNG"
        assert drawing.pdf()[:4] == b"%PDF"

    def test_a_huge_plane_is_thinned_out(self):
        _, content = image(as_plane(np.zeros((4000, 3000))), load_style("light").values)
        assert len(content) < 100_000

    def test_numbers_only_where_there_is_room(self):
        assert as_plane(np.zeros((NUMBERED, 2)), numbers=True).numbered
        assert not as_plane(np.zeros((NUMBERED + 1, 2)), numbers=True).numbered


class TestValuesAppearOnlyWhereAskedFor:
    def test_at_op_level_colours_need_values(self):
        *_, out = house()
        assert not any(one.plane for one in tg.draw(out).picture.boxes)
        assert any(one.plane for one in tg.draw(out, show=("values",)).picture.boxes)
        assert not re.search(r"<image|∂|ker\[", tg.draw(out).svg())

    def test_the_same_picture_twice(self):
        *_, out = house()
        for options in ({"zoom": "channel"}, {"zoom": "neuron", "element": (0, 1, 3, 3)}):
            assert tg.draw(out, **options).svg() == tg.draw(out, **options).svg()

    def test_positions_agree_with_the_marks(self):
        *_, out = house()
        expansion = expansion_of(out.node)
        flat = positions(expansion, expansion.reads[0])[0, 1, 3, 3, 0].ravel()
        marked = box(tg.draw(out, zoom="neuron", element=(0, 1, 3, 3)), "ch[0,0]").plane.marked
        assert {divmod(int(one), 7) for one in flat} == marked


class TestOddTensors:
    @pytest.mark.parametrize("zoom", ["channel", "neuron"])
    @pytest.mark.parametrize(
        "value",
        [
            np.ones((2, 3), np.float32),
            np.array(2.0),
            np.array([[1 + 2j, 3.0]]),
            np.array([np.nan, np.inf, -1e300]),
        ],
        ids=["float32", "scalar", "complex", "not finite"],
    )
    def test_they_are_drawn(self, zoom, value):
        x = tg.tensor(value, requires_grad=True, name="x")
        with np.errstate(all="ignore"):
            assert tg.draw(x * x, zoom=zoom).svg().startswith("<svg")

    def test_an_empty_one_says_so(self):
        x = tg.tensor(np.zeros((0, 3)), requires_grad=True, name="x")
        assert ">empty<" in tg.draw(tg.ops.relu(x), zoom="channel").svg()

    @pytest.mark.parametrize("rank", [1, 3])
    def test_convolutions_of_other_ranks(self, rank):
        x = tg.tensor(RNG.normal(size=(1, 2, *(5,) * rank)), requires_grad=True, name="x")
        out = tg.ops.convolution(x, tg.tensor(RNG.normal(size=(2, 2, *(3,) * rank)), requires_grad=True))
        for zoom in ("channel", "neuron"):
            assert tg.draw(out, zoom=zoom).svg().startswith("<svg")

    def test_long_and_hostile_names(self):
        x = tg.tensor(np.ones((1, 1, 4, 4)), requires_grad=True, name="</script><script>" + "x" * 5000)
        out = tg.ops.max_pool(x, size=2)
        for options in (
            {"zoom": "channel"},
            {"zoom": "neuron"},
            {"zoom": "neuron", "element": (x, (0, 0, 1, 1))},
        ):
            svg = tg.draw(out, **options).svg()
            assert "<script" not in svg
            assert len(svg) < 100_000


def test_the_word_while_stands_where_no_arrow_passes():
    """Arrows come into the frame of a condition from above, and one leaves it below, towards the middle."""
    graph = tg.capture(
        lambda x: tg.while_loop(lambda v: np.sum(v * v) > 1e-3, lambda v: v * 0.5, x), np.ones(3)
    )
    lines = tg.draw(graph).source.splitlines()
    (found,) = [line for line in lines if "label=while" in line]
    assert "labelloc=b" in found
    assert "labeljust=r" in found
    (around,) = [line for line in lines if 'label="while_loop × n"' in line]
    assert "labelloc=t" in around
