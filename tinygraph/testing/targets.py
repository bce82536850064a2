"""What a checker is pointed at: an op's name, a file, a package that is installed, or a folder with one that is not.

Loads whatever it is, within a time limit; what to do with the ops is decided elsewhere.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

from tinygraph.core.op import Composite, Op
from tinygraph.core.registry import BUILTIN_PACKAGE, registry
from tinygraph.errors import PluginError
from tinygraph.packages.manifest import package_folders
from tinygraph.packages.time_limit import TimeLimit, limited_to

T = TypeVar("T")
DISTRIBUTION = "tinygraph-autodiff"


class Target(NamedTuple):
    """What is to be checked.

    Attributes:
        name: as it was asked for.
        ops: those it declares.
        folder: of the whole package, where a manifest and cards belong; None for a single op or file.
        fault: why a package could not be loaded; it then has no ops.
    """

    name: str
    ops: tuple[Op | Composite, ...]
    folder: Path | None = None
    fault: str = ""


def find_target(name: str, *, time_limit: float | None = None) -> Target:
    """Load what a name stands for.

    Args:
        name: of an op, an import package or a distribution; or a path to a file or folder.

    Raises:
        UnknownOpError, PluginError: there is no such thing, or it cannot be loaded, with file and line.
    """
    path = Path(name)
    if name.endswith(".py"):
        return Target(name, tuple(_in_time(name, lambda: registry.load_file(path), time_limit)))
    if path.is_dir() and not registry.is_builtin(name):
        return _folder(path, time_limit)
    package = _package_called(name)
    if package is not None:
        return _package(name, package, time_limit)
    return Target(name, (_in_time(name, lambda: registry.find(name), time_limit),))


def every_package(*, time_limit: float | None = None) -> list[Target]:
    """The built-in ops, and every installed package of ops; one that cannot be loaded says why."""
    found = [_package(BUILTIN_PACKAGE, BUILTIN_PACKAGE, time_limit)]
    for plugin in registry.plugins():
        try:
            found.append(_package(plugin.package, plugin.package, time_limit))
        except PluginError as error:
            found.append(Target(plugin.package, (), fault=str(error)))
    return found


def _package_called(name: str) -> str | None:
    """The import package that a name stands for, its own or its distribution's."""
    if name in (BUILTIN_PACKAGE, DISTRIBUTION):
        return BUILTIN_PACKAGE
    dashed = name.replace("_", "-").lower()
    for plugin in registry.plugins():
        if name == plugin.package or dashed == plugin.distribution.replace("_", "-").lower():
            return plugin.package
    return None


def _package(name: str, package: str, time_limit: float | None) -> Target:
    ops = _in_time(name, lambda: registry.load_package(package), time_limit)
    folder = next((place for place in package_folders(package) if (place / "__init__.py").is_file()), None)
    return Target(name, tuple(ops), folder)


def _folder(path: Path, time_limit: float | None) -> Target:
    """A package's own folder, or the project around it."""
    path = path.resolve()
    inside = [path] if (path / "__init__.py").is_file() else _packages_in(path)
    if len(inside) != 1:
        found = ", ".join(one.name for one in inside) or "none"
        raise PluginError(
            f"{path.name!r} must be a package, or a folder with one package of ops in it; found: {found}. "
            f"`tinygraph ops new NAME` makes one"
        )
    package = inside[0]
    sys.path.insert(0, str(package.parent))
    try:
        loaded = _package(path.name, package.name, time_limit)
    finally:
        sys.path.remove(str(package.parent))
    if loaded.folder is not None and loaded.folder.resolve() != package:
        raise PluginError(
            f"{package.name} was imported from another place than {path.name!r}: a package of that name is installed. "
            f"Check that one (tinygraph ops check {package.name}), or uninstall it"
        )
    return loaded


def _packages_in(path: Path) -> list[Path]:
    """The packages of a project folder, those of tests left out."""
    places = [*path.iterdir(), *(path / "src").glob("*")]
    return sorted(
        one for one in places if (one / "__init__.py").is_file() and not one.name.startswith("test")
    )


def _in_time(name: str, load: Callable[[], T], seconds: float | None) -> T:
    try:
        with limited_to(seconds):
            return load()
    except TimeLimit as limit:
        raise PluginError(f"{name} could not be loaded: its import hangs, {limit}") from None
