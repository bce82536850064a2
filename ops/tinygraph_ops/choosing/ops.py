"""Choosing among values: where, elementwise extremes, clip, absolute value, and rounding. Comparisons themselves are
in `comparison.py`, extremes over an axis in `reductions.py`."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, Any

import numpy as np

from tinygraph.plugin import (
    Array,
    ArrayType,
    DTypeError,
    ErrorSample,
    Numeric,
    NumpyFunctionError,
    Sample,
    broadcast_shapes,
    op,
    ops,
    settled,
    varies,
)

if TYPE_CHECKING:
    from tinygraph.kernels.builder import Value as Lanes
    from tinygraph.kernels.emission import Code


@op(
    kind="elementwise",
    facts={"cheap": True},
    linear=("x", "y"),
    nondifferentiable=("condition",),
    samples=[
        Sample([True, False, True], [1.0, 2.0, -5.0], [3.0, 4.0, 6.0], expected=[1.0, 4.0, -5.0]),
        Sample([[True], [False]], [1.0, 2.0, 3.0], 0.5),
    ],
)
def where(condition: Numeric, x: Numeric, y: Numeric) -> Numeric:
    """x where the condition holds, y elsewhere;  gradients flow to what was chosen, and exact zeros elsewhere."""
    return np.where(condition, x, y)


@where.emit(conditions="condition", bools=True, integers=True)
def where_emitted(code: Code, condition: Lanes, x: Lanes, y: Lanes) -> Lanes:
    """One select."""
    return code.select(condition, x, y)


@where.vjp("x")
def where_wrt_x(g: Numeric, condition: Numeric) -> Numeric:
    """g where the condition holds, else 0."""
    return ops.where(condition, g, 0)


@where.vjp("y")
def where_wrt_y(g: Numeric, condition: Numeric) -> Numeric:
    """0 where the condition holds, else g."""
    return ops.where(condition, 0, g)


@where.numpy(np.where)
def np_where(condition: Numeric, *choices: Numeric) -> Any:
    """`np.where` of a condition and two choices; of a condition alone the places where it holds."""
    if not choices:
        return np.nonzero(condition)
    if len(choices) != 2:
        raise NumpyFunctionError("np.where takes a condition, or a condition and both choices")
    return where(condition, *choices)


@op(
    kind="elementwise",
    facts={"cheap": True},
    linear=("value",),
    nondifferentiable=("kink",),
    samples=[
        Sample([1.0, 2.0], [False, False], [3.0, 4.0], expected=[1.0, 2.0]),
        Sample([[1.0], [2.0]], [False, False], [3.0, 4.0], [[5.0], [6.0]]),
    ],
)
def by_convention(value: Array, kink: Array, x: Array, y: Array | None = None) -> Numeric:
    """value;  d/d value = 1, and by x and y 0, but unknown (nan) where there is a kink.

    For rules of gradients. Where slopes meet, a rule that gives their mean follows a convention, from which nothing
    follows: the derivative of the gradient is nan there along an x that moves, and 0 along an x that stays.
    """
    everywhere = np.logical_or(kink, True)  # in the shape and dtype that all operands have together
    out = np.where(everywhere, value, x)
    return out if y is None else np.where(everywhere, out, y)


@by_convention.emit(conditions="kink", bools=True)
def by_convention_emitted(code: Code, value: Lanes, kink: Lanes, x: Lanes, y: Lanes = None) -> Lanes:
    """The value as it is."""
    return value


@by_convention.vjp("value")
def by_convention_wrt_value(g: Numeric) -> Numeric:
    """g."""
    return g


@by_convention.vjp("x")
def by_convention_wrt_x(g: Numeric, kink: Numeric) -> Numeric:
    """0, or nan at a kink where g is not 0."""
    return _unknown(g, kink)


@by_convention.vjp("y")
def by_convention_wrt_y(g: Numeric, kink: Numeric) -> Numeric:
    """0, or nan at a kink where g is not 0."""
    return _unknown(g, kink)


@by_convention.jvp("x")
def by_convention_along_x(t: Numeric, kink: Numeric) -> Numeric:
    """0, or nan at a kink where x moves."""
    return _unknown(t, kink)


@by_convention.jvp("y")
def by_convention_along_y(t: Numeric, kink: Numeric) -> Numeric:
    """0, or nan at a kink where y moves."""
    return _unknown(t, kink)


def _unknown(g: Numeric, kink: Numeric) -> Numeric:
    return ops.where(ops.logical_and(kink, ops.not_equal(g, 0)), np.nan, 0 * g)


@op(
    kind="elementwise",
    facts={"cheap": True},
    numpy=np.maximum,
    samples=[
        Sample([1.0, 5.0, 2.0], [3.0, 4.0, 6.5], expected=[3.0, 5.0, 6.5]),
        Sample([1.0, 2.5], [[2.0], [-3.0]]),
        Sample([1.0], [1.0], expected=[1.0], smooth=False),
    ],
)
def maximum(x: Numeric, y: Numeric) -> Numeric:
    """The larger of x and y, nan if either is;  the gradient goes to it, half to each where they are equal."""
    return np.maximum(x, y)


@maximum.emit(bools=True, integers=True)
def maximum_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """The larger one, NaN if either is."""
    return code.maximum(x, y)


@maximum.vjp("x")
def maximum_wrt_x(g: Numeric, x: Numeric, y: Numeric) -> Numeric:
    """g where x > y, g / 2 where they tie."""
    return _share(g, ops.less(x, y), x, y)


@maximum.vjp("y")
def maximum_wrt_y(g: Numeric, x: Numeric, y: Numeric) -> Numeric:
    """g where y > x, g / 2 where they tie."""
    return _share(g, ops.less(y, x), x, y)


@op(
    kind="elementwise",
    facts={"cheap": True},
    numpy=np.minimum,
    samples=[
        Sample([1.0, 5.0, 2.0], [3.0, 4.0, 6.5], expected=[1.0, 4.0, 2.0]),
        Sample([1.0, 2.5], [[2.0], [-3.0]]),
        Sample([1.0], [1.0], expected=[1.0], smooth=False),
    ],
)
def minimum(x: Numeric, y: Numeric) -> Numeric:
    """The smaller of x and y, nan if either is;  the gradient goes to it, half to each where they are equal."""
    return np.minimum(x, y)


@minimum.emit(bools=True, integers=True)
def minimum_emitted(code: Code, x: Lanes, y: Lanes) -> Lanes:
    """The smaller one, NaN if either is."""
    return code.minimum(x, y)


@minimum.vjp("x")
def minimum_wrt_x(g: Numeric, x: Numeric, y: Numeric) -> Numeric:
    """g where x < y, g / 2 where they tie."""
    return _share(g, ops.less(y, x), x, y)


@minimum.vjp("y")
def minimum_wrt_y(g: Numeric, x: Numeric, y: Numeric) -> Numeric:
    """g where y < x, g / 2 where they tie."""
    return _share(g, ops.less(x, y), x, y)


def _share(g: Numeric, loses: Numeric, x: Numeric, y: Numeric) -> Numeric:
    """What an operand of an extreme gets of its gradient; all of it beside a nan."""
    ties = ops.equal(x, y)
    shared = ops.where(ties, g / 2, g)
    return ops.where(loses, 0, ops.by_convention(shared, ties, x, y) if varies(g) else shared)


@op(
    kind="elementwise",
    facts={"cheap": True},
    samples=[
        Sample([-1.0, 0.5, 3.0], 0.25, 1.0, expected=[0.25, 0.5, 1.0]),
        Sample([1.0, 2.5], [[2.0], [1.5], [-3.0]], None),
        Sample([1.0, 2.5], None, [[2.0], [-3.0]]),
        Sample([-1.0, 0.5, 3.0], 2.0, 1.5, expected=[1.5, 1.5, 1.5]),
        Sample([-1.0, 0.5, 3.0], [2.0, 1.0, 2.5], 1.5),
        Sample([0.0, 1.0], 0.0, 1.0, expected=[0.0, 1.0], smooth=False),
        Sample([0.5, 2.0], 1.0, 1.0, expected=[1.0, 1.0], smooth=False),
    ],
)
def clip(x: Array, min: Array | None = None, max: Array | None = None) -> Numeric:
    """min(max(x, min), max), either bound absent if None;  the gradient goes to what was chosen, to x on a bound."""
    return np.clip(x, min, max)


def _one_or_each(x: Numeric, *bounds: object) -> bool:
    """Whether each bound is a number, or lies beside x element by element.

    Zeros that differ in sign are equal: NumPy keeps x beside one bound for all, and takes the bound of an array.
    """
    shape = broadcast_shapes(*(one.shape for one in (x, *bounds) if isinstance(one, ArrayType)))
    return all(not isinstance(one, ArrayType) or one.shape == shape for one in bounds)


@clip.emit(fits=_one_or_each)
def clip_emitted(code: Code, x: Lanes, min: Lanes, max: Lanes) -> Lanes:
    """min(max(x, lower), upper) as NumPy does it: by selects for single numbers and constant bounds."""
    if code.single_numbers or (code.number(min) is not None and code.number(max) is not None):
        x = code.select(code.either(code.compare("<", x, min), code.is_nan(min)), min, x)
        return code.select(code.either(code.compare(">", x, max), code.is_nan(max)), max, x)
    return code.minimum(code.maximum(x, min), max)


@clip.vjp("x")
def clip_wrt_x(g: Numeric, x: Numeric, min: Numeric, max: Numeric) -> Numeric:
    """g where x lies within the bounds or on them, else 0."""
    if min is not None:
        g = ops.where(ops.less(x, min), 0, g)
    if max is not None:
        g = ops.where(ops.greater(x, max), 0, g)
    return g


@clip.vjp("min")
def clip_wrt_min(g: object, x: Numeric, min: object, max: object) -> Any:
    """g where x < min and the upper bound does not win, else 0."""
    g = ops.where(ops.less(x, min), g, 0)
    return g if max is None else ops.where(ops.less(min, max), g, 0)


@clip.vjp("max")
def clip_wrt_max(g: object, x: Numeric, min: object, max: object) -> Any:
    """g where the upper bound is the result: x > max, or max <= min."""
    above = ops.greater(x, max)
    return ops.where(above if min is None else ops.logical_or(above, ops.less_equal(max, min)), g, 0)


@clip.numpy(np.clip)
def np_clip(
    a: Numeric,
    a_min: Numeric | None = None,
    a_max: Numeric | None = None,
    *,
    min: Numeric | None = None,
    max: Numeric | None = None,
    **options: object,
) -> Any:
    """`np.clip` with its two spellings of the bounds."""
    dtype, out = options.pop("dtype", None), options.pop("out", None)
    if any(option is not None for option in options.values()):
        raise NumpyFunctionError(
            f"np.clip on tensors takes bounds, dtype= and out=, not {', '.join(options)}; choose with np.where"
        )
    found = clip(a, a_min if min is None else min, a_max if max is None else max)
    return settled("np.clip", found, dtype=dtype, out=out)


@op(
    kind="elementwise",
    samples=[
        Sample(
            [np.nan, np.inf, -np.inf, 1.5],
            nan=2.0,
            posinf=9.0,
            neginf=-8.0,
            expected=[2.0, 9.0, -8.0, 1.5],
            smooth=False,
        ),
        Sample([np.nan, 3.0], expected=[0.0, 3.0], smooth=False),
        Sample([[-2.0], [0.5]]),
        Sample([3.0 - 4.0j, 2.0 + 0.0j], expected=[3.0 - 4.0j, 2.0 + 0.0j]),
    ],
)
def nan_to_num(
    x: Array, *, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Numeric:
    """x with nan and the infinities replaced, by the largest finite numbers if None;  d/dx = 1 where x is finite."""
    return np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf)


@nan_to_num.emit
def nan_to_num_emitted(
    code: Code, x: Lanes, *, nan: float, posinf: float | None, neginf: float | None
) -> Any:
    """Three selects: +inf, -inf and NaN are replaced, in this order."""
    from tinygraph.kernels.builder import dtype_of

    most = float(np.finfo(dtype_of(x)).max)
    high, low = most if posinf is None else posinf, -most if neginf is None else neginf
    infinity = code.constant(np.inf, x)
    bounded = code.select(code.compare("==", x, infinity), code.constant(high, x), x)
    bounded = code.select(code.compare("==", x, code.negative(infinity)), code.constant(low, x), bounded)
    return code.select(code.is_nan(x), code.constant(nan, x), bounded)


@nan_to_num.vjp("x")
def nan_to_num_wrt_x(g: Numeric, x: Numeric) -> Any:
    """g where x is finite, else 0; for complex x each part by itself."""
    if x.dtype.kind != "c":
        return ops.where(ops.isfinite(x), g, 0)
    real = ops.where(ops.isfinite(ops.real(x)), ops.real(g), 0)
    return ops.make_complex(real, ops.where(ops.isfinite(ops.imag(x)), ops.imag(g), 0))


@nan_to_num.numpy(np.nan_to_num)
def _(x: Numeric, copy: bool = True, **numbers: Any) -> Any:
    if not copy:
        raise NumpyFunctionError(
            "np.nan_to_num on tensors makes a new tensor: leave copy=False out and write x = np.nan_to_num(x)"
        )
    for name, number in numbers.items():
        if np.ndim(number):
            raise NumpyFunctionError(
                f"np.nan_to_num on tensors takes one number for {name}, not an array of shape {np.shape(number)}; "
                f"for one number each write np.where(np.isnan(x), numbers, x)"
            )
    return nan_to_num(x, **numbers)


@op(
    kind="elementwise",
    facts={"number": builtins.abs},
    numpy=np.abs,
    samples=[
        Sample([1.5, -2.0], expected=[1.5, 2.0]),
        Sample([[3.0 + 4.0j], [-1.0j]], expected=[[5.0], [1.0]]),
        Sample([0.0], expected=[0.0], smooth=False),
    ],
)
def abs(x: Numeric) -> Numeric:
    """|x|;  d/dx = sign(x), 0 at 0. For complex x: conj(x) / |x|."""
    return np.abs(x)


@abs.emit
def abs_emitted(code: Code, x: Lanes) -> Lanes:
    """The sign bit, cleared."""
    return code.intrinsic("llvm.fabs", x)


@abs.vjp("x")
def abs_wrt_x(g: Numeric, x: Numeric, out: Numeric) -> Numeric:
    """g · sign(x); for complex x g · conj(x) / |x|, 0 at 0."""
    if x.dtype.kind != "c":
        along = g * ops.sign(x)
        return ops.by_convention(along, ops.equal(x, 0), x) if varies(g) else along
    nothing = ops.equal(out, 0)
    along = g * (ops.conj(x) / ops.where(nothing, 1, out))  # 0 where there is nothing
    return ops.by_convention(along, nothing, x) if varies(x) else along


@abs.jvp("x")
def abs_tangent(t: Numeric, x: Numeric, out: Numeric) -> Numeric:
    """The real part of what the gradient's rule makes of t: |x| is real."""
    return ops.real(abs_wrt_x(t, x, out))


@op(
    kind="elementwise",
    numpy=np.sign,
    nondifferentiable="x",
    samples=[
        Sample([1.5, -2.0], expected=[1.0, -1.0]),
        Sample([0.0], expected=[0.0], smooth=False),
        Sample([[3], [-1]], expected=[[1], [-1]]),
    ],
    error_samples=[ErrorSample([1j], error=DTypeError, match="x / abs")],
)
def sign(x: Numeric) -> Numeric:
    """-1, 0 or 1; piecewise constant, so no gradient flows."""
    if getattr(x, "dtype", None) is not None and x.dtype.kind == "c":
        raise DTypeError("sign takes real numbers; the direction of a complex number is x / abs(x)")
    return np.sign(x)


@sign.emit
def sign_emitted(code: Code, x: Lanes) -> Lanes:
    """1, -1 or x + 0, by two comparisons: NaN stays."""
    zero = code.constant(0, x)
    negative = code.select(code.compare("<", x, zero), code.constant(-1, x), code.add(x, zero))
    return code.select(code.compare(">", x, zero), code.constant(1, x), negative)


@sign.numpy(np.sign)
def np_sign(x: Numeric) -> Any:
    """`np.sign`; of a complex number its direction x / |x|, which has a gradient."""
    if getattr(x, "dtype", np.dtype(float)).kind != "c":
        return sign(x)
    size = ops.abs(x)
    nothing = ops.equal(size, 0)
    return ops.where(nothing, np.zeros((), x.dtype), x / ops.where(nothing, np.ones((), size.dtype), size))


@op(
    kind="elementwise",
    numpy=np.floor,
    nondifferentiable="x",
    samples=[Sample([1.5, -1.5, 2.25], expected=[1.0, -2.0, 2.0]), Sample([[0.3], [-0.3]])],
)
def floor(x: Numeric) -> Numeric:
    """⌊x⌋; piecewise constant, so no gradient flows."""
    return np.floor(x)


@floor.emit
def floor_emitted(code: Code, x: Lanes) -> Lanes:
    """LLVM's floor."""
    return code.intrinsic("llvm.floor", x)


@op(
    kind="elementwise",
    numpy=np.ceil,
    nondifferentiable="x",
    samples=[Sample([1.5, -1.5, 2.25], expected=[2.0, -1.0, 3.0]), Sample([[0.3], [-0.3]])],
)
def ceil(x: Numeric) -> Numeric:
    """⌈x⌉; piecewise constant, so no gradient flows."""
    return np.ceil(x)


@ceil.emit
def ceil_emitted(code: Code, x: Lanes) -> Lanes:
    """LLVM's ceil."""
    return code.intrinsic("llvm.ceil", x)


@op(
    kind="elementwise",
    numpy=(np.trunc, np.fix),
    nondifferentiable="x",
    samples=[Sample([1.5, -1.5, 2.25], expected=[1.0, -1.0, 2.0]), Sample([[0.3], [-0.3]])],
)
def trunc(x: Numeric) -> Numeric:
    """x without its fraction; piecewise constant, so no gradient flows."""
    return np.trunc(x)


@trunc.emit
def trunc_emitted(code: Code, x: Lanes) -> Lanes:
    """LLVM's trunc."""
    return code.intrinsic("llvm.trunc", x)


@op(
    kind="elementwise",
    numpy=np.round,
    nondifferentiable="x",
    samples=[
        Sample([1.75, -1.2], expected=[2.0, -1.0]),
        Sample([1.5, 2.5], expected=[2.0, 2.0], smooth=False),
        Sample([[0.126], [-0.374]], decimals=2),
    ],
)
def round(x: Numeric, *, decimals: int = 0) -> Numeric:
    """x rounded to `decimals` places, halves to even; piecewise constant, so no gradient flows."""
    # NumPy multiplies by 10 as often as it is told; beyond the largest float that changes nothing
    return np.round(x, max(-400, min(400, decimals)))
