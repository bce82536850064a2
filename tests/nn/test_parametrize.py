"""Parametrizations: parameters that are computed from others, with PyTorch's values, names and files."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.errors import SettingError, ShapeError
from tinygraph.nn.utils import parametrize


class Doubled(nn.Module):
    def forward(self, x):
        return x * 2

    def right_inverse(self, weight):
        return weight / 2


class Skewed(nn.Module):
    def forward(self, x):
        return np.triu(x, 1) - np.triu(x, 1).T


def test_a_parameter_is_computed_each_time_it_is_read():
    layer = nn.Linear(2, 2, bias=False)
    layer.load_state_dict({"weight": np.array([[2.0, 4.0], [6.0, 8.0]])})
    assert parametrize.register_parametrization(layer, "weight", Doubled()) is layer
    assert layer.weight.numpy().tolist() == [[2.0, 4.0], [6.0, 8.0]]  # right_inverse halved the original
    original = layer.parametrizations.weight.original
    assert original.numpy().tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert list(layer.state_dict()) == ["parametrizations.weight.original"]
    assert isinstance(layer, nn.Linear)
    x = np.array([[1.0, 10.0]], np.float32)
    layer(x).sum().backward()
    assert original.grad.numpy().tolist() == [[2.0, 20.0], [2.0, 20.0]]
    layer.weight = np.full((2, 2), 10.0, np.float32)
    assert original.numpy().tolist() == [[5.0, 5.0], [5.0, 5.0]]


def test_several_run_in_order_and_are_removed():
    layer = nn.Linear(2, 2, bias=False)
    layer.load_state_dict({"weight": np.array([[1.0, 3.0], [5.0, 7.0]])})
    parametrize.register_parametrization(layer, "weight", Skewed())
    parametrize.register_parametrization(layer, "weight", Doubled())
    assert layer.weight.numpy().tolist() == [[0.0, 6.0], [-6.0, 0.0]]
    assert parametrize.is_parametrized(layer)
    assert parametrize.is_parametrized(layer, "weight")
    assert not parametrize.is_parametrized(layer, "bias")
    parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Linear
    assert layer.weight.numpy().tolist() == [[0.0, 6.0], [-6.0, 0.0]]
    assert [name for name, _ in layer.named_parameters()] == ["weight"]
    parametrize.register_parametrization(layer, "weight", Skewed())
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
    assert layer.weight.numpy().tolist() == [[0.0, 6.0], [-6.0, 0.0]]


def test_other_layers_of_the_class_stay_as_they_are():
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    parametrize.register_parametrization(one, "weight", Skewed())
    parametrize.register_parametrization(one, "bias", Doubled())
    assert np.all(np.diag(one.weight.numpy()) == 0)
    assert type(other) is nn.Linear
    assert "weight" in vars(other)


def test_compiled_steps_train_and_follow_changes():
    layer = nn.Linear(3, 3, bias=False)
    optimizer_of = [lambda p: optim.SGD(p, lr=0.1)]
    x = np.eye(3, dtype=np.float32)
    plain = tg.compile(lambda x: layer(x))
    before = plain(x).numpy()
    np.testing.assert_array_equal(before, layer.weight.numpy().T)
    parametrize.register_parametrization(layer, "weight", Skewed())
    np.testing.assert_array_equal(
        plain(x).numpy(), layer.weight.numpy().T
    )  # the class has changed: captured again
    optimizer = optimizer_of[0](layer.parameters())

    def step():
        optimizer.zero_grad()
        loss = ((layer(x) - np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 0]], np.float32)) ** 2).sum()
        loss.backward()
        optimizer.step()
        return loss

    step = tg.compile(step)
    losses = [step().item() for _ in range(40)]
    assert losses[-1] < 1e-3 * max(losses[0], 1)
    np.testing.assert_allclose(layer.weight.numpy(), [[0, -1, 0], [1, 0, 0], [0, 0, 0]], atol=0.02)


def test_errors_say_what_there_is():
    layer = nn.Linear(2, 3)
    with pytest.raises(SettingError, match=r"Linear has no parameter 'wieght'; it has: weight, bias"):
        parametrize.register_parametrization(layer, "wieght", Skewed())

    class Row(nn.Module):
        def forward(self, x):
            return x[0]

    with pytest.raises(ShapeError, match=r"Row makes float32\[2\] of 'weight'|Row makes .*'weight'"):
        parametrize.register_parametrization(layer, "weight", Row())
    parametrize.register_parametrization(
        layer, "bias", type("Half", (nn.Module,), {"forward": lambda self, x: x / 2})()
    )
    with pytest.raises(SettingError, match="Half has no right_inverse"):
        layer.bias = np.zeros(3, np.float32)
    with pytest.raises(SettingError, match="has no parametrization"):
        parametrize.remove_parametrizations(layer, "weight")


@pytest.mark.reference
@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
@pytest.mark.parametrize("layer", ["Linear", "Conv2d", "ConvTranspose2d"])
def test_norms_are_pytorchs(name, layer):
    """Values, gradients, statistics and names of the state after three forward passes in training and one after."""
    torch = pytest.importorskip("torch")
    arguments = (3, 4) if layer == "Linear" else (3, 4, 2)
    theirs = getattr(torch.nn, layer)(*arguments).double()
    getattr(torch.nn.utils.parametrizations, name)(theirs)
    mine = getattr(nn, layer)(*arguments).double()
    getattr(nn.utils.parametrizations, name)(mine)
    wanted_names = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in mine.state_dict().items()} == wanted_names
    mine.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    x = np.random.default_rng(0).normal(size=(2, 3) if layer == "Linear" else (2, 3, 5, 5))
    for _ in range(3):
        for module in (mine, theirs):
            module.zero_grad()
        found, wanted = mine(x), theirs(torch.tensor(x))
        np.testing.assert_allclose(found.detach().numpy(), wanted.detach().numpy(), rtol=1e-10, atol=1e-12)
        (found * found).sum().backward()
        (wanted * wanted).sum().backward()
        for (key, one), (_, other) in zip(mine.named_parameters(), theirs.named_parameters(), strict=True):
            np.testing.assert_allclose(
                one.grad.numpy(), other.grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=key
            )
    for key, value in theirs.state_dict().items():
        np.testing.assert_allclose(np.asarray(mine.state_dict()[key]), value.numpy(), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(
        mine.eval()(x).detach().numpy(),
        theirs.eval()(torch.tensor(x)).detach().numpy(),
        rtol=1e-10,
        atol=1e-12,
    )


def test_spectral_norm_bounds_the_largest_singular_value():
    tg.manual_seed(0)
    layer = nn.utils.parametrizations.spectral_norm(nn.Linear(5, 4), n_power_iterations=5)
    for _ in range(20):
        weight = layer.weight
    assert np.linalg.svd(weight.numpy(), compute_uv=False)[0] == pytest.approx(1.0, abs=1e-4)
    with pytest.raises(SettingError, match="n_power_iterations=0 must be at least 1"):
        nn.utils.parametrizations.spectral_norm(nn.Linear(2, 2), n_power_iterations=0)


SHAPES = [(3, 3), (5, 3), (3, 5)]


@pytest.mark.reference
@pytest.mark.parametrize("based", [True, False], ids=["based", "plain"])
@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_orthogonal_weights_are_pytorchs(shape, kind, based):
    """Values, gradients and names of the state, of the same originals."""
    torch = pytest.importorskip("torch")
    theirs, mine = torch.nn.Linear(*shape).double(), nn.Linear(*shape).double()
    if not based and kind != "householder":
        with pytest.raises(SettingError, match="use_trivialization=False"):
            nn.utils.parametrizations.orthogonal(mine, orthogonal_map=kind, use_trivialization=False)
        return
    torch.nn.utils.parametrizations.orthogonal(theirs, orthogonal_map=kind, use_trivialization=based)
    nn.utils.parametrizations.orthogonal(mine, orthogonal_map=kind, use_trivialization=based)
    with torch.no_grad():  # reflections read the signs of the original's diagonal, which stays as it is
        original = theirs.parametrizations.weight.original
        noise = torch.tensor(np.random.default_rng(0).normal(size=original.shape) * 0.5)
        original.add_(noise * (1 - torch.eye(*original.shape)))
    state = {key: value.detach().numpy() for key, value in theirs.state_dict().items()}
    assert {key: value.shape for key, value in mine.state_dict().items()} == {
        k: v.shape for k, v in state.items()
    }
    mine.load_state_dict(state)
    weight = mine.weight.detach().numpy()
    np.testing.assert_allclose(weight, theirs.weight.detach().numpy(), atol=1e-12)
    small = min(shape)
    product = weight @ weight.T if weight.shape[0] < weight.shape[1] else weight.T @ weight
    np.testing.assert_allclose(product, np.eye(small), atol=1e-12)
    x = np.random.default_rng(1).normal(size=(4, shape[0]))
    (mine(x) ** 3).sum().backward()
    (theirs(torch.tensor(x)) ** 3).sum().backward()
    for (key, one), (_, other) in zip(mine.named_parameters(), theirs.named_parameters(), strict=True):
        np.testing.assert_allclose(one.grad.numpy(), other.grad.numpy(), rtol=1e-8, atol=1e-10, err_msg=key)


@pytest.mark.parametrize("kind", ["matrix_exp", "cayley", "householder"])
def test_an_orthogonal_weight_can_be_set_and_trained(kind):
    pytest.importorskip("scipy")
    layer = nn.utils.parametrizations.orthogonal(nn.Linear(2, 2, bias=False), orthogonal_map=kind)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]], np.float32)
    layer.weight = turn
    np.testing.assert_allclose(layer.weight.detach().numpy(), turn, atol=1e-6)
    optimizer = optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        layer(np.eye(2, dtype=np.float32))[0, 1].backward()
        optimizer.step()
    weight = layer.weight.detach().numpy()
    assert not np.allclose(weight, turn, atol=1e-3)
    np.testing.assert_allclose(weight @ weight.T, np.eye(2), atol=1e-5)


def test_reflections_without_a_base_make_the_weight_that_is_set():
    layer = nn.utils.parametrizations.orthogonal(
        nn.Linear(2, 3, bias=False), orthogonal_map="householder", use_trivialization=False
    )
    wanted = np.array([[0.6, 0.0], [0.8, 0.0], [0.0, -1.0]], np.float32)
    layer.weight = wanted
    np.testing.assert_allclose(layer.weight.detach().numpy(), wanted, atol=1e-6)
    with pytest.raises(SettingError, match="'qr'"):
        nn.utils.parametrizations.orthogonal(nn.Linear(2, 3), orthogonal_map="qr")
    with pytest.raises(SettingError, match="two axes"):
        nn.utils.parametrizations.orthogonal(nn.Linear(2, 3), "bias")


def test_a_cached_block_computes_each_parameter_once():
    calls = []

    class Counted(Doubled):
        def forward(self, x):
            calls.append(1)
            return x * 2

    layer = parametrize.register_parametrization(nn.Linear(2, 2, bias=False), "weight", Counted())
    x = np.array([[1.0, 10.0]], np.float32)
    calls.clear()
    with parametrize.cached():
        first = layer(layer(x))
        with parametrize.cached():
            first.sum().backward()
        assert len(calls) == 1
    gradient = layer.parametrizations.weight.original.grad.numpy()
    layer.zero_grad()
    layer(layer(x)).sum().backward()
    assert len(calls) == 3
    np.testing.assert_array_equal(gradient, layer.parametrizations.weight.original.grad.numpy())


def test_cached_values_stay_where_they_were_computed():
    layer = parametrize.register_parametrization(nn.Linear(2, 2, bias=False), "weight", Doubled())
    x = np.array([[1.0, 10.0]], np.float32)
    compiled = tg.compile(lambda x: layer(layer(x)))
    with parametrize.cached():
        wanted = layer(layer(x)).detach().numpy()
        np.testing.assert_allclose(compiled(x).numpy(), wanted, rtol=1e-6)
        with tg.no_grad():
            assert not layer.weight.requires_grad
        assert layer.weight.requires_grad
