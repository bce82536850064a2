"""What a mutant is: a copy of an op in which one derivative rule is wrong in one known way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tinygraph.core.op import Op, Rule
from tinygraph.testing.rule_source import original

Mode = Literal["vjp", "jvp"]


TURNS = 8_000  # more than any law needs of the loops in a rule


class Witness:
    """Notes whether the wrong place of a mutant was ever run, and ends loops that would not end."""

    def __init__(self) -> None:
        self.seen = False
        self._turns = 0

    def restart(self) -> None:
        """Count turns anew, unless they have been found not to end."""
        if self._turns <= TURNS:
            self._turns = 0

    def __call__(self, value: object = None) -> Any:
        self.seen = True
        return value

    def turn(self) -> None:
        """Count one turn of a loop."""
        self._turns += 1
        if self._turns > TURNS:
            raise RuntimeError("the rule runs forever")


@dataclass(frozen=True, eq=False)
class Planting:
    """One rule of an op, ready to be replaced by a wrong one."""

    op: Op
    rule: Rule
    mode: Mode

    @property
    def function(self) -> Callable[..., Any]:
        return original(self.rule.function)

    @property
    def file(self) -> str:
        return self.function.__code__.co_filename

    @property
    def line(self) -> int:
        return self.function.__code__.co_firstlineno

    def plant(self, function: Callable[..., Any]) -> Op:
        """A copy of the op with another function as this rule. The op itself is left as it is."""
        kept = {name: rule for name, rule in self._rules.items() if rule is not self.rule}
        changed = {"rules": kept} if self.mode == "vjp" else {"tangent_rules": kept}
        copy = bare_copy(self.op, **changed)
        if self.mode == "vjp":
            copy.vjp(*self.rule.serves)(function)
        else:
            copy.jvp(self.rule.serves[0])(function)
        return copy

    @property
    def _rules(self) -> dict[str, Rule]:
        return self.op.rules if self.mode == "vjp" else self.op.tangent_rules


def bare_copy(op: Op, **changed: Any) -> Op:
    """A copy of an op that is in no registry and shares no rules or plans with it."""
    fields = {
        "rules": dict(op.rules),
        "tangent_rules": dict(op.tangent_rules),
        "known_rules": {},
        "known_tangent_rules": {},
    }
    return replace(op, **{**fields, **changed})


@dataclass(frozen=True, eq=False)
class Mutant:
    """An op with one wrong rule.

    Attributes:
        kind: what mistake it is, such as "wrong sign".
        op: the copy of the op that has it.
        operands: whose rule it is; `rule` is that function's name, `mode` the rule's.
        file, line: where.
        before, after: the code, or what is done to the rule's arguments or result, in words.
        witness: whether the wrong place ran.
        setting: the setting that it gets wrong, if it is one.
        shared: whether the mistake is in a function that the forward calls, too.
    """

    kind: str
    op: Op
    operands: tuple[str, ...]
    rule: str
    mode: Mode
    file: str
    line: int
    before: str
    after: str
    witness: Witness
    setting: str = ""
    shared: bool = False

    @property
    def place(self) -> str:
        return f"{Path(self.file).name}:{self.line}"

    def __str__(self) -> str:
        return f"{self.kind}: {self.before} → {self.after}   ({self.rule}, {self.place})"


def planted(
    planting: Planting,
    kind: str,
    function: Callable[..., Any],
    before: str,
    after: str,
    witness: Witness,
    *,
    line: int | None = None,
    setting: str = "",
    shared: bool = False,
) -> Mutant:
    """The mutant that has `function` instead of a rule."""
    return Mutant(
        kind=kind,
        op=planting.plant(function),
        operands=planting.rule.serves,
        rule=planting.function.__name__,
        mode=planting.mode,
        file=planting.file,
        line=planting.line if line is None else line,
        before=before,
        after=after,
        witness=witness,
        setting=setting,
        shared=shared,
    )
