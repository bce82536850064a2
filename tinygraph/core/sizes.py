"""Sizes that are free: integers, numbers and constants of a graph that follow the sizes of its inputs.

The nodes of such a graph are those of one example; where a number of it depends on a named size, it is a `FreeInt` or
`FreeFloat`: the example's number, which knows its formula and prints as it. `tinygraph.tracing.free_sizes` finds them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from tinygraph.core.types import Array, ArrayType, as_value
from tinygraph.errors import ShapeError

Sizes = Mapping[str, int]
# A factor of a term: the name of a size, or (operand, axis) of the node that the formula belongs to. Behind a backward
# node's operands are counted those of the forward node that it serves, and its results, of which rules know the sizes.
Atom = str | tuple[int, int]
Term = tuple[Fraction, tuple[Atom, ...]]


class SizeFormula(NamedTuple):
    """An integer that follows from sizes: the sum of products of sizes, each with a rational factor.

    Attributes:
        terms: a factor and the sizes that it multiplies, repeats included.
        floor: whether what is no integer is rounded down; otherwise it has no value there.
    """

    terms: tuple[Term, ...]
    floor: bool = False

    def at(self, sizes: Sizes, operands: Sequence[ArrayType | None] = ()) -> int:
        """The value for sizes, and for the types of the operands of a node.

        Raises:
            ShapeError: it is no integer there, or names a size that there is not.
        """
        total = Fraction(0)
        for factor, atoms in self.terms:
            product = factor
            for atom in atoms:
                product *= _size(atom, sizes, operands)
            total += product
        if total.denominator != 1 and not self.floor:
            raise ShapeError(f"{self} is {total}, no integer, at {said(sizes)}")
        return math.floor(total)

    def __str__(self) -> str:
        text = ""
        lowest = math.lcm(*(factor.denominator for factor, _ in self.terms))
        for factor, atoms in self.terms:
            number, names = abs(factor * lowest), "*".join(map(_atom_text, atoms))
            word = f"{number}*{names}" if names and number != 1 else names or str(number)
            sign = "-" if factor < 0 else "+" if text else ""
            text += f"{sign}{word}"
        if lowest == 1:
            return text or "0"
        return f"({text})//{lowest}" if len(self.terms) > 1 else f"{text}//{lowest}"

    @property
    def names(self) -> frozenset[str]:
        return frozenset(atom for _, atoms in self.terms for atom in atoms if isinstance(atom, str))

    @property
    def name(self) -> str | None:
        """The size that the formula is, if it is just one."""
        if len(self.terms) == 1 and self.terms[0][0] == 1 and len(self.terms[0][1]) == 1:
            atom = self.terms[0][1][0]
            return atom if isinstance(atom, str) else None
        return None


def _size(atom: Atom, sizes: Sizes, operands: Sequence[ArrayType | None]) -> int:
    if isinstance(atom, str):
        if atom not in sizes:
            raise ShapeError(f"there is no size {atom!r}; there are: {', '.join(sizes) or 'none'}")
        return sizes[atom]
    operand, axis = atom
    types = operands[operand] if operand < len(operands) else None
    if types is None or axis >= types.ndim:
        raise ShapeError(f"there is no size of axis {axis} of operand {operand}")
    return types.shape[axis]


def _atom_text(atom: Atom) -> str:
    return atom if isinstance(atom, str) else f"size({atom[0]},{atom[1]})"


def said(sizes: Sizes) -> str:
    """Sizes in words: N=4, T=16."""
    return ", ".join(f"{name}={value}" for name, value in sizes.items())


class FreeInt(int):
    """An integer of a graph that follows its free sizes: the number it is for the example, and its formula.

    The formula is None where a size depends on the free ones in no way that was found.
    """

    formula: SizeFormula | None

    def __new__(cls, value: int, formula: SizeFormula | None) -> FreeInt:
        made = super().__new__(cls, value)
        made.formula = formula
        return made

    def __str__(self) -> str:
        return "?" if self.formula is None else str(self.formula)

    __repr__ = __str__

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)


# How numbers that are no integers follow from one, as programs write it, so that the digits are the same.
SHAPES_OF_NUMBERS: dict[str, Callable[[int, float], float]] = {
    "{scale}/{n}": lambda n, scale: scale / n,
    "{n}*{scale}": lambda n, scale: n * scale,
    "{scale}*{n}**-0.5": lambda n, scale: scale * n**-0.5,
    "{scale}/sqrt({n})": lambda n, scale: scale / math.sqrt(n),
    "sqrt({n})*{scale}": lambda n, scale: math.sqrt(n) * scale,
    "{n}/({n}-{scale})": lambda n, scale: n / (n - scale),
    "({n}-{scale})/{n}": lambda n, scale: (n - scale) / n,
}


class FreeFloat(float):
    """A number of a graph that follows its free sizes: one of `SHAPES_OF_NUMBERS` of a formula."""

    formula: SizeFormula
    shape_of: str
    scale: float

    def __new__(cls, value: float, formula: SizeFormula, shape_of: str, scale: float) -> FreeFloat:
        made = super().__new__(cls, value)
        made.formula, made.shape_of, made.scale = formula, shape_of, scale
        return made

    def at(self, sizes: Sizes, operands: Sequence[ArrayType | None] = ()) -> float:
        """The number for sizes."""
        n = self.formula.at(sizes, operands)
        try:
            return float(SHAPES_OF_NUMBERS[self.shape_of](n, self.scale))
        except ZeroDivisionError:
            raise ShapeError(f"{self} divides by zero at {said(sizes)}") from None

    def __str__(self) -> str:
        inner = str(self.formula) if self.formula.name else f"({self.formula})"
        return self.shape_of.format(scale=f"{self.scale:g}", n=inner)

    __repr__ = __str__


class Pattern(NamedTuple):
    """A constant array of free sizes, by its rule: a + b i + c j ... at the indices, or two values by that sum.

    Attributes:
        shape: its sizes, `FreeInt`s among them.
        offset: the number at the indices zero, maybe free.
        slopes: what each index adds.
        step: (outside, inside, width): the values where the sum is outside of 0 <= sum < width, and where it is inside;
            without a width it has no end. None for the sum itself.
        dtype: of the array.
    """

    shape: tuple[int, ...]
    offset: Any
    slopes: tuple[Any, ...]
    step: tuple[Any, Any, int | None] | None
    dtype: np.dtype[Any]

    def at(self, sizes: Sizes, operands: Sequence[ArrayType | None] = ()) -> Array:
        """The array for sizes."""
        shape = tuple(valued(size, sizes, operands) for size in self.shape)
        if not any(self.slopes) and self.step is None:
            return np.full(shape, valued(self.offset, sizes, operands), self.dtype)
        total = np.zeros((), np.int64 if all(isinstance(one, int) for one in self.slopes) else np.float64)
        for axis, slope in enumerate(self.slopes):
            if slope:
                index = np.arange(shape[axis]).reshape((-1,) + (1,) * (len(shape) - axis - 1))
                total = total + index * slope
        total = np.broadcast_to(total + valued(self.offset, sizes, operands), shape)
        if self.step is not None:
            outside, inside = (np.asarray(one, self.dtype) for one in self.step[:2])
            width = valued(self.step[2], sizes, operands)
            return np.where((total >= 0) & (True if width is None else total < width), inside, outside)
        return np.ascontiguousarray(total.astype(self.dtype))


class FreeArray(np.ndarray[Any, Any]):
    """A constant array of a graph that follows its free sizes: the example's, and the pattern it is made by."""

    pattern: Pattern

    @classmethod
    def of(cls, array: Array, pattern: Pattern) -> FreeArray:
        made = np.asarray(array).view(cls)
        made.pattern = pattern
        return made


def valued(value: Any, sizes: Sizes, operands: Sequence[ArrayType | None] = ()) -> Any:
    """A value of an example - setting, constant or size - for other sizes.

    Raises:
        ShapeError: it has none there.
    """
    if isinstance(value, FreeInt):
        if value.formula is None:
            raise ShapeError(f"a size that is {int(value)} in the example follows from no formula")
        return value.formula.at(sizes, operands)
    if isinstance(value, FreeFloat):
        return value.at(sizes, operands)
    if isinstance(value, FreeArray):
        return as_value(value.pattern.at(sizes, operands))
    if isinstance(value, tuple):
        return tuple(valued(one, sizes, operands) for one in value)
    return value


def plain(value: Any) -> Any:
    """A setting or constant as the number that it is in the example: NumPy takes exact Python numbers for weak ones."""
    if isinstance(value, tuple):
        return tuple(map(plain, value))
    if isinstance(value, FreeInt):
        return int(value)
    return float(value) if isinstance(value, FreeFloat) else value


def is_free(value: object) -> bool:
    """Whether a setting, constant or shape depends on free sizes."""
    if isinstance(value, tuple):
        return any(map(is_free, value))
    return isinstance(value, FreeInt | FreeFloat | FreeArray)


def free_names(types: Sequence[ArrayType]) -> dict[str, int]:
    """The names of sizes in the types of a graph's inputs, with their values in the example."""
    return {
        size.formula.name: int(size)
        for one in types
        for size in one.shape
        if isinstance(size, FreeInt) and size.formula is not None and size.formula.name is not None
    }


def sizes_in(
    types: Sequence[ArrayType], found: Sequence[tuple[int, ...]], names: Sequence[str]
) -> dict[str, int]:
    """The free sizes that shapes of inputs have.

    Args:
        types: of the inputs of the graph, free sizes among theirs.
        found: the shapes of what is given for them.
        names: of the inputs, for errors.

    Raises:
        ShapeError: two inputs give one size two values, or a size is not free and another.
    """
    sizes: dict[str, int] = {}
    first: dict[str, str] = {}
    for number, (one, shape) in enumerate(zip(types, found, strict=True)):
        if len(shape) != one.ndim:
            raise ShapeError(f"input {number} ({names[number]}) of the graph is {one}, but got shape {shape}")
        for axis, (size, given) in enumerate(zip(one.shape, shape, strict=True)):
            name = size.formula.name if isinstance(size, FreeInt) and size.formula is not None else None
            here = f"axis {axis} of input {number} ({names[number]})"
            if name is None:
                if size != given:
                    raise ShapeError(
                        f"input {number} ({names[number]}) of the graph is {one}, but got shape {shape}: axis {axis} "
                        f"is not free; name it in dynamic_axes to make it so"
                    )
            elif sizes.setdefault(name, int(given)) != given:
                raise ShapeError(f"{here} is {given}, but {name} is {sizes[name]}, the size of {first[name]}")
            else:
                first.setdefault(name, here)
    return sizes
