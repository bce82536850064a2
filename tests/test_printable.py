"""What is read on a terminal: escapes and marks that turn the writing are shown, wherever a name comes from a file."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.cli import terminal
from tinygraph.errors import FileFormatError, StateDictError, TinygraphWarning, printable

HOSTILE = "w\x1b[2J\x07\x9b\u202e\u2028\x7f"
SHOWN = r"w\x1b[2J\x07\x9b\u202e\u2028\x7f"


def test_a_text_is_shown_as_a_python_string_would_show_it():
    assert printable("plain é × 😀") == "plain é × 😀"
    assert printable(HOSTILE) == SHOWN
    assert printable("a\r\nb\tc\0") == "a\\r\nb\tc\\x00"
    assert printable("a\nb\t", keep="") == r"a\nb\t"
    assert printable(printable(HOSTILE)) == SHOWN


@pytest.mark.parametrize("kind", [FileFormatError, StateDictError, TinygraphWarning])
def test_errors_and_warnings(kind):
    assert str(kind(f"{HOSTILE}\nsecond line")) == f"{SHOWN}\nsecond line"
    assert str(kind()) == ""


def hostile_graph():
    x = tg.tensor([1.0, 2.0], requires_grad=True, name=HOSTILE)
    y = (x * x).sum()
    y.name = HOSTILE
    return x, y


def texts():
    x, y = hostile_graph()
    graph = tg.graph_of(y, name=HOSTILE)
    other = tg.graph_of((x * 3.0 * x).sum(), name=HOSTILE)
    impacts = tg.explain(y, wrt=x, element=(0,))
    layers = tg.nn.Sequential({HOSTILE: tg.nn.ReLU()})
    return {
        "summary": graph.summary(),
        "graph": repr(graph),
        "node": repr(graph.nodes[-1]),
        "impacts": str(impacts),
        "impacts, short": repr(impacts),
        "formula": impacts.formula() if callable(impacts.formula) else impacts.formula,
        "contributions": repr(tg.contributions(y, x)),
        "difference": str(tg.diff(graph, other)),
        "module": repr(layers),
    }


@pytest.mark.parametrize("name", texts())
def test_tables_and_summaries(name):
    text = texts()[name]
    assert printable(text) == text
    assert r"\x1b[2J" in text


def test_a_name_makes_no_second_row():
    x = tg.tensor(1.0, requires_grad=True, name="a\nb\n0  parameter")
    rows = tg.graph_of(x * 2.0).summary().splitlines()
    assert rows[2].split()[1] == r"a\nb\n0"


def test_the_command_line_shows_them(capsys, monkeypatch):
    for name, error in (("console", False), ("errors", True)):
        monkeypatch.setattr(terminal, name, terminal.PrintableConsole(stderr=error, highlight=False))
    terminal.say(f"drew {HOSTILE}")
    terminal.fail(OSError(f"no file {HOSTILE}"))
    captured = capsys.readouterr()
    assert captured.out == f"drew {SHOWN}\n"
    assert captured.err == f"error: no file {SHOWN}\n"


def test_colours_still_reach_a_terminal(capsys):
    console = terminal.PrintableConsole(force_terminal=True, color_system="standard", highlight=False)
    console.print(f"[red]{HOSTILE}[/red]")
    assert capsys.readouterr().out == f"\x1b[31m{SHOWN}\x1b[0m\n".replace(
        r"\x07", ""
    )  # rich leaves bells out


def test_a_hostile_file_is_named_without_harm(tmp_path):
    x = tg.tensor(np.ones(2), requires_grad=True, name=HOSTILE)
    tg.graph_of(x * 2.0).save(tmp_path / "g.json")
    text = (tmp_path / "g.json").read_text().replace('"leaf": "parameter"', '"leaf": "parameter", "scope": 0')
    (tmp_path / "g.json").write_text(text.replace('"op": 0', '"op": 7'))
    with pytest.raises(FileFormatError) as caught:
        tg.load(tmp_path / "g.json")
    assert printable(str(caught.value)) == str(caught.value)
