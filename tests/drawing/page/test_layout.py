"""Where boxes and curves go: nothing overlaps, curves end where they should, equal groups are laid out once."""

from __future__ import annotations

import itertools
import re
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.modes import scope
from tinygraph.drawing.dot.render import RenderError
from tinygraph.drawing.model.numbers import with_backward
from tinygraph.drawing.page import folding, layout, linking
from tinygraph.drawing.page.areas import Area
from tinygraph.drawing.page.crossings import crossings, polyline
from tinygraph.drawing.page.folding import Draft, Piece, fold
from tinygraph.drawing.page.grouping import tree
from tinygraph.drawing.page.layout import BORDER, Interior, Interiors, Kid, Link, Problem

CHAIN = [Link(i, 0, i + 1, 0) for i in range(11)]


def laid_out(
    kids: list[Kid], links: list[Link], ins: int = 0, outs: int = 0, seconds: float = 10.0
) -> Interior:
    rows = tuple((i,) for i in range(len(kids)))
    return Interiors(seconds).interior(Problem(tuple(kids), tuple(links), ins, outs, rows))


def boxed(box: Area) -> list[Area]:
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
    found = laid_out(kids, links, 2, 1, seconds)
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


def test_places_and_curves_of_two_rows_to_the_pixel() -> None:
    """By hand: 34 between the rows, 14 at the sides, 14 above and below where nothing crosses the border."""
    found = laid_out([Kid(100, 40), Kid(60, 20)], [Link(0, 0, 1, 0)], seconds=0.0)
    middle = found.width / 2
    top = (found.height - (40 + 34 + 20)) / 2
    assert found.places[0] == pytest.approx((middle - 50, top), abs=0.1)
    assert found.places[1] == pytest.approx((middle - 30, top + 74), abs=0.1)
    (curve,) = (re.findall(r"-?\d+\.\d", path) for path in found.paths)
    points = [float(word) for word in curve]
    # it leaves and arrives vertically: control points right below its start and right above its end
    expected = [middle, top + 40, middle, top + 57, middle, top + 57, middle, top + 74]
    assert points == pytest.approx(expected, abs=0.15)


def test_control_points_of_a_slanted_curve_lie_between_its_ends() -> None:
    piece = layout._s_curve((10.0, 20.0), (50.0, 100.0))
    assert piece.points == [(10.0, 20.0), (10.0, 60.0), (50.0, 60.0), (50.0, 100.0)]


def test_a_curve_that_is_brought_to_its_port_stays_vertical_there() -> None:
    curve = [(0.0, 0.0), (0.0, 10.0), (5.0, 20.0), (5.0, 30.0)]
    assert layout._brought(curve, (3.0, 0.5)) == [(3.0, 0.5), (3.0, 10.0), (5.0, 20.0), (5.0, 30.0)]


def test_a_link_up_is_its_curve_from_its_end() -> None:
    down = [
        Piece("C", [(0.0, 0.0), (1.0, 1.0), (2.0, 2.0), (3.0, 3.0)]),
        Piece("L", [(3.0, 3.0), (4.0, 9.0)]),
    ]
    assert layout._turned(down) == [
        Piece("L", [(4.0, 9.0), (3.0, 3.0)]),
        Piece("C", [(3.0, 3.0), (2.0, 2.0), (1.0, 1.0), (0.0, 0.0)]),
    ]


def test_a_link_across_goes_straight_to_its_neighbour_and_below_what_lies_between() -> None:
    draft = Draft(500, 60, [(50.0, 30.0), (224.0, 30.0), (398.0, 30.0)], [(100, 40)] * 3, [], [], [])
    kids = [Kid(100, 40)] * 3
    near = layout._bridge(draft, kids, Link(0, 0, 1, 0))
    assert near.points == [(100.0, 30.0), (137.0, 30.0), (137.0, 30.0), (174.0, 30.0)]
    far = layout._bridge(
        draft, kids, Link(0, 0, 2, 0)
    )  # its control points lie 12 below the boxes, which end at 50
    assert far.points == [(100.0, 30.0), (140.0, 62.0), (308.0, 62.0), (348.0, 30.0)]


def test_parallel_curves_belong_to_ports_from_left_to_right() -> None:
    links = (Link(0, 1, 1, 1), Link(0, 0, 1, 0))
    problem = Problem((Kid(100, 40, 1, 2), Kid(100, 40, 2, 1)), links, 0, 0, ((0,), (1,)))
    left, right = [(25.0, 0.0), (25.0, 9.0)], [(75.0, 0.0), (75.0, 9.0)]
    for drawn in ([left, right], [right, left]):
        assert layout._in_order({("n0", "n1"): drawn}, problem) == {0: right, 1: left}


def test_ranks_are_the_longest_ways() -> None:
    kids = (Kid(10, 10),) * 4
    links = (Link(0, 0, 1, 0), Link(1, 0, 2, 0), Link(2, 0, 3, 0), Link(0, 0, 3, 0), Link(3, 0, 0, 0))
    assert layout._ranks(Problem(kids, links, 0, 0, ((0,), (1,), (2,), (3,)))) == [0, 1, 2, 3]
    # the shorter way comes last
    links = (Link(0, 0, 1, 0), Link(1, 0, 3, 0), Link(2, 0, 3, 0))
    assert layout._ranks(Problem(kids, links, 0, 0, ((0,), (1,), (2,), (3,)))) == [0, 1, 0, 2]


def test_halves_of_a_cubic_are_those_of_de_casteljau() -> None:
    first, second = folding._halves([(0.0, 0.0), (0.0, 8.0), (8.0, 8.0), (8.0, 0.0)], 0.5)
    assert first == [(0.0, 0.0), (0.0, 4.0), (2.0, 6.0), (4.0, 6.0)]
    assert second == [(4.0, 6.0), (6.0, 6.0), (8.0, 4.0), (8.0, 0.0)]


def test_gaps_are_where_no_box_reaches() -> None:
    """The tall box at the left reaches past the two small ones beside it."""
    centres, sizes = (
        [(0.0, 50.0), (80.0, 15.0), (80.0, 55.0), (0.0, 130.0)],
        [(40, 100), (40, 30), (40, 30), (40, 20)],
    )
    assert folding._gaps(Draft(100, 140, centres, sizes, [], [], [])) == [110.0]


def test_the_box_of_an_interior_has_its_proportions() -> None:
    for kids in ([Kid(100, 40)], [Kid(100, 40)] * 3, [Kid(100, 40)] * 12, [Kid(400, 20)]):
        count = len(kids)
        found = laid_out(kids, [link for link in CHAIN if link.head < count])
        assert found.box[0] / found.box[1] == pytest.approx(found.width / found.height, rel=0.01)
        assert found.box[0] >= layout.LEAST_WIDTH
        assert found.box[1] >= layout.LEAST_HEIGHT


def test_a_long_chain_is_folded_into_columns_and_stays_joined() -> None:
    kids = [Kid(100, 40)] * 12
    found = laid_out(kids, CHAIN)
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


def test_between_columns_there_is_a_gutter_for_the_curves() -> None:
    centres = [(50.0, 60.0 * i) for i in range(11)]
    found = fold(Draft(100, 600, centres, [(100, 30)] * 11, [], [], []))
    columns = sorted({x for x, _ in found.centres})
    assert len(columns) >= 2
    assert np.diff(columns).tolist() == [100 + folding.GUTTER] * (len(columns) - 1)
    assert found.width == columns[-1] + 50


def test_a_short_or_wide_draft_is_not_folded() -> None:
    draft = Draft(300, 200, [(10.0, 10.0)], [(10, 10)], [], [], [])
    assert fold(draft) is draft


def test_many_boxes_side_by_side_come_in_several_lines() -> None:
    count = 30
    kids = [Kid(100.0, 50.0, 1, 1) for _ in range(count + 2)]
    links = [Link(count, 0, i, 0) for i in range(count)] + [Link(i, 0, count + 1, 0) for i in range(count)]
    wide = laid_out(kids, links)
    assert wide.width < 2200  # 30 boxes and their gaps in one line are some 3,700 wide
    tops = [y for _, y in wide.places[:count]]
    assert len(set(tops)) == 4
    assert all(wide.places[count][1] < top < wide.places[count + 1][1] for top in tops)
    for (x, y), (u, v) in itertools.combinations(wide.places, 2):
        assert abs(x - u) >= 100 or abs(y - v) >= 50
    few = laid_out(kids[:5], [Link(3, 0, i, 0) for i in range(3)] + [Link(i, 0, 4, 0) for i in range(3)])
    assert len({y for _, y in few.places[:3]}) == 1


def test_equal_groups_share_one_interior_and_graphviz_runs_once_for_them(monkeypatch: Any) -> None:
    calls = []
    real = layout.render
    monkeypatch.setattr(layout, "render", lambda *a, **k: calls.append(1) or real(*a, **k))
    graph = tg.graph_of(blocks(20))
    root, notices = tree(graph, set(), seconds=20)
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
    first, second = (tree(graph, set(), seconds=20)[0] for _ in range(2))
    assert [box.interior for box in boxed(first)] == [box.interior for box in boxed(second)]


def test_many_boxes_are_split_so_that_no_interior_has_more_than_a_hundred() -> None:
    y = tg.tensor(1.0, requires_grad=True)
    for _ in range(700):
        y = y * 1.01
    root, _ = tree(tg.graph_of(y), set(), seconds=20)
    assert all(len(box.kids) <= 100 for box in root.walk())
    assert sum(1 for box in root.walk() if box.node is not None) == 701


def test_a_page_with_too_many_boxes_leaves_the_inner_ones_out_and_says_so() -> None:
    y = tg.tensor(1.0, requires_grad=True)
    for _ in range(700):
        y = y * 1.01
    root, notices = tree(tg.graph_of(y), set(), seconds=20, most=300)
    assert sum(1 for _ in root.walk()) <= 301
    assert "left out of this page" in notices[0]
    assert sum(len(box.inside) for box in root.walk()) == int(notices[0].split()[0].replace(",", ""))


def test_without_graphviz_or_time_the_page_is_in_rows_and_says_so(monkeypatch: Any) -> None:
    graph = tg.graph_of(blocks(2))
    _, notices = tree(graph, set(), seconds=0)
    assert "plain rows" in notices[0]

    def missing(*args: Any, **options: Any) -> bytes:
        raise RenderError("there is no Graphviz")

    monkeypatch.setattr(layout, "render", missing)
    root, notices = tree(graph, set(), seconds=20)
    assert "there is no Graphviz" in notices[0]
    for box in boxed(root):
        assert box.interior is not None
        assert_apart(
            rectangles(box.interior, [kid.size for kid in box.kids]), box.interior.width, box.interior.height
        )


def test_curves_through_a_border_meet_at_one_place() -> None:
    graph = tg.graph_of(blocks(3))
    root, _ = tree(graph, set(), seconds=20)
    for box in boxed(root):
        for (tail, head, value), path in zip(box.links, box.interior.paths, strict=True):
            way = -1 if box.links[tail, head, value].up else 1
            for kid, point in zip((tail, head), ends(path)[::way], strict=True):
                if kid is None or not kid.kids:
                    continue
                side = kid.outs if kid is tail else kid.ins
                share = layout.port_share(list(side).index(value), len(side))
                x, y = box.interior.places[kid.number]
                assert point[0] == pytest.approx(x + share * kid.size[0], abs=1.0)
                assert point[1] == pytest.approx(y + (kid.size[1] if kid is tail else 0), abs=1.5)


# -- forward and backward ----------------------------------------------------------------------------------------------


def box_of(root: Area, title: str) -> Area:
    return next(box for box in root.walk() if box.title == title)


def middle(box: Area) -> tuple[float, float]:
    (x, y), (width, height) = box.parent.interior.places[box.number], box.size
    return x + width / 2, y + height / 2


@pytest.fixture(scope="module")
def mirrored() -> Area:
    x = tg.tensor(np.ones((2, 3)), requires_grad=True, name="x")
    with scope("inner"):
        y = np.sin(x)
        with scope("deep"):
            z = np.tanh(y) * np.cos(y)
    graph = with_backward(tg.graph_of((z**2 + y).sum())).graph
    return tree(graph, set(), seconds=20)[0]


def test_each_backward_box_lies_opposite_of_its_forward_box(mirrored: Area) -> None:
    pairs = [(box.leader, box) for box in mirrored.walk() if box.leader is not None]
    assert {(one.title, other.title) for one, other in pairs} >= {
        ("sin", "∂ sin"), ("tanh", "∂ tanh"), ("cos", "∂ cos"), ("multiply", "∂ multiply"), ("power", "∂ power"),
        ("sum", "∂ sum"), ("x", "∂ x"), ("output", "seed"),
    }  # fmt: skip
    for one, other in pairs:
        assert one.parent is other.parent
        assert middle(one)[1] == pytest.approx(middle(other)[1], abs=0.2)
        assert 20 < middle(other)[0] - other.size[0] / 2 - middle(one)[0] - one.size[0] / 2 < 80
    for box in boxed(mirrored):
        found = rectangles(box.interior, [kid.size for kid in box.kids])
        assert_apart(found, box.interior.width, box.interior.height)


def test_gradients_flow_upward_and_what_is_kept_goes_straight_across(mirrored: Area) -> None:
    across = 0
    for box in boxed(mirrored):
        for (upper, lower, _), flow, path in zip(
            box.links, box.links.values(), box.interior.paths, strict=True
        ):
            start, end = ends(path)
            if flow.role == "gradient":
                assert flow.up
                assert start[1] > end[1]
            if flow.role == "data":
                assert start[1] < end[1]
            if flow.role == "saved" and upper is not None:
                across += 1
                assert lower.leader is upper
                (x, y), (width, height) = box.interior.places[upper.number], upper.size
                assert start == pytest.approx((x + width, y + height / 2), abs=0.2)
                assert end[0] == pytest.approx(box.interior.places[lower.number][0], abs=0.2)
    assert across == 5  # sin, tanh, cos, multiply and power keep something; add and sum do not


def test_gradients_of_several_uses_add_up_where_the_uses_meet(mirrored: Area) -> None:
    joins = [box for box in mirrored.walk() if box.kind == "join"]
    assert [box.parent.title for box in joins] == ["deep", "deep"]
    uses = tg.tensor(2.0, requires_grad=True, name="w")
    with scope("a"):
        one = np.sin(uses) * 2.0
    with scope("b"):
        other = np.cos(uses) * 2.0
    root, _ = tree(with_backward(tg.graph_of(one + other)).graph, set(), seconds=20)
    (join,) = [box for box in root.walk() if box.kind == "join"]
    assert join.parent is root
    assert middle(box_of(root, "w"))[1] < middle(join)[1] < middle(box_of(root, "a"))[1]


def test_rows_stay_together_where_many_boxes_are_split() -> None:
    x = tg.tensor(np.ones(2), requires_grad=True, name="x")
    y = x
    for _ in range(130):
        y = np.sin(y)
    root, _ = tree(with_backward(tg.graph_of(y.sum())).graph, set(), seconds=20)
    assert all(len(box.rows) <= 100 for box in root.walk())
    assert all(box.leader in (None, *box.parent.kids) for box in root.walk() if box.parent)
    assert sum(1 for box in root.walk() if box.title == "∂ sin") == 130


def test_the_second_order_is_a_third_lane() -> None:
    x = tg.tensor(np.ones(3), requires_grad=True, name="x")
    root, _ = tree(with_backward(tg.graph_of(np.tanh(np.sin(x)).sum()), 2).graph, set(), seconds=20)
    for title in ("sin", "tanh"):
        row = next(row for row in root.rows if row[0].title == title)
        assert [box.title for box in row] == [title, f"∂ {title}", f"∂² {title}"]
        assert [box.lane for box in row] == [0, 1, 2]
        xs = [middle(box)[0] for box in row]
        assert xs == sorted(xs)
    assert box_of(root, "∂² x").leader is box_of(root, "x")


def test_a_training_step_ends_in_the_updates() -> None:
    tg.manual_seed(0)
    model = tg.nn.Linear(3, 2)
    optimizer = tg.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    x = np.ones((4, 3), np.float32)
    step(x)  # the buffers are there from the second step on
    root, _ = tree(tg.capture(step, x), set(), seconds=20)
    update = box_of(root, "update")
    assert update.parent is root
    assert {kid.title for kid in update.kids} >= {"update weight", "update bias"}
    assert box_of(root, "weight").title


def test_without_graphviz_the_lanes_are_in_rows_too(monkeypatch: Any, mirrored: Area) -> None:
    x = tg.tensor(np.ones(3), requires_grad=True, name="x")
    root, _ = tree(with_backward(tg.graph_of(np.tanh(np.sin(x)).sum())).graph, set(), seconds=0)
    for box in boxed(root):
        found = rectangles(box.interior, [kid.size for kid in box.kids])
        assert_apart(found, box.interior.width, box.interior.height)
    assert middle(box_of(root, "sin"))[1] == middle(box_of(root, "∂ sin"))[1]


# -- curves that cross -------------------------------------------------------------------------------------------------


def between_groups(seed: int) -> tg.Tensor:
    """Groups of three ops each that read what earlier groups gave, in any order."""
    rng = np.random.default_rng(seed)
    made = [tg.tensor(np.ones(2), requires_grad=True, name=name) for name in "xy"]
    for i in range(6):
        with scope(f"group{i}"):
            picked = rng.choice(len(made[-5:]), 2, replace=False)
            a, b = (made[-5:][k] for k in picked)
            made += [np.sin(a), np.cos(b), np.tanh(a) * b]
    total = made[-1]
    for one in made[2:-1]:
        total = total + one
    return total


def crossings_of(root: Area) -> int:
    return sum(crossings(box.interior.paths) for box in boxed(root))


def test_curves_are_counted_where_they_cross() -> None:
    bent = "M0,0C0,50 100,50 100,100"
    assert crossings((bent, "M100,0C100,50 0,50 0,100")) == 1
    assert crossings((bent, "M10,0C10,50 110,50 110,100")) == 0
    assert crossings((bent,)) == 0
    assert crossings(()) == 0


def test_crossings_are_those_of_all_pairs_of_pieces() -> None:
    rng = np.random.default_rng(0)

    def some(count: int) -> str:
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in rng.uniform(0, 100, (count, 2)))

    def side(a: Any, b: Any, c: Any) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    paths = tuple(f"M{some(1)}C{some(3)}L{some(1)}" for _ in range(30))
    found = sum(
        side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0
        for one, other in itertools.combinations(map(polyline, paths), 2)
        for a, b in itertools.pairwise(one)
        for c, d in itertools.pairwise(other)
    )
    assert crossings(paths) == found > 100


def test_ports_are_in_the_order_in_which_curves_come_to_them(monkeypatch: Any) -> None:
    graphs = [tg.graph_of(between_groups(seed)) for seed in range(6)]
    untangled = [crossings_of(tree(graph, set(), seconds=20)[0]) for graph in graphs]
    monkeypatch.setattr(linking, "_untangle", lambda *_: None)
    before = [crossings_of(tree(graph, set(), seconds=20)[0]) for graph in graphs]
    assert sum(untangled) < sum(before)
