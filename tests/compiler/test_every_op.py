"""Every op on every sample, compiled: values and gradients equal to eager ones, relative to each array's norm."""

import contextlib

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.cli.bench.command import numpy_kernels
from tinygraph.core.op import Op
from tinygraph.core.registry import registry

CASES = [
    pytest.param(op, sample, id=f"{op.name}-{i}")
    for op in registry.all_ops()
    if isinstance(op, Op) and op.package == "tinygraph_ops"
    for i, sample in enumerate(op.samples)
]
BOUNDS = {"float64": 1e-12, "float32": 2e-5}


def flat(result):
    return [np.asarray(one) for one in (result if isinstance(result, tuple) else (result,))]


def assert_close(found, expected, bound):
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


@pytest.mark.parametrize(
    ("kernels", "dtype"),
    [
        *((contextlib.nullcontext, dtype) for dtype in BOUNDS),
        (numpy_kernels, "float64"),
        pytest.param(numpy_kernels, "float32", marks=pytest.mark.slow),
    ],
    ids=["all kernels-float64", "all kernels-float32", "numpy kernels-float64", "numpy kernels-float32"],
)
@pytest.mark.parametrize(("op", "sample"), CASES)
def test_compiled_equals_eager(op, sample, dtype, kernels):
    operands = [x.astype(dtype) if x is not None and x.dtype == float else x for x in sample.operands]
    if dtype != "float64" and all(x is None or x.dtype != dtype for x in operands):
        pytest.skip("no operand of this dtype")
    moving = [i for i, x in enumerate(operands) if x is not None and x.dtype.kind in "fc"]
    given = [operands[i] for i in moving]  # indices, labels and masks are known when the function is captured
    if not given:
        pytest.skip("no floating-point operand")

    def call(*arrays):
        full = list(operands)
        for i, array in zip(moving, arrays, strict=True):
            full[i] = array
        return op(*full, **sample.settings)

    with np.errstate(all="ignore"), kernels():
        expected = flat(call(*given))
        assert_close(flat(tg.compile(call)(*given)), expected, BOUNDS[dtype])

        if not any(out.dtype.kind in "fc" for out in expected):
            return
        weights = [np.cos(np.arange(out.size)).reshape(out.shape).astype(out.dtype) for out in expected]

        def gradients(*arrays):
            out, pull = tg.vjp(call, *arrays)
            return pull(tuple(weights) if isinstance(out, tuple) else weights[0])

        found = flat(tg.compile(gradients)(*given))
        assert_close(found, flat(gradients(*given)), BOUNDS[dtype])
