"""The direct convolution and its gradients, in planes and on NCHW arrays, against sums over taps in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.kernels.convolution_cases import LAYOUTS, Case, each_map, reference
from tests.rows import each, each_in_part
from tinygraph.core.registry import ops
from tinygraph.errors import SettingError, ShapeError
from tinygraph.kernels.cpu import this_cpu
from tinygraph.kernels.images import direct as direct
from tinygraph.kernels.images import lowerings as images
from tinygraph.kernels.images import packing as layouts
from tinygraph.kernels.images.borders import clear_halo
from tinygraph.kernels.images.planes import Planes, planes
from tinygraph.kernels.lowering import Layouts, channels_last, rows
from tinygraph.kernels.program import ProgramBuilder

# relative to the norm of each result; sums have up to some thousand terms
BOUNDS = {"float32": 2e-6, "float64": 4e-15}


CASES = [
    Case(2, 3, (8, 8), 16, (3, 3), padding=(1, 1)),
    Case(1, 32, (9, 17), 32, (3, 3), padding=(1, 1)),
    Case(2, 1, (28, 28), 6, (5, 5), padding=(2, 2)),
    Case(2, 6, (14, 14), 16, (5, 5)),
    Case(1, 16, (7, 7), 48, (3, 3), padding=(1, 1)),
    Case(1, 5, (13, 29), 37, (3, 2)),
    Case(1, 17, (4, 4), 80, (1, 1)),
    Case(2, 16, (9, 11), 20, (3, 3), (2, 2), (1, 1)),
    Case(1, 16, (8, 8), 33, (1, 1), (2, 2)),
    Case(1, 5, (13, 7), 7, (3, 2), (2, 3), (2, 1), (2, 3)),
    Case(1, 4, (11, 11), 4, (3, 3), (1, 1), (2, 2), (2, 2)),
    Case(1, 3, (10, 9), 8, (2, 2), (3, 4)),  # strides beyond the kernel: some pixels reach no output
    Case(1, 2, (5, 6), 3, (5, 6)),  # one output pixel
    Case(3, 4, (6, 6), 8, (3, 3), padding=(4, 3)),  # more padding than the kernel reaches
    Case(1, 7, (1, 17), 11, (1, 4), padding=(0, 2)),
    Case(1, 2, (1, 1), 3, (1, 1)),
    Case(0, 3, (5, 5), 4, (3, 3)),
    Case(3, 160, (5, 4), 112, (3, 3), padding=(1, 1)),  # weights larger than a cache
    Case(1, 3, (8, 7), 5, (3, 3), (2, 1), (1, 1), dtype="float64"),
    Case(2, 20, (6, 5), 24, (3, 3), padding=(1, 1), dtype="float64"),
]


def assert_near(got: Any, exact: Any, dtype: str) -> None:
    assert not np.isnan(got).any()
    assert np.linalg.norm(got - exact) <= BOUNDS[dtype] * max(np.linalg.norm(exact), 1e-30)


def geometry(case: Case, spare: int) -> tuple[direct.Convolution, Planes]:
    """The convolution and the planes of its output's gradient, with halos wider than needed by `spare`."""
    lanes = this_cpu().lanes(case.dtype)
    source, result = planes(*case.size, case.inputs, lanes), planes(*case.results, case.outputs, lanes)
    made = direct.Convolution(
        source, result, case.kernel, case.stride, case.padding, case.dilation, case.dtype
    )
    source = source._replace(halo=tuple(n + spare for n in made.source_halo()))  # type: ignore[arg-type]
    gradient = result._replace(halo=tuple(n + spare for n in made.gradient_halo()))  # type: ignore[arg-type]
    return made._replace(source=source, result=result._replace(halo=(spare,) * 4)), gradient


@pytest.mark.parametrize(("case", "spare"), [(case, i % 2) for i, case in enumerate(CASES)])
def test_in_planes(case: Case, spare: int, guard: Any) -> None:
    made, given = geometry(case, spare)
    exact, n, dtype = reference(case), case.images, case.dtype
    weights, reverse = direct.forward_weights(made), direct.gradient_weights(made)
    source, gradient = guard(made.source.shape(n), dtype), guard(given.shape(n), dtype)
    packed, packed_back = guard(tuple(weights), dtype), guard(tuple(reverse), dtype)
    layouts.to_planes(made.source, dtype).bind(guard.like(exact.x), source, span=case.images)()
    layouts.to_planes(given, dtype).bind(guard.like(exact.gradient), gradient, span=case.images)()
    layouts.pack(weights, case.outputs, case.inputs, dtype).bind(guard.like(exact.kernel), packed, span=1)()
    layouts.pack_for_gradient(reverse, case.outputs, case.inputs, dtype).bind(
        exact.kernel, packed_back, span=1
    )()
    bias, out = guard((made.result.padded,), dtype, 0), guard(made.result.shape(n), dtype)
    bias[: case.outputs] = exact.bias
    direct.forward(made).bind(source, packed, bias, out, span=case.images)()
    assert_near(made.result.interior(out).transpose(0, 3, 1, 2), exact.out, dtype)
    back = guard(made.source.shape(n), dtype)
    direct.input_gradient(made, given).bind(gradient, packed_back, back, span=case.images)()
    assert_near(made.source.interior(back).transpose(0, 3, 1, 2), exact.by_x, dtype)
    products, by_bias, unpacked = (
        guard(tuple(weights), dtype),
        guard((given.padded,), dtype),
        guard(exact.kernel.shape, dtype),
    )
    direct.kernel_gradient(made, given, bias=True).bind(
        source, gradient, products, by_bias, span=case.images
    )()
    layouts.unpack(weights, case.outputs, case.inputs, dtype).bind(products, unpacked, span=1)()
    assert_near(unpacked, exact.by_kernel, dtype)
    assert_near(by_bias[: case.outputs], exact.gradient.astype(float).sum((0, 2, 3)), dtype)
    assert not by_bias[case.outputs :].any()
    again = direct.kernel_gradient(made, given, accumulate=True)
    again.bind(source, gradient, products, span=case.images)()
    layouts.unpack(weights, case.outputs, case.inputs, dtype).bind(products, unpacked, span=1)()
    assert_near(unpacked, 2 * exact.by_kernel, dtype)


@each_in_part("case, layout", [case for case in CASES if case.images], LAYOUTS)
def test_on_arrays(case: Case, layout: str, guard: Any) -> None:
    for got, wanted in each_map(case, layout, this_cpu()._replace(exact=True), guard):
        assert_near(got, wanted, case.dtype)


def test_what_is_asked_for_needs_no_scratch_for_images() -> None:
    """With channels that fill vectors, only the packed weights remain."""
    x, made = (
        (2, 16, 6, 7),
        images.convolution((2, 16, 6, 7), (32, 16, 3, 3), "float32", padding=((1, 1), (1, 1))),
    )
    assert made is not None
    free = Layouts((rows(4), rows(4), None), (rows(4),))
    cpu = this_cpu()._replace(exact=True)
    asked = images.forward(made, x, free, cpu).layouts
    assert asked is not None
    assert asked.inputs[0] == channels_last(4, ((1, 1), (1, 1)))
    given = Layouts((asked.inputs[0], rows(4), None), asked.outputs)
    sizes = images.forward(made, x, given, cpu).scratch
    assert sizes[:2] == (0, 0)
    assert sizes[2] == 32 * 16 * 9 * 4


def test_clear_halo(guard: Any) -> None:
    layout = channels_last(4, ((1, 2), (3, 0)))
    block = guard(layout.block_shape((2, 5, 3, 4)), "float32", 7.0)
    inside = layout.inside(block, (2, 5, 3, 4))
    clear_halo(inside, layout)()
    assert (inside == 7).all()
    assert np.count_nonzero(block) == inside.size


def test_epilogues(guard: Any) -> None:
    """ReLU behind the forward pass, and the mask of the source's own ReLU behind the gradient by it."""
    case = Case(2, 16, (6, 7), 16, (3, 3), padding=(1, 1))
    made, given = geometry(case, 0)
    exact = reference(case)
    weights, reverse = direct.forward_weights(made), direct.gradient_weights(made)
    source, gradient, out, back = (
        guard(p.shape(2), "float32") for p in (made.source, given, made.result, made.source)
    )
    packed, packed_back = guard(tuple(weights), "float32"), guard(tuple(reverse), "float32")
    layouts.to_planes(made.source).bind(exact.x, source, span=case.images)()
    layouts.to_planes(given).bind(exact.gradient, gradient, span=case.images)()
    layouts.pack(weights, 16, 16).bind(exact.kernel, packed, span=1)()
    layouts.pack_for_gradient(reverse, 16, 16).bind(exact.kernel, packed_back, span=1)()
    build = ProgramBuilder()
    relu = direct.ImageEpilogue(build.program(build.step(ops.relu, build.input("float32"))))
    direct.forward(made, bias=False, epilogue=relu).bind(source, packed, out, span=case.images)()
    plain = exact.out - exact.bias[:, None, None].astype(float)
    assert_near(made.result.interior(out).transpose(0, 3, 1, 2), np.maximum(plain, 0), "float32")
    build = ProgramBuilder()
    total, made_from = build.input("float32"), build.input("float32")
    zero = build.constant(0.0, "float32")
    kept = build.step(ops.where, build.step(ops.greater, made_from, zero), total, zero)
    mask = direct.ImageEpilogue(build.program(kept), (made.source,))
    direct.input_gradient(made, given, epilogue=mask).bind(
        gradient, packed_back, back, source, span=case.images
    )()
    assert_near(
        made.source.interior(back).transpose(0, 3, 1, 2), np.where(exact.x > 0, exact.by_x, 0), "float32"
    )


@pytest.mark.parametrize(("batch", "inputs", "outputs"), [(1, 1, 1), (5, 7, 10), (64, 48, 32), (33, 128, 20)])
def test_fully_connected_is_a_convolution_over_a_row_of_examples(
    batch: int, inputs: int, outputs: int, guard: Any
) -> None:
    rng = np.random.default_rng(0)
    lanes = this_cpu().lanes("float32")
    made = direct.Convolution(planes(1, batch, inputs, lanes), planes(1, batch, outputs, lanes), (1, 1))
    x, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((batch, inputs), (outputs, inputs)))
    weights = direct.forward_weights(made)
    source, packed, out = (
        guard(s, "float32") for s in (made.source.shape(1), tuple(weights), made.result.shape(1))
    )
    source[...] = 0
    made.source.interior(source)[...] = x
    layouts.pack(weights, outputs, inputs).bind(w, packed, span=1)()
    direct.forward(made, bias=False).bind(source, packed, out, span=1)()
    assert_near(made.result.interior(out)[0, 0], x.astype(float) @ w.T.astype(float), "float32")


@each("halo", [(0, 0, 0, 0), (1, 2, 3, 4)])
@each("channels", [1, 2, 3, 4, 7, 16, 19, 33])
@each("size", [(1, 1), (3, 5), (4, 16), (7, 9)])
def test_layouts_there_and_back(
    channels: int, size: tuple[int, int], halo: tuple[int, int, int, int], guard: Any
) -> None:
    x = np.random.default_rng(0).standard_normal((2, channels, *size)).astype(np.float32)
    layout = planes(*size, channels, 16, halo)
    there, back = guard(layout.shape(2), "float32"), guard(x.shape, "float32")
    layouts.to_planes(layout).bind(guard.like(x), there, span=2)()
    np.testing.assert_array_equal(layout.interior(there), x.transpose(0, 2, 3, 1))
    assert np.count_nonzero(there) == x.size
    layouts.from_planes(layout).bind(there, back, span=2)()
    np.testing.assert_array_equal(back, x)


def test_what_is_not_supported_is_none() -> None:
    assert images.convolution((1, 4, 8, 8, 8, 8), (4, 4, 3, 3, 3, 3), "float32") is None
    assert images.convolution((1, 4, 8, 8), (4, 4, 3, 3), "complex64") is None
    assert images.convolution((0, 4, 8, 8), (4, 4, 3, 3), "float32") is None
    assert images.convolution((1, 4, 2, 2), (4, 4, 3, 3), "float32") is None


def test_errors_teach() -> None:
    made, given = geometry(Case(1, 4, (5, 5), 8, (3, 3), padding=(1, 1)), 0)
    bare = made._replace(source=made.source._replace(halo=(0, 0, 0, 0)))
    with pytest.raises(ShapeError, match=r"the input's halo is \(0, 0, 0, 0\).*reads \(1, 1, 1, 1\)"):
        direct.forward(bare)
    with pytest.raises(ShapeError, match="the output's gradient's halo"):
        direct.input_gradient(made, given._replace(halo=(0, 0, 0, 0)))
    with pytest.raises(ShapeError, match=r"\(5, 5, 16\), the output \(5, 5, 8\)"):
        direct.kernel_gradient(made, given._replace(padded=16))


@pytest.mark.parametrize("case", [CASES[i] for i in (0, 2, 7, 9, 18)])
@pytest.mark.parametrize("name", ["avx2", "generic"])
def test_narrower_cpus(name: str, case: Case, guard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAPH_CPU", name)
    try:
        assert this_cpu().name == name
    except SettingError:
        pytest.skip(f"this machine cannot run {name}")
    test_in_planes(case, 0, guard)
