"""How values lie in a plan: images with channels last and a halo from op to op, results in the place of operands."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import kernels
from tinygraph.compiler.choosing import kernel_cpu
from tinygraph.compiler.layouts import choose_layouts
from tinygraph.core.node import Leaf
from tinygraph.kernels.lowering import Layout, channels_last, rows

ops = tg.ops
rng = np.random.default_rng(0)
generated = pytest.mark.skipif(not kernels.available(), reason="layouts are asked for by generated kernels")


def layouts_of(function, *inputs):
    """The layout of each op's first result by op name, and of the inputs by their name; rows are left out."""
    graph = tg.capture(function, *inputs)
    nodes = [node for node in graph.nodes if not isinstance(node, Leaf)]
    chosen, _ = choose_layouts(nodes, graph.inputs, kernel_cpu(exact=True))
    named = {node.op.name: id(node) for node in nodes} | {leaf.name: id(leaf) for leaf in graph.inputs}
    return {name: chosen[key, 0] for name, key in named.items() if (key, 0) in chosen}


def random(*shape, dtype=np.float32):
    return rng.normal(size=shape).astype(dtype)


@generated
def test_images_keep_their_layout_from_op_to_op():
    first, second = random(16, 3, 3, 3), random(32, 16, 5, 5)

    def net(x):
        y = ops.max_pool(ops.relu(ops.convolution(x, first, padding=1)), size=2)
        return ops.flatten(ops.convolution(y, second, padding=2), start_axis=1)

    found = layouts_of(net, random(2, 3, 8, 8))
    one, two = ((1, 1), (1, 1)), ((2, 2), (2, 2))
    assert found["x"] == channels_last(4, one)
    assert found["relu"] == channels_last(4)
    assert found["max_pool"] == channels_last(4, two)
    assert found["convolution"] == channels_last(4)
    assert "flatten" not in found


@generated
def test_a_halo_is_wide_enough_for_all_who_read_it():
    narrow, wide = random(16, 16, 3, 3), random(16, 16, 5, 1)

    def net(x):
        y = ops.relu(x)
        return ops.convolution(y, narrow, padding=1), ops.convolution(y, wide, padding=(3, 0))

    assert layouts_of(net, random(1, 16, 6, 6))["relu"] == channels_last(4, ((3, 3), (1, 1)))


def test_without_images_everything_lies_in_rows():
    assert layouts_of(lambda x: ops.softmax(np.sin(x) @ x), random(5, 5)) == {}


CASES = {
    "one channel": (random(2, 1, 9, 9), [(6, 5, {"padding": 2}), (16, 5, {})]),
    "channels that fill no vector": (random(2, 5, 8, 7), [(20, 3, {"padding": 1}), (7, 3, {"stride": 2})]),
    "strides": (random(2, 16, 9, 9), [(16, 3, {"stride": 2, "padding": 1}), (32, 1, {"stride": 2})]),
    "dilation": (random(1, 8, 12, 12), [(8, 3, {"dilation": 2, "padding": 2}), (8, 3, {"padding": "same"})]),
    "one dimension": (random(2, 4, 15), [(16, 3, {"padding": ((2, 0),)}), (8, 5, {})]),
    "three dimensions": (random(1, 2, 4, 4, 4), [(3, 2, {}), (2, 2, {"padding": 1})]),
    "groups": (random(2, 6, 7, 7), [(6, 3, {"groups": 3, "padding": 1}), (8, 3, {})]),
    "double precision": (random(2, 3, 8, 8, dtype=float), [(16, 3, {"padding": 1}), (4, 3, {})]),
}


@pytest.mark.parametrize("case", CASES)
def test_results_and_gradients_are_those_of_eager_calls(case):
    x, convolutions = CASES[case]
    kernels, channels = [], x.shape[1]
    for outputs, size, settings in convolutions:
        kernels.append(
            random(outputs, channels // settings.get("groups", 1), *[size] * (x.ndim - 2), dtype=x.dtype)
        )
        channels = outputs

    def loss(x, kernels):
        for kernel, (_, _, settings) in zip(kernels, convolutions, strict=True):
            x = ops.convolution(x, kernel, **settings)
            x = np.tanh(x - np.mean(x, axis=0, keepdims=True)) + ops.relu(x[:, ::-1]) * 0.5
        return np.sum(x * x)

    gradients = tg.value_and_grad(loss, argnums=(0, 1))
    expected, found = gradients(x, kernels), tg.compile(gradients)(x, kernels)
    bound = 1e-11 if x.dtype == float else 2e-4
    for one, other in zip(tg.core.trees.flatten(found)[0], tg.core.trees.flatten(expected)[0], strict=True):
        assert np.linalg.norm(np.asarray(one) - other) <= bound * np.linalg.norm(np.asarray(other))


def test_a_chain_of_elementwise_ops_lives_in_one_place():
    x = random(1000, dtype=float)

    def chain(x):
        for _ in range(10):
            x = (
                np.cumsum(np.sin(x)) * 1e-3
            )  # what is no elementwise op keeps the sines from becoming one loop
        return x

    compiled = tg.compile(chain)
    np.testing.assert_allclose(compiled(x), chain(x), rtol=1e-12)
    assert compiled.plan.arena_bytes <= 2 * x.nbytes + 256


@pytest.mark.parametrize(
    "layout",
    [rows(3), channels_last(3), channels_last(4, ((1, 2), (3, 0))), Layout((1, 0), ((0, 3), (2, 0)))],
)
def test_a_layout_and_its_memory(layout):
    shape = (2, 3, 5, 4)[: len(layout.order)]
    block = np.zeros(layout.size(shape))
    value = layout.inside(block, shape)
    assert value.shape == shape
    value[...] = 1
    assert np.count_nonzero(block) == value.size
    around = layout.around(value)
    assert around.shape == layout.block_shape(shape)
    assert np.shares_memory(around, block)
    np.testing.assert_array_equal(around.ravel(), block)
    assert layout.covers(layout.without_halo())
    assert layout.wider(layout.without_halo()) == layout


@generated
def test_inputs_whose_axes_lie_in_another_order():
    """They are copied by a kernel from the second call on, which keeps nobody's array."""
    function = tg.compile(lambda x: np.tanh(x) * 2)
    for order in ((0, 1, 2), (2, 1, 0), (1, 2, 0)):
        shape = np.array((40, 30, 20))[np.argsort(order)]
        for _ in range(4):
            base = random(*shape[np.arange(3)])
            x = base.transpose(order)
            np.testing.assert_allclose(function(x), np.tanh(x) * 2, rtol=1e-5)
    gaps = random(80, 60, 40)[::2, ::-2, ::2]
    for _ in range(3):
        np.testing.assert_allclose(function(gaps), np.tanh(gaps) * 2, rtol=1e-5)
    kept, held = random(20, 30, 40).T, random(20, 30, 40).T
    function(held), function(kept)
    seen = weakref.ref(kept.base)
    del kept
    assert seen() is None
    assert sum(map(bool, function.plan._copies_in._kernels.values())) == 3


def test_a_loop_from_rows_to_planes_writes_beside_what_it_reads():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 16, 8, 8)).astype(np.float32)
    kernel = random.normal(size=(16, 16, 3, 3)).astype(np.float32)
    # the sum of rows has the size of the planes that the convolution reads, and nobody reads it later
    compiled = tg.compile(lambda x: tg.ops.convolution(np.exp(np.cumsum(x, axis=-1)), kernel))
    scaled = np.exp(np.cumsum(x.astype(float), axis=-1))
    windows = np.lib.stride_tricks.sliding_window_view(scaled, (3, 3), (2, 3))
    expected = np.einsum("nchwij,ocij->nohw", windows, kernel.astype(float))
    np.testing.assert_allclose(compiled(x), expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
