"""Generated kernels for max pooling and its way back: how they lower to the kernel language's windows.

What that does not support (padding, a last window that sticks out, three dimensions) keeps its NumPy forward.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygraph.plugin import Layouts, Lowering, Types, kernel_language
from tinygraph_ops.pooling import max_pool, max_pool_index, scatter_windows
from tinygraph_ops.window_geometry import pool_geometry


def _lowered(name: str) -> Callable[..., Lowering | None]:
    """Windows are read where the images lie; results lie as the images do."""

    def lowered(types: Types, layouts: Layouts, target: Any, **settings: Any) -> Lowering | None:
        language, x, out = kernel_language(), types.inputs[0], types.outputs[0]
        if language is None or x is None:
            return None
        geometry = pool_geometry(x.shape, **settings)
        if any(before for before, _ in geometry.padding):
            return None
        windows = language.pooling.windows(
            x.shape,
            out.shape,
            x.dtype,
            size=geometry.size,
            stride=geometry.stride,
            dilation=geometry.dilation,
        )
        if windows is None:
            return None

        def bind(inputs: Any, outputs: Any, scratch: Any) -> Any:
            return getattr(language.pooling, name)(windows, inputs[0], outputs[0])

        return Lowering(bind, Layouts((None,), (_like(layouts.inputs[0]),)), name=name.replace("_", " "))

    return lowered


def _like(layout: Any) -> Any:
    return layout and layout.without_halo()


max_pool.lower(_lowered("max_pool"))
max_pool_index.lower(_lowered("max_pool_index"))


@scatter_windows.lower
def scatter_windows_kernel(
    types: Types, layouts: Layouts, target: Any, *, spatial_shape: Any
) -> Lowering | None:
    language = kernel_language()
    (values, index), out = types.inputs, types.outputs[0]
    if language is None or values is None or index is None or out.dtype.name not in ("float32", "float64"):
        return None
    if index.dtype.name != "int64" or index.shape != values.shape or out.dtype != values.dtype:
        return None
    if not out.size or len(out.shape) not in (3, 4):
        return None

    def bind(inputs: Any, outputs: Any, scratch: Any) -> Any:
        return language.pooling.scatter_windows(*inputs, outputs[0])

    return Lowering(bind, Layouts((None, None), (_like(layouts.inputs[1]),)), name="scatter windows")
