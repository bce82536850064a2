"""The picture is the program: saved drawings carry their graph, which runs and differentiates as before.

Hostile names, cut and edited files, and values beyond the limit included.
"""

import contextlib
import json
import re
from fractions import Fraction
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import nn
from tinygraph.core.modes import scope
from tinygraph.drawing.dot.render import render
from tinygraph.errors import FileFormatError, RecordingError

SUFFIXES = [".svg", ".html", ".dot", ".gv"]
HOSTILE = [
    "]]>",
    "</script><script>alert(1)</script>",
    "-->",
    "*/",
    "quo\"te's",
    "line\nbreak\r\n//~{}",
    "&lt;&amp;",
    '<metadata id="tinygraph-graph">{}</metadata>',
    '<script id="tinygraph-graph">{}</script>',
    "back\\slash \\u003c \\",
    "nul \0 and \x1b \ufffe",
    "emoji \U0001f600, \u202eturned",
    "\u2028\u2029",
]


def values(result):
    one = result if isinstance(result, tuple) else (result,)
    return [value.numpy() if isinstance(value, tg.Tensor) else np.asarray(value) for value in one]


def assert_same(a, b):
    for one, other in zip(values(a), values(b), strict=True):
        np.testing.assert_array_equal(one, other)


def picture(rng):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(36, 3),
    ), rng.normal(size=(2, 1, 6, 6)).astype(np.float32)


def words(rng):
    return nn.Sequential(
        nn.Embedding(10, 8), nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    ), rng.integers(0, 10, size=(2, 5))


def doubles(rng):
    return nn.Sequential(
        nn.Linear(3, 4, dtype=np.float64), nn.Tanh(), nn.LayerNorm(4, dtype=np.float64)
    ), rng.normal(size=(5, 3))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("make", [picture, words, doubles])
def test_values_and_gradients_are_identical(make, suffix, tmp_path):
    model, x = make(np.random.default_rng(0))
    tg.draw(model, inputs=x).save(tmp_path / f"model{suffix}")
    assert_same(tg.load(tmp_path / f"model{suffix}")(x), model(x))
    loss = tg.capture(lambda x: (model(x) ** 2).mean(), x)
    tg.draw(loss, tmp_path / f"loss{suffix}")
    again = tg.load(tmp_path / f"loss{suffix}")
    assert [p.name for p in again.parameters] == [p.name for p in loss.parameters]
    assert_same(again.gradient()(x), loss.gradient()(x))


@each("suffix", SUFFIXES)
@each("name", HOSTILE)
def test_hostile_names_come_back_and_break_nothing(name, suffix, tmp_path):
    path = tmp_path / f"g{suffix}"
    x = tg.tensor([1.0, 2.0], requires_grad=True, name=name)
    y = (x * x).sum()
    y.name = name
    tg.draw(y).save(path)
    graph = tg.load(path)
    assert [node.name for node in graph.nodes if node.name] == [name, name]
    assert_same(graph(), y)
    text = path.read_text()
    if suffix == ".svg":
        ET.fromstring(text)
    elif suffix == ".html":
        start = text.index('<script type="application/json" id="tinygraph-graph">')
        assert text[start:].count("<") == 4  # its own tags, and those that end body and page
        json.loads(text[start:].partition(">")[2].partition("</script>")[0])
    else:
        assert b"</svg>" in render(text, "svg")


def test_an_svg_that_an_editor_rewrote_still_runs(tmp_path):
    path = tmp_path / "g.svg"
    x = tg.tensor(3.0, requires_grad=True, name='"quoted" & <more>')
    tg.draw(x * x).save(path)
    text = path.read_text()
    path.write_text(text.replace("&quot;", '"').replace('{"format"', "{&quot;format&quot;"))
    assert tg.load(path)() == 9.0
    ET.register_namespace("", "http://www.w3.org/2000/svg")
    ET.ElementTree(ET.fromstring(text)).write(path)
    assert tg.load(path)() == 9.0


def test_source_and_svg_carry_structure_only(tmp_path):
    drawing = tg.draw(tg.tensor([1234.5, 2.0], requires_grad=True) * 2.0)
    for text in (drawing.svg(), drawing.source):
        assert "tinygraph-graph" not in text
        assert "//~" not in text
    for suffix in SUFFIXES:
        drawing.save(tmp_path / f"bare{suffix}", embed=None)
        with pytest.raises(FileFormatError, match=rf"bare\{suffix}: .*carries no graph.*embed=None"):
            tg.load(tmp_path / f"bare{suffix}")


def test_html_takes_embed_too(tmp_path):
    drawing = tg.draw(tg.tensor(3.0, requires_grad=True) * 2.0)
    drawing.html(tmp_path / "a.html")
    assert tg.load(tmp_path / "a.html")() == 6.0
    drawing.html(tmp_path / "a.html", embed=None)
    with pytest.raises(FileFormatError, match="carries no graph"):
        tg.load(tmp_path / "a.html")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_beyond_the_limit_the_file_has_structure_and_says_so(suffix, tmp_path):
    path = tmp_path / f"large{suffix}"
    weight = tg.tensor(np.ones((600, 600)), requires_grad=True, name="weight")
    index = np.arange(3)
    graph = tg.capture(lambda x: (x @ weight)[:, index].sum(), np.ones((2, 600)))
    tg.draw(graph, path)
    assert path.stat().st_size < 1_000_000
    assert '"left_out":2880000' in path.read_text().replace("\n//~", "")
    again = tg.load(path)
    assert [str(node.output_types) for node in again.nodes] == [
        str(node.output_types) for node in graph.nodes
    ]
    with pytest.raises(RecordingError, match=r"tensor 'weight' has no value: .* left its values out"):
        again(np.ones((2, 600)))
    tg.draw(again).save(tmp_path / f"again{suffix}")
    tg.draw(graph).save(path, embed=3_000_000)
    assert_same(tg.load(path)(np.ones((2, 600))), graph(np.ones((2, 600))))


def test_large_constants_are_left_out_too(tmp_path):
    table = np.ones(1000)
    graph = tg.capture(lambda x: (x * table).sum(), np.ones(1000))
    tg.draw(graph).save(tmp_path / "g.svg", embed=100)
    with pytest.raises(RecordingError, match="left its values out"):
        tg.load(tmp_path / "g.svg")(np.ones(1000))


def test_fractions_are_carried(tmp_path):
    x = tg.tensor([Fraction(1, 3), Fraction(2, 7)], requires_grad=True)
    tg.draw((x * x).sum(), tmp_path / "g.svg")
    assert tg.load(tmp_path / "g.svg")().item() == Fraction(1, 9) + Fraction(4, 49)


@pytest.mark.parametrize("suffix", [".json", ".safetensors", *SUFFIXES])
def test_a_name_that_is_no_text_is_refused_or_said(suffix, tmp_path):
    path = tmp_path / f"g{suffix}"
    x = tg.tensor(1.0, requires_grad=True, name="half \ud800")
    if suffix in SUFFIXES:
        tg.draw(x * x, path)
        with pytest.raises(FileFormatError, match=r"carries no graph: .*half a character"):
            tg.load(path)
    else:
        with pytest.raises(FileFormatError, match="half a character"):
            tg.graph_of(x * x).save(path)


def test_a_tree_of_modules_says_what_it_lacks(tmp_path):
    tg.draw(nn.Sequential(nn.Linear(2, 2)), tmp_path / "tree.svg")
    with pytest.raises(FileFormatError, match=r"tree\.svg: .*no graph: draw the model with inputs="):
        tg.load(tmp_path / "tree.svg")


def test_a_graph_that_no_file_holds_is_drawn_all_the_same(tmp_path):
    x = tg.tensor(1.0, requires_grad=True)
    y = tg.checkpoint(lambda x: x * x)(x)
    tg.draw(y, tmp_path / "g.dot")
    with pytest.raises(FileFormatError, match=r"carries no graph: .*not registered"):
        tg.load(tmp_path / "g.dot")


def small(tmp_path, suffix):
    path = tmp_path / f"g{suffix}"
    weight = tg.tensor(np.arange(64.0), requires_grad=True, name="weight")
    tg.draw(tg.capture(lambda x: (x * weight).sum(), np.ones(64)), path)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_files_are_refused_or_whole(suffix, tmp_path):
    path = small(tmp_path, suffix)
    content = path.read_bytes()
    for cut in np.linspace(0, len(content) - 1, 60).astype(int):
        path.write_bytes(content[:cut])
        with contextlib.suppress(FileFormatError):
            assert tg.load(path)(np.ones(64)) == 2016.0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_raise_nothing_but_format_errors(suffix, tmp_path):
    path = small(tmp_path, suffix)
    content = bytearray(path.read_bytes())
    start = content.index(b"//~" if suffix in (".dot", ".gv") else b'id="tinygraph-graph"')
    rng = np.random.default_rng(0)
    for _ in range(150):
        damaged = content.copy()
        for place in rng.integers(start, len(content), size=3):
            damaged[place] = rng.integers(256)
        path.write_bytes(damaged)
        with contextlib.suppress(FileFormatError):
            tg.load(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<svg></svg>", "carries no graph"),
        ('<svg><metadata id="tinygraph-graph">{}</metadata></svg>', "malformed"),
        ('<svg><metadata id="tinygraph-graph">[]</metadata></svg>', "malformed"),
        ('<svg><metadata id="tinygraph-graph">{"format":', "truncated"),
        ('<svg><metadata id="tinygraph-graph">' + "[" * 100_000 + "</metadata></svg>", "malformed"),
        ('<svg><metadata id="tinygraph-graph">{"format":"other","version":1}</metadata></svg>', "format"),
    ],
)
def test_what_is_wrong_is_said(text, message, tmp_path):
    (tmp_path / "g.svg").write_text(text)
    with pytest.raises(FileFormatError, match=rf"(?s)g\.svg: .*{message}"):
        tg.load(tmp_path / "g.svg")


def test_a_value_may_only_lack_where_the_file_says_so(tmp_path):
    path = small(tmp_path, ".svg")
    path.write_text(re.sub(r',"data":"[^"]*"', "", path.read_text()))
    with pytest.raises(FileFormatError, match="has no `data`"):
        tg.load(path)


def test_calls_are_counted_within_the_graph(tmp_path):
    def twice(path):
        x = tg.tensor(1.0, requires_grad=True, name="x")
        for _ in range(2):
            with scope("group"):
                x = x * 2
        tg.graph_of(x).save(path)
        return [node.scope for node in tg.load(path).nodes if node.scope]

    assert twice(tmp_path / "a.json") == [(("group", 0),), (("group", 1),)]
    assert twice(tmp_path / "b.json") == [(("group", 0),), (("group", 1),)]
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
