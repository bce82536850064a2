"""Jacobians whose zeros are known: columns, or rows, that never meet get one colour, and share a pass."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType
from tinygraph.errors import SettingError

Array = np.ndarray[Any, Any]


class Colours(NamedTuple):
    """A colour for each column (or row): those of one colour have no row (column) in common."""

    of: Literal["columns", "rows"]
    colours: Array
    number: int

    def seeds(self, types: ArrayType) -> Array:
        """For each colour a direction: 1 at the elements that have it."""
        made = np.zeros((self.number, self.colours.size), types.dtype)
        made[self.colours, np.arange(self.colours.size)] = 1
        return made.reshape(self.number, *types.shape)


class Sparsity:
    """Where a matrix may differ from zero.

    Attributes:
        shape: of the matrix.
        rows, columns: the places, one after another.
        sparse: SciPy's module of sparse matrices, if the pattern is one of them.
    """

    def __init__(self, pattern: object) -> None:
        """Read a pattern.

        Raises:
            SettingError: it is no matrix.
        """
        self.sparse: Any = None
        if hasattr(pattern, "tocoo"):
            import scipy.sparse

            self.sparse = scipy.sparse
            places = pattern.tocoo()
            kept = places.data != 0
            self.shape = tuple(map(int, places.shape))
            self.rows, self.columns = np.asarray(places.row)[kept], np.asarray(places.col)[kept]
            return
        array = np.asarray(pattern)
        if array.ndim != 2:
            raise SettingError(
                f"sparsity has shape {array.shape}; it must be a matrix with a row for each element of the result and "
                f"a column for each of the argument"
            )
        self.shape = array.shape
        self.rows, self.columns = np.nonzero(array)

    def check(self, outputs: int, inputs: int) -> None:
        """Raise SettingError if a Jacobian has another shape."""
        if self.shape != (outputs, inputs):
            raise SettingError(
                f"sparsity has shape {self.shape}; the result has {outputs} elements and the argument {inputs}, so it "
                f"must be {(outputs, inputs)}"
            )

    def colours(self, way: Literal["forward", "reverse"] | None) -> Colours:
        """Colours for the columns, in forward mode, or for the rows, whichever may need fewer."""
        in_rows = np.bincount(self.rows, minlength=self.shape[0]).max(initial=0)
        in_columns = np.bincount(self.columns, minlength=self.shape[1]).max(initial=0)
        if way == "forward" or (way is None and in_rows <= in_columns):
            return Colours("columns", *_coloured(self.columns, self.rows, self.shape[1]))
        return Colours("rows", *_coloured(self.rows, self.columns, self.shape[0]))

    def expanded(self, found: Any, colours: Colours, shape: tuple[int, ...]) -> Any:
        """The matrix from what the passes found, one a colour, in the shape of the Jacobian."""
        if colours.of == "columns":
            own, other = colours.colours[self.columns], self.rows
        else:
            own, other = colours.colours[self.rows], self.columns
        if self.sparse is not None and not isinstance(found, Tensor):
            numbers = found[own, other] if self.rows.size else np.zeros(0, found.dtype)
            return self.sparse.csr_array((numbers, (self.rows, self.columns)), shape=self.shape)
        if not self.rows.size:
            return np.zeros(shape, found.dtype)
        numbers = ops.index(found, own, other, pattern=("array", "array"))
        whole = ops.scatter(numbers, self.rows, self.columns, pattern=("array", "array"), shape=self.shape)
        return ops.reshape(whole, shape=shape)


def _coloured(items: Array, meeting: Array, count: int) -> tuple[Array, int]:
    """A colour for each of `count` items, of which no two of one colour meet in the same place."""
    import networkx as nx

    graph = nx.Graph()
    graph.add_nodes_from(range(count))
    order = np.argsort(meeting, kind="stable")
    ends = np.flatnonzero(np.diff(meeting[order])) + 1
    for together in np.split(items[order], ends):
        graph.add_edges_from((int(a), int(b)) for i, a in enumerate(together) for b in together[:i])
    found = nx.greedy_color(graph, strategy="largest_first")
    colours = np.fromiter((found[i] for i in range(count)), np.intp, count)
    return colours, int(colours.max(initial=-1)) + 1
