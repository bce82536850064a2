"""Expansions against the values: the elements that an op declares to read make its output, on its own samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.expansion import Expansion, expansion_of, positions
from tinygraph.core.op import Op

FUNCTIONS: dict[str, Any] = {"identity": lambda x: x, "exp": np.exp, "log": np.log, "square": np.square}
REDUCTIONS: dict[str, Any] = {
    "sum": np.sum,
    "mean": np.mean,
    "product": np.prod,
    "max": np.max,
    "min": np.min,
}


def declared() -> list[Op]:
    """The ops with an expansion, of their own or by their kind."""
    found = [getattr(tg.ops, name) for name in dir(tg.ops)]
    kinds = ("elementwise", "comparison")
    return [op for op in found if isinstance(op, Op) and (op.expansion is not None or op.kind in kinds)]


def gathered(expansion: Expansion, read: Any, operands: Any, outside: Any) -> Any:
    at = positions(expansion, read)
    flat = np.asarray(operands[read.operand]).reshape(-1)
    return (np.append(flat, outside) if (at < 0).any() else flat)[at]  # -1 is the one appended


def evaluated(expansion: Expansion, op: Op, operands: Any, settings: dict[str, Any]) -> Any:
    """The output, element by element from what the expansion says; float64."""
    outside = np.nan if expansion.padding is None else expansion.padding
    each = FUNCTIONS[expansion.each]
    with np.errstate(all="ignore"):
        reads = [gathered(expansion, read, operands, outside) for read in expansion.reads]
        if expansion.join == "op":
            return op(*reads, **settings)
        terms = each(np.prod(reads, axis=0))
        axes = tuple(range(len(expansion.shape), terms.ndim))
        if expansion.reduce == "none":
            out = terms
        elif expansion.padding is None and np.isnan(terms).any():
            out = {"max": np.nanmax, "min": np.nanmin, "mean": np.nanmean}[expansion.reduce](terms, axis=axes)
        else:
            out = REDUCTIONS[expansion.reduce](terms, axis=axes)
        if expansion.bias is not None:
            at = positions(expansion, expansion.bias)[(..., *[0] * len(expansion.over))]
            out = out + operands[expansion.bias.operand].reshape(-1)[at]
        if expansion.share is not None:
            at = positions(expansion, expansion.share)[(..., *[0] * len(expansion.over))]
            out = each(operands[0].reshape(-1)[at]) / out
        return FUNCTIONS[expansion.after](out)


@pytest.mark.parametrize("op", declared(), ids=lambda op: op.name)
def test_what_an_expansion_reads_makes_the_output(op: Op) -> None:
    for sample in op.samples:
        operands = list(sample.operands)
        if any(x is not None and (x.dtype.kind == "O" or np.size(x) == 0) for x in operands):
            continue
        if any(x is None or (x.dtype.kind == "f" and not np.abs(x).max() <= 500) for x in operands):
            continue  # exp overflows where the op itself does not, and nan stands for padding
        graph = tg.capture(lambda *xs, settings=sample.settings: op(*xs, **settings), *operands)
        expansion = expansion_of(graph.nodes[-1])
        if expansion is None:
            continue
        expected = np.asarray(op(*operands, **sample.settings))
        found = np.asarray(evaluated(expansion, op, operands, sample.settings))
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-12, atol=1e-12)
