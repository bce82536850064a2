"""Values, first and second derivatives of the ops against PyTorch's, stored in `tests/reference`."""

from __future__ import annotations

from typing import Any

import numpy as np

import tinygraph as tg
from tests.reference.loading import Reference, assert_all_match, first_and_second, load
from tests.rows import each

TOLERANCE = 1e-7


def _batch_norm(x: Any, *rest: Any, training: bool, momentum: float, eps: float) -> Any:
    """PyTorch's signature: affine parameters if there are four operands more, then the running statistics."""
    weight, bias = rest[:-2] or (None, None)
    if training:
        return tg.ops.batch_norm(x, weight, bias, eps=eps)[0]
    mean, variance = rest[-2:]
    return tg.ops.batch_norm_inference(x, mean, variance, weight, bias, eps=eps)


# Ops whose name or operands differ from the stored cases'.
ADAPTED = {
    "batch_norm": _batch_norm,
    "reciprocal": lambda x: tg.ops.divide(1.0, x),
    "rsqrt": lambda x: tg.ops.divide(1.0, tg.ops.sqrt(x)),
    "clip": lambda x, min, max: tg.ops.clip(x, min, max),
    "einsum": lambda x, y, subscripts: tg.ops.einsum(x, y, subscripts=subscripts),
}


def _call(name: str) -> Any:
    return ADAPTED.get(name) or getattr(tg.ops, name)


# Whose first derivative at a kink is a mean of slopes: PyTorch's second is 0 there, by convention; here it is NaN.
MEANS_OF_SLOPES = {"abs", "maximum", "minimum", "max", "min"}


def _compare(reference: Reference) -> None:
    found = first_and_second(_call(reference.case.op), reference.case, vjp=tg.vjp, grad=tg.grad)
    expected = {name: value for name, value in reference.expected.items() if not name.startswith("running_")}
    if reference.case.op in MEANS_OF_SLOPES:
        for name in (one for one in expected if one.startswith("second_") and expected[one].whole):
            array = np.asarray(found[name])
            at_kinks = np.isnan(array) & (expected[name].stored.reshape(array.shape) == 0)
            found[name] = np.where(at_kinks, 0, array)
    assert_all_match(found, expected, tol=TOLERANCE)


@each("reference", lambda: load("convolution"), ids=str)
def test_convolution(reference: Reference) -> None:
    _compare(reference)


@each("reference", lambda: load("convolution_transpose"), ids=str)
def test_convolution_transpose(reference: Reference) -> None:
    _compare(reference)


@each("reference", lambda: load("pool"), ids=str)
def test_pool(reference: Reference) -> None:
    _compare(reference)


@each("reference", lambda: load("adaptive_average_pool"), ids=str)
def test_adaptive_average_pool(reference: Reference) -> None:
    _compare(reference)


@each("reference", lambda: load("function"), ids=str)
def test_function(reference: Reference) -> None:
    _compare(reference)


def _running_statistics(reference: Reference) -> bool:
    return reference.case.op == "batch_norm" and reference.case.settings["training"]


@each("reference", lambda: filter(_running_statistics, load("function")), ids=str)
def test_batch_statistics_make_running_averages(reference: Reference) -> None:
    case = reference.case
    x, momentum = case.inputs["x"], case.settings["momentum"]
    _, mean, variance = tg.ops.batch_norm(x)
    count = x.size // x.shape[1]
    found = {
        "running_mean": (1 - momentum) * case.inputs["running_mean"] + momentum * mean,
        "running_var": (1 - momentum) * case.inputs["running_var"]
        + momentum * variance * count / (count - 1),
    }
    assert_all_match(found, {name: reference.expected[name] for name in found}, tol=TOLERANCE)
