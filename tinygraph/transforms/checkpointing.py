"""Recompute instead of keeping: `checkpoint` trades a second forward pass for the memory of the first."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.core.engine import ancestors, propagate
from tinygraph.core.fingerprint import fingerprint
from tinygraph.core.modes import mode, modes
from tinygraph.core.node import Edge, Leaf, Node, Port, edge_node, edge_type, next_order
from tinygraph.core.op import Op, op
from tinygraph.core.regions import Region
from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.core.trees import flatten
from tinygraph.errors import StaleValueError

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


def checkpoint(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the same results and gradients that keeps only its inputs for the backward pass.

    The backward pass runs `function` again, and finds states and generators as they were: a second run of a BatchNorm
    or Dropout neither counts nor draws. Parameters that the function reads by closure get their gradients too. Inside a
    capture the function is recorded as usual: there the plan decides what to recompute.

    Raises:
        StaleValueError: in the backward pass, where something that the function reads has changed in between.

    >>> import tinygraph as tg
    >>> x = tg.tensor(2.0, requires_grad=True)
    >>> checkpoint(lambda x: x * x * x)(x).backward()
    >>> x.grad.item()
    12.0
    """

    @functools.wraps(function)
    def checkpointed(*args: object, **kwargs: object) -> Any:
        if not modes.current.recording or modes.current.capture is not None:
            return function(*args, **kwargs)
        leaves, tree = flatten((args, kwargs))
        as_they_are = [_as_it_is(leaf) for leaf in leaves]
        moving = [i for i, leaf in enumerate(leaves) if isinstance(leaf, Tensor) and leaf._edge is not None]

        def run(*operands: object) -> Any:
            filled = list(leaves_without_graph)
            for i, operand in zip(moving, operands, strict=True):
                filled[i] = operand
            args, kwargs = tree.unflatten(filled)
            return function(*args, **kwargs)

        operands = [leaves[i] for i in moving]
        leaves_without_graph = [None if i in moving else leaf for i, leaf in enumerate(leaves)]
        with Region(getattr(function, "__name__", type(function).__name__)) as region:
            segment = _Segment(run, [operand._value for operand in operands])
        region.rely(segment.outer_leaves)
        leaves_without_graph = [None if i in moving else leaf for i, leaf in enumerate(as_they_are)]
        outputs, result = flatten(segment.result)
        outer = segment.outer_edges
        if not operands and not outer:
            return segment.result
        # The outer tensors join as operands, so that gradients reach them; their values are not kept.
        read = segment.constants
        closed_over = [Tensor(edge_type(edge).stand_in(), edge, _leaf(edge)) for edge in outer]
        values = [out._value if isinstance(out, Tensor) else out for out in outputs]
        again = _op(run, values, len(operands), region, read)
        plain = [
            None if isinstance(out, Tensor) else out for out in outputs
        ]  # which no gradient flows through
        del segment, outputs
        out = again(*operands, *closed_over)
        found = out if isinstance(out, tuple) else (out,)
        return result.unflatten(
            [one if kept is None else kept for one, kept in zip(found, plain, strict=True)]
        )

    return checkpointed


class _Segment:
    """One recorded run of a function, on fresh leaves or on identities of recorded operands."""

    def __init__(self, run: Callable[..., Any], operands: Sequence[Any]) -> None:
        self.floor = next_order()
        with mode(recording=True):
            self.operands = [_fresh(operand) for operand in operands]
            self.result = run(*self.operands)
        self.outputs = [out for out in flatten(self.result)[0] if isinstance(out, Tensor)]
        self.nodes = ancestors((out._edge for out in self.outputs), self.floor)

    @property
    def outer_leaves(self) -> list[Leaf]:
        """The leaves from before the run that it read, parameters and others."""
        entries = (entry for node in self.nodes for entry in node.inputs)
        return [one for one in entries if isinstance(one, Leaf) and one.order < self.floor]

    @property
    def outer_edges(self) -> list[Edge]:
        """The recorded values from before the run that it read, each once."""
        found: dict[tuple[int, int], Edge] = {}
        for node in [*self.nodes, *(out._edge for out in self.outputs)]:
            entries = node.inputs if isinstance(node, Node) and node.order >= self.floor else (node,)
            for entry in entries:
                source = entry.node if isinstance(entry, Port) else entry
                if isinstance(source, Node) and source.order < self.floor and _tracked(source):
                    found[id(source), getattr(entry, "index", 0)] = entry
        return list(found.values())

    @property
    def constants(self) -> list[bytes | Any]:
        """What tells the plain arrays and numbers apart that the run read, in order."""
        return [
            fingerprint(np.asarray(entry))
            for node in self.nodes
            for entry in node.inputs
            if isinstance(entry, np.ndarray | np.generic | int | float | complex)
        ]


def _as_it_is(leaf: Any) -> Any:
    """A tensor of plain data as it is now: a later write gives it another array, which the second run would read."""
    plain = isinstance(leaf, Tensor) and leaf._edge is None and leaf._leaf is None
    return Tensor(leaf._value) if plain else leaf


def _fresh(operand: object) -> Tensor:
    value = operand._value if isinstance(operand, Tensor) else operand
    if isinstance(operand, Tensor) and operand._edge is not None:
        copy: Tensor = ops.identity(operand)
        return copy
    leaf = Leaf(value, requires_grad=True)
    return Tensor(value, leaf, leaf)


def _tracked(source: Node) -> bool:
    return not isinstance(source, Leaf) or source.requires_grad


def _leaf(edge: Edge) -> Leaf | None:
    return edge if isinstance(edge, Leaf) else None


def _op(run: Callable[..., Any], values: list[Any], count: int, region: Region, read: list[Any]) -> Op:
    """The op of one checkpointed call: its forward is done already, its rule runs the function again."""

    def checkpoint(*xs: object) -> Any:
        return tuple(values) if len(values) != 1 else values[0]

    def checkpoint_wrt_xs(g: object, xs: Numeric) -> Any:
        with region.again():
            return pulled_back(g if isinstance(g, tuple) else (g,), xs[:count])

    def pulled_back(cotangents: tuple[Any, ...], xs: Any) -> tuple[Any, ...]:
        record = modes.current.recording
        segment = _Segment(run, xs)
        _require_same(values, flatten(segment.result)[0], region.name, segment.constants == read)
        seeds = [
            (out._edge, cotangent)
            for out, cotangent in zip(flatten(segment.result)[0], cotangents, strict=True)
            if isinstance(out, Tensor) and out._edge is not None and cotangent is not None
        ]
        outer = segment.outer_edges
        targets = [tensor._edge for tensor in segment.operands if tensor._edge is not None] + outer
        sources = {id(edge_node(edge)): edge_node(edge) for edge in outer}
        nodes = sorted(sources.values(), key=lambda node: node.order) + segment.nodes
        found = propagate(nodes, seeds, wanted=set(map(edge_node, targets)), record=record)
        return tuple(_gradient(found, edge) for edge in targets)

    made = op(name=f"checkpoint({region.name})", declare=False)(checkpoint)
    made.vjp("xs")(checkpoint_wrt_xs)
    return made


def _gradient(found: dict[Node, Any], edge: Edge) -> Any:
    gradient = found.get(edge_node(edge))
    return gradient[edge.index] if isinstance(edge, Port) and gradient is not None else gradient


def _require_same(values: Sequence[Any], outputs: Sequence[Any], name: str, same_data: bool) -> None:
    """Raise if the second run did not compute what the first one did.

    What it reads besides states cannot be watched - attributes, modes, Python's random - but what it makes of them can,
    and the arrays and numbers that its nodes read are compared as they are (`same_data`). Sums of many numbers may
    round otherwise where arrays lie otherwise, so equality is not asked for.
    """
    same = same_data and len(values) == len(outputs)
    for value, out in zip(values, outputs, strict=False):
        if isinstance(out, Tensor) and out._value is not None:
            same = same and _close(np.asarray(value), np.asarray(out._value))
    if not same:
        raise StaleValueError(
            f"checkpoint({name}): run again for the backward pass, the function read other data, or computed other "
            f"values, than in the forward pass. Something that it reads has changed since - an array, an attribute, "
            f"train() or eval(), Python's or NumPy's own random numbers: run backward before changing it, pass it as "
            f"an argument, or draw from tinygraph's generators"
        )


def _close(value: np.ndarray[Any, Any], again: np.ndarray[Any, Any]) -> bool:
    if value.shape != again.shape or value.dtype != again.dtype:
        return False
    if value.dtype.kind not in "fc":
        return bool((value == again).all())
    finite = np.abs(value[np.isfinite(value)])
    rounding = float(np.finfo(value.dtype).eps) ** 0.75
    scale = float(finite.max(initial=0.0))
    return bool(np.allclose(again, value, rtol=rounding, atol=rounding * scale, equal_nan=True))
