"""Values as files hold them: settings and Python numbers as JSON, arrays as contiguous native arrays or base64.

What JSON lacks is an object of one key: {"float": "nan"}, {"complex": [re, im]}, {"int": "..."}, {"fraction": "1/3"},
{"dtype": "float32"}, {"free": {...}} for what follows from free sizes. Sequences are tuples: settings hold no lists.
"""

from __future__ import annotations

import base64
import binascii
import math
from fractions import Fraction
from typing import Any

import numpy as np

from tinygraph.core.sizes import SHAPES_OF_NUMBERS, Atom, FreeFloat, FreeInt, Pattern, SizeFormula
from tinygraph.core.types import ArrayType
from tinygraph.errors import DTypeError, FileFormatError

DTYPES = {
    name: np.dtype(name)
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64", "complex64", "complex128", "object",
    )
}  # fmt: skip
LARGEST = 2**48  # elements of one array: more than any memory, far from what integer arithmetic overflows at
MAX_DEPTH = 50
MOST_BITS = 64_000  # of an integer; more digits than any computation needs, few enough to read at once
MOST_TERMS = 32  # of a formula, and as many sizes in a term
_JSON_INT = 2**63
_DECIMAL_BITS = (
    2_000  # Python reads and writes longer decimals slowly or, beyond a limit of its own, not at all
)


def encode(value: object, depth: int = 0) -> Any:
    """A setting, number or object as JSON holds it.

    Raises:
        DTypeError: it is none of None, bool, int, float, complex, str, Fraction, dtype or a tuple of these, or larger
            than `decode` takes.
    """
    if depth > MAX_DEPTH:
        raise DTypeError(f"a file cannot hold a value nested more than {MAX_DEPTH} deep")
    if isinstance(value, np.generic) and value.dtype.kind in "biufcU":
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, FreeInt | FreeFloat):
        return {"free": _encode_free(value)}
    if isinstance(value, str):
        return encode_text(str.__str__(value))  # of a subclass (an enumeration's member) the text alone
    if isinstance(value, int):
        return int(value) if -_JSON_INT <= value < _JSON_INT else {"int": _integer_text(value)}
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, complex):
        return {"complex": [encode(value.real), encode(value.imag)]}
    if isinstance(value, Fraction):
        numbers = value.numerator, value.denominator
        return {"fraction": "/".join(map(_integer_text, numbers[: 1 + (numbers[1] != 1)]))}
    if isinstance(value, tuple):
        return [encode(one, depth + 1) for one in value]
    if isinstance(value, np.dtype) and DTYPES.get(value.name) == value:
        return {"dtype": value.name}
    raise DTypeError(f"a file cannot hold {value!r:.60} of type {type(value).__name__}")


def encode_text(text: str) -> str:
    """A text as it is, if files can hold it.

    Raises:
        DTypeError: it holds half a character.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DTypeError(
            f"{text!r:.60} holds half a character (a lone surrogate), which no file can: choose another"
        ) from None
    return text


def decode(value: object, depth: int = 0) -> Any:
    """What `encode` made JSON of.

    Raises:
        FileFormatError: it is not such JSON.
    """
    if depth > MAX_DEPTH:
        raise FileFormatError(f"a value is nested more than {MAX_DEPTH} deep")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return tuple(decode(one, depth + 1) for one in value)
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        try:
            if kind == "free" and isinstance(content, dict):
                return _decode_free(content)
            if kind == "complex" and isinstance(content, list) and len(content) == 2:
                return complex(*(decode(one, depth + 1) for one in content))
            if kind in _READERS and isinstance(content, str) and len(content) < _MOST_DIGITS:
                return _READERS[kind](content)
        except (ValueError, TypeError, KeyError, OverflowError, ZeroDivisionError):
            pass
    raise FileFormatError(f"{value!r:.60} is no value that a file can hold")


def _encode_free(value: FreeInt | FreeFloat) -> dict[str, Any]:
    """What follows from free sizes: its value in the example, and its formula."""
    if isinstance(value, FreeInt):
        return {"at": int(value)} | ({} if value.formula is None else encode_formula(value.formula))
    return {
        "at": encode(float(value)),
        **encode_formula(value.formula),
        "as": value.shape_of,
        "scale": encode(value.scale),
    }


def encode_formula(formula: SizeFormula) -> dict[str, Any]:
    """A formula as JSON holds it: each term its numerator, denominator and sizes."""
    terms = [[one.numerator, one.denominator, list(map(_atom, atoms))] for one, atoms in formula.terms]
    return {"terms": terms} | ({"floor": True} if formula.floor else {})


def _atom(atom: Atom) -> Any:
    return atom if isinstance(atom, str) else list(atom)


def _decode_free(content: dict[str, Any]) -> FreeInt | FreeFloat:
    if not content.keys() <= {"at", "terms", "floor", "as", "scale"}:
        raise ValueError(content)
    formula = None
    if "terms" in content:
        terms = content["terms"]
        if not isinstance(terms, list | tuple) or len(terms) > MOST_TERMS:
            raise ValueError(terms)
        formula = SizeFormula(tuple(map(_decode_term, terms)), floor=content.get("floor") is True)
    if "as" not in content:
        return FreeInt(_plain_integer(content["at"]), formula)
    shape, scale, value = content["as"], decode(content["scale"]), decode(content["at"])
    if shape not in SHAPES_OF_NUMBERS or formula is None:
        raise ValueError(shape)
    if not isinstance(scale, int | float) or not isinstance(value, int | float):
        raise TypeError(scale)
    return FreeFloat(value, formula, shape, scale)


def _decode_term(term: Any) -> tuple[Fraction, tuple[Atom, ...]]:
    numerator, denominator, atoms = term
    if len(atoms) > MOST_TERMS:
        raise ValueError(atoms)
    return Fraction(_plain_integer(numerator), _plain_integer(denominator)), tuple(map(_decode_atom, atoms))


def _decode_atom(atom: Any) -> Atom:
    if isinstance(atom, str):
        if not atom.isidentifier() or len(atom) > MOST_BITS:
            raise ValueError(atom)
        return atom
    operand, axis = map(_plain_integer, atom)
    if min(operand, axis) < 0:
        raise ValueError(atom)
    return operand, axis


def _plain_integer(number: Any) -> int:
    if type(number) is not int or not -_JSON_INT <= number < _JSON_INT:
        raise ValueError(number)
    return number


def encode_pattern(pattern: Pattern) -> Any:
    """The rule of a constant array of free sizes, but for its dtype, which is the array's."""
    return encode((pattern.shape, pattern.offset, pattern.slopes, pattern.step))


def decode_pattern(content: object, dtype: np.dtype[Any]) -> Pattern:
    """What `encode_pattern` made JSON of.

    Raises:
        FileFormatError: it is no such rule.
    """
    found = decode(content)
    if isinstance(found, tuple) and len(found) == 4:
        shape, offset, slopes, step = found
        if (
            isinstance(shape, tuple)
            and isinstance(slopes, tuple)
            and len(shape) == len(slopes) <= 32
            and all(isinstance(one, int) for one in shape)
            and all(isinstance(one, int | float) for one in (offset, *slopes))
            and (step is None or (isinstance(step, tuple) and len(step) == 3))
            and all(isinstance(one, int | float) for one in (step or ())[:2])
            and (step is None or step[2] is None or isinstance(step[2], int))
        ):
            return Pattern(shape, offset, slopes, step, dtype)
    raise FileFormatError(f"{content!r:.60} is no rule of a constant array")


def _integer_text(number: int) -> str:
    if number.bit_length() > MOST_BITS:
        raise DTypeError(
            f"a file cannot hold an integer of {number.bit_length()} bits; {MOST_BITS} are the most"
        )
    return str(int(number)) if number.bit_length() <= _DECIMAL_BITS else hex(number)


def _integer(text: str) -> int:
    """An integer in decimal or, after 0x, hexadecimal digits: no exponents, which make numbers of any size."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isalnum()):
        raise ValueError(text)
    return int(text, 16 if digits.startswith("0x") else 10)


def _fraction(text: str) -> Fraction:
    numerator, slash, denominator = text.partition("/")
    return Fraction(_integer(numerator), _integer(denominator) if slash else 1)


_READERS: dict[str, Any] = {
    "int": _integer,
    "float": float,
    "fraction": _fraction,
    "dtype": DTYPES.__getitem__,
}
_MOST_DIGITS = 2 * MOST_BITS // 4 + 10  # of the two numbers of a fraction, in hexadecimal


def plain_array(array: object) -> np.ndarray[Any, Any]:
    """The array in C order and this machine's byte order: safetensors would write others' bytes as they lie.

    0-d arrays stay 0-d, which `np.ascontiguousarray` would make 1-d.
    """
    array = np.asarray(array)
    plain: np.ndarray[Any, Any] = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
    return plain


def storable(array: object) -> np.ndarray[Any, Any]:
    """What a safetensors file holds for an array: complex numbers as pairs, which every reader can read."""
    array = plain_array(array)
    return np.stack([array.real, array.imag], axis=-1) if array.dtype.kind == "c" else array


def restored(stored: np.ndarray[Any, Any], types: ArrayType, where: str) -> Any:
    """The value of a stored array: an array of its own, or a NumPy scalar if 0-d.

    Raises:
        FileFormatError: the stored array is not of the stated type.
    """
    expected = types
    if types.dtype.kind == "c":
        expected = ArrayType((*types.shape, 2), np.zeros((), types.dtype).real.dtype)
    if (stored.shape, stored.dtype) != (expected.shape, expected.dtype):
        raise FileFormatError(
            f"{where} is {ArrayType(stored.shape, stored.dtype)}, not the {expected} stated"
        )
    if types.dtype.kind == "c":
        stored = np.ascontiguousarray(stored).view(types.dtype).reshape(types.shape)
    return stored if stored.ndim else stored[()]


def to_text(array: object) -> str:
    """An array's little-endian bytes in C order, as base64."""
    array = np.asarray(array)
    return base64.b64encode(np.asarray(array, array.dtype.newbyteorder("<"), order="C").tobytes()).decode(
        "ascii"
    )


def from_text(text: str, types: ArrayType, where: str) -> Any:
    """The array whose bytes `to_text` wrote.

    Raises:
        FileFormatError: it is no base64, or of another length than the type needs.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise FileFormatError(f"{where} is no base64: {error}") from None
    if len(data) != types.nbytes:
        raise FileFormatError(f"{where} has {len(data)} bytes, but {types} takes {types.nbytes}")
    array = np.frombuffer(data, types.dtype.newbyteorder("<")).astype(types.dtype).reshape(types.shape)
    return array if array.ndim else array[()]


def encode_objects(array: object) -> list[Any]:
    """The elements of an array of Python objects (Fractions, ints), in C order."""
    return [encode(one) for one in np.asarray(array, dtype=object).ravel()]


def decode_objects(elements: Any, types: ArrayType, where: str) -> np.ndarray[Any, Any]:
    """The array whose elements `encode_objects` listed.

    Raises:
        FileFormatError: their number does not fit the type.
    """
    if len(elements) != types.size:
        raise FileFormatError(f"{where} has {len(elements)} elements, but {types} takes {types.size}")
    array = np.empty(len(elements), dtype=object)
    for i, one in enumerate(elements):  # at once, tuples would be taken for rows
        array[i] = decode(one)
    return array.reshape(types.shape)
