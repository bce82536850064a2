"""Eager convolution, forward and both gradients, one thread, float32, against PyTorch and MyGrad where installed.

OPENBLAS_NUM_THREADS=1 python -m benchmarks.convolution
"""

from __future__ import annotations

import os

for _variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")  # read by the libraries imported below

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np

import tinygraph as tg
from tinygraph.cli.bench.alternating import measure, report

# label: shapes of input and kernel, stride, padding
GEOMETRIES = {
    "32x32x32x32 * 32x32x3x3": ((32, 32, 32, 32), (32, 32, 3, 3), 1, 1),
    "32x3x32x32 * 32x3x3x3": ((32, 3, 32, 32), (32, 3, 3, 3), 1, 1),
    "64x1x28x28 * 6x1x5x5": ((64, 1, 28, 28), (6, 1, 5, 5), 1, 2),
    "16x64x16x16 * 128x64x3x3 / 2": ((16, 64, 16, 16), (128, 64, 3, 3), 2, 1),
}

Run = Callable[[], tuple[Any, Any, Any]]


def ours(x: Any, kernel: Any, cotangent: Any, stride: int, padding: int) -> Run:
    def run() -> tuple[Any, Any, Any]:
        a, b = tg.tensor(x, requires_grad=True), tg.tensor(kernel, requires_grad=True)
        out = tg.ops.convolution(a, b, stride=stride, padding=padding)
        out.backward(cotangent)
        return out.detach().numpy(), a.grad.numpy(), b.grad.numpy()

    return run


def pytorch(x: Any, kernel: Any, cotangent: Any, stride: int, padding: int) -> Run:
    import torch

    torch.set_num_threads(1)

    def run() -> tuple[Any, Any, Any]:
        a, b = torch.tensor(x, requires_grad=True), torch.tensor(kernel, requires_grad=True)
        out = torch.nn.functional.conv2d(a, b, stride=stride, padding=padding)
        out.backward(torch.from_numpy(cotangent))
        return out.detach().numpy(), a.grad.numpy(), b.grad.numpy()

    return run


def mygrad(x: Any, kernel: Any, cotangent: Any, stride: int, padding: int) -> Run:
    import mygrad as mg
    from mygrad.nnet.layers import conv_nd

    def run() -> tuple[Any, Any, Any]:
        a, b = mg.tensor(x), mg.tensor(kernel)
        out = conv_nd(a, b, stride=stride, padding=padding)
        (out * cotangent).sum().backward()
        return out.data, a.grad, b.grad

    return run


def main() -> None:
    rows = {}
    for label, (x_shape, kernel_shape, stride, padding) in GEOMETRIES.items():
        rng = np.random.default_rng(0)
        x, kernel = (rng.normal(size=shape).astype(np.float32) for shape in (x_shape, kernel_shape))
        shape = tg.ops.convolution(x, kernel, stride=stride, padding=padding).shape
        arguments = (x, kernel, rng.normal(size=shape).astype(np.float32), stride, padding)
        candidates: dict[str, Run] = {"tinygraph": ours(*arguments)}
        for name, build in (("torch", pytorch), ("mygrad", mygrad)):
            if importlib.util.find_spec(name):
                candidates[name] = build(*arguments)
        expected = candidates["tinygraph"]()
        for name, run in list(candidates.items()):
            try:
                found = run()
            except ValueError as error:  # MyGrad refuses strides that do not tile
                print(f"{label}: {name} left out: {error}")
                del candidates[name]
                continue
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3 * np.abs(other).max())
        rows[label] = measure(candidates)
    report("Convolution, forward and both gradients, one thread", rows, "tinygraph")


if __name__ == "__main__":
    main()
