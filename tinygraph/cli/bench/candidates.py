"""What the candidates of a comparison share: weights, data, the training step, and how many threads they have."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

from tinygraph.cli.bench.workloads import Workload

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

Step = Callable[[], float]


@contextlib.contextmanager
def on_threads(threads: int) -> Iterator[None]:
    """Everything on so many threads; NumPy's BLAS as far as threadpoolctl (scikit-learn brings it) can reach it."""
    import tinygraph as tg

    before = tg.get_threads()
    tg.set_threads(threads)
    blas: Any = contextlib.nullcontext()
    if importlib.util.find_spec("threadpoolctl") is not None:
        from threadpoolctl import threadpool_limits

        blas = threadpool_limits(threads)
    try:
        with blas:
            yield
    finally:
        tg.set_threads(before)


def our_model(workload: Workload) -> Any:
    """The model with the weights that every candidate starts from."""
    import tinygraph as tg
    from tinygraph import nn

    tg.manual_seed(0)
    return workload.build(nn)


def torch_model(workload: Workload) -> Any:
    """The same in PyTorch, on as many threads as ours."""
    import torch

    import tinygraph as tg

    torch.set_num_threads(tg.get_threads())
    model = workload.build(torch.nn)
    model.load_state_dict(
        {name: torch.as_tensor(value) for name, value in our_model(workload).state_dict().items()}
    )
    return model


def data(workload: Workload) -> tuple[Any, Any]:
    """A batch of noise and its targets, as arrays."""
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=workload.shape).astype(np.float32)
    if workload.classes:
        return x, rng.integers(0, workload.classes, size=len(x))
    return x, rng.normal(size=(len(x), 1)).astype(np.float32)


def training_step(nn: ModuleType, optim: Any, model: Any, workload: Workload) -> Callable[[Any, Any], Any]:
    """A training step in PyTorch's words, which are ours too."""
    optimizer = optim.SGD(model.parameters(), lr=workload.learning_rate)
    loss_of = nn.CrossEntropyLoss() if workload.classes else nn.MSELoss()

    def step(x: Numeric, y: Numeric) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def check_equal(workload: Workload, steps: dict[str, Step]) -> None:
    """Refuse to compare steps whose first losses (or other results) differ.

    Raises:
        AssertionError: they do.
    """
    losses = {name: run() for name, run in steps.items()}
    if losses and max(losses.values()) - min(losses.values()) > 1e-3 * abs(next(iter(losses.values()))):
        listed = ", ".join(f"{name} {loss:.6f}" for name, loss in losses.items())
        raise AssertionError(f"{workload.name}: the candidates do not compute the same loss: {listed}")
