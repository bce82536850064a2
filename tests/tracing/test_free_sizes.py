"""Free sizes: graphs captured once that run, differentiate, compile, draw and are saved for every size."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
import tinygraph.nn.functional as F
from tinygraph import nn
from tinygraph.core.sizes import FreeInt, SizeFormula
from tinygraph.errors import CaptureError, FileFormatError, SettingError, ShapeError

rng = np.random.default_rng(0)


def images(*shape: int) -> Any:
    return rng.random(shape, np.float32)


class Attention(nn.Module):
    """Causal attention as people write it: reshapes by sizes, and a mask of NumPy's."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        batch, length, width = x.shape
        parts = np.split(self.project(x), 3, axis=-1)
        q, k, v = (one.reshape(batch, length, self.heads, -1).swapaxes(1, 2) for one in parts)
        mask = np.where(np.tril(np.ones((length, length), bool)), 0.0, -np.inf).astype(np.float32)
        weights = F.softmax((q @ k.swapaxes(-1, -2)) / (width // self.heads) ** 0.5 + mask, dim=-1)
        return self.out((weights @ v).swapaxes(1, 2).reshape(batch, length, width))


class LanguageModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(11, 16), nn.Embedding(40, 16)
        self.attention, self.norm, self.out = Attention(16, 4), nn.LayerNorm(16), nn.Linear(16, 11)

    def forward(self, words: Any) -> Any:
        x = self.words(words) + self.places(np.arange(words.shape[1]))
        return self.out(self.norm(x + self.attention(x)))


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.GroupNorm(2, 8), nn.SiLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 5),
    )  # fmt: skip


IMAGE_AXES = {0: {0: "N", 2: "H", 3: "W"}}
WORD_AXES = {0: {0: "B", 1: "T"}}


def cases() -> list[tuple[nn.Module, Any, Any, list[Any]]]:
    words = [rng.integers(0, 11, shape) for shape in ((1, 5), (3, 1), (8, 17))]
    pictures = [images(1, 3, 21, 13), images(3, 3, 16, 32), images(8, 3, 33, 9)]
    lstm = nn.LSTM(3, 5, 2, bidirectional=True, batch_first=True)
    return [
        (convolutional(), images(2, 3, 16, 16), IMAGE_AXES, pictures),
        (LanguageModel(), np.zeros((2, 6), int), WORD_AXES, words),
        (
            nn.Sequential(nn.Linear(4, 3), nn.Tanh()),
            images(1, 4),
            {"input": {0: "N"}},
            [images(1, 4), images(7, 4)],
        ),
        (First(lstm), images(2, 4, 3), WORD_AXES, [images(1, 7, 3), images(4, 2, 3)]),
    ]


class First(nn.Module):
    """The first of a module's results."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Any:
        return self.inner(x)[0]


def test_one_capture_runs_for_every_size_and_so_does_its_gradient(tmp_path: Path) -> None:
    for number, (module, example, axes, others) in enumerate(cases()):
        module.eval()
        graph = tg.capture(module, example, dynamic_axes=axes)

        def loss(x: Any, module: nn.Module = module) -> Any:
            return (module(x) ** 2).mean()

        keys = axes if 0 in axes else {0: axes["input"]}
        gradient = tg.capture(loss, example, dynamic_axes=keys).gradient()
        path = tmp_path / f"{number}.json"
        gradient.save(path)
        read = tg.load(path)
        assert read.sizes == gradient.sizes
        assert read.summary() == gradient.summary()
        for x in others:
            np.testing.assert_array_equal(graph(x).numpy(), module(x).numpy(), err_msg=str(number))
            module.zero_grad()
            wanted = loss(x)
            wanted.backward()
            found = gradient(x)
            np.testing.assert_allclose(found[0].numpy(), wanted.numpy(), rtol=1e-6)
            for parameter, one, again in zip(gradient.parameters, found[1:], read(x)[1:], strict=True):
                assert parameter.grad is not None
                np.testing.assert_allclose(one.numpy(), parameter.grad.numpy(), rtol=2e-5, atol=1e-7)
                np.testing.assert_array_equal(one.numpy(), again.numpy())


def test_a_compiled_free_graph_has_a_plan_for_each_size() -> None:
    network = convolutional().eval()
    graph = tg.capture(network, images(2, 3, 8, 8), dynamic_axes={0: {0: "N"}})
    run = tg.compile(graph)
    for count in (1, 3, 8, 3):
        x = images(count, 3, 8, 8)
        np.testing.assert_allclose(run(x).numpy(), network(x).numpy(), rtol=1e-5, atol=1e-6)


def test_sizes_are_shown_by_name_and_as_they_round() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.MaxPool2d(2), nn.Conv2d(4, 4, 3, stride=2, padding=1)
    )
    graph = tg.capture(network, images(2, 3, 32, 32), dynamic_axes=IMAGE_AXES)
    assert "N×3×H×W" in graph.draw().svg()
    assert [str(node.output_types[0]) for node in graph.nodes[-2:]] == [
        "float32[N,4,H//2,W//2]",
        "float32[N,4,(H+2)//4,(W+2)//4]",  # not H//4, which it is at 32, 33 and 64
    ]
    assert graph.at(N=1, H=22, W=21).output_types[0].shape == (1, 4, 6, 5)
    assert "4×3" in tg.capture(lambda x: x * 2, np.zeros((2, 3)), dynamic_axes={0: {0: "N"}}).draw(
        inputs=np.ones((4, 3)), show=("shapes", "values")
    ).svg()  # fmt: skip


def test_numbers_and_constants_follow_from_sizes() -> None:
    def program(x: Any) -> Any:
        n, t = x.shape
        weights = np.arange(t) - t + 1
        ones = np.ones((n, 1))
        window = np.abs(np.subtract.outer(np.arange(t), np.arange(t))) < 1
        return (x / (n * t) + x * n**-0.5 + ones * weights) @ window.astype(float) * (n / (n - 1)) + x[
            :, : t // 2
        ].sum()

    graph = tg.capture(
        program,
        np.zeros((4, 6)),
        dynamic_axes={0: {0: "N", 1: "T"}},
    )
    for shape in ((2, 3), (9, 4), (5, 11)):
        x = rng.random(shape)
        np.testing.assert_allclose(graph(x), program(x), rtol=1e-15)


def test_explain_takes_the_sizes_of_the_inputs() -> None:
    graph = tg.capture(lambda x: np.sum(x * x), np.zeros((2, 3)), dynamic_axes={0: {0: "N"}})
    assert tg.explain(graph, "x", (4, 1), inputs=(np.full((5, 3), 3.0),)).total == 6.0


def test_random_draws_have_the_sizes_at_hand() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5))
    graph = tg.capture(network, images(2, 3), dynamic_axes={0: {0: "N"}})
    x = images(9, 3)
    tg.manual_seed(3)
    found = graph(x)
    tg.manual_seed(3)
    np.testing.assert_array_equal(found.numpy(), network(x).numpy())


def loops(x: Any) -> Any:
    for _ in range(x.shape[0]):
        x = x * 2
    return x


def chooses(x: Any) -> Any:
    return x + (1.0 if x.shape[0] > 5 else 2.0)


def computes(x: Any) -> Any:
    return x * np.sin(np.arange(x.shape[0]))


def fixes(x: Any) -> Any:
    return x.reshape(2, 2)


def test_what_depends_on_one_value_is_refused_with_its_line() -> None:
    for program, words in (
        (loops, "nothing more at N=4, but multiply at test_free_sizes.py"),
        (chooses, "add at test_free_sizes.py"),
        (computes, "multiply at test_free_sizes.py"),
        (fixes, "runs for N=4, but not for other sizes"),
    ):
        with pytest.raises(CaptureError, match=words):
            tg.capture(program, np.zeros(4), dynamic_axes={0: {0: "N"}})


def test_errors_name_the_axis_and_the_size() -> None:
    graph = tg.capture(
        lambda x, y: x * y, np.zeros((2, 3)), np.zeros((2, 3)), dynamic_axes={0: {0: "N"}, 1: {0: "N"}}
    )
    with pytest.raises(
        ShapeError, match=r"axis 0 of input 1 \(y\) is 5, but N is 4, the size of axis 0 of input 0"
    ):
        graph(np.zeros((4, 3)), np.zeros((5, 3)))
    with pytest.raises(ShapeError, match=r"float64\[N,3\], but got shape \(4, 2\): axis 1 is not free"):
        graph(np.zeros((4, 2)), np.zeros((4, 2)))
    with pytest.raises(ShapeError, match="free sizes of the graph are N, not M"):
        graph.at(M=3)
    for axes, error, words in (
        ({2: {0: "N"}}, SettingError, "2 is no argument"),
        ({0: {5: "N"}}, ShapeError, "has no axis 5"),
        ({0: {0: "a b"}}, SettingError, "is a word"),
        ({0: {0: "N", 1: "N"}}, ShapeError, "N is 2 and 3"),
    ):
        with pytest.raises(error, match=words):
            tg.capture(lambda x, y: x * y, np.zeros((2, 3)), np.zeros((2, 3)), dynamic_axes=axes)  # type: ignore[arg-type]


def test_formulas_in_files_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "graph.json"
    tg.capture(
        lambda x: x.reshape(x.shape[0] * 3) + 1 / x.shape[0], np.zeros((2, 3)), dynamic_axes={0: {0: "N"}}
    ).save(path)
    text = path.read_text()
    assert tg.load(path)(np.ones((4, 3))).shape == (12,)
    described = json.loads(text)
    (free,) = described["types"][0]["free"]
    assert free[0] == 0
    for change in (
        {"terms": [[1, 0, ["N"]]]},
        {"terms": [[1, 1, ["M"]]]},
        {"terms": [[7, 1, ["N"]]]},
        {"terms": [[1, 1, ["N"] * 99]]},
        {"terms": "N"},
        {"other": 1},
        {"terms": [[10**30, 1, ["N"]]]},
    ):
        for node in described["nodes"]:
            if "settings" in node:
                node["settings"]["shape"] = [{"free": {"at": 6, **change}}]
        path.write_text(json.dumps(described))
        with pytest.raises(FileFormatError):
            tg.load(path)


def test_a_formula_prints_as_people_write_it() -> None:
    from fractions import Fraction as Q

    assert str(SizeFormula(((Q(1, 4), ("H",)), (Q(1, 2), ())), floor=True)) == "(H+2)//4"
    assert str(FreeInt(6, SizeFormula(((Q(3), ("N", "T")), (Q(-1), ()))))) == "3*N*T-1"
    assert str(FreeInt(6, None)) == "?"
    assert FreeInt(6, None) == 6
