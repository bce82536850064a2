"""The project's own promises: README's two commands, no trace of one machine, true layers and map.

What the code computes is tested elsewhere.
"""

import ast
import re
import runpy
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tinygraph.compiler.compiled import COMPILE_PASSES

ROOT = Path(__file__).parents[1]
SOURCES = ("tinygraph", "ops/tinygraph_ops")
FENCED_BLOCK = re.compile(r"^```(?P<language>[^\n]*)\n(?P<body>.*?)^```[ \t]*$", re.MULTILINE | re.DOTALL)
# Not part of a longer path or address: `docs/home/page` and `https://example.org/home/page` are no machine's.
MACHINE_PATH = re.compile(r"(?<![\w.~/-])(?:/(?:tmp|work|root|home|Users|opt)/\w|[A-Z]:\\Users\\\w)")


def repository_files() -> list[Path]:
    command = [
        "git",
        "-c",
        "safe.directory=*",
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ]
    try:
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"not a git checkout: {error}")
    return [path for name in listing.split("\0") if name and (path := ROOT / name).is_file()]


def modules_on_disk() -> Iterator[str]:
    """Packages as `tinygraph/core`, modules as `tinygraph/core/op.py`."""
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            member = path.parent if path.name == "__init__.py" else path
            yield member.relative_to(ROOT).as_posix()


def test_readme_opens_with_its_two_commands():
    blocks = list(FENCED_BLOCK.finditer((ROOT / "README.md").read_text(encoding="utf-8")))
    assert [block["language"] for block in blocks[:2]] == ["sh", "sh"]
    install_and_demo, run_tests = (block["body"] for block in blocks[:2])
    for step in (
        "python3 -m venv .venv",
        ". .venv/bin/activate",
        'pip install -e ".[all,test]"',
        "tinygraph demo",
    ):
        assert step in install_and_demo
    assert run_tests == ". .venv/bin/activate && pytest -n auto\n"


def test_ci_has_no_commands_of_its_own_for_what_the_readme_says():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "pip install" not in script
    assert not re.search(r"^\s*pytest", script, re.MULTILINE)


def test_no_file_names_a_path_of_one_machine():
    found = []
    for path in repository_files():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a picture or an array file
            continue
        lines = enumerate(text.splitlines(), start=1)
        found += [
            f"{path.relative_to(ROOT)}:{number}: {line}"
            for number, line in lines
            if MACHINE_PATH.search(line)
        ]
    assert not found, "\n".join(found)


def test_layers_match_the_packages_on_disk():
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = pyproject["tool"]["importlinter"]["contracts"]
    (contract,) = (contract for contract in contracts if contract["type"] == "layers")
    entries = [entry.strip() for layer in contract["layers"] for entry in layer.split("|")]
    listed = {entry.strip("()") for entry in entries}
    required = {entry for entry in entries if not entry.startswith("(")}
    present = {
        path.split("/")[1].removesuffix(".py") for path in modules_on_disk() if path.startswith("tinygraph/")
    }
    assert len(listed) == len(entries), "a layer is listed twice"
    assert present - listed == set(contract["exhaustive_ignores"]) & present, "a package has no layer"
    assert required <= present, "a layer that must exist does not"


def test_architecture_map_names_what_is_there_and_nothing_else():
    document = ROOT / "docs" / "architecture.md"
    if not document.exists():
        pytest.skip("docs/architecture.md is not written yet")
    blocks = (block["body"] for block in FENCED_BLOCK.finditer(document.read_text(encoding="utf-8")))
    lines = [line for body in blocks for line in body.splitlines() if line.startswith(("tinygraph/", "ops/"))]
    without_purpose = [line for line in lines if not re.match(r"\S+\s+[-–—]\s+\S", line)]
    assert not without_purpose, "each line of the map reads `path  - purpose`"
    named = [line.split()[0].rstrip("/") for line in lines]
    assert len(named) == len(set(named)), "the map names something twice"
    assert sorted(set(modules_on_disk()) - set(named)) == [], "missing from the map"
    assert sorted(name for name in named if not (ROOT / name).exists()) == [], (
        "on the map, but not in the tree"
    )


ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def contracts_of_layers() -> dict:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (contract,) = (one for one in contracts["contracts"] if one["type"] == "layers")
    return contract


def test_the_map_is_as_it_is_made():
    module = runpy.run_path(str(ROOT / "docs" / "make_map.py"))
    missing = [line for line in module["lines"]() if line not in ARCHITECTURE.splitlines()]
    assert not missing, "run `python docs/renew.py map`"


def test_the_map_goes_from_the_lowest_layer_to_the_highest():
    order = [
        name.removesuffix(".py") for name in runpy.run_path(str(ROOT / "docs" / "make_map.py"))["LAYERS"]
    ]
    layers = [
        {one.strip().strip("()") for one in layer.split("|")} for layer in contracts_of_layers()["layers"]
    ]
    height = {name: -i for i, layer in enumerate(layers) for name in layer}
    assert set(order) == set(height)
    assert [height[name] for name in order] == sorted(height.values())


def test_the_doors_are_those_that_the_layers_leave_open():
    section = ARCHITECTURE.partition("## Doors")[2].partition("\n## ")[0]
    written = set(re.findall(r"^- `([^`]+)`:", section, re.MULTILINE))
    open_doors = {one.replace("tinygraph.", "") for one in contracts_of_layers()["ignore_imports"]}
    assert written == open_doors


def test_passes_are_written_down_in_the_order_in_which_they_run():
    section = ARCHITECTURE.partition("The order:")[2].partition(".\n")[0]
    assert re.findall(r"`(\w+)`", section) == [one.__name__ for one in COMPILE_PASSES]


def test_what_would_go_somewhere_goes_to_places_that_are_there():
    section = ARCHITECTURE.partition("## Where would it go?")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 16
    for row in rows:
        places = re.findall(r"`((?:tinygraph|ops|tests|docs)/[\w./]*)`( \(waiting\))?", row)
        assert places, row
        for place, waiting in places:
            assert (ROOT / place).exists() != bool(waiting), f"{place} in the row {row}"


# Words that name several files by intent: a family's two files, a package's public function, a topic of ops and layers,
# and what laws or commands are about.
SHARED = {
    "ops", "kernels", "front", "convolution", "normalization", "pooling", "embedding", "indexing", "graphs", "values",
    "module", "choosing", "losses", "views", "drawing", "page", "picture", "planes", "writing", "numpy_forms",
    "special", "activations", "attention", "dropout", "joining", "linear", "resampling",
}  # fmt: skip


def test_one_word_names_one_class_and_one_file():
    classes: dict[str, list[str]] = {}
    files: dict[str, list[str]] = {}
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            parts = path.relative_to(ROOT).parts
            if "templates" in parts or path.name == "__main__.py":
                continue
            name = path.relative_to(ROOT).as_posix()
            files.setdefault(path.parent.name if path.name == "__init__.py" else path.stem, []).append(name)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef):
                    classes.setdefault(node.name, []).append(f"{name}:{node.lineno}")
    assert {name: places for name, places in classes.items() if len(places) > 1} == {}
    assert {name for name, places in files.items() if len(places) > 1} - SHARED == set()


def test_decisions_are_numbered_and_have_one_form():
    text = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    entries = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert [entry.partition(". ")[0] for entry in entries] == [str(i + 1) for i in range(len(entries))]
    for entry in entries:
        words = re.findall(r"^\*\*(\w+)\.\*\* \S", entry, re.MULTILINE)
        assert words[:2] == ["Choice", "Rejected"], entry
        assert set(words[2:]) <= {"Reason", "Price"}, entry
