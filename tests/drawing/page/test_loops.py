"""Loops and choices in pictures and pages: what is drawn of them, and that its numbers are those of the iteration."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.subgraphs import unfolding_of
from tinygraph.drawing.model.iterations import open_loops
from tinygraph.drawing.model.numbers import values_of
from tinygraph.errors import DrawingError

X = np.array([0.5, -1.0, 2.0, 0.25])


def recurrent(x: Any) -> Any:
    def step(total: Any, one: Any) -> Any:
        new = np.sin(total) * one
        return new, total + one

    return tg.scan(step, x[0], x)[1]


def root_of_two(x: Any) -> Any:
    def far(x: Any) -> Any:
        return np.abs(x * x - 2.0) > 1e-9

    def newton(x: Any) -> Any:
        return x - (x * x - 2.0) / (2.0 * x)

    return tg.while_loop(far, newton, x)


def either(x: Any) -> Any:
    return tg.cond(np.sum(x) > 0, lambda x: np.sin(x), lambda x: x * 3.0, x)


def titles(drawing: Any) -> list[str]:
    return [box.title for box in drawing.picture.boxes]


def carried(drawing: Any) -> list[tuple[str, str]]:
    names = {box.id: box.title for box in drawing.picture.boxes}
    return [(names[one.tail], names[one.head]) for one in drawing.picture.arrows if one.role == "carry"]


def numbers(drawing: Any) -> dict[str, str]:
    return {box.title: box.numbers[0][1] for box in drawing.picture.boxes if box.numbers}


def test_a_loop_is_one_iteration_in_a_frame_with_its_carry_as_an_arrow_back() -> None:
    drawing = tg.draw(tg.capture(recurrent, X))
    frame = drawing.picture.root.groups[0]
    assert frame.title == "step × 4"
    inside = {box.title for box in drawing.picture.boxes if box.id in frame.boxes}
    # the sine is read by the next step alone, and is drawn all the same
    assert inside == {"carry", "slice", "sin", "multiply", "add", "stacked"}
    assert carried(drawing) == [("multiply", "carry")]
    assert b"<svg" in drawing.svg().encode()


def test_at_coarser_levels_and_beside_a_backward_pass_it_is_one_box_with_its_count() -> None:
    graph = tg.capture(lambda x: (recurrent(x) ** 2).sum(), X)
    module = tg.draw(graph, zoom="module")
    assert "step × 4" in titles(module)
    assert carried(module) == [("step × 4", "step × 4")]
    both = tg.draw(graph, backward=True)
    assert titles(both).count("step × 4") == 2  # once more, for what its gradient reads
    assert "step backward × 4, from the last on" in titles(both)
    boxes = {box.id: box for box in both.picture.boxes}
    opposite = next(box for box in boxes.values() if box.backward and box.title == "step × 4")
    assert opposite.opposite is not None
    assert boxes[opposite.opposite].title == "step × 4"


def test_an_iteration_shows_its_values() -> None:
    total, made = X[0], []
    for one in X:
        made.append((total, one, np.sin(total) * one, total + one))
        total = np.sin(total) * one
    graph = tg.capture(recurrent, X)
    for step in (0, 2, -1):
        shown = numbers(tg.draw(graph, inputs=X, show=("values",), steps=step))
        total, one, product, add = made[step]
        expected = {"carry": total, "slice": one, "multiply": product, "add": add}
        assert {key: float(shown[key]) for key in expected} == pytest.approx(expected, rel=1e-3), step
    (whole,) = (text for title, text in shown.items() if title == "stacked")
    assert [float(one) for one in whole.strip("[]").split(",")] == pytest.approx(
        [one[3] for one in made], rel=1e-3
    )


def test_a_loop_from_the_last_slice_on_shows_the_slice_of_the_iteration() -> None:
    def back(x: Any) -> Any:
        return tg.scan(lambda c, one: (c + one, None), 0.0, x, reverse=True)[0]

    shown = numbers(tg.draw(tg.capture(back, X), inputs=X, show=("values",), steps=1))
    assert float(shown["slice"]) == X[2]
    assert float(shown["carry"]) == X[3]


def test_several_iterations_stand_beside_each_other_in_order() -> None:
    drawing = tg.draw(tg.capture(recurrent, X), steps=(0, 1, 3))
    assert titles(drawing).count("sin") == 3
    rows = [
        [next(b.title for b in drawing.picture.boxes if b.id == one) for one in row]
        for row in drawing.picture.rows
    ]
    assert ["add"] * 3 in rows
    assert ["carry"] * 3 in rows
    svg = drawing.svg()
    places = [
        float(found.group(1))
        for box in drawing.picture.rows[0]
        if (found := re.search(rf'id="{box}".*?<text[^>]* x="([-\d.]+)"', svg, re.DOTALL))
    ]
    assert len(places) == 3
    assert places == sorted(places)


def test_a_loop_with_a_condition_and_a_choice_show_all_their_parts() -> None:
    newton = tg.draw(tg.capture(root_of_two, 1.5))
    assert newton.picture.root.groups[0].title == "newton while far"
    assert "greater" in titles(newton)
    assert carried(newton) == [("subtract", "carry")]
    shown = numbers(tg.draw(tg.capture(root_of_two, 1.5), inputs=1.5, show=("values",), steps=1))
    assert float(shown["carry"]) == pytest.approx(1.5 - 0.25 / 3.0, rel=1e-3)
    assert float(shown["last"]) == pytest.approx(2**0.5, rel=1e-3)
    assert float(
        numbers(tg.draw(tg.capture(root_of_two, 1.5), inputs=1.5, show=("values",), steps=99))["last"]
    )
    choice = tg.draw(tg.capture(either, X), inputs=X, show=("values",))
    assert {"sin", "multiply", "chosen"} <= set(titles(choice))
    assert "sin" in numbers(choice)  # the branch that did not run
    assert "multiply" not in numbers(choice)


def test_loops_in_loops_open_too() -> None:
    def f(x: Any) -> Any:
        def outer(total: Any, one: Any) -> Any:
            inner = tg.scan(lambda c, y: (c * y, None), one, x)[0]
            return total + inner, None

        return tg.scan(outer, 0.0, x)[0]

    graph = tg.capture(f, X)
    opened = open_loops(graph, (2,))
    assert not any(unfolding_of(node) for node in opened.graph.nodes)
    found = opened.values(values_of(graph, (X,)))
    totals = [
        found[id(node)] for node in opened.graph.nodes if node.op is not None and node.op.name == "carry"
    ]
    product = X[2] * X[0] * X[1]  # the third iteration of the inner loop within the third of the outer one
    assert any(np.isclose(one, product) for one in totals)
    assert max(opened.repeats.values()) == 16


def test_a_graph_in_a_picture_is_the_one_that_runs(tmp_path: Any) -> None:
    path = tmp_path / "loop.svg"
    tg.draw(tg.capture(recurrent, X), path)
    np.testing.assert_array_equal(tg.load(path)(X), recurrent(X))


@pytest.mark.parametrize("steps", ["all", (), True, 1.5, 4, -5])
def test_iterations_that_there_are_not_are_refused(steps: Any) -> None:
    with pytest.raises(DrawingError, match="steps="):
        tg.draw(tg.capture(recurrent, X), steps=steps)


def test_a_page_goes_to_an_iteration(visit: Callable[..., Any], tmp_path: Any) -> None:
    path = tmp_path / "loop.html"
    tg.draw(tg.capture(recurrent, X), path, inputs=X)
    opened = visit(path.read_text("utf-8"))
    assert opened.inner_text("#iteration span") == "of 4"
    opened.evaluate("document.querySelectorAll('#tree [aria-expanded=false]').forEach(one => one.click())")
    total = float(np.sin(np.sin(X[0]) * X[0]) * X[1])  # the carry of iteration 2
    for _ in range(2):
        opened.keyboard.press("]")
    opened.fill("#search", "carry")
    opened.keyboard.press("Enter")
    opened.wait_for_timeout(800)
    assert f"{total:.4f}".replace("-", "\u2212") in opened.inner_text("#about"), opened.inner_text("#about")
