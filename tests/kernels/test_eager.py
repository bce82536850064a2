"""Eager ops through generated kernels: NumPy's numbers, wherever the operands lie, and errors as before."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each_in_part
from tinygraph.errors import SettingError, TinygraphError
from tinygraph.kernels import eager
from tinygraph.plugin import ops


@pytest.fixture(autouse=True)
def _as_before():
    threads, on = tg.get_threads(), tg.get_eager_kernels()
    yield
    tg.set_threads(threads)
    tg.set_eager_kernels(on)


def _ran(op, operands, settings):
    """The result, and whether kernels made it."""
    made = eager.run_eagerly(op, operands, settings)
    return (made, True) if made is not None else (op.forward(*operands, **settings), False)


def _normal(*shape, dtype="float32", seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


X = _normal(3, 8, 24, 24)
LABELS = np.random.default_rng(1).integers(0, 20, 900)
# an op, its operands, its settings
CASES = [
    (ops.convolution, [X, _normal(6, 8, 3, 3), None], {"padding": 1}),
    (ops.convolution, [X, _normal(6, 8, 3, 3), _normal(6)], {"stride": 2}),
    (ops.convolution, [X, _normal(16, 8, 5, 5), _normal(16)], {"padding": 2}),
    (ops.convolution_transpose, [X, _normal(8, 4, 3, 3)], {"padding": 1}),
    (ops.convolution_kernel_gradient, [X, _normal(3, 5, 24, 24)], {"size": (3, 3), "padding": 1}),
    (ops.max_pool, [X], {"size": 2}),
    (ops.softmax, [_normal(300, 64)], {"axis": 1}),
    (ops.log_softmax, [_normal(300, 64)], {"axis": 0}),
    (ops.standardize, [X], {"axis": (0, 2, 3)}),
    (ops.standardize, [_normal(64, 200)], {"axis": 1, "eps": 1e-3}),
    (ops.matmul, [_normal(6, 50, 40), _normal(6, 40, 30)], {}),
    (ops.sum, [X], {"axis": (0, 2, 3)}),
    (ops.mean, [X], {}),
    (ops.max, [X], {"axis": 1, "keepdims": True}),
    (ops.relu, [X], {}),
    (ops.gelu, [X], {}),
    (ops.sigmoid, [X], {}),
    (ops.where, [X > 0, X, 0.0], {}),
    (ops.where, [X[0, :1] > 0, X, _normal(24)], {}),
    (ops.cross_entropy, [_normal(900, 20), LABELS], {}),
    (
        ops.cross_entropy,
        [_normal(900, 20), LABELS.astype(np.int32)],
        {"reduction": "none", "label_smoothing": 0.1},
    ),
    (ops.cross_entropy_gradient, [np.array(2.0, np.float32), _normal(900, 20), LABELS], {}),
]


def _close(found, wanted, dtype, words):
    found, wanted = (one if isinstance(one, tuple) else (one,) for one in (found, wanted))
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        assert (np.shape(one), one.dtype, type(one)) == (np.shape(other), other.dtype, type(other)), words
        bound = (3e-6 if dtype == np.float32 else 1e-13) * max(1.0, float(np.abs(other).max()))
        np.testing.assert_allclose(one, other, rtol=0, atol=bound, err_msg=words)


def _elsewhere(x, how):
    """The same numbers at another place, in rows or not."""
    if not isinstance(x, np.ndarray) or not x.ndim:
        return x
    if how == "strided":
        room = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
        room[..., ::2] = x
        return room[..., ::2]
    if how == "transposed":
        return np.ascontiguousarray(x.T).T
    if how == "backwards":
        return np.ascontiguousarray(x[::-1])[::-1]
    shift = {"aligned": 0, "shifted": x.itemsize, "unaligned": 1}[how]
    room = np.zeros(x.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64 + shift
    moved = room[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    moved[...] = x
    return moved


@each_in_part("case, dtype", CASES, ["float32", "float64"])
def test_kernels_make_numpys_numbers_wherever_operands_lie(case, dtype):
    op, operands, settings = case
    given = [x.astype(dtype) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in operands]
    wanted = op.forward(*given, **settings)
    for threads in (1, 3):
        tg.set_threads(threads)
        for how in ("aligned", "shifted", "aligned", "strided", "transposed", "unaligned", "backwards"):
            moved = [_elsewhere(x, how) for x in given]
            before = [np.array(x) for x in moved if x is not None]
            found, by_kernels = _ran(op, moved, settings)
            words = f"{op.name} {dtype} {how}, {threads} threads"
            _close(found, wanted, np.dtype(dtype), words)
            assert by_kernels or how not in ("aligned", "shifted"), words
            assert not by_kernels or how not in ("unaligned", "backwards"), words
            for x, old in zip([x for x in moved if x is not None], before, strict=True):
                np.testing.assert_array_equal(x, old)


def test_results_are_fresh_and_the_same_bits_each_time():
    first = [ops.convolution(X, _normal(6, 8, 3, 3), padding=1) for _ in range(5)]
    kept = first[0].copy()
    ops.convolution(X * 2, _normal(6, 8, 3, 3), padding=1)
    for one in first:
        np.testing.assert_array_equal(one, kept)
    assert not any(np.may_share_memory(a, b) for i, a in enumerate(first) for b in first[:i])


def test_what_kernels_do_not_serve_is_left_to_numpy():
    half = X.astype(np.float16)
    for op, operands, settings in [
        (ops.relu, [half], {}),
        (ops.sum, [X.astype(">f4")], {}),
        (ops.sum, [np.arange(10000)], {}),
        (ops.sum, [X.astype(complex)], {}),
        (ops.sum, [np.array([object()] * 10000)], {}),
        (ops.reshape, [X], {"shape": (-1,)}),
        (ops.where, [X, X, 0.0], {}),  # a condition that is no bool
        (ops.where, [X > 0, X.astype(np.float64), X], {}),
        (ops.max_pool, [X], {"size": 99}),  # the forward says what is wrong
    ]:
        assert eager.run_eagerly(op, operands, settings) is None, op.name
    np.testing.assert_array_equal(np.signbit(ops.where(X > 9, X, -0.0)), X <= 9)
    assert not np.signbit(ops.where(X > 9, X, 0.0)[X <= 9]).any()


def test_wrong_labels_raise_as_before_and_leave_nothing_behind():
    logits, labels = _normal(900, 20), LABELS.copy()
    right = ops.cross_entropy(logits, labels)
    labels[7] = 20
    said = []
    for on in (True, False):
        tg.set_eager_kernels(on)
        with pytest.raises(TinygraphError) as raised:
            ops.cross_entropy(tg.tensor(logits, requires_grad=True), labels)
        said.append(str(raised.value))
    assert said[0] == said[1]
    tg.set_eager_kernels(True)
    assert ops.cross_entropy(logits, LABELS) == right


def test_gradients_of_a_network_with_and_without(monkeypatch):
    from tinygraph import nn

    tg.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3), nn.GELU(),
        nn.Flatten(), nn.Linear(8 * 100, 5),
    )  # fmt: skip
    x, y = _normal(16, 3, 24, 24), np.arange(16) % 5
    used = []
    run = eager._Relocatable.__call__
    monkeypatch.setattr(
        eager._Relocatable, "__call__", lambda self, values: used.append(1) or run(self, values)
    )
    found = []
    for on in (True, False):
        tg.set_eager_kernels(on)
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        found.append([loss.item(), *(p.grad.numpy().copy() for p in model.parameters())])
        assert bool(used) == on
        used.clear()
    for mine, numpys in zip(*found, strict=True):
        np.testing.assert_allclose(mine, numpys, rtol=0, atol=2e-5 * np.abs(numpys).max() + 1e-7)


def test_threads_of_the_programs_own():
    kernel = _normal(6, 8, 3, 3)
    inputs = [_normal(3, 8, 24, 24, seed=i) for i in range(4)]
    wanted = [ops.convolution(x, kernel) for x in inputs]
    wrong = []

    def work(i):
        found = [ops.convolution(inputs[i], kernel) for _ in range(30)]
        wrong.extend(i for one in found if not np.array_equal(one, wanted[i]))

    workers = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert wrong == []


def test_the_switch():
    tg.set_eager_kernels(False)
    assert eager.run_eagerly(ops.relu, [X], {}) is None
    with pytest.raises(SettingError, match="True or False, not 1"):
        tg.set_eager_kernels(1)
    text = "import tinygraph as tg; print(tg.get_eager_kernels())"
    environment = {**__import__("os").environ, "TINYGRAPH_EAGER_KERNELS": "0"}
    printed = subprocess.run(
        [sys.executable, "-c", text], env=environment, capture_output=True, check=True, text=True
    )
    assert printed.stdout == "False\n"
