"""Installed op packages with and without manifests: found without being imported, and skipped by name when faulty.

The packages are folders with the metadata that an installer writes. Claims on names without manifests are tested in
`test_registry.py`.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.registry import registry
from tinygraph.errors import NumpyFunctionError, PluginError, TinygraphWarning, UnknownOpError
from tinygraph.packages.manifest import PLUGIN_API, Manifest
from tinygraph.plugin import op

ROOT = Path(__file__).parents[2]
DOUBLING = """
from tinygraph.plugin import op

@op(kind="elementwise"{options})
def {name}(x):
    return {factor} * x

@{name}.vjp("x")
def {name}_wrt_x(g):
    return {factor} * g
"""


def doubling(name, factor=2, options=""):
    return DOUBLING.format(name=name, factor=factor, options=options)


class Site:
    """A folder of installed packages."""

    def __init__(self, folder):
        self.folder = folder

    def add(self, package, source, manifest=None, distribution=None):
        """Install a package; `manifest` is its text, or what it lists."""
        home = self.folder / package
        home.mkdir(parents=True)
        (home / "__init__.py").write_text(source, encoding="utf-8")
        if manifest is not None:
            text = manifest if isinstance(manifest, str) else json.dumps({"api": PLUGIN_API, **manifest})
            (home / "tinygraph-ops.json").write_text(text, encoding="utf-8")
        name = distribution or package.replace("_", "-")
        info = self.folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(f"[tinygraph.ops]\n{package} = {package}\n", encoding="utf-8")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A place for packages that this process discovers; the registry is as before afterwards."""
    registry._load_builtin()
    before, plugins, modules = registry._snapshot(), registry._plugins, set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    registry._plugins = None
    registry.resolved.clear()
    yield Site(tmp_path)
    registry._restore(before)
    registry._plugins = plugins
    for name in set(sys.modules) - modules:
        if name.startswith("tgplug_"):
            del sys.modules[name]


def imported():
    return sorted(name for name in sys.modules if name.startswith("tgplug_"))


# -- nothing is imported before it is used ---------------------------------------------------------------------------


def test_a_manifest_tells_names_without_an_import(installed):
    installed.add("tgplug_a", doubling("tgplug_twice"), {"ops": ["tgplug_twice"]})
    installed.add("tgplug_b", doubling("tgplug_other"), {"ops": ["tgplug_other"]})
    assert "tgplug_twice" in tg.ops
    assert "tgplug_other" in dir(tg.ops)
    assert imported() == []
    assert tg.ops.tgplug_twice(3.0) == 6.0
    assert imported() == ["tgplug_a"]


def test_built_in_ops_import_no_plugin(installed):
    installed.add("tgplug_a", doubling("tgplug_twice"))
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    tg.ops.sum(tg.ops.exp(np.sin(x) * x)).backward()
    assert imported() == []


def test_a_package_without_manifest_is_imported_on_the_first_miss(installed):
    installed.add("tgplug_a", doubling("tgplug_twice"), {"ops": ["tgplug_twice"]})
    installed.add("tgplug_bare", doubling("tgplug_thrice", 3))
    assert tg.ops.tgplug_twice(1.0) == 2.0
    assert imported() == ["tgplug_a"]
    assert tg.ops.tgplug_thrice(1.0) == 3.0
    assert imported() == ["tgplug_a", "tgplug_bare"]


def test_a_manifest_tells_numpy_functions_without_an_import(installed):
    source = "import numpy as np\n" + doubling("tgplug_i0", 5, ", numpy=np.i0")
    installed.add("tgplug_a", source, {"ops": ["tgplug_i0"], "numpy": ["numpy.i0"]})
    installed.add("tgplug_b", doubling("tgplug_other"), {"ops": ["tgplug_other"]})
    with pytest.raises(NumpyFunctionError, match=r"np\.is_busday"):
        np.is_busday(tg.tensor([1.0], requires_grad=True))
    assert imported() == []
    assert np.i0(tg.tensor(2.0)).item() == 10.0
    assert imported() == ["tgplug_a"]


def test_importing_tinygraph_and_using_it_imports_no_plugin(tmp_path):
    site = Site(tmp_path)
    for i in range(50):
        manifest = {"ops": [f"tgplug_op{i}"]} if i % 2 else None
        site.add(f"tgplug_p{i}", "raise SystemExit('a plugin was imported')", manifest)
    program = (
        "import sys, numpy as np, tinygraph as tg\n"
        "x = tg.tensor([1.0, 2.0], requires_grad=True)\n"
        "np.sum(np.exp(x) * x).backward()\n"
        "tg.ops.convolution(np.ones((1, 1, 3, 3)), np.ones((1, 1, 2, 2)))\n"
        "print([name for name in sys.modules if name.startswith('tgplug_') or name == 'importlib.metadata'])\n"
    )
    path = os.pathsep.join([str(tmp_path), str(ROOT), str(ROOT / "ops")])
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "[]"


# -- faulty packages ---------------------------------------------------------------------------------------------------


def reported(words):
    return pytest.warns(TinygraphWarning, match=words)


def test_a_package_that_raises_is_named_with_its_line_and_nothing_of_it_stays(installed):
    installed.add(
        "tgplug_bad", doubling("tgplug_half") + "\n1 / 0\n", {"ops": ["tgplug_half"]}, "tgplug-bad-name"
    )
    installed.add("tgplug_good", doubling("tgplug_twice"), {"ops": ["tgplug_twice"]})
    with reported(r"'tgplug-bad-name'.*ZeroDivisionError.*__init__\.py:12"), pytest.raises(UnknownOpError):
        _ = tg.ops.tgplug_half
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # reported once
        with pytest.raises(UnknownOpError):
            _ = tg.ops.tgplug_half
        assert tg.ops.tgplug_twice(1.0) == 2.0


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "declared no op"),
        ("def f(:\n", r"SyntaxError.*__init__\.py:1"),
        ("import tgplug_missing_dependency\n", "tgplug_missing_dependency"),
        ("raise SystemExit(3)", "SystemExit"),
        ("from tinygraph.plugin import opp\n", "opp"),
        (
            doubling("tgplug_twice") + "\n\n" + doubling("tgplug_twice", 3),
            r"declares op 'tgplug_twice' twice",
        ),
        (doubling("exp"), "'exp'.*reserved"),
        (doubling("tgplug_twice").replace("def tgplug_twice(x)", "def tgplug_twice(x=1.0)"), "RuleError"),
        (f"TINYGRAPH_API = {PLUGIN_API + 1}\n" + doubling("tgplug_twice"), "upgrade tinygraph-autodiff"),
    ],
)
def test_faulty_packages_are_skipped_by_name(installed, source, words):
    installed.add("tgplug_bad", source)
    installed.add("tgplug_good", doubling("tgplug_fine", 7))
    with reported(f"'tgplug-bad'.*skipped.*{words}"):
        assert tg.ops.tgplug_fine(1.0) == 7.0
    assert "tgplug_twice" not in tg.ops
    assert tg.ops.exp(0.0) == 1.0


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ("{", "tgplug_bad/tinygraph-ops.json is no JSON"),
        ("", "is no JSON"),
        ("[]", "must be"),
        ('{"ops": []}', "must be"),
        ('{"api": 1, "ops": [], "more": 1}', "must be"),
        ('{"api": 1, "ops": "tgplug_twice"}', "lists of names"),
        ('{"api": 1, "ops": [1]}', "lists of names"),
        ('{"api": 0, "ops": ["tgplug_twice"]}', "install a newer version of the package"),
        ('{"api": 99, "ops": ["tgplug_twice"]}', "upgrade tinygraph-autodiff"),
        ('{"api": "new", "ops": ["tgplug_twice"]}', "plugin API 'new'"),
        ('{"api": 1, "ops": ["exp"]}', "'exp'.*reserved"),
        # absurd content
        ("null", "must be"),
        ("NaN", "must be"),
        ('"ops"', "must be"),
        ('{"api": true, "ops": []}', "plugin API True"),
        ('{"api": 1.0, "ops": []}', "plugin API 1.0"),
        ('{"api": null, "ops": []}', "plugin API None"),
        ('{"api": {"a": [1, 2]}, "ops": []}', "plugin API {'a'"),
        ('{"api": 1, "ops": {"a": 1}}', "lists of names"),
        ('{"api": 1, "ops": null}', "lists of names"),
        ('{"api": 1, "ops": [], "numpy": "numpy.sinc"}', "lists of names"),
        ('{"api": 1, "ops": [["tgplug_twice"]]}', "lists of names"),
        ('{"api": 1, "ops": ["a b;c"]}', r"lists 'a b;c', which is no name"),
        ('{"api": 1, "ops": ["a\\nb"]}', r"lists 'a\\nb', which is no name"),
        ('{"api": 1, "ops": ["a\\u001b[31mb"]}', r"lists 'a\\x1b\[31mb', which is no name"),
        ('{"api": 1, "ops": ["a\\u0000"]}', r"lists 'a\\x00', which is no name"),
        ('{"api": 1, "ops": ["\\ud800"]}', r"lists '\\ud800', which is no name"),
        ('{"api": 1, "ops": [""]}', "lists '', which is no name"),
        ('{"api": 1, "ops": ["a.b"]}', "lists 'a.b', but an op's name has no dots"),
        ('{"api": 1, "ops": ["a", "b", "a"]}', "lists 'a' twice"),
        ('{"api": 1, "ops": [], "numpy": ["np.sinc", "np.sinc"]}', "lists 'np.sinc' twice"),
        ('{"api": 1, "ops": [], "numpy": ["np..sinc"]}', "which is no name"),
        ('{"api": 1, "api": 1, "ops": []}', "a key stands there twice"),
        ('{"api": ' + "9" * 5000 + ', "ops": []}', "is no JSON"),
        ('{"api": 1, "ops": ' + "[" * 100_000 + "}", "is no JSON"),
        ('{"api": 1, "ops": ["' + "x" * 2_000_000 + '"]}', "larger than 1 MiB"),
        ('{"api": 1, "ops": [' + ",".join(f'"o{i}"' for i in range(1_000_000)) + "]}", "larger than 1 MiB"),
        (
            '{"api": 1, "ops": [' + ",".join(f'"o{i}"' for i in range(20_000)) + "]}",
            "20000 names; at most",
        ),
        ('{"api": 1, "ops": ["' + "x " * 1000 + '"]}', r"lists 'x x x [x ]*\.\.\., which is no name"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_a_faulty_manifest_is_reported_and_the_package_never_imported(installed, manifest, words):
    installed.add("tgplug_bad", "raise SystemExit('imported')", manifest)
    installed.add("tgplug_good", doubling("tgplug_fine", 7))
    with reported(f"(?s)'tgplug-bad'.*{words}"):
        assert tg.ops.tgplug_fine(1.0) == 7.0
    with pytest.raises(UnknownOpError):
        _ = tg.ops.tgplug_twice
    assert "tgplug_bad" not in imported()


def test_a_manifest_that_is_no_text_is_reported(installed):
    installed.add("tgplug_bad", doubling("tgplug_twice"), "{}")
    (installed.folder / "tgplug_bad" / "tinygraph-ops.json").write_bytes(b"\xff\xfe\x00")
    installed.add("tgplug_good", doubling("tgplug_fine", 7))
    with reported("'tgplug-bad'.*tinygraph-ops.json"):
        assert tg.ops.tgplug_fine(1.0) == 7.0


def test_a_manifest_that_lists_a_missing_op_is_reported_when_it_is_asked_for(installed):
    installed.add("tgplug_bad", doubling("tgplug_twice"), {"ops": ["tgplug_twice", "tgplug_gone"]})
    with reported("'tgplug-bad'.*lists tgplug_gone.*--write-manifest"), pytest.raises(UnknownOpError):
        _ = tg.ops.tgplug_gone
    with pytest.raises(UnknownOpError):  # a package is skipped as a whole
        _ = tg.ops.tgplug_twice


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import sys; sys.exit()", "SystemExit"),
        ("raise GeneratorExit('over')", "GeneratorExit: over"),
        ("raise BaseException('odd')", "BaseException: odd"),
        ("class Stop(KeyboardInterrupt): pass\nraise Stop('mine')", "Stop: mine"),
        ("raise KeyboardInterrupt('not the user')", "KeyboardInterrupt: not the user"),
        ("class Group(BaseExceptionGroup): pass\nraise Group('g', [GeneratorExit()])", "Group: g"),
        ("raise ValueError('a\\n\\x1b[31mred')", r"ValueError: a\\n\\x1b\[31mred"),
        ("def deep(): deep()\ndeep()", "RecursionError"),
        (doubling("tgplug_twice", options=", name='a b;c'"), "'a b;c' at .* cannot be an op's name"),
        (doubling("tgplug_twice", options=", name='a\\nb'"), r"'a\\nb' at .* cannot be an op's name"),
        (
            doubling("tgplug_twice", options=", name='tgplug.twice'"),
            "'tgplug.twice' at .* cannot be an op's name",
        ),
        (
            doubling("tgplug_twice", options=", name=b'x'"),
            "b'x' at .* cannot be an op's name|TypeError|RuleError",
        ),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
def test_an_import_that_raises_whatever_is_reported_once(installed, source, words, listed):
    """Nothing of it stays, the error is told once, and every other op works."""
    installed.add(
        "tgplug_bad", doubling("tgplug_half") + source, {"ops": ["tgplug_half"]} if listed else None
    )
    installed.add("tgplug_good", doubling("tgplug_fine", 7))
    with reported(f"'tgplug-bad'.*skipped.*{words}"), pytest.raises(UnknownOpError):
        _ = tg.ops.tgplug_half
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UnknownOpError):
            _ = tg.ops.tgplug_half
        assert tg.ops.tgplug_fine(1.0) == 7.0
        assert "tgplug_half" not in tg.ops
        assert tg.ops.exp(0.0) == 1.0


def test_a_real_interrupt_ends_the_import_and_leaves_the_package_for_later(installed):
    source = (
        "import os, signal\nif not os.environ.get('TGPLUG_AGAIN'):\n    os.kill(os.getpid(), signal.SIGINT)\n"
    )
    installed.add("tgplug_slow", source + doubling("tgplug_twice"), {"ops": ["tgplug_twice"]})
    with pytest.raises(KeyboardInterrupt):
        _ = tg.ops.tgplug_twice
    os.environ["TGPLUG_AGAIN"] = "1"
    try:
        assert tg.ops.tgplug_twice(1.0) == 2.0
    finally:
        del os.environ["TGPLUG_AGAIN"]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timer signals")
@pytest.mark.parametrize("source", ["import time\ntime.sleep(60)\n", "while True:\n    pass\n"])
def test_an_import_that_hangs_is_reported_once(installed, source, monkeypatch):
    monkeypatch.setattr("tinygraph.core.registry.IMPORT_SECONDS", 0.2)
    installed.add("tgplug_bad", doubling("tgplug_half") + source)
    installed.add("tgplug_good", doubling("tgplug_fine", 7))
    with reported(r"'tgplug-bad'.*skipped: TimeLimit: no end after 0.2 s"):
        assert tg.ops.tgplug_fine(1.0) == 7.0
    assert "tgplug_half" not in tg.ops


def test_an_import_that_asks_for_ops_finds_the_others(installed):
    asks = """
import tinygraph as tg
from tinygraph.core.registry import registry
assert "tgplug_nowhere" not in tg.ops
assert tg.ops.exp(0.0) == 1.0
assert tg.ops.tgplug_twice(1.0) == 2.0
try:
    tg.ops.tgplug_nowhere
except AttributeError:
    pass
"""
    installed.add("tgplug_asking", asks + doubling("tgplug_asked", 3))
    installed.add("tgplug_zlast", doubling("tgplug_twice"))
    assert tg.ops.tgplug_asked(1.0) == 3.0
    assert tg.ops.tgplug_twice(1.0) == 2.0


def test_a_package_imported_by_hand_may_ask_for_ops_too(installed):
    installed.add(
        "tgplug_asking", "import tinygraph as tg\n'tgplug_no' in tg.ops\n" + doubling("tgplug_asked", 3)
    )
    import tgplug_asking  # ty: ignore

    assert tgplug_asking.tgplug_asked(1.0) == 3.0
    assert tg.ops.tgplug_asked(1.0) == 3.0


def test_a_package_that_fails_takes_no_other_with_it(installed):
    """It imported another package, whose ops were then declared; taking its own back must leave those."""
    installed.add("tgplug_bad", "import tgplug_other\n" + doubling("tgplug_half") + "1 / 0")
    installed.add("tgplug_other", doubling("tgplug_fine", 7), {"ops": ["tgplug_fine"]})
    with reported("'tgplug-bad'.*ZeroDivisionError"), pytest.raises(UnknownOpError):
        _ = tg.ops.tgplug_half
    assert tg.ops.tgplug_fine(1.0) == 7.0


def test_an_import_may_start_a_thread_that_asks_for_ops(installed):
    source = """
import threading
import tinygraph as tg
found = []
thread = threading.Thread(target=lambda: found.append(tg.ops.exp(0.0)))
thread.start()
thread.join(20)
assert found == [1.0]
"""
    installed.add("tgplug_threads", source + doubling("tgplug_twice"), {"ops": ["tgplug_twice"]})
    assert tg.ops.tgplug_twice(1.0) == 2.0


def test_one_thread_imports_a_package_and_another_asks_for_its_op(installed):
    """The first holds the package's import lock and declares; the second asks the registry for the same op."""
    installed.add(
        "tgplug_slow", "import time; time.sleep(0.2)\n" + doubling("tgplug_twice"), {"ops": ["tgplug_twice"]}
    )
    found = []
    thread = threading.Thread(target=lambda: found.append(importlib.import_module("tgplug_slow")))
    thread.start()
    assert tg.ops.tgplug_twice(1.0) == 2.0
    thread.join(20)
    assert found[0].tgplug_twice is tg.ops.tgplug_twice


def test_the_first_ops_asked_for_by_many_threads_at_once():
    program = (
        "import threading, tinygraph as tg\n"
        "found, gate = [], threading.Barrier(8)\n"
        "def ask():\n    gate.wait()\n    found.append(tg.ops.exp(0.0))\n"
        "threads = [threading.Thread(target=ask) for _ in range(8)]\n"
        "[one.start() for one in threads]; [one.join() for one in threads]\n"
        "assert found == [1.0] * 8, found\n"
    )
    path = os.pathsep.join([str(ROOT), str(ROOT / "ops")])
    for _ in range(3):
        ran = subprocess.run(
            [sys.executable, "-c", program],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize(
    "points",
    [
        "[tinygraph.ops]\ntgplug_bad\n",
        "[tinygraph.ops]\ntgplug_bad = a b;c\n",
        "[tinygraph.ops]\ntgplug_bad = \n",
        "[tinygraph.ops]\ntgplug_bad = .:x\n",
        "[tinygraph.ops]\ntgplug_bad = tgplug_bad:nothing\n",
        "[tinygraph.ops\n\x1b[31m",
    ],
)
def test_absurd_entry_points_leave_the_rest_working(installed, points):
    installed.add("tgplug_bad", doubling("tgplug_half"))
    (installed.folder / "tgplug_bad-1.0.dist-info" / "entry_points.txt").write_text(points, encoding="utf-8")
    installed.add("tgplug_good", doubling("tgplug_fine", 7))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert tg.ops.tgplug_fine(1.0) == 7.0
        assert "tgplug_half" not in tg.ops
        assert tg.ops.tgplug_fine(1.0) == 7.0
    assert len([one for one in told if issubclass(one.category, TinygraphWarning)]) <= 1
    assert "\x1b" not in "".join(str(one.message) for one in told)


def test_a_distribution_without_a_name_or_with_an_escape_in_it(installed):
    installed.add("tgplug_bad", "1 / 0", {"ops": ["tgplug_half"]})
    info = installed.folder / "tgplug_bad-1.0.dist-info"
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: \x1b[31mred\nVersion: 1.0\n", encoding="utf-8"
    )
    installed.add("tgplug_worse", "1 / 0", {"ops": ["tgplug_third"]})
    (installed.folder / "tgplug_worse-1.0.dist-info" / "METADATA").unlink()
    installed.add("tgplug_good", doubling("tgplug_fine", 7), {"ops": ["tgplug_fine"]})
    for name, words in (
        ("tgplug_half", r"\\x1b\[31mred.*ZeroDivisionError"),
        ("tgplug_third", "'tgplug_worse'"),
    ):
        with reported(words) as told, pytest.raises(UnknownOpError):
            getattr(tg.ops, name)
        assert "\x1b" not in str(told[0].message)
    assert tg.ops.tgplug_fine(1.0) == 7.0


def test_warnings_that_are_errors_stop_no_other_package(installed):
    installed.add("tgplug_a", doubling("tgplug_half"), "{")
    installed.add("tgplug_b", doubling("tgplug_fine", 7), {"ops": ["tgplug_fine"]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TinygraphWarning, match="is no JSON"):
            _ = tg.ops.tgplug_fine
        assert tg.ops.tgplug_fine(1.0) == 7.0


def test_an_entry_point_to_nothing_is_reported(installed):
    installed.add("tgplug_bad", "")
    (installed.folder / "tgplug_bad" / "__init__.py").unlink()
    (installed.folder / "tgplug_bad").rmdir()
    installed.add("tgplug_good", doubling("tgplug_fine", 7))
    with reported("'tgplug-bad'.*ModuleNotFoundError"):
        assert tg.ops.tgplug_fine(1.0) == 7.0


# -- two packages and one name ---------------------------------------------------------------------------------------


def test_two_packages_with_one_name_are_both_named_and_neither_wins(installed):
    installed.add("tgplug_a", doubling("tgplug_same", 2), {"ops": ["tgplug_same"]}, "tgplug-first")
    installed.add("tgplug_b", doubling("tgplug_same", 5), {"ops": ["tgplug_same"]}, "tgplug-second")
    for _ in range(2):
        with pytest.raises(PluginError, match=r"'tgplug_a'.*'tgplug_b'.*\[.tgplug_a:tgplug_same.\]"):
            _ = tg.ops.tgplug_same
    assert tg.ops["tgplug_a:tgplug_same"](1.0) == 2.0
    assert tg.ops["tgplug-second:tgplug_same"](1.0) == 5.0
    assert tg.ops.exp(0.0) == 1.0


def test_a_name_of_a_manifest_and_of_a_package_without_one_is_not_silently_either(installed):
    installed.add("tgplug_a", doubling("tgplug_same", 2), {"ops": ["tgplug_same"]})
    installed.add("tgplug_bare", doubling("tgplug_same", 5) + doubling("tgplug_more", 3))
    assert tg.ops.tgplug_more(1.0) == 3.0  # imports the package without a manifest
    with pytest.raises(PluginError, match=r"'tgplug_a'.*'tgplug_bare'|'tgplug_bare'.*'tgplug_a'"):
        _ = tg.ops.tgplug_same


def test_one_package_installed_twice_is_one_package(installed):
    installed.add("tgplug_a", doubling("tgplug_twice"), {"ops": ["tgplug_twice"]})
    info = installed.folder / "tgplug_a_again-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: tgplug-a-again\nVersion: 1.0\n", encoding="utf-8"
    )
    (info / "entry_points.txt").write_text("[tinygraph.ops]\nmore = tgplug_a\n", encoding="utf-8")
    assert tg.ops.tgplug_twice(1.0) == 2.0


# -- order, threads, manifests as files --------------------------------------------------------------------------------


def test_plugins_are_in_one_order_whatever_the_disk_says(installed, monkeypatch):
    for package in ("tgplug_c", "tgplug_a", "tgplug_b"):
        installed.add(package, doubling(f"{package}_op"), {"ops": [f"{package}_op"]})
    mine = [plugin.package for plugin in registry.plugins() if plugin.package.startswith("tgplug_")]
    assert mine == ["tgplug_a", "tgplug_b", "tgplug_c"]
    assert [name for name in tg.ops if name.startswith("tgplug_")] == [
        "tgplug_a_op",
        "tgplug_b_op",
        "tgplug_c_op",
    ]


def test_threads_that_ask_at_once_get_one_op(installed):
    installed.add(
        "tgplug_slow", "import time; time.sleep(0.05)\n" + doubling("tgplug_twice"), {"ops": ["tgplug_twice"]}
    )
    found, gate = [], threading.Barrier(6)

    def ask():
        gate.wait()
        found.append(tg.ops.tgplug_twice)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len(set(map(id, found))) == 1


def test_a_manifest_written_and_read_is_the_same():
    manifest = Manifest(PLUGIN_API, ("b", "a"), ("numpy.sinc",))
    again = Manifest.parse(manifest.text(), "here")
    assert again == (PLUGIN_API, ("a", "b"), ("numpy.sinc",))
    assert Manifest.parse(f'{{"api": {PLUGIN_API}, "ops": []}}', "here").numpy == ()


def test_a_plugin_op_works_like_a_built_in_one(installed):
    installed.add("tgplug_a", doubling("tgplug_twice"), {"ops": ["tgplug_twice"]})
    x = tg.tensor([1.0, -2.0], requires_grad=True, name="x")
    out = np.sum(tg.ops.tgplug_twice(x) ** 2)
    out.backward()
    np.testing.assert_array_equal(x.grad.numpy(), [8.0, -16.0])
    assert "tgplug_twice" in tg.draw(out).source
    compiled = tg.compile(lambda x: np.sum(tg.ops.tgplug_twice(x)))
    assert compiled(np.ones(3)).item() == 6.0


def test_ops_made_of_one_forward_tell_their_settings_apart():
    def scaled_by(default):
        def scaled(x, *, by=default):
            return x * by

        return op(kind="elementwise", declare=False)(scaled)

    def shifted_by(amount):
        def shifted(x):
            return x + amount

        return op(kind="elementwise", declare=False)(shifted)

    assert [one.signature.settings for one in map(scaled_by, (2, 3))] == [{"by": 2}, {"by": 3}]
    assert [one(np.array([1.0])).tolist() for one in map(shifted_by, (2, 3))] == [[3.0], [4.0]]
    first, second = map(shifted_by, (2, 3))
    assert first.signature is second.signature  # read once
    assert first.identity != second.identity
    files = {}
    for file in ("one.py", "other.py"):
        exec(compile("def same(x):\n    return x\n", file, "exec"), {"__name__": "alike"}, made := {})  # noqa: S102
        files[file] = op(kind="elementwise", declare=False)(made["same"]).origin.file
    assert files == {"one.py": "one.py", "other.py": "other.py"}
