"""`tinygraph draw`: every option reaches `tg.draw`, files of all kinds are read, errors say what to do."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.cli import draw as command
from tinygraph.cli import main, terminal
from tinygraph.drawing.front import SHOWABLE

MODEL = """
inputs = { image = "float32[1,1,6,6]" }
layers = [
  { name = "conv", layer = "Conv2d", in_channels = 1, out_channels = 2, kernel_size = 3 },
  { name = "relu", layer = "ReLU" },
  { name = "flat", layer = "Flatten" },
  { name = "head", layer = "Linear", in_features = 32, out_features = 3 },
]
"""
IMAGE = np.arange(36, dtype=np.float32).reshape(1, 1, 6, 6) / 36


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Call the command in this process, in an empty folder; returns (exit code, what it printed, its errors)."""
    monkeypatch.setattr(terminal.console, "_width", 200)
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["draw", *map(str, arguments)])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    return call


@pytest.fixture
def model(tmp_path):
    (tmp_path / "model.toml").write_text(MODEL)
    return tg.nn.load_model(tmp_path / "model.toml")


@pytest.fixture
def saved(model, tmp_path):
    tg.capture(lambda image: model(image), IMAGE).save(tmp_path / "net.json")
    return "net.json"


@pytest.fixture
def asked(monkeypatch):
    """What `tg.draw` was asked for, filled as the command runs."""
    seen = {}

    def draw(target, **wishes):
        seen.update(wishes, target=target)
        return original(target, **wishes)

    original = tg.draw
    monkeypatch.setattr(tg, "draw", draw)
    return seen


def test_a_saved_graph_becomes_an_svg_beside_it(run, saved, tmp_path):
    code, out, err = run(saved)
    assert (code, out, err) == (0, "drew net.json as net.svg\n", "")
    assert "convolution" in (tmp_path / "net.svg").read_text()
    assert "--random" in run(saved, "page.html")[1]
    assert run(saved, "page.html", "--random")[1] == "drew net.json as page.html\n"
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


@pytest.mark.parametrize("suffix", ["safetensors", "json", "svg", "html", "dot", "gv"])
def test_whatever_carries_a_graph_is_drawn(run, model, suffix, tmp_path):
    graph = tg.capture(lambda image: model(image), IMAGE)
    if suffix in ("safetensors", "json"):
        pytest.importorskip("safetensors") if suffix == "safetensors" else None
        graph.save(tmp_path / f"net.{suffix}")
    else:
        tg.draw(graph, tmp_path / f"net.{suffix}")
    code, _, err = run(f"net.{suffix}", "again.svg")
    assert (code, err) == (0, "")
    assert np.array_equal(tg.load("again.svg")(IMAGE).numpy(), model(IMAGE).numpy())


def test_a_model_file_with_types_is_drawn_as_its_graph_and_the_same_each_time(run, model, tmp_path):
    assert run("model.toml", "a.svg", "--zoom", "module") == (0, "drew model.toml as a.svg\n", "")
    run("model.toml", "b.svg", "--zoom", "module")
    assert "conv" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert tg.load("a.svg").parameters


@pytest.mark.parametrize("name", ["m.json", "m.toml"])
def test_a_model_file_without_types_is_a_tree_until_it_gets_inputs(run, name, tmp_path):
    text = '{"layers": [{"layer": "ReLU"}]}' if name == "m.json" else 'layers = [{layer = "ReLU"}]'
    (tmp_path / name).write_text(text)
    code, out, _ = run(name)
    assert code == 0
    assert "as a tree" in out
    np.save(tmp_path / "x.npy", IMAGE)
    code, out, _ = run(name, "m.svg", "--inputs", "x.npy")
    assert (code, out) == (0, f"drew {name} as m.svg\n")
    assert np.array_equal(tg.load("m.svg")(IMAGE), IMAGE)


def test_every_option_reaches_draw(run, saved, asked):
    code, _, err = run(
        saved, "a.svg", "--zoom", "module", "--backward", "--show", "names, flops", "--style", "dark", "--random",
        "--focus", "conv", "--between", "conv", "head", "--fold", "--collapse", "flat", "--collapse", "head",
        "--time-limit", "7", "--direction", "wrap", "--depth", "2", "--title", "A net", "--no-legend",
            "--font-size", "9", "--width", "16cm", "--names", "conv=Stem", "--colors", "head=#123456",
            "--steps", "0", "--steps", "2",
    )  # fmt: skip
    assert (code, err) == (0, "")
    asked.pop("target")
    (image,) = asked.pop("inputs")
    assert (image.shape, image.dtype) == ((1, 1, 6, 6), np.float32)
    assert asked == {
        "zoom": "module", "element": None, "backward": True, "show": ("names", "flops"), "style": "dark",
        "focus": "conv", "between": ("conv", "head"), "fold": True, "collapse": ["flat", "head"], "time_limit": 7.0,
            "direction": "wrap", "depth": 2, "title": "A net", "legend": False, "font_size": 9.0, "width": "16cm",
            "names": {"conv": "Stem"}, "colors": {"head": "#123456"}, "steps": [0, 2],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("zoom", "options", "element"),
    [
        ("neuron", ("--element", "0,2"), (0, 2)),
        ("neuron", ("--element", "conv.weight:0,0,1,1"), {"conv.weight": (0, 0, 1, 1)}),
        ("neuron", ("--element=-1,0",), (-1, 0)),
        ("channel", ("--element", "1,0"), (1, 0)),
    ],
)
def test_elements(run, saved, asked, zoom, options, element):
    code, _, err = run(saved, "--zoom", zoom, "--random", *options)
    assert (code, err) == (0, "")
    assert asked["element"] == element


def test_several_levels(run, saved, asked):
    code, _, err = run(
        saved, "--zoom", "conv:channel", "--zoom", "head:op", "--element", "conv:1,0", "--random"
    )
    assert (code, err) == (0, "")
    assert (asked["zoom"], asked["element"]) == ({"conv": "channel", "head": "op"}, {"conv": (1, 0)})
    run(saved, "--zoom", "op", "--zoom", "conv:channel", "--random")
    assert asked["zoom"] == {None: "op", "conv": "channel"}


def test_second_order_is_the_third_column(run, tmp_path, asked):
    tg.capture(lambda x: (x**3).sum(), np.ones(2)).save(tmp_path / "g.json")
    assert run("g.json", "--second-order")[0] == 0
    assert asked["backward"] == 2


def test_inputs_come_from_files_by_name_or_in_order(run, tmp_path, asked):
    tg.capture(lambda x, y: x + 2 * y, np.ones(2), np.ones(2)).save(tmp_path / "g.json")
    one, two = np.array([1.0, 2.0]), np.array([10.0, 20.0])
    np.savez(tmp_path / "named.npz", y=two, x=one, other=one)
    np.savez(tmp_path / "ordered.npz", one, two)
    np.save(tmp_path / "one.npy", one)
    np.save(tmp_path / "two.npy", two)
    for files in (["named.npz"], ["ordered.npz"], ["one.npy", "two.npy"]):
        options = [word for file in files for word in ("--inputs", file)]
        code, _, err = run("g.json", "--show", "names,values", *options)
        assert (code, err) == (0, "")
        assert [value.tolist() for value in asked["inputs"]] == [[1.0, 2.0], [10.0, 20.0]]
        assert "[21, 42]" in (tmp_path / "g.svg").read_text()


def test_open_means_the_interactive_page(run, saved, monkeypatch, tmp_path):
    opened = []
    monkeypatch.setattr(command, "open_for_user", opened.append)
    assert run(saved, "--open")[0] == 0
    assert [path.name for path in opened] == ["net.html"]
    assert (tmp_path / "net.html").read_text().startswith("<!DOCTYPE html>")
    assert run(saved, "picture.svg", "--open")[0] == 0
    assert opened[1].name == "picture.svg"


def test_a_bare_picture_carries_no_graph(run, saved, tmp_path):
    assert run(saved, "bare.svg", "--bare")[0] == 0
    with pytest.raises(tg.errors.FileFormatError, match="carries no graph"):
        tg.load("bare.svg")


def test_what_is_left_out_is_said_in_one_line(run, tmp_path):
    x = tg.tensor(1.0, requires_grad=True, name="x")
    for _ in range(4000):
        x = x * 1.001
    tg.graph_of(x).save(tmp_path / "long.json")
    code, _, err = run("long.json", "long.dot")
    assert code == 0
    assert err.startswith("note: ")
    assert "folded" in err
    assert "Warning" not in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["missing.json"], "missing.json"),
        (["other.json"], "malformed"),
        (["other.txt"], "other.txt"),
        (["wrong.toml"], "line 1, layers[0].layer"),
        (["net.json", "a.xyz"], ".svg, .png"),
        (["net.json", "net.json"], "overwritten"),
        (["net.json", "nowhere/a.svg"], "nowhere"),
        (["net.json", "--zoom", "channel"], "--inputs values.npy, or --random"),
        (["net.json", "--show", "values"], "--random"),
        (["net.json", "--show", "colours"], "'values'"),
        (["net.json", "--style", "neon"], "okabe-ito"),
        (["net.json", "--focus", "haed"], "head.weight"),
        (["net.json", "--between", "head", "conv"], "no path"),
        (["net.json", "--element", "a,b", "--zoom", "neuron"], "--element 'a,b'"),
        (["net.json", "--element", "0,1"], "below ops"),
        (["net.json", "--zoom", "atom"], "'op', 'composite', 'module'"),
        (["net.json", "--zoom", "op", "--zoom", "module"], "two levels"),
        (["net.json", "--zoom", "tail:op"], "tail"),
        (["net.json", "--inputs", "other.txt"], ".npz"),
        (["net.json", "--inputs", "net.json", "--random"], "one of them"),
    ],
)  # fmt: skip
def test_errors_say_what_to_do_and_leave_no_file(run, saved, arguments, words, tmp_path):
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "other.txt").write_text("text")
    (tmp_path / "wrong.toml").write_text('layers = [{layer = "Lines"}]')
    before = sorted(tmp_path.iterdir())
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert words in err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "arguments", [[], ["net.json", "--colour", "red"], ["net.json", "--between", "conv"]]
)
def test_wrong_usage_exits_with_1_or_2(run, saved, arguments):
    code, _, err = run(*arguments)
    assert code in (1, 2)
    assert "Error" in err
    assert "Traceback" not in err


def test_help_is_readable_in_80_columns_and_names_all_that_can_be_shown(run, monkeypatch):
    monkeypatch.setattr(terminal.console, "_width", 80)
    code, out, _ = run("--help")
    assert code == 0
    assert set(re.findall(r"\w+", out)) >= {*SHOWABLE} - {"changed"}  # of two moments of a program
    options = {
        "--" + name.replace("_", "-") for name in tg.draw.__kwdefaults__ if name not in ("times", "changes")
    }
    assert set(re.findall(r"--[\w-]+", out)) >= options
    assert "--empty" not in out


def test_python_m_tinygraph_is_the_same_command():
    ran = subprocess.run(
        [sys.executable, "-m", "tinygraph", "--help"], capture_output=True, text=True, check=True
    )
    assert "draw" in ran.stdout
