"""Watching a function while it is captured: what every function that ran in it read, and what it changed.

Python's profile hook names each function that runs, helpers included; its code (`code_reads.py`) says which variables
and attributes it reads. What they hold becomes facts (`facts.py`), and so do the contents of containers and arrays
among them. The library's own functions, NumPy's and the standard library's are not looked into.
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
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cached_property, lru_cache, partial
from importlib.util import resolve_name
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
from typing import Any, NamedTuple

import numpy as np

from tinygraph.capture.code_reads import Reads, reads_of
from tinygraph.capture.facts import (
    MISSING,
    Contents,
    Elements,
    Entries,
    Items,
    Members,
    Place,
    Progress,
    Text,
    is_atom,
    left_behind_in,
    replaced,
)
from tinygraph.capture.host import Host
from tinygraph.core.source import is_library, resolve
from tinygraph.core.tensor import Tensor

# Methods in C that change the container they belong to: where they are called is where the change is.
_CHANGING = frozenset({
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "insert",
    "intersection_update", "pop", "popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort",
    "symmetric_difference_update", "update",
})  # fmt: skip
_WRAPPERS = (collections.UserDict, collections.UserList, collections.ChainMap, os._Environ)
_CONTAINERS = (list, dict, set, collections.deque, bytearray, array)
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


_watched = _Watched().__getitem__


class Effect(NamedTuple):
    """Something that outlives the program and that it changed while it was captured.

    Attributes:
        what: what it is called.
        words: what changed.
        line: the user's line that did it, or that reads it.
        refused: whether each call would change it again, as a counter or a log, so that a plan cannot stand for it.
    """

    what: str
    words: str
    line: str
    refused: bool


class Watch:
    """What a capture in progress reads of Python's state.

    Attributes:
        places: the places that were read, each with the id of the object it belongs to.
        contents: the containers and arrays that were read.
        host: random numbers and clocks.
    """

    def __init__(self) -> None:
        self.places: list[tuple[int, Place]] = []
        self.contents: list[Contents] = []
        self.host = Host()
        self._known: dict[
            int, tuple[Any, str, set[str]]
        ] = {}  # id -> object, its name, the attributes looked at
        self._loose: set[str] = set()
        self._any_attribute = False
        self._ran: dict[CodeType, Reads] = {}
        self._functions: dict[CodeType, list[FunctionType]] = {}
        self._noted: set[tuple[int, Any]] = set()  # ids of owners, which the places hold
        self._calls: set[tuple[Any, ...]] = set()
        self._seen_through: dict[
            tuple[int, str], Any
        ] = {}  # what a class holds where an object holds nothing
        self._unlocated: dict[int, Contents] = {}  # met before any code that reads it
        self._touched: dict[int, str] = {}
        self._generators: dict[int, tuple[FrameType, str]] = {}  # by the id of their frame
        self._behind = False
        self._line = ""

    # -- the hook --------------------------------------------------------------------------------------------------

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread; whoever profiles it is asked to go on afterwards."""
        before = sys.getprofile()
        other = before if callable(before) else None

        def hook(frame: FrameType, event: str, argument: Any) -> None:
            if event == "call":
                if _watched(frame.f_code.co_filename):
                    self._entered(frame)
            elif event == "c_call":
                self._called(frame, argument)
            if other is not None:
                other(frame, event, argument)

        sys.setprofile(hook)
        try:
            yield
        finally:
            if before is not None and other is None and hasattr(before, "enable"):
                sys.setprofile(None)
                before.enable()  # cProfile is no function
            else:
                sys.setprofile(before)

    def _called(self, frame: FrameType, function: Any) -> None:
        """A function in C is called: it may change a container, draw a random number or read a clock."""
        name = getattr(function, "__name__", None)
        if name in _CHANGING:
            owner = getattr(function, "__self__", None)
            if isinstance(owner, _CONTAINERS) and _watched(frame.f_code.co_filename):
                self._touched[id(owner)] = _place(frame.f_code, frame.f_lasti)
        elif name in self.host.names:
            self.host.called(function, frame, _watched)

    def _entered(self, frame: FrameType) -> None:
        """A function in Python begins."""
        code, values, variables = frame.f_code, frame.f_locals, frame.f_globals
        if id(frame) in self._generators:
            raise self.host.refuse(
                f"the generator {self._generators[id(frame)][1]}", "takes an item", frame.f_back
            )
        if code.co_name == "<module>":
            return  # an import, which happens once
        if code.co_filename == "<string>" and not _own_module(str(variables.get("__name__"))):
            return  # made by namedtuple or dataclass for a class of a library
        reads = self._ran.get(code)
        if reads is None:
            reads = self._ran[code] = reads_of(code)
            self._line = ""
            known = self._functions.get(code, [])
            if not known and code.co_freevars and not any(code in one.co_consts for one in self._ran):
                known = [one for one in gc.get_referrers(code) if isinstance(one, FunctionType)]
            for function in known:
                self._expand(function)
            self._all_layers(reads)
            self._imports(reads, variables)
            names = {code.co_name} if code.co_name.isidentifier() else set()
            self._look_for(reads.loose | names, reads.any_attribute)
        call = (code, *(id(values.get(chain.variable)) for chain in reads.chains if chain.kind != "global"))
        if call in self._calls:
            return
        self._calls.add(call)
        file = os.path.basename(code.co_filename)
        for chain in reads.chains:
            self._line = f"{file}:{chain.line}"
            if chain.kind == "global":
                value = self._variable(variables, chain.variable)
            else:
                value = values.get(chain.variable, MISSING)
            self._follow(value, chain.attributes)

    def _all_layers(self, reads: Reads) -> None:
        """From the first `super()` on, attributes of classes count behind the first that has one, too."""
        if reads.all_layers and not self._behind:
            self._behind = True
            for value, _, done in list(self._known.values()):
                names = frozenset(done)
                done.clear()
                for name in names:
                    self._attribute(value, name)

    def _imports(self, reads: Reads, variables: dict[str, Any]) -> None:
        """Modules that a function imports when it runs, and global variables that it finds by name."""
        for name, level, taken in reads.imports:
            package = variables.get("__package__") or ""
            module = sys.modules.get(resolve_name("." * level + name, package) if level else name)
            if module is not None:
                self.visit(module, name)
                for attribute in taken:
                    self._attribute(module, attribute, exactly=True)
        for name in reads.strings if reads.by_name else ():
            self._variable(variables, name)

    # -- looking ---------------------------------------------------------------------------------------------------

    def visit(self, value: Any, words: str) -> None:
        """Look at a value that was there before: inside of containers and functions, and at read attributes."""
        if id(value) in self._known or is_atom(value) or isinstance(value, Tensor | np.dtype):
            return
        self._known[id(value)] = (value, words, set())
        if isinstance(value, np.ndarray):
            self._watch(Elements(value, words, self._line))
            if value.dtype.hasobject:
                self._visit_all(value.ravel().tolist(), words)
            if type(value) is not np.ndarray:  # of a subclass, such as the mask of a masked array
                own = _own_attributes(value) or {}
                for name in list(own):
                    self._place(value, own.get, name, f"the attribute '{words}.{name}'", name)
        elif self.host.is_source(value):
            self.host.watch(value, words, self._line)
        elif isinstance(value, FunctionType):
            self._function(value)
            if value is os.getenv:
                self.visit(os.environ, "os.environ")
        elif isinstance(value, MethodType):
            self.visit(value.__self__, words)
            self.visit(value.__func__, words)
        elif isinstance(value, BuiltinMethodType):
            if not isinstance(value.__self__, ModuleType | type):
                self.visit(value.__self__, words)
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
            self._place(value, partial(_of_context, value), None, f"the variable {words!r}", words)
        elif isinstance(value, weakref.ref):
            self.visit(value(), words)
        elif isinstance(value, GeneratorType):
            if value.gi_frame is not None:
                self._generators[id(value.gi_frame)] = (value.gi_frame, words)
        elif not isinstance(value, ModuleType | type):
            self._contents(value, words)
            own = _own_attributes(value) or {}
            self.visit(own.get("__wrapped__"), words)
            if _of_library(type(value)):  # whose code reads attributes unseen: layers call their parts
                for name, part in list(own.items()):
                    if _of_library(type(part)) or isinstance(part, FunctionType | MethodType | partial):
                        self.visit(part, f"{words}.{name}")
        for name in self._names(value):
            self._attribute(value, name)

    def _watch(self, contents: Contents) -> None:
        self.contents.append(contents)
        if not contents.line:
            self._unlocated[id(contents.value)] = contents

    def _contents(self, value: Any, words: str) -> None:
        if isinstance(value, dict):
            self._watch(Entries(value, words, self._line))
            for key, part in dict.items(value):
                self.visit(key, f"a key of {words}")
                self.visit(part, f"{words}[{key!r:.40}]")
        elif isinstance(value, list | collections.deque):
            self._watch(Items(value, words, self._line))
            self._visit_all(value, words)
        elif isinstance(value, tuple):
            self._visit_all(value, words)
        elif isinstance(value, set | frozenset):
            if isinstance(value, set):
                self._watch(Members(value, words, self._line))
            self._visit_all(value, words)
        elif isinstance(value, bytearray | array | memoryview):
            self._watch(Text(value, words, self._line))
        elif isinstance(value, _WRAPPERS):
            for name, part in list(vars(value).items()):
                if isinstance(part, dict | list):
                    self.visit(part, f"{words}.{name}")
        elif isinstance(value, MappingProxyType | KeysView | ValuesView | ItemsView):
            for part in gc.get_referents(value):
                self.visit(part, words)
        elif isinstance(value, Iterator) and not isinstance(value, io.IOBase):
            self._watch(Progress(value, words, self._line))

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
        elif not _watched(code.co_filename):
            for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
                self.visit(_contents_of(cell)(None, None), name)

    def _expand(self, function: FunctionType) -> None:
        for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            self._place(cell, _contents_of(cell), None, f"the variable {name!r}", name)
        shown = function.__name__
        read = partial(getattr, function)
        self._place(function, read, "__code__", f"the code of the function {shown!r}", "__code__")
        for name in ("__defaults__", "__kwdefaults__"):
            if getattr(function, name) is not None:
                self._place(function, read, name, f"the defaults of the function {shown!r}", name)

    def _variable(self, variables: dict[str, Any], name: str) -> Any:
        """A global variable, which becomes a fact."""
        return self._place(variables, variables.get, name, f"the variable {name!r}", name)

    def _place(self, owner: Any, get: Callable[[Any, Any], Any], key: Any, words: str, name: str) -> Any:
        value = get(key, MISSING)
        if (id(owner), key) in self._noted:
            return value
        self._noted.add((id(owner), key))
        self.places.append((id(owner), Place(get, key, value, words, name, self._line)))
        if value is not MISSING:
            self.visit(value, name if words.startswith("the variable") else words.split("'")[1])
        return value

    def _follow(self, value: Any, attributes: tuple[str, ...]) -> None:
        """Look at the attributes of a chain, as far as they can be told without running anything."""
        if id(value) in self._unlocated:
            self._unlocated.pop(id(value)).line = self._line
        elif self.host.is_source(value):
            self.host.locate(value, self._line)
        for i, name in enumerate(attributes):
            if value is MISSING or id(value) not in self._known:
                if not (is_atom(value) or isinstance(value, Tensor | np.dtype)):
                    self._look_for(frozenset(attributes[i:]), False)
                return
            value = self._attribute(value, name, exactly=True)

    def _look_for(self, names: frozenset[str], any_attribute: bool) -> None:
        """Look at some attributes of everything that is known, and of what becomes known."""
        new = names - self._loose
        self._loose |= new
        if any_attribute and not self._any_attribute:
            self._any_attribute = True
            for value, _, done in list(self._known.values()):
                done.clear()  # what an object lacks may be asked for, too
                new = new | self._names(value)
        if new:
            for value, _, _ in list(self._known.values()):
                for name in new:
                    self._attribute(value, name)

    def _names(self, value: Any) -> frozenset[str]:
        """The attributes of a value that are looked at as soon as it is known."""
        if self._any_attribute and not isinstance(value, ModuleType | type):
            return frozenset(self._loose | set(getattr(value, "__dict__", ())))
        return frozenset(self._loose)

    def _attribute(self, value: Any, name: str, exactly: bool = False) -> Any:
        """An attribute as it lies in an object, its class or a module; it becomes a fact the first time.

        That there is none is a fact, too, if code reads this very attribute of this very object, or may do so.
        """
        _, path, done = self._known[id(value)]
        first = name not in done
        done.add(name)
        words = f"the attribute '{path}.{name}'"
        if isinstance(value, ModuleType):
            return self._of_module(value, name, f"the variable '{path}.{name}'", first)
        if isinstance(value, type):
            return self._in_layers([(one, one.__dict__) for one in value.__mro__], name, words, exactly)
        if isinstance(value, threading.local):
            read = partial(getattr, value)
            return self._place(value, read, name, words, name) if first else read(name, MISSING)
        own = _own_attributes(value)
        layers = [] if own is None else [(value, own)]
        layers += [(one, one.__dict__) for one in type(value).__mro__]
        found = self._in_layers(layers, name, words, exactly or self._any_attribute)
        if isinstance(found, MemberDescriptorType):  # of __slots__
            return self._place(value, partial(_slot, found, value), name, words, name)
        return found

    def _of_module(self, module: ModuleType, name: str, words: str, first: bool) -> Any:
        variables = module.__dict__
        value = variables.get(name, MISSING)
        if value is MISSING or not first:
            return value
        if _own_module(module.__name__):
            return self._place(module, variables.get, name, words, name)
        if module in (random, np.random) and callable(value):
            self.host.watch_module(module, f"{module.__name__}.{name}", self._line)
        # a library: its functions and numbers stay what they are, its containers may change
        if value is os.getenv or not (callable(value) or isinstance(value, ModuleType)):
            self.visit(value, words.split("'")[1])
        elif isinstance(value, ModuleType):
            self.visit(value, value.__name__)
        return value

    def _in_layers(
        self, layers: list[tuple[Any, Mapping[str, Any]]], name: str, words: str, exactly: bool
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
            if not isinstance(owner, type) or _own_module(owner.__module__):
                self._seen_through.setdefault((id(owner), name), found)
                self._place(owner, attributes.get, name, words, name)
        if isinstance(found, MemberDescriptorType):
            return found
        return (
            MISSING if hasattr(type(found), "__get__") and isinstance(layers[depth or 0][0], type) else found
        )

    # -- the end ---------------------------------------------------------------------------------------------------

    def facts(self, covered: frozenset[int] | set[int]) -> tuple[list[Place], list[Contents]]:
        """What a plan relies on; places in `covered` objects are watched by somebody else."""
        return [place for owner, place in self.places if owner not in covered], self.contents

    def effects(self) -> list[Effect]:
        """What the program changed of what it reads: counters, logs, memories of results."""
        found = [self._replaced(owner, place) for owner, place in self.places if not place.holds()]
        return found + [self._changed(one) for one in self.contents if not one.holds()]

    def _replaced(self, owner: int, place: Place) -> Effect:
        now = place.now()
        before = self._seen_through.get((owner, place.key), place.before)
        first_time = before is MISSING or before is None
        counts = any(place.name in reads.counts for reads in self._ran.values())
        refused = counts and not first_time and not left_behind_in([now])
        return Effect(place.words, replaced(place.words, now, before), self._line_of(place), refused)

    def _changed(self, one: Contents) -> Effect:
        refused = isinstance(one, Progress) or (not one.grew() and not left_behind_in(one.added()))
        return Effect(
            one.words, one.change(), self._touched.get(id(one.value)) or self._line_of(one), refused
        )

    def _line_of(self, fact: Place | Contents) -> str:
        """The user's line that writes what a fact is about, or else the one that reads it."""
        if isinstance(fact, Place):
            for code, reads in self._ran.items():
                if fact.name in reads.stores:
                    return f"{os.path.basename(code.co_filename)}:{reads.stores[fact.name]}"
        else:
            for code, reads in self._ran.items():
                for line in reads.changes:
                    if fact.line.startswith(f"{os.path.basename(code.co_filename)}:"):
                        return f"{os.path.basename(code.co_filename)}:{line}"
        return fact.line


def _place(code: CodeType, offset: int) -> str:
    return str(resolve(code, max(offset, 0)))


def _contents_of(cell: Any) -> Callable[[Any, Any], Any]:
    def get(key: Any, default: Any) -> Any:
        try:
            return cell.cell_contents
        except ValueError:  # not assigned yet
            return default

    return get


def _of_context(variable: ContextVar[Any], key: Any, default: Any) -> Any:
    return variable.get(default)


def _own_attributes(value: Any) -> dict[str, Any] | None:
    try:
        found = object.__getattribute__(value, "__dict__")
    except AttributeError:
        return None
    return found if isinstance(found, dict) else None


def _slot(descriptor: MemberDescriptorType, holder: Any, name: str, default: Any) -> Any:
    try:
        return descriptor.__get__(holder, type(holder))
    except AttributeError:
        return default


@lru_cache(maxsize=1024)
def _of_library(kind: type) -> bool:
    """Whether a class is tinygraph's, or derived from one."""
    return any(one.__module__.startswith("tinygraph.") for one in kind.__mro__)


@lru_cache(maxsize=1024)
def _own_module(name: str) -> bool:
    """Whether a module is the user's, whose variables and classes may be changed: not one of a library."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if file is not None:
        return _watched(file)
    return name == "__main__" or (
        name.partition(".")[0] not in sys.stdlib_module_names and not name.startswith("namedtuple_")
    )
