"""Every law on every built-in op, on all of its samples: the tests that nobody writes.

One test an op, which names every law that is broken and on which sample; `tinygraph ops check sinh` shows a table of
them. A law that does not apply counts for nothing: at least as many must apply as the op's card says.
"""

import pytest

from tinygraph import kernels
from tinygraph.core.registry import BUILTIN_PACKAGE, registry
from tinygraph.packages.card import cards_of
from tinygraph.testing import LawBroken, cases

OPS = [op for op in registry.all_ops() if op.package == BUILTIN_PACKAGE]
# What these compute is checked through the ops that use them, and of loops against their unrolled versions.
WITHOUT_SAMPLES = {"add_at", "random_normal", "random_uniform", "set_at", "scan", "switch", "while_loop",
                   "start_all_reduce", "finish_all_reduce"}  # fmt: skip


@pytest.fixture(scope="module")
def cards():
    return cards_of(BUILTIN_PACKAGE)


@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_laws(op, cards):
    outcomes = [case.run() for case in cases(op)]
    findings = [finding for outcome in outcomes for finding in outcome.findings]
    if findings:
        raise LawBroken(*findings)
    applied = {outcome.case.law.name for outcome in outcomes if outcome.status == "holds"}
    counted = int(cards[op.name].laws.split()[-1])  # "26 of 26"
    assert len(applied) >= counted - (not kernels.available()), f"of {op.name} only {sorted(applied)} apply"


def test_every_op_has_samples():
    assert {op.name for op in OPS if not op.samples} <= WITHOUT_SAMPLES


def test_every_op_has_an_expected_value():
    missing = {op.name for op in OPS if op.samples and all(sample.expected is None for sample in op.samples)}
    assert not missing
