"""The source of derivative rules: read as a syntax tree with true line numbers, and made a function again.

Nothing is executed here: a changed tree is compiled, and a function is put together from its code object. What is
wrong in a tree is the linter's business, how to make it wrong that of `mutants`.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from types import CodeType, FunctionType
from typing import Any

Function = Callable[..., Any]


def original(function: Function) -> Function:
    """The function as its author wrote it, out of the wrappers around it."""
    found: Function = inspect.unwrap(function)
    return found


def syntax_of(function: Function) -> ast.FunctionDef | None:
    """The definition of a function, its lines numbered as in its file.

    None if there is none: a lambda, a function made in a console, a file that is gone; or a rule that the library made
    for an op (`Op.pushes`), whose source is not the op's.
    """
    if hasattr(function, "__signature__"):
        return None
    try:
        lines, first = inspect.getsourcelines(function)
        tree = ast.parse(textwrap.dedent("".join(lines)))
    except (OSError, TypeError, SyntaxError):
        return None
    found = tree.body[0] if tree.body else None
    if not isinstance(found, ast.FunctionDef):
        return None
    found.decorator_list = []
    ast.increment_lineno(found, first - 1)
    return found


def parameters(tree: ast.FunctionDef) -> list[str]:
    """The names of all parameters, in order."""
    every = [
        *tree.args.posonlyargs,
        *tree.args.args,
        tree.args.vararg,
        *tree.args.kwonlyargs,
        tree.args.kwarg,
    ]
    return [one.arg for one in every if one is not None]


def statements(tree: ast.FunctionDef) -> list[ast.stmt]:
    """The body without the docstring."""
    opens_with_text = isinstance(tree.body[0], ast.Expr) and isinstance(tree.body[0].value, ast.Constant)
    return tree.body[opens_with_text:]


def helpers_of(function: FunctionType) -> list[FunctionType]:
    """The plain functions of the same module that a function calls, directly or not."""
    found: dict[str, FunctionType] = {}
    waiting = [function]
    while waiting:
        for name in _global_names(waiting.pop().__code__):
            value = function.__globals__.get(name)
            if not isinstance(value, FunctionType) or value is function or name in found:
                continue
            if value.__module__ == function.__module__:
                found[name] = value
                waiting.append(value)
    return list(found.values())


def _global_names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _global_names(constant)


def compiled(tree: ast.FunctionDef, like: FunctionType) -> CodeType:
    """The code object of a changed definition, with the free variables that `like` has."""
    outer: Any = ast.parse(f"def outer({', '.join(like.__code__.co_freevars)}): pass")
    outer.body[0].body = [tree]
    module = compile(ast.fix_missing_locations(outer), like.__code__.co_filename, "exec", dont_inherit=True)
    return _inner(_inner(module, "outer"), tree.name)


def _inner(code: CodeType, name: str) -> CodeType:
    return next(one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name)


def with_code(
    function: FunctionType, codes: Mapping[FunctionType, CodeType], extra: Mapping[str, Any]
) -> FunctionType:
    """A copy of a function in which some functions have other code: it, or helpers that it calls.

    The copy and its helpers have global names of their own, `extra` among them; the module is left as it is.
    """
    names = {**function.__globals__, **extra}
    for helper in helpers_of(function):
        names[helper.__name__] = _copied(helper, codes.get(helper, helper.__code__), names)
    return _copied(function, codes.get(function, function.__code__), names)


def _copied(function: FunctionType, code: CodeType, names: dict[str, Any]) -> FunctionType:
    cells = dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))
    closure = tuple(cells[name] for name in code.co_freevars)
    made = FunctionType(code, names, function.__name__, function.__defaults__, closure)
    made.__kwdefaults__ = function.__kwdefaults__
    made.__module__ = function.__module__
    return made
