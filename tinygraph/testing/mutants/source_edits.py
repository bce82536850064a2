"""Mistakes in a rule's code: one expression or statement of its source, or of a helper it calls, changed.

Each function below knows one kind of syntax and yields (kind of mistake, replacement) pairs. What can go wrong with a
rule's arguments and result, whatever its code, is in `value_edits.py`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import Parameter
from types import CodeType, FunctionType
from typing import Any

from tinygraph.core.op import Op
from tinygraph.core.registry import registry
from tinygraph.errors import TinygraphError
from tinygraph.testing.mutants.mutant import Mutant, Planting, Witness, planted
from tinygraph.testing.rule_source import compiled, helpers_of, parameters, statements, syntax_of, with_code

Edit = tuple[str, ast.expr]

_WITNESS = "_witness_of_the_mutant"
_SHORT = 70  # a longer statement is not shown whole, but the expression that changes

# Functions that are easily taken for one another.
_PARTNERS = {
    "sin": "cos", "cos": "sin", "sinh": "cosh", "cosh": "sinh", "tan": "tanh", "tanh": "tan", "exp": "expm1",
    "expm1": "exp", "log": "log1p", "log1p": "log", "square": "sqrt", "sqrt": "square", "less": "greater",
    "less_equal": "greater_equal", "greater": "less", "greater_equal": "less_equal", "equal": "not_equal",
    "not_equal": "equal", "maximum": "minimum", "minimum": "maximum", "max": "min", "min": "max", "sum": "mean",
    "mean": "sum", "logical_and": "logical_or", "logical_or": "logical_and", "tril": "triu", "triu": "tril",
}  # fmt: skip
_STRICTNESS = {
    "less": "less_equal",
    "less_equal": "less",
    "greater": "greater_equal",
    "greater_equal": "greater",
}
_COMMUTATIVE = {
    "add", "multiply", "maximum", "minimum", "max", "min", "equal", "not_equal", "hypot", "logaddexp", "logical_and",
    "logical_or", "logical_xor",
}  # fmt: skip
# What it means to forget a call and go on with its first argument.
_FORGOTTEN = {
    "swapaxes": "transposed operand", "transpose": "transposed operand", "moveaxis": "transposed operand",
    "matrix_transpose": "transposed operand", "flip": "wrong order", "conj": "missing conjugate",
    "conjugate": "missing conjugate", "real": "missing real part", "sum": "forgotten sum",
    "broadcast_to": "gradient not spread", "reshape": "gradient not spread", "expand_dims": "gradient not spread",
    "negative": "wrong sign", "cast": "missing cast",
}  # fmt: skip
_OPPOSITES: dict[type[Any], type[Any]] = {
    ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
_STRICT: dict[type[Any], type[Any]] = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt}
# Calls whose arguments are no part of the mathematics.
_ASIDE = {"isinstance", "hasattr", "getattr"}


def source_mutants(planting: Planting, seen: set[str]) -> Iterator[Mutant]:
    """Every mutant that one change of the rule's code makes; none if its source is not to be had.

    `seen` has the wrong functions planted before: a helper that several rules share is changed in the first of them.
    """
    rule = planting.function
    if not isinstance(rule, FunctionType):
        return
    for function in (rule, *helpers_of(rule)):
        tree = syntax_of(function)
        if tree is not None and tree.name == function.__name__:
            yield from _mutants_of(planting, rule, function, tree, seen)


def _mutants_of(
    planting: Planting, rule: FunctionType, function: FunctionType, tree: ast.FunctionDef, seen: set[str]
) -> Iterator[Mutant]:
    forward = planting.op.forward
    shared = isinstance(forward, FunctionType) and function in helpers_of(forward)
    _count_turns(tree)
    seen.add(ast.unparse(tree))
    names = [name for name in _values_asked(planting) if name in parameters(tree)] if function is rule else []
    for change in _changes(tree, function, names):
        with_mistake = _applied(change, tree, function)
        if with_mistake is None or with_mistake.text in seen:
            continue
        seen.add(with_mistake.text)
        witness = Witness()
        wrong = with_code(rule, {function: with_mistake.code}, {_WITNESS: witness})
        yield planted(
            planting,
            change.kind,
            wrong,
            with_mistake.before,
            with_mistake.after,
            witness,
            line=change.line,
            setting=change.setting,
            shared=shared,
        )


def _values_asked(planting: Planting) -> list[str]:
    """The parameters of a rule that are values of one standing: operands and the output."""
    values = ["out", *(operand.name for operand in planting.op.signature.operands if not operand.variadic)]
    return [name for name in planting.rule.asks if name in values]


class _Turn(ast.Expr):
    """The statement that counts a turn of a loop."""


def _count_turns(tree: ast.FunctionDef) -> None:
    for node in ast.walk(tree):
        if isinstance(node, ast.While):
            count = ast.Attribute(ast.Name(_WITNESS, ast.Load()), "turn", ast.Load())
            node.body.insert(0, ast.copy_location(_Turn(ast.Call(count, [], [])), node))


@dataclass
class _Change:
    """A place in a tree, and what to put there."""

    kind: str
    statement: ast.stmt
    holder: Any  # the node or list that holds the place
    key: Any  # its attribute, or index in the list
    new: ast.AST
    setting: str = ""

    @property
    def line(self) -> int:
        return getattr(_get(self.holder, self.key), "lineno", self.statement.lineno)


@dataclass
class _Applied:
    code: CodeType
    text: str
    before: str
    after: str


def _get(holder: Any, key: Any) -> Any:
    return holder[key] if isinstance(holder, list) else getattr(holder, key)


def _set(holder: Any, key: Any, value: Any) -> None:
    if isinstance(holder, list):
        holder[key] = value
    else:
        setattr(holder, key, value)


def _applied(change: _Change, tree: ast.FunctionDef, function: FunctionType) -> _Applied | None:
    """Compile the tree with a change in it; the tree is then as before. None if it does not compile."""
    old = _get(change.holder, change.key)
    shown = change.statement if len(_header(change.statement)) <= _SHORT else old
    before = _header(shown)
    try:
        new = change.new if isinstance(change.new, ast.stmt) else ast.copy_location(change.new, old)
        _set(change.holder, change.key, new)
        dropped = isinstance(change.new, ast.Pass)
        text = ast.unparse(tree)
        after = "(dropped)" if dropped else _header(new if shown is old else shown)
        witness = ast.Call(ast.Name(_WITNESS, ast.Load()), [] if dropped else [new], [])  # type: ignore[list-item]
        _set(change.holder, change.key, ast.copy_location(ast.Expr(witness) if dropped else witness, old))
        code = compiled(tree, function)
    except (SyntaxError, ValueError, TypeError):
        return None
    finally:
        _set(change.holder, change.key, old)
    return _Applied(code, text, before, after)


def _header(node: ast.AST) -> str:
    """Code in one line; of a statement that holds others, its opening."""
    return ast.unparse(node).partition("\n")[0]


# -- where a change may be made ----------------------------------------------------------------------------------


def _changes(tree: ast.FunctionDef, function: FunctionType, names: list[str]) -> Iterator[_Change]:
    body = statements(tree)
    for holder, key in _statement_places(tree.body):
        statement = _get(holder, key)
        if statement in tree.body and statement not in body:
            continue
        if _droppable(statement, tree):
            yield _Change("dropped step", statement, holder, key, ast.copy_location(ast.Pass(), statement))
        for place, at, node in _expression_places(statement):
            for kind, new in _edits(node, function, names):
                setting = _dropped_keyword(node, new)
                yield _Change(kind, statement, place, at, new, setting)


def _statement_places(body: list[ast.stmt]) -> Iterator[tuple[list[ast.stmt], int]]:
    for i, statement in enumerate(body):
        if isinstance(statement, ast.Raise | ast.Assert | ast.FunctionDef | _Turn) or _is_guard(statement):
            continue
        yield body, i
        for name in ("body", "orelse"):
            yield from _statement_places(getattr(statement, name, []))


def _is_guard(statement: ast.stmt) -> bool:
    """Whether a statement only refuses bad input: no gradient depends on it."""
    if not isinstance(statement, ast.If) or statement.orelse:
        return False
    return all(isinstance(one, ast.Raise) for one in statement.body)


def _droppable(statement: ast.stmt, tree: ast.FunctionDef) -> bool:
    """Whether a rule could do without a statement: it changes a name that has a value already."""
    if isinstance(statement, ast.AugAssign):
        return True
    known = set(parameters(tree))
    if isinstance(statement, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id in known for target in statement.targets)
    if isinstance(statement, ast.If) and not statement.orelse:
        return not any(isinstance(one, ast.Raise) for one in statement.body)
    return False


def _expression_places(statement: ast.stmt) -> Iterator[tuple[Any, Any, ast.expr]]:
    """Every expression of a statement, without those of statements inside it."""
    for name, value in ast.iter_fields(statement):
        if name not in ("body", "orelse", "targets", "target", "annotation"):
            yield from _places(statement, name, value)


def _places(holder: object, key: object, value: object) -> Iterator[tuple[Any, Any, ast.expr]]:
    if isinstance(value, list):
        for i, one in enumerate(value):
            yield from _places(value, i, one)
    elif isinstance(value, ast.AST) and not isinstance(value, ast.JoinedStr | ast.stmt | ast.expr_context):
        if isinstance(value, ast.Call) and _callee(value) in _ASIDE:
            return
        if isinstance(value, ast.keyword) and value.arg == "strict":
            return
        if isinstance(value, ast.Compare) and isinstance(value.ops[0], ast.Is | ast.IsNot):
            yield holder, key, value
            return
        if isinstance(value, ast.expr):
            yield holder, key, value
        for name, inner in ast.iter_fields(value):
            if not (isinstance(value, ast.Call) and name == "func"):
                yield from _places(value, name, inner)
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
            yield from _places(value.func, "value", value.func.value)  # x in x.swapaxes(0, 1)


# -- the mistakes ----------------------------------------------------------------------------------------------------


def _edits(node: ast.expr, function: FunctionType, names: list[str]) -> Iterator[Edit]:
    known = _EDITS.get(type(node))
    if known is not None:
        yield from known(node)
    if isinstance(node, ast.Call):
        yield from _wrong_keywords(node, function)
        yield from _swapped_arguments(node)
    if isinstance(node, ast.Name) and node.id in names:
        for other in names:
            if other != node.id:
                yield "swapped operand", ast.Name(other, ast.Load())


def _binary(node: ast.BinOp) -> Iterator[Edit]:
    left, right, operator = node.left, node.right, node.op
    if isinstance(operator, ast.Add | ast.Sub):
        if _is_sequence(left) or _is_sequence(right):
            return
        opposite = ast.Sub() if isinstance(operator, ast.Add) else ast.Add()
        yield "wrong sign", ast.BinOp(left, opposite, right)
        yield "dropped term", left
        yield "dropped term", right if isinstance(operator, ast.Add) else ast.UnaryOp(ast.USub(), right)
    elif isinstance(operator, ast.Mult):
        yield "missing factor", left
        yield "missing factor", right
    elif isinstance(operator, ast.Div):
        yield "missing factor", left
        yield "swapped operand", ast.BinOp(right, operator, left)
        yield "wrong factor", ast.BinOp(left, ast.Mult(), right)
    elif isinstance(operator, ast.BitAnd | ast.BitOr):
        other = ast.BitOr() if isinstance(operator, ast.BitAnd) else ast.BitAnd()
        yield "wrong condition", ast.BinOp(left, other, right)
        yield "wrong condition", left
        yield "wrong condition", right
    else:
        yield "swapped operand", ast.BinOp(right, operator, left)
        if isinstance(operator, ast.Pow):
            yield "missing factor", left


def _is_sequence(node: ast.expr) -> bool:
    return isinstance(node, ast.Tuple | ast.List)


def _unary(node: ast.UnaryOp) -> Iterator[Edit]:
    if isinstance(node.op, ast.USub) and not isinstance(node.operand, ast.Constant):
        yield "wrong sign", node.operand
    elif isinstance(node.op, ast.Not | ast.Invert):
        yield "wrong condition", node.operand


def _comparison(node: ast.Compare) -> Iterator[Edit]:
    if len(node.ops) != 1:
        return
    operator = type(node.ops[0])
    if operator in _OPPOSITES:
        yield "wrong condition", ast.Compare(node.left, [_OPPOSITES[operator]()], node.comparators)
    if operator in _STRICT:
        yield "wrong comparison", ast.Compare(node.left, [_STRICT[operator]()], node.comparators)


def _boolean(node: ast.BoolOp) -> Iterator[Edit]:
    yield "wrong condition", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    for i in range(len(node.values)):
        rest = node.values[:i] + node.values[i + 1 :]
        yield "wrong condition", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)


def _conditional(node: ast.IfExp) -> Iterator[Edit]:
    yield "wrong branch", ast.IfExp(node.test, node.orelse, node.body)


def _constant(node: ast.Constant) -> Iterator[Edit]:
    value = node.value
    if isinstance(value, bool):
        yield "wrong constant", ast.Constant(not value)
    elif isinstance(value, int):
        yield "off by one", ast.Constant(value + 1)
    elif isinstance(value, float):
        yield "wrong constant", ast.Constant(value * 2 if value else 1.0)


def _attribute(node: ast.Attribute) -> Iterator[Edit]:
    if node.attr in ("T", "mT"):
        yield "transposed operand", node.value


def _call(node: ast.Call) -> Iterator[Edit]:
    name = _callee(node)
    arguments = [one for one in node.args if not isinstance(one, ast.Starred)]
    for table, kind in ((_PARTNERS, "wrong function"), (_STRICTNESS, "wrong comparison")):
        if name in table and isinstance(node.func, ast.Attribute):
            yield kind, ast.Call(_renamed(node.func, table[name]), node.args, node.keywords)
    if name == "where" and len(node.args) == 3:
        condition, yes, no = node.args
        yield "wrong branch", ast.Call(node.func, [condition, no, yes], node.keywords)
        yield "wrong branch", yes
        yield "wrong branch", no
    elif arguments and _is_op_call(node):
        yield _FORGOTTEN.get(name, "missing function"), arguments[0]
        if len(arguments) == 2:
            yield "dropped term" if name in ("add", "subtract") else "missing factor", arguments[1]


def _swapped_arguments(node: ast.Call) -> Iterator[Edit]:
    if len(node.args) < 2 or _callee(node) in _COMMUTATIVE | {"where", "len", "range", "zip", "enumerate"}:
        return
    if any(isinstance(one, ast.Starred | ast.Constant) for one in node.args[:2]):
        return
    yield "swapped operand", ast.Call(node.func, [node.args[1], node.args[0], *node.args[2:]], node.keywords)


def _wrong_keywords(node: ast.Call, function: FunctionType) -> Iterator[Edit]:
    """A setting is not passed on, so that the default applies."""
    known = _op_called(node, function)
    for i, keyword in enumerate(node.keywords):
        if known is None or keyword.arg is None or not _has_default(known, keyword.arg):
            continue
        yield "wrong setting", ast.Call(node.func, node.args, node.keywords[:i] + node.keywords[i + 1 :])


def _has_default(called: Op, name: str) -> bool:
    return called.signature.settings.get(name, Parameter.empty) is not Parameter.empty


def _dropped_keyword(node: ast.expr, new: ast.AST) -> str:
    """The keyword that a changed call no longer has."""
    if not (isinstance(node, ast.Call) and isinstance(new, ast.Call)):
        return ""
    gone = [one.arg for one in node.keywords if one not in new.keywords]
    return (gone[0] or "") if gone else ""


def _op_called(node: ast.Call, function: FunctionType) -> Op | None:
    """The op that a call runs, if it is one."""
    if isinstance(node.func, ast.Name):
        found = function.__globals__.get(node.func.id)
    elif _is_op_call(node):
        try:
            found = registry.find(_callee(node))
        except TinygraphError:
            found = None
    else:
        found = None
    return found if isinstance(found, Op) else None


def _is_op_call(node: ast.Call) -> bool:
    return isinstance(node.func, ast.Attribute) and _name_of(node.func.value) == "ops"


def _callee(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else _name_of(node.func)


def _name_of(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _renamed(function: ast.expr, name: str) -> ast.expr:
    if isinstance(function, ast.Attribute):
        return ast.Attribute(function.value, name, ast.Load())
    return ast.Name(name, ast.Load())


_EDITS: dict[type[Any], Callable[[Any], Iterator[Edit]]] = {
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.Compare: _comparison,
    ast.BoolOp: _boolean,
    ast.IfExp: _conditional,
    ast.Constant: _constant,
    ast.Attribute: _attribute,
    ast.Call: _call,
}
