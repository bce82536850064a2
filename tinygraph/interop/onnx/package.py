"""The package `onnx`, which is optional: imported when a model is read or written, and named when it is missing."""

from __future__ import annotations

from typing import Any, TypeAlias

Proto: TypeAlias = (
    Any  # a message of ONNX's files, or the package's modules: it is optional, and has no types here
)


def onnx_package() -> Any:
    """The package `onnx`.

    Raises:
        ImportError: it is not installed, saying how to have it.
    """
    try:
        import onnx
        import onnx.checker
        import onnx.numpy_helper
    except ImportError as error:
        raise ImportError(
            "ONNX models are read and written with the package onnx, which is not installed: "
            "pip install 'tinygraph-autodiff[onnx]'"
        ) from error
    return onnx
