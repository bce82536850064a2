"""Programs that change Python state between calls: every run of one gives the eager numbers, or refuses.

The programs come from `programs.py`, the comparison from `comparing.py`. A failure prints the smallest program found
that still differs, as text that runs. That the test can fail is shown by faults planted in the library: each is caught.
"""

from __future__ import annotations

import random

import pytest

from tests.truth.comparing import difference, differences, fitting, run
from tests.truth.programs import MODES, SWITCHED_OFF, VARIANTS, Program, random_program

FAST, SLOW, BATCH = 200, 4000, 50


def check(seeds: range, most: int | None = None) -> list[str]:
    """The differences of these programs, in words; of each at most so many variants, another choice for each."""
    found = []
    for seed in seeds:
        program = random_program(seed)
        variants = fitting(program)
        if most is not None:
            variants = tuple(random.Random(seed).sample(variants, min(most, len(variants))))
        found += [f"seed {seed}, {one}" for one in differences(program, variants)]
    return found


@pytest.mark.parametrize("start", range(0, FAST, BATCH))
def test_hundreds_of_programs_agree_or_refuse(start: int) -> None:
    found = check(range(start, start + BATCH), most=1)
    assert not found, "\n\n".join(found)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("start", range(FAST, FAST + SLOW, 4 * BATCH))
def test_thousands_of_programs_agree_or_refuse(start: int) -> None:
    found = check(range(start, start + 4 * BATCH))
    assert not found, "\n\n".join(found)


# -- the programs ------------------------------------------------------------------------------------------------------


def test_a_seed_is_one_program_that_runs() -> None:
    programs = [random_program(seed) for seed in range(60)]
    assert programs == [random_program(seed) for seed in range(60)]
    ran = [run(one, "eager") for one in programs]
    assert sum(bool(one.states) for one in ran) >= 55
    assert sum(not one.end for one in ran) >= 50
    assert {one.mode for one in programs} == set(MODES) - set(SWITCHED_OFF)
    for one in programs:
        compile(one.text("compiled"), "program.py", "exec")


def test_most_programs_run_and_few_refuse() -> None:
    """A test in which every variant refused would compare nothing."""
    ends = [run(program, "compiled").end for program in map(random_program, range(40))]
    assert ends.count("") >= 20, ends


# -- the test can fail -------------------------------------------------------------------------------------------------


def caught(seeds: range, variants: tuple[str, ...], mode: str | None = None) -> list[tuple[Program, str]]:
    """Programs, with the words of the difference, in which one of the variants differs."""
    found = []
    for seed in seeds:
        program = random_program(seed, mode)
        reference = run(program, "eager")
        for variant in variants:
            words = difference(program, variant, reference) if reference.states else ""
            if words:
                found.append((program, words))
    return found


@pytest.fixture
def variant(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The variants, to plant another; every kind of line is on, since each of these is run by Python itself."""
    for name in tuple(SWITCHED_OFF):
        monkeypatch.delitem(SWITCHED_OFF, name)
    monkeypatch.setitem(VARIANTS, "planted", "")
    return VARIANTS


def test_a_fact_that_is_not_watched_is_caught(variant: dict[str, str]) -> None:
    """As if a guard were ignored: what a global and an attribute were in the first call, they stay."""
    variant["planted"] = """
first = {}


def inner(*args):
    for name in ("SCALE", "OFFSET", "cfg", "L", "D"):
        if name in globals():
            globals()[name] = copy.deepcopy(first.setdefault(name, copy.deepcopy(globals()[name])))
    return body(*args)


import copy
"""
    assert caught(range(60), ("planted",), "call")


def test_swapped_gradients_are_caught(variant: dict[str, str]) -> None:
    """The values are right, and the first two elements of the gradient of w change places."""
    variant["planted"] = """
def inner(x, y, n, d):
    global w
    kept = w
    other = np.stack([w[1], w[0], w[2]])
    w = w.detach() + (other - other.detach())
    try:
        return body(x, y, n, d)
    finally:
        w = kept
"""
    assert caught(range(60), ("planted",), "backward")


def test_a_dropped_update_is_caught(variant: dict[str, str]) -> None:
    """The second of two steps leaves w as it was."""
    variant["planted"] = """
calls = []


def inner(*args):
    kept = w.numpy().copy()
    out = body(*args)
    calls.append(1)
    if len(calls) == 2:
        with tg.no_grad():
            w[...] = kept
    return out
"""
    assert caught(range(40), ("planted",), "step")
