"""DOT text to pictures: the same bytes anywhere, in limited time, labels intact, accidents survived.

What the drawings show is tested elsewhere.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

import tinygraph.drawing.dot.render as render_module
from tinygraph.drawing.dot import render as rendering
from tinygraph.drawing.dot.render import LayoutTimeout, RenderError, escape_html, quote, render
from tinygraph.errors import SettingError, TinygraphError, TinygraphWarning

SMALL = 'digraph { a [label="convolution (3, 224, 224)"]; a -> b [label="αβγ → 漢字"] }'


@pytest.fixture
def fresh_worker(monkeypatch):
    worker = rendering._Worker()
    monkeypatch.setattr(rendering, "_worker", worker)
    yield worker
    worker.end()


@pytest.fixture
def no_pygraphviz(fresh_worker, monkeypatch):
    monkeypatch.setattr(rendering, "_package_folder", lambda name: None)


def bushy(nodes: int, edges_each: int = 3) -> str:
    pick = random.Random(0).randrange
    edges = [f"n{pick(node)} -> n{node};" for node in range(1, nodes) for _ in range(edges_each)]
    return "digraph {" + " ".join(edges) + "}"


def texts(svg: bytes) -> list[str]:
    elements = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
    # Graphviz writes the second of two spaces as a no-break space.
    return ["".join(element.itertext()).replace("\xa0", " ") for element in elements]


def size_of_png(png: bytes) -> tuple[int, int]:
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def in_new_process(format: str, **environment: str) -> bytes:
    code = f"""
        import sys
        from tinygraph.drawing.dot.render import render
        sys.stdout.buffer.write(render({SMALL!r}, {format!r}))
    """
    root = str(Path(rendering.__file__).parents[3])
    needed = {"PYTHONPATH": root, "PATH": "", "SYSTEMROOT": os.environ.get("SYSTEMROOT", "")}
    command = [sys.executable, "-c", textwrap.dedent(code)]
    return subprocess.run(command, env=needed | environment, capture_output=True, check=True).stdout


# Formats


@pytest.mark.parametrize(
    ("format", "start"), [("svg", b"<svg "), ("png", b"\x89PNG"), ("pdf", b"%PDF"), ("plain", b"graph 1 ")]
)
def test_every_format_starts_as_it_should(format, start):
    assert render(SMALL, format).startswith(start)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"format": "gif"}, "cannot draw as 'gif'.*svg, png, pdf, plain"),
        ({"format": "SVG"}, "cannot draw as 'SVG'"),
        ({"format": None}, "cannot draw as None"),
        ({"engine": "dotty"}, "engine 'dotty'.*neato"),
        ({"time_limit": 0}, "time_limit must be a positive"),
        ({"time_limit": float("nan")}, "time_limit"),
        ({"time_limit": None}, "time_limit must be a positive finite number, got None"),
        ({"scale": "2"}, "scale must be"),
        ({"scale": -1.0}, "scale must be a positive"),
        ({"scale": float("inf")}, "scale"),
    ],
)
def test_bad_settings_are_named_before_graphviz_runs(fresh_worker, settings, words):
    with pytest.raises(SettingError, match=words):
        render(SMALL, **({"format": "svg"} | settings))
    assert fresh_worker._process is None


def test_scale_multiplies_pixels():
    one, three = (size_of_png(render(SMALL, "png", scale=scale)) for scale in (1.0, 3.0))
    assert three == pytest.approx([3 * side for side in one], abs=3)


@pytest.mark.parametrize("engine", ["dot", "neato", "fdp", "circo", "twopi"])
def test_engines(engine):
    assert len(texts(render(SMALL, "svg", engine=engine))) == 3


def test_svg_fits_a_page_and_names_no_version():
    svg = render("digraph secret_name { secret_node [label=shown] }", "svg")
    assert b"viewBox=" in svg
    assert b'font-family="DejaVu Sans,Verdana,sans-serif"' in svg
    for unwanted in (b"secret", b"Generated", b"<!", b"<?", b"<title>"):
        assert unwanted not in svg


def test_tooltips_and_ids_stay():
    svg = render(f"digraph {{ a [id=here, tooltip={quote('x < y & z')}] }}", "svg")
    assert b'id="here"' in svg
    links = ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}a")
    assert [link.get("{http://www.w3.org/1999/xlink}title") for link in links] == ["x < y & z"]


def test_numbers_may_be_numpy_scalars_and_limits_enormous():
    assert render(SMALL, "png", scale=np.float32(1.5), time_limit=1e300).startswith(b"\x89PNG")


def test_a_png_too_large_to_hold_is_smaller_and_says_so():
    chain = " ".join(f"n{index} -> n{index + 1};" for index in range(2000))
    with pytest.warns(TinygraphWarning, match=r"made smaller.*SVG or PDF"):
        png = render(f"digraph {{ {chain} }}", "png")
    assert max(size_of_png(png)) <= 32767


def test_an_empty_graph_is_a_picture():
    assert texts(render("digraph {}", "svg")) == []
    assert render("digraph {}", "png").startswith(b"\x89PNG")


# The same bytes anywhere


@pytest.mark.parametrize("format", ["svg", "plain", "pdf"])
def test_bytes_do_not_depend_on_the_environment(format, tmp_path):
    no_fonts = tmp_path / "fonts.conf"
    no_fonts.write_text("<fontconfig><dir>/nonexistent</dir></fontconfig>")
    here = render(SMALL, format)
    assert in_new_process(format, LANG="tr_TR.UTF-8", LC_ALL="de_DE.UTF-8", TZ="Asia/Tokyo") == here
    strange = {"HOME": str(tmp_path), "XDG_CACHE_HOME": "/nonexistent", "FONTCONFIG_FILE": str(no_fonts)}
    assert in_new_process(format, **strange, DOTFONTPATH="/nonexistent", PANGO_LANGUAGE="ja") == here


def test_a_second_worker_draws_the_same_png(fresh_worker):
    first = render(SMALL, "png")
    render(bushy(20), "png")
    assert render(SMALL, "png") == first
    fresh_worker.end()
    assert render(SMALL, "png") == first


def test_boxes_are_as_wide_as_their_text_in_dejavu_sans():
    """Against the advance widths in the font file itself, which Graphviz does not read here."""
    font_manager = pytest.importorskip("matplotlib.font_manager")
    ft2font = pytest.importorskip("matplotlib.ft2font")
    font = ft2font.FT2Font(font_manager.findfont("DejaVu Sans"))
    font.set_size(14, 72)
    text = "convolution (3, 224, 224) WWWW iiii"
    width = sum(font.load_char(ord(letter)).linearHoriAdvance / 65536 for letter in text)
    dot = f"digraph {{ a [shape=box, margin=0, height=0, width=0, label={quote(text)}] }}"
    drawn = 72 * float(render(dot, "plain").split()[2])
    assert drawn == pytest.approx(width, rel=0.01)


# The time limit


def test_a_long_layout_is_ended_and_the_next_one_works(fresh_worker):
    slow = bushy(1500)
    render(SMALL, "svg")
    process = fresh_worker._process
    start = time.monotonic()
    with pytest.raises(
        LayoutTimeout, match=r'1500 nodes and 4497 edges within 1 s.*zoom="module".*time_limit'
    ):
        render(slow, "svg", time_limit=1.0)
    assert time.monotonic() - start < 30  # alone it takes minutes; a busy machine ends it late
    assert process.poll() is not None
    assert len(texts(render(SMALL, "svg"))) == 3


def test_a_time_out_is_also_a_timeout_error(fresh_worker):
    with pytest.raises(TimeoutError) as raised:
        render(bushy(1500), "plain", time_limit=0.3)
    assert isinstance(raised.value, TinygraphError)


def test_an_interrupted_wait_leaves_no_stale_answer(fresh_worker, monkeypatch):
    render(SMALL, "svg")
    read = rendering._Worker._read

    def interrupted(self, process):
        monkeypatch.setattr(rendering._Worker, "_read", read)
        raise KeyboardInterrupt

    monkeypatch.setattr(rendering._Worker, "_read", interrupted)
    with pytest.raises(KeyboardInterrupt):
        render("digraph { other }", "svg")
    assert len(texts(render(SMALL, "svg"))) == 3


# What Graphviz complains about


@pytest.mark.parametrize(
    ("dot", "words"),
    [
        ("digraph { a -> ", "cannot read this DOT text\n  Error: .*syntax error in line 1"),
        ("", "cannot read"),
        ("digraph { a [label=<<b>x>] }", "Error: mismatched tag"),
        ("digraph { a\0b }", "NUL"),
    ],
)
def test_errors_are_quoted_and_not_printed(dot, words, capfd):
    with pytest.raises(RenderError, match=words):
        render(dot, "svg")
    assert len(texts(render(SMALL, "svg"))) == 3
    assert capfd.readouterr() == ("", "")


# Graphviz 14 finds no way for one of two arrows within a row: "in routesplines, illegal values of prev 1 and next 1".
NO_WAY = """digraph {
    subgraph cluster_a { subgraph cluster_b { relu } }
    back -> linear [label="1×12"]
    norm -> back [constraint=false, arrowhead=open]
    norm -> back [constraint=false, label="8 B"]
    bias -> back [label="12"]
    norm -> relu [style=invis, weight=0]
    { first -> relu [style=invis, weight=0] }
    { rank=same; norm -> back [style=invis, weight=0] }
}"""


def test_where_arrows_cannot_bend_they_are_straight_and_none_is_lost():
    assert render(NO_WAY, "svg").count(b'class="edge"') == 4
    assert render(NO_WAY, "plain").count(b"edge ") >= 4


def test_warnings_are_not_printed(capfd):
    render("digraph { a [shape=nosuchshape, fontname=nosuchfont] }", "svg")
    assert capfd.readouterr() == ("", "")


# Labels

HOSTILE = [
    "quote \" and ' and `",
    '\\"',
    "back\\slash \\ end\\",
    "\\N \\G \\E \\T \\H \\L \\l \\r \\n",
    "&lt; &amp; &#65; &nbsp; & &&amp;amp;",
    "[ ] = > { } < | ; , -> --",
    "<b>bold</b>",
    "<not html>",
    "]]> <!-- x --> <title>t</title> <?pi?>",
    "%s {0} $x #include // c /* c */",
    "node",
    "two  spaces",
    "שלום עולם مرحبا",
    "😀 👩\u200d👩\u200d👧 e\u0301 漢字",
    "x" * 10_000,
    '\\"&<' * 2_500,
    "-1.5e-3",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_labels_are_read_literally(text):
    plain, rich = quote(text), escape_html(text)
    table = f"<table><tr><td>{rich}</td></tr></table>"
    nodes = f"a [label={plain}]; a -> a [label={plain}]; b [label=<{rich}>]; c [shape=plain, label=<{table}>]"
    assert texts(render(f"digraph {{ label={plain}; {nodes} }}", "svg")) == [text] * 5


def test_lines_and_control_characters():
    text = "a\nb\r\nc\rd\te\0f\x1b[0m\x7f\x85\ud800\ufffe"
    shown = ["a", "b", "c", "d e␀f␛[0m␡\ufffd\ufffd\ufffd"]
    assert texts(render(f"digraph {{ a [label={quote(text)}] }}", "svg")) == shown
    assert texts(render(f"digraph {{ a [label=<{escape_html(text)}>] }}", "svg")) == shown


def test_every_control_character_is_safe_in_a_picture():
    text = "".join(map(chr, range(0x100))) + "\u2028\u2029\u200e\uffff"
    for label in (quote(text), f"<{escape_html(text)}>"):
        ET.fromstring(render(f"digraph {{ a [label={label}] }}", "svg"))
        assert render(f"digraph {{ a [label={label}] }}", "png").startswith(b"\x89PNG")


def test_an_empty_label():
    assert texts(render(f"digraph {{ a [label={quote('')}] }}", "svg")) == []


def test_plain_escapes_without_graphviz():
    assert quote('a "b" \\N & c\nd') == r'"a \"b\" \\N &amp; c\nd"'
    assert escape_html('a < "b"\n\\N') == r"a &lt; &quot;b&quot;<BR/>\\N"


# Threads, crashes, forks


def test_threads_take_turns():
    dots = [f"digraph {{ a -> n{index}; n{index} [label={quote(f'text {index}')}] }}" for index in range(24)]
    with ThreadPoolExecutor(4) as pool:
        pictures = list(pool.map(lambda dot: render(dot, "svg"), dots))
    assert [texts(picture)[1] for picture in pictures] == [f"text {index}" for index in range(24)]


def test_the_worker_is_kept_between_calls(fresh_worker):
    render(SMALL, "svg")
    process = fresh_worker._process
    render(SMALL, "png")
    assert fresh_worker._process is process


def test_a_killed_worker_is_replaced(fresh_worker):
    expected = render(SMALL, "svg")
    for _ in range(2):
        fresh_worker._process.kill()
        assert render(SMALL, "svg") == expected
    fresh_worker._process.kill()
    fresh_worker._process.wait()
    assert render(SMALL, "svg") == expected


def test_a_crash_during_a_layout_is_an_error(fresh_worker):
    def kill_twice():
        for _ in range(2):
            while fresh_worker._process is None or fresh_worker._process.poll() is not None:
                time.sleep(0.01)
            process = fresh_worker._process
            time.sleep(1.5)  # it has started by then, and is far from done
            process.kill()
            process.wait()

    killer = threading.Thread(target=kill_twice)
    killer.start()
    with pytest.raises(RenderError, match="crashed on this graph: exit status"):
        render(bushy(1500), "svg", time_limit=60)
    killer.join()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork_both_have_their_own_worker(fresh_worker):
    expected = render(SMALL, "svg")
    mine = fresh_worker._process
    os.register_at_fork(after_in_child=fresh_worker.leave_to_parent)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if fresh_worker._process is None and render(SMALL, "svg") == expected:
                fresh_worker.end()
                status = 0
        finally:
            os._exit(status)
    assert render(SMALL, "svg") == expected
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert fresh_worker._process is mine
    assert mine.poll() is None


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs POSIX signals")
def test_nothing_is_left_running_after_the_program():
    code = """
        from tinygraph.drawing.dot import render as rendering
        rendering.render("digraph {}", "svg")
        print(rendering._worker._process.pid)
    """
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(code)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


# Without pygraphviz


def test_without_any_graphviz_the_error_says_what_to_install(no_pygraphviz, monkeypatch):
    monkeypatch.setenv("PATH", "")
    words = "pygraphviz is not installed.*pip install pygraphviz.*Graphviz from your system.*HTML page"
    with pytest.raises(RenderError, match=words):
        render(SMALL, "svg")


def test_pygraphviz_needs_no_dot_on_the_path(fresh_worker, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert len(texts(render(SMALL, "svg"))) == 3


def test_a_broken_pygraphviz_is_explained(fresh_worker, monkeypatch, tmp_path):
    (tmp_path / "pygraphviz.py").touch()
    monkeypatch.setattr(rendering, "_package_folder", lambda name: tmp_path / name)
    monkeypatch.setattr(rendering.sys, "executable", str(tmp_path / "no python"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RenderError, match=r"its process does not start.*pip install"):
        render(SMALL, "svg")


@pytest.fixture
def fake_dot(no_pygraphviz, monkeypatch, tmp_path):
    """A `dot` that is a shell script; returns the function that sets its text."""
    if sys.platform == "win32":
        pytest.skip("the stand-in for dot is a shell script")

    def write(script: str) -> None:
        path = tmp_path / "dot"
        path.write_text("#!/bin/sh\n" + script)
        path.chmod(0o755)

    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin{os.pathsep}/usr/bin")
    return write


def test_a_system_dot_is_used(fake_dot):
    fake_dot('cat > /dev/null; echo "<?xml?><!-- v --><svg>$@</svg>"')
    svg = render(SMALL, "svg", engine="neato").decode()
    assert svg.startswith("<svg>-Kneato -Tsvg")
    assert "fontname=DejaVu Sans" in svg
    assert "-Gdpi=192" in render(SMALL, "png").decode()


def test_a_system_dot_keeps_to_the_time_limit(fake_dot):
    fake_dot("exec sleep 60")
    start = time.monotonic()
    with pytest.raises(LayoutTimeout, match=r"this graph within 0.5 s"):
        render(SMALL, "svg", time_limit=0.5)
    assert time.monotonic() - start < 30  # nobody waited for it


def test_a_system_dot_that_fails_is_quoted(fake_dot):
    fake_dot('cat > /dev/null; echo "Error: trouble" >&2; exit 3')
    with pytest.raises(RenderError, match="status 3\n  Error: trouble"):
        render(SMALL, "svg")


def test_letters_need_no_font_of_the_system_beside_matplotlib(fresh_worker, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    dot = f"digraph {{ a [label={quote('∂loss/∂weight × μ, Σ ≠ π → 3×2')}] }}"
    usual = {format: render(dot, format) for format in ("svg", "png")}
    source = rendering.Path(rendering.__file__).with_name("graphviz_worker.py").read_text()
    (tmp_path / "graphviz_worker.py").write_text(re.sub(r"<dir[^>]*>[^<{]+</dir>", "", source))
    (tmp_path / "fonts.conf").write_text('<?xml version="1.0"?><fontconfig></fontconfig>')
    monkeypatch.setenv("FONTCONFIG_FILE", str(tmp_path / "fonts.conf"))
    monkeypatch.setenv("PATH", str(tmp_path))  # no `dot` either
    monkeypatch.setattr(rendering, "__file__", str(tmp_path / "render.py"))
    fresh_worker.end()
    assert {format: render(dot, format) for format in usual} == usual


def test_a_machine_without_fonts_gets_svg_and_an_explanation(fresh_worker, monkeypatch, tmp_path):
    source = rendering.Path(rendering.__file__).with_name("graphviz_worker.py").read_text()
    without_fonts = re.sub(r"<dir[^/]*?>[^<]*</dir>", "", source)
    (tmp_path / "graphviz_worker.py").write_text(without_fonts)
    real = rendering._package_folder
    monkeypatch.setattr(
        rendering, "_package_folder", lambda name: real(name) if name == "pygraphviz" else None
    )
    monkeypatch.setattr(rendering, "__file__", str(tmp_path / "render.py"))
    assert len(texts(render(SMALL, "svg"))) == 3
    for _ in range(2):
        with pytest.raises(RenderError, match=r"no font is installed.*matplotlib"):
            render(SMALL, "png")


def test_a_large_graph_is_mended_of_two_things_at_once():
    """Each attempt is a layout, of a second or more."""
    arrows = "\ta -> b [label=x constraint=false]\n\tc -> d [label=y constraint=false]\n"
    reason = "labels lie in boxes: a -> b, and in routesplines, illegal values"
    small = "digraph {\n" + arrows + "}"
    assert render_module._repaired(small, reason) == small.replace("label=x", "xlabel=x")
    large = "digraph {\n" + arrows + "\te -> f\n" * 1000 + "}"
    assert render_module._repaired(large, reason) == large.replace("label=", "xlabel=")
    assert "splines=line" in render_module._repaired(large.replace("label=", "xlabel="), reason)
    assert render_module._repaired(small, "something else") == small
