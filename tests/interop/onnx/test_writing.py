"""Graphs written as ONNX models: checked by the package, run in onnxruntime, read again; forward and gradient."""

import re

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")
runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

import tinygraph as tg  # noqa: E402 - after the packages were found
from tinygraph import nn  # noqa: E402
from tinygraph.core.op import Op  # noqa: E402
from tinygraph.core.registry import BUILTIN_PACKAGE, registry  # noqa: E402
from tinygraph.errors import FileFormatError, ShapeError  # noqa: E402
from tinygraph.interop.onnx.model_reading import graph_of_model  # noqa: E402
from tinygraph.interop.onnx.model_writing import model_of  # noqa: E402

runtime.set_default_logger_severity(4)

# Ops that no operator of ONNX's does, and that are not made of ops which have one: refused by name.
WITHOUT = [
    "angle",
    "arctan2",
    "cholesky",
    "cofactors",
    "cofactors_along",
    "conj",
    "cumprod",
    "eig",
    "eigh",
    "fft",
    "hermitian",
    "imag",
    "index_stays",
    "inv",
    "irfft",
    "matrix_function",
    "pinv",
    "qr",
    "real",
    "rfft",
    "round_to_format",
    "sinc",
    "slogdet",
    "solve",
    "solve_sylvester",
    "special_function",
    "svd",
    "make_complex",
]
# Samples that have no form, though the op has: what the refusal says.
REFUSED = "complex|does not divide|by a mask|smoothed|has no form in ONNX|since version 26"


def run(model, values):
    """What onnxruntime makes of a model; ONNX's own evaluator where the runtime lacks a type, or one axis of many."""
    feeds = dict(zip((one.name for one in model.graph.input), values, strict=True))
    try:
        session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, feeds)
    except Exception as error:
        if not re.search("NOT_IMPLEMENTED|INVALID_GRAPH|ScalesValidation", str(error)):
            raise
    from onnx.reference import ReferenceEvaluator

    return ReferenceEvaluator(model).run(None, feeds)


def array(x):
    return x.numpy() if isinstance(x, tg.Tensor) else np.asarray(x)


def assert_same(model, graph, values, tolerance=2e-4, least=1e-5):
    wanted = graph(*values)
    wanted = wanted if isinstance(wanted, tuple | list) else (wanted,)
    for found, one in zip(run(model, values), map(array, wanted), strict=True):
        assert (found.shape, found.dtype) == (one.shape, one.dtype)
        np.testing.assert_allclose(found, one, rtol=tolerance, atol=least)


def graphs_of(op, most):
    """For each sample its values, the op's graph and that of its gradient, in float32."""
    for sample in op.samples[:most]:
        operands = [
            None if x is None else (x.astype(np.float32) if x.dtype == np.float64 else x)
            for x in sample.operands
        ]
        given = [x for x in operands if x is not None]

        def apply(*xs, operands=operands, sample=sample):
            rest = iter(xs)
            return op(*(None if x is None else next(rest) for x in operands), **sample.settings)

        def total(*xs, apply=apply):
            found = apply(*xs)
            parts = [
                one for one in (found if isinstance(found, tuple) else (found,)) if one.dtype.kind == "f"
            ]
            return sum(
                np.sum(one * np.cos(np.arange(one.size).reshape(one.shape) + i).astype(one.dtype))
                for i, one in enumerate(parts)
            )

        try:
            captured = tg.capture(apply, *given)
        except ShapeError as error:
            if "depends on its values" not in str(error):  # a mask among the operands
                raise
            continue
        yield given, captured
        if any(x.dtype.kind == "f" for x in given):
            try:
                graph = tg.capture(total, *given)
                yield given, graph.gradient([leaf for leaf in graph.inputs if leaf.types.dtype.kind == "f"])
            except tg.errors.TinygraphError:
                pass  # nothing is differentiable


def write_all(most):
    """Write so many samples of each op; names of those refused, how many graphs were right, and what was wrong."""
    problems, refused, written = [], set(), 0
    for op in registry.all_ops():
        if not isinstance(op, Op) or op.package != BUILTIN_PACKAGE:
            continue
        try:
            for values, graph in graphs_of(op, most):
                try:
                    model = model_of(graph)
                except FileFormatError as error:
                    if op.name not in WITHOUT and not re.search(REFUSED, str(error)):
                        raise
                    refused.add(op.name)
                    continue
                with np.errstate(all="ignore"):  # at the ends of a function's domain
                    assert_same(model, graph, values)
                written += 1
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is wrong
            problems.append(f"{op.name}: {type(error).__name__}: {str(error)[:300]}")
    return refused, written, problems


def test_built_in_ops_are_written_or_refused_by_name():
    refused, written, problems = write_all(1)
    assert problems == []
    assert set(WITHOUT) <= refused
    assert written > 200


@pytest.mark.slow
def test_all_samples_of_built_in_ops_are_written_or_refused():
    _, written, problems = write_all(None)
    assert problems == []
    assert written > 700


def layers():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, 4, 7, stride=2, padding=3, bias=False)
            self.bn1 = nn.BatchNorm2d(4)
            self.pool = nn.MaxPool2d(3, stride=2, padding=1)
            self.conv2 = nn.Conv2d(4, 4, 3, padding=1)
            self.fc = nn.Linear(4, 5)

        def forward(self, x):
            x = self.pool(tg.ops.relu(self.bn1(self.conv1(x))))
            x = np.mean(x + self.conv2(x), axis=(2, 3))
            return tg.ops.cross_entropy(self.fc(x), np.array([1, 3]))

    random = np.random.default_rng(0)

    def draw(*shape):
        return random.normal(size=shape).astype(np.float32)

    def squared(module, *shape):
        x = draw(*shape)
        weights = random.normal(size=np.shape(first(module(x)))).astype(np.float32)
        return (lambda x: np.sum(first(module(x)) * weights)), x

    def first(found):
        return found[0] if isinstance(found, tuple) else found

    block = Block()
    yield "residual", block, draw(2, 3, 16, 16)
    trained = Block()
    trained.eval()
    yield "evaluated", trained, draw(2, 3, 16, 16)
    encoder = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder.eval()
    yield "transformer", *squared(encoder, 2, 5, 8)
    yield "lstm", *squared(nn.LSTM(3, 4, num_layers=2, batch_first=True, bidirectional=True), 2, 4, 3)
    generator = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        nn.GroupNorm(2, 4),
        nn.SiLU(),
        nn.ConvTranspose2d(4, 2, 2, stride=2),
        nn.AvgPool2d(2),
    )
    yield "generator", *squared(generator, 2, 1, 8, 8)


def test_models_and_their_gradients_run_elsewhere_and_come_back():
    for name, model, x in layers():
        graph = tg.capture(model, x).gradient()
        made = model_of(graph)
        assert_same(made, graph, [x], 1e-4, 1e-5)
        again = graph_of_model(made)
        assert {one.name for one in again.parameters} >= {one.name for one in graph.parameters}, name
        for found, wanted in zip(again(x), graph(x), strict=True):
            np.testing.assert_allclose(array(found), array(wanted), rtol=1e-4, atol=1e-5, err_msg=name)


def test_loops_and_choices_are_written():
    def loop(x):
        return tg.while_loop(lambda c: np.sum(c) < 100.0, lambda c: c * 2.0, x)

    def choice(x):
        return tg.switch(np.argmax(x), [np.sin, np.exp, lambda y: y * 3.0], x)

    def scan(x):
        return tg.scan(lambda c, s: (c + s, c * s), np.zeros((), np.float32), x)

    x = np.array([1.0, 2.0, 1.5], np.float32)
    for function in (loop, choice, scan):
        graph = tg.capture(function, x)
        assert_same(model_of(graph), graph, [x])
        assert_same(model_of(graph), graph, [x[::-1].copy()])


def test_names_scopes_and_versions(tmp_path):
    model = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    graph = tg.capture(model, np.zeros((1, 2), np.float32))
    graph.save(tmp_path / "m.onnx", opset=18)
    made = onnx.load(tmp_path / "m.onnx")
    assert made.opset_import[0].version == 18
    assert made.producer_name == "tinygraph"
    assert {one.name for one in made.graph.initializer} >= {"0.weight", "0.bias"}
    with pytest.raises(FileFormatError, match="opset=3: models are written for versions 18 to"):
        graph.save(tmp_path / "n.onnx", opset=3)
    with pytest.raises(FileFormatError, match="opset is a setting of ONNX models"):
        graph.save(tmp_path / "n.json", opset=21)
    with pytest.raises(FileFormatError, match=r"qr.*has no form in ONNX.*\.safetensors"):
        tg.capture(lambda x: np.linalg.qr(x)[0], np.eye(2)).save(tmp_path / "q.onnx")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["m.onnx"]


# -- free sizes --------------------------------------------------------------------------------------------------------


def values_of(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def small_network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 3, stride=2, padding=1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 3),
    )


def attending():
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 1)


FREE = {
    "images": (small_network, (2, 1, 32, 32), "NCHW", [(1, 1, 41, 50), (3, 1, 17, 70), (0, 1, 32, 32)]),
    "words": (attending, (2, 5, 8), "NT8", [(1, 3, 8), (3, 11, 8)]),
    "recurrent": (lambda: nn.LSTM(4, 6, batch_first=True), (2, 5, 4), "NT4", [(1, 3, 4), (3, 11, 4)]),
}


@pytest.mark.parametrize("name", FREE)
def test_free_sizes_are_written_and_read_again(name, tmp_path):
    make, shape, letters, others = FREE[name]
    tg.manual_seed(0)
    model = make()
    sizes = {axis: letter for axis, letter in enumerate(letters) if letter in "NHWT"}
    forward = (lambda x: model(x)[0]) if name == "recurrent" else model

    def loss(x):
        return (forward(x) ** 2).sum()

    for function in (forward, loss):
        if name == "images" and function is loss:
            # the gradient of a strided convolution has an attribute that depends on how the image rounds
            with pytest.raises(FileFormatError, match="output_padding of ConvTranspose is"):
                model_of(tg.capture(loss, values_of(*shape), dynamic_axes={0: sizes}).gradient())
            sizes, others = {0: "N"}, [(1, 1, 32, 32), (5, 1, 32, 32)]
        graph = tg.capture(function, values_of(*shape), dynamic_axes={0: sizes})
        graph = graph if function is forward else graph.gradient()
        graph.save(tmp_path / "model.onnx")
        model_file = onnx.load(tmp_path / "model.onnx")
        dims = model_file.graph.input[0].type.tensor_type.shape.dim
        assert {axis: one.dim_param for axis, one in enumerate(dims) if one.dim_param} == sizes
        back = tg.load(tmp_path / "model.onnx")
        assert set(back.sizes) == set(sizes.values())
        for other in (shape, *others):
            if 0 in other and function is loss:
                continue  # onnxruntime's gradients of no examples
            x = values_of(*other)
            assert_same(model_file, graph, [x])
            found, wanted = back(x), graph(x)
            pairs = zip(found, wanted, strict=True) if isinstance(found, tuple | list) else [(found, wanted)]
            for one, another in pairs:
                np.testing.assert_allclose(one.numpy(), another.numpy(), rtol=2e-4, atol=1e-5)


def test_free_numbers_and_constant_arrays(tmp_path):
    """Means, masks and ramps that programs make from sizes, with literal right values."""

    def function(x):
        n, length = x.shape
        ramp = np.arange(length, dtype=np.float32)
        mask = np.tril(np.ones((length, length), np.float32))
        return (x * ramp) @ mask / n + length * 0.5

    graph = tg.capture(function, np.ones((2, 4), np.float32), dynamic_axes={0: {0: "N", 1: "T"}})
    graph.save(tmp_path / "model.onnx")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"))
    name = session.get_inputs()[0].name
    (found,) = session.run(None, {name: np.ones((1, 3), np.float32)})
    np.testing.assert_array_equal(found, [[4.5, 4.5, 3.5]])  # (0+1+2, 1+2, 2) / 1 + 1.5
    (found,) = session.run(None, {name: np.full((2, 2), 4, np.float32)})
    np.testing.assert_array_equal(found, [[3.0, 3.0]] * 2)  # (4, 4) / 2 + 1


def test_every_number_shape_is_written():
    from tinygraph.core.sizes import SHAPES_OF_NUMBERS
    from tinygraph.interop.onnx.free_writing import NUMBERS

    assert NUMBERS.keys() == SHAPES_OF_NUMBERS.keys()


def test_halves_are_rounded_down_below_zero(tmp_path):
    """(N - 5) // 2 is -2 for one sample and -2 for two, as Python rounds; ONNX divides towards zero."""
    from fractions import Fraction

    from tinygraph.core.sizes import FreeInt, SizeFormula
    from tinygraph.interop.onnx.free_writing import ComputedConstants
    from tinygraph.interop.onnx.model_writing import Writing

    half = Fraction(1, 2)
    formula = SizeFormula(((half, ("N",)), (Fraction(-5, 2), ())), floor=True)
    writing = Writing(onnx, 21)
    name = ComputedConstants(writing, {"N": ("x", 0)}).whole(FreeInt(0, formula))
    helper = onnx.helper
    made = helper.make_graph(
        writing.nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["N"])],
        [helper.make_tensor_value_info(name, 7, [1])],
        writing.initializers,
    )
    model = helper.make_model(made, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    for n in (1, 2, 4, 5, 8):
        (found,) = run(model, [np.zeros(n, np.float32)])
        assert found.tolist() == [(n - 5) // 2]


def test_what_is_written_otherwise_at_other_sizes_is_refused_by_name():
    def function(x):
        return tg.ops.average_pool(x, size=x.shape[2], stride=1)  # the window is a size

    graph = tg.capture(function, values_of(1, 1, 8, 8), dynamic_axes={0: {2: "H", 3: "H"}})
    with pytest.raises(
        FileFormatError, match=r"average_pool at .*kernel_shape of AveragePool is \[8, 8\] or"
    ):
        model_of(graph)


def test_adaptive_pools_that_do_not_divide():
    graph = tg.capture(lambda x: tg.ops.adaptive_average_pool(x, size=(3, 2)), values_of(2, 1, 7, 5))
    assert_same(model_of(graph), graph, [values_of(2, 1, 7, 5)])
    back = tg.capture(
        lambda x: (tg.ops.adaptive_average_pool(x, size=(3, 2)) ** 2).sum(), values_of(2, 1, 7, 5)
    ).gradient()
    assert_same(model_of(back), back, [values_of(2, 1, 7, 5)])


def test_adaptive_pools_of_free_sizes():
    """Written with the matrix of means computed from the size; read again for one size only."""
    graph = tg.capture(
        lambda x: tg.ops.adaptive_average_pool(x, size=(3, 2)),
        values_of(1, 1, 8, 8),
        dynamic_axes={0: {2: "H", 3: "W"}},
    )
    gradient = tg.capture(
        lambda x: (tg.ops.adaptive_average_pool(x, size=(3, 2)) ** 2).sum(),
        values_of(1, 1, 8, 8),
        dynamic_axes={0: {2: "H", 3: "W"}},
    ).gradient()
    for shape in [(1, 1, 8, 8), (1, 1, 7, 5), (1, 1, 3, 20), (1, 1, 2, 2)]:
        assert_same(model_of(graph), graph, [values_of(*shape)])
        assert_same(model_of(gradient), gradient, [values_of(*shape)])
    with pytest.raises(FileFormatError, match=r"Or read it for one size"):
        graph_of_model(model_of(graph))
    assert graph_of_model(model_of(graph), sizes={"H": 7, "W": 5}).inputs[0].types.shape == (1, 1, 7, 5)


def test_one_vector_of_places_is_a_gather_and_its_gradient_adds_up():
    def function(x):
        return (np.take(x, np.array([2, 0, 2, -1]), axis=1) ** 2).sum()

    graph = tg.capture(function, values_of(3, 4, 2), dynamic_axes={0: {0: "N"}})
    assert "Gather" in [node.op_type for node in model_of(graph).graph.node]
    gradient = graph.gradient()
    for n in (3, 1, 5):
        assert_same(model_of(gradient), gradient, [values_of(n, 4, 2)])


def test_an_ellipsis_of_fewer_axes():
    """ONNX's stands for as many axes in every operand."""
    x, y = np.arange(6, dtype=np.float32).reshape(2, 3), np.array([1, 2, 3], np.float32)
    model = model_of(tg.capture(lambda x, y: tg.ops.einsum(x, y, subscripts="...i,...i->..."), x, y))
    np.testing.assert_array_equal(run(model, [x, y])[0], [8, 26])
