"""Functions without a derivative: eagerly NumPy's answers, in captured programs the op that stands for them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from tinygraph.core.registry import ops
from tinygraph.core.tensor import Tensor
from tinygraph.numpy.form import known, operand, value

# Those that the op knows, with how many operands they have; their other arguments are options.
_CAPTURED: dict[object, int] = {
    np.searchsorted: 2, np.digitize: 2, np.isin: 2, np.argpartition: 1, np.packbits: 1, np.unpackbits: 1,
    np.linalg.matrix_rank: 1, np.isclose: 2, np.allclose: 2, np.array_equal: 2, np.array_equiv: 2, np.iscomplex: 1,
    np.isreal: 1,
    **{
        one: one.nin
        for one in (
            np.bitwise_count, np.gcd, np.isnat, np.lcm, np.left_shift, np.right_shift, np.signbit, np.spacing,
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
                keys: Any = args[0]
                parts = (
                    keys if isinstance(keys, list | tuple) else [keys[i] for i in range(np.shape(keys)[0])]
                )
                return in_program(
                    "lexsort", *parts, axis=kwargs.get("axis", args[1] if len(args) > 1 else -1)
                )
        return function(*map(value, args), **{name: value(one) for name, one in kwargs.items()})

    return answer


def in_program(function: str, *xs: object, **options: object) -> Any:
    """The op that stands for a function, by its name in the table of the op."""
    given = tuple((name, _plain(one)) for name, one in options.items())
    return ops.constant_function(*map(operand, xs), function=function, options=given)


def _captured(function: Callable[..., Any], args: tuple[object, ...], kwargs: dict[str, object]) -> Any:
    count = _CAPTURED[function]
    given, options = list(args), dict(kwargs)
    if len(given) != count:
        names = list(inspect.signature(function).parameters)
        given += [options.pop(name) for name in names[len(given) : count]]  # operands by their names
        options.update(zip(names[count:], given[count:], strict=False))
    kept = {name: one for name, one in options.items() if one is not None}
    return in_program(function.__name__, *given[:count], **kept)


def _plain(option: object) -> object:
    return tuple(option) if isinstance(option, list) else option


def _shown(x: object) -> object:
    """An array of the type of a tensor, which takes no memory."""
    return x.type.stand_in() if isinstance(x, Tensor) else x
