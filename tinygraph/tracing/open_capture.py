"""The capture under which nodes are made where no program runs: a graph is differentiated, or read from a file.

What a capture of a program does with states is in `trace.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from collections.abc import Set as AbstractSet
from typing import Any, NoReturn

from tinygraph.core.node import Leaf, Node
from tinygraph.core.op import Op
from tinygraph.core.tensor import Tensor
from tinygraph.errors import CaptureError
from tinygraph.tracing.applying import apply_captured, recorded_before


class OpenCapture:
    """A capture that lets everything through: states are read as what they are, nothing is noted or relied on.

    Rules of ops run in it, and they write no state: a write is an error.
    """

    def __init__(self) -> None:
        self.floor = -1
        self.primals: AbstractSet[int] = frozenset()
        self.inputs_vary = True
        self.fixed: AbstractSet[int] = frozenset()
        self.scalars: AbstractSet[int] = frozenset()
        self.versions: dict[Node, Leaf] = {}
        self.ran_backward = False
        self.passed: set[int] = set()
        self.with_tensors = False
        self.covered: set[int] = set()

    def apply(self, op: Op, operands: tuple[Any, ...], entries: list[Any], settings: dict[str, Any]) -> Any:
        return apply_captured(self, op, operands, entries, settings)

    def read(self, leaf: Leaf) -> Tensor:
        return Tensor(None, leaf, leaf)

    def entry(self, leaf: Leaf) -> Leaf:
        return leaf

    def write(self, leaf: Leaf, value: object) -> NoReturn:
        raise _read_only(leaf)

    def attach(self, leaf: Leaf) -> None:
        """Nothing is written here."""

    def read_grad(self, leaf: Leaf) -> Tensor | None:
        return leaf.grad

    def write_grad(self, leaf: Leaf, gradient: Tensor | None) -> NoReturn:
        raise _read_only(leaf)

    def closed_over(self, tensor: Tensor) -> NoReturn:
        raise recorded_before(tensor)

    def constant(self, tensor: Tensor) -> None:
        """Its value is in the graph already."""

    def made(self, tensor: Tensor) -> None:
        """Nobody asks later which tensors are new."""

    def drew(self, tensor: Tensor) -> None:
        """Rules draw no random numbers."""

    def is_state(self, tensor: Tensor) -> bool:
        return tensor._leaf is not None and (tensor._leaf.requires_grad or tensor._leaf.kind == "buffer")

    def may_ask_for(self, tensor: Tensor) -> bool:
        return not self.is_state(tensor)

    def in_rows(self, leaf: Leaf) -> bool:
        return True

    def is_number(self, leaf: Leaf, number: int) -> bool:
        return False

    def rely(self, words: str, question: Callable[[], Any], key: Hashable = None) -> None:
        """What is made here depends on the graph alone."""

    def rely_at_end(self, words: str, make: Callable[[], Callable[[], Any]], key: Hashable) -> None:
        """As `rely`."""


def _read_only(leaf: Leaf) -> CaptureError:
    return CaptureError(
        f"{leaf.describe()} is written while a graph is differentiated or read from a file: rules of ops compute and "
        f"write no state; return the new value instead"
    )
