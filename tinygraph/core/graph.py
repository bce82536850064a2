"""`Graph`: chosen outputs, the inputs and parameters they depend on, and the nodes between, inputs before consumers.

The nodes are those of the tape; a graph only chooses among them, evaluates them and differentiates them as a graph.
Saving, drawing and networkx views live to the right of the core; their methods here are doors to them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tinygraph.core.doors import doors
from tinygraph.core.engine import ancestors, propagate
from tinygraph.core.modes import Mode, Place, mode, modes
from tinygraph.core.node import (
    Edge,
    Leaf,
    Node,
    Port,
    edge_index,
    edge_node,
    edge_type,
    entry_type,
    is_recorded,
)
from tinygraph.core.process_group import processes
from tinygraph.core.sizes import free_names, sizes_in
from tinygraph.core.tensor import Tensor, tensor_of
from tinygraph.core.trees import Tree, contents, paths
from tinygraph.core.types import Array, ArrayType, WeakType, as_value, lies_in_rows, type_of
from tinygraph.errors import DTypeError, ParallelError, RecordingError, ShapeError, printable


class Graph:
    """A computation as data. Make one with `tg.capture` or `tg.graph_of`, or read one with `tg.load`.

    Attributes:
        inputs: the leaves that calling the graph gives values to, in order.
        outputs: what it computes: an edge each (a node, or a port of one), or a constant array.
        nodes: leaves and nodes, inputs before consumers.
        updates: (leaf, edge or array) pairs: the states that a captured program replaces.
        gradients: (leaf, edge or None) pairs: the `.grad`s that it sets.
    """

    def __init__(
        self,
        inputs: Sequence[Leaf],
        outputs: Sequence[Any],
        *,
        result: Tree | None = None,
        updates: Sequence[tuple[Leaf, Any]] = (),
        gradients: Sequence[tuple[Leaf, Any]] = (),
        name: str | None = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.outputs = tuple(outputs)
        self.updates = tuple(updates)
        self.gradients = tuple(gradients)
        self.name = name
        self.result = result
        reached = ancestors(self.ends)
        listed = {id(node) for node in reached}
        unused = [leaf for leaf in self.inputs if id(leaf) not in listed]
        self.nodes: tuple[Node, ...] = (*unused, *reached)

    # -- reading ---------------------------------------------------------------------------------------------------

    @property
    def ends(self) -> tuple[Any, ...]:
        """What leaves the graph: outputs, new values of states and gradients; edges, or constants."""
        return (*self.outputs, *(value for _, value in (*self.updates, *self.gradients)))

    @property
    def leaves(self) -> tuple[Leaf, ...]:
        return tuple(node for node in self.nodes if isinstance(node, Leaf))

    @property
    def parameters(self) -> tuple[Tensor, ...]:
        """The tensors the graph holds live references to that require gradients, inputs left out."""
        given = set(map(id, self.inputs))
        return tuple(tensor_of(leaf) for leaf in self.leaves if leaf.requires_grad and id(leaf) not in given)

    @property
    def output_types(self) -> tuple[ArrayType, ...]:
        return tuple(entry_type(out) for out in self.outputs)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the outputs are called: the keys and fields they have in what a captured function returned, or nothing.

        Positions in a tuple are no names, unless numbers or texts stand between, which are no outputs.

        >>> import tinygraph as tg
        >>> tg.capture(lambda x: {"loss": x * x, "parts": (x, 1)}, 2.0).output_names
        ('loss', 'parts[0]')
        """
        known, plain = paths(self.result) if self.result is not None else ([], [])
        names = [f"output{one}" * bool(plain) if one.startswith("[") else one for one in known]
        return tuple([*names, *[""] * len(self.outputs)][: len(self.outputs)])

    @property
    def plain_results(self) -> tuple[tuple[str, Any], ...]:
        """The numbers, texts and the like in what a captured function returned, which are no outputs, with their names.

        >>> import tinygraph as tg
        >>> tg.capture(lambda x: {"loss": x * x, "parts": (x, 1)}, 2.0).plain_results
        (('parts[1]', 1),)
        """
        plain = paths(self.result)[1] if self.result is not None else []
        return tuple((f"output{name}" if name.startswith("[") else name, value) for name, value in plain)

    @property
    def result_order(self) -> tuple[int, ...]:
        """What a captured function returned, in its order: numbers of outputs, and ~i for `plain_results[i]`.

        >>> import tinygraph as tg
        >>> tg.capture(lambda x: {"n": 1, "loss": x * x}, 2.0).result_order
        (-1, 0)
        """
        listed = [number for _, number, _ in contents(self.result)] if self.result is not None else []
        plain = iter(range(len(listed)))
        order = [number if number >= 0 else ~next(plain) for number in listed]
        return (*order, *sorted(set(range(len(self.outputs))).difference(order)))

    @property
    def sizes(self) -> dict[str, int]:
        """The free sizes by name, each with its value in the example that the graph was made from.

        >>> import numpy as np, tinygraph as tg
        >>> tg.capture(lambda x: x * 2, np.zeros((4, 3)), dynamic_axes={0: {0: "N"}}).sizes
        {'N': 4}
        """
        return free_names([leaf.types for leaf in self.inputs])

    def __len__(self) -> int:
        return len(self.nodes)

    def __repr__(self) -> str:
        count = sum(not isinstance(node, Leaf) for node in self.nodes)
        inputs = ", ".join(f"{leaf.name or 'input'}: {leaf.types}" for leaf in self.inputs)
        outputs = ", ".join(map(str, self.output_types))
        about = f"{count} ops, {len(self.parameters)} parameters"
        return printable(f"<Graph {self.name or ''}({inputs}) -> {outputs}; {about}>")

    # -- evaluating ------------------------------------------------------------------------------------------------

    def __call__(self, *inputs: object) -> Any:
        """Evaluate the graph on arrays or tensors; parameters have their present values.

        Returns arrays if only arrays take part, else tensors, in the shape of the captured function's result. With no
        arguments, leaves keep the values they were recorded with.

        Raises:
            ShapeError: the number, shapes or dtypes of the inputs do not fit.
        """
        graph = self.sized_for(inputs)
        if graph is not self:
            return graph(*inputs)
        nodes = self.nodes
        if self.updates or self.gradients:  # calling a graph computes its outputs and changes no state
            nodes = tuple(ancestors(self.outputs))
        values = evaluate(nodes, dict(self.bound(inputs)), keep=self.outputs)
        results = [_read(values, out) if is_recorded(out) else out for out in self.outputs]
        if self.result is not None and len(results) == self.result.count:
            return self.result.unflatten(results)
        return results[0] if len(results) == 1 else tuple(results)

    def at(self, **sizes: int) -> Graph:
        """The graph for given values of its free sizes, without free ones; it shares the parameters.

        Raises:
            ShapeError: a size is missing or unknown, or an op takes no such sizes, naming the line.

        >>> import numpy as np, tinygraph as tg
        >>> tg.capture(lambda x: x * 2, np.zeros((4, 3)), dynamic_axes={0: {0: "N"}}).at(N=2).output_types[0].shape
        (2, 3)
        """
        known = self.sizes
        if sizes.keys() != known.keys():
            raise ShapeError(
                f"the free sizes of the graph are {', '.join(known) or 'none'}, not {', '.join(sizes)}"
            )
        return doors.at_sizes(self, {name: sizes[name] for name in known}) if known else self

    def sized_for(self, inputs: Sequence[Any]) -> Graph:
        """The graph for the sizes that its inputs have: itself if no size is free, or there are no inputs.

        Raises:
            ShapeError: the number or shapes of the inputs do not fit.
        """
        if not inputs or not self.sizes:
            return self
        self._count(inputs)
        shapes = [one.shape if isinstance(one, Tensor) else np.shape(one) for one in inputs]
        names = [leaf.name or "unnamed" for leaf in self.inputs]
        return self.at(**sizes_in([leaf.types for leaf in self.inputs], shapes, names))

    def _count(self, inputs: Sequence[Any]) -> None:
        if len(inputs) != len(self.inputs):
            names = ", ".join(leaf.name or "?" for leaf in self.inputs)
            raise ShapeError(f"the graph takes {len(self.inputs)} input(s) ({names}) but got {len(inputs)}")

    def bound(self, inputs: tuple[Any, ...]) -> Iterable[tuple[int, Any]]:
        """The id of each input with its value, in the input's type.

        Raises:
            ShapeError, DTypeError: the number, shapes or dtypes of the values do not fit.
        """
        if not inputs and all(leaf.value is not None for leaf in self.inputs):
            return
        self._count(inputs)
        for i, (leaf, given) in enumerate(zip(self.inputs, inputs, strict=True)):
            what = f"input {i} ({leaf.name or 'unnamed'}) of the graph is {leaf.types}"
            if not isinstance(given, Tensor | np.ndarray | np.generic):
                yield id(leaf), _as_input(given, leaf.types, what)
                continue
            found = given.type if isinstance(given, Tensor) else type_of(given)
            if ArrayType(found.shape, found.dtype.newbyteorder("=")) != leaf.types:
                raise ShapeError(f"{what}, but got {found}; capture the function again for other types")
            if leaf.settings and not lies_in_rows(given):
                raise ShapeError(
                    f"{what} and must lie in memory row by row, since the captured function writes to what it "
                    f"reshapes, which is a view there and a copy elsewhere: pass np.ascontiguousarray of it"
                )
            yield id(leaf), given if isinstance(given, Tensor) else _as_array(given, leaf.types)

    def gradient(self, wrt: object = None) -> Graph:
        """The graph of this graph's gradient: the same inputs; its outputs followed by one gradient per `wrt`.

        Args:
            wrt: a parameter or input (tensor, leaf or name), or a sequence of them; all parameters by default.

        Raises:
            RecordingError: the first output is no real scalar, or `wrt` names nothing in the graph.
        """
        if self.sizes:
            return doors.free_gradient(self, wrt)
        leaves = [self._leaf(one) for one in _several(wrt)] if wrt is not None else self._parameter_leaves()
        if not self.outputs or not is_recorded(self.outputs[0]) or self.output_types[0].size != 1:
            shown = ", ".join(map(str, self.output_types))
            raise RecordingError(
                f"Graph.gradient needs a graph whose first output is a scalar; the outputs are {shown}. Capture a "
                f"function that returns the loss, for example with .sum() or .mean()"
            )
        out = self.outputs[0]
        seed = as_value(np.ones(edge_type(out).shape, edge_type(out).dtype))
        captured = any(node.saved is None for node in self.nodes)
        with mode(recording=True, capture=doors.open_capture() if captured else None, place=Place()):
            found = propagate(self.nodes, [(out, seed)], wanted=set(leaves), record=True)
        gradients = [_entry(found[leaf]) if leaf in found else leaf.types.zeros() for leaf in leaves]
        return Graph(self.inputs, (*self.outputs, *gradients), name=f"gradient of {self.name or 'graph'}")

    def _parameter_leaves(self) -> list[Leaf]:
        return [parameter._own_leaf() for parameter in self.parameters]

    def _leaf(self, one: object) -> Leaf:
        for leaf in self.leaves:
            if one is leaf or (isinstance(one, Tensor) and one._leaf is leaf):
                return leaf
            if isinstance(one, str) and leaf.name == one:
                return leaf
        names = ", ".join(sorted(leaf.name for leaf in self.leaves if leaf.name)) or "none has a name"
        raise RecordingError(f"{one!r} is no parameter or input of this graph; its leaves are: {names}")

    # -- doors to the right ----------------------------------------------------------------------------------------

    def to_networkx(self) -> Any:
        """The graph as a `networkx.MultiDiGraph`: a node per node, an edge per operand."""
        return doors.to_networkx(self)

    @classmethod
    def from_networkx(cls, graph: object) -> Graph:
        """The graph that a networkx graph describes; see `tinygraph.interop`."""
        return doors.from_networkx(graph)

    def save(self, path: str | Path, *, opset: int | None = None) -> None:
        """Write structure and values to one file that `tg.load` reads, an ONNX model (.onnx) too; see `save_graph`."""
        doors.save_graph(self, path, opset=opset)

    def draw(self, path: str | Path | None = None, **options: object) -> Any:
        """Draw the graph; see `tg.draw`."""
        return doors.draw(self, path, **options)

    def coverage(self, order: int = 2, forward: bool = True) -> Any:
        """Which derivative rules the graph's gradients need: present, derived, missing, or none by nature.

        Args:
            order: the highest order of reverse mode; from the second on, rules of the ops that rules use count.
            forward: whether forward mode is looked at, too.

        Returns:
            A `tinygraph.analysis.coverage.Coverage`, which prints as a table; `.missing` and `.ok` say it in short.

        >>> import numpy as np
        >>> import tinygraph as tg
        >>> tg.capture(lambda x: np.sum(np.sin(x)), np.zeros(3)).coverage().ok
        True
        """
        return doors.coverage(self, order, forward)

    def summary(self) -> str:
        """A table of the nodes: name, op, settings, output, parameters."""
        return doors.summary(self)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        return {"text/plain": repr(self), **self.draw()._repr_mimebundle_()}


def _as_array(given: Array | np.generic, types: ArrayType) -> Any:
    """An array of an input's type; where the input is a Python number, that number."""
    value = as_value(given, given.dtype.newbyteorder("="))
    return value.item() if isinstance(types, WeakType) else value


def _as_input(given: Any, types: ArrayType, what: str) -> Any:
    """Python numbers, and lists of them, for an input: in its dtype, which must hold them.

    Raises:
        DTypeError, ShapeError: what is given is no number, or one of another kind, beginning with `what`.
    """
    try:
        found = np.asarray(given)
        whole = found.dtype.kind == "O" and all(type(one) is int for one in found.flat)  # beyond int64
        if not whole and not np.can_cast(found.dtype, types.dtype, "same_kind"):
            raise TypeError(f"no value of {types}")
        if isinstance(types, WeakType) and found.ndim == 0:
            return int(given) if types.dtype.kind == "i" else found.astype(types.dtype).item()
        value = as_value(np.asarray(given, types.dtype))
    except (TypeError, ValueError, OverflowError) as error:
        raise DTypeError(
            f"{what}, but got {given!r:.60}, a {type(given).__name__}: {error}; capture the function again for other "
            f"types"
        ) from error
    if value.shape != types.shape:
        raise ShapeError(f"{what}, but got shape {value.shape}; capture the function again for other types")
    return value


def _several(wrt: object) -> Sequence[Any]:
    return wrt if isinstance(wrt, tuple | list) else (wrt,)


def _entry(value: object) -> Any:
    """What a graph's outputs hold for a value: its edge, or the array itself if it was not recorded."""
    if not isinstance(value, Tensor):
        return value
    return value._edge if value._edge is not None else value._value


def graph_of(*tensors: Tensor, name: str | None = None) -> Graph:
    """The graph that made the given tensors.

    Its inputs are the named tensors among its leaves that require no gradient.

    Raises:
        RecordingError: one of them was not recorded.

    >>> import tinygraph as tg
    >>> x = tg.tensor(3.0, requires_grad=True, name="x")
    >>> len(graph_of(x * x + 1).nodes)
    3
    """
    edges: list[Edge] = []
    for one in tensors:
        if not isinstance(one, Tensor):
            raise RecordingError(f"graph_of() takes tensors, not {type(one).__name__}")
        if one._edge is None:
            raise RecordingError(
                f"this tensor was not recorded: {one!r}. A graph exists when an operand requires a gradient "
                f"(tg.tensor(value, requires_grad=True)) or inside tg.capture"
            )
        edges.append(one._edge)
    reached = ancestors(map(edge_node, edges))
    inputs = [node for node in reached if isinstance(node, Leaf) and not node.requires_grad and node.name]
    return Graph([leaf for leaf in inputs if leaf.kind != "buffer"], edges, name=name)


def evaluate(
    nodes: Sequence[Node], values: dict[int, Any], *, keep: Sequence[Any] | None = None
) -> dict[int, Any]:
    """Run nodes in order.

    Args:
        nodes: inputs before consumers.
        values: id of a leaf -> its value; other leaves have their own. Extended in place and returned.
        keep: the edges whose values are wanted; others are dropped after their last use. None keeps all.

    Returns:
        id of a node -> its value, a tuple of them for several outputs.
    """
    last = _last_uses(nodes, keep) if keep is not None else {}
    before = modes.current
    try:
        for i, node in enumerate(nodes):
            key = id(node)
            if isinstance(node, Leaf):
                if key not in values:
                    values[key] = _leaf_value(node)
            else:
                operands = [_read(values, entry) if is_recorded(entry) else entry for entry in node.inputs]
                place = Place(node.scope, before.place.phase, before.place.origin)
                modes.current = Mode(before.recording, before.tangents, before.capture, place, before.primals)
                of_numbers = isinstance(node.types, WeakType) and not any(
                    isinstance(x, Tensor) for x in operands
                )
                values[key] = (node.op.of_numbers if of_numbers else node.op)(*operands, **node.settings)
            for used in last.get(i, ()):
                del values[used]
    finally:
        modes.current = before
    return values


def _leaf_value(leaf: Leaf) -> Any:
    if leaf.value is None:
        raise RecordingError(
            f"{leaf.describe()} of a captured graph has no value: call the graph with its inputs"
            if leaf.kind == "input"
            else f"{leaf.describe()} has no value: the file that this graph was read from left its values out"
        )
    return tensor_of(leaf) if leaf.requires_grad else leaf.value


def _read(values: dict[int, Any], edge: Edge) -> Any:
    value = values[id(edge_node(edge))]
    return value[edge_index(edge)] if isinstance(edge, Port) else value


def _last_uses(nodes: Sequence[Node], keep: Sequence[Any]) -> dict[int, list[int]]:
    """Position of a node -> ids of the values that nothing later reads."""
    kept = {id(edge_node(edge)) for edge in keep if is_recorded(edge)}
    seen = set(kept)
    last: dict[int, list[int]] = {}
    for i in range(len(nodes) - 1, -1, -1):
        for used in {id(parent) for parent in nodes[i].parents()} - seen:
            seen.add(used)
            last.setdefault(i, []).append(used)
    return last


def replay(graph: Graph, inputs: Sequence[Any] = ()) -> dict[int, Any]:
    """The values of all nodes as arrays, by id: what pictures and explanations show.

    Without NumPy's warnings: whoever ran the program has had them already.

    Raises:
        StaleValueError: a saved leaf was written since the graph was recorded.
        ParallelError: values were exchanged with other processes, which do not take part again.
    """
    _check_alone(graph)
    values: dict[int, Any] = {}
    for node in graph.nodes:
        node.check_versions()
        if isinstance(node, Leaf) and node.value is not None:
            values[id(node)] = node.value
    for leaf, given in zip(graph.inputs, inputs, strict=False):
        values[id(leaf)] = given._value if isinstance(given, Tensor) else as_value(given, leaf.types.dtype)
    with mode(recording=False), np.errstate(all="ignore"):
        return evaluate(graph.nodes, values)


def _check_alone(graph: Graph) -> None:
    """Raise if running a graph again would wait for other processes for ever."""
    if processes().size == 1:
        return
    for node in graph.nodes:
        if not isinstance(node, Leaf) and node.op.kind == "collective":
            raise ParallelError(
                f"{node.describe()} exchanged values with the other {processes().size - 1} processes, and these do not "
                f"take part when one of them computes the graph's values again: draw it with values=False, or explain "
                f"it in a program of one process"
            )
