"""Two runs of one program, line by line: they agree, or the one that is not the reference refuses.

What a run shows after every line is the result of a call and the values that the program watches. A difference is made
small by leaving out what it does not need, and told as source text that runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import tinygraph as tg
from tests.truth.programs import FITTING, SWITCHED_OFF, Program
from tinygraph.errors import TinygraphError, TinygraphWarning

# How far numbers may be apart, by bytes: kernels add in another order, and have exponentials of their own. In a program
# with a smaller dtype the tolerance is that one's: its values may have gone into larger ones.
TOLERANCES = {2: 2e-2, 4: 2e-4, 8: 1e-9}


class Seen(NamedTuple):
    """What a run showed: a state after each line, and how it ended."""

    states: list[Any]
    end: str = ""  # "", "refused" or "raised"
    error: str = ""


class Difference(NamedTuple):
    program: Program
    variant: str
    what: str

    def __str__(self) -> str:
        return (
            f"{self.variant}, mode {self.program.mode}: {self.what}\n"
            f"# ---- runs as it stands; with `inner = body` for the other variant it is right\n"
            f"{self.program.text(self.variant)}"
        )


def run(program: Program, variant: str) -> Seen:
    """Run a program, keeping what it shows."""
    names: dict[str, Any] = {"__name__": "program"}
    states: list[Any] = []
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if variant != "eager":
            warnings.simplefilter(
                "error", TinygraphWarning
            )  # a warning at the user's line is an answer as well
        try:
            exec(compile(program.definition(variant), "program.py", "exec"), names)  # noqa: S102 - of our own making
            for line in program.driver:
                names["last"] = None
                exec(compile(line, "program.py", "exec"), names)  # noqa: S102
                states.append((plain(names["last"]), [plain(eval(one, names)) for one in program.watched]))  # noqa: S307
        except (TinygraphError, TinygraphWarning) as error:
            return Seen(states, "refused", f"{type(error).__name__}: {error}")
        except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
            return Seen(states, "raised", f"{type(error).__name__}: {error}")
    return Seen(states)


def plain(value: Any) -> Any:
    """A value as arrays in named containers, copied."""
    if isinstance(value, tg.Tensor):
        return np.array(value.numpy())
    if isinstance(value, dict):
        return ("dict", [(key, plain(one)) for key, one in value.items()])
    if isinstance(value, tuple | list):
        return (type(value).__name__, [plain(one) for one in value])
    if isinstance(value, np.ndarray | np.generic | bool | int | float):
        return np.array(value)
    return value


def difference(program: Program, variant: str, reference: Seen | None = None) -> str:
    """How a variant's run differs from the reference's, in words; empty if it agrees or refuses."""
    expected = reference or run(program, "eager")
    found = run(program, variant)
    text = program.text("eager")
    least = max((TOLERANCES[size] for size in (2, 4) if f"float{8 * size}" in text), default=0.0)
    for k, (one, other) in enumerate(zip(expected.states, found.states, strict=False)):
        apart = first_gap(one, other, least)
        if apart:
            return f"after {program.driver[k]!r}: {apart}"
    if found.end == "raised" and len(found.states) < len(expected.states):
        return f"at {program.driver[len(found.states)]!r}: {found.error}"
    return ""


def first_gap(expected: Any, found: Any, least: float, place: str = "") -> str:
    """The first place where two states differ by more than their dtype's tolerance, or `least`, in words."""
    if isinstance(expected, tuple | list) and isinstance(found, tuple | list):
        if len(expected) != len(found):
            return f"{place}: {len(expected)} entries eagerly, {len(found)} here"
        gaps = (
            first_gap(one, other, f"{place}.{i}")
            for i, (one, other) in enumerate(zip(expected, found, strict=True))
        )
        return next(filter(None, gaps), "")
    if isinstance(expected, np.ndarray) and isinstance(found, np.ndarray):
        return "" if same(expected, found) else f"{place}: {_shown(expected)} eagerly, {_shown(found)} here"
    return (
        ""
        if type(expected) is type(found) and expected == found
        else f"{place}: {expected!r} eagerly, {found!r} here"
    )


def same(expected: np.ndarray[Any, Any], found: np.ndarray[Any, Any], least: float = 0.0) -> bool:
    if expected.shape != found.shape or expected.dtype != found.dtype:
        return False
    if expected.dtype.kind != "f":
        return bool(np.array_equal(expected, found))
    finite = np.isfinite(expected)
    if (
        not np.array_equal(expected[~finite], found[~finite], equal_nan=True)
        or not np.isfinite(found[finite]).all()
    ):
        return False
    bound = max(TOLERANCES[expected.dtype.itemsize], least)
    size = float(np.max(np.abs(expected[finite]), initial=0.0))
    return bool(np.all(np.abs(expected[finite].astype(float) - found[finite]) <= bound * (size + 1e-3)))


def _shown(value: np.ndarray[Any, Any]) -> str:
    return f"{value.dtype}{list(value.shape)} {np.array2string(value, threshold=12, separator=', ')}"


def differences(program: Program, variants: tuple[str, ...]) -> Iterator[Difference]:
    """Every variant in which a program differs from its eager run, made small."""
    reference = run(program, "eager")
    if not reference.states:
        return
    for variant in variants:
        what = difference(program, variant, reference)
        if what:
            yield shrunk(Difference(program, variant, what))


def shrunk(found: Difference, tries: int = 400) -> Difference:
    """The same kind of difference in a smaller program."""
    smaller = True
    while smaller and tries > 0:
        smaller = False
        for program in found.program.smaller():
            tries -= 1
            what = difference(program, found.variant)
            if what and not (what.split(": ")[-1].startswith("name ") and "is not defined" in what):
                found, smaller = Difference(program, found.variant, what), True
                break
            if tries <= 0:
                break
    return found


def fitting(program: Program) -> tuple[str, ...]:
    """The variants that a program can run in: threads at once and arrays as tensors only where nothing is written."""
    chosen = tuple(one for one in FITTING[program.mode] if one not in SWITCHED_OFF)
    if any("requires_grad" in line for line in program.body):  # which is what it changes
        chosen = tuple(one for one in chosen if one != "recorded")
    if program.writes:
        chosen = tuple(one for one in chosen if one not in ("compiled in threads", "reloaded", "recorded"))
    return chosen
