"""What one application of an op costs: floating-point operations, bytes moved, bytes kept for the backward pass.

Operations are counted by the op's own rule (`@f.cost`), else from its expansion, else by its kind. A transcendental
function counts as one operation.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from tinygraph.core.expansion import Expansion
from tinygraph.core.op import Op
from tinygraph.core.trees import flatten
from tinygraph.core.types import ArrayType, type_of
from tinygraph.testing.trial import Trial

NO_ARITHMETIC = ("shape", "indexing")


class Cost(NamedTuple):
    """What an op costs on given operands.

    Attributes:
        flops: floating-point operations; None where nothing says how many.
        words: how they are counted.
        bytes: of the operands and the results together.
        kept: of the values that stay in memory until the backward pass, the operands' own included.
    """

    flops: int | None
    words: str
    bytes: int
    kept: int


def cost_of(trial: Trial) -> Cost:
    """The cost of a trial's op on its operands."""
    op = trial.op
    outputs = [type_of(one) for one in flatten(trial.run())[0]]
    operands = [None if x is None else type_of(x) for x in trial.operands]
    moved = sum(one.nbytes for one in (*operands, *outputs) if one is not None)
    flops, words = (
        (None, "those of its ops") if not isinstance(op, Op) else _flops(op, operands, outputs, trial)
    )
    return Cost(flops, words, moved, _kept(trial) if isinstance(op, Op) else 0)


def _flops(
    op: Op, operands: list[ArrayType | None], outputs: list[ArrayType], trial: Trial
) -> tuple[int | None, str]:
    settings = {**op.signature.settings, **trial.settings}
    if op.cost_rule is not None:
        words = (op.cost_rule.__doc__ or "counted by a rule of its own").strip().partition("\n")[0]
        return op.cost_rule(*operands, **settings), words
    if op.kind in NO_ARITHMETIC:
        return 0, "none"
    if op.kind in ("elementwise", "comparison", "random"):
        return sum(one.size for one in outputs), "1 an output element"
    if op.expansion is not None and len(outputs) == 1:
        return _counted(op.expansion(*operands, **settings))
    if op.kind == "reduction":
        return sum(x.size for x in operands if x is not None), "1 an operand element"
    return None, "not declared"


def _counted(expansion: Expansion) -> tuple[int, str]:
    """Operations of an expansion: what is read outside an operand is counted, as a kernel over padding does it."""
    terms, outputs = prod(expansion.over), prod(expansion.shape)
    applied = expansion.join == "op"
    in_a_term = (1 if applied else len(expansion.reads) - 1) + (expansion.each != "identity")
    reduced = expansion.reduce != "none"
    after = sum((expansion.bias is not None, expansion.after != "identity", expansion.share is not None))
    a_term = in_a_term + reduced
    words = " + ".join(
        filter(None, (f"{a_term} a term" if a_term else "", f"{after} an element" if after else ""))
    )
    return outputs * (terms * a_term + after), words or "none"


def _kept(trial: Trial) -> int:
    """Bytes of the values that the recorded node keeps."""
    if not trial.moving:
        return 0
    saved = [one for one in trial.node().saved or () if not isinstance(one, ArrayType)]
    return sum(type_of(one).nbytes for one in flatten(saved)[0] if isinstance(one, np.ndarray | np.generic))
