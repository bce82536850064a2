"""`Impacts`: what `tg.explain` returns - a sequence of numbers with names, a table and a formula.

How they are found is in `front.py` and `uses.py`.
"""

from __future__ import annotations

import html
import io
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, overload

import numpy as np

from tinygraph.core.node import Leaf, edge_node, is_recorded
from tinygraph.core.types import Array
from tinygraph.errors import printable
from tinygraph.explaining.uses import Use

SHOWN = 64  # rows of a table or terms of a formula, unless asked for more


class Impact(NamedTuple):
    """What one element does to one output element of an op that reads it.

    Attributes:
        op: the op's name.
        output_element: the index of the output element.
        local: the derivative of the output element with respect to the explained one.
        cotangent: the derivative of the explained output with respect to the output element.
        contribution: their product.
        label: the output element with its name, `conv1[0,1,2,2]`.
        factor: the element of another operand that `local` is, `ch[0,0,3,3]`; None where it is no such element.
    """

    op: str
    output_element: tuple[int, ...]
    local: Any
    cotangent: Any
    contribution: Any
    label: str
    factor: str | None


class Group:
    """The impacts through one output of one use.

    Attributes:
        names: what the nodes that read the tensor are called, by id, each name once.
        elements: the output elements, a row each.
        local, cotangent: the derivatives there, in double precision (or exact, for Python objects).
    """

    def __init__(
        self, use: Use, output: int, names: dict[int, str], elements: Array, local: Array, cotangent: Array
    ) -> None:
        self.use = use
        self.output = output
        self.names = names
        self.elements = elements
        exact = "O" in (local.dtype.kind, cotangent.dtype.kind)
        self.local = local.astype(object) if exact else _wide(local)
        self.cotangent = cotangent.astype(object) if exact else _wide(cotangent)
        with np.errstate(all="ignore"):  # 0 times infinity is NaN, which the table says
            product = self.local * self.cotangent
        self.contribution = product.real if product.dtype.kind == "c" else product

    def impact(self, i: int) -> Impact:
        element = tuple(self.elements[i].tolist())
        return Impact(
            self.use.node.op.name,
            element,
            self.local[i : i + 1].tolist()[0],
            self.cotangent[i : i + 1].tolist()[0],
            self.contribution[i : i + 1].tolist()[0],
            labelled(self.name, element),
            self._factor(element),
        )

    @property
    def name(self) -> str:
        """What the op's output is called."""
        node = self.use.node
        name = self.names[id(node)]
        return f"{name}.{self.output}" if len(node.output_types) > 1 else name

    @cached_property
    def _factors(self) -> list[tuple[str, tuple[int, ...], Array]]:
        found = []
        for position, numbers in self.use.factors(self.output):
            found.append((self._operand_name(position), np.shape(self.use.operands[position]), numbers))
        return found

    def _operand_name(self, position: int) -> str:
        entry = self.use.node.inputs[position]
        if is_recorded(entry):
            source = edge_node(entry)
            name = (
                source.name
                or self.names.get(id(source))
                or (None if isinstance(source, Leaf) else source.op.name)
            )
            if name:
                return name
        return self.use.node.op.operand_at(position).name

    def _factor(self, element: tuple[int, ...]) -> str | None:
        for name, shape, numbers in self._factors:
            number = int(numbers[element])
            if number >= 0:
                return labelled(name, tuple(int(i) for i in np.unravel_index(number, shape)))
        return None


class Impacts(Sequence[Impact]):
    """Every impact of one element on a scalar output: a sequence of `Impact` whose contributions add up to `total`.

    Attributes:
        name: the explained tensor's name.
        element: the explained element's index.
        output_name: the output's name.
    """

    def __init__(
        self, groups: Sequence[Group], *, output_name: str, name: str, element: tuple[int, ...], exact: bool
    ) -> None:
        self._groups = tuple(groups)
        self._ends = list(accumulate(len(group.elements) for group in groups))
        self._exact = exact
        self.output_name = output_name
        self.name = name
        self.element = element

    @property
    def total(self) -> Any:
        """The gradient of the output with respect to the element."""
        if self._exact:
            return sum((one for group in self._groups for one in group.contribution.tolist()), 0)
        return float(sum(group.contribution.sum() for group in self._groups))

    @property
    def label(self) -> str:
        """The explained element with its name, `ker[1,0,2,2]`."""
        return labelled(self.name, self.element)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    @overload
    def __getitem__(self, index: int) -> Impact: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Impact, ...]: ...
    def __getitem__(self, index: int | slice) -> Impact | tuple[Impact, ...]:
        if isinstance(index, slice):
            return tuple(self[i] for i in range(*index.indices(len(self))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"impact {index} of {len(self)}")
        index %= len(self)
        place = bisect_right(self._ends, index)
        return self._groups[place].impact(index - (self._ends[place - 1] if place else 0))

    def __iter__(self) -> Iterator[Impact]:
        return (group.impact(i) for group in self._groups for i in range(len(group.elements)))

    # -- in words --------------------------------------------------------------------------------------------------

    def formula(self, limit: int = SHOWN) -> str:
        """The impact formula: cotangent times local derivative, summed over the impacts, with names and numbers."""
        gradient = f"∂{self.output_name}/∂{self.label}"
        lines = [f"{gradient} = sum over {_count(self)} of cotangent × local derivative"]
        for i, one in enumerate(self[:limit]):
            local = one.factor or f"∂{one.label}/∂{self.label}"
            lines.append(
                f"  {'+' if i else '='} ∂{self.output_name}/∂{one.label} × {local}"
                f"    ({_number(one.cotangent)} × {_number(one.local)} = {_number(one.contribution)})"
            )
        if len(self) > limit:
            lines.append(f"  + {len(self) - limit} more")
        return printable("\n".join([*lines, f"  = {_number(self.total)}"]))

    def __rich__(self) -> Any:
        return self._table(SHOWN)

    def _table(self, limit: int) -> Any:
        from rich import box
        from rich.table import Table
        from rich.text import Text

        title = Text(self._title())
        table = Table(
            box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, show_footer=True
        )
        *cells, total = self._cells(limit)
        for column, foot in zip(_COLUMNS, total, strict=True):
            table.add_column(
                column, Text(foot), justify="right" if column in _NUMBERS else "left", no_wrap=True
            )
        for row in cells:
            table.add_row(*map(Text, row))
        return table

    def _title(self) -> str:
        return f"{_count(self)} of {self.label} on {self.output_name}"

    def _cells(self, limit: int) -> list[tuple[str, ...]]:
        """The rows of the table, the totals last."""
        rows = [
            (one.op, one.label, one.factor or "", *map(_number, (one.local, one.cotangent, one.contribution)))
            for one in self[:limit]
        ]
        if len(self) > limit:
            rows.append((f"... {len(self) - limit} more", "", "", "", "", ""))
        return [*rows, ("total", "", "", "", "", _number(self.total))]

    def __str__(self) -> str:
        from rich.console import Console

        console = Console(file=io.StringIO(), width=10_000, color_system=None, legacy_windows=False)
        with console.capture() as capture:
            console.print(self)
        return printable("\n".join(line.rstrip() for line in capture.get().splitlines() if line.strip()))

    def __repr__(self) -> str:
        return printable(f"<Impacts: {self._title()}, total {_number(self.total)}>")

    def _repr_html_(self) -> str:
        def row(cells: Sequence[str], tag: str) -> str:
            return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"

        *rows, total = self._cells(SHOWN)
        body = "".join(row(cells, "td") for cells in rows)
        return (
            f"<table><caption>{html.escape(self._title())}</caption><thead>{row(_COLUMNS, 'th')}</thead>"
            f"<tbody>{body}</tbody><tfoot>{row(total, 'th')}</tfoot></table>"
        )


_COLUMNS = ("op", "output element", "factor", "local derivative", "cotangent", "contribution")
_NUMBERS = _COLUMNS[3:]


def labelled(name: str, element: tuple[int, ...]) -> str:
    """An element with its tensor's name.

    >>> labelled("ker", (1, 0, 2, 2))
    'ker[1,0,2,2]'
    """
    return f"{name}[{','.join(map(str, element))}]" if element else name


def _wide(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float | complex) else str(value)


def _count(impacts: Impacts) -> str:
    return f"{len(impacts)} impact{'' if len(impacts) == 1 else 's'}"
