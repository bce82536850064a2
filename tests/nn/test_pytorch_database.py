"""PyTorch's own databases of modules, optimizers and schedules: every sample of a class that has a namesake agrees.

Forward, gradients by parameters and inputs, and for the first sample of each class the second order.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from types import FunctionType
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim

torch = pytest.importorskip("torch", reason="the extra `reference` is not installed")
common_modules = pytest.importorskip(
    "torch.testing._internal.common_modules", reason="a PyTorch without its tests"
)
common_optimizers = pytest.importorskip("torch.testing._internal.common_optimizers")
pytestmark = [pytest.mark.reference, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

INFOS = {info.module_cls.__name__: info for info in common_modules.module_db}
NAMES = [name for name in INFOS if hasattr(nn, name)]
DRAWS = {  # random numbers of other generators
    "Dropout", "AlphaDropout", "FeatureAlphaDropout", "Dropout1d", "Dropout2d", "Dropout3d", "RReLU",
}  # fmt: skip
# where the two differ for a reason: (class, what is compared)
LEFT = {
    "PoissonNLLLoss": "the gradient by a target of 0 is finite here, NaN there",
    "CTCLoss": "the gradient by log-probabilities is the true one here; they agree behind log_softmax",
}


def ours(value: Any, wanted: list[tuple[Any, Any]]) -> Any:
    """An argument for our module; differentiable tensors are noted in pairs."""
    for given, made in wanted:
        if given is value:  # one tensor in two places
            return made
    if isinstance(value, torch.nn.Parameter) or (torch.is_tensor(value) and value.is_floating_point()):
        made = tg.tensor(value.detach().numpy(), requires_grad=bool(value.requires_grad))
        if value.requires_grad:
            wanted.append((value, made))
        return made
    if torch.is_tensor(value):
        return value.detach().numpy()
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, torch.nn.Module):
        raise pytest.skip.Exception("a module as an argument")
    if callable(value) and hasattr(nn.functional, getattr(value, "__name__", "")):
        return getattr(nn.functional, value.__name__)
    if isinstance(value, tuple | list):
        return type(value)(ours(one, wanted) for one in value)
    if isinstance(value, dict):
        return {key: ours(one, wanted) for key, one in value.items() if key != "device"}
    return value


def leaves(result: Any) -> list[Any]:
    if isinstance(result, tuple | list):
        return [leaf for one in result for leaf in leaves(one)]
    return [] if result is None else [result]


def samples(name: str, training: bool) -> Iterator[tuple[Any, Any]]:
    info = INFOS[name]
    torch.manual_seed(0)
    yield from info.module_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
    )


def check_sample(name: str, sample: Any, training: bool, second: bool) -> None:
    constructor, forward = sample.constructor_input, sample.forward_input
    theirs = INFOS[name].module_cls(*constructor.args, **constructor.kwargs)
    mine = getattr(nn, name)(*ours(constructor.args, []), **ours(constructor.kwargs, []))
    if name.startswith("Lazy"):  # these have parameters from the first call on
        mine.double()(*ours(forward.args, []))
        theirs.double()(*forward.args)
    theirs, mine = theirs.double().train(training), mine.double().train(training)
    mine.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    pairs: list[tuple[Any, Any]] = []
    args, kwargs = ours(forward.args, pairs), ours(forward.kwargs, pairs)
    found, expected = leaves(mine(*args, **kwargs)), leaves(theirs(*forward.args, **forward.kwargs))
    expected = [one for one in expected if torch.is_tensor(one)]
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        value = one.detach().numpy() if isinstance(one, tg.Tensor) else np.asarray(one)
        np.testing.assert_allclose(value, other.detach().numpy(), rtol=1e-9, atol=1e-11)
    parameters = dict(mine.named_parameters())
    pairs += [(p, parameters[key]) for key, p in theirs.named_parameters() if p.requires_grad]
    outs = [(one, other) for one, other in zip(found, expected, strict=True) if other.requires_grad]
    if not outs or not pairs or name in LEFT:
        return
    rng = np.random.default_rng(0)
    cotangents = [rng.normal(size=tuple(other.shape)) for _, other in outs]
    total = sum((one * c).sum() for (one, _), c in zip(outs, cotangents, strict=True))
    wanted_total = sum(
        (other * torch.tensor(c)).sum() for (_, other), c in zip(outs, cotangents, strict=True)
    )
    wanted = torch.autograd.grad(wanted_total, [p for p, _ in pairs], create_graph=second, allow_unused=True)
    total.backward(create_graph=second)
    for (_, p), gradient in zip(pairs, wanted, strict=True):
        compare(p.grad, gradient)
    if second:
        check_second(pairs, wanted)


def compare(found: Any, wanted: Any) -> None:
    value = 0.0 if found is None else found.detach().numpy()
    other = 0.0 if wanted is None else wanted.detach().numpy(force=True)
    np.testing.assert_allclose(value, other, rtol=1e-8, atol=1e-10)


def check_second(pairs: list[tuple[Any, Any]], first: Any) -> None:
    """Gradients of the sum of squares of the gradients."""
    some = [
        (p, mine, g) for (p, mine), g in zip(pairs, first, strict=True) if g is not None and g.requires_grad
    ]
    if not some:
        return
    theirs = sum((g * g).sum() for _, _, g in some)
    try:
        wanted = torch.autograd.grad(theirs, [p for p, _, _ in some], allow_unused=True)
    except RuntimeError as error:
        if "is not implemented" in str(error) or "does not require grad" in str(error):
            return  # PyTorch has no second order here
        raise
    total = sum((mine.grad * mine.grad).sum() for _, mine, _ in some if mine.grad is not None)
    for _, mine, _ in some:
        mine.grad = None
    if isinstance(total, tg.Tensor) and total.requires_grad:  # else the gradients are constant
        total.backward()
    for (_, mine, _), other in zip(some, wanted, strict=True):
        compare(mine.grad, other)


@pytest.mark.parametrize("name", NAMES)
def test_module(name: str) -> None:
    if name in DRAWS:
        pytest.skip("random numbers of another generator")
    torch.backends.cuda.enable_flash_sdp(False)  # the fast kernel has no second order
    count = 0
    for training in (True, False):
        for i, sample in enumerate(samples(name, training)):
            try:
                check_sample(name, sample, training, second=count == 0)
            except Exception as error:
                error.add_note(
                    f"{name}, training={training}, sample {i}: {sample.desc or sample.constructor_input}"
                )
                raise
            count += 1
    assert count


def test_at_least_95_classes_have_a_namesake() -> None:
    missing = sorted(set(INFOS) - set(NAMES))
    assert len(NAMES) >= 95, missing
    assert missing == []


OPTIMIZERS = {info.optim_cls.__name__: info for info in common_optimizers.optim_db}


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if hasattr(optim, name)])
def test_optimizer(name: str) -> None:
    info = OPTIMIZERS[name]
    rng = np.random.default_rng(0)
    shapes = [(3, 4), (4, 4)] if name == "Muon" else [(3, 4), (5,)]
    starts = [rng.normal(size=shape) for shape in shapes]
    gradients = [[rng.normal(size=shape) for shape in shapes] for _ in range(4)]
    checked = 0
    for sample in info.optim_inputs_func(device="cpu"):
        settings = {key: value for key, value in sample.kwargs.items() if not torch.is_tensor(value)}
        if len(settings) < len(sample.kwargs) or settings.get("capturable") or settings.get("differentiable"):
            continue  # a rate that is a tensor, and ways of running, are PyTorch's own
        theirs = [torch.nn.Parameter(torch.tensor(one)) for one in starts]
        mine = [nn.Parameter(one) for one in starts]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            other = info.optim_cls(theirs, **settings)
        optimizer = getattr(optim, name)(mine, **settings)
        for step in gradients:
            for p, q, gradient in zip(mine, theirs, step, strict=True):
                p.grad, q.grad = tg.tensor(gradient), torch.tensor(gradient)
            if name == "LBFGS":
                optimizer.step(lambda mine=mine: sum((p * p).sum() for p in mine))
                other.step(lambda theirs=theirs: sum((p * p).sum() for p in theirs))
            else:
                optimizer.step()
                other.step()
        tolerance = 2e-2 if name == "Muon" else 1e-8  # PyTorch's iteration runs in bfloat16
        for p, q in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(
                p.detach().numpy(), q.detach().numpy(), rtol=tolerance, atol=tolerance, err_msg=str(sample)
            )
        checked += 1
    assert checked


SCHEDULES = [
    (name, i)
    for name, info in OPTIMIZERS.items()
    if hasattr(optim, name)
    for i in range(len(info.scheduler_inputs))
]


@pytest.mark.parametrize(("name", "number"), SCHEDULES)
def test_schedules(name: str, number: int) -> None:
    """The schedules that PyTorch's database pairs with an optimizer, together, over 24 steps: the same rates."""
    makers = OPTIMIZERS[name].scheduler_inputs[number]
    assert makers
    start = np.ones((3, 4))
    theirs = OPTIMIZERS[name].optim_cls([torch.nn.Parameter(torch.tensor(start))], lr=0.5)
    mine = getattr(optim, name)([nn.Parameter(start)], lr=0.5)
    # the same line of code, with the classes of the other library under its names
    ours_made = [
        FunctionType(make.__code__, vars(optim.lr_scheduler), None, make.__defaults__)(mine)
        for make in makers
    ]
    made = [make(theirs) for make in makers]
    assert [type(one).__name__ for one in ours_made] == [type(one).__name__ for one in made]
    rates = set()
    for step in range(24):
        loss = max(10 - step, 4)  # a plateau from the seventh step on
        theirs.step(lambda: torch.tensor(0.0))
        for one, other in zip(ours_made, made, strict=True):
            plateau = type(other).__name__ == "ReduceLROnPlateau"
            one.step(loss) if plateau else one.step()
            other.step(loss) if plateau else other.step()
        (found,), (wanted,) = ([group["lr"] for group in of.param_groups] for of in (mine, theirs))
        assert float(found) == pytest.approx(float(wanted), rel=1e-12)
        rates.add(float(wanted))
    assert len(rates) > 1
