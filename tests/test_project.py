"""The project's own promises: README's two commands, no trace of one machine, true layers and map.

What the code computes is tested elsewhere.
"""

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

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
