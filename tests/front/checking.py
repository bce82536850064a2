"""Classify a call of a NumPy or SciPy function on tensors, and check its derivatives to second order in both modes."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.errors import NumpyFunctionError, RecordingError
from tinygraph.testing.trial import random_like


@dataclass
class Finding:
    """What a function did with tensors: "differentiable", "constant" or "refused", and the error's words."""

    kind: str
    words: str = ""


def tracked(x: Any, found: list[Any]) -> Any:
    """The same arguments with tensors, entered in `found`, for what is in floating point."""
    if isinstance(x, np.ndarray) and x.dtype.kind in "fc":
        found.append(tg.tensor(x, requires_grad=True))
        return found[-1]
    return type(x)([tracked(one, found) for one in x]) if type(x) in (list, tuple) else x


def replaced(x: Any, values: Any) -> Any:
    if isinstance(x, np.ndarray) and x.dtype.kind in "fc":
        return next(values)
    return type(x)([replaced(one, values) for one in x]) if type(x) in (list, tuple) else x


def leaves(x: Any) -> list[Any]:
    if isinstance(x, tuple | list):
        return [leaf for one in x for leaf in leaves(one)]
    return [] if x is None else [x]


def call_on_tensors(
    function: Any, args: tuple[Any, ...], options: dict[str, Any]
) -> tuple[Finding, list[Any]]:
    operands: list[Any] = []
    given = [tracked(one, operands) for one in args]
    kept = {name: tracked(one, operands) for name, one in options.items()}
    try:
        with np.errstate(all="ignore"):
            out = function(*given, **kept)
    except (NumpyFunctionError, RecordingError) as error:
        return Finding("refused", str(error)), []
    found = leaves(out)
    recorded = any(isinstance(one, tg.Tensor) and one.requires_grad for one in found)
    return Finding("differentiable" if recorded else "constant"), found


def check_values(
    function: Any, args: tuple[Any, ...], options: dict[str, Any], found: list[Any], values: bool = True
) -> None:
    for one, other in zip(found, leaves(function(*args, **options)), strict=True):
        one = one.detach() if isinstance(one, tg.Tensor) else one
        if not isinstance(other, np.ndarray | np.generic):  # a text, a dtype, a truth
            assert one == other or isinstance(other, str)
            continue
        if other.ndim == 0 and other.dtype.kind in "bi":  # flags and counts, whose class is the version's
            assert one == other
            continue
        assert one.dtype == other.dtype, (one.dtype, other.dtype)
        assert np.shape(one) == other.shape
        if values:
            np.testing.assert_allclose(np.asarray(one), other, rtol=1e-9, atol=1e-12)


def check_derivatives(function: Any, args: tuple[Any, ...], options: dict[str, Any], orders: int = 2) -> None:
    """Along random directions: slopes by differences, in reverse mode and in forward mode, and of the slope again."""
    points = [
        x
        for x in leaves([list(args), list(options.values())])
        if isinstance(x, np.ndarray) and x.dtype.kind in "fc"
    ]
    weights: list[Any] = []

    def loss(*values: Any) -> Any:
        moving = iter(values)
        given = [replaced(one, moving) for one in args]
        out = function(*given, **{name: replaced(one, moving) for name, one in options.items()})
        total: Any = 0.0
        smooth = [x for x in leaves(out) if hasattr(x, "dtype") and x.dtype.kind in "fc"]
        for i, x in enumerate(smooth):
            if len(weights) <= i:
                weights.append(
                    random_like(x.detach().numpy() if isinstance(x, tg.Tensor) else np.asarray(x), i)
                )
            total = total + np.sum(np.real(x * weights[i]))
        return total

    def plain(*values: Any) -> float:
        out = loss(*(tg.tensor(value) for value in values))
        return float(out.detach().numpy()) if isinstance(out, tg.Tensor) else float(out)

    everything = tuple(range(len(points)))
    one, other = ([random_like(x, seed + i) for i, x in enumerate(points)] for seed in (10, 50))

    def slope(*values: Any) -> Any:
        found = tg.grad(loss, argnums=everything)(*values)
        return sum(np.sum(np.real(g * d)) for g, d in zip(found, one, strict=True))

    with np.errstate(all="ignore"):
        plain(*points)
        _compare("first", plain, points, one, slope(*points), tg.jvp(loss, tuple(points), tuple(one))[1])
        if orders < 2:
            return
        second = tg.grad(slope, argnums=everything)(*points)
        found = sum(np.sum(np.real(g * d)) for g, d in zip(second, other, strict=True))
        forward = tg.jvp(slope, tuple(points), tuple(other))[1]
        _compare("second", lambda *xs: float(slope(*xs)), points, other, found, forward)


def _compare(what: str, function: Any, points: list[Any], direction: list[Any], *found: Any) -> None:
    slopes = []
    for step in (1e-5, 1e-4):
        ahead, behind = (
            function(*(x + sign * step * d for x, d in zip(points, direction, strict=True)))
            for sign in (1, -1)
        )
        slopes.append((ahead - behind) / (2 * step))
    expected = (slopes[0] * 100 - slopes[1]) / 99  # errors of the square of the step cancel
    scale = max(abs(slopes[0]), 1.0)
    for mode, one in zip(("reverse", "forward"), found, strict=True):
        assert abs(float(one) - expected) <= 2e-6 * scale, (what, mode, float(one), expected)


def functions_of(module: Any) -> dict[str, Any]:
    """The public functions and ufuncs of a module, by name; classes are none."""
    return {
        name: getattr(module, name)
        for name in sorted(dir(module))
        if not name.startswith("_")
        and callable(getattr(module, name))
        and not inspect.isclass(getattr(module, name))
    }


def program_of(
    function: Any, args: Sequence[Any], options: dict[str, Any]
) -> tuple[Callable[..., list[Any]], list[Any]]:
    """A function of the floating operands of a call alone, which gives its arrays; and these operands."""
    points = [
        one
        for one in leaves([list(args), list(options.values())])
        if getattr(one, "dtype", np.dtype(bool)).kind in "fc"
    ]

    def program(*values: Any) -> list[Any]:
        moving = iter(values)
        given = [replaced(one, moving) for one in args]
        out = function(*given, **{key: replaced(one, moving) for key, one in options.items()})
        return [one for one in leaves(out) if hasattr(one, "dtype")]

    return program, points


def check_captured(function: Any, args: Sequence[Any], options: dict[str, Any]) -> None:
    """A call gives the same compiled as eagerly: shapes, dtypes and values."""
    program, points = program_of(function, args, options)
    expected = [
        np.asarray(x.detach() if isinstance(x, tg.Tensor) else x) for x in program(*map(tg.tensor, points))
    ]
    for one, other in zip(tg.compile(program)(*points), expected, strict=True):
        assert (np.shape(one), one.dtype) == (other.shape, other.dtype)
        np.testing.assert_allclose(np.asarray(one), other, rtol=1e-8, atol=1e-11)
