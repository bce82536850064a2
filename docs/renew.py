"""Renew what is made from the code: `python docs/renew.py`, or `python docs/renew.py stubs cards` for some of it.

stubs      what editors know of `tg.ops`
cards      conformance cards of built-in ops that say something else than their ops declare (laws and mutants run)
schema     of the data of a page, in the types that its script is checked against
numpy      what each function of NumPy and SciPy does on tensors, on `numpy.md`
onnx       which of ONNX's operators are read and which ops are written, on `onnx.md`
coming     the pages for those who come from autograd, MyGrad and JAX
map        the rooms in `architecture.md`
gallery    the pictures of `gallery.md`, the tutorials and `tape_graph_plan.md`, and
pictures   those of the README and of the other pages: look at what changed before you commit it
site       the documentation as HTML under `build/site`, only where it is named: needs the extra `docs`
reference  PyTorch's numbers, only where it is named: needs the extra `reference`
"""

from __future__ import annotations

import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]


def cards() -> None:
    from tinygraph.core.registry import BUILTIN_PACKAGE, registry
    from tinygraph.packages.manifest import package_folders
    from tinygraph.testing.package_files import renew_cards

    [folder] = package_folders(BUILTIN_PACKAGE)
    for name in renew_cards(folder, [op for op in registry.all_ops() if op.package == BUILTIN_PACKAGE]):
        print(f"  card of {name}")


def decisions() -> None:
    path, number = ROOT / "docs" / "decisions.md", itertools.count(1)
    text = re.sub(
        r"\n+^## (?:\d+\. )?",
        lambda _: f"\n\n## {next(number)}. ",
        path.read_text(encoding="utf-8"),
        flags=re.M,
    )
    path.write_text(text, encoding="utf-8")


def command(*words: str) -> Callable[[], object]:
    """Runs Python on a script or module of its own."""
    return lambda: subprocess.run([sys.executable, *words], cwd=ROOT, check=True)


RENEWED: dict[str, Callable[[], object]] = {
    "stubs": command("-m", "tinygraph.scaffold.stubs"),
    "cards": cards,
    "schema": command("-m", "tinygraph.drawing.page.typescript"),
    "numpy": command("-m", "tests.front.coverage"),
    "onnx": command("docs/make_onnx.py"),
    "coming": command("docs/make_coming_from.py"),
    "map": command("docs/make_map.py"),
    "decisions": decisions,
    "gallery": command("docs/make_gallery.py"),
    "pictures": command("docs/make_pictures.py"),
    "site": command("docs/make_site.py"),
    "reference": command("-m", "tests.reference.make_fixtures"),
}
ON_REQUEST = ("site", "reference")


def main(names: list[str]) -> None:
    unknown = sorted(set(names) - RENEWED.keys())
    if unknown:
        sys.exit(f"nothing is called {', '.join(unknown)}; there are: {', '.join(RENEWED)}")
    for name in names or [name for name in RENEWED if name not in ON_REQUEST]:
        print(f"{name}")
        RENEWED[name]()


if __name__ == "__main__":
    main(sys.argv[1:])
