"""Each op's own kernel against its forward at its edges, and NumPy's kernels, which run where llvmlite is missing.

What kernels write for an op's samples is held by the law "own kernel", which runs with the laws.
"""

import contextlib
import tracemalloc

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import nn, optim
from tinygraph.cli.bench.candidates import data, our_model, training_step
from tinygraph.cli.bench.command import numpy_kernels
from tinygraph.cli.bench.workloads import WORKLOADS
from tinygraph.core.op import Op
from tinygraph.core.registry import ops, registry
from tinygraph.core.types import type_of
from tinygraph.errors import OpError
from tinygraph.kernels.lowering import Layouts, Types
from tinygraph.testing.laws.kernels import check_kernel
from tinygraph.testing.trial import Trial

LOWERED = [
    op
    for op in registry.all_ops()
    if isinstance(op, Op) and op.lowering is not None and op.package == "tinygraph_ops"
]
rng = np.random.default_rng(0)
EDGES = [  # what samples leave out
    ("sum", [np.zeros((0, 3))], {"axis": 0}),
    ("sum", [np.array(2.5)], {}),
    ("mean", [np.arange(6).reshape(2, 3)], {"axis": 1}),
    ("max", [np.array([[1.0, np.nan], [2.0, 3.0]])], {"axis": 1}),
    ("relu", [np.zeros((0, 4))], {}),
    ("relu", [np.array(-1.5)], {}),
    ("relu", [np.array([np.nan, -0.0, np.inf, -np.inf])], {}),
    ("relu", [np.array([-3, 4])], {}),
    ("cast", [np.array(2.5)], {"dtype": "int32"}),
    ("cast", [np.zeros((2, 0))], {"dtype": "float32"}),
    ("where", [np.array([True, False, True, False]), np.array([np.nan, 1.0, -0.0, np.inf]), 0], {}),
    ("where", [np.array([True, False, True]), np.array([np.nan, 1.0, -0.0]), np.array([-np.inf, np.nan, 7.0])], {}),
    ("where", [np.array([True, False]), 0, np.array([np.nan, -0.0])], {}),
    ("where", [np.array([True, False]), np.array([1, 2]), 0], {}),
    ("where", [np.array([True, False]), np.array([1j, 2.0]), 0], {}),
    ("where", [np.array([[True], [False]]), np.arange(3.0), np.float32(2.0)], {}),
    ("where", [np.array([1.0, 0.0]), np.array([1.0, 2.0]), 0], {}),
    ("matmul", [np.zeros((0, 3)), np.ones((3, 2))], {}),
    ("matmul", [np.ones((2, 0)), np.ones((0, 2))], {}),
    ("matmul", [np.ones((2, 3), int), np.ones((3, 2))], {}),
    ("reshape", [np.array(3.0)], {"shape": (1, 1)}),
    ("index", [np.arange(6.0).reshape(2, 3)], {"pattern": (1, 2)}),
    ("index", [np.arange(6.0).reshape(2, 3), np.zeros((0,), int)], {"pattern": ("array",)}),
    ("embedding", [np.arange(6.0).reshape(3, 2), np.array([2, 0], np.uint8)], {}),
    ("erf", [np.linspace(-7, 7, 20001)], {}),
    ("erf", [np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e-30, 1e30])], {}),
    ("gelu", [np.array([0.0, -0.0, np.inf, np.nan, 1e-30, -1e30])], {}),
    ("softmax", [np.zeros((0, 3))], {"axis": 1}),
    ("softmax", [np.array([[np.inf, 1.0], [-np.inf, 0.0]])], {"axis": 1}),
    ("log_softmax", [np.array([[-1e4, 0.0], [3.0, -np.inf]])], {"axis": 1}),
    ("standardize", [rng.normal(size=(8, 3, 5, 4)) + 10], {"axis": (0, 2, 3)}),
    ("class_probabilities", [np.array([2, 255], np.uint8)], {"classes": 300}),
    ("class_probabilities", [np.zeros((0,), int)], {"classes": 3}),
    ("cross_entropy", [np.array([[0.0, -np.inf, 1.0]]), np.array([2], np.uint8)], {}),
    ("cross_entropy", [np.zeros((2, 3)), np.array([-100, -100])], {"reduction": "sum"}),
    ("cross_entropy_gradient", [np.array(1.5), np.array([[0.0, -np.inf, 1.0]]), np.array([2], np.uint8)], {}),
    ("cross_entropy_gradient", [np.array(2.0), np.zeros((2, 3)), np.array([-100, -100])], {}),
    ("cross_entropy_gradient", [rng.normal(size=(2, 4)), rng.normal(size=(2, 3, 4)), np.array([[0, 2, 1, 5]] * 2)],
     {"reduction": "none", "label_smoothing": 0.2, "ignore_index": 5}),
    ("cross_entropy", [rng.normal(size=(4, 5)), np.array([1, 9, 0, 4], np.int16)],
     {"label_smoothing": 0.3, "ignore_index": 9}),
    ("matmul", [rng.normal(size=(3, 1, 5, 6)), rng.normal(size=(2, 6, 7))], {}),
    ("matmul", [rng.normal(size=(2, 3, 1)), rng.normal(size=(1, 300))], {}),
    ("einsum", [rng.normal(size=(2, 5, 3, 6)), rng.normal(size=(2, 7, 3, 6))], {"subscripts": "bqhd,bkhd->bhqk"}),
    ("max_pool", [np.full((1, 1, 4, 4), -np.inf)], {"size": 3, "padding": 1}),
    ("max_pool_index", [np.array([[[1.0, np.nan, np.nan, 2.0]]])], {"size": 2}),
    ("max_pool_index", [rng.normal(size=(2, 3, 20, 20))], {"size": 3, "stride": 2, "dilation": 2}),
    ("average_pool", [rng.normal(size=(2, 3, 9, 8))], {"size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("adaptive_average_pool", [rng.normal(size=(2, 3, 8, 6))], {"size": (4, 3)}),
    ("adaptive_average_pool_input_gradient", [rng.normal(size=(2, 3, 4, 3))], {"spatial_shape": (8, 6)}),
    ("convolution", [rng.normal(size=(2, 4, 9, 8)), rng.normal(size=(6, 2, 3, 3)), rng.normal(size=6)],
     {"groups": 2, "padding": 1}),
    ("convolution", [rng.normal(size=(3, 2, 40, 400)), rng.normal(size=(24, 2, 5, 5))], {"padding": 2}),
    ("convolution_transpose", [rng.normal(size=(2, 4, 5, 6)), rng.normal(size=(4, 1, 3, 3)), rng.normal(size=2)],
     {"groups": 2, "padding": 1}),
    ("convolution_transpose", [rng.normal(size=(2, 4, 5, 6)), rng.normal(size=(4, 2, 3, 3))], {"stride": 2}),
    ("convolution_kernel_gradient", [rng.normal(size=(3, 4, 9, 8)), rng.normal(size=(3, 2, 9, 8))],
     {"size": (3, 3), "padding": 1, "groups": 2}),
]  # fmt: skip
EDGES = [
    pytest.param(getattr(ops, name), given, settings, id=f"{name}-edge{i}")
    for i, (name, given, settings) in enumerate(EDGES)
]


KINDS = {"all kernels": contextlib.nullcontext, "numpy kernels": numpy_kernels}


@pytest.fixture(params=KINDS)
def kernels(request):
    with KINDS[request.param]():
        yield


@pytest.mark.usefixtures("kernels")
@each(("op", "operands", "settings"), EDGES)
def test_kernels_write_what_the_forward_gives_at_edges(op, operands, settings):
    check_kernel(op, Trial(op, operands, settings), by_norm=True)


@each("op", LOWERED, ids=lambda op: op.name)
def test_kernels_of_numpy_write_what_the_forward_gives(op):
    with numpy_kernels():
        for sample in op.samples:
            check_kernel(op, Trial.of(op, sample))


@pytest.mark.parametrize(
    ("name", "operands", "settings"),
    [
        ("class_probabilities", [np.array([0, 3])], {"classes": 3}),
        ("cross_entropy", [np.zeros((2, 3)), np.array([-1, 0])], {}),
        ("cross_entropy_gradient", [np.array(1.0), np.zeros((2, 3)), np.array([-1, 0])], {}),
        ("embedding", [np.zeros((3, 2)), np.array([3])], {}),
        ("embedding", [np.zeros((3, 2)), np.array([-1])], {}),
        ("index", [np.zeros((3, 2)), np.array([3])], {"pattern": ("array",)}),
        ("scatter_windows", [np.zeros((1, 1, 1)), np.array([[[4]]])], {"spatial_shape": (4,)}),
    ],
)
def test_bad_operands_raise_as_they_do_eagerly(name, operands, settings):
    op = getattr(ops, name)
    with pytest.raises(Exception) as eager:  # noqa: PT011 - whatever it is, the kernel raises it too
        op.forward(*operands, **settings)
    settings = {one: op.setting(settings, one) for one in op.signature.settings}
    shapes = {
        "class_probabilities": (2, 3),
        "cross_entropy": (),
        "cross_entropy_gradient": (2, 3),
        "embedding": (1, 2),
    }
    out = {**shapes, "index": (1, 2)}.get(name, (1, 1, 4))
    with numpy_kernels():
        known = Types(tuple(map(type_of, operands)), (type_of(np.zeros(out)),))
        lowering = op.lowering(known, Layouts((None,) * len(operands), (None,)), None, **settings)
        run = lowering.bind(operands, [np.zeros(out)], [np.zeros(n, np.uint8) for n in lowering.scratch])
        with pytest.raises(type(eager.value)):
            run()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_wrong_label_raises_in_a_compiled_step_and_the_next_call_is_right(reduction):
    def loss(logits, labels):
        return tg.ops.cross_entropy(logits, labels, reduction=reduction)

    logits = np.zeros((3, 2), np.float32)
    step = tg.compile(lambda x, labels: tg.value_and_grad(loss)(x, labels))
    value, slopes = step(logits, np.array([0, 1, -100]))
    for wrong in (2, -1):
        with pytest.raises(OpError, match=rf"labels\[1\] is {wrong}, but logits have the classes 0 to 1"):
            step(logits, np.array([0, wrong, -100]))
    again, same = step(logits, np.array([0, 1, -100]))
    share = 0.25 if reduction == "mean" else 0.5
    for one, other in ((value, slopes), (again, same)):
        np.testing.assert_allclose(one, np.log(2) * (1 if reduction == "mean" else 2), rtol=1e-6)
        np.testing.assert_allclose(other, [[-share, share], [share, -share], [0, 0]], rtol=1e-6)


NUMPY_BUFFERS = 3 * np.getbufsize() * 8  # bytes: two operands and a result of 8 bytes an element


def peak_of(run):
    run()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    run()
    return tracemalloc.get_traced_memory()[1] - before


@pytest.mark.parametrize(
    ("workload", "kernels"),
    [
        # each with one of the kinds of kernels, in turn; with the other slow
        pytest.param(
            one, kind, marks=[pytest.mark.slow] if (i + j) % 2 else [], id=f"{one.name.split()[0]}-{kind}"
        )
        for i, one in enumerate(WORKLOADS)
        for j, kind in enumerate(KINDS)
    ],
    indirect=["kernels"],
)
@pytest.mark.usefixtures("kernels")
def test_steps_allocate_nothing_but_what_they_return(workload):
    """In steady state, beyond Python's objects and the buffers in which NumPy casts operands, a few thousand at a time.

    The arrays of these steps are larger by far; of the images of the largest nets so many are enough for that.
    """
    if workload.shape[1:] == (3, 32, 32):
        workload = workload._replace(shape=(8, 3, 32, 32))
    x, y = data(workload)
    step = tg.compile(training_step(nn, optim, our_model(workload), workload))
    step(x, y)
    tracemalloc.start()
    try:  # steps that run again and again alone may overflow
        with np.errstate(all="ignore"):
            allocated = {one.kernel.name: peak_of(one.kernel.run) for one in step.plan.steps}
            called = peak_of(lambda: step(x, y))
        assert {name: size for name, size in allocated.items() if size > NUMPY_BUFFERS} == {}
        assert called < NUMPY_BUFFERS + 32_000
    finally:
        tracemalloc.stop()
