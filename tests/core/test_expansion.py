"""Expansions against the values: the elements that an op declares to read make its output, on its own samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.analysis.expansion import Expansion, expansion_of, positions
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
        if expansion.join == "only":
            inside = [positions(expansion, read) >= 0 for read in expansion.reads]
            assert (np.sum(inside, axis=0) == 1).all()
            reads = [np.sum([np.where(one, x, 0) for one, x in zip(inside, reads, strict=True)], axis=0)]
        terms = each(np.prod(reads, axis=0))
        axes = tuple(range(len(expansion.shape), terms.ndim))
        if expansion.reduce == "none":
            out = terms
        elif expansion.padding is None and np.isnan(terms).any():
            out = {"max": np.nanmax, "min": np.nanmin, "mean": np.nanmean, "sum": np.nansum}[
                expansion.reduce
            ](terms, axis=axes)
        else:
            out = REDUCTIONS[expansion.reduce](terms, axis=axes)
        if expansion.bias is not None:
            at = positions(expansion, expansion.bias)[(..., *[0] * len(expansion.over))]
            out = out + operands[expansion.bias.operand].reshape(-1)[at]
        if expansion.share is not None:
            at = positions(expansion, expansion.share)[(..., *[0] * len(expansion.over))]
            own = each(operands[0].reshape(-1)[at])
            if expansion.spread is None:
                out = own / out
            else:
                out = (own - out) / np.sqrt(terms.var(axis=axes) + expansion.spread)
        return FUNCTIONS[expansion.after](out)


@pytest.mark.parametrize("op", declared(), ids=lambda op: op.name)
def test_what_an_expansion_reads_makes_the_output(op: Op) -> None:
    for sample in op.samples:
        operands = list(sample.operands)
        if any(x is not None and (x.dtype.kind == "O" or np.size(x) == 0) for x in operands):
            continue
        if any(x is None or (x.dtype.kind == "f" and not np.abs(x).max() <= 500) for x in operands):
            continue  # exp overflows where the op itself does not, and nan stands for padding
        if op.kind == "indexing" and any(x.dtype.kind == "b" for x in operands[1:]):
            continue  # a mask cannot be captured
        graph = tg.capture(lambda *xs, settings=sample.settings: op(*xs, **settings), *operands)
        expansion = expansion_of(graph.nodes[-1])
        if expansion is None:
            continue
        expected = op(*operands, **sample.settings)
        expected = np.asarray(expected[0] if isinstance(expected, tuple) else expected)
        found = np.asarray(evaluated(expansion, op, operands, sample.settings))
        np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-12, atol=1e-12)


SETTINGS = [
    (size, stride, padding, output_padding, dilation, groups)
    for size in (4, 5)
    for stride in (1, 2, 3)
    for padding in (0, 1)
    for output_padding in range(min(2, stride))
    for dilation in (1, 2)
    for groups in (1, 2)
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_a_transposed_convolution_is_expanded_at_every_stride(settings: tuple[int, ...]) -> None:
    size, stride, padding, output_padding, dilation, groups = settings
    rng = np.random.default_rng(0)
    x, kernel, bias = rng.normal(size=(2, 4, size)), rng.normal(size=(4, 3, 3)), rng.normal(size=3 * groups)
    given = {
        "stride": stride, "padding": padding, "output_padding": output_padding, "dilation": dilation, "groups": groups,
    }  # fmt: skip
    op = tg.ops.convolution_transpose
    graph = tg.capture(lambda *xs: op(*xs, **given), x, kernel, bias)
    expansion = expansion_of(graph.nodes[-1])
    if dilation > 1 and stride > 1:
        assert expansion is None  # which tap fits where is not affine
        return
    assert expansion is not None
    found = evaluated(expansion, op, [x, kernel, bias], given)
    expected = op(x, kernel, bias, **given)
    np.testing.assert_allclose(np.reshape(found, expected.shape), expected, rtol=1e-12, atol=1e-12)
