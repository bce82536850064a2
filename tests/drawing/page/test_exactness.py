"""Where things stand on screen after a thousand random moves, against the same moves in sixty decimal digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, localcontext
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.analysis.expansion import expansion_of
from tinygraph.analysis.terms import elements, positions
from tinygraph.analysis.units import UNITS
from tinygraph.core.op import Op
from tinygraph.drawing.model.neurons import operands_of
from tinygraph.drawing.model.numbers import values_of
from tinygraph.drawing.page import page

Visit = Callable[..., Any]
EXPOSED = "...camera, ...model, ...finding, ...painting, camera: camera.eye, shown: () => painting.shown"

# Seeded moves toward one item after another, at random depths, and away again. After each: what was done, and where
# boxes are painted whose interiors are open.
WALK = """async ([seed, moves]) => {
  const {camera, ROOT, zoomAt, pan, limit, rectangle, viewport, shown, built, frame, land} = inside;
  const random = () => { // mulberry32
    seed = seed + 0x6D2B79F5 | 0;
    let t = Math.imul(seed ^ seed >>> 15, 1 | seed);
    t = t + Math.imul(t ^ t >>> 7, 61 | t) ^ t;
    return ((t ^ t >>> 14) >>> 0) / 4294967296;
  };
  const among = many => many[Math.floor(random() * many.length)];
  const wish = () => {
    let item = ROOT;
    while (item.kids.length && random() > 0.06) {
      const groups = item.kids.filter(kid => kid.record?.kids), inner = item.kids.filter(kid => kid.opens);
      item = among(groups.length && random() > 0.2 ? groups : inner.length ? inner : item.kids);
    }
    return item;
  };
  const clamp = (v, most) => Math.max(0, Math.min(most, v));
  land(ROOT);
  frame(performance.now());
  const begin = rectangle(ROOT), made = [];
  let target = wish(), patience = 60;
  for (let i = 0; i < moves; i++) {
    const {w, h} = viewport(), box = rectangle(target), one = {};
    const far = [w / 2 - box.x - box.w / 2, h / 2 - box.y - box.h / 2],
      away = 2 * Math.abs(far[0]) > w || 2 * Math.abs(far[1]) > h;
    if (away ? Math.hypot(...far) < 4 * w : random() < 0.2) {
      one.pan = away ? far.map(v => v * (0.6 + 0.5 * random())) : [(random() - 0.5) * 200, (random() - 0.5) * 200];
      pan(...one.pan);
    } else {
      const x = clamp(box.x + box.w * random(), w), y = clamp(box.y + box.h * random(), h);
      one.zoom = [limit(away ? 0.3 + 0.5 * random() : Math.exp(random() * 2 - 0.6), x, y), x, y];
      zoomAt(...one.zoom);
    }
    frame(performance.now());
    if (--patience < 0 || Math.max(box.w / w, box.h / h) > 0.5) { target = wish(); patience = 60; }
    const reached = camera.anchor.path;
    one.depth = reached.length;
    one.boxes = [];
    for (const item of shown().keys()) for (const kid of item.kids) {
      const rect = built.get(item).covers.get(kid)?.group.parentNode.querySelector("rect");
      const {x, y, w: width, h: height} = rectangle(kid);
      const seen = x < w && y < h && x + width > 0 && y + height > 0 && Math.max(width, height) < 4 * w;
      if (!rect || !seen || random() > 0.6) continue;
      const painted = rect.getBoundingClientRect(), stage = document.getElementById("stage").getBoundingClientRect();
      one.boxes.push({path: kid.path, at: [x, y, width, height], painted: [painted.x + painted.width / 2 - stage.x,
        painted.y + painted.height / 2 - stage.y]});
    }
    made.push(one);
  }
  const boxes = {}, enter = item => {
    boxes[item.path.join(".")] = [item.bx, item.by, item.bw, item.bh, item.w, item.h];
  };
  for (const one of made) for (const box of one.boxes)
    for (let item = inside.itemOf(box.path); item.parent; item = item.parent) enter(item);
  return {begin: [begin.w / ROOT.w, begin.x, begin.y], made, boxes};
}"""

# Straight in to the deepest item, and the same moves undone.
RETURN = """async factor => {
  const {camera, ROOT, zoomAt, rectangle, viewport, frame, land} = inside;
  land(ROOT);
  frame(performance.now());
  let item = ROOT;
  while (item.kids.length)
    item = item.kids.find(kid => kid.record?.kids) ?? item.kids.findLast(kid => kid.opens) ?? item.kids[0];
  const whole = rectangle(ROOT), done = [], anchors = [], {w, h} = viewport();
  for (let i = 0; i < 2000 && rectangle(item).w < w / 3; i++) {
    const box = rectangle(item), x = box.x + box.w / 2, y = box.y + box.h / 2;
    done.push([x, y]);
    anchors.push([camera.anchor, rectangle(camera.anchor)]);
    zoomAt(factor, x, y);
    frame(performance.now());
  }
  const depth = camera.anchor.path.length;
  let drift = 0;
  for (const [x, y] of done.reverse()) {
    zoomAt(1 / factor, x, y);
    frame(performance.now());
    const [anchor, was] = anchors.pop(), now = rectangle(anchor);
    drift = Math.max(drift, Math.abs(now.x - was.x), Math.abs(now.y - was.y), Math.abs(now.w - was.w));
  }
  const now = rectangle(ROOT);
  return {depth, drift, off: [now.x - whole.x, now.y - whole.y, now.w - whole.w], zoom: Math.pow(factor, done.length)};
}"""


def deep_model(x: Any) -> tg.Tensor:
    """A convolution inside sixteen modules, one in the other."""
    kernel = np.linspace(-1, 1, 18).reshape(2, 1, 3, 3)

    def inner(y: Any, depth: int) -> Any:
        if not depth:
            return tg.ops.convolution(y, kernel, padding=1).sum(axis=1, keepdims=True)
        with tg.core.modes.scope(f"level{depth}"):
            return np.tanh(inner(np.sin(y), depth - 1)) + y

    return inner(x, 16)


@pytest.fixture
def opened(visit: Visit) -> Any:
    x = tg.tensor(np.random.default_rng(0).normal(size=(1, 1, 8, 8)), requires_grad=True, name="x")
    text = page(tg.graph_of(deep_model(x)), title="deep")
    before, start, after = text.rpartition("\nbegin();\n}\n")
    assert start
    return visit(f"{before}{start}window.inside = {{{EXPOSED}}};{after}")


@dataclass
class Transform:
    """Scale and shift of an interior on screen."""

    k: Decimal
    tx: Decimal
    ty: Decimal

    def zoomed(self, factor: float, x: float, y: float) -> Transform:
        f, x_, y_ = Decimal(factor), Decimal(x), Decimal(y)
        return Transform(self.k * f, x_ + (self.tx - x_) * f, y_ + (self.ty - y_) * f)

    def panned(self, dx: float, dy: float) -> Transform:
        return Transform(self.k, self.tx + Decimal(dx), self.ty + Decimal(dy))

    def box(self, sizes: list[float]) -> tuple[Decimal, Decimal, Decimal, Decimal]:
        x, y, w, h = map(Decimal, sizes[:4])
        return (self.tx + self.k * x, self.ty + self.k * y, self.k * w, self.k * h)

    def inward(self, sizes: list[float]) -> Transform:
        """The interior of a box: as large as fits, in the middle."""
        x, y, w, h, width, height = map(Decimal, sizes)
        scale = min(w / width, h / height)
        return Transform(
            self.k * scale,
            self.tx + self.k * (x + (w - scale * width) / 2),
            self.ty + self.k * (y + (h - scale * height) / 2),
        )


def expected(root: Transform, path: list[int], boxes: dict[str, list[float]]) -> list[float]:
    for depth in range(1, len(path)):
        root = root.inward(boxes[".".join(map(str, path[:depth]))])
    return [float(one) for one in root.box(boxes[".".join(map(str, path))])]


@pytest.mark.parametrize("moves", [200, pytest.param(1000, marks=pytest.mark.slow)])
def test_random_moves_put_every_box_where_exact_arithmetic_does(opened: Any, moves: int) -> None:
    found = opened.evaluate(WALK, [20_261_122, moves])
    worst_painted = worst_known = furthest = 0.0
    checked = deepest = 0
    with localcontext(prec=60):
        root = Transform(*map(Decimal, found["begin"]))
        for move in found["made"]:
            root = root.panned(*move["pan"]) if "pan" in move else root.zoomed(*move["zoom"])
            deepest, furthest = max(deepest, move["depth"]), max(furthest, float(root.k))
            for box in move["boxes"]:
                x, y, w, h = expected(root, box["path"], found["boxes"])
                painted = (box["painted"][0] - x - w / 2, box["painted"][1] - y - h / 2)
                worst_painted = max(worst_painted, *map(abs, painted))
                known = (abs(a - b) for a, b in zip(box["at"], (x, y, w, h), strict=True))
                worst_known = max(worst_known, *known)
                checked += 1
    print(
        f"{checked} boxes, depth {deepest}, x{furthest:.2g}: off by {worst_painted:.2g} px, known {worst_known:.2g}"
    )
    assert len(found["made"]) == moves
    assert checked > moves
    assert deepest >= 9
    assert worst_painted < 0.5
    assert worst_known < 0.5


def test_an_interior_stands_in_the_middle_of_its_box_and_fills_it_one_way(opened: Any) -> None:
    found = opened.evaluate("""() => {
      const every = [], walk = (item, depth) => {
        for (const kid of item.kids) {
          every.push([kid.x + kid.s * kid.w / 2 - kid.bx - kid.bw / 2, kid.y + kid.s * kid.h / 2 - kid.by - kid.bh / 2,
            Math.min(kid.bw - kid.s * kid.w, kid.bh - kid.s * kid.h)]);
          if (kid.opens && depth < 6) walk(kid, depth + 1);
        }
      };
      walk(inside.ROOT, 0);
      return every;
    }""")
    assert len(found) >= 8
    assert np.abs(found).max() < 1e-9


@pytest.mark.parametrize("factor", [1.1, 1.37])
def test_all_the_way_in_and_back_out_ends_where_it_began(opened: Any, factor: float) -> None:
    found = opened.evaluate(RETURN, factor)
    print(
        f"x{found['zoom']:.3g}, depth {found['depth']}: {found['drift']:.2g} px on the way back, {found['off']} there"
    )
    assert found["depth"] >= 9
    assert max(map(abs, found["off"])) < 1e-6
    assert found["drift"] < 1e-6


def computed_by(rng: np.random.Generator) -> dict[str, tg.Tensor]:
    """One op of every kind that is neither elementwise nor in the small network."""

    def given(*shape: int) -> tg.Tensor:
        return tg.tensor(rng.normal(size=shape), requires_grad=True, name="x")

    ops, x = tg.ops, given(2, 3, 4)
    return {
        "transposed": ops.convolution_transpose(given(1, 2, 3, 3), given(2, 2, 3, 3), given(2), stride=2, padding=1,
                                                output_padding=1),
        "transposed, stride 1": ops.convolution_transpose(given(1, 4, 5), given(4, 1, 3), dilation=2, groups=2),
        "transposed, uneven": ops.convolution_transpose(given(1, 1, 3), given(1, 1, 2), stride=3),
        "three dimensions": ops.convolution(given(1, 2, 3, 4, 3), given(2, 2, 2, 2, 2), given(2), padding=1),
        "concatenate": np.concatenate([x, given(2, 2, 4), x], axis=1),
        "stack": np.stack([x, given(2, 3, 4)], axis=-1),
        "moveaxis": np.moveaxis(x, 0, -1),
        "transpose": np.transpose(x, (2, 0, 1)),
        "roll": np.roll(x, (1, -2), axis=(0, 2)),
        "slices": x[:, 1:, ::-2],
        "an element": x[1, None, ..., -1],
        "standardize": ops.standardize(x, axis=(0, 2))[0],
        "variance": ops.standardize(given(3, 5), axis=1, eps=0.1)[0],
    }  # fmt: skip


def test_the_terms_of_every_kind_of_op_make_its_elements(
    visit: Visit, lay_open: Callable[[Any], None]
) -> None:
    """In the browser, element by element, against what the forward pass computed in NumPy."""
    results = computed_by(np.random.default_rng(3))
    opened = visit(page(tg.graph_of(*results.values()), title="ops"))
    lay_open(opened)
    found = opened.evaluate("""() => {
      const ops = [], walk = box => { if (box.expansion !== undefined) ops.push(box); (box.kids ?? []).forEach(walk); };
      walk(DATA.root);
      return ops.map(record => {
        const work = new Work(record);
        return [record.op, work.result.shape, work.operands.length, [...Array(work.result.size).keys()]
          .map(i => work.value(unravel(i, work.expansion.shape)))];
      });
    }""")
    computed = {(name, tuple(shape)): values for name, shape, _, values in found}
    assert len(found) >= len(results)
    for title, result in results.items():
        values = computed[result.node.op.name, result.shape]
        np.testing.assert_allclose(
            np.reshape(values, result.shape), result.numpy(), rtol=1e-6, atol=2e-6, err_msg=title
        )


def samples() -> dict[str, tg.Tensor]:
    """The first result of samples of every op that has an expansion."""
    found = {}
    for name in dir(tg.ops):
        op = getattr(tg.ops, name)
        for number, sample in enumerate(op.samples if isinstance(op, Op) else ()):
            given = sample.operands
            if any(x is None or x.dtype.kind not in "fib" or not 0 < np.size(x) < 400 for x in given):
                continue
            tensors = [tg.tensor(x, requires_grad=x.dtype.kind == "f") for x in given]
            out = op(*tensors, **sample.settings)
            out = out[0] if isinstance(out, tuple) else out
            if (
                isinstance(out, tg.Tensor)
                and out.size
                and out.node is not None
                and expansion_of(out.node) is not None
            ):
                found[f"{name} {number}"] = out
    return found


def test_the_page_reads_the_places_that_python_reads_and_makes_the_same_terms(
    visit: Visit, lay_open: Callable[[Any], None]
) -> None:
    """Every op's samples: each read's position at each index, in whole numbers, and what the terms come to."""
    given = samples()
    graph = tg.graph_of(*given.values())
    known = values_of(graph, ())
    opened = visit(page(graph, title="samples"))
    lay_open(opened)
    found = opened.evaluate("""() => {
      const made = {}, walk = box => {
        if (box.expansion !== undefined) made[box.node] = evaluated(box);
        (box.kids ?? []).forEach(walk);
      };
      const all = sizes => [...Array(product(sizes)).keys()].map(i => unravel(i, sizes));
      const evaluated = box => {
        const work = new Work(box), e = work.expansion, reads = [...e.reads, e.bias, e.share].filter(Boolean);
        const at = all(e.shape), over = all(e.over);
        return {
          places: reads.map(read => at.map(o => over.map(r => placeOf(read, o, r)))),
          values: e.join === "op" || !work.complete ? null : at.map(o => work.value(o)).map(String),
        };
      };
      walk(DATA.root);
      return made;
    }""")
    order = {id(node): str(i) for i, node in enumerate(graph.nodes)}
    ops, compared = set(), set()
    for title, out in given.items():
        e = expansion_of(out.node)
        assert e is not None
        one = found[order[id(out.node)]]
        reads = [read for read in (*e.reads, e.bias, e.share) if read is not None]
        for read, places in zip(reads, one["places"], strict=True):
            expected = positions(e, read)
            np.testing.assert_array_equal(np.reshape(places, expected.shape), expected, err_msg=title)
        ops.add(out.node.op.name)
        if one["values"] is not None:
            operands = [np.asarray(x, np.float32) for x in operands_of(out.node, known)]
            with np.errstate(all="ignore"):
                whole = elements(e, operands, out.node.op)
            values = np.array([float(text.replace("Infinity", "inf")) for text in one["values"]])
            np.testing.assert_allclose(values, whole.reshape(-1), rtol=1e-9, atol=1e-12, err_msg=title)
            compared.add(out.node.op.name)
    print(f"{len(given)} samples of {len(ops)} ops, {len(compared)} with values")
    assert len(ops) > 60
    assert compared >= {
        "convolution",
        "max_pool",
        "average_pool",
        "softmax",
        "matmul",
        "mean",
        "max",
        "standardize",
        "roll",
    }


def test_the_page_writes_amounts_as_python_does(visit: Visit, lay_open: Callable[[Any], None]) -> None:
    opened = visit(page(tg.graph_of(tg.tensor(1.0, requires_grad=True) * 2.0)))
    lay_open(opened)
    amounts = {
        "bytes": [0, 96, 999.4, 999.6, 999_900, 3136, 12e6, 2.5e12], "seconds": [0, 4e-9, 0.00123, 0.9996, 2.5],
        "operations": [0, 96, 2e9], "share": [0, 0.25, 0.097225, 1], "count": [0, 3, 1234],
        "number": [0, 0.25, 1234.56],
    }  # fmt: skip
    assert set(amounts) == set(UNITS)
    found = opened.evaluate(
        "all => Object.entries(all).map(([name, some]) => some.map(one => amountText(DATA.units[name], one)))",
        amounts,
    )
    assert found == [[UNITS[name].text(one) for one in some] for name, some in amounts.items()]
    assert found[0][4] == "1 MB"
