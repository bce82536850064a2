"""PyTorch's weight files read and written without PyTorch, and without running anything."""

from __future__ import annotations

import contextlib
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygraph as tg
from tinygraph.errors import DTypeError, FileFormatError

STATE = {
    "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "empty": np.zeros((0, 3)),
    "count": np.array(5),
    "mask": np.array([True, False]),
    "z": np.array([1 + 2j], np.complex64),
}


def test_what_is_written_is_read(tmp_path: Path) -> None:
    tg.save_state(STATE, tmp_path / "state.pt")
    found = tg.load_state(tmp_path / "state.pt")
    assert list(found) == list(STATE)
    for name, wanted in STATE.items():
        np.testing.assert_array_equal(found[name], wanted)
        assert found[name].dtype == wanted.dtype
    with pytest.raises(DTypeError, match="uint32"):
        tg.save_state({"a": np.zeros(2, np.uint32)}, tmp_path / "state.pth")


def test_pytorch_reads_it_and_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    tg.save_state(STATE, tmp_path / "ours.pt")
    found = torch.load(tmp_path / "ours.pt", weights_only=True)
    for name, wanted in STATE.items():
        np.testing.assert_array_equal(found[name].numpy(), wanted)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(module.parameters())
    module(torch.randn(2, 3, 8, 8)).sum().backward()
    optimizer.step()
    wide = torch.arange(24.0).reshape(4, 6)
    for old in (False, True):
        path = tmp_path / f"theirs{old}.pth"
        checkpoint = {
            "model": module.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3, "name": "small",
            "view": wide.t()[1:, ::2], "half": wide.bfloat16() / 3, "parameter": torch.nn.Parameter(wide),
        }  # fmt: skip
        torch.save(checkpoint, path, _use_new_zipfile_serialization=not old)
        state = tg.load_state(path)
        for name, value in module.state_dict().items():
            np.testing.assert_array_equal(state[f"model.{name}"], value.numpy())
        np.testing.assert_array_equal(state["view"], wide.t()[1:, ::2].numpy())
        np.testing.assert_array_equal(state["half"], (wide.bfloat16() / 3).float().numpy())
        np.testing.assert_array_equal(state["parameter"], wide.numpy())
        assert (state["epoch"], "name" in state, state["optimizer.state.0.step"]) == (3, False, 1.0)
    torch.save(module, tmp_path / "whole.pt")
    with pytest.raises(FileFormatError, match=r"model.state_dict\(\), not the model"):
        tg.load_state(tmp_path / "whole.pt")


class Bomb:
    def __reduce__(self) -> Any:
        return os.system, ("touch ran",)


def test_nothing_is_run_and_damage_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "state.pt"

    def archive(program: bytes) -> None:
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", program)
            file.writestr("archive/data/0", b"\0" * 16)

    for program in (
        pickle.dumps(Bomb(), 2),
        pickle.dumps({"a": Bomb()}, 4),
        pickle.dumps(OrderedDict(a=eval), 2),
        b"\x80\x02}(X\x01\0\0\0a",
        b"\x80\x02u.",
        b"\x80\x02R.",
        b"\x80\x63.",
        b"\x80\x02X\xff\xff\xff\xff.",
        b"",
    ):
        archive(program)
        if b"eval" in program:
            assert tg.load_state(path) == {}  # a name alone stands for nothing
            continue
        with pytest.raises(FileFormatError, match=r"state\.pt"):
            tg.load_state(path)
        path.write_bytes(program)
        with pytest.raises(FileFormatError, match=r"state\.pt"):
            tg.load_state(path)
    assert not (tmp_path / "ran").exists()


def test_mutated_files(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    tg.save_state(STATE, path)
    content = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        changed = bytearray(content)
        for place in rng.integers(0, len(changed), 3):
            changed[place] = rng.integers(0, 256)
        path.write_bytes(
            bytes(changed[: rng.integers(1, len(changed) + 1)] if rng.random() < 0.3 else changed)
        )
        with contextlib.suppress(FileFormatError):
            tg.load_state(path)


def test_strides_and_sizes_are_bounded(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    tg.save_state({"a": np.zeros(4, np.float32)}, path)
    with zipfile.ZipFile(path) as file:
        program = file.read("archive/data.pkl")
    size = b"(J\x04\0\0\0t(J\x01\0\0\0t"
    assert size in program
    for other, words in (
        (b"(J\x05\0\0\0t(J\x01\0\0\0t", "beyond its storage"),
        (b"(J\xff\xff\xff\x7ft(J\0\0\0\0t", "far more memory"),
        (b"(J\x04\0\0\0t(J\xff\xff\xff\xfft", "no shape"),
        (b"(J\x04\0\0\0t(t", "no shape"),
    ):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("archive/data.pkl", program.replace(size, other))
            file.writestr("archive/data/0", b"\0" * 16)
        with pytest.raises(FileFormatError, match=words):
            tg.load_state(path)
