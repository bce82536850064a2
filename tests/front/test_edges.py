"""Every differentiable function of NumPy on empty, 0-d and single precision operands: shapes and dtypes are NumPy's,
gradients have their operand's and are finite where the result is. And each is compiled, with the eager numbers.
"""

import copy
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tests.front.calls import ARRAYS_BY_NAME, WITHOUT_ARRAYS, call_of
from tests.front.checking import call_on_tensors, check_captured, functions_of, leaves, program_of, tracked
from tests.front.coverage import MODULES
from tinygraph.errors import CaptureError

SINGLE = {"f": np.float32, "c": np.complex64}
VARIANTS: dict[str, Callable[[Any], Any]] = {
    "single precision": lambda x: x.astype(SINGLE.get(x.dtype.kind, x.dtype)),
    "no rows": lambda x: x[:0] if x.ndim else x,
    "nothing along any axis": lambda x: x[(slice(0, 0),) * x.ndim],
    "no columns": lambda x: x[..., :0] if x.ndim else x,
    "0-d": lambda x: np.array(x.reshape(-1)[0]) if x.size else x,
}
# What differs from NumPy and why.
APART = {
    (
        "linalg.svd",
        "no rows",
    ): "matrices that are not square have singular vectors without a derivative: refused",
    ("linalg.svd", "no columns"): "the same",
    (
        "polydiv",
        "single precision",
    ): "NumPy keeps a remainder's leading coefficient that is only its rounding",
}
NAMES = [
    prefix + name
    for prefix, module in MODULES.items()
    for name in functions_of(module)
    if name not in ARRAYS_BY_NAME and name not in WITHOUT_ARRAYS
]


def changed(x: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(x, np.ndarray):
        return change(x)
    return type(x)([changed(one, change) for one in x]) if type(x) in (list, tuple) else x


def function_named(name: str) -> Any:
    prefix, _, short = name.rpartition(".")
    return getattr(MODULES[prefix and prefix + "."], short)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_edges(name: str) -> None:
    function, args, options = call_of(name, function_named(name))
    with np.errstate(all="ignore"):
        if call_on_tensors(function, args, options)[0].kind != "differentiable":
            return
        for variant, change in VARIANTS.items():
            if (name, variant) in APART:
                continue
            given = changed(list(args), change)
            settings = {key: changed(one, change) for key, one in options.items()}
            try:
                expected = function(*copy.deepcopy(given), **copy.deepcopy(settings))
            except (ValueError, TypeError, IndexError, ArithmeticError):  # NumPy takes no such operands
                continue
            check(function, given, settings, leaves(expected), f"{name}, {variant}")


# Shapes and classes that values decide are known when the program runs alone.
BY_VALUE = {
    "intersect1d", "polydiv", "roots", "setdiff1d", "setxor1d", "trim_zeros", "union1d", "unique", "unique_all",
    "unique_counts", "unique_inverse", "unique_values",
}  # fmt: skip
if np.linalg.eigvals(np.eye(1)).dtype.kind == "f":  # before NumPy 2.5
    BY_VALUE |= {"linalg.eig", "linalg.eigvals"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore")
def test_captured_as_eagerly(name: str) -> None:
    function, args, options = call_of(name, function_named(name))
    with np.errstate(all="ignore"):
        again = copy.deepcopy((args, options))
        if call_on_tensors(function, *again)[0].kind != "differentiable":
            return
        if name in BY_VALUE:
            program, points = program_of(function, args, options)
            with pytest.raises(CaptureError):
                tg.compile(program)(*points)
            return
        check_captured(function, args, options)


def check(function: Any, args: list[Any], options: dict[str, Any], expected: list[Any], where: str) -> None:
    operands: list[Any] = []
    given = [tracked(one, operands) for one in args]
    found = leaves(function(*given, **{key: tracked(one, operands) for key, one in options.items()}))
    if not expected:  # it writes
        return
    assert len(found) == len(expected), where
    for one, other in zip(found, expected, strict=True):
        if isinstance(other, np.ndarray | np.generic):
            assert (np.shape(one), one.dtype) == (other.shape, other.dtype), where
    smooth = [one for one in found if isinstance(one, tg.Tensor) and one.requires_grad]
    numbers = [one for one in expected if np.asarray(one).dtype.kind in "fc"]
    if not smooth:
        moving = any(one.size for one in operands) and any(np.size(one) for one in numbers)
        assert not moving, f"{where}: no gradient"
        return
    sum(np.sum(np.real(one)) for one in smooth).backward()
    finite = all(np.all(np.isfinite(one)) for one in numbers)
    for one in operands:
        if one.grad is not None:
            assert (one.grad.shape, one.grad.dtype) == (one.shape, one.dtype), where
            assert not finite or np.all(np.isfinite(one.grad.numpy())), f"{where}: {one.grad}"


def test_answers_of_nothing_and_of_one_number() -> None:
    """Literal values of what the walk above mended."""
    nothing = tg.tensor(np.zeros(0), requires_grad=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for function in (np.median, np.nanmedian, lambda x: np.nanquantile(x, 0.5)):
            assert np.isnan(function(nothing).numpy())
    assert np.linalg.norm(tg.tensor(np.zeros((0, 3)), requires_grad=True), 2).numpy() == 0.0
    assert np.asarray(np.polymul(nothing, np.array([1.0, 2.0]))).tolist() == [0.0, 0.0]
    assert np.geomspace(tg.tensor(np.float32(1), requires_grad=True), 4.0, 3).dtype == np.float64
    assert tg.grad(np.nanstd)(np.full(2, 3.0)).tolist() == [0.0, 0.0]
    assert tg.grad(lambda x: np.sum(np.cumulative_sum(x)))(np.array(3.0)) == 1.0
    edges = tg.grad(lambda x: np.sum(np.histogram_bin_edges(x, 2)))(np.array(3.0))
    assert edges == 3.0  # x - 1/2, x, x + 1/2
    assert tg.grad(lambda x: np.sum(np.pad(x, 1)))(np.array(3.0)) == 1.0
