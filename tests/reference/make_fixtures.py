"""Writes the fixtures from PyTorch; run `python -m tests.reference.make_fixtures` (README.md says when).

The only module here that imports PyTorch. What is asked lies in `cases` and `training_cases`.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from .cases import Case
from .loading import (
    FAMILIES,
    FOLDER,
    LARGEST_STORED_WHOLE,
    Expected,
    initial_state,
    model_definitions,
    write_arrays,
    write_results,
)
from .seeded import Array
from .training_cases import (
    OPTIMIZER_STEPS,
    SCHEDULE_STEPS,
    STEPS,
    ModuleCase,
    OptimizerCase,
    ScheduleCase,
    TrainingCase,
    module_cases,
    training_cases,
)

Results = dict[str, Array]


def main() -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    write_module_states()
    write_initial_states()
    for family, list_cases in FAMILIES.items():
        results_of, largest_whole = RESULTS.get(family, (op_results, LARGEST_STORED_WHOLE))
        entries = {}
        for case in list_cases():
            results = results_of(case)
            _refuse_nan(case, results)
            expected = {name: Expected.of(array, largest_whole) for name, array in results.items()}
            entries[case.name] = (case.digest, expected)
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
    return {name: tensor.numpy(force=True) for name, tensor in results.items()}


def _gradients(output: Any, wrt: list[Any], cotangent: Any = None) -> tuple[Any, ...]:
    if not output.requires_grad:
        return tuple(torch.zeros_like(tensor) for tensor in wrt)
    found: tuple[Any, ...] = torch.autograd.grad(
        output, wrt, cotangent, create_graph=True, allow_unused=True, materialize_grads=True
    )
    return found


def _refuse_nan(case: Any, arrays: Mapping[str, Array]) -> None:
    """A NaN of PyTorch's is a quirk, not a reference: such a point must leave the cases."""
    wrong = [name for name, array in arrays.items() if np.isnan(array).any()]
    if wrong:
        raise ValueError(f"{case}: PyTorch gives NaN in {wrong}: {case!r}")


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


# Modules


def module_results(case: ModuleCase) -> Results:
    """Output, gradients of input and parameters, buffers afterwards, and the output in evaluation mode."""
    if case.input is None:
        return {}
    module = case.build(nn).double()
    seeded = case.state({name: tuple(entry.shape) for name, entry in module.state_dict().items()})
    module.load_state_dict({name: torch.tensor(array) for name, array in seeded.items()})
    x = torch.tensor(case.input)
    differentiated = dict(module.named_parameters())
    if x.is_floating_point():
        differentiated["input"] = x.requires_grad_()
    others = [torch.tensor(other) for other in case.others]
    output = case.call(module, x, *others)
    gradients: tuple[Any, ...] = ()
    if differentiated:
        cotangent = torch.tensor(case.cotangent(tuple(output.shape)))
        gradients = torch.autograd.grad(output, list(differentiated.values()), cotangent)
    results = {"output": output}
    results |= {f"grad_{name}": gradient for name, gradient in zip(differentiated, gradients, strict=True)}
    results |= {f"after_{name}": buffer.clone() for name, buffer in module.named_buffers()}
    results["evaluated"] = case.call(module.eval(), x, *others)
    return {name: tensor.numpy(force=True) for name, tensor in results.items()}


def write_module_states() -> None:
    states = {case.name: _state_entries(case) for case in module_cases()}
    path = FOLDER / "module_states.json"
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(states, indent=1) + "\n")
    temporary.replace(path)


def _state_entries(case: ModuleCase) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    draws = [case.build(nn).state_dict() for _ in range(2000)]
    module = case.build(nn)
    parameters = dict(module.named_parameters())
    return [
        {
            "name": name,
            "shape": list(entry.shape),
            "dtype": str(entry.dtype).removeprefix("torch."),
            "parameter": name in parameters,
            "initialiser": _initialiser(np.stack([draw[name].double().numpy() for draw in draws])),
        }
        for name, entry in module.state_dict().items()
    ]


def _initialiser(draws: Array) -> dict[str, Any]:
    """The distribution of one entry, told from many draws; a padding row of zeros is left out."""
    values = draws[draws != 0.0] if (draws != 0.0).any() else draws
    largest = float(abs(values).max())
    if np.ptp(values) == 0.0:
        return {"distribution": "constant", "value": float(values.flat[0])}
    if largest > 2.5 * values.std():
        return {"distribution": "normal", "std": round(float(values.std()), 2)}
    # Bounds are sqrt(6 / n) for a whole n, 6 * fan_in or fan_in + fan_out; take the closest one above.
    numerator = next(n for n in range(1, 6000) if (6 / n) ** 0.5 < largest * (1 - 1e-7)) - 1
    return {"distribution": "uniform", "bound": (6 / numerator) ** 0.5}


# Training


def write_initial_states() -> None:
    """In float32, as PyTorch initialises: half the size, and exact in float64."""
    arrays: Results = {}
    definitions = model_definitions("from torch import nn")
    for model in dict.fromkeys(case.model for case in training_cases()):
        torch.manual_seed(0)
        state = definitions[model]().state_dict()
        arrays |= {f"{model}/{name}": entry.numpy() for name, entry in state.items()}
    write_arrays(FOLDER / "initial_states.npz", arrays)


def training_results(case: TrainingCase) -> Results:
    """Losses, the first step's gradients, the state after the last step, and a loss in evaluation mode."""
    model = model_definitions("from torch import nn")[case.model]().double()
    model.load_state_dict({name: torch.tensor(array) for name, array in initial_state(case.model).items()})
    optimizer = getattr(torch.optim, case.optimizer)(model.parameters(), **case.settings)
    losses, gradients = [], {}
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = _loss(model, case, step)
        loss.backward()
        if step == 0:
            gradients = {f"gradient/{name}": p.grad.numpy().copy() for name, p in model.named_parameters()}
        optimizer.step()
        losses.append(loss.item())
    final = {f"final/{name}": entry.numpy() for name, entry in model.state_dict().items()}
    evaluated = _loss(model.eval(), case, 0).numpy(force=True)
    return {"losses": np.array(losses), "evaluated": evaluated, **gradients, **final}


def _loss(model: Any, case: TrainingCase, step: int) -> Any:
    x, labels = (torch.tensor(array) for array in case.batch(step))
    scores = model(x)
    return nn.CrossEntropyLoss()(scores.reshape(-1, scores.shape[-1]), labels)


def optimizer_results(case: OptimizerCase) -> Results:
    """The values of "a" and "b" after each step, stacked."""
    parameters = {name: nn.Parameter(torch.tensor(array)) for name, array in case.start().items()}
    groups = [{"params": [parameters["a"]]}, {"params": [parameters["b"]], **case.group}]
    optimizer = getattr(torch.optim, case.optimizer)(groups, **case.settings)
    trace: dict[str, list[Array]] = {name: [] for name in parameters}
    for step in range(OPTIMIZER_STEPS):
        now = {name: parameter.numpy(force=True) for name, parameter in parameters.items()}
        for name, gradient in case.gradients(step, now).items():
            parameters[name].grad = None if gradient is None else torch.tensor(gradient)
        optimizer.step()
        for name, parameter in parameters.items():
            trace[name].append(parameter.numpy(force=True).copy())
    return {name: np.stack(values) for name, values in trace.items()}


def schedule_results(case: ScheduleCase) -> Results:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1, momentum=0.9)
    schedule = getattr(torch.optim.lr_scheduler, case.schedule)(optimizer, **case.settings)
    rates, momenta = [], []
    for _ in range(SCHEDULE_STEPS):
        rates.append(optimizer.param_groups[0]["lr"])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        # OneCycleLR raises when stepped past its end, which is the last of our steps in some cases.
        if len(rates) < SCHEDULE_STEPS:
            schedule.step()
    return {"lr": np.array(rates), "momentum": np.array(momenta)}


# Family -> what fills it, and up to how many elements its arrays are stored whole; ops by default.
RESULTS: dict[str, tuple[Callable[[Any], Results], int]] = {
    "module": (module_results, LARGEST_STORED_WHOLE),
    "training": (training_results, LARGEST_STORED_WHOLE),
    "optimizer": (optimizer_results, 100),
    "schedule": (schedule_results, 100),
}

if __name__ == "__main__":
    main()
