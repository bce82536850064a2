"""What a law is: a function of an op and one of its samples that returns, does not apply, or says what is broken.

The laws themselves are in `laws/`, one function each; which laws run on what is decided in `check.py`.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tinygraph.core.source import is_library
from tinygraph.errors import TinygraphError

if TYPE_CHECKING:
    from tinygraph.core.registry import AnyOp

Subject = Literal["op", "sample", "error sample"]
# Which other laws a fault breaks too: all that come later, those about the same rule, or those about other arrays than
# these; "apart": none, it is about a declaration or a door of its own.
About = Literal["everything", "one rule", "arrays", "apart"]


class DoesNotApply(Exception):
    """A law has nothing to say about an op or a sample; the text says why."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        what: in words.
        operand: the operand whose derivative is wrong, if it is one.
        expected, found: arrays, types or texts, where there is something to compare.
        cause: the likely cause in words; empty if none is recognised.
        law, op, sample: where it was found, in words.
        place: file and line that raised, if it was raised.
        about: what the law is about; see `Law`.
    """

    what: str
    operand: str = ""
    expected: Any = None
    found: Any = None
    cause: str = ""
    law: str = ""
    op: str = ""
    sample: str = ""
    place: str = ""
    about: About = "everything"

    def data(self) -> dict[str, str]:
        """The finding as JSON data, arrays as text."""
        return {one.name: _shown(getattr(self, one.name)) for one in fields(self)}

    def __str__(self) -> str:
        lines = [f"op {self.op!r} breaks the law {self.law!r}: {self.what}"]
        rows = (
            ("sample", self.sample),
            ("operand", self.operand),
            ("expected", self.expected),
            ("found", self.found),
            ("likely cause", self.cause),
        )
        lines += [f"    {name:13}{_shown(value)}" for name, value in rows if not _absent(value)]
        return "\n".join(lines)


class LawBroken(AssertionError):
    """An op breaks one or more laws.

    Attributes:
        findings: what is wrong, each with its law, sample, expected, found and likely cause.
    """

    def __init__(self, *findings: Finding) -> None:
        super().__init__(*findings)
        self.findings = findings

    def __str__(self) -> str:
        from tinygraph.testing.roots import causes_of  # which is told in terms of findings

        return "\n\n".join(map(str, causes_of(self.findings)))


class Law:
    """One law, with the name it is known by: that of its function, in words.

    Attributes:
        subject: what it is checked on: the op as a whole, each sample, or each error sample.
        about: which other laws break when it does.
    """

    def __init__(
        self, function: Callable[[Any, Any], None], subject: Subject, about: About = "everything"
    ) -> None:
        self.function = function
        self.subject: Subject = subject
        self.about: About = about
        self.name = function.__name__.replace("_", " ")
        self.__doc__ = function.__doc__

    def __call__(self, op: AnyOp, sample: object = None) -> None:
        """Check the law.

        Raises:
            LawBroken: with the op, the law and the sample filled in. What the op itself raises is reported so, too.
            DoesNotApply: the law says nothing about this op or sample.
        """
        try:
            self.function(op, sample)
        except DoesNotApply:
            raise
        except LawBroken as broken:
            findings = broken.findings
        except Exception as error:  # noqa: BLE001 - whatever an op under test raises is a finding about it
            findings = (_raised(error),)
        else:
            return
        shown = "" if sample is None else repr(sample)
        raise LawBroken(
            *(
                replace(one, law=self.name, op=op.name, sample=one.sample or shown, about=self.about)
                for one in findings
            )
        )

    def __repr__(self) -> str:
        return f"<law: {self.name}>"


def on_op(function: Callable[[Any, Any], None]) -> Law:
    """Make a law about an op as a whole."""
    return Law(function, "op")


def on_samples(function: Callable[[Any, Any], None]) -> Law:
    """Make a law that holds for every sample."""
    return Law(function, "sample")


def on_error_samples(function: Callable[[Any, Any], None]) -> Law:
    """Make a law that holds for every error sample."""
    return Law(function, "error sample")


def apart(law: Law) -> Law:
    """Say that a law stands alone: what breaks it breaks no other, nor the other way round."""
    return Law(law.function, law.subject, "apart")


def on_one_rule(law: Law) -> Law:
    """Say that a law judges each operand's rule by itself."""
    return Law(law.function, law.subject, "one rule")


def on_arrays(law: Law) -> Law:
    """Say that a law is about arrays of one kind: right or wrong on them, it is so on no other kind."""
    return Law(law.function, law.subject, "arrays")


def _raised(error: Exception) -> Finding:
    # where this library puts what an op raised into better words, the op's own line is behind it
    inner = error.__cause__ if isinstance(error, TinygraphError) else None
    place, own = raised_at(inner or error)
    text = str(error)
    cause = ""
    if "read-only" in text:
        cause = "it writes into an array that it was given; make a copy, or compute without out="
    elif "has a type" in text and "no value" in text:
        cause = "the rule asks for a value where only shapes are known; write it in ops and ask for x_type for shapes"
    return Finding(
        f"it raised {type(error).__name__} ({place}): {text}", cause=cause, place=place if own else ""
    )


def raised_at(error: BaseException) -> tuple[str, bool]:
    """File and line that raised, in the op's own code if it went through any, and whether it did."""
    frames = traceback.extract_tb(error.__traceback__)
    ops = [frame for frame in frames if "tinygraph_ops" in frame.filename]
    own = ops or [frame for frame in frames if not is_library(frame.filename)]
    place = (own or frames)[-1]
    return f"{place.filename.rpartition('/')[2]}:{place.lineno}", bool(own)


def _absent(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value)


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray | np.generic):
        text = np.array2string(np.asarray(value), precision=10, threshold=30, separator=", ", prefix=" " * 17)
        return f"{value.dtype.name}[{','.join(map(str, value.shape))}] {text}"
    return "" if value is None else str(value)
