"""The capture under which nodes are made where no program runs: a graph is differentiated, or read from a file.

What a capture of a program does with states is in `tinygraph.tracing`.
"""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from tinygraph.core.node import Leaf
from tinygraph.core.tensor import Tensor


class OpenCapture:
    """A capture that lets everything through: states are read as what they are, and nothing is noted."""

    floor = -1
    primals: AbstractSet[int] = frozenset()

    def read(self, leaf: Leaf) -> Tensor:
        return Tensor(None, leaf, leaf)

    def entry(self, leaf: Leaf) -> Leaf:
        return leaf

    def constant(self, tensor: Tensor) -> None:
        """Its value is in the graph already."""

    def made(self, tensor: Tensor) -> None:
        """Nobody asks later which tensors are new."""

    def drew(self, tensor: Tensor) -> None:
        """Rules draw no random numbers."""
