"""Primals: the fresh, tracked copies of its arguments that a transform differentiates with respect to.

Also the question every transform asks at its end: does anything outside still influence the result? If so the result
stays a tensor, recorded; if not, arrays come out where arrays went in.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np

from tinygraph.core.engine import ancestors
from tinygraph.core.modes import mode, modes
from tinygraph.core.node import Edge, Leaf, Node, Port, edge_node
from tinygraph.core.registry import ops
from tinygraph.core.tensor import Captured, CapturedArray, Tensor, wants_gradient
from tinygraph.core.trees import Tree, paths
from tinygraph.core.types import ArrayType, as_value, require_plain, type_of
from tinygraph.core.views import lies_in_leaf
from tinygraph.errors import DTypeError, SettingError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


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

    Each has a name for messages. Those that are kept while user's code runs, which may write what it gave, have memory
    of their own.
    """

    def __init__(
        self, given: Sequence[Any], transform: str, names: Sequence[str], kept: bool = False
    ) -> None:
        self.given = [_checked(value, name, transform) for value, name in zip(given, names, strict=True)]
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
        given = [value for value in (*self.given, *extra) if isinstance(value, Tensor)]
        # captured: there are no values, only what stands for them
        captured = any(value._value is None for value in given) or any(node.saved is None for node in nodes)
        if not (captured or mode.recording):
            return Outside.PLAIN
        floor = self.floor
        before = [edge_node(value._edge) for value in given if value._edge is not None]
        for node in nodes:
            for entry in node.inputs:
                source = entry.node if entry.__class__ is Port else entry
                if isinstance(source, Node) and source.order < floor and not _untracked(source):
                    before.append(source)
        if not (captured or before):
            return Outside.PLAIN
        if mode.capture is None or any(map(_is_tensor, self.given)):
            return Outside.RECORDED
        primals = mode.capture.primals
        eager = mode.recording and any(wants_gradient(node, primals) for node in before)
        return Outside.RECORDED if eager else Outside.CAPTURED

    def released(self, value: object, live: Outside) -> Any:
        """A result as the caller should get it."""
        if live is Outside.CAPTURED and isinstance(value, Tensor) and value._edge is not None:
            return value if isinstance(value, Captured) else CapturedArray(None, value._edge)
        if live is Outside.RECORDED:
            return value if isinstance(value, Tensor) else Tensor(value)
        plain = as_value(value._value if isinstance(value, Tensor) else value)
        return Tensor(plain) if self.with_tensors else plain


Argnums: TypeAlias = "int | str | Sequence[int | str]"


class Chosen:
    """The arguments of a call with respect to which a transform differentiates.

    Attributes:
        keys: positions, and names of keyword arguments.
        one: whether a single one was asked for: then one derivative comes out, not a tuple.
        values: what the call gives for them.
        names: how messages call them.
        rest: the function of the chosen arguments alone, the others fixed.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        argnums: Argnums,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        transform: str,
    ) -> None:
        """Find the arguments.

        Raises:
            SettingError: what is no position or name, one that the call has no argument for, or one named twice.
        """
        self.one = isinstance(argnums, str) or not isinstance(argnums, Iterable)
        given: list[Any] = [argnums] if self.one else list(cast(Iterable[Any], argnums))
        where = f"{transform}: argnums={argnums!r}"
        if not given or any(isinstance(i, bool) or not isinstance(i, int | str | np.integer) for i in given):
            raise SettingError(
                f"{where} must be the position of an argument, or its name, or several: 0, 'w', or (0, 2)"
            )
        self.keys = keys = [_key(function, i, args, kwargs, where) for i in given]
        if len(set(keys)) < len(keys):
            raise SettingError(
                f"{where} names an argument twice: name each once, and use its derivative twice"
            )
        self.values = [args[key] if isinstance(key, int) else kwargs[key] for key in self.keys]
        self.names = [f"argument {key!r}" if isinstance(key, str) else f"argument {key}" for key in self.keys]

        def rest(*values: object) -> Any:
            full, named = list(args), dict(kwargs)
            for key, value in zip(keys, values, strict=True):
                if isinstance(key, int):
                    full[key] = value
                else:
                    named[key] = value
            return function(*full, **named)

        self.rest = rest


def _key(
    function: Callable[..., Any], chosen: Any, args: Sequence[Any], kwargs: dict[str, Any], where: str
) -> int | str:
    """Where a call has an argument: its position, or its name among the keywords."""
    count = len(args)
    if not isinstance(chosen, str):
        if not -count <= chosen < count:
            raise SettingError(
                f"{where}, but the call has {count} positional argument(s)"
                + (
                    f"; those given by keyword are chosen by name: {', '.join(map(repr, kwargs))}"
                    if kwargs
                    else ""
                )
            )
        return int(chosen) % count
    if chosen in kwargs:
        return chosen
    names = _parameters(function)
    if chosen in names[:count]:
        return names.index(chosen)
    known = ", ".join(names) or "none by name"
    given = f"{count} by position{', and by name ' + ', '.join(kwargs) if kwargs else ''}"
    raise SettingError(
        f"{where} must be the position of an argument, or its name: the function takes {known}, and the call gives "
        f"{given}"
    )


def _parameters(function: Callable[..., Any]) -> list[str]:
    """The names of the parameters that may be given by position."""
    target = function.forward if hasattr(function, "forward") else function
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):
        return []
    return [one.name for one in parameters if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]


def renamed(argnums: Argnums, argnum: Argnums | None) -> Argnums:
    """`argnums`, or what was given under the name that autograd has for it.

    Raises:
        SettingError: both were given.
    """
    if argnum is None:
        return argnums
    if argnums != 0:
        raise SettingError(f"argnum={argnum!r} is another name for argnums={argnums!r}: give one of them")
    return argnum


def leaf_names(tree: Tree, names: Sequence[str]) -> list[str]:
    """What messages call the leaves of a tuple of arguments: "argument 0", "argument 0.w", "argument 'x'[1]"."""
    found = []
    for path in paths(tree)[0]:
        number, _, rest = path.removeprefix("[").partition("]")
        found.append(f"{names[int(number)]}{rest}" if number.isdigit() else path)
    return found


def _untracked(source: Node) -> bool:
    return isinstance(source, Leaf) and not source.requires_grad


def _is_tensor(value: object) -> bool:
    """Whether a value is a tensor of the user's, and no array that is captured."""
    return isinstance(value, Tensor) and not isinstance(value, Captured)


def _edge(tensor: Tensor) -> Edge:
    assert tensor._edge is not None
    return tensor._edge


def _checked(value: object, name: str, transform: str) -> Any:
    if not isinstance(value, Tensor):
        require_plain(value)
        value = np.asarray(value)
        if value.dtype.kind not in "biufcO":
            raise DTypeError(
                f"{transform} with respect to {name}, which is no number or array of them: {value!r:.60}"
            )
    types: ArrayType = value.type if isinstance(value, Tensor) else type_of(value)
    if not types.differentiable:
        raise DTypeError(
            f"{transform} with respect to {name}, which is {types}: integers and booleans have no derivatives. "
            f"Pass floats, for example {'1.0 instead of 1' if types.size == 1 else 'array.astype(float)'}"
        )
    return value


def _fresh(value: Numeric, kept: bool) -> Tensor:
    if isinstance(value, Tensor) and value._edge is not None:
        with_node: Tensor = (
            ops.copy(value, order="K") if kept and lies_in_leaf(value) else ops.identity(value)
        )
        return Tensor(None, with_node._edge) if isinstance(with_node, Captured) else with_node
    plain = value._value if isinstance(value, Tensor) else value
    plain = np.array(plain) if kept else plain
    stored = plain if plain.ndim or plain.dtype.kind == "O" else plain[()]
    leaf = Leaf(stored, requires_grad=True, kind="input")
    return Tensor(stored, leaf, leaf)
