"""Layers beyond those with stored values: literal numbers, and PyTorch live where it is installed."""

from __future__ import annotations

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import SettingError, ShapeError
from tinygraph.nn import functional

SEQUENCES = {"targets": [[1, 2, 2], [3, 0, 0]], "inputs": [6, 4], "lengths": [3, 1]}


def test_hardsigmoid():
    x = tg.tensor([-4.0, -3.0, 0.0, 1.5, 4.0], requires_grad=True)
    out = nn.Hardsigmoid()(x)
    out.sum().backward()
    np.testing.assert_allclose(out.numpy(), [0, 0, 0.5, 0.75, 1])
    np.testing.assert_allclose(x.grad.numpy(), [0, 0, 1 / 6, 1 / 6, 0])


def test_ctc_of_two_steps_is_what_counting_alignments_gives():
    # "a" from two steps: a a, blank a, a blank
    steps = np.log(np.array([[0.3, 0.7], [0.6, 0.4]]))[:, None]
    loss = functional.ctc_loss(steps, [[1]], [2], [1], reduction="none")
    np.testing.assert_allclose(np.exp(-loss), [0.7 * 0.4 + 0.3 * 0.4 + 0.7 * 0.6])


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_ctc_follows_pytorch_through_log_softmax(reduction):
    torch = pytest.importorskip("torch")
    logits = np.random.default_rng(3).normal(size=(6, 2, 4))
    theirs, ours = torch.tensor(logits, requires_grad=True), tg.tensor(logits, requires_grad=True)
    targets, inputs, lengths = (torch.tensor(SEQUENCES[name]) for name in SEQUENCES)
    wanted = torch.nn.CTCLoss(reduction=reduction)(theirs.log_softmax(2), targets, inputs, lengths)
    loss = nn.CTCLoss(reduction=reduction)(functional.log_softmax(ours, 2), *SEQUENCES.values())
    np.testing.assert_allclose(loss.detach().numpy(), wanted.detach().numpy(), rtol=1e-10)
    wanted.sum().backward()
    loss.sum().backward()
    np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), atol=1e-12)


def test_ctc_of_a_target_that_does_not_fit():
    steps = np.log(np.full((2, 1, 3), 1 / 3))
    assert np.isinf(functional.ctc_loss(steps, [[1, 1]], [2], [2], reduction="none")).all()
    assert functional.ctc_loss(steps, [[1, 1]], [2], [2], reduction="none", zero_infinity=True) == [0.0]


def test_max_pool_and_back():
    image = np.arange(16.0).reshape(1, 1, 4, 4)
    maxima, where = nn.MaxPool2d(2, return_indices=True)(image)
    np.testing.assert_array_equal(where.numpy(), [[[[5, 7], [13, 15]]]])
    back = nn.MaxUnpool2d(2)(maxima, where).numpy()
    np.testing.assert_array_equal(back[0, 0], [[0, 0, 0, 0], [0, 5, 0, 7], [0, 0, 0, 0], [0, 13, 0, 15]])
    with pytest.raises(ShapeError, match="do not belong"):
        functional.max_unpool2d(maxima, where[..., :1], 2)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_grid_sample_follows_pytorch(mode):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(5)
    image, grid = rng.normal(size=(2, 3, 4, 5)), rng.uniform(-1.4, 1.4, size=(2, 3, 2, 2))
    for outside in ("zeros", "border", "reflection"):
        for corners in (False, True):
            theirs = [torch.tensor(one, requires_grad=True) for one in (image, grid)]
            ours = [tg.tensor(one, requires_grad=True) for one in (image, grid)]
            settings = {"mode": mode, "padding_mode": outside, "align_corners": corners}
            wanted = torch.nn.functional.grid_sample(*theirs, **settings)
            found = functional.grid_sample(*ours, **settings)
            np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), atol=1e-12)
            (wanted**2).sum().backward()
            (found**2).sum().backward()
            for a, b in zip(ours, theirs, strict=True):
                np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), atol=1e-9, err_msg=str(settings))


def test_a_grid_that_changes_nothing():
    image = np.arange(12.0).reshape(1, 1, 3, 4)
    theta = np.array([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
    for corners in (False, True):
        grid = functional.affine_grid(theta, (1, 1, 3, 4), align_corners=corners)
        np.testing.assert_allclose(
            functional.grid_sample(image, grid, align_corners=corners), image, atol=1e-12
        )


def test_lazy_layers_are_made_in_the_dtype_they_were_converted_to():
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(3)).double()
    model.eval()
    assert model(np.ones((2, 4, 5, 5))).dtype == np.float64
    assert {p.dtype for p in model.parameters()} == {np.dtype("float64")}


def test_lazy_layers_become_what_they_stand_for():
    model = nn.Sequential(nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(SettingError, match="before its first call"):
        list(model.parameters())
    assert model(np.ones((2, 3, 8, 8), np.float32)).shape == (2, 3)
    assert [type(layer) for layer in model] == [nn.Conv2d, nn.BatchNorm2d, nn.Flatten, nn.Linear]
    assert [name for name, _ in model.named_parameters()][:2] == ["0.weight", "0.bias"]
    assert model[3].weight.shape == (3, 288)
    assert model[0].weight.name == "0.weight"


def test_dropout_of_channels_and_for_selu():
    tg.manual_seed(0)
    ones = np.ones((50, 40, 3, 3))
    out = nn.Dropout2d(0.3)(ones).numpy()
    per_channel = out.reshape(50, 40, 9)
    assert (per_channel == per_channel[..., :1]).all()
    assert set(np.unique(out)) == {0.0, np.float64(1 / 0.7)}
    values = np.random.default_rng(0).normal(size=200_000)
    kept = nn.AlphaDropout(0.4)(values).numpy()
    assert abs(kept.mean()) < 0.02
    assert abs(kept.std() - 1) < 0.02


def test_parameters_in_a_dict():
    held = nn.ParameterDict({"scale": np.ones(2)})
    held["shift"] = np.zeros(3)
    assert held.keys() == ["scale", "shift"]
    assert "shift" in held
    del held["scale"]
    assert list(held) == ["shift"]
    assert list(held.state_dict()) == ["shift"]


def test_bad_settings_are_named():
    image = np.ones((1, 2, 4, 4))
    for call, error, words in (
        (lambda: functional.interpolate(image), SettingError, "size or scale_factor"),
        (lambda: functional.interpolate(image, 3, mode="cubic"), SettingError, "bicubic"),
        (lambda: functional.interpolate(image, 3, mode="linear"), SettingError, "1 spatial"),
        (lambda: functional.pixel_shuffle(image, 3), ShapeError, "divisible"),
        (lambda: functional.glu(np.ones((2, 3))), ShapeError, "even"),
        (lambda: functional.prelu(image, np.ones(3)), ShapeError, "weight"),
        (lambda: functional.huber_loss(image, image, delta=0.0), SettingError, "delta"),
        (lambda: functional.embedding_bag(np.array([1, 2]), np.ones((3, 2))), ShapeError, "offsets"),
        (lambda: nn.ReflectionPad2d((1, 2, 3)), SettingError, "4 widths"),
        (lambda: functional.fold(np.ones((1, 4, 5)), 3, 2), ShapeError, "4 windows"),
    ):
        with pytest.raises(error, match=words):
            call()


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_captured_and_compiled_are_what_they_are_eagerly(kind):
    tg.manual_seed(1)
    layer = getattr(nn, kind)(3, 4, 2, bidirectional=True).double()
    x = np.random.default_rng(2).normal(size=(5, 2, 3))

    def loss(x):
        return (layer(x)[0] ** 2).sum()

    wanted = loss(x)
    wanted.backward()
    gradients = {name: parameter.grad.numpy().copy() for name, parameter in layer.named_parameters()}
    np.testing.assert_allclose(tg.compile(loss)(x).detach().numpy(), wanted.detach().numpy(), rtol=1e-12)

    @tg.compile
    def step(x):
        layer.zero_grad()
        loss(x).backward()

    step(x)
    for name, parameter in layer.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), gradients[name], atol=1e-12, err_msg=name)
    graph = tg.capture(layer, x)
    assert sum(node.op is not None and node.op.name == "scan" for node in graph.nodes) == 4


def test_recurrent_layers_name_what_does_not_fit():
    with pytest.raises(ShapeError, match=r"takes \(steps, batch, 3\)"):
        nn.GRU(3, 4)(np.ones((5, 2, 7), np.float32))
    with pytest.raises(ShapeError, match="first state"):
        nn.RNN(3, 4)(np.ones((5, 2, 3), np.float32), np.ones((1, 9, 4), np.float32))
    with pytest.raises(SettingError, match="nonlinearity"):
        nn.RNN(3, 4, nonlinearity="sigmoid")
