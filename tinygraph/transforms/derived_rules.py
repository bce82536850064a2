"""Derived backward rules: of an op that has none, by looking through its forward, where that is made of other ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tinygraph.core.engine import NotDerived
from tinygraph.core.graph import evaluate
from tinygraph.core.node import edge_index, edge_node, is_recorded
from tinygraph.core.op import Op, Rule
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import type_of
from tinygraph.tracing.looking_through import looked_through
from tinygraph.transforms.reverse import vjp

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def derived_rule(op: Op, name: str) -> Rule:
    """A rule for an operand: the gradient of the ops that the forward is made of.

    It raises NotDerived, with the reason, where the forward is not made of ops.
    """
    operands = op.signature.operands
    asked = (*(one.name for one in operands), *op.signature.settings)

    def rule(g: Numeric, *given: Any) -> Any:
        found = dict(zip(asked, given, strict=True))
        values: list[Any] = []
        moving: list[int] = []
        for one in operands:
            several = found[one.name] if one.variadic else (found[one.name],)
            if one.name == name:
                moving = list(range(len(values), len(values) + len(several)))
            values += several
        settings = {key: found[key] for key in op.signature.settings}
        gradients = _pulled(op, values, moving, settings, g if isinstance(g, tuple) else (g,))
        return tuple(gradients) if op.is_variadic(name) else gradients[0]

    rule.__name__ = f"{op.name}_looked_through"
    return Rule(rule, (name,), asked)


def _pulled(
    op: Op, values: Sequence[Any], moving: Sequence[int], settings: dict[str, Any], cotangents: Sequence[Any]
) -> Sequence[Any]:
    arrays = [i for i, x in enumerate(values) if hasattr(x, "dtype")]
    types = tuple(
        (x.type if isinstance(x, Tensor) else type_of(x)) if i in arrays else x for i, x in enumerate(values)
    )
    graph = looked_through(op, types, settings)
    if isinstance(graph, str):
        raise NotDerived(graph)
    given = [i for i, one in enumerate(cotangents) if one is not None]

    def run(*changed: object) -> list[Any]:
        full = list(values)
        for i, x in zip(moving, changed, strict=True):
            full[i] = x
        found = {id(leaf): full[i] for leaf, i in zip(graph.inputs, arrays, strict=True)}
        evaluate(graph.nodes, found, keep=graph.outputs)
        results = []
        for i in given:
            end = graph.outputs[i]
            value = found[id(edge_node(end))] if is_recorded(end) else end
            results.append(value[edge_index(end)] if isinstance(value, tuple) else value)
        return results

    gradients: Sequence[Any] = vjp(run, *(values[i] for i in moving))[1]([cotangents[i] for i in given])
    return gradients
