"""Expansions against the values: the elements that an op declares to read make its output, on its own samples."""

from __future__ import annotations

from functools import partial

import numpy as np

import tinygraph as tg
from tests.rows import each
from tinygraph.analysis.expansion import Expansion, Read, expansion_of, indices
from tinygraph.analysis.terms import elements, gather, positions, positions_at
from tinygraph.core.op import Op


def declared() -> list[Op]:
    """The ops with an expansion, of their own or by their kind."""
    found = [getattr(tg.ops, name) for name in dir(tg.ops)]
    kinds = ("elementwise", "comparison")
    return [op for op in found if isinstance(op, Op) and (op.expansion is not None or op.kind in kinds)]


@each("op", declared(), ids=lambda op: op.name)
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
        found = np.asarray(elements(expansion, operands, partial(op, **sample.settings)))
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


@each("settings", SETTINGS, ids=str)
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
    found = elements(expansion, [x, kernel, bias], partial(op, **given))
    expected = op(x, kernel, bias, **given)
    np.testing.assert_allclose(np.reshape(found, expected.shape), expected, rtol=1e-12, atol=1e-12)


def test_a_number_that_is_none_is_no_term_that_does_not_count() -> None:
    """Where nothing pads, what is outside is left out of a maximum and a mean; a nan inside is not."""
    (i,), (k,) = indices(1, 1)
    window = Read(0, (3,), (i + k - 1,))
    x = np.array([4.0, np.nan, 1.0])
    same = partial(Expansion, (3,), (window,), over=(2,))
    for reduce, expected in (
        ("max", [4, np.nan, np.nan]),
        ("mean", [4, np.nan, np.nan]),
        ("sum", [4, np.nan, np.nan]),
    ):
        np.testing.assert_array_equal(elements(same(reduce=reduce), [x], np.positive), expected)
    np.testing.assert_array_equal(elements(same(reduce="mean", padding=0.0), [x], np.positive)[0], 2.0)
    finite = np.array([4.0, -2.0, 1.0])
    np.testing.assert_array_equal(elements(same(reduce="max"), [finite], np.positive), [4, 4, 1])
    np.testing.assert_array_equal(elements(same(reduce="min"), [finite], np.positive), [4, -2, -2])
    np.testing.assert_array_equal(elements(same(reduce="product"), [finite], np.positive), [4, -8, -2])


def test_one_index_is_read_as_in_the_whole_grid() -> None:
    (i,), (k,) = indices(1, 1)
    window = Read(0, (3,), (2 * i + k - 1,))
    whole = positions(Expansion((2,), (window,), over=(3,), reduce="sum"), window)
    assert whole.tolist() == [[-1, 0, 1], [1, 2, -1]]
    assert [[int(positions_at(window, (o, r))) for r in range(3)] for o in range(2)] == whole.tolist()
    values, at = gather(window, np.array([5.0, 6.0, 7.0]), (1, np.arange(3)), 0.5)
    assert (values.tolist(), at.tolist()) == ([6.0, 7.0, 0.5], [1, 2, -1])
