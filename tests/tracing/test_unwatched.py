"""The hook that watches a capture rests in the library's own code, and is awake in the user's, wherever that runs."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.core.unwatched import unwatched, watched
from tinygraph.plugin import op, ops

ones = np.ones(3)
factor = 2.0


@pytest.fixture(autouse=True)
def _factor() -> Iterator[None]:
    yield
    globals()["factor"] = 2.0


def follows(function: Callable[..., Any], first: float, then: float) -> None:
    """A compiled function has the value `first`, and once `factor` is 5, `then`."""
    globals()["factor"] = 2.0
    compiled = tg.compile(function)
    np.testing.assert_allclose(np.asarray(compiled(ones)), ones * first)
    globals()["factor"] = 5.0
    np.testing.assert_allclose(np.asarray(compiled(ones)), ones * then)


def scaled(x: Any) -> Any:
    return x * factor


@op(kind="elementwise", declare=False)
def own(x: Any) -> Any:
    return x * 1.0


@own.vjp("x")
def own_wrt_x(g: Any) -> Any:
    return scaled(g)


def test_a_rule_of_the_users_op_is_watched() -> None:
    follows(tg.grad(lambda x: own(x).sum()), 2, 5)
    follows(lambda x: tg.grad(lambda t: own(np.sin(own(t)) * 0.0 + own(t)).sum())(x), 4 + 0, 25 + 0)


def test_checkpointed_functions_are_watched() -> None:
    follows(tg.grad(lambda x: tg.checkpoint(scaled)(x).sum()), 2, 5)


def test_a_module_and_an_update_rule_of_the_users_are_watched() -> None:
    class Layer(nn.Module):
        def forward(self, x: Any) -> Any:
            return scaled(x)

    follows(nn.Sequential(nn.Identity(), Layer()), 2, 5)

    class Descent(optim.SGD):
        def _update(self, parameter: Any, gradient: Any, group: Any, slots: Any) -> None:
            super()._update(parameter, scaled(gradient), group, slots)

    globals()["factor"] = 2.0
    w = tg.tensor(ones * 0.0, requires_grad=True)
    optimizer = Descent([w], lr=1.0)

    @tg.compile
    def step(x: Any) -> Any:
        optimizer.zero_grad()
        loss = (w * x).sum()
        loss.backward()
        optimizer.step()
        return loss

    step(ones)
    np.testing.assert_allclose(w.numpy(), ones * -2)
    globals()["factor"] = 5.0
    step(ones)
    np.testing.assert_allclose(w.numpy(), ones * -7)


def test_composites_of_the_library_that_are_called_among_helpers() -> None:
    follows(lambda x: np.var(scaled(x)) + scaled(np.mean(scaled(x))) + 0.0 * x, 4, 25)


def test_a_hook_rests_and_wakes_again() -> None:
    seen: list[str] = []

    def hook(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            seen.append(frame.f_code.co_name)

    def noted(name: str) -> None:
        function: Any = lambda: None  # noqa: E731
        function.__code__ = function.__code__.replace(co_name=name)
        function()

    hook.may_rest = True  # type: ignore[attr-defined]
    sys.setprofile(hook)
    try:
        noted("before")
        with unwatched():
            noted("inside")
            with watched():
                noted("the user's")
            with pytest.raises(ZeroDivisionError), watched():
                1 / 0  # noqa: B018
            noted("inside again")
        noted("after")
    finally:
        sys.setprofile(None)
    assert [one for one in seen if one in ("before", "inside", "the user's", "inside again", "after")] == [
        "before",
        "the user's",
        "after",
    ]


def test_a_hook_of_somebody_elses_does_not_rest() -> None:
    seen: list[str] = []

    def hook(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            seen.append(frame.f_code.co_name)

    sys.setprofile(hook)
    try:
        with unwatched():
            scaled(1.0)
    finally:
        sys.setprofile(None)
    assert "scaled" in seen


def test_constants_are_computed_under_the_hook_where_the_op_is_the_users() -> None:
    @op(kind="elementwise", declare=False)
    def shifted(x: Any) -> Any:
        return x + factor

    constant = tg.tensor(ones)
    follows(lambda x: x * shifted(constant), 3, 6)
    assert ops.add(1, 2) == 3
