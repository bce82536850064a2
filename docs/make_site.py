"""Build the documentation as a site: `python docs/renew.py site` (the extra `docs`), then open `build/site/index.html`.

The pages under `docs/` are Markdown that GitHub shows as it is. Here they are gathered with what the code gives -
reference, examples, pages that zoom - and Sphinx makes HTML of them, warnings being errors. Python blocks run while it
builds, so that what a page shows under them is what they print and draw now. Every link is then looked up on disk, and
nothing may be loaded from elsewhere: the site works offline, its search as well.
"""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import tomllib
from collections import defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

DOCS = Path(__file__).parent
ROOT = DOCS.parent
if str(DOCS) not in sys.path:
    sys.path.insert(0, str(DOCS))

import make_reference  # noqa: E402 - beside this file

# What the bar above every page leads to, and the pages under it.
CONTENTS = {
    "tutorials": ("Tutorials", (
        "tutorials/first_gradient", "tutorials/a_model_as_a_graph", "tutorials/the_article", "write_an_op", "compile",
        "debugging", "tutorials/pictures_for_a_paper", "parallel", "coming_from_pytorch", "coming_from_autograd",
        "coming_from_jax", "coming_from_mygrad",
    )),
    "how_to": ("How-to", ("drawing", "models", "model_files", "onnx", "numpy", "examples")),
    "concepts": ("Concepts", ("tape_graph_plan", "glossary", "architecture", "decisions", "contributing", "changelog")),
    "gallery_and_pages": ("Gallery", ("gallery", "pages")),
    "reference": ("Reference", tuple(f"reference/{name}" for name in (
        "tinygraph", "ops", "nn", "functional", "optim", "data", "training", "parallel", "plugin", "testing", "errors",
        "commands",
    ))),
}  # fmt: skip
STILL = {"gallery", "architecture", "decisions", "contributing", "changelog"}  # their blocks do not run here
FENCE = re.compile(r"^```(?P<language>\w+)[ ]*(?P<file>\S*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
NOTEBOOK = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n\n"
# What a block prints comes in one piece, at its end.
QUIET = "```{code-cell} python\n:tags: [remove-cell]\n\nimport sys\n\nsys.stdout.flush_interval = 3600\n```\n"
# Folders of the repository that pages link to, and where the site shows them.
ELSEWHERE = {
    "../examples/plugins": "examples.md",
    "../CONTRIBUTING.md": "contributing.md",
    "docs/": "",
    "(examples)": "(examples.md)",
}


# Gathering


def gather(source: Path) -> None:
    """Everything that Sphinx reads, in one folder."""
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for folder in ("images", "gallery", "tutorials/images"):
        shutil.copytree(DOCS / folder, source / folder)
    texts = {
        path.relative_to(DOCS).with_suffix("").as_posix(): path.read_text("utf-8")
        for path in DOCS.rglob("*.md")
    }
    texts |= {f"reference/{name}": text for name, text in make_reference.pages().items()}
    texts |= {
        name.lower(): (ROOT / f"{name}.md").read_text("utf-8") for name in ("CONTRIBUTING", "CHANGELOG")
    }
    texts |= {"examples": examples(), "pages": pages(source / "zooming")}
    texts |= {name: contents(name, title, below, texts) for name, (title, below) in CONTENTS.items()}
    texts["index"] += toctree(tuple(CONTENTS), hidden=True)
    names = make_reference.names()
    for name, text in texts.items():
        for old, new in ELSEWHERE.items():
            text = (
                text.replace(f"]({old}", f"]({new}")
                if not old.startswith("(")
                else text.replace(f"]{old}", f"]{new}")
            )
        text = notebook(text) if name not in STILL and "reference/" not in name else text
        path = source / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(linked(text, names), encoding="utf-8")


def toctree(below: tuple[str, ...], *, hidden: bool = False) -> str:
    options = ":hidden:\n" if hidden else ""
    return (
        f"\n```{{toctree}}\n:maxdepth: 1\n{options}\n" + "\n".join(f"/{name}" for name in below) + "\n```\n"
    )


def contents(name: str, title: str, below: tuple[str, ...], texts: dict[str, str]) -> str:
    """A page that leads to others, each with its first sentence."""
    lines = [f"# {title}\n"]
    for page in below:
        heading = re.search(r"^# (.+)$", texts[page], re.MULTILINE)
        lines.append(f"- [{heading[1] if heading else page}](/{page}.md)")
    return "\n".join(lines) + "\n" + toctree(below, hidden=True)


def linked(text: str, names: dict[str, str]) -> str:
    """The first mention of each public name on a page, such as `tg.draw`, leads to its place in the reference."""
    seen: set[str] = set()

    def link(found: re.Match[str]) -> str:
        name = found[1].removesuffix("()")
        name = name if name in names else f"tg.{name}"
        if name not in names or name in seen:
            return found[0]
        seen.add(name)
        return f"[{found[0]}](#{names[name]})"

    parts = re.split(r"(^```.*?^```$|^#.*$|\[[^\]]*\]\([^)]*\))", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(
        part if index % 2 else re.sub(r"(?<!`)`([a-z][\w.]*\w(?:\(\))?)`(?!`)", link, part)
        for index, part in enumerate(parts)
    )


def notebook(text: str) -> str:
    """A page whose Python blocks run, each with what it prints and draws under it.

    A block that is followed by its picture shows that one; a block that is a file is also written as that file.
    """
    if not any(found["language"] == "python" for found in FENCE.finditer(text)):
        return text

    head, line, rest = text.partition("\n")

    def cell(found: re.Match[str]) -> str:
        body = found["body"]
        if found["file"]:
            write = f"from pathlib import Path\n\nPath({found['file']!r}).write_text({body!r})\n"
            shown = found[0].replace(" " + found["file"], "", 1)
            return f"{shown}\n\n```{{code-cell}} python\n:tags: [remove-cell]\n\n{write}```"
        if found["language"] != "python":
            return found[0]
        followed = rest[found.end() :].lstrip().startswith(("![", "```output"))
        tags = ":tags: [remove-output]\n\n" if followed else ""
        return f"```{{code-cell}} python\n{tags}{body}```"

    return f"{NOTEBOOK}{head}{line}\n{QUIET}{FENCE.sub(cell, rest)}"


def examples() -> str:
    """The numbered examples, and the packages of ops, as one page."""
    parts = [
        "# Examples",
        "Programs to read and to run: `python examples/01_first_gradient.py`. The tests run each of them.",
    ]
    for path in sorted((ROOT / "examples").glob("[0-9]*.py")):
        text = path.read_text("utf-8")
        said = ast.get_docstring(ast.parse(text)) or path.stem
        parts += [f"## {path.stem[3:].replace('_', ' ').capitalize()}", said, f"`examples/{path.name}`:"]
        code = text.split('"""', 2)[2].strip("\n")
        parts.append(f"```py\n{code}\n```")
    parts += [
        "## Packages of ops",
        "Each is a distribution that `pip install` brings in, under `examples/plugins`:",
    ]
    for folder in sorted((ROOT / "examples" / "plugins").iterdir()):
        if (folder / "pyproject.toml").exists():
            said = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]["description"]
            parts.append(f"- `{folder.name}`: {said}")
    return "\n\n".join(parts) + "\n"


def pages(folder: Path) -> str:
    """Pages that zoom, drawn now, and the page that leads to them."""
    from site_pages import PAGES  # beside this file

    folder.mkdir(parents=True)
    parts = ["# Pages that zoom", "Each is one file that works offline: scroll to go in, `?` shows the keys."]
    for name, make in PAGES.items():
        drawing = make()
        drawing.save(folder / f"{name}.html")
        (folder / f"{name}.svg").write_text(drawing.svg(), encoding="utf-8")
        title, _, rest = (make.__doc__ or name).partition(": ")
        parts += [f"## {title}", rest, f'<a class="page" href="zooming/{name}.html">Open {title}</a>']
    return "\n\n".join(parts) + "\n"


# Building and looking


def build(source: Path, target: Path) -> None:
    """HTML of the folder, with warnings as errors, and the pages that zoom beside it."""
    shutil.rmtree(target, ignore_errors=True)
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-b",
        "html",
        "-W",
        "--keep-going",
        "-q",
        "-j",
        "2",
        "-c",
        str(DOCS / "site"),
    ]
    run = subprocess.run(
        [*command, "-d", f"{target}-trees", str(source), str(target)],
        capture_output=True,
        text=True,
        check=False,
    )
    said = [
        line
        for line in (run.stdout + run.stderr).splitlines()
        if line.strip() and "Kernel is running over TCP" not in line
    ]
    if run.returncode:
        sys.exit("\n".join([*said, "the site has warnings"]))
    shutil.copytree(source / "zooming", target / "zooming")


class _Page(HTMLParser):
    """The anchors of a page, where it leads, and what it loads."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        elif tag == "link" and values.get("rel") not in ("canonical",):
            self.loaded.append(values["href"])
        elif "src" in values:
            self.loaded.append(values["src"])


def problems(target: Path) -> list[str]:
    """Links that lead nowhere, and what would be loaded from elsewhere."""
    read: dict[Path, _Page] = {}
    for path in target.rglob("*.html"):
        read[path] = _Page()
        if path.parent.name not in ("zooming", "_static"):  # those hold no links, or are a theme's templates
            read[path].feed(path.read_text("utf-8"))
    found = defaultdict(list)
    for path, page in read.items():
        here = path.relative_to(target).as_posix()
        for link in {*page.links, *page.loaded}:
            parts = urlsplit(link)
            if parts.scheme in ("data", "mailto") or (parts.scheme and link in page.links):
                continue
            if parts.scheme or parts.netloc:
                found[f"{here} loads {link}"].append(here)
                continue
            there = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            there = there / "index.html" if there.is_dir() else there
            if not there.exists():
                found[f"{here}: nothing is at {link}"].append(here)
            elif parts.fragment and there in read and unquote(parts.fragment) not in read[there].anchors:
                found[f"{here}: {there.name} has no anchor #{parts.fragment}"].append(here)
    return sorted(found)


def main() -> None:
    folder = ROOT / "build"
    source, target = folder / "site-source", folder / "site"
    gather(source)
    build(source, target)
    found = problems(target)
    if found:
        sys.exit("\n".join(found))
    print(f"  {sum(1 for _ in target.rglob('*.html'))} pages: {(target / 'index.html').relative_to(ROOT)}")


if __name__ == "__main__":
    main()
