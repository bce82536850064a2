"""`tinygraph ops check`: laws, linter and mutation score as tables or JSON. What a law says is decided elsewhere."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from tinygraph.cli.terminal import console, errors, fail, say
from tinygraph.core.op import Op
from tinygraph.core.registry import BUILTIN_PACKAGE
from tinygraph.testing import Report, check_op
from tinygraph.testing.card_making import make_card
from tinygraph.testing.linter import Fault, lint_op
from tinygraph.testing.mutation import Score, mutation_score
from tinygraph.testing.package_files import (
    card_faults,
    lacks_manifest,
    manifest_faults,
    write_cards,
    write_manifest,
)
from tinygraph.testing.roots import Cause
from tinygraph.testing.targets import Target, every_package, find_target


@dataclass
class Checked:
    """What was found out about one op."""

    op: Any
    report: Report | None
    faults: list[Fault]
    score: Score | None
    held_back: bool = False  # whether a score was wanted, but laws are broken

    @property
    def ok(self) -> bool:
        """Whether nothing is broken. Built-in ops without samples are checked through the ops that use them."""
        unchecked = self.report is None and self.op.package != BUILTIN_PACKAGE
        broken = self.report is not None and not self.report.ok
        return not (unchecked or broken or (self.report is not None and self.errors))

    @property
    def errors(self) -> list[Fault]:
        return [fault for fault in self.faults if fault.severity == "error"]

    def laws(self) -> tuple[str, str]:
        """The laws in a few words, and a colour."""
        if self.report is None:
            return "no samples", "dim" if self.ok else "red"
        if self.report.broken:
            return "broken: " + ", ".join(dict.fromkeys(one.root.law for one in self.report.causes)), "red"
        return f"{sum(status == 'holds' for _, status, _ in self.report.rows())} hold", "green"

    @property
    def scoring(self) -> str:
        """The mutation score in words, or why there is none; empty if it was not asked for or cannot be."""
        if self.score is not None:
            return self.score.line
        return "mutation score – (laws are broken: mend them first)" if self.held_back else ""

    def told(self) -> list[str]:
        """What is wrong, one text a cause: what the linter read in a rule stands with what that rule breaks."""
        causes = list(self.report.causes) if self.report is not None else []
        faults = list(self.errors)
        texts = []
        for cause in causes:
            read = [fault for fault in faults if self._is_about(fault, cause)]
            faults = [fault for fault in faults if fault not in read]
            texts.append("\n".join([str(cause), *(f"    {'in the source':13} {fault}" for fault in read)]))
        return texts + [str(fault) for fault in faults]

    def _is_about(self, fault: Fault, cause: Cause) -> bool:
        """Whether the linter's fault is on the line that raised, or in the rule of the operand that is wrong."""
        if cause.root.place:
            return fault.place == cause.root.place
        rule = getattr(self.op, "rules", {}).get(cause.root.operand)
        return rule is not None and fault.rule == rule.function.__name__

    def data(self) -> dict[str, Any]:
        """Everything as JSON data."""
        rows = self.report.rows() if self.report else []
        findings = self.report.findings if self.report else ()
        causes = self.report.causes if self.report else ()
        score = self.score
        return {
            "op": self.op.name,
            "ok": self.ok,
            "laws": [{"law": law, "status": status, "note": note} for law, status, note in rows],
            "causes": [{**cause.root.data(), "breaks": list(cause.laws)} for cause in causes],
            "findings": [finding.data() for finding in findings],
            "lint": [{"severity": one.severity, "rule": one.rule, "place": one.place, "what": one.what,
                      "todo": one.todo} for one in self.faults],
            "mutation": score and {"percent": score.percent, "killed": len(score.killed),
                                   "survived": [str(one) for one in score.survivors],
                                   "equivalent": len(score.equivalents)},
        }  # fmt: skip


@dataclass
class CheckedPackage:
    """What was found out about a target: its ops, and the files that it ships about them."""

    target: Target
    ops: list[Checked]
    shipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.shipped and all(one.ok for one in self.ops)


def check(
    *targets: str,
    every: Annotated[bool, Parameter(name="--all", negative="")] = False,
    mutation: bool = True,
    time_limit: float = 60.0,
    write_manifest: Annotated[bool, Parameter(negative="")] = False,
    write_card: Annotated[bool, Parameter(negative="")] = False,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Check ops against every law they must obey, read their rules for faults, and score their samples.

    Exits with 1 if something is broken.

    Parameters
    ----------
    targets
        Names of ops (`package:name` where two packages claim one), .py files, packages, or folders of packages.
    every
        Check every package that is installed, the built-in one included.
    mutation
        Plant wrong rules and count those that the samples catch, once every law holds; this takes the longest.
    time_limit
        Seconds for one law on one sample; what takes longer hangs.
    write_manifest
        Renew the package's manifest: its names, known without importing it.
    write_card
        Renew the package's conformance cards; with --no-mutation they keep the scores they have.
    as_json
        Print JSON instead of tables.
    """
    if not targets and not every:
        return fail("nothing to check: give an op's name, a file, a package or a folder, or --all")
    found = every_package(time_limit=time_limit) if every else []
    found += [find_target(one, time_limit=time_limit) for one in targets]
    if (write_manifest or write_card) and any(one.folder is None and not one.fault for one in found):
        return fail(
            "a manifest and cards belong to a package: give the package or its folder, not an op or a file"
        )
    packages = [_check(one, mutation, time_limit) for one in found]
    for package in packages:
        _compare_files(package, write_manifest, write_card)
    if as_json:
        data = [one.data() for package in packages for one in package.ops]
        shipped = [fault for package in packages for fault in package.shipped]
        say(json.dumps({"ok": all(one.ok for one in packages), "ops": data, "package": shipped}, indent=1))
    else:
        _show(packages)
    return 0 if all(package.ok for package in packages) else 1


def _check(target: Target, mutation: bool, seconds: float) -> CheckedPackage:
    checked = []
    with errors.status("") as status:
        for op in target.ops:
            status.update(f"checking {op.name}")
            report = check_op(op, report=True, time_limit=seconds) if op.samples else None
            wanted = mutation and isinstance(op, Op) and report is not None
            # against broken laws a mutant's verdict says nothing, and it would be asked for many times over
            score = mutation_score(op) if wanted and report is not None and report.ok else None
            checked.append(Checked(op, report, lint_op(op), score, held_back=wanted and score is None))
    return CheckedPackage(target, checked, [target.fault] if target.fault else [])


def _compare_files(package: CheckedPackage, new_manifest: bool, new_cards: bool) -> None:
    """Write or verify what a package ships about its ops."""
    target = package.target
    folder = target.folder
    if folder is None:
        return
    cards = [make_card(one.op, one.report, one.score, scored=False) for one in package.ops]
    if new_manifest:
        package.notes.append(f"wrote {_shown(write_manifest(folder, target.ops))}")
    if new_cards:
        package.notes.append(f"wrote {_shown(write_cards(folder, cards))}")
    wrong = manifest_faults(folder, target.ops)
    package.shipped += [f"{one}; --write-manifest renews it" for one in wrong]
    package.shipped += [f"{one}; --write-card renews it" for one in card_faults(folder, cards)]
    if lacks_manifest(folder):
        package.notes.append(
            "no manifest: the package is imported to know its names; --write-manifest writes one"
        )


def _shown(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


# -- showing -----------------------------------------------------------------------------------------------------------


def _show(packages: list[CheckedPackage]) -> None:
    ops = [one for package in packages for one in package.ops]
    if len(ops) == 1:
        _show_one(ops[0])
    else:
        _show_table(ops)
    for package in packages:
        for note in package.notes:
            say(note)
        for fault in package.shipped:
            console.print(Text.assemble(("broken: ", "bold red"), f"{package.target.name}: {fault}"))


def _show_one(one: Checked) -> None:
    if one.report is None:
        say(
            f"op {one.op.name!r} has no samples, so no law can be checked: declare samples=[Sample(...), ...]"
        )
    else:
        console.print(one.report.table())
        for text in one.told():
            console.print(Text(f"\n{text}"))
    for fault in one.faults:
        if one.report is None or fault.severity != "error":
            console.print(Text(str(fault), {"error": "red", "warning": "yellow"}.get(fault.severity, "dim")))
    if one.scoring:
        say(one.scoring)
    for verdict in one.score.survivors if one.score is not None else ():
        console.print(Text(f"    {verdict}", "yellow"))


def _show_table(ops: list[Checked]) -> None:
    """A row an op, and below it what is broken."""
    table = Table("", "op", "laws", "linter", "mutation score", box=None, header_style="bold", pad_edge=False)
    for one in ops:
        laws, style = one.laws()
        lint = f"{len(one.faults)} ({one.faults[0].severity})" if one.faults else ""
        score = one.scoring.removeprefix("mutation score ")
        mark = Text("✓", "green") if one.ok else Text("✗", "red")
        table.add_row(mark, Text(one.op.name, "bold cyan"), Text(laws, style), lint, score)
    console.print(table)
    for one in ops:
        for text in one.told() if not one.ok else ():
            console.print(Text(f"\n{text}"))
    broken = sum(not one.ok for one in ops)
    say(f"{len(ops)} ops, {f'{broken} broken' if broken else 'none broken'}")
