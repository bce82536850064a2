"""`diff`: two graphs are matched, each pair of nodes is compared, and the numbers if inputs are given."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.comparing.difference import Change, Difference, title
from tinygraph.comparing.gaps import gap, gradients_apart, values_apart
from tinygraph.comparing.matching import Matching, constant_key, settings_with_defaults
from tinygraph.core.graph import Graph, graph_of
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, is_recorded
from tinygraph.core.state import Generator
from tinygraph.core.subgraphs import subgraphs_of
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import type_of
from tinygraph.errors import GraphError, TinygraphError
from tinygraph.tracing import capture


def diff(a: object, b: object, *, inputs: object = None) -> Difference:
    """Compare two graphs by what they mean: scopes, source lines, order and the names of results make no difference.

    Nodes are matched by identity, names, structure and place. Stored values (parameters, constants) are compared
    exactly; what is computed from `inputs` up to rounding: 100 epsilons, relative to the largest magnitude.

    Args:
        a, b: graphs, such as two of `compiled.stages` or what `tg.load` read; recorded tensors; or, with `inputs`,
            modules.
        inputs: what to run both on: an array or tensor, or a tuple of them. Then the values of all matched nodes, and
            the gradients of the summed outputs by parameters and inputs, are compared too.

    Returns:
        A `Difference`: true if there is any, `.same` if there is none; prints as a list of differences.

    Raises:
        GraphError: one of them is no graph, or a module without inputs.

    >>> import tinygraph as tg
    >>> one = tg.capture(lambda x: x.sum(axis=0), np.ones((2, 3)))
    >>> other = tg.capture(lambda x: x.sum(axis=1), np.ones((2, 3)))
    >>> print(str(diff(one, other)).splitlines()[2])
    ~ sum: axis 0 → 1; float64[3] → float64[2]
    >>> bool(diff(one, one))
    False
    """
    given = () if inputs is None else tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    first, second = _graph(a, given), _graph(b, given)
    matching = Matching(first, second)
    found = _structure(matching)
    if inputs is not None:
        _compare_numbers(found, matching, given)
    return found


def _structure(matching: Matching) -> Difference:
    """What differs but for the numbers."""
    changed, following = _changes(matching)
    return Difference(
        matching.a,
        matching.b,
        partners=matching.backward,
        removed=tuple(node for node in matching.nodes_a if id(node) not in matching.forward),
        added=tuple(node for node in matching.nodes_b if id(node) not in matching.backward),
        changed=tuple(changed),
        following=tuple(following),
        interface=tuple(_interface(matching)),
    )


def _graph(target: Any, inputs: tuple[Any, ...]) -> Graph:
    if isinstance(target, Graph):
        return target
    if isinstance(target, Tensor):
        return graph_of(target)
    if isinstance(getattr(target, "graph", None), Graph):  # a stage of a compiled function
        return target.graph  # type: ignore[no-any-return]
    if hasattr(target, "named_parameters") and inputs:
        return capture(target, *inputs)
    if hasattr(target, "named_parameters"):
        raise GraphError("a module has no graph of its own: give `inputs=` to call both modules with")
    raise GraphError(
        f"diff compares graphs, tensors and modules, not {type(target).__name__}; of a function, take "
        f"tg.capture(function, *example_args)"
    )


def _compare_numbers(found: Difference, matching: Matching, inputs: tuple[Any, ...]) -> None:
    values = gradients = 0
    try:
        found.values, values = values_apart(matching, inputs)
    except TinygraphError as error:
        found.notes += (f"values were not compared: {error}",)
    else:
        try:
            found.gradients, gradients = gradients_apart(matching, inputs)
        except TinygraphError as error:  # an op without a derivative, such as one that a pass made
            found.notes += (f"gradients were not compared: {error}",)
    found.compared = (values, gradients)


def _changes(matching: Matching) -> tuple[list[Change], list[Change]]:
    """The matched nodes that differ; apart from them those whose types merely follow their operands'."""
    changed, following = [], []
    retyped: set[int] = set()
    for node in matching.nodes_b:
        before = matching.backward.get(id(node))
        if before is None or before is node:
            continue
        details = _leaf_details(before, node) if isinstance(node, Leaf) else _details(matching, before, node)
        types = _types_detail(before, node)
        if types:
            retyped.add(id(node))
        if types and not details and any(id(parent) in retyped for parent in node.parents()):
            following.append(Change(before, node, (types,)))
        elif details or types:
            changed.append(
                Change(before, node, (*details, *((types,) if types else ())), _inside(before, node))
            )
    return changed, following


def _inside(before: Node, after: Node) -> tuple[tuple[str, Difference], ...]:
    """How the bodies of two loops or choices differ, by what their op calls them."""
    one, other = subgraphs_of(before), subgraphs_of(after)
    return tuple(
        (name, _structure(Matching(one[name].graph, other[name].graph)))
        for name in one
        if name in other and one[name] != other[name]
    )


def _types_detail(before: Node, after: Node) -> str:
    if before.output_types == after.output_types:
        return ""
    one, other = (" ".join(map(str, node.output_types)) for node in (before, after))
    return f"{one} → {other}"


def _leaf_details(before: Node, after: Leaf) -> list[str]:
    assert isinstance(before, Leaf)
    details = []
    if before.name != after.name:
        details.append(f"was called {before.name!r}")
    if before.requires_grad != after.requires_grad:
        details.append(f"{'requires' if after.requires_grad else 'no longer requires'} a gradient")
    if (
        before.kind == "input"
        or before.value is None
        or after.value is None
        or isinstance(after.value, Generator)
    ):
        return details
    if constant_key(before.value) != constant_key(after.value) and before.types == after.types:
        details.append(f"values: {gap(before.value, after.value)}")
    return details


def _details(matching: Matching, before: Node, after: Node) -> list[str]:
    details = []
    if before.op.identity != after.op.identity:
        alike = before.op.name == after.op.name
        details.append(f"was {before.op.name}" + (f", another op, of {before.op.origin}" if alike else ""))
    if before.phase != after.phase:
        details.append(f"was in the {before.phase} phase")
    one, other = settings_with_defaults(before), settings_with_defaults(after)
    for name in dict.fromkeys((*one, *other)):
        if before.op is not after.op and (name not in one or name not in other):
            continue  # another op has other settings
        if repr(one.get(name)) == repr(other.get(name)):
            continue
        if any(key.partition("[")[0] == name for key in (*subgraphs_of(before), *subgraphs_of(after))):
            details.append(f"{name} changed")
        else:
            details.append(f"{name} {one.get(name)!r} → {other.get(name)!r}")
    if before.op is not after.op and len(before.inputs) != len(after.inputs):
        return details
    return details + _operand_details(matching, before, after)


def _operand_details(matching: Matching, before: Node, after: Node) -> list[str]:
    details = []
    for i in range(max(len(before.inputs), len(after.inputs))):
        one = before.inputs[i] if i < len(before.inputs) else None
        other = after.inputs[i] if i < len(after.inputs) else None
        if _same_end(matching, one, other):
            continue
        name = after.op.operand_at(i).name if i < len(after.inputs) else before.op.operand_at(i).name
        details.append(f"{name}: {_end_text(one)} → {_end_text(other)}")
    return details


def _same_end(matching: Matching, one: object, other: object) -> bool:
    """Whether an operand or output of `a` is the matching one of `b`."""
    if is_recorded(one) and is_recorded(other):
        return edge_index(one) == edge_index(other) and matching.same(edge_node(one), edge_node(other))
    if is_recorded(one) or is_recorded(other):
        return False
    return constant_key(one) == constant_key(other)


def _end_text(end: object) -> str:
    if is_recorded(end):
        index = edge_index(end)
        return title(edge_node(end), types=False) + (f" [{index}]" if index else "")
    if end is None:
        return "nothing"
    types = type_of(end)
    return (
        repr(end.item() if isinstance(end, np.generic) else end) if types.shape == () else f"constant {types}"
    )


def _interface(matching: Matching) -> list[str]:
    """What is different about the inputs, outputs and updated states, one sentence each."""
    a, b = matching.a, matching.b
    sentences = []
    before = [matching.forward.get(id(leaf)) for leaf in a.inputs]
    if len(a.inputs) == len(b.inputs) and before != list(b.inputs):
        sentences.append("the inputs come in another order")
    if len(a.outputs) != len(b.outputs):
        sentences.append(f"{len(a.outputs)} output(s) → {len(b.outputs)}")
    for i, (one, other) in enumerate(zip(a.outputs, b.outputs, strict=False)):
        if not _same_end(matching, one, other):
            sentences.append(f"output {i}: {_end_text(one)} → {_end_text(other)}")
    for what in ("updates", "gradients"):
        old = {id(matching.forward.get(id(leaf), leaf)): (leaf, value) for leaf, value in getattr(a, what)}
        new = {id(leaf): (leaf, value) for leaf, value in getattr(b, what)}
        for key in dict.fromkeys((*old, *new)):
            leaf, one = old.get(key, (None, None))
            after, other = new.get(key, (None, None))
            named = (after or leaf).describe()
            if leaf is None or after is None or not _same_end(matching, one, other):
                sentences.append(f"{what[:-1]} of {named}: {_end_text(one)} → {_end_text(other)}")
    return sentences
