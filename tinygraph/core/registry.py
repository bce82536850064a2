"""The registry of ops and the namespace `tg.ops` that shows it.

Every op, built-in or not, comes in through the entry-point group `tinygraph.ops`: one entry a package, whose import
declares the package's ops. Nothing is imported before a name is asked for. A package that fails to import is rolled
back, reported once and skipped. Names of built-in ops are reserved; a name that two packages claim belongs to neither.
"""

from __future__ import annotations

import difflib
import importlib
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from importlib import metadata
from typing import TYPE_CHECKING, Any

from tinygraph.errors import NumpyFunctionError, PluginError, TinygraphWarning, UnknownOpError

if TYPE_CHECKING:
    from tinygraph.core.op import Composite, Op

    AnyOp = Op | Composite

ENTRY_POINT_GROUP = "tinygraph.ops"
BUILTIN_PACKAGE = "tinygraph_ops"
# Modules typed in by hand: running a cell again replaces the op it declared.
_INTERACTIVE = ("__main__", "builtins")


class Registry:
    """Which package declared which op, and which op stands for which NumPy function."""

    def __init__(self) -> None:
        self._claims: dict[str, list[AnyOp]] = {}
        self._numpy: dict[Any, tuple[AnyOp, Callable[..., Any]]] = {}
        self._lock = threading.RLock()
        # names already looked up; `Ops` keeps it as its __dict__, so that a known op costs one attribute access
        self.resolved: dict[str, Any] = {}
        self._builtin_loaded = False
        self._plugins_loaded = False

    def declare(self, op: AnyOp) -> None:
        """Enter a freshly decorated op under its name.

        Raises:
            PluginError: the name is a built-in op's, or declared twice by one package.
        """
        with self._lock:
            if op.package != BUILTIN_PACKAGE:
                self._load_builtin()
            claims = self._claims.setdefault(op.name, [])
            for other in claims:
                if other.package == op.package and op.package not in _INTERACTIVE and other.origin != op.origin:
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

    def stand_for(self, function: Any, op: AnyOp, adapter: Callable[..., Any]) -> None:
        """Let `op` answer calls of a NumPy function on tensors; `adapter` takes NumPy's own arguments.

        Raises:
            PluginError: another package's op already stands for the function.
        """
        with self._lock:
            known = self._numpy.get(function)
            if known is not None and known[0].package != op.package:
                raise PluginError(
                    f"op {op.name!r} of package {op.package!r} wants to stand for {numpy_name(function)}, which "
                    f"op {known[0].name!r} of package {known[0].package!r} already does"
                )
            self._numpy[function] = (op, adapter)

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
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UnknownOpError(
            f"there is no op called {name!r}{hint} `tinygraph ops list` shows every op; an op of an installed package "
            f"needs that package to declare the entry-point group {ENTRY_POINT_GROUP!r}"
        )

    def _claims_on(self, name: str) -> list[AnyOp]:
        claims = self._claims.get(name)
        if not claims:
            self._load_builtin()
            claims = self._claims.get(name)
        if not claims:
            self.load_plugins()
            claims = self._claims.get(name)
        return claims or []

    def numpy_call(self, function: Any) -> Callable[..., Any]:
        """What answers a NumPy function on tensors, taking NumPy's own arguments.

        Raises:
            NumpyFunctionError: no op stands for it.
        """
        found = self._numpy.get(function)
        if found is None:
            self._load_builtin()
            found = self._numpy.get(function)
        if found is None:
            self.load_plugins()
            found = self._numpy.get(function)
        if found is None:
            raise NumpyFunctionError(
                f"{numpy_name(function)} has no differentiable op, and tinygraph never drops a gradient silently. "
                f"Write it with ops that exist (`tinygraph ops list`), write an op for it (@tinygraph.plugin.op), "
                f"or, if no gradient is wanted, call it on tensor.detach().numpy()"
            )
        return found[1]

    def names(self) -> list[str]:
        """Every op name, sorted, built-in and of plugins."""
        self._load_builtin()
        self.load_plugins()
        return sorted(name for name, claims in self._claims.items() if claims)

    def all_ops(self) -> list[AnyOp]:
        """Every op and composite, sorted by name."""
        return [op for name in self.names() for op in self._claims[name]]

    def _load_builtin(self) -> None:
        if self._builtin_loaded:
            return
        with self._lock:
            if self._builtin_loaded:
                return
            self._builtin_loaded = True
            try:
                importlib.import_module(BUILTIN_PACKAGE)
            except BaseException:
                self._builtin_loaded = False
                raise

    def load_plugins(self) -> None:
        """Import every package of the entry-point group once; a faulty one is reported and skipped."""
        if self._plugins_loaded:
            return
        with self._lock:
            if self._plugins_loaded:
                return
            self._plugins_loaded = True
            found = metadata.entry_points(group=ENTRY_POINT_GROUP)
            for point in sorted(found, key=lambda point: (point.value, point.name)):
                if point.value != BUILTIN_PACKAGE:
                    self._load_plugin(point)

    def _load_plugin(self, point: metadata.EntryPoint) -> None:
        before = {name: list(claims) for name, claims in self._claims.items()}
        numpy_before = dict(self._numpy)
        try:
            point.load()
        except Exception as error:
            self._claims, self._numpy = before, numpy_before
            self.resolved.clear()
            place = traceback.extract_tb(error.__traceback__)[-1]
            package = point.dist.name if point.dist is not None else point.value
            warnings.warn(
                f"op package {package!r} could not be loaded and is skipped: {type(error).__name__}: {error} "
                f"({place.filename}:{place.lineno})",
                TinygraphWarning,
                stacklevel=2,
            )


def numpy_name(function: Any) -> str:
    """How users write a NumPy function: np.linalg.norm."""
    module = getattr(function, "__module__", None) or "numpy"
    return f"{module.replace('numpy', 'np', 1)}.{getattr(function, '__name__', function)}"


class Ops:
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
ops = Ops()
