"""Requests for kernels as text: what was asked of which function, under which a kernel is found without making it.

Writing a kernel in LLVM's language takes as long as compiling it. Where the function and all its arguments are plain
data, and all code that could run is the library's own, the request stands for the result: its key holds the hash of
that code. Anything else - an op of another package among the steps, say - is written out, and found by what is written.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from tinygraph.core.op import Op
from tinygraph.core.registry import BUILTIN_PACKAGE
from tinygraph.kernels import IMPORTED
from tinygraph.kernels.disk_cache import digest

_KERNELS = "tinygraph.kernels"
_ATOMS = (type(None), bool, int, str, bytes)


class NotPlain(Exception):
    """Something that may be another thing in the next process."""


def request_key(make: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str | None:
    """The key of a request, or None where it does not say everything."""
    code = library_code()
    if code is None or not str(make.__module__).startswith(_KERNELS):
        return None
    try:
        words = "".join(_words((make.__module__, make.__qualname__, args, tuple(sorted(kwargs.items())))))
    except NotPlain:
        return None
    return digest(b"request", code, words.encode())


def plain_words(value: object) -> bytes | None:
    """Plain data in words, with the hash of the library's code; None where the words would not say everything."""
    code = library_code()
    try:
        return None if code is None else code + "".join(_words(value)).encode()
    except NotPlain:
        return None


def _words(value: object) -> Iterator[str]:
    """A value in words, in which whatever differs is different."""
    kind = type(value)
    if kind in _ATOMS:
        yield f"{kind.__name__} {value!r};"
    elif kind is float:
        yield f"float {value!r};"  # 0.0 is not -0.0
    elif isinstance(value, tuple) and (kind is tuple or hasattr(value, "_fields")):
        yield f"{kind.__module__}.{kind.__qualname__} {len(value)}("
        for one in value:
            yield from _words(one)
        yield ")"
    elif isinstance(value, np.dtype):
        yield f"dtype {value.str};"
    elif value is inspect.Parameter.empty:  # a setting without a default
        yield "required;"
    elif isinstance(value, Op):
        yield _op_words(value)
    else:
        raise NotPlain


@functools.lru_cache(4096)
def _op_words(op: Op) -> str:
    """What a built-in op emits, by the name of its rule."""
    emission = op.emission
    if op.package != BUILTIN_PACKAGE or emission is None or emission.rule is None:
        raise NotPlain
    rule = emission.rule
    module = sys.modules.get(rule.__module__)
    own = str(rule.__module__).partition(".")[0] == BUILTIN_PACKAGE
    if not own or getattr(module, rule.__qualname__, None) is not rule:  # made by a function, or replaced
        raise NotPlain
    facts = (
        emission.conditions,
        emission.bools,
        emission.integers,
        tuple(sorted(op.signature.settings.items())),
    )
    return f"op {op.name} {rule.__module__}.{rule.__qualname__} " + "".join(_words(facts))


@functools.cache
def library_code() -> bytes | None:
    """The hash of all code that writes kernels; None where it cannot be read, or was edited since it was imported."""
    texts: list[bytes] = []
    try:
        for path in _files():
            with open(path, "rb", buffering=0) as file:
                if os.fstat(file.fileno()).st_mtime > IMPORTED:
                    return None
                texts.append(file.read())
    except OSError:
        return None
    return digest(*texts).encode() if texts else None


def _files() -> list[str]:
    """The files that decide what kernels do: this package, and the built-in ops, beside which their rules stand."""
    roots = (_KERNELS, BUILTIN_PACKAGE)
    places = [os.path.dirname(str(sys.modules[name].__file__)) for name in roots if name in sys.modules]
    return sorted(
        os.path.join(folder, name)
        for place in places
        for folder, _, names in os.walk(place)
        for name in names
        if name.endswith(".py")
    )
