"""Every law on every sample of every built-in op: the tests that nobody writes.

A single case runs with `pytest -k "sinh-sample0-first_derivatives"`.
"""

import contextlib

import pytest

from tinygraph.core.registry import BUILTIN_PACKAGE, registry
from tinygraph.testing import DoesNotApply, cases

OPS = [op for op in registry.all_ops() if op.package == BUILTIN_PACKAGE]
CASES = [case for op in OPS for case in cases(op)]
# What these compute is checked through the ops that use them.
WITHOUT_SAMPLES = {"add_at", "random_normal", "random_uniform", "set_at"}


def label(case):
    return "-".join(filter(None, (case.op.name, case.label, case.law.name.replace(" ", "_"))))


@pytest.mark.parametrize("case", CASES, ids=label)
def test_law(case):
    with contextlib.suppress(DoesNotApply):
        case.law(case.op, case.sample)


def test_every_op_has_samples():
    assert {op.name for op in OPS if not op.samples} <= WITHOUT_SAMPLES


def test_every_op_has_an_expected_value():
    missing = {op.name for op in OPS if op.samples and all(sample.expected is None for sample in op.samples)}
    assert not missing
