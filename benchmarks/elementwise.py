"""Random elementwise and reduction programs, compiled against plain NumPy: results, and the ratio of their times.

    python -m benchmarks.elementwise [programs] [first seed]

Each program is checked first, against numbers of more bits; then both ways run in turn, and the least time of each
counts: of the processor, all threads together, so that other programs on the machine matter less. Below 1 the compiled
program takes less. Programs whose NumPy time is a few microseconds measure the call alone, and have a row of their own.
"""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

import tinygraph as tg

Array = Any
ROUNDS, FEWEST, SECONDS = 60, 10, 0.1  # rounds at most and at least, or so long for a program
UNARY: dict[str, Callable[[Array], Array]] = {
    "exp": lambda x: np.exp(-np.abs(x)),
    "log": lambda x: np.log(np.abs(x) + 1),
    "tanh": np.tanh,
    "sqrt": lambda x: np.sqrt(np.abs(x)),
    "square": np.square,
    "cube": lambda x: x**3,
    "power": lambda x: np.abs(x) ** 1.5,
    "sin": np.sin,
    "negative": np.negative,
    "absolute": np.abs,
    "reciprocal": lambda x: 1 / (x * x + 1),
    "expm1": np.expm1,
    "sign": np.sign,
    "floor": np.floor,
    "arctan": np.arctan,
    "clip": lambda x: np.clip(x, -1, 1),
}
BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": lambda x, y: x / (np.abs(y) + 1),
    "maximum": np.maximum,
    "minimum": np.minimum,
    "where": lambda x, y: np.where(x > y, x, 2 * y),
    "hypot": np.hypot,
}
REDUCTIONS: dict[str, Callable[..., Array]] = {
    "sum": np.sum,
    "mean": np.mean,
    "max": np.max,
    "min": np.min,
    "var": np.var,
    "prod": lambda x, axis: np.prod(1 + np.tanh(x) / 9, axis=axis),
}
SHAPES = [
    *(
        (5,),
        (100,),
        (1000,),
        (4097,),
        (100_000,),
        (3, 5),
        (64, 64),
        (1000, 3),
        (3, 1000),
        (37, 41),
        (512, 512),
    ),
    *((8, 16, 10, 10), (16, 3, 32, 32), (2, 64, 28, 28), (1, 7, 1, 9), (200, 1), (1, 200), (300, 400)),
]


class Program(NamedTuple):
    """A function of arrays, in words as well, and its arguments."""

    words: str
    function: Callable[..., Array]
    arguments: list[Array]


def program(seed: int) -> Program:
    """A random program: a chain of some ops over inputs that broadcast, perhaps transposed, and perhaps reduced."""
    rng = np.random.default_rng(seed)
    shape = SHAPES[rng.integers(len(SHAPES))]
    dtype = rng.choice(["float32", "float64"])
    arguments = []
    for i in range(rng.integers(1, 4)):
        small = tuple(1 if i and rng.random() < 0.25 else n for n in shape)
        array = rng.standard_normal(small).astype(dtype)
        if array.ndim > 1 and rng.random() < 0.15:
            array = np.ascontiguousarray(array.T).T
        arguments.append(array)
    steps: list[tuple[str, int, int]] = []
    for _ in range(rng.integers(1, 7)):
        name = str(rng.choice([*UNARY, *BINARY]))
        steps.append((name, int(rng.integers(len(arguments))), int(rng.integers(len(arguments)))))
    # found here: a program that looked them up in the tables would have all of these watched
    found = tuple((UNARY.get(name), BINARY.get(name), i if i != 0 else j) for name, i, j in steps)
    reduction, axis = None, None
    if rng.random() < 0.5:
        reduction = str(rng.choice(list(REDUCTIONS)))
        axis = [None, 0, -1, tuple(range(len(shape)))][rng.integers(4)]

    reduce = REDUCTIONS.get(reduction or "")

    def function(*values: Array) -> Array:
        value = values[0]
        for alone, with_other, i in found:
            value = alone(value) if alone is not None else with_other(value, values[i])
        return value if reduce is None else reduce(value, axis=axis)

    words = " ".join(name if name in UNARY else f"{name}{i if i != 0 else j}" for name, i, j in steps)
    tail = "" if reduction is None else f" {reduction}[{axis}]"
    sizes = ", ".join("x".join(map(str, one.shape)) for one in arguments)
    return Program(f"{words}{tail}: {dtype} {sizes}", function, arguments)


def check(one: Program, eager: Array, found: Array) -> None:
    """Compare with the same in more bits, where NumPy itself may be off by its own rounding errors.

    Raises:
        AssertionError: a result is far off, and farther than NumPy's.
    """
    exact = one.function(*(array.astype(np.longdouble) for array in one.arguments))
    info = np.finfo(one.arguments[0].dtype)
    within = (np.abs(exact) < info.max / 2) & np.isfinite(found) & np.isfinite(eager)
    assert within.any() or not np.isfinite(found).any(), one.words
    scale = np.abs(np.where(within, exact, 0)).max(initial=0.0)
    allowed = 300 * info.eps * np.maximum(np.abs(exact), 0.1 * scale) + info.smallest_normal
    allowed += 30 * np.abs(np.where(within, eager - exact, 0)).max(initial=0.0)
    assert (np.abs(found - exact) <= allowed)[within].all(), one.words


def measured(one: Program) -> tuple[float, float]:
    """Seconds of NumPy and of the compiled program, each the least of some rounds, after their results were compared.

    Raises:
        AssertionError: the results differ.
    """
    compiled = tg.compile(one.function)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check(one, one.function(*one.arguments), compiled(*one.arguments))
    ways = one.function, compiled
    best = [float("inf"), float("inf")]
    begin = time.perf_counter()
    for round_ in range(ROUNDS):
        for k, way in enumerate(ways):
            start = time.process_time()
            way(*one.arguments)
            best[k] = min(best[k], time.process_time() - start)
        if round_ >= FEWEST and time.perf_counter() - begin > SECONDS:
            break
    compiled.release()
    return best[0], best[1]


def main(count: int = 500, first: int = 0) -> None:
    """Measure and print: the geometric mean by NumPy's time, and the programs that are slower compiled."""
    found = []
    for seed in range(first, first + count):
        one = program(seed)
        try:
            found.append((*measured(one), one.words, seed))
        except AssertionError as error:
            print(f"DIFFERENT {seed}: {error}")
    for low, high in ((0, 1e-5), (1e-5, 3e-5), (3e-5, 1e-4), (1e-4, 1e-3), (1e-3, np.inf)):
        ratios = np.array([ours / theirs for theirs, ours, *_ in found if low <= theirs < high])
        if ratios.size:
            mean, slower = np.exp(np.log(ratios).mean()), (ratios > 1).sum()
            words = f"{ratios.size} programs, mean {mean:.2f}, largest {ratios.max():.2f}, slower {slower}"
            print(f"NumPy from {low * 1e6:g} us: {words}")
    for theirs, ours, words, seed in sorted(found, key=lambda row: -row[1] / row[0])[:40]:
        if ours > theirs:
            print(f"{ours / theirs:5.2f}  {theirs * 1e6:8.1f} -> {ours * 1e6:8.1f} us  {seed:4} {words}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
