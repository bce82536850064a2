"""`changes`: what a step, or several, did to all values of a graph, beside what the gradient foretold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tinygraph.analysis.units import NUMBER, SHARE
from tinygraph.compiler.passes.rewriting import edges, rewrite, with_inputs
from tinygraph.core.graph import Graph, graph_of, replay
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, is_recorded
from tinygraph.core.state import Generator
from tinygraph.core.tensor import Tensor
from tinygraph.errors import RecordingError, SettingError, printable
from tinygraph.explaining.cotangents import gradients_of

if TYPE_CHECKING:
    from tinygraph.drawing import Drawing

SHOWN = 40  # rows of a table


class ChangedValue(NamedTuple):
    """One value of the graph: how large it was, how far it moved, and what its move alone does to the output.

    Attributes:
        name: of a parameter its name, of what an op made its groups and the op.
        node: the node in the graph that is drawn.
        before, after: norms.
        share: the norm of the difference, relative to the larger of these two.
        predicted: of a leaf with a gradient the sum of gradient times change; None of what is computed.
    """

    name: str
    node: Node
    before: float
    after: float
    share: float
    predicted: float | None


class Changes:
    """What changed in the values of a graph between two moments. Prints as a table; empty before the block has ended.

    Attributes:
        rows: every value that changed, in the graph's order.
        output: the first output before and after, if it is one number.
        predicted: what the gradient at the beginning foretold of it: the sum of all parameters' shares.
        unchanged: names of parameters that require a gradient and did not move.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.rows: tuple[ChangedValue, ...] = ()
        self.output: tuple[float, float] | None = None
        self.predicted: float | None = None
        self.unchanged: tuple[str, ...] = ()

    @property
    def parameters(self) -> tuple[ChangedValue, ...]:
        """The rows of leaves, those that moved furthest first."""
        rows = [row for row in self.rows if isinstance(row.node, Leaf)]
        return tuple(sorted(rows, key=lambda row: -row.share))

    def draw(self, path: str | Path | None = None, **wishes: Any) -> Drawing:
        """The graph, tinted by how far each value moved; `wishes` are `tg.draw`'s. A path in .html is a page."""
        from tinygraph.drawing import draw

        wishes.setdefault("show", ("names", "shapes", "changed"))
        shares = dict.fromkeys(self.graph.nodes, 0.0) | {row.node: row.share for row in self.rows}
        return draw(self.graph, path, changes=shares, **wishes)

    def __repr__(self) -> str:
        return printable(f"<Changes: {len(self.rows)} of {len(self.graph.nodes)} values>")

    def __str__(self) -> str:
        lines = [self._heading()]
        rows = [*self.parameters, *(row for row in self.rows if not isinstance(row.node, Leaf))]
        wide = max((len(row.name) for row in rows[:SHOWN]), default=0)
        for row in rows[:SHOWN]:
            words = f"  {row.name:{wide}}  changed by {SHARE.text(row.share):>6}"
            lines.append(
                words if row.predicted is None else f"{words}, and the output with it by {row.predicted:+.3g}"
            )
        if len(rows) > SHOWN:
            lines.append(f"  ... {len(rows) - SHOWN} more")
        if self.unchanged:
            lines.append(f"  did not change: {', '.join(self.unchanged)}")
        return printable("\n".join(lines))

    def _heading(self) -> str:
        if self.output is None:
            return f"{len(self.rows)} of {len(self.graph.nodes)} values changed"
        before, after = self.output
        foretold = "" if self.predicted is None else f"; its gradient foretold {self.predicted:+.3g}"
        return f"{NUMBER.text(before)} became {NUMBER.text(after)} ({after - before:+.3g}{foretold})"


@contextmanager
def changes(output: Tensor | Graph, *, inputs: object = ()) -> Iterator[Changes]:
    """Context manager: what a step, or whatever stands in the block, changes in the values behind an output.

    The graph's values are computed when the block begins and, on the same inputs and random numbers, when it has ended.

    Args:
        output: a recorded tensor, such as the loss of a batch, or a captured graph.
        inputs: of a captured graph with inputs what to call it with: an array or tensor, or a tuple of them.

    Yields:
        `Changes`, filled in at the end: prints as a table - first the parameters, with the share of the output's change
        that the gradient foretold for each, then what is computed of them; `.draw("step.svg")` tints a picture or page.

    Raises:
        RecordingError: the tensor was not recorded.
        StaleValueError: a value that the graph kept was written before the block.
        SettingError: `output` is neither tensor nor graph.

    >>> import tinygraph as tg
    >>> w = tg.tensor(3.0, requires_grad=True, name="w")
    >>> loss = w * w
    >>> with changes(loss) as found:
    ...     loss.backward()
    ...     with tg.no_grad():
    ...         w -= 0.1 * w.grad
    >>> found.output, round(found.predicted, 6)
    ((9.0, 5.76), -3.6)
    """
    given = tuple(inputs) if isinstance(inputs, tuple | list) else (inputs,)
    graph = _graph(output)
    _checked(graph)
    loose = rewrite(graph, lambda node, found: edges(with_inputs(node, found, node.place.origin)))
    generators = [one.value for one in loose.leaves if isinstance(one.value, Generator)]
    states = [one.state for one in generators]
    before = _copied(replay(loose, given))
    foretelling = _gradients(loose, before)
    _set(generators, states)
    found = Changes(loose)
    yield found
    later = [one.state for one in generators]
    _set(generators, states)
    after = replay(loose, given)
    _set(generators, later)
    _compare(found, before, after, foretelling)


def _graph(output: object) -> Graph:
    if isinstance(output, Graph):
        return output
    if not isinstance(output, Tensor):
        raise SettingError(
            f"changes() takes the recorded tensor or the graph whose values it compares, such as a loss, "
            f"not {type(output).__name__}"
        )
    return graph_of(output)


def _checked(graph: Graph) -> None:
    """Raise where a graph was recorded of values that are not there any more: the first moment would be another one."""
    if not any(isinstance(node, Leaf) and node.requires_grad for node in graph.nodes):
        raise RecordingError("nothing in this graph requires a gradient, so no step changes it")
    for node in graph.nodes:
        node.check_versions()


def _set(generators: Sequence[Generator], states: Sequence[Any]) -> None:
    for one, state in zip(generators, states, strict=True):
        one.state = state


def _copied(values: Mapping[int, Any]) -> dict[int, Any]:
    """The values, in memory that no step writes."""
    return {key: _copy(value) for key, value in values.items()}


def _copy(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_copy, value))
    return value.copy() if isinstance(value, np.ndarray) else value


def _gradients(graph: Graph, values: Mapping[int, Any]) -> dict[int, Any]:
    """The gradient of the first output by each leaf, by its id; none where that is not one number."""
    end = graph.outputs[0]
    if not is_recorded(end) or np.size(values[id(edge_node(end))]) != 1:
        return {}
    return gradients_of(graph, values)


def _compare(
    found: Changes, before: Mapping[int, Any], after: Mapping[int, Any], gradients: Mapping[int, Any]
) -> None:
    rows: list[ChangedValue] = []
    still: list[str] = []
    for node in found.graph.nodes:
        one, other = before.get(id(node)), after.get(id(node))
        if isinstance(one, Generator) or one is None or other is None:
            continue
        row = _row(node, _flat(one), _flat(other), gradients.get(id(node)))
        if row.share:
            rows.append(row)
        elif isinstance(node, Leaf) and node.requires_grad:
            still.append(row.name)
    found.rows, found.unchanged = tuple(rows), tuple(still)
    end = found.graph.outputs[0]
    if is_recorded(end):
        both = [_part(values[id(edge_node(end))], edge_index(end)) for values in (before, after)]
        if all(np.size(one) == 1 for one in both):
            found.output = (float(both[0]), float(both[1]))
            found.predicted = sum(row.predicted for row in rows if row.predicted is not None)


def _part(value: Any, index: int) -> Any:
    return value[index] if isinstance(value, tuple) else value


def _flat(value: Any) -> Any:
    """All numbers of a value, of several arrays where it has several parts, in double precision."""
    parts = value if isinstance(value, tuple) else (value,)
    arrays = [np.asarray(one) for one in parts]
    wide = np.complex128 if any(one.dtype.kind == "c" for one in arrays) else np.float64
    return np.concatenate([one.astype(wide).ravel() for one in arrays])


def _row(node: Node, one: Any, other: Any, gradient: Any) -> ChangedValue:
    norms = float(np.linalg.norm(one)), float(np.linalg.norm(other))
    apart = float(np.linalg.norm(other - one)) if one.shape == other.shape else max(norms)
    predicted = None
    if isinstance(node, Leaf) and node.requires_grad and gradient is not None:
        predicted = float((_flat(gradient) * (other - one)).sum().real)
    return ChangedValue(_name(node), node, *norms, apart / max(norms) if apart else 0.0, predicted)


def _name(node: Node) -> str:
    if isinstance(node, Leaf):
        return node.name or node.kind
    path = "/".join(name for name, _ in node.scope)
    what = node.name or node.op.name
    return f"{path}/{what}" if path else what
