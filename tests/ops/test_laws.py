"""Every law on every built-in op, on all of its samples: the tests that nobody writes.

A single one runs with `pytest -k "sinh-first_derivatives"`. A law that applies to none of an op's samples is skipped
and says why, so that the number of tests passed says what was checked.
"""

import pytest

from tinygraph.core.registry import BUILTIN_PACKAGE, registry
from tinygraph.testing import LAWS, LawBroken, cases

OPS = [op for op in registry.all_ops() if op.package == BUILTIN_PACKAGE]
PAIRS = [
    pytest.param(op, law, id=f"{op.name}-{law.name.replace(' ', '_')}")
    for op in OPS
    for law in LAWS
    if any(cases(op, [law]))
]
# What these compute is checked through the ops that use them.
WITHOUT_SAMPLES = {"add_at", "random_normal", "random_uniform", "set_at"}


@pytest.mark.parametrize(("op", "law"), PAIRS)
def test_law(op, law):
    outcomes = [case.run() for case in cases(op, [law])]
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    if findings:
        raise LawBroken(*findings)
    if all(outcome.status == "does not apply" for outcome in outcomes):
        pytest.skip(outcomes[0].reason)


def test_every_op_has_samples():
    assert {op.name for op in OPS if not op.samples} <= WITHOUT_SAMPLES


def test_every_op_has_an_expected_value():
    missing = {op.name for op in OPS if op.samples and all(sample.expected is None for sample in op.samples)}
    assert not missing
