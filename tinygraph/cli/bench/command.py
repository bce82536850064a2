"""The command `tinygraph bench`: whole training steps, eager and compiled, against PyTorch where it is installed.

One thread, one process, candidates in turn; first losses are compared before anything is measured.
"""

from __future__ import annotations

import importlib.util
import platform
from collections.abc import Callable
from typing import Annotated, Any

from cyclopts import Parameter

from tinygraph.cli.bench.alternating import measure, report
from tinygraph.cli.bench.workloads import WORKLOADS, Workload
from tinygraph.cli.terminal import fail, say

Step = Callable[[], float]


def bench(
    only: Annotated[str, Parameter(name=("--only", "-o"))] = "",
    rounds: int = 15,
) -> int:
    """Measure training steps (forward, loss, backward, SGD) on this machine.

    Parameters
    ----------
    only
        Measure the workloads whose name contains this text.
    rounds
        How often every candidate runs; medians of the ratios are shown.
    """
    import numpy as np

    chosen = [workload for workload in WORKLOADS if only.lower() in workload.name.lower()]
    if not chosen:
        return fail(f"no workload is called {only!r}; there are: {'; '.join(one.name for one in WORKLOADS)}")
    say(f"Python {platform.python_version()}, NumPy {np.__version__}, one thread, {platform.machine()}")
    with _one_thread():
        rows = {}
        for workload in chosen:
            candidates = _candidates(workload)
            _check_equal(workload, candidates)
            rows[workload.name] = measure(candidates, rounds)
    report("Training steps; a ratio below 1 means that the compiled step is faster", rows, "compiled")
    return 0


def _one_thread() -> Any:
    """NumPy's BLAS on one thread, as far as threadpoolctl (a dependency of scikit-learn) can reach it."""
    import contextlib

    if importlib.util.find_spec("threadpoolctl") is None:
        return contextlib.nullcontext()
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1)


def _candidates(workload: Workload) -> dict[str, Step]:
    import tinygraph as tg
    from tinygraph import nn, optim

    tg.manual_seed(0)
    model = workload.build(nn)
    state = model.state_dict()
    eager = workload.build(nn)
    eager.load_state_dict(state)
    x, y = _data(workload)
    compiled = tg.compile(_step(nn, optim, model, workload))
    plain = _step(nn, optim, eager, workload)
    found: dict[str, Step] = {"compiled": lambda: compiled(x, y).item(), "eager": lambda: plain(x, y).item()}
    if importlib.util.find_spec("torch") is not None:
        found["torch eager"] = _torch(workload, state)
    return found


def _torch(workload: Workload, state: dict[str, Any]) -> Step:
    import torch

    torch.set_num_threads(1)
    model = workload.build(torch.nn)
    model.load_state_dict({name: torch.as_tensor(value) for name, value in state.items()})
    step = _step(torch.nn, torch.optim, model, workload)
    x, y = map(torch.as_tensor, _data(workload))
    return lambda: float(step(x, y).item())


def _data(workload: Workload) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    x = rng.normal(size=workload.shape).astype(np.float32)
    if workload.classes:
        return x, rng.integers(0, workload.classes, size=len(x))
    return x, rng.normal(size=(len(x), 1)).astype(np.float32)


def _step(nn: Any, optim: Any, model: Any, workload: Workload) -> Callable[[Any, Any], Any]:
    """A training step in PyTorch's words, which are ours too."""
    optimizer = optim.SGD(model.parameters(), lr=workload.learning_rate)
    loss_of = nn.CrossEntropyLoss() if workload.classes else nn.MSELoss()

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def _check_equal(workload: Workload, candidates: dict[str, Step]) -> None:
    losses = {name: run() for name, run in candidates.items()}
    if max(losses.values()) - min(losses.values()) > 1e-3 * abs(losses["eager"]):
        listed = ", ".join(f"{name} {loss:.6f}" for name, loss in losses.items())
        raise AssertionError(f"{workload.name}: the candidates do not compute the same loss: {listed}")
