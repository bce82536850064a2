"""The words in a picture: what a node, a type or a number is called. No layout and no colours.

Everything is plain text here; escaping is the business of what writes it into a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from numbers import Number
from typing import Any

import numpy as np

from tinygraph.core.indexing import index_text
from tinygraph.core.modes import Scope
from tinygraph.core.node import Leaf, Node, is_recorded
from tinygraph.core.subgraphs import unfolding_of
from tinygraph.core.types import ArrayType, type_of
from tinygraph.packages.card import card_of

LONGEST_LABEL = 48
LONGEST_LINES = 6
LONGEST_TOOLTIP = 400
LONGEST_INTEGER = 200  # bits: more digits than a box has room for
MOST_ELEMENTS = 9  # of an array that is printed rather than summarised


# Marks that would turn the words around a name from right to left; letters of such scripts need none.
_DIRECTIONS = dict.fromkeys([0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd")


def shorten(text: str, longest: int = LONGEST_LABEL) -> str:
    """Text with its middle left out if it is long, and without marks of direction.

    >>> shorten("abcdefghij", 5)
    'ab…ij'
    """
    text = text.translate(_DIRECTIONS)
    if len(text) <= longest:
        return text
    head = longest // 2
    return f"{text[:head]}…{text[len(text) - (longest - head - 1) :]}"


def shape_text(shape: Sequence[int]) -> str:
    """A shape as people write it, and as NumPy does where people would write what reads as a number.

    >>> shape_text((8, 28, 28)), shape_text((8,)), shape_text(())
    ('8×28×28', '(8,)', 'scalar')
    """
    return f"({shape[0]},)" if len(shape) == 1 else "×".join(map(str, shape)) or "scalar"


def type_text(types: ArrayType, usual: np.dtype[Any] | None, shown: Iterable[str]) -> str:
    """Shape and dtype as `shown` asks for them; the dtype only where it is not the graph's usual one."""
    words = [shape_text(types.shape)] if "shapes" in shown else []
    if "dtypes" in shown and types.dtype != usual:
        words.append(types.dtype.name)
    return " ".join(words)


def usual_dtype(nodes: Iterable[Node]) -> np.dtype[Any] | None:
    """The dtype that most outputs have; the alphabet decides a tie."""
    counts = Counter(types.dtype for node in nodes for types in node.output_types)
    return min(counts, key=lambda dtype: (-counts[dtype], dtype.name)) if counts else None


def setting_text(value: object) -> str:
    """The value of a setting, short.

    >>> setting_text((2, 2)), setting_text(0.5), setting_text(None)
    ('(2, 2)', '0.5', 'None')
    """
    if isinstance(value, float):
        return number_text(value)
    return shorten(value if isinstance(value, str) else repr(value), 28)


def op_text(node: Node) -> str:
    """What a node is called after its op; a loop or a choice by what it runs, and how often."""
    unfolding = unfolding_of(node)
    return shorten(node.op.name if unfolding is None else unfolding.title(node.op.name))


def settings_of(node: Node) -> list[tuple[str, str]]:
    """The settings of a node that differ from the op's defaults; stride (1, 1) is the same as stride 1."""
    unfolding = unfolding_of(node)
    if unfolding is not None:  # what its title leaves out
        ops = [sum(not isinstance(inner, Leaf) for inner in one.graph.nodes) for one in unfolding.parts]
        steps = [("ops", " or ".join(map(str, ops)) + ("" if unfolding.choice else " a step"))]
        return [*steps, *([("carries", str(unfolding.carries))] if unfolding.carries else [])]
    defaults = node.op.signature.settings
    given = node.settings.items()
    return [
        (name, shorten(index_text(v), 28) if name == "pattern" and isinstance(v, tuple) else setting_text(v))
        for name, v in given
        if name not in defaults or not _same(v, defaults[name])
    ]


def _same(value: object, default: object) -> bool:
    while isinstance(value, tuple) and value and not isinstance(default, tuple):
        if any(one != value[0] for one in value):
            return False
        value = value[0]
    return type(value) is type(default) and bool(value == default)


def packed(texts: Iterable[str], longest: int = 26) -> list[str]:
    """Short texts joined into lines.

    >>> packed(["stride 2", "padding 1", "shape (2, 3, 4, 5, 6)"])
    ['stride 2, padding 1', 'shape (2, 3, 4, 5, 6)']
    """
    lines: list[str] = []
    for text in texts:
        if lines and len(lines[-1]) + len(text) + 2 <= longest:
            lines[-1] += f", {text}"
        else:
            lines.append(text)
    return lines


def constants_of(node: Node) -> list[tuple[str, str]]:
    """Operands that are constants: scalars with `= value`, arrays with their type, which reads as no value.

    >>> import tinygraph as tg
    >>> graph = tg.capture(lambda x: tg.ops.cross_entropy(x, np.array([2])) * 0.5, np.zeros((1, 3)))
    >>> [constants_of(node) for node in graph.nodes[1:]]
    [[('labels', 'int64[1]')], [('y', '= 0.5')]]
    """
    found = []
    for position, entry in enumerate(node.inputs if unfolding_of(node) is None else ()):
        if entry is not None and not is_recorded(entry):
            found.append((node.op.operand_at(position).name, constant_text(entry)))
    return found


def constant_text(entry: object) -> str:
    """A constant in a few words: `= value` for a number or text, else its type.

    >>> constant_text(3), constant_text("a"), constant_text(np.zeros((0, 2)))
    ('= 3', "= 'a'", 'float64[0,2]')
    """
    if isinstance(entry, str | bytes):
        return f"= {shorten(repr(entry), 28)}"
    value: object = np.asarray(entry)[()] if type_of(entry).shape == () else None
    return f"= {number_text(value)}" if isinstance(value, Number | np.bool_) else str(type_of(entry))


def number_text(value: object) -> str:
    """A number with four significant digits.

    >>> number_text(1 / 3), number_text(2.0), number_text(np.float32(1e-9)), number_text(True)
    ('0.3333', '2', '1e-09', 'True')
    >>> number_text(2**20000)  # Python itself refuses to write so many digits
    'an integer of 20001 bits'
    """
    if type(value) is int and value.bit_length() > LONGEST_INTEGER:
        return f"an integer of {value.bit_length()} bits"
    if isinstance(value, bool | np.bool_ | int | np.integer):
        return str(value)
    if isinstance(value, float | np.floating):
        return f"{float(value) + 0.0:.4g}"  # -0 reads like a slip
    if isinstance(value, complex | np.complexfloating):
        return f"{complex(value):.4g}"
    return shorten(str(value), 20)


def array_text(value: object) -> str:
    """An array: its elements if they are few, else the range they are in and their mean.

    >>> array_text(np.array([1.0, 2.0]))
    '[1, 2]'
    >>> array_text(np.arange(100.0))
    '0 … 99, mean 49.5'
    >>> array_text(np.sin(np.linspace(-3, 3, 101)))
    '-0.9999 … 0.9999, mean 0'
    """
    array = np.asarray(value)
    if array.ndim == 0:
        return number_text(array[()])
    if array.size == 0:
        return "empty"
    if array.size <= MOST_ELEMENTS or array.dtype.kind not in "fiub":
        return shorten(_nested(array), 80)
    if array.dtype.kind == "b":
        return f"{int(array.sum()):,} of {array.size:,} true"
    finite = array[np.isfinite(array)]
    broken = array.size - finite.size
    warning = f", {broken:,} not finite" if broken else ""
    if finite.size == 0:
        return f"all {broken:,} not finite"
    return f"{number_text(finite.min())} … {number_text(finite.max())}, mean {number_text(_mean(finite))}{warning}"


def _mean(array: np.ndarray[Any, Any]) -> float:
    """The mean; where the elements cancel out it is 0, and not the rounding errors that are left."""
    largest = float(np.abs(array.astype(np.float64)).max()) or 1.0
    parts = array.astype(np.float64) / largest  # the sum of large numbers would overflow
    rounding = 100 * np.finfo(array.dtype).eps if array.dtype.kind == "f" else 0.0
    mean = float(parts.mean())
    return largest * mean if abs(mean) > rounding * float(np.abs(parts).mean()) else 0.0


def _nested(array: np.ndarray[Any, Any]) -> str:
    if array.ndim == 0:
        return number_text(array[()])
    return f"[{', '.join(_nested(np.asarray(row)) for row in array[:MOST_ELEMENTS])}]"


def place_text(node: Node, scope: Scope) -> str:
    """A node in a few words, with the group it is in and, in a backward pass, the op that it differentiates."""
    words = f"{shorten(node.name)} = {node.op.name}" if node.name else node.op.name
    origin = node.forward_node
    words += f" of ∂ {origin.op.name}" if origin is not None and origin.op is not None else ""
    group = ".".join(name for name, _ in scope)
    return f"{words} in {shorten(group)}" if group else words


def tooltip_of(node: Node) -> str:
    """All that is known of a node's structure, for whoever points at it."""
    if isinstance(node, Leaf):
        return shorten(f"{node.describe()}: {node.types}", LONGEST_TOOLTIP)
    words = [node.op.formula or node.op.name]
    words += [f"{name} = {text}" for name, text in settings_of(node)]
    words += [f"{name} {text}" for name, text in constants_of(node)]
    words.append("-> " + ", ".join(map(str, node.output_types)))
    if node.source is not None:
        words.append(str(node.source))
    card = card_of(node.op)
    if card is not None:
        words.append(card.line)
    return shorten("\n".join(words), LONGEST_TOOLTIP)


def tally(names: Iterable[str], most: int = LONGEST_LINES) -> list[str]:
    """What there is and how often, the most frequent first.

    >>> tally(["add", "multiply", "add"])
    ['add × 2', 'multiply']
    """
    counts = Counter(names)
    ranked = sorted(counts, key=lambda name: (-counts[name], name))
    lines = [
        f"{shorten(name)} × {counts[name]:,}" if counts[name] > 1 else shorten(name) for name in ranked[:most]
    ]
    rest = sum(counts[name] for name in ranked[most:])
    return [*lines, f"and {rest:,} more"] if rest else lines
