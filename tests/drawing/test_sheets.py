"""Pictures for a page: which way they run, how wide they are, what layers are called, and other formats of them."""

import io
import itertools
import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.drawing.dot.onto_sheet import placed
from tinygraph.drawing.sheet import POINTS, make_sheet
from tinygraph.errors import DrawingError, TinygraphWarning

COUNTS = ("names", "settings", "shapes", "parameters")


class Two(nn.Module):
    """Two convolutions."""

    def __init__(self, ins, outs):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(ins, outs, 3, padding=1), nn.Conv2d(outs, outs, 3, padding=1)

    def forward(self, x):
        return tg.ops.relu(self.conv2(tg.ops.relu(self.conv1(x))))


class UNet(nn.Module):
    """Two levels down, two up, joined at each."""

    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.bottom = Two(1, 2), Two(2, 4), Two(4, 8)
        self.pool = nn.MaxPool2d(2)
        self.up2, self.up1 = nn.ConvTranspose2d(8, 4, 2, stride=2), nn.ConvTranspose2d(4, 2, 2, stride=2)
        self.dec2, self.dec1 = Two(8, 4), Two(4, 2)

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(self.pool(a))
        c = self.bottom(self.pool(b))
        c = self.dec2(np.concatenate([b, self.up2(c)], axis=1))
        return self.dec1(np.concatenate([a, self.up1(c)], axis=1))


def chain(count=16):
    tg.manual_seed(0)
    layers = [one for _ in range(count // 2) for one in (nn.Linear(3, 3), nn.ReLU())]
    return nn.Sequential(*layers), np.ones((2, 3), np.float32)


def places(drawing):
    found = placed(drawing._layout(drawing.source))
    return found, {box.title: found.places[box.id] for box in drawing._fitted[0].boxes}


def size_of(svg):
    return [float(re.search(rf'{side}="([\d.]+)pt"', svg)[1]) for side in ("width", "height")]


def test_layers_are_called_alike_from_a_module_a_loss_and_a_file(tmp_path):
    model = nn.Sequential(nn.Conv2d(3, 8, (3, 5), stride=2), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8, 2))
    x = np.ones((1, 3, 6, 10), np.float32)
    path = tmp_path / "model.json"
    tg.capture(model, x).save(path)
    loss = model(tg.tensor(x)).sum()
    for drawing in (
        tg.draw(model, inputs=x, zoom="module", show=COUNTS),
        tg.draw(loss, zoom="module", show=COUNTS),
        tg.draw(tg.load(path), zoom="module", show=COUNTS),
    ):
        boxes = {box.title: box.lines for box in drawing.picture.boxes}
        assert boxes["0 Conv2d"] == ("3×5, stride 2, 3 → 8", "368 parameters"), drawing
        assert boxes["1 MaxPool2d"] == ("2×2",)
        assert boxes["3 Linear"] == ("8 → 2", "18 parameters")


@pytest.mark.parametrize(
    ("layer", "x", "words"),
    [
        (nn.MultiheadAttention(8, 2), np.ones((3, 1, 8), np.float32), ("MultiheadAttention",)),
        (nn.LSTM(4, 5, num_layers=2), np.ones((3, 1, 4), np.float32), ("LSTM, 4 → 5, 2 layers",)),
        (nn.GroupNorm(2, 4), np.ones((1, 4, 2), np.float32), ("GroupNorm, 2 groups",)),
        (nn.Dropout(0.25), np.ones((1, 4), np.float32), ("Dropout, 0.25",)),
        (nn.Conv2d(4, 4, 3, groups=4, dilation=2), np.ones((1, 4, 9, 9), np.float32),
         ("Conv2d 3×3, 4 → 4", "dilation 2, groups 4")),
    ],
)  # fmt: skip
def test_a_layer_is_one_box_with_its_settings(layer, x, words):
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            out = self.layer(x, x, x) if isinstance(layer, nn.MultiheadAttention) else self.layer(x)
            return out[0] if isinstance(out, tuple) else out

    drawing = tg.draw(Around(), inputs=x, zoom="module", show=("names", "settings"))
    (box,) = (box for box in drawing.picture.boxes if box.title == "layer")
    assert box.lines[: len(words)] == words


def test_down_right_and_columns_stand_as_they_say():
    model, x = chain()
    found = {
        way: places(tg.draw(model, inputs=x, zoom="module", direction=way))
        for way in ("down", "right", "wrap")
    }
    order = [box.title for box in tg.draw(model, inputs=x, zoom="module").picture.boxes]
    down, right, wrap = (
        [(found[way][1][title].x, found[way][1][title].y) for title in order]
        for way in ("down", "right", "wrap")
    )
    assert all(one[1] < other[1] for one, other in itertools.pairwise(down))
    assert all(one[0] < other[0] for one, other in itertools.pairwise(right))
    columns = sorted({round(x / 20) for x, _ in wrap})
    assert 2 < len(columns) < 8
    assert 0.5 < found["wrap"][0].width / found["wrap"][0].height / 1.45 < 2
    overlapping = [
        (one, other)
        for one in order
        for other in order
        if one < other and _meet(*(found["wrap"][1][k] for k in (one, other)))
    ]
    assert overlapping == []


def _meet(one, other):
    return (
        abs(one.x - other.x) < (one.width + other.width) / 2
        and abs(one.y - other.y) < (one.height + other.height) / 2
    )


def test_a_width_is_kept_and_small_words_are_told_of():
    model, x = chain()
    for width, points in (("8cm", 8 * POINTS["cm"]), ("3.5in", 252.0), ("A4", 17 * POINTS["cm"])):
        svg = tg.draw(model, inputs=x, zoom="module", direction="wrap", width=width).svg()
        wide, high = size_of(svg)
        assert wide <= points + 1
        assert high <= 24.6 * POINTS["cm"]
    with pytest.warns(TinygraphWarning, match=r"words \d\.\d points high"):
        tg.draw(model, inputs=x, direction="right", width="4cm").svg()
    plain = size_of(tg.draw(model, inputs=x, zoom="module").svg())
    doubled = size_of(tg.draw(model, inputs=x, zoom="module", font_size=23).svg())
    np.testing.assert_allclose(np.array(doubled) / plain, 2, atol=0.02)


def test_a_u_goes_down_one_side_and_up_the_other():
    x = np.ones((1, 1, 8, 8), np.float32)
    drawing = tg.draw(UNet(), inputs=x, zoom="module", direction="wrap", show=COUNTS)
    boxes = {box.path: box.id for box in drawing._fitted[0].boxes}
    found = placed(drawing._layout(drawing.source)).places
    y = {path: found[one].y for path, one in boxes.items() if path}
    assert y["down1.conv1"] < y["down2.conv1"] < y["bottom.conv1"]
    assert y["bottom.conv2"] > y["dec2.conv1"] > y["dec1.conv1"]
    assert found[boxes["down1.conv1"]].x < found[boxes["dec1.conv1"]].x
    # values that skip make no U where more than one goes on below them
    y = tg.tensor(np.ones((2, 4)), requires_grad=True, name="y")
    a, b = np.sin(y), np.cos(y)
    for _ in range(4):
        a, b = np.tanh(a) + b, np.exp(b) * a
    columns = tg.draw((a * np.sin(y) + b * np.cos(y)).sum(), direction="wrap")
    assert columns._fitted[0].columns


def test_depth_names_colours_title_and_legend():
    x = np.ones((1, 1, 8, 8), np.float32)
    drawing = tg.draw(
        UNet(), inputs=x, depth=1, title="A U & its arms", legend=False,
        names={"bottom": "bottleneck", "down1": "first"}, colors={"bottom": "#123456", "convolution": "#eeeeee"},
    )  # fmt: skip
    titles = [box.title for box in drawing.picture.boxes]
    assert "bottleneck" in titles
    assert "first" in titles
    assert "bottom" not in titles
    assert len([title for title in titles if title.startswith(("down", "dec", "first"))]) == 4
    svg = drawing.svg()
    assert "A U &amp; its arms" in svg
    assert "#123456" in svg
    assert "#eeeeee" in svg
    assert "pooling" not in re.sub("<title>.*?</title>", "", svg)
    for wrong, words in (
        ({"names": {"nowhere": "x"}}, "nothing is called 'nowhere'"), ({"colors": {"bottom": "red"}}, '"#rrggbb"'),
        ({"direction": "up"}, "'down', 'right' and 'wrap'"), ({"width": "8 miles"}, '"8cm"'),
        ({"width": 8}, '"8cm"'), ({"font_size": 0}, "points from 1 to 200"), ({"depth": 0}, "from 1 on"),
        ({"title": 3}, "must be text"),
    ):  # fmt: skip
        with pytest.raises(DrawingError, match=re.escape(words)):
            tg.draw(UNet(), inputs=x, **wrong)
    assert make_sheet(None, None, True, None, "slide").room[0] == pytest.approx(30 / 2.54 * 72)


def test_tikz_json_and_graphml_hold_what_is_drawn(tmp_path):
    model, x = chain(6)
    drawing = tg.draw(model, inputs=x, zoom="module", show=COUNTS, names={"0": "50 % & _{\\x}"})
    tikz = drawing.save(tmp_path / "a.tex").read_text()
    assert r"50 \% \& \_\{\textbackslash{}x\}" in tikz
    assert r"3 $\rightarrow$ 3" in tikz
    assert tikz.count("{") == tikz.count("}")
    assert len(re.findall(r"\\node", tikz)) == len(re.findall("<text", drawing.svg()))
    if shutil.which("pdflatex"):
        page = r"\documentclass{article}\usepackage{tikz}\begin{document}\input{a.tex}\end{document}"
        (tmp_path / "b.tex").write_text(page)
        subprocess.run(
            ["pdflatex", "-interaction=nonstopmode", "b.tex"], cwd=tmp_path, check=True, timeout=120
        )
    data = json.loads(drawing.save(tmp_path / "a.json").read_text())
    assert [box["title"] for box in data["boxes"]] == [box.title for box in drawing.picture.boxes]
    assert len(data["arrows"]) == len(drawing.picture.arrows)
    assert all(box["width"] > 0 for box in data["boxes"])
    root = ET.fromstring(drawing.save(tmp_path / "a.graphml").read_text())
    assert len(root.findall(".//{*}node")) == len(data["boxes"])
    assert len(root.findall(".//{*}edge")) == len(data["arrows"])
    planes = tg.draw(tg.ops.convolution(np.ones((1, 1, 40, 40)), tg.tensor(np.ones((1, 1, 3, 3)), requires_grad=True)),
                     zoom="channel")  # fmt: skip
    with pytest.raises(DrawingError, match="includegraphics"):
        planes.tikz()


def test_a_gif_lights_up_one_box_after_another():
    image = pytest.importorskip("PIL.Image")
    from tinygraph.drawing.films import steps_of

    model, x = chain(4)
    drawing = tg.draw((model(tg.tensor(x)) ** 2).sum(), zoom="module", backward=True)
    order = [box.backward for box in drawing.picture.boxes]
    steps = [
        drawing.picture.boxes[[b.id for b in drawing.picture.boxes].index(one)].backward
        for (one,) in steps_of(drawing.picture)
    ]
    assert steps == sorted(order)
    film = image.open(io.BytesIO(drawing._moving("gif")))
    assert film.n_frames == len(order) + 1
    ink = []
    for number in range(film.n_frames):
        film.seek(number)
        ink.append(float((255.0 - np.asarray(film.convert("L"))).sum()))
    assert ink[-1] > 2 * ink[0]


def test_volumes_are_as_high_wide_and_deep_as_their_shapes(tmp_path):
    x = np.ones((1, 1, 8, 8), np.float32)
    drawing = tg.draw(UNet(), inputs=x, zoom="module", style="volumes-print", title="U", show=COUNTS)
    root = ET.fromstring(drawing.svg())
    faces = [
        np.array([[float(one) for one in point.split(",")] for point in polygon.get("points").split()])
        for polygon in root.findall(".//{*}polygon")
    ]
    fronts = [face for face in faces if len(face) == 4][::3]  # of each volume first the front
    sizes = [tuple(np.ptp(face, axis=0).round(1)) for face in fronts]
    boxes = [box for box in drawing.picture.boxes if box.kind in ("convolution", "pooling", "input", "shape")]
    assert len(fronts) == len(boxes)
    for (wide, high), box in zip(sizes, boxes, strict=True):
        _, channels, rows, _ = box.shape
        assert wide == pytest.approx(max(4.0, 3.2 * channels**0.5), abs=0.1), box
        assert high == pytest.approx(max(5.0, 13 * rows**0.5), abs=0.1), box
    assert len(root.findall(".//{*}polyline")) == len(boxes) - 1 + 2  # two values skip
    assert drawing.save(tmp_path / "a.tex").read_text().count(r"\path") > 3 * len(boxes)
    with pytest.raises(DrawingError, match=r"\.svg"):
        drawing.png()


def test_arrows_of_volumes_join_what_values_join():
    class Siamese(nn.Module):
        def __init__(self):
            self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 2)

        def forward(self, x, y):
            return np.concatenate([self.left(x), self.right(y)], axis=1)

    x = np.ones((1, 4), np.float32)
    drawing = tg.draw(Siamese(), inputs=(x, x), style="volumes")
    root = ET.fromstring(drawing.svg())
    words = [text.text for text in root.findall(".//{*}text")]
    assert "Linear, 4 → 3" in words  # layers, not the ops inside them
    assert len(root.findall(".//{*}polyline")) == 4  # two inputs, two layers, one joint
    assert len(root.findall(".//{*}polygon")) == 5 * 3 + 4


def test_a_short_chain_is_folded_where_it_would_be_shrunk_and_only_there():
    x = tg.tensor(1.0, requires_grad=True, name="x")
    y = x
    for _ in range(8):
        y = np.sin(y)
    assert len(tg.draw(y, direction="wrap", width="slide")._fitted[0].columns) > 1
    assert not tg.draw(y, direction="wrap", width="A4")._fitted[0].columns  # it fits as it is
    assert not tg.draw(y, direction="wrap")._fitted[0].columns
