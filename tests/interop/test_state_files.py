"""State files: arrays of any layout come back, files are whole or absent, and bad ones are named."""

import numpy as np
import pytest

import tinygraph as tg
from tinygraph import interop
from tinygraph.errors import DTypeError, FileFormatError

SUFFIXES = [".safetensors", ".npz"]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_arrays_and_tensors_come_back(tmp_path, suffix):
    base = np.arange(12.0).reshape(3, 4)
    state = {
        "fc.weight": base.T,
        "reversed": base[::-1, ::2],
        "big endian": base.astype(">f4"),
        "half": base.astype(np.float16),
        "count": np.int64(3),
        "empty": base[:0],
        "mask": base > 3,
        "file": tg.tensor(base, requires_grad=True),
        "complex": (base + 1j).astype(np.complex64),
    }
    interop.save_state(state, tmp_path / f"state{suffix}")
    found = interop.load_state(tmp_path / f"state{suffix}")
    assert set(found) == set(state)
    for key, value in state.items():
        value = value.numpy() if isinstance(value, tg.Tensor) else np.asarray(value)
        assert found[key].dtype == value.dtype.newbyteorder("=")
        np.testing.assert_array_equal(found[key], value)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_files_are_refused(tmp_path, suffix):
    path = tmp_path / f"state{suffix}"
    interop.save_state({"w": np.arange(100.0)}, path)
    whole = path.read_bytes()
    for size in (0, 5, 60, len(whole) - 30):
        path.write_bytes(whole[:size])
        with pytest.raises(FileFormatError, match="state"):
            interop.load_state(path)


def test_what_a_state_cannot_hold_is_refused_before_anything_is_written(tmp_path):
    for state in ({1: np.ones(1)}, {"a": "text"}, {"a": [None]}, {"a": np.array([object()])}):
        with pytest.raises(DTypeError):
            interop.save_state(state, tmp_path / "state.npz")
    with pytest.raises(DTypeError, match=r"'z'.*complex128.*save as \.npz"):
        interop.save_state({"z": np.ones(1, complex)}, tmp_path / "state.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_pickles_are_never_read(tmp_path):
    np.savez(tmp_path / "state.npz", a=np.array([{"x": 1}], dtype=object))
    with pytest.raises(FileFormatError, match="pickle"):
        interop.load_state(tmp_path / "state.npz")


def test_missing_files_and_folders_are_the_systems_errors(tmp_path):
    with pytest.raises(FileNotFoundError):
        interop.load_state(tmp_path / "none.npz")
    with pytest.raises(OSError, match="none"):
        interop.save_state({"w": np.ones(1)}, tmp_path / "none" / "state.npz")
