"""The viewer's commands: draw, view, predict and diff of models from files of all kinds."""

from __future__ import annotations

import struct
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import nn
from tinygraph.cli import main, terminal
from tinygraph.cli.view import PageServer, page_of

Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setattr(terminal.console, "_width", 200)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            main(list(map(str, arguments)))
        out, err = capsys.readouterr()
        return int(end.value.code or 0), out + err

    return call


@pytest.fixture
def network(tmp_path: Path) -> nn.Module:
    """A classifier of images, saved for any number of them as model.json, and its weights in three formats."""
    tg.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3)).eval()
    example = np.zeros((2, 1, 6, 6), np.float32)
    tg.capture(lambda image: made(image), example, dynamic_axes={0: {0: "N"}}).save(tmp_path / "model.json")
    for end in ("pt", "npz", "safetensors"):
        tg.save_state(made.state_dict(), tmp_path / f"weights.{end}")
    return made


def test_predict(run: Run, network: nn.Module, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((5, 1, 6, 6), np.float32)
    wanted = network(images).numpy()
    np.save("images.npy", images)
    code, text = run("predict", "model.json", "images.npy", "--out", "answers.npz")
    assert code == 0, text
    (found,) = tg.load_state("answers.npz").values()
    np.testing.assert_array_equal(found, wanted)
    Path("classes.txt").write_text("cat\ndog\nowl\n")
    code, text = run("predict", "model.json", "images.npy", "--classes", "classes.txt", "--top", "1")
    best = np.argmax(wanted, 1)
    shares = np.exp(wanted) / np.exp(wanted).sum(1, keepdims=True)
    lines = [f"{i}: {['cat', 'dog', 'owl'][k]} {100 * shares[i, k]:.1f} %" for i, k in enumerate(best)]
    assert text.splitlines() == lines
    pixels = (images[:, 0] * 255).astype(np.uint8)
    Path("t10k-images-idx3-ubyte").write_bytes(
        b"\0\0\x08\x03" + struct.pack(">3I", 5, 6, 6) + pixels.tobytes()
    )
    run("predict", "model.json", "t10k-images-idx3-ubyte", "--mean", "0.5", "--std", "2", "--out", "idx.npy")
    scaled = (pixels[:, None].astype(np.float32) / 255 - np.float32(0.5)) / np.float32(2)
    np.testing.assert_allclose(np.load("idx.npy"), network(scaled).numpy(), rtol=1e-5, atol=1e-6)
    code, text = run("predict", "weights.pt", "images.npy")
    assert (code, "holds weights and no graph" in text) == (1, True)
    code, text = run("predict", "model.json", "images.npy", "images.npy")
    assert (code, "the model takes 1 input(s) (image: float32[N,1,6,6])" in text) == (1, True)


def test_predict_of_images(run: Run, network: nn.Module) -> None:
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 6), np.uint8)
    for i, one in enumerate(pixels):
        image.fromarray(one).save(f"{i}.png")
    run("predict", "model.json", "0.png", "1.png", "--out", "answers.npy")
    wanted = network(pixels[:, None].astype(np.float32) / 255).numpy()
    np.testing.assert_allclose(np.load("answers.npy"), wanted, rtol=1e-5, atol=1e-6)


def test_a_model_for_one_sample_runs_on_many(run: Run, network: nn.Module) -> None:
    images = np.random.default_rng(0).random((3, 1, 6, 6), np.float32)
    tg.capture(network, images[:1]).save("one.json")
    np.save("images.npy", images)
    code, text = run("predict", "one.json", "images.npy", "--out", "answers.csv")
    assert code == 0, text
    np.testing.assert_allclose(
        np.loadtxt("answers.csv", delimiter=","), network(images).numpy(), rtol=1e-5, atol=1e-6
    )


def test_weights_are_drawn_as_a_tree(run: Run, network: nn.Module) -> None:
    for end in ("pt", "npz", "safetensors"):
        code, text = run("draw", f"weights.{end}", f"{end}.svg")
        assert code == 0, text
        assert "2×1×3×3" in Path(f"{end}.svg").read_text()


def test_diff_with_code(run: Run, network: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("models_of_mine.py").write_text(
        "from tinygraph import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))\n"
        "def other():\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3))\n"
    )
    monkeypatch.syspath_prepend(str(Path.cwd()))
    tg.capture(network, np.zeros((2, 1, 6, 6), np.float32)).save("fixed.json")
    assert run("diff", "fixed.json", "fixed.json")[0] == 0
    code, text = run("diff", "fixed.json", "models_of_mine:other")
    assert (code, "tanh" in text) == (1, True)
    code, text = run("diff", "fixed.json", "models_of_mine:nobody")
    assert (code, "package.module:name" in text) == (2, True)
    sys.modules.pop("models_of_mine", None)


@pytest.fixture
def server() -> Iterator[PageServer]:
    made = PageServer(0)
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


def asked(address: str, data: bytes | None = None, **headers: str) -> tuple[int, str]:
    request = urllib.request.Request(address, data, headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_view_serves_pages_and_opens_what_is_dropped(
    server: PageServer, network: nn.Module, tmp_path: Path
) -> None:
    page = server.add(page_of(tmp_path / "model.json"))
    status, text = asked(page)
    assert (status, "N×1×6×6" in text, 'id="tg-drop"' in text) == (200, True, True)
    status, text = asked(server.address)
    assert (status, "Drop a model here" in text) == (200, True)
    dropped = (tmp_path / "model.json").read_bytes()
    status, text = asked(f"{server.address}open?name=mine.json", dropped)
    assert (status, asked(text)[0]) == (200, 200)
    status, text = asked(f"{server.address}open?name=mine.json", b"{}")
    assert (status, text.startswith("mine.json")) == (422, True)
    for address, headers in (
        (f"http://127.0.0.1:{server.server_address[1]}/", {}),
        (server.address, {"Host": "example.org"}),
    ):
        assert asked(address, None, **headers)[0] == 403
    assert asked(f"{server.address}open?name=a.json", dropped, Origin="http://example.org")[0] == 403
    assert asked(f"{server.address}../etc/passwd")[0] in (403, 404)


@pytest.fixture
def onnx_network(network: nn.Module, tmp_path: Path) -> nn.Module:
    """The classifier as model.onnx, for any number of images, with the name that ONNX gives its input."""
    pytest.importorskip("onnx", reason="the package onnx is not installed")
    tg.load(tmp_path / "model.json").save(tmp_path / "model.onnx")
    return network


def test_predict_of_an_onnx_model(run: Run, onnx_network: nn.Module, tmp_path: Path) -> None:
    images = np.random.default_rng(0).random((5, 1, 6, 6), np.float32)
    wanted = onnx_network(images).numpy()
    np.save("images.npy", images)
    code, text = run("predict", "model.onnx", "images.npy", "--out", "answers.npz")
    assert code == 0, text
    (found,) = tg.load_state("answers.npz").values()
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    np.savez("images.npz", image=images)
    code, text = run("predict", "model.onnx", "images.npz", "--out", "answers.csv")
    assert code == 0, text
    np.testing.assert_allclose(np.loadtxt("answers.csv", delimiter=","), wanted, rtol=1e-5, atol=1e-6)
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    session = runtime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    theirs = session.run(None, {session.get_inputs()[0].name: images})[0]
    np.testing.assert_allclose(found, theirs, rtol=1e-5, atol=1e-6)


def test_an_onnx_model_is_drawn_viewed_and_compared(
    run: Run, server: PageServer, onnx_network: nn.Module, tmp_path: Path
) -> None:
    code, text = run("draw", "model.onnx", "page.html")
    assert code == 0, text
    assert "N×1×6×6" in Path("page.html").read_text(encoding="utf-8")
    status, text = asked(server.add(page_of(tmp_path / "model.onnx")))
    assert (status, "N×1×6×6" in text, 'id="tg-drop"' in text) == (200, True, True)
    dropped = (tmp_path / "model.onnx").read_bytes()
    status, text = asked(f"{server.address}open?name=mine.onnx", dropped)
    assert (status, asked(text)[0]) == (200, 200)
    status, text = asked(f"{server.address}open?name=mine.onnx", dropped[: len(dropped) // 2])
    assert (status, text.startswith("mine.onnx")) == (422, True)
    assert run("diff", "model.onnx", "model.onnx")[0] == 0
    other = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Flatten(), nn.Linear(32, 3)).eval()
    tg.capture(other, np.zeros((2, 1, 6, 6), np.float32)).save(tmp_path / "other.onnx")
    code, text = run("diff", "model.onnx", "other.onnx")
    assert (code, "tanh" in text) == (1, True)
    code, text = run("predict", "other.onnx", "model.onnx")
    assert code != 0
    assert "Traceback" not in text
