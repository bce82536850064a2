"""Short calls: of functions that take arrays and change nothing, with only what such calls need.

A call in general asks for tensors, gradients, states to write, other threads that wait for it, Python numbers. Where a
captured version has none of them - a function of arrays, a model under `tg.no_grad()` - its calls check the arguments
and what the program read, copy arrays in, run the kernels and copy results out: a microsecond or two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.compiler.plan import Plan
from tinygraph.core.graph import Graph
from tinygraph.core.modes import modes
from tinygraph.core.tensor import Tensor
from tinygraph.tracing.facts import MISSING
from tinygraph.tracing.trace import Trace

# Answers None where the version does not serve.
ShortCall = Callable[[tuple[Any, ...]], tuple[Any] | None]


def short_call(
    graph: Graph, trace: Trace, plan: Plan, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> ShortCall | None:
    """What calls with arguments like these may run, boxed in a tuple; None where such calls need more than that."""
    if kwargs or not args or any(type(one) is not np.ndarray for one in args) or graph.result is None:
        return None
    if len(graph.inputs) != len(args) or not plan.changes_nothing:
        return None
    if trace.closed or trace.attached or trace.effects or trace.draws:
        return None
    kinds = tuple((one.shape, one.dtype) for one in args)
    count, fits, build = len(kinds), plan.fits, graph.result.build
    held, run, array_class = trace._held, plan.short_run(), np.ndarray
    more = trace.contents or trace.guards or trace.constants or trace.reads
    asked, with_tensors = trace.asked, trace.with_tensors
    may_record = any(leaf.requires_grad for leaf in graph.leaves)

    def call(args: tuple[Any, ...]) -> tuple[Any] | None:
        mode = modes.current
        if len(args) != count or mode.capture is not None or (may_record and mode.recording) or not fits():
            return None
        for value, (shape, dtype) in zip(args, kinds):  # noqa: B905 - the keyword takes longer than the rest
            if value.__class__ is not array_class or value.shape != shape or value.dtype != dtype:
                return None
        if more:
            if trace.broken() is not None:
                return None
        else:
            for get, key, before in held:
                if get(key, MISSING) is not before:
                    return None
        if asked and not trace.serves(args):
            return None
        out = run(args)
        return (build(list(map(Tensor, out)) if with_tensors else out),)

    return call
