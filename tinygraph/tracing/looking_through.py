"""Looking through an op: its forward, run on tensors without values, as a graph of other ops - if it is one.

A forward is one where it is made of NumPy functions that have ops, and asks for no value: what it does then depends on
types and settings alone, and the graph computes what it computes.
"""

from __future__ import annotations

import weakref
from typing import Any

from tinygraph.core.graph import Graph
from tinygraph.core.modes import Place, mode
from tinygraph.core.node import Leaf, settings_key
from tinygraph.core.op import Op
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import ArrayType, WeakType, as_value
from tinygraph.core.unwatched import watched
from tinygraph.tracing.host import Host
from tinygraph.tracing.open_capture import OpenCapture

_known: weakref.WeakKeyDictionary[Op, dict[Any, Graph | str]] = weakref.WeakKeyDictionary()


def looked_through(op: Op, types: tuple[Any, ...], settings: dict[str, Any]) -> Graph | str:
    """The forward of an op as a graph, or why it is none.

    Args:
        types: an `ArrayType` for each operand, a Python number as it is, None for one that is left out.
        settings: by name.

    Returns:
        A graph with an input for each `ArrayType`, in order, and an output for each of the op's; or words that say what
        the forward does that no graph can.
    """
    key = (types, repr(types), settings_key(settings))  # a type may be a Python number
    known = _known.setdefault(op, {})
    if key not in known:
        known[key] = _looked_through(op, types, settings)
    return known[key]


def _looked_through(op: Op, types: tuple[Any, ...], settings: dict[str, Any]) -> Graph | str:
    leaves = {i: Leaf(None, kind="input", types=ArrayType(*x)) for i, x in enumerate(types) if _is_array(x)}
    given = [Tensor(None, leaves[i], leaves[i]) if i in leaves else x for i, x in enumerate(types)]
    try:
        with Host().checked(), mode(recording=True, capture=OpenCapture(), place=Place()), watched():
            result = op.forward(*given, **settings)
        expected = op.type_rule(*types, **settings)
    except Exception as error:  # noqa: BLE001 - whatever a stranger's forward makes of tensors
        return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
    outputs = list(result) if isinstance(result, tuple) else [result]
    wanted = [expected] if isinstance(expected, ArrayType) else list(expected)
    ends = [
        x._edge if isinstance(x, Tensor) and x._edge is not None else as_value(_plain(x)) for x in outputs
    ]
    graph = Graph(list(leaves.values()), ends, name=op.name)
    if [ArrayType(*one) for one in graph.output_types] != [ArrayType(*one) for one in wanted]:
        shown = ", ".join(map(str, graph.output_types))
        return f"made of ops it gives {shown}, and otherwise {', '.join(map(str, wanted))}"
    return graph


def _is_array(x: object) -> bool:
    return isinstance(x, ArrayType) and not isinstance(x, WeakType)


def _plain(x: object) -> Any:
    return x._value if isinstance(x, Tensor) else x
