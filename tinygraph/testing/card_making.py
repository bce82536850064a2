"""Making conformance cards: what laws, mutants and the op's own declaration say about it, in one `Card`.

Cards are read elsewhere (`packages/card.py`); the file beside a package's manifest is written by `tinygraph ops check`.
"""

from __future__ import annotations

import inspect
import tomllib
import warnings
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.compiler.passes.look_through import seen_on
from tinygraph.core.batching import rule_of
from tinygraph.core.op import Composite, Op
from tinygraph.core.registry import numpy_name
from tinygraph.core.types import type_of
from tinygraph.packages.card import Card, OperandCard
from tinygraph.packages.manifest import package_folders
from tinygraph.testing.check import Outcome, Report, check_op
from tinygraph.testing.cost import cost_of
from tinygraph.testing.mutation import Score, mutation_score
from tinygraph.testing.trial import Trial
from tinygraph.tracing.looking_through import looked_through

_DTYPES = ("bool", "int64", "float32", "float64", "complex128")


def make_card(
    op: Op | Composite, report: Report | None = None, score: Score | None = None, *, scored: bool = True
) -> Card:
    """Find out about an op all that its card says.

    Args:
        report: what `check_op` found, if it is known.
        score: what `mutation_score` found, if it is known.
        scored: whether to find the mutation score if it is not known.

    >>> from tinygraph.core.registry import ops
    >>> make_card(ops.sign).operands[0].first_order
    'no gradient by nature'
    """
    if report is None:
        report = check_op(op, report=True) if op.samples else Report(op, ())
    if score is None and scored and isinstance(op, Op) and op.samples:
        score = mutation_score(op)
    rows = {name: (status, note) for name, status, note in report.rows()}
    applying = [name for name, (status, _) in rows.items() if status != "does not apply"]
    distribution, version = distribution_and_version(op)

    def of_law(name: str) -> str:
        status, note = rows.get(name, ("not checked", "no samples"))
        return f"{status} ({note})"

    return Card(
        op=op.name,
        signature=_signature(op),
        formula=op.formula,
        kind=op.kind,
        operands=tuple(_operands(op, report)) if isinstance(op, Op) else (),
        dtypes=tuple(_dtypes(op)),
        broadcasting=of_law("broadcasting"),
        zero_size=of_law("zero size"),
        memory_layout=of_law("memory layout"),
        type_rule=_type_rule(op) if isinstance(op, Op) else "those of its ops",
        kernel=when_compiled(op) if isinstance(op, Op) else "those of its ops",
        expansion=_expansion(op) if isinstance(op, Op) else "a group that opens into its ops",
        vmap=_vmap(op) if isinstance(op, Op) else "those of its ops",
        laws=f"{len(applying) - len(report.broken)} of {len(applying)}",
        broken=report.broken,
        mutation="" if score is None else score.line,
        distribution=distribution,
        version=version,
        **_costs(op),
    )


def distribution_and_version(op: Op | Composite) -> tuple[str, str]:
    """What an op is installed as; for a package in a source tree what its `pyproject.toml` says."""
    for folder in package_folders(op.package):
        for place in (folder.parent, folder.parent.parent):
            named = _project(place / "pyproject.toml")
            if named:
                return named
    try:
        return op.distribution, metadata.version(op.distribution)
    except metadata.PackageNotFoundError:
        return op.distribution, ""


def _project(path: Path) -> tuple[str, str] | None:
    if not path.is_file():
        return None
    project = tomllib.loads(path.read_text(encoding="utf-8")).get("project", {})
    return (project["name"], project.get("version", "")) if "name" in project else None


def _signature(op: Op | Composite) -> str:
    found = inspect.signature(op.forward if isinstance(op, Op) else op.function)
    bare = [one.replace(annotation=inspect.Parameter.empty) for one in found.parameters.values()]
    return f"{op.name}{found.replace(parameters=bare, return_annotation=inspect.Signature.empty)}"


# -- operands --------------------------------------------------------------------------------------------------------


def _operands(op: Op, report: Report) -> Iterator[OperandCard]:
    for operand in op.signature.operands:
        name = operand.name
        rule = op.rules.get(name)
        if name in op.nondifferentiable:
            yield OperandCard(name, *["no gradient by nature"] * 3)
        elif rule is None:
            through = "by looking through its forward" if _seen_through(op) else "no rule"
            yield OperandCard(name, *[through] * 3)
        else:
            own = "given" if name in op.tangent_rules else "derived"
            yield OperandCard(
                name,
                _checked(op, name, report, "first derivatives"),
                _checked(op, name, report, "second derivatives"),
                f"{own}, {_checked(op, name, report, 'forward mode')}",
                ", ".join(one for one in rule.asks if one not in op.signature.settings),
            )


def _seen_through(op: Op) -> bool:
    """Whether the forward of an op without rules is made of ops on all of its samples."""
    if op.rules or not op.entered or not op.samples:
        return False
    settings = [{**op.signature.settings, **one.settings} for one in op.samples]
    types = [tuple(None if x is None else type_of(x) for x in one.operands) for one in op.samples]
    return all(
        not isinstance(looked_through(op, given, chosen), str)
        for given, chosen in zip(types, settings, strict=True)
    )


def _checked(op: Op, operand: str, report: Report, law: str) -> str:
    """What became of a law about derivatives, as far as it is about one operand."""
    outcomes = [one for one in report.outcomes if one.case.law.name == law and one.status != "does not apply"]
    if any(finding.operand in ("", operand) for one in outcomes for finding in one.findings):
        return "broken"
    return "holds" if any(_moves(op, operand, one) for one in outcomes) else "not checked"


def _moves(op: Op, operand: str, outcome: Outcome) -> bool:
    trial = Trial.of(op, outcome.case.sample)
    return any(trial.name(i) == operand for i in trial.moving)


# -- the rest --------------------------------------------------------------------------------------------------------


def _dtypes(op: Op | Composite) -> Iterator[str]:
    """The dtypes in which the op takes the real operands of its first sample that has any."""
    for sample in op.samples:
        trial = Trial.of(op, sample)
        if any(x is not None and x.dtype.kind in "fc" for x in trial.operands):
            for dtype in _DTYPES:
                if _takes(trial, dtype):
                    yield dtype
            return
    for sample in op.samples[:1]:
        yield from sorted({x.dtype.name for x in sample.operands if x is not None})


def _takes(trial: Trial, dtype: str) -> bool:
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            trial.changed(lambda x: x.astype(dtype) if x.dtype.kind in "fc" else x).run()
    except Exception:  # noqa: BLE001 - whatever it raises, it does not take this dtype
        return False
    return True


def _costs(op: Op | Composite) -> dict[str, Any]:
    if not op.samples:
        return {}
    try:
        cost = cost_of(Trial.of(op, op.samples[0]))
    except Exception as error:  # noqa: BLE001 - a broken op has a card, too
        return {"flops": f"not known: {type(error).__name__}"}
    found = {
        "sample": " ".join(repr(op.samples[0]).split()),
        "flops": cost.flops,
        "bytes": cost.bytes,
        "kept": cost.kept,
    }
    return {"flops": cost.words, "first_sample": found}


def _type_rule(op: Op) -> str:
    family = op.type_rule.__qualname__.partition("_types.<locals>")
    if not family[1]:
        return "its own"
    return "found by running the forward" if family[0] == "forward" else f"of the {family[0]} family"


def when_compiled(op: Op) -> str:
    """What runs for an op in a plan, in words; of one in plain NumPy, as its first sample tells."""
    if op.lowering is not None:
        return "a kernel of its own"
    seen = seen_on(op, op.samples[0].operands, op.samples[0].settings) if op.samples else None
    if seen is not None:
        return f"looked through, so that it fuses: {seen.names}"
    return f"NumPy's {numpy_name(op.numpy_twin)}" if op.numpy_twin is not None else "its NumPy forward"


def _vmap(op: Op) -> str:
    if op.kind == "random":
        return "refused: each example needs numbers of its own"
    if op.batching is not None:
        return "by a rule that it names"
    return "one example after another" if rule_of(op) is None else f"by the rule of its kind, {op.kind}"


def _expansion(op: Op) -> str:
    if op.expansion is not None:
        return "an expansion of its own"
    return "element by element" if op.kind in ("elementwise", "comparison") else "from its derivatives"
