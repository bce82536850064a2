"""Ops of other packages in plain NumPy, without kernels of their own: one call of the forward over a compiled step.

    python -m benchmarks.third_party

For each op that `tinygraph ops new` writes, or that the gallery has, and that a capture looks through: a step that
scales the operand, applies the op and scales again, and the same with its gradient. Times are of the processor, the
least of some rounds, and on one thread. Ops that stay one call are named.
"""

from __future__ import annotations

import functools
import importlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.compiler.passes.look_through import seen_on
from tinygraph.core.op import Op
from tinygraph.scaffold.request import Request
from tinygraph.scaffold.writing import write_package

GALLERY = Path(__file__).parents[1] / "examples" / "plugins"
ELEMENTS = 1_000_000
ROUNDS = 15


def packages(scratch: Path) -> Iterator[Any]:
    """The module of the package that the scaffold writes, and those of the gallery."""
    write_package(Request("softclip"), scratch / "tinygraph-softclip")
    for folder in [scratch / "tinygraph-softclip", *sorted(GALLERY.glob("tinygraph-*"))]:
        sys.path.insert(0, str(folder))
        yield importlib.import_module(folder.name.replace("-", "_"))


def least(run: Callable[[], object]) -> float:
    """Seconds of the processor."""
    found = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        run()
        found.append(time.process_time() - begin)
    return min(found)


def main() -> None:
    """Print a line for each op."""
    tg.set_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        for package in packages(Path(scratch)):
            for op in (one for one in vars(package).values() if isinstance(one, Op)):
                print(line(op))


def operands_of(op: Op) -> tuple[list[Any], dict[str, Any]]:
    """About a million numbers, and what else the op takes."""
    rng = np.random.default_rng(0)
    if op.name == "rotary":
        return [rng.standard_normal((64, 256, 64)).astype(np.float32), np.arange(256.0)], {}
    if op.name == "quadratic_ode":
        y, linear, constant = (rng.uniform(-0.3, 0.3, shape) for shape in ((20_000, 4), (4, 4), (4,)))
        return [y, linear, None, constant], {"step": 0.1, "steps": 10}
    sample = op.samples[0]
    operands = [None if one is None else np.asarray(one) for one in sample.operands]
    return [np.resize(operands[0], ELEMENTS), *operands[1:]], sample.settings


def line(op: Op) -> str:
    """What is to be said of an op."""
    sample = op.samples[0]
    if (
        seen_on(op, [None if one is None else np.asarray(one) for one in sample.operands], sample.settings)
        is None
    ):
        return f"{op.name}: stays one call"
    (x, *others), settings = operands_of(op)

    def step(x: Any) -> Any:
        return op(x * 0.5, *others, **settings) * 2.0

    def trained(x: Any) -> Any:
        return tg.value_and_grad(lambda x: np.sum(step(x) ** 2))(x)

    forward = least(lambda: op.forward(x, *others, **settings))
    times = [least(functools.partial(tg.compile(one), x)) for one in (step, trained)]
    eager = least(lambda: step(x))
    words = ", ".join(f"{forward / seconds:.2f}" for seconds in times)
    return (
        f"{op.name}: one call of the forward takes {forward * 1e3:.2f} ms, the eager step {eager * 1e3:.2f} ms; "
        f"the forward over the compiled step, and over the one with its gradient: {words}"
    )


if __name__ == "__main__":
    main()
