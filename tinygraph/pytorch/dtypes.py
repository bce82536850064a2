"""PyTorch's dtypes and arrays as NumPy's."""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygraph.errors import DTypeError

NAMES = {
    "float16", "float32", "float64", "complex64", "complex128", "uint8", "uint16", "uint32", "uint64", "int8", "int16",
    "int32", "int64", "bool",
}  # fmt: skip
_UNSET = object()


def dtype_of(dtype: Any, otherwise: Any = _UNSET) -> Any:
    """NumPy's dtype for one of PyTorch's; `otherwise` for what is no dtype.

    Raises:
        DTypeError: NumPy has no such dtype (bfloat16, float8).
    """
    module, _, name = str(dtype).rpartition(".")
    if module != "torch" or type(dtype).__name__ != "dtype":
        if otherwise is _UNSET:
            raise DTypeError(f"{dtype!r} is no dtype of PyTorch's")
        return otherwise
    if name not in NAMES:
        raise DTypeError(f"NumPy has no {name}; call module.float() first")
    return np.dtype(name)


def array_of(tensor: Any) -> np.ndarray[Any, Any]:
    """A copy of a tensor of PyTorch's.

    Raises:
        DTypeError: as `dtype_of`.
    """
    dtype = dtype_of(tensor.dtype)
    return np.array(tensor.detach().cpu().resolve_conj().resolve_neg().numpy(), dtype)
