"""Writing a new op's package or file: built beside its place and renamed, so that there is never half of it."""

from __future__ import annotations

import secrets
import shutil
from importlib.resources import files
from pathlib import Path
from string import Template

from tinygraph.errors import PluginError
from tinygraph.interop.atomic_files import replace_file
from tinygraph.packages.manifest import FILE_NAME, PLUGIN_API, Manifest
from tinygraph.scaffold.op_source import op_source
from tinygraph.scaffold.request import Request


def write_package(request: Request, path: Path | None = None) -> Path:
    """Write an installable package with the op, its tests and its manifest.

    Args:
        path: the folder to make; `tinygraph-NAME` by default.

    Returns:
        The folder.

    Raises:
        PluginError: it exists already; nothing is overwritten.
        OSError: it cannot be made; nothing is left behind.
    """
    folder = Path(request.distribution) if path is None else path
    _refuse_existing(folder)
    part = folder.absolute().with_name(f".{folder.name[:40]}.{secrets.token_hex(8)}.part")
    try:
        part.mkdir()
        for name, text in package_files(request).items():
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).write_text(text, encoding="utf-8")
        part.rename(folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    return folder


def write_file(request: Request, path: Path | None = None) -> Path:
    """Write the op alone, to be loaded with `tg.load_plugin` while it is developed.

    Raises:
        PluginError: the file exists already.
    """
    file = Path(f"{request.name}.py") if path is None else path
    if file.suffix != ".py":
        raise PluginError(f"{file} is no name for a Python file; it must end in .py")
    _refuse_existing(file)
    replace_file(file, lambda part: part.write_text(op_source(request), encoding="utf-8"))
    return file


def package_files(request: Request) -> dict[str, str]:
    """The whole package: path -> contents."""
    name, package = request.name, request.package
    source = op_source(request)
    formula = source.partition('    """')[2].partition('"""')[0]
    words = {
        "name": name,
        "package": package,
        "distribution": request.distribution,
        "api": str(PLUGIN_API),
        "formula": formula,
        "arguments": ", ".join(["np.array([0.5, 1.0, 1.5])"] * request.inputs),
    }
    return {
        "pyproject.toml": _template("pyproject.toml", words),
        "README.md": _template("README.md", words),
        ".gitignore": _template("gitignore", words),
        ".github/workflows/check.yml": _template("check.yml", words),
        f"{package}/__init__.py": _template("init.py", words),
        f"{package}/{name}.py": source,
        f"{package}/{FILE_NAME}": Manifest(PLUGIN_API, (name,), ()).text(),
        f"tests/test_{name}.py": _template("test.py", words),
    }


def _template(name: str, words: dict[str, str]) -> str:
    text = files("tinygraph.scaffold").joinpath("templates", f"{name}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(words)


def _refuse_existing(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise PluginError(
            f"{path} exists already, and nothing is overwritten; choose another place with --path"
        )
    if not path.absolute().parent.is_dir():
        raise PluginError(f"{path} cannot be made: there is no folder {path.absolute().parent}")
