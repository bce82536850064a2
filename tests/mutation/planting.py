"""Planting a fault in a copy of the tree and running tests on that: the tree itself is never touched."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.conftest import SHARED
from tests.mutation.faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]
LONGEST = 1500  # seconds for the tests of one fault; what hangs is caught
PARTS = ("tinygraph", "ops", "tests", "examples", "pyproject.toml")


def copied(into: Path) -> Path:
    """The tree without what no test named here reads, with its modules compiled: each run starts soon."""
    for name in PARTS:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, into / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(ROOT / name, into / name)
    environment = _environment(into)
    del environment["PYTHONDONTWRITEBYTECODE"]
    tests = sorted({f"tests/{one}" for fault in FAULTS for one in fault.tests})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *tests]
    subprocess.run(command, cwd=into, env=environment, capture_output=True, check=True)
    return into


def _environment(tree: Path) -> dict[str, str]:
    """Modules are those of the copy; none that a fault changes is compiled for good."""
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        "PYTHONPATH": os.pathsep.join((str(tree), str(tree / "ops"))),
        "PYTHONPYCACHEPREFIX": str(tree / "modules"),
        "PYTHONDONTWRITEBYTECODE": "1",
        SHARED: str(tree / "compiled"),
    }


def nearest_first(tree: Path, tests: Sequence[str], file: str) -> list[str]:
    """The files of tests, those first that name a module, which most likely notice a fault in it."""
    module = file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    paths = [path for one in tests for path in _files(tree / "tests" / one)]
    texts = {path: path.read_text("utf-8") for path in paths}
    name = re.compile(rf"\b{module.rpartition('.')[2]}\b")
    ranked = sorted(texts, key=lambda path: (module not in texts[path], -len(name.findall(texts[path]))))
    return [path.relative_to(tree).as_posix() for path in ranked]


def _files(path: Path) -> list[Path]:
    return sorted(path.rglob("test_*.py")) if path.is_dir() else [path] * path.exists()


def outcome(tree: Path, tests: Sequence[str], file: str = "") -> str:
    """What becomes of tests on a tree: "green", "red" where one fails or hangs, else what pytest says.

    Given the file that was changed, those come first that name it.
    """
    paths = nearest_first(tree, tests, file)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:cacheprovider",
        *paths,
    ]
    try:
        done = subprocess.run(
            command,
            cwd=tree,
            env=_environment(tree),
            capture_output=True,
            text=True,
            timeout=LONGEST,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return "red"
    if done.returncode == 0:
        return "green"
    failed = done.returncode == 1 or re.search(r"^(FAILED|ERROR) ", done.stdout, re.M)
    return "red" if failed or done.returncode < 0 else done.stdout[-2000:] + done.stderr[-2000:]


@contextlib.contextmanager
def planted(tree: Path, file: str, changed: bytes) -> Iterator[None]:
    """A file of a copy of the tree with another text, until the end of the block."""
    path = tree / file
    before, status = path.read_bytes(), path.stat()
    path.write_bytes(changed)
    os.utime(path, (status.st_atime, status.st_mtime + 60))  # what was compiled before is out of date
    try:
        yield
    finally:
        path.write_bytes(before)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def outcome_of(fault: Fault, tree: Path) -> str:
    """What becomes of a fault's tests while it stands in a copy of the tree."""
    text = (tree / fault.file).read_text("utf-8")
    with planted(tree, fault.file, text.replace(fault.snippet, fault.replacement).encode()):
        return outcome(tree, fault.tests, fault.file)
