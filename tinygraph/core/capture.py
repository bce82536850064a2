"""`Capture`: what the core asks of a capture in progress; `tinygraph.tracing` has the two there are.

While `modes.current.capture` is set, ops on tensors are recorded by their types alone, and states are read from and
written to the capture instead of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from tinygraph.core.node import Edge, Leaf, Node
    from tinygraph.core.op import Op
    from tinygraph.core.tensor import Tensor


class Capture(Protocol):
    """A capture in progress.

    Attributes:
        floor: what the capture makes has a creation number above it.
        primals: ids of the nodes that a running transform differentiates with respect to.
        inputs_vary: whether what it makes may be differentiated by any input: no program says by which.
        fixed: ids of inputs that it is not differentiated by all the same: cotangents that are plain arrays.
        scalars: ids of the inputs that are NumPy's scalars, not arrays.
        versions: the node that stands for a parameter after it was replaced -> the parameter.
        ran_backward: whether the program ran a backward pass.
        passed: ids of the leaves that such a pass came to.
        with_tensors: whether it read a tensor or called a module, so that its results are tensors.
        covered: ids of the modules whose attributes one question watches.
    """

    floor: int
    primals: AbstractSet[int]
    inputs_vary: bool
    fixed: AbstractSet[int]
    scalars: AbstractSet[int]
    versions: dict[Node, Leaf]
    ran_backward: bool
    passed: set[int]
    with_tensors: bool
    covered: set[int]

    def apply(self, op: Op, operands: tuple[Any, ...], entries: list[Any], settings: dict[str, Any]) -> Any:
        """Record an op that a tensor takes part in: tensors that have types and, as a rule, no values.

        Args:
            operands: what the op was called with.
            entries: the same as a node's inputs: edges, leaves and constants.
            settings: by name, immutable.

        Raises:
            CaptureError: an operand belongs to another run or capture.
            ShapeError, DTypeError, SettingError, OpError: as in an eager run.
        """

    def read(self, leaf: Leaf) -> Tensor:
        """The captured value of a state: what was last written to it, or the leaf itself."""

    def entry(self, leaf: Leaf) -> Edge:
        """What an op that reads a state gets as its input."""

    def write(self, leaf: Leaf, value: object) -> None:
        """Note that the program replaces a state by a tensor or array of its shape and dtype."""

    def attach(self, leaf: Leaf) -> None:
        """Note that a state was replaced by a value through which eager code would differentiate in later calls."""

    def read_grad(self, leaf: Leaf) -> Tensor | None:
        """What the captured program finds in a leaf's `.grad`."""

    def write_grad(self, leaf: Leaf, gradient: Tensor | None) -> None:
        """Note that the program sets a leaf's `.grad`; None clears it."""

    def closed_over(self, tensor: Tensor) -> Edge:
        """What an op gets as its input for a tensor that was computed and recorded before the capture.

        Raises:
            CaptureError: the graph would have to compute it anew.
        """

    def constant(self, tensor: Tensor) -> None:
        """Note that the program read a tensor of plain data, whose value becomes part of the graph."""

    def made(self, tensor: Tensor) -> None:
        """Note that the program made a tensor of plain data, which is no state."""

    def drew(self, tensor: Tensor) -> None:
        """Note that the program draws random numbers."""

    def is_state(self, tensor: Tensor) -> bool:
        """Whether a tensor that holds a value outlives the program, so that a write to it is an update."""

    def may_ask_for(self, tensor: Tensor) -> bool:
        """Whether Python code may read the value that a tensor holds."""

    def in_rows(self, leaf: Leaf) -> bool:
        """Whether an input lies in rows, on which the graph relies then: it decides which results are views."""

    def is_number(self, leaf: Leaf, number: int) -> bool:
        """Whether an input that is a Python integer has a value, on which the graph relies then, or has it not."""

    def rely(self, words: str, question: Callable[[], Any], key: Hashable = None) -> None:
        """Note that the graph is right only as long as a question has the answer it has now; once for each key."""

    def rely_at_end(self, words: str, make: Callable[[], Callable[[], Any]], key: Hashable) -> None:
        """Like `rely`, for what the first run of a program sets up: the question is made when the capture ends."""
