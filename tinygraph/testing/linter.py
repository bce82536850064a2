"""The linter of ops: faults that can be read off a rule's source and an op's declaration, before anything runs.

Whether an op is right is for the laws to say; a fault here is what usually makes it wrong, slow, or untested.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from inspect import Parameter
from itertools import chain
from pathlib import Path
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tinygraph.core.op import Composite, Op, Rule
from tinygraph.core.registry import registry
from tinygraph.testing.rule_source import original, parameters, statements, syntax_of

if TYPE_CHECKING:
    from tinygraph.core.op import Sample

Severity = Literal["error", "warning", "hint"]

# What can be asked of a value that has no value yet.
_FROM_THE_TYPE = {"shape", "dtype", "ndim", "size"}
_DETACHING_METHODS = {"numpy", "item", "tolist", "detach", "__array__"}
_ABOUT_THE_TYPE = {"isinstance", "len", "hasattr", "getattr", "varies"}  # or whether it is recorded
_WRITING_METHODS = {"sort", "fill", "put", "resize", "partition", "itemset"}
_DETACHING_CALLS = {"float", "int", "bool", "complex"}
_CASTS = "the engine gives a gradient its operand's dtype"
_MAKERS = {
    "zeros",
    "ones",
    "full",
    "empty",
    "zeros_like",
    "ones_like",
    "dtype",
    "finfo",
    "iinfo",
    "result_type",
}


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with an op, or likely to be.

    Attributes:
        severity: "error" is wrong whenever it runs, "warning" nearly always, "hint" is worth a look.
        op, rule: names; `rule` is empty for a fault of the declaration.
        file, line: where.
        what, todo: in words.
    """

    severity: Severity
    op: str
    rule: str
    file: str
    line: int
    what: str
    todo: str

    @property
    def place(self) -> str:
        return f"{Path(self.file).name}:{self.line}"

    def __str__(self) -> str:
        where = f"rule {self.rule!r} of op {self.op!r}" if self.rule else f"op {self.op!r}"
        return f"{self.place}: {self.severity}: {where}: {self.what}; {self.todo}"


def lint_op(op: Op | Composite | str) -> list[Fault]:
    """Read an op's declaration and the source of its rules for faults; nothing of the op is run.

    Args:
        op: the op, its name, or `"package:name"`.

    Returns:
        The faults, errors first. Rules whose source is not to be had are only checked as far as their signature goes.

    >>> lint_op("sin")
    []
    """
    op = registry.find(op) if isinstance(op, str) else op
    faults = [*_declaration(op), *_samples(op)]
    if isinstance(op, Op):
        rules: dict[int, Rule] = {
            id(rule): rule for rule in chain(op.rules.values(), op.tangent_rules.values())
        }
        faults += chain.from_iterable(_RuleReading(op, rule).faults() for rule in rules.values())
    order = ("error", "warning", "hint")
    return sorted(dict.fromkeys(faults), key=lambda fault: (order.index(fault.severity), fault.line))


# -- the declaration -------------------------------------------------------------------------------------------------


def _declaration(op: Op | Composite) -> Iterator[Fault]:
    def fault(severity: Severity, what: str, todo: str) -> Fault:
        return Fault(severity, op.name, "", op.origin.file, op.origin.line, what, todo)

    if not op.formula:
        yield fault("warning", "it has no docstring", "open it with the formula: drawings and errors show it")
    if not isinstance(op, Op):
        return
    for operand in op.signature.operands:
        name = operand.name
        if name in op.rules and name in op.nondifferentiable:
            yield fault(
                "error", f"{name!r} has a rule and is declared nondifferentiable", "keep one of the two"
            )
        elif name not in op.rules and name not in op.nondifferentiable:
            yield fault(
                "error" if _is_ever_real(op, name) else "warning",
                f"operand {name!r} has no derivative rule",
                f"attach one with @{op.name}.vjp({name!r}), or declare nondifferentiable={name!r}",
            )
    if not op.typed:
        yield fault(
            "hint",
            "it has no type rule, so that types are found by running the forward on stand-ins",
            f"attach one with @{op.name}.types, or name a family with types=",
        )


def _is_ever_real(op: Op, name: str) -> bool:
    return any(x.dtype.kind in "fc" for x in _given(op, name))


def _refuses_rectangles(op: Op, name: str) -> bool:
    """Whether an error sample shows that an operand must be square."""
    return any(
        x is not None and op.operand_at(i).name == name and x.ndim > 1 and x.shape[-1] != x.shape[-2]
        for sample in op.error_samples
        for i, x in enumerate(sample.operands[: len(op.signature.operands)])
    )


def _given(op: Op, name: str) -> list[Any]:
    """What the samples give for an operand, absent ones left out."""
    found = []
    for sample in op.samples:
        for i, x in enumerate(sample.operands):
            if x is not None and op.operand_at(i).name == name:
                found.append(x)
    return found


def _samples(op: Op | Composite) -> Iterator[Fault]:
    def fault(severity: Severity, what: str, todo: str) -> Fault:
        return Fault(severity, op.name, "", op.origin.file, op.origin.line, what, todo)

    if not op.samples:
        yield fault(
            "error", "it has no samples, so nothing can check it", "declare samples=[Sample(...), ...]"
        )
        return
    if all(sample.expected is None for sample in op.samples):
        yield fault(
            "warning", "no sample has expected values", "add one with values known from elsewhere, by hand"
        )
    if not any(sample.smooth for sample in op.samples) and (isinstance(op, Composite) or op.rules):
        yield fault(
            "warning", "all samples lie at kinks, where no derivative is checked", "add one away from them"
        )
    if not isinstance(op, Op):
        return
    for setting, default in op.signature.settings.items():
        given = [sample.settings[setting] for sample in op.samples if setting in sample.settings]
        if all(value == default for value in given):
            yield fault("warning", f"no sample sets {setting!r} away from its default", "add one that does")
        elif (
            default is Parameter.empty and len({repr(value) for value in given}) == 1 and len(op.samples) > 1
        ):
            yield fault("hint", f"all samples set {setting!r} to {given[0]!r}", "add one with another value")
    for operand in op.signature.operands:
        yield from _operand_samples(op, operand.name, operand.optional, fault)
    several = [sample for sample in op.samples if sum(x is not None for x in sample.operands) > 1]
    if op.kind == "elementwise" and len(op.signature.operands) > 1 and not any(map(_broadcasts, several)):
        yield fault(
            "warning", "no sample has operands that broadcast", "add one, such as a row with a column"
        )


def _operand_samples(op: Op, name: str, optional: bool, fault: Callable[..., Fault]) -> Iterator[Fault]:
    given = _given(op, name)
    if not given:
        yield fault("warning", f"no sample gives the operand {name!r}", "add one that does")
        return
    if optional and len(given) == len(op.samples):
        yield fault("hint", f"every sample gives the optional operand {name!r}", "add one without it")
    deep = [x.shape[-2:] for x in given if x.ndim > 1 and x.size > 1]
    if (
        deep
        and name in op.rules
        and op.kind != "elementwise"
        and all(rows == columns for rows, columns in deep)
        and not _refuses_rectangles(op, name)
    ):
        yield fault(
            "warning", f"all samples of {name!r} are square", "add a rectangular one, to see transposition"
        )
    if all(x.size < 2 for x in given):
        yield fault(
            "hint", f"no sample of {name!r} has more than one element", "add one with several, all different"
        )


def _broadcasts(sample: Sample) -> bool:
    return len({x.shape for x in sample.operands if x is not None}) > 1


# -- one rule --------------------------------------------------------------------------------------------------------


class _RuleReading:
    """One rule's source, and which of its names hold values that gradients flow through."""

    def __init__(self, op: Op, rule: Rule) -> None:
        self.op = op
        self.rule = rule
        self.function = original(rule.function)
        self.tree = syntax_of(self.function)
        self.first = parameters(self.tree)[0] if self.tree else "g"
        operands = [operand.name for operand in op.signature.operands]
        self.asked_values = [name for name in rule.asks if name == "out" or name in operands]
        self.values = {self.first, *self.asked_values} - set(op.nondifferentiable)
        self.aliases = {self.first, *self.asked_values}

    def fault(self, severity: Severity, node: ast.AST | None, what: str, todo: str) -> Fault:
        code = self.function.__code__
        line = getattr(node, "lineno", code.co_firstlineno)
        return Fault(severity, self.op.name, self.function.__name__, code.co_filename, line, what, todo)

    def faults(self) -> Iterator[Fault]:
        if self.function.__name__ == "<lambda>":
            yield self.fault(
                "warning", None, "it is a lambda", "write a named function: tracebacks show its name"
            )
        if self.tree is None:
            return
        self._follow_assignments(self.tree)
        yield from self._asked(self.tree)
        guarded = self._guarded(self.tree)
        for statement in statements(self.tree):
            for node in ast.walk(statement):
                yield from self._writes(node)
                if isinstance(node, ast.Call):
                    yield from self._call(node)
                if isinstance(node, ast.If | ast.While | ast.IfExp) and id(node.test) not in guarded:
                    yield from self._branch(node)

    def _follow_assignments(self, tree: ast.FunctionDef) -> None:
        """Names that are given a value's value hold values, too."""
        for node in ast.walk(tree):
            for target, value in _pairs(node):
                if self._names_value(value):
                    names = {one.id for one in ast.walk(target) if isinstance(one, ast.Name)}
                    self.values |= names
                    if isinstance(value, ast.Name) and value.id in self.aliases:
                        self.aliases |= names

    def _names_value(self, node: ast.AST) -> bool:
        """Whether an expression depends on a value, rather than on a type or setting."""
        if isinstance(node, ast.Name):
            return node.id in self.values
        if isinstance(node, ast.Attribute) and node.attr in _FROM_THE_TYPE:
            return False
        if isinstance(node, ast.Call) and (
            _name_of(node.func) in _ABOUT_THE_TYPE or self._reads_types(node.func)
        ):
            return False
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Is | ast.IsNot):
            return False
        return any(self._names_value(inner) for inner in ast.iter_child_nodes(node))

    def _reads_types(self, function: ast.expr) -> bool:
        """Whether a function of the same module looks at no more than its arguments' types."""
        found = self.function.__globals__.get(_name_of(function)) if isinstance(function, ast.Name) else None
        if not isinstance(found, FunctionType) or found.__module__ != self.op.origin.module:
            return False
        tree = syntax_of(found)
        if tree is None:
            return False
        reading = object.__new__(_RuleReading)
        reading.op, reading.function, reading.values = self.op, found, set(parameters(tree))
        return not any(map(reading._names_value, statements(tree)))

    # -- what is asked for

    def _asked(self, tree: ast.FunctionDef) -> Iterator[Fault]:
        loads = [
            node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
        ]
        through_type = {
            id(node.value)
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in _FROM_THE_TYPE
        }
        for name in self.rule.asks:
            uses = [node for node in loads if node.id == name]
            if not uses:
                kept = name in self.asked_values
                yield self.fault(
                    "warning" if kept else "hint",
                    tree,
                    f"it asks for {name!r} and does not use it",
                    "leave it out"
                    + (": what is asked for stays in memory until the backward pass" if kept else ""),
                )
            elif name in self.asked_values and all(id(node) in through_type for node in uses):
                instead = f"take it from {self.first}" if name == "out" else f"ask for {name}_type"
                yield self.fault(
                    "warning",
                    uses[0],
                    f"it asks for the value of {name!r} only for its shape or dtype, which keeps it in memory",
                    instead,
                )

    # -- what is written

    def _writes(self, node: ast.AST) -> Iterator[Fault]:
        todo = "arrays are shared with the caller and the tape: compute a new one"
        if (
            isinstance(node, ast.AugAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id in self.aliases
        ):
            yield self.fault("error", node, f"it changes {node.target.id!r} in place", todo)
        if not isinstance(node, ast.Assign | ast.AugAssign):
            return
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Subscript) and self._names_value(target.value):
                yield self.fault("error", node, f"it writes into {ast.unparse(target.value)!r}", todo)

    # -- what is called

    def _call(self, node: ast.Call) -> Iterator[Fault]:
        name = _name_of(node.func)
        arguments = [*node.args, *(keyword.value for keyword in node.keywords)]
        on_value = any(map(self._names_value, arguments))
        if any(keyword.arg == "out" for keyword in node.keywords) and on_value:
            yield self.fault(
                "error", node, f"{name}(..., out=...) writes into an array", "use what the op returns"
            )
        if self._is_numpy(node.func):
            yield from self._numpy_call(node, name, on_value)
        elif isinstance(node.func, ast.Attribute) and self._names_value(node.func.value):
            yield from self._method(node, name)
        elif isinstance(node.func, ast.Name) and name in _DETACHING_CALLS and on_value:
            yield self.fault(
                "error", node, f"{name}(...) takes the number out of the graph", "keep it an array"
            )
        elif name == "detach":
            yield self.fault(
                "hint", node, "ops.detach stops derivatives of higher order", "say why in a comment"
            )
        is_sum = name == "sum" and not isinstance(node.func, ast.Name)
        if is_sum and self.op.kind == "elementwise" and (on_value or self._names_value(node.func)):
            todo = "return the gradient unsummed: un-broadcasting is the engine's"
            yield self.fault("warning", node, "it sums, in an elementwise op", todo)
        if name == "cast" and node.args and _name_of(node.args[0]) == self.first:
            yield self.fault("warning", node, f"it casts {self.first!r}", _CASTS)

    def _numpy_call(self, node: ast.Call, name: str, on_value: bool) -> Iterator[Fault]:
        if name in ("asarray", "array", "ascontiguousarray") and on_value:
            yield self.fault(
                "error", node, f"np.{name} takes a value out of the graph", "operands are arrays already"
            )
        elif on_value and name not in _MAKERS:
            yield self.fault(
                "error", node, f"np.{name} on a value is not closed", f"write ops.{name} or an operator"
            )
        elif not on_value and hasattr(np, name) and isinstance(getattr(np, name), np.ufunc):
            yield self.fault(
                "warning",
                node,
                f"{ast.unparse(node)} is a float64 NumPy scalar, which makes float32 gradients float64",
                "use the function of `math`: Python numbers are weak",
            )

    def _method(self, node: ast.Call, name: str) -> Iterator[Fault]:
        if name in _DETACHING_METHODS:
            yield self.fault("error", node, f".{name}() takes the value out of the graph", "compute with ops")
        elif name in _WRITING_METHODS:
            yield self.fault("error", node, f".{name}() writes into the array", "compute a new one with ops")
        elif name == "astype":
            yield self.fault("warning", node, ".astype casts a value", _CASTS)

    def _is_numpy(self, function: ast.expr) -> bool:
        root = function
        while isinstance(root, ast.Attribute):
            root = root.value
        found = self.function.__globals__.get(root.id) if isinstance(root, ast.Name) else None
        return isinstance(found, ModuleType) and found.__name__.partition(".")[0] == "numpy"

    # -- what is decided

    def _guarded(self, tree: ast.FunctionDef) -> set[int]:
        """Conditions inside a branch that has established by isinstance that the value is a Python number."""
        return {
            id(inner.test)
            for node in ast.walk(tree)
            if isinstance(node, ast.If | ast.IfExp)
            and any(
                isinstance(one, ast.Call) and _name_of(one.func) == "isinstance"
                for one in ast.walk(node.test)
            )
            for inner in ast.walk(node)
            if isinstance(inner, ast.If | ast.IfExp)
        }

    def _branch(self, node: ast.If | ast.While | ast.IfExp) -> Iterator[Fault]:
        if self._names_value(node.test):
            yield self.fault(
                "error",
                node,
                f"it branches on a value ({ast.unparse(node.test)}), which is unknown in capture and may be an array",
                "choose element by element with ops.where",
            )


def _pairs(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    """Targets and values of an assignment, those of tuples one by one."""
    if not isinstance(node, ast.Assign):
        return
    for target in node.targets:
        value = node.value
        if (
            isinstance(target, ast.Tuple)
            and isinstance(value, ast.Tuple)
            and len(target.elts) == len(value.elts)
        ):
            yield from zip(target.elts, value.elts, strict=True)
        else:
            yield target, node.value


def _name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
