"""The registry of ops and the namespace `tg.ops` that shows it.

Every op, built-in or not, comes in through the entry-point group `tinygraph.ops`: one entry a package, whose import
declares the package's ops. Nothing is imported before a name is asked for: a package with a manifest (`manifest.py`)
when one of its own names is, a package without one on the first name that nobody knows. A faulty package is rolled
back, reported once and skipped. Built-in names are reserved; a name that two packages claim belongs to neither.

No lock is held while a package is imported: Python's own import locks keep threads apart there, and a package that asks
for ops while it is imported, or starts a thread that does, finds every other op.
"""

from __future__ import annotations

import difflib
import dis
import importlib
import importlib.machinery
import importlib.util
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tinygraph.core.locks import Lock, at_fork
from tinygraph.errors import NumpyFunctionError, PluginError, TinygraphWarning, UnknownOpError
from tinygraph.packages.manifest import Manifest, check_api, read_manifest, shown
from tinygraph.packages.op_signatures import BuiltinOps
from tinygraph.packages.time_limit import TimeLimit, limited_to

if TYPE_CHECKING:
    from importlib import metadata

    from tinygraph.core.op import Composite, Op

AnyOp: TypeAlias = "Op | Composite"

ENTRY_POINT_GROUP = "tinygraph.ops"
BUILTIN_PACKAGE = "tinygraph_ops"
# Modules typed in by hand: running a cell again replaces the op it declared.
_INTERACTIVE = ("__main__", "builtins")
IMPORT_SECONDS = 60.0  # what takes longer to import hangs


def _name_of(distribution: metadata.Distribution) -> str | None:
    """What a distribution's metadata calls it; a broken file may call it nothing."""
    said = distribution.metadata
    return said["Name"] if "Name" in said else None  # noqa: SIM401 - its type has no `get`


class Plugin:
    """An installed op package: its entry point and manifest, and whether it has been imported."""

    def __init__(self, point: metadata.EntryPoint) -> None:
        self.point = point
        self.package = point.value.partition(":")[0].partition(".")[0].strip()
        named = _name_of(point.dist) if point.dist is not None else None
        # as it is shown to people: a file of metadata may hold anything
        self.distribution = _printable(named or self.package)
        self.version = _printable(point.dist.version or "") if named and point.dist is not None else ""
        self.manifest: Manifest | None = None
        self.imported = False
        self.importing: set[int] = set()  # the threads that are about it
        self.fault: str | None = None

    @property
    def pending(self) -> bool:
        """Whether importing it may still bring something; not to the thread that is importing it already."""
        return not self.imported and self.fault is None and threading.get_ident() not in self.importing


class Registry:
    """Which package declared which op, and which op stands for which NumPy function."""

    def __init__(self) -> None:
        self._claims: dict[str, list[AnyOp]] = {}
        self._numpy: dict[Any, tuple[AnyOp, Callable[..., Any] | None]] = {}
        # ufunc -> the op that answers it as it is, once it was asked for
        self.ufuncs: dict[np.ufunc, AnyOp] = {}
        self._lock = Lock()
        # names already looked up; `Ops` keeps it as its __dict__, so that a known op costs one attribute access
        self.resolved: dict[str, Any] = {}
        self._builtin_loaded = False
        self._builtin_loading: set[int] = set()
        self._plugins: list[Plugin] | None = None

    def declare(self, op: AnyOp) -> None:
        """Enter a freshly decorated op under its name.

        Raises:
            PluginError: the name is none, a built-in op's, or declared twice by one package.
        """
        if not str(op.name).isidentifier():
            raise PluginError(
                f"{shown(op.name)} at {op.origin} cannot be an op's name: letters, digits and _, "
                f"as in Python code"
            )
        if op.package != BUILTIN_PACKAGE:
            self._load_builtin()
        with self._lock.held:
            claims = self._claims.setdefault(op.name, [])
            for other in claims:
                if (
                    other.package == op.package
                    and op.package not in _INTERACTIVE
                    and other.origin != op.origin
                ):
                    raise PluginError(
                        f"package {op.package!r} declares op {op.name!r} twice: at {other.origin} and at {op.origin}; "
                        f"rename one"
                    )
                if other.package == BUILTIN_PACKAGE != op.package:
                    raise PluginError(
                        f"op {op.name!r} at {op.origin}: the name belongs to a built-in op and is reserved; "
                        f"choose another, for example {op.package}_{op.name}"
                    )
            claims[:] = [other for other in claims if other.package != op.package]
            claims.append(op)
            self.resolved.pop(op.name, None)

    def stand_for(self, function: object, op: AnyOp, adapter: Callable[..., Any] | None = None) -> None:
        """Let `op` answer calls of a NumPy function on tensors; `adapter` takes NumPy's own arguments.

        Without one, NumPy's arguments are the op's operands and settings; `tinygraph.numpy` makes the adapter.

        Raises:
            PluginError: another package's op already stands for the function.
        """
        with self._lock.held:
            known = self._numpy.get(function)
            if known is not None and known[0].package != op.package:
                raise PluginError(
                    f"op {op.name!r} of package {op.package!r} wants to stand for {numpy_name(function)}, which "
                    f"op {known[0].name!r} of package {known[0].package!r} already does"
                )
            self._numpy[function] = (op, adapter)
            self.ufuncs.pop(function, None)  # type: ignore[call-overload]

    def find(self, name: str) -> AnyOp:
        """The op called `name`, or `"package:name"`.

        Raises:
            UnknownOpError: no such op, with the nearest names.
            PluginError: two packages claim the name.
        """
        package, _, short = name.rpartition(":")
        claims = self._claims_on(short)
        if package:
            claims = [op for op in claims if package in (op.package, op.distribution)]
        if len(claims) == 1:
            return claims[0]
        if claims:
            listed = " and ".join(f"{op.package!r} ({op.origin})" for op in claims)
            raise PluginError(
                f"op name {short!r} is claimed by packages {listed}; ask for one of them by its qualified name: "
                + " or ".join(f'tg.ops["{op.package}:{short}"]' for op in claims)
            )
        near = difflib.get_close_matches(short, self.names(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else "."
        raise UnknownOpError(
            f"there is no op called {name!r}{hint} `tinygraph ops list` shows every op; an op of an installed package "
            f"needs that package to declare the entry-point group {ENTRY_POINT_GROUP!r}"
        )

    def _claims_on(self, name: str) -> list[AnyOp]:
        """The ops of that name, after importing whatever may declare one."""
        self._load_builtin()
        claims = self._claims.get(name, [])
        if any(op.package == BUILTIN_PACKAGE for op in claims):
            return claims
        self._import(plugin for plugin in self.plugins() if plugin.manifest and name in plugin.manifest.ops)
        if not self._claims.get(name):
            self._import(plugin for plugin in self.plugins() if plugin.manifest is None)
        return self._claims.get(name, [])

    def standing_for(self, function: object) -> tuple[AnyOp, Callable[..., Any] | None]:
        """The op that stands for a NumPy function, and its adapter, as `stand_for` was told.

        Raises:
            NumpyFunctionError: no op stands for it.
        """
        found = self.stands(function)
        if found is None:
            raise NumpyFunctionError(
                f"{numpy_name(function)} has no differentiable op, and tinygraph never drops a gradient silently. "
                f"Write it with ops that exist (`tinygraph ops list`), write an op for it (@tinygraph.plugin.op), "
                f"or, if no gradient is wanted, call it on tensor.detach().numpy()"
            )
        return found

    def stands(self, function: object) -> tuple[AnyOp, Callable[..., Any] | None] | None:
        """What `standing_for` answers, or None."""
        found = self._numpy.get(function)
        if (
            found is None or not self._builtin_loaded
        ):  # what another thread is just importing has no rules yet
            self._load_builtin()
            name = f"{getattr(function, '__module__', None) or 'numpy'}.{getattr(function, '__name__', '')}"
            if function not in self._numpy:
                self._import(
                    plugin for plugin in self.plugins() if plugin.manifest and name in plugin.manifest.numpy
                )
            if function not in self._numpy:
                self._import(plugin for plugin in self.plugins() if plugin.manifest is None)
            found = self._numpy.get(function)
        return found

    def declared(self, name: str) -> AnyOp | None:
        """The op that was declared under this name so far, if any; imports nothing."""
        claims = self._claims.get(name)
        return claims[0] if claims else None

    def names(self) -> list[str]:
        """Every op name, sorted, built-in and of plugins; packages with a manifest are not imported for it."""
        self._load_builtin()
        self._import(plugin for plugin in self.plugins() if plugin.manifest is None)
        listed = {
            name
            for plugin in self.plugins()
            if plugin.pending and plugin.manifest
            for name in plugin.manifest.ops
        }
        return sorted(listed | {name for name, claims in self._claims.items() if claims})

    def all_ops(self) -> list[AnyOp]:
        """Every op and composite, sorted by name."""
        self._import(self.plugins())
        return [op for name in self.names() for op in self._claims.get(name, [])]

    def plugins(self) -> list[Plugin]:
        """Every installed op package but the built-in one, sorted; found once, not imported."""
        if self._plugins is None:
            self._load_builtin()
            faults: list[tuple[Plugin, str]] = []
            unreadable: list[str] = []
            with self._lock.held:
                if self._plugins is None:  # or another thread found them, while this one waited
                    points = _entry_points(unreadable)
                    found = [Plugin(point) for point in sorted(points, key=lambda one: (one.value, one.name))]
                    found = [plugin for plugin in found if plugin.package != BUILTIN_PACKAGE]
                    for plugin in found:
                        fault = self._read_manifest(plugin)
                        if fault:
                            plugin.fault = fault
                            faults.append((plugin, fault))
                    self._plugins = found
            for text in unreadable:
                _warn(text)
            for plugin, fault in faults:
                self._tell(plugin, fault)
        return self._plugins

    def _read_manifest(self, plugin: Plugin) -> str:
        """Read what a package says of itself; what is wrong with it, in words."""
        try:
            plugin.manifest = read_manifest(plugin.point)
        except (PluginError, OSError) as error:
            return str(error)
        taken = [name for name in plugin.manifest.ops if self.is_builtin(name)] if plugin.manifest else []
        if taken:
            return f"it claims {', '.join(map(repr, taken))}, reserved for built-in ops; rename there"
        return ""

    def is_builtin(self, name: str) -> bool:
        """Whether a name belongs to a built-in op, and so to nobody else."""
        self._load_builtin()
        return any(op.package == BUILTIN_PACKAGE for op in self._claims.get(name, []))

    def _load_builtin(self) -> None:
        # By name and not by its entry point: reading every installed package's metadata takes longer than the import.
        me = threading.get_ident()
        if self._builtin_loaded or me in self._builtin_loading:  # a built-in module asks for an op of another
            return
        self._builtin_loading.add(me)
        try:
            importlib.import_module(BUILTIN_PACKAGE)  # waits for another thread that is about it
            self._builtin_loaded = True
        finally:
            self._builtin_loading.discard(me)

    def wait(self) -> None:
        """Before a fork: let other threads' imports end, whose halves would be all that the child ever gets."""
        me = threading.get_ident()
        while self._builtin_loading - {me} or any(one.importing - {me} for one in self._plugins or ()):
            time.sleep(0.001)
        self._lock.held.acquire()

    def go_on(self) -> None:
        """After it, in the parent; the child has new locks."""
        self._lock.held.release()

    def _import(self, plugins: Iterable[Plugin]) -> None:
        """Import packages; a faulty one leaves nothing behind but its report."""
        me = threading.get_ident()
        for plugin in list(plugins):
            if not plugin.pending:  # or the import of one before it brought it
                continue
            plugin.importing.add(me)
            before = self._declared_by(plugin.package)
            try:
                with limited_to(IMPORT_SECONDS):
                    module = plugin.point.load()
                if _half_imported(
                    plugin.package
                ):  # its own import asked for an op; it goes on when this returns
                    continue
                self._check_imported(plugin, module)
                plugin.imported = True
            except BaseException as error:
                self._forget(plugin.package, before)
                if _interrupted(error):
                    raise
                self._report(plugin, _told(error))
            finally:
                plugin.importing.discard(me)

    def _check_imported(self, plugin: Plugin, module: object) -> None:
        if hasattr(module, "TINYGRAPH_API"):
            check_api(module.TINYGRAPH_API, plugin.package)
        declared = {op.name for op in self._declared_by(plugin.package)}
        if not declared:
            raise PluginError(
                "its import declared no op; decorate its forward functions with @tinygraph.plugin.op"
            )
        missing = sorted(set(plugin.manifest.ops) - declared) if plugin.manifest else []
        if missing:
            raise PluginError(
                f"its manifest lists {', '.join(missing)}, which its import does not declare; "
                f"`tinygraph ops check {plugin.package} --write-manifest` renews the manifest"
            )

    def _report(self, plugin: Plugin, fault: str) -> None:
        with self._lock.held:
            known, plugin.fault = plugin.fault, fault
        if known is None:
            self._tell(plugin, fault)

    def _tell(self, plugin: Plugin, fault: str) -> None:
        _warn(f"op package {plugin.distribution!r} could not be loaded and is skipped: {fault}")

    def _forget(self, package: str, kept: list[AnyOp]) -> None:
        """Take back what a package declared, but for the ops in `kept`. What others declared meanwhile stays."""
        with self._lock.held:
            gone = {id(op): op for op in self._declared_by(package)}
            for op in kept:
                gone.pop(id(op), None)
            for claims in self._claims.values():
                claims[:] = [op for op in claims if id(op) not in gone]
            self._numpy = {key: found for key, found in self._numpy.items() if id(found[0]) not in gone}
            self._look_up_again()

    def _look_up_again(self) -> None:
        """Let go of what was looked up: a name or ufunc may stand for another op now."""
        self.resolved.clear()
        self.ufuncs.clear()

    def _snapshot(self) -> tuple[dict[str, list[AnyOp]], dict[Any, Any]]:
        return {name: list(claims) for name, claims in self._claims.items()}, dict(self._numpy)

    def _restore(self, before: tuple[dict[str, list[AnyOp]], dict[Any, Any]]) -> None:
        self._claims, self._numpy = before
        self._look_up_again()

    def load_file(self, path: str | Path) -> list[AnyOp]:
        """Import one file and return the ops it declares; loading it again replaces them.

        Raises:
            PluginError: the file cannot be imported, or declares no op; nothing of it stays.
        """
        path = Path(path).resolve()
        if not path.is_file():
            raise PluginError(f"no op file at {path.name!r}: there is no such file")
        name = path.stem
        known = sys.modules.get(name)
        if known is not None and getattr(known, "__file__", None) != str(path):
            name = f"{name}_ops"  # an installed module has the file's name
        with self._lock.held:
            self._load_builtin()
            before = self._snapshot()
            for claims in self._claims.values():
                claims[:] = [op for op in claims if op.package != name]
            self._numpy = {
                function: found for function, found in self._numpy.items() if found[0].package != name
            }
            self._look_up_again()
            try:
                _execute(name, path)
                declared = self._declared_by(name)
                if not declared:
                    raise PluginError(
                        f"{path.name} declares no op; decorate its forward with @tinygraph.plugin.op"
                    )
            except BaseException as error:
                self._restore(before)
                if isinstance(error, PluginError | TimeLimit) or _interrupted(error):
                    raise
                raise PluginError(f"{path.name} could not be loaded: {_told(error)}") from error
        return declared

    def load_package(self, package: str) -> list[AnyOp]:
        """Import a package and return the ops it declares, whatever its manifest says.

        Raises:
            PluginError: it cannot be imported, or declares no op; nothing of it stays.
        """
        with self._lock.held:
            self._load_builtin()
            before = self._snapshot()
            try:
                importlib.import_module(package)
                declared = self._declared_by(package)
                if not declared and package in sys.modules:  # imported before, and then rolled back
                    for name in [name for name in sys.modules if f"{name}.".startswith(f"{package}.")]:
                        del sys.modules[name]
                    importlib.import_module(package)
                    declared = self._declared_by(package)
            except BaseException as error:
                self._restore(before)
                if isinstance(error, TimeLimit) or _interrupted(error):
                    raise
                raise PluginError(f"package {package!r} could not be imported: {_told(error)}") from error
        if not declared:
            raise PluginError(
                f"package {package!r} declares no op; decorate its forwards with @tinygraph.plugin.op"
            )
        return declared

    def _declared_by(self, package: str) -> list[AnyOp]:
        return [op for _, claims in sorted(self._claims.items()) for op in claims if op.package == package]


class _AsWritten(importlib.machinery.SourceFileLoader):
    """Compiles a file as it is now: kept bytecode is told from it by size and seconds, and somebody is editing it."""

    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.get_data(self.path), self.path)


def _execute(name: str, path: Path) -> ModuleType:
    """Run a file as the module `name`."""
    spec = importlib.util.spec_from_file_location(name, path, loader=_AsWritten(name, str(path)))
    if spec is None or spec.loader is None:
        raise PluginError(f"{path.name} is no Python file")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if before is None:
            del sys.modules[name]
        else:
            sys.modules[name] = before
        raise
    return module


def _entry_points(unreadable: list[str]) -> list[metadata.EntryPoint]:
    """The entry points of op packages; a distribution whose metadata cannot be read costs nobody else's."""
    from importlib import metadata  # 20 ms, and only needed for names that are not built in

    try:
        return list(metadata.entry_points(group=ENTRY_POINT_GROUP))
    except Exception:  # noqa: BLE001 - whatever the standard library makes of a broken file; below it is found
        pass
    found: dict[str, list[metadata.EntryPoint]] = {}
    for distribution in metadata.distributions():
        place = shown(str(getattr(distribution, "_path", "a distribution")))
        try:
            name = _name_of(distribution) or place
            # the first of a name on the path is the one that is installed, as for `import`
            found.setdefault(name, list(distribution.entry_points.select(group=ENTRY_POINT_GROUP)))
        except Exception as error:  # noqa: BLE001
            unreadable.append(f"the entry points of {place} cannot be read and are skipped: {_told(error)}")
    return [point for points in found.values() for point in points]


def _warn(text: str) -> None:
    warnings.warn(text, TinygraphWarning, stacklevel=2)


def _printable(text: str) -> str:
    """Text without what a terminal would obey."""
    return text if text.isprintable() else shown(text)


def _told(error: BaseException) -> str:
    """What a module raised, in one line: class, message, and where."""
    text = str(error)
    text = text if text.isprintable() else ascii(text)[1:-1]
    return f"{type(error).__name__}: {text[:400]} ({_raised_at(error)})"


def _half_imported(package: str) -> bool:
    """Whether a package's import has begun and not ended."""
    spec = getattr(sys.modules.get(package), "__spec__", None)
    return bool(getattr(spec, "_initializing", False))


def _interrupted(error: BaseException) -> bool:
    """Whether the user pressed Ctrl-C: a KeyboardInterrupt that no `raise` of the module's own made."""
    if type(error) is not KeyboardInterrupt:
        return False
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None:
        return True
    return dis.opname[trace.tb_frame.f_code.co_code[trace.tb_lasti]] != "RAISE_VARARGS"


def _raised_at(error: BaseException) -> str:
    """File and line that raised: of a syntax error the faulty line itself."""
    if isinstance(error, SyntaxError):
        return f"{Path(error.filename or '?').name}:{error.lineno}"
    places = traceback.extract_tb(error.__traceback__)
    own = [place for place in places if not place.filename.startswith("<")]
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "unknown line"


def load_plugin(path: str | Path) -> list[Any]:
    """Load the ops of a single file, while developing them; they are then in `tg.ops`.

    Loading the same file again replaces them. Installed packages need no call: they are found by their entry point.

    Raises:
        PluginError: naming the file and line at fault.
    """
    return registry.load_file(path)


def numpy_name(function: object) -> str:
    """How users write a function: np.linalg.norm, scipy.special.erf."""
    name = getattr(function, "__name__", str(function))
    if isinstance(function, np.ufunc):  # which does not say where it is from
        special = sys.modules.get("scipy.special")
        own = getattr(np, name, None) is not function and special is not None
        return f"scipy.special.{name}" if own and getattr(special, name, None) is function else f"np.{name}"
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np', 1)}.{name}"


class Ops(BuiltinOps):
    """The namespace of ops: `tg.ops.sin`, or `tg.ops["package:sin"]` where two packages claim a name."""

    def __init__(self) -> None:
        self.__dict__ = registry.resolved

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        found = self.__dict__[name] = registry.find(name)
        return found

    def __getitem__(self, name: str) -> Any:
        return registry.find(name)

    def __contains__(self, name: object) -> bool:
        return name in registry.names()

    def __iter__(self) -> Iterator[str]:
        return iter(registry.names())

    def __dir__(self) -> list[str]:
        return registry.names()

    def __repr__(self) -> str:
        return f"<{len(registry.names())} ops; `tinygraph ops list` shows them>"


registry = Registry()
at_fork(before=registry.wait, after_in_parent=registry.go_on)
ops = Ops()
