"""Products and convolutions of com.microsoft, with what onnxruntime fuses to their ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygraph.plugin import Array, ErrorSample, Numeric, Sample, SettingError, ShapeError, composite, ops
from tinygraph_onnxruntime.activations import activated

_A, _B = [[1.0, 2.0], [3.0, -4.0], [0.5, 0.0]], [[1.0, -1.0, 2.0], [0.5, 2.0, -3.0]]
_IMAGE, _KERNEL = [[[[1.0, -2.0, 3.0], [0.5, 4.0, -1.0], [2.0, 0.0, 1.5]]]], [[[[1.0, -1.0], [0.5, 2.0]]]]


@composite(
    facts={"onnx": "com.microsoft::FusedMatMul"},
    samples=[
        Sample([[1.0, 2.0]], [[3.0], [4.0]], alpha=0.5, expected=[[5.5]]),
        Sample(_A, _A, transA=1),
        Sample(_A, _A, transB=1, alpha=2.0),
    ],
)
def fused_matmul(a: Numeric, b: Numeric, *, transA: int = 0, transB: int = 0, alpha: float = 1.0) -> Any:
    """alpha a b, either with its last two axes exchanged first."""
    a = np.swapaxes(a, -1, -2) if transA else a
    b = np.swapaxes(b, -1, -2) if transB else b
    made = np.matmul(a, b)
    return made if alpha == 1 else made * alpha


@composite(
    facts={"onnx": "com.microsoft::FusedGemm"},
    samples=[
        Sample([[1.0, 2.0]], [[3.0], [-4.0]], [1.0], activation="Relu", expected=[[0.0]]),
        Sample(_A, _B, None, alpha=0.5, activation="Tanh"),
        Sample(_B, _A, [[1.0, 2.0, 3.0]], transA=1, transB=1, beta=-2.0),
        Sample(_A, _B, activation="LeakyRelu", activation_alpha=0.2),
    ],
    error_samples=[ErrorSample(_A, _B, activation="Nobody", error=SettingError, match="Nobody")],
)
def fused_gemm(
    a: Numeric,
    b: Numeric,
    c: Numeric | None = None,
    *,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    activation: str = "",
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
) -> Any:
    """activation(alpha a b + beta c)."""
    made = np.matmul(a.T if transA else a, b.T if transB else b)
    made = made if alpha == 1 else made * alpha
    if c is not None:
        made = made + (c if beta == 1 else c * beta)
    return activated(
        made, activation, [one for one in (activation_alpha, activation_beta) if one is not None]
    )


@composite(
    facts={"onnx": "com.microsoft::FusedConv"},
    samples=[
        Sample([[[[1.0, 2.0]]]], [[[[-3.0]]]], [1.0], activation="Relu", expected=[[[[0.0, 0.0]]]]),
        Sample(_IMAGE, _KERNEL, pads=(1, 1, 1, 1), strides=(2, 2)),
        Sample(_IMAGE, _KERNEL, [0.5], pads=(0, 1, 1, 0), activation="Clip", activation_params=(-1.25, 3.1)),
        Sample(_IMAGE, _KERNEL, [0.5], [[[[1.0, 0.0, -2.0]] * 3]], auto_pad="SAME_UPPER"),
        Sample(_IMAGE, _KERNEL, auto_pad="SAME_LOWER", dilations=(2, 1)),
        Sample(_IMAGE, _KERNEL, auto_pad="VALID", activation="HardSigmoid", activation_params=(0.11, 0.45)),
    ],
    error_samples=[
        ErrorSample(_IMAGE, _KERNEL, pads=(1, 1), error=ShapeError, match="2 pads"),
        ErrorSample(_IMAGE, _KERNEL, auto_pad="SOME", error=SettingError, match="SOME"),
    ],
)
def fused_convolution(
    x: Array,
    kernel: Array,
    bias: Array | None = None,
    summand: Array | None = None,
    *,
    auto_pad: str = "NOTSET",
    pads: Sequence[int] = (),
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    group: int = 1,
    kernel_shape: Sequence[int] = (),
    activation: str = "",
    activation_params: Sequence[float] = (),
) -> Any:
    """activation(convolution(x, kernel) + bias + summand)."""
    rank = x.ndim - 2
    strides, dilations = tuple(strides) or (1,) * rank, tuple(dilations) or (1,) * rank
    ends = _ends(auto_pad, pads, x.shape[2:], kernel.shape[2:], strides, dilations)
    if any(before != after for before, after in ends):  # an op's padding is the same at both
        x, ends = ops.pad(x, pad_width=((0, 0), (0, 0), *ends)), [(0, 0)] * rank
    padding = tuple(before for before, _ in ends)
    made = ops.convolution(x, kernel, bias, stride=strides, padding=padding, dilation=dilations, groups=group)
    return activated(made if summand is None else made + summand, activation, activation_params)


def _ends(
    auto: str,
    pads: Sequence[int],
    sizes: Sequence[int],
    window: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int]]:
    """The padding of each spatial dimension, before and after."""
    rank = len(sizes)
    if auto == "NOTSET":
        pads = tuple(pads) or (0,) * 2 * rank
        if len(pads) != 2 * rank:
            raise ShapeError(f"{len(pads)} pads for {rank} spatial dimensions; two are needed for each")
        return list(zip(pads[:rank], pads[rank:], strict=True))
    if auto == "VALID":
        return [(0, 0)] * rank
    if auto not in ("SAME_UPPER", "SAME_LOWER"):
        raise SettingError(f"auto_pad={auto!r:.60} is none of NOTSET, VALID, SAME_UPPER and SAME_LOWER")
    made = []
    for size, width, stride, dilation in zip(sizes, window, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + (width - 1) * dilation + 1 - size, 0)
        less, more = total // 2, total - total // 2
        made.append((less, more) if auto == "SAME_UPPER" else (more, less))
    return made
