"""Graph files: what is saved runs, differentiates and trains as before; what is broken is refused by its place."""

import contextlib
import copy
import json
from fractions import Fraction

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import interop
from tinygraph.core.node import Leaf
from tinygraph.core.op import op
from tinygraph.core.registry import registry
from tinygraph.core.state import buffer, read, write
from tinygraph.errors import FileFormatError, MissingRuleError, PluginError

SUFFIXES = [".tinygraph", ".json"]


def arrays(result):
    one = result if isinstance(result, tuple) else (result,)
    return [value.numpy() if isinstance(value, tg.Tensor) else value for value in one]


def reloaded(graph, tmp_path, suffix):
    path = tmp_path / f"graph{suffix}"
    graph.save(path)
    return tg.load(path)


@pytest.fixture
def model():
    rng = np.random.default_rng(0)
    kernel = tg.tensor(
        rng.normal(size=(2, 1, 3, 3)).astype(np.float32), requires_grad=True, name="conv.weight"
    )
    weight = tg.tensor(rng.normal(size=(18, 3)), dtype=np.float32, requires_grad=True, name="fc.weight")

    def loss(x, labels):
        hidden = tg.ops.relu(tg.ops.convolution(x, kernel, padding=((1, 0), (0, 1)), stride=1))
        hidden = tg.ops.max_pool(hidden, size=2, ceil_mode=True)
        return tg.ops.cross_entropy(hidden.reshape(len(x), -1) @ weight * 0.5, labels)

    return tg.capture(loss, np.zeros((4, 1, 6, 6), np.float32), np.zeros(4, int))


@pytest.fixture
def batch():
    rng = np.random.default_rng(1)
    return rng.normal(size=(4, 1, 6, 6)).astype(np.float32), rng.integers(0, 3, 4)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_model_runs_and_differentiates_as_before(model, batch, tmp_path, suffix):
    again = reloaded(model, tmp_path, suffix)
    assert [leaf.name for leaf in again.inputs] == ["x", "labels"]
    assert [p.name for p in again.parameters] == ["conv.weight", "fc.weight"]
    for a, b in zip(arrays(model.gradient()(*batch)), arrays(again.gradient()(*batch)), strict=True):
        np.testing.assert_array_equal(a, b)
    again(*batch).backward()
    assert again.parameters[0].grad.shape == (2, 1, 3, 3)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_loaded_parameters_train(model, batch, tmp_path, suffix):
    again = reloaded(model, tmp_path, suffix)
    before = again(*batch).item()
    for _ in range(5):
        again(*batch).backward()
        for parameter in again.parameters:
            with tg.no_grad():
                parameter -= 0.1 * parameter.grad.numpy()
            parameter.grad = None
    assert again(*batch).item() < before


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_gradient_graph_keeps_phases_links_scopes_names_and_lines(model, tmp_path, suffix):
    graph = model.gradient()
    again = reloaded(graph, tmp_path, suffix)
    assert len(again.nodes) == len(graph.nodes)
    for old, new in zip(graph.nodes, again.nodes, strict=True):
        assert (old.name, old.kind, old.scope, old.phase) == (new.name, new.kind, new.scope, new.phase)
        assert old.output_types == new.output_types
        if isinstance(old, Leaf):
            continue
        assert old.op is new.op
        assert old.settings == new.settings
        assert repr(old.settings) == repr(new.settings)
        assert (old.source.line, old.source.text) == (new.source.line, new.source.text)
        assert new.source.file == "test_files.py"
        place = None if old.forward_node is None else graph.nodes.index(old.forward_node)
        assert (None if new.forward_node is None else again.nodes.index(new.forward_node)) == place
    assert any(node.phase == "backward" and node.forward_node is not None for node in again.nodes)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_saving_what_was_loaded_gives_the_same_bytes(model, tmp_path, suffix):
    first, second = tmp_path / f"a{suffix}", tmp_path / f"b{suffix}"
    model.gradient().save(first)
    tg.load(first).save(second)
    assert first.read_bytes() == second.read_bytes()


SETTINGS = [
    lambda x: x[1:, None, ..., ::-2],
    lambda x: x[[0, 1], 0],
    lambda x: x.sum(axis=(0, -1), keepdims=True),
    lambda x: x.transpose(),
    lambda x: x.reshape(4, -1),
    lambda x: np.clip(x, -np.inf, 0.5),
    lambda x: x.astype("float32"),
    lambda x: x**3,
    lambda x: x**3.0,
    lambda x: x * True + 1e300 * 1e10,
    lambda x: np.split(x, [1, 2], axis=1)[1],
    lambda x: (
        tg.ops.pad(x, width=((0, 1), (2, 0))) if "width" in tg.ops.pad.signature.settings else np.pad(x, 1)
    ),
]


@each("suffix", SUFFIXES)
@each("function", SETTINGS)
def test_settings_and_constants_come_back_exactly(function, tmp_path, suffix):
    x = np.arange(8.0).reshape(2, 4)
    graph = tg.capture(function, x)
    again = reloaded(graph, tmp_path, suffix)
    for old, new in zip(graph.nodes, again.nodes, strict=True):
        assert repr(old.settings) == repr(new.settings)
        constants = [repr(entry) for entry in old.inputs if not isinstance(entry, type(old) | Leaf)]
        assert constants == [repr(entry) for entry in new.inputs if not isinstance(entry, type(old) | Leaf)]
    np.testing.assert_array_equal(arrays(graph(x)), arrays(again(x)))


def layouts():
    base = np.arange(24.0).reshape(4, 6)
    yield from (
        base,
        base.T,
        base[::2, ::-1],
        np.asfortranarray(base),
        np.broadcast_to(base[0], (3, 6)),
        base[:0],
    )
    yield from (base.astype(">f8"), base.astype(">i2"), np.float32(2.5), np.array(7), base > 3)
    yield from (base.astype(np.float16), base.astype(np.uint8), base + 1j, (base + 2j).astype(np.complex64).T)
    yield from (
        np.complex128(1 - 2j),
        np.array([[Fraction(1, 3), 5], [Fraction(-7, 2), 10**30]], dtype=object),
    )
    yield np.array([np.nan, -0.0, np.inf, 5e-324])


@each("suffix", SUFFIXES)
@each("value", list(layouts()), ids=lambda value: f"{value.dtype.str}{value.shape}{value.strides}")
def test_values_of_any_layout_and_dtype_come_back_exactly(value, tmp_path, suffix):
    leaf = Leaf(value, name="v", requires_grad=value.dtype.kind in "fcO")
    again = reloaded(tg.Graph([], [leaf]), tmp_path, suffix)
    found = again.leaves[0].value
    assert found.shape == value.shape
    assert found.dtype == value.dtype.newbyteorder("=")
    np.testing.assert_array_equal(found, value)
    if value.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(found), np.signbit(value))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_non_contiguous_parameters_are_not_corrupted_in_a_graph(tmp_path, suffix):
    w = tg.tensor(np.arange(6.0).reshape(2, 3).T, requires_grad=True, name="w")
    w._value = w._leaf.value = np.arange(6.0).reshape(2, 3).T
    again = reloaded(tg.capture(lambda x: x @ w, np.ones((1, 3))), tmp_path, suffix)
    np.testing.assert_array_equal(again.parameters[0].numpy(), w.numpy())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_containers_come_back(tmp_path, suffix):
    graph = tg.capture(lambda x: {"loss": x.sum(), 3: [x * 2.0, (None, x)]}, np.ones(2))
    result = reloaded(graph, tmp_path, suffix)(np.ones(2))
    assert list(result) == list(graph(np.ones(2)))
    assert isinstance(result[3], list)
    assert isinstance(result[3][1], tuple)
    assert result[3][1][0] is None
    assert result["loss"] == 2.0


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_several_outputs_absent_operands_and_unused_inputs(tmp_path, suffix):
    graph = tg.capture(
        lambda x, unused: (np.split(x, 2)[1], tg.ops.convolution(x.reshape(1, 1, 4), np.ones((1, 1, 2)))),
        np.ones(4),
        np.ones(3),
    )
    again = reloaded(graph, tmp_path, suffix)
    for a, b in zip(
        arrays(graph(np.arange(4.0), np.ones(3))), arrays(again(np.arange(4.0), np.ones(3))), strict=True
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_eager_graph_keeps_its_values(tmp_path, suffix):
    x = tg.tensor([1.0, 2.0], requires_grad=True, name="x")
    mask = np.array([True, False, True])
    y = (np.concatenate([x, x[:1]])[mask] * x).sum()
    again = reloaded(tg.graph_of(y), tmp_path, suffix)
    assert again().item() == y.item()
    again().backward()
    y.backward()
    np.testing.assert_array_equal(again.parameters[0].grad.numpy(), x.grad.numpy())


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_exact_fractions_are_saved(tmp_path, suffix):
    x = tg.tensor([Fraction(1, 3), Fraction(1, 7)], requires_grad=True, name="x")
    again = reloaded(tg.graph_of((x * x + Fraction(1, 2)).sum()), tmp_path, suffix)
    assert again().item() == Fraction(1, 9) + Fraction(1, 49) + 1
    scalar = tg.tensor(Fraction(1, 3), requires_grad=True, name="s")
    assert reloaded(tg.graph_of(scalar * scalar), tmp_path, suffix)().item() == Fraction(1, 9)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_buffers_updates_and_random_draws_are_part_of_the_file(tmp_path, suffix):
    count, own = buffer(np.float64(1.0), "count"), tg.Generator(3)

    def step(x):
        write(count, read(count) + 1.0)
        return tg.ops.dropout(x, p=0.5) * read(count) + own.normal((3,))

    graph = tg.capture(step, np.ones(3))
    again = reloaded(graph, tmp_path, suffix)
    # the library's own generator is older than any other leaf
    assert sorted(leaf.kind for leaf in again.leaves) == ["buffer", "generator", "generator", "input"]
    assert [leaf.name for leaf, _ in again.updates] == ["count"]
    tg.manual_seed(5)
    expected = arrays(graph(np.ones(3)))
    tg.manual_seed(5)
    np.testing.assert_array_equal(arrays(again(np.ones(3))), expected)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_op_that_is_not_installed_opens_types_and_says_what_to_install(tmp_path, suffix, monkeypatch):
    monkeypatch.setitem(registry._claims, "wobble", [])

    @op(kind="elementwise")
    def wobble(x, *, amount=1.0):
        """x * amount."""
        return x * amount

    @wobble.vjp("x")
    def wobble_wrt_x(g, amount):
        return g * amount

    wobble.package = "wobbly"
    w = tg.tensor([1.0, 2.0], requires_grad=True, name="w")
    graph = tg.capture(lambda x: wobble(x * w, amount=3.0).sum(), np.ones(2))
    path = tmp_path / f"graph{suffix}"
    graph.save(path)
    registry._claims["wobble"].clear()
    again = tg.load(path)
    (node,) = [node for node in again.nodes if not isinstance(node, Leaf) and node.op.name == "wobble"]
    assert node.output_types == graph.nodes[-2].output_types
    assert node.settings == {"amount": 3.0}
    assert "wobble" in again.summary()
    with pytest.raises(PluginError, match=r"(?s)'wobble'.*not installed.*pip install wobbly"):
        again(np.ones(2))
    with pytest.raises((PluginError, MissingRuleError), match="pip install wobbly"):
        again.gradient()
    second = tmp_path / f"second{suffix}"
    again.save(second)
    assert second.read_bytes() == path.read_bytes()


def test_what_a_file_cannot_hold_is_refused_and_nothing_is_written(tmp_path):
    x = tg.tensor([1.0], requires_grad=True, name="x")
    path = tmp_path / "graph.tinygraph"
    with pytest.raises(FileFormatError, match="not registered"):
        tg.graph_of(tg.checkpoint(lambda x: x * 2.0)(x)).save(path)
    with pytest.raises(FileFormatError, match=r"longdouble|float128"):
        tg.graph_of(tg.tensor(np.ones(1, np.longdouble), requires_grad=True) * 2.0).save(path)
    with pytest.raises(OSError, match="missing"):
        tg.graph_of(x * 2.0).save(tmp_path / "missing" / "graph.json")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "graph.json"
    graph = tg.capture(lambda x: x * 2.0, 1.0)
    graph.save(path)
    before = path.read_bytes()
    monkeypatch.setattr("pathlib.Path.replace", lambda *args: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        graph.save(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["graph.json"]


@pytest.fixture
def described(tmp_path):
    """The JSON of x @ w + 1 as a dictionary, and a function that loads a changed one."""
    w = tg.tensor(np.ones((3, 2)), requires_grad=True, name="w")
    path = tmp_path / "graph.json"
    tg.capture(lambda x: (x @ w + np.ones(2)).sum(axis=0), np.ones((4, 3))).save(path)

    def load(changed):
        path.write_text(json.dumps(changed))
        return tg.load(path)

    return json.loads(path.read_text()), load


FAULTS = {
    "another format": (lambda d: d.update(format="other"), "its format is 'other'"),
    "a later version": (lambda d: d.update(version=2), "version 2.*upgrade"),
    "no version": (lambda d: d.pop("version"), "missing required field `version`"),
    "an unknown field": (lambda d: d.update(code="import os"), "unknown field `code`"),
    "an unknown field of a node": (
        lambda d: d["nodes"][2].update(x=1),
        r"unknown field `x` - at `\$.nodes\[2\]`",
    ),
    "a node of neither kind": (
        lambda d: d["nodes"].append({"types": [0]}),
        r"nodes\[5\].*either `op` or `leaf`",
    ),
    "a cycle": (lambda d: d["nodes"][2].update(inputs=[1, 3]), r"nodes\[2\] \(op 'matmul'\).*cycle"),
    "itself": (lambda d: d["nodes"][2].update(inputs=[1, 2]), r"nodes\[2\].*cycle"),
    "beyond the end": (
        lambda d: d["nodes"][2].update(inputs=[1, 99]),
        r"nodes\[2\].*nodes\[99\], but there are 5",
    ),
    "a negative number": (lambda d: d["nodes"][2].update(inputs=[1, -1]), r"nodes\[-1\]"),
    "too few operands": (lambda d: d["nodes"][2].update(inputs=[1]), r"nodes\[2\].*operands \(x, y\), but 1"),
    "too many operands": (lambda d: d["nodes"][2].update(inputs=[1, 0, 0]), r"nodes\[2\].*but 3 are given"),
    "an absent operand": (
        lambda d: d["nodes"][2].update(inputs=[1, None]),
        r"nodes\[2\].*'y', which is absent",
    ),
    "no node read": (
        lambda d: d["nodes"][3].update(inputs=[{"number": 1}] * 2),
        r"nodes\[3\].*reads no node",
    ),
    "shapes that do not fit": (lambda d: d["nodes"][2].update(inputs=[0, 0]), r"nodes\[2\] \(op 'matmul'\)"),
    "another type stated": (lambda d: d["nodes"][3].update(types=[0]), r"nodes\[3\].*not the"),
    "a type that is none": (lambda d: d["nodes"][3].update(types=[77]), r"types\[77\] does not exist"),
    "a dtype that is none": (
        lambda d: d["types"][0].update(dtype="float7"),
        r"types\[0\].*'float7' is no dtype",
    ),
    "a vast shape": (
        lambda d: d["types"][0].update(shape=[2**40, 2**40]),
        r"types\[0\].*larger than any memory",
    ),
    "as many dimensions as no array has": (
        lambda d: d["types"][0].update(shape=[1] * 65),
        r"length <= 64 - at `\$.types\[0\].shape`",
    ),
    "a vast dimension beside an empty one": (
        lambda d: d["types"][0].update(shape=[0, 2**50]),
        r"types\[0\].*larger than any memory",
    ),
    "a negative dimension": (lambda d: d["types"][0].update(shape=[-1, 2]), r"`int` >= 0.*types\[0\].shape"),
    "a negative type": (lambda d: d["nodes"][3].update(types=[-1]), r"`int` >= 0.*nodes\[3\].types"),
    "a name without an end": (
        lambda d: d["nodes"][0].update(name="x" * 100_001),
        r"length <= 100000 - at `\$.nodes\[0\].name`",
    ),
    "a Python number with a shape": (
        lambda d: d["types"][0].update(weak=True),
        "a Python number has no shape",
    ),
    "settings of a leaf": (
        lambda d: d["nodes"][0].update(settings={"a": 1}),
        r"nodes\[0\].*neither inputs nor",
    ),
    "an absent output": (lambda d: d.update(outputs=[None]), "outputs.*absent"),
    "a text for a number": (
        lambda d: d["nodes"][3].update(inputs=[2, {"number": "1"}]),
        r"nodes\[3\].*must be a number or an array",
    ),
    "a setting unknown": (
        lambda d: d["nodes"][4].update(settings={"axes": 0}),
        r"nodes\[4\].*no setting 'axes'",
    ),
    "a setting out of range": (
        lambda d: d["nodes"][4].update(settings={"axis": 5}),
        r"nodes\[4\] \(op 'sum'\)",
    ),
    "a setting that is no value": (
        lambda d: d["nodes"][4].update(settings={"axis": {"eval": "1"}}),
        r"nodes\[4\]",
    ),
    "an array unknown": (lambda d: d["nodes"][0].update(value="v"), r"array 'v', which is not listed"),
    "an output unknown": (lambda d: d.update(outputs=[9]), "outputs.*nodes"),
    "an output of an only output": (lambda d: d.update(outputs=[[4, 1]]), "outputs.*only one output"),
    "an input that is no leaf": (lambda d: d.update(inputs=[3]), r"inputs.*nodes\[3\] is no leaf"),
    "an input twice": (lambda d: d.update(inputs=[1, 1]), "inputs.*twice"),
    "a result that does not count": (
        lambda d: d.update(result={"list": [0, 1]}),
        "result.*number the 1 outputs",
    ),
    "no base64": (lambda d: d["arrays"]["w"].update(data="*"), r"arrays\['w'\] is no base64"),
    "too few bytes": (
        lambda d: d["arrays"]["w"].update(data="AAAA"),
        r"arrays\['w'\] has 3 bytes, but.*takes 48",
    ),
    "a text where a number belongs": (
        lambda d: d["nodes"][2].update(op="matmul"),
        r"Expected `int.*\$.nodes\[2\].op",
    ),
}


@pytest.mark.parametrize("port", [-1, 2, 2**70])
def test_an_output_that_an_op_does_not_have_is_refused(tmp_path, port):
    path = tmp_path / "graph.json"
    tg.capture(lambda x: np.split(x, 2)[1] * 2, np.ones(4)).save(path)
    text = path.read_text()
    description = json.loads(text)
    number, node = next(
        (i, one)
        for i, one in enumerate(description["nodes"])
        if any(isinstance(entry, list) for entry in one.get("inputs", ()))
    )
    node["inputs"] = [[entry[0], port] if isinstance(entry, list) else entry for entry in node["inputs"]]
    path.write_text(json.dumps(description))
    with pytest.raises(FileFormatError, match=rf"nodes\[{number}\].*{port}|malformed"):
        tg.load(path)


@each("fault", FAULTS)
def test_a_wrong_description_is_refused_by_its_place(described, fault):
    description, load = described
    description = copy.deepcopy(description)  # the next row's is whole
    change, message = FAULTS[fault]
    change(description)
    with pytest.raises(FileFormatError, match=f"graph.json: .*(?s:{message})"):
        load(description)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_and_damaged_files_are_refused(model, tmp_path, suffix):
    path = tmp_path / f"graph{suffix}"
    model.save(path)
    whole = path.read_bytes()
    for size in (0, 1, 7, 8, 9, 100, len(whole) // 2, len(whole) - 2):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match=f"graph{suffix}"):
            tg.load(path)
    path.write_bytes(b"\x93NUMPY" + whole)
    with pytest.raises(FileFormatError):
        tg.load(path)


def test_random_damage_never_ends_in_anything_but_a_format_error(described, tmp_path):
    description, _ = described
    text = json.dumps(description).encode()
    rng = np.random.default_rng(0)
    path = tmp_path / "damaged.json"
    for _ in range(300):
        damaged = bytearray(text)
        for place in rng.integers(0, len(text), rng.integers(1, 4)):
            damaged[place] = rng.choice(list(b'0129-"{}[],:ntf \xff'))
        path.write_bytes(damaged)
        with contextlib.suppress(FileFormatError):
            tg.load(path)


def test_deep_nesting_is_refused(described):
    description, load = described
    description["nodes"][4]["settings"] = {"axis": 0}
    value = 0
    for _ in range(200):
        value = [value]
    description["nodes"][4]["settings"] = {"axis": value}
    with pytest.raises(FileFormatError, match="nested more than"):
        load(description)


def test_endless_nesting_is_refused(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text('{"format":"tinygraph-graph","version":1,"result":' + "[" * 100_000)
    with pytest.raises(FileFormatError, match="malformed"):
        tg.load(path)


def test_a_file_of_weights_alone_is_named_as_such(tmp_path):
    interop.save_state({"w": np.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(FileFormatError, match=r"no graph; tinygraph\.interop\.load_state"):
        tg.load(tmp_path / "w.safetensors")
    with pytest.raises(FileNotFoundError):
        tg.load(tmp_path / "none.tinygraph")


def test_the_tensors_of_a_graph_file_are_its_named_parameters(model, tmp_path):
    model.save(tmp_path / "graph.tinygraph")
    state = interop.load_state(tmp_path / "graph.tinygraph")
    assert {"conv.weight", "fc.weight"} <= set(state)


def test_a_long_description_leaves_the_header(tmp_path, monkeypatch):
    monkeypatch.setattr("tinygraph.interop.graphs.graph_files.MAX_HEADER", 100)
    graph = tg.capture(lambda x: np.sin(x) * np.arange(3.0), np.ones(3))
    again = reloaded(graph, tmp_path, ".tinygraph")
    np.testing.assert_array_equal(arrays(graph(np.ones(3))), arrays(again(np.ones(3))))


def test_two_leaves_of_one_name_keep_their_own_values(tmp_path):
    a, b = (tg.tensor([value], requires_grad=True, name="w") for value in (1.0, 2.0))
    again = reloaded(tg.graph_of((a - b * 3.0).sum()), tmp_path, ".tinygraph")
    assert again().item() == -5.0


def test_a_deep_chain_is_saved_and_read_without_recursion(tmp_path):
    x = tg.tensor(1.0, requires_grad=True, name="x")
    y = x
    for _ in range(5000):
        y = y + 1.0
    assert reloaded(tg.graph_of(y), tmp_path, ".tinygraph")().item() == 5001.0
