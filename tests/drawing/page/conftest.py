"""A network for the page's tests, and the page's own arithmetic laid open."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.drawing.page.joining import joined


def small_network() -> tuple[Any, Any]:
    """A convolutional network, and one 8x8 picture for it."""
    tg.manual_seed(0)
    nn = tg.nn
    model = nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Flatten(),
        nn.Linear(24, 10), nn.Softmax(1),
    )  # fmt: skip
    picture = np.random.default_rng(0).normal(size=(1, 1, 8, 8)).astype(np.float32)
    return model, picture


@pytest.fixture(scope="session")
def network() -> tuple[Any, Any]:
    return small_network()


@pytest.fixture
def lay_open() -> Callable[[Any], None]:
    """Gives a test the page's data and the arithmetic on them, which its script keeps to itself."""

    def hand_out(opened: Any) -> None:
        names = ("payload", "tensors", "numbers", "places")
        opened.evaluate(f"async () => {{ {joined(names)} Object.assign(window, {', '.join(names)}); }}")

    return hand_out
