"""Generated kernels for max pooling and its way back: how they lower to the kernel language's windows.

What that does not support (padding, a last window that sticks out, three dimensions) keeps its NumPy forward.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tinygraph.plugin import kernel_language
from tinygraph_ops.pooling import max_pool, max_pool_index, scatter_windows
from tinygraph_ops.window_geometry import pool_geometry

Run = Callable[[], Any] | None


def _lowered(name: str, x: Any, out: Any, settings: dict[str, Any]) -> Run:
    language = kernel_language()
    if language is None:
        return None
    geometry = pool_geometry(x.shape, **settings)
    if any(before for before, _ in geometry.padding):
        return None
    windows = language.pooling.windows(
        x, out, size=geometry.size, stride=geometry.stride, dilation=geometry.dilation
    )
    if windows is None:
        return None
    run: Run = getattr(language.pooling, name)(windows, x, out)
    return run


@max_pool.lower
def max_pool_kernel(inputs: Sequence[Any], outputs: Sequence[Any], **settings: Any) -> Run:
    return _lowered("max_pool", inputs[0], outputs[0], settings)


@max_pool_index.lower
def max_pool_index_kernel(inputs: Sequence[Any], outputs: Sequence[Any], **settings: Any) -> Run:
    if outputs[0].dtype != np.int64:
        return None
    return _lowered("max_pool_index", inputs[0], outputs[0], settings)


@scatter_windows.lower
def scatter_windows_kernel(inputs: Sequence[Any], outputs: Sequence[Any], *, spatial_shape: Any) -> Run:
    language = kernel_language()
    (values, index), out = inputs, outputs[0]
    if language is None or values.dtype.name not in ("float32", "float64") or not out.size:
        return None
    if index.dtype != np.int64 or index.shape != values.shape or out.dtype != values.dtype:
        return None
    if not all(array.flags.c_contiguous for array in (values, index, out)):
        return None
    run: Run = language.pooling.scatter_windows(values, index, out)
    return run
