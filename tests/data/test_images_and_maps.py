"""Images in folders, augmentation with seeds, arrays that stay in their files."""

from __future__ import annotations

import numpy as np
import pytest

from tinygraph import data
from tinygraph.data import augmentation
from tinygraph.errors import DataError, FileFormatError, SettingError, ShapeError


def test_images_of_folders(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10
    for name in ("cats", "dogs"):
        (tmp_path / name).mkdir()
        image.fromarray(pixels).save(tmp_path / name / "1.png")
    (tmp_path / "dogs" / "notes.txt").write_text("no image")
    (tmp_path / "empty").mkdir()
    found = data.ImageFolder(tmp_path)
    assert (len(found), found.classes) == (2, ["cats", "dogs", "empty"])
    x, label = found[1]
    assert label == 1
    np.testing.assert_array_equal(x, (pixels / np.float32(255)).transpose(2, 0, 1))
    small = data.ImageFolder(tmp_path, size=(4, 5), channels=1)
    ((batch, labels),) = data.DataLoader(small, 2, num_workers=1)
    assert (batch.shape, batch.dtype, labels.tolist()) == ((2, 1, 4, 5), np.float32, [0, 1])
    (tmp_path / "cats" / "2.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(FileFormatError, match=r"2\.png is no image"):
        data.ImageFolder(tmp_path)[1]
    with pytest.raises(DataError, match="no images in folders of classes"):
        data.ImageFolder(tmp_path / "empty")
    with pytest.raises(DataError, match="no folder"):
        data.ImageFolder(tmp_path / "none")
    with pytest.raises(SettingError, match="channels=2"):
        data.ImageFolder(tmp_path, channels=2)


def test_augmentation_is_of_the_seed():
    images = np.arange(4 * 1 * 6 * 6, dtype=np.float32).reshape(4, 1, 6, 6)
    change = augmentation.on_images(augmentation.random_crop(6, padding=2), augmentation.random_flip())
    dataset = data.Transformed(data.TensorDataset(images, np.arange(4)), change, seed=1)
    first = [dataset[i][0] for i in range(4)]
    for i in reversed(range(4)):
        np.testing.assert_array_equal(dataset[i][0], first[i])
    dataset.epoch = 1
    assert any(not np.array_equal(dataset[i][0], first[i]) for i in range(4))
    row = np.array([[[1.0, 2.0, 3.0]]])
    rng = np.random.default_rng(0)
    assert augmentation.random_flip(1.0)(row, rng).tolist() == [[[3, 2, 1]]]
    assert augmentation.random_flip(0.0)(row, rng).tolist() == row.tolist()
    assert augmentation.random_crop((1, 3))(row, rng).tolist() == row.tolist()
    with pytest.raises(ShapeError, match=r"no part \(2, 3\)"):
        augmentation.random_crop((2, 3))(row, rng)


def test_arrays_stay_in_their_files(tmp_path):
    x, y = np.arange(12.0).reshape(3, 4), np.asfortranarray(np.arange(6).reshape(2, 3))
    np.savez(tmp_path / "a.npz", x=x, y=y, nothing=np.zeros((0, 2)))
    found = data.map_arrays(tmp_path / "a.npz")
    assert isinstance(found["x"], np.memmap)
    assert not found["x"].flags.writeable
    for name, value in {"x": x, "y": y, "nothing": np.zeros((0, 2))}.items():
        np.testing.assert_array_equal(found[name], value)
    np.save(tmp_path / "b.npy", x)
    np.testing.assert_array_equal(data.map_arrays(tmp_path / "b.npy")["array"], x)
    np.savez_compressed(tmp_path / "c.npz", x=x)
    with pytest.raises(FileFormatError, match="compressed"):
        data.map_arrays(tmp_path / "c.npz")
    whole = (tmp_path / "b.npy").read_bytes()
    (tmp_path / "b.npy").write_bytes(whole[:-8])
    with pytest.raises(FileFormatError, match="announces 96 bytes, and has 88"):
        data.map_arrays(tmp_path / "b.npy")
    np.savez(tmp_path / "d.npz", x=np.array([{}]))
    with pytest.raises(FileFormatError, match="objects"):
        data.map_arrays(tmp_path / "d.npz")
