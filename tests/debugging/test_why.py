"""Planted faults: `tg.why` and `tg.detect_anomaly` name the op and the cause, and the printed program shows it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import AnomalyError, RecordingError

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def leaf(value: Any, name: str = "w") -> Any:
    return tg.tensor(np.array(value, np.float64), requires_grad=True, name=name)


def dead_relu() -> tuple[Any, Any]:
    w = leaf([-1.0, -2.0])
    return w, (tg.ops.relu(w * 3) * 5).sum()


def saturated_sigmoid() -> tuple[Any, Any]:
    w = leaf([800.0, 900.0])
    return w, tg.ops.sigmoid(w).sum()


def clipped() -> tuple[Any, Any]:
    w = leaf([5.0, 7.0])
    return w, np.clip(w, -1, 1).sum()


def detached() -> tuple[Any, Any]:
    w, v = leaf([1.0, 2.0]), leaf([3.0, 4.0], "v")
    return w, (w.detach() * v).sum()


def cut_by_numpy() -> tuple[Any, Any]:
    w, v = leaf([1.0, 2.0]), leaf([3.0, 4.0], "v")
    h = np.exp(w.detach().numpy())
    return w, (v * h).sum()


def frozen() -> tuple[Any, Any]:
    layer = nn.Linear(2, 2)
    layer.weight.requires_grad = False
    return layer.weight, layer(np.ones((1, 2), np.float32)).sum()


def wrong_mask() -> tuple[Any, Any]:
    w = leaf([1.0, 2.0])
    return w, np.where(np.array([False, False]), w, 0.0).sum()


def untaken_branch() -> tuple[Any, Any]:
    w = leaf([1.0, 2.0])
    return w, np.where(np.array([True, True]), 1.0, np.exp(w)).sum() + leaf(1.0, "v")


def integer_cast() -> tuple[Any, Any]:
    w = leaf([1.5, 2.5])
    return w, (w.astype(np.int64) * leaf([1.0, 1.0], "v")).sum()


def argmax() -> tuple[Any, Any]:
    w = leaf([1.0, 5.0, 2.0])
    return w, (np.argmax(w) * leaf(2.0, "v")).sum()


def floored() -> tuple[Any, Any]:
    w = leaf([1.5, 2.5])
    return w, np.floor(w).sum()


def times_zero() -> tuple[Any, Any]:
    w = leaf([1.0, 2.0])
    return w, (w * np.zeros(2)).sum()


def other_elements() -> tuple[Any, Any]:
    w = leaf([1.0, 2.0, 3.0])
    parts = np.split(w * 1.0, [1])
    return w, (parts[0] * 0.0).sum() + leaf(1.0, "v")


def left_out() -> tuple[Any, Any]:
    w, v = leaf(np.ones((2, 2))), leaf([1.0], "v")
    return w, w[:0].sum() + v.sum()


def cancelled() -> tuple[Any, Any]:
    w = leaf([1.0, 2.0])
    return w, (w * 2).sum() - (w + w).sum()


def sigmoid_chain() -> tuple[Any, Any]:
    w = leaf([0.1, 0.2])
    h = w
    for _ in range(14):
        h = tg.ops.sigmoid(h)
    return w, h.sum()


def exploding() -> tuple[Any, Any]:
    w = leaf([1.0])
    h = w
    for _ in range(10):
        h = h * 30.0
    return w, h.sum()


def stopped_by_the_rule() -> tuple[Any, Any]:
    w = leaf([1.0, -2.0])
    return w, np.sign(w).sum()


def healthy() -> tuple[Any, Any]:
    w = leaf([1.0, 0.0])
    return w, (w * w).sum()


DYING: list[tuple[Callable[[], tuple[Any, Any]], str, str | None]] = [
    (dead_relu, "flat", "relu"),
    (saturated_sigmoid, "flat", "sigmoid"),
    (clipped, "flat", "clip"),
    (detached, "detached", "multiply"),
    (cut_by_numpy, "absent", None),
    (frozen, "frozen", None),
    (wrong_mask, "masked", "where"),
    (untaken_branch, "masked", "where"),
    (integer_cast, "discrete", "cast"),
    (argmax, "discrete", "argmax"),
    (floored, "stopped", "floor"),
    (times_zero, "zero factor", "multiply"),
    (left_out, "untouched", "index"),
    (cancelled, "cancelled", None),
    (sigmoid_chain, "vanished", "sigmoid"),
    (exploding, "exploded", "multiply"),
    (stopped_by_the_rule, "stopped", "sign"),
    (healthy, "fine", None),
]


def run(script: str) -> None:
    exec(compile(script, "script", "exec"), {})  # noqa: S102 - the program that was printed


@pytest.mark.parametrize(("fault", "kind", "op"), DYING, ids=[fault.__name__ for fault, _, _ in DYING])
def test_a_dying_gradient(fault: Callable[[], tuple[Any, Any]], kind: str, op: str | None) -> None:
    w, loss = fault()
    reason = tg.why(w, loss)
    assert reason.kind == kind, reason
    if op is not None:
        assert reason.node is not None
        assert reason.node.op.name == op
        assert op in reason.text
        assert "test_why.py" in reason.text
    if reason.script is not None:
        run(reason.script)
    assert (reason.script is not None) == (kind in {"flat", "masked", "zero factor", "untouched"}), reason


def log_of_zero() -> Any:
    return np.log(leaf([1.0, 0.0])).sum()


def division() -> Any:
    return (leaf([1.0, 2.0]) / np.array([0.0, 1.0])).sum()


def negative_root() -> Any:
    return np.sqrt(leaf([4.0, -1.0]) - 0.5).sum()


def overflow() -> Any:
    return np.exp(leaf([10.0, 1000.0])).sum()


def all_hidden() -> Any:
    scores = leaf([[1.0, 2.0]])
    masked = np.where(np.array([[False, False]]), scores, -np.inf)
    shifted = np.exp(masked - np.max(masked, axis=-1, keepdims=True))
    return (shifted / shifted.sum(axis=-1, keepdims=True)).sum()


def many_elements() -> Any:
    return np.log(leaf(np.r_[np.ones(500), 0.0, np.ones(500)])).sum()


FORWARD = [
    (log_of_zero, "log", "x is 0"),
    (division, "divide", "is 0"),
    (negative_root, "sqrt", "x is -1.5"),
    (overflow, "exp", "x is 1000"),
    (all_hidden, "subtract", "-inf"),
    (many_elements, "log", "(500,)"),
]


@pytest.mark.parametrize(("fault", "op", "words"), FORWARD, ids=[fault.__name__ for fault, _, _ in FORWARD])
def test_the_first_value_that_is_not_finite(fault: Callable[[], Any], op: str, words: str) -> None:
    reason = tg.why(fault())
    assert (reason.kind, reason.node.op.name) == ("not finite forward", op)  # type: ignore[union-attr]
    assert words in reason.text
    assert "test_why.py" in reason.text
    run(str(reason.script))
    with tg.detect_anomaly(), pytest.raises(AnomalyError, match="made") as raised:
        fault()
    assert raised.value.reason.node.op.name == op  # type: ignore[attr-defined]
    assert "test_why.py" in str(raised.value)


def root_at_zero() -> Any:
    return np.sqrt(leaf([4.0, 0.0])).sum()


def untaken_root() -> Any:
    w = leaf([4.0, 0.0])
    root = np.sqrt(w)
    return (np.where(np.array([True, False]), root, 0.0) + 0.0 * root).sum()


def power_at_zero() -> Any:
    return (leaf([0.0, 1.0]) ** 0.5).sum()


def overflow_on_the_way_back() -> Any:
    return (1.0 / leaf([1e-200, 1.0])).sum()  # 1e200, and its slope would be -1e400


BACKWARD = [
    (root_at_zero, "sqrt"),
    (untaken_root, "sqrt"),
    (power_at_zero, "power"),
    (overflow_on_the_way_back, "divide"),
]


def test_at_least_twenty_faults_are_planted() -> None:
    faulty = [fault for fault, kind, _ in DYING if kind != "fine"]
    assert len({*faulty, *(fault for fault, _, _ in FORWARD), *(fault for fault, _ in BACKWARD)}) >= 27


@pytest.mark.parametrize(("fault", "op"), BACKWARD, ids=[fault.__name__ for fault, _ in BACKWARD])
def test_a_derivative_that_is_not_finite(fault: Callable[[], Any], op: str) -> None:
    loss = fault()
    reason = tg.why(loss)
    assert (reason.kind, reason.node.op.name) == ("not finite backward", op)  # type: ignore[union-attr]
    assert "test_why.py" in reason.text
    run(str(reason.script))
    with tg.detect_anomaly(), pytest.raises(AnomalyError, match="derivative") as raised:
        loss.backward()
    assert raised.value.reason.node is loss_node(loss, op)  # type: ignore[attr-defined]


def chosen(x: Any) -> Any:
    return np.sum(np.where(x > 0, x, np.exp(x)))


def chosen_twice(x: Any) -> Any:
    return np.sum(np.where(x > 0, x, np.exp(np.where(x > 0, 1.0, x))))


def test_an_infinite_branch_that_is_not_taken() -> None:
    """Counts for nothing in either mode and any order, eager and compiled; autograd, JAX and PyTorch have NaN."""
    x = np.array([1000.0, -1.0])
    e = 0.36787944117144233  # exp(-1)
    with np.errstate(all="ignore"):
        for loss in (chosen, chosen_twice):
            for outside in (lambda f: f, tg.compile):
                np.testing.assert_allclose(outside(tg.grad(loss))(x), [1.0, e])
                np.testing.assert_allclose(outside(tg.hessian(loss))(x), [[0.0, 0.0], [0.0, e]])
                np.testing.assert_allclose(outside(tg.jacrev(tg.grad(loss)))(x), [[0.0, 0.0], [0.0, e]])
                third = outside(
                    tg.grad(lambda x, f=loss: np.sum(tg.grad(lambda x: np.sum(tg.grad(f)(x)))(x)))
                )
                np.testing.assert_allclose(third(x), [0.0, e])
                forward = outside(lambda x, f=loss: tg.jvp(f, (x,), (np.array([1.0, 2.0]),))[1])
                np.testing.assert_allclose(forward(x), 1.0 + 2.0 * e)
            np.testing.assert_allclose(
                tg.vmap(tg.grad(lambda x, f=loss: np.sum(f(x))))(x[:, None])[:, 0], [1.0, e]
            )
        sinc = lambda x: np.sum(np.where(x == 0, 1.0, np.sin(x) / x))  # noqa: E731
        np.testing.assert_allclose(tg.grad(sinc)(np.array([0.0, np.pi])), [0.0, -1 / np.pi])
        root = lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0))  # noqa: E731
        np.testing.assert_allclose(tg.grad(root)(np.array([0.0, 4.0])), [0.0, 0.25])
        inner = lambda x: np.sum(np.where(x > 0, x, np.where(x > -5, np.exp(x), 1 / (x + 9))))  # noqa: E731
        np.testing.assert_allclose(tg.grad(inner)(np.array([1000.0, -9.0, -1.0]))[[0, 2]], [1.0, e])


def test_a_branch_that_is_a_result_too_keeps_its_own_cotangent() -> None:
    """And what a hook makes of a zero is not chosen again: the choice ends where somebody else has a say."""
    x = np.array([1.0, -2.0])
    both = lambda x: (lambda e: (np.where(x > 0, e, 0.0), e))(np.exp(x))  # noqa: E731
    deep = lambda x: (lambda y: (np.where(x > 0, np.exp(y), 0.0), y))(3.0 * x)  # noqa: E731
    for outside in (lambda f: f, tg.compile):
        back = outside(lambda x, f: tg.vjp(f, x)[1]((np.ones(2), np.ones(2)))[0])
        np.testing.assert_allclose(back(x, both), [2 * 2.718281828459045, 0.1353352832366127])
        np.testing.assert_allclose(back(x, deep), [3 * 20.085536923187668 + 3.0, 3.0])
    given = leaf(x)
    branch = np.exp(given)
    branch.register_hook(lambda g: g + 1.0)
    np.where(given > 0, branch, 0.0).sum().backward()
    np.testing.assert_allclose(given.grad, [2 * 2.718281828459045, 0.1353352832366127])


def test_what_a_branch_shares_with_others_is_not_taken_away() -> None:
    """0 times infinity of a product that the user wrote stays NaN, beside a branch that does not take it, too."""
    x = np.array([1000.0, -1.0])
    shared = lambda x: (lambda e: np.sum(np.where(x > 0, x, e) + 0.0 * e))(np.exp(x))  # noqa: E731
    with np.errstate(all="ignore"):
        np.testing.assert_allclose(tg.grad(shared)(x), [np.nan, 0.36787944117144233])
        assert np.isnan(tg.grad(lambda x: np.sum(0.0 * np.exp(x)))(x)[0])
        twice = lambda x: (lambda e: np.sum(np.where(x > 0, x, e) + np.where(x > 0, 1.0, e)))(np.exp(x))  # noqa: E731
        reason = tg.why(twice(leaf(x)))
        assert "exp of np.where(c, x, 1.0)" in reason.text
        assert "np.where" not in tg.why(root_at_zero()).text  # 1 times infinity: no branch


def loss_node(loss: Any, op: str) -> Any:
    return next(node for node in tg.graph_of(loss).nodes if node.op is not None and node.op.name == op)


def test_data_that_were_not_finite_from_the_start() -> None:
    w = leaf([1.0, np.nan])
    reason = tg.why((w * 2).sum())
    assert (reason.kind, reason.script) == ("not finite from the start", None)
    assert "(1,)" in reason.text
    reason = tg.why((leaf([1.0, 2.0]) * np.array([1.0, np.inf])).sum())
    assert reason.kind == "not finite from the start"


def test_the_last_backward_is_taken_where_no_output_is_given() -> None:
    w = leaf([-1.0])
    loss = tg.ops.relu(w).sum()
    loss.backward()
    assert tg.why(w).kind == "flat"
    del loss
    with pytest.raises(RecordingError, match=r"tg\.why\(tensor, loss\)"):
        tg.why(w)


def test_a_loss_alone_names_all_leaves_that_get_nothing() -> None:
    w, v = leaf([-1.0]), leaf([-2.0], "v")
    reason = tg.why((tg.ops.relu(w) + tg.ops.relu(v)).sum())
    assert reason.kind == "flat"
    assert "'w'" in reason.text
    assert "'v'" in reason.text
    assert tg.why((w * v).sum()).ok


def test_inside_a_compiled_function() -> None:
    w = leaf([1.0, 0.0])
    f = tg.compile(lambda w: np.log(w * 1.0).sum())
    assert tg.why(f(w)).node.op.name == "log"  # type: ignore[union-attr]
    with tg.detect_anomaly(), pytest.raises(AnomalyError, match="log"):
        f(w)
    v = leaf([-1.0], "v")
    assert tg.why(v, tg.compile(lambda v: tg.ops.relu(v).sum())(v)).kind == "flat"


def test_blocks_leave_nothing_behind() -> None:
    before = type(tg.ops.log).__call__
    w = leaf([0.0])
    with tg.detect_anomaly():
        with tg.detect_anomaly(infinite=False):
            np.log(w)
        with pytest.raises(AnomalyError):
            np.log(w)
        found: list[Any] = []
        other = threading.Thread(target=lambda: found.append(np.log(w)))  # which opened no block
        other.start()
        other.join()
        assert np.isinf(found[0].detach().numpy()).all()
    assert type(tg.ops.log).__call__ is before
    assert np.isinf(np.log(w).detach().numpy()).all()
