"""What nodes remember of the program: scopes, phases and source lines; and modes that end with their block."""

import threading

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.core.modes import modes, scope
from tinygraph.plugin import ops


def leaf(value):
    return tg.tensor(value, requires_grad=True)


def test_no_grad_records_nothing_and_ends_with_its_block():
    x = leaf(2.0)
    with tg.no_grad():
        assert (x * x).node is None
    with pytest.raises(ZeroDivisionError), tg.no_grad():
        _ = 1 // 0
    assert (x * x).requires_grad


def test_no_grad_decorates():
    @tg.no_grad()
    def square(x):
        return x * x

    assert not square(leaf(2.0)).requires_grad
    assert (leaf(2.0) * 2).requires_grad


def test_modes_belong_to_a_thread():
    found = []
    with tg.no_grad():
        thread = threading.Thread(target=lambda: found.append((leaf(2.0) * 2).requires_grad))
        thread.start()
        thread.join()
    assert found == [True]


def test_scopes_nest_and_count_calls():
    x = leaf(1.0)
    with scope("block"):
        first = x * 2
        with scope("layer"):
            second = x * 2
    with scope("block"):
        third = x * 2
    ((name, number),) = first.node.scope
    assert name == "block"
    assert second.node.scope == (("block", number), ("layer", 0))
    assert third.node.scope == (("block", number + 1),)
    assert (x * 2).node.scope == ()


def test_a_scope_ends_when_its_block_raises():
    with pytest.raises(ZeroDivisionError), scope("block"):
        _ = 1 // 0
    assert modes.current.place.scope == ()


def test_composites_are_scopes():
    y = ops.var(leaf([1.0, 2.0, 4.0]))
    assert {node.scope[0][0] for node in tg.graph_of(y).nodes if node.op is not None} == {"var"}


def test_a_composite_of_plain_arrays_is_plain():
    assert isinstance(ops.var(np.array([1.0, 2.0])), np.floating)


def test_backward_nodes_know_their_forward_node_scope_and_phase():
    x = leaf(0.5)
    with scope("block"):
        y = np.sin(x)
    y.backward(create_graph=True)
    nodes = [node for node in tg.graph_of(x.grad).nodes if node.op is not None]
    assert {node.op.name for node in nodes if node.phase == "backward"} == {"cos", "multiply"}
    for node in nodes:
        assert node.phase == "backward"
        assert node.forward_node is y.node
        assert node.scope == y.node.scope != ()


def test_a_node_knows_the_users_line():
    x = leaf(0.5)
    y = np.sin(x) + 1  # this line
    source = y.node.source
    assert source.file == __file__
    assert source.text.endswith("# this line")
    assert source.function == "test_a_node_knows_the_users_line"
    assert y.node.inputs[0].source == source


def test_the_line_of_a_composite_is_its_callers():
    y = ops.var(leaf([1.0, 2.0, 4.0]))  # the call
    assert y.node.source.text.endswith("# the call")
