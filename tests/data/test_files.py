"""Readers of users' files: what they give, and what they say of files that are damaged."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tinygraph import data
from tinygraph.errors import DataError, FileFormatError

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}


def idx(array: np.ndarray) -> bytes:
    """An array in the IDX format: big-endian, a header of type, rank and sizes."""
    code = CODES[array.dtype.str[1:]]
    header = bytes([0, 0, code, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("code", list(CODES))
@pytest.mark.parametrize("compressed", [False, True])
def test_idx_of_every_type(tmp_path: Path, code: str, compressed: bool) -> None:
    array = np.arange(-3, 9).reshape(3, 4).astype(code)
    content = idx(array)
    (tmp_path / "a.idx").write_bytes(gzip.compress(content) if compressed else content)
    found = data.read_idx(tmp_path / "a.idx")
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def test_damaged_idx_files(tmp_path: Path) -> None:
    path = tmp_path / "images"
    content = idx(np.zeros((3, 4), np.uint8))
    for broken, words in (
        (content[:-5], "truncated.*12 bytes.*has 7"),
        (content + b"x", "too long.*has 13"),
        (content[:7], "header"),
        (b"PNG is not this", "no IDX file"),
        (b"", "nothing"),
        (gzip.compress(content)[:-9], "cannot be read"),
    ):
        path.write_bytes(broken)
        with pytest.raises(FileFormatError, match=words):
            data.read_idx(path)
    with pytest.raises(FileFormatError, match="no file"):
        data.read_idx(tmp_path / "missing")
    with pytest.raises(FileFormatError, match="no file"):
        data.read_idx(tmp_path)


def test_a_folder_with_mnists_names(tmp_path: Path) -> None:
    images, labels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.array([7, 1], np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(images * 10))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    (tmp_path / "t10k-images.idx3-ubyte").write_bytes(idx(images[:1]))
    with pytest.raises(FileFormatError, match="t10k-labels"):
        data.read_idx_folder(tmp_path)
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx(labels[:1]))
    train, test = data.read_idx_folder(tmp_path)
    assert train.arrays[0].shape == (2, 1, 3, 4)
    assert train.arrays[0].dtype == np.float32
    np.testing.assert_allclose(train.arrays[0][0, 0, 0], np.array([0, 10, 20, 30]) / 255)
    assert train.arrays[1].tolist() == [7, 1]
    assert len(test) == 1
    (tmp_path / "t10k-labels.idx1-ubyte").write_bytes(idx(labels))
    with pytest.raises(DataError, match="one length"):
        data.read_idx_folder(tmp_path)
    with pytest.raises(FileFormatError, match="no folder"):
        data.read_idx_folder(tmp_path / "nowhere")


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "data.npz"
    x, y = np.ones((3, 2), np.float32), np.arange(3)
    np.savez(path, x=x, y=y)
    found = data.read_npz(path)
    np.testing.assert_array_equal(found.arrays[1], y)
    np.savez_compressed(path, images=x, labels=y)
    assert len(data.read_npz(path, x="images", y="labels")) == 3
    with pytest.raises(FileFormatError, match=r"'x'.*images, labels"):
        data.read_npz(path)
    whole = path.read_bytes()
    for broken in (whole[: len(whole) // 2], b"", b"not a zip"):
        path.write_bytes(broken)
        with pytest.raises(FileFormatError, match=r"data\.npz"):
            data.read_npz(path)
    damaged = bytearray(whole)
    damaged[60:90] = bytes(30)
    path.write_bytes(bytes(damaged))
    with pytest.raises(FileFormatError, match=r"data\.npz"):
        data.read_npz(path, x="images", y="labels")
    np.savez(path, x=np.array([{}, {}]), y=y)
    with pytest.raises(FileFormatError, match="Object arrays"):
        data.read_npz(path)
    np.savez(path, x=np.array(["a", "b", "c"]), y=y)
    with pytest.raises(DataError, match="<U1"):
        data.read_npz(path)
    np.savez(path, x=np.array([[1.0], [np.nan], [np.inf]]), y=y)
    with pytest.raises(DataError, match=r"2 value\(s\).*nan.*\[1, 0\]"):
        data.read_npz(path)
    np.savez(path, x=x, y=y[:2])
    with pytest.raises(DataError, match="one length"):
        data.read_npz(path)
    with (tmp_path / "one.npy").open("wb") as file:
        np.save(file, x)
    with pytest.raises(FileFormatError, match="NPY"):
        data.read_npz(tmp_path / "one.npy")


def test_cifar(tmp_path: Path) -> None:
    pixels = np.arange(2 * 3072, dtype=np.int64).reshape(2, 3072) % 256
    rows = np.concatenate([np.array([[3], [9]]), pixels], axis=1).astype(np.uint8)
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(rows.tobytes())
    found = data.read_cifar([path, path])
    assert found.arrays[0].shape == (4, 3, 32, 32)
    assert found.arrays[1].tolist() == [3, 9, 3, 9]
    np.testing.assert_allclose(found.arrays[0][1, 2, 31, 31], pixels[1, -1] / 255, rtol=1e-6)
    fine = np.concatenate([np.array([[1], [2]]), np.array([[99], [55]]), pixels], axis=1).astype(np.uint8)
    (tmp_path / "train.bin").write_bytes(fine.tobytes())
    assert data.read_cifar(tmp_path / "train.bin", classes=100).arrays[1].tolist() == [99, 55]
    path.write_bytes(rows.tobytes()[:-1])
    with pytest.raises(FileFormatError, match=r"6145 bytes.*3073"):
        data.read_cifar(path)
    rows[0, 0] = 11
    path.write_bytes(rows.tobytes())
    with pytest.raises(FileFormatError, match="label 11"):
        data.read_cifar(path)
    with pytest.raises(DataError, match="no files"):
        data.read_cifar([])
