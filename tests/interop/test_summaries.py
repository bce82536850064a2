"""The table of a graph."""

import numpy as np

import tinygraph as tg


def test_every_node_has_a_row_and_the_totals_count():
    w = tg.tensor(np.ones((3, 2), np.float32), requires_grad=True, name="fc.weight")
    graph = tg.capture(lambda x: np.mean(x @ w, axis=0), np.ones((4, 3), np.float32))
    line = graph.nodes[-1].source.line
    lines = graph.summary().splitlines()
    assert lines[-1] == "2 ops, 2 leaves, 1 parameter (6 elements, 24 bytes)"
    rows = [line.split() for line in lines]
    assert ["0", "fc.weight", "tensor", "float32[3,2]", "6"] in rows
    assert ["3", "mean", "axis=0", "float32[2]", f"test_summaries.py:{line}"] in rows


def test_markup_in_names_is_text_and_long_graphs_are_cut():
    x = tg.tensor(1.0, requires_grad=True, name="[red]x[/red]")
    y = x
    for _ in range(1500):
        y = y + 1.0
    text = tg.graph_of(y).summary()
    assert "[red]x[/red]" in text
    assert "... 501 more" in text
    assert text.splitlines()[-1].startswith("1500 ops, 1 leaf")
