"""Explanations look through loops, step by step, and through what a choice chose."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.plugin import op

XS = np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]])


def recurrent(x: Any, w: Any) -> Any:
    return np.sum(tg.scan(lambda h, r: (np.tanh(h * w + r), None), np.zeros(2), x)[0])


def test_a_weight_has_an_impact_in_each_step() -> None:
    """d h3 / dw = Σ over steps of h(t - 1) times the cotangent there, in Python's own numbers."""
    w = tg.tensor([0.5, 0.7], requires_grad=True, name="w")
    impacts = tg.explain(tg.compile(recurrent)(XS, w), wrt=w, element=0)
    h, before = 0.0, []
    for r in XS[:, 0]:
        before.append(h)
        h = float(np.tanh(h * 0.5 + r))
    after = [*before[1:], h]
    flow, right = 1.0, []
    for t in (2, 1, 0):
        flow *= 1.0 - after[t] ** 2
        right.append(before[t] * flow)
        flow *= 0.5
    assert [impact.op for impact in impacts] == ["multiply"] * 3
    np.testing.assert_allclose([impact.contribution for impact in impacts], right[::-1], rtol=1e-12)
    for t in range(3):
        assert f"multiply in step {t}[0]" in str(impacts)
    np.testing.assert_allclose(impacts.total, tg.grad(recurrent, 1)(XS, np.array([0.5, 0.7]))[0], rtol=1e-12)


def test_through_loops_in_loops_and_the_branch_that_ran() -> None:
    """Doubled twice and squared it is 16 x², whose slope at 3 is 96; below zero, 4 x / 2, whose slope is 2."""

    def f(x: Any) -> Any:
        y = tg.while_loop(
            lambda s: s[1] < 2.0,
            lambda s: (tg.fori_loop(0, 1, lambda i, v: v * 2.0, s[0]), s[1] + 1.0),
            (x, np.float64(0.0)),
            max_steps=5,
        )[0]
        return tg.cond(y > 0.0, lambda v: v * v, lambda v: v * 0.5, y)

    for value, total in ((3.0, 96.0), (-3.0, 2.0)):
        x = tg.tensor(value, requires_grad=True, name="x")
        loss = tg.compile(f)(x)
        impacts = tg.explain(loss, wrt=x)
        assert {impact.op for impact in impacts} == {"multiply"}
        assert impacts.total == total


@pytest.mark.parametrize(
    ("start", "kind", "words"),
    [(9.0, "not finite forward", "'log in step 2'"), (100.0, "fine", "the gradient arrives")],
)
def test_why_names_the_step(start: float, kind: str, words: str) -> None:
    def f(w: Any) -> Any:
        go = lambda s: (np.log(s[0] - 1.0), s[1] + 1.0)  # noqa: E731
        return tg.while_loop(lambda s: s[1] < 3, go, (w, np.float64(0)), max_steps=9)[0]

    w = tg.tensor(start, requires_grad=True, name="w")
    reason = tg.why(w, tg.compile(f)(w))
    assert reason.kind == kind
    assert words in reason.text


def test_why_finds_where_a_gradient_ends_in_a_loop() -> None:
    w = tg.tensor([2.0, 1.0], requires_grad=True, name="w")
    loss = tg.compile(
        lambda w: np.sum(tg.scan(lambda h, r: (tg.ops.relu(h - r), None), w, np.array([1.0, 2.0, 3.0]))[0])
    )(w)
    reason = tg.why(w, loss)
    assert reason.kind == "flat"
    assert "relu in step 2" in reason.text


def test_a_loop_of_very_many_steps_stays_one() -> None:
    """0.9999 to the power of 10,000."""
    w = tg.tensor(0.5, requires_grad=True, name="w")
    loss = tg.compile(lambda w: tg.fori_loop(0, 10_000, lambda i, v: v * 0.9999, w))(w)
    (impact,) = tg.explain(loss, wrt=w)
    assert impact.op == "scan"
    assert impact.local == pytest.approx(0.9999**10_000)


def test_diff_says_what_changed_in_a_body() -> None:
    def of(f: Any) -> Any:
        return tg.capture(lambda x: tg.scan(lambda h, r: (f(h) + r, None), np.zeros(2), x)[0], XS)

    found = tg.diff(of(np.tanh), of(np.sin))
    assert [line for line in str(found).splitlines() if line.startswith((" ", "~"))] == [
        "~ scan: body changed",
        "  in its body:",
        "    ~ sin: was tanh",
    ]
    assert tg.diff(of(np.sin), of(np.sin)).same


def test_coverage_looks_into_bodies() -> None:
    @op(kind="elementwise", declare=False)
    def without_rules(x: Any) -> Any:
        """sin(x)"""
        return np.sin(x)

    without_rules.types(lambda x: x)
    graph = tg.capture(lambda x: tg.scan(lambda h, r: (without_rules(h) + r, None), np.zeros(2), x)[0], XS)
    found = graph.coverage()
    assert ("without_rules", "x") in {(one.op, one.operand) for one in found.missing}
    assert found.of(graph.nodes[-1]) == "missing"
    fine = tg.capture(lambda x: tg.scan(lambda h, r: (np.sin(h) + r, None), np.zeros(2), x)[0], XS)
    assert fine.coverage().of(fine.nodes[-1]) == "derived"
