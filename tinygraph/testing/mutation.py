"""The mutation score: how many known-wrong rules an op's own samples would catch, and what would catch the rest.

The wrong rules come from `mutants`; what catches them are the laws of `laws`, on the samples that the op has.
"""

from __future__ import annotations

import linecache
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tinygraph.core.op import Composite, Op, Sample
from tinygraph.core.registry import registry
from tinygraph.errors import SettingError
from tinygraph.testing.law import DoesNotApply, Law, LawBroken
from tinygraph.testing.laws import arrays, derivatives, graphs, kinks
from tinygraph.testing.laws.values import same
from tinygraph.testing.mutants import Mutant, mutants_of
from tinygraph.testing.probes import probes_of
from tinygraph.testing.trial import Trial, array_of
from tinygraph.transforms import jvp, vjp

Fate = Literal["killed", "survived", "equivalent"]

# The laws that a wrong rule breaks, by its mode and by the order of the derivatives that differ; those first that name
# the fault best. A law about the other mode, or another order, may notice it as well.
_OF_GRADIENTS = (derivatives.rule_shapes, derivatives.first_derivatives, kinks.between_the_slopes)
_OF_DERIVED_GRADIENTS = (derivatives.linear_in_g, derivatives.closed, derivatives.second_derivatives)
_OF_TANGENTS = (derivatives.forward_mode, derivatives.derivatives_of_tangents, derivatives.several_outputs)
BROKEN_BY = {
    ("vjp", "first"): (*_OF_GRADIENTS, *_OF_DERIVED_GRADIENTS, *_OF_TANGENTS),
    ("vjp", "higher"): (*_OF_DERIVED_GRADIENTS, *_OF_TANGENTS),
    ("jvp", "first"): _OF_TANGENTS,
    ("jvp", "higher"): _OF_TANGENTS,
}
# Those that it may break although its derivatives are right on every sample.
OF_OTHER_ARRAYS = (
    graphs.captured,
    arrays.zero_size,
    arrays.zero_dimensions,
    arrays.single_precision,
    arrays.broadcasting,
)

# An author's word on mutants of a line, at its end: "# equivalent (wrong comparison): at 0 both slopes are right"
_DECLARED = re.compile(r"#.*\bequivalent \(([^)]+)\): (.+)")


@dataclass(frozen=True)
class Verdict:
    """What became of one mutant.

    Attributes:
        law, sample: what caught it.
        reason: why it counts as equivalent, or which sample would catch it.
        suggestion: a sample that was tried and catches it, if one was found.
    """

    mutant: Mutant
    outcome: Fate
    law: str = ""
    sample: Sample | None = None
    reason: str = ""
    suggestion: Sample | None = None

    def __str__(self) -> str:
        if self.outcome == "killed":
            return f"killed      {self.mutant}   by {self.law!r} on {self.sample!r}"
        return f"{self.outcome:11} {self.mutant}\n            {self.reason}"


@dataclass(frozen=True)
class Score:
    """The verdicts on an op's mutants; prints as a table of what the samples do not catch.

    Attributes:
        broken: laws that the op itself breaks, which therefore could not be used against mutants.
    """

    op: Op
    verdicts: tuple[Verdict, ...]
    broken: tuple[str, ...] = ()

    @property
    def killed(self) -> tuple[Verdict, ...]:
        """Mutants that the samples catch."""
        return self._with("killed")

    @property
    def survivors(self) -> tuple[Verdict, ...]:
        """Mutants that the samples do not catch, though they compute something else."""
        return self._with("survived")

    @property
    def equivalents(self) -> tuple[Verdict, ...]:
        """Mutants that compute the same, with the reason."""
        return self._with("equivalent")

    @property
    def percent(self) -> float:
        """How many of the mutants that can be caught are."""
        caught, missed = len(self.killed), len(self.survivors)
        return 100.0 * caught / (caught + missed) if caught + missed else 100.0

    def _with(self, outcome: Fate) -> tuple[Verdict, ...]:
        return tuple(one for one in self.verdicts if one.outcome == outcome)

    @property
    def line(self) -> str:
        """The score in one line: "mutation score 100 % (23 of 23; 2 equivalent)"."""
        caught, count = len(self.killed), len(self.killed) + len(self.survivors)
        if not count:
            return "mutation score – (no derivative rule to get wrong)"
        percent = int(self.percent * 10) / 10  # rounded down: 100 means all
        equal = f"; {len(self.equivalents)} equivalent" if self.equivalents else ""
        return f"mutation score {percent:g} % ({caught} of {count}{equal})"

    def __str__(self) -> str:
        lines = [f"op {self.op.name}: {self.line}"]
        if self.broken:
            lines.append(f"    the op itself breaks {', '.join(self.broken)}: mend that first")
        lines += [f"    {verdict}" for verdict in (*self.survivors, *self.equivalents)]
        return "\n".join(lines)

    def __rich__(self) -> Any:
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        style = "green" if not self.survivors else "red"
        heading = Text.assemble((f"op {self.op.name}  ", "bold cyan"), (self.line, style))
        table = Table("", "mistake", "from", "to", "where", "what to do")
        for verdict in (*self.survivors, *self.equivalents):
            mark, colour = ("✗", "red") if verdict.outcome == "survived" else ("≡", "dim")
            mutant = verdict.mutant
            row = (mark, mutant.kind, mutant.before, mutant.after, mutant.place, verdict.reason)
            table.add_row(*(Text(cell, colour if i == 0 else "") for i, cell in enumerate(row)))
        notes = (
            [Text(f"the op itself breaks {', '.join(self.broken)}: mend that first", "red")]
            if self.broken
            else []
        )
        return Group(heading, *notes, *([table] if table.row_count else []))


def mutation_score(
    op: Op | Composite | str, *, mutants: Sequence[Mutant] | None = None, limit: int | None = None
) -> Score:
    """Plant known-wrong rules in copies of an op, and see which of them the op's own samples catch.

    Args:
        op: an op with samples, or its name.
        mutants: the wrong rules; all that are known by default.
        limit: at most so many, of all kinds.

    Raises:
        SettingError: the op has no samples, or is a composite, which has no rules.

    >>> mutation_score("sin").percent
    100.0
    """
    op = registry.find(op) if isinstance(op, str) else op
    if not isinstance(op, Op):
        raise SettingError(
            f"{op.name!r} is a composite: it has no derivative rules of its own to plant mistakes in"
        )
    if not op.samples:
        raise SettingError(
            f"op {op.name!r} has no samples that could catch a wrong rule; give it samples=[...]"
        )
    court = _Court(op)
    chosen = mutants_of(op, limit) if mutants is None else mutants
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # wrong rules divide by zero
        verdicts = [court.verdict(mutant) for mutant in chosen]
    return Score(op, tuple(verdict for verdict in verdicts if verdict is not None), tuple(court.broken))


class _Court:
    """What is known about the right op while its mutants are judged."""

    def __init__(self, op: Op) -> None:
        self.op = op
        # the smallest first: it is the quickest to tell
        self.samples = sorted(op.samples, key=lambda one: sum(x.size for x in one.operands if x is not None))
        self.broken: dict[str, None] = {}
        self._holds: dict[tuple[str, int], bool] = {}
        self._right: dict[tuple[int, bool], Response] = {}
        self._probes: list[Sample] | None = None

    def verdict(self, mutant: Mutant) -> Verdict | None:
        """Judge a mutant. None if there is nothing to judge: the mistake cannot be made on any sample."""
        caught = self._caught(mutant)
        if caught is not None:
            return Verdict(mutant, "killed", caught[0].name, caught[1])
        for kind, reason in _declared(mutant):
            if kind == mutant.kind:
                return Verdict(mutant, "equivalent", reason=reason)
        seen = mutant.witness.seen
        telling = next((probe for probe in self.probes if self._differs(mutant, probe)), None)
        if telling is not None:
            return self._survivor(mutant, telling, seen)
        if mutant.witness.seen:
            kinks = [one for one in self.op.samples if not one.smooth and self._differs(mutant, one)]
            where = "; at a kink it is another value between the slopes" if kinks else ""
            return Verdict(
                mutant, "equivalent", reason=f"no difference on {len(self.probes)} random probes{where}"
            )
        if mutant.before.startswith("the result") or mutant.shared:
            return None
        return Verdict(mutant, "survived", reason=_advice(mutant, seen))

    @property
    def probes(self) -> list[Sample]:
        if self._probes is None:
            self._probes = probes_of(self.op)
        return self._probes

    def _survivor(self, mutant: Mutant, telling: Sample, seen: bool) -> Verdict:
        law = self._law_broken(mutant, telling, BROKEN_BY[mutant.mode, "first"])
        advice = _advice(mutant, seen)
        if law is None:
            reason = f"{advice}; on {telling!r} it differs and yet breaks no law"
            return Verdict(mutant, "survived", reason=reason)
        return Verdict(mutant, "survived", reason=f"{advice}; {telling!r} would catch it", suggestion=telling)

    def _caught(self, mutant: Mutant) -> tuple[Law, Sample] | None:
        """The law that a mutant breaks, and on which sample."""
        for sample in self.samples:
            difference = self._differs(mutant, sample)
            if difference:
                law = self._law_broken(mutant, sample, BROKEN_BY[mutant.mode, difference])
                if law is not None:
                    return law, sample
        for law in OF_OTHER_ARRAYS:
            for sample in self.samples:
                if self._law_broken(mutant, sample, (law,)) is not None:
                    return law, sample
        return None

    def _law_broken(self, mutant: Mutant, sample: Sample, laws: Sequence[Law]) -> Law | None:
        for law in laws:
            mutant.witness.restart()
            if not _holds(law, mutant.op, sample) and self._holds_for_the_op(law, sample):
                return law
        return None

    def _holds_for_the_op(self, law: Law, sample: Sample) -> bool:
        key = (law.name, id(sample))
        if key not in self._holds:
            self._holds[key] = _holds(law, self.op, sample)
            if not self._holds[key]:
                self.broken[law.name] = None
        return self._holds[key]

    def _differs(self, mutant: Mutant, sample: Sample) -> str:
        """Whether a mutant computes another derivative: "first", "higher" or "" for the order."""
        mutant.witness.restart()
        forward = mutant.mode == "jvp"
        key = (id(sample), forward)
        if key not in self._right:
            self._right[key] = Response(self.op, sample, forward)
        return self._right[key].differs(Response(mutant.op, sample, forward))


class Response:
    """The derivatives of an op on a sample, to first and second order, found only when they are compared."""

    def __init__(self, op: Op, sample: Sample, forward: bool) -> None:
        self._trial = Trial.of(op, sample)
        self._orders: list[Callable[[], Sequence[Any]]] = (
            [self._tangents, self._derivatives_of_tangents]
            if forward
            else [self._gradient, self._derivatives_of_gradient, self._tangents]
        )
        self._found: dict[int, Any] = {}

    def differs(self, other: Response) -> str:
        """The order in which two responses differ."""
        if not self._trial.moving:
            return ""
        for k in range(len(self._orders)):
            if not _alike(self._at(k), other._at(k)):
                return "higher" if k else "first"
        return ""

    def _at(self, k: int) -> Any:
        if k not in self._found:
            try:
                self._found[k] = [array_of(one) for one in self._orders[k]()]
            except Exception as error:  # noqa: BLE001 - a wrong rule may raise anything
                self._found[k] = type(error)
        return self._found[k]

    def _gradient(self) -> Sequence[Any]:
        return self._trial.gradient(self._trial.weights())

    def _derivatives_of_gradient(self) -> Sequence[Any]:
        trial = self._trial
        count = len(trial.moving)

        def gradient(*values: object) -> tuple[Any, ...]:
            return trial.gradient(values[count:], *values[:count])

        pulled: Sequence[Any] = vjp(gradient, *trial.values, *trial.weights())[1](tuple(trial.directions()))
        return pulled

    def _tangents(self) -> Sequence[Any]:
        pushed: Sequence[Any] = jvp(self._trial.outputs, self._trial.values, tuple(self._trial.directions()))[
            1
        ]
        return pushed

    def _derivatives_of_tangents(self) -> Sequence[Any]:
        trial = self._trial

        count = len(trial.moving)

        def tangents(*values: object) -> Any:
            return jvp(trial.outputs, values[:count], values[count:])[1]

        pulled: Sequence[Any] = vjp(tangents, *trial.values, *trial.directions())[1](tuple(trial.weights()))
        return pulled


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, type) or isinstance(other, type):
        return one is other
    return len(one) == len(other) and all(same(a, b, rtol=1e-9) for a, b in zip(one, other, strict=True))


def _holds(law: Law, op: Op, sample: Sample) -> bool:
    try:
        law(op, sample)
    except DoesNotApply:
        return True
    except LawBroken:
        return False
    return True


def _declared(mutant: Mutant) -> Iterator[tuple[str, str]]:
    """What the author says about mutants of a line: kinds and the reason."""
    found = _DECLARED.search(linecache.getline(mutant.file, mutant.line))
    if found:
        for kind in found[1].split(","):
            yield kind.strip(), found[2].strip()


# -- which sample to add -----------------------------------------------------------------------------------------


def _advice(mutant: Mutant, seen: bool) -> str:
    if mutant.setting and not seen:
        return f"no sample sets {mutant.setting!r} to something that matters here: add one that does"
    if not seen:
        return "no sample reaches this line: add one that does"
    return _SAMPLES.get(mutant.kind, "add a sample with values that tell the two apart")


_SAMPLES = {
    "wrong sign": "add a sample whose terms do not cancel or vanish",
    "dropped term": "add a sample where this term is not zero",
    "missing factor": "add a sample where this factor is not 1",
    "wrong factor": "add a sample where this factor is not 1",
    "swapped operand": "add a sample whose operands differ in value and shape",
    "transposed operand": "add a sample that is rectangular, not square, or not symmetric",
    "gradient not spread": "add a sample with more than one element along the axis that is reduced",
    "forgotten sum": "add a sample with more than one element along the axis that is summed",
    "rule that sums already": "add a sample with two or more elements along axis 0",
    "first group only": "add a sample with two or more groups, channels or rows, none of them zero",
    "wrong axis": "add a sample with axes of different sizes, and one with a negative axis",
    "off-by-one padding": "add a sample with padding that is not the same on both sides",
    "off by one": "add a sample with more elements, all different",
    "wrong setting": "add a sample with this setting away from its default",
    "wrong condition": "add a sample on each side of the condition",
    "wrong comparison": "add a sample with values on both sides of the bound, and on it",
    "wrong branch": "add a sample with values of both signs, or on both sides of the bound",
    "wrong constant": "add a sample where this constant matters: values other than 0 and 1",
    "wrong function": "add a sample with values away from 0, where the two functions differ",
    "missing function": "add a sample with values away from 0, where the function is not its argument",
    "missing conjugate": "add a complex sample with imaginary parts",
    "missing real part": "add a complex sample with imaginary parts",
    "stale saved value": "add a sample on whose values the derivative depends",
    "constant instead of variable": "add a sample away from points where the second derivative vanishes",
    "dropped step": "add a sample for which this step matters",
}
