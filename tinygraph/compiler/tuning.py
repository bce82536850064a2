"""Kernels chosen by measuring: what a `lower` rule answers for several CPUs, checked against each other and timed.

They are this CPU, the same without algorithms that round more, without libraries that may stand for a kernel,
and NumPy alone. Each candidate runs alone, on random numbers that lie as it would rather have them, in
turn with the others; the fastest is remembered for the process and, where the op is the library's own, on disk.
"""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph.core.node import Node
from tinygraph.core.registry import BUILTIN_PACKAGE
from tinygraph.core.types import Array, ArrayType
from tinygraph.errors import TinygraphWarning
from tinygraph.kernels import numpy_only
from tinygraph.kernels.lowering import Layout, Layouts, Lowering, NumpyAlone, rows

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu
    from tinygraph.kernels.disk_cache import DiskCache

Ask = Callable[..., Lowering | None]  # for a CPU, and for layouts if they are others
Run = Callable[[], Any]
_SECONDS = 0.02  # for each candidate, about
_FEWEST, _MOST = 10, 100  # rounds
_ALIGNMENT = 64
# of the largest result: Winograd's bound, and sums of millions in another order
_AGREEMENT = {"float32": 1e-4, "float64": 1e-9}
_chosen: dict[Any, Choice] = {}


class Choice(NamedTuple):
    """What was measured.

    Attributes:
        cpu: of the winner, its place among `variants`.
        others: names of the other kernels, and their time as a multiple of the winner's.
    """

    cpu: int
    others: tuple[tuple[str, float], ...]


class Candidate(NamedTuple):
    """A variant of the CPU, its place among `variants`, and what a rule answers for it."""

    cpu: int
    name: str
    lowering: Lowering | None


def variants(cpu: Cpu) -> list[Any]:
    """What rules are asked with, the first without measuring."""
    base = cpu._replace(measured=False)
    found = [
        *(base, base._replace(exact=True), base._replace(foreign=False)),
        *(NumpyAlone(cpu.exact), NumpyAlone(exact=True)),
    ]
    return [one for i, one in enumerate(found) if one not in found[:i]]


def choose(
    node: Node, ask: Ask, layouts: Layouts, cpu: Cpu, key: Any, bind: Callable[..., Run]
) -> Lowering | None:
    """The fastest of the lowerings of a node, with what was measured among its notes.

    Args:
        node: what is computed, of floating-point operands; of others the values decide, and nothing is measured.
        ask: what its rule answers.
        layouts: that it is asked with.
        cpu: what kernels are made for.
        key: what decides the answer besides CPU and layouts.
        bind: binds a lowering, or None for the op on NumPy, to operands, results and scratch memory.
    """
    types = [one for one in (*node.input_types, *node.output_types) if one is not None]
    if not all(one.dtype.name in _AGREEMENT for one in types):
        return ask(cpu._replace(measured=False))
    choice = _chosen.get((key, cpu)) or _remembered(node, cpu, key)
    if choice is None:
        candidates = _candidates(node, ask, layouts, cpu)
        choice = _measured(node, candidates, bind) if len(candidates) > 1 else Choice(0, ())
        _remember(node, cpu, key, choice)
    _chosen[key, cpu] = choice
    found = _answer(ask, variants(cpu)[choice.cpu])
    if found is None or not choice.others:
        return found
    margins = ", ".join(f"{name} takes {ratio:.2f}x" for name, ratio in choice.others)
    return found._replace(notes=(*found.notes, f"measured: {margins}"))


def _candidates(node: Node, ask: Ask, layouts: Layouts, cpu: Cpu) -> list[Candidate]:
    """What the rule answers for each variant, with its operands where it would rather have them; one of a name."""
    found: dict[str, Candidate] = {}
    for i, variant in enumerate(variants(cpu)):
        answer = _answer(ask, variant)
        if answer is not None and answer.layouts is not None:
            wanted = Layouts(
                *(
                    (*(mine or theirs for mine, theirs in zip(*pair, strict=False)), *pair[1][len(pair[0]) :])
                    for pair in zip(answer.layouts, layouts, strict=True)
                )
            )
            answer = _answer(ask, variant, wanted)
        name = (answer.name or node.op.name) if answer is not None else f"NumPy {node.op.name}"
        found.setdefault(name, Candidate(i, name, answer))
    return list(found.values())


def _answer(ask: Ask, cpu: Any, *layouts: Layouts) -> Lowering | None:
    return _on_numpy(ask, cpu, *layouts) if isinstance(cpu, NumpyAlone) else ask(cpu, *layouts)


def _on_numpy(ask: Ask, cpu: NumpyAlone, *layouts: Layouts) -> Lowering | None:
    """What a rule answers where no kernels can be generated; it is bound as if there were none, too."""
    with numpy_only():
        answer = ask(cpu, *layouts)
    if answer is None:
        return None
    bind = answer.bind

    def bind_on_numpy(*arrays: Any) -> Run | None:
        with numpy_only():
            return bind(*arrays)

    return answer._replace(bind=bind_on_numpy)


def _measured(node: Node, candidates: Sequence[Candidate], bind: Callable[..., Run]) -> Choice:
    """Bind all candidates, leave out those that disagree with the first, and time the others in turn."""
    rng = np.random.default_rng(0)
    values = [
        None if one is None else rng.standard_normal(one.shape).astype(one.dtype) for one in node.input_types
    ]
    runs: dict[str, Run] = {}
    expected: list[Array] | None = None
    for _, name, lowering in candidates:
        operands, outputs, scratch = _memory(node, values, lowering)
        run = bind(lowering, operands, outputs, scratch)
        run()
        if expected is None:
            expected = [np.array(one) for one in outputs]
        elif not all(map(_agree, outputs, expected)):
            warnings.warn(
                f"{name} of {node.describe()} differs from {candidates[0].name} and is left out: please report it",
                TinygraphWarning,
                stacklevel=2,
            )
            continue
        runs[name] = run
    best = _timed(runs)
    winner, *others = sorted(best, key=lambda name: best[name])
    (cpu,) = (one.cpu for one in candidates if one.name == winner)
    return Choice(cpu, tuple((name, best[name] / best[winner]) for name in others))


def _timed(runs: dict[str, Run]) -> dict[str, float]:
    """The least seconds of each, over rounds in which each has its turn."""
    best = dict.fromkeys(runs, float("inf"))
    spent, rounds = 0.0, 0
    while rounds < _FEWEST or (spent < _SECONDS * len(runs) and rounds < _MOST):
        for name, run in runs.items():
            begin = time.perf_counter()
            run()
            seconds = time.perf_counter() - begin
            best[name] = min(best[name], seconds)
            spent += seconds
        rounds += 1
    return best


def _memory(
    node: Node, values: Sequence[Array | None], lowering: Lowering | None
) -> tuple[list[Array | None], list[Array], list[Array]]:
    """Operands with these values, results and scratch, in the layouts that a candidate would rather have."""
    wanted = lowering.layouts if lowering is not None else None
    inputs: Sequence[Layout | None] = wanted.inputs if wanted is not None else ()
    results: Sequence[Layout | None] = wanted.outputs if wanted is not None else ()
    inputs, results = (
        (*given, *[None] * (count - len(given)))
        for given, count in ((inputs, len(values)), (results, len(node.output_types)))
    )
    operands: list[Array | None] = []
    for value, layout in zip(values, inputs, strict=True):
        placed = None if value is None else _place(ArrayType(value.shape, value.dtype), layout)
        if placed is not None:
            placed[...] = value
        operands.append(placed)
    outputs = [_place(types, layout) for types, layout in zip(node.output_types, results, strict=True)]
    return operands, outputs, [_bytes(size) for size in (lowering.scratch if lowering is not None else ())]


def _place(types: ArrayType, layout: Layout | None) -> Array:
    layout = layout or rows(len(types.shape))
    elements = _bytes(layout.size(types.shape) * types.dtype.itemsize).view(types.dtype)
    return layout.inside(elements, types.shape)


def _bytes(size: int) -> Array:
    block = np.zeros(size + _ALIGNMENT, np.uint8)
    start = -block.ctypes.data % _ALIGNMENT
    return block[start : start + size]


def _agree(found: Array, expected: Array) -> bool:
    bound = _AGREEMENT[expected.dtype.name] * np.abs(expected).max(initial=0.0)
    return bool((np.abs(found - expected) <= bound).all())


# -- from one process to the next ----------------------------------------------------------------------------------


def _remembered(node: Node, cpu: Cpu, key: Any) -> Choice | None:
    """What an earlier process measured; None for what is no choice."""
    place, cache = _disk_key(node, cpu, key), _cache()
    text = cache.get(place) if cache is not None and place is not None else None
    try:
        place, others = json.loads(text or b"[-1, []]")
        choice = Choice(int(place), tuple((str(name), float(ratio)) for name, ratio in others))
    except (ValueError, TypeError):
        return None
    return choice if 0 <= choice.cpu < len(variants(cpu)) else None


def _remember(node: Node, cpu: Cpu, key: Any, choice: Choice) -> None:
    place, cache = _disk_key(node, cpu, key), _cache()
    if cache is not None and place is not None:
        cache.put(place, json.dumps(choice).encode())


def _cache() -> DiskCache | None:
    from tinygraph.kernels.disk_cache import shared_cache

    return shared_cache()


def _disk_key(node: Node, cpu: Cpu, key: Any) -> str | None:
    """Under what a choice is kept: the op, its types and settings, CPU, threads, and the code of all candidates."""
    from tinygraph.kernels.disk_cache import digest
    from tinygraph.kernels.machine_code import versions
    from tinygraph.kernels.requests import plain_words

    if node.op.package != BUILTIN_PACKAGE:
        return None
    words = plain_words((node.op.name, key[1:], tuple(cpu), np.__version__))
    return None if words is None else digest(b"choice", versions(), words)
