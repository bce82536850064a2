"""Laws about an op's life in a graph: captured without values, kept small, printed, drawn, written to a file."""

from __future__ import annotations

import gc
import importlib.util
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.engine import ancestors, fetch, part_of, rewrapped
from tinygraph.core.graph import graph_of
from tinygraph.core.modes import mode
from tinygraph.core.node import Leaf, edge_node
from tinygraph.core.op import Op
from tinygraph.core.registry import ops, registry
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten
from tinygraph.core.types import type_of
from tinygraph.errors import UnknownOpError
from tinygraph.testing.law import DoesNotApply, Finding, LawBroken, apart, on_op, on_samples
from tinygraph.testing.laws.values import same, shape_depends_on_values
from tinygraph.testing.likely_causes import likely_cause
from tinygraph.testing.trial import Trial, array_of, leaf_tensor
from tinygraph.tracing import capture

if TYPE_CHECKING:
    from tinygraph.core.op import Sample
    from tinygraph.core.registry import AnyOp


@on_samples
def captured(op: Op, sample: Sample) -> None:
    """Captured by its type alone, op and rules give a graph that computes what eager evaluation does."""
    trial = Trial.of(op, sample)
    if not trial.moving:
        raise DoesNotApply("no operand of the sample has a derivative")
    if shape_depends_on_values(trial):
        raise DoesNotApply("the result's shape depends on values")
    with np.errstate(all="ignore"):
        graph = capture(lambda *values: tuple(trial.results(*values)), *trial.values)
        expected = trial.results(*trial.values)
        found = flatten(graph(*trial.values))[0]
        for n, (one, wanted, stated) in enumerate(zip(found, expected, graph.output_types, strict=True)):
            if stated != type_of(wanted):
                raise LawBroken(
                    Finding(f"output {n} is captured as another type", "", str(type_of(wanted)), str(stated))
                )
            if not same(one, wanted, rtol=1e-12):
                raise LawBroken(Finding(f"output {n} of the captured graph differs", "", wanted, one))
    if sample.smooth and trial.outputs(*trial.values):
        _check_captured_gradient(trial)


def _check_captured_gradient(trial: Trial) -> None:
    weights = trial.weights()

    def loss(*values: object) -> Any:
        total: object = 0
        for w, out in zip(weights, trial.outputs(*values), strict=True):
            total = ops.add(total, ops.sum(ops.multiply(out, w)))
        return total

    graph = capture(loss, *trial.values)
    gradient = graph.gradient(list(graph.inputs))
    found = gradient(*trial.values)[1:]
    for i, one, expected in zip(trial.moving, found, trial.gradient(weights), strict=True):
        if not same(one, expected, 1e-9, trial.scale(weights)):
            cause = likely_cause(one, expected)
            raise LawBroken(
                Finding("the captured gradient differs", trial.name(i), expected, array_of(one), cause)
            )


@apart
@on_samples
def keeps_what_rules_ask_for(op: AnyOp, sample: Sample) -> None:
    """An operand whose value no rule asks for is freed with the user's last reference to it."""
    trial = Trial.of(op, sample)
    if not isinstance(op, Op) or not trial.moving:
        raise DoesNotApply("a composite, or nothing is recorded")
    values = trial.values
    watched = [weakref.ref(x) for x in values]
    # each value hangs on a tensor that looks computed: leaves keep theirs for the user's sake
    tensors = [Tensor(x, Leaf(np.zeros_like(x), requires_grad=True)) for x in values]
    out = flatten(trial.results(*tensors))[0]
    recorded = [one for one in out if isinstance(one, Tensor) and one._edge is not None]
    if not recorded:
        raise DoesNotApply("nothing is recorded")
    node = recorded[0].node
    assert node is not None
    kept = set(node.live_rules.values)
    views = [one._value for one in out if isinstance(one, Tensor)]
    allowed = [
        i in kept or any(np.may_share_memory(x, view) for view in views)
        for i, x in zip(trial.moving, values, strict=True)
    ]
    del values, tensors
    gc.collect(0)
    for i, reference, may in zip(trial.moving, watched, allowed, strict=True):
        if reference() is not None and not may:
            cause = "the forward keeps it in a global, a closure, a default argument or a cache"
            raise LawBroken(
                Finding("the operand's value is kept though no rule asks for it", trial.name(i), cause=cause)
            )


@apart
@on_op
def asks_for_the_least(op: Op, sample: Sample) -> None:
    """A value that a rule asks for takes part in the gradient of some sample; for a shape it asks for `x_type`."""
    if not isinstance(op, Op):
        raise DoesNotApply("a composite has no rules of its own")
    asked: dict[tuple[str, str], bool] = {}
    for one in op.samples:
        trial = Trial.of(op, one)
        if one.smooth and trial.moving and trial.outputs(*trial.values):
            for key, used in _uses(trial):
                asked[key] = asked.get(key, False) or used
    for (rule, name), used in asked.items():
        if not used:
            cause = (
                f"ask for {name}_type if only its shape is needed, leave it out (what is asked for is kept), or "
                f"add a sample in which it matters"
            )
            raise LawBroken(
                Finding(
                    f"rule {rule!r} asks for the value of {name!r} and does not use it", name, cause=cause
                )
            )


def _uses(trial: Trial) -> list[tuple[tuple[str, str], bool]]:
    """For each value that a rule asks for: whether its result depends on it."""
    node = trial.node()
    weights = iter(trial.weights())
    each = tuple(next(weights) if types.differentiable else None for types in node.output_types)
    cotangent = each if flattened_types(node) else each[0]
    found = []
    with mode(recording=True):
        for rule in node.live_rules.backward:
            if rule.function is None:
                continue
            saved = [_tracked(value) for value in rewrapped(node)]
            result = rule.function(cotangent, *fetch(node, rule, saved))
            parts = [part_of(node, result, place, rule) for _, place in rule.serves]
            edges = [part._edge for part in parts if isinstance(part, Tensor) and part._edge is not None]
            reached = {id(one) for one in ancestors(map(edge_node, edges))}
            for slot, value in zip(node.live_rules.slots, saved, strict=True):
                if slot is not None and slot >= 0 and isinstance(value, Tensor):
                    name = node.op.operand_at(slot).name
                    asks = any(
                        one.function is rule.function and name in one.asks for one in node.op.rules.values()
                    )
                    if asks and value.size:
                        found.append(((rule.function.__name__, name), id(value._edge) in reached))
    return found


def flattened_types(node: Any) -> bool:
    """Whether a node has several outputs."""
    return not hasattr(node.types, "dtype")


def _tracked(value: object) -> Any:
    """A saved value on a leaf of its own."""
    if isinstance(value, Tensor) and value._value is not None:
        return leaf_tensor(value._value)
    return leaf_tensor(value) if isinstance(value, np.ndarray) else value


@apart
@on_samples
def prints(op: AnyOp, sample: Sample) -> None:
    """The op, its node and its result can be printed."""
    trial = Trial.of(op, sample)
    tensors = list(map(leaf_tensor, trial.values))
    shown = [repr(op), *map(repr, trial.results(*tensors))]
    if isinstance(op, Op) and trial.moving:
        shown.append(repr(trial.node()))
    for text in shown:
        if not text.strip():
            raise LawBroken(Finding("something prints as nothing"))
    if op.name not in shown[0] or not op.formula:
        cause = "write a docstring whose first line is the formula"
        raise LawBroken(Finding("the op does not say what it computes", found=shown[0], cause=cause))


@apart
@on_op
def draws(op: Op, sample: Sample) -> None:
    """The graph of the op on its first sample can be drawn."""
    drawing = _function("tinygraph.drawing", "draw")
    drawn = drawing(_graph(op, op.samples)).source
    if op.name not in drawn:
        raise LawBroken(Finding("the drawing does not name the op", expected=op.name, found=drawn[:400]))


@on_samples
def survives_a_file(op: AnyOp, sample: Sample) -> None:
    """A graph with the op, written to a file and read back, computes the same."""
    save, load = _function("tinygraph.interop", "save_graph"), _function("tinygraph.interop", "load")
    try:
        entered = registry.find(op.name) is op
    except UnknownOpError:
        entered = False
    if isinstance(op, Op) and not entered:
        raise DoesNotApply("a file refers to ops by name, and this one is not entered in the registry")
    if shape_depends_on_values(Trial.of(op, sample)):
        raise DoesNotApply("the result's shape depends on values")
    graph = _graph(op, [sample])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.json"  # which needs no other package
        save(graph, path)
        again = load(path)
    for found, expected in zip(flatten(again())[0], flatten(graph())[0], strict=True):
        if not same(array_of(found), array_of(expected), rtol=1e-12):
            raise LawBroken(
                Finding(
                    "the graph read back computes something else", "", array_of(expected), array_of(found)
                )
            )


def _graph(op: AnyOp, samples: Any) -> Any:
    """The recorded graph of the first sample that has one."""
    for sample in samples:
        trial = Trial.of(op, sample)
        out = trial.results(*map(leaf_tensor, trial.values))
        recorded = [one for one in out if isinstance(one, Tensor) and one._edge is not None]
        if recorded:
            return graph_of(*recorded)
    raise DoesNotApply("nothing is recorded")


def _function(module: str, name: str) -> Any:
    """A function of a package that stands on top of this one's needs, if it is there."""
    if importlib.util.find_spec(module) is None:
        raise DoesNotApply(f"{module} is not there")
    found = getattr(importlib.import_module(module), name, None)
    if found is None:
        raise DoesNotApply(f"{module}.{name} is not there")
    return found
