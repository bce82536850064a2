"""Model files: what they describe is built as described, and every mistake is refused with its line and key."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tests.rows import each
from tinygraph import nn
from tinygraph.errors import FileFormatError, ShapeError
from tinygraph.nn.text_lines import line_of

ROOT = Path(__file__).parents[2]

SEQUENCE = """
# two layers
[[layers]]
layer = "Linear"
in_features = 4
out_features = 3

[[layers]]
name = "act"
layer = "Tanh"
"""


def load(tmp_path, text, suffix=".toml"):
    path = tmp_path / f"model{suffix}"
    path.write_text(text, encoding="utf-8")
    return nn.load_model(path)


def test_a_sequence_is_a_sequential(tmp_path):
    tg.manual_seed(0)
    model = load(tmp_path, SEQUENCE)
    tg.manual_seed(0)
    same = nn.Sequential({"0": nn.Linear(4, 3), "act": nn.Tanh()})
    assert type(model) is nn.Sequential
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    np.testing.assert_array_equal(model(x).numpy(), same(x).numpy())


def test_json_describes_the_same(tmp_path):
    content = {"layers": [{"layer": "Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": [3, 1]}]}
    model = load(tmp_path, json.dumps(content), ".json")
    assert model[0].weight.shape == (2, 1, 3, 1)


WIRED = """
inputs = { a = "float32[2,4]", b = "float32[2,4]" }
outputs = ["sum", "halves.1"]

[[layers]]
name = "first"
layer = "Linear"
in_features = 4
out_features = 4
inputs = "a"

[[layers]]
name = "sum"
op = "add"
inputs = ["first", "b"]

[[layers]]
name = "halves"
op = "split"
sections = 2
axis = 1
inputs = ["sum"]
"""


def test_a_graph_of_names(tmp_path):
    settings = tg.ops.split.signature.settings
    model = load(tmp_path, WIRED.replace("sections", next(iter(settings))))
    assert isinstance(model, nn.Wired)
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 2, 4)).astype(np.float32)
    total, half = model(a, b)
    expected = a @ model.first.weight.numpy().T + model.first.bias.numpy() + b
    np.testing.assert_allclose(total.numpy(), expected, rtol=1e-6)
    np.testing.assert_array_equal(half.numpy(), total.numpy()[:, 2:])
    graph = tg.capture(model, a, b)
    assert [leaf.name for leaf in graph.inputs] == ["a", "b"]
    assert {node.scope[0][0] for node in graph.nodes if node.scope} == {"first", "sum", "halves"}
    tg.ops.sum(total * total).backward()
    assert model.first.weight.grad.shape == (4, 4)
    with pytest.raises(ShapeError, match=r"takes 2 input\(s\) \(a, b\) but got 1"):
        model(a)


def test_the_example_loads_and_compiles():
    model = nn.load_model(ROOT / "examples" / "model.toml")
    x = np.random.default_rng(0).normal(size=(2, 1, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(tg.compile(model)(x).numpy(), model(x).numpy(), rtol=1e-4, atol=1e-5)


def test_the_documentation_shows_a_file_that_loads(tmp_path):
    text = (ROOT / "docs" / "model_files.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```toml[^\n]*\n(.*?)```", text, re.DOTALL)
    load(tmp_path, block)
    for shown in re.findall(r'`(\{"layers".*?\]\})`', text):
        load(tmp_path, shown, ".json")
    (refused,) = re.findall(r"```text\n(.*?)\n```", text, re.DOTALL)
    with pytest.raises(FileFormatError, match=re.escape(refused)):
        load(tmp_path, '[[layers]]\nlayer = "Linear"\nin_features = 4\nout_feature = 2\n')


LINEAR = '[[layers]]\nlayer = "Linear"\nin_features = 4\nout_features = 4\n'


@each(
    ("text", "line", "message"),
    [
        ("", 1, "needs `layers`"),
        ("layers = []", 1, "needs `layers`"),
        ("\nlayers = 3", 2, "needs `layers`"),
        ("\nlayer = []", 2, "no such key (did you mean 'layers'?)"),
        (LINEAR + "bia = true", 5, "layers[0].bia: Linear has no argument 'bia' (did you mean 'bias'?)"),
        ('[[layers]]\nlayer = "Linear"\nin_features = 4', 1, "needs the argument 'out_features'"),
        ('[[layers]]\n\n# a comment\nlayer = "Linar"', 4, "no layer 'Linar' (did you mean 'Linear'?)"),
        ('[[layers]]\nlayer = "Sequential"', 2, "no layer 'Sequential'"),
        ('[[layers]]\nlayer = "load_model"', 2, "no layer 'load_model'"),
        ('[[layers]]\nop = "ad"', 2, "no op called 'ad'"),
        ('[[layers]]\nop = "sum"\naxes = 1', 3, "sum has no argument 'axes' (did you mean 'axis'?)"),
        ('[[layers]]\nop = "sum"\nlayer = "ReLU"', 1, "needs either"),
        ("[[layers]]\nlayer = 3", 2, "must be a name"),
        (LINEAR.replace("4", '"four"'), 1, "Linear: "),
        (LINEAR.replace("out_features = 4", "out_features = -4"), 1, "Linear: "),
        (LINEAR + "dtype = 1979-05-27", 5, "must be a number, truth value, text"),
        (LINEAR + "bias = {a = 1}", 5, "must be a number, truth value, text"),
        (LINEAR + 'name = "a.b"', 5, "without dots"),
        (LINEAR + 'name = "forward"', 5, "is taken"),
        (LINEAR + 'name = "a"\n' + LINEAR + 'name = "a"', 10, "given twice"),
        (LINEAR + 'inputs = ["y"]', 5, "nothing is called 'y'"),
        (LINEAR + 'inputs = "b"\n' + LINEAR + 'name = "b"', 5, "'b' comes later"),
        (LINEAR + "inputs = []", 5, "must be a name or a list of names"),
        ("inputs = ['a', 'a']\n" + LINEAR, 1, "given twice"),
        ("inputs = ['a', 'b']\n" + LINEAR, 1, "nothing reads the input 'b'"),
        ("inputs = {}\n" + LINEAR, 1, "at least one input"),
        ("inputs = {a = 'float33[2]'}\n" + LINEAR, 1, "must be a type such as"),
        ("inputs = {a = 'float32[-2]'}\n" + LINEAR, 1, "must be a type such as"),
        ("outputs = 'c'\n" + LINEAR, 1, "nothing is called 'c'"),
        (LINEAR + LINEAR + "inputs = 'input'", 1, "nothing reads '0'"),
        ("inputs = {a = 'float32[2,4]'}\n\n" + LINEAR + LINEAR.replace("4", "5"), 7, "layers[1]: "),
        ("inputs = {a = 'float32[2,4]'}\n" + LINEAR + LINEAR + "inputs = ['0.1']", 6, "no result number 1"),
        ("layers = [\n  {layer = 'ReLU'},\n  {layer = 'RELU'},\n]", 3, "layers[1].layer: "),
        ("[[layers]]\nlayer = 'ReLU'\nlayer = 'ReLU'", 3, ""),
        ("[[layers]\n", 1, ""),
    ],
)
def test_mistakes_are_refused_with_line_and_key(text, line, message, tmp_path):
    with pytest.raises(FileFormatError) as caught:
        load(tmp_path, text)
    assert str(caught.value).startswith("model.toml")
    assert f"line {line}" in str(caught.value)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"layers": [\n{"layer": "ReLU"},\n{"layer":\n "RELU"}]}', "line 3, layers[1].layer"),
        ('{"layers": [\n{"layer": "ReLU" "x"}]}', "line 2"),
        ('{"layers": [{"layer": "ReLU",\n "layer": "GELU"}]}', "the key 'layer' is given twice"),
        ("[]", "needs `layers`|object with the key"),
        ("[" * 100_000, "model.json"),
        ("{}", "needs `layers`"),
        ("nul", "line 1"),
    ],
)
def test_mistakes_in_json(text, message, tmp_path):
    with pytest.raises(FileFormatError) as caught:
        load(tmp_path, text, ".json")
    assert any(one in str(caught.value) for one in message.split("|"))


def test_other_files_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match=r"model\.yaml: a model file ends in"):
        load(tmp_path, "layers: []", ".yaml")
    (tmp_path / "model.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(FileFormatError, match="no text in UTF-8"):
        nn.load_model(tmp_path / "model.toml")
    with pytest.raises(FileNotFoundError):
        nn.load_model(tmp_path / "none.toml")
    (tmp_path / "model.toml").write_text(SEQUENCE)
    with pytest.raises(FileFormatError, match=r"nn\.load_model"):
        tg.load(tmp_path / "model.toml")


@pytest.mark.parametrize("name", ["]]>", "a\nb", 'quo"te', "\U0001f600"])
def test_hostile_names_of_layers(name, tmp_path):
    content = {"layers": [{"layer": "Linear", "in_features": 2, "out_features": 2, "name": name}]}
    model = load(tmp_path, json.dumps(content), ".json")
    assert list(model.state_dict()) == [f"{name}.weight", f"{name}.bias"]
    tg.draw(model, tmp_path / "m.svg", inputs=np.zeros((1, 2), np.float32))
    assert tg.load(tmp_path / "m.svg").parameters[0].name == f"{name}.weight"


def test_lines_are_found_in_every_form():
    text = '''
# [[layers]]
title = "a # no comment = [1]"
"quoted.key" = 1
long = """
[[layers]]
x = 1
"""
point.x = 1
[table]
a = [ 1, # one
  [2,
   3]]
[[layers]]
k = { a = 1, b = "}" , c = [1, 2] }
[layers.sub]
deep = 07:32:00
[[layers]]
k = 'it"s'
'''
    expected = {
        ("title",): 3,
        ("quoted.key",): 4,
        ("long",): 5,
        ("point", "x"): 9,
        ("table", "a", 1, 1): 13,
        ("layers", 0, "k", "b"): 15,
        ("layers", 0, "k", "c", 1): 15,
        ("layers", 0, "sub", "deep"): 17,
        ("layers", 1): 18,
        ("layers", 1, "k"): 19,
        ("layers", 1, "missing"): 18,
    }
    assert {path: line_of(text, path) for path in expected} == expected
