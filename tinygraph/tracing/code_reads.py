"""What a function's code reads and writes, by name: variables, and the attributes of what they hold.

`self.cfg.scale` is the chain (parameter self, cfg, scale). Where the object at the beginning is not known from the code
- the result of a call, an item, a local variable - the names that follow are loose: they may be anybody's.
"""

from __future__ import annotations

import dis
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import Any, Literal, NamedTuple

# Names by which code reads attributes that it does not name.
_ANY_ATTRIBUTE = frozenset(
    {"getattr", "vars", "__dict__", "asdict", "astuple", "attrgetter", "getmembers", "dir", "hasattr"}
)
_FORMATTING = frozenset({"format", "format_map"})
_FIELD = re.compile(r"\.([A-Za-z_]\w*)")  # an attribute in a field of a format string
_BY_NAME = frozenset({"globals", "__globals__", "eval", "exec"})
_ATTRIBUTE = frozenset({"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR"})
_GLOBAL = frozenset(
    {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
)
_CLOSED = frozenset(
    {"LOAD_DEREF", "LOAD_CLASSDEREF", "STORE_DEREF", "DELETE_DEREF", "LOAD_FROM_DICT_OR_DEREF"}
)
_SILENT = frozenset({"CACHE", "NOP", "COPY", "EXTENDED_ARG", "PRECALL", "PUSH_NULL"})


Kind = Literal["local", "global", "closed"]


class Chain(NamedTuple):
    """A variable and the attributes read of it, one after the other."""

    kind: Kind
    variable: str
    attributes: tuple[str, ...]
    line: int


class Reads(NamedTuple):
    """What one code object reads and writes.

    Attributes:
        chains: the chains that begin at parameters, globals and variables of a closure.
        loose: names of attributes of objects that the code does not tell.
        any_attribute: whether it may read attributes that it does not name, as `getattr` and `vars` do.
        stores: name of an attribute or variable -> the first line that writes it.
        counts: the names that are read before they are written, as in `self.n += 1`.
        imports: the modules it imports: name, how many packages up, the names taken from it.
        all_layers: whether attributes of classes behind the first are read, as `super()` does.
        strings: names among its constants, by which `getattr` and `globals` may read.
        by_name: whether it reads global variables by such names.
        changes: the lines that write an item, as in `d[key] = value`.
        typed: the variables whose exact class it asks for, `type(n)`, each with the line.
    """

    chains: tuple[Chain, ...]
    loose: frozenset[str]
    any_attribute: bool
    stores: dict[str, int]
    counts: frozenset[str]
    changes: tuple[int, ...]
    imports: tuple[tuple[str, int, tuple[str, ...]], ...]
    all_layers: bool
    strings: frozenset[str]
    by_name: bool
    typed: dict[str, int]


@lru_cache(maxsize=4096)
def reads_of(code: CodeType) -> Reads:
    """Read a code object, once."""
    return _Reader(code).reads()


class _Reader:
    """Goes through the instructions of a code object, and follows the chain that it is in."""

    def __init__(self, code: CodeType) -> None:
        self._code = code
        self._parameters = code.co_varnames[: _parameter_count(code)]
        self._found: dict[tuple[str, str, tuple[str, ...]], Chain] = {}
        self._loose: set[str] = set()
        self._stores: dict[str, int] = {}
        self._loaded: set[str] = set()
        self._counts: set[str] = set()
        self._changes: list[int] = []
        self._constants: list[Any] = []  # the latest ones, which an import takes
        self._imports: list[tuple[str, int, tuple[str, ...]]] = []
        self._typed: dict[str, int] = {}
        self._root: tuple[Kind, str] | None = None  # of the chain
        self._path: tuple[str, ...] = ()
        self._line = code.co_firstlineno
        self._before: list[tuple[str, Any]] = []  # the latest two instructions

    def reads(self) -> Reads:
        """What the whole code reads and writes."""
        for name, argument, line, follows in _instructions(self._code):
            if not follows:  # something lies between this and the one before
                self._before = []
                if self._root is not None:
                    self._end()
            self._take(name, argument, self._line if line is None else line)
        self._end()
        code = self._code
        if not _FORMATTING.isdisjoint(code.co_names):  # "{0.scale}".format(settings)
            texts = (one for one in code.co_consts if isinstance(one, str))
            self._loose.update(name for text in texts for name in _FIELD.findall(text))
        any_attribute = not _ANY_ATTRIBUTE.isdisjoint(code.co_names)
        strings = frozenset(one for one in code.co_consts if isinstance(one, str) and one.isidentifier())
        return Reads(
            tuple(self._found.values()),
            frozenset(self._loose | strings if any_attribute else self._loose),
            any_attribute,
            self._stores,
            frozenset(self._counts),
            tuple(self._changes),
            tuple(self._imports),
            "super" in code.co_names,
            strings,
            not _BY_NAME.isdisjoint(code.co_names),
            self._typed,
        )

    def _take(self, name: str, argument: Any, here: int) -> None:
        asks = name == "CALL" and argument == 1 and self._before[:1] == [("LOAD_GLOBAL", "type")]
        if asks and self._before[-1][0].startswith(("LOAD_FAST", "LOAD_DEREF")):
            self._typed.setdefault(str(self._before[-1][1]), here)
        self._before = [*self._before[-1:], (name, argument)]
        if name in _ATTRIBUTE:
            self._attribute(name, str(argument), here)
            return
        if self._root is not None:
            self._end()
        self._line = here
        if name in ("LOAD_CONST", "LOAD_SMALL_INT"):
            self._constants = [*self._constants[-1:], argument]
        elif name == "IMPORT_NAME":
            level, taken = self._constants
            self._imports.append((argument, level, taken or ()))
        elif name in _GLOBAL or name in _CLOSED:
            self._variable(name, str(argument), here)
        elif name.startswith("LOAD_FAST"):
            variables = argument if isinstance(argument, tuple) else (argument,)
            if variables[-1] in self._parameters:
                self._root = ("local", variables[-1])
        elif name in ("STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE"):
            self._changes.append(here)

    def _attribute(self, name: str, attribute: str, here: int) -> None:
        """One more attribute of the chain, or a loose one."""
        self._note(name == "STORE_ATTR", attribute, here)
        if self._root is not None:
            self._path = (*self._path, attribute)
        elif not (name == "STORE_ATTR" and attribute in self._loaded):  # `self.n += 1` has told whose it is
            self._loose.add(attribute)
        if name.startswith(("STORE", "DELETE")):
            self._end()

    def _variable(self, name: str, variable: str, here: int) -> None:
        """A chain begins at a global variable or one of a closure."""
        written = name.startswith(("STORE", "DELETE"))
        self._note(written, variable, here)
        self._root = ("global" if name in _GLOBAL else "closed", variable)
        if written:
            self._end()

    def _note(self, written: bool, name: str, here: int) -> None:
        if not written:
            self._loaded.add(name)
            return
        self._stores.setdefault(name, here)
        if name in self._loaded:
            self._counts.add(name)

    def _end(self) -> None:
        """The chain is over."""
        if self._root is not None:
            self._found.setdefault((*self._root, self._path), Chain(*self._root, self._path, self._line))
        self._root, self._path = None, ()


def _instructions(code: CodeType) -> Iterator[tuple[str, Any, int | None, bool]]:
    """The instructions that say what is read, each with its argument and line, as `dis.get_instructions` has them.

    That makes an object of ten fields and texts of each, which took most of the time of a first capture. With each
    comes whether it follows the one before, but for silent ones.
    """
    follows = True
    if sys.version_info >= (3, 14):  # whose arguments are not known here
        for one in dis.get_instructions(code):
            if one.opname in _SILENT:
                continue
            if not _tells(one.opname, one.opcode):
                follows = False
                continue
            yield one.opname, one.argval, one.positions.lineno if one.positions is not None else None, follows
            follows = True
        return
    names, constants = code.co_names, code.co_consts
    variable = code._varname_from_oparg  # type: ignore[attr-defined] # of Python itself, for `dis`
    text = code.co_code
    lines = code.co_lines()
    end, line = 0, None
    extended = 0
    for offset in range(0, len(text), 2):
        what = _WHAT[text[offset]]
        if what is None:
            continue
        name, kind, shift = what
        argument: Any = extended | text[offset + 1]
        if kind == "more":
            extended = argument << 8
            continue
        extended = 0
        if kind == "other":
            follows = False
            continue
        while offset >= end:
            _, end, line = next(lines)
        if kind == "name":
            argument = names[argument >> shift]
        elif kind == "variable":
            argument = variable(argument)
        elif kind == "constant":
            argument = constants[argument]
        elif kind == "pair":
            argument = (variable(argument >> 4), variable(argument & 15))
        yield name, argument, line, follows
        follows = True


def _tells(name: str, opcode: int) -> bool:
    """Whether an instruction says what is read or written: of a call only that it is one, of `type`."""
    return (
        name in _ATTRIBUTE
        or name in _GLOBAL
        or name in _CLOSED
        or name in ("CALL", "IMPORT_NAME", "LOAD_SMALL_INT", "STORE_SUBSCR", "DELETE_SUBSCR", "STORE_SLICE")
        or name.startswith("LOAD_FAST")
        or opcode in dis.hasconst
    )


def _kind(opcode: int) -> tuple[str, str, int] | None:
    """The name of an instruction, what its argument counts, and how many bits of that mean something else."""
    name = dis.opname[opcode]
    if name == "EXTENDED_ARG":
        return name, "more", 0
    if name in _SILENT:
        return None
    if not _tells(name, opcode):
        return name, "other", 0
    if opcode in dis.hasname:
        flags = {"LOAD_SUPER_ATTR": 2, "LOAD_GLOBAL": 1, "LOAD_ATTR": int(sys.version_info >= (3, 12))}
        return name, "name", flags.get(name, 0)
    if name.count("_FAST") > 1:
        return name, "pair", 0
    if opcode in dis.haslocal or opcode in dis.hasfree:
        return name, "variable", 0
    return name, "constant" if opcode in dis.hasconst else "", 0


_WHAT = tuple(map(_kind, range(256)))


def _parameter_count(code: CodeType) -> int:
    starred = bool(code.co_flags & 0x04) + bool(code.co_flags & 0x08)
    return code.co_argcount + code.co_kwonlyargcount + starred
