"""Which kernel computes a node: the op's own lowering, its NumPy twin with `out=`, or its forward and a copy.

A kernel is bound to its arrays when the plan is made, so running it is one call without arguments.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.node import Node

Array = np.ndarray[Any, Any]


class Kernel(NamedTuple):
    """A bound kernel: what to call, and what it is called in tables."""

    run: Callable[[], Any]
    name: str


def choose_kernel(node: Node, inputs: Sequence[Any], outputs: Sequence[Array]) -> Kernel:
    """The kernel of a node, bound to its operands and outputs."""
    op = node.op
    if "program" in op.facts:
        from tinygraph.compile.language.elementwise import bind

        arrays = [np.asarray(one) for one in inputs]
        return Kernel(bind(op.facts["program"], arrays, outputs).run, "generated")
    if op.lowering is not None:
        lowered = op.lowering(inputs, outputs, **settings_of(node))
        if lowered is not None:
            return Kernel(lowered, f"{op.name} kernel")
    if len(outputs) == 1 and not any(one is None for one in inputs):
        twin = _twin(node)
        if isinstance(twin, np.ufunc):
            return Kernel(
                functools.partial(twin, *inputs, out=outputs[0], casting="same_kind"), f"np.{twin.__name__}"
            )
        if twin is not None:
            return Kernel(
                functools.partial(twin, *inputs, **settings_of(node), out=outputs[0]), f"np.{twin.__name__}"
            )
    return Kernel(
        functools.partial(_copied, op.forward, inputs, node.settings, outputs), f"{op.name} forward"
    )


def settings_of(node: Node) -> dict[str, Any]:
    """All settings, defaults included."""
    return {name: node.op.setting(node.settings, name) for name in node.op.signature.settings}


def _copied(
    forward: Callable[..., Any], inputs: Sequence[Any], settings: dict[str, Any], outputs: Sequence[Array]
) -> None:
    result = forward(*inputs, **settings)
    for out, value in zip(outputs, result if isinstance(result, tuple) else (result,), strict=True):
        np.copyto(out, value, casting="same_kind")


def _twin(node: Node) -> Any:
    """The NumPy function that computes the node into `out=`, or None."""
    twin = node.op.numpy_twin
    if twin is None:
        return None
    if isinstance(twin, np.ufunc):
        return twin if twin.nin == len(node.inputs) and twin.nout == 1 and not node.settings else None
    return (
        twin if "out" in _parameters(twin) and set(node.op.signature.settings) <= _parameters(twin) else None
    )


@functools.cache
def _parameters(function: Any) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return frozenset()
