"""Functions whose results are places, counts and truths, which small changes of operands leave: one op, by a table.

Eagerly NumPy's forms answer them with arrays. Where a program is captured, or mapped over examples, this op stands for
them; the sizes of its results must not depend on values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.plugin import (
    ArrayType,
    ErrorSample,
    Numeric,
    Sample,
    SettingError,
    aligned,
    one_by_one,
    op,
    ops,
)


def _row_order(a: Numeric) -> Any:
    """The order in which elimination with partial pivoting takes the rows of matrices."""
    from scipy import linalg

    return np.argmax(np.swapaxes(linalg.lu(a)[0], -1, -2), axis=-1)


def _pivots(a: Numeric) -> Any:
    """The exchanges of rows that LAPACK writes down."""
    from scipy import linalg

    return linalg.lu_factor(a)[1]


def _signs(a: Numeric) -> Any:
    """The signs of the diagonal of R that LAPACK gives of A = R Q."""
    from scipy import linalg

    return np.sign(np.diagonal(linalg.rq(a, mode="economic")[0]))


# Elementwise, of operands that broadcast.
_ELEMENTWISE: dict[str, Callable[..., Any]] = {
    "bitwise_count": np.bitwise_count, "exponent": lambda x: np.frexp(x)[1], "gcd": np.gcd, "iscomplex": np.iscomplex,
    "isclose": np.isclose, "isnat": np.isnat, "isreal": np.isreal, "lcm": np.lcm, "ldexp": np.ldexp,
    "left_shift": np.left_shift, "ones_like": np.ones_like, "right_shift": np.right_shift, "signbit": np.signbit,
    "spacing": np.spacing, "zeros_like": np.zeros_like,
}  # fmt: skip
# Elementwise in one operand, and of the others whole.
_ELEMENTWISE_IN: dict[str, tuple[int, Callable[..., Any]]] = {
    "digitize": (0, np.digitize), "isin": (0, np.isin), "searchsorted": (1, np.searchsorted),
}  # fmt: skip
# Of operands whole.
_WHOLE: dict[str, Callable[..., Any]] = {
    "allclose": np.allclose, "argpartition": np.argpartition, "array_equal": np.array_equal,
    "array_equiv": np.array_equiv, "lexsort": lambda *keys, **options: np.lexsort(keys, **options),
    "matrix_rank": np.linalg.matrix_rank, "packbits": np.packbits, "pivots": _pivots, "row_order": _row_order,
    "rq_signs": _signs, "unpackbits": np.unpackbits,
}  # fmt: skip
_TABLE = {**_ELEMENTWISE, **{name: one for name, (_, one) in _ELEMENTWISE_IN.items()}, **_WHOLE}


@op(
    kind="other",
    nondifferentiable="xs",
    samples=[
        Sample(
            [1.0, 2.0],
            [0.5, 1.0, 3.0],
            function="searchsorted",
            options=(("side", "right"),),
            expected=[0, 1, 2],
        ),
        Sample([1.0, -2.0], function="signbit", expected=[False, True]),
        Sample([[1.0, 2.0], [2.0, 4.0]], function="matrix_rank", expected=1),
    ],
    error_samples=[ErrorSample([1.0], function="load", error=SettingError, match="load")],
)
def constant_function(*xs: Numeric, function: str, options: tuple[tuple[str, Any], ...] = ()) -> Any:
    """A function without a derivative, by its name in NumPy;  `options` are its arguments that are no arrays.

    Raises:
        SettingError: it is none of the table's.
    """
    if function not in _TABLE:
        raise SettingError(
            f"{function!r} is none of the functions without a derivative: {', '.join(sorted(_TABLE))}"
        )
    return np.asarray(_TABLE[function](*xs, **dict(options)))[()]


@constant_function.types
def constant_function_types(
    *xs: ArrayType, function: str, options: tuple[tuple[str, Any], ...] = ()
) -> ArrayType:
    """What the function gives for ones of the operands' types."""
    with np.errstate(all="ignore"):
        found = constant_function.forward(*(x.stand_in() for x in xs), function=function, options=options)
    return ArrayType(np.shape(found), found.dtype)


@constant_function.batch
def constant_function_batched(
    batched: Sequence[bool], *xs: Numeric, function: str, options: tuple[tuple[str, Any], ...]
) -> Any:
    """At once where the function is elementwise in what the examples differ in, else one after another."""
    whole = [i for i in range(len(xs)) if i != _ELEMENTWISE_IN.get(function, (0, None))[0]]
    if function in _ELEMENTWISE:
        xs = tuple(aligned(batched, xs))
    elif function not in _ELEMENTWISE_IN or any(batched[i] for i in whole):
        settings = {"function": function, "options": options}
        return one_by_one.rule(constant_function, batched, xs, settings)
    return ops.constant_function(*xs, function=function, options=options)
