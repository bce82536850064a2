"""Generators of random numbers that functions can reach, found by what their code reads, without running it.

For transforms that run a function once for many examples and do not watch it: what it drew shows in where its
generators stand afterwards. More is found than is used, which does no harm; nothing is called on the way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np

from tinygraph.core.state import Generator
from tinygraph.core.tensor import Handle
from tinygraph.tracing.code_reads import reads_of
from tinygraph.tracing.facts import MISSING, is_atom
from tinygraph.tracing.host import Host
from tinygraph.tracing.looking import is_own_module, is_watched

_UNSEEN = (
    np.ndarray,
    Handle,
    ModuleType,
    Generator,
)  # a generator of the library's has draws that are recorded
_LIMIT = 10_000  # values looked at: a model has some hundreds
_ITEMS = 1_000  # of one container


def sources_in(values: Iterable[Any]) -> Iterator[tuple[Any, str]]:
    """Every generator of `random` or NumPy within some values - functions, methods, objects, containers - by name."""
    seen: set[int] = set()
    kept: list[Any] = []  # what was made on the way, such as methods, whose ids must stay theirs
    todo = deque((value, str(getattr(value, "__name__", "an argument"))) for value in values)
    while todo and len(seen) < _LIMIT:
        value, words = todo.popleft()
        if id(value) in seen or isinstance(value, _UNSEEN) or is_atom(value):
            continue
        seen.add(id(value))
        kept.append(value)
        if Host.is_source(value):
            yield value, words
        else:
            todo.extend(_within(value, words))


def _within(value: Any, words: str) -> Iterator[tuple[Any, str]]:
    """What a value holds that code may reach by it, with names."""
    if isinstance(value, FunctionType):
        if is_watched(value.__code__.co_filename):
            yield from _read_by(value)
        yield getattr(value, "__wrapped__", None), words
    elif isinstance(value, MethodType):
        yield value.__self__, words if Host.is_source(value.__self__) else "self"
        yield value.__func__, words
    elif isinstance(value, partial):
        for part in (value.func, *value.args, *value.keywords.values()):
            yield part, words
    elif isinstance(value, dict):
        for key, part in list(dict.items(value))[:_ITEMS]:
            yield part, f"{words}[{key!r:.40}]"
    elif isinstance(value, list | tuple):
        for i, part in enumerate(value[:_ITEMS]):
            yield part, f"{words}[{i}]"
    elif isinstance(value, type):
        if is_own_module(str(value.__module__)):
            for name, part in list(vars(value).items()):
                yield getattr(part, "__func__", part), f"{value.__name__}.{name}"
    elif not isinstance(
        getattr(value, "__self__", None), ModuleType | None
    ):  # a method in C, such as `rng.normal`
        yield value.__self__, words
    else:
        own = getattr(value, "__dict__", None)
        for name, part in list(own.items()) if isinstance(own, dict) else ():
            yield part, f"{words}.{name}"
        for one in type(value).__mro__[:-1]:
            yield one, words


def _read_by(function: FunctionType) -> Iterator[tuple[Any, str]]:
    """The variables of a function that are not its own, and the attributes that it reads of them."""
    code, variables = function.__code__, function.__globals__
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
    for chain in reads_of(code).chains:
        if chain.kind == "global":
            value = variables.get(chain.variable, MISSING)
        elif chain.variable in cells:
            try:
                value = cells[chain.variable].cell_contents
            except ValueError:  # not assigned yet
                continue
        else:
            continue
        words = chain.variable
        for name in chain.attributes:
            if not isinstance(value, ModuleType):
                break
            value, words = vars(value).get(name, MISSING), f"{words}.{name}"
        if value is not MISSING:
            yield value, words
    yield function.__defaults__ or (), f"the defaults of {function.__name__}"
    yield function.__kwdefaults__ or {}, f"the defaults of {function.__name__}"
    for part in code.co_consts:  # functions that this one makes, which read the same cells and globals
        if isinstance(part, CodeType):
            inner = tuple(cells[name] if name in cells else CellType() for name in part.co_freevars)
            yield FunctionType(part, variables, part.co_name, None, inner), part.co_name
