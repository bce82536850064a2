"""What stays in memory for a backward pass: each buffer once, parameters not at all, and one number everywhere."""

import base64
import gzip
import json
import re

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.analysis.kept import Kept, orders_of
from tinygraph.analysis.units import BYTES
from tinygraph.core.node import is_recorded
from tinygraph.drawing.model.numbers import with_backward
from tinygraph.drawing.page import page


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.Linear(128, 3)

    def forward(self, x):
        h = tg.ops.relu(self.norm(self.conv(x))) + x
        return self.head(h.reshape(h.shape[0], -1))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.inner, self.outer = nn.LayerNorm(8), nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x):
        q, k, v = np.split(self.inner(self.norm(x)), 3, axis=-1)
        return self.outer(tg.ops.softmax(q @ np.swapaxes(k, -1, -2), axis=-1) @ v)


MODELS = {
    "linear": (lambda: nn.Linear(400, 120), (8, 400)),
    "mlp": (lambda: nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3), nn.ReLU()), (4, 5)),
    "convolutions": (
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5), nn.GELU()
        ),
        (3, 1, 8, 8),
    ),
    "residual": (Residual, (2, 2, 8, 8)),
    "attention": (Attention, (2, 6, 8)),
}


def loss_of(model, x):
    return np.mean(model(x) ** 2)


@pytest.fixture(params=MODELS)
def case(request):
    make, shape = MODELS[request.param]
    tg.manual_seed(0)
    return make(), np.random.default_rng(0).normal(size=shape).astype(np.float32)


def owner(array):
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def arrays_kept(graph):
    """Bytes of the arrays that the nodes of a tape really hold for their rules, apart from data."""
    data = {id(owner(np.asarray(leaf.value))) for leaf in graph.leaves}
    found = {}
    for node in graph.nodes:
        for slot, held in zip(node.live_rules.slots, node.saved, strict=True) if node.op is not None else ():
            if slot is None or (slot >= 0 and not is_recorded(node.inputs[slot])):
                continue
            for one in held if isinstance(held, tuple) else (held,):
                if isinstance(one, np.ndarray):
                    found[id(owner(one))] = owner(one).nbytes
                elif isinstance(one, np.generic):
                    found[id(one)] = one.nbytes
    return sum(size for key, size in found.items() if key not in data)


def overlay_of(text, name):
    kind, data = re.search(r'<script type="([^"]+)" id="tinygraph-page">(.*?)</script>', text, re.S).groups()
    data = gzip.decompress(base64.b64decode(data)) if kind == "application/gzip" else data
    (found,) = (one for one in json.loads(data)["overlays"] if one["name"] == name)
    return found["amounts"]


class TestOneNumberEverywhere:
    def test_it_is_what_the_tape_holds(self, case):
        model, x = case
        graph = tg.graph_of(loss_of(model, x))
        assert Kept(graph).nbytes == arrays_kept(graph)

    def test_nodes_add_up_and_the_last_pass_keeps_nothing(self, case):
        model, x = case
        for graph in (tg.capture(lambda x: loss_of(model, x), x), tg.graph_of(loss_of(model, x))):
            for passes in (1, 2):
                whole = with_backward(graph, passes).graph
                kept = Kept(whole)
                assert sum(kept.by_node.values()) == kept.nbytes > 0
                orders = orders_of(whole.nodes)
                last = [node for node in whole.nodes if orders.get(id(node), 0) == passes]
                assert last
                assert not any(id(node) in kept.by_node for node in last)

    def test_summary_overlay_page_and_picture_agree(self, case):
        model, x = case
        whole = with_backward(tg.capture(lambda x: loss_of(model, x), x)).graph
        kept = Kept(whole)
        assert whole.summary().endswith(f", {kept.nbytes:,} bytes kept for a backward pass")
        assert sum(amount or 0 for amount in overlay_of(page(whole), "saved")) == kept.nbytes
        drawing = tg.draw(whole, show=("names", "saved"), collapse=lambda name: True)
        shown = [text for box in drawing.picture.boxes for name, text in box.numbers if name == "saved"]
        by_hand = sum(float(text.split()[0]) * {"B": 1, "kB": 1e3}[text.split()[1]] for text in shown)
        assert by_hand == pytest.approx(kept.nbytes, rel=0.01)

    def test_arrows_say_what_of_it_they_carry(self, case):
        model, x = case
        whole = with_backward(tg.capture(lambda x: loss_of(model, x), x)).graph
        kept = Kept(whole)
        later = {
            (id(one), i): entry
            for one in whole.nodes
            if one.phase == "backward"
            for i, entry in enumerate(one.inputs)
            if is_recorded(entry) and getattr(entry, "node", entry).phase == "forward"
        }
        assert kept.bytes_of(later.values()) == kept.nbytes
        labels = {
            arrow.label for arrow in tg.draw(whole).picture.arrows if arrow.role == "saved" and arrow.label
        }
        assert labels <= {BYTES.text(kept.memory.sizes[one]) for one in kept.buffers}

    def test_a_compiled_step_keeps_what_its_title_says(self):
        model, x = nn.Sequential(nn.Linear(5, 70), nn.Tanh(), nn.Linear(70, 3), nn.ReLU()), np.ones((40, 5))
        optimizer = tg.optim.SGD(model.parameters(), lr=0.1)

        def step(x):
            optimizer.zero_grad()
            loss = loss_of(model, x)
            loss.backward()
            optimizer.step()
            return loss

        compiled = tg.compile(step)
        compiled(x.astype(np.float32))
        # tanh of 40 x 70 and relu of 40 x 3, in float32; the loss squares what relu gives
        assert Kept(compiled.plan.graph).nbytes == 4 * (40 * 70 + 40 * 3)
        assert ", 11.7 kB kept for backward;" in compiled.plan.table().splitlines()[0]


class TestByHand:
    def test_the_weight_of_a_linear_layer_is_there_anyway(self):
        layer = nn.Linear(400, 120)
        loss = loss_of(layer, np.ones((8, 400), np.float32))
        drawing = tg.draw(loss, show=("names", "saved"))
        found = {box.title: dict(box.numbers).get("saved") for box in drawing.picture.boxes}
        assert [text for text in found.values() if text] == ["3.84 kB"]  # 8 x 120 float32, the result
        assert Kept(tg.graph_of(loss)).nbytes == 3840

    @pytest.mark.parametrize(
        ("program", "expected"),
        [
            (lambda w: (w.T * 2.0) @ np.ones((2, 1)), 0),  # a view of a parameter, then a constant
            (lambda w: w.T.reshape(2, 3) ** 2, 48),  # a copy, since the transpose lies otherwise
            (lambda w: w.reshape(-1) ** 2, 0),
            (lambda w: np.broadcast_to(w, (5, 2, 3)) ** 2, 0),
            (
                lambda w: np.broadcast_to(w * 2.0, (5, 2, 3)) ** 2,
                48,
            ),  # the memory that is looked at five times
            (lambda w: (w * 2.0)[0] ** 2, 48),  # the whole of it stays for the row
            (lambda w: np.exp(w) * np.exp(w), 96),
            (lambda w: (lambda y: y * y + np.sin(y))(np.exp(w)), 48),  # one buffer, asked for four times
            (lambda w: np.split(w, 3, axis=1)[0] ** 2, 0),
            (lambda w: np.split(w * 2.0, 3, axis=1)[0] ** 2, 48),
            (lambda w: np.where(w > 0, w, 0.0), 6),  # the mask, a byte an element
            (lambda w: w + 1.0, 0),
        ],
    )
    def test_small_programs(self, program, expected):
        w = tg.tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
        graph = tg.graph_of(np.sum(program(w)))
        assert Kept(graph).nbytes == expected == arrays_kept(graph)

    def test_what_several_ops_keep_counts_at_the_last_of_them(self):
        x = tg.tensor(np.ones((4, 4)), requires_grad=True)
        drawing = tg.draw(tg.ops.sin(tg.ops.exp(x)), show=("names", "saved"))
        found = {box.title: dict(box.numbers).get("saved") for box in drawing.picture.boxes}
        assert (found["exp"], found["sin"]) == (None, "128 B")
        graph = tg.graph_of(tg.ops.sin(tg.ops.exp(x)))
        assert list(Kept(graph).carried.values()) == [128, 128]  # what a line from either says

    def test_only_what_the_wanted_gradients_need(self):
        w = tg.tensor(np.ones(100), requires_grad=True)
        graph = tg.capture(lambda x: np.sum(np.exp(np.cos(x)) * w), np.ones(100))
        assert Kept(graph).nbytes == 800  # exp's result for w; the gradient of x is not wanted
        assert Kept(graph.gradient()).nbytes == 800

    def test_a_graph_without_gradients_keeps_nothing(self):
        graph = tg.capture(lambda x: np.exp(x.astype(np.int64)), np.ones(3))
        assert Kept(graph).nbytes == 0
        assert graph.summary().endswith("bytes)")
