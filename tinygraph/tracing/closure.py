"""What a function reads without being given it: the variables it closes over and the globals it names.

A captured graph is right only as long as they are what they were. The contents of lists, dicts and plain arrays are not
looked at, nor what the functions called by this one read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tinygraph.tracing.trace import Trace

_MISSING = object()


def rely_on_closure(trace: Trace, function: Callable[..., Any]) -> None:
    """Let a capture hold only while the variables that its function reads are bound to what they are bound to now."""
    if isinstance(function, MethodType):
        function = function.__func__
    if not isinstance(function, FunctionType):
        return
    known = function.__globals__
    for name in {name for code in _codes(function.__code__) for name in code.co_names if name in known}:
        _rely(trace, name, partial(known.get, name, _MISSING))
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        _rely(trace, name, partial(_contents, cell))


def _codes(code: CodeType) -> Iterator[CodeType]:
    """The code of a function and of the functions written inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _contents(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return _MISSING


def _rely(trace: Trace, name: str, read: Callable[[], Any]) -> None:
    before = read()
    if isinstance(before, ModuleType | FunctionType | type):
        return
    trace.rely(f"the variable {name!r} has another value", lambda: _same(read(), before))


def _same(now: Any, before: Any) -> bool:
    """Whether a variable is bound to the same object, or to an equal number or string."""
    if now is before:
        return True
    return type(now) is type(before) and isinstance(now, int | float | complex | str) and bool(now == before)
