"""ONNX files that somebody made up: each ends in FileFormatError, quickly, or is read; nothing outside is touched."""

import random
import time

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402 - after the package was found

import tinygraph as tg  # noqa: E402
from tinygraph.errors import FileFormatError  # noqa: E402

F = TensorProto.FLOAT
SECONDS = 3.0  # of this process; the machine may be busy with others


def model(
    nodes, inputs=(("x", F, [2]),), outputs=(("y", F, None),), stored=(), functions=(), opset=21, **versions
):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*one) for one in inputs],
        [helper.make_tensor_value_info(*one) for one in outputs],
        list(stored),
    )
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(*one) for one in versions.items())]
    return helper.make_model(graph, opset_imports=opsets, functions=functions)


def refusal(made, tmp_path, match):
    path = tmp_path / "m.onnx"
    path.write_bytes(made if isinstance(made, bytes) else made.SerializeToString())
    start = time.process_time()
    with pytest.raises(FileFormatError, match=match) as caught:
        tg.load(path)
    assert time.process_time() - start < SECONDS
    assert str(caught.value).startswith("m.onnx: ")


def node(op_type, inputs, outputs=("y",), **attributes):
    return helper.make_node(op_type, list(inputs), list(outputs), **attributes)


def ints(name, values):
    return numpy_helper.from_array(np.array(values, np.int64), name)


def external(location, length=8):
    tensor = TensorProto(name="w", data_type=F, dims=[2], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def test_what_is_no_model(tmp_path):
    refusal(b"", tmp_path, "it is no ONNX model")
    refusal(b"\x80\x02.not a model at all", tmp_path, "it is no ONNX model")
    whole = model([node("Relu", "x")]).SerializeToString()
    refusal(whole[: len(whole) // 2], tmp_path, "ONNX model")
    (tmp_path / "m.onnx").unlink()
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises((FileFormatError, OSError)):
        tg.load(tmp_path / "m.onnx")


def test_cycles_and_broken_names(tmp_path):
    refusal(model([node("Add", ["x", "b"], ["a"]), node("Relu", ["a"], ["b"])], outputs=[("b", F, None)]),
            tmp_path, r"node 0 \(Add\): it reads 'b', which nothing before it makes.*without cycles")  # fmt: skip
    refusal(model([node("Relu", "x", name="r"), node("Relu", "x", name="s")]), tmp_path,
            r"node 1 \(Relu 's'\): it makes 'y', which is there already")  # fmt: skip
    refusal(model([node("Relu", "x", ["z"])]), tmp_path, "no node makes its output 'y'")
    refusal(model([node("Relu", "x")], stored=[ints("w", [1]), ints("w", [2])]), tmp_path, "stores 'w' twice")
    calls = helper.make_function(
        "mine", "F", ["a"], ["b"], [node("F", "a", "b", domain="mine")], [helper.make_opsetid("mine", 1)]
    )
    refusal(
        model([node("F", "x", domain="mine")], functions=[calls], mine=1),
        tmp_path,
        "nested more than 30 deep",
    )


def test_bombs(tmp_path):
    nodes = [node("Concat", ["x0", "x0"], ["x1"], axis=0)]
    nodes += [node("Concat", [f"x{i}", f"x{i}"], [f"x{i + 1}"], axis=0) for i in range(1, 60)]
    large = numpy_helper.from_array(np.ones(1000, np.float32), "x0")
    large.name = "x0"
    constant = helper.make_node("Constant", [], ["x0"], value=large)
    refusal(model([constant, *nodes], outputs=[("x60", F, None)]), tmp_path, "more memory|constants")
    for op_type, operands in (("ConstantOfShape", ["s"]), ("Expand", ["one", "s"]), ("Tile", ["many", "s"])):
        stored = [ints("s", [10**6, 10**6]), ints("one", [1]), ints("many", [[1]])]
        refusal(model([node(op_type, operands)], stored=stored), tmp_path, rf"node 0 \({op_type}\).*bytes")
    refusal(
        model([node("Range", ["a", "b", "c"])], stored=[ints("a", 0), ints("b", 10**15), ints("c", 1)]),
        tmp_path,
        "bytes",
    )
    codes = [ints("i", [1] * 1000), ints("d", 10**12), ints("v", [0, 1])]
    refusal(model([node("OneHot", ["i", "d", "v"])], stored=codes), tmp_path, "bytes")
    layers = []
    for depth in range(12):  # ten calls of ten calls of ...
        called = "Relu" if depth == 0 else f"F{depth - 1}"
        body = [node(called, [f"v{i}"], [f"v{i + 1}"], domain="mine" if depth else "") for i in range(10)]
        versions = [helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)]
        layers.append(helper.make_function("mine", f"F{depth}", ["v0"], ["v10"], body, versions))
    path = tmp_path / "laughs.onnx"
    laughs = model([node("F11", "x", domain="mine")], functions=layers, mine=1)
    path.write_bytes(laughs.SerializeToString())
    start = time.process_time()
    with pytest.raises(FileFormatError, match="more nodes than files may make"):
        tg.load(path)
    assert time.process_time() - start < 30  # 20,000 nodes are made first


def test_data_outside_the_folder_is_not_read(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    secret = tmp_path / "secret.bin"
    secret.write_bytes(b"\0" * 8)
    (folder / "link.bin").symlink_to(secret)
    add = node("Add", ["x", "w"])
    for location in ("../secret.bin", str(secret), "link.bin", "a/../../secret.bin", "", ".", "/dev/zero"):
        refusal(
            model([add], stored=[external(location)]),
            folder,
            "outside the model's folder|not named|no such file",
        )
    refusal(model([add], stored=[external("none.bin")]), folder, "no such file")
    (folder / "w.bin").write_bytes(np.array([1.0, 2.0], "<f4").tobytes())
    refusal(model([add], stored=[external("w.bin", 10**12)]), folder, "takes 1000000000000 bytes")
    refusal(model([add], stored=[external("w.bin", 4)]), folder, "has 4 bytes, but its shape takes 8")
    (folder / "m.onnx").write_bytes(model([add], stored=[external("w.bin")]).SerializeToString())
    assert tg.load(folder / "m.onnx")(np.zeros(2, np.float32)).numpy().tolist() == [1.0, 2.0]


def test_absurd_sizes_types_and_versions(tmp_path):
    relu = [node("Relu", "x")]
    refusal(model(relu, inputs=[("x", F, [-1])]), tmp_path, "'x' has the size -1 along axis 0")
    refusal(model(relu, inputs=[("x", F, [2**40])]), tmp_path, "has the size 1099511627776")
    refusal(model(relu, inputs=[("x", F, [2**30, 2**30])]), tmp_path, "larger than any memory")
    refusal(model(relu, inputs=[("x", 8, [2])]), tmp_path, "texts")
    refusal(model(relu, inputs=[("x", 77, [2])]), tmp_path, "type 77")
    refusal(model(relu, inputs=[("x", F, None)]), tmp_path, "the shape of its input 'x' is not said")
    bad = TensorProto(name="w", data_type=F, dims=[2**40, 2**40], raw_data=b"")
    refusal(model(relu, stored=[bad]), tmp_path, "which no array has")
    refusal(
        model(relu, stored=[TensorProto(name="w", data_type=F, dims=[3], raw_data=b"\0" * 8)]),
        tmp_path,
        "has 8 bytes",
    )
    refusal(model(relu, opset=10**6), tmp_path, "version 1000000 of ONNX's operators; versions up to")
    refusal(
        model([node("Add", ["x", "x"], broadcast=1)], opset=6),
        tmp_path,
        r"node 0 \(Add\): version 6 .*version_converter",
    )
    refusal(model([node("Conv", ["x", "x"], strides=[1] * 3)]), tmp_path, r"node 0 \(Conv\)")
    refusal(model([node("Softmax", "x", axis=9)]), tmp_path, r"node 0 \(Softmax\).*axis 9")


@pytest.mark.slow
def test_a_thousand_mutated_files(tmp_path):
    weight = numpy_helper.from_array(np.linspace(-1, 1, 54, dtype=np.float32).reshape(2, 3, 3, 3), "w")
    made = model(
        [
            node("Conv", ["x", "w"], ["c"], pads=[1, 1, 1, 1], name="/a/Conv"),
            node("MaxPool", ["c"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Reshape", ["p", "s"], ["r"]),
            node("Softmax", ["r"], axis=-1),
        ],
        inputs=[("x", F, [1, 3, 8, 8])],
        stored=[weight, ints("s", [1, -1])],
    ).SerializeToString()
    chance = random.Random(0)
    path, read = tmp_path / "m.onnx", 0
    for _ in range(1000):
        content = bytearray(made)
        for _ in range(chance.choice((1, 1, 2, 8))):
            what, at = chance.randrange(4), chance.randrange(len(content))
            if what == 0:
                content[at] ^= 1 << chance.randrange(8)
            elif what == 1:
                content[at] = chance.choice((0, 1, 127, 128, 255))
            elif what == 2:
                del content[at : at + chance.randrange(1, 9)]
            else:
                content[at:at] = content[chance.randrange(len(content)) :][: chance.randrange(1, 9)]
        path.write_bytes(bytes(content))
        start = time.process_time()
        try:
            tg.load(path)
            read += 1
        except FileFormatError:
            pass
        assert time.process_time() - start < SECONDS
    assert 0 < read < 1000
