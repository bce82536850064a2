"""What tests of convolution kernels share: cases, exact results, and arrays in every layout."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from tinygraph.kernels.cpu import Cpu
from tinygraph.kernels.images import lowerings
from tinygraph.kernels.lowering import Layout, Layouts, Lowering, rows


class Case(NamedTuple):
    """A convolution of `images` of `inputs` channels with `outputs` kernels."""

    images: int
    inputs: int
    size: tuple[int, int]
    outputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    dtype: str = "float32"

    @property
    def results(self) -> tuple[int, int]:
        height, width = (
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(
                self.size, self.padding, self.dilation, self.kernel, self.stride, strict=True
            )
        )
        return height, width


class Reference(NamedTuple):
    """Operands, results and gradients of a case, all in NCHW and exact to float64."""

    x: Any
    kernel: Any
    bias: Any
    gradient: Any
    out: Any
    by_x: Any
    by_kernel: Any


def reference(case: Case) -> Reference:
    rng = np.random.default_rng(7)
    height, width = case.results
    x, kernel, bias, gradient = (
        rng.standard_normal(shape).astype(case.dtype)
        for shape in (
            (case.images, case.inputs, *case.size),
            (case.outputs, case.inputs, *case.kernel),
            (case.outputs,),
            (case.images, case.outputs, height, width),
        )
    )
    (py, px), (sy, sx), (dy, dx) = case.padding, case.stride, case.dilation
    padded = np.pad(x.astype(float), ((0, 0), (0, 0), (py, py), (px, px)))
    out = np.zeros(gradient.shape) + bias.astype(float)[:, None, None]
    by_padded, by_kernel = np.zeros(padded.shape), np.zeros(kernel.shape)
    for i in range(case.kernel[0]):
        for j in range(case.kernel[1]):
            seen = np.s_[:, :, i * dy :, j * dx :]
            steps = np.s_[:, :, : (height - 1) * sy + 1 : sy, : (width - 1) * sx + 1 : sx]
            window = padded[seen][steps]
            out += np.einsum("nchw,oc->nohw", window, kernel[:, :, i, j].astype(float))
            by_padded[seen][steps] += np.einsum("nohw,oc->nchw", gradient.astype(float), kernel[:, :, i, j])
            by_kernel[:, :, i, j] = np.einsum("nchw,nohw->oc", window, gradient.astype(float))
    by_x = by_padded[:, :, py : py + case.size[0], px : px + case.size[1]]
    return Reference(x, kernel, bias, gradient, out, by_x, by_kernel)


LAYOUTS = ("rows", "wanted", "wide", "strided")


def each_map(case: Case, layout: str, cpu: Cpu, guard: Any) -> Iterator[tuple[Any, Any]]:
    """What the lowerings of the three maps make of arrays in a layout, each with the exact result."""
    exact = reference(case)
    made = lowerings.convolution(
        exact.x.shape,
        exact.kernel.shape,
        case.dtype,
        stride=case.stride,
        padding=tuple((p, p) for p in case.padding),
        dilation=case.dilation,
    )
    assert made is not None
    maps = (
        (lowerings.forward, [exact.x, exact.kernel, exact.bias], exact.out),
        (
            lowerings.forward,
            [exact.x, exact.kernel, None],
            exact.out - exact.bias.astype(float)[:, None, None],
        ),
        (lowerings.input_gradient, [exact.gradient, exact.kernel], exact.by_x),
        (lowerings.kernel_gradient, [exact.x, exact.gradient], exact.by_kernel),
    )
    for lower, operands, wanted in maps:
        free = tuple(None if one is None else rows(one.ndim) for one in operands)
        asked = lower(made, exact.x.shape, Layouts(free, (rows(4),)), cpu).layouts
        assert asked is not None
        given = Layouts(
            tuple(chosen(layout, one, want) for one, want in zip(operands, asked.inputs, strict=True)),
            (chosen(layout, wanted, asked.outputs[0]),),
        )
        arrays = [
            None if one is None else laid_out(one, way, guard)
            for one, way in zip(operands, given.inputs, strict=True)
        ]
        out = laid_out(np.zeros(wanted.shape, case.dtype), given.outputs[0], guard)
        lowering = lower(made, exact.x.shape, given, cpu)
        yield run_lowered(lowering, arrays, out, guard), wanted
        if given.outputs[0] is not None and given.outputs[0].has_halo:
            block = given.outputs[0].around(out)
            assert np.count_nonzero(block) == np.count_nonzero(out), "the halo was written"


def laid_out(array: Any, layout: Layout | None, guard: Any) -> Any:
    """An array of the same values in a layout, with zeros around; strided where the plan does not decide."""
    if layout is None:
        spread = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), array.dtype)
        spread[..., ::2] = array
        return spread[..., ::2]
    result = layout.inside(guard(layout.block_shape(array.shape), array.dtype, 0), array.shape)
    result[...] = array
    return result


def run_lowered(lowering: Lowering, inputs: list[Any], out: Any, guard: Any) -> Any:
    scratch = [guard((n,), np.uint8, 255) for n in lowering.scratch]  # nan in every dtype
    run = lowering.bind(inputs, [out], scratch)
    assert run is not None
    run()
    run()  # scratch keeps what the run before left there
    return out


def chosen(layout: str, array: Any, wanted: Layout | None) -> Layout | None:
    if array is None or layout == "strided":
        return None
    if layout == "rows" or wanted is None:
        return rows(array.ndim)
    if layout == "wanted":
        return wanted
    return wanted._replace(halo=(*wanted.halo[:2], *((a + 1, b + 2) for a, b in wanted.halo[2:])))
