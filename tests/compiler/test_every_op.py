"""Every op on every sample, compiled: values and gradients equal to eager ones, relative to each array's norm."""

import contextlib
import functools

import numpy as np
import pytest

import tinygraph as tg
from tests.compiler.batches import Call, assert_compiled_as_eager, results
from tinygraph.cli.bench.command import numpy_kernels
from tinygraph.core.op import Op
from tinygraph.core.registry import registry

OPS = [op for op in registry.all_ops() if isinstance(op, Op) and op.package == "tinygraph_ops" and op.samples]
BOUNDS = {"float64": 1e-12, "float32": 2e-5}


def assert_close(expected, found, bound):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape
        assert one.dtype == other.dtype
        finite = np.isfinite(other)
        np.testing.assert_array_equal(np.isnan(one), np.isnan(other))
        scale = np.linalg.norm(other[finite].astype(complex)) if finite.any() else 0.0
        difference = (
            np.linalg.norm((one[finite].astype(complex) - other[finite]).ravel()) if finite.any() else 0.0
        )
        assert difference <= bound * max(scale, 1e-3)


def of_sample(op, sample, dtype):
    """The op on a sample, as a function of its operands of numbers that move, and these; None if none is of a dtype."""
    operands = [x.astype(dtype) if x is not None and x.dtype == float else x for x in sample.operands]
    if dtype != "float64" and all(x is None or x.dtype != dtype for x in operands):
        return None
    moving = [i for i, x in enumerate(operands) if x is not None and x.dtype.kind in "fc"]
    if not moving:  # indices, labels and masks are known when the function is captured
        return None

    def call(*arrays):
        full = list(operands)
        for i, array in zip(moving, arrays, strict=True):
            full[i] = array
        return op(*full, **sample.settings)

    return Call(repr(sample), call, [operands[i] for i in moving])


def pulling(call):
    """The gradients of a call, if it has a result that is differentiable."""
    expected = results(call.function, *call.arguments)
    assert isinstance(expected, list), f"{call.label}: {expected!r}"
    if not any(out.dtype.kind in "fc" for out in expected):
        return None
    weights = [np.cos(np.arange(out.size)).reshape(out.shape).astype(out.dtype) for out in expected]

    def gradients(*arrays):
        out, pull = tg.vjp(call.function, *arrays)
        return pull(tuple(weights) if isinstance(out, tuple) else weights[0])

    assert not isinstance(results(gradients, *call.arguments), Exception)
    return call._replace(label=f"gradients of {call.label}", function=gradients)


# what the kernels of all ops are, and in which precision
ALL, NUMPY = contextlib.nullcontext, numpy_kernels


# Kernels in one of the two precisions, in turn, and without them; the others are slow: each has kernels to compile.
USUAL = {op: [(ALL, ("float64", "float32")[i % 2]), (NUMPY, "float64")] for i, op in enumerate(OPS)}
EVERY = [(kernels, dtype) for kernels in (ALL, NUMPY) for dtype in BOUNDS]


@pytest.mark.parametrize("usual", [True, pytest.param(False, marks=pytest.mark.slow)], ids=["usual", "rest"])
@pytest.mark.parametrize("op", OPS, ids=lambda op: op.name)
def test_compiled_equals_eager(op, usual):
    for kernels, dtype in USUAL[op] if usual else [kind for kind in EVERY if kind not in USUAL[op]]:
        with np.errstate(all="ignore"), kernels():
            calls = [call for call in (of_sample(op, sample, dtype) for sample in op.samples) if call]
            slopes = [one for one in map(pulling, calls) if one]
            for some in (calls, slopes):
                assert_compiled_as_eager(some, functools.partial(assert_close, bound=BOUNDS[dtype]))
