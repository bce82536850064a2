"""`detect_anomaly`: inside of it the first value that is not finite raises, where it is made.

Ops are called through one class attribute, `Op.__call__`, and compiled functions through `Compiled.__call__`; both are
exchanged while a block is open somewhere, and look at results in the threads that opened one. So nothing is paid else.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.compiler.compiled import Compiled
from tinygraph.core.engine import looking_back
from tinygraph.core.graph import Graph, replay
from tinygraph.core.locks import Lock
from tinygraph.core.modes import modes
from tinygraph.core.node import Node, Port, edge_index, edge_node, is_recorded, new_node
from tinygraph.core.op import Op
from tinygraph.core.source import here
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import type_of
from tinygraph.debugging.not_finite import bad_elements, made_at, pulled_at_node
from tinygraph.debugging.reason import Reason
from tinygraph.errors import AnomalyError, TinygraphError
from tinygraph.explaining.cotangents import value_on

if TYPE_CHECKING:
    from tinygraph.core.numeric import Numeric


class _Here(threading.local):
    """How many blocks this thread is in, and which of NaN and infinity the innermost looks for."""

    depth = 0
    tests: tuple[Any, ...] = ()


_here = _Here()
_open = 0  # blocks in all threads
_plain = Op.__call__
_compiled = Compiled.__call__
_lock = Lock()


@contextmanager
def detect_anomaly(*, infinite: bool = True) -> Iterator[None]:
    """Context manager: the first NaN or infinity that an op or a derivative makes of finite values raises there.

    Values that are infinite from the start, such as a mask's -inf, may pass; what makes new ones of them does not.
    Inside, compiled functions run op by op.

    Args:
        infinite: whether infinity is looked for, or NaN alone.

    Raises:
        AnomalyError: with `.reason`, a `Reason`: the op, its operands at that element, the user's line, a script.

    >>> import numpy as np
    >>> import tinygraph as tg
    >>> x = tg.tensor([1.0, 0.0], requires_grad=True)
    >>> with np.errstate(divide="ignore"), detect_anomaly():
    ...     try:
    ...         np.log(x)
    ...     except tg.errors.AnomalyError as error:
    ...         print(error.reason.kind, error.reason.node.op.name)
    not finite forward log
    """
    before = _here.tests
    _enter()
    _here.depth += 1
    _here.tests = (np.isnan, np.isinf) if infinite else (np.isnan,)
    try:
        with looking_back(_look_back):
            yield
    finally:
        _here.depth -= 1
        _here.tests = before
        _leave()


def _enter() -> None:
    global _open
    with _lock.held:
        _open += 1
        Op.__call__, Compiled.__call__ = _looking, _one_by_one  # type: ignore[assignment, method-assign]


def _leave() -> None:
    global _open
    with _lock.held:
        _open -= 1
        if _open == 0:
            Op.__call__, Compiled.__call__ = _plain, _compiled  # type: ignore[method-assign]


def _one_by_one(compiled: Compiled, *args: object, **kwargs: object) -> Any:
    """A compiled function, run op by op in the threads that look."""
    if _here.depth and modes.current.capture is None:
        return compiled.function(*args, **kwargs)
    return _compiled(compiled, *args, **kwargs)


def _looking(op: Op, *operands: object, **settings: object) -> Any:
    """`apply`, and a look at what came of it."""
    out = _plain(op, *operands, **settings)
    mode = modes.current
    if not _here.depth or mode.capture is not None or mode.place.phase == "backward":
        return out
    result = _values(out)
    for test in _here.tests:
        if bad_elements(result, test):
            given = [one._value if isinstance(one, Tensor) else one for one in operands]
            if not any(
                bad_elements(one, test) for one in given if isinstance(one, np.ndarray | np.generic | float)
            ):
                raise AnomalyError(made_at(_node(op, given, settings, result), given, result, test))
    return out


def _values(out: object) -> Any:
    if isinstance(out, tuple | list):
        return tuple(map(_values, out))
    return out._value if isinstance(out, Tensor) else out


def _node(op: Op, operands: list[Any], settings: dict[str, Any], result: object) -> Node:
    """A node that stands for the call: what a `Reason` is about."""
    types = tuple(map(type_of, result)) if isinstance(result, tuple) else type_of(result)
    rules = op.live_rules(0, len(operands), False)
    return new_node(op, tuple(operands), dict(settings), types, rules, modes.current.place, (here(4), 0))


def _look_back(node: Node, cotangent: object, gradients: dict[Node, Any]) -> None:
    """Raise if a derivative made of a finite cotangent one that is not finite."""
    if node.saved is None:  # of a captured program, which has no values
        return
    for test in _here.tests:
        if bad_elements(_values(cotangent), test):
            continue
        for position, entry in enumerate(node.inputs):
            if not is_recorded(entry):
                continue
            found = gradients.get(edge_node(entry))
            part = _values(found[edge_index(entry)] if isinstance(found, list) else found)
            if bad_elements(part, test):
                raise AnomalyError(_reason_back(node, position, _values(cotangent), part))


def _reason_back(node: Node, position: int, cotangent: Numeric, part: Any) -> Reason:
    """The finding, with the operands' values as far as the tape still has them."""
    try:
        values = replay(Graph((), [node] if len(node.output_types) == 1 else [Port(node, 0)]))
    except TinygraphError:  # a parameter was written since, or a stand-in cannot be run
        text = f"the derivative of {node.describe()} made a gradient that is not finite of one that is"
        return Reason("not finite backward", text, node)
    operands = [value_on(entry, values) if is_recorded(entry) else entry for entry in node.inputs]
    return pulled_at_node(node, operands, position, cotangent, part)
