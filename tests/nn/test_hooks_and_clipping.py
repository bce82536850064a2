"""Hooks of modules, and `nn.utils`: gradients clipped together, parameters as one vector."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.errors import SettingError, ShapeError


def test_hooks_see_and_replace():
    layer, seen = nn.Linear(2, 1, bias=False), []
    layer.load_state_dict({"weight": np.array([[1.0, 2.0]])})
    before = layer.register_forward_pre_hook(lambda module, inputs: (inputs[0] * 10,))
    behind = layer.register_forward_hook(
        lambda module, inputs, output: seen.append(inputs[0].numpy()) or output + 1
    )
    x = np.ones((1, 2), np.float32)
    assert layer(x).numpy().tolist() == [[31.0]]
    np.testing.assert_array_equal(seen[0], [[10.0, 10.0]])
    before.remove()
    before.remove()
    assert layer(x).numpy().tolist() == [[4.0]]
    with behind:
        pass
    assert layer(x).numpy().tolist() == [[3.0]]


def test_a_compiled_module_notices_hooks():
    layer = nn.Linear(2, 1, bias=False)
    layer.load_state_dict({"weight": np.array([[1.0, 2.0]])})
    call, x = tg.compile(lambda x: layer(x)), np.ones((1, 2), np.float32)
    assert call(x).numpy().tolist() == [[3.0]]
    handle = layer.register_forward_hook(lambda module, inputs, output: output * 2)
    assert call(x).numpy().tolist() == [[6.0]]
    handle.remove()
    assert call(x).numpy().tolist() == [[3.0]]


def test_gradients_are_clipped_together():
    for compiled in (False, True):
        a, b = tg.tensor([3.0], requires_grad=True), tg.tensor([0.0, 4.0], requires_grad=True)
        optimizer = optim.SGD([a, b], lr=1.0)

        def step(a=a, b=b, optimizer=optimizer):
            optimizer.zero_grad()
            ((a * a).sum() / 2 + (b * b).sum() / 2).backward()
            norm = nn.utils.clip_grad_norm_([a, b], 1.0)
            optimizer.step()
            return norm

        norm = (tg.compile(step) if compiled else step)()
        np.testing.assert_allclose(float(norm), 5.0)
        np.testing.assert_allclose(a.detach().numpy(), [2.4], rtol=1e-6)
        np.testing.assert_allclose(b.detach().numpy(), [0.0, 3.2], rtol=1e-6)
    small = tg.tensor([0.3], requires_grad=True)
    (small * small / 2).sum().backward()
    nn.utils.clip_grad_norm_(small, 1.0, norm_type=float("inf"))
    np.testing.assert_allclose(small.grad.numpy(), [0.3])


def test_clipped_as_pytorch_clips():
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=shape) for shape in ((3, 2), (4,))]
    for norm_type in (1.0, 2.0, 3.0, float("inf")):
        theirs = [torch.zeros(g.shape, dtype=torch.float64, requires_grad=True) for g in gradients]
        ours = [tg.tensor(np.zeros(g.shape), requires_grad=True) for g in gradients]
        for one, other, gradient in zip(theirs, ours, gradients, strict=True):
            one.grad, other.grad = torch.tensor(gradient), tg.tensor(gradient)
        wanted = torch.nn.utils.clip_grad_norm_(theirs, 0.5, norm_type)
        found = nn.utils.clip_grad_norm_(ours, 0.5, norm_type)
        np.testing.assert_allclose(float(found), wanted.item(), rtol=1e-12)
        for one, other in zip(theirs, ours, strict=True):
            np.testing.assert_allclose(other.grad.numpy(), one.grad.numpy(), rtol=1e-12)


def test_values_and_vectors():
    w = tg.tensor([3.0, -0.5], requires_grad=True)
    (w * w).sum().backward()
    nn.utils.clip_grad_value_(w, 2.0)
    np.testing.assert_allclose(w.grad.numpy(), [2.0, -1.0])
    layer = nn.Linear(2, 2)
    vector = nn.utils.parameters_to_vector(layer.parameters())
    nn.utils.vector_to_parameters(vector.detach() * 0 + np.arange(6, dtype=np.float32), layer.parameters())
    np.testing.assert_array_equal(layer.weight.detach().numpy(), [[0, 1], [2, 3]])
    np.testing.assert_array_equal(layer.bias.detach().numpy(), [4, 5])
    with pytest.raises(ShapeError, match="6 elements"):
        nn.utils.vector_to_parameters(np.zeros(5), layer.parameters())


def test_what_cannot_be_clipped():
    w = tg.tensor([1.0], requires_grad=True)
    w.grad = tg.tensor([np.nan])
    with pytest.raises(SettingError, match=r"tg\.why"):
        nn.utils.clip_grad_norm_(w, 1.0, error_if_nonfinite=True)
    with pytest.raises(SettingError, match="max_norm"):
        nn.utils.clip_grad_norm_(w, -1.0)
