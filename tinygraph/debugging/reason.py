"""`Reason`: what `tg.why` answers - a kind, a text that says it, the node it happened at, a script that shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from tinygraph.core.node import Node

KINDS = {
    "fine": "the gradient arrives, finite and of a usual size",
    "frozen": "the tensor requires no gradient",
    "absent": "nothing in the output's graph reads the tensor",
    "detached": "the output's graph reads the tensor's memory as a plain array",
    "discrete": "a value on the way is an integer or a boolean, which has no gradient",
    "stopped": "an op passes no gradient to that operand, whatever its values",
    "masked": "a boolean operand selects other elements",
    "untouched": "an index, a pad or a reshape leaves these elements out",
    "zero factor": "the operand is multiplied by zeros",
    "flat": "the op's derivative is zero at all these values: saturated, clipped, or a dead ReLU",
    "zero cotangent": "what arrives from the output is zero",
    "cancelled": "what arrives on several ways adds up to zero",
    "vanished": "the gradient is many orders of magnitude smaller than what it started from",
    "exploded": "the gradient is many orders of magnitude larger than what it started from",
    "not finite from the start": "a value that was given holds NaN or infinity",
    "not finite forward": "an op made NaN or infinity of operands that held none",
    "not finite backward": "an op's derivative made NaN or infinity of a gradient that held none",
}


@dataclass(frozen=True)
class Reason:
    """Why a gradient is as it is. Prints as text.

    Attributes:
        kind: one of `tinygraph.debugging.reason.KINDS`.
        text: the finding in words, with op, operands and the user's line.
        node: the node at which it happened, or None.
        script: a Python program that shows the same with NumPy and tinygraph alone, or None where there is nothing to
            show, or an operand is too large or belongs to an op that is not installed.
    """

    kind: str
    text: str
    node: Node | None = field(default=None, repr=False)
    script: str | None = field(default=None, repr=False)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return self.kind == "fine"

    def __str__(self) -> str:
        shown = (
            ""
            if self.script is None
            else "\n\nThis program shows it (reason.script):\n\n" + _indented(self.script)
        )
        return f"{self.kind}: {self.text}{shown}"


def formula(node: Node) -> str:
    """The formula of a node's op, as part of a sentence."""
    return node.op.formula.rstrip(".")


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())
