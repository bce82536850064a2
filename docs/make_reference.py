"""Write the reference of the site, in Markdown: every public name with its signature and docstring, and every command.

`make_site.py` calls it. Docstrings are plain text with code in backticks, sections such as `Args:` and examples that
run; here they become Markdown, with an anchor for each name, such as `tg.draw` or `tg.nn.Conv2d.forward`.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

# The page, what it is about, and the modules whose names it has, as a user writes them.
PAGES = {
    "tinygraph": ("Graphs, derivatives, pictures", ("tg", "tg.tree")),
    "nn": ("Layers and losses", ("tg.nn", "tg.nn.init", "tg.nn.utils")),
    "functional": ("Functions of layers", ("tg.nn.functional",)),
    "optim": ("Optimizers and schedules", ("tg.optim", "tg.optim.lr_scheduler")),
    "data": ("Data", ("tg.data",)),
    "training": ("Training", ("tg.training",)),
    "parallel": ("Several processes", ("tg.parallel", "tg.parallel.scaling")),
    "plugin": ("Ops of one's own", ("tg.plugin",)),
    "testing": ("Checks of ops and gradients", ("tg.testing",)),
    "errors": ("Errors and warnings", ("tg.errors",)),
}
SECTIONS = {"Args", "Returns", "Raises", "Yields", "Attributes", "Keyword Args", "Note", "Warns"}
ENTRY = re.compile(
    r"(?P<names>\*{0,2}[A-Za-z_][\w.]*(?:, \*{0,2}[A-Za-z_][\w.]*)*)(?: \([^)]*\))?: +(?P<text>.*)", re.DOTALL
)
PROMPT = re.compile(r"^\s*>>> ")
SPECIAL = re.compile(r"[\\*_<>\[\]$#|{}~]")
OWN = ("tinygraph.", "tinygraph_ops")


@dataclass(frozen=True)
class Entry:
    """One name of the reference: how a user writes it, and what it is."""

    name: str
    what: Any


def module_of(prefix: str) -> Any:
    name = {"tg.tree": "tinygraph.core.trees"}.get(prefix, f"tinygraph{prefix.removeprefix('tg')}")
    return importlib.import_module(name)


def public(prefix: str) -> Iterator[Entry]:
    """The public functions and classes of a module, in the order of their names, classes first.

    A package shows what it brings together; a file shows what it declares.
    """
    module = module_of(prefix)
    gathers = hasattr(module, "__path__") or prefix == "tg.plugin"
    found = []
    for name in dir(module):  # with what is imported on first use
        what = getattr(module, name)
        if name.startswith("_") or not (inspect.isclass(what) or inspect.isfunction(what) or _is_door(what)):
            continue
        home = getattr(what, "__module__", "") or ""
        if home == module.__name__ or (gathers and f"{home}.".startswith(OWN)):
            found.append(Entry(f"{prefix}.{name}", what))
    return iter(sorted(found, key=lambda one: (not inspect.isclass(one.what), one.name.lower())))


def _is_door(what: Any) -> bool:
    """Functions with state, such as `tg.no_grad`, which are objects that can be called."""
    return callable(what) and type(what).__module__.startswith("tinygraph.")


# Markdown


def escaped(text: str) -> str:
    """Plain text as Markdown that shows it, with code in backticks left as it is."""
    parts = re.split(r"(`+[^`]*`+)", text)
    return "".join(part if part.startswith("`") else SPECIAL.sub(r"\\\g<0>", part) for part in parts)


def fenced(text: str, language: str) -> str:
    return f"```{language}\n{text}\n```"


def blocks(lines: list[str]) -> Iterator[str]:
    """Paragraphs, examples and indented formulas of a docstring's text, as Markdown."""
    paragraph: list[str] = []
    rest = [*lines, ""]
    while rest:
        line = rest.pop(0)
        if line.strip() and not PROMPT.match(line):
            paragraph.append(line)
            continue
        if paragraph:
            yield _paragraph(paragraph)
            paragraph = []
        if PROMPT.match(line):
            example = [line]
            while rest and rest[0].strip():
                example.append(rest.pop(0))
            yield fenced(textwrap.dedent("\n".join(example)), "pycon")


def _paragraph(lines: list[str]) -> str:
    text = textwrap.dedent("\n".join(lines))
    if min(len(line) - len(line.lstrip()) for line in lines) >= 4:
        return fenced(text, "text")
    if lines[0].lstrip().startswith(("- ", "* ")):
        items = re.split(r"^[-*] ", text, flags=re.MULTILINE)[1:]
        return "\n".join(f"- {escaped(' '.join(item.split()))}" for item in items)
    return escaped(" ".join(text.split()))


def entries(lines: list[str]) -> str:
    """The body of a section: a list of names with their text, or prose."""
    body = textwrap.dedent("\n".join(lines)).strip("\n")
    items = re.split(r"\n(?=\S)", body)
    matches = [ENTRY.fullmatch(item) for item in items]
    if not all(matches):
        return "\n\n".join(blocks(body.split("\n")))
    return "\n".join(
        f"- `{match['names']}`: {escaped(' '.join(match['text'].split()))}" for match in matches if match
    )


def docstring(what: Any) -> str:
    """What something's docstring says, as Markdown."""
    lines = (inspect.getdoc(what) or "").split("\n")
    parts: list[str] = []
    plain: list[str] = []
    while lines:
        line = lines.pop(0)
        if line.endswith(":") and line[:-1] in SECTIONS:
            parts += [*blocks(plain), f"**{'Arguments' if line == 'Args:' else line[:-1]}**"]
            plain, body = [], []
            while lines and (not lines[0].strip() or lines[0].startswith(" ")):
                body.append(lines.pop(0))
            parts.append(entries(body))
        else:
            plain.append(line)
    return "\n\n".join([*parts, *blocks(plain)])


def signature(name: str, what: Any) -> str:
    """A call of it, with types and defaults; one argument a line where it is long."""
    try:
        found = inspect.signature(what)
    except (TypeError, ValueError):
        return ""
    text = re.sub(r"'", "", str(found)) if "'" in str(found) and '"' not in str(found) else str(found)
    text = re.sub(r"<[\w.]*\.(\w+) object at 0x\w+>|<(?:class|function) '?([\w.]+)'?[^>]*>", r"\1\2", text)
    one = f"{name}{text}"
    if len(one) <= 96:
        return fenced(one, "python")
    arguments = [str(parameter) for parameter in found.parameters.values()]
    kinds = [parameter.kind for parameter in found.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        arguments.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    result = text[text.rfind(")") + 1 :]
    return fenced("\n".join([f"{name}(", *(f"    {one}," for one in arguments), f"){result}"]), "python")


def section(entry: Entry, level: int) -> str:
    """One name: anchor, heading, signature, text; of a class its own public methods, too."""
    short = entry.name.removeprefix("tg.")
    parts = [f"({anchor(entry.name)})=", f"{'#' * level} {escaped(short)}"]
    if not inspect.isclass(entry.what) or entry.what.__init__ is not object.__init__:
        parts.append(signature(entry.name, entry.what))
    parts.append(docstring(entry.what))
    if inspect.isclass(entry.what) and not issubclass(entry.what, BaseException):
        parts += [section(method, level + 1) for method in methods(entry)]
    return "\n\n".join(part for part in parts if part)


def methods(entry: Entry) -> Iterator[Entry]:
    """The public methods and properties of a class; those of a base are shown there, if it is public itself."""
    own = {
        name: what
        for one in reversed(entry.what.__mro__)
        if one is entry.what or (f"{one.__module__}.".startswith(OWN) and one not in _classes())
        for name, what in vars(one).items()
    }
    for name, what in sorted(own.items()):
        shown = what.fget if isinstance(what, property) else getattr(what, "__func__", what)
        if not name.startswith("_") and inspect.isfunction(shown) and inspect.getdoc(shown):
            yield Entry(f"{entry.name}.{name}", shown)


@cache
def _classes() -> frozenset[type]:
    found = (one.what for _, modules in PAGES.values() for module in modules for one in public(module))
    return frozenset(what for what in found if inspect.isclass(what))


def anchor(name: str) -> str:
    """What a name is linked by: capitals do not count in anchors, so that a class and a function of one name differ."""
    return "ref-" + "".join(f"{'-' if c.isupper() else ''}{c.lower()}" for c in name.removeprefix("tg."))


# Pages


def pages() -> dict[str, str]:
    """The text of each page, by its name."""
    result = {name: _module_page(title, modules) for name, (title, modules) in PAGES.items()}
    return result | {"ops": _ops_page(), "commands": _commands_page()}


def _module_page(title: str, modules: Sequence[str]) -> str:
    parts = [f"# {title}"]
    for prefix in modules:
        if len(modules) > 1:
            parts += [f"## {prefix}"]
        parts.append(escaped(inspect.getdoc(module_of(prefix)).split("\n\n")[0]))
        parts += [section(one, 3 if len(modules) > 1 else 2) for one in public(prefix)]
    return "\n\n".join(parts) + "\n"


def families() -> dict[str, list[Any]]:
    """The built-in ops by the package under `tinygraph_ops` that declares them."""
    from tinygraph.core.registry import BUILTIN_PACKAGE, registry

    found: dict[str, list[Any]] = {}
    for one in registry.all_ops():
        if one.package == BUILTIN_PACKAGE:
            home = _function(one).__module__
            found.setdefault(home.split(".")[1], []).append(one)
    return dict(sorted(found.items()))


def _function(one: Any) -> Any:
    return one.function if one.kind == "composite" else one.forward


def _ops_page() -> str:
    parts = [
        "# Ops",
        "All that a graph is made of, under `tg.ops`. Arguments before the star are operands, arrays that may carry "
        "gradients; those after it are settings. On arrays an op is a NumPy function; on tensors it is recorded.",
    ]
    for family, members in families().items():
        parts.append(f"## {family.replace('_', ' ').capitalize()}")
        parts += [_op(one) for one in sorted(members, key=lambda one: one.name)]
    return "\n\n".join(parts) + "\n"


def _op(one: Any) -> str:
    name = f"tg.ops.{one.name}"
    parts = [f"({anchor(name)})=", f"### {escaped(one.name)}", _op_signature(name, one)]
    if one.kind == "composite":
        facts = "Composed of other ops."
    else:
        facts = f"Kind: {one.kind}. Gradient rules: {', '.join(f'`{rule}`' for rule in one.rules) or 'none'}."
    return "\n\n".join([*parts, docstring(one), facts])


def _op_signature(name: str, one: Any) -> str:
    """Without types: operands are arrays or tensors, and the text says what settings are."""
    found = inspect.signature(_function(one))
    bare = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    return fenced(f"{name}{found.replace(parameters=bare, return_annotation=found.empty)}", "python")


def _commands_page() -> str:
    from tinygraph.cli.app import app

    text = app.generate_docs()
    text = re.sub(r"## Table of Contents\n.*?(?=\n\*\*)", "", text, flags=re.DOTALL)
    return re.sub(r"^# tinygraph$", "# Commands", text, count=1, flags=re.MULTILINE)


def names() -> dict[str, str]:
    """Every name of the reference -> its anchor."""
    found = [one for _, modules in PAGES.values() for module in modules for one in public(module)]
    found += [m for one in found if inspect.isclass(one.what) for m in methods(one)]
    found += [Entry(f"tg.ops.{one.name}", one) for members in families().values() for one in members]
    return {one.name: anchor(one.name) for one in found}
