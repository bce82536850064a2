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
# Nobody writes more; what does is refused before it takes time and memory from every program that uses tinygraph.
MAX_BYTES = 1 << 20
MAX_NAMES = 10_000


class Manifest(NamedTuple):
    """The ops and NumPy functions of a package, and the plugin API it was written for."""

    api: int
    ops: tuple[str, ...]
    numpy: tuple[str, ...]

    @classmethod
    def parse(cls, text: str, where: str) -> Manifest:
        """Read a manifest's text.

        Raises:
            PluginError: it is malformed, lists what cannot be a name, or is written for another plugin API.
        """
        try:
            found = json.loads(text, object_pairs_hook=_without_repeats)
        except (
            ValueError,
            RecursionError,
        ) as error:  # also of numbers with too many digits, and of nested brackets
            raise PluginError(f"{where} is no JSON: {error}") from None
        keys = {"api", "ops", "numpy"}
        if not isinstance(found, dict) or not {"api", "ops"} <= found.keys() <= keys:
            raise PluginError(f'{where} must be {{"api": {PLUGIN_API}, "ops": [names], "numpy": [names]}}')
        check_api(found["api"], where)
        ops, numpy = (_names(found.get(key, []), f'{where}: "{key}"') for key in ("ops", "numpy"))
        dotted = next((name for name in ops if "." in name), None)
        if dotted is not None:
            raise PluginError(f'{where}: "ops" lists {shown(dotted)}, but an op\'s name has no dots')
        return cls(found["api"], ops, numpy)

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


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; one that has a key twice means nothing certain."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _names(listed: object, where: str) -> tuple[str, ...]:
    """A list of names, each once; those of NumPy functions have dots."""
    if not isinstance(listed, list) or not all(isinstance(name, str) for name in listed):
        raise PluginError(f"{where} must be a list: lists of names are all that a manifest holds")
    if len(listed) > MAX_NAMES:
        raise PluginError(f"{where} lists {len(listed)} names; at most {MAX_NAMES} are allowed")
    seen = set()
    for name in listed:
        if not all(part.isidentifier() for part in name.split(".")):
            raise PluginError(f"{where} lists {shown(name)}, which is no name: letters, digits and _")
        if name in seen:
            raise PluginError(f"{where} lists {shown(name)} twice")
        seen.add(name)
    return tuple(listed)


def shown(value: object) -> str:
    """What a stranger wrote, short and on one line, control characters as escapes."""
    text = ascii(value) if isinstance(value, str) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_api(api: object, where: str) -> None:
    """Raise if a package was written for another plugin API than this one."""
    if type(api) is int and api == PLUGIN_API:  # True is no version
        return
    newer = type(api) is int and api > PLUGIN_API
    advice = "upgrade tinygraph-autodiff" if newer else "install a newer version of the package"
    raise PluginError(
        f"{where}: written for plugin API {shown(api)}, this tinygraph has {PLUGIN_API}; {advice}"
    )


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
    return Manifest.parse(read_text(path), f"{path.parent.name}/{path.name}")


def read_text(path: Path) -> str:
    """The text of a file that a package ships.

    Raises:
        PluginError: it is too large, or no UTF-8 text.
        OSError: it cannot be read.
    """
    where = f"{path.parent.name}/{path.name}"
    with path.open("rb") as file:
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise PluginError(f"{where} is larger than {MAX_BYTES >> 20} MiB")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PluginError(f"{where} is no UTF-8 text: {error}") from None
