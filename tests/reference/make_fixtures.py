"""Writes the fixtures from PyTorch; run `python -m reference.make_fixtures` in `tests` (README.md says when).

The only module here that imports PyTorch. What is asked lies in `cases` and `training_cases`.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .cases import Case, families
from .loading import FOLDER, write_results
from .seeded import Array

Results = dict[str, Array]


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for family, list_cases in families().items():
        entries = {case.name: (case.digest, op_results(case)) for case in list_cases()}
        write_results(FOLDER / f"{family}.npz", entries)
        print(f"{family}: {len(entries)} cases, {(FOLDER / f'{family}.npz').stat().st_size:,} bytes")


# Ops


def op_results(case: Case) -> Results:
    """Value, first and second gradients, as `loading.first_and_second` defines them."""
    inputs = {name: torch.tensor(array) for name, array in case.inputs.items()}
    wrt = [inputs[name].requires_grad_() for name in case.wrt]
    output = OPS[case.op](*inputs.values(), **case.settings)
    output, extra = output if isinstance(output, tuple) else (output, {})
    cotangent = torch.tensor(case.cotangent(output.shape), requires_grad=True)
    first = _gradients(output, wrt, cotangent)
    directions = [torch.tensor(case.direction(name)) for name in case.wrt]
    slope = sum((gradient * v).sum() for gradient, v in zip(first, directions, strict=True))
    second = _gradients(slope, [*wrt, cotangent])
    names = (*case.wrt, "cotangent")
    results = {"output": output, **extra}
    results |= {f"grad_{name}": gradient for name, gradient in zip(case.wrt, first, strict=True)}
    results |= {f"second_{name}": gradient for name, gradient in zip(names, second, strict=True)}
    arrays = {name: tensor.numpy(force=True) for name, tensor in results.items()}
    _refuse_nan(case, arrays)
    return arrays


def _gradients(output: Any, wrt: list[Any], cotangent: Any = None) -> tuple[Any, ...]:
    if not output.requires_grad:
        return tuple(torch.zeros_like(tensor) for tensor in wrt)
    found: tuple[Any, ...] = torch.autograd.grad(
        output, wrt, cotangent, create_graph=True, allow_unused=True, materialize_grads=True
    )
    return found


def _refuse_nan(case: Case, arrays: Mapping[str, Array]) -> None:
    """A NaN of PyTorch's is a quirk, not a reference: such a point must leave the cases."""
    wrong = [name for name, array in arrays.items() if np.isnan(array).any()]
    if wrong:
        raise ValueError(f"{case}: PyTorch gives NaN in {wrong} for {case.settings}")


def _convolution(x: Any, kernel: Any, bias: Any = None, *, padding: Any, **settings: Any) -> Any:
    if isinstance(padding, tuple) and isinstance(padding[0], tuple):
        x = F.pad(x, [amount for pair in reversed(padding) for amount in pair])
        padding = 0
    return (F.conv1d, F.conv2d, F.conv3d)[x.ndim - 3](x, kernel, bias, padding=padding, **settings)


def _convolution_transpose(x: Any, kernel: Any, bias: Any = None, **settings: Any) -> Any:
    functions = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
    return functions[x.ndim - 3](x, kernel, bias, **settings)


def _max_pool(x: Any, *, size: Any, **settings: Any) -> Any:
    return (F.max_pool1d, F.max_pool2d, F.max_pool3d)[x.ndim - 3](x, size, **settings)


def _average_pool(x: Any, *, size: Any, **settings: Any) -> Any:
    return (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[x.ndim - 3](x, size, **settings)


def _adaptive_average_pool(x: Any, *, size: Any) -> Any:
    return (F.adaptive_avg_pool1d, F.adaptive_avg_pool2d, F.adaptive_avg_pool3d)[x.ndim - 3](x, size)


def _extremum(reduce: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, *, axis: reduce(x, dim=() if axis is None else axis)


def _prod(x: Any, *, axis: int | None) -> Any:
    return torch.prod(x) if axis is None else torch.prod(x, dim=axis)


def _layer_norm(x: Any, weight: Any = None, bias: Any = None, *, normalized_shape: Any, eps: float) -> Any:
    return F.layer_norm(x, normalized_shape, weight, bias, eps)


def _batch_norm(x: Any, *rest: Any, **settings: Any) -> Any:
    *affine, mean, variance = rest
    mean, variance = mean.clone(), variance.clone()
    weight, bias = affine or (None, None)
    output = F.batch_norm(x, mean, variance, weight, bias, **settings)
    return output, {"running_mean": mean, "running_var": variance}


def _renamed(function: Callable[..., Any], **names: str) -> Callable[..., Any]:
    """`function` with our settings' names replaced by PyTorch's."""
    return lambda *inputs, **settings: function(*inputs, **{names.get(k, k): v for k, v in settings.items()})


# Ops that PyTorch gives the same name and the same settings.
FUNCTIONAL = "relu leaky_relu elu gelu silu softplus cross_entropy binary_cross_entropy_with_logits"
TORCH = """
    sigmoid tanh erf sin cos tan sinh cosh exp exp2 expm1 log log2 log10 log1p sqrt rsqrt abs negative square
    arcsin arccos arctan arcsinh arccosh arctanh reciprocal clip arctan2 hypot logaddexp
    add subtract multiply divide maximum minimum matmul
"""
OPS: dict[str, Callable[..., Any]] = {
    "convolution": _convolution,
    "convolution_transpose": _convolution_transpose,
    "max_pool": _max_pool,
    "average_pool": _average_pool,
    "adaptive_average_pool": _adaptive_average_pool,
    **{name: getattr(F, name) for name in FUNCTIONAL.split()},
    **{name: getattr(torch, name) for name in TORCH.split()},
    "power": torch.pow,
    "log_sigmoid": F.logsigmoid,
    "softmax": _renamed(torch.softmax, axis="dim"),
    "log_softmax": _renamed(torch.log_softmax, axis="dim"),
    "logsumexp": _renamed(torch.logsumexp, axis="dim", keepdims="keepdim"),
    "sum": _renamed(torch.sum, axis="dim"),
    "mean": _renamed(torch.mean, axis="dim", keepdims="keepdim"),
    "var": lambda x, *, axis, ddof=0: torch.var(x, dim=axis, correction=ddof),
    "std": lambda x, *, axis, ddof=0: torch.std(x, dim=axis, correction=ddof),
    "max": _extremum(torch.amax),
    "min": _extremum(torch.amin),
    "prod": _prod,
    "cumsum": _renamed(torch.cumsum, axis="dim"),
    "einsum": lambda x, y, *, subscripts: torch.einsum(subscripts, x, y),
    "mse": F.mse_loss,
    "layer_norm": _layer_norm,
    "batch_norm": _batch_norm,
    "embedding": lambda weight, indices: F.embedding(indices, weight),
}

if __name__ == "__main__":
    main()
