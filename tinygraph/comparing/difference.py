"""`Difference`: what two graphs do not have in common, as data and as text. `front.py` finds it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tinygraph.comparing.gaps import Gap
from tinygraph.core.graph import Graph
from tinygraph.core.node import Leaf, Node
from tinygraph.errors import printable

if TYPE_CHECKING:
    from tinygraph.drawing import Drawing

MOST_LINES = 200
MOST_GRADIENTS = 10


class Change(NamedTuple):
    """Two nodes that are the same one, what is different about them, and about the bodies of loops and choices."""

    before: Node
    after: Node
    details: tuple[str, ...]
    inside: tuple[tuple[str, Difference], ...] = ()


class Difference:
    """How graph `b` differs from graph `a`; true if it does. Prints as lines that begin with -, + and ~.

    Attributes:
        a, b: the two graphs.
        removed: nodes that only `a` has.
        added: nodes that only `b` has.
        changed: matched nodes with another op, setting, constant, operand, value of a leaf, or type.
        following: matched nodes of which only the type is different, because that of an operand is.
        interface: sentences on inputs, outputs and updated states.
        values: with inputs, (before, after, Gap) of the matched nodes that compute different values, in order.
        gradients: with inputs, (name, Gap) of the parameters and inputs whose gradients differ.
        compared: how many values and how many gradients were compared.
        notes: why numbers that were asked for were not compared.
    """

    def __init__(
        self,
        a: Graph,
        b: Graph,
        *,
        partners: dict[int, Node],
        removed: tuple[Node, ...],
        added: tuple[Node, ...],
        changed: tuple[Change, ...],
        following: tuple[Change, ...],
        interface: tuple[str, ...],
        values: tuple[tuple[Node, Node, Gap], ...] = (),
        gradients: tuple[tuple[str, Gap], ...] = (),
        compared: tuple[int, int] = (0, 0),
        notes: tuple[str, ...] = (),
    ) -> None:
        self.a, self.b = a, b
        self.partners = partners  # id of a node of b -> the node of a
        self.removed, self.added = removed, added
        self.changed, self.following = changed, following
        self.interface = interface
        self.values, self.gradients, self.compared, self.notes = values, gradients, compared, notes

    @property
    def same(self) -> bool:
        """Whether no difference was found: in structure, or in any number that was compared."""
        parts = (self.removed, self.added, self.changed, self.following, self.interface)
        return not any((*parts, self.values, self.gradients))

    def __bool__(self) -> bool:
        return not self.same

    def __str__(self) -> str:
        lines = list(self._lines())
        if len(lines) > MOST_LINES:
            lines[MOST_LINES:] = [f"... {len(lines) - MOST_LINES} more lines"]
        lines += self._numbers()
        if self.same:
            return printable("\n".join(["the graphs are the same", *lines]))
        heading = [f"--- {_heading(self.a)}", f"+++ {_heading(self.b)}"]
        counts = f"{len(self.removed)} removed, {len(self.added)} added, {len(self.changed)} changed"
        return printable("\n".join([*heading, *lines, counts]))

    def __repr__(self) -> str:
        counts = f"-{len(self.removed)} +{len(self.added)} ~{len(self.changed)}"
        return f"<Difference: {'none' if self.same else counts}>"

    def _lines(self) -> Iterator[str]:
        """One line a difference, in the order of `b`, what was removed where it stood in `a`."""
        removed = set(map(id, self.removed))
        changes = {id(change.after): change for change in self.changed}
        before = iter(self.a.nodes)
        passed: set[int] = set()
        for node in self.b.nodes:
            partner = self.partners.get(id(node))
            if partner is None:
                yield f"+ {title(node)}"
                continue
            while id(partner) not in passed and (one := next(before, None)) is not None:
                passed.add(id(one))
                if id(one) in removed:
                    yield f"- {title(one)}"
            if id(node) in changes:
                change = changes[id(node)]
                yield f"~ {title(node, types=False)}: {'; '.join(change.details)}"
                for name, inner in change.inside:
                    yield f"  in its {name}:"
                    yield from (f"    {line}" for line in inner._lines())
        yield from (f"- {title(one)}" for one in before if id(one) in removed)
        if self.following:
            yield f"~ {len(self.following)} more whose types follow, the last: {title(self.following[-1].after)}"
        yield from (f"~ {sentence}" for sentence in self.interface)

    def _numbers(self) -> Iterator[str]:
        values, gradients = self.compared
        if self.values:
            _, node, found = self.values[0]
            worst, name = max((gap, title(node)) for _, node, gap in self.values)
            yield f"~ values: {len(self.values)} of {values} differ, first {title(node)}: {found}"
            yield f"  largest at {name}: {worst}"
        elif values:
            yield f"values: the {values} compared are equal"
        for name, found in self.gradients[:MOST_GRADIENTS]:
            yield f"~ gradient of {name}: {found}"
        if len(self.gradients) > MOST_GRADIENTS:
            yield f"~ and {len(self.gradients) - MOST_GRADIENTS} more of {gradients} gradients"
        elif gradients and not self.gradients:
            yield f"gradients: the {gradients} compared are equal"
        yield from self.notes

    def draw(self, path: str | Path | None = None, *, style: str | Path = "light") -> Drawing:
        """Draw both graphs as one: what was removed, added and changed in colours of its own.

        Args:
            path: where to save it; the suffix chooses the format, as in `tg.draw`. `tg.load` finds graph `b` in it.
            style: as in `tg.draw`.
        """
        from tinygraph.comparing.picture import picture_of
        from tinygraph.drawing.drawing import Drawing
        from tinygraph.drawing.styles import load_style

        drawing = Drawing(picture_of(self), load_style(style), graph=self.b)
        if path is not None:
            drawing.save(path)
        return drawing

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": str(self), **self.draw()._repr_mimebundle_()}


def title(node: Node, *, types: bool = True) -> str:
    """A node in a few words: groups, name, op, types, and the line that made it."""
    path = "/".join(name for name, _ in node.scope)
    what = (
        node.describe()
        if isinstance(node, Leaf)
        else f"{f'{node.name!r} = ' if node.name else ''}{node.op.name}"
    )
    words = [f"{path}/{what}" if path else what]
    if node.phase != "forward":
        words.append(f"({node.phase})")
    if types:
        words.append(" ".join(map(str, node.output_types)))
        words += [f"at {node.source}"] if not isinstance(node, Leaf) and node.source is not None else []
    return " ".join(words)


def _heading(graph: Graph) -> str:
    count = sum(not isinstance(node, Leaf) for node in graph.nodes)
    return f"{graph.name or 'graph'}: {count} ops, {len(graph.parameters)} parameters"
