"""Cross entropy in generated kernels against float64: values, ignored and wrong labels, threads, stray access."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each, each_in_part
from tinygraph.core.registry import ops
from tinygraph.errors import SettingError
from tinygraph.kernels import losses, position_losses
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.losses import Rows
from tinygraph.kernels.position_losses import Positions
from tinygraph.kernels.teams import Table

TOLERANCE = {"float32": 2e-6, "float64": 4e-15}  # of numbers around 1: some roundings of exp, log and sums


def exact(logits: Any, labels: Any, smoothing: float, ignored: int) -> tuple[Any, Any, Any]:
    """Losses and gradients of rows in float64, and which rows count."""
    logits = logits.astype(float)
    classes = logits.shape[1]
    shares = logits - logits.max(1, keepdims=True)
    shares -= np.log(np.exp(shares).sum(1, keepdims=True))
    counts = (labels != ignored) & (labels >= 0) & (labels < classes)
    target = np.full(logits.shape, smoothing / classes)
    target[np.arange(len(labels)), np.where(counts, labels, 0)] += 1 - smoothing
    target *= counts[:, None]
    return -(target * shares).sum(1), (np.exp(shares) * counts[:, None] - target), counts


def check(
    rows: int,
    classes: int,
    guard: Any,
    *,
    dtype: str = "float32",
    label_dtype: str = "int64",
    smoothing: float = 0.0,
    ignored: int = -100,
    padding: int = 0,
    threads: int = 1,
    cpu: Cpu | None = None,
) -> None:
    rng = np.random.default_rng(rows * 100 + classes)
    wide = guard((rows, classes + padding), dtype)
    logits = wide[:, :classes]
    logits[...] = 3 * rng.standard_normal((rows, classes))
    labels = guard.like(rng.integers(0, classes, rows).astype(label_dtype))
    labels[::5] = ignored
    made = Rows(classes, classes + padding, 1, label_dtype, dtype, smoothing, ignored)
    each, slopes, flag = guard((rows,), dtype), guard((rows, classes), dtype), guard((1,), "int64", 0)
    mean, summed, number = guard((), dtype), guard((), dtype), guard((), "float64")
    cotangent, own = guard((), dtype, 2.0), guard.like(rng.standard_normal(rows).astype(dtype))
    separate = guard((rows, classes), dtype)
    kernels = [
        losses.losses(made, 1, cpu=cpu).bind(logits, labels, each, flag, span=rows),
        losses.total(made, True, cpu=cpu).bind(each, labels, mean, counts=[rows]),
        losses.total(made, False, cpu=cpu).bind(each, labels, summed, counts=[rows]),
        losses.counted(made, cpu=cpu).bind(labels, number, counts=[rows]),
        losses.gradient(made, classes, 0, True, cpu=cpu).bind(
            logits, labels, cotangent, number, slopes, flag, span=rows
        ),
        losses.gradient(made, classes, 1, False, cpu=cpu).bind(
            logits, labels, own, number, separate, flag, span=rows
        ),
    ]
    Table(kernels, threads)()
    by_row, by_logit, counts = exact(logits, labels, smoothing, ignored)
    near = {"rtol": TOLERANCE[dtype], "atol": 4 * TOLERANCE[dtype]}
    np.testing.assert_allclose(each, by_row, **near)
    np.testing.assert_allclose(summed, by_row.sum(), **near)
    np.testing.assert_allclose(mean, by_row.sum() / counts.sum() if counts.any() else np.nan, **near)
    np.testing.assert_allclose(slopes, by_logit * 2 / max(1, counts.sum()), **near)
    np.testing.assert_allclose(separate, by_logit * own[:, None].astype(float), **near)
    assert flag[0] == 0


@each_in_part("classes, dtype", [1, 2, 3, 7, 8, 9, 16, 17, 31, 40, 64, 100], ["float32", "float64"])
def test_classes(classes: int, dtype: str, guard: Any) -> None:
    check(13, classes, guard, dtype=dtype)
    check(6, classes, guard, dtype=dtype, smoothing=0.1, padding=3)


@pytest.mark.parametrize("label_dtype", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_dtypes_of_labels(label_dtype: str, guard: Any) -> None:
    check(11, 10, guard, label_dtype=label_dtype, ignored=3)


@pytest.mark.parametrize("rows", [1, 2, 5, 33])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_threads(rows: int, threads: int, guard: Any) -> None:
    check(rows, 10, guard, threads=threads)


@pytest.mark.parametrize("name", ["avx2", "generic"])
def test_narrower_cpus(name: str, guard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAPH_CPU", name)
    try:
        target = this_cpu()
    except SettingError:
        pytest.skip(f"this machine cannot run {name}")
    check(7, 11, guard, cpu=target, smoothing=0.3)
    check(7, 11, guard, cpu=target, dtype="float64")


def test_all_of_the_target_uniform(guard: Any) -> None:
    check(5, 7, guard, smoothing=1.0)


def test_wrong_labels_set_the_flag_and_reach_no_memory(guard: Any) -> None:
    made = Rows(3, 3, 1, "int64", "float32", 0.0, -100)
    logits = guard.like(np.zeros((4, 3), np.float32))
    for wrong in (3, -1, 2**62, -(2**62)):
        labels = guard.like(np.array([0, wrong, -100, 2]))
        each, slopes, flag = guard((4,), "float32"), guard((4, 3), "float32"), guard((1,), "int64", 0)
        losses.losses(made, 1).bind(logits, labels, each, flag, span=4)()
        assert flag[0] == 1
        np.testing.assert_allclose(each, [np.log(3), 0, 0, np.log(3)], rtol=1e-6)
        flag[0] = 0
        one, number = guard((), "float32", 1.0), guard((), "float64", 1.0)
        losses.gradient(made, 3, 0, False).bind(logits, labels, one, number, slopes, flag, span=4)()
        assert flag[0] == 1
        assert (slopes[1:3] == 0).all()


def test_extreme_logits(guard: Any) -> None:
    """Large ones do not overflow, and an infinitely small one has no share."""
    made = Rows(3, 3, 1, "int64", "float32")
    logits = guard.like(np.array([[1e4, -1e4, 0], [-np.inf, 0, 0], [0, -np.inf, 0]], np.float32))
    labels, each, flag = guard.like(np.array([1, 1, 1])), guard((3,), "float32"), guard((1,), "int64", 0)
    losses.losses(made, 1).bind(logits, labels, each, flag, span=3)()
    np.testing.assert_allclose(each, [2e4, np.log(2), np.inf], rtol=1e-6)
    slopes, one, number = guard((3, 3), "float32"), guard((), "float32", 1.0), guard((), "float64", 1.0)
    losses.gradient(made, 3, 0, False).bind(logits, labels, one, number, slopes, flag, span=3)()
    np.testing.assert_allclose(slopes, [[1, -1, 0], [0, -0.5, 0.5], [0.5, -1, 0.5]], rtol=1e-6)


@each("dtype", ["float32", "float64"])
@each("smoothing", [0.0, 0.2])
@each(("images", "classes", "positions"), [(2, 5, 37), (1, 21, 16), (3, 2, 1), (1, 1, 5), (2, 150, 33)])
def test_classes_that_lie_apart(
    images: int, classes: int, positions: int, smoothing: float, dtype: str, guard: Any
) -> None:
    """A plane of positions for each class: the same numbers as of rows, wrong labels count as ignored ones."""
    rng = np.random.default_rng(classes)
    rows = images * positions
    logits = 3 * rng.standard_normal((images, classes, positions)).astype(dtype)
    labels = rng.integers(0, classes, (images, positions)).astype(np.int32)
    labels.reshape(-1)[::4] = 1
    flat = np.moveaxis(logits, 1, 2).reshape(rows, classes)
    for wrong in (False, True):
        if wrong:
            labels[0, -1] = classes + 5
        right, slopes, counts = exact(flat, labels.reshape(-1), smoothing, 1)
        made = Positions(classes, positions, "int32", dtype, smoothing, 1)
        given, places, flag = guard.like(logits), guard.like(labels), guard((1,), "int64", 0)
        found, cotangent = (
            guard(labels.shape, dtype),
            guard.like(rng.standard_normal(labels.shape).astype(dtype)),
        )
        number = guard((), "float64", 4.0)
        position_losses.losses(made).bind(given, places, found, flag, span=images)()
        assert bool(flag[0]) == wrong
        assert np.abs(found.reshape(-1) - right).max() <= 8 * TOLERANCE[dtype]
        for single, mean in ((False, False), (True, True)):
            out = guard(logits.shape, dtype)
            slope = guard((), dtype, 2.0) if single else cotangent
            kernel = position_losses.gradient(made, single, mean)
            kernel.bind(given, places, slope, number, out, flag, span=images)()
            scale = np.broadcast_to(slope, labels.shape).reshape(-1, 1) / (4 if mean else 1)
            back = np.moveaxis(out, 1, 2).reshape(rows, classes)
            assert np.abs(back - slopes * scale).max() <= 8 * TOLERANCE[dtype]
            assert not back[~counts].any()


def test_images_of_labels_compiled() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((2, 7, 5, 9)).astype(np.float32), rng.integers(0, 7, (2, 5, 9))
    for settings in ({}, {"label_smoothing": 0.1, "ignore_index": 3}, {"reduction": "none"}):

        def loss(x: Any, settings: Any = settings) -> Any:
            return np.sum(ops.cross_entropy(ops.tanh(x) * 2.0, labels, **settings) ** 2)

        step = tg.compile(lambda x, loss=loss: (loss(x), tg.grad(loss)(x)))
        for found, right in zip(
            step(logits), (loss(logits.astype(float)), tg.grad(loss)(logits.astype(float))), strict=True
        ):
            np.testing.assert_allclose(found, right, rtol=2e-5, atol=2e-6)
        names = [one.kernel.name for one in step.plan.steps if "cross" in one.node.op.name]
        assert names
        assert all(name.startswith("generated") for name in names), names
