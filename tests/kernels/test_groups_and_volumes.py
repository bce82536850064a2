"""Convolutions in groups, depthwise ones too, and of volumes: in every layout, against sums over taps in float64."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinygraph as tg
from tests.kernels.convolution_cases import LAYOUTS, Reference, chosen, laid_out, run_lowered
from tests.rows import each
from tinygraph.core.registry import ops
from tinygraph.errors import SettingError
from tinygraph.kernels.cpu import Cpu, this_cpu
from tinygraph.kernels.images import lowerings
from tinygraph.kernels.lowering import Layouts, rows

BOUNDS = {"float32": 2e-6, "float64": 4e-15}  # relative to the norm of each result


class Case(NamedTuple):
    """A convolution of images of shape `x` with a kernel, all settings by spatial dimension."""

    x: tuple[int, ...]
    kernel: tuple[int, ...]
    groups: int = 1
    stride: tuple[int, ...] | None = None
    padding: tuple[tuple[int, int], ...] | None = None
    dilation: tuple[int, ...] | None = None
    dtype: str = "float32"

    @property
    def settings(self) -> dict[str, Any]:
        ndim = len(self.x) - 2
        return {
            "stride": self.stride or (1,) * ndim,
            "padding": self.padding or ((0, 0),) * ndim,
            "dilation": self.dilation or (1,) * ndim,
            "groups": self.groups,
        }


ONE, TWO = (1, 1), (2, 2)
CASES = [
    Case((2, 16, 9, 11), (16, 1, 3, 3), 16, padding=(ONE, ONE)),  # depthwise
    Case((1, 37, 7, 7), (37, 1, 3, 3), 37, (2, 2), (ONE, (0, 1))),
    Case((2, 3, 8, 29), (3, 1, 5, 5), 3, padding=(TWO, TWO)),
    Case((1, 24, 13, 5), (24, 1, 7, 7), 24, padding=((3, 3), (3, 3))),  # a loop over the taps
    Case((1, 20, 6, 7), (20, 1, 3, 2), 20, (1, 2), (ONE, ONE), (2, 3), "float64"),
    Case((2, 6, 5, 8), (12, 1, 3, 3), 6, padding=(ONE, ONE)),  # two outputs of each input
    Case((1, 10, 6, 5), (5, 2, 2, 3), 5),  # two inputs of each output
    Case((2, 32, 5, 7), (32, 4, 3, 3), 8, padding=(ONE, ONE)),
    Case((1, 18, 6, 6), (18, 3, 3, 3), 6, padding=(ONE, ONE)),  # groups that divide no vector
    Case((1, 10, 7, 5), (14, 5, 3, 3), 2, (2, 1), (ONE, (0, 2))),
    Case((2, 48, 6, 5), (32, 24, 3, 3), 2, padding=(ONE, ONE)),
    Case((1, 16, 5, 5), (48, 8, 1, 1), 2, dtype="float64"),
    Case(
        (1, 34, 8, 7), (34, 17, 3, 3), 2, padding=(ONE, ONE)
    ),  # vectors that are cut off beside the next group
    Case((2, 26, 5, 4), (74, 13, 3, 2), 2, (2, 1), (ONE, ONE), dtype="float64"),
    Case((1, 8, 10, 9), (8, 2, 2, 2), 4, (3, 4)),  # strides beyond the kernel: some pixels reach no output
    Case((3, 19, 31), (19, 1, 9), 19, padding=((4, 4),)),  # one dimension
    Case((2, 12, 17), (8, 3, 4), 4, (3,), ((0, 2),), (2,)),
    Case((2, 3, 5, 6, 7), (8, 3, 3, 3, 3), padding=(ONE, ONE, ONE)),  # volumes
    Case((1, 16, 4, 5, 6), (37, 16, 2, 3, 1), 1, (2, 1, 2), ((0, 1), ONE, (0, 0)), (1, 2, 1)),
    Case((2, 5, 7, 3, 4), (6, 5, 3, 2, 2), 1, (3, 2, 1), (TWO, ONE, (0, 0)), (2, 1, 1), "float64"),
    Case((1, 12, 5, 4, 7), (12, 1, 3, 3, 3), 12, (2, 1, 1), (ONE, ONE, ONE)),  # depthwise
    Case((1, 16, 3, 5, 5), (32, 8, 3, 3, 3), 2, padding=(ONE, ONE, ONE)),
    Case((1, 2, 4, 1, 1), (3, 2, 4, 1, 1)),
]


def flat(array: Any) -> Any:
    """All spatial axes as one."""
    return array.reshape(*array.shape[:3], -1)


def reference(case: Case) -> Reference:
    rng, settings, groups = np.random.default_rng(3), case.settings, case.groups
    stride, padding, dilation = (settings[name] for name in ("stride", "padding", "dilation"))
    sizes, taps = case.x[2:], case.kernel[2:]
    outputs = tuple(
        (n + sum(p) - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip(sizes, padding, dilation, taps, stride, strict=True)
    )
    shapes = case.x, case.kernel, case.kernel[:1], (case.x[0], case.kernel[0], *outputs)
    x, kernel, bias, gradient = (rng.standard_normal(shape).astype(case.dtype) for shape in shapes)
    padded = np.pad(x.astype(float), ((0, 0), (0, 0), *padding))
    apart = padded.reshape(len(x), groups, -1, *padded.shape[2:])
    by_apart = np.zeros(apart.shape)
    weights = kernel.astype(float).reshape(groups, -1, *kernel.shape[1:])
    given = gradient.astype(float).reshape(len(x), groups, -1, *outputs)
    out, by_kernel = np.zeros(given.shape), np.zeros(weights.shape)
    for tap in np.ndindex(taps):
        seen = tuple(
            slice(i * d, i * d + (o - 1) * s + 1, s)
            for i, d, o, s in zip(tap, dilation, outputs, stride, strict=True)
        )
        window = apart[(..., *seen)]
        out += np.einsum("ngi...,goi->ngo...", window, weights[(..., *tap)])
        by_apart[(..., *seen)] += np.einsum("ngo...,goi->ngi...", given, weights[(..., *tap)])
        by_kernel[(..., *tap)] = np.einsum("ngis,ngos->goi", *(flat(one) for one in (window, given)))
    inside = tuple(slice(p[0], p[0] + n) for p, n in zip(padding, sizes, strict=True))
    by_x = by_apart.reshape(padded.shape)[(..., *inside)]
    spread = bias.astype(float).reshape(-1, *(1,) * len(sizes))
    return Reference(
        x, kernel, bias, gradient, out.reshape(gradient.shape) + spread, by_x, by_kernel.reshape(kernel.shape)
    )


def each_map(case: Case, layout: str, cpu: Cpu, guard: Any) -> Iterator[tuple[Any, Any]]:
    """What the lowerings of the three maps make of arrays in a layout, each with the exact result."""
    exact = reference(case)
    made = lowerings.convolution(case.x, case.kernel, case.dtype, **case.settings)
    assert made is not None
    maps = (
        (lowerings.forward, [exact.x, exact.kernel, exact.bias], exact.out),
        (lowerings.input_gradient, [exact.gradient, exact.kernel], exact.by_x),
        (lowerings.kernel_gradient, [exact.x, exact.gradient], exact.by_kernel),
    )
    for lower, operands, wanted in maps:
        free = tuple(rows(one.ndim) for one in operands)
        asked = lower(made, case.x, Layouts(free, (rows(wanted.ndim),)), cpu)
        assert asked is not None
        assert asked.layouts is not None
        given = Layouts(
            tuple(
                chosen(layout, one, want) for one, want in zip(operands, asked.layouts.inputs, strict=True)
            ),
            (chosen(layout, wanted, asked.layouts.outputs[0]),),
        )
        arrays = [laid_out(one, way, guard) for one, way in zip(operands, given.inputs, strict=True)]
        out = laid_out(np.zeros(wanted.shape, case.dtype), given.outputs[0], guard)
        lowering = lower(made, case.x, given, cpu)
        assert lowering is not None
        yield run_lowered(lowering, arrays, out, guard), wanted
        if given.outputs[0] is not None and given.outputs[0].has_halo:
            block = given.outputs[0].around(out)
            assert np.count_nonzero(block) == np.count_nonzero(out), "the halo was written"


def check(case: Case, layout: str, cpu: Cpu, guard: Any) -> None:
    for got, wanted in each_map(case, layout, cpu, guard):
        assert not np.isnan(got).any()
        bound = BOUNDS[case.dtype] * max(np.linalg.norm(wanted), 1e-30)
        assert np.linalg.norm(got - wanted) <= bound, case


@each("number", range(len(CASES)))
def test_on_arrays(number: int, guard: Any) -> None:
    """As the kernels want them, and in one of the other layouts."""
    others = [layout for layout in LAYOUTS if layout != "wanted"]
    for layout in ("wanted", others[number % len(others)]):
        check(CASES[number], layout, this_cpu(), guard)


@each("name", ["avx2", "generic"])
@each("case", [CASES[i] for i in (1, 4, 6, 7, 9, 16)])
def test_narrower_cpus(name: str, case: Case, guard: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINYGRAPH_CPU", name)
    try:
        check(case, "wanted", this_cpu(), guard)
    except SettingError:
        pytest.skip(f"this machine cannot run {name}")


@each("case", [CASES[i] for i in (0, 7, 10, 15)])
def test_compiled_with_what_follows(case: Case) -> None:
    """Bias, activation and residual behind a convolution, and all gradients, on one thread and three."""
    exact = reference(case)

    def loss(x: Any, kernel: Any, bias: Any, rest: Any) -> Any:
        out = ops.relu(ops.convolution(ops.relu(x), kernel, **case.settings) + bias + rest)
        return np.sum(out * out)

    spread = exact.bias.reshape(-1, *(1,) * (len(case.x) - 2))
    arrays = (exact.x, exact.kernel, spread, exact.gradient)
    right = tg.grad(loss, argnums=(0, 1, 2, 3))(*(one.astype(float) for one in arrays))
    before = tg.get_threads()
    try:
        for threads in (1, 3):
            tg.set_threads(threads)
            step = tg.compile(tg.grad(loss, argnums=(0, 1, 2, 3)))
            for found, wanted in zip(step(*arrays), right, strict=True):
                assert np.linalg.norm(found - wanted) <= 1e-5 * np.linalg.norm(wanted)
            kernels = {one.kernel.name for one in step.plan.steps if "convolution" in one.node.op.name}
            assert not any(name.startswith("NumPy") for name in kernels), kernels
    finally:
        tg.set_threads(before)


def test_transposed() -> None:
    """With a bias, with pixels that no window reaches, and with fewer windows than would fit."""
    rng = np.random.default_rng(0)
    for settings in (
        {"stride": (2, 3), "padding": ((1, 1), (0, 2)), "output_padding": (1, 2)},
        {"stride": (1, 2), "dilation": (3, 2), "output_padding": (2, 1)},
        {"stride": (2, 2), "groups": 2},
    ):
        groups = settings.get("groups", 1)
        x = rng.standard_normal((2, 6, 5, 4)).astype(np.float32)
        kernel = rng.standard_normal((6, 8 // groups, 3, 3)).astype(np.float32)  # type: ignore[operator]
        bias = rng.standard_normal(8).astype(np.float32)

        def step(x: Any, kernel: Any, bias: Any, settings: Any = settings) -> Any:
            def loss(x: Any, kernel: Any, bias: Any) -> Any:
                return np.sum(ops.tanh(ops.convolution_transpose(x, kernel, bias, **settings)))

            found = ops.convolution_transpose(x, kernel, bias, **settings)
            return found, *tg.grad(loss, argnums=(0, 1, 2))(x, kernel, bias)

        right = step(*(one.astype(float) for one in (x, kernel, bias)))
        compiled = tg.compile(step)
        for found, wanted in zip(compiled(x, kernel, bias), right, strict=True):
            assert np.linalg.norm(found - wanted) <= 5e-6 * np.linalg.norm(wanted), settings
        names = [one.kernel.name for one in compiled.plan.steps if "convolution" in one.node.op.name]
        assert names
        assert not any(name.startswith("NumPy") for name in names), names
