"""The engine: gradients travel from outputs to leaves, node by node, in reverse order of creation. No recursion.

Un-broadcasting, accumulation, dtype matching and typed zeros happen here, once, and never in rules. The same loop
serves the plain pass (rules get arrays and run at NumPy speed) and the recorded one (rules get tensors, so that the
pass is itself a graph). Forward mode lives in `tangents.py`, which transposes these rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, nullcontext
from operator import attrgetter
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import ref

import numpy as np

from tinygraph.core.hooks import GradientHooks, changes_of_leaves, run_hooks
from tinygraph.core.locks import leaf_lock
from tinygraph.core.modes import LookBack, Place, mode, modes
from tinygraph.core.node import Edge, Leaf, Node, Port, edge_node, edge_type, entry_type, is_recorded
from tinygraph.core.op import LiveRule
from tinygraph.core.registry import ops
from tinygraph.core.source import is_library
from tinygraph.core.tensor import Tensor, left_behind, read_grad, write_grad
from tinygraph.core.types import SCALAR_TYPES, ArrayType, as_value
from tinygraph.core.unchosen import Unchosen, unchosen
from tinygraph.core.unwatched import unwatched, watched
from tinygraph.errors import (
    DTypeError,
    InPlaceError,
    MissingRuleError,
    NumpyFunctionError,
    RecordingError,
    RuleError,
    ShapeError,
)
from tinygraph.packages.card import card_line

if TYPE_CHECKING:
    from tinygraph.core.node import Exchange
    from tinygraph.core.numeric import Numeric

_array_class = np.ndarray
_ARRAYS = (np.ndarray, np.generic)
_by_order = attrgetter("order")

# What a rule that writes into an array it was given raises: NumPy's error, or this library's where tensors are met.
WRITE_ERRORS = (ValueError, NumpyFunctionError, InPlaceError)
_SIGNS_OF_WRITING = ("read-only", "out=")


def ancestors(ends: Iterable[object], floor: int = -1) -> list[Node]:
    """The nodes and leaves that some entries depend on, their own included, inputs before consumers.

    Nodes created before `floor` are left out: they cannot depend on anything made later.
    """
    stack = [ends]
    found: set[Node] = set()
    while stack:
        for entry in stack.pop():
            if entry.__class__ is Port:
                entry = entry.node
            elif not isinstance(entry, Node):
                continue
            if entry not in found and entry.order >= floor:
                found.add(entry)
                stack.append(entry.inputs)
    return sorted(found, key=_by_order)


def backward(output: Tensor, gradient: Numeric | None = None, *, create_graph: bool = False) -> None:
    """Accumulate d(output)/d(leaf) in `.grad` of every leaf that requires a gradient; see `Tensor.backward`."""
    edge = output._edge
    if edge is None:
        raise RecordingError(
            f"backward() from a tensor that was not recorded ({output!r}): no operand required a gradient, or it was "
            f"computed under tg.no_grad(). Make the leaves with tg.tensor(value, requires_grad=True)"
        )
    if output._value is None and modes.current.capture is None:
        raise left_behind("backward()", output)
    if not output.type.differentiable:
        raise DTypeError(f"backward() needs a real or complex output, not {output.type}")
    capture = modes.current.capture
    if capture is None:
        modes.last_output = ref(output)
    before = modes.current
    try:
        with unwatched() if capture is not None else nullcontext():
            _backward(output, edge, _seed(output, gradient), create_graph, capture)
    finally:
        modes.current = before  # even where Ctrl-C came between a block and its leaving


def _backward(output: Tensor, edge: Edge, seed: Numeric, create_graph: bool, capture: Any) -> None:
    nodes = ancestors([edge])
    # nodes that stand for parameters which the captured program has replaced before: gradients stop at them
    versions: dict[Node, Leaf] = capture.versions if capture is not None else {}
    if capture is not None:
        capture.ran_backward = True
        capture.rely(
            "a hook on the gradient of a leaf was registered or removed", changes_of_leaves, "leaf hooks"
        )
        capture.passed.update(id(node) for node in nodes if isinstance(node, Leaf))
    leaves: dict[Node, Leaf] = {node: node for node in nodes if node.__class__ is Leaf and node.requires_grad}
    if versions:
        leaves |= {node: versions[node] for node in nodes if node in versions}
    wanted = set(leaves) if versions else None
    exchanges = {node: leaf.exchange for node, leaf in leaves.items() if leaf.exchange is not None}
    found = propagate(
        nodes,
        [(edge, seed)],
        wanted=wanted,
        record=create_graph or capture is not None,
        constant=capture is not None and not create_graph,
        complete=_Completing(nodes, exchanges, create_graph or capture is not None) if exchanges else None,
    )
    if output.dtype.kind == "c":
        for node, leaf in leaves.items():
            if node in found and leaf.types.dtype.kind != "c":
                raise complex_loss("backward()", output.type, leaf.describe())
    reached = [leaf for node, leaf in leaves.items() if node in found]
    gradients = owned([found[node] for node in leaves if node in found], nodes, [seed])
    add = ops.add  # looked up before the lock is taken: a first look-up imports ops, under a lock of its own
    recording = modes.current.recording and (capture is None or create_graph)
    with mode(recording=recording, place=Place()):
        for leaf, gradient in zip(reached, gradients, strict=True):
            new = gradient if isinstance(gradient, Tensor) else Tensor(as_value(gradient))
            with leaf_lock.held:
                old = read_grad(leaf)
                write_grad(leaf, new if old is None else add(old, new))


class _Completing:
    """Tells the exchanges of leaves as soon as nothing more can flow into their gradients, and collects the results."""

    def __init__(self, nodes: Sequence[Node], exchanges: Mapping[Node, Exchange], record: bool) -> None:
        self._after: dict[Node, list[Node]] = {}
        self._record = record
        waiting = set(exchanges)
        for node in nodes:  # the first that reads a leaf is the last that a backward pass comes to
            for leaf in set(node.parents()) & waiting:
                waiting.remove(leaf)
                self._after.setdefault(node, []).append(leaf)
        self._alone = waiting  # the output itself
        self._of = exchanges
        self._exchanges = list({id(one): one for one in exchanges.values()}.values())
        for exchange in self._exchanges:
            exchange.begin()

    def waits_for(self, node: Node) -> bool:
        """Whether a node is a leaf with an exchange, before which its hooks run."""
        return node in self._of

    def passed(self, node: Node, gradients: Mapping[Node, Any]) -> None:
        """A backward pass has gone past a node."""
        for leaf in self._after.get(node, ()):
            if leaf in gradients:
                self._of[leaf].arrived(leaf, self._ready(leaf, gradients[leaf]))

    def _ready(self, leaf: Node, gradient: Any) -> Any:
        return _typed(_hooked(leaf, gradient, self._record) if GradientHooks.used else gradient)

    def finish(self, gradients: dict[Node, Any]) -> None:
        """Put the gradients of all processes in the place of this one's."""
        for leaf in self._alone:
            if leaf in gradients:
                self._of[leaf].arrived(leaf, self._ready(leaf, gradients[leaf]))
        for exchange in self._exchanges:
            gradients.update(exchange.finish())


def complex_loss(what: str, types: ArrayType, real: str) -> DTypeError:
    """The error of a complex loss whose gradient a real leaf could hold half of only."""
    return DTypeError(
        f"{what} of a complex output ({types}) that depends on {real}, which is real: a real number holds the real "
        f"part of that gradient only. Make the output real first (np.real, np.imag, np.abs), or give tg.vjp the "
        f"cotangent"
    )


def owned(gradients: Sequence[Any], nodes: Iterable[Node], others: Iterable[Any] = ()) -> list[Any]:
    """Gradients that their receivers may write: each in memory of its own, not in what nodes saved nor one another's.

    Rules hand on cotangents, views of them and operands as they are, which costs nothing where nobody writes.

    Args:
        gradients: what a pass found; None stays None.
        nodes: the nodes that the pass went through.
        others: arrays besides that may not be handed out: cotangents and primals.
    """
    taken: set[int] | None = None
    made: list[Any] = []
    for gradient in gradients:
        array = gradient._value if isinstance(gradient, Tensor) else gradient
        if array.__class__ is not np.ndarray:
            made.append(_twin(gradient) if isinstance(gradient, Tensor) else gradient)
            continue
        if taken is None:
            taken = {id(one._value if isinstance(one, Tensor) else one) for one in others}
            for node in nodes:  # of what nodes keep, rules get what is saved
                if node.saved:
                    taken.update(map(id, node.saved))
        if array.base is not None or not array.flags.writeable or id(array) in taken:
            array = array.copy()
        taken.add(id(array))
        made.append(Tensor(array, gradient._edge, gradient._leaf) if isinstance(gradient, Tensor) else array)
    return made


def _twin(gradient: Tensor) -> Tensor:
    """A tensor that may be written without changing the one it was made from."""
    return Tensor(gradient._value, gradient._edge, gradient._leaf)


def _seed(output: Tensor, gradient: object) -> Any:
    types = output.type
    if gradient is None:
        if types.size != 1:
            raise RecordingError(
                f"backward() from a non-scalar needs the gradient to start from: the output is {types}. Reduce it "
                f"first (.sum(), .mean()) or pass backward(gradient) of shape {types.shape}"
            )
        return ones_like(output._value, types)
    seed = fitting(gradient, types, "backward(gradient)")
    if seed.shape != types.shape:
        raise ShapeError(f"backward(gradient): the gradient has shape {seed.shape}, the output {types.shape}")
    return seed


def fitting(cotangent: object, types: ArrayType, what: str) -> Any:
    """A cotangent in the dtype of the output that it is for.

    Raises:
        DTypeError: a complex cotangent for a real output, whose imaginary part would be dropped.
    """
    given = cotangent if isinstance(cotangent, Tensor) else np.asarray(cotangent)
    if given.dtype.kind == "c" and types.dtype.kind not in "cO":
        raise DTypeError(
            f"{what}: a complex cotangent for a real output ({types}) would lose its imaginary part: pass its real "
            f"part, or differentiate a complex output"
        )
    return cotangent if isinstance(cotangent, Tensor) else as_value(cotangent, types.dtype)


def ones_like(value: Any, types: ArrayType) -> Any:
    """The cotangent 1 of an output; for objects a one of their own kind, Fraction(1), whose quotients stay exact."""
    if types.dtype.kind == "O" and value is not None:
        return as_value(value * 0 + 1, types.dtype)
    return as_value(np.ones(types.shape, types.dtype))


def propagate(
    nodes: Sequence[Node],
    seeds: Sequence[tuple[Edge, Any]],
    *,
    wanted: Set[Node] | None,
    record: bool,
    constant: bool = False,
    complete: _Completing | None = None,
) -> dict[Node, Any]:
    """Send cotangents back through `nodes`.

    Args:
        nodes: what the seeds depend on, inputs before consumers.
        seeds: output edges and their cotangents.
        wanted: the nodes whose gradient is asked for; only paths to them are followed. None: all leaves that require
            a gradient.
        record: whether rules get tensors, so that the pass becomes graph.
        constant: whether that graph is not to be differentiated, as an eager pass is not without `create_graph`.
        complete: told of each node that the pass is done with.

    Returns:
        wanted node -> its gradient (a list, one an output, if it has several). Unreached nodes are missing.
    """
    live = _leading_to(nodes, wanted) if wanted is not None else None
    look = modes.look_back
    choices = unchosen(nodes, [edge_node(edge) for edge, _ in seeds])
    gradients: dict[Node, Any] = {}
    kept: dict[Node, Any] = {}
    own: set[Node] = set()  # whose gradient is an array made here, to be added to in place
    for edge, seed in seeds:
        _add(gradients, edge, seed)
    place = None if look is None else Place(phase="backward")  # whose ops are looked at from here
    with mode(recording=record and not constant, place=place), unwatched() if record else nullcontext():
        for node in reversed(nodes):
            gradient = gradients.pop(node, None)
            if gradient is None:
                if complete is not None:
                    complete.passed(node, gradients)
                continue
            if GradientHooks.used and (complete is None or not complete.waits_for(node)):
                found = _hooked(node, gradient, record)
                if choices is not None and found is not gradient:  # by a hook no zero is what it was
                    choices.kept.pop(node, None)
                gradient = found
            if node.__class__ is Leaf or (wanted is not None and node in wanted):
                kept[node] = _typed(gradient)
            elif live is None or node in live:
                if node.versions is not None:
                    node.check_versions()
                if choices is not None and choices.concerns(node) and gradient.__class__ is not list:
                    _choose_again(choices, node, gradient, gradients, live, record)
                elif not record and gradient.__class__ is not list:
                    _run_rules(node, gradient, node.saved, gradients, live, own)
                else:
                    _step_back(node, gradient, gradients, live, None if record else own)
                if look is not None:
                    look(node, gradient, gradients)
                if complete is not None:
                    complete.passed(node, gradients)
        if complete is not None:
            complete.finish(kept)
    return kept


def _choose_again(
    choices: Unchosen,
    node: Node,
    gradient: object,
    gradients: dict[Node, Any],
    live: set[Node] | None,
    record: bool,
) -> None:
    """A step of a pass at a `where`, or behind one that did not choose all of a value."""
    found: dict[Node, Any] = {}
    if record:
        _step_back(node, gradient, found, live, None)
    else:
        _run_rules(node, gradient, node.saved, found, live, None)
    place = Place(modes.current.place.scope, "backward", node) if record else None
    with mode(place=place) if record else nullcontext():
        parts = choices.follow(node, found, lambda: rewrapped(node) if record else node.saved or ())
        for entry, part in parts.items():
            several = part if part.__class__ is list else None
            if several is None:
                _add(gradients, entry, part)
                continue
            for i, one in enumerate(several):
                if one is not None:
                    _add(gradients, Port(entry, i), one)


def _hooked(node: Node, gradient: object, record: bool) -> Any:
    """A gradient after the hooks of its node, which are the user's code."""
    if not hasattr(node, "hooks"):
        return gradient
    place = Place(modes.current.place.scope, "backward", None if isinstance(node, Leaf) else node)

    def wrap(given: object) -> Tensor:
        return given if isinstance(given, Tensor) else Tensor(for_reading(_typed(given)))

    def unwrap(found: object) -> Any:
        return found if record or not isinstance(found, Tensor) else found._value

    with mode(place=place), watched() if modes.current.capture is not None else nullcontext():
        return run_hooks(node, gradient, wrap, unwrap)


def _typed(gradient: Any) -> Any:
    """A gradient as leaves keep it: no number of Python's."""
    return gradient if hasattr(gradient, "dtype") or gradient.__class__ is list else as_value(gradient)


@contextmanager
def looking_back(look: LookBack) -> Iterator[None]:
    """Context manager: in this thread `look` is called after the rules of each node have run.

    It gets the node, the cotangent of its output, and the cotangents collected so far, by their nodes.
    """
    before = modes.look_back
    modes.look_back = look
    try:
        yield
    finally:
        modes.look_back = before


def _leading_to(nodes: Sequence[Node], wanted: Set[Node]) -> set[Node]:
    """The nodes whose rules lie on a path to a wanted one. Wanted nodes themselves are not followed further."""
    live = set(wanted)
    for node in nodes:
        for entry in node.inputs:
            source = entry.node if entry.__class__ is Port else entry
            if isinstance(source, Node) and source in live:
                live.add(node)
                break
    return live


def _leads(entry: object, live: Set[Node]) -> bool:
    """Whether an entry of a node's inputs leads to a wanted node."""
    return is_recorded(entry) and edge_node(entry) in live


def _add(gradients: dict[Node, Any], edge: Edge, gradient: object) -> None:
    """Accumulate a gradient on an edge."""
    if edge.__class__ is Port:
        parts = gradients.setdefault(edge.node, [None] * len(edge.node.output_types))
        old = parts[edge.index]
        parts[edge.index] = gradient if old is None else _sum(old, gradient)
    else:
        old = gradients.get(edge)  # type: ignore[arg-type]  # a node
        gradients[edge] = gradient if old is None else _sum(old, gradient)  # type: ignore[index]


def _sum(old: Any, new: Any) -> Any:
    if old.__class__ is Tensor or new.__class__ is Tensor:
        return ops.add(old, new)
    total = old + new
    # NumPy takes the sum of two 0-d arrays of objects out of its array, and rules ask for shapes
    return total if hasattr(total, "dtype") else as_value(total)


def _step_back(
    node: Node, gradient: object, gradients: dict[Node, Any], live: set[Node] | None, own: set[Node] | None
) -> None:
    """Run the live rules of one node and add what they return to its inputs' gradients; recorded where none may be
    added to in place.
    """
    if gradient.__class__ is list:
        # a body keeps many results from between, which get no cotangents in a first-order pass
        facts = node.op.facts
        sparse = "body" in facts or "subgraphs" in facts
        gradient = tuple(gradient) if sparse else _typed_zeros(node, gradient)
        if gradient is None:
            return
    if own is not None:
        _run_rules(node, gradient, node.saved, gradients, live, own)
        return
    before = modes.current
    place = Place(before.place.scope, "backward", node)
    users = before.capture is not None and not (
        "body" not in node.op.facts and is_library(node.op.origin.file)
    )
    with mode(place=place), watched() if users else nullcontext():
        _run_rules(node, gradient, rewrapped(node), gradients, live, None)


def _run_rules(
    node: Node,
    gradient: object,
    saved: Any,
    gradients: dict[Node, Any],
    live: set[Node] | None,
    own: set[Node] | None,
) -> None:
    inputs = node.inputs
    # rules that come with tinygraph write into nothing that they are given, which the laws hold; others may try
    rules = node.live_rules
    given = gradient if rules.careful or gradient.__class__ in SCALAR_TYPES else for_reading(gradient)
    for rule in rules.backward:
        function, serves, arguments, simple, position, adds = rule
        if live is not None and not any(_leads(inputs[served], live) for served, _ in serves):
            continue
        if function is None:
            if edge_type(inputs[serves[0][0]]).differentiable:
                raise missing_rule(node, serves[0][0])
            continue
        try:
            if adds is not None and own is not None and _added(node, rule, given, saved, gradients, own):
                continue
            if not arguments:
                result = function(given)
            elif simple:
                result = (
                    function(given, saved[arguments[0]])
                    if len(arguments) == 1
                    else function(given, *map(saved.__getitem__, arguments))
                )
            else:
                result = function(given, *fetch(node, rule, saved, live))
        except NotDerived as error:
            raise missing_rule(node, serves[0][0], str(error)) from error
        except WRITE_ERRORS as error:
            raise_named(error, node, rule, "g")
        if position is not None:
            if result is given:
                result = gradient
            entry, kind = inputs[position], result.__class__
            if (
                entry.types == (result.shape, result.dtype) and result.dtype.kind in "fc"
                if kind is _array_class
                else SCALAR_TYPES.get(kind) is entry.types
            ):  # as it is nearly always: `_receive` without its calls
                old = gradients.get(entry)
                if old is None:
                    gradients[entry] = result
                else:
                    gradients[entry] = old + result if old.__class__ is kind else _sum(old, result)
            else:
                _receive(node, position, result, gradients)
            continue
        for served, place in serves:
            if live is None or _leads(inputs[served], live):
                part = part_of(node, result, place, rule)
                _receive(node, served, gradient if part is given else part, gradients)


def _added(
    node: Node, rule: LiveRule, given: Any, saved: Any, gradients: dict[Node, Any], own: set[Node]
) -> bool:
    """Add what a rule makes to the array of its operand's gradient, where that can be; whether it was."""
    assert rule.position is not None
    assert rule.adds is not None
    entry = node.inputs[rule.position]
    if entry.__class__ is Port or not isinstance(given, _ARRAYS):
        return False
    types = entry.types
    if not types.shape or given.dtype != types.dtype or types.dtype.hasobject:
        return False
    total = gradients.get(entry)
    if total is None:
        total = np.zeros(types.shape, types.dtype)
    elif type(total) is not np.ndarray or total.shape != types.shape or total.dtype != types.dtype:
        return False
    elif entry not in own:
        total = total.copy()
    rule.adds(total, given, *fetch(node, rule, saved))
    gradients[entry] = total
    own.add(entry)
    return True


def for_reading(cotangent: Any) -> Any:
    """A cotangent or tangent (or a tuple of them) as a rule gets it: others read it too, so none may write into it."""
    kind = cotangent.__class__
    if kind is np.ndarray:
        view = cotangent[...]
        view.setflags(False)
        return view
    if kind is Tensor:
        return _twin(cotangent)
    return tuple(map(for_reading, cotangent)) if kind is tuple else cotangent


def raise_named(error: Exception, node: Node, rule: LiveRule, given: str) -> NoReturn:
    """Raise one of WRITE_ERRORS again; where the rule wrote into what it was given, with its name and its operand's."""
    if not isinstance(error, InPlaceError) and not any(sign in str(error) for sign in _SIGNS_OF_WRITING):
        raise error
    operands = " and ".join(repr(node.op.operand_at(position).name) for position, _ in rule.serves)
    direction = "VJP" if given == "g" else "forward-mode"
    raise RuleError(
        f"the {direction} rule {getattr(rule.function, '__name__', rule.function)!r} of op {node.op.name!r} "
        f"for operand {operands} "
        f"writes into {given} or another array that it was given ({error}); others read the same array, so compute a "
        f"new one: {given} * a, not {given} *= a ({node.describe()}){card_line(node.op)}"
    ) from error


def _receive(node: Node, position: int, gradient: object, gradients: dict[Node, Any]) -> None:
    """Add what a rule returned for one input to that input's gradient."""
    if gradient is None:
        return
    entry = node.inputs[position]
    if entry.__class__ is Port:
        types = entry.node.output_types[entry.index]
    else:
        types = entry.types
    if SCALAR_TYPES.get(gradient.__class__) is not types:
        if not types.differentiable:
            return
        gradient = conform(gradient, types, node, position)
    if entry.__class__ is Port:
        _add(gradients, entry, gradient)
        return
    old = gradients.get(entry)
    gradients[entry] = gradient if old is None else _sum(old, gradient)


def fetch(node: Node, rule: LiveRule, saved: Any, live: set[Node] | None = None) -> list[Any]:
    """What a rule asked for: saved values, tuples of them for a variadic operand, settings.

    Args:
        live: the nodes whose gradients lead to a wanted one; None if all do.
    """
    arguments: list[Any] = []
    given = node.settings
    for argument in rule.arguments:
        kind = argument.__class__
        if kind is int:
            arguments.append(saved[argument])
        elif kind is tuple:
            arguments.append(tuple(map(saved.__getitem__, argument)) if argument else ())  # type: ignore[arg-type]
        elif kind is str:
            arguments.append(given[argument] if argument in given else node.op.signature.settings[argument])  # type: ignore[index]
        elif argument is None:
            arguments.append(None)
        else:  # wanted
            arguments.append(
                tuple(
                    place
                    for served, place in rule.serves
                    if live is None or _leads(node.inputs[served], live)
                )
            )
    return arguments


def part_of(node: Node, result: Numeric, place: int | None, rule: LiveRule) -> Any:
    if place is None:
        return result
    if not isinstance(result, tuple | list) or place >= len(result):
        shown = (
            f"{len(result)} values" if isinstance(result, tuple | list) else f"one {type(result).__name__}"
        )
        raise RuleError(
            f"the joint VJP rule {getattr(rule.function, '__name__', rule.function)!r} of op {node.op.name!r} "
            f"must return a tuple with one entry per operand it serves (None where nothing flows); it returned {shown}"
            f"{card_line(node.op)}"
        )
    return result[place]


class NotDerived(RuleError):
    """A rule cannot be derived by looking through an op; the text says why."""


def missing_rule(node: Node, position: int, why: str = "") -> MissingRuleError:
    """The error of an operand without a rule, with the reason why none could be derived."""
    operand = node.op.operand_at(position).name
    reason = f"; none follows from its forward: {why}" if why else ""
    return MissingRuleError(
        f"op {node.op.name!r} has no VJP rule for its operand {operand!r}, which needs a gradient here "
        f"({node.describe()}){reason}. Attach one with @{node.op.name}.vjp({operand!r}), declare the operand "
        f"nondifferentiable, or pass tensor.detach(){card_line(node.op)}"
    )


def _typed_zeros(node: Node, parts: list[Any]) -> tuple[Any, ...] | None:
    """Cotangents of all outputs: zeros where none arrived, None for integer outputs."""
    filled = []
    for part, types in zip(parts, node.output_types, strict=True):
        if part is None and types.differentiable:
            part = np.zeros(types.shape, types.dtype)
        filled.append(part if types.differentiable else None)
    return tuple(filled) if any(part is not None for part in parts) else None


def rewrapped(node: Node) -> list[Any]:
    """A node's saved values as tensors that know where they came from."""
    saved: list[Any] = []
    if node.saved is None:
        types = iter(node.live_rules.types)
        for slot in node.live_rules.slots:
            if slot is None:
                saved.append(_entry_type(node.inputs[next(types)]))
            elif slot < 0:
                saved.append(_outputs(node, None))
            else:
                entry = node.inputs[slot]
                saved.append(Tensor(None, entry) if is_recorded(entry) else entry)
        return saved
    for slot, value in zip(node.live_rules.slots, node.saved, strict=True):
        if slot is None:
            saved.append(value)
        elif slot < 0:
            saved.append(_outputs(node, value))
        else:
            entry = node.inputs[slot]
            if is_recorded(entry):
                leaf = entry if entry.__class__ is Leaf else None
                tracked = entry if leaf is None or leaf.requires_grad else None
                saved.append(Tensor(value, tracked, leaf))
            else:
                saved.append(value)
    return saved


def _entry_type(entry: object) -> ArrayType | None:
    if entry is None:
        return None
    return entry_type(entry)


def _outputs(node: Node, value: Any) -> Any:
    if isinstance(node.types, ArrayType):
        return Tensor(value, node)
    values = value if value is not None else (None,) * len(node.types)
    return tuple(Tensor(one, Port(node, i)) for i, one in enumerate(values))


def conform(gradient: Any, types: ArrayType, node: Node, position: int) -> Any:
    """A gradient with the shape and dtype of the input it belongs to.

    What broadcasting spread is summed, what the input's dtype cannot hold is converted (the real part for a real
    input). Anything else means that the rule is wrong.

    Raises:
        RuleError: the shape cannot be that of a gradient for this input.
    """
    shape = gradient.shape if hasattr(gradient, "shape") else np.shape(gradient)
    if shape != types.shape:
        if not _spreads(types.shape, shape):
            raise _wrong_shape(node, position, shape, types)
        gradient = unbroadcast(gradient, types.shape)
    dtype = getattr(gradient, "dtype", None)
    if dtype != types.dtype:
        if types.dtype.kind == "O":
            return gradient if isinstance(gradient, Tensor) else as_value(gradient)
        if dtype is None:
            return as_value(gradient, types.dtype)
        if dtype.kind == "c" and types.dtype.kind != "c":
            gradient = ops.real(gradient)
        gradient = ops.cast(gradient, dtype=types.dtype)
    return gradient


def _spreads(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of shape `small` broadcasts to `large`."""
    if len(small) > len(large):
        return False
    return all(a in (1, b) for a, b in zip(reversed(small), reversed(large), strict=False))


def unbroadcast(gradient: Numeric, shape: tuple[int, ...]) -> Any:
    """Sum a gradient over the axes along which its input was broadcast to it."""
    extra = len(gradient.shape) - len(shape)
    stretched = [i + extra for i, size in enumerate(shape) if size == 1 and gradient.shape[i + extra] != 1]
    axes = (*range(extra), *stretched)
    if isinstance(gradient, np.ndarray):
        return as_value(gradient.sum(axis=axes, keepdims=True).reshape(shape))
    return ops.reshape(ops.sum(gradient, axis=axes, keepdims=True), shape=shape)


def _wrong_shape(node: Node, position: int, shape: tuple[int, ...], types: ArrayType) -> RuleError:
    operand = node.op.operand_at(position).name
    return RuleError(
        f"the VJP rule of op {node.op.name!r} for operand {operand!r} returned shape {tuple(shape)}, but the operand "
        f"is {types}; a gradient has its operand's shape (or one that the operand broadcasts to){card_line(node.op)}"
    )
