"""Random numbers, clocks and files of the machine: what a captured program would read once and then repeat.

A draw from `random`, `np.random` or a generator of theirs, the time of day, a file that is opened and a thread that is
started are refused at the user's line; the state of what was drawn from is put back.
"""

from __future__ import annotations

import io
import logging
import os
import random
import sysconfig
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.source import is_library, is_own, resolve
from tinygraph.errors import CaptureError

_CLOCKS = frozenset(
    name for name in dir(time) if callable(getattr(time, name)) and name not in ("sleep", "struct_time")
)
_DATES = frozenset({"now", "today", "utcnow"})
_SYSTEM = frozenset({"urandom", "getrandom", "getpid"})
_SOURCES = (random.Random, np.random.Generator, np.random.RandomState, np.random.BitGenerator)
_FILES = frozenset({
    "access", "fork_exec", "fromfile", "getcwd", "listdir", "lstat", "open", "posix_spawn", "readlink", "scandir",
    "stat", "system",
})  # fmt: skip
_FILE_MODULES = frozenset({"_io", "io", "posix", "nt", "_posixsubprocess", "numpy._core._multiarray_umath"})
_THREADS = frozenset({"start_new_thread", "start_joinable_thread"})
_DRAWS = frozenset({"random", "getrandbits"})
_PRINTS = frozenset({"print", "write", "writelines"})
_UNASKED = frozenset(
    {"linecache.py", "warnings.py", "_py_warnings.py", "bdb.py", "pdb.py"}
)  # print by themselves
_STDLIB = os.path.join(os.path.realpath(sysconfig.get_path("stdlib")), "")


class Printed(NamedTuple):
    """A line of the user's that prints or logs."""

    file: str
    line: int
    words: str


class Host:
    """Sources of random numbers that a program may draw from, with where they stood when it began.

    Attributes:
        printed: the lines that printed or logged, which what is captured does not do again.
    """

    names = _CLOCKS | _DATES | _SYSTEM | _DRAWS | _THREADS | _FILES | _PRINTS | {"get_ident", "seed"}

    def __init__(self, transform: str = "", once: str | None = None) -> None:
        """Where the machine's own generators stand.

        Args:
            transform: in which the program runs, for messages.
            once: what is wrong with drawing there, and what to write instead; by default what is wrong in captures.
        """
        self._before = f"{transform}: " if transform else ""
        self._once = once or _ONCE
        self.printed: dict[Printed, None] = {}
        self._sources: dict[int, tuple[Any, Any, str, str]] = {}
        self._refused: CaptureError | None = None
        self.watch(random._inst, "random", "")
        self.watch(np.random.mtrand._rand, "np.random", "")

    @staticmethod
    def is_source(value: object) -> bool:
        """Whether a value is a generator of random numbers of Python's or NumPy's."""
        return isinstance(value, _SOURCES)

    def watch(self, source: object, words: str, line: str) -> None:
        """Note where a generator stands."""
        if not isinstance(source, random.SystemRandom) and id(source) not in self._sources:
            self._sources[id(source)] = (source, _state(source), words, line)

    def watch_module(self, module: ModuleType, words: str, line: str) -> None:
        """Note where a program calls a function of `random` or `np.random`, which draw from a generator of theirs."""
        source = random._inst if module is random else np.random.mtrand._rand
        self.locate(source, line, words)

    def locate(self, source: object, line: str, words: str | None = None) -> None:
        """Note the first line that reads a generator."""
        found = self._sources.get(id(source))
        if found is not None and not found[3]:
            self._sources[id(source)] = (*found[:2], words or found[2], line)

    def called(self, function: Any, frame: FrameType, watched: Callable[[str], bool]) -> None:
        """Refuse a call of a function in C that reads a clock or draws.

        Raises:
            CaptureError: at the user's line.
        """
        owner, name = getattr(function, "__self__", None), function.__name__
        module = owner.__name__ if isinstance(owner, ModuleType) else ""
        if name in _PRINTS:
            self._prints(owner, frame, watched)
        elif module == "time" and name in _CLOCKS and watched(frame.f_code.co_filename):
            raise self.refuse(f"time.{name}()", "reads a clock", frame)
        if isinstance(owner, type) and name in _DATES and owner.__module__ == "datetime":
            if watched(frame.f_code.co_filename):
                raise self.refuse(f"{owner.__name__}.{name}()", "reads a clock", frame)
        elif module in ("posix", "nt") and name in _SYSTEM:
            user = _user(frame)
            if user is not None and (name != "getpid" or user is frame):
                raise self.refuse(f"os.{name}()", "asks the operating system", user)
        elif name in _FILES and module in _FILE_MODULES:
            user = _asking(frame, watched)
            if user is not None:
                does = (
                    "opens a file" if name == "open" else "asks the operating system for files or processes"
                )
                raise self.refuse(f"{name}()", does, user)
        elif module == "_thread" and name == "get_ident" and watched(frame.f_code.co_filename):
            raise self.refuse("threading.get_ident()", "asks which thread runs", frame)
        elif module == "_thread" and name in _THREADS:
            user = _user(frame)
            if user is not None:
                raise self.refuse("a thread that is started", "does its work outside of the capture", user)
        elif name == "seed" and isinstance(owner, random.Random) and frame.f_locals.get("a", owner) is None:
            user = _user(frame)
            if user is not None:
                raise self.refuse("random.Random() without a seed", "asks the operating system for one", user)
        elif name in _DRAWS and owner is random._inst:
            user = _user(frame)
            if user is not None:
                raise self.refuse("random", "draws a random number", user)

    def _prints(self, owner: object, frame: FrameType, watched: Callable[[str], bool]) -> None:
        """Note a call of `print`, or of `write` of a stream, by the user's line that asks for it."""
        asks = _logging(frame)
        if not isinstance(owner, ModuleType | io.IOBase) or (
            asks is frame and isinstance(owner, io.StringIO | io.BytesIO)  # a text that is put together
        ):
            return
        user = _asking(asks, watched)
        if user is not None:
            line = Printed(user.f_code.co_filename, user.f_lineno, str(resolve(user.f_code, user.f_lasti)))
            self.printed[line] = None

    def refuse(self, what: str, does: str, frame: FrameType | None) -> CaptureError:
        """The error of something that a program would do but once; raised again at the end if the program hides it."""
        line = f" at {resolve(frame.f_code, frame.f_lasti)}" if frame is not None else ""
        self._refused = CaptureError(f"{self._before}{what}{line} {does}, which {self._once}")
        return self._refused

    @contextmanager
    def checked(self) -> Iterator[None]:
        """Run a program, and raise if it drew anything, with every source back where it stood.

        Raises:
            CaptureError: naming the source and the user's line.
        """
        try:
            yield
        except BaseException:
            if self._refused is not None:
                self.restore()
            raise
        drawn = [
            (words, line) for source, state, words, line in self._sources.values() if _state(source) != state
        ]
        if self._refused is None and not drawn:
            return
        self.restore()
        if self._refused is not None:
            raise self._refused
        words, line = drawn[-1]
        raise CaptureError(
            f"{self._before}a random number was drawn from {words}{f' at {line}' if line else ''}, which {self._once}"
        )

    def restore(self) -> None:
        """Put every source back where it stood."""
        for source, state, _, _ in self._sources.values():
            _restore(source, state)


_ONCE = (
    "a captured program would do once and then repeat in every call: pass the number as an argument, or, for random "
    "numbers, draw them from a generator of tinygraph (generator = tg.Generator(seed); "
    "generator.uniform(shape)), which captured programs draw from anew"
)


def _user(frame: FrameType) -> FrameType | None:
    """The nearest frame that is not the standard library's; None if it is tinygraph's own, or part of an import."""
    here: FrameType | None = frame
    while here is not None and (
        here.f_code.co_filename.startswith(("<frozen ", _STDLIB))
        and "-packages" not in here.f_code.co_filename
    ):
        here = here.f_back
    if here is None or is_library(here.f_code.co_filename) or is_importing(here):
        return None
    return here


def _asking(frame: FrameType, watched: Callable[[str], bool]) -> FrameType | None:
    """The user's frame that asks for a file or prints, by itself or through the standard library or NumPy.

    None for tinygraph's own files, for modules that are imported, and for warnings and debuggers.
    """
    here: FrameType | None = frame
    while here is not None and not watched(file := here.f_code.co_filename):
        if is_own(file) or file.startswith("<frozen importlib") or os.path.basename(file) in _UNASKED:
            return None
        here = here.f_back
    return None if here is not None and is_importing(here) else here


def _logging(frame: FrameType) -> FrameType:
    """The outermost frame of Python's `logging`, whose handlers may be anybody's; else the frame itself."""
    found, here = frame, frame.f_back
    while here is not None and not is_own(here.f_code.co_filename):
        if here.f_code.co_filename == logging.__file__:
            found = here
        here = here.f_back
    return found


def is_importing(frame: FrameType) -> bool:
    """Whether a frame belongs to an import, which happens once: a module's own code, or what finds modules."""
    here: FrameType | None = frame
    while here is not None:
        file = here.f_code.co_filename
        if file.startswith("<frozen importlib"):
            return True
        if is_library(file):
            return False
        here = here.f_back
    return False


def _state(source: Any) -> Any:
    if isinstance(source, random.Random):
        return source.getstate()
    if isinstance(source, np.random.RandomState):
        return _GeneratorState(source.get_state(legacy=False))
    return _GeneratorState(
        (source if isinstance(source, np.random.BitGenerator) else source.bit_generator).state
    )


def _restore(source: Any, state: Any) -> None:
    if isinstance(source, random.Random):
        source.setstate(state)
    elif isinstance(source, np.random.RandomState):
        source.set_state(state.state)
    else:
        (source if isinstance(source, np.random.BitGenerator) else source.bit_generator).state = state.state


class _GeneratorState:
    """The state of a generator of NumPy's, which may hold arrays, to be compared."""

    def __init__(self, state: object) -> None:
        self.state = state
        self._text = _text(state)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _GeneratorState) and self._text == other._text

    __hash__ = object.__hash__


def _text(state: object) -> Any:
    if isinstance(state, dict):
        return {name: _text(value) for name, value in state.items()}
    return state.tobytes() if isinstance(state, np.ndarray) else state
