"""Nodes: one application of one op each, and the leaves they grow from. Together they are the tape, and the graph.

A node refers to its inputs and never to its consumers or to tensors, so a tape has no reference cycles and is freed
the moment nobody holds its end. An entry of `Node.inputs` is

    Node    an op's only output            Port    one of several outputs of an op
    Leaf    a parameter, input or data     else    a constant, by reference (None: operand absent)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from types import CodeType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Protocol, TypeGuard
from weakref import ref

import numpy as np

from tinygraph.core.fingerprint import fingerprint
from tinygraph.core.modes import Phase, Place, Scope
from tinygraph.core.source import SourceLine, here, resolve
from tinygraph.core.types import ArrayType, type_of
from tinygraph.errors import RecordingError, StaleValueError, printable

if TYPE_CHECKING:
    from tinygraph.core.op import LiveRules, Op
    from tinygraph.core.tensor import Tensor

# Kinds of ops whose result may share its operand's memory.
VIEWING = frozenset({"shape", "indexing"})


class SettingsKey(NamedTuple):
    """Settings as a part of a key: in order, and as text, in which 0.0 is not -0.0, nor 1 True or 1.0."""

    pairs: tuple[tuple[str, Any], ...]
    text: str


def settings_key(settings: Mapping[str, Any]) -> SettingsKey:
    """Settings by name as a key that is equal only where no op can tell them apart."""
    if not settings:
        return _NO_SETTINGS
    pairs = tuple(sorted(settings.items()))
    return SettingsKey(pairs, repr(pairs))


_NO_SETTINGS = SettingsKey((), "")


# Creation order is a topological order: an input is always made before what uses it.
next_order: Callable[[], int] = count().__next__


class Node:
    """One application of one op.

    Attributes:
        op: the op; None for a leaf.
        inputs: entries in operand order (see the module's docstring).
        settings: the settings given, by name.
        types: the type of the output, or a tuple of types if there are several.
        live_rules: which rules are live and what they asked to keep.
        saved: what was kept, in the order of their `slots`; None while captured (there are no values).
        versions: (leaf, version) of each saved leaf and (array, fingerprint) of each plain array that is kept, to
            notice a later change.
        place: scope, phase and, for a backward node, the forward node it serves.
        order: creation number; inputs have smaller ones.
        name: the user's name for the output, if any.
    """

    # `hooks`, those on its gradients, is there only where somebody registered one
    __slots__ = (
        "code", "hooks", "inputs", "live_rules", "name", "offset", "op", "order", "place", "saved", "settings", "types",
        "versions",
    )  # fmt: skip

    op: Op
    inputs: tuple[Any, ...]
    settings: dict[str, Any]
    types: ArrayType | tuple[ArrayType, ...]
    live_rules: LiveRules
    saved: tuple[Any, ...] | None
    versions: tuple[tuple[Any, Any], ...] | None
    place: Place
    code: CodeType | SourceLine | None
    offset: int
    order: int
    name: str | None
    hooks: Mapping[int, Mapping[int, Callable[..., Any]]]

    @property
    def kind(self) -> str:
        """The op's kind; for a leaf "parameter", "input", "buffer" or "tensor"."""
        return self.op.kind

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first output."""
        return self.output_types[0].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the first output."""
        return self.output_types[0].dtype

    @property
    def output_types(self) -> tuple[ArrayType, ...]:
        """The types of all outputs."""
        types = self.types
        return (types,) if isinstance(types, ArrayType) else types

    @property
    def scope(self) -> Scope:
        """The path of groups this node belongs to; a backward node has its forward node's."""
        origin = self.place.origin
        return self.place.scope if origin is None else origin.scope

    @property
    def phase(self) -> Phase:
        return self.place.phase

    @property
    def forward_node(self) -> Node | None:
        """The node whose rule made this one, or None outside a backward pass."""
        return self.place.origin

    @property
    def served(self) -> Node:
        """The forward node that a backward one goes back to in the end; a forward one is its own."""
        node = self
        while node.place.origin is not None:
            node = node.place.origin
        return node

    @property
    def source(self) -> SourceLine | None:
        """The user's line that made this node; of a backward node, the line of the forward node that it serves."""
        node = self.served
        return resolve(node.code, node.offset)

    @property
    def input_types(self) -> tuple[ArrayType | None, ...]:
        """The types of the operands, constants among them; None where one is absent."""
        return tuple(None if entry is None else entry_type(entry) for entry in self.inputs)

    @property
    def all_settings(self) -> dict[str, Any]:
        """The settings, defaults included."""
        return {**self.op.signature.settings, **self.settings}

    def parents(self) -> list[Node]:
        """The nodes and leaves this one reads, in operand order, repeats included."""
        return [
            entry.node if isinstance(entry, Port) else entry
            for entry in self.inputs
            if isinstance(entry, (Node, Port))  # as `is_recorded`, without a call: every pass asks
        ]

    def again(self, inputs: Sequence[Any], place: Place, name: str | None, source: SourceLine | None) -> Node:
        """A captured node like this one that reads other inputs, of the same types."""
        return new_node(
            self.op, tuple(inputs), dict(self.settings), self.types, self.live_rules, place, (source, 0), name
        )

    def check_versions(self) -> None:
        """Raise if a saved leaf, or a plain array that is kept, has been written since."""
        for leaf, version in self.versions or ():
            if leaf.__class__ is not Leaf:
                if fingerprint(leaf) != version:
                    raise StaleValueError(
                        f"an array ({type_of(leaf)}) that {self.describe()} keeps for its backward pass was changed "
                        f"between that line and {here() or 'the backward pass'}: run backward before the array is "
                        f"written again, or give the op a copy of it"
                    )
            elif leaf.version != version:
                raise StaleValueError(
                    f"the value of {leaf.describe()} that {self.describe()} saved for its backward pass was changed "
                    f"afterwards{f' at {leaf.changed_at}' if leaf.changed_at else ''}: run backward before the "
                    f"update, or compute the output again after it"
                )

    def describe(self) -> str:
        """This node in a few words: name, op and line."""
        name = f"{self.name!r} = " if self.name else ""
        return f"{name}{self.op.name}{f' at {self.source}' if self.source else ''}"

    def __repr__(self) -> str:
        types = ", ".join(map(str, self.output_types))
        return printable(f"<Node {self.describe()} -> {types}>")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise RecordingError(
            "nodes, and the graphs that hold them, are neither pickled nor copied deeply: graph.save(path) and "
            "tg.load(path) write and read a graph, copy.copy(graph) makes another that shares the nodes"
        )


def new_node(
    op: Op,
    inputs: tuple[Any, ...],
    settings: dict[str, Any],
    types: ArrayType | tuple[ArrayType, ...],
    live_rules: LiveRules,
    place: Place,
    line: tuple[CodeType | SourceLine | None, int] = (None, 0),
    name: str | None = None,
) -> Node:
    """A node that has no values: of a captured program, or made again from another one.

    Every slot is filled here. The one other place is the eager path of `apply`, where a call more is 5 % of an op.
    """
    node: Node = object.__new__(Node)
    node.op = op
    node.inputs = inputs
    node.settings = settings
    node.types = types
    node.live_rules = live_rules
    node.saved = None
    node.versions = None
    node.place = place
    node.name = name
    node.code, node.offset = line
    node.order = next_order()
    return node


class Attached:
    """The holder of a state that a compiled function gave a value which carries a gradient; a weak reference, called.

    To eager code the holder is a computed tensor; the compiled function writes the leaf on.
    """

    __slots__ = ("_reference",)

    def __init__(self, holder: Tensor) -> None:
        self._reference = ref(holder)

    def __call__(self) -> Tensor | None:
        return self._reference()


def moved() -> None:
    """The holder of a leaf whose tensor stands for a computed value now."""


class Exchange(Protocol):
    """What makes gradients those of all processes of a program, while a backward pass goes on."""

    def begin(self) -> None:
        """A backward pass begins."""

    def arrived(self, leaf: Node, gradient: Any) -> None:
        """A leaf's gradient is complete in this process: an array, or a tensor of a pass that is recorded."""

    def finish(self) -> dict[Node, Any]:
        """The gradients of all that arrived, by their leaves."""


class Leaf(Node):
    """A value that no op made: a parameter, an input, a buffer, or a tensor made from data.

    Attributes:
        value: the value, or None for an input of a captured graph.
        requires_grad: whether gradients are wanted.
        version: how often the value has been written.
        changed_at: the line that wrote it last.
        holder: a weak reference to the tensor that holds the leaf, or None.
        exchange: what makes its gradient that of all processes of the program (`tinygraph.parallel`), or None.
        settings: `IN_ROWS` for an input that must lie so.
    """

    __slots__ = (
        "_grad",
        "changed_at",
        "exchange",
        "holder",
        "leaf_kind",
        "requires_grad",
        "value",
        "version",
    )

    types: ArrayType
    value: Any
    _grad: Any
    holder: Callable[[], Tensor | None] | None  # a weak reference to the tensor that holds the leaf

    def __init__(
        self,
        value: object,
        *,
        requires_grad: bool = False,
        name: str | None = None,
        kind: str = "tensor",
        types: ArrayType | None = None,
    ) -> None:
        self.op = None  # type: ignore[assignment]  # leaves are the nodes without an op
        self.inputs = ()
        self.settings = {}
        self.saved = ()
        self.versions = None
        self.place = ROOT
        self.code = None
        self.offset = 0
        self.order = next_order()
        self.name = name
        self.types = type_of(value) if types is None else types
        self.value = value
        self.requires_grad = requires_grad
        self.leaf_kind = kind
        self.version = 0
        self.changed_at: SourceLine | None = None
        self._grad = None
        self.holder = None
        self.exchange: Exchange | None = None

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient, a Tensor or None.

        One that is itself recorded (`create_graph`) leads back to this leaf: the tensor that holds the leaf keeps it,
        and the leaf refers to it weakly, so that there is no cycle.
        """
        found = self._grad
        return found() if found.__class__ is ref else found

    @grad.setter
    def grad(self, gradient: Tensor | None) -> None:
        held = self._grad
        if held.__class__ is ref or (gradient is not None and gradient._edge is not None):
            holder = self.holder() if self.holder is not None else None
            if holder is not None:
                recorded = gradient is not None and gradient._edge is not None
                holder._recorded_grad = gradient if recorded else None
                self._grad = ref(gradient) if recorded else gradient
                return
        self._grad = gradient

    @property
    def kind(self) -> str:
        return self.leaf_kind

    def describe(self) -> str:
        return f"{self.kind} {self.name!r}" if self.name else f"an unnamed {self.kind}"

    def __repr__(self) -> str:
        return f"<Leaf {self.describe()} {self.types}>"


class Port:
    """One output of a node that has several."""

    __slots__ = ("index", "node")

    types = ()  # like no value's: its node has them, and the engine compares those of edges of all kinds

    def __init__(self, node: Node, index: int) -> None:
        self.node = node
        self.index = index

    def __repr__(self) -> str:
        return f"<Port {self.index} of {self.node!r}>"


ROOT = Place()
IN_ROWS = "in_rows"  # of an input: it must lie in memory row by row, since that decides what is a view
Edge = Node | Port
Key = tuple[int, int]  # a value: the id of its node, and the number of the output


def is_recorded(entry: object) -> TypeGuard[Edge]:
    """Whether an entry of `Node.inputs` is a node, leaf or port, rather than a constant."""
    return isinstance(entry, (Node, Port))  # asked 10^6 times: faster than `Node | Port`


def edge_node(edge: Edge) -> Node:
    return edge.node if isinstance(edge, Port) else edge


def edge_index(edge: Edge) -> int:
    return edge.index if isinstance(edge, Port) else 0


def key_of(edge: Edge) -> Key:
    """What tells the value that an edge carries from all others."""
    return (id(edge.node), edge.index) if isinstance(edge, Port) else (id(edge), 0)


def edge_type(edge: Edge) -> ArrayType:
    """The type of the value an edge carries."""
    if isinstance(edge, Port):
        return edge.node.output_types[edge.index]
    types = edge.types
    assert isinstance(types, ArrayType)
    return types


def entry_type(entry: object) -> ArrayType:
    """The type of the value that an entry of `Node.inputs` is: an edge's, or a constant's own."""
    if isinstance(entry, Port):
        return entry.node.output_types[entry.index]
    if not isinstance(entry, Node):
        return type_of(entry)
    types = entry.types  # as `edge_type`, without a call: every pass asks
    assert isinstance(types, ArrayType)
    return types


def entry_key(entry: object) -> Key | None:
    """The key of the value that an entry stands for; None for a constant."""
    if isinstance(entry, Port):
        return id(entry.node), entry.index
    return (id(entry), 0) if isinstance(entry, Node) else None
