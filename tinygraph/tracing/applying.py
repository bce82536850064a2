"""`apply` while a program is captured: an op's type rule instead of its forward, and a node that saves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from tinygraph.core.apply import explained
from tinygraph.core.capture import Capture
from tinygraph.core.modes import modes
from tinygraph.core.node import Leaf, Node, Port, edge_node, entry_type, new_node
from tinygraph.core.op import Op
from tinygraph.core.source import user_frame
from tinygraph.core.tensor import Captured, CapturedArray, CapturedNumber, Handle, Tensor, left_behind
from tinygraph.core.types import ArrayType, WeakType, forward_types, is_python_integer, type_of
from tinygraph.core.views import link, link_captured
from tinygraph.errors import CaptureError, TinygraphError


def apply_captured(
    capture: Capture, op: Op, operands: tuple[Any, ...], entries: list[Any], settings: dict[str, Any]
) -> Any:
    """Record an op by its types alone; see `Capture.apply`."""
    mode = modes.current
    types: list[Any] = []
    mask = wanted = 0
    weak = True  # whether only Python numbers take part, whose result is one again
    plain = True  # whether no tensor of the user's does, so that eager code makes an array
    for i, (x, entry) in enumerate(zip(operands, entries, strict=True)):
        if isinstance(x, Handle):
            plain = plain and isinstance(x, Captured)
            # a parameter or buffer read here becomes part of the graph, by reference
            if x._leaf is not None and x._value is not None:
                entry = entries[i] = capture.entry(x._leaf)
            elif x._edge is None:
                capture.constant(x)
            elif entry.__class__ is Leaf:
                if entry.value is None and entry.order < capture.floor:
                    raise left_behind(f"op {op.name!r}", x)
            elif edge_node(entry).order < capture.floor:
                if x._value is None:
                    raise left_behind(f"op {op.name!r}", x)
                entry = entries[i] = capture.closed_over(x)
            known = entry_type(entry)
            if isinstance(entry, (Node, Port)):  # as `is_recorded`, without a call
                mask |= 1 << i
                if mode.recording and not (
                    isinstance(entry, Leaf) and entry.leaf_kind in ("buffer", "generator")
                ):
                    wanted |= 1 << i
            weak = weak and isinstance(known, WeakType)
            types.append(known.number if isinstance(known, WeakType) else known)
        else:
            # NumPy's float64 is a Python float, too, but not weak
            weak = (
                weak and isinstance(entry, bool | int | float | complex) and not isinstance(entry, np.generic)
            )
            types.append(type_of(entry) if isinstance(entry, np.ndarray | np.generic) else entry)
    if not mask:  # tensors that hold plain data: computed now, a constant of the graph
        return _computed(capture, op, operands, entries, settings)
    try:
        result = _result_types(capture, op, types, entries, settings)
    except Exception as error:  # noqa: BLE001 - whatever it was, it is raised again with more words
        raise explained(op, operands, settings, error) from (
            None if isinstance(error, TinygraphError) else error
        )
    weak = weak and isinstance(result, ArrayType) and _is_number(op, types, settings)
    frame = user_frame(3)
    node = new_node(
        op,
        tuple(entries),
        settings,
        WeakType(*result) if weak else result,
        op.live_rules(wanted, len(types), mode.tangents),
        mode.place,
        line=(frame.f_code, frame.f_lasti) if frame is not None else (None, 0),
    )
    kind: type[Handle] = CapturedNumber if weak else CapturedArray if plain else Tensor
    found: object
    if isinstance(result, ArrayType):
        found = kind(None, node)
    else:
        found = tuple(kind(None, Port(node, i)) for i in range(len(result)))
    if op.put is not None or op.facts.get("read_only"):
        link_captured(op, operands, settings, found)
    return found


def _computed(
    capture: Capture, op: Op, operands: tuple[Any, ...], entries: list[Any], settings: dict[str, Any]
) -> Any:
    """What an op of plain data gives. A state that was written stands there as what it was written to."""
    try:
        out = op.forward(*entries, **settings)
    except Exception as error:
        raise explained(op, operands, settings, error) from error
    several = isinstance(out, tuple)
    made = tuple(map(Tensor, out if several else (out,)))
    for one in made:
        capture.made(one)
    link(op, operands, settings, made if several else made[0], entries[0])
    return made if several else made[0]


def infer_types(op: Op, types: Sequence[Any], entries: Sequence[Any], settings: dict[str, Any]) -> Any:
    """The types of an op's outputs: what its rule says, or else what the entries of its operands tell besides.

    Rules that look at shapes get types for Python numbers; where the values of boolean masks decide, the forward runs.
    """
    try:
        return op.type_rule(*types, **settings)
    except Exception:
        attempts: list[tuple[Callable[..., Any], list[Any]]] = []
        if any(isinstance(one, int | float | complex) for one in types):
            arrays = [type_of(one) if isinstance(one, int | float | complex) else one for one in types]
            attempts.append((op.type_rule, arrays))
        known = [
            entry if isinstance(entry, np.ndarray) and entry.dtype.kind == "b" else one
            for entry, one in zip(entries, types, strict=True)
        ]
        if any(one is not other for one, other in zip(known, types, strict=True)):
            attempts.append((forward_types(op.forward), known))
        for rule, operands in attempts:
            with suppress(Exception):  # what the type rule found first says more
                return rule(*operands, **settings)
        raise


def _result_types(
    capture: Capture, op: Op, types: list[Any], entries: Sequence[Any], settings: dict[str, Any]
) -> Any:
    """The types of an op's outputs, also where the value of a captured Python integer decides them."""
    usual = infer_types(op, types, entries, settings)
    for name, number in op.facts.get("decisive", {}).items():
        for i in op.signature.positions(name, len(entries)):
            entry = entries[i]
            if isinstance(entry, Leaf) and entry.value is None and is_python_integer(entry.types):
                other = infer_types(op, [*types[:i], number, *types[i + 1 :]], entries, settings)
                if other != usual and capture.is_number(entry, number):
                    return other
    return usual


def _is_number(op: Op, numbers: list[Any], settings: dict[str, Any]) -> bool:
    """Whether an op makes a Python number of Python numbers, as `x * 2` does and NumPy's functions do not."""
    with np.errstate(all="ignore"):
        result = op.forward(*numbers, **settings)
    return isinstance(result, bool | int | float | complex) and not isinstance(result, np.generic)


def recorded_before(x: Tensor) -> CaptureError:
    """What to say of a tensor that was computed before a capture and takes part in it."""
    return CaptureError(
        f"a tensor that was computed before this capture ({x.node!r}) takes part in it: a captured program would "
        f"compute it anew. Pass it as an argument, compute it inside, or use tensor.detach() for its value"
    )
