"""Write the map of rooms in `architecture.md`: every package and module with the first sentence of its docstring.

Run `python docs/make_map.py` after adding a file; a test compares the map with the tree.
"""

import ast
import re
from pathlib import Path

DOCUMENT = Path(__file__).with_name("architecture.md")
ROOT = DOCUMENT.parents[1]

# From the lowest layer to the highest; what is not named here follows in alphabetical order.
LAYERS = (
    "errors.py", "packages", "core", "mpi.py", "numpy", "tracing", "analysis", "kernels", "plugin.py", "transforms",
    "scipy", "interop", "explaining", "comparing", "drawing", "compiler", "debugging", "nn", "optim", "data",
    "parallel", "pytorch", "training", "testing", "scaffold", "cli",
)  # fmt: skip


def purpose(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9`)\]])\.(?=\s)", paragraph + " ")[0].strip().rstrip(".")


def order(path: Path) -> tuple[bool, int, str]:
    parts = path.relative_to(ROOT).parts
    layer = LAYERS.index(parts[1]) if len(parts) > 1 and parts[1] in LAYERS else -1
    return (
        parts[0] != "tinygraph",
        layer,
        path.parent.as_posix() if path.name == "__init__.py" else path.as_posix(),
    )


def lines() -> list[str]:
    found = sorted(
        (path for source in ("tinygraph", "ops/tinygraph_ops") for path in (ROOT / source).rglob("*.py")),
        key=order,
    )
    result = []
    for path in found:
        room = path.parent if path.name == "__init__.py" else path
        result.append(f"{room.relative_to(ROOT).as_posix()}{'/' if room != path else ''} - {purpose(path)}")
    return result


def main() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    fence = "```text\n" + "\n".join(lines()) + "\n```"
    new = re.sub(r"(?<=<!-- map -->\n).*?(?=\n<!-- end of map -->)", lambda _: fence, text, flags=re.DOTALL)
    DOCUMENT.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
