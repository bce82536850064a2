"""What the stored values leave out, against PyTorch itself: weighted losses, masks, padding, rarer layers."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.nn import functional as F

torch = pytest.importorskip("torch", reason="the extra `reference` is not installed")
pytestmark = pytest.mark.reference

RANDOM = np.random.default_rng(0)


def compare(ours: Any, theirs: Any, *arrays: np.ndarray) -> None:
    """Values and gradients of two functions of the same float64 arrays."""
    tensors = [tg.tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    others = [torch.tensor(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    found, expected = ours(*tensors), theirs(*others)
    np.testing.assert_allclose(found.detach().numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-12)
    cotangent = RANDOM.normal(size=found.shape)
    found.backward(cotangent)
    expected.backward(torch.tensor(cotangent))
    for mine, other in zip(tensors, others, strict=True):
        if mine.requires_grad and other.grad is not None:
            np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-10, atol=1e-12)


def same_weights(ours: nn.Module, theirs: Any) -> None:
    ours.double().load_state_dict(
        {name: value.numpy() for name, value in theirs.double().state_dict().items()}
    )


LAYERS: list[tuple[str, dict[str, Any], tuple[int, ...]]] = [
    ("RMSNorm", {"normalized_shape": 5}, (2, 3, 5)),
    ("RMSNorm", {"normalized_shape": (3, 5), "eps": 0.1}, (2, 3, 5)),
    ("GroupNorm", {"num_groups": 2, "num_channels": 4}, (3, 4, 5)),
    ("GroupNorm", {"num_groups": 4, "num_channels": 4, "affine": False}, (3, 4, 2, 2)),
    ("BatchNorm2d", {"num_features": 4, "bias": False}, (3, 4, 2, 2)),
    ("Unflatten", {"dim": 1, "unflattened_size": (2, 3)}, (4, 6, 2)),
    (
        "Conv1d",
        {"in_channels": 2, "out_channels": 3, "kernel_size": 2, "padding": "same", "padding_mode": "reflect"},
        (2, 5),
    ),
    ("Conv2d", {"in_channels": 2, "out_channels": 3, "kernel_size": 2}, (2, 5, 4)),
    ("MaxPool2d", {"kernel_size": 2}, (2, 5, 4)),
    ("ConvTranspose2d", {"in_channels": 2, "out_channels": 3, "kernel_size": 3, "dilation": 2}, (2, 2, 4, 3)),
    ("AdaptiveAvgPool2d", {"output_size": (None, 2)}, (1, 2, 5, 4)),
    ("AdaptiveAvgPool3d", {"output_size": 2}, (1, 2, 3, 4, 5)),
    ("Linear", {"in_features": 4, "out_features": 3}, (4,)),
]


@pytest.mark.parametrize(
    ("name", "settings", "shape"), LAYERS, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(LAYERS)]
)
def test_layers(name: str, settings: dict[str, Any], shape: tuple[int, ...]) -> None:
    theirs = getattr(torch.nn, name)(**settings)
    ours = getattr(nn, name)(**settings)
    same_weights(ours, theirs)
    compare(ours, theirs, RANDOM.normal(size=shape))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_weighted_cross_entropy(reduction: str, smoothing: float) -> None:
    weight, labels = RANDOM.uniform(0.5, 2, 3), np.array([[0, 2], [1, -100], [2, 2]])
    settings = {"reduction": reduction, "label_smoothing": smoothing}
    compare(
        lambda x: nn.CrossEntropyLoss(weight, **settings)(x, labels),
        lambda x: torch.nn.CrossEntropyLoss(torch.tensor(weight), **settings)(x, torch.tensor(labels)),
        RANDOM.normal(size=(3, 3, 2)),
    )


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_other_losses(reduction: str) -> None:
    labels, weight = np.array([0, 2, 1, -100]), RANDOM.uniform(0.5, 2, 3)
    log_shares = np.log(RANDOM.dirichlet(np.ones(3), 4))
    shares = RANDOM.dirichlet(np.ones(3), 4)
    x, y = RANDOM.normal(size=(4, 3)), RANDOM.uniform(size=(4, 3))
    for given in (None, weight):
        other = None if given is None else torch.tensor(given)
        compare(
            lambda z, w=given: nn.NLLLoss(w, reduction=reduction)(z, labels),
            lambda z, w=other: torch.nn.NLLLoss(w, reduction=reduction)(z, torch.tensor(labels)),
            log_shares,
        )
        compare(
            lambda z, p, w=given: nn.CrossEntropyLoss(w, reduction=reduction)(z, p),
            lambda z, p, w=other: torch.nn.CrossEntropyLoss(w, reduction=reduction)(z, p),
            x,
            shares,
        )
        compare(
            lambda z, p, w=given: nn.BCEWithLogitsLoss(w, reduction=reduction, pos_weight=w)(z, p),
            lambda z, p, w=other: torch.nn.BCEWithLogitsLoss(w, reduction=reduction, pos_weight=w)(z, p),
            x,
            y,
        )
    compare(nn.L1Loss(reduction=reduction), torch.nn.L1Loss(reduction=reduction), x, y)
    compare(nn.MSELoss(reduction=reduction), torch.nn.MSELoss(reduction=reduction), x, y)


def masks() -> list[dict[str, np.ndarray]]:
    causal = ~np.tri(4, 5, k=1, dtype=bool)
    padding = np.array([[False] * 5, [False, False, False, True, True], [False] * 4 + [True]])
    return [
        {},
        {"attn_mask": causal},
        {"attn_mask": RANDOM.normal(size=(4, 5))},
        {"attn_mask": RANDOM.normal(size=(6, 4, 5))},
        {"key_padding_mask": padding},
        {"attn_mask": causal, "key_padding_mask": padding},
    ]


@pytest.mark.parametrize("given", masks(), ids=lambda given: "+".join(given) or "no mask")
@pytest.mark.parametrize("widths", [{}, {"kdim": 3, "vdim": 5}, {"bias": False}], ids=str)
def test_attention_with_masks(given: dict[str, np.ndarray], widths: dict[str, Any]) -> None:
    theirs = torch.nn.MultiheadAttention(8, 2, batch_first=True, **widths)
    ours = nn.MultiheadAttention(8, 2, batch_first=True, **widths)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    same_weights(ours, theirs)
    others = {name: torch.tensor(mask) for name, mask in given.items()}
    inputs = [
        RANDOM.normal(size=(3, 4, 8)),
        RANDOM.normal(size=(3, 5, widths.get("kdim", 8))),
        RANDOM.normal(size=(3, 5, widths.get("vdim", 8))),
    ]
    for part in (0, 1):
        compare(lambda *x, p=part: ours(*x, **given)[p], lambda *x, p=part: theirs(*x, **others)[p], *inputs)
    every = {"average_attn_weights": False}
    compare(lambda *x: ours(*x, **given, **every)[1], lambda *x: theirs(*x, **others, **every)[1], *inputs)


def test_attention_of_a_single_sample() -> None:
    theirs, ours = torch.nn.MultiheadAttention(8, 4), nn.MultiheadAttention(8, 4)
    same_weights(ours, theirs)
    for part in (0, 1):
        compare(
            lambda x, p=part: ours(x, x, x)[p],
            lambda x, p=part: theirs(x, x, x)[p],
            RANDOM.normal(size=(5, 8)),
        )


def test_transformer_encoder() -> None:
    theirs = torch.nn.TransformerEncoder(
        torch.nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2, torch.nn.LayerNorm(8), False
    )
    ours = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, 0.0), 2, nn.LayerNorm(8))
    same_weights(ours, theirs)
    hidden = np.triu(np.ones((5, 5), bool), 1)
    compare(
        lambda x: ours(x, hidden), lambda x: theirs(x, torch.tensor(hidden)), RANDOM.normal(size=(5, 3, 8))
    )


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad(mode: str) -> None:
    widths = [1, 2, 2, 0]
    other = torch.nn.functional.pad
    compare(
        lambda x: F.pad(x, widths, mode), lambda x: other(x, widths, mode), RANDOM.normal(size=(1, 2, 4, 5))
    )


def test_scaled_dot_product_attention() -> None:
    q, k, v = (RANDOM.normal(size=(2, 3, 4, 5)) for _ in range(3))
    other = torch.nn.functional.scaled_dot_product_attention
    compare(
        lambda *x: F.scaled_dot_product_attention(*x, is_causal=True),
        lambda *x: other(*x, is_causal=True),
        q,
        k,
        v,
    )
    mask = np.tri(4, dtype=bool)
    compare(
        lambda *x: F.scaled_dot_product_attention(*x, attn_mask=mask, scale=0.3),
        lambda *x: other(*x, attn_mask=torch.tensor(mask), scale=0.3),
        q,
        k,
        v,
    )


def test_transposed_convolution_with_an_output_size() -> None:
    theirs = torch.nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    ours = nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1)
    same_weights(ours, theirs)
    compare(lambda x: ours(x, (8, 7)), lambda x: theirs(x, (8, 7)), RANDOM.normal(size=(1, 2, 4, 4)))


def test_reduce_on_plateau() -> None:
    metrics = [1.0, 0.9, 0.91, 0.9, 0.95, 0.8, 0.81, 0.82, 0.83, 0.84, 0.85, 0.2, 0.3, 0.3, 0.3, 0.3]
    rates = []
    for framework, schedules, values in (
        (optim, optim.lr_scheduler, tg.tensor([1.0], requires_grad=True)),
        (torch.optim, torch.optim.lr_scheduler, torch.ones(1, requires_grad=True)),
    ):
        for mode in ("min", "max"):
            optimizer = framework.SGD([values], lr=0.5)
            schedule = schedules.ReduceLROnPlateau(optimizer, mode, patience=1, cooldown=1, min_lr=1e-3)
            for metric in metrics:
                schedule.step(metric)
                rates.append(optimizer.param_groups[0]["lr"])
    half = len(rates) // 2
    np.testing.assert_allclose(rates[:half], rates[half:])


def test_optimizer_state_of_pytorch_is_taken_up() -> None:
    """Ten steps there, ten here, equal twenty there."""
    start, gradients = RANDOM.normal(size=3), RANDOM.normal(size=(20, 3))
    for name, settings in (
        ("SGD", {"momentum": 0.9}),
        ("AdamW", {"amsgrad": True}),
        ("RMSprop", {"momentum": 0.5}),
    ):
        theirs = torch.tensor(start, requires_grad=True)
        other = getattr(torch.optim, name)([theirs], lr=0.1, **settings)
        for step in range(20):
            if step == 10:
                ours = tg.tensor(theirs.detach().numpy(), requires_grad=True)
                optimizer = getattr(optim, name)([ours], lr=0.5)
                optimizer.load_state_dict(other.state_dict())
            theirs.grad = torch.tensor(gradients[step])
            other.step()
            if step >= 10:
                ours.grad = tg.tensor(gradients[step])
                optimizer.step()
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol=1e-12)


SHARED = [
    name
    for name in dir(nn)
    if name[0].isupper() and inspect.isclass(getattr(nn, name)) and hasattr(torch.nn, name)
]


@pytest.mark.parametrize("name", SHARED)
def test_constructors_take_pytorchs_arguments_in_its_order(name: str) -> None:
    if name in ("Module", "Parameter", "Sigmoid", "Tanh"):
        pytest.skip("no arguments of its own")
    ours = list(inspect.signature(getattr(nn, name).__init__).parameters)
    theirs = list(inspect.signature(getattr(torch.nn, name).__init__).parameters)
    if theirs == ["self", "args", "kwargs"]:  # GRU and LSTM hand them on
        theirs = list(inspect.signature(torch.nn.RNNBase.__init__).parameters)
        theirs.remove("mode")
        theirs.remove("proj_size")
        ours = [one for one in inspect.signature(nn.GRU.__init__).parameters if one != "proj_size"]
    assert ours[: len(theirs)] == theirs


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop"])
def test_optimizers_take_pytorchs_arguments_in_its_order(name: str) -> None:
    def positional(cls: Any) -> list[tuple[str, Any]]:
        found = inspect.signature(cls.__init__).parameters.values()
        return [(p.name, p.default) for p in found if p.kind is p.POSITIONAL_OR_KEYWORD and p.name != "self"]

    ours, theirs = positional(getattr(optim, name)), positional(getattr(torch.optim, name))
    assert ours == theirs[: len(ours)]
