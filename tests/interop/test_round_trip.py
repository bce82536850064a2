"""Whatever is saved is read again exactly, or is refused when it is saved: containers, constants, keys and names."""

import dataclasses
import enum
import math
from collections import OrderedDict, namedtuple
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import tinygraph as tg
from tests.rows import each
from tinygraph import nn
from tinygraph.errors import DTypeError, FileFormatError
from tinygraph.interop import load_state, save_state

SUFFIXES = [".json", ".safetensors", ".tinygraph", "", ".svg", ".html", ".dot"]
Pair = namedtuple("Pair", "loss rest")


@dataclasses.dataclass
class Record:
    loss: object
    count: int


class Colour(enum.Enum):
    RED = 1


class Word(enum.StrEnum):
    RED = "red"


def write(graph, path):
    if path.suffix in (".svg", ".html", ".dot"):
        tg.draw(graph, path)
    else:
        graph.save(path)


def saved_and_loaded(graph, path):
    write(graph, path)
    return tg.load(path)


def same(a, b):
    """Whether two results are one: types, order of keys, bits of numbers."""
    if isinstance(a, tg.Tensor):
        a = a.numpy()
    if isinstance(b, tg.Tensor):
        b = b.numpy()
    if isinstance(a, np.ndarray | np.generic):
        a, b = np.asarray(a), np.asarray(b)
        a, b = (
            one.astype(one.dtype.newbyteorder("=")) for one in (a, b)
        )  # files are in this machine's order
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return (
            type(b) is dict
            and len(a) == len(b)
            and all(map(same, a, b))
            and all(map(same, a.values(), b.values()))
        )
    if isinstance(a, list | tuple):
        kind = list if isinstance(a, list) else tuple
        return type(b) is kind and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, float | complex) and not isinstance(b, bool | int):
        return repr(a) == repr(b)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_constant_beside_an_array(suffix, tmp_path):
    graph = tg.capture(lambda x: (x * 2, 3), np.ones(2))
    found = saved_and_loaded(graph, tmp_path / f"g{suffix}")(np.ones(2))
    assert found[0].tolist() == [2.0, 2.0]
    assert found[1] == 3
    assert type(found) is tuple
    assert type(found[1]) is int


RESULTS = {
    "texts": lambda x: {"loss": x.sum(), "name": "é\n\0", "": ""},
    "none and bool": lambda x: [None, True, x, False, (None,), None],
    "int keys": lambda x: {3: x, -1: x * 2.0, 2**70: 2**70, True: False},
    "tuple keys": lambda x: {(1, "a"): x, (): [x], (1, "b", (2.5, None)): 0},
    "other keys": lambda x: {None: x, 1.5: 1, Fraction(1, 3): 2, 2j: 3, np.int64(7): 4},
    "numbers": lambda x: (x, -0.0, math.inf, -math.inf, math.nan, 5e-324, complex(-0.0, math.nan), 10**500),
    "exact numbers": lambda x: (x, Fraction(-1, 3), Fraction(4), -(2**63), 2**63, 2**64_000 - 1),
    "dtypes": lambda x: (x, np.dtype("float32"), np.dtype(bool)),
    "empty containers": lambda x: {"a": (), "b": [], "c": {}, "d": x, "e": [[], ()]},
    "nested": lambda x: {"a": [{"b": ({"c": x},)}, x.sum()], "d": [[[x]], "e"]},
    "order of keys": lambda x: {"b": x, "a": x * 2.0, "c": 1},
    "the same twice": lambda x: (x * 2.0,) * 2 + ([x.sum()] * 2,),
    "an input": lambda x: {"input": x, "again": (x, x)},
    "arrays": lambda x: (
        x,
        np.arange(6.0).reshape(2, 3).T[::-1],
        np.ones((0, 3), np.float16),
        np.bool_(True),
    ),
    "more arrays": lambda x: (x, np.arange(3, dtype=">i2"), np.array(2 + 1j, np.complex64), np.int8(-3)),
    "a named tuple": lambda x: Pair(x.sum(), Pair(x, 3)),
    "an enumeration of texts": lambda x: (x, Word.RED),
    "an ordered dictionary": lambda x: OrderedDict(z=x, y=1),
}


@each("suffix", SUFFIXES)
@each("name", RESULTS)
def test_results_come_back(name, suffix, tmp_path):
    x = np.array([1.0, -2.0])
    graph = tg.capture(RESULTS[name], x)
    found = saved_and_loaded(graph, tmp_path / f"g{suffix}")(x)
    wanted = graph(x)
    if name == "an enumeration of texts":
        assert type(wanted[1]) is Word
        wanted = (wanted[0], "red")
    assert same(wanted, found)


def test_a_networkx_graph_keeps_them_too():
    for name, function in RESULTS.items():
        graph = tg.capture(function, np.ones(2))
        found = tg.Graph.from_networkx(graph.to_networkx())(np.ones(2))
        wanted = graph(np.ones(2))
        assert same(wanted, found), name
    odd = tg.capture(lambda x: (x, Colour.RED, b"bytes"), np.ones(2))
    assert tg.Graph.from_networkx(odd.to_networkx())(np.ones(2))[1:] == (Colour.RED, b"bytes")


REFUSED = {
    "a dataclass": (lambda x: {"a": [Record(x, 3)]}, r"result\['a'\]\[0\] is a Record: .*dict or a tuple"),
    "bytes": (lambda x: (x, b"bytes"), r"result\[1\]: a file cannot hold b'bytes' of type bytes"),
    "a set": (lambda x: {"s": {1, 2}, "x": x}, r"result\['s'\]: a file cannot hold \{1, 2\}"),
    "an enumeration": (lambda x: (x, {"c": Colour.RED}), r"result\[1\]\['c'\]: .*Colour"),
    "a key": (lambda x: {b"k": x}, r"result: a file cannot hold b'k'"),
    "a function": (lambda x: (x, print), r"result\[1\]: .*print"),
    "a class": (lambda x: (x, np.float32), r"result\[1\]: .*float32"),
    "half a character": (lambda x: (x, "half \ud800"), r"result\[1\]: .*half a character"),
    "a vast integer": (lambda x: (x, 2**64_000), r"result\[1\]: .*64001 bits; 64000 are the most"),
    "an array of texts": (lambda x: {"t": (x, np.array(["text"]))}, r"result\['t'\]\[1\]: .*dtype str128"),
    "an array of times": (lambda x: (x, np.array(["2026"], "M8[D]")), r"result\[1\]: .*datetime64"),
    "records": (lambda x: (x, np.zeros(2, [("a", float)])), r"result\[1\]: .*dtype void64"),
    "an array of lists": (
        lambda x: (x, np.array([[1], None], dtype=object)),
        r"result\[1\]: the value 'constant.0': a file cannot hold \[1\]",
    ),
    "another byte order": (lambda x: (x, np.dtype(">f4")), r"result\[1\]: a file cannot hold dtype\('>f4'\)"),
}


@each("suffix", [".json", ".safetensors", ".svg"])
@each("name", REFUSED)
def test_what_cannot_be_read_back_is_refused_when_it_is_saved(name, suffix, tmp_path):
    function, message = REFUSED[name]
    path = tmp_path / f"g{suffix}"
    graph = tg.capture(function, np.ones(2))
    if suffix == ".svg":  # the picture is a picture all the same, and says why it carries no graph
        write(graph, path)
        with pytest.raises(FileFormatError, match=f"(?s)carries no graph: {message[:40]}"):
            tg.load(path)
        return
    with pytest.raises(FileFormatError, match=f"(?s)^{message}"):
        write(graph, path)
    assert list(tmp_path.iterdir()) == []


def test_masks_are_not_dropped(tmp_path):
    masked = np.ma.array([1.0, 2.0], mask=[True, False])
    with pytest.raises(FileFormatError, match=r"outputs\[0\]: a file cannot hold a masked array"):
        tg.Graph([], [masked]).save(tmp_path / "g.json")


def test_deep_containers_are_refused_where_loading_would(tmp_path):
    def nested(depth):
        def function(x):
            for _ in range(depth):
                x = [x]
            return x

        return tg.capture(function, np.ones(1))

    found = saved_and_loaded(nested(100), tmp_path / "g.json")(np.ones(1))
    for _ in range(100):
        (found,) = found
    assert found.tolist() == [1.0]
    with pytest.raises(FileFormatError, match="nested more than 100 deep"):
        nested(101).save(tmp_path / "h.json")


def test_long_names_are_refused_where_loading_would(tmp_path):
    x = tg.tensor(1.0, requires_grad=True, name="n" * 100_001)
    with pytest.raises(FileFormatError, match="100001 letters; 100000 are the most"):
        tg.graph_of(x * 2.0).save(tmp_path / "g.json")


def test_graphs_without_outputs_and_with_constants_alone(tmp_path):
    for suffix in (".json", ".safetensors"):
        leaf = tg.tensor(np.ones(2), name="x")._own_leaf()
        none = saved_and_loaded(tg.Graph([leaf], []), tmp_path / f"none{suffix}")
        assert none.outputs == ()
        assert [one.name for one in none.inputs] == ["x"]
        constant = saved_and_loaded(tg.Graph([leaf], [np.arange(3.0), leaf]), tmp_path / f"c{suffix}")
        assert constant(np.ones(2))[0].tolist() == [0.0, 1.0, 2.0]
        assert constant(np.ones(2))[1].tolist() == [1.0, 1.0]


plain = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.complex_numbers(), st.fractions(), st.text(),
    st.integers(min_value=-(10**700), max_value=10**700),
)  # fmt: skip
keys = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.fractions()),
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)
odd = st.sampled_from([b"b", frozenset([1]), Colour.RED, print, Record(1, 2), "\ud800"])
arrays = st.sampled_from(
    [
        np.arange(3.0),
        np.ones((0, 2), np.float16),
        np.array(True),
        np.arange(4, dtype=">u2")[::2],
        np.float32(1.5),
    ]
)


def containers(leaves):
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.lists(inner, max_size=4).map(tuple),
            st.dictionaries(keys, inner, max_size=4),
        ),
        max_leaves=12,
    )  # fmt: skip


slow = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)


@slow
@given(
    containers(st.one_of(plain, arrays, st.just("x"), st.just("2x"))),
    st.sampled_from([".json", ".safetensors"]),
)
def test_random_containers_come_back(tmp_path_factory, content, suffix):
    check_container(tmp_path_factory.mktemp("g"), content, suffix, refusable=False)


@slow
@given(containers(st.one_of(plain, odd)), st.sampled_from([".json", ".safetensors"]))
def test_random_containers_come_back_or_are_refused_when_saved(tmp_path_factory, content, suffix):
    check_container(tmp_path_factory.mktemp("g"), content, suffix, refusable=True)


def check_container(folder, content, suffix, refusable):
    def filled(part, x):
        if isinstance(part, dict):
            return {key: filled(one, x) for key, one in part.items()}
        if isinstance(part, list | tuple):
            return type(part)(filled(one, x) for one in part)
        return {"x": x, "2x": x * 2.0}.get(part, part) if isinstance(part, str) else part

    try:
        graph = tg.capture(lambda x: (x, filled(content, x)), np.ones(2))
    except TypeError:
        return  # keys that do not compare with each other
    path = folder / f"g{suffix}"
    try:
        graph.save(path)
    except FileFormatError:
        assert refusable
        assert not path.exists()
        return
    assert same(graph(np.ones(2)), tg.load(path)(np.ones(2)))


# -- names of files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("g.pt", r"\.pt is the end of a file of PyTorch"),
        ("g.PTH", r"\.pth is the end of a file of PyTorch"),
        ("g.pkl", "a pickle, which may run code"),
        ("g.h5", r"Keras \(HDF5\)"),
        ("g.svg", r"graph\.draw\(path\)"),
        ("g.npz", r"save_state"),
        ("g.v2", r"\.v2 says nothing"),
    ],
)
def test_no_name_promises_something_else(name, reason, tmp_path):
    graph = tg.capture(lambda x: x * 2.0, np.ones(2))
    with pytest.raises(
        FileFormatError, match=rf"{name}: a graph is saved to a name that ends in .*\.json; .*{reason}"
    ):
        graph.save(tmp_path / name)
    if not name.lower().endswith((".npz", ".pt", ".pth")):
        with pytest.raises(
            FileFormatError,
            match=r"a state is saved to a name that ends in \.safetensors, \.npz, \.pt or \.pth",
        ):
            save_state({"w": np.ones(2)}, tmp_path / name)
        with pytest.raises(FileFormatError, match="a state is saved"):
            tg.training.Checkpoint(tmp_path / name)
        with pytest.raises(FileFormatError, match="a state is saved"):
            tg.training.BestModel(path=tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_tinygraphs_is_named_when_it_is_loaded(tmp_path):
    for name, reason in (
        ("a.ckpt", "PyTorch"),
        ("a.pt", "PyTorch"),
        ("a.pkl", "pickle"),
        ("a.keras", "Keras"),
    ):
        (tmp_path / name).write_bytes(b"\x80\x02.")
        for load in (tg.load,) if name == "a.pt" else (tg.load, load_state):
            with pytest.raises(
                FileFormatError, match=rf"{name}: .*{reason}.*does not read.*to a\.safetensors"
            ):
                load(tmp_path / name)
    for name, instead in (
        ("a.npz", "load_state"),
        ("a.png", "carry the graph"),
        ("a.toml", r"nn\.load_model"),
    ):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(FileFormatError, match=instead):
            tg.load(tmp_path / name)


def test_files_that_older_versions_wrote_under_any_name_are_read(tmp_path):
    tg.capture(lambda x: x * 2.0, np.ones(2)).save(tmp_path / "g.safetensors")
    (tmp_path / "g.safetensors").rename(tmp_path / "g.graph")
    assert tg.load(tmp_path / "g.graph")(np.ones(2)).tolist() == [2.0, 2.0]


def test_large_letters_in_a_suffix_are_as_good_as_small_ones(tmp_path):
    graph = tg.capture(lambda x: x * 2.0, np.ones(2))
    graph.save(tmp_path / "G.JSON")
    assert (tmp_path / "G.JSON").read_bytes()[:1] == b"{"
    save_state({"w": np.ones(2)}, tmp_path / "S.NPZ")
    assert load_state(tmp_path / "S.NPZ")["w"].tolist() == [1.0, 1.0]
    assert tg.load(tmp_path / "G.JSON")(np.ones(2)).tolist() == [2.0, 2.0]


def test_a_file_as_it_was_written_before_constants_were_kept(tmp_path):
    old = (
        '{"format":"tinygraph-graph","version":1,"name":"f","inputs":[0],"outputs":[1,0],"ops":[{"name":"multiply",'
        '"package":"tinygraph_ops","distribution":"tinygraph-autodiff","kind":"elementwise","operands":["x","y"],'
        '"version":"0.1.0"}],"types":[{"dtype":"float64","shape":[2]}],"scopes":[[]],"sources":[],"arrays":{},'
        '"nodes":[{"types":[0],"name":"x","leaf":"input"},{"types":[0],"op":0,"inputs":[0,{"number":2.0}]}],'
        '"result":{"dict":[["a",0],[3,{"list":[1]}]]}}'
    )
    (tmp_path / "old.json").write_text(old)
    found = tg.load(tmp_path / "old.json")(np.ones(2))
    assert found["a"].tolist() == [2.0, 2.0]
    assert found[3][0].tolist() == [1.0, 1.0]


# -- states -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_keys_of_every_kind_come_back(suffix, tmp_path):
    state = {
        key: np.arange(3.0) + i
        for i, key in enumerate(["", "a/b", "../up", "a.npy", "x" * 50_000, "é\n", "file", "\\"])
    }  # fmt: skip
    save_state(state, tmp_path / f"s{suffix}")
    found = load_state(tmp_path / f"s{suffix}")
    assert {key: value.tolist() for key, value in found.items()} == {
        key: one.tolist() for key, one in state.items()
    }
    assert all(value.flags.writeable for value in found.values())


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("key", ["a\0b", "half \ud800", "x" * 60_001])
def test_keys_that_would_not_come_back_are_refused(key, suffix, tmp_path):
    with pytest.raises(DTypeError):
        save_state({key: np.ones(1)}, tmp_path / f"s{suffix}")
    with pytest.raises(DTypeError, match="mask would be lost"):
        save_state({"m": np.ma.array([1.0], mask=[True])}, tmp_path / f"s{suffix}")
    assert list(tmp_path.iterdir()) == []


def _dropped(x):
    return nn.functional.dropout(x, 0.5)


@pytest.mark.parametrize("inner", [
    _dropped,
    lambda x: (_dropped(x), _dropped(x[0])),
    tg.compile(_dropped),  # one inside another
])  # fmt: skip
def test_draws_of_a_compiled_function_are_numbers_in_the_file_of_a_graph_around_it(tmp_path, inner):
    """What read nothing but drawn numbers reads no node of the graph: its value is in the file."""
    x = tg.tensor(np.array([[1.0, 2.0, 3.0, 4.0]]), requires_grad=True)
    results = tg.compile(inner)(x)
    loss = sum((one * 3).sum() for one in (results if isinstance(results, tuple) else (results,)))
    tg.graph_of(loss).save(tmp_path / "graph.json")
    assert float(tg.load(tmp_path / "graph.json")().item()) == float(loss.item())
