"""The shape that index arrays select, found without making the result: NumPy's own answer, tried on small ones."""

import itertools

import numpy as np
import pytest

import tinygraph as tg

ALL = slice(None)
ITEMS = [0, ALL, None, ..., np.array([0, 1]), np.array([[1], [0]])]
INDICES = [
    items
    for count in (1, 2, 3, 4)
    for items in itertools.product(ITEMS, repeat=count)
    if any(isinstance(one, np.ndarray) for one in items)
    and sum(one is ... for one in items) <= 1
    and sum(one is not None and one is not ... for one in items) <= 3
]


@pytest.mark.parametrize("first", range(len(ITEMS)))
def test_the_rule_says_what_numpy_does(first, monkeypatch):
    module = __import__("sys").modules[tg.ops.index.forward.__module__]
    monkeypatch.setattr(module, "MOST_TRIED", -1)
    x = np.zeros((2, 3, 4))
    seen = 0
    for items in INDICES:
        if items[0] is ITEMS[first]:
            graph = tg.capture(lambda x, items=items: x[items], x)
            assert graph.output_types[0].shape == x[items].shape, items
            seen += 1
    assert seen > 10
