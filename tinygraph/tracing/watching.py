"""Watching a function while it is captured: what every function that ran in it read, and what it changed.

Python's profile hook names each function that runs, helpers included; its code (`code_reads.py`) says which variables
and attributes it reads, and `looking.py` looks at what they hold. The library's own functions, NumPy's and the standard
library's are not looked into.
"""

from __future__ import annotations

import collections
import os
import sys
import weakref
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib.util import resolve_name
from types import CodeType, FrameType
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.source import resolve
from tinygraph.core.tensor import CapturedArray, CapturedNumber
from tinygraph.errors import CaptureError
from tinygraph.tracing.code_reads import Reads, reads_of
from tinygraph.tracing.facts import MISSING, Contents, Holding, Progress, left_behind_in, replaced
from tinygraph.tracing.host import is_importing
from tinygraph.tracing.looking import Reach, is_own_module, is_watched

# Methods in C that change the container they belong to: where they are called is where the change is.
_CHANGING = frozenset({
    "add", "append", "appendleft", "clear", "difference_update", "discard", "extend", "extendleft", "insert",
    "intersection_update", "pop", "popitem", "popleft", "remove", "reverse", "rotate", "setdefault", "sort",
    "symmetric_difference_update", "update",
})  # fmt: skip
_CONTAINERS = (list, dict, set, collections.deque, bytearray, array)
# Names by which code reads what no fact is made of: other classes' attributes, text that is run, settings of NumPy's.
_BLIND_NAMES = frozenset({
    "__base__", "__bases__", "__class__", "__import__", "__mro__", "__subclasses__", "attrgetter", "compile", "eval",
    "exec", "get_objects", "get_printoptions", "get_referrers", "getattr_static", "getbufsize", "geterr",
    "geterrcall", "globals", "input", "locals", "methodcaller", "vars",
})  # fmt: skip
# Settings of the process that code may ask for, by the names of the functions that tell them.
_SETTINGS: dict[str, Callable[[], Any]] = {
    "geterr": np.geterr, "geterrcall": np.geterrcall, "getbufsize": np.getbufsize,
    "get_printoptions": np.get_printoptions, "getrecursionlimit": sys.getrecursionlimit,
}  # fmt: skip
# Libraries whose functions depend on nothing but what they are given, beside what stands above.
_PURE = frozenset({
    "__future__", "builtins", "cmath", "collections", "dataclasses", "enum", "fractions", "functools", "inspect",
    "itertools", "math", "numbers", "numpy", "operator", "scipy", "tinygraph", "tinygraph_ops", "types", "typing",
})  # fmt: skip


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
    """What a capture in progress reads of Python's state, and changes.

    Attributes:
        reach: what was met.
    """

    def __init__(self) -> None:
        self.reach = Reach()
        self.end: Callable[[], None] = lambda: None  # ends the watching, whatever became of its block
        self._made_here: set[CodeType] = set()  # code of functions that functions which ran make
        self._noted = _CHANGING | self.reach.host.names
        self._ran: dict[CodeType, Reads] = {}
        self._typed: set[CodeType] = set()  # code that ran and asks for exact classes
        self._calls: set[tuple[Any, ...]] = set()
        # id of a container -> the line that called a method that changes it
        self._touched: dict[int, str] = {}
        # what imports modules that were not there yet, with its global variables
        self._new_imports: list[tuple[Reads, dict[str, Any]]] = []

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Watch this thread; whoever profiles it is asked to go on afterwards."""
        before = sys.getprofile()
        other: Any = before if callable(before) else None

        noted, entered, typed = self._noted, self._entered, self._typed
        called: Callable[[FrameType, Any], None] = self._called
        left: Callable[[FrameType], None] = self._left

        def hook(frame: FrameType, event: str, argument: Any) -> None:  # runs for every call there is
            if event == "c_call":
                if argument.__name__ in noted:
                    called(frame, argument)
            elif event == "call":
                if is_watched(frame.f_code.co_filename):
                    entered(frame)
            elif typed and event == "return" and frame.f_code in typed:
                left(frame)

        hook.may_rest = True  # type: ignore[attr-defined]

        def both(frame: FrameType, event: Any, argument: Any) -> None:
            hook(frame, event, argument)
            other(frame, event, argument)

        def end() -> None:
            # what Ctrl-C left of a block may set the hook again, much later: it takes itself off then
            nonlocal noted, entered, called, left, typed
            noted, entered, typed = frozenset(), lambda frame: sys.setprofile(other), set()
            called = left = (
                _nothing  # no way back to this object, which knows all that was met and would keep it
            )
            if sys.getprofile() in (hook, both):
                sys.setprofile(other)

        self.end = end
        sys.setprofile(hook if other is None else both)
        try:
            yield
        finally:
            end()
            if before is not None and other is None and hasattr(before, "enable"):
                sys.setprofile(None)
                before.enable()  # cProfile is no function
            else:
                sys.setprofile(before)

    def _called(self, frame: FrameType, function: Any) -> None:
        """A function in C is called: it may change a container, draw a random number or read a clock."""
        if function.__name__ in _CHANGING:
            owner = function.__self__
            if isinstance(owner, _CONTAINERS) and is_watched(frame.f_code.co_filename):
                self._touched[id(owner)] = _place(frame.f_code, frame.f_lasti)
        else:
            self.reach.host.called(function, frame, is_watched)

    def _entered(self, frame: FrameType) -> None:
        """A function in Python begins."""
        code, values, variables = frame.f_code, frame.f_locals, frame.f_globals
        if id(frame) in self.reach.generators:
            raise self.reach.host.refuse(
                f"the generator {self.reach.generators[id(frame)][1]}", "takes an item", frame.f_back
            )
        if code not in self._ran and is_importing(frame):
            return
        if code.co_filename == "<string>" and not is_own_module(str(variables.get("__name__"))):
            return  # made by namedtuple or dataclass for a class of a library
        reads = self._ran.get(code)
        if reads is None:
            reads = self._ran[code] = reads_of(code)
            self.reach.line = ""
            self._made_here.update(one for one in code.co_consts if isinstance(one, CodeType))
            self.reach.runs(code, made_here=code in self._made_here)
            if reads.all_layers:
                self.reach.look_behind()
            self._imports(reads, variables)
            names = {code.co_name} if code.co_name.isidentifier() else set()
            self.reach.look_for(reads.loose | names, reads.any_attribute)
        if reads.typed:
            self._typed.add(code)
            self._check_types(reads, frame)
        given = (id(values.get(chain.variable)) for chain in reads.chains if chain.kind != "global")
        call = (code, *(one if self.reach.knows(one) else None for one in given))
        if call in self._calls:
            return
        self._calls.add(call)
        file = os.path.basename(code.co_filename)
        for chain in reads.chains:
            self.reach.line = f"{file}:{chain.line}"
            if chain.kind == "global":
                value = self.reach.variable(variables, chain.variable)
            else:
                value = values.get(chain.variable, MISSING)
            self.reach.follow(value, chain.attributes)

    def _check_types(self, reads: Reads, frame: FrameType) -> None:
        """Refuse `type(n)` of a number, which cannot be answered as `isinstance` is, and of what may be made of it."""
        values, file = frame.f_locals, os.path.basename(frame.f_code.co_filename)
        around = (
            frame.f_back.f_locals if frame.f_back is not None and ".0" in values else {}
        )  # a comprehension
        both = [*values.items(), *around.items()]
        numbers = {name for name, value in both if type(value) is CapturedNumber}
        for name, line in reads.typed.items():
            if name in numbers or (numbers and name not in values):
                raise _exact_class(
                    name, f"{file}:{line}", f"a number ({', '.join(sorted(numbers))})", "float"
                )
            if _is_array(values.get(name)):
                raise _exact_class(name, f"{file}:{line}", "an array", "np.ndarray")

    def _left(self, frame: FrameType) -> None:
        """A function ends that asks for exact classes: of a value that it computed, too."""
        values, file = frame.f_locals, os.path.basename(frame.f_code.co_filename)
        for name, line in reads_of(frame.f_code).typed.items():
            if _is_array(values.get(name)):
                raise _exact_class(name, f"{file}:{line}", "an array", "np.ndarray")

    def _imports(self, reads: Reads, variables: dict[str, Any]) -> None:
        """Modules that a function imports when it runs, and global variables that it finds by name."""
        for name, level, taken in reads.imports:
            package = variables.get("__package__") or ""
            module = sys.modules.get(resolve_name("." * level + name, package) if level else name)
            if module is None:
                self._new_imports.append((reads, variables))
            else:
                self.reach.visit(module, name)
                for attribute in taken:
                    self.reach.attribute(module, attribute, exactly=True)
        for name in reads.strings if reads.by_name else ():
            self.reach.variable(variables, name)

    def facts(self, covered: frozenset[int] | set[int]) -> tuple[list[Holding], list[Contents]]:
        """What a plan relies on; places in `covered` objects are watched by somebody else."""
        for reads, variables in tuple(self._new_imports):
            self._imports(reads, variables)
        return [place for owner, place in self.reach.places if owner not in covered], self.reach.contents

    def questions(self) -> Iterator[tuple[str, Callable[[], Any]]]:
        """What else a plan relies on, in words, each with a question whose answer must stay."""
        for name in _SETTINGS.keys() & {name for code in self._ran for name in code.co_names}:
            yield f"{name}() tells something else", _SETTINGS[name]
        for words, reference in self.reach.references:
            yield f"what {words} referred to is gone", partial(_is_gone, reference)

    def sees_all(self) -> bool:
        """Whether facts are made of all that the program may have read: nothing of other libraries, no hidden names."""
        for code, reads in self._ran.items():
            hidden = "getattr" in code.co_names and not reads.strings
            hidden |= any(one.variable == "type" for one in reads.chains if one.kind == "global")
            if hidden or reads.imports or not _BLIND_NAMES.isdisjoint(code.co_names):
                return False
        return self.reach.libraries() <= _PURE

    def effects(self) -> list[Effect]:
        """What the program changed of what it reads: counters, logs, memories of results."""
        found = [self._replaced(owner, place) for owner, place in self.reach.places if not place.holds()]
        return found + [self._changed(one) for one in self.reach.contents if not one.holds()]

    def _replaced(self, owner: int, place: Holding) -> Effect:
        now = place.now()
        before = self.reach.seen_before(owner, place)
        first_time = before is MISSING or before is None
        counts = any(place.name in reads.counts for reads in self._ran.values())
        refused = counts and not first_time and not left_behind_in([now])
        return Effect(place.words, replaced(place.words, now, before), self._line_of(place), refused)

    def _changed(self, one: Contents) -> Effect:
        refused = isinstance(one, Progress) or (not one.grew() and not left_behind_in(one.added()))
        return Effect(
            one.words, one.change(), self._touched.get(id(one.value)) or self._line_of(one), refused
        )

    def _line_of(self, fact: Holding | Contents) -> str:
        """The user's line that writes what a fact is about, or else the one that reads it."""
        if isinstance(fact, Holding):
            for code, reads in self._ran.items():
                if fact.name in reads.stores:
                    return f"{os.path.basename(code.co_filename)}:{reads.stores[fact.name]}"
        else:
            for code, reads in self._ran.items():
                for line in reads.changes:
                    if fact.line.startswith(f"{os.path.basename(code.co_filename)}:"):
                        return f"{os.path.basename(code.co_filename)}:{line}"
        return fact.line


def _nothing(frame: FrameType, argument: object = None) -> None:
    pass


def _is_gone(reference: weakref.ref[Any]) -> bool:
    return reference() is None


def _is_array(value: object) -> bool:
    return issubclass(type(value), CapturedArray)


def _exact_class(name: str, line: str, what: str, kind: str) -> CaptureError:
    return CaptureError(
        f"type({name}) at {line} asks for the class of {what} that is captured, where something else stands: write "
        f"isinstance({name}, {kind}), which is answered"
    )


def _place(code: CodeType, offset: int) -> str:
    return str(resolve(code, max(offset, 0)))
