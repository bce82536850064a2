"""Functions without a derivative: eagerly NumPy's answers, in captured programs the op that stands for them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.numpy.form import known, operand, value

# Those that the op knows, with the names of their arguments; the first are operands, as many as the number says.
_CAPTURED: dict[Any, tuple[str, int, tuple[str, ...]]] = {
    np.searchsorted: ("searchsorted", 2, ("side", "sorter")),
    np.digitize: ("digitize", 2, ("right",)),
    np.isin: ("isin", 2, ("assume_unique", "invert")),
    np.argpartition: ("argpartition", 1, ("kth", "axis", "kind", "order")),
    np.packbits: ("packbits", 1, ("axis", "bitorder")),
    np.unpackbits: ("unpackbits", 1, ("axis", "count", "bitorder")),
    np.linalg.matrix_rank: ("matrix_rank", 1, ("tol", "hermitian")),
    np.isclose: ("isclose", 2, ("rtol", "atol", "equal_nan")),
    np.allclose: ("allclose", 2, ("rtol", "atol", "equal_nan")),
    np.array_equal: ("array_equal", 2, ("equal_nan",)),
    np.array_equiv: ("array_equiv", 2, ()),
    np.iscomplex: ("iscomplex", 1, ()),
    np.isreal: ("isreal", 1, ()),
    **{
        one: (one.__name__, one.nin, ())
        for one in (
            np.bitwise_count, np.gcd, np.isnat, np.lcm, np.left_shift, np.nextafter, np.right_shift, np.signbit,
            np.spacing,
        )
    },
}  # fmt: skip
# Those that ask for the types of their operands alone.
_OF_TYPES = (
    np.common_type, np.diag_indices_from, np.einsum_path, np.tril_indices_from, np.triu_indices_from, np.can_cast,
)  # fmt: skip


def constant(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function called on the arrays behind its tensors; where these have no values yet, the op that stands for it."""

    def answer(*args: object, **kwargs: object) -> Any:
        if not known(args, tuple(kwargs.values())):
            if function in _OF_TYPES:
                return function(*map(_shown, args), **kwargs)
            if function in _CAPTURED:
                return _captured(function, args, kwargs)
            if function is np.lexsort:
                keys = args[0]
                parts = (
                    keys if isinstance(keys, list | tuple) else [keys[i] for i in range(np.shape(keys)[0])]
                )
                return in_program(
                    "lexsort", *parts, axis=kwargs.get("axis", args[1] if len(args) > 1 else -1)
                )
        return function(*map(value, args), **{name: value(one) for name, one in kwargs.items()})

    return answer


def in_program(function: str, *xs: Any, **options: Any) -> Any:
    """The op that stands for a function, by its name in the table of the op."""
    given = tuple((name, _plain(one)) for name, one in options.items())
    return ops.constant_function(*map(operand, xs), function=function, options=given)


def _captured(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    name, count, rest = _CAPTURED[function]
    given = list(args)
    if len(given) < count:  # operands by their names
        names = list(inspect.signature(function).parameters)
        given += [kwargs.pop(one) for one in names[len(given) : count]]
    options = {**dict(zip(rest, given[count:], strict=False)), **kwargs}
    return in_program(name, *given[:count], **{key: one for key, one in options.items() if one is not None})


def _plain(option: Any) -> Any:
    return tuple(option) if isinstance(option, list) else option


def _shown(x: Any) -> Any:
    """An array of the type of a tensor, which takes no memory."""
    return x.type.stand_in() if isinstance(x, Tensor) else x
