"""`contributions`: a gradient split exactly by branch - one term for every family of paths from a tensor to the output.

A gradient is linear in what arrives at each join, so what comes back through each branch adds up to the whole.
"""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, overload

import numpy as np

from tinygraph.core.graph import Graph, graph_of, replay
from tinygraph.core.node import Edge, Leaf, Node, Port, edge_index, edge_node, edge_type, is_recorded
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import Array
from tinygraph.errors import DTypeError, RecordingError, SettingError, printable
from tinygraph.explaining.cotangents import differentiable_positions, gradients_of, pulled
from tinygraph.explaining.front import distinct_names, find_edge, name_of, output_edge

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

LIMIT = 16
LONGEST_PATH = 6  # names of a path that are printed

PathStep = tuple[Node, int]  # a node, and the position of the operand that a path enters by


class Contribution(NamedTuple):
    """What comes back through one family of paths.

    Attributes:
        path: the names of the ops it goes through, from the tensor on.
        branches: of these, the ones at which the families part.
        value: its part of the gradient; the parts add up to the whole.
        norm: the size of that part.
        share: its part of the gradient's direction: the shares add up to 1; a negative one works against the whole. NaN
            where the whole is 0 or not finite and has no direction.
        ends: whether the path leads to the output; else it was not split further.
    """

    path: tuple[str, ...]
    branches: tuple[str, ...]
    value: Any
    norm: float
    share: float
    ends: bool


class _Family(NamedTuple):
    """Paths with a common beginning."""

    steps: tuple[PathStep, ...]
    branches: tuple[int, ...]  # positions in `steps` where families part
    ends: bool


class Contributions(Sequence[Contribution]):
    """The parts of a gradient, the largest first. Prints as a table; `tg.draw(contributions)` draws it.

    Attributes:
        graph: the graph of the output.
        gradient: the whole, as reverse mode gives it.
        total: the sum of the parts.
        error: the largest difference between the two, relative to the gradient's largest element.
        name, output_name: what is differentiated by what.
    """

    def __init__(
        self,
        graph: Graph,
        families: Sequence[tuple[_Family, Any]],
        gradient: Array,
        names: Mapping[int, str],
        name: str,
        output_name: str,
    ) -> None:
        self.graph, self.gradient, self.name, self.output_name = graph, gradient, name, output_name
        self.total = sum((value for _, value in families), start=np.zeros_like(gradient))
        self.error = _difference(self.total, gradient)
        with np.errstate(all="ignore"):
            whole = float((np.abs(gradient) ** 2).sum())
        self._directed = bool(0 < whole < np.inf)
        pairs = []
        for family, value in families:
            with np.errstate(all="ignore"):
                share = float((np.conj(gradient) * value).sum().real) / (whole or 1.0)
            path = tuple(names[id(node)] for node, _ in family.steps)
            branches = tuple(path[i] for i in family.branches)
            norm = float(np.sqrt((np.abs(value) ** 2).sum()))
            pairs.append((family, Contribution(path, branches, value, norm, share, family.ends)))
        pairs.sort(key=lambda pair: -abs(pair[1].share) if self._directed else 0.0)
        self._families = [family for family, _ in pairs]
        self._items = [item for _, item in pairs]

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Contribution: ...
    @overload
    def __getitem__(self, index: slice) -> list[Contribution]: ...
    def __getitem__(self, index: int | slice) -> Contribution | list[Contribution]:
        return self._items[index]

    def __iter__(self) -> Iterator[Contribution]:
        return iter(self._items)

    def flows(self) -> dict[tuple[int, int], float]:
        """The share that flows through each operand that a path enters by: (id of the node, position) -> share."""
        found: dict[tuple[int, int], float] = {}
        for family, item in zip(self._families, self._items, strict=True):
            for node, position in family.steps:
                key = (id(node), position)
                found[key] = found.get(key, 0.0) + item.share
        return found

    def __rich__(self) -> Any:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        title = f"∂{self.output_name}/∂{self.name} by branch"
        table = Table(title=Text(title), box=box.SIMPLE, title_justify="left")
        table.add_column("through")
        table.add_column("share", justify="right")
        table.add_column("norm", justify="right")
        for one in self:
            table.add_row(
                Text(_path_text(one)), f"{one.share:.1%}" if self._directed else "", f"{one.norm:.4g}"
            )
        size = float(np.sqrt((np.abs(self.gradient) ** 2).sum()))
        table.add_row("all", "100.0%" if self._directed else "", f"{size:.4g}", style="bold")
        return table

    def __repr__(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=100)
        console.print(self)
        return printable(str(console.file.getvalue()).rstrip())  # type: ignore[attr-defined]


def _difference(total: Array, gradient: Array) -> float:
    """The largest difference, relative to the largest element; what is infinite or NaN in both is no difference."""
    same = (total == gradient) | (np.isnan(total) & np.isnan(gradient))
    largest = float(np.abs(gradient[np.isfinite(gradient)]).max(initial=0.0)) or 1.0
    return float(np.abs(total[~same] - gradient[~same]).max(initial=0.0)) / largest


def contributions(output: Tensor, wrt: Tensor | str, *, limit: int = LIMIT) -> Contributions:
    """Split the gradient of a scalar with respect to a tensor exactly by the branches it comes back through.

    The paths from the tensor to the output part wherever a value is used more than once. They are followed and split,
    nearest first, as long as there are at most `limit` families; what is not split further counts as one.

    Args:
        output: a recorded scalar, such as a loss.
        wrt: the tensor, or its name.
        limit: how many families of paths there may be; more only if the tensor itself has more uses.

    Returns:
        `Contributions`: a sequence of `Contribution`, whose values add up to `.gradient`; `.error` says how closely.

    Raises:
        RecordingError: the output was not recorded or is no scalar, or does not depend on `wrt`.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, requires_grad=True, name="x")
    >>> [(one.path, float(one.value)) for one in contributions(x * x + x * 2, x)]
    [(('multiply', 'add'), 3.0), (('multiply', 'add'), 3.0), (('multiply#2', 'add'), 2.0)]
    """
    if limit < 1:
        raise SettingError(f"contributions: limit must be a positive int, not {limit!r}")
    out = output_edge(output)
    graph = graph_of(output)
    target = find_edge(wrt, graph.nodes)
    if edge_type(target).dtype.kind not in "fc":
        raise DTypeError(
            f"contributions: {name_of(target)} is {edge_type(target)}, which has no gradient to split"
        )
    for node in graph.nodes:
        node.check_versions()
    values = replay(graph)
    gradients = gradients_of(graph, values)
    uses = _uses(graph, gradients)
    families = _families(target, out, uses, limit)
    if not families:
        raise RecordingError(
            f"contributions: {name_of(out)} does not depend on {name_of(target)} differentiably"
        )
    whole = gradients[id(edge_node(target))]
    whole = whole[edge_index(target)] if isinstance(target, Port) else whole
    parts = [(family, _value(family, out, gradients, values)) for family in families]
    names = distinct_names([node for node in graph.nodes if not isinstance(node, Leaf)])
    return Contributions(graph, parts, np.asarray(whole), names, name_of(target), name_of(out))


def _uses(graph: Graph, gradients: Mapping[int, Any]) -> dict[tuple[int, int], list[PathStep]]:
    """The uses of every value that lead to the output, by (id of its node, its index there)."""
    found: dict[tuple[int, int], list[PathStep]] = {}
    for node in graph.nodes:
        if isinstance(node, Leaf) or id(node) not in gradients:
            continue
        for position in differentiable_positions(node):
            entry = node.inputs[position]
            found.setdefault((id(edge_node(entry)), edge_index(entry)), []).append((node, position))
    return found


def _families(
    target: Edge, out: Edge, uses: Mapping[tuple[int, int], list[PathStep]], limit: int
) -> list[_Family]:
    """The families of paths from the target to the output, split breadth first."""
    first = uses.get((id(edge_node(target)), edge_index(target)), [])
    parted = len(first) > 1
    waiting = deque(_Family((step,), (0,) if parted else (), False) for step in first)
    done: list[_Family] = []
    while waiting:
        family = waiting.popleft()
        node = family.steps[-1][0]
        following = [step for i in range(len(node.output_types)) for step in uses.get((id(node), i), [])]
        is_end = node is edge_node(out)
        branches = len(following) + is_end
        if branches > 1 and len(waiting) + len(done) + branches > limit:
            done.append(family)
            continue
        if is_end:
            done.append(family._replace(ends=True))
        at = (*family.branches, len(family.steps)) if branches > 1 else family.branches
        waiting.extend(_Family((*family.steps, step), at, False) for step in following)
    return done


def _value(family: _Family, out: Edge, gradients: Mapping[int, Any], values: Mapping[int, Any]) -> Array:
    """What comes back through a family: what arrives at its last op, pulled back along its steps."""
    last = family.steps[-1][0]
    if family.ends:
        types = edge_type(out)
        gradient = _as_output(out, np.ones(types.shape, types.dtype)[()])
    else:
        gradient = gradients[id(last)]
    for node, position in reversed(family.steps):
        (part,) = pulled(node, [position], gradient, values)
        gradient = _as_output(node.inputs[position], part)
    entry = family.steps[0][0].inputs[family.steps[0][1]]
    assert is_recorded(entry)
    return np.asarray(gradient[edge_index(entry)] if isinstance(entry, Port) else gradient)


def _as_output(edge: Edge, gradient: Numeric) -> Any:
    """A gradient on an edge as one of its node's output."""
    if not isinstance(edge, Port):
        return gradient
    parts: list[Any] = [None] * len(edge.node.output_types)
    parts[edge.index] = gradient
    return parts


def _path_text(one: Contribution) -> str:
    path = one.path
    if len(path) > LONGEST_PATH:
        kept = [name for i, name in enumerate(path) if name in one.branches or i in (0, len(path) - 1)]
        path = tuple(kept[:LONGEST_PATH])
    text = " → ".join(path)
    return text if one.ends else f"{text} → …"
