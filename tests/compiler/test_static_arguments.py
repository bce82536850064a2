"""`static_argnums` and `static_argnames`: arguments that are Python values in a compiled function."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import CaptureError, DTypeError, SettingError

X = np.arange(6.0)


def windows(x: Any, size: int, mode: str = "sum") -> Any:
    parts = x.reshape(-1, size)  # a size that must be known
    return parts.sum(1) if mode == "sum" else parts.max(1)


def test_each_value_has_a_plan_of_its_own() -> None:
    fast = tg.compile(windows, static_argnums=1, static_argnames="mode")
    for size, mode in [(2, "sum"), (3, "sum"), (2, "max"), (2, "sum")]:
        expected = windows(X, size, mode)
        np.testing.assert_array_equal(fast(X, size, mode), expected)
        np.testing.assert_array_equal(fast(X, size, mode=mode), expected)
        np.testing.assert_array_equal(fast(X, mode=mode, size=size), expected)
    # by position and by keyword are calls of different shapes, as of other arguments
    assert fast.explain_recapture().count("capture ") == 9
    np.testing.assert_array_equal(fast(X, size=6), [15.0])
    assert "windows" in str(fast.profile(X, 3, "sum", repeats=1))


def test_values_of_different_types_are_different() -> None:
    fast = tg.compile(lambda x, flag: x + 1 if flag is True else x - 1, static_argnums=(-1,))
    assert fast(1.0, True) == 2.0
    assert fast(1.0, 1) == 0.0  # 1 == True
    assert fast(1.0, False) == 0.0


def test_gradients_flow_past_them_and_outer_captures_see_them() -> None:
    fast = tg.compile(windows, static_argnums=1)
    np.testing.assert_array_equal(tg.grad(lambda x: (fast(x, 3) ** 2).sum())(X), [6, 6, 6, 24, 24, 24])
    outer = tg.compile(lambda x: fast(x, 2) * 2)
    np.testing.assert_array_equal(outer(X), 2 * windows(X, 2))


def test_what_cannot_be_is_refused() -> None:
    for options in ({"static_argnums": 3}, {"static_argnums": True}, {"static_argnums": "x"}):
        with pytest.raises(SettingError, match="static_argnums"):
            tg.compile(windows, **options)  # type: ignore[arg-type]
    with pytest.raises(SettingError, match="no argument 'sizes'; it has x, size, mode"):
        tg.compile(windows, static_argnames="sizes")
    with pytest.raises(DTypeError, match=r"argument 1 of 'windows' is static, and a list is not hashable"):
        tg.compile(windows, static_argnums=1)(X, [2])
    with pytest.raises(CaptureError):
        tg.compile(windows)(X, 2)  # without, a size is an input
