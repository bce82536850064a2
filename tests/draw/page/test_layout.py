"""Where boxes and curves go: nothing overlaps, curves end where they should, equal groups are laid out once."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.modes import scope
from tinygraph.draw.page import layout
from tinygraph.draw.page.folding import Draft, Piece, fold
from tinygraph.draw.page.grouping import Box, tree
from tinygraph.draw.page.layout import BORDER, Interior, Kid, Layouts, Link
from tinygraph.draw.render import RenderError

CHAIN = [Link(i, 0, i + 1, 0) for i in range(11)]


def boxed(box: Box) -> list[Box]:
    return [one for one in box.walk() if one.kids]


def rectangles(interior: Interior, kids: list[Any]) -> list[tuple[float, float, float, float]]:
    return [(x, y, x + w, y + h) for (x, y), (w, h, *_) in zip(interior.places, kids, strict=True)]


def assert_apart(found: list[tuple[float, float, float, float]], width: float, height: float) -> None:
    for left, top, right, bottom in found:
        assert left >= 0
        assert top >= 0
        assert right <= width + 0.2
        assert bottom <= height + 0.2
    for a, b in itertools.combinations(found, 2):
        assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1], (a, b)


def ends(path: str) -> tuple[tuple[float, float], tuple[float, float]]:
    numbers = [float(word) for word in re.findall(r"-?\d+\.?\d*", path)]
    return (numbers[0], numbers[1]), (numbers[-2], numbers[-1])


@pytest.mark.parametrize("seconds", [10.0, 0.0], ids=["graphviz", "rows"])
def test_boxes_lie_apart_and_curves_join_them(seconds: float) -> None:
    kids = [Kid(100, 40), Kid(120, 90, 2, 1), Kid(96, 40), Kid(100, 60, 1, 3)]
    links = [
        Link(0, 0, 1, 1), Link(BORDER, 0, 1, 0), Link(1, 0, 2, 0), Link(1, 0, 3, 0), Link(3, 2, BORDER, 0),
        Link(BORDER, 1, 2, 0),
    ]  # fmt: skip
    found = Layouts(seconds).interior(kids, links, 2, 1)
    assert_apart(rectangles(found, kids), found.width, found.height)
    assert sorted(found.ins) == [0, 1]
    for link, path in zip(links, found.paths, strict=True):
        start, end = ends(path)
        if link.tail == BORDER:
            assert start[1] == 0
            place = found.ins.index(link.tail_port)
            assert start[0] == pytest.approx(found.width * (place + 0.5) / 2, abs=0.2)
        else:
            x, y = found.places[link.tail]
            assert start[1] == pytest.approx(y + kids[link.tail].height, abs=1.5)
            assert x <= start[0] <= x + kids[link.tail].width
        if link.head == BORDER:
            assert end == pytest.approx((found.width / 2, found.height), abs=0.2)
        else:
            assert end[1] == pytest.approx(found.places[link.head][1], abs=1.5)


def test_the_box_of_an_interior_has_its_proportions() -> None:
    for count in (1, 3, 12):
        kids = [Kid(100, 40)] * count
        found = Layouts(10).interior(kids, [link for link in CHAIN if link.head < count], 0, 0)
        assert found.box[0] / found.box[1] == pytest.approx(found.width / found.height, rel=0.01)
        assert found.box[0] >= layout.LEAST_WIDTH
        assert found.box[1] >= layout.LEAST_HEIGHT


def test_a_long_chain_is_folded_into_columns_and_stays_joined() -> None:
    kids = [Kid(100, 40)] * 12
    found = Layouts(10).interior(kids, CHAIN, 0, 0)
    assert found.width > found.height / 2
    columns = {x for x, _ in found.places}
    assert len(columns) >= 3
    assert_apart(rectangles(found, kids), found.width, found.height)
    for link, path in zip(CHAIN, found.paths, strict=True):
        start, end = ends(path)
        assert start[1] == pytest.approx(found.places[link.tail][1] + 40, abs=0.5)
        assert end[1] == pytest.approx(found.places[link.head][1], abs=0.5)


def test_folding_cuts_a_curve_without_bending_it() -> None:
    curve = [(50.0, 20.0), (50.0, 200.0), (50.0, 300.0), (50.0, 580.0)]
    centres = [(50.0, 60.0 * i) for i in range(11)]
    draft = Draft(100, 600, centres, [(80, 30)] * 11, [], [], [[Piece("C", curve)]])
    pieces = fold(draft).curves[0]
    vertical = [piece for piece in pieces if piece.kind == "C"]
    assert len(vertical) >= 2
    assert sum(abs(piece.points[-1][1] - piece.points[0][1]) for piece in vertical) == pytest.approx(560)
    assert all(len({round(x, 6) for x, _ in piece.points}) == 1 for piece in vertical)


def test_a_short_or_wide_draft_is_not_folded() -> None:
    draft = Draft(300, 200, [(10.0, 10.0)], [(10, 10)], [], [], [])
    assert fold(draft) is draft


def test_equal_groups_share_one_interior_and_graphviz_runs_once_for_them(monkeypatch: Any) -> None:
    calls = []
    real = layout.render
    monkeypatch.setattr(layout, "render", lambda *a, **k: calls.append(1) or real(*a, **k))
    graph = tg.graph_of(blocks(20))
    root, notices = tree(graph, {}, set(), seconds=20)
    groups = [box for box in boxed(root) if box.title.startswith("block")]
    assert len(groups) == 20
    assert len({id(box.interior) for box in groups}) <= 3  # the ends may differ from the middle
    assert len(calls) <= 4
    assert notices == []


def blocks(count: int) -> tg.Tensor:
    y = tg.tensor(np.ones(3), requires_grad=True, name="x")
    for i in range(count):
        with scope(f"block{i}"):
            y = np.tanh(y) * np.sin(y) + y
    return y


def test_the_layout_is_the_same_twice() -> None:
    graph = tg.graph_of(blocks(3))
    first, second = (tree(graph, {}, set(), seconds=20)[0] for _ in range(2))
    assert [box.interior for box in boxed(first)] == [box.interior for box in boxed(second)]


def test_many_boxes_are_split_so_that_no_interior_has_more_than_a_hundred() -> None:
    y = tg.tensor(1.0, requires_grad=True)
    for _ in range(700):
        y = y * 1.01
    root, _ = tree(tg.graph_of(y), {}, set(), seconds=20)
    assert all(len(box.kids) <= 100 for box in root.walk())
    assert sum(1 for box in root.walk() if box.node is not None) == 701


def test_a_page_with_too_many_boxes_leaves_the_inner_ones_out_and_says_so() -> None:
    y = tg.tensor(1.0, requires_grad=True)
    for _ in range(700):
        y = y * 1.01
    root, notices = tree(tg.graph_of(y), {}, set(), seconds=20, most=300)
    assert sum(1 for _ in root.walk()) <= 301
    assert "left out of this page" in notices[0]
    assert sum(box.left_out for box in root.walk()) == int(notices[0].split()[0].replace(",", ""))


def test_without_graphviz_or_time_the_page_is_in_rows_and_says_so(monkeypatch: Any) -> None:
    graph = tg.graph_of(blocks(2))
    _, notices = tree(graph, {}, set(), seconds=0)
    assert "plain rows" in notices[0]

    def missing(*args: Any, **options: Any) -> bytes:
        raise RenderError("there is no Graphviz")

    monkeypatch.setattr(layout, "render", missing)
    root, notices = tree(graph, {}, set(), seconds=20)
    assert "there is no Graphviz" in notices[0]
    for box in boxed(root):
        assert box.interior is not None
        assert_apart(
            rectangles(box.interior, [kid.size for kid in box.kids]), box.interior.width, box.interior.height
        )


def test_curves_through_a_border_meet_at_one_place() -> None:
    graph = tg.graph_of(blocks(3))
    root, _ = tree(graph, {}, set(), seconds=20)
    for box in boxed(root):
        for (tail, head, value), path in zip(box.links, box.interior.paths, strict=True):
            for kid, point in ((tail, ends(path)[0]), (head, ends(path)[1])):
                if kid is None or not kid.kids:
                    continue
                side = kid.outs if kid is tail else kid.ins
                share = layout.port_share(list(side).index(value), len(side))
                x, y = box.interior.places[kid.number]
                assert point[0] == pytest.approx(x + share * kid.size[0], abs=1.0)
                assert point[1] == pytest.approx(y + (kid.size[1] if kid is tail else 0), abs=1.5)


def test_both_passes_stand_apart_and_gradients_beside_what_makes_them() -> None:
    x = tg.tensor(np.ones(3), requires_grad=True, name="x")
    with scope("inner"):
        loss = (np.sin(x) ** 2).sum()
    root, _ = tree(tg.graph_of(loss).gradient(), {}, set(), seconds=20)
    backward = next(box for box in root.kids if box.title.startswith("backward pass"))
    assert {one.node.phase for one in backward.walk() if one.node is not None} == {"backward"}
    assert "saved" in root.links.values()
