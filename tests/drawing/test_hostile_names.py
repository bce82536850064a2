"""Names that try to break out of a picture stay words: in SVG, DOT, PNG and PDF, at every level.

Browsers open the files in page/test_hostile_files.py; the labels that Graphviz reads are tested in test_render.py.
"""

from __future__ import annotations

import re
import struct
import warnings
from xml.etree import ElementTree as ET

import pytest

import tinygraph as tg

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
ELEMENTS = {"svg", "g", "a", "text", "path", "polygon", "polyline", "ellipse", "image", "metadata"}
LEVELS = [("module", False), ("op", False), ("op", True), ("composite", True)]


@pytest.fixture(scope="module", params=LEVELS, ids=str)
def drawing(request, hostile_graph):
    zoom, backward = request.param
    return tg.draw(hostile_graph, zoom=zoom, backward=backward, show=("names", "shapes", "source"))


def assert_harmless(svg):
    """Well-formed, of elements that only draw, without handlers, and without a link anywhere but into the picture."""
    for element in ET.fromstring(svg).iter():
        assert element.tag.removeprefix(SVG) in ELEMENTS
        for key, value in element.attrib.items():
            assert not key.lower().startswith("on")
            if key in ("href", f"{XLINK}href"):
                assert value.startswith(("#", "data:image/png;base64,"))
            assert "javascript:" not in value.lower() or key == f"{XLINK}title"


def test_svg_draws_and_does_nothing_else(drawing, tmp_path):
    assert_harmless(drawing.svg())
    assert_harmless(drawing.save(tmp_path / "picture.svg").read_text(encoding="utf-8"))
    assert_harmless(drawing._repr_mimebundle_()["image/svg+xml"])


def test_dot_holds_the_boxes_and_arrows_that_it_should(drawing, tmp_path):
    pygraphviz = pytest.importorskip("pygraphviz")
    path = drawing.save(tmp_path / "picture.dot")
    for text in (drawing.source, path.read_text(encoding="utf-8")):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            graph = pygraphviz.AGraph(string=text)
        assert sorted(graph.nodes()) == sorted(box.id for box in drawing.picture.boxes)
        drawn = {edge.attr["id"] for edge in graph.edges() if edge.attr["style"] != "invis"}
        assert drawn == {arrow.id for arrow in drawing.picture.arrows}


def test_png_and_pdf_are_whole(drawing):
    png = drawing.png(scale=0.5)
    assert png.startswith(b"\x89PNG")
    assert png.endswith(b"IEND\xaeB`\x82")
    width, height = struct.unpack(">II", png[16:24])
    assert 0 < width * height < 50_000_000
    pdf = drawing.pdf()
    assert pdf.startswith(b"%PDF")
    assert not re.search(rb"/(JavaScript|JS|Launch|OpenAction|URI)\b", pdf)


def test_long_names_are_cut_in_pictures_and_whole_in_files(drawing, hostile_graph, hostile_names, tmp_path):
    assert max(len(box.title) for box in drawing.picture.boxes) < 130
    assert "x" * 1000 not in drawing.svg()
    again = tg.load(drawing.save(tmp_path / "picture.svg"))
    assert [leaf.name for leaf in again.leaves] == [leaf.name for leaf in hostile_graph.leaves]
    assert {node.name for node in again.nodes} >= set(hostile_names)


@pytest.mark.parametrize("zoom", ["op", "channel", "neuron"])
def test_each_name_alone(zoom, hostile_names):
    for name in (*hostile_names, "half \ud800", ""):
        x = tg.tensor([1.0, 2.0], requires_grad=True, name=name)
        y = (x * 2 + x).sum()
        y.name = name
        element = (x, (0,)) if zoom == "neuron" else None
        assert_harmless(tg.draw(y, zoom=zoom, element=element, backward=zoom == "op").svg())


def test_names_read_as_they_are(hostile_names):
    for name in hostile_names:
        if len(name) < 40 and name.isprintable():
            svg = tg.draw(tg.tensor(1.0, requires_grad=True, name=name) * 2).svg()
            words = "\n".join("".join(one.itertext()) for one in ET.fromstring(svg).iter(f"{SVG}text"))
            assert name in words.replace("\xa0", " ")
