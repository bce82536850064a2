"""Which kernel computes a node: a generated one, the op's own lowering, its NumPy twin with `out=`, or its forward.

A kernel is bound to its arrays when the plan is made, so running it is one call without arguments.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph import kernels
from tinygraph.analysis.pointwise import numpy_twin
from tinygraph.core.node import Node, SettingsKey, settings_key
from tinygraph.core.types import Array
from tinygraph.kernels.lowering import Check, Layout, Layouts, Lowering, NumpyAlone, Types, calls_of
from tinygraph.kernels.threads import get_threads

if TYPE_CHECKING:
    from tinygraph.kernels.cpu import Cpu


class BoundKernel(NamedTuple):
    """A bound kernel: what to call, what it is called in tables, and what these say of it besides."""

    run: Callable[[], Any]
    name: str
    notes: tuple[str, ...] = ()


def lower(
    node: Node, inputs: Sequence[Layout | None], outputs: Sequence[Layout | None], cpu: Any
) -> Lowering | None:
    """A node's lowering for operands and results in these layouts, or None where it runs on NumPy.

    `cpu` is the CPU that kernels are generated for, or NumPy alone.
    """
    op = node.op
    if "program" in op.facts:
        return Lowering(functools.partial(bind_loop, op.facts["program"]), name="generated")
    if op.lowering is None:
        return None
    types = Types(node.input_types, node.output_types)
    layouts = Layouts(tuple(inputs), tuple(outputs))
    settings = settings_key(node.all_settings)

    def ask(one: Any, given: Layouts = layouts) -> Lowering | None:
        return _answer(op.lowering, types, given, one, settings, get_threads())

    try:
        if not getattr(cpu, "measured", False) or "joined" in op.facts:  # its parts are measured
            return ask(cpu)
        from tinygraph.compiler.tuning import choose

        key = (op.lowering, types, settings, get_threads())
        return choose(node, ask, layouts, cpu, key, functools.partial(_bound_alone, node))
    except TypeError:  # a setting that cannot be a key
        found: Lowering | None = op.lowering(types, layouts, cpu, **node.all_settings)
        return found


@functools.lru_cache(1024)
def _answer(
    rule: Callable[..., Lowering | None],
    types: Types,
    layouts: Layouts,
    cpu: Cpu | None,
    settings: SettingsKey,
    threads: int,  # on which scratch depends
) -> Lowering | None:
    """What a `lower` rule answers; asked again by passes, for layouts and to bind, it is the same."""
    return rule(types, layouts, cpu, **dict(settings.pairs))


def _bound_alone(
    node: Node,
    lowering: Lowering | None,
    inputs: Sequence[Any],
    outputs: Sequence[Array],
    scratch: Sequence[Array],
) -> Callable[[], None]:
    """A kernel that runs by itself, on all threads, its whole work at each call."""
    calls = joined_calls([choose_kernel(node, inputs, outputs, lowering, scratch).run], get_threads())

    def run() -> None:
        for _, call in calls:
            call()

    return run


def bind_loop(loop: Any, inputs: Sequence[Any], outputs: Sequence[Array], scratch: object) -> Any:
    """A generated loop bound to its operands and results."""
    from tinygraph.kernels.elementwise import bind

    arrays = [np.asarray(one) for one in inputs]
    return bind(loop.program, arrays, outputs, reductions=loop.reductions, axes=loop.axes)


def kernel_cpu(exact: bool = False, measured: bool = False) -> Any:
    """The CPU that kernels are generated for, or NumPy alone where none can be.

    Args:
        exact: leave algorithms out that round more than sums do.
        measured: measure which are fastest.
    """
    if not kernels.available():
        return NumpyAlone(exact)
    from tinygraph.kernels.cpu import this_cpu

    return this_cpu()._replace(exact=exact, measured=measured)


def choose_kernel(
    node: Node,
    inputs: Sequence[Any],
    outputs: Sequence[Array],
    lowering: Lowering | None = None,
    scratch: Sequence[Array] = (),
) -> BoundKernel:
    """The kernel of a node, bound to its operands and outputs."""
    op = node.op
    if lowering is not None:
        run = lowering.bind(inputs, outputs, scratch)
        if run is not None:
            return BoundKernel(run, lowering.name or f"{op.name} kernel", lowering.notes)
    if len(outputs) == 1 and not any(one is None for one in inputs):
        twin = numpy_twin(node)
        if isinstance(twin, np.ufunc):
            return BoundKernel(_ufunc_call(twin, inputs, outputs[0]), f"np.{twin.__name__}")
        if twin is not None:
            return BoundKernel(
                functools.partial(twin, *inputs, **node.all_settings, out=outputs[0]), f"np.{twin.__name__}"
            )
    return BoundKernel(
        functools.partial(_copied, op.forward, inputs, node.settings, outputs), f"{op.name} forward"
    )


def _ufunc_call(ufunc: np.ufunc, inputs: Sequence[Any], out: Array) -> Callable[[], Any]:
    """A call as lean as NumPy allows: the result by position, and Python numbers as arrays of the dtype they take."""
    given = tuple(type(x) if type(x) in (int, float, complex) else np.asarray(x).dtype for x in inputs)
    dtypes = (
        ufunc.resolve_dtypes((*given, out.dtype), casting="same_kind") if ufunc.signature is None else given
    )
    operands = [
        np.asarray(x, dtype) if isinstance(kind, type) and dtype.kind in "fc" else x
        for x, kind, dtype in zip(inputs, given, dtypes, strict=False)
    ]
    if ufunc in (np.maximum, np.minimum):  # of these NumPy wants it by name
        return functools.partial(ufunc, *operands, out=out)
    return functools.partial(ufunc, *operands, out)


def _copied(
    forward: Callable[..., Any], inputs: Sequence[Any], settings: dict[str, Any], outputs: Sequence[Array]
) -> None:
    result = forward(*inputs, **settings)
    for out, value in zip(outputs, result if isinstance(result, tuple) else (result,), strict=True):
        np.copyto(out, value, casting="same_kind")


def joined_calls(
    runs: Sequence[Callable[[], Any]], threads: int
) -> list[tuple[Sequence[int], Callable[[], Any]]]:
    """The calls of some runs in order, each with the numbers of its runs; generated kernels in a row become one call.

    That one call runs on all threads, checks of what its kernels met included (`Table.stopped` is the one that raised).
    """
    if not kernels.available():
        return [((i,), run) for i, run in enumerate(runs)]
    from tinygraph.kernels.machine_code import Bound
    from tinygraph.kernels.teams import Table

    joined: list[tuple[Sequence[int], Callable[[], Any]]] = []
    row: list[Bound | Check] = []
    numbers: list[int] = []
    for position, run in enumerate(runs):
        for call in calls_of(run):
            if isinstance(call, Bound | Check):
                row.append(call)
                numbers.append(position)
                continue
            if row:
                joined.append((numbers, Table(row, threads)))
                row, numbers = [], []
            joined.append(((position,), call))
    if row:
        joined.append((numbers, Table(row, threads)))
    return joined
