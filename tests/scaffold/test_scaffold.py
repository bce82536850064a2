"""`tinygraph ops new`: whatever is asked for passes its checks at once; nothing is overwritten or half-written."""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import tinygraph
from tinygraph.cli import main
from tinygraph.core.registry import registry
from tinygraph.errors import PluginError, SettingError
from tinygraph.packages.manifest import Manifest
from tinygraph.scaffold import Request, write_file, write_package
from tinygraph.scaffold.request import parse_settings
from tinygraph.testing import check_op
from tinygraph.testing.linter import lint_op
from tinygraph.testing.mutation import mutation_score

SETTINGS = {
    "none": (),
    "number": (("scale", 2.0),),
    "every-kind": (("power", 3), ("flip", False), ("mode", "same")),
}
REQUESTS = [
    pytest.param(Request("made_here", kind, inputs, outputs, SETTINGS[name]), id=f"{kind}-{inputs}-{outputs}-{name}")
    for kind, inputs, outputs, name in itertools.product(
        ("elementwise", "reduction"), (1, 2, 4), (1, 3), SETTINGS
    )
]  # fmt: skip


@pytest.fixture(autouse=True)
def forget():
    """Ops that a test declares are gone after it."""
    registry._load_builtin()  # or restoring the snapshot would leave the built-in ops out
    before, modules = registry._snapshot(), set(sys.modules)
    yield
    registry._restore(before)
    for name in set(sys.modules) - modules:
        if name.startswith(("tinygraph_made", "made_here")):
            del sys.modules[name]


def loaded(request, folder):
    [op] = registry.load_file(write_file(request, folder / f"{request.name}.py"))
    return op


@pytest.mark.parametrize(
    "request_",
    # fast in a part in which every kind, number and setting occurs with others each time
    [
        one if i % 5 == 0 else pytest.param(*one.values, id=one.id, marks=pytest.mark.slow)
        for i, one in enumerate(REQUESTS)
    ],
)
def test_every_combination_obeys_every_law(request_, tmp_path):
    op = loaded(request_, tmp_path)
    assert check_op(op).ok
    assert lint_op(op) == []
    assert len(op.signature.operands) == request_.inputs
    assert dict(request_.settings).items() <= op.signature.settings.items()


@pytest.mark.slow
@pytest.mark.parametrize("request_", REQUESTS[::4])
def test_the_samples_catch_every_known_mistake(request_, tmp_path):
    score = mutation_score(loaded(request_, tmp_path))
    assert not score.survivors, str(score)


def test_settings_that_make_the_result_zero_or_negative(tmp_path):
    assert check_op(loaded(Request("made_here", settings=(("offset", 0), ("rate", -0.5))), tmp_path)).ok


def shell(*command, cwd):
    """Run a command that finds this tinygraph."""
    root = Path(tinygraph.__file__).parents[1]
    path = os.pathsep.join(map(str, (root, root / "ops")))
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize(
    "request_",
    [Request("made_here"), Request("made_too", "reduction", 2, 2, SETTINGS["every-kind"])],
    ids=lambda one: one.kind,
)
def test_a_new_package_passes_its_own_tests(request_, tmp_path):
    folder = write_package(request_, tmp_path / "project")
    done = shell(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_what_a_package_consists_of(tmp_path):
    folder = write_package(Request("made_here"), tmp_path / "tinygraph-made_here")
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == "tinygraph-made_here"
    assert project["project"]["entry-points"]["tinygraph.ops"] == {"made_here": "tinygraph_made_here"}
    manifest = (folder / "tinygraph_made_here" / "tinygraph-ops.json").read_text()
    assert Manifest.parse(manifest, "").ops == ("made_here",)
    for name in ("README.md", ".gitignore", ".github/workflows/check.yml", "tests/test_made_here.py"):
        text = (folder / name).read_text()
        assert "$" not in text.replace("${{", "")
    assert "${{ matrix.python }}" in (folder / ".github/workflows/check.yml").read_text()
    own = (folder / "tinygraph_made_here" / "made_here.py").read_text().splitlines()
    assert len(own) < 40


def test_sources_are_as_the_formatter_has_them(tmp_path):
    if importlib.util.find_spec("ruff") is None:
        pytest.skip("ruff is not installed")
    for i, parameters in enumerate(REQUESTS):
        (made,) = parameters.values
        write_file(made, tmp_path / f"made{i}.py")
    config = Path(tinygraph.__file__).parents[1] / "pyproject.toml"
    for command in (["format", "--check"], ["check"]):
        done = shell(sys.executable, "-m", "ruff", *command, "--config", str(config), ".", cwd=tmp_path)
        assert done.returncode == 0, done.stdout


def test_nothing_is_overwritten_or_left_half_written(tmp_path, monkeypatch):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken.py").write_text("mine")
    with pytest.raises(PluginError, match="exists already"):
        write_package(Request("made_here"), tmp_path / "taken")
    with pytest.raises(PluginError, match="exists already"):
        write_file(Request("made_here"), tmp_path / "taken.py")
    with pytest.raises(PluginError, match="no folder"):
        write_package(Request("made_here"), tmp_path / "none" / "here")
    with pytest.raises(PluginError, match=r"\.py"):
        write_file(Request("made_here"), tmp_path / "made.txt")
    monkeypatch.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_package(Request("made_here"), tmp_path / "new")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["taken", "taken.py"]
    assert (tmp_path / "taken.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("soft-sort", "such as soft_sort"),
        ("2d", "Python name"),
        ("class", "Python name"),
        ("_hidden", "such as hidden"),
        ("naïve", "Python name"),
        ("", "Python name"),
        ("sin", "built-in"),
        ("ops", "taken"),
        ("x", None),
        ("g", "reserved"),
        ("mask_type", "reserved"),
    ],
)
def test_names_that_an_op_cannot_have(name, words):
    if words is None:
        with pytest.raises(SettingError):
            Request(name, settings=(("x", 1),))
    else:
        with pytest.raises(SettingError, match=words):
            Request(name)


@pytest.mark.parametrize("given", ["scale", "scale=", "axes=(1, 2)", "bound=None", "rate=1e999"])
def test_settings_that_cannot_be_started_with(given):
    with pytest.raises(SettingError):
        Request("made_here", settings=parse_settings([given]))


@pytest.mark.parametrize("settings", [("x=1",), ("a=1", "a=2"), ("lambda=1",), ("g=1",), ("made_here=1",)])
def test_names_that_a_setting_cannot_have(settings):
    with pytest.raises(SettingError, match="a setting cannot be called"):
        Request("made_here", settings=parse_settings(settings))


def test_numbers_out_of_range():
    with pytest.raises(SettingError, match="inputs"):
        Request("made_here", inputs=0)
    with pytest.raises(SettingError, match="outputs"):
        Request("made_here", outputs=99)
    with pytest.raises(SettingError, match="axis"):
        Request("made_here", "reduction", settings=(("axis", 1),))


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main([str(one) for one in arguments])
    return end.value.code


def test_from_new_to_a_passing_check(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert (
        run("ops", "new", "made_here", "--inputs", 2, "--setting", "scale=2.0", "--setting", "flip=false")
        == 0
    )
    out = capsys.readouterr().out
    assert "pip install -e ./tinygraph-made_here" in out
    assert "tinygraph ops check made_here" in out
    assert run("ops", "check", "tinygraph-made_here") == 0
    assert "mutation score 100 %" in capsys.readouterr().out
    assert run("ops", "new", "made_here") == 1
    assert "exists already" in capsys.readouterr().err
    assert run("ops", "new", "made_too", "--file") == 0
    assert run("ops", "check", "made_too.py", "--no-mutation") == 0


def test_wrong_usage_of_new_is_one_message(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments in (["tanh"], ["a-b"], ["made_here", "--setting", "x=1"], ["made_here", "--inputs", "0"]):
        assert run("ops", "new", *arguments) == 1
        assert capsys.readouterr().err.startswith("error: ")
    assert run("ops", "new", "made_here", "--kind", "strange") != 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_new_package_is_installed_and_discovered(tmp_path):
    """Offline: pip builds it with the hatchling that is here, into an environment that sees this one's packages."""
    for needed in ("hatchling", "editables", "pip"):
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed, and this test downloads nothing")
    folder = write_package(Request("made_here", inputs=2), tmp_path / "project")
    environment = tmp_path / "environment"
    made = shell(
        sys.executable, "-m", "venv", "--without-pip", "--system-site-packages", environment, cwd=tmp_path
    )
    assert made.returncode == 0, made.stderr
    # a virtual environment made inside another sees the outermost one's packages; name this one's as well
    site = next(environment.glob("lib/python*/site-packages"), environment / "Lib" / "site-packages")
    (site / "outer.pth").write_text("\n".join(one for one in sys.path if one.endswith("site-packages")))
    python = next(
        one
        for one in (environment / "bin" / "python", environment / "Scripts" / "python.exe")
        if one.exists()
    )
    install = ["-m", "pip", "install", "--no-deps", "--no-build-isolation", "--no-index", "-e", str(folder)]
    installed = shell(python, *install, cwd=tmp_path)
    assert installed.returncode == 0, installed.stderr
    call = "tg.ops.made_here(np.zeros(2), np.ones(2))"
    code = f"import numpy as np, tinygraph as tg; print({call}, 'made_here' in tg.ops)"
    used = shell(python, "-c", code, cwd=tmp_path)
    assert used.stdout.strip() == "[0. 0.] True", used.stderr
    checked = shell(
        python, "-c", "from tinygraph.cli import main; main()", "ops", "check", "made_here", cwd=tmp_path
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
