"""Checking an op against every law, and any function against differences."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from tinygraph.core.op import Composite, Op
from tinygraph.core.registry import registry
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten
from tinygraph.errors import SettingError
from tinygraph.packages.time_limit import TimeLimit, limited_to
from tinygraph.testing.differences import disagreement, pulled_back, pushed_forward
from tinygraph.testing.law import DoesNotApply, Finding, Law, LawBroken
from tinygraph.testing.laws import LAWS
from tinygraph.testing.likely_causes import likely_cause
from tinygraph.testing.roots import Cause, causes_of
from tinygraph.testing.trial import random_like
from tinygraph.transforms import jvp, vjp

Status = Literal["holds", "broken", "does not apply"]
TIME_LIMIT = 60.0  # seconds for one law on one sample


class Case(NamedTuple):
    """One law on one op and, if the law is about samples, one of its samples."""

    law: Law
    op: Op | Composite
    sample: Any = None
    label: str = ""

    def run(self, seconds: float | None = None) -> Outcome:
        """Check the law here, within a time limit if there is one."""
        try:
            with limited_to(seconds):
                self.law(self.op, self.sample)
        except DoesNotApply as reason:
            return Outcome(self, "does not apply", str(reason))
        except LawBroken as broken:
            return Outcome(self, "broken", "", broken.findings)
        except TimeLimit as limit:
            return Outcome(self, "broken", "", (self._hung(limit),), hung=True)
        return Outcome(self, "holds")

    def _hung(self, limit: TimeLimit) -> Finding:
        place = traceback.extract_tb(limit.__traceback__)[-2]  # the last one is the signal handler's
        return Finding(
            f"it hangs: {limit} ({Path(place.filename).name}:{place.lineno}); the laws after this one were not checked",
            cause="a loop without an end, or far too much work for so small a sample",
            law=self.law.name,
            op=self.op.name,
            sample="" if self.sample is None else repr(self.sample),
        )


class Outcome(NamedTuple):
    """What became of a case: `reason` says why a law does not apply, `findings` what is broken."""

    case: Case
    status: Status
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    hung: bool = False


class Report(NamedTuple):
    """What `check_op` found; prints as a table of laws with the failures below."""

    op: Op | Composite
    outcomes: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        """Whether no law is broken."""
        return not self.findings

    @property
    def hung(self) -> bool:
        """Whether a law ran into the time limit; those after it were not checked."""
        return any(outcome.hung for outcome in self.outcomes)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong, in the order of the laws."""
        return tuple(finding for outcome in self.outcomes for finding in outcome.findings)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The findings by their root, one a cause."""
        return causes_of(self.findings)

    @property
    def broken(self) -> tuple[str, ...]:
        """The names of the broken laws, in the order of the laws."""
        return tuple(dict.fromkeys(outcome.case.law.name for outcome in self.outcomes if outcome.findings))

    def rows(self) -> list[tuple[str, Status, str]]:
        """Law, status and number of cases (or the reason why it does not apply), one row a law."""
        found: dict[str, list[Outcome]] = {}
        for outcome in self.outcomes:
            found.setdefault(outcome.case.law.name, []).append(outcome)
        rows: list[tuple[str, Status, str]] = []
        for name, outcomes in found.items():
            checked = [one for one in outcomes if one.status != "does not apply"]
            broken = [one for one in checked if one.status == "broken"]
            if broken:
                rows.append((name, "broken", f"{len(broken)} of {len(checked)} cases"))
            elif checked:
                rows.append((name, "holds", f"{len(checked)} case{'s' * (len(checked) != 1)}"))
            else:
                rows.append((name, "does not apply", outcomes[0].reason))
        return rows

    def table(self) -> Any:
        """The laws as a table for rich, without the findings."""
        from rich.table import Table
        from rich.text import Text

        marks = {"holds": ("✓", "green"), "broken": ("✗", "red"), "does not apply": ("–", "dim")}
        table = Table("", "law", "checked", title=f"op {self.op.name}", title_justify="left")
        for name, status, note in self.rows():
            mark, style = marks[status]
            table.add_row(
                Text(mark, style), Text(name, style if status == "does not apply" else ""), Text(note, "dim")
            )
        return table

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.text import Text

        return Group(self.table(), *(Text(f"\n{cause}") for cause in self.causes))

    def __str__(self) -> str:
        width = max((len(name) for name, _, _ in self.rows()), default=0)
        lines = [
            f"op {self.op.name}: {'every law holds' if self.ok else 'broken: ' + ', '.join(self.broken)}"
        ]
        lines += [f"    {name:{width}}  {status:14}  {note}" for name, status, note in self.rows()]
        return "\n".join(lines) + "".join(f"\n\n{cause}" for cause in self.causes)


def cases(op: Op | Composite, laws: Sequence[Law] = LAWS) -> Iterator[Case]:
    """Every law on everything about the op that it speaks of."""
    for law in laws:
        if law.subject == "op":
            yield Case(law, op)
        elif law.subject == "sample":
            yield from (Case(law, op, sample, f"sample{i}") for i, sample in enumerate(op.samples))
        else:
            yield from (Case(law, op, sample, f"error{i}") for i, sample in enumerate(op.error_samples))


def find(op: Op | Composite | str) -> Op | Composite:
    """An op, given itself, its name or `"package:name"`.

    Raises:
        UnknownOpError, PluginError: no such op, or several.
    """
    return registry.find(op) if isinstance(op, str) else op


def check_op(
    op: Op | Composite | str,
    *,
    report: bool = False,
    laws: Sequence[Law] = LAWS,
    time_limit: float | None = TIME_LIMIT,
) -> Report:
    """Check an op against every law, on each of its samples.

    Args:
        op: the op, its name, or `"package:name"`.
        report: return the report even if a law is broken.
        laws: which laws, in order.
        time_limit: seconds for one law on one sample; what takes longer hangs, and breaks the law.

    Raises:
        LawBroken: (an AssertionError) with every finding: op, law, sample, operand, expected, found, likely cause.
        SettingError: the op has no samples, so nothing could be checked.

    >>> check_op("sin").ok
    True
    """
    op = find(op)
    if not op.samples:
        raise SettingError(
            f"op {op.name!r} has no samples to be checked on; declare it with samples=[Sample(...), ...]"
        )
    outcomes: list[Outcome] = []
    for case in cases(op, laws):
        outcomes.append(case.run(time_limit))
        if outcomes[-1].hung:
            break
    checked = Report(op, tuple(outcomes))
    if not checked.ok and not report:
        raise LawBroken(*checked.findings)
    return checked


def check_grads(
    function: Callable[..., Any],
    *args: object,
    order: int = 2,
    modes: Sequence[str] = ("reverse", "forward"),
    rtol: float = 1e-6,
) -> Any:
    """Compare the derivatives of a function with central differences.

    Args:
        function: takes `args`; returns an array or a container of them. It must be deterministic.
        args: real or complex arrays, or containers of them; computed with in double precision. Left out, what is
            returned is a function of them that checks, as in autograd.
        order: 1, or 2 and more, where the gradient itself is differentiated.
        modes: "reverse", "forward" or both; "rev" and "fwd" are the same.
        rtol: the largest difference, relative to the largest element.

    Raises:
        LawBroken: (an AssertionError) naming the argument, the order and the mode, with expected, found and the
            likely cause.

    >>> import numpy as np
    >>> check_grads(lambda x: np.sum(np.sin(x) ** 2), np.array([0.3, 1.1]))
    """
    if not args:
        return partial(check_grads, function, order=order, modes=modes, rtol=rtol)
    modes = tuple({"rev": "reverse", "fwd": "forward"}.get(one, one) for one in modes)
    unknown = set(modes) - {"reverse", "forward"}
    if order < 1 or unknown:
        raise SettingError(
            f"check_grads: order={order}, modes={tuple(modes)}; modes are 'reverse' and 'forward'"
        )
    leaves, tree = flatten(args)
    values = [_double(leaf) for leaf in leaves]

    def flat(*given: object) -> tuple[Any, ...]:
        outputs = flatten(function(*tree.unflatten(given)))[0]
        return tuple(out for out in outputs if getattr(out, "dtype", np.dtype(object)).kind in "fc")

    _check_order(flat, values, 1, order, tuple(modes), rtol, getattr(function, "__name__", "function"))
    return None


def _check_order(
    function: Callable[..., Any],
    values: list[Any],
    order: int,
    last: int,
    modes: tuple[str, ...],
    rtol: float,
    name: str,
) -> None:
    """Check one order in each mode, then the gradient as a function in its turn."""
    outputs, pull = vjp(function, *values)
    weights = [random_like(out, 10 * order + n) for n, out in enumerate(outputs)]
    directions = [random_like(x, 100 * order + n) for n, x in enumerate(values)]
    noise = float(sum(np.sum(np.abs(w * out)) for w, out in zip(weights, outputs, strict=True)))
    plain = _plain(function)
    compared: list[tuple[str, str, Any, Callable[[float], Any]]] = []
    if "reverse" in modes:
        for k, found in enumerate(pull(tuple(weights))):
            reverse = partial(pulled_back, plain, values, k, weights)
            compared.append(("reverse", f"argument {k}", found, reverse))
    if "forward" in modes:
        for n, found in enumerate(jvp(function, values, tuple(directions))[1]):
            forward = partial(_pushed_output, n, plain, values, directions)
            compared.append(("forward", f"output {n}", found, forward))
    findings = []
    for mode, place, found, estimate in compared:
        off = disagreement(found, estimate, rtol, noise)
        if off is not None:
            what = (
                f"the derivative of order {order} in {mode} mode differs from central differences ({place})"
            )
            cause = likely_cause(off.found, off.expected)
            findings.append(Finding(what, "", off.expected, off.found, cause, "derivatives", name))
    if findings:
        raise LawBroken(*findings)
    if order < last:

        def gradient(*given: object) -> Any:
            return vjp(function, *given)[1](tuple(weights))

        _check_order(gradient, values, order + 1, last, modes, rtol, name)


def _pushed_output(
    n: int, function: Callable[..., Any], values: list[Any], directions: list[Any], step: float
) -> Any:
    return pushed_forward(function, values, directions, step)[n]


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with arrays for results."""

    def plain(*given: object) -> list[Any]:
        return [out._value if isinstance(out, Tensor) else out for out in function(*given)]

    return plain


def _double(leaf: object) -> Any:
    """An argument in double precision."""
    value = np.asarray(leaf._value if isinstance(leaf, Tensor) else leaf)
    return value.astype(np.result_type(value.dtype, np.float64)) if value.dtype.kind in "fc" else value
