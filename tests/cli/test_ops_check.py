"""`tinygraph ops check` of ops, files and packages, whatever is wrong with them: each fault is named."""

from __future__ import annotations

import json
import sys
from importlib import metadata

import pytest

from tinygraph.cli import main, terminal
from tinygraph.core.registry import ENTRY_POINT_GROUP, registry
from tinygraph.packages.card import cards_of
from tinygraph.packages.manifest import Manifest
from tinygraph.scaffold import Request, write_package
from tinygraph.testing.targets import every_package

GOOD = """
import numpy as np
from tinygraph.plugin import Sample, op, ops

@op(kind="elementwise", samples=[Sample([0.5, -1.5, 2.0], expected=[0.25, 2.25, 4.0]), Sample([[1.5], [-0.7]])])
def odd_square(x):
    "x²;  d/dx = 2x."
    return x * x

@odd_square.vjp("x")
def odd_square_wrt_x(g, x):
    return 2 * g * x
"""


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Call the command; returns (exit code, what it printed, its errors). Ops it loads are forgotten."""
    monkeypatch.setattr(terminal.console, "_width", 200)
    monkeypatch.chdir(tmp_path)
    registry._load_builtin()  # or restoring the snapshot would leave the built-in ops out
    before, modules = registry._snapshot(), set(sys.modules)

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            main(["ops", "check", *map(str, arguments)])
        out, err = capsys.readouterr()
        return end.value.code, out, err

    yield call
    registry._restore(before)
    cards_of.cache_clear()
    for name in set(sys.modules) - modules:
        if name.startswith(("tinygraph_made", "odd", "wrong")):
            del sys.modules[name]


@pytest.fixture
def file(tmp_path):
    def write(text, name="odd_file.py"):
        (tmp_path / name).write_text(text)
        return name

    return write


def test_a_good_file(run, file):
    code, out, _ = run(file(GOOD))
    assert code == 0
    assert "second derivatives" in out
    assert "\nmutation score 100 % (" in out


def test_json(run, file):
    code, out, _ = run(file(GOOD), "--json")
    data = json.loads(out)
    assert code == 0
    assert data["ok"]
    assert data["ops"][0]["op"] == "odd_square"
    assert data["ops"][0]["mutation"]["percent"] == 100
    code, out, _ = run(file(GOOD.replace("2 * g * x", "3 * g * x")), "--json", "--no-mutation")
    data = json.loads(out)
    assert code == 1
    assert not data["ok"]
    finding = data["ops"][0]["findings"][0]
    assert finding["law"] == "first derivatives"
    assert "factor" in finding["cause"]
    assert data["ops"][0]["mutation"] is None


FAULTS = {
    "raises on import": ("import nothing_of_this_name", "odd_file.py:1"),
    "syntax": ("def f(:\n", "odd_file.py:1"),
    "declares nothing": ("x = 1", "declares no op"),
    "declares twice": (GOOD + GOOD, "twice"),
    "reserved": (GOOD.replace("odd_square", "sin"), "reserved"),
    "wrong signature": (GOOD.replace("def odd_square(x)", "def odd_square(x, axis=0)"), "keyword-only"),
    "wrong rule signature": (GOOD.replace("(g, x)", "(g, z)"), "asks for 'z'"),
    "no samples": (
        GOOD.replace(
            "samples=[Sample([0.5, -1.5, 2.0], expected=[0.25, 2.25, 4.0]), Sample([[1.5], [-0.7]])]", ""
        ),
        "no samples",
    ),
    "wrong sign": (GOOD.replace("2 * g * x", "-2 * g * x"), "wrong sign"),
    "wrong shape": (GOOD.replace("return x * x", "return (x * x)[..., :1]"), "breaks the law"),
    "wrong dtype": (GOOD.replace("return x * x", "return (x * x).astype('float64')"), "single precision"),
    "wrong number of outputs": (GOOD.replace("return x * x", "return x * x, x"), "breaks the law"),
    "mutates": (GOOD.replace("return x * x", "x *= x; return x"), "inputs unchanged"),
    "mutates g": (GOOD.replace("return 2 * g * x", "g *= 2 * x; return g"), "inputs unchanged"),
    "not deterministic": (
        GOOD.replace("return x * x", "return x * x * (1 + 1e-3 * np.random.default_rng().normal())"),
        "repeatable",
    ),
    "not closed": (GOOD.replace("2 * g * x", "2 * g * np.asarray(x)"), "np.asarray"),
    "hangs": (GOOD.replace("return 2 * g * x", "while True: pass"), "it hangs"),
    "hangs on import": ("while True: pass", "its import hangs"),
    "exits on import": (
        "raise SystemExit(0)",
        "odd_file.py could not be loaded: SystemExit: 0 (odd_file.py:1)",
    ),
    "interrupts on import": (
        "class Mine(KeyboardInterrupt): pass\nraise Mine('x')",
        "could not be loaded: Mine: x",
    ),
    "ends its generator": ("raise GeneratorExit", "could not be loaded: GeneratorExit"),
    "a name of two words": (GOOD.replace('kind="elementwise"', 'name="a b;c"'), "'a b;c' at odd_file:5"),
    "a name on two lines": (GOOD.replace('kind="elementwise"', 'name="a\\nb"'), "'a\\nb' at odd_file:5"),
    "a name with an escape": (
        GOOD.replace('kind="elementwise"', 'name="\\x1b[31m"'),
        "'\\x1b[31m' at odd_file:5",
    ),
    "hangs at once": (GOOD.replace("return x * x", "while True: pass"), "it hangs"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_named(run, file, fault):
    text, words = FAULTS[fault]
    code, out, err = run(file(text), "--no-mutation", "--time-limit", "0.5" if "hangs" in fault else "60")
    assert code == 1
    assert words in out + err
    assert "Traceback" not in out + err


ONE_CAUSE = ("wrong sign", "wrong shape", "wrong number of outputs", "mutates", "mutates g", "not closed")


@pytest.mark.parametrize("fault", ONE_CAUSE)
def test_one_fault_is_one_finding_and_plants_no_mutants(run, file, fault, monkeypatch):
    def planted(op):
        raise AssertionError("a mutant was planted in a broken op")

    monkeypatch.setattr("tinygraph.cli.check_ops.mutation_score", planted)
    code, out, _ = run(file(FAULTS[fault][0]))
    assert code == 1
    assert out.count("breaks the law") == 1
    assert "mutation score – (laws are broken: mend them first)" in out
    code, out, _ = run(file(FAULTS[fault][0]), "--json")
    [op] = json.loads(out)["ops"]
    assert op["mutation"] is None
    assert len(op["causes"]) == 1
    assert op["causes"][0]["law"] == op["findings"][0]["law"]


def test_what_the_linter_read_stands_with_what_it_breaks(run, file):
    _, out, _ = run(file(FAULTS["mutates g"][0]))
    assert (
        "op 'odd_square' breaks the law 'inputs unchanged': the rule 'odd_square_wrt_x' writes into g" in out
    )
    assert "    in the source odd_file.py:12: error: rule 'odd_square_wrt_x'" in out
    assert out.count("changes 'g' in place") == 1


def test_a_package_its_manifest_and_its_cards(run, tmp_path):
    folder = write_package(Request("made_one"), tmp_path / "project")
    inner = folder / "tinygraph_made_one"
    code, out, _ = run("project", "--no-mutation")
    assert code == 0, out
    code, out, _ = run("project", "--write-card")
    assert code == 0
    assert "wrote project/tinygraph_made_one/tinygraph-cards.json" in out
    [card] = cards_of("tinygraph_made_one").values()
    assert (card.distribution, card.version, card.op) == ("tinygraph-made_one", "0.1.0", "made_one")
    assert run(inner, "--no-mutation")[0] == 0

    (inner / "tinygraph-ops.json").write_text(Manifest(1, ("other",), ()).text())
    (inner / "tinygraph-cards.json").write_text(
        (inner / "tinygraph-cards.json").read_text().replace("sin(x)", "cos(x)")
    )
    code, out, _ = run("project", "--no-mutation")
    assert code == 1
    assert "the manifest lists the op 'other', which is not declared; --write-manifest renews it" in out
    assert "the manifest lacks the op 'made_one'" in out
    assert "the card of 'made_one' is out of date (formula); --write-card renews it" in out
    code, out, _ = run("project", "--write-manifest", "--write-card", "--no-mutation")
    assert code == 0
    [renewed] = cards_of("tinygraph_made_one").values()
    assert renewed == card  # its score included
    assert Manifest.parse((inner / "tinygraph-ops.json").read_text(), "").ops == ("made_one",)
    (inner / "tinygraph-ops.json").write_text("{")
    code, out, _ = run("project", "--no-mutation")
    assert code == 1
    assert "is no JSON" in out
    (inner / "tinygraph-ops.json").unlink()
    code, out, _ = run("project", "--no-mutation")
    assert code == 0
    assert "no manifest" in out


def test_several_are_a_table(run, file):
    code, out, _ = run("sinh", "cosh", file(GOOD.replace("2 * g * x", "g * x")), "--no-mutation")
    assert code == 1
    assert "3 ops, 1 broken" in out
    assert "broken: first derivatives" in out
    assert "likely cause" in out


def test_a_faulty_package_stops_no_other(run, tmp_path, monkeypatch):
    sources = {
        "odd_raises": "import nothing_of_this_name",
        "odd_hangs": "while True: pass",
        "odd_good": GOOD,
        "odd_idle": "x = 1",
    }
    for name, source in sources.items():
        (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    points = tuple(metadata.EntryPoint(name, name, ENTRY_POINT_GROUP) for name in sources)
    monkeypatch.setattr(metadata, "entry_points", lambda group: points)
    monkeypatch.setattr(registry, "_plugins", None)
    targets = every_package(time_limit=0.5)
    assert [one.name for one in targets if one.ops] == ["tinygraph_ops", "odd_good"]
    monkeypatch.setattr("tinygraph.cli.check_ops.every_package", lambda time_limit: targets[1:])
    code, out, _ = run("--all", "--no-mutation")
    assert code == 1
    assert "odd_raises: package 'odd_raises' could not be imported: ModuleNotFoundError" in out
    assert "odd_hangs could not be loaded: its import hangs" in out
    assert "declares no op" in out
    assert "first derivatives" in out  # of the good one


def test_wrong_usage_is_one_message(run, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments, words in (
        ([], "nothing to check"),
        (["no_such_op"], "no_such_op"),
        (["missing.py"], "no such file"),
        (["empty"], "one package of ops"),
        (["sinh", "--write-manifest"], "belong to a package"),
    ):
        code, _, err = run(*arguments)
        assert code == 1
        assert err.startswith("error: ")
        assert words in err
