"""Models of graphs with free sizes: written at a few sizes, compared, and once more with what differs computed.

Forms of ops see sizes as plain integers. The constants that they give are fitted over all examples (`Fitting`); one
that follows the sizes becomes a few nodes, from the `Shape` of the model's inputs or of what the node reads.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from tinygraph.core.node import Node, edge_type, is_recorded
from tinygraph.core.remaking import edges
from tinygraph.core.sizes import (
    Atom,
    FreeArray,
    FreeFloat,
    FreeInt,
    SizeFormula,
    Sizes,
    is_free,
    said,
    valued,
)
from tinygraph.core.types import Array, ArrayType
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.element_types import code_of
from tinygraph.tracing.formulas import Fitting, Unfitted, nearly

if TYPE_CHECKING:
    from tinygraph.interop.onnx.model_writing import Writing

MOST_NUMBERS = 64  # of a vector of integers that are fitted one by one: a shape, starts, paddings
Entry: TypeAlias = Any  # an edge, a constant, or None


class Given(NamedTuple):
    """What a form gave while it wrote a node.

    Attributes:
        kind: "constant", "shape" (of an input or output) or "operator".
        value: the array or shape; an operator's type and attributes.
        node: that was written, if one was.
        operands: the types of what the node reads, where that has a name.
    """

    kind: str
    value: Any
    node: Node | None
    operands: tuple[ArrayType | None, ...] = ()


class FittedNumbers(NamedTuple):
    """A constant number, or vector of few, that follows the sizes: each number, and the example's array."""

    numbers: tuple[Any, ...]
    example: Array


class RecordingForms:
    """A first pass: what forms give is kept, in order."""

    def __init__(self) -> None:
        self.seen: list[Given] = []

    def take(self, writing: Writing, kind: str, value: Any) -> Any:
        read = around(writing.current) if kind == "constant" else []
        known = tuple(edge_type(one) if _has_name(writing, one) else None for one in read)
        self.seen.append(Given(kind, value, writing.current, known))
        return value


class ReplayingForms:
    """The last pass: for what a form gives comes what it follows from.

    Attributes:
        inputs: of each free size the name of an input and the axis that has it.
    """

    def __init__(self, values: Sequence[Any]) -> None:
        self.values = iter(values)
        self.inputs: dict[str, tuple[str, int]] = {}

    def know(self, inputs: Sequence[Any]) -> None:
        """Take the infos of the model's inputs, which name the sizes."""
        for info in inputs:
            for axis, dim in enumerate(info.type.tensor_type.shape.dim):
                if dim.dim_param:
                    self.inputs.setdefault(dim.dim_param, (info.name, axis))

    def take(self, writing: Writing, kind: str, value: Any) -> Any:
        del writing, kind, value
        return next(self.values)


def around(node: Node | None) -> list[Entry]:
    """What formulas of a node may refer to: what it reads; behind it what the forward node reads and makes."""
    if node is None:
        return []
    origin = node.place.origin
    return [*node.inputs] if origin is None else [*node.inputs, *origin.inputs, *edges(origin)]


def _has_name(writing: Writing, entry: Entry) -> bool:
    return is_recorded(entry) and bool(writing.name_of(entry))


# -- from what was seen at several sizes to formulas ----------------------------------------------------------------


def fitted(sizes: Sequence[Sizes], passes: Sequence[Sequence[Given]]) -> Iterator[Any]:
    """What the passes gave, each as one value that follows the sizes; the last pass only checks.

    Raises:
        FileFormatError: something is written otherwise at other sizes, by no formula; naming the node.
    """
    fitting = Fitting(sizes[:-1])
    for several in zip_longest(*passes):
        try:
            yield _fitted(fitting, sizes[-1], several)
        except Unfitted as error:
            node = next((one.node for one in several if one is not None and one.node is not None), None)
            where = f"{node.describe()}: " if node is not None else ""
            raise FileFormatError(
                f"{where}how it is written in ONNX's operators depends on {' and '.join(fitting.names)}: {error}. "
                f"Save the graph of one size, captured without dynamic_axes"
            ) from None


def _fitted(fitting: Fitting, last: Sizes, several: Sequence[Given | None]) -> Any:
    present = [one for one in several if one is not None]
    kind, values = present[0].kind, [one.value for one in present]
    if len(present) < len(several) or any(one.kind != kind for one in present):
        raise Unfitted("it takes other operators at other sizes")
    if kind == "operator":
        other = next((one for one in values if one != values[0]), None)
        if other is not None:
            raise Unfitted(_difference(values[0], other))
        return values[0]
    if kind == "shape":
        return fitting.shape([ArrayType(value, np.dtype(float)) for value in values[:-1]]).shape
    operands = list(zip(*(one.operands for one in present[:-1]), strict=True))
    found = _constant(fitting, values[:-1], operands)
    if not nearly(values[-1], _constant_at(found, last, present[-1].operands)):
        raise Unfitted(f"a constant follows the sizes tried, but is another at {said(last)}")
    return found


def _difference(one: tuple[str, dict[str, Any]], other: tuple[str, dict[str, Any]]) -> str:
    if one[0] != other[0]:
        return f"it is {one[0]} or {other[0]}"
    name = next(key for key in one[1] | other[1] if one[1].get(key) != other[1].get(key))
    return f"{name} of {one[0]} is {one[1].get(name)} or {other[1].get(name)}"


def _constant(fitting: Fitting, values: Sequence[Array], operands: Sequence[Any]) -> Any:
    first = values[0]
    alike = all((one.shape, one.dtype) == (first.shape, first.dtype) for one in values)
    if alike and all(one is first or one.tobytes() == first.tobytes() for one in values):
        return first
    if alike and first.dtype.kind in "iu" and first.ndim <= 1 and first.size <= MOST_NUMBERS:
        columns = zip(*(one.reshape(-1).tolist() for one in values), strict=True)
        return FittedNumbers(tuple(fitting.integer(column, operands) for column in columns), first)
    if alike and first.ndim == 0 and first.dtype.kind == "f":
        return FittedNumbers((fitting.number([one.item() for one in values], operands, first.dtype),), first)
    return fitting.array(values, operands)


def _constant_at(found: Any, sizes: Sizes, operands: Sequence[ArrayType | None]) -> Any:
    if isinstance(found, FittedNumbers):
        numbers = valued(found.numbers, sizes, operands)
        return np.asarray(numbers, found.example.dtype).reshape(found.example.shape)
    return valued(found, sizes, operands)


# -- constants that are computed in the model -----------------------------------------------------------------------

# How numbers follow from an integer `n` in double precision: the keys are those of `SHAPES_OF_NUMBERS`.
NUMBERS: Mapping[str, Callable[[Any, str, str], str]] = {
    "{scale}/{n}": lambda add, n, scale: add("Div", scale, n),
    "{n}*{scale}": lambda add, n, scale: add("Mul", n, scale),
    "{scale}*{n}**-0.5": lambda add, n, scale: add("Mul", scale, add("Reciprocal", add("Sqrt", n))),
    "{scale}/sqrt({n})": lambda add, n, scale: add("Div", scale, add("Sqrt", n)),
    "sqrt({n})*{scale}": lambda add, n, scale: add("Mul", add("Sqrt", n), scale),
    "{n}/({n}-{scale})": lambda add, n, scale: add("Div", n, add("Sub", n, scale)),
    "({n}-{scale})/{n}": lambda add, n, scale: add("Div", add("Sub", n, scale), n),
}
DOUBLE, WHOLE = np.dtype(np.float64), np.dtype(np.int64)


@contextmanager
def _by_itself(writing: Writing) -> Iterator[None]:
    """Inside of it nodes and constants are no form's, and stand as they are given."""
    sized, writing.sized = writing.sized, None
    try:
        yield
    finally:
        writing.sized = sized


class ComputedConstants:
    """Constants of a model that its own nodes compute, one writing's; numbers are vectors of one element on the way."""

    def __init__(self, writing: Writing, inputs: Mapping[str, tuple[str, int]]) -> None:
        self.w, self.inputs, self.read = writing, inputs, around(writing.current)

    def constant(self, found: Any) -> str:
        """The name of a fitted constant."""
        with _by_itself(self.w):
            if not isinstance(found, FittedNumbers):
                return self.pattern(found)
            dtype, shape = found.example.dtype, found.example.shape
            several = [self.number(one, dtype) for one in found.numbers]
            if shape == ():
                return self.w.reshape(several[0], ())
            return several[0] if len(several) == 1 else str(self.w.add("Concat", *several, axis=0))

    def number(self, value: Any, dtype: np.dtype[Any]) -> str:
        """A number as a vector of one element of a dtype."""
        if isinstance(value, FreeInt):
            assert value.formula is not None  # the fitting raises where there is none
            return self.w.cast(self.formula(value.formula), WHOLE, dtype)
        if isinstance(value, FreeFloat):
            n = self.w.cast(self.formula(value.formula), WHOLE, DOUBLE)
            scale = self.w.constant(np.array([value.scale], DOUBLE))
            return self.w.cast(NUMBERS[value.shape_of](self.w.add, n, scale), DOUBLE, dtype)
        return self.w.constant(np.array([value], dtype))

    def whole(self, value: int) -> str:
        """An integer as a vector of one element."""
        return self.number(value, WHOLE)

    def formula(self, formula: SizeFormula) -> str:
        """The sum of products; what is no integer is rounded down, as Python does it."""
        key = ("size", str(formula), tuple(self.source(one) for _, atoms in formula.terms for one in atoms))
        if key not in self.w.constants:
            lowest = math.lcm(*(factor.denominator for factor, _ in formula.terms))
            terms = [self.term(int(factor * lowest), atoms) for factor, atoms in formula.terms]
            total = terms[0]
            for one in terms[1:]:
                total = self.w.add("Add", total, one)
            if lowest != 1:
                by = self.w.constant(np.array([lowest], WHOLE))
                total = self.w.add("Div", self.w.add("Sub", total, self.w.add("Mod", total, by)), by)
            self.w.constants[key] = total
        return self.w.constants[key]

    def term(self, factor: int, atoms: Sequence[Atom]) -> str:
        names = [self.size(*self.source(one)) for one in atoms]
        if factor != 1 or not names:
            names.append(self.w.constant(np.array([factor], WHOLE)))
        product = names[0]
        for one in names[1:]:
            product = self.w.add("Mul", product, one)
        return product

    def source(self, atom: Atom) -> tuple[str, int]:
        """The name and axis of a value that has a size."""
        if isinstance(atom, str):
            return self.inputs[atom]
        name = self.w.name_of(self.read[atom[0]])
        assert name  # others are no operands of a fit
        return name, atom[1]

    def size(self, name: str, axis: int) -> str:
        key = "size", name, axis
        if key not in self.w.constants:
            self.w.constants[key] = self.w.add("Shape", name, start=axis, end=axis + 1)
        return self.w.constants[key]

    def pattern(self, found: FreeArray) -> str:
        """An array by its rule; see `Pattern`."""
        w, (shape, offset, slopes, step, dtype) = self.w, found.pattern
        dims = [self.whole(one) for one in shape]
        target = dims[0] if len(dims) == 1 else w.add("Concat", *dims, axis=0)
        exact = all(isinstance(one, int) for one in (offset, *slopes))
        kind = WHOLE if exact else DOUBLE
        total = self.number(offset, kind)
        for axis, slope in enumerate(slopes):
            if slope:
                ends = (w.scalar(0, WHOLE), w.reshape(dims[axis], ()), w.scalar(1, WHOLE))
                index = w.cast(w.add("Range", *ends), WHOLE, kind)
                index = w.add("Mul", index, self.number(slope, kind))
                total = w.add("Add", total, w.reshape(index, (-1,) + (1,) * (len(shape) - axis - 1)))
        if step is not None:
            outside, inside, width = step
            within = w.add("GreaterOrEqual", total, self.number(0, kind))
            if width is not None:
                within = w.add("And", within, w.add("Less", total, self.number(width, kind)))
            kind = DOUBLE if dtype.kind == "f" else WHOLE
            total = w.add("Where", within, self.number(inside, kind), self.number(outside, kind))
        return w.cast(w.add("Expand", total, target), kind, dtype)


def shape_info(onnx: Any, name: str, dtype: np.dtype[Any], shape: Sequence[int]) -> Any:
    """What a model says of an input or output; sizes that follow the free ones by their formula."""
    dims = [
        (str(one.formula) if one.formula is not None else None) if isinstance(one, FreeInt) else one
        for one in shape
    ]
    return onnx.helper.make_tensor_value_info(name, code_of(dtype), dims)


def computed(writing: Writing, found: Any) -> str | None:
    """The name of a fitted constant that follows the sizes; None for one that is the same everywhere."""
    sized = writing.sized
    if not isinstance(sized, ReplayingForms) or not (isinstance(found, FittedNumbers) or is_free(found)):
        return None
    return ComputedConstants(writing, sized.inputs).constant(found)
