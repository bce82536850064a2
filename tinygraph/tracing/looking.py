"""Looking at Python's state while a function is captured: variables, attributes and what is inside of containers.

What is met becomes a fact (`facts.py`). Only what was there before the capture is looked at, and of objects only the
attributes that some function that ran reads; nothing is called on the way.
"""

from __future__ import annotations

import collections
import gc
import io
import os
import random
import sys
import sysconfig
import threading
import weakref
from array import array
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, ValuesView
from contextvars import ContextVar
from functools import cached_property, lru_cache, partial
from operator import attrgetter, methodcaller
from types import (
    BuiltinMethodType,
    CodeType,
    FrameType,
    FunctionType,
    GeneratorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any

import numpy as np

from tinygraph.core.source import is_library
from tinygraph.core.tensor import Handle
from tinygraph.tracing.facts import (
    MISSING,
    Contents,
    Elements,
    Entries,
    Holding,
    Items,
    Members,
    Progress,
    Remembered,
    Text,
    is_atom,
)
from tinygraph.tracing.host import Host

_WRAPPERS = (collections.UserDict, collections.UserList, collections.ChainMap, os._Environ)
_CACHED: Any = type(lru_cache(len))  # what `cache` and `lru_cache` make
_UNSEEN = (Handle, np.dtype)  # what other guards watch, and what cannot change
_FOREIGN = frozenset({"numpy", "scipy", "llvmlite"})
_PATHS = tuple(
    os.path.join(os.path.realpath(sysconfig.get_path(name)), "") for name in ("stdlib", "platstdlib")
)


class _Watched(dict[str, bool]):
    """File name -> whether its functions are looked into, worked out once for each file."""

    def __missing__(self, filename: str) -> bool:
        found = self[filename] = _is_watched(filename)
        return found


def _is_watched(filename: str) -> bool:
    if is_library(filename) or filename.startswith("<frozen "):
        return False
    path = os.path.realpath(filename)
    for packages in ("site-packages", "dist-packages"):
        _, found, rest = path.partition(os.sep + packages + os.sep)
        if found:
            return rest.partition(os.sep)[0].partition(".")[0] not in _FOREIGN
    return not path.startswith(_PATHS)


is_watched = _Watched().__getitem__


class Reach:
    """What a capture in progress has met of Python's state.

    Attributes:
        places: the places that were read, each with the id of the object it belongs to.
        contents: the containers and arrays that were read.
        references: weak references that were read, with their names.
        host: random numbers and clocks.
        generators: generators that are in the middle of their work, by the id of their frame, with their names.
        line: the user's line that reads at present.
    """

    def __init__(self) -> None:
        self.places: list[tuple[int, Holding]] = []
        self.contents: list[Contents] = []
        self.references: list[tuple[str, weakref.ref[Any]]] = []
        self.host = Host()
        self.generators: dict[int, tuple[FrameType, str]] = {}
        self.line = ""
        # what is known, by id: the object, what it is called, and the attributes that were looked at
        self._known: dict[int, tuple[Any, str, set[str]]] = {}
        # of those, what may have attributes of the user's, by id
        self._bearers: dict[int, Any] = {}
        self._loose: set[str] = set()
        self._any_attribute = False
        self._behind = False
        self._ran: set[CodeType] = set()
        self._functions: dict[CodeType, list[FunctionType]] = {}
        self._noted: set[tuple[int, Any]] = set()  # by ids of owners, which the places hold
        # what a class holds where an object holds nothing
        self._seen_through: dict[tuple[int, Any], Any] = {}
        self._unlocated: dict[int, Contents] = {}  # met before any code that reads it

    def knows(self, number: int) -> bool:
        """Whether the object with an id was met."""
        return number in self._known

    def libraries(self) -> set[str]:
        """The names of the libraries, not the user's modules, that what was met belongs to."""
        found = set()
        for value, _, _ in self._known.values():
            name: Any = value.__name__ if isinstance(value, ModuleType) else type(value).__module__
            if isinstance(value, FunctionType | type):
                name = value.__module__
            if isinstance(name, str) and not is_own_module(name):
                found.add(name.partition(".")[0])
        return found

    def runs(self, code: CodeType, made_here: bool) -> None:
        """Look at the closures and defaults of the functions with a code that runs.

        Args:
            code: what runs.
            made_here: whether a function that ran makes it, so that its closure is the program's own.
        """
        known = self._functions.get(code, [])
        if not known and code.co_freevars and not made_here:
            known = [one for one in gc.get_referrers(code) if isinstance(one, FunctionType)]
        self._ran.add(code)
        for function in known:
            self._expand(function)

    def visit(self, value: object, words: str) -> None:
        """Look at a value that was there before: inside of containers and functions, and at read attributes."""
        if id(value) in self._known or is_atom(value) or isinstance(value, Handle):
            return
        self._known[id(value)] = (value, words, set())
        if type(value).__module__ != "builtins" or isinstance(value, type) or _own_attributes(value):
            self._bearers[id(value)] = value
        if isinstance(value, FunctionType):
            self._function(value)
            if value is os.getenv:
                self.visit(os.environ, "os.environ")
        elif isinstance(value, np.ndarray):
            self._watch(Elements(value, words, self.line))
            if value.dtype.hasobject:
                self._visit_all(value.ravel().tolist(), words)
            if type(value) is not np.ndarray:  # of a subclass, such as the mask of a masked array
                own = _own_attributes(value) or {}
                for name in list(own):
                    self._place(value, own.get, name, "attribute", f"{words}.{name}")
        elif self.host.is_source(value):
            self.host.watch(value, words, self.line)
        elif isinstance(value, MethodType):
            self.visit(value.__self__, words)
            self.visit(value.__func__, words)
        elif isinstance(value, BuiltinMethodType):
            if not isinstance(value.__self__, ModuleType | type):
                self.visit(value.__self__, words)
        elif isinstance(value, _CACHED):
            self._watch(Remembered(value, words, self.line))
            self.visit(value.__wrapped__, words)
        elif isinstance(value, attrgetter | methodcaller):  # names that no code shows
            names = (part for one in value.__reduce__()[1] if isinstance(one, str) for part in one.split("."))
            self.look_for(frozenset(names), False)
        elif isinstance(value, partial):
            for part in (value.func, value.args, value.keywords):
                self.visit(part, words)
        elif isinstance(value, property):
            for accessor in (value.fget, value.fset):
                self.visit(accessor, words)
        elif isinstance(value, staticmethod | classmethod):
            self.visit(value.__func__, words)
        elif isinstance(value, cached_property):
            self.visit(value.func, words)
        elif isinstance(value, ContextVar):
            self._place(value, partial(_of_context, value), None, "variable", words)
        elif isinstance(value, weakref.ref):
            self.references.append((words, value))
            self.visit(value(), words)
        elif isinstance(value, GeneratorType):
            if value.gi_frame is not None:
                self.generators[id(value.gi_frame)] = (value.gi_frame, words)
        elif not isinstance(value, ModuleType | type):
            self._contents(value, words)
            own = _own_attributes(value) or {}
            self.visit(own.get("__wrapped__"), words)
            if _of_library(type(value)):  # whose code reads attributes unseen: layers call their parts
                for name, part in list(own.items()):
                    if _of_library(type(part)) or isinstance(part, FunctionType | MethodType | partial):
                        self.visit(part, f"{words}.{name}")
        if self._any_attribute or id(value) in self._bearers:
            for name in self._names(value):
                self.attribute(value, name)

    def _watch(self, contents: Contents) -> None:
        self.contents.append(contents)
        if not contents.line:
            self._unlocated[id(contents.value)] = contents

    def _contents(self, value: object, words: str) -> None:
        if isinstance(value, dict):
            self._watch(Entries(value, words, self.line))
            for key, part in dict.items(value):
                self.visit(key, f"a key of {words}")
                self.visit(part, f"{words}[{key!r:.40}]" if is_atom(key) else f"an entry of {words}")
        elif isinstance(value, list | collections.deque):
            self._watch(Items(value, words, self.line))
            self._visit_all(value, words)
        elif isinstance(value, tuple):
            self._visit_all(value, words)
        elif isinstance(value, set | frozenset):
            if isinstance(value, set):
                self._watch(Members(value, words, self.line))
            self._visit_all(value, words)
        elif isinstance(value, bytearray | array | memoryview):
            self._watch(Text(value, words, self.line))
        elif isinstance(value, _WRAPPERS):
            for name, part in list(vars(value).items()):
                if isinstance(part, dict | list):
                    self.visit(part, f"{words}.{name}")
        elif isinstance(value, MappingProxyType | KeysView | ValuesView | ItemsView):
            for part in gc.get_referents(value):
                self.visit(part, words)
        elif isinstance(value, Iterator) and not (
            isinstance(value, io.IOBase) or isinstance(type(value).__next__, FunctionType)
        ):
            self._watch(Progress(value, words, self.line))

    def _visit_all(self, values: Iterable[Any], words: str) -> None:
        for i, part in enumerate(list(values)):
            if not is_atom(part):
                self.visit(part, f"{words}[{i}]")

    def _function(self, function: FunctionType) -> None:
        """A function is looked into once its code has run; the library's wrappers at once, for what they wrap."""
        code = function.__code__
        self._functions.setdefault(code, []).append(function)
        if code in self._ran:
            self._expand(function)
        elif not is_watched(code.co_filename):
            self.visit(vars(function).get("registry"), f"{function.__name__}.registry")  # of `singledispatch`
            for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
                wrapped = _contents_of(cell)(None, None)
                if callable(
                    wrapped
                ):  # what else a library closes over, such as memories of results, is its own
                    self.visit(wrapped, name)

    def _expand(self, function: FunctionType) -> None:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._place(cell, _contents_of(cell), None, "variable", name)
        shown = function.__name__
        read = partial(getattr, function)
        self._place(function, read, "__code__", "code of the function", shown)
        for name in ("__defaults__", "__kwdefaults__"):
            if getattr(function, name) is not None:
                self._place(function, read, name, "defaults of the function", shown)

    def variable(self, variables: dict[str, Any], name: str) -> Any:
        """A global variable, which becomes a fact."""
        return self._place(variables, variables.get, name, "variable", name)

    def _place(self, owner: object, get: Callable[[Any, Any], Any], key: object, kind: str, path: str) -> Any:
        value = get(key, MISSING)
        if (id(owner), key) in self._noted:
            return value
        self._noted.add((id(owner), key))
        self.places.append(
            (id(owner), Holding(get, key, value, f"the {kind} {path!r}", path.rpartition(".")[2], self.line))
        )
        if value is not MISSING:
            self.visit(value, path)
        return value

    def follow(self, value: object, attributes: tuple[str, ...]) -> None:
        """Look at the attributes of a chain, as far as they can be told without running anything."""
        if isinstance(value, Handle):
            return
        if id(value) in self._unlocated:
            self._unlocated.pop(id(value)).line = self.line
        elif self.host.is_source(value):
            self.host.locate(value, self.line)
        for i, name in enumerate(attributes):
            if value is MISSING or id(value) not in self._known:
                if not (is_atom(value) or isinstance(value, _UNSEEN)):
                    self.look_for(frozenset(attributes[i:]), False)
                return
            value = self.attribute(value, name, exactly=True)

    def look_for(self, names: frozenset[str], any_attribute: bool) -> None:
        """Look at some attributes of everything that is known, and of what becomes known."""
        new = names - self._loose
        self._loose |= new
        if any_attribute and not self._any_attribute:
            self._any_attribute = True
            for value, _, done in list(self._known.values()):
                done.clear()  # what an object lacks may be asked for, too
                new = new | self._names(value)
        if new:
            held = self._bearers.values()
            for value in [one for one, _, _ in self._known.values()] if self._any_attribute else list(held):
                for name in new:
                    self.attribute(value, name)

    def _names(self, value: object) -> frozenset[str]:
        """The attributes of a value that are looked at as soon as it is known."""
        if self._any_attribute and not (isinstance(value, ModuleType | type) or _of_library(type(value))):
            return frozenset(self._loose | set(_own_attributes(value) or ()))
        return frozenset(self._loose)

    def look_behind(self) -> None:
        """From the first `super()` on, attributes of classes count behind the first that has one, too."""
        if not self._behind:
            self._behind = True
            for value, _, done in list(self._known.values()):
                names = frozenset(done)
                done.clear()
                for name in names:
                    self.attribute(value, name)

    def seen_before(self, owner: int, place: Holding) -> Any:
        """What a program saw at a place at first: what its object held, or else its class."""
        return self._seen_through.get((owner, place.key), place.before)

    def attribute(self, value: object, name: str, exactly: bool = False) -> Any:
        """An attribute as it lies in an object, its class or a module; it becomes a fact the first time.

        That there is none is a fact, too, if code reads this very attribute of this very object, or may do so.
        """
        _, path, done = self._known[id(value)]
        first = name not in done
        done.add(name)
        path = f"{path}.{name}"
        if isinstance(value, ModuleType):
            return self._of_module(value, name, path, first)
        if isinstance(value, type):
            metaclass: Any = type(value)
            classes = (*value.__mro__, *metaclass.__mro__[:-2])  # the last two are `type` and `object`
            return self._in_layers([(one, one.__dict__) for one in classes], name, path, exactly)
        if isinstance(value, threading.local):
            read = partial(getattr, value)
            return self._place(value, read, name, "attribute", path) if first else read(name, MISSING)
        kind = type(value)
        if len(done) == 1 and (is_own_module(str(kind.__module__)) or _of_library(kind)):
            owner = path.rpartition(".")[0]
            self._place(value, partial(_order, value), "__class__", "attribute", f"{owner}.__class__")
        own = _own_attributes(value)
        layers: list[tuple[Any, Mapping[str, Any]]] = [] if own is None else [(value, own)]
        layers += [(one, one.__dict__) for one in type(value).__mro__]
        found = self._in_layers(layers, name, path, exactly or self._any_attribute)
        if isinstance(found, MemberDescriptorType):  # of __slots__
            return self._place(value, partial(_slot, found, value), name, "attribute", path)
        return found

    def _of_module(self, module: ModuleType, name: str, path: str, first: bool) -> Any:
        variables = module.__dict__
        value = variables.get(name, MISSING)
        if value is MISSING or not first:
            return value
        if is_own_module(module.__name__):
            return self._place(module, variables.get, name, "variable", path)
        if module in (random, np.random) and callable(value):
            self.host.watch_module(module, f"{module.__name__}.{name}", self.line)
        # a library: its functions and numbers stay what they are, its containers may change
        plain = not (callable(value) or isinstance(value, ModuleType))
        if plain and module.__name__.partition(".")[0] == "tinygraph":  # whose registry of ops is its own
            self._known.setdefault(id(value), (value, path, set()))
        elif plain or value is os.getenv:
            self.visit(value, path)
        elif isinstance(value, ModuleType):
            self.visit(value, value.__name__)
        return value

    def _in_layers(
        self, layers: list[tuple[Any, Mapping[str, Any]]], name: str, path: str, exactly: bool
    ) -> Any:
        """An attribute where Python finds it, and that no layer before - the object, a subclass - has got one.

        Args:
            layers: an object or class and its attributes each, the nearest first.
            exactly: whether it is a fact, too, that there is none.
        """
        depth = next((i for i, (_, attributes) in enumerate(layers) if name in attributes), None)
        found = MISSING if depth is None else layers[depth][1][name]
        if found is MISSING and not exactly:
            return MISSING
        behind = depth is None or self._behind
        for i, (owner, attributes) in enumerate(layers if behind else layers[: (depth or 0) + 1]):
            if depth is not None and i > depth and name not in attributes:
                continue
            if not isinstance(owner, type) or is_own_module(str(owner.__module__)):
                self._seen_through.setdefault((id(owner), name), found)
                self._place(owner, attributes.get, name, "attribute", path)
        if isinstance(found, MemberDescriptorType):
            return found
        return (
            MISSING if hasattr(type(found), "__get__") and isinstance(layers[depth or 0][0], type) else found
        )


def _order(value: object, key: object, default: object) -> Any:
    """The classes in which Python looks for attributes of a value; the first is its own."""
    return type(value).__mro__


def _contents_of(cell: Any) -> Callable[[Any, Any], Any]:
    def get(key: object, default: object) -> Any:
        try:
            return cell.cell_contents
        except ValueError:  # not assigned yet
            return default

    return get


def _of_context(variable: ContextVar[Any], key: object, default: object) -> Any:
    return variable.get(default)


def _own_attributes(value: object) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found if isinstance(found, dict) else None


def _slot(descriptor: MemberDescriptorType, holder: object, name: str, default: object) -> Any:
    try:
        return descriptor.__get__(holder, type(holder))
    except AttributeError:
        return default


def _of_library(kind: type) -> bool:
    """Whether a class is tinygraph's, or derived from one."""
    return any(str(one.__module__).startswith("tinygraph.") for one in kind.__mro__)


@lru_cache(maxsize=1024)
def is_own_module(name: str) -> bool:
    """Whether a module is the user's, whose variables and classes may be changed: not one of a library."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is not None:
        return is_watched(file)
    return name == "__main__" or (
        name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith("namedtuple_")
    )
