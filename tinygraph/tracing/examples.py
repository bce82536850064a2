"""The capture of one example: a function under `tg.vmap` runs on tensors that have types but no values.

Only what depends on the batched arguments is recorded. Everything else runs outside, as if vmap were not there - on
values, in the capture around it, or under another vmap - so that closures need no lifting and gradients reach them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, NoReturn

from tinygraph.core.batching import Batched
from tinygraph.core.capture import Capture
from tinygraph.core.modes import Mode, modes
from tinygraph.core.node import Leaf, Node, edge_index, edge_node, next_order
from tinygraph.core.op import Op
from tinygraph.core.state import drawn_from, read
from tinygraph.core.tensor import CapturedNumber, Tensor, tensor_of
from tinygraph.core.types import ArrayType, type_of
from tinygraph.errors import CaptureError
from tinygraph.tracing.applying import apply_captured, recorded_before


class Example:
    """A capture of what a function does to one of many examples.

    Attributes:
        own: the nodes and leaves that depend on the batched arguments, by id, in order of creation.
        operands: id of a node -> what its op was applied to: tensors from outside are the user's own.
        values: id of a leaf -> what it stands for: all examples of an argument, or a primal of a transform inside that
            all examples share, whose tape is the example's.
    """

    def __init__(self, transform: str, randomness: str | None = None, size: int = 0) -> None:
        """An example of none yet.

        Args:
            transform: whose capture it is, for messages.
            randomness: what a draw of random numbers is: "same" for all examples, "different" for each, or "error"; of
                transforms that leave no choice, None, which refuses it.
            size: how many examples there are, where their draws differ.
        """
        before = modes.current
        self._transform = transform
        self._randomness = randomness
        self._size = size
        self._count = len(before.primals)
        self._start = next_order()
        self._outer: Capture | None = before.capture
        self.own: dict[int, Node] = {}
        self.operands: dict[int, tuple[Any, ...]] = {}
        self.values: dict[int, Batched] = {}
        self.floor = -1  # nothing that is met is too old
        outer = self._outer
        self.primals: AbstractSet[int] = outer.primals if outer is not None else frozenset()
        self.inputs_vary = outer is not None and outer.inputs_vary
        self.fixed: AbstractSet[int] = frozenset() if outer is None else outer.fixed
        self.scalars: AbstractSet[int] = outer.scalars if outer is not None else frozenset()
        self.versions: dict[Node, Leaf] = outer.versions if outer is not None else {}
        self.covered: set[int] = outer.covered if outer is not None else set()
        self.ran_backward = False
        self.passed: set[int] = set()
        self._with_tensors = False
        self._made: dict[int, Tensor] = {}
        self._outer_tensors: dict[tuple[int, int], Tensor] = {}

    def attach(self, leaf: Leaf) -> None:
        """States are not written here."""

    def argument(self, value: object, name: str | None = None) -> Tensor:
        """One example of a batched argument, whose batch axis is in front."""
        shape, dtype = value.type if isinstance(value, Tensor) else type_of(value)
        wanted = isinstance(value, Tensor) and value.requires_grad
        types = ArrayType(shape[1:], dtype.newbyteorder("="))
        leaf = Leaf(None, kind="input", types=types, name=name, requires_grad=wanted)
        self.own[id(leaf)] = leaf
        self.values[id(leaf)] = Batched(value, True)
        return Tensor(None, leaf, leaf)

    def stand_in(self, types: ArrayType, name: str) -> Tensor:
        """What all examples share, as a value that is not there yet."""
        leaf = Leaf(None, kind="input", types=ArrayType(*types), name=name)
        self.own[id(leaf)] = leaf
        return Tensor(None, leaf, leaf)

    def give(self, argument: Tensor, value: object) -> None:
        """Let an argument stand for other examples."""
        self.values[id(argument._leaf)] = Batched(value, True)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run a block in this capture."""
        before = modes.current
        modes.current = Mode(before.recording, before.tangents, self, before.place, before.primals)
        try:
            yield
        finally:
            modes.current = before

    def depends(self, x: object) -> bool:
        """Whether a value depends on the batched arguments."""
        if not isinstance(x, Tensor) or x._edge is None:
            return False
        node = edge_node(x._edge)
        if id(node) in self.own:
            return True
        if not isinstance(node, Leaf) or node.order < self._start:
            return False
        if node.value is None:  # stands for a cotangent while a rule is transposed
            self.own[id(node)] = node
            return True
        if any(node is one for one in modes.current.primals[self._count :]):
            self.own[id(node)] = node
            self.values[id(node)] = Batched(node.value, False)
            return True
        return False

    @property
    def with_tensors(self) -> bool:
        return self._with_tensors

    @with_tensors.setter
    def with_tensors(self, value: bool) -> None:
        self._with_tensors = value
        if self._outer is not None:
            self._outer.with_tensors = value

    def apply(self, op: Op, operands: tuple[Any, ...], entries: list[Any], settings: dict[str, Any]) -> Any:
        """Record an op that depends on the batched arguments; any other is applied outside."""
        if op.kind == "random":
            return self._drawn(op, operands[0], settings)
        operands = tuple(map(self._with_value, operands))
        depending = [self.depends(x) for x in operands]  # each is asked: those that do are noted
        if not any(depending):
            result = self._outside(lambda: op(*operands, **settings))
            for one in result if isinstance(result, tuple) else (result,):
                if isinstance(one, Tensor):
                    self._made[id(one)] = one
            return result
        given = tuple(
            self._as_it_is(x) if isinstance(x, Tensor) else entry
            for x, entry in zip(operands, entries, strict=True)
        )
        result = apply_captured(self, op, operands, entries, settings)
        first = result[0] if isinstance(result, tuple) else result
        node = edge_node(first._edge)
        self.own[id(node)] = node
        self.operands[id(node)] = given
        return result

    def _drawn(self, op: Op, generator: Any, settings: dict[str, Any]) -> Any:
        """Random numbers, drawn outside: one draw for all examples, or an array with the batch axis in front."""
        if self._randomness not in ("same", "different"):
            choice = (
                ': choose randomness="different" (each example draws its own) or randomness="same" (all get one draw) '
                "in tg.vmap, or"
                if self._randomness
                else ", of which each example would need its own:"
            )
            raise CaptureError(
                f"{self._transform}: the function draws random numbers{choice} draw them for all examples outside, "
                f"with the batch axis in front, and pass them as an argument"
            )
        different = self._randomness == "different"
        if different:
            settings = {**settings, "shape": (self._size, *settings["shape"])}
        drawn = self._outside(lambda: drawn_from(generator._leaf.value, op.name, **settings))
        if isinstance(drawn, Tensor):
            self._made[id(drawn)] = drawn
        return self.argument(drawn, "draw") if different else drawn

    def _with_value(self, x: object) -> Any:
        """A tensor from outside with its value, which nodes of a capture do not keep for their rules."""
        if not isinstance(x, Tensor) or x._edge is None:
            return x
        key = id(edge_node(x._edge)), edge_index(x._edge)
        if x._value is None:
            return self._outer_tensors.get(key, x)
        self._outer_tensors.setdefault(key, Tensor(x._value, x._edge, x._leaf))
        return x

    def _as_it_is(self, x: Tensor) -> Tensor:
        """An operand that a later write gives no other value: that is refused for state, and makes others rebound."""
        if x._edge is None and self.is_state(x):
            return x
        kind = CapturedNumber if type(x) is CapturedNumber else Tensor
        return kind(x._value, x._edge, x._leaf)

    def _outside(self, compute: Callable[[], Any]) -> Any:
        before = modes.current
        modes.current = Mode(before.recording, before.tangents, self._outer, before.place, before.primals)
        try:
            return compute()
        finally:
            modes.current = before

    # -- states ----------------------------------------------------------------------------------------------------

    def read(self, leaf: Leaf) -> Tensor:
        found = self._outside(lambda: read(tensor_of(leaf)))
        return found if isinstance(found, Tensor) else tensor_of(leaf)

    def entry(self, leaf: Leaf) -> Leaf:
        return leaf

    def write(self, leaf: Leaf, value: object) -> None:
        raise CaptureError(
            f"{self._transform}: the function writes {leaf.describe()}, which all examples share, and each would write "
            f"a value of its own: return the new value instead (of a module, call eval() first), or write it outside"
        )

    def read_grad(self, leaf: Leaf) -> Tensor | None:
        found: Tensor | None = self._outside(lambda: tensor_of(leaf).grad)
        return found

    def write_grad(self, leaf: Leaf, gradient: Tensor | None) -> None:
        raise CaptureError(
            f"{self._transform}: the function sets the gradient of {leaf.describe()}, as backward() does, and each "
            f"example has one of its own: use tg.grad inside, which returns it"
        )

    def closed_over(self, tensor: Tensor) -> NoReturn:
        raise recorded_before(tensor)  # never asked: nothing is too old here

    def constant(self, tensor: Tensor) -> None:
        """Tensors of plain data are met again by the op that is applied to all examples."""

    def made(self, tensor: Tensor) -> None:
        self._made[id(tensor)] = tensor
        if self._outer is not None:
            self._outer.made(tensor)

    def drew(self, tensor: Tensor) -> None:
        """Draws are refused when they are made."""

    def is_state(self, tensor: Tensor) -> bool:
        return id(tensor) not in self._made

    def may_ask_for(self, tensor: Tensor) -> bool:
        return self._outer is None or self._outer.may_ask_for(tensor)

    def in_rows(self, leaf: Leaf) -> bool:
        """An example does, whose elements lie among those of others."""
        return self._outer is None or leaf.order >= self.floor or self._outer.in_rows(leaf)

    def is_number(self, leaf: Leaf, number: int) -> bool:
        return False

    def rely(self, words: str, question: Callable[[], Any], key: Hashable = None) -> None:
        if self._outer is not None:
            self._outer.rely(words, question, key)

    def rely_at_end(self, words: str, make: Callable[[], Callable[[], Any]], key: Hashable) -> None:
        if self._outer is not None:
            self._outer.rely_at_end(words, make, key)
