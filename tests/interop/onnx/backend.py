"""ONNX's own tests of operators, run through the reader: what a case gives, what is made of it, what is wrong."""

import warnings

import numpy as np
import onnx

import tinygraph as tg
from tinygraph.interop.onnx.model_reading import graph_of_model, size_name
from tinygraph.interop.onnx.operators.operator_table import NeedsValueError
from tinygraph.interop.onnx.tensors import array_of

# bfloat16 has 8 bits; NumPy's reference for it computes in another order.
TOLERANCES = {"bf16": 1e-2, "bfloat16": 1e-2}


def cases(modules=None):
    """ONNX's cases: all, or those of some of its modules, whose import makes them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, at overflows that are meant
        from onnx.backend.test.case import node as package

        if modules is None:
            return [one for one in package.collect_testcases() if one.model is not None]
        made = package._NodeTestCases
        for name in modules:
            __import__(f"{package.__name__}.{name}")
        return [one for one in made if one.model is not None]


def value(x):
    """What a case gives or wants, in the types that hold it here."""
    if isinstance(x, list):
        return [value(one) for one in x]
    if isinstance(x, onnx.TensorProto):
        return array_of(x, None)
    if x is None:
        return None
    x = np.asarray(x)
    if x.dtype.kind in "biufcO":
        return x
    if x.dtype.name in ("int4", "int2"):
        return x.astype(np.int8)
    return x.astype(np.uint8 if x.dtype.name in ("uint4", "uint2") else np.float32)


def graph_of(model, inputs):
    """The graph of a case's model, those inputs fixed on which its shapes depend, and what is left to give."""
    infos = {one.name: one for one in model.graph.input}
    given = dict(zip(infos, map(value, inputs), strict=False))
    fixed = {
        name
        for name, info in infos.items()
        if info.type.WhichOneof("value") != "tensor_type"
        or getattr(getattr(given.get(name), "dtype", None), "kind", "") == "O"
    }
    for _ in infos.keys() | {""}:
        sizes = {
            size_name(name, axis, dim): given[name].shape[axis]
            for name, info in infos.items()
            if name not in fixed
            for axis, dim in enumerate(info.type.tensor_type.shape.dim)
            if not dim.HasField("dim_value")
        }
        try:
            graph = graph_of_model(model, sizes=sizes, constants={name: given.get(name) for name in fixed})
            return graph, [given[leaf.name] for leaf in graph.inputs]
        except NeedsValueError as error:
            more = set(error.inputs) & infos.keys() - fixed
            if not more:
                raise
            fixed |= more
    raise AssertionError("its shapes depend on more than its inputs")


def wrong(case):
    """What is wrong with the results of a case; empty if nothing is."""
    tolerance = next((one for word, one in TOLERANCES.items() if word in case.name), 1e-6)
    for inputs, outputs in case.data_sets:
        try:
            graph, rest = graph_of(case.model, inputs)
            with np.errstate(all="ignore"):  # infinities and NaN that are meant
                found = graph(*rest)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is wrong
            return f"{type(error).__name__}: {error}"
        found = found if isinstance(found, tuple) else (found,)
        for got, wanted in zip(found, outputs, strict=False):
            problem = compare(got, value(wanted), case, tolerance)
            if problem:
                return problem
    return ""


def compare(got, wanted, case, tolerance):
    if isinstance(wanted, list):
        if len(got) != len(wanted):
            return f"{len(got)} elements, not {len(wanted)}"
        problems = (compare(a, b, case, tolerance) for a, b in zip(got, wanted, strict=True))
        return next(filter(None, problems), "")
    got = got.numpy() if isinstance(got, tg.Tensor) else np.asarray(got)
    if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
        return f"{got.dtype}{got.shape}, not {wanted.dtype}{wanted.shape}"
    half = got.dtype == np.float16
    close = np.isclose(
        got,
        wanted,
        rtol=max(case.rtol, 2e-3 if half else tolerance),
        atol=1e-3 if half else max(case.atol, tolerance * 1e-1),
        equal_nan=got.dtype.kind in "fc",
    )
    return "" if np.all(close) else f"{np.count_nonzero(~close)} of {close.size} numbers differ"
