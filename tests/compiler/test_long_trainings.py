"""Two hundred compiled training steps: PyTorch's losses on any number of threads, and the same bits in each process."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim

STEPS = 200


@pytest.fixture(autouse=True)
def own_threads() -> Iterator[None]:
    before = tg.get_threads()
    yield
    tg.set_threads(before)


def network(nn: Any) -> Any:
    """A convolutional net whose activations are smooth, so that rounding flips nothing."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.Tanh(),
        nn.Conv2d(16, 16, 3, padding=1), nn.GELU(), nn.AvgPool2d(2),
        nn.Conv2d(16, 24, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(24, 10),
    )  # fmt: skip


def batches() -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    classes = rng.integers(0, 10, (STEPS, 32))
    patterns = rng.standard_normal((10, 1, 8, 8))
    images = patterns[classes] + 0.7 * rng.standard_normal((STEPS, 32, 1, 8, 8))
    return list(zip(images.astype(np.float32), classes, strict=True))


def trained(nn: Any, optim: Any, model: Any, compile: Any, array: Any = lambda x: x) -> list[float]:
    optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    loss_of = nn.CrossEntropyLoss()

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    run = compile(step)
    return [float(run(array(x), array(y)).item()) for x, y in batches()]


def ours(**options: Any) -> list[float]:
    tg.manual_seed(0)
    return trained(nn, optim, network(nn), lambda step: tg.compile(step, **options))


@pytest.mark.parametrize("accuracy", ["fast", "exact"])
def test_losses_follow_pytorchs(accuracy: str) -> None:
    torch = pytest.importorskip("torch")
    tg.manual_seed(0)
    model = network(torch.nn)
    state = {name: torch.as_tensor(value) for name, value in network(nn).state_dict().items()}
    model.load_state_dict(state)
    right = trained(torch.nn, torch.optim, model, lambda step: step, torch.as_tensor)
    assert right[0] > 2
    assert np.mean(right[-20:]) < 0.3
    for threads in (1, 2, 3, 8):
        tg.set_threads(threads)
        np.testing.assert_allclose(ours(accuracy=accuracy), right, rtol=2e-2, atol=2e-3)


def test_every_process_makes_the_same_bits(tmp_path: Any) -> None:
    """With machine code that it generates, and with machine code that it finds."""
    code = (
        "import hashlib, numpy as np, tinygraph as tg\n"
        "from tests.compiler.test_long_trainings import ours\n"
        "tg.set_threads(2)\n"
        "print(hashlib.sha256(np.array(ours(deterministic=True)).tobytes()).hexdigest())"
    )
    environment = {**os.environ, "TINYGRAPH_CACHE_DIR": str(tmp_path)}
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    }
    tg.set_threads(2)
    assert found == {hashlib.sha256(np.array(ours()).tobytes()).hexdigest()}
