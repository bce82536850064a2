"""The table of ONNX's operators: what each is made of here, and what such a form may ask of the node that it serves.

A form is a function `form(call, *operands)` written in NumPy and ops, so that arrays make arrays - which folds what is
constant - and tensors make nodes. Files of this folder fill the table, one family each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from tinygraph.core.node import Leaf, is_recorded
from tinygraph.core.tensor import Tensor
from tinygraph.core.types import Array
from tinygraph.errors import FileFormatError
from tinygraph.interop.onnx.element_types import OF_DTYPE

if TYPE_CHECKING:
    from tinygraph.interop.onnx.importing import Importing

Form = Callable[..., Any]
# What stands under a name in a model: an array, a tensor, a list of them (a sequence), `Quantized`, None (no value).
Operand: TypeAlias = Any
MOST_BYTES = 2**28  # of an array that is made while a file is read


class Operator(NamedTuple):
    """One row: an operator and its form.

    Attributes:
        domain, name: of the operator; the domain is empty for the default one.
        form: makes its results of a `Call` and its operands.
        carries: whether it moves values only, so that quantised values pass through as what they are.
    """

    domain: str
    name: str
    form: Form
    carries: bool


@dataclass(frozen=True, eq=False)
class Quantized:
    """Integers that were made of a tensor of floats, held as floats, so that gradients pass straight through.

    Attributes:
        value: the integers, as floats.
        code: ONNX's number of the type that they have in the model.
    """

    value: Operand
    code: int


TABLE: dict[tuple[str, str], Operator] = {}


def operator(*names: str, domain: str = "", carries: bool = False) -> Callable[[Form], Form]:
    """Enter a form for operators."""

    def enter(form: Form) -> Form:
        for name in names:
            TABLE[domain, name] = Operator(domain, name, form, carries)
        return form

    return enter


class NeedsValueError(FileFormatError):
    """A shape or setting depends on a value that only a run knows.

    Attributes:
        inputs: names of the graph's inputs that it depends on.
    """

    def __init__(self, message: str, inputs: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.inputs = inputs


class Call:
    """One node of a model, as its form sees it.

    Attributes:
        name: the node's name, or the operator's.
        op_type, domain: the operator.
        opset: the version of its domain.
        attributes: plain values by name; graphs as they stand in the file.
        outputs: names of its outputs, empty where nobody wants one.
        element_types: of each operand ONNX's number of its type.
        made_types: of outputs, where the form says that they are narrower than what holds them.
        importing: the reading of the model, for forms that run bodies.
        values: what stands around the node by name, which bodies read.
        protos: the attributes as they stand in the file, which functions refer to.
    """

    def __init__(
        self,
        op_type: str,
        domain: str,
        opset: int,
        attributes: dict[str, Any],
        inputs: Sequence[str],
        outputs: Sequence[str],
        importing: Importing,
        name: str = "",
    ) -> None:
        self.op_type, self.domain, self.opset = op_type, domain, opset
        self.attributes = attributes
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.importing = importing
        self.name = name or op_type
        self.element_types: tuple[int, ...] = ()
        self.made_types: dict[int, int] = {}
        self.values: Mapping[str, Any] = {}
        self.protos: Mapping[str, Any] = {}

    def get(self, name: str, default: Operand = None) -> Any:
        """The value of an attribute, or the operator's default."""
        return self.attributes.get(name, default)

    def need(self, name: str) -> Any:
        """The value of an attribute that must be there.

        Raises:
            FileFormatError: it is not.
        """
        if name not in self.attributes:
            raise FileFormatError(f"it needs the attribute {name!r}")
        return self.attributes[name]

    def wants(self, output: int) -> bool:
        """Whether somebody reads an output."""
        return output < len(self.outputs) and bool(self.outputs[output])


def is_static(x: object) -> bool:
    """Whether a value is known while the file is read."""
    if isinstance(x, Tensor):
        edge = x._edge
        return x._value is not None or (
            isinstance(edge, Leaf) and edge.value is not None and edge.kind != "input"
        )
    return True


def static(x: Operand, what: str) -> Array:
    """The array of an operand whose value decides shapes or settings.

    Raises:
        NeedsValueError: it depends on the values of inputs.
    """
    if not isinstance(x, Tensor):
        return np.asarray(x)
    edge = x._edge
    if x._value is not None:
        return np.asarray(x._value)
    if isinstance(edge, Leaf) and edge.value is not None:
        return np.asarray(edge.value)
    names = inputs_behind(x)
    listed = ", ".join(names) or "the inputs"
    raise NeedsValueError(
        f"its {what} depends on the values of {listed}, and a graph has one shape for given sizes of its inputs; give "
        f"that value: tg.load(path, constants={{{(names or ('name',))[0]!r}: array}})",
        names,
    )


def inputs_behind(x: Tensor) -> tuple[str, ...]:
    """The names of the graph's inputs that a value depends on."""
    from tinygraph.core.engine import ancestors

    if x._edge is None or not is_recorded(x._edge):
        return ()
    found = ancestors([x._edge])
    return tuple(one.name or "" for one in found if isinstance(one, Leaf) and one.kind == "input")


def ints(x: Operand, what: str) -> tuple[int, ...]:
    """The integers in a static operand, as a flat tuple."""
    found = static(x, what)
    if found.dtype.kind not in "iub" and found.size:
        raise FileFormatError(f"its {what} must be integers, not {found.dtype}")
    if found.size > 10_000:
        raise FileFormatError(f"its {what} has {found.size} numbers")
    return tuple(int(one) for one in found.reshape(-1))


def number(x: Operand, what: str) -> Any:
    """The one number in a static operand, as Python's."""
    found = static(x, what)
    if found.size != 1:
        raise FileFormatError(f"its {what} must be one number, and has the shape {found.shape}")
    return found.reshape(()).item()


def room(shape: Sequence[int], dtype: DTypeLike = np.uint8) -> tuple[int, ...]:
    """A shape that a form is going to make.

    Raises:
        FileFormatError: it is negative, or larger than files may ask for.
    """
    size = np.dtype(dtype).itemsize
    for one in shape:
        if one < 0:
            raise FileFormatError(f"the shape {tuple(shape)} has a negative size")
        size *= max(int(one), 1)
    if size > MOST_BYTES or len(shape) > 64:
        raise FileFormatError(f"the shape {tuple(shape)!s:.100} takes more than {MOST_BYTES} bytes")
    return tuple(int(one) for one in shape)


def axis_of(axis: int, ndim: int) -> int:
    """An axis, non-negative.

    Raises:
        FileFormatError: it is out of range.
    """
    if not -ndim <= axis < max(ndim, 1):
        raise FileFormatError(f"axis {axis} is out of range for {ndim} dimensions")
    return axis % max(ndim, 1)


def shape(x: Operand) -> tuple[int, ...]:
    return tuple(np.shape(x)) if not hasattr(x, "shape") else tuple(x.shape)


def dtype(x: Operand) -> np.dtype[Any]:
    return np.asarray(x).dtype if not hasattr(x, "dtype") else x.dtype


def code(x: Operand) -> int:
    return OF_DTYPE.get(dtype(x), 0)
