"""The demo's report: files, page, numbers that agree with the network. One full run reaches the promised accuracy."""

from __future__ import annotations

import importlib.util
import re
import struct
import zlib
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.cli import main
from tinygraph.cli.report import page, pictures
from tinygraph.training import curves

FILES = {
    "index.html", "model.safetensors", "model.svg", "model-ops.svg", "step.svg", "step-ops.svg", "curves.svg",
    "kernels.svg", "gradient.svg", "gradient.txt", "confusion.svg",
    "story.html", "story-zoom.html", "story.gif",
}  # fmt: skip
VOID = {"meta", "br", "img", "link", "input", "hr"}

if importlib.util.find_spec("sklearn") is None:  # to import it takes seconds
    pytest.skip("the digits come with scikit-learn", allow_module_level=True)


class Strict(HTMLParser):
    """Checks that tags close in order, and collects them."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.identifiers = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.identifiers += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def demo(folder, *arguments):
    with pytest.raises(SystemExit) as end:
        main(["demo", "--out", str(folder), *arguments])
    assert end.value.code == 0


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report after two epochs."""
    folder = tmp_path_factory.mktemp("demo") / "deep" / "report"
    demo(folder, "--epochs", "2")
    return folder


@pytest.fixture(scope="module")
def parsed(report):
    parser = Strict()
    parser.feed((report / "index.html").read_text(encoding="utf-8"))
    parser.close()
    return parser


@pytest.mark.slow
def test_the_default_run_reaches_98_percent(tmp_path, capsys):
    demo(tmp_path)
    out = capsys.readouterr().out
    found = re.search(r"^test accuracy (\d+\.\d) %$", out, re.MULTILINE)
    assert found
    assert float(found[1]) >= 98.0
    assert "index.html" in out


def test_all_files_are_there_and_nothing_else(report):
    assert {path.name for path in report.iterdir()} == FILES


def test_every_svg_is_well_formed(report):
    for path in report.glob("*.svg"):
        assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg", path.name


def test_the_page_is_well_formed_and_loads_nothing(report, parsed):
    assert not parsed.open
    assert len(parsed.identifiers) == len(set(parsed.identifiers))
    text = (report / "index.html").read_text(encoding="utf-8")
    assert "$" not in re.sub(r"<svg.*?</svg>", "", text, flags=re.DOTALL)
    for tag, attributes in parsed.tags:
        assert tag not in {"script", "link", "iframe"}
        for name in ("src", "href", "xlink:href"):
            value = attributes.get(name, "")
            assert value.startswith(("data:image/png", "#")) or value in FILES | {""}, value
    assert "@import" not in text
    assert "url(http" not in text


def test_links_lead_somewhere(report, parsed):
    for tag, attributes in parsed.tags:
        target = attributes.get("href", "")
        if tag == "a" and target.startswith("#"):
            assert target[1:] in parsed.identifiers
        elif tag == "a" and target:  # tooltips in drawings are anchors that lead nowhere
            assert (report / target).is_file()


def test_pictures_have_words_for_those_who_do_not_see_them(parsed):
    assert all(attributes.get("alt") for tag, attributes in parsed.tags if tag == "img")
    assert any(tag == "html" and attributes["lang"] == "en" for tag, attributes in parsed.tags)
    levels = [int(tag[1]) for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}


def test_the_page_follows_the_reader_s_light_and_width(report):
    text = (report / "index.html").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_the_saved_model_is_the_network(report):
    from tinygraph.data import load_digits

    graph = tg.load(report / "model.safetensors")
    images, labels = load_digits()[1].arrays
    with tg.no_grad():
        answers = [np.asarray(graph(images[i : i + 1])).argmax() for i in range(len(images))]
    shown = re.search(r"<strong>([\d.]+) %</strong>", (report / "index.html").read_text(encoding="utf-8"))
    assert f"{100 * np.mean(answers == labels):.1f}" == shown[1]


def test_the_worked_example_agrees_with_the_network():
    from tinygraph import nn
    from tinygraph.cli.lesson import make_lesson
    from tinygraph.cli.network import first_convolution, small_cnn
    from tinygraph.cli.task import Labelled

    random = np.random.default_rng(1)
    tg.manual_seed(1)
    network = small_cnn((3, 8, 8), 4).double()
    examples = Labelled(random.random((5, 3, 8, 8)), np.arange(5) % 4)
    lesson = make_lesson(network, examples)
    convolution = first_convolution(network)
    output = convolution(lesson.image[None]).numpy()
    assert lesson.couples.total == pytest.approx(output[lesson.couples.output_element], rel=1e-12)
    network.eval()
    loss = nn.functional.cross_entropy(network(lesson.image[None]), np.array([lesson.label]))
    loss.backward()
    gradient = lesson.gradient
    assert gradient.total == pytest.approx(convolution.weight.grad.numpy()[gradient.element], rel=1e-12)
    assert gradient.contribution.sum() == pytest.approx(gradient.total, rel=1e-12)
    assert len(gradient.impacts) == 7 * 7  # a corner of the kernel misses one row and one column of 8x8
    np.testing.assert_array_equal(gradient.local[1:, 1:], lesson.image[0, :-1, :-1])


def test_without_matplotlib_the_rest_is_still_told(tmp_path, monkeypatch, capsys):
    import builtins

    usual = builtins.__import__

    def without(name, *arguments, **settings):
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return usual(name, *arguments, **settings)

    monkeypatch.setattr(builtins, "__import__", without)
    demo(tmp_path, "--epochs", "1")
    assert "pip install matplotlib" in capsys.readouterr().out
    assert {path.name for path in tmp_path.iterdir()} == FILES - {"curves.svg"}
    assert "pip install matplotlib" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_same_seed_same_report(tmp_path):
    texts = []
    for name in ("a", "b"):
        demo(tmp_path / name, "--epochs", "1", "--seed", "3")
        texts.append([(tmp_path / name / file).read_bytes() for file in sorted(FILES - {"index.html"})])
    assert texts[0] == texts[1]


# -- pictures ----------------------------------------------------------------------------------------------------------


def test_names_from_data_are_escaped():
    drawn = pictures.confusion_svg(np.eye(2, dtype=int), ["<b>", '"&'], "<label>")
    root = ET.fromstring(drawn)
    assert root.get("aria-label") == "<label>"
    assert "<b>" in "".join(root.itertext())


def test_a_png_holds_the_pixels():
    import base64

    address = pictures.image_data(np.array([[[0.0, 1.0], [0.5, 2.0]]]))
    content = base64.b64decode(address.removeprefix("data:image/png;base64,"))
    width, height, depth, colour = struct.unpack(">IIBB", content[16:26])
    assert (width, height, depth, colour) == (2, 2, 8, 0)
    start = content.index(b"IDAT")
    (length,) = struct.unpack(">I", content[start - 4 : start])
    assert zlib.decompress(content[start + 4 : start + 4 + length]) == bytes([0, 255, 0, 0, 128, 0])


@pytest.mark.parametrize(
    "values", [[[0.0]], [[np.nan, 1.0]], [[np.inf, -1.0]], np.zeros((0, 3)), [[1e-300, -1e300]]]
)
def test_grids_of_strange_numbers_are_still_svg(values):
    ET.fromstring(pictures.grid_svg(np.array(values), "strange", written=True))


def test_a_chart_for_the_page_uses_names_for_colours():
    pytest.importorskip("matplotlib")
    drawn = curves.svg_of(curves.drawn(curves.loss_and_accuracy({"training": [1.0]}, {"training": [0.5]})))
    assert ET.fromstring(drawn) is not None
    adapted = curves.adapted(drawn)
    assert adapted.startswith("<svg")
    assert not any(colour in adapted for colour in curves.NAMES)


@pytest.mark.parametrize(("share", "text"), [(1.0, "100.0 %"), (0.98611, "98.6 %"), (0.0, "0.0 %")])
def test_accuracy_is_printed_with_one_digit(share, text):
    assert page.percent(share) == text
