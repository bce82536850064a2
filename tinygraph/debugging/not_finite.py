"""Where values stop being finite: the op that made the first NaN or infinity, of which elements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node, edge_node, is_recorded
from tinygraph.core.types import Array
from tinygraph.debugging.reason import Reason, formula
from tinygraph.debugging.scripts import backward_script, forward_script
from tinygraph.explaining.cotangents import differentiable_positions, pulled, value_on

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

Test = Callable[[Any], np.ndarray[Any, Any]]  # which elements of an array are bad


def bad_elements(value: object, test: Test) -> bool:
    """Whether an array (or one of several) has elements that a test finds bad; integers have none."""
    if isinstance(value, tuple | list):
        return any(bad_elements(one, test) for one in value)
    return value is not None and np.asarray(value).dtype.kind in "fc" and bool(np.any(test(value)))


def forward_birth(graph: Graph, values: Mapping[int, Any], roots: Sequence[Any]) -> Reason | None:
    """The op that made the NaN or infinity in one of the roots; None if all of them are finite.

    NaN is followed before infinity: -inf in a mask is meant, and what makes NaN of it is the fault.
    """
    for test in (np.isnan, np.isinf):
        pending = [edge_node(root) for root in roots if bad_elements(value_on(root, values), test)]
        seen = {id(node) for node in pending}
        born: list[Node] = []
        while pending:
            node = pending.pop()
            worse = [parent for parent in node.parents() if bad_elements(values[id(parent)], test)]
            if not worse and not any(bad_elements(one, test) for one in _constants(node)):
                born.append(node)
            elif not worse:
                return _given(node, test)
            for parent in worse:
                if id(parent) not in seen:
                    seen.add(id(parent))
                    pending.append(parent)
        if born:
            return birth_at(min(born, key=lambda node: node.order), values, test)
    return None


def _constants(node: Node) -> list[Any]:
    return [
        one
        for one in node.inputs
        if not is_recorded(one) and isinstance(one, np.ndarray | np.generic | float)
    ]


def _given(node: Node, test: Test) -> Reason:
    """A constant that is not finite and was handed to an op."""
    for i, one in enumerate(node.inputs):
        if not is_recorded(one) and one is not None and bad_elements(one, test):
            where, value = first_bad(np.asarray(one), test)
            name = node.op.operand_at(i).name
            text = f"the plain array that {node.describe()} takes as {name!r} is {value} at {where}"
            return Reason("not finite from the start", text, node)
    raise AssertionError("one of the constants is bad")


def birth_at(node: Node, values: Mapping[int, Any], test: Test) -> Reason:
    """What to say of the node that made the first bad value."""
    if isinstance(node, Leaf):
        where, value = first_bad(np.asarray(values[id(node)]), test)
        return Reason("not finite from the start", f"{node.describe()} is {value} at {where}", node)
    operands = [value_on(one, values) if is_recorded(one) else one for one in node.inputs]
    return made_at(node, operands, values[id(node)], test)


def made_at(node: Node, operands: Sequence[Any], result: object, test: Test) -> Reason:
    """What to say of an op whose result has bad elements, its operands at the first of them included."""
    outputs = result if isinstance(result, tuple) else (result,)
    which = next(i for i, one in enumerate(outputs) if bad_elements(one, test))
    array = np.asarray(outputs[which])
    where, value = first_bad(array, test)
    count = int(np.count_nonzero(test(array)))
    which_output = f"output {which}" if len(outputs) > 1 else "its result"
    of = _operands_at(node, operands, array.shape, where)
    text = (
        f"{node.describe()} made {value} of operands that hold none: {which_output} "
        f"{f'is {value}' if array.ndim == 0 else f'is {value} at {where} ({count} of {array.size} elements are)'}"
        f"{f', where {of}' if of else ''}. The op: {formula(node)}"
    )
    return Reason(
        "not finite forward", text, node, forward_script(node, _smaller(node, operands, array, where))
    )


def backward_birth(graph: Graph, values: Mapping[int, Any], gradients: Mapping[int, Any]) -> Reason | None:
    """The op whose derivative made the first NaN or infinity of a cotangent that held none; None if there is none.

    Args:
        gradients: the cotangent of each node, by id.
    """
    for node in reversed(graph.nodes):
        cotangent = gradients.get(id(node))
        if cotangent is None or isinstance(node, Leaf) or bad_elements(cotangent, _not_finite):
            continue
        positions = differentiable_positions(node)
        if not positions:
            continue
        parts = pulled(node, positions, cotangent, values)
        for position, part in zip(positions, parts, strict=True):
            if bad_elements(part, _not_finite):
                operands = [value_on(one, values) if is_recorded(one) else one for one in node.inputs]
                return pulled_at_node(node, operands, position, cotangent, part)
    return None


def pulled_at_node(
    node: Node, operands: Sequence[Any], position: int, cotangent: Any, gradient: Any
) -> Reason:
    """What to say of a derivative that made of a finite cotangent a gradient that is not finite."""
    part = np.asarray(gradient)
    where, value = first_bad(part, _not_finite)
    name = node.op.operand_at(position).name
    here = np.asarray(operands[position])[where]
    count = int(np.count_nonzero(_not_finite(part)))
    given = tuple(cotangent) if isinstance(cotangent, list | tuple) else cotangent
    arriving = remedy = ""
    if not isinstance(given, tuple) and np.shape(given) == part.shape:
        arriving = f", and the gradient that arrives there is {_shown(np.asarray(given)[where])}"
        if node.kind == "elementwise" and np.asarray(given)[where] == 0 and np.isnan(part[where]):
            remedy = (
                f". 0 times an infinite slope is NaN: if a np.where(c, ...) does not choose this value, choose the "
                f"operand before the op as well, {node.op.name} of np.where(c, {name}, 1.0), with a number it takes"
            )
    text = (
        f"the derivative of {node.describe()} makes {value} of a gradient that is finite: the gradient of its operand "
        f"{name!r} is {value} at {where} ({count} of {part.size} elements are not finite), where {name} is "
        f"{_shown(here)}{arriving}. The op: {formula(node)}{remedy}"
    )
    if not isinstance(given, tuple) or all(one is not None for one in given):
        script = backward_script(node, operands, position, given, "not np.isfinite(gradient).all()")
    else:
        script = None
    return Reason("not finite backward", text, node, script)


def _not_finite(value: Numeric) -> Array:
    return np.asarray(np.logical_not(np.isfinite(value)))


def first_bad(array: np.ndarray[Any, Any], test: Test) -> tuple[tuple[int, ...], str]:
    """The index of the first bad element, and the element as text."""
    flat = int(np.argmax(np.ravel(test(array))))
    where = tuple(int(i) for i in np.unravel_index(flat, array.shape))
    return where, _shown(array[where])


def _shown(value: object) -> str:
    return f"{value:.6g}" if np.asarray(value).dtype.kind in "fc" else str(value)


def _operands_at(node: Node, operands: Sequence[Any], shape: tuple[int, ...], where: tuple[int, ...]) -> str:
    """The operands at an element of the output where they are met element by element, else their ranges."""
    words = []
    for i, operand in enumerate(operands):
        array = np.asarray(operand) if operand is not None else None
        if array is None or array.dtype.kind not in "biufc" or array.size == 0:
            continue
        name = node.op.operand_at(i).name
        if node.kind == "elementwise":
            words.append(f"{name} is {_shown(np.broadcast_to(array, shape)[where])}")
        elif array.size == 1:
            words.append(f"{name} is {_shown(array.reshape(-1)[0])}")
        elif array.dtype.kind in "biuf":
            words.append(f"{name} lies between {_shown(np.min(array))} and {_shown(np.max(array))}")
    return " and ".join(words)


def _smaller(
    node: Node, operands: Sequence[Any], result: np.ndarray[Any, Any], where: tuple[int, ...]
) -> Sequence[Any]:
    """Operands of one element alone, where the op meets them element by element and they are many."""
    if node.kind != "elementwise" or result.size <= 8:
        return operands
    return [
        one if one is None or np.ndim(one) == 0 else np.broadcast_to(np.asarray(one), result.shape)[where]
        for one in operands
    ]
