"""What installed plugins cost a program that uses none of them: start-up with 50 against none, as a ratio.

python -m benchmarks.startup
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

from tinygraph.cli.bench.alternating import measure, report

ROOT = Path(__file__).parents[1]
PLUGINS = 50
PROGRAMS = {
    "import tinygraph": "import tinygraph",
    "and a gradient with built-in ops": (
        "import numpy as np, tinygraph as tg\n"
        "x = tg.tensor([1.0, 2.0], requires_grad=True)\n"
        "np.sum(np.exp(x) * x).backward()"
    ),
    # here every plugin's manifest is read, and one plugin imported
    "and a plugin's op (against 1 plugin)": "import tinygraph as tg\ntg.ops.startup_op0(1.0)",
}
SOURCE = """
from tinygraph.plugin import op

@op(kind="elementwise")
def {name}(x):
    return 2 * x
"""


def install(folder: Path, count: int) -> None:
    """Write packages as an installer leaves them: a folder each with code, manifest and metadata."""
    for i in range(count):
        package, name = f"startup_plugin{i}", f"startup_op{i}"
        home, info = folder / package, folder / f"{package}-1.0.dist-info"
        home.mkdir()
        info.mkdir()
        (home / "__init__.py").write_text(SOURCE.format(name=name), encoding="utf-8")
        (home / "tinygraph-ops.json").write_text(json.dumps({"api": 1, "ops": [name]}), encoding="utf-8")
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8"
        )
        (info / "entry_points.txt").write_text(f"[tinygraph.ops]\n{package} = {package}\n", encoding="utf-8")


def run(program: str, plugins: Path) -> None:
    """Run a program in a new interpreter, with the plugins of a folder installed."""
    path = os.pathsep.join([str(plugins), str(ROOT), str(ROOT / "ops")])
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": path})


def main() -> None:
    """Print a table of medians and ratios."""
    rows = {}
    with tempfile.TemporaryDirectory() as scratch:
        folders = {count: Path(scratch, str(count)) for count in (0, 1, PLUGINS)}
        for count, folder in folders.items():
            folder.mkdir()
            install(folder, count)
        for name, program in PROGRAMS.items():
            fewest = folders[1 if "startup_op" in program else 0]
            rows[name] = measure(
                {"many": partial(run, program, folders[PLUGINS]), "none": partial(run, program, fewest)}
            )
    report(f"{PLUGINS} plugins installed against none", rows, "many")


if __name__ == "__main__":
    main()
