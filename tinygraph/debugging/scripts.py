"""Programs that show one application of an op again: its operands written out, the op, and what is wrong with it."""

from __future__ import annotations

import ast
import base64
import io
import keyword
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.core.node import Node
from tinygraph.core.registry import ops

WRITTEN_OUT = 64  # elements of an array that is written as a list; longer ones are packed
LARGEST = 1 << 20  # bytes of all operands together in a program


def forward_script(node: Node, operands: Sequence[Any]) -> str | None:
    """A program that applies the op and finds its result not finite; None where it cannot be written."""
    call = _call(node, operands)
    if call is None:
        return None
    return (
        f"{call.head}out = {call.text}\nprint(out)\n"
        f"outputs = out if isinstance(out, tuple) else (out,)\n"
        f"assert not all(np.isfinite(one).all() for one in outputs)\n"
    )


def backward_script(
    node: Node, operands: Sequence[Any], position: int, cotangent: object, holds: str
) -> str | None:
    """A program that pulls a cotangent back to one operand; `holds` is true of the `gradient` that it gets."""
    call = _call(node, operands)
    if call is None:
        return None
    cotangents = cotangent if isinstance(cotangent, tuple) else (cotangent,)
    literals = [_literal(np.asarray(one)) for one in cotangents]
    if any(one is None for one in literals):
        return None
    given = f"({', '.join(str(one) for one in literals)},)" if isinstance(cotangent, tuple) else literals[0]
    name = call.names[position]
    return (
        f"{call.head}out, pull = tg.vjp(lambda {name}: {call.text}, {name})\n"
        f"(gradient,) = pull({given})\nprint(gradient)\nassert {holds}\n"
    )


class _Call:
    """An op's call as text: the lines that make its operands, their names, and the call itself."""

    def __init__(self, head: str, names: list[str], text: str) -> None:
        self.head, self.names, self.text = head, names, text


def _call(node: Node, operands: Sequence[Any]) -> _Call | None:
    if getattr(ops, node.op.name, None) is not node.op:
        return None
    if sum(np.asarray(one).nbytes for one in operands if one is not None) > LARGEST:
        return None
    names, lines = _names(node), []
    for name, operand in zip(names, operands, strict=True):
        literal = "None" if operand is None else _literal(np.asarray(operand))
        if literal is None:
            return None
        lines.append(f"{name} = {literal}\n")
    settings = []
    for name, value in node.settings.items():
        if not _is_literal(value):
            return None
        settings.append(f"{name}={value!r}")
    what = f"# {node.describe()}\n"
    packed = any("_packed(" in line for line in lines)
    head = what + (_PACKED if packed else "import numpy as np\nimport tinygraph as tg\n\n") + "".join(lines)
    return _Call(head, names, f"tg.ops.{node.op.name}({', '.join([*names, *settings])})")


_PACKED = """\
import base64
import io
import zlib

import numpy as np
import tinygraph as tg


def _packed(text):
    return np.load(io.BytesIO(zlib.decompress(base64.b85decode(text))), allow_pickle=False)


"""


def _names(node: Node) -> list[str]:
    """A name for each operand: the op's own word for it, numbered where one stands for several."""
    names: list[str] = []
    for i in range(len(node.inputs)):
        operand = node.op.operand_at(i)
        name = f"{operand.name}{i}" if operand.variadic else operand.name
        names.append(f"{name}_" if keyword.iskeyword(name) else name)
    return names


def _literal(array: np.ndarray[Any, Any]) -> str | None:
    """An array as an expression; None for an array of objects."""
    if array.dtype.kind not in "biufc":
        return None
    if array.size > WRITTEN_OUT:
        file = io.BytesIO()
        np.save(file, np.ascontiguousarray(array), allow_pickle=False)
        return f'_packed("{base64.b85encode(zlib.compress(file.getvalue())).decode()}")'
    text = repr(array.tolist()).replace("nan", "np.nan").replace("inf", "np.inf")
    if array.size == 0:
        return f"np.zeros({array.shape!r}, dtype={array.dtype.name!r})"
    return f"np.array({text}, dtype={array.dtype.name!r})"


def _is_literal(value: object) -> bool:
    try:
        return bool(ast.literal_eval(repr(value)) == value)
    except (ValueError, SyntaxError):
        return False
