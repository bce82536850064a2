"""Hooks of modules, and `nn.utils`: gradients clipped together, parameters as one vector."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn, optim
from tinygraph.errors import DTypeError, RecordingError, SettingError, ShapeError


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


# -- hooks on gradients ------------------------------------------------------------------------------------------------


def tenfold(x):
    """The square of 3 x, with a gradient that is ten times too large by a hook."""
    y = x * 3
    y.register_hook(lambda gradient: gradient * 10)
    return (y * y).sum()


def test_hooks_on_tensors_replace_gradients_in_every_way_of_running():
    """d/dx (3x)^2 = 18 x, tenfold; eager, transformed, compiled, captured."""
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    wanted = [180.0, 360.0]
    tenfold(x).backward()
    assert x.grad.numpy().tolist() == wanted
    x.grad = None
    tg.compile(tenfold)(x).backward()
    assert x.grad.numpy().tolist() == wanted
    point = np.array([1.0, 2.0])
    assert tg.grad(tenfold)(point).tolist() == wanted
    assert tg.compile(tg.grad(tenfold))(point).tolist() == wanted
    graph = tg.capture(tenfold, x)
    assert np.asarray(graph.gradient(graph.inputs)(point)[1]).tolist() == wanted
    x.grad = None
    tenfold(x).backward(create_graph=True)
    # g = 60 y: 2 g * 60 comes to y, where the hook makes it tenfold, then times 3; it is added to g
    (x.grad * x.grad).sum().backward()
    assert x.grad.numpy().tolist() == [180.0 + 648000.0, 360.0 + 1296000.0]


def test_hooks_on_leaves_run_in_order_and_are_taken_off():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    seen = []
    first = x.register_hook(lambda gradient: seen.append(gradient.numpy().tolist()) or gradient + 1)
    second = x.register_hook(lambda gradient: gradient * 2)
    (x.sum() + (x * x).sum()).backward()  # both paths are added before the hooks see the gradient
    assert seen == [[3.0, 5.0]]
    assert x.grad.numpy().tolist() == [8.0, 12.0]
    first.remove()
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.numpy().tolist() == [4.0, 8.0]
    second.remove()
    x.grad = None
    (x * x).sum().backward()
    assert x.grad.numpy().tolist() == [2.0, 4.0]


def test_a_compiled_step_notices_hooks_on_leaves():
    p = nn.Parameter(np.array([1.0, 2.0]))

    def step():
        p.grad = None
        (p * p).sum().backward()
        return p.grad

    compiled = tg.compile(step)
    assert compiled().numpy().tolist() == [2.0, 4.0]
    handle = p.register_hook(lambda gradient: gradient + 5)
    assert compiled().numpy().tolist() == [7.0, 9.0]
    handle.remove()
    assert compiled().numpy().tolist() == [2.0, 4.0]


def test_hooks_of_one_of_several_outputs():
    x = tg.tensor([1.0, 2.0, 3.0, 4.0], requires_grad=True)
    a, b = np.split(x, 2)
    a.register_hook(lambda gradient: gradient * 100)
    (a.sum() + b.sum()).backward()
    assert x.grad.numpy().tolist() == [100.0, 100.0, 1.0, 1.0]


def test_hooks_say_what_does_not_fit():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    with pytest.raises(RecordingError, match="does not require one"):
        tg.tensor([1.0]).register_hook(print)
    handle = x.register_hook(lambda gradient: gradient[:1])
    with pytest.raises(ShapeError, match=r"returned shape \(1,\) for a gradient of shape \(2,\)"):
        (x * x).sum().backward()
    handle.remove()
    x.register_hook(lambda gradient: gradient.astype(np.float32))
    with pytest.raises(DTypeError, match="returned float32 for a gradient of float64"):
        (x * x).sum().backward()


def test_what_a_hook_writes_is_its_own():
    x = tg.tensor([1.0, 2.0], requires_grad=True)
    x.register_hook(lambda gradient: gradient.__setitem__(0, 7.0))
    (x * x).sum().backward()
    assert x.grad.numpy().tolist() == [2.0, 4.0]


@pytest.mark.reference
def test_backward_hooks_of_modules_are_pytorchs():
    torch = pytest.importorskip("torch")
    weight, x = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, -1.0]])
    found = []
    for library in (nn, torch.nn):
        layer = library.Linear(2, 2, bias=False)
        layer = layer.double()
        layer.load_state_dict({"weight": weight if library is nn else torch.tensor(weight)})
        given = tg.tensor(x, requires_grad=True) if library is nn else torch.tensor(x, requires_grad=True)
        seen = []
        layer.register_full_backward_pre_hook(lambda module, outer: (outer[0] * 5,))

        def behind(module, inner, outer, seen=seen):
            seen.append(
                [[*map(np.array, (one.detach().numpy() for one in several))] for several in (inner, outer)]
            )
            return (inner[0] + 100,)

        handle = layer.register_full_backward_hook(behind)
        layer(given).sum().backward()
        handle.remove()
        layer(given).sum().backward()
        found.append((np.array(seen), given.grad.numpy(), layer.weight.grad.numpy()))
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(found[0][1], [[140.0, 160.0]])  # 5 (1 + 3) + 100 + 20, 5 (2 + 4) + 100 + 30


def test_backward_hooks_of_modules_without_gradients_of_inputs_and_compiled():
    layer, seen = nn.Linear(2, 1, bias=False), []
    layer.load_state_dict({"weight": np.array([[1.0, 2.0]])})
    layer.register_full_backward_hook(lambda module, inner, outer: seen.append((inner, outer[0].shape)))
    layer(np.ones((3, 2), np.float32)).sum().backward()
    assert seen == [((None,), (3, 1))]
    layer.register_full_backward_pre_hook(lambda module, outer: (outer[0] * 3,))
    x = tg.tensor(np.ones((1, 2), np.float32), requires_grad=True)
    tg.compile(lambda x: layer(x).sum())(x).backward()
    assert x.grad.numpy().tolist() == [[3.0, 6.0]]


def test_a_backward_hook_of_several_outputs_replaces_none():
    class Two(nn.Module):
        def forward(self, x):
            return x * 2, x * 3

    module = Two()
    module.register_full_backward_pre_hook(lambda module, outer: (outer[0],))
    x = tg.tensor([1.0], requires_grad=True)
    a, b = module(x)
    with pytest.raises(SettingError, match="this call has 2 with gradients"):
        (a + b).sum().backward()
