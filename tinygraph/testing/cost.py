"""What one application of an op costs: floating-point operations, bytes moved, bytes kept for the backward pass.

Operations are counted in `analysis/operation_counts.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tinygraph.analysis.operation_counts import operations
from tinygraph.core.op import Op
from tinygraph.core.trees import flatten
from tinygraph.core.types import ArrayType, type_of
from tinygraph.testing.trial import Trial


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
        (None, "those of its ops")
        if not isinstance(op, Op)
        else operations(op, operands, outputs, trial.settings)
    )
    return Cost(flops, words, moved, _kept(trial) if isinstance(op, Op) else 0)


def _kept(trial: Trial) -> int:
    """Bytes of the values that the recorded node keeps."""
    if not trial.moving:
        return 0
    saved = [one for one in trial.node().saved or () if not isinstance(one, ArrayType)]
    return sum(type_of(one).nbytes for one in flatten(saved)[0] if isinstance(one, np.ndarray | np.generic))
