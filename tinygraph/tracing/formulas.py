"""Formulas found from examples: what an integer, number or array was at several sizes says how it follows from them.

Every formula returned agrees with all examples exactly. The simplest is tried first: a constant, a product, a sum,
then what the shapes of a node's operands say, then divisions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from tinygraph.core.sizes import (
    SHAPES_OF_NUMBERS,
    Atom,
    FreeArray,
    FreeFloat,
    FreeInt,
    Pattern,
    SizeFormula,
    Sizes,
)
from tinygraph.core.types import Array, ArrayType

MOST_ATOMS = 6  # sizes of operands that are multiplied with one another
MOST_STEPS = 64  # by which a size is divided
DOUBLE = np.dtype(float)
MOST_DENOMINATOR = 4096  # of a factor of numbers that is tried first
Values = tuple[int, ...]
Operands = Sequence[Sequence[ArrayType | None]]


class Unfitted(Exception):
    """What was found at several sizes follows from them in no way that is known; the words say what it is."""


class Fitting:
    """The sizes at which examples were made, and the formulas found so far."""

    def __init__(self, sizes: Sequence[Sizes]) -> None:
        self.sizes = tuple(sizes)
        self.names = tuple(self.sizes[0])
        self.atoms: dict[Atom, Values] = {name: tuple(one[name] for one in self.sizes) for name in self.names}
        self._known: dict[tuple[Values, bool], SizeFormula | None] = {}

    def size(self, values: Values) -> int:
        """A size of a type, which is shown and checked, and found anew at other sizes: "?" if it has no formula."""
        if len(set(values)) == 1:
            return values[0]
        return FreeInt(values[0], self.named(values, divided=False) or self.named(values, divided=True))

    def shape(self, types: Sequence[ArrayType]) -> ArrayType:
        """A type, from what it was at each of the sizes."""
        first = types[0]
        if any(one.ndim != first.ndim or one.dtype != first.dtype for one in types):
            raise Unfitted(f"its result is {first} or {next(one for one in types if one != first)}")
        shape = tuple(self.size(values) for values in zip(*(one.shape for one in types), strict=True))
        return type(first)(shape, first.dtype)

    def named(self, values: Values, divided: bool) -> SizeFormula | None:
        """The formula of an integer by the names of sizes."""
        key = values, divided
        if key not in self._known:
            found = _divided(values, self.atoms) if divided else _whole(values, self.atoms)
            self._known[key] = found
        return self._known[key]

    def integer(self, values: Values, operands: Operands = ()) -> int:
        """An integer in a setting or constant.

        Raises:
            Unfitted: it follows from the sizes in no way that is known.
        """
        if len(set(values)) == 1:
            return values[0]
        formula = self.named(values, divided=False)
        if formula is None and operands:
            local = _sizes_of(operands)
            formula = _whole(values, local) or _divided(values, local)
        formula = formula or self.named(values, divided=True)
        if formula is None:
            raise Unfitted(f"a number is {_listed(values, self.sizes)}")
        return FreeInt(values[0], formula)

    def number(
        self, values: Sequence[float], operands: Operands = (), dtype: np.dtype[Any] = DOUBLE
    ) -> float:
        """A number that is no integer, as one of a dtype: to the last digit if there is such a rule, else to a few.

        Raises:
            Unfitted: as `integer`.
        """
        first = values[0]
        if all(one == first or (one != one and first != first) for one in values):
            return first
        every = {**self.atoms, **(_sizes_of(operands) if operands else {})}
        wanted = np.asarray(values, dtype)
        near: FreeFloat | None = None
        for atoms, column in sorted(_products(every), key=lambda one: len(one[0])):
            for name, scale in _scales(values[0], column[0]):
                shape = SHAPES_OF_NUMBERS[name]
                with np.errstate(all="ignore"):
                    found = np.asarray([_value(shape, n, scale) for n in column]).astype(dtype)
                made = FreeFloat(first, SizeFormula(((Fraction(1), atoms),)), name, scale)
                if np.array_equal(found, wanted):
                    return made
                if near is None and np.allclose(found, wanted, rtol=8 * np.finfo(dtype).eps, atol=0):
                    near = made
        if near is None:
            raise Unfitted(f"a number is {_listed(values, self.sizes)}")
        return near

    def array(self, arrays: Sequence[Any], operands: Operands = ()) -> Any:
        """A constant array or NumPy number.

        Raises:
            Unfitted: as `integer`.
        """
        plain = [np.asarray(one) for one in arrays]
        first = plain[0]
        if all(one is arrays[0] or _same(one, first) for one in plain):
            return arrays[0]
        if len({(one.ndim, one.dtype.str) for one in plain}) > 1 or first.dtype.kind not in "biuf":
            raise Unfitted(f"a constant array is {ArrayType(first.shape, first.dtype)} in one case only")
        shape = tuple(
            self.integer(values, operands) for values in zip(*(one.shape for one in plain), strict=True)
        )
        for pattern in self._patterns(plain, shape, operands):
            if pattern is not None and all(
                nearly(pattern.at(sizes, [of[k] for of in operands] if operands else ()), one)
                for k, (sizes, one) in enumerate(zip(self.sizes, plain, strict=True))
            ):
                return FreeArray.of(first, pattern)
        raise Unfitted(
            f"a constant array of shape {shape} is computed from the sizes with plain NumPy, by no rule that is known"
        )

    def _patterns(
        self, arrays: Sequence[Array], shape: tuple[int, ...], operands: Operands
    ) -> Iterator[Pattern | None]:
        first = arrays[0]
        if not all(one.size for one in arrays):
            return
        corners = [one[(0,) * one.ndim].item() for one in arrays]
        if all(
            _same(one, np.full(one.shape, corner, one.dtype))
            for one, corner in zip(arrays, corners, strict=True)
        ):
            yield self._pattern(shape, corners, (0,) * first.ndim, None, first.dtype, operands)
            return
        if first.dtype.kind != "b" and np.all(np.isfinite(first)):
            slopes = tuple(
                first[tuple(int(k == axis) for k in range(first.ndim))].item() - corners[0]
                if length > 1
                else 0
                for axis, length in enumerate(first.shape)
            )
            yield self._pattern(shape, corners, slopes, None, first.dtype, operands)
        yield from self._steps(arrays, shape, operands)

    def _steps(
        self, arrays: Sequence[Array], shape: tuple[int, ...], operands: Operands
    ) -> Iterator[Pattern | None]:
        """Two values, one where a sum of indices is between two bounds: triangles, diagonals, bands."""
        first = arrays[0]
        two = np.unique(first)
        if len(two) != 2:
            return
        axes = range(first.ndim)
        pairs: list[tuple[int, ...]] = [(axis,) for axis in axes]
        pairs += [(a, b) for a in axes for b in axes if a < b]
        for chosen in pairs:
            slopes = tuple((1 if axis == chosen[0] else -1) if axis in chosen else 0 for axis in axes)
            for outside, inside in (two, two[::-1]):
                bands = [band for one in arrays if (band := _band(one, slopes, outside)) is not None]
                if len(bands) == len(arrays):
                    try:
                        ends = [width for _, width in bands if width is not None]
                        width = self.integer(tuple(ends), operands) if len(ends) == len(bands) else None
                    except Unfitted:
                        width = None
                    step = outside.item(), inside.item(), width
                    offsets = [-bound for bound, _ in bands]
                    yield self._pattern(shape, offsets, slopes, step, first.dtype, operands)

    def _pattern(
        self,
        shape: tuple[int, ...],
        offsets: Sequence[Any],
        slopes: tuple[Any, ...],
        step: tuple[Any, Any, int | None] | None,
        dtype: np.dtype[Any],
        operands: Operands,
    ) -> Pattern | None:
        offset = offsets[0]
        try:
            if type(offset) is not bool:
                whole = all(float(one).is_integer() for one in offsets)
                offset = self.integer(tuple(map(int, offsets)), operands) if whole else None
        except Unfitted:
            offset = None
        try:
            offset = self.number(offsets, operands, dtype) if offset is None else offset
        except Unfitted:
            return None
        return Pattern(shape, offset, slopes, step, dtype)


def _band(array: Array, slopes: tuple[int, ...], outside: Any) -> tuple[int, int | None] | None:
    """Where, in sums of indices, an array is not the value `outside`: first sum and width; None if in more places.

    The width is None where it is so to the end.
    """
    total = np.zeros((), np.int64)
    for axis, slope in enumerate(slopes):
        total = total + slope * np.arange(array.shape[axis]).reshape((-1,) + (1,) * (array.ndim - axis - 1))
    total = np.broadcast_to(total, array.shape)
    inside = total[array != outside]
    if not inside.size:
        return int(total.max()) + 1, None
    first, last = int(inside.min()), int(inside.max())
    if not np.array_equal((total >= first) & (total <= last), array != outside):
        return None
    return first, None if last == total.max() else last - first + 1


def _same(one: Array, other: Any) -> bool:
    other = np.asarray(other)
    return (
        one.shape == other.shape
        and one.dtype == other.dtype
        and bool(np.array_equal(one, other, equal_nan=one.dtype.kind in "fc"))
    )


def nearly(one: Array, other: Any) -> bool:
    """Whether two arrays are the same, but for the last digits of numbers that are no integers."""
    other = np.asarray(other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.dtype.kind not in "fc":
        return bool(np.array_equal(one, other))
    return bool(np.allclose(one, other, rtol=16 * np.finfo(one.dtype).eps, atol=0, equal_nan=True))


def _sizes_of(operands: Operands) -> dict[Atom, Values]:
    """The sizes of the operands of a node that are not the same everywhere, each value once."""
    found: dict[Atom, Values] = {}
    seen: set[Values] = set()
    for number, types in enumerate(operands):
        if any(one is None for one in types):
            continue
        shapes = [one.shape for one in types if one is not None]
        if len({len(one) for one in shapes}) > 1:
            continue
        for axis, values in enumerate(zip(*shapes, strict=True)):
            if len(set(values)) > 1 and values not in seen:
                seen.add(values)
                found[number, axis] = values
    return found


def _products(atoms: dict[Atom, Values]) -> Iterator[tuple[tuple[Atom, ...], Values]]:
    """Products of sizes, and squares."""
    names = list(atoms)[: 2 * MOST_ATOMS]
    for count in range(1, min(len(names), 4) + 1):
        if count > 2 and len(names) > MOST_ATOMS:
            return
        for chosen in itertools.combinations(names, count):
            yield chosen, tuple(map(math.prod, zip(*(atoms[one] for one in chosen), strict=True)))
        if count == 1:
            for name in names:
                yield (name, name), tuple(n * n for n in atoms[name])


def _whole(values: Values, atoms: dict[Atom, Values]) -> SizeFormula | None:
    """A sum of products with integer factors."""
    return _sum_of_products(values, atoms, lambda factor: factor.denominator == 1)


def _sum_of_products(
    values: Values, atoms: dict[Atom, Values], takes: Callable[[Fraction], bool]
) -> SizeFormula | None:
    products = sorted(_products(atoms), key=lambda one: len(one[0]))
    one: tuple[tuple[Atom, ...], Values] = (), (1,) * len(values)
    tried: list[list[tuple[tuple[Atom, ...], Values]]] = [[product] for product in products]
    tried += [[product, one] for product in products]
    if len(atoms) > 1:
        tried.append([*(product for product in products if len(product[0]) == 1), one])
    pairs = list(itertools.combinations(products, 2)) if len(products) <= 24 else []
    tried += [list(pair) for pair in pairs]
    tried += [[*pair, one] for pair in pairs]
    for columns in tried:
        if len(columns) >= len(set(zip(values, *atoms.values(), strict=True))):
            continue  # as many unknowns as examples: anything would fit
        factors = _solved([column for _, column in columns], values)
        if factors is not None and all(map(takes, factors)):
            terms = zip(factors, (names for names, _ in columns), strict=True)
            return SizeFormula(tuple((factor, names) for factor, names in terms if factor))
    return None


def _solved(columns: Sequence[Values], values: Values) -> list[Fraction] | None:
    """The factors with which the columns add up to the values, exactly; None if there are none, or many."""
    matrix, wanted = np.array(columns, float).T, np.array(values, float)
    near = (
        matrix @ np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    )  # most are wrong by far, which is seen at once
    if not np.allclose(near, wanted, rtol=1e-6, atol=1e-3):
        return None
    count = len(columns)
    rows = [[*(Fraction(column[k]) for column in columns), Fraction(value)] for k, value in enumerate(values)]
    for i in range(count):
        pivot = next((k for k in range(i, len(rows)) if rows[k][i]), None)
        if pivot is None:
            return None
        rows[i], rows[pivot] = rows[pivot], rows[i]
        rows[i] = [one / rows[i][i] for one in rows[i]]
        for k in range(len(rows)):
            if k != i and rows[k][i]:
                factor = rows[k][i]
                rows[k] = [a - factor * b for a, b in zip(rows[k], rows[i], strict=True)]
    if any(row[count] for row in rows[count:]):
        return None
    return [rows[i][count] for i in range(count)]


def _divided(values: Values, atoms: dict[Atom, Values]) -> SizeFormula | None:
    """A size divided and rounded down, plus a constant; or products with fractions, where all examples divide."""
    whole = _sum_of_products(values, atoms, lambda factor: True)
    if whole is not None:
        return whole
    for name, column in atoms.items():
        for step in range(2, MOST_STEPS + 1):
            for shift in range(step):
                rest = values[0] - (column[0] + shift) // step
                if all(value - (n + shift) // step == rest for n, value in zip(column, values, strict=True)):
                    constant = Fraction(shift, step) + rest
                    terms: list[Any] = [(Fraction(1, step), (name,))]
                    return SizeFormula(tuple(terms + [(constant, ())] * bool(constant)), floor=True)
    return None


def _scales(value: float, n: int) -> Iterator[tuple[str, float]]:
    """How a number may follow from an integer, with the factor that the first example asks for."""
    root = math.sqrt(n) if n > 0 else 1.0
    for name, found in (
        ("{scale}/{n}", value * n),
        ("{n}*{scale}", value / n if n else 0.0),
        ("{scale}*{n}**-0.5", value * root),
        ("{scale}/sqrt({n})", value * root),
        ("sqrt({n})*{scale}", value / root),
        ("{n}/({n}-{scale})", n - n / value if value else 0.0),
        ("({n}-{scale})/{n}", n - n * value),
    ):
        if math.isfinite(found):
            simple = float(Fraction(found).limit_denominator(MOST_DENOMINATOR))
            yield from ((name, one) for one in dict.fromkeys((simple, round(found, 12), found)))


def _value(shape: Callable[[int, float], float], n: int, scale: float) -> float:
    try:
        return shape(n, scale)
    except (ZeroDivisionError, ValueError, OverflowError):
        return math.nan


def _listed(values: Sequence[Any], sizes: Sequence[Sizes]) -> str:
    shown = [
        f"{value} at {', '.join(f'{name}={n}' for name, n in one.items())}"
        for value, one in zip(values, sizes, strict=True)
    ]
    return ", ".join(shown[:4])
