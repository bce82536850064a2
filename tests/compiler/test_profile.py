"""Profiles of plans: what is measured, and the table, trace and drawing of it."""

import itertools
import json
import re
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.compiler import tables
from tinygraph.core.node import Leaf
from tinygraph.core.state import default_generator
from tinygraph.errors import OpError, SettingError


def training(*layers, momentum=0.9):
    tg.manual_seed(0)
    model = nn.Sequential(*layers)
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=momentum)

    @tg.compile
    def step(x, y):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return model, optimizer, step


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    return rng.normal(size=(8, 1, 12, 12)).astype(np.float32), rng.integers(0, 3, 8)


@pytest.fixture
def convolutional():
    return training(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(100, 3),
    )


def test_profiling_changes_nothing(convolutional, batch):
    model, optimizer, step = convolutional
    step(*batch)

    def everything():
        return (
            {name: np.array(value) for name, value in model.state_dict().items()},
            {name: np.array(p.grad) for name, p in model.named_parameters()},
            [np.array(slot) for group in optimizer.state_dict()["state"].values() for slot in group.values()],
            default_generator.state,
        )

    before = everything()
    profile = step.profile(*batch, repeats=3)
    np.testing.assert_equal(everything(), before)
    assert profile.seconds > 0
    loss = step(*batch)
    assert np.isfinite(loss.item())
    assert any(not np.array_equal(value, before[0][name]) for name, value in everything()[0].items())


def test_the_first_call_may_be_a_profile(convolutional, batch):
    model, _, step = convolutional
    before = {name: np.array(value) for name, value in model.state_dict().items()}
    assert step.profile(*batch, repeats=1).repeats == 1
    np.testing.assert_equal({name: np.array(value) for name, value in model.state_dict().items()}, before)


def test_a_profile_that_fails_changes_nothing():
    weight = tg.tensor(np.ones((3, 2)), requires_grad=True, name="weight")
    optimizer = optim.SGD([weight], lr=0.1)

    @tg.compile
    def step(index):
        optimizer.zero_grad()
        (weight * weight).sum().backward()
        optimizer.step()
        return weight[index]

    step.profile(np.array([0, 1]), repeats=2)
    before, version = weight.numpy().copy(), weight.node.version
    with pytest.raises(OpError, match=r"index at test_profile\.py:\d+.*No parameter or state was changed"):
        step.profile(np.array([0, 7]), repeats=2)
    np.testing.assert_array_equal(weight.numpy(), before)
    assert weight.node.version == version


@pytest.mark.parametrize("repeats", [0, -1, 2.0, "3"])
def test_repeats_are_a_positive_whole_number(convolutional, batch, repeats):
    with pytest.raises(SettingError, match="repeats"):
        convolutional[2].profile(*batch, repeats=repeats)


def test_every_step_is_counted_once(convolutional, batch):
    _, _, step = convolutional
    profile = step.profile(*batch, repeats=2)
    assert [one.step for one in profile.steps] == list(step.plan.steps)
    assert sum(one.seconds for one in profile.steps) == pytest.approx(profile.seconds)
    assert sum(profile.times.values()) == pytest.approx(profile.seconds)
    assert set(profile.times) <= {node for node in step.plan.graph.nodes if not isinstance(node, Leaf)}
    computed = [node for one in profile.steps for node in one.step.nodes]
    assert len(computed) == len(set(computed))


def test_bytes_and_operations_of_a_product():
    function = tg.compile(lambda a, b: a @ b)
    a, b = np.ones((3, 4)), np.ones((4, 5))
    (one,) = function.profile(a, b, repeats=1).steps
    assert one.flops == 3 * 5 * 4 * 2
    assert one.nbytes == (3 * 4 + 4 * 5 + 3 * 5) * 8


def test_an_operand_read_twice_moves_once():
    function = tg.compile(lambda a: a @ a)
    (one,) = function.profile(np.ones((4, 4)), repeats=1).steps
    assert one.nbytes == 2 * 4 * 4 * 8


def test_a_fused_step_makes_the_operations_of_its_members():
    pytest.importorskip("llvmlite")
    function = tg.compile(lambda x: np.exp(x) * 2.0 + 1.0)
    (one,) = function.profile(np.ones((5, 7), np.float32), repeats=1).steps
    assert one.step.node.op.name.startswith("fused")
    assert one.flops == 3 * 35
    assert one.nbytes == 2 * 35 * 4


@pytest.mark.parametrize("axis", [None, 1])
def test_a_fused_step_ends_with_its_reduction(axis):
    pytest.importorskip("llvmlite")
    function = tg.compile(lambda x: np.sum(np.exp(x) * 2.0, axis=axis))
    (one,) = function.profile(np.ones((5, 7), np.float32), repeats=1).steps
    assert one.flops == 3 * 35
    assert one.nbytes == (35 + (1 if axis is None else 5)) * 4


def test_a_run_of_numbers_shares_its_time():
    pytest.importorskip("llvmlite")
    function = tg.compile(lambda x: np.sin(x) * x + 1.0)
    profile = function.profile(np.float64(0.5), repeats=1)
    (one,) = profile.steps
    assert len(one.step.nodes) == one.flops == 3
    assert one.nbytes == 4 * 8  # what it reads, and three results
    assert list(profile.times.values()) == pytest.approx([one.seconds / 3] * 3)


@pytest.mark.parametrize("width", [100, 140])
def test_tables_fit_and_say_everything(convolutional, batch, width):
    _, _, step = convolutional
    profile = step.profile(*batch, repeats=1)
    for text, columns in (
        (step.plan.table(width=width), ("shapes", "bytes", "flops", "buffer")),
        (profile.table(width=width), ("shapes", "bytes", "flops", "time", "share", "rate")),
    ):
        lines = text.splitlines()
        assert max(map(len, lines)) <= width
        assert all(column in lines[1].split() for column in ("step", "op", "phase", "kernel", *columns))
        rows = lines[2:-1]
        assert [int(row.split()[0]) for row in rows] == list(range(len(step.plan.steps)))
        assert sum("convolution" in row for row in rows) == 2  # and that by its kernel
    assert str(step.plan) == step.plan.table()
    assert str(profile) == profile.table()


def test_the_table_of_a_plan_says_where_results_are(convolutional, batch):
    model, _, step = convolutional
    step(*batch)
    table = step.plan.table(width=250)
    for name, parameter in model.named_parameters():
        places = {name, f"{name}.grad"}
        assert any(place in table for place in places), f"{name} {parameter.shape}\n{table}"
    offsets = [int(found.replace(",", "")) for found in re.findall(r" \+([\d,]+)", table)]
    assert offsets
    assert max(offsets) < step.plan.arena_bytes


def test_the_slowest_steps_come_first(convolutional, batch):
    profile = convolutional[2].profile(*batch, repeats=1)
    rows = profile.table(slowest=4, width=140).splitlines()[2:-1]
    order = sorted(range(len(profile.steps)), key=lambda i: -profile.steps[i].seconds)
    assert [int(row.split()[0]) for row in rows] == order[:4]


def test_long_tables_show_their_beginning_and_end(monkeypatch):
    monkeypatch.setattr(tables, "MOST_ROWS", 6)

    def chain(x):
        for _ in range(9):
            x = np.cumsum(x)
        return x

    profile = tg.compile(chain).profile(np.ones(3), repeats=1)
    for text, last in ((profile.table(), 8), (profile.plan.table(), 8)):
        rows = text.splitlines()[2:-1]
        assert [row.split()[0] for row in rows] == ["0", "1", "2", "...", "6", "7", str(last)]
        assert "3 more" in rows[3]
    assert profile._repr_html_().count("<tr>") == 7 + 2
    assert len(profile.table(slowest=2).splitlines()) == 2 + 2 + 1


def test_notebooks_show_tables(convolutional, batch):
    _, _, step = convolutional
    profile = step.profile(*batch, repeats=1)
    for shown in (profile._repr_html_(), step.plan._repr_html_()):
        assert shown.count("<tr>") == len(step.plan.steps) + 2
        assert "←" in shown
        assert "<table>" in shown


def check_trace(trace):
    """The Trace Event Format, as far as it is used here."""
    assert set(trace) == {"traceEvents", "displayTimeUnit"}
    assert trace["displayTimeUnit"] in ("ms", "ns")
    slices = []
    for event in trace["traceEvents"]:
        assert {"name", "ph", "pid", "tid"} <= set(event)
        assert event["ph"] in ("M", "X")
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert isinstance(event["args"]["name"], str)
        else:
            assert event["dur"] >= 0 <= event["ts"]
            slices.append(event)
    for one, other in itertools.combinations(slices, 2):  # slices of a track nest or lie apart
        first, second = sorted((one, other), key=lambda event: (event["ts"], -event["dur"]))
        apart = first["ts"] + first["dur"] <= second["ts"] + 2e-3
        inside = second["ts"] + second["dur"] <= first["ts"] + first["dur"] + 2e-3
        assert apart or inside, (first, second)
    return slices


def test_a_trace_holds_each_step(convolutional, batch, tmp_path):
    _, _, step = convolutional
    profile = step.profile(*batch, repeats=1)
    path = tmp_path / "step.json"
    path.write_text("old", encoding="utf-8")
    profile.trace(path)
    assert [one.name for one in tmp_path.iterdir()] == ["step.json"]
    slices = check_trace(json.loads(path.read_text(encoding="utf-8")))
    steps = [event for event in slices if "args" in event]
    assert [event["name"] for event in steps] == [one.step.node.op.name for one in profile.steps]
    assert {event["cat"] for event in steps} == {"forward", "backward", "update"}
    first = next(event for event in steps if event["name"] == "convolution")
    assert first["args"]["result"].startswith("float32[8,4,10,10]")
    assert first["args"]["operands"].startswith("float32[8,1,12,12], float32[4,1,3,3]")
    one = profile.steps[steps.index(first)]
    assert (first["args"]["bytes"], first["args"]["flops"]) == (one.nbytes, one.flops)
    assert first["args"]["source"].startswith(Path(__file__).name)
    assert first["args"]["line"] == "loss = nn.functional.cross_entropy(model(x), y)"
    assert sum(event["dur"] for event in steps) == pytest.approx(profile.seconds * 1e6, abs=1e-3 * len(steps))


def test_a_trace_puts_steps_inside_their_modules(convolutional, batch):
    profile = convolutional[2].profile(*batch, repeats=1)
    slices = [event for event in profile.events() if event["ph"] == "X"]
    (step,) = (event for event in slices if event["name"] == "convolution")
    begin, end = step["ts"], step["ts"] + step["dur"]
    around = [one for one in slices if one["ts"] <= begin and one["ts"] + one["dur"] >= end - 2e-3]
    assert [one["name"] for one in around] == ["forward", "0", "convolution"]


def test_a_trace_that_cannot_be_written_leaves_nothing(convolutional, batch, tmp_path):
    profile = convolutional[2].profile(*batch, repeats=1)
    with pytest.raises(OSError, match="nowhere"):
        profile.trace(tmp_path / "nowhere" / "step.json")
    assert list(tmp_path.iterdir()) == []


def test_the_drawing_shows_what_was_measured(convolutional, batch):
    profile = convolutional[2].profile(*batch, repeats=1)
    boxes = [box for box in profile.draw().picture.boxes if box.heat is not None]
    assert len(boxes) == len(profile.times)  # a box each
    hottest = max(profile.times, key=profile.times.get)
    assert max(boxes, key=lambda box: box.heat).title == hottest.op.name
    assert all("time" in dict(box.numbers) for box in boxes)


def test_boxes_of_a_rewritten_graph_have_all_their_arrows():
    """Passes leave the views of parameters early in the graph, before what the same box reads from another."""
    _, _, step = training(nn.Linear(6, 5), nn.ReLU(), nn.Tanh(), nn.Linear(5, 4), nn.Linear(4, 3))
    profile = step.profile(np.ones((4, 6), np.float32), np.zeros(4, int), repeats=1)
    picture = profile.draw(zoom="module").picture
    modules = {box.id: box.title.split()[0] for box in picture.boxes if not box.backward}
    arrows = [one for one in picture.arrows if one.role == "data" and {one.tail, one.head} <= set(modules)]
    found = {(modules[one.tail], modules[one.head]) for one in arrows}
    steps = {name for pair in found for name in pair if name.isdigit()}
    assert {"0", "3", "4"} <= steps
    ordered = ["x", *sorted(steps), "cross_entropy"]
    assert set(itertools.pairwise(ordered)) <= found


def test_times_of_a_drawing_may_come_from_elsewhere(tmp_path):
    graph = tg.capture(lambda x: np.exp(x) + np.sin(x), np.zeros(3))
    nodes = {node.op.name: node for node in graph.nodes if node.op is not None}
    drawn = tg.draw(graph, show=("time",), times={nodes["exp"]: 2.0, nodes["sin"]: 1.0})
    heats = {box.title: box.heat for box in drawn.picture.boxes}
    assert (heats["exp"], heats["sin"], heats["add"]) == (1.0, 0.5, None)
    page = drawn.html(tmp_path / "page.html").read_text(encoding="utf-8")
    assert '"amounts":[null,2,1,null]' in page


def test_profile_of_a_function_that_only_views():
    function = tg.compile(lambda x: x.T)
    profile = function.profile(np.ones((2, 3)), repeats=1)
    assert profile.steps == ()
    assert profile.seconds == 0.0
    assert "0 steps" in str(profile)
    check_trace({"traceEvents": profile.events(), "displayTimeUnit": "ns"})


def test_empty_arrays_and_names_in_brackets():
    function = tg.compile(lambda x: np.exp(x))
    profile = function.profile(np.ones((0, 3)), repeats=1)
    assert "0×3" in str(profile)
    assert "<lambda>" in str(profile)
    assert "&lt;lambda&gt;" in profile._repr_html_()


def test_iterations_are_profiled_kernel_by_kernel():
    """Of a loop of 7 steps, and of one that ends when 64 times 1.0, doubled, is no longer below 6,400: after 7."""

    def f(x, w):
        h = tg.scan(lambda h, row: (np.tanh(h @ w + row), None), np.zeros((4, 8)), x)[0]
        return h, tg.while_loop(lambda v: np.sum(v) < 6400.0, lambda v: v * 2.0, x[:2].reshape(64))

    compiled = tg.compile(f)
    x, w = np.ones((7, 4, 8)), np.eye(8)
    before = compiled(x, w)
    profile = compiled.profile(x, w, repeats=2)
    for one, again in zip(before, compiled(x, w), strict=True):
        np.testing.assert_array_equal(one, again)
    assert [one.steps for one in profile.inside.values()] == [7, 7]
    names = [name for one in profile.inside.values() for name, _ in one.kernels]
    assert any("matrix product" in name or "matmul" in name for name in names)
    assert all(seconds > 0 for one in profile.inside.values() for _, seconds in one.kernels)
    for i in profile.inside:
        assert "7 iterations of" in str(profile)
        assert f"(step {i})" in str(profile)
