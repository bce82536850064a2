"""The page's script: its modules, which are ES modules of their own, joined into one text that runs from a file.

Each module becomes a block with its own names. What it exports is reached through an object of the module's name, whose
properties are looked up when they are used, so that modules may know each other; a name that is imported by itself must
come from a module before it, and stay what it is. A page has no other scripts to load, and needs no tool to be made.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent / "script"
# In the order in which they are evaluated.
MODULES = (
    "payload", "tensors", "numbers", "places", "dom", "items", "grids", "sums", "channels", "model", "overlays",
    "camera", "painting", "controls", "finding", "flows", "steps", "address", "notes", "renames", "taking", "panel",
    "chips", "minimap", "depth", "outline", "looks", "exporting", "help", "iterations", "start",
)  # fmt: skip
ALONE = "pan_and_zoom"  # the whole script of a page that shows one picture
REVEAL = """\
const $reveal = (module, getters) => {
  for (const name in getters) Object.defineProperty(module, name, {get: getters[name], enumerable: true});
};
"""
_IMPORT = re.compile(r'^import (?:\{([^}]*)\}|\* as (\w+)) from "\./(\w+)\.js";\n', re.MULTILINE)
_DECLARED = re.compile(r"^(export )?(?:async )?(function\*?|class|const|let) (.*)", re.MULTILINE)


@functools.cache
def script() -> str:
    """The page's script."""
    return joined(MODULES)


def joined(names: Sequence[str]) -> str:
    """Some of the modules as one text, in their order.

    Raises:
        ValueError: one of them imports or names what cannot be joined.
    """
    texts = {name: (HERE / f"{name}.js").read_text("utf-8") for name in names}
    return join(texts)


def join(texts: dict[str, str]) -> str:
    """Modules, by name, as one text.

    Raises:
        ValueError: one of them imports or names what cannot be joined.
    """
    known: dict[str, dict[str, str]] = {}
    blocks = [REVEAL, *(f"const {name} = {{}};\n" for name in texts)]
    for name, text in texts.items():
        declared = declarations(text)
        clash = sorted(set(texts) & {one for one, *_ in declared})
        if clash:
            raise ValueError(f"{name}.js calls something {clash[0]!r}, which is the name of a module")
        lines = [_imported(name, found, texts, known) for found in _IMPORT.finditer(text)]
        known[name] = {one: kind for one, kind, exported in declared if exported}
        getters = ", ".join(f"{one}: () => {one}" for one in known[name])
        body = re.sub(r"^export ", "", _IMPORT.sub("", text), flags=re.MULTILINE)
        blocks.append(f"{{\n$reveal({name}, {{{getters}}});\n{''.join(lines)}{body}}}\n")
    for name, text in texts.items():
        _check_spaces(name, text, known)
    return "".join(blocks)


def declarations(text: str) -> list[tuple[str, str, bool]]:
    """(name, kind, whether it is exported) of what a module declares outside of all functions."""
    found = []
    for exported, kind, rest in _DECLARED.findall(text):
        names = re.findall(r"^(\w+)", rest)
        if kind in ("const", "let"):
            names += re.findall(r", (\w+) = ", _shallow(rest))
        found += [(name, kind, bool(exported)) for name in names]
    return found


def _shallow(text: str) -> str:
    """A line without what stands in brackets, strings and comments."""
    text = re.sub(r'"[^"]*"|`[^`]*`|//.*', "", text)
    while (shorter := re.sub(r"\([^()\[\]{}]*\)|\[[^()\[\]{}]*\]|\{[^()\[\]{}]*\}", "", text)) != text:
        text = shorter
    return re.split(r"[(\[{;]", text)[0]


def _imported(
    name: str, found: re.Match[str], texts: dict[str, str], known: dict[str, dict[str, str]]
) -> str:
    """What stands for an import."""
    names, space, other = found.groups()
    if other not in texts:
        raise ValueError(f"{name}.js imports from {other}.js, which is not among the modules")
    if space is not None:
        if space != other:
            raise ValueError(f"{name}.js calls the module {other} {space!r}; it has one name")
        return ""
    if other not in known:
        raise ValueError(
            f"{name}.js imports names from {other}.js, which comes later: write `import * as {other}`"
        )
    for one in (part.strip() for part in names.split(",")):
        if one not in known[other]:
            raise ValueError(f"{name}.js imports {one!r}, which {other}.js does not export")
        if known[other][one] == "let":
            raise ValueError(f"{name}.js imports {one!r}, which changes: write `import * as {other}`")
    return f"const {{{names}}} = {other};\n"


def _check_spaces(name: str, text: str, known: dict[str, dict[str, str]]) -> None:
    body = _IMPORT.sub("", text)
    for _, space, _ in _IMPORT.findall(text):
        for one in re.findall(rf"(?<![\w.$]){space}\.(\w+)", body) if space else ():
            if one not in known[space]:
                raise ValueError(f"{name}.js uses {space}.{one}, which {space}.js does not export")
