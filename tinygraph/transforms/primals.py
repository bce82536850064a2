"""Primals: the fresh, tracked copies of its arguments that a transform differentiates with respect to.

Also the question every transform asks at its end: does anything outside still influence the result? If so the result
stays a tensor, recorded; if not, arrays come out where arrays went in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import numpy as np

from tinygraph.core.engine import ancestors
from tinygraph.core.modes import mode, modes
from tinygraph.core.node import Edge, Leaf, Node, Port, edge_node
from tinygraph.core.registry import ops
from tinygraph.core.tensor import Captured, CapturedArray, Tensor, wants_gradient
from tinygraph.core.types import ArrayType, as_value, require_plain, type_of
from tinygraph.core.views import lies_in_leaf
from tinygraph.errors import DTypeError, SettingError


class Outside(IntEnum):
    """What influences a result from outside of a transform.

    PLAIN: nothing that is recorded. CAPTURED: what a capture in progress records, and an eager run would not.
    RECORDED: what an eager run records as well.
    """

    PLAIN = 0
    CAPTURED = 1
    RECORDED = 2


class Primals:
    """Tracked copies of some values, and what they were copied from.

    Attributes:
        given: the values as the user passed them.
        tensors: the copies, each a leaf, or an identity node of a tensor that is itself recorded.

    Those that are kept while user's code runs, which may write what it gave, have memory of their own.
    """

    def __init__(self, given: Sequence[Any], transform: str, kept: bool = False) -> None:
        self.given = [_checked(value, i, transform) for i, value in enumerate(given)]
        self.tensors = [_fresh(value, kept) for value in self.given]

    @contextmanager
    def differentiated(self) -> Iterator[None]:
        """Run a function on them: no value of theirs may leave, and in a capture `requires_grad` answers as eagerly."""
        capture = modes.current.capture
        added = set() if capture is None else {id(edge_node(edge)) for edge in self.edges} - capture.primals
        if capture is not None:
            capture.primals = capture.primals | added
        try:
            with mode(primals=tuple(map(edge_node, self.edges))):
                yield
        finally:
            if capture is not None:
                capture.primals = capture.primals - added

    @property
    def edges(self) -> list[Edge]:
        return [_edge(tensor) for tensor in self.tensors]

    @property
    def floor(self) -> int:
        return min((edge_node(edge).order for edge in self.edges), default=0)

    @property
    def with_tensors(self) -> bool:
        """Whether any of them was given as a tensor: then tensors come out."""
        return any(_is_tensor(value) for value in self.given)

    def reached(self, outputs: Iterable[Any]) -> list[Node]:
        """The nodes between the primals and the outputs."""
        edges = [out._edge for out in outputs if isinstance(out, Tensor) and out._edge is not None]
        return ancestors(map(edge_node, edges), floor=self.floor)

    def from_before(self, outputs: Iterable[Any]) -> list[Tensor]:
        """The outputs that are older than the primals: what the function returns without computing it."""
        recorded = [out for out in outputs if isinstance(out, Tensor) and out._edge is not None]
        return [out for out in recorded if edge_node(_edge(out)).order < self.floor]

    def live_outside(self, nodes: Sequence[Node], extra: Iterable[Any] = ()) -> Outside:
        """What of the values from before the primals that influence the nodes, or are among `extra`, is recorded.

        What was made since - the primals, those of a transform inside, a leaf of the function's own - is not outside.
        """
        mode = modes.current
        capture = mode.capture
        if not mode.recording and capture is None:
            return Outside.PLAIN
        floor = self.floor
        given = [value for value in (*self.given, *extra) if isinstance(value, Tensor)]
        before = [edge_node(value._edge) for value in given if value._edge is not None]
        for node in nodes:
            for entry in node.inputs:
                source = entry.node if entry.__class__ is Port else entry
                if isinstance(source, Node) and source.order < floor and not _untracked(source):
                    before.append(source)
        if capture is None:
            return Outside.RECORDED if before else Outside.PLAIN
        if any(map(_is_tensor, given)) or (
            mode.recording and any(wants_gradient(node, capture.primals) for node in before)
        ):
            return Outside.RECORDED
        captured = before or any(node.saved is None and not isinstance(node, Leaf) for node in nodes)
        return Outside.CAPTURED if captured else Outside.PLAIN

    def released(self, value: Any, live: Outside) -> Any:
        """A result as the caller should get it."""
        if live is Outside.CAPTURED and isinstance(value, Tensor) and value._edge is not None:
            return value if isinstance(value, Captured) else CapturedArray(None, value._edge)
        if live is Outside.RECORDED:
            return value if isinstance(value, Tensor) else Tensor(value)
        plain = as_value(value._value if isinstance(value, Tensor) else value)
        return Tensor(plain) if self.with_tensors else plain


def positions(argnums: int | Sequence[int], count: int, transform: str) -> tuple[list[int], bool]:
    """`argnums` as non-negative positions, and whether it is one number: then one derivative comes out, not a tuple.

    Raises:
        SettingError: what is no whole number, a position that the call has no argument for, or one that is named twice.
    """
    one = not isinstance(argnums, Iterable)
    numbers: list[Any] = list(argnums) if isinstance(argnums, Iterable) else [argnums]
    where = f"{transform}: argnums={argnums!r}"
    if not numbers or any(isinstance(i, bool | str) or not isinstance(i, int | np.integer) for i in numbers):
        raise SettingError(f"{where} must be the position of an argument, or several: 0, or (0, 2)")
    found = [int(i) % count if count and -count <= i < count else -1 for i in numbers]
    if -1 in found:
        raise SettingError(f"{where}, but the call has {count} positional argument(s)")
    if len(set(found)) < len(found):
        raise SettingError(f"{where} names an argument twice: name each once, and use its derivative twice")
    return found, one


def _untracked(source: Node) -> bool:
    return isinstance(source, Leaf) and not source.requires_grad


def _is_tensor(value: Any) -> bool:
    """Whether a value is a tensor of the user's, and no array that is captured."""
    return isinstance(value, Tensor) and not isinstance(value, Captured)


def _edge(tensor: Tensor) -> Edge:
    assert tensor._edge is not None
    return tensor._edge


def _checked(value: Any, i: int, transform: str) -> Any:
    if not isinstance(value, Tensor):
        require_plain(value)
        value = np.asarray(value)
    types: ArrayType = value.type if isinstance(value, Tensor) else type_of(value)
    if not types.differentiable:
        raise DTypeError(
            f"{transform} with respect to argument {i}, which is {types}: integers and booleans have no derivatives. "
            f"Pass floats, for example {'1.0 instead of 1' if types.size == 1 else 'array.astype(float)'}"
        )
    return value


def _fresh(value: Any, kept: bool) -> Tensor:
    if isinstance(value, Tensor) and value._edge is not None:
        with_node: Tensor = ops.copy(value) if kept and lies_in_leaf(value) else ops.identity(value)
        return Tensor(None, with_node._edge) if isinstance(with_node, Captured) else with_node
    plain = value._value if isinstance(value, Tensor) else value
    plain = np.array(plain) if kept else plain
    stored = plain if plain.ndim or plain.dtype.kind == "O" else plain[()]
    leaf = Leaf(stored, requires_grad=True, kind="input")
    return Tensor(stored, leaf, leaf)
