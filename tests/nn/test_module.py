"""What `Module` does: registering, walking, state, modes, naming, scopes and errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.errors import (
    CaptureError,
    DTypeError,
    RecordingError,
    SettingError,
    ShapeError,
    StaleValueError,
    StateDictError,
)


class Tied(nn.Module):
    """Two ways to one weight, a buffer of each kind, a list."""

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(5, 3)
        self.blocks = nn.ModuleList([nn.Linear(3, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU())])
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.tokens.weight
        self.scale = nn.Parameter(np.float32(2.0))
        self.register_buffer("mean", np.zeros(3))
        self.register_buffer("cache", np.zeros(3), persistent=False)

    def forward(self, x: Any) -> Any:
        x = self.tokens(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x * self.scale)


def test_parameters_are_found_once_and_named_by_their_first_path() -> None:
    names = [name for name, _ in Tied().named_parameters()]
    assert names == [
        "scale", "tokens.weight", "blocks.0.weight", "blocks.0.bias", "blocks.1.0.weight", "blocks.1.0.bias",
    ]  # fmt: skip
    assert [p.name for p in Tied().parameters()] == names
    assert [name for name, _ in Tied().named_buffers()] == ["mean", "cache"]


def test_state_dict_lists_a_shared_weight_twice_and_leaves_out_what_is_not_persistent() -> None:
    state = Tied().state_dict()
    assert "head.weight" in state
    assert "tokens.weight" in state
    assert "mean" in state
    assert "cache" not in state


def test_state_dict_copies() -> None:
    model = nn.Linear(2, 2)
    state = model.state_dict()
    with tg.no_grad():
        model.weight += 1.0
    assert not np.array_equal(state["weight"], model.state_dict()["weight"])
    state["bias"][:] = 9
    assert not (model.bias.detach().numpy() == 9).any()


def test_load_state_dict_reports_everything_at_once_and_writes_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    before = model.state_dict()
    wrong = {**before, "0.weight": np.zeros((3, 3)), "1.bias": np.array([1j]), "extra": np.zeros(1)}
    del wrong["0.bias"]
    with pytest.raises(StateDictError) as found:
        model.load_state_dict(wrong)
    text = str(found.value)
    for part in (
        "'0.weight' has float64[3, 3]",
        "float32[3,2]",
        "'1.bias'",
        "missing: '0.bias'",
        "unexpected: 'extra'",
    ):
        assert part in text
    assert all(np.array_equal(before[name], value) for name, value in model.state_dict().items())


def test_load_state_dict_without_strict_tells_what_it_left() -> None:
    model = nn.Linear(2, 1)
    keys = model.load_state_dict({"weight": np.ones((1, 2)), "other": np.ones(1)}, strict=False)
    assert keys == (["bias"], ["other"])
    np.testing.assert_array_equal(model.weight.detach().numpy(), [[1, 1]])
    with pytest.raises(StateDictError, match="weight"):
        model.load_state_dict({"weight": np.ones((2, 2))}, strict=False)


def test_loading_refuses_what_is_no_array() -> None:
    with pytest.raises(StateDictError, match="'bias'"):
        nn.Linear(1, 1).load_state_dict({"weight": np.ones((1, 1)), "bias": "zero"})


def test_a_weight_changed_after_forward_is_noticed() -> None:
    model = nn.Linear(2, 1)
    x = tg.tensor(np.ones((1, 2), np.float32), requires_grad=True)
    loss = model(x).sum()
    model.load_state_dict({"weight": np.ones((1, 2)), "bias": np.ones(1)})
    with pytest.raises(StaleValueError, match="weight"):
        loss.backward()


def test_deepcopy_makes_independent_parameters_and_keeps_sharing() -> None:
    model = Tied()
    twin = copy.deepcopy(model)
    assert twin.head.weight is twin.tokens.weight
    assert twin.tokens.weight is not model.tokens.weight
    assert [name for name, _ in twin.named_parameters()] == [name for name, _ in model.named_parameters()]
    with tg.no_grad():
        twin.scale += 1.0
    assert model.scale.item() == 2.0


def test_to_converts_values_and_gradients_and_keeps_identity() -> None:
    model = nn.BatchNorm1d(2)
    weight = model.weight
    model(np.array([[1, 1], [2, 2], [4, 4]], np.float32)).sum().backward()
    model.double()
    assert model.weight is weight
    assert {state.dtype for state in (weight, weight.grad, model.running_mean)} == {np.dtype(np.float64)}
    assert model.num_batches_tracked.dtype == np.int64
    assert model(np.array([[1.0, 2.0], [3.0, 4.0]])).dtype == np.float64
    model.to("float32").to("cpu")
    assert weight.dtype == np.float32
    with pytest.raises(SettingError, match="CPU"):
        model.to("cuda")
    with pytest.raises(DTypeError, match="int64"):
        model.to(np.int64)


LAYERS_AND_INPUTS = [
    (nn.Linear(2, 3), (4, 2)),
    (nn.Conv2d(1, 2, 1), (1, 1, 2, 2)),
    (nn.BatchNorm1d(2), (3, 2)),
    (nn.LayerNorm(2), (3, 2)),
    (nn.LSTM(2, 3), (4, 1, 2)),
    (nn.PReLU(), (3,)),
    (nn.Sequential(nn.ReLU(), nn.Linear(2, 1)), (3, 2)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS_AND_INPUTS, ids=lambda one: type(one).__name__)
def test_float64_inputs_into_float32_layers_are_refused(layer: nn.Module, shape: tuple[int, ...]) -> None:
    with pytest.raises(DTypeError, match=r"float32 parameters .* float64 input .*x\.astype\(np\.float32\)"):
        layer(np.ones(shape))
    with pytest.raises(DTypeError, match="float32 parameters"):
        tg.capture(layer, np.ones(shape))
    with pytest.raises(DTypeError, match="float32 parameters"):
        tg.compile(layer)(np.ones(shape))
    found = layer(np.ones(shape, np.float32))
    assert (found[0] if isinstance(found, tuple) else found).dtype == np.float32


def test_float64_models_and_what_has_no_parameters_take_float64() -> None:
    assert nn.Linear(2, 3).double()(np.ones((1, 2))).dtype == np.float64
    assert nn.ReLU()(np.ones(2)).dtype == np.float64
    assert nn.functional.linear(np.ones((1, 2)), np.ones((3, 2), np.float32)).dtype == np.float64


def test_dtype_is_float32_unless_given() -> None:
    assert nn.Conv2d(1, 1, 1).weight.dtype == np.float32
    assert nn.Conv2d(1, 1, 1, dtype=np.float64).weight.dtype == np.float64
    assert nn.Linear(1, 1, dtype="float64").bias.dtype == np.float64
    with pytest.raises(SettingError, match="device"):
        nn.Linear(1, 1, device="cuda")
    with pytest.raises(DTypeError, match="NumPy"):
        nn.Linear(1, 1, dtype="float23")


def test_calls_wrap_arrays_also_nested_ones_and_name_inputs() -> None:
    class Sum(nn.Module):
        def forward(self, pair: Any, *, extra: Any) -> Any:
            assert isinstance(pair[0], tg.Tensor)
            assert isinstance(extra["a"], tg.Tensor)
            return pair[0] + pair[1] + extra["a"]

    assert Sum()((np.ones(2), np.ones(2)), extra={"a": np.ones(2)}).numpy().tolist() == [3, 3]
    model = nn.Linear(2, 1)
    graph = tg.graph_of(model(np.ones((1, 2), np.float32)))
    assert [leaf.name for leaf in graph.inputs] == ["input"]
    assert [parameter.name for parameter in graph.parameters] == ["weight", "bias"]


def test_scopes_are_paths_below_the_outermost_call() -> None:
    model = Tied()
    graph = tg.capture(model, np.array([1, 2]))
    scopes = {node.scope for node in graph.nodes if node.op is not None}
    assert (("tokens", 0),) in scopes
    assert (("blocks.0", 0),) in scopes
    assert (("blocks.1", 0), ("0", 0)) in scopes
    assert () in scopes  # the multiplication stands in the outermost module


def test_scope_numbers_tell_calls_apart_and_errors_leave_no_scope_behind() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return self.layer(self.layer(x))

    model = Twice()
    with pytest.raises(ShapeError, match="layer"):
        model(np.ones((1, 3), np.float32))
    graph = tg.graph_of(model(np.ones((1, 2), np.float32)))
    calls = {node.scope[0] for node in graph.nodes if node.op is not None}
    assert [name for name, _ in calls] == ["layer", "layer"]


def test_capture_of_a_module() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).double()
    x = np.arange(6.0).reshape(2, 3)
    graph = tg.capture(model, x)
    np.testing.assert_allclose(graph(x).detach().numpy(), model(x).detach().numpy())
    assert sorted(parameter.name for parameter in graph.parameters) == [
        "0.bias",
        "0.weight",
        "2.bias",
        "2.weight",
    ]


def test_capture_of_batch_normalisation_in_training_updates_its_averages() -> None:
    model = nn.BatchNorm1d(2).double()
    graph = tg.capture(lambda x: model(x).sum(), np.ones((3, 2)))
    assert {leaf.name for leaf, _ in graph.updates} == {"running_mean", "running_var", "num_batches_tracked"}
    with pytest.raises(CaptureError, match="dtype"):
        tg.capture(lambda x: model.float()(x), np.ones((3, 2)))


def test_train_eval_apply_requires_grad_and_zero_grad() -> None:
    model = nn.Sequential(nn.Dropout(0.5), nn.Sequential(nn.Linear(2, 2)))
    assert model.eval() is model
    assert not any(module.training for module in model.modules())
    order: list[str] = []
    model.apply(lambda module: order.append(type(module).__name__))
    assert order == ["Dropout", "Linear", "Sequential", "Sequential"]
    model.requires_grad_(False)
    assert not model(np.ones((1, 2), np.float32)).requires_grad
    model.requires_grad_()
    model(np.ones((1, 2), np.float32)).sum().backward()
    model.zero_grad(set_to_none=False)
    assert not model[1][0].weight.grad.numpy().any()
    model.zero_grad()
    assert model[1][0].weight.grad is None


def test_dropout_follows_the_seed_the_mode_and_its_probability() -> None:
    layer, x = nn.Dropout(0.25), np.ones((100, 100), np.float32)
    tg.manual_seed(3)
    first = layer(x).numpy()
    tg.manual_seed(3)
    np.testing.assert_array_equal(layer(x).numpy(), first)
    assert abs((first == 0).mean() - 0.25) < 0.03
    assert first.dtype == np.float32
    np.testing.assert_allclose(first[first != 0], 1 / 0.75)
    np.testing.assert_array_equal(layer.eval()(x).numpy(), x)
    assert not nn.Dropout(1.0)(x).numpy().any()
    with pytest.raises(SettingError, match=r"1\.5"):
        nn.Dropout(1.5)


def test_wrong_assignments_and_names_are_refused() -> None:
    model = nn.Linear(2, 1)
    with pytest.raises(TypeError, match="weight"):
        model.weight = np.ones((1, 2))
    model.bias = None
    assert [name for name, _ in model.named_parameters()] == ["weight"]
    for name in ("forward", "", "a.b"):
        with pytest.raises(SettingError):
            model.add_module(name, nn.ReLU())
    with pytest.raises(TypeError, match="Module"):
        model.add_module("child", 3)
    with pytest.raises(TypeError, match="Parameter"):
        model.register_parameter("p", np.ones(2))
    norm = nn.BatchNorm1d(1)
    with pytest.raises(TypeError, match="buffer"):
        norm.running_mean = np.ones(1)
    with pytest.raises(DTypeError, match="int64"):
        nn.Parameter([1, 2])
    with pytest.raises(NotImplementedError, match="forward"):
        nn.Module()(np.ones(1))


def test_sequential_behaves_like_a_list() -> None:
    model = nn.Sequential(nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 3))
    assert len(model) == 3
    assert isinstance(model[-1], nn.Linear)
    part = model[1:]
    assert list(part.state_dict()) == ["2.weight", "2.bias"]
    assert part[1] is model[2]
    model.append(nn.Tanh()).insert(0, nn.Identity())
    assert [type(module).__name__ for module in model] == ["Identity", "Linear", "ReLU", "Linear", "Tanh"]
    del model[0]
    model[1] = nn.GELU()
    assert repr(model).splitlines()[2] == "  (1): GELU(approximate='none')"
    with pytest.raises(IndexError, match="4 modules"):
        model[4]
    named = nn.Sequential({"first": nn.Linear(1, 1), "then": nn.ReLU()})
    assert list(named.state_dict()) == ["first.weight", "first.bias"]


def test_containers() -> None:
    modules = nn.ModuleDict({"a": nn.Linear(1, 1)})
    modules["b"] = nn.ReLU()
    assert list(modules) == modules.keys() == ["a", "b"]
    assert "b" in modules
    del modules["b"]
    with pytest.raises(KeyError, match="there are a"):
        modules["b"]
    with pytest.raises(SettingError, match="keys"):
        modules["keys"] = nn.ReLU()
    assert [p.shape for p in nn.ParameterList([np.ones(2), nn.Parameter(np.ones(3))])] == [(2,), (3,)]


def test_submodules_by_path() -> None:
    model = Tied()
    assert model.get_submodule("blocks.1.0") is model.blocks[1][0]
    assert model.get_submodule("") is model
    with pytest.raises(AttributeError, match=r"blocks\.7"):
        model.get_submodule("blocks.7")


def test_bad_geometry_is_refused_when_a_layer_is_made_or_called() -> None:
    with pytest.raises(ShapeError, match="groups=2"):
        nn.Conv2d(3, 4, 3, groups=2)
    with pytest.raises(ShapeError, match="kernel_size"):
        nn.Conv2d(1, 1, (3, 3, 3))
    with pytest.raises(SettingError, match="mirror"):
        nn.Conv2d(1, 1, 3, padding_mode="mirror")
    with pytest.raises(SettingError, match="full"):
        nn.Conv2d(1, 1, 3, padding="full")
    with pytest.raises(SettingError, match="max_norm"):
        nn.Embedding(2, 3, max_norm=1.0)
    with pytest.raises(ShapeError, match="spatial"):
        nn.Conv2d(1, 1, 3)(np.ones((3, 3), np.float32))
    with pytest.raises(ShapeError, match="more than one value"):
        nn.BatchNorm1d(2)(np.ones((1, 2), np.float32))
    with pytest.raises(ShapeError, match="BatchNorm2d"):
        nn.BatchNorm2d(2)(np.ones((1, 3, 2, 2), np.float32))
    with pytest.raises(SettingError, match="num_heads"):
        nn.MultiheadAttention(6, 4)


def test_a_computed_tensor_cannot_be_copied_with_its_module() -> None:
    model = nn.Linear(1, 1)
    model.cache = model.weight * 2.0
    with pytest.raises(RecordingError):
        copy.deepcopy(model)


def test_integer_and_empty_batches() -> None:
    model = nn.Linear(3, 2)
    assert model(np.empty((0, 3), np.float32)).shape == (0, 2)
    out = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())(np.empty((0, 1, 5, 5), np.float32))
    assert out.shape == (0, 2, 3, 3)
    assert nn.Embedding(4, 2)(np.array(3)).shape == (2,)
