"""A compiled call as part of the program around it: one node whose body is the captured graph.

The body is pure. Random numbers are drawn before it runs and are operands; new values of states are results, written
after it. What runs it, and its gradients, are plans of their own beside the one that runs where nothing is recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from tinygraph.compiler.building import build_plan
from tinygraph.compiler.passes import Pass, run_passes
from tinygraph.compiler.passes.look_through import facts_inside, look_through
from tinygraph.compiler.plan import Plan
from tinygraph.core.bodies import Body, substituted
from tinygraph.core.graph import Graph
from tinygraph.core.modes import scope
from tinygraph.core.node import Attached, Leaf, Node, Port, edge_node, edge_type, is_recorded
from tinygraph.core.op import op
from tinygraph.core.registry import ops
from tinygraph.core.state import write
from tinygraph.core.tensor import Tensor, tensor_of
from tinygraph.core.types import ArrayType
from tinygraph.errors import RecordingError
from tinygraph.tracing.trace import ATTACHED, Trace


class Recording(NamedTuple):
    """How calls of one captured graph are recorded, for one choice of arguments that require gradients.

    Attributes:
        call: what makes the call as a node; None where no gradient can flow through it.
        edges: else what the results carry, each None or an edge: a parameter itself, or one that refuses a gradient.
    """

    call: RecordedCall | None
    edges: tuple[Any, ...] | None


@dataclass(frozen=True)
class _Planner:
    """What plans bodies; it knows no body, so that whoever lets go of one lets go of its plans.

    Attributes:
        plans: where those that were made are noted.
    """

    passes: Sequence[Pass]
    exact: bool
    measured: bool
    plans: list[Plan]

    def __call__(self, graph: Graph) -> Callable[[Sequence[Any]], Sequence[Any]]:
        """What runs a body, planned again where a forward that was looked through reads another thing by now.

        The version's own facts do not cover that: a backward pass runs later, and its rules may hold other ops.
        """

        def made() -> tuple[Plan, list[Trace]]:
            passed = run_passes(graph, self.passes)[-1].graph
            plan = build_plan(passed, exact=self.exact, measured=self.measured)
            self.plans.append(plan)
            return plan, facts_inside(graph) if look_through in self.passes else []

        plan, facts = made()

        def run(values: Sequence[Any]) -> Sequence[Any]:
            nonlocal plan, facts
            if any(one.broken() is not None for one in facts):
                self.plans[:] = [one for one in self.plans if one is not plan]
                plan, facts = made()
            return plan.run(values)

        return run if facts else plan.run


class Recorder:
    """The recorded calls of one captured graph.

    Attributes:
        found: what `recording` said so far.
        plans: what was planned for them so far.
    """

    def __init__(
        self,
        graph: Graph,
        trace: Trace,
        passes: Sequence[Pass],
        name: str,
        exact: bool = False,
        measured: bool = False,
    ) -> None:
        self._graph, self._trace, self._name = graph, trace, name
        self._call: RecordedCall | None = None
        self._attached: list[Any] | None = None
        self.found: dict[int, Recording] = {}
        self.plans: list[Plan] = []
        self._planner = _Planner(passes, exact, measured, self.plans)

    def recording(self, wanted: int) -> Recording:
        """How a call is recorded.

        Args:
            wanted: bit i: input i of the graph is given as a tensor that requires a gradient.

        Raises:
            RecordingError: one does, and the function runs a backward pass of its own, which would have to reach it.
        """
        found = self.found.get(wanted)
        if found is None:
            found = self.found[wanted] = self._decide(wanted)
        return found

    def release(self) -> None:
        """Give back the memory of the plans."""
        self.found.clear()
        self.plans.clear()
        if self._call is not None:
            self._call.body.release()
            self._call = None

    def _decide(self, wanted: int) -> Recording:
        graph = self._graph
        if wanted and self._trace.ran_backward:
            i = next(i for i in range(len(graph.inputs)) if wanted >> i & 1)
            closed = len(graph.inputs) - len(self._trace.closed or ())
            what = f"argument {i} of" if i < closed else "a computed tensor that is closed over by"
            raise RecordingError(
                f"{what} the compiled function {self._name!r} requires a gradient, but the function runs a "
                f"backward pass of its own inside, which would have to reach the argument's .grad: leave the backward "
                f"pass to the caller, or pass tensor.detach()"
            )
        with_history = {
            key: leaf for key, leaf in self._trace.attached.items() if leaf.holder.__class__ is Attached
        }
        for key, leaf in with_history.items():
            if key in self._trace.passed:
                raise RecordingError(
                    f"the compiled function {self._name!r} differentiates through {leaf.describe()}, which {ATTACHED}"
                )
        given = {id(leaf) for i, leaf in enumerate(graph.inputs) if wanted >> i & 1}
        carries = carrying(graph, given | set(map(id, self._trace.versions)))
        own = [state if state is not None and state.requires_grad else None for state in self._trace.returned]
        if not any(carries) and not any(own):
            return Recording(None, None)
        if any(value is not None for _, value in graph.gradients):
            why = (
                "the function ran a backward pass of its own inside: return the loss from a compiled function that "
                "leaves the backward pass to the caller"
            )
            return Recording(None, self._refusing(carries, own, why))
        for key, leaf in with_history.items():
            if any(carrying(graph, {key})):
                why = f"it depends on {leaf.describe()}, which {ATTACHED}"
                if wanted:  # an edge that is made once leads to no argument, whose gradient would be 0
                    raise RecordingError(
                        f"no gradient flows from the compiled function {self._name!r} to its arguments: {why}"
                    )
                return Recording(None, self._refusing(carries, own, why))
        if self._call is None:
            self._call = RecordedCall(graph, self._trace, self._planner, self._name)
        overwritten = self._call.overwritten(given)
        if overwritten is not None and not wanted:
            why = (
                f"the function replaced {overwritten.describe()}, whose old value the gradient needs: run the backward "
                f"pass inside the function, before the update"
            )
            return Recording(None, self._refusing(carries, own, why))
        return Recording(self._call.carrying(carries, own), None)

    def _refusing(self, carries: Sequence[bool], own: Sequence[Leaf | None], why: str) -> tuple[Any, ...]:
        """Edges for the results that would carry a gradient, whose derivative rule refuses it.

        They are made once, so that a call costs nothing more.
        """
        types = [ArrayType(*t) for t, one in zip(self._graph.output_types, carries, strict=True) if one]
        edges = iter(self._refusals(types, f"a result of the compiled function {self._name!r}", why))
        return tuple(
            state if state is not None else next(edges) if one else None
            for one, state in zip(carries, own, strict=True)
        )

    def _refusals(self, types: Sequence[ArrayType], what: str, why: str) -> list[Any]:
        """An edge for a value of each type, through which no gradient flows."""
        name = self._name

        def forward(*xs: object) -> Any:
            return tuple(t.stand_in() for t in types) if len(types) != 1 else types[0].stand_in()

        def refuse(g: object) -> Any:
            raise RecordingError(
                f"no gradient flows through {what}: {why}. Where the gradient is not wanted, use result.detach() or "
                f".item()"
            )

        made = op(name=name, kind="composite", declare=False)(forward)
        made.vjp("xs")(refuse)
        states = [
            Tensor(leaf.value, leaf, leaf)
            for leaf in self._graph.leaves
            if leaf.requires_grad and leaf.value is not None
        ]
        if not states:  # what they carry comes from arguments alone, which are others in each call
            nobody = Leaf(np.zeros(()), requires_grad=True)
            states = [Tensor(nobody.value, nobody, nobody)]
        found = made(*states) if types else ()
        return [one._edge for one in (found if isinstance(found, tuple) else (found,))]

    def attach(self) -> None:
        """Give the states that were replaced by values which carry a gradient what makes others refuse it."""
        written = {id(leaf) for leaf, _ in self._graph.updates}
        attached = [leaf for key, leaf in self._trace.attached.items() if key in written]
        if self._attached is None:
            what = f"a state that the compiled function {self._name!r} replaced"
            self._attached = self._refusals([leaf.types for leaf in attached], what, f"it {ATTACHED}")
        for leaf, edge in zip(attached, self._attached, strict=True):
            holder = leaf.holder() if leaf.holder is not None else None
            if holder is not None and holder._leaf is leaf:
                value = leaf.value
                holder._value = value.copy() if isinstance(value, np.ndarray) else value
                holder._edge = edge
                if leaf.holder.__class__ is not Attached:
                    leaf.holder = Attached(holder)
                    self.found.clear()  # what is said of calls is another thing now


class RecordedCall:
    """Makes calls of a captured graph as nodes.

    Attributes:
        body: the graph as a pure one.
    """

    def __init__(
        self,
        graph: Graph,
        trace: Trace,
        planned: Callable[[Graph], Callable[[Sequence[Any]], Sequence[Any]]],
        name: str,
    ) -> None:
        self._count = len(graph.outputs)
        self._graph, self._name = graph, name
        self._draws = [node for node in graph.nodes if _draws(node)]
        self._carries: tuple[bool, ...] = ()
        self._own: tuple[Leaf | None, ...] = ()
        drawn = [
            Leaf(None, kind="input", types=node.output_types[0], name=node.name or node.op.name)
            for node in self._draws
        ]
        values = [value for _, value in graph.updates]
        stands: dict[int, Any] = {id(node): (leaf,) for node, leaf in zip(self._draws, drawn, strict=True)}
        ends = substituted(graph.nodes, [*graph.outputs, *values], stands)
        inputs = [*graph.inputs, *drawn]
        pure = Graph(inputs, ends, name=name)
        # nodes that stand for a parameter after it was replaced, at which its gradient arrives
        standing = [
            (edge_node(stands[id(node)][0]) if id(node) in stands else node, trace.versions[node])
            for node in graph.nodes
            if node in trace.versions
        ]
        replaced = {id(node) for node, _ in standing}
        given = {id(leaf) for leaf in inputs} | replaced
        states = {id(leaf): leaf for leaf in pure.leaves if id(leaf) not in given}
        states |= {id(leaf): leaf for _, leaf in standing}
        self._states = list(states.values())
        self.body = Body(
            pure, [*inputs, *self._states], name, run=planned, results=self._count, standing=standing
        )

    def carrying(self, carries: Sequence[bool], own: Sequence[Leaf | None]) -> RecordedCall:
        """The same with what its results carry: which a gradient, and which are a parameter itself."""
        made = object.__new__(RecordedCall)
        made.__dict__.update(self.__dict__, _carries=tuple(carries), _own=tuple(own))
        return made

    def overwritten(self, given: set[int]) -> Leaf | None:
        """A state that the graph replaces although its gradient needs the old value."""
        operands = self.body.operands
        wanted = tuple(i for i, leaf in enumerate(operands) if leaf.requires_grad or id(leaf) in given)
        written = {id(leaf) for leaf, _ in self._graph.updates}
        return next((one for one in self.body.kept(wanted) if id(one) in written), None)

    def __call__(self, arguments: Sequence[Any]) -> list[Any]:
        """The results for the values of the graph's inputs, tensors among them; states are written."""
        drawn = [node.op.forward(*_operands(node), **node.settings) for node in self._draws]
        states = [Tensor(leaf.value, leaf if leaf.requires_grad else None, leaf) for leaf in self._states]
        with scope(self._name):
            found = self.body(*arguments, *drawn, *states)
        for (leaf, _), value in zip(self._graph.updates, found[self._count :], strict=True):
            write(tensor_of(leaf), value._value)
        results = []
        for out, carries, own in zip(found[: self._count], self._carries, self._own, strict=True):
            edge = own if own is not None else out._edge if carries else None
            results.append(Tensor(out._value, edge))
        return results


def _draws(node: Node) -> bool:
    return not isinstance(node, Leaf) and any(
        isinstance(parent, Leaf) and parent.kind == "generator" for parent in node.parents()
    )


def _operands(node: Node) -> list[Any]:
    """The operands of a node that draws random numbers: its generator, and constants.

    Raises:
        RecordingError: what it draws depends on values that the graph computes.
    """
    found = []
    for entry in node.inputs:
        if isinstance(entry, Leaf) and entry.kind == "generator":
            found.append(entry.value)
        elif not is_recorded(entry):
            found.append(entry)
        else:
            raise RecordingError(
                f"{node.describe()} draws random numbers that depend on computed values, in a compiled function whose "
                f"result carries a gradient: draw standard numbers and scale them, or call it under tg.no_grad()"
            )
    return found


def carrying(graph: Graph, given: set[int]) -> list[bool]:
    """Which outputs of a captured graph eager code would have recorded.

    Args:
        given: ids of the inputs, and of the nodes that stand for parameters, that require gradients.
    """
    live = {id(leaf) for leaf in graph.leaves if leaf.requires_grad} | given
    detach = ops.detach
    for node in graph.nodes:
        if isinstance(node, Leaf) or node.op is detach:
            continue
        mask = node.live_rules.mask
        for i, entry in enumerate(node.inputs):
            if mask >> i & 1 and id(entry.node if entry.__class__ is Port else entry) in live:
                live.add(id(node))
                break
    return [
        is_recorded(out) and id(edge_node(out)) in live and edge_type(out).differentiable
        for out in graph.outputs
    ]
