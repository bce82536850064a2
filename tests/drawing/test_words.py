"""What boxes say: constants by type or value, outputs whatever they are, names that users gave."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.drawing.page.areas import Area
from tinygraph.drawing.page.grouping import tree


def lines_of(tensor):
    return [box.lines for box in tg.draw(tensor).picture.boxes if box.kind not in ("parameter", "output")][-1]


@pytest.fixture
def x():
    return tg.tensor(np.ones((1, 3)), requires_grad=True, name="x")


class TestConstants:
    @pytest.mark.parametrize(
        ("program", "line"),
        [
            (lambda x: tg.ops.cross_entropy(x, np.array([2])), "labels int64[1]"),
            (lambda x: x[np.array([0])], "indices int64[1]"),
            (lambda x: x * np.array([3.0]), "y float64[1]"),
            (lambda x: x + np.zeros((0, 1, 1)), "y float64[0,1,1]"),
            (lambda x: np.where(np.array([True]), x, x), "condition bool[1]"),
            (lambda x: x * True, "y = True"),
            (lambda x: x * np.array(3), "y = 3"),
            (lambda x: x * np.float32(0.5), "y = 0.5"),
            (lambda x: x * (1 + 2j), "y = 1+2j"),
            (lambda x: x * np.array(np.nan), "y = nan"),
        ],
    )
    def test_arrays_say_their_types_and_numbers_their_values(self, x, program, line):
        assert line in lines_of(program(x))

    def test_an_exact_number(self):
        x = tg.tensor([Fraction(1, 2)], requires_grad=True)
        assert "y = 1/3" in lines_of(x * Fraction(1, 3))

    def test_the_tooltip_says_the_same(self, x):
        (box,) = (
            one for one in tg.draw(tg.ops.cross_entropy(x, np.array([2]))).picture.boxes if one.kind == "loss"
        )
        assert "\nlabels int64[1]\n" in box.tooltip
        assert "constant" not in box.tooltip


@dataclass
class Result:
    loss: Any
    epoch: Any


def outputs_of(graph):
    names = {box.id: box.title for box in tg.draw(graph).picture.boxes}
    arrows = {names[one.head]: names[one.tail] for one in tg.draw(graph).picture.arrows}
    return {
        box.title: arrows.get(box.title, *box.lines) if not box.lines else box.lines[0]
        for box in tg.draw(graph).picture.boxes
        if box.kind == "output"
    }


CASES = {
    "keys": (
        lambda x: {"loss": x.sum(), "in": x, "epoch": 3},
        {"loss": "sum", "in": "x", "epoch": "= 3"},
        {"loss = #1", "in = #0", "epoch = 3"},
    ),
    "an input alone": (lambda x: x, {"output": "x"}, {"0 = #0"}),
    "a tuple": (lambda x: (np.exp(x), x), {"output 0": "exp", "output 1": "x"}, {"0 = #1", "1 = #0"}),
    "numbers and words between": (
        lambda x: (np.exp(x), "a", 1, x),
        {"output[0]": "exp", "output[1]": "= 'a'", "output[2]": "= 1", "output[3]": "x"},
        {"output[0] = #1", "output[1] = 'a'", "output[2] = 1", "output[3] = #0"},
    ),
    "an array": (
        lambda x: {"y": np.exp(x), "table": np.arange(4)},
        {"y": "exp", "table": "int64[4]"},
        {"y = #1", "table = int64[4]"},
    ),
    "nested": (
        lambda x: {"parts": [x, {"y": np.exp(x)}]},
        {"parts[0]": "x", "parts[1].y": "exp"},
        {"parts[0] = #0", "parts[1].y = #1"},
    ),
    "fields": (lambda x: Result(np.exp(x), 7), {"loss": "exp", "epoch": "= 7"}, {"loss = #1", "epoch = 7"}),
}


class TestOutputs:
    @pytest.mark.parametrize("name", CASES)
    def test_all_that_a_program_returns_is_drawn_under_its_name(self, name):
        program, drawn, _ = CASES[name]
        assert outputs_of(tg.capture(program, np.ones(3))) == drawn

    @pytest.mark.parametrize("name", CASES)
    def test_the_page_and_the_summary_say_the_same(self, name):
        program, drawn, listed = CASES[name]
        graph = tg.capture(program, np.ones(3))
        root, _ = tree(graph, set(), seconds=10.0)
        boxes = [box for box in root.walk() if isinstance(box, Area) and box.kind == "output"]
        assert {box.title for box in boxes} == set(drawn)
        assert {box.note for box in boxes if box.note} == {
            text for text in drawn.values() if "=" in text or "[" in text
        }
        line = graph.summary().splitlines()[-2]
        assert line.startswith("outputs: ")
        assert set(line.removeprefix("outputs: ").split(", ")) == listed

    def test_results_are_listed_in_their_order_numbers_and_texts_among_them(self):
        graph = tg.capture(lambda x: {"a": x * 2, "b": 3, "c": (x + 1, "s", x)}, np.ones(2))
        line = graph.summary().splitlines()[-2]
        assert line == "outputs: a = #1, b = 3, c[0] = #2, c[1] = 's', c[2] = #0"
        assert graph.result_order == (0, -1, 1, -2, 2)

    def test_one_result_of_an_op_needs_no_line(self):
        assert "outputs" not in tg.capture(np.exp, np.ones(3)).summary()

    def test_names_stay_with_a_backward_pass(self):
        graph = tg.capture(lambda x: {"loss": (x * x).sum(), "in": x}, np.ones(3))
        titles = [box.title for box in tg.draw(graph, backward=True).picture.boxes if box.kind == "output"]
        assert sorted(titles) == ["in", "loss"]
        assert "name" not in tg.draw(graph, show=()).picture.boxes[-1].title
