"""Faults planted in the framework's own code: each makes a test of that code red.

Run with `pytest -n auto -m slow tests/mutation`; a fault that survives needs a test, or a proof that it is none.
"""

import pytest

from tests.mutation.faults import FAULTS
from tests.mutation.planting import ROOT, copied, outcome, outcome_of
from tests.rows import each

PLANTED = [fault for fault in FAULTS if not fault.equivalent]


def named(fault):
    return f"{fault.file.rpartition('/')[2]}: {fault.name}"


@each("fault", FAULTS, ids=named)
def test_its_snippet_stands_in_the_tree_once(fault):
    assert (ROOT / fault.file).read_text("utf-8").count(fault.snippet) == 1
    assert fault.replacement != fault.snippet
    assert all((ROOT / "tests" / name).exists() for name in fault.tests)


def test_there_are_enough_of_them_in_every_part():
    assert len(PLANTED) >= 60
    parts = {"/".join(fault.file.split("/")[1:3]).removesuffix(".py") for fault in PLANTED}
    assert parts >= {
        "analysis/memory", "compiler/passes", "compiler/plan", "compiler/recorded_call", "compiler/places",
        "core/engine", "core/views", "drawing/page", "interop/graphs", "kernels/images", "tracing/facts",
    }  # fmt: skip


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """A copy of the tree for the faults that this process plants."""
    return copied(tmp_path_factory.mktemp("tree"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("tests", sorted({fault.tests for fault in PLANTED}), ids=" ".join)
def test_without_a_fault_they_are_green(tests, tree):
    assert outcome(tree, tests) == "green"


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("fault", PLANTED, ids=named)
def test_it_is_caught(fault, tree):
    assert outcome_of(fault, tree) == "red"
