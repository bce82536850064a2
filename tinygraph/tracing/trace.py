"""Running a function on tensors that have types but no values, and keeping the nodes it makes.

Parameters and buffers that the function reads become leaves of the graph, by reference. Python code that asks for a
value (`if x > 0`, `float(x)`) raises at the user's line.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Hashable, Sequence
from collections.abc import Set as AbstractSet
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tinygraph.core.bodies import now, replaced
from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place, mode, modes
from tinygraph.core.node import (
    IN_ROWS,
    Attached,
    Edge,
    Leaf,
    Node,
    edge_index,
    edge_node,
    is_recorded,
    moved,
    next_order,
)
from tinygraph.core.op import Op
from tinygraph.core.registry import ops
from tinygraph.core.state import buffer
from tinygraph.core.tensor import CapturedArray, CapturedNumber, Handle, Tensor
from tinygraph.core.trees import Tree, flatten
from tinygraph.core.types import ArrayType, WeakType, as_value, lies_in_rows, require_plain, type_of
from tinygraph.errors import CaptureError, DTypeError
from tinygraph.tracing.applying import apply_captured, recorded_before
from tinygraph.tracing.collector import collection_paused
from tinygraph.tracing.facts import MISSING, Contents, Holding
from tinygraph.tracing.host import Printed
from tinygraph.tracing.watching import Effect, Watch

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric

# Arguments of these classes are inputs of the graph; members of enumerations and bools, which are ints, too, are not.
PYTHON_NUMBERS = frozenset({int, float, complex})


# Of a state.
ATTACHED = (
    "compiled calls replace by a value that carries a gradient: from the second call on eager code would differentiate "
    "through the calls before as well, and a compiled function does not. Write what the state becomes cut off, "
    "state[...] = value.detach(), or under tg.no_grad()"
)


class Trace:
    """What a capture in progress has read and written.

    Attributes:
        reads: the states (parameters, buffers, generators) that the program reads, by id, each with whether it
            required a gradient.
        writes: the states it replaces, each with the last captured value.
        versions: the node that stands for a parameter after it was replaced -> the parameter. The node is the key, not
            its id: the program may drop it, and a later node may then have its id.
        gradients: the leaves whose `.grad` it sets, each with the last captured value (None: cleared).
        gradients_read: the leaves whose `.grad` it reads, each with the state that holds it while the program runs.
        with_tensors: whether the program read a tensor or called a module, so that its results are tensors.
        constants: the tensors of plain data that it reads, by id, each with the value that it had.
        returned: for each result the state that it is, or None where it was computed.
        ran_backward: whether the program ran a backward pass.
        passed: ids of the leaves that such a pass came to.
        attached: the states that it replaces by values which carry a gradient, by id, or that another compiled function
            has replaced so: eager code would differentiate through them.
        closed: the tensors that were computed before and take part, by the ids of their edges, each with the input that
            stands for it; None where there can be none.
        draws: the nodes that draw random numbers, in order.
        floor: what this capture makes has a creation number above it.
        places, contents: what Python read while the program ran, as it was then.
        effects: what of it the program changed.
        printed: the user's lines that printed or logged.
        sees_all: whether there is nothing else that it may have read.
        covered: ids of the modules whose attributes a guard watches.
        scalars: ids of the inputs that are NumPy's scalars.
        arguments: of a compiled function, by the ids of their leaves; each with the number of the input.
        asked: what the graph relies on of the values of inputs: (input, number) -> whether it is that number;
            (input, None): it lies in rows, which decides what is a view.
        primals: ids of the nodes that a transform in the program differentiates with respect to at present.
        guards: Python facts that the capture relied on, such as a module's training flag: (words, question, answer).
    """

    def __init__(self, floor: int = -1) -> None:
        self.floor = floor
        self.reads: dict[int, tuple[Leaf, bool]] = {}
        self.writes: dict[int, tuple[Leaf, Any]] = {}
        self.versions: dict[Node, Leaf] = {}
        self.gradients: dict[int, tuple[Leaf, Tensor | None]] = {}
        self.gradients_read: dict[int, tuple[Leaf, Tensor]] = {}
        self.constants: dict[int, tuple[Tensor, Any]] = {}
        self.guards: dict[Any, tuple[str, Callable[[], Any], Any]] = {}
        self.places: list[Holding] = []
        self.contents: list[Contents] = []
        self.effects: list[Effect] = []
        self.printed: list[Printed] = []
        self.sees_all = True
        self.covered: set[int] = set()
        self.primals: AbstractSet[int] = frozenset()
        self.inputs_vary = False
        self.fixed: AbstractSet[int] = frozenset()
        self.scalars: AbstractSet[int] = frozenset()
        self.arguments: dict[int, tuple[int, Any]] = {}
        self.asked: dict[tuple[int, int | None], bool] = {}
        self.with_tensors = False
        self.returned: list[Leaf | None] = []
        self.ran_backward = False
        self.passed: set[int] = set()
        self.attached: dict[int, Leaf] = {}
        self.closed: dict[Any, tuple[Tensor, Leaf]] | None = None
        self.draws: list[Edge] = []
        self._at_end: dict[Any, tuple[str, Callable[[], Callable[[], Any]]]] = {}
        self._held: list[tuple[Any, Any, Any]] = []
        self._standing: dict[int, tuple[Any, Edge]] = {}
        self._made: dict[int, Tensor] = {}

    def apply(self, op: Op, operands: tuple[Any, ...], entries: list[Any], settings: dict[str, Any]) -> Any:
        """Record an op by its types alone; see `Capture.apply`."""
        return apply_captured(self, op, operands, entries, settings)

    def in_rows(self, leaf: Leaf) -> bool:
        """Whether an argument lies in rows, which the graph asks of this input in every call then."""
        if leaf.order < self.floor or len(leaf.types.shape) < 2:
            return True
        argument = self.arguments.get(id(leaf))
        if argument is None or not lies_in_rows(argument[1]):
            return False
        self.asked[argument[0], None] = True
        leaf.settings[IN_ROWS] = True
        return True

    def is_number(self, leaf: Leaf, number: int) -> bool:
        """Whether an argument is a number; a graph computes with whatever number it gets."""
        argument = self.arguments.get(id(leaf))
        if argument is None or self.closed is None:
            return False
        place, value = argument
        self.asked[place, number] = found = value == number
        return bool(found)

    def serves(self, values: Sequence[Any]) -> bool:
        """Whether the values of inputs are such as the captured graph relies on."""
        return all(
            lies_in_rows(values[i]) if number is None else (values[i] == number) is answer
            for (i, number), answer in self.asked.items()
        )

    def rely(self, words: str, question: Callable[[], Any], key: Hashable = None) -> None:
        """Note that the captured graph is right only as long as a question has the answer it has now.

        A fact with a `key` is noted once, however often the program relies on it.
        """
        key = object() if key is None else key
        if key not in self.guards:
            self.guards[key] = (words, question, question())

    def rely_at_end(self, words: str, make: Callable[[], Callable[[], Any]], key: Hashable) -> None:
        """Like `rely`, for what the first run of a program sets up: the question is made when the capture ends."""
        self._at_end.setdefault(key, (words, make))

    def broken(self) -> str | None:
        """What the capture relied on and is no longer so, in words; None if everything still holds."""
        for get, key, before in self._held:
            if get(key, MISSING) is not before:  # another object, which may be an equal number
                changed = next((place for place in self.places if not place.holds()), None)
                if changed is not None:
                    return changed.change()
                break
        for one in self.contents:
            if not one.holds():
                return one.change()
        for words, question, answer in self.guards.values():
            if question() != answer:
                return words
        for leaf, wanted in self.reads.values():
            if leaf.requires_grad is not wanted:
                return f"requires_grad of {leaf.describe()} changed"
            holder = leaf.holder
            if holder is moved or (holder.__class__ is Attached and id(leaf) not in self.attached):
                return f"{leaf.describe()} was replaced by a computed value"
        for tensor, value in self.constants.values():
            version = tensor._leaf.version if tensor._leaf is not None else 0
            if tensor._value is not value or tensor._edge is not None or version:
                return f"a tensor that the function closes over was written: {tensor.type}"
        return None

    def watched(self, watch: Watch) -> None:
        """Keep what Python read while the program ran."""
        for key, (words, make) in self._at_end.items():
            self.rely(words, make(), key)
        for words, question in watch.questions():
            self.rely(words, question)
        self.places, self.contents = watch.facts(self.covered)
        self.effects = watch.effects()
        self.printed = list(watch.reach.host.printed)
        self.sees_all = watch.sees_all()
        self._held = [(place.get, place.key, place.before) for place in self.places]

    def rely_as(self, other: Trace) -> None:
        """Rely on what another capture read of Python's variables as well."""
        self.places = [*self.places, *other.places]
        self.contents = [*self.contents, *other.contents]
        self.guards |= other.guards
        self._held = [(place.get, place.key, place.before) for place in self.places]

    def read(self, leaf: Leaf) -> Any:
        """The captured value of a state: what was last written, or the leaf itself."""
        written = self.writes.get(id(leaf))
        if written is not None:
            return written[1]
        self.with_tensors = True
        if leaf.holder.__class__ is Attached:
            self.attached[id(leaf)] = leaf
        self.reads.setdefault(id(leaf), (leaf, leaf.requires_grad))
        return Tensor(None, leaf, leaf)

    def entry(self, leaf: Leaf) -> Any:
        """What an op that reads a state gets as its input.

        That is the leaf, or what it was last replaced by. Gradients of a replaced parameter stop there, as they would
        at the leaf: a node of its own stands for it.
        """
        if leaf.kind == "input" and leaf.order >= self.floor:
            return leaf  # what a transform in the program differentiates by is no state
        value = self.read(leaf)
        if id(leaf) not in self.writes:
            return leaf
        if not leaf.requires_grad:
            return _output(value)
        of, standing = self._standing.get(id(leaf), (None, None))
        if standing is None or of is not value:
            standing = self._version(leaf, value)
            self._standing[id(leaf)] = (value, standing)
            self.versions[edge_node(standing)] = leaf
        return standing

    def _version(self, leaf: Leaf, value: object) -> Edge:
        with mode(recording=False):
            copy = ops.identity(value)
        if isinstance(copy, Tensor) and copy._edge is not None:
            return copy._edge
        return Leaf(_output(copy), requires_grad=True, name=leaf.name)

    def at_the_end(self, result: Numeric) -> Any:
        """What a result of the program is: a state as the program leaves it, anything else as it was returned."""
        self.returned.append(None)
        if isinstance(result, Tensor) and result._value is not None:
            if result._edge is not None and not isinstance(result._edge, Leaf):
                return Tensor(None, self.closed_over(result))
            if result._leaf is not None and self.is_state(result):
                self.returned[-1] = result._leaf
                return self.read(result._leaf)
            if result._edge is None:
                self.constant(result)
        return result

    def write(self, leaf: Leaf, value: object) -> None:
        """Note that the program replaces a state."""
        self.writes[id(leaf)] = (leaf, value)
        self.attached.pop(id(leaf), None)

    def attach(self, leaf: Leaf) -> None:
        """Note that it does so by a value through which eager code would differentiate in later calls."""
        self.attached[id(leaf)] = leaf

    def closed_over(self, tensor: Tensor) -> Leaf:
        """An input for a tensor that was computed before, which every call reads as it is then.

        Raises:
            CaptureError: the graph is called by its arguments alone.
        """
        if self.closed is None:
            raise recorded_before(tensor)
        self.with_tensors = True
        edge = cast(Edge, tensor._edge)
        key = id(edge_node(edge)), edge_index(edge)
        if key not in self.closed:
            name = tensor.name or "closure"
            leaf = Leaf(None, kind="input", types=ArrayType(*tensor.type), requires_grad=True, name=name)
            self.closed[key] = tensor, leaf
        return self.closed[key][1]

    def constant(self, tensor: Tensor) -> None:
        """Note that the program read a tensor of plain data, whose value becomes part of the graph."""
        self.with_tensors = True
        if id(tensor) not in self._made:
            self.constants.setdefault(id(tensor), (tensor, tensor._value))

    def may_ask_for(self, tensor: Tensor) -> bool:
        """Whether Python code may read the value of a tensor: not of state; plain data becomes part of the graph."""
        leaf = tensor._leaf
        if leaf is not None and (leaf.requires_grad or leaf.kind == "buffer") and self.is_state(tensor):
            return False
        if tensor._edge is None and id(tensor) not in self._made:
            self.constants.setdefault(id(tensor), (tensor, tensor._value))
        return True

    def found_states(self) -> bool:
        """Whether the program writes what it has read as plain data before: it is a state, which has a leaf now."""
        return any(
            tensor._leaf is not None and id(tensor._leaf) in self.writes
            for tensor, _ in self.constants.values()
        )

    def check_constants(self) -> None:
        """Raise if plain data that the program read lies in the memory of a state that it writes."""
        for tensor, value in self.constants.values():
            for leaf, _ in self.writes.values():
                if leaf is not tensor._leaf and np.may_share_memory(value, leaf.value):
                    raise CaptureError(
                        f"a tensor of plain data that is read here ({tensor.type}) shares its memory with "
                        f"{leaf.describe()}, which is written here, so that it would be no constant: call .detach() "
                        f"inside the captured function, or close over a copy, tensor.copy()"
                    )

    def drew(self, tensor: Tensor) -> None:
        """Note that the program draws random numbers."""
        assert tensor._edge is not None
        self.draws.append(tensor._edge)

    def made(self, tensor: Tensor) -> None:
        """Note that the program made a tensor of plain data: it is no state, and forgotten when the program ends."""
        self._made[id(tensor)] = tensor

    def is_state(self, tensor: Tensor) -> bool:
        """Whether a tensor that holds a value outlives the program, so that a write to it is an update."""
        return id(tensor) not in self._made

    def read_grad(self, leaf: Leaf) -> Tensor | None:
        """The captured gradient of a leaf: what was last set, or the one it has, as a state of its own."""
        set_here = self.gradients.get(id(leaf))
        if set_here is not None:
            return set_here[1]
        self.rely(
            f"the gradient of {leaf.describe()} was there and is not, or the other way round",
            partial(_gradient_type, leaf),
            key=("grad", id(leaf)),
        )
        if leaf.grad is None:
            return None
        _, state = self.gradients_read.setdefault(id(leaf), (leaf, buffer(leaf.grad._value)))
        found: Tensor = self.read(state._own_leaf())
        return found

    def write_grad(self, leaf: Leaf, gradient: Tensor | None) -> None:
        """Note that the program sets a leaf's gradient."""
        self.gradients[id(leaf)] = (leaf, gradient)


@collection_paused()
def capture_with(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any] | None = None,
    *,
    wanting: bool = False,
) -> tuple[Graph, Trace]:
    """Capture a function, and return what the capture read and relied on besides.

    With `wanting`, as calls of a compiled function are captured, inputs for tensors that require gradients require
    them, too, tensors that were computed and recorded before become inputs behind the others, and the graph may rely on
    the values of numbers.
    """
    kwargs = kwargs or {}
    trace = Trace(floor=next_order())
    trace.closed = {} if wanting else None
    given = args, kwargs
    leaves, tree = flatten(given)
    names = names_of(function, args, kwargs)
    inputs: list[Leaf] = []
    filled: list[Any] = []
    for i, leaf in enumerate(leaves):
        types = input_type(leaf)
        if types is None:
            filled.append(leaf)
            continue
        name = leaf.name if isinstance(leaf, Tensor) and leaf.name else names.get(i)
        wanted = wanting and isinstance(leaf, Tensor) and leaf.requires_grad
        inputs.append(Leaf(None, kind="input", types=types, name=name, requires_grad=wanted))
        trace.arguments[id(inputs[-1])] = len(inputs) - 1, leaf
        filled.append(_stand_in(leaf, inputs[-1]))
    trace.scalars = {
        id(stand_in._leaf)
        for given_leaf, stand_in in zip(leaves, filled, strict=True)
        if isinstance(given_leaf, np.generic) and isinstance(stand_in, Handle)
    }
    if not wanting:  # `x.requires_grad` answers as it does of the example
        trace.primals = {
            id(one._leaf)
            for one, example in zip(filled, leaves, strict=True)
            if isinstance(example, Tensor) and example.requires_grad
        }
    args, kwargs = tree.unflatten(filled)
    watch = Watch()
    watch.reach.visit(function, title_of(function))
    for i, leaf in enumerate(filled):
        watch.reach.visit(leaf, names.get(i, f"argument {i}"))
    before = modes.current
    try:
        with watch.reach.host.checked(), mode(recording=True, capture=trace, place=Place()), watch.watching():
            result = function(*args, **kwargs)
    finally:
        # even where Ctrl-C came between a block and its leaving
        modes.current = before
        watch.end()
    if trace.found_states():
        return capture_with(function, *given, wanting=wanting)
    trace.watched(watch)
    trace.arguments = {}
    outputs, shape = _arrays(result)
    if not (outputs or trace.writes or trace.gradients):
        raise CaptureError(
            f"{title_of(function)} returned nothing that was captured: its result must be tensors or arrays, or "
            f"containers of them. It returned {type(result).__name__}"
        )
    outputs = list(map(trace.at_the_end, outputs))
    trace.check_constants()
    edges = [_output(out) for out in outputs]
    updates = [(leaf, _output(value)) for leaf, value in trace.writes.values()]
    gradients = [
        (leaf, None if value is None else _output(value)) for leaf, value in trace.gradients.values()
    ]
    inputs += [leaf for _, leaf in (trace.closed or {}).values()]
    graph = Graph(inputs, edges, result=shape, updates=updates, gradients=gradients, name=title_of(function))
    require_fed(graph, title_of(function))
    return _without_primals(graph, trace.floor), trace


def _without_primals(graph: Graph, floor: int) -> Graph:
    """The graph with constants in the place of plain arrays by which a transform in the program differentiated."""
    given = set(map(id, graph.inputs))
    found = {
        id(leaf)
        for leaf in graph.leaves
        if leaf.kind == "input" and leaf.order >= floor and id(leaf) not in given
    }
    if not found:
        return graph

    def constant(node: Node, stands: dict[int, Any]) -> tuple[Any, ...] | None:
        """The value of one of these arrays, or of a node that reads nothing else."""
        if isinstance(node, Leaf):
            return (node.value,) if id(node) in found else None
        inputs = [now(entry, stands) for entry in node.inputs]
        if any(map(is_recorded, inputs)) or not node.op.repeatable:
            return None
        results = node.op.forward(*inputs, **node.settings)
        return tuple(map(as_value, results)) if isinstance(results, tuple) else (as_value(results),)

    return replaced(graph, constant)[0]


def _gradient_type(leaf: Leaf) -> tuple[Any, Any] | None:
    """The type of a leaf's gradient, where each call asks for those of all parameters."""
    gradient = leaf._grad
    if gradient is not None and gradient.__class__ is not Tensor:
        gradient = leaf.grad  # behind a reference
    if gradient is None:
        return None
    value = gradient._value
    return (value.shape, value.dtype) if value.__class__ is np.ndarray else gradient.type


def require_fed(graph: Graph, what: str) -> None:
    """Raise if a graph reads something that nobody gives it: a value of the inside of a loop or a branch."""
    known = set(map(id, graph.inputs))
    for leaf in graph.leaves:
        if leaf.value is None and id(leaf) not in known:
            raise CaptureError(
                f"{what} reads a value of the inside of a loop or a branch ({leaf.types}), which is known there alone: "
                f"let the body return it"
            )


def _stand_in(value: object, leaf: Leaf) -> Handle:
    """What a function gets for an argument while it is captured."""
    if isinstance(value, Tensor):
        return Tensor(None, leaf, leaf)
    if isinstance(leaf.types, WeakType):
        return CapturedNumber(None, leaf, leaf)
    return CapturedArray(None, leaf, leaf)


def input_type(value: object) -> ArrayType | None:
    """The type of an argument that becomes an input of the graph; None for what is passed on as it is."""
    require_plain(value)
    if isinstance(value, Tensor | np.ndarray | np.generic):
        shape, dtype = value.type if isinstance(value, Tensor) else type_of(value)
        if dtype.kind not in "biufcO":
            raise DTypeError(
                f"an array of dtype {dtype} cannot be computed with; pass numbers, or close over it"
            )
        return ArrayType(shape, dtype.newbyteorder("="))  # kernels take the machine's byte order only
    if type(value) in PYTHON_NUMBERS:
        return WeakType((), np.dtype(type(value)))  # whatever its size
    return None


def _arrays(result: Numeric) -> tuple[list[Any], Tree]:
    """The tensors and arrays in a result, and how to build it again around them; anything else stays as it is."""
    leaves, tree = flatten(result)
    places = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor | np.ndarray | np.generic)]
    if len(places) == len(leaves):
        return leaves, tree
    rest = [None if i in places else leaf for i, leaf in enumerate(leaves)]

    def build(arrays: Sequence[Any]) -> Any:
        filled = list(rest)
        for i, array in zip(places, arrays, strict=True):
            filled[i] = array
        return tree.unflatten(filled)

    return [leaves[i] for i in places], Tree(len(places), build, repr(tree))


def _output(out: Numeric) -> Any:
    """What a graph holds for a value: its edge, or an array."""
    if isinstance(out, Tensor):
        return out._edge if out._edge is not None else out._value
    return np.asarray(out)


def title_of(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", None) or type(function).__name__


def names_of(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[int, str]:
    """Names for the flat arguments, from the function's parameters."""
    target = function.forward if hasattr(function, "forward") else function
    try:
        parameters = list(inspect.signature(target).parameters.values())
    except (TypeError, ValueError):
        return {}
    positional = [one.name for one in parameters if one.kind is not inspect.Parameter.VAR_POSITIONAL]
    titles = [positional[i] if i < len(positional) else None for i in range(len(args))] + list(kwargs)
    names: dict[int, str] = {}
    start = 0
    for title, arg in zip(titles, (*args, *kwargs.values()), strict=True):
        count = flatten(arg)[1].count
        if title is not None:
            for k in range(count):
                names[start + k] = title if count == 1 else f"{title}.{k}"
        start += count
    return names
