"""What an op package says about itself without being imported: a small JSON file beside its `__init__.py`.

    tinygraph-ops.json    {"api": 1, "ops": ["rotary"], "numpy": ["numpy.sinc"]}

With it, names, collisions and NumPy overrides are known before any plugin is imported. `tinygraph ops new` writes the
file and `tinygraph ops check` compares it with what the package declares.
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tinygraph.errors import PluginError

if TYPE_CHECKING:
    from importlib import metadata

    from tinygraph.core.op import Composite, Op

# What `tinygraph.plugin` offers; raised when a plugin written for an older one would no longer work.
PLUGIN_API = 1
FILE_NAME = "tinygraph-ops.json"


class Manifest(NamedTuple):
    """The ops and NumPy functions of a package, and the plugin API it was written for."""

    api: int
    ops: tuple[str, ...]
    numpy: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, where: str) -> Manifest:
        """Read a manifest's text.

        Raises:
            PluginError: it is malformed, or written for another plugin API.
        """
        try:
            found = json.loads(text)
        except json.JSONDecodeError as error:
            raise PluginError(f"{where} is no JSON: {error}") from None
        keys = {"api", "ops", "numpy"}
        if not isinstance(found, dict) or not {"api", "ops"} <= found.keys() <= keys:
            raise PluginError(f'{where} must be {{"api": {PLUGIN_API}, "ops": [names], "numpy": [names]}}')
        lists = [found["ops"], found.get("numpy", [])]
        if not all(
            isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists
        ):
            raise PluginError(f'{where}: "ops" and "numpy" must be lists of names')
        check_api(found["api"], where)
        return cls(found["api"], *map(tuple, lists))

    @classmethod
    def of(cls, ops: Iterable[Op | Composite]) -> Manifest:
        """What a package that declares these ops has to say."""
        listed = list(ops)
        functions = {function for op in listed for function in op.numpy_functions}
        names = {f"{getattr(one, '__module__', None) or 'numpy'}.{one.__name__}" for one in functions}
        return cls(PLUGIN_API, tuple(sorted({op.name for op in listed})), tuple(sorted(names)))

    def text(self) -> str:
        """The file's contents."""
        return (
            json.dumps({"api": self.api, "ops": sorted(self.ops), "numpy": sorted(self.numpy)}, indent=2)
            + "\n"
        )


def check_api(api: Any, where: str) -> None:
    """Raise if a package was written for another plugin API than this one."""
    if api == PLUGIN_API:
        return
    newer = isinstance(api, int) and api > PLUGIN_API
    advice = "upgrade tinygraph-autodiff" if newer else "install a newer version of the package"
    raise PluginError(f"{where}: written for plugin API {api!r}, this tinygraph has {PLUGIN_API}; {advice}")


def package_folders(package: str) -> list[Path]:
    """Where an import package lies, without importing it; empty if there is none of that name."""
    try:
        spec = importlib.util.find_spec(package.partition(":")[0].partition(".")[0])
    except (ImportError, ValueError):
        return []
    return [Path(folder) for folder in (spec.submodule_search_locations or [])] if spec is not None else []


def manifest_path(package: str) -> Path | None:
    """Where a package's manifest is, or None if it has none; the package is not imported."""
    paths = (folder / FILE_NAME for folder in package_folders(package))
    return next((path for path in paths if path.is_file()), None)


def read_manifest(point: metadata.EntryPoint) -> Manifest | None:
    """The manifest of an entry point's package, or None if it has none."""
    path = manifest_path(point.value)
    if path is None:
        return None
    where = f"{path.parent.name}/{path.name}"
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise PluginError(f"{where} is no UTF-8 text: {error}") from None
    return Manifest.parse(text, where)
